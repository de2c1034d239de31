"""What the command line makes of a mistake: a word, a code, and no run that checks nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from derive.cli import main


@pytest.mark.parametrize("count", ["0", "-3", "x"])
@pytest.mark.parametrize("command", [["verify", "--cases"], ["warm", "--jobs"]])
def test_counts_are_positive(command, count, capsys):
    """`verify --cases 0` once said that all is well, having run nothing."""
    with pytest.raises(SystemExit, match="2"):
        main([*command, count, "--only", "relu"])
    assert command[1] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["generate", "."], 1, "SpecError: there is no file ."),
        (["generate", "no.py"], 1, "SpecError: there is no file no.py"),
        (["generate", "--latex"], 2, "--latex goes with --show"),
        (["generate", "--out", "x"], 2, "--out goes with a specification file"),
        (["generate", "--show", "no"], 2, "no operator is called no; there are conv1d, "),
        (["verify", "nowhere"], 1, "GenerateError: nowhere is no generated package: it has no spec.py"),
        (
            ["verify", str(Path(__file__))],
            1,
            f"GenerateError: {Path(__file__)} is a file, and a generated package is a folder; write one first: derive",
        ),
        (["verify", "--only", "no"], 1, "GenerateError: no operator is called no; there are conv1d, "),
        (["verify", "--junit", "nowhere/x.xml"], 1, "GenerateError: cannot write nowhere/x.xml"),
        (["verify", "--markdown", "."], 1, "GenerateError: cannot write ."),
        (["warm", "--only", "no"], 1, "GenerateError: no operator is called no; there are conv1d, "),
    ],
)
def test_mistakes(arguments, code, text, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == code
    assert capsys.readouterr().err.startswith(text)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["pytest", "hypothesis"])
def test_verify_says_what_it_needs(missing, capsys, monkeypatch):
    for name in [n for n in sys.modules if n.startswith("derive.verify")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["verify"]) == 2
    assert (
        capsys.readouterr().err
        == f'derive-kernels verify needs {missing}: pip install "derive-kernels[test]"\n'
    )
