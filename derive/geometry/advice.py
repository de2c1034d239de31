"""Good practice, as warnings: what a geometry shows of a network that is better avoided.

All of it is read off index maps: a kernel is any band wider than one place, its stride that band's jump.
"""

from __future__ import annotations

from collections.abc import Iterator

from derive.geometry.network import Field, Geometry, Row, field, spatial_axes
from derive.geometry.reach import Reach

SMALL, LARGE = 0.25, 8.0  # of the input's extent: a receptive field outside these is far too small or large


def advice(geometry: Geometry) -> tuple[str, ...]:
    """A sentence for each thing that is better avoided, in the order of the graph; then of the whole network."""
    found: dict[str, None] = {}
    for row in geometry.rows:
        for source, (shape, reaches) in row.own.items():
            places: dict[str, list[int]] = {}
            for axis in spatial_axes(shape) if len(shape) > 2 else ():
                for text in _of_kernel(reaches[axis], row, shape[axis]):
                    places.setdefault(text, []).append(axis)
            for text, axes in places.items():
                found[f"{row.name}: {text} ({_named(axes)} of `{source}`)"] = None
        for name, reaches in row.reads.items():
            before = [row_ for row_ in geometry.rows if row_.name in row.own]
            already = any(any(r.misaligned for r in b.reads.get(name, ())) for b in before)
            if not already and any(r.misaligned for r in reaches):
                found[f"{row.name}: {_apart(reaches)}"] = None
    last = geometry.row(geometry.output)
    for name, shape in geometry.inputs.items():
        places = {}
        for axis in spatial_axes(shape):
            for text in _of_field(geometry, last, name, axis):
                places.setdefault(text, []).append(axis)
        for text, axes in places.items():
            found[f"{last.name}: {text} ({_named(axes)} of `{name}`)"] = None
    return tuple(found)


def _named(axes: list[int]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else "axes " + ", ".join(map(str, axes))


def _of_kernel(reach: Reach, row: Row, extent: int) -> Iterator[str]:
    own = field(reach, row, extent)
    if own is None or own.jump.denominator != 1 or own.jump < 1:
        return
    size, stride = own.size, int(own.jump)
    if size > extent:
        yield f"a filter of {size} is larger than its input of {extent}"
    if size % 2 == 0 and size != stride:
        yield f"a kernel of {size} has no middle, so that its result is shifted by half an entry; prefer an odd one"
    if stride > size:
        yield f"a stride of {stride} is larger than the kernel of {size}: {stride - size} of {stride} entries are not read"
    elif own.padding[1] < 0:
        yield f"the last {-own.padding[1]} entries are in no window; a stride of {stride} does not divide what there is"
    elif stride > 1 and extent % stride:
        yield f"a stride of {stride} does not divide its input of {extent}"


def _of_field(geometry: Geometry, last: Row, name: str, axis: int) -> Iterator[str]:
    extent = geometry.inputs[name][axis]
    reaches = last.reads.get(name)
    if reaches is None or extent <= 1:
        return
    own = field(reaches[axis], last, extent)
    widest = max((f.size for f in _all(geometry, name, axis)), default=0)
    if own is not None and not geometry.covers(last, axis, name) and own.size < SMALL * extent:
        yield f"a receptive field of {own.size} is far too small for an input of {extent}"
    if widest > LARGE * extent:
        yield f"a receptive field of {widest} is far too large for an input of {extent}"


def _all(geometry: Geometry, name: str, axis: int) -> Iterator[Field]:
    for row in geometry.rows:
        if name in row.reads:
            own = field(row.reads[name][axis], row, geometry.inputs[name][axis])
            if own is not None:
                yield own


def _apart(reaches: tuple[Reach, ...]) -> str:
    for reach in reaches:
        jumps = [str(b.jump) for b in reach.moving]
        if len(jumps) > 1:
            return f"ways that meet here have different jumps ({', '.join(jumps)}): they are not aligned"
    return "ways that meet here have different centres: they are not aligned"
