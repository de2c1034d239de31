"""The command line of the bench: parse, run, write."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import startup
from benchmarks.cases import Case, collect, representative
from benchmarks.layers import DTYPES
from benchmarks.machine import describe
from benchmarks.networks import NETWORKS
from benchmarks.peers import PEERS, Entry
from benchmarks.report import one_line, page, terminal
from benchmarks.results import FormatError, Results, load
from benchmarks.run import Row, Settings, run
from benchmarks.scaling import OVERHEAD, SCALING
from benchmarks.session import ROOT, environment

OUT = ROOT / "out" / "bench"
SHORT = {"rounds": 2, "seconds": 0.02, "timeout": 20.0, "limit": 95.0}  # drawing takes some seconds more
NEAR = ("ours", "torch", "torch-nhwc")  # the peers of the measurements beside the suites


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="bench", description="Layers of real networks, timed beside other libraries."
    )
    names = [entry.name for entry in PEERS]
    which = p.add_argument_group("what")
    which.add_argument("--suite", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NETWORK",
                       help=f"among {', '.join(NETWORKS)} (default: all)")  # fmt: skip
    which.add_argument(
        "--only", default="", metavar="REGEX", help="cases whose name, class or network matches"
    )
    which.add_argument("--batch", nargs="+", type=int, help="default: 1 8")
    which.add_argument("--dtype", nargs="+", choices=DTYPES, help="default: both")
    which.add_argument("--threads", nargs="+", type=int, help="default: 1, and all cores; --short: 1")
    which.add_argument("--peers", nargs="+", choices=names, default=names, metavar="PEER",
                       help=f"among {', '.join(names)} (default: all)")  # fmt: skip
    which.add_argument(
        "--short", action="store_true", help="some layers of each class; ends within two minutes"
    )
    which.add_argument("--list", action="store_true", help="print the cases, time nothing")
    how = p.add_argument_group("how")
    how.add_argument("--rounds", type=int, help="the peers take turns so many times (default 5)")
    how.add_argument("--seconds", type=float, help="each timing lasts at least so long (default 0.05)")
    how.add_argument("--timeout", type=float, help="for one answer of a peer, in seconds (default 120)")
    how.add_argument("--limit", type=float, help="stop after so many seconds")
    how.add_argument("--more", action=argparse.BooleanOptionalAction, default=None,
                     help="also call overhead, scaling and start-up (default: if nothing was selected)")  # fmt: skip
    how.add_argument("--peaks", action=argparse.BooleanOptionalAction, default=True,
                     help="measure what the machine can do")  # fmt: skip
    out = p.add_argument_group("output")
    out.add_argument(
        "--out", type=Path, default=OUT, metavar="DIR", help="results go there (default: out/bench)"
    )
    out.add_argument("--date", help="date of the report (default: the clock's)")
    out.add_argument("--from", dest="source", type=Path, metavar="FILE",
                     help="write the report of an earlier run's results.json, time nothing")  # fmt: skip
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    if args.source is not None:
        try:
            return write(load(args.source), args.out)
        except (FormatError, OSError) as error:
            print(error, file=sys.stderr)
            return 2
    threads = args.threads or ([1] if args.short else sorted({1, cores()}))
    cases = collect(
        args.suite,
        args.batch or ([1] if args.short else [1, 8]),
        args.dtype or (["float32"] if args.short else list(DTYPES)),
        args.only,
    )
    cases = representative(cases) if args.short else cases
    if args.list:
        return listed(cases)
    if not cases:
        print("no case matches; --list prints them", file=sys.stderr)
        return 2
    started = time.monotonic()
    settings = settings_of(args)
    results = Results(args.date or datetime.now(UTC).strftime("%Y-%m-%d"), describe(), asdict(settings))
    if args.peaks:
        results.peaks = {str(count): measured_peaks(count, args.short) for count in threads}
    try:
        measure(results, cases, threads, settings, args, started)
    except KeyboardInterrupt:
        print("stopped; what was measured is kept", file=sys.stderr)
    return write(results, args.out)


def settings_of(args: argparse.Namespace) -> Settings:
    chosen: dict[str, Any] = SHORT.copy() if args.short else {}
    for name in ("rounds", "seconds", "timeout", "limit"):
        if getattr(args, name) is not None:
            chosen[name] = getattr(args, name)
    return Settings(**chosen)


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def listed(cases: Sequence[Case]) -> int:
    for case in cases:
        uses = ", ".join(f"{network} x{count}" for network, count in case.uses)
        print(f"{case.name:<64} {case.group:<24} {case.flops / 1e9:8.3f} GFLOP  {uses}")
    print(f"{len(cases)} cases")
    return 0


def chosen_peers(names: Sequence[str]) -> list[Entry]:
    """In the table's order, ours last: results are held against the first peer's."""
    return sorted((e for e in PEERS if e.name in names), key=lambda e: e.name == "ours")


def measured_peaks(threads: int, short: bool) -> dict[str, Any]:
    """In a process of its own, under a worker's environment."""
    most = 1 << 28 if short else 1 << 40
    command = [sys.executable, "-m", "benchmarks.peaks", str(threads), str(most)]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment(threads),
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        return {"missing": f"{type(error).__name__}: {error}"}


def measure(
    results: Results,
    cases: Sequence[Case],
    threads: Sequence[int],
    settings: Settings,
    args: argparse.Namespace,
    started: float,
) -> None:
    """Fill in the results, a row at a time, with a line of progress."""
    from tqdm import tqdm

    everything = not (args.only or args.short or len(args.suite) < len(NETWORKS))
    beside = everything if args.more is None else args.more
    wide = [("overhead", OVERHEAD), *(SCALING.items() if beside else ())] if beside or args.short else []
    total = (len(cases) + sum(len(found) for _, found in wide)) * len(threads)
    bar = tqdm(total=total, desc="bench", unit="case", mininterval=0.5)
    kept = args.out / "results.json"

    def known(name: str, versions: dict[str, str]) -> None:
        if "missing" in versions and name not in results.peers:
            bar.write(f"{name} is missing: {versions['missing']}")
        results.peers[name] = versions

    def timed(chosen: Sequence[Case], peers: Sequence[str], rows: list[Row]) -> None:
        def seen(row: Row) -> None:
            rows.append(row)
            bar.write(one_line(row))
            bar.update()
            if bar.n % 20 == 0:  # a run that is killed leaves what it had
                results.save(kept)

        end = None if settings.limit is None else started + settings.limit
        results.unreached += run(chosen, chosen_peers(peers), threads, settings, seen, known, end)

    with bar:
        for name, found in wide:
            timed(found, [n for n in NEAR if n in args.peers], results.more.setdefault(name, []))
        timed(cases, args.peers, results.rows)
        if beside and not results.unreached:
            bar.set_description("start-up")
            results.startup = startup.measure(whole=settings.limit is None)


def write(results: Results, folder: Path) -> int:
    """JSON, Markdown and pictures in the folder; the summary on the terminal."""
    results.save(folder / "results.json")
    try:
        from benchmarks.pictures import draw

        pictures = [path.name for path in draw(results, folder)]
    except ModuleNotFoundError as error:
        print(f"no pictures: there is no module {error.name}; pip install 'derive-kernels[bench]'")
        pictures = []
    (folder / "README.md").write_text(page(results, pictures), encoding="utf-8")
    print(f"\n{terminal(results)}\n\n{folder}: {', '.join(['results.json', 'README.md', *pictures])}")
    return 0
