"""Normalisations, with torch's signatures.

A variance is the mean of squared distances from the mean, worked out after the mean: it loses no digits where the mean is
large. It is that of the entries themselves (a divisor N), as in torch; running variances take the unbiased one (N - 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from kernels.adapter import Adapter, Layout, Plan, Spec, Variants, reshaped, same
from kernels.arguments import Array, Shape, entries, flag, integer, positive, real
from kernels.errors import ArgumentError, ShapeError

View = Callable[[Array], Array]


def batch_norm(
    spec: Spec,
    input: Shape,
    running_mean: Shape | None = None,
    running_var: Shape | None = None,
    weight: Shape | None = None,
    bias: Shape | None = None,
    training: object = False,
    momentum: object = 0.1,
    eps: object = 1e-5,
) -> Plan:
    """(input - mean) / sqrt(var + eps) * weight + bias in each channel: torch.nn.functional.batch_norm on NumPy arrays.

    input                      (N, C) or (N, C, *spatial)
    running_mean, running_var  (C,); the mean and the variance, unless `training`, and then they may be None
    weight, bias               (C,), or None for 1 and 0
    training                   take mean and variance of the batch, over N and all positions
    momentum                   the part that the batch has in the new running statistics
    eps                        a number, added to the variance

    Nothing is written to. In training with running statistics the result is (output, running_mean, running_var): the
    caller keeps the new ones, (1 - momentum) * running + momentum * (the mean, or the unbiased variance, of the batch).
    torch returns the output alone and overwrites its arguments. All three can be differentiated. A batch of one entry
    a channel has no variance and is an error in training. Ioffe and Szegedy 2015, arXiv:1502.03167.
    """
    channels, see = channelled(input)
    if running_mean is None or running_var is None:
        raise ArgumentError("`running_mean` and `running_var` are needed, unless training=True")
    return by_running(spec, input, (running_mean, running_var), (weight, bias), channels, see, eps)


def batch_norm_training(
    spec: Spec,
    input: Shape,
    running_mean: Shape | None = None,
    running_var: Shape | None = None,
    weight: Shape | None = None,
    bias: Shape | None = None,
    training: object = True,
    momentum: object = 0.1,
    eps: object = 1e-5,
) -> Plan:
    channels, see = channelled(input)
    if math.prod(input) == channels:
        raise ShapeError(
            f"`input` has shape {input}: of one entry a channel there is no variance to train on"
        )
    return trained(spec, input, channels, (running_mean, running_var), (weight, bias), see, momentum, eps)


batch_norm_training.__doc__ = batch_norm.__doc__


def instance_norm(
    spec: Spec,
    input: Shape,
    running_mean: Shape | None = None,
    running_var: Shape | None = None,
    weight: Shape | None = None,
    bias: Shape | None = None,
    use_input_stats: object = True,
    momentum: object = 0.1,
    eps: object = 1e-5,
) -> Plan:
    """(input - mean) / sqrt(var + eps) * weight + bias in each plane: torch.nn.functional.instance_norm on NumPy arrays.

    input                      (N, C, *spatial)
    running_mean, running_var  (C,), or None
    weight, bias               (C,), or None for 1 and 0
    use_input_stats            or the running statistics, which are needed then, whatever the input: as in inference
    momentum, eps              as in batch_norm

    Mean and variance are of the positions of one channel of one sample. With running statistics the result is (output,
    running_mean, running_var), with the mean over the batch of each plane's mean and unbiased variance in the new ones;
    nothing is written to. With use_input_stats=False this is kernels.instance_norm_running, which has the output alone.
    Ulyanov, Vedaldi and Lempitsky 2016, arXiv:1607.08022.
    """
    flag("use_input_stats", use_input_stats)
    channels, see = planes(input)
    if math.prod(input[2:]) == 1:
        raise ShapeError(f"`input` has shape {input}: of one entry a plane there is no variance")
    return trained(spec, input, channels, (running_mean, running_var), (weight, bias), see, momentum, eps)


def instance_norm_running(
    spec: Spec,
    input: Shape,
    running_mean: Shape | None = None,
    running_var: Shape | None = None,
    weight: Shape | None = None,
    bias: Shape | None = None,
    use_input_stats: object = True,
    momentum: object = 0.1,
    eps: object = 1e-5,
) -> Plan:
    channels, see = planes(input)
    if running_mean is None or running_var is None:
        raise ArgumentError("`running_mean` and `running_var` are needed, unless use_input_stats=True")
    return by_running(spec, input, (running_mean, running_var), (weight, bias), channels, see, eps)


instance_norm_running.__doc__ = instance_norm.__doc__


def by_running(
    spec: Spec,
    input: Shape,
    running: tuple[Shape, Shape],
    scaling: tuple[Shape | None, Shape | None],
    channels: int,
    see: View,
    eps: object,
) -> Plan:
    """With statistics that are given."""
    inputs = (
        Layout("input", "x", input, see),
        *statistics(channels, *running, "mean", "var"),
        *affine(channels, *scaling),
    )
    outputs = (Layout("output", "y", input, see),)
    return Plan(inputs, outputs, spec.environment(inputs), {"eps": real("eps", eps)})


def trained(
    spec: Spec,
    input: Shape,
    channels: int,
    running: tuple[Shape | None, Shape | None],
    scaling: tuple[Shape | None, Shape | None],
    see: View,
    momentum: object,
    eps: object,
) -> Plan:
    """With statistics of the input, and new running ones if there are old ones."""
    old_mean, old_var = running
    inputs = [Layout("input", "x", input, see)]
    outputs = [Layout("output", "y", input, see)]
    if old_mean is not None and old_var is not None:
        inputs += statistics(channels, old_mean, old_var, "old_mean", "old_var")
        outputs += [Layout("running_mean", "new_mean", old_mean), Layout("running_var", "new_var", old_var)]
    elif old_mean is not None or old_var is not None:
        raise ArgumentError("`running_mean` and `running_var` are needed both, or none of them")
    inputs += affine(channels, *scaling)
    reals = {"eps": real("eps", eps), "momentum": real("momentum", momentum)}
    return Plan(tuple(inputs), tuple(outputs), spec.environment(inputs), reals)


def layer_norm(
    spec: Spec,
    input: Shape,
    normalized_shape: object,
    weight: Shape | None = None,
    bias: Shape | None = None,
    eps: object = 1e-5,
) -> Plan:
    """(input - mean) / sqrt(var + eps) * weight + bias in each row: torch.nn.functional.layer_norm on NumPy arrays.

    input             (*, *normalized_shape)
    normalized_shape  an integer, or as many as there are axes in a row: the last ones of `input`
    weight, bias      normalized_shape, or None for 1 and 0
    eps               a number, added to the variance

    Mean and variance are of a row: all entries with the same leading indices. Ba, Kiros and Hinton 2016,
    arXiv:1607.06450.
    """
    row = normalized(input, normalized_shape)
    see, flat = rows(input, row), reshaped(math.prod(row))
    inputs = [Layout("input", "x", input, see), scale("w", weight, row, flat)]
    if bias is not None:
        inputs.append(Layout("bias", "b", fitting("bias", bias, row), flat))
    return Plan(
        tuple(inputs),
        (Layout("output", "y", input, see),),
        spec.environment(inputs),
        {"eps": real("eps", eps)},
    )


def rms_norm(
    spec: Spec, input: Shape, normalized_shape: object, weight: Shape | None = None, eps: object = None
) -> Plan:
    """input / sqrt(mean(input^2) + eps) * weight in each row: torch.nn.functional.rms_norm on NumPy arrays.

    input             (*, *normalized_shape)
    normalized_shape  an integer, or as many as there are axes in a row: the last ones of `input`
    weight            normalized_shape, or None for 1
    eps               a number, added to the mean; None for the distance from 1 to the next number of the type of `input`

    Zhang and Sennrich 2019, arXiv:1910.07467.
    """
    row = normalized(input, normalized_shape)
    see = rows(input, row)
    inputs = Layout("input", "x", input, see), scale("w", weight, row, reshaped(math.prod(row)))
    small = float(np.finfo(spec.dtype).eps) if eps is None else real("eps", eps)
    return Plan(inputs, (Layout("output", "y", input, see),), spec.environment(inputs), {"eps": small})


def group_norm(
    spec: Spec,
    input: Shape,
    num_groups: object,
    weight: Shape | None = None,
    bias: Shape | None = None,
    eps: object = 1e-5,
) -> Plan:
    """(input - mean) / sqrt(var + eps) * weight + bias in groups of channels: torch.nn.functional.group_norm on NumPy arrays.

    input         (N, C, *spatial)
    num_groups    how many groups; it divides C
    weight, bias  (C,), or None for 1 and 0
    eps           a number, added to the variance

    Mean and variance are of all channels of a group and all positions, of one sample. Wu and He 2018, arXiv:1803.08494.
    """
    groups = positive("num_groups", num_groups)
    if len(input) < 2:
        raise ShapeError(f"`input` has {len(input)} axes but needs at least 2: (N, C, *spatial)")
    n, channels = input[:2]
    if channels % groups:
        raise ShapeError(f"`input` has {channels} channels, which `num_groups`, {groups}, does not divide")
    see = reshaped(n, groups, channels // groups, math.prod(input[2:]))
    pairs = reshaped(groups, channels // groups)
    inputs = [Layout("input", "x", input, see), scale("w", weight, (channels,), pairs)]
    if bias is not None:
        inputs.append(Layout("bias", "b", fitting("bias", bias, (channels,)), pairs))
    return Plan(
        tuple(inputs),
        (Layout("output", "y", input, see),),
        spec.environment(inputs),
        {"eps": real("eps", eps)},
    )


def local_response_norm(
    spec: Spec, input: Shape, size: object, alpha: object = 1e-4, beta: object = 0.75, k: object = 1.0
) -> Plan:
    """input / (k + alpha * m)^beta, m a mean of squares: torch.nn.functional.local_response_norm on NumPy arrays.

    input           (N, C, *spatial), with at least one spatial axis
    size            how many neighbouring channels, of which size // 2 come before: m is the sum over them / size,
                    and beyond the first and the last channel there are zeros
    alpha, beta, k  numbers

    Krizhevsky, Sutskever and Hinton 2012; they do not divide by size.
    """
    if len(input) < 3:
        raise ShapeError(f"`input` has {len(input)} axes but needs at least 3: (N, C, *spatial)")
    see = reshaped(*input[:2], math.prod(input[2:]))
    inputs = (Layout("input", "x", input, see),)
    reals = {"alpha": real("alpha", alpha), "beta": real("beta", beta), "k": real("k", k)}
    outputs = (Layout("output", "y", input, see),)
    return Plan(inputs, outputs, spec.environment(inputs, J=positive("size", size)), reals)


# ------------------------------------------------------------------------------------------ shapes


def channelled(input: Shape) -> tuple[int, View]:
    """How many channels there are, and (N, C, *spatial) seen as (N, C, positions)."""
    if len(input) < 2:
        raise ShapeError(f"`input` has {len(input)} axes but needs at least 2: (N, C, *spatial)")
    return input[1], reshaped(*input[:2], math.prod(input[2:]))


def planes(input: Shape) -> tuple[int, View]:
    if len(input) < 3:
        raise ShapeError(f"`input` has {len(input)} axes but needs at least 3: (N, C, *spatial)")
    return channelled(input)


def statistics(channels: int, mean: Shape, var: Shape, *names: str) -> tuple[Layout, Layout]:
    """Running mean and variance."""
    first, second = names
    return (
        Layout("running_mean", first, fitting("running_mean", mean, (channels,))),
        Layout("running_var", second, fitting("running_var", var, (channels,))),
    )


def affine(channels: int, weight: Shape | None, bias: Shape | None) -> tuple[Layout, ...]:
    """A weight and a bias a channel."""
    found = (scale("w", weight, (channels,)),)
    return found if bias is None else (*found, Layout("bias", "b", fitting("bias", bias, (channels,))))


def scale(tensor: str, weight: Shape | None, shape: Shape, see: View = same) -> Layout:
    """A weight, or ones in its place."""
    if weight is None:
        return Layout("weight", tensor, shape, see, fill=1.0)
    return Layout("weight", tensor, fitting("weight", weight, shape), see)


def fitting(name: str, shape: Shape, needed: Shape) -> Shape:
    if shape != needed:
        raise ShapeError(f"`{name}` has shape {shape} but needs {needed}")
    return shape


def normalized(input: Shape, value: object) -> Shape:
    """`normalized_shape`, which is that of the last axes."""
    given = entries(value)
    several = (value,) if given is None else given
    row = tuple(integer("normalized_shape", n, 0) for n in several)
    if not row:
        raise ArgumentError("`normalized_shape` has no entries but needs at least one")
    if input[-len(row) :] != row:
        raise ShapeError(
            f"`input` has shape {input} but needs (*, {', '.join(map(str, row))}): `normalized_shape` comes last"
        )
    return row


def rows(input: Shape, row: Shape) -> View:
    return reshaped(math.prod(input[: len(input) - len(row)]), math.prod(row))


CHANNELS = {"input": "x", "running_mean": "mean", "running_var": "var", "weight": "w", "bias": "b"}
TRAINED = {**CHANNELS, "running_mean": "old_mean", "running_var": "old_var"}
RUNNING = ("running_mean", "running_var")
ADAPTERS = {
    "batch_norm": Adapter(batch_norm, CHANNELS, buffers=RUNNING),
    "batch_norm_training": Adapter(batch_norm_training, TRAINED, fixed={"training": True}, buffers=RUNNING),
    "instance_norm": Adapter(instance_norm, TRAINED, buffers=RUNNING),
    "instance_norm_running": Adapter(
        instance_norm_running,
        CHANNELS,
        fixed={"use_input_stats": False},
        definition="batch_norm",
        buffers=RUNNING,
    ),
    "layer_norm": Adapter(layer_norm, {"input": "x", "weight": "w", "bias": "b"}),
    "group_norm": Adapter(group_norm, {"input": "x", "weight": "w", "bias": "b"}),
    "rms_norm": Adapter(rms_norm, {"input": "x", "weight": "w"}),
    "local_response_norm": Adapter(local_response_norm, {"input": "x"}),
}
VARIANTS = {
    "batch_norm": Variants("training", {True: "batch_norm_training"}),
    "instance_norm": Variants("use_input_stats", {False: "instance_norm_running"}),
}
