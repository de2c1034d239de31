"""Calls of activations, norms, losses and images, with references in plain NumPy.

References take complex numbers, too, so that their gradients need no formulas: see `differences`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

from tests.support.cases import Case, apart, generator
from tests.support.differences import complex_step, transposed

Array = Any
Options = dict[str, Any]


def smooth(operator: str, label: str, arrays: Sequence[Array | None], options: Options, f: Any) -> Case:
    return Case(operator, label, tuple(arrays), options, f, complex_step(f), slow=True)


def linear(operator: str, label: str, x: Array, options: Options, f: Callable[[Array], Array]) -> Case:
    return Case(operator, label, (x,), options, f, transposed(f), slow=True)


# ---- activations


def erf(x: Array) -> Array:
    """The series of the error function, for |x| < 3."""
    total, term = 0 * x, x
    for k in range(60):
        total = total + term / (2 * k + 1)
        term = -term * x * x / (k + 1)
    return 2 / math.sqrt(math.pi) * total


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softplus(x: Array) -> Array:
    return np.log(1 + np.exp(x))


def above(x: Array, at: float, yes: Array, no: Array) -> Array:
    return np.where(np.real(x) > at, yes, no)


def activation_cases() -> list[Case]:
    table: dict[str, tuple[Options, Callable[[Array], Array]]] = {
        "leaky_relu": ({"negative_slope": 0.2}, lambda x: above(x, 0, x, 0.2 * x)),
        "elu": ({"alpha": 1.5}, lambda x: above(x, 0, x, 1.5 * (np.exp(x) - 1))),
        "gelu": ({}, lambda x: x * (1 + erf(x / math.sqrt(2))) / 2),
        "gelu_tanh": (
            {},
            lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))) / 2,
        ),
        "sigmoid": ({}, sigmoid),
        "silu": ({}, lambda x: x * sigmoid(x)),
        "tanh": ({}, np.tanh),
        "erf": ({}, erf),
        "softplus": ({"beta": 2.0}, lambda x: softplus(2 * x) / 2),
        "logsigmoid": ({}, lambda x: -softplus(-x)),
        "mish": ({}, lambda x: x * np.tanh(softplus(x))),
        "hardtanh": (
            {"min_val": -0.8, "max_val": 1.1},
            lambda x: above(x, 1.1, 1.1, above(x, -0.8, x, -0.8)),
        ),
        "relu6": ({}, lambda x: above(x, 6, 6, above(x, 0, x, 0))),
        "hardswish": ({}, lambda x: above(x, 3, x, above(x, -3, x * (x + 3) / 6, 0))),
    }
    cases = []
    for name, (options, f) in table.items():
        for shape in [(9,), (2, 3, 4), ()]:
            x = apart(generator(name, shape), shape) + 0.1  # off every kink
            cases.append(smooth(name, str(shape), (x,), options, f))
    for shape, count in [((2, 3, 4), 3), ((4, 5), 1), ((7,), 1), ((2, 2, 2, 3), 2)]:
        rng = generator("prelu", shape)
        x, w = apart(rng, shape) + 0.1, rng.standard_normal(count)
        see = (-1, *[1] * (len(shape) - 2)) if count > 1 else (1,)
        cases.append(
            smooth(
                "prelu",
                f"{shape} of {count}",
                (x, w),
                {},
                lambda x, w, see=see: above(x, 0, x, w.reshape(see) * x),
            )
        )
    for shape, dim in [((4, 5), -1), ((4, 5), 0), ((2, 3, 4), 1), ((6,), 0)]:
        x = generator("softmax", shape).standard_normal(shape) * 3
        cases.append(
            smooth("softmax", f"{shape} dim={dim}", (x,), {"dim": dim}, lambda x, dim=dim: softmax(x, dim))
        )
    return cases


def softmax(x: Array, axis: int) -> Array:
    e = np.exp(x)
    return e / e.sum(axis, keepdims=True)


# ---- norms


def normalised(
    x: Array, over: tuple[int, ...], eps: float, see: tuple[int, ...], w: Array | None, b: Array | None
) -> Array:
    mean = x.mean(over, keepdims=True)
    var = ((x - mean) * (x - mean)).mean(over, keepdims=True)
    y = (x - mean) / np.sqrt(var + eps)
    y = y if w is None else y * w.reshape(see)
    return y if b is None else y + b.reshape(see)


def norm_cases() -> list[Case]:
    cases = []
    for shape, affine in [((4, 3), True), ((2, 3, 5), True), ((2, 2, 2, 3), False)]:
        rng = generator("norm", shape)
        c, see = shape[1], (-1, *[1] * (len(shape) - 2))
        x = rng.standard_normal(shape)
        w, b = (rng.standard_normal(c), rng.standard_normal(c)) if affine else (None, None)
        m, v = rng.standard_normal(c), rng.random(c) + 0.5
        label, others = f"{shape} affine={affine}", tuple(range(2, len(shape)))

        def fixed(x: Array, m: Array, v: Array, w: Array, b: Array, see: Any = see) -> Array:
            y = (x - m.reshape(see)) / np.sqrt(v.reshape(see) + 0.01)
            return y if w is None else y * w.reshape(see) + b.reshape(see)

        def trained(
            x: Array, m: None, v: None, w: Array, b: Array, over: Any = (0, *others), see: Any = see
        ) -> Array:
            return normalised(x, over, 0.01, see, w, b)

        cases.append(smooth("batch_norm", label, (x, m, v, w, b), {"eps": 0.01}, fixed))
        cases.append(smooth("batch_norm_training", label, (x, None, None, w, b), {"eps": 0.01}, trained))
        if others:
            each: Any = lambda x, m, v, w, b, over=others, see=see: normalised(x, over, 0.01, see, w, b)
            cases.append(smooth("instance_norm", label, (x, None, None, w, b), {"eps": 0.01}, each))
            cases.append(smooth("instance_norm_running", label, (x, m, v, w, b), {"eps": 0.01}, fixed))
    for shape, row in [((4, 5), (5,)), ((2, 3, 4), (3, 4)), ((6,), (6,))]:
        rng = generator("layer_norm", shape)
        x, w, b = rng.standard_normal(shape), rng.standard_normal(row), rng.standard_normal(row)
        over = tuple(range(-len(row), 0))
        for affine in (True, False):
            options, wb = {"normalized_shape": row, "eps": 0.02}, (w, b) if affine else (None, None)
            layer: Any = lambda x, w, b, over=over, row=row: normalised(x, over, 0.02, row, w, b)
            rms: Any = lambda x, w, over=over: (
                x / np.sqrt((x * x).mean(over, keepdims=True) + 0.02) * (1 if w is None else w)
            )
            cases.append(smooth("layer_norm", f"{shape} of {row} affine={affine}", (x, *wb), options, layer))
            cases.append(smooth("rms_norm", f"{shape} of {row} affine={affine}", (x, wb[0]), options, rms))
    for shape, groups in [((2, 4, 3), 2), ((2, 3, 2, 2), 3), ((3, 4), 1)]:
        rng = generator("group_norm", shape)
        arrays = rng.standard_normal(shape), rng.standard_normal(shape[1]), rng.standard_normal(shape[1])

        def grouped(x: Array, w: Array, b: Array, groups: int = groups) -> Array:
            split = x.reshape(x.shape[0], groups, -1)
            y = normalised(split, (2,), 1e-5, (), None, None).reshape(x.shape)
            see = (-1, *[1] * (x.ndim - 2))
            return y * w.reshape(see) + b.reshape(see)

        cases.append(smooth("group_norm", f"{shape} in {groups}", arrays, {"num_groups": groups}, grouped))
    for shape, size in [((2, 5, 3), 3), ((1, 4, 2, 2), 2), ((1, 3, 2), 7)]:
        x = generator("lrn", shape).standard_normal(shape)

        def local(x: Array, size: int = size) -> Array:
            squares = np.zeros_like(x)
            for c, j in product(range(x.shape[1]), range(size)):
                if 0 <= c + j - size // 2 < x.shape[1]:
                    squares[:, c] += x[:, c + j - size // 2] ** 2
            return x / (1.5 + 0.4 * squares / size) ** 0.6

        options = {"size": size, "alpha": 0.4, "beta": 0.6, "k": 1.5}
        cases.append(smooth("local_response_norm", f"{shape} of {size}", (x,), options, local))
    return cases


# ---- losses


def absolute(x: Array) -> Array:
    return above(x, 0, x, -x)


REDUCE: dict[str, Callable[[Array], Array]] = {
    "none": lambda l: l,
    "sum": lambda l: l.sum(keepdims=False),
    "mean": lambda l: l.mean(keepdims=False),
}


def loss_cases() -> list[Case]:
    cases = []
    each: dict[str, tuple[Options, Callable[[Array], Array]]] = {
        "mse_loss": ({}, lambda d: d * d),
        "l1_loss": ({}, absolute),
        "smooth_l1_loss": (
            {"beta": 0.7},
            lambda d: np.where(np.abs(np.real(d)) < 0.7, d * d / 1.4, absolute(d) - 0.35),
        ),
        "huber_loss": (
            {"delta": 0.7},
            lambda d: np.where(np.abs(np.real(d)) < 0.7, d * d / 2, 0.7 * (absolute(d) - 0.35)),
        ),
    }
    for (name, (options, f)), (reduction, reduce) in product(each.items(), REDUCE.items()):
        x = apart(generator(name), (3, 4))
        t = generator(name, "t").random((3, 4)) / 8
        loss: Any = lambda x, t, f=f, reduce=reduce: np.asarray(reduce(f(x - t)))
        cases.append(smooth(name, reduction, (x, t), {**options, "reduction": reduction}, loss))

    for (shape, last), (reduction, reduce) in product([((3, 4), (4,)), ((5,), ())], REDUCE.items()):
        rng = generator("bce", shape)
        x, t, w, p = rng.standard_normal(shape), rng.random(shape), rng.random(shape), rng.random(last) + 0.5

        def bce(x: Array, t: Array, w: Array, p: Array, reduce: Any = reduce) -> Array:
            w, p = 1 if w is None else w, 1 if p is None else p
            return np.asarray(reduce(w * (p * t * softplus(-x) + (1 - t) * softplus(x))))

        for arrays in [(x, t, w, p), (x, t, None, None)]:
            label = f"{shape} {reduction} weights={arrays[2] is not None}"
            cases.append(
                smooth("binary_cross_entropy_with_logits", label, arrays, {"reduction": reduction}, bce)
            )

    for shape, reduction in product([(4, 3), (2, 3, 4)], REDUCE):
        rng = generator("nll", shape)
        x, w, q = rng.standard_normal(shape), rng.random(3) + 0.5, rng.random(shape)
        t = rng.integers(0, 3, (shape[0], *shape[2:]))
        t.flat[0] = 7
        hot = np.moveaxis(t[..., None] == np.arange(3), -1, 1)  # of a target that is ignored, nothing

        def weighted(
            x: Array,
            w: Array | None,
            hot: Array,
            smoothing: float,
            reduction: str,
            counts: Array | None,
            scores: bool = True,
        ) -> Array:
            by = np.ones(3) if w is None else w
            by = by.reshape(-1, *[1] * (x.ndim - 2))
            logs = x if scores else x - np.log(np.exp(x).sum(1, keepdims=True))
            there = 1 if counts is None else counts
            l = -(by * logs * ((1 - smoothing) * hot + smoothing / 3 * there)).sum(1)
            if reduction == "mean" and counts is not None:
                return np.asarray(l.sum() / (by * hot).sum())
            return np.asarray(REDUCE[reduction](l))

        used = hot.any(1)[:, None]
        for weights in (w, None):
            label, common = f"{shape} {reduction} weights={weights is not None}", {"reduction": reduction}

            def nll(x: Array, t: Array, w: Array, hot: Any = hot, r: str = reduction, n: Any = used) -> Array:
                return weighted(x, w, hot, 0.0, r, n)

            def ce(x: Array, t: Array, w: Array, hot: Any = hot, r: str = reduction, n: Any = used) -> Array:
                return weighted(x, w, hot, 0.3, r, n, scores=False)

            def probable(x: Array, q: Array, w: Array, r: str = reduction) -> Array:
                return weighted(x, w, q, 0.3, r, None, scores=False)

            options = {**common, "ignore_index": 7}
            cases.append(smooth("nll_loss", label, (x, t, weights), options, nll))
            smoothed = {**options, "label_smoothing": 0.3}
            cases.append(smooth("cross_entropy_weighted", label, (x, t, weights), smoothed, ce))
            smoothed = {**common, "label_smoothing": 0.3}
            cases.append(smooth("cross_entropy_probabilities", label, (x, q, weights), smoothed, probable))

    w = apart(generator("regularizer"), (3, 4)) + 0.1
    cases.append(
        smooth(
            "l1_regularizer", "(3, 4)", (w,), {"strength": 0.3}, lambda w: np.asarray(0.3 * absolute(w).sum())
        )
    )
    cases.append(
        smooth("l2_regularizer", "(3, 4)", (w,), {"strength": 0.3}, lambda w: np.asarray(0.3 * (w * w).sum()))
    )
    mask = (generator("mask").random((3, 4)) > 0.4).astype(float)
    cases.append(smooth("dropout", "(3, 4)", (w, mask), {"p": 0.4}, lambda w, m: w * m / 0.6))
    return cases


# ---- images


def taps(extent: int, place: float, cubic: bool) -> Array:
    """The weight of each entry for a result at `place`; beyond the ends are the ends."""
    first, made = math.floor(place), np.zeros(extent)
    for k in range(-1, 3) if cubic else range(2):
        d = abs(place - first - k)
        if not cubic:
            weight = 1 - d
        elif d <= 1:
            weight = 1.25 * d**3 - 2.25 * d**2 + 1
        else:
            weight = -0.75 * d**3 + 3.75 * d**2 - 6 * d + 3
        made[min(max(first + k, 0), extent - 1)] += weight
    return made


def resized(x: Array, sizes: Sequence[int], scales: Sequence[float], mode: str, aligned: bool) -> Array:
    for axis, (n, s) in enumerate(zip(sizes, scales, strict=True), 2):
        extent = x.shape[axis]
        if mode.startswith("nearest"):
            half = 0.5 if mode == "nearest-exact" else 0.0
            matrix = np.stack([np.eye(extent)[math.floor((p + half) * s + 1e-12)] for p in range(n)])
        else:
            places = [p * (extent - 1) / max(n - 1, 1) if aligned else (p + 0.5) * s - 0.5 for p in range(n)]
            matrix = np.stack([taps(extent, place, mode == "bicubic") for place in places])
        x = np.moveaxis(np.tensordot(matrix, x, ([1], [axis])), 0, axis)
    return x


def image_cases() -> list[Case]:
    cases = []
    for spatial, mode in [
        ((6,), "linear"),
        ((5, 4), "bilinear"),
        ((3, 4, 2), "trilinear"),
        ((5, 6), "bicubic"),
        ((5,), "nearest"),
        ((4, 5), "nearest"),
        ((2, 4, 3), "nearest-exact"),
    ]:
        x = generator("interpolate", spatial, mode).standard_normal((2, 1, *spatial))
        name = "interpolate" if mode.startswith("nearest") else f"interpolate_{mode}"
        option = {"mode": mode} if mode == "nearest-exact" else {}
        for sizes in [(7, 3, 4), (2, 9, 1)]:
            sizes = sizes[: len(spatial)]
            for aligned in (False, True) if "_" in name else (False,):
                corners = {"align_corners": True} if aligned else {}
                scales = [i / o for i, o in zip(spatial, sizes, strict=True)]
                cases.append(
                    linear(
                        name,
                        f"{spatial} to {sizes} {mode} aligned={aligned}",
                        x,
                        {"size": sizes, **option, **corners},
                        lambda x, a=(sizes, scales, mode, aligned): resized(x, *a),
                    )
                )
        factors = (1.5, 0.75, 2.0)[: len(spatial)]
        sizes = tuple(math.floor(n * f) for n, f in zip(spatial, factors, strict=True))
        cases.append(
            linear(
                name,
                f"{spatial} by {factors} {mode}",
                x,
                {"scale_factor": factors, **option},
                lambda x, a=(sizes, [1 / f for f in factors], mode, False): resized(x, *a),
            )
        )

    x = generator("shuffle").standard_normal((2, 8, 2, 3))
    up: Any = lambda x: (
        x.reshape(-1, x.shape[-3] // 4, 2, 2, *x.shape[-2:])
        .transpose(0, 1, 4, 2, 5, 3)
        .reshape(*x.shape[:-3], x.shape[-3] // 4, x.shape[-2] * 2, x.shape[-1] * 2)
    )
    down: Any = lambda x: (
        x.reshape(-1, x.shape[-3], x.shape[-2] // 2, 2, x.shape[-1] // 2, 2)
        .transpose(0, 1, 3, 5, 2, 4)
        .reshape(*x.shape[:-3], x.shape[-3] * 4, x.shape[-2] // 2, x.shape[-1] // 2)
    )
    cases.append(linear("pixel_shuffle", "(2, 8, 2, 3)", x, {"upscale_factor": 2}, up))
    cases.append(linear("pixel_shuffle", "(4, 1, 2)", x[0, :4, :1, :2], {"upscale_factor": 2}, up))
    cases.append(linear("pixel_unshuffle", "(2, 2, 4, 6)", up(x), {"downscale_factor": 2}, down))

    names = {"reflect": "reflect", "symmetric": "symmetric", "replicate": "edge", "circular": "wrap"}
    for shape, pairs in [
        ((2, 3, 5), ((1, 2),)),
        ((3, 4, 5), ((3, 0), (2, 3))),
        ((2, 3, 2, 4), ((1, 2), (0, 1), (3, 1))),
    ]:
        x = generator("pad", shape).standard_normal(shape)
        full = [(0, 0)] * (len(shape) - len(pairs)) + list(pairs)
        flat = tuple(n for pair in reversed(pairs) for n in pair)
        for mode, numpy_mode in names.items():
            around: Any = lambda x, full=full, mode=numpy_mode: np.pad(x, full, mode)
            cases.append(linear(f"pad_{mode}", f"{shape} {flat}", x, {"pad": flat}, around))

        def mean(x: Array, full: Any = full, axes: Any = tuple(range(-len(pairs), 0))) -> Array:
            middle = x.mean(axes, keepdims=True)
            return np.pad(x - middle, full) + middle

        cases.append(linear("pad_mean", f"{shape} {flat}", x, {"pad": flat}, mean))
        for value in (None, 1.5):
            constant: Any = lambda x, full=full, value=value: np.pad(x, full, constant_values=value or 0.0)
            cases.append(linear("pad", f"{shape} {flat} {value}", x, {"pad": flat, "value": value}, constant))
    x = generator("cut").standard_normal((3, 4, 5))
    cut: Any = lambda x: np.pad(x[1:, :, :3], ((0, 2), (0, 0), (1, 0)), constant_values=-2.0)
    cases.append(linear("pad", "cut", x, {"pad": (1, -2, 0, 0, -1, 2), "value": -2.0}, cut))
    return cases


CASES = [*activation_cases(), *norm_cases(), *loss_cases(), *image_cases()]
