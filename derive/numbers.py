"""Numbers that carry derivatives, over exact fractions or over many digits.

    Dual(value, tangent)          one direction:          f(x + e t) = f(x) + e f'(x) t
    Gradient(value, {i: d/di})    every direction at once: one run of a formula gives a Jacobian

Both are built on one rule, the chain rule, and both hold whatever numbers they are given: Fractions,
mpmath numbers, or (a Dual) other Duals and Gradients, which gives second derivatives. A Dual may hold
Gradients, never the other way round. Comparisons look at the value alone.

A `Field` says where constants live: RATIONALS is exact and refuses functions that leave it with
NotRational; Decimals(60) has sixty digits to trust and some more to lose.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any, ClassVar, Protocol

import mpmath

from derive.errors import DeriveError

Number = Any  # Fraction, mpf, float, Dual, Gradient: whatever has arithmetic
Unary = Callable[[Number], Number]


class NotRational(DeriveError, TypeError):
    """A function whose value is no rational number, asked of rational numbers."""


class OutsideDomain(DeriveError, ValueError):
    """A function has no real value here: the logarithm or a root of a negative number."""


class Exact(ABC):
    """A number of another exact type: it has arithmetic, and no function that is not rational."""

    __slots__ = ()

    @property
    @abstractmethod
    def denominator(self) -> int | None:
        """1 of a whole number, None of what is no number."""

    @abstractmethod
    def __int__(self) -> int:
        """The whole number that it is."""


# ---- numbers with derivatives ---------------------------------------------------------------


class _Differentiable(ABC):
    """A value and what it varies with; subclasses say how variations are scaled and added."""

    __slots__ = ("value",)
    __hash__: ClassVar[None]  # type: ignore[assignment]  # equal values may differ in their derivatives
    value: Number

    @abstractmethod
    def chain(self, value: Number, *terms: tuple[Number, Any]) -> _Differentiable:
        """The number `value` whose derivative is the sum of coefficient * (derivative of operand)."""

    def _constant(self, other: Any) -> bool:
        """Is `other` a number without derivatives as seen from here?"""
        return not isinstance(other, _Differentiable)

    def _two(
        self,
        other: Any,
        value: Callable[[Number, Number], Number],
        partials: Callable[[Number, Number, Number], tuple[Number, Number]],
    ) -> Any:
        if type(other) is type(self):
            made = value(self.value, other.value)
            left, right = partials(self.value, other.value, made)
            return self.chain(made, (left, self), (right, other))
        if not self._constant(other):
            return NotImplemented
        made = value(self.value, other)
        return self.chain(made, (partials(self.value, other, made)[0], self))

    def __add__(self, other: Any) -> Any:
        return self._two(other, lambda a, b: a + b, lambda a, b, y: (1, 1))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._two(other, lambda a, b: a - b, lambda a, b, y: (1, -1))

    def __rsub__(self, other: Any) -> Any:
        return (-self) + other

    def __mul__(self, other: Any) -> Any:
        return self._two(other, lambda a, b: a * b, lambda a, b, y: (b, a))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        return self._two(other, lambda a, b: a / b, lambda a, b, y: (_reciprocal(b), -y / b))

    def __rtruediv__(self, other: Any) -> Any:
        if not self._constant(other):
            return NotImplemented
        made = other * _reciprocal(self.value)
        return self.chain(made, (-made / self.value, self))

    def __neg__(self) -> Any:
        return self.chain(-self.value, (-1, self))

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return self.chain(abs(self.value), (sign(self.value), self))

    def __pow__(self, exponent: Any) -> Any:
        return power(self, exponent)

    def __eq__(self, other: object) -> bool:
        return bool(primal(self) == primal(other))

    def __lt__(self, other: Any) -> bool:
        return bool(primal(self) < primal(other))

    def __le__(self, other: Any) -> bool:
        return bool(primal(self) <= primal(other))

    def __gt__(self, other: Any) -> bool:
        return bool(primal(self) > primal(other))

    def __ge__(self, other: Any) -> bool:
        return bool(primal(self) >= primal(other))


def _reciprocal(x: Number) -> Number:
    return Fraction(1, x) if isinstance(x, int) else 1 / x


def _is_nothing(x: Any) -> bool:
    """The tangent 0 of what does not vary at all: it stays 0 even against an infinite derivative."""
    return type(x) is int and x == 0


class Dual(_Differentiable):
    """A value and its derivative in one direction. The tangent 0 (an int) says that nothing varies."""

    __slots__ = ("tangent",)

    def __init__(self, value: Number, tangent: Number = 0) -> None:
        self.value, self.tangent = value, tangent

    def chain(self, value: Number, *terms: tuple[Number, Any]) -> Dual:
        tangent: Number = 0
        for coefficient, operand in terms:
            if not _is_nothing(operand.tangent):
                part = coefficient * operand.tangent
                tangent = part if _is_nothing(tangent) else tangent + part
        return Dual(value, tangent)

    def _constant(self, other: Any) -> bool:
        return not isinstance(other, Dual)

    def __repr__(self) -> str:
        return f"Dual({self.value!r}, {self.tangent!r})"


class Gradient(_Differentiable):
    """A value and its derivatives by variable; a variable that is missing has derivative 0."""

    __slots__ = ("by",)

    def __init__(self, value: Number, by: Mapping[Any, Number] | None = None) -> None:
        self.value = value
        self.by: dict[Any, Number] = dict(by or {})

    def chain(self, value: Number, *terms: tuple[Number, Any]) -> Gradient:
        made = Gradient(value)
        by = made.by
        for coefficient, operand in terms:
            for variable, d in operand.by.items():
                part = coefficient * d
                by[variable] = by[variable] + part if variable in by else part
        return made

    def __repr__(self) -> str:
        return f"Gradient({self.value!r}, {self.by!r})"


def primal(x: Number) -> Number:
    """The plain number under all derivatives."""
    while isinstance(x, _Differentiable):
        x = x.value
    return x


def total(terms: Iterable[Number], start: Number) -> Number:
    """start + the sum of terms; derivatives are gathered once, not copied at every step."""
    every = [start, *terms]
    kinds = set(map(type, every))
    if kinds == {Fraction}:
        return _total(every)
    if Dual in kinds:
        tangents = [t.tangent for t in every if isinstance(t, Dual) and not _is_nothing(t.tangent)]
        values = [t.value if isinstance(t, Dual) else t for t in every]
        return Dual(total(values[1:], values[0]), total(tangents[1:], tangents[0]) if tangents else 0)
    if Gradient not in kinds:
        return sum(every[1:], start)
    made = Gradient(sum((primal(t) for t in every[1:]), primal(start)))
    for t in every:
        for variable, d in t.by.items() if isinstance(t, Gradient) else ():
            made.by[variable] = made.by[variable] + d if variable in made.by else d
    return made


def _total(terms: Iterable[Fraction]) -> Fraction:
    """Their sum over a common denominator: Python's own reduces every step of it."""
    above, below = 0, 1
    for t in terms:
        if below % t.denominator:
            more = t.denominator // math.gcd(below, t.denominator)
            above, below = above * more, below * more
        above += t.numerator * (below // t.denominator)
    return Fraction(above, below)


# ---- fields ---------------------------------------------------------------------------------


class Field(Protocol):
    """Where constants live, and which scalar functions there are."""

    exact: bool

    def number(self, q: int | float | Fraction) -> Number: ...

    def pi(self) -> Number: ...

    def e(self) -> Number: ...


class _Rationals:
    """Exact fractions."""

    exact = True

    def number(self, q: int | float | Fraction) -> Fraction:
        return Fraction(q)

    def pi(self) -> Number:
        raise NotRational("pi is no rational number")

    def e(self) -> Number:
        raise NotRational("e is no rational number")

    def __repr__(self) -> str:
        return "exact fractions"


class Decimals:
    """Real numbers with `digits` decimal digits to rely on, and `guard` more that roundings may use up."""

    exact = False

    def __init__(self, digits: int = 60, guard: int = 20) -> None:
        self.digits = digits
        self.context = mpmath.mp.clone()
        self.context.dps = digits + guard

    def number(self, q: int | float | Fraction) -> Number:
        return self.context.mpf(q) if isinstance(q, float) else self.context.mpf(q.numerator) / q.denominator

    def pi(self) -> Number:
        return +self.context.pi

    def e(self) -> Number:
        return +self.context.e

    def __repr__(self) -> str:
        return f"numbers of {self.digits} digits"


RATIONALS = _Rationals()


# ---- scalar functions -----------------------------------------------------------------------


def _plain(name: str, x: Number) -> Number:
    if isinstance(x, (int, Fraction, Exact)):
        raise NotRational(f"{name}({x}) is no rational number in general")
    if isinstance(x, float):
        try:
            return float(getattr(math, name)(x))
        except ValueError:
            raise OutsideDomain(f"{name}({x}) has no real value") from None
    value = getattr(x.context, name)(x)
    if not isinstance(value, x.context.mpf):
        raise OutsideDomain(f"{name}({mpmath.nstr(x, 6)}) has no real value")
    return value


def _function(name: str, derivative: Unary) -> Unary:
    def function(x: Number) -> Number:
        if isinstance(x, _Differentiable):
            return x.chain(function(x.value), (derivative(x.value), x))
        return _plain(name, x)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{name} of any number, with its derivative."
    return function


def _two_over_root_pi(x: Number) -> Number:
    x = primal(x)
    return 2 / math.sqrt(math.pi) if isinstance(x, float) else 2 / x.context.sqrt(x.context.pi)


exp: Unary = _function("exp", lambda x: exp(x))
expm1: Unary = _function("expm1", lambda x: exp(x))
log: Unary = _function("log", lambda x: _reciprocal(x))
log1p: Unary = _function("log1p", lambda x: 1 / (1 + x))
sqrt: Unary = _function("sqrt", lambda x: 1 / (2 * sqrt(x)))
sin: Unary = _function("sin", lambda x: cos(x))
cos: Unary = _function("cos", lambda x: -sin(x))
tan: Unary = _function("tan", lambda x: 1 + tan(x) * tan(x))
asin: Unary = _function("asin", lambda x: 1 / sqrt(1 - x * x))
acos: Unary = _function("acos", lambda x: -1 / sqrt(1 - x * x))
atan: Unary = _function("atan", lambda x: 1 / (1 + x * x))
sinh: Unary = _function("sinh", lambda x: cosh(x))
cosh: Unary = _function("cosh", lambda x: sinh(x))
tanh: Unary = _function("tanh", lambda x: 1 - tanh(x) * tanh(x))
asinh: Unary = _function("asinh", lambda x: 1 / sqrt(x * x + 1))
acosh: Unary = _function("acosh", lambda x: 1 / (sqrt(x - 1) * sqrt(x + 1)))
atanh: Unary = _function("atanh", lambda x: 1 / (1 - x * x))
erf: Unary = _function("erf", lambda x: _two_over_root_pi(x) * exp(-x * x))
erfc: Unary = _function("erfc", lambda x: -_two_over_root_pi(x) * exp(-x * x))

FUNCTIONS: dict[str, Unary] = {
    f.__name__: f
    for f in (
        exp,
        expm1,
        log,
        log1p,
        sqrt,
        sin,
        cos,
        tan,
        asin,
        acos,
        atan,
        sinh,
        cosh,
        tanh,
        asinh,
        acosh,
        atanh,
        erf,
        erfc,
    )
}


def sign(x: Number) -> Number:
    """-1, 0 or 1 as a plain number: it does not vary, and sign(0) = 0."""
    x = primal(x)
    return type(x)((x > 0) - (x < 0))


def _whole(p: Number) -> int | None:
    """The exponent as an int if it is one and does not vary."""
    if isinstance(p, _Differentiable):
        return None
    if isinstance(p, (int, Fraction, Exact)):
        return int(p) if p.denominator == 1 else None
    return int(p) if math.isfinite(p) and p == int(p) else None


def _whole_power(x: Number, n: int) -> Number:
    if isinstance(x, _Differentiable):
        if n == 0:
            return _whole_power(x.value, 0)
        return x.chain(_whole_power(x.value, n), (n * _whole_power(x.value, n - 1), x))
    if n == 0:
        return x * 0 + 1
    return x**n if n > 0 else 1 / x**-n


def power(x: Number, p: Number) -> Number:
    """x to the power p. A whole power is a product (0 to the 0 is 1); any other needs x >= 0.

    By p its derivative is x^p log(x), and 0 where x is 0 (and p is not negative).
    """
    n = _whole(p)
    if n is not None:
        return _whole_power(x, n)
    if isinstance(x, Dual) or isinstance(p, Dual):
        kind: type[_Differentiable] = Dual
    elif isinstance(x, Gradient) or isinstance(p, Gradient):
        kind = Gradient
    else:
        return _plain_power(x, p)
    base = x.value if isinstance(x, kind) else x
    exponent = p.value if isinstance(p, kind) else p
    made = power(base, exponent)
    terms: list[tuple[Number, Any]] = []
    if isinstance(x, kind):
        terms.append((exponent * power(base, exponent - 1), x))
    if isinstance(p, kind):
        gone = base == 0 and not exponent < 0  # the limit of u^p log(u)
        terms.append((base * 0 if gone else made * log(base), p))
    return next(v for v in (x, p) if isinstance(v, kind)).chain(made, *terms)


def _plain_power(x: Number, p: Number) -> Number:
    if isinstance(x, (int, Fraction, Exact)):
        raise NotRational(f"{x} to the power {p} is no rational number in general")
    if isinstance(p, Fraction):
        p = p.numerator / type(x)(p.denominator)
    if x < 0:
        raise OutsideDomain(f"a negative number to the power {p}")
    if x == 0 and p < 0:
        raise ZeroDivisionError("0 to a negative power")
    return x**p


__all__ = [
    "FUNCTIONS",
    "RATIONALS",
    "Decimals",
    "Dual",
    "Exact",
    "Field",
    "Gradient",
    "NotRational",
    "Number",
    "OutsideDomain",
    "power",
    "primal",
    "sign",
    "total",
    *FUNCTIONS,
]
