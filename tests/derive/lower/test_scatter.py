"""Which scatters have a table, and what is left to other lowerings."""

from __future__ import annotations

import pytest

from derive.language import Max, Operator, Sum, Tensor, indices, parameters, tensors
from derive.lower.plain import lower
from derive.lower.scatter import scattered
from derive.passes.canonical import abstract
from derive.passes.differentiate import vjp
from derive.passes.simplify import simplify
from derive.program import Equation
from derive.translate import to_program

n, c, i, k, p, q = indices("n c i k p q")
(p0, p1), (k0, k1) = indices("p k", 2)
x, y = tensors("x y")
r, s = parameters("r s")
t, u = Tensor("t", integer=True), Tensor("u", integer=True)


def backward(*statements, inputs=(x,), **options) -> Equation:
    """The gradient of x, as it is lowered."""
    made = simplify(vjp(to_program(Operator("op", *statements, inputs=inputs, **options))))
    return abstract(next(eq for eq in made.equations if eq.target.tensor == "gx")).equation


TABLES = {
    "a maximum over windows": (
        backward(y[n, p0, p1] << Max[k0, k1](x[n, s * p0 + k0, s * p1 + k1]), given=(k0, k1)),
        "scatter by a table over y_at",
        ["k0", "k1"],
        ["x1", "x2"],
    ),
    "a look-up along rows": (
        backward(y[n, c, i] << x[n, t[c, i]], inputs=(x, t)),
        "scatter by a table over t",
        ["x1"],
        [],
    ),
}
NONE = {
    "two reads that decide": backward(y[n, i] << x[n, t[i], u[i]], inputs=(x, t, u)),
    "windows that fall": backward(y[n, p] << Max[k](x[n, r - s * p + k]), given=(k, p)),
    "no loop": backward(y[n] << x[n, t[n]], inputs=(x, t)),
    "a gather": backward(y[n] << Sum[k](x[n, k])),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables(case):
    eq, text, own, placed = TABLES[case]
    way = scattered(lower(eq))
    assert way is not None
    assert way.describe() == text
    assert [s.index.name for s in way.own] == own
    assert [p.index.name for p in way.placed] == placed


@pytest.mark.parametrize("case", NONE)
def test_left_alone(case):
    assert scattered(lower(NONE[case])) is None
