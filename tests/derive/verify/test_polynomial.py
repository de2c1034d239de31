"""Polynomials against SymPy's, residues against fractions, and no float beside any of them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from derive.numbers import Decimals, NotRational, power, sign, sqrt
from derive.verify.polynomial import PRIME, P, Polynomial, Residue, Ring, Undecided, strict, terms_of

NAMES = "a b c"
SYMBOLS = sp.symbols(NAMES)


def variables(*at: int) -> tuple[Ring, list[Polynomial]]:
    ring = Ring()
    return ring, [ring.variable(n, Fraction(v)) for n, v in zip("abcdefgh", at, strict=False)]


def formulas() -> Any:
    """Trees of + - * and division by numbers, as functions of three unknowns."""
    leaves = st.one_of(
        st.sampled_from([lambda v, k=k: v[k] for k in range(3)]),
        st.integers(-3, 3).map(lambda q: lambda v: q + 0 * v[0]),
    )

    def grown(inner: Any) -> Any:
        pairs = st.tuples(inner, inner)
        return st.one_of(
            pairs.map(lambda p: lambda v: p[0](v) + p[1](v)),
            pairs.map(lambda p: lambda v: p[0](v) - p[1](v)),
            pairs.map(lambda p: lambda v: p[0](v) * p[1](v)),
            st.tuples(inner, st.sampled_from([1, 2, -3])).map(lambda p: lambda v: p[0](v) / p[1]),
        )

    return st.recursive(leaves, grown, max_leaves=8)


@given(formulas())
def test_as_sympy_has_them(formula: Any) -> None:
    _, unknowns = variables(1, 2, 3)
    made = formula(unknowns)
    expected = sp.Poly(formula(SYMBOLS), *SYMBOLS)
    found = {
        tuple(m.count(k) for k in range(3)): sp.Rational(*Fraction(c).as_integer_ratio())
        for m, c in made.terms.items()
    }
    assert found == {m: c for m, c in expected.terms() if c}


@given(formulas(), st.tuples(*3 * [st.fractions(-5, 5, max_denominator=4)]))
def test_residues_are_fractions_modulo_the_prime(formula: Any, at: tuple[Fraction, ...]) -> None:
    truth, made = formula(at), formula([Residue(v) for v in at])
    assert made == Residue(Fraction(truth))


def test_quotients_of_polynomials_have_no_place_and_no_room_is_without_end() -> None:
    _, (a, b, *_) = variables(1, 2, 3)
    assert terms_of(a / 2 + a / 2) == terms_of(a)
    with pytest.raises(NotRational, match="quotient"):
        a / b
    with pytest.raises(ZeroDivisionError):
        a / (b - b)
    with pytest.raises(NotRational, match="terms"):
        power(sum((variables(*range(8))[1]), a), 12)


def test_whole_powers_and_nothing_beyond() -> None:
    _, (a, *_) = variables(1, 2)
    assert terms_of(power(a, Polynomial(2))) == terms_of(a * a)
    assert power(Residue(5, 1), Residue(-1)) == Residue(Fraction(1, 5))
    for x in (a, Residue(5, 1)):
        with pytest.raises(NotRational):
            sqrt(x)
        with pytest.raises(NotRational):
            power(x, Fraction(1, 2))
    for field in (Ring(), PRIME):
        for constant in (field.pi, field.e):
            with pytest.raises(NotRational, match="no rational number"):
                constant()


def test_comparisons_are_decided_by_the_order_of_a_ring() -> None:
    ring, (a, b) = variables(1, 2)
    with pytest.raises(Undecided):
        _ = a < b
    assert Polynomial(1) < 2 < Polynomial(3)
    with ring.deciding():
        assert a < b
        assert b >= a
        assert not a > b
        assert sign(a - b) == -1
        assert (ring.compared, ring.open) == (3 + 2, 0)  # sign looks twice
        assert a > 0
        assert ring.kinks == {0}
        assert a - 3 < 0
        assert ring.kinks == {0, 3}
        assert not ring.open
        assert a + b < 4
        assert ring.open == 1
        assert a * b > a
        assert ring.open == 2
        assert a != b
        assert ring.generic == 1


def test_residues_have_no_order_but_numbers_do() -> None:
    assert Residue(2) < 3
    assert Residue(-2) < 0
    assert abs(Residue(-2)) == 2
    assert int(Residue(-7)) == -7
    with pytest.raises(Undecided):
        _ = Residue(2, 1) < Residue(3, 1)
    with pytest.raises(NotRational, match="whole number"):
        int(Residue(2, 1))


def test_degrees_are_bounds() -> None:
    x, y = Residue(3, 1), Residue(4, 1)
    assert ((x * y + 1).above, (x * y + 1).below) == (2, 0)
    quotient = (x + 1) / (y * y)
    assert (quotient.above, quotient.below) == (1, 2)
    both = quotient + x / y  # over the product of both denominators
    assert (both.above, both.below) == (3, 3)
    assert ((x**3).above, (x**-2).below) == (3, 2)
    assert (x / y * y / x) == 1
    assert P == 2**61 - 1


REFUSED = (lambda x: x + 0.5, lambda x: 0.5 + x, lambda x: x - 0.5, lambda x: 0.5 - x, lambda x: x * 0.5,
           lambda x: 0.5 * x, lambda x: x / 0.5, lambda x: 0.5 / x, lambda x: x < 0.5, lambda x: x >= 0.5,
           lambda x: x == 0.5, lambda x: x != 0.5)  # fmt: skip


@pytest.mark.parametrize("use", REFUSED)
def test_no_float_beside_them(use: Any) -> None:
    decimals = strict(Decimals(50))
    for x in (variables(1)[1][0], Residue(5), decimals.number(1)):
        with pytest.raises(TypeError):
            use(x)
    assert use(Decimals(50).number(1)) is not None  # which mpmath takes as it is
    for number in (Ring().number, PRIME.number):
        with pytest.raises(TypeError, match="a float slipped in"):
            number(0.5)


def test_many_digits_are_as_they_were() -> None:
    x = strict(Decimals(50)).number(Fraction(1, 3))
    assert abs(3 * x - 1) * 10**50 < 1
    assert x < float("inf")
    assert x + 1 > x > -1
    assert 2 - x == 2 + -x
