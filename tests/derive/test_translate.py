"""Equations into the relation form: structure as a golden file, meaning by brute force, mistakes by their text."""

from __future__ import annotations

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
    Min,
    Operator,
    Prod,
    Read,
    Sum,
    Tensor,
    extent,
    indices,
    inside,
    overhang,
    parameters,
    reals,
    replicate,
    tensors,
)
from derive.numbers import Decimals
from derive.passes.simplify import simplify
from derive.pipeline import derive
from derive.program import Program
from derive.reference import evaluate
from derive.translate import to_program
from tests.support.relation import Meaning, agree
from tests.support.specimens import SPECIMENS

n, p, k, j = indices("n p k j")
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


def test_a_parameter_may_stand_in_what_an_argmax_yields_alone():
    place = Tensor("i", integer=True)
    made = program(place[n] << ArgMax[k](x[n, k], at=k + a))
    assert made.parameters == (a,)
    assert Meaning(made).run({"x": [[4, 9, 9]]}, {"a": 10})["i"].tolist() == [11]


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


def test_indirect_targets_accumulate():
    made = program(y[t[n]] << x[n], inputs=(x, t))
    found = Meaning(made).run({"x": [1, 2, 4, 8], "t": [2, 0, 2, 2]}, {"Y0": 4})
    assert found["y"].tolist() == [2, 0, 13, 0]


def test_affine_targets_accumulate():
    made = program(y[s * p + k] << x[p] * w[k], inputs=(x, w))
    assert Meaning(made).run({"x": [1, 10], "w": [1, 2, 3]}, {"s": 1})["y"].tolist() == [1, 12, 23, 30]


def test_what_the_target_does_not_name_is_added_up():
    assert Meaning(program(y[n] << x[n, k])).run({"x": [[1, 2], [3, 4]]})["y"].tolist() == [3, 7]


# ---- mistakes -------------------------------------------------------------------------------------------

X2 = Tensor("x", margin=[(a, e)])


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
}
BAD["rank of a margin"] = (
    op(y[p] << Tensor("x", margin=[(a, e), (a, e)])[p], inputs=(Tensor("x", margin=[(a, e), (a, e)]),)),
    "x has 2 margins but 1 axes",
    "y[p] << x[p]",
)


@pytest.mark.parametrize("mistake", BAD)
def test_mistake(mistake):
    operator, message, equation = BAD[mistake]
    with pytest.raises(SpecError) as error:
        to_program(operator)
    assert str(error.value) == f"op: {message}\n    in  {equation}"


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


@pytest.mark.parametrize("ties", ["split", "all"])
def test_terms_that_are_stored_for_their_ties_exist_where_their_reads_do(ties):
    """l runs beyond what w has: those points are absent, not zero, from the smallest of positive numbers."""
    k, l = indices("k l")
    w, y = tensors("w y")
    w = Tensor("w", margin=((0, 2),))
    op = Operator("op", y[()] << Min[k, l](sp.exp(w[k + 2 * l]), ties=ties), inputs=(w,), given=(k, l))
    program = to_program(op)
    (smallest,) = (eq for eq in program.equations if eq.reduce == "min")
    (stored,) = (eq for eq in program.equations if eq.target.tensor == smallest.reads[0].tensor)
    assert len(smallest.relation.zero) == len(stored.relation.zero) == 1
