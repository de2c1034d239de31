"""Piecewise scalar functions with the conventions of `derive.language`: ordinary kernels over scalars."""

from __future__ import annotations

from typing import Any

from kernels.runtime.compile import kernel
from kernels.runtime.scalar import highest, lowest, one, zero

Scalar = Any


@kernel
def relu(u: Scalar) -> Scalar:
    """max(u, 0); NaN stays NaN."""
    return zero() if u <= zero() else u


@kernel
def step(u: Scalar) -> Scalar:
    """1 where u > 0, else 0; the derivative of relu."""
    return one() if u > zero() else zero()


@kernel
def larger(u: Scalar, v: Scalar) -> Scalar:
    """The larger; u where they tie; NaN if either is."""
    return u if u >= v or u != u else v


@kernel
def smaller(u: Scalar, v: Scalar) -> Scalar:
    """The smaller; u where they tie; NaN if either is."""
    return u if u <= v or u != u else v


@kernel
def finite(u: Scalar) -> Scalar:
    """u where it is finite, else 0."""
    return u if lowest() < u and u < highest() else zero()


@kernel
def indicator(condition: bool) -> Scalar:
    """1 where the condition holds, else 0."""
    return one() if condition else zero()
