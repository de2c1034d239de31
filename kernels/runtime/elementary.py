"""Functions of vectors, lane by lane: what libm says of a scalar, to 3 units in the last place.

    exp    x = n*log(2) + r with |r| <= log(2)/2; a polynomial in r, scaled by 2**n in two steps, so that
           results below the normal numbers round once more and nothing overflows on the way
    expm1  2**n * p + (2**n - 1), p = exp(r) - 1 by the same polynomial
    log    x = 2**k * (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2); with s = f/(2 + f),
           log(1 + f) = f - f*f/2 + s*(f*f/2 + R(s*s)), R as in fdlibm
    log1p  log(u) + (x - (u - 1))/u, where u is 1 + x, rounded
    tanh   -e/(2 + e), e = expm1(-2|x|)
    erf    x * P(x*x) below 1; above it 1 - exp(-x*x) * Q((x - c)/(x + c))
    power  of float32 exp(p*log(x)) in double precision, rounded once; of float64 libm's

P and Q are the polynomials that agree at Chebyshev's nodes with erf(sqrt(s))/sqrt(s) on 0 .. 1 and erfc(x)*exp(x*x) on
1 .. 4 or 6 (from where on erf is 1, rounded); 2e-9 and 1e-18 away from them at most, before they are rounded. Other
functions are libm's, of one lane after another.

NaN stays NaN; exp(-inf) = 0, exp(inf) = inf, log(0) = -inf, log of what is negative is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils

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
    minus_one: float  # below it exp - 1 is -1
    near: tuple[float, ...]  # P, from the highest power down
    centre: float  # c
    end: float  # from here on erf is 1
    far: tuple[float, ...]  # Q, from the highest power down


SINGLE = Format(
    32, 23, 127, 0.693359375, -2.12194440e-4, -104.0, 89.0,
    (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1),
    (0.66666662693, 0.40000972152, 0.28498786688, 0.24279078841),
    0x3F3504F3,
    -20.0,
    (7.8758750627e-5, -8.0168642872e-4, 5.1890874234e-3, -2.6854212011e-2, 1.1283594715e-1, -3.7612626667e-1,
     1.1283791658e0),
    2.0, 4.0,
    (-9.4415963409e-4, -8.3658997365e-4, 6.9948554136e-3, 3.7321413513e-3, -7.8978523273e-2, 2.4165821109e-1,
     -4.2718584761e-1, 2.5539567625e-1),
)  # fmt: skip
DOUBLE = Format(
    64, 52, 1023, 6.93147180369123816490e-01, 1.90821492927058770002e-10, -746.0, 710.0,
    tuple(1 / factorial(k) for k in range(13, 1, -1)),
    (6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
     1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01),
    0x3FE6A09E00000000,
    -40.0,
    (-4.23094582429533782e-12, 8.70904512905310669e-11, -1.21645600572834501e-9, 1.4792401209404813e-8,
     -1.63646421581676153e-7, 1.64620454414684189e-6, -1.49256475675193321e-5, 1.20553329028887354e-4,
     -8.5483270219348296e-4, 5.22397762542329831e-3, -2.68661706451298408e-2, 1.12837916709551202e-1,
     -3.76126389031837524e-1, 1.12837916709551257e0),
    2.45, 6.0,
    (1.24204588817480704e-7, 3.28154308245274367e-7, -2.49304169386625725e-7, -2.01205743739781852e-6,
     -9.80723832066593294e-7, 9.56783372560786318e-6, 1.34653514835866503e-5, -4.65934449905447999e-5,
     -1.03545626039287914e-4, 2.94379551626407111e-4, 6.87568830808334112e-4, -2.85577591353647089e-3,
     -2.28584466332949397e-3, 3.63448970930405628e-2, -1.21488689751556749e-1, 2.51668132766819953e-1,
     -3.7682183405934964e-1, 2.14587092241093793e-1),
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

    def signed_as(self, y: Value, x: Value) -> Value:
        """y's absolute value with x's sign."""
        return intrinsic(self.b, f"llvm.copysign.{suffix(self.t)}", y.type, y, x)

    def scaled(self, y: Value, n: Value) -> Value:
        """y * 2**n for y near 1 and a result that is a normal number, by its exponent's bits."""
        shifted = self.b.shl(n, self.whole(self.form.fraction))
        return self.b.bitcast(self.b.add(self.b.bitcast(y, self.integers), shifted), y.type)


def _reduced(m: _Lanes, x: Value) -> tuple[Value, Value]:
    """n, and exp(r) - 1, where x = n*log(2) + r."""
    b, f = m.b, m.form
    n = intrinsic(b, f"llvm.rint.{suffix(m.t)}", x.type, b.fmul(x, m.real(1.4426950408889634)))
    r = m.fma(n, m.real(-f.low), m.fma(n, m.real(-f.high), x))
    return n, m.fma(m.polynomial(r, f.powers), b.fmul(r, r), r)


def _clipped(m: _Lanes, x: Value, least: float, most: float) -> Value:
    """Within these bounds; the lower one of NaN."""
    b, low, high = m.b, m.real(least), m.real(most)
    x = b.select(b.fcmp_ordered(">", x, low), x, low)
    return b.select(b.fcmp_ordered("<", x, high), x, high)


def _exp(b: Builder, sig: Any, x: Value) -> Value:
    m = _Lanes(b, sig.return_type)
    n, p = _reduced(m, _clipped(m, x, m.form.least, m.form.most))
    y = b.fadd(p, m.real(1.0))
    whole = b.fptosi(n, m.integers)
    half = b.ashr(whole, m.whole(1))
    # by one multiplication: two by constants might be taken together, and overflow
    y = b.fmul(m.scaled(y, half), m.scaled(m.real(1.0), b.sub(whole, half)))
    return b.select(b.fcmp_unordered("uno", x, x), x, y)


def _expm1(b: Builder, sig: Any, x: Value) -> Value:
    m = _Lanes(b, sig.return_type)
    n, p = _reduced(m, _clipped(m, x, m.form.minus_one, m.form.most))
    # half of 2**n, which is finite where the result still is
    power = m.scaled(m.real(1.0), b.sub(b.fptosi(n, m.integers), m.whole(1)))
    y = m.fma(power, p, b.fsub(power, m.real(0.5)))
    y = b.fadd(y, y)
    return b.select(b.fcmp_unordered("ueq", x, m.real(0.0)), x, y)  # NaN, and the sign of zero


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


def _log1p(b: Builder, sig: Any, x: Value) -> Value:
    m = _Lanes(b, sig.return_type)
    u = b.fadd(x, m.real(1.0))
    y = _log(b, sig, u)
    lost = b.fdiv(b.fsub(x, b.fsub(u, m.real(1.0))), u)
    # where u is 0 or infinite nothing is lost, and the quotient is no number
    y = b.select(b.fcmp_ordered("==", lost, lost), b.fadd(y, lost), y)
    return b.select(b.fcmp_unordered("ueq", x, m.real(0.0)), x, y)


def _tanh(b: Builder, sig: Any, x: Value) -> Value:
    m = _Lanes(b, sig.return_type)
    e = _expm1(b, sig, b.fmul(_absolute(b, sig, x), m.real(-2.0)))
    return m.signed_as(b.fdiv(e, b.fadd(e, m.real(2.0))), x)


def _erf(b: Builder, sig: Any, x: Value) -> Value:
    m = _Lanes(b, sig.return_type)
    f, one = m.form, m.real(1.0)
    a = _absolute(b, sig, x)
    far = _clipped(m, a, 1.0, f.end)
    u = b.fdiv(b.fsub(far, m.real(f.centre)), b.fadd(far, m.real(f.centre)))
    rest = b.fmul(_exp(b, sig, b.fneg(b.fmul(far, far))), m.polynomial(u, f.far))
    beyond = m.signed_as(b.fsub(one, rest), x)
    near = b.fmul(x, m.polynomial(b.fmul(x, x), f.near))
    return b.select(b.fcmp_ordered(">=", a, one), beyond, near)


def _one_by_one(name: str) -> Any:
    """C's function of each lane, in double precision as scalars are."""

    def generate(b: Builder, sig: Any, *given: Value) -> Value:
        kind = ir.FunctionType(ir.DoubleType(), [ir.DoubleType()] * len(given))
        libm = cgutils.get_or_insert_function(b.module, kind, name)
        found, element = given[0], given[0].type.element
        narrow = element != ir.DoubleType()
        for lane in range(found.type.count):
            at = ir.Constant(ir.IntType(32), lane)
            values = [b.extract_element(x, at) for x in given]
            value = b.call(libm, [b.fpext(v, ir.DoubleType()) if narrow else v for v in values])
            found = b.insert_element(found, b.fptrunc(value, element) if narrow else value, at)
        return found

    return generate


class _Wide(NamedTuple):
    """What `_exp` and `_log` ask of a signature."""

    return_type: VectorType


def _power(b: Builder, sig: Any, x: Value, p: Value) -> Value:
    t = sig.return_type
    if t.dtype == types.float64:
        return _one_by_one("pow")(b, sig, x, p)
    wide = _Wide(VectorType(types.float64, t.width))
    m = _Lanes(b, wide.return_type)
    one, double = m.real(1.0), llvm_vector(wide.return_type)
    x, p = b.fpext(x, double), b.fpext(p, double)
    a = _absolute(b, wide, x)
    y = _exp(b, wide, b.fmul(p, _log(b, wide, a)))
    always = b.or_(
        b.fcmp_ordered("==", p, m.real(0.0)), b.fcmp_ordered("==", a, one)
    )  # of NaN too, or to infinity
    y = b.select(always, one, y)
    rint = f"llvm.rint.{suffix(m.t)}"
    whole = b.fcmp_ordered("==", p, intrinsic(b, rint, p.type, p))
    half = b.fmul(p, m.real(0.5))
    odd = b.and_(whole, b.fcmp_ordered("!=", half, intrinsic(b, rint, p.type, half)))
    y = b.select(odd, m.signed_as(y, x), y)
    outside = b.and_(b.fcmp_ordered("<", x, m.real(0.0)), b.fcmp_ordered("!=", x, m.real(float("-inf"))))
    y = b.select(b.and_(outside, b.not_(whole)), m.real(float("nan")), y)
    # 1 to any power, and NaN of all else that is none
    y = b.select(b.fcmp_ordered("==", x, one), one, y)
    return b.fptrunc(y, llvm_vector(t))


def _sqrt(b: Builder, sig: Any, x: Value) -> Value:
    return intrinsic(b, f"llvm.sqrt.{suffix(sig.return_type)}", x.type, x)


def _absolute(b: Builder, sig: Any, x: Value) -> Value:
    return intrinsic(b, f"llvm.fabs.{suffix(sig.return_type)}", x.type, x)


_FUNCTIONS = {
    scalar.exp: _exp,
    scalar.expm1: _expm1,
    scalar.log: _log,
    scalar.log1p: _log1p,
    scalar.tanh: _tanh,
    scalar.erf: _erf,
    scalar.sqrt: _sqrt,
    scalar.absolute: _absolute,
}
for _function in (*scalar.FROM_MATH, scalar.absolute):
    _generate = _FUNCTIONS.get(_function) or _one_by_one(_function.__name__)
    function(_function, VectorType, same_reals, VectorType)(_generate)
function(scalar.power, VectorType, same_reals, VectorType, VectorType)(_power)
