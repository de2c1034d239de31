"""Windows that tile their operand as source: lying side by side they are combined along the lanes first.

    for each block of planes
        for each plane: combine the elements that each window reads of a line, one line after another as if they were one
        for each plane, for each row of places: combine what the lines of its windows gave

Where no two windows share an element and a row of them takes a whole line, lines that follow each other in memory are one
long line, and no line has ends to mind: so in small planes most of the work of the lines is saved. In a gradient, where
each place reads one element at most, the elements are laid out as far apart as the places that read them.

The place of an extremum is the number of its element in the plane: of equals the first is met first.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from derive.emit.kernel import _polynomial, _wrapped
from derive.emit.separable import CELLS, SeparableWriter
from derive.emit.vectors import Block
from derive.lower.slide import Axis, Slide
from derive.program import Access

APART = 4  # blocks that a plane of elements laid apart may take; of combined lines, one


class TiledWriter(SeparableWriter):
    """Writes windows that lie side by side."""

    def tiles(self, s: Slide) -> bool:
        """Can its windows be such as tile the operand? (Whether they do is seen when it runs.)"""
        self.s = s
        if s.rest or not isinstance(self.copied, Access):
            return False
        if not _polynomial(self.factor):
            return False  # short rows need masks, lest lanes beyond them divide by what is not there
        classes = {a.classes for a in s.axes}
        if len(classes) != 1 or (True in classes and any(a.spread != 1 for a in s.axes)):
            return False
        n = len(s.axes)
        followers = tuple(a.follower for a in s.axes)
        places = tuple(a.place for a in s.axes)
        if self.copied.indices[-n:] != followers or set(self.copied.indices[:-n]) & {*followers, *places}:
            return False
        targets = [self.eq.target, *([self.nest.value] if self.nest.value is not None else [])]
        return self.eq.free[-n:] == places and all(t.indices[-n:] == places for t in targets)

    def tiled(self, s: Slide, title: str, signature: Sequence[str], rooms: str) -> str:
        self.lines, self.depth = [], 1
        self.used |= {"share", "ceil_div"}
        self.s, self.argument = s, self.eq.at is not None
        self.b = Block({s.lane.place: sp.S.One})
        self.upper = tuple(a for a in s.axes if a != s.lane)
        self.outer = [i for i in self.eq.free if i not in {a.place for a in s.axes}]
        lane = s.lane
        self.put("lanes = tile.lanes")
        for a in s.axes:
            self.put(f"{self.own('low', a.tap)} = {self.integer(self.low_of(a))}")
        self.put(f"span = {self.length_of_line()}")
        self.put(f"cells = {self.product([*self.upper_sizes(), 'span'])}")
        modulus = self.inner(lane.modulus)
        self.put(
            f"pitch = cells + {'lanes.width' if modulus == '1' else f'{modulus} + 2 * {modulus} * lanes.width'}"
        )
        self.put(f"group = max(1, {CELLS} * {self.whole_stretch()} // pitch)")
        if self.argument:
            self.put("before = scratch + group * pitch")
        self.put(f"spills = {self.goes_on()}")
        self.put(f"all_planes = {self.product([self.size(i) for i in self.outer])}")
        self.put("first, last = share(ceil_div(all_planes, group), task, tasks)")
        self.put("for item in range(first, last):", True)
        self.put("row = item * group")
        self.put("planes = min(group, all_planes - row)")
        depth = self.depth
        self.first_row()
        self.put("for u in range(planes):", True)
        (self.elements_apart if lane.classes else self.lines_combined)()
        self.depth = depth + 1
        self.next_row()
        self.depth = depth
        self.first_row()
        self.put("for u in range(planes):", True)
        self.rows_of_places()
        self.depth = depth + 1
        self.next_row()
        return self.as_task(title, signature, self.tiling(s), rooms)

    @staticmethod
    def tiling(s: Slide) -> str:
        names = " ".join(dict.fromkeys(r.tensor for r in s.moving))
        return f"Windows that tile {names}, along {s.lane.place} and then line by line"

    # --- extents -----------------------------------------------------------------------------

    def upper_sizes(self) -> list[str]:
        return [self.size(a.follower) for a in self.upper]

    def length_of_line(self) -> str:
        """What is kept of a line of the operand."""
        lane = self.s.lane
        return (
            self.size(lane.place)
            if not lane.classes
            else self.product([self.size(lane.follower), self.inner(lane.modulus)])
        )

    def goes_on(self) -> str:
        """Do the rows of a plane follow each other in what is written?"""
        n = len(self.s.axes)
        targets = [self.eq.target, *([self.nest.value] if self.nest.value is not None else [])]
        tests = []
        for t in targets:
            rank, v = len(t.indices), self.names[t]
            for k in range(rank - n + 1, rank):
                tests.append(f"{v}.stride({k - 1}) == {self.size(t.indices[k])} * {v}.stride({k})")
        return " and ".join(tests) or "True"

    def at_plane(self, along: str, moves: str) -> str:
        """Elements of the operand from one of a plane on."""
        assert isinstance(self.copied, Access)
        n = len(self.s.axes)
        fixed = [self.names[i] for i in self.copied.indices[:-n]] + ["0"] * (n - 1)
        comma = "," * (not fixed)
        return (
            f"{self.names[self.copied]}.run(({', '.join([*fixed, along])}{comma}), "
            f"({', '.join(['0'] * len(fixed) + [moves])}{comma}))"
        )

    # --- lines -------------------------------------------------------------------------------

    def lines_combined(self) -> None:
        """The elements that each window reads of a line, combined; all lines of a plane as one."""
        lane, kind = self.s.lane, self.eq.reduce
        stride, spread = self.inner(lane.stride), self.inner(lane.spread)
        depth = self.depth
        self.put("to = scratch + u * pitch")
        if self.argument:
            self.put("to_at = before + u * pitch")
        self.put("inside = lanes.first(cells)")
        self.put("for at in range(0, cells, lanes.width):", True)
        self.put("at = max(0, min(at, cells - lanes.width))")  # the last may overlap the one before
        acc = "total" if kind == "sum" else "best"
        inner = self.depth
        start = f"{self.own('low', lane.tap)} + {self.product(['at', stride])}"
        for whole in (True, False):
            self.put("if cells >= lanes.width:" if whole else "else:", True)

            def read(along: str, whole: bool = whole) -> str:
                line = self.at_plane(along, stride)
                if whole:
                    return f"lanes.read({line})"
                text = f"lanes.read_where({line}, inside)"
                return text if kind == "sum" else self.call("select", "inside", text, self.start())

            def place(along: str) -> str:
                by = self.integer(sp.expand(self.at_column * lane.stride))
                at = along if self.at_column == 1 else f"({along}) * {self.inner(self.at_column)}"
                return f"lanes.real(lanes.narrow_ramp({at}, {by}))"

            self.put(f"{acc} = {read(start)}")
            if self.argument:
                self.put(f"best_at = {place(start)}")
            self.put(f"for tap in range(1, {self.size(lane.tap)}):", True)
            along = f"{start} + {self.product(['tap', spread])}"
            self.better(read(along), place(along) if self.argument else "")
            self.depth = inner
        self.put(f"lanes.store(to + at, {acc})")
        if self.argument:
            self.put("lanes.store(to_at + at, best_at)")
        self.depth = depth
        self.put(f"lanes.store(to + cells, {self.start()})")
        if self.argument:
            self.put(f"lanes.store(to_at + cells, {self.far()})")

    def better(self, value: str, at: str) -> None:
        """Combine what is known by now with a value (and its place)."""
        kind = self.eq.reduce
        if kind == "sum":
            self.put(f"total = total + {value}")
        elif not self.argument:
            self.put(f"best = {self.call(f'{kind}imum', 'best', value)}")
        else:
            self.used |= {"unequal", "select"}
            self.put(f"value = {value}")
            self.put(f"better = (value {self.sign()} best) | unequal(value, value)")
            self.put("best = select(better, value, best)")
            self.put(f"best_at = select(better, {at}, best_at)")

    def elements_apart(self) -> None:
        """The elements of a plane as far apart as the places that read them."""
        lane = self.s.lane
        modulus, depth = self.inner(lane.modulus), self.depth
        self.put(f"to = scratch + (u * pitch + {modulus})")
        self.put(f"for column in range(0, {modulus}, lanes.width):", True)
        self.put(f"lanes.store(to + (column - {modulus}), {self.start()})")
        self.depth = depth
        self.put(f"count = {self.product([*self.upper_sizes(), self.size(lane.follower)])}")
        self.put("inside = lanes.first(count)")
        self.put("for at in range(0, count, lanes.width):", True)
        self.put("at = max(0, min(at, count - lanes.width))")
        inner = self.depth
        line = self.at_plane("at", "1")
        self.put("if count >= lanes.width:", True)
        self.put(f"lanes.store_apart(to + at * {modulus}, {modulus}, lanes.read({line}), {self.start()})")
        self.depth = inner
        self.put("else:", True)
        text = f"lanes.read_where({line}, inside)"
        text = text if self.eq.reduce == "sum" else self.call("select", "inside", text, self.start())
        self.put(f"lanes.store_apart(to + at * {modulus}, {modulus}, {text}, {self.start()})")
        self.depth = depth
        self.put(f"lanes.store(to + cells, {self.start()})")

    # --- rows --------------------------------------------------------------------------------

    def rows_of_places(self) -> None:
        """What the lines gave, combined for each row of places."""
        s, lane, kind = self.s, self.s.lane, self.eq.reduce
        places, modulus = self.size(lane.place), self.inner(lane.modulus)
        self.put("to = scratch + " + ("u * pitch" if not lane.classes else f"(u * pitch + {modulus})"))
        if self.argument:
            self.put("to_at = before + u * pitch")
        self.put(f"left = {self.product([self.size(a.place) for a in s.axes])}")
        for a in self.upper:
            self.put(f"for {self.names[a.place]} in range({self.size(a.place)}):", True)
        rows = self.depth
        if lane.classes:
            self.put(f"taps_here = {self.size(lane.tap)}")
            for a in self.upper:
                f, p, m = self.names[a.follower], self.names[a.place], self.inner(a.modulus)
                self.put(f"{f} = {p} // {m}")
                back = f"{f} * {m} - {p} - {self.own('low', a.tap)}"
                self.put(f"if not 0 <= {back} < {self.size(a.tap)}:", True)
                self.put("taps_here = 0")
                self.depth -= 1
        self.put(f"for column in range(0, {places}, lanes.width):", True)
        self.put(f"{self.names[lane.place]} = max(0, min(column, {places} - lanes.width))")
        p = self.names[lane.place]
        acc = "total" if kind == "sum" else "best"
        inner = self.depth
        self.put(f"{acc} = {self.start()}")
        if self.argument:  # the first point is one, though it were below every number
            for a in self.upper:
                low = (
                    f"{self.own('low', a.tap)} + {self.product([self.names[a.place], self.inner(a.stride)])}"
                )
                self.put(f"{self.names[a.follower]} = {low}")
            self.put(f"best = lanes.load(to + ({self.line_of_plane()} + {p}))")
            self.put(f"best_at = lanes.load(to_at + ({self.line_of_plane()} + {p}))")
        if lane.classes:
            self.put("for tap in range(taps_here):", True)
            spread = self.product(["tap", self.inner(lane.spread)])
            at = f"{self.line_of_plane()} + {p} + {self.own('low', lane.tap)} + {spread}"
        else:
            for a in self.upper:
                t, f = self.own("tap", a.tap), self.names[a.follower]
                self.put(f"for {t} in range({self.size(a.tap)}):", True)
                low = (
                    f"{self.own('low', a.tap)} + {self.product([self.names[a.place], self.inner(a.stride)])}"
                )
                self.put(f"{f} = {low} + {self.product([t, self.inner(a.spread)])}")
            at = f"{self.line_of_plane()} + {p}"
        self.better(f"lanes.load(to + ({at}))", f"lanes.load(to_at + ({at}))")
        self.depth = inner
        self.put(f"active = lanes.first({places} - {p})")
        made = [(self.eq.target, acc)]
        if kind == "sum":
            self.multiplied(self.factor, "total")
        if self.argument:
            rest = self.integer(self.rest_of_place())
            result = f"lanes.narrow(best_at) + lanes.narrow_integers({rest})"
            self.put(f"result = lanes.long({result})")
            made = [(self.eq.target, "result")]
            if self.nest.value is not None:
                made.append((self.nest.value, "best"))
        # lanes beyond the row are written before the rows that they are of
        self.put(f"if lanes.width <= {places} or (spills and left >= lanes.width):", True)
        for target, value in made:
            self.put(f"lanes.write_where({self.spilled(target)}, {value}, lanes.where(True))")
        self.depth = inner
        self.put("else:", True)
        for target, value in made:
            self.put(f"lanes.write_where({self.line(target)}, {value}, active)")
        self.depth = rows
        self.put(f"left -= {places}")

    def spilled(self, a: Access) -> str:
        return self.line(a).replace(".line(", ".run(", 1)

    def line_of_plane(self) -> str:
        """Where the line of the upper indices begins."""
        text = ""
        for k, a in enumerate(self.upper):
            f = self.names[a.follower]
            text = f if not k else f"({text} * {self.size(a.follower)} + {f})"
        return f"{text} * span" if text else "0"

    # --- the place of an extremum ------------------------------------------------------------

    def weights_of_axes(self) -> list[tuple[Axis, sp.Expr]]:
        """What a step of each axis's follower adds to the number of an element in its plane."""
        found, weight = list[tuple[Axis, sp.Expr]](), self.at_column
        for a in reversed(self.s.axes):
            found.append((a, weight))
            weight = weight * self.eq.relation.size(a.follower)
        return found

    def rest_of_place(self) -> sp.Expr:
        """What an extremum's place is beyond the number of its element."""
        assert self.eq.at is not None
        rest = self.eq.at.without(*(i for a in self.s.axes for i in (a.place, a.tap))).expr
        return sp.expand(rest - sum(w * a.offset for a, w in self.weights_of_axes()))

    # --- how much room it takes, and when ----------------------------------------------------

    def cells_of_plane(self, s: Slide) -> str:
        self.upper = tuple(a for a in s.axes if a != s.lane)
        line = [s.lane.place] if not s.lane.classes else [s.lane.follower]
        sizes = [*self.upper_sizes(), *map(self.size, line), self.inner(s.lane.modulus)]
        return self.bounded_product(sizes)

    def room_of_tiled(self, s: Slide, name: str, integers: Sequence[sp.Symbol]) -> str:
        """A function of the integers: scalars of the lines of a block."""
        self.s, lane = s, s.lane
        cells = self.cells_of_plane(s)
        modulus = self.inner(lane.modulus)
        more = "tile.lanes.width" if not lane.classes else f"{modulus} + 2 * {modulus} * tile.lanes.width"
        lines = [
            f"    pitch = {cells} + {more}",
            f"    cells = max({CELLS} * {self.whole_stretch()}, pitch) + tile.lanes.width",
            "    return 2 * cells" if self.eq.at is not None else "    return cells",
        ]
        return self.room_of(f"{name}_room", integers, "Scalars that the windows of a block read.", lines)

    def in_one_piece(self, s: Slide) -> list[str]:
        """Do the lines of a plane of the operand follow each other?"""
        self.s, n = s, len(s.axes)
        self.operands(s)
        assert isinstance(self.copied, Access)
        v, rank = self.names[self.copied], len(self.copied.indices)
        return [
            f"{v}.stride({k - 1}) == {self.size(self.copied.indices[k])} * {v}.stride({k})"
            for k in range(rank - n + 1, rank)
        ]

    def fits(self, s: Slide, name: str, integers: Sequence[sp.Symbol], more: Sequence[str]) -> str:
        """A function of the integers: do the windows tile the operand, and is a plane of it small?"""
        given = _wrapped(
            f"def {name}_fit(", ["tile: Tile", *(f"{self.names[i]}: int" for i in integers)], ") -> bool:"
        )
        blocks = CELLS * (APART if s.lane.classes else 1)
        tests = [
            *self.tests_of_tiles(s),
            f"{self.cells_of_plane(s)} <= {blocks} * {self.whole_stretch()}",
            *more,
        ]
        lines = [given, '    """Do windows lie side by side, and is a plane small?"""']
        lines += [f"    fit = {tests[0]}", *(f"    fit = fit and {test}" for test in tests[1:])]
        return "\n".join([*lines, "    return fit"]) + "\n"

    def tests_of_tiles(self, s: Slide) -> list[str]:
        self.s = s
        tests = list[str]()
        for a in s.axes:
            taps, places, size = self.size(a.tap), self.size(a.place), self.size(a.follower)
            stride, modulus, spread = self.inner(a.stride), self.inner(a.modulus), self.inner(a.spread)
            reach = self.bounded_product([f"({taps} - 1)", spread])
            reach = reach if reach.startswith("bounded") else f"({reach})"
            low = self.integer(self.low_of(a))
            tests.append(f"{taps} >= 1")
            if a.classes:
                tests += [f"{self.bounded_product([modulus, size])} == {places}"]
                tests += [f"{reach} < {modulus}", f"-{modulus} < {low} <= -{reach}"]
            elif a == s.lane:
                tests += [
                    f"{self.bounded_product([stride, places])} == {size}",
                    f"0 <= {low} < {stride} - {reach}",
                ]
            else:
                last = self.bounded_product([stride, f"({places} - 1)"])
                tests += [f"0 <= {low}", f"{low} + {last} + {reach} < {size}"]
        if self.eq.at is not None:
            at = self.eq.at
            for a, weight in self.weights_of_axes():
                for i, by in ((a.place, a.stride), (a.tap, a.spread)):
                    sides = [self.bounded_sum(e) for e in (sp.expand(weight * by), at.coefficient(i))]
                    if sides[0] != sides[1]:
                        tests.append(" == ".join(sides))
        return tests
