"""Which scatters have lanes, and what is left to the plain loops."""

from __future__ import annotations

import pytest
import sympy as sp

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
s = parameters("s")
t = Tensor("t", integer=True)


def backward(*statements, inputs=(x,), **options) -> Equation:
    """The gradient of x, as it is lowered."""
    made = simplify(vjp(to_program(Operator("op", *statements, inputs=inputs, **options))))
    return abstract(next(eq for eq in made.equations if eq.target.tensor == "gx")).equation


LANES = {
    "a maximum over windows": (
        backward(y[n, p0, p1] << Max[k0, k1](x[n, s * p0 + k0, s * p1 + k1]), given=(k0, k1)),
        "scatter in lanes over p1",
    ),
    "a look-up along rows": (
        backward(y[n, c, i] << x[n, t[c, i]], inputs=(x, t)),
        "scatter in lanes over i",
    ),
}
NONE = {
    "nothing to share": backward(y[p] << Max[k](x[s * p + k]), given=(k,)),
    "no loop": backward(y[n] << x[n, t[n]], inputs=(x, t)),
    "a gather": backward(y[n] << Sum[k](x[n, k])),
}


@pytest.mark.parametrize("case", LANES)
def test_lanes(case):
    eq, text = LANES[case]
    way = scattered(lower(eq))
    assert way is not None
    assert way.describe() == text
    assert way.stride == sp.S.One


@pytest.mark.parametrize("case", NONE)
def test_left_alone(case):
    assert scattered(lower(NONE[case])) is None
