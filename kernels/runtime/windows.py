"""The compiled body of what slides windows over a plane: of Tile.slide and its neighbours, which simd.py gives a meaning.

A patch of taps is taken at a time, unrolled over lines and taps. Rows that are not there are passed over, lanes that are
not there read zeros, and where all of a patch and of a vector is there nothing is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from llvmlite import ir

from kernels.runtime import machine
from kernels.runtime.lowering import (
    I1,
    I64,
    INT,
    NOTHING,
    Builder,
    Generate,
    RegistersType,
    TileType,
    Value,
    VectorType,
    attributes,
    column_type,
    constant,
    first_lanes,
    intrinsic,
    llvm_vector,
    load,
    masked_load,
    masked_store,
    pick,
    returns,
    splat,
    stack_slots,
    suffix,
    zeros,
)


def hidden(b: Builder, value: Value) -> Value:
    """The value, of which the optimiser knows nothing more, so that what is made from it is made here."""
    kind = ir.FunctionType(value.type, [value.type])
    return b.asm(kind, "", "=r,0", [value], side_effect=False)


def _patch(t: TileType) -> RegistersType:
    return RegistersType(t.lanes.vector, t.taps, t.taps)


def lane_sums(b: Builder, vectors: Sequence[Value]) -> list[Value]:
    """The sums of all lanes of each vector, one after another in as few vectors as hold them.

    Pairs of vectors become one that has half as many lanes for each sum, until each has one.
    """
    width = vectors[0].type.count
    each = width  # lanes of a sum
    while each > 1:
        half, joined = each // 2, list[Value]()
        low = [k for k in range(2 * width) if k % each < half]
        high = [k for k in range(2 * width) if k % each >= half]
        for k in range(0, len(vectors), 2):
            x, y = vectors[k], vectors[min(k + 1, len(vectors) - 1)]
            joined.append(b.fadd(pick(b, x, y, low), pick(b, x, y, high)))
        vectors, each = joined, half
    return list(vectors)


def store_sums(b: Builder, t: TileType, p: Value, patch: Value) -> None:
    v, count = t.lanes.vector, t.taps * t.taps
    for k, sums in enumerate(lane_sums(b, [b.load(b.gep(patch, [I64(k)])) for k in range(count)])):
        mask = constant(I1, [k * v.width + lane < count for lane in range(v.width)])
        masked_store(b, b.gep(p, [I64(k * v.width)]), sums, mask, v)


Visit = Callable[[int, int, int, Value, bool], None]
"""Takes a vector that a line's window has: the line, row and column in the window, the vector; are there masks?"""


class Windows:
    """The windows of a tile's lines over a plane, or what of them is in one patch.

    `every` is 1 or 2, how far apart the elements of a vector lie. Where a patch has several rows of taps, windows lie
    `every` times as far apart as those, and a row is read once for all the windows that it is in. There are three forms: a
    whole patch where nothing is guarded; a whole patch where rows are tested and lanes masked; and a part of one, of which
    rows and columns of taps are tested as well.
    """

    def __init__(
        self, b: Builder, t: TileType, every: int, down: Value, over: Value, plane: Value, *places: Value
    ) -> None:
        self.b, self.t, self.every, self.down, self.over = b, t, every, down, over
        pitch, self.height, self.length, top, by, step, left, across = places
        pitch, self.top, self.by, self.step, self.left, self.across = (
            hidden(b, v) for v in (pitch, top, by, step, left, across)
        )
        self.origin = hidden(b, b.gep(plane, [b.add(b.mul(self.top, pitch), self.left)]))
        self.apart, self.lower = b.mul(self.by, pitch), b.mul(self.step, pitch)
        # row after row, the lines and rows of their windows that it is
        rows: dict[int, list[tuple[int, int]]] = {}
        for r in range(t.taps):
            for u in range(t.lines):
                rows.setdefault(u * every + r, []).append((u, r))
        self.meets = [rows[k] for k in sorted(rows)]

    def each(self, visit: Visit, whole: Value | None = None) -> None:
        """What all windows have. whole: what else must hold where nothing is guarded."""
        b, lanes, taps = self.b, self.t.lanes, I64(self.t.taps)
        high, wide = b.icmp_signed("==", self.down, taps), b.icmp_signed("==", self.over, taps)
        right = b.add(b.add(self.left, self.starts()[-1]), I64(lanes.width * self.every))
        u, r = self.meets[-1][-1]
        below = b.add(self.top, b.add(b.mul(self.by, I64(u)), b.mul(self.step, I64(r))))
        inside = b.and_(b.icmp_signed(">=", self.left, I64(0)), b.icmp_signed("<=", right, self.length))
        complete = b.and_(high, wide)
        free = b.and_(complete, inside)
        for test in (
            b.icmp_signed(">=", self.top, I64(0)),
            b.icmp_signed("<", below, self.height),
            *([] if whole is None else [whole]),
        ):
            free = b.and_(free, test)
        with b.if_else(free) as (interior, border):
            with interior:
                self.rows(visit, [], part=False)
            with border:
                masks = self.masks(inside)
                with b.if_else(complete) as (all_taps, some_taps):
                    with all_taps:
                        self.rows(visit, masks, part=False)
                    with some_taps:
                        self.rows(visit, masks, part=True)

    def rows(self, visit: Visit, masks: list[list[Value]], part: bool) -> None:
        """Row by row; column by column where sums and weights of a patch are more than there are registers.

        masks: none if nothing is guarded. part: may a patch have fewer taps than it could?
        """
        t = self.t
        starts = list(enumerate(self.starts()))
        fits = t.taps * t.taps + t.lines + 2 <= t.most_registers
        for some in [starts] if fits else [[start] for start in starts]:
            b, row, at = self.b, self.top, self.origin
            for pairs in self.meets:
                u, r = pairs[0]
                if u and not r:
                    row, at = b.add(row, self.by), b.gep(at, [self.apart])
                here, place = row, at
                if r:
                    here = b.add(row, b.mul(self.step, I64(r)))
                    place = b.gep(at, [b.mul(self.lower, I64(r))])
                tests = [b.icmp_unsigned("<", here, self.height)] if masks else []
                tests += [self.has_row(r)] if part and r else []
                with where(b, *tests):
                    self.row(visit, pairs, place, masks, part, some)

    def row(
        self,
        visit: Visit,
        pairs: Sequence[tuple[int, int]],
        at: Value,
        masks: list[list[Value]],
        part: bool,
        starts: Sequence[tuple[int, Value]],
    ) -> None:
        b, v = self.b, self.t.lanes.vector
        for n, start in starts:
            first = n * self.every
            with where(b, *([self.has_column(first)] if part and first else [])):
                here, parts = b.gep(at, [start]), []
                for k in range(self.every):
                    place = b.gep(here, [I64(k * v.width)])
                    parts.append(masked_load(b, place, masks[n][k], v) if masks else load(b, place, v))
                for column, there in enumerate(self.taken(parts), first):
                    if column < self.t.taps:
                        with where(b, *([self.has_column(column)] if part and column > first else [])):
                            self.met(visit, pairs, column, there, bool(masks), part)

    def met(
        self,
        visit: Visit,
        pairs: Sequence[tuple[int, int]],
        column: int,
        there: Value,
        masked: bool,
        part: bool,
    ) -> None:
        """The lines that meet a row, those of its first row of taps first: who has a row of taps has all before it."""
        if not pairs:
            return
        (line, r), *others = pairs
        visit(line, r, column, there, masked)
        with where(self.b, *([self.has_row(others[0][1])] if part and others else [])):
            self.met(visit, others, column, there, masked, part)

    def has_row(self, r: int) -> Value:
        return self.b.icmp_signed(">", self.down, I64(r))

    def has_column(self, c: int) -> Value:
        return self.b.icmp_signed(">", self.over, I64(c))

    def starts(self) -> list[Value]:
        """Where columns begin that are loaded; of every second element, two that lie side by side are loaded together."""
        columns = range(0, self.t.taps, self.every)
        return [self.b.mul(self.across, I64(c)) if self.every == 1 else I64(c) for c in columns]

    def taken(self, parts: list[Value]) -> list[Value]:
        """The columns that are in what was loaded."""
        width = self.t.lanes.width
        if self.every == 1:
            return parts
        low, high = parts
        return [pick(self.b, low, high, list(range(k, 2 * width, 2))) for k in range(2)]

    def masks(self, inside: Value) -> list[list[Value]]:
        """Of the vectors that are loaded in a row: the elements that exist."""
        b, lanes = self.b, self.t.lanes
        # integers as wide as the scalars are the masks that machines without registers for masks want
        integer = I1 if machine.masks_memory() else ir.IntType(lanes.dtype.bitwidth)
        everywhere = constant(integer, [-1] * lanes.width)
        before, found = b.block, list[list[Value]]()
        with b.if_then(b.not_(inside)):
            for start in self.starts():
                parts = []
                for k in range(self.every):
                    first = b.add(b.add(self.left, start), I64(k * lanes.width))
                    below = first_lanes(b, b.sub(self.length, first), lanes)
                    mask = b.and_(below, b.not_(first_lanes(b, b.neg(first), lanes)))
                    parts.append(mask if integer == I1 else b.sext(mask, everywhere.type))
                found.append(parts)
            after = b.block

        def either(mask: Value) -> Value:
            joined = b.phi(mask.type)
            joined.add_incoming(everywhere, before)
            joined.add_incoming(mask, after)
            return joined

        joined = [[either(mask) for mask in parts] for parts in found]
        if integer == I1:
            return joined
        return [
            [b.icmp_signed("<", mask, constant(integer, [0] * lanes.width)) for mask in parts]
            for parts in joined
        ]


@contextmanager
def where(b: Builder, *conditions: Value) -> Iterator[None]:
    """A block for where all conditions hold; no block if there is none."""
    if not conditions:
        yield
        return
    condition = conditions[0]
    for other in conditions[1:]:
        condition = b.and_(condition, other)
    with b.if_then(condition):
        yield


def multiply_add(b: Builder, v: VectorType, x: Value, y: Value, slot: Value) -> None:
    """The product of two vectors added to one in the register tile."""
    b.store(intrinsic(b, f"llvm.fma.{suffix(v)}", llvm_vector(v), x, y, b.load(slot)), slot)


def slide(every: int) -> Generate:
    def generate(
        b: Builder, t: TileType, total: Value, weights: Value, below: Value, beside: Value, *at: Value
    ) -> None:
        v, (down, over) = t.lanes.vector, at[:2]

        def starts(step: Value, count: Value) -> list[Value]:
            """How far taps lie from the first; beyond the last, where nothing is used, as the last."""
            last = b.mul(step, b.sub(count, I64(1)))
            inside = [b.icmp_signed(">", count, I64(k)) for k in range(t.taps)]
            return [b.select(there, b.mul(step, I64(k)), last) for k, there in enumerate(inside)]

        patch = [
            splat(b, b.load(b.gep(weights, [b.add(r, c)])), v.width)
            for r in starts(below, down)
            for c in starts(beside, over)
        ]

        def add(u: int, r: int, c: int, there: Value, masked: bool) -> None:
            multiply_add(b, v, patch[r * t.taps + c], there, b.gep(total, [I64(u)]))

        Windows(b, t, every, *at).each(add)

    return generate


def fold_windows(every: int) -> Generate:
    def generate(
        b: Builder, t: TileType, patch: Value, column: Value, rows: Value, count: Value, *at: Value
    ) -> None:
        v = t.lanes.vector
        lines = [b.load(b.gep(column, [I64(u)])) for u in range(t.lines)]
        exists = [b.icmp_signed(">", rows, I64(u)) for u in range(t.lines)]
        first = first_lanes(b, count, t.lanes)

        def add(u: int, r: int, c: int, there: Value, masked: bool) -> None:
            slot = b.gep(patch, [I64(r * t.taps + c)])
            with where(b, *([exists[u]] if masked else [])):
                # an infinity beyond the last lane would turn the zero that it meets to NaN
                there = b.select(first, there, zeros(v)) if masked else there
                multiply_add(b, v, lines[u], there, slot)

        whole = b.and_(exists[-1], b.icmp_signed(">=", count, I64(t.lanes.width)))
        Windows(b, t, every, *at).each(add, whole)

    return generate


_WEIGHTS = (lambda t: t.lanes.pointer, INT, INT)
_OVER_PLANE = (INT, INT, lambda t: t.lanes.pointer, *[INT] * 8)
attributes(
    TileType,
    {
        "patch": (returns(_patch), lambda b, t: stack_slots(b, _patch(t))),
        "store_sums": (returns(NOTHING, lambda t: t.lanes.pointer, _patch), store_sums),
        "slide": (returns(NOTHING, column_type, *_WEIGHTS, *_OVER_PLANE), slide(1)),
        "slide_twos": (returns(NOTHING, column_type, *_WEIGHTS, *_OVER_PLANE), slide(2)),
        "fold": (returns(NOTHING, _patch, column_type, INT, INT, *_OVER_PLANE), fold_windows(1)),
        "fold_twos": (returns(NOTHING, _patch, column_type, INT, INT, *_OVER_PLANE), fold_windows(2)),
    },
)
