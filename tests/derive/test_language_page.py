"""The code of docs/language.md runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from derive.language import Operator
from derive.pipeline import derive

PAGE = Path(__file__).parents[2] / "docs" / "language.md"


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Block after block, as a reader would; and every operator on it can be derived."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert len(blocks) >= 6
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)
    operators = [v for v in names.values() if isinstance(v, Operator)]
    assert len(operators) >= 10
    for operator in operators:
        derive(operator)
