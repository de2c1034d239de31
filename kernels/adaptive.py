"""Pooling to a size that is given: adaptive bins, and windows at fractional distances; torch's rules."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kernels.adapter import Adapter, Layout, Plan, Spec
from kernels.arguments import Shape, flag, integer, natural, per_axis, positive, real, shown
from kernels.convolution import numbered, wrong_rank
from kernels.errors import ArgumentError, ShapeError
from kernels.pooling import planes, rows


def adaptive_avg_pool(spec: Spec, input: Shape, output_size: object) -> Plan:
    """{axes}-d mean over as many bins as asked for: torch.nn.functional.adaptive_avg_pool{axes}d on NumPy arrays.

    input        (N, C, *spatial), or (C, *spatial) unbatched
    output_size  int, or one per axis; None leaves an axis as long as it is

    Bin i of m along an axis of n entries holds those from floor(i n / m) to ceil((i + 1) n / m) - 1: bins overlap by an
    entry where m does not divide n. The result is (N, C, *output_size). Means are taken along one axis after the other,
    and rounded to the type of `input` in between.
    """
    shape, environment, x = binned(spec, input, output_size)
    return Plan((x,), (Layout("output", "y", shape, x.view),), environment)


def adaptive_max_pool(spec: Spec, input: Shape, output_size: object, return_indices: object = False) -> Plan:
    """{axes}-d maximum over as many bins as asked for: torch.nn.functional.adaptive_max_pool{axes}d on NumPy arrays.

    input           (N, C, *spatial), or (C, *spatial) unbatched
    output_size     int, or one per axis; None leaves an axis as long as it is
    return_indices  return (maxima, indices), the int64 position of each within its plane

    Bins are those of adaptive_avg_pool{axes}d; the result is (N, C, *output_size). Of equal maxima the first counts, and
    gets the whole gradient. NaN wins, the last one.
    """
    shape, environment, x = binned(spec, input, output_size)
    outputs = (Layout("output", "y", shape, x.view), Layout("indices", "i", shape, x.view))
    return Plan((x,), outputs if flag("return_indices", return_indices) else outputs[:1], environment)


def binned(spec: Spec, input: Shape, output_size: object) -> tuple[Shape, dict[str, int], Layout]:
    """The result's shape, the formula's integers and the input."""
    spatial = checked(spec, input)

    def length(name: str, value: object) -> int | None:
        return None if value is None else natural(name, value)

    wanted = per_axis("output_size", output_size, spec.axes, length)
    sizes = [n if m is None else m for n, m in zip(spatial, wanted, strict=True)]
    x = Layout("input", "x", input, planes(spec, input))
    environment = spec.environment((x,), **numbered("P", (*(1,) * rows(spec), *sizes)))
    return (*input[: -spec.axes], *sizes), environment, x


def checked(spec: Spec, input: Shape) -> Shape:
    """The spatial extents of an input, none of them 0."""
    if len(input) not in (spec.axes + 1, spec.axes + 2):
        raise ShapeError(wrong_rank(input, spec.axes))
    for axis, n in enumerate(input[-spec.axes :]):
        if n == 0:
            raise ShapeError(f"`input` has no entries along spatial axis {axis}")
    return input[-spec.axes :]


def fractional_max_pool(
    spec: Spec,
    input: Shape,
    random_samples: Shape,
    kernel_size: object,
    output_size: object = None,
    output_ratio: object = None,
    return_indices: object = False,
) -> Plan:
    """{axes}-d fractional max pooling: torch.nn.functional.fractional_max_pool{axes}d on NumPy arrays, samples given.

    input           (N, C, *spatial), or (C, *spatial) unbatched
    random_samples  (N, C, {axes}), N = 1 if unbatched: u in [0, 1) for each axis{order}; places outside are clipped
    kernel_size     int, or one per axis
    output_size     int, or one per axis
    output_ratio    instead: a number in (0, 1), or one per axis; the result has int(ratio * n) positions
    return_indices  return (maxima, indices), the int64 position of each within its plane

    Graham, Fractional max-pooling (2014). Of m windows of k entries along an axis of n, window i < m - 1 begins at
    floor((i + u) g) - floor(u g) with g = (n - k) / (m - 1), the last at n - k. (Where (i + u) g is nearly whole, torch,
    which computes it in the type of `input`, may begin one entry off.) Of equal maxima the first counts, and gets the
    whole gradient; samples get 0. NaN wins, the last one.
    """
    axes, spatial = spec.axes, checked(spec, input)
    samples = (input[0] if len(input) == axes + 2 else 1, input[-axes - 1], axes)
    if random_samples != samples:
        raise ShapeError(f"`random_samples` has shape {random_samples} but needs {samples}: (N, C, {axes})")
    kernel = per_axis("kernel_size", kernel_size, axes, positive)
    sizes = fractional_sizes(spatial, output_size, output_ratio)
    for axis, (n, k, m) in enumerate(zip(spatial, kernel, sizes, strict=True)):
        if k + m - 1 > n:
            raise ShapeError(
                f"`input` has {n} entries along spatial axis {axis} but {m} windows of {k} need at least {k + m - 1}"
            )
    see = planes(spec, input)
    inputs = (Layout("input", "x", input, see), Layout("random_samples", "u", samples))
    environment = spec.environment(inputs, **numbered("K", kernel), **numbered("P", sizes))
    shape = (*input[:-axes], *sizes)
    outputs = (Layout("output", "y", shape, see), Layout("indices", "i", shape, see))
    return Plan(inputs, outputs if flag("return_indices", return_indices) else outputs[:1], environment)


def fractional_sizes(spatial: Sequence[int], output_size: object, output_ratio: object) -> tuple[int, ...]:
    """How many windows along each axis."""
    if (output_size is None) == (output_ratio is None):
        raise ArgumentError(
            f"`output_size` is {shown(output_size)} and `output_ratio` is {shown(output_ratio)} but one of the two is "
            "needed, and no more"
        )
    if output_ratio is None:
        return per_axis("output_size", output_size, len(spatial), positive)
    ratios = per_axis("output_ratio", output_ratio, len(spatial), real)
    for axis, ratio in enumerate(ratios):
        if not 0 < ratio < 1:
            raise ArgumentError(
                f"`output_ratio` is {ratio} along axis {axis} but needs to be between 0 and 1"
            )
    made = zip(ratios, spatial, strict=True)
    return tuple(integer("output_ratio * n", math.floor(ratio * n), 1) for ratio, n in made)


class Fractional(Adapter):
    """Says in which order torch has the samples."""

    def __init__(self, axes: int, order: str) -> None:
        super().__init__(fractional_max_pool, {"input": "x", "random_samples": "u"}, axes)
        self.doc = self.doc.replace("{order}", order)


ADAPTERS: dict[str, Adapter] = {
    **{
        f"{name}{axes}d": Adapter(plan, {"input": "x"}, axes, {}, f"{name}{max(axes, 2)}d")
        for name, plan in (("adaptive_avg_pool", adaptive_avg_pool), ("adaptive_max_pool", adaptive_max_pool))
        for axes in (1, 2, 3)
    },
    "fractional_max_pool2d": Fractional(2, ", the last axis first, as in torch"),
    "fractional_max_pool3d": Fractional(3, ""),
}
