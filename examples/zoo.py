"""Operators that nobody wrote a kernel for, each as its equations.

    derive-kernels generate examples/zoo.py --out my_package/

Formulas keep the letters of the mathematics: n batch, c and o channels in and out, p positions out, q positions
in, k taps; s stride, d dilation, a and e padding before and after. `Tensor(..., margin, outside)` says how far a
read may leave a tensor and what it means there.
"""

from __future__ import annotations

from itertools import starmap

from sympy import Abs, Eq, Expr, Mod, Piecewise, ceiling, exp, floor, sqrt, tanh

from derive import (
    ArgMax,
    Kth,
    LogSumExp,
    Max,
    Mean,
    Min,
    Operator,
    Prod,
    Sum,
    Tensor,
    extent,
    indices,
    parameters,
    reals,
    relu,
    tensors,
)

n, c, o, q, h, i, j, e, m = indices("n c o q h i j e m")
p, k = indices("p k", 2)
x, w, y, z, b, v, g, mu, var = tensors("x w y z b v g mu var")
t = Tensor("t", integer=True)
s, d = parameters("s d", 2)
a, f = parameters("a f", 2, positive=False)
step, gap, reach = parameters("step gap reach")
before, after = parameters("before after", positive=False)
eps, alpha, beta, gamma, kappa = reals("eps alpha beta gamma kappa", positive=True)

at = [s[axis] * p[axis] + d[axis] * k[axis] - a[axis] for axis in range(2)]  # tap k of window p
margin = list(zip(a, f, strict=True))
x_zeros = Tensor("x", margin, outside=0)
x_padded = Tensor("x", margin)

# ---- convolutions with another scalar pair, other weights, other places

l1_conv = Operator(
    "l1_conv", y[n, o, *p] << -Sum[c, *k](Abs(x_zeros[n, c, *at] - w[o, c, *k])), inputs=(x_zeros, w)
)

dilation = Operator("dilation", y[n, c, *p] << Max[k](x_padded[n, c, *at] + w[c, *k]), inputs=(x_padded, w))

locally_connected = Operator(
    "locally_connected",
    y[n, o, *p] << Sum[c, *k](x[n, c, s[0] * p[0] + k[0], s[1] * p[1] + k[1]] * w[o, *p, c, *k]) + b[o, *p],
    inputs=(x, w, b),
)

past = Tensor("x", margin=[(gap * (extent(h) - 1), 0)])
causal_conv1d = Operator(
    "causal_conv1d", y[n, o, q] << Sum[c, h](past[n, c, q - gap * h] * w[o, c, h]), inputs=(past, w)
)

more = parameters("more", 2, positive=False)  # torch's output_padding
y_cut = Tensor("y", margin=[(a[axis], a[axis] - more[axis]) for axis in range(2)])
conv_transpose2d = Operator(
    "conv_transpose2d", y_cut[n, o, *at] << Sum[c](x[n, c, *p] * w[c, o, *k]), inputs=(x, w)
)


def padded_conv1d(mode: str, outside: Expr | None = None) -> Operator:
    """A convolution of a signal that goes on beyond its ends."""
    x = Tensor("x", margin=[(before, after)], outside=outside if outside is not None else mode)
    means = [mu[n, c] << Mean[q](x[n, c, q])] * (outside is not None)
    y_ = y[n, o, h] << Sum[c, j](x[n, c, step * h + gap * j - before] * w[o, c, j])
    return Operator(f"{mode}_conv1d", *means, y_, inputs=(x, w))


reflect_conv1d, symmetric_conv1d, replicate_conv1d, circular_conv1d, mean_conv1d = starmap(
    padded_conv1d, [("reflect",), ("symmetric",), ("replicate",), ("circular",), ("mean", mu[n, c])]
)

cost_volume = Operator(
    "cost_volume",
    y[n, i, j, *p] << Mean[c](x[n, c, *p] * z[n, c, p[0] + i - reach, p[1] + j - reach]),
    inputs=(x, z),
    extents={i: 2 * reach + 1, j: 2 * reach + 1},
)

skewed = Operator(
    "skewed", y[i, j] << Sum[h](x[i + step * h, j - h + reach] * w[h]), inputs=(x, w), given=(i, j)
)

# ---- pooling

power_pool = Operator(
    "power_pool",
    y[n, c, *p] << Mean[k](Abs(x_zeros[n, c, *at]) ** gamma) ** (1 / gamma),
    inputs=(x_zeros,),
    given=k,
)
logsumexp_pool = Operator(
    "logsumexp_pool", y[n, c, *p] << LogSumExp[k](x_padded[n, c, *at]), inputs=(x_padded,), given=k
)
product_pool = Operator("product_pool", y[n, h] << Prod[j](x[n, step * h + j]), inputs=(x,), given=(j,))
median_pool = Operator(
    "median_pool", y[n, h] << Kth[j](x[n, step * h + j], floor(extent(j) / 2)), inputs=(x,), given=(j,)
)
split_min_pool = Operator(
    "split_min_pool", y[n, h] << Min[j](x[n, step * h + j], ties="split"), inputs=(x,), given=(j,)
)

bin_ = q >= floor(h * extent(q) / extent(h)), q < ceiling((h + 1) * extent(q) / extent(h))
adaptive_avg_pool1d = Operator(
    "adaptive_avg_pool1d", y[n, c, h] << Sum[q](x[n, c, q], *bin_) / Sum[q](1, *bin_), inputs=(x,), given=(h,)
)

max_unpool1d = Operator("max_unpool1d", y[n, c, t[n, c, h]] << x[n, c, h], inputs=(x, t))

# ---- images

pixel_shuffle = Operator(
    "pixel_shuffle",
    y[n, c, step * p[0] + i, step * p[1] + j] << x[n, step * step * c + step * i + j, *p],
    inputs=(x,),
    extents={i: step, j: step},
)

interpolate1d = Operator(  # the hat function of the distance, aligned corners
    "interpolate1d",
    y[n, c, h] << Sum[q](x[n, c, q] * relu(1 - Abs(h * (extent(q) - 1) / (extent(h) - 1) - q))),
    inputs=(x,),
    given=(h,),
)

upsample1d = Operator(
    "upsample1d", y[n, c, h] << x[n, c, floor(h / step)], inputs=(x,), extents={h: step * x.size(2)}
)

# ---- rows: layers, norms, losses

bilinear = Operator(
    "bilinear", y[n, o] << Sum[i, j](x[n, i] * w[o, i, j] * z[n, j]) + b[o], inputs=(x, w, z, b)
)

cosine = Operator(
    "cosine",
    y[n, o] << Sum[c](x[n, c] * w[o, c]) / sqrt(Sum[c](x[n, c] ** 2) * Sum[c](w[o, c] ** 2) + eps),
    inputs=(x, w),
)

near = Tensor("x", margin=[(reach, reach), (0, 0)])
local_response_norm = Operator(
    "local_response_norm",
    y[n, c, q] << near[n, c, q] / (kappa + alpha * Sum[j](near[n, c + j - reach, q] ** 2)) ** beta,
    inputs=(near,),
    extents={j: 2 * reach + 1},
)

batch_norm = Operator(
    "batch_norm",
    mu[c] << Mean[n, q](x[n, c, q]),
    var[c] << Mean[n, q]((x[n, c, q] - mu[c]) ** 2),
    y[n, c, q] << g[c] * (x[n, c, q] - mu[c]) / sqrt(var[c] + eps) + b[c],
    inputs=(x, g, b),
    outputs=(y, mu, var),
)

layer_norm = Operator(
    "layer_norm",
    mu[n] << Mean[c](x[n, c]),
    y[n, c] << g[c] * (x[n, c] - mu[n]) / sqrt(Mean[j]((x[n, j] - mu[n]) ** 2) + eps) + b[c],
    inputs=(x, g, b),
)

query, key, value, score = tensors("query key value score")
attention = Operator(
    "attention",
    score[n, i, j] << Sum[c](query[n, i, c] * key[n, j, c]) / sqrt(extent(c)),
    y[n, i, e] << Sum[j](exp(score[n, i, j] - LogSumExp[m](score[n, i, m])) * value[n, j, e]),
    inputs=(query, key, value),
)

focal_loss = Operator(
    "focal_loss",
    z[n] << x[n, t[n]] - LogSumExp[c](x[n, c]),
    y[()] << -Mean[n]((1 - exp(z[n])) ** gamma * z[n]),
    inputs=(x, t),
)

embedding = Operator("embedding", y[n, e] << w[t[n], e], inputs=(w, t))
cumulative_sum = Operator(
    "cumulative_sum", y[n, i] << Sum[j](x[n, j], j <= i), inputs=(x,), extents={i: extent(j)}
)
maxout = Operator("maxout", y[n, c] << Max[j](x[n, step * c + j]), inputs=(x,), extents={j: step})

# ---- and a few with turns of their own

source, sink = Tensor("source", integer=True), Tensor("sink", integer=True)
graph_conv = Operator(  # a message along each edge m, from source[m] to sink[m]
    "graph_conv",
    y[i, o] << tanh(Sum[m, c](x[source[m], c] * b[m] * w[c, o], Eq(sink[m], i))),
    inputs=(x, b, w, source, sink),
    extents={i: x.size(0)},
)

polyphase = Operator("polyphase", y[n, h] << Sum[j](x[n, h + j] * w[Mod(h, step), j]), inputs=(x, w))
trace = Operator("trace", y[n] << Sum[i](x[n, i, i]), inputs=(x,))
winner = Operator(
    "winner", t[n] << ArgMax[c](x[n, c]), y[n, e] << w[t[n], e] * x[n, t[n]], inputs=(x, w), outputs=(y, t)
)

huber_loss = Operator(
    "huber_loss",
    z[n] << x[n] - y[n],
    v[()] << Mean[n](Piecewise((z[n] ** 2 / 2, Abs(z[n]) <= alpha), (alpha * (Abs(z[n]) - alpha / 2), True))),
    inputs=(x, y),
)
