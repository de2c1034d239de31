"""The vectors and the register tile of the processor that Numba compiles for.

Measured: a tile that is too large spills (a third of the speed), a vector of the wrong width
costs half or more, so both follow from the target's features. `NUMBA_CPU_FEATURES` simulates others.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

import numba
import numpy as np

from kernels.runtime.simd import Lanes, Tile


@cache
def target() -> tuple[str, str, str, str]:
    """Triple, processor and features that compiled code is for, and how much it is optimised."""
    from numba.core.registry import cpu_target

    triple, processor, features = cpu_target.target_context.codegen().magic_tuple()
    return str(triple), str(processor), str(features), str(numba.config.OPT)


def target_digest() -> str:
    """The target in eight letters, for the name of a file."""
    return hashlib.sha256(repr(target()).encode()).hexdigest()[:8]


def shape_for(triple: str, features: str) -> tuple[int, int, int]:
    """Bytes in a vector, and pixels x vectors of the tile."""
    have = set(features.split(","))
    if "+avx512f" in have:  # 32 registers: 24 sums, 4 weights, 1 pixel
        return 64, 6, 4
    if "+avx2" in have and "+fma" in have:  # 16 registers: 12 sums, 2 weights, 1 pixel
        return 32, 6, 2
    if triple.startswith(("aarch64", "arm64")):  # 32 registers
        return 16, 6, 4
    return 16, 4, 2


@cache
def has(feature: str) -> bool:
    """Has the target this feature, by LLVM's name?"""
    return f"+{feature}" in target()[2].split(",")


def masks_memory() -> bool:
    """Has the target masked stores worth the name? (Those of AVX2 take 40 operations on some processors.)"""
    return has("avx512f")


PANEL = 32768  # bytes of a packed panel's block: most of the nearest cache


@cache
def machine_tile(dtype: Any) -> Tile:
    """The tile for float32 or float64 on this machine."""
    triple, _, features, _ = target()
    size, pixels, vectors = shape_for(triple, features)
    scalar = np.dtype(dtype).type
    lanes = Lanes(size // np.dtype(dtype).itemsize, scalar)
    depth = PANEL // (size * vectors)
    return Tile(lanes, pixels, vectors, rows=256 * pixels, steps=4096, depth=depth)
