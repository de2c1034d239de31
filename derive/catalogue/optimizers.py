"""One step of an optimizer: p the parameter, g its gradient, everything else a state; y and the rest what they become.

Formulas are those of torch.optim. `rate` is the learning rate, `decay` the weight decay, `towards` -1 where the objective
is maximised. What depends on the number of steps alone (a bias correction) comes in as a number. A running square is
never negative; `Abs` says so, and where rounding makes a variance negative it keeps the step finite.
"""

from __future__ import annotations

import sympy as sp

from derive.language import Operator, Parameter, Statement, Tensor, indices, maximum, reals, tensors

n = indices("n")
p, g, y = tensors("p g y")
rate, decay, mu, eps, alpha, beta, beta2, unbias = reals(
    "rate decay mu eps alpha beta beta2 unbias", positive=True
)
damp, keep, towards = reals("damp keep towards")
nesterov = Parameter("nesterov", positive=False)
slope = towards * g[n] + decay * p[n]


def gd() -> Operator:
    """p - rate * (g + decay * p)."""
    return Operator("gd_step", y[n] << p[n] - rate * slope, inputs=(p, g))


def sgd() -> Operator:
    """A momentum m that gradients push; Nesterov's looks one step ahead."""
    m, b = tensors("m b")
    ahead = sp.Piecewise((slope + mu * b[n], nesterov > 0), (b[n], True))
    return Operator(
        "sgd_step",
        b[n] << mu * m[n] + damp * slope,
        y[n] << p[n] - rate * ahead,
        inputs=(p, g, m),
        outputs=(y, b),
    )


def rmsprop(centered: bool) -> Operator:
    """The gradient over the root of its running square (centered: of its running variance), with a momentum m."""
    v, w, a, c, m, b = tensors("v w a c m b")
    square = w[n] - c[n] ** 2 if centered else w[n]
    equations = [w[n] << alpha * v[n] + (1 - alpha) * slope**2]
    if centered:
        equations.append(c[n] << a[n] + (1 - alpha) * (slope - a[n]))
    equations += [
        b[n] << mu * m[n] + slope / (sp.sqrt(sp.Abs(square)) + eps),
        y[n] << p[n] - rate * b[n],
    ]
    states: tuple[Tensor, ...] = (v, a, m) if centered else (v, m)
    results = (y, w, c, b) if centered else (y, w, b)
    name = "rmsprop_centered_step" if centered else "rmsprop_step"
    return Operator(name, *equations, inputs=(p, g, *states), outputs=results)


def adam(amsgrad: bool) -> Operator:
    """Running mean m and square v of gradients; `keep` is what a decoupled weight decay leaves of p, `unbias` corrects v."""
    m, b, v, w, h, k = tensors("m b v w h k")
    equations: list[Statement] = [
        b[n] << m[n] + (1 - beta) * (slope - m[n]),
        w[n] << beta2 * v[n] + (1 - beta2) * slope**2,
    ]
    if amsgrad:
        equations.append(k[n] << maximum(h[n], w[n]))
    largest = k if amsgrad else w
    equations.append(y[n] << keep * p[n] - rate * b[n] / (sp.sqrt(sp.Abs(largest[n])) / unbias + eps))
    if amsgrad:
        return Operator("amsgrad_step", *equations, inputs=(p, g, m, v, h), outputs=(y, b, w, k))
    return Operator("adam_step", *equations, inputs=(p, g, m, v), outputs=(y, b, w))


def adagrad() -> Operator:
    """The gradient over the root of the sum of all squares so far."""
    v, w = tensors("v w")
    return Operator(
        "adagrad_step",
        w[n] << v[n] + slope**2,
        y[n] << p[n] - rate * slope / (sp.sqrt(sp.Abs(w[n])) + eps),
        inputs=(p, g, v),
        outputs=(y, w),
    )


def operators() -> tuple[Operator, ...]:
    return gd(), sgd(), rmsprop(False), rmsprop(True), adam(False), adam(True), adagrad()
