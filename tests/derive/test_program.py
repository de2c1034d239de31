"""The relation form: its own arithmetic, its printing, and `check` objecting to every broken rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from derive.errors import CheckError
from derive.language import Max, Operator, Parameter, Size, Sum, Tensor, extent, indices, parameters, tensors
from derive.program import (
    REDUCTIONS,
    Access,
    Affine,
    Equation,
    IntegerAccess,
    Program,
    Range,
    Relation,
    accesses,
    affine,
    check,
    fresh_name,
    live,
    vanishes,
)
from derive.program import Tensor as Declared
from derive.translate import to_program

i, j, k, n, p = indices("i j k n p")
x, w, y = tensors("x w y")
s, d = parameters("s d")
SUM = to_program(Operator("op", y[n] << Sum[k](x[s * n + k] * w[k]), inputs=(x, w)))


# ---- affine forms -------------------------------------------------------------------------------------


def test_affine_collects_terms():
    form = affine(2 * i + s * j - 3 * (i - 1) + d)
    assert form is not None
    assert form.terms == ((i, sp.S.NegativeOne), (j, s))
    assert form.constant == d + 3
    assert (form.indices, form.coefficient(j), form.coefficient(k)) == ((i, j), s, 0)


def test_affine_of_an_integer_read():
    t = IntegerAccess("t", n)
    form = affine(3 * t - i + 1)
    assert form is not None
    assert form.reads == (t,)
    assert form.indices == (i, n)
    assert form.without(t).expr == 1 - i


@pytest.mark.parametrize(
    "e",
    [
        i * j,
        i**2,
        1 / (1 + i),
        Access("x", i) + i,
        sp.Rational(1, 2) * i,
        i + sp.S.Half,
        sp.floor(i / 2),
        sp.Symbol("q") * i,
    ],
)
def test_not_affine(e):
    assert affine(e) is None


coefficients = st.tuples(st.integers(-4, 4), st.integers(-4, 4), st.integers(-4, 4))


@given(coefficients, coefficients, st.integers(-3, 3))
def test_affine_arithmetic_is_that_of_expressions(one, two, factor):
    u = Affine.of([(i, sp.Integer(one[0])), (j, sp.Integer(one[1]))], one[2])
    v = Affine.of([(j, sp.Integer(two[0])), (k, sp.Integer(two[1]))], two[2])
    assert sp.expand((u + v).expr - (u.expr + v.expr)) == 0
    assert sp.expand((-u).expr + u.expr) == 0
    assert sp.expand(u.scaled(factor).expr - factor * u.expr) == 0
    assert sp.expand(u.shifted(factor).expr - u.expr - factor) == 0
    assert u + v == v + u
    assert affine(u.expr) == u


def test_affine_renames():
    form = Affine.of([(i, s), (IntegerAccess("t", j), sp.S.One)], d)
    assert form.replaced({i: k, s: d, IntegerAccess("t", j): IntegerAccess("t", k)}) == Affine.of(
        [(k, d), (IntegerAccess("t", k), sp.S.One)], d
    )


def test_accesses_come_in_one_order():
    body = Access("b", i) * Access("a", j) + Access("a", i) + sp.exp(Access("a", i))
    assert [str(a) for a in accesses(body)] == ["a[i]", "a[j]", "b[i]"]


# ---- printing -------------------------------------------------------------------------------------------


def equation(body: Any, zero: Any = (), nonneg: Any = (), **more: Any) -> Equation:
    ranges = tuple(Range(r, extent(r)) for r in (n, k))
    forms = [tuple(f for e in es if (f := affine(e)) is not None) for es in (zero, nonneg)]
    return Equation(Access("y", n), Relation(ranges, *forms), body, **more)


def test_equations_print_as_one_writes_them():
    read = Access("x", k)
    assert str(equation(read)) == "y[n] += sum[k] x[k]"
    assert str(equation(read, zero=[s * n - k])) == "y[n] += sum[k] x[k]   { s*n = k }"
    assert str(equation(read, nonneg=[n - k])) == "y[n] += sum[k] x[k]   { -k + n >= 0 }"
    assert str(equation(read, reduce="max", ties="last")) == "y[n] += max[k] (last of ties) x[k]"
    assert str(equation(read, reduce="argmax", at=affine(2 * k))) == "y[n] += argmax[k] x[k] at 2*k"
    plain = Equation(Access("y", n), Relation((Range(n, extent(n)),)), Access("x", n))
    assert str(plain) == "y[n] += x[n]"


def test_programs_print_their_sizes():
    assert str(SUM) == "y[n] += sum[k,x0] w[k]*x[x0]   { k + s*n = x0 }\n    N = floor((-K + X0)/s) + 1"


# ---- tables and names -------------------------------------------------------------------------------------


def test_tensors_of_a_program():
    made = to_program(Operator("op", y[n] << Max[k](x[n, k]) * w[n], inputs=(x, w)))
    assert list(made.tensors) == ["x", "w", "y_max", "y"]
    assert made.tensors["y_max"].shape == (extent(n),)


def test_fresh_names_are_taken():
    taken = {"a"}
    assert [fresh_name("a", taken) for _ in range(3)] == ["a_2", "a_3", "a_4"]
    assert fresh_name("b", taken) == "b"
    assert taken == {"a", "a_2", "a_3", "a_4", "b"}


def test_reads_of_relations_count():
    t = Tensor("t", integer=True)
    (eq,) = to_program(Operator("op", y[n] << x[t[n]], inputs=(x, t))).equations
    assert [a.tensor for a in eq.reads] == ["x", "t"]


def test_live_follows_relations_too():
    t = Tensor("t", integer=True)
    from derive.language import ArgMax

    made = to_program(Operator("op", t[n] << ArgMax[k](w[n, k]), y[n] << x[t[n]], inputs=(x, w)))
    assert [eq.target.tensor for eq in live(made).equations] == ["t", "y"]


# ---- check: every rule broken once -----------------------------------------------------------------------

(EQ,) = SUM.equations
MAXED = to_program(Operator("op", y[n] << Max[k](x[n, k]), inputs=(x,)))


def with_equation(**change: Any) -> Program:
    return replace(SUM, equations=(replace(EQ, **change),))


def with_relation(**change: Any) -> Program:
    return with_equation(relation=replace(EQ.relation, **change))


POSITION = EQ.relation.indices[-1]
BROKEN: dict[str, tuple[Callable[[], Program], str]] = {
    "two ranges": (
        lambda: with_relation(ranges=(*EQ.relation.ranges, Range(k, extent(k)))),
        "an index has two ranges",
    ),
    "reduction": (lambda: with_equation(reduce="median"), "no reduction is called median"),
    "at": (lambda: with_equation(at=affine(k)), "`at` belongs to argmax and argmin, and they need it"),
    "no at": (lambda: with_equation(reduce="argmax"), "`at` belongs to argmax and argmin, and they need it"),
    "integers": (
        lambda: with_equation(reduce="argmax", at=affine(k)),
        "only argmax and argmin yield integers",
    ),
    "target at an expression": (
        lambda: with_equation(target=Access("y", n + 1)),
        "y[n + 1] is not at plain indices",
    ),
    "index twice": (
        lambda: with_equation(body=Access("x", k) * Access("w", k, k)),
        "w[k,k] names an index twice",
    ),
    "no range": (
        lambda: with_equation(body=Access("x", k) * Access("w", j)),
        "w[j] uses an index without a range",
    ),
    "a read": (
        lambda: with_equation(body=x[k]),
        "a read or a reduction is left as the user wrote it",
    ),
    "a reduction": (
        lambda: with_equation(body=Sum[j](Access("w", k))),
        "a read or a reduction is left as the user wrote it",
    ),
    "rank": (lambda: with_equation(body=Access("x", k, n)), "x[k,n] has another rank than its tensor"),
    "unknown": (
        lambda: replace(with_equation(body=Access("z", k)), locals=(Declared("z", (extent(k),)),)),
        "z[k] has another rank than its tensor",
    ),
    "too early": (
        lambda: replace(
            MAXED,
            equations=(
                Equation(Access("z", n), Relation((Range(n, extent(n)),)), Access("y", n)),
                *MAXED.equations,
            ),
        ),
        "y[n] is read before it is written",
    ),
    "incomplete": (
        lambda: replace(
            SUM,
            equations=(EQ, Equation(Access("z", n), Relation((Range(n, extent(n)),)), Access("y", n)), EQ),
        ),
        "y[n] is read before its last equation",
    ),
    "real in a relation": (
        lambda: with_relation(zero=(Affine.of([(Access("w", k), sp.S.One)]),)),
        "w[k] is not affine in indices and integer reads",
    ),
    "coefficient": (
        lambda: with_relation(zero=(Affine(((k, n),)),)),
        "n*k: an index in a coefficient",
    ),
    "constant": (lambda: with_relation(zero=(Affine((), n),)), "n: an index in a coefficient"),
    "constraint without a range": (
        lambda: with_relation(nonneg=(Affine.of([(j, sp.S.One)]),)),
        "j uses an index without a range",
    ),
    "range of an index": (
        lambda: with_relation(ranges=(*EQ.relation.ranges[:-1], Range(POSITION, n + 1))),
        "a range depends on an index",
    ),
    "input written": (lambda: with_equation(target=Access("w", n)), "w is an input and is written"),
    "two maxima": (
        lambda: replace(MAXED, equations=MAXED.equations * 2),
        "only sums add up on one target",
    ),
    "no value": (
        lambda: replace(SUM, sizes=()),
        "N has no value: neither an input's extent, nor derived, nor a parameter",
    ),
    "size of nothing": (
        lambda: replace(SUM, sizes=((Size("N"), Size("L") + 1),)),
        "L has no value: neither an input's extent, nor derived, nor a parameter",
    ),
    "no parameter": (
        lambda: replace(SUM, parameters=()),
        "s has no value: neither an input's extent, nor derived, nor a parameter",
    ),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_check_objects(rule):
    make, text = BROKEN[rule]
    with pytest.raises(CheckError) as error:
        check(make())
    assert str(error.value).partition("\n")[0] == text
    assert "\n    in  " in str(error.value)


def test_an_output_that_nothing_writes_is_zero():
    assert check(replace(SUM, outputs=(Declared("z", ()),))).tensors["z"].shape == ()


def test_check_returns_its_argument():
    assert check(SUM) is SUM
    assert check(MAXED) is MAXED


def test_reductions_are_the_languages():
    from derive.language import KINDS

    assert REDUCTIONS == KINDS
    assert isinstance(Size("N"), sp.Symbol)
    assert Parameter("s") == s


def test_what_vanishes_with_a_read():
    """Where the body has no value at 0 it does not; SymPy compares no 1/0 and no log(0)."""
    a, b = Access("x", indices("n")), Access("w", indices("n"))
    assert vanishes(a * b, a)
    assert vanishes(sp.sin(a) * sp.exp(b), a)
    assert not vanishes(a + b, a)
    assert not vanishes(b / a, a)
    for comparison in (1 / a < b, sp.log(a) < b, sp.acosh(a) < b):
        assert not vanishes(sp.Piecewise((a, comparison), (0, True)), a)
