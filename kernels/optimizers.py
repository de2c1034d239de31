"""One step of an optimizer on one parameter, with torch.optim's formulas.

Each returns the new parameter and the new states. In place, which is how it is meant to run:

    sgd_step(p, g, m, lr=0.1, momentum=0.9, out=(p, m))

`kernels.training` has optimizers over named parameters that do so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from kernels.adapter import Adapter, Layout, Plan, Spec, reshaped
from kernels.arguments import Shape, entries, flag, positive, real, shown
from kernels.errors import ArgumentError, ShapeError


def pointwise(
    spec: Spec,
    inputs: Mapping[str, tuple[str, Shape]],
    outputs: Mapping[str, str],
    reals: Mapping[str, float],
    **integers: int,
) -> Plan:
    """Arrays of one shape, seen flat: argument -> (tensor, shape), result -> tensor."""
    first, (_, shape) = next(iter(inputs.items()))
    for name, (_, other) in inputs.items():
        if other != shape:
            raise ShapeError(f"`{name}` has shape {other} but `{first}` has {shape}")
    flat = reshaped(math.prod(shape))
    layouts = tuple(Layout(name, tensor, shape, flat) for name, (tensor, _) in inputs.items())
    results = tuple(Layout(name, tensor, shape, flat) for name, tensor in outputs.items())
    return Plan(layouts, results, spec.environment(layouts, **integers), reals)


def common(lr: object, weight_decay: object, maximize: object) -> dict[str, float]:
    return {
        "rate": real("lr", lr),
        "decay": real("weight_decay", weight_decay),
        "towards": -1.0 if flag("maximize", maximize) else 1.0,
    }


def gd_step(
    spec: Spec,
    parameter: Shape,
    gradient: Shape,
    lr: object = 1e-3,
    weight_decay: object = 0.0,
    maximize: object = False,
) -> Plan:
    """parameter - lr * (gradient + weight_decay * parameter): a step of torch.optim.SGD without momentum.

    parameter, gradient  any shape, the same
    """
    inputs = {"parameter": ("p", parameter), "gradient": ("g", gradient)}
    return pointwise(spec, inputs, {"output": "y"}, common(lr, weight_decay, maximize))


def sgd_step(
    spec: Spec,
    parameter: Shape,
    gradient: Shape,
    momentum_buffer: Shape,
    lr: object = 1e-3,
    momentum: object = 0.0,
    dampening: object = 0.0,
    weight_decay: object = 0.0,
    nesterov: object = False,
    maximize: object = False,
) -> Plan:
    """A step of torch.optim.SGD with momentum: the new parameter and momentum buffer.

        d = gradient + weight_decay * parameter
        buffer = momentum * buffer + (1 - dampening) * d
        parameter = parameter - lr * (d + momentum * buffer if nesterov else buffer)

    The buffer begins as zeros; torch's first step has no dampening, and here one gives `dampening=0` for it.
    """
    inputs = {
        "parameter": ("p", parameter),
        "gradient": ("g", gradient),
        "momentum_buffer": ("m", momentum_buffer),
    }
    reals = common(lr, weight_decay, maximize)
    reals |= {"mu": real("momentum", momentum), "damp": 1 - real("dampening", dampening)}
    outputs = {"output": "y", "momentum_buffer": "b"}
    return pointwise(spec, inputs, outputs, reals, nesterov=int(flag("nesterov", nesterov)))


def rmsprop_step(
    spec: Spec,
    parameter: Shape,
    gradient: Shape,
    square_avg: Shape,
    momentum_buffer: Shape,
    lr: object = 1e-2,
    alpha: object = 0.99,
    eps: object = 1e-8,
    weight_decay: object = 0.0,
    momentum: object = 0.0,
    maximize: object = False,
) -> Plan:
    """A step of torch.optim.RMSprop: the new parameter, running square, and momentum buffer.

    d = gradient + weight_decay * parameter
    square_avg = alpha * square_avg + (1 - alpha) * d^2
    buffer = momentum * buffer + d / (sqrt(square_avg) + eps)
    parameter = parameter - lr * buffer
    """
    inputs = {
        "parameter": ("p", parameter),
        "gradient": ("g", gradient),
        "square_avg": ("v", square_avg),
        "momentum_buffer": ("m", momentum_buffer),
    }
    reals = common(lr, weight_decay, maximize)
    reals |= {"alpha": real("alpha", alpha), "eps": real("eps", eps), "mu": real("momentum", momentum)}
    return pointwise(spec, inputs, {"output": "y", "square_avg": "w", "momentum_buffer": "b"}, reals)


def rmsprop_centered_step(
    spec: Spec,
    parameter: Shape,
    gradient: Shape,
    square_avg: Shape,
    grad_avg: Shape,
    momentum_buffer: Shape,
    lr: object = 1e-2,
    alpha: object = 0.99,
    eps: object = 1e-8,
    weight_decay: object = 0.0,
    momentum: object = 0.0,
    maximize: object = False,
) -> Plan:
    """A step of torch.optim.RMSprop(centered=True): the new parameter, running square and mean, and momentum buffer.

    As `rmsprop_step`, with the variance square_avg - grad_avg^2 under the root. Where rounding makes that negative
    its magnitude is taken, where torch has NaN.
    """
    inputs = {
        "parameter": ("p", parameter),
        "gradient": ("g", gradient),
        "square_avg": ("v", square_avg),
        "grad_avg": ("a", grad_avg),
        "momentum_buffer": ("m", momentum_buffer),
    }
    reals = common(lr, weight_decay, maximize)
    reals |= {"alpha": real("alpha", alpha), "eps": real("eps", eps), "mu": real("momentum", momentum)}
    outputs = {"output": "y", "square_avg": "w", "grad_avg": "c", "momentum_buffer": "b"}
    return pointwise(spec, inputs, outputs, reals)


def corrected(
    lr: object,
    betas: object,
    eps: object,
    weight_decay: object,
    decoupled: object,
    maximize: object,
    step: object,
) -> dict[str, float]:
    """What Adam's formula needs as numbers, from the options and the number of the step (the first is 1)."""
    pair = entries(betas)
    if pair is None or len(pair) != 2:
        raise ArgumentError(f"`betas` is {shown(betas)} but needs two numbers")
    beta, beta2 = (real(f"betas[{k}]", b) for k, b in enumerate(pair))
    for k, b in enumerate((beta, beta2)):
        if not 0 <= b < 1:
            raise ArgumentError(f"`betas[{k}]` is {b} but needs 0 <= beta < 1")
    count = positive("step", step)
    reals = common(lr, weight_decay, maximize)
    if flag("decoupled", decoupled):
        reals |= {"keep": 1 - reals["rate"] * reals["decay"], "decay": 0.0}
    else:
        reals["keep"] = 1.0
    reals["rate"] /= 1 - beta**count
    return reals | {
        "beta": beta,
        "beta2": beta2,
        "eps": real("eps", eps),
        "unbias": math.sqrt(1 - beta2**count),
    }


def adam_step(
    spec: Spec,
    parameter: Shape,
    gradient: Shape,
    exp_avg: Shape,
    exp_avg_sq: Shape,
    step: object = 1,
    lr: object = 1e-3,
    betas: object = (0.9, 0.999),
    eps: object = 1e-8,
    weight_decay: object = 0.0,
    decoupled: object = False,
    maximize: object = False,
) -> Plan:
    """A step of torch.optim.Adam, or AdamW: the new parameter, running mean, and running square.

        d = gradient + weight_decay * parameter
        exp_avg = exp_avg + (1 - beta1) * (d - exp_avg)
        exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * d^2
        parameter = parameter - lr / (1 - beta1^step) * exp_avg / (sqrt(exp_avg_sq / (1 - beta2^step)) + eps)

    step       the number of this step, from 1
    decoupled  AdamW: the weight decay is no gradient, but parameter * (1 - lr * weight_decay) is stepped from
    """
    inputs = {
        "parameter": ("p", parameter),
        "gradient": ("g", gradient),
        "exp_avg": ("m", exp_avg),
        "exp_avg_sq": ("v", exp_avg_sq),
    }
    reals = corrected(lr, betas, eps, weight_decay, decoupled, maximize, step)
    return pointwise(spec, inputs, {"output": "y", "exp_avg": "b", "exp_avg_sq": "w"}, reals)


def amsgrad_step(
    spec: Spec,
    parameter: Shape,
    gradient: Shape,
    exp_avg: Shape,
    exp_avg_sq: Shape,
    max_exp_avg_sq: Shape,
    step: object = 1,
    lr: object = 1e-3,
    betas: object = (0.9, 0.999),
    eps: object = 1e-8,
    weight_decay: object = 0.0,
    decoupled: object = False,
    maximize: object = False,
) -> Plan:
    """A step of torch.optim.Adam(amsgrad=True), or AdamW: as `adam_step`, with the largest running square so far.

    Results: the new parameter, running mean, running square, and its maximum.
    """
    inputs = {
        "parameter": ("p", parameter),
        "gradient": ("g", gradient),
        "exp_avg": ("m", exp_avg),
        "exp_avg_sq": ("v", exp_avg_sq),
        "max_exp_avg_sq": ("h", max_exp_avg_sq),
    }
    reals = corrected(lr, betas, eps, weight_decay, decoupled, maximize, step)
    outputs = {"output": "y", "exp_avg": "b", "exp_avg_sq": "w", "max_exp_avg_sq": "k"}
    return pointwise(spec, inputs, outputs, reals)


def adagrad_step(
    spec: Spec,
    parameter: Shape,
    gradient: Shape,
    sum: Shape,
    step: object = 1,
    lr: object = 1e-2,
    lr_decay: object = 0.0,
    weight_decay: object = 0.0,
    eps: object = 1e-10,
    maximize: object = False,
) -> Plan:
    """A step of torch.optim.Adagrad: the new parameter, and sum of squares.

        d = gradient + weight_decay * parameter
        sum = sum + d^2
        parameter = parameter - lr / (1 + (step - 1) * lr_decay) * d / (sqrt(sum) + eps)

    step  the number of this step, from 1
    """
    inputs = {"parameter": ("p", parameter), "gradient": ("g", gradient), "sum": ("v", sum)}
    reals = common(lr, weight_decay, maximize) | {"eps": real("eps", eps)}
    reals["rate"] /= 1 + (positive("step", step) - 1) * real("lr_decay", lr_decay)
    return pointwise(spec, inputs, {"output": "y", "sum": "w"}, reals)


GRADIENT = {"parameter": "p", "gradient": "g"}
ADAPTERS = {
    "gd_step": Adapter(gd_step, GRADIENT),
    "sgd_step": Adapter(sgd_step, GRADIENT | {"momentum_buffer": "m"}),
    "rmsprop_step": Adapter(rmsprop_step, GRADIENT | {"square_avg": "v", "momentum_buffer": "m"}),
    "rmsprop_centered_step": Adapter(
        rmsprop_centered_step, GRADIENT | {"square_avg": "v", "grad_avg": "a", "momentum_buffer": "m"}
    ),
    "adam_step": Adapter(adam_step, GRADIENT | {"exp_avg": "m", "exp_avg_sq": "v"}),
    "amsgrad_step": Adapter(
        amsgrad_step, GRADIENT | {"exp_avg": "m", "exp_avg_sq": "v", "max_exp_avg_sq": "h"}
    ),
    "adagrad_step": Adapter(adagrad_step, GRADIENT | {"sum": "v"}),
}
