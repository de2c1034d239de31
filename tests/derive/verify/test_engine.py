"""The engine is imported anew with a fault in it, nobody else sees that, and what it then emits is told or not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from derive.catalogue import operators
from derive.cli import main
from derive.emit.module import module_source
from derive.pipeline import derive
from derive.verify import engine
from derive.verify.engine import Sample, anew, judge_pass, samples, score, table

RELU = next(o for o in operators() if o.name == "relu")
DIFFERENTIATE = "derive.passes.differentiate"
CHOSEN = 12  # faults


@pytest.fixture(scope="module")
def known() -> list[Sample]:
    return samples(("relu",))


def test_the_engine_anew_emits_the_same() -> None:
    before = dict(sys.modules)
    with anew() as emit:
        assert sys.modules["derive.pipeline"] is not before["derive.pipeline"]
        assert emit(RELU) == module_source(derive(RELU))
    assert {n: sys.modules[n] for n in before} == before
    assert sys.modules["derive.pipeline"].derive is derive


def test_a_fault_is_in_the_engine_for_a_while_only() -> None:
    path = Path(sys.modules[DIFFERENTIATE].__file__ or "")
    text = path.read_text(encoding="utf-8")
    broken = compile(text + "\n\ndef vjp(program, prefix):\n    raise ZeroDivisionError\n", str(path), "exec")
    with anew(DIFFERENTIATE, broken) as emit, pytest.raises(ZeroDivisionError):
        emit(RELU)
    assert module_source(derive(RELU))


def test_faults_of_a_pass_are_caught(known: list[Sample]) -> None:
    verdict = judge_pass("passes.differentiate", sample=CHOSEN, known=known)
    assert sum(verdict.counts.values()) == CHOSEN
    assert verdict.caught > 0
    assert verdict.counts["unseen"] > 0  # one operator does not come to every rule
    assert verdict.counts["survived"] == 0, verdict.shown
    assert score([verdict]) == 1
    assert table([verdict]).splitlines()[1].startswith("passes.differentiate ")


def test_what_the_checks_let_pass_is_told_by_larger_runs(
    known: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = judge_pass("passes.differentiate", sample=CHOSEN, known=known)
    monkeypatch.setattr(engine, "_fails", lambda sample, text: False)
    verdict = judge_pass("passes.differentiate", sample=CHOSEN, known=known)
    assert verdict.counts["killed"] == 0
    # some differ at a kink alone, to which numbers of forty bits do not come
    assert verdict.counts["survived"] + verdict.counts["equal"] == checked.counts["killed"]
    assert verdict.counts["survived"] > 0
    assert score([verdict]) < 1


def test_the_command_names_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mutate", "--passes", "--only", "passes.nonsense"]) == 1
    assert (
        "no module of the engine is called passes.nonsense; there are passes.differentiate,"
        in capsys.readouterr().err
    )
