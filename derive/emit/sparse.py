"""A product with a sparse matrix along one axis as source: a table of its points, and rows of vectors by it.

The emitted module gets, for one equation,

    NAME_points         the most points that a row has, counted once for each plan
    NAME_table_over_p   lanes over the rows p: places side by side are read as such, others are gathered
    NAME_table_over_q   lanes over another index, where that is contiguous: a point is one place for all lanes

The table has a line of places for each point that a row has, -1 where a row has fewer, and the weights beside it. For
lanes over the rows it says of each block how many points there are, and how the places of each lie:

    BESIDE   one after another: a vector is read as it lies
    SOME     so, as far as there are any
    NEAR     within two vectors, whose lanes are permuted
    else     anywhere: they are gathered

"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import sympy as sp

from derive.emit.choice import Offer, Way
from derive.emit.kernel import needed
from derive.emit.lanes import LanesWriter
from derive.emit.vectors import Block
from derive.lower.lanes import Lanes
from derive.lower.loops import Nest, Step, expressions
from derive.lower.sparse import Sparse

LONG = "2 * tile.steps"  # rows and columns of a table: Python counts the points, once for each plan
BESIDE, SOME, NEAR, APART = range(4)  # how the places of a point lie in a block of rows
MOST = "16 * tile.steps"  # points of a table, so that it stays in the caches


def sparse_offer(nest: Nest, way: Sparse, name: str) -> Offer:
    """Both ways to run a product with a sparse matrix."""
    return SparseWriter(nest, way).both_ways(name)


class SparseWriter(LanesWriter):
    def __init__(self, nest: Nest, sparse: Sparse) -> None:
        super().__init__(nest, ())
        self.sparse = sparse
        self.gathers = False  # are lanes rows of the matrix?

    def both_ways(self, name: str) -> Offer:
        views, integers, self.reals = self.named()
        self.integers = self.told(integers, self.mentioned())
        self.plain_views = views
        self.count = f"{name}_points"
        counted = self.counting()
        ways = list[Way]()
        start = dict(self.names), set(self.taken)
        for lane in filter(None, (self.sparse.across, self.sparse.row)):
            self.names, self.taken = dict(start[0]), set(start[1])
            way, title = self.sparse.lanes(lane), f"{name}_table_over_{lane.name}"
            parts = tuple(self.source(way, title))
            ways.append(Way(title, " and ".join(self.tests(way)), parts, self.described(way)))
        self.names, self.taken = start
        first = ways[0]
        ways[0] = Way(first.title, first.test, (counted, *first.parts), first.described)
        return Offer(tuple(ways), self.integers, self.names, frozenset(self.used))

    def mentioned(self) -> list[sp.Symbol]:
        eq, points = self.eq, self.sparse.points
        steps: tuple[Step, ...] = (*points.inner, *self.sparse.rest)
        found = {s for step in steps for e in expressions(step) for s in e.free_symbols}
        found |= {s for i in (*eq.free, self.sparse.column) for s in eq.relation.size(i).free_symbols}
        kept = (s for s in found - set(eq.relation.indices) if isinstance(s, sp.Symbol))
        return sorted(kept, key=str)

    def described(self, way: Lanes) -> str:
        row = self.sparse.row
        if way.lane == row:
            return f"lanes over {row} by a table of what each reads"
        return f"lanes over {way.lane} where it is contiguous, by a table of what each {row} reads"

    # --- when it suits -----------------------------------------------------------------------

    def tests(self, way: Lanes) -> list[str]:
        rows, columns = self.size(self.sparse.row), self.size(self.sparse.column)
        size = self.size(way.lane)
        if way.lane == self.sparse.row:
            suited = [f"tile.lanes.width <= 8 * {size}"]
        else:
            views = (self.eq.target, self.sparse.read)
            unit = [f"{self.names[v]}.stride({v.indices.index(way.lane)}) == 1" for v in views]
            suited = [f"tile.lanes.width <= {size}", *unit]
        points = f"bounded({self.count}({self.room_arguments()}), {rows})"
        self.used.add("bounded")
        return [*suited, f"max({rows}, {columns}) <= {LONG}", f"{points} <= {MOST}"]

    def counting(self) -> str:
        """How many points a row has at most, in plain Python."""
        self.lines, self.depth = [], 1
        row, names, taken = self.names[self.sparse.row], dict(self.names), set(self.taken)
        self.put("most = 0")
        self.put(f"for {row} in range({self.size(self.sparse.row)}):", True)
        self.put("many = 0")
        self.each_point(sp.S.One)
        self.put("many += 1")
        self.depth = 2
        self.put("most = max(most, many)")
        self.depth = 1
        self.put("return most")
        self.names, self.taken = names, taken
        self.used.add("counted")
        doc = f"The most points that one {row} has."
        return f"@counted\n{self.room_of(self.count, self.integers, doc, self.lines)}"

    # --- the table ---------------------------------------------------------------------------

    def each_point(self, body: sp.Expr) -> None:
        """What comes to the points of a row, and works out what the body reads."""
        points = self.sparse.points
        for s in needed(replace(points, equation=replace(points.equation, body=body))):
            self.step(s)

    @property
    def weighted(self) -> bool:
        return bool(self.sparse.weight != 1)

    def pitch(self) -> tuple[str, str]:
        """Integers of one line of the table that are places, and all of them."""
        rows = self.size(self.sparse.row)
        if not self.gathers:
            return rows, rows
        self.used.add("ceil_div")
        return f"ceil_div({rows}, lanes.width) * lanes.width", f"pitch + 2 * ceil_div({rows}, lanes.width)"

    def table(self) -> None:
        """The places and weights of each row's points, a line for its first ones, a line for its second ones ..."""
        depth, row, column = self.depth, self.names[self.sparse.row], self.names[self.sparse.column]
        pitch, line = self.pitch()
        if self.gathers:
            self.put(f"pitch = {pitch}")
        self.put(f"line = {line}")
        self.put("found, places, points = integer_scratch, integer_scratch + line, 0")
        self.put(f"for {row} in range({self.size(self.sparse.row)}):", True)
        self.put("many = 0")
        self.each_point(self.sparse.points.equation.body)
        self.put("if many == points:", True)
        self.put("points += 1")
        self.put("for at in range(many * line, points * line):", True)
        self.put("places[at] = -1")
        if self.weighted:
            self.used.add("zero")
            self.put("weights[at] = zero()")
        self.depth -= 2
        self.put(f"places[many * line + {row}] = {column}")
        if self.weighted:
            self.put(f"weights[many * line + {row}] = {self.scalar(self.sparse.weight)}")
        self.put("many += 1")
        self.depth = depth + 1
        self.put(f"found[{row}] = many")
        self.depth = depth
        if self.gathers:
            self.how_places_lie()

    def how_places_lie(self) -> None:
        """Of each block of rows how many points there are, and of each point how its places lie, and from where on."""
        depth, row, sparse = self.depth, self.names[self.sparse.row], self.sparse
        size, column = self.size(sparse.row), self.names[sparse.column]
        stride = f"{self.names[sparse.read]}.stride({sparse.read.indices.index(sparse.column)})"
        self.blocks_of_rows()
        self.put("block = pitch + start // lanes.width * 2")
        self.put("most = 0")
        self.put(f"for at in range({row}, min({row} + lanes.width, {size})):", True)
        self.put("most = max(most, found[at])")
        self.depth -= 1
        self.put("found[block] = most")
        self.put("for turn in range(most):", True)
        self.put(
            f"at, least, last, here, flow = turn * line + {row}, {self.size(sparse.column)}, 0, 0, {SOME}"
        )
        self.put("first = -lanes.width")
        self.put("for lane in range(lanes.width):", True)
        self.put(f"{column} = places[at + lane]")
        self.put(f"if {column} >= 0:", True)
        self.put(f"least, last, here = min(least, {column}), max(last, {column}), here + 1")
        self.put("if here == 1:", True)
        self.put(f"first = {column} - lane")
        self.depth -= 1
        self.put(f"if {column} != first + lane:", True)
        self.put(f"flow = {APART}")
        self.depth -= 3
        self.put(f"if flow == {SOME} and here == lanes.width:", True)
        self.put(f"flow = {BESIDE}")
        self.depth -= 1
        self.put(
            f"if flow == {APART} and here == lanes.width and last - least < 2 * lanes.width and {stride} == 1:",
            True,
        )
        self.put(f"first, flow = least, {NEAR}")
        self.depth -= 1
        self.put("places[turn * line + block], places[turn * line + block + 1] = flow, first")
        self.depth = depth

    def blocks_of_rows(self) -> None:
        """A loop over the blocks of the lanes; what is written twice is the same, so that the last is a whole one."""
        lane = self.b.way.lane
        size = self.size(lane)
        once = " if add == 0 else start" if self.adds else ""
        self.put(f"for start in range(0, {size}, lanes.width):", True)
        self.put(f"{self.names[lane]} = max(0, min(start, {size} - lanes.width)){once}")

    # --- a task ------------------------------------------------------------------------------

    def source(self, way: Lanes, title: str) -> Iterator[str]:
        self.gathers = way.lane == self.sparse.row
        pitch, line = self.pitch()
        points = f"{self.count}({self.room_arguments()})"
        lines = ["    lanes = tile.lanes", f"    pitch = {pitch}"] if self.gathers else []
        rooms = {"table": ("integer_scratch", "Integers", f"(1 + {points})")}
        if self.weighted:
            rooms["room"] = ("scratch", "Weights", points)
        for suffix, (_, what, many) in rooms.items():
            returned = f"    return {many} * ({line})" if " " in line else f"    return {many} * {line}"
            yield self.room_of(f"{title}_{suffix}", self.integers, f"{what} of one task.", [*lines, returned])
        self.lines, self.depth = [], 1
        self.used.add("share")
        self.b = Block(dict(way.moves), way)
        self.put("lanes = tile.lanes")
        self.table()
        steps = needed(replace(self.nest, inner=way.inner))
        if self.gathers:
            self.b.plane = self.planes(way, steps or needed(self.sparse.points))
            self.b.plane_name = self.names[self.b.plane] if self.b.plane is not None else ""
        self.share(way)
        row, size = self.names[self.sparse.row], self.size(way.lane)
        if not self.gathers:
            self.put(f"many = found[{row}]")
            self.passed()
        self.outside(steps)
        self.blocks_of_rows()
        if self.gathers:
            self.put("block = pitch + start // lanes.width * 2")
            self.put("many = found[block]")
            self.passed()
        self.put(f"count = min(lanes.width, {size} - {self.names[way.lane]})")
        self.put("active = lanes.first(count)")
        self.reduction(steps, False)
        rooms_of = ", ".join(f"{kind}={title}_{suffix}" for suffix, (kind, *_) in reversed(rooms.items()))
        given = ["integer_scratch: IntegerScratch", *["weights: Scratch"] * self.weighted]
        yield self.as_task(title, self.signature(*given), self.described(way), f"({rooms_of})")

    def passed(self) -> None:
        """Where nothing is added, nothing is written."""
        if self.adds:
            self.put("if add != 0 and many == 0:", True)
            self.put("continue")
            self.depth -= 1

    def split(self, body: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
        return sp.S.One, body  # the table has every factor

    def point(self, body: sp.Expr, mask: str, guarded: bool, masked: bool = False) -> None:
        """All points of a row, or of a block of rows."""
        depth, sparse = self.depth, self.sparse
        row, column = self.names[sparse.row], self.names[sparse.column]
        self.put("for turn in range(many):", True)
        if not self.gathers:
            self.put(f"{column} = places[turn * line + {row}]")
            if self.weighted:
                self.put(f"weight = lanes.fill(weights[turn * line + {row}])")
            self.added(lambda: self.read(sparse.read, mask))
        else:
            self.gathered()
        self.depth = depth

    def gathered(self) -> None:
        """One point of a block of rows, by how its places lie."""
        sparse, at = self.sparse, f"turn * line + {self.names[self.sparse.row]}"
        column, depth = self.names[sparse.column], self.depth
        if self.weighted:
            self.put(f"weight = lanes.load(weights + ({at}))")
        self.put(f"flow, {column} = places[turn * line + block], places[turn * line + block + 1]")
        self.put(f"if flow == {BESIDE}:", True)
        self.added(lambda: self.read(sparse.read, ""))
        self.depth = depth
        self.put("else:", True)
        self.put(f"steps = lanes.load_narrow(places + ({at}))")
        self.put("there = steps >= lanes.narrow_integers(0)")
        self.put(f"if flow == {SOME}:", True)
        self.added(lambda: self.read(sparse.read, "there"))
        self.depth -= 1
        self.put(f"elif flow == {NEAR}:", True)
        self.put(f"steps = steps - lanes.narrow_integers({column})")
        size = self.size(sparse.column)
        self.put(
            f"inside, beyond = lanes.first({size} - {column}), lanes.first({size} - {column} - lanes.width)"
        )

        def pair() -> str:
            lines = [self.line(sparse.read)]
            self.names[sparse.column] = f"{column} + lanes.width"
            lines.append(self.line(sparse.read))
            self.names[sparse.column] = column
            first, second = (
                f"lanes.read_where({line}, {mask})"
                for line, mask in zip(lines, ("inside", "beyond"), strict=True)
            )
            return f"lanes.permute({first}, {second}, steps)"

        self.added(pair)
        self.depth -= 1
        self.put("else:", True)
        self.names[sparse.column] = "0"
        self.added(lambda: f"lanes.gather({self.line(sparse.read)}, steps, there)")
        self.names[sparse.column] = column

    def added(self, read: Callable[[], str]) -> None:
        """What a point reads times its weight, to the sums of each plane."""
        depth = self.depth
        self.each_plane()
        total = self.kept("total")
        if self.weighted:
            self.put(f"{total} = {self.call('fma', 'weight', read(), total)}")
        else:
            self.put(f"{total} = {total} + {read()}")
        self.all_planes(depth)


__all__ = ["sparse_offer"]
