"""One exponential of -|u| for those of u and of -u: the same function, and nothing else is touched."""

from __future__ import annotations

import mpmath
import pytest
import sympy as sp

from derive.language import Operator, Sum, indices, tensors
from derive.passes.mirror import mirror
from derive.program import Access, Program, check
from derive.translate import to_program

n, k = indices("n k")
x, w, y = tensors("x w y")
u = x[n]
SIGMOID = sp.Piecewise((1 / (1 + sp.exp(-u)), u > 0), (sp.exp(u) / (1 + sp.exp(u)), True))
LOG = sp.Piecewise((sp.log(1 + sp.exp(-u)), u > 0), (sp.log(1 + sp.exp(u)) - u, True))
MISH = sp.Piecewise(
    ((1 + 2 * sp.exp(-u)) / (1 + 2 * sp.exp(-u) + 2 * sp.exp(-2 * u)), u > 0),
    ((sp.exp(2 * u) + 2 * sp.exp(u)) / (sp.exp(2 * u) + 2 * sp.exp(u) + 2), True),
)
BELOW = sp.Piecewise((sp.exp(u) / (1 + sp.exp(u)), u < 0), (1 / (1 + sp.exp(-u)), True))
SCALED = SIGMOID.xreplace({u: 3 * u * w[n]})


def program(body: sp.Expr) -> Program:
    return to_program(Operator("op", y[n] << body, inputs=(x, w) if body.has(w[n]) else (x,)))


def mirrored(body: sp.Expr) -> sp.Expr:
    (eq,) = check(mirror(program(body))).equations
    return eq.body


def test_equal_denominators_are_divided_by_once():
    assert str(mirrored(SIGMOID)) == "Piecewise((1, x[n] > 0), (exp(-Abs(x[n])), True))/(1 + exp(-Abs(x[n])))"


def test_equal_branches_are_no_choice():
    both = sp.Piecewise(
        (sp.exp(-u) / (1 + sp.exp(-u)) ** 2, u > 0),
        (sp.exp(u) / (1 + sp.exp(u)) - sp.exp(2 * u) / (1 + sp.exp(u)) ** 2, True),
    )
    assert str(mirrored(both)) == "exp(-Abs(x[n]))/(1 + exp(-Abs(x[n])))**2"


def test_equal_terms_are_worked_out_once():
    body = mirrored(LOG)
    assert len(body.atoms(sp.log)) == len(body.atoms(sp.exp)) == 1


@pytest.mark.parametrize(
    "body", [SIGMOID, LOG, MISH, BELOW, SCALED], ids=["sigmoid", "log", "mish", "below", "scaled"]
)
def test_it_is_the_same_function(body):
    before, after = program(body).equations[0].body, mirrored(body)
    assert "exp(x[" not in str(after)
    assert "exp(-x[" not in str(after)
    with mpmath.workdps(50):
        for value in ("-90", "-2.5", "-0.01", "0", "0.01", "1", "33"):
            for weight in ("-1.5", "0.25"):
                at = {a: sp.Float(value if a.tensor == "x" else weight, 50) for a in before.atoms(Access)}
                want, found = (sp.N(e.xreplace(at), 45) for e in (before, after))
                assert abs(want - found) <= sp.Float("1e-40") * abs(want)


@pytest.mark.parametrize(
    "body",
    [
        sp.Piecewise((sp.exp(u), u > 0), (sp.exp(-u), True)),  # each branch has what may overflow
        sp.Piecewise((sp.exp(-u), u > 1), (sp.exp(u), True)),  # not by the sign of u
        sp.Piecewise((sp.exp(-u / 2), u > 0), (sp.exp(u / 2), True)),  # no whole power
        sp.Piecewise((sp.exp(-u), u > 0), (1, True)),
        sp.Piecewise((u, u > 0), (2 * u, True)),
        sp.exp(u) + sp.exp(-u),
    ],
)
def test_others_stay(body):
    before = program(body)
    assert mirror(before) == before


def test_sums_too():
    before = to_program(Operator("op", y[n] << Sum[k](SIGMOID.xreplace({u: x[n, k]})), inputs=(x,)))
    (eq,) = check(mirror(before)).equations
    assert len(eq.body.atoms(sp.exp)) == 1
