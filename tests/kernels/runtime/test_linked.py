"""Functions that tasks are linked with: what they mean, what tasks hold of them, and that none is ever stale."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kernels.runtime import Real1, Scratch, Tile, compiled_signatures, kernel, task
from kernels.runtime.linked import linked, linked_by
from kernels.runtime.simd import Scalar
from tests.kernels.runtime.primitives import run_compiled, run_meaning, tile_of
from tests.kernels.runtime.test_contraction import contracted

ROOT = Path(__file__).parents[3]


@linked
def shifted(tile: Tile, to: Scratch, x: Scratch, count: int, by: Scalar, twice: bool) -> None:
    for n in range(count):
        to[n] = x[n] + by * (2 if twice else 1) + tile.lanes.width


@kernel
def both(tile: Tile, to: Scratch, x: Scratch, count: int) -> None:
    shifted(tile, to, x, count, 0.5, False)
    shifted(tile, to, to, count, 100, count > 2)


@task
def shifted_twice(y: Real1, x: Real1, N: int, tile: Tile, task: int, tasks: int) -> None:
    both(tile, y.pointer(), x.pointer(), N)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_is_what_it_means(dtype: type) -> None:
    x = np.arange(4, dtype=dtype)
    for count, add in ((3, 204.5), (2, 104.5)):
        means, compiled = np.zeros(4, dtype), np.zeros(4, dtype)
        run_meaning(shifted_twice, tile_of(float, 2), (means, x, count))
        run_compiled(shifted_twice, tile_of(dtype, 2), (compiled, x, count))
        assert compiled.tolist() == means.tolist() == [*(x[:count] + add).tolist(), *[0.0] * (4 - count)]


def test_each_tile_has_its_own() -> None:
    for width in (2, 8):
        y = np.zeros(1)
        run_compiled(shifted_twice, tile_of(np.float64, width), (y, np.zeros(1), 1))
        assert y[0] == 100.5 + 2 * width


def test_it_is_found_behind_other_functions_and_made_once() -> None:
    assert [f.name for f in linked_by(shifted_twice.function)] == ["shifted"]
    tile = tile_of(np.float32, 4)
    y = np.zeros(1, np.float32)
    for _ in range(2):
        run_compiled(shifted_twice, tile, (y, y, 1))
    made = [c.task for c in compiled_signatures() if c.task in ("shifted", "shifted_twice")]
    assert made.count("shifted") <= made.count("shifted_twice")
    assert made[-2:] == ["shifted", "shifted_twice"]


def test_a_task_holds_none_of_it() -> None:
    """A contraction's micro-kernels are not in the tasks that call for one."""
    text = contracted.assembly(np.dtype(np.float32))
    assert "contract__" in text
    assert "vfmadd" not in text


MODULE = """from __future__ import annotations
from kernels.runtime import Real1, Scratch, Tile, task
from kernels.runtime.linked import linked
FACTOR = {factor}
@linked
def scaled(tile: Tile, x: Scratch, count: int) -> None:
    for n in range(count):
        x[n] *= FACTOR
@task
def times(y: Real1, N: int, tile: Tile, task: int, tasks: int) -> None:
    scaled(tile, y.pointer(), N)
"""
RUN = """
import sys, numpy as np
sys.path.insert(0, sys.argv[1])
import mine
from kernels.runtime import compiled_signatures
from tests.kernels.runtime.primitives import run_compiled, tile_of
y = np.ones(1)
run_compiled(mine.times, tile_of(np.float64, 4), (y, 1))
print(y[0], [c.from_cache for c in compiled_signatures()])
"""


def test_neither_it_nor_its_task_is_ever_stale(tmp_path: Path) -> None:
    """The module is edited, with the time of the last change as it was."""
    seen = []
    for factor in (2, 2, 3, 2):
        file = tmp_path / "mine.py"
        file.write_text(MODULE.format(factor=factor))
        os.utime(file, (10**9, 10**9))
        done = subprocess.run([sys.executable, "-c", RUN, str(tmp_path)], cwd=ROOT, capture_output=True, text=True,
                              env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})  # fmt: skip
        assert done.returncode == 0, done.stderr
        seen.append(done.stdout.strip())
        for name in ("scaled", "times"):
            assert len(list((tmp_path / "__pycache__").glob(f"mine.{name}__*.nbi"))) == 1
    assert seen == ["2.0 [False, False]", "2.0 [True, True]", "3.0 [False, False]", "2.0 [False, False]"]
