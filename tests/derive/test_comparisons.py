"""A formula compared with itself: equal numbers must give equal values, however each side is worked out."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from derive import Operator, Sum, build, indices, tensors
from derive.language import indicator

FORMULAS = {
    "cube over three": lambda u, v: u**3 / 3 + v,
    "polynomial": lambda u, v: u**3 * v - v * u,
    "cancelling": lambda u, v: (u + v) * (u - v) + u**2,
    "exponential": lambda u, v: sp.exp(u * v) + u * v,
    "quotient of a root": lambda u, v: sp.sqrt(u**2 + 1) / (v**2 + 2) - u / 3,
    "without vectors": lambda u, v: sp.tanh(u) * v + u,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_no_number_is_below_its_equal(name, tmp_path, monkeypatch):
    """In lanes one side is shared by all and the other is not; in plain loops one is moved out of the loop."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    i, t = indices("i t")
    x, z, y = tensors("x z y")
    formula = FORMULAS[name]
    below = indicator(formula(x[t], z[t]) < formula(x[i], z[i]))
    count = build(Operator("below", y[i] << Sum[t](below), inputs=(x, z)))
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        for size in (7, 100):
            for u, v in rng.standard_normal((20, 2)).astype(dtype):
                found = count(np.full(size, u), np.full(size, v))
                assert not found.any(), (dtype, size, u, v)


@pytest.mark.parametrize("name", FORMULAS)
def test_the_kth_of_equals_is_found(name, tmp_path, monkeypatch):
    """Below, or equal and earlier: what both conditions share is worked out once, for lanes or for all of them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    k, t = indices("k t")
    x, z, y = tensors("x z y")
    formula = FORMULAS[name]
    mine, other = formula(x[k], z[k]), formula(x[t], z[t])
    below = indicator((other < mine) | ((t < k) & sp.Eq(other, mine)))
    rank = build(Operator("rank", y[k] << Sum[t](below), inputs=(x, z)))
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        for size in (7, 100):
            for u, v in rng.standard_normal((10, 2)).astype(dtype):
                found = rank(np.full(size, u), np.full(size, v))
                assert found.tolist() == list(range(size)), (dtype, size, u, v)
