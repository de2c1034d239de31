"""What training needs besides gradients: optimizers, learning rates, initial values, dropout, input normalisation, stopping.

    optimizer = Adam(lr=1e-3)
    for step in range(steps):
        ...
        optimizer.step(network.parameters, pullback(g), lr=rate(step))

Parameters and gradients are dictionaries of arrays by name, as `kernels.network` has them. Nothing here knows networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import kernels
from kernels.arguments import Array, positive, real
from kernels.errors import ArgumentError, KernelError, StateError

Schedule = Callable[[int], float]  # the number of a step, from 0 -> its learning rate


# ------------------------------------------------------------------------------------- optimizers


@dataclass
class Optimizer:
    """Steps of one kind, in place, on parameters by name; what it keeps of each begins as zeros.

    `step(parameters, gradients, lr=None)` moves the parameters that have a gradient; `lr` is for this step alone.
    """

    lr: float = 1e-3
    weight_decay: float = 0.0
    maximize: bool = False
    states: dict[str, tuple[Array, ...]] = field(default_factory=dict, init=False)
    steps: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        for name in ("lr", "weight_decay", "momentum", "alpha", "lr_decay", "eps"):
            if (value := getattr(self, name, None)) is not None and not real(name, value) >= 0:
                raise ArgumentError(f"{type(self).__name__}: `{name}` is {value} but needs to be at least 0")

    def operator(self) -> tuple[Any, int]:
        """The operator of one step, and how many states it keeps."""
        raise NotImplementedError

    def options(self, step: int) -> dict[str, Any]:
        """Its options at a parameter's `step`, from 1, the learning rate aside."""
        return {"weight_decay": self.weight_decay, "maximize": self.maximize}

    def step(
        self,
        parameters: Mapping[str, Array],
        gradients: Mapping[str, Array],
        lr: float | None = None,
    ) -> None:
        """Move each parameter that has a gradient.

        Raises ArgumentError for a gradient of no parameter or a rate below 0, KernelError where an array cannot be
        written to; the parameter is named.
        """
        operator, count = self.operator()
        rate = real("lr", self.lr if lr is None else lr)
        if not rate >= 0:
            raise ArgumentError(f"`lr` is {rate} but needs to be at least 0; `maximize` goes the other way")
        for name, gradient in gradients.items():
            if name not in parameters:
                raise ArgumentError(f"`gradients` has {name!r}, which is no parameter")
            own = parameters[name]
            if name not in self.states:
                self.states[name] = tuple(np.zeros_like(own) for _ in range(count))
            kept = self.states[name]
            at = self.steps.get(name, 0) + 1
            out = (own, *kept) if kept else own
            try:
                operator(own, gradient, *kept, lr=rate, **self.options(at), out=out)
            except KernelError as error:
                raise error.within(f"parameter `{name}`") from None
            self.steps[name] = at

    def state(self) -> dict[str, Array]:
        """All that the next step depends on, as named arrays: `name.0`, ..., and `name.step`."""
        found = {f"{n}.{k}": a.copy() for n, kept in self.states.items() for k, a in enumerate(kept)}
        return found | {f"{n}.step": np.array(count) for n, count in self.steps.items()}

    def load_state(self, state: Mapping[str, Array]) -> None:
        """What `state` gave, for the same kind of optimizer. Raises StateError if a part of it is missing."""
        _, count = self.operator()
        given: object = state  # whatever a file held
        if not isinstance(given, Mapping) or not all(isinstance(n, str) for n in given):
            raise StateError(f"a state is arrays by name, found {type(state).__name__}")
        names = [n.removesuffix(".step") for n in state if n.endswith(".step")]
        wanted = {f"{n}.{k}" for n in names for k in range(count)} | {f"{n}.step" for n in names}
        if wanted != set(state):
            differing = ", ".join(sorted(wanted ^ set(state)))
            raise StateError(f"this state is of another optimizer: {differing} is missing or unexpected")
        for n in names:
            found = np.asarray(state[f"{n}.step"])
            if found.shape or found.dtype.kind not in "iu" or found < 0:
                raise StateError(
                    f"`{n}.step` is {state[f'{n}.step']!r:.60} but needs to be a whole number >= 0"
                )
        self.states = {n: tuple(np.array(state[f"{n}.{k}"]) for k in range(count)) for n in names}
        self.steps = {n: int(state[f"{n}.step"]) for n in names}


@dataclass
class SGD(Optimizer):
    """Gradient descent, with momentum if it is not 0: torch.optim.SGD."""

    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and (self.momentum <= 0 or self.dampening != 0):
            raise ArgumentError("nesterov needs a momentum, and no dampening")

    def operator(self) -> tuple[Any, int]:
        return (kernels.sgd_step, 1) if self.momentum else (kernels.gd_step, 0)

    def options(self, step: int) -> dict[str, Any]:
        options = super().options(step)
        if self.momentum:  # torch's buffer begins as the first gradient, undamped
            damp = 0.0 if step == 1 else self.dampening
            options |= {"momentum": self.momentum, "dampening": damp, "nesterov": self.nesterov}
        return options


@dataclass
class RMSprop(Optimizer):
    """torch.optim.RMSprop."""

    lr: float = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    centered: bool = False

    def operator(self) -> tuple[Any, int]:
        return (kernels.rmsprop_centered_step, 3) if self.centered else (kernels.rmsprop_step, 2)

    def options(self, step: int) -> dict[str, Any]:
        return super().options(step) | {"alpha": self.alpha, "eps": self.eps, "momentum": self.momentum}


@dataclass
class Adam(Optimizer):
    """torch.optim.Adam."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    amsgrad: bool = False

    def operator(self) -> tuple[Any, int]:
        return (kernels.amsgrad_step, 3) if self.amsgrad else (kernels.adam_step, 2)

    def options(self, step: int) -> dict[str, Any]:
        return super().options(step) | {"step": step, "betas": self.betas, "eps": self.eps}


@dataclass
class AdamW(Adam):
    """torch.optim.AdamW: Adam whose weight decay shrinks the parameters and is no gradient."""

    weight_decay: float = 1e-2

    def options(self, step: int) -> dict[str, Any]:
        return super().options(step) | {"decoupled": True}


@dataclass
class Adagrad(Optimizer):
    """torch.optim.Adagrad."""

    lr: float = 1e-2
    lr_decay: float = 0.0
    eps: float = 1e-10

    def operator(self) -> tuple[Any, int]:
        return kernels.adagrad_step, 1

    def options(self, step: int) -> dict[str, Any]:
        return super().options(step) | {"step": step, "lr_decay": self.lr_decay, "eps": self.eps}


def clip_norm(gradients: Mapping[str, Array], most: float) -> dict[str, Array]:
    """The gradients, divided so that all of them together have a norm of at most `most`: torch's clip_grad_norm_.

    The norm is worked out in float64. Nothing is written to; gradients that need no division are given back as they are.
    """
    if not most > 0:
        raise ArgumentError(f"`most` is {most} but needs to be greater than 0")
    norm = math.sqrt(sum(float(np.square(g, dtype=np.float64).sum()) for g in gradients.values()))
    if not norm > most:
        return dict(gradients)
    return {name: g * g.dtype.type(most / norm) for name, g in gradients.items()}


# ------------------------------------------------------------------------------------ schedules


def constant(lr: float) -> Schedule:
    return lambda step: lr


def step_decay(lr: float, every: int, gamma: float = 0.1) -> Schedule:
    """lr, times gamma after `every` steps, and so on: torch's StepLR."""
    positive("every", every)
    return lambda step: lr * gamma ** (step // every)


def milestones(lr: float, at: Sequence[int], gamma: float = 0.1) -> Schedule:
    """lr, times gamma from each of these steps on: torch's MultiStepLR."""
    return lambda step: lr * gamma ** sum(step >= n for n in at)


def exponential(lr: float, gamma: float) -> Schedule:
    """lr * gamma^step: torch's ExponentialLR."""
    return lambda step: lr * gamma**step


def cosine(lr: float, steps: int, least: float = 0.0) -> Schedule:
    """From lr to `least` in so many steps along half a cosine, and then `least`."""
    positive("steps", steps)
    return lambda step: least + (lr - least) * (1 + math.cos(math.pi * min(step, steps) / steps)) / 2


def warm_up(schedule: Schedule, steps: int, first: float = 0.0) -> Schedule:
    """A schedule times a factor that goes from `first` to 1 along a line in so many steps."""
    return lambda step: schedule(step) * (1.0 if step >= steps else first + (1 - first) * step / steps)


def chained(*parts: tuple[Schedule, int], last: Schedule) -> Schedule:
    """One schedule for so many steps, then the next, each counting from 0; then `last`."""

    def rate(step: int) -> float:
        for schedule, steps in parts:
            if step < steps:
                return schedule(step)
            step -= steps
        return last(step)

    return rate


@dataclass
class Plateau:
    """A rate that falls when a loss no longer does: torch's ReduceLROnPlateau.

        rate = Plateau(0.1, patience=3)
        for epoch in range(epochs):
            ...                      # steps with lr=rate.lr
            rate(held_out_loss)

    The rate is multiplied by gamma after more than `patience` losses in a row that are not below the best one by a part
    of `threshold` of it. A NaN is no improvement.
    """

    lr: float
    patience: int = 10
    gamma: float = 0.1
    threshold: float = 1e-4
    least: float = 0.0
    best: float = math.inf
    waited: int = 0

    def __call__(self, loss: float) -> float:
        """Observe a loss; the rate from now on."""
        if loss < self.best * (1 - self.threshold):
            self.best, self.waited = loss, 0
        else:
            self.waited += 1
        if self.waited > self.patience:
            self.lr, self.waited = max(self.lr * self.gamma, self.least), 0
        return self.lr


# ---------------------------------------------------------------------------------- initial values

GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}


def gain(activation: str, slope: float = 0.01) -> float:
    """How much larger weights are before an activation, so that values keep their size: torch's calculate_gain.

    `slope` is that of "leaky_relu" below 0.
    """
    if activation == "leaky_relu":
        return math.sqrt(2 / (1 + slope**2))
    if activation not in GAINS:
        raise ArgumentError(
            f"`activation` is {activation!r} but needs one of {', '.join([*GAINS, 'leaky_relu'])}"
        )
    return GAINS[activation]


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many inputs and outputs an element of weights (out, in, *kernel) has."""
    if len(shape) < 2:
        raise ArgumentError(f"weights have at least 2 axes, (out, in, *kernel), found shape {shape}")
    taps = math.prod(shape[2:])
    return shape[1] * taps, shape[0] * taps


def normal(
    rng: np.random.Generator, shape: tuple[int, ...], deviation: float, dtype: Any = np.float32
) -> Array:
    return (rng.standard_normal(shape) * deviation).astype(dtype)


def uniform(rng: np.random.Generator, shape: tuple[int, ...], bound: float, dtype: Any = np.float32) -> Array:
    return rng.uniform(-bound, bound, shape).astype(dtype)


def glorot_normal(
    rng: np.random.Generator, shape: tuple[int, ...], gain: float = 1.0, dtype: Any = np.float32
) -> Array:
    """Deviation gain * sqrt(2 / (fan in + fan out)): Glorot and Bengio, 2010; torch's xavier_normal_."""
    return normal(rng, shape, gain * math.sqrt(2 / sum(fans(shape))), dtype)


def glorot_uniform(
    rng: np.random.Generator, shape: tuple[int, ...], gain: float = 1.0, dtype: Any = np.float32
) -> Array:
    """Within gain * sqrt(6 / (fan in + fan out)) of 0: torch's xavier_uniform_."""
    return uniform(rng, shape, gain * math.sqrt(6 / sum(fans(shape))), dtype)


def he_normal(
    rng: np.random.Generator, shape: tuple[int, ...], gain: float = math.sqrt(2), dtype: Any = np.float32
) -> Array:
    """Deviation gain / sqrt(fan in): He and others, 2015; torch's kaiming_normal_. The gain is that of ReLU."""
    return normal(rng, shape, gain / math.sqrt(fans(shape)[0]), dtype)


def he_uniform(
    rng: np.random.Generator, shape: tuple[int, ...], gain: float = math.sqrt(2), dtype: Any = np.float32
) -> Array:
    """Within gain * sqrt(3 / fan in) of 0: torch's kaiming_uniform_."""
    return uniform(rng, shape, gain * math.sqrt(3 / fans(shape)[0]), dtype)


# ----------------------------------------------------------------------------------------- dropout


@dataclass(frozen=True)
class Dropout:
    """A layer that drops elements at random while a network is trained, and else does nothing: torch.nn.Dropout.

        node(Dropout(rng, 0.5)), and network.vjp(images, training=True)

    p     how probable it is that an element is dropped; what stays is multiplied by 1 / (1 - p)
    axes  None: each element by itself; 2: whole channels of one sample, as torch.nn.Dropout2d does

    The operator is `kernels.dropout`, which takes a mask; this draws it, anew in each call.
    """

    rng: np.random.Generator
    p: float = 0.5
    axes: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ArgumentError(f"`p` is {self.p} but needs to be between 0 and 1")

    def mask(self, input: Array) -> Array:
        """1 where an element stays, 0 where it is dropped."""
        axes = input.ndim if self.axes is None else self.axes
        shape = (*input.shape[:axes], *(1,) * (input.ndim - axes))
        stays = (self.rng.random(shape) >= self.p).astype(input.dtype)
        return np.broadcast_to(stays, input.shape)

    def __call__(self, input: Array, training: bool = False) -> Array:
        result: Array = kernels.dropout(input, self.mask(input), self.p) if training else input
        return result

    def vjp(
        self, input: Array, training: bool = False, *, wrt: Sequence[str] = ("input",)
    ) -> tuple[Array, Callable[[Any], tuple[Any]]]:
        if not training:
            return input, lambda cotangent: (cotangent,)
        y, pullback = kernels.dropout.vjp(input, self.mask(input), self.p, wrt="input")
        return y, lambda cotangent: (pullback(cotangent)[0],)


# -------------------------------------------------------------------------------------------- data


@dataclass(frozen=True)
class Normalisation:
    """(images - mean) / deviation for each channel, axis 1. Of integers, as files have them, the result is float32."""

    mean: Array
    deviation: Array

    @classmethod
    def of(cls, images: Array) -> Normalisation:
        """Mean and deviation of each channel over everything else, in float64; a constant channel is left as it is."""
        axes = (0, *range(2, images.ndim))
        deviation = images.std(axes, dtype=np.float64)
        return cls(images.mean(axes, dtype=np.float64), np.where(deviation > 0, deviation, 1.0))

    def __call__(self, images: Array) -> Array:
        shape = (1, -1, *(1,) * (images.ndim - 2))
        images = images if images.dtype.kind == "f" else images.astype(np.float32)
        mean, scale = (a.reshape(shape).astype(images.dtype) for a in (self.mean, self.deviation))
        normalised: Array = (images - mean) / scale
        return normalised


@dataclass
class EarlyStopping:
    """Stop when a loss has not fallen by more than `least` for `patience` observations; keeps the best state.

        stop = EarlyStopping(patience=5)
        if stop(loss, network.state()):  # running statistics, too; of a network without, network.parameters will do
            network.load_state(stop.state)

    A NaN is no improvement.
    """

    patience: int
    least: float = 0.0
    best: float = math.inf
    state: dict[str, Array] | None = None
    waited: int = 0

    def __call__(self, loss: float, parameters: Mapping[str, Array]) -> bool:
        """Observe a loss; whether it is time to stop."""
        if loss < self.best - self.least:
            self.best, self.waited = loss, 0
            self.state = {name: array.copy() for name, array in parameters.items()}
        else:
            self.waited += 1
        return self.waited >= self.patience

    def restore(self, parameters: MutableMapping[str, Array]) -> None:
        """Put the best state back."""
        if self.state is None:
            raise StateError("no loss was observed that is less than infinity")
        for name, array in self.state.items():
            parameters[name] = array.copy()
