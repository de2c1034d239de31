"""Printed expressions against SymPy's own evaluation of them: integers exactly, scalars over Fractions."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import mpmath
import pytest
import sympy as sp
import sympy.codegen.cfunctions
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from derive.emit.printing import OURS, UNARY, IntegerPrinter, ScalarPrinter
from derive.language import (
    Parameter,
    Real,
    Size,
    finite,
    indicator,
    indices,
    maximum,
    minimum,
    parameters,
    reals,
    relu,
    step,
)
from derive.lower.loops import CeilDiv, FloorDiv, Modulo
from derive.program import Access, IntegerAccess
from kernels import runtime
from kernels.runtime import scalar

p, k = indices("p k")
s, d = parameters("s d")
N = Size("N")
SYMBOLS = (p, k, s, d, N)


def integer_text(e: sp.Expr, names: Any = None) -> str:
    return str(IntegerPrinter(names or {})._print(e))


def scalar_text(e: sp.Expr) -> tuple[str, set[str]]:
    used: set[str] = set()
    return ScalarPrinter({}, used).top(e), used


def evaluated(text: str, values: dict[str, Any], number: Any = Fraction) -> Any:
    """The text as a kernel would run it, over exact numbers."""
    with scalar.numbers(number):
        return eval(text, {name: getattr(runtime, name) for name in dir(runtime)}, values)


MEANING: dict[Any, Any] = {
    relu: lambda u: sp.Max(u, 0),
    step: lambda u: sp.Heaviside(u, 0),
    maximum: sp.Max,
    minimum: sp.Min,
    FloorDiv: lambda u, v: sp.floor(u / v),
    CeilDiv: lambda u, v: sp.ceiling(u / v),
    Modulo: sp.Mod,
}


def by_sympy(e: Any, at: dict[Any, Any]) -> Any:
    """SymPy's functions on SymPy's numbers, from the leaves up: nothing is rearranged symbolically."""
    if e in at:
        return at[e]
    if isinstance(e, sp.Piecewise):
        return next(by_sympy(value, at) for value, condition in e.args if by_sympy(condition, at) == sp.true)
    if isinstance(e, indicator):
        return sp.Integer(by_sympy(e.args[0], at) == sp.true)
    if not e.args:
        return e
    value = MEANING.get(e.func, e.func)(*(by_sympy(a, at) for a in e.args))
    if value in (sp.zoo, sp.nan):
        raise ZeroDivisionError(str(e))
    return value


# ---- integers -----------------------------------------------------------------------------------------

EXAMPLES = {
    "s*p + d*k - N": (s * p + d * k - N, "k*d + p*s - N"),
    "floor": (sp.floor((N - 1) / s), "((N - 1) // s)"),
    "floor of a sum of fractions": (sp.floor(p / 2 + k / sp.Integer(3)), "((2*k + 3*p) // 6)"),
    "ceiling": (sp.ceiling(p / s), "(-((-p) // s))"),
    "mod": (sp.Mod(p + k, s), "((k + p) % s)"),
    "FloorDiv": (FloorDiv(p - N, s), "((p - N) // s)"),
    "CeilDiv": (CeilDiv(p - N, s), "(-((-p + N) // s))"),
    "Modulo": (Modulo(p, s), "(p % s)"),
    "Max": (sp.Max(p, k, 0), "max(0, k, p)"),
    "Min": (sp.Min(p, 7), "min(7, p)"),
    "square": ((p + 1) ** 2, "(p + 1)**2"),
    "product": ((p + 1) * (k - s), "(k - s)*(p + 1)"),
    "read": (IntegerAccess("t", p, k) + 1, "t[p, k] + 1"),
    "scalar read": (IntegerAccess("t"), "t[()]"),
    "Piecewise": (sp.Piecewise((p, s > 1), (k, True)), "(p if s > 1 else k)"),
}


@pytest.mark.parametrize("case", EXAMPLES)
def test_integer_text(case):
    e, text = EXAMPLES[case]
    assert integer_text(e) == text
    for seed in range(20):
        same(e, seed)


def same(e: sp.Expr, seed: int) -> None:
    if any(f.exp.is_negative for f in e.atoms(sp.Pow)):
        return  # of SymPy's making: it turns a Piecewise's s >= 1 into 1/s <= 1
    rng = random.Random(seed)
    at = {x: rng.randint(1, 9) if x in (s, d) else rng.randint(-9, 9) for x in SYMBOLS}
    table = [[rng.randint(-5, 5) for _ in range(40)] for _ in range(40)]

    class Table:
        def __getitem__(self, key: Any) -> int:
            key = key if isinstance(key, tuple) else (key,)
            return table[key[0] % 40][key[-1] % 40] if key else 3

    numbers: dict[Any, Any] = {x: sp.Integer(v) for x, v in at.items()}
    reads = {r: sp.Integer(Table()[tuple(at[i] for i in r.indices)]) for r in e.atoms(IntegerAccess)}
    expected = by_sympy(e, {**numbers, **reads})
    found = eval(
        integer_text(e),
        {"__builtins__": {"max": max, "min": min}},
        {**{x.name: v for x, v in at.items()}, "t": Table()},
    )
    assert type(found) is int
    assert found == expected, f"{e} at {at}: {found}"


atoms = st.sampled_from([*SYMBOLS, *SYMBOLS, *map(sp.Integer, (-3, -2, -1, 0, 1, 2, 5))])
positive = st.sampled_from([s, d, s + 1, s * d, sp.Integer(2), sp.Integer(3)])


def divided(function: Any) -> Any:
    """Ours where there is a symbol; SymPy compares no unevaluated numbers."""
    plain = {FloorDiv: lambda u, v: sp.floor(u / v), CeilDiv: lambda u, v: sp.ceiling(u / v), Modulo: sp.Mod}[
        function
    ]
    return lambda u: function(*u) if u[0].free_symbols else plain(*u)


def chosen(u: Any) -> Any:
    """Two conditions and a default; of symbols and numbers, see `simple`."""
    a, b, c = (v if v.is_Symbol or v.is_Number else k for v in u)
    return sp.Piecewise((u[0], sp.And(a >= b, sp.Ne(b, c))), (u[2], sp.Or(b < 0, sp.Eq(a, c))), (u[1], True))


def mod(u: Any) -> Any:
    try:
        return sp.Mod(*u)
    except RecursionError:  # SymPy's own: it takes the same factor out of some sums again and again
        reject()


def grown(inner: Any) -> Any:
    pair = st.tuples(inner, inner)
    return st.one_of(
        pair.map(lambda u: u[0] + u[1]),
        pair.map(lambda u: u[0] - u[1]),
        pair.map(lambda u: u[0] * u[1]),
        st.tuples(inner, positive).map(lambda u: sp.floor(u[0] / u[1])),
        st.tuples(inner, positive).map(lambda u: sp.ceiling(u[0] / u[1])),
        st.tuples(inner, positive).map(mod),
        st.tuples(inner, positive).map(divided(FloorDiv)),
        st.tuples(inner, positive).map(divided(CeilDiv)),
        st.tuples(inner, positive).map(divided(Modulo)),
        pair.map(lambda u: sp.Max(*u)),
        pair.map(lambda u: sp.Min(*u)),
        inner.map(lambda u: u**2),
        inner.map(lambda u: -u),
        st.tuples(inner, inner, inner).map(chosen),
    )


integers = st.recursive(atoms, grown, max_leaves=7)


@given(integers, st.integers(0, 10**6))
@settings(max_examples=200)
def test_integer_printer(e, seed):
    same(sp.sympify(e), seed)


@pytest.mark.slow
@given(integers, st.integers(0, 10**6))
@settings(max_examples=4000)
def test_integer_printer_at_length(e, seed):
    same(sp.sympify(e), seed)


def test_a_wrong_rounding_is_noticed(monkeypatch):
    """Towards zero instead of down."""
    monkeypatch.setattr(
        IntegerPrinter,
        "_print_FloorDiv",
        lambda self, e: f"int(({self._print(e.args[0])}) / {self._print(e.args[1])})",
    )
    with pytest.raises((AssertionError, NameError)):
        for seed in range(20):
            same(FloorDiv(p, s), seed)


@pytest.mark.parametrize(
    ("e", "text"),
    [
        (sp.Float(0.5) * p, "the float 0.5"),
        (p**-1, "1/p is no integer formula"),
        (2**p, "2**p is no integer formula"),
        (sp.Piecewise((p, p > 3)), "a Piecewise without a default: Piecewise((p, p > 3))"),
    ],
)
def test_no_integer_formula(e, text):
    with pytest.raises(ValueError, match="^") as error:
        integer_text(e)
    assert str(error.value).startswith(text)


def test_names_come_from_the_table():
    assert integer_text(p + s, {p: "p_", s: "stride"}) in ("p_ + stride", "stride + p_")
    assert integer_text(IntegerAccess("t", p) + 0, {IntegerAccess("t", p): "t_2", p: "q"}) == "t_2[q]"


# ---- scalars --------------------------------------------------------------------------------------------

x, w = Access("x", p), Access("w", p)
r = reals("r")
LEAVES = (x, w, r, p, s)

SCALARS = {
    "zero": (sp.S.Zero, "zero()"),
    "one": (sp.S.One, "one()"),
    "a square that SymPy left": (sp.Pow(1, 2, evaluate=False), "one()"),
    "seven": (sp.Integer(7), "real(7)"),
    "half": (sp.S.Half, "rational(1, 2)"),
    "product": (x * w, "w[p] * x[p]"),
    "quotient": (x / w, "x[p] / w[p]"),
    "reciprocal": (1 / x, "1 / x[p]"),
    "power": (x**3, "x[p]**3"),
    "negative power": (x**-2, "1 / x[p]**2"),
    "root": (sp.sqrt(w), "sqrt(w[p])"),
    "reciprocal root": (1 / sp.sqrt(w), "1 / sqrt(w[p])"),
    "real power": (w**r, "power(w[p], r)"),
    "minus": (-x * w, "-w[p] * x[p]"),
    "integers are made real": (x * p, "real(p) * x[p]"),
    "rounding stays among integers": (x * sp.floor(p / s), "real(p // s) * x[p]"),
    "relu": (relu(x), "relu(x[p])"),
    "maximum": (maximum(x, 0), "larger(x[p], zero())"),
    "minimum": (minimum(2, x), "smaller(real(2), x[p])"),
    "absolute": (sp.Abs(x), "absolute(x[p])"),
    "sign": (sp.sign(x - w), "sign(-w[p] + x[p])"),
    "Piecewise": (sp.Piecewise((x, x > 0), (2, True)), "(x[p] if x[p] > zero() else real(2))"),
    "integer condition": (sp.Piecewise((x, p > s), (w, True)), "(x[p] if p > s else w[p])"),
    "indicator": (indicator(sp.Eq(x, w)), "indicator(x[p] == w[p])"),
    "pi": (sp.pi * x, "pi() * x[p]"),
    "e": (sp.E * x, "exp(one()) * x[p]"),
    "infinity": (sp.Piecewise((x, p > 1), (-sp.oo, True)), "(x[p] if p > 1 else (lowest()))"),
    "scalar tensor": (Access("x") ** 2, "x[()]**2"),
    "integer tensor": (IntegerAccess("t", p) * x, "x[p] * real(t[p])"),
}


@pytest.mark.parametrize("case", SCALARS)
def test_scalar_text(case):
    e, text = SCALARS[case]
    found, used = scalar_text(e)
    assert found == text
    assert {name for name in used if f"{name}(" not in found} == set()


def function(name: str):
    """SymPy's, which keeps two of them elsewhere."""
    return getattr(sp, name, None) or getattr(sp.codegen.cfunctions, name)


def test_every_function_can_be_called():
    for name in UNARY:
        text, used = scalar_text(function(name)(x))
        assert used == {name}
        assert text == f"{name}(x[p])"
    assert set(OURS.values()) <= set(dir(runtime))
    assert set(dir(runtime)) >= UNARY


def scalars_at(rng: random.Random) -> dict[Any, Fraction]:
    made = {x: 0, w: 0, r: 0}
    return {a: Fraction(rng.choice([n for n in range(-9, 10) if n]), rng.randint(1, 5)) for a in made} | {
        p: rng.randint(0, 5),
        s: rng.randint(1, 4),
    }


def simple(e: Any) -> Any:
    """Something to compare: sums of leaves. SymPy solves other conditions, for minutes or until the stack overflows."""
    return e if all(a in LEAVES or a.is_Number for a in sp.Add.make_args(e)) else x - w


scalar_atoms = st.sampled_from([*LEAVES, x, w, *map(sp.Rational, ("-2", "-1", "0", "1", "3", "1/2", "-5/3"))])


def scalar_grown(inner: Any) -> Any:
    pair = st.tuples(inner, inner)
    return st.one_of(
        pair.map(lambda u: u[0] + u[1]),
        pair.map(lambda u: u[0] - u[1]),
        pair.map(lambda u: u[0] * u[1]),
        pair.map(lambda u: u[0] / u[1] if u[1] != 0 else u[0]),
        inner.map(lambda u: -u),
        inner.map(lambda u: u**2),
        inner.map(lambda u: 1 / u**3 if u != 0 else u),
        inner.map(lambda u: relu(u)),
        inner.map(lambda u: step(u)),
        inner.map(lambda u: sp.Abs(u)),
        inner.map(lambda u: sp.sign(u)),
        pair.map(lambda u: maximum(*u)),
        pair.map(lambda u: minimum(*u)),
        pair.map(lambda u: indicator(simple(u[0]) <= simple(u[1])) * u[0]),
        st.tuples(inner, inner, inner).map(
            lambda u: sp.Piecewise((u[0], simple(u[1]) > simple(u[2])), (u[2], True))
        ),
        st.tuples(inner, inner, inner).map(
            lambda u: sp.Piecewise(
                (u[0], sp.Or(simple(u[1]) >= simple(u[2]), p > s)),
                (u[1], sp.And(simple(u[0]) < 0, sp.Ne(simple(u[1]), simple(u[2])))),
                (u[2], True),
            )
        ),
    )


formulas = st.recursive(scalar_atoms, scalar_grown, max_leaves=6)


def same_scalar(e: sp.Expr, seed: int) -> None:
    if e.has(sp.zoo, sp.nan, sp.oo):
        return
    at = scalars_at(random.Random(seed))
    try:
        value = by_sympy(e, {a: sp.Rational(v.numerator, v.denominator) for a, v in at.items()})
    except ZeroDivisionError:
        return
    expected = Fraction(int(value.p), int(value.q))
    values = {"x": {at[p]: at[x]}, "w": {at[p]: at[w]}, "r": at[r], "p": int(at[p]), "s": int(at[s])}
    text, _ = scalar_text(e)
    found = evaluated(text, values)
    assert type(found) is Fraction, f"{text}: {found!r}"
    assert found == expected, f"{e} at {at}: {text} = {found}, not {expected}"


@given(formulas, st.integers(0, 10**6))
@settings(max_examples=200)
def test_scalar_printer(e, seed):
    same_scalar(sp.sympify(e), seed)


@pytest.mark.slow
@given(formulas, st.integers(0, 10**6))
@settings(max_examples=3000)
def test_scalar_printer_at_length(e, seed):
    same_scalar(sp.sympify(e), seed)


@pytest.mark.parametrize("name", sorted(UNARY))
def test_functions_over_decimals(name):
    """What leaves the rationals, with 50 digits: agreement to 40, of which the argument costs none."""
    value = mpmath.mpf("1.25") if name == "acosh" else mpmath.mpf("0.375")
    with mpmath.workdps(50):
        found = evaluated(scalar_text(function(name)(x) * 2)[0], {"x": {0: value}, "p": 0}, mpmath.mpf)
        expected = 2 * getattr(mpmath, name)(value)
        assert abs(found - expected) <= mpmath.mpf(10) ** -40


def test_what_no_kernel_computes():
    with pytest.raises(ValueError, match=r"^kernels.runtime has no function gamma; there are acos, "):
        scalar_text(sp.gamma(x))
    with pytest.raises(ValueError, match=r"^a Piecewise without a default: "):
        scalar_text(sp.Piecewise((x, x > 0)))
    assert isinstance(r, Real)
    assert isinstance(s, Parameter)


def test_what_is_shifted_meets_its_shift_first():
    """x - finite(m) is exact where they are near each other, and x - z would round a large x."""
    i = indices("i")
    x, m, z = (Access(name, i) for name in "xmz")
    sums = (x - finite(m) - z, finite(m) + sp.log(z) - x, x - m - z)
    assert [ScalarPrinter({}, set()).top(e) for e in sums] == [
        "-finite(m[i]) + x[i] - z[i]",
        "finite(m[i]) - x[i] + log(z[i])",
        "-m[i] + x[i] - z[i]",
    ]
