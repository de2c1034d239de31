"""Runs that between them take every way there is: each task of a module, so many times, at configurations of its own.

A choice among tasks goes by sizes, strides and the tile, and some ways are hardly ever taken by numbers drawn at random.
What a run would take is seen without running it, so drawing is cheap: a draw is kept if it takes a task that has been
taken too seldom so far.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any

from derive.errors import SpecError
from derive.language import Operator
from derive.numbers import RATIONALS, NotRational, OutsideDomain
from derive.verify.configuration import sample, styles
from derive.verify.running import DIGITS, Arrays, Divided, Manner, Setting

if TYPE_CHECKING:
    from kernels.runtime import Definition

MANNERS = 12  # of memory, tile and program that are tried at each configuration
PATIENCE = 60  # draws without a new one, for each task, after which the rest is given up


@dataclass(frozen=True)
class Draw:
    """One exact run of one program."""

    setting: Setting
    program: str
    wanted: tuple[str, ...]
    manner: Manner
    tasks: frozenset[str]  # that it runs
    phases: frozenset[str]  # in which it runs them, as program and number

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


def ways(
    operator: Operator, definition: Definition, random: Random, each: int
) -> Iterator[tuple[Draw, Arrays, Arrays]]:
    """Runs until every task has run `each` times, and every phase once, or what is left seems to be out of reach.

    With each draw the truth, and what was found. A draw without a value does not count.
    """
    tasks = tasks_of(definition)
    left = Counter({name: each for names in tasks.values() for name in names})
    for name in tasks:
        program = definition.programs[name]
        joined = {number for joint in program.joints for number in joint.of}
        left.update({f"{name} {n}": 1 for n in range(len(program.phases)) if n not in joined})
    missed = 0
    while missed < PATIENCE * len(left):
        try:
            configuration = sample(operator, definition, random)
        except LookupError:
            return
        setting = Setting(operator, definition, configuration, next(iter(styles(operator, random))))
        for _ in range(MANNERS):
            lacking = {key for key, count in left.items() if count > 0}
            programs = [
                p for p in tasks if tasks[p] & lacking or any(key.startswith(f"{p} ") for key in lacking)
            ]
            if not programs:
                return
            draw = _drawn(setting, random, random.choice(programs))
            made = None
            if draw is not None and (draw.tasks | draw.phases) & lacking:
                made = _valued(draw, random)
            if made is None:
                missed += 1
                continue
            missed = 0
            left.subtract([*made[0].tasks, *made[0].phases])
            yield made
            break  # the next one at another configuration


def _drawn(setting: Setting, random: Random, program: str) -> Draw | None:
    wanted, manner = setting.outputs(program), Manner.drawn(random)
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
        for field in (RATIONALS, DIGITS):
            tried = replace(draw, setting=replace(draw.setting, style=style, field=field))
            try:
                # in this order: an emitted formula may leave the fractions where the equations do not
                return tried, tried.expected(), tried.found()
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


__all__ = ["Draw", "often", "tasks_of", "ways"]
