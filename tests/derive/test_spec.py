"""Specification files."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from derive.errors import SpecError
from derive.spec import load_operators


def test_a_file_is_read_as_it_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python itself would run the first again: the second is as long, and was written in the same second."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = tmp_path / "spec.py"
    text = (
        "from derive import Operator, indices, tensors\n"
        "i = indices('i')\n"
        "x, y = tensors('x y')\n"
        "o = Operator('NAME', y[i] << x[i], inputs=(x,))\n"
    )
    for name in ("first", "other"):
        path.write_text(text.replace("NAME", name), encoding="utf-8")
        os.utime(path, (1_000_000_000, 1_000_000_000))
        assert list(load_operators(path)) == [name]


HEAD = """from derive import *
from sympy import And, Piecewise
i = indices('i')
x, y = tensors('x y')
"""


def load(tmp_path: Path, text: str) -> dict[str, Any]:
    path = tmp_path / "spec.py"
    path.write_text(HEAD + text + "\n", encoding="utf-8")
    return load_operators(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "o = Operator('o', y[i] << max(x[i], 0), inputs=(x,))",
            "write Piecewise((u, a < b), (v, True)), And(...)",
        ),
        ("o = Operator('o', y[i] << (x[i] > 0)*x[i], inputs=(x,))", "write Piecewise((1, a > b), (0, True))"),
        ("import math; o = Operator('o', y[i] << math.exp(x[i]), inputs=(x,))", "SymPy's functions"),
        ("o = Operator('o', y[i] << Sum[i](x[i])(x[i]), inputs=(x,))", "Sum[k](...)"),
        (
            "o = Operator('o', y[i] << 2*x, inputs=(x,))",
            "`x` is a tensor; equations are about its elements, x[...]",
        ),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_mistake_shows_its_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(SpecError) as error:
        load(tmp_path, line)
    assert message in str(error.value)
    assert "spec.py line 5: " in str(error.value)
    assert str(error.value).endswith(f"in  {line}")


def test_operators_in_a_dictionary(tmp_path: Path) -> None:
    text = "made = {n: Operator(n, y[i] << x[i], inputs=(x,)) for n in ('one', 'two')}"
    assert list(load(tmp_path, text)) == ["one", "two"]
