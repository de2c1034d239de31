"""What a tensor holds is read: where the formula stands again, in whatever letters, and nowhere else."""

from __future__ import annotations

import sympy as sp

from derive.language import Operator, Sum, indices, tensors
from derive.passes.differentiate import vjp
from derive.passes.reuse import reuse
from derive.passes.simplify import simplify
from derive.program import Program, check
from derive.translate import to_program
from tests.support.relation import Meaning, agree, filled

n, j, k = indices("n j k")
x, w, e, y, z = tensors("x w e y z")


def bodies(program: Program, tensor: str) -> list[str]:
    return [str(eq.body) for eq in check(reuse(program)).equations if eq.target.tensor == tensor]


def forward(*statements, inputs=(x,)) -> Program:
    return to_program(Operator("op", *statements, inputs=inputs))


def test_a_derivative_reads_what_the_forward_equations_hold():
    softmax = forward(e[n, j] << sp.exp(x[n, j]), y[n, j] << e[n, j] / Sum[k](e[n, k]))
    gradient = simplify(vjp(softmax, "g"))
    (before,) = [eq.body for eq in gradient.equations if eq.target.tensor == "gx"]
    assert before.has(sp.exp)
    assert bodies(gradient, "gx") == ["(gy_sum[n] + gy[n,j]/y_sum[n])*e[n,j]"]


def test_other_letters():
    program = forward(
        e[n, j] << sp.exp(x[n, j]),
        y[j] << Sum[n](w[n] * sp.exp(x[n, j])),
        z[n, j] << e[n, j] + y[j],
        inputs=(x, w),
    )
    assert bodies(program, "y") == ["w[n]*e[n,j]"]


def test_another_formula_stays():
    program = forward(e[n, j] << sp.exp(x[n, j]), y[n, j] << e[n, j] + sp.exp(2 * x[n, j]))
    assert bodies(program, "y") == ["e[n,j]", "exp(2*x[n,j])"]


def test_what_costs_no_more_than_a_read_stays():
    program = forward(e[n, j] << x[n, j] ** 2 + 1, y[n, j] << e[n, j] * (x[n, j] ** 2 + 1))
    assert reuse(program) == program


def test_before_it_is_made_it_is_not_read():
    program = forward(y[n] << Sum[j](sp.exp(x[n, j])), e[n, j] << sp.exp(x[n, j]), z[n, j] << e[n, j] * y[n])
    assert bodies(program, "y") == ["exp(x[n,j])"]


def test_same_meaning():
    softmax = forward(e[n, j] << sp.exp(x[n, j]), y[n, j] << e[n, j] / Sum[k](e[n, k]))
    gradient = simplify(vjp(softmax, "g"))
    inputs = filled(gradient, Meaning(softmax), {"x": [[1, 2, 0], [-1, 3, 1]]}, {})
    known = Meaning(gradient).run(inputs, {}, {})
    agree(Meaning(check(reuse(gradient))).run(inputs, {}, {}), known, ["gx"])


def test_a_gradient_point_by_point_is_one_equation():
    """Its two parts come in letters of their own, j of the sum and k of the quotient."""
    softmax = forward(e[n, j] << sp.exp(x[n, j]), y[n, j] << e[n, j] / Sum[k](e[n, k]))
    gradient = simplify(vjp(softmax, "g"))
    assert [str(eq.target) for eq in gradient.equations if eq.target.tensor in ("ge", "gx")] == ["gx[n,j]"]
