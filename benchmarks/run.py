"""Time every case with every peer: prepare, check, then rounds in which the peers take turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.cases import Case, tolerance
from benchmarks.peers import Entry
from benchmarks.session import WorkerProcess

PAUSE = 0.005  # s between two peers: the threads of the one before stop spinning


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how often."""

    rounds: int = 5
    seconds: float = 0.05  # that a timing lasts, at least
    timeout: float = 120.0  # for the first call, compilation included, and for each timing
    patience: float = 10.0  # s; a call that takes longer is timed in one round only
    limit: float | None = None  # s for everything; cases that are not reached are reported as such


@dataclass(frozen=True, slots=True)
class Timing:
    """What became of one peer on one case: seconds, or why there are none."""

    status: str  # ok, unsupported, missing, wrong, timeout, died, failed
    reason: str = ""
    rounds: tuple[float, ...] = ()  # seconds a call
    first: float | None = None  # seconds of the first call, compilation included
    cores: float | None = None  # processor time by elapsed time
    error: float | None = None  # against the first peer, relative to the largest entry

    @property
    def seconds(self) -> float | None:
        return median(self.rounds) if self.rounds else None


@dataclass(frozen=True, slots=True)
class Row:
    """A case at a number of threads, and every peer's timing."""

    case: Case
    threads: int
    timings: dict[str, Timing]


class Peers:
    """The workers of all peers at one number of threads."""

    def __init__(self, entries: Sequence[Entry], threads: int, settings: Settings) -> None:
        self.settings = settings
        self.workers = {entry.name: WorkerProcess(entry.name, entry.module, threads) for entry in entries}
        self.needs = {entry.name: entry.needs for entry in entries}
        self.missing: dict[str, str] = {}
        self.versions: dict[str, dict[str, str]] = {}

    def hello(self) -> None:
        for name, worker in self.workers.items():
            answer = worker.ask(max(60, self.settings.timeout), do="hello")
            if answer["ok"]:
                self.versions[name] = answer["versions"]
            else:
                fix = f"; {self.needs[name]}" if answer["sort"] == "missing" and self.needs[name] else ""
                self.missing[name] = answer["reason"] + fix
                worker.kill()

    def close(self) -> None:
        for worker in self.workers.values():
            worker.kill()

    def row(self, case: Case, threads: int) -> Row:
        """One case: results are compared before anything is timed."""
        found: dict[str, Timing] = {n: Timing("missing", reason) for n, reason in self.missing.items()}
        ready: dict[str, dict[str, Any]] = {}
        with TemporaryDirectory(prefix="bench-") as folder:
            first: Path | None = None
            for name, worker in self.workers.items():
                if name in found:
                    continue
                path = Path(folder) / f"{name}.npy"
                answer = worker.ask(self.settings.timeout, do="prepare", case=case.data(), result=str(path))
                if not answer["ok"]:
                    found[name] = Timing(answer["sort"], answer["reason"])
                    continue
                error = 0.0
                if first is None:
                    first = path
                else:
                    error, complaint = disagreement(path, first, case)
                    path.unlink()
                    if complaint:
                        found[name] = Timing("wrong", complaint, error=error)
                        worker.ask(self.settings.timeout, do="drop")
                        continue
                ready[name] = {"first": answer["seconds"], "error": error}
        rounds: dict[str, list[float]] = {name: [] for name in ready}
        cores: dict[str, list[float]] = {name: [] for name in ready}
        for turn in range(self.settings.rounds):
            names = [n for n in ready if n not in found and (turn == 0 or self._again(rounds[n], turn))]
            for name in names[turn % len(names) :] + names[: turn % len(names)] if names else []:
                time.sleep(PAUSE)
                answer = self.workers[name].ask(
                    self.settings.timeout, do="time", seconds=self.settings.seconds
                )
                if answer["ok"]:
                    rounds[name].append(answer["seconds"])
                    cores[name].append(answer["cores"])
                else:
                    found[name] = Timing(answer["sort"], answer["reason"], first=ready[name]["first"])
        for name, known in ready.items():
            if name not in found:
                self.workers[name].ask(self.settings.timeout, do="drop")
                found[name] = Timing(
                    "ok", rounds=tuple(rounds[name]), cores=round(median(cores[name]), 2), **known
                )
        return Row(case, threads, {name: found[name] for name in self.workers})

    def _again(self, taken: Sequence[float], turn: int) -> bool:
        """Whether a peer takes part in one more round: slow ones in three, very slow ones in one."""
        return taken[0] < 1 or (taken[0] < self.settings.patience and turn < 3)


def disagreement(path: Path, first: Path, case: Case) -> tuple[float, str]:
    """The largest difference, relative to the largest entry; and a complaint if that is no rounding."""
    got, want = np.load(path, mmap_mode="r"), np.load(first, mmap_mode="r")
    if got.shape != want.shape:
        return float("inf"), f"the result has shape {got.shape}, the first peer's {want.shape}"
    if not got.size:
        return 0.0, ""
    scale = float(np.abs(want).max())
    error = float(np.abs(got - want).max()) / (scale or 1.0)
    allowed = tolerance(case)
    if not error <= allowed:
        return (
            error,
            f"differs from the first peer by {error:.1e} of the largest entry (allowed {allowed:.1e})",
        )
    return error, ""


@contextmanager
def peers(entries: Sequence[Entry], threads: int, settings: Settings) -> Iterator[Peers]:
    group = Peers(entries, threads, settings)
    try:
        group.hello()
        yield group
    finally:
        group.close()


def run(
    cases: Sequence[Case],
    entries: Sequence[Entry],
    threads: Sequence[int],
    settings: Settings,
    seen: Callable[[Row], None],
    known: Callable[[str, dict[str, str]], None],
    end: float | None = None,
) -> int:
    """Every case at every number of threads; `seen` gets each row as it is done.

    `end` is when to stop, in time.monotonic's seconds. The result is how many cases were not reached.
    """
    left = 0
    for count in threads:
        with peers(entries, count, settings) as group:
            for name, reason in group.missing.items():
                known(name, {"missing": reason})
            for name, versions in group.versions.items():
                known(name, versions)
            for case in cases:
                if end is not None and time.monotonic() > end:
                    left += 1
                else:
                    seen(group.row(case, count))
    return left
