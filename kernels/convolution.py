"""Convolutions: torch's (cross-correlation, with channels) and SciPy's (true convolution of plain arrays)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kernels.adapter import Adapter, Layout, Plan, Spec, Variants, batched, reshaped, same, split, then
from kernels.arguments import Shape, choice, natural, padding_pairs, per_axis, positive, real
from kernels.errors import ArgumentError, ShapeError

MODES = ("zeros", "constant", "mean", "reflect", "symmetric", "replicate", "circular")


def convolution(
    spec: Spec,
    input: Shape,
    weight: Shape,
    bias: Shape | None = None,
    stride: object = 1,
    padding: object = 0,
    dilation: object = 1,
    groups: object = 1,
    padding_mode: object = "zeros",
    padding_value: object = 0.0,
) -> Plan:
    """{axes}-d cross-correlation of `input` with `weight`: torch.nn.functional's conv1d, conv2d, conv3d on NumPy arrays.

    input          (N, C, *spatial), or (C, *spatial) unbatched
    weight         (O, C / groups, *kernel)
    bias           (O,) or None
    stride         int, or one per axis
    padding        how far windows reach outside of `input`: int, one per axis, one pair (before, after) per axis,
                   "valid" (not), or "same": ceil(n / stride) outputs along each axis, the odd place after
    dilation       int, or one per axis
    groups         channels fall into this many groups, each convolved by itself
    padding_mode   what they find there: "zeros"; "constant", the `padding_value`; "mean", that of the plane of each
                   sample and channel; "reflect" (c b | a b c | b a), "symmetric" (b a | a b c | c b), "replicate"
                   (a a | a b c | c c) or "circular" (b c | a b c | a b), as often as it takes. NumPy's `pad` calls
                   the last two "edge" and "wrap"; SciPy calls "symmetric" reflect, and "reflect" mirror.
    padding_value  the value of "constant", and of no other

    The result is (N, O, *positions), without N if `input` has none, with
    floor((n + before + after - dilation * (k - 1) - 1) / stride) + 1 positions along each axis. A kernel that
    covers more than the padded input is an error. Without channels the sums are empty: 0, or the bias.
    """
    axes = spec.axes
    strides = per_axis("stride", stride, axes, positive)
    dilations = per_axis("dilation", dilation, axes, positive)
    parts = positive("groups", groups)
    mode, value = choice("padding_mode", padding_mode, MODES), real("padding_value", padding_value)
    if mode != "constant" and value != 0:
        raise ArgumentError(
            f'`padding_value` is {value} but belongs to padding_mode="constant", not "{mode}"'
        )
    batch = is_batch(input, axes)
    check_rank("weight", weight, axes + 2, f"(out_channels, in_channels / groups, {axes} of kernel)")
    channels, extents, kernel = input[-axes - 1], input[-axes:], weight[2:]
    check_groups("weight", weight[0], "output", parts)
    if channels != weight[1] * parts:
        raise ShapeError(
            f"`input` has {channels} channels but `weight` needs {weight[1] * parts} "
            f"(weight.shape[1] * groups = {weight[1]} * {parts})"
        )
    check_bias(bias, weight[:1], "weight.shape[0]")
    check_kernel("weight", kernel)
    if 0 in extents and mode not in ("zeros", "constant"):
        raise ShapeError(f'`input` has an empty plane, of which padding_mode="{mode}" has nothing to take')
    pads = windows_that_fit(extents, kernel, strides, dilations, padding)

    grouped = split(1, parts)
    see = grouped if batch else then(batched, grouped)
    inputs = [Layout("input", "x", input, see), Layout("weight", "w", weight, split(0, parts))]
    if bias is not None:
        inputs.append(Layout("bias", "b", bias, split(0, parts)))
    environment = spec.environment(inputs, **window_integers(spec, strides, dilations, pads))
    positions = spec.shape("y", environment)[3:]
    output = Layout("output", "y", (*input[: -axes - 1], weight[0], *positions), see)
    return Plan(tuple(inputs), (output,), environment, {"u": value} if mode == "constant" else {})


def transposed(
    spec: Spec,
    input: Shape,
    weight: Shape,
    bias: Shape | None = None,
    stride: object = 1,
    padding: object = 0,
    output_padding: object = 0,
    groups: object = 1,
    dilation: object = 1,
) -> Plan:
    """{axes}-d transposed convolution: torch.nn.functional's conv_transpose1d, 2d, 3d on NumPy arrays.

    input           (N, C, *spatial), or (C, *spatial) unbatched
    weight          (C, O / groups, *kernel): that of the convolution whose gradient this is
    bias            (O,) or None
    stride          int, or one per axis: how far apart in the result neighbours of `input` lie
    padding         what the result lacks of the full one: int, one per axis, or one pair (before, after) per axis
    output_padding  places that it has more at the end: int, or one per axis; less than the stride or the dilation
    groups          channels fall into this many groups, each convolved by itself
    dilation        int, or one per axis

    The result is (N, O, *spatial), without N if `input` has none, with
    (n - 1) * stride - before - after + dilation * (k - 1) + output_padding + 1 places along each axis, at least one.
    """
    axes = spec.axes
    strides = per_axis("stride", stride, axes, positive)
    dilations = per_axis("dilation", dilation, axes, positive)
    more = per_axis("output_padding", output_padding, axes, natural)
    parts, pads = positive("groups", groups), padding_pairs("padding", padding, axes)
    batch = is_batch(input, axes)
    check_rank("weight", weight, axes + 2, f"(in_channels, out_channels / groups, {axes} of kernel)")
    channels, extents, kernel = input[-axes - 1], input[-axes:], weight[2:]
    if channels != weight[0]:
        raise ShapeError(f"`input` has {channels} channels but `weight` needs {weight[0]} (weight.shape[0])")
    check_groups("weight", weight[0], "input", parts)
    out = weight[1] * parts
    check_bias(bias, (out,), f"weight.shape[1] * groups = {weight[1]} * {parts}")
    check_kernel("weight", kernel)
    places = []
    for axis, (n, k, s, d, m, pad) in enumerate(
        zip(extents, kernel, strides, dilations, more, pads, strict=True)
    ):
        if m >= max(s, d):
            raise ArgumentError(
                f"`output_padding` is {m} along axis {axis} but needs to be less than the stride {s} or the dilation {d}"
            )
        if n == 0:
            raise ShapeError(f"`input` has no entries along spatial axis {axis}")
        places.append((n - 1) * s - sum(pad) + d * (k - 1) + m + 1)
        if places[-1] < 1:
            raise ShapeError(
                f"the result would have {places[-1]} places along spatial axis {axis}: (n - 1) * stride + dilation * "
                f"(kernel - 1) + output_padding + 1 = {places[-1] + sum(pad)}, less the `padding` {sum(pad)}"
            )
    grouped = split(1, parts)
    see = grouped if batch else then(batched, grouped)
    inputs = [Layout("input", "x", input, see), Layout("weight", "w", weight, split(0, parts))]
    if bias is not None:
        inputs.append(Layout("bias", "b", bias, split(0, parts)))
    integers = window_integers(spec, strides, dilations, pads)
    environment = spec.environment(inputs, **integers, **numbered("Q", places))
    output = Layout("output", "y", (*input[: -axes - 1], out, *places), see)
    return Plan(tuple(inputs), (output,), environment)


def separable(
    spec: Spec,
    input: Shape,
    depthwise_weight: Shape,
    pointwise_weight: Shape,
    bias: Shape | None = None,
    stride: object = 1,
    padding: object = 0,
    dilation: object = 1,
) -> Plan:
    """{axes}-d separable convolution: each channel by itself (depthwise), then across channels (Chollet 2017).

    input             (N, C, *spatial), or (C, *spatial) unbatched
    depthwise_weight  (C * M, 1, *kernel): M kernels for each channel
    pointwise_weight  (O, C * M), or (O, C * M, 1, ...) as a convolution has it
    bias              (O,) or None
    stride, padding, dilation
                      of the depthwise convolution, as in conv{axes}d

    The result is (N, O, *positions), without N if `input` has none: that of conv{axes}d with groups=C, and of another one
    with a kernel of one tap.
    """
    axes = spec.axes
    strides = per_axis("stride", stride, axes, positive)
    dilations = per_axis("dilation", dilation, axes, positive)
    batch = is_batch(input, axes)
    check_rank(
        "depthwise_weight", depthwise_weight, axes + 2, f"(channels * multiplier, 1, {axes} of kernel)"
    )
    channels, extents, kernel = input[-axes - 1], input[-axes:], depthwise_weight[2:]
    rows = depthwise_weight[0]
    if depthwise_weight[1] != 1:
        raise ShapeError(
            f"`depthwise_weight` has shape {depthwise_weight} but needs the extent 1 along axis 1"
        )
    check_groups("depthwise_weight", rows, "output", channels, "the channels of `input`,")
    check_kernel("depthwise_weight", kernel)
    ones = (1,) * axes
    if pointwise_weight[1:] not in ((rows,), (rows, *ones)):
        raise ShapeError(
            f"`pointwise_weight` has shape {pointwise_weight} but needs (out_channels, {rows}), the second for "
            f"depthwise_weight.shape[0], and may have {axes} axes of extent 1 behind"
        )
    out = pointwise_weight[:1]
    check_bias(bias, out, "pointwise_weight.shape[0]")
    pads = windows_that_fit(extents, kernel, strides, dilations, padding)
    see = split(1, max(1, channels))
    inputs = [
        Layout("input", "x", input, see if batch else then(batched, see)),
        Layout("depthwise_weight", "v", depthwise_weight, split(0, max(1, channels))),
        Layout(
            "pointwise_weight", "w", pointwise_weight, then(reshaped(*out, rows), split(1, max(1, channels)))
        ),
    ]
    if bias is not None:
        inputs.append(Layout("bias", "b", bias))
    environment = spec.environment(inputs, **window_integers(spec, strides, dilations, pads))
    positions = spec.shape("y", environment)[2:]
    output = Layout("output", "y", (*input[: -axes - 1], *out, *positions), same if batch else batched)
    return Plan(tuple(inputs), (output,), environment)


def locally_connected(
    spec: Spec,
    input: Shape,
    weight: Shape,
    bias: Shape | None = None,
    stride: object = 1,
    padding: object = 0,
    dilation: object = 1,
) -> Plan:
    """{axes}-d convolution with a kernel of its own at each position (unshared weights).

    input     (N, C, *spatial), or (C, *spatial) unbatched
    weight    (O, *positions, C, *kernel)
    bias      (O, *positions) or None
    stride, padding, dilation
              as in conv{axes}d

    The result is (N, O, *positions), without N if `input` has none, with as many positions as conv{axes}d has.
    """
    axes = spec.axes
    strides = per_axis("stride", stride, axes, positive)
    dilations = per_axis("dilation", dilation, axes, positive)
    batch = is_batch(input, axes)
    form = f"(out_channels, {axes} of positions, in_channels, {axes} of kernel)"
    check_rank("weight", weight, 2 * axes + 2, form)
    channels, extents, kernel = input[-axes - 1], input[-axes:], weight[axes + 2 :]
    if channels != weight[axes + 1]:
        raise ShapeError(
            f"`input` has {channels} channels but `weight` needs {weight[axes + 1]} (weight.shape[{axes + 1}])"
        )
    check_kernel("weight", kernel)
    pads = windows_that_fit(extents, kernel, strides, dilations, padding)
    positions = window_positions(extents, kernel, strides, dilations, pads)
    if weight[1 : axes + 1] != positions:
        raise ShapeError(
            f"`weight` has kernels for {weight[1 : axes + 1]} positions but needs them for {positions}, "
            "which is what `input`, stride, padding and dilation come to"
        )
    check_bias(bias, weight[: axes + 1], f"weight.shape[:{axes + 1}]")
    see = same if batch else batched
    inputs = [Layout("input", "x", input, see), Layout("weight", "w", weight)]
    if bias is not None:
        inputs.append(Layout("bias", "b", bias))
    environment = spec.environment(inputs, **window_integers(spec, strides, dilations, pads))
    output = Layout("output", "y", (*input[: -axes - 1], weight[0], *positions), see)
    return Plan(tuple(inputs), (output,), environment)


# ---------------------------------------------------------------------------------------- checks


def is_batch(input: Shape, axes: int) -> bool:
    if len(input) not in (axes + 1, axes + 2):
        raise ShapeError(wrong_rank(input, axes))
    return len(input) == axes + 2


def check_rank(name: str, shape: Shape, rank: int, form: str) -> None:
    if len(shape) != rank:
        raise ShapeError(f"`{name}` has {len(shape)} axes but needs {rank}: {form}")


def check_groups(name: str, count: int, what: str, parts: int, of: str = "`groups`") -> None:
    if parts and count % parts:
        raise ShapeError(f"`{name}` has {count} {what} channels, which {of} {parts} does not divide")


def check_bias(bias: Shape | None, wanted: Shape, origin: str) -> None:
    if bias is not None and bias != wanted:
        raise ShapeError(f"`bias` has shape {bias} but needs {wanted}, one entry for each of {origin}")


def check_kernel(name: str, kernel: Shape) -> None:
    if 0 in kernel:
        raise ShapeError(f"`{name}` has an empty kernel: every kernel extent needs to be at least 1")


def windows_that_fit(
    extents: Shape, kernel: Shape, strides: Sequence[int], dilations: Sequence[int], padding: object
) -> tuple[tuple[int, int], ...]:
    """The padding (before, after) of each axis, once at least one window fits."""
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    pads = window_padding(padding, extents, spans, strides)
    for axis, (n, pad) in enumerate(zip(extents, pads, strict=True)):
        if n + sum(pad) < spans[axis]:
            raise ShapeError(too_large("kernel", axis, kernel[axis], dilations[axis], n, pad))
    return pads


def window_positions(
    extents: Shape,
    kernel: Shape,
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[tuple[int, int]],
) -> Shape:
    """How many windows fit along each axis, where no tensor of the formula says it."""
    each = zip(extents, kernel, strides, dilations, pads, strict=True)
    return tuple((n + sum(pad) - d * (k - 1) - 1) // s + 1 for n, k, s, d, pad in each)


def window_integers(
    spec: Spec, strides: Sequence[int], dilations: Sequence[int], pads: Sequence[tuple[int, int]]
) -> dict[str, int]:
    """Stride s, dilation d, padding before (a) and after (e), as far as the formula has them: shapes may say the last."""
    integers = {
        **numbered("s", strides),
        **numbered("d", dilations),
        **numbered("a", [before for before, _ in pads]),
        **numbered("e", [after for _, after in pads]),
    }
    known = {p.name for p in spec.definition.parameters}
    return {name: value for name, value in integers.items() if name in known}


def window_padding(
    value: object, extents: Shape, spans: Sequence[int], strides: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """(before, after) per axis, for a kernel that covers `spans`."""
    if not isinstance(value, str):
        return padding_pairs("padding", value, len(extents))
    if choice("padding", value, ("valid", "same")) == "valid":
        return ((0, 0),) * len(extents)
    pairs = []
    for n, span, s in zip(extents, spans, strides, strict=True):
        total = max(0, (-(-n // s) - 1) * s + span - n)
        pairs.append((total // 2, total - total // 2))
    return tuple(pairs)


def numbered(letter: str, values: Iterable[int]) -> dict[str, int]:
    """{"s0": 2, "s1": 3}"""
    return {f"{letter}{axis}": value for axis, value in enumerate(values)}


def wrong_rank(input: Shape, axes: int) -> str:
    return (
        f"`input` has {len(input)} axes but needs {axes + 2}, or {axes + 1} unbatched: (N, C, {axes} spatial)"
    )


def too_large(what: str, axis: int, kernel: int, dilation: int, n: int, pad: tuple[int, int]) -> str:
    """A kernel or window that does not fit the padded input."""
    cover = f"{kernel}"
    if dilation > 1:
        cover = f"dilation * (kernel - 1) + 1 = {dilation} * {kernel - 1} + 1 = {dilation * (kernel - 1) + 1}"
    padded = f"{n + sum(pad)} ({n} + {pad[0]} + {pad[1]})"
    return f"the {what} covers {cover} along spatial axis {axis} but the padded `input` has {padded}"


def true_convolution(spec: Spec, in1: Shape, in2: Shape, mode: object = "full") -> Plan:
    """{axes}-d convolution of two plain arrays, the second one flipped: scipy.signal.convolve, done directly.

    in1, in2  arrays with {axes} axes, none of them empty
    mode      "full": every overlap, n + k - 1 along each axis
              "same": as large as in1, centred in the full result
              "valid": where one array covers the other, n - k + 1; it is at least as large along every axis

    An empty array is an error.
    """
    axes = spec.axes
    mode = choice("mode", mode, ("full", "same", "valid"))
    for name, shape in (("in1", in1), ("in2", in2)):
        if len(shape) != axes:
            raise ShapeError(f"`{name}` has {len(shape)} axes but needs {axes}")
        if 0 in shape:
            raise ShapeError(f"`{name}` is empty; a convolution needs at least one entry along each axis")
    letters = {"in1": "x", "in2": "w"}
    long, short = in1, in2
    if mode == "valid" and any(n < k for n, k in zip(in1, in2, strict=True)):
        if any(n > k for n, k in zip(in1, in2, strict=True)):
            raise ShapeError('mode="valid" needs one array at least as large as the other along every axis')
        letters, long, short = {"in1": "w", "in2": "x"}, in2, in1  # convolution commutes
    first = [{"full": 0, "same": (k - 1) // 2, "valid": k - 1}[mode] for k in short]
    extents = [
        {"full": n + k - 1, "same": n, "valid": n - k + 1}[mode] for n, k in zip(long, short, strict=True)
    ]
    inputs = (Layout("in1", letters["in1"], in1), Layout("in2", letters["in2"], in2))
    environment = spec.environment(inputs, **numbered("a", first), **numbered("P", extents))
    return Plan(inputs, (Layout("output", "y", spec.shape("y", environment)),), environment)


ARRAYS = {"input": "x", "weight": "w", "bias": "b"}
SEPARABLE = {"input": "x", "depthwise_weight": "v", "pointwise_weight": "w", "bias": "b"}
ADAPTERS = {
    **{f"conv{axes}d": Adapter(convolution, ARRAYS, axes) for axes in (1, 2, 3, 4)},
    **{
        f"conv{axes}d_{mode}": Adapter(convolution, ARRAYS, axes, {"padding_mode": mode})
        for axes in (1, 2, 3, 4)
        for mode in MODES[1:]
    },
    **{f"conv_transpose{axes}d": Adapter(transposed, ARRAYS, axes) for axes in (1, 2, 3, 4)},
    **{f"separable_conv{axes}d": Adapter(separable, SEPARABLE, axes) for axes in (1, 2, 3)},
    **{f"locally_connected{axes}d": Adapter(locally_connected, ARRAYS, axes) for axes in (1, 2, 3)},
    **{f"convolve{axes}d": Adapter(true_convolution, {"in1": "x", "in2": "w"}, axes) for axes in (1, 2, 3)},
}
VARIANTS = {
    f"conv{axes}d": Variants("padding_mode", {mode: f"conv{axes}d_{mode}" for mode in MODES[1:]})
    for axes in (1, 2, 3, 4)
}
