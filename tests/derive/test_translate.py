"""Equations into the relation form: structure as a golden file, meaning by brute force, mistakes by their text."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive.errors import SpecError
from derive.language import (
    SCALARS,
    ArgMax,
    Kth,
    LogSumExp,
    Max,
    Mean,
    Min,
    Operator,
    Prod,
    Read,
    Sum,
    Tensor,
    circular,
    extent,
    indices,
    inside,
    overhang,
    parameters,
    reals,
    reflect,
    replicate,
    symmetric,
    tensors,
)
from derive.numbers import Decimals
from derive.passes.simplify import simplify
from derive.pipeline import derive
from derive.program import Equation, Program
from derive.reference import evaluate
from derive.translate import to_program
from tests.support.relation import Meaning, agree
from tests.support.specimens import SPECIMENS

n, o, c, p, q, k, i, j = indices("n o c p q k i j")
x, w, y, z, b = tensors("x w y z b")
s, d = parameters("s d")
a, e = parameters("a e", positive=False)
r = reals("r")
t = Tensor("t", integer=True)


def program(*statements: Any, inputs: Any = (x,), **options: Any) -> Program:
    return to_program(Operator("op", *statements, inputs=inputs, **options))


def lines(*statements: Any, inputs: Any = (x,), **options: Any) -> list[str]:
    return [str(eq) for eq in program(*statements, inputs=inputs, **options).equations]


# ---- structure --------------------------------------------------------------------------------------


def test_relation_forms(golden):
    """Every specimen as it comes out of translation."""
    text = ""
    for m in SPECIMENS:
        made = to_program(m.operator)
        text += f"{m.operator}\n\n" + "\n".join(f"    {line}" for line in str(made).splitlines())
        text += (
            "".join(f"\n        {c_.left} >= {c_.right}: {c_.reason}" for c_ in made.conditions) + "\n\n\n"
        )
    golden("relation_forms.txt", text)


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


def test_circular_reading_needs_no_copy():
    made = program(y[p] << x[circular(p + a)], given=(p,))
    assert [eq.target.tensor for eq in made.equations] == ["y"]
    assert not made.equations[0].relation.nonneg


@pytest.mark.parametrize("fold", [reflect, symmetric, replicate], ids=lambda f: f.__name__)
def test_a_folded_read_goes_through_a_copy(fold):
    made = program(y[p] << x[fold(p - a)] * w[p], z[p] << x[fold(p - a)], inputs=(x, w), outputs=(y, z))
    assert {eq.target.tensor for eq in made.equations} == {"x_padded", "y", "z"}
    assert [eq.target.tensor for eq in made.equations][-2:] == ["y", "z"]  # both read the one copy


def test_zero_outside_needs_no_copy_where_the_body_vanishes():
    padded = Tensor("x", margin=[(a, e)], outside=0)
    product_, distance = padded[p + k - a] * w[k], sp.Abs(padded[p + k - a] - w[k])
    assert len(program(y[p] << Sum[k](product_), inputs=(padded, w)).equations) == 1
    targets = [eq.target.tensor for eq in program(y[p] << Sum[k](distance), inputs=(padded, w)).equations]
    assert targets == ["x_padded", "y"]


def test_reductions_in_a_formula_become_equations():
    assert lines(y[n] << Sum[k](x[n, k]) / Max[k](x[n, k])) == [
        "y_max[n] += max[k] x[n,k]",
        "y[n] += sum[k] x[n,k]/y_max[n]",
    ]


def test_a_reduction_may_stand_in_another_and_beside_it():
    """Each is an equation where it is wanted; equal ones are one tensor once the program is simplified."""
    row = Sum[j](x[n, j])
    made = program(y[n] << Max[k](x[n, k] - row) * sp.exp(row))
    assert [str(eq) for eq in made.equations] == [
        "y_max_sum[n] += sum[j] x[n,j]",
        "y_max[n] += max[k] -y_max_sum[n] + x[n,k]",
        "y_sum[n] += sum[j] x[n,j]",
        "y[n] += exp(y_sum[n])*y_max[n]",
    ]
    assert [eq.target.tensor for eq in simplify(made).equations] == ["y_max_sum", "y_max", "y"]


def test_one_reduction_used_twice_is_one_equation():
    total = Sum[k](x[n, k])
    assert lines(y[n] << sp.exp(total) / (1 + total**2)) == [
        "y_sum[n] += sum[k] x[n,k]",
        "y[n] += exp(y_sum[n])/(y_sum[n]**2 + 1)",
    ]


def test_inside_keeps_the_relation_and_drops_the_value():
    padded = Tensor("x", margin=[(a, a)])
    made = program(y[p] << Sum[k](inside(padded[p + k - a])), inputs=(padded,), given=(k,))
    (eq,) = made.equations
    assert eq.body == 1
    assert len(eq.relation.zero) == 1


def test_conditions_become_inequalities():
    assert lines(y[p] << Sum[k](x[p, k], k < p, k >= 2 * s)) == [
        "y[p] += sum[k] x[p,k]   { -k + p - 1 >= 0, k - 2*s >= 0 }"
    ]
    assert lines(y[p] << Sum[k](x[p, k], sp.Eq(2 * k, p))) == ["y[p] += sum[k] x[p,k]   { 2*k = p }"]


def test_names_that_are_taken_get_numbers():
    taken = tensors("y_max")
    made = program(y[n] << Max[k](x[n, k]) + taken[n], inputs=(x, taken))
    assert made.equations[0].target.tensor == "y_max_2"


# ---- meaning ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("m", SPECIMENS, ids=lambda m: m.name)
@pytest.mark.parametrize("seed", [0, 1])
def test_meaning(m, seed):
    """The relation form means what the equations mean, read as they are written."""
    made = to_program(m.operator)
    inputs = m.inputs(seed)
    shapes = {"y": (m.integers["Y0"], *m.shapes["x"][1:])} if "Y0" in m.integers else {}
    options = {} if m.rational else {"field": Decimals(50)}
    expected = evaluate(m.operator, inputs, m.integers, m.reals, shapes, **options)
    agree(Meaning(made).run(inputs, m.integers, m.reals), expected, [u.name for u in m.operator.outputs])


FOLDED = {"circular": "wrap", "reflect": "reflect", "symmetric": "symmetric", "replicate": "edge"}
X = [Fraction(v, 3) for v in (2, -5, 7, 11)]
W = [Fraction(v, 2) for v in (3, -1, 4)]


@pytest.mark.parametrize("outside", FOLDED)
@pytest.mark.parametrize("before", [0, 1, 3, 9])
def test_folds_are_those_of_numpy(outside, before):
    """Far outside too, where the fold repeats."""
    fold = {"circular": circular, "reflect": reflect, "symmetric": symmetric, "replicate": replicate}[outside]
    by_function = program(y[p] << Sum[k](x[fold(s * p + k - a)] * w[k]), inputs=(x, w), given=(p,))
    declared = Tensor("x", margin=[(a, e)], outside=outside)
    by_declaration = program(y[p] << Sum[k](declared[s * p + k - a] * w[k]), inputs=(declared, w))
    padded = np.pad(np.array(X, dtype=object), (before, 2), mode=FOLDED[outside])
    expected = [
        sum(padded[2 * p_ + k_] * W[k_] for k_ in range(3)) for p_ in range((len(padded) - 3) // 2 + 1)
    ]
    sizes = {"s": 2, "a": before, "e": 2}
    for made in (by_declaration, by_function):
        found = Meaning(made).run({"x": X, "w": W}, {**sizes, "P": len(expected)})
        assert found["y"].tolist() == expected


@pytest.mark.parametrize("value", [0, sp.Rational(5, 3), "mean"])
def test_values_outside(value):
    m = Tensor("m")
    padded = Tensor("x", margin=[(a, e)], outside=m[()] if value == "mean" else value)
    mean = [m[()] << Mean[q](padded[q])] if value == "mean" else []
    made = program(
        *mean, y[p] << Sum[k](padded[p + k - a] * w[k] + padded[p + k - a] ** 2), inputs=(padded, w)
    )
    number = sum(X) / 4 if value == "mean" else Fraction(sp.Rational(value).p, sp.Rational(value).q)
    full = [number] * 2 + X + [number]
    expected = [sum(full[p_ + k_] * W[k_] + full[p_ + k_] ** 2 for k_ in range(3)) for p_ in range(5)]
    assert Meaning(made).run({"x": X, "w": W}, {"a": 2, "e": 1})["y"].tolist() == expected


def test_absent_is_not_zero():
    """No point is there, so a maximum of negative numbers stays negative and a constant is not added."""
    padded = Tensor("x", margin=[(a, a)])
    largest = program(y[p] << Max[k](padded[p + k - a]), inputs=(padded,), given=(k,))
    counted = program(y[p] << Sum[k](padded[p + k - a] + 1), inputs=(padded,), given=(k,))
    values = {"x": [Fraction(-3), Fraction(-2), Fraction(-7)]}
    assert Meaning(largest).run(values, {"a": 1, "K": 2})["y"].tolist() == [-3, -2, -2, -7]
    assert Meaning(counted).run(values, {"a": 1, "K": 2})["y"].tolist() == [-2, -3, -7, -6]


@pytest.mark.parametrize("rank", range(4))
def test_kth(rank):
    """Of equal values the earlier counts as smaller, so every rank picks exactly one."""
    made = program(y[n] << Kth[k](x[n, k], rank))
    rows = [[3, 1, 2, 1], [5, 5, 5, 5], [-1, 0, -1, 0]]
    assert Meaning(made).run({"x": rows})["y"].tolist() == [sorted(row)[rank] for row in rows]


def test_argmax_at():
    place = Tensor("i", integer=True)
    made = program(place[p] << ArgMax[k](x[s * p + k], at=s * p + k), given=(k,))
    assert Meaning(made).run({"x": [4, 9, 9, 1, 3]}, {"s": 2, "K": 3})["i"].tolist() == [1, 2]
    last = program(place[p] << ArgMax[k](x[s * p + k], at=s * p + k, ties="last"), given=(k,))
    assert Meaning(last).run({"x": [4, 9, 9, 1, 3]}, {"s": 2, "K": 3})["i"].tolist() == [2, 2]


def test_an_argmax_may_be_an_index():
    made = program(y[n] << w[n, ArgMax[k](x[n, k])], inputs=(x, w))
    found = Meaning(made).run({"x": [[1, 5, 2], [9, 0, 0]], "w": [[10, 20, 30], [40, 50, 60]]})
    assert found["y"].tolist() == [20, 40]


PLACE = ArgMax[k](z[n, k])
HALF = sp.floor(p / 2)
TWICE: dict[str, Any] = {
    "a sum in a maximum": y[n] << Max[k](z[n, k] - Sum[j](z[n, j])) * Sum[j](z[n, j]),
    "a sum in a maximum in a product": y[()] << Prod[n](Max[k](z[n, k] * Sum[j](z[n, j])) - Sum[j](z[n, j])),
    "a sum in a condition": y[n, k] << sp.Piecewise((z[n, k], Sum[j](z[n, j]) > 0), (Sum[j](z[n, j]), True)),
    "an index in a condition": y[n] << sp.Piecewise((x[PLACE] * PLACE, x[PLACE] > PLACE), (-x[PLACE], True)),
    "an element that is an index": y[n] << x[t[n]] * t[n],
    "an index of an index": y[n] << x[t[t[n]]] * x[t[n]],
    "a rounding in a rounding": y[p] << x[HALF + sp.floor((p + HALF) / 3)],
    "a remainder in a rounding": y[p] << x[sp.Mod(p, 2) + sp.floor((p + sp.Mod(p, 2)) / s)],
    "a rounding in a folded rounding": y[p] << x[replicate(HALF + sp.floor((p + HALF) / 3) - 1)],
}


@pytest.mark.parametrize("case", TWICE)
def test_a_part_may_stand_in_another_and_beside_it(case):
    values = {"x": [3, -1, 2], "z": [[1, -2, 2], [-3, 0, 1], [-1, -2, 4]], "t": [2, 0, 2]}
    body = TWICE[case].body
    inputs = tuple(u for u in (x, z, t) if u in {read.tensor for read in body.atoms(Read)})
    operator = op(TWICE[case], inputs=inputs, extents={p: 4} if body.has(p) else {})
    arrays = {u.name: np.array(values[u.name], dtype=int if u.integer else object) for u in inputs}
    integers = {"s": 3} if body.has(s) else {}
    agree(Meaning(to_program(operator)).run(arrays, integers), evaluate(operator, arrays, integers), ["y"])
    derive(operator)


def test_an_integer_input_needs_no_value_outside():
    """Its elements are compared with the extent before any kernel runs; another axis of the read may still leave."""
    padded = Tensor("x", margin=[(0, 0), (a, a)], outside=5)
    made = program(y[n, p] << Sum[k](sp.Abs(padded[t[n], p + k - a] - w[k])), inputs=(padded, w, t))
    assert [eq.target.tensor for eq in made.equations] == ["x_padded", "x_padded", "x_padded", "y"]
    found = Meaning(made).run({"x": [[1, 2], [3, 4]], "w": [1], "t": [1, 1, 0]}, {"a": 1})
    assert found["y"].tolist() == [[4, 2, 3, 4], [4, 2, 3, 4], [4, 0, 1, 4]]


def test_indirect_targets_accumulate():
    made = program(y[t[n]] << x[n], inputs=(x, t))
    found = Meaning(made).run({"x": [1, 2, 4, 8], "t": [2, 0, 2, 2]}, {"Y0": 4})
    assert found["y"].tolist() == [2, 0, 13, 0]


def test_affine_targets_accumulate():
    made = program(y[s * p + k] << x[p] * w[k], inputs=(x, w))
    assert Meaning(made).run({"x": [1, 10], "w": [1, 2, 3]}, {"s": 1})["y"].tolist() == [1, 12, 23, 30]


def test_what_the_target_does_not_name_is_added_up():
    assert Meaning(program(y[n] << x[n, k])).run({"x": [[1, 2], [3, 4]]})["y"].tolist() == [3, 7]


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


# ---- mistakes -------------------------------------------------------------------------------------------

X2 = Tensor("x", margin=[(a, e)])
X5 = Tensor("x", outside=5)
NOT_AFFINE = (
    " is not affine in indices (with whole numbers, parameters and extents as coefficients), floor, mod, a fold, or an "
    "integer tensor's element"
)
NO_KERNEL = " is nothing a kernel can compute; there are +, -, *, /, powers, Piecewise and " + ", ".join(
    f.__name__ for f in SCALARS
)


def op(*statements: Any, inputs: Any = (x,), **options: Any) -> Operator:
    return Operator("op", *statements, inputs=inputs, **options)


NX, NY = indices("N X0")
GX = Tensor("X")
OPTIONAL = Tensor("b", optional=True)

BAD: dict[str, tuple[Operator, str, str]] = {
    "unknown extent": (
        op(y[n] << Sum[k](x[n + k])),
        "index `k` has no extent (known: none): no input has it plainly on an axis, no law bounds it; give it in `extents` or `given`",
        "y[n] << sum[k](x[k + n])",
    ),
    "unknown index": (
        op(y[p] << k * x[p]),
        "index `k` has no extent (known: p): no input has it plainly on an axis, no law bounds it; give it in `extents` or `given`",
        "y[p] << k*x[p]",
    ),
    "rank": (
        op(y[n] << Sum[k](x[n, k]) * x[n]),
        "x[n] has 1 axes, elsewhere x has 2",
        "y[n] << x[n]*sum[k](x[n,k])",
    ),
    "rank of what is written": (
        op(z[n] << Sum[k](x[n, k]), y[n, k] << z[n, k] * x[n, k]),
        "z[n,k] has 2 axes, elsewhere z has 1",
        "y[n,k] << x[n,k]*z[n,k]",
    ),
    "not affine": (
        op(y[p] << Sum[k](x[p * k] * w[k]), inputs=(x, w)),
        "the index expression `k*p` in x[k*p]" + NOT_AFFINE,
        "y[p] << sum[k](w[k]*x[k*p])",
    ),
    "square index": (
        op(y[p] << x[p**2]),
        "the index expression `p**2` in x[p**2]" + NOT_AFFINE,
        "y[p] << x[p**2]",
    ),
    "half an index": (
        op(y[p] << x[p / 2]),
        "the index expression `p/2` in x[p/2]" + NOT_AFFINE,
        "y[p] << x[p/2]",
    ),
    "half a step": (
        op(y[p] << x[p + sp.S.Half]),
        "the index expression `p + 1/2` in x[p + 1/2]" + NOT_AFFINE,
        "y[p] << x[p + 1/2]",
    ),
    "real in an index": (
        op(y[p] << x[p + r]),
        "the index expression `p + r` in x[p + r]" + NOT_AFFINE,
        "y[p] << x[p + r]",
    ),
    "complex index": (
        op(y[p] << x[sp.I * p]),
        "the index expression `I*p` in x[I*p]" + NOT_AFFINE,
        "y[p] << x[I*p]",
    ),
    "read as an index": (
        op(y[p] << x[w[p]], inputs=(x, w)),
        "the index expression `w[p]` in x[w[p]]" + NOT_AFFINE,
        "y[p] << x[w[p]]",
    ),
    "absolute index": (
        op(y[p] << x[sp.Abs(p - 1)], extents={p: 3}),
        "the index expression `Abs(p - 1)` in x[Abs(p - 1)]" + NOT_AFFINE,
        "y[p] << x[Abs(p - 1)]",
    ),
    "fold in a sum": (
        op(y[p] << x[reflect(p - 1) + 1], extents={p: 3}),
        "a folded index stands alone on its axis, found `reflect(p - 1) + 1`",
        "y[p] << x[reflect(p - 1) + 1]",
    ),
    "divisor": (
        op(y[p] << x[sp.floor(p / a)], given=(p,)),
        "the divisor `a` in x[floor(p/a)] is a positive parameter, size or number",
        "y[p] << x[floor(p/a)]",
    ),
    "unknown sign": (
        op(y[p] << Sum[k](x[p + (s - d) * k] * w[k]), inputs=(x, w)),
        "the sign of coefficient -d + s of `k` is not known, so `-(d - s)*k` has no known interval",
        "y[p] << sum[k](w[k]*x[k*(-d + s) + p])",
    ),
    "before the margin": (
        op(y[p] << Sum[k](x[p + k - a] * w[k]), inputs=(x, w)),
        "x[k + p - a] may start at -a on axis 0, before the margin 0 of x: -a is not known to be >= 0. "
        "Declare a margin, or give the extent of `p`",
        "y[p] << sum[k](w[k]*x[k + p - a])",
    ),
    "far before the margin": (
        op(y[p] << Sum[k](X2[p + k - 2 * a] * w[k]), inputs=(X2, w)),
        "x[k + p - 2*a] may start at -2*a on axis 0, before the margin a of x: -a is not known to be >= 0. "
        "Declare a margin, or give the extent of `p`",
        "y[p] << sum[k](w[k]*x[k + p - 2*a])",
    ),
    "input is written": (
        op(x[p] << x[p] * w[p], inputs=(x, w)),
        "`x` is an input and is written",
        "x[p] << w[p]*x[p]",
    ),
    "reads itself": (
        op(y[p] << x[p] + y[p]),
        "`y` is read by the equation that writes it",
        "y[p] << x[p] + y[p]",
    ),
    "written after it was read": (
        op(y[p] << x[p], z[p] << y[p], y[p] << x[p] ** 2),
        "`y` is written again after `z[p] << y[p]` has read it",
        "y[p] << x[p]**2",
    ),
    "max and something": (
        op(y[p] << x[p], y[p] << Max[k](x[p] * w[k]), inputs=(x, w)),
        "`y` is written by several equations, which add up, so a max cannot be one of them",
        "y[p] << max[k](w[k]*x[p])",
    ),
    "unused input": (op(y[p] << x[p], inputs=(x, w)), "input `w` is used by no equation", ""),
    "vanished input": (op(y[p] << x[p] + 0 * w[p], inputs=(x, w)), "input `w` is used by no equation", ""),
    "input twice": (op(y[p] << x[p], inputs=(x, x)), "input `x` is named twice", ""),
    "output not written": (op(y[p] << x[p], outputs=(y, z)), "output `z` is written by no equation", ""),
    "undeclared": (
        op(y[p] << x[p] * z[p]),
        "`z` is read but is neither an input nor written by an earlier equation (inputs: x)",
        "y[p] << x[p]*z[p]",
    ),
    "too early": (
        op(y[p] << x[p] * z[p], z[p] << x[p]),
        "`z` is read but is neither an input nor written by an earlier equation (inputs: x)",
        "y[p] << x[p]*z[p]",
    ),
    "declared twice": (
        op(y[p] << x[p] * X2[p]),
        "tensor `x` is declared in two ways",
        "y[p] << x[p]*x[p]",
    ),
    "float": (
        op(y[p] << 0.5 * x[p]),
        "0.500000000000000 is a float; write an exact Rational, or a real parameter",
        "y[p] << 0.5*x[p]",
    ),
    "float in an index": (
        op(y[p] << x[p + 1.0]),
        "1.00000000000000 is a float; write an exact Rational, or a real parameter",
        "y[p] << x[p + 1.0]",
    ),
    "SymPy's Max": (
        op(y[p] << sp.Max(x[p], 0)),
        "SymPy's Max forgets the order of its arguments, on which the gradient at a tie depends; "
        "write maximum(u, v), minimum(u, v) or relu(u)",
        "y[p] << Max(0, x[p])",
    ),
    "SymPy's Min": (
        op(y[p] << Sum[k](sp.Min(x[p], w[k])), inputs=(x, w)),
        "SymPy's Min forgets the order of its arguments, on which the gradient at a tie depends; "
        "write maximum(u, v), minimum(u, v) or relu(u)",
        "y[p] << sum[k](Min(w[k], x[p]))",
    ),
    "no default": (
        op(y[p] << sp.Piecewise((x[p], x[p] > 0))),
        "`Piecewise((x[p], x[p] > 0))` has no value where its conditions fail; end it with (value, True)",
        "y[p] << Piecewise((x[p], x[p] > 0))",
    ),
    "no default inside": (
        op(y[n] << Sum[k](sp.Piecewise((x[n, k], k > 1)) ** 2)),
        "`Piecewise((x[n,k]**2, k > 1))` has no value where its conditions fail; end it with (value, True)",
        "y[n] << sum[k](Piecewise((x[n,k]**2, k > 1)))",
    ),
    "plain symbol": (
        op(y[p] << x[p] * sp.Symbol("alpha")),
        "`alpha` is neither an index, a parameter nor an extent (use indices(), parameters(), reals())",
        "y[p] << alpha*x[p]",
    ),
    "case": (
        op(y[n, NX] << x[n, NX]),
        "indices `N` and `n` differ only in case, and extents are named by capitals",
        "y[n,N] << x[n,N]",
    ),
    "index and axis": (
        op(y[p] << Sum[NY](x[p + NY] * w[NY]), inputs=(x, w)),
        "axis 0 of x and index `X0` would both have the extent X0; rename one",
        "y[p] << sum[X0](w[X0]*x[X0 + p])",
    ),
    "axis and axis": (
        op(y[p] << Sum[k](x[p + k] * GX[p + s * k]), inputs=(x, GX), given=(k,)),
        "axis 0 of X and axis 0 of x would both have the extent X0; rename one tensor",
        "y[p] << sum[k](X[k*s + p]*x[k + p])",
    ),
    "extent of nothing": (
        op(y[p] << x[p] * extent(k)),
        "`K` is the extent of no index and no axis of this operator",
        "y[p] << K*x[p]",
    ),
    "axis of nothing": (
        op(y[p] << x[p] * x.size(5)),
        "`X5` is the extent of no index and no axis of this operator",
        "y[p] << X5*x[p]",
    ),
    "tensor and parameter": (
        op(y[p] << x[p] * reals("x")),
        "`x` is both a tensor and a parameter; rename one",
        "y[p] << x*x[p]",
    ),
    "integer by a sum": (
        op(t[p] << Sum[k](x[p, k])),
        "`t` is an integer tensor; only an ArgMax or ArgMin can write it",
        "t[p] << sum[k](x[p,k])",
    ),
    "max to an affine target": (
        op(y[s * p + k] << Max[j](x[p, k, j])),
        "`y[k + p*s]` adds up what falls on one element, so a max cannot be written at index `k`; "
        "give the max an equation of its own",
        "y[k + p*s] << max[j](x[p,k,j])",
    ),
    "prod to an indirect target": (
        op(y[t[p]] << Prod[j](x[p, j]), inputs=(x, t)),
        "`y[t[p]]` adds up what falls on one element, so a prod cannot be written at index `p`; "
        "give the prod an equation of its own",
        "y[t[p]] << prod[j](x[p,j])",
    ),
    "max without an index": (
        op(y[p] << Max[j](x[p, k, j])),
        "index `k` is neither reduced by max nor named by the target",
        "y[p] << max[j](x[p,k,j])",
    ),
    "optional": (
        op(y[p] << x[p] + sp.exp(OPTIONAL[p]), inputs=(x, OPTIONAL)),
        "`b` is optional, but without it `exp(b[p])` does not vanish",
        "y[p] << exp(b[p]) + x[p]",
    ),
    "optional in a maximum": (
        op(y[p] << Max[k](x[p, k] * OPTIONAL[p]), inputs=(x, OPTIONAL)),
        "`b` is optional, but without it `b[p]*x[p,k]` does not vanish",
        "y[p] << max[k](b[p]*x[p,k])",
    ),
    "condition on values": (
        op(y[p] << Sum[k](x[p, k], x[p, k] > 0)),
        "the index expression `x[p,k] - 1` in x[p,k] > 0" + NOT_AFFINE,
        "y[p] << sum[k](x[p,k], x[p,k] > 0)",
    ),
    "condition with a real": (
        op(y[p] << Sum[k](x[p, k], k < r)),
        "the index expression `-k + r - 1` in k < r" + NOT_AFFINE,
        "y[p] << sum[k](x[p,k], k < r)",
    ),
    "either": (
        op(y[p] << Sum[k](x[p, k], sp.Or(k < p, k > 2 * p))),
        "a condition is a comparison of index expressions, found `(k < p) | (k > 2*p)`",
        "y[p] << sum[k](x[p,k], (k < p) | (k > 2*p))",
    ),
    "unequal": (
        op(y[p] << Sum[k](x[p, k], sp.Ne(k, p))),
        "a condition is a comparison of index expressions, found `Ne(k, p)`",
        "y[p] << sum[k](x[p,k], Ne(k, p))",
    ),
    "value outside at a computed index": (
        op(y[n] << sp.Abs(X5[ArgMax[k](w[n, k])] - 1), inputs=(X5, w)),
        "x[y_argmax[n]]: an index that an integer tensor gives cannot reach outside; clip it before",
        "y[n] << Abs(x[argmax[k](w[n,k])] - 1)",
    ),
    "fold of an integer tensor": (
        op(y[p] << x[reflect(t[p] - 1)], inputs=(x, t)),
        "x[reflect(t[p] - 1)]: an index that an integer tensor gives cannot reach outside; clip it before",
        "y[p] << x[reflect(t[p] - 1)]",
    ),
    "condition as a number": (
        op(y[p] << (x[p] > 0)),
        "`x[p] > 0` is a condition, not a number; write Piecewise((1, x[p] > 0), (0, True))",
        "y[p] << x[p] > 0",
    ),
    "inside of what": (
        op(y[p] << x[p] * inside(p)),
        "inside(...) takes one read, as in inside(x[n, s*p + k]); found `inside(p)`",
        "y[p] << inside(p)*x[p]",
    ),
    "round": (
        op(y[p] << sp.floor(x[p])),
        "`floor(x[p])` rounds a real number, which has no derivative here; round indices and integer tensors only",
        "y[p] << floor(x[p])",
    ),
    "round a parameter": (
        op(y[p] << x[p] * sp.ceiling(2 * r)),
        "`ceiling(2*r)` rounds a real number, which has no derivative here; round indices and integer tensors only",
        "y[p] << ceiling(2*r)*x[p]",
    ),
    "remainder": (
        op(y[p] << sp.Mod(x[p], 2)),
        "`Mod(x[p], 2)` rounds a real number, which has no derivative here; round indices and integer tensors only",
        "y[p] << Mod(x[p], 2)",
    ),
}
for _name, _extent in {
    "negative": -3,
    "float": sp.Float(2.5),
    "index": p,
    "symbol": sp.Symbol("L"),
    "real": r,
    "half": s / 2,
}.items():
    BAD[f"extent: {_name}"] = (
        op(y[p] << Sum[k](x[p] * k), extents={k: _extent}),
        f"the extent of `k` is a whole number >= 0, a parameter, or a formula of extents and parameters; found {_extent}",
        "",
    )
for _number in (sp.nan, sp.zoo, sp.I):
    BAD[f"number: {_number}"] = (
        op(y[p] << x[p] ** 2 * w[p] + _number, inputs=(x, w)),
        f"`{_number}` is no real number",
        None,
    )
for _expr in (
    sp.gamma(x[p]),
    sp.besselj(0, x[p]),
    sp.Heaviside(x[p]),
    sp.DiracDelta(x[p]),
    sp.Function("f")(x[p]),
    sp.LambertW(x[p]),
    sp.sec(x[p]),
    sp.sinc(x[p]),
    sp.factorial(p),
    sp.KroneckerDelta(p, 3),
    sp.GoldenRatio,
    sp.EulerGamma,
    sp.Sum(x[p], (sp.Symbol("m", integer=True), 0, 3)),
    sp.frac(x[p]),
    reflect(p),
    sp.arg(x[p]),
):
    BAD[f"function: {_expr}"] = (
        op(y[p] << x[p] * _expr),
        f"`{_expr}` ({type(_expr).__name__}){NO_KERNEL}",
        f"y[p] << {x[p] * _expr}",
    )
BAD["matrix"] = (
    op(y[p] << sp.Matrix([x[p]])),
    f"`Matrix([[x[p]]])` (ImmutableDenseMatrix){NO_KERNEL}",
    "y[p] << Matrix([[x[p]]])",
)
BAD["rank of a margin"] = (
    op(y[p] << Tensor("x", margin=[(a, e), (a, e)])[p], inputs=(Tensor("x", margin=[(a, e), (a, e)]),)),
    "x has 2 margins but 1 axes",
    "y[p] << x[p]",
)
_beside = Tensor("x", margin=[(a, e)], outside=w[k])
BAD["outside at another index"] = (
    op(y[p] << Sum[k](_beside[p + k - a] * z[k] + z[k]), inputs=(_beside, w, z)),
    "outside=w[k]: index `k` does not stand plainly in x[k + p - a]",
    "y[p] << sum[k](x[k + p - a]*z[k] + z[k])",
)


@pytest.mark.parametrize("mistake", BAD)
def test_mistake(mistake):
    operator, message, equation = BAD[mistake]
    with pytest.raises(SpecError) as error:
        to_program(operator)
    if equation is None:  # SymPy has swallowed what stood beside it
        equation = str(operator.statements[0])
    assert str(error.value) == f"op: {message}" + (f"\n    in  {equation}" if equation else "")


def test_a_mistake_says_which_equation():
    with pytest.raises(SpecError) as error:
        to_program(op(z[p] << x[p], y[p] << z[p] * sp.gamma(z[p])))
    assert str(error.value).endswith("\n    in  y[p] << gamma(z[p])*z[p]")
    assert (error.value.operator, error.value.equation) == ("op", "y[p] << gamma(z[p])*z[p]")


@pytest.mark.parametrize(
    ("operator", "text"),
    [
        (
            op(y[n] << x[n] * parameters("N")),
            "op: `N` is both a size and a parameter; rename one",
        ),
        (op(y[p] << x[p] * reals("s") * s), "op: `s` is both a real and a parameter; rename one"),
        (
            op(y[n] << x[n] * Tensor("gx")[n], inputs=(x, Tensor("gx"))),
            "op: tensor `gx` has the name that the derivative of `x` gets; rename it",
        ),
        (
            op(y[n] << x[n] * Tensor("tx")[n], inputs=(x, Tensor("tx"))),
            "op: tensor `tx` has the name that the derivative of `x` gets; rename it",
        ),
        (
            op(y[n] << x[n] * Tensor("hgx")[n], inputs=(x, Tensor("hgx"))),
            "op: tensor `hgx` has the name that the derivative of `gx` gets; rename it",
        ),
    ],
    ids=["parameter and extent", "parameter and real", "gradient", "tangent", "second order"],
)
def test_names_that_clash_further_down(operator, text):
    from derive.emit.module import module_source

    with pytest.raises(SpecError) as error:
        module_source(derive(operator))
    assert str(error.value) == text


def test_what_looks_odd_and_is_fine():
    """Accepted, each with a meaning."""
    for operator in (
        op(y[p] << x[p] * sp.pi + sp.E),
        op(y[p] << sp.Piecewise((x[p], p > 3), (-sp.oo, True))),
        op(y[p] << sp.cbrt(sp.Abs(x[p])) * sp.log(w[p] ** 2 + 1, 10), inputs=(x, w)),
        op(y[p] << 2 ** x[p] * x[p] ** r),
        op(y[p] << x[p] * sp.floor(p / 2) + sp.Mod(t[p], 3), inputs=(x, t)),
        op(y[p] << x[p - 1], extents={p: 3}),
        op(y[p] << x[p] * x.size(0)),
        op(y[n] << Sum[()](x[n])),
        op(y[p] << x[p] * Tensor("k")[k], inputs=(x, Tensor("k"))),
        op(y[p] << Min[k](x[p, k]) - LogSumExp[k](x[p, k]), laws={p: overhang()}),
    ):
        derive(operator)
