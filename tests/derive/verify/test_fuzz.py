"""Bad calls of every operator: the interpreter lives, and errors are ours. And what is planted is found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from derive.verify.calls import valid_calls
from derive.verify.fuzz import Cases, Found, Settings, fuzz
from derive.verify.trial import Unsound
from kernels import OPERATORS
from kernels.operator import Operator

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")


def sound(found: Found, cases: int) -> None:
    assert not found.findings, "\n\n".join(found.findings)
    assert found.cases == cases
    assert found.counts["accepted"] > cases / 4
    assert found.counts["refused"] > cases / 10


def test_a_sample_of_bad_calls() -> None:
    sound(fuzz(Settings(only=("relu", "cross_entropy", "max_pool1d"), dtypes=("float64",)), 600), 600)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_many_bad_calls(seed: int) -> None:
    sound(fuzz(Settings(seed=seed), 20_000, seconds=600), 20_000)


@pytest.mark.slow
@pytest.mark.external
def test_tensors_in_place_of_arrays() -> None:
    pytest.importorskip("torch", reason="passes tensors", exc_type=ImportError)
    sound(fuzz(Settings(only=("relu", "linear", "cross_entropy"), torch=True), 3000), 3000)


SOME = ("conv2d", "max_pool2d", "cross_entropy", "linear")


@pytest.mark.parametrize(
    "name", [n if n in SOME else pytest.param(n, marks=pytest.mark.slow) for n in OPERATORS]
)
def test_valid_calls_are_learned(name: str) -> None:
    """From the signature alone, and without a word about it; the same ones each time."""
    operator = getattr(__import__("kernels"), name)
    for one in (operator, Operator(operator.definition)):
        calls = valid_calls(one, count=6)
        assert len(calls) == 6
        assert calls == valid_calls(one, count=6)
        for call in calls:
            one.output_shape(**call.shapes, **call.options)


def test_the_same_number_is_the_same_case() -> None:
    said: list[list[str]] = []
    for _ in range(2):
        steps: list[str] = []
        cases = Cases(Settings(only=("relu",), dtypes=("float64",)))
        for number in range(30):
            steps.append(cases.run(number, steps.append))
        said.append([s.split(" 0x")[0] for s in steps])  # but for addresses
    assert said[0] == said[1]


# ---------------------------------------------------------------------------------- planted faults

PLANTED = {
    "writes beside": ("""
def wrong(self, *args, out=None, **options):
    y = right(self, *args, out=out, **options)
    if out is not None and isinstance(out, np.ndarray) and out.base is not None and out.base.nbytes > 200:
        out.base.view(np.uint8).reshape(-1)[-1] = 0
    return y
Operator.__call__ = wrong
""", "wrote beside its elements|out was written to"),
    "writes to an argument": ("""
def wrong(self, *args, **options):
    y = right(self, *args, **options)
    if args and type(args[0]) is np.ndarray and args[0].size and args[0].flags.writeable:
        args[0][(0,) * args[0].ndim] += 1
    return y
Operator.__call__ = wrong
""", "an argument was written to"),
    "minds strides": ("""
def wrong(self, *args, **options):
    y = right(self, *args, **options)
    return y + 1 if args and type(args[0]) is np.ndarray and args[0].strides[-1:] == (-8,) else y
Operator.__call__ = wrong
""", "but on fresh copies"),
    "lets errors through": ("""
from kernels import operator
operator.check_real = lambda name, array: None
""", "is none of our errors"),
    "tells no name": ("""
from kernels.errors import KernelError
KernelError.within = lambda self, operator, call="": self
""", "does not begin with the operator's name"),
    "refuses what is right": ("""
from kernels.errors import ShapeError
def wrong(self, *args, **options):
    raise ShapeError("relu: not today")
Operator.__call__ = wrong
""", "a call without a fault is refused"),
    "has a shape of its own": ("""
Operator.__call__ = lambda self, *args, **options: right(self, *args, **options)[..., None]
""", "a result is .* where output_shape says"),
    "crashes": ("""
Operator.jvp = lambda self, *args, **options: os.kill(os.getpid(), 11)
""", "ended the process with SIGSEGV"),
    "hangs": ("""
Operator.jvp = lambda self, *args, **options: time.sleep(1000)
""", "takes more than 3 s"),
}  # fmt: skip
HEAD = (
    "\nimport os, time\nfrom pathlib import Path\nimport numpy as np\nfrom kernels.operator import Operator\n"
)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An operator's module that runs what lies beside it: one file, so that its kernels are compiled once."""
    folder = tmp_path_factory.mktemp("planted")
    text = (ROOT / "kernels" / "generated" / "relu.py").read_text()
    run = f"right = Operator.__call__\nexec(Path({str(folder / 'plant.txt')!r}).read_text())\n"
    (folder / "relu.py").write_text(text + HEAD + run)
    return folder


@pytest.mark.parametrize(
    "fault", [f if f == "crashes" else pytest.param(f, marks=pytest.mark.slow) for f in PLANTED]
)
def test_a_planted_fault_is_found(fault: str, package: Path) -> None:
    import re

    text, complaint = PLANTED[fault]
    (package / "plant.txt").write_text(text)
    settings = Settings(package=str(package), dtypes=("float64",))
    found = fuzz(settings, 400, most=3, seconds=3 if fault == "hangs" else 120)
    assert found.findings
    assert any(re.search(complaint, text) for text in found.findings), found.findings[0]


@pytest.mark.slow
def test_nothing_planted_is_sound(package: Path) -> None:
    (package / "plant.txt").write_text("")
    sound(fuzz(Settings(package=str(package), dtypes=("float64",)), 400), 400)


def test_an_unsound_case_says_what_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Operator, "__call__", lambda self, *args, **options: 3)
    cases, steps = Cases(Settings(only=("relu",))), list[str]()
    with pytest.raises(Unsound, match="a result is int 3 where output_shape says"):
        for number in range(50):
            steps.clear()
            cases.run(number, steps.append)
    assert steps[0].startswith("<operator relu(")
    assert steps[-1].startswith("call")


@pytest.mark.slow
def test_the_command() -> None:
    def run(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "derive.cli", "fuzz", "--only", "relu", *more]
        return subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)

    done = run("--cases", "300")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("300 cases: ")
    again = run("--case", "7")
    assert again.returncode == 0
    assert again.stdout.splitlines()[-1] in ("accepted", "refused", "left")
    assert run("--only", "nonsense").returncode == 1
