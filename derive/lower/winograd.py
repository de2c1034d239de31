"""Recognise sums over windows that minimal filtering makes: place = row + tap + constant along two axes.

    y[batch, images, columns, p0, p1] = sum over channels, k0, k1 of
        A[batch, images, channels, p0 + k0 + constant, p1 + k1 + constant] * B[batch, columns, channels, k0, k1]

Rows stand in the target, taps in B and places in A, each of them on one axis, and an equality for each of the two axes
joins them. A tap may also be subtracted, as in a convolution proper or in the input gradient of a correlation: such
taps are then taken from the last to the first. Run-time coefficients have to be 1 and taps to be three, which the
kernel asks; so either operand may be the one that windows slide over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy as sp

from derive.language import Index
from derive.lower.contraction import Contraction
from derive.program import Access, Affine, Equation


@dataclass(frozen=True, slots=True)
class Axis:
    """place = row + tap + constant, or row - tap + constant where it falls."""

    place: Index
    row: Index
    tap: Index
    falls: bool
    constant: sp.Expr
    units: tuple[sp.Expr, ...]  # run-time coefficients that must be 1


@dataclass(frozen=True, slots=True)
class Windows:
    equation: Equation
    read: Access  # what windows slide over
    weights: Access
    axes: tuple[Axis, Axis]
    batch: tuple[Index, ...]
    images: tuple[Index, ...]
    columns: tuple[Index, ...]
    channels: tuple[Index, ...]

    @property
    def units(self) -> tuple[sp.Expr, ...]:
        return tuple(dict.fromkeys(u for axis in self.axes for u in axis.units))

    def describe(self) -> str:
        first, second = self.axes
        roles = ("images", "columns", "channels", "batch")
        parts = [f"{role} {' '.join(i.name for i in getattr(self, role)) or '-'}" for role in roles]
        where = f" where {', '.join(f'{u} = 1' for u in self.units)}" if self.units else ""
        return (
            f"Winograd over {self.read.tensor}: {first.row.name} {second.row.name} by 2 x 2, "
            f"3 x 3 taps {first.tap.name} {second.tap.name}, {', '.join(parts)}{where}"
        )


def windows(c: Contraction) -> tuple[Windows, ...]:
    """A contraction as sums over windows of either operand."""
    if c.pair is not None or c.scale != 1:
        return ()
    operands = c.a.access, c.b.access
    made = (_windows(c.equation, *pair) for pair in (operands, operands[::-1]))
    return tuple(one for one in made if one is not None)


def _windows(eq: Equation, read: Access, weights: Access) -> Windows | None:
    axes = [_axis(eq, z, read, weights) for z in eq.relation.zero]
    first, second, *_ = [axis for axis in axes if axis is not None] + [None, None]
    joined = [i for axis in axes if axis is not None for i in (axis.place, axis.row, axis.tap)]
    if None in axes or len(axes) != 2 or len(set(joined)) != 6 or first is None or second is None:
        return None
    roles: dict[tuple[bool, bool, bool], list[Index]] = {
        (True, True, True): [],
        (True, False, True): [],
        (False, True, True): [],
        (True, True, False): [],
    }
    for i in eq.relation.indices:
        if i in joined:
            continue
        role = i in read.indices, i in weights.indices, i in eq.free
        if role not in roles:
            return None
        roles[role].append(i)
    batch, images, columns, channels = map(tuple, roles.values())
    if not columns or not channels:
        return None
    return Windows(eq, read, weights, (first, second), batch, images, columns, channels)


def _axis(eq: Equation, z: Affine, read: Access, weights: Access) -> Axis | None:
    """An equality of a row, a tap and a place, all coefficients of which are 1 or symbols that may be."""
    if z.reads or len(z.indices) != 3:
        return None

    def only(found: Sequence[Index]) -> Index | None:
        return found[0] if len(found) == 1 else None

    reads = {*read.indices, *weights.indices}
    row = only([i for i in z.indices if i in eq.free and i not in reads])
    place = only([i for i in z.indices if i in read.indices and i not in (*weights.indices, *eq.free)])
    tap = only([i for i in z.indices if i in weights.indices and i not in (*read.indices, *eq.free)])
    if row is None or place is None or tap is None:
        return None
    if not z.coefficient(place).could_extract_minus_sign():
        z = z.scaled(sp.S.NegativeOne)
    falls = z.coefficient(tap).could_extract_minus_sign()
    factors = -z.coefficient(place), z.coefficient(row), z.coefficient(tap) * (-1 if falls else 1)
    if any(f != 1 and not f.is_Symbol for f in factors):
        return None
    return Axis(place, row, tap, falls, z.constant, tuple(f for f in factors if f != 1))


__all__ = ["Axis", "Windows", "windows"]
