"""Contractions that multiply nothing, or add nothing: distances, and products of max-plus, min-plus and their like."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sympy import Abs

from derive.language import Max, Min, Operator, Sum, indices, maximum, parameters, tensors
from derive.live import build
from derive.pipeline import derive
from kernels.runtime.execute import execute_exact
from tests.support.line import environment, through

n, o, c = indices("n o c")
p, k = indices("p k")
x, w, y = tensors("x w y")
s, d = parameters("s d")

Formula = Callable[[Any, Any], Any]
PAIRS: dict[str, tuple[Any, Formula]] = {
    "distance": (Sum, lambda a, b: Abs(a - b)),
    "square": (Sum, lambda a, b: (a - b) ** 2),
    "one_sided": (Sum, lambda a, b: maximum(a - 2 * b, 0)),  # not the same with a and b exchanged
    "scaled": (Sum, lambda a, b: -3 * a * (a - b)),
    "max_plus": (Max, lambda a, b: a + b),
    "min_plus": (Min, lambda a, b: a + b),
    "max_times": (Max, lambda a, b: a * b),
    "minimax": (Min, lambda a, b: maximum(a, -b)),
}
NUMPY: dict[str, Formula] = {
    "distance": lambda a, b: abs(a - b),
    "one_sided": lambda a, b: np.maximum(a - 2 * b, 0),
    "minimax": lambda a, b: np.maximum(a, -b),
}


def rows_by_columns(name: str) -> Operator:
    reduce, formula = PAIRS[name]
    return Operator(name, y[n, o] << reduce[c](formula(x[n, c], w[o, c])), inputs=(x, w))


def windows(name: str) -> Operator:
    reduce, formula = PAIRS[name]
    return Operator(
        f"{name}_windows",
        y[n, o, p] << reduce[c, k](formula(x[n, c, s * p + d * k], w[o, c, k])),
        inputs=(x, w),
    )


def reduced(name: str, terms: Any, axes: tuple[int, ...]) -> Any:
    kind = PAIRS[name][0]
    return terms.sum(axes) if kind is Sum else terms.max(axes) if kind is Max else terms.min(axes)


def formula(name: str) -> Formula:
    return NUMPY.get(name, PAIRS[name][1])


@pytest.mark.parametrize("name", PAIRS)
def test_windows_are_exact_in_blocks(name: str, tmp_path: Path) -> None:
    """Every remainder of a tile, blocks of steps that are joined, any strides: and the blocks are what runs."""
    _, definition = through(windows(name), tmp_path)
    rng, ran = random.Random(name), set[str]()
    for trial in range(25):
        N, O, C, K, P = (rng.randint(1, most) for most in (3, 7, 5, 4, 5))
        stride, gap = rng.randint(1, 3), rng.randint(1, 2)
        X = stride * (P - 1) + gap * (K - 1) + 1 + rng.randint(0, stride - 1)
        a = np.array([rng.randint(-6, 6) for _ in range(N * C * X)], object).reshape(N, C, X)
        b = np.array([rng.randint(-6, 6) for _ in range(O * C * K)], object).reshape(O, C, K)
        sizes = environment(definition, {"x": a, "w": b}, {"s": stride, "d": gap})
        found = execute_exact(
            definition, "forward", {"x": a, "w": b}, sizes, {}, ("y",), seed=trial, gaps=trial % 2 > 0,
            trace=lambda phase, task, *rest: ran.add(task),
        )  # fmt: skip
        for at in range(P):
            read = a[:, None, :, stride * at : stride * at + gap * (K - 1) + 1 : gap]
            want = reduced(name, formula(name)(read, b[None]), (2, 3))
            assert (found["y"][:, :, at] == want).all()
    assert any(task.endswith("_in_blocks") for task in ran), ran


@pytest.mark.parametrize(
    "name", ["distance", *(pytest.param(n, marks=pytest.mark.slow) for n in ("one_sided", "max_plus"))]
)
def test_compiled_blocks_are_exact(name: str) -> None:
    """Integers, so that float32 is exact: more steps than a block has, few and many rows, either layout."""
    live = build(rows_by_columns(name))
    rng = np.random.default_rng(0)
    for rows, columns, steps in ((37, 50, 1100), (5, 130, 40), (200, 3, 700)):
        a, b = (rng.integers(-9, 10, (many, steps)).astype(np.float32) for many in (rows, columns))
        want = reduced(name, formula(name)(a[:, None], b[None]), (2,))
        for one, other in ((a, b), (np.asfortranarray(a), b), (a, np.asfortranarray(b))):
            np.testing.assert_array_equal(live(one, other), want)


@pytest.mark.slow
def test_a_maximum_in_blocks_is_nan_where_a_sum_is() -> None:
    live = build(rows_by_columns("max_plus"))
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((40, 300)), rng.standard_normal((30, 300))
    a[3, 7], b[5, 299], a[9, 0], b[2, 0] = np.nan, np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        want = (a[:, None] + b[None]).max(2)
    np.testing.assert_array_equal(live(a, b), want)


@pytest.mark.parametrize("name", PAIRS)
def test_what_reaches_outside_is_left_to_others(name: str, tmp_path: Path) -> None:
    """A point that is missing is not a point of zeros: |0 - w| counts, and nothing does not."""
    a = parameters("a", positive=False)
    reduce, of = PAIRS[name]
    padded = Operator(
        f"{name}_padded",
        y[n, o, p] << reduce[c, k](of(x[n, c, s * p + k - a], w[o, c, k])),
        inputs=(x, w),
        given=(p,),
    )
    _, definition = through(padded, tmp_path)
    rng, ran = random.Random(name), dict[bool, set[str]]()
    for trial in range(20):
        N, O, C, K, X = (rng.randint(1, most) for most in (2, 5, 3, 4, 9))
        stride, margin, ends = rng.randint(1, 2), rng.randint(0, K - 1), rng.randint(0, K - 1)
        P = max(1, (X + margin + ends - K) // stride + 1)
        left = np.array([Fraction(rng.randint(-6, 6)) for _ in range(N * C * X)]).reshape(N, C, X)
        right = np.array([Fraction(rng.randint(-6, 6)) for _ in range(O * C * K)]).reshape(O, C, K)
        taps = [[t for t in range(K) if 0 <= stride * at + t - margin < X] for at in range(P)]
        if not all(taps):
            continue
        inside = all(len(t) == K for t in taps)
        sizes = environment(definition, {"x": left, "w": right}, {"a": margin, "P": P, "s": stride})
        tasks = ran.setdefault(inside, set())
        found = execute_exact(
            definition, "forward", {"x": left, "w": right}, sizes, {}, ("y",), seed=trial, gaps=trial % 2 > 0,
            trace=lambda phase, task, *rest, tasks=tasks: tasks.add(task),
        )  # fmt: skip
        for at, there in enumerate(taps):
            read = left[:, None, :, [stride * at + t - margin for t in there]]
            want = reduced(name, formula(name)(read, right[None][..., there]), (2, 3))
            assert (found["y"][:, :, at] == want).all()
    assert any(task.endswith("_in_blocks") for task in ran[True])
    assert not any(task.endswith("_in_blocks") for task in ran[False])


def test_what_knows_more_than_two_numbers_is_no_pair() -> None:
    weighted = Operator("weighted", y[n, o] << Sum[c](Abs(x[n, c] - w[o, c]) * (c + 1)), inputs=(x, w))
    assert not any("_in_blocks" in kernel.text for kernel in derive(weighted).kernels.values())
