"""Losses, with torch's signatures, regularisers, and dropout with a given mask.

A loss has one value an element, or a target; `reduction` takes their mean, their sum, or none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from kernels.adapter import (
    Adapter,
    Layout,
    Plan,
    Spec,
    Values,
    Variants,
    plain_number,
    reshaped,
    shape_given,
)
from kernels.arguments import Shape, attribute, choice, integer, real
from kernels.errors import ArgumentError, ShapeError
from kernels.layers import only_default

REDUCED = {"mean": "y", "sum": "z"}


def reduced(reduction: object, each: Layout) -> tuple[Layout]:
    """The layout of the result: one number, or each loss."""
    kind = choice("reduction", reduction, ("mean", "sum", "none"))
    return (each if kind == "none" else Layout("output", REDUCED[kind], ()),)


def compared(
    spec: Spec,
    input: Shape,
    target: Shape,
    size_average: object,
    reduce: object,
    reduction: object,
    weight: object,
    **reals: float,
) -> Plan:
    """A loss of each element of two arrays of one shape."""
    only_default("size_average", size_average, None)
    only_default("reduce", reduce, None)
    only_default("weight", weight, None)
    if target != input:
        raise ShapeError(
            f"`target` has shape {target} but needs {input}, that of `input`: nothing is broadcast"
        )
    flat = reshaped(math.prod(input))
    inputs = Layout("input", "x", input, flat), Layout("target", "t", target, flat)
    return Plan(
        inputs, reduced(reduction, Layout("output", "l", input, flat)), spec.environment(inputs), reals
    )


def mse_loss(
    spec: Spec,
    input: Shape,
    target: Shape,
    size_average: object = None,
    reduce: object = None,
    reduction: object = "mean",
    weight: object = None,
) -> Plan:
    """(input - target)^2: torch.nn.functional.mse_loss on NumPy arrays.

    input      any shape
    target     that shape; differentiated, too
    reduction  "mean", "sum", or "none" for one loss per element

    The mean over nothing is 0, where torch has NaN. Not supported, and refused: weights, and the old names size_average
    and reduce.
    """
    return compared(spec, input, target, size_average, reduce, reduction, weight)


def l1_loss(
    spec: Spec,
    input: Shape,
    target: Shape,
    size_average: object = None,
    reduce: object = None,
    reduction: object = "mean",
    weight: object = None,
) -> Plan:
    """|input - target|: torch.nn.functional.l1_loss on NumPy arrays.

    input      any shape
    target     that shape; differentiated, too
    reduction  "mean", "sum", or "none" for one loss per element

    The slope is 0 where they are equal. The mean over nothing is 0, where torch has NaN. Not supported, and refused:
    weights, and the old names size_average and reduce.
    """
    return compared(spec, input, target, size_average, reduce, reduction, weight)


def smooth_l1_loss(
    spec: Spec,
    input: Shape,
    target: Shape,
    size_average: object = None,
    reduce: object = None,
    reduction: object = "mean",
    beta: object = 1.0,
) -> Plan:
    """d^2 / (2 * beta) where d = |input - target| is below beta, else d - beta / 2: torch.nn.functional.smooth_l1_loss.

    input      any shape
    target     that shape; differentiated, too
    reduction  "mean", "sum", or "none" for one loss per element
    beta       a number, at least 0; with 0 it is the l1_loss

    The mean over nothing is 0, where torch has NaN. Not supported, and refused: the old names size_average and reduce.
    Girshick 2015, arXiv:1504.08083.
    """
    width = at_least_zero("beta", beta)
    return compared(spec, input, target, size_average, reduce, reduction, None, delta=width)


def huber_loss(
    spec: Spec,
    input: Shape,
    target: Shape,
    reduction: object = "mean",
    delta: object = 1.0,
    weight: object = None,
) -> Plan:
    """d^2 / 2 where d = |input - target| is at most delta, else delta * (d - delta / 2): torch.nn.functional.huber_loss.

    input      any shape
    target     that shape; differentiated, too
    reduction  "mean", "sum", or "none" for one loss per element
    delta      a number above 0

    The mean over nothing is 0, where torch has NaN. Not supported, and refused: weights. Huber 1964.
    """
    width = at_least_zero("delta", delta)
    if width == 0:
        raise ArgumentError("`delta` is 0 but needs to be above 0")
    return compared(spec, input, target, None, None, reduction, weight, delta=width)


def at_least_zero(name: str, value: object) -> float:
    number = real(name, value)
    if not number >= 0:
        raise ArgumentError(f"`{name}` is {number} but needs to be at least 0")
    return number


def binary_cross_entropy_with_logits(
    spec: Spec,
    input: Shape,
    target: Shape,
    weight: Shape | None = None,
    size_average: object = None,
    reduce: object = None,
    reduction: object = "mean",
    pos_weight: Shape | None = None,
) -> Plan:
    """-weight * (pos_weight * target * log(s) + (1 - target) * log(1 - s)), s = sigmoid(input): torch.nn.functional's.

    input       any shape; logits
    target      that shape; probabilities, differentiated, too
    weight      that shape, or None for 1
    reduction   "mean", "sum", or "none" for one loss per element
    pos_weight  the shape of the last axes of `input` (one weight a class, say), of all or of none; or None for 1

    Logarithms are worked out from logits, so nothing overflows or loses its digits. The mean is over all elements,
    whatever their weights, and over nothing it is 0, where torch has NaN. Not supported, and refused: other shapes that
    could be broadcast, and the old names size_average and reduce.
    """
    only_default("size_average", size_average, None)
    only_default("reduce", reduce, None)
    for name, shape in (("target", target), ("weight", weight)):
        if shape is not None and shape != input:
            raise ShapeError(
                f"`{name}` has shape {shape} but needs {input}, that of `input`: nothing is broadcast"
            )
    last = input if pos_weight is None else pos_weight
    if last != input[len(input) - len(last) :] or len(last) > len(input):
        raise ShapeError(
            f"`pos_weight` has shape {last} but needs the shape of the last axes of `input` {input}"
        )
    inner = math.prod(last)
    see = reshaped(math.prod(input[: len(input) - len(last)]), inner)
    inputs = (
        Layout("input", "x", input, see),
        Layout("target", "t", target, see),
        Layout("weight", "w", input, see, fill=1.0 if weight is None else None),
        Layout("pos_weight", "p", last, reshaped(inner), fill=1.0 if pos_weight is None else None),
    )
    return Plan(inputs, reduced(reduction, Layout("output", "l", input, see)), spec.environment(inputs))


def nll_loss(
    spec: Spec,
    input: Shape,
    target: Shape,
    weight: Shape | None = None,
    size_average: object = None,
    ignore_index: object = -100,
    reduce: object = None,
    reduction: object = "mean",
) -> Plan:
    """-weight[target] * input[target], over classes: torch.nn.functional.nll_loss on NumPy arrays.

    input         (N, C), (N, C, *spatial), or (C,) unbatched; logarithms of probabilities
    target        (N,), (N, *spatial), or () unbatched; integers in 0 <= target < C, or ignore_index
    weight        (C,), one for each class, or None for 1
    ignore_index  an integer: targets that are it count nothing
    reduction     "mean", "sum", or "none" for one loss per target

    The mean is the sum over the sum of the targets' weights, NaN if there are none. A target that is no class is an
    error. Not supported, and refused: the old names size_average and reduce.
    """
    only_default("size_average", size_average, None)
    only_default("reduce", reduce, None)
    ignore = integer("ignore_index", ignore_index)
    inputs, each = classified(input, target, weight, ignore)
    return Plan(inputs, reduced(reduction, each), spec.environment(inputs, ignore=ignore))


def classified(
    input: Shape, target: Shape, weight: Shape | None, ignore: int | None
) -> tuple[tuple[Layout, ...], Layout]:
    """Scores of classes, targets (classes, or with `ignore` None a probability of each), weights; and one loss a target."""
    if not input:
        raise ShapeError("`input` has no axes but needs (N, C), (N, C, *spatial) or (C,)")
    count, classes, *spatial = input if len(input) > 1 else (1, *input)
    each = (input[0], *input[2:]) if len(input) > 1 else ()
    wanted = input if ignore is None else each
    if target != wanted:
        like = "that of `input`" if ignore is None else "that of `input` without the classes"
        raise ShapeError(f"`target` has shape {target} but needs {wanted}, {like}")
    if classes == 0:
        raise ShapeError("`input` has no classes")
    if weight is not None and weight != (classes,):
        raise ShapeError(f"`weight` has shape {weight} but needs {(classes,)}, one for each class")
    rest = math.prod(spatial)
    scores, single = reshaped(count, classes, rest), reshaped(count, rest)
    if ignore is None:
        targets = Layout("target", "q", target, scores)
    else:
        values = Values(classes, "the classes of `input`, and `ignore_index`", ignore)
        targets = Layout("target", "t", target, single, values=values)
    weights = Layout("weight", "w", (classes,), fill=1.0 if weight is None else None)
    return (Layout("input", "x", input, scores), targets, weights), Layout("output", "l", each, single)


def cross_entropy(
    spec: Spec,
    input: Shape,
    target: Shape,
    weight: object = None,
    size_average: object = None,
    ignore_index: object = -100,
    reduce: object = None,
    reduction: object = "mean",
    label_smoothing: object = 0.0,
) -> Plan:
    """-log_softmax(input)[target], over classes: torch.nn.functional.cross_entropy on NumPy arrays.

    input            (N, C), (N, C, *spatial), or (C,) unbatched; logits
    target           (N,), (N, *spatial), or () unbatched; integers in 0 <= target < C. Or probabilities, like `input`
    weight           (C,), one for each class, or None for 1
    ignore_index     an integer: targets that are it count nothing
    reduction        "mean", "sum", or "none" for one loss per target
    label_smoothing  between 0 and 1: the part of each target that goes to all classes alike

    The mean over no targets is 0, where torch has NaN. Large and infinite logits are as in `log_softmax`. A target
    that is no class is an error, also in a pullback, if the array has changed since; a change of one that is not
    int64, or is not aligned, has no effect there, since the call copied it.
    With a target of floats, probabilities of classes, this is kernels.cross_entropy_probabilities; with one of
    weight, ignore_index and label_smoothing given, kernels.cross_entropy_weighted. An index to ignore has to be given:
    without it a target of -100, which torch ignores by default, is an error.
    Not supported, and refused: the old names size_average and reduce.
    """
    only_default("weight", weight, None)
    only_default("size_average", size_average, None)
    only_default("ignore_index", ignore_index, -100)
    only_default("reduce", reduce, None)
    only_default("label_smoothing", label_smoothing, 0.0)
    kind = choice("reduction", reduction, ("mean", "sum", "none"))
    if not input:
        raise ShapeError("`input` has no axes but needs (N, C), (N, C, *spatial) or (C,)")
    count, classes, *spatial = input if len(input) > 1 else (1, *input)
    wanted = (input[0], *input[2:]) if len(input) > 1 else ()
    if target != wanted:
        raise ShapeError(
            f"`target` has shape {target} but needs {wanted}, that of `input` without the classes"
        )
    if classes == 0:
        raise ShapeError("`input` has no classes")
    rest = math.prod(spatial)
    logits = Layout("input", "x", input, reshaped(count, classes, rest))
    inputs = (logits, Layout("target", "t", target, reshaped(count, rest)))
    environment = spec.environment(inputs)
    if kind == "none":
        output = Layout("output", "l", target, reshaped(count, rest))
    else:
        output = Layout("output", {"mean": "y", "sum": "z"}[kind], ())
    return Plan(inputs, (output,), environment)


def cross_entropy_weighted(
    spec: Spec,
    input: Shape,
    target: Shape,
    weight: Shape | None = None,
    size_average: object = None,
    ignore_index: object = -100,
    reduce: object = None,
    reduction: object = "mean",
    label_smoothing: object = 0.0,
) -> Plan:
    """cross_entropy with weights of classes, an index to ignore, and label smoothing: its torch namesake on NumPy arrays.

    input            (N, C), (N, C, *spatial), or (C,) unbatched; logits
    target           (N,), (N, *spatial), or () unbatched; integers in 0 <= target < C, or ignore_index
    weight           (C,), one for each class, or None for 1
    ignore_index     an integer: targets that are it count nothing
    reduction        "mean", "sum", or "none" for one loss per target
    label_smoothing  between 0 and 1: the part of each target that goes to all classes alike

    The mean is the sum over the sum of the targets' weights, NaN if there are none. kernels.cross_entropy is this where one
    of weight, ignore_index and label_smoothing is given.
    """
    only_default("size_average", size_average, None)
    only_default("reduce", reduce, None)
    ignore = integer("ignore_index", ignore_index)
    inputs, each = classified(input, target, weight, ignore)
    environment = spec.environment(inputs, ignore=ignore)
    return Plan(inputs, reduced(reduction, each), environment, {"smoothing": smoothed(label_smoothing)})


def cross_entropy_probabilities(
    spec: Spec,
    input: Shape,
    target: Shape,
    weight: Shape | None = None,
    size_average: object = None,
    ignore_index: object = -100,
    reduce: object = None,
    reduction: object = "mean",
    label_smoothing: object = 0.0,
) -> Plan:
    """cross_entropy with a probability of each class as target: its torch namesake on NumPy arrays.

    input            (N, C), (N, C, *spatial), or (C,) unbatched; logits
    target           that shape; differentiated, too
    weight           (C,), one for each class, or None for 1
    reduction        "mean", "sum", or "none" for one loss per distribution
    label_smoothing  between 0 and 1: the part of each target that goes to all classes alike

    The mean is over distributions, whatever their weights, and over nothing it is 0, where torch has NaN. There is
    nothing to ignore. kernels.cross_entropy is this where `target` holds floats.
    """
    only_default("size_average", size_average, None)
    only_default("ignore_index", ignore_index, -100)
    only_default("reduce", reduce, None)
    inputs, each = classified(input, target, weight, None)
    environment = spec.environment(inputs)
    return Plan(inputs, reduced(reduction, each), environment, {"smoothing": smoothed(label_smoothing)})


def smoothed(value: object) -> float:
    number = real("label_smoothing", value)
    if not 0 <= number <= 1:
        raise ArgumentError(f"`label_smoothing` is {number} but needs to be between 0 and 1")
    return number


def target_kind(given: Mapping[str, Any]) -> str | None:
    """Which equations a cross-entropy needs: a target of floats has others, and so have weights."""
    target, input = given.get("target"), given.get("input")
    kind = attribute(attribute(target, "dtype"), "kind")
    shape = shape_given(target) if isinstance(target, tuple) else None  # where shapes stand for arrays
    if kind == "f" if type(kind) is str else shape is not None and shape == shape_given(input):
        return "probabilities"
    weighted = given.get("weight") is not None or "ignore_index" in given
    return (
        "weighted" if weighted or plain_number(given.get("label_smoothing", 0.0)) not in (0, None) else None
    )


def l1_regularizer(spec: Spec, weight: Shape, strength: object) -> Plan:
    """strength * sum(|weight|), a number to add to a loss.

    weight    any shape
    strength  a number

    The slope is 0 where a weight is 0.
    """
    return penalty(spec, weight, strength)


def l2_regularizer(spec: Spec, weight: Shape, strength: object) -> Plan:
    """strength * sum(weight^2), a number to add to a loss; its gradient is 2 * strength * weight.

    weight    any shape
    strength  a number; half of the `weight_decay` of an optimizer that does the same
    """
    return penalty(spec, weight, strength)


def penalty(spec: Spec, weight: Shape, strength: object) -> Plan:
    inputs = (Layout("weight", "x", weight, reshaped(math.prod(weight))),)
    outputs = (Layout("output", "y", ()),)
    return Plan(inputs, outputs, spec.environment(inputs), {"strength": real("strength", strength)})


def dropout(spec: Spec, input: Shape, mask: Shape, p: object = 0.5) -> Plan:
    """input * mask / (1 - p): dropout, but for drawing the mask, which is the caller's.

    input  any shape
    mask   that shape and type; 1 where an element stays, 0 where it is dropped
    p      the probability to be dropped, between 0 and 1

        mask = (generator.random(input.shape) >= p).astype(input.dtype)

    torch.nn.functional.dropout draws such a mask by itself, and returns the input outside of training. With p = 1 the
    result is 0. Srivastava et al. 2014.
    """
    rate = real("p", p)
    if not 0 <= rate <= 1:
        raise ArgumentError(f"`p` is {rate} but needs to be between 0 and 1")
    if mask != input:
        raise ShapeError(f"`mask` has shape {mask} but needs {input}, that of `input`")
    flat = reshaped(math.prod(input))
    inputs = Layout("input", "x", input, flat), Layout("mask", "q", mask, flat)
    outputs = (Layout("output", "y", input, flat),)
    return Plan(inputs, outputs, spec.environment(inputs), {"scale": 0.0 if rate == 1 else 1 / (1 - rate)})


CLASSES = {"input": "x", "target": "t", "weight": "w"}
ADAPTERS = {
    **{
        plan.__name__: Adapter(plan, {"input": "x", "target": "t"})
        for plan in (mse_loss, l1_loss, smooth_l1_loss, huber_loss)
    },
    "binary_cross_entropy_with_logits": Adapter(
        binary_cross_entropy_with_logits, {"input": "x", "target": "t", "weight": "w", "pos_weight": "p"}
    ),
    "nll_loss": Adapter(nll_loss, CLASSES),
    "cross_entropy": Adapter(cross_entropy, {"input": "x", "target": "t"}),
    "cross_entropy_weighted": Adapter(cross_entropy_weighted, CLASSES),
    "cross_entropy_probabilities": Adapter(cross_entropy_probabilities, {**CLASSES, "target": "q"}),
    "l1_regularizer": Adapter(l1_regularizer, {"weight": "x"}),
    "l2_regularizer": Adapter(l2_regularizer, {"weight": "x"}),
    "dropout": Adapter(dropout, {"input": "x", "mask": "q"}),
}
VARIANTS = {
    "cross_entropy": Variants(
        "target",
        {"probabilities": "cross_entropy_probabilities", "weighted": "cross_entropy_weighted"},
        target_kind,
    )
}
