"""Where a maximum lies: among infinities, NaN and places that do not exist, against a loop over the window."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import kernels


def expected(x: Any, size: int, stride: int, padding: int, dilation: int) -> tuple[Any, Any]:
    """The first of the largest in the order of the taps; the last NaN, where there is one."""
    height, width = x.shape[-2:]
    out = [(n + 2 * padding - dilation * (size - 1) - 1) // stride + 1 for n in (height, width)]
    values, places = np.empty((*x.shape[:2], *out), x.dtype), np.empty((*x.shape[:2], *out), np.int64)
    for n, c, p, q in product(*map(range, values.shape)):
        best, place = -np.inf, -1
        for k, l in product(range(size), repeat=2):
            i, j = p * stride - padding + k * dilation, q * stride - padding + l * dilation
            if 0 <= i < height and 0 <= j < width:
                value = x[n, c, i, j]
                if place < 0 or value > best or np.isnan(value):
                    best, place = value, i * width + j
        values[n, c, p, q], places[n, c, p, q] = best, place
    return values, places


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("size", "stride", "padding", "dilation"),
    [(3, 2, 1, 1), (2, 1, 1, 1), (3, 1, 1, 2), (2, 2, 0, 1), (11, 1, 5, 1), (9, 1, 8, 2), (2, 5, 0, 3)],
)
@pytest.mark.parametrize("width", [5, 40])
def test_place_among_infinities(
    dtype: Any, size: int, stride: int, padding: int, dilation: int, width: int
) -> None:
    rng = np.random.default_rng(width)
    special = np.array([-np.inf, -np.inf, -np.inf, np.inf, np.nan, 0.0, 1.0], dtype)
    every = np.full((1, 1, 9, width), -np.inf, dtype)
    mixed = rng.choice(special, (1, 4, 9, width))
    rare = rng.choice(special, (1, 4, 9, width), p=[0.9, 0.05, 0.03, 0, 0.01, 0.01, 0])
    for x in (every, mixed, rare):
        values, places = expected(x, size, stride, padding, dilation)
        found = kernels.max_pool2d(x, size, stride, padding, dilation, return_indices=True)
        np.testing.assert_array_equal(found[0], values)
        np.testing.assert_array_equal(found[1], places)
        alone = kernels.max_pool2d(x, size, stride, padding, dilation)
        np.testing.assert_array_equal(alone, values)
        _, pullback = kernels.max_pool2d.vjp(x, size, stride, padding, dilation)
        ones = np.ones(values.shape, dtype)
        gradient = np.zeros(x.size, dtype)
        for plane in range(x.shape[1]):
            np.add.at(gradient, plane * 9 * width + places[0, plane].ravel(), 1)
        np.testing.assert_array_equal(pullback(ones)[0].ravel(), gradient)
