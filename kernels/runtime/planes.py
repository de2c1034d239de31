"""Windows over whole planes: a vector holds places that follow each other in memory, whatever rows they are in.

Where an operand's rows lie as far apart as those of the places, a tap lies equally far from every place, so that a
vector of places reads a vector of elements. A lane whose window reaches over an edge there would read an element of
another row: which lanes read at all is a mask, one for each tap and each vector of places, which all planes share.
"""

from __future__ import annotations

from kernels.runtime.arithmetic import ceil_div
from kernels.runtime.compile import kernel
from kernels.runtime.linked import linked
from kernels.runtime.simd import IntegerScratch, Scratch, Tile, fma

CHAIN = 64  # vectors of places that are added one after another, in the dtype of the arrays


@kernel
def plane_masks(tile: Tile, places: int) -> int:
    """How many masks a tap has: those of all vectors of places, and of what a last tile has beyond."""
    return ceil_div(places, tile.lanes.width) + tile.pixels


@kernel
def bits(first: int, last: int, width: int) -> int:
    """An integer of `width` bits, those from first to last set."""
    return (1 << min(max(last, first, 0), width)) - (1 << min(max(first, 0), width))


@linked
def mask_planes(
    tile: Tile,
    masks: IntegerScratch,
    rows: int,
    columns: int,
    top: int,
    down: int,
    left: int,
    across: int,
    lines: int,
    length: int,
    height: int,
    breadth: int,
) -> None:
    """Which lanes read an element: for each of rows x columns taps, a mask for each vector of places.

    There are `lines` lines of `length` > 0 places. At line p and place q the tap in row r and column c reads the element
    p + top + r * down, q + left + c * across of `height` lines of `breadth`.
    """
    width, here = tile.lanes.width, masks
    vectors = plane_masks(tile, lines * length)
    for r in range(rows):
        above = top + r * down
        first, last = max(0, -above), min(lines, height - above)
        for c in range(columns):
            before = left + c * across
            begin, finish = max(0, -before), min(length, breadth - before)
            for k in range(vectors):
                found, at = 0, k * width
                for line in range(max(first, at // length), min(last, ceil_div(at + width, length))):
                    found |= bits(line * length + begin - at, line * length + finish - at, width)
                here[k] = found
            here = here + vectors


@kernel
def slide_tile(
    tile: Tile,
    out: Scratch,
    apart: int,
    outputs: int,
    places: int,
    add: bool,
    plane: Scratch,
    steps: IntegerScratch,
    taps: int,
    masks: IntegerScratch,
    weights: Scratch,
) -> None:
    """As `slide_planes`, of one tile: vectors of places in its rows, outputs in its columns."""
    lanes = tile.lanes
    width = lanes.width
    total, w = tile.registers(), tile.row()
    for u in range(tile.pixels):
        for v in range(tile.vectors):
            total[u, v] = lanes.zero()
    for t in range(taps):
        at, mask = plane + steps[2 * t], masks + steps[2 * t + 1]
        for v in range(tile.vectors):
            w[0, v] = lanes.fill(weights[t * tile.vectors + v])
        for u in range(tile.pixels):
            there = lanes.load_where(at + u * width, lanes.bits(mask[u]))
            for v in range(tile.vectors):
                total[u, v] = fma(w[0, v], there, total[u, v])
    for v in range(tile.vectors):
        if v < outputs:
            for u in range(tile.pixels):
                to, count = out + (v * apart + u * width), places - u * width
                if add:
                    total[u, v] = total[u, v] + lanes.load_first(to, count)
                lanes.store_first(to, total[u, v], count)


@linked
def slide_planes(
    tile: Tile,
    out: Scratch,
    apart: int,
    outputs: int,
    first: int,
    last: int,
    places: int,
    add: bool,
    plane: Scratch,
    steps: IntegerScratch,
    taps: int,
    masks: IntegerScratch,
    weights: Scratch,
) -> None:
    """out[o * apart + i] (+)= sum over t < taps of weight[o, t] * plane[steps[2 * t] + i], or of 0 for that, where i is masked.

    For o < outputs and the places i < places of vectors from first to last. A tap's masks begin at steps[2 * t + 1].
    Weights are those of tile.vectors outputs, tap by tap, then those of the next, filled up by any.
    """
    short, width = tile.short, tile.lanes.width
    k = first
    while k < last:
        whole = last - k > tile.pixels - short.pixels
        here, mask, at = plane + k * width, masks + k, k * width
        for o in range(0, outputs, tile.vectors):
            to, w = out + (o * apart + at), weights + o * taps
            if whole:
                slide_tile(tile, to, apart, outputs - o, places - at, add, here, steps, taps, mask, w)
            else:
                slide_tile(short, to, apart, outputs - o, places - at, add, here, steps, taps, mask, w)
        k += tile.pixels if whole else short.pixels


@kernel
def fold_tile(
    tile: Tile,
    sums: Scratch,
    pitch: int,
    fixed: Scratch,
    apart: int,
    outputs: int,
    vectors: int,
    places: int,
    plane: Scratch,
    steps: IntegerScratch,
    taps: int,
    masks: IntegerScratch,
) -> None:
    """As `fold_planes`, of one tile and so many vectors of places: taps in its rows, outputs in its columns."""
    lanes = tile.lanes
    width = lanes.width
    total, w = tile.registers(), tile.row()
    for u in range(tile.pixels):
        for v in range(tile.vectors):
            total[u, v] = lanes.zero()
    for k in range(vectors):
        at = k * width
        for v in range(tile.vectors):  # beyond the last tap and output is the last again
            w[0, v] = lanes.load_first(fixed + (min(v, outputs - 1) * apart + at), places - at)
        for u in range(tile.pixels):
            t = 2 * min(u, taps - 1)
            there = lanes.load_where(plane + (steps[t] + at), lanes.bits(masks[steps[t + 1] + k]))
            for v in range(tile.vectors):
                total[u, v] = fma(w[0, v], there, total[u, v])
    for u in range(tile.pixels):
        for v in range(tile.vectors):
            if u < taps and v < outputs:
                to = sums + (u * pitch + v * width)
                lanes.store(to, lanes.load(to) + total[u, v])


@linked
def fold_planes(
    tile: Tile,
    sums: Scratch,
    fixed: Scratch,
    apart: int,
    outputs: int,
    places: int,
    plane: Scratch,
    steps: IntegerScratch,
    taps: int,
    masks: IntegerScratch,
) -> None:
    """sums[t, o] += sum over i < places of fixed[o * apart + i] * plane[steps[2 * t] + i], or of 0 for that, where i is masked.

    For t < taps and o < outputs, each sum a vector whose lanes are still apart. A tap's masks begin at steps[2 * t + 1].
    """
    short, width = tile.short, tile.lanes.width
    pitch = outputs * width
    for first in range(0, ceil_div(places, width), CHAIN):
        at = first * width
        vectors, left = min(CHAIN, ceil_div(places - at, width)), places - at
        for o in range(0, outputs, tile.vectors):
            there, few = fixed + (o * apart + at), outputs - o
            t = 0
            while t < taps:
                whole = taps - t > tile.pixels - short.pixels
                to, some, more = sums + (t * pitch + o * width), steps + 2 * t, taps - t
                if whole:
                    fold_tile(
                        tile, to, pitch, there, apart, few, vectors, left, plane + at, some, more, masks + first
                    )  # fmt: skip
                else:
                    fold_tile(
                        short, to, pitch, there, apart, few, vectors, left, plane + at, some, more, masks + first
                    )  # fmt: skip
                t += tile.pixels if whole else short.pixels


@linked
def add_lanes(
    tile: Tile, out: Scratch, sums: Scratch, count: int, square: Scratch, lines: IntegerScratch
) -> None:
    """out[i] = all lanes of vector i < count of the sums, added in double.

    As many vectors as there are lanes are transposed at a time: `square` has room for them, `lines` for two of their numbers.
    """
    lanes = tile.lanes
    width = lanes.width
    for i in range(width):
        lines[i] = i * width
    for first in range(0, count, width):
        lanes.transpose_padded(sums + first * width, lines, count - first, width, square, lines)
        total = lanes.wide_zero()
        for i in range(width):
            total = total + lanes.widen(lanes.load(square + i * width))
        for i in range(width):
            if first + i < count:
                out[first + i] = lanes.item(total, i)
