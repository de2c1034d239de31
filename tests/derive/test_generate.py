"""Specifications in, files out: the same bytes, all or nothing, and a check that notices an edit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from derive.cli import main
from derive.errors import GenerateError, SpecError
from derive.generate import write
from derive.spec import load_operators

ROOT = Path(__file__).parents[2]
SPEC = """
from derive import Operator, Sum, indices, tensors

n, p, k = indices("n p k")
x, w, y = tensors("x w y")
fir = Operator("fir", y[n, p] << Sum[k](x[n, p + k] * w[k]), inputs=(x, w))
total = Operator("total", y[n] << Sum[p](x[n, p]), inputs=(x,))
"""
STALE = """
import sys
from pathlib import Path
from derive.generate import catalogue_files, stale
print(*stale(catalogue_files(Path(), only=sys.argv[1:])))
"""


def stale_files(seed: int, *names: str) -> str:
    """Committed files that differ from those written under a seed of hashes."""
    done = subprocess.run(
        [sys.executable, "-c", STALE, *names],
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("seed", [0, 1])
def test_committed_files_are_what_is_written_under_any_hash_seed(seed):
    assert stale_files(seed, "convolve1d", "log_softmax") == ""


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_whole_catalogue_is_what_is_written_under_any_hash_seed(seed):
    assert stale_files(seed) == ""


@pytest.fixture
def package(tmp_path, capsys):
    spec = tmp_path / "layers.py"
    spec.write_text(SPEC)
    assert main(["generate", str(spec), "--out", str(tmp_path / "made")]) == 0
    capsys.readouterr()
    return spec, tmp_path / "made"


def test_a_package_has_kernels_tests_and_its_specification(package):
    _, made = package
    assert sorted(p.name for p in made.iterdir()) == [
        "__init__.py", "fir.py", "spec.py", "test_fir.py", "test_total.py", "total.py",
    ]  # fmt: skip
    assert (made / "spec.py").read_text() == SPEC


def test_a_package_runs_with_kernels_alone(package):
    _, made = package
    code = (
        "import sys, numpy as np; from made import fir; y, back = fir.vjp(np.arange(4.0)[None], np.ones(2));"
        "print(y.tolist(), back(y)[1].tolist(), 'sympy' in sys.modules, 'derive' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=made.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["[[1.0,", "3.0,", "5.0]]", "[13.0,", "22.0]", "False", "False"]


def test_check_catches_a_planted_edit(package, capsys):
    spec, made = package
    arguments = ["generate", str(spec), "--out", str(made), "--check"]
    assert main(arguments) == 0
    target = made / "fir.py"
    text = target.read_text()
    target.write_text(text.replace("total += ", "total -= ", 1))
    assert main(arguments) == 1
    assert "stale: " in capsys.readouterr().out
    target.write_bytes(b"\xff\xfe, no text at all")
    assert main(arguments) == 1
    target.write_text(text)
    assert main(arguments) == 0


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (SPEC + "def (:\n", "layers.py line 8: invalid syntax"),
        (SPEC + "again = Operator('fir', y[n] << x[n], inputs=(x,))\n", "two operators are called `fir`"),
        (
            SPEC + "bad = Operator('bad', y[n, p] << x[n, 2 * p + k], inputs=(x,))\n",
            "index `k` has no extent",
        ),
        (SPEC + "clash = Operator('test_fir', y[n] << x[n], inputs=(x,))\n", "cannot be called `test_fir`"),
        (SPEC + "1 / 0\n", "line 8: ZeroDivisionError"),
        ("x = 1\n", "no operator at the top level"),
    ],
)
def test_a_failed_generation_leaves_what_was(package, capsys, broken, message):
    spec, made = package
    before = {p: p.read_text() for p in made.glob("*.py")}
    spec.write_text(broken)
    assert main(["generate", str(spec), "--out", str(made)]) == 1
    assert message in capsys.readouterr().err
    assert {p: p.read_text() for p in made.glob("*.py")} == before
    assert not list(made.glob(".*.py.*"))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("test_fir", "the tests of `fir` have a file of that name"),
        ("conftest", "the package has a file of that name"),
        ("Fir", "another one is called `fir`, and capitals do not tell files apart"),
    ],
)
def test_every_operator_has_files_of_its_own(tmp_path, capsys, name, why):
    spec = tmp_path / "layers.py"
    spec.write_text(f"{SPEC}more = Operator('{name}', y[n] << x[n], inputs=(x,))\n")
    assert main(["generate", str(spec), "--out", str(tmp_path / "made")]) == 1
    assert f"an operator cannot be called `{name}`: {why}" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_files_of_an_operator_that_is_gone(package, capsys):
    """They are found and removed; what was not generated stays."""
    spec, made = package
    (made / "mine.py").write_text("x = 1\n")
    spec.write_text(SPEC.replace("total = ", "# "))
    assert main(["generate", str(spec), "--out", str(made), "--check"]) == 1
    out = capsys.readouterr().out
    assert out.count("left over: ") == 2
    assert (made / "total.py").is_file()
    assert main(["generate", str(spec), "--out", str(made)]) == 0
    assert sorted(p.name for p in made.iterdir()) == [
        "__init__.py",
        "fir.py",
        "mine.py",
        "spec.py",
        "test_fir.py",
    ]


def test_an_interrupted_generation_leaves_what_was(tmp_path, monkeypatch):
    """Whatever happens between two renames, both files are as they were."""
    old = {tmp_path / "a.py": "x = 1\n", tmp_path / "b.py": "x = 2\n"}
    write(old)
    rename = Path.replace

    def interrupted(self, target):
        if target.name == "b.py":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(dict.fromkeys((*old, tmp_path / "c.py"), "x = 3\n"))
    assert {p: p.read_text() for p in tmp_path.iterdir()} == old


def test_a_folder_where_a_file_should_be(tmp_path):
    (tmp_path / "b.py").mkdir()
    with pytest.raises(GenerateError, match="something of that name that is no file"):
        write({tmp_path / "a.py": "x = 1\n", tmp_path / "b.py": "x = 1\n"})
    assert [p.name for p in tmp_path.iterdir()] == ["b.py"]


def test_nothing_is_written_if_one_file_is_no_python(tmp_path):
    with pytest.raises(SyntaxError):
        write({tmp_path / "a.py": "x = 1\n", tmp_path / "b.py": "x = = 1\n"})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GenerateError, match="cannot write"):
        write({tmp_path / "file" / "a.py": "x = 1\n"})


def test_a_missing_specification():
    with pytest.raises(SpecError, match="there is no file"):
        load_operators("no/such/file.py")
