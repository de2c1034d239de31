"""Resampling, pixel shuffles, padding."""

from __future__ import annotations

from collections.abc import Callable

from sympy import Abs, Expr, Integer, Mod, Or, Piecewise, Rational, floor

from derive.language import Mean, Operator, Real, Statement, Sum, Tensor, extent, indices, parameters, tensors

n, c, i, j, k = indices("n c i j k")
x, y, mu = tensors("x y mu")


def nearest(nd: int) -> Operator:
    """The place that (a*p + b) / d is rounded down to."""
    p, (a, d) = indices("p", nd), parameters("a d", nd)
    b = parameters("b", nd, positive=False)
    q = [floor((a[m] * p[m] + b[m]) / d[m]) for m in range(nd)]
    return Operator("interpolate", y[n, *p] << x[n, *q], inputs=(x,), given=p)


def hat(t: Expr) -> Expr:
    """Weight of tap k of 2, t behind the first: linear interpolation."""
    return Piecewise((1 - t, k < 1), (t, True))


def cubic(t: Expr) -> Expr:
    """Weight of tap k of 4, t behind the second: Keys' cubic convolution with -3/4."""
    alpha, d = Rational(-3, 4), Abs(t + 1 - k)
    near = (alpha + 2) * d**3 - (alpha + 3) * d**2 + 1
    far = alpha * (d**3 - 5 * d**2 + 8 * d - 4)
    return Piecewise((near, d <= 1), (far, True))


def interpolate(name: str, nd: int, taps: int, weight: Callable[[Expr], Expr]) -> Operator:
    """One axis after the other: place p lies at (a*p + b) / d - 1, and the edge goes on beyond the edge."""
    (p, q), (a, d) = indices("p q", nd), parameters("a d", nd)
    b = parameters("b", nd, positive=False)
    tap, reach = Integer(taps), Integer(taps // 2)

    def read_along(name: str, axis: int) -> Tensor:
        return Tensor(name, [(reach, reach) if m == axis else (0, 0) for m in range(nd)], "replicate")

    source = read_along("x", 0)
    inputs, statements = (source,), list[Statement]()
    for m in range(nd):
        target = y if m == nd - 1 else read_along(f"z{m}", m + 1)
        at = a[m] * p[m] + b[m]
        read = source[n, *p[:m], floor(at / d[m]) - reach + k, *q[m + 1 :]]
        statements.append(target[n, *p[: m + 1], *q[m + 1 :]] << Sum[k](read * weight(Mod(at, d[m]) / d[m])))
        source = target
    return Operator(name, *statements, inputs=inputs, given=p, extents={k: tap})


def shuffles() -> tuple[Operator, ...]:
    """r*r channels as places r apart, and back; groups of channels dealt out in turn."""
    p, r = indices("p", 2), parameters("r")
    coarse, fine = (n, r * r * c + r * i + j, *p), (n, c, r * p[0] + i, r * p[1] + j)
    return (
        Operator("pixel_shuffle", y[fine] << x[coarse], inputs=(x,), extents={i: r, j: r}),
        Operator("pixel_unshuffle", y[coarse] << x[fine], inputs=(x,), extents={i: r, j: r}),
        Operator("channel_shuffle", y[n, j, i, k] << x[n, i, j, k], inputs=(x,)),
    )


def pad(nd: int, mode: str) -> Operator:
    """a places before and e after each axis; where nothing is folded back, or any number of places from one on."""
    (p, q), (a, e, cut) = indices("p q", nd), parameters("a e cut", nd, positive=False)
    if mode not in ("constant", "mean"):
        x = Tensor("x", list(zip(a, e, strict=True)), mode)
        return Operator(f"pad_{mode}", y[n, *p] << x[n, *(p[m] - a[m] for m in range(nd))], inputs=(x,))
    x = Tensor("x", [(a[m], extent(p[m])) for m in range(nd)], 0)
    at = [p[m] + cut[m] - a[m] for m in range(nd)]
    beyond = Or(*(where for m in range(nd) for where in (at[m] < 0, at[m] >= x.size(1 + m))))
    value = Real("value") if mode == "constant" else mu[n]
    return Operator(
        "pad" if mode == "constant" else "pad_mean",
        *[mu[n] << Mean[q](x[n, *q])] * (mode == "mean"),
        y[n, *p] << x[n, *at],
        y[n, *p] << Piecewise((value, beyond), (0, True)),
        inputs=(x,),
        given=p,
    )


def operators() -> tuple[Operator, ...]:
    return (
        nearest(3),
        interpolate("interpolate_linear", 1, 2, hat),
        interpolate("interpolate_bilinear", 2, 2, hat),
        interpolate("interpolate_trilinear", 3, 2, hat),
        interpolate("interpolate_bicubic", 2, 4, cubic),
        *shuffles(),
        pad(5, "constant"),
        *(pad(3, mode) for mode in ("reflect", "symmetric", "replicate", "circular", "mean")),
    )
