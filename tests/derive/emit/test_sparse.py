"""A product with a sparse matrix, compiled: every way of reading places, layouts, and tables that are too large."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive.language import Operator, Sum, Tensor, indices, parameters
from kernels.runtime.definition import Definition
from kernels.runtime.execute import execute
from tests.support.line import through

n, c, k, p = indices("n c k p")
s, d = parameters("s d")
x, y = Tensor("x", margin=[(1, 1), (0, 0)], outside="replicate"), Tensor("y")
# two taps, of weights 1 and 2, from the place on that s*p/d is rounded down to; beyond an edge the edge goes on
TAPS = Operator(
    "taps",
    y[n, p, c] << Sum[k](x[n, sp.floor(s * p / d) + k, c] * (k + 1)),
    inputs=(x,),
    given=p,
    extents={k: sp.Integer(2)},
)


@pytest.fixture(scope="module")
def taps(tmp_path_factory: pytest.TempPathFactory) -> Definition:
    return through(TAPS, tmp_path_factory.mktemp("taps"))[1]


def matrix(rows: int, columns: int, s: int, d: int) -> Any:
    made = np.zeros((rows, columns))
    for p in range(rows):
        for k in range(2):
            made[p, min(s * p // d + k, columns - 1)] += k + 1
    return made


def run(
    taps: Definition, program: str, given: dict[str, Any], P: int, X: int, s: int, d: int, tasks: int
) -> Any:
    N, C = given["x"].shape[0], given["x"].shape[2]
    sizes = {"N": N, "X1": X, "C": C, "s": s, "d": d, "P": P}
    wanted = taps.sizes.__code__.co_varnames[: taps.sizes.__code__.co_argcount]
    sizes |= taps.sizes(**{name: sizes[name] for name in wanted})
    (name,) = taps.programs[program].outputs
    return execute(taps, program, given, sizes, {}, (name,), None, given["x"].dtype, tasks=tasks)[name]


LAYOUTS = ((0, 1, 2), (0, 2, 1), (1, 2, 0))  # in which order the axes lie in memory


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("P", "X", "s", "d"),
    [(1, 1, 1, 1), (40, 40, 1, 1), (67, 23, 1, 3), (23, 67, 3, 1), (19, 190, 10, 1), (33, 50, 3, 2), (5, 3, 1, 2)],
    ids=["one", "a copy", "finer", "coarser", "far apart", "in between", "few"],
)  # fmt: skip
def test_both_programs_in_any_layout(taps: Definition, dtype: Any, P: int, X: int, s: int, d: int) -> None:
    """Small whole numbers: exact in any order of adding."""
    rng, a = np.random.default_rng(P), matrix(P, X, s, d)
    for C in (1, 5, 21):
        x = rng.integers(-4, 5, (2, X, C)).astype(dtype)
        gy = rng.integers(-4, 5, (2, P, C)).astype(dtype)
        for order in LAYOUTS:
            back = np.argsort(order)
            laid = [np.ascontiguousarray(array.transpose(order)).transpose(back) for array in (x, gy)]
            for tasks in (1, 3):
                y = run(taps, "forward", {"x": laid[0]}, P, X, s, d, tasks)
                np.testing.assert_array_equal(y, np.einsum("pq,nqc->npc", a, x))
                gx = run(taps, "vjp", {"x": laid[0], "gy": laid[1]}, P, X, s, d, tasks)
                np.testing.assert_array_equal(gx, np.einsum("pq,npc->nqc", a, gy))


def test_what_is_not_read_does_not_count(taps: Definition) -> None:
    """An infinity stays in the rows that read it."""
    x = np.ones((1, 20, 40), np.float32)
    x[0, 7, 3] = np.inf
    for order in LAYOUTS[:2]:
        laid = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
        y = run(taps, "forward", {"x": laid}, 40, 20, 1, 2, 1)
        assert not np.isnan(y).any()
        assert sorted(np.argwhere(np.isinf(y)).tolist()) == [[0, row, 3] for row in range(12, 16)]


def test_rows_of_more_places_than_a_table_has(taps: Definition) -> None:
    """Other ways take over."""
    x = np.random.default_rng(0).integers(-4, 5, (1, 9000, 2)).astype(np.float32)
    y = run(taps, "forward", {"x": x}, 8500, 9000, 1, 1, 2)
    np.testing.assert_array_equal(y, x[:, :8500] + 2 * x[:, 1:8501])
