"""Dense layers, activations and losses."""

from __future__ import annotations

from derive.language import LogSumExp, Mean, Operator, Sum, Tensor, indices, relu, tensors

n, m, o, c, i, j, r = indices("n m o c i j r")
x, w, y, z, l = tensors("x w y z l")
b, t = Tensor("b", optional=True), Tensor("t", integer=True)


def operators() -> tuple[Operator, ...]:
    return (
        Operator("linear", y[n, o] << Sum[i](x[n, i] * w[o, i]) + b[o], inputs=(x, w, b)),
        Operator("relu", y[n] << relu(x[n]), inputs=(x,)),
        Operator("log_softmax", y[m, c, r] << x[m, c, r] - LogSumExp[j](x[m, j, r]), inputs=(x,)),
        Operator(
            "cross_entropy",
            l[n, r] << LogSumExp[c](x[n, c, r]) - x[n, t[n, r], r],
            y[()] << Mean[n, r](l[n, r]),
            z[()] << Sum[n, r](l[n, r]),
            inputs=(x, t),
            outputs=(l, y, z),
        ),
    )
