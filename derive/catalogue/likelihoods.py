"""Negative logarithms of likelihoods, each as one value an element (l), their mean (y) and their sum (z)."""

from __future__ import annotations

from sympy import Expr, Piecewise, Rational, exp, log, pi
from sympy.codegen.cfunctions import log1p

from derive.catalogue.losses import reduced
from derive.language import Mean, Operator, Sum, chosen, extent, indices, maximum, reals, tensors

n, i, j = indices("n i j")
x, t, v, w, l, y, z, per_row = tensors("x t v w l y z per_row")
eps, full, constant = reals("eps full constant")


def bounded(logarithm: Expr, of: Expr) -> Expr:
    """A logarithm, at least -100: torch's bound, below which there is no slope."""
    return Piecewise((logarithm, of > exp(-100)), (-100, True))


def stirling(t: Expr) -> Expr:
    """The logarithm of t!, nearly; 0 up to 1."""
    return chosen(t > 1, t * log(t) - t + log(2 * pi * t) / 2)


def divergence(name: str, formula: Expr) -> Operator:
    """Per row, too: the sum over the number of rows."""
    return Operator(
        name,
        l[i, j] << formula,
        y[()] << Mean[i, j](l[i, j]),
        z[()] << Sum[i, j](l[i, j]),
        per_row[()] << z[()] / extent(i),
        inputs=(x, t),
        outputs=(l, y, z, per_row),
    )


def operators() -> tuple[Operator, ...]:
    variance = maximum(v[n], eps)
    return (
        reduced(
            "binary_cross_entropy",
            -w[n] * (t[n] * bounded(log(x[n]), x[n]) + (1 - t[n]) * bounded(log1p(-x[n]), 1 - x[n])),
            *(x, t, w),
        ),
        divergence("kl_div", chosen(t[i, j] > 0, t[i, j] * log(t[i, j])) - t[i, j] * x[i, j]),
        divergence("kl_div_log_target", exp(t[i, j]) * (t[i, j] - x[i, j])),
        reduced("poisson_nll_loss", exp(x[n]) - t[n] * x[n] + full * stirling(t[n]), x, t),
        reduced("poisson_nll_loss_rate", x[n] - t[n] * log(x[n] + eps) + full * stirling(t[n]), x, t),
        reduced(
            "gaussian_nll_loss",
            Rational(1, 2) * (log(variance) + (x[n] - t[n]) ** 2 / variance) + constant,
            *(x, t, v),
        ),
    )
