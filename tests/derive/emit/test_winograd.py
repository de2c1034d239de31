"""Windows of 3 x 3 taps by minimal filtering, as emitted: exact, beside the direct way, and how they round."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from derive.language import Operator, Sum, Tensor, indices, parameters, tensors
from derive.live import build
from kernels import set_num_threads
from kernels.runtime.driver import get_num_threads
from kernels.runtime.execute import execute_exact
from tests.support.line import environment, through

n, g, o, c = indices("n g o c")
p, q, k, l = indices("p q k l")
x, w, y = tensors("x w y")
a, b = parameters("a b", positive=False)
padded = Tensor("x", margin=[(a, a), (b, b)])

OPERATORS = {
    "correlated": Operator(
        "correlated",
        y[n, o, p, q] << Sum[c, k, l](padded[n, c, p + k - a, q + l - b] * w[o, c, k, l]),
        inputs=(padded, w),
    ),
    # taps fall along one axis, the axes stand in another order, and there is a batch
    "turned": Operator(
        "turned",
        y[p, g, o, q, n] << Sum[c, k, l](x[q - l + 2, g, c, n, p + k] * w[l, g, c, k, o]),
        inputs=(x, w),
        given=(p, q),
    ),
}


def direct(name: str, x: Any, w: Any, a: int = 0, b: int = 0) -> Any:
    """The sum as it is written, in the numbers of its arguments."""
    if name == "turned":  # as the other, of one group after another
        flipped = w[::-1].transpose(1, 4, 2, 0, 3)
        made = [direct("correlated", x[:, i].transpose(2, 1, 0, 3), flipped[i]) for i in range(x.shape[1])]
        return np.stack(made).transpose(4, 0, 2, 3, 1)
    N, C, H, W = x.shape
    wide = np.zeros((N, C, H + 2 * a, W + 2 * b), x.dtype)
    wide[:, :, a : a + H, b : b + W] = x
    P, Q = H + 2 * a - 2, W + 2 * b - 2
    terms = (
        np.tensordot(wide[:, :, i : i + P, j : j + Q], w[:, :, i, j], ((1,), (1,)))
        for i in range(3)
        for j in range(3)
    )
    return sum(terms).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("name", OPERATORS)
def test_it_is_exact(name: str, tmp_path: Path) -> None:
    _, definition = through(OPERATORS[name], tmp_path)
    rng, ran = random.Random(name), set[str]()
    for trial in range(12):
        N, O, C, H, W = (rng.randint(least, most) for least, most in ((1, 3), (2, 4), (2, 4), (4, 7), (4, 8)))
        given = (
            {"a": rng.randint(0, 2), "b": rng.randint(0, 2)}
            if name == "correlated"
            else {"P": H - 2, "Q": W - 2}
        )
        shapes = ((N, C, H, W), (O, C, 3, 3)) if name == "correlated" else ((W, 2, C, N, H), (3, 2, C, 3, O))
        x, w = (np.array([rng.randint(-6, 6) for _ in range(np.prod(s))], object).reshape(s) for s in shapes)
        sizes = environment(definition, {"x": x, "w": w}, given)
        found = execute_exact(
            definition, "forward", {"x": x, "w": w}, sizes, {}, ("y",), seed=trial, gaps=trial % 2 > 0,
            trace=lambda phase, task, *rest: ran.add(task),
        )  # fmt: skip
        pads = (given["a"], given["b"]) if name == "correlated" else ()
        assert (found["y"] == direct(name, x, w, *pads)).all()
    assert any(task.endswith("_winograd_x") for task in ran), ran


def arrays(
    rng: Any, dtype: Any, N: int = 2, O: int = 37, C: int = 40, H: int = 15, W: int = 18
) -> tuple[Any, Any]:
    return rng.standard_normal((N, C, H, W)).astype(dtype), rng.standard_normal((O, C, 3, 3)).astype(dtype)


def test_compiled_it_rounds_as_it_may_and_not_with_threads() -> None:
    """Within the bound of its own formula, place by place: sums of products of what is transformed, absolute values.

    With |A|, |B|, |G| for the absolute values of what transforms sums, places and taps, and a unit u of rounding,
    a result is off by (n + 8) u (|A| (|G| |w|) (|B| |x|)) at most: n additions at each point, and in each of the
    three transforms along two axes not more than a few. None of the terms lies outside of a result's own window.
    """
    live = build(OPERATORS["correlated"])
    A = np.array([[1, 1, 1, 0], [0, 1, 1, 1]])
    B = np.array([[1, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 0, 1]])
    G = np.array([[2, 0, 0], [1, 1, 1], [1, 1, 1], [0, 0, 2]]) / 2
    rng = np.random.default_rng(0)
    before = get_num_threads()
    for dtype in (np.float32, np.float64):
        x, w = arrays(rng, dtype)
        x[0, :, :4] *= 1000  # errors are those of the places that are read, not of their neighbours
        found = live(x, w, a=1, b=1)
        exact = direct("correlated", x.astype(np.longdouble), w.astype(np.longdouble), 1, 1)
        taps = np.einsum("ik,ockl,jl->ijoc", G, abs(w), G)
        wide = np.pad(abs(x), ((0, 0), (0, 0), (1, 2), (1, 1)))
        bound = np.zeros(found.shape)
        for p in range(0, 15, 2):
            for q in range(0, 18, 2):
                places = np.einsum("ik,nckl,jl->ijnc", B, wide[:, :, p : p + 4, q : q + 4], B)
                points = np.einsum("ijnc,ijoc->ijno", places, taps)
                bound[:, :, p : p + 2, q : q + 2] = np.einsum("ri,ijno,sj->nors", A, points, A)[
                    :, :, : 15 - p
                ]
        error = abs(found - exact)
        unit = np.finfo(dtype).eps / 2
        assert (error <= (40 + 8) * unit * bound).all()
        strewn = (
            x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
        )  # so few channels are summed directly then
        assert not np.array_equal(live(strewn, w, a=1, b=1), found)
        try:
            for count in (2, 3, 5):
                set_num_threads(min(count, before))
                assert np.array_equal(live(x, w, a=1, b=1), found)
        finally:
            set_num_threads(None)


def test_whole_numbers_stay_whole() -> None:
    live = build(OPERATORS["turned"])
    rng = np.random.default_rng(1)
    x = rng.integers(-9, 10, (19, 2, 33, 2, 16)).astype(np.float32)
    w = rng.integers(-9, 10, (3, 2, 33, 3, 34)).astype(np.float32)
    want = direct("turned", x, w)
    np.testing.assert_array_equal(live(x, w, P=14, Q=17), want)
