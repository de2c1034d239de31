"""A call of a shipped operator with what it gives, and numbers to fill arrays with."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any  # an ndarray; its static type would be nothing but casts here


@dataclass(frozen=True)
class Case:
    """One call, its result and its gradients."""

    operator: str
    label: str
    arrays: tuple[Array | None, ...]
    options: dict[str, Any]
    forward: Callable[..., Array]  # of the arrays
    vjp: Callable[..., tuple[Array | None, ...]]  # of the cotangent and the arrays
    slow: bool = False  # its kernels are not among those that are compiled anyway

    def __str__(self) -> str:
        return f"{self.operator} {self.label}"


def generator(*key: Any) -> np.random.Generator:
    """The same numbers for the same key, in every process."""
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


def apart(rng: np.random.Generator, shape: Sequence[int]) -> Array:
    """Numbers of which no two are close, so that a maximum keeps its place under a small step."""
    count = int(np.prod(shape))
    return (rng.permutation(count).reshape(shape) - count / 2) / 4.0
