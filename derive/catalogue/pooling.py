"""Pooling over windows of K taps, and over everything."""

from __future__ import annotations

import sympy as sp

from derive.language import (
    ArgMax,
    Max,
    Mean,
    Min,
    Operator,
    Parameter,
    Sum,
    Tensor,
    indices,
    inside,
    maximum,
    overhang,
    parameters,
    tensors,
)

n, c = indices("n c")
y = tensors("y")
ceil = Parameter("ceil", positive=False)


def max_pool(nd: int) -> Operator:
    """The largest of each window and where in the plane it lies: the first of ties, the last NaN."""
    (p, k), (s, d) = indices("p k", nd), parameters("s d", nd)
    a, e = parameters("a e", nd, positive=False)
    x, i = Tensor("x", margin=list(zip(a, e, strict=True))), Tensor("i", integer=True)
    q = [s[m] * p[m] + d[m] * k[m] - a[m] for m in range(nd)]
    flat = sp.S.Zero
    for m in range(nd):
        flat = flat * x.size(2 + m) + q[m]
    return Operator(
        f"max_pool{nd}d",
        i[n, c, *p] << ArgMax[k](x[n, c, *q], at=flat),
        y[n, c, *p] << Max[k](x[n, c, *q]),
        inputs=(x,),
        outputs=(y, i),
        given=k,
        laws={m: overhang(ceil) for m in p},
    )


def avg_pool(nd: int) -> Operator:
    """Each window over `divisor`, the taps in the padded input (`include`), or those in the input."""
    (p, k), s = indices("p k", nd), parameters("s", nd)
    a, e = parameters("a e", nd, positive=False)
    include, divisor = Parameter("include", positive=False), Parameter("divisor", positive=False)
    x = Tensor("x", margin=list(zip(a, e, strict=True)))
    q = [s[m] * p[m] + k[m] - a[m] for m in range(nd)]
    padded = Sum[k](1, *(q[m] < x.size(2 + m) + e[m] for m in range(nd)))
    count = sp.Piecewise(
        (divisor, sp.Ne(divisor, 0)), (padded, include > 0), (maximum(Sum[k](inside(x[n, c, *q])), 1), True)
    )
    return Operator(
        f"avg_pool{nd}d",
        y[n, c, *p] << Sum[k](x[n, c, *q]) / count,
        inputs=(x,),
        given=k,
        laws={m: overhang(ceil) for m in p},
    )


def operators() -> tuple[Operator, ...]:
    q, x = indices("q"), Tensor("x")
    whole = tuple(
        Operator(f"global_{name}_pool", y[n, c] << reduce[q](x[n, c, q]), inputs=(x,))
        for name, reduce in (("avg", Mean), ("max", Max), ("min", Min))
    )
    return (*(make(nd) for make in (max_pool, avg_pool) for nd in (1, 2, 3)), *whole)
