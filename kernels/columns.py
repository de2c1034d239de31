"""Convolution as a product of matrices: windows as columns, their gradient, and the matrix of a convolution."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kernels.adapter import Adapter, Layout, Plan, Spec, reshaped
from kernels.arguments import Shape, as_array, integer, padding_pairs, per_axis, positive
from kernels.convolution import (
    check_groups,
    check_kernel,
    check_rank,
    is_batch,
    numbered,
    window_integers,
    window_positions,
    windows_that_fit,
)
from kernels.errors import ArgumentError, ShapeError


def unfold(
    spec: Spec,
    input: Shape,
    kernel_size: object,
    dilation: object = 1,
    padding: object = 0,
    stride: object = 1,
) -> Plan:
    """Windows as columns (im2col): torch.nn.functional.unfold on NumPy arrays with {axes} spatial axes.

    input        (N, C, *spatial), or (C, *spatial) unbatched
    kernel_size  int, or one per axis
    dilation     int, or one per axis
    padding      zeros around `input`: int, one per axis, or one pair (before, after) per axis
    stride       int, or one per axis

    The result is (N, C * taps, positions), without N if `input` has none, taps and positions in row-major order.
    """
    axes = spec.axes
    is_batch(input, axes)
    kernel, integers, positions = columns(spec, input[-axes:], kernel_size, dilation, padding, stride)
    lead = input[:-axes] if len(input) == axes + 2 else (1, *input[:-axes])
    inputs = (Layout("input", "x", input, reshaped(*lead, *input[-axes:])),)
    environment = spec.environment(inputs, **integers, **numbered("K", kernel))
    shape = (*input[: -axes - 1], input[-axes - 1] * math.prod(kernel), math.prod(positions))
    output = Layout("output", "y", shape, reshaped(*lead, *kernel, *positions))
    return Plan(inputs, (output,), environment)


def fold(
    spec: Spec,
    input: Shape,
    output_size: object,
    kernel_size: object,
    dilation: object = 1,
    padding: object = 0,
    stride: object = 1,
) -> Plan:
    """Columns added up where `unfold` takes them from (col2im): torch.nn.functional.fold with {axes} spatial axes.

    input        (N, C * taps, positions), or without N
    output_size  the spatial extents of the result: int, or one per axis
    kernel_size, dilation, padding, stride
                 as in unfold{axes}d

    The result is (N, C, *output_size), without N if `input` has none. What belongs to the padding is dropped.
    """
    axes = spec.axes
    if len(input) not in (2, 3):
        raise ShapeError(
            f"`input` has {len(input)} axes but needs 3, or 2 unbatched: (N, C * taps, positions)"
        )
    extents = per_axis("output_size", output_size, axes, positive)
    kernel, integers, positions = columns(spec, extents, kernel_size, dilation, padding, stride)
    taps, count = math.prod(kernel), math.prod(positions)
    if input[-2] % taps:
        raise ShapeError(f"`input` has {input[-2]} rows, which the {taps} taps of a window do not divide")
    if input[-1] != count:
        raise ShapeError(
            f"`input` has {input[-1]} columns but needs {count}, one for each of {positions} positions"
        )
    channels = input[-2] // taps
    lead = (input[0] if len(input) == 3 else 1, channels)
    inputs = (Layout("input", "x", input, reshaped(*lead, *kernel, *positions)),)
    environment = spec.environment(inputs, **integers, **numbered("Q", extents))
    output = Layout("output", "y", (*input[:-2], channels, *extents), reshaped(*lead, *extents))
    return Plan(inputs, (output,), environment)


def columns(
    spec: Spec, extents: Shape, kernel_size: object, dilation: object, padding: object, stride: object
) -> tuple[Shape, dict[str, int], Shape]:
    """The kernel, the formula's integers, and how many positions there are along each axis."""
    axes = spec.axes
    kernel = per_axis("kernel_size", kernel_size, axes, positive)
    strides = per_axis("stride", stride, axes, positive)
    dilations = per_axis("dilation", dilation, axes, positive)
    pads = windows_that_fit(extents, kernel, strides, dilations, padding_pairs("padding", padding, axes))
    integers = window_integers(spec, strides, dilations, pads)
    return kernel, integers, window_positions(extents, kernel, strides, dilations, pads)


def toeplitz(
    spec: Spec,
    weight: Shape,
    input_size: object,
    stride: object = 1,
    padding: object = 0,
    dilation: object = 1,
    groups: object = 1,
) -> Plan:
    """The matrix T of a {axes}-d convolution without bias: T @ input.ravel() is conv{axes}d(input, weight, ...).ravel().

    weight      (O, C / groups, *kernel)
    input_size  the spatial extents of its input: int, or one per axis
    stride, padding, dilation, groups
                as in conv{axes}d, padded with zeros

    The result is (O * positions, C * spatial), channels first and places in row-major order: constant along diagonals
    (Toeplitz) for one axis, a Toeplitz matrix of such blocks for two (doubly blocked), and so on. Mostly zeros: for
    large inputs there is `kernels.columns.toeplitz_sparse`.
    """
    axes = spec.axes
    parts, extents = positive("groups", groups), per_axis("input_size", input_size, axes, positive)
    strides = per_axis("stride", stride, axes, positive)
    dilations = per_axis("dilation", dilation, axes, positive)
    check_rank("weight", weight, axes + 2, f"(out_channels, in_channels / groups, {axes} of kernel)")
    check_groups("weight", weight[0], "output", parts)
    check_kernel("weight", weight[2:])
    pads = windows_that_fit(extents, weight[2:], strides, dilations, padding)
    positions = window_positions(extents, weight[2:], strides, dilations, pads)
    seen = (parts, weight[0] // parts, *weight[1:])
    inputs = (Layout("weight", "w", weight, reshaped(*seen)),)
    environment = spec.environment(
        inputs,
        **window_integers(spec, strides, dilations, pads),
        **numbered("P", positions),
        **numbered("Q", extents),
    )
    shape = (weight[0] * math.prod(positions), parts * weight[1] * math.prod(extents))
    see = reshaped(parts, weight[0] // parts, *positions, parts, weight[1], *extents)
    return Plan(inputs, (Layout("output", "y", shape, see),), environment)


def toeplitz_sparse(
    weight: Any,
    input_size: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: Any = 1,
) -> Any:
    """The matrix of `toeplitz1d`, `toeplitz2d` or `toeplitz3d`, as many axes as `weight` has, as a scipy.sparse.csr_array.

    Its arguments are theirs, and so are the errors. Taps that lie outside of the input have no entry; needs SciPy.
    """
    import kernels

    try:
        from scipy.sparse import csr_array
    except ModuleNotFoundError:
        raise ArgumentError(
            "toeplitz_sparse needs SciPy, which is not installed; toeplitz2d makes a dense matrix"
        ) from None
    taps = as_array("weight", weight)
    axes = taps.ndim - 2
    if axes not in (1, 2, 3):
        raise ShapeError(
            f"`weight` has {taps.ndim} axes but needs 3 to 5: (out_channels, in_channels / groups, *kernel)"
        )
    rows, cols = getattr(kernels, f"toeplitz{axes}d").output_shape(
        taps, input_size, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    parts, extents = integer("groups", groups), per_axis("input_size", input_size, axes, positive)
    pads = windows_that_fit(
        extents,
        taps.shape[2:],
        per_axis("stride", stride, axes, positive),
        per_axis("dilation", dilation, axes, positive),
        padding,
    )
    # The place, counted from one, that each tap of each position reads; zero is outside.
    places = np.arange(1.0, math.prod(extents) + 1).reshape(1, *extents)
    found = getattr(kernels, f"unfold{axes}d")(places, taps.shape[2:], dilation, pads, stride).astype(
        np.int64
    )
    kernel, positions = found.shape
    out, channels = taps.shape[0] // max(1, parts), taps.shape[1]
    shape = (parts, out, channels, kernel, positions)
    g, o, c, _, p = np.ogrid[tuple(slice(n) for n in shape)]
    at = np.broadcast_to(found, shape)
    values = np.broadcast_to(taps.reshape(parts, out, channels, kernel, 1), shape)
    row = np.broadcast_to((g * out + o) * positions + p, shape)
    column = (g * channels + c) * math.prod(extents) + at - 1
    there = at > 0
    return csr_array((values[there], (row[there], column[there])), shape=(rows, cols))


ADAPTERS = {
    **{f"unfold{axes}d": Adapter(unfold, {"input": "x"}, axes) for axes in (1, 2, 3)},
    **{f"fold{axes}d": Adapter(fold, {"input": "x"}, axes) for axes in (1, 2, 3)},
    **{f"toeplitz{axes}d": Adapter(toeplitz, {"weight": "w"}, axes) for axes in (1, 2, 3)},
}
