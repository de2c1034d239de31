"""A loop that lanes share, where inequalities bound it: from the first place that one of them needs to the last."""

from __future__ import annotations

import pytest
import sympy as sp

from derive.language import Operator, Sum, extent, indices, tensors
from derive.lower.lanes import lanes
from derive.lower.loops import CeilDiv, FloorDiv, Loop
from derive.lower.loops import Test as Guard
from derive.lower.plain import lower
from derive.passes.canonical import abstract
from derive.passes.differentiate import vjp
from derive.program import Equation
from derive.translate import to_program

n, p, q = indices("n p q")
x, y = tensors("x y")
BIN = q >= sp.floor(p * extent(q) / extent(p)), q < sp.ceiling((p + 1) * extent(q) / extent(p))
FORWARD = to_program(Operator("bins", y[n, p] << Sum[q](x[n, q], *BIN), inputs=(x,), given=(p,)))


def equation(program) -> Equation:
    return abstract(program.equations[-1]).equation


def value(e: sp.Expr, numbers: dict[str, int]) -> int:
    """A bound at numbers, by letters."""
    e = e.replace(CeilDiv, lambda u, v: sp.ceiling(u / v)).replace(FloorDiv, lambda u, v: sp.floor(u / v))
    return int(e.xreplace({s: sp.Integer(numbers[s.name]) for s in e.free_symbols}))


@pytest.mark.parametrize(("program", "lane", "bound"), [(FORWARD, "p", "q"), (vjp(FORWARD), "q", "p")])
@pytest.mark.parametrize(("P", "Q"), [(3, 7), (7, 3), (4, 4), (1, 9), (5, 1), (6, 10)])
def test_the_hull_of_bins(program, lane, bound, P, Q):
    eq = equation(program)
    plain = lower(eq)
    (loop,) = (s for s in plain.inner if isinstance(s, Loop))
    assert not any(isinstance(s, Guard) for s in plain.inner)  # the plain loop visits a bin, and nothing else
    (way,) = (w for w in lanes(eq, plain) if not w.bound and w.lane.name == lane)
    (hull,) = (s for s in way.inner if isinstance(s, Loop))
    size = {"p": P, "q": Q}
    extents = {"P": P, "Q": Q, "Pv": P, "Qv": Q}
    members = [{j for j in range(Q) if i * Q // P <= j < -(-(i + 1) * Q // P)} for i in range(P)]
    if lane == "q":
        members = [{i for i in range(P) if j in members[i]} for j in range(Q)]
    for first in range(size[lane]):
        at = {**extents, lane: first}
        low, high = max(value(e, at) for e in loop.low), min(value(e, at) for e in loop.high)
        assert set(range(low, high)) == members[first]
        for last in range(first, size[lane]):
            at[way.last.name] = last
            low, high = max(value(e, at) for e in hull.low), min(value(e, at) for e in hull.high)
            needed = set.union(*members[first : last + 1])
            assert (low, high) == (min(needed), max(needed) + 1)


def test_an_extent_without_its_index_may_be_zero():
    """Whether 3*q <= P holds is asked where no loop over p has run, so P bounds nothing that divides by it."""
    where = extent(p) * q <= 7
    made = to_program(Operator("lone", y[n, p] << Sum[q](x[n, q], where), inputs=(x,), given=(p,)))
    (loop,) = (s for s in lower(equation(made)).inner if isinstance(s, Loop))
    assert not any(e.has(FloorDiv, CeilDiv) for e in (*loop.low, *loop.high))


i, j, f, k = indices("i j f k")
u, v = tensors("u v")
FIRST = {
    "rows of a table, weighted": (y[i, f] << Sum[j](u[i, j] * v[j, f], j <= i), "lanes over f"),
    "rows times rows": (y[i, j] << Sum[k](u[i, k] * v[j, k]), "lanes over k, combined at the end"),
    "rows times columns": (y[i, j] << Sum[k](u[i, k] * v[k, j]), "lanes over j"),
    "columns times rows": (y[i, j] << Sum[k](u[k, i] * v[k, j]), "lanes over j"),
}


@pytest.mark.parametrize("case", FIRST)
def test_what_lies_side_by_side_is_read_first(case):
    """A vector of what lies apart in memory is as many loads as it has lanes."""
    statement, described = FIRST[case]
    eq = to_program(Operator("op", statement, inputs=(u, v))).equations[-1]
    assert lanes(eq, lower(eq))[0].describe() == described
