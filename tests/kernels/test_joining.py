"""add, concatenate, flatten: against NumPy, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import add, concatenate, flatten
from kernels.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dim", [0, 1, 3, -3, -1])
def test_concatenate_is_numpys_and_its_gradients_are_the_parts(dim):
    shape, other = [2, 3, 4, 5], [2, 3, 4, 5]
    other[dim] = 2
    a, b = RNG.standard_normal(shape), RNG.standard_normal(other)
    y, pullback = concatenate.vjp(a, b, dim=dim)
    assert np.array_equal(y, np.concatenate([a, b], dim))
    g_a, g_b = pullback(y)
    assert np.array_equal(g_a, a)
    assert np.array_equal(g_b, b)


def test_concatenate_takes_an_empty_part():
    a, b = RNG.standard_normal((2, 3)), np.empty((2, 0))
    assert np.array_equal(concatenate(a, b), a)
    assert np.array_equal(concatenate(b, a), a)


def test_add_and_flatten_are_numpys():
    a, b = RNG.standard_normal((2, 3, 4)), RNG.standard_normal((2, 3, 4))
    assert np.array_equal(add(a, b), a + b)
    assert np.array_equal(flatten(a), a.reshape(2, 12))
    assert np.array_equal(flatten(a, start_dim=0, end_dim=1), a.reshape(6, 4))
    y, pullback = flatten.vjp(a.transpose(0, 2, 1))
    assert np.array_equal(y, a.transpose(0, 2, 1).reshape(2, 12))
    (g,) = pullback(y)
    assert np.array_equal(g, a.transpose(0, 2, 1))


def test_what_does_not_fit_is_refused():
    a = np.zeros((2, 3, 4))
    with pytest.raises(
        ShapeError, match=r"`other` has shape \(2, 3\) but `input` has \(2, 3, 4\); nothing is"
    ):
        add(a, np.zeros((2, 3)))
    with pytest.raises(
        ShapeError, match=r"`other` has shape \(2, 3, 5\) but needs that of `input` \(2, 3, 4\), "
    ):
        concatenate(a, np.zeros((2, 3, 5)))
    with pytest.raises(ArgumentError, match=r"`dim` is 3 but needs -3 <= dim < 3"):
        concatenate(a, a, dim=3)
    with pytest.raises(ArgumentError, match="`start_dim` is axis 2 but `end_dim` is axis 1, before it"):
        flatten(a, start_dim=2, end_dim=1)
