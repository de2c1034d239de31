"""What joins the branches of a network, and what changes an array's shape."""

from __future__ import annotations

from sympy import Eq

from derive.language import Operator, Sum, indices, tensors

n, c, d, e, r = indices("n c d e r")
x, y, z = tensors("x y z")


def operators() -> tuple[Operator, ...]:
    second = c - x.size(1)
    return (
        Operator("add", y[n] << x[n] + z[n], inputs=(x, z)),
        Operator(
            "concatenate",
            y[n, c, r] << Sum[d](x[n, d, r], Eq(d, c)) + Sum[e](z[n, e, r], Eq(e, second)),
            inputs=(x, z),
            extents={c: x.size(1) + z.size(1)},
        ),
        Operator("flatten", y[n] << x[n], inputs=(x,)),
    )
