"""Optimizers, schedules, initial values, normalisation, early stopping: against formulas in NumPy, and torch.optim."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import kernels
from kernels.errors import ArgumentError, KernelError, ShapeError, StateError
from kernels.training import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    EarlyStopping,
    Normalisation,
    Plateau,
    RMSprop,
    chained,
    clip_norm,
    constant,
    cosine,
    exponential,
    fans,
    gain,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    milestones,
    step_decay,
    warm_up,
)

RNG = np.random.default_rng(0)


def halves(*shape: int) -> np.ndarray:
    """Multiples of 1/8: sums and products of a few of them are exact."""
    return RNG.integers(-16, 17, shape) / 8


# ------------------------------------------------------------------------------------- optimizers


def test_gradient_descent_is_exact():
    p, g = halves(3, 5), halves(3, 5)
    expected = p - 0.25 * (g + 0.5 * p)
    own = {"w": p}
    SGD(lr=0.25, weight_decay=0.5).step(own, {"w": g})
    assert own["w"] is p  # in place
    assert np.array_equal(p, expected)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_is_exact(nesterov):
    p, m = halves(7), np.zeros(7)
    own, optimizer = {"w": p.copy()}, SGD(lr=0.25, momentum=0.5, nesterov=nesterov)
    for _ in range(3):
        g = halves(7)
        m = 0.5 * m + g
        p = p - 0.25 * (g + 0.5 * m if nesterov else m)
        optimizer.step(own, {"w": g})
        assert np.array_equal(own["w"], p)
    assert np.array_equal(optimizer.state()["w.0"], m)


def test_adam_is_its_formula():
    p, m, v = halves(20), np.zeros(20), np.zeros(20)
    own, optimizer = {"w": p.copy()}, Adam(lr=0.1, betas=(0.8, 0.9), weight_decay=0.1)
    for t in range(1, 6):
        g = halves(20)
        d = g + 0.1 * p
        m, v = 0.8 * m + 0.2 * d, 0.9 * v + 0.1 * d**2
        p = p - 0.1 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.9**t)) + 1e-8)
        optimizer.step(own, {"w": g})
    # a few roundings in each of five steps, of numbers of size 1
    assert np.allclose(own["w"], p, rtol=0, atol=1e-14)


def test_only_what_has_a_gradient_moves_and_a_step_may_have_its_own_rate():
    own = {"a": np.ones(3), "b": np.ones(3)}
    SGD(lr=1.0).step(own, {"a": np.ones(3)}, lr=0.25)
    assert own["a"].tolist() == [0.75] * 3
    assert own["b"].tolist() == [1] * 3
    with pytest.raises(ArgumentError, match="`gradients` has 'c', which is no parameter"):
        SGD().step(own, {"c": np.ones(3)})
    with pytest.raises(KernelError, match="gd_step: `gradient` has shape"):
        SGD().step(own, {"a": np.ones(4)})
    for make in (SGD, RMSprop, Adam, AdamW, Adagrad):
        with pytest.raises(
            ArgumentError, match=f"{make.__name__}: `weight_decay` is -0.1 but needs to be at least 0"
        ):
            make(weight_decay=-0.1)
    with pytest.raises(ArgumentError, match="SGD: `momentum` is -1 but needs to be at least 0"):
        SGD(momentum=-1)
    with pytest.raises(ArgumentError, match="nesterov needs a momentum"):
        SGD(nesterov=True)


def test_a_state_goes_on_where_it_was():
    first, second = Adam(lr=0.1), Adam(lr=0.1)
    a = {"w": halves(5)}
    gradients = [halves(5) for _ in range(4)]
    for g in gradients[:2]:
        first.step(a, {"w": g})
    b = {"w": a["w"].copy()}
    second.load_state(first.state())
    for g in gradients[2:]:
        first.step(a, {"w": g})
        second.step(b, {"w": g})
    assert np.array_equal(a["w"], b["w"])
    with pytest.raises(StateError, match=r"of another optimizer: w\.1 is missing or unexpected"):
        SGD(momentum=0.9).load_state(first.state())


KINDS = [
    ("SGD", SGD, {"lr": 0.1, "weight_decay": 0.01}),
    ("SGD", SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("RMSprop", RMSprop, {"weight_decay": 0.1}),
    ("RMSprop", RMSprop, {"momentum": 0.9, "centered": True}),
    ("Adam", Adam, {"weight_decay": 0.1}),
    ("Adam", Adam, {"amsgrad": True, "betas": (0.8, 0.99), "maximize": True}),
    ("AdamW", AdamW, {"lr": 0.01, "weight_decay": 0.1}),
    ("AdamW", AdamW, {"amsgrad": True}),
    ("Adagrad", Adagrad, {"lr_decay": 0.01, "weight_decay": 0.1}),
]


@pytest.mark.external
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "ours", "options"), KINDS)
def test_a_hundred_steps_are_torchs(name, ours, options, dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    own = {"a": rng.standard_normal((5, 7)).astype(dtype), "b": rng.standard_normal(3).astype(dtype)}
    theirs = {n: torch.tensor(a.copy(), requires_grad=True) for n, a in own.items()}
    optimizer, other = ours(**options), getattr(torch.optim, name)(theirs.values(), foreach=False, **options)
    # each step rounds a few times; a first step of lr * sign(g) may differ where g is next to 0, but not by more
    tolerance = 100 * 8 * np.finfo(dtype).eps
    for _ in range(100):
        gradients = {n: rng.standard_normal(a.shape).astype(dtype) for n, a in own.items()}
        for n, g in gradients.items():
            theirs[n].grad = torch.tensor(g)
        other.step()
        optimizer.step(own, gradients)
        for n, a in own.items():
            b = theirs[n].detach().numpy()
            assert np.abs(a - b).max() <= tolerance * max(1, np.abs(b).max()), n


@pytest.mark.external
def test_the_tolerance_sees_another_formula():
    torch = pytest.importorskip("torch")
    own = {"a": np.ones(3)}
    theirs = torch.ones(3, dtype=torch.float64, requires_grad=True)
    other = torch.optim.Adam([theirs], weight_decay=0.1)
    optimizer = AdamW(weight_decay=0.1)
    for _ in range(3):
        theirs.grad = torch.full((3,), 0.5, dtype=torch.float64)
        other.step()
        optimizer.step(own, {"a": np.full(3, 0.5)})
    assert np.abs(own["a"] - theirs.detach().numpy()).max() > 1e-5


# -------------------------------------------------------------------------------------- schedules


def test_a_norm_is_clipped():
    gradients = {"a": np.array([3.0, 0]), "b": np.array([[4.0]])}
    clipped = clip_norm(gradients, 1.25)
    assert {name: g.tolist() for name, g in clipped.items()} == {"a": [0.75, 0], "b": [[1]]}
    assert gradients["a"][0] == 3
    assert clip_norm(gradients, 5)["a"] is gradients["a"]
    assert clip_norm({"a": np.full(3, 1e30, np.float32)}, 1.0)["a"].dtype == np.float32
    assert clip_norm({}, 1.0) == {}
    with pytest.raises(ArgumentError, match="`most` is 0 but needs to be greater than 0"):
        clip_norm(gradients, 0)


@pytest.mark.external
def test_a_clipped_norm_is_torchs():
    torch = pytest.importorskip("torch")
    gradients = {name: RNG.standard_normal((3, 4)) for name in "ab"}
    parameters = [torch.nn.Parameter(torch.zeros(3, 4, dtype=torch.float64)) for _ in gradients]
    for p, g in zip(parameters, gradients.values(), strict=True):
        p.grad = torch.tensor(g)
    torch.nn.utils.clip_grad_norm_(parameters, 0.5)
    for p, g in zip(parameters, clip_norm(gradients, 0.5).values(), strict=True):
        assert np.abs(p.grad.numpy() - g).max() < 1e-6  # torch divides by the norm + 1e-6


@pytest.mark.external
def test_a_plateau_is_torchs():
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], 1.0)
    options = {"patience": 1, "threshold": 0.125}
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, min_lr=0.1, **options)
    ours = Plateau(1.0, gamma=0.5, least=0.1, **options)
    losses = [4, 3, 2.75, 2.625, 2, 2, math.nan, 2, 1, *[1] * 20]
    found = []
    for loss in losses:
        theirs.step(loss)
        found.append(ours(loss))
        assert found[-1] == optimizer.param_groups[0]["lr"]
    assert found[3] == 0.5
    assert found[-1] == 0.1


def test_schedules():
    assert [step_decay(1.0, 2, 0.5)(k) for k in range(5)] == [1, 1, 0.5, 0.5, 0.25]
    assert [exponential(1.0, 0.5)(k) for k in range(3)] == [1, 0.5, 0.25]
    half = cosine(2.0, 4, 1.0)
    assert [round(half(k), 12) for k in (0, 2, 4, 9)] == [2, 1.5, 1, 1]
    assert [warm_up(constant(1.0), 4)(k) for k in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]
    assert [warm_up(exponential(1.0, 0.5), 2, 0.5)(k) for k in range(3)] == [0.5, 0.375, 0.25]
    both = chained((constant(1.0), 2), (exponential(1.0, 0.5), 2), last=constant(0.0))
    assert [both(k) for k in range(6)] == [1, 1, 1, 0.5, 0, 0]


@pytest.mark.external
def test_schedules_are_torchs():
    torch = pytest.importorskip("torch")
    scheduler = torch.optim.lr_scheduler
    for ours, make in (
        (step_decay(0.1, 3, 0.5), lambda o: scheduler.StepLR(o, 3, 0.5)),
        (milestones(0.1, (2, 5, 5, 9), 0.5), lambda o: scheduler.MultiStepLR(o, [2, 5, 5, 9], 0.5)),
        (exponential(0.1, 0.9), lambda o: scheduler.ExponentialLR(o, 0.9)),
        (cosine(0.1, 20, 0.01), lambda o: scheduler.CosineAnnealingLR(o, 20, 0.01)),
        (warm_up(constant(0.1), 5, 0.2), lambda o: scheduler.LinearLR(o, 0.2, 1.0, 5)),
    ):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        theirs = make(optimizer)
        for k in range(20):
            # torch multiplies its way along, twenty roundings
            assert math.isclose(ours(k), theirs.get_last_lr()[0], rel_tol=1e-12), k
            optimizer.step()
            theirs.step()


# ---------------------------------------------------------------------------------- initial values


@pytest.mark.parametrize(
    ("make", "deviation"),
    [
        (glorot_normal, math.sqrt(2 / (300 + 450))),
        (glorot_uniform, math.sqrt(2 / (300 + 450))),
        (he_normal, math.sqrt(2 / 300)),
        (he_uniform, math.sqrt(2 / 300)),
    ],
)
def test_initial_values_have_their_deviation(make, deviation):
    array = make(np.random.default_rng(0), (150, 100, 3))
    assert array.dtype == np.float32
    # of 45,000 samples the deviation is known to some 0.4 %, the mean to 0.5 % of it
    assert math.isclose(array.std(), deviation, rel_tol=0.02)
    assert abs(array.mean()) < 0.02 * deviation
    if "uniform" in make.__name__:
        assert np.abs(array).max() <= np.float32(deviation * math.sqrt(3)) * (1 + 1e-6)


def test_fans_and_gains():
    assert fans((8, 3, 5, 5)) == (75, 200)
    assert gain("relu") == math.sqrt(2)
    assert gain("leaky_relu", 1.0) == 1
    with pytest.raises(ArgumentError, match=r"found shape \(3,\)"):
        fans((3,))
    with pytest.raises(ArgumentError, match="`activation` is 'step' but needs one of linear"):
        gain("step")


@pytest.mark.external
def test_gains_are_torchs():
    torch = pytest.importorskip("torch")
    for name in ("linear", "sigmoid", "tanh", "relu", "selu"):
        assert math.isclose(gain(name), torch.nn.init.calculate_gain(name))
    assert math.isclose(gain("leaky_relu", 0.2), torch.nn.init.calculate_gain("leaky_relu", 0.2))


# -------------------------------------------------------------------------------------------- data


def test_normalisation():
    images = (RNG.standard_normal((50, 3, 4, 5)) * [[[[2]], [[3]], [[0]]]] + 7).astype(np.float32)
    made = Normalisation.of(images)(images)
    assert made.dtype == np.float32
    # a mean of a thousand float32 numbers of size 10 is rounded to about 1e-6 of them
    assert np.allclose(made.mean((0, 2, 3)), 0, atol=1e-5)
    assert np.allclose(made.std((0, 2, 3)), [1, 1, 0], atol=1e-5)


def test_images_of_bytes_are_normalised_without_wrapping():
    """100 - 200 is 156 in uint8."""
    images = np.array([100, 200, 200, 100], np.uint8).reshape(2, 1, 2, 1).repeat(2, 3)
    made = Normalisation.of(images)(images)
    assert made.dtype == np.float32
    assert made[0, 0].tolist() == [[-1, -1], [1, 1]]


def test_early_stopping_keeps_the_best():
    parameters = {"w": np.zeros(2)}
    stop = EarlyStopping(patience=2, least=0.1)
    seen = []
    for k, loss in enumerate((3.0, 2.0, 1.95, math.nan, 0.0)):
        parameters["w"][:] = k
        seen.append(stop(loss, parameters))
        if seen[-1]:
            break
    assert seen == [False, False, False, True]
    assert (stop.best, stop.waited) == (2.0, 2)
    stop.restore(parameters)
    assert parameters["w"].tolist() == [1, 1]
    with pytest.raises(StateError, match="no loss was observed"):
        EarlyStopping(patience=1).restore(parameters)


def test_a_step_that_cannot_be_names_the_parameter_and_does_not_count():
    own, adam = {"a": np.zeros(3), "b": np.zeros(3)}, Adam()
    with pytest.raises(ShapeError, match=r"^parameter `b`: adam_step: `gradient` has shape \(2,\)"):
        adam.step(own, {"b": np.ones(2)})
    assert "b" not in adam.steps
    with pytest.raises(ArgumentError, match=r"`lr` is -1\.0 but needs to be at least 0; `maximize`"):
        adam.step(own, {"a": np.ones(3)}, lr=-1)
    with pytest.raises(ArgumentError, match="`lr` is nan but needs to be"):
        Adam(lr=math.nan).step(own, {"a": np.ones(3)})
    with pytest.raises(ArgumentError, match="`steps` is 0 but needs to be at least 1"):
        cosine(0.1, 0)
    with pytest.raises(ArgumentError, match="`every` is 0 but needs to be at least 1"):
        step_decay(0.1, 0)


def test_steps_refuse_what_makes_no_sense():
    p = np.zeros(3)
    with pytest.raises(ArgumentError, match=r"adam_step: `betas\[1\]` is 1\.0 but needs 0 <= beta < 1"):
        kernels.adam_step(p, p, p, p, betas=(0.9, 1.0))
    with pytest.raises(ArgumentError, match="adam_step: `step` is 0 but needs to be at least 1"):
        kernels.adam_step(p, p, p, p, step=0)
    with pytest.raises(ArgumentError, match="adam_step: `betas` is 0.9 but needs two numbers"):
        kernels.adam_step(p, p, p, p, betas=0.9)


@pytest.mark.parametrize("step", [np.array("x"), np.array(np.nan), np.arange(3), np.array(-1)])
def test_a_damaged_state_is_told(step: Any) -> None:
    with pytest.raises(StateError, match="`a.step` is .* but needs to be a whole number"):
        Adam().load_state({"a.0": np.zeros(2), "a.1": np.zeros(2), "a.step": step})
    with pytest.raises(StateError, match="a state is arrays by name, found list"):
        Adam().load_state([])  # type: ignore[arg-type]
