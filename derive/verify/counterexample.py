"""A wrong element, shown so that one sees why: which arguments feed it, and which line of a kernel wrote it.

    y[0,1,2] of forward        x[0,0,:]
    . . X                      . . # # #

An argument's element feeds the wrong one if the equations give another value there once that element is changed: seen by
trying, element by element, so it says nothing of how the kernel comes to its value. `#` feeds it; of the result `X` is the
element, `x` are others that are wrong, and dots are right.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from derive.errors import VerificationError
from derive.reference import Array
from derive.verify.running import DIGITS, Manner, Setting

MOST = 600  # elements of arguments that are tried
PLANES = 4  # of each tensor that are drawn as text
MANNERS = (Manner((2, 2, 2), 1, 0, False), Manner((4, 2, 2), 2, 1, False), Manner((32, 2, 1), 1, 2, False))
MARKS = {0: ".", 1: "#", 2: "x", 3: "X"}
Place = tuple[int, ...]


@dataclass(frozen=True)
class Source:
    """What wrote the element, when the source was run as plain Python."""

    file: str
    line: int
    kernel: str

    def __str__(self) -> str:
        text = linecache.getline(self.file, self.line).strip()
        return f"{Path(self.file).name}:{self.line}, in {self.kernel}:  {text}"


@dataclass(frozen=True)
class Counterexample:
    """One element of one program's result at one configuration."""

    setting: Setting
    program: str
    name: str
    at: Place
    manner: Manner | None = None  # of the exact run that showed it

    @property
    def size(self) -> int:
        """How much there is to look at: elements of the arguments, and the integers."""
        arrays = [a for a in self.setting.arguments(self.program).values() if a is not None]
        return sum(a.size for a in arrays) * 100 + sum(map(abs, self.setting.configuration.integers.values()))

    @property
    def where(self) -> str:
        return f"{self.name}[{','.join(map(str, self.at))}]"

    # ---- what feeds it

    @cached_property
    def feeding(self) -> Mapping[str, Array]:
        """Of each argument, which elements the wrong one depends on here; of none if there are too many to try."""
        setting, arguments = self.setting, self.setting.arguments(self.program)
        real = {
            name: a
            for name, a in arguments.items()
            if a is not None and not setting.definition.tensor(name).integer and name not in setting.dropped
        }
        if sum(a.size for a in real.values()) > MOST:
            return {}
        here = self.true(setting)
        found = {}
        for name, array in real.items():
            feeds = np.zeros(array.shape, int)
            for place in np.ndindex(array.shape):
                feeds[place] = any(self.true(setting, name, place, step) != here for step in STEPS)
            found[name] = feeds
        return found

    def true(self, setting: Setting, name: str = "", place: Place = (), step: Fraction = Fraction(0)) -> Any:
        """The element's true value, with one element of an argument moved; None where the equations have none."""
        changed = {}
        if name:
            moved = np.array(setting.arguments(self.program)[name], object)
            moved[place] += step
            changed[name] = moved
        try:
            value = setting.truth(self.program, **changed)[self.name][self.at]
        except (ArithmeticError, ValueError):
            return None
        return None if value != value else value

    # ---- what wrote it

    @cached_property
    def run(self) -> tuple[Array, Source | None] | None:
        """Which elements of the result are wrong (2; 3 the one) when the source runs exactly, and what wrote that one.

        None if the source is right in the manner that showed it, or in each of three if none did: then what compiles it
        is to blame, or the number of tasks, or rounding.
        """
        try:
            truth = self.setting.truth(self.program)[self.name]
        except (ArithmeticError, ValueError):
            return None
        for manner in MANNERS if self.manner is None else (self.manner,):
            lines: dict[Place, tuple[str, int]] = {}
            try:
                found = self.setting.exact(self.program, (self.name,), manner, {self.name: lines})[self.name]
            except Exception:  # whatever keeps it from running, the error that is being shown matters more
                continue
            wrong = np.zeros(truth.shape, int)
            for place in np.ndindex(truth.shape):
                wrong[place] = 2 * (not alike(found[place], truth[place]))
            if wrong[self.at]:
                wrong[self.at] = 3
                return wrong, self.source(*lines[self.at]) if self.at in lines else None
        return None

    def source(self, file: str, line: int) -> Source:
        """The kernel that a line belongs to."""
        text = linecache.getlines(file)
        above = next((t for t in reversed(text[:line]) if t.startswith("def ")), "def ?(")
        return Source(file, line, above[4 : above.index("(")])

    # ---- shown

    def panels(self) -> Iterator[tuple[str, Array]]:
        """(title, marks) of each plane that has something to show: of the result, then of the arguments."""
        alone = np.zeros(self.setting.shape(self.name), int)
        alone[self.at] = 3
        yield from planes(self.name, self.run[0] if self.run is not None else alone)
        for name, feeds in self.feeding.items():
            yield from planes(name, feeds)

    def text(self) -> str:
        """The picture in letters, and the line that wrote the element."""
        lines = []
        if self.run is None:
            lines.append(
                f"the source that was emitted gives {self.where} right when it runs over exact numbers: look at"
            )
            lines.append("what compiles it, at rounding, at the number of tasks")
        elif self.run[1] is not None:
            lines.append(f"{self.where} was written by {self.run[1]}")
        else:
            lines.append(f"no line of a kernel wrote {self.where}: it is what the tensor began with")
        if not self.feeding:
            lines.append(f"what feeds it is not shown: more than {MOST} elements, or none")
        shown: dict[str, int] = {}
        for title, marks in self.panels():
            name = title.partition("[")[0]
            shown[name] = shown.get(name, 0) + 1
            if shown[name] > PLANES:
                continue
            lines.append(f"{title}")
            lines += ["    " + " ".join(MARKS[int(m)] for m in row) for row in np.atleast_2d(marks)]
        more = [f"{count - PLANES} more of {name}" for name, count in shown.items() if count > PLANES]
        lines += [f"(and {', '.join(more)})"] * bool(more)
        lines.append("# feeds it, X is the element, x are other wrong ones")
        return "\n".join("    " + line for line in lines)

    def draw(self, path: str | Path) -> None:
        """The same as a picture (PNG, or what the name ends with); needs matplotlib."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
        from matplotlib.colors import ListedColormap

        panels = list(self.panels())[:12]
        columns = min(4, len(panels))
        rows = -(-len(panels) // columns)
        figure, axes = pyplot.subplots(
            rows, columns, figsize=(3.2 * columns, 3.0 * rows + 0.8), squeeze=False
        )
        colours = ListedColormap(["#f2f2f2", "#3b75af", "#f0a35e", "#c1272d"])
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, (title, marks) in zip(axes.flat, panels, strict=False):
            grid = np.atleast_2d(marks)
            axis.set_axis_on()
            axis.imshow(grid, cmap=colours, vmin=0, vmax=3)
            axis.set_title(title, fontsize=9, family="monospace")
            axis.set_xticks(np.arange(-0.5, grid.shape[1]), [])
            axis.set_yticks(np.arange(-0.5, grid.shape[0]), [])
            axis.tick_params(length=0)
            axis.grid(color="white", linewidth=1.5)
        source = self.run[1] if self.run is not None else None
        written = f"\n{source}" if source is not None else ""
        figure.suptitle(
            f"{self.setting.operator.name}: {self.where} of {self.program} (red), and what feeds it (blue){written}",
            fontsize=9,
        )
        figure.tight_layout()
        figure.savefig(path, dpi=120)
        pyplot.close(figure)


STEPS = (Fraction(3, 7), Fraction(-5, 11), Fraction(101), Fraction(-103))  # small, and past any other element


def alike(value: Any, truth: Any) -> bool:
    """Equal, or to forty digits where numbers are not exact."""
    if type(value).__name__ == "Infinity":
        value = value.sign * float("inf")
    if value == truth or (value != value and truth != truth):
        return True
    if isinstance(value, (int, Fraction)) or value != value or truth != truth:
        return False
    return bool(abs(value - truth) <= DIGITS.number(Fraction(1, 10**40)) * max(1, abs(truth)))


def planes(name: str, marks: Array) -> Iterator[tuple[str, Array]]:
    """The planes of the last two axes in which something is marked, each with its title: x[0,1,:,:]."""
    if marks.ndim <= 2:
        if marks.any():
            yield f"{name}[{','.join(':' * marks.ndim)}]", marks
        return
    for lead in np.ndindex(marks.shape[:-2]):
        if marks[lead].any():
            yield f"{name}[{','.join(map(str, lead))},:,:]", marks[lead]


def explained(error: VerificationError) -> VerificationError:
    """The error with its counterexample's picture."""
    if error.counterexample is None:
        return error
    more = VerificationError(f"{error}\n{error.counterexample.text()}")
    more.counterexample = error.counterexample
    return more


__all__ = ["Counterexample", "Source", "explained"]
