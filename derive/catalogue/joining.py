"""What joins the branches of a network, and what changes an array's shape."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator

from sympy import Eq, Expr

from derive.language import Operator, Sum, indices, tensors

n, c, d, e, r = indices("n c d e r")
i, j, k, l, s, t = indices("i j k l s t")
x, y, z = tensors("x y z")


ARITHMETIC: dict[str, Callable[[Expr, Expr], Expr]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
}


def arithmetic() -> Iterator[Operator]:
    """Two arrays, one or both of which are repeated along axes that they do not have: a gradient sums over these.

    Axes that follow each other and are alike are one index, so two of a kind are enough for nearly every pair of shapes.
    """
    whole, part = x[s, i, t, j], z[i, j]  # which of two is repeated; last, where both are
    for name, of in ARITHMETIC.items():
        made = {
            "": y[n] << of(x[n], z[n]),
            "_broadcast_other": y[s, i, t, j] << of(whole, part),
            "_broadcast_input": y[s, i, t, j] << of(x[i, j], z[s, i, t, j]),
            "_broadcast_both_other": y[i, k, s, l, t, j] << of(x[i, s, t, j], z[i, k, l, j]),
            "_broadcast_both_input": y[i, k, s, l, t, j] << of(x[i, k, l, j], z[i, s, t, j]),
        }
        for how, statement in made.items():
            if "input" not in how or of(whole, part) != of(
                part, whole
            ):  # else the same with the arrays exchanged
                yield Operator(name + how, statement, inputs=(x, z))


def operators() -> tuple[Operator, ...]:
    second = c - x.size(1)
    return (
        *arithmetic(),
        Operator(
            "concatenate",
            y[n, c, r] << Sum[d](x[n, d, r], Eq(d, c)) + Sum[e](z[n, e, r], Eq(e, second)),
            inputs=(x, z),
            extents={c: x.size(1) + z.size(1)},
        ),
        Operator("flatten", y[n] << x[n], inputs=(x,)),
    )
