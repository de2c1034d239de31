"""Dense layers, activations and losses."""

from __future__ import annotations

from sympy import Eq, exp, log

from derive.language import Max, Mean, Operator, Sum, Tensor, finite, indices, relu, tensors

n, m, o, c, i, j, r = indices("n m o c i j r")
x, w, y, z, l, peak, total = tensors("x w y z l peak total")
b, t = Tensor("b", optional=True), Tensor("t", integer=True)


def operators() -> tuple[Operator, ...]:
    return (
        Operator("linear", y[n, o] << Sum[i](x[n, i] * w[o, i]) + b[o], inputs=(x, w, b)),
        Operator(
            "bilinear", y[n, o] << Sum[i, j](x[n, i] * w[o, i, j] * z[n, j]) + b[o], inputs=(x, z, w, b)
        ),
        Operator("embedding", y[n, j] << w[t[n], j], inputs=(t, w)),
        Operator("relu", y[n] << relu(x[n]), inputs=(x,)),
        Operator(
            "log_softmax",
            peak[m, r] << Max[j](x[m, j, r]),
            total[m, r] << log(Sum[j](exp(x[m, j, r] - finite(peak[m, r])))),
            y[m, c, r] << x[m, c, r] - finite(peak[m, r]) - total[m, r],
            inputs=(x,),
        ),
        Operator(
            "cross_entropy",
            peak[n, r] << Max[c](x[n, c, r]),
            total[n, r] << log(Sum[c](exp(x[n, c, r] - finite(peak[n, r])))),
            l[n, r] << Sum[c](total[n, r] - (x[n, c, r] - finite(peak[n, r])), Eq(t[n, r], c)),
            y[()] << Mean[n, r](l[n, r]),
            z[()] << Sum[n, r](l[n, r]),
            inputs=(x, t),
            outputs=(l, y, z),
        ),
    )
