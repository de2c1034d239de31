"""Formulas lane by lane, run exactly: what all lanes share, and functions with conventions of ours."""

from __future__ import annotations

import random

import pytest
import sympy as sp
from sympy.codegen.cfunctions import expm1, log1p

from derive.emit.module import module_source
from derive.language import Max, Operator, Sum, finite, indices, tensors
from derive.pipeline import derive
from derive.spec import load_definition
from derive.verify import CHECKS

n, c, j = indices("n c j")
a, b, d, e, m, w, x, y = tensors("a b d e m w x y")


def holds(operator, folder, *checks, cases=4):
    path = folder / f"{operator.name}.py"
    path.write_text(module_source(derive(operator)), encoding="utf-8")
    definition = load_definition(path)
    for check in checks:
        for seed in range(cases):
            CHECKS[check](operator, definition, random.Random(seed))
    return path.read_text(encoding="utf-8")


def test_a_sum_that_all_lanes_share_is_one_factor(tmp_path):
    """Divided as vectors are, it is made before the loop; without parentheses the rest multiplied its last term only."""
    factor = w[n] - a[n] * b[n] / (2 * d[n])
    operator = Operator("scaled", y[n, c] << factor * x[n, c], inputs=(x, w, a, b, d))
    text = holds(operator, tmp_path, "exact_forward", "exact_vjp", "every_way")
    assert "common = lanes.fill(w[n]) - " in text
    assert "total = common * x_lanes" in text


def test_a_constant_shift(tmp_path):
    """`finite` does not vary, so the maximum has no gradient, and its place is not looked for."""
    operator = Operator(
        "soft",
        m[n] << Max[j](x[n, j]),
        e[n, c] << sp.exp(x[n, c] - finite(m[n])),
        y[n, c] << e[n, c] / Sum[j](e[n, j]),
        inputs=(x,),
    )
    text = holds(operator, tmp_path, "exact_forward", "exact_vjp", "exact_vjp_vjp", "exact_jvp", cases=2)
    assert "argmax" not in text
    assert finite(sp.Symbol("u", real=True)).diff() == 0


def test_what_lanes_share_is_read_before_their_loop(tmp_path):
    operator = Operator(
        "norm", y[n, c] << b[c] + w[n] * (x[n, c] - m[n]) / sp.sqrt(d[n]), inputs=(x, w, m, d, b)
    )
    text = holds(operator, tmp_path, "exact_forward", "exact_vjp", "every_way")
    body = text[text.index("def y_from_b_d_m_w_x_over_c") :]
    before, loop = body[: body.index("for start in")], body[body.index("for start in") : body.index("@task")]
    assert all(made in before for made in ("m[n]", "w[n]", "sqrt("))
    assert not any(made in loop for made in ("[n]", "sqrt("))


@pytest.mark.parametrize("f", [sp.tanh, sp.erf, sp.sin, sp.atan, sp.cosh])
def test_any_function_has_lanes(f, tmp_path):
    operator = Operator(f.__name__, y[n] << f(x[n]), inputs=(x,))
    assert "y_from_x_over_n" in holds(operator, tmp_path, "exact_forward", "every_way", cases=2)


@pytest.mark.parametrize("f", [expm1, log1p])
def test_without_cancellation(f, tmp_path):
    operator = Operator(f.__name__, y[n] << f(x[n]), inputs=(x,))
    holds(operator, tmp_path, "exact_forward", "exact_vjp", "exact_jvp", "exact_vjp_vjp", cases=2)
