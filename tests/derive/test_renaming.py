"""Other letters and other axis orders: the same lowering, for every family of shipped operators and every one of the zoo."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from derive.catalogue import operators
from derive.pipeline import derive
from derive.spec import load_operators
from tests.support.ranks import planes
from tests.support.renaming import lowered, renamed_operator

ZOO = load_operators(Path(__file__).parents[2] / "examples" / "zoo.py")
OPERATORS = ZOO | {op.name: op for op in operators()}
QUICK = {"conv1d", "convolve2d", "max_pool2d", "linear", "dilation", "trace", "circular_conv1d", "maxout"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if n in QUICK else pytest.mark.slow)
        for n in OPERATORS
        if n in QUICK or n in planes(OPERATORS)
    ],
)
def test_same_lowering(name: str) -> None:
    expected = lowered(derive(OPERATORS[name]))
    for seed in range(3):
        other = renamed_operator(OPERATORS[name], random.Random(f"{name} {seed}"), axes=True)
        assert lowered(derive(other.operator)) == expected, other.operator
