"""Losses that are negative logarithms of likelihoods, with torch's signatures."""

from __future__ import annotations

import math
from collections.abc import Mapping

from kernels.adapter import Adapter, Layout, Plan, Spec, Variants, reshaped
from kernels.arguments import Shape, choice, flag, real
from kernels.errors import ArgumentError, ShapeError
from kernels.layers import only_default
from kernels.losses import compared, reduced


def above_zero(name: str, value: object) -> float:
    number = real(name, value)
    if not number > 0:
        raise ArgumentError(f"`{name}` is {number} but needs to be above 0")
    return number


def binary_cross_entropy(
    spec: Spec,
    input: Shape,
    target: Shape,
    weight: Shape | None = None,
    size_average: object = None,
    reduce: object = None,
    reduction: object = "mean",
) -> Plan:
    """-weight * (target * log(input) + (1 - target) * log(1 - input)): torch.nn.functional.binary_cross_entropy.

    input      any shape; probabilities
    target     that shape; probabilities, differentiated, too
    weight     that shape, or None for 1
    reduction  "mean", "sum", or "none" for one loss per element

    Logarithms are at least -100, as in torch, and have no slope where they would be less (torch: a slope of at most 1e12).
    From logits, binary_cross_entropy_with_logits loses no digits. A probability outside of [0, 1] is not refused, and its
    logarithm is that bound. The mean over nothing is 0, where torch has NaN. Not supported, and refused: weights that are
    broadcast, and the old names size_average and reduce.
    """
    if weight is not None and weight != input:
        raise ShapeError(
            f"`weight` has shape {weight} but needs {input}, that of `input`: nothing is broadcast"
        )
    plan = compared(spec, input, target, size_average, reduce, reduction, None)
    weights = Layout("weight", "w", input, reshaped(math.prod(input)), fill=1.0 if weight is None else None)
    return Plan((*plan.inputs, weights), plan.outputs, plan.environment, plan.reals)


def kl_div(
    spec: Spec,
    input: Shape,
    target: Shape,
    size_average: object = None,
    reduce: object = None,
    reduction: object = "mean",
    log_target: object = False,
) -> Plan:
    """target * (log(target) - input), of logarithms of probabilities: torch.nn.functional.kl_div on NumPy arrays.

    input       any shape; logarithms
    target      that shape; probabilities, or logarithms, too; differentiated, too
    reduction   "batchmean" for the sum over the length of the first axis, the divergence; "mean", "sum", or "none"
    log_target  whether `target` holds logarithms: exp(target) * (target - input)

    A probability of 0 adds nothing, and has no slope. "mean" is over all elements, as in torch, and over nothing it is 0,
    where torch has NaN. Kullback and Leibler 1951. Not supported, and refused: the old names size_average and reduce.
    """
    only_default("size_average", size_average, None)
    only_default("reduce", reduce, None)
    flag("log_target", log_target)
    kind = choice("reduction", reduction, ("mean", "sum", "none", "batchmean"))
    if target != input:
        raise ShapeError(
            f"`target` has shape {target} but needs {input}, that of `input`: nothing is broadcast"
        )
    if kind == "batchmean" and not input:
        raise ShapeError("`input` has no axes, so there is no batch to divide by")
    see = reshaped(input[0], math.prod(input[1:])) if input else reshaped(1, 1)
    inputs = Layout("input", "x", input, see), Layout("target", "t", target, see)
    if kind == "batchmean":
        outputs = (Layout("output", "per_row", ()),)
    else:
        outputs = reduced(kind, Layout("output", "l", input, see))
    return Plan(inputs, outputs, spec.environment(inputs))


def poisson_nll_loss(
    spec: Spec,
    input: Shape,
    target: Shape,
    log_input: object = True,
    full: object = False,
    size_average: object = None,
    eps: object = 1e-8,
    reduce: object = None,
    reduction: object = "mean",
) -> Plan:
    """exp(input) - target * input, of the logarithm of a rate: torch.nn.functional.poisson_nll_loss on NumPy arrays.

    input      any shape; the logarithm of the rate, or with log_input=False the rate: input - target * log(input + eps)
    target     that shape; counts, differentiated, too
    log_input  whether `input` is a logarithm
    full       whether Stirling's target * log(target) - target + log(2 * pi * target) / 2 is added, where target is above 1
    eps        a number above 0
    reduction  "mean", "sum", or "none" for one loss per element

    The mean over nothing is 0, where torch has NaN. Not supported, and refused: the old names size_average and reduce.
    """
    reals = {"full": float(flag("full", full))}
    small = above_zero("eps", eps)
    if not flag("log_input", log_input):
        reals["eps"] = small
    return compared(spec, input, target, size_average, reduce, reduction, None, **reals)


def gaussian_nll_loss(
    spec: Spec,
    input: Shape,
    target: Shape,
    var: Shape,
    full: object = False,
    eps: object = 1e-6,
    reduction: object = "mean",
) -> Plan:
    """(log(var) + (input - target)^2 / var) / 2: torch.nn.functional.gaussian_nll_loss on NumPy arrays.

    input      any shape; expected values
    target     that shape; differentiated, too
    var        that shape; variances, of which those below eps count as eps
    full       whether log(2 * pi) / 2 is added
    eps        a number above 0
    reduction  "mean", "sum", or "none" for one loss per element

    The slope is 0 where a variance is below eps: there torch has the one at eps. A negative variance counts as eps, too,
    where torch refuses it. Nix and Weigend 1994. Not supported, and refused: variances that are broadcast.
    """
    if var != input:
        raise ShapeError(f"`var` has shape {var} but needs {input}, that of `input`: nothing is broadcast")
    constant = math.log(2 * math.pi) / 2 if flag("full", full) else 0.0
    plan = compared(
        spec, input, target, None, None, reduction, None, eps=above_zero("eps", eps), constant=constant
    )
    variances = Layout("var", "v", var, reshaped(math.prod(var)))
    inputs = (*plan.inputs, variances)
    return Plan(inputs, plan.outputs, plan.environment, plan.reals)


PAIR: Mapping[str, str] = {"input": "x", "target": "t"}
ADAPTERS = {
    "binary_cross_entropy": Adapter(binary_cross_entropy, {**PAIR, "weight": "w"}),
    "kl_div": Adapter(kl_div, PAIR, fixed={"log_target": False}),
    "kl_div_log_target": Adapter(kl_div, PAIR, fixed={"log_target": True}),
    "poisson_nll_loss": Adapter(poisson_nll_loss, PAIR, fixed={"log_input": True}),
    "poisson_nll_loss_rate": Adapter(poisson_nll_loss, PAIR, fixed={"log_input": False}),
    "gaussian_nll_loss": Adapter(gaussian_nll_loss, {**PAIR, "var": "v"}),
}
VARIANTS = {
    "kl_div": Variants("log_target", {True: "kl_div_log_target"}),
    "poisson_nll_loss": Variants("log_input", {False: "poisson_nll_loss_rate"}),
}
