"""Dense layers and look-ups, with torch's signatures."""

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


def bilinear(spec: Spec, input1: Shape, input2: Shape, weight: Shape, bias: Shape | None = None) -> Plan:
    """input1 @ weight[o] @ input2 for each o, + bias: torch.nn.functional.bilinear on NumPy arrays.

    input1  (*, in1_features), with any number of leading axes
    input2  (*, in2_features), with the same leading axes
    weight  (out_features, in1_features, in2_features)
    bias    (out_features,) or None

    The result is (*, out_features).
    """
    if len(weight) != 3:
        raise ShapeError(
            f"`weight` has {len(weight)} axes but needs 3: (out_features, in1_features, in2_features)"
        )
    for name, shape in (("input1", input1), ("input2", input2)):
        if not shape:
            raise ShapeError(f"`{name}` has no axes but needs at least 1: its features")
    if input1[:-1] != input2[:-1]:
        raise ShapeError(f"`input2` has leading axes {input2[:-1]} but `input1` has {input1[:-1]}")
    if bias is not None and bias != weight[:1]:
        raise ShapeError(f"`bias` has shape {bias} but needs {weight[:1]} (weight.shape[0])")
    rows = math.prod(input1[:-1])
    inputs = [
        Layout("weight", "w", weight),
        Layout("input1", "x", input1, reshaped(rows, input1[-1])),
        Layout("input2", "z", input2, reshaped(rows, input2[-1])),
    ]
    if bias is not None:
        inputs.append(Layout("bias", "b", bias))
    output = Layout("output", "y", (*input1[:-1], weight[0]), reshaped(rows, weight[0]))
    return Plan(tuple(inputs), (output,), spec.environment(inputs))


def embedding(
    spec: Spec,
    input: Shape,
    weight: Shape,
    padding_idx: object = None,
    max_norm: object = None,
    norm_type: object = 2.0,
    scale_grad_by_freq: object = False,
    sparse: object = False,
) -> Plan:
    """Rows of a table: torch.nn.functional.embedding on NumPy arrays.

    input   any shape; integers in 0 <= input < num_embeddings
    weight  (num_embeddings, embedding_dim)

    The result is (*, embedding_dim). An integer that is no row is an error. Not supported, and refused, since they change
    the gradient into another than the function's, or the table itself: padding_idx, max_norm, scale_grad_by_freq, sparse.
    """
    only_default("padding_idx", padding_idx, None)
    only_default("max_norm", max_norm, None)
    only_default("norm_type", norm_type, 2.0)
    only_default("scale_grad_by_freq", scale_grad_by_freq, False)
    only_default("sparse", sparse, False)
    if len(weight) != 2:
        raise ShapeError(f"`weight` has {len(weight)} axes but needs 2: (num_embeddings, embedding_dim)")
    count = math.prod(input)
    inputs = (Layout("input", "t", input, reshaped(count)), Layout("weight", "w", weight))
    output = Layout("output", "y", (*input, weight[1]), reshaped(count, weight[1]))
    return Plan(inputs, (output,), spec.environment(inputs))


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
    "bilinear": Adapter(bilinear, {"input1": "x", "input2": "z", "weight": "w", "bias": "b"}),
    "embedding": Adapter(embedding, {"input": "t", "weight": "w"}),
    "relu": Adapter(relu, {"input": "x"}),
    "log_softmax": Adapter(log_softmax, {"input": "x"}),
}
