"""A process that times one library: it reads requests from stdin and answers on stdout, a line of JSON each.

    {"do": "hello"}                                   versions
    {"do": "prepare", "case": ..., "result": path}    compute once, save the result as .npy
    {"do": "time", "seconds": 0.05}                   time the prepared case
    {"do": "drop"}                                    forget it
    {"do": "quit"}

An answer has "ok", and "reason" where that is false; "sort" then says missing, unsupported or failed.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from math import ceil
from time import perf_counter, process_time
from typing import Any, TextIO

import numpy as np

from benchmarks.cases import Case, arrays
from benchmarks.peers import Base, Unsupported

BLOCKS = 5  # of calls, in one round


def timed(run: Callable[[], Any], seconds: float) -> dict[str, Any]:
    """Seconds a call, the least of some blocks that last `seconds` together; the first call is not counted.

    The least, because other processes only ever add. A call longer than `seconds` is made three times, one
    twenty times as long once. `cores` is processor time by elapsed time: how many threads really worked.
    """
    start = perf_counter()
    run()
    first = perf_counter() - start
    if first < seconds:  # the first may have met cold caches: once more, to know how many fit
        start = perf_counter()
        run()
        first = perf_counter() - start
    calls = max(1, ceil(seconds / BLOCKS / max(first, 1e-9)))
    blocks = BLOCKS if first < seconds else 3 if first < 20 * seconds else 1
    best = float("inf")
    gc.collect()
    gc.disable()
    try:
        wall, processor = perf_counter(), process_time()
        for _ in range(blocks):
            start = perf_counter()
            for _ in range(calls):
                run()
            best = min(best, (perf_counter() - start) / calls)
        wall, processor = perf_counter() - wall, process_time() - processor
    finally:
        gc.enable()
    return {"seconds": best, "calls": blocks * calls, "cores": round(processor / wall, 2)}


class Worker:
    """Answers requests about one peer."""

    def __init__(self, module: str, threads: int) -> None:
        self.module, self.threads = module, threads
        self.peer: Base | None = None
        self.run: Callable[[], Any] | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"ok": True, **getattr(self, request.pop("do"))(**request)}
        except ModuleNotFoundError as error:
            sort = "missing" if self.peer is None else "failed"
            return {"ok": False, "sort": sort, "reason": f"there is no module {error.name}"}
        except Unsupported as error:
            return {"ok": False, "sort": "unsupported", "reason": str(error)}
        except Exception as error:
            first = (str(error).strip().splitlines() or [""])[0]
            return {"ok": False, "sort": "failed", "reason": f"{type(error).__name__}: {first[:300]}"}

    def hello(self) -> dict[str, Any]:
        self.peer = import_module(self.module).Peer(self.threads)
        assert self.peer is not None
        return {"versions": self.peer.versions()}

    def prepare(self, case: dict[str, Any], result: str | None = None) -> dict[str, Any]:
        self.drop()
        assert self.peer is not None
        parsed = Case.load(case)
        given = arrays(parsed)
        start = perf_counter()
        with self.peer.context():
            self.run = self.peer.prepare(parsed, given)
            value = self.run()
            seconds = perf_counter() - start
            if result is not None:
                np.save(result, self.peer.array(value))
        return {"seconds": seconds}  # what the first call takes, compilation included

    def time(self, seconds: float) -> dict[str, Any]:
        assert self.peer is not None
        assert self.run is not None, "nothing is prepared"
        with self.peer.context():
            return timed(self.run, seconds)

    def drop(self) -> dict[str, Any]:
        self.run = None
        gc.collect()
        return {}


def main(module: str, threads: str) -> None:
    replies = own_stdout()
    worker = Worker(module, int(threads))
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "quit":
            break
        replies.write(json.dumps(worker.answer(request)) + "\n")
        replies.flush()


def own_stdout() -> TextIO:
    """The pipe to the parent. What libraries print goes to stderr instead."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return replies


if __name__ == "__main__":
    main(*sys.argv[1:])
