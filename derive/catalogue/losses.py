"""Losses, each as one value an element (l), their mean (y) and their sum (z); regularisers, dropout."""

from __future__ import annotations

from sympy import Abs, Eq, Expr, Ne, Piecewise, exp, log
from sympy.codegen.cfunctions import log1p

from derive.language import (
    Max,
    Mean,
    Operator,
    Parameter,
    Sum,
    Tensor,
    extent,
    finite,
    indices,
    reals,
    tensors,
)

n, c, r, i, j = indices("n c r i j")
x, w, y, z, l, p, q, t, peak, total = tensors("x w y z l p q t peak total")
label = Tensor("t", integer=True)
delta, strength, smoothing, scale = reals("delta strength smoothing scale")
ignore = Parameter("ignore", positive=False)


def reduced(name: str, formula: Expr, *inputs: Tensor) -> Operator:
    """A loss of each element, its mean and its sum."""
    return Operator(
        name,
        l[n] << formula,
        y[()] << Mean[n](l[n]),
        z[()] << Sum[n](l[n]),
        inputs=inputs,
        outputs=(l, y, z),
    )


def operators() -> tuple[Operator, ...]:
    d = x[n] - t[n]
    counts = Eq(label[n, r], c), Ne(c, ignore)  # the class is the target, and is not ignored
    logistic = Piecewise((log1p(exp(-x[i, j])), x[i, j] > 0), (log1p(exp(x[i, j])) - x[i, j], True))
    of_all_classes = (
        peak[n, r] << Max[c](x[n, c, r]),
        total[n, r] << log(Sum[c](exp(x[n, c, r] - finite(peak[n, r])))),
    )
    surprise = total[n, r] - (x[n, c, r] - finite(peak[n, r]))  # -log_softmax
    return (
        reduced("mse_loss", d**2, x, t),
        reduced("l1_loss", Abs(d), x, t),
        reduced(
            "smooth_l1_loss",
            Piecewise((d**2 / (2 * delta), Abs(d) < delta), (Abs(d) - delta / 2, True)),
            x,
            t,
        ),
        reduced(
            "huber_loss", Piecewise((d**2 / 2, Abs(d) <= delta), (delta * (Abs(d) - delta / 2), True)), x, t
        ),
        Operator(
            "binary_cross_entropy_with_logits",
            l[i, j] << w[i, j] * ((1 - t[i, j]) * x[i, j] + (1 + (p[j] - 1) * t[i, j]) * logistic),
            y[()] << Mean[i, j](l[i, j]),
            z[()] << Sum[i, j](l[i, j]),
            inputs=(x, t, w, p),
            outputs=(l, y, z),
        ),
        Operator(
            "nll_loss",
            l[n, r] << -Sum[c](w[c] * x[n, c, r], *counts),
            z[()] << Sum[n, r](l[n, r]),
            y[()] << z[()] / Sum[n, r, c](w[c], *counts),
            inputs=(x, label, w),
            outputs=(l, y, z),
        ),
        Operator(
            "cross_entropy_weighted",
            *of_all_classes,
            l[n, r]
            << (1 - smoothing) * Sum[c](w[c] * surprise, *counts)
            + smoothing / extent(c) * Sum[c](w[c] * surprise, Ne(label[n, r], ignore)),
            z[()] << Sum[n, r](l[n, r]),
            y[()] << z[()] / Sum[n, r, c](w[c], *counts),
            inputs=(x, label, w),
            outputs=(l, y, z),
        ),
        Operator(
            "cross_entropy_probabilities",
            *of_all_classes,
            l[n, r] << Sum[c](w[c] * surprise * ((1 - smoothing) * q[n, c, r] + smoothing / extent(c))),
            y[()] << Mean[n, r](l[n, r]),
            z[()] << Sum[n, r](l[n, r]),
            inputs=(x, q, w),
            outputs=(l, y, z),
        ),
        Operator("dropout", y[n] << scale * q[n] * x[n], inputs=(x, q)),
        Operator("l1_regularizer", y[()] << strength * Sum[n](Abs(x[n])), inputs=(x,)),
        Operator("l2_regularizer", y[()] << strength * Sum[n](x[n] ** 2), inputs=(x,)),
    )
