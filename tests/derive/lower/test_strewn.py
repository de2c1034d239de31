"""Which equations have lanes that stand apart in the target, and that these are the points of the relation."""

from __future__ import annotations

from itertools import product

import pytest

from derive.language import Max, Operator, indices, parameters, tensors
from derive.lower.lanes import lanes
from derive.lower.plain import lower
from derive.lower.strewn import Strewn, strewn
from derive.passes.canonical import Shape, abstract, canonical
from derive.passes.simplify import simplify
from derive.translate import to_program
from tests.support.nests import _walk, brute_force

n, c, i, j, p, q = indices("n c i j p q")
x, y, w = tensors("x y w")
s, r = parameters("s r")


def forward(*statements, inputs=(x,), **options) -> Shape:
    made = simplify(to_program(Operator("op", *statements, inputs=inputs, **options)))
    return abstract(made.equations[-1])


def found(shape: Shape) -> Strewn | None:
    """As it is looked for when a kernel is made."""
    eq, rank = shape.equation, canonical(shape).indices
    return strewn(eq, lanes(eq, lower(eq, rank), rank), rank)


SHUFFLE = forward(y[n, c, j + p * r] << x[n, c * r + j, p], extents={j: r})
WEIGHTED = forward(y[n, c, j + p * r] << x[n, c * r + j, p] ** 2 * (p + 1), extents={j: r})
# lanes go along the last axis
OTHERS = {
    "pointwise": forward(y[n, p] << x[n, p]),
    "windows": forward(y[n, p] << x[n, s * p + 1], given=p),
    "a maximum": forward(y[n, p] << Max[j](x[n, p, j])),
}


@pytest.mark.parametrize("shape", [SHUFFLE, WEIGHTED])
def test_shuffles(shape):
    way = found(shape)
    assert str(way.row) == "y2"
    assert str(way.loop.index) == "p"
    assert way.single
    assert str(dict(way.moves)[way.row]) == "J"


@pytest.mark.parametrize("case", OTHERS)
def test_left_alone(case):
    assert found(OTHERS[case]) is None


@pytest.mark.parametrize("shape", [SHUFFLE, WEIGHTED])
def test_turns_are_the_points(shape):
    """Each once, and none of two lanes at one element."""
    eq, way = shape.equation, found(shape)
    symbols = sorted(
        {e for z in eq.relation.zero for e in z.expr.free_symbols} - set(eq.relation.indices), key=str
    )
    symbols += [r.size for r in eq.relation.ranges if r.size not in symbols]
    for values in list(product((1, 2, 3), repeat=len(symbols)))[::7]:
        env = dict(zip(symbols, values, strict=True))
        expected = brute_force(eq, env)
        several = []
        for outer in product(*(range(int(env[eq.relation.size(k)])) for k in way.outer)):
            here = {**env, **dict(zip(way.outer, outer, strict=True))}
            for point in _walk((*way.before, way.loop, *way.after), here):
                several.append(tuple(point[k] for k in eq.relation.indices))
        assert sorted(several) == sorted(expected)
        assert len(set(several)) == len(several)
