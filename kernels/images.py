"""Resampling, pixel shuffles and padding, with torch's signatures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from kernels.adapter import Adapter, Layout, Plan, Spec, Variants, reshaped
from kernels.arguments import Shape, choice, entries, flag, integer, per_axis, positive, real, shown, word
from kernels.convolution import numbered
from kernels.errors import ArgumentError, ShapeError
from kernels.layers import only_default

FINEST = 10**6  # the largest denominator that a scale factor is taken to have
RANKS = {"linear": 1, "bilinear": 2, "trilinear": 3, "bicubic": 2}


def interpolate(
    spec: Spec,
    input: Shape,
    size: object = None,
    scale_factor: object = None,
    mode: object = "nearest",
    align_corners: object = None,
    recompute_scale_factor: object = None,
    antialias: object = False,
) -> Plan:
    """Resampling to another size: torch.nn.functional.interpolate on NumPy arrays.

    input                   (N, C, *spatial), with one to three spatial axes
    size                    the size wanted, an integer or one per axis
    scale_factor            or how many times the size of `input`, a number or one per axis; the size is rounded down
    mode                    "nearest", "nearest-exact"; "linear" (one axis), "bilinear" (two), "trilinear" (three),
                            "bicubic" (two; Keys' kernel with a = -3/4)
    align_corners           of the linear and cubic modes: the centres of the corners are put on each other; else their
                            outer edges
    recompute_scale_factor  True: places follow from the two sizes, as they do where `size` is given
    antialias               False

    With O places of I along an axis and s = I / O (or 1 / scale_factor), place p lies at (p + 1/2) * s - 1/2; with corners
    aligned, at p * (I - 1) / (O - 1). The linear modes leave an axis that keeps its size as it is, whatever the factor.
    The first or last entry goes on beyond the edge. "nearest-exact" takes the place
    nearest to that, "nearest" the one at p * s rounded down. Places are exact, from integers: torch rounds s to the type
    of `input`, and may take a neighbour. A scale factor is taken for the fraction nearest to it of a denominator up to a
    million. Not supported, and refused: mode "area", which is adaptive average pooling, and antialias.
    """
    if word(mode) == "area":
        raise ArgumentError(
            "`mode` is 'area', which is adaptive_avg_pool1d, adaptive_avg_pool2d or adaptive_avg_pool3d"
        )
    kind = choice("mode", mode, ("nearest", "nearest-exact", *RANKS))
    if align_corners is not None:
        raise ArgumentError(f"`align_corners` is {shown(align_corners)} but mode {kind!r} has no such option")
    axes = len(input) - 2
    if not 1 <= axes <= 3:
        raise ShapeError(f"`input` has {len(input)} axes but needs 3 to 5: (N, C, *spatial)")
    half = int(kind == "nearest-exact")
    steps = scales(input[2:], size, scale_factor, recompute_scale_factor, antialias)
    a, b, d = ([1] * (3 - axes), [0] * (3 - axes), [1] * (3 - axes))
    for _, step in steps:  # (p + half / 2) * step
        a.append((1 + half) * step.numerator)
        b.append(half * step.numerator)
        d.append((1 + half) * step.denominator)
    shape = tuple(n for n, _ in steps)
    return resampled(spec, input, shape, 3, a, b, d)


def interpolate_smooth(
    spec: Spec,
    input: Shape,
    size: object = None,
    scale_factor: object = None,
    mode: object = "bilinear",
    align_corners: object = None,
    recompute_scale_factor: object = None,
    antialias: object = False,
) -> Plan:
    axes = RANKS[str(mode)]
    if len(input) != axes + 2:
        kind = "axis" if axes == 1 else "axes"
        raise ShapeError(
            f"`input` has {len(input)} axes but mode {mode!r} needs {axes + 2}: (N, C) and {axes} spatial {kind}"
        )
    aligned = align_corners is not None and flag("align_corners", align_corners)
    steps = scales(input[2:], size, scale_factor, recompute_scale_factor, antialias)
    a, b, d = [], [], []
    for extent, (n, step) in zip(input[2:], steps, strict=True):
        if extent == 1:  # wherever it is, it is the same
            place = Fraction(1, n), Fraction(0)
        elif aligned or (n == extent and mode != "bicubic"):
            place = Fraction(extent - 1, max(n - 1, 1)), Fraction(0)
        else:
            place = step, step / 2 - Fraction(1, 2)
        by, start = place[0], place[1] + 1
        below = math.lcm(by.denominator, start.denominator)
        a.append(int(by * below))
        b.append(int(start * below))
        d.append(below)
    return resampled(spec, input, tuple(n for n, _ in steps), axes, a, b, d)


interpolate_smooth.__doc__ = interpolate.__doc__


def resampled(
    spec: Spec, input: Shape, shape: Shape, axes: int, a: Sequence[int], b: Sequence[int], d: Sequence[int]
) -> Plan:
    """Place p lies at (a*p + b) / d, up to where the formula begins to count."""
    planes, ones = math.prod(input[:2]), (1,) * (axes - len(shape))
    see, seen = reshaped(planes, *ones, *input[2:]), reshaped(planes, *ones, *shape)
    inputs = (Layout("input", "x", input, see),)
    sizes = numbered("P", (*ones, *shape)) | numbered("a", a) | numbered("b", b) | numbered("d", d)
    for name, value in sizes.items():
        integer(f"{name} of the places", value)
    outputs = (Layout("output", "y", (*input[:2], *shape), seen),)
    return Plan(inputs, outputs, spec.environment(inputs, **sizes))


def scales(
    extents: Shape, size: object, scale_factor: object, recompute: object, antialias: object
) -> list[tuple[int, Fraction]]:
    """For each axis the size wanted, and the step between its places in places of the input."""
    only_default("antialias", antialias, False)
    if 0 in extents:
        raise ShapeError(f"`input` has spatial extents {extents}; of nothing nothing can be resampled")
    exact = recompute is not None and flag("recompute_scale_factor", recompute)
    if (size is None) == (scale_factor is None):
        raise ArgumentError("one of `size` and `scale_factor` is needed, and not both")
    if size is not None:
        if exact:
            raise ArgumentError("`recompute_scale_factor` is True but there is no `scale_factor`")
        wanted = per_axis("size", size, len(extents), positive)
        return [(n, Fraction(extent, n)) for n, extent in zip(wanted, extents, strict=True)]
    found = []
    for extent, factor in zip(
        extents, per_axis("scale_factor", scale_factor, len(extents), real), strict=True
    ):
        n = math.floor(extent * factor) if 0 < factor < math.inf else 0
        ratio = Fraction(factor).limit_denominator(FINEST) if n else Fraction(0)
        if n < 1 or not ratio:
            raise ArgumentError(
                f"`scale_factor` is {factor} but needs a number that leaves at least one of {extent} places"
            )
        found.append((n, Fraction(extent, n) if exact else 1 / ratio))
    return found


def pixel_shuffle(spec: Spec, input: Shape, upscale_factor: object) -> Plan:
    """r * r channels as a plane r times as high and wide: torch.nn.functional.pixel_shuffle on NumPy arrays.

    input           (*, C * r * r, H, W)
    upscale_factor  r

    The result is (*, C, H * r, W * r). Shi et al. 2016, arXiv:1609.05158.
    """
    r = positive("upscale_factor", upscale_factor)
    *lead, channels, h, w = planes(input)
    if channels % (r * r):
        raise ShapeError(
            f"`input` has {channels} channels, which {r} * {r} (`upscale_factor`) does not divide"
        )
    shape = (channels // (r * r), h * r, w * r)
    return shuffled(spec, input, (*lead, *shape), r)


def pixel_unshuffle(spec: Spec, input: Shape, downscale_factor: object) -> Plan:
    """The places of r x r squares as channels: torch.nn.functional.pixel_unshuffle on NumPy arrays.

    input             (*, C, H * r, W * r)
    downscale_factor  r

    The result is (*, C * r * r, H, W); pixel_shuffle takes it back.
    """
    r = positive("downscale_factor", downscale_factor)
    *lead, channels, h, w = planes(input)
    if h % r or w % r:
        raise ShapeError(f"`input` has planes of {h} x {w}, which {r} (`downscale_factor`) does not divide")
    return shuffled(spec, input, (*lead, channels * r * r, h // r, w // r), r)


def channel_shuffle(spec: Spec, input: Shape, groups: object) -> Plan:
    """Channels of each group dealt out in turn: torch.nn.functional.channel_shuffle on NumPy arrays.

    input   (N, C, *spatial)
    groups  how many there are; divides C

    Channel g * (C / groups) + i becomes i * groups + g. Zhang et al. 2017, arXiv:1707.01083.
    """
    count = positive("groups", groups)
    if len(input) < 3:
        raise ShapeError(f"`input` has {len(input)} axes but needs at least 3: (N, C, *spatial)")
    lead, channels, *spatial = input
    if channels % count:
        raise ShapeError(f"`input` has {channels} channels, which {count} (`groups`) does not divide")
    each, rest = channels // count, math.prod(spatial)
    inputs = (Layout("input", "x", input, reshaped(lead, count, each, rest)),)
    outputs = (Layout("output", "y", input, reshaped(lead, each, count, rest)),)
    return Plan(inputs, outputs, spec.environment(inputs))


def planes(input: Shape) -> Shape:
    if len(input) < 3:
        raise ShapeError(f"`input` has {len(input)} axes but needs at least 3: (*, C, H, W)")
    return input


def shuffled(spec: Spec, input: Shape, shape: Shape, r: int) -> Plan:
    lead = math.prod(input[:-3])
    inputs = (Layout("input", "x", input, reshaped(lead, *input[-3:])),)
    outputs = (Layout("output", "y", shape, reshaped(lead, *shape[-3:])),)
    return Plan(inputs, outputs, spec.environment(inputs, r=r))


# ------------------------------------------------------------------------------------------ padding


def padded(spec: Spec, input: Shape, pad: object, mode: object = "constant", value: object = None) -> Plan:
    """More places around an array: torch.nn.functional.pad on NumPy arrays.

    input  any shape
    pad    (before, after) of the last axis, then of the one before it, and so on: a flat sequence of integers
    mode   what lies beyond an edge (of a b c):  "constant"   v v | a b c | v v   where v is `value`
                                                 "reflect"    c b | a b c | b a   up to one place less than there are
                                                 "symmetric"  b a | a b c | c b   up to as many places as there are
                                                 "replicate"  a a | a b c | c c
                                                 "circular"   b c | a b c | a b   up to as many places as there are
                                                 "mean"       the mean of the plane, of the axes that `pad` names
    value  a number, of mode "constant": 0 by default

    With "constant" a negative number cuts off as many places. Up to three axes may have padding, or with "constant" five;
    between and behind them axes without count, too, those beside each other as one. torch has no "symmetric" and "mean".
    """
    kind = choice("mode", mode, ("constant", *MODES))
    pairs = pad_pairs(pad, input)
    if kind == "constant":
        number = 0.0 if value is None else real("value", value)
    else:
        only_default("value", value, None)
        number = 0.0
        check_folds(kind, pairs, input)
    shape = tuple(n + before + after for n, (before, after) in zip(input, pairs, strict=True))
    for axis, n in enumerate(shape):
        if n < 0:
            raise ShapeError(
                f"`pad` is {shown(pad)}, which leaves {n} entries of {input[axis]} along axis {axis}"
            )
    named = len(pad) // 2 if kind == "mean" else 0  # type: ignore[arg-type]
    groups = grouped(input, pairs, named, spec.axes)
    see = reshaped(*(math.prod(input[axis] for axis in group) for group in groups))
    seen = reshaped(*(math.prod(shape[axis] for axis in group) for group in groups))
    around = [(0, 0) if len(group) != 1 else pairs[group[0]] for group in groups[1:]]
    integers = numbered("a", [max(before, 0) for before, _ in around])
    if kind in ("constant", "mean"):
        integers |= numbered("cut", [max(-before, 0) for before, _ in around])
        integers |= numbered("P", [math.prod(shape[axis] for axis in group) for group in groups[1:]])
    else:
        integers |= numbered("e", [after for _, after in around])
    inputs = (Layout("input", "x", input, see),)
    environment = spec.environment(inputs, **integers)
    reals = {"value": number} if kind == "constant" else {}
    return Plan(inputs, (Layout("output", "y", shape, seen),), environment, reals)


def pad_pairs(pad: object, input: Shape) -> tuple[tuple[int, int], ...]:
    """(before, after) of every axis, from torch's flat sequence that begins with the last one."""
    given = entries(pad)
    if given is None or len(given) % 2:
        raise ArgumentError(
            f"`pad` is {shown(pad)} but needs (before, after) of the last axis, then of the one before"
        )
    numbers = [integer(f"pad[{i}]", n) for i, n in enumerate(given)]
    if len(numbers) > 2 * len(input):
        raise ArgumentError(
            f"`pad` has {len(numbers)} entries but `input` has only {len(input)} axes, of two each"
        )
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    return (*[(0, 0)] * (len(input) - len(pairs)), *reversed(pairs))


def check_folds(mode: str, pairs: Sequence[tuple[int, int]], input: Shape) -> None:
    """How far each mode reaches: what is folded back is folded once."""
    for axis, ((before, after), n) in enumerate(zip(pairs, input, strict=True)):
        if min(before, after) < 0:
            raise ArgumentError(
                f"`pad` has {min(before, after)} for axis {axis}; only mode 'constant' cuts off"
            )
        if not before + after:  # an empty batch, say, of which nothing is folded
            continue
        most = {"reflect": n - 1, "symmetric": n, "circular": n}.get(mode, max(before, after))
        if max(before, after) > most:
            raise ShapeError(
                f"`pad` has {max(before, after)} for axis {axis}, but mode {mode!r} reaches at most {most} places "
                f"beyond {n} (input.shape[{axis}])"
            )
        if n == 0:
            raise ShapeError(f"`input` has no entries along axis {axis}, so there is nothing to pad with")


def grouped(input: Shape, pairs: Sequence[tuple[int, int]], named: int, most: int) -> list[tuple[int, ...]]:
    """The axes that each axis of the formula stands for: some without padding, and then `most` that may have it.

    The last `named` stay by themselves, and none of the others joins them.
    """
    groups: list[tuple[int, ...]] = [()]
    for axis, pair in enumerate(pairs):
        alone = pair != (0, 0) or axis >= len(pairs) - named
        joins = not alone and (len(groups) == 1 or (len(groups[-1]) > 0 and pairs[groups[-1][-1]] == (0, 0)))
        if joins:
            groups[-1] = (*groups[-1], axis)
        else:
            groups.append((axis,))
    if len(groups) > most + 1:
        raise ArgumentError(
            f"`pad` pads {sum(p != (0, 0) for p in pairs)} axes of `input` {input}, with those between and behind "
            f"{len(groups) - 1}, but at most {most} are supported"
        )
    return [groups[0], *[()] * (most + 1 - len(groups)), *groups[1:]]


MODES = ("reflect", "symmetric", "replicate", "circular", "mean")
SMOOTH: Mapping[str, Any] = {
    f"interpolate_{mode}": Adapter(interpolate_smooth, {"input": "x"}, axes, fixed={"mode": mode})
    for mode, axes in RANKS.items()
}
ADAPTERS = {
    "interpolate": Adapter(interpolate, {"input": "x"}),
    **SMOOTH,
    "pixel_shuffle": Adapter(pixel_shuffle, {"input": "x"}),
    "pixel_unshuffle": Adapter(pixel_unshuffle, {"input": "x"}),
    "channel_shuffle": Adapter(channel_shuffle, {"input": "x"}),
    "pad": Adapter(padded, {"input": "x"}, 5),
    **{f"pad_{mode}": Adapter(padded, {"input": "x"}, 3, fixed={"mode": mode}) for mode in MODES},
}
VARIANTS = {
    "interpolate": Variants("mode", {mode: f"interpolate_{mode}" for mode in RANKS}),
    "pad": Variants("mode", {mode: f"pad_{mode}" for mode in MODES}),
}
