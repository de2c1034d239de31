"""Windows that slide over an operand as it lies in memory: nothing is copied.

    for each block of places: some rows, a stretch of lanes
        for each group of a few rows, for each vector of lanes
            for each patch of taps: one sum for each row gets the patch's terms

A patch is up to `Tile.taps` taps in as many rows, whose weights stand in registers; what is left of a window is in smaller
ones. Where rows and taps are equally far apart, a row of the operand is read once for all rows of places; else a patch has
one row of taps. Rows that are not there are passed over, and lanes that are not there read zeros: `Tile.slide` and
`Tile.fold` see to both. The lanes' elements lie side by side, or two apart (`every`).

The same from the other side: where taps are the target and places are summed over, a patch holds sums, which stay in
registers as long as its places last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import sympy as sp

from derive.emit.contraction import FEW
from derive.emit.fold import CHAIN, FoldWriter
from derive.emit.slide import _Names
from derive.emit.vectors import Block, NoVector
from derive.language import Index
from derive.lower.slide import Axis, Fold, Slide
from derive.program import Access

LEAST_TAPS = 8  # of a window: fewer are not worth it to read a plane once more for another column
MOST_TAPS = 36  # of a window: what more of them read is worth a copy
CLASS = 5  # integers that tell the taps of a class of lanes


class InPlaceWriter(FoldWriter):
    """Writes windows over an operand as it lies in memory."""

    apart = 1  # how far elements lie apart that lanes stand for

    def in_place(self, s: Slide, every: int, title: str, signature: Sequence[str], rooms: str) -> str:
        self.begin(s, every)
        self.weights = self.operands(s)
        phases = self.phases(s)
        lane_phase = phases.get(s.lane)
        assert s.row is not None
        self.put(f"stretch = {self.stretch(s, 'lanes.width')}")
        self.put(f"deep = {self.deep(self.tile, self.axes[s.row].members)}")
        self.patches(s.row)
        if lane_phase is None:
            self.patches(s.lane)
        else:
            if every == 1:
                self.put("woven = scratch")
                self.put("whole = deep * stretch")
            self.classes_of_lanes(lane_phase, self.classes(s.lane) if every == 1 else "2")
        with self.items():
            self.places(phases)
            if lane_phase is None:
                self.blocks(lambda: self.sums_in_place("total"), lambda: self.stored(phases))
            elif every == 1:
                self.classes_in_turn(phases, lane_phase)
            else:
                self.two_classes(phases, lane_phase)
        return self.as_task(title, signature, f"{s.describe()}, in place", rooms)

    def begin(self, s: Slide, every: int) -> None:
        self.lines, self.depth, self.tile = [], 1, "tile"
        self.used |= {"share", "ceil_div"}
        self.s, self.weights = s, []
        self.apart = 1 if s.lane.classes else every
        self.b = Block({s.lane.place: s.lane.modulus})
        more = isinstance(s, Fold) or (s.lane.classes and every == 2)  # than the sums of a column are held
        if more:
            self.put("lanes = tile.lanes")
        else:
            self.tile = "tall"
            self.put("lanes, tall = tile.lanes, tile.tall")

    def lies_in_a_plane(self, s: Slide, every: int) -> None:
        """NoVector if windows read anything but a plane of one operand, or never lie as far apart as is asked for."""
        if not isinstance(self.copied, Access) or s.row is None:
            raise NoVector
        if not s.lane.classes and s.lane.stride.is_number and s.lane.stride != every:
            raise NoVector

    def most_taps(self, a: Axis) -> str:
        """How many taps of an axis a patch has at most: one, if its reads serve no other window."""
        n = self.axes[a]
        sides = "1", "1"
        if a is self.s.row:
            sides = self.inner(a.stride), self.product([n.by, str(self.apart)])
        elif self.apart == 2:
            sides = n.by, "1"
        most = f"{self.tile}.taps"
        if all(map(str.isdigit, sides)):
            return most if sides[0] == sides[1] else "1"
        return most if sides[0] == sides[1] else f"{most} if {sides[0]} == {sides[1]} else 1"

    def patches(self, *axes: Axis) -> None:
        for a in axes:
            self.put(f"{self.own('most', a.tap)} = {self.most_taps(a)}")

    # --- classes of lanes ------------------------------------------------------------------------

    def classes_of_lanes(self, phase: str, classes: str) -> None:
        """Which taps each class has: found once, and kept in a table."""
        s, depth = self.s, self.depth
        self.put(f"for {phase} in range({classes}):", True)
        self.axes[s.lane] = n = self.axis(s.lane, phase)
        for k, value in enumerate(self.told_of_class(n)):
            self.put(f"integer_scratch[{CLASS} * {phase}{f' + {k}' if k else ''}] = {value}")
        self.depth = depth

    @staticmethod
    def told_of_class(n: _Names) -> tuple[str, ...]:
        return (n.first, n.step, n.taps, n.by, n.low)

    def classes_in_turn(self, phases: dict[Axis, str], phase: str) -> None:
        s, depth = self.s, self.depth
        self.put(f"for {phase} in range({self.classes(s.lane)}):", True)
        self.taken_from_table(phase)
        self.put(f"end = min({self.axes[s.lane].members}, start + stretch)")
        self.blocks(lambda: self.sums_in_place("total"), lambda: self.stored(phases))
        self.depth = depth
        self.put(f"if {self.classes(s.lane)} > 1:", True)
        self.weave(phases)
        self.depth = depth

    def taken_from_table(self, phase: str) -> None:
        for k, name in enumerate(self.told_of_class(self.axes[self.s.lane])):
            self.put(f"{name} = integer_scratch[{CLASS} * {phase}{f' + {k}' if k else ''}]")
        self.patches(self.s.lane)

    def two_classes(self, phases: dict[Axis, str], phase: str) -> None:
        """Both classes of lanes at once, whose sums go to the target in turn."""
        s, size = self.s, self.size(self.s.lane.place)
        assert s.row is not None
        self.put(f"end = min(ceil_div({size}, 2), start + stretch)")

        def sums() -> None:
            depth = self.depth
            self.cleared("other")
            for column, k in (("total", 0), ("other", 1)):
                self.put(f"{phase} = {k}")
                self.taken_from_table(phase)
                self.sums_in_place(column)
                self.depth = depth

        self.blocks(sums, lambda: self.written_in_turn(phases))

    def written_in_turn(self, phases: dict[Axis, str]) -> None:
        s = self.s
        assert s.row is not None
        by, row, lane = self.inner(s.row.modulus), self.names[s.row.place], self.names[s.lane.place]
        self.put(f"{row} = {f'{phases[s.row]} + row * {by}' if s.row.classes else 'row'}")
        self.put(f"{lane} = at * 2")
        lines = self.target_lines({s.lane.place: "1"}, {s.row.place: by})
        self.put(
            f"tile.write_pairs({lines}, total, other, rows, min({self.size(s.lane.place)}, end * 2) - {lane})"
        )

    # --- the sums of a group of rows ---------------------------------------------------------------

    def sums_in_place(self, column: str) -> None:
        """Every patch of taps into the sums of a vector of lanes in a few rows."""
        s = self.s
        for i in s.rest:
            self.put(f"for {self.names[i]} in range({self.size(i)}):", True)
        for a in s.others:
            self.put(f"for {self.own('tap', a.tap)} in range({self.axes[a].taps}):", True)
        for a in s.others:
            self.reached(a, f"{self.own('from', a.follower)}")
        self.plane()
        assert s.row is not None
        top = (
            f"{self.own('from', s.row.follower)} + {self.product(['(row - top)', self.inner(s.row.stride)])}"
        )
        left = f"{self.axes[s.lane].low} + {self.product(['at', self.inner(s.lane.stride)])}"

        depth = self.depth
        down, over = self.window()
        at = self.over_plane(top, left, down, over)
        self.put(f"{self.tile}.{self.called('slide')}({column}, {self.weights_of_patch(down, over)}, {at})")
        self.depth = depth

    def reached(self, a: Axis, start: str) -> None:
        """What the tap of an axis reads, if it is there."""
        f, by = self.names[a.follower], self.axes[a].by
        self.put(f"{f} = {start} + {self.product([self.own('tap', a.tap), by])}")
        self.put(f"if 0 <= {f} < {self.size(a.follower)}:", True)

    def plane(self) -> None:
        """The plane of the operand that windows slide over, at its first element."""
        s, x = self.s, self.copied
        assert isinstance(x, Access)
        assert s.row is not None
        held = {s.lane.follower, s.row.follower}
        at = ["0" if i in held else self.names[i] for i in x.indices]
        while at and at[-1] == "0":
            at.pop()
        self.put(f"plane = {self.names[x]}.pointer({', '.join(at)})")

    def called(self, name: str) -> str:
        return name if self.apart == 1 else f"{name}_twos"

    def over_plane(self, top: str, left: str, down: str, over: str) -> str:
        """What says where windows lie: of the first tap of a patch."""
        s, x = self.s, self.copied
        assert isinstance(x, Access)
        assert s.row is not None
        row, lane = self.axes[s.row], self.axes[s.lane]
        pitch = "0"
        if s.row.follower in x.indices:
            pitch = f"{self.names[x]}.stride({x.indices.index(s.row.follower)})"
        at = [f"{top} + {self.product([down, row.by])}", self.inner(s.row.stride), row.by]
        at += [f"{left} + {self.product([over, lane.by])}", lane.by]
        return ", ".join(
            ["down", "over", "plane", pitch, self.size(s.row.follower), self.size(s.lane.follower), *at]
        )

    def window(self) -> tuple[str, str]:
        """Loops over the patches of a window: the first tap of each."""
        s = self.s
        assert s.row is not None
        for a, count in ((s.row, "down"), (s.lane, "over")):
            tap, taps, most = self.own("tap", a.tap), self.axes[a].taps, self.own("most", a.tap)
            self.put(f"for {tap} in range(0, {taps}, {most}):", True)
            self.put(f"{count} = min({most}, {taps} - {tap})")
        return self.own("tap", s.row.tap), self.own("tap", s.lane.tap)

    @contextmanager
    def each_tap(self) -> Iterator[None]:
        """Loops over the places of a patch."""
        depth = self.depth
        self.put(f"for below in range({self.tile}.taps):", True)
        self.put(f"for beside in range({self.tile}.taps):", True)
        yield
        self.depth = depth

    def tap_at(self, a: Axis, at: str) -> str:
        """Which tap it is: windows are taken from the tap that reads lowest on."""
        n = self.axes[a]
        if n.first == "0" and n.step == "1":
            return at
        at = f"({at})" if " " in at else at
        return f"{n.first} - {at}" if n.step == "-1" else f"{n.first} + {at} * {n.step}"

    def taps_at(self, down: str, over: str) -> dict[Index, str]:
        """The tap of every axis."""
        s = self.s
        assert s.row is not None
        others = {a.tap: self.tap_at(a, self.own("tap", a.tap)) for a in s.others}
        return {**others, s.row.tap: self.tap_at(s.row, down), s.lane.tap: self.tap_at(s.lane, over)}

    def weights_of_patch(self, down: str, over: str) -> str:
        """The weight of a patch's first tap, and how far the next one below and beside are."""
        s = self.s
        assert s.row is not None
        (w,), at = self.weights, self.taps_at(down, over)
        place = ", ".join(at.get(i) or self.names[i] for i in w.indices)
        steps = [
            self.product([self.axes[a].step, f"{self.names[w]}.stride({w.indices.index(a.tap)})"])
            if a.tap in w.indices
            else "0"
            for a in (s.row, s.lane)
        ]
        return ", ".join([f"{self.names[w]}.pointer({place})", *steps])

    def coefficient(self) -> sp.Expr:
        """What multiplies the operand that moves."""
        return sp.Mul(*(f for f in sp.Mul.make_args(self.summed) if f != self.mark))

    def room_in_place(self, s: Slide, name: str, integers: Sequence[sp.Symbol]) -> str:
        """A function of the integers: scalars of the lines that classes of lanes are woven from."""
        assert s.row is not None
        lines = [
            "    width = tile.lanes.width",
            f"    stretch = {self.stretch(s, 'width')}",
            f"    deep = {self.deep('tile.tall', self.size(s.row.place))}",
            f"    return {self.bounded_product([self.classes(s.lane), 'deep', 'stretch'])}",
        ]
        return self.room_of(f"{name}_room", integers, "Scalars of the lines that are woven.", lines)

    # --- sums over places --------------------------------------------------------------------------

    def fold_in_place(self, s: Fold, every: int, title: str, signature: Sequence[str], rooms: str) -> str:
        self.begin(s, every)
        self.marks = self.operands_of_fold(s)
        self.copied = s.moving[0]
        assert s.row is not None
        self.axes = {a: self.axis(a, "") for a in s.axes}
        self.patches(s.row, s.lane)
        self.put("found = scratch + tile.taps * tile.taps * lanes.width")
        with self.each_item(self.outer_digits(s)):
            for a in s.others:
                self.put(f"for {self.own('tap', a.tap)} in range({self.axes[a].taps}):", True)
            down, over = self.window()
            self.summed_over_places(down, over)
        return self.as_task(title, signature, f"{s.describe()}, in place", rooms)

    def summed_over_places(self, down: str, over: str) -> None:
        """The sums of a patch of taps over all places."""
        s, depth = self.s, self.depth
        assert isinstance(s, Fold)
        assert s.row is not None
        self.put("patch = tile.patch()")
        with self.each_tap():
            self.put("patch[below, beside] = lanes.zero()")
        self.put("chain, cuts = 0, 0")
        for i in s.looped:
            self.put(f"for {self.names[i]} in range({self.size(i)}):", True)
        for a in s.others:
            self.reached(a, self.started(a, self.names[a.place]))
        self.plane()
        self.put(f"for row in range(0, {self.size(s.row.place)}, tile.lines):", True)
        self.put(f"rows = min(tile.lines, {self.size(s.row.place)} - row)")
        self.put(f"for at in range(0, {self.size(s.lane.place)}, lanes.width):", True)
        self.put(f"count = {self.size(s.lane.place)} - at")
        self.places_read()
        at = self.over_plane(self.started(s.row, "row"), self.started(s.lane, "at"), down, over)
        self.put(f"tile.{self.called('fold')}(patch, lines, rows, count, {at})")
        self.put("chain += tile.lines")
        self.put(f"if chain >= {CHAIN}:", True)
        self.put("chain = 0")
        with self.each_tap_held():
            self.put("if cuts != 0:", True)
            self.put("patch[below, beside] = patch[below, beside] + lanes.load(held)")
            self.depth -= 1
            self.put("lanes.store(held, patch[below, beside])")
            self.put("patch[below, beside] = lanes.zero()")
        self.put("cuts = 1")
        self.depth = depth
        self.put("if cuts != 0:", True)
        with self.each_tap_held():
            self.put("patch[below, beside] = patch[below, beside] + lanes.load(held)")
        self.depth = depth
        self.put("tile.store_sums(found, patch)")
        self.put("for below in range(down):", True)
        self.put("for beside in range(over):", True)
        for i, text in self.taps_at(f"{down} + below", f"{over} + beside").items():
            self.put(f"{self.names[i]} = {text}")
        self.put("result = found[below * tile.taps + beside]")
        self.scaled(self.factor)
        self.finish(self.at(self.eq.target), "result")
        self.depth = depth

    @contextmanager
    def each_tap_held(self) -> Iterator[None]:
        """Loops over the places of a patch, and where in scratch each holds what its sum was before."""
        self.put("held = scratch")
        with self.each_tap():
            yield
            self.put("held = held + lanes.width")

    def places_read(self) -> None:
        """What stands at the places of a few rows, one vector of each."""
        s, depth = self.s, self.depth
        assert isinstance(s, Fold)
        assert s.row is not None
        self.put(f"{self.names[s.row.place]} = row")
        self.put(f"{self.names[s.lane.place]} = at")
        bare = self.coefficient() in self.marks.values()
        columns = {r: "lines" if bare else self.names[mark] for r, mark in self.marks.items()}
        for r, column in columns.items():
            lines = self.lines_of(r, {s.lane.place: "1"}, {s.row.place: "1"})
            self.put(f"{column} = tile.read_where({lines}, rows, lanes.first(count))")
        if bare:
            return
        self.put("lines = tile.column()")
        self.put("for u in range(tile.lines):", True)
        for r, mark in self.marks.items():
            self.names[mark] = f"{columns[r]}[0, u]"
            self.b.vectors.add(mark)
        self.put(f"lines[0, u] = {self.vector(self.coefficient())}")
        self.depth = depth

    def room_of_fold_in_place(self, name: str, integers: Sequence[sp.Symbol]) -> str:
        """A function of the integers: scalars of the sums that a patch's are added to, and of what they come to."""
        lines = ["    return tile.taps * tile.taps * (tile.lanes.width + 1)"]
        return self.room_of(f"{name}_room", integers, "Scalars that the sums of a patch are added to.", lines)

    # --- when it is taken --------------------------------------------------------------------------

    def few_in_place(self, s: Slide, columns: str) -> str:
        """A contraction's vectors hold columns, most of their lanes idle if these are few; lanes of places are all busy."""
        taps = self.bounded_product([self.size(a.tap) for a in (s.row, s.lane) if a])
        return f"{columns} <= {FEW} or ({taps} >= {LEAST_TAPS} and 2 * {columns} <= tile.lanes.width)"

    def writes_afresh(self) -> list[str]:
        raise NotImplementedError

    def suits_in_place(self, s: Slide, every: int) -> list[str]:
        """The operand's elements lie side by side, and lanes or their classes are as far apart as it is written for."""
        x = s.moving[0]
        tests = [f"{self.names[x]}.stride({x.indices.index(s.lane.follower)}) == 1"]
        if not isinstance(s, Fold):
            tests.append(
                f"{self.bounded_product([self.size(a.tap) for a in (s.row, s.lane) if a])} <= {MOST_TAPS}"
            )
        if s.lane.classes:
            # few registers are better kept for the sums of one class after another, from a copy that all of them read
            many, modulus = "tile.lines == tile.tall.lines", self.inner(s.lane.modulus)
            if every == 2:
                return [*tests, f"{modulus} == 2", many, *self.writes_afresh()]
            return [*tests, f"({modulus} == 1 or {many})"]
        stride = self.inner(s.lane.stride)
        return tests if stride == str(every) else [*tests, f"{stride} == {every}"]
