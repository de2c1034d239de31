"""What joins the branches of a network, and what changes an array's shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from kernels.adapter import Adapter, Layout, Plan, Spec, Variants, reshaped, shape_given, then
from kernels.arguments import Array, Shape, entries, integer, shown
from kernels.errors import ArgumentError, ShapeError


def arithmetic(first: str, spec: Spec, input: Shape, other: Shape) -> Plan:
    """Two arrays element by element; `first` is the tensor of the formula that `input` is.

    Axes along which the same of the two are repeated, or neither, are seen as one, and as that of the formula that stands
    with the same tensors: in their order where there is such a one, so that what is contiguous stays it, else in any.
    """
    shape, runs = broadcast(input, other)
    names = {letter: spec.tensors[letter].shape for letter in ("y", "x", "z")}
    second = "z" if first == "x" else "x"
    kinds = [(name in names[first], name in names[second]) for name in names["y"]]
    places = in_order(kinds, [kind for kind, _ in runs])
    if places is None:
        if len({*kinds}) == 1:
            raise ShapeError(
                f"`other` has shape {other} but needs {input}, that of `input`: here nothing is repeated"
            )
        raise ShapeError(
            f"`input` {input} and `other` {other} take turns in being repeated along {len(runs)} runs of axes, more than "
            f"{spec.definition.name} has equations for; repeat one of them with numpy.broadcast_to"
        )

    def seen(has: Callable[[tuple[bool, bool]], bool], letter: str) -> Callable[[Array], Array]:
        """An array that has the runs of some kinds, as a tensor."""
        own = [(place, extent) for place, (kind, extent) in zip(places, runs, strict=True) if has(kind)]
        axes = [axis for axis, name in enumerate(names["y"]) if name in names[letter]]
        extents = dict(own)
        order = sorted(place for place, _ in own)
        shape = [extents.get(axis, 1) for axis in axes]
        if order == [place for place, _ in own]:
            return reshaped(*shape)
        turn = [[place for place, _ in own].index(place) for place in order]
        return then(reshaped(*(n for _, n in own)), lambda array: array.transpose(turn), reshaped(*shape))

    inputs = (
        Layout("input", first, input, seen(lambda kind: kind[0], first)),
        Layout("other", second, other, seen(lambda kind: kind[1], second)),
    )
    output = Layout("output", "y", shape, seen(lambda kind: True, "y"))
    return Plan(inputs, (output,), spec.environment(inputs))


Runs = list[tuple[tuple[bool, bool], int]]


def broadcast(input: Shape, other: Shape) -> tuple[Shape, Runs]:
    """The shape of the result, and runs of axes: which of the two arrays have them, and how many elements they are."""
    count = max(len(input), len(other))
    pairs = list(zip((1,) * (count - len(input)) + input, (1,) * (count - len(other)) + other, strict=True))
    runs: Runs = []
    shape = []
    for axis, (a, b) in enumerate(pairs, -count):
        if a != b and 1 not in (a, b):
            raise ShapeError(
                f"`other` has shape {other} but `input` has {input}: along axis {axis} they need to be equal, or one of them 1"
            )
        extent = b if a == 1 else a
        shape.append(extent)
        if a == b == 1:
            continue
        kind = a == extent, b == extent
        before = runs.pop()[1] if runs and runs[-1][0] == kind else 1
        runs.append((kind, before * extent))
    return tuple(shape), runs


def in_order(axes: Sequence[Hashable], kinds: Sequence[Hashable]) -> list[int] | None:
    """An axis for each kind: the last ones in order; or if there are none, in any; None if there are too few."""
    places: list[int] = []
    left = [axis for axis, kind in enumerate(axes) if kind in kinds]
    for kind in reversed(kinds):
        while left and axes[left[-1]] != kind:
            left.pop()
        if not left:
            break
        places.insert(0, left.pop())
    if len(places) == len(kinds):
        return places
    free = {kind: [axis for axis, own in enumerate(axes) if own == kind] for kind in kinds}
    if any(len(free[kind]) < kinds.count(kind) for kind in free):
        return None
    return [free[kind].pop() for kind in reversed(kinds)][::-1]


def repeated(given: Mapping[str, Any]) -> str | None:
    """Which of the two arrays of a call is repeated; where both are, which of them last."""
    shapes = [shape_given(given.get(name)) for name in ("input", "other")]
    if None in shapes:
        return None
    try:
        _, runs = broadcast(*shapes)  # type: ignore[arg-type]
    except ShapeError:
        return None
    kinds = [kind for kind, _ in runs if kind != (True, True)]
    if not kinds:
        return None
    last = "other" if kinds[-1] == (True, False) else "input"
    return last if len({*kinds}) == 1 else f"both_{last}"


BROADCAST = """
    input, other  shapes that NumPy broadcasts: of two extents of one axis, counted from the last, one may be 1, or missing;
                  or a number, which is of the other's type

A gradient has the shape of its array: it is the sum over the axes along which that is repeated. Where one of the two is
repeated this is kernels.{name}_broadcast_other or _input, and where both are kernels.{name}_broadcast_both_other or _input.
"""


def of_two(name: str, what: str, first: str = "x") -> Callable[[Spec, Shape, Shape], Plan]:
    """The plan function of one of the four."""

    def plan(spec: Spec, input: Shape, other: Shape) -> Plan:
        return arithmetic(first, spec, input, other)

    plan.__doc__ = (
        f"{what}, elementwise: torch.{TORCHS[name]} on NumPy arrays.\n{BROADCAST.format(name=name)}"
    )
    return plan


def concatenate(spec: Spec, input: Shape, other: Shape, dim: object = 1) -> Plan:
    """`other` behind `input` along one axis: torch.cat of two NumPy arrays.

    input, other  at least one axis; the same shape but for axis `dim`
    dim           the axis along which they follow each other; of channels (1) by default, where torch has 0
    """
    axis = one_of(dim, "dim", input)
    without = [shape[:axis] + shape[axis + 1 :] for shape in (input, other)]
    if len(other) != len(input) or without[0] != without[1]:
        raise ShapeError(f"`other` has shape {other} but needs that of `input` {input}, axis {axis} aside")
    before, after = math.prod(input[:axis]), math.prod(input[axis + 1 :])
    result = (*input[:axis], input[axis] + other[axis], *input[axis + 1 :])
    inputs = (
        Layout("input", "x", input, reshaped(before, input[axis], after)),
        Layout("other", "z", other, reshaped(before, other[axis], after)),
    )
    output = Layout("output", "y", result, reshaped(before, result[axis], after))
    return Plan(inputs, (output,), spec.environment(inputs))


def flatten(spec: Spec, input: Shape, start_dim: object = 1, end_dim: object = -1) -> Plan:
    """The axes from `start_dim` to `end_dim` as one, in C order: torch's Flatten on NumPy arrays; a copy.

    input  at least one axis
    """
    first, last = one_of(start_dim, "start_dim", input), one_of(end_dim, "end_dim", input)
    if first > last:
        raise ArgumentError(f"`start_dim` is axis {first} but `end_dim` is axis {last}, before it")
    shape = (*input[:first], math.prod(input[first : last + 1]), *input[last + 1 :])
    flat = reshaped(math.prod(input))
    inputs = (Layout("input", "x", input, flat),)
    return Plan(inputs, (Layout("output", "y", shape, flat),), spec.environment(inputs))


def one_of(value: object, name: str, shape: Shape) -> int:
    """The number of an axis, counted from the front."""
    axis = integer(name, value)
    if not -len(shape) <= axis < len(shape):
        raise ArgumentError(
            f"`{name}` is {axis} but needs {-len(shape)} <= {name} < {len(shape)} (the axes of `input`)"
        )
    return axis % len(shape)


def unflatten(spec: Spec, input: Shape, dim: object, sizes: object) -> Plan:
    """One axis as several, in C order: torch's Unflatten on NumPy arrays; a copy.

    input  at least one axis
    dim    the axis
    sizes  a tuple of extents, whose product is that of the axis; one of them may be -1, which is what is left
    """
    axis = one_of(dim, "dim", input)
    given = entries(sizes)
    if not given:
        raise ArgumentError(f"`sizes` is {shown(sizes)} but needs a tuple of extents")
    extents = [integer(f"sizes[{n}]", value, -1) for n, value in enumerate(given)]
    rest = math.prod(n for n in extents if n != -1)
    if extents.count(-1) == 1 and rest and input[axis] % rest == 0:
        extents[extents.index(-1)] = input[axis] // rest
    if -1 in extents or math.prod(extents) != input[axis]:
        raise ArgumentError(
            f"`sizes` is {shown(given)} but needs the product {input[axis]}, input.shape[{axis}]"
        )
    shape = (*input[:axis], *extents, *input[axis + 1 :])
    flat = reshaped(math.prod(input))
    inputs = (Layout("input", "x", input, flat),)
    return Plan(inputs, (Layout("output", "y", shape, flat),), spec.environment(inputs))


TORCHS = {"add": "add", "subtract": "sub", "multiply": "mul", "divide": "div"}
RESULTS = {
    "add": "input + other",
    "subtract": "input - other",
    "multiply": "input * other",
    "divide": "input / other",
}
TWO = {"input": "x", "other": "z"}
REPEATED = ("other", "input", "both_other", "both_input")
ADAPTERS = {
    **{name: Adapter(of_two(name, what), TWO) for name, what in RESULTS.items()},
    **{
        f"{name}_broadcast_{which}": Adapter(of_two(name, what), TWO)
        for name, what in RESULTS.items()
        for which in REPEATED
    },
    **{  # the operands exchanged, which changes nothing
        f"{name}_broadcast_{both}input": Adapter(
            of_two(name, RESULTS[name], "z"),
            {"input": "z", "other": "x"},
            definition=f"{name}_broadcast_{both}other",
        )
        for name in ("add", "multiply")
        for both in ("", "both_")
    },
    "concatenate": Adapter(concatenate, TWO),
    "flatten": Adapter(flatten, {"input": "x"}),
    "unflatten": Adapter(unflatten, {"input": "x"}, definition="flatten"),
}
VARIANTS = {
    name: Variants("other", {which: f"{name}_broadcast_{which}" for which in REPEATED}, repeated)
    for name in RESULTS
}
