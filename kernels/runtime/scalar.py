"""Scalar functions that kernels call, over whatever numbers they are run with.

In Python, `exp(x)` looks at the type of x: a float follows IEEE arithmetic as compiled code does
(log(0) is -inf, sqrt(-1) is NaN, nothing raises), an mpmath number is worked out at its own
precision, a Fraction or a polynomial does what stays rational and refuses the rest. An int counts
as a member of the current number type, which `numbers(...)` sets and `zero()`, `real(2)`,
`rational(1, 3)`, `lowest()` make. Compiled, all of it is float64 and libm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import total_ordering
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload, register_jitable

from kernels.runtime.simd import VOID, Vector

Scalar = Any
Unary = Callable[[Scalar], Scalar]


class NotRational(TypeError):
    """A function whose value is no rational number, asked of a type that holds only those."""


# ---- the current number type

_current: ContextVar[Callable[[Any], Scalar]] = ContextVar("numbers", default=float)


@contextmanager
def numbers(constructor: Callable[[Any], Scalar]) -> Iterator[None]:
    """Within, `zero()` and its like make numbers with `constructor`, and ints count as such numbers."""
    token = _current.set(constructor)
    try:
        yield
    finally:
        _current.reset(token)


@total_ordering
class Infinity:
    """Above (or below) every number of an exact type; it can be compared and nothing else."""

    __slots__ = ("sign",)

    def __init__(self, sign: int) -> None:
        self.sign = sign

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Infinity) and self.sign == other.sign

    def __lt__(self, other: object) -> bool:
        return self.sign < (other.sign if isinstance(other, Infinity) else 0)

    def __hash__(self) -> int:
        return hash((Infinity, self.sign))

    def __repr__(self) -> str:
        return "highest()" if self.sign > 0 else "lowest()"


LOWEST, HIGHEST = Infinity(-1), Infinity(1)


def zero() -> Scalar:
    return _current.get()(0)


def one() -> Scalar:
    return _current.get()(1)


def real(i: int) -> Scalar:
    """An integer as a scalar."""
    return _current.get()(i)


def rational(p: int, q: int) -> Scalar:
    """p / q."""
    make = _current.get()
    return make(p) / make(q)


def lowest() -> Scalar:
    """Below every number: where a maximum starts."""
    return _functions(type(zero())).get("lowest", LOWEST)


def highest() -> Scalar:
    """Above every number: where a minimum starts."""
    return _functions(type(zero())).get("highest", HIGHEST)


# ---- which functions a number type has

Functions = Mapping[str, Any]  # by name; "lowest" and "highest" are numbers, "pi" takes no argument
_registry: dict[type, Functions] = {}


def register_number(kind: type, functions: Functions) -> None:
    """Teach the scalar functions a number type. Functions that are not named are refused as not rational."""
    _registry[kind] = functions


def _functions(kind: type) -> Functions:
    found = _registry.get(kind)
    if found is None:
        found = _mpmath_functions(kind.context) if _is_mpmath(kind) else _RING  # type: ignore[attr-defined]
        found = next((_registry[k] for k in kind.__mro__ if k in _registry), found)
        _registry[kind] = found
    return found


def _apply(name: str, x: Scalar, *more: Scalar) -> Scalar:
    if isinstance(x, Vector):
        return Vector(tuple(i if i is VOID else _apply(name, i, *more) for i in x.items))
    if type(x) is int:
        x = real(x)
    function = _functions(type(x)).get(name)
    if function is None:
        raise NotRational(
            f"{name}({x!r}): not a rational function, so a {type(x).__name__} cannot hold its value"
        )
    return function(x, *more)


# ---- floats: what IEEE and libm say


def _ieee(f: Callable[[float], float]) -> Unary:
    """math's function, but nothing raises."""

    def call(x: float) -> float:
        try:
            return f(x)
        except ValueError:  # outside the domain
            return math.nan
        except OverflowError:  # odd functions, and those that grow to the right
            return math.copysign(math.inf, x)

    return call


def _float_log(f: Callable[[float], float], pole: float) -> Unary:
    def call(x: float) -> float:
        return -math.inf if x == pole else f(x) if x > pole else math.nan

    return call


def _float_power(x: float, p: float) -> float:
    try:
        return math.pow(x, p)
    except ValueError:
        if x != 0:
            return math.nan
    except OverflowError:
        pass
    return math.copysign(math.inf, x) if p % 2 == 1 else math.inf  # a pole at 0, or too large


def _sign(x: Scalar) -> Scalar:
    """-1, 0 or 1; NaN of NaN."""
    make = type(x)
    return make(1) if x > 0 else make(-1) if x < 0 else make(0) if x == 0 else x


def _float_sign(x: float) -> float:
    return 1.0 if x > 0 else -1.0 if x < 0 else 0.0 if x == 0 else x


register_jitable(_float_sign)


_PLAIN = (
    "exp", "expm1", "sqrt", "sin", "cos", "tan", "sinh", "tanh",
    "asin", "acos", "atan", "asinh", "acosh", "erf", "erfc",
)  # fmt: skip
_FLOAT: dict[str, Any] = {
    **{name: _ieee(getattr(math, name)) for name in _PLAIN},
    "cosh": lambda x: _ieee(math.cosh)(abs(x)),
    "log": _float_log(math.log, 0.0),
    "log1p": _float_log(math.log1p, -1.0),
    "atanh": lambda x: math.copysign(math.inf, x) if abs(x) == 1 else _ieee(math.atanh)(x),
    "power": _float_power,
    "sign": _float_sign,
    "absolute": abs,
    "pi": lambda: math.pi,
    "lowest": -math.inf,
    "highest": math.inf,
}


# ---- exact types: rings and fields, where only integer powers, signs and absolute values stay


def _ring_power(x: Scalar, p: Scalar) -> Scalar:
    if type(p) is not int:
        if getattr(p, "denominator", None) != 1:
            raise NotRational(
                f"power({x!r}, {p!r}): not a rational function unless the exponent is an integer"
            )
        p = int(p)
    return x**p


_RING: dict[str, Any] = {"power": _ring_power, "sign": _sign, "absolute": abs}


# ---- mpmath numbers: found by their looks, since kernels do not import mpmath


def _is_mpmath(kind: type) -> bool:
    return any(k.__module__ == "mpmath.ctx_mp_python" and k.__name__ == "_mpf" for k in kind.__mro__)


def _mpmath_functions(context: Any) -> Functions:
    def real_valued(name: str) -> Callable[..., Scalar]:
        f = getattr(context, name)

        def call(*x: Scalar) -> Scalar:
            value = f(*x)
            # a complex value: x is outside the domain
            return value if isinstance(value, context.mpf) else context.nan

        return call

    def power(x: Scalar, p: Scalar) -> Scalar:
        return context.inf if x == 0 and p < 0 else real_valued("power")(x, p)

    return {
        **{name: real_valued(name) for name in (*_PLAIN, "cosh", "atanh", "log")},
        "log1p": lambda x: context.ninf if x == -1 else real_valued("log1p")(x),
        "power": power,
        "sign": _sign,
        "absolute": abs,
        "pi": lambda: +context.pi,
        "lowest": context.ninf,
        "highest": context.inf,
    }


register_number(float, _FLOAT)


# ---- the functions themselves


def exp(x: Scalar) -> Scalar:
    return _apply("exp", x)


def expm1(x: Scalar) -> Scalar:
    """exp(x) - 1 without cancellation."""
    return _apply("expm1", x)


def log(x: Scalar) -> Scalar:
    return _apply("log", x)


def log1p(x: Scalar) -> Scalar:
    """log(1 + x) without cancellation."""
    return _apply("log1p", x)


def sqrt(x: Scalar) -> Scalar:
    return _apply("sqrt", x)


def sin(x: Scalar) -> Scalar:
    return _apply("sin", x)


def cos(x: Scalar) -> Scalar:
    return _apply("cos", x)


def tan(x: Scalar) -> Scalar:
    return _apply("tan", x)


def asin(x: Scalar) -> Scalar:
    return _apply("asin", x)


def acos(x: Scalar) -> Scalar:
    return _apply("acos", x)


def atan(x: Scalar) -> Scalar:
    return _apply("atan", x)


def sinh(x: Scalar) -> Scalar:
    return _apply("sinh", x)


def cosh(x: Scalar) -> Scalar:
    return _apply("cosh", x)


def tanh(x: Scalar) -> Scalar:
    return _apply("tanh", x)


def asinh(x: Scalar) -> Scalar:
    return _apply("asinh", x)


def acosh(x: Scalar) -> Scalar:
    return _apply("acosh", x)


def atanh(x: Scalar) -> Scalar:
    return _apply("atanh", x)


def erf(x: Scalar) -> Scalar:
    return _apply("erf", x)


def erfc(x: Scalar) -> Scalar:
    return _apply("erfc", x)


def sign(x: Scalar) -> Scalar:
    """-1, 0 or 1; NaN of NaN."""
    return _apply("sign", x)


def absolute(x: Scalar) -> Scalar:
    return _apply("absolute", x)


def power(x: Scalar, p: Scalar) -> Scalar:
    """x to the power p; NaN for a negative x unless p is whole."""
    if isinstance(x, Vector):
        pairs = zip(x.items, p.items, strict=True)
        return Vector(tuple(VOID if VOID in (i, j) else _apply("power", i, j) for i, j in pairs))
    return _apply("power", x, p)


def pi() -> Scalar:
    value = _functions(type(zero())).get("pi")
    if value is None:
        raise NotRational("pi is no rational number")
    return value()


# ---- compiled: Numba takes these bodies instead. `error_model="numpy"` keeps them from raising.

FROM_MATH = (
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


def _compile_as(function: Callable[..., Any], body: Callable[..., Any]) -> None:
    overload(function)(body)


def _from_math(function: Unary) -> None:
    libm = getattr(math, function.__name__)

    _compile_as(function, lambda x: (lambda x: libm(float(x))) if isinstance(x, types.Number) else None)


for _function in FROM_MATH:
    _from_math(_function)
_compile_as(zero, lambda: lambda: 0.0)
_compile_as(one, lambda: lambda: 1.0)
_compile_as(pi, lambda: lambda: math.pi)
_compile_as(lowest, lambda: lambda: -np.inf)
_compile_as(highest, lambda: lambda: np.inf)
_compile_as(real, lambda i: lambda i: float(i))
_compile_as(rational, lambda p, q: lambda p, q: p / q)
_compile_as(power, lambda x, p: lambda x, p: math.pow(float(x), float(p)))
_compile_as(absolute, lambda x: (lambda x: abs(float(x))) if isinstance(x, types.Number) else None)
_compile_as(sign, lambda x: lambda x: _float_sign(float(x)))
