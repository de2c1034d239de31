"""How far rounding may take a floating-point program from the truth: running error analysis.

A `Rounded` number walks through the reference beside the exact one and collects, in units u of the format's
rounding, what the operations so far may have added. With |a| the sum of the absolute values that make up a:

    a + b   error  ea + eb + |a| + |b|
    a * b   error  |a| eb + |b| ea + |a| |b|
    f(a)    error  |f'(a)| ea + 4 |f(a)|

so n terms have at most n * sum |terms|, in whatever order they are added: gamma_n to first order. An emitted
program computes the same values by other formulas (a stable logsumexp, a merged derivative), each a few
operations longer: SLACK allows for them. A wrong term, sign or factor is off by the value itself, 2^20 units
and more, so the allowance hides none.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from derive.numbers import FUNCTIONS, Dual, Number, OutsideDomain, primal

SLACK = 8


class Rounded:
    """A value, the sum of absolute values behind it, and a bound on its error in units of rounding."""

    __slots__ = ("error", "size", "value")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: float, size: float | None = None, error: float = 0.0) -> None:
        self.value = float(value)
        self.size = abs(self.value) if size is None else size
        self.error = error

    def __repr__(self) -> str:
        return f"{self.value} +- {self.error} u"

    def __add__(self, other: Any) -> Any:
        if not (other := rounded(other)):
            return NotImplemented
        size = self.size + other.size
        return Rounded(self.value + other.value, size, self.error + other.error + size)

    __radd__ = __add__

    def __neg__(self) -> Rounded:
        return Rounded(-self.value, self.size, self.error)

    def __sub__(self, other: Any) -> Any:
        return self + -other if rounded(other) else NotImplemented

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __mul__(self, other: Any) -> Any:
        if not (other := rounded(other)):
            return NotImplemented
        size = self.size * other.size
        return Rounded(
            self.value * other.value, size, self.size * other.error + other.size * self.error + size
        )

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        if not (other := rounded(other)):
            return NotImplemented
        low = abs(other.value)
        size = self.size / low
        return Rounded(self.value / other.value, size, (self.error + size * other.error) / low + size)

    def __rtruediv__(self, other: Any) -> Any:
        return rounded(other) / self if rounded(other) else NotImplemented

    def __pow__(self, p: Any) -> Rounded:
        p = primal(p)
        exponent = float(p)
        value = self.value**exponent
        slope = abs(exponent * self.value ** (exponent - 1)) if self.error else 0.0
        bent = (
            abs(value * math.log(self.value)) * p.error
            if isinstance(p, Rounded) and p.error and self.value > 0
            else 0.0
        )
        return Rounded(value, abs(value), slope * self.error + bent + 4 * abs(value))

    def __abs__(self) -> Rounded:
        return Rounded(abs(self.value), self.size, self.error)

    def __float__(self) -> float:
        return self.value

    def __int__(self) -> int:
        return int(self.value)

    def __eq__(self, other: object) -> bool:
        return self.value == _value(other)

    def __lt__(self, other: Any) -> bool:
        return self.value < _value(other)

    def __le__(self, other: Any) -> bool:
        return self.value <= _value(other)

    def __gt__(self, other: Any) -> bool:
        return self.value > _value(other)

    def __ge__(self, other: Any) -> bool:
        return self.value >= _value(other)

    @property
    def context(self) -> _Functions:
        return _Functions()


def _value(x: Any) -> float:
    return float(primal(x))


def rounded(x: Any) -> Rounded | None:
    """A number as a Rounded; None for what is none."""
    if isinstance(x, Rounded):
        return x
    return Rounded(float(x)) if isinstance(x, (int, float, Fraction)) else None


Rounded.__bool__ = lambda self: True  # type: ignore[attr-defined]  # `if not rounded(x)` asks for None


class _Functions:
    """Scalar functions of Rounded numbers; looked up as those of an mpmath context are."""

    mpf = Rounded
    pi = Rounded(math.pi, error=math.pi)

    def __getattr__(self, name: str) -> Any:
        function = FUNCTIONS[name]

        def call(x: Rounded) -> Rounded:
            moved = function(Dual(x.value, 1.0))  # in floats: value and slope
            if not math.isfinite(moved.value):
                raise OutsideDomain(f"{name}({x.value}) is {moved.value}")
            return Rounded(moved.value, None, abs(moved.tangent) * x.error + 4 * abs(moved.value))

        return call


class RoundedField:
    """The field of Rounded numbers. A constant that no float holds is rounded once."""

    exact = False

    def number(self, q: int | float | Fraction) -> Number:
        value = float(q)
        return Rounded(value, None, 0.0 if value == q else abs(value))

    def pi(self) -> Number:
        return _Functions.pi

    def e(self) -> Number:
        return Rounded(math.e, error=math.e)


ROUNDED = RoundedField()
UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}


def allowance(bound: Any, dtype: str) -> float:
    """How far a value in this format may lie from the exact one."""
    if isinstance(bound, Rounded):
        return UNIT[dtype] * (SLACK * bound.error + 2 * bound.size)
    return 2 * UNIT[dtype] * abs(float(bound))
