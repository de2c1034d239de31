"""Normalisations. A variance is the mean of squared distances from the mean, in a pass of its own: nothing cancels."""

from __future__ import annotations

from sympy import Expr, Mul, floor, sqrt

from derive.language import Index, Mean, Operator, Tensor, extent, indices, reals, tensors

n, g, c, i, j, r = indices("n g c i j r")
x, w, y, mean, var = tensors("x w y mean var")
new_mean, new_var = tensors("new_mean new_var")
b, old_mean, old_var = (Tensor(name, optional=True) for name in ("b", "old_mean", "old_var"))
(eps, momentum, alpha, k), beta = reals("eps momentum alpha k"), reals("beta", positive=True)


def trained(name: str, kept: tuple[Index, ...], over: tuple[Index, ...]) -> Operator:
    """Normalised by mean and variance over some axes, which go into running statistics: the unbiased variance."""
    count = Mul(*map(extent, over))
    return Operator(
        name,
        mean[kept] << Mean[over](x[n, c, r]),
        var[kept] << Mean[over]((x[n, c, r] - mean[kept]) ** 2),
        y[n, c, r] << (x[n, c, r] - mean[kept]) / sqrt(var[kept] + eps) * w[c] + b[c],
        new_mean[c] << (1 - momentum) * old_mean[c] + momentum * batch(mean, kept),
        new_var[c] << (1 - momentum) * old_var[c] + momentum * batch(var, kept) * count / (count - 1),
        inputs=(x, old_mean, old_var, w, b),
        outputs=(y, new_mean, new_var),
    )


def batch(statistic: Tensor, kept: tuple[Index, ...]) -> Expr:
    """A statistic of the channel: its mean over the batch, if each sample has one of its own."""
    return Mean[n](statistic[kept]) if n in kept else statistic[kept]


def operators() -> tuple[Operator, ...]:
    near = Tensor("x", margin=[(floor(extent(j) / 2), floor((extent(j) - 1) / 2)), (0, 0)])
    return (
        Operator(
            "batch_norm",
            y[n, c, r] << (x[n, c, r] - mean[c]) / sqrt(var[c] + eps) * w[c] + b[c],
            inputs=(x, mean, var, w, b),
        ),
        trained("batch_norm_training", (c,), (n, r)),
        trained("instance_norm", (n, c), (r,)),
        Operator(
            "layer_norm",
            mean[n] << Mean[i](x[n, i]),
            var[n] << Mean[i]((x[n, i] - mean[n]) ** 2),
            y[n, i] << (x[n, i] - mean[n]) / sqrt(var[n] + eps) * w[i] + b[i],
            inputs=(x, w, b),
        ),
        Operator(
            "group_norm",
            mean[n, g] << Mean[i, r](x[n, g, i, r]),
            var[n, g] << Mean[i, r]((x[n, g, i, r] - mean[n, g]) ** 2),
            y[n, g, i, r] << (x[n, g, i, r] - mean[n, g]) / sqrt(var[n, g] + eps) * w[g, i] + b[g, i],
            inputs=(x, w, b),
        ),
        Operator(
            "rms_norm",
            y[n, i] << x[n, i] / sqrt(Mean[j](x[n, j] ** 2) + eps) * w[i],
            inputs=(x, w),
        ),
        Operator(
            "local_response_norm",
            y[n, c, r]
            << near[n, c, r] / (k + alpha * Mean[j](near[n, c + j - floor(extent(j) / 2), r] ** 2)) ** beta,
            inputs=(near,),
            given=(j,),
        ),
    )
