"""A scatter in lanes as source: places and masks as vectors, then one addition a lane.

The parts of the emitted module, and when the plain loops are taken, are as in `lanes`. Integers of lanes have 32
bits, as many to a register as there are floats: the task takes the plain loops where one might not fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import sympy as sp

from derive.emit.kernel import TaskSource, needed
from derive.emit.lanes import _LanesWriter
from derive.emit.vectors import NoVector, magnitude
from derive.language import Index
from derive.lower.lanes import Lanes
from derive.lower.loops import Assign, FloorDiv, Loop, Modulo, Nest, Step, Test
from derive.lower.scatter import Scatter
from derive.lower.slide import Slide
from derive.program import IntegerAccess, affine

DIVIDED = 2**9  # quotients of narrow integers are known below 2^22 only, 2^9 times less


def scatter_source(nest: Nest, way: Scatter | None, name: str) -> TaskSource | None:
    """The task, or None if there is no such way or its formula has no form in lanes."""
    return _ScatterWriter(nest, way).text(name) if way is not None else None


class _ScatterWriter(_LanesWriter):
    def __init__(self, nest: Nest, way: Scatter) -> None:
        super().__init__(nest, [way])
        self.plane, self.slides = way.plane, ()
        self.taken |= {"places", "values", "end"}
        self.loads: dict[sp.Expr, str] = {}  # reads, by the local that holds them

    # --- when it suits -----------------------------------------------------------------------

    def suits(self, way: Lanes | Slide, title: str) -> str:
        assert isinstance(way, Scatter)
        target = self.eq.target
        view, plane = self.names[target], self.plane
        strides = [
            f"{'tile.vectors' if i == plane else self.size(i)}*abs({view}.stride({k}))"
            for k, i in enumerate(target.indices)
            if i == plane or i not in way.outer
        ]
        most = [*map(self.bounded_sum, self.reach(way)), " + ".join(strides)]
        largest = f"max({', '.join(most)})" if len(most) > 1 else most[0]
        return f"{self.size(way.lane)} >= 2 and {largest} < 2**31"

    def reach(self, way: Lanes) -> list[sp.Expr]:
        """Bounds of the integers that lanes compute with, in absolute value."""
        found: dict[sp.Expr, None] = {}
        for s in self.after(way.inner):
            if isinstance(s, Test) and s.kind == "range":
                found[DIVIDED * s.bound] = None
            form = affine(s.value)
            if form is not None and not form.reads:
                found[magnitude(form, self.eq.relation)] = None
        return list(found)

    def mentioned(self) -> list[sp.Symbol]:
        more = {s for way in self.ways for e in self.reach(way) for s in e.free_symbols}
        return sorted({*super().mentioned(), *more}, key=str)

    @staticmethod
    def after(steps: Sequence[Step]) -> list[Assign | Test]:
        """What follows the loop of the lanes."""
        place = max(k for k, s in enumerate(steps) if isinstance(s, Loop))
        return [s for s in steps[place + 1 :] if isinstance(s, (Assign, Test))]

    # --- the loops ---------------------------------------------------------------------------

    def planes(self, way: Lanes, steps: Sequence[Step]) -> Index | None:
        """A few planes at a time: no addition waits for one to another plane."""
        return self.plane

    def over(self, way: Lanes) -> None:
        """Blocks of the innermost loop, for each of a few planes."""
        steps = needed(replace(self.nest, inner=way.inner))
        place = max(k for k, s in enumerate(steps) if isinstance(s, Loop))
        loop, v, view = steps[place], self.names[way.lane], self.names[self.eq.target]
        assert isinstance(loop, Loop)
        self.cleared()
        self.put("places, values = tile.narrow_row(), tile.row()")
        for s in steps[:place]:
            self.step(s)
        low, high = self.most(loop.low, "max"), self.most(loop.high, "min")
        if not high.isidentifier():
            self.put(f"end = {high}")
            high = "end"
        self.put(f"for {v} in range({low}, {high}, lanes.width):", True)
        depth, plane = self.depth, self.b.plane_name
        self.each_plane()
        self.put(f"inside = lanes.first({high} - {v} if {plane} + u < {self.size(self.plane)} else 0)")
        for s in self.after(steps):
            self.follow(s)
        self.placed()
        self.all_planes(depth)
        at = ["0" if i not in way.outer else self.names[i] for i in self.eq.target.indices]
        self.put(f"tile.add_rows({view}.pointer({', '.join(at)}), places, values)")

    def cleared(self) -> None:
        """The planes, unless they are added to."""
        depth, target, plane = self.depth, self.eq.target, self.plane
        *inner, last = (i for i in target.indices if i not in self.b.way.outer)
        if self.adds:
            self.put("if add == 0:", True)
        self.put(
            f"for plane in range({self.b.plane_name}, min({self.b.plane_name} + tile.vectors, {self.size(plane)})):",
            True,
        )
        for i in inner:
            self.put(f"for {self.names[i]} in range({self.size(i)}):", True)
        self.put(f"for {self.names[last]} in range(0, {self.size(last)}, lanes.width):", True)
        at = ["plane" if i == plane else self.names[i] for i in target.indices]
        line = (
            f"{self.names[target]}.line({_tuple(at)}, {_tuple(str(int(i == last)) for i in target.indices)})"
        )
        rest = f"lanes.first({self.size(last)} - {self.names[last]})"
        self.put(f"lanes.write_where({line}, lanes.zero(), {rest})")
        self.depth = depth

    # --- integers, one a lane ----------------------------------------------------------------

    def follow(self, s: Assign | Test) -> None:
        """A step after the lanes' loop: an integer of each lane, or a mask."""
        match s:
            case Assign(index, IntegerAccess() as read, size) if size is not None:
                self.load(read, size)
                self.names[index] = self.loads[read]
                self.b.vectors.add(index)
            case Test(IntegerAccess() as read, "range", bound):
                self.load(read, bound)
            case Assign(index, value, size):
                text = self.narrow(value)
                self.put(f"{self.name(index, f'{index.name}_lanes')} = {text}")
                self.b.vectors.add(index)
                if size is not None:
                    self.put(f"inside = inside & lanes.below({self.names[index]}, {self.integer(size)})")
            case Test(value, "range", bound):
                self.put(f"inside = inside & lanes.below({self.narrow(value)}, {self.integer(bound)})")
            case Test(value, "nonneg"):
                self.put(f"inside = inside & ({self.narrow(value)} >= lanes.narrow_integers(0))")
            case Test(value):
                self.used.add("equal")
                self.put(f"inside = inside & equal({self.narrow(value)}, lanes.narrow_integers(0))")

    def load(self, a: IntegerAccess, size: sp.Expr) -> None:
        """Integers from memory: whether they are in range is asked before they are made narrow."""
        if a in self.loads or any(i in self.b.vectors for i in a.indices):
            raise NoVector  # each lane would read at a place of its own
        long = self.name(sp.Dummy(), f"{self.names[a]}_read")
        self.loads[a] = self.name(sp.Dummy(), f"{self.names[a]}_lanes")
        self.put(f"{long} = {self.read(a, 'inside')}")
        self.put(f"inside = inside & lanes.below({long}, {self.integer(size)})")
        self.put(f"{self.loads[a]} = lanes.narrow({long})")

    def narrow(self, e: sp.Expr) -> str:
        """An integer formula lane by lane: what lanes know of their own, then a ramp."""
        if e in self.loads:
            return self.loads[e]
        if isinstance(e, (FloorDiv, Modulo)):
            value, by = e.args
            how = "quotient" if isinstance(e, FloorDiv) else "remainder"
            return f"lanes.{how}({self.narrow(value)}, {self.integer(by)})"
        form = affine(e)
        if form is None:
            raise NoVector
        own = [(a, c) for a, c in form.terms if a in self.b.vectors or a in self.loads]
        rest = form.without(*(a for a, _ in own))
        if any(self.moving(r) for r in rest.reads):
            raise NoVector  # it may be of any size
        parts = list[str]()
        for a, c in own:
            name = self.loads.get(a) or self.names[a]
            parts.append(name if c == 1 else f"{name} * lanes.narrow_integers({self.integer(c)})")
        return " + ".join([*parts, self.narrow_ramp(rest)] if rest.expr != 0 or not parts else parts)

    # --- the sum -----------------------------------------------------------------------------

    def placed(self) -> None:
        """Where each lane adds, and what."""
        eq, target, way = self.eq, self.eq.target, self.b.way
        if any(isinstance(i, Index) and i in self.b.vectors for i in eq.body.free_symbols):
            raise NoVector  # a number, or a place to read at, of each lane
        value = self.lane_body(self.reads(eq.body, "inside"), eq.body)
        terms = [
            f"{self.narrow(i)} * lanes.narrow_integers({self.names[target]}.stride({k}))"
            for k, i in enumerate(target.indices)
            if i not in way.outer
        ]
        stride = f"{self.names[target]}.stride({target.indices.index(self.plane)})"
        self.put(f"place = {' + '.join(terms)} + lanes.narrow_integers(u*{stride})")
        self.used |= {"select", "NOWHERE"}
        self.put("places[0, u] = select(inside, place, lanes.narrow_integers(NOWHERE))")
        self.put(f"values[0, u] = {value}")


def _tuple(parts: Iterable[str]) -> str:
    parts = tuple(parts)
    return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
