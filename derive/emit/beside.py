"""A scatter into planes with margins as source: no place is asked whether it is inside.

The same scatter as `scatter.py`, several planes at a time, each added to in scratch that reaches as far as any place may:

    for each group of planes
        clear the scratch
        for each point, for each plane
            scratch[place of the point + place that its integer gives][plane] += what it adds
        copy what is inside

Neighbours often add to one element (the maxima of large windows do), and a processor waits for what it stored shortly
before. Other planes have other elements, so their points are what it does meanwhile. That they are side by side in
scratch, one element of each, spares an address for each.
"""

from __future__ import annotations

import sympy as sp

from derive.emit.choice import NO_WAY, Offer, Way
from derive.emit.forms import MOST
from derive.emit.kernel import _Writer
from derive.emit.scatter import MOST as MOST_PLACES
from derive.language import Index
from derive.lower.loops import Loop, Nest
from derive.lower.scatter import Placed, Scatter
from derive.program import Access, Affine, affine

TOGETHER = 4  # planes: as many as have their addresses in registers
THIN = 5  # elements for each point: where there are more, to clear and to copy them takes longer than to ask


def beside_offer(nest: Nest, way: Scatter, name: str) -> Offer:
    """Planes with margins as one way, where it is known how far places reach."""
    writer = _BesideWriter(nest, way)
    return writer.offer(name) if writer.reaches() else NO_WAY


class _BesideWriter(_Writer):
    def __init__(self, nest: Nest, way: Scatter) -> None:
        super().__init__(nest, clears=True)
        self.way = way
        self.placed = {p.index: p for p in way.placed}
        self.own = {s.index: s for s in way.own}
        self.loops = [s for s in (*way.before, way.loop) if isinstance(s, Loop)]
        outer = {loop.index for loop in nest.outer}
        self.forms = dict[Index, Affine]()
        self.lows, self.spans = dict[Index, str](), dict[Index, str]()
        self.free = [i for i in nest.equation.free if i not in outer]

    # --- how far places reach ----------------------------------------------------------------

    def reaches(self) -> bool:
        """Are there planes, whose places loops and the integer decide together, between ends that are known?"""
        if not self.nest.outer or len(self.loops) != len(self.way.before) + 1:
            return False
        if any(a.indices.index(self.way.loop.index) != len(a.indices) - 1 for a in self.along()):
            return False
        if self.way.key not in self.along() or not any(p.rest.indices for p in self.placed.values()):
            return False
        return set(self.placed) <= set(self.free) and all(map(self.known, self.placed.values()))

    def known(self, p: Placed) -> bool:
        """Does an index grow with all that decides it, and have these known ranges?"""
        own = affine(p.own)
        if own is None:
            return False
        form = self.forms[p.index] = own + p.rest
        ranged = {loop.index for loop in self.loops} | {i for i, s in self.own.items() if s.size is None}
        return set(form.atoms) <= ranged and all(c.is_nonnegative for _, c in form.terms)

    def highest(self, i: Index) -> sp.Expr:
        """The largest value of a placed index, whatever the integer and wherever the loops are."""
        size, form = self.nest.equation.relation.size, self.forms[i]
        return sp.expand(form.constant + sum(c * (size(of) - 1) for of, c in form.terms))

    # --- the offer ---------------------------------------------------------------------------

    def offer(self, name: str) -> Offer:
        views, integers, reals = self.named()
        title = f"{name}_planes_{self.names[self.way.key]}"
        self.task()
        rooms = ("tile: Tile", "scratch: Scratch", "integer_scratch: IntegerScratch")
        described = f"{self.way.describe()}, planes with margins"
        room = self.room_of(f"{title}_room", integers, "Scalars of the planes of a group.", self.room())
        doc = f"Integers of one task: where each value of {self.names[self.way.key]} adds."
        table = self.room_of(f"{title}_table", integers, doc, [f"    return {self.inner(self.way.bound)}"])
        made = self.as_task(
            title,
            self.signature_of(views, integers, reals, *rooms),
            described,
            f"(scratch={title}_room, integer_scratch={title}_table)",
        )
        told = ", ".join(["tile", *(self.names[i] for i in integers)])
        test = f"{self.suits()} and {title}_room({told}) <= {MOST}"
        way = Way(title, test, (room, table, made), described)
        used = frozenset(self.used | {"IntegerScratch", "Scratch", "Tile"})
        return Offer((way,), integers, self.names, used)

    def suits(self) -> str:
        """Are there planes enough, more points than the table has places, and few elements for each to copy?"""
        outer, loops = ([self.size(s.index) for s in steps] for steps in (self.nest.outer, self.loops))
        points = self.bounded_product([*outer, *loops])
        elements = self.bounded_product([self.size(i) for i in self.free])
        tests = [f"{self.names[a]}.stride({len(a.indices) - 1}) == 1" for a in self.along()]
        tests += [
            f"{outer[-1]} >= tile.vectors",
            f"min({MOST_PLACES}, {points}) >= {self.bounded_sum(self.way.bound)}",
            f"{elements} <= {self.bounded_product([str(THIN), *loops])}",
        ]
        return " and ".join(tests)

    def room(self) -> list[str]:
        spans = list[str]()
        for i in self.free:
            if i not in self.placed:
                spans.append(self.size(i))
                continue
            form = self.forms[i]
            far = [self.bounded_product([self.inner(c), f"({self.size(of)} - 1)"]) for of, c in form.terms]
            constant = self.integer(form.constant)
            high = " + ".join([*far, *[constant] * (constant != "0")])
            spans.append(f"(max({self.size(i)}, {high} + 1) - min(0, {constant}))")
        cells = self.bounded_product([*spans, str(TOGETHER)])
        return [f"    return {cells} + {TOGETHER} * tile.lanes.width"]

    def size(self, i: Index) -> str:
        return self.inner(self.nest.equation.relation.size(i))

    # --- the task ----------------------------------------------------------------------------

    def task(self) -> None:
        way = self.way
        self.used |= {"share", "ceil_div", "zero"}
        self.put("lanes = tile.lanes")
        self.put(f"places = max(0, {self.integer(way.bound)})")
        self.margins()
        self.table()
        outer = self.nest.outer
        plane, sizes = self.names[outer[-1].index], [self.size(loop.index) for loop in outer]
        self.put(f"groups = ceil_div({sizes[-1]}, {TOGETHER})")
        counts = [*sizes[:-1], "groups"]
        self.put(f"first, last = share({' * '.join(counts)}, task, tasks)")
        self.put("for item in range(first, last):", True)
        for k, loop in enumerate(outer):
            below = " * ".join(counts[k + 1 :])
            below = f"({below})" if " " in below else below
            text = "item" + (f" // {below}" if below else "") + (f" % {counts[k]}" if k else "")
            self.put(f"{self.names[loop.index]} = {text}" + (f" * {TOGETHER}" if k == len(outer) - 1 else ""))
        depth = self.depth
        self.put(f"for at in range({TOGETHER} * (cells + lanes.width)):", True)
        self.put("scratch[at] = zero()")
        self.depth = depth
        self.points(plane, sizes[-1])
        self.depth = depth
        self.copied(plane, sizes[-1])

    def extent(self, i: Index) -> str:
        return self.spans.get(i, self.size(i))

    def margins(self) -> None:
        """Where the scratch begins on each axis, and how long it is."""
        for i in self.free:
            if i in self.placed:
                low, high = self.integer(self.forms[i].constant), self.integer(self.highest(i))
                self.lows[i] = self.name(sp.Dummy(), f"low_{self.names[i]}")
                self.spans[i] = self.name(sp.Dummy(), f"span_{self.names[i]}")
                self.put(f"{self.lows[i]} = min(0, {low})")
                self.put(f"{self.spans[i]} = max({self.size(i)}, {high} + 1) - {self.lows[i]}")
        self.put(f"cells = {' * '.join(self.extent(i) for i in self.free)}")

    def place(self, parts: dict[Index, str]) -> str:
        """The number of an element of a plane in scratch, from its place on each axis."""
        text = ""
        for i in self.free:
            part = parts.get(i, "0")
            if not text or text == "0":
                text = part
                continue
            text = f"({text})" if " " in text else text
            text = f"{text} * {self.extent(i)}" + (f" + {part}" if part != "0" else "")
        return text

    @staticmethod
    def together(at: str) -> str:
        """Where the elements of all planes at a place are."""
        return f"{TOGETHER} * {f'({at})' if ' ' in at else at}"

    def table(self) -> None:
        """Where each value of the integer adds, as far as it decides."""
        way, depth, key = self.way, self.depth, sp.Dummy("key", integer=True)
        self.names[key] = "key"
        self.put("for key in range(places):", True)
        for s in way.own:
            self.put(f"{self.names[s.index]} = {self.integer(s.value.xreplace({way.key: key}))}")
        parts = {
            i: f"{self.integer(p.own.xreplace({way.key: key}))} - {self.lows[i]}"
            for i, p in self.placed.items()
        }
        parts |= {i: self.names[i] for i in self.own if i not in parts}
        at = self.place(parts)
        self.put(f"integer_scratch[key] = {self.together(at)}")
        self.depth = depth

    def points(self, plane: str, planes: str) -> None:
        """What each point adds, plane by plane."""
        for s in self.loops:
            self.step(s)
        parts = {i: self.integer(p.rest.expr) for i, p in self.placed.items()}
        parts |= {s.index: self.names[s.index] for s in self.loops if s.index in self.free}
        at = self.place({i: p for i, p in parts.items() if p != "0"})
        self.put("to = scratch" + (f" + {self.together(at)}" if at != "0" else ""))
        self.put(f"for u in range({TOGETHER}):", True)
        self.put(f"plane = min({plane} + u, {planes} - 1)")
        names = dict(self.names)
        self.names[self.nest.outer[-1].index] = "plane"
        marks = {a: sp.Dummy("read", real=True) for a in self.along()}
        self.names |= {mark: self.element(a) for a, mark in marks.items()}
        self.put(f"key = {self.element(self.way.key)}")
        self.put("if 0 <= key < places:", True)
        body = self.nest.equation.body.xreplace(marks)
        self.put(f"(to + u)[integer_scratch[key]] += {self.expression(body)}")
        self.names = names

    def along(self) -> list[Access]:
        """What is read along the innermost loop."""
        reads = dict.fromkeys((self.way.key, *self.nest.equation.body.atoms(Access)))
        return sorted((a for a in reads if self.way.loop.index in a.indices), key=str)

    def element(self, a: Access) -> str:
        """An element of what lies side by side along the innermost loop."""
        at = ", ".join([*(self.names[i] for i in a.indices[:-1]), "0"])
        return f"{self.names[a]}.pointer({at})[{self.names[a.indices[-1]]}]"

    def copied(self, plane: str, planes: str) -> None:
        """The elements of each plane that are inside, from every fourth of the scratch."""
        *upper, lane = self.free
        target = self.nest.equation.target
        for i in upper:
            self.put(f"for {self.names[i]} in range({self.size(i)}):", True)
        column, size = self.names[lane], self.size(lane)
        self.put(f"for {column} in range(0, {size}, lanes.width):", True)
        at = self.place(
            {i: self.names[i] + (f" - {self.lows[i]}" if i in self.placed else "") for i in self.free}
        )
        self.put(f"here = scratch + {self.together(at)}")
        for name, k in (("former", 0), ("latter", 1)):  # planes 0 and 2, 1 and 3, of half of the lanes each
            ats = (("here", "here + lanes.width"), ("here + 2 * lanes.width", "here + 3 * lanes.width"))[k]
            halves = ", ".join(f"lanes.load({at})" for at in ats)
            self.put(f"here_at, value = {halves}")
            self.put(f"{name}, {name}_at = lanes.evens(here_at, value), lanes.odds(here_at, value)")
        self.put(f"inside = lanes.first({size} - {column})")
        depth, comma = self.depth, "," * (len(target.indices) == 1)
        moves = ", ".join("1" if i == lane else "0" for i in target.indices)
        for u in range(TOGETHER):
            taken, halves = ("evens", "odds")[u // 2], ("former, latter", "former_at, latter_at")[u % 2]
            at = ", ".join(
                self.names[i] + (f" + {u}" if u and self.names[i] == plane else "") for i in target.indices
            )
            line = f"{self.names[target]}.line(({at}{comma}), ({moves}{comma}))"
            if u:
                self.put(f"if {plane} + {u} < {planes}:", True)
            self.put(f"value = lanes.{taken}({halves})")
            if self.adds:
                self.put("if add != 0:", True)
                self.put(f"value = value + lanes.read_where({line}, inside)")
                self.depth -= 1
            self.put(f"lanes.write_where({line}, value, inside)")
            self.depth = depth
