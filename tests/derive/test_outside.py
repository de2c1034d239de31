"""Folds and values outside: which reads go through a copy, and what they find there."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive.errors import SpecError
from derive.language import (
    ArgMax,
    Max,
    Mean,
    Operator,
    Sum,
    Tensor,
    circular,
    indices,
    parameters,
    reflect,
    replicate,
    symmetric,
    tensors,
)
from derive.outside import PIECES, Axis, beyond
from derive.program import Access, IntegerAccess, Program
from derive.translate import to_program
from tests.support.relation import Meaning

n, p, q, k = indices("n p q k")
x, w, y, z = tensors("x w y z")
s = parameters("s")
a, e = parameters("a e", positive=False)
t = Tensor("t", integer=True)


def op(*statements: Any, inputs: Any = (x,), **options: Any) -> Operator:
    return Operator("op", *statements, inputs=inputs, **options)


def program(*statements: Any, inputs: Any = (x,), **options: Any) -> Program:
    return to_program(Operator("op", *statements, inputs=inputs, **options))


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


def test_integers_are_copied_as_integers():
    """Whose value is real; read as reals, their bits would be."""
    whole, m = (
        Tensor("t", margin=[(a, a)], outside=Tensor("m", integer=True)[()], integer=True),
        Tensor("m", integer=True),
    )
    made = program(y[p] << Sum[k](whole[p + k - a] * w[k]), inputs=(whole, m, w))
    read = [type(r) for eq in made.equations for r in eq.reads]
    assert read == [IntegerAccess, IntegerAccess, IntegerAccess, Access, Access]
    found = Meaning(made).run({"t": [4, 5], "m": np.array(7), "w": [1]}, {"a": 1})
    assert found["y"].tolist() == [7, 4, 5, 7]


def test_an_integer_input_needs_no_value_outside():
    """Its elements are compared with the extent before any kernel runs; another axis of the read may still leave."""
    padded = Tensor("x", margin=[(0, 0), (a, a)], outside=5)
    made = program(y[n, p] << Sum[k](sp.Abs(padded[t[n], p + k - a] - w[k])), inputs=(padded, w, t))
    assert [eq.target.tensor for eq in made.equations] == ["x_padded", "x_padded", "x_padded", "y"]
    found = Meaning(made).run({"x": [[1, 2], [3, 4]], "w": [1], "t": [1, 1, 0]}, {"a": 1})
    assert found["y"].tolist() == [[4, 2, 3, 4], [4, 2, 3, 4], [4, 0, 1, 4]]


# ---- mistakes ---------------------------------------------------------------------------------------

X5 = Tensor("x", outside=5)

BAD: dict[str, tuple[Operator, str, str]] = {
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
}
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
    assert str(error.value) == f"op: {message}\n    in  {equation}"


# ---- pieces -----------------------------------------------------------------------------------------

MAPS = {
    "value": lambda u, size: u if 0 <= u < size else None,
    "replicate": lambda u, size: min(max(u, 0), size - 1),
    "symmetric": lambda u, size: min(u % (2 * size), 2 * size - 1 - u % (2 * size)),
    "reflect": lambda u, size: min(u % max(2 * size - 2, 1), -u % max(2 * size - 2, 1)),
    "circular": lambda u, size: u % size,
}


def points(piece, at: dict[Any, int]) -> list[int]:
    """The positions q of a piece at one element of the copy, by trying all."""
    found = []
    names = [g.index for g in piece.ranges]
    for values in product(*(range(int(g.size)) for g in piece.ranges)):
        here = {**at, **dict(zip(names, values, strict=True))}
        if all(z_.expr.xreplace(here) == 0 for z_ in piece.zero) and all(
            f.expr.xreplace(here) >= 0 for f in piece.nonneg
        ):
            found.append(here.get(q, -1))
    return found


@pytest.mark.parametrize("mode", PIECES)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_pieces_find_every_position_once(mode, size):
    r, lap = indices("r lap")
    low, high = -5, 7
    axis = Axis(r, q, lap, *map(sp.Integer, (size, low, high)))
    for u in range(low, high + 1):
        found = [v for piece in PIECES[mode](axis) for v in points(piece, {r: u - low})]
        position = MAPS[mode](u, size)
        assert found == ([] if position is None else [position]), u
        assert len([v for piece in beyond(axis) for v in points(piece, {r: u - low})]) == (not 0 <= u < size)
