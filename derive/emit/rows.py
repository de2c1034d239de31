"""A scatter in lanes: an integer says to which place, and what is added there lies side by side.

    for n:   w0 = t[n]                      0 <= t < W0
             gw[w0, j] += gy[n, j]          for all j

An index of the planes, which decides neither a place nor whether there is one, becomes that of the lanes: a row is added
to a row. Several vectors of it are taken at a time, so that each point is looked up once for all of them. Additions to an
element keep the order of the plain loops.

    NAME_rows_over_j    the loops with j in lanes, taken where it is contiguous in all that has it
"""

from __future__ import annotations

import sympy as sp

from derive.emit.choice import NO_WAY, Offer, Way
from derive.emit.kernel import digits, needed
from derive.emit.vectors import Block, NoVector, VectorWriter, fused
from derive.language import Index
from derive.lower.loops import Assign, Nest, Test
from derive.program import IntegerAccess


def rows_offer(nest: Nest, name: str) -> Offer:
    """The scatter with its last plane index in lanes, if integers decide its places and nothing depends on that index."""
    if nest.strategy != "scatter" or not any(
        s.value.has(IntegerAccess) for s in nest.inner if isinstance(s, (Assign, Test))
    ):
        return NO_WAY
    spoken_of = {symbol for s in nest.inner for part in s.__slots__ for symbol in _symbols(getattr(s, part))}
    planes = {loop.index for loop in nest.outer} - spoken_of
    lane = next((i for i in reversed(nest.equation.free) if i in planes), None)
    if lane is None:
        return NO_WAY
    try:
        return _RowsWriter(nest, lane).offer(name)
    except NoVector:
        return NO_WAY


def _symbols(part: object) -> set[sp.Basic]:
    parts = part if isinstance(part, tuple) else (part,)
    return set[sp.Basic]().union(*(e.free_symbols for e in parts if isinstance(e, sp.Basic)))


class _RowsWriter(VectorWriter):
    def __init__(self, nest: Nest, lane: Index) -> None:
        super().__init__(nest, clears=True)
        self.lane = lane

    def offer(self, name: str) -> Offer:
        views, integers, reals = self.named()
        self.b = Block({self.lane: sp.S.One})
        v, size = self.names[self.lane], self.integer(self.eq.relation.size(self.lane))
        self.rows(v, size)
        title, described = f"{name}_rows_over_{v}", f"scatter, lanes over {self.lane}"
        made = self.as_task(title, self.signature_of(views, integers, reals, "tile: Tile"), described)
        contiguous = [
            f"{self.names[a]}.stride({a.indices.index(self.lane)}) == 1" for a in views if self.moving(a)
        ]
        test = " and ".join([f"tile.lanes.width <= {size}", *contiguous])
        return Offer((Way(title, test, (made,), described),), integers, self.names, frozenset(self.used))

    def rows(self, v: str, size: str) -> None:
        """Blocks of lanes, and all other planes, are shared among tasks."""
        self.used |= {"share", "ceil_div"}
        block = "tile.lines * lanes.width"
        outer = [loop.index for loop in self.nest.outer if loop.index != self.lane]
        sizes = [*(self.integer(self.eq.relation.size(i)) for i in outer), "blocks"]
        self.put("lanes = tile.lanes")
        self.put(f"blocks = ceil_div({size}, {block})")
        self.put(f"first, last = share({' * '.join(sizes)}, task, tasks)")
        self.put("for item in range(first, last):", True)
        *parts, last = digits("item", sizes)
        for i, text in zip(outer, parts, strict=True):
            self.put(f"{self.names[i]} = {text}")
        self.put(f"start = {last} * ({block})")
        names, taken, depth = dict(self.names), set(self.taken), self.depth
        self.put(f"if start + {block} <= {size}:", True)
        self.put("active = lanes.where(True)")
        self.points(f"{v} = start + u * lanes.width")
        self.depth, self.names, self.taken = depth, names, taken
        self.put("else:", True)
        self.put(f"for {v} in range(start, {size}, lanes.width):", True)
        self.put(f"active = lanes.first({size} - {v})")
        self.points("")

    def points(self, each: str) -> None:
        """The rest of the target cleared, then each point added, a row at a time; `each` says where a vector of it starts."""
        depth, target = self.depth, self.eq.target
        planes = {loop.index for loop in self.nest.outer}
        if self.adds:
            self.put("if add == 0:", True)
        for i in self.eq.free:
            if i not in planes:
                self.put(f"for {self.names[i]} in range({self.integer(self.eq.relation.size(i))}):", True)
        self.vectors(each)
        self.put(f"lanes.write_where({self.line(target)}, lanes.zero(), active)")
        self.depth = depth
        for s in needed(self.nest):
            self.step(s)
        self.vectors(each)
        value = self.lane_body(self.reads(self.eq.body, "active"), self.eq.body)
        before = self.read(target, "active")
        now = fused(value, before)
        self.used |= {"fma"} if now.startswith("fma(") else set()
        self.put(f"lanes.write_where({self.line(target)}, {now or f'{before} + {value}'}, active)")

    def vectors(self, each: str) -> None:
        if each:
            self.put("for u in range(tile.lines):", True)
            self.put(each)


__all__ = ["rows_offer"]
