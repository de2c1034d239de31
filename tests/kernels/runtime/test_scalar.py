"""Scalar functions: floats as IEEE and libm have it, other numbers by their own rules, compiled the same."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from sympy import QQ, ring

from kernels.runtime import (
    NotRational,
    absolute,
    acosh,
    asin,
    exp,
    highest,
    log,
    log1p,
    lowest,
    numbers,
    one,
    pi,
    power,
    rational,
    real,
    register_number,
    sign,
    sqrt,
    zero,
)
from tests.kernels.runtime import primitives as p

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -3.0, 1e-300, -1e-300, 5e-324, 30.0, -30.0, 800.0, -800.0,
           1e300, -1e300, math.inf, -math.inf, math.nan, 1e-9, 0.1, 1.5, math.pi / 2]  # fmt: skip


@pytest.mark.parametrize("width", [1, 8])
def test_functions_compiled_as_meant(width: int) -> None:
    x = np.array(SPECIAL)
    compiled, meant = (np.empty((len(x), len(p.SCALARS))) for _ in range(2))
    tile = p.tile_of(np.float64, width)
    p.run_compiled(p.scalars, tile, (compiled, x, len(x)))
    p.run_meaning(p.scalars, tile, (meant, x, len(x)))
    for column, function in enumerate(p.SCALARS):
        got, want = compiled[:, column], meant[:, column]
        # both call a libm, perhaps not the same one: a few units in the last place
        np.testing.assert_allclose(got, want, rtol=1e-15, atol=0, err_msg=function.__name__)
        zeros = want == 0
        if function is not sign:
            np.testing.assert_array_equal(np.signbit(got[zeros]), np.signbit(want[zeros]), function.__name__)


@pytest.mark.parametrize("function", p.SCALARS, ids=lambda f: f.__name__)
def test_floats_follow_numpy(function: Any) -> None:
    names = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh",
             "atanh": "arctanh"}  # fmt: skip
    numpys = getattr(np, names.get(function.__name__, function.__name__), None)
    if numpys is None:
        numpys = np.vectorize(getattr(math, function.__name__))
    with np.errstate(all="ignore"):
        want = numpys(np.array(SPECIAL))
    np.testing.assert_allclose([function(x) for x in SPECIAL], want, rtol=1e-14)


def test_powers_compiled_as_meant() -> None:
    x, q = np.array(SPECIAL), np.array([0.0, 1.0, 2.0, 3.0, -1.0, -2.0, 0.5, -0.5, 1 / 3, math.inf, math.nan])
    compiled, meant = (np.empty((len(x), len(q))) for _ in range(2))
    p.run_compiled(p.powers, p.tile_of(np.float64, 4), (compiled, x, q, len(x), len(q)))
    p.run_meaning(p.powers, p.tile_of(np.float64, 4), (meant, x, q, len(x), len(q)))
    np.testing.assert_allclose(compiled, meant, rtol=1e-15)
    with np.errstate(all="ignore"):
        want = np.power.outer(x, q)
    want[x == -math.inf, q == 0.5] = math.inf  # NumPy takes a root there; C's pow does not
    np.testing.assert_allclose(meant, want, rtol=1e-15)


def test_constants_compiled_as_meant() -> None:
    compiled, meant = np.zeros(10), np.zeros(10)
    p.run_compiled(p.constants, p.tile_of(np.float64, 4), (compiled, 3))
    p.run_meaning(p.constants, p.tile_of(np.float64, 4), (meant, 3))
    np.testing.assert_allclose(compiled, meant, rtol=1e-15)
    assert meant[4] == -math.inf
    assert meant[5] == math.inf


def test_fractions_keep_what_is_rational() -> None:
    with numbers(Fraction):
        made = (zero(), one(), real(3), rational(2, 6), sign(Fraction(-2, 3)), absolute(-5), power(2, -2))
        assert made == (0, 1, 3, Fraction(1, 3), -1, 5, Fraction(1, 4))
        assert all(type(v) is Fraction for v in made)
        assert power(Fraction(2, 3), Fraction(2)) == Fraction(4, 9)
        for impossible in (
            lambda: exp(Fraction(1)),
            lambda: sqrt(4),
            lambda: power(Fraction(2), Fraction(1, 2)),
            pi,
        ):
            with pytest.raises(NotRational):
                impossible()
    assert type(sign(Fraction(3, 4))) is Fraction  # by the argument's type, whatever the current one
    assert type(zero()) is float


def test_infinities_of_exact_types_compare_and_do_nothing_else() -> None:
    with numbers(Fraction):
        low, high = lowest(), highest()
        for number in (Fraction(-(10**30)), Fraction(0), Fraction(10**30)):
            assert low < number < high
            assert high > number > low
            assert low <= number <= high
            assert not number < low
            assert number != low
            assert max(low, number) == number == min(high, number)
        assert low == lowest() != high
        assert low < high
        for impossible in (lambda: low + 1, lambda: Fraction(1) * high, lambda: -low, lambda: float(high)):
            with pytest.raises(TypeError):
                impossible()
    assert (lowest(), highest()) == (-math.inf, math.inf)


def test_mpmath_works_at_its_own_precision() -> None:
    with numbers(mpmath.mpf):
        assert abs(pi() - math.pi) < 1e-15
    with mpmath.workdps(50), numbers(mpmath.mpf):
        assert abs(exp(1) - mpmath.e) < mpmath.mpf(10) ** -48
        assert type(rational(1, 3)) is mpmath.mpf
        assert abs(rational(1, 3) * 3 - 1) < mpmath.mpf(10) ** -48
        assert abs(pi() - mpmath.pi) == 0
        assert log(zero()) == lowest() == mpmath.ninf
        assert sign(mpmath.mpf(-3)) == -1
        for outside in (sqrt(-one()), log(-one()), power(-one(), rational(1, 2)), asin(real(2))):
            assert mpmath.isnan(outside)
        assert power(zero(), -1) == highest() == mpmath.inf
        assert log1p(-one()) == mpmath.ninf
        for function in p.SCALARS:
            x = real(2) if function is acosh else rational(1, 2)
            np.testing.assert_allclose(float(function(x)), function(float(x)), rtol=1e-14)
    context = mpmath.MPContext()
    context.dps = 30
    assert exp(context.mpf(1)).context is context


def test_polynomials() -> None:
    domain, x, y = ring("x y", QQ)
    with numbers(domain):
        assert rational(1, 3) * 3 == domain(1)
        assert type(real(2)) is type(x)
        assert power(x + y, 2) == x**2 + 2 * x * y + y**2
        with pytest.raises(NotRational, match="exp"):
            exp(x)


def test_another_number_type_is_registered() -> None:
    class Decibel(int):
        pass

    register_number(Decibel, {"log": lambda x: Decibel(42), "lowest": Decibel(-1000)})
    assert log(Decibel(1)) == 42
    with numbers(Decibel):
        assert lowest() == -1000
    with pytest.raises(NotRational):
        exp(Decibel(1))
