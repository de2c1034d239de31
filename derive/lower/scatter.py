"""A scatter in lanes: the innermost loop of the plain nest, each lane with a target element of its own.

    for p1 in lanes:  k0, k1 = divmod(y_at[p0, p1], K1);  x2 = s0*p0 + d0*k0 - a0;  x3 = ...
                      gx[x2, x3] += gy[p0, p1]

What follows the loop is integer arithmetic, lane by lane, and tests, which are masks. Then the lanes add to memory
one after the other, so that the order of adding is that of the plain loops whatever the width of a vector. Planes
of the target, which no point leaves, are shared among tasks; a few are taken together.

Left to other lowerings: a nest with a loop that a lane would bound, and division of what may be negative.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import sympy as sp

from derive.language import Index
from derive.lower.lanes import Lanes
from derive.lower.loops import Assign, FloorDiv, Loop, Modulo, Nest, Test, expressions


@dataclass(frozen=True, slots=True)
class Scatter(Lanes):
    """`inner` as in the nest; the lanes stand for its last loop.

    plane   an index that tasks share and no step before that loop mentions: a few at a time share those steps
    """

    plane: Index = field(kw_only=True)

    def describe(self) -> str:
        return f"scatter in lanes over {self.lane}"


def scattered(nest: Nest) -> Scatter | None:
    """The scatter with its last loop in lanes, or None if there is none, or no plane, or something else follows."""
    places = [k for k, s in enumerate(nest.inner) if isinstance(s, Loop)]
    if nest.strategy != "scatter" or not places:
        return None
    before, after = nest.inner[: places[-1] + 1], nest.inner[places[-1] + 1 :]
    loop = before[-1]
    assert isinstance(loop, Loop)
    held = {t for s in before for e in expressions(s) for t in e.free_symbols}
    planes = [s.index for s in nest.outer if s.index not in held]
    moved = {loop.index, *(s.index for s in after if isinstance(s, Assign))}
    if not planes or not moved & set(nest.equation.free):
        return None
    tested = set[sp.Expr]()  # known not to be negative
    for s in after:
        if not isinstance(s, (Assign, Test)):
            return None
        if isinstance(s, Test) and s.kind == "range":
            tested.add(s.value)
        divided = {e.args[0] for e in s.value.atoms(FloorDiv, Modulo)}
        if any(e not in tested and not isinstance(e, FloorDiv) for e in divided):
            return None
    end = sp.Symbol(f"{loop.index.name}_last", integer=True)
    moves = ((loop.index, sp.S.One),)
    outer = tuple(s.index for s in nest.outer)
    return Scatter(nest.equation, loop.index, sp.S.One, end, outer, nest.inner, moves, plane=planes[-1])
