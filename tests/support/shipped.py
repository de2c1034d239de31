"""Calls of every shipped operator, with what `tests.support.reference` says they give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.support import reference
from tests.support.cases import Array, Case, apart, generator

__all__ = ["CASES", "Case", "apart", "generator"]


def conv_cases() -> list[Case]:
    cases = []
    for axes, batch, extents, kernel, stride, pads, dilation, groups, bias in [
        (1, 2, (9,), (3,), (1,), ((0, 0),), (1,), 1, False),
        (1, 2, (11,), (3,), (3,), ((2, 2),), (2,), 2, True),
        (
            1,
            1,
            (23,),
            (3,),
            (4,),
            ((3, 5),),
            (6,),
            1,
            True,
        ),  # gcd(stride, dilation) = 2; a tail that no window reads
        (1, 1, (8,), (2,), (3,), ((0, 0),), (1,), 1, False),  # inputs between the windows
        (2, 2, (5, 6), (3, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, True),
        (2, 2, (7, 6), (3, 2), (2, 3), ((1, 1), (0, 0)), (1, 2), 2, True),
        (2, 1, (6, 5), (2, 3), (2, 1), ((0, 2), (3, 1)), (3, 1), 1, False),
        (2, 1, (4, 5), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 4, True),  # depthwise
        (2, 1, (3, 3), (3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, True),  # one window
        (3, 1, (4, 3, 5), (2, 2, 3), (2, 1, 2), ((1, 1), (0, 0), (1, 0)), (1, 2, 1), 1, True),
    ]:
        rng = generator("conv", axes, extents, kernel, stride)
        inner, outer = (1, 1) if groups == 4 else (2, 3)
        x = rng.standard_normal((batch, groups * inner, *extents))
        w = rng.standard_normal((groups * outer, inner, *kernel))
        b = rng.standard_normal(groups * outer) if bias else None
        window = stride, pads, dilation, groups
        cases.append(
            Case(
                f"conv{axes}d",
                f"{extents} k{kernel} s{stride} p{pads} d{dilation} g{groups}",
                (x, w, b),
                {"stride": stride, "padding": pads, "dilation": dilation, "groups": groups},
                lambda x, w, b, window=window: reference.conv(x, w, b, *window),
                lambda gy, x, w, b, window=window: drop(reference.conv_vjp(x, w, gy, *window), b is None),
            )
        )
    for extents, kernel, stride, dilation in [
        ((7, 6), (3, 2), (1, 1), (1, 2)),
        ((7, 8), (4, 1), (2, 3), (1, 1)),
    ]:
        rng = generator("same", extents, kernel)
        window = stride, reference.same_padding(extents, kernel, stride, dilation), dilation, 1
        cases.append(
            Case(
                "conv2d",
                f"same {extents} k{kernel} s{stride} d{dilation}",
                (rng.standard_normal((1, 2, *extents)), rng.standard_normal((2, 2, *kernel)), None),
                {"stride": stride, "padding": "same", "dilation": dilation},
                lambda x, w, b, window=window: reference.conv(x, w, b, *window),
                lambda gy, x, w, b, window=window: drop(reference.conv_vjp(x, w, gy, *window), True),
            )
        )
    return cases


def drop(gradients: tuple[Array, ...], last: bool) -> tuple[Array | None, ...]:
    return (*gradients[:-1], None) if last else gradients


def convolve_cases() -> list[Case]:
    cases = []
    for n, k, modes in [
        ((7,), (3,), ("full", "same", "valid")),
        ((3,), (7,), ("full", "same", "valid")),
        ((6,), (4,), ("same",)),
        ((5, 6), (3, 2), ("full", "same", "valid")),
        ((2, 3), (4, 3), ("full", "same", "valid")),
        ((2, 5), (4, 3), ("full", "same")),
        ((3, 4, 3), (2, 2, 3), ("full", "same", "valid")),
    ]:
        rng = generator("convolve", n, k)
        arrays = rng.standard_normal(n), rng.standard_normal(k)
        for mode in modes:
            cases.append(
                Case(
                    f"convolve{len(n)}d",
                    f"{mode} {n} * {k}",
                    arrays,
                    {"mode": mode},
                    lambda x, w, mode=mode: reference.convolve(x, w, mode),
                    lambda gy, x, w, mode=mode: reference.convolve_vjp(x, w, gy, mode),
                )
            )
    return cases


def pool_cases() -> list[Case]:
    cases = []
    for extents, kernel, stride, pads, dilation, ceil in [
        ((9,), (3,), (3,), ((0, 0),), (1,), False),
        ((10,), (3,), (2,), ((1, 1),), (2,), True),
        ((6, 7), (2, 3), (2, 3), ((0, 0), (1, 1)), (1, 1), False),
        ((6, 7), (3, 2), (2, 2), ((1, 0), (0, 1)), (1, 2), True),
        ((5, 5), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), False),
        ((4, 5, 3), (2, 3, 1), (1, 2, 2), ((1, 1), (0, 0), (0, 0)), (1, 1, 1), True),
    ]:
        rng = generator("max_pool", extents, kernel)
        window = kernel, stride, pads, dilation, ceil
        cases.append(
            Case(
                f"max_pool{len(kernel)}d",
                f"{extents} k{kernel} s{stride} p{pads} d{dilation} ceil={ceil}",
                (apart(rng, (2, 2, *extents)),),
                {
                    "kernel_size": kernel,
                    "stride": stride,
                    "padding": pads,
                    "dilation": dilation,
                    "ceil_mode": ceil,
                },
                lambda x, window=window: reference.max_pool(x, *window)[0],
                lambda gy, x, window=window: (
                    reference.max_pool_vjp(x, reference.max_pool(x, *window)[1], gy),
                ),
            )
        )
    for extents, kernel, stride, pad, ceil, include, divisor in [
        ((9,), (3,), (2,), (1,), False, True, None),
        ((10,), (4,), (3,), (2,), True, False, None),
        ((6, 7), (3, 2), (2, 2), (1, 1), True, True, None),
        ((6, 7), (3, 2), (2, 2), (1, 1), True, False, None),
        ((5, 5), (2, 3), (2, 3), (0, 1), False, False, 7),
        ((5, 4), (2, 2), (2, 1), (1, 0), True, False, -2),
        ((4, 5, 3), (2, 3, 1), (1, 2, 2), (1, 0, 0), True, True, None),
    ]:
        rng = generator("avg_pool", extents, kernel)
        means = kernel, stride, pad, ceil, include, divisor
        cases.append(
            Case(
                f"avg_pool{len(kernel)}d",
                f"{extents} k{kernel} s{stride} p{pad} ceil={ceil} include={include} divisor={divisor}",
                (rng.standard_normal((2, 2, *extents)),),
                {
                    "kernel_size": kernel,
                    "stride": stride,
                    "padding": pad,
                    "ceil_mode": ceil,
                    "count_include_pad": include,
                    "divisor_override": divisor,
                },
                lambda x, means=means: reference.avg_pool(x, *means),
                lambda gy, x, means=means: (reference.avg_pool_vjp(x, gy, *means),),
            )
        )
    return cases


def global_cases() -> list[Case]:
    cases = []
    for shape in [(2, 3, 7), (2, 2, 4, 5), (1, 2, 3, 2, 4), (2, 3, 1)]:
        x = apart(generator("global", shape), shape)
        axes = tuple(range(2, len(shape)))

        def chosen(x: Array, gy: Array, best: Callable[..., Any]) -> Array:
            flat = x.reshape(*x.shape[:2], -1)
            g = np.zeros_like(flat)
            np.put_along_axis(g, best(flat, -1)[..., None], gy.reshape(*x.shape[:2], 1), -1)
            return g.reshape(x.shape)

        for how, forward, vjp in [
            (
                "avg",
                lambda x, axes=axes: x.mean(axes, keepdims=True),
                lambda gy, x, axes=axes: (
                    np.broadcast_to(gy / np.prod([x.shape[a] for a in axes]), x.shape),
                ),
            ),
            (
                "max",
                lambda x, axes=axes: x.max(axes, keepdims=True),
                lambda gy, x, chosen=chosen: (chosen(x, gy, np.argmax),),
            ),
            (
                "min",
                lambda x, axes=axes: x.min(axes, keepdims=True),
                lambda gy, x, chosen=chosen: (chosen(x, gy, np.argmin),),
            ),
        ]:
            cases.append(Case(f"global_{how}_pool", str(shape), (x,), {}, forward, vjp))
    return cases


def layer_cases() -> list[Case]:
    cases = []
    for shape, bias in [((4, 3), True), ((2, 3, 3), False), ((3,), True), ((2, 1, 2, 3), True)]:
        rng = generator("linear", shape)
        w, b = rng.standard_normal((5, 3)), rng.standard_normal(5) if bias else None
        cases.append(
            Case(
                "linear",
                f"{shape} bias={bias}",
                (rng.standard_normal(shape), w, b),
                {},
                lambda x, w, b: x @ w.T + (0 if b is None else b),
                lambda gy, x, w, b: (
                    gy @ w,
                    gy.reshape(-1, 5).T @ x.reshape(-1, 3),
                    None if b is None else gy.reshape(-1, 5).sum(0),
                ),
            )
        )
    for shape in [(7,), (2, 3, 4), ()]:
        x = apart(generator("relu", shape), shape) + 0.1
        relu = lambda x: np.maximum(x, 0)
        cases.append(Case("relu", str(shape), (x,), {}, relu, lambda gy, x: (gy * (x > 0),)))
    for shape, dim in [((4, 5), -1), ((4, 5), 0), ((2, 3, 4), 1), ((3, 2, 2, 2), -3), ((6,), 0)]:
        cases.append(
            Case(
                "log_softmax",
                f"{shape} dim={dim}",
                (generator("softmax", shape).standard_normal(shape) * 3,),
                {"dim": dim},
                lambda x, dim=dim: reference.log_softmax(x, dim),
                lambda gy, x, dim=dim: (reference.log_softmax_vjp(x, gy, dim),),
            )
        )
    for shape in [(4, 5), (2, 3, 4), (2, 3, 2, 2), (1, 4)]:
        rng = generator("cross_entropy", shape)
        x, t = rng.standard_normal(shape) * 3, rng.integers(0, shape[1], (shape[0], *shape[2:]))
        for reduction, reduce, spread in [
            ("none", lambda l: l, lambda gy, t: gy),
            ("sum", lambda l: l.sum(), lambda gy, t: np.broadcast_to(gy, t.shape)),
            ("mean", lambda l: l.mean(), lambda gy, t: np.broadcast_to(gy / t.size, t.shape)),
        ]:
            cases.append(
                Case(
                    "cross_entropy",
                    f"{shape} {reduction}",
                    (x, t),
                    {"reduction": reduction},
                    lambda x, t, reduce=reduce: np.asarray(reduce(reference.cross_entropy(x, t))),
                    lambda gy, x, t, spread=spread: (reference.cross_entropy_vjp(x, t, spread(gy, t)), None),
                )
            )
    return cases


CASES = [
    *conv_cases(),
    *convolve_cases(),
    *pool_cases(),
    *global_cases(),
    *layer_cases(),
]
