"""What decides in a task, run alone, comes to the lines that the task comes to."""

from __future__ import annotations

import ast
import linecache
from fractions import Fraction
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from derive.catalogue import operators
from derive.verify.aimed import Aim
from derive.verify.control import PURE, Control, Table, Unending, Writer
from derive.verify.draws import lines_of, tasks_of
from derive.verify.ways import LINES, ways
from kernels.generated import avg_pool1d, conv1d, log_softmax, max_pool1d, relu
from kernels.runtime.simd import Lanes, Tile

OPERATORS = {operator.name: operator for operator in operators()}
TASK = """
def spread(y: Real1, x: Real1, N: int, s: int, tile: Tile, task: int, tasks: int) -> None:
    lanes = tile.lanes
    together = y.stride(0) == 1
    together = together and x.stride(0) == s
    for start in range(0, N, lanes.width):
        count = min(lanes.width, N - start)
        active = lanes.first(count)
        if together and count == lanes.width:
            lanes.write_where(y.line((start,), (1,)), lanes.zero(), active)
        elif x[start] > 0:
            y[start] = x[start]
"""


def noted(text: str, *arguments: Any) -> set[tuple[Any, ...]]:
    """What a function of this text comes to, `goal[0]` counted from 1."""
    (function,) = ast.parse(text).body
    assert isinstance(function, ast.FunctionDef)
    names: dict[str, Any] = {}
    exec(f"from __future__ import annotations\n{text}", names)
    made = SimpleNamespace(sizes=names[function.name])
    file = made.sizes.__code__.co_filename
    before = linecache.cache.get(file)
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
    try:
        watch = Control.of(made).ready(Random(0))  # type: ignore[arg-type]
    finally:
        linecache.cache.pop(file)
        if before is not None:
            linecache.cache[file] = before
    watch.run(function.name, arguments)
    return watch.notes.goals


BY_ELEMENTS = ("if total != zero():", "if value > best")  # what an element decides


class Strides:
    def __init__(self, *strides: int) -> None:
        self.strides = strides

    def stride(self, axis: int) -> int:
        return self.strides[axis]


def reduced(text: str) -> str:
    (function,) = ast.parse(text).body
    assert isinstance(function, ast.FunctionDef)
    return ast.unparse(ast.fix_missing_locations(Writer(function, PURE, 0).written()))


def test_what_decides_is_left() -> None:
    text = reduced(TASK)
    assert "write_where" not in text
    assert "x[" not in text  # an element decides nothing here: it goes at random
    assert "NOTES.maybe()" in text
    assert "range(0, N, lanes.width)" in text
    assert "count = NOTES.least(" in text
    assert text.count("together = NOTES.every(") == 1  # joined, so that each part may decide alone


def test_what_is_noted() -> None:
    tile = Tile(Lanes(2, Fraction), 2, 2)
    whole = noted(TASK, Strides(1), Strides(3), 4, 3, tile, 0, 1)
    tail = noted(TASK, Strides(1), Strides(3), 5, 3, tile, 0, 1)
    apart = noted(TASK, Strides(1), Strides(2), 4, 3, tile, 0, 1)
    none = noted(TASK, Strides(1), Strides(3), 0, 3, tile, 0, 1)
    turns = [{g[-1] for g in of if g[1:2] == ("turns",)} for of in (whole, tail, none)]
    assert turns == [{2}, {2}, {0}]
    parts = [{g[2:] for g in of if g[1:2] == ("part",)} for of in (whole, tail, apart)]
    assert parts == [{()}, {(), (1,)}, {(1,), (0,)}]
    assert len(none) < len(apart) < len(whole) < len(tail)


def test_a_comparison_is_below_at_or_above() -> None:
    text = "def f(n: int, m: int) -> bool:\n    return n < m and m < 9\n"
    orders = [
        {g[2] for g in noted(text, n, m) if g[1:2] == ("order",)} for n, m in ((1, 2), (2, 2), (3, 2), (8, 9))
    ]
    assert orders == [{-1}, {0}, {1}, {0}]  # of the part that decides; of both where both hold


def test_tables_are_read_back() -> None:
    text = """
def f(table: IntegerScratch, N: int) -> None:
    ends = table + N
    for n in range(N):
        ends[n] = n * n
    for k in range(ends[1], ends[2]):
        pass
"""
    assert {g[2] for g in noted(text, None, 3) if g[1:2] == ("turns",)} == {2}
    table = Table({}) + 2
    table[1] = 5
    assert (table + 1)[0] == 5


def test_what_does_not_end_is_given_up() -> None:
    with pytest.raises(Unending):
        noted("def f(n: int) -> None:\n    while n > 0:\n        n = n + 1\n", 1)


@pytest.mark.parametrize("module", [relu, avg_pool1d, conv1d, log_softmax])
def test_it_comes_to_what_the_run_comes_to(module: Any) -> None:
    """Block for block, where no element decides."""
    definition = module.DEFINITION
    operator = OPERATORS[definition.name]
    aim = Aim(operator, definition, Random(0), list(tasks_of(definition)))
    own = set().union(*lines_of(definition).values())
    text = Path(module.__file__).read_text(encoding="utf-8").splitlines()
    blocks = {
        (b,): lines.start
        for b, lines in aim.control.blocks.items()
        if lines.start in own and not any(test in text[lines.start - 2] for test in BY_ELEMENTS)
    }
    compared = 0
    for draw, _, _ in ways(operator, definition, Random(0), 1, reach=LINES):
        candidate = aim.seen(draw)
        assert candidate is not None
        said = {blocks[goal] for goal in candidate.goals if goal in blocks}  # type: ignore[index]
        assert said == draw.lines & set(blocks.values())
        compared += len(said)
    assert compared > 10


@pytest.mark.parametrize("module", [relu, max_pool1d, log_softmax])
def test_aimed_runs_come_to_every_line(module: Any) -> None:
    definition = module.DEFINITION
    lines = set().union(*lines_of(definition).values())
    text = Path(module.__file__).read_text(encoding="utf-8").splitlines()
    for draw, _, _ in ways(OPERATORS[definition.name], definition, Random(1), 1, reach=LINES):
        lines -= draw.lines
    assert [text[n - 1] for n in sorted(lines)] == []
