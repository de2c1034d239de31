"""What a suite came to: cases in scope, passed, out of scope and why. Nothing is left out silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


class OutOfScope(Exception):
    """A case that we do not claim to run; the text is the reason."""


@dataclass
class Tally:
    """One row. A case is passed, failed (with what was found), or out of scope (with the reason)."""

    suite: str
    name: str
    passed: int = 0
    failed: list[str] = field(default_factory=list)
    out: Counter[str] = field(default_factory=Counter)

    @property
    def scope(self) -> int:
        return self.passed + len(self.failed)

    def check(self) -> None:
        """Raises with the first failures."""
        if self.failed:
            shown = "\n\n".join(self.failed[:3])
            raise AssertionError(f"{self.name}: {len(self.failed)} of {self.scope} differ\n{shown}")

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "out": dict(self.out)}

    @staticmethod
    def of(values: dict[str, Any]) -> Tally:
        return Tally(**{**values, "out": Counter(values["out"])})


def table(tallies: Iterable[Tally]) -> str:
    """A Markdown table for each suite: rows of one name are added up, reasons counted below."""
    suites: dict[str, dict[str, Tally]] = {}
    for t in tallies:
        row = suites.setdefault(t.suite, {}).setdefault(t.name, Tally(t.suite, t.name))
        row.passed += t.passed
        row.failed += t.failed
        row.out.update(t.out)
    lines = []
    for suite, rows in suites.items():
        total = Tally(suite, "all")
        lines += [
            f"## {suite}",
            "",
            "| | in scope | passed | out of scope | why |",
            "| --- | --- | --- | --- | --- |",
        ]
        for row in rows.values():
            why = "; ".join(
                f"{n} {reason}" for reason, n in sorted(row.out.items(), key=lambda i: (-i[1], i[0]))
            )
            lines.append(f"| {row.name} | {row.scope} | {row.passed} | {row.out.total()} | {why} |")
            total.passed += row.passed
            total.failed += row.failed
            total.out.update(row.out)
        lines += [f"| **all** | {total.scope} | {total.passed} | {total.out.total()} | |", ""]
    return "\n".join(lines)
