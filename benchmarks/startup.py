"""How long one waits before anything runs: import, first call with and without a cache, the whole build.

Every figure is the time of a process of its own, or a part of it that the process itself reports.
"""

from __future__ import annotations

import os
import subprocess
import sys
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from benchmarks.session import ROOT

FIRST = """
import time
start = time.perf_counter()
import kernels
imported = time.perf_counter()
import numpy as np
x, w = np.ones((1, 8, 16, 16), np.float32), np.ones((8, 8, 3, 3), np.float32)
y, pullback = kernels.conv2d.vjp(x, w, padding=1)
forward = time.perf_counter()
pullback(y)
print(imported - start, forward - start, time.perf_counter() - start)
"""


def measure(whole: bool) -> dict[str, Any]:
    """Seconds by what they are of; a text where something failed. `whole` adds the build of every kernel."""
    with TemporaryDirectory(prefix="bench-cache-") as cache:
        found: dict[str, Any] = {"python alone": elapsed("pass", cache)}
        for state in ("cold", "warm"):
            found.update(first_calls(state, cache))
    if whole:
        with TemporaryDirectory(prefix="bench-cache-") as cache:
            for state in ("cold", "warm"):
                code = "import sys; from derive.cli import main; sys.exit(main(['warm']))"
                found[f"derive-kernels warm, {state} cache"] = elapsed(code, cache)
    return found


def first_calls(state: str, cache: str) -> dict[str, Any]:
    names = (
        "import kernels",
        f"import and first conv2d, {state} cache",
        f"import, first conv2d and its gradients, {state} cache",
    )
    try:
        text = process(FIRST, cache)
        return dict(zip(names, map(float, text.split()), strict=True))
    except (subprocess.SubprocessError, ValueError) as error:
        return dict.fromkeys(names, f"{type(error).__name__}: {error}")


def elapsed(code: str, cache: str) -> float | str:
    start = perf_counter()
    try:
        process(code, cache)
    except subprocess.SubprocessError as error:
        return f"{type(error).__name__}: {error}"
    return perf_counter() - start


def process(code: str, cache: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "NUMBA_CACHE_DIR": cache},
        capture_output=True,
        text=True,
        timeout=1800,
        check=True,
    )
    return done.stdout
