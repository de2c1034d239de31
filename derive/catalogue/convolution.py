"""Convolution on any number of axes. Channels come as (group, channel in the group)."""

from __future__ import annotations

from derive.language import Operator, Sum, Tensor, indices, parameters, tensors

n, g, o, c = indices("n g o c")
w, y = tensors("w y")
b = Tensor("b", optional=True)


def conv(nd: int) -> Operator:
    """Cross-correlation with stride s, dilation d, zeros before (a) and after (e): torch's convolution."""
    (p, k), (s, d) = indices("p k", nd), parameters("s d", nd)
    a, e = parameters("a e", nd, positive=False)
    q = [s[i] * p[i] + d[i] * k[i] - a[i] for i in range(nd)]
    x = Tensor("x", margin=list(zip(a, e, strict=True)))
    return Operator(
        f"conv{nd}d",
        y[n, g, o, *p] << Sum[c, *k](x[n, g, c, *q] * w[g, o, c, *k]) + b[g, o],
        inputs=(x, w, b),
    )


def convolve(nd: int) -> Operator:
    """True convolution, the kernel flipped: (x * w)[p + a] for as many p as the caller asks for."""
    p, k = indices("p k", nd)
    a = parameters("a", nd, positive=False)
    x = Tensor("x")
    q = [p[i] - k[i] + a[i] for i in range(nd)]
    return Operator(f"convolve{nd}d", y[p] << Sum[k](x[tuple(q)] * w[k]), inputs=(x, w), given=p)


def operators() -> tuple[Operator, ...]:
    return tuple(make(nd) for make in (conv, convolve) for nd in (1, 2, 3))
