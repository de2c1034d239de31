"""Specification files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

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
