"""Operators that nobody thought of, each through the whole line.

Drawn by `tests.support.operators`; every emitted program, executed exactly, against dual numbers worked out from
the equations as drawn. What the engine refuses, it refuses with a SpecError; a drawn operator without a finite value
(an empty maximum) counts as undefined. `pytest -s` prints what was drawn.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from derive.errors import SpecError
from derive.pipeline import Derivation
from tests.support.line import PROGRAMS, Trial, Undefined, through, trial
from tests.support.operators import Drawn, disguised, operators
from tests.support.renaming import lowered

QUIET = list(HealthCheck)


class Tally:
    """How many, of what, and what became of them."""

    def __init__(self) -> None:
        self.fate: Counter[str] = Counter()
        self.mix: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.undefined: Counter[str] = Counter()
        self.voids: Counter[str] = Counter()

    def take(self, drawn: Drawn, check: Callable[[Drawn], None]) -> None:
        self.fate["drawn"] += 1
        self.mix.update(set(drawn.features))
        try:
            check(drawn)
            self.fate["checked"] += 1
        except SpecError as error:
            self.fate["refused"] += 1
            self.refusals[re.sub(r"`[^`]*`|\w+\[[^ ]*\]|-?\d+", "*", error.message)[:90]] += 1
        except Undefined as error:
            self.fate["undefined"] += 1
            self.voids[re.sub(r"[\w\[\],]+ =|-?\d+", "*", str(error))[:90]] += 1

    def __str__(self) -> str:
        lines = [", ".join(f"{n} {fate}" for fate, n in self.fate.most_common())]
        lines += [f"    refused {n}: {why}" for why, n in self.refusals.most_common()]
        lines += [f"    undefined {n}: {why}" for why, n in self.voids.most_common()]
        lines += [f"    undefined {n}: {why}" for why, n in self.undefined.most_common()]
        lines += ["    " + ", ".join(f"{what} {n}" for what, n in self.mix.most_common())]
        return "\n".join(lines)

    def judge(self) -> None:
        print(f"\n{self}")
        assert self.fate["refused"] <= 0.1 * self.fate["drawn"], "more than a tenth is refused"
        assert self.fate["undefined"] <= max(4, 0.2 * self.fate["drawn"]), (
            "the strategy draws too many operators without a value"
        )


def sweep(check: Callable[[Drawn], None], count: int, start: int | None = None) -> None:
    """Draw `count` operators: those of a seed, or those that Hypothesis takes for the test."""
    tally = Tally()

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=QUIET,
        derandomize=start is None,
        print_blob=False,
        phases=(Phase.generate, Phase.shrink)
        if os.environ.get("SHRINK")
        else (Phase.generate,),  # shrinking takes minutes
    )
    @given(operators())
    def run(drawn: Drawn) -> None:
        tally.take(drawn, check)

    (run if start is None else seed(start)(run))()
    tally.judge()


def ready(drawn: Drawn, folder: Path) -> tuple[Derivation, Trial]:
    made, definition = through(drawn.operator, folder)
    return made, trial(definition, drawn.case, drawn.case.integers.get("seed", len(str(drawn.operator))) % 8)


# ---- the checks --------------------------------------------------------------------------------


def exact(folder: Path) -> Callable[[Drawn], None]:
    """forward, vjp, jvp, vjp of vjp and jvp of vjp equal the reference."""

    def check(drawn: Drawn) -> None:
        _, t = ready(drawn, folder)
        for program in PROGRAMS:
            t.check(program)

    return check


def same_in_disguise(folder: Path) -> Callable[[Drawn], None]:
    """Other names, other axis orders: the same lowering and the same numbers."""

    def check(drawn: Drawn) -> None:
        made, t = ready(drawn, folder)
        disguise, case = disguised(drawn, len(str(drawn.operator)))
        again, definition = through(disguise.operator, folder)
        other = trial(definition, case, t.seed)
        assert lowered(made) == lowered(again), f"{drawn.operator}\n{disguise.operator}"
        for program in PROGRAMS:
            arrays, expected = t.problem(program)
            want = disguise.arrays(expected)
            found = other.run(program, disguise.arrays(arrays), list(want))
            for name, value in want.items():
                other.compare(program, name, found[name], value)

    return check


def compiled(folder: Path) -> Callable[[Drawn], None]:
    """float64, compiled."""

    def check(drawn: Drawn) -> None:
        _, t = ready(drawn, folder)
        for program in PROGRAMS:
            t.compiled(program)

    return check


# ---- the tests ---------------------------------------------------------------------------------


def test_exact(tmp_path: Path) -> None:
    sweep(exact(tmp_path), 20, 1)


def test_same_in_disguise(tmp_path: Path) -> None:
    sweep(same_in_disguise(tmp_path), 8)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(10))
def test_exact_many(start: int, tmp_path: Path) -> None:
    sweep(exact(tmp_path), 80, start)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(3))
def test_same_in_disguise_many(start: int, tmp_path: Path) -> None:
    sweep(same_in_disguise(tmp_path), 40, start)


@pytest.mark.slow
def test_compiled(tmp_path: Path) -> None:
    sweep(compiled(tmp_path), 25)


def test_disguise_is_another_operator(tmp_path: Path) -> None:
    """Every name differs, and every array still fits."""
    seen = []

    @settings(
        max_examples=20,
        deadline=None,
        database=None,
        suppress_health_check=QUIET,
        derandomize=True,
        phases=(Phase.generate,),
    )
    @given(operators())
    def run(drawn: Drawn) -> None:
        disguise, case = disguised(drawn, 3)
        seen.append(disguise)
        assert {np.asarray(v).size for v in case.inputs.values()} == {
            np.asarray(v).size for v in drawn.case.inputs.values()
        }
        written = {s.target.tensor.name for s in drawn.operator.statements}
        assert any(disguise.names[name] != name for name in written)

    run()
    assert any(order != tuple(sorted(order)) for d in seen for order in d.orders.values())
