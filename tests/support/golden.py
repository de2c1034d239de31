"""Texts that are kept as files and reviewed as code."""

from __future__ import annotations

import difflib
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "golden"


def compare(name: str, text: str, *, update: bool = False, folder: Path = FOLDER) -> None:
    """`text` is what the file `name` holds; with `update` it becomes so."""
    path = folder / name
    if update:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        return
    assert path.is_file(), f"there is no golden file {name}; make it with --update-golden"
    known = path.read_text(encoding="utf-8")
    if known != text:
        lines = difflib.unified_diff(known.splitlines(), text.splitlines(), name, "now", lineterm="")
        raise AssertionError("\n".join([f"{name} has changed; if that is meant, --update-golden", *lines]))
