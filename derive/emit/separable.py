"""Windows without weights as source: what a window holds is combined line by line first, then along the lanes.

    for each block: some rows of places, or a stretch of each
        for each row
            combine the lines that its windows read, element by element, into one line of scratch
        for each row, or several at once where one goes on in the next, for each vector of places
            combine the elements of the line that each window reads

A window of K x L elements takes K + L operations for a place, not K * L, and where windows do not overlap each element
is read once. The line is as wide as the windows reach; where the operand has no element it holds what changes nothing.
Of residue classes (a gradient's) no loop is needed along the lanes: elements stand `modulus` apart in the line, with what
changes nothing between.

With an extremum its place goes through the same two steps, as a number of the arrays' type. Places grow in the order of
the windows' points, so that of equals the first is the one that is smaller.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from derive.emit.slide import SlideWriter
from derive.emit.vectors import Block, NoVector
from derive.language import Index
from derive.lower.slide import Axis, Fold, Slide
from derive.program import Access, Affine

# Stretches of a block: enough that its first stores are done when the lines are read, elsewhere than they were written;
# a processor waits for those that are not.
CELLS = 8
TOGETHER = ("first", "second", "third")  # lines that are combined in registers, before any is stored
FAR = 1 << 24  # above each place that goes through a line: float32 holds all integers up to it


class SeparableWriter(SlideWriter):
    """Writes windows that are combined line by line, then along the lanes."""

    argument: bool  # is the place of an extremum wanted?

    areas = ("to", "to_at")  # where a line of elements is, and one of places
    running = False  # may a line of what is read or written at the places go on in the next row?

    def separable(self, s: Slide) -> bool:
        """Does no tap have a weight of its own?"""
        if isinstance(s, Fold):
            return False
        self.s = s
        return not self.operands(s) and (s.equation.reduce != "sum" or self.summed == self.mark)

    def separate(self, s: Slide, title: str, signature: Sequence[str], rooms: str) -> str:
        self.lines, self.depth = [], 1
        self.used |= {"share", "ceil_div"}
        self.s, self.argument = s, self.eq.at is not None
        self.operands(s)
        self.b = Block({s.lane.place: sp.S.One})
        self.upper = tuple(a for a in s.axes if a != s.lane)
        free = self.eq.free
        at = free.index(s.lane.place)
        self.row = free[at - 1] if at else None
        self.flows = self.row is not None and self.may_flow()
        if self.argument:
            self.place_parts()
        self.put("lanes = tile.lanes")
        for a in s.axes:
            self.put(f"{self.own('low', a.tap)} = {self.integer(self.low_of(a))}")
        self.measures()
        depth = self.depth
        self.loop_of_blocks()
        self.lines_of_rows()
        self.along_lanes()
        self.depth = depth
        return self.as_task(title, signature, self.separately(s), rooms)

    @staticmethod
    def separately(s: Slide) -> str:
        names = " ".join(dict.fromkeys(r.tensor for r in s.moving))
        return f"Windows of {names}, line by line and then along {s.lane.place}"

    # --- what is known when the source is written --------------------------------------------

    def flowing(self) -> list[Access]:
        """What is read or written at the places."""
        value = [self.nest.value] if self.nest.value is not None else []
        return [self.eq.target, *value, *sorted(self.factor.atoms(Access), key=str)]

    def may_flow(self) -> bool:
        """Do the places of a row and those of the next follow each other in all of it, if the strides are so?"""
        pair = (self.row, self.s.lane.place)
        bare = self.factor.xreplace({r: sp.Dummy() for r in self.factor.atoms(Access)})
        if bare.free_symbols & set(pair):
            return False
        for r in self.flowing():
            mine = [k for k, i in enumerate(r.indices) if i in pair]
            if mine and (
                len(mine) != 2 or tuple(r.indices[k] for k in mine) != pair or mine[1] != mine[0] + 1
            ):
                return False
        return True

    def place_parts(self) -> None:
        """The place of an extremum as a part of its line, and a part of its column there."""
        lane = self.s.lane
        assert self.eq.at is not None
        at: Affine = self.eq.at
        along = at.coefficient(lane.tap)
        factor = sp.cancel(along / lane.spread)
        if sp.expand(at.coefficient(lane.place) - factor * lane.stride) != 0 or not factor.is_nonnegative:
            raise NoVector  # it is no function of the element that is read
        rest = at.without(lane.tap, lane.place)
        self.at_column = sp.expand(factor)
        self.at_row = sp.expand(rest.expr - factor * lane.offset)
        if self.points()[-1] != lane.tap:
            raise NoVector  # along the lanes the points of a window come last

    def points(self) -> list[Index]:
        """What tells the points of a window from each other, in their order."""
        held = {*self.s.rest, *(a.tap for a in self.s.axes)}
        return [i for i in self.eq.bound if i in held]

    # --- extents -----------------------------------------------------------------------------

    def low_of(self, a: Axis) -> sp.Expr:
        """Where the tap that reads lowest reads at place 0."""
        return a.offset - (a.spread * (self.eq.relation.size(a.tap) - 1) if a.falls else 0)

    def whole_stretch(self) -> str:
        return "tile.lines * tile.lines * tile.lanes.width"

    def reach_of(self, a: Axis) -> str:
        """How far the taps of a window lie apart."""
        far = self.product([f"({self.size(a.tap)} - 1)", self.inner(a.spread)])
        return f"max(0, {far[1:-1] if far.count('(') == 1 and far.endswith(')') else far})"

    def measures(self) -> None:
        """How much is done at a time."""
        lane = self.s.lane
        places, stride = self.size(lane.place), self.inner(lane.stride)
        self.put(f"reach = {self.reach_of(lane)}")
        self.put(f"stretch = min({self.whole_stretch()} + reach, max(1, {places}))")
        whole = f"{self.product([stride, 'stretch'])} + reach"
        if self.flows:
            tests = [f"stretch >= {places}", f"reach < {stride}"]
            for r in self.flowing():
                if lane.place in r.indices:
                    k = r.indices.index(lane.place)
                    v = self.names[r]
                    tests.append(f"{v}.stride({k - 1}) == {places} * {v}.stride({k})")
            self.put(f"flows = {tests[0]}")
            for test in dict.fromkeys(tests[1:]):
                self.put(f"flows = flows and {test}")
        self.put(f"group = max(1, {CELLS} * {self.whole_stretch()} // ({whole}))")
        if self.tables():
            self.put("found = integer_scratch")
        self.put(f"cells = max({CELLS} * {self.whole_stretch()}, {whole}) + {self.slack()}")
        self.put("joined = scratch + cells")
        if self.argument:
            self.put("before, joined_at = scratch + 2 * cells, scratch + 3 * cells")
        elif lane.classes:
            self.put("line_of = scratch + 2 * cells")
        many = self.product(["tile.lines", stride])
        self.put(f"joins = {many} < {self.size(lane.tap)}")

    def slack(self) -> str:
        """Scalars of a block's lines beyond the last element that its windows read."""
        lane = self.s.lane
        steps = [f for f in (self.inner(lane.stride), self.inner(lane.modulus)) if f != "1"]
        return f"({' + '.join([*steps, '3'])}) * tile.lanes.width"

    def tables(self) -> list[Index]:
        """What a line is known by, besides the indices of the block: one integer each."""
        mentioned = {i for r in self.s.moving for i in r.indices}
        return [i for i in (*self.s.rest, *(a.follower for a in self.upper)) if i in mentioned]

    def loop_of_blocks(self) -> None:
        """A block is a few rows, of a stretch of places each."""
        self.outer = [i for i in self.eq.free if i != self.s.lane.place]
        self.put(f"all_rows = {self.product([self.size(i) for i in self.outer])}")
        self.put("blocks = ceil_div(all_rows, group)")
        self.put(f"stretches = ceil_div({self.size(self.s.lane.place)}, stretch)")
        self.put("first, last = share(blocks * stretches, task, tasks)")
        self.put("for item in range(first, last):", True)
        self.put("row = item // stretches * group")
        self.put("rows = min(group, all_rows - row)")
        self.put("start = item % stretches * stretch")

    def first_row(self) -> None:
        """The indices of a block's first row."""
        for k, i in enumerate(self.outer):
            below = self.product([self.size(j) for j in self.outer[k + 1 :]])
            below = f"({below})" if " " in below else below
            text = "row" + (f" // {below}" if below != "1" else "") + (f" % {self.size(i)}" if k else "")
            self.put(f"{self.names[i]} = {text}")

    def next_row(self, by: str = "1") -> None:
        """The indices of the next row, as the digits of a number go on."""
        depth = self.depth
        for k, i in enumerate(reversed(self.outer)):
            self.put(f"{self.names[i]} += {by if not k else '1'}")
            if k < len(self.outer) - 1:
                self.put(f"if {self.names[i]} == {self.size(i)}:", True)
                self.put(f"{self.names[i]} = 0")
        self.depth = depth

    # --- lines -------------------------------------------------------------------------------

    def lines_of_rows(self) -> None:
        """What the windows of each row read, combined into a line."""
        lane = self.s.lane
        stride, modulus = self.inner(lane.stride), self.inner(lane.modulus)
        classes, size = modulus != "1", self.size(lane.follower)
        self.put(f"places = min(stretch, {self.size(lane.place)} - start)")
        self.put(f"span = {self.product([stride, '(places - 1)'])} + reach + 1")
        self.put(f"origin = {self.own('low', lane.tap)} + {self.product([stride, 'start'])}")
        if classes:
            self.put(f"begin = max(0, ceil_div(origin, {modulus}))")
            self.put(f"end = min({size}, (origin + span - 1) // {modulus} + 1)")
        else:
            self.put("begin = max(0, origin)")
            self.put(f"end = min({size}, origin + span)")
        at_begin, at_end = (
            f"{n}*{modulus} - origin" if classes else f"{n} - origin" for n in ("begin", "end")
        )
        self.put(f"edge = {at_begin} if begin < end else span")
        self.put("whole = begin + max(0, end - begin) // lanes.width * lanes.width")
        self.put("inside = lanes.first(end - whole)")
        depth, self.areas = self.depth, ("to", "to_at")
        pitch = self.product([stride, "places"])
        self.put(f"pitch = {pitch} if flows else span" if self.flows else "pitch = span")
        self.first_row()
        self.put("for u in range(rows):", True)
        self.put("to = scratch + u * pitch")
        if self.argument:
            self.put("to_at = before + u * pitch")
        inner = self.depth
        self.lines_found()
        self.depth = inner
        whole = "edge if count > 0 else span" if self.has_lines() else "edge"
        self.put(f"margin = {whole}")
        self.neutral("0", "margin")
        self.put("if count > 0 and begin < end:" if self.has_lines() else "if begin < end:", True)
        self.combined_lines()
        self.neutral(at_end, "span")
        self.depth = inner
        self.next_row()
        self.depth = depth
        self.areas = ("scratch", "before")  # a vector's last lanes may go beyond the last row
        self.put("beyond = rows * pitch - (pitch - span)" if self.flows else "beyond = rows * pitch")
        after = f"beyond + {self.product([stride, 'lanes.width'])}"
        self.put(f"for column in range(beyond, {after}, lanes.width):", True)
        self.neutral_vector("{0} + column")
        self.depth = depth

    def has_lines(self) -> bool:
        return bool(self.upper or self.s.rest)

    def lines_found(self) -> None:
        """Which lines the windows of a row read, and the places of their elements but for the column."""
        if not self.has_lines():
            return
        tables = self.tables()
        size = self.lines_at_most()
        self.put("count = 0")
        for i in self.s.rest:
            self.put(f"for {self.names[i]} in range({self.size(i)}):", True)
        for a in self.upper:
            f, place, taps = self.names[a.follower], self.names[a.place], self.size(a.tap)
            low = f"{self.own('low', a.tap)} + {self.product([place, self.inner(a.stride)])}"
            spread, modulus = self.inner(a.spread), self.inner(a.modulus)
            extent, t = self.size(a.follower), self.own("tap", a.tap)
            if spread == "1" and modulus == "1" and not self.argument:
                self.put(f"{self.own('from', a.follower)} = {low}")
                low = self.own("from", a.follower)
                self.put(f"for {f} in range(max(0, {low}), min({extent}, {low} + {taps})):", True)
            elif spread == "1" and not self.argument:
                self.put(f"{self.own('from', a.follower)} = {low}")
                low = self.own("from", a.follower)
                ends = (
                    f"max(0, ceil_div({low}, {modulus})), min({extent}, ceil_div({low} + {taps}, {modulus}))"
                )
                self.put(f"for {f} in range({ends}):", True)
            else:
                self.put(f"for {t} in range({taps}):", True)
                value = f"{low} + {self.product([t, spread])}"
                if modulus == "1":
                    self.put(f"{f} = {value}")
                    self.put(f"if 0 <= {f} < {extent}:", True)
                else:
                    self.put(f"{f} = ({value}) // {modulus}")
                    self.put(f"if 0 <= {f} < {extent} and {f} * {modulus} == {value}:", True)
        for k, i in enumerate(tables):
            at = "count" if not k else f"{size} + count" if k == 1 else f"{k} * ({size}) + count"
            self.put(f"found[{at}] = {self.names[i]}")
        if self.argument:
            self.put(f"found[{self.product([str(len(tables)), f'({size})'])} + count] = {self.at_line()}")
        self.put("count += 1")

    def at_line(self) -> str:
        """The part of an extremum's place that its line decides."""
        taps = {a.tap: sp.Symbol(self.own("tap", a.tap), integer=True) for a in self.upper}
        for symbol in taps.values():
            self.names[symbol] = symbol.name
        return self.integer(self.at_row.xreplace(taps))

    def lines_at_most(self) -> str:
        return self.product([*map(self.size, self.s.rest), *(self.size(a.tap) for a in self.upper)])

    def neutral(self, start: str, end: str) -> None:
        """What changes nothing, in whole vectors; what they write beyond the end is written again or not read."""
        depth = self.depth
        base = "{0}" if start == "0" else f"{{0}} + ({start})" if " " in start else f"{{0}} + {start}"
        self.put(f"if {end} > {start}:", True)
        self.neutral_vector(base)
        self.depth = depth
        after = "lanes.width" if start == "0" else f"{start} + lanes.width"
        self.put(f"for column in range({after}, {end}, lanes.width):", True)
        self.neutral_vector("{0} + column")
        self.depth = depth

    def neutral_vector(self, where: str) -> None:
        to, to_at = self.areas
        self.put(f"lanes.store({where.format(to)}, {self.start()})")
        if self.argument:
            self.put(f"lanes.store({where.format(to_at)}, {self.far()})")

    def far(self) -> str:
        return f"lanes.fill({self.call('real', str(FAR))})"

    def combined_lines(self) -> None:
        """The lines of the table combined, element by element: a few at once, then one after the other."""
        s, depth = self.s, self.depth
        modulus = self.inner(s.lane.modulus)
        most = len(TOGETHER) if self.has_lines() else 1
        for k in range(1, most + 1):
            if most > 1:
                self.put("else:" if k == most else f"{'if' if k == 1 else 'elif'} count == {k}:", True)
                for at, which in enumerate(TOGETHER[:k]):
                    self.chosen_line(str(at), which)
            self.one_line(TOGETHER[:k])
            self.depth = depth
        if most > 1:
            self.put(f"for line in range({most}, count):", True)
            self.chosen_line("line")
            self.one_line(("before", "first"))
            self.depth = depth
        if modulus != "1":
            self.put("for column in range(begin, end, lanes.width):", True)
            to = f"to + (column*{modulus} - origin)"
            value = "lanes.load(line_of + (column - begin))"
            self.put(f"lanes.store_apart({to}, {modulus}, {value}, {self.start()})")
            self.depth = depth

    def chosen_line(self, at: str, which: str = "first") -> None:
        """What a line of the table is known by."""
        tables, size = self.tables(), self.lines_at_most()

        def found(k: int) -> str:
            far = self.product([str(k), size]) if k else ""
            return f"found[{' + '.join(p for p in (far, at) if p not in ('', '0')) or '0'}]"

        for k, i in enumerate(tables):
            self.put(f"{self.index_of(i, which)} = {found(k)}")
        if self.argument:
            self.put(f"{which}_at = lanes.fill({self.call('real', found(len(tables)))})")

    def index_of(self, i: Index, which: str) -> str:
        return self.names[i] if which == "first" else self.own(which, i)

    def one_line(self, which: tuple[str, ...]) -> None:
        """A few lines, or what is known by now and one, for all elements of a line."""
        depth = self.depth
        self.put("for column in range(begin, whole, lanes.width):", True)
        self.elements(which, "")
        self.depth = depth
        self.put("if whole < end:", True)
        self.put("column = whole")
        self.elements(which, "inside")
        self.depth = depth

    def elements(self, which: tuple[str, ...], mask: str) -> None:
        """One vector of a line."""
        lane, kind = self.s.lane, self.eq.reduce
        line, at = ("line_of", "column - begin") if lane.modulus != 1 else ("to", "column - origin")
        values, places = [], []
        for w in which:
            if w == "before":
                values.append(f"lanes.load({line} + ({at}))")
                places.append(f"lanes.load(to_at + ({at}))")
                continue
            values.append(self.element(w, mask))
            if self.argument:
                places.append(self.place(w, mask))
        value = values[0]
        if self.argument and len(which) > 1:
            self.used |= {"unequal", "select"}
            self.put(f"best, best_at = {value}, {places[0]}")
            for following, place in zip(values[1:], places[1:], strict=True):
                self.put(f"value, value_at = {following}, {place}")
                self.put(f"better = (value {self.sign()} best) | unequal(value, value)")
                self.put("best = select(better, value, best)")
                self.put("best_at = select(better, value_at, best_at)")
            value, places = "best", ["best_at"]
        elif kind == "sum":
            value = " + ".join(values)
        else:
            for following in values[1:]:
                value = self.call(f"{kind}imum", value, following)
        self.put(f"lanes.store({line} + ({at}), {value})")
        if self.argument:
            self.put(f"lanes.store(to_at + ({at}), {places[0]})")

    def element(self, which: str, mask: str) -> str:
        """A vector of what moves: a read, or a formula of several at the same places."""
        lane = self.s.lane
        moved, names = self.b.moves, dict(self.names)
        for i in self.tables():
            self.names[i] = self.index_of(i, which)
        self.b.moves, self.names[lane.follower] = {lane.follower: sp.S.One}, "column"
        text = self.copy(mask)
        kept = {i: names[i] for i in (lane.follower, *self.tables())}
        self.b.moves = moved
        self.names |= kept
        return text

    def place(self, which: str, mask: str) -> str:
        """The places of a vector of elements, of the arrays' type."""
        start = self.integer(self.at_column * sp.Symbol("column", integer=True))
        text = f"lanes.real(lanes.narrow_ramp({start}, {self.integer(self.at_column)}))"
        if self.has_lines():
            text = f"{which}_at + {text}"
        elif self.at_row != 0:
            text = f"lanes.fill({self.call('real', self.integer(self.at_row))}) + {text}"
        return self.call("select", mask, text, self.far()) if mask else text

    def sign(self) -> str:
        return ">" if self.eq.reduce == "argmax" else "<"

    # --- windows -----------------------------------------------------------------------------

    def along_lanes(self) -> None:
        """The elements of the line that each window reads, combined."""
        s, kind, depth = self.s, self.eq.reduce, self.depth
        lane = s.lane
        stride, spread = self.inner(lane.stride), self.inner(lane.spread)
        self.put(f"taps = {self.size(lane.tap)}")
        self.put("read_from = scratch")
        if self.argument:
            self.put("read_at = before")
        self.put("if joins:", True)
        self.joined()
        self.depth = depth
        if self.by_threes():
            tests = [f"{f} == {n}" for f, n in ((stride, 2), (spread, 1)) if f != str(n)]
            self.put(f"threes = {' and '.join(['taps == 3', *tests])}")
        self.first_row()
        self.put("u = 0")
        self.put("while u < rows:", True)
        segment = self.depth
        flow = ""
        if self.flows:
            assert self.row is not None
            flow = "flow"
            place, size = self.names[self.row], self.size(self.row)
            self.put(f"flow = min(rows - u, {size} - {place}) if flows else 1")
        self.put("outputs = flow * places" if flow else "outputs = places")
        self.put("filled = outputs >= lanes.width" + (" and add == 0" if self.adds else ""))
        self.put("for at in range(0, outputs, lanes.width):", True)
        self.put("if filled:", True)
        self.put("at = min(at, outputs - lanes.width)")  # the last may overlap the one before
        self.depth -= 1
        acc = "total" if kind == "sum" else "best"
        inner = self.depth
        here = f"u * pitch + {self.product([stride, 'at'])}"
        self.put(f"here = read_from + ({here})")
        if self.argument:
            self.put(f"here_at = read_at + ({here})")
        if self.by_threes():
            self.put("if threes:", True)
            self.three_taps(acc)
            self.depth = inner
            self.put("else:", True)
        self.put(f"{acc} = {self.start()}")
        if self.argument:
            self.put(f"best_at = {self.far()}")
        self.put("for tap in range(taps):", True)
        tap = self.product(["tap", spread])
        read = f"lanes.load_apart(here + {tap}, {stride})"
        if kind == "sum":
            self.put(f"total = total + {read}")
        elif not self.argument:
            self.put(f"best = {self.call(f'{kind}imum', 'best', read)}")
        else:
            self.sooner(read, f"lanes.load_apart(here_at + {tap}, {stride})")
        self.depth = inner
        self.put("active = lanes.first(outputs - at)")
        self.put(f"{self.names[lane.place]} = start + at")
        self.running = self.flows
        try:
            if kind == "sum":
                self.multiplied(self.factor, "total")
            if self.argument:
                self.put(f"nowhere = equal(best_at, {self.far()})")
                result = self.call("select", "nowhere", "lanes.narrow_integers(-1)", "lanes.narrow(best_at)")
                self.put(f"result = lanes.long({result})")
            made = [(self.eq.target, "result" if self.argument else acc)]
            if self.nest.value is not None:
                made.append((self.nest.value, "best"))
            depth_here = self.depth
            self.put("if filled:", True)
            for target, value in made:
                self.put(f"lanes.write_where({self.line(target)}, {value}, lanes.where(True))")
            self.depth = depth_here
            self.put("else:", True)
            if kind == "sum":
                self.close("total")
            else:
                for target, value in made:
                    self.put(f"lanes.write_where({self.line(target)}, {value}, active)")
        finally:
            self.running = False
        self.depth = segment
        self.put(f"u += {flow or 1}")
        self.next_row(flow or "1")
        self.depth = depth

    def by_threes(self) -> bool:
        """May windows be of three taps, two apart? These are worth a way of their own, without a loop."""
        return bool(self.s.lane.stride != 1)

    def three_taps(self, acc: str) -> None:
        """Of two vectors of a line the even lanes and the odd ones, and the even ones from the next pair on."""
        kind = self.eq.reduce
        self.put("former, latter = lanes.load(here), lanes.load(here + lanes.width)")
        reads = ["lanes.evens(former, latter)", "lanes.odds(former, latter)", "lanes.load_apart(here + 2, 2)"]
        if kind == "sum":
            self.put(f"total = {' + '.join(reads)}")
            return
        if not self.argument:
            pair = self.call(f"{kind}imum", *reads[:2])
            self.put(f"best = {self.call(f'{kind}imum', pair, reads[2])}")
            return
        self.put("former_at, latter_at = lanes.load(here_at), lanes.load(here_at + lanes.width)")
        places = ["lanes.evens(former_at, latter_at)", "lanes.odds(former_at, latter_at)"]
        self.put(f"best, best_at = {reads[0]}, {places[0]}")
        self.sooner(reads[1], places[1])
        self.sooner(reads[2], "lanes.load_apart(here_at + 2, 2)")

    def sooner(self, value: str, at: str) -> None:
        """Combine what is known by now with a value and its place, whichever of the two comes first."""
        self.used |= {"unequal", "equal", "select"}
        self.put(f"value = {value}")
        self.put(f"value_at = {at}")
        self.put("sooner = value_at < best_at")
        self.put(
            f"better = (value {self.sign()} best) | (equal(value, best) & sooner)"
            " | (unequal(value, value) & ~(unequal(best, best) & sooner))"
        )
        self.put("best = select(better, value, best)")
        self.put("best_at = select(better, value_at, best_at)")

    def joined(self) -> None:
        """Windows of many taps: pairs of elements, pairs of these, and so on; each window is made of a few such.

        So they take some 2 log2(taps) steps, whatever is combined, and a sum is added as in a tree.
        """
        lane, kind, depth = self.s.lane, self.eq.reduce, self.depth
        stride = self.inner(lane.stride)
        self.put(
            f"for column in range(0, beyond + {self.product([stride, 'lanes.width'])}, lanes.width):", True
        )
        self.put(f"lanes.store(joined + column, {self.start()})")
        if self.argument:
            self.put(f"lanes.store(joined_at + column, {self.far()})")
        self.depth = depth
        self.put(f"distance, offset = {self.inner(lane.spread)}, 0")
        self.put("while taps > 0:", True)
        inner = self.depth

        def combine(into: str, at: str) -> None:
            """into[column] and what is `at` further on in the line."""
            self.put(f"for column in range(0, beyond - {at}, lanes.width):", True)
            here, there = f"lanes.load({into} + column)", f"lanes.load(scratch + (column + {at}))"
            if kind == "sum":
                self.put(f"lanes.store({into} + column, {here} + {there})")
            elif not self.argument:
                self.put(f"lanes.store({into} + column, {self.call(f'{kind}imum', here, there)})")
            else:
                into_at = "before" if into == "scratch" else "joined_at"
                self.put(f"best, best_at = {here}, lanes.load({into_at} + column)")
                self.sooner(there, f"lanes.load(before + (column + {at}))")
                self.put(f"lanes.store({into} + column, best)")
                self.put(f"lanes.store({into_at} + column, best_at)")

        self.put("if taps % 2 == 1:", True)
        combine("joined", "offset")
        self.depth = inner + 1
        self.put("offset += distance")
        self.depth = inner
        self.put("taps = taps // 2")
        self.put("if taps > 0:", True)
        combine("scratch", "distance")
        self.depth = inner + 1
        self.put("distance = 2 * distance")
        self.depth = depth
        self.put("taps, read_from = 1, joined")
        if self.argument:
            self.put("read_at = joined_at")

    def line(self, a: Access) -> str:
        text = super().line(a)
        if self.running and self.s.lane.place in a.indices:
            return text.replace(".line(", ".run(", 1)
        return text

    # --- how much room it takes, and when ----------------------------------------------------

    def room_of_separate(self, s: Slide, name: str, integers: Sequence[sp.Symbol]) -> str:
        """A function of the integers: scalars of the lines of a block."""
        self.s, lane = s, s.lane
        far = self.bounded_product([f"max(0, {self.size(lane.tap)} - 1)", self.inner(lane.spread)])
        stretch = f"min({self.whole_stretch()} + reach, max(1, {self.size(lane.place)}))"
        cells = self.bounded_product([stretch, self.inner(lane.stride)])
        areas = 4 if self.eq.at is not None else 3 if lane.classes else 2
        lines = [
            f"    reach = {far}",
            f"    cells = max({CELLS} * {self.whole_stretch()}, {cells} + reach) + {self.slack()}",
            f"    return {areas} * cells",
        ]
        return self.room_of(f"{name}_room", integers, "Scalars that the windows of a block read.", lines)

    def tables_of_separate(self, s: Slide) -> str:
        """Integers: for each line what it is known by, and its part of an extremum's place."""
        self.s, self.upper = s, tuple(a for a in s.axes if a != s.lane)
        kinds = len(self.tables()) + (self.eq.at is not None)
        return self.product(
            [str(max(1, kinds)), *map(self.size, s.rest), *(self.size(a.tap) for a in self.upper)]
        )

    def suits_separate(self, s: Slide) -> list[str]:
        """Do an extremum's places grow in the order of the points?"""
        self.s = s
        if self.eq.at is None:
            return []
        tests, at, inner = list[str](), self.eq.at, self.points()
        for k, i in enumerate(inner[:-1]):
            below = " + ".join(
                self.bounded_product(
                    [f"max(0, {self.size(j)} - 1)", f"max(0, {self.integer(at.coefficient(j))})"]
                )
                for j in inner[k + 1 :]
            )
            tests.append(f"{below} < {self.bounded_sum(at.coefficient(i))}")
        return tests
