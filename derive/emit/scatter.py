"""A scatter by a table as source: a table of places first, then one look-up and one addition to memory a point.

The emitted module gets, for one equation,

    NAME_by_KEY         the loops with a table of what the integer KEY decides, taken where the table is small and
                        there are more points than places in it
    NAME_by_KEY_table   how many integers the table has

Planes are cleared one at a time, so that they are still in the cache when they are added to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy as sp

from derive.emit.choice import Offer, Way
from derive.emit.kernel import _Writer
from derive.language import Index
from derive.lower.loops import Loop, Nest
from derive.lower.scatter import Placed, Scatter
from derive.program import Access

MOST = 1 << 16  # places in a table, so that it stays in the caches


def scatter_offer(nest: Nest, way: Scatter, name: str) -> Offer:
    """The loops with a table as one way."""
    return _ScatterWriter(nest, way).offer(name)


@dataclass
class _Bounds:
    """Names of what is known of one placed index."""

    placed: Placed
    least: str  # from the table
    most: str
    start: str  # from the loops, at 0 of the innermost
    moves: str  # the table of its own part

    def slope(self, innermost: Index) -> sp.Expr:
        return self.placed.rest.coefficient(innermost)


class _ScatterWriter(_Writer):
    def __init__(self, nest: Nest, way: Scatter) -> None:
        super().__init__(nest, clears=True)
        self.way = way

    def offer(self, name: str) -> Offer:
        views, integers, reals = self.named()
        title = f"{name}_by_{self.names[self.way.key]}"
        self.bounds = [self.bounded_index(p) for p in self.way.placed]
        self.table()
        self.body()
        signature = self.signature_of(views, integers, reals, "integer_scratch: IntegerScratch")
        described = self.way.describe()
        made = self.as_task(title, signature, described, f"(integer_scratch={title}_table)")
        way = Way(title, self.suits(), (self.room(title, integers), made), described)
        return Offer((way,), integers, self.names, frozenset(self.used | {"IntegerScratch"}))

    # --- when it suits -----------------------------------------------------------------------

    def suits(self) -> str:
        """Is the table small, and are there as many points as it has places?"""
        loops = [s for s in (*self.nest.outer, *self.way.before, self.way.loop) if isinstance(s, Loop)]
        points = self.bounded_product([self.size(s.index) for s in loops])
        return f"min({MOST}, {points}) >= {self.bounded_sum(self.way.bound)}"

    def room(self, title: str, integers: Sequence[sp.Symbol]) -> str:
        doc = f"Integers of one task: where each value of {self.names[self.way.key]} adds."
        line = f"    return {1 + len(self.guarded)} * {self.inner(self.way.bound)}"
        return self.room_of(f"{title}_table", integers, doc, [line])

    def size(self, i: Index) -> str:
        return self.inner(self.nest.equation.relation.size(i))

    # --- the table ---------------------------------------------------------------------------

    def bounded_index(self, p: Placed) -> _Bounds:
        """Names for one placed index."""
        name = self.names[p.index]
        return _Bounds(p, *(self.name(sp.Dummy(), f"{w}_{name}") for w in ("least", "most", "from", "moves")))

    @property
    def guarded(self) -> list[_Bounds]:
        return [b for b in self.bounds if b.placed.size is not None]

    def strides(self) -> list[tuple[Index, str]]:
        """The target's indices within a plane, and its strides there."""
        eq, planes = self.nest.equation, {loop.index for loop in self.nest.outer}
        view = self.names[eq.target]
        return [(i, f"{view}.stride({k})") for k, i in enumerate(eq.target.indices) if i not in planes]

    def table(self) -> None:
        """How far each value of the key moves the place, and each index that may leave its range."""
        way, depth, key = self.way, self.depth, sp.Dummy("key", integer=True)
        self.names[key] = "key"
        self.put(f"places = max(0, {self.integer(way.bound)})")
        self.put("steps = integer_scratch")
        before = "steps"
        for b in self.guarded:
            self.put(f"{b.moves}, {b.least}, {b.most} = {before} + places, 0, 0")
            before = b.moves
        self.put("for key in range(places):", True)
        for s in way.own:
            self.put(f"{self.names[s.index]} = {self.integer(s.value.xreplace({way.key: key}))}")
        owns = {s.index: s.index for s in way.own} | {b.placed.index: b.placed.own for b in self.bounds}
        terms = [
            f"{self.inner(owns[i].xreplace({way.key: key}))}*{stride}"
            for i, stride in self.strides()
            if i in owns
        ]
        self.put(f"steps[key] = {' + '.join(terms) or '0'}")
        for b in self.guarded:
            self.put(f"{b.moves}[key] = {self.integer(b.placed.own.xreplace({way.key: key}))}")
            self.put(f"{b.least}, {b.most} = min({b.least}, {b.moves}[key]), max({b.most}, {b.moves}[key])")
        self.depth = depth
        if self.early:
            self.interior()

    # --- the loops ---------------------------------------------------------------------------

    @property
    def early(self) -> bool:
        """Is the interior of the innermost loop the same in all of its runs?"""
        loop = self.way.loop
        forms = [b.placed.rest for b in self.guarded if b.slope(loop.index) != 0]
        moving = {i for e in (*loop.low, *loop.high) for i in e.free_symbols} | {
            i for f in forms for i in f.without(loop.index).indices
        }
        return not moving & set(self.nest.equation.relation.indices)

    def interior(self) -> None:
        """Where in the innermost loop each value of the key gives a place, as far as that loop decides."""
        loop = self.way.loop
        low, high = self.most(loop.low, "max"), self.most(loop.high, "min")
        lows, highs = [low], [high]
        for b in self.guarded:
            slope = b.slope(loop.index)
            if slope == 0:
                continue
            self.put(f"{b.start} = {self.integer(b.placed.rest.without(loop.index).expr)}")
            size, by = self.inner(b.placed.size), self.inner(slope)
            lows.append(f"-(({b.start} + {b.least}) // {by})")
            highs.append(f"({size} - 1 - {b.start} - {b.most}) // {by} + 1")
        lowest, highest = ", ".join(lows), ", ".join(highs)
        self.put(f"begin = min({high}, max({lowest}))" if len(lows) > 1 else f"begin = {low}")
        self.put(f"finish = max(begin, min({highest}))" if len(highs) > 1 else f"finish = {high}")

    def scattered(self) -> None:
        """Border, interior and border of each run of the innermost loop."""
        way, eq = self.way, self.nest.equation
        at = ["0" if i in dict(self.strides()) else self.names[i] for i in eq.target.indices]
        self.put(f"to = {self.names[eq.target]}.pointer({', '.join(at)})")
        self.cleared()
        for s in way.before:
            self.step(s)
        depth = self.depth
        if not self.early:
            self.interior()
        for b in self.bounds:
            if b not in self.guarded or b.slope(way.loop.index) == 0:
                self.put(f"{b.start} = {self.integer(b.placed.rest.without(way.loop.index).expr)}")
        outside = [b for b in self.guarded if b.slope(way.loop.index) == 0]
        high, end = self.most(way.loop.high, "min"), "end" if outside else "finish"
        if outside:
            self.put("end = finish")
        for b in outside:
            below, above = (
                f"{b.start} + {b.least} < 0",
                f"{b.start} + {b.most} >= {self.inner(b.placed.size)}",
            )
            self.put(f"if {below} or {above}:", True)
            self.put("end = begin")
            self.depth = depth
        low = self.most(way.loop.low, "max")
        self.points("begin" if low == "0" else f"{low}, begin", True)
        self.depth = depth
        whole = [f"{self.names[a]}.stride({len(a.indices) - 1}) == 1" for a in self.along()]
        if whole:
            self.put("# the same twice, for a compiler that knows the steps makes more of it")
            self.put(f"if {' and '.join(whole)}:", True)
            self.points(f"begin, {end}", False)
            self.depth = depth
            self.put("else:", True)
        self.points(f"begin, {end}", False)
        self.depth = depth
        self.points(f"{end}, {high}", True)

    def along(self) -> list[Access]:
        """What the innermost loop reads along a last axis."""
        reads = dict.fromkeys((self.way.key, *self.nest.equation.body.atoms(Access)))
        return sorted((a for a in reads if a.indices and a.indices[-1] == self.way.loop.index), key=str)

    def points(self, span: str, tested: bool) -> None:
        """Points of the innermost loop, `tested` where some may lie outside."""
        way, eq = self.way, self.nest.equation
        v = self.names[way.loop.index]
        self.put(f"for {v} in range({span}):", True)
        self.put(f"key = {self.inner(way.key)}")
        self.put("if 0 <= key < places:", True)
        rests = dict[Index, str]()
        for b in self.bounds:
            slope = b.slope(way.loop.index)
            along = "" if slope == 0 else f" + {v}" if slope == 1 else f" + {v}*{self.inner(slope)}"
            rests[b.placed.index] = f"{b.start}{along}"
        if tested:
            for b in self.guarded:
                self.put(f"{self.names[b.placed.index]} = {rests[b.placed.index]} + {b.moves}[key]")
                self.put(f"if 0 <= {self.names[b.placed.index]} < {self.integer(b.placed.size)}:", True)
        own = {s.index for s in way.own}
        terms = []
        for i, stride in self.strides():
            if i in rests:
                terms.append(f"({rests[i]})*{stride}" if " " in rests[i] else f"{rests[i]}*{stride}")
            elif i not in own:
                terms.append(f"{self.names[i]}*{stride}")
        self.put(f"at = {' + '.join(['steps[key]', *terms])}")
        self.put(f"to[at] += {self.expression(eq.body)}")

    def cleared(self) -> None:
        """The plane, unless it is added to."""
        depth, target = self.depth, self.nest.equation.target
        self.used.add("zero")
        if self.adds:
            self.put("if add == 0:", True)
        sizes, dense = [self.size(i) for i, _ in self.strides()], list[str]()
        for k, (_, stride) in reversed([*enumerate(self.strides(), 1)]):
            dense.append(f"{stride} == {' * '.join(sizes[k:]) or '1'}")
        self.put(f"if {' and '.join(dense)}:", True)
        self.put(f"for at in range({' * '.join(sizes)}):", True)
        self.put("to[at] = zero()")
        self.depth -= 2
        self.put("else:", True)
        for i, _ in self.strides():
            self.put(f"for {self.names[i]} in range({self.size(i)}):", True)
        self.put(f"{self.at(target)} = zero()")
        self.depth = depth
