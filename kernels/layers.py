"""Dense layers, with torch's signatures."""

from __future__ import annotations

import math

from kernels.adapter import Adapter, Layout, Plan, Spec, reshaped
from kernels.arguments import Shape, integer, shown
from kernels.errors import ArgumentError, ShapeError


def linear(spec: Spec, input: Shape, weight: Shape, bias: Shape | None = None) -> Plan:
    """input @ weight.T + bias: torch.nn.functional.linear on NumPy arrays.

    input   (*, in_features), with any number of leading axes
    weight  (out_features, in_features)
    bias    (out_features,) or None

    The result is (*, out_features).
    """
    if len(weight) != 2:
        raise ShapeError(f"`weight` has {len(weight)} axes but needs 2: (out_features, in_features)")
    if len(input) < 1:
        raise ShapeError("`input` has no axes but needs at least 1: (*, in_features)")
    if input[-1] != weight[1]:
        raise ShapeError(f"`input` has {input[-1]} features but `weight` needs {weight[1]} (weight.shape[1])")
    if bias is not None and bias != weight[:1]:
        raise ShapeError(
            f"`bias` has shape {bias} but needs {weight[:1]}, one entry for each row of `weight`"
        )
    rows = math.prod(input[:-1])
    inputs = [Layout("input", "x", input, reshaped(rows, input[-1])), Layout("weight", "w", weight)]
    if bias is not None:
        inputs.append(Layout("bias", "b", bias))
    output = Layout("output", "y", (*input[:-1], weight[0]), reshaped(rows, weight[0]))
    return Plan(tuple(inputs), (output,), spec.environment(inputs))


def relu(spec: Spec, input: Shape) -> Plan:
    """max(input, 0), elementwise: torch.nn.functional.relu on NumPy arrays.

    input  any shape

    NaN stays NaN. The slope is 0 at 0, and at NaN, where torch has 1.
    """
    flat = reshaped(math.prod(input))
    inputs = (Layout("input", "x", input, flat),)
    return Plan(inputs, (Layout("output", "y", input, flat),), spec.environment(inputs))


def log_softmax(spec: Spec, input: Shape, dim: object = -1) -> Plan:
    """input - log(sum(exp(input))) along one axis: torch.nn.functional.log_softmax on NumPy arrays.

    input  any shape; a number is an axis of one entry
    dim    the axis along which the probabilities sum to 1

    The maximum is subtracted first, so that large logits lose no digits. NaN spreads along the axis; beside a logit of
    +inf the others have -inf, where torch has NaN.
    """
    axis, shape = integer("dim", dim), input or (1,)
    if not -len(shape) <= axis < len(shape):
        raise ArgumentError(
            f"`dim` is {axis} but needs {-len(shape)} <= dim < {len(shape)} (the axes of `input`)"
        )
    axis %= len(shape)
    see = reshaped(math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))
    inputs = (Layout("input", "x", input, see),)
    return Plan(inputs, (Layout("output", "y", input, see),), spec.environment(inputs))


def only_default(name: str, value: object, default: object) -> None:
    """An option of torch's that is there by name alone."""
    if value is default:
        return
    try:
        same = default is not None and isinstance(value, (int, float)) and float(value) == default
    except Exception:  # a number of a class of its own, or one that no float holds
        same = False
    if not same:
        raise ArgumentError(f"`{name}` is {shown(value)} but only {default}, its default, is supported")


ADAPTERS = {
    "linear": Adapter(linear, {"input": "x", "weight": "w", "bias": "b"}),
    "relu": Adapter(relu, {"input": "x"}),
    "log_softmax": Adapter(log_softmax, {"input": "x"}),
}
