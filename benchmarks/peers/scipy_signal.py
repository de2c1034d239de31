"""SciPy, where one of its functions computes the layer: a correlation of planes, a filter of every position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
from scipy import ndimage, signal

from benchmarks.cases import Array, Arrays, Case
from benchmarks.layers import FORWARD, Convolution, Function, Pooling
from benchmarks.peers import Base, Unsupported


class Peer(Base):
    def versions(self) -> dict[str, str]:
        return {"scipy": scipy.__version__}

    def prepare(self, case: Case, given: Arrays) -> Callable[[], Any]:
        layer = case.layer
        if isinstance(layer, Function):
            raise Unsupported("functions are timed beside torch alone")
        if case.direction != FORWARD:
            raise Unsupported("no such function")
        if set(layer.stride) != {1}:
            raise Unsupported("no strides")
        if isinstance(layer, Convolution):
            return convolution(layer, given)
        return pooling(layer, given)

    def array(self, result: Any) -> Array:
        return np.asarray(result)


def convolution(layer: Convolution, given: Arrays) -> Callable[[], Any]:
    x, w = given.x, given.w
    if layer.transposed or max(layer.dilation) > 1 or not layer.channels == layer.filters == layer.groups:
        raise Unsupported("no sums over channels, no dilation")
    if all(2 * a + 1 == k for a, k in zip(layer.padding, layer.kernel, strict=True)):

        def centred() -> Array:
            y = np.empty_like(x)
            for n in range(len(x)):
                for c in range(layer.channels):
                    ndimage.correlate(x[n, c], w[c, 0], y[n, c], mode="constant")
            return y

        return centred
    if any(layer.padding):
        raise Unsupported("padding that is no half of the kernel")

    def valid() -> Array:
        planes = [
            [signal.correlate(x[n, c], w[c, 0], "valid") for c in range(layer.channels)]
            for n in range(len(x))
        ]
        return np.array(planes, x.dtype)

    return valid


def pooling(layer: Pooling, given: Arrays) -> Callable[[], Any]:
    if layer.whole or any(2 * a + 1 != k for a, k in zip(layer.padding, layer.window, strict=True)):
        raise Unsupported("centred windows at every position only")
    size = (1, 1, *layer.window)
    if layer.how == "max":
        return lambda: ndimage.maximum_filter(given.x, size, mode="constant", cval=-np.inf)
    return lambda: ndimage.uniform_filter(given.x, size, mode="constant")
