"""What says which way is taken scales with the tile, so that runs in small tiles come to all of them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from derive.emit.forms import MOST
from kernels.runtime import Lanes, Tile
from kernels.runtime.machine import machine_tile


def room(tile: Tile) -> int:
    return int(eval(MOST, {"tile": tile}))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_copies_stay_in_the_caches_of_a_machine(dtype: type) -> None:
    assert room(machine_tile(dtype)) == 2**20


def test_small_runs_go_beyond_it() -> None:
    assert room(Tile(Lanes(2, Fraction), 2, 2)) < 2**11
