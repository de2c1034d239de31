"""Numbers that make one run speak for all arrays of a shape: polynomials in the elements, or their values in a prime field.

    Ring       every element an indeterminate. Two results that are equal are equal whatever the arrays hold: a proof at
               that shape. A comparison is decided at a point, and held against the order of the indeterminates there.
    PRIME      every element drawn from the integers modulo a prime of 61 bits, for quotients and large shapes. Two rational
               functions that differ agree with a probability of at most degree / prime; a number knows its degree.

Neither has an order of its own, a square root or a value in floating point: what would need one raises NotRational, a float
that slips in TypeError. So does the arithmetic of `Strict`, which are numbers of many digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from fractions import Fraction
from random import Random
from typing import Any, ClassVar

from derive.numbers import Decimals, Exact, NotRational

Monomial = tuple[int, ...]  # variables in ascending order, each as often as its exponent
Terms = dict[Monomial, Any]  # coefficients are ints and Fractions, none 0
LARGEST = 3000  # terms of one polynomial


class Undecided(NotRational):
    """A comparison that the numbers do not decide."""


def _quotient(a: Any, b: Any) -> Any:
    """An int where it is one: faster than a Fraction."""
    made = Fraction(a) / b
    return made.numerator if made.denominator == 1 else made


def _finite_float(x: Any) -> bool:
    return isinstance(x, float) and math.isfinite(x)


class Polynomial(Exact):
    """A sum of products of indeterminates, with rational coefficients."""

    __slots__ = ("terms",)
    __hash__: ClassVar[None]  # type: ignore[assignment]  # equal at one point may be unequal at another

    def __init__(self, value: int | Fraction | Terms = 0) -> None:
        if isinstance(value, dict):
            self.terms: Terms = value
        elif isinstance(value, (int, Fraction)):
            self.terms = {(): value} if value else {}
        else:
            raise TypeError(f"a {type(value).__name__} slipped in: {value!r}")

    @property
    def constant(self) -> Any:
        """The number that it is, or None."""
        if not self.terms:
            return 0
        return self.terms.get(()) if len(self.terms) == 1 else None

    @property
    def denominator(self) -> int | None:
        return None if self.constant is None else Fraction(self.constant).denominator

    def _plus(self, other: Any, sign: int) -> Any:
        if not isinstance(other, Polynomial):
            if isinstance(other, float) and math.isinf(other):
                raise NotRational("a maximum over nothing is no polynomial")
            if not isinstance(other, (int, Fraction)):
                return NotImplemented
            other = Polynomial(other)
        terms = dict(self.terms)
        for m, c in other.terms.items():
            total = terms.get(m, 0) + sign * c
            if total:
                terms[m] = total
            else:
                del terms[m]
        if len(terms) > LARGEST:
            raise NotRational(f"a polynomial of {len(terms)} terms")
        return Polynomial(terms)

    def __add__(self, other: Any) -> Any:
        return self._plus(other, 1)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._plus(other, -1)

    def __rsub__(self, other: Any) -> Any:
        return (-self)._plus(other, 1)

    def __neg__(self) -> Polynomial:
        return Polynomial({m: -c for m, c in self.terms.items()})

    def __mul__(self, other: Any) -> Any:
        if not isinstance(other, Polynomial):
            if not isinstance(other, (int, Fraction)):
                return NotImplemented
            other = Polynomial(other)
        if len(self.terms) * len(other.terms) > LARGEST:
            raise NotRational(f"a product of {len(self.terms)} and {len(other.terms)} terms")
        terms: Terms = {}
        for m, c in self.terms.items():
            for n, d in other.terms.items():
                key = tuple(sorted(m + n)) if m and n else m or n
                total = terms.get(key, 0) + c * d
                if total:
                    terms[key] = total
                else:
                    del terms[key]
        return Polynomial(terms)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        if not isinstance(other, (Polynomial, int, Fraction)):
            return NotImplemented
        by = other.constant if isinstance(other, Polynomial) else other
        if by is None:
            raise NotRational("a quotient of polynomials")
        if by == 0:
            raise ZeroDivisionError(f"{self} / 0")
        return Polynomial({m: _quotient(c, by) for m, c in self.terms.items()})

    def __rtruediv__(self, other: Any) -> Any:
        return Polynomial(other) / self if isinstance(other, (int, Fraction)) else NotImplemented

    def __pow__(self, n: Any) -> Polynomial:
        if type(n) is not int:
            raise NotRational(f"a power {n!r}")
        made = Polynomial(1)
        for _ in range(abs(n)):
            made = made * self
        return made if n >= 0 else Polynomial(1) / made

    def __abs__(self) -> Polynomial:
        return -self if self < 0 else self

    def _against(self, other: Any, equality: bool = False) -> int:
        """The sign of self - other. The reference's infinities are floats."""
        if isinstance(other, float) and math.isinf(other):
            return -1 if other > 0 else 1
        if not isinstance(other, (Polynomial, int, Fraction)):
            raise TypeError(f"a {type(other).__name__} slipped in: {other!r}")
        d = self - other
        if d.constant is not None:
            return int(d.constant > 0) - int(d.constant < 0)
        ring = _ring.get()
        if ring is None:
            raise Undecided(f"{self} against {other}")
        return ring.sign(d, equality)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Polynomial, int, float, Fraction)):
            return NotImplemented
        return self._against(other, equality=True) == 0

    def __lt__(self, other: Any) -> bool:
        return (
            self._against(other) < 0
            if isinstance(other, (Polynomial, int, float, Fraction))
            else NotImplemented
        )

    def __le__(self, other: Any) -> bool:
        return (
            self._against(other) <= 0
            if isinstance(other, (Polynomial, int, float, Fraction))
            else NotImplemented
        )

    def __gt__(self, other: Any) -> bool:
        return (
            self._against(other) > 0
            if isinstance(other, (Polynomial, int, float, Fraction))
            else NotImplemented
        )

    def __ge__(self, other: Any) -> bool:
        return (
            self._against(other) >= 0
            if isinstance(other, (Polynomial, int, float, Fraction))
            else NotImplemented
        )

    def __int__(self) -> int:
        if self.denominator != 1:
            raise NotRational(f"{self} is no whole number")
        return int(self.constant)

    def __repr__(self) -> str:
        ring = _ring.get()

        def power(v: int) -> str:
            return ring.names[v] if ring is not None else f"v{v}"

        parts = ["*".join([str(c), *map(power, m)]) for m, c in self.terms.items()]
        return " + ".join([*parts[:8], *(["..."] if len(parts) > 8 else [])]) or "0"


_ring: ContextVar[Ring | None] = ContextVar("ring", default=None)


@dataclass
class Ring:
    """Polynomials, and a point at which what they do not decide is decided.

    generic   tests whether polynomials are equal that are so at hardly any point
    compared  other comparisons of polynomials whose difference is no number
    open      those of them that another point with the same order of the elements may decide otherwise
    touched   what was compared, by variable; `kinks` are the numbers that single ones were compared with
    """

    exact: bool = True
    names: list[str] = field(default_factory=list)
    point: list[Fraction] = field(default_factory=list)
    generic: int = 0
    compared: int = 0
    open: int = 0
    touched: set[int] = field(default_factory=set)
    kinks: set[Fraction] = field(default_factory=set)

    def variable(self, name: str, at: Fraction) -> Polynomial:
        self.names.append(name)
        self.point.append(at)
        return Polynomial({(len(self.point) - 1,): 1})

    def sign(self, d: Polynomial, equality: bool = False) -> int:
        """Of a polynomial at the point."""
        value = sum(c * math.prod(self.point[v] for v in m) for m, c in d.terms.items())
        self.touched.update(v for m in d.terms for v in m)
        if equality and value != 0:
            self.generic += 1
            return 1
        variables = [m[0] for m in d.terms if m]
        alone = [c for m, c in d.terms.items() if m]
        rest = d.terms.get((), 0)
        self.compared += 1
        if any(len(m) > 1 for m in d.terms) or value == 0:
            self.open += 1
        elif len(variables) == 1:
            self.kinks.add(Fraction(-rest) / alone[0])
        elif len(variables) > 2 or rest or sum(alone) != 0:
            self.open += 1
        return int(value > 0) - int(value < 0)

    @contextmanager
    def deciding(self) -> Iterator[Ring]:
        """Within, comparisons are decided at its point."""
        token = _ring.set(self)
        try:
            yield self
        finally:
            _ring.reset(token)

    def number(self, q: Any) -> Polynomial:
        return Polynomial(q)

    def pi(self) -> Any:
        raise NotRational("pi is no rational number")

    def e(self) -> Any:
        raise NotRational("e is no rational number")

    def __repr__(self) -> str:
        return "polynomials"


# ---- a prime field -----------------------------------------------------------------------------

P = 2**61 - 1
SMALL = 2**20  # what is taken for a number, where a power or a comparison needs one


class Residue(Exact):
    """A value modulo P, and bounds of the degrees of the numerator and denominator that it is the value of."""

    __slots__ = ("above", "below", "value")
    __hash__: ClassVar[None]  # type: ignore[assignment]

    def __init__(self, value: int | Fraction, above: int = 0, below: int = 0) -> None:
        if isinstance(value, Fraction):
            value = value.numerator * pow(value.denominator, -1, P)
        elif not isinstance(value, int):
            raise TypeError(f"a {type(value).__name__} slipped in: {value!r}")
        self.value, self.above, self.below = value % P, above, below

    @property
    def constant(self) -> int | None:
        if self.above or self.below:
            return None
        small = self.value if self.value <= SMALL else self.value - P
        return small if -SMALL <= small <= SMALL else None

    @property
    def denominator(self) -> int | None:
        return None if self.constant is None else 1

    @staticmethod
    def of(x: Any) -> Residue | None:
        return x if isinstance(x, Residue) else Residue(x) if isinstance(x, (int, Fraction)) else None

    def _two(self, other: Any, make: Callable[[Residue, Residue], Residue]) -> Any:
        if isinstance(other, float) and math.isinf(other):
            raise NotRational("a maximum over nothing is no residue")
        found = Residue.of(other)
        return NotImplemented if found is None else make(self, found)

    def __add__(self, other: Any) -> Any:
        return self._two(other, _sum)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._two(other, lambda a, b: _sum(a, -b))

    def __rsub__(self, other: Any) -> Any:
        return self._two(other, lambda a, b: _sum(b, -a))

    def __neg__(self) -> Residue:
        return Residue(-self.value, self.above, self.below)

    def __mul__(self, other: Any) -> Any:
        return self._two(other, lambda a, b: Residue(a.value * b.value, a.above + b.above, a.below + b.below))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        return self._two(other, lambda a, b: a * b.inverse())

    def __rtruediv__(self, other: Any) -> Any:
        return self._two(other, lambda a, b: b * a.inverse())

    def inverse(self) -> Residue:
        if self.value == 0:
            raise ZeroDivisionError("1 / 0")
        return Residue(pow(self.value, -1, P), self.below, self.above)

    def __pow__(self, n: Any) -> Residue:
        if type(n) is not int:
            raise NotRational(f"a power {n!r}")
        if n < 0:
            return self.inverse() ** -n
        return Residue(pow(self.value, n, P), n * self.above, n * self.below)

    def _sign(self, other: Any) -> int:
        found = Residue.of(other)
        if found is None:
            raise TypeError(f"a {type(other).__name__} slipped in: {other!r}")
        d = (self - found).constant
        if d is None:
            raise Undecided("residues have no order")
        return int(d > 0) - int(d < 0)

    def __eq__(self, other: object) -> bool:
        found = Residue.of(other)
        if found is None:
            if _finite_float(other):
                raise TypeError(f"a float slipped in: {other!r}")
            return NotImplemented
        return self.value == found.value

    def __lt__(self, other: Any) -> bool:
        return self._sign(other) < 0

    def __le__(self, other: Any) -> bool:
        return self._sign(other) <= 0

    def __gt__(self, other: Any) -> bool:
        return self._sign(other) > 0

    def __ge__(self, other: Any) -> bool:
        return self._sign(other) >= 0

    def __abs__(self) -> Residue:
        return -self if self < 0 else self

    def __int__(self) -> int:
        if self.constant is None:
            raise NotRational(f"{self} is no whole number")
        return self.constant

    def __repr__(self) -> str:
        return f"{self.value} mod P"


def _sum(a: Residue, b: Residue) -> Residue:
    if a.below == b.below == 0:
        return Residue(a.value + b.value, max(a.above, b.above))
    above = max(a.above + b.below, b.above + a.below)
    return Residue(a.value + b.value, above, a.below + b.below)


class _Prime:
    """The integers modulo P."""

    exact = True

    def number(self, q: Any) -> Residue:
        return Residue(q)

    def element(self, random: Random) -> Residue:
        return Residue(random.randrange(P), 1)

    def pi(self) -> Any:
        raise NotRational("pi is no rational number")

    def e(self) -> Any:
        raise NotRational("e is no rational number")

    def __repr__(self) -> str:
        return "the integers modulo 2^61 - 1"


PRIME = _Prime()


# ---- many digits ---------------------------------------------------------------------------------


def strict(decimals: Decimals) -> Decimals:
    """The same numbers; one of Python's floats beside them is an error, but for the reference's infinities."""

    def guarded(method: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def call(self: Any, other: Any) -> Any:
            if _finite_float(other):
                raise TypeError(f"a float slipped in: {other!r}")
            return method(self, other)

        return call

    kind = decimals.context.mpf  # a class of this context's own
    for name in ("add", "sub", "mul", "truediv", "pow", "mod"):
        for where in (f"__{name}__", f"__r{name}__"):
            setattr(kind, where, guarded(getattr(kind, where)))
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(kind, f"__{name}__", guarded(getattr(kind, f"__{name}__")))
    return decimals


def terms_of(x: Any) -> Mapping[Monomial, Any]:
    """Of a polynomial or a number: what there is to compare."""
    return x.terms if isinstance(x, Polynomial) else Polynomial(x).terms


__all__ = ["PRIME", "P", "Polynomial", "Residue", "Ring", "Undecided", "strict", "terms_of"]
