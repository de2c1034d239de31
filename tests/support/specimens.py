"""Small operators of every kind, with sizes at which brute force is quick.

Each is a way of writing an equation: strides, folds, laps, conditions, indirection, several equations,
every reduction and tie rule. None is there for its own sake, and none is looked up by an engine.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from derive.language import (
    ArgMax,
    Index,
    Kth,
    LogSumExp,
    Max,
    Mean,
    Min,
    Operator,
    Prod,
    Sum,
    Tensor,
    circular,
    extent,
    indices,
    inside,
    maximum,
    overhang,
    parameters,
    reals,
    reflect,
    relu,
    replicate,
    symmetric,
    tensors,
)
from derive.pipeline import Derivation, derive

n, o, c, p, q, k, i, j, u, v = indices("n o c p q k i j u v")
x, w, y, z = tensors("x w y z")
s, d = parameters("s d")
a, e = parameters("a e", positive=False)


@dataclass(frozen=True)
class Specimen:
    """An operator, input shapes, integer parameters, and what its numbers must be like."""

    name: str
    operator: Operator
    shapes: Mapping[str, tuple[int, ...]]
    integers: Mapping[str, int] = field(default_factory=dict)
    below: Mapping[str, int] = field(default_factory=dict)  # of integer tensors
    reals: Mapping[str, Fraction] = field(default_factory=dict)
    rational: bool = True
    degree: int = 4  # along any line of inputs, away from kinks; more means no polynomial
    renamable: bool = True

    def inputs(self, seed: int = 0) -> dict[str, Any]:
        """Distinct fractions, no two of them within reach of a difference stencil, none near zero."""
        rng = random.Random(f"{self.name} {seed}")
        pool = [Fraction(2 * m + 1, 7) for m in range(-40, 40)]
        rng.shuffle(pool)
        made = {}
        for t in self.operator.inputs:
            a = np.empty(self.shapes[t.name], dtype=object)
            for at in np.ndindex(a.shape):
                a[at] = rng.randrange(self.below[t.name]) if t.name in self.below else pool.pop()
            made[t.name] = a
        return made


def _conv(nd: int, margin: bool = True) -> Operator:
    pp, kk = indices("p k", nd)
    ss, dd = parameters("s d", nd)
    aa, ee = parameters("a e", nd, positive=False)
    xx = Tensor("x", margin=list(zip(aa, ee, strict=True)))
    qq = [ss[m] * pp[m] + dd[m] * kk[m] - aa[m] for m in range(nd)]
    b = Tensor("b", optional=True)
    return Operator(
        "conv", y[n, o, *pp] << Sum[c, *kk](xx[n, c, *qq] * w[o, c, *kk]) + b[o], inputs=(xx, w, b)
    )


def _padded(outside: Any) -> Operator:
    xx = Tensor("x", margin=[(a, e)], outside=outside)
    return Operator("padded", y[n, p] << Sum[k](xx[n, s * p + d * k - a] * w[k]), inputs=(xx, w))


def _mean_outside() -> Operator:
    m = Tensor("m")
    xx = Tensor("x", margin=[(a, e)], outside=m[n])
    return Operator(
        "mean_outside",
        m[n] << Mean[q](xx[n, q]),
        y[n, p] << Sum[k](xx[n, s * p + k - a] * w[k]),
        inputs=(xx, w),
    )


def _pool() -> Operator:
    xx, at = Tensor("x", margin=[(a, e)]), Tensor("i", integer=True)
    place = s * p + d * k - a
    return Operator(
        "pool",
        at[n, p] << ArgMax[k](xx[n, place], at=place),
        y[n, p] << Max[k](xx[n, place]),
        inputs=(xx,),
        outputs=(y, at),
        given=(k,),
        laws={p: overhang()},
    )


def _average() -> Operator:
    xx = Tensor("x", margin=[(a, e)])
    return Operator(
        "average",
        y[n, p] << Sum[k](xx[n, s * p + k - a]) / Sum[k](inside(xx[n, s * p + k - a])),
        inputs=(xx,),
        given=(k,),
    )


def _adaptive() -> Operator:
    Q, P = extent(q), extent(p)
    where = (q >= sp.floor(p * Q / P), q < sp.ceiling((p + 1) * Q / P))
    return Operator(
        "adaptive", y[n, p] << Sum[q](x[n, q], *where) / Sum[q](1, *where), inputs=(x,), given=(p,)
    )


def _reduced(reduce: Any, ties: str = "first", body: Callable[[sp.Expr], sp.Expr] = lambda r: r) -> Operator:
    return Operator("reduced", y[n] << reduce[k](body(x[n, k]), ties=ties), inputs=(x,))


def _fit() -> Operator:
    t, h, out, l = tensors("t h out l")
    wh, wo = tensors("wh wo")
    return Operator(
        "fit",
        h[n, j] << Sum[i](x[n, i] * wh[i, j]),
        out[n, o] << Sum[j](h[n, j] * wo[j, o]),
        l[()] << Sum[n, o]((out[n, o] - t[n, o]) ** 2) / 2,
        inputs=(x, wh, wo, t),
    )


def _normalised() -> Operator:
    mean, var, eps = *tensors("mean var"), reals("eps", positive=True)
    return Operator(
        "normalised",
        mean[n] << Mean[q](x[n, q]),
        var[n] << Mean[q]((x[n, q] - mean[n]) ** 2),
        y[n, q] << (x[n, q] - mean[n]) / sp.sqrt(var[n] + eps),
        inputs=(x,),
    )


def _attention() -> Operator:
    score, key, value = tensors("score key value")
    return Operator(
        "attention",
        score[i, j] << Sum[d_](x[i, d_] * key[j, d_]),
        y[i, u] << Sum[j](sp.exp(score[i, j]) * value[j, u]) / Sum[j](sp.exp(score[i, j])),
        inputs=(x, key, value),
    )


d_: Index = indices("h")
t = Tensor("t", integer=True)
ONE = {"s": 2, "d": 2, "a": 1, "e": 2}

SPECIMENS = (
    Specimen(
        "conv1d",
        _conv(1),
        {"x": (1, 2, 5), "w": (2, 2, 2), "b": (2,)},
        {"s0": 2, "d0": 2, "a0": 1, "e0": 2},
        degree=2,
    ),
    Specimen(
        "conv2d",
        _conv(2),
        {"x": (1, 1, 4, 3), "w": (1, 1, 2, 2), "b": (1,)},
        {"s0": 2, "s1": 1, "d0": 1, "d1": 2, "a0": 1, "e0": 0, "a1": 0, "e1": 1},
        degree=2,
    ),
    Specimen(
        "convolution",
        Operator("convolution", y[p] << Sum[k](x[p - k + a] * w[k]), inputs=(x, w), given=(p,)),
        {"x": (4,), "w": (3,)},
        {"a": 1, "P": 4},
        degree=2,
    ),
    Specimen(
        "transposed",
        Operator(
            "transposed",
            Tensor("y", margin=[(a, a)])[n, s * p + d * k - a] << Sum[o](x[n, o, p] * w[o, k]),
            inputs=(x, w),
        ),
        {"x": (1, 2, 3), "w": (2, 3)},
        {"s": 2, "d": 2, "a": 1},
        degree=2,
    ),
    Specimen("pool", _pool(), {"x": (2, 6)}, {**ONE, "K": 2, "e": 1}, degree=1),
    Specimen("average", _average(), {"x": (1, 5)}, {"s": 2, "a": 1, "e": 1, "K": 3}, degree=1),
    Specimen(
        "max_plus",
        Operator("max_plus", y[p] << Max[c, k](x[c, s * p + k] + w[c, k]), inputs=(x, w)),
        {"x": (2, 5), "w": (2, 2)},
        {"s": 2},
        degree=1,
    ),
    Specimen(
        "distance",
        Operator("distance", y[o, p] << -Sum[c, k](sp.Abs(x[c, s * p + k] - w[o, c, k])), inputs=(x, w)),
        {"x": (2, 4), "w": (2, 2, 2)},
        {"s": 1},
        degree=1,
    ),
    Specimen("product", _reduced(Prod), {"x": (2, 3)}, degree=4),
    Specimen(
        "product_window",
        Operator("product_window", y[p] << Prod[k](x[s * p + k] + w[k]), inputs=(x, w)),
        {"x": (5,), "w": (2,)},
        {"s": 2},
        degree=4,
    ),
    Specimen("smallest", _reduced(Min), {"x": (2, 3)}, degree=1),
    Specimen("largest_last", _reduced(Max, "last"), {"x": (2, 3)}, degree=1),
    Specimen("largest_split", _reduced(Max, "split", lambda r: 2 * r), {"x": (2, 3)}, degree=1),
    Specimen("largest_all", _reduced(Max, "all"), {"x": (2, 3)}, degree=1),
    Specimen("logsumexp", _reduced(LogSumExp), {"x": (2, 3)}, rational=False),
    Specimen(
        "response",
        Operator(
            "response",
            y[c, p] << x[c, p] / (1 + Sum[j](x[c + j - a, p] ** 2)),
            inputs=(x,),
            extents={j: 2 * a + 1},
        ),
        {"x": (3, 2)},
        {"a": 1},
        degree=9,
    ),
    Specimen(
        "cost_volume",
        Operator(
            "cost_volume",
            y[k, p] << Sum[c](x[c, p] * z[c, p + k - a]),
            inputs=(x, z),
            extents={k: 2 * a + 1},
        ),
        {"x": (2, 3), "z": (2, 3)},
        {"a": 1},
        degree=2,
    ),
    Specimen(
        "bilinear",
        Operator("bilinear", y[n, o] << Sum[i, j](x[n, i] * w[o, i, j] * z[n, j]), inputs=(x, w, z)),
        {"x": (2, 2), "w": (1, 2, 2), "z": (2, 2)},
        degree=3,
    ),
    Specimen(
        "look_up",
        Operator("look_up", y[n, i] << w[t[n], i], inputs=(w, t)),
        {"w": (3, 2), "t": (4,)},
        below={"t": 3},
        degree=1,
    ),
    Specimen(
        "scattered",
        Operator("scattered", y[t[n], i] << x[n, i], inputs=(x, t), extents={}),
        {"x": (4, 2), "t": (4,)},
        {"Y0": 3},
        below={"t": 3},
        degree=1,
    ),
    Specimen(
        "circular",
        Operator(
            "circular", y[p] << Sum[k](x[circular(s * p + d * k - a)] * w[k]), inputs=(x, w), given=(p,)
        ),
        {"x": (3,), "w": (4,)},
        {"s": 2, "d": 3, "a": 4, "P": 3},
        degree=2,
    ),
    Specimen(
        "reflect",
        Operator("reflect", y[p] << Sum[k](x[reflect(s * p + k - a)] * w[k]), inputs=(x, w), given=(p,)),
        {"x": (3,), "w": (3,)},
        {"s": 2, "a": 5, "P": 4},
        degree=2,
    ),
    Specimen(
        "symmetric",
        Operator("symmetric", y[p] << Sum[k](x[symmetric(s * p + k - a)] * w[k]), inputs=(x, w), given=(p,)),
        {"x": (3,), "w": (3,)},
        {"s": 2, "a": 5, "P": 4},
        degree=2,
    ),
    Specimen(
        "replicate",
        Operator("replicate", y[p] << Sum[k](x[replicate(s * p + k - a)] * w[k]), inputs=(x, w), given=(p,)),
        {"x": (3,), "w": (3,)},
        {"s": 2, "a": 2, "P": 4},
        degree=2,
    ),
    Specimen("outside_zero", _padded(0), {"x": (1, 4), "w": (3,)}, ONE, degree=2),
    Specimen("outside_value", _padded(sp.Rational(3, 2)), {"x": (1, 4), "w": (3,)}, ONE, degree=2),
    Specimen("outside_reflect", _padded("reflect"), {"x": (1, 4), "w": (3,)}, ONE, degree=2),
    Specimen("outside_mean", _mean_outside(), {"x": (2, 3), "w": (2,)}, {"s": 1, "a": 1, "e": 2}, degree=2),
    Specimen("adaptive", _adaptive(), {"x": (1, 5)}, {"P": 3}, degree=1),
    Specimen(
        "nearest",
        Operator("nearest", y[p] << x[sp.floor(p / s)], inputs=(x,), given=(p,)),
        {"x": (3,)},
        {"s": 2, "P": 6},
        degree=1,
    ),
    Specimen(
        "shuffle",
        Operator("shuffle", y[c, p] << x[c * s + sp.Mod(p, s), sp.floor(p / s)], inputs=(x,), given=(c, p)),
        {"x": (4, 2)},
        {"s": 2, "C": 2, "P": 4},
        degree=1,
    ),
    Specimen(
        "trace",
        Operator("trace", y[()] << Sum[i, j](x[i, j] * x[j, i]) + Sum[i](x[i, i]), inputs=(x,)),
        {"x": (3, 3)},
        degree=2,
    ),
    Specimen(
        "self_correlation",
        Operator("self_correlation", y[k] << Sum[p](x[p] * x[p + k]), inputs=(x,), given=(k,)),
        {"x": (4,)},
        {"K": 3},
        degree=2,
    ),
    Specimen(
        "median",
        Operator("median", y[n] << Kth[k](x[n, k], sp.floor(extent(k) / 2)), inputs=(x,)),
        {"x": (2, 3)},
        degree=1,
    ),
    Specimen("normalised", _normalised(), {"x": (1, 3)}, reals={"eps": Fraction(1, 9)}, rational=False),
    Specimen("fit", _fit(), {"x": (2, 2), "wh": (2, 2), "wo": (2, 1), "t": (2, 1)}, degree=4),
    Specimen("attention", _attention(), {"x": (2, 2), "key": (2, 2), "value": (2, 1)}, rational=False),
    Specimen(
        "cumulative",
        Operator("cumulative", y[i] << Sum[j](x[j], j <= i), inputs=(x,), extents={i: extent(j)}),
        {"x": (4,)},
        degree=1,
    ),
    Specimen(
        "causal",
        Operator("causal", y[p] << Sum[k](x[p - d * k] * w[k]), inputs=(x, w), extents={p: x.size(0)}),
        {"x": (5,), "w": (3,)},
        {"d": 2},
        degree=2,
    ),
    Specimen(
        "local",
        Operator("local", y[o, p] << Sum[c, k](x[c, s * p + k] * w[o, p, c, k]), inputs=(x, w)),
        {"x": (1, 5), "w": (1, 2, 1, 2)},
        {"s": 2},
        degree=2,
    ),
    Specimen(
        "pointwise",
        Operator(
            "pointwise",
            y[n, i]
            << relu(x[n, i]) * w[i]
            + sp.Piecewise((x[n, i] ** 2, x[n, i] < w[i]), (w[i], True))
            - maximum(x[n, i], 0),
            inputs=(x, w),
        ),
        {"x": (2, 2), "w": (2,)},
        degree=2,
    ),
    Specimen("scalar", Operator("scalar", y[()] << x[()] ** 3, inputs=(x,)), {"x": ()}, degree=3),
)

BY_NAME = {m.name: m for m in SPECIMENS}


@cache
def derived(name: str) -> Derivation:
    """The whole line of a specimen, once a process."""
    return derive(BY_NAME[name].operator)
