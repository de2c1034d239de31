"""Fractions of exact runs against Python's own."""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from derive.verify.rational import Rational
from kernels.runtime.scalar import HIGHEST, LOWEST, absolute, power, sign
from kernels.runtime.simd import VOID

FRACTIONS = st.one_of(
    st.fractions(min_value=-9, max_value=9, max_denominator=12),
    st.fractions(),
    st.integers(-(2**70), 2**70).map(Fraction),
)
TWO = (operator.add, operator.sub, operator.mul, operator.truediv)
ORDER = (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge)


def same(found: Any, expected: Any) -> None:
    assert type(found) is Rational
    assert (found.numerator, found.denominator) == (expected.numerator, expected.denominator)
    assert found.fraction() == expected


@pytest.mark.parametrize("two", TWO)
@given(a=FRACTIONS, b=FRACTIONS)
def test_arithmetic(two: Callable[[Any, Any], Any], a: Fraction, b: Fraction) -> None:
    assume(two is not operator.truediv or b != 0)
    same(two(Rational(a), Rational(b)), two(a, b))


@pytest.mark.parametrize("two", TWO)
@given(a=FRACTIONS, n=st.integers(-20, 20))
def test_beside_whole_numbers(two: Callable[[Any, Any], Any], a: Fraction, n: int) -> None:
    if two is not operator.truediv or n != 0:
        same(two(Rational(a), n), two(a, n))
    if two is not operator.truediv or a != 0:
        same(two(n, Rational(a)), two(n, a))


@pytest.mark.parametrize("order", ORDER)
@given(a=FRACTIONS, b=FRACTIONS, n=st.integers(-20, 20))
def test_order(order: Callable[[Any, Any], bool], a: Fraction, b: Fraction, n: int) -> None:
    assert order(Rational(a), Rational(b)) is order(a, b)
    assert order(Rational(a), Rational(a)) is order(a, a)
    assert order(Rational(a), n) is order(a, n)
    assert order(n, Rational(a)) is order(n, a)
    assert order(Rational(n), n) is order(n, n)


@given(a=FRACTIONS, n=st.integers(-5, 5))
def test_functions(a: Fraction, n: int) -> None:
    x = Rational(a)
    same(-x, -a)
    same(+x, a)
    same(abs(x), abs(a))
    same(absolute(x), abs(a))
    same(sign(x), Fraction((a > 0) - (a < 0)))
    assert bool(x) is bool(a)
    assert repr(x) == str(a)
    if a != 0 or n >= 0:
        same(x**n, a**n)
        same(power(x, Rational(n)), a**n)


@given(a=FRACTIONS)
def test_what_is_no_fraction(a: Fraction) -> None:
    x = Rational(a)
    assert LOWEST < x < HIGHEST
    assert x > LOWEST
    assert x + VOID is VOID
    assert VOID * x is VOID
    for other in (0.5, a, True):  # whose sum would be one of these, where a kernel mixes numbers
        with pytest.raises(TypeError):
            x + other
    for two in (lambda: x / 0, lambda: x / Rational(0), lambda: 1 / (x - x), lambda: (x - x) ** -1):
        with pytest.raises(ZeroDivisionError):
            two()
