"""Configurations to check an operator at: its integers, the shapes of its inputs, numbers to fill them with.

One sampler serves both users: `run` gives it a seeded generator, Hypothesis one of its own, which then
shrinks a failure to a small configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from inspect import signature
from math import prod
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp
from hypothesis import strategies as st

from derive.errors import SpecError, VerificationError
from derive.language import Index, Operator, Reduce, Statement, maximum, minimum, relu, step
from derive.numbers import RATIONALS, Field
from derive.reference import Array, Case, Shape, find_extents

if TYPE_CHECKING:
    from kernels.runtime import Definition

ATTEMPTS = 3000
REGULAR = 50  # of those
STYLES = ("general", "ties", "positive", "unit", "apart", "wide")


@dataclass(frozen=True)
class Configuration:
    """Integers, shapes and a seed; the numbers follow from the seed and a style.

    general   fractions of either sign, zero too      ties    integers from a small range
    positive  fractions above 0                       unit    fractions between 0 and 1
    apart     no two alike, none near another: for differences in floating point
    wide      whole numbers of forty bits: where two polynomials agree at such, they are the same, but for odds of 1e-10
    """

    integers: Mapping[str, int]  # what a caller gives besides arrays
    environment: Mapping[str, int]  # and everything that follows
    shapes: Mapping[str, Shape]  # of the inputs that are present
    absent: tuple[str, ...]
    below: Mapping[str, int]  # bounds of integer inputs
    seed: int
    reals: Mapping[str, Fraction] = field(default_factory=dict)

    def case(self, operator: Operator, style: str, kind: Field = RATIONALS, dyadic: bool = False) -> Case:
        """Everything the reference needs."""
        inputs = {
            name: self.whole(name, self.below[name])
            if name in self.below
            else self.numbers(name, shape, style, dyadic)
            for name, shape in self.shapes.items()
        }
        return Case(operator, inputs, self.integers, self.reals, field=kind)

    def whole(self, name: str, below: int) -> Array:
        """Indices below a bound."""
        random = Random(f"{self.seed}:{name}")
        shape = self.shapes[name]
        return np.array([random.randrange(max(below, 1)) for _ in range(prod(shape))], np.int64).reshape(
            shape
        )

    def numbers(self, name: str, shape: Shape, style: str = "general", dyadic: bool = False) -> Array:
        """Fractions; with `dyadic` such as float32 holds exactly."""
        random = Random(f"{self.seed}:{name}:{style}")
        made = np.empty(shape, object)
        places = list(np.ndindex(shape))
        order = random.sample(range(len(places)), len(places))
        for at, rank in zip(places, order, strict=True):
            below = random.choice((4, 8, 16)) if dyadic else random.randint(1, 7)
            if style == "ties":
                made[at] = Fraction(random.randint(-1, 2))
            elif style == "wide":
                made[at] = Fraction(random.getrandbits(40) - 2**39)
            elif style == "positive":
                made[at] = Fraction(random.randint(1, 20), below)
            elif style == "unit":
                made[at] = Fraction(random.randint(1, below), below + (below if dyadic else 1))
            elif style == "apart":  # a tensor of its own phase, so that no two tensors coincide either
                phase = Fraction(Random(name).randint(1, 60), 64)
                made[at] = (Fraction(2 * rank - len(places)) + phase) / 2 ** max(
                    1, len(places).bit_length() - 1
                )
            else:  # a zero in a while, which half of all functions have something to say of
                made[at] = Fraction(random.randint(-20, 20) * (random.random() > 0.06), below)
        return made

    def __str__(self) -> str:
        words = [f"{name}={value}" for name, value in (*self.environment.items(), *self.reals.items())]
        shapes = [f"{name} {shape}" for name, shape in self.shapes.items()]
        without = [f"without {', '.join(self.absent)}"] if self.absent else []
        return f"{' '.join(words)}\n    {', '.join([*shapes, *without])}, seed {self.seed}"


def _shape(definition: Definition, name: str, environment: Mapping[str, int]) -> Shape:
    return tuple(environment[e] if isinstance(e, str) else e for e in definition.tensor(name).shape)


def work(operator: Operator, shapes: Mapping[str, Shape], integers: Mapping[str, int]) -> int:
    """How many points the reference would visit, at most."""
    extents = find_extents(operator, shapes, integers)
    return sum(prod(max(extents[i], 1) for i in _visited(s)) for s in operator.statements)


@lru_cache(1024)
def _visited(statement: Statement) -> frozenset[Index]:
    """The indices whose values a statement goes through."""
    bound = {i for r in statement.body.atoms(Reduce) for i in r.bound}
    free = {i for i in statement.target.free_symbols | statement.body.free_symbols if isinstance(i, Index)}
    return frozenset(bound | free)


def _integers(operator: Operator, definition: Definition, random: Random, names: list[str]) -> dict[str, int]:
    """Small on the whole; a few extents are larger, so that windows overlap, miss and leave tails, and tiles fill."""
    lengths = (1, 1, 2, 2, 3, 4, 5, 7) if len(names) < 5 else (1, 1, 1, 1, 2, 2, 3, 4)
    made = {name: random.choice(lengths) for name in names}
    extents = {i.name.upper() for i in operator.given}
    extents |= {
        t.size(axis).name for t in (s.target.tensor for s in operator.statements) for axis in range(8)
    }
    for p in definition.parameters:
        if not p.real:
            least = p.minimum or 0
            extra = (0, 1, 1, 2, 3, 4, 8) if p.name in extents else (0, 0, 0, 1, 1, 1, 2, 2, 3, 5)
            made[p.name] = max(least + random.choice(extra), int(p.name in extents))
    many = random.choice((0, 1, 1, 2, 3, 4))
    for name in random.sample(names, min(len(names), many)):
        made[name] = random.randint(3, 11 if many < 3 else 5)
    if names and random.random() < 0.2:  # long enough for several blocks of lanes
        made[random.choice(names)] = random.randint(12, 26)
    return made


def _long(operator: Operator, definition: Definition, random: Random, names: list[str]) -> dict[str, int]:
    """One extent so long that sums are cut into chains, everything else as small as can be."""
    given = {i.name.upper() for i in operator.given}
    made = {name: random.choice((1, 1, 1, 2)) for name in names}
    for p in definition.parameters:
        if not p.real:
            made[p.name] = max(p.minimum or 0, int(p.name in given))
    extents = [*names, *(p.name for p in definition.parameters if p.name in given)]
    for name in random.sample(extents, min(len(extents), random.choice((1, 1, 2)))):
        made[name] = random.randint(65, 300) if name in names else random.randint(12, 80)
    return made


def _larger(operator: Operator, definition: Definition, random: Random, names: list[str]) -> dict[str, int]:
    """As at random, and some extents two to four times as large."""
    made = _integers(operator, definition, random, names)
    given = {i.name.upper() for i in operator.given}
    extents = [name for name in made if name in names or name in given]
    for name in random.sample(extents, min(len(extents), random.choice((1, 2, 2, 3)))):
        made[name] = made[name] * random.choice((2, 2, 3, 4)) + random.choice((0, 1))
    return made


def _regular(operator: Operator, definition: Definition, random: Random, names: list[str]) -> dict[str, int]:
    """What networks are made of and small numbers at random hardly ever are: all multiples of one, nothing beside."""
    one = random.choice((2, 2, 3))
    made = {name: one * random.choice((1, 1, 2, 3, 4)) for name in names}
    extents = {i.name.upper() for i in operator.given}
    letters = dict[str, int]()  # the same on every axis
    for p in definition.parameters:
        if not p.real and p.name in extents:
            made[p.name] = one
        elif not p.real:
            letter, least = p.name.rstrip("0123456789"), p.minimum or 0
            made[p.name] = max(least, letters.setdefault(letter, random.choice((least, one)) if least else 0))
    return made


def _square(operator: Operator, definition: Definition, random: Random, names: list[str]) -> dict[str, int]:
    """As most layers of networks: the same on every axis, no stride and no dilation, margins, and windows of three.

    The first of each choice is what Hypothesis begins with: not one of everything, where a variance has no value.
    """
    extents = {i.name.upper() for i in operator.given}
    letters = dict[str, int]()

    def drawn(name: str, *among: int) -> int:
        return letters.setdefault(name.rstrip("0123456789"), random.choice(among))

    made = {name: drawn(name, 2, 2, 1, 3, 3, 3, 4) for name in names}
    for p in definition.parameters:
        if not p.real:
            made[p.name] = max(
                drawn(p.name, 1, 0, 1, 2) if not p.minimum else p.minimum, int(p.name in extents)
            )
    return made


def _allowed(definition: Definition, environment: Mapping[str, int]) -> bool:
    def value(e: str | int) -> int:
        return environment[e] if isinstance(e, str) else e

    if any(value(c.left) < value(c.right) for c in definition.conditions):
        return False
    return all(
        value(e) >= 0
        for t in definition.tensors
        for e in t.shape
        if not isinstance(e, str) or e in environment
    )


def sample(
    operator: Operator,
    definition: Definition,
    random: Random,
    *,
    zero: bool = False,
    larger: bool = False,
    largest: int = 1500,
) -> Configuration:
    """A configuration that the definition allows; with `zero`, one with an empty axis among its inputs; with `larger`,
    one beyond those that are drawn otherwise.

    Mostly the busiest of three, measured by points per input element: windows that overlap say more. Three in ten are
    as the layers of networks are, square or regular; one in twenty is long in one extent.
    """
    if larger and random.random() < 0.8:
        return _sample(operator, definition, random, zero, largest, _larger)[1]
    if not zero and random.random() < 0.35:
        (draw,) = random.choices((_square, _regular, _long), (4, 2, 1))
        try:
            return _sample(operator, definition, random, zero, largest, draw, REGULAR)[1]
        except LookupError:
            pass  # its conditions allow none
    chances = 1 if zero else random.choice((1, 3, 3))
    found = [_sample(operator, definition, random, zero, largest) for _ in range(chances)]
    return max(found, key=lambda pair: pair[0])[1]


def _sample(
    operator: Operator,
    definition: Definition,
    random: Random,
    zero: bool,
    largest: int,
    draw: Callable[..., dict[str, int]] = _integers,
    attempts: int = ATTEMPTS,
) -> tuple[float, Configuration]:
    parameters = {p.name for p in definition.parameters}
    takes = [name for name in signature(definition.sizes).parameters if name not in parameters]
    for _ in range(attempts):
        given = draw(operator, definition, random, takes)
        if zero and takes:
            given[random.choice(takes)] = 0
        made = configured(operator, definition, given, random, zero=zero, largest=largest)
        if made is not None:
            return made
    what = "with an empty axis " if zero else ""
    raise LookupError(f"{operator.name}: no configuration {what}found that its conditions allow")


def least(operator: Operator, definition: Definition) -> dict[str, int]:
    """The least value of each integer that a configuration is made of: no extent is 0."""
    extents = {i.name.upper() for i in operator.given}
    extents |= {t.size(k).name for t in (s.target.tensor for s in operator.statements) for k in range(8)}
    own = {p.name: max(p.minimum or 0, int(p.name in extents)) for p in definition.parameters if not p.real}
    return {name: own.get(name, 1) for name in signature(definition.sizes).parameters}


def configured(
    operator: Operator,
    definition: Definition,
    given: Mapping[str, int],
    random: Random,
    *,
    zero: bool = False,
    largest: int = 1500,
) -> tuple[float, Configuration] | None:
    """Points per element, and the configuration of these integers, if the definition allows it and it is not too large."""
    inputs = [definition.tensor(name) for name in definition.programs["forward"].inputs]
    environment = {
        **given,
        **definition.sizes(**{n: given[n] for n in signature(definition.sizes).parameters}),
    }
    if not _allowed(definition, environment):
        return None
    absent = tuple(t.name for t in inputs if t.optional and random.random() < 0.25)
    shapes = {t.name: _shape(definition, t.name, environment) for t in inputs if t.name not in absent}
    below = {t.name: environment[t.below] if t.below else 3 for t in inputs if t.integer}
    if any(below[name] < 1 and prod(shapes[name]) for name in below if name in shapes):
        return None
    if zero != any(0 in shape for shape in shapes.values()):
        return None
    integers = {p.name: environment[p.name] for p in definition.parameters if p.name in environment}
    points, elements = 0, sum(map(prod, shapes.values()))
    if not zero:
        if elements > largest:
            return None
        try:
            points = work(operator, shapes, integers)
        except SpecError as error:
            raise VerificationError(f"{operator.name}: {error}\n    at {environment}") from None
        if points > largest:
            return None
    reals = {
        p.name: random.choice(REALS) if p.default is None else Fraction(p.default)
        for p in definition.parameters
        if p.real
    }
    made = Configuration(integers, environment, shapes, absent, below, random.getrandbits(32), reals)
    return points / max(elements, 1), made


REALS = (
    Fraction(1, 2),
    Fraction(3, 2),
    Fraction(2),
    Fraction(5, 2),
    Fraction(3),
)  # not 1: there powers degenerate


def configurations(operator: Operator, definition: Definition, *, zero: bool = False) -> Any:
    """A Hypothesis strategy for the same."""
    return st.randoms(use_true_random=False).map(
        lambda random: sample(operator, definition, random, zero=zero)
    )


def styles(operator: Operator, random: Random) -> Iterator[str]:
    """Kinds of numbers to try, until the operator has a real value at them: general ones first."""
    bodies = [s.body for s in operator.statements]
    kinds = {r.kind for body in bodies for r in body.atoms(Reduce)}
    kinks = any(body.has(relu, step, maximum, minimum, sp.Abs, sp.sign, sp.Piecewise) for body in bodies)
    picks = bool(kinds & {"max", "min", "argmax", "argmin"}) or kinks
    if random.random() < (0.6 if picks else 0.2):
        yield "ties"
    yield from ("general", "positive", "unit")
