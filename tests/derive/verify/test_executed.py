"""What functions say that they run is what a tracer sees."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable
from itertools import islice
from random import Random
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from derive.catalogue import operators
from derive.verify.executed import executed, file_of
from derive.verify.ways import LINES, ways
from kernels.generated import conv1d, max_pool1d, relu
from kernels.runtime import Definition

OPERATORS = {operator.name: operator for operator in operators()}
BRANCHES = """
def sizes(n: int, m: int) -> int:
    \"\"\"A docstring.\"\"\"
    found = 0
    if (
        n > 0
        and (
            m > n
            or m < 0
        )
        and n < 9
    ):
        found = helper(
            n if n > 3 else
            m,
            m,
        )
    elif n == 0:
        found = 7
    else:
        while found < m:
            found += 1
            if found > 2:
                break
        for k in range(m):
            if k == 1:
                continue
            found += k
    return found


def helper(n: int,
        m: int) -> int:
    return n + m
"""


def traced(file: str, run: Callable[[], Any]) -> tuple[set[str], set[int]]:
    functions, lines = set[str](), set[int]()

    def local(frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            lines.add(frame.f_lineno)
        return local

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename != file:
            return None
        functions.add(frame.f_code.co_name)
        return local

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return functions, lines


@pytest.mark.parametrize("n", range(-1, 10, 2))
@pytest.mark.parametrize("m", range(-1, 5))
def test_every_branch_and_line(n: int, m: int) -> None:
    file = f"<{__name__}>"
    names: dict[str, Any] = {}
    exec(compile(f"from __future__ import annotations\n{BRANCHES}", file, "exec"), names)
    text = f"from __future__ import annotations\n{BRANCHES}".splitlines(keepends=True)
    linecache.cache[file] = len(text), None, text, file
    made: Any = SimpleNamespace(sizes=names["sizes"])
    before = made.sizes.__code__
    with executed(made) as (functions, lines):
        found = made.sizes(n, m)
    assert made.sizes.__code__ is before
    assert found == made.sizes(n, m)
    assert (functions, lines) == traced(file, lambda: made.sizes(n, m))


@pytest.mark.parametrize("module", [relu, conv1d, max_pool1d])
def test_of_generated_modules(module: Any) -> None:
    definition: Definition = module.DEFINITION
    for draw, _, _ in islice(ways(OPERATORS[definition.name], definition, Random(0), 1, reach=LINES), 12):
        functions, lines = traced(file_of(definition), draw.found)
        assert draw.functions == functions
        assert draw.lines == lines


def test_a_run_that_fails_leaves_the_module_as_it_was() -> None:
    sizes = relu.DEFINITION.sizes
    before = dict(sizes.__globals__), sizes.__code__
    with pytest.raises(ValueError, match="here"), executed(relu.DEFINITION) as (functions, _):
        sizes(1)
        raise ValueError("here")
    assert functions == {"sizes"}
    assert (dict(sizes.__globals__), sizes.__code__) == before


def test_what_is_not_the_text_of_its_file_runs_as_it_is() -> None:
    """A mutant: run as the text says, it would be no fault."""
    file = f"<{__name__} another>"
    names: dict[str, Any] = {}
    exec(compile("def sizes(n):\n    return n + 2\n", file, "exec"), names)
    text = "def sizes(n):\n    return n + 1\n"
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
    made: Any = SimpleNamespace(sizes=names["sizes"])
    with executed(made) as (functions, lines):
        assert made.sizes(1) == 3
    assert (functions, lines) == ({"sizes"}, {2})
