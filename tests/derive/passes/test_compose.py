"""Copies beside places that inequalities decide: before and after, what is left alone, and that nothing else changes."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive.language import Max, Operator, Sum, Tensor, indices, parameters, tensors
from derive.passes.compose import compose
from derive.passes.differentiate import vjp
from derive.passes.simplify import simplify
from derive.program import Program, check
from derive.translate import to_program
from tests.support.relation import Meaning, agree, filled

n, i, k, p, q = indices("n i k p q")
x, w, y, z = tensors("x w y z")
s, d = parameters("s d")
MODES = ("replicate", "reflect", "symmetric")


def program(*statements: Any, inputs: Any = (x,), **options: Any) -> Program:
    return simplify(to_program(Operator("op", *statements, inputs=inputs, **options)))


def around(mode: str) -> Tensor:
    return Tensor("x", margin=[(1, 1)], outside=mode)


def resampled(mode: str, *inputs: Any) -> Program:
    """Two taps around a place that is rounded down."""
    x = around(mode)
    read = x[n, sp.floor(s * p / d) - 1 + k] * (k + 1)
    return program(y[n, p] << Sum[k](read), inputs=(x,), given=p, extents={k: sp.Integer(2)})


def lines(made: Program) -> list[str]:
    return [str(eq).split("   {")[0] for eq in made.equations]


def test_pieces_are_read_through():
    before = resampled("replicate")
    assert lines(before)[-1] == "y[n,p] += sum[k,lap,xpadded1] (k + 1)*x_padded[n,xpadded1]"
    after = check(compose(before))
    assert lines(after) == ["y[n,p] += sum[k,lap,xpadded1,q] (k + 1)*x[n,q]"] * 3
    assert "x_padded" not in after.tensors


def test_pieces_read_through_what_was_added_up():
    before = simplify(vjp(resampled("replicate")))
    assert lines(before)[0] == "gx_padded[n,xpadded1] += sum[p,k,lap] (k + 1)*gy[n,p]"
    after = check(compose(before))
    assert [line.split(" +=")[0] for line in lines(after)] == ["gx[r0,q]"] * 3
    assert "gx_padded" not in after.tensors


@pytest.mark.parametrize("mode", MODES)
def test_it_means_the_same(mode):
    rng = random.Random(0)
    forward = resampled(mode)
    for raw in (forward, simplify(vjp(forward))):
        for size, places, by, over in ((3, 4, 1, 2), (4, 3, 3, 2), (2, 5, 1, 3), (5, 2, 2, 1)):
            values = np.array(
                [[Fraction(rng.randint(-9, 9), 4) for _ in range(size)] for _ in range(2)], dtype=object
            )
            integers = {"s": by, "d": over, "P": places}
            inputs = filled(raw, Meaning(forward), {"x": values}, integers)
            after = check(compose(raw))
            assert len(after.tensors) < len(raw.tensors)
            known = Meaning(raw).run(inputs, integers)
            agree(Meaning(after).run(inputs, integers), known, [t.name for t in raw.outputs])


@pytest.mark.parametrize(
    "made",
    [
        program(y[n, p] << Sum[k](around("replicate")[n, p - 1 + k] * w[k]), inputs=(around("replicate"), w)),
        program(y[n, p] << Max[k](around("replicate")[n, sp.floor(s * p / d) + k]),
                inputs=(around("replicate"),), given=p, extents={k: sp.Integer(2)}),
        program(y[n, p] << around("replicate")[n, sp.floor(s * p / d)] ** 2, inputs=(around("replicate"),), given=p),
        program(z[n, q] << Sum[k](x[n, q, k]), y[n, p] << z[n, sp.floor(s * p / d)], given=p),
        program(y[p, i] << around("replicate")[sp.floor(s * p / d), i - 1], inputs=(around("replicate"),), given=(p, i)),
    ],
    ids=["windows", "a maximum", "a formula", "a sum", "another axis"],
)  # fmt: skip
def test_left_alone(made: Program):
    assert compose(made) == made
