"""Windows over whole planes as source: several outputs from each vector of places that is read, whatever rows it is in.

    for each tap of a window and each vector of places: the mask of lanes that read an element
    for each element of the target but for its places and one index more, whose outputs are taken together
        pack the weights
        for a few vectors of places, for a few outputs
            for each tap: each vector is read once for all of these outputs

The places of a row and the next follow each other in memory, so that no vector is half empty, however short rows are,
and what is read serves several outputs: this is for groups of a few channels, where the stride is 1.

The same from the other side: where taps are the target and places are summed over, several outputs are multiplied by
each vector that a tap reads. The lanes of each sum are added at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from derive.emit.inplace import InPlaceWriter
from derive.emit.vectors import Block, NoVector
from derive.language import Index
from derive.lower.slide import Axis, Fold, Slide
from derive.program import Access

PART = "(8 * tile.pixels)"  # vectors of places that a task takes at once


class PlanesWriter(InPlaceWriter):
    """Writes windows over whole planes."""

    # --- several outputs ---------------------------------------------------------------------------

    def over_planes(self, s: Slide, title: str, signature: Sequence[str], rooms: str) -> str:
        self.lines, self.depth = [], 1
        self.used |= {"share", "ceil_div", "mask_planes", "plane_masks", "slide_planes"}
        x, y, o = s.moving[0], self.eq.target, self.together(s)
        self.masks_and_steps(s, s.rest)
        places = self.places_of(s)
        self.put(f"vectors = ceil_div({places}, tile.lanes.width)")
        self.put(f"parts = ceil_div(vectors, {PART})")
        outer = [(self.names[i], self.size(i)) for i in s.outer if i != o]
        with self.each_item([*outer, ("part", "parts")]):
            self.put("if part == 0 or item == first:", True)
            self.pack(s, o)
            self.depth -= 1
            self.put(
                f"slide_planes(tile, {self.planes_at(y, o, s)}, {self.names[y]}.stride({y.indices.index(o)}), "
                f"{self.size(o)}, part * {PART}, min(vectors, (part + 1) * {PART}), {places}, "
                f"{'add != 0' if self.adds else 'False'}, {self.planes_at(x, o, s)}, steps, count, "
                "integer_scratch, scratch)"
            )
        return self.as_task(title, signature, f"{s.describe()}, whole planes", rooms)

    def pack(self, s: Slide, o: Index) -> None:
        """The weights of a few outputs, tap by tap, then those of the next few; beyond the last output the last again."""
        depth = self.depth
        self.put("to = scratch")
        self.put(f"for start in range(0, {self.size(o)}, tile.vectors):", True)
        self.each_tap_of(s, s.rest)
        self.put("for u in range(tile.vectors):", True)
        self.put(f"{self.names[o]} = min(start + u, {self.size(o)} - 1)")
        self.put(f"to[u] = {self.scalar(self.coefficient())}")
        self.depth -= 1
        self.put("to = to + tile.vectors")
        self.depth = depth

    # --- several sums over places ------------------------------------------------------------------

    def fold_over_planes(self, s: Fold, title: str, signature: Sequence[str], rooms: str) -> str:
        self.lines, self.depth = [], 1
        self.used |= {"share", "add_lanes", "fold_planes", "mask_planes", "plane_masks"}
        (x,), (r,) = s.moving, s.fixed
        o, inner = self.together(s), self.inner_of(s)
        self.factor, _ = self.split(self.eq.body)
        self.masks_and_steps(s, inner)
        self.put("lanes = tile.lanes")
        self.put(f"sums = count * {self.size(o)}")
        self.put("found = scratch + sums * lanes.width")
        self.put("square = found + sums")
        with self.each_item([(self.names[i], self.size(i)) for i in s.outer if i != o and i not in inner]):
            depth = self.depth
            self.put("for tap in range(sums):", True)
            self.put("lanes.store(scratch + tap * lanes.width, lanes.zero())")
            self.depth = depth
            for i in s.looped:
                self.put(f"for {self.names[i]} in range({self.size(i)}):", True)
            self.put(
                f"fold_planes(tile, scratch, {self.planes_at(r, o, s)}, {self.names[r]}.stride({r.indices.index(o)}), "
                f"{self.size(o)}, {self.places_of(s)}, {self.planes_at(x, o, s)}, steps, count, integer_scratch)"
            )
            self.depth = depth
            self.put("add_lanes(tile, found, scratch, sums, square, steps + 2 * count)")
            self.put("to = found")
            self.each_tap_of(s, inner)
            self.put(f"for {self.names[o]} in range({self.size(o)}):", True)
            self.put("result = to[0]")
            self.put("to = to + 1")
            self.scaled(self.factor)
            self.finish(self.at(self.eq.target), "result")
        return self.as_task(title, signature, f"{s.describe()}, whole planes", rooms)

    def inner_of(self, s: Fold) -> tuple[Index, ...]:
        """Free indices that what moves has to itself: of each there are taps of their own."""
        (r,) = s.fixed
        return tuple(i for i in s.outer if i in s.moving[0].indices and i not in r.indices)

    # --- both --------------------------------------------------------------------------------------

    def lies_in_planes(self, s: Slide) -> None:
        """NoVector if windows read anything but planes of one operand, or that for one output alone."""
        self.s, self.b = s, Block({})
        (x, *others) = s.moving
        if s.row is None or s.others or others or s.row.follower not in x.indices:
            raise NoVector
        if any(a.stride.is_number and a.stride != 1 for a in s.axes):
            raise NoVector
        self.together(s)
        if isinstance(s, Fold):
            marks = self.operands_of_fold(s)
            if len(marks) != 1 or self.summed != self.mark * next(iter(marks.values())):
                raise NoVector
        else:
            self.operands(s)
            if self.copied != x or self.factor != 1:
                raise NoVector

    def together(self, s: Slide) -> Index:
        """The index whose outputs are taken together: what moves is the same for all of them."""
        beside = s.fixed[0].indices if isinstance(s, Fold) else self.eq.target.indices
        found = [i for i in s.outer if i not in s.moving[0].indices and i in beside]
        if not found:
            raise NoVector
        return found[-1]

    def places_of(self, s: Slide) -> str:
        assert s.row is not None
        return f"{self.size(s.row.place)} * {self.size(s.lane.place)}"

    def planes_at(self, r: Access, o: Index, s: Slide) -> str:
        """Where the planes of an access begin: at its first element of what is looped over within."""
        held = {o, *(i for a in s.axes for i in (a.place, a.tap, a.follower))}
        held |= {*(self.inner_of(s) if isinstance(s, Fold) else s.rest)}
        at = ["0" if i in held else self.names[i] for i in r.indices]
        while at and at[-1] == "0":
            at.pop()
        return f"{self.names[r]}.pointer({', '.join(at)})"

    def masks_and_steps(self, s: Slide, inner: Sequence[Index]) -> None:
        """How far from a place each tap reads, and which mask it has."""
        assert s.row is not None
        (x,), row, lane = s.moving, s.row, s.lane
        depth = self.depth
        taps = f"{self.size(row.tap)}, {self.size(lane.tap)}"
        moves = ", ".join(
            f"{self.integer(a.offset)}, {self.integer(self.from_tap_to_tap(a))}" for a in (row, lane)
        )
        extents = ", ".join(self.size(i) for i in (row.place, lane.place, row.follower, lane.follower))
        self.put(f"mask_planes(tile, integer_scratch, {taps}, {moves}, {extents})")
        self.put(f"each = plane_masks(tile, {self.places_of(s)})")
        self.put(
            f"steps = integer_scratch + {self.product([self.size(row.tap), self.size(lane.tap), 'each'])}"
        )
        self.put("count = 0")
        self.each_tap_of(s, inner)
        at = [
            f"{self.names[i]} * {self.names[x]}.stride({x.indices.index(i)})" for i in inner if i in x.indices
        ]
        for a, stride in ((row, f" * {self.names[x]}.stride({x.indices.index(row.follower)})"), (lane, "")):
            far = self.integer(a.offset + self.from_tap_to_tap(a) * a.tap)
            at.append(f"({far}){stride}" if stride else far)
        self.put(f"steps[2 * count] = {' + '.join(at)}")
        tap = f"({self.names[row.tap]} * {self.size(lane.tap)} + {self.names[lane.tap]})"
        self.put(f"steps[2 * count + 1] = {tap} * each")
        self.put("count += 1")
        self.depth = depth

    @staticmethod
    def from_tap_to_tap(a: Axis) -> sp.Expr:
        return -a.spread if a.falls else a.spread

    def each_tap_of(self, s: Slide, inner: Sequence[Index]) -> None:
        """Loops over what has taps of its own, and the taps of a window."""
        for i in (*inner, *(a.tap for a in s.axes)):
            self.put(f"for {self.names[i]} in range({self.size(i)}):", True)

    # --- how much room it takes --------------------------------------------------------------------

    def taps_of_planes(self, s: Slide) -> list[str]:
        inner = self.inner_of(s) if isinstance(s, Fold) else s.rest
        return [*map(self.size, inner), *(self.size(a.tap) for a in s.axes)]

    def room_of_planes(self, s: Slide, name: str, integers: Sequence[sp.Symbol]) -> str:
        """A function of the integers: scalars of weights, or of sums, what they add up to and a square of lanes."""
        self.used.add("ceil_div")
        outputs, taps = self.size(self.together(s)), self.taps_of_planes(s)
        if isinstance(s, Fold):
            each, width = self.bounded_product([outputs, *taps]), "tile.lanes.width"
            lines = [f"    return {self.bounded_product([each, f'({width} + 1)'])} + {width} * {width}"]
            return self.room_of(f"{name}_room", integers, "Scalars of the sums.", lines)
        outputs = f"(ceil_div({outputs}, tile.vectors) * tile.vectors)"
        lines = [f"    return {self.bounded_product([outputs, *taps])}"]
        return self.room_of(f"{name}_room", integers, "Scalars of the weights.", lines)

    def masks_of_planes(self, s: Slide) -> str:
        """Places in the tables: a mask for each tap and vector of places, two for each tap, and some for lines."""
        self.used.add("plane_masks")
        taps = [self.size(a.tap) for a in s.axes]
        assert s.row is not None
        places = self.bounded_product([self.size(s.row.place), self.size(s.lane.place)])
        masks = self.bounded_product([*taps, f"plane_masks(tile, {places})"])
        steps = self.bounded_product(["2", *self.taps_of_planes(s)])
        return f"{masks} + {steps}" + (" + tile.lanes.width" if isinstance(s, Fold) else "")

    # --- when it is taken --------------------------------------------------------------------------

    def suits_planes(self, s: Slide) -> list[str]:
        """Rows follow each other, in the operand as in what stands at places; few outputs, but more than one's vectors fill."""
        assert s.row is not None
        (x,), o = s.moving, self.together(s)
        r = s.fixed[0] if isinstance(s, Fold) else self.eq.target
        height, length = self.size(s.row.place), self.size(s.lane.place)
        tests = [f"{self.inner(e)} == 1" for a in s.axes for e in (a.stride, a.modulus) if e != 1]
        for access, line, lane in (
            (x, s.row.follower, s.lane.follower),
            (r, s.row.place, s.lane.place),
        ):
            name, at = self.names[access], access.indices.index
            tests.append(f"{name}.stride({at(lane)}) == 1")
            tests.append(f"{name}.stride({at(line)}) == {length}")
        outputs, most = self.size(o), 4 if isinstance(s, Fold) else 8  # of more a contraction makes as much
        planes = self.bounded_product([*map(self.size, s.outer), *(self.size(i) for i in s.rest)])
        return [
            *tests,
            f"tile.vectors < 2 * {outputs} <= {most} * tile.vectors",
            f"tile.pixels * tile.lanes.width <= {self.bounded_product([height, length])}",
            f"{planes} > tile.channels",  # fewer are not worth the masks
        ]
