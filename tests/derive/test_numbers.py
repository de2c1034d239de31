"""Derivatives through nesting against mpmath's numerical ones; exactness; what is refused."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derive import numbers
from derive.numbers import FUNCTIONS, RATIONALS, Decimals, Dual, Gradient, NotRational, OutsideDomain, power

DIGITS = Decimals(60)
fractions = st.fractions(-5, 5, max_denominator=7)


def near(a: Any, b: Any) -> bool:
    return bool(abs(a - b) < DIGITS.number(Fraction(1, 10**20)) * (1 + abs(b)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_and_two_derivatives(name: str) -> None:
    """One run gives f, f' and f''."""
    x = DIGITS.number(Fraction(7, 3) if name == "acosh" else Fraction(1, 3))
    made = FUNCTIONS[name](Dual(Gradient(x, {"x": DIGITS.number(1)}), DIGITS.number(1)))
    f = getattr(DIGITS.context, name)
    assert made.value.value == f(x)
    for found, order in ((made.value.by["x"], 1), (made.tangent.value, 1), (made.tangent.by["x"], 2)):
        assert near(found, DIGITS.context.diff(f, x, order))


@given(fractions, fractions, fractions)
def test_a_polynomial_over_fractions(x: Fraction, y: Fraction, t: Fraction) -> None:
    """(x^2 - 3y) / (y^2 + 1) + |x|^3, with gradient, slope along (t, 1) and slope of the gradient."""
    one = Fraction(1)
    u, v = Dual(Gradient(x, {0: one}), t), Dual(Gradient(y, {1: one}), one)
    made = (u * u - 3 * v) / (v**2 + 1) + abs(u) ** 3
    low, top = y * y + 1, x * x - 3 * y
    dx = 2 * x / low + 3 * x * abs(x)
    dy = -3 / low - top * 2 * y / low**2
    assert made.value.value == top / low + abs(x) ** 3
    assert (made.value.by.get(0, 0), made.value.by[1]) == (dx, dy)
    assert made.tangent.value == dx * t + dy
    xx, xy = 2 / low + 6 * abs(x), -4 * x * y / low**2
    assert made.tangent.by.get(0, 0) == xx * t + xy
    assert type(made.tangent.value) is Fraction


@given(fractions, st.integers(-3, 4))
def test_whole_powers(x: Fraction, n: int) -> None:
    """Products all of them: exact, 0 to the 0 is 1, and no power varies where its derivative is 0."""
    if x == 0 and n <= 0:
        assert power(Gradient(x, {0: 1}), 0) == 1
        return
    made = power(Gradient(x, {0: Fraction(1)}), n)
    assert made == x**n
    slope = made.by.get(0, 0) if isinstance(made, Gradient) else 0
    assert slope == (n * x ** (n - 1) if n else 0)


def test_varying_exponents() -> None:
    x, p = DIGITS.number(Fraction(3, 2)), DIGITS.number(Fraction(5, 4))
    made = power(Gradient(x, {"x": 1}), Gradient(p, {"p": 1}))
    assert near(made.by["x"], p * x ** (p - 1))
    assert near(made.by["p"], x**p * DIGITS.context.log(x))
    assert near(power(Dual(x, 1), p).tangent, p * x ** (p - 1))
    zero = power(DIGITS.number(0), Gradient(p, {"p": 1}))  # the limit of x^p log(x)
    assert zero == 0
    assert zero.by.get("p", 0) == 0


def test_conventions_at_kinks() -> None:
    zero = Gradient(Fraction(0), {0: Fraction(1)})
    assert numbers.sign(zero) == 0
    assert abs(zero).by == {0: 0}
    assert type(numbers.sign(Dual(Fraction(-3), 1))) is Fraction


def test_what_does_not_vary_stays_so() -> None:
    """Against an infinite derivative too."""
    assert (Dual(DIGITS.number(0)) * 2).tangent == 0
    assert numbers.sqrt(Gradient(DIGITS.number(4))).by == {}
    total = numbers.total(
        [Dual(Gradient(Fraction(1), {0: 1}), 2), Fraction(3), Gradient(Fraction(4), {1: 5})], Fraction(0)
    )
    assert (total.value.value, total.value.by, total.tangent) == (8, {0: 1, 1: 5}, 2)


@given(fractions, fractions)
def test_comparisons_look_at_values(x: Fraction, y: Fraction) -> None:
    a, b = Dual(Gradient(x, {0: 1}), 5), Gradient(y, {1: 2})
    assert (a < b, a <= b, a > b, a >= b, a == b) == (x < y, x <= y, x > y, x >= y, x == y)
    assert (a < y, y > a) == (x < y, x < y)


def test_refusals() -> None:
    for value in (Fraction(1, 2), Gradient(Fraction(1, 2)), Dual(Gradient(Fraction(1, 2)), 1)):
        with pytest.raises(NotRational, match=r"exp\(1/2\) is no rational number"):
            numbers.exp(value)
    with pytest.raises(NotRational, match="to the power 1/2"):
        power(Fraction(2), Fraction(1, 2))
    with pytest.raises(NotRational, match="pi is no rational number"):
        RATIONALS.pi()
    with pytest.raises(OutsideDomain, match="log"):
        numbers.log(DIGITS.number(-1))
    with pytest.raises(OutsideDomain, match="negative number to the power"):
        power(DIGITS.number(-1), DIGITS.number(Fraction(1, 2)))


def test_a_wrong_rule_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A derivative that is off by a factor fails the test above."""
    wrong = numbers._function("tanh", lambda x: 1 + numbers.tanh(x) * numbers.tanh(x))
    monkeypatch.setitem(FUNCTIONS, "tanh", wrong)
    with pytest.raises(AssertionError):
        test_functions_and_two_derivatives("tanh")
