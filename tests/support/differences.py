"""Gradients of reference formulas without writing them: exact to rounding, from the formula alone.

    complex_step   f(x + ih) = f(x) + ih f'(x) + O(h^2): with h = 1e-30 the imaginary part is h f'(x) to the last digit
    transposed     of a map that is linear, or linear and a constant: its columns one by one

The formulas are written for complex numbers, and compare real parts only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any
STEP = 1e-30


def complex_step(forward: Callable[..., Array]) -> Callable[..., tuple[Array | None, ...]]:
    """(gy, *arrays) -> the gradient of each real array; None for integers and absent ones."""

    def vjp(gy: Array, *arrays: Array | None) -> tuple[Array | None, ...]:
        found: list[Array | None] = []
        for n, a in enumerate(arrays):
            if a is None or a.dtype.kind != "f":
                found.append(None)
                continue
            gradient = np.empty(a.shape)
            for at in np.ndindex(a.shape):
                moved = np.array(a, complex)
                moved[at] += 1j * STEP
                y = forward(*arrays[:n], moved, *arrays[n + 1 :])
                gradient[at] = (gy * np.imag(y)).sum() / STEP
            found.append(gradient)
        return tuple(found)

    return vjp


def transposed(forward: Callable[[Array], Array]) -> Callable[[Array, Array], tuple[Array]]:
    """(gy, x) -> the gradient of x, for a forward map of one array."""

    def vjp(gy: Array, x: Array) -> tuple[Array]:
        gradient, nothing = np.empty(x.shape), forward(np.zeros(x.shape))
        for at in np.ndindex(x.shape):
            unit = np.zeros(x.shape)
            unit[at] = 1.0
            gradient[at] = (gy * (forward(unit) - nothing)).sum()
        return (gradient,)

    return vjp
