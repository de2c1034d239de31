"""The shared parts of contractions, as they mean and compiled, against sums written out."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kernels.runtime import Integer1, Real1, Tile, chunk, contract, copy_row, divide, task, work
from kernels.runtime.contraction import (
    block_width,
    consecutive,
    enough_rows,
    even,
    lines_for,
    repeat_last,
    spare,
    strewn,
    turn,
)
from kernels.runtime.simd import Lanes
from tests.kernels.runtime.primitives import run_compiled, run_meaning, tile_of


@task
def contracted(
    out: Real1,
    a: Real1,
    b: Real1,
    room: Real1,
    a_rows: Integer1,
    b_columns: Integer1,
    a_steps: Integer1,
    b_steps: Integer1,
    out_rows: Integer1,
    out_columns: Integer1,
    lines: Integer1,
    rows: int,
    columns: int,
    steps: int,
    scale: int,
    again: int,
    tile: Tile,
    task: int,
    tasks: int,
) -> None:
    contract(
        tile,
        a.pointer(),
        a_rows.pointer(),
        rows,
        b.pointer(),
        b_columns.pointer(),
        columns,
        a_steps.pointer(),
        b_steps.pointer(),
        steps,
        out.pointer(),
        out_rows.pointer(),
        out_columns.pointer(),
        float(scale),
        again != 0,
        room.pointer(),
        lines.pointer(),
    )


@task
def row_copied(
    out: Real1, x: Real1, low: int, span: int, size: int, tile: Tile, task: int, tasks: int
) -> None:
    copy_row(tile, out.pointer(), x.pointer(), x.stride(0), low, span, size)


def tables(rng: random.Random, count: int, kind: str, by: int) -> list[int]:
    """Offsets as tensors have them: side by side, evenly apart, in lines, or any."""
    if kind == "side by side":
        return list(range(count))
    if kind == "apart":
        return [by * k for k in range(count)]
    if kind == "lines":
        return [k // 3 * 3 * by + k % 3 for k in range(count)]
    return rng.sample(range(by * count), count)


KINDS = ("side by side", "apart", "lines", "any")
TILES = {
    "tiny": Tile(Lanes(2, float), 2, 2),
    "deep": Tile(Lanes(4, float), 3, 2, depth=7),
    "one": Tile(Lanes(8, float), 1, 1, depth=2),
}


def problem(seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    rows, columns, steps = rng.randint(1, 40), rng.randint(1, 21), rng.randint(0, 19)
    kinds = [rng.choice(KINDS) for _ in range(4)]
    by = rng.randint(2, 4)
    a_rows, a_steps = tables(rng, rows, kinds[0], by), tables(rng, max(steps, 1), kinds[1], by)
    b_columns, b_steps = tables(rng, columns, kinds[2], by), tables(rng, max(steps, 1), kinds[3], by)
    # every element of the result lies elsewhere: rows between columns or the other way round
    first, second = (rows, columns) if rng.random() < 0.5 else (columns, rows)
    gap = rng.randint(1, 2)
    outer, inner = [gap * second * k for k in range(first)], [gap * k for k in range(second)]
    out_rows, out_columns = (outer, inner) if first == rows else (inner, outer)
    generator = np.random.default_rng(seed)
    numbers = lambda n: generator.integers(-4, 5, n).astype(float)
    return {
        "sizes": (rows, columns, steps),
        "tables": (a_rows, b_columns, a_steps, b_steps, out_rows, out_columns),
        "a": numbers(max(a_rows) + max(a_steps) + 1),
        "b": numbers(max(b_columns) + max(b_steps) + 1),
        "out": numbers(max(out_rows) + max(out_columns) + 1),
        "scale": rng.choice([1, 1, 3]),
        "again": rng.randint(0, 1),
    }


def expected(p: dict[str, Any]) -> Any:
    rows, columns, steps = p["sizes"]
    a_rows, b_columns, a_steps, b_steps, out_rows, out_columns = p["tables"]
    out = p["out"].copy()
    for r in range(rows):
        for j in range(columns):
            total = sum(
                p["a"][a_rows[r] + a_steps[t]] * p["b"][b_columns[j] + b_steps[t]] for t in range(steps)
            )
            at = out_rows[r] + out_columns[j]
            out[at] = p["scale"] * total + (out[at] if p["again"] else 0)
    return out


def arguments(p: dict[str, Any], tile: Tile, dtype: Any) -> list[Any]:
    rows, columns, steps = p["sizes"]
    a_rows, b_columns, a_steps, b_steps, out_rows, out_columns = p["tables"]
    # a last, partial tile repeats a row
    padded = [t + [t[-1]] * spare(tile) for t in (a_rows, b_columns, out_rows, out_columns)]
    a_rows, b_columns, out_rows, out_columns = padded
    integers = [np.array(t, np.int64) for t in (a_rows, b_columns, a_steps, b_steps, out_rows, out_columns)]
    # the scratch begins at a multiple of 64 bytes, as the executor's does
    room = np.full(work(tile, rows, columns) + 16, np.nan)
    return [
        p["out"].astype(dtype),
        p["a"].astype(dtype),
        p["b"].astype(dtype),
        room.astype(dtype),
        *integers,
        np.zeros(lines_for(tile), np.int64),
        rows,
        columns,
        steps,
        p["scale"],
        p["again"],
    ]


@pytest.mark.parametrize("name", sorted(TILES))
@pytest.mark.parametrize("seed", range(12))
def test_contract_means_the_sum_over_its_tables(name: str, seed: int) -> None:
    p, tile = problem(seed), TILES[name]
    given = arguments(p, tile, np.float64)
    writable_room(given, tile)
    assert np.array_equal(given[0], expected(p))


def writable_room(given: list[Any], tile: Tile) -> None:
    """Interpret the task; `room` stands for its scratch, so it may be written like one."""
    run_meaning(contracted, tile, given, writable=("out", "room", "lines"))


@pytest.mark.parametrize(
    ("dtype", "width"),
    [
        (np.float32, 8),
        *(
            pytest.param(dtype, width, marks=pytest.mark.slow)  # each is compiled in ten seconds
            for dtype, widths in ((np.float32, (2, 4, 16)), (np.float64, (2, 4, 8, 16)))
            for width in widths
        ),
    ],
)
def test_contract_compiled_is_the_sum_over_its_tables(dtype: Any, width: int) -> None:
    tile = replace(tile_of(dtype, width, 3, 2), depth=5)
    for seed in range(60):  # integers, so that every order of additions gives the same
        p = problem(seed)
        given = arguments(p, tile, dtype)
        run_compiled(contracted, tile, given)
        assert np.array_equal(given[0], expected(p).astype(dtype)), seed


def test_rows_of_another_task_are_left_alone() -> None:
    """Rows behind those of a call, in the same tables: what a partial tile repeats are its own rows."""
    rng = np.random.default_rng(0)
    for name, tile in {**TILES, "wide": Tile(Lanes(8, float), 6, 2)}.items():
        tile = replace(tile, depth=16)
        for rows in range(1, 14):
            whole, columns, steps = rows + 8, 16, 12
            p = {
                "sizes": (whole, columns, steps),
                "tables": (
                    [steps * r for r in range(whole)],
                    list(range(columns)),
                    list(range(steps)),
                    [columns * t for t in range(steps)],
                    [columns * r for r in range(whole)],
                    list(range(columns)),
                ),
                "a": rng.integers(-4, 5, whole * steps).astype(float),
                "b": rng.integers(-4, 5, columns * steps).astype(float),
                "out": rng.integers(-4, 5, whole * columns).astype(float),
                "scale": 1,
                "again": 1,
            }
            given = arguments(p, tile, np.float64)
            given[-5] = rows
            writable_room(given, tile)
            want = expected(p)
            want[rows * columns :] = p["out"][rows * columns :]
            assert np.array_equal(given[0], want), (name, rows)


@pytest.mark.parametrize("width", [2, 4, 8])
def test_a_row_is_copied_with_zeros_where_it_has_no_element(width: int) -> None:
    x = np.arange(1.0, 20.0)
    for low in range(-9, 12):
        for span in range(13):
            for size in (0, 1, 5, 9):
                for step in (1, 2, -1):
                    view = x[::step][:9] if step > 0 else x[8::-1]
                    want = [view[i] if 0 <= i < size else 0.0 for i in range(low, low + span)]
                    for run in (run_meaning, run_compiled):
                        out = np.full(13 + 2 * width, 7.0)
                        run(row_copied, tile_of(np.float64, width), [out, view, low, span, size])
                        assert out[:span].tolist() == want, (low, span, size, step, run)
                        assert (out[span + width :] == 7).all()


def test_chunks_are_equal_and_not_larger_than_asked() -> None:
    for most in (1, 4, 6, 100):
        for first in range(8):
            for second in range(8):
                for rest in (1, 3, 10):
                    one, two = chunk(most, first, second, rest)
                    assert min(one, two) >= 1
                    assert one == 1 or two == max(1, second), (
                        "several first indices only with all second ones"
                    )
                    assert second == 0 or one * two * rest <= max(most, rest)
                    if one > 1:
                        blocks = -(-first // one)
                        assert one == -(-first // blocks)


def test_no_task_has_much_more_work_than_its_share() -> None:
    tile = Tile(Lanes(2, float), 2, 2)
    for tasks in (1, 2, 3, 8):
        for others in (1, 2, 5):
            for first in (1, 2, 7):
                for second in (1, 6, 30):
                    for columns in (1, 8, 40):
                        taken = chunk(tile.rows, first, second, 1)
                        one, two, groups = divide(tile, tasks, others, first, second, taken, columns)
                        assert min(one, two) >= 1
                        assert (one, two) <= taken
                        units = others * -(-first // one) * -(-second // two) * groups
                        longest = -(-units // tasks) * one * two / groups
                        assert longest <= 2 * others * first * second / tasks + 1


def test_runs_in_a_table() -> None:
    assert even([3, 5, 7, 9, 10], 5) == 4  # type: ignore[arg-type]
    assert even([3], 1) == 1  # type: ignore[arg-type]
    assert even([3, 9], 2) == 2  # type: ignore[arg-type]
    assert consecutive([3, 4, 5, 7], 4) == 3  # type: ignore[arg-type]
    assert consecutive([3, 4, 5, 7], 2) == 2  # type: ignore[arg-type]
    table = [4, 5, 0, 0, 0, 0, 0]
    repeat_last(Tile(Lanes(2, float), 3, 1), table, 2)  # type: ignore[arg-type]
    assert table == [4, 5, 5, 5, 5, 5, 5]


def test_steps_are_strewn_if_they_jump_in_memory_more_often_than_a_cache_bears() -> None:
    tile = Tile(Lanes(4, float), 3, 2, depth=64)
    rows = lambda apart: [apart * k for k in range(3)]
    near, jumps, runs = (
        list(range(64)),
        [1000 * k for k in range(64)],
        [1000 * (k // 8) + k for k in range(64)],
    )
    assert not strewn(tile, rows(1000), 3, near, 64)  # type: ignore[arg-type]
    assert strewn(tile, rows(1), 3, jumps, 64)  # type: ignore[arg-type]
    assert not strewn(tile, rows(1), 3, runs, 64), "a jump, then a run"  # type: ignore[arg-type]
    assert strewn(tile, rows(1000), 3, runs, 64), "each row jumps by itself"  # type: ignore[arg-type]
    twos = [256 * k for k in range(64)]
    assert strewn(tile, rows(1), 3, twos, 64), (
        "a power of two apart: all compete for a few lines of the cache"
    )  # type: ignore[arg-type]
    lines = [100 * k for k in range(64)]
    assert not strewn(tile, rows(1), 3, lines, 64), "lines of an image, many to a page"  # type: ignore[arg-type]


def test_blocks_of_panels_are_about_equal() -> None:
    tile = Tile(Lanes(4, float), 3, 2, depth=512)  # panels of 8 columns, at most 8 of them
    assert block_width(tile, 100, 512, False, False) == 8, "one panel fills the nearest cache"
    assert block_width(tile, 100, 64, False, False) == 32, "of few steps several do: 13 panels in four blocks"
    assert block_width(tile, 60, 512, True, False) == 60
    assert block_width(tile, 65, 512, True, False) == 40, "9 panels: 5 and 4"
    assert block_width(tile, 60, 512, True, True) == 32, "what is packed next takes as much of the cache"


def test_a_tile_of_repeated_rows_takes_less_time_than_several_short_ones() -> None:
    avx2, avx512 = Tile(Lanes(8, float), 6, 2), Tile(Lanes(16, float), 6, 4)
    assert enough_rows(avx2, avx2.short) == 3, "two rows: four sums that wait for each other, 4 cycles of 6"
    assert enough_rows(avx512, avx512.short) == 6, "two rows: eight sums, 4 cycles of 12"
    tiny = Tile(Lanes(2, float), 2, 2)
    assert enough_rows(tiny, tiny.short) == 2, "in an exact run short tiles occur too"


def test_the_operand_that_is_less_work_to_pack_is_packed() -> None:
    tile = Tile(Lanes(16, float), 6, 4, rows=1536, steps=4096, depth=128)

    def turned(rows: int, columns: int, steps: int, a: tuple[int, int], out: tuple[int, int]) -> bool:
        """a: how far apart rows and steps lie in A; out: rows and columns in the result. B's steps lie side by side."""
        given = zip((rows, columns, steps, steps, rows, columns), (a[0], steps, a[1], 1, *out), strict=True)
        a_rows, b_columns, a_steps, b_steps, out_rows, out_columns = (
            [k * by for k in range(n)] for n, by in given
        )
        return turn(
            tile,
            a_rows,
            rows,
            b_columns,
            columns,
            a_steps,
            b_steps,
            steps,
            out_rows,
            out_columns,  # type: ignore[arg-type]
        )

    assert turned(512, 3, 100, (1, 600), (1, 600)), "few columns: the rows are packed"
    assert not turned(3, 512, 100, (100, 1), (600, 1)), "few rows: the columns are packed"
    assert turned(1536, 64, 256, (1, 3136), (1, 3136)), "each step on a page of its own: it is read once"
    assert not turned(1536, 64, 576, (1, 1), (1, 3136)), "columns in line, many rows: packing is little work"
    assert not turned(64, 3, 0, (1, 1), (1, 64)), "nothing to do"
