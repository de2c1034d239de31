"""exp, log, sqrt and absolute values of vectors, lane by lane: what libm says of a scalar, to 2 units in the last place.

    exp   x = n*log(2) + r with |r| <= log(2)/2; a polynomial in r, scaled by 2**n in two steps, so that
          results below the normal numbers round once more and nothing overflows on the way
    log   x = 2**k * (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2); with s = f/(2 + f),
          log(1 + f) = f - f*f/2 + s*(f*f/2 + R(s*s)), R as in fdlibm

NaN stays NaN; exp(-inf) = 0, exp(inf) = inf, log(0) = -inf, log of what is negative is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial
from typing import Any

from llvmlite import ir
from numba import types

from kernels.runtime import scalar
from kernels.runtime.lowering import (
    Builder,
    Value,
    VectorType,
    constant,
    function,
    intrinsic,
    llvm_vector,
    same_reals,
    suffix,
)


@dataclass(frozen=True)
class Format:
    """A binary format: its bits, and the constants that depend on them."""

    bits: int
    fraction: int
    bias: int
    high: float  # log(2) in two parts, the first short enough that n * high is exact
    low: float
    least: float  # below it exp is 0, above `most` it is infinite
    most: float
    powers: tuple[float, ...]  # exp(r) = 1 + r + r*r * polynomial, from the highest power down
    logarithm: tuple[float, ...]  # R from the lowest power up
    root_half: int  # the bits of sqrt(1/2)


SINGLE = Format(
    32, 23, 127, 0.693359375, -2.12194440e-4, -104.0, 89.0,
    (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1),
    (0.66666662693, 0.40000972152, 0.28498786688, 0.24279078841),
    0x3F3504F3,
)  # fmt: skip
DOUBLE = Format(
    64, 52, 1023, 6.93147180369123816490e-01, 1.90821492927058770002e-10, -746.0, 710.0,
    tuple(1 / factorial(k) for k in range(13, 1, -1)),
    (6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
     1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01),
    0x3FE6A09E00000000,
)  # fmt: skip


class _Lanes:
    """Constants and operations of one vector type."""

    def __init__(self, b: Builder, t: VectorType) -> None:
        self.b, self.t = b, t
        self.form = SINGLE if t.dtype == types.float32 else DOUBLE
        self.integer = ir.IntType(self.form.bits)
        self.integers = ir.VectorType(self.integer, t.width)

    def real(self, x: float) -> Value:
        return constant(llvm_vector(self.t).element, [x] * self.t.width)

    def whole(self, i: int) -> Value:
        return constant(self.integer, [i] * self.t.width)

    def fma(self, x: Value, y: Value, z: Value) -> Value:
        return intrinsic(self.b, f"llvm.fmuladd.{suffix(self.t)}", x.type, x, y, z)

    def polynomial(self, x: Value, coefficients: Sequence[float]) -> Value:
        """By Horner, from the highest power down."""
        total = self.real(coefficients[0])
        for c in coefficients[1:]:
            total = self.fma(total, x, self.real(c))
        return total

    def scaled(self, y: Value, n: Value) -> Value:
        """y * 2**n for y near 1 and a result that is a normal number, by its exponent's bits."""
        shifted = self.b.shl(n, self.whole(self.form.fraction))
        return self.b.bitcast(self.b.add(self.b.bitcast(y, self.integers), shifted), y.type)


def _exp(b: Builder, sig: Any, x: Value) -> Value:
    m = _Lanes(b, sig.return_type)
    f = m.form
    least, most = m.real(f.least), m.real(f.most)
    clipped = b.select(b.fcmp_ordered(">", x, least), x, least)
    clipped = b.select(b.fcmp_ordered("<", clipped, most), clipped, most)
    n = intrinsic(b, f"llvm.rint.{suffix(m.t)}", x.type, b.fmul(clipped, m.real(1.4426950408889634)))
    r = m.fma(n, m.real(-f.low), m.fma(n, m.real(-f.high), clipped))
    y = b.fadd(m.fma(m.polynomial(r, f.powers), b.fmul(r, r), r), m.real(1.0))
    whole = b.fptosi(n, m.integers)
    half = b.ashr(whole, m.whole(1))
    # by one multiplication: two by constants might be taken together, and overflow
    y = b.fmul(m.scaled(y, half), m.scaled(m.real(1.0), b.sub(whole, half)))
    return b.select(b.fcmp_unordered("uno", x, x), x, y)


def _log(b: Builder, sig: Any, x: Value) -> Value:
    m = _Lanes(b, sig.return_type)
    f = m.form
    one = f.bias << f.fraction
    tiny = b.fcmp_ordered("<", x, m.real(2.0 ** (1 - f.bias)))
    normal = b.select(tiny, b.fmul(x, m.real(2.0 ** (f.fraction + 2))), x)
    bits = b.add(b.bitcast(normal, m.integers), m.whole(one - f.root_half))
    k = b.sub(b.lshr(bits, m.whole(f.fraction)), m.whole(f.bias))
    k = b.select(tiny, b.sub(k, m.whole(f.fraction + 2)), k)
    bits = b.add(b.and_(bits, m.whole((1 << f.fraction) - 1)), m.whole(f.root_half))
    u = b.fsub(b.bitcast(bits, x.type), m.real(1.0))
    s = b.fdiv(u, b.fadd(u, m.real(2.0)))
    z = b.fmul(s, s)
    rest = b.fmul(z, m.polynomial(z, f.logarithm[::-1]))
    half = b.fmul(m.real(0.5), b.fmul(u, u))
    power = b.sitofp(k, x.type)
    high, low = (0.693145751953125, 1.428606765330187045e-06) if f is SINGLE else (f.high, f.low)
    small = m.fma(s, b.fadd(half, rest), b.fmul(power, m.real(low)))
    y = m.fma(power, m.real(high), b.fadd(b.fsub(small, half), u))
    infinite, zero = m.real(float("inf")), m.real(0.0)
    y = b.select(b.fcmp_ordered("==", x, infinite), infinite, y)
    y = b.select(b.fcmp_ordered("==", x, zero), m.real(float("-inf")), y)
    return b.select(
        b.fcmp_unordered(">=", x, zero), b.select(b.fcmp_unordered("uno", x, x), x, y), m.real(float("nan"))
    )


def _sqrt(b: Builder, sig: Any, x: Value) -> Value:
    return intrinsic(b, f"llvm.sqrt.{suffix(sig.return_type)}", x.type, x)


def _absolute(b: Builder, sig: Any, x: Value) -> Value:
    return intrinsic(b, f"llvm.fabs.{suffix(sig.return_type)}", x.type, x)


_FUNCTIONS = ((scalar.exp, _exp), (scalar.log, _log), (scalar.sqrt, _sqrt), (scalar.absolute, _absolute))
for _name, _generate in _FUNCTIONS:
    function(_name, VectorType, same_reals, VectorType)(_generate)
