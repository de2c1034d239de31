"""Random convolutions and pools: torch's functions, and what is made of the windows that torch gathers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from tests.external.against_torch import Call, Tensors
from tests.external.draw import LARGEST, SPECIAL, Arrays, Draw, Draws, composed, each, same

Extents = tuple[int, ...]
Window = dict[str, Any]
MODES = ("zeros", "constant", "reflect", "symmetric", "replicate", "circular", "mean")

# ------------------------------------------------------------------------------------ windows of torch's


def around(
    x: torch.Tensor, pairs: Sequence[tuple[int, int]], mode: str, value: float | None = None
) -> torch.Tensor:
    """torch's pad of the last axes, the first of them first, and what it has not: two modes, and folding four axes."""
    flat = [p for pair in reversed(pairs) for p in pair]
    folds: dict[str, Any] = {"symmetric": "symmetric"}
    if len(pairs) > 3:
        folds |= {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    if mode in folds:
        for axis, pair in enumerate(pairs, start=x.ndim - len(pairs)):
            places = np.pad(np.arange(x.shape[axis]), pair, mode=folds[mode])
            x = x.index_select(axis, torch.tensor(places))
        return x
    if mode == "mean":
        mean = x.mean(tuple(range(-len(pairs), 0)), keepdim=True)
        return F.pad(x - mean, flat) + mean
    return F.pad(x, flat, "constant" if mode == "zeros" else mode, value)


def gathered(
    x: torch.Tensor,
    kernel_size: Extents,
    stride: Extents,
    padding: Extents,
    dilation: Extents,
    ceil_mode: bool = False,
    fill: float = 0.0,
) -> torch.Tensor:
    """(*lead, *positions, taps)"""
    axes, count = len(kernel_size), x.shape[-len(kernel_size) :]
    positions = tuple(map(places, count, kernel_size, stride, padding, dilation, (ceil_mode,) * axes))
    if min(positions) < 1:
        raise ValueError("a window larger than the padded input")
    far = [
        max(0, (p - 1) * s + d * (k - 1) + 1 - n - a)
        for p, s, d, k, n, a in zip(positions, stride, dilation, kernel_size, count, padding, strict=True)
    ]
    x = around(x, tuple(zip(padding, far, strict=True)), "constant", fill)
    lead, shape = x.ndim - axes, list(x.shape[: x.ndim - axes])
    for axis, (p, k, s, d) in enumerate(
        zip(positions, kernel_size, stride, dilation, strict=True), start=lead
    ):
        x = x.index_select(axis, (torch.arange(p)[:, None] * s + torch.arange(k) * d).flatten())
        shape += [p, k]
    order = (*range(lead), *range(lead, lead + 2 * axes, 2), *range(lead + 1, lead + 2 * axes, 2))
    return x.reshape(shape).permute(order).flatten(lead + axes)


def places(n: int, k: int, s: int, a: int, d: int, ceil: bool) -> int:
    """How many windows begin along an axis; with `ceil` the last one begins in the input or the padding before it."""
    beyond = n + 2 * a - d * (k - 1) - 1
    if not ceil:
        return beyond // s + 1
    count = -(-beyond // s) + 1
    return count - ((count - 1) * s >= n + a)


def reads_padding_alone(n: int, k: int, s: int, a: int, dilation: int) -> bool:
    """Whether some window of this axis, that of ceil_mode included, holds no entry of the input."""
    starts = range(-a, n + a, s)
    return any(all(not 0 <= first + dilation * t < n for t in range(k)) for first in starts if first < n)


def window(d: Draw, axes: int, padded: bool = True) -> tuple[Extents, Window]:
    """An input's extents, and windows over it that fit and hold an entry each."""
    kernel, stride, dilation = (d.per_axis(axes, 1, most) for most in (3, 3, 2))
    cover = tuple(e * (k - 1) + 1 for k, e in zip(kernel, dilation, strict=True))
    extents = tuple(max(c, d.int(1, LARGEST[axes])) for c in cover)
    padding = tuple(d.int(0, k // 2) if padded else 0 for k in kernel)
    if any(map(reads_padding_alone, extents, kernel, stride, padding, dilation)):
        padding = (0,) * axes
    return extents, {
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "ceil_mode": padded and d.often(0.5),
    }


# ------------------------------------------------------------------------------------ convolutions


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
    name, mode = f"conv{axes}d", d.choice(MODES)
    extents, kernel = d.per_axis(axes, 3, 6 if axes < 3 else 4), d.per_axis(axes, 1, 3)
    pairs = tuple((d.int(0, 2), d.int(0, 2)) for _ in range(axes))
    arrays = {"input": d.normal(2, 2, *extents), "weight": d.normal(2, 2, *kernel)}
    stride = d.per_axis(axes, 1, 3)
    value = d.choice([0.0, 1.5]) if mode == "constant" else None

    def reference(given: Tensors) -> Any:
        x = around(given["input"], pairs, mode, value)
        return getattr(F, name)(x, given["weight"], stride=stride)

    options: dict[str, Any] = {"stride": stride, "padding": pairs, "padding_mode": mode}
    if value:
        options["padding_value"] = value
    return composed(name, arrays, options, reference)


def conv4d(d: Draw, modes: Sequence[str] = ("zeros",)) -> Call:
    """For each tap of the first axis a convolution along the others."""
    extents, kernel = d.per_axis(4, 2, 3), d.per_axis(4, 1, 2)
    stride, padding, dilation = d.per_axis(4, 1, 2), d.per_axis(4, 0, 1), d.per_axis(4, 1, 2)
    groups, mode = d.int(1, 2), d.choice(modes)
    value = 1.5 if mode == "constant" else None
    arrays = {
        "input": d.normal(d.int(1, 2), groups * 2, *extents),
        "weight": d.normal(groups, 2, *kernel),
        "bias": d.normal(groups),
    }
    rest = {"stride": stride[1:], "dilation": dilation[1:], "groups": groups}

    def reference(given: Tensors) -> Any:
        x, w = around(given["input"], [(p, p) for p in padding], mode, value), given["weight"]
        first = [v[:1] for v in (kernel, stride, (0,), dilation)]
        taps = gathered(x.movedim(2, -1), *first).movedim(-2, 1)  # (N, P, C, *others, K)
        along = [F.conv3d(taps[..., k].flatten(0, 1), w[:, :, k], **rest) for k in range(kernel[0])]
        y = torch.stack(along).sum(0).unflatten(0, taps.shape[:2]).movedim(1, 2)
        return y + given["bias"].reshape(-1, 1, 1, 1, 1)

    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if mode != "zeros":
        options["padding_mode"] = mode
    if value is not None:
        options["padding_value"] = value
    return composed("conv4d", arrays, options, reference)


def conv_transpose(d: Draw, axes: int) -> Call:
    groups, inner, outer = d.int(1, 3), d.choice([1, 1, 2]), d.choice([1, 1, 2])
    extents, kernel = d.per_axis(axes, 1, LARGEST[axes] // 2), d.per_axis(axes, 1, 3)
    stride, dilation = d.per_axis(axes, 1, 4), d.per_axis(axes, 1, 3)
    arrays = {
        "input": d.normal(*d.batch(), groups * inner, *extents),
        "weight": d.normal(groups * inner, outer, *kernel),
    }
    if d.often(0.5):
        arrays["bias"] = d.normal(groups * outer)
    options = {
        "stride": stride,
        "padding": d.per_axis(axes, 0, 2),
        "output_padding": tuple(d.int(0, max(s, e) - 1) for s, e in zip(stride, dilation, strict=True)),
        "groups": groups,
        "dilation": dilation,
    }
    return same(f"conv_transpose{axes}d", arrays, options)


def conv_transpose4d(d: Draw) -> Call:
    """For each tap of the first axis a transposed convolution along the others, added where it belongs."""
    extents, kernel = d.per_axis(4, 2, 3), d.per_axis(4, 1, 2)
    stride, padding, dilation = d.per_axis(4, 1, 2), d.per_axis(4, 0, 1), d.per_axis(4, 1, 2)
    more = tuple(d.int(0, max(s, e) - 1) for s, e in zip(stride, dilation, strict=True))
    arrays = {"input": d.normal(d.int(1, 2), 2, *extents), "weight": d.normal(2, 2, *kernel)}
    rest = {
        "stride": stride[1:],
        "padding": padding[1:],
        "output_padding": more[1:],
        "dilation": dilation[1:],
    }

    def reference(given: Tensors) -> Any:
        x, w = given["input"], given["weight"]
        n, _, p = x.shape[:3]
        flat = x.movedim(2, 1).flatten(0, 1)
        along = [
            F.conv_transpose3d(flat, w[:, :, k], **rest).unflatten(0, (n, p)).movedim(1, 2)
            for k in range(kernel[0])
        ]
        length = (p - 1) * stride[0] + dilation[0] * (kernel[0] - 1) + 1 + more[0]
        y = along[0].new_zeros(*along[0].shape[:2], length, *along[0].shape[3:])
        for k, z in enumerate(along):
            y = y.index_add(2, torch.arange(p) * stride[0] + k * dilation[0], z)
        return y[:, :, padding[0] : length - padding[0]]

    options = {"stride": stride, "padding": padding, "output_padding": more, "dilation": dilation}
    return composed("conv_transpose4d", arrays, options, reference)


def separable_conv(d: Draw, axes: int) -> Call:
    """A depthwise convolution, then one with a kernel of one tap."""
    extents, options = window(d, axes)
    del options["ceil_mode"]
    kernel, channels, many = options.pop("kernel_size"), d.int(1, 3), d.int(1, 2)
    arrays = {
        "input": d.normal(*d.batch(), channels, *extents),
        "depthwise_weight": d.normal(channels * many, 1, *kernel),
        "pointwise_weight": d.normal(2, channels * many, *(1,) * axes),
    }
    if d.often(0.5):
        arrays["bias"] = d.normal(2)

    def reference(given: Tensors) -> Any:
        f = getattr(F, f"conv{axes}d")
        between = f(given["input"], given["depthwise_weight"], **options, groups=channels)
        return f(between, given["pointwise_weight"], given.get("bias"))

    return composed(f"separable_conv{axes}d", arrays, options, reference)


def locally_connected(d: Draw, axes: int) -> Call:
    extents, options = window(d, axes)
    kernel = options["kernel_size"]
    options["ceil_mode"] = False
    lead, channels = d.int(1, 2), d.int(1, 2)
    x = d.normal(lead, channels, *extents)
    positions = gathered(x, **options).shape[2:-1]
    arrays = {"input": x, "weight": d.normal(2, *positions, channels, *kernel)}
    if d.often(0.5):
        arrays["bias"] = d.normal(2, *positions)

    def reference(given: Tensors) -> Any:
        taps = gathered(given["input"], **options).flatten(2, -2)
        w = given["weight"].reshape(2, -1, channels, math.prod(kernel))
        y = torch.einsum("ncpk,opck->nop", taps, w).reshape(lead, 2, *positions)
        return y + given["bias"] if "bias" in given else y

    rest = {n: v for n, v in options.items() if n not in ("kernel_size", "ceil_mode")}
    return composed(f"locally_connected{axes}d", arrays, rest, reference)


def convolve(d: Draw, axes: int) -> Call:
    """A convolution with the flipped kernel, padded."""
    mode = d.choice(["full", "same", "valid"])
    small = d.per_axis(axes, 1, 3)
    large = tuple(k + d.int(0, LARGEST[axes] - 3) for k in small)

    def reference(given: Tensors) -> Any:
        flipped = given["in2"].flip(tuple(range(axes)))
        whole = getattr(F, f"conv{axes}d")(
            given["in1"][None, None], flipped[None, None], padding=[k - 1 for k in small]
        )[0, 0]
        for axis, (n, k) in enumerate(zip(large, small, strict=True)):
            start, length = {"full": (0, n + k - 1), "same": ((k - 1) // 2, n), "valid": (k - 1, n - k + 1)}[
                mode
            ]
            whole = whole.narrow(axis, start, length)
        return whole

    arrays = {"in1": d.normal(*large), "in2": d.normal(*small)}
    return composed(f"convolve{axes}d", arrays, {"mode": mode}, reference)


# ------------------------------------------------------------------------------------ columns


def unfold(d: Draw, axes: int) -> Call:
    options = {
        "kernel_size": d.per_axis(axes, 1, 3),
        "dilation": d.per_axis(axes, 1, 2),
        "padding": d.per_axis(axes, 0, 3),
        "stride": d.per_axis(axes, 1, 4),
    }
    arrays = {"input": d.normal(*d.batch(), d.int(1, 3), *d.per_axis(axes, 1, LARGEST[axes]))}
    if axes == 2:
        return same("unfold2d", arrays, options, F.unfold)

    def reference(given: Tensors) -> Any:
        taps = gathered(given["input"], **options).flatten(-axes - 1, -2)  # (*lead, C, positions, taps)
        return taps.movedim(-1, -2).flatten(-3, -2)

    return composed(f"unfold{axes}d", arrays, options, reference)


def fold(d: Draw, axes: int) -> Call:
    """Added up where unfold takes them from: a place for each column and tap, the last one for the padding."""
    size, kernel = d.per_axis(axes, 3, LARGEST[axes]), d.per_axis(axes, 1, 3)
    dilation, padding, stride = d.per_axis(axes, 1, 2), d.per_axis(axes, 0, 2), d.per_axis(axes, 1, 3)
    channels = d.int(1, 2)
    options = {"kernel_size": kernel, "dilation": dilation, "padding": padding, "stride": stride}
    count = math.prod(
        max(0, places(*v, False)) for v in zip(size, kernel, stride, padding, dilation, strict=True)
    )
    x = d.normal(*d.batch(), channels * math.prod(kernel), max(count, 1))
    if axes == 2:
        return same("fold2d", {"input": x}, {"output_size": size, **options}, F.fold)

    def reference(given: Tensors) -> Any:
        room = math.prod(size)
        taken = torch.arange(room, dtype=torch.float64).reshape(size)
        at = gathered(taken, **options, fill=room).long().flatten(0, -2).T.flatten()
        columns = given["input"].unflatten(-2, (channels, -1)).flatten(-2)
        y = columns.new_zeros(*columns.shape[:-1], room + 1).index_add(-1, at, columns)
        return y[..., :room].unflatten(-1, size)

    return composed(f"fold{axes}d", {"input": x}, {"output_size": size, **options}, reference)


def toeplitz(d: Draw, axes: int) -> Call:
    """The convolution of every unit vector."""
    extents, options = window(d, axes)
    extents = tuple(min(n, 5 - axes) for n in extents)
    kernel = tuple(min(k, n) for k, n in zip(options["kernel_size"], extents, strict=True))
    groups, inner = d.int(1, 2), d.int(1, 2)
    rest = {"stride": options["stride"], "padding": options["padding"], "groups": groups}
    w = d.normal(groups * d.int(1, 2), inner, *kernel)

    def reference(given: Tensors) -> Any:
        units = torch.eye(groups * inner * math.prod(extents), dtype=w.dtype)
        units = units.reshape(-1, groups * inner, *extents)
        return getattr(F, f"conv{axes}d")(units, given["weight"], **rest).flatten(1).T

    return composed(f"toeplitz{axes}d", {"weight": w}, {"input_size": extents, **rest}, reference)


# ------------------------------------------------------------------------------------ pools


def max_pool(d: Draw, axes: int) -> Call:
    x = d.some(*d.batch(), d.choice([1, 2, 3]), *d.per_axis(axes, 1, LARGEST[axes]))
    kernel, dilation = d.per_axis(axes, 1, 3), d.per_axis(axes, 1, 2)
    stride = d.choice([None, d.per_axis(axes, 1, 4)])
    padding = tuple(d.int(0, k // 2) for k in kernel)
    if any(map(reads_padding_alone, x.shape[-axes:], kernel, stride or kernel, padding, dilation)):
        dilation = (1,) * axes  # torch's index is out of bounds there, and its gradient writes at it
    options: Window = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    options |= {"ceil_mode": d.often(0.5), "return_indices": d.often(0.5)}
    return same(f"max_pool{axes}d", {"input": x}, options)


def chosen(taps: torch.Tensor, ties: str) -> torch.Tensor:
    """The maxima along the last axis: torch's amax shares a gradient among equal entries, its max gives it to the first."""
    if ties == "split":
        return taps.amax(-1)
    if ties == "last":
        return taps.flip(-1).max(-1).values
    most = taps.amax(-1, keepdim=True).detach()
    equal = taps == most
    others = (equal.sum(-1) - 1) * most[..., 0]
    return torch.where(equal, taps, 0).sum(-1) - others


def tied_pool(d: Draw, axes: int) -> Call:
    """Who gets the gradient of a maximum that several entries reach; `ties="first"` is torch's."""
    extents, options = window(d, axes)
    ties = d.choice(["last", "split", "all"])
    x = torch.floor(d.apart(*d.batch(), d.int(1, 2), *extents) / d.choice([1, 4]))

    def reference(given: Tensors) -> Any:
        return chosen(gathered(given["input"], **options, fill=-math.inf), ties)

    return composed(f"max_pool{axes}d", {"input": x}, {**options, "ties": ties}, reference)


def min_pool(d: Draw, axes: int) -> Call:
    extents, options = window(d, axes)
    pool = getattr(F, f"max_pool{axes}d")
    x = d.apart(*d.batch(), d.int(1, 2), *extents)
    return composed(f"min_pool{axes}d", {"input": x}, options, lambda t: -pool(-t["input"], **options))


def avg_pool(d: Draw, axes: int) -> Call:
    kernel = d.per_axis(axes, 1, 4)
    options: Window = {
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


def adaptive_pool(d: Draw, axes: int, how: str) -> Call:
    name = f"adaptive_{how}_pool{axes}d"
    x = (d.normal if how == "avg" else d.some)(*d.batch(), d.int(1, 3), *d.per_axis(axes, 1, LARGEST[axes]))
    options: Window = {"output_size": d.per_axis(axes, 1, LARGEST[axes])}
    if how == "max":
        options["return_indices"] = d.often(0.5)
    return same(name, {"input": x}, options)


def fractional_max_pool(d: Draw, axes: int) -> Call:
    """Both are given the same random numbers."""
    kernel, sizes = d.per_axis(axes, 1, 3), d.per_axis(axes, 1, 3)
    least = axes - 3  # torch's of three axes takes no input that its windows just fill
    extents = tuple(d.int(k + m + least, k + m + 3) for k, m in zip(kernel, sizes, strict=True))
    batch, channels = d.choice([(), (1,), (2,)]), d.int(1, 2)
    x = d.apart(*batch, channels, *extents)
    u = torch.tensor(d.numbers.uniform(size=(*(batch or (1,)), channels, axes)), dtype=d.dtype)
    options = {"kernel_size": kernel, "output_size": sizes, "return_indices": d.often(0.5)}
    name = f"fractional_max_pool{axes}d"

    def reference(given: Tensors) -> Any:
        return getattr(F, name)(given["input"], **options, _random_samples=u)

    arrays = {"input": x, "random_samples": u}
    return composed(name, arrays, options, reference, constant=("random_samples",))


def max_unpool(d: Draw, axes: int) -> Call:
    """Windows that do not overlap: no place is written twice, which torch leaves open."""
    kernel = d.per_axis(axes, 1, 3)
    x = d.apart(*d.batch(), d.int(1, 3), *(k * d.int(1, 3) for k in kernel))
    y, i = getattr(F, f"max_pool{axes}d")(x, kernel, return_indices=True)
    return same(f"max_unpool{axes}d", {"input": y, "indices": i}, {"kernel_size": kernel})


def norm(taps: torch.Tensor, held: torch.Tensor | bool, p: float) -> torch.Tensor:
    """Of |x|, which torch's lp_pool has not, and of no more entries than a window holds (docs/differences.md)."""
    if p == math.inf:
        return torch.where(torch.as_tensor(held), taps.abs(), 0).max(-1).values
    return torch.where(torch.as_tensor(held), taps.abs() ** p, 0).sum(-1) ** (1 / p)


NORMS = (1.0, 1.5, 2.0, 3.0, math.inf)


def lp_pool(d: Draw, axes: int) -> Call:
    x = d.positive(*d.batch(), d.int(1, 3), *d.per_axis(axes, 1, LARGEST[axes]))
    options = {
        "norm_type": d.choice([1.0, 2.0, 3.0, 1.5]),
        "kernel_size": d.per_axis(axes, 1, 3) if axes > 1 else d.int(1, 3),
        "stride": d.choice([None, d.per_axis(axes, 1, 4) if axes > 1 else d.int(1, 4)]),
    }
    return same(f"lp_pool{axes}d", {"input": x}, options)


def norms_of_windows(d: Draw, axes: int) -> Call:
    """Of either sign, in windows that torch's has not, and that reach outside."""
    extents, options = window(d, axes)
    p, x = d.choice(NORMS), d.away(*d.batch(), d.int(1, 2), *extents)
    held = gathered(torch.ones_like(x), **options) > 0

    def reference(given: Tensors) -> Any:
        return norm(gathered(given["input"], **options, fill=1), held, p)

    return composed(f"lp_pool{axes}d", {"input": x}, {"norm_type": p, **options}, reference)


def soft_pool(d: Draw, axes: int, how: str) -> Call:
    """log_sum_exp, log_mean_exp and softmax-weighted sums of windows."""
    extents, options = window(d, axes)
    x = d.normal(*d.batch(), d.int(1, 2), *extents)
    temperature = 1.0 if how == "soft" else d.choice([0.25, 1.0, 3.0])
    held = gathered(torch.ones_like(x), **options)

    def reference(given: Tensors) -> Any:
        return softened(gathered(given["input"], **options, fill=-math.inf), how, temperature, held)

    more = {} if how == "soft" else {"temperature": temperature}
    return composed(f"{how}_pool{axes}d", {"input": x}, {**options, **more}, reference)


def softened(taps: torch.Tensor, how: str, temperature: float, held: torch.Tensor) -> torch.Tensor:
    if how == "soft":
        return torch.where(held > 0, taps, 0).mul(torch.softmax(taps, -1)).sum(-1)
    found = temperature * torch.logsumexp(taps / temperature, -1)
    return found if how == "log_sum_exp" else found - temperature * torch.log(held.sum(-1))


def picked(taps: torch.Tensor, how: str, u: torch.Tensor | None = None) -> torch.Tensor:
    """An entry that an order or a sample picks, or the mean of the samples."""
    if how == "median":
        return taps.median(-1).values
    entries = F.relu(taps)
    if u is None:
        total = entries.sum(-1)
        return (entries**2).sum(-1) / torch.where(total > 0, total, 1)
    sums = entries.cumsum(-1)
    reached = (sums >= u[..., None] * sums[..., -1:]) & (entries > 0)
    return entries.gather(-1, reached.to(torch.int8).argmax(-1, keepdim=True))[..., 0]


def picking_pool(d: Draw, axes: int, how: str) -> Call:
    extents, options = window(d, axes, padded=False)
    arrays = {"input": d.apart(*d.batch(), d.int(1, 2), *extents)}
    name, more = f"{how}_pool{axes}d", {}
    if how == "stochastic":
        u = torch.tensor(
            d.numbers.uniform(size=gathered(arrays["input"], **options).shape[:-1]), dtype=d.dtype
        )
        arrays, more = {**arrays, "samples": u}, {"constant": ("samples",)}
    if how == "expected":
        name = f"stochastic_pool{axes}d_mean"

    def reference(given: Tensors) -> Any:
        return picked(gathered(given["input"], **options), how, given.get("samples"))

    return composed(name, arrays, options, reference, **more)


# ------------------------------------------------------------------------------------ whole planes


def global_pool(d: Draw, how: str) -> Call:
    axes, sign = d.int(1, 3), -1 if how == "min" else 1
    pool = getattr(F, f"adaptive_{how.replace('min', 'max')}_pool{axes}d")
    make = d.normal if how == "avg" else d.some
    x = make(d.int(0, 2), d.int(1, 3), *d.per_axis(axes, 1, 5))
    return composed(f"global_{how}_pool", {"input": x}, {}, lambda t: sign * pool(sign * t["input"], 1))


def global_of_entries(d: Draw, how: str) -> Call:
    axes = d.int(1, 3)
    shape = d.int(1, 2), d.int(1, 3), *d.per_axis(axes, 1, 5)
    x, options, more = d.apart(*shape), {}, {}
    arrays: Arrays = {"input": x}
    name = f"global_{how}_pool"
    if how == "max":
        options["ties"], arrays = d.choice(["last", "split", "all"]), {"input": torch.floor(x / 4)}
    elif how == "lp":
        arrays, options["norm_type"] = {"input": d.normal(*shape)}, d.choice(NORMS)
    elif how == "stochastic":
        u = torch.tensor(d.numbers.uniform(size=(*shape[:2], *(1,) * axes)), dtype=d.dtype)
        arrays, more = {**arrays, "samples": u}, {"constant": ("samples",)}
    elif how == "expected":
        name = "global_stochastic_pool_mean"
    elif how != "median":
        arrays = {"input": d.normal(*shape)}
        if how != "soft":
            options["temperature"] = d.choice([0.25, 1.0, 3.0])

    def reference(given: Tensors) -> Any:
        taps, u = given["input"].flatten(2), given.get("samples")
        if how == "max":
            y = chosen(taps, options["ties"])
        elif how == "lp":
            y = norm(taps, True, options["norm_type"])
        elif how in ("median", "stochastic", "expected"):
            y = picked(taps, how, None if u is None else u.flatten(1))
        else:
            y = softened(taps, how, options.get("temperature", 1.0), torch.ones_like(taps))
        return y.reshape(*shape[:2], *(1,) * axes)

    return composed(name, arrays, options, reference, **more)


WINDOWS: Draws = {
    **each(conv, "conv{}d"),
    **each(padded_conv, "conv{}d padded"),
    "conv4d": conv4d,
    "conv4d padded": partial(conv4d, modes=MODES[1:]),
    **each(conv_transpose, "conv_transpose{}d"),
    "conv_transpose4d": conv_transpose4d,
    **each(separable_conv, "separable_conv{}d"),
    **each(locally_connected, "locally_connected{}d"),
    **each(convolve, "convolve{}d"),
    **each(unfold, "unfold{}d"),
    **each(fold, "fold{}d"),
    **each(toeplitz, "toeplitz{}d"),
    **each(max_pool, "max_pool{}d"),
    **each(tied_pool, "max_pool{}d ties"),
    **each(min_pool, "min_pool{}d"),
    **each(avg_pool, "avg_pool{}d"),
    **each(adaptive_pool, "adaptive_avg_pool{}d", "avg"),
    **each(adaptive_pool, "adaptive_max_pool{}d", "max"),
    **each(fractional_max_pool, "fractional_max_pool{}d", axes=(2, 3)),
    **each(max_unpool, "max_unpool{}d"),
    **each(lp_pool, "lp_pool{}d"),
    **each(norms_of_windows, "lp_pool{}d windows"),
    **{
        key: draw
        for how in ("log_sum_exp", "log_mean_exp", "soft")
        for key, draw in each(soft_pool, f"{how}_pool{{}}d", how).items()
    },
    **{
        key: draw
        for how in ("median", "stochastic", "expected")
        for key, draw in each(picking_pool, f"{how}_pool{{}}d", how).items()
    },
    **{f"global_{how}_pool": lambda d, how=how: global_pool(d, how) for how in ("avg", "max", "min")},  # type: ignore[misc]
    **{
        f"global_{how}_pool of entries": lambda d, how=how: global_of_entries(d, how)  # type: ignore[misc]
        for how in ("max", "lp", "log_sum_exp", "log_mean_exp", "soft", "median", "stochastic", "expected")
    },
}
