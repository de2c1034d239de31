"""Random calls, each from one integer: of every operator with a counterpart in torch, odd ones included.

    call = drawn("max_pool2d", 17)   # always the same one

Extents are small, so that what is rare elsewhere is frequent here: empty batches, no channels, strides larger than
kernels, padding as wide as kernels, last windows that reach outside, ties, NaN and infinities.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F

import kernels
from tests.external.against_torch import Call, Tensors

T = TypeVar("T")
Arrays = dict[str, torch.Tensor]
AXES = (1, 2, 3)
LARGEST = {1: 12, 2: 7, 3: 5}  # an extent of so many axes
SPECIAL = (math.nan, math.inf, -math.inf)


class Draw:
    """Numbers from one seed."""

    def __init__(self, seed: str) -> None:
        self.random = Random(seed)
        self.numbers = np.random.default_rng(self.random.getrandbits(64))
        self.dtype = self.choice([torch.float64, torch.float64, torch.float32])

    def int(self, low: int, high: int) -> int:
        return self.random.randint(low, high)

    def choice(self, values: Sequence[T]) -> T:
        return self.random.choice(values)

    def often(self, share: float) -> bool:
        return self.random.random() < share

    def per_axis(self, axes: int, low: int, high: int) -> tuple[int, ...]:
        return tuple(self.int(low, high) for _ in range(axes))

    def batch(self) -> tuple[int, ...]:
        """Unbatched, and now and then empty."""
        return () if self.often(0.2) else (self.choice([0, 1, 1, 2, 2, 3]),)

    def shape(self, most: int = 4, least: int = 0) -> tuple[int, ...]:
        return tuple(self.choice([0, 1, 2, 2, 3, 4, 5]) for _ in range(self.int(least, most)))

    def normal(self, *shape: int, scale: float = 1.0) -> torch.Tensor:
        return torch.tensor(scale * self.numbers.standard_normal(shape), dtype=self.dtype)

    def positive(self, *shape: int) -> torch.Tensor:
        return torch.tensor(self.numbers.uniform(0.1, 2, shape), dtype=self.dtype)

    def apart(self, *shape: int) -> torch.Tensor:
        """No two are close, so that no maximum depends on a rounding."""
        count = math.prod(shape)
        return torch.tensor(
            (self.numbers.permutation(count).reshape(shape) - count / 2) / 8, dtype=self.dtype
        )

    def some(self, *shape: int) -> torch.Tensor:
        """Of a maximum: apart, tied, or with NaN and infinities."""
        x = self.apart(*shape)
        kind = self.choice(["apart", "apart", "tied", "special"])
        if kind == "tied":
            x = torch.floor(x / 2)
        if kind == "special":
            for value in SPECIAL:
                x[torch.tensor(self.numbers.random(shape) < 0.08)] = value
        return x

    def classes(self, count: int, *shape: int) -> torch.Tensor:
        return torch.tensor(self.numbers.integers(0, count, shape))

    def laid_out(self, x: torch.Tensor) -> torch.Tensor:
        """The same numbers at other strides: channels last, transposed, or with gaps between."""
        kind = self.choice(["last", "reversed", "gaps"])
        if kind == "last" and x.ndim > 2:
            return x.movedim(1, -1).contiguous().movedim(-1, 1)
        if kind == "reversed":
            order = tuple(reversed(range(x.ndim)))
            return x.permute(order).contiguous().permute(order)
        wide = torch.full((*x.shape[:-1], 2 * x.shape[-1] + 1) if x.ndim else (), 77, dtype=x.dtype)
        if not x.ndim:
            return x.clone()
        wide[..., 1::2] = x
        return wide[..., 1::2]


def same(
    name: str, arrays: Arrays, options: Mapping[str, Any], function: Callable[..., Any] | None = None
) -> Call:
    """Torch's function of this name, with the same arguments."""
    f = function or getattr(F, name)

    def reference(given: Tensors) -> Any:
        return f(**given, **options)

    return Call(getattr(kernels, name), arrays, dict(options), reference)


# ------------------------------------------------------------------------------------ operators


def conv(d: Draw, axes: int) -> Call:
    groups, inner, outer = d.int(1, 3), d.choice([1, 1, 2, 3]), d.choice([1, 1, 2])
    extents, kernel = d.per_axis(axes, 1, LARGEST[axes]), d.per_axis(axes, 1, 3)
    stride, dilation = d.per_axis(axes, 1, 4), d.per_axis(axes, 1, 3)
    padding: Any = d.per_axis(axes, 0, 3)
    if d.often(0.15):
        padding = "valid"
    elif d.often(0.15):
        padding, stride = "same", (1,) * axes
    arrays = {
        "input": d.normal(*d.batch(), groups * inner, *extents),
        "weight": d.normal(groups * outer, inner, *kernel),
    }
    if d.often(0.15):  # wherever it is read, and nowhere else
        arrays["input"][torch.tensor(d.numbers.random(arrays["input"].shape) < 0.05)] = d.choice(SPECIAL)
    if d.often(0.5):
        arrays["bias"] = d.normal(groups * outer)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return same(f"conv{axes}d", arrays, options)


def padded_conv(d: Draw, axes: int) -> Call:
    """Asymmetric padding, and other padding modes: torch's pad, then torch's convolution."""
    name = f"conv{axes}d"
    modes = ["zeros"]
    if "padding_mode" in getattr(kernels, name).__signature__.parameters:
        modes += ["reflect", "replicate", "circular"]
    mode = d.choice(modes)
    extents, kernel = d.per_axis(axes, 3, 6), d.per_axis(axes, 1, 3)
    pairs = tuple((d.int(0, 2), d.int(0, 2)) for _ in range(axes))
    arrays = {"input": d.normal(2, 2, *extents), "weight": d.normal(2, 2, *kernel)}
    flat = [p for pair in reversed(pairs) for p in pair]
    stride = d.per_axis(axes, 1, 3)

    def reference(given: Tensors) -> Any:
        x = F.pad(given["input"], flat, "constant" if mode == "zeros" else mode)
        return getattr(F, name)(x, given["weight"], stride=stride)

    options: dict[str, Any] = {"stride": stride, "padding": pairs}
    if mode != "zeros":
        options["padding_mode"] = mode
    return Call(getattr(kernels, name), arrays, options, reference)


def conv_transpose(d: Draw, axes: int) -> Call:
    groups, inner, outer = d.int(1, 3), d.choice([1, 1, 2]), d.choice([1, 1, 2])
    extents, kernel = d.per_axis(axes, 1, LARGEST[axes] // 2), d.per_axis(axes, 1, 3)
    stride, dilation = d.per_axis(axes, 1, 3), d.per_axis(axes, 1, 3)
    arrays = {
        "input": d.normal(*d.batch(), groups * inner, *extents),
        "weight": d.normal(groups * inner, outer, *kernel),
    }
    if d.often(0.5):
        arrays["bias"] = d.normal(groups * outer)
    options = {
        "stride": stride,
        "padding": d.per_axis(axes, 0, 2),
        "output_padding": tuple(d.int(0, max(s, k) - 1) for s, k in zip(stride, dilation, strict=True)),
        "groups": groups,
        "dilation": dilation,
    }
    return same(f"conv_transpose{axes}d", arrays, options)


def max_pool(d: Draw, axes: int) -> Call:
    x = d.some(*d.batch(), d.choice([1, 2, 3]), *d.per_axis(axes, 1, LARGEST[axes]))
    kernel, dilation = d.per_axis(axes, 1, 3), d.per_axis(axes, 1, 2)
    stride = d.choice([None, d.per_axis(axes, 1, 4)])
    padding = tuple(d.int(0, k // 2) for k in kernel)
    if any(map(reads_padding_alone, x.shape[-axes:], kernel, stride or kernel, padding, dilation)):
        dilation = (1,) * axes  # torch's index is out of bounds there, and its gradient writes at it
    options: dict[str, Any] = {
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
    }
    options |= {"ceil_mode": d.often(0.5), "return_indices": d.often(0.5)}
    return same(f"max_pool{axes}d", {"input": x}, options)


def reads_padding_alone(n: int, k: int, s: int, a: int, dilation: int) -> bool:
    """Whether some window of this axis, that of ceil_mode included, holds no entry of the input."""
    starts = range(-a, n + a, s)
    return any(all(not 0 <= first + dilation * t < n for t in range(k)) for first in starts if first < n)


def avg_pool(d: Draw, axes: int) -> Call:
    kernel = d.per_axis(axes, 1, 4)
    options: dict[str, Any] = {
        "kernel_size": kernel,
        "stride": d.per_axis(axes, 1, 4),
        "padding": tuple(d.int(0, k // 2) for k in kernel),
        "ceil_mode": d.often(0.5),
        "count_include_pad": d.often(0.5),
    }
    if axes > 1:
        options["divisor_override"] = d.choice([None, 1, 5, -3])
    x = d.normal(*d.batch(), d.choice([1, 2, 3]), *d.per_axis(axes, 1, LARGEST[axes]))
    return same(f"avg_pool{axes}d", {"input": x}, options)


def global_pool(d: Draw, how: str) -> Call:
    axes, sign = d.int(1, 3), -1 if how == "min" else 1
    pool = getattr(F, f"adaptive_{how.replace('min', 'max')}_pool{axes}d")
    make = d.normal if how == "avg" else d.some
    x = make(d.int(0, 2), d.int(1, 3), *d.per_axis(axes, 1, 5))
    return Call(
        getattr(kernels, f"global_{how}_pool"), {"input": x}, {}, lambda t: sign * pool(sign * t["input"], 1)
    )


def adaptive_pool(d: Draw, axes: int, how: str) -> Call:
    name = f"adaptive_{how}_pool{axes}d"
    x = (d.normal if how == "avg" else d.some)(*d.batch(), d.int(1, 3), *d.per_axis(axes, 1, LARGEST[axes]))
    return same(name, {"input": x}, {"output_size": d.per_axis(axes, 1, LARGEST[axes])})


def lp_pool(d: Draw, axes: int) -> Call:
    x = d.positive(*d.batch(), d.int(1, 3), *d.per_axis(axes, 1, LARGEST[axes]))
    options = {
        "norm_type": d.choice([1.0, 2.0, 3.0, 1.5]),
        "kernel_size": d.per_axis(axes, 1, 3) if axes > 1 else d.int(1, 3),
        "stride": d.choice([None, d.per_axis(axes, 1, 4) if axes > 1 else d.int(1, 4)]),
        "ceil_mode": d.often(0.5),
    }
    return same(f"lp_pool{axes}d", {"input": x}, options)


def max_unpool(d: Draw, axes: int) -> Call:
    """Windows that do not overlap: no place is written twice, which torch leaves open."""
    kernel = d.per_axis(axes, 1, 3)
    x = d.apart(*d.batch(), d.int(1, 3), *(k * d.int(1, 3) for k in kernel))
    y, i = getattr(F, f"max_pool{axes}d")(x, kernel, return_indices=True)
    return same(f"max_unpool{axes}d", {"input": y, "indices": i}, {"kernel_size": kernel})


def unfold(d: Draw) -> Call:
    options = {
        "kernel_size": d.per_axis(2, 1, 3),
        "dilation": d.per_axis(2, 1, 2),
        "padding": d.per_axis(2, 0, 3),
        "stride": d.per_axis(2, 1, 4),
    }
    return same("unfold", {"input": d.normal(*d.batch(), d.int(1, 3), *d.per_axis(2, 1, 7))}, options)


def fold(d: Draw) -> Call:
    size, kernel = d.per_axis(2, 3, 7), d.per_axis(2, 1, 3)
    dilation, padding, stride = d.per_axis(2, 1, 2), d.per_axis(2, 0, 2), d.per_axis(2, 1, 3)
    places = math.prod(
        (n + 2 * p - e * (k - 1) - 1) // s + 1
        for n, p, e, k, s in zip(size, padding, dilation, kernel, stride, strict=True)
    )
    x = d.normal(*d.batch(), d.int(1, 2) * math.prod(kernel), max(places, 1))
    options = {
        "output_size": size,
        "kernel_size": kernel,
        "dilation": dilation,
        "padding": padding,
        "stride": stride,
    }
    return same("fold", {"input": x}, options)


def linear(d: Draw) -> Call:
    inner, outer = d.int(1, 6), d.int(1, 6)
    arrays = {"input": d.normal(*d.shape(3), inner), "weight": d.normal(outer, inner)}
    if d.often(0.5):
        arrays["bias"] = d.normal(outer)
    return same("linear", arrays, {})


def pointwise(d: Draw, name: str) -> Call:
    """Any shape; away from kinks, where conventions differ (docs/differences.md)."""
    x = d.normal(*d.shape(), scale=d.choice([0.1, 1, 10]))
    x[x.abs() < 1e-3] = 0.5
    options: dict[str, Any] = {}
    if name == "leaky_relu":
        options["negative_slope"] = d.choice([0.01, 0.3, -0.5])
    if name == "elu":
        options["alpha"] = d.choice([1.0, 0.3])
    if name == "gelu":
        options["approximate"] = d.choice(["none", "tanh"])
    return same(name, {"input": x}, options, getattr(torch, name) if name in ("sigmoid", "tanh") else None)


def prelu(d: Draw) -> Call:
    x = d.normal(d.int(0, 2), d.int(1, 3), *d.shape(2))
    return same("prelu", {"input": x, "weight": d.normal(d.choice([1, x.shape[1]]))}, {})


def softmax(d: Draw, name: str) -> Call:
    shape = d.shape(4, 1)
    x = d.normal(*shape, scale=d.choice([1, 10]))
    return same(name, {"input": x}, {"dim": d.int(-len(shape), len(shape) - 1)})


def pad(d: Draw) -> Call:
    mode = d.choice(["constant", "reflect", "replicate", "circular"])
    axes = d.int(1, 3)
    shape = (*(d.batch() or (1,)), d.int(1, 2), *d.per_axis(axes, 3, 5))
    low = -1 if mode == "constant" else 0
    options: dict[str, Any] = {"pad": d.per_axis(2 * axes, low, 2), "mode": mode}
    if mode == "constant" and d.often(0.5):
        options["value"] = d.choice([0.5, -2.0])
    return same("pad", {"input": d.normal(*shape)}, options)


def interpolate(d: Draw) -> Call:
    axes = d.int(1, 3)
    mode = d.choice(
        ["nearest", {1: "linear", 2: "bilinear", 3: "trilinear"}[axes], *(["bicubic"] if axes == 2 else [])]
    )
    x = d.normal(d.int(1, 2), d.int(1, 3), *d.per_axis(axes, 1, LARGEST[axes]))
    options: dict[str, Any] = {"mode": mode}
    if d.often(0.5):
        options["size"] = d.per_axis(axes, 1, LARGEST[axes])
    else:
        options["scale_factor"] = tuple(d.choice([0.5, 1.0, 1.7, 2.0, 3.0]) for _ in range(axes))
    if mode != "nearest":
        options["align_corners"] = d.often(0.5)
    return same("interpolate", {"input": x}, options)


def pixel_shuffle(d: Draw, name: str) -> Call:
    factor = d.int(1, 3)
    if name == "pixel_shuffle":
        x = d.normal(d.int(0, 2), factor**2 * d.int(1, 2), *d.per_axis(2, 1, 3))
        return same(name, {"input": x}, {"upscale_factor": factor})
    x = d.normal(d.int(0, 2), d.int(1, 2), *(factor * n for n in d.per_axis(2, 1, 3)))
    return same(name, {"input": x}, {"downscale_factor": factor})


def affine(d: Draw, arrays: Arrays, *shape: int) -> Arrays:
    if d.often(0.7):
        arrays |= {"weight": d.normal(*shape), "bias": d.normal(*shape)}
    return arrays


def batch_norm(d: Draw) -> Call:
    channels = d.int(1, 3)
    arrays = affine(d, {"input": d.normal(d.int(2, 3), channels, *d.shape(2))}, channels)
    if arrays["input"].numel() <= 2 * channels:
        arrays["input"] = d.normal(3, channels, 4)
    training = d.often(0.5)
    if not training:
        arrays |= {"running_mean": d.normal(channels), "running_var": d.positive(channels)}
    call = same("batch_norm", arrays, {"training": training, "eps": d.choice([1e-5, 0.1])})
    if "running_mean" not in arrays:
        call = without(call, "running_mean", "running_var")
    return Call(call.operator, call.arrays, call.options, call.reference, ("running_mean", "running_var"), 1)


def without(call: Call, *names: str) -> Call:
    """Arguments that both take, and that are None."""
    given = call.reference

    def reference(arrays: Tensors) -> Any:
        return given({**arrays, **dict.fromkeys(names)})  # type: ignore[dict-item]

    return Call(call.operator, call.arrays, {**call.options, **dict.fromkeys(names)}, reference)


def instance_norm(d: Draw) -> Call:
    channels = d.int(1, 3)
    x = d.normal(d.int(1, 2), channels, *d.per_axis(d.int(1, 3), 2, 4))
    return same("instance_norm", affine(d, {"input": x}, channels), {"eps": d.choice([1e-5, 0.1])})


def layer_norm(d: Draw, name: str) -> Call:
    shape = d.per_axis(d.int(1, 2), 1, 4)
    arrays = affine(d, {"input": d.normal(*d.per_axis(d.int(0, 2), 1, 3), *shape)}, *shape)
    if name == "rms_norm":
        arrays.pop("bias", None)
    return same(name, arrays, {"normalized_shape": shape, "eps": d.choice([1e-5, 0.1])})


def group_norm(d: Draw) -> Call:
    groups, each = d.int(1, 3), d.int(1, 2)
    x = d.normal(d.int(1, 2), groups * each, *d.per_axis(d.int(1, 2), 2, 4))
    return same(
        "group_norm",
        affine(d, {"input": x}, groups * each),
        {"num_groups": groups, "eps": d.choice([1e-5, 0.1])},
    )


def local_response_norm(d: Draw) -> Call:
    x = d.normal(d.int(1, 2), d.int(1, 5), *d.per_axis(d.int(1, 3), 1, 3))
    options = {
        "size": d.int(1, 4),
        "alpha": d.choice([1e-4, 0.5]),
        "beta": d.choice([0.75, 0.5]),
        "k": d.choice([1.0, 2.0]),
    }
    return same("local_response_norm", {"input": x}, options)


def loss(d: Draw, name: str) -> Call:
    shape = d.shape(3, 1)
    target = d.positive(*shape) / 2.5 if name.startswith("binary") else d.normal(*shape)
    options: dict[str, Any] = {"reduction": d.choice(["mean", "sum", "none"])}
    if name == "huber_loss":
        options["delta"] = d.choice([1.0, 0.3])
    if name == "smooth_l1_loss":
        options["beta"] = d.choice([1.0, 0.3])
    if not math.prod(shape):
        options["reduction"] = "sum"  # the mean of nothing is a convention (docs/differences.md)
    return same(name, {"input": d.normal(*shape), "target": target}, options)


def of_classes(d: Draw, name: str) -> Call:
    classes, rest = d.int(1, 5), d.per_axis(d.int(0, 2), 1, 3)
    n: tuple[int, ...] = (d.int(1, 4),)
    if d.often(0.2):
        n = rest = ()
    x = d.normal(*n, classes, *rest, scale=5)
    arrays = {"input": x, "target": d.classes(classes, *n, *rest)}
    return same(name, arrays, {"reduction": d.choice(["mean", "sum", "none"])})


def each(draw: Callable[..., Call], name: str, *more: Any) -> dict[str, Callable[[Draw], Call]]:
    """A family, by number of axes."""
    return {name.format(axes): lambda d, axes=axes: draw(d, axes, *more) for axes in AXES}


def named(draw: Callable[..., Call], *names: str) -> dict[str, Callable[[Draw], Call]]:
    return {name: lambda d, name=name: draw(d, name) for name in names}


DRAWS: dict[str, Callable[[Draw], Call]] = {
    **each(conv, "conv{}d"),
    **each(padded_conv, "conv{}d padded"),
    **each(conv_transpose, "conv_transpose{}d"),
    **each(max_pool, "max_pool{}d"),
    **each(avg_pool, "avg_pool{}d"),
    **{f"global_{how}_pool": lambda d, how=how: global_pool(d, how) for how in ("avg", "max", "min")},  # type: ignore[misc]
    **each(adaptive_pool, "adaptive_avg_pool{}d", "avg"),
    **each(adaptive_pool, "adaptive_max_pool{}d", "max"),
    **each(lp_pool, "lp_pool{}d"),
    **each(max_unpool, "max_unpool{}d"),
    "unfold": unfold,
    "fold": fold,
    "linear": linear,
    **named(pointwise, "relu", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh"),
    **named(pointwise, "softplus", "logsigmoid", "mish", "hardtanh", "relu6", "hardswish"),
    "prelu": prelu,
    **named(softmax, "softmax", "log_softmax"),
    "pad": pad,
    "interpolate": interpolate,
    **named(pixel_shuffle, "pixel_shuffle", "pixel_unshuffle"),
    "batch_norm": batch_norm,
    "instance_norm": instance_norm,
    **named(layer_norm, "layer_norm", "rms_norm"),
    "group_norm": group_norm,
    "local_response_norm": local_response_norm,
    **named(loss, "mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss", "binary_cross_entropy_with_logits"),
    **named(of_classes, "cross_entropy", "nll_loss"),
}


def operator_of(name: str) -> str:
    return name.split()[0]


def drawn(name: str, seed: int) -> tuple[Call, Tensors]:
    """A call, and the same arrays at other strides."""
    d = Draw(f"{name} {seed}")
    call = DRAWS[name](d)
    return call, {n: d.laid_out(a) for n, a in call.arrays.items()}
