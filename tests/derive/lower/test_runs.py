"""Which copies are taken together, and that their runs are what the relations hold, each pair once."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import sympy as sp

from derive.language import Operator, Sum, Tensor, circular, indices, parameters, reflect, replicate, tensors
from derive.lower.runs import copied
from derive.passes.differentiate import vjp
from derive.passes.simplify import simplify
from derive.program import Access, Equation, Program, Range, Relation
from derive.translate import to_program
from tests.support.nests import _walk, brute_force

n, c, k, p, q = indices("n c k p q")
x, z, y = tensors("x z y")
s, d = parameters("s d")
a, b = parameters("a b", positive=False)
MODES = ("replicate", "reflect", "symmetric", "circular")


def forward(*statements, inputs=(x,), **options) -> Program:
    return simplify(to_program(Operator("op", *statements, inputs=inputs, **options)))


def folded(mode) -> Program:
    """Two axes at a border, with another between them."""
    edge = Tensor("x", margin=[(a, a), (0, 0), (b, b)], outside=mode)
    return forward(y[p, c, q] << edge[p - a, c, q - b], inputs=(edge,))


def backward(program: Program) -> Program:
    return simplify(vjp(program))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", ["forward", "backward"])
def test_folds_along_two_axes_are_one(mode, way):
    program = folded(mode) if way == "forward" else backward(folded(mode))
    (chain,) = copied(program)
    assert chain.of == tuple(range(len(program.equations)))
    assert str(chain.target) == "target[r0,r1,r2]"
    assert str(chain.read) == "source[r0,q1,q2]"
    assert chain.orders == ((1, 0, 2), (1, 0, 2))
    assert chain.across == (chain.target.indices[0],)
    pieces = {"replicate": 3, "circular": 1}.get(mode, 2)
    assert [len(axis.runs) for axis in chain.axes] == [pieces, pieces]


def test_however_the_axes_lie():
    edge = Tensor("x", margin=[(a, a), (0, 0), (b, b)], outside="symmetric")
    (chain,) = copied(forward(y[c, q, p] << edge[p - a, c, q - b], inputs=(edge,)))
    assert str(chain.read) == "source[r0,q1,q2]"
    assert chain.orders == ((0, 1, 2), (1, 2, 0))


OTHERS = {
    "a plain copy": forward(y[n, p] << x[n, p]),
    "a transposition": forward(y[n, p] << x[p, n]),
    "shifts alone": forward(y[n, p] << x[n + b, p + a], given=(n, p)),
    "windows": forward(y[n, p] << Sum[k](x[n, s * p + k]), given=(p, k)),
    "with a weight": forward(y[n, p] << p * x[n, circular(p - a)], given=p),
    "places rounded down": forward(y[n, p] << x[n, sp.floor(s * p / d)], given=p),
    "every second": forward(y[n, p] << x[n, circular(2 * p)], given=p),
}


def test_two_modes_in_any_order_of_axes():
    """The axes stand in an order that their pieces decide."""
    both = []
    for edge in ((reflect(p - a), replicate(q - b)), (replicate(q - b), reflect(p - a))):
        at = dict(zip(edge, (p, q) if edge[0].has(p) else (q, p), strict=True))
        (chain,) = copied(forward(y[n, *at.values()] << x[n, *edge], given=(p, q)))
        both.append(chain)
    assert both[0].key == both[1].key
    assert {chain.orders[0] for chain in both} == {(0, 1, 2), (0, 2, 1)}


@pytest.mark.parametrize("case", OTHERS)
def test_left_alone(case):
    assert not copied(OTHERS[case])


def test_what_others_read_is_made():
    """What lies between two axes is wanted by itself."""
    program = folded("reflect")
    between = program.equations[-1].reads[0]
    free = program.equations[0].free
    ranges = tuple(
        Range(i, size) for i, size in zip(free, program.tensors[between.tensor].shape, strict=True)
    )
    whole = Equation(Access("v", *free), Relation(ranges), Access(between.tensor, *free))
    more = replace(program, equations=(*program.equations, whole))
    assert [chain.of for chain in copied(program)] == [(0, 1, 2, 3)]
    assert [chain.of for chain in copied(more)] == [(0, 1), (2, 3)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", ["forward", "backward"])
def test_runs_are_the_points(mode, way):
    program = folded(mode) if way == "forward" else backward(folded(mode))
    (chain,) = copied(program)
    pieces = iter(chain.pieces)
    for axis in chain.axes:
        for run in axis.runs:
            relation = next(pieces)
            alone = Equation(Access("target", axis.row), relation, Access("source", axis.column))
            symbols = sorted(
                {e for form in (*relation.zero, *relation.nonneg) for e in form.expr.free_symbols}.union(
                    *(r.size.free_symbols for r in relation.ranges)
                )
                - set(relation.indices),
                key=str,
            )
            for values in list(product((1, 2, 3, 7), repeat=len(symbols)))[:: 1 + 4 ** len(symbols) // 300]:
                env = dict(zip(symbols, values, strict=True))
                found = []
                for point in _walk(run.before, env):
                    low = max(int(e.xreplace(point)) for e in run.low)
                    high = min(int(e.xreplace(point)) for e in run.high)
                    for t in range(low, high):
                        here = {**point, run.index: t}
                        row, column = (int(e.xreplace(here)) for e in (run.row, run.column))
                        here |= {axis.row: row, axis.column: column}
                        found.append(tuple(here[j] for j in relation.indices))
                assert sorted(found) == sorted(brute_force(alone, env))
                assert len(set(found)) == len(found)
