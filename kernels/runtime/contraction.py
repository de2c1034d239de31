"""What every contraction shares: packing, the register-blocked micro-kernel, and its blocking.

    out[out_rows[r] + out_columns[j]]  (+)=  scale * sum over t of  a[a_rows[r] + a_steps[t]] * b[b_columns[j] + b_steps[t]]

The structure is BLIS's, with tables of offsets in place of strides: dilation, kernel size and the memory layout
are data, and nothing is compiled per shape. `b` is packed in panels as wide as the register tile, several of them
and a block of steps at a time; a tile of rows of `a` is read in place, or packed where its steps are strewn about,
and multiplied with all these panels. Both operands may play either part: call with the two exchanged.
Other formulas of two numbers, and maxima and minima of them, are reduced in the same way: `contract_with` makes a
function like `contract` of a pair that a generated module brings.
Each block of steps starts from zero and is added to the sums of the rows, which bounds the length of a chain of
roundings. Accumulation is in the dtype of the arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels.runtime.arithmetic import ceil_div
from kernels.runtime.compile import kernel
from kernels.runtime.linked import linked, rebound
from kernels.runtime.scalar import highest, lowest
from kernels.runtime.simd import IntegerScratch, Lanes, Scalar, Scratch, Tile, Vector, fma, maximum, minimum


@kernel
def row_block(tile: Tile) -> int:
    """Rows that are finished together, while their sums lie in the nearest cache."""
    return 16 * tile.pixels


@kernel
def suits(tile: Tile, rows: int, columns: int, steps: int) -> bool:
    """Are there rows, or columns, enough to fill a register tile, or many sums? (Else plain loops do less work.)"""
    many = rows * columns >= 2 * tile.lanes.width and steps >= tile.depth
    return min(rows, columns, steps) >= 1 and (max(rows, columns) >= tile.pixels or many)


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
    others = max(1, others)
    parts = max(1, others * ceil_div(first, one) * ceil_div(second, two))
    if parts >= 4 * tasks or parts % tasks == 0:
        return one, two, 1
    panels = ceil_div(columns, tile.channels)
    need = ceil_div(tasks, parts)
    if need > 1 and (panels >= need or first * second == ceil_div(first, one) * ceil_div(second, two)):
        return one, two, min(panels, need)
    # the fewest blocks of those that end first: each packs the other operand anew
    found, least = taken, ceil_div(parts, tasks) * one * two
    for over in range(1, min(first, max(1, 4 * tasks // others)) + 1):
        wide = min(one, ceil_div(first, over))
        for down in range(1, min(second, max(1, 4 * tasks // (others * over))) + 1):
            deep = min(two, ceil_div(second, down))
            rounds = ceil_div(others * ceil_div(first, wide) * ceil_div(second, deep), tasks)
            if rounds * wide * deep < least:
                found, least = (wide, deep), rounds * wide * deep
    return found[0], found[1], 1


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


FAR = 512  # elements from one step to the next from which each step is on a page of its own


@kernel
def fills(tile: Tile, columns: int) -> bool:
    """Do so many columns fill a panel, or more than half of it? Else they are taken a vector at a time."""
    return 2 * columns > tile.channels


@kernel
def panel_width(tile: Tile, columns: int) -> int:
    """Columns in the next panel, of so many that are left."""
    return min(columns, tile.channels if fills(tile, columns) else tile.lanes.width)


@kernel
def enough_rows(tile: Tile, short: Tile) -> int:
    """So many rows are left over that a whole tile, some of its rows repeated, takes less time than short ones.

    A multiply-add takes four cycles, and two begin in each: with fewer than eight sums they wait.
    """
    few = max(min(8, tile.pixels * tile.vectors), short.pixels * short.vectors)
    return min(tile.pixels, tile.pixels * tile.vectors // few * short.pixels + 1)


@kernel
def panels_at_once(tile: Tile) -> int:
    """The most panels that are packed together: half of the second cache holds them."""
    return max(2, tile.depth // 64)


@kernel
def block_width(tile: Tile, columns: int, steps: int, costly: bool, far: bool) -> int:
    """Columns that are packed together of so many that are left: as many panels as the nearest cache holds.

    Where a tile of rows is costly to fetch or packed too, that is done once for more panels, blocks of about
    equally many; for fewer of them if what is packed next comes from far, since it takes as much of the cache.
    """
    most = max(1, min(panels_at_once(tile), tile.depth // 2 // max(1, steps)))
    if costly:
        most = max(most, panels_at_once(tile) // (2 if far else 1))
    panels = ceil_div(columns, tile.channels)
    return min(columns, ceil_div(panels, ceil_div(panels, most)) * tile.channels)


@kernel
def place_of_sums(tile: Tile, column: int, rows: int) -> int:
    """Where in the sums of a block those of a column's panel are, if each holds so many rows."""
    within = column % tile.channels
    return (column - within) * rows + within


@kernel
def strewn(tile: Tile, rows: IntegerScratch, count: int, steps: IntegerScratch, depth: int) -> bool:
    """Do the steps of a tile of rows jump so far, so often, that the nearest cache may lose the lines of memory?"""
    line = 2 * tile.lanes.width
    last = min(count, tile.pixels) - 1
    jumps, apart = 0, 0
    for t in range(1, depth):
        far = abs(steps[t] - steps[t - 1])
        apart |= far
        if far >= FAR:
            jumps += 1
    lines = min(last + 1, 1 + abs(rows[last] - rows[0]) // line)
    # of places as far apart as a power of two the cache holds a few only
    kept = tile.depth * tile.channels // max(1, apart & -apart)
    return jumps * lines > tile.depth // 4 or (depth - 1) * lines > max(kept, tile.depth // 64)


@kernel
def filled(tile: Tile, columns: int) -> int:
    """Columns that are multiplied, those that fill up the last panel too."""
    left = columns % tile.channels
    narrow = round_up(left, tile.lanes.width)
    return columns - left + (tile.channels if 2 * left > tile.channels else narrow + narrow // 4)


FEW = 3  # steps from which a transposition in registers beats gathers
AHEAD = 12  # steps: memory answers while so many are packed


@kernel
def reach(rows: IntegerScratch, count: int, steps: IntegerScratch, depth: int) -> int:
    """About how many elements rows[r] + steps[t] are, for r < count and t < depth."""
    if count < 1 or depth < 1:
        return 0
    return min(count * depth, abs(rows[count - 1] - rows[0]) + abs(steps[depth - 1] - steps[0]))


@kernel
def near(tile: Tile) -> int:
    """How many elements of an operand stay in the cache of one processor beside all else: 1.5 MB of them."""
    return tile.rows * tile.depth * tile.lanes.width // 8


@kernel
def moving(tile: Tile, each: int) -> int:
    """What moving an element costs: shorter vectors multiply less in the time that was measured with 16 lanes."""
    return each * 16 // tile.lanes.width


@kernel
def packing(tile: Tile, columns: IntegerScratch, count: int, steps: IntegerScratch, depth: int) -> int:
    """How much work it is to pack so many columns, of so many steps."""
    width = tile.lanes.width
    side_by_side = consecutive(columns, min(count, width))
    following = consecutive(steps, min(depth, width))
    if transposing(side_by_side, following):
        each = moving(tile, 12) * width // following
    elif side_by_side >= FEW:
        each = 5 if side_by_side == min(count, width) else 100  # parts of vectors are stored with masks
    else:  # is each element in a line of memory of its own?
        each = 400 if abs(columns[min(1, count - 1)] - columns[0]) >= FAR else moving(tile, 48)
    return each * count * depth


@kernel
def effort(
    tile: Tile,
    a_rows: IntegerScratch,
    rows: int,
    b_columns: IntegerScratch,
    columns: int,
    a_steps: IntegerScratch,
    b_steps: IntegerScratch,
    steps: int,
    out_rows: IntegerScratch,
    out_columns: IntegerScratch,
) -> int:
    """How much work `contract` has, in multiply-adds of tiles that are full. The other weights are measured."""
    width = tile.lanes.width
    multiplying = rows * filled(tile, columns) * steps
    read = reach(a_rows, rows, a_steps, steps)
    far_a, far_b = read > near(tile), reach(b_columns, columns, b_steps, steps) > near(tile)
    packed = strewn(tile, a_rows, rows, a_steps, min(steps, tile.depth))
    times = ceil_div(columns, block_width(tile, columns, steps, far_a or packed, far_b))
    if packed and columns > tile.channels:
        multiplying += times * packing(tile, a_rows, rows, a_steps, steps)
    elif abs(a_steps[min(1, steps - 1)] - a_steps[0]) >= FAR:
        multiplying += multiplying // 10
    if far_a:
        multiplying += 6 * read * times
    storing = moving(tile, 48)
    if consecutive(out_columns, min(columns, width)) == min(columns, width):
        storing = 2
    elif 2 * consecutive(out_rows, min(rows, width)) > width:
        storing = moving(tile, 20)
    return multiplying + packing(tile, b_columns, columns, b_steps, steps) + storing * rows * columns


@kernel
def turn(
    tile: Tile,
    a_rows: IntegerScratch,
    rows: int,
    b_columns: IntegerScratch,
    columns: int,
    a_steps: IntegerScratch,
    b_steps: IntegerScratch,
    steps: int,
    out_rows: IntegerScratch,
    out_columns: IntegerScratch,
) -> bool:
    """Is it less work with the operands exchanged?"""
    if min(rows, columns, steps) < 1:
        return False
    turned = effort(tile, b_columns, columns, a_rows, rows, b_steps, a_steps, steps, out_columns, out_rows)
    return turned < effort(
        tile, a_rows, rows, b_columns, columns, a_steps, b_steps, steps, out_rows, out_columns
    )


@kernel
def spare(tile: Tile) -> int:
    """Entries of a table beyond its last, for a partial tile or vector; no tile has more rows."""
    return max(tile.narrow.pixels, tile.lanes.width)


@kernel
def repeat_last(tile: Tile, table: IntegerScratch, count: int) -> None:
    """A last, partial tile repeats a row."""
    for p in range(spare(tile)):
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


@kernel
def transposing(side_by_side: int, following: int) -> bool:
    """Is it quicker to transpose so many steps in a row than to copy so many columns side by side at each?"""
    return following >= FEW and following > 3 * side_by_side


@kernel
def pack(
    lanes: Lanes,
    channels: int,
    b: Scratch,
    columns: IntegerScratch,
    width: int,
    steps: IntegerScratch,
    count: int,
    panel: Scratch,
    lines: IntegerScratch,
) -> None:
    """panel[t, j] = b[columns[j] + steps[t]] for j < width; some number for width <= j < channels.

    The table has `spare` entries more, and whole vectors are read and written where what is too much is written
    again: at the next step, or behind the panel.
    """
    if width < channels:
        for i in range(0, count * channels, lanes.width):
            lanes.store(panel + i, lanes.zero())
    j = 0
    if width % lanes.width == 0 and consecutive(columns, width) == width:
        for t in range(count):  # each may lie on a page of its own: all that is wanted of it at once
            for i in range(0, width, lanes.width):
                lanes.store(panel + (t * channels + i), lanes.load(b + (columns[0] + steps[t] + i)))
        j = width
    while j < width:
        some = min(width - j, lanes.width)  # columns that there are, and most: that may be read
        spacious = j + lanes.width <= channels or (j == 0 and width <= lanes.width)
        most = lanes.width if spacious else some
        n = consecutive(columns + j, most)
        m = consecutive(steps, min(count, lanes.width))
        to = panel + j
        if n == lanes.width:
            for t in range(count):
                lanes.store(to + t * channels, lanes.load(b + (columns[j] + steps[t])))
        elif transposing(min(n, some), m):
            n = most
            t = 0
            while t < count:
                m = consecutive(steps + t, min(count - t, 2 * lanes.width))
                if m >= FEW:
                    lanes.transpose(b + steps[t], columns + j, n, m, to + t * channels, lines)
                    # of a few more than a vector some are taken again, together with those
                    t += m if m <= lanes.width else min(m - lanes.width, lanes.width)
                else:
                    gather(lanes, b + steps[t], columns + j, some, to + t * channels)
                    t += 1
        else:
            apart = 1
            if n < FEW:  # else a line of an image ends within the vector
                n = even(columns + j, most)
                apart = columns[j + 1] - columns[j] if n > 1 else 1
            if j + lanes.width <= channels or n >= width:
                for t in range(count):
                    if apart >= FEW and t + AHEAD < count:  # each step is in some lines of its own
                        for i in range(0, n * apart, 2 * lanes.width):
                            lanes.soon_read(b + (columns[j] + steps[t + AHEAD] + i))
                    lanes.store(to + t * channels, lanes.load_every(b + (columns[j] + steps[t]), apart, n))
            else:
                for t in range(count):
                    here = lanes.load_every(b + (columns[j] + steps[t]), apart, n)
                    lanes.store_first(to + t * channels, here, n)
        j += n


@kernel
def gather(lanes: Lanes, b: Scratch, columns: IntegerScratch, width: int, to: Scratch) -> None:
    """to[j] = b[columns[j]] for j < width, a run of columns that lie evenly apart at a time."""
    j = 0
    while j < width:
        n = even(columns + j, width - j)
        apart = columns[j + 1] - columns[j] if n > 1 else 1
        lanes.store_first(to + j, lanes.load_every(b + columns[j], apart, n), n)
        j += n


@kernel
def start(lanes: Lanes) -> Vector:
    """What a sum starts from."""
    return lanes.zero()


@kernel
def pair(lanes: Lanes, total: Vector, a: Vector, b: Vector) -> Vector:
    """A sum, and one product more."""
    return fma(a, b, total)


@kernel
def join(a: Vector, b: Vector) -> Vector:
    """Two sums as one."""
    return a + b


TURNS = True  # may the operands of a pair be exchanged?


@kernel
def product(
    tile: Tile,
    a: Scratch,
    rows: IntegerScratch,
    steps: IntegerScratch,
    count: int,
    panel: Scratch,
    pitch: int,
    out: Scratch,
    out_rows: IntegerScratch,
    width: int,
    add: bool,
) -> None:
    """One tile: out[out_rows[p] + j] (+)= sum over t < count of a[rows[p] + steps[t]] * panel[t, j], for j < width.

    The lines of the panel lie `pitch` apart. A row may occur several times: everything is read before anything is written.
    """
    lanes = tile.lanes
    acc = tile.registers()
    w = tile.row()
    for p in range(tile.pixels):
        for v in range(tile.vectors):
            acc[p, v] = start(lanes)
    for t in range(count):
        at = a + steps[t]
        for v in range(tile.vectors):
            w[0, v] = lanes.load(panel + (t * pitch + v * lanes.width))
        for p in range(tile.pixels):
            value = lanes.fill(at[rows[p]])
            for v in range(tile.vectors):
                acc[p, v] = pair(lanes, acc[p, v], value, w[0, v])
    if width == tile.channels:
        if add:
            for p in range(tile.pixels):
                for v in range(tile.vectors):
                    acc[p, v] = join(acc[p, v], lanes.load(out + (out_rows[p] + v * lanes.width)))
        for p in range(tile.pixels):
            for v in range(tile.vectors):
                lanes.store(out + (out_rows[p] + v * lanes.width), acc[p, v])
    else:
        if add:
            for p in range(tile.pixels):
                for v in range(tile.vectors):
                    at = out + (out_rows[p] + v * lanes.width)
                    acc[p, v] = join(acc[p, v], lanes.load_first(at, width - v * lanes.width))
        for p in range(tile.pixels):
            for v in range(tile.vectors):
                at = out + (out_rows[p] + v * lanes.width)
                lanes.store_first(at, acc[p, v], width - v * lanes.width)


@kernel
def foresee(
    lanes: Lanes,
    p: Scratch,
    rows: IntegerScratch,
    count: int,
    columns: IntegerScratch,
    width: int,
    part: int,
    parts: int,
    write: bool,
) -> None:
    """One of so many parts of p[rows[r] + columns[j]], r < count and j < width, will soon be read, or written."""
    if min(count, width) < 1:
        return
    along_rows = consecutive(rows, min(count, FEW)) == FEW  # a line of memory holds some of a column
    each = ceil_div(width if along_rows else count, parts)
    first = part * each
    last = min(width if along_rows else count, first + each)
    for far in range(first, last):
        for k in range(0, count if along_rows else width, lanes.width):
            at = p + (rows[k] + columns[far] if along_rows else rows[far] + columns[k])
            if write:
                lanes.soon_written(at)
            else:
                lanes.soon_read(at)


@kernel
def multiply(
    tile: Tile,
    a: Scratch,
    rows: IntegerScratch,
    steps: IntegerScratch,
    count: int,
    panels: Scratch,
    width: int,
    out: Scratch,
    out_rows: IntegerScratch,
    out_columns: IntegerScratch,
    add: bool,
    straight: IntegerScratch,
    sums: Scratch,
    held: int,
    lines: IntegerScratch,
    more: bool,
) -> None:
    """A tile of rows times each panel of a block: to where a panel's columns lie side by side, else to its sums.

    add, more: is something in the result, or in the sums?
    """
    j = 0
    while j < width:
        wide = fills(tile, width - j)
        n = panel_width(tile, width - j)
        panel = panels + j * count
        to, to_rows, add_here = out + out_columns[j], out_rows, add
        if straight[j // tile.lanes.width] == 0:
            to, to_rows, add_here = sums + place_of_sums(tile, j, held), lines, more
        if wide:
            whole = n if straight[j // tile.lanes.width] != 0 else tile.channels
            product(tile, a, rows, steps, count, panel, tile.channels, to, to_rows, whole, add_here)
        else:
            whole = n if straight[j // tile.lanes.width] != 0 else tile.lanes.width
            product(tile.slim, a, rows, steps, count, panel, tile.lanes.width, to, to_rows, whole, add_here)
        j += n


@kernel
def unpack(
    lanes: Lanes,
    channels: int,
    sums: Scratch,
    rows: IntegerScratch,
    count: int,
    columns: IntegerScratch,
    width: int,
    out: Scratch,
    scale: Scalar,
    add: bool,
    lines: IntegerScratch,
    square: Scratch,
    square_lines: IntegerScratch,
) -> None:
    """out[rows[r] + columns[j]] (+)= scale * sums[r, j] for r < count, j < width."""
    if scale != 1:
        for r in range(count):
            for j in range(0, width, lanes.width):
                at = sums + (r * channels + j)
                lanes.store(at, lanes.load(at) * lanes.fill(scale))
    if consecutive(columns, width) == width:
        for r in range(count):
            for j in range(0, width, lanes.width):
                at = out + (rows[r] + columns[j])
                value = lanes.load(sums + (r * channels + j))
                if add:
                    value = join(value, lanes.load_first(at, width - j))
                if j + lanes.width <= width:
                    lanes.store(at, value)
                else:
                    lanes.store_first(at, value, width - j)
        return
    for i in range(0, width, lanes.width):  # few columns at a time: each lies in a page of its own
        m = min(lanes.width, width - i)
        r = 0
        while r < count:
            n = even(rows + r, min(count - r, lanes.width))
            apart = rows[r + 1] - rows[r] if n > 1 else 1
            here = sums + (r * channels + i)
            if apart == 1 and not add:
                lanes.transpose(here, lines, n, m, out + rows[r], columns + i)
            else:
                lanes.transpose_padded(here, lines, n, lanes.width, square, square_lines)
                for j in range(m):
                    at = out + (rows[r] + columns[i + j])
                    value = lanes.load(square + j * lanes.width)
                    if add:
                        value = join(value, lanes.load_every(at, apart, n))
                    lanes.store_every(at, apart, value, n)
            r += n


@kernel
def work(tile: Tile, rows: int, columns: int) -> int:
    """Scalars that `contract` needs to itself, whichever operand is packed."""
    panels = panels_at_once(tile) * tile.channels
    packed = tile.depth * (panels + spare(tile)) + tile.lanes.width
    return packed + tile.lanes.width * tile.lanes.width + (max(rows, columns) + spare(tile)) * panels


@kernel
def lines_for(tile: Tile) -> int:
    """Entries of `contract`'s own table: where the rows of its sums lie, those of a block of vectors, and more."""
    rows, steps = row_block(tile.narrow) + spare(tile), tile.depth + spare(tile)
    return rows + tile.lanes.width + steps + panels_at_once(tile) * tile.vectors + 2 * spare(tile)


@kernel
def block(
    tile: Tile,
    short: Tile,
    a: Scratch,
    a_rows: IntegerScratch,
    rows: int,
    b: Scratch,
    b_columns: IntegerScratch,
    width: int,
    a_steps: IntegerScratch,
    b_steps: IntegerScratch,
    steps: int,
    more: int,
    far_a: bool,
    far_b: bool,
    out: Scratch,
    out_rows: IntegerScratch,
    out_columns: IntegerScratch,
    scale: Scalar,
    add: bool,
    scratch: Scratch,
    lines: IntegerScratch,
) -> None:
    """As `contract`, for the columns of a block of panels, behind which are `more`; a, b: do they lie far from here?

    Meanwhile the memory is told what comes next: the following rows of `a` if they are far, the lines of the
    result, and the part of `b` that is packed next.
    """
    lanes = tile.lanes
    rows_at_once = row_block(tile)
    panels = scratch
    packed_rows = panels + panels_at_once(tile) * tile.channels * tile.depth
    square = packed_rows + (spare(tile) * tile.depth + lanes.width)
    sums = square + lanes.width * lanes.width
    square_lines = lines + (rows_at_once + tile.pixels)
    own_rows = square_lines + lanes.width
    own_steps = own_rows + tile.pixels
    straight = own_steps + tile.depth
    last_rows = straight + panels_at_once(tile) * tile.vectors
    last_out = last_rows + max(tile.pixels, lanes.width)
    for p in range(rows_at_once + tile.pixels):
        lines[p] = p * tile.channels
    for i in range(lanes.width):
        square_lines[i] = i * lanes.width
    for p in range(tile.pixels):
        own_rows[p] = p
    for t in range(tile.depth):
        own_steps[t] = t * tile.pixels
    blocks = max(1, ceil_div(steps, tile.depth))
    depth = max(1, ceil_div(steps, blocks))
    # runs of steps are transposed whole, not a bit of each; whichever operand is packed, so that sums are the same
    run = max(consecutive(a_steps, min(steps, depth)), consecutive(b_steps, min(steps, depth)))
    if depth < steps and run > 1:
        depth = depth // run * run
        blocks = ceil_div(steps, depth)
    held = (min(rows, rows_at_once) if blocks == 1 else rows) + tile.pixels  # a last tile may go beyond
    # what is there comes first or last in the order of adding, whether there are sums apart or not
    direct = scale == 1 and (blocks == 1 or not add)
    j = 0
    while j < width:
        n = panel_width(tile, width - j)
        straight[j // lanes.width] = 1 if direct and consecutive(out_columns + j, n) == n else 0
        j += n
    for t in range(blocks):
        n = min(depth, steps - t * depth)
        here = a_steps + t * depth
        j = 0
        while j < width:
            w = panel_width(tile, width - j)
            channels, own = tile.channels, lines
            if not fills(tile, width - j):
                channels, own = lanes.width, square_lines
            pack(lanes, channels, b, b_columns + j, w, b_steps + t * depth, n, panels + j * n, own)
            j += w
        packed = width > tile.channels and strewn(tile, a_rows, rows, here, n)
        # what is packed next, if it has to come from afar
        last = t == blocks - 1
        after = b_columns + (width if last else 0)
        wide = min(more, width) if last else width
        then = (t + 1) % blocks * depth
        deep = min(depth, steps - then) if far_b else 0
        soon = width if t == 0 or last else 0
        for first in range(0, rows, rows_at_once):
            count = min(rows_at_once, rows - first)
            buffer = sums + (first if blocks > 1 else 0) * tile.channels
            r = 0
            while r < count:
                whole = count - r >= enough_rows(tile, short)
                taken = tile.pixels if whole else short.pixels
                at = first + r
                left = min(count - r, taken)
                if far_a:
                    foresee(
                        lanes, a, a_rows + (at + left), min(rows - at - left, taken), here, n, 0, 1, False
                    )
                if first == 0:
                    i, parts = r // tile.pixels, ceil_div(count, tile.pixels)
                    foresee(lanes, b, after, wide, b_steps + then, deep, i, parts, False)
                foresee(lanes, out, out_rows + at, left, out_columns, soon, 0, 1, True)
                source, its_rows, its_steps, its_out = a, a_rows + at, here, out_rows + at
                if left < taken:  # behind these rows in the tables may be those of another task
                    for p in range(max(tile.pixels, lanes.width)):
                        last_rows[p] = its_rows[min(p, left - 1)]
                        last_out[p] = its_out[min(p, left - 1)]
                    its_rows, its_out = last_rows, last_out
                if packed:
                    pack(lanes, tile.pixels, a, its_rows, tile.pixels, here, n, packed_rows, own_steps)
                    source, its_rows, its_steps = packed_rows, own_rows, own_steps
                if whole:
                    multiply(
                        tile, source, its_rows, its_steps, n, panels, width, out, its_out, out_columns,
                        add or t > 0, straight, buffer, held, lines + r, t > 0,
                    )  # fmt: skip
                else:
                    multiply(
                        short, source, its_rows, its_steps, n, panels, width, out, its_out, out_columns,
                        add or t > 0, straight, buffer, held, lines + r, t > 0,
                    )  # fmt: skip
                r += taken
            if last:
                j = 0
                while j < width:
                    w = panel_width(tile, width - j)
                    if straight[j // lanes.width] == 0:
                        its_sums = buffer + place_of_sums(tile, j, held)
                        unpack(
                            lanes, tile.channels, its_sums, out_rows + first, count, out_columns + j, w, out, scale,
                            add, lines, square, square_lines,
                        )  # fmt: skip
                    j += w


@linked
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
    """The sum above over all rows, columns and steps. The tables of rows and columns have `spare` entries more.

    Where the columns of a panel lie side by side in `out`, tiles are added up there; else in sums apart.
    """
    if TURNS and turn(tile, a_rows, rows, b_columns, columns, a_steps, b_steps, steps, out_rows, out_columns):
        a, b = b, a
        a_rows, b_columns = b_columns, a_rows
        a_steps, b_steps = b_steps, a_steps
        rows, columns = columns, rows
        out_rows, out_columns = out_columns, out_rows
    far_a = reach(a_rows, rows, a_steps, steps) > near(tile)
    # what is packed is read once, from where it was before the call
    far_b = reach(b_columns, columns, b_steps, steps) > near(tile) // 8
    costly = far_a or strewn(tile, a_rows, rows, a_steps, min(steps, tile.depth))
    j = 0
    while j < columns:
        width = block_width(tile, columns - j, steps, costly, far_b)
        if fills(tile, columns - j):
            block(
                tile, tile.short, a, a_rows, rows, b, b_columns + j, width, a_steps, b_steps, steps,
                columns - j - width, far_a, far_b, out, out_rows, out_columns + j, scale, add, scratch, lines,
            )  # fmt: skip
        else:
            width = min(width, tile.lanes.width)
            block(
                tile.narrow, tile.narrow, a, a_rows, rows, b, b_columns + j, width, a_steps, b_steps, steps,
                columns - j - width, far_a, far_b, out, out_rows, out_columns + j, scale, add, scratch, lines,
            )  # fmt: skip
        j += width


@kernel
def start_of_maxima(lanes: Lanes) -> Vector:
    """What a maximum starts from."""
    return lanes.fill(lowest())


@kernel
def start_of_minima(lanes: Lanes) -> Vector:
    """What a minimum starts from."""
    return lanes.fill(highest())


_REDUCTIONS: dict[str, dict[str, Any]] = {
    "sum": {"start": start, "join": join},
    "max": {"start": start_of_maxima, "join": maximum},
    "min": {"start": start_of_minima, "join": minimum},
}


def contract_with(pair: Callable[..., Vector], reduce: str, turns: bool) -> Callable[..., None]:
    """`contract`, but out[row, column] is what `pair` (lanes, what there is, a, b) makes of all steps.

    `turns`: is it the same with a and b exchanged? The result goes by its name, and is compiled once for each dtype.
    """
    made: Callable[..., None] = rebound(contract, pair, {"pair": pair, "TURNS": turns, **_REDUCTIONS[reduce]})
    return made
