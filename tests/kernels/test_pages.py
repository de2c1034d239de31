"""Compiled kernels on arrays flush against protected pages, front and back: an access outside ends the process.

Each run is a process of its own: one that a kernel ends is a finding, and at other widths of vectors it is told
another processor. `tests.support.pages` draws the configurations and the strides.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import llvmlite.binding as llvm
import pytest

from derive.catalogue import CORE, operators
from tests.kernels.test_widths import WIDTHS
from tests.support.ranks import planes

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="protects pages as Linux does")


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True,
        timeout=1800,
    )  # fmt: skip


def guarded(operator: str, dtype: str, draws: int, **environment: str) -> str:
    code = f"""
from tests.support.pages import guard
ran = guard({operator!r}, {dtype!r}, draws={draws})
print(sum(ran.values()), *sorted(ran))
"""
    done = run(code, **environment)
    assert done.returncode == 0, f"{operator}, {dtype}: ended with {done.returncode}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("operator", ["relu", "linear"])
def test_kernels_stay_inside(operator: str) -> None:
    runs, *tasks = guarded(operator, "float32", 3).split()
    assert int(runs) >= 15
    assert tasks


def missing(size: int) -> list[str]:
    """What this processor does not have of what vectors of so many bytes need."""
    has = llvm.get_host_cpu_features()
    return [f for f in WIDTHS[size].split(",") if not has.get(f[1:], False)]


def everywhere() -> Iterator[tuple[str, str, int]]:
    """One operator of each kind with both dtypes at every width; of the other families, whose kernels are written by the
    same hands, one with one dtype at one of the widths that this processor has, in turn."""
    every = [(dtype, size) for size in WIDTHS for dtype in ("float32", "float64")]
    turns = cycle(each for each in every if not missing(each[1]))
    one = planes(operator.name for operator in operators())
    for operator in operators():
        if operator.name in CORE or operator.name in one:
            for dtype, size in every if operator.name in CORE else [next(turns)]:
                yield operator.name, dtype, size


@pytest.mark.slow
@pytest.mark.parametrize(("operator", "dtype", "size"), everywhere())
def test_every_kernel_stays_inside(operator: str, dtype: str, size: int) -> None:
    if lacking := missing(size):
        pytest.skip(f"this processor has no {', '.join(lacking)}")
    guarded(operator, dtype, 25, NUMBA_CPU_NAME="x86-64", NUMBA_CPU_FEATURES=WIDTHS[size])


WINDOWS = """
import numpy as np
from tests.kernels.runtime.primitives import run_compiled
from tests.kernels.runtime.test_winograd import TILE, Problem, windows
from tests.support.pages import laid
for seed in range(80):
    p = Problem(seed, 12)
    for side in ("front", "back"):
        given = p.arguments(TILE, np.float32, seed % 3)
        for k, a in enumerate(given):
            if isinstance(a, np.ndarray):
                aligned = a.dtype == np.float32 and k == 3  # scratch begins at a line of memory
                given[k] = laid((-(-len(a) // 16) * 16 if aligned else len(a),), a.dtype, a.strides, side)
                given[k][: len(a)] = a
        run_compiled(windows, TILE, given)
        assert np.array_equal(p.placed(given[0]), p.expected().astype(np.float32)), seed
"""


@pytest.mark.slow
def test_windows_of_three_stay_inside() -> None:
    """What drawn configurations are too small for: minimal filtering, in the memory layouts of its own tests."""
    done = run(WINDOWS)
    assert done.returncode == 0, f"ended with {done.returncode}\n{done.stderr}"


PLANTED = """
import os
import numpy as np
from kernels.runtime import Real1, task
from tests.kernels.runtime.primitives import run_compiled, tile_of
from tests.support.pages import laid

@task
def shifted(y: Real1, x: Real1, N: int, there: int, here: int, task: int, tasks: int) -> None:
    for n in range(N):
        y[n + there] = x[n + here]

tile = tile_of(np.float64, 4)
shifted.address(np.dtype(float), tile)
for there, y_side, here, x_side in {cases!r}:
    child = os.fork()
    if child == 0:
        y, x = laid((7,), float, (8,), y_side), laid((7,), float, (8,), x_side)
        run_compiled(shifted, tile, (y, x, 7, there, here))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
SHIFTS = {  # how far what is written and read lies off, and on which side of a protected page
    (0, "front", 0, "back"): 0,
    (0, "back", 1, "front"): 0,  # beside the page's other end: nothing is seen there
    (0, "back", 1, "back"): -signal.SIGSEGV,
    (0, "back", -1, "front"): -signal.SIGSEGV,
    (1, "back", 0, "back"): -signal.SIGSEGV,
    (-1, "front", 0, "back"): -signal.SIGSEGV,
}


def test_an_access_outside_ends_the_process() -> None:
    done = run(PLANTED.format(cases=[*SHIFTS]))
    assert [int(code) for code in done.stdout.split()] == [*SHIFTS.values()], done.stderr


def test_a_room_ends_before_a_protected_page() -> None:
    code = """
import ctypes, os, sys
import kernels.runtime
from tests.support.pages import guarded_rooms
with guarded_rooms():
    room = sys.modules["kernels.runtime.execute"].room(192 + 64)
assert room.ctypes.data % 64 == 0
for at in (191, 192):
    child = os.fork()
    if child == 0:
        ctypes.c_uint8.from_address(room.ctypes.data + at).value = 1
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = run(code)
    assert [int(code) for code in done.stdout.split()] == [0, -signal.SIGSEGV], done.stderr
