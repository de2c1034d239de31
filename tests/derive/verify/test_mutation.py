"""Faults are planted where they are said to be, seen where a run reaches them, and survivors are shown."""

from __future__ import annotations

import ast
import itertools
import time
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from derive.catalogue import operators
from derive.cli import main
from derive.errors import VerificationError
from derive.language import Operator
from derive.spec import load_definition
from derive.verify import mutation
from derive.verify.mutants import mutants
from derive.verify.mutation import FATES, ROLES, Module, Verdict, dies, judge, judge_as_shipped, runs, table
from derive.verify.ways import LINES, Draw, file_of, larger, lines_of, tasks_of, ways
from kernels.generated import conv1d, global_max_pool, log_softmax, max_pool2d, relu
from kernels.runtime import Definition

OPERATORS = {operator.name: operator for operator in operators()}


@pytest.mark.parametrize("module", [relu, global_max_pool, log_softmax, conv1d, max_pool2d])
def test_every_task_is_reached(module: object) -> None:
    definition = module.DEFINITION  # type: ignore[attr-defined]
    reached: list[str] = []
    for draw, _, _ in ways(OPERATORS[definition.name], definition, Random(0), 1):
        reached += draw.tasks
    assert set(reached) == set().union(*tasks_of(definition).values())


def test_a_draw_runs_the_tasks_that_it_says() -> None:
    """Seen from the layout alone, and then by running it."""
    operator, definition = OPERATORS["global_max_pool"], global_max_pool.DEFINITION
    for run in runs(operator, definition, 1):
        names = {task for tasks in tasks_of(definition).values() for task in tasks}
        assert run.draw.functions & names == run.draw.tasks


@pytest.mark.parametrize("module", [relu, global_max_pool])
def test_every_line_is_reached(module: object) -> None:
    definition = module.DEFINITION  # type: ignore[attr-defined]
    lines = set().union(*lines_of(definition).values())
    assert len(lines) > 30
    for draw, _, _ in ways(OPERATORS[definition.name], definition, Random(0), 1):
        lines -= draw.lines
    assert not lines


def test_a_change_is_one_change_and_is_taken_back() -> None:
    file = file_of(relu.DEFINITION)
    text = Path(file).read_text(encoding="utf-8")
    tree, original = ast.parse(text), ast.unparse(ast.parse(text))
    lines, kinds = original.splitlines(), set[str]()
    for mutant in mutants(tree):
        mutant.make()
        changed = ast.unparse(tree).splitlines()
        mutant.undo()
        assert ast.unparse(tree) == original
        assert changed != lines, mutant
        assert mutant.role in ROLES
        signs = {line.lstrip()[:1] for line in mutant.diff().splitlines() if line[4] != " "}
        assert signs == {"-", "+"}, mutant
        kinds.add(mutant.kind)
    assert kinds >= {"operation", "comparison", "constant", "function", "bound", "left out", "opposite", "bound names",
                     "phase left out"}  # fmt: skip


def test_what_a_choice_asks_is_tried_on_all_that_the_choice_may_come_to() -> None:
    module = Module(OPERATORS["max_pool2d"], max_pool2d.DEFINITION)
    asked = [m for m in module.mutants() if m.function == "y_from_x_tiles_x_fit"]
    assert asked
    for mutant in asked:
        assert mutant.role == "choosing"
        assert module.tasks(mutant) >= {"y_from_x_plain", "y_from_x_tiles_x", "y_from_x_windows_x"}


def test_larger_runs_come_to_the_lines_of_a_fault() -> None:
    """To windows that tile, which sizes at random hardly ever make."""
    operator, definition = OPERATORS["max_pool2d"], max_pool2d.DEFINITION
    (task,) = (t for t in lines_of(definition) if t == "y_from_x_tiles_x")
    line = max(lines_of(definition)[task])
    known = [d for d in _draws(operator, definition) if line in d.lines]
    of = larger(operator, definition, Random(0))((line,), [task], known)
    found = [made[0] for made in itertools.islice(of, 100) if made is not None]
    assert len(found) > 5
    assert all(line in draw.lines for draw in found)
    usual, now = (
        min(sum(d.setting.configuration.environment.values()) for d in draws) for draws in (known, found)
    )
    assert now > usual  # each is one of those known, and more of something


def _draws(operator: Operator, definition: Definition) -> list[Draw]:
    return [draw for draw, _, _ in ways(operator, definition, Random(0), 1, reach=LINES)]


def test_relu_has_no_survivor() -> None:
    """What is not killed is relu(0), which is 0 on either side, and another choice of two ways that both work."""
    verdict = judge(OPERATORS["relu"], relu.DEFINITION)
    assert verdict.count("killed", "computing") > 60
    assert verdict.survivors() == []
    assert verdict.score() == 1
    same = [text for role, kind, text in verdict.shown if kind == "equal"]
    assert 0 < len(same) < 5
    for text in same:
        assert "select(x_lanes < lanes.zero()" in text, text
    assert verdict.count("other choice", "choosing") > 0


def test_what_only_larger_runs_tell_has_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no runs but those: whatever they tell is a survivor, with the configuration that tells it."""
    monkeypatch.setattr(mutation, "ways", lambda *args, **kwargs: iter(()))
    verdict = judge(OPERATORS["relu"], relu.DEFINITION, sample=12)
    assert verdict.count("killed") == 0
    assert verdict.count("survived") > 4
    assert verdict.score() == 0
    assert any("executes it; a larger run tells it: " in text for text in verdict.survivors())
    for text in verdict.survivors():
        assert "survived: no run" in text, text
        assert "\n    + " in text


def test_the_shipped_test_sees_most_of_what_it_executes() -> None:
    """What is left is `<=` for `<`: no other sum at 0 than in the block that a run meets there, and relu(0) is 0 on either side."""
    verdict = judge_as_shipped(OPERATORS["relu"], relu.DEFINITION, core=True, sample=30)
    assert verdict.count("killed") > 15
    assert verdict.score() > 0.9
    for text in verdict.survivors():
        assert ": comparison" in text, text


def test_a_table_has_a_line_for_each_operator_and_one_for_all() -> None:
    some, other = Verdict("some"), Verdict("other")
    some.counts["computing"].update(killed=98, survived=2)
    other.counts["room"].update({"other choice": 7})
    head, *lines = table([some, other]).splitlines()
    assert head.split() == ["operator", "mutants", *" ".join(FATES).split(), "score", "runs", "seconds"]
    assert [line.split()[0] for line in lines] == ["some", "other", "together"]
    assert lines[0].split()[-4:-2] == lines[2].split()[-4:-2] == ["98.0", "%"]
    assert lines[1].split()[-4:-2] == ["100.0", "%"]


def test_a_module_that_dies_without_a_fault_is_no_measure() -> None:
    other = replace(relu.DEFINITION, sizes=conv1d.DEFINITION.sizes)  # whose file is another operator's
    with pytest.raises(VerificationError, match="relu: its runs object to the module without a fault"):
        judge(OPERATORS["relu"], other, sample=1)


def test_slow_runs_do_not_count_as_endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience is with each run, not with all of them."""
    definition = relu.DEFINITION
    known = runs(OPERATORS["relu"], definition, 1)
    code = compile(Path(file_of(definition)).read_text(encoding="utf-8"), file_of(definition), "exec")
    monkeypatch.setattr(mutation, "PATIENCE", 0.5)
    slowly = [replace(run, draw=_Slow(run.draw)) for run in known[:4]]
    assert not dies(code, "kernels.generated.relu", slowly)


class _Slow:
    """A draw that takes its time."""

    def __init__(self, draw: object) -> None:
        self.draw = draw

    def __getattr__(self, name: str) -> object:
        return getattr(self.draw, name)

    def found(self, definition: object) -> object:
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
        return self.draw.found(definition)  # type: ignore[attr-defined]


def test_a_run_that_does_not_end_is_seen() -> None:
    code = compile("while True: pass", "endless", "exec")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mutation, "PATIENCE", 0.2)
        assert dies(code, "endless", [])


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A package of one's own, and a floor for what has to be seen."""
    spec = tmp_path / "spec.py"
    spec.write_text(
        "from derive import *\n"
        "n, k = indices('n k')\nx, y = tensors('x y')\n"
        "halves = Operator('halves', y[n] << Sum[k](x[n, k]), inputs=(x,))\n"
    )
    package = tmp_path / "package"
    assert main(["generate", str(spec), "--out", str(package)]) == 0
    assert load_definition(package / "halves.py").name == "halves"
    command = ["mutate", "--package", str(package), "--sample", "40", "--jobs", "1"]
    assert main([*command, "--least", "50"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-2].startswith("halves ")
    assert "of the faults that are no other words for the same kernel were seen" in out
    assert main([*command, "--least", "101"]) == 1
    assert main([*command, "--as-shipped", "--least", "50"]) == 0
