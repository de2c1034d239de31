"""Convolutions: torch's (cross-correlation, with channels) and SciPy's (true convolution of plain arrays)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kernels.adapter import Adapter, Layout, Plan, Spec, batched, split, then
from kernels.arguments import Shape, choice, padding_pairs, per_axis, positive
from kernels.errors import ShapeError


def convolution(
    spec: Spec,
    input: Shape,
    weight: Shape,
    bias: Shape | None = None,
    stride: object = 1,
    padding: object = 0,
    dilation: object = 1,
    groups: object = 1,
) -> Plan:
    """{axes}-d cross-correlation of `input` with `weight`: torch.nn.functional.conv{axes}d on NumPy arrays.

    input     (N, C, *spatial), or (C, *spatial) unbatched
    weight    (O, C / groups, *kernel)
    bias      (O,) or None
    stride    int, or one per axis
    padding   zeros around `input`: int, one per axis, one pair (before, after) per axis, "valid" (none),
              or "same": ceil(n / stride) outputs along each axis, the odd zero after
    dilation  int, or one per axis
    groups    channels fall into this many groups, each convolved by itself

    The result is (N, O, *positions), without N if `input` has none, with
    floor((n + before + after - dilation * (k - 1) - 1) / stride) + 1 positions along each axis. A kernel that
    covers more than the padded input is an error. Without channels the sums are empty: 0, or the bias.
    """
    axes = spec.axes
    strides = per_axis("stride", stride, axes, positive)
    dilations = per_axis("dilation", dilation, axes, positive)
    parts = positive("groups", groups)
    if len(input) not in (axes + 1, axes + 2):
        raise ShapeError(wrong_rank(input, axes))
    if len(weight) != axes + 2:
        raise ShapeError(
            f"`weight` has {len(weight)} axes but needs {axes + 2}: "
            f"(out_channels, in_channels / groups, {axes} of kernel)"
        )
    batch = len(input) == axes + 2
    channels, extents, kernel = input[-axes - 1], input[-axes:], weight[2:]
    if weight[0] % parts:
        raise ShapeError(f"`weight` has {weight[0]} output channels, which `groups` {parts} does not divide")
    if channels != weight[1] * parts:
        raise ShapeError(
            f"`input` has {channels} channels but `weight` needs {weight[1] * parts} "
            f"(weight.shape[1] * groups = {weight[1]} * {parts})"
        )
    if bias is not None and bias != weight[:1]:
        raise ShapeError(
            f"`bias` has shape {bias} but needs {weight[:1]}, one entry for each of weight.shape[0]"
        )
    if 0 in kernel:
        raise ShapeError("`weight` has an empty kernel: every kernel extent needs to be at least 1")
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    pads = window_padding(padding, extents, spans, strides)
    for axis, (n, pad) in enumerate(zip(extents, pads, strict=True)):
        if n + sum(pad) < spans[axis]:
            raise ShapeError(too_large("kernel", axis, kernel[axis], dilations[axis], n, pad))

    grouped = split(1, parts)
    see = grouped if batch else then(batched, grouped)
    inputs = [Layout("input", "x", input, see), Layout("weight", "w", weight, split(0, parts))]
    if bias is not None:
        inputs.append(Layout("bias", "b", bias, split(0, parts)))
    environment = spec.environment(
        inputs,
        **numbered("s", strides),
        **numbered("d", dilations),
        **numbered("a", [before for before, _ in pads]),
        **numbered("e", [after for _, after in pads]),
    )
    positions = spec.shape("y", environment)[3:]
    output = Layout("output", "y", (*input[: -axes - 1], weight[0], *positions), see)
    return Plan(tuple(inputs), (output,), environment)


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


ADAPTERS = {
    **{
        f"conv{axes}d": Adapter(convolution, {"input": "x", "weight": "w", "bias": "b"}, axes)
        for axes in (1, 2, 3)
    },
    **{f"convolve{axes}d": Adapter(true_convolution, {"in1": "x", "in2": "w"}, axes) for axes in (1, 2, 3)},
}
