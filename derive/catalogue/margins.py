"""Lengths and distances of vectors, and losses that ask for a margin: relu has slope 0 where the margin is just kept."""

from __future__ import annotations

from sympy import Eq, Expr, Ne, Piecewise, Rational, exp, sqrt
from sympy.codegen.cfunctions import log1p

from derive.catalogue.losses import reduced
from derive.language import (
    Mean,
    Operator,
    Real,
    Statement,
    Sum,
    Tensor,
    chosen,
    extent,
    indices,
    maximum,
    minimum,
    reals,
    relu,
    tensors,
)

n, m, r, c, j = indices("n m r c j")
x, t, w, a, b, l, y, z, total, other, product, near, far, apart = tensors(
    "x t w a b l y z total other product near far apart"
)
label = Tensor("t", integer=True)
margin, eps = reals("margin eps")
norm = Real("norm", positive=True)


def root(squares: Expr) -> Expr:
    """A square root, with derivative 0 where it is 0."""
    return chosen(Ne(squares, 0), sqrt(squares))


def at_least(squares: Expr) -> Expr:
    """A square root, or eps where that is larger."""
    return Piecewise((eps, squares <= eps**2), (sqrt(squares), True))


def power(u: Expr) -> Expr:
    """|u|^norm, with derivative 0 where it is 0."""
    return chosen(Ne(u, 0), abs(u) ** norm)


def logistic(u: Expr) -> Expr:
    """log(1 + exp(-u))"""
    return Piecewise((log1p(exp(-u)), u > 0), (log1p(exp(u)) - u, True))


def of_rows(name: str, formula: Expr, *before: Statement, inputs: tuple[Tensor, ...]) -> Operator:
    """A loss of each row, their mean and their sum."""
    made = reduced(name, formula, *inputs)
    return Operator(name, *before, *made.statements, inputs=inputs, outputs=made.outputs)


def multi_margin(name: str, exponent: int) -> Operator:
    missing = relu(margin - x[n, label[n]] + x[n, c]) ** exponent
    return of_rows(
        name,
        w[label[n]] * total[n] / extent(c),
        total[n] << Sum[c](missing, Ne(c, label[n])),
        inputs=(x, label, w),
    )


def triplet(name: str, swap: bool) -> Operator:
    def distance(u: Tensor, v: Tensor) -> Expr:
        return Sum[j]((u[n, j] - v[n, j] + eps) ** 2)

    away = minimum(root(far[n]), root(apart[n])) if swap else root(far[n])
    return of_rows(
        name,
        relu(root(near[n]) - away + margin),
        near[n] << distance(x, a),
        far[n] << distance(x, b),
        *[apart[n] << distance(a, b)] * swap,
        inputs=(x, a, b),
    )


def operators() -> tuple[Operator, ...]:
    cosine = product[n] / (sqrt(total[n] + Rational(1, 10**12)) * sqrt(other[n] + Rational(1, 10**12)))
    d = a[n, j] - b[n, j] + eps
    return (
        Operator(
            "normalize",
            total[m, r] << Sum[j](x[m, j, r] ** 2),
            y[m, c, r] << x[m, c, r] / at_least(total[m, r]),
            inputs=(x,),
        ),
        Operator(
            "normalize_p",
            total[m, r] << Sum[j](power(x[m, j, r])),
            other[m, r] << maximum(chosen(Ne(total[m, r], 0), total[m, r] ** (1 / norm)), eps),
            y[m, c, r] << x[m, c, r] / other[m, r],
            inputs=(x,),
        ),
        Operator(
            "cosine_similarity",
            total[m, r] << Sum[j](a[m, j, r] ** 2),
            other[m, r] << Sum[j](b[m, j, r] ** 2),
            product[m, r] << Sum[j](a[m, j, r] * b[m, j, r]),
            y[m, r] << product[m, r] / (at_least(total[m, r]) * at_least(other[m, r])),
            inputs=(a, b),
        ),
        Operator(
            "pairwise_distance",
            total[n] << Sum[j](d**2),
            y[n] << root(total[n]),
            inputs=(a, b),
        ),
        Operator(
            "pairwise_distance_p",
            total[n] << Sum[j](power(d)),
            y[n] << chosen(Ne(total[n], 0), total[n] ** (1 / norm)),
            inputs=(a, b),
        ),
        reduced("soft_margin_loss", logistic(t[n] * x[n]), x, t),
        reduced(
            "hinge_embedding_loss",
            chosen(Ne(t[n], -1), x[n]) + chosen(Ne(t[n], 1), relu(margin - x[n])),
            *(x, t),
        ),
        reduced("margin_ranking_loss", relu(margin - t[n] * (a[n] - b[n])), a, b, t),
        multi_margin("multi_margin_loss", 1),
        multi_margin("multi_margin_loss_2", 2),
        of_rows(
            "multilabel_soft_margin_loss",
            total[n],
            total[n] << Mean[c](w[c] * ((1 - t[n, c]) * x[n, c] + logistic(x[n, c]))),
            inputs=(x, t, w),
        ),
        of_rows(
            "cosine_embedding_loss",
            chosen(Eq(t[n], 1), 1 - cosine) + chosen(Eq(t[n], -1), relu(cosine - margin)),
            total[n] << Sum[j](a[n, j] ** 2),
            other[n] << Sum[j](b[n, j] ** 2),
            product[n] << Sum[j](a[n, j] * b[n, j]),
            inputs=(a, b, t),
        ),
        triplet("triplet_margin_loss", swap=False),
        triplet("triplet_margin_loss_swap", swap=True),
    )
