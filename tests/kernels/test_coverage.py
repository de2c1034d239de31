"""Every line and branch of a generated module runs in exact runs: nothing compiled goes unproved.

Configurations are drawn, as verification draws them, until all has run. What a module holds that no small
configuration reaches fails here with its line numbers. One kind of branch is exempt: a place that a stored index
gives is tested before it is used, and an argmax of the same module stores none that fails the test.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

coverage = pytest.importorskip("coverage")

from derive.catalogue import operators  # noqa: E402
from derive.spec import load_definition  # noqa: E402
from derive.verify import CHECKS  # noqa: E402
from derive.verify.aimed import BRANCHES, Aim  # noqa: E402
from derive.verify.checks import available  # noqa: E402
from derive.verify.exhaustive import run_box  # noqa: E402
from derive.verify.reached import Reached  # noqa: E402
from derive.verify.running import DIGITS  # noqa: E402

GENERATED = Path(__file__).parents[2] / "kernels" / "generated"
EXACT = ("exact_forward", "exact_vjp", "exact_jvp", "exact_vjp_vjp", "exact_vjp_jvp")
OPERATORS = ("relu", "avg_pool1d")  # the others need more draws than a test can afford
BOXED = (
    "relu",
    pytest.param("avg_pool1d", marks=pytest.mark.slow),
)  # whose box is small enough to be run whole
ROUNDS, DRAWS = 40, 10  # rounds of so many configurations of each program, at most


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATORS)
def test_exact_runs_reach_everything(name: str) -> None:
    if coverage.Coverage.current() is not None:
        pytest.skip("coverage is being measured already")
    operator = next(o for o in operators() if o.name == name)
    reached = Reached(GENERATED / f"{name}.py")
    with reached.running():
        definition = load_definition(reached.path)
    missing = reached.missing()
    for number in range(ROUNDS):
        with reached.running():
            for check in EXACT:
                for draw in range(DRAWS):
                    CHECKS[check](operator, definition, random.Random(f"{check} {number} {draw}"))
        missing = reached.missing()
        if not missing:
            break
    assert not missing


@pytest.mark.parametrize("name", BOXED)
def test_a_box_reaches_everything(name: str) -> None:
    if coverage.Coverage.current() is not None:
        pytest.skip("coverage is being measured already")
    operator = next(o for o in operators() if o.name == name)
    reached = Reached(GENERATED / f"{name}.py")
    with reached.running():
        run_box(operator, load_definition(reached.path))
    assert reached.missing() == []


@pytest.mark.parametrize("name", ["avg_pool1d", "global_max_pool"])
def test_aimed_draws_reach_everything(name: str) -> None:
    """Each of them run once, some thirty in all."""
    if coverage.Coverage.current() is not None:
        pytest.skip("coverage is being measured already")
    operator = next(o for o in operators() if o.name == name)
    reached = Reached(GENERATED / f"{name}.py")
    with reached.running():
        definition = load_definition(reached.path)
    rng = random.Random(1)
    aim = Aim(operator, definition, rng, available(definition), reach=BRANCHES)
    with reached.running():
        runs = [draw.over(DIGITS).found() for draw in aim.draws()]
    assert len(runs) < 60
    assert reached.missing() == []


def test_what_never_runs_is_found(tmp_path: Path) -> None:
    path = tmp_path / "planted.py"
    path.write_text("def f(n, m):\n    if n > 1:\n        return 2\n    if m:\n        n = 3\n    return n\n")
    reached, space = Reached(path), dict[str, Any]()
    with reached.running():
        exec(compile(path.read_text(), str(path), "exec"), space)
        space["f"](1, True)
    assert reached.missing() == ["line 3: return 2", "4 -> 6: if m:"]
