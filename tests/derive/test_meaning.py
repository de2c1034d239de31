"""Turns of the language that a reader takes for granted, each through the whole line: every program, exactly."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive.errors import SpecError
from derive.language import (
    ArgMax,
    Kth,
    LogSumExp,
    Max,
    Mean,
    Operator,
    Prod,
    Sum,
    Tensor,
    extent,
    indices,
    parameters,
    reals,
    tensors,
)
from derive.pipeline import derive
from derive.reference import Case
from kernels.operator import Operator as Live
from tests.support.line import PROGRAMS, fractions, through, trial

n, i, j, c, k = indices("n i j c k")
x, y, b = tensors("x y b")
t, at = Tensor("t", integer=True), Tensor("at", integer=True)
s, r = parameters("s r")
half = {c: sp.floor(x.size(1) / 2)}

# what is written, and what NumPy makes of it
MEANING: dict[str, tuple[Any, Any]] = {
    # a letter that a reduction binds is its own, whatever stands outside
    "bound beside free": (y[n, i] << x[n, i] - Mean[i](x[n, i]), lambda x: x - x.mean(1, keepdims=True)),
    "bound and written": (y[n, i] << Sum[i](x[n, i]), lambda x: x.sum(1, keepdims=True) + 0 * x),
    "bound and written, largest": (y[n, i] << Max[i](x[n, i]), lambda x: x.max(1, keepdims=True) + 0 * x),
    "bound and written, where": (
        at[n, i] << ArgMax[i](x[n, i]),
        lambda x: np.broadcast_to(x.astype(float).argmax(1)[:, None], x.shape),
    ),
    "bound in a factor": (y[n, i] << x[n, i] * Sum[i](x[n, i]), lambda x: x * x.sum(1, keepdims=True)),
    "bound twice": (y[n] << Sum[i](x[n, i] * Sum[i](x[n, i])), lambda x: x.sum(1) ** 2),
    "bound by ranks": (y[n, i] << x[n, i] - Kth[i](x[n, i], 0), lambda x: x - x.min(1, keepdims=True)),
    # conditions of any kind
    "unequal": (y[n] << Sum[i](x[n, i], sp.Ne(n, i)), lambda x: x.sum(1) - np.diag(x)),
    "either": (y[n] << Sum[i](x[n, i], sp.Or(i < 1, i > 2)), lambda x: x[:, 0] + x[:, 3:].sum(1)),
    "near": (y[n] << Sum[i](x[n, i], sp.Abs(n - i) <= 1), lambda x: np.array([x[m, max(0, m - 1) : m + 2].sum() for m in range(3)])),
    "positive": (y[n] << Sum[i](x[n, i] ** 2, x[n, i] > 0), lambda x: ((x > 0) * x**2).sum(1)),
    "largest of the others": (
        y[n] << Max[i](x[n, i], sp.Ne(n, i)),
        lambda x: np.array([max(v for m, v in enumerate(row) if m != k) for k, row in enumerate(x)]),
    ),
    "product of the others": (
        y[n] << Prod[i](x[n, i], sp.Ne(n, i)),
        lambda x: np.array([np.prod([v for m, v in enumerate(row) if m != k]) for k, row in enumerate(x)]),
    ),
    "logsumexp of the others": (y[n] << LogSumExp[i](x[n, i], sp.Ne(n, i)), None),
    "others than a class": (y[n] << Max[i](x[n, i], sp.Ne(i, t[n])) - x[n, t[n]], None),
    "mean where": (y[n] << Mean[i](x[n, i], i >= 1, i < 4), lambda x: x[:, 1:4].mean(1)),
    # laps that start before zero, and a part of an axis
    "rolled": (y[n, j] << x[n, sp.Mod(j - s, x.size(1))], lambda x: np.roll(x, 2, 1)),
    "halves": (y[n, c] << x[n, c] * x[n, c + extent(c)], lambda x: x[:, :2] * x[:, 2:4]),
}  # fmt: skip
EXTENTS: dict[str, Any] = {"rolled": {j: x.size(1)}, "halves": half}


@pytest.mark.parametrize("name", MEANING)
def test_meaning(name, tmp_path):
    statement, numpy = MEANING[name]
    inputs = (x, t) if statement.body.has(t) else (x,)
    op = Operator("op", statement, inputs=inputs, extents=EXTENTS.get(name))
    _, definition = through(op, tmp_path)
    rng = random.Random(name)
    for seed in range(2):
        arrays: dict[str, Any] = {"x": fractions(rng, (3, 5), "ties" if seed else "general")}
        if t in inputs:
            arrays["t"] = np.array([4, 0, 1])
        one = trial(definition, Case(op, arrays, {"s": 2} if name == "rolled" else {}), seed)
        if numpy is not None:
            (found,) = (one.values[o.name] for o in op.outputs)
            assert (found == numpy(arrays["x"])).all()
        for program in PROGRAMS:
            one.check(program)


def test_a_window_at_a_place_that_a_read_gives(tmp_path):
    """Lanes over n have no common window: each t[n] says where its own begins."""
    w = tensors("w")
    op = Operator("op", y[t[n], n] << w[k - 2 * n + 4] * x[k + t[n]], inputs=(t, x, w), given=k)
    _, definition = through(op, tmp_path)
    rng = random.Random(0)
    for seed in range(3):
        arrays = {"t": np.array([0, 1, 0]), "x": fractions(rng, (5,)), "w": fractions(rng, (7,))}
        one = trial(definition, Case(op, arrays, {"Y0": 2, "K": 2}), seed)
        for program in PROGRAMS:
            one.check(program)


def test_families_of_parameters_give_way_to_tensors(tmp_path):
    """b1 and b2 are called b=(b1, b2), unless an array is called b."""
    b1, b2 = reals("b1 b2")
    _, definition = through(Operator("op", y[n] << x[n] * b1 + b[n] * b2, inputs=(x, b)), tmp_path)
    assert list(Live(definition).__signature__.parameters) == ["x", "b", "b1", "b2", "out"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Operator("op", y[n] << Tensor("out")[n], inputs=(Tensor("out"),)), "`out` is an argument of every operator"),
        (lambda: Operator("op", y[n] << x[n] * reals("wrt"), inputs=(x,)), "`wrt` is an argument of every operator"),
        (
            lambda: Operator("op", y[n] << Sum[k](Tensor("K")[n + k]), inputs=(Tensor("K"),), given=k),
            "`K` is both an input and the extent that a caller gives",
        ),
    ],
)  # fmt: skip
def test_an_argument_has_a_name_of_its_own(make, message):
    with pytest.raises(SpecError, match=message):
        derive(make())
