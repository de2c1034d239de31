"""Sums of windows over their places as source: few sums, and many products to each.

    for each element of the target but for its taps
        for each block of places: some rows, a stretch of lanes
            copy what its windows read, with zeros where the operand has no element
            for a few rows, for each vector of lanes
                read what stands at these places
                for each tap: its sum gets a product from each row
        combine the lanes of each tap's sum

The weight gradient of a depthwise convolution is one. The sums of all taps are kept in scratch, a vector each. A lane's
chain of additions is short: now and then the sums are added to others, which a second vector for each tap holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from derive.emit.kernel import _polynomial
from derive.emit.slide import SlideWriter
from derive.emit.vectors import Block, NoVector, fused
from derive.lower.slide import Fold
from derive.program import Access

CHAIN = 64  # additions one after another in the dtype of the arrays, where a sum runs over the lanes
MOST_SUMS = 1 << 10  # taps whose sums are kept


class FoldWriter(SlideWriter):
    """Writes sums of windows over their places."""

    def fold(self, s: Fold, title: str, signature: Sequence[str], rooms: str) -> str:
        self.lines, self.depth, self.tile = [], 1, "tile"
        self.used |= {"share", "ceil_div"}
        self.s, self.weights = s, []
        self.b = Block({s.lane.place: sp.S.One})
        self.marks = self.operands_of_fold(s)
        self.copied = s.moving[0]
        self.put("lanes = tile.lanes")
        self.axes = {a: self.axis(a, "") for a in s.axes}
        self.extents_of_fold()
        self.taps()
        with self.each_item(self.outer_digits(s)):
            depth = self.depth
            self.put("for tap in range(2 * count):", True)
            self.put("lanes.store(sums + tap * lanes.width, lanes.zero())")
            self.depth = depth
            self.put("chain = 0")
            self.blocks_of_places()
            self.depth = depth
            self.combined()
        return self.as_task(title, signature, s.describe(), rooms)

    def outer_digits(self, s: Fold) -> list[tuple[str, str]]:
        """The free indices on no axis."""
        return [(self.names[i], self.size(i)) for i in s.outer]

    def operands_of_fold(self, s: Fold) -> dict[Access, sp.Dummy]:
        """A mark for what is read at the places, and `self.mark` for what moves."""
        self.factor, summed = self.split(self.eq.body)
        inner = {*s.outer, *s.looped}
        places, followers = {a.place for a in s.axes}, {a.follower for a in s.axes}
        if not set(s.moving[0].indices) <= inner | followers:
            raise NoVector
        if any(not set(r.indices) <= inner | places for r in s.fixed):
            raise NoVector
        self.mark = sp.Dummy(s.moving[0].tensor, real=True)
        marks = {r: sp.Dummy(r.tensor, real=True) for r in s.fixed}
        self.summed = summed.xreplace({s.moving[0]: self.mark, **marks})
        if self.summed.free_symbols & set(self.eq.relation.indices):
            raise NoVector
        if self.mark not in sp.Mul.make_args(self.summed) or not _polynomial(self.summed):
            raise NoVector  # zeros, where a lane has no point, would add something
        self.read_lines = self.name(sp.Dummy(), f"{self.names[s.moving[0]]}_lines")
        for r, mark in marks.items():
            self.name(mark, f"{self.names[r]}_lines")
        return marks

    def extents_of_fold(self) -> None:
        """Of the copies of one block."""
        s = self.s
        lane, stride = self.axes[s.lane], self.inner(s.lane.stride)
        most = "tile.lines * tile.lines * lanes.width"
        if s.row is not None:
            self.put(f"stretch = min({most}, ceil_div({lane.members}, lanes.width) * lanes.width)")
        else:
            each = "(tile.lines * lanes.width)"
            self.put(f"stretch = min({most}, ceil_div({lane.members}, {each}) * {each})")
        reach = self.reach(s.lane)
        self.put(f"span = stretch + {reach}" + (f" // {stride}" if stride != "1" else ""))
        self.put("pitch = ceil_div(span, lanes.width) * lanes.width")
        if s.row is None:
            self.put("area = pitch + lanes.width")
            self.put("apart = lanes.width")
            return
        row, by = self.axes[s.row], self.inner(s.row.stride)
        self.put(f"deep = {self.deep('tile', self.size(s.row.place))}")
        self.put(f"more_lines = {self.product([f'({row.taps} - 1)', row.by])} + 1")
        self.put(f"height = {self.product(['(deep - 1)', by])} + more_lines")
        self.put("area = height * pitch + lanes.width")
        self.put(f"apart = {self.product([by, 'pitch'])}")

    def taps(self) -> None:
        """Where the copies of each tap lie, and where the sums are."""
        s, depth = self.s, self.depth
        stride = self.inner(s.lane.stride)
        self.put("steps = integer_scratch")
        self.put("count = 0")
        if s.others:
            self.put("plane = 0")
            self.bound_loops()
        if s.row is not None:
            self.put(f"for {self.own('tap', s.row.tap)} in range({self.axes[s.row].taps}):", True)
        self.put(f"for {self.own('tap', s.lane.tap)} in range({self.axes[s.lane].taps}):", True)
        along = self.product([self.own("tap", s.lane.tap), self.axes[s.lane].by])
        parts = ["plane * area"] if s.others else []
        if stride != "1":
            parts = [f"({'plane + ' if s.others else ''}{along} % {stride}) * area"]
        if s.row is not None:
            parts.append(f"{self.product([self.own('tap', s.row.tap), self.axes[s.row].by])} * pitch")
        parts.append(f"{along} // {stride}" if stride != "1" else along)
        self.put(f"steps[count] = {' + '.join(parts)}")
        self.put("count += 1")
        if s.others:
            self.depth = depth + len(s.others)
            self.put(f"plane += {stride}")
        self.depth = depth
        planes = [*(self.axes[a].taps for a in s.others), stride, "area"]
        self.put(f"sums = scratch + {self.product(planes)}")

    def blocks_of_places(self) -> None:
        """Copies, and products into the sums of all taps."""
        s = self.s
        assert isinstance(s, Fold)
        for i in s.looped:
            self.put(f"for {self.names[i]} in range({self.size(i)}):", True)
        for a in s.others:
            self.put(f"{self.own('from', a.follower)} = {self.started(a, self.names[a.place])}")
        if s.row is not None:
            self.put(f"for top in range(0, {self.size(s.row.place)}, deep):", True)
            self.put(f"bottom = min({self.size(s.row.place)}, top + deep)")
            self.put(f"{self.own('from', s.row.follower)} = {self.started(s.row, 'top')}")
        self.put(f"for start in range(0, {self.size(s.lane.place)}, stretch):", True)
        self.put(f"end = min({self.size(s.lane.place)}, start + stretch)")
        self.copies()
        step = "lanes.width"
        here = "here = scratch + (at - start)"
        if s.row is not None:
            self.put("for row in range(top, bottom, tile.lines):", True)
            self.put("rows = min(tile.lines, bottom - row)")
            here += " + (row - top) * apart"
        else:
            step = "tile.lines * lanes.width"
        depth = self.depth
        self.put(f"for at in range(start, end, {step}):", True)
        self.put(here)
        complete = "rows == tile.lines and at + lanes.width <= end"
        self.put(f"if {complete if s.row is not None else 'at + tile.lines * lanes.width <= end'}:", True)
        self.products(False)
        self.put("else:", True)
        self.products(True)
        self.depth = depth
        self.put(f"chain += ceil_div(end - start, lanes.width){' * tile.lines' if s.row is not None else ''}")
        self.put(f"if chain >= {CHAIN}:", True)
        self.put("chain = 0")
        self.put("for tap in range(count):", True)
        self.put("held, more = sums + tap * lanes.width, sums + (count + tap) * lanes.width")
        self.put("lanes.store(more, lanes.load(more) + lanes.load(held))")
        self.put("lanes.store(held, lanes.zero())")

    def products(self, partial: bool) -> None:
        """The rows of a block at one vector of places, or those of them that there are."""
        s, depth = self.s, self.depth
        lane = self.names[s.lane.place]
        if partial and s.row is not None:
            self.put("active = lanes.first(end - at)")
        names = [self.names[m] for m in self.marks.values()]
        self.put(f"{', '.join(names)} = {', '.join(['tile.column()'] * len(names))}")
        self.put("for u in range(tile.lines):", True)
        if s.row is not None:
            row = self.names[s.row.place]
            self.put(f"{row} = {f'min(row + u, {self.size(s.row.place)} - 1)' if partial else 'row + u'}")
            self.put(f"{lane} = at")
        else:
            self.put(f"{lane} = at + u * lanes.width")
            if partial:
                self.put(f"active = lanes.first(end - {lane})")
        for r, name in zip(self.marks, names, strict=True):
            self.put(f"{name}[0, u] = {self.read(r, 'active' if partial else '')}")
        self.depth = depth
        self.put("for tap in range(count):", True)
        self.put(f"{self.read_lines} = tile.load_column(here + steps[tap], apart)")
        self.put("total = lanes.load(sums + tap * lanes.width)")
        inner = self.depth
        self.put("for u in range(tile.lines):", True)
        moved = f"{self.read_lines}[0, u]"
        if partial:
            # what lies beyond may be infinite; masking the sum would be a masked store, which some processors are slow at
            self.used.add("select")
            moved = f"select(active, {moved}, lanes.zero())"
        value = {self.mark: moved}
        value |= {m: f"{n}[0, u]" for m, n in zip(self.marks.values(), names, strict=True)}
        held = {m: self.names.get(m) for m in value}
        self.names |= value
        self.b.vectors |= set(value)
        text = self.vector(self.summed)
        self.names |= {m: n for m, n in held.items() if n is not None}
        now = fused(text, "total") or f"total + {text}"
        self.used |= {"fma"} if now.startswith("fma(") else set()
        if partial:
            self.put(f"if {'u < rows' if s.row is not None else 'at + u * lanes.width < end'}:", True)
            if s.row is None:
                self.put("active = lanes.first(end - at - u * lanes.width)")
        self.put(f"total = {now}")
        self.depth = inner
        self.put("lanes.store(sums + tap * lanes.width, total)")
        self.depth = depth - 1

    def combined(self) -> None:
        """The lanes of each tap's sum, multiplied by what multiplies the whole, to the target."""
        self.put("at_sum = sums")
        for a in (*self.s.others, *((self.s.row,) if self.s.row is not None else ()), self.s.lane):
            tap, size = self.names[a.tap], self.size(a.tap)
            # taps are in the order of the copies: an axis that falls starts at its last
            order = f"range({size} - 1, -1, -1)" if a.falls else f"range({size})"
            self.put(f"for {tap} in {order}:", True)
        self.put("more = at_sum + count * lanes.width")
        self.put("result = lanes.sum(lanes.widen(lanes.load(at_sum)) + lanes.widen(lanes.load(more)))")
        self.scaled(self.factor)
        self.finish(self.at(self.eq.target), "result")
        self.put("at_sum = at_sum + lanes.width")

    # --- how much room it takes ----------------------------------------------------------------

    def room_of_fold(self, s: Fold, name: str, integers: Sequence[sp.Symbol]) -> str:
        """A function of the integers: scalars of the copies of a block, and of the sums."""
        self.s = s
        size = self.size
        stride, each = self.inner(s.lane.stride), "width" if s.row is not None else "(tile.lines * width)"
        lines = [
            "    width = tile.lanes.width",
            f"    stretch = min(tile.lines * tile.lines * width, ceil_div({size(s.lane.place)}, {each}) * {each})",
            f"    pitch = ceil_div(stretch + max(0, {self.reach(s.lane)})"
            + (f" // {stride}" if stride != "1" else "")
            + ", width) * width",
        ]
        factors = [*(size(a.tap) for a in s.others), stride]
        if s.row is not None:
            rows = self.product(
                [f"({self.deep('tile', self.size(s.row.place))} - 1)", self.inner(s.row.stride)]
            )
            lines.append(f"    height = {rows} + max(0, {self.reach(s.row)}) + 1")
            area = f"({self.bounded_product(['height', 'pitch'])} + width)"
        else:
            area = "(pitch + width)"
        sums = self.bounded_product(["2", *(size(a.tap) for a in s.axes), "width"])
        lines.append(f"    return {self.bounded_product([*factors, area])} + {sums}")
        doc = "Scalars that the windows of a block read, and the sums of all taps."
        return self.room_of(f"{name}_room", integers, doc, lines)

    def taps_of_fold(self, s: Fold) -> str:
        """Places in the table of taps."""
        return self.product([self.size(a.tap) for a in s.axes])

    def suits_fold(self, s: Fold, room: str, most: str) -> list[str]:
        """When it is taken: more places than taps, which would fill few vectors, and not too many sums."""
        taps, places = self.size(s.lane.tap), self.size(s.lane.place)
        sums = self.bounded_product([self.size(a.tap) for a in s.axes])
        return [
            f"{taps} < {places}",
            f"tile.lines * tile.lanes.width > {taps}",
            f"{sums} <= {MOST_SUMS}",
            f"{room} <= {most}",
        ]

    def scaled(self, factor: sp.Expr) -> None:
        raise NotImplementedError
