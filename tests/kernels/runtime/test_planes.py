"""Windows over whole planes, as they mean and compiled, against what is written out here."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import numpy as np
import pytest

from kernels.runtime import (
    Integer1,
    Real1,
    Tile,
    add_lanes,
    ceil_div,
    fold_planes,
    mask_planes,
    plane_masks,
    slide_planes,
    task,
)
from tests.kernels.runtime.primitives import run_compiled, run_meaning, tile_of


@task
def slid(
    out: Real1,
    plane: Real1,
    weights: Real1,
    masks: Integer1,
    steps: Integer1,
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
    apart: int,
    outputs: int,
    first: int,
    last: int,
    add: int,
    tile: Tile,
    task: int,
    tasks: int,
) -> None:
    mask_planes(tile, masks.pointer(), rows, columns, top, down, left, across, lines, length, height, breadth)
    slide_planes(
        tile, out.pointer(), apart, outputs, first, last, lines * length, add != 0, plane.pointer(),
        steps.pointer(), rows * columns, masks.pointer(), weights.pointer(),
    )  # fmt: skip


@task
def folded(
    out: Real1,
    sums: Real1,
    square: Real1,
    plane: Real1,
    fixed: Real1,
    masks: Integer1,
    steps: Integer1,
    table: Integer1,
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
    apart: int,
    outputs: int,
    tile: Tile,
    task: int,
    tasks: int,
) -> None:
    mask_planes(tile, masks.pointer(), rows, columns, top, down, left, across, lines, length, height, breadth)
    fold_planes(
        tile, sums.pointer(), fixed.pointer(), apart, outputs, lines * length, plane.pointer(), steps.pointer(),
        rows * columns, masks.pointer(),
    )  # fmt: skip
    count = rows * columns * outputs
    add_lanes(tile, out.pointer(), sums.pointer(), count, square.pointer(), table.pointer())


CASES = [(float, 1), (np.float32, 2), (float, 4), (np.float32, 8), (np.float32, 16)]


class Windows:
    """Windows that are drawn, over a plane whose rows lie as far apart as places do: of `breadth` elements, or fewer."""

    def __init__(self, rng: random.Random, dtype: Any) -> None:
        self.rows, self.columns, self.outputs = rng.randint(1, 3), rng.randint(1, 3), rng.randint(1, 5)
        self.top, self.left = rng.randint(-3, 2), rng.randint(-3, 2)
        self.down, self.across = rng.choice([1, 1, 2, -1, -2]), rng.choice([1, 1, 2, -1, -2])
        self.lines, self.length = rng.randint(1, 9), rng.randint(1, 9)
        self.height, self.breadth = rng.randint(1, 9), rng.randint(1, self.length)
        self.apart = self.lines * self.length + rng.randint(0, 3)
        # what lies between rows is no number: nothing may read it
        self.plane = np.full(self.height * self.length, np.nan, dtype)
        for p in range(self.height):
            here = slice(p * self.length, p * self.length + self.breadth)
            self.plane[here] = [rng.randint(-4, 4) for _ in range(self.breadth)]
        self.taps = [
            (self.top + r * self.down, self.left + c * self.across)
            for r in range(self.rows)
            for c in range(self.columns)
        ]

    def read(self, p: int, q: int, tap: tuple[int, int]) -> Any:
        p, q = p + tap[0], q + tap[1]
        return self.plane[p * self.length + q] if 0 <= p < self.height and 0 <= q < self.breadth else 0

    def tables(self, tile: Tile) -> tuple[Any, Any]:
        """Room for the masks, and how far each tap reads and where its masks begin."""
        each = plane_masks(tile, self.lines * self.length)
        steps = [(above * self.length + before, t * each) for t, (above, before) in enumerate(self.taps)]
        return np.zeros(each * len(self.taps), np.int64), np.array(steps, np.int64).ravel()

    def integers(self) -> tuple[int, ...]:
        taps = (self.rows, self.columns, self.top, self.down, self.left, self.across)
        return (*taps, self.lines, self.length, self.height, self.breadth, self.apart, self.outputs)


@pytest.mark.parametrize(("dtype", "width"), CASES)
def test_windows_slide_over_planes(dtype: Any, width: int) -> None:
    """Taps beyond any edge, both ways, several outputs, some of the vectors; nothing else is written or read."""
    rng = random.Random(width)
    tile = tile_of(dtype, width)
    for trial in range(60):
        w = Windows(rng, dtype)
        masks, steps = w.tables(tile)
        vectors = ceil_div(w.lines * w.length, width)
        first, add = rng.randint(0, vectors), rng.randint(0, 1)
        last = rng.randint(first, vectors)
        weight = np.array([[rng.randint(-4, 4) for _ in w.taps] for _ in range(w.outputs)])
        filled = np.zeros((ceil_div(w.outputs, tile.vectors) * tile.vectors, len(w.taps)))
        filled[: w.outputs] = weight
        packed = filled.reshape(-1, tile.vectors, len(w.taps)).transpose(0, 2, 1).ravel().astype(dtype)
        before = np.arange(w.outputs * w.apart).astype(dtype)
        expected = before.copy()
        for i in range(first * width, min(last * width, w.lines * w.length)):
            there = np.array([w.read(i // w.length, i % w.length, tap) for tap in w.taps])
            for o in range(w.outputs):
                at = o * w.apart + i
                expected[at] = (weight[o] * there).sum() + (before[at] if add else 0)
        meaning = partial(run_meaning, writable=("masks",))
        for run in (meaning, run_compiled) if trial % 3 == 0 else (meaning,):
            out = before.copy()
            given = (out, w.plane, packed, masks, steps, *w.integers(), first, last, add)
            run(slid, tile, given)
            np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(("dtype", "width"), CASES)
def test_places_of_planes_are_summed_over(dtype: Any, width: int) -> None:
    """To what the sums hold; what stands beyond the last place is not read."""
    rng = random.Random(width)
    tile = tile_of(dtype, width)
    for trial in range(60):
        w = Windows(rng, dtype)
        masks, steps = w.tables(tile)
        fixed = np.array([rng.randint(-4, 4) for _ in range(w.outputs * w.apart)]).astype(dtype)
        count = len(w.taps) * w.outputs
        before = np.array([rng.randint(-4, 4) for _ in range(count * width)]).astype(dtype)
        expected = before.reshape(count, width).sum(axis=1)
        for i in range(w.lines * w.length):
            there = np.array([w.read(i // w.length, i % w.length, tap) for tap in w.taps])
            for o in range(w.outputs):
                expected[o :: w.outputs] += there * fixed[o * w.apart + i]
        meaning = partial(run_meaning, writable=("sums", "square", "masks", "table"))
        for run in (meaning, run_compiled) if trial % 3 == 0 else (meaning,):
            out, sums = np.zeros(count, dtype), before.copy()
            room = np.zeros(width * width, dtype), np.zeros(width, np.int64)
            given = (out, sums, room[0], w.plane, fixed, masks, steps, room[1], *w.integers())
            run(folded, tile, given)
            np.testing.assert_array_equal(out, expected)
