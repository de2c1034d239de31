"""What the machine can do: multiply-adds a second, and bytes copied a second.

**FMA peak.** The register tile of the kernels' own micro-kernel, over 128 steps of data that stay in the first
cache, each thread its own: one panel load for each vector, one broadcast for each pixel, then only multiply-adds.
Beside it a matrix product of 2048 x 2048 by NumPy's BLAS. The peak is the larger of the two, so that neither a
weak tile nor a weak BLAS makes a layer look better than it is.

**Copy bandwidth.** numpy.copyto, one slice for each thread, over several footprints (source and target together),
from one that fits the second cache to one that fits none. A byte read and a byte written count two. A layer is
held against the copy of its own footprint, read off between the measured ones.

    python -m benchmarks.peaks THREADS BYTES

prints JSON; the process has the environment of a worker.
"""

from __future__ import annotations

import json
import sys
from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import log
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.machine import caches, memory

STEPS = 128
ROUNDS = 7


def best_of(run: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Seconds of the fastest run after one that does not count."""
    run()
    times = []
    for _ in range(rounds):
        start = perf_counter()
        run()
        times.append(perf_counter() - start)
    return min(times)


def fma_peak(dtype: str, threads: int) -> dict[str, Any]:
    """Floating-point operations a second (two for a multiply-add), by both ways; "flops" is the larger."""
    ways: dict[str, Any] = {}
    for name, way in (("micro_kernel", micro_kernel), ("matrix_product", matrix_product)):
        try:
            ways[name] = way(dtype, threads)
        except Exception as error:  # the other one remains, and the report says why
            ways[name] = f"{type(error).__name__}: {error}"
    return {**ways, "flops": max(value for value in ways.values() if isinstance(value, float))}


def matrix_product(dtype: str, threads: int) -> float:
    size = 2048
    a, b = np.ones((size, size), dtype), np.ones((size, size), dtype)
    out = np.empty((size, size), dtype)
    return 2 * size**3 / best_of(lambda: np.matmul(a, b, out=out))


def micro_kernel(dtype: str, threads: int) -> float:
    from benchmarks.probe import run_probe

    repeats = 20_000
    flops = 0

    def run() -> None:
        nonlocal flops
        flops = run_probe(dtype, threads, STEPS, repeats)

    seconds = best_of(run)
    return flops / seconds


def copy(threads: int, most: int) -> list[dict[str, float]]:
    """[{"bytes": footprint, "bandwidth": bytes a second}], footprints ascending, none above `most` bytes."""
    known = caches()
    middle, last = known.get("L2", 1 << 20), max(known.values(), default=1 << 25)
    largest = min(4 * last, memory() // 4, most)
    footprints = [middle // 2]
    while footprints[-1] * 4 < largest:
        footprints.append(footprints[-1] * 4)
    return [{"bytes": float(f), "bandwidth": copy_bandwidth(f, threads)} for f in [*footprints, largest]]


def copy_bandwidth(footprint: int, threads: int) -> float:
    count = footprint // 2 // 4 // threads
    pairs = [(np.ones(count, np.float32), np.zeros(count, np.float32)) for _ in range(threads)]
    repeats = max(1, (1 << 28) // footprint)

    def work(pair: tuple[Any, Any]) -> None:
        source, target = pair
        for _ in range(repeats):
            np.copyto(target, source)

    moved = 2 * 4 * count * threads * repeats
    if threads == 1:
        return moved / best_of(lambda: work(pairs[0]), 5)
    with ThreadPoolExecutor(threads) as pool:
        return moved / best_of(lambda: list(pool.map(work, pairs)), 5)


def bandwidth_at(copies: Sequence[dict[str, float]], footprint: float) -> float:
    """The copy bandwidth at a footprint, linear in its logarithm between the measured ones."""
    sizes = [c["bytes"] for c in copies]
    at = bisect_left(sizes, footprint)
    if at in (0, len(sizes)):
        return copies[min(at, len(sizes) - 1)]["bandwidth"]
    low, high = copies[at - 1], copies[at]
    part = log(footprint / low["bytes"]) / log(high["bytes"] / low["bytes"])
    return low["bandwidth"] + part * (high["bandwidth"] - low["bandwidth"])


def measure(threads: int, most: int) -> dict[str, Any]:
    return {
        "fma": {dtype: fma_peak(dtype, threads) for dtype in ("float32", "float64")},
        "copy": copy(threads, most),
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]))))
