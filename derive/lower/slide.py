"""Recognise windows that slide: sums in which one operand is read at a place that moves with the target and a tap.

    y[.., p, q, ..] = sum over taps k, l of  weight[k, l] * x[.., s*p + d*k - a, t*q + e*l - b, ..]

And maxima and minima of what is read there alone, or where they are.

An axis is an equality of three indices, one free (the place), two bound (the tap, and the follower that is read at).
It is taken in one of two forms:

    follower = stride * place +- spread * tap + offset                    a window as it is written
    modulus * follower = place -+ spread * tap + offset                   places in classes modulo `modulus`; within a
                                                                          class place and follower grow by one, and the
                                                                          taps that meet it are a residue class

With all signs known at compile time a follower's range over a block of places and all taps is an interval: that part
of the operand is copied once with zeros around it (or combined line by line, where no tap has a weight), and then
nothing is guarded, and taps and places whose sum is the same read the same line. Anything else (a constraint more, a
place that is read at directly) is no window.

Where taps are the target and places are summed over, as in the weight gradient of a depthwise convolution, the same
copies serve a `Fold`: there are few sums, and many products to each.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from derive.language import Index, Lap
from derive.program import Access, Affine, Equation, IntegerAccess


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis that a window slides on."""

    place: Index
    tap: Index
    follower: Index
    stride: sp.Expr  # of the follower from place to place: > 0, 1 in classes
    spread: sp.Expr  # > 0
    falls: bool  # from tap to tap the follower falls
    offset: sp.Expr
    modulus: sp.Expr = sp.S.One

    @property
    def classes(self) -> bool:
        return bool(self.modulus != 1)


@dataclass(frozen=True, slots=True)
class Slide:
    """A sum, or an extremum, over windows of one operand.

    lane     the axis whose places are lanes
    row      the axis of which a few places are taken together, if there is another
    others   axes that are looped over
    moving   what is read through the windows, and perhaps more that is read at the same places
    """

    equation: Equation
    lane: Axis
    row: Axis | None
    others: tuple[Axis, ...]
    moving: tuple[Access, ...]

    @property
    def axes(self) -> tuple[Axis, ...]:
        return (*self.others, *((self.row,) if self.row is not None else ()), self.lane)

    @property
    def rest(self) -> tuple[Index, ...]:
        """Bound indices that are on no axis."""
        held = {i for a in self.axes for i in (a.tap, a.follower)}
        return tuple(i for i in self.equation.bound if i not in held)

    @property
    def outer(self) -> tuple[Index, ...]:
        """Free indices on no axis, and the places of the others."""
        return tuple(
            i
            for i in self.equation.free
            if i != self.lane.place and (self.row is None or i != self.row.place)
        )

    def describe(self) -> str:
        rows = f", rows over {self.row.place}" if self.row is not None else ""
        names = " ".join(dict.fromkeys(r.tensor for r in self.moving))
        return f"windows of {names} slide, lanes over {self.lane.place}{rows}"


@dataclass(frozen=True, slots=True)
class Fold(Slide):
    """Windows whose taps are free and whose places are summed over, with what is read at the places.

    lane     the axis whose places are lanes, which are combined at the end
    row      the axis of which a few places are taken together, if there is another
    others   axes whose places are looped over
    fixed    what is read at the places
    """

    fixed: tuple[Access, ...] = ()

    @property
    def rest(self) -> tuple[Index, ...]:
        """A block's copies are of the axes alone."""
        return ()

    @property
    def outer(self) -> tuple[Index, ...]:
        """Free indices on no axis."""
        taps = {a.tap for a in self.axes}
        return tuple(i for i in self.equation.free if i not in taps)

    @property
    def looped(self) -> tuple[Index, ...]:
        """Bound indices with a block of copies for each: those on no axis, and the places of the others."""
        held = {i for a in self.axes for i in (a.place, a.follower)}
        others = {a.place for a in self.others}
        return tuple(i for i in self.equation.bound if i not in held or i in others)

    def describe(self) -> str:
        names = " ".join(dict.fromkeys(r.tensor for r in self.moving))
        return f"windows of {names} slide, lanes over {self.lane.place}, combined at the end"


def _positive(e: sp.Expr) -> bool:
    return bool(e.is_positive)


def _axis(form: Affine, place: Index, tap: Index, follower: Index) -> Axis | None:
    f, p, t = (form.coefficient(i) for i in (follower, place, tap))
    if f in (1, -1):
        stride, spread, offset = sp.expand(-f * p), sp.expand(-f * t), sp.expand(-f * form.constant)
        modulus = sp.S.One
    elif p in (1, -1):
        stride, modulus = sp.S.One, sp.expand(-p * f)
        spread, offset = sp.expand(p * t), sp.expand(p * form.constant)
    else:
        return None
    falls = _positive(-spread)
    spread = sp.expand(-spread) if falls else spread
    if not all(map(_positive, (stride, spread, modulus))):
        return None
    return Axis(place, tap, follower, stride, spread, falls, offset, modulus)


def _windows(eq: Equation, moving: Access) -> Slide | None:
    """The equation as windows of this operand."""
    free, axes = set(eq.free), dict[Index, Axis]()
    for form in eq.relation.zero:
        places = [i for i in form.atoms if i in free]
        bound = [i for i in form.atoms if isinstance(i, Index) and i not in free]
        followers = [i for i in bound if i in moving.indices]
        if form.reads or len(form.atoms) != 3 or len(places) != 1 or len(followers) != 1:
            return None
        (place,), (follower,) = places, followers
        (tap,) = (i for i in bound if i != follower)
        axis = _axis(form, place, tap, follower)
        if axis is None or place in axes:
            return None
        axes[place] = axis
    order = [axes[i] for i in eq.free if i in axes]
    if not order:
        return None
    held = [i for a in order for i in (a.tap, a.follower)]
    followers_held = {a.follower for a in order}
    if len(set(held)) != len(held) or any(isinstance(i, Lap) for i in held):
        return None
    moves = tuple(r for r in eq.reads if followers_held & set(r.indices))
    if any({a.place, a.tap} & set(r.indices) for a in order for r in moves):
        return None
    moves = (moving, *(r for r in moves if r != moving))
    row = order[-2] if len(order) > 1 else None
    return Slide(eq, order[-1], row, tuple(order[:-2]), moves)


def _placed(s: Slide) -> bool:
    """Is an extremum's first place the first of the table, and can its place be told from places and taps?"""
    eq = s.equation
    if eq.at is None:
        return True
    if any(a.classes or a.falls for a in s.axes):
        return False
    bound = [i for i in eq.bound if i not in {a.follower for a in s.axes}]
    known = {*eq.free, *bound}
    return (
        eq.ties == "first"
        and not eq.at.reads
        and set(eq.at.indices) <= known
        and bound == [*s.rest, *(a.tap for a in s.axes)]
    )


def slides(eq: Equation) -> tuple[Slide, ...]:
    """The ways to see an equation as windows that slide; two where either operand may be the one that is read."""
    if eq.reduce == "prod" or eq.relation.nonneg or not eq.relation.zero:
        return ()
    reads = [r for r in eq.reads if not isinstance(r, IntegerAccess)]
    if len(reads) != len(eq.reads):
        return ()
    found = {s.lane.follower: s for r in reversed(reads) if (s := _windows(eq, r)) is not None}
    if eq.reduce != "sum":  # a weight might turn what lies outside, below everything, into a large number
        found = {i: s for i, s in found.items() if len(s.moving) == len(reads) and _placed(s)}
    return tuple(sorted(found.values(), key=lambda s: eq.relation.indices.index(s.lane.follower)))


def _fold(eq: Equation, moving: Access) -> Fold | None:
    """The equation as sums of this operand's windows over their places."""
    free, axes = set(eq.free), dict[Index, Axis]()
    fixed = tuple(r for r in eq.reads if r != moving)
    for form in eq.relation.zero:
        taps = [i for i in form.atoms if i in free]
        bound = [i for i in form.atoms if isinstance(i, Index) and i not in free]
        followers = [i for i in bound if i in moving.indices]
        if form.reads or len(form.atoms) != 3 or len(taps) != 1 or len(followers) != 1:
            return None
        (tap,), (follower,) = taps, followers
        (place,) = (i for i in bound if i != follower)
        axis = _axis(form, place, tap, follower)
        if (
            axis is None
            or axis.classes
            or place in axes
            or isinstance(place, Lap)
            or isinstance(follower, Lap)
        ):
            return None
        axes[place] = axis
    if len({i for a in axes.values() for i in (a.tap, a.follower)}) != 2 * len(axes):
        return None
    moved = {i for a in axes.values() for i in (a.place, a.tap)}
    followers_held = {a.follower for a in axes.values()}
    if moved & set(moving.indices) or any(followers_held & set(r.indices) for r in fixed):
        return None
    if not fixed or any(a.tap in r.indices for a in axes.values() for r in fixed):
        return None
    # the innermost place of what is read there lies side by side
    order = [axes[i] for i in fixed[0].indices if i in axes]
    if len(order) != len(axes) or any(order[-1].place not in r.indices for r in fixed):
        return None
    if order[-1].follower not in moving.indices:
        return None
    row = order[-2] if len(order) > 1 else None
    return Fold(eq, order[-1], row, tuple(order[:-2]), (moving,), fixed)


def folds(eq: Equation) -> tuple[Fold, ...]:
    """The ways to see an equation as sums of windows over their places."""
    if eq.reduce != "sum" or eq.relation.nonneg or not eq.relation.zero:
        return ()
    if any(isinstance(r, IntegerAccess) for r in eq.reads):
        return ()
    return tuple(f for r in eq.reads if (f := _fold(eq, r)) is not None)
