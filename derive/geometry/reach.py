"""Affine maps from a place in an output to the places of an input that it is computed from, axis by axis.

    low + slopes . u  <=  place on an input's axis  <=  high + slopes . u         u a place in the output

Such a band is closed under composition and, where slopes agree, under union; receptive fields are what comes out.
The slope is the jump (the product of strides), low the start, (low + high) / 2 the centre, high - low + 1 the size.
A mean over a plane reads the same places wherever u is: a band whose slopes are zero. What a normalised plane reads
is both, so a reach holds several bands, one for each slope.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import floor


@dataclass(frozen=True, slots=True)
class Band:
    """The places from low + slopes . u to high + slopes . u, one slope for each axis of the output."""

    slopes: tuple[Fraction, ...]
    low: Fraction
    high: Fraction

    @property
    def moves(self) -> bool:
        return any(self.slopes)

    @property
    def size(self) -> int:
        """The most places that it ever holds."""
        return floor(self.high - self.low) + 1

    @property
    def centre(self) -> Fraction:
        """Of the output's first place; further places follow at the slopes' distance."""
        return (self.low + self.high) / 2

    @property
    def jump(self) -> Fraction:
        """Its slope; of several the first."""
        return next((s for s in self.slopes if s), Fraction(0))

    def at(self, u: Sequence[int | Fraction]) -> tuple[Fraction, Fraction]:
        moved = sum((s * x for s, x in zip(self.slopes, u, strict=True)), Fraction(0))
        return self.low + moved, self.high + moved


@dataclass(frozen=True, slots=True)
class Reach:
    """What a place of an output reads along one axis of an input: bands of different slopes; none: nothing.

    apart  two ways lead there that have one jump and different centres
    """

    bands: tuple[Band, ...] = ()
    apart: bool = False

    @property
    def fixed(self) -> Band | None:
        """The places that it reads wherever it is."""
        return next((b for b in self.bands if not b.moves), None)

    @property
    def moving(self) -> tuple[Band, ...]:
        return tuple(b for b in self.bands if b.moves)

    @property
    def misaligned(self) -> bool:
        """Whether no band has one centre for all ways: their jumps or their centres differ."""
        return self.apart or len(self.moving) > 1

    def band(self, at: Sequence[int]) -> Band | None:
        """The places that move with the output's; where jumps differ, as the first band goes, and right `at` a place."""
        if not self.moving:
            return None
        first = self.moving[0]
        here = first.at(at)[0] - first.low
        ends = [b.at(at) for b in self.moving]
        return Band(first.slopes, min(e[0] for e in ends) - here, max(e[1] for e in ends) - here)

    def all_of(self, size: int) -> bool:
        """Whether an axis of this size is read from end to end wherever the output's place is."""
        return self.fixed is not None and self.fixed.low <= 0 and self.fixed.high >= size - 1


Reaches = tuple[Reach, ...]  # one for each axis of an input


def unmoved(axes: int) -> Reaches:
    """Each place reads itself."""
    return tuple(Reach((along(axes, axis),)) for axis in range(axes))


def along(axes: int, axis: int) -> Band:
    """The place on one axis of the output."""
    return Band(tuple(Fraction(a == axis) for a in range(axes)), Fraction(0), Fraction(0))


def everywhere(axes: int, size: int) -> Reach:
    """A whole axis, wherever on its `axes` axes the output's place is."""
    return Reach((Band((Fraction(0),) * axes, Fraction(0), Fraction(max(0, size - 1))),))


def composed(outer: Reaches, inner: Reaches, axes: int) -> Reaches:
    """x by z, of `axes` axes: `outer` is what z reads of y, `inner` what y reads of x."""
    return tuple(_composed(outer, reach, axes) for reach in inner)


def _composed(outer: Reaches, inner: Reach, axes: int) -> Reach:
    """Bands of bands: low + slope * band, whose ends change places where the slope is negative."""
    found, apart = Reach(), inner.apart
    for band in inner.bands:
        moved = [(s, reach) for s, reach in zip(band.slopes, outer, strict=True) if s != 0]
        apart = apart or any(reach.apart for _, reach in moved)
        for choice in product(*(reach.bands for _, reach in moved)):
            slopes, low, high = [Fraction(0)] * axes, band.low, band.high
            for (s, _), part in zip(moved, choice, strict=True):
                slopes = [a + s * b for a, b in zip(slopes, part.slopes, strict=True)]
                ends = s * part.low, s * part.high
                low, high = low + min(ends), high + max(ends)
            found = _united(found, Reach((Band(tuple(slopes), low, high),)))
    return Reach(found.bands, apart)


def united(first: Reaches, second: Reaches) -> Reaches:
    """What either reads."""
    return tuple(_united(a, b) for a, b in zip(first, second, strict=True))


def _united(a: Reach, b: Reach) -> Reach:
    bands, apart = {band.slopes: band for band in a.bands}, a.apart or b.apart
    for band in b.bands:
        other = bands.get(band.slopes, band)
        apart = apart or (band.moves and other.centre != band.centre)
        bands[band.slopes] = Band(band.slopes, min(other.low, band.low), max(other.high, band.high))
    return Reach(tuple(bands.values()), apart)
