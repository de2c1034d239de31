"""Runs that between them take every way there is: each task of a module, so many times, at configurations of its own.

A choice among tasks goes by sizes, strides and the tile, and some ways are hardly ever taken by numbers drawn at random.
What a run would take is seen without running it, so drawing is cheap: a draw is kept if it takes a task that has been
taken too seldom so far.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING

from derive.language import Operator
from derive.numbers import NotRational
from derive.verify.aimed import LINES, THOROUGH, WAYS, Aim, Reach
from derive.verify.configuration import sample, styles
from derive.verify.draws import Draw, drawn, lines_of, often, tasks_of, valued
from derive.verify.executed import executed, file_of
from derive.verify.running import LARGER, Arrays, Divided, Setting

if TYPE_CHECKING:
    from kernels.runtime import Definition

MANNERS = 12  # of memory, tile and program that are tried at each configuration
PATIENCE = 60  # draws without a new one, for each task, after which the rest is given up
LARGEST = 4000  # points of a run that is larger than those of the tests
FRUITLESS = 12  # runs that execute no line for the first time, after which what is left of them is


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
    reach: Reach = WAYS,
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
    aim = Aim(operator, definition, random, [p for p in tasks if tasks[p]], only, largest, reach=reach)
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
            draw = drawn(setting, random, random.choice(programs))
            made = None
            if draw is not None and (draw.tasks | draw.phases) & lacking:
                made = valued(draw, random)
            if made is None:
                missed += 1
                continue
            missed = 0
            left.subtract([*made[0].tasks, *made[0].phases])
            for found in lines.values():
                found -= made[0].lines
            aim.met(made[0])
            yield made
            break  # the next one at another configuration
    vain = 0
    while aim.programs and aim.control.functions and vain < reach.batches:
        vain += 1
        for candidate in aim.batch():
            made = valued(candidate.draw, random)
            if made is None:
                aim.failed(candidate)
                continue
            vain = 0
            aim.add(candidate)
            for found in lines.values():
                found -= made[0].lines
            yield made
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
            draw = drawn(setting, random, random.choice(programs))
            if draw is None or not draw.tasks & lacking:
                missed += 1
                continue
            missed = 0
            made = valued(draw, random) if _adds(draw, lines) else None
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
    with executed(draw.setting.definition) as (_, ran), suppress(NotRational, Divided):
        draw.found()
    return any(found & ran for found in lines.values())


def larger(
    operator: Operator, definition: Definition, random: Random
) -> Callable[
    [Collection[int], Collection[str], Sequence[Draw]], Iterator[tuple[Draw, Arrays, Arrays] | None]
]:
    """Runs that come to some lines of some tasks, without end: of larger extents, other tiles and vectors than the tests
    take, neighbours of draws that are known to come there. None in place of an attempt that came to nothing.
    """
    programs = list(tasks_of(definition))
    aim = Aim(operator, definition, random, programs, largest=LARGEST, tiles=LARGER)

    def of(
        lines: Collection[int], tasks: Collection[str], known: Sequence[Draw]
    ) -> Iterator[tuple[Draw, Arrays, Arrays] | None]:
        for draw in aim.larger(lines, tasks, known):
            yield valued(draw, random) if draw is not None else None

    return of


__all__ = [
    "LINES",
    "THOROUGH",
    "WAYS",
    "Draw",
    "Reach",
    "executed",
    "file_of",
    "larger",
    "lines_of",
    "often",
    "tasks_of",
    "ways",
]
