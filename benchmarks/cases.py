"""What is timed: a layer at one batch size, in one direction and dtype. And the numbers it runs on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from benchmarks.layers import (
    DIRECTIONS,
    DTYPES,
    FORWARD,
    INDEX,
    Convolution,
    Layer,
    Pooling,
    as_data,
    from_data,
)
from benchmarks.networks import layers

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to time."""

    layer: Layer
    batch: int
    dtype: str
    direction: str
    uses: tuple[tuple[str, int], ...] = ()  # the networks it occurs in, and how often

    @property
    def name(self) -> str:
        return f"{self.layer.name} n{self.batch} {self.dtype} {self.direction}"

    @property
    def group(self) -> str:
        """What it is averaged with: sort of layer, number of axes unless 2, dtype unless float32."""
        axes = "" if self.layer.axes == 2 else f" {self.layer.axes}-d"
        return self.layer.kind + axes + ("" if self.dtype == "float32" else f" {self.dtype}")

    @property
    def flops(self) -> int:
        return self.layer.flops(self.batch, self.direction)

    @property
    def bytes(self) -> int:
        """The least traffic: each input read once, each result written once."""
        read, written = self.layer.elements(self.batch, self.direction)
        total = (read + written) * DTYPES[self.dtype]
        if self.direction == INDEX:  # half of what is written are int64 indices
            total += written // 2 * (8 - DTYPES[self.dtype])
        return total

    def data(self) -> dict[str, Any]:
        return {
            "layer": as_data(self.layer),
            "batch": self.batch,
            "dtype": self.dtype,
            "direction": self.direction,
            "uses": dict(self.uses),
        }

    @staticmethod
    def load(data: dict[str, Any]) -> Case:
        layer = from_data(data["layer"])
        return Case(layer, data["batch"], data["dtype"], data["direction"], tuple(data["uses"].items()))


def collect(
    networks: Iterable[str], batches: Sequence[int], dtypes: Sequence[str], only: str = ""
) -> tuple[Case, ...]:
    """Every distinct layer of the networks at every setting; `only` is a regular expression for names."""
    uses: dict[Layer, dict[str, int]] = {}
    for network in networks:
        for layer, count in layers(network).items():
            uses.setdefault(layer, {})[network] = count
    wanted = re.compile(only)
    cases = (
        Case(layer, batch, dtype, direction, tuple(used.items()))
        for dtype in dtypes
        for batch in batches
        for layer, used in uses.items()
        for direction in layer.directions
    )
    return tuple(
        case
        for case in cases
        if wanted.search(case.name)
        or wanted.search(case.group)
        or any(wanted.search(n) for n, _ in case.uses)
    )


@dataclass(frozen=True, slots=True)
class Arrays:
    """What a peer is given: NCHW, contiguous. Every process makes the same."""

    x: Array
    w: Array  # empty for a pooling
    gy: Array


def arrays(case: Case) -> Arrays:
    layer, dtype = case.layer, np.dtype(case.dtype)
    x = numbers((case.batch, layer.channels, *layer.size), dtype, 1)
    filters = layer.channels if isinstance(layer, Pooling) else layer.filters or layer.channels
    gradient = case.direction not in (FORWARD, INDEX)
    y = (case.batch, filters, *layer.output)
    gy = numbers(y if gradient else (0,), dtype, 2)
    w = numbers(layer.weight if isinstance(layer, Convolution) else (0,), dtype, 3)
    return Arrays(x, w, gy)


def numbers(shape: tuple[int, ...], dtype: np.dtype[Any], seed: int) -> Array:
    """Numbers in [-1, 1) without a pattern, distinct among any 2^24 in a row, so that maxima have no ties.

    A bijection of the integers below 2^24, which float32 holds exactly.
    """
    count = int(np.prod(shape))
    mixed = np.arange(seed << 20, (seed << 20) + count, dtype=np.uint32)
    for factor in (0x9E3779B1, 0x85EBCA6B):
        mixed *= np.uint32(factor)
        mixed &= np.uint32(0xFFFFFF)
        mixed ^= mixed >> np.uint32(13)
    values = mixed.astype(dtype)
    values *= 2.0**-23
    values -= 1
    return values.reshape(shape)


def terms(case: Case) -> int:
    """About how many numbers one result adds up; rounding grows with its root."""
    results = case.layer.elements(case.batch, case.direction)[1]
    return max(1, case.flops // max(1, results))


def tolerance(case: Case) -> float:
    """How far a result may be off, relative to the largest entry: rounding, Winograd's included."""
    return float(np.finfo(case.dtype).eps * (200 + 4 * terms(case) ** 0.5))


def representative(cases: Sequence[Case]) -> tuple[Case, ...]:
    """A few of each group: the layer in the middle by work; three of the dense ones.

    One of each group first, forward before gradients: whoever runs out of time has seen all classes.
    """
    by_group: dict[str, list[Case]] = {}
    for case in cases:
        by_group.setdefault(case.group, []).append(case)
    kept: set[tuple[Layer, int, str]] = set()
    for group, found in by_group.items():
        settings = sorted(
            {
                (case.layer, case.batch, case.dtype): case.layer.flops(case.batch, FORWARD) for case in found
            }.items(),
            key=lambda item: item[1],
        )
        parts = (0.25, 0.5, 0.75) if group == "dense" else (0.5,)
        kept.update(settings[int(part * len(settings))][0] for part in parts)
    chosen = [case for case in cases if (case.layer, case.batch, case.dtype) in kept]
    seen: Counter[tuple[str, str]] = Counter()
    order = {}
    for case in chosen:
        order[case] = seen[case.group, case.direction], DIRECTIONS.index(case.direction)
        seen[case.group, case.direction] += 1
    return tuple(sorted(chosen, key=lambda case: order[case]))
