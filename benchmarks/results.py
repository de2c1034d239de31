"""What a run found, as data: written to JSON, read back, and checked on the way in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.cases import Case
from benchmarks.run import Row, Timing

FORMAT = 1


class FormatError(ValueError):
    """A file that is no result of this tool, or of another version of it."""


@dataclass
class Results:
    """Everything in one file."""

    date: str
    machine: dict[str, Any]
    settings: dict[str, Any]
    peers: dict[str, dict[str, str]] = field(default_factory=dict)  # versions, or "missing" with what to do
    peaks: dict[str, Any] = field(default_factory=dict)  # threads -> what benchmarks.peaks measured
    rows: list[Row] = field(default_factory=list)
    more: dict[str, list[Row]] = field(default_factory=dict)  # "overhead", and one list for each scaling
    startup: dict[str, Any] = field(default_factory=dict)  # what benchmarks.startup measured
    unreached: int = 0  # cases that the time limit left out

    def save(self, path: Path) -> None:
        """At once or not at all: a run that is stopped leaves the file before."""
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(self.data(), indent=1) + "\n", encoding="utf-8")
        new.replace(path)

    def data(self) -> dict[str, Any]:
        fields = {key: value for key, value in self.__dict__.items() if key not in ("rows", "more")}
        more = {name: [row_data(row) for row in rows] for name, rows in self.more.items()}
        return {"format": FORMAT, **fields, "more": more, "rows": [row_data(row) for row in self.rows]}


def row_data(row: Row) -> dict[str, Any]:
    """The case, what follows from it (for readers that are not this program), and the timings."""
    case = row.case
    derived = {"name": case.name, "group": case.group, "flops": case.flops, "bytes": case.bytes}
    timings = {peer: {**asdict(timing), "seconds": timing.seconds} for peer, timing in row.timings.items()}
    return {**derived, "case": case.data(), "threads": row.threads, "timings": timings}


def load(path: Path) -> Results:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise FormatError(f"{path} is no JSON: {error}") from None
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise FormatError(f"{path} has not format {FORMAT} of these results")
    try:
        rows = [row_from(row) for row in data.pop("rows")]
        more = {name: [row_from(row) for row in found] for name, found in data.pop("more").items()}
        return Results(rows=rows, more=more, **data)
    except (KeyError, TypeError) as error:
        raise FormatError(f"{path} lacks something, or has something unknown: {error}") from None


def row_from(data: Mapping[str, Any]) -> Row:
    timings = {}
    for peer, fields in data["timings"].items():
        known = {**fields, "rounds": tuple(fields["rounds"])}
        known.pop("seconds")  # follows from the rounds
        timings[peer] = Timing(**known)
    return Row(Case.load(data["case"]), data["threads"], timings)
