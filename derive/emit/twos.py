"""Windows of two taps an axis, two apart along the lanes, as source: in registers, with no step that a number decides.

    for each row of places, for each vector of them
        two vectors of each line that the windows read, combined; of the two, the even lanes and the odd ones

And the way back, what is read at the places of a row given to all elements of their windows, or to one of each:

    for each row of places, for each vector of them
        for each line of the windows: what the even elements get and what the odd ones get, in turn

Most poolings by far have such windows. There is no loop over lines or taps: a compiler would unroll it for the many
turns that it may take, and a row costs more to start than to do.

A row that is narrower than a vector is done as a whole vector where rows follow each other in memory and enough of
them are left: what its last lanes write is written again by the rows that it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import sympy as sp

from derive.emit.choice import NO_WAY, Offer, Way
from derive.emit.kernel import _Writer
from derive.emit.separable import SeparableWriter
from derive.emit.vectors import Block
from derive.language import Index
from derive.lower.loops import Nest
from derive.lower.slide import Axis, Slide
from derive.lower.spread import Spread, spreads
from derive.program import Access

Read = Callable[[str], str]  # the text of a vector that is read from an address


class RowWriter(_Writer):
    """Loops over rows of places, and how far a row goes on in the next."""

    def begin_rows(
        self, outer: Sequence[Index], sizes: Sequence[str], places: str, going_on: Sequence[str]
    ) -> None:
        """A loop over the rows of a task; the last of the indices is a row's own, if there is any."""
        self.used.add("share")
        self.digits = list(zip((self.names[i] for i in outer), sizes, strict=True))
        self.put("lanes = tile.lanes")
        self.put(f"goes_on = {going_on[0]}")
        for test in going_on[1:]:
            self.put(f"goes_on = goes_on and {test}")
        self.put(f"first, last = share({' * '.join(sizes) or '1'}, task, tasks)")
        for k, (i, size) in enumerate(self.digits):
            below = " * ".join(sizes[k + 1 :])
            below = f"({below})" if " " in below else below
            self.put(f"{i} = first" + (f" // {below}" if below else "") + (f" % {size}" if k else ""))
        self.put(f"left = (last - first) * {places}")
        self.put("for item in range(first, last):", True)

    def end_row(self, places: str) -> None:
        depth = self.depth
        self.put(f"left -= {places}")
        for k, (i, size) in enumerate(reversed(self.digits)):
            self.put(f"{i} += 1")
            if k < len(self.digits) - 1:
                self.put(f"if {i} == {size}:", True)
                self.put(f"{i} = 0")
        self.depth = depth

    def in_a_row(self, a: Access, sizes: Sequence[str]) -> list[str]:
        """Do all rows of an array follow each other?"""
        v = self.names[a]
        return [f"{v}.stride({k - 1}) == {sizes[k]} * {v}.stride({k})" for k in range(len(sizes) - 1, 0, -1)]

    def columns(self, lane: str, places: str) -> None:
        """A loop over the vectors of a row; the last takes places of the one before again."""
        self.put(f"for column in range(0, {places}, lanes.width):", True)
        self.put(f"{lane} = max(0, min(column, {places} - lanes.width))")

    @staticmethod
    def sum_of(*terms: str) -> str:
        return " + ".join(t for t in terms if t != "0") or "0"


class TwosWriter(SeparableWriter, RowWriter):
    """Writes windows of two taps an axis."""

    def twos(self, s: Slide) -> bool:
        """May its windows be of two taps? (Whether they are is seen when it runs.)"""
        if s.rest or any(a.classes for a in s.axes):
            return False
        self.operands(s)
        targets = [self.eq.target, *([self.nest.value] if self.nest.value is not None else [])]
        place_of = {a.follower: a.place for a in s.axes}
        return (
            isinstance(self.copied, Access)
            and tuple(place_of.get(i, i) for i in self.copied.indices) == self.eq.free
            and self.eq.free[-1] == s.lane.place
            and all(t.indices == self.eq.free for t in targets)
        )

    def suits_twos(self, s: Slide) -> list[str]:
        """Are windows of two taps, inside the operand, two apart along the lanes, and are lanes contiguous?"""
        self.s = s
        self.operands(s)
        tests = [f"{self.size(a.tap)} == 2" for a in s.axes]
        for a in s.axes:
            stride, spread, low = self.inner(a.stride), self.inner(a.spread), self.integer(self.low_of(a))
            places, size = self.size(a.place), self.size(a.follower)
            if a == s.lane:
                tests += [f"{f} == {n}" for f, n in ((stride, 2), (spread, 1)) if f != str(n)]
            tests.append(f"0 <= {low}")
            tests.append(f"{low} + {self.bounded_product([stride, f'({places} - 1)'])} + {spread} < {size}")
        views = [self.copied, self.eq.target, *([self.nest.value] if self.nest.value is not None else [])]
        tests += [f"{self.names[v]}.stride({len(v.indices) - 1}) == 1" for v in views]
        return tests

    def two_by_two(self, s: Slide, title: str, signature: Sequence[str]) -> str:
        self.lines, self.depth = [], 1
        self.s, self.argument = s, self.eq.at is not None
        self.operands(s)
        self.b = Block({s.lane.place: sp.S.One})
        self.upper = tuple(a for a in s.axes if a != s.lane)
        outer, place_of = [i for i in self.eq.free if i != s.lane.place], {a.follower: a for a in s.axes}
        copied, lane, places = self.copied, self.names[s.lane.place], self.size(s.lane.place)
        assert isinstance(copied, Access)
        going_on = self.in_a_row(copied, [self.size(i) for i in copied.indices])
        targets = [self.eq.target, *([self.nest.value] if self.nest.value is not None else [])]
        for t in targets:
            going_on += self.in_a_row(t, [self.size(i) for i in t.indices])
        self.begin_rows(outer, [self.size(i) for i in outer], places, going_on or ["True"])
        x = self.names[copied]
        at = [self.first_of(place_of[i]) if i in place_of else self.names[i] for i in copied.indices]
        self.put(f"here = {x}.pointer({', '.join(at)})")
        for a in self.upper:
            by = f"{x}.stride({copied.indices.index(a.follower)})"
            self.put(f"{self.own('by', a.tap)} = {self.product([self.inner(a.spread), by])}")
        depth = self.depth
        self.put(f"if lanes.width <= {places} or (goes_on and left >= lanes.width):", True)
        self.columns(lane, places)
        spilled = self.factor != 1
        if spilled:
            self.put(f"active = lanes.first({places} - {lane})")
        names, taken = dict(self.names), set(self.taken)
        self.windows_of_two(lambda p: f"lanes.load({p})", lambda p: f"lanes.load({p} + lanes.width)")
        for target, value in self.results(spilled):
            line = self.line(target).replace(".line(", ".run(", 1)
            self.put(f"lanes.write_where({line}, {value}, lanes.where(True))")
        self.depth = depth
        self.put("else:", True)
        self.names, self.taken = names, taken
        self.put(f"{lane} = 0")
        self.put(f"active = lanes.first({places})")
        self.windows_of_two(
            lambda p: f"lanes.load_first({p}, 2 * {places})",
            lambda p: f"lanes.load_first({p} + lanes.width, 2 * {places} - lanes.width)",
        )
        for target, value in self.results(False):
            self.put(f"lanes.write_where({self.line(target)}, {value}, active)")
        self.depth = depth
        self.end_row(places)
        return self.as_task(title, signature, f"Windows of two taps an axis of {copied.tensor}, in registers")

    def first_of(self, a: Axis) -> str:
        """Where the first tap of a row's first place reads."""
        low = self.low_of(a)
        moved = low if a == self.s.lane else low + a.stride * a.place
        return self.integer(sp.expand(moved))

    def windows_of_two(self, one: Read, other: Read) -> None:
        """What the windows of a vector of places hold, combined."""
        kind, lane = self.eq.reduce, self.names[self.s.lane.place]
        self.put(f"at = here + 2 * {lane}")
        lines = list[str]()
        for taps in product((0, 1), repeat=len(self.upper)):
            steps = [self.own("by", a.tap) for a, t in zip(self.upper, taps, strict=True) if t]
            lines.append(
                f"at + {steps[0]}" if len(steps) == 1 else f"at + ({' + '.join(steps)})" if steps else "at"
            )
        if self.argument:
            self.places_of_two(lines, one, other)
            return
        for name, read in (("former", one), ("latter", other)):
            values = [read(line) for line in lines]
            while len(values) > 1:
                values = [self.both(*values[k : k + 2]) for k in range(0, len(values), 2)]
            self.put(f"{name} = {values[0]}")
        acc = "total" if kind == "sum" else "best"
        self.put(f"{acc} = {self.both('lanes.evens(former, latter)', 'lanes.odds(former, latter)')}")

    def both(self, a: str, b: str) -> str:
        kind = self.eq.reduce
        return f"({a} + {b})" if kind == "sum" else self.call(f"{kind}imum", a, b)

    def places_of_two(self, lines: Sequence[str], one: Read, other: Read) -> None:
        """The extremum and which tap it is, in the order of the taps: of equals the first."""
        at = self.eq.at
        assert at is not None
        self.used |= {"unequal", "select"}
        taps = [a.tap for a in self.s.axes]
        for k, each in enumerate(product((0, 1), repeat=len(taps))):
            number = self.integer(
                sp.expand(sum(at.coefficient(i) * t for i, t in zip(taps, each, strict=True)))
            )
            if each[-1] == 0:
                self.put(f"former, latter = {one(lines[k // 2])}, {other(lines[k // 2])}")
            value = f"lanes.{'odds' if each[-1] else 'evens'}(former, latter)"
            if k == 0:
                self.put(f"best, best_at = {value}, lanes.narrow_integers({number})")
                continue
            self.put(f"value = {value}")
            self.put(f"better = (value {self.sign()} best) | unequal(value, value)")
            self.put("best = select(better, value, best)")
            self.put(f"best_at = select(better, lanes.narrow_integers({number}), best_at)")

    def results(self, spilled: bool) -> list[tuple[Access, str]]:
        """What is stored, and where."""
        value = [] if self.nest.value is None else [(self.nest.value, "best")]
        if self.eq.reduce == "sum":
            self.multiplied(self.factor, "total")
            if spilled:  # beyond the row there may be nothing to multiply with
                self.put(f"total = {self.call('select', 'active', 'total', 'lanes.zero()')}")
            return [(self.eq.target, "total")]
        if not self.argument:
            return [(self.eq.target, "best")]
        at = self.eq.at
        assert at is not None
        rest = self.narrow_ramp(at.without(*(a.tap for a in self.s.axes)))
        moved = "best_at" if rest == "lanes.narrow_integers(0)" else f"best_at + {rest}"
        self.put(f"result = lanes.long({moved})")
        return [(self.eq.target, "result"), *value]


def spread_offer(nest: Nest, name: str) -> Offer:
    """What is read at places given to windows of two taps, if it is so."""
    way = spreads(nest.equation)
    return NO_WAY if way is None else _SpreadWriter(nest, way).offer(name)


class _SpreadWriter(RowWriter):
    def __init__(self, nest: Nest, way: Spread) -> None:
        super().__init__(nest, clears=True)
        self.way = way

    def size(self, i: Index) -> str:
        return self.inner(self.nest.equation.relation.size(i))

    def offer(self, name: str) -> Offer:
        views, integers, reals = self.named()
        integers = self.told(integers, self.mentioned())
        title = f"{name}_twos_{self.way.read.tensor}"
        self.rows()
        self.used |= {"Tile"}
        described = f"{self.way.describe()} of two taps an axis"
        made = self.as_task(title, self.signature_of(views, integers, reals, "tile: Tile"), described)
        return Offer(
            (Way(title, self.suits(), (made,), described),), integers, self.names, frozenset(self.used)
        )

    def mentioned(self) -> list[sp.Symbol]:
        eq, way = self.nest.equation, self.way
        found = {t for i in eq.relation.indices for t in eq.relation.size(i).free_symbols}
        for a in way.axes:
            found |= a.stride.free_symbols | a.spread.free_symbols | a.offset.free_symbols
        found |= way.picks.expr.free_symbols - set(eq.relation.indices)
        return sorted((s for s in found if isinstance(s, sp.Symbol)), key=str)

    def suits(self) -> str:
        """Are windows of two taps, side by side, all that there is of the target, and are lanes contiguous?"""
        tests = list[str]()
        for a in self.way.axes:
            for e, n in ((a.stride, 2), (a.spread, 1), (a.offset, 0)):
                if e != n:
                    tests.append(f"{self.inner(e)} == {n}")
            tests.append(f"{self.size(a.tap)} == 2")
            tests.append(f"{self.size(a.element)} == {self.bounded_product(['2', self.size(a.place)])}")
        if self.adds:
            tests.append("add == 0")
        views = [
            self.nest.equation.target,
            self.way.read,
            *([self.way.key] if self.way.key is not None else []),
        ]
        tests += [f"{self.names[v]}.stride({len(v.indices) - 1}) == 1" for v in views]
        return " and ".join(dict.fromkeys(tests))

    def rows(self) -> None:
        eq, way = self.nest.equation, self.way
        lane, target = way.axes[-1], self.names[eq.target]
        p, places = self.names[lane.place], self.size(lane.place)
        outer = [i for i in way.read.indices if i != lane.place]
        going_on = self.in_a_row(eq.target, [self.size(i) for i in eq.free])
        for r in (way.read, *([way.key] if way.key is not None else [])):
            going_on += self.in_a_row(r, [self.size(i) for i in r.indices])
        self.begin_rows(outer, [self.size(i) for i in outer], places, going_on or ["True"])
        elements = {a.element: "0" if a is lane else f"2 * {self.names[a.place]}" for a in way.axes}
        at = ", ".join(elements.get(i, self.names[i]) for i in eq.free)
        self.put(
            f"here = {self.names[way.read]}.pointer({', '.join([*(self.names[i] for i in outer), '0'])})"
        )
        self.put(f"to = {target}.pointer({at})")
        depth, test = self.depth, "goes_on and left >= lanes.width"
        if len(way.axes) > 2:  # the lines of a row are not side by side
            row = way.axes[-2]
            test += f" and ({self.size(row.place)} - {self.names[row.place]}) * {places} >= lanes.width"
        self.put(f"if lanes.width <= {places} or ({test}):", True)
        self.columns(p, places)
        self.given(False)
        self.depth = depth
        self.put("else:", True)
        self.put(f"{p} = 0")
        self.given(True)
        self.depth = depth
        self.end_row(places)

    def given(self, partly: bool) -> None:
        """The elements of the windows of a vector of places."""
        eq, way = self.nest.equation, self.way
        lane = way.axes[-1]
        p, places = self.names[lane.place], self.size(lane.place)
        self.put(f"value = lanes.load_first(here, {places})" if partly else f"value = lanes.load(here + {p})")
        if way.key is not None:
            key, at = self.names[way.key], ", ".join(self.names[i] for i in way.key.indices)
            moves = ", ".join("1" if i == lane.place else "0" for i in way.key.indices)
            comma = "," * (len(way.key.indices) == 1)
            where = f"(({at}{comma}), ({moves}{comma}))"
            read = (
                f"read_where({key}.line{where}, lanes.first({places}))"
                if partly
                else f"read({key}.run{where})"
            )
            self.put(f"best_at = lanes.{read}")
        for each in product((0, 1), repeat=len(way.axes) - 1):
            steps = [
                f"{self.names[eq.target]}.stride({eq.free.index(a.element)})"
                for a, t in zip(way.axes, each, strict=False)
                if t
            ]
            line = self.sum_of("to", *steps)
            pair = [self.picked((*each, t)) for t in (0, 1)]
            if way.key is not None:
                self.put(f"former, latter = {pair[0]}, {pair[1]}")
                pair = ["former", "latter"]
            for half, more in (("first", ""), ("last", "lanes.width")):
                value = f"lanes.{half}_pairs({', '.join(pair)})"
                if partly:
                    count = f"2 * {places}" + (f" - {more}" if more else "")
                    self.put(f"lanes.store_first({self.sum_of(line, more or '0')}, {value}, {count})")
                else:
                    at = f"(2 * {p} + {more})" if more else f"2 * {p}"
                    self.put(f"lanes.store({line} + {at}, {value})")

    def picked(self, taps: Sequence[int]) -> str:
        """What the elements at these taps get."""
        way = self.way
        if way.key is None:
            return "value"
        self.used |= {"equal", "select"}
        number = sp.expand(
            way.picks.constant
            + sum(way.picks.coefficient(a.tap) * t for a, t in zip(way.axes, taps, strict=True))
        )
        return f"select(equal(best_at, lanes.integers({self.integer(number)})), value, lanes.zero())"
