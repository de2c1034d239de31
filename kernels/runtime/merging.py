"""Two indices as one: where the rows of a plane follow each other in memory, a plane is a single row.

A choice says which of its indices merely name elements (`merges`: of an extent, the axis that it is of each view). Two of
them that are axes of the same views are merged if in each the outer one steps over just what the inner one spans: then the
outer has one value and the inner all. So short rows make long vectors, and what a choice asks of extents holds more often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from math import prod
from typing import Any, Protocol, TypeVar

from kernels.runtime.simd import Tile

Merges = Mapping[str, tuple[int | None, ...]]


class Strided(Protocol):
    """What has axes: a view, or an operand that is to be one."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def strides(self) -> tuple[int, ...]: ...
    def with_axes(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
        """The same elements in other axes."""


V = TypeVar("V", bound=Strided)


def merged(
    merges: Merges, extents: Mapping[str, int], views: Sequence[V], tile: Tile
) -> tuple[dict[str, int], list[V]]:
    """The extents and views with all that may be merged, merged.

    Not where the inner rows are long already; nor where a large result, the first view, would be left with so few rows
    that threads cannot share them.
    """
    sizes = dict(extents)
    shapes, strides = [list(v.shape) for v in views], [list(v.strides) for v in views]
    elements = prod(shapes[0])
    for outer, inner in list(permutations(merges, 2)) * len(merges):  # one merger may make room for another
        one, other = merges[outer], merges[inner]
        long, wide = sizes[outer], sizes[inner]
        if long == 1 or not 0 < wide < 64 * tile.lanes.width:
            continue
        if [a is None for a in one] != [a is None for a in other]:
            continue
        axes = [
            (n, a, b)
            for n, (a, b) in enumerate(zip(one, other, strict=True))
            if a is not None and b is not None
        ]
        if any(strides[n][a] != strides[n][b] * wide for n, a, b in axes):
            continue
        if one[0] is not None and elements > FEW and elements // (long * wide) < SHARED:
            continue
        sizes[outer], sizes[inner] = 1, long * wide
        for n, a, b in axes:
            shapes[n][a], shapes[n][b] = 1, long * wide
    made = [v.with_axes(tuple(s), tuple(t)) for v, s, t in zip(views, shapes, strides, strict=True)]
    return sizes, made


FEW = 1 << 15  # elements that one thread has done before another is awake
SHARED = 64  # rows that are enough for all threads
