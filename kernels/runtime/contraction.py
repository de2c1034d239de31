"""What every contraction shares: packing, the register-blocked micro-kernel, and its blocking.

    out[out_rows[r] + out_columns[j]]  (+)=  scale * sum over t of  a[a_rows[r] + a_steps[t]] * b[b_columns[j] + b_steps[t]]

The structure is BLIS's, with tables of offsets in place of strides: dilation, kernel size and the memory layout
are data, and nothing is compiled per shape. `b` is packed in panels as wide as the register tile, a block of
steps at a time; `a` is read in place. Both operands may play either part: call with the two exchanged.
Each block of steps starts from zero and is added to the sums of the rows, which bounds the length of a chain of
roundings. Accumulation is in the dtype of the arrays.
"""

from __future__ import annotations

from kernels.runtime.arithmetic import ceil_div
from kernels.runtime.compile import kernel
from kernels.runtime.simd import IntegerScratch, Scalar, Scratch, Tile, fma


@kernel
def row_block(tile: Tile) -> int:
    """Rows that are finished together, while their sums lie in the nearest cache."""
    return 16 * tile.pixels


@kernel
def suits(tile: Tile, rows: int, columns: int, steps: int) -> bool:
    """Are there rows enough to fill a register tile, and sums to keep in it? (Else plain loops do less work.)"""
    return rows >= tile.pixels and columns >= 1 and steps >= 2


@kernel
def chunk(most: int, first: int, second: int, rest: int) -> tuple[int, int]:
    """How many values of a group's first and second index make a block of about `most` elements, equal blocks."""
    inner = max(1, second * rest)
    if inner <= most:
        blocks = ceil_div(first, max(1, most // inner))
        return max(1, ceil_div(first, max(1, blocks))), max(1, second)
    blocks = ceil_div(second, max(1, most // max(1, rest)))
    return 1, max(1, ceil_div(second, max(1, blocks)))


@kernel
def divide(
    tile: Tile, tasks: int, others: int, first: int, second: int, taken: tuple[int, int], columns: int
) -> tuple[int, int, int]:
    """Smaller blocks of rows, or groups of columns, such that tasks have equal work: the blocks' extents, the groups.

    Each sum is made in the same order whatever the blocks are, so results do not depend on the number of tasks.
    """
    one, two = taken
    parts = max(1, others * ceil_div(first, one) * ceil_div(second, two))
    if parts >= 4 * tasks or parts % tasks == 0:
        return one, two, 1
    panels = ceil_div(columns, tile.channels)
    need = ceil_div(tasks, parts)
    if need > 1 and (panels >= need or first * second == ceil_div(first, one) * ceil_div(second, two)):
        return one, two, min(panels, need)
    more = ceil_div(parts, tasks) * tasks
    if second > 1 and (one == 1 or first < more):
        wanted = ceil_div(more, max(1, others * ceil_div(first, one)))
        return one, max(1, ceil_div(second, wanted)), 1
    return max(1, ceil_div(first, ceil_div(more, others))), two, 1


@kernel
def even(table: IntegerScratch, count: int) -> int:
    """How many leading entries lie evenly (at least 1)."""
    n = min(count, 2)
    while n < count and table[n] - table[n - 1] == table[1] - table[0]:
        n += 1
    return n


@kernel
def consecutive(table: IntegerScratch, count: int) -> int:
    """How many leading entries follow each other without a gap (at least 1)."""
    n = 1
    while n < count and table[n] == table[n - 1] + 1:
        n += 1
    return n


@kernel
def round_up(count: int, by: int) -> int:
    """The smallest multiple that is not below."""
    return ceil_div(count, by) * by


@kernel
def turn(
    tile: Tile, rows: int, columns: int, steps: int, a_rows: IntegerScratch, out_rows: IntegerScratch
) -> bool:
    """Is packing the rows' operand less work than packing the columns'?

    Work in multiply-adds of one row and step, both ways: those of the tiles, filled or not, then packing (by
    vectors where rows lie side by side, else by elements), then storing (likewise).
    """
    n = min(rows, tile.lanes.width)
    packing = 8 if consecutive(a_rows, n) == n else 4 * tile.lanes.width
    storing = 12 if consecutive(out_rows, n) == n else 32
    turned = round_up(columns, tile.pixels) * round_up(rows, tile.channels) // rows + packing
    straight = round_up(columns, tile.channels) * round_up(rows, tile.pixels) // rows
    return turned + storing * columns // steps < straight + 32 * columns // steps if steps > 0 else False


@kernel
def repeat_last(tile: Tile, table: IntegerScratch, count: int) -> None:
    """A last, partial tile repeats a row."""
    for p in range(tile.pixels):
        table[count + p] = table[count - 1] if count > 0 else 0


@kernel
def copy_row(tile: Tile, to: Scratch, source: Scratch, apart: int, low: int, span: int, size: int) -> None:
    """to[i] = source[(low + i) * apart] where 0 <= low + i < size, and 0 elsewhere, for i < span.

    Whole vectors are written: up to a vector's width beyond the end, which the next row overwrites.
    """
    lanes = tile.lanes
    width = lanes.width
    first = min(max(0, -low), span)
    last = max(first, min(span, size - low))
    for i in range(0, first, width):
        lanes.store(to + i, lanes.zero())
    at = source + low * apart
    whole = first + (last - first) // width * width
    if apart == 1:
        for i in range(first, whole, width):
            lanes.store(to + i, lanes.load(at + i))
        if whole < last:
            lanes.store(to + whole, lanes.load_first(at + whole, last - whole))
            whole += width
    else:
        for i in range(first, last, width):
            lanes.store(to + i, lanes.load_every(at + i * apart, apart, last - i))
            whole = i + width
    for i in range(whole, span, width):
        lanes.store(to + i, lanes.zero())


FEW = 4  # steps from which a transposition in registers beats gathers


@kernel
def pack(
    tile: Tile,
    b: Scratch,
    columns: IntegerScratch,
    width: int,
    steps: IntegerScratch,
    count: int,
    panel: Scratch,
) -> None:
    """panel[t, j] = b[columns[j] + steps[t]] for j < width, 0 beyond."""
    lanes = tile.lanes
    if width < tile.channels:
        for i in range(0, count * tile.channels, lanes.width):
            lanes.store(panel + i, lanes.zero())
    j = 0
    while j < width:
        n = even(columns + j, min(width - j, lanes.width))
        apart = columns[j + 1] - columns[j] if n > 1 else 1
        at = b + columns[j]
        to = panel + j
        if apart == 1 and n == lanes.width:
            for t in range(count):
                lanes.store(to + t * tile.channels, lanes.load(at + steps[t]))
        elif apart == 1:
            for t in range(count):
                lanes.store_first(to + t * tile.channels, lanes.load_first(at + steps[t], n), n)
        else:
            t = 0
            while t < count:
                m = consecutive(steps + t, min(count - t, lanes.width))
                if m >= FEW:
                    lanes.transpose(at + steps[t], apart, n, m, to + t * tile.channels, tile.channels)
                    t += m
                else:
                    lanes.store_first(to + t * tile.channels, lanes.load_every(at + steps[t], apart, n), n)
                    t += 1
        j += n


@kernel
def product(
    tile: Tile,
    a: Scratch,
    rows: IntegerScratch,
    steps: IntegerScratch,
    count: int,
    panel: Scratch,
    out: Scratch,
    out_rows: IntegerScratch,
    add: bool,
) -> None:
    """One tile: out[out_rows[p] + j] (+)= sum over t < count of a[rows[p] + steps[t]] * panel[t, j]."""
    lanes = tile.lanes
    acc = tile.registers()
    w = tile.row()
    for p in range(tile.pixels):
        for v in range(tile.vectors):
            acc[p, v] = lanes.zero()
    for t in range(count):
        at = a + steps[t]
        for v in range(tile.vectors):
            w[0, v] = lanes.load(panel + (t * tile.channels + v * lanes.width))
        for p in range(tile.pixels):
            value = lanes.fill(at[rows[p]])
            for v in range(tile.vectors):
                acc[p, v] = fma(value, w[0, v], acc[p, v])
    for p in range(tile.pixels):
        for v in range(tile.vectors):
            o = out + (out_rows[p] + v * lanes.width)
            if add:
                acc[p, v] = acc[p, v] + lanes.load(o)
            lanes.store(o, acc[p, v])


@kernel
def unpack(
    tile: Tile,
    sums: Scratch,
    rows: IntegerScratch,
    count: int,
    columns: IntegerScratch,
    width: int,
    out: Scratch,
    add: bool,
    block: Scratch,
) -> None:
    """out[rows[r] + columns[j]] (+)= sums[r, j] for r < count, j < width."""
    lanes = tile.lanes
    if consecutive(columns, width) == width:
        for r in range(count):
            for j in range(0, width, lanes.width):
                at = out + (rows[r] + columns[j])
                value = lanes.load(sums + (r * tile.channels + j))
                if add:
                    value = value + lanes.load_first(at, width - j)
                if j + lanes.width <= width:
                    lanes.store(at, value)
                else:
                    lanes.store_first(at, value, width - j)
        return
    for i in range(0, width, lanes.width):  # few columns at a time: each lies in a page of its own
        m = min(lanes.width, width - i)
        regular = even(columns + i, m) == m and not add
        between = columns[i + 1] - columns[i] if m > 1 else 0
        r = 0
        while r < count:
            n = even(rows + r, min(count - r, lanes.width))
            apart = rows[r + 1] - rows[r] if n > 1 else 1
            here = sums + (r * tile.channels + i)
            if apart == 1 and regular:
                lanes.transpose(here, tile.channels, n, m, out + (rows[r] + columns[i]), between)
            else:
                lanes.transpose_padded(here, tile.channels, n, lanes.width, block, lanes.width)
                for j in range(m):
                    at = out + (rows[r] + columns[i + j])
                    value = lanes.load(block + j * lanes.width)
                    if add:
                        value = value + lanes.load_every(at, apart, n)
                    lanes.store_every(at, apart, value, n)
            r += n


@kernel
def scaled(tile: Tile, sums: Scratch, count: int, factor: Scalar) -> None:
    """All sums of so many rows times a factor."""
    lanes = tile.lanes
    for i in range(0, count * tile.channels, lanes.width):
        lanes.store(sums + i, lanes.load(sums + i) * lanes.fill(factor))


@kernel
def work(tile: Tile, rows: int, columns: int) -> int:
    """Scalars that `contract` needs to itself, whichever operand is packed."""
    panel = tile.depth * tile.channels
    return panel + tile.lanes.width * tile.lanes.width + (max(rows, columns) + tile.pixels) * tile.channels


@kernel
def contract(
    tile: Tile,
    a: Scratch,
    a_rows: IntegerScratch,
    rows: int,
    b: Scratch,
    b_columns: IntegerScratch,
    columns: int,
    a_steps: IntegerScratch,
    b_steps: IntegerScratch,
    steps: int,
    out: Scratch,
    out_rows: IntegerScratch,
    out_columns: IntegerScratch,
    scale: Scalar,
    add: bool,
    scratch: Scratch,
    lines: IntegerScratch,
) -> None:
    """The sum above over all rows, columns and steps. `a_rows` has a tile's rows more than `rows`.

    Where the columns of a whole panel lie side by side in `out`, tiles are added up there; else in a buffer of
    the rows of a panel, whose places in a tile are in `lines`.
    """
    panel = scratch
    block = panel + tile.depth * tile.channels
    sums = block + tile.lanes.width * tile.lanes.width
    for p in range(tile.pixels):
        lines[p] = p * tile.channels
    blocks = max(1, ceil_div(steps, tile.depth))
    depth = max(1, ceil_div(steps, blocks))
    for j in range(0, columns, tile.channels):
        width = min(tile.channels, columns - j)
        direct = scale == 1 and width == tile.channels and consecutive(out_columns + j, width) == width
        whole = rows // tile.pixels * tile.pixels if direct else 0
        for t in range(blocks):
            n = min(depth, steps - t * depth)
            pack(tile, b, b_columns + j, width, b_steps + t * depth, n, panel)
            here = a_steps + t * depth
            to = out + out_columns[j]
            for r in range(0, whole, tile.pixels):
                product(tile, a, a_rows + r, here, n, panel, to, out_rows + r, add or t > 0)
            for r in range(whole, rows, row_block(tile)):
                count = min(row_block(tile), rows - r)
                buffer = sums + (r - whole if blocks > 1 else 0) * tile.channels
                for p in range(0, count, tile.pixels):
                    product(
                        tile, a, a_rows + (r + p), here, n, panel, buffer + p * tile.channels, lines, t > 0
                    )
                if t == blocks - 1:
                    if scale != 1:
                        scaled(tile, buffer, count, scale)
                    unpack(tile, buffer, out_rows + r, count, out_columns + j, width, out, add, block)
