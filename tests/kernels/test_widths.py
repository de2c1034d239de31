"""Whole kernels at every width of vectors that this machine can run: the same integers, to the last bit.

Each width is a process of its own, told by `NUMBA_CPU_FEATURES` that the processor has no more than that.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

import kernels

ROOT = Path(__file__).parents[2]
WIDTHS = {  # bytes of a vector, and what a processor needs to have
    16: "+sse,+sse2",
    32: "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+popcnt,+lzcnt",
    64: "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+popcnt,+lzcnt,"
    "+avx512f,+avx512vl,+avx512bw,+avx512dq",
}


def results(dtype: str) -> dict[str, Any]:
    """Operators and gradients on integers that each type holds, and so do all sums of theirs."""
    rng = np.random.default_rng(0)

    def whole(*shape: int) -> Any:
        return rng.integers(-4, 5, shape).astype(dtype)

    def both(name: str, operator: Any, *arrays: Any, **options: Any) -> None:
        y, pullback = operator.vjp(*arrays, **options)
        found[name] = y
        gradients = pullback(whole(*y.shape))
        for number, gradient in enumerate(gradients if isinstance(gradients, tuple) else (gradients,)):
            if gradient is not None:  # of a bias that is absent
                found[f"{name} {number}"] = gradient

    found: dict[str, Any] = {}
    both("dense", kernels.conv2d, whole(2, 9, 23, 37), whole(21, 9, 3, 3), whole(21), stride=2, padding=1)
    both("strided lanes", kernels.conv2d, whole(1, 40, 14, 14).transpose(0, 3, 1, 2), whole(7, 14, 1, 1))
    both("depthwise", kernels.conv2d, whole(2, 6, 29, 31), whole(6, 1, 3, 3), padding=1, groups=6)
    both(
        "depthwise strided",
        kernels.conv2d,
        whole(1, 5, 30, 27),
        whole(5, 1, 5, 5),
        stride=2,
        dilation=2,
        groups=5,
    )
    both("groups", kernels.conv2d, whole(2, 24, 21, 13), whole(20, 6, 3, 3), padding=1, groups=4)
    both("sliding", kernels.conv1d, whole(3, 2, 200), whole(2, 1, 31), groups=2)
    both("maximum", kernels.max_pool2d, whole(2, 3, 33, 29), 3, stride=2, padding=1)
    both("side by side", kernels.max_pool2d, whole(2, 8, 14, 14), 2)
    both("wide", kernels.max_pool1d, whole(2, 3, 300), 70, stride=1)
    both("rows", kernels.linear, whole(35, 67), whole(19, 67), whole(19))
    both("planes", kernels.global_max_pool, whole(3, 17, 7, 7))
    found["place"] = kernels.max_pool2d(whole(2, 5, 28, 28), 2, return_indices=True)[1]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("size", WIDTHS)
def test_every_width_gives_the_same_integers(size: int, tmp_path: Path) -> None:
    has = llvm.get_host_cpu_features()
    missing = [f for f in WIDTHS[size].split(",") if not has.get(f[1:], False)]
    if missing:
        pytest.skip(f"this processor has no {', '.join(missing)}")
    code = f"""
import numpy as np
from kernels.runtime.machine import machine_tile
from tests.kernels.test_widths import results
assert machine_tile(np.dtype("float32")).lanes.width == {size // 4}
np.savez({str(tmp_path / "found.npz")!r}, **results("float32"))
"""
    environment = {**os.environ, "NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": WIDTHS[size]}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    expected = results("float64")  # at this machine's own width
    with np.load(tmp_path / "found.npz") as found:
        assert set(found.files) == set(expected)
        for name in found.files:
            np.testing.assert_array_equal(found[name], expected[name], name)
