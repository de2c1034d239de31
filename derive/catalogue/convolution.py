"""Convolution on any number of axes. Channels come as (group, channel in the group)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sympy as sp

from derive.language import Mean, Operator, Real, Sum, Tensor, extent, indices, parameters, tensors

n, g, o, c, m = indices("n g o c m")
x, w, v, y, z, mu = tensors("x w v y z mu")
b = Tensor("b", optional=True)

# What a window reads outside of the array, beside zeros, where there is nothing to add.
MODES = ("constant", "mean", "reflect", "symmetric", "replicate", "circular")


class Window:
    """Windows at positions p with taps k: stride s, dilation d, padding before (a) and after (e), on nd axes."""

    def __init__(self, nd: int) -> None:
        self.p, self.k = indices("p k", nd)
        self.s, self.d = parameters("s d", nd)
        self.a, self.e = parameters("a e", nd, positive=False)
        each = zip(self.s, self.p, self.d, self.k, self.a, strict=True)
        self.q: list[sp.Expr] = [s * p + d * k - a for s, p, d, k, a in each]

    def padded(self, outside: Any = "absent") -> Tensor:
        return Tensor("x", margin=list(zip(self.a, self.e, strict=True)), outside=outside)


def conv(nd: int, mode: str = "zeros") -> Operator:
    """Cross-correlation: torch's convolution. `mode` says what is outside of x; the mean is that of its plane."""
    at, plane = Window(nd), indices("r", nd)
    x = at.padded({"zeros": "absent", "constant": Real("u"), "mean": mu[n, g, c]}.get(mode, mode))
    means = [mu[n, g, c] << Mean[plane](x[n, g, c, *plane])] * (mode == "mean")
    sums = y[n, g, o, *at.p] << Sum[c, *at.k](x[n, g, c, *at.q] * w[g, o, c, *at.k]) + b[g, o]
    name = f"conv{nd}d" if mode == "zeros" else f"conv{nd}d_{mode}"
    return Operator(name, *means, sums, inputs=(x, w, b))


def conv_transpose(nd: int) -> Operator:
    """Transposed convolution: x[p] adds itself, times the kernel, at s p + d k - a. Y gives the extents of y."""
    at, q = Window(nd), indices("q", nd)
    spread = Sum[c, *at.p, *at.k](
        x[n, g, c, *at.p] * w[g, c, o, *at.k], *(sp.Eq(e, i) for e, i in zip(at.q, q, strict=True))
    )
    return Operator(f"conv_transpose{nd}d", y[n, g, o, *q] << spread + b[g, o], inputs=(x, w, b), given=q)


def locally_connected(nd: int) -> Operator:
    """A convolution with a kernel of its own at each position."""
    at = Window(nd)
    x = at.padded()
    sums = Sum[c, *at.k](x[n, c, *at.q] * w[o, *at.p, c, *at.k])
    return Operator(f"locally_connected{nd}d", y[n, o, *at.p] << sums + b[o, *at.p], inputs=(x, w, b))


def separable_conv(nd: int) -> Operator:
    """Each group of channels by itself, and then across them, position by position."""
    at = Window(nd)
    x = at.padded()
    return Operator(
        f"separable_conv{nd}d",
        z[n, g, o, *at.p] << Sum[c, *at.k](x[n, g, c, *at.q] * v[g, o, c, *at.k]),
        y[n, m, *at.p] << Sum[g, o](z[n, g, o, *at.p] * w[m, g, o]) + b[m],
        inputs=(x, v, w, b),
    )


def unfold(nd: int) -> Operator:
    """Each window as a column (im2col): zero where it reaches outside."""
    at = Window(nd)
    x = at.padded(outside=0)
    return Operator(f"unfold{nd}d", y[n, c, *at.k, *at.p] << x[n, c, *at.q], inputs=(x,), given=at.k)


def fold(nd: int) -> Operator:
    """Columns added up where they came from (col2im); Q gives the extents of y."""
    at, q = Window(nd), indices("q", nd)
    added = Sum[(*at.k, *at.p)](x[n, c, *at.k, *at.p], *(sp.Eq(e, i) for e, i in zip(at.q, q, strict=True)))
    return Operator(f"fold{nd}d", y[n, c, *q] << added, inputs=(x,), given=q)


def toeplitz(nd: int) -> Operator:
    """The matrix of a convolution, doubly blocked Toeplitz where nd is 2: its entry at an output and an input is a tap."""
    at, q = Window(nd), indices("q", nd)
    places = (sp.Eq(e, i) for e, i in zip(at.q, q, strict=True))
    taps = Sum[at.k](w[g, o, c, *at.k], *places, sp.Eq(g, m))
    return Operator(
        f"toeplitz{nd}d",
        y[g, o, *at.p, m, c, *q] << taps,
        inputs=(w,),
        given=(*at.p, *q),
        extents={m: extent(g)},
    )


def convolve(nd: int) -> Operator:
    """True convolution, the kernel flipped: (x * w)[p + a] for as many p as the caller asks for."""
    p, k = indices("p k", nd)
    a = parameters("a", nd, positive=False)
    x = Tensor("x")
    q = [p[i] - k[i] + a[i] for i in range(nd)]
    return Operator(f"convolve{nd}d", y[p] << Sum[k](x[tuple(q)] * w[k]), inputs=(x, w), given=p)


def families() -> Iterator[tuple[Operator, ...]]:
    for nd in (1, 2, 3):
        yield conv(nd), conv_transpose(nd), separable_conv(nd), *(conv(nd, mode) for mode in MODES)
    yield conv(4), conv_transpose(4), *(conv(4, mode) for mode in MODES)
    for make in (convolve, locally_connected, unfold, fold, toeplitz):
        yield from ((make(nd),) for nd in (1, 2, 3))
