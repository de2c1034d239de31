"""Calls of the activations, likelihoods, distances and margins that torch has beside the common ones.

References are plain NumPy, and take complex numbers, too (see `differences`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from tests.support.cases import Case, apart, generator
from tests.support.shipped_layers import REDUCE, above, absolute, linear, sigmoid, smooth, softmax, softplus

Array = Any
Options = dict[str, Any]


def activation_cases() -> list[Case]:
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    table: dict[str, tuple[Options, Callable[[Array], Array]]] = {
        "celu": ({"alpha": 1.5}, lambda x: above(x, 0, x, 1.5 * (np.exp(x / 1.5) - 1))),
        "selu": ({}, lambda x: scale * above(x, 0, x, alpha * (np.exp(x) - 1))),
        "hardsigmoid": ({}, lambda x: above(x, 3, 1, above(x, -3, (x + 3) / 6, 0))),
        "hardshrink": ({"lambd": 0.3}, lambda x: np.where(np.abs(np.real(x)) > 0.3, x, 0)),
        "softshrink": ({"lambd": 0.3}, lambda x: above(x, 0.3, x - 0.3, above(x, -0.3, 0, x + 0.3))),
        "softsign": ({}, lambda x: x / (1 + absolute(x))),
        "tanhshrink": ({}, lambda x: x - np.tanh(x)),
        "threshold": ({"threshold": 0.4, "value": -2.0}, lambda x: above(x, 0.4, x, -2.0)),
    }
    cases = []
    for name, (options, f) in table.items():
        for shape in [(9,), (2, 3, 4), ()]:
            x = apart(generator(name, shape), shape) + 0.1  # off every kink
            cases.append(smooth(name, str(shape), (x,), options, f))
    for shape, dim in [((4, 5), -1), ((2, 3, 4), 1), ((6,), 0)]:
        x = generator("softmin", shape).standard_normal(shape) * 3
        cases.append(
            smooth("softmin", f"{shape} dim={dim}", (x,), {"dim": dim}, lambda x, dim=dim: softmax(-x, dim))
        )
    for shape, dim in [((4, 6), -1), ((4, 5), 0), ((2, 6, 3), 1), ((2,), 0)]:
        x = generator("glu", shape).standard_normal(shape)

        def gated(x: Array, dim: int = dim) -> Array:
            a, b = np.split(x, 2, dim)
            return a * sigmoid(b)

        cases.append(smooth("glu", f"{shape} dim={dim}", (x,), {"dim": dim}, gated))
    return cases


def layer_cases() -> list[Case]:
    cases = []
    for lead, bias in [((3,), True), ((2, 3), False), ((), True)]:
        rng = generator("bilinear", lead)
        arrays = rng.standard_normal((*lead, 3)), rng.standard_normal((*lead, 2))
        w, b = rng.standard_normal((4, 3, 2)), rng.standard_normal(4) if bias else None

        def forms(x: Array, z: Array, w: Array, b: Array | None) -> Array:
            y = np.einsum("...i,oij,...j->...o", x, w, z)
            return y if b is None else y + b

        cases.append(smooth("bilinear", f"{lead} bias={bias}", (*arrays, w, b), {}, forms))
    for shape in [(4,), (2, 3), ()]:
        rng = generator("embedding", shape)
        t, w = np.asarray(rng.integers(0, 5, shape)), rng.standard_normal((5, 3))
        cases.append(smooth("embedding", str(shape), (t, w), {}, lambda t, w: w[t]))
    x = generator("channel_shuffle").standard_normal((2, 6, 2, 3))
    for groups in (2, 3):

        def dealt(x: Array, groups: int = groups) -> Array:
            n, c, *rest = x.shape
            return x.reshape(n, groups, c // groups, *rest).swapaxes(1, 2).reshape(x.shape)

        cases.append(linear("channel_shuffle", f"in {groups}", x, {"groups": groups}, dealt))
    return cases


def likelihood_cases() -> list[Case]:
    cases = []
    reductions = (*REDUCE.items(), ("batchmean", lambda l: l.sum() / l.shape[0]))
    for (reduction, reduce), shape in product(REDUCE.items(), [(3, 4), ()]):
        rng = generator("likelihood", shape)
        p, t, w = rng.uniform(0.05, 0.95, shape), rng.uniform(0.1, 4, shape), rng.random(shape)
        x, v = rng.standard_normal(shape), rng.uniform(0.2, 2, shape)
        label, options = f"{shape} {reduction}", {"reduction": reduction}

        def bce(x: Array, t: Array, w: Array | None, r: Any = reduce) -> Array:
            return np.asarray(r(-(1 if w is None else w) * (t * np.log(x) + (1 - t) * np.log(1 - x))))

        def stirling(t: Array) -> Array:
            return above(t, 1, t * np.log(t) - t + np.log(2 * math.pi * t) / 2, 0)

        def poisson(x: Array, t: Array, r: Any = reduce) -> Array:
            return np.asarray(r(np.exp(x) - t * x + stirling(t)))

        def rate(x: Array, t: Array, r: Any = reduce) -> Array:
            return np.asarray(r(x - t * np.log(x + 0.01)))

        def gaussian(x: Array, t: Array, v: Array, r: Any = reduce) -> Array:
            v = above(v, 0.5, v, 0.5)
            return np.asarray(r((np.log(v) + (x - t) * (x - t) / v + math.log(2 * math.pi)) / 2))

        for weights in (w, None):
            arrays = (p, t / 4, weights)
            cases.append(
                smooth("binary_cross_entropy", f"{label} weights={weights is not None}", arrays, options, bce)
            )
        cases.append(smooth("poisson_nll_loss", label, (x, t), {**options, "full": True}, poisson))
        unlogged = {**options, "log_input": False, "eps": 0.01}
        cases.append(smooth("poisson_nll_loss_rate", label, (p, t), unlogged, rate))
        gauss = {**options, "full": True, "eps": 0.5}
        cases.append(smooth("gaussian_nll_loss", label, (x, t, v), gauss, gaussian))
    for reduction, reduce in reductions:
        rng = generator("kl_div")
        x, t = np.log(rng.random((3, 4))), rng.random((3, 4))
        options = {"reduction": reduction}
        plain: Any = lambda x, t, r=reduce: np.asarray(r(t * (np.log(t) - x)))
        logs: Any = lambda x, t, r=reduce: np.asarray(r(np.exp(t) * (t - x)))
        cases.append(smooth("kl_div", reduction, (x, t), options, plain))
        cases.append(
            smooth("kl_div_log_target", reduction, (x, np.log(t)), {**options, "log_target": True}, logs)
        )
    return cases


def length(x: Array, axis: int = -1) -> Array:
    return np.sqrt((x * x).sum(axis))


def power_length(x: Array, p: float, axis: int = -1) -> Array:
    return (absolute(x) ** p).sum(axis) ** (1 / p)


def relu(x: Array) -> Array:
    return above(x, 0, x, 0)


def distance_cases() -> list[Case]:
    cases = []
    for shape, dim in [((3, 4), 1), ((2, 3, 4), 0), ((2, 3, 4), -2)]:
        rng = generator("distance", shape)
        a, b = apart(rng, shape) + 0.1, rng.standard_normal(shape)
        for p, name in ((2.0, "normalize"), (1.5, "normalize_p"), (3, "normalize_p")):

            def unit(x: Array, p: float = p, dim: int = dim) -> Array:
                return x / np.expand_dims(power_length(x, p, dim), dim)

            cases.append(smooth(name, f"{shape} p={p} dim={dim}", (a,), {"p": p, "dim": dim}, unit))

        def cosine(a: Array, b: Array, dim: int = dim) -> Array:
            return (a * b).sum(dim) / length(a, dim) / length(b, dim)

        cases.append(smooth("cosine_similarity", f"{shape} dim={dim}", (a, b), {"dim": dim}, cosine))
        for p, name in ((2.0, "pairwise_distance"), (1.5, "pairwise_distance_p")):

            def distance(a: Array, b: Array, p: float = p) -> Array:
                return power_length(a - b + 0.01, p)

            options = {"p": p, "eps": 0.01}
            cases.append(smooth(name, f"{shape} p={p}", (a, b), options, distance))
    return cases


def margin_cases() -> list[Case]:
    cases = []
    for (reduction, reduce), shape in product(REDUCE.items(), [(4, 3), (5,)]):
        rng = generator("margin", shape)
        x, b = apart(rng, shape) / 4 + 0.03, rng.standard_normal(shape)
        signs, sign = (rng.choice([-1.0, 1.0], s) for s in (shape, shape[:-1]))
        label, options = f"{shape} {reduction}", {"reduction": reduction}

        def soft(x: Array, t: Array, r: Any = reduce) -> Array:
            return np.asarray(r(softplus(-t * x)))

        def hinge(x: Array, t: Array, r: Any = reduce) -> Array:
            return np.asarray(r(above(t, 0, x, relu(0.6 - x))))

        def ranking(a: Array, b: Array, t: Array, r: Any = reduce) -> Array:
            return np.asarray(r(relu(0.3 - t * (a - b))))

        def cosine(a: Array, b: Array, t: Array, r: Any = reduce) -> Array:
            cos = (a * b).sum(-1) / np.sqrt(((a * a).sum(-1) + 1e-12) * ((b * b).sum(-1) + 1e-12))
            return np.asarray(r(above(t, 0, 1 - cos, relu(cos - 0.1))))

        cases.append(smooth("soft_margin_loss", label, (x, signs), options, soft))
        cases.append(smooth("hinge_embedding_loss", label, (x, signs), {**options, "margin": 0.6}, hinge))
        ranked = {**options, "margin": 0.3}
        cases.append(smooth("margin_ranking_loss", label, (x, b, signs), ranked, ranking))
        aligned = {**options, "margin": 0.1}
        cases.append(smooth("cosine_embedding_loss", label, (x, b, sign), aligned, cosine))

        t = np.asarray(rng.integers(0, shape[-1], shape[:-1]))
        w, soft_t = rng.random(shape[-1]) + 0.5, rng.random(shape)
        for p, name in ((1, "multi_margin_loss"), (2, "multi_margin_loss_2")):

            def multi(x: Array, t: Array, w: Array | None, p: int = p, r: Any = reduce) -> Array:
                w = np.ones(x.shape[-1]) if w is None else w
                right = np.take_along_axis(x, t[..., None], -1)
                others = np.arange(x.shape[-1]) != t[..., None]
                missing = relu(0.7 - right + x) ** p * others
                return np.asarray(r(w[t] * missing.sum(-1) / x.shape[-1]))

            def several(x: Array, t: Array, w: Array | None, r: Any = reduce) -> Array:
                w = 1 if w is None else w
                return np.asarray(r((w * (t * softplus(-x) + (1 - t) * softplus(x))).mean(-1)))

            for weights in (w, None):
                weighted = f"{label} weights={weights is not None}"
                margins = {**options, "margin": 0.7, "p": p}
                cases.append(smooth(name, weighted, (x, t, weights), margins, multi))
                if p == 1:
                    arrays = (x, soft_t, weights)
                    cases.append(smooth("multilabel_soft_margin_loss", weighted, arrays, options, several))

        negative = rng.standard_normal(shape)
        for swap, name in ((False, "triplet_margin_loss"), (True, "triplet_margin_loss_swap")):

            def triplet(a: Array, p: Array, n: Array, swap: bool = swap, r: Any = reduce) -> Array:
                near, far, other = (length(d + 0.01) for d in (a - p, a - n, p - n))
                if swap:
                    far = np.where(np.real(far) <= np.real(other), far, other)
                return np.asarray(r(relu(near - far + 1)))

            triplets = {**options, "eps": 0.01, "swap": swap}
            cases.append(smooth(name, label, (x, b, negative), triplets, triplet))
    return cases


CASES = [
    *activation_cases(),
    *layer_cases(),
    *likelihood_cases(),
    *distance_cases(),
    *margin_cases(),
]
