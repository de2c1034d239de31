"""Winograd's minimal filtering, F(2 x 2, 3 x 3): sums over windows of 3 x 3 places from 16 products for each 4 results.

    y[i, o, p0, p1]  (+)=  sum over c, k0 < 3, k1 < 3 of  x[i, c, p0 + k0, p1 + k1] * w[o, c, k0, k1]

A tile is 2 x 2 neighbouring results. What its windows read are 4 x 4 places; along each axis

    places a b c d  ->  a - c, b + c, c - b, b - d
    taps   a b c    ->  a, (a + b + c)/2, (a - b + c)/2, c
    sums   a b c d  ->  a + b + c, b - c - d

and between them, at each of the 16 points that both axes make, stands one product of matrices: outputs x channels
times channels x tiles. It holds whatever the numbers are, so exact runs give what the direct sum gives. A result is
made of what its own window reads and of nothing else. Rounding errors are those of sums of a few neighbouring places
and of halves: no other constants, so integers stay integers.

What is infinite gives NaN in a difference, and a sum of large numbers may leave the range. A result that is finite
cannot have come from either. So tiles with any other result are summed directly, which the same products do with
taps and places as they are: 36 for each tile in place of 16. Which tiles these are follows from the numbers alone.
"""

from __future__ import annotations

from kernels.runtime.arithmetic import bounded, ceil_div
from kernels.runtime.compile import kernel
from kernels.runtime.contraction import pack, product, repeat_last, round_up, spare
from kernels.runtime.copies import copy_lines, weave
from kernels.runtime.linked import linked
from kernels.runtime.scalar import rational
from kernels.runtime.simd import IntegerScratch, Lanes, Scratch, Tile, Vector, fma, select, unequal

POINTS = 16  # in each tile
TAPS = 9


# ---- how much is worked on at a time


@kernel
def apart(tile: Tile, count: int) -> int:
    """At least so many, and an odd number of panels: lines so far apart do not push each other out of the cache."""
    return (ceil_div(count, tile.channels) // 2 * 2 + 1) * tile.channels


@kernel
def winograd_rows(tile: Tile, images: int, high: int, wide: int) -> int:
    """Rows of tiles that are worked on together, counted over all images: about as many panels as a tile has rows.

    All but the last strip have as many, and the last hardly fewer: tasks share strips.
    """
    rows = images * ceil_div(high, 2)
    most = max(1, tile.pixels * tile.channels // max(1, ceil_div(wide, 2)))
    return max(1, ceil_div(rows, max(1, ceil_div(rows, most))))


@kernel
def tiles_apart(tile: Tile, tiles: int) -> int:
    """How far what belongs to as many tiles lies from the next of its kind; a vector behind them may be read."""
    return apart(tile, tiles + tile.lanes.width)


@kernel
def outputs_at_once(tile: Tile, pitch: int, columns: int) -> int:
    """Outputs whose sums at all points are made together, whole tiles of them."""
    some = max(1, tile.steps // pitch // tile.pixels)
    return max(1, min(some, ceil_div(columns, tile.pixels))) * tile.pixels


@kernel
def of_taps(tile: Tile, outputs: int, channels: int) -> int:
    """Scalars of a block's taps at one point."""
    return apart(tile, bounded(round_up(outputs, tile.lanes.width), channels))


@kernel
def of_places(tile: Tile, channels: int, pitch: int) -> int:
    """Scalars of what a strip reads at one point; the last line may be written a vector too far."""
    return apart(tile, bounded(channels, pitch) + tile.lanes.width)


@kernel
def channels_at_once(tile: Tile) -> int:
    """Channels whose taps are packed at a time."""
    return max(1, tile.depth // TAPS)


@kernel
def blocks_of_taps(tile: Tile, images: int, high: int, wide: int, columns: int, outputs: int) -> int:
    """Of how many blocks the transformed taps are kept: of all, unless the first strip is the last."""
    strips = images * ceil_div(high, 2) > winograd_rows(tile, images, high, wide)
    return max(1, ceil_div(columns, outputs)) if strips else 1


@kernel
def winograd_work(tile: Tile, images: int, high: int, wide: int, columns: int, channels: int) -> int:
    """Scalars that `winograd` needs to itself."""
    across = ceil_div(wide, 2)
    rows = winograd_rows(tile, images, high, wide)
    pitch = tiles_apart(tile, rows * across)
    outputs = outputs_at_once(tile, pitch, columns)
    blocks = blocks_of_taps(tile, images, high, wide, columns, outputs)
    taps = bounded(blocks, bounded(POINTS, of_taps(tile, outputs, channels)))
    places = bounded(POINTS, of_places(tile, channels, pitch))
    sums = POINTS * apart(tile, (outputs + tile.narrow.pixels) * pitch)
    copies = 8 * apart(tile, (rows + 1) * across + tile.lanes.width)
    return taps + places + sums + copies + (channels_at_once(tile) * TAPS + 1) * tile.lanes.width


@kernel
def winograd_lines(tile: Tile, columns: int, channels: int) -> int:
    """Entries of its own table: where a tile's outputs lie among the taps and the sums, its steps, and blocks."""
    most = outputs_at_once(tile, 1, columns) + spare(tile)
    return 2 * most + channels + tile.lanes.width + ceil_div(columns, tile.pixels) + 1


@kernel
def winograd_suits(
    tile: Tile, images: int, high: int, wide: int, columns: int, channels: int, side_by_side: bool
) -> bool:
    """Is what is saved more than what the transforms cost?

    Measured: those of places and of sums cost as much as some 12 columns and channels, or 48 where neighbours along
    the second axis do not lie side by side; those of taps as 32 tiles, or 128 where they are more than the caches of
    a processor hold, 6 MB. A tile that is not full takes as many products: they shall be two thirds of those of the direct
    sum, or fewer.
    """
    most = tile.rows * tile.depth * tile.channels // 8  # as many bytes with vectors of any width
    far = bounded(POINTS, bounded(columns, channels)) > most
    transforms, tiles = tile.steps // (340 if side_by_side else 85), tile.steps // (32 if far else 128)
    products = POINTS * ceil_div(high, 2) * ceil_div(wide, 2)
    return (
        images * high * wide >= 4 * max(2, tiles)
        and bounded(columns, channels) >= bounded(max(1, transforms), columns + channels)
        and 2 * TAPS * high * wide >= 3 * products
    )


# ---- the three transforms


@kernel
def places_along(lanes: Lanes, to: Scratch, by: int, a: Vector, b: Vector, c: Vector, d: Vector) -> None:
    """Four places as four points."""
    lanes.store(to, a - c)
    lanes.store(to + by, b + c)
    lanes.store(to + 2 * by, c - b)
    lanes.store(to + 3 * by, b - d)


@kernel
def transform_places(
    tile: Tile, copies: Scratch, plane: int, line: int, count: int, to: Scratch, by: int
) -> None:
    """Of `count` tiles: place i, j of tile t is copies[(i % 2 * 4 + j) * plane + i // 2 * line + t]."""
    lanes = tile.lanes
    for t in range(0, count, lanes.width):
        a, b = copies + t, copies + (4 * plane + t)
        c, d = a + line, b + line
        e, f, g = a + plane, a + 2 * plane, a + 3 * plane
        c1, c2, c3 = c + plane, c + 2 * plane, c + 3 * plane
        b1, b2, b3 = b + plane, b + 2 * plane, b + 3 * plane
        d1, d2, d3 = d + plane, d + 2 * plane, d + 3 * plane
        places_along(
            lanes, to + t, by,
            lanes.load(a) - lanes.load(c), lanes.load(e) - lanes.load(c1),
            lanes.load(f) - lanes.load(c2), lanes.load(g) - lanes.load(c3),
        )  # fmt: skip
        places_along(
            lanes, to + (4 * by + t), by,
            lanes.load(b) + lanes.load(c), lanes.load(b1) + lanes.load(c1),
            lanes.load(b2) + lanes.load(c2), lanes.load(b3) + lanes.load(c3),
        )  # fmt: skip
        places_along(
            lanes, to + (8 * by + t), by,
            lanes.load(c) - lanes.load(b), lanes.load(c1) - lanes.load(b1),
            lanes.load(c2) - lanes.load(b2), lanes.load(c3) - lanes.load(b3),
        )  # fmt: skip
        places_along(
            lanes, to + (12 * by + t), by,
            lanes.load(b) - lanes.load(d), lanes.load(b1) - lanes.load(d1),
            lanes.load(b2) - lanes.load(d2), lanes.load(b3) - lanes.load(d3),
        )  # fmt: skip


@kernel
def keep_places(tile: Tile, copies: Scratch, plane: int, line: int, count: int, to: Scratch, by: int) -> None:
    """As transform_places, but each place as it is."""
    lanes = tile.lanes
    for i in range(4):
        for j in range(4):
            source = copies + ((i % 2 * 4 + j) * plane + i // 2 * line)
            for t in range(0, count, lanes.width):
                lanes.store(to + ((4 * i + j) * by + t), lanes.load(source + t))


@kernel
def taps_along(lanes: Lanes, to: Scratch, by: int, a: Vector, b: Vector, c: Vector) -> None:
    """Three taps as four points."""
    half = lanes.fill(rational(1, 2))
    lanes.store(to, a)
    lanes.store(to + by, (a + c + b) * half)
    lanes.store(to + 2 * by, (a + c - b) * half)
    lanes.store(to + 3 * by, c)


@kernel
def transform_taps(lanes: Lanes, taps: Scratch, to: Scratch, by: int) -> None:
    """Of a vector of outputs, whose nine taps follow each other."""
    width = lanes.width
    half = lanes.fill(rational(1, 2))
    a, d, g = lanes.load(taps), lanes.load(taps + 3 * width), lanes.load(taps + 6 * width)
    b, e, h = lanes.load(taps + width), lanes.load(taps + 4 * width), lanes.load(taps + 7 * width)
    c, f, i = lanes.load(taps + 2 * width), lanes.load(taps + 5 * width), lanes.load(taps + 8 * width)
    taps_along(lanes, to, by, a, b, c)
    taps_along(lanes, to + 4 * by, by, (a + g + d) * half, (b + h + e) * half, (c + i + f) * half)
    taps_along(lanes, to + 8 * by, by, (a + g - d) * half, (b + h - e) * half, (c + i - f) * half)
    taps_along(lanes, to + 12 * by, by, g, h, i)


@kernel
def transform_sums(lanes: Lanes, sums: Scratch, by: int, count: int, known: Vector) -> Vector:
    """Sums at 16 points as four results for each of `count` tiles, in place of the first four.

    Behind them is a vector of zeros. `known` stays zero as long as they are finite.
    """
    zero = lanes.zero()
    for t in range(0, count, lanes.width):
        at = sums + t
        m, n, o = at + 4 * by, at + 8 * by, at + 12 * by
        b, c, d = lanes.load(m), lanes.load(n), lanes.load(o)
        s0, r0 = lanes.load(at) + b + c, b - c - d
        b, c, d = lanes.load(m + by), lanes.load(n + by), lanes.load(o + by)
        s1, r1 = lanes.load(at + by) + b + c, b - c - d
        b, c, d = lanes.load(m + 2 * by), lanes.load(n + 2 * by), lanes.load(o + 2 * by)
        s2, r2 = lanes.load(at + 2 * by) + b + c, b - c - d
        b, c, d = lanes.load(m + 3 * by), lanes.load(n + 3 * by), lanes.load(o + 3 * by)
        s3, r3 = lanes.load(at + 3 * by) + b + c, b - c - d
        first, second, third, fourth = s0 + s1 + s2, s1 - s2 - s3, r0 + r1 + r2, r1 - r2 - r3
        known = fma(fourth, zero, fma(third, zero, fma(second, zero, fma(first, zero, known))))
        lanes.store(at, first)
        lanes.store(at + by, second)
        lanes.store(at + 2 * by, third)
        lanes.store(at + 3 * by, fourth)
    for k in range(4):
        lanes.store(sums + (k * by + round_up(count, lanes.width)), zero)
    return known


@kernel
def mend(lanes: Lanes, sums: Scratch, by: int, count: int) -> None:
    """The results of tiles that have one that is not finite from the direct sums, which follow them."""
    zero = lanes.zero()
    for t in range(0, count, lanes.width):
        known = zero
        for k in range(4):
            known = fma(lanes.load(sums + (k * by + t)), zero, known)
        spoilt = unequal(known, known)
        for k in range(4):
            at = sums + (k * by + t)
            lanes.store(at, select(spoilt, lanes.load(at + 4 * by), lanes.load(at)))


# ---- the whole


@kernel
def fill_places(
    tile: Tile,
    x: Scratch,
    x_images: IntegerScratch,
    x_channels: IntegerScratch,
    channels: int,
    x_by0: int,
    x_by1: int,
    height: int,
    length: int,
    low0: int,
    low1: int,
    down: int,
    across: int,
    first: int,
    last: int,
    copies: Scratch,
    plane: int,
    direct: bool,
    to: Scratch,
    pitch: int,
    by: int,
) -> None:
    """What the tiles of some rows read: to[point * by + channel * pitch + tile], zeros behind the last tile."""
    lanes = tile.lanes
    count = (last - first) * across
    for c in range(channels):
        here = to + c * pitch
        row = first
        while row < last:
            image, top = row // down, row % down
            rows = min(last - row, down - top)
            source = x + (x_images[image] + x_channels[c])
            for i in range(2):  # lines of one parity, and in each the places of either
                line = low0 + 2 * top + i
                odd = line % 2
                for j in range(2):
                    copy_lines(
                        tile, copies + (4 * i + 2 * j) * plane, across, plane, source + odd * x_by0, 2 * x_by0,
                        (line - odd) // 2, rows + 1, (height - odd + 1) // 2, x_by1, 2, low1 + 2 * j, across, length,
                    )  # fmt: skip
            for k in range(8):
                lanes.store(copies + (k * plane + (rows + 1) * across), lanes.zero())
            if direct:
                keep_places(tile, copies, plane, across, rows * across, here, by)
            else:
                transform_places(tile, copies, plane, across, rows * across, here, by)
            here = here + rows * across
            row += rows
        for k in range(POINTS):
            for t in range(count, round_up(count, tile.channels), lanes.width):
                lanes.store(to + (k * by + c * pitch + t), lanes.zero())


@kernel
def fill_taps(
    tile: Tile,
    w: Scratch,
    w_columns: IntegerScratch,
    outputs: int,
    w_steps: IntegerScratch,
    channels: int,
    packed: Scratch,
    lines: IntegerScratch,
    direct: bool,
    to: Scratch,
    by: int,
) -> None:
    """The taps of some outputs, a vector of them side by side: to[point * by + (vector * channels + channel) * width]."""
    lanes = tile.lanes
    width = lanes.width
    for o in range(0, outputs, width):
        n = min(width, outputs - o)
        for c in range(0, channels, channels_at_once(tile)):
            some = min(channels_at_once(tile), channels - c)
            pack(lanes, width, w, w_columns + o, n, w_steps + TAPS * c, TAPS * some, packed, lines)
            for i in range(some):
                here, there = packed + TAPS * i * width, to + (o * channels + (c + i) * width)
                if direct:
                    for k in range(TAPS):
                        lanes.store(there + k * by, lanes.load(here + k * width))
                else:
                    transform_taps(lanes, here, there, by)


@kernel
def multiply_at(
    tile: Tile,
    taps: Scratch,
    rows: IntegerScratch,
    steps: IntegerScratch,
    outputs: int,
    channels: int,
    places: Scratch,
    pitch: int,
    count: int,
    sums: Scratch,
    sums_rows: IntegerScratch,
    add: bool,
) -> None:
    """One point: sums[output, tile] (+)= sum over channels of taps[output, channel] * places[channel, tile]."""
    for c in range(0, channels, tile.depth):
        some = min(tile.depth, channels - c)
        more = add or c > 0
        j = 0
        while j < count:
            panel, out = places + (c * pitch + j), sums + j
            if count - j > tile.lanes.width:
                for r in range(0, outputs, tile.pixels):
                    product(
                        tile, taps, rows + r, steps + c, some, panel, pitch, out, sums_rows + r, tile.channels, more
                    )  # fmt: skip
                j += tile.channels
            else:
                for r in range(0, outputs, tile.narrow.pixels):
                    product(
                        tile.narrow, taps, rows + r, steps + c, some, panel, pitch, out, sums_rows + r,
                        tile.lanes.width, more,
                    )  # fmt: skip
                j += tile.lanes.width


@linked
def winograd(
    tile: Tile,
    x: Scratch,
    x_images: IntegerScratch,
    x_channels: IntegerScratch,
    x_by0: int,
    x_by1: int,
    height: int,
    length: int,
    low0: int,
    low1: int,
    w: Scratch,
    w_columns: IntegerScratch,
    w_steps: IntegerScratch,
    y: Scratch,
    y_images: IntegerScratch,
    y_columns: IntegerScratch,
    y_by0: int,
    y_by1: int,
    high: int,
    wide: int,
    images: int,
    columns: int,
    channels: int,
    first: int,
    last: int,
    at_once: int,
    add: bool,
    scratch: Scratch,
    lines: IntegerScratch,
) -> None:
    """The sum above for the rows of tiles from first to last, counted over all images.

    `at_once` of them are worked on together, no more than `winograd_rows`.
    x[i, c, q0, q1] lies at x_images[i] + x_channels[c] + q0 * x_by0 + q1 * x_by1 and is zero unless 0 <= q0 < height
    and 0 <= q1 < length; the first place that is read is low0, low1. w_steps has nine entries for each channel,
    tables of columns `spare` entries more. The results are high x wide.
    """
    lanes = tile.lanes
    width = lanes.width
    down, across = ceil_div(high, 2), ceil_div(wide, 2)
    most = winograd_rows(tile, images, high, wide)
    pitch = tiles_apart(tile, most * across)
    outputs = outputs_at_once(tile, pitch, columns)
    blocks = blocks_of_taps(tile, images, high, wide, columns, outputs)
    taps_by = of_taps(tile, outputs, channels)
    places_by = of_places(tile, channels, pitch)
    sums_by = apart(tile, (outputs + tile.narrow.pixels) * pitch)
    plane = apart(tile, (most + 1) * across + width)
    places = scratch + blocks * POINTS * taps_by
    sums = places + POINTS * places_by
    copies = sums + POINTS * sums_by
    packed = copies + 8 * plane
    rows = lines
    sums_rows = rows + (outputs + spare(tile))
    steps = sums_rows + (outputs + spare(tile))
    vectors = steps + channels
    held = (
        vectors + width
    )  # of each block's taps: twice the first output, and 1 more if they are as they were
    for c in range(channels):
        steps[c] = c * width
    for i in range(width):
        vectors[i] = i * width
    for i in range(outputs + spare(tile)):
        sums_rows[i] = i * pitch
    for block in range(blocks):
        held[block] = -1
    for strip in range(first, last, at_once):
        till = min(last, strip + at_once)
        count = (till - strip) * across
        placed = -1  # as they were, or not
        for o in range(0, columns, outputs):
            some = min(outputs, columns - o)
            block = o // outputs % blocks
            taps = scratch + block * POINTS * taps_by
            for i in range(some):
                rows[i] = i // width * width * channels + i % width
            repeat_last(tile, rows, some)
            direct, done = 0, False
            while not done:
                if placed != direct:
                    placed = direct
                    fill_places(
                        tile, x, x_images, x_channels, channels, x_by0, x_by1, height, length, low0, low1, down,
                        across, strip, till, copies, plane, direct == 1, places, pitch, places_by,
                    )  # fmt: skip
                if held[block] != 2 * o + direct:
                    held[block] = 2 * o + direct
                    fill_taps(
                        tile, w, w_columns + o, some, w_steps, channels, packed, vectors, direct == 1, taps, taps_by
                    )  # fmt: skip
                for k in range(4 * TAPS if direct == 1 else POINTS):
                    tap, place, point = k, k, k
                    if direct == 1:  # result k // 9 of the tile, and its tap k % 9
                        tap, result = k % TAPS, k // TAPS
                        place = (result // 2 + tap // 3) * 4 + result % 2 + tap % 3
                        point = 4 + result
                    multiply_at(
                        tile, taps + tap * taps_by, rows, steps, some, channels, places + place * places_by, pitch,
                        count, sums + point * sums_by, sums_rows, direct == 1 and tap > 0,
                    )  # fmt: skip
                if direct == 1:
                    for r in range(some):
                        mend(lanes, sums + r * pitch, sums_by, count)
                    done = True
                else:
                    known = lanes.zero()
                    for r in range(some):
                        known = transform_sums(lanes, sums + r * pitch, sums_by, count, known)
                    total = lanes.sum(known)
                    done = total == total
                    direct = 1
            for r in range(some):
                row = strip
                source = sums + r * pitch
                while row < till:
                    image, top = row // down, row % down
                    there = min(till - row, down - top)
                    corner = y + (y_images[image] + y_columns[o + r] + 2 * top * y_by0)
                    for i in range(2):
                        n = min(there, (high - 2 * top + 1 - i) // 2)
                        weave(
                            tile, corner + i * y_by0, 2 * y_by0, y_by1, source + 2 * i * sums_by, across, sums_by, n, 2,
                            wide, add,
                        )  # fmt: skip
                    source = source + there * across
                    row += there
