"""This project, through its public functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import kernels
from benchmarks.cases import Array, Arrays, Case
from benchmarks.layers import FORWARD, INDEX, INPUT, WEIGHT, Convolution, Function, Pooling
from benchmarks.peers import Base


class Peer(Base):
    def versions(self) -> dict[str, str]:
        from importlib.metadata import version

        import numba

        return {
            "derive-kernels": version("derive-kernels"),
            "numpy": np.__version__,
            "numba": numba.__version__,
            "llvmlite": version("llvmlite"),
        }

    def prepare(self, case: Case, given: Arrays) -> Callable[[], Any]:
        if isinstance(case.layer, Convolution):
            return convolution(case.layer, case.direction, given)
        if isinstance(case.layer, Function):
            return function(case.layer, case.direction, given)
        return pooling(case.layer, case.direction, given)

    def array(self, result: Any) -> Array:
        return np.asarray(result[-1] if isinstance(result, tuple) else result)


def convolution(layer: Convolution, direction: str, given: Arrays) -> Callable[[], Any]:
    conv = getattr(kernels, f"conv{layer.axes}d")
    settings: dict[str, Any] = {
        "stride": layer.stride,
        "padding": layer.padding,
        "dilation": layer.dilation,
        "groups": layer.groups,
    }
    x, w, gy = given.x, given.w, given.gy
    if layer.transposed:
        # A transposed convolution is the input gradient of the convolution that goes the other way, and the
        # weights have that convolution's layout already.
        wide = np.zeros((len(x), layer.filters, *layer.output), x.dtype)
        if direction == FORWARD:
            _, pullback = conv.vjp(wide, w, wrt="input", **settings)
            return lambda: pullback(x)
        if direction == INPUT:
            return lambda: conv(gy, w, **settings)
        _, pullback = conv.vjp(gy, w, wrt="weight", **settings)
        return lambda: pullback(x)
    if direction == FORWARD:
        return lambda: conv(x, w, **settings)
    _, pullback = conv.vjp(x, w, wrt={INPUT: "input", WEIGHT: "weight"}[direction], **settings)
    return lambda: pullback(gy)


def function(layer: Function, direction: str, given: Arrays) -> Callable[[], Any]:
    operator, arguments = getattr(kernels, layer.operator), dict(layer.arguments)
    if direction == FORWARD:
        return lambda: operator(given.x, **arguments)
    _, pullback = operator.vjp(given.x, wrt="input", **arguments)
    return lambda: pullback(given.gy)


def pooling(layer: Pooling, direction: str, given: Arrays) -> Callable[[], Any]:
    x, gy = given.x, given.gy
    settings: dict[str, Any] = {}
    if layer.whole:
        pool = getattr(kernels, f"global_{layer.how}_pool")
    else:
        pool = getattr(kernels, f"{layer.how}_pool{layer.axes}d")
        settings = {"kernel_size": layer.window, "stride": layer.stride, "padding": layer.padding}
    if direction == FORWARD:
        return lambda: pool(x, **settings)
    if direction == INDEX:
        return lambda: pool(x, return_indices=True, **settings)
    _, pullback = pool.vjp(x, **settings)
    return lambda: pullback(gy)
