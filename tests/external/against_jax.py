"""The calls that are drawn beside torch (tests/external/drawn.py), beside JAX: vjp, jvp, and vjp of the vjp.

A reference takes arrays and options by our names. What JAX has by another definition is out of scope, with the reason.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kernels.errors import KernelError
from tests.external.against_torch import Call, arguments, array_of, close, several
from tests.external.draw_windows import places
from tests.external.drawn import drawn, reached
from tests.support.tally import OutOfScope, Tally

SUITE = "Random configurations beside JAX"
COUNT = 20
Arrays = Mapping[str, Any]
Options = Mapping[str, Any]
Reference = Callable[[Arrays, Options], Any]
Pairs = Sequence[tuple[int, int]]


def comparable(call: Call) -> None:
    """Around an array XLA reads zeros, or nothing; of equal maxima JAX picks one, or shares."""
    x = array_of(next(iter(call.arrays.values())))
    if not np.isfinite(x).all():
        raise OutOfScope("NaN and infinities")
    if re.match(r"(global_)?(max|min)_pool", call.operator.__name__) and np.unique(x).size < x.size:
        raise OutOfScope("equal maxima")


def agree(call: Call, reference: Reference, seed: int) -> None:
    """Raises AssertionError where they differ."""
    rng = np.random.default_rng(seed)
    arrays = {n: jnp.asarray(array_of(a)) for n, a in call.arrays.items()}
    real = {n: a for n, a in arrays.items() if a.dtype.kind == "f" and n not in call.constant}
    found, pullback = call.operator.vjp(**arguments(call))
    y = several(found)[0]

    def f(leaves: Arrays) -> Any:
        return reference({**arrays, **leaves}, call.options)

    def gradients(gy: Any, leaves: Arrays) -> Any:
        return jax.vjp(f, leaves)[1](gy)[0]

    def every(gy: Any, leaves: Arrays, moves: Arrays) -> Any:
        first, back = jax.vjp(gradients, gy, leaves)
        result, tangent = jax.jvp(f, (leaves,), (moves,))
        return result, first, back(moves), tangent

    def moved(like: Any) -> Any:
        return rng.standard_normal(like.shape).astype(like.dtype)

    gy, moves = moved(y), {n: moved(a) for n, a in real.items()}
    try:
        want, first, (of_gy, second), tangent = jax.jit(every)(gy, real, moves)
    except ZeroDivisionError:
        raise OutOfScope("an empty batch, by whose extent JAX's gradient divides") from None
    close(call, "result", y, want)
    ours, pullback2 = pullback.vjp(gy)
    mine = dict(zip(pullback.wrt, ours, strict=True))
    for n in real:
        close(call, f"gradient of {n}", mine[n], first[n])
    twice = pullback2(*(moves.get(n) for n in pullback.wrt))
    close(call, "gradient of the gradient, cotangent", twice[0], of_gy)
    mine = dict(zip(pullback.wrt, twice[1:], strict=True))
    for n in real:
        close(call, f"gradient of the gradient, {n}", mine[n], second[n])
    order = list(pullback.wrt)
    while order[-1] not in call.arrays:
        order.pop()
    primals = tuple(array_of(call.arrays[n]) if n in call.arrays else None for n in order)
    options = {n: v for n, v in call.options.items() if n not in order}
    _, found = call.operator.jvp(primals, tuple(moves.get(n) for n in order), **options)
    close(call, "tangent", several(found)[0], tangent)


def run(name: str, count: int = COUNT) -> list[Tally]:
    """What the calls of one draw came to, by the operators that they reach."""
    rows: dict[str, Tally] = {}
    with jax.enable_x64(True):
        for seed in range(count):
            call, _ = drawn(name, seed)
            operator = reached(call)
            tally = rows.setdefault(operator, Tally(SUITE, operator))
            try:
                comparable(call)
                agree(call, REFERENCES[name], seed)
            except OutOfScope as reason:
                tally.out[str(reason)] += 1
            except KernelError:
                tally.out["refused by ours"] += 1  # where torch refuses, too: tests/external/drawn.py
            except Exception as error:
                tally.failed.append(f"drawn({name!r}, {seed}): {call}\n{type(error).__name__}: {error}")
            else:
                tally.passed += 1
    return list(rows.values())


# ------------------------------------------------------------------------------------ windows


def pairs_of(options: Options, extents: Sequence[int], kernel: Sequence[int]) -> Pairs:
    """Padding of each axis, as far beyond the end as the last window of ceil_mode reaches."""
    axes, given = len(kernel), options.get("padding", 0)
    stride = options.get("stride") or kernel
    dilation = options.get("dilation", (1,) * axes)
    if given in ("same", "valid"):
        total = [d * (k - 1) if given == "same" else 0 for k, d in zip(kernel, dilation, strict=True)]
        return [(t // 2, t - t // 2) for t in total]
    found = []
    for n, k, s, a, d in zip(extents, kernel, stride, given or (0,) * axes, dilation, strict=True):
        before, after = a if isinstance(a, tuple) else (a, a)
        last = (places(n, k, s, before, d, options.get("ceil_mode", False)) - 1) * s + d * (k - 1) + 1
        found.append((before, max(after, last - n - before)))
    return found


def convolution(axes: int) -> Reference:
    def reference(a: Arrays, o: Options) -> Any:
        x = a["input"] if a["input"].ndim == axes + 2 else a["input"][None]
        y = lax.conv_general_dilated(
            x,
            a["weight"],
            o["stride"],
            pairs_of(o, x.shape[2:], a["weight"].shape[2:]),
            rhs_dilation=o["dilation"],
            feature_group_count=o.get("groups", 1),
        )
        return unbatched(biased(y, a), a, axes)

    return reference


def transposed(axes: int) -> Reference:
    """A convolution with the flipped kernel of an input whose entries lie a stride apart."""

    def reference(a: Arrays, o: Options) -> Any:
        w, groups = a["weight"], o.get("groups", 1)
        x = a["input"] if a["input"].ndim == axes + 2 else a["input"][None]
        w = w.reshape(groups, -1, *w.shape[1:]).swapaxes(1, 2).reshape(-1, w.shape[0] // groups, *w.shape[2:])
        pads = [
            (d * (k - 1) - p, d * (k - 1) - p + more)
            for k, d, p, more in zip(
                w.shape[2:], o["dilation"], o["padding"], o["output_padding"], strict=True
            )
        ]
        y = lax.conv_general_dilated(
            x,
            jnp.flip(w, range(2, axes + 2)),
            (1,) * axes,
            pads,
            lhs_dilation=o["stride"],
            rhs_dilation=o["dilation"],
            feature_group_count=groups,
        )
        return unbatched(biased(y, a), a, axes)

    return reference


def biased(y: Any, a: Arrays) -> Any:
    return y + a["bias"].reshape(-1, *(1,) * (y.ndim - 2)) if "bias" in a else y


def unbatched(y: Any, a: Arrays, axes: int) -> Any:
    return y if a["input"].ndim == axes + 2 else y[0]


def locally_connected(axes: int) -> Reference:
    def reference(a: Arrays, o: Options) -> Any:
        w = a["weight"]
        kernel = w.shape[-axes:]
        flat = jnp.moveaxis(w.reshape(*w.shape[: axes + 1], -1), -1, 1)
        pads = pairs_of(o, a["input"].shape[2:], kernel)
        y = lax.conv_general_dilated_local(
            a["input"], flat, o["stride"], pads, kernel, rhs_dilation=o["dilation"]
        )
        return y + a["bias"] if "bias" in a else y

    return reference


def patches(axes: int) -> Reference:
    def reference(a: Arrays, o: Options) -> Any:
        x = a["input"] if a["input"].ndim == axes + 2 else a["input"][None]
        pads, kernel = pairs_of(o, x.shape[2:], o["kernel_size"]), o["kernel_size"]
        y = lax.conv_general_dilated_patches(x, kernel, o["stride"], pads, rhs_dilation=o["dilation"])
        return unbatched(y.reshape(*y.shape[:2], -1), a, axes)

    return reference


def reduced(x: Any, o: Options, start: float, by: Callable[..., Any], pads: Pairs | None = None) -> Any:
    """Windows of the last axes, of numbers that `start` stands for outside."""
    kernel = o["kernel_size"] if isinstance(o["kernel_size"], tuple) else (o["kernel_size"],)
    axes, one = len(kernel), (1,) * (x.ndim - len(kernel))
    stride = o.get("stride") or kernel
    return lax.reduce_window(
        x,
        x.dtype.type(start),  # a number, by which JAX knows a sum or a maximum
        by,
        one + kernel,
        one + (stride if isinstance(stride, tuple) else (stride,)),
        [(0, 0)] * len(one) + list(pads or pairs_of(o, x.shape[-axes:], kernel)),
        window_dilation=one + o.get("dilation", (1,) * axes),
    )


def max_pool(a: Arrays, o: Options) -> Any:
    return largest(a["input"], o)


def min_pool(a: Arrays, o: Options) -> Any:
    return -largest(-a["input"], o)


def largest(x: Any, o: Options) -> Any:
    """reduce_window, whose gradient JAX has not for dilated windows: a maximum of strided slices there."""
    kernel = o["kernel_size"]
    if set(o["dilation"]) == {1}:
        return reduced(x, o, -math.inf, lax.max)
    axes, one, stride = len(kernel), [0] * (x.ndim - len(kernel)), o["stride"] or kernel
    pads = pairs_of(o, x.shape[-axes:], kernel)
    counts = [
        places(n, k, s, a, d, o["ceil_mode"])
        for n, k, s, a, d in zip(x.shape[-axes:], kernel, stride, o["padding"], o["dilation"], strict=True)
    ]
    x = jnp.pad(x, [(0, 0)] * len(one) + list(pads), constant_values=-math.inf)
    found = []
    for tap in np.ndindex(kernel):
        first = [t * d for t, d in zip(tap, o["dilation"], strict=True)]
        last = [f + (p - 1) * s + 1 for f, p, s in zip(first, counts, stride, strict=True)]
        lead = list(x.shape[: len(one)])
        found.append(lax.slice(x, one + first, lead + last, [1] * len(one) + list(stride)))
    return jnp.stack(found).max(0)


def avg_pool(a: Arrays, o: Options) -> Any:
    """Padding counts or does not; beyond it nothing does."""
    x, kernel = a["input"], o["kernel_size"]
    sums = reduced(x, o, 0, lax.add)
    if o.get("divisor_override"):
        return sums / o["divisor_override"]
    pads = pairs_of(o, x.shape[-len(kernel) :], kernel)
    ones = jnp.ones(x.shape[-len(kernel) :], x.dtype)
    if o["count_include_pad"]:
        near = [(p, p) for p in o["padding"]]
        ones = jnp.pad(ones, near, constant_values=1)
        pads = [(0, after - p) for (_, after), p in zip(pads, o["padding"], strict=True)]
    return sums / reduced(ones, o, 0, lax.add, pads)


def lp_pool(a: Arrays, o: Options) -> Any:
    x, p = jnp.abs(a["input"]), o["norm_type"]
    return largest(x, o) if p == math.inf else reduced(x**p, o, 0, lax.add) ** (1 / p)


def log_sum_exp_pool(a: Arrays, o: Options) -> Any:
    t = o["temperature"]
    return t * jnp.log(reduced(jnp.exp(a["input"] / t), o, 0, lax.add))


def soft_pool(a: Arrays, o: Options) -> Any:
    e = jnp.exp(a["input"])
    return reduced(a["input"] * e, o, 0, lax.add) / reduced(e, o, 0, lax.add)


def of_planes(f: Callable[..., Any]) -> Reference:
    def reference(a: Arrays, o: Options) -> Any:
        return f(a["input"], axis=tuple(range(2, a["input"].ndim)), keepdims=True)

    return reference


def global_log_sum_exp(a: Arrays, o: Options) -> Any:
    t = o["temperature"]
    return t * of_planes(jax.nn.logsumexp)({"input": a["input"] / t}, o)


# ------------------------------------------------------------------------------------ layers


def linear(a: Arrays, o: Options) -> Any:
    return a["input"] @ a["weight"].T + a.get("bias", 0)


def bilinear(a: Arrays, o: Options) -> Any:
    return jnp.einsum("...i,oij,...j->...o", a["input1"], a["weight"], a["input2"]) + a.get("bias", 0)


def pointwise(f: Callable[..., Any], **names: str) -> Reference:
    """A function of jax.nn, which has some options under other names."""
    return lambda a, o: f(a["input"], **{names.get(n, n): v for n, v in o.items()})


def gelu(a: Arrays, o: Options) -> Any:
    return jax.nn.gelu(a["input"], approximate=o["approximate"] == "tanh")


def softplus(a: Arrays, o: Options) -> Any:
    x = a["input"]
    return jnp.where(o["beta"] * x > o["threshold"], x, jax.nn.softplus(o["beta"] * x) / o["beta"])


def layer_norm(a: Arrays, o: Options) -> Any:
    axes = tuple(range(-len(o["normalized_shape"]), 0))
    return jax.nn.standardize(a["input"], axes, epsilon=o["eps"]) * a.get("weight", 1) + a.get("bias", 0)


def pad(a: Arrays, o: Options) -> Any:
    modes = {"replicate": "edge", "circular": "wrap"}
    mode, flat, x = o["mode"], o["pad"], a["input"]
    if mode == "mean" or min(flat, default=0) < 0:
        raise OutOfScope("numpy.pad cuts nothing off, and takes means of one axis after the other")
    pairs = list(zip(flat[::2], flat[1::2], strict=True))[::-1]
    more = {"constant_values": o.get("value", 0)} if mode == "constant" else {}
    return jnp.pad(x, [(0, 0)] * (x.ndim - len(pairs)) + pairs, modes.get(mode, mode), **more)


def resize(a: Arrays, o: Options) -> Any:
    """Centres half a place in; JAX's cubic is another one (a = -0.5)."""
    method = {"nearest-exact": "nearest", "bicubic": None, "nearest": None}.get(o["mode"], "linear")
    if method is None or "size" not in o or o.get("align_corners"):
        raise OutOfScope("another definition of the places, or another cubic")
    return jax.image.resize(a["input"], (*a["input"].shape[:2], *o["size"]), method, antialias=False)


def convolve(a: Arrays, o: Options) -> Any:
    return jax.scipy.signal.convolve(a["in1"], a["in2"], o["mode"], method="direct")


REFERENCES: Mapping[str, Reference] = {
    **{f"conv{n}d": convolution(n) for n in (1, 2, 3, 4)},
    **{f"conv_transpose{n}d": transposed(n) for n in (1, 2, 3, 4)},
    "locally_connected2d": locally_connected(2),
    **{f"unfold{n}d": patches(n) for n in (1, 2, 3)},
    **{f"convolve{n}d": convolve for n in (1, 2, 3)},
    **{f"max_pool{n}d": max_pool for n in (1, 2, 3)},
    **{f"min_pool{n}d": min_pool for n in (1, 2, 3)},
    **{f"avg_pool{n}d": avg_pool for n in (1, 2, 3)},
    **{f"lp_pool{n}d windows": lp_pool for n in (1, 2, 3)},
    "log_sum_exp_pool2d": log_sum_exp_pool,
    "soft_pool2d": soft_pool,
    "global_avg_pool": of_planes(jnp.mean),
    "global_max_pool": of_planes(jnp.max),
    "global_min_pool": of_planes(jnp.min),
    "global_log_sum_exp_pool of entries": global_log_sum_exp,
    "linear": linear,
    "bilinear": bilinear,
    "embedding": lambda a, o: jnp.take(a["weight"], a["input"], axis=0),
    "add": lambda a, o: a["input"] + a["other"],
    "subtract": lambda a, o: a["input"] - a["other"],
    "multiply": lambda a, o: a["input"] * a["other"],
    "divide": lambda a, o: a["input"] / a["other"],
    "concatenate": lambda a, o: jnp.concatenate([a["input"], a["other"]], o["dim"]),
    "relu": pointwise(jax.nn.relu),
    "leaky_relu": pointwise(jax.nn.leaky_relu),
    "elu": pointwise(jax.nn.elu),
    "celu": pointwise(jax.nn.celu),
    "selu": pointwise(jax.nn.selu),
    "gelu": gelu,
    "silu": pointwise(jax.nn.silu),
    "sigmoid": pointwise(jax.nn.sigmoid),
    "tanh": pointwise(jnp.tanh),
    "erf": pointwise(jax.scipy.special.erf),
    "softplus": softplus,
    "logsigmoid": pointwise(jax.nn.log_sigmoid),
    "mish": pointwise(jax.nn.mish),
    "hardtanh": pointwise(jnp.clip, min_val="min", max_val="max"),
    "relu6": pointwise(jax.nn.relu6),
    "hardswish": pointwise(jax.nn.hard_swish),
    "hardsigmoid": pointwise(jax.nn.hard_sigmoid),
    "softsign": pointwise(jax.nn.soft_sign),
    "glu": pointwise(jax.nn.glu, dim="axis"),
    "softmax": pointwise(jax.nn.softmax, dim="axis"),
    "log_softmax": pointwise(jax.nn.log_softmax, dim="axis"),
    "layer_norm": layer_norm,
    "pad": pad,
    "interpolate": resize,
}
