"""Lengths and distances of vectors, and losses that ask for a margin, with torch's signatures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from kernels.activations import around
from kernels.adapter import Adapter, Layout, Plan, Spec, Variants, plain_number, reshaped
from kernels.arguments import Shape, flag, integer, real, shown
from kernels.errors import ArgumentError, ShapeError
from kernels.layers import only_default
from kernels.likelihoods import above_zero
from kernels.losses import at_least_zero, compared, reduced


def alike(**shapes: Shape) -> None:
    """All of the shape of the first."""
    (first, shape), *others = shapes.items()
    for name, other in others:
        if other != shape:
            raise ShapeError(
                f"`{name}` has shape {other} but needs {shape}, that of `{first}`: nothing is broadcast"
            )


def exponent(name: str, value: object) -> float:
    """Of a norm; infinity has equations of its own, which nobody wrote."""
    number = real(name, value)
    if not 0 < number < math.inf:
        raise ArgumentError(f"`{name}` is {number} but needs to be above 0, and finite")
    return number


def normalize(spec: Spec, input: Shape, p: object = 2.0, dim: object = 1, eps: object = 1e-12) -> Plan:
    """input / max(its norm along an axis, eps): torch.nn.functional.normalize on NumPy arrays.

    input  any shape; a number is an axis of one entry
    p      the exponent of the norm, a number above 0
    dim    the axis along which the result has length 1
    eps    a number above 0

    Where the norm is at most eps it counts as a constant: the derivative there is 1 / eps.
    """
    before, n, after = around("dim", dim, input)
    see = reshaped(before, n, after)
    inputs = (Layout("input", "x", input, see),)
    power = exponent("p", p)
    reals = spec.reals(eps=above_zero("eps", eps), norm=power)
    return Plan(inputs, (Layout("output", "y", input, see),), spec.environment(inputs), reals)


def cosine_similarity(spec: Spec, x1: Shape, x2: Shape, dim: object = 1, eps: object = 1e-8) -> Plan:
    """x1 . x2 / (max(|x1|, eps) * max(|x2|, eps)) along an axis: torch.nn.functional.cosine_similarity on NumPy arrays.

    x1   any shape; a number is an axis of one entry
    x2   that shape
    dim  the axis, which the result does not have
    eps  a number above 0

    Where a length is at most eps it counts as a constant. Not supported, and refused: shapes that are broadcast.
    """
    alike(x1=x1, x2=x2)
    before, n, after = around("dim", dim, x1)
    axis = integer("dim", dim) % max(len(x1), 1)
    see, shape = reshaped(before, n, after), (*x1[:axis], *x1[axis + 1 :])
    inputs = Layout("x1", "a", x1, see), Layout("x2", "b", x2, see)
    outputs = (Layout("output", "y", shape, reshaped(before, after)),)
    return Plan(inputs, outputs, spec.environment(inputs), {"eps": above_zero("eps", eps)})


def pairwise_distance(
    spec: Spec, x1: Shape, x2: Shape, p: object = 2.0, eps: object = 1e-6, keepdim: object = False
) -> Plan:
    """The norm of x1 - x2 + eps along the last axis: torch.nn.functional.pairwise_distance on NumPy arrays.

    x1       (*, features)
    x2       that shape
    p        the exponent of the norm, a number above 0
    eps      a number, which torch adds so that no difference is 0
    keepdim  whether the result is (*, 1), else (*,)

    The derivative is 0 where the distance is. Not supported, and refused: shapes that are broadcast.
    """
    alike(x1=x1, x2=x2)
    if not x1:
        raise ShapeError("`x1` has no axes but needs at least 1: its features")
    rows, power = math.prod(x1[:-1]), exponent("p", p)
    see = reshaped(rows, x1[-1])
    inputs = Layout("x1", "a", x1, see), Layout("x2", "b", x2, see)
    shape = (*x1[:-1], 1) if flag("keepdim", keepdim) else x1[:-1]
    reals = spec.reals(eps=real("eps", eps), norm=power)
    outputs = (Layout("output", "y", shape, reshaped(rows)),)
    return Plan(inputs, outputs, spec.environment(inputs), reals)


def other_power(given: Mapping[str, Any]) -> str | None:
    """Squares need no powers; an exponent that is no number is left for the operator to refuse."""
    return None if plain_number(given.get("p", 2.0)) == 2 else "p"


def soft_margin_loss(
    spec: Spec,
    input: Shape,
    target: Shape,
    size_average: object = None,
    reduce: object = None,
    reduction: object = "mean",
) -> Plan:
    """log(1 + exp(-target * input)): torch.nn.functional.soft_margin_loss on NumPy arrays.

    input      any shape
    target     that shape; 1 or -1, differentiated, too
    reduction  "mean", "sum", or "none" for one loss per element

    Nothing overflows, here or in a derivative. The mean over nothing is 0, where torch has NaN. Not supported, and refused:
    the old names size_average and reduce.
    """
    return compared(spec, input, target, size_average, reduce, reduction, None)


def hinge_embedding_loss(
    spec: Spec,
    input: Shape,
    target: Shape,
    margin: object = 1.0,
    size_average: object = None,
    reduce: object = None,
    reduction: object = "mean",
) -> Plan:
    """input where target is 1, max(0, margin - input) where it is -1: torch.nn.functional.hinge_embedding_loss.

    input      any shape; distances
    target     that shape and type; 1 or -1 (elsewhere the loss is the sum of both, as in torch)
    margin     a number
    reduction  "mean", "sum", or "none" for one loss per element

    The mean over nothing is 0, where torch has NaN. Not supported, and refused: the old names size_average and reduce.
    """
    return compared(spec, input, target, size_average, reduce, reduction, None, margin=real("margin", margin))


def margin_ranking_loss(
    spec: Spec,
    input1: Shape,
    input2: Shape,
    target: Shape,
    margin: object = 0,
    size_average: object = None,
    reduce: object = None,
    reduction: object = "mean",
) -> Plan:
    """max(0, margin - target * (input1 - input2)): torch.nn.functional.margin_ranking_loss on NumPy arrays.

    input1     any shape
    input2     that shape
    target     that shape and type; 1 where input1 should be larger, -1 where input2; differentiated, too
    margin     a number
    reduction  "mean", "sum", or "none" for one loss per element

    The slope is 0 where the margin is just kept (torch: that of the side below). The mean over nothing is 0, where torch has
    NaN. Not supported, and refused: the old names size_average and reduce.
    """
    only_default("size_average", size_average, None)
    only_default("reduce", reduce, None)
    alike(input1=input1, input2=input2, target=target)
    flat = reshaped(math.prod(input1))
    inputs = (
        Layout("input1", "a", input1, flat),
        Layout("input2", "b", input2, flat),
        Layout("target", "t", target, flat),
    )
    outputs = reduced(reduction, Layout("output", "l", input1, flat))
    return Plan(inputs, outputs, spec.environment(inputs), {"margin": real("margin", margin)})


def multi_margin_loss(
    spec: Spec,
    input: Shape,
    target: Shape,
    p: object = 1,
    margin: object = 1.0,
    weight: Shape | None = None,
    size_average: object = None,
    reduce: object = None,
    reduction: object = "mean",
) -> Plan:
    """weight[target] * sum(max(0, margin - input[target] + input)^p over the other classes) / C: torch.nn.functional's.

    input      (N, C), or (C,) unbatched; scores; a number is that of the only class
    target     (N,), or () or (1,) unbatched; integers in 0 <= target < C
    p          1 or 2
    margin     a number
    weight     (C,), one for each class, or None for 1
    reduction  "mean", "sum", or "none" for one loss per row

    The slope is 0 where the margin is just kept. The mean over nothing is 0. Crammer and Singer 2001. Not supported, and
    refused: the old names size_average and reduce.
    """
    only_default("size_average", size_average, None)
    only_default("reduce", reduce, None)
    if plain_number(p) not in (1, 2):
        raise ArgumentError(f"`p` is {shown(p)} but needs 1 or 2")
    if len(input) > 2:
        raise ShapeError(f"`input` has {len(input)} axes but needs (N, C) or (C,)")
    classes, each = input[-1] if input else 1, input[:-1]
    if target != each and not (each == () and target == (1,)):
        raise ShapeError(f"`target` has shape {target} but needs {each}, one class for each row of `input`")
    if classes == 0:
        raise ShapeError("`input` has no classes")
    if weight is not None and weight != (classes,):
        raise ShapeError(f"`weight` has shape {weight} but needs {(classes,)}, one for each class")
    rows = math.prod(each)
    inputs = (
        Layout("input", "x", input, reshaped(rows, classes)),
        Layout("target", "t", target, reshaped(rows)),
        Layout("weight", "w", (classes,), fill=1.0 if weight is None else None),
    )
    outputs = reduced(reduction, Layout("output", "l", target, reshaped(rows)))
    return Plan(inputs, outputs, spec.environment(inputs), {"margin": real("margin", margin)})


def multilabel_soft_margin_loss(
    spec: Spec,
    input: Shape,
    target: Shape,
    weight: Shape | None = None,
    size_average: object = None,
    reduce: object = None,
    reduction: object = "mean",
) -> Plan:
    """The mean over classes of -weight * (target * log(s) + (1 - target) * log(1 - s)), s = sigmoid(input): torch's namesake.

    input      (*, C); logits
    target     that shape; probabilities, differentiated, too
    weight     (C,), one for each class, or None for 1
    reduction  "mean", "sum", or "none" for one loss per row

    Nothing overflows, here or in a derivative. The mean over nothing is 0. Not supported, and refused: other weights that
    could be broadcast, and the old names size_average and reduce.
    """
    only_default("size_average", size_average, None)
    only_default("reduce", reduce, None)
    alike(input=input, target=target)
    if not input or input[-1] == 0:
        raise ShapeError(f"`input` has shape {input} but needs (*, C), with at least one class")
    if weight is not None and weight != input[-1:]:
        raise ShapeError(
            f"`weight` has shape {weight} but needs {input[-1:]}, one for each class: nothing is broadcast"
        )
    rows, classes = math.prod(input[:-1]), input[-1]
    see = reshaped(rows, classes)
    inputs = (
        Layout("input", "x", input, see),
        Layout("target", "t", target, see),
        Layout("weight", "w", (classes,), fill=1.0 if weight is None else None),
    )
    outputs = reduced(reduction, Layout("output", "l", input[:-1], reshaped(rows)))
    return Plan(inputs, outputs, spec.environment(inputs))


def cosine_embedding_loss(
    spec: Spec,
    input1: Shape,
    input2: Shape,
    target: Shape,
    margin: object = 0,
    size_average: object = None,
    reduce: object = None,
    reduction: object = "mean",
) -> Plan:
    """1 - cos where target is 1, max(0, cos - margin) where it is -1: torch.nn.functional.cosine_embedding_loss.

    input1     (N, D), or (D,) unbatched
    input2     that shape
    target     (N,), or () unbatched, of their type; 1 or -1 (elsewhere the loss is 0)
    margin     a number
    reduction  "mean", "sum", or "none" for one loss per row

    cos is that of the angle between rows; their squared lengths are taken 1e-12 larger, as in torch. The mean over nothing is
    0, where torch has NaN. Not supported, and refused: the old names size_average and reduce.
    """
    only_default("size_average", size_average, None)
    only_default("reduce", reduce, None)
    alike(input1=input1, input2=input2)
    if len(input1) not in (1, 2):
        raise ShapeError(f"`input1` has {len(input1)} axes but needs (N, D) or (D,)")
    if target != input1[:-1]:
        raise ShapeError(f"`target` has shape {target} but needs {input1[:-1]}, one for each row of `input1`")
    rows = math.prod(input1[:-1])
    see, single = reshaped(rows, input1[-1]), reshaped(rows)
    inputs = (
        Layout("input1", "a", input1, see),
        Layout("input2", "b", input2, see),
        Layout("target", "t", target, single),
    )
    outputs = reduced(reduction, Layout("output", "l", target, single))
    return Plan(inputs, outputs, spec.environment(inputs), {"margin": real("margin", margin)})


def triplet_margin_loss(
    spec: Spec,
    anchor: Shape,
    positive: Shape,
    negative: Shape,
    margin: object = 1.0,
    p: object = 2,
    eps: object = 1e-6,
    swap: object = False,
    size_average: object = None,
    reduce: object = None,
    reduction: object = "mean",
) -> Plan:
    """max(0, |anchor - positive| - |anchor - negative| + margin): torch.nn.functional.triplet_margin_loss on NumPy arrays.

    anchor     (N, D), or (D,) unbatched
    positive   that shape
    negative   that shape
    margin     a number above 0
    p          2: lengths are Euclidean
    eps        a number that is added to each difference, as in torch
    swap       whether the nearer of anchor and positive is what the negative should be far from
    reduction  "mean", "sum", or "none" for one loss per row

    The slope is 0 where the margin is just kept, and that of a length is 0 where it is 0. The mean over nothing is 0, where
    torch has NaN. Balntas et al. 2016. Not supported, and refused: other exponents, shapes that are broadcast, and the old
    names size_average and reduce.
    """
    only_default("p", p, 2)
    only_default("size_average", size_average, None)
    only_default("reduce", reduce, None)
    flag("swap", swap)
    alike(anchor=anchor, positive=positive, negative=negative)
    if len(anchor) not in (1, 2):
        raise ShapeError(f"`anchor` has {len(anchor)} axes but needs (N, D) or (D,)")
    rows = math.prod(anchor[:-1])
    see = reshaped(rows, anchor[-1])
    inputs = (
        Layout("anchor", "x", anchor, see),
        Layout("positive", "a", positive, see),
        Layout("negative", "b", negative, see),
    )
    outputs = reduced(reduction, Layout("output", "l", anchor[:-1], reshaped(rows)))
    reals = {"margin": above_zero("margin", margin), "eps": at_least_zero("eps", eps)}
    return Plan(inputs, outputs, spec.environment(inputs), reals)


PAIR = {"input": "x", "target": "t"}
VECTORS = {"x1": "a", "x2": "b"}
RANKED = {"input1": "a", "input2": "b", "target": "t"}
TRIPLET = {"anchor": "x", "positive": "a", "negative": "b"}
CLASSES = {**PAIR, "weight": "w"}
ADAPTERS = {
    "normalize": Adapter(normalize, {"input": "x"}, fixed={"p": 2.0}),
    "normalize_p": Adapter(normalize, {"input": "x"}),
    "cosine_similarity": Adapter(cosine_similarity, VECTORS),
    "pairwise_distance": Adapter(pairwise_distance, VECTORS, fixed={"p": 2.0}),
    "pairwise_distance_p": Adapter(pairwise_distance, VECTORS),
    "soft_margin_loss": Adapter(soft_margin_loss, PAIR),
    "hinge_embedding_loss": Adapter(hinge_embedding_loss, PAIR),
    "margin_ranking_loss": Adapter(margin_ranking_loss, RANKED),
    "multi_margin_loss": Adapter(multi_margin_loss, CLASSES, fixed={"p": 1}),
    "multi_margin_loss_2": Adapter(multi_margin_loss, CLASSES, fixed={"p": 2}),
    "multilabel_soft_margin_loss": Adapter(multilabel_soft_margin_loss, CLASSES),
    "cosine_embedding_loss": Adapter(cosine_embedding_loss, RANKED),
    "triplet_margin_loss": Adapter(triplet_margin_loss, TRIPLET, fixed={"swap": False}),
    "triplet_margin_loss_swap": Adapter(triplet_margin_loss, TRIPLET, fixed={"swap": True}),
}
VARIANTS = {
    "normalize": Variants("p", {"p": "normalize_p"}, other_power),
    "pairwise_distance": Variants("p", {"p": "pairwise_distance_p"}, other_power),
    "multi_margin_loss": Variants("p", {2: "multi_margin_loss_2"}),
    "triplet_margin_loss": Variants("swap", {True: "triplet_margin_loss_swap"}),
}
