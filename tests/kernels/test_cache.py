"""The cache on disk of a whole installation: a copy of the packages, used, edited and warmed by processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """`derive` and `kernels` by themselves, with nothing cached."""
    for package in ("derive", "kernels"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def start(installation: Path, *command: str, **environment: str) -> Any:
    inherited = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    own = {"PYTHONPATH": str(installation), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    return subprocess.Popen([sys.executable, *command], cwd=installation, text=True, env={**inherited, **own},
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


def finish(process: Any) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return str(out).strip()


USE = """
import numpy as np, kernels
from kernels.runtime import compiled_signatures, driver
assert kernels.__file__.startswith({home!r})
y, pullback = kernels.relu.vjp(np.array([-1.0, 3.0]))
print(y.tolist(), pullback(y)[0].tolist(), [c.from_cache for c in compiled_signatures()], not driver.make_ready(False))
"""


def use(installation: Path, **environment: str) -> Any:
    return start(installation, "-c", USE.format(home=str(installation)), **environment)


def replaced(file: Path, old: str, new: str) -> None:
    """An edit of equal length that leaves the time of the last change as it was."""
    text, stamp = file.read_text(), file.stat().st_mtime_ns
    assert len(old) == len(new)
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))
    os.utime(file, ns=(stamp, stamp))


def test_no_stale_kernel_runs_after_an_edit(installation: Path) -> None:
    """Of a runtime's source, which concerns everything, of a generated file, which leaves the driver, and of the
    driver, which leaves the tasks."""
    assert finish(use(installation)) == "[0.0, 3.0] [0.0, 3.0] [False, False] False"
    assert finish(use(installation)) == "[0.0, 3.0] [0.0, 3.0] [True, True] True"
    runtime, module = (
        installation / "kernels/runtime/lowering.py",
        installation / "kernels/generated/relu.py",
    )
    replaced(runtime, "b.select(m, x, fence(b, y))", "b.select(m, y, fence(b, x))")
    assert finish(use(installation)) == "[-1.0, 0.0] [-1.0, 0.0] [False, False] False"
    replaced(module, "(y.line((n,), (1,)), total, active", "(y.line((n,), (1,)),-total, active")
    assert finish(use(installation)) == "[1.0, -0.0] [1.0, -0.0] [False, False] True"
    assert finish(use(installation)) == "[1.0, -0.0] [1.0, -0.0] [True, True] True"
    replaced(installation / "kernels/runtime/driver.py", "SMALL = 25_000", "SMALL = 26_000")
    assert finish(use(installation)) == "[1.0, -0.0] [1.0, -0.0] [True, True] False"
    replaced(runtime, "b.select(m, y, fence(b, x))", "b.select(m, x, fence(b, y))")
    replaced(module, "(y.line((n,), (1,)),-total, active", "(y.line((n,), (1,)), total, active")
    assert finish(use(installation)) == "[0.0, 3.0] [0.0, 3.0] [False, False] False"


WARM = ("-m", "derive.cli", "warm", "--only", "relu", "--jobs")


@pytest.mark.slow
def test_processes_that_warm_one_cache_at_once(installation: Path) -> None:
    """Two commands of two processes each, and a user who does not wait for them."""
    running = [start(installation, *WARM, "2") for _ in range(2)]
    running.append(use(installation))
    outputs = [finish(process) for process in running]
    assert outputs[2].startswith("[0.0, 3.0] [0.0, 3.0]")
    assert all(text.startswith("10 kernels ready, ") for text in outputs[:2])
    assert finish(start(installation, *WARM, "1")) == "10 kernels ready, 0 compiled now, 10 from the cache"
    assert finish(use(installation)) == "[0.0, 3.0] [0.0, 3.0] [True, True] True"


def test_an_installation_that_cannot_be_written(installation: Path) -> None:
    """As for root no folder is read-only, a file lies where the cache would be. The user's cache is taken."""
    for folder in ("kernels/generated", "kernels/runtime"):
        (installation / folder / "__pycache__").write_text("")
    home = {"XDG_CACHE_HOME": str(installation / "cache"), "HOME": str(installation)}
    assert finish(use(installation, **home)).endswith("[False, False] False")
    assert finish(use(installation, **home)).endswith("[True, True] True")
    assert list((installation / "cache").rglob("*.nbi"))
