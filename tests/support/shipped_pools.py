"""Cases of the other pooling operators. A reference is a window's rule: its value, and its derivative by each entry."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from tests.support import reference
from tests.support.cases import Array, Case, apart, generator

Rule = Callable[..., tuple[float, Array]]  # of a window's entries in row-major order
Windows = Callable[
    [int, int], Iterator[tuple[tuple[int, ...], list[int]]]
]  # (n, c) -> position, places in the plane


# ---- rules


def largest(x: Array, ties: str = "first") -> tuple[float, Array]:
    best = x.max()
    equal = np.flatnonzero(x == best)
    weights = np.zeros_like(x)
    if ties in ("first", "last"):
        weights[equal[0 if ties == "first" else -1]] = 1
    else:
        weights[equal] = 1 / len(equal) if ties == "split" else 1
    return best, weights


def smallest(x: Array) -> tuple[float, Array]:
    value, weights = largest(-x)
    return -value, weights


def mean(x: Array) -> tuple[float, Array]:
    return x.mean(), np.full_like(x, 1 / len(x))


def norm(x: Array, p: float) -> tuple[float, Array]:
    if p == math.inf:
        value, weights = largest(abs(x))
        return value, weights * np.sign(x)
    value = (abs(x) ** p).sum() ** (1 / p)
    return value, np.sign(x) * (abs(x) / value) ** (p - 1) if value else 0 * x


def soft(x: Array, temperature: float = 1.0, mean: bool = False) -> tuple[float, Array]:
    terms = np.exp((x - x.max()) / temperature)
    total = terms.mean() if mean else terms.sum()
    return x.max() + temperature * math.log(total), terms / terms.sum()


def weighted(x: Array) -> tuple[float, Array]:
    weights = np.exp(x - x.max())
    weights /= weights.sum()
    value = (x * weights).sum()
    return value, weights * (1 + x - value)


def median(x: Array) -> tuple[float, Array]:
    weights = np.zeros_like(x)
    weights[np.argsort(x, kind="stable")[(len(x) - 1) // 2]] = 1
    return (x * weights).sum(), weights


def drawn(x: Array, u: float) -> tuple[float, Array]:
    weights, sums = np.zeros_like(x), np.maximum(x, 0).cumsum()
    if sums[-1] > 0:
        weights[np.flatnonzero((x > 0) & (sums >= u * sums[-1]))[0]] = 1
    return (x * weights).sum(), weights


def expected(x: Array) -> tuple[float, Array]:
    positive = np.maximum(x, 0)
    if not positive.any():
        return 0.0, 0 * x
    value = (positive**2).sum() / positive.sum()
    return value, (x > 0) * (2 * positive - value) / positive.sum()


# ---- windows


def places(extents: Sequence[int], axes: Sequence[Sequence[int]]) -> list[int]:
    """The places of a box in a plane, those inside, given what it covers on each axis."""
    return [
        int(np.ravel_multi_index(q, extents))
        for q in np.array(np.meshgrid(*axes, indexing="ij")).reshape(len(axes), -1).T
        if all(0 <= i < m for i, m in zip(q, extents, strict=True))
    ]


def sliding(
    extents: Any, kernel: Any, stride: Any, pads: Any, dilation: Any, ceil: bool
) -> tuple[Any, Windows]:
    shape = reference.pool_shape(extents, kernel, stride, pads, dilation, ceil)

    def windows(n: int, c: int) -> Iterator[tuple[tuple[int, ...], list[int]]]:
        for p in reference.positions(shape):
            axes = [
                [s * i + d * j - a for j in range(k)]
                for s, i, d, k, (a, _) in zip(stride, p, dilation, kernel, pads, strict=True)
            ]
            yield tuple(p), places(extents, axes)

    return shape, windows


def bins(extents: Any, sizes: Any) -> Windows:
    def windows(n: int, c: int) -> Iterator[tuple[tuple[int, ...], list[int]]]:
        for p in reference.positions(sizes):
            axes = [
                range(i * q // m, -(-(i + 1) * q // m)) for i, q, m in zip(p, extents, sizes, strict=True)
            ]
            yield tuple(p), places(extents, axes)

    return windows


def fractional(extents: Any, kernel: Any, sizes: Any, samples: Array) -> Windows:
    """Graham's windows as torch has them, the samples of a plane from its last axis."""

    def begins(u: float, n: int, k: int, m: int) -> list[int]:
        step = (n - k) / (m - 1) if m > 1 else 0.0
        return [int((i + u) * step) - int(u * step) for i in range(m - 1)] + [n - k]

    def windows(n: int, c: int) -> Iterator[tuple[tuple[int, ...], list[int]]]:
        u = samples[n, c, ::-1] if len(kernel) == 2 else samples[n, c]
        starts = [begins(*a) for a in zip(u, extents, kernel, sizes, strict=True)]
        for p in reference.positions(sizes):
            axes = [range(s[i], s[i] + k) for s, i, k in zip(starts, p, kernel, strict=True)]
            yield tuple(p), places(extents, axes)

    return windows


def forward(x: Array, shape: Any, windows: Windows, rule: Rule, *more: Array) -> Array:
    flat, y = x.reshape(*x.shape[:2], -1), np.zeros((*x.shape[:2], *shape))
    for n, c in reference.positions(x.shape[:2]):
        for p, at in windows(n, c):
            y[(n, c, *p)] = rule(flat[n, c, at], *(m[(n, c, *p)] for m in more))[0]
    return y


def vjp(gy: Array, x: Array, windows: Windows, rule: Rule, *more: Array) -> Array:
    flat = x.reshape(*x.shape[:2], -1)
    gx = np.zeros_like(flat)
    for n, c in reference.positions(x.shape[:2]):
        for p, at in windows(n, c):
            gx[n, c, at] += gy[(n, c, *p)] * rule(flat[n, c, at], *(m[(n, c, *p)] for m in more))[1]
    return gx.reshape(x.shape)


# ---- cases

SHAPES: list[tuple[Any, ...]] = [
    ((9,), (3,), (2,), ((1, 1),), (1,), True),
    ((6, 7), (3, 2), (2, 2), ((1, 0), (0, 1)), (1, 2), True),
    ((5, 5), (2, 2), (1, 1), ((0, 0), (1, 1)), (1, 1), False),
    ((4, 5, 3), (2, 3, 1), (1, 2, 2), ((1, 1), (0, 0), (0, 0)), (1, 1, 1), False),
]
RULES: list[tuple[str, Rule, dict[str, Any]]] = [
    *(
        (f"max_pool{{}}d_{ties}", partial(largest, ties=ties), {"ties": ties})
        for ties in ("last", "split", "all")
    ),
    ("min_pool{}d", smallest, {}),
    ("lp_pool{}d", partial(norm, p=3.0), {"norm_type": 3.0}),
    ("lp_pool{}d_2", partial(norm, p=2.0), {"norm_type": 2}),
    ("lp_pool{}d_inf", partial(norm, p=math.inf), {"norm_type": math.inf}),
    ("log_sum_exp_pool{}d", partial(soft, temperature=0.5), {"temperature": 0.5}),
    ("log_mean_exp_pool{}d", partial(soft, mean=True), {}),
    ("soft_pool{}d", weighted, {}),
    ("median_pool{}d", median, {}),
    ("stochastic_pool{}d", drawn, {}),
    ("stochastic_pool{}d_mean", expected, {}),
]


def window_cases() -> list[Case]:
    cases = []
    for extents, kernel, stride, pads, dilation, ceil in SHAPES:
        shape, windows = sliding(extents, kernel, stride, pads, dilation, ceil)
        options = {"kernel_size": kernel, "stride": stride, "padding": pads, "dilation": dilation}
        for family, rule, more in RULES:
            name = family.format(len(extents))
            rng = generator(name, extents)
            arrays: tuple[Array, ...] = ((apart(rng, (2, 2, *extents)) + 0.1) / 8,)  # off the kink of |x|
            if rule is drawn:
                arrays += (rng.uniform(size=(2, 2, *shape)),)
            cases.append(
                pooling_case(
                    name,
                    f"{extents} k{kernel} s{stride} p{pads} d{dilation} ceil={ceil}",
                    arrays,
                    {**options, "ceil_mode": ceil, **more},
                    shape,
                    windows,
                    rule,
                )
            )
    return cases


def pooling_case(
    name: str,
    label: str,
    arrays: tuple[Array, ...],
    options: dict[str, Any],
    shape: Any,
    windows: Windows,
    rule: Rule,
    slow: bool = True,
) -> Case:
    """A case whose samples, if it has some, get a gradient of zeros."""
    return Case(
        name,
        label,
        arrays,
        options,
        lambda x, *more: forward(x, shape, windows, rule, *more),
        lambda gy, x, *more: (vjp(gy, x, windows, rule, *more), *map(np.zeros_like, more)),
        slow,
    )


def global_cases() -> list[Case]:
    cases = []
    for extents in [(7,), (3, 4), (2, 2, 3)]:
        ones = (1,) * len(extents)
        windows = sliding(extents, extents, ones, ((0, 0),) * len(extents), ones, False)[1]
        for family, rule, options in RULES:
            if "min_pool" in family:
                continue
            name = f"global_{family.replace('{}d', '')}"
            arrays: tuple[Array, ...] = ((apart(generator(name, extents), (2, 3, *extents)) + 0.1) / 8,)
            if rule is drawn:
                arrays += (generator(name).uniform(size=(2, 3, *ones)),)
            cases.append(pooling_case(name, str(extents), arrays, options, ones, windows, rule))
    return cases


def adaptive_cases() -> list[Case]:
    cases = []
    for extents, sizes, tiny in [
        ((7,), (3,), True),
        ((4,), (6,), False),
        ((7, 6), (3, 4), False),
        ((9, 20), (2, 9), False),
        ((5, 4, 6), (2, 4, 5), False),
    ]:
        x = apart(generator("adaptive", extents), (2, 2, *extents))
        for what, rule in (("avg", mean), ("max", largest)):
            name = f"adaptive_{what}_pool{len(sizes)}d"
            options = {"output_size": sizes}
            slow = not tiny or what == "max"
            cases.append(
                pooling_case(
                    name, f"{extents} to {sizes}", (x,), options, sizes, bins(extents, sizes), rule, slow
                )
            )
    return cases


def fractional_cases() -> list[Case]:
    cases = []
    for extents, kernel, sizes in [
        ((9, 8), (3, 2), (4, 3)),
        ((5, 5), (2, 2), (1, 4)),
        ((5, 6, 7), (2, 2, 1), (2, 4, 3)),
    ]:
        rng = generator("fractional", extents)
        axes = len(extents)
        x, u = apart(rng, (2, 2, *extents)), rng.uniform(size=(2, 2, axes))
        cases.append(
            Case(
                f"fractional_max_pool{axes}d",
                f"{extents} k{kernel} to {sizes}",
                (x, u),
                {"kernel_size": kernel, "output_size": sizes},
                lambda x, u, at=(extents, kernel, sizes): forward(x, at[2], fractional(*at, u), largest),
                lambda gy, x, u, at=(extents, kernel, sizes): (
                    vjp(gy, x, fractional(*at, u), largest),
                    np.zeros_like(u),
                ),
                True,
            )
        )
    return cases


def unpool_cases() -> list[Case]:
    def unpool(x: Array, i: Array, shape: Any) -> tuple[Array, Array]:
        """The means, and how many came to each place."""
        y, count = np.zeros((*x.shape[:2], math.prod(shape))), np.zeros((*x.shape[:2], math.prod(shape)))
        for at in reference.positions(x.shape):
            y[(*at[:2], i[at])] += x[at]
            count[(*at[:2], i[at])] += 1
        return y / np.maximum(count, 1), count

    def back(gy: Array, x: Array, i: Array, shape: Any) -> tuple[Array, None]:
        count, gx = unpool(x, i, shape)[1], np.zeros_like(x)
        flat = gy.reshape(count.shape)
        for at in reference.positions(x.shape):
            gx[at] = flat[(*at[:2], i[at])] / count[(*at[:2], i[at])]
        return gx, None

    cases = []
    for extents, shape in [((4,), (8,)), ((3, 2), (6, 5)), ((2, 2, 3), (4, 5, 6))]:
        rng = generator("unpool", extents)
        x = rng.standard_normal((2, 2, *extents))
        cases.append(
            Case(
                f"max_unpool{len(extents)}d",
                f"{extents} to {shape}",
                (x, rng.integers(0, math.prod(shape), x.shape)),
                {"kernel_size": 2, "output_size": shape},
                lambda x, i, shape=shape: unpool(x, i, shape)[0].reshape(*x.shape[:2], *shape),
                lambda gy, x, i, shape=shape: back(gy, x, i, shape),
                len(extents) > 1,
            )
        )
    return cases


CASES = [*window_cases(), *global_cases(), *adaptive_cases(), *fractional_cases(), *unpool_cases()]
