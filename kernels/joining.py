"""What joins the branches of a network, and what changes an array's shape."""

from __future__ import annotations

import math

from kernels.adapter import Adapter, Layout, Plan, Spec, reshaped
from kernels.arguments import Shape, integer
from kernels.errors import ArgumentError, ShapeError


def add(spec: Spec, input: Shape, other: Shape) -> Plan:
    """input + other, elementwise: torch.add on NumPy arrays of one shape. Nothing is broadcast.

    input, other  any shape, the same
    """
    if input != other:
        raise ShapeError(f"`other` has shape {other} but `input` has {input}; nothing is broadcast here")
    flat = reshaped(math.prod(input))
    inputs = (Layout("input", "x", input, flat), Layout("other", "z", other, flat))
    return Plan(inputs, (Layout("output", "y", input, flat),), spec.environment(inputs))


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


ADAPTERS = {
    "add": Adapter(add, {"input": "x", "other": "z"}),
    "concatenate": Adapter(concatenate, {"input": "x", "other": "z"}),
    "flatten": Adapter(flatten, {"input": "x"}),
}
