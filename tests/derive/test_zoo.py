"""Operators that are not in the catalogue, each through the whole line: every derivative against dual numbers.

Exact where the operator is rational; otherwise 60-digit numbers agreeing to 40.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from derive.language import Operator
from derive.reference import Case
from derive.spec import load_operators
from kernels.runtime.definition import Definition
from tests.support.line import PROGRAMS, Trial, fractions, through, trial

SPEC = Path(__file__).parents[2] / "examples" / "zoo.py"
OPERATORS = load_operators(SPEC)


@dataclass(frozen=True)
class At:
    """Shapes of real inputs, values of integer ones, parameters."""

    shapes: dict[str, tuple[int, ...]]
    integers: dict[str, int] = field(default_factory=dict)
    reals: dict[str, Fraction] = field(default_factory=dict)
    whole: dict[str, Any] = field(default_factory=dict)
    style: str = "general"

    def case(self, operator: Operator, seed: int = 0) -> Case:
        rng = random.Random(f"{operator.name} {seed}")
        inputs: dict[str, Any] = {
            name: fractions(rng, shape, self.style) for name, shape in self.shapes.items()
        }
        inputs |= {name: np.asarray(v, np.int64) for name, v in self.whole.items()}
        return Case(operator, inputs, self.integers, self.reals)


def plane(s=(1, 1), d=(1, 1), a=(0, 0), f=(0, 0), **more: int) -> dict[str, int]:
    numbered = {"s": s, "d": d, "a": a, "f": f}
    return {f"{name}{axis}": v[axis] for name, v in numbered.items() for axis in range(2)} | more


def q(p: int, over: int = 1) -> Fraction:
    return Fraction(p, over)


SIGNAL = {"x": (1, 2, 5), "w": (2, 2, 3)}
MODE = [
    At(SIGNAL, {"step": 2, "gap": 1, "before": 2, "after": 1}),
    At(SIGNAL, {"step": 1, "gap": 2, "before": 7, "after": 6}),
]
SHORT = At({"x": (1, 1, 1), "w": (1, 1, 2)}, {"step": 1, "gap": 1, "before": 3, "after": 2})

PLACES: dict[str, list[At]] = {
    "l1_conv": [At({"x": (1, 2, 4, 5), "w": (2, 2, 2, 3)}, plane(s=(2, 1), d=(1, 2), a=(1, 2), f=(1, 1)), style="ties")],
    "dilation": [At({"x": (1, 2, 4, 5), "w": (2, 2, 3)}, plane(s=(1, 2), d=(2, 1), a=(1, 1), f=(0, 1)), style="ties")],
    "locally_connected": [At({"x": (1, 2, 5, 4), "w": (2, 2, 3, 2, 2, 2), "b": (2, 2, 3)}, {"s0": 3, "s1": 1})],
    "causal_conv1d": [At({"x": (2, 2, 6), "w": (2, 2, 3)}, {"gap": 2})],
    "conv_transpose2d": [
        At({"x": (1, 2, 3, 2), "w": (2, 2, 2, 3)}, plane(s=(3, 2), d=(2, 1), a=(1, 1), more0=2, more1=0)),
        At({"x": (1, 1, 2, 3), "w": (1, 2, 3, 2)}, plane(s=(2, 4), d=(2, 6), a=(0, 3), more0=1, more1=3)),
    ],
    "reflect_conv1d": [*MODE, SHORT],
    "symmetric_conv1d": [*MODE, SHORT],
    "replicate_conv1d": [*MODE, SHORT],
    "circular_conv1d": [*MODE, SHORT],
    "mean_conv1d": MODE,
    "cost_volume": [At({"x": (1, 2, 3, 3), "z": (1, 2, 3, 3)}, {"reach": 1})],
    "skewed": [At({"x": (5, 4), "w": (3,)}, {"step": 1, "reach": 1, "I": 4, "J": 3}),
               At({"x": (5, 4), "w": (3,)}, {"step": 2, "reach": 2, "I": 3, "J": 3})],
    "power_pool": [At({"x": (1, 2, 4, 5)}, plane(s=(1, 2), d=(1, 2), K0=2, K1=2), {"gamma": q(3)}),
                   At({"x": (1, 1, 3, 4)}, plane(s=(2, 2), K0=2, K1=2), {"gamma": q(5, 2)}, style="positive")],
    "logsumexp_pool": [At({"x": (1, 2, 4, 5)}, plane(s=(2, 1), d=(1, 2), a=(1, 0), f=(0, 1), K0=2, K1=2))],
    "product_pool": [At({"x": (2, 7)}, {"step": 2, "J": 3}, style="ties")],
    "median_pool": [At({"x": (2, 8)}, {"step": 2, "J": 3}, style="ties"), At({"x": (1, 7)}, {"step": 1, "J": 4})],
    "split_min_pool": [At({"x": (2, 8)}, {"step": 2, "J": 3}, style="ties")],
    "adaptive_avg_pool1d": [At({"x": (1, 2, 7)}, {"H": 3}), At({"x": (1, 1, 3)}, {"H": 5})],
    "max_unpool1d": [At({"x": (1, 2, 3)}, {"Y2": 7}, whole={"t": [[[5, 0, 2], [1, 1, 6]]]})],
    "pixel_shuffle": [At({"x": (1, 8, 2, 3)}, {"step": 2}), At({"x": (1, 11, 1, 2)}, {"step": 3})],
    "interpolate1d": [At({"x": (1, 2, 4)}, {"H": 6})],
    "upsample1d": [At({"x": (1, 2, 3)}, {"step": 3})],
    "bilinear": [At({"x": (2, 3), "w": (2, 3, 2), "z": (2, 2), "b": (2,)}), At({"x": (2, 3), "w": (2, 3, 2), "z": (2, 2), "b": (2,)})],
    "cosine": [At({"x": (2, 3), "w": (2, 3)}, {}, {"eps": q(1, 9)})],
    "local_response_norm": [
        At({"x": (1, 4, 2)}, {"reach": 1}, {"kappa": q(2), "alpha": q(1, 3), "beta": q(3, 4)}),
        At({"x": (1, 3, 1)}, {"reach": 4}, {"kappa": q(1), "alpha": q(1, 2), "beta": q(2)}),
    ],
    "batch_norm": [At({"x": (2, 2, 2), "g": (2,), "b": (2,)}, {}, {"eps": q(1, 100)})],
    "layer_norm": [At({"x": (2, 3), "g": (3,), "b": (3,)}, {}, {"eps": q(1, 100)})],
    "attention": [At({"query": (1, 2, 3), "key": (1, 3, 3), "value": (1, 3, 2)})],
    "focal_loss": [At({"x": (3, 4)}, {}, {"gamma": q(2)}, {"t": [3, 0, 3]}), At({"x": (2, 3)}, {}, {"gamma": q(3, 2)}, {"t": [2, 1]})],
    "embedding": [At({"w": (4, 3)}, whole={"t": [3, 0, 3, 1, 1]})],
    "cumulative_sum": [At({"x": (2, 5)})],
    "maxout": [At({"x": (2, 7)}, {"step": 3}, style="ties")],
    "graph_conv": [At({"x": (3, 2), "b": (5,), "w": (2, 2)}, whole={"source": [0, 2, 2, 1, 0], "sink": [1, 1, 0, 1, 0]}, integers={})],
    "polyphase": [At({"x": (1, 9), "w": (3, 2)}, {"step": 3}), At({"x": (1, 6), "w": (4, 3)}, {"step": 4})],
    "trace": [At({"x": (2, 3, 3)})],
    "winner": [At({"x": (3, 4), "w": (4, 2)}, style="ties")],
    "huber_loss": [At({"x": (5,), "y": (5,)}, {}, {"alpha": q(3, 2)})],
}  # fmt: skip

QUICK = {
    "l1_conv", "dilation", "conv_transpose2d", "reflect_conv1d", "power_pool", "cosine", "embedding", "median_pool", "split_min_pool",
    "max_unpool1d", "trace", "cumulative_sum",
}  # fmt: skip
SHORT = {"dilation", "cosine", "embedding", "split_min_pool", "cumulative_sum", "trace"}  # to compile


@cache
def generated(name: str, folder: Path) -> Definition:
    return through(OPERATORS[name], folder)[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zoo")


def chosen(quick: set[str] = QUICK) -> list[Any]:
    return [pytest.param(n, id=n, marks=() if n in quick else pytest.mark.slow) for n in PLACES]


def trials(name: str, folder: Path) -> list[Trial]:
    return [
        trial(generated(name, folder), at.case(OPERATORS[name], k), k) for k, at in enumerate(PLACES[name])
    ]


def test_every_operator_has_a_place() -> None:
    assert PLACES.keys() == OPERATORS.keys()
    assert len(OPERATORS) >= 30
    assert all(len(o.statements) <= 6 for o in OPERATORS.values())


@pytest.mark.parametrize("name", chosen())
def test_exact(name: str, folder: Path) -> None:
    """forward, vjp, jvp, vjp of vjp, jvp of vjp."""
    for t in trials(name, folder):
        for program in PROGRAMS:
            t.check(program)


@pytest.mark.parametrize("name", chosen(SHORT))
def test_compiled(name: str, folder: Path) -> None:
    """The compiled path, in float64."""
    for t in trials(name, folder)[:1]:
        for program in PROGRAMS:
            t.compiled(program)
