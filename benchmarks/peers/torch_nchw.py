"""torch on contiguous tensors; and what both of its layouts share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from math import prod
from typing import Any

import numpy as np
import torch

from benchmarks.cases import Array, Arrays, Case
from benchmarks.layers import FORWARD, INDEX, INPUT, WEIGHT, Convolution, Function, Layer, Pooling
from benchmarks.peers import Base

aten = torch.ops.aten


class Peer(Base):
    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        torch.set_num_threads(threads)

    def versions(self) -> dict[str, str]:
        return {"torch": torch.__version__}

    def context(self) -> AbstractContextManager[object]:
        inference: AbstractContextManager[object] = torch.inference_mode()
        return inference

    def laid_out(self, tensor: Any) -> Any:
        """A tensor in the layout that is timed."""
        return tensor

    def lifted(self, layer: Layer) -> bool:
        """Whether one axis is treated as two, the first of extent 1."""
        return False

    def prepare(self, case: Case, given: Arrays) -> Callable[[], Any]:
        layer = case.layer
        lift = self.lifted(layer)
        x, w, gy = (
            self.laid_out(lifted(torch.from_numpy(a), lift and a.size > 0))
            for a in (given.x, given.w, given.gy)
        )
        self.axes = layer.axes
        if isinstance(layer, Convolution):
            return convolution(layer, case.direction, x, w, gy, lift)
        if isinstance(layer, Function):
            return function(layer, case.direction, x, gy)
        return pooling(layer, case.direction, x, gy, lift)

    def array(self, result: Any) -> Array:
        tensor = result[-1] if isinstance(result, tuple) else result
        if tensor.dim() > self.axes + 2:
            tensor = tensor.squeeze(2)
        plain: Array = np.ascontiguousarray(tensor.numpy())
        return plain


def lifted(tensor: Any, lift: bool) -> Any:
    return tensor.unsqueeze(2) if lift else tensor


def convolution(layer: Convolution, direction: str, x: Any, w: Any, gy: Any, lift: bool) -> Callable[[], Any]:
    one, none = ((1,), (0,)) if lift else ((), ())
    stride, padding = [*one, *layer.stride], [*none, *layer.padding]
    dilation, groups = [*one, *layer.dilation], layer.groups
    extra = [0] * len(stride)
    if direction == FORWARD:
        if layer.transposed:
            up = getattr(torch, f"conv_transpose{len(stride)}d")
            return lambda: up(x, w, None, stride, padding, extra, groups, dilation)
        conv = getattr(torch, f"conv{len(stride)}d")
        return lambda: conv(x, w, None, stride, padding, dilation, groups)
    # The mask names the one gradient that is computed.
    mask, at = {INPUT: ([True, False, False], 0), WEIGHT: ([False, True, False], 1)}[direction]
    backward = aten.convolution_backward.default
    return lambda: backward(gy, x, w, None, stride, padding, dilation, layer.transposed, extra, groups, mask)[
        at
    ]


def function(layer: Function, direction: str, x: Any, gy: Any) -> Callable[[], Any]:
    f, arguments = getattr(torch.nn.functional, layer.operator), dict(layer.arguments)
    if direction == FORWARD:
        return lambda: f(x, **arguments)
    with torch.inference_mode(False):  # its graph is made once: only the way back is timed
        leaf = x.clone().requires_grad_()
        y, gy = f(leaf, **arguments), gy.clone()

    def back() -> Any:
        with torch.inference_mode(False):
            return torch.autograd.grad(y, leaf, gy, retain_graph=True)[0]

    return back


def pooling(layer: Pooling, direction: str, x: Any, gy: Any, lift: bool) -> Callable[[], Any]:
    axes = layer.axes
    if layer.whole:
        return whole(layer, direction, x, gy)
    if direction == FORWARD and not lift:
        pool = getattr(torch.nn.functional, f"{layer.how}_pool{axes}d")
        return lambda: pool(x, layer.window, layer.stride, layer.padding)
    if axes == 1:  # torch itself has the derivative in two axes only
        x, gy = (t if lift or not t.numel() else t.unsqueeze(2) for t in (x, gy))
        window, stride, padding = [1, *layer.window], [1, *layer.stride], [0, *layer.padding]
        axes = 2
    else:
        window, stride, padding = list(layer.window), list(layer.stride), list(layer.padding)
    if layer.how == "avg":
        if direction == FORWARD:
            average = getattr(aten, f"avg_pool{axes}d").default
            return lambda: average(x, window, stride, padding, False, True, None)
        backward = getattr(aten, f"avg_pool{axes}d_backward").default
        return lambda: backward(gy, x, window, stride, padding, False, True, None)
    ones = [1] * axes
    indexed = getattr(aten, f"max_pool{axes}d_with_indices").default
    if direction == FORWARD:
        best = getattr(torch.nn.functional, f"max_pool{axes}d")
        return lambda: best(x, window, stride, padding)
    if direction == INDEX:
        return lambda: indexed(x, window, stride, padding, ones, False)
    indices = indexed(x, window, stride, padding, ones, False)[1]
    backward = getattr(aten, f"max_pool{axes}d_with_indices_backward").default
    return lambda: backward(gy, x, window, stride, padding, ones, False, indices)


def whole(layer: Pooling, direction: str, x: Any, gy: Any) -> Callable[[], Any]:
    dims = tuple(range(2, x.dim()))
    count = prod(layer.size)
    if direction == FORWARD:
        if layer.how == "avg":
            return lambda: torch.mean(x, dims, keepdim=True)
        return lambda: torch.amax(x, dims, keepdim=True)
    if layer.how == "avg":
        return lambda: torch.empty_like(x).copy_((gy / count).expand_as(x))
    # max over the flattened plane, as adaptive_max_pool(1): one index a plane, then a scatter into zeros
    index = x.flatten(2).argmax(2, keepdim=True)
    flat = gy.flatten(2)
    return lambda: torch.zeros(*x.shape[:2], count, dtype=x.dtype).scatter_(2, index, flat).view(x.shape)
