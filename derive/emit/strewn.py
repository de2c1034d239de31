"""Lanes that stand apart in the target as source.

The emitted module gets, for one equation,

    NAME_strewn_by_q    the target line by line, which is cleared first; q in lanes, wherever their elements are
"""

from __future__ import annotations

from derive.emit.choice import NO_WAY, Offer, Way
from derive.emit.kernel import digits, needed
from derive.emit.vectors import Block, NoVector, VectorWriter
from derive.lower.loops import Nest
from derive.lower.strewn import Strewn


def strewn_offer(nest: Nest, way: Strewn, name: str) -> Offer:
    """The lines of the target one by one; none if the formula has no form in lanes."""
    try:
        return _StrewnWriter(nest, way).offer(name)
    except NoVector:
        return NO_WAY


class _StrewnWriter(VectorWriter):
    def __init__(self, nest: Nest, way: Strewn) -> None:
        steps = needed(Nest(nest.equation, "scatter", (), (), (*way.before, way.loop, *way.after), 0.0))
        super().__init__(nest, clears=True)
        self.way, self.steps = way, steps

    def offer(self, name: str) -> Offer:
        eq, way = self.eq, self.way
        views, integers, reals = self.named()
        found = {s for r in eq.relation.ranges for s in r.size.free_symbols}
        found |= {s for z in (*eq.relation.zero, *eq.relation.nonneg) for s in z.expr.free_symbols}
        integers = self.told(integers, sorted(found - set(eq.relation.indices), key=str))
        self.b = Block(dict(way.moves))
        self.lined()
        title = f"{name}_strewn_by_{way.loop.index.name}"
        signature = self.signature_of(views, integers, reals, "tile: Tile")
        made = self.as_task(title, signature, way.describe())
        by = dict(way.moves)[way.row]
        test = f"tile.lanes.width <= {self.integer(eq.relation.size(way.loop.index))}"
        test += "" if by.is_positive else f" and {self.inner(by)} >= 1"
        return Offer((Way(title, test, (made,), way.describe()),), integers, self.names, frozenset(self.used))

    def lined(self) -> None:
        """Lines of the target are shared among tasks."""
        way, size = self.way, self.integer(self.eq.relation.size(self.way.row))
        self.used.add("share")
        self.put("lanes = tile.lanes")
        sizes = [self.integer(self.eq.relation.size(i)) for i in way.outer]
        self.put(f"first, last = share({' * '.join(sizes) or '1'}, task, tasks)")
        self.put("for item in range(first, last):", True)
        for i, text in zip(way.outer, digits("item", sizes), strict=True):
            self.put(f"{self.names[i]} = {text}")
        line, target, row = self.depth, self.eq.target, self.names[way.row]
        if self.adds:
            self.put("if add == 0:", True)
        self.put(f"for {row} in range(0, {size}, lanes.width):", True)
        moves, self.b = self.b, Block({way.row: self.eq.relation.size(way.row) ** 0})
        self.put(f"lanes.write_where({self.line(target)}, lanes.zero(), lanes.first({size} - {row}))")
        self.b, self.depth = moves, line
        for s in self.steps:
            if s == way.loop:
                break
            self.step(s)
        v = self.names[way.loop.index]
        low, high = self.most(way.loop.low, "max"), self.most(way.loop.high, "min")
        if not high.isidentifier():
            self.put(f"end = {high}")
            high = "end"
        self.put(f"for {v} in range({low}, {high}, lanes.width):", True)
        self.put(f"active = lanes.first({high} - {v})")
        for s in way.after:
            if s in self.steps:
                self.put(f"{self.names[s.index]} = {self.integer(s.value)}")
            if s.size is not None:
                by = self.integer(self.b.moves.get(s.index, way.loop.low[0] * 0))
                self.put(
                    f"active = active & lanes.within({self.names[s.index]}, {by}, {self.integer(s.size)})"
                )
        value = self.lane_body(self.reads(self.eq.body, "active"), self.eq.body)
        self.put(f"total = {value}")
        there = f"total = total + {self.read(target, 'active')}"
        if not way.single:
            self.put(there)
        elif self.adds:
            self.put("if add != 0:", True)
            self.put(there)
            self.depth -= 1
        self.put(f"lanes.write_where({self.line(target)}, total, active)")


__all__ = ["strewn_offer"]
