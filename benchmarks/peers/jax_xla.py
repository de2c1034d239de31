"""JAX on XLA's CPU backend, compiled before the clock starts. A gradient is the compiled transpose or pullback
alone: XLA drops the forward pass that nobody reads."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from math import prod
from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from benchmarks.cases import Array, Arrays, Case
from benchmarks.layers import FORWARD, INDEX, INPUT, Convolution, Function, Pooling
from benchmarks.peers import Base, Unsupported

Compiled = Callable[..., Any]


class Peer(Base):
    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        jax.config.update("jax_enable_x64", True)

    def versions(self) -> dict[str, str]:
        return {"jax": jax.__version__, "jaxlib": version("jaxlib")}

    def prepare(self, case: Case, given: Arrays) -> Callable[[], Any]:
        layer = case.layer
        if isinstance(layer, Function):
            raise Unsupported("functions are timed beside torch alone")
        if isinstance(layer, Convolution):
            function, operands = convolution(layer, case.direction, given)
        else:
            function, operands = pooling(layer, case.direction, given)
        arguments = [jax.device_put(a) for a in operands]
        compiled = jax.jit(function).lower(*arguments).compile()
        return lambda: compiled(*arguments).block_until_ready()

    def array(self, result: Any) -> Array:
        return np.asarray(result)


def convolution(layer: Convolution, direction: str, given: Arrays) -> tuple[Compiled, tuple[Array, ...]]:
    def conv(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(
            x,
            w,
            layer.stride,
            [(a, a) for a in layer.padding],
            rhs_dilation=layer.dilation,
            feature_group_count=layer.groups,
        )

    x, w, gy = given.x, given.w, given.gy
    wide = jax.ShapeDtypeStruct((len(x), layer.filters, *layer.output), x.dtype)
    if layer.transposed:  # the convolution goes from the wide side to x
        if direction == FORWARD:
            return lambda x, w: jax.linear_transpose(lambda z: conv(z, w), wide)(x)[0], (x, w)
        if direction == INPUT:
            return conv, (gy, w)
        return lambda gy, x: jax.linear_transpose(lambda w: conv(gy, w), given.w)(x)[0], (gy, x)
    if direction == FORWARD:
        return conv, (x, w)
    if direction == INPUT:
        return lambda gy, w: jax.linear_transpose(lambda x: conv(x, w), given.x)(gy)[0], (gy, w)
    return lambda gy, x: jax.linear_transpose(lambda w: conv(x, w), given.w)(gy)[0], (gy, x)


def pooling(layer: Pooling, direction: str, given: Arrays) -> tuple[Compiled, tuple[Array, ...]]:
    if direction == INDEX:
        raise Unsupported("no pooling that returns indices")

    def pool(x: Any) -> Any:
        if layer.whole:
            axes = tuple(range(2, x.ndim))
            return (jnp.max if layer.how == "max" else jnp.mean)(x, axes, keepdims=True)
        start, combine = {"max": (-jnp.inf, lax.max), "avg": (0.0, lax.add)}[layer.how]
        pads = [(0, 0), (0, 0), *((a, a) for a in layer.padding)]
        y = lax.reduce_window(
            x, np.array(start, x.dtype), combine, (1, 1, *layer.window), (1, 1, *layer.stride), pads
        )
        return y / prod(layer.window) if layer.how == "avg" else y

    if direction == FORWARD:
        return pool, (given.x,)
    return lambda x, gy: jax.vjp(pool, x)[1](gy)[0], (given.x, given.gy)
