"""Activations: pointwise, but for softmax.

What would overflow is written in two pieces, of which neither overflows where it is taken. Pieces that are one smooth
function have the same derivatives of every order where they meet; at a kink the derivative is that of the piece below.
"""

from __future__ import annotations

from sympy import Abs, And, Expr, Piecewise, Rational, erf, exp, pi, sqrt, tanh
from sympy.codegen.cfunctions import expm1, log1p

from derive.language import Max, Min, Operator, Sum, finite, indices, reals, tensors

n, m, c, j, r = indices("n m c j r")
x, w, y, e, peak = tensors("x w y e peak")
alpha, beta, scale, slope = reals("alpha beta scale slope")
low, high, threshold, value, lambd = reals("low high threshold value lambd")


def sigmoid(u: Expr) -> Expr:
    return Piecewise((1 / (1 + exp(-u)), u > 0), (exp(u) / (1 + exp(u)), True))


def softplus(u: Expr) -> Expr:
    return Piecewise((u + log1p(exp(-u)), u > 0), (log1p(exp(u)), True))


def mish(u: Expr) -> Expr:
    """u * tanh(softplus(u)), which has neither a logarithm nor a hyperbolic function left in it."""
    above, below = exp(-u), exp(u)
    return Piecewise(
        (u * (1 + 2 * above) / (1 + 2 * above * (1 + above)), u > 0),
        (u * below * (2 + below) / (2 + below * (2 + below)), True),
    )


def operators() -> tuple[Operator, ...]:
    u, row = x[n], x[m, c, r]
    cubic = sqrt(2 / pi) * (u + Rational(44715, 1000000) * u**3)
    pointwise = {
        "leaky_relu": Piecewise((u, u > 0), (slope * u, True)),
        "elu": Piecewise((u, u > 0), (alpha * expm1(u), True)),
        "celu": Piecewise((u, u > 0), (alpha * expm1(u / alpha), True)),
        "selu": Piecewise((scale * u, u > 0), (scale * alpha * expm1(u), True)),
        "gelu": u * (1 + erf(u / sqrt(2))) / 2,
        "gelu_tanh": u * (1 + tanh(cubic)) / 2,
        "sigmoid": sigmoid(u),
        "silu": u * sigmoid(u),
        "tanh": tanh(u),
        "erf": erf(u),
        "softplus": Piecewise((u, beta * u > threshold), (softplus(beta * u) / beta, True)),
        "logsigmoid": -softplus(-u),
        "mish": mish(u),
        "hardtanh": Piecewise((low, u <= low), (high, u >= high), (u, True)),
        "relu6": Piecewise((0, u <= 0), (6, u >= 6), (u, True)),
        "hardswish": Piecewise((0, u <= -3), (u, u >= 3), (u * (u + 3) / 6, True)),
        "hardsigmoid": Piecewise((0, u <= -3), (1, u >= 3), ((u + 3) / 6, True)),
        "hardshrink": Piecewise((0, And(-lambd <= u, u <= lambd)), (u, True)),
        "softshrink": Piecewise((0, Abs(u) <= lambd), (u - lambd, u > 0), (u + lambd, True)),
        "softsign": Piecewise((1 - 1 / (1 + u), u > 1), (1 / (1 - u) - 1, u < -1), (u / (1 + Abs(u)), True)),
        "tanhshrink": u - tanh(u),
        "threshold": Piecewise((value, u <= threshold), (u, True)),
    }
    return (
        *(Operator(name, y[n] << formula, inputs=(x,)) for name, formula in pointwise.items()),
        Operator("prelu", y[m, c, r] << Piecewise((row, row > 0), (w[c] * row, True)), inputs=(x, w)),
        Operator(
            "softmax",
            peak[m, r] << Max[j](x[m, j, r]),
            e[m, c, r] << exp(x[m, c, r] - finite(peak[m, r])),
            y[m, c, r] << e[m, c, r] / Sum[j](e[m, j, r]),
            inputs=(x,),
        ),
        Operator(
            "softmin",
            peak[m, r] << Min[j](x[m, j, r]),
            e[m, c, r] << exp(finite(peak[m, r]) - x[m, c, r]),
            y[m, c, r] << e[m, c, r] / Sum[j](e[m, j, r]),
            inputs=(x,),
        ),
        Operator("glu", y[m, c, r] << x[m, 0, c, r] * sigmoid(x[m, 1, c, r]), inputs=(x,)),
    )
