"""Lines of an operand, copied with zeros around them: afterwards nothing that reads them is guarded."""

from __future__ import annotations

from kernels.runtime.compile import kernel
from kernels.runtime.linked import linked
from kernels.runtime.simd import Scratch, Tile


@kernel
def clear(tile: Tile, to: Scratch, first: int, last: int) -> None:
    """to[i] = 0 for first <= i < last, in whole vectors: up to a vector's width beyond."""
    lanes = tile.lanes
    for i in range(first, last, lanes.width):
        lanes.store(to + i, lanes.zero())


@linked
def copy_lines(
    tile: Tile,
    to: Scratch,
    pitch: int,
    source: Scratch,
    apart: int,
    first: int,
    lines: int,
    height: int,
    step: int,
    low: int,
    span: int,
    length: int,
) -> None:
    """to[l * pitch + i] = source[(first + l) * apart + (low + i) * step], 0 where there is no such element.

    For l < lines and i < span; of the source there are the lines 0 to height and in each the elements 0 to length.
    Whole vectors are written: up to a vector's width beyond a line's end, which the next line overwrites.
    """
    lanes = tile.lanes
    width = lanes.width
    begin = min(max(0, -low), span)
    finish = max(begin, min(span, length - low))
    above = min(max(0, -first), lines)
    below = max(above, min(lines, height - first))
    if begin == finish:
        below = above
    for line in range(above):
        clear(tile, to + line * pitch, 0, span)
    for line in range(above, below):
        here = to + line * pitch
        at = source + ((first + line) * apart + low * step)
        if begin > 0:  # mostly less than a vector
            lanes.store(here, lanes.zero())
            clear(tile, here, width, begin)
        # the last vector may overlap the one before
        if finish - begin < width:
            lanes.store(here + begin, lanes.load_every(at + begin * step, step, finish - begin))
        elif step == 1:
            for i in range(begin, finish - width, width):
                lanes.store(here + i, lanes.load(at + i))
            lanes.store(here + (finish - width), lanes.load(at + (finish - width)))
        else:
            for i in range(begin, finish - width, width):
                lanes.store(here + i, lanes.load_apart(at + i * step, step))
            lanes.store(here + (finish - width), lanes.load_apart(at + (finish - width) * step, step))
        if finish < span:
            lanes.store(here + finish, lanes.zero())
            clear(tile, here, finish + width, span)
    for line in range(below, lines):
        clear(tile, to + line * pitch, 0, span)
