"""A bounded box of configurations of an operator, worked out from its equations and laws alone.

Integers that make up one axis belong together: the strides, dilations, paddings, taps and length that stand in one index
expression, found as such in the equations. Each takes a few values:

    an extent on its own        1 2 3 5 7      tiles of 2 and 4 with tails, sums over several blocks of 3 and 6
    an extent of such an axis   1 2 3 5        windows that overlap, miss, leave a tail that none reads
    an integer from 1           1 2 3          strides and dilations: every residue class, and common divisors
    an integer from 0           0 1 2          paddings, as large as the window and larger; switches

and an array that may be absent is, or is not. The box holds every combination that the definition allows, if these are
few; else every combination along each axis, the axes side by side. It begins with those that make up all pairs of values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from inspect import signature
from itertools import combinations as combine
from itertools import product
from math import prod
from random import Random
from typing import TYPE_CHECKING, Any

import sympy as sp
from sympy.core.relational import Relational

from derive.errors import SpecError
from derive.language import Index, Operator, Parameter, Read, Size
from derive.verify.configuration import REALS, Configuration, sample, work

if TYPE_CHECKING:
    from kernels.runtime import Definition

ALONE, ALONG = (1, 2, 3, 5, 7), (1, 2, 3, 5)
FROM_ONE, FROM_ZERO = (1, 2, 3), (0, 1, 2)
LONGER = (4, 9, 12, 17, 26)  # and where there is nothing but extents, and few combinations of them
FEW, LEAST = 30, 300
WHOLE = 1500  # combinations of everything, at most; with more, those of each axis
POINTS = (
    40,
    80,
    160,
)  # of the equations at one configuration, in turn: with more, extents shrink until it is less
CANDIDATES, AHEAD = 12, 60  # among which the one is next that shows most new pairs of values; so often
BASES, TRIES, SHORT = (
    6,
    12,
    20,
)  # what an axis may stand beside; how often something else is put beside it, of short lists
WITHOUT = "without "  # the name of an absent array, as an integer 0 or 1
Integers = dict[str, int]


@dataclass(frozen=True)
class Box:
    """Combinations of integers in the order to run them in; `whole` if these are all, not those of each axis."""

    operator: Operator
    definition: Definition
    axes: tuple[tuple[str, ...], ...]
    combinations: tuple[Integers, ...]
    whole: bool

    def __len__(self) -> int:
        return len(self.combinations)

    def configuration(self, number: int) -> Configuration | None:
        """One of them as a configuration, made smaller where that is much work; None if there is none."""
        random = Random(f"{self.operator.name} {number}")
        points = POINTS[number % len(POINTS)]
        return _configuration(self.operator, self.definition, self.combinations[number], random, points)


def axes(operator: Operator, definition: Definition) -> tuple[tuple[str, ...], ...]:
    """The integers that a configuration consists of, those of one axis together."""
    names = list(signature(definition.sizes).parameters)
    names += [p.name for p in definition.parameters if not p.real and p.name not in names]
    joined = {name: {name} for name in names}

    def join(found: set[str]) -> None:
        """All of them that are known are of one axis. (Others are extents that follow.)"""
        known = sorted(found & joined.keys())
        both = set().union(*(joined[name] for name in known)) if known else set[str]()
        for name in both:
            joined[name] = both

    def letters(e: sp.Basic) -> set[str]:
        symbols = e.xreplace(
            dict.fromkeys(e.atoms(Read), sp.S.Zero)
        ).free_symbols  # what data say joins nothing
        found = {s.name.upper() for s in symbols if isinstance(s, Index)}
        found |= {s.name for s in symbols if isinstance(s, (Size, Parameter))}
        return found.union(*(letters(e) for i, e in operator.extents.items() if i in symbols))

    shapes = {t.name: t.shape for t in definition.tensors}
    for s in operator.statements:
        for r in sorted(s.body.atoms(Read) | s.target.atoms(Read), key=str):
            shape = shapes.get(r.tensor.name, (0,) * len(r.at))
            margin = ((),) * (len(r.at) - len(r.tensor.margin)) + tuple(r.tensor.margin)
            for e, extent, around in zip(r.at, shape, margin, strict=True):
                found = letters(e) | {str(extent)}
                join(found.union(*(letters(m) for m in around)))
        for c in s.body.atoms(Relational):
            if any(isinstance(i, Index) for i in c.free_symbols) and not c.atoms(Read):
                join(letters(c))
    kept: dict[str, tuple[str, ...]] = {}
    for name in names:
        kept.setdefault(min(joined[name], key=names.index), tuple(sorted(joined[name], key=names.index)))
    return tuple(kept.values())


def values(operator: Operator, definition: Definition, axis: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """What each integer of an axis takes."""
    written = (s.target.tensor for s in operator.statements)
    extents = {i.name.upper() for i in operator.given} | {t.size(k).name for t in written for k in range(8)}
    least = {p.name: p.minimum for p in definition.parameters if p.name not in extents}
    return {
        name: (FROM_ONE if least[name] else FROM_ZERO)
        if name in least
        else ALONE
        if len(axis) == 1
        else ALONG
        for name in axis
    }


def box(operator: Operator, definition: Definition) -> Box:
    """The box of an operator. Its order and its numbers are the same each time."""
    random = Random(operator.name)
    found = axes(operator, definition)
    optional = tuple((WITHOUT + t.name,) for t in operator.inputs if t.optional)
    lists = [_combinations(values(operator, definition, axis)) for axis in found]
    if prod(map(len, lists)) <= FEW and all(len(axis) == 1 for axis in found):
        lists = [[*of, *({axis[0]: k} for k in LONGER)] for axis, of in zip(found, lists, strict=True)]
    lists += [[{name: k} for k in (0, 1)] for (name,) in optional]
    bases = [dict(sample(operator, definition, Random(k)).environment) for k in range(BASES)]
    whole = prod(map(len, lists)) <= WHOLE
    if whole:
        drawn = [c for parts in product(*lists) if _environment(definition, c := _merged(parts)) is not None]
    else:
        lists = [
            [c for c in of if any(_environment(definition, base | c) is not None for base in bases)]
            for of in lists
        ]
        drawn = list(_side_by_side(definition, lists, random))
    distinct = [dict(c) for c in dict.fromkeys(tuple(c.items()) for c in drawn)]
    return Box(operator, definition, found, tuple(_pairs_first(distinct, random)), whole)


def _merged(parts: Iterable[Integers]) -> Integers:
    return {name: value for part in parts for name, value in part.items()}


def _combinations(of: Mapping[str, tuple[int, ...]]) -> list[Integers]:
    return [dict(zip(of, chosen, strict=True)) for chosen in product(*of.values())]


def _side_by_side(definition: Definition, lists: list[list[Integers]], random: Random) -> Iterator[Integers]:
    """Every item of each list, at least once, the others going round beside it.

    Where the definition does not allow them together, others take the place of those that stand in short lists.
    """
    rounds = [random.sample(of, len(of)) for of in lists]
    for k in range(max(*map(len, lists), min(LEAST, prod(map(len, lists))))):
        for r, of in zip(rounds, lists, strict=True):
            if k and k % len(of) == 0:
                random.shuffle(r)
        parts = [r[k % len(r)] for r in rounds]
        for _ in range(TRIES):
            made = _merged(parts)
            if _environment(definition, made) is not None:
                yield made
                break
            parts = [p if len(r) > SHORT else random.choice(r) for p, r in zip(parts, rounds, strict=True)]


def _environment(definition: Definition, given: Mapping[str, int]) -> Integers | None:
    """Everything that follows from the integers given, if the definition allows them."""
    taken = {n: given[n] for n in signature(definition.sizes).parameters}
    own = {p.name: given[p.name] for p in definition.parameters if not p.real and p.name in given}
    environment = {**own, **taken, **definition.sizes(**taken)}

    def value(e: str | int) -> int:
        return environment.get(e, 0) if isinstance(e, str) else e

    if any(value(c.left) < value(c.right) for c in definition.conditions):
        return None
    return environment if all(value(e) >= 0 for t in definition.tensors for e in t.shape) else None


def _configuration(
    operator: Operator, definition: Definition, given: Integers, random: Random, points: int
) -> Configuration | None:
    """A configuration; extents of inputs, the largest first, are made smaller until it is not too much work."""
    given, single = dict(given), {axis[0] for axis in axes(operator, definition) if len(axis) == 1}
    parameters = {p.name: p for p in definition.parameters}
    inputs = [definition.tensor(name) for name in definition.programs["forward"].inputs]
    absent = tuple(n.removeprefix(WITHOUT) for n, v in given.items() if n.startswith(WITHOUT) and v)
    while True:
        environment = _environment(definition, given)
        if environment is None:
            return None
        shapes = {
            t.name: tuple(environment[e] if isinstance(e, str) else e for e in t.shape)
            for t in inputs
            if t.name not in absent
        }
        below = {t.name: environment[t.below] if t.below else 3 for t in inputs if t.integer}
        if any(0 in shape for shape in shapes.values()) or any(b < 1 for b in below.values()):
            return None
        integers = {n: environment[n] for n, p in parameters.items() if not p.real and n in environment}
        try:
            if work(operator, shapes, integers) <= points:
                break
        except SpecError:
            return None
        smaller = _smaller(definition, given, single)
        if smaller is None:
            break
        given = smaller
    reals = {
        p.name: random.choice(REALS) if p.default is None else Fraction(p.default)
        for p in definition.parameters
        if p.real
    }
    return Configuration(integers, environment, shapes, absent, below, random.getrandbits(32), reals)


def _smaller(definition: Definition, given: Integers, single: set[str]) -> Integers | None:
    """With one extent made smaller that still may be: the largest that stands alone, then the largest of an axis."""
    parameters = {p.name for p in definition.parameters}
    extents = [n for n, v in given.items() if v > 1 and n not in parameters and not n.startswith(WITHOUT)]
    for name in sorted(extents, key=lambda n: (n in single, given[n]), reverse=True):
        made = given | {name: given[name] - 1 - given[name] // 3}
        if _environment(definition, made) is not None:
            return made
    return None


def _pairs_first(combinations: list[Integers], random: Random) -> Iterator[Integers]:
    """The same, those first that between them show every pair of values that occurs."""
    left = random.sample(range(len(combinations)), len(combinations))
    seen: set[Any] = set()
    for number in range(len(left)):
        fresh = {} if number >= AHEAD else {
            k: len(set(combine(combinations[left[k]].items(), 2)) - seen) for k in range(len(left))[-CANDIDATES:]
        }  # fmt: skip
        if fresh:
            best = max(fresh, key=lambda k: fresh[k])
            left[best], left[-1] = left[-1], left[best]
        chosen = combinations[left.pop()]
        if fresh:
            seen.update(combine(chosen.items(), 2))
        yield chosen


__all__ = ["Box", "axes", "box"]
