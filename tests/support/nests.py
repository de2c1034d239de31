"""What a lowered nest visits, by following its steps one by one; no source is printed, nothing is compiled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tests.support.relation import Env, Points, code

Point = tuple[int, ...]


def _each(values: Sequence[Any], env: Env) -> list[int]:
    return [code(v)(env) for v in values]


def _walk(steps: Sequence[Any], env: Env) -> Iterator[Env]:
    if not steps:
        yield env
        return
    step, rest = steps[0], steps[1:]
    match type(step).__name__:
        case "Loop":
            for value in range(max(_each(step.low, env)), min(_each(step.high, env))):
                yield from _walk(rest, {**env, step.index: value})
        case "ResidueLoop":  # by its meaning, not by extended Euclid
            modulus, factor, total = _each((step.modulus, step.factor, step.total), env)
            assert modulus >= 1
            for value in range(max(_each(step.low, env)), min(_each(step.high, env))):
                if (total - factor * value) % modulus == 0:
                    yield from _walk(rest, {**env, step.index: value})
        case "Assign":
            value = code(step.value)(env)
            if step.size is None or 0 <= value < code(step.size)(env):
                yield from _walk(rest, {**env, step.index: value})
        case "Divides":
            divisor = code(step.divisor)(env)
            assert divisor >= 1
            if code(step.value)(env) % divisor == 0:
                yield from _walk(rest, env)
        case "Test":
            value = code(step.value)(env)
            bound = code(step.bound)(env)
            if {"zero": value == 0, "nonneg": value >= 0, "range": 0 <= value < bound}[step.kind]:
                yield from _walk(rest, env)
        case other:
            raise AssertionError(other)


def visited(nest: Any, env: Env) -> list[Point]:
    """Every point that the nest visits, in its own order, with repetitions."""
    indices = nest.equation.relation.indices
    return [tuple(e[i] for i in indices) for e in _walk((*nest.outer, *nest.target, *nest.inner), env)]


def task_owners(nest: Any, env: Env) -> list[tuple[Point, Point]]:
    """(what tasks share out, target element) of every point: each element belongs to one value of the first."""
    outer, free = [s.index for s in nest.outer], nest.equation.free
    walk = _walk((*nest.outer, *nest.target, *nest.inner), env)
    return [(tuple(e[i] for i in outer), tuple(e[i] for i in free)) for e in walk]


def brute_force(eq: Any, env: Env) -> list[Point]:
    """Every point of the equation's relation."""
    return [tuple(e[i] for i in eq.relation.indices) for e in Points(eq.relation)(dict(env))]
