"""A scatter by a table, compiled: the order of adding, layouts, borders, and tables that are too large."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from derive.language import Max, Operator, indices, parameters, tensors
from kernels.runtime.definition import Definition
from kernels.runtime.execute import execute
from tests.support.line import through

n, c = indices("n c")
(p0, p1), (k0, k1) = indices("p k", 2)
x, y = tensors("x y")
s = parameters("s")
POOL = Operator(
    "pool", y[n, c, p0, p1] << Max[k0, k1](x[n, c, s * p0 + k0, s * p1 + k1]), inputs=(x,), given=(k0, k1)
)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Definition:
    return through(POOL, tmp_path_factory.mktemp("pool"))[1]


def gradient(pool: Definition, x: Any, gy: Any, K: int, s: int, tasks: int) -> Any:
    N, C, X2, X3 = x.shape
    sizes = {"N": N, "C": C, "X2": X2, "X3": X3, "K0": K, "K1": K, "s": s}
    wanted = pool.sizes.__code__.co_varnames[: pool.sizes.__code__.co_argcount]
    sizes |= pool.sizes(**{name: sizes[name] for name in wanted})
    return execute(pool, "vjp", {"x": x, "gy": gy}, sizes, {}, ("gx",), None, x.dtype, tasks=tasks)["gx"]


def expected(x: Any, gy: Any, K: int, s: int) -> Any:
    """Window after window in the dtype of the arrays, as plain loops add."""
    gx = np.zeros_like(x)
    for m, d, i, j in np.ndindex(gy.shape):
        window = x[m, d, s * i : s * i + K, s * j : s * j + K]
        a, b = np.unravel_index(window.argmax(), window.shape)
        gx[m, d, s * i + a, s * j + b] += gy[m, d, i, j]
    return gx


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("C", "X", "K", "s"), [(1, 9, 3, 2), (5, 40, 7, 1), (4, 23, 2, 3), (9, 6, 4, 1)])
def test_bits_are_those_of_the_plain_order(
    pool: Definition, dtype: Any, C: int, X: int, K: int, s: int
) -> None:
    rng = np.random.default_rng(C)
    x = rng.normal(size=(2, C, X, X + 1)).astype(dtype)
    shape = (2, C, (X - K) // s + 1, (X + 1 - K) // s + 1)
    gy = (rng.normal(size=shape) * 10.0 ** rng.integers(-4, 5, shape)).astype(dtype)
    for tasks in (1, 3):
        np.testing.assert_array_equal(gradient(pool, x, gy, K, s, tasks), expected(x, gy, K, s))


def test_windows_of_more_places_than_a_table_has(pool: Definition) -> None:
    """The plain loops take over."""
    x = np.random.default_rng(0).normal(size=(1, 1, 259, 260)).astype(np.float32)
    gy = np.ones((1, 1, 2, 3), np.float32)
    np.testing.assert_array_equal(gradient(pool, x, gy, 258, 1, 1), expected(x, gy, 258, 1))


def test_any_layout(pool: Definition) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 9, 10, 3)).astype(np.float32).transpose(0, 3, 1, 2)
    gy = rng.normal(size=(2, 3, 4, 4)).astype(np.float32).transpose(0, 1, 3, 2)
    np.testing.assert_array_equal(gradient(pool, x, gy, 3, 2, 1), expected(x, gy, 3, 2))
