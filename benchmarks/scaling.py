"""Cases beside the suites: what a call costs at least, and how time grows with batch, channels and image size."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.cases import Case
from benchmarks.layers import Convolution


def square(channels: int, size: int) -> Convolution:
    """A 3 x 3 convolution that keeps channels and size."""
    return Convolution(channels, channels, (size, size), (3, 3), (1, 1), (1, 1), (1, 1))


def every(layer: Convolution, batch: int = 1) -> Iterable[Case]:
    return (Case(layer, batch, "float32", direction) for direction in layer.directions)


OVERHEAD = tuple(every(square(2, 4)))  # 576 multiply-adds at most: all that is timed is the call
SCALING: dict[str, tuple[Case, ...]] = {
    "batch": tuple(c for n in (1, 2, 4, 8, 16, 32) for c in every(square(64, 28), n)),
    "channels": tuple(c for n in (8, 16, 32, 64, 128, 256, 512) for c in every(square(n, 28))),
    "image size": tuple(c for n in (7, 14, 28, 56, 112, 224) for c in every(square(64, n))),
}
