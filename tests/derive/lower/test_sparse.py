"""Which equations are products with a sparse matrix along an axis, and that its table has every point of a row."""

from __future__ import annotations

from itertools import product

import pytest
import sympy as sp

from derive.language import Max, Operator, Sum, Tensor, extent, indices, parameters, tensors
from derive.lower.lanes import lanes
from derive.lower.plain import lower
from derive.lower.sparse import Sparse, sparse
from derive.passes.canonical import Shape, abstract, canonical
from derive.passes.differentiate import vjp
from derive.passes.simplify import simplify
from derive.translate import to_program
from tests.support.nests import _walk, brute_force

n, c, i, k, p, q, r = indices("n c i k p q r")
x, w, y = tensors("x w y")
s, d = parameters("s d")
a = parameters("a", positive=False)
t = Tensor("t", integer=True)


def forward(*statements, inputs=(x,), **options) -> list[Shape]:
    made = simplify(to_program(Operator("op", *statements, inputs=inputs, **options)))
    return [abstract(eq) for eq in made.equations]


def backward(*statements, inputs=(x,), **options) -> list[Shape]:
    made = simplify(vjp(to_program(Operator("op", *statements, inputs=inputs, **options))))
    return [abstract(eq) for eq in made.equations if eq.target.tensor == "gx"]


def found(shape: Shape) -> Sparse | None:
    """As it is looked for when a kernel is made."""
    eq, rank = shape.equation, canonical(shape).indices
    return sparse(eq, lanes(eq, lower(eq, rank), rank), rank)


STEPS = y[n, p, c] << x[n, sp.floor((s * p + a) / d), c]
WEIGHTED = y[n, p] << Sum[k](x[n, sp.floor(s * p / d) + k] * sp.Mod(s * p, d) * (k + 1))
GRID = y[n, p, i] << x[n, sp.floor(s * p / d), sp.floor(s * i / d)]
EDGE = Tensor("x", margin=[(a, a), (0, 0)], outside="replicate")
FOLD = y[n, p, c] << EDGE[n, p - a, c]
PRODUCTS = {
    "places rounded down": (forward(STEPS, given=p), ["p, x1, 1, 0, c"]),
    "their gradient": (backward(STEPS, given=p), ["x1, p, 1, 0, c"]),
    "with weights": (
        forward(WEIGHTED, given=p, extents={k: sp.Integer(2)}),
        ["p, x1, (k + 1)*(Mod(p*s, d)), 0, n"],
    ),
    "along two axes": (forward(GRID, given=(p, i)), ["i, x2, 1, 1, n"]),
}
NONE = {
    "two reads": forward(y[n, p] << Sum[k](x[n, sp.floor(s * p / d) + k] * w[k]), inputs=(x, w), given=p),
    "windows, which move with the lanes": forward(y[n, p] << Sum[k](x[n, s * p + k]), given=(p, k)),
    "a maximum": forward(y[n, p] << Max[k](x[n, sp.floor(s * p / d) + k]), given=(p, k)),
    "a look-up": forward(y[n, i] << x[n, t[i]], inputs=(x, t)),
    "one axis alone": forward(y[p] << x[sp.floor(s * p / d)], given=p),
    "no constraints": forward(y[n, c] << Sum[k](x[n, k, c])),
    "the read along the row itself": forward(y[n, p] << Sum[q](x[n, p], q <= p), extents={q: extent(p)}),
    "the edges of a fold, which are a few runs": forward(FOLD, inputs=(EDGE,)),
    "a formula of the read": forward(y[n, p] << x[n, sp.floor(s * p / d)] ** 2, given=p),
}


@pytest.mark.parametrize("case", PRODUCTS)
def test_products(case):
    shapes, expected = PRODUCTS[case]
    made = [found(shape) for shape in shapes]
    assert [
        f"{m.row}, {m.column}, {m.weight}, {len([s for s in m.rest if hasattr(s, 'low')])}, {m.across}"
        for m in made
    ] == expected


@pytest.mark.parametrize("case", NONE)
def test_left_alone(case):
    assert NONE[case]
    for shape in NONE[case]:
        assert found(shape) is None


@pytest.mark.parametrize("case", PRODUCTS)
def test_points_are_those_of_the_relation(case):
    """Of each row those that the relation has, each once, whatever the integers."""
    for shape in PRODUCTS[case][0]:
        made = found(shape)
        alone = made.points.equation
        symbols = sorted(
            {
                symbol
                for e in (*alone.relation.zero, *alone.relation.nonneg)
                for symbol in e.expr.free_symbols
            }.union(*(r.size.free_symbols for r in alone.relation.ranges))
            - set(alone.relation.indices),
            key=str,
        )
        rows = alone.relation.size(made.row)
        for values in list(product((1, 2, 3, 5), repeat=len(symbols)))[:: 1 + 4 ** len(symbols) // 300]:
            env = dict(zip(symbols, values, strict=True))
            several = [
                tuple(point[j] for j in alone.relation.indices)
                for row in range(int(rows.xreplace(env)))
                for point in _walk(made.points.inner, {**env, made.row: row})
            ]
            assert sorted(several) == sorted(brute_force(alone, env))
            assert len(set(several)) == len(several)
