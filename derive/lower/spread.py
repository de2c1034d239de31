"""Recognise what gives each element of a place's window what is read there: the other side of windows that slide.

    gx[.., x, y, ..] = sum over places p, q and taps k, l of  gy[.., p, q, ..]     { s*p + d*k - a = x, t*q + e*l - b = y }

And the same where an integer picks one tap of each window, as in the gradient of a maximum:  { .., K*k + l = at[.., p, q, ..] }.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from derive.language import Index, Lap
from derive.program import Access, Affine, Equation, IntegerAccess


@dataclass(frozen=True, slots=True)
class Share:
    """One axis: element = stride * place + spread * tap + offset."""

    place: Index
    tap: Index
    element: Index
    stride: sp.Expr
    spread: sp.Expr
    offset: sp.Expr


@dataclass(frozen=True, slots=True)
class Spread:
    """A sum that spreads what is read at places over their windows.

    axes     in the order of the target's last indices, which are their elements
    read     what is given
    key      the integer that picks a tap of each window, if one does
    picks    what it equals at the tap that it picks
    """

    equation: Equation
    axes: tuple[Share, ...]
    read: Access
    key: IntegerAccess | None
    picks: Affine

    def describe(self) -> str:
        picked = f", at the tap that {self.key.tensor} picks," if self.key is not None else ""
        return f"what {self.read.tensor} gives to windows{picked}"


def spreads(eq: Equation) -> Spread | None:
    """The equation as places that give to their windows, or None."""
    read = eq.body
    if (
        eq.reduce != "sum"
        or eq.relation.nonneg
        or not isinstance(read, Access)
        or isinstance(read, IntegerAccess)
    ):
        return None
    found, key, picks = dict[Index, Share](), None, Affine(())
    for form in eq.relation.zero:
        if form.reads:
            (one, *more) = form.reads
            sign = form.coefficient(one)
            rest = form.without(one).scaled(-sign)
            if key is not None or more or sign not in (1, -1) or one.indices != read.indices:
                return None
            key, picks = one, rest
            continue
        share = _share(form, eq, read)
        if share is None or share.element in found:
            return None
        found[share.element] = share
    axes = tuple(found[i] for i in eq.free if i in found)
    held = [i for a in axes for i in (a.place, a.tap)]
    places = {a.element: a.place for a in axes}
    if not axes or len(held) != len(set(held)) or set(eq.bound) != set(held):
        return None
    if any(isinstance(i, Lap) for i in held):
        return None
    if not set(picks.atoms) <= {a.tap for a in axes}:
        return None
    if eq.free[-len(axes) :] != tuple(places) or read.indices != tuple(places.get(i, i) for i in eq.free):
        return None
    return Spread(eq, axes, read, key, picks)


def _share(form: Affine, eq: Equation, read: Access) -> Share | None:
    elements = [i for i in form.atoms if i in eq.free]
    places = [i for i in form.atoms if i in read.indices and i not in eq.free]
    taps = [i for i in form.atoms if i not in eq.free and i not in read.indices]
    if not len(elements) == len(places) == len(taps) == 1:
        return None
    (element,), (place,), (tap,) = elements, places, taps
    f = form.coefficient(element)
    if f not in (1, -1):
        return None
    stride, spread, offset = (
        sp.expand(-f * e) for e in (form.coefficient(place), form.coefficient(tap), form.constant)
    )
    return Share(place, tap, element, stride, spread, offset)
