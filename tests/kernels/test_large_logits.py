"""Logits about 1e4, in float32: nothing overflows, and no digit is lost but those of the result's own rounding.

References are worked out in float64 from the same float32 numbers. A sum of `CLASSES` exponentials in float32 is wrong by some
units of the last place, and so may be all that is made of it.
"""

from __future__ import annotations

import numpy as np
import pytest

import kernels

ROWS, CLASSES = 33, 40
UNITS = (
    2**-20
)  # eight of the last place: an exponential, a sum of 40, a logarithm or a quotient round by a few
SLOW = pytest.mark.slow


def logits(spread=3.0):
    """Rows about +-1e4 whose entries differ by what a softmax sees."""
    rng = np.random.default_rng(5)
    far = rng.choice([-1e4, 1e4], (ROWS, 1))
    return (far + spread * rng.standard_normal((ROWS, CLASSES))).astype(np.float32)


def probabilities(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def close(found, wanted):
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=UNITS, atol=UNITS)


def test_log_softmax():
    x = logits()
    y, pullback = kernels.log_softmax.vjp(x)
    p = probabilities(x.astype(float))
    close(y, np.log(p))
    gy = np.random.default_rng(6).standard_normal(x.shape).astype(np.float32)
    close(pullback(gy)[0], gy - p * gy.astype(float).sum(1, keepdims=True))


def classes():
    return np.random.default_rng(7).integers(0, CLASSES, ROWS)


def check_cross_entropy(name, target, hot, **options):
    x = logits()
    p = probabilities(x.astype(float))
    losses, pullback = getattr(kernels, name).vjp(x, target, reduction="none", **options)
    close(losses, -(hot * np.log(p)).sum(1))
    close(pullback(np.ones(ROWS, np.float32))[0], p * hot.sum(1, keepdims=True) - hot)
    mean = getattr(kernels, name)(x, target, **options)
    close(mean, -(hot * np.log(p)).sum(1).mean())


def test_cross_entropy():
    check_cross_entropy("cross_entropy", classes(), np.eye(CLASSES)[classes()])


@SLOW
def test_cross_entropy_weighted():
    hot = 0.9 * np.eye(CLASSES)[classes()] + 0.1 / CLASSES
    check_cross_entropy("cross_entropy_weighted", classes(), hot, label_smoothing=0.1)


@SLOW
def test_cross_entropy_of_probabilities():
    target = probabilities(np.random.default_rng(8).standard_normal((ROWS, CLASSES))).astype(np.float32)
    check_cross_entropy("cross_entropy_probabilities", target, target.astype(float))


@SLOW
@pytest.mark.parametrize("name", ["softmax", "softmin"])
def test_softmax(name):
    x = logits()
    y, pullback = getattr(kernels, name).vjp(x, 1)
    sign = 1 if name == "softmax" else -1
    p = probabilities(sign * x.astype(float))
    close(y, p)
    gy = np.random.default_rng(6).standard_normal(x.shape)
    close(pullback(gy.astype(np.float32))[0], sign * p * (gy - (p * gy).sum(1, keepdims=True)))


def softplus(u):
    return np.maximum(u, 0) + np.log1p(np.exp(-np.abs(u)))


def sigmoid(u):
    return np.exp(-softplus(-u))


SWEEP = np.concatenate([np.linspace(-30, 30, 601), [-1e4, -100, 100, 1e4, -3e38, 3e38]]).astype(np.float32)
U = SWEEP.astype(float)


@SLOW
@pytest.mark.parametrize(
    ("name", "options", "value", "slope"),
    [
        ("softplus", {"threshold": 1e9}, softplus(U), sigmoid(U)),
        ("logsigmoid", {}, -softplus(-U), sigmoid(-U)),
        ("sigmoid", {}, sigmoid(U), sigmoid(U) * sigmoid(-U)),
        ("softsign", {}, U / (1 + np.abs(U)), 1 / (1 + np.abs(U)) ** 2),
    ],
)
def test_pointwise(name, options, value, slope):
    with np.errstate(under="ignore"):
        y, pullback = getattr(kernels, name).vjp(SWEEP, **options)
        close(y, value)
        close(pullback(np.ones_like(SWEEP))[0], slope)


@SLOW
def test_binary_cross_entropy_with_logits():
    t = np.random.default_rng(9).random(SWEEP.shape).astype(np.float32)
    y, pullback = kernels.binary_cross_entropy_with_logits.vjp(SWEEP, t, reduction="none", wrt="input")
    close(y, t * softplus(-U) + (1 - t.astype(float)) * softplus(U))
    close(pullback(np.ones_like(SWEEP))[0], sigmoid(U) - t)


@SLOW
def test_a_log_sum_is_rounded_and_so_is_its_gradient():
    """The result itself is about 1e4, and the weights exp(x - result) are worked out from it, as torch's are."""
    x = logits()
    y, pullback = kernels.global_log_sum_exp_pool.vjp(x[None])
    total = np.log(np.exp(x.astype(float) - x.max(1, keepdims=True)).sum(1)) + x.max(1)
    np.testing.assert_allclose(y.ravel(), total, rtol=UNITS)
    last = float(np.spacing(np.float32(1e4)))
    np.testing.assert_allclose(pullback(np.ones_like(y))[0][0], probabilities(x.astype(float)), rtol=last)
