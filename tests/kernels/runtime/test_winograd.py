"""Sums over windows of 3 x 3 places by minimal filtering, as they mean and compiled, against sums written out."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kernels.runtime import Integer1, Real1, Tile, task, winograd, winograd_lines, winograd_work
from kernels.runtime.contraction import spare
from kernels.runtime.simd import Lanes
from kernels.runtime.winograd import winograd_rows
from tests.kernels.runtime.primitives import run_compiled, run_meaning, tile_of


@task
def windows(
    y: Real1,
    x: Real1,
    w: Real1,
    room: Real1,
    x_images: Integer1,
    x_channels: Integer1,
    w_columns: Integer1,
    w_steps: Integer1,
    y_images: Integer1,
    y_columns: Integer1,
    lines: Integer1,
    x_by0: int,
    x_by1: int,
    height: int,
    length: int,
    low0: int,
    low1: int,
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
    again: int,
    tile: Tile,
    task: int,
    tasks: int,
) -> None:
    winograd(
        tile, x.pointer(), x_images.pointer(), x_channels.pointer(), x_by0, x_by1, height, length, low0, low1,
        w.pointer(), w_columns.pointer(), w_steps.pointer(), y.pointer(), y_images.pointer(), y_columns.pointer(),
        y_by0, y_by1, high, wide, images, columns, channels, first, last, at_once, again != 0, room.pointer(),
        lines.pointer(),
    )  # fmt: skip


TILES = {
    "tiny": Tile(Lanes(2, float), 2, 2),
    "deep": Tile(Lanes(4, float), 3, 2, steps=64, depth=7),
    "one": Tile(Lanes(8, float), 1, 1, steps=1, depth=2),
}


class Problem:
    """Arrays in some order of their axes, and what the sum over windows of them is."""

    def __init__(self, seed: int, most: int = 7) -> None:
        rng = random.Random(seed)
        self.images, self.columns, self.channels = (
            rng.randint(1, 3),
            rng.randint(1, most),
            rng.randint(1, most),
        )
        self.height, self.length = rng.randint(1, most), rng.randint(1, most + 3)
        self.low = rng.randint(-3, 2), rng.randint(-3, 2)
        self.high, self.wide = rng.randint(1, most), rng.randint(1, most + 3)
        generator = np.random.default_rng(seed)

        def array(*shape: int) -> Any:
            axes = rng.sample(range(len(shape)), len(shape)) if rng.random() < 0.7 else range(len(shape))
            made = generator.integers(-4, 5, [shape[a] for a in axes]).astype(float)
            return made.transpose(np.argsort(axes))

        self.x = array(self.images, self.channels, self.height, self.length)
        self.w = array(self.columns, self.channels, 3, 3)
        self.y = array(self.images, self.columns, self.high, self.wide)
        self.again = rng.randint(0, 1)

    def expected(self) -> Any:
        result = self.y.copy() if self.again else self.y * 0
        for k0 in range(3):
            for k1 in range(3):
                for p0 in range(self.high):
                    for p1 in range(self.wide):
                        q0, q1 = p0 + k0 + self.low[0], p1 + k1 + self.low[1]
                        if 0 <= q0 < self.height and 0 <= q1 < self.length:
                            result[:, :, p0, p1] += self.x[:, :, q0, q1] @ self.w[:, :, k0, k1].T
                        else:  # zeros lie there
                            result[:, :, p0, p1] += 0 * self.w[:, :, k0, k1].sum(1)
        return result

    def arguments(self, tile: Tile, dtype: Any, at_once: int = 0) -> list[Any]:
        """Those of the task; the first is the memory of `y`."""
        x, w, y = (a.astype(dtype, order="K") for a in (self.x, self.w, self.y))
        (xn, xc, x0, x1), (wo, wc, w0, w1), (yn, yo, y0, y1) = (
            [s // a.itemsize for s in a.strides] for a in (x, w, y)
        )
        beyond = [self.columns - 1] * spare(tile)
        columns = [*range(self.columns), *beyond]
        steps = [c * wc + i * w0 + j * w1 for c in range(self.channels) for i in range(3) for j in range(3)]
        tables = (
            [n * xn for n in range(self.images)],
            [c * xc for c in range(self.channels)],
            [o * wo for o in columns],
            steps,
            [n * yn for n in range(self.images)],
            [o * yo for o in columns],
        )
        sizes = (tile, self.images, self.high, self.wide, self.columns, self.channels)
        rows, most = self.images * -(-self.high // 2), winograd_rows(*sizes[:4])
        return [
            *(a.ravel(order="K") for a in (y, x, w)),
            np.full(winograd_work(*sizes), np.nan, dtype),
            *(np.array(t, np.int64) for t in tables),
            np.full(winograd_lines(tile, self.columns, self.channels), 1 << 40, np.int64),
            x0, x1, self.height, self.length, *self.low, y0, y1, self.high, self.wide,
            self.images, self.columns, self.channels, 0, rows, min(at_once or most, most), self.again,
        ]  # fmt: skip

    def placed(self, memory: Any) -> Any:
        """`y`, from its memory."""
        strides = tuple(s // self.y.itemsize * memory.itemsize for s in self.y.strides)
        return np.lib.stride_tricks.as_strided(memory, self.y.shape, strides)


@pytest.mark.parametrize("name", sorted(TILES))
@pytest.mark.parametrize("seed", range(10))
def test_it_means_the_sum_over_windows(name: str, seed: int) -> None:
    """Rooms end where they say, nothing is read before it is written, and several strips share what they may."""
    p, tile = Problem(seed, 5), TILES[name]
    for at_once in (0, 1):
        given = p.arguments(tile, np.float64, at_once)
        run_meaning(windows, tile, given, writable=("y", "room", "lines"))
        assert np.array_equal(p.placed(given[0]), p.expected())


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("seed", range(6))
def test_it_means_the_direct_sum_where_something_is_not_finite(value: float, seed: int) -> None:
    p, tile, rng = Problem(seed, 5), TILES["tiny"], random.Random(seed)
    array = p.x if seed % 2 else p.w
    array[tuple(rng.randrange(n) for n in array.shape)] = value
    with np.errstate(invalid="ignore"):
        given, want = p.arguments(tile, np.float64), p.expected()
    run_meaning(windows, tile, given, writable=("y", "room", "lines"))
    np.testing.assert_array_equal(p.placed(given[0]), want)


@pytest.mark.parametrize(
    ("dtype", "width"),
    [
        (np.float32, 8),
        (np.float64, 2),
        *(
            pytest.param(dtype, width, marks=pytest.mark.slow)
            for dtype, widths in ((np.float32, (2, 4, 16)), (np.float64, (4, 8)))
            for width in widths
        ),
    ],
)
def test_compiled_it_is_the_sum_over_windows(dtype: Any, width: int) -> None:
    tile = replace(tile_of(dtype, width, 3, 2), depth=5, steps=512)
    for seed in range(60):  # integers and their halves, so that every order of additions gives the same
        p = Problem(seed, 12)
        given = p.arguments(tile, dtype, seed % 3)
        run_compiled(windows, tile, given)
        assert np.array_equal(p.placed(given[0]), p.expected().astype(dtype)), seed


TILE = replace(tile_of(np.float32, 8, 3, 2), depth=5, steps=512)
LARGE = float(np.finfo(np.float32).max)
SPOILS = {
    "nan": [np.nan],
    "inf": [np.inf],
    "both": [np.inf, -np.inf],
    "large": [LARGE / 2, -LARGE / 2],
}


@pytest.mark.parametrize("where", ["places", "taps"])
@pytest.mark.parametrize("what", SPOILS)
def test_what_is_not_finite_is_as_in_the_direct_sum(where: str, what: str) -> None:
    """Infinite where that is and NaN where that is, and elsewhere what it would be without: bit by bit."""
    changed = 0
    for seed in range(12):
        p, rng = Problem(seed, 12), random.Random(seed)
        p.again = 0
        array = p.x if where == "places" else p.w
        clean = p.arguments(TILE, np.float32, seed % 3)
        run_compiled(windows, TILE, clean)
        for value in SPOILS[what]:
            array[tuple(rng.randrange(n) for n in array.shape)] = value
        if what == "large":  # so that nothing but a transform leaves the range
            (p.w if where == "places" else p.x)[...] = 1
        with np.errstate(all="ignore"):
            want = p.expected()
            expected = want.astype(np.float32)
        given = p.arguments(TILE, np.float32, seed % 3)
        run_compiled(windows, TILE, given)
        found = p.placed(given[0])
        if what == "large":
            finite = np.isfinite(expected)
            # a sum of a hundred terms or so, some of them near LARGE, each rounded to 2^-24 of itself
            np.testing.assert_allclose(found[finite], expected[finite], rtol=1e-5, atol=1e-6 * LARGE)
            np.testing.assert_array_equal(np.isfinite(found), finite)
        else:
            np.testing.assert_array_equal(found, expected)
            changed += int((~np.isfinite(expected)).sum())
            same = np.isfinite(expected)
            assert np.array_equal(found[same], p.placed(clean[0])[same])
    assert changed or what == "large"
