"""One configuration of one operator: arguments of every program, true results, and what kernels make of them.

    forward   inputs                      -> outputs
    vjp       inputs, g<out>              -> g<in>
    jvp       inputs, t<in>               -> t<out>
    vjp_vjp   inputs, g<out>, hg<in>      -> h<in>, hg<out>
    vjp_jvp   inputs, g<out>, t<in>, tg<out> -> tg<in>

This is the only module here that runs kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from random import Random
from typing import Any, TypeVar

import mpmath
import numpy as np

from derive.errors import SpecError, VerificationError
from derive.language import Operator
from derive.numbers import RATIONALS, Decimals, Field, NotRational, OutsideDomain
from derive.reference import Array, Case, reference_jvp, reference_vjp, reference_vjp_jvp, reference_vjp_vjp
from derive.verify.configuration import Configuration, sample, styles
from derive.verify.rational import Rational
from kernels.runtime import Definition, Lanes, Tile, exact_tasks, execute, execute_exact
from kernels.runtime import NotRational as KernelNotRational

PROGRAMS = ("forward", "vjp", "jvp", "vjp_vjp", "vjp_jvp")
DIGITS = Decimals(60)
CONFIGURATIONS = 60  # how many to try, until one has a value
AGREE = Fraction(1, 10**40)  # how near two values of 60 digits and more have to be
# lanes, rows, vectors: small, so that every edge occurs; wide ones leave short axes to plain loops
TILES = (*3 * ((2, 2, 2),), (2, 3, 1), *3 * ((4, 2, 2),), (32, 2, 1))
# the same and how much is worked on at a time: other ones, for who asks whether two kernels are the same
LARGER = ((4, 3, 4, 10, 9, 5), (8, 4, 2, 7, 5, 2), (4, 6, 1, 12, 5, 4), (64, 3, 2, 5, 8, 3))
Arrays = dict[str, Array]
T = TypeVar("T")


class Divided(VerificationError):
    """An emitted program divided by zero where the equations have a value."""


@dataclass(frozen=True)
class Manner:
    """How an exact run goes about it: its tile, tasks and memory."""

    shape: tuple[int, ...]  # of the tile: lanes, rows, vectors, and how much is worked on at a time
    tasks: int
    seed: int
    gaps: bool

    @classmethod
    def drawn(cls, random: Random, tiles: Sequence[tuple[int, ...]] = TILES) -> Manner:
        return cls(random.choice(tiles), random.randint(1, 4), random.getrandbits(16), random.random() < 0.5)

    def tile_of(self, number: Callable[[Any], Any]) -> Tile:
        width, *rest = self.shape
        return Tile(Lanes(width, number), *rest)


@dataclass(frozen=True)
class Setting:
    """An operator and its definition at one configuration, in one style of numbers."""

    operator: Operator
    definition: Definition
    configuration: Configuration
    style: str
    field: Field = RATIONALS
    dyadic: bool = False
    dropped: tuple[str, ...] = ()  # cotangents and tangents that are left out and count as zero

    shapes: tuple[
        tuple[str, tuple[int, ...]], ...
    ] = ()  # of written tensors, where they are not to be worked out

    @property
    def case(self) -> Case:
        case = self.configuration.case(self.operator, self.style, self.field, self.dyadic)
        return replace(case, shapes=dict(self.shapes))

    def claiming_shapes(self) -> Setting:
        """With the shapes of written tensors that the definition says, not those of the laws."""
        known = {t.name for t in self.definition.tensors}
        written = dict.fromkeys(s.target.tensor.name for s in self.operator.statements)
        return replace(self, shapes=tuple((name, self.shape(name)) for name in written if name in known))

    def vector(self, name: str, like: str) -> Array:
        """A cotangent, tangent or direction: its numbers follow from its name."""
        shape = self.shape(like)
        if name in self.dropped:
            return np.full(shape, Fraction(0), object)
        return self.configuration.numbers(
            name, shape, "apart" if self.style == "apart" else "general", self.dyadic
        )

    def shape(self, name: str) -> tuple[int, ...]:
        environment = self.configuration.environment
        return tuple(environment[e] if isinstance(e, str) else e for e in self.definition.tensor(name).shape)

    def vectors(self, prefix: str, of: Iterable[str]) -> Arrays:
        return {name: self.vector(f"{prefix}{name}", name) for name in of}

    def arguments(self, program: str) -> dict[str, Array | None]:
        """Every input of a program by name; None where it is absent."""
        case = self.case
        outs, ins = case.real_outputs(), case.wrt()
        made: dict[str, Array | None] = dict(case.inputs)
        for prefix, names in (("g", outs), ("t", ins), ("hg", ins), ("tg", outs)):
            made |= {prefix + name: value for name, value in self.vectors(prefix, names).items()}
        made |= dict.fromkeys(self.dropped)
        return {name: made.get(name) for name in self.definition.programs[program].inputs}

    def outputs(self, program: str) -> list[str]:
        """What a program can be asked for here: nothing of an absent input."""
        absent = {f"{prefix}{name}" for name in self.configuration.absent for prefix in ("g", "h", "tg")}
        return [name for name in self.definition.programs[program].outputs if name not in absent]

    def expected(self, program: str) -> Arrays:
        """The truth, from the equations; OutsideDomain if it is none."""
        truth = self.truth(program)
        if any(v != v for a in truth.values() for v in a.flat):
            raise OutsideDomain(f"{program} is NaN somewhere")
        return truth

    def truth(self, program: str, **changed: Array) -> Arrays:
        """What the equations give, NaN and all; with some of the arguments changed."""
        case = self.case
        case = replace(case, inputs={name: changed.get(name, a) for name, a in case.inputs.items()})
        outs, ins = case.real_outputs(), case.wrt()

        def vectors(prefix: str, of: Iterable[str]) -> Arrays:
            return {name: changed.get(prefix + name, a) for name, a in self.vectors(prefix, of).items()}

        match program:
            case "forward":
                found = case.run()
                return {name: found[name] for name in self.definition.programs["forward"].outputs}
            case "vjp":
                return named("g", reference_vjp(case, vectors("g", outs)))
            case "jvp":
                return named("t", reference_jvp(case, vectors("t", ins)))
            case "vjp_vjp":
                inner, outer = reference_vjp_vjp(case, vectors("g", outs), vectors("hg", ins))
                return named("h", inner) | named("hg", outer)
            case _:
                moved = reference_vjp_jvp(case, vectors("g", outs), vectors("t", ins), vectors("tg", outs))
                return named("tg", moved)

    def exact(
        self,
        program: str,
        wanted: Collection[str],
        manner: Manner,
        written: Mapping[str, dict[tuple[int, ...], tuple[str, int]]] | None = None,
        **changed: Array,
    ) -> Arrays:
        """Emitted source as plain Python: tiny tiles, tasks in random order, targets with gaps in between.

        Into `written` go the lines of kernels that wrote the elements of the tensors that it names.
        """
        given = self.arguments(program) | changed
        number = Rational if self.field is RATIONALS else self.field.number
        arrays = {name: _each(number, Fraction, a) for name, a in given.items() if a is not None}
        reals = {name: number(v) for name, v in self.configuration.reals.items()}
        try:
            found = execute_exact(
                self.definition,
                program,
                arrays,
                self.configuration.environment,
                reals,
                tuple(wanted),
                number,
                tasks=manner.tasks,
                seed=manner.seed,
                gaps=manner.gaps,
                tile=manner.tile_of(number),
                written=written,
            )
        except KernelNotRational as error:
            raise NotRational(str(error)) from None
        except NotRational:  # of the numbers themselves
            raise
        except Exception as error:
            if self.field.exact and "Infinity" in str(error):
                raise NotRational("a maximum over nothing is no fraction") from None
            text = f"{self.operator.name}: running {program} exactly: {type(error).__name__}: {error}\n{self}"
            raise (Divided if isinstance(error, ZeroDivisionError) else VerificationError)(text) from error
        return {name: _each(Rational.fraction, Rational, a) for name, a in found.items()}

    def tasks(
        self,
        program: str,
        wanted: Collection[str],
        manner: Manner,
        told: Callable[[str, Sequence[Any]], None] | None = None,
    ) -> set[tuple[int, str]]:
        """Phases' numbers and tasks' names that an exact run would run; `told` learns of each what it would be given."""
        gone = {prefix + name for name in self.configuration.absent for prefix in ("", "g", "t", "hg", "tg")}
        gone.update(self.dropped)
        present = [name for name in self.definition.programs[program].inputs if name not in gone]
        environment, reals = self.configuration.environment, self.configuration.reals
        return exact_tasks(
            self.definition, program, present, environment, reals, tuple(wanted), manner.tile_of(Fraction),
            manner.seed, gaps=manner.gaps, tasks=manner.tasks, told=told,
        )  # fmt: skip

    def converted(self, array: Array) -> Array:
        return _each(self.field.number, Fraction, array)

    def compiled(
        self,
        program: str,
        dtype: Any,
        wanted: Collection[str],
        *,
        given: Mapping[str, Array] | None = None,
        out: Mapping[str, Array] | None = None,
        tasks: int | None = None,
    ) -> Arrays:
        """Emitted source compiled; `given` replaces arguments."""
        arrays = {**self.arrays(program, dtype), **(given or {})}
        reals = {name: float(v) for name, v in self.configuration.reals.items()}
        environment = self.configuration.environment
        return execute(
            self.definition, program, arrays, environment, reals, tuple(wanted), out, dtype, tasks=tasks
        )

    def arrays(self, program: str, dtype: Any) -> Arrays:
        """The arguments that are present, for compiled code."""
        given = {name: a for name, a in self.arguments(program).items() if a is not None}
        return {name: a.astype(dtype) if a.dtype == object else a for name, a in given.items()}

    def whole(self) -> Setting:
        """With nothing left out."""
        return replace(self, dropped=())

    def over(self, field: Field) -> Setting:
        """The same numbers in another field."""
        return replace(self, field=field)

    def __str__(self) -> str:
        without = f", without {', '.join(self.dropped)}" if self.dropped else ""
        lines = [f"    {self.configuration}", f"    {self.style} values{without}"]
        for name, array in self.case.inputs.items():
            if 0 < array.size <= 12:
                lines.append(f"    {name} = {_text(array)}")
        return "\n".join(lines)


def named(prefix: str, arrays: Mapping[str, Array]) -> Arrays:
    return {prefix + name: array for name, array in arrays.items()}


def _each(made: Callable[[Any], Any], kind: type, array: Array) -> Array:
    """The array with each number of a kind made into another."""
    if array.dtype != object:
        return array
    values = (made(value) if isinstance(value, kind) else value for value in array.flat)
    return np.fromiter(values, object, array.size).reshape(array.shape)


def shown(value: Any) -> str:
    """A number for people."""
    return mpmath.nstr(value, 20) if isinstance(value, mpmath.mpf) or hasattr(value, "_mpf_") else str(value)


def _text(array: Array) -> str:
    return str(np.vectorize(shown, otypes=[object])(array).tolist()).replace("'", "")


def settle(
    operator: Operator,
    definition: Definition,
    random: Random,
    attempt: Callable[[Setting], T],
    *,
    kinds: Iterable[str] | None = None,
    dyadic: bool = False,
    zero: bool = False,
) -> tuple[Setting, T]:
    """Make the attempt where the operator has a value: over fractions if they will do.

    An emitted formula may divide by zero at a point where the equations do not (0 * 0**(u - 1) at u = 1);
    one that does so whatever the numbers is wrong.
    """
    wanted = tuple(kinds or styles(operator, random))
    for _ in range(CONFIGURATIONS):
        configuration = sample(operator, definition, random, zero=zero)
        dropped = left_out(operator, configuration, random)
        divided: Divided | None = None
        for style in wanted:
            for field in (RATIONALS, DIGITS):
                setting = Setting(operator, definition, configuration, style, field, dyadic, dropped)
                try:
                    return setting, attempt(setting)
                except NotRational:
                    continue
                except Divided as error:
                    divided = error
                    break
                except (OutsideDomain, ZeroDivisionError):
                    break
                except SpecError:
                    if not zero:  # with an empty window a law gives no extent
                        raise
                    break
        if divided is not None:
            raise divided
    raise LookupError(f"{operator.name}: has no value at any of the numbers tried\n    {configuration}")


def left_out(operator: Operator, configuration: Configuration, random: Random) -> tuple[str, ...]:
    """In a while some cotangents and some tangents are left out, but not all of a kind."""
    outs = [t.name for t in operator.outputs if not t.integer]
    ins = [t.name for t in operator.inputs if not t.integer and t.name in configuration.shapes]
    gone = []
    for prefix, names in (("g", outs), ("t", ins), ("hg", ins), ("tg", outs)):
        if len(names) > 1 and random.random() < 0.25:
            gone += [prefix + name for name in random.sample(names, random.randint(1, len(names) - 1))]
    return tuple(gone)
