"""Copies with zeros around them and woven lines, as they mean and compiled, against what is written out here."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from kernels.runtime import Real1, Tile, ceil_div, copy_lines, task, weave
from tests.kernels.runtime.primitives import run_compiled, run_meaning, tile_of


@task
def copied(
    out: Real1,
    x: Real1,
    start: int,
    pitch: int,
    plane: int,
    apart: int,
    first: int,
    lines: int,
    height: int,
    step: int,
    stride: int,
    low: int,
    span: int,
    length: int,
    tile: Tile,
    task: int,
    tasks: int,
) -> None:
    copy_lines(
        tile, out.pointer(), pitch, plane, x.pointer(start), apart, first, lines, height, step, stride, low, span,
        length,
    )  # fmt: skip


@task
def woven(
    out: Real1,
    x: Real1,
    apart: int,
    step: int,
    pitch: int,
    plane: int,
    lines: int,
    classes: int,
    count: int,
    add: int,
    tile: Tile,
    task: int,
    tasks: int,
) -> None:
    weave(tile, out.pointer(), apart, step, x.pointer(), pitch, plane, lines, classes, count, add != 0)


CASES = [(float, 1), (np.float32, 2), (float, 4), (np.float32, 8), (np.float32, 16)]


@pytest.mark.parametrize(("dtype", "width"), CASES)
def test_copies_of_lines(dtype: Any, width: int) -> None:
    """Any stride and step, backwards too; a few elements, or none, inside: nothing else is read or left out."""
    rng = random.Random(width)
    tile, some = tile_of(dtype, width), max(4, width)
    ran = [0, 0]
    for trial in range(150):
        stride, step = rng.choice([1, 1, 2, 2, 2, 3, 5]), rng.choice([1, 1, 1, 2, -1, -3])
        height, length = (
            rng.randint(0, 6),
            rng.choice([0, 1, rng.randint(2, 6 * some), rng.randint(2, 6 * some)]),
        )
        lines, span = rng.randint(0, 5), rng.randint(1, 4 * some)
        first, low = rng.randint(-3, 2), rng.randint(-2 * some, 2 * some)
        pitch = span + rng.randint(0, 2)
        plane = max(lines, 1) * pitch + width
        apart = abs(step) * length + rng.randint(0, 3)
        x = np.arange(1, height * apart + 2).astype(dtype)
        start = abs(step) * max(0, length - 1) if step < 0 else 0
        values = (start, pitch, plane, apart, first, lines, height, step, stride, low, span, length)
        for run in (run_meaning, run_compiled) if trial % 3 == 0 else (run_meaning,):
            out = np.full(stride * plane, -7, dtype)
            run(copied, tile, [out, x, *values])
            for c in range(stride):
                for line in range(lines):
                    for i in range(span):
                        row, at = first + line, low + c + i * stride
                        inside = 0 <= row < height and 0 <= at < length
                        expected = x[start + row * apart + at * step] if inside else 0
                        assert out[c * plane + line * pitch + i] == expected, (values, c, line, i)
                        ran[inside] += 1
    assert min(ran) > 500


@pytest.mark.parametrize(("dtype", "width"), CASES)
def test_lines_are_woven(dtype: Any, width: int) -> None:
    """Each element of the target once, added or not, and nothing between or behind them."""
    rng = random.Random(width)
    tile = tile_of(dtype, width)
    for trial in range(100):
        classes, step = rng.choice([2, 2, 2, 1, 3]), rng.choice([1, 1, 2])
        lines, count, add = rng.randint(1, 3), rng.randint(0, 6 * width), rng.randint(0, 1)
        pitch = ceil_div(ceil_div(count, classes), width) * width + width
        plane = lines * pitch
        apart = count * step + rng.randint(0, 2)
        x = np.arange(1, classes * plane + 1).astype(dtype)
        before = np.arange(1, lines * apart + 2).astype(dtype) * 1000
        expected = before.copy()
        for line in range(lines):
            for j in range(count):
                value = x[j % classes * plane + line * pitch + j // classes]
                at = line * apart + j * step
                expected[at] = value + (before[at] if add else 0)
        values = (apart, step, pitch, plane, lines, classes, count, add)
        for run in (run_meaning, run_compiled) if trial % 3 == 0 else (run_meaning,):
            out = before.copy()
            run(woven, tile, [out, x, *values])
            assert (out == expected).all(), values
