"""Equation -> plain loops: the fallback that always works, and the oracle of every faster shape.

gather   loop over the target's elements and solve the relation for the rest; each element is
         finished where it is visited, so tasks may share any of the target's loops
scatter  loop over the points and add to the element each one names; tasks share the planes of
         the target that no point leaves (indices that no equality gives), so writes stay disjoint

The cheaper of the two by nominal trip counts is taken. A scatter only adds, so it needs a sum.
"""

from __future__ import annotations

from collections.abc import Sequence

from derive.language import Index
from derive.lower.loops import Loop, Nest, ResidueLoop
from derive.lower.solve import FREE, Solver
from derive.program import Equation


def _plain(eq: Equation, i: Index) -> Loop:
    return Loop(i, (0 * eq.relation.size(i),), (eq.relation.size(i),))


def gather(eq: Equation, rank: Sequence[Index] = ()) -> Nest:
    solver = Solver.of(eq, rank)
    loops = tuple(_plain(eq, i) for i in eq.free)
    solver.known |= set(eq.free)
    solver.cost += FREE * len(loops)
    solver.rest(eq.bound)
    work = any(isinstance(s, (Loop, ResidueLoop)) for s in solver.steps)
    shared = len(loops)
    if shared > (2 if work else 1):
        shared -= 1  # the innermost stays a loop of its own: one division less an element
    return Nest(eq, "gather", loops[:shared], loops[shared:], tuple(solver.steps), solver.cost)


def scatter(eq: Equation, rank: Sequence[Index] = ()) -> Nest | None:
    if eq.reduce != "sum":
        return None
    moving = {a for z in eq.relation.zero for a in z.atoms}
    planes = tuple(i for i in eq.free if i not in moving)
    solver = Solver.of(eq, rank)
    solver.known |= set(planes)
    solver.cost += FREE * len(planes)
    solver.rest((*eq.bound, *(i for i in eq.free if i not in planes)))
    return Nest(eq, "scatter", tuple(_plain(eq, i) for i in planes), (), tuple(solver.steps), solver.cost)


def lower(eq: Equation, rank: Sequence[Index] = ()) -> Nest:
    """The cheaper nest; where they cost the same, the gather. `rank` decides between loops that cost the same."""
    first, second = gather(eq, rank), scatter(eq, rank)
    return second if second is not None and second.cost < first.cost - 1e-9 else first
