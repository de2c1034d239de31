"""Which terms of a sum are worked out once, and what stays as it is."""

from __future__ import annotations

import pytest
import sympy as sp

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


def test_a_divisor_of_many_places():
    """What all batches are divided by is worked out once; that there was nothing to add is still seen before."""
    before = forward(y[n, p] << Sum[k](x[n, s * p + k]) / (w[p] + 1), given=(k,))
    divisor, made = check(terms(before)).equations
    assert str(divisor) == "y_divisor[p] += w[p] + 1"
    assert str(made.body) == "x[n,x1]/y_divisor[p]"
    assert made.relation == before.equations[0].relation


def test_one_divisor_in_cases():
    of = sp.Piecewise((w[p] + 2, s > 1), (s, True))
    divisor, made = check(terms(forward(y[n, p] << x[n, p] / of))).equations
    assert str(divisor.body) == "Piecewise((w[p] + 2, s > 1), (s, True))"
    assert str(made.body) == "x[n,p]/y_divisor[p]"


def test_a_divisor_of_each_place_stays():
    for body in (x[n, p] / w[n, p], x[n, p] / (w[n, p] + 1), x[n, p] / w[p], x[n, p] * w[p] / s):
        before = forward(y[n, p] << body)
        assert terms(before) == before


def test_independent_counts_are_a_product():
    """How many points a window has, by axes; no other sum is taken apart."""
    counted = forward(y[p, q] << Sum[i, j](1, s * p + i < 7, q + j < 5), inputs=(), given=(i, j, p, q))
    rows, columns, made = check(terms(counted)).equations
    assert str(rows).startswith("y_sum[p] += sum[i] 1")
    assert str(columns).startswith("y_sum_2[q] += sum[j] 1")
    assert str(made) == "y[p,q] += y_sum[p]*y_sum_2[q]"
    before = forward(y[n] << 3 * Sum[i, j](x[n, i] * w[n, j]))
    assert terms(before) == before  # one of the two may be over nothing, and the other infinite


def test_a_divisor_that_divides_stays():
    """It would be worked out where there is nothing to divide."""
    before = forward(y[n, p] << Sum[k](x[n, s * p + k]) / (1 / w[p] + 1), given=(k,))
    assert terms(before) == before


def test_a_term_takes_no_more_memory_than_what_it_is_made_of():
    """No read has both indices of this product: in memory it would be an outer product."""
    before = forward(y[p] << Sum[i, j, k](x[j] * w[k], i + j + k <= p), given=(p, i))
    assert terms(before).equations == before.equations
