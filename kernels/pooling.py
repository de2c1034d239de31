"""Pooling over windows, with torch's rules, and over whole planes.

Ties of a maximum: the first in row-major order. NaN wins, and its index is that of the last NaN. The window
of an average is measured before it is cut at the input's edge, and what a ceil_mode window covers beyond the
padding counts nothing. `kernels.pools` has the windows' other aggregations, on the machinery here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from kernels.adapter import Adapter, Layout, Plan, Spec, Variants, batched, reshaped, same
from kernels.arguments import (
    LARGEST_OPTION,
    Array,
    Shape,
    choice,
    flag,
    nonzero,
    padding_pairs,
    per_axis,
    positive,
    shown,
)
from kernels.convolution import numbered, too_large, wrong_rank
from kernels.errors import ArgumentError, ShapeError

TIES = ("first", "last", "split", "all")


def max_pool(
    spec: Spec,
    input: Shape,
    kernel_size: object,
    stride: object = None,
    padding: object = 0,
    dilation: object = 1,
    ceil_mode: object = False,
    return_indices: object = False,
    ties: object = "first",
) -> Plan:
    """{axes}-d maximum over windows: torch.nn.functional.max_pool{axes}d on NumPy arrays.

    input           (N, C, *spatial), or (C, *spatial) unbatched
    kernel_size     int, or one per axis
    stride          int, or one per axis; the kernel size by default
    padding         int, one per axis, or one pair (before, after) per axis; at most half of its cover
    dilation        int, or one per axis
    ceil_mode       a last window may begin inside the input, or the padding before it, and reach beyond
    return_indices  return (maxima, indices), the int64 position of each within its plane
    ties            which of equal maxima gets the gradient: "first" or "last" in row-major order, "split" (each an
                    equal share) or "all" (each the whole); `indices` has the first of them, or with "last" the last

    The result is (N, C, *positions), with floor((n + before + after - dilation * (kernel_size - 1) - 1) / stride)
    + 1 positions along each axis, or as many as `ceil_mode` adds; a window that covers more is an error.
    Of equal maxima the first counts, and gets the whole gradient. NaN wins, the last one. Padding never wins: a
    window of padding alone (there are some with dilation) gives -inf, has the index -1 and gets no gradient.
    """
    choice("ties", ties, TIES)
    return extreme(spec, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def min_pool(
    spec: Spec,
    input: Shape,
    kernel_size: object,
    stride: object = None,
    padding: object = 0,
    dilation: object = 1,
    ceil_mode: object = False,
    return_indices: object = False,
) -> Plan:
    """{axes}-d minimum over windows; arguments and shapes are those of max_pool{axes}d.

    return_indices  return (minima, indices), the int64 position of each within its plane

    Of equal minima the first counts, and gets the whole gradient. NaN wins, the last one. Padding never wins: a
    window of padding alone (there are some with dilation) gives inf, has the index -1 and gets no gradient.
    """
    return extreme(spec, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def extreme(
    spec: Spec,
    input: Shape,
    kernel_size: object,
    stride: object,
    padding: object,
    dilation: object,
    ceil_mode: object,
    return_indices: object,
) -> Plan:
    """A maximum or a minimum of each window, and where it lies."""
    integers = windows(spec, input, kernel_size, stride, padding, dilation, ceil_mode)
    see = planes(spec, input)
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
    integers = windows(spec, input, kernel_size, stride, padding, UNDILATED, ceil_mode)
    see = planes(spec, input)
    inputs = (Layout("input", "x", input, see),)
    environment = spec.environment(
        inputs,
        **integers,
        include=int(flag("count_include_pad", count_include_pad)),
        divisor=0 if divisor_override is None else nonzero("divisor_override", divisor_override),
    )
    return Plan(inputs, (Layout("output", "y", pooled(spec, input, environment), see),), environment)


UNDILATED = object()  # None is a mistake of the caller's


def windows(
    spec: Spec,
    input: Shape,
    kernel_size: object,
    stride: object,
    padding: object,
    dilation: object,
    ceil_mode: object,
) -> dict[str, int]:
    """The formula's integers, checked against the input; `dilation` UNDILATED where the formula has none."""
    axes = spec.axes
    if len(input) not in (axes + 1, axes + 2):
        raise ShapeError(wrong_rank(input, axes))
    kernel = per_axis("kernel_size", kernel_size, axes, positive)
    strides = kernel if stride is None else per_axis("stride", stride, axes, positive)
    pads = padding_pairs("padding", padding, axes)
    dilations = per_axis("dilation", 1 if dilation is UNDILATED else dilation, axes, positive)
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
    one, none = (1,) * rows(spec), (0,) * rows(spec)
    return {
        **numbered("K", (*one, *kernel)),
        **numbered("s", (*one, *strides)),
        **(numbered("d", (*one, *dilations)) if dilation is not UNDILATED else {}),
        **numbered("a", (*none, *before)),
        **numbered("e", (*none, *after)),
        "ceil": int(ceil),
    }


def rows(spec: Spec) -> int:
    """How many axes more than the operator's the formula has: a line is a plane of one row."""
    return len(spec.tensors["x"].shape) - 2 - spec.axes


def planes(spec: Spec, input: Shape) -> Callable[[Array], Array]:
    """Sees (N, C, *spatial), or (C, *spatial), with the axes of the formula: a batch of one, a plane of one row."""
    unbatched, more = len(input) == spec.axes + 1, rows(spec)
    if not more:
        return batched if unbatched else same
    channels = (np.newaxis, slice(None)) if unbatched else (slice(None), slice(None))
    at = (*channels, *(np.newaxis,) * more)

    def view(array: Array) -> Array:
        seen: Array = array[at]
        return seen

    return view


def pooled(spec: Spec, input: Shape, environment: Mapping[str, int]) -> Shape:
    """The result's shape."""
    return (*input[: -spec.axes], *spec.shape("y", environment)[2 + rows(spec) :])


def global_pool(spec: Spec, input: Shape) -> Plan:
    """{what} of each plane: torch's adaptive_{how}_pool to size 1, for any number of spatial axes.

    input  (N, C, *spatial); the result is (N, C, 1, ...), with as many axes

    An empty plane is an error.{rule}
    """
    return plane_pool(spec, input)


def plane_pool(spec: Spec, input: Shape, reals: Mapping[str, float] = MappingProxyType({})) -> Plan:
    """One number for each plane, whose entries the formula has in one row."""
    inputs = (Layout("input", "x", input, reshaped(*input[:2], entries(input))),)
    output = Layout("output", "y", ones(input), without_ones)
    return Plan(inputs, (output,), spec.environment(inputs), reals)


def global_extreme(spec: Spec, input: Shape, ties: object = "first") -> Plan:
    """{what} of each plane: torch's adaptive_{how}_pool to size 1, for any number of spatial axes.

    input  (N, C, *spatial); the result is (N, C, 1, ...), with as many axes
    ties   which of equal entries gets the gradient: "first", "last", "split" (each an equal share) or "all" (each the
           whole)

    An empty plane is an error. NaN wins, the last one.
    """
    return plane_pool(spec, input) if choice("ties", ties, TIES) == "first" else whole_plane(spec, input)


def whole_plane(spec: Spec, input: Shape) -> Plan:
    """One window that holds everything, of a plane of one row."""
    see, one = reshaped(*input[:2], 1, entries(input)), reshaped(*input[:2], 1, 1)
    inputs = (Layout("input", "x", input, see),)
    environment = spec.environment(inputs, **whole_window(spec, input))
    return Plan(inputs, (Layout("output", "y", ones(input), one),), environment)


def whole_window(spec: Spec, input: Shape) -> dict[str, int]:
    """The integers of that window."""
    dilated = any(p.name == "d0" for p in spec.definition.parameters)
    return {
        **numbered("K", (1, entries(input))),
        **numbered("s", (1, 1)),
        **(numbered("d", (1, 1)) if dilated else {}),
        **numbered("a", (0, 0)),
        **numbered("e", (0, 0)),
        "ceil": 0,
    }


def entries(input: Shape) -> int:
    """How many a plane has."""
    if len(input) < 3:
        raise ShapeError(f"`input` has {len(input)} axes but needs at least 3: (N, C, *spatial)")
    if 0 in input[2:]:
        raise ShapeError("`input` has empty planes")
    return math.prod(input[2:])


def ones(input: Shape) -> Shape:
    return input[:2] + (1,) * (len(input) - 2)


def without_ones(array: Array) -> Array:
    return array.reshape(array.shape[:2])  # dropping axes of extent 1 never copies


class Worded(Adapter):
    """A plan for several operators, which differ in a word of the documentation."""

    def __init__(
        self, plan: Callable[..., Plan], words: Mapping[str, str], *args: Any, **options: Any
    ) -> None:
        super().__init__(plan, *args, **options)
        for name, word in words.items():
            self.doc = self.doc.replace(f"{{{name}}}", word)


PICKS = " Of equal entries the first gets the whole gradient. NaN wins, the last one."
INPUT = {"input": "x"}


ADAPTERS: dict[str, Adapter] = {
    **{f"max_pool{axes}d": Adapter(max_pool, INPUT, axes) for axes in (1, 2, 3)},
    **{
        f"max_pool{axes}d_{ties}": Adapter(
            max_pool, INPUT, axes, {"ties": ties}, f"max_pool{max(axes, 2)}d_{ties}"
        )
        for axes in (1, 2, 3)
        for ties in TIES[1:]
    },
    **{
        f"min_pool{axes}d": Adapter(min_pool, INPUT, axes, {}, f"min_pool{max(axes, 2)}d")
        for axes in (1, 2, 3)
    },
    **{f"avg_pool{axes}d": Adapter(avg_pool, INPUT, axes) for axes in (1, 2, 3)},
    "global_avg_pool": Worded(global_pool, {"what": "Mean", "how": "avg", "rule": ""}, INPUT),
    "global_max_pool": Worded(global_extreme, {"what": "Maximum", "how": "max"}, INPUT),
    **{
        f"global_max_pool_{ties}": Worded(
            global_extreme,
            {"what": "Maximum", "how": "max"},
            INPUT,
            fixed={"ties": ties},
            definition=f"max_pool2d_{ties}",
        )
        for ties in TIES[1:]
    },
    "global_min_pool": Worded(global_pool, {"what": "Minimum", "how": "max", "rule": PICKS}, INPUT),
}
VARIANTS = {
    name: Variants("ties", {ties: f"{name}_{ties}" for ties in TIES[1:]})
    for name in ("max_pool1d", "max_pool2d", "max_pool3d", "global_max_pool")
}
