"""Recognise an equation that is, along one axis of its target, a product with a sparse matrix that integers make.

    y[n,p] = sum[k,lap,q] W(p,k)*x[n,q]     { k + lap = q,  0 <= a*p + b - d*lap < d }

What p, k, lap and q have to do with each other follows from nothing else: the points of a row p, a place q and a weight
each, are the same for every n. So they are worked out once for each task, in a table, divisions and all; whatever else
is reduced over is a loop around them.

Left to other lowerings: a second read, a place that a read gives, an axis along which what is read moves with the
lanes anyway (a shift, a window), and copies whose places equalities alone decide (`runs`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import sympy as sp

from derive.language import Index, Lap
from derive.lower.lanes import Lanes
from derive.lower.loops import Loop, Nest, ResidueLoop, Step
from derive.lower.runs import tied
from derive.lower.solve import Solver
from derive.program import Access, Affine, Equation, IntegerAccess, Relation


@dataclass(frozen=True, slots=True)
class Sparse:
    """target[.., row, ..] = sum of weight * read[.., column, ..] over the points of a row, and over the rest.

    points  what comes to the points of each row, one row after another
    rest    the steps of a gather for what the rows say nothing of
    across  another index of target and read, for lanes where it is contiguous
    """

    equation: Equation
    row: Index
    column: Index
    read: Access
    weight: sp.Expr
    points: Nest
    rest: tuple[Step, ...]
    across: Index | None

    def lanes(self, lane: Index) -> Lanes:
        """The rest with this index in lanes."""
        eq, one = self.equation, sp.S.One
        moves = ((self.row, one), (self.column, one)) if lane == self.row else ((lane, one),)
        end = sp.Symbol(f"{lane.name}_last", integer=True)
        return Lanes(eq, lane, one, end, tuple(i for i in eq.free if i != lane), self.rest, moves)


def sparse(eq: Equation, ways: Sequence[Lanes], rank: Sequence[Index]) -> Sparse | None:
    """The last axis of the target that constraints speak of as such a product, or None. `ways` are those in lanes."""
    held = eq.relation.held
    rows = [i for i in eq.free if i in held]
    reads = eq.body.atoms(Access)
    if eq.reduce != "sum" or not rows or len(eq.free) < 2 or len(reads) != 1:
        return None
    row, (read,) = rows[-1], reads
    group, own, others = _group(eq, row, held)
    columns = [i for i in read.indices if i in group]
    weight = sp.Mul(*(f for f in sp.Mul.make_args(eq.body) if f != read))
    known = weight.free_symbols & set(eq.relation.indices) <= group and weight * read == eq.body
    plain = not any(form.reads for form in (*own, *others)) and not isinstance(read, IntegerAccess)
    if (
        row not in group
        or tied(eq) is not None  # a few runs of places
        or len(columns) != 1
        or columns[0] == row
        or weight.has(Access)
        or not known
        or not plain
    ):
        return None
    (column,) = columns
    if any(way.lane == row and column in dict(way.moves) for way in ways):
        return None
    ranges = tuple(r for r in eq.relation.ranges if r.index in group)
    zero, nonneg = eq.relation.zero, eq.relation.nonneg
    relation = Relation(ranges, tuple(z for z in zero if z in own), tuple(g for g in nonneg if g in own))
    alone = Equation(Access(eq.target.tensor, row), relation, weight * Access(read.tensor, column))
    points = _solved(PointSolver, alone, tuple(i for i in rank if i in group))
    relation = Relation(
        eq.relation.ranges, tuple(z for z in zero if z in others), tuple(g for g in nonneg if g in others)
    )
    bound = [i for i in eq.bound if i not in group]
    rest = _solved(Solver, replace(eq, relation=relation), rank, bound)
    across = [i for i in eq.free if i not in held and i in read.indices]
    return Sparse(eq, row, column, read, weight, points, rest.inner, across[-1] if across else None)


@dataclass
class PointSolver(Solver):
    """A solver for the points of one row, which are few: first loops that what is known bounds, and laps."""

    def cheapest(self, left: Sequence[Index], held: Collection[Index]) -> Solver:
        few = [u for u in left if self.bounds(u)] or [u for u in left if isinstance(u, Lap)]
        return super().cheapest(few or left, held)

    def bounds(self, u: Index) -> bool:
        step = self.after(u).steps[len(self.steps)]
        ends = (*step.low, *step.high) if isinstance(step, (Loop, ResidueLoop)) else ()
        return any(e.free_symbols & self.known for e in ends)


def _solved(
    kind: type[Solver], eq: Equation, rank: Sequence[Index], bound: Sequence[Index] | None = None
) -> Nest:
    """The steps from an element of the target to each of its points."""
    made = Solver.of(eq, rank)
    solver = kind(eq, made.pending, made.checks, rank=made.rank)
    solver.known = set(eq.free)
    solver.rest(eq.bound if bound is None else bound)
    return Nest(eq, "gather", (), (), tuple(solver.steps), solver.cost)


def _group(
    eq: Equation, row: Index, held: Collection[Index]
) -> tuple[set[Index], list[Affine], list[Affine]]:
    """The held indices that no other index of the target decides, their constraints, and the others."""
    decided, others = (set(eq.free) & set(held)) - {row}, list[Affine]()
    own = [*eq.relation.zero, *eq.relation.nonneg]
    while more := [form for form in own if decided & set(form.indices)]:
        others += more
        own = [form for form in own if form not in more]
        decided |= {i for form in more for i in form.indices}
    return set(held) - decided, own, others
