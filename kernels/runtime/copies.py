"""Lines copied with zeros around them, so that nothing that reads them is guarded, and lines woven into one.

Places of one residue class of a stride lie side by side in a copy: a plane of lines for each class. Weaving is the
way back, from the classes of a target's places to the target.
"""

from __future__ import annotations

from kernels.runtime.arithmetic import ceil_div
from kernels.runtime.compile import kernel
from kernels.runtime.linked import linked
from kernels.runtime.simd import Scratch, Tile


@kernel
def clear(tile: Tile, to: Scratch, pitch: int, first: int, last: int, span: int) -> None:
    """Zeros in the lines from first to last, in whole vectors: up to a vector's width beyond the span."""
    lanes = tile.lanes
    for line in range(first, last):
        for i in range(0, span, lanes.width):
            lanes.store(to + (line * pitch + i), lanes.zero())


@kernel
def copy_side_by_side(
    tile: Tile,
    to: Scratch,
    pitch: int,
    source: Scratch,
    apart: int,
    first: int,
    last: int,
    begin: int,
    finish: int,
    span: int,
) -> None:
    """to[l * pitch + i] = source[l * apart + i] for begin <= i < finish; zeros around."""
    lanes = tile.lanes
    width = lanes.width
    end = finish - width
    for line in range(first, last):
        there, at = to + line * pitch, source + line * apart
        for i in range(0, begin, width):
            lanes.store(there + i, lanes.zero())
        for i in range(begin, end, width):
            lanes.store(there + i, lanes.load(at + i))
        if end >= begin:
            lanes.store(there + end, lanes.load(at + end))  # it may overlap the one before
        else:
            lanes.store(there + begin, lanes.load_first(at + begin, finish - begin))
        for i in range(finish, span, width):
            lanes.store(there + i, lanes.zero())


@kernel
def copy_apart(
    tile: Tile,
    to: Scratch,
    pitch: int,
    source: Scratch,
    apart: int,
    step: int,
    first: int,
    last: int,
    begin: int,
    finish: int,
    span: int,
) -> None:
    """As copy_side_by_side, of elements that lie some steps apart."""
    lanes = tile.lanes
    width = lanes.width
    for line in range(first, last):
        there, at = to + line * pitch, source + line * apart
        for i in range(0, begin, width):
            lanes.store(there + i, lanes.zero())
        for i in range(begin, finish - width, width):
            lanes.store(there + i, lanes.load_apart(at + i * step, step))
        i = max(begin, finish - width)
        lanes.store(there + i, lanes.load_every(at + i * step, step, finish - i))
        for i in range(finish, span, width):
            lanes.store(there + i, lanes.zero())


@kernel
def copy_pairs(
    tile: Tile,
    to: Scratch,
    pitch: int,
    plane: int,
    source: Scratch,
    apart: int,
    first: int,
    last: int,
    begin: int,
    finish: int,
    span: int,
    before: bool,
    behind: bool,
) -> None:
    """As copy_side_by_side, to[..i] = source[..2 * i] and to[plane + ..i] = source[..2 * i + 1].

    before, behind: has the second class one element more in front, the first one more at its end?
    """
    lanes = tile.lanes
    width = lanes.width
    for line in range(first, last):
        there, at = to + line * pitch, source + line * apart
        for i in range(0, begin, width):
            lanes.store(there + i, lanes.zero())
            lanes.store(there + (plane + i), lanes.zero())
        if finish - begin < width:
            count = 2 * (finish - begin)
            one = lanes.load_first(at + 2 * begin, count)
            other = lanes.load_first(at + (2 * begin + width), count - width)
            lanes.store(there + begin, lanes.evens(one, other))
            lanes.store(there + (plane + begin), lanes.odds(one, other))
        else:
            for k in range(begin, finish, width):
                i = min(k, finish - width)
                one, other = lanes.load(at + 2 * i), lanes.load(at + (2 * i + width))
                lanes.store(there + i, lanes.evens(one, other))
                lanes.store(there + (plane + i), lanes.odds(one, other))
        for i in range(finish, span, width):
            lanes.store(there + i, lanes.zero())
            lanes.store(there + (plane + i), lanes.zero())
        if before:
            there[plane + begin - 1] = at[2 * begin - 1]
        if behind:
            there[finish] = at[2 * finish]


@linked
def copy_lines(
    tile: Tile,
    to: Scratch,
    pitch: int,
    plane: int,
    source: Scratch,
    apart: int,
    first: int,
    lines: int,
    height: int,
    step: int,
    stride: int,
    low: int,
    span: int,
    length: int,
) -> None:
    """to[c * plane + l * pitch + i] = source[(first + l) * apart + (low + c + i * stride) * step], or 0.

    For c < stride, l < lines and i < span; there are the lines 0 to height of the source, and in each the elements
    0 to length. Whole vectors are written: up to a vector's width beyond a line's end, which the next overwrites, and
    beyond a plane's last line.
    """
    above = min(max(0, -first), lines)
    below = max(above, min(lines, height - first))
    origin = source + (first * apart + low * step)
    if stride == 2 and step == 1:  # what both classes have
        begin = min(max(0, ceil_div(-low, 2)), span)
        finish = max(begin, min(span, (length - low) // 2))
        if begin < finish:
            before, behind = begin > 0 and low + 2 * begin > 0, finish < span and low + 2 * finish < length
            for c in range(2):
                clear(tile, to + c * plane, pitch, 0, above, span)
                clear(tile, to + c * plane, pitch, below, lines, span)
            copy_pairs(
                tile, to, pitch, plane, origin, apart, above, below, begin, finish, span, before, behind
            )
            return
    for c in range(stride):
        here, at = to + c * plane, origin + c * step
        begin = min(max(0, ceil_div(-low - c, stride)), span)
        finish = max(begin, min(span, ceil_div(length - low - c, stride)))
        last = below if begin < finish else above
        clear(tile, here, pitch, 0, above, span)
        if stride * step == 1:
            copy_side_by_side(tile, here, pitch, at, apart, above, last, begin, finish, span)
        else:
            copy_apart(tile, here, pitch, at, apart, stride * step, above, last, begin, finish, span)
        clear(tile, here, pitch, last, lines, span)


@linked
def weave(
    tile: Tile,
    to: Scratch,
    apart: int,
    step: int,
    source: Scratch,
    pitch: int,
    plane: int,
    lines: int,
    classes: int,
    count: int,
    add: bool,
) -> None:
    """to[l * apart + j * step] (+)= source[j % classes * plane + l * pitch + j // classes] for l < lines, j < count."""
    lanes = tile.lanes
    width = lanes.width
    if classes == 2 and step == 1:
        whole = count // (2 * width) * (2 * width)
        for line in range(lines):
            there, at = to + line * apart, source + line * pitch
            for j in range(0, whole, 2 * width):
                even, odd = lanes.load(at + j // 2), lanes.load(at + (plane + j // 2))
                one, other = lanes.first_pairs(even, odd), lanes.last_pairs(even, odd)
                if add:
                    one = one + lanes.load(there + j)
                    other = other + lanes.load(there + (j + width))
                lanes.store(there + j, one)
                lanes.store(there + (j + width), other)
        left = count - whole
        if left > 0:
            for line in range(lines):
                there, at = to + (line * apart + whole), source + (line * pitch + whole // 2)
                even, odd = lanes.load_first(at, ceil_div(left, 2)), lanes.load_first(at + plane, left // 2)
                one, other = lanes.first_pairs(even, odd), lanes.last_pairs(even, odd)
                if add:
                    one = one + lanes.load_first(there, left)
                    other = other + lanes.load_first(there + width, left - width)
                lanes.store_first(there, one, left)
                lanes.store_first(there + width, other, left - width)
        return
    for c in range(classes):
        for line in range(lines):
            there, at = to + (line * apart + c * step), source + (c * plane + line * pitch)
            for i in range(ceil_div(count - c, classes)):
                value = at[i]
                if add:
                    value = value + there[i * classes * step]
                there[i * classes * step] = value
