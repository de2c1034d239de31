"""Arithmetic, concatenate, flatten, unflatten: against NumPy, and what they refuse."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import kernels
from kernels import add, concatenate, divide, flatten, multiply, subtract, unflatten
from kernels.errors import ArgumentError, ArgumentTypeError, ShapeError

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


# The function of NumPy, and the gradients before they are summed over what is repeated.
ARITHMETIC = {
    add: (np.add, lambda g, a, b: (g, g)),
    subtract: (np.subtract, lambda g, a, b: (g, -g)),
    multiply: (np.multiply, lambda g, a, b: (g * b, g * a)),
    divide: (np.divide, lambda g, a, b: (g / b, -g * a / b**2)),
}


def summed(g, shape):
    """The sum over the axes along which an array of that shape is repeated."""
    g = g.sum(tuple(range(g.ndim - len(shape))))
    return g.sum(tuple(axis for axis, n in enumerate(shape) if n == 1), keepdims=True)


@pytest.mark.parametrize("operator", ARITHMETIC, ids=lambda operator: operator.__name__)
def test_every_way_to_broadcast_four_axes(operator):
    """Both arrays, one, the other or neither have each axis. Small integers, and powers of two: all is exact."""
    function, gradients = ARITHMETIC[operator]
    for kinds in product(("both", "input", "other", "neither"), repeat=4):
        one = tuple(
            n if kind in ("both", "input") else 1 for n, kind in zip((2, 3, 2, 3), kinds, strict=True)
        )
        two = tuple(
            n if kind in ("both", "other") else 1 for n, kind in zip((2, 3, 2, 3), kinds, strict=True)
        )
        while two[:1] == (1,):
            two = two[1:]
        a, b = RNG.integers(1, 5, one).astype(float), 2.0 ** RNG.integers(-2, 3, two)
        y, pullback = operator.vjp(a, b)
        assert y.shape == operator.output_shape(a, two) == np.broadcast_shapes(one, two)
        assert np.array_equal(y, function(a, b)), kinds
        gy = RNG.integers(-3, 4, y.shape).astype(float)
        for found, whole, shape in zip(pullback(gy), gradients(gy, a, b), (one, two), strict=True):
            assert found.shape == shape
            assert np.array_equal(found, summed(whole, shape)), kinds


def test_variants_and_the_operators_of_their_names():
    row, column = np.arange(3.0), np.arange(2.0).reshape(2, 1)
    plane = column + row
    for name, pair in {
        "other": (plane, row),
        "input": (row, plane),
        "both_input": (column, row),
        "both_other": (row, column),
    }.items():
        for operator, (function, _) in ARITHMETIC.items():
            own = getattr(kernels, f"{operator.__name__}_broadcast_{name}")
            assert operator.variant(pair, {}) is own
            assert np.array_equal(own(*pair), operator(*pair), equal_nan=True)
            with np.errstate(divide="ignore", invalid="ignore"):
                assert np.array_equal(own(*pair), function(*pair), equal_nan=True)
    assert add.variant((plane, plane), {}) is None
    assert np.array_equal(add(plane, 2.0), plane + 2)
    single = plane.astype(np.float32)
    for y in (multiply(single, 2), multiply(2.0, single), multiply.vjp(single, 2.0)[0]):
        assert y.dtype == np.float32
        assert np.array_equal(y, 2 * plane)
    assert multiply.vjp(single, 2)[1](np.ones_like(single))[1] == single.sum()
    assert multiply(2, 3).dtype == np.float64
    assert np.array_equal(multiply(single, 1e300)[1:], np.full((1, 3), np.inf))
    assert add.output_shape(plane, 2.0) == (2, 3)
    assert add.output_shape((np.int64(2), 1), (3,)) == (2, 3)
    assert np.array_equal(subtract(np.zeros((0, 3)), row), np.zeros((0, 3)))


def test_what_is_contiguous_stays_it_where_axes_are_exchanged():
    """Three runs of one kind are one too many in the order of the equations, and in any order none too many."""
    a, b = RNG.standard_normal((2, 1, 3, 1)), RNG.standard_normal((1, 3, 3, 2))
    assert np.array_equal(subtract(a, b), a - b)
    assert np.array_equal(subtract(b, a), b - a)


def test_unflatten_is_the_inverse_of_flatten():
    a = RNG.standard_normal((2, 12, 2))
    assert np.array_equal(unflatten(a, 1, (3, -1)), a.reshape(2, 3, 4, 2))
    y, pullback = unflatten.vjp(a, dim=-1, sizes=(2, 1, 1))
    assert np.array_equal(y, a.reshape(2, 12, 2, 1, 1))
    assert np.array_equal(pullback(y)[0], a)
    with pytest.raises(
        ArgumentError, match=r"`sizes` is \(5, -1\) but needs the product 12, input.shape\[1\]"
    ):
        unflatten(a, 1, (5, -1))
    with pytest.raises(ArgumentError, match=r"`sizes` is \(\) but needs a tuple of extents"):
        unflatten(a, 1, ())
    with pytest.raises(ArgumentError, match=r"`sizes` is \(-1, -1, 12\) but needs the product 12"):
        unflatten(a, 1, (-1, -1, 12))


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
        ShapeError,
        match=r"`other` has shape \(2, 3\) but `input` has \(2, 3, 4\): along axis -2 they need to be equal, or",
    ):
        add(a, np.zeros((2, 3)))
    with pytest.raises(ArgumentTypeError, match="`other` is .* but needs a real number"):
        add(a, 10**400)
    with pytest.raises(ShapeError, match=r"take turns in being repeated along 6 runs of axes, more than"):
        multiply(np.zeros((2, 1, 2, 1, 2, 1)), np.zeros((1, 2, 1, 2, 1, 2)))
    with pytest.raises(
        ShapeError, match=r"`other` has shape \(2, 3, 5\) but needs that of `input` \(2, 3, 4\), "
    ):
        concatenate(a, np.zeros((2, 3, 5)))
    with pytest.raises(ArgumentError, match=r"`dim` is 3 but needs -3 <= dim < 3"):
        concatenate(a, a, dim=3)
    with pytest.raises(ArgumentError, match="`start_dim` is axis 2 but `end_dim` is axis 1, before it"):
        flatten(a, start_dim=2, end_dim=1)
