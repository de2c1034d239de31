"""Which lines and branches of a module some run has reached, and which none has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import coverage

# A place that a stored index gives is tested before it is used, and an argmax of the same module stores none that fails.
GUARD = re.compile(r"\s+if 0 <= \w+ < \w+:$")


class Reached:
    """Lines and branches of one file. Only what runs within `running()` counts, the loading of the module included."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.coverage = coverage.Coverage(
            branch=True, data_file=None, config_file=False, include=[str(self.path)], messages=False
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        self.coverage.start()
        try:
            yield
        finally:
            self.coverage.stop()

    def missing(self) -> list[str]:
        """What was not reached, as `line 12: text` and `12 -> 14: text`; not what follows from that."""
        with TemporaryDirectory() as folder:
            report = Path(folder) / "coverage.json"
            self.coverage.json_report(outfile=str(report))
            (found,) = json.loads(report.read_text(encoding="utf-8"))["files"].values()
        lines, text = found["missing_lines"], self.path.read_text(encoding="utf-8").splitlines()
        branches = [(a, b) for a, b in found["missing_branches"] if a not in lines and b not in lines]
        branches = [(a, b) for a, b in branches if not GUARD.match(text[a - 1])]
        return [f"line {n}: {text[n - 1].strip()}" for n in lines] + [
            f"{a} -> {b}: {text[a - 1].strip()}" for a, b in branches
        ]


__all__ = ["Reached"]
