"""One exact run of one program: drawn, seen from its layout, and run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any

from derive.errors import SpecError
from derive.numbers import RATIONALS, Field, NotRational, OutsideDomain
from derive.verify.configuration import styles
from derive.verify.executed import executed, file_of
from derive.verify.running import DIGITS, TILES, Arrays, Divided, Manner, Setting

if TYPE_CHECKING:
    from kernels.runtime import Definition


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

    def over(self, field: Field) -> Draw:
        """The same in other numbers."""
        return replace(self, setting=self.setting.over(field))

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


def lines_of(definition: Definition) -> dict[str, set[int]]:
    """The lines of the tasks that the module itself has; others are another module's."""
    file, found = file_of(definition), dict[str, set[int]]()
    for program in definition.programs.values():
        for task in (t for phase in program.every for t in phase.kernel.tasks):
            code = task.function.__code__
            if code.co_filename == file:
                found[task.name] = {line for *_, line in code.co_lines() if line} - {code.co_firstlineno}
    return found


def drawn(
    setting: Setting,
    random: Random,
    program: str,
    tiles: Sequence[tuple[int, ...]] = TILES,
    manner: Manner | None = None,
) -> Draw | None:
    """A draw of one program, in some manner; None if there is nothing to be wanted of it."""
    wanted, manner = setting.outputs(program), manner or Manner.drawn(random, tiles)
    if len(wanted) > 1 and random.random() < 0.3:
        wanted = [random.choice(wanted)]
    if not wanted:
        return None
    runs = setting.tasks(program, wanted, manner)
    tasks, phases = frozenset(task for _, task in runs), frozenset(f"{program} {n}" for n, _ in runs)
    return Draw(setting, program, tuple(wanted), manner, tasks, phases)


def valued(draw: Draw, random: Random) -> tuple[Draw, Arrays, Arrays] | None:
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
                with executed(draw.setting.definition) as (functions, lines):
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


__all__ = ["Draw", "drawn", "lines_of", "often", "tasks_of", "valued"]
