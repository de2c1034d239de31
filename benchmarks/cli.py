"""The command line of the bench: parse, run, write."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.cases import Case, collect
from benchmarks.layers import DTYPES
from benchmarks.machine import describe
from benchmarks.networks import NETWORKS
from benchmarks.peers import PEERS, Entry
from benchmarks.report import one_line, terminal
from benchmarks.results import Results
from benchmarks.run import Row, Settings, run
from benchmarks.session import ROOT, environment

OUT = ROOT / "out" / "bench"


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="bench", description="Layers of real networks, timed beside other libraries."
    )
    p.add_argument("--suite", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NETWORK",
                   help=f"among {', '.join(NETWORKS)} (default: all)")  # fmt: skip
    p.add_argument("--only", default="", metavar="REGEX", help="cases whose name, class or network matches")
    p.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    p.add_argument("--dtype", nargs="+", choices=DTYPES, default=list(DTYPES))
    p.add_argument("--threads", nargs="+", type=int, default=None, help="default: 1, and all cores")
    p.add_argument("--peers", nargs="+", choices=[e.name for e in PEERS], default=[e.name for e in PEERS],
                   metavar="PEER", help=f"among {', '.join(e.name for e in PEERS)} (default: all)")  # fmt: skip
    p.add_argument("--rounds", type=int, default=5, help="the peers take turns so many times (default 5)")
    p.add_argument("--seconds", type=float, default=0.05, help="each timing lasts at least so long (0.05)")
    p.add_argument("--timeout", type=float, default=120, help="for one answer of a peer, in seconds (120)")
    p.add_argument("--limit", type=float, default=None, help="stop after so many seconds")
    p.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="results go there (out/bench)")
    p.add_argument("--date", default=None, help="date of the report (default: the clock's)")
    p.add_argument("--list", action="store_true", help="print the cases, time nothing")
    p.add_argument("--no-peaks", action="store_true", help="do not measure the machine's peaks")
    return p


def chosen_cases(args: argparse.Namespace) -> tuple[Case, ...]:
    return collect(args.suite, args.batch, args.dtype, args.only)


def chosen_peers(names: Sequence[str]) -> list[Entry]:
    """In the table's order, torch before ours: results are held against the first peer's."""
    return sorted((e for e in PEERS if e.name in names), key=lambda e: e.name == "ours")


def measured_peaks(threads: int) -> dict[str, Any]:
    """In a process of its own, under a worker's environment."""
    command = [sys.executable, "-m", "benchmarks.peaks", str(threads)]
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


def main(argv: Sequence[str] | None = None) -> int:
    from tqdm import tqdm

    args = parser().parse_args(argv)
    cases = chosen_cases(args)
    if args.list:
        for case in cases:
            uses = ", ".join(f"{network} x{count}" for network, count in case.uses)
            print(f"{case.name:<64} {case.group:<24} {case.flops / 1e9:8.3f} GFLOP  {uses}")
        print(f"{len(cases)} cases")
        return 0
    if not cases:
        print("no case matches; --list prints them", file=sys.stderr)
        return 2
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = args.threads or sorted({1, cores})
    settings = Settings(args.rounds, args.seconds, args.timeout, limit=args.limit)
    date = args.date or datetime.now(UTC).strftime("%Y-%m-%d")
    results = Results(date, describe(), asdict(settings))
    if not args.no_peaks:
        results.peaks = {str(count): measured_peaks(count) for count in threads}
    bar = tqdm(total=len(cases) * len(threads), desc="bench", unit="case", mininterval=0.5)

    def seen(row: Row) -> None:
        results.rows.append(row)
        bar.write(one_line(row))
        bar.update()
        if len(results.rows) % 20 == 0:  # a run that is stopped leaves what it had
            results.save(args.out / "results.json")

    def known(name: str, versions: dict[str, str]) -> None:
        results.peers[name] = versions
        if "missing" in versions:
            bar.write(f"{name} is missing: {versions['missing']}")

    with bar:
        results.unreached = run(cases, chosen_peers(args.peers), threads, settings, seen, known)
    results.save(args.out / "results.json")
    print(f"\n{terminal(results)}\n\nwrote {args.out / 'results.json'}")
    return 0
