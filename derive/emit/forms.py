"""The ways that an equation has in lanes, each with what its writer writes of it, and the tests that say when it is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from derive.emit.contraction import FEW
from derive.emit.inplace import CLASS
from derive.emit.separable import FAR
from derive.emit.vectors import NoVector
from derive.lower.contraction import Contraction
from derive.lower.lanes import Lanes
from derive.lower.slide import Fold, Slide

if TYPE_CHECKING:
    from derive.emit.lanes import LanesWriter


MANY = 4  # vectors of a sum that pay for combining lanes at its end
MASKS = "16 * tile.steps"  # integers that tables of masks may take: half of the second cache
MOST = "256 * tile.steps"  # scalars that a block's copies may take: 2^20, and fewer in the small tiles of exact runs


@dataclass(frozen=True)
class Form:
    """One way to run the equation: what is written, and when it is taken."""

    writer: LanesWriter
    title: str

    general: ClassVar[bool] = True  # does it serve most sizes?

    def source(self) -> list[str]:
        """Functions of integers, and the task; NoVector if there is no such form."""
        raise NotImplementedError

    def tests(self) -> list[str]:
        """That say when it is taken."""
        raise NotImplementedError

    def shares_little(self, c: Contraction | None) -> list[str]:
        """The same beside a contraction, which has little to share: few columns, or a single step to add."""
        if c is None:
            return []
        few = " or ".join(self.little(c))
        return [f"({few})" if " or " in few else few]

    def little(self, c: Contraction) -> list[str]:
        columns, steps = (" * ".join(map(self.writer.size, group)) for group in (c.columns, c.steps))
        return [self.few(columns), f"{steps} <= 1"]

    def few(self, columns: str) -> str:
        return f"{columns} <= {FEW}"

    def describe(self) -> str:
        raise NotImplementedError


@dataclass(frozen=True)
class OverLanes(Form):
    """Loops in which an index is that of the lanes."""

    way: Lanes

    def shares_little(self, c: Contraction | None) -> list[str]:
        """And where it reads side by side: blocks read whatever lies anywhere; lanes that are combined, many of them."""
        if c is None:
            return []
        lane, w = self.way.lane, self.writer
        reads = [r for r in w.eq.reads if lane in r.indices and not self.way.unit]  # which asks so by itself
        tests = [f"{w.names[r]}.stride({r.indices.index(lane)}) == 1" for r in reads]
        if self.way.bound and lane in c.steps and len(c.steps) == 1:
            tests.append(f"{MANY} * tile.lanes.width <= {w.size(lane)}")
        return [*super().shares_little(c), *tests]

    def little(self, c: Contraction) -> list[str]:
        """Or few rows, for lanes along the columns or the steps: a matrix times a vector."""
        if c.pair is not None or self.way.lane not in (*c.columns, *c.steps):
            return super().little(c)
        return [*super().little(c), self.few_rows(c)]

    def few_rows(self, c: Contraction) -> str:
        return f"{' * '.join(map(self.writer.size, c.rows))} <= {FEW}"

    def source(self) -> list[str]:
        return [self.writer.over_lanes(self.way, self.title)]

    def tests(self) -> list[str]:
        return self.writer.suits_lanes(self.way)

    def describe(self) -> str:
        return self.way.describe()


@dataclass(frozen=True)
class OverBlocks(OverLanes):
    """The same for several vectors of lanes at a time, where there could be several planes instead."""

    def little(self, c: Contraction) -> list[str]:
        return [self.few_rows(c)] if self.way.lane in c.columns else super().little(c)

    def source(self) -> list[str]:
        return [self.writer.over_lanes(self.way, self.title, beside=True)]

    def tests(self) -> list[str]:
        size = self.writer.size(self.way.lane)
        return [f"tile.lines * tile.lanes.width <= {size}", *self.writer.suits_lanes(self.way)]

    def describe(self) -> str:
        return f"{self.way.describe()}, vectors side by side"


@dataclass(frozen=True)
class Sliding(Form):
    """Windows of copies, each tap with its weight."""

    way: Slide

    def source(self) -> list[str]:
        w, parts = self.writer, self.before()
        rooms, asks = list[str](), list[str]()
        if room := self.room():
            parts.append(room)
            rooms.append("scratch: Scratch")
            asks.append(f"scratch={self.title}_room")
        if (table := self.table()) != "0":
            doc = "Integers of one task: where each tap reads."
            parts.append(w.room_of(f"{self.title}_table", w.integers, doc, [f"    return {table}"]))
            rooms.append("integer_scratch: IntegerScratch")
            asks.append(f"integer_scratch={self.title}_table")
        return [*parts, self.task(w.signature(*rooms), f"({', '.join(asks)})" if asks else "")]

    def little(self, c: Contraction) -> list[str]:
        """Where there is nothing to add, only whole vectors: a plane may be one place."""
        columns, alone = super().little(c)
        return [columns, f"({alone} and tile.lanes.width <= {self.writer.size(self.way.lane.place)})"]

    def before(self) -> list[str]:
        """Further functions of the integers. NoVector if there is no form for what windows read."""
        self.writer.operands(self.way)
        return []

    def room(self) -> str:
        return self.writer.room(self.way, self.title, self.writer.integers)

    def table(self) -> str:
        """How many integers say where taps read."""
        return self.writer.taps_of(self.way)

    def task(self, signature: Sequence[str], rooms: str) -> str:
        return self.writer.slide(self.way, self.title, signature, rooms)

    def tests(self) -> list[str]:
        w, lane = self.writer, self.way.lane
        places = w.size(lane.place)
        return [
            f"({w.size(lane.tap)} <= {places} or tile.lanes.width <= {places})",
            f"{self.needs()} <= {MOST}",
        ]

    def needs(self) -> str:
        """How much room, as a call."""
        return f"{self.title}_room({self.writer.room_arguments()})"

    def describe(self) -> str:
        return self.way.describe()


@dataclass(frozen=True)
class Folding(Sliding):
    """Windows whose places are summed over."""

    way: Fold

    def before(self) -> list[str]:
        return []

    def room(self) -> str:
        return self.writer.room_of_fold(self.way, self.title, self.writer.integers)

    def table(self) -> str:
        return self.writer.taps_of_fold(self.way)

    def task(self, signature: Sequence[str], rooms: str) -> str:
        return self.writer.fold(self.way, self.title, signature, rooms)

    def tests(self) -> list[str]:
        return self.writer.suits_fold(self.way, self.needs(), MOST)


@dataclass(frozen=True)
class InPlace(Sliding):
    """Windows over the operand as it lies in memory, its elements side by side or two apart."""

    every: int = 1

    general = False

    def before(self) -> list[str]:
        w, s = self.writer, self.way
        weights = w.operands(s)
        w.lies_in_a_plane(s, self.every)
        if len(weights) != 1 or w.coefficient() != weights[0]:
            raise NoVector  # weights are read where they lie
        if s.lane.classes and self.every == 2 and w.factor != 1:
            raise NoVector
        return []

    def room(self) -> str:
        w, s = self.writer, self.way
        woven = s.lane.classes and self.every == 1
        return w.room_in_place(s, self.title, w.integers) if woven else ""

    def table(self) -> str:
        lane = self.way.lane
        if not lane.classes:
            return "0"
        return f"{CLASS} * {self.writer.classes(lane)}" if self.every == 1 else str(2 * CLASS)

    def task(self, signature: Sequence[str], rooms: str) -> str:
        return self.writer.in_place(self.way, self.every, self.title, signature, rooms)

    def tests(self) -> list[str]:
        first, room = super().tests()
        tests = [first, *self.writer.suits_in_place(self.way, self.every)]
        return [*tests, room] if self.way.lane.classes and self.every == 1 else tests

    def describe(self) -> str:
        twos = ", classes two at a time" if self.way.lane.classes else ", every second element"
        return f"{self.way.describe()}, in place{twos if self.every == 2 else ''}"

    def few(self, columns: str) -> str:
        return self.writer.few_in_place(self.way, columns)


@dataclass(frozen=True)
class FoldingInPlace(Folding):
    """Windows over an operand as it lies in memory, whose places are summed over."""

    every: int = 1

    def before(self) -> list[str]:
        self.writer.copied = self.way.moving[0]
        self.writer.lies_in_a_plane(self.way, self.every)
        return []

    def room(self) -> str:
        return self.writer.room_of_fold_in_place(self.title, self.writer.integers)

    def table(self) -> str:
        return "0"

    def task(self, signature: Sequence[str], rooms: str) -> str:
        return self.writer.fold_in_place(self.way, self.every, self.title, signature, rooms)

    def tests(self) -> list[str]:
        w, lane = self.writer, self.way.lane
        more = f"{w.size(lane.tap)} < {w.size(lane.place)}"
        return [more, *w.suits_in_place(self.way, self.every)]

    def describe(self) -> str:
        return f"{self.way.describe()}, in place{', every second element' if self.every == 2 else ''}"

    def few(self, columns: str) -> str:
        return self.writer.few_in_place(self.way, columns)


@dataclass(frozen=True)
class Planes(Sliding):
    """Windows over whole planes, of several outputs at once."""

    general = False

    def before(self) -> list[str]:
        self.writer.lies_in_planes(self.way)
        return []

    def room(self) -> str:
        return self.writer.room_of_planes(self.way, self.title, self.writer.integers)

    def table(self) -> str:
        return self.writer.masks_of_planes(self.way)

    def task(self, signature: Sequence[str], rooms: str) -> str:
        return self.writer.over_planes(self.way, self.title, signature, rooms)

    def tests(self) -> list[str]:
        w, lane = self.writer, self.way.lane
        table = f"{self.title}_table({w.room_arguments()})"
        return [
            *w.suits_planes(self.way),
            f"{w.size(lane.tap)} <= {w.size(lane.place)}",
            f"{table} <= {MASKS}",
            f"{self.needs()} <= {MOST}",
        ]

    def shares_little(self, c: Contraction | None) -> list[str]:
        """How many outputs suit it, the tests say."""
        return []

    def describe(self) -> str:
        return f"{self.way.describe()}, whole planes"


@dataclass(frozen=True)
class FoldingPlanes(Planes):
    """Windows over whole planes, whose places are summed over."""

    way: Fold

    def task(self, signature: Sequence[str], rooms: str) -> str:
        return self.writer.fold_over_planes(self.way, self.title, signature, rooms)


@dataclass(frozen=True)
class Separate(Sliding):
    """Windows without weights, line by line and then along the lanes."""

    def room(self) -> str:
        return self.writer.room_of_separate(self.way, self.title, self.writer.integers)

    def table(self) -> str:
        return self.writer.tables_of_separate(self.way)

    def task(self, signature: Sequence[str], rooms: str) -> str:
        return self.writer.separate(self.way, self.title, signature, rooms)

    def tests(self) -> list[str]:
        w = self.writer
        return [*super().tests(), *w.narrow_enough(FAR // 2), *w.suits_separate(self.way)]


@dataclass(frozen=True)
class Tiling(Sliding):
    """Windows without weights that lie side by side, whole planes at once."""

    general = False

    def before(self) -> list[str]:
        w = self.writer
        w.operands(self.way)
        if w.eq.at is not None:
            w.place_parts()
        return [w.fits(self.way, self.title, w.integers, w.narrow_enough(FAR // 2))]

    def room(self) -> str:
        return self.writer.room_of_tiled(self.way, self.title, self.writer.integers)

    def table(self) -> str:
        return "0"

    def task(self, signature: Sequence[str], rooms: str) -> str:
        return self.writer.tiled(self.way, self.title, signature, rooms)

    def tests(self) -> list[str]:
        w = self.writer
        fit = f"{self.title}_fit({w.room_arguments()})"
        return [fit, *w.writes_afresh(), *w.in_one_piece(self.way)]


@dataclass(frozen=True)
class Twos(Sliding):
    """Windows of two taps an axis, in registers."""

    general = False

    def source(self) -> list[str]:
        return [self.writer.two_by_two(self.way, self.title, self.writer.signature())]

    def tests(self) -> list[str]:
        w = self.writer
        return [*w.suits_twos(self.way), *w.narrow_enough(), *w.writes_afresh()]

    def describe(self) -> str:
        return f"{self.way.describe()}, of two taps an axis"
