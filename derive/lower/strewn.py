"""Choose an index for lanes that stand apart in the target: what lies side by side is read, and strewn about a line.

    y[n,c,h,w] += sum[j,q,..] x[n,r*c + j,q]      { j + r*q = w, 0 <= j < r }       a pixel shuffle, say

No lanes over w: each would have a quotient of its own. But with everything of the target known but w, and j looped over,
q runs along a line of x while w goes up in steps of r: no two lanes are one element. An element of which the relation
holds one point at most is stored, else added to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy as sp

from derive.language import Index
from derive.lower.lanes import Lanes
from derive.lower.loops import Assign, Loop, ResidueLoop, Step
from derive.lower.plain import gather
from derive.lower.solve import Solver
from derive.program import Access, Affine, Equation, affine


@dataclass(frozen=True, slots=True)
class Strewn:
    """For each element of `outer` and each turn of the steps before, a loop whose turns are lanes.

    moves   by how much an index grows from turn to turn; that of `row` is at least 1 where this is taken
    single  has no element more than one point?
    """

    row: Index
    outer: tuple[Index, ...]
    before: tuple[Step, ...]
    loop: Loop
    after: tuple[Assign, ...]
    moves: tuple[tuple[Index, sp.Expr], ...]
    single: bool

    def describe(self) -> str:
        return f"lanes over {self.loop.index}, strewn along {self.row}"


def strewn(eq: Equation, ways: Sequence[Lanes], rank: Sequence[Index]) -> Strewn | None:
    """The last axis of the target so, if no lanes go along it."""
    row = eq.free[-1] if eq.free else None
    if row is None or eq.reduce != "sum" or any(way.lane == row and not way.bound for way in ways):
        return None
    reads = sorted(eq.body.atoms(Access), key=str)
    lanes = [i for read in reads for i in reversed(read.indices) if i in eq.bound]
    found = (_along(eq, row, i, rank) for i in dict.fromkeys(lanes))
    return next((way for way in found if way is not None), None)


def _along(eq: Equation, row: Index, lane: Index, rank: Sequence[Index]) -> Strewn | None:
    """With this index in lanes, whatever else is not known looped over before."""
    made = Solver.of(eq, rank)
    solver = _Solver(eq, made.pending, made.checks, rank=made.rank, row=row)
    solver.known |= set(eq.free[:-1])
    solver.settle()
    while left := [i for i in eq.bound if i != lane and i not in solver.known]:
        held = {i for form in (*solver.pending, *solver.checks) for i in solver.unknown(form)}
        solver.take(solver.cheapest(left, held))
    solver.rest((lane, row))
    loops = [k for k, s in enumerate(solver.steps) if isinstance(s, (Loop, ResidueLoop))]
    last = solver.steps[loops[-1]] if loops else None
    if not isinstance(last, Loop) or last.index != lane:
        return None
    moves = {lane: sp.S.One}
    after = list[Assign]()
    for s in solver.steps[loops[-1] + 1 :]:
        form = affine(s.value) if isinstance(s, Assign) else None
        if form is None or form.reads:
            return None
        assert isinstance(s, Assign)
        by = sp.expand(sum((c * moves.get(a, sp.S.Zero) for a, c in form.terms), sp.S.Zero))
        if by != 0:
            moves[s.index] = by
        after.append(s)
    if not moves.get(row, sp.S.Zero).is_nonnegative or row not in moves:
        return None
    single = not any(isinstance(s, (Loop, ResidueLoop)) for s in gather(eq, rank).inner)
    before = tuple(solver.steps[: loops[-1]])
    return Strewn(row, eq.free[:-1], before, last, tuple(after), tuple(moves.items()), single)


@dataclass
class _Solver(Solver):
    """A solver that takes no quotients along the line."""

    row: Index | None = None

    def radix(self, form: Affine, digits: Sequence[Index]) -> bool:
        return self.row not in form.indices and super().radix(form, digits)


__all__ = ["Strewn", "strewn"]
