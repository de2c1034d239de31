"""Windows that slide as source: the part of an operand that a block of places reads is copied, then nothing is guarded.

    for each block of places: some rows, a stretch of lanes
        copy what its windows read, with zeros where the operand has no element, one line after another
        for each group of a few rows, for each vector of lanes
            for each tap: one sum for each row gets the tap's term

Where the copies of a tap lie a table says, which is made once: strides, dilation, flips, residue classes and any
further axes and sums are in it. Where rows and taps are equally far apart, rows + taps - 1 lines serve all pairs
of a few rows and a few taps. Without a second axis the rows are vectors one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import sympy as sp

from derive.emit.kernel import _polynomial
from derive.emit.vectors import Block, NoVector, VectorWriter, fused
from derive.language import Index
from derive.lower.slide import Axis, Slide
from derive.program import Access


@dataclass
class _Names:
    """What one axis is called: how many taps, where the first of them reads, how far apart they are."""

    taps: str
    low: str  # the follower at place 0 of the axis (or of its class) and the tap that reads lowest
    by: str  # from a tap to the next that reads higher
    first: str  # the tap that reads lowest
    step: str
    members: str  # places, of the class


class SlideWriter(VectorWriter):
    """Writes windows that slide."""

    tile = "tile"  # what a few rows, one vector of each, are named after

    def slide(self, s: Slide, title: str, signature: Sequence[str], rooms: str) -> str:
        self.lines, self.depth, self.tile = [], 1, "tile"
        self.used |= {"share", "ceil_div"}
        if s.equation.reduce != "sum":
            raise NoVector
        self.s = s
        self.b = Block({s.lane.place: s.lane.modulus})
        self.weights = self.operands(s)
        self.name_weights()
        self.put("lanes = tile.lanes")
        phases = self.phases(s)
        lane_phase = phases.get(s.lane)
        self.extents()
        if lane_phase is None:
            self.table()
        else:
            self.tables_of_classes(lane_phase)
        with self.items():
            self.places(phases)
            self.copies()
            if lane_phase is None:
                self.weights_start()
                self.blocks(self.sums_of_copies, lambda: self.stored(phases))
            else:
                self.blocks_of_classes(phases, lane_phase)
        return self.as_task(title, signature, s.describe(), rooms)

    def phases(self, s: Slide) -> dict[Axis, str]:
        """The class of places of each axis that has classes, in loops but for the lanes'; and names for the axes."""
        phases = {a: self.name(sp.Dummy(), f"phase_{self.names[a.place]}") for a in s.axes if a.classes}
        for a, phase in phases.items():
            if a is not s.lane:
                self.put(f"for {phase} in range({self.classes(a)}):", True)
        self.axes = {a: self.axis(a, phases.get(a, "")) for a in s.axes if a is not s.lane or not a.classes}
        return phases

    def stretch(self, s: Slide, width: str) -> str:
        """How many places of a line are taken together: whole vectors of all its places, but not too many."""
        most = f"tile.lines * tile.lines * {width}"
        if s.row is None:
            return most
        return f"min({most}, max(1, ceil_div({self.most_members(s.lane)}, {width})) * {width})"

    def classes(self, a: Axis) -> str:
        """How many classes of places have a member."""
        return f"min({self.inner(a.modulus)}, {self.size(a.place)})"

    def most_members(self, a: Axis) -> str:
        """Places of an axis, of its largest class."""
        return f"ceil_div({self.size(a.place)}, {self.inner(a.modulus)})" if a.classes else self.size(a.place)

    def reach(self, a: Axis) -> str:
        """How far the taps of a window reach, at most, and of all classes of places together."""
        far = self.product([f"({self.size(a.tap)} - 1)", self.inner(a.spread)])
        m = self.inner(a.modulus)
        return f"({far} + {m} - 1) // {m} + 1" if a.classes else far

    def own(self, word: str, i: Index) -> str:
        """The one local of this name that belongs to an index."""
        mark = sp.Symbol(f"{word} {i.name}")
        return self.names.get(mark) or self.name(mark, f"{word}_{self.names[i]}")

    def operands(self, s: Slide) -> list[Access]:
        """What the sum reads besides the operand that moves: one value for all lanes and rows."""
        if s.equation.reduce != "sum":
            self.factor, self.copied = sp.S.One, self.eq.body
            if not all(s.lane.follower in r.indices for r in s.moving):
                raise NoVector  # one value for a line would be read where there is none
            held = set(self.eq.relation.indices)
            if self.copied.xreplace({r: sp.Dummy(real=True) for r in s.moving}).free_symbols & held:
                raise NoVector
            return []
        split = self.nest.strategy == "gather"
        self.factor, summed = self.split(self.eq.body) if split else (sp.S.One, self.eq.body)
        factors = sp.Mul.make_args(summed)
        inside = [f for f in factors if any(f.has(r) for r in s.moving)]
        self.mark = sp.Dummy(s.moving[0].tensor, real=True)
        self.copied = sp.Mul(*inside)
        self.summed = self.mark * sp.Mul(*(f for f in factors if f not in inside))
        if any(r not in s.moving for r in self.copied.atoms(Access)):  # another operand is in the same term
            self.copied = s.moving[0]
            self.summed = summed.xreplace({self.copied: self.mark})
        if self.mark not in sp.Mul.make_args(self.summed) or not _polynomial(self.summed):
            raise NoVector  # zeros around what is copied would add something
        others = sorted(self.summed.atoms(Access), key=str)
        bare = self.summed.xreplace({r: sp.Dummy(real=True) for r in others})
        loops = {*s.outer, *s.rest}
        if not all(set(r.indices) <= loops | {a.tap for a in s.axes} for r in others):
            raise NoVector
        if not all(set(r.indices) <= loops | {a.follower for a in s.axes} for r in s.moving):
            raise NoVector
        if not all(s.lane.follower in r.indices for r in s.moving):
            raise NoVector  # one value for a line would be read where there is none
        held = set(self.eq.relation.indices)
        if (
            bare.free_symbols & held
            or self.copied.xreplace(dict.fromkeys(s.moving, self.mark)).free_symbols & held
        ):
            raise NoVector
        return others

    def name_weights(self) -> None:
        self.read_lines = self.name(sp.Dummy(), f"{self.names[self.s.moving[0]]}_lines")
        for r in self.weights:
            for word in ("steps", "by", "at", "lanes"):
                self.name(sp.Symbol(f"{r} {word}"), f"{self.names[r]}_{word}")

    def of(self, r: Access, word: str) -> str:
        """A local that belongs to a weight."""
        return self.names[sp.Symbol(f"{r} {word}")]

    def axis(self, a: Axis, phase: str) -> _Names:
        """Names of what is the same for all places, of a class."""
        k, size, spread = self.names[a.tap], self.size(a.tap), self.inner(a.spread)
        low = self.own("low", a.tap)
        if not a.classes:
            start = self.integer(a.offset - (a.spread * (self.eq.relation.size(a.tap) - 1) if a.falls else 0))
            self.put(f"{low} = {start}")
            first, step = (f"({size} - 1)", "-1") if a.falls else ("0", "1")
            return _Names(size, low, spread, first, step, self.size(a.place))
        self.used.add("residue")
        first, step, taps, by = (self.name(sp.Dummy(), f"{w}_{k}") for w in ("first", "step", "taps", "by"))
        modulus = self.inner(a.modulus)
        total = sp.Symbol(phase, integer=True) + a.offset
        self.names[sp.Symbol(phase, integer=True)] = phase
        signed = total if a.falls else sp.expand(-total)
        self.put(f"{first}, {step} = residue({modulus}, {spread}, {self.integer(signed)})")
        self.put(f"{taps} = max(0, ceil_div({size} - {first}, {step})) if {step} > 0 else 0")
        self.put(f"{by} = {step} * {spread} // {modulus}")
        sign = "-" if a.falls else "+"
        self.put(f"{low} = ({self.integer(total)} {sign} {first} * {spread}) // {modulus}")
        members = f"ceil_div({self.size(a.place)} - {phase}, {modulus})"
        if a is not self.s.lane:
            members, text = self.name(sp.Dummy(), f"members_{k}"), members
            self.put(f"{members} = {text}")
        if a.falls:
            self.put(f"{low} -= ({taps} - 1) * {by}")
            self.put(f"{first}, {step} = {first} + ({taps} - 1) * {step}, -{step}")
        return _Names(taps, low, by, first, step, members)

    def extents(self) -> None:
        """Of the copies of one block."""
        s = self.s
        stride = self.inner(s.lane.stride)
        self.put(f"stretch = {self.stretch(s, 'lanes.width')}")
        reach = f"max(0, {self.reach(s.lane)})" if s.lane.classes else self.reach(s.lane)
        self.put(f"span = stretch + {reach}" + (f" // {stride}" if stride != "1" else ""))
        self.put("pitch = ceil_div(span, lanes.width) * lanes.width")
        if s.row is not None:
            row, by = self.axes[s.row], self.inner(s.row.stride)
            self.put(f"deep = {self.deep('tile', row.members)}")
            taps = (
                f"max(0, {row.taps} - 1)" if s.row.classes else f"({row.taps} - 1)"
            )  # a class may have no tap
            self.put(f"more_lines = {self.product([taps, row.by])} + 1")
            self.put(f"height = {self.product(['(deep - 1)', by])} + more_lines")
            self.put("area = height * pitch + lanes.width")
            self.put(f"apart = {self.product([by, 'pitch'])}")
        else:
            self.put("area = pitch + lanes.width")
            self.put("apart = lanes.width")
        if s.lane.classes:
            planes = [*map(self.size, s.rest), *(self.size(o.tap) for o in s.others), "area"]
            self.put(f"woven = scratch + {self.product(planes)}")
            self.put("whole = " + ("deep * stretch" if s.row is not None else "stretch"))

    @staticmethod
    def deep(tile: str, rows: str) -> str:
        """Rows whose copies are made together: a few times as many as slide together."""
        return f"max(1, min({tile}.lines, ceil_div({rows}, {tile}.lines))) * {tile}.lines"

    def bound_loops(self) -> None:
        """Loops over the bound indices that have copies of their own."""
        for i in self.s.rest:
            self.put(f"for {self.names[i]} in range({self.size(i)}):", True)
        for a in self.s.others:
            self.put(f"for {self.own('tap', a.tap)} in range({self.axes[a].taps}):", True)

    def start_of_table(self) -> None:
        """Where the tables are, and what holds for all taps."""
        s, row = self.s, self.axes[self.s.row] if self.s.row is not None else None
        if self.weights:
            taps = [self.size(a.tap) if a is s.lane else self.axes[a].taps for a in s.axes]
            self.put(f"taps = {self.product([*map(self.size, s.rest), *taps])}")
        self.put("steps = integer_scratch")
        before = "steps"
        for r in self.weights:
            self.put(f"{self.of(r, 'steps')} = {before} + taps")
            before = self.of(r, "steps")
            if s.row is not None and row is not None and s.row.tap in r.indices:
                stride_of_tap = f"{self.names[r]}.stride({r.indices.index(s.row.tap)})"
                self.put(f"{self.of(r, 'by')} = {self.product([row.step, stride_of_tap])}")
        self.put("count = 0")
        if row is not None and s.row is not None:
            sides = sorted((row.by, self.inner(s.row.stride)), key=str.isdigit)
            equal = " == ".join(sides)
            self.put(f"shared = {row.taps} // tile.taps * tile.taps if {equal} else 0")

    def table(self) -> None:
        """Where the copies of each tap lie, and where its weights: first those that share lines, then the others."""
        self.start_of_table()
        if self.s.row is None:
            self.put("sharing = 0")
        self.taps_of_table("sharing", "")

    def tables_of_classes(self, phase: str) -> None:
        """A table for each class of lanes, one behind the other, and where the parts of each end."""
        s = self.s
        self.start_of_table()
        tables = self.product([str(1 + len(self.weights)), "taps"]) if self.weights else self.taps_at_most(s)
        self.put(f"ends = integer_scratch + {tables}")
        falling = s.lane.spread * (self.eq.relation.size(s.lane.tap) - 1) if s.lane.falls else 0
        self.put(f"least = ({self.integer(s.lane.offset - falling)}) // {self.inner(s.lane.modulus)}")
        depth = self.depth
        self.put(f"for {phase} in range({self.classes(s.lane)}):", True)
        self.axes[s.lane] = self.axis(s.lane, phase)
        if s.row is None:
            self.put(f"ends[2 * {phase}] = count")
        self.taps_of_table(f"ends[2 * {phase}]", f" + ({self.axes[s.lane].low} - least)")
        self.put(f"ends[2 * {phase} + 1] = count")
        self.depth = depth

    def taps_of_table(self, sharing: str, further: str) -> None:
        """The entries, behind those that there are; where those that share lines end, and how much further all lie."""
        s, depth = self.s, self.depth
        lane, row = self.axes[s.lane], self.axes[s.row] if s.row is not None else None
        stride = self.inner(s.lane.stride)
        for shared in (True, False) if row is not None else (False,):
            self.put("plane = 0")
            self.bound_loops()
            by_row = f"for {self.own('tap', s.row.tap)} in range" if s.row is not None else ""
            self.put(f"for {self.own('tap', s.lane.tap)} in range({lane.taps}):", True)
            along = self.product([self.own("tap", s.lane.tap), lane.by])
            place = f"(plane + {along} % {stride}) * area" if stride != "1" else "plane * area"
            if row is not None and s.row is not None:
                t = f"{self.own('tap', s.row.tap)}"
                bounds = "0, shared, tile.taps" if shared else f"shared, {row.taps}"
                self.put(f"{by_row}({bounds}):", True)
                place += f" + {self.product([t, row.by])} * pitch"
            column = f"{along} // {stride}" if stride != "1" else along
            self.put(f"steps[count] = {place} + {column}{further}")
            for r in self.weights:
                self.put(f"{self.of(r, 'steps')}[count] = {self.weight(r, self.names[r])}")
            self.put("count += 1")
            self.depth = depth + len(s.rest) + len(s.others)
            self.put(f"plane += {stride}")
            self.depth = depth
            if shared:
                self.put(f"{sharing} = count")

    def weight(self, r: Access, w: str) -> str:
        """Where a weight lies from its first element on, at the taps of the loops."""
        terms = []
        for k, i in enumerate(r.indices):
            for a in self.s.axes:
                if i == a.tap:
                    n = self.axes[a]
                    t = f"{self.own('tap', i)}"
                    value = t if n.first == "0" and n.step == "1" else f"({n.first} + {t} * {n.step})"
                    terms.append(f"{value} * {w}.stride({k})")
            if i in self.s.rest:
                terms.append(f"{self.names[i]} * {w}.stride({k})")
        return " + ".join(terms) or "0"

    @staticmethod
    def product(parts: Sequence[str]) -> str:
        return " * ".join(p for p in parts if p != "1") or "1"

    @contextmanager
    def items(self) -> Iterator[None]:
        """A loop over blocks, shared among tasks."""
        s = self.s
        digits: list[tuple[str, str]] = []
        for i in self.eq.free:
            if i == s.lane.place:
                self.put(f"stretches = ceil_div({self.most_members(s.lane)}, stretch)")
                digits.append(("part", "stretches"))
            elif s.row is not None and i == s.row.place:
                self.put(f"blocks = ceil_div({self.axes[s.row].members}, deep)")
                digits.append(("block", "blocks"))
            else:
                other = next((a for a in s.others if a.place == i), None)
                classed = other is not None and other.classes
                name = f"{self.own('at', i)}" if classed else self.names[i]
                digits.append((name, self.axes[other].members if other is not None else self.size(i)))
        with self.each_item(digits):
            yield

    @contextmanager
    def each_item(self, digits: Sequence[tuple[str, str]]) -> Iterator[None]:
        """A loop over all values of some counters, each with its size, shared among tasks; they go on as digits do."""
        self.put(f"first, last = share({self.product([d for _, d in digits])}, task, tasks)")
        self.put("if first < last:", True)
        for k, (name, size) in enumerate(digits):
            below = self.product([d for _, d in digits[k + 1 :]])
            below = f"({below})" if " " in below else below
            text = "first" + (f" // {below}" if below != "1" else "") + (f" % {size}" if k else "")
            self.put(f"{name} = {text}" if size != "1" else f"{name} = 0")
        self.put("for item in range(first, last):", True)
        depth = self.depth
        yield
        self.depth = depth
        for k, (name, size) in enumerate(reversed(digits)):
            self.put(f"{name} += 1")
            if k < len(digits) - 1:
                self.put(f"if {name} == {size}:", True)
                self.put(f"{name} = 0")
        self.depth = depth

    def places(self, phases: dict[Axis, str]) -> None:
        """The first place of the block on each axis, and what is read there."""
        s = self.s
        for a in s.others:
            name = self.names[a.place]
            if a.classes:
                self.put(f"{name} = {phases[a]} + {self.own('at', a.place)} * {self.inner(a.modulus)}")
        if s.row is not None:
            row = self.axes[s.row]
            self.put("top = block * deep")
            self.put(f"bottom = min({row.members}, top + deep)")
            self.put(f"{self.own('from', s.row.follower)} = {self.started(s.row, 'top')}")
        self.put("start = part * stretch")
        if not s.lane.classes:
            self.put(f"end = min({self.size(s.lane.place)}, start + stretch)")
        for a in s.others:
            at = f"{self.own('at', a.place)}" if a.classes else self.names[a.place]
            self.put(f"{self.own('from', a.follower)} = {self.started(a, at)}")

    def started(self, a: Axis, at: str) -> str:
        stride = self.inner(a.stride)
        return f"{self.axes[a].low} + {self.product([at, stride])}"

    def copies(self) -> None:
        """The lines that a block reads, those of one phase of the stride together."""
        s, depth = self.s, self.depth
        stride = self.inner(s.lane.stride)
        plain = isinstance(self.copied, Access) and self.start() == "lanes.zero()"
        self.put("to = scratch")
        if s.row is not None:
            self.put(f"needed = {self.needed()}")
        self.bound_loops()
        tests = []
        for a in s.others:
            f = self.names[a.follower]
            self.put(f"{f} = {self.own('from', a.follower)} + {self.own('tap', a.tap)} * {self.axes[a].by}")
            tests.append(f"0 <= {f} < {self.size(a.follower)}")
        least = "least" if s.lane.classes else self.own("low", s.lane.tap)
        self.put(f"low = {least} + {self.product(['start', stride])}")
        if plain:
            self.lines_in_place(tests)
        else:
            self.lines_of_formula(tests)
        self.depth = depth

    def needed(self) -> str:
        """Lines that the block at hand reads: of whole groups of rows."""
        assert self.s.row is not None
        rows = "(ceil_div(bottom - top, tile.lines) * tile.lines - 1)"
        return f"{self.product([rows, self.inner(self.s.row.stride)])} + more_lines"

    def lines_in_place(self, tests: Sequence[str]) -> None:
        """The lines of an operand as it is."""
        s, x = self.s, self.copied
        assert isinstance(x, Access)
        self.used.add("copy_lines")
        stride, name, size = self.inner(s.lane.stride), self.names[x], self.size(s.lane.follower)
        held = {s.lane.follower, *([s.row.follower] if s.row is not None else [])}
        at = ", ".join("0" if i in held else self.names[i] for i in x.indices)
        apart, first, lines, height = "0", "0", "1", "1"
        if s.row is not None:
            first, lines = self.own("from", s.row.follower), "needed"
            height = self.size(s.row.follower)
            if s.row.follower in x.indices:
                apart = f"{name}.stride({x.indices.index(s.row.follower)})"
        if tests:
            self.put(f"there = {height} if {' and '.join(tests)} else 0")
            height = "there"
        step = f"{name}.stride({x.indices.index(s.lane.follower)})"
        self.put(
            f"copy_lines(tile, to, pitch, area, {name}.pointer({at}), {apart}, {first}, {lines}, {height}, "
            f"{step}, {stride}, low, span, {size})"
        )
        self.put(f"to = to + {self.product([stride, 'area'])}")

    def lines_of_formula(self, tests: list[str]) -> None:
        """The lines of a formula of what is read at the same places."""
        s, lane = self.s, self.names[self.s.lane.follower]
        stride, length = self.inner(s.lane.stride), self.size(s.lane.follower)
        place = "to + column"
        if stride != "1":
            self.put(f"for phase in range({stride}):", True)
        depth = self.depth
        if s.row is not None:
            f = self.names[s.row.follower]
            self.put("for line in range(needed):", True)
            self.put(f"{f} = {self.own('from', s.row.follower)} + line")
            tests = [*tests, f"0 <= {f} < {self.size(s.row.follower)}"]
            self.put("line_at = to + line * pitch")
            place = "line_at + column"
        self.put(f"there = {length} if {' and '.join(tests)} else 0" if tests else f"there = {length}")
        if stride == "1":
            self.put("begin = min(max(0, -low), span)")
            self.put("finish = max(begin, min(span, there - low))")
        else:
            self.put(f"begin = min(max(0, ceil_div(-low - phase, {stride})), span)")
            self.put(f"finish = max(begin, min(span, ceil_div(there - low - phase, {stride})))")
        self.margin("0", "begin", place)
        at = f"low + phase + column * {stride}" if stride != "1" else "low + column"
        self.names[s.lane.follower] = at
        moved, self.b.moves = self.b.moves, {s.lane.follower: s.lane.stride}
        self.put("for column in range(begin, finish - lanes.width, lanes.width):", True)
        self.put(f"lanes.store({place}, {self.copy('')})")
        self.depth -= 1
        self.put("if finish - begin >= lanes.width:", True)  # the last may overlap the one before
        self.put("column = finish - lanes.width")
        self.put(f"lanes.store({place}, {self.copy('')})")
        self.depth -= 1
        self.put("elif begin < finish:", True)
        self.put("column = begin")
        self.put("inside = lanes.first(finish - begin)")
        self.put(f"lanes.store({place}, {self.copy('inside')})")
        self.depth -= 1
        self.margin("finish", "span", place)  # perhaps into the next line
        self.b.moves, self.names[s.lane.follower] = moved, lane
        self.depth = depth
        self.put("to = to + area")

    def margin(self, start: str, end: str, place: str) -> None:
        """Vectors of what stands outside."""
        self.put(f"for column in range({start}, {end}, lanes.width):", True)
        self.put(f"lanes.store({place}, {self.start()})")
        self.depth -= 1

    def copy(self, mask: str) -> str:
        """A vector of what moves: a read, or a formula of several at the same places."""
        outside = self.start()
        if isinstance(self.copied, Access) and outside == "lanes.zero()":
            return self.read(self.copied, mask)
        value = self.lane_body(self.reads(self.copied, mask), self.copied)
        return self.call("select", mask, value, outside) if mask else value

    def start(self) -> str:
        """What no point changes: where a sum or an extremum starts, and what stands where there is no point."""
        kind = self.eq.reduce
        if kind == "sum":
            return "lanes.zero()"
        return f"lanes.fill({self.call('lowest' if kind.endswith('max') else 'highest')})"

    def blocks_of_classes(self, phases: dict[Axis, str], phase: str) -> None:
        """The classes of lanes one after another, into lines that are woven; straight to the target if there is one."""
        s, depth = self.s, self.depth
        if s.row is not None:
            self.put("tapped = 0")
        self.put(f"for {phase} in range({self.classes(s.lane)}):", True)
        self.put(f"sharing, count = ends[2 * {phase}], ends[2 * {phase} + 1]")
        self.put(f"end = min({self.axes[s.lane].members}, start + stretch)")
        inner = self.depth
        self.weights_start()
        self.blocks(self.sums_of_copies, lambda: self.stored(phases))
        self.depth = inner
        if s.row is not None:
            self.put("tapped = count")
        self.depth = depth
        self.put(f"if {self.classes(s.lane)} > 1:", True)
        self.weave(phases)
        self.depth = depth

    def weights_start(self) -> None:
        """Where the weights of a block's windows begin."""
        held = {*self.s.rest, *(a.tap for a in self.s.axes)}
        for r in self.weights:
            at = ", ".join("0" if i in held else self.names[i] for i in r.indices)
            self.put(f"{self.of(r, 'at')} = {self.names[r]}.pointer({at})")

    def cleared(self, column: str) -> None:
        depth = self.depth
        self.put(f"{column} = {self.tile}.column()")
        self.put(f"for u in range({self.tile}.lines):", True)
        self.put(f"{column}[0, u] = lanes.zero()")
        self.depth = depth

    def blocks(self, sums: Callable[[], None], stored: Callable[[], None]) -> None:
        """The sums of a block, vector by vector of lanes."""
        s = self.s
        if s.row is not None:
            once = " and add == 0" if self.adds else ""
            if s.lane.classes:  # lines that are woven have whole vectors
                once += f" and {self.classes(s.lane)} == 1"
            self.put(
                "# a last vector of a line takes lanes of the one before again, rather than a part of its own"
            )
            self.put(f"last_at = end - lanes.width if end - start >= lanes.width{once} else end")
            self.put(f"for row in range(top, bottom, {self.tile}.lines):", True)
            self.put(f"rows = min({self.tile}.lines, bottom - row)")
            self.put("for next_at in range(start, end, lanes.width):", True)
            self.put("at = min(next_at, last_at)")
        else:
            self.put("for at in range(start, end, tile.lines * lanes.width):", True)
        depth = self.depth
        self.cleared("total")
        sums()
        self.depth = depth
        stored()

    def sums_of_copies(self) -> None:
        s, depth = self.s, self.depth
        self.put("here = scratch + (at - start)" + (" + (row - top) * apart" if s.row is not None else ""))
        for shared in (True, False) if s.row is not None else (False,):
            self.terms(shared)
            self.depth = depth

    def terms(self, shared: bool) -> None:
        s = self.s
        first = "tapped, sharing" if self.s.lane.classes else "sharing"
        self.put(f"for tap in range({first if shared else 'sharing, count'}):", True)
        load = "load_span" if shared else "load_column"
        self.put(f"{self.read_lines} = tile.{load}(here + steps[tap], apart)")
        if shared:
            self.put("for more in range(tile.taps):", True)
        marks: dict[sp.Basic, sp.Basic] = {}
        for r in self.weights:
            mark = sp.Dummy(r.tensor, real=True)
            by = (
                f" + more * {self.of(r, 'by')}"
                if shared and s.row is not None and s.row.tap in r.indices
                else ""
            )
            self.names[mark] = self.of(r, "lanes")
            self.put(f"{self.names[mark]} = lanes.fill({self.of(r, 'at')}[{self.of(r, 'steps')}[tap]{by}])")
            marks[r] = mark
        self.names[self.mark] = f"{self.read_lines}[0, u{' + more' if shared else ''}]"
        self.b.vectors |= {self.mark, *marks.values()}
        self.put("for u in range(tile.lines):", True)
        value = self.lane_body(marks, self.summed)
        now = fused(value, "total[0, u]") or f"total[0, u] + {value}"
        self.used |= {"fma"} if now.startswith("fma(") else set()
        self.put(f"total[0, u] = {now}")

    def stored(self, phases: dict[Axis, str]) -> None:
        """Each row of the block to the target, multiplied by what multiplies its whole sum."""
        s, depth = self.s, self.depth
        lane, modulus = self.names[s.lane.place], self.inner(s.lane.modulus)

        def place(a: Axis, at: str) -> str:
            m = self.inner(a.modulus)
            return f"{phases[a]} + ({at}) * {m}" if a.classes else at

        if s.row is None:
            each = [
                "active = lanes.first(end - at - u * lanes.width)",
                f"{lane} = {place(s.lane, 'at + u * lanes.width')}",
            ]
        else:
            each = [f"{self.names[s.row.place]} = {place(s.row, 'row + u')}"]
            self.put("active = lanes.first(end - at)")
            self.put(f"{lane} = {place(s.lane, 'at')}")
        if self.factor != 1:
            self.each_line("u < rows" if s.row is not None else "", each)
            self.put("result = total[0, u]")
            self.multiplied(self.factor, "result")
            self.put("total[0, u] = result")
            self.depth = depth
        if s.lane.classes:
            line = " + (row - top + u) * stretch" if s.row is not None else " + u * lanes.width"
            self.put(f"if {self.classes(s.lane)} > 1:", True)
            self.put(f"for u in range({self.tile}.lines):", True)
            self.put(f"lanes.store(woven + ({phases[s.lane]} * whole + at - start{line}), total[0, u])")
            self.depth = depth
        if s.row is not None:
            if s.lane.classes:
                self.put("else:", True)
            self.put(f"{self.names[s.row.place]} = {place(s.row, 'row')}")
            lines = self.target_lines({s.lane.place: modulus}, {s.row.place: self.inner(s.row.modulus)})
            if self.adds:
                self.put("if add != 0:", True)
                self.put(f"kept = {self.tile}.read_where({lines}, rows, active)")
                self.put(f"for u in range({self.tile}.lines):", True)
                self.put("total[0, u] = total[0, u] + kept[0, u]")
                self.depth -= 2
            self.put(f"{self.tile}.write_where({lines}, total, rows, active)")
            self.depth = depth
            return
        complete = f"at + tile.lines * lanes.width <= end{' and add == 0' if self.adds else ''}"
        self.put(f"{'elif' if s.lane.classes else 'if'} {complete}:", True)
        self.put(f"{lane} = {place(s.lane, 'at')}")
        self.put("active = lanes.first(lanes.width)")
        far = f"lanes.width * {modulus}" if modulus != "1" else "lanes.width"
        lines = self.target_lines({s.lane.place: modulus}, {s.lane.place: far})
        self.put(f"tile.write_where({lines}, total, tile.lines, active)")
        self.depth = depth
        self.put("else:", True)
        self.each_line("", each)
        self.put("result = total[0, u]")
        self.close("result")
        self.depth = depth

    def target_lines(self, moves: dict[Index, str], apart: dict[Index, str]) -> str:
        """Lines of the target, from the place at hand on."""
        return self.lines_of(self.eq.target, moves, apart)

    def lines_of(self, r: Access, moves: dict[Index, str], apart: dict[Index, str]) -> str:
        """Lines of what is accessed, from the place at hand on."""
        comma = "," * (len(r.indices) == 1)
        parts = [
            [self.names[i] for i in r.indices],
            [moves.get(i, "0") for i in r.indices],
            [apart.get(i, "0") for i in r.indices],
        ]
        texts = [f"({', '.join(p)}{comma})" for p in parts]
        return f"{self.names[r]}.lines({', '.join(texts)})"

    def weave(self, phases: dict[Axis, str]) -> None:
        """The lines of all classes of lanes, in turn, to the target."""
        s = self.s
        self.used.add("weave")
        m, free, target = self.inner(s.lane.modulus), self.eq.free, self.names[self.eq.target]
        at, apart, lines = [self.names[i] for i in free], "0", "1"
        at[free.index(s.lane.place)] = f"start * {m}"
        if s.row is not None:
            k, by = free.index(s.row.place), self.inner(s.row.modulus)
            at[k] = f"{phases[s.row]} + top * {by}" if s.row.classes else "top"
            apart, lines = self.product([by, f"{target}.stride({k})"]), "bottom - top"
        step = f"{target}.stride({free.index(s.lane.place)})"
        count = f"min({self.size(s.lane.place)} - start * {m}, stretch * {m})"
        self.put(
            f"weave(tile, {target}.pointer({', '.join(at)}), {apart}, {step}, woven, stretch, whole, {lines}, "
            f"{self.classes(s.lane)}, {count}, {'add != 0' if self.adds else 'False'})"
        )

    def each_line(self, test: str, each: Sequence[str]) -> None:
        self.put(f"for u in range({self.tile}.lines):", True)
        if test:
            self.put(f"if {test}:", True)
        for line in each:
            self.put(line)

    # --- how much room it takes ----------------------------------------------------------------

    def room(self, s: Slide, name: str, integers: Sequence[sp.Symbol]) -> str:
        """Functions of the integers: scalars of the copies of a block, and places of taps."""
        size = self.size
        stride = self.inner(s.lane.stride)
        lines = [
            "    width = tile.lanes.width",
            f"    stretch = {self.stretch(s, 'width')}",
            f"    pitch = ceil_div(stretch + max(0, {self.reach(s.lane)})"
            + (f" // {stride}" if stride != "1" else "")
            + ", width) * width",
        ]
        factors = [*map(size, s.rest), *(size(a.tap) for a in s.others), stride]
        if s.row is not None:
            lines.append(f"    deep = {self.deep('tile', size(s.row.place))}")
            rows = self.product(["(deep - 1)", self.inner(s.row.stride)])
            lines.append(f"    height = {rows} + max(0, {self.reach(s.row)}) + 1")
        area = (
            f"({self.bounded_product(['height', 'pitch'])} + width)"
            if s.row is not None
            else "(pitch + width)"
        )
        room = self.bounded_product([*factors, area])
        if s.lane.classes:
            deep = ["deep"] if s.row is not None else []
            room += f" + {self.bounded_product([self.classes(s.lane), *deep, 'stretch'])}"
        lines.append(f"    return {room}")
        return self.room_of(f"{name}_room", integers, "Scalars that the windows of a block read.", lines)

    def taps_at_most(self, s: Slide) -> str:
        return self.product([*map(self.size, s.rest), *(self.size(a.tap) for a in s.axes)])

    def taps_of(self, s: Slide) -> str:
        """Places in the tables: one for what moves and one for each weight, and the ends of each class's."""
        tables = self.product([str(1 + len(self.operands(s))), self.taps_at_most(s)])
        return f"{tables} + 2 * {self.classes(s.lane)}" if s.lane.classes else tables

    def size(self, i: Index) -> str:
        return self.inner(self.eq.relation.size(i))

    def multiplied(self, factor: sp.Expr, acc: str) -> None:
        raise NotImplementedError

    def close(self, acc: str, mask: str = "active") -> None:
        raise NotImplementedError
