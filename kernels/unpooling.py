"""Back from the maxima of windows to a plane, by the indices that max pooling returns."""

from __future__ import annotations

import math

from kernels.adapter import Adapter, Layout, Plan, Spec, reshaped
from kernels.arguments import Shape, entries, natural, per_axis, positive, shown
from kernels.convolution import wrong_rank
from kernels.errors import ArgumentError, ShapeError


def max_unpool(
    spec: Spec,
    input: Shape,
    indices: Shape,
    kernel_size: object,
    stride: object = None,
    padding: object = 0,
    output_size: object = None,
) -> Plan:
    """{axes}-d max unpooling: torch.nn.functional.max_unpool{axes}d on NumPy arrays.

    input        (N, C, *spatial), or (C, *spatial) unbatched
    indices      in the shape of `input`: where in its plane of the result each entry goes; integers
    kernel_size  of the pooling that is undone: int, or one per axis
    stride       int, or one per axis; the kernel size by default
    padding      int, or one per axis
    output_size  the result's spatial extents, alone or after N and C: less than a stride from the default,
                 (n - 1) * stride - 2 * padding + kernel_size along each axis

    Elsewhere the result is 0. An index outside the plane is an error. Where several entries come to one place it holds
    their mean, and each gets its share of the gradient: of indices of windows that overlap, that is the maximum itself.
    (torch keeps one of them, which one is not defined, and gives each the whole gradient.)
    """
    axes = spec.axes
    if len(input) not in (axes + 1, axes + 2):
        raise ShapeError(wrong_rank(input, axes))
    if indices != input:
        raise ShapeError(f"`indices` has shape {indices} but needs {input}, that of `input`")
    kernel = per_axis("kernel_size", kernel_size, axes, positive)
    strides = kernel if stride is None else per_axis("stride", stride, axes, positive)
    pads = per_axis("padding", padding, axes, natural)
    sizes = tuple(
        (n - 1) * s - 2 * a + k for n, s, a, k in zip(input[-axes:], strides, pads, kernel, strict=True)
    )
    if output_size is not None:
        sizes = chosen_sizes(input, output_size, sizes, strides)
    for axis, size in enumerate(sizes):
        if size < 1:
            raise ShapeError(f"the result would have the extent {size} along spatial axis {axis}")
    lead = input[:-axes]
    batch = lead if len(lead) == 2 else (1, *lead)
    see, whole = reshaped(*batch, math.prod(input[-axes:])), reshaped(*batch, math.prod(sizes))
    inputs = (Layout("input", "x", input, see), Layout("indices", "i", indices, see))
    environment = spec.environment(inputs, Q=math.prod(sizes))
    return Plan(inputs, (Layout("output", "y", (*lead, *sizes), whole),), environment)


def chosen_sizes(
    input: Shape, output_size: object, usual: tuple[int, ...], strides: tuple[int, ...]
) -> tuple[int, ...]:
    """The spatial extents asked for, each less than a stride from the usual one."""
    axes = len(usual)
    given = entries(output_size)
    if given is None or len(given) not in (axes, len(input)):
        raise ArgumentError(
            f"`output_size` is {shown(output_size)} but needs {axes} extents, or {len(input)} with those before them"
        )
    sizes = tuple(positive(f"output_size[{k}]", size) for k, size in enumerate(given))[-axes:]
    for axis, (size, common, s) in enumerate(zip(sizes, usual, strides, strict=True)):
        if abs(size - common) >= s:
            raise ArgumentError(
                f"`output_size` is {size} along spatial axis {axis} but needs {common - s} < size < {common + s}"
            )
    return sizes


ADAPTERS = {
    f"max_unpool{axes}d": Adapter(max_unpool, {"input": "x", "indices": "i"}, axes, definition="max_unpool")
    for axes in (1, 2, 3)
}
