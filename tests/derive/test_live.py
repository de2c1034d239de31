"""Live operators, for a notebook."""

from __future__ import annotations

import re

import numpy as np
import pytest
import sympy as sp

from derive import Operator, SpecError, build, indices, reals, tensors
from kernels.errors import ArgumentError

n = indices("n")
x, y = tensors("x y")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.parametrize("other", [y[n] << x[n], "conv2d", None])
def test_what_is_no_operator(other):
    with pytest.raises(
        SpecError, match=re.escape("build takes an Operator(name, equation, ..., inputs=...), found ")
    ):
        build(other)


def test_a_positive_real_is_not_negative():
    """SymPy took sqrt(r^2) for r, so a negative r would give another number than the equation says."""
    r, any_sign = reals("r", positive=True), reals("q")
    assert sp.sqrt(r**2) == r
    scaled = build(Operator("scaled", y[n] << sp.sqrt(r**2) * x[n] + any_sign, inputs=x))
    array = np.arange(3.0)
    assert scaled(array, r=2, q=-1).tolist() == [-1, 1, 3]
    assert scaled(array, r=0, q=0).tolist() == [0, 0, 0]
    with pytest.raises(ArgumentError, match=re.escape("scaled: `r` is -2.0 but needs to be at least 0")):
        scaled(array, r=-2, q=0)
