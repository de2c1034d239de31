"""Compiled kernels on arrays flush against protected pages, front and back: an access outside ends the process.

Each run is a process of its own: one that a kernel ends is a finding, and at other widths of vectors it is told
another processor. `tests.support.pages` draws the configurations and the strides.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import pytest

import kernels
from tests.kernels.test_widths import WIDTHS

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


@pytest.mark.slow
@pytest.mark.parametrize("size", WIDTHS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("operator", kernels.OPERATORS)
def test_every_kernel_stays_inside_at_every_width(operator: str, dtype: str, size: int) -> None:
    has = llvm.get_host_cpu_features()
    missing = [f for f in WIDTHS[size].split(",") if not has.get(f[1:], False)]
    if missing:
        pytest.skip(f"this processor has no {', '.join(missing)}")
    guarded(operator, dtype, 25, NUMBA_CPU_NAME="x86-64", NUMBA_CPU_FEATURES=WIDTHS[size])


PLANTED = """
import numpy as np
from kernels.runtime import Real1, task
from tests.kernels.runtime.primitives import run_compiled, tile_of
from tests.support.pages import laid

@task
def shifted(y: Real1, x: Real1, N: int, task: int, tasks: int) -> None:
    for n in range(N):
        y[n{write}] = x[n{read}]

y, x = laid((7,), float, (8,), {y_side!r}), laid((7,), float, (8,), {x_side!r})
run_compiled(shifted, tile_of(np.float64, 4), (y, x, 7))
print("lived")
"""


@pytest.mark.parametrize(
    ("write", "read", "y_side", "x_side", "lives"),
    [
        ("", "", "front", "back", True),
        ("", " + 1", "back", "front", True),  # the page's other end: nothing is seen there
        ("", " + 1", "back", "back", False),
        ("", " - 1", "back", "front", False),
        (" + 1", "", "back", "back", False),
        (" - 1", "", "front", "back", False),
    ],
)
def test_an_access_outside_ends_the_process(write: str, read: str, y_side: str, x_side: str, lives: bool) -> None:
    done = run(PLANTED.format(write=write, read=read, y_side=y_side, x_side=x_side))
    if lives:
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == "lived"
    else:
        assert done.returncode == -signal.SIGSEGV, (done.returncode, done.stderr)


@pytest.mark.parametrize(("at", "lives"), [(191, True), (192, False)])
def test_a_room_ends_before_a_protected_page(at: int, lives: bool) -> None:
    code = f"""
import ctypes, sys
import kernels.runtime
from tests.support.pages import guarded_rooms
with guarded_rooms():
    room = sys.modules["kernels.runtime.execute"].room(192 + 64)
    assert room.ctypes.data % 64 == 0
    ctypes.c_uint8.from_address(room.ctypes.data + {at}).value = 1
"""
    assert run(code).returncode == (0 if lives else -signal.SIGSEGV)
