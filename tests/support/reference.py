"""What every shipped operator means, in slow loops over NumPy arrays.

Written from the definitions in torch's and SciPy's manuals, for the user's layouts; shares nothing with the
engine or its kernels.

A gradient here is the same loop as its forward, run backwards: each term y[p] += a * b of the forward is
ga += gy[p] * b, gb += gy[p] * a.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

Array = Any  # an ndarray; its static type would be nothing but casts here
Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]
EVERY = slice(None)


def positions(shape: Ints) -> Iterator[Ints]:
    return product(*map(range, shape))


def conv_terms(
    extents: Ints, kernel: Ints, stride: Ints, pads: Pairs, dilation: Ints
) -> Iterator[tuple[Ints, Ints, Ints]]:
    """(p, k, q) for every tap k of the window at p that reads the input at q, not its padding."""
    for p in positions(conv_shape(extents, kernel, stride, pads, dilation)):
        for k in positions(kernel):
            q = tuple(
                s * i + d * j - a for s, i, d, j, (a, _) in zip(stride, p, dilation, k, pads, strict=True)
            )
            if all(0 <= i < n for i, n in zip(q, extents, strict=True)):
                yield p, k, q


def conv_shape(extents: Ints, kernel: Ints, stride: Ints, pads: Pairs, dilation: Ints) -> Ints:
    return tuple(
        (n + a + e - (d * (k - 1) + 1)) // s + 1
        for n, k, s, (a, e), d in zip(extents, kernel, stride, pads, dilation, strict=True)
    )


def same_padding(extents: Ints, kernel: Ints, stride: Ints, dilation: Ints) -> Pairs:
    """ceil(n / stride) windows, the odd zero after."""
    pairs = []
    for n, k, s, d in zip(extents, kernel, stride, dilation, strict=True):
        total = max(0, (math.ceil(n / s) - 1) * s + d * (k - 1) + 1 - n)
        pairs.append((total // 2, total - total // 2))
    return tuple(pairs)


def conv(
    x: Array, w: Array, b: Array | None, stride: Ints, pads: Pairs, dilation: Ints, groups: int
) -> Array:
    extents, kernel = x.shape[2:], w.shape[2:]
    y = np.zeros((x.shape[0], w.shape[0], *conv_shape(extents, kernel, stride, pads, dilation)), x.dtype)
    inner, outer = w.shape[1], w.shape[0] // groups
    for p, k, q in conv_terms(extents, kernel, stride, pads, dilation):
        for n, o, c in product(range(x.shape[0]), range(w.shape[0]), range(inner)):
            y[(n, o, *p)] += x[(n, o // outer * inner + c, *q)] * w[(o, c, *k)]
    return y if b is None else y + b.reshape(1, -1, *(1,) * len(kernel))


def conv_vjp(
    x: Array, w: Array, gy: Array, stride: Ints, pads: Pairs, dilation: Ints, groups: int
) -> tuple[Array, Array, Array]:
    gx, gw = np.zeros_like(x), np.zeros_like(w)
    inner, outer = w.shape[1], w.shape[0] // groups
    for p, k, q in conv_terms(x.shape[2:], w.shape[2:], stride, pads, dilation):
        for n, o, c in product(range(x.shape[0]), range(w.shape[0]), range(inner)):
            at = (n, o // outer * inner + c, *q)
            gx[at] += gy[(n, o, *p)] * w[(o, c, *k)]
            gw[(o, c, *k)] += gy[(n, o, *p)] * x[at]
    return gx, gw, gy.sum((0, *range(2, gy.ndim)))


def convolve_terms(n: Ints, k: Ints, mode: str) -> tuple[Ints, list[tuple[Ints, Ints, Ints]]]:
    """The result's shape, and (p, i, j) for every product x[i] * w[j] in y[p]."""
    if mode == "full":
        first, shape = (0,) * len(n), tuple(a + b - 1 for a, b in zip(n, k, strict=True))
    elif mode == "same":
        first, shape = tuple((b - 1) // 2 for b in k), n
    else:
        first = tuple(min(a, b) - 1 for a, b in zip(n, k, strict=True))
        shape = tuple(abs(a - b) + 1 for a, b in zip(n, k, strict=True))
    terms = []
    for i, j in product(positions(n), positions(k)):
        p = tuple(a + b - f for a, b, f in zip(i, j, first, strict=True))
        if all(0 <= a < m for a, m in zip(p, shape, strict=True)):
            terms.append((p, i, j))
    return shape, terms


def convolve(x: Array, w: Array, mode: str) -> Array:
    shape, terms = convolve_terms(x.shape, w.shape, mode)
    y = np.zeros(shape, x.dtype)
    for p, i, j in terms:
        y[p] += x[i] * w[j]
    return y


def convolve_vjp(x: Array, w: Array, gy: Array, mode: str) -> tuple[Array, Array]:
    gx, gw = np.zeros_like(x), np.zeros_like(w)
    for p, i, j in convolve_terms(x.shape, w.shape, mode)[1]:
        gx[i] += gy[p] * w[j]
        gw[j] += gy[p] * x[i]
    return gx, gw


def pool_shape(extents: Ints, kernel: Ints, stride: Ints, pads: Pairs, dilation: Ints, ceil: bool) -> Ints:
    shape = []
    for n, k, s, (a, e), d in zip(extents, kernel, stride, pads, dilation, strict=True):
        free = n + a + e - (d * (k - 1) + 1)
        count = (-(-free // s) if ceil else free // s) + 1
        if ceil and (count - 1) * s >= n + a:
            count -= 1  # the last window would begin in the padding after, or beyond
        shape.append(count)
    return tuple(shape)


def max_pool(
    x: Array, kernel: Ints, stride: Ints, pads: Pairs, dilation: Ints, ceil: bool
) -> tuple[Array, Array]:
    """Maxima and the flat index of each in its plane."""
    extents = x.shape[2:]
    shape = (*x.shape[:2], *pool_shape(extents, kernel, stride, pads, dilation, ceil))
    y, at = np.full(shape, -np.inf, x.dtype), np.zeros(shape, np.int64)
    for n, c, *p in positions(shape):
        best = None
        for k in positions(kernel):
            q = tuple(
                s * i + d * j - a for s, i, d, j, (a, _) in zip(stride, p, dilation, k, pads, strict=True)
            )
            if all(0 <= i < m for i, m in zip(q, extents, strict=True)):
                value = x[(n, c, *q)]
                if best is None or value > best or np.isnan(value):
                    best = value
                    y[(n, c, *p)], at[(n, c, *p)] = value, np.ravel_multi_index(q, extents)
    return y, at


def max_pool_vjp(x: Array, at: Array, gy: Array) -> Array:
    gx = np.zeros((*x.shape[:2], math.prod(x.shape[2:])), x.dtype)
    for n, c, *p in positions(gy.shape):
        gx[n, c, at[(n, c, *p)]] += gy[(n, c, *p)]
    return gx.reshape(x.shape)


def avg_windows(
    extents: Ints, kernel: Ints, stride: Ints, pad: Ints, ceil: bool, include: bool, divisor: int | None
) -> Iterator[tuple[Ints, tuple[slice, ...], int]]:
    """(p, the window cut at the input's edges, what its sum is divided by)"""
    pads = tuple((a, a) for a in pad)
    for p in positions(pool_shape(extents, kernel, stride, pads, (1,) * len(kernel), ceil)):
        first = [s * i - a for s, i, a in zip(stride, p, pad, strict=True)]
        end = [min(f + k, n + a) for f, k, n, a in zip(first, kernel, extents, pad, strict=True)]
        whole = math.prod(e - f for f, e in zip(first, end, strict=True))
        cut = tuple(
            slice(max(f, 0), max(f, 0, min(e, n))) for f, e, n in zip(first, end, extents, strict=True)
        )
        inside = math.prod(s.stop - s.start for s in cut)
        yield p, cut, divisor or (whole if include else inside)


def avg_pool(x: Array, *window: Any) -> Array:
    shape = pool_shape(
        x.shape[2:], window[0], window[1], tuple((a, a) for a in window[2]), (1,) * (x.ndim - 2), window[3]
    )
    y = np.zeros((*x.shape[:2], *shape), x.dtype)
    for p, cut, by in avg_windows(x.shape[2:], *window):
        taps = x[(EVERY, EVERY, *cut)]
        at: Any = (EVERY, EVERY, *p)
        y[at] = taps.sum(tuple(range(2, x.ndim))) / by if by else 0
    return y


def avg_pool_vjp(x: Array, gy: Array, *window: Any) -> Array:
    gx = np.zeros_like(x)
    for p, cut, by in avg_windows(x.shape[2:], *window):
        if by:
            gx[(EVERY, EVERY, *cut)] += gy[(EVERY, EVERY, *p)].reshape(*x.shape[:2], *(1,) * len(cut)) / by
    return gx


def log_softmax(x: Array, axis: int) -> Array:
    shifted = x - x.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def log_softmax_vjp(x: Array, gy: Array, axis: int) -> Array:
    return gy - np.exp(log_softmax(x, axis)) * gy.sum(axis, keepdims=True)


def cross_entropy(x: Array, target: Array) -> Array:
    """One loss for each target; classes along axis 1."""
    scores = log_softmax(x, 1)
    return -np.take_along_axis(scores, np.expand_dims(target, 1), 1)[:, 0]


def cross_entropy_vjp(x: Array, target: Array, gl: Array) -> Array:
    one_hot = np.zeros_like(x)
    np.put_along_axis(one_hot, np.expand_dims(target, 1), 1, 1)
    return (np.exp(log_softmax(x, 1)) - one_hot) * np.expand_dims(gl, 1)
