"""Runs that between them take every way there is: each task of a module, so many times, at configurations of its own.

A choice among tasks goes by sizes, strides and the tile, and some ways are hardly ever taken by numbers drawn at random.
What a run would take is seen without running it, so drawing is cheap: a draw is kept if it takes a task that has been
taken too seldom so far.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from random import Random
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from derive.errors import SpecError
from derive.language import Operator
from derive.numbers import RATIONALS, NotRational, OutsideDomain
from derive.verify.configuration import sample, styles
from derive.verify.running import DIGITS, LARGER, TILES, Arrays, Divided, Manner, Setting

if TYPE_CHECKING:
    from kernels.runtime import Definition

MANNERS = 12  # of memory, tile and program that are tried at each configuration
PATIENCE = 60  # draws without a new one, for each task, after which the rest is given up
LARGEST = 4000  # points of a run that is larger than those of the tests
FRUITLESS = 12  # runs that execute no line for the first time, after which what is left of them is


@dataclass(frozen=True)
class Draw:
    """One exact run of one program."""

    setting: Setting
    program: str
    wanted: tuple[str, ...]
    manner: Manner
    tasks: frozenset[str]  # that it runs
    phases: frozenset[str]  # in which it runs them, as program and number
    functions: frozenset[str] = frozenset()  # of the module that it ran, once it did
    lines: frozenset[int] = frozenset()

    def expected(self) -> Arrays:
        """The truth; OutsideDomain or NotRational if there is none in this setting's numbers."""
        return self.setting.expected(self.program)

    def found(self, definition: Any = None) -> Arrays:
        """What the module gives, or another definition of the same operator."""
        setting = self.setting if definition is None else replace(self.setting, definition=definition)
        return setting.exact(self.program, self.wanted, self.manner)


def tasks_of(definition: Definition) -> dict[str, set[str]]:
    """The tasks that each program may run."""
    return {
        name: {task.name for phase in program.every for task in phase.kernel.tasks}
        for name, program in definition.programs.items()
        if program.outputs
    }


def often(definition: Definition) -> int:
    """How many times each task runs in one check: the more, the fewer there are."""
    return max(2, 40 // max(1, len(set().union(*tasks_of(definition).values()))))


def file_of(definition: Definition) -> str:
    """Where the module of a definition is."""
    return str(definition.sizes.__code__.co_filename)


def lines_of(definition: Definition) -> dict[str, set[int]]:
    """The lines of the tasks that the module itself has; others are another module's."""
    file, found = file_of(definition), dict[str, set[int]]()
    for program in definition.programs.values():
        for task in (t for phase in program.every for t in phase.kernel.tasks):
            code = task.function.__code__
            if code.co_filename == file:
                found[task.name] = {line for *_, line in code.co_lines() if line} - {code.co_firstlineno}
    return found


@contextmanager
def executed(file: str) -> Iterator[tuple[set[str], set[int]]]:
    """The functions and the lines of a file that run."""
    functions, lines = set[str](), set[int]()
    known = dict[CodeType, bool]()

    def local(frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            lines.add(frame.f_lineno)
        return local

    def trace(frame: FrameType, event: str, _: object) -> Any:
        code = frame.f_code
        if not known.setdefault(code, code.co_filename == file):
            return None
        functions.add(code.co_name)
        return local

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield functions, lines
    finally:
        sys.settrace(before)


def ways(
    operator: Operator,
    definition: Definition,
    random: Random,
    each: int,
    only: Collection[str] | None = None,
    *,
    patience: int = PATIENCE,
    fruitless: int = FRUITLESS,
    largest: int = 1500,
) -> Iterator[tuple[Draw, Arrays, Arrays]]:
    """Runs until every task has run `each` times, every phase once, and then every line, or what is left seems to be
    out of reach.

    With each draw the truth, and what was found. A draw without a value does not count.

    only        of these tasks, and whatever phase
    patience    draws without a new task, for each that is left
    fruitless   runs without a new line
    largest     points and elements of a run
    """
    tasks = {p: names if only is None else names & set(only) for p, names in tasks_of(definition).items()}
    left = Counter({name: each for names in tasks.values() for name in names})
    for name in tasks if only is None else ():
        program = definition.programs[name]
        joined = {number for joint in program.joints for number in joint.of}
        left.update({f"{name} {n}": 1 for n in range(len(program.phases)) if n not in joined})
    lines = {
        n: found for n, found in lines_of(definition).items() if any(n in names for names in tasks.values())
    }
    missed = 0
    while missed < patience * len(left):
        lacking = {key for key, count in left.items() if count > 0}
        programs = [p for p in tasks if tasks[p] & lacking or any(key.startswith(f"{p} ") for key in lacking)]
        if not programs:
            break
        try:
            configuration = sample(operator, definition, random, largest=largest)
        except LookupError:
            return
        setting = Setting(operator, definition, configuration, next(iter(styles(operator, random))))
        for _ in range(MANNERS):
            draw = _drawn(setting, random, random.choice(programs))
            made = None
            if draw is not None and (draw.tasks | draw.phases) & lacking:
                made = _valued(draw, random)
            if made is None:
                missed += 1
                continue
            missed = 0
            left.subtract([*made[0].tasks, *made[0].phases])
            for found in lines.values():
                found -= made[0].lines
            yield made
            break  # the next one at another configuration
    yield from _lines(operator, definition, random, tasks, lines, patience, fruitless, largest)


def _lines(
    operator: Operator,
    definition: Definition,
    random: Random,
    tasks: dict[str, set[str]],
    lines: dict[str, set[int]],
    patience: int,
    fruitless: int,
    largest: int,
) -> Iterator[tuple[Draw, Arrays, Arrays]]:
    """Runs that execute lines that have not been executed: taken out of `lines`, which is by task."""
    missed = useless = 0
    while useless < fruitless and missed < patience * max(1, len(lines)):
        lacking = {name for name, found in lines.items() if found}
        programs = [p for p in tasks if tasks[p] & lacking]
        if not programs:
            return
        try:
            configuration = sample(operator, definition, random, largest=largest)
        except LookupError:
            return
        setting = Setting(operator, definition, configuration, next(iter(styles(operator, random))))
        for _ in range(MANNERS):
            draw = _drawn(setting, random, random.choice(programs))
            if draw is None or not draw.tasks & lacking:
                missed += 1
                continue
            missed = 0
            made = _valued(draw, random) if _adds(draw, lines) else None
            if made is None:
                useless += 1
                break
            useless = 0
            for found in lines.values():
                found -= made[0].lines
            yield made
            break


def _adds(draw: Draw, lines: dict[str, set[int]]) -> bool:
    """Does it execute some of these lines? Without the truth, which costs more than to run it does."""
    with executed(file_of(draw.setting.definition)) as (_, ran), suppress(NotRational, Divided):
        draw.found()
    return any(found & ran for found in lines.values())


def larger(
    operator: Operator, definition: Definition, random: Random, tasks: Collection[str]
) -> Iterator[tuple[Draw, Arrays, Arrays] | None]:
    """Runs that take some of these tasks, without end: of larger extents, other tiles and vectors than the tests
    take, and on whole numbers of forty bits as often as not. None in place of an attempt that came to nothing.
    """
    of = tasks_of(definition)
    programs = [p for p in of if of[p] & set(tasks)]
    while programs:
        configuration = sample(operator, definition, random, larger=True, largest=LARGEST)
        style = "wide" if random.random() < 0.5 else next(iter(styles(operator, random)))
        setting = Setting(operator, definition, configuration, style)
        draws = (_drawn(setting, random, random.choice(programs), LARGER) for _ in range(MANNERS))
        draw = next((d for d in draws if d is not None and d.tasks & set(tasks)), None)
        yield _valued(draw, random) if draw is not None else None


def _drawn(
    setting: Setting, random: Random, program: str, tiles: Sequence[tuple[int, ...]] = TILES
) -> Draw | None:
    wanted, manner = setting.outputs(program), Manner.drawn(random, tiles)
    if len(wanted) > 1 and random.random() < 0.3:
        wanted = [random.choice(wanted)]
    if not wanted:
        return None
    runs = setting.tasks(program, wanted, manner)
    tasks, phases = frozenset(task for _, task in runs), frozenset(f"{program} {n}" for n, _ in runs)
    return Draw(setting, program, tuple(wanted), manner, tasks, phases)


def _valued(draw: Draw, random: Random) -> tuple[Draw, Arrays, Arrays] | None:
    """The draw in the first style and field of numbers that give it a value, the truth, and what was found.

    As `settle` does, it raises Divided if the emitted program divided by zero wherever the equations have a value.
    """
    divided: Divided | None = None
    for style in dict.fromkeys((draw.setting.style, *styles(draw.setting.operator, random))):
        for field in (RATIONALS, DIGITS) if style != "wide" else (RATIONALS,):
            tried = replace(draw, setting=replace(draw.setting, style=style, field=field))
            try:
                # in this order: an emitted formula may leave the fractions where the equations do not
                expected = tried.expected()
                with executed(file_of(draw.setting.definition)) as (functions, lines):
                    found = tried.found()
                return replace(tried, functions=frozenset(functions), lines=frozenset(lines)), expected, found
            except NotRational:
                continue
            except Divided as error:
                divided = error
                break
            except (OutsideDomain, ZeroDivisionError, SpecError):
                break
    if divided is not None:
        raise divided
    return None


__all__ = ["Draw", "executed", "file_of", "larger", "lines_of", "often", "tasks_of", "ways"]
