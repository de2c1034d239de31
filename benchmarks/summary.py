"""Ratios, means and totals of timings. Arithmetic only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, inf, log
from statistics import fmean

from benchmarks.layers import DIRECTIONS
from benchmarks.run import Row

OURS = "ours"
TORCH = ("torch", "torch-nhwc")
EVERYONE = ("torch", "torch-nhwc", "onnxruntime", "jax", "scipy")
AGAINST = {"torch": TORCH, "onnxruntime": ("onnxruntime",), "jax": ("jax",), "anyone": EVERYONE}


def ratio(row: Row, against: Iterable[str]) -> float | None:
    """The best peer's time by ours: above 1 we are faster. None where either side has no time."""
    ours = seconds(row, OURS)
    theirs = [t for name in against if (t := seconds(row, name)) is not None]
    return min(theirs) / ours if ours is not None and theirs else None


def seconds(row: Row, peer: str) -> float | None:
    timing = row.timings.get(peer)
    return timing.seconds if timing is not None and timing.status == "ok" else None


def best(row: Row) -> str | None:
    """The fastest of the others."""
    times = {name: t for name in row.timings if name != OURS and (t := seconds(row, name)) is not None}
    return min(times, key=lambda name: times[name]) if times else None


def geometric_mean(values: Sequence[float]) -> float:
    return exp(fmean(map(log, values)))


@dataclass(frozen=True, slots=True)
class Line:
    """Cases of one group, one direction, one number of threads, against some peers."""

    group: str
    direction: str
    threads: int
    against: str
    count: int
    mean: float
    least: float
    worst: str  # the case that has the least ratio


def summary(rows: Sequence[Row], against: str) -> list[Line]:
    """Geometric mean and minimum per group, in order of groups, directions, threads."""
    found: dict[tuple[str, str, int], list[tuple[float, str]]] = {}
    for row in rows:
        value = ratio(row, AGAINST[against])
        if value is not None:
            key = row.case.group, row.case.direction, row.threads
            found.setdefault(key, []).append((value, row.case.name))
    groups = list(dict.fromkeys(row.case.group for row in rows))
    lines = []
    for key in sorted(found, key=lambda k: (groups.index(k[0]), DIRECTIONS.index(k[1]), k[2])):
        least, worst = min(found[key])
        values = [value for value, _ in found[key]]
        lines.append(Line(*key, against, len(values), geometric_mean(values), least, worst))
    return lines


@dataclass(frozen=True, slots=True)
class Total:
    """All convolutions and poolings of a network, each as often as it occurs: seconds by peer."""

    network: str
    batch: int
    dtype: str
    direction: str
    threads: int
    layers: int  # distinct ones that were timed
    seconds: dict[str, float]  # only peers that did all of them


def totals(rows: Sequence[Row]) -> list[Total]:
    """The index of a maximum is left out: networks take the value. A network counts from two layers on."""
    found: dict[tuple[str, int, str, str, int], list[tuple[Row, int]]] = {}
    for row in rows:
        for network, count in row.case.uses:
            case = row.case
            if network != "holes" and case.direction != "with-index":
                key = network, case.batch, case.dtype, case.direction, row.threads
                found.setdefault(key, []).append((row, count))
    lines = []
    for key, uses in found.items():
        sums = {}
        for peer in uses[0][0].timings:
            total = sum(count * (seconds(row, peer) or inf) for row, count in uses)
            if total < inf:
                sums[peer] = total
        if len(uses) > 1 and sums:
            lines.append(Total(*key, len(uses), sums))
    return lines


def failures(rows: Sequence[Row]) -> list[tuple[Row, str, str, str]]:
    """(row, peer, status, reason) of everything that has no time, except what a library does not offer."""
    return [
        (row, peer, timing.status, timing.reason)
        for row in rows
        for peer, timing in row.timings.items()
        if timing.status not in ("ok", "unsupported", "missing")
    ]
