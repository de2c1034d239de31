"""Every line and branch of a generated module runs in exact runs: nothing compiled goes unproved.

Configurations are drawn, as verification draws them, until all has run. What a module holds that no small
configuration reaches fails here with its line numbers. One kind of branch is exempt: a place that a stored index
gives is tested before it is used, and an argmax of the same module stores none that fails the test.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

coverage = pytest.importorskip("coverage")

from derive.catalogue import operators  # noqa: E402
from derive.spec import load_definition  # noqa: E402
from derive.verify import CHECKS  # noqa: E402

GENERATED = Path(__file__).parents[2] / "kernels" / "generated"
EXACT = ("exact_forward", "exact_vjp", "exact_jvp", "exact_vjp_vjp", "exact_vjp_jvp")
OPERATORS = ("relu", "avg_pool1d")  # the others need more draws than a test can afford
GUARD = re.compile(r"\s+if 0 <= \w+ < \w+:$")
ROUNDS, DRAWS = 40, 10  # rounds of so many configurations of each program, at most


class Measured:
    """Which lines and branches of one file have run."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.report = path, folder / "coverage.json"
        self.coverage = coverage.Coverage(
            branch=True, data_file=None, config_file=False, include=[str(path)], messages=False
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        self.coverage.start()
        try:
            yield
        finally:
            self.coverage.stop()

    def missing(self) -> list[str]:
        self.coverage.json_report(outfile=str(self.report))
        (found,) = json.loads(self.report.read_text())["files"].values()
        lines, text = found["missing_lines"], self.path.read_text(encoding="utf-8").splitlines()
        branches = [(a, b) for a, b in found["missing_branches"] if a not in lines and b not in lines]
        branches = [(a, b) for a, b in branches if not GUARD.match(text[a - 1])]
        return [f"line {n}" for n in lines] + [f"{a} -> {b}" for a, b in branches]


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATORS)
def test_exact_runs_reach_everything(name: str, tmp_path: Path) -> None:
    if coverage.Coverage.current() is not None:
        pytest.skip("coverage is being measured already")
    operator = next(o for o in operators() if o.name == name)
    measured = Measured(GENERATED / f"{name}.py", tmp_path)
    with measured.running():
        definition = load_definition(measured.path)
    missing = measured.missing()
    for number in range(ROUNDS):
        with measured.running():
            for check in EXACT:
                for draw in range(DRAWS):
                    CHECKS[check](operator, definition, random.Random(f"{check} {number} {draw}"))
        missing = measured.missing()
        if not missing:
            break
    assert not missing


def test_what_never_runs_is_found(tmp_path: Path) -> None:
    path = tmp_path / "planted.py"
    path.write_text("def f(n, m):\n    if n > 1:\n        return 2\n    if m:\n        n = 3\n    return n\n")
    measured, space = Measured(path, tmp_path), dict[str, Any]()
    with measured.running():
        exec(compile(path.read_text(), str(path), "exec"), space)
        space["f"](1, True)
    assert measured.missing() == ["line 3", "4 -> 6"]
