"""What a program in relation form means, by going through every point of every relation.

It reads the data types of `derive.program` and nothing else of the engine: no traversal, no printer, no
solver. Numbers are Fractions; functions that leave them give 50-digit mpmath numbers.

    Meaning(program).run(inputs, integers, reals)    every tensor, by name, as an object array
"""

from __future__ import annotations

import operator
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import reduce
from itertools import product
from typing import Any

import mpmath
import numpy as np
import sympy as sp

Env = dict[Any, Any]  # a value for every symbol, an array for every tensor's name
Code = Callable[[Env], Any]
DIGITS = 50


def _number(e: Any) -> Any:
    return int(e) if e.is_Integer else Fraction(int(e.p), int(e.q))


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(exponent, int) or isinstance(exponent, Fraction) and exponent.denominator == 1:
        base = Fraction(base) if isinstance(base, int) else base
        with mpmath.workdps(DIGITS):
            return base ** int(exponent)
    with mpmath.workdps(DIGITS):
        return mpmath.power(_decimal(base), _decimal(exponent))


def _decimal(x: Any) -> Any:
    return mpmath.mpf(x.numerator) / x.denominator if isinstance(x, (int, Fraction)) else x


def _transcendental(name: str) -> Callable[[Any], Any]:
    def call(x: Any) -> Any:
        with mpmath.workdps(DIGITS):
            x = _decimal(x)
            return mpmath.ninf if name == "log" and x == 0 else getattr(mpmath, name)(x)

    return call


def _floor_div(u: Any, v: Any) -> int:
    return int(u // v)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Abs": abs,
    "sign": lambda u: (u > 0) - (u < 0),
    "floor": lambda u: int(u // 1),
    "ceiling": lambda u: -int(-u // 1),
    "Mod": lambda u, m: u - m * (u // m),
    "Max": max,
    "Min": min,
    "FloorDiv": _floor_div,
    "CeilDiv": lambda u, v: -_floor_div(-u, v),
    "Modulo": lambda u, v: u % v,
    "relu": lambda u: max(u, 0 * u),
    "step": lambda u: int(u > 0),
    "indicator": int,
    "chosen": lambda holds, u: u if holds else 0,
    "finite": lambda u: u if not isinstance(u, mpmath.mpf) or mpmath.isfinite(u) else 0,
    "maximum": lambda u, v: u if u >= v else v,
    "minimum": lambda u, v: u if u <= v else v,
    "Equality": operator.eq,
    "Unequality": operator.ne,
    "StrictLessThan": operator.lt,
    "LessThan": operator.le,
    "StrictGreaterThan": operator.gt,
    "GreaterThan": operator.ge,
    "And": lambda *u: all(u),
    "Or": lambda *u: any(u),
    "Not": operator.not_,
    "Pow": _power,
    **{name: _transcendental(name) for name in ("exp", "log", "sin", "cos", "tanh", "erf")},
}


def _added(values: Sequence[Any]) -> Any:
    with mpmath.workdps(DIGITS):
        return reduce(operator.add, values)


def _multiplied(values: Sequence[Any]) -> Any:
    with mpmath.workdps(DIGITS):
        return reduce(operator.mul, values)


def code(e: Any) -> Code:
    """An expression as a function of an environment."""
    name = type(e).__name__
    if e.is_Number and e.is_Rational:
        value = _number(e)
        return lambda env: value
    if e in (sp.true, sp.false):
        truth = bool(e)
        return lambda env: truth
    if name in ("Access", "IntegerAccess"):
        tensor, at = str(e.args[0]), tuple(e.args[1:])
        return lambda env: env[tensor][tuple(env[i] for i in at)]
    if e.is_Symbol:
        return lambda env: env[e]
    if e is sp.E:
        return lambda env: FUNCTIONS["exp"](1)
    if name == "Piecewise":
        cases = [(code(value), code(condition)) for value, condition in e.args]
        return lambda env: next(value(env) for value, condition in cases if condition(env))
    parts = [code(a) for a in e.args]
    if name == "Add":
        return lambda env: _added([p(env) for p in parts])
    if name == "Mul":
        return lambda env: _multiplied([p(env) for p in parts])
    function = FUNCTIONS[name]
    return lambda env: function(*(p(env) for p in parts))


def affine_code(form: Any) -> Code:
    terms = [(code(a), code(c)) for a, c in form.terms]
    constant = code(form.constant)
    return lambda env: sum((a(env) * c(env) for a, c in terms), constant(env))


def names_in(e: Any) -> set[Any]:
    """Indices of an affine form, those of its integer reads too."""
    return set().union(*({a} if a.is_Symbol else set(a.args[1:]) for a, _ in e.terms), set())


class Points:
    """The points of one relation, in row-major order of its ranges; each constraint is asked once it is known."""

    def __init__(self, relation: Any) -> None:
        self.ranges = [(r.index, code(r.size)) for r in relation.ranges]
        place = {r.index: k for k, r in enumerate(relation.ranges)}
        self.due: list[list[Callable[[Env], bool]]] = [[] for _ in range(len(self.ranges) + 1)]
        for z in relation.zero:
            at = max((place[i] + 1 for i in names_in(z)), default=0)
            self.due[at].append(lambda env, f=affine_code(z): f(env) == 0)
        for z in relation.nonneg:
            at = max((place[i] + 1 for i in names_in(z)), default=0)
            self.due[at].append(lambda env, f=affine_code(z): f(env) >= 0)

    def __call__(self, env: Env) -> Iterator[Env]:
        sizes = [size(env) for _, size in self.ranges]

        def go(k: int) -> Iterator[Env]:
            if not all(holds(env) for holds in self.due[k]):
                return
            if k == len(sizes):
                yield env
                return
            index = self.ranges[k][0]
            for value in range(sizes[k]):
                env[index] = value
                yield from go(k + 1)

        yield from go(0)


class Unmet(Exception):
    """A condition of the program does not hold at these sizes."""


class _Equation:
    def __init__(self, eq: Any) -> None:
        self.target, self.free = str(eq.target.args[0]), tuple(eq.target.args[1:])
        self.points, self.body = Points(eq.relation), code(eq.body)
        self.kind, self.ties = eq.reduce, eq.ties
        self.at = affine_code(eq.at) if eq.at is not None else None

    def add_to(self, env: Env) -> None:
        out = env[self.target]
        groups: dict[tuple[int, ...], list[Any]] = {}
        for point in self.points(env):
            key = tuple(point[i] for i in self.free)
            value = self.body(point)
            groups.setdefault(key, []).append((value, self.at(point)) if self.at else value)
        for key, values in groups.items():
            out[key] = self.reduced(out[key], values)

    def reduced(self, before: Any, values: list[Any]) -> Any:
        match self.kind:
            case "sum":
                return _added([before, *values])
            case "prod":
                return _multiplied(values)
            case "max" | "min":
                return (max if self.kind == "max" else min)(values)
            case "argmax" | "argmin":
                best = (max if self.kind == "argmax" else min)(v for v, _ in values)
                tied = [at for v, at in values if v == best]
                return tied[-1] if self.ties == "last" else tied[0]
            case "logsumexp":
                with mpmath.workdps(DIGITS):
                    return mpmath.log(mpmath.fsum(mpmath.exp(_decimal(v)) for v in values))
        raise AssertionError(self.kind)


EMPTY = {
    "sum": 0,
    "prod": 1,
    "max": mpmath.ninf,
    "min": mpmath.inf,
    "logsumexp": mpmath.ninf,
    "argmax": -1,
    "argmin": -1,
}


class Meaning:
    """A program, ready to be run at any sizes."""

    def __init__(self, program: Any) -> None:
        self.program = program
        self.equations = [_Equation(eq) for eq in program.equations]
        self.kinds: dict[str, str] = {}
        for eq in program.equations:
            self.kinds.setdefault(str(eq.target.args[0]), eq.reduce)
        self.tensors = {t.name: t for t in program.tensors.values()}

    def environment(self, shapes: Mapping[str, Sequence[int]], integers: Mapping[str, int]) -> Env:
        """Every integer. Raises Unmet where a condition fails."""
        env: Env = {s: integers[s.name] for s in self.program.parameters if s.name in integers}
        for t in self.program.inputs:
            for e, size in zip(t.shape, shapes[t.name], strict=True):
                if e.is_Symbol and e not in env:
                    env[e] = size
        for s, e in self.program.sizes:
            env[s] = code(e)(env)
        for t in self.program.inputs:
            for e, size in zip(t.shape, shapes[t.name], strict=True):
                assert code(e)(env) == size, f"{t.name} has shape {shapes[t.name]}, {e} is {code(e)(env)}"
        for c in self.program.conditions:
            if code(c.left)(env) < code(c.right)(env):
                raise Unmet(c.reason)
        return env

    def run(
        self,
        inputs: Mapping[str, Any],
        integers: Mapping[str, int] | None = None,
        reals: Mapping[str, Any] | None = None,
    ) -> dict[str, np.ndarray[Any, Any]]:
        arrays = {name: np.asarray(a, dtype=object) for name, a in inputs.items()}
        env = self.environment({t.name: arrays[t.name].shape for t in self.program.inputs}, integers or {})
        env |= {s: (reals or {})[s.name] for s in self.program.parameters if s.name in (reals or {})}
        env |= arrays
        for name, t in self.tensors.items():
            if name not in env:
                shape = tuple(code(e)(env) for e in t.shape)
                env[name] = np.full(shape, EMPTY[self.kinds.get(name, "sum")], dtype=object)
        for eq in self.equations:
            eq.add_to(env)
        return {name: env[name] for name in self.tensors}


def alone(eq: Any, symbols: Mapping[Any, int], arrays: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """What one equation writes, on the ranges of its own indices, every integer and every read tensor given."""
    env: Env = {**symbols, **{name: np.asarray(a, dtype=object) for name, a in arrays.items()}}
    one = _Equation(eq)
    shape = tuple(code(eq.relation.size(i))(env) for i in one.free)
    env[one.target] = np.full(shape, EMPTY[eq.reduce], dtype=object)
    one.add_to(env)
    written: np.ndarray[Any, Any] = env[one.target]
    return written


# ---- derivatives without differentiation ------------------------------------------------------

STENCIL = ((1, Fraction(2, 3)), (-1, Fraction(-2, 3)), (2, Fraction(-1, 12)), (-2, Fraction(1, 12)))
STEP = Fraction(1, 10**6)


def directional(
    forward: Meaning,
    inputs: Mapping[str, Any],
    tangents: Mapping[str, Any],
    integers: Any = None,
    reals: Any = None,
) -> dict[str, Any]:
    """d f(x + h t) / dh at 0, exactly, for f of degree <= 4 along the line: the five-point formula has no error
    there, nor for functions that are such polynomials piece by piece when no kink lies within the stencil."""
    total: dict[str, Any] = {}
    for k, weight in STENCIL:
        moved = dict(inputs)
        for name, t in tangents.items():
            moved[name] = np.asarray(inputs[name], dtype=object) + k * STEP * np.asarray(t, dtype=object)
        out = forward.run(moved, integers, reals)
        for o in forward.program.outputs:
            if not o.integer:
                total[o.name] = total.get(o.name, 0) + weight / STEP * out[o.name]
    return total


def gradient(
    forward: Meaning,
    inputs: Mapping[str, Any],
    cotangents: Mapping[str, Any],
    integers: Any = None,
    reals: Any = None,
) -> dict[str, Any]:
    """Of <g, f(x)>, one element of x after the other."""
    found = {}
    for t in forward.program.inputs:
        if t.integer:
            continue
        x = np.asarray(inputs[t.name], dtype=object)
        g = np.zeros(x.shape, dtype=object)
        for at in product(*map(range, x.shape)):
            unit = np.zeros(x.shape, dtype=object)
            unit[at] = Fraction(1)
            change = directional(forward, inputs, {t.name: unit}, integers, reals)
            g[at] = sum(
                (np.sum(change[name] * np.asarray(cotangents[name], dtype=object)) for name in change),
                Fraction(0),
            )
        found[t.name] = g
    return found


# ---- inputs and comparison ------------------------------------------------------------------------


def filled(
    program: Any, forward: Meaning, inputs: Mapping[str, Any], integers: Mapping[str, int], seed: int = 0
) -> dict[str, Any]:
    """`inputs`, and random fractions for what a derived program wants besides: cotangents, tangents."""
    rng = random.Random(seed)
    env = forward.environment({name: np.shape(a) for name, a in inputs.items()}, integers)
    made = dict(inputs)
    for t in program.inputs:
        if t.name not in made:
            array = np.empty(tuple(code(e)(env) for e in t.shape), dtype=object)
            for at in np.ndindex(array.shape):
                array[at] = Fraction(rng.randint(-12, 12), 5)
            made[t.name] = array
    return made


AGREE = Fraction(1, 10**40)  # of 50 digits, ten may be lost to cancellation


def close(one: Any, other: Any) -> bool:
    if isinstance(one, (int, Fraction)) and isinstance(other, (int, Fraction)):
        return one == other
    if one == other:
        return True
    with mpmath.workdps(DIGITS):
        u, v = _decimal(one), _decimal(other)
        return bool(abs(u - v) <= _decimal(AGREE) * max(1, abs(u), abs(v)))


def agree(one: Mapping[str, Any], other: Mapping[str, Any], names: Sequence[str]) -> None:
    """Both say the same of the named tensors: exactly where the numbers are rational, else to 40 digits."""
    for name in names:
        a, b = np.asarray(one[name], dtype=object), np.asarray(other[name], dtype=object)
        assert a.shape == b.shape, f"{name}: {a.shape} and {b.shape}"
        for at in np.ndindex(a.shape):
            assert close(a[at], b[at]), f"{name}{list(at)}: {a[at]} and {b[at]}"
