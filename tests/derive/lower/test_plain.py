"""Gather or scatter: which is chosen, what tasks share, and what the report says."""

from __future__ import annotations

import pytest
import sympy as sp

from derive.language import Max, Operator, Sum, Tensor, extent, indices, parameters, tensors
from derive.lower.loops import Assign, Divides, Loop, ResidueLoop
from derive.lower.loops import Test as Guard
from derive.lower.plain import gather, lower, scatter
from derive.passes.differentiate import vjp
from derive.passes.simplify import simplify
from derive.program import Equation
from derive.translate import to_program

n, o, c, p, k, q, i, j = indices("n o c p k q i j")
x, w, y = tensors("x w y")
s, d = parameters("s d")
a = parameters("a", positive=False)
t = Tensor("t", integer=True)


def forward(*statements, inputs=(x, w), **options) -> Equation:
    return to_program(Operator("op", *statements, inputs=inputs, **options)).equations[-1]


def backward(name, *statements, inputs=(x, w), **options) -> Equation:
    made = simplify(vjp(to_program(Operator("op", *statements, inputs=inputs, **options))))
    return next(eq for eq in made.equations if eq.target.tensor == name)


WINDOW = y[n, o, p] << Sum[c, k](x[n, c, s * p + d * k] * w[o, c, k])
CHOICES = {
    "matrix product": (
        forward(y[i, j] << Sum[k](x[i, k] * w[k, j])),
        "gather, tasks share i j",
    ),
    "window": (forward(WINDOW), "gather, tasks share n o"),
    "its input gradient": (backward("gx", WINDOW), "gather, tasks share n c; 1 residue loop"),
    "its weight gradient": (backward("gw", WINDOW), "gather, tasks share o c"),
    "maximum": (forward(y[n] << Max[k](x[n, k]), inputs=(x,)), "gather, tasks share n"),
    "gradient of a maximum": (
        backward("gx", y[n, p] << Max[k](x[n, s * p + k]), inputs=(x,), given=(k,)),
        "scatter, tasks share n; 2 guards",
    ),
    "look-up": (forward(y[n, i] << w[t[n], i], inputs=(w, t)), "gather, tasks share n; 1 guard"),
    "gradient of a look-up": (
        backward("gw", y[n, i] << w[t[n], i], inputs=(w, t)),
        "scatter, tasks share i; 1 guard",
    ),
    "everything into one": (
        forward(y[()] << Sum[i, j](x[i, j]), inputs=(x,)),
        "gather, tasks share nothing (one task)",
    ),
    "pointwise": (forward(y[i, j] << x[i, j] ** 2, inputs=(x,)), "gather, tasks share i"),
    "scattered by a stride": (
        forward(y[s * p] << x[p], inputs=(x,)),
        "scatter, tasks share nothing (one task)",
    ),
}


@pytest.mark.parametrize("case", CHOICES)
def test_choice(case):
    eq, text = CHOICES[case]
    assert lower(eq).describe() == text


def test_a_scatter_only_adds():
    assert scatter(forward(y[n] << Max[k](x[n, k]), inputs=(x,))) is None
    assert scatter(forward(y[n] << Sum[k](x[n, k]), inputs=(x,))) is not None


def test_a_scatter_shares_the_planes_that_no_equality_moves():
    eq = forward(y[n, s * p + k, o] << x[n, p, o] * w[k])
    nest = scatter(eq)
    assert nest is not None
    assert [loop.index for loop in nest.outer] == [n, o]
    assert nest.target == ()


def test_a_gather_visits_targets_outside_in():
    nest = gather(forward(WINDOW))
    assert [loop.index for loop in (*nest.outer, *nest.target)] == [n, o, p]
    assert all(loop.plain for loop in (*nest.outer, *nest.target))
    assert nest.cost == min(gather(forward(WINDOW)).cost, nest.cost)


def test_the_cheaper_is_taken_and_gathers_win_ties():
    for eq, _ in CHOICES.values():
        one, two = gather(eq), scatter(eq)
        chosen = lower(eq)
        if two is None or one.cost <= two.cost:
            assert chosen == one
        else:
            assert chosen == two
            assert two.cost < one.cost


def test_nothing_is_refused():
    """What has no solution becomes a loop with a test, and the report says so."""
    nest = lower(forward(y[p] << Sum[k](x[k] * w[p], sp.Eq((s - d) * k, (d - s) * p))))
    assert nest.describe() == "gather, tasks share p; 1 guard"
    assert [type(step) for step in nest.inner] == [Loop, Guard]


def test_steps_know_what_they_are():
    assert Loop(k, (sp.S.Zero,), (extent(k),)).plain
    assert not Loop(k, (sp.S.Zero, a), (extent(k),)).plain
    assert not Loop(k, (sp.S.Zero,), (extent(k), a)).plain
    nest = gather(backward("gx", WINDOW))
    assert [type(step).__name__ for step in nest.inner] == ["Loop", "ResidueLoop", "Assign"]
    assert {Assign, Divides, Loop, ResidueLoop, Guard} == set(
        type(step) for step in (*nest.inner, Divides(s, k), Guard(k, "zero"), Loop(k, (), ()))
    )
