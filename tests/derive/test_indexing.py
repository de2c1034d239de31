"""Index expressions and conditions in the relation: its form, what it means, and what it cannot hold."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive.errors import SpecError
from derive.language import (
    Max,
    Operator,
    Sum,
    Tensor,
    circular,
    extent,
    indices,
    parameters,
    reals,
    reflect,
    tensors,
)
from derive.program import Equation, Program
from derive.translate import to_program
from tests.support.relation import Meaning

n, c, p, k, i, j = indices("n c p k i j")
x, w, y = tensors("x w y")
s, d = parameters("s d")
a = parameters("a", positive=False)
r = reals("r")
t = Tensor("t", integer=True)


def op(*statements: Any, inputs: Any = (x,), **options: Any) -> Operator:
    return Operator("op", *statements, inputs=inputs, **options)


def program(*statements: Any, inputs: Any = (x,), **options: Any) -> Program:
    return to_program(Operator("op", *statements, inputs=inputs, **options))


def lines(*statements: Any, inputs: Any = (x,), **options: Any) -> list[str]:
    return [str(eq) for eq in program(*statements, inputs=inputs, **options).equations]


# ---- form -------------------------------------------------------------------------------------------


def test_index_arithmetic_moves_into_the_relation():
    (eq,) = program(y[p] << Sum[k](x[s * p + d * k] * w[k]), inputs=(x, w)).equations
    assert isinstance(eq, Equation)
    assert [v.indices for v in eq.reads if v.tensor == "w"] == [(k,)]
    (position,) = next(v for v in eq.reads if v.tensor == "x").indices
    assert [z_.expr for z_ in eq.relation.zero] == [s * p + d * k - position]
    assert eq.relation.size(position) == x.size(0)


def test_a_diagonal_gets_an_index_of_its_own():
    (eq,) = program(y[i] << x[i, i]).equations
    first, second = eq.reads[0].indices
    assert first == i
    assert second != i
    assert eq.relation.size(second) == extent(i)


def test_one_position_read_twice_is_one_index():
    (eq,) = program(y[p] << Sum[k](x[p + k] ** 2 * w[k] * x[p + k]), inputs=(x, w)).equations
    assert len(eq.relation.zero) == 1


def test_floor_gives_a_lap_and_two_inequalities():
    (eq,) = program(y[p] << x[sp.floor(p / s)], given=(p,)).equations
    lap = next(i_ for i_ in eq.relation.indices if i_.name == "lap")
    assert {z_.expr for z_ in eq.relation.nonneg} == {p - s * lap, s * lap - p + s - 1}


def test_an_index_may_be_wrapped():
    made = program(y[p] << x[t[circular(p - 1)]] * w[p], inputs=(x, t, w))
    found = Meaning(made).run({"x": [1, 10, 100], "t": [2, 1, 0], "w": [1, 1, 1]})
    assert found["y"].tolist() == [1, 100, 10]


def test_circular_reading_needs_no_copy():
    made = program(y[p] << x[circular(p + a)], given=(p,))
    assert [eq.target.tensor for eq in made.equations] == ["y"]
    assert not made.equations[0].relation.nonneg


def test_conditions_become_inequalities():
    assert lines(y[p] << Sum[k](x[p, k], k < p, k >= 2 * s)) == [
        "y[p] += sum[k] x[p,k]   { -k + p - 1 >= 0, k - 2*s >= 0 }"
    ]
    assert lines(y[p] << Sum[k](x[p, k], sp.Eq(2 * k, p))) == ["y[p] += sum[k] x[p,k]   { 2*k = p }"]


# ---- meaning ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("relation", [sp.Lt, sp.Le, sp.Gt, sp.Ge, sp.Eq], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    ("left", "right"),
    [
        (2 * k, p),
        (k, p / 2),
        (k, (p + 1) / sp.Integer(3)),
        (k * sp.Rational(2, 3), p),
        (k, extent(k) / 2),
        (k - 1, sp.floor(p / 2)),
        (k, sp.ceiling((p + 1) / s)),
        (sp.Mod(k, 2), sp.Mod(p, 2)),
    ],
    ids=str,
)
def test_conditions(relation, left, right):
    """Every comparison of index expressions, halves and thirds included."""
    made = program(y[p] << Sum[k](x[k] * w[p], relation(left, right)), inputs=(x, w))
    values, sizes = {"x": [1, 10, 100, 1000, 10000], "w": [1, 1, 1, 1]}, {"s": 3}
    found = Meaning(made).run(values, sizes)["y"]
    for p_ in range(4):
        numbers = {p: p_, s: 3, extent(k): 5}
        holds = [bool(relation(left.subs({**numbers, k: k_}), right.subs(numbers))) for k_ in range(5)]
        assert found[p_] == sum(10**k_ for k_ in range(5) if holds[k_]), p_


def test_several_conditions_hold_together():
    made = program(y[()] << Sum[i, j](x[i, j], i <= j, j < i + 2))
    found = Meaning(made).run({"x": [[1, 2, 4], [8, 16, 32], [64, 128, 256]]})
    assert found["y"][()] == 1 + 2 + 16 + 32 + 256


def test_true_and_false_conditions():
    assert Meaning(program(y[n] << Sum[k](x[n, k], sp.true))).run({"x": [[1, 2]]})["y"].tolist() == [3]
    assert Meaning(program(y[n] << Sum[k](x[n, k], sp.false))).run({"x": [[1, 2]]})["y"].tolist() == [0]


def test_a_shuffle_is_undone_by_its_inverse():
    there = Meaning(program(y[c, p] << x[c * s + sp.Mod(p, s), sp.floor(p / s)], given=(c, p)))
    back = Meaning(program(y[c * s + k, p] << x[c, s * p + k], given=(k,)))
    values = np.arange(12).reshape(6, 2)
    shuffled = there.run({"x": values}, {"s": 3, "C": 2, "P": 6})["y"]
    for c_, p_ in product(range(2), range(6)):
        assert shuffled[c_, p_] == values[c_ * 3 + p_ % 3, p_ // 3]
    assert back.run({"x": shuffled}, {"s": 3, "K": 3})["y"].tolist() == values.tolist()


# ---- mistakes ---------------------------------------------------------------------------------------

T0 = Tensor("t", margin=[(a, a)], outside=0, integer=True)
NOT_AFFINE = (
    " is not affine in indices (with whole numbers, parameters and extents as coefficients), floor, mod, a fold, or an "
    "integer tensor's element"
)

BAD: dict[str, tuple[Operator, str, str]] = {
    "fold in a sum": (
        op(y[p] << x[reflect(p - 1) + 1], extents={p: 3}),
        "a folded index stands alone on its axis, found `reflect(p - 1) + 1`",
        "y[p] << x[reflect(p - 1) + 1]",
    ),
    "read as an index": (
        op(y[p] << x[w[p]], inputs=(x, w)),
        "the index expression `w[p]` in x[w[p]]" + NOT_AFFINE,
        "y[p] << x[w[p]]",
    ),
    "fold of an index": (
        op(y[p] << x[t[reflect(p - 1)]] * w[p], inputs=(x, t, w)),
        "`t[reflect(p - 1)]` is an index, and reaches outside t, where none is; clip or wrap it",
        "y[p] << w[p]*x[t[reflect(p - 1)]]",
    ),
    "index with a value outside": (
        op(y[p] << Sum[k](x[T0[p + k - a]] * w[k]), inputs=(x, T0, w)),
        "`t[k + p - a]` is an index, and reaches outside t, where none is; clip or wrap it",
        "y[p] << sum[k](w[k]*x[t[k + p - a]])",
    ),
    "target with a value outside": (
        op(y[T0[p - a]] << x[p], inputs=(x, T0)),
        "`t[p - a]` is an index, and reaches outside t, where none is; clip or wrap it",
        "y[t[p - a]] << x[p]",
    ),
    "divisor": (
        op(y[p] << x[sp.floor(p / a)], given=(p,)),
        "the divisor `a` in x[floor(p/a)] is a positive parameter, size or number",
        "y[p] << x[floor(p/a)]",
    ),
    "condition that is a number": (
        op(y[p] << Sum[k](x[p, k], k)),
        "a condition compares numbers, found `k`",
        "y[p] << sum[k](x[p,k], k)",
    ),
    "shared ties on a condition of values": (
        op(y[p] << Max[k](x[p, k], sp.Ne(k, p), ties="split")),
        "a max that shares among ties takes conditions that compare index expressions (no `or`, no `!=`), found `Ne(k, p)`",
        "y[p] << max[k](x[p,k], Ne(k, p))",
    ),
}


@pytest.mark.parametrize("mistake", BAD)
def test_mistake(mistake):
    operator, message, equation = BAD[mistake]
    with pytest.raises(SpecError) as error:
        to_program(operator)
    assert str(error.value) == f"op: {message}\n    in  {equation}"
