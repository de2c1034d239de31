"""Pooling over windows, with torch's rules, and over whole planes.

Ties of a maximum: the first in row-major order. NaN wins, and its index is that of the last NaN. The window
of an average is measured before it is cut at the input's edge, and what a ceil_mode window covers beyond the
padding counts nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from kernels.adapter import Adapter, Layout, Plan, Spec, batched, reshaped, same
from kernels.arguments import (
    LARGEST_OPTION,
    Array,
    Shape,
    flag,
    nonzero,
    padding_pairs,
    per_axis,
    positive,
    shown,
)
from kernels.convolution import numbered, too_large, wrong_rank
from kernels.errors import ArgumentError, ShapeError


def max_pool(
    spec: Spec,
    input: Shape,
    kernel_size: object,
    stride: object = None,
    padding: object = 0,
    dilation: object = 1,
    ceil_mode: object = False,
    return_indices: object = False,
) -> Plan:
    """{axes}-d maximum over windows: torch.nn.functional.max_pool{axes}d on NumPy arrays.

    input           (N, C, *spatial), or (C, *spatial) unbatched
    kernel_size     int, or one per axis
    stride          int, or one per axis; the kernel size by default
    padding         int, one per axis, or one pair (before, after) per axis; at most half of its cover
    dilation        int, or one per axis
    ceil_mode       a last window may begin inside the input, or the padding before it, and reach beyond
    return_indices  return (maxima, indices), the int64 position of each within its plane

    The result is (N, C, *positions), with floor((n + before + after - dilation * (kernel_size - 1) - 1) / stride)
    + 1 positions along each axis, or as many as `ceil_mode` adds; a window that covers more is an error.
    Of equal maxima the first counts, and gets the whole gradient. NaN wins, the last one. Padding never wins: a
    window of padding alone (there are some with dilation) gives -inf, has the index -1 and gets no gradient.
    """
    integers = windows(spec, input, kernel_size, stride, padding, dilation, ceil_mode)
    integers |= numbered("d", per_axis("dilation", dilation, spec.axes, positive))
    see = same if len(input) == spec.axes + 2 else batched
    inputs = (Layout("input", "x", input, see),)
    environment = spec.environment(inputs, **integers)
    shape = pooled(spec, input, environment)
    outputs = (Layout("output", "y", shape, see), Layout("indices", "i", shape, see))
    return Plan(inputs, outputs if flag("return_indices", return_indices) else outputs[:1], environment)


def avg_pool(
    spec: Spec,
    input: Shape,
    kernel_size: object,
    stride: object = None,
    padding: object = 0,
    ceil_mode: object = False,
    count_include_pad: object = True,
    divisor_override: object = None,
) -> Plan:
    """{axes}-d mean over windows: torch.nn.functional.avg_pool{axes}d on NumPy arrays.

    input              (N, C, *spatial), or (C, *spatial) unbatched
    kernel_size        int, or one per axis
    stride             int, or one per axis; the kernel size by default
    padding            zeros around the input, as in max_pool{axes}d; at most half of the kernel size
    ceil_mode          a last window may begin inside the input, or the padding before it, and reach beyond
    count_include_pad  divide by the window's size with its padding; else by how much of the input it holds
    divisor_override   divide by this integer instead, which is not 0

    The result's shape is that of max_pool{axes}d.
    """
    integers = windows(spec, input, kernel_size, stride, padding, 1, ceil_mode)
    see = same if len(input) == spec.axes + 2 else batched
    inputs = (Layout("input", "x", input, see),)
    environment = spec.environment(
        inputs,
        **integers,
        include=int(flag("count_include_pad", count_include_pad)),
        divisor=0 if divisor_override is None else nonzero("divisor_override", divisor_override),
    )
    return Plan(inputs, (Layout("output", "y", pooled(spec, input, environment), see),), environment)


def windows(
    spec: Spec,
    input: Shape,
    kernel_size: object,
    stride: object,
    padding: object,
    dilation: object,
    ceil_mode: object,
) -> dict[str, int]:
    """The formula's integers, checked against the input."""
    axes = spec.axes
    if len(input) not in (axes + 1, axes + 2):
        raise ShapeError(wrong_rank(input, axes))
    kernel = per_axis("kernel_size", kernel_size, axes, positive)
    strides = kernel if stride is None else per_axis("stride", stride, axes, positive)
    pads = padding_pairs("padding", padding, axes)
    dilations = per_axis("dilation", dilation, axes, positive)
    ceil = flag("ceil_mode", ceil_mode)
    for axis, n in enumerate(input[-axes:]):
        if n == 0:
            raise ShapeError(f"`input` has no entries along spatial axis {axis}")
        span = dilations[axis] * (kernel[axis] - 1) + 1
        if max(pads[axis]) > span // 2:
            raise ArgumentError(
                f"`padding` is {max(pads[axis])} along axis {axis} but needs to be at most {span // 2}, "
                f"half of the {span} that a window covers"
            )
        if n + sum(pads[axis]) + (strides[axis] - 1 if ceil else 0) < span:
            raise ShapeError(too_large("window", axis, kernel[axis], dilations[axis], n, pads[axis]))
    if (taps := math.prod(kernel)) > LARGEST_OPTION:  # they are counted, those outside the input too
        raise ArgumentError(
            f"`kernel_size` is {shown(kernel_size)}, a window of {taps} places, but needs at most {LARGEST_OPTION}"
        )
    before, after = ([pad[end] for pad in pads] for end in (0, 1))
    return {
        **numbered("K", kernel),
        **numbered("s", strides),
        **numbered("a", before),
        **numbered("e", after),
        "ceil": int(ceil),
    }


def pooled(spec: Spec, input: Shape, environment: Mapping[str, int]) -> Shape:
    """The result's shape."""
    return (*input[: -spec.axes], *spec.shape("y", environment)[2:])


def global_pool(spec: Spec, input: Shape) -> Plan:
    """{what} of each plane: torch's adaptive_{how}_pool to size 1, for any number of spatial axes.

    input  (N, C, *spatial); the result is (N, C, 1, ...), with as many axes

    An empty plane is an error.{rule}
    """
    if len(input) < 3:
        raise ShapeError(f"`input` has {len(input)} axes but needs at least 3: (N, C, *spatial)")
    if 0 in input[2:]:
        raise ShapeError("`input` has empty planes")
    count = math.prod(input[2:])
    inputs = (Layout("input", "x", input, reshaped(*input[:2], count)),)
    ones = (1,) * (len(input) - 2)
    return Plan(inputs, (Layout("output", "y", input[:2] + ones, without_ones),), spec.environment(inputs))


def without_ones(array: Array) -> Array:
    return array.reshape(array.shape[:2])  # dropping axes of extent 1 never copies


PICKS = " Of equal entries the first gets the whole gradient. NaN wins, the last one."


class GlobalPool(Adapter):
    """One plan for the three; they differ in a word."""

    def __init__(self, what: str, how: str, rule: str = "") -> None:
        super().__init__(global_pool, {"input": "x"})
        self.doc = self.doc.replace("{what}", what).replace("{how}", how).replace("{rule}", rule)


ADAPTERS = {
    **{f"max_pool{axes}d": Adapter(max_pool, {"input": "x"}, axes) for axes in (1, 2, 3)},
    **{f"avg_pool{axes}d": Adapter(avg_pool, {"input": "x"}, axes) for axes in (1, 2, 3)},
    "global_avg_pool": GlobalPool("Mean", "avg"),
    "global_max_pool": GlobalPool("Maximum", "max", PICKS),
    "global_min_pool": GlobalPool("Minimum", "max", PICKS),
}
