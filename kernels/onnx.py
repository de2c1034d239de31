"""ONNX operators by these kernels, for `onnx.reference`:

    from onnx.reference import ReferenceEvaluator
    import kernels.onnx

    session = ReferenceEvaluator("model.onnx", new_ops=kernels.onnx.new_ops())
    session.run(None, {"x": x})  # float32 or float64

Each translation below takes the inputs and attributes that the ONNX specification names, under these names, and calls
operators of ours. What cannot be said in one of ours raises a KernelError that names the attribute: there is no way
back to the reference implementation, and no result that is only nearly that of the specification.

Only `new_ops` needs the package onnx (`pip install "derive-kernels[onnx]"`).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

import kernels
from kernels.arguments import Array, shown
from kernels.errors import ArgumentError, KernelError, ShapeError
from kernels.operator import Operator

Results = tuple[Array, ...]
Ints = Sequence[int] | None


@dataclass(frozen=True)
class Context:
    """What a node says beside its inputs and attributes."""

    opset: int
    outputs: int  # how many of its results are used


@dataclass(frozen=True)
class Translation:
    """An operator of ONNX in terms of ours, from the first opset version whose meaning it has."""

    run: Callable[..., Results]
    needs: tuple[str, ...]  # one of these has to be shipped
    since: int = 1


def new_ops(*names: str) -> list[type]:
    """Classes for `onnx.reference.ReferenceEvaluator(..., new_ops=...)`: all of `TRANSLATIONS`, or those named."""
    try:
        op_run, defs = import_module("onnx.reference.op_run"), import_module("onnx.defs")
    except ImportError as error:
        raise ImportError(
            'kernels.onnx.new_ops needs the package onnx: pip install "derive-kernels[onnx]"', name="onnx"
        ) from error
    for name in names:
        if name not in supported():
            raise ArgumentError(
                f"kernels.onnx: {shown(name)} is not translated; there are {', '.join(supported())}"
            )
    return [implementation(name, op_run.OpRun, defs) for name in names or supported()]


def supported() -> tuple[str, ...]:
    """The ONNX operators that have a translation, by name."""
    return tuple(n for n, t in TRANSLATIONS.items() if any(need in kernels.OPERATORS for need in t.needs))


def implementation(name: str, base: Any, defs: Any) -> type:
    """A class as the evaluator wants it: named like the operator, with `_run(*inputs, **attributes)`."""

    def start(self: Any, node: Any, run_params: dict[str, Any], schema: Any = None) -> None:
        # the evaluator would take the defaults of the newest version
        found = schema or defs.get_schema(name, run_params["opsets"].get("", defs.onnx_opset_version()), "")
        base.__init__(self, node, run_params, found)

    def run(self: Any, *inputs: Any, **attributes: Any) -> Results:
        opset = self.run_params["opsets"].get("", defs.onnx_opset_version())
        return translate(name, Context(opset, len(self.onnx_node.output)), inputs, attributes)

    return type(
        name,
        (base,),
        {"op_domain": "", "__init__": start, "_run": run, "__doc__": TRANSLATIONS[name].run.__doc__},
    )


def translate(name: str, context: Context, inputs: Sequence[Any], attributes: dict[str, Any]) -> Results:
    """Run one node. Attributes that are None have no value and no default in the specification."""
    translation = TRANSLATIONS[name]
    given = {key: value for key, value in attributes.items() if value is not None}
    try:
        if context.opset < translation.since:
            raise ArgumentError(
                f"opset {context.opset} is not supported: the operator means what is translated here since {translation.since}"
            )
        try:
            call = inspect.signature(translation.run).bind(context, *inputs, **given)
        except TypeError as error:
            raise ArgumentError(f"such a node is not supported: {error}") from None
        return translation.run(*call.args, **call.kwargs)
    except KernelError as error:
        # not as a TypeError: the evaluator replaces those by a text of its own
        raise ArgumentError(f"kernels.onnx: {name}: {error}") from error


# -------------------------------------------------------------------------------------- helpers


def ours(name: str) -> Operator:
    if name not in kernels.OPERATORS:
        raise ArgumentError(f"it needs `{name}`, which is not shipped")
    found: Operator = getattr(kernels, name)
    return found


def text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def refuse(name: str, value: object, needs: str) -> None:
    raise ArgumentError(f"`{name}` is {shown(value)}, which is not supported: it needs to be {needs}")


def only(name: str, value: object, default: object) -> None:
    """An attribute that has to have one value."""
    if value != default:
        refuse(name, value, shown(default))


def spatial(x: Array, ranks: Sequence[int] = (1, 2, 3)) -> int:
    """How many axes follow (N, C)."""
    axes = x.ndim - 2
    if axes not in ranks:
        some = ", ".join(str(r + 2) for r in ranks)
        raise ShapeError(f"the input has {x.ndim} axes, which is not supported: it needs {some}")
    return axes


def per_axis(name: str, values: Ints, axes: int, default: int = 1) -> tuple[int, ...]:
    if values is None or not len(values):
        return (default,) * axes
    if len(values) != axes:
        raise ArgumentError(f"`{name}` has {len(values)} entries but needs {axes}, one for each spatial axis")
    return tuple(map(int, values))


def window_pads(
    auto_pad: str | bytes, pads: Ints, extents: Sequence[int], spans: Sequence[int], strides: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """(before, after) for each axis, of a window that covers `spans`."""
    mode, axes = text(auto_pad), len(extents)
    if mode == "NOTSET":
        given = (0,) * (2 * axes) if pads is None or not len(pads) else tuple(map(int, pads))
        if len(given) != 2 * axes:
            raise ArgumentError(
                f"`pads` has {len(given)} entries but needs {2 * axes}, two for each spatial axis"
            )
        if min(given) < 0:
            raise ArgumentError(f"`pads` is {shown(list(given))} but needs to be at least 0")
        return tuple(zip(given[:axes], given[axes:], strict=True))
    if pads is not None and any(pads):
        raise ArgumentError(f"`pads` is {shown(list(pads))} beside auto_pad={mode!r}: one of the two decides")
    if mode == "VALID":
        return ((0, 0),) * axes
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        refuse("auto_pad", mode, "NOTSET, SAME_UPPER, SAME_LOWER or VALID")
    pairs = []
    for n, span, s in zip(extents, spans, strides, strict=True):
        total = max(0, (-(-n // s) - 1) * s + span - n)
        less, more = total // 2, total - total // 2
        pairs.append((less, more) if mode == "SAME_UPPER" else (more, less))
    return tuple(pairs)


def covers(kernel: Sequence[int], dilations: Sequence[int]) -> tuple[int, ...]:
    return tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True))


def lengthened(
    x: Array,
    padding: Sequence[tuple[int, int]],
    spans: Sequence[int],
    strides: Sequence[int],
    ceil_mode: int,
) -> tuple[tuple[int, int], ...]:
    """The padding, and after it as far as the last window reaches. One that would begin after the input is left out."""
    pairs = []
    for n, pad, span, s in zip(x.shape[2:], padding, spans, strides, strict=True):
        room = n + sum(pad) - span
        count = room // s + 1
        if ceil_mode and room % s and count * s < n + pad[0]:
            count += 1
        pairs.append((pad[0], pad[1] + max(0, (count - 1) * s - room)))
    return tuple(pairs)


# ---------------------------------------------------------------------------------- convolution


def kernel_of(weight: Array, kernel_shape: Ints) -> tuple[int, ...]:
    kernel: tuple[int, ...] = weight.shape[2:]
    if kernel_shape is not None and tuple(kernel_shape) != kernel:
        raise ArgumentError(f"`kernel_shape` is {shown(list(kernel_shape))} but W has {list(kernel)}")
    return kernel


def conv(
    context: Context,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    auto_pad: str | bytes = "NOTSET",
    dilations: Ints = None,
    group: int = 1,
    kernel_shape: Ints = None,
    pads: Ints = None,
    strides: Ints = None,
) -> Results:
    """Conv, with 1 to 3 spatial axes."""
    axes = spatial(x)
    kernel = kernel_of(w, kernel_shape)
    stride, dilation = per_axis("strides", strides, axes), per_axis("dilations", dilations, axes)
    if len(kernel) != axes:
        raise ShapeError(f"W has {w.ndim} axes but needs {x.ndim}, as X has")
    padding = window_pads(auto_pad, pads, x.shape[2:], covers(kernel, dilation), stride)
    return (ours(f"conv{axes}d")(x, w, b, stride, padding, dilation, group),)


def conv_transpose(
    context: Context,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    auto_pad: str | bytes = "NOTSET",
    dilations: Ints = None,
    group: int = 1,
    kernel_shape: Ints = None,
    output_padding: Ints = None,
    output_shape: Ints = None,
    pads: Ints = None,
    strides: Ints = None,
) -> Results:
    """ConvTranspose, with 1 to 3 spatial axes. What is padded away is cut off the whole result."""
    axes = spatial(x)
    kernel = kernel_of(w, kernel_shape)
    stride, dilation = per_axis("strides", strides, axes), per_axis("dilations", dilations, axes)
    extra = per_axis("output_padding", output_padding, axes, 0)
    spans = covers(kernel, dilation)
    whole = [s * (n - 1) + o + span for s, n, o, span in zip(stride, x.shape[2:], extra, spans, strict=True)]
    mode = text(auto_pad)
    if output_shape is not None and len(output_shape):
        # pads follow from it; in the specification the odd one is at the end, unless SAME_UPPER says otherwise
        wanted = per_axis("output_shape", output_shape[-axes:], axes)
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        wanted = tuple(n * s for n, s in zip(x.shape[2:], stride, strict=True))
    else:
        cut = window_pads(auto_pad, pads, x.shape[2:], spans, stride)
        wanted = tuple(n - sum(pad) for n, pad in zip(whole, cut, strict=True))
        return (cut_transpose(x, w, b, stride, dilation, group, extra, cut, wanted),)
    total = [n - p for n, p in zip(whole, wanted, strict=True)]
    first = [t // 2 if mode == "SAME_UPPER" else t - t // 2 for t in total]
    # a negative one lengthens the result by zeros, and the bias
    cut = tuple((f, t - f) for f, t in zip(first, total, strict=True))
    return (cut_transpose(x, w, b, stride, dilation, group, extra, cut, wanted),)


def cut_transpose(
    x: Array,
    w: Array,
    b: Array | None,
    stride: Sequence[int],
    dilation: Sequence[int],
    group: int,
    extra: Sequence[int],
    cut: Sequence[tuple[int, int]],
    wanted: Sequence[int],
) -> Array:
    """The transpose without padding, then what is cut at either end: so that ends may differ."""
    axes = len(stride)
    if min(wanted) < 1 or any(before < 0 for before, _ in cut):
        raise ShapeError(
            f"the pads that follow for the spatial extents {list(wanted)} are not supported: {list(cut)}"
        )
    # torch allows output_padding below the stride or the dilation only; zeros after the result are zeros anyway
    spans = covers(w.shape[2:], dilation)
    longer = [max(0, -after) + o for (_, after), o in zip(cut, extra, strict=True)]
    given = [min(n, max(s, d) - 1) for n, s, d in zip(longer, stride, dilation, strict=True)]
    if given != longer:
        raise ShapeError(
            f"`output_padding` {longer} is not supported: it needs to be less than stride or dilation"
        )
    y: Array = ours(f"conv_transpose{axes}d")(
        x,
        w,
        b,
        stride=tuple(stride),
        padding=0,
        output_padding=tuple(given),
        groups=group,
        dilation=tuple(dilation),
    )
    assert all(
        n >= s * (m - 1) + span for n, s, m, span in zip(y.shape[2:], stride, x.shape[2:], spans, strict=True)
    )
    where = tuple(slice(before, before + n) for (before, _), n in zip(cut, wanted, strict=True))
    return np.ascontiguousarray(y[(slice(None), slice(None), *where)])


def col2im(
    context: Context,
    x: Array,
    image_shape: Array,
    block_shape: Array,
    *,
    dilations: Ints = None,
    pads: Ints = None,
    strides: Ints = None,
) -> Results:
    """Col2Im. The image is folded with its padding, which is then cut off."""
    image, block = [int(n) for n in image_shape], [int(n) for n in block_shape]
    axes = len(image)
    if axes not in (1, 2, 3):
        raise ShapeError(f"`image_shape` has {axes} entries, which is not supported: it needs 1, 2 or 3")
    stride, dilation = per_axis("strides", strides, axes), per_axis("dilations", dilations, axes)
    cut = window_pads("NOTSET", pads, image, block, stride)
    whole = tuple(n + before + after for n, (before, after) in zip(image, cut, strict=True))
    y = ours(f"fold{axes}d")(x, whole, tuple(block), dilation=dilation, padding=0, stride=stride)
    where = tuple(slice(before, before + n) for n, (before, _) in zip(image, cut, strict=True))
    return (np.ascontiguousarray(y[(..., *where)]),)


# -------------------------------------------------------------------------------------- pooling


def max_pool(
    context: Context,
    x: Array,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str | bytes = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints = None,
    pads: Ints = None,
    storage_order: int = 0,
    strides: Ints = None,
) -> Results:
    """MaxPool, with 1 to 3 spatial axes. Indices are those of the flattened X, N and C included."""
    axes = spatial(x)
    kernel = per_axis("kernel_shape", kernel_shape, axes)
    stride, dilation = per_axis("strides", strides, axes), per_axis("dilations", dilations, axes)
    spans = covers(kernel, dilation)
    padding = window_pads(auto_pad, pads, x.shape[2:], spans, stride)
    extents, offsets = x.shape[2:], (0,) * axes
    if any(max(pad) > span // 2 for pad, span in zip(padding, spans, strict=True)):
        # more than ours takes: a copy is padded, as far as the last window reaches
        longer = lengthened(x, padding, spans, stride, ceil_mode)
        x = np.pad(x, ((0, 0), (0, 0), *longer), constant_values=-np.inf)
        offsets, padding, ceil_mode = tuple(before for before, _ in longer), ((0, 0),) * axes, 0
    pool = partial(ours(f"max_pool{axes}d"), x, kernel, stride, padding, dilation, bool(ceil_mode))
    if context.outputs == 1:
        return (pool(),)
    y, i = pool(return_indices=True)
    places = [p - o for p, o in zip(np.unravel_index(np.maximum(i, 0), x.shape[2:]), offsets, strict=True)]
    if (i < 0).any() or any(((p < 0) | (p >= n)).any() for p, n in zip(places, extents, strict=True)):
        raise ArgumentError("a window has its maximum in the padding, which has no index")
    within = np.ravel_multi_index(places, extents, order="F" if storage_order else "C")
    planes = np.arange(x.shape[0] * x.shape[1]).reshape(x.shape[0], x.shape[1], *(1,) * axes)
    return y, (within + planes * math.prod(extents)).astype(np.int64)


def average_pool(
    context: Context,
    x: Array,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str | bytes = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Ints = None,
    pads: Ints = None,
    strides: Ints = None,
) -> Results:
    """AveragePool, with 1 to 3 spatial axes.

    With dilations, or more padding than half of a window, it is a depthwise convolution with ones, over that of the
    places that count.
    """
    axes = spatial(x)
    kernel = per_axis("kernel_shape", kernel_shape, axes)
    stride, dilation = per_axis("strides", strides, axes), per_axis("dilations", dilations, axes)
    spans, extents = covers(kernel, dilation), x.shape[2:]
    padding = window_pads(auto_pad, pads, extents, spans, stride)
    if set(dilation) == {1} and all(max(pad) <= k // 2 for pad, k in zip(padding, kernel, strict=True)):
        pool = ours(f"avg_pool{axes}d")
        return (pool(x, kernel, stride, padding, bool(ceil_mode), bool(count_include_pad)),)
    longer = lengthened(x, padding, spans, stride, ceil_mode)
    channels = x.shape[1]
    convolve = partial(ours(f"conv{axes}d"), stride=stride, dilation=dilation)
    sums = convolve(x, np.ones((channels, 1, *kernel), x.dtype), padding=longer, groups=channels)
    counted, around = np.ones((1, 1, *extents), x.dtype), longer
    if count_include_pad:  # the padding counts, what lies beyond does not
        counted = np.ones((1, 1, *(n + sum(pad) for n, pad in zip(extents, padding, strict=True))), x.dtype)
        around = tuple((0, far - near) for (_, near), (_, far) in zip(padding, longer, strict=True))
    counts = convolve(counted, np.ones((1, 1, *kernel), x.dtype), padding=around)
    return (sums / np.maximum(counts, 1),)  # over nothing it is 0, as in ours


def lp_pool(
    context: Context,
    x: Array,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str | bytes = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints = None,
    p: float = 2,
    pads: Ints = None,
    strides: Ints = None,
) -> Results:
    """LpPool, with 1 to 3 spatial axes. Padding is zeros, of which no power adds anything."""
    axes = spatial(x)
    kernel, stride = per_axis("kernel_shape", kernel_shape, axes), per_axis("strides", strides, axes)
    dilation = per_axis("dilations", dilations, axes)
    spans = covers(kernel, dilation)
    padding = window_pads(auto_pad, pads, x.shape[2:], spans, stride)
    longer = np.pad(x, ((0, 0), (0, 0), *lengthened(x, padding, spans, stride, ceil_mode)))
    return (ours(f"lp_pool{axes}d")(longer, p, kernel, stride, dilation=dilation),)


def global_pool(name: str, context: Context, x: Array) -> Results:
    """GlobalAveragePool, GlobalMaxPool."""
    return (ours(name)(x),)


def global_lp_pool(context: Context, x: Array, *, p: float = 2) -> Results:
    """GlobalLpPool, with 1 to 3 spatial axes."""
    return (ours(f"lp_pool{spatial(x)}d")(x, p, x.shape[2:]),)


def max_unpool(
    context: Context,
    x: Array,
    i: Array,
    output_shape: Array | None = None,
    *,
    kernel_shape: Sequence[int],
    pads: Ints = None,
    strides: Ints = None,
) -> Results:
    """MaxUnpool, with 1 to 3 spatial axes. Indices are those of the flattened result, N and C included.

    What `output_shape` adds to the extents that follow from the windows is zeros at the ends.
    """
    axes = spatial(x)
    kernel, stride = per_axis("kernel_shape", kernel_shape, axes), per_axis("strides", strides, axes)
    padding = window_pads("NOTSET", pads, x.shape[2:], kernel, stride)
    extents = tuple(
        (n - 1) * s + k - sum(pad) for n, s, k, pad in zip(x.shape[2:], stride, kernel, padding, strict=True)
    )
    planes = np.arange(x.shape[0] * x.shape[1]).reshape(x.shape[0], x.shape[1], *(1,) * axes)
    within = i - planes * math.prod(extents)
    if within.size and not (within.min() >= 0 and within.max() < math.prod(extents)):
        raise ArgumentError(
            "`I` has an index in another plane than that of its element, which is not supported"
        )
    y = ours(f"max_unpool{axes}d")(x, within, kernel, stride, 0, (*x.shape[:2], *extents))
    if output_shape is None:
        return (y,)
    wanted = tuple(int(n) for n in output_shape)
    if len(wanted) != y.ndim or any(n < m for n, m in zip(wanted, y.shape, strict=True)):
        refuse("output_shape", list(wanted), f"at least {list(y.shape)}")
    return (np.pad(y, [(0, n - m) for n, m in zip(wanted, y.shape, strict=True)]),)


# -------------------------------------------------------------------------- padding and resizing


def pad(
    context: Context,
    data: Array,
    pads: Array | Ints = None,
    constant_value: Array | None = None,
    axes: Array | None = None,
    *,
    mode: str | bytes = "constant",
    value: float = 0.0,
    **attributes: Any,
) -> Results:
    """Pad. Reflect, edge and wrap are ours under torch's names."""
    amounts = attributes.pop("pads", pads)
    if attributes:
        refuse(*next(iter(attributes.items())), "left out")
    if amounts is None:
        raise ArgumentError("`pads` is missing")
    name = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}.get(
        text(mode)
    )
    if name is None:
        refuse("mode", text(mode), "constant, reflect, edge or wrap")
    given = [int(n) for n in amounts]
    chosen = list(range(data.ndim)) if axes is None else [int(a) % data.ndim for a in axes]
    if len(given) != 2 * len(chosen):
        raise ArgumentError(f"`pads` has {len(given)} entries but needs {2 * len(chosen)}, two for each axis")
    pairs = {a: (given[n], given[n + len(chosen)]) for n, a in enumerate(chosen)}
    moved = [a for a in range(data.ndim) if pairs.get(a, (0, 0)) != (0, 0)]
    if not moved:
        return (data.copy(),)
    # ours pads the last axes: from the first one that is padded on, the last one first
    amount = [n for a in reversed(range(moved[0], data.ndim)) for n in pairs.get(a, (0, 0))]
    if name == "constant":
        fill = value if constant_value is None else float(np.asarray(constant_value).reshape(()))
        return (ours("pad")(data, tuple(amount), name, fill),)
    # one axis at a time, as the last of (N, C, length), which every mode of ours pads
    for a in moved:
        lined = np.moveaxis(data, a, -1)
        found = ours("pad")(lined.reshape(1, -1, lined.shape[-1]), pairs[a], name)
        data = np.moveaxis(found.reshape(*lined.shape[:-1], found.shape[-1]), -1, a)
    return (np.ascontiguousarray(data),)


def resize(
    context: Context,
    x: Array,
    roi: Array | None = None,
    scales: Array | None = None,
    sizes: Array | None = None,
    *,
    antialias: int = 0,
    axes: Ints = None,
    coordinate_transformation_mode: str | bytes = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str | bytes = "stretch",
    mode: str | bytes = "nearest",
    nearest_mode: str | bytes = "round_prefer_floor",
) -> Results:
    """Resize of the spatial axes: nearest and linear with 1 to 3 of them, cubic with 2.

    Nearest is ours where the places that are read are those of one of ours, which is decided place by place.
    """
    dimensions = spatial(x)
    only("antialias", antialias, 0)
    kind, coordinates = text(mode), text(coordinate_transformation_mode)
    chosen = list(range(x.ndim)) if axes is None else [int(a) % x.ndim for a in axes]
    factors = [Fraction(1)] * x.ndim
    extents = list(x.shape)
    if scales is not None and len(scales):
        for a, f in zip(chosen, scales, strict=True):
            factors[a] = Fraction(float(f))
            extents[a] = math.floor(x.shape[a] * factors[a])
    elif sizes is not None and len(sizes):
        wanted = {a: int(n) for a, n in zip(chosen, sizes, strict=True)}
        policy = text(keep_aspect_ratio_policy)
        if policy != "stretch":
            choose = {"not_larger": min, "not_smaller": max}[policy]
            factor = choose(Fraction(n, x.shape[a]) for a, n in wanted.items())
            wanted = {a: math.floor(factor * x.shape[a] + Fraction(1, 2)) for a in wanted}
            factors = [factor if a in wanted else Fraction(1) for a in range(x.ndim)]
        for a, n in wanted.items():
            extents[a] = n
            if policy == "stretch":
                factors[a] = Fraction(n, x.shape[a])
    else:
        raise ArgumentError("neither `scales` nor `sizes` is given")
    if extents[:2] != list(x.shape[:2]):
        raise ShapeError(f"the extents {extents} are not supported: N and C have to stay {list(x.shape[:2])}")
    size, given = tuple(extents[2:]), tuple(factors[2:])
    if kind == "nearest":
        return (resize_nearest(x, size, given, coordinates, text(nearest_mode)),)
    names = {("linear", n): name for n, name in enumerate(("linear", "bilinear", "trilinear"), 1)}
    name = {**names, ("cubic", 2): "bicubic"}.get((kind, dimensions))
    if name is None:
        refuse("mode", kind, f"nearest or linear with {dimensions} spatial axes")
    if kind == "cubic":
        only("cubic_coeff_a", float(cubic_coeff_a), -0.75)
        only("exclude_outside", exclude_outside, 0)
    exact = all(n == f * m for n, f, m in zip(size, given, x.shape[2:], strict=True))
    if coordinates == "pytorch_half_pixel" and 1 not in size:
        coordinates = "half_pixel"  # they differ where the result has one entry
    if coordinates == "half_pixel_symmetric" and exact:
        coordinates = "half_pixel"  # they differ where the extent was rounded
    if coordinates == "align_corners":
        if not exact:  # the last entry stands at the extent before it was rounded
            refuse("scales", list(map(float, given)), "such that every extent is whole, with align_corners")
        return (ours("interpolate")(x, size=size, mode=name, align_corners=True),)
    if coordinates != "half_pixel":
        refuse("coordinate_transformation_mode", coordinates, "half_pixel or align_corners")
    if exact:
        return (ours("interpolate")(x, size=size, mode=name, align_corners=False),)
    factors_given = tuple(map(float, given))
    return (ours("interpolate")(x, scale_factor=factors_given, mode=name, align_corners=False),)


def resize_nearest(
    x: Array, size: tuple[int, ...], factors: Sequence[Fraction], coordinates: str, nearest_mode: str
) -> Array:
    """By whichever mode of ours reads the same places."""
    wanted = [
        [nearest(source(p, f, n, m, coordinates), nearest_mode, m) for p in range(n)]
        for n, f, m in zip(size, factors, x.shape[2:], strict=True)
    ]
    for name in ("nearest", "nearest-exact"):
        lines = [np.arange(float(m)).reshape(1, 1, -1) for m in x.shape[2:]]  # each entry is its own place
        places = [
            list(ours("interpolate")(line, size=(n,), mode=name)[0, 0])
            for line, n in zip(lines, size, strict=True)
        ]
        if places == wanted:
            found: Array = ours("interpolate")(x, size=size, mode=name)
            return found
    raise ArgumentError(
        f"the places that coordinate_transformation_mode={coordinates!r} and nearest_mode={nearest_mode!r} read "
        f"for extents {list(x.shape[2:])} and {list(size)} are not those of a mode of `interpolate`"
    )


def source(p: int, factor: Fraction, n: int, m: int, coordinates: str) -> Fraction:
    """Where place p of a result with n entries lies among the m of the input."""
    half = Fraction(1, 2)
    if coordinates == "half_pixel" or (coordinates == "pytorch_half_pixel" and n > 1):
        return (p + half) / factor - half
    if coordinates == "pytorch_half_pixel":
        return Fraction(0)
    if coordinates == "half_pixel_symmetric":
        middle = Fraction(m, 2)
        return middle * (1 - Fraction(n) / (factor * m)) + (p + half) / factor - half
    if coordinates == "align_corners":
        return p * (m - 1) / (factor * m - 1) if factor * m != 1 else Fraction(0)
    if coordinates == "asymmetric":
        return p / factor
    refuse("coordinate_transformation_mode", coordinates, "another")
    raise AssertionError


def nearest(place: Fraction, nearest_mode: str, m: int) -> int:
    half = Fraction(1, 2)
    rounded = {
        "round_prefer_floor": math.ceil(place - half),
        "round_prefer_ceil": math.floor(place + half),
        "floor": math.floor(place),
        "ceil": math.ceil(place),
    }[nearest_mode]
    return min(max(rounded, 0), m - 1)


def depth_to_space(context: Context, x: Array, *, blocksize: int, mode: str | bytes = "DCR") -> Results:
    """DepthToSpace. CRD is torch's pixel_shuffle, DCR the same of channels in another order."""
    n, c, *plane = x.shape
    if text(mode) == "DCR":
        parts = x.reshape(n, blocksize, blocksize, c // blocksize**2, *plane)
        x = parts.transpose(0, 3, 1, 2, 4, 5).reshape(x.shape)
    return (ours("pixel_shuffle")(x, blocksize),)


def space_to_depth(context: Context, x: Array, *, blocksize: int, mode: str | bytes = "DCR") -> Results:
    """SpaceToDepth. Before opset 28, and as DCR, blocks come first among the channels."""
    y = ours("pixel_unshuffle")(x, blocksize)
    if text(mode) == "DCR":
        n, c, *plane = y.shape
        parts = y.reshape(n, c // blocksize**2, blocksize, blocksize, *plane)
        y = np.ascontiguousarray(parts.transpose(0, 2, 3, 1, 4, 5)).reshape(y.shape)
    return (y,)


# -------------------------------------------------------------------------------- normalisation


def batch_normalization(
    context: Context,
    x: Array,
    scale: Array,
    b: Array,
    mean: Array,
    var: Array,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Results:
    """BatchNormalization. In training running statistics are the variance of the batch itself, a divisor of N."""
    normalize = ours("batch_norm")
    if not training_mode:
        if context.outputs > 1:
            raise ArgumentError(
                f"{context.outputs} outputs are not supported: statistics come from training_mode=1"
            )
        return (normalize(x, mean, var, scale, b, training=False, eps=epsilon),)
    y = normalize(x, None, None, scale, b, training=True, eps=epsilon)
    y = y[0] if isinstance(y, tuple) else y
    if context.outputs == 1:
        return (y,)
    by_channel = np.moveaxis(x, 1, 0).reshape(1, x.shape[1], -1)
    now_mean, now_var = moments(by_channel)
    return (
        y,
        mean * momentum + now_mean.reshape(mean.shape) * (1 - momentum),
        var * momentum + now_var.reshape(var.shape) * (1 - momentum),
    )


def moments(rows: Array) -> tuple[Array, Array]:
    """Mean and variance along the last of three axes."""
    mean = ours("global_avg_pool")(rows)
    return mean, ours("global_avg_pool")((rows - mean) ** 2)


def instance_normalization(
    context: Context, x: Array, scale: Array, b: Array, *, epsilon: float = 1e-5
) -> Results:
    """InstanceNormalization."""
    return (ours("instance_norm")(x, weight=scale, bias=b, eps=epsilon),)


def group_normalization(
    context: Context,
    x: Array,
    scale: Array,
    b: Array,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Results:
    """GroupNormalization. Before opset 21 a scale was that of a group, now it is that of a channel."""
    if context.opset < 21:
        scale, b = (np.repeat(a, x.shape[1] // num_groups) for a in (scale, b))
    return (ours("group_norm")(x, num_groups, scale, b, epsilon),)


def layer_normalization(
    context: Context,
    x: Array,
    scale: Array,
    b: Array | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Results:
    """LayerNormalization of the axes from `axis` on."""
    axis %= x.ndim
    shape = x.shape[axis:]
    b = None if b is None else np.broadcast_to(b, shape)
    y = ours("layer_norm")(x, shape, np.broadcast_to(scale, shape), b, epsilon)
    if context.outputs == 1:
        return (y,)
    mean, var = moments(x.reshape(1, math.prod(x.shape[:axis]), -1))
    ones = x.shape[:axis] + (1,) * len(shape)
    inverse = 1 / np.sqrt(var + x.dtype.type(epsilon))
    return (y, mean.reshape(ones), inverse.reshape(ones))[: context.outputs]


def rms_normalization(
    context: Context,
    x: Array,
    scale: Array,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Results:
    """RMSNormalization of the axes from `axis` on."""
    shape = x.shape[axis % x.ndim :]
    return (ours("rms_norm")(x, shape, np.broadcast_to(scale, shape), epsilon),)


def lrn(
    context: Context, x: Array, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Results:
    """LRN. With an even size ONNX has the longer side after a channel, torch before it: channels are reversed."""
    normalize = ours("local_response_norm")
    if size % 2:
        return (normalize(x, size, alpha, beta, bias),)
    return (np.ascontiguousarray(normalize(x[:, ::-1], size, alpha, beta, bias)[:, ::-1]),)


# --------------------------------------------------------- activations, dense layers and losses


def relu(context: Context, x: Array) -> Results:
    """Relu."""
    return (ours("relu")(x),)


def leaky_relu(context: Context, x: Array, *, alpha: float = 0.01) -> Results:
    """LeakyRelu."""
    return (ours("leaky_relu")(x, alpha),)


def prelu(context: Context, x: Array, slope: Array) -> Results:
    """PRelu. Every element is a channel, with the slope that broadcasting gives it."""
    slopes = np.broadcast_to(slope, x.shape)
    return (ours("prelu")(x.reshape(1, -1), slopes.reshape(-1)).reshape(x.shape),)


def elu(context: Context, x: Array, *, alpha: float = 1.0) -> Results:
    """Elu."""
    return (ours("elu")(x, alpha),)


def gelu(context: Context, x: Array, *, approximate: str | bytes = "none") -> Results:
    """Gelu."""
    return (ours("gelu")(x, approximate=text(approximate)),)


def swish(context: Context, x: Array, *, alpha: float = 1.0) -> Results:
    """Swish: SiLU of alpha * x, over alpha."""
    if alpha == 1:
        return (ours("silu")(x),)
    if alpha == 0:
        refuse("alpha", alpha, "another number")
    factor = x.dtype.type(alpha)
    return (ours("silu")(x * factor) / factor,)


def pointwise(name: str, context: Context, x: Array) -> Results:
    """Sigmoid, Tanh."""
    return (ours(name)(x),)


def softmax(name: str, context: Context, x: Array, *, axis: int | None = None) -> Results:
    """Softmax, LogSoftmax. Before opset 13 all axes from `axis` on are one, and the default is 1."""
    if context.opset >= 13:
        return (ours(name)(x, -1 if axis is None else axis),)
    first = (1 if axis is None else axis) % max(x.ndim, 1)
    return (ours(name)(x.reshape(math.prod(x.shape[:first]), -1), 1).reshape(x.shape),)


def gemm(
    context: Context,
    a: Array,
    b: Array,
    c: Array | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Results:
    """Gemm: our linear, with the factors put into the smaller operands. Of a C with rows NumPy adds it."""
    scalar = b.dtype.type
    a, b = a.T if transA else a, b if transB else b.T
    b = b if alpha == 1 else b * scalar(alpha)
    if c is None:
        return (ours("linear")(a, b),)
    c = c if beta == 1 else c * scalar(beta)
    if c.ndim < 2 or c.shape[0] == 1:
        return (ours("linear")(a, b, np.broadcast_to(c, (1, b.shape[0]))[0]),)
    return (ours("linear")(a, b) + c,)


def softmax_cross_entropy(
    context: Context,
    scores: Array,
    labels: Array,
    weights: Array | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str | bytes = "mean",
) -> Results:
    """SoftmaxCrossEntropyLoss, and its log-probabilities."""
    options: dict[str, Any] = {"reduction": text(reduction)}
    if weights is not None:
        options["weight"] = weights
    if ignore_index is not None:
        options["ignore_index"] = ignore_index
    loss = np.asarray(ours("cross_entropy")(scores, labels, **options))
    return (loss,) if context.outputs == 1 else (loss, ours("log_softmax")(scores, 1))


def negative_log_likelihood(
    context: Context,
    scores: Array,
    labels: Array,
    weights: Array | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str | bytes = "mean",
) -> Results:
    """NegativeLogLikelihoodLoss."""
    options: dict[str, Any] = {"reduction": text(reduction)}
    if weights is not None:
        options["weight"] = weights
    if ignore_index is not None:
        options["ignore_index"] = ignore_index
    return (np.asarray(ours("nll_loss")(scores, labels, **options)),)


def in_every_rank(name: str) -> tuple[str, ...]:
    return tuple(f"{name}{axes}d" for axes in (1, 2, 3))


TRANSLATIONS = {
    "Conv": Translation(conv, in_every_rank("conv")),
    "ConvTranspose": Translation(conv_transpose, in_every_rank("conv_transpose")),
    "Col2Im": Translation(col2im, in_every_rank("fold")),
    "MaxPool": Translation(max_pool, in_every_rank("max_pool")),
    "AveragePool": Translation(average_pool, in_every_rank("avg_pool")),
    "LpPool": Translation(lp_pool, in_every_rank("lp_pool"), since=2),
    "GlobalAveragePool": Translation(partial(global_pool, "global_avg_pool"), ("global_avg_pool",)),
    "GlobalMaxPool": Translation(partial(global_pool, "global_max_pool"), ("global_max_pool",)),
    "GlobalLpPool": Translation(global_lp_pool, in_every_rank("lp_pool"), since=2),
    "MaxUnpool": Translation(max_unpool, in_every_rank("max_unpool")),
    "Pad": Translation(pad, ("pad",), since=2),
    "Resize": Translation(resize, ("interpolate",), since=11),
    "DepthToSpace": Translation(depth_to_space, ("pixel_shuffle",)),
    "SpaceToDepth": Translation(space_to_depth, ("pixel_unshuffle",)),
    "BatchNormalization": Translation(batch_normalization, ("batch_norm",), since=9),
    "InstanceNormalization": Translation(instance_normalization, ("instance_norm",)),
    "GroupNormalization": Translation(group_normalization, ("group_norm",)),
    "LayerNormalization": Translation(layer_normalization, ("layer_norm",)),
    "RMSNormalization": Translation(rms_normalization, ("rms_norm",)),
    "LRN": Translation(lrn, ("local_response_norm",)),
    "Relu": Translation(relu, ("relu",)),
    "LeakyRelu": Translation(leaky_relu, ("leaky_relu",)),
    "PRelu": Translation(prelu, ("prelu",), since=9),
    "Elu": Translation(elu, ("elu",)),
    "Gelu": Translation(gelu, ("gelu",)),
    "Swish": Translation(swish, ("silu",)),
    "Sigmoid": Translation(partial(pointwise, "sigmoid"), ("sigmoid",)),
    "Tanh": Translation(partial(pointwise, "tanh"), ("tanh",)),
    "Softmax": Translation(partial(softmax, "softmax"), ("softmax",)),
    "LogSoftmax": Translation(partial(softmax, "log_softmax"), ("log_softmax",)),
    "Gemm": Translation(gemm, ("linear",), since=7),
    "SoftmaxCrossEntropyLoss": Translation(softmax_cross_entropy, ("cross_entropy",)),
    "NegativeLogLikelihoodLoss": Translation(negative_log_likelihood, ("nll_loss",)),
}
