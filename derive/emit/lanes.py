"""An equation in lanes as source: vectors over one index, masks where a lane has no point.

The emitted module gets, for one equation,

    NAME_over_v     one for each way: blocks of as many v as a vector has lanes, sums kept in registers
    NAME_slide_x    and so on, one for each operand whose windows slide (`slide.py` and its neighbours)

Within a block a step has one value (an index that does not move with the lanes) or is a mask. A block whose
points all exist, the interior, reads without masks. Over a free index sums are in the dtype of the arrays, one
chain an element, as long as the window; over a bound one in short chains that are added in double.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, takewhile

import sympy as sp

from derive.emit.choice import NO_WAY, Offer, Way
from derive.emit.fold import CHAIN
from derive.emit.forms import (
    Folding,
    FoldingInPlace,
    FoldingPlanes,
    Form,
    InPlace,
    OverBlocks,
    OverLanes,
    Planes,
    Separate,
    Sliding,
    Tiling,
    Twos,
)
from derive.emit.kernel import _polynomial, counted, digits, needed
from derive.emit.planes import PlanesWriter
from derive.emit.printing import UNARY, signed
from derive.emit.tiled import TiledWriter
from derive.emit.twos import TwosWriter
from derive.emit.vectors import READ, Block, NoVector, fused, magnitude, one_call
from derive.language import Index, Real, extent, finite
from derive.lower.contraction import Contraction
from derive.lower.lanes import Lanes
from derive.lower.loops import Assign, CeilDiv, Divides, FloorDiv, Loop, Nest, ResidueLoop, Step, Test
from derive.lower.slide import Slide, folds, slides
from derive.program import Access, Affine, affine

# how far apart elements of windows may lie that are not copied, and how many classes of places are taken at once
EVERY = {2: "_in_place_by_twos", 1: "_in_place"}
MOST_COMPARED = 64  # places tried one by one, where plain loops would take one from a read


def lanes_offer(nest: Nest, ways: Sequence[Lanes], name: str, beside: Contraction | None = None) -> Offer:
    """Every way that has a form in lanes.

    Beside a contraction they are for where that has little to share: few columns, few rows, or a single step to add.
    """
    gathers = nest.strategy == "gather" and nest.equation.reduce == "sum"
    if gathers and len(needed(nest)) == 1 and counted(nest) is not None:
        return NO_WAY  # there is nothing to do but to count
    return LanesWriter(nest, ways, beside).offer(name)


class LanesWriter(TiledWriter, TwosWriter, PlanesWriter):
    def __init__(self, nest: Nest, ways: Sequence[Lanes], contraction: Contraction | None = None) -> None:
        super().__init__(nest, clears=True)
        self.contraction = contraction
        self.ways, self.slides, self.folds = ways, slides(nest.equation), folds(nest.equation)
        self.taken_ways: list[Lanes] = []

    def offer(self, name: str) -> Offer:
        views, integers, self.reals = self.named()
        self.integers = self.told(integers, self.mentioned())
        self.views = [self.names[v] for v in views]
        self.plain_views = views
        kept = self.made(name)
        made = tuple(
            Way(
                form.title,
                " and ".join([*form.shares_little(self.contraction), *form.tests()]),
                parts,
                form.describe(),
            )
            for form, parts in kept
        )
        return Offer(made, self.integers, self.names, frozenset(self.used))

    def made(self, name: str) -> list[tuple[Form, tuple[str, ...]]]:
        """Each way that has a form in lanes, and its source."""
        kept = list[tuple[Form, tuple[str, ...]]]()
        start = dict(self.names), set(self.taken)

        def keep(form: Form) -> bool:
            self.names, self.taken = dict(start[0]), set(start[1])
            used = set(self.used)
            try:
                kept.append((form, tuple(form.source())))
            except NoVector:
                self.used = used
                return False
            return True

        for f in self.folds:
            keep(FoldingPlanes(self, f"{name}_fold_{f.moving[0].tensor}_planes", f))
            for every in EVERY:
                keep(FoldingInPlace(self, f"{name}_fold_{f.moving[0].tensor}{EVERY[every]}", f, every))
            keep(Folding(self, f"{name}_fold_{f.moving[0].tensor}", f))
        sliding = dict[Index, bool]()
        for way in self.ways:
            if not way.bound and not way.unit and way.lane not in sliding:
                forms = [f for s in self.slides if s.lane.place == way.lane for f in self.of_windows(s, name)]
                found = [form.general for form in forms if keep(form)]
                sliding[way.lane] = any(found)
            if way.bound or way.unit or not sliding[way.lane]:
                by = f"_by_{way.follower.name}" if way.follower is not None else ""
                if self.rather_blocks(way):
                    keep(OverBlocks(self, f"{name}_over_{way.lane.name}_side_by_side", way))
                keep(OverLanes(self, f"{name}_over_{way.lane.name}{by}", way))
        self.names, self.taken = start
        self.taken_ways = list(dict.fromkeys(form.way for form, _ in kept if isinstance(form, OverLanes)))
        return kept

    def of_windows(self, s: Slide, name: str) -> Iterator[Form]:
        """The forms that windows may have; what suits fewer of them first."""
        of = s.moving[0].tensor
        if not self.unweighted(s):
            yield Planes(self, f"{name}_slide_{of}_planes", s)
            for every in EVERY:
                yield InPlace(self, f"{name}_slide_{of}{EVERY[every]}", s, every)
            yield Sliding(self, f"{name}_slide_{of}", s)
            return
        if self.twos(s):
            yield Twos(self, f"{name}_twos_{of}", s)
        if self.tiles(s):
            yield Tiling(self, f"{name}_tiles_{of}", s)
        yield Separate(self, f"{name}_windows_{of}", s)

    def unweighted(self, s: Slide) -> bool:
        try:
            return self.separable(s)
        except NoVector:
            return False

    def room_arguments(self) -> str:
        return ", ".join(["tile", *(self.names[i] for i in self.integers)])

    # --- a task ------------------------------------------------------------------------------

    def signature(self, *rooms: str) -> list[str]:
        self.used |= {room.split(": ")[1] for room in rooms}
        return self.signature_of(self.plain_views, self.integers, self.reals, "tile: Tile", *rooms)

    def writes_afresh(self) -> list[str]:
        """For what does not add to what is there."""
        return ["add == 0"] if self.adds else []

    def suits_lanes(self, way: Lanes) -> list[str]:
        """What sizes say of it; of lanes that are contiguous, what strides say as well."""
        width = "tile.lanes.width"
        size = self.size(way.lane)
        if way.unit:
            tests = [f"{width} <= {size}"]
            tests += [
                f"{self.names[v]}.stride({v.indices.index(way.lane)}) == 1"
                for v in self.plain_views
                if way.lane in v.indices
            ]
        elif way.bound:
            partners = [i for i, _ in way.moves]
            tests = [f"{width} <= {self.size(i)}" for i in partners] + self.long_enough(way)
            if len(partners) > 1:  # a window or an image, whichever is which
                tests += [f"{self.size(w.lane)} <= {size}" for w in self.ways if not w.bound and not w.unit]
        else:
            tests = [self.wide_enough(way)]
        tests += self.narrow_enough()
        if way.compared:
            tests.append(f"{' * '.join(self.size(i) for i in way.compared)} <= {MOST_COMPARED}")
        if way.follower is not None:
            others = [w.follower for w in self.ways if w.follower is not None and w.follower != way.follower]
            tests += [f"{self.size(way.follower)} >= {self.size(i)}" for i in others]
        return tests

    def wide_enough(self, way: Lanes) -> str:
        """Do its lanes fill a vector? A part of one is better than plain loops, but not than another way's whole."""
        stride = f" * {self.inner(way.stride)}" if way.stride != 1 else ""
        partly = f"tile.lanes.width{stride} <= 8 * {self.size(way.lane)}"
        others = [w for w in self.taken_ways if w.lane != way.lane and not w.unit and len(w.moves) == 1]
        if not others:
            return partly
        none_whole = " and ".join(f"tile.lanes.width > {self.size(w.lane)}" for w in others)
        return f"(tile.lanes.width{stride} <= {self.size(way.lane)} or ({partly} and {none_whole}))"

    def long_enough(self, way: Lanes) -> list[str]:
        """Where inequalities bound the loop that lanes share, and by how much does not depend on where: is it a vector?"""
        loop = next(s for s in way.inner if isinstance(s, Loop) and s.index == way.lane)
        tests = list[str]()
        if not any(way.lane in form.indices for form in self.eq.relation.nonneg):
            return tests
        for first in (e for e in loop.low if isinstance(e, CeilDiv)):
            for last in (e - 1 for e in loop.high if isinstance(e - 1, FloorDiv)):
                apart = sp.expand(last.args[0] - first.args[0])
                if first.args[1] == last.args[1] and not apart.has(Index):
                    by = self.inner(first.args[1])
                    tests.append(f"tile.lanes.width * {by} <= {self.inner(apart + first.args[1])}")
        return tests

    def narrow_enough(self, bound: int = 2**31) -> list[str]:
        """Do integers of 32 bits hold the place of an extremum? Or so many of them?"""
        if self.eq.at is None:
            return []
        return [f"{self.bounded_sum(magnitude(self.eq.at, self.eq.relation))} < 2**{bound.bit_length() - 1}"]

    def mentioned(self) -> list[sp.Symbol]:
        """Symbols of the ways that the plain loops may do without."""
        eq, found = self.eq, set[sp.Basic]()
        for way in self.ways:
            found |= way.stride.free_symbols | {eq.relation.size(i) for i, _ in way.moves}
            found |= {eq.relation.size(i) for i in (*way.compared, way.lane, *eq.free)}
            for s in way.inner:
                for part in s.__slots__:
                    e = getattr(s, part)
                    for x in e if isinstance(e, tuple) else (e,):
                        found |= x.free_symbols if isinstance(x, sp.Basic) else set()
            found -= {way.last}
        for windows in (*self.slides, *self.folds):
            found |= {eq.relation.size(i) for i in eq.relation.indices}
            for a in windows.axes:
                found |= {*a.stride.free_symbols, *a.spread.free_symbols, *a.offset.free_symbols}
                found |= a.modulus.free_symbols
        if eq.at is not None:
            found |= magnitude(eq.at, eq.relation).free_symbols
        found -= set(eq.relation.indices)
        symbols = {t for s in found for t in s.free_symbols if not isinstance(t, Real)}
        return sorted((s for s in symbols if isinstance(s, sp.Symbol)), key=str)

    # --- one way -----------------------------------------------------------------------------

    def over_lanes(self, way: Lanes, title: str, beside: bool = False) -> str:
        self.lines, self.depth = [], 1
        self.used |= {"share"}
        self.b = Block(dict(way.moves), way)
        self.name(way.last, way.last.name)
        self.put("lanes = tile.lanes")
        if not beside:
            self.b.plane = self.planes(way, needed(replace(self.nest, inner=way.inner)))
        self.b.plane_name = self.names[self.b.plane] if self.b.plane is not None else ""
        beside = self.b.plane is None and self.vectors_beside(way)
        if self.b.plane is not None and self.streams() > 1:
            self.b.lines = "tile.few"
        self.share(
            way, "tile.lines * lanes.width" if beside else "lanes.width", beside and self.shares_spans(way)
        )
        if beside:
            self.over_blocks(way)
        else:
            (self.along if way.bound else self.over)(way)
        return self.as_task(title, self.signature(), way.describe())

    def streams(self) -> int:
        """How many reads go along the lanes in each plane.

        Planes are often a power of two apart: lines of many that are read in turn push each other out of the cache.
        """
        return sum(self.b.plane in r.indices and bool(self.moving(r)) for r in self.eq.reads)

    def rather_blocks(self, way: Lanes) -> bool:
        """Are vectors side by side better than planes, if there are enough of them? Where planes have no bounds to share.

        A matrix times a vector, too, which is a contraction of one plane.
        """
        self.b = Block(dict(way.moves), way)
        self.b.plane = self.planes(way, needed(replace(self.nest, inner=way.inner)))
        alone = self.contraction is not None and way.lane in self.contraction.columns
        return self.b.plane is not None and (alone or self.streams() > 0) and self.vectors_beside(way)

    def vectors_beside(self, way: Lanes) -> bool:
        """May several vectors follow each other along the lanes? Then loops that they share read more at each place."""
        steps = needed(replace(self.nest, inner=way.inner))
        plain = all(isinstance(s, Loop) and not any(self.moving(e) for e in (*s.low, *s.high)) for s in steps)
        ends = any(e.has(way.last) for s in steps if isinstance(s, Loop) for e in (*s.low, *s.high))
        return bool(steps) and plain and not ends and way.stride == 1 and not (way.bound or self.eq.at)

    def share(self, way: Lanes, block: str = "lanes.width", spans: bool = False) -> None:
        """Loops over the outer indices, shared among tasks; without any, or if `spans`, so are blocks of lanes."""
        outer = way.outer
        if not outer and way.bound:
            self.put("if task == 0:", True)
        elif not outer:
            self.used.add("ceil_div")
            size, each = self.size(way.lane), self.inner(way.stride)
            many = size if way.stride == 1 else f"ceil_div({size}, {each})"
            self.put(f"first, last = share(ceil_div({many}, {block}), task, tasks)")
        else:
            sizes = [self.size(i) for i in outer]
            if self.b.plane is not None:
                self.used.add("ceil_div")
                self.put(f"planes = ceil_div({self.size(self.b.plane)}, {self.b.lines})")
                sizes[outer.index(self.b.plane)] = "planes"
            if spans:
                self.used.add("ceil_div")
                self.put(f"spans = ceil_div({self.size(way.lane)}, {block})")
                sizes.append("spans")
            self.put(f"first, last = share({' * '.join(sizes)}, task, tasks)")
            if len(outer) == 1 and self.b.plane is None and not spans:
                self.put(f"for {self.names[outer[0]]} in range(first, last):", True)
                return
            self.put("for item in range(first, last):", True)
            parts = digits("item", sizes)
            if spans:
                self.put(f"span = {parts.pop()}")
            for i, text in zip(outer, parts, strict=True):
                by = f" * {self.b.lines}" if i == self.b.plane else ""
                self.put(f"{self.names[i]} = {text}{by}")

    def shares_spans(self, way: Lanes) -> bool:
        """Do tasks share a line, too? A matrix times a vector has one."""
        return bool(way.outer) and self.contraction is not None

    def planes(self, way: Lanes, steps: Sequence[Step]) -> Index | None:
        """An index that nothing holds: a few of its planes at a time, since they share masks and bounds."""
        fixed = set[sp.Basic]()
        for s in steps:
            if isinstance(s, Test) and self.moving(s.value):
                form = affine(s.value)  # a mask is made for each plane, but its bounds are not
                fixed |= {i for i in form.atoms if isinstance(i, Index)} if form is not None else set()
                continue
            for part in s.__slots__:
                e = getattr(s, part)
                for x in e if isinstance(e, tuple) else (e,):
                    fixed |= x.free_symbols if isinstance(x, sp.Basic) else set()
        free = [i for i in way.outer if i not in fixed and self.eq.body.has(i)]
        if not free or not steps or way.unit:
            return None

        def rank(i: Index) -> tuple[int, bool]:
            """In how many reads, and before the lanes there: an axis after them may well be of one element."""
            reads = [r.indices for r in self.eq.reads if i in r.indices]
            after = [r for r in reads if way.lane in r and r.index(i) > r.index(way.lane)]
            return len(reads), not after

        return max(reversed(free), key=rank)

    def each_plane(self, named: bool = True) -> None:
        """What follows is done for each of the planes; the last of them may stand in for some beyond it."""
        if self.b.plane is not None or self.b.beside:
            self.put(f"for u in range({self.b.lines}):", True)
        if self.b.beside and named:
            self.put(f"{self.b.beside} = start + u * lanes.width")
            self.names[self.b.way.lane] = self.b.beside
        if self.b.plane is not None and named:
            self.put(f"plane = min({self.b.plane_name} + u, {self.size(self.b.plane)} - 1)")
            self.names[self.b.plane] = "plane"

    def all_planes(self, depth: int) -> None:
        if self.b.plane is not None:
            self.names[self.b.plane] = self.b.plane_name
        if self.b.plane is not None or self.b.beside:
            self.depth = depth

    def kept(self, name: str) -> str:
        """An accumulator: of one plane, or of each."""
        if self.b.beside:
            return f"{name}s[0, u]"
        return name if self.b.plane is None else f"{name}[0, u]"

    def over_blocks(self, way: Lanes) -> None:
        """Blocks of several vectors of a free index, each with an accumulator; then those vectors that are left, one by one.

        Where an inner loop goes from line to line, each line has more of what is read than one vector.
        """
        v, size = self.names[way.lane], self.size(way.lane)
        steps = needed(replace(self.nest, inner=way.inner))
        self.turn_away(way, steps)
        self.outside(steps)
        self.put("block = tile.lines * lanes.width")
        if self.shares_spans(way):
            self.put("start = span * block")
        else:
            low, high = ("0", size) if way.outer else ("first * block", f"min({size}, last * block)")
            self.put(f"for start in range({low}, {high}, block):", True)
        names, taken, depth = dict(self.names), set(self.taken), self.depth
        self.put(f"if start + block <= {size}:", True)
        self.b.beside = v
        self.put("active = lanes.where(True)")
        self.reduction(steps, False)
        self.depth, self.b.beside = depth, ""
        self.names, self.taken = names, taken
        self.put("else:", True)
        self.put(f"for {v} in range(start, {size}, lanes.width):", True)
        self.put(f"count = min(lanes.width, {size} - {v})")
        self.put("active = lanes.first(count)")
        self.reduction(steps, False)

    def over(self, way: Lanes) -> None:
        """Blocks of a free index: an accumulator each, kept over all inner loops."""
        v, size, classes = self.names[way.lane], self.size(way.lane), way.stride != 1
        steps = needed(replace(self.nest, inner=way.inner))
        self.turn_away(way, steps)
        self.outside(steps)
        if classes:
            self.used.add("ceil_div")
            stride = self.inner(way.stride)
            self.put(f"for phase in range(min({stride}, {size})):", True)
            self.put(f"members = ceil_div({size} - phase, {stride})")
            self.residues(way, steps)
        at, end = ("at", "members") if classes else (v, size)
        low, high = "0", end
        if not way.outer:
            low, high = "first * lanes.width", f"min({end}, last * lanes.width)"
        pointwise = self.eq.reduce == "sum" and not steps
        fixed, body = pointwise and not self.moving(self.eq.body), self.eq.body
        if fixed:  # LLVM would read it again after each store, and divide again
            self.put(f"value = {self.lane_body(self.reads(body, ''), body)}")
        elif pointwise:
            body = self.settled(body)
        if (
            way.outer and not classes
        ):  # what is written twice is the same, so that the last block is a whole one
            self.put(f"for start in range(0, {end}, lanes.width):", True)
            once = " if add == 0 else start" if self.adds else ""
            self.put(f"{v} = max(0, min(start, {end} - lanes.width)){once}")
        else:
            self.put(f"for {at} in range({low}, {high}, lanes.width):", True)
        self.put(f"count = min(lanes.width, {end} - {at})")
        if classes:
            self.put(f"{v} = phase + at * {stride}")
        whole = self.interior(way, steps)
        self.hulls(way, steps, whole)
        if pointwise:
            self.pointwise(body, fixed)
            return
        self.put("active = lanes.first(count)")
        self.reduction(steps, whole)

    def turn_away(self, way: Lanes, steps: Sequence[Step]) -> None:
        """A line with nothing to add stays as it is."""
        first = takewhile(lambda s: isinstance(s, Test) and s.kind == "zero", steps)
        values = [s.value for s in first if isinstance(s, Test) and s.value.free_symbols & set(way.outer)]
        values = [e for e in values if not self.moving(e) and not e.has(Access)]
        if values and self.adds:
            self.put(f"if add != 0 and ({' or '.join(f'{self.integer(e)} != 0' for e in values)}):", True)
            self.put("continue")
            self.depth -= 1

    def settled(self, e: sp.Expr, reads: bool = True) -> sp.Expr:
        """The formula with what all lanes share of it, if that is read from memory, as a vector made beforehand.

        LLVM would read it again after each store, take its root and divide by it. In a loop that stores nothing it reads
        once: there only quotients and functions are made beforehand, and mere `reads` are left to it.
        """
        if not self.moving(e):
            if not e.has(Access) or not (reads or e.has(sp.Pow, sp.Function)):
                return e
            mark = sp.Dummy("common", real=True)
            name = self.name(mark, f"{self.names[e]}_common" if isinstance(e, Access) else "common")
            if self.b.plane is not None and self.b.plane in e.free_symbols:
                depth = self.depth
                self.put(f"{name} = tile.column()")
                self.each_plane()
                self.put(f"{name}[0, u] = {self.filled(e)}")
                self.all_planes(depth)
                self.names[mark] = f"{name}[0, u]"
            else:
                self.put(f"{name} = {self.filled(e)}")
            self.b.vectors.add(mark)
            return mark
        if isinstance(e, sp.Add):  # term by term: the order in which they are added is that of `shifts_first`
            terms = [signed(a) for a in e.args if not a.has(finite)]
            settled = [
                -self.settled(u, reads) if negative else self.settled(u, reads) for negative, u in terms
            ]
            return e.func(*(a for a in e.args if a.has(finite)), *settled)
        if isinstance(e, sp.Mul):
            own = [a for a in e.args if self.moving(a)]
            rest = e.func(*(a for a in e.args if not self.moving(a)))
            return e.func(self.settled(rest, reads), *(self.settled(a, reads) for a in own))
        if isinstance(e, sp.Pow) or type(e).__name__.lower() in UNARY:
            return e.func(*(self.settled(a, reads) for a in e.args))
        return e

    def pointwise(self, body: sp.Expr, fixed: bool) -> None:
        """A formula at each place. Whole vectors go without a mask, which would cost more than many a formula.

        fixed: has the formula one value for all lanes, `value`?
        """
        names, taken = dict(self.names), set(self.taken)
        for test, mask in (("if count == lanes.width:", ""), ("else:", "active")):
            self.names, self.taken = dict(names), set(taken)
            self.put(test, True)
            if mask:
                self.put(f"{mask} = lanes.first(count)")
            self.put(f"total = {'value' if fixed else self.lane_body(self.reads(body, mask), body)}")
            self.close("total", mask)
            self.depth -= 1

    def along(self, way: Lanes) -> None:
        """A bound index in lanes: the innermost loop, in blocks; the lanes are combined after it.

        A sum has chains of at most CHAIN additions in the dtype of the arrays, which are then added in double.
        """
        kind = self.eq.reduce
        if kind not in ("sum", "prod", "max", "min"):
            raise NoVector
        steps = needed(replace(self.nest, inner=way.inner))
        place = max(k for k, s in enumerate(steps) if isinstance(s, Loop))
        loop, after = steps[place], steps[place + 1 :]
        assert isinstance(loop, Loop)
        if any(isinstance(s, Assign) and s.size is not None for s in after):
            raise NoVector
        factor, body = self.split(self.eq.body) if kind == "sum" else (sp.S.One, self.eq.body)
        self.outside(steps)
        depth = self.depth
        if kind == "sum":
            self.wide("lanes.wide_zero()")
        else:
            self.opened(kind)
        for s in steps[:place]:
            self.lane_step(s)
        body = self.settled(body, reads=False)
        v = self.names[loop.index]
        low, high = self.b.bounds.get(loop.index) or (self.most(loop.low, "max"), self.most(loop.high, "min"))
        if not high.isidentifier():
            self.put(f"end = {high}")
            high = "end"
        inner = self.depth
        if kind == "sum":
            self.put(f"for start in range({low}, {high}, {CHAIN} * lanes.width):", True)
            inner = self.depth
            self.opened(kind)
            low, until = "start", f"min({high}, start + {CHAIN} * lanes.width)"
        else:
            until = high
        self.put(f"for {v} in range({low}, {until}, lanes.width):", True)
        for s in after:
            assert isinstance(s, Assign)
            self.put(f"{self.names[s.index]} = {self.integer(s.value)}")
        names, taken = dict(self.names), set(self.taken)
        self.put(f"if {v} + lanes.width <= {high}:", True)
        self.point(body, "", False)
        self.depth -= 1
        self.put("else:", True)
        self.names, self.taken = names, taken
        self.put(f"active = lanes.first({high} - {v})")
        self.point(body, "active", False, masked=True)
        self.depth = inner
        if kind == "sum":
            self.each_plane(named=False)
            wide = self.kept("wide")
            self.put(f"{wide} = {wide} + lanes.widen({self.kept('total')})")
        self.depth = depth
        self.folded(kind, factor)

    def wide(self, start: str) -> None:
        """Sums in double, one a plane."""
        if self.b.plane is None:
            self.put(f"wide = {start}")
            return
        self.put("wide = tile.wide_column()")
        self.put(f"for u in range({self.b.lines}):", True)
        self.put(f"wide[0, u] = {start}")
        self.depth -= 1

    def folded(self, kind: str, factor: sp.Expr) -> None:
        """The lanes of each plane combined, and stored."""
        depth = self.depth
        self.each_plane()
        if self.b.plane is not None:
            self.put(f"if {self.b.plane_name} + u < {self.size(self.b.plane)}:", True)
        out = self.at(self.eq.target)
        if kind == "sum":
            self.put(f"result = lanes.sum({self.kept('wide')})")
            self.scaled(factor)
            self.finish(out, "result")
        else:
            fold = {"prod": "product", "max": "largest", "min": "smallest"}[kind]
            self.put(f"{out} = lanes.{fold}({self.kept('total' if kind == 'prod' else 'best')})")
        self.all_planes(depth)

    def scaled(self, factor: sp.Expr) -> None:
        """What multiplies the whole sum, as in plain loops."""
        if factor == -1:
            self.put("result = -result")
        elif factor != 1:
            mark = sp.Symbol("result", real=True)
            self.names[mark] = "result"
            whole = _polynomial(factor)
            if not whole:
                self.used.add("zero")
                self.put("if result != zero():", True)
            self.put(f"result = {self.scalar(factor * mark)}")
            self.depth -= not whole

    # --- what is worked out once a block -----------------------------------------------------

    def outside(self, steps: Sequence[Step]) -> None:
        """Bounds of loops that depend on no inner index: before the blocks."""
        inner = set(self.eq.bound) | {self.b.way.lane, self.b.way.last}
        for s in steps:
            if isinstance(s, Loop) and not s.plain:
                if not any(e.free_symbols & inner for e in (*s.low, *s.high)):
                    self.bounded(s)
            elif isinstance(s, ResidueLoop):
                if any(e.free_symbols & inner for e in (*s.low, *s.high, s.total)):
                    continue
                first, step = self.residue(s, s.total)
                low, high = self.bounded(s)
                self.put(f"{low} += ({first} - {low}) % max(1, {step})")
                self.put(f"if {step} == 0:  # there is none", True)
                self.put(f"{high}, {step} = {low}, 1")
                self.depth -= 1
                self.b.starts[s.index] = (first, step)

    def bounded(self, s: Loop | ResidueLoop) -> tuple[str, str]:
        i = self.names[s.index]
        low, high = (self.name(sp.Dummy(), f"{w}_{i}") for w in ("low", "high"))
        self.b.bounds[s.index] = (low, high)
        self.put(f"{low}, {high} = {self.most(s.low, 'max')}, {self.most(s.high, 'min')}")
        return low, high

    def residue(self, s: ResidueLoop, total: sp.Expr) -> tuple[str, str]:
        i, factor = self.names[s.index], s.factor
        first, step = (self.name(sp.Dummy(), f"{w}_{i}") for w in ("first", "step"))
        if factor.could_extract_minus_sign():
            factor, total = -factor, sp.expand(-total)
        self.used.add("residue")
        self.put(f"{first}, {step} = residue({', '.join(map(self.integer, (s.modulus, factor, total)))})")
        return first, step

    def residues(self, way: Lanes, steps: Sequence[Step]) -> None:
        """Residue loops that the class decides: their first place and step, and what follows the lane there."""
        phase = sp.Symbol("phase", integer=True)
        for s, following in pairwise(steps):
            if not isinstance(s, ResidueLoop) or not self.moving(s.total):
                continue
            bounds = [e for e in (*s.low, *s.high) if not e.has(way.lane, way.last)]
            if bounds != [0, self.eq.relation.size(s.index)]:
                raise NoVector  # bounded by more than the lanes
            if s.total.free_symbols & (set(self.eq.bound) - {way.lane}):
                raise NoVector
            assert isinstance(following, Assign)
            assert isinstance(following.value, FloorDiv)
            i, u = self.names[s.index], self.names[following.index]
            total = s.total.xreplace({way.lane: phase})
            first, step = self.residue(s, total)
            taps, start, by = (self.name(sp.Dummy(), w) for w in (f"taps_{i}", f"start_{u}", f"by_{u}"))
            self.put(f"{taps} = ceil_div({self.size(s.index)} - {first}, {step}) if {step} > 0 else 0")
            mark = sp.Symbol(first, integer=True)
            value = self.inner(FloorDiv(sp.expand(total - s.factor * mark), s.modulus))
            self.put(
                f"{start}, {by} = {value[1:-1]}, {step} * {self.inner(s.factor)} // {self.inner(s.modulus)}"
            )
            self.b.classes[s.index] = (first, step, taps)
            way_of = True if s.factor.is_nonnegative else False if (-s.factor).is_nonnegative else None
            self.b.followers[following.index] = (start, by, taps)
            self.b.falling[following.index] = way_of

    def interior(self, way: Lanes, steps: Sequence[Step]) -> bool:
        """`whole`: has every lane of the block every point? False if that is not to be said beforehand."""
        guards = [s for s in steps if isinstance(s, Assign) and s.size is not None and self.moving(s.value)]
        if not guards:
            return False
        looped = {s.index for s in steps if isinstance(s, (Loop, ResidueLoop))}
        tests = ["count == lanes.width"]
        for s in guards:
            size = self.integer(s.size)
            if s.index in self.b.followers:
                start, by, taps = self.b.followers[s.index]
                if self.b.moves[s.index] != 1 or self.inner(s.value).startswith("-"):
                    return False
                falling = self.b.falling[s.index]
                if falling is None:
                    return False
                far = f"{start} + at - ({taps} - 1) * {by}"  # at the last tap
                least, most = (far, f"{start} + at") if falling else (f"{start} + at", far)
                tests += [f"{least} >= 0", f"{most} + lanes.width <= {size}"]
                continue
            form = affine(s.value)
            if form is None or form.reads or not set(form.indices) <= {*self.eq.free, way.lane} | looped:
                return False
            ends = self.corners(form, way, looped)
            if ends is None:
                return False
            tests += [f"{self.inner(ends[0])} >= 0", f"{self.inner(ends[1])} < {size}"]
        if way.last in {t for s in guards for t in self.ends(s, way, looped)}:
            self.last(way)
        self.put(f"whole = {' and '.join(tests)}")
        return True

    def ends(self, s: Assign, way: Lanes, looped: set[Index]) -> set[sp.Basic]:
        form = affine(s.value)
        ends = self.corners(form, way, looped) if form is not None else None
        return {t for e in ends or () for t in e.free_symbols}

    def last(self, way: Lanes) -> None:
        by = "" if way.stride == 1 else f" * {self.inner(way.stride)}"
        self.put(f"{self.names[way.last]} = {self.names[way.lane]} + (count - 1){by}")

    def corners(self, form: Affine, way: Lanes, looped: set[Index]) -> tuple[sp.Expr, sp.Expr] | None:
        """The smallest and the largest value over the lanes of a block and all of its loops."""
        low = high = form.constant
        for i, c in form.terms:
            if i == way.lane:
                first, last = c * i, c * way.last
            elif i in looped:
                first, last = sp.S.Zero, c * (self.eq.relation.size(i) - 1)
            else:
                first = last = c * i
            if first != last and c.is_nonnegative is not True:
                if (-c).is_nonnegative is not True:
                    return None
                first, last = last, first
            low, high = low + first, high + last
        return sp.expand(low), sp.expand(high)

    def hulls(self, way: Lanes, steps: Sequence[Step], whole: bool) -> None:
        """Bounds of the loops that lanes bound; in the interior the whole range."""
        inner = set(self.eq.bound)
        mine = [
            s
            for s in steps
            if isinstance(s, Loop)
            and any(e.has(way.lane, way.last) for e in (*s.low, *s.high))
            and not any(e.free_symbols & inner for e in (*s.low, *s.high))
        ]
        if mine and not whole:
            self.last(way)
        for s in mine:
            i = self.names[s.index]
            self.b.bounds[s.index] = (self.name(sp.Dummy(), f"low_{i}"), self.name(sp.Dummy(), f"high_{i}"))
        if whole and mine:
            names = [n for s in mine for n in self.b.bounds[s.index]]
            values = list[str]()
            for s in mine:  # what bounds the loop whatever the lanes
                for bounds, f in ((s.low, "max"), (s.high, "min")):
                    values.append(self.most([e for e in bounds if not e.has(way.lane, way.last)], f))
            self.put(f"{', '.join(names)} = {', '.join(values)}")
            self.put("if not whole:", True)
        for s in mine:
            low, high = self.b.bounds[s.index]
            self.put(f"{low}, {high} = {self.most(s.low, 'max')}, {self.most(s.high, 'min')}")
        self.depth -= whole and bool(mine)

    def lane_step(self, s: Step) -> None:
        """A step of the nest; what differs between lanes becomes a mask, taken down for later."""
        match s:
            case ResidueLoop(index) if index in self.b.classes:
                first, step, taps = self.b.classes[index]
                self.put(f"for tap in range({taps}):", True)
                if self.used_later(index):
                    self.put(f"{self.names[index]} = {first} + tap * {step}")
            case Assign(index) if index in self.b.followers:
                start, by, _ = self.b.followers[index]
                sign = "+" if self.b.moves[index] == 1 else "-"
                self.put(f"{self.names[index]} = {start} {sign} at - tap * {by}")
                self.b.guards.append(s)
            case Loop(index) | ResidueLoop(index) if index in self.b.bounds:
                low, high = self.b.bounds[index]
                by = f", {self.b.starts[index][1]}" if index in self.b.starts else ""
                start = "" if low == "0" else f"{low}, "
                self.put(f"for {self.names[index]} in range({start}{high}{by}):", True)
            case Assign(index, value, size) if size is not None and self.moving(value):
                self.put(f"{self.names[index]} = {self.integer(value)}")
                self.b.guards.append(s)
            case Test(value) if self.moving(value):
                self.b.tests.append(s)
            case Loop(_, low, high) if any(e.has(self.b.way.last) for e in (*low, *high)):
                raise NoVector
            case ResidueLoop() if self.moving(s.total):
                raise NoVector
            case _:
                self.step(s)

    def used_later(self, i: Index) -> bool:
        """Does anything but what follows it in a class mention this index?"""
        eq, found = self.eq, set[sp.Basic]()
        for s in self.b.way.inner:
            if (isinstance(s, Assign) and s.index not in self.b.followers) or isinstance(s, (Test, Divides)):
                found |= s.value.free_symbols
            elif isinstance(s, (Loop, ResidueLoop)) and s.index not in self.b.classes:
                found |= {symbol for e in (*s.low, *s.high) for symbol in e.free_symbols}
                found |= s.total.free_symbols if isinstance(s, ResidueLoop) else set()
        return i in found | eq.body.free_symbols | (eq.at.expr.free_symbols if eq.at else set())

    # --- masks -------------------------------------------------------------------------------

    def guarded(self, mask: str, guarded: bool = True) -> str:
        """The mask of a point, from the ranges of what follows the lane; "" if nothing limits it."""
        parts = [mask] if mask else []
        for s in self.b.guards if guarded else ():
            assert s.size is not None
            by = self.integer(self.b.moves[s.index])
            parts.append(f"lanes.within({self.names[s.index]}, {by}, {self.integer(s.size)})")
        if len(parts) < 2:
            return parts[0] if parts else ""
        self.put(f"inside = {' & '.join(parts)}")
        return "inside"

    def tested(self, mask: str) -> str:
        """The mask, less what tests refuse; one that reads does so where all before it hold."""
        for s in self.b.tests:
            read, t = self.test(s.value, s.kind)
            if read is not None:
                t = t.replace(READ, self.read(read, mask))
            self.put(f"chosen = {mask} & {t if one_call(t) else f'({t})'}" if mask else f"chosen = {t}")
            mask = "chosen"
        return mask

    # --- the reduction -----------------------------------------------------------------------

    def reduction(self, steps: Sequence[Step], whole: bool) -> None:
        eq, depth = self.eq, self.depth
        kind = eq.reduce
        # what no point would add is not multiplied either: a scatter's planes keep infinity apart from 0
        split = kind == "sum" and self.nest.strategy == "gather"
        factor, body = self.split(eq.body) if split else (sp.S.One, eq.body)
        self.opened(kind)
        for s in steps:
            self.lane_step(s)
        if not whole and not self.b.guards and not self.b.tests:
            body = self.settled(body, reads=False)
        if whole:
            names, taken = dict(self.names), set(self.taken)
            self.put(f"if {self.everywhere()}:", True)
            self.point(body, "", False)
            self.depth -= 1
            self.put("else:", True)
            self.names, self.taken = names, taken
        self.point(body, "" if self.b.beside else "active", True)
        self.depth = depth
        self.each_plane()
        if self.b.plane is not None:
            self.put(f"if {self.b.plane_name} + u < {self.size(self.b.plane)}:", True)
        if kind.startswith("arg"):
            self.put(f"lanes.write_where({self.line(eq.target)}, lanes.long({self.kept('place')}), active)")
            if self.nest.value is not None:
                self.put(f"lanes.write_where({self.line(self.nest.value)}, {self.kept('best')}, active)")
        elif kind == "sum":
            acc = self.kept("total")
            if acc != "total":
                self.put(f"result = {acc}")
                acc = "result"
            self.multiplied(factor, acc)
            self.close(acc)
        else:
            acc = self.kept("total" if kind == "prod" else "best")
            self.put(f"lanes.write_where({self.line(eq.target)}, {acc}, active)")
        self.all_planes(depth)

    def everywhere(self) -> str:
        """Has every lane this point? At a border most points of a window still are inside."""
        tests = ["count == lanes.width"]
        for s in self.b.guards:
            name, by = self.names[s.index], self.b.moves[s.index]
            if not by.is_nonnegative:
                return "whole"
            far = "(lanes.width - 1)" if by == 1 else f"(lanes.width - 1)*{self.inner(by)}"
            tests.append(f"0 <= {name} < {self.inner(s.size)} - {far}" if s.size is not None else "")
        return f"whole or ({' and '.join(tests)})"

    def opened(self, kind: str) -> None:
        """The accumulators, as they are before any point."""
        acc = "total" if kind in ("sum", "prod") else "best"
        if kind in ("sum", "prod"):
            start = "lanes.zero()" if kind == "sum" else f"lanes.fill({self.call('one')})"
        else:
            start = f"lanes.fill({self.call('lowest' if kind.endswith('max') else 'highest')})"
        argument = kind.startswith("arg")
        if argument:
            self.put("known = lanes.where(False)")
        if self.kept(acc) == acc:
            self.put(f"{acc} = {start}")
            if argument:
                self.put("place = lanes.narrow_integers(-1)")
            return
        several = f"{acc}s" if self.b.beside else acc
        self.put(
            f"{acc}, place = tile.column(), tile.narrow_column()"
            if argument
            else f"{several} = tile.column()"
        )
        self.put(f"for u in range({self.b.lines}):", True)
        self.put(f"{several}[0, u] = {start}")
        if argument:
            self.put("place[0, u] = lanes.narrow_integers(-1)")
        self.depth -= 1

    def point(self, body: sp.Expr, mask: str, guarded: bool, masked: bool = False) -> None:
        """One point into the accumulators: of every lane, or of those in the mask."""
        depth = self.depth
        masked = masked or bool(self.b.tests or (guarded and self.b.guards))
        mask = self.guarded(mask, guarded)
        self.each_plane()
        if self.b.plane is not None and self.gathers_once():
            self.put(f"if {self.b.plane_name} + u < {self.size(self.b.plane)}:", True)
        mask = self.tested(mask)
        self.combine(body, mask, masked)
        self.all_planes(depth)
        if self.eq.reduce.startswith("arg"):
            if self.b.tests:
                raise NoVector
            self.put(f"known = known | {mask}" if masked else "known = lanes.where(True)")

    def gathers_once(self) -> bool:
        """Is all that is done a read element by element? Then planes that are not there had better not be read."""
        apart = any(self.b.moves.get(i, 0) not in (0, 1) for r in self.eq.reads for i in r.indices)
        return apart and not any(isinstance(s, (Loop, ResidueLoop)) for s in self.b.way.inner)

    def combine(self, body: sp.Expr, mask: str, masked: bool) -> None:
        kind = self.eq.reduce
        value = self.lane_body(self.reads(body, mask), body)
        acc = self.kept("total" if kind in ("sum", "prod") else "best")
        if kind == "sum":
            now = fused(value, acc) or f"{acc} + {value}"
            self.used |= {"fma"} if now.startswith("fma(") else set()
        elif kind == "prod":
            now = f"{acc} * {value if value.isidentifier() or one_call(value) else f'({value})'}"
        elif kind in ("max", "min"):
            now = self.call(f"{kind}imum", acc, value)
        else:
            self.choose(value, mask if masked else "", acc)
            return
        self.put(f"{acc} = {self.call('select', mask, now, acc) if masked else now}")

    def choose(self, value: str, mask: str, best: str) -> None:
        """An argmax takes what is better than the best so far, NaN, or the first point there is."""
        eq = self.eq
        assert eq.at is not None
        sign = ">" if eq.reduce == "argmax" else "<"
        sign += "=" * (eq.ties == "last")
        name, place = value, self.kept("place")
        if not value.isidentifier():
            self.put(f"value = {value}")
            name = "value"
        self.used |= {"unequal", "select"}
        better = f"({name} {sign} {best}) | unequal({name}, {name}) | ~known"
        self.put(f"better = {mask} & ({better})" if mask else f"better = {better}")
        self.put(f"{best} = select(better, {name}, {best})")
        self.put(f"{place} = select(better, {self.narrow_ramp(eq.at)}, {place})")

    def multiplied(self, factor: sp.Expr, acc: str) -> None:
        """A sum over nothing is 0, whatever would multiply it."""
        if factor == -1:
            self.put(f"{acc} = -{acc}")
        elif factor != 1:
            reads = self.reads(factor, "active")
            mark = sp.Dummy("total", real=True)
            self.names[mark] = acc
            self.b.vectors.add(mark)
            text = self.vector(mark * factor.xreplace(reads))
            if not _polynomial(factor):
                self.used |= {"unequal", "select"}
                text = f"select(unequal({acc}, lanes.zero()), {text}, {acc})"
            self.put(f"{acc} = {text}")

    def close(self, acc: str, mask: str = "active") -> None:
        if self.adds:
            self.put("if add != 0:", True)
            self.put(f"{acc} = {acc} + {self.read(self.eq.target, mask)}")
            self.depth -= 1
        everywhere = "lanes.where(True)"
        self.put(f"lanes.write_where({self.line(self.eq.target)}, {acc}, {mask or everywhere})")


__all__ = ["extent", "lanes_offer"]
