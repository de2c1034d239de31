"""Calls that nobody should make: does the interpreter live, and does a mistake get an error of ours?

A case is one call of an operator or of one of its derivatives, valid but for none, one or a few faults: a wrong type,
rank or option, odd memory, an object with a will of its own, `out` over an input, indices that change between a call
and its pullback. What is valid is learned from the signature and the definition alone, with `output_shape` as the
judge, so that any operator is fuzzed without a word about it. A case is sound if

- the process survives it, and it ends in time;
- it is refused by a `KernelError` that begins with the operator's name, and writes nothing; or
- it is accepted, and shapes are those that `output_shape` and the arguments say, arguments are as they were, `out` is
  written where its elements lie and nowhere else, and results are those of the same call on fresh contiguous copies.

Cases run in a process of their own under a limit of memory: a crash is a finding as well, told with the number of
the case. `derive-kernels fuzz --case N` runs one again and tells what it does, step by step.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from zlib import crc32

import numpy as np

from derive.verify import hostile
from derive.verify.calls import Valid, valid_calls
from derive.verify.trial import METHODS, ROOM, WEIGHTS, Left, Refused, Say, Trial, Unsound
from kernels.operator import Operator

SECONDS = 600.0  # of a case, compilation included


# ------------------------------------------------------------------------------------------- cases


@dataclass(frozen=True)
class Settings:
    """Which cases there are."""

    package: str | None = (
        None  # a folder; else the shipped catalogue, by its signatures and as in the formulas
    )
    only: tuple[str, ...] = ()
    seed: int = 0
    dtypes: tuple[str, ...] = ("float32", "float64")
    torch: bool = False  # tensors too, in place of arrays


def subjects(settings: Settings) -> list[Operator]:
    """The operators, shipped ones twice: as users call them, and as a generated package would have them."""
    import kernels
    from derive.spec import load_definition

    if settings.package is not None:
        files = sorted(Path(settings.package).glob("*.py"))
        names = [f for f in files if f.stem != "spec" and not f.stem.startswith(("_", "test_"))]
        found = [Operator(load_definition(file)) for file in names]
        return [o for o in found if not settings.only or o.__name__ in settings.only]
    chosen = [
        getattr(kernels, name) for name in kernels.OPERATORS if not settings.only or name in settings.only
    ]
    return chosen + [Operator(o.definition) for o in chosen]


class Cases:
    """All cases of some settings, by number."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.operators = subjects(settings)
        if not self.operators:
            raise LookupError("no operator to fuzz")
        self.known: dict[int, tuple[Valid, ...]] = {}
        # each operator in one type, so that half of the kernels need not be compiled
        kinds = [settings.dtypes[crc32(o.__name__.encode()) % len(settings.dtypes)] for o in self.operators]
        self.types = [np.dtype(kind) for kind in kinds]
        self.others = (hostile.torch_tensor,) if settings.torch else ()

    def run(self, number: int, say: Say = lambda text: None) -> str:
        """accepted, refused or left; Unsound if it is none."""
        settings = self.settings
        random = Random(f"{settings.seed}:{number}")
        n = number % len(self.operators)
        operator = self.operators[n]
        if n not in self.known:
            self.known[n] = valid_calls(operator, settings.seed)
        (method,) = random.choices(list(METHODS), WEIGHTS)
        faults = Counter(random.choices(METHODS[method], k=random.choice((0, 0, 0, 1, 1, 1, 1, 1, 2, 3))))
        valid, dtype = random.choice(self.known[n]), self.types[n]
        say(
            f"{operator!r:.100} {method.__name__}, {dtype}, shapes {valid.shapes}, options {valid.options}, {faults}"
        )
        t = Trial(operator, valid, random, say, dtype, faults, self.others, strange=random.random() < 0.2)
        try:
            method(t)
        except Refused as error:
            t.finish()
            if not t.faulty:
                raise Unsound(
                    f"a call without a fault is refused: {error.__cause__!s:.400}"
                ) from error.__cause__
            return "refused"
        except Left:
            return "left"
        t.finish()
        return "accepted"


# -------------------------------------------------------------------------------------- processes


@dataclass
class Found:
    """What a run of many cases came to."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    @property
    def cases(self) -> int:
        return sum(self.counts.values())

    def __str__(self) -> str:
        kinds = ", ".join(
            f"{self.counts[kind]} {kind}" for kind in ("accepted", "refused", "left", "unsound", "crash")
        )
        return f"{self.cases} cases: {kinds}"


def fuzz(
    settings: Settings,
    cases: int,
    *,
    first: int = 0,
    most: int = 20,
    seconds: float = SECONDS,
    tick: Callable[[int], object] = lambda count: None,
    say: Say = lambda text: None,
) -> Found:
    """Run the cases, in a process of their own; a new one goes on after a crash.

    `tick` is told how many have run, and `say` each finding at once.
    """
    found, number, last = Found(), first, first + cases
    while number < last and found.counts["unsound"] + found.counts["crash"] < most:
        number = _process(settings, number, last, most, seconds, found, tick, say)
    return found


def _process(
    settings: Settings,
    first: int,
    last: int,
    most: int,
    seconds: float,
    found: Found,
    tick: Callable[[int], object],
    say: Say,
) -> int:
    """Cases from `first` until all have run, or one has killed the process; the number of the next."""
    with tempfile.TemporaryDirectory() as folder:
        beat = Path(folder) / "beat"
        beat.write_bytes(first.to_bytes(8, "little"))
        order = json.dumps({**vars(settings), "first": first, "last": last, "beat": str(beat), "most": most})
        with (Path(folder) / "err").open("w+") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "derive.verify.fuzz", order],
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
            )
            killed = False
            with _watched(process, beat, seconds) as late:
                assert process.stdout is not None
                for line in process.stdout:
                    told = json.loads(line)
                    found.counts.update(told["counts"])
                    found.findings += told["findings"]
                    for text in told["findings"]:
                        say(text)
                    tick(sum(told["counts"].values()))
                code = process.wait()
                killed = bool(late)
            if code == 0:
                return last
            err.seek(0)
            words = err.read()[-2000:]
        at = int.from_bytes(beat.read_bytes(), "little")
        how = f"takes more than {seconds:g} s" if killed else f"ended the process with {_signal(code)}"
        found.counts["crash"] += 1
        found.findings.append(f"case {at} {how}\n{words}")
        say(found.findings[-1])
        tick(1)
        return at + 1


def _signal(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"code {code}"


@contextlib.contextmanager
def _watched(process: subprocess.Popen[str], beat: Path, seconds: float) -> Iterator[list[bool]]:
    """Kill the process when it stays at one case for too long."""
    over, late = threading.Event(), list[bool]()

    def watch() -> None:
        seen, since = b"", time.monotonic()
        while not over.wait(0.5):
            now = beat.read_bytes()
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > seconds:
                late.append(True)
                process.kill()
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield late
    finally:
        over.set()
        thread.join()
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def tell(settings: Settings, number: int) -> str:
    """One case, its steps printed as they are made; in this process."""
    cases = Cases(settings)
    limit()
    try:
        return cases.run(number, lambda text: print(f"  {text}", flush=True))
    except Unsound as error:
        traceback.print_exception(error, file=sys.stdout)
        return "unsound"


def limit() -> None:
    """What asks for more memory than a case may have finds none."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * resource.getpagesize() + ROOM
    resource.setrlimit(
        resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
    )


def _worker(order: str) -> None:
    told = json.loads(order)
    first, last, most = (told.pop(name) for name in ("first", "last", "most"))
    with open(told.pop("beat"), "r+b") as file:
        beat = mmap.mmap(file.fileno(), 8)
    told |= {name: tuple(told[name]) for name in ("only", "dtypes")}
    settings = Settings(**told)
    warnings.simplefilter("ignore")
    if settings.torch:
        import torch

        torch.set_num_threads(1)
    cases = Cases(settings)
    limit()
    counts: Counter[str] = Counter()
    findings: list[str] = []
    for number in range(first, last):
        beat[:] = number.to_bytes(8, "little")
        steps: list[str] = []
        try:
            counts[cases.run(number, steps.append)] += 1
        except Exception as caught:  # Unsound, or something that the fuzzer itself does not expect
            counts["unsound"] += 1
            most -= 1
            error = caught
            if not isinstance(caught, Unsound):
                error = Unsound(f"the fuzzer: {type(caught).__name__}: {caught!s:.300}")
                error.__cause__ = caught
            cause = "".join(traceback.format_exception(error.__cause__, limit=-4)) if error.__cause__ else ""
            findings.append("\n    ".join([f"case {number}: {error}", *steps, *cause.splitlines()]))
        if sum(counts.values()) >= 500 or number == last - 1 or findings or most <= 0:
            print(json.dumps({"counts": counts, "findings": findings}), flush=True)
            counts.clear()
            findings.clear()
        if most <= 0:
            break
    os._exit(0)  # what evil objects do when they are collected is not our affair


if __name__ == "__main__":
    _worker(sys.argv[1])
