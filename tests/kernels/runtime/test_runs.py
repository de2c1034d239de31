"""Runs of rows and places, as they mean and compiled, against what is written out here."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from kernels.runtime import Integer1, add_run, disjoint, list_pairs, list_places, longest_first, task
from tests.kernels.runtime.primitives import run_compiled, run_meaning, tile_of

ROWS = 9
ROOM = 60  # for each list


@task
def told(out: Integer1, given: Integer1, many: int, rows: int, task: int, tasks: int) -> None:
    """out: how many runs, the longest, disjoint, single, pairs; then the runs, starts, places, rows and places of pairs."""
    runs, starts, places = out.pointer(ROOM), out.pointer(3 * ROOM), out.pointer(4 * ROOM)
    kept = 0
    for k in range(many):
        at = 5 * k
        kept = add_run(runs, kept, given[at], given[at + 1], given[at + 2], given[at + 3], given[at + 4])
    out[0] = kept
    out[1] = longest_first(runs, kept)
    out[2] = 1 if disjoint(runs, kept) else 0
    out[3] = 1 if list_places(runs, kept, rows, out.pointer(7 * ROOM), starts, places) else 0
    out[4] = list_pairs(runs, 0, kept, out.pointer(5 * ROOM), out.pointer(6 * ROOM))


def drawn(rng: random.Random) -> list[list[int]]:
    """Some runs, empty ones among them: rows up or one row only, places up, down or one place only."""
    found = []
    for _ in range(rng.randint(0, 4)):
        count = rng.randint(0, 5)
        found.append(
            [rng.randint(0, ROWS - max(1, count)), rng.choice((1, 1, 0)), 20, rng.choice((-1, 0, 1)), count]
        )
    return found


SPECIAL = [
    [],
    [[0, 1, 3, 1, ROWS]],
    [[0, 1, 3, 1, 4], [4, 1, 9, -1, 5]],
    [[4, 1, 9, 1, 5], [0, 1, 3, -1, 4]],
    [[0, 1, 3, 1, 5], [4, 1, 9, -1, 4]],
    [[0, 0, 3, 1, ROWS]],
    [[k, 1, k, 1, 1] for k in range(ROWS)],
]


@pytest.mark.parametrize("seed", range(-len(SPECIAL), 40))
@pytest.mark.parametrize("run", [run_meaning, run_compiled])
def test_lists(seed: int, run: Any) -> None:
    given = SPECIAL[seed] if seed < 0 else drawn(random.Random(seed))
    out = np.full(8 * ROOM, -1, np.int64)
    flat = np.array([v for r in given for v in r] or [0], np.int64)
    run(told, tile_of(float, 2), [out, flat, len(given), ROWS])
    kept = [r for r in given if r[4] > 0]
    pairs = [(r[0] + i * r[1], r[2] + i * r[3]) for r in kept for i in range(r[4])]
    side = max((r[4] for r in kept if r[1] == r[3] == 1), default=0)
    single = len({row for row, _ in pairs}) == len(pairs)
    assert out[:5].tolist() == [len(kept), side, single, single, len(pairs)]
    starts, places, rows, columns, only = (out[k * ROOM :][:ROOM].tolist() for k in (3, 4, 5, 6, 7))
    for row in range(ROWS):
        assert only[row] == next((place for r, place in pairs[::-1] if r == row), -1) or not single
        assert sorted(places[starts[row] : starts[row + 1]]) == sorted(
            place for r, place in pairs if r == row
        )
    listed = list(zip(rows, columns, strict=True))[: len(pairs)]
    assert sorted(listed) == sorted(pairs)
    assert side == 0 or out[ROOM : ROOM + 5].tolist() in [
        r for r in kept if r[1] == r[3] == 1 and r[4] == side
    ]


def test_many_runs_are_not_compared() -> None:
    """Seventeen rows, each a run of its own: as lists say, but nobody looks whether they are apart."""
    given = [[row, 1, row, 1, 1] for row in range(17)]
    out = np.full(9 * ROOM, -1, np.int64)
    run_meaning(told_far, tile_of(float, 2), [out, np.array(given, np.int64).ravel(), 17, 17])
    assert out[2:4].tolist() == [0, 1]


@task
def told_far(out: Integer1, given: Integer1, many: int, rows: int, task: int, tasks: int) -> None:
    runs = out.pointer(ROOM)
    kept = 0
    for k in range(many):
        kept = add_run(runs, kept, given[5 * k], 1, given[5 * k + 2], 1, 1)
    out[2] = 1 if disjoint(runs, kept) else 0
    out[3] = (
        1
        if list_places(runs, kept, rows, out.pointer(7 * ROOM), out.pointer(3 * ROOM), out.pointer(4 * ROOM))
        else 0
    )
