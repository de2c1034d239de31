"""Which terms of a sum are worked out once, and what stays as it is."""

from __future__ import annotations

import pytest

from derive.language import Mean, Operator, Sum, indices, parameters, tensors
from derive.passes.differentiate import vjp
from derive.passes.simplify import simplify
from derive.passes.terms import terms
from derive.program import Program, check
from derive.translate import to_program

n, c, o, i, j, k, p, q = indices("n c o i j k p q")
x, w, y = tensors("x w y")
s = parameters("s")


def forward(*statements, inputs=(x, w), **options) -> Program:
    return to_program(Operator("op", *statements, inputs=inputs, **options))


def backward(*statements, inputs=(x, w), **options) -> Program:
    return simplify(vjp(forward(*statements, inputs=inputs, **options)))


def test_a_product_that_many_points_add():
    """The gradient of a weighted window sum: one product a window, added at each of its points."""
    before = backward(y[n, p] << w[p] * Sum[k](x[n, s * p + k]), given=(k,))
    after = check(terms(before))
    at = next(m for m, eq in enumerate(after.equations) if eq.target.tensor == "gx_term")
    term, gx = after.equations[at : at + 2]
    assert str(term) == "gx_term[n,p] += w[p]*gy[n,p]"
    assert str(gx).startswith("gx[n,x1] += sum[")
    assert str(gx.body) == "gx_term[n,p]"
    old = next(eq for eq in before.equations if eq.target.tensor == "gx")
    assert gx.relation == old.relation


SAME = {
    "a convolution": forward(y[n, o, p] << Sum[c, k](x[n, c, s * p + k] * w[o, c, k])),
    "its gradients": backward(y[n, o, p] << Sum[c, k](x[n, c, s * p + k] * w[o, c, k])),
    "a matrix product": forward(y[i, j] << Sum[k](x[i, k] * w[k, j])),
    "a window sum": forward(y[n, p] << Sum[k](x[n, s * p + k]), inputs=(x,), given=(k,)),
    "a mean": forward(y[n] << Mean[k](x[n, k] ** 2), inputs=(x,)),
    "the gradient of a mean": backward(y[n] << Mean[k](x[n, k] ** 2), inputs=(x,)),
}


@pytest.mark.parametrize("case", SAME)
def test_left_alone(case):
    assert terms(SAME[case]) == SAME[case]
