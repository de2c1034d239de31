"""Derivatives: the lecture's formulas as text, the table of rules row by row, conventions, exact differences."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import sympy as sp

from derive.errors import SpecError
from derive.language import (
    TIES,
    ArgMax,
    LogSumExp,
    Max,
    Mean,
    Min,
    Operator,
    Prod,
    Real,
    Sum,
    Tensor,
    chosen,
    indices,
    maximum,
    minimum,
    parameters,
    relu,
    step,
    tensors,
)
from derive.passes.differentiate import RULES, jvp, partial, vjp
from derive.passes.simplify import simplify
from derive.program import Access, Program, check
from derive.translate import to_program
from tests.support.relation import Meaning, agree, directional, filled, gradient
from tests.support.specimens import SPECIMENS, derived

n, o, c, i, j, k, r, q = indices("n o c i j k r q")
x, w, y, z = tensors("x w y z")
s = parameters("s")


def program(*statements: Any, inputs: Any = (x,), **options: Any) -> Program:
    return to_program(Operator("op", *statements, inputs=inputs, **options))


def lines(p: Program) -> list[str]:
    return [str(eq) for eq in p.equations]


def backward(*statements: Any, inputs: Any = (x,), **options: Any) -> list[str]:
    return lines(check(simplify(vjp(program(*statements, inputs=inputs, **options)))))


# ---- the lecture ----------------------------------------------------------------------------------


def test_weight_gradient_of_true_convolution():
    """dL/dw_ij = sum_r sum_c dL/da_rc x_{r-i,c-j}"""
    a = Tensor("a")
    grown = program(a[r, c] << Sum[i, j](x[r - i, c - j] * w[i, j]), inputs=(x, w), given=(r, c))
    gx, gw = sorted(check(simplify(vjp(grown))).equations, key=lambda eq: eq.target.tensor != "gx")
    assert gw.target == Access("gw", i, j)
    assert gw.bound == (r, c, *gw.bound[2:])
    ga, read = Access("ga", r, c), next(v for v in gw.reads if v.tensor == "x")
    assert gw.body == ga * read
    relation = {z_.expr for z_ in gw.relation.zero}
    assert relation in (
        {r - i - read.indices[0], c - j - read.indices[1]},
        {read.indices[0] - r + i, read.indices[1] - c + j},
    )
    assert gx.body == ga * Access("w", i, j)
    assert gx.relation == gw.relation


def test_weight_gradient_of_cross_correlation():
    """Its twin: dL/dw_ij = sum_r sum_c dL/da_rc x_{r+i,c+j}"""
    a = Tensor("a")
    back = check(simplify(vjp(program(a[r, c] << Sum[i, j](x[r + i, c + j] * w[i, j]), inputs=(x, w)))))
    gw = next(eq for eq in back.equations if eq.target.tensor == "gw")
    read = next(v for v in gw.reads if v.tensor == "x")
    assert gw.target == Access("gw", i, j)
    assert gw.body == Access("ga", r, c) * read
    assert {z_.expr for z_ in gw.relation.zero} == {r + i - read.indices[0], c + j - read.indices[1]}


def test_convolution_gradient_by_the_formula():
    """The same, over numbers: the printed double sum, literally."""
    a = Tensor("a")
    grown = program(a[r, c] << Sum[i, j](x[r - i, c - j] * w[i, j]), inputs=(x, w), given=(r, c))
    back = Meaning(simplify(vjp(grown)))
    X = [[Fraction(3 * a_ - 2 * b_ + 1, 5) for b_ in range(4)] for a_ in range(3)]
    W = [[Fraction(a_ + 2 * b_, 3) for b_ in range(2)] for a_ in range(2)]
    R, C = 4, 5
    G = [[Fraction(a_ * b_ - 3, 2) for b_ in range(C)] for a_ in range(R)]
    found = back.run({"x": X, "w": W, "ga": G}, {"R": R, "C": C})["gw"]
    for i_ in range(2):
        for j_ in range(2):
            total = sum(
                G[r_][c_] * X[r_ - i_][c_ - j_]
                for r_ in range(R)
                for c_ in range(C)
                if 0 <= r_ - i_ < 3 and 0 <= c_ - j_ < 4
            )
            assert found[i_, j_] == total


def test_max_pooling_has_an_indicator_gradient():
    """da/dx_ij is 1 where (i, j) is the place of the maximum, else 0."""
    p, k_ = indices("p k")
    grown = program(y[p] << Max[k_](x[s * p + k_]), given=(k_,))
    assert lines(simplify(vjp(grown))) == [
        "y_at[p] += argmax[k,x0] x[x0] at k   { k + s*p = x0 }",
        "gx[x0] += sum[p,k] gy[p]   { k + s*p = x0, k = y_at[p] }",
    ]
    found = Meaning(vjp(grown)).run({"x": [1, 5, 2, 5, 4], "gy": [10, 20]}, {"s": 2, "K": 3})
    assert found["gx"].tolist() == [0, 10, 0, 20, 0]


def test_average_pooling_has_gradient_one_over_r_c():
    """da/dx_ij = 1/(r*c)"""
    p, t = indices("p t")
    u, v = indices("u v")
    (text,) = backward(y[p, t] << Mean[u, v](x[p + u, t + v]), given=(u, v))
    assert text == "gx[x0,x1] += sum[p,t,u,v] gy[p,t]/(U*V)   { p + u = x0, t + v = x1 }"


def test_backprop_of_the_two_layer_linear_network():
    """yhat = (x Wh) Wo, squared error: Eo = yhat - y, Eh = Eo Wo', dWo = h' Eo, dWh = x' Eh."""
    h, yhat, loss, wh, wo = tensors("h yhat loss wh wo")
    back = check(
        simplify(
            vjp(
                program(
                    h[n, j] << Sum[i](x[n, i] * wh[i, j]),
                    yhat[n, o] << Sum[j](h[n, j] * wo[j, o]),
                    loss[()] << Sum[n, o]((yhat[n, o] - y[n, o]) ** 2) / 2,
                    inputs=(x, wh, wo, y),
                )
            )
        )
    )
    assert lines(back) == [
        "h[n,j] += sum[i] wh[i,j]*x[n,i]",
        "yhat[n,o] += sum[j] h[n,j]*wo[j,o]",
        "gy[n,o] += (y[n,o] - yhat[n,o])*gloss[]",
        "gh[n,j] += sum[o] (-y[n,o] + yhat[n,o])*gloss[]*wo[j,o]",
        "gwo[j,o] += sum[n] (-y[n,o] + yhat[n,o])*gloss[]*h[n,j]",
        "gwh[i,j] += sum[n] gh[n,j]*x[n,i]",
        "gx[n,i] += sum[j] gh[n,j]*wh[i,j]",
    ]


# ---- the table, row by row ------------------------------------------------------------------------

ROWS: dict[str, tuple[sp.Expr, list[str]]] = {
    "sum": (Sum[k](x[n, k] ** 2), ["gx[n,k] += 2*gy[n]*x[n,k]"]),
    "max": (
        Max[k](x[n, k]),
        ["y_at[n] += argmax[k] x[n,k] at k", "gx[n,k] += gy[n]   { k = y_at[n] }"],
    ),
    "min": (
        Min[k](x[n, k]),
        ["y_at[n] += argmin[k] x[n,k] at k", "gx[n,k] += gy[n]   { k = y_at[n] }"],
    ),
    "logsumexp": (
        LogSumExp[k](x[n, k]),
        ["y[n] += logsumexp[k] x[n,k]", "gx[n,k] += exp(-y[n] + x[n,k])*gy[n]"],
    ),
    "prod": (
        Prod[k](x[n, k]),
        [
            "y_before[n,k] += prod[kof] x[n,kof]   { k - kof - 1 >= 0 }",
            "y_after[n,k] += prod[kof] x[n,kof]   { -k + kof - 1 >= 0 }",
            "gx[n,k] += gy[n]*y_after[n,k]*y_before[n,k]",
        ],
    ),
}


def test_every_row_has_a_test():
    assert ROWS.keys() == RULES.keys()


@pytest.mark.parametrize("kind", RULES)
def test_rule(kind):
    reduction, expected = ROWS[kind]
    assert backward(y[n] << reduction) == expected


@pytest.mark.parametrize("kind", RULES)
def test_rule_by_differences(kind):
    p = program(y[n] << ROWS[kind][0])
    inputs = {"x": [[Fraction(3), Fraction(-2), Fraction(5, 2)], [Fraction(1), Fraction(-4), Fraction(7)]]}
    if kind == "logsumexp":  # by its definition: softmax
        import mpmath

        found = Meaning(vjp(p)).run({**inputs, "gy": [1, 1]})["gx"]
        with mpmath.workdps(50):
            for row, got in zip(inputs["x"], found, strict=True):
                weights = [mpmath.exp(mpmath.mpf(v.numerator) / v.denominator) for v in row]
                for v, g in zip(weights, got, strict=True):
                    assert mpmath.almosteq(g, v / mpmath.fsum(weights), 1e-45)
        return
    both = {**inputs, "gy": [Fraction(2), Fraction(-3)]}
    agree(Meaning(vjp(p)).run(both), {"gx": gradient(Meaning(p), inputs, {"y": both["gy"]})["x"]}, ["gx"])


def test_a_wrong_rule_is_noticed(monkeypatch):
    """A weight off by a factor, and the tests above would object."""
    monkeypatch.setitem(RULES, "sum", lambda eq, fresh: ([], eq, sp.Integer(2)))
    p = program(y[n] << Sum[k](x[n, k] ** 2))
    inputs = {"x": [[Fraction(3)]]}
    with pytest.raises(AssertionError, match=r"gx\[0, 0\]: 12 and 6"):
        agree(
            Meaning(vjp(p)).run({**inputs, "gy": [1]}),
            {"gx": gradient(Meaning(p), inputs, {"y": [1]})["x"]},
            ["gx"],
        )


TIED = {
    "first": [0, 7, 0, 0, 0],
    "last": [0, 0, 0, 7, 0],
    "split": [0, Fraction(7, 2), 0, Fraction(7, 2), 0],
    "all": [0, 7, 0, 7, 0],
}


def test_every_tie_rule_has_a_test():
    assert set(TIED) == set(TIES)


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("reduce", [Max, Min], ids=["max", "min"])
def test_ties(ties, reduce):
    sign = 1 if reduce is Max else -1
    p = program(y[()] << reduce[k](x[k], ties=ties))
    values = [sign * v for v in (1, 4, 2, 4, -1)]
    assert Meaning(vjp(p)).run({"x": values, "gy": 7})["gx"].tolist() == TIED[ties]
    forward_mode = Meaning(jvp(p)).run({"x": values, "tx": [Fraction(2) ** m for m in range(5)]})["ty"][()]
    assert forward_mode == sum(Fraction(g, 7) * Fraction(2) ** m for m, g in enumerate(TIED[ties]))


@pytest.mark.parametrize("ties", ["first", "last"])
def test_ties_in_two_axes_go_by_row_major_order(ties):
    p = program(y[()] << Max[i, j](x[i, j], ties=ties))
    found = Meaning(vjp(p)).run({"x": [[1, 3], [3, 0], [3, 2]], "gy": 1})["gx"]
    assert found.tolist() == ([[0, 1], [0, 0], [0, 0]] if ties == "first" else [[0, 0], [0, 0], [1, 0]])


def test_products_never_divide():
    p = program(y[n] << Prod[k](x[n, k]))
    found = Meaning(vjp(p)).run({"x": [[0, 2, 3], [0, 0, 3]], "gy": [1, 1]})["gx"]
    assert found.tolist() == [[6, 0, 0], [0, 0, 0]]
    assert not any(
        f.is_Pow and f.exp.is_negative for eq in vjp(vjp(p), "h").equations for f in eq.body.atoms(sp.Pow)
    )


# ---- conventions ------------------------------------------------------------------------------------

KINKS: dict[str, tuple[Any, list[Fraction], list[Any]]] = {
    "relu": (relu, [-1, 0, 1], [0, 0, 1]),
    "step": (step, [-1, 0, 1], [0, 0, 0]),
    "Abs": (sp.Abs, [-2, 0, 3], [-1, 0, 1]),
    "sign": (sp.sign, [-2, 0, 3], [0, 0, 0]),
    "square of Abs": (lambda v: sp.Abs(v) ** 2, [-2, 0, 3], [-4, 0, 6]),
    "cube of Abs": (lambda v: sp.Abs(v) ** 3, [-2, 0, 3], [-12, 0, 27]),
    "square": (lambda v: v**2, [-2, 0, 3], [-4, 0, 6]),
    "reciprocal": (lambda v: 1 / v, [-2, 4], [Fraction(-1, 4), Fraction(-1, 16)]),
    "Piecewise": (lambda v: sp.Piecewise((v**2, v > 0), (3 * v, True)), [-1, 0, 2], [3, 3, 4]),
}


@pytest.mark.parametrize("name", KINKS)
def test_convention(name):
    function, at, slopes = KINKS[name]
    p = program(y[n] << function(x[n]))
    at = [Fraction(v) for v in at]
    assert Meaning(vjp(p)).run({"x": at, "gy": [1] * len(at)})["gx"].tolist() == slopes
    assert Meaning(jvp(p)).run({"x": at, "tx": [1] * len(at)})["ty"].tolist() == slopes


@pytest.mark.parametrize("function", [maximum, minimum])
def test_maximum_of_two_gives_ties_to_the_first(function):
    p = program(y[n] << function(x[n], w[n]), inputs=(x, w))
    found = Meaning(vjp(p)).run({"x": [1, 2, 3], "w": [2, 2, 2], "gy": [1, 1, 1]})
    smaller_wins = function is minimum
    assert found["gx"].tolist() == ([1, 1, 0] if smaller_wins else [0, 1, 1])
    assert found["gw"].tolist() == ([0, 0, 1] if smaller_wins else [1, 0, 0])


def test_maximum_of_branches():
    """Its derivative compares them; as a condition of a Piecewise they would make SymPy run out of stack."""
    branch = sp.Piecewise((x[n], x[n] > 0), (-2 * x[n], True))
    p = program(y[n] << maximum(branch, w[n]), inputs=(x, w))
    found = Meaning(vjp(p)).run({"x": [3, 1, -1, -1], "w": [2, 2, 1, 3], "gy": [1, 1, 1, 1]})
    assert found["gx"].tolist() == [1, 0, -2, 0]
    assert found["gw"].tolist() == [0, 1, 0, 1]


def test_power_is_finite_at_zero():
    """SymPy's p*x**p/x is 0/0 at 0."""
    a, exponent = Access("x", n), Real("p", positive=True)
    assert partial(a**exponent, a) == exponent * a ** (exponent - 1)
    assert partial(a**3, a) == 3 * a**2


def test_a_power_of_exponent_zero_does_not_vary():
    """0 * u^(-1) would be NaN at u = 0: a polynomial has no slope from its constant, whoever sums over exponents."""
    a = Access("x", n)
    assert partial(a**k, a) == k * chosen(sp.Ne(k, 0), a ** (k - 1))
    twice = partial(partial(a**k, a), a)
    assert twice == k * chosen(sp.Ne(k, 0), (k - 1) * chosen(sp.Ne(k - 1, 0), a ** (k - 2)))
    assert twice.xreplace({k: sp.S.One, a: sp.S.Zero}) == twice.xreplace({k: sp.S.Zero, a: sp.S.Zero}) == 0
    assert twice.xreplace({k: sp.Integer(2)}) == 2 * chosen(True, chosen(True, 1))


def test_a_power_varies_with_its_exponent():
    """x^p log(x), and 0 where x is 0: 0 * log(0) would be NaN."""
    a, b = Access("x", n), Access("w", n)
    assert partial(a**b, b) == chosen(sp.Or(sp.Ne(a, 0), b < 0), a**b * sp.log(a))
    assert partial(2**b, b) == 2**b * sp.log(2)


@pytest.mark.parametrize("inner", [sp.log, sp.sqrt, sp.acos, sp.acosh, lambda v: sp.log(v) / v])
def test_absolute_values_of_what_sympy_takes_for_complex(inner):
    """SymPy does not know log(x) to be real, and has no derivative of |log(x)| then."""
    a = Access("x", n)
    u, slope = inner(a), partial(inner(a), a)
    assert sp.simplify(partial(sp.Abs(u), a) / slope - sp.sign(u)) == 0
    assert partial(sp.sign(u), a) == 0
    assert partial(partial(sp.Abs(u), a), a).has(sp.sign)


def test_no_delta_appears():
    a = Access("x", n)
    for body in (sp.sign(a), sp.Abs(a), step(a), sp.Abs(a) ** 3):
        once = partial(body, a)
        assert not partial(once, a).has(sp.DiracDelta, sp.Derivative, sp.Subs)


def test_integers_have_no_derivative():
    t = Tensor("t", integer=True)
    p = program(y[n] << x[t[n]] * t[n], inputs=(x, t))
    back, forth = vjp(p), jvp(p)
    assert [g.name for g in back.outputs] == ["gx"]
    assert [g.name for g in forth.inputs] == ["x", "t", "tx"]
    at = Tensor("i", integer=True)
    both = program(at[n] << ArgMax[k](x[n, k]), y[n] << Max[k](x[n, k]), outputs=(y, at))
    assert [g.name for g in vjp(both).inputs] == ["x", "gy"]
    assert [g.name for g in jvp(both).outputs] == ["ty"]


@pytest.mark.parametrize("other", ["gx", "gy"])
def test_a_name_that_a_derivative_needs(other):
    with pytest.raises(SpecError) as error:
        vjp(program(y[n] << x[n] * Tensor(other)[n], inputs=(x, Tensor(other))))
    assert (
        str(error.value)
        == f"tensor `{other}` has the name that the derivative of `{other[1]}` gets; rename it"
    )
    vjp(program(y[n] << x[n] * Tensor("gz")[n], inputs=(x, Tensor("gz"))))


def test_an_output_that_feeds_another():
    """Its adjoint is what the caller gives, plus what comes back."""
    p = program(z[n] << x[n] ** 2, y[n] << 3 * z[n], outputs=(z, y))
    found = Meaning(check(vjp(p))).run({"x": [5], "gz": [1], "gy": [100]})
    assert found["gx"].tolist() == [10 * (1 + 300)]


def test_an_input_that_no_output_needs_has_gradient_zero():
    p = program(y[n] << x[n] + Sum[k](w[n, k] * 0 + step(w[n, k])), inputs=(x, w))
    back = check(simplify(vjp(p)))
    assert [g.name for g in back.outputs] == ["gx", "gw"]
    found = Meaning(back).run({"x": [1], "w": [[2, 3]], "gy": [4]})
    assert found["gw"].tolist() == [[0, 0]]


# ---- a derivative keeps the relation, and everything agrees with exact differences ------------------


@pytest.mark.parametrize(
    "m",
    [m for m in SPECIMENS if m.operator.name in ("conv", "convolution", "transposed", "local")],
    ids=lambda m: m.name,
)
def test_a_derivative_keeps_the_relation(m):
    made = derived(m.name)
    (relation,) = {eq.relation for eq in made.raw["forward"].equations if len(eq.reads) == 2}
    for name in ("vjp", "jvp", "vjp_vjp", "vjp_jvp"):
        assert {eq.relation for eq in made.raw[name].equations if len(eq.reads) == 2} == {relation}


EXACT = [m for m in SPECIMENS if m.rational and m.degree <= 4]


@pytest.mark.parametrize("m", EXACT, ids=lambda m: m.name)
def test_vjp_is_the_exact_difference(m):
    made = derived(m.name)
    forward = Meaning(made.raw["forward"])
    inputs = filled(made.raw["vjp"], forward, m.inputs(), m.integers)
    found = Meaning(made.raw["vjp"]).run(inputs, m.integers, m.reals)
    cotangents = {t.name: inputs[f"g{t.name}"] for t in made.raw["forward"].outputs if not t.integer}
    expected = gradient(forward, m.inputs(), cotangents, m.integers, m.reals)
    agree(found, {f"g{name}": g for name, g in expected.items()}, [f"g{name}" for name in expected])


@pytest.mark.parametrize("m", EXACT, ids=lambda m: m.name)
def test_jvp_is_the_exact_difference(m):
    """Along all inputs at once: the sum of what it is along each."""
    made = derived(m.name)
    forward = Meaning(made.raw["forward"])
    inputs = filled(made.raw["jvp"], forward, m.inputs(), m.integers)
    tangents = {t.name: inputs[f"t{t.name}"] for t in made.raw["forward"].inputs if not t.integer}
    found = Meaning(made.raw["jvp"]).run(inputs, m.integers, m.reals)
    along = [directional(forward, m.inputs(), {name: t}, m.integers, m.reals) for name, t in tangents.items()]
    agree(
        found,
        {f"t{name}": sum(d[name] for d in along) for name in along[0]},
        [f"t{name}" for name in along[0]],
    )


SMALL = (
    "convolution",
    "transposed",
    "product",
    "bilinear",
    "trace",
    "scattered",
    "scalar",
    "largest_split",
    "fit",
    "circular",
)


@pytest.mark.parametrize("name", SMALL)
def test_second_order_is_the_exact_difference(name):
    """The derivative of the pullback, as a function of all it is given."""
    m = next(m for m in SPECIMENS if m.name == name)
    made = derived(name)
    first = made.programs["vjp"]
    pullback, forward = Meaning(first), Meaning(made.raw["forward"])
    base = filled(first, forward, m.inputs(), m.integers)
    again = made.raw["vjp_vjp"]
    inputs = filled(again, forward, base, m.integers, seed=1)
    found = Meaning(again).run(inputs, m.integers, m.reals)
    cotangents = {t.name: inputs[f"h{t.name}"] for t in first.outputs}
    expected = gradient(pullback, base, cotangents, m.integers, m.reals)
    agree(found, {f"h{k_}": g for k_, g in expected.items()}, [f"h{k_}" for k_ in expected])


def test_a_dropped_equation_is_noticed():
    made = derived("conv1d")
    forward = Meaning(made.raw["forward"])
    m = next(m for m in SPECIMENS if m.name == "conv1d")
    broken = replace(made.raw["vjp"], equations=made.raw["vjp"].equations[1:])
    inputs = filled(broken, forward, m.inputs(), m.integers)
    expected = gradient(forward, m.inputs(), {"y": inputs["gy"]}, m.integers)
    with pytest.raises(AssertionError, match=r"g[bwx]\["):
        agree(
            Meaning(broken).run(inputs, m.integers),
            {f"g{k_}": g for k_, g in expected.items()},
            ["gx", "gw", "gb"],
        )
