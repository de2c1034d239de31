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
    return 8 * tile.pixels


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
    if parts < tasks and panels >= tasks:
        return one, two, tasks
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
def turn(tile: Tile, rows: int, columns: int, steps: int, a_rows: IntegerScratch, out_rows: IntegerScratch) -> bool:
    """Shall the rows' operand be packed instead? Where rows lie side by side that, and the store, is mere copying."""
    n = min(rows, tile.channels)
    if consecutive(a_rows, n) < n or consecutive(out_rows, n) < n:
        return False
    return columns < tile.channels or steps <= tile.depth


@kernel
def repeat_last(tile: Tile, table: IntegerScratch, count: int) -> None:
    """A last, partial tile repeats a row."""
    for p in range(tile.pixels):
        table[count + p] = table[count - 1] if count > 0 else 0


@kernel
def copy_row(tile: Tile, to: Scratch, source: Scratch, apart: int, low: int, span: int, size: int) -> None:
    """to[i] = source[(low + i) * apart] where 0 <= low + i < size, and 0 elsewhere, for i < span."""
    lanes = tile.lanes
    width = lanes.width
    first = min(max(0, -low), span)
    last = max(first, min(span, size - low))
    for i in range(0, first, width):
        lanes.store_first(to + i, lanes.zero(), first - i)
    at = source + (low + first) * apart
    if apart == 1:
        whole = (last - first) // width * width
        for i in range(0, whole, width):
            lanes.store(to + (first + i), lanes.load(at + i))
        if whole < last - first:
            n = last - first - whole
            lanes.store_first(to + (first + whole), lanes.load_first(at + whole, n), n)
    else:
        for i in range(0, last - first, width):
            n = last - first - i
            lanes.store_first(to + (first + i), lanes.load_every(at + i * apart, apart, n), n)
    for i in range(last, span, width):
        lanes.store_first(to + i, lanes.zero(), span - i)


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
                    lanes.transpose(
                        at + steps[t], apart, n, m, to + t * tile.channels, tile.channels
                    )
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
    add: bool,
) -> None:
    """One tile of rows: out[row, :] (+)= sum over steps of a[rows[row] + steps[step]] * panel[step, :]."""
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
            o = out + (p * tile.channels + v * lanes.width)
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
    scale: Scalar,
    add: bool,
    block: Scratch,
) -> None:
    """out[rows[r] + columns[j]] (+)= scale * sums[r, j] for r < count, j < width."""
    lanes = tile.lanes
    factor = lanes.fill(scale)
    if consecutive(columns, width) == width:
        for r in range(count):
            for j in range(0, width, lanes.width):
                at = out + (rows[r] + columns[j])
                value = lanes.load(sums + (r * tile.channels + j)) * factor
                if add:
                    value = value + lanes.load_first(at, width - j)
                lanes.store_first(at, value, width - j)
        return
    r = 0
    while r < count:
        n = even(rows + r, min(count - r, lanes.width))
        apart = rows[r + 1] - rows[r] if n > 1 else 1
        for i in range(0, width, lanes.width):
            lanes.transpose_padded(
                sums + (r * tile.channels + i), tile.channels, n, lanes.width, block, lanes.width
            )
            for j in range(i, min(width, i + lanes.width)):
                at = out + (rows[r] + columns[j])
                value = lanes.load(block + (j - i) * lanes.width) * factor
                if apart == 1:
                    if add:
                        value = value + lanes.load_first(at, n)
                    lanes.store_first(at, value, n)
                else:
                    if add:
                        value = value + lanes.load_every(at, apart, n)
                    lanes.store_every(at, apart, value, n)
        r += n


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
) -> None:
    """The sum above over all rows, columns and steps. `a_rows` has a tile's rows more than `rows`."""
    panel = scratch
    block = panel + tile.depth * tile.channels
    sums = block + tile.lanes.width * tile.lanes.width
    blocks = max(1, ceil_div(steps, tile.depth))
    depth = max(1, ceil_div(steps, blocks))
    for j in range(0, columns, tile.channels):
        width = min(tile.channels, columns - j)
        for t in range(blocks):
            n = min(depth, steps - t * depth)
            pack(tile, b, b_columns + j, width, b_steps + t * depth, n, panel)
            for r in range(0, rows, row_block(tile)):
                count = min(row_block(tile), rows - r)
                here = sums + (r if blocks > 1 else 0) * tile.channels
                for p in range(0, count, tile.pixels):
                    product(
                        tile,
                        a,
                        a_rows + (r + p),
                        a_steps + t * depth,
                        n,
                        panel,
                        here + p * tile.channels,
                        t > 0,
                    )
                if t == blocks - 1:
                    unpack(
                        tile, here, out_rows + r, count, out_columns + j, width, out, scale, add, block
                    )
