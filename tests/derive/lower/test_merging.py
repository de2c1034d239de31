"""Which indices merely name elements, so that two of them may be one."""

from __future__ import annotations

import pytest

from derive.language import ArgMax, Mean, Operator, Sum, Tensor, extent, indices, parameters, tensors
from derive.lower.merging import merging
from derive.passes.canonical import abstract
from derive.translate import to_program

c, h, k, n, o, w = indices("c h k n o w")
b, x, y, z = tensors("b x y z")
s = parameters("s")
t = Tensor("t", integer=True)
H, W = extent(h), extent(w)


def mergeable(*statements, inputs, **options) -> list[str]:
    """The sets of indices of the last equation of which any two may be one, by the views that they are axes of."""
    eq = abstract(to_program(Operator("op", *statements, inputs=inputs, **options)).equations[-1]).equation
    sets: dict[tuple[bool, ...], set[str]] = {}
    for i, axes in merging(eq, (eq.target, *eq.reads)).items():
        sets.setdefault(tuple(a is None for a in axes), set()).add(i.name)
    return sorted("".join(sorted(found)) for found in sets.values())


@pytest.mark.parametrize(
    ("statement", "inputs", "found"),
    [
        (y[n, c, h, w] << x[n, c, h, w] * b[c], (x, b), ["hnw"]),
        (b[c] << Sum[n, h, w](x[n, c, h, w]), (x,), ["hnw"]),  # c is alone
        (y[n, c] << Mean[h, w](x[n, c, h, w]), (x,), ["cn", "hw"]),  # divides by a product
        (y[n, c] << Sum[h, w](x[n, c, h, w]) / (H + W), (x,), ["cn"]),  # by a sum
        (y[n, h, w] << h * x[n, h, w], (x,), ["nw"]),  # a place that is a number
        (y[n, h, w] << x[n, s * h, w], (x,), ["nw"]),  # a place that is worked out
        (y[c, h, w] << x[t[h, w], c], (x, t), ["hw"]),  # a place that is looked up
        (y[n, o, h, w] << Sum[c](x[n, c, h, w] * z[o, c]), (x, z), ["hnw"]),
        (t[n, c] << ArgMax[h, w](x[n, c, h, w]), (x,), ["cn"]),  # which place is asked
        (y[n, c] << x[n, c] + x[c, n], (x,), ["cn"]),  # if both arrays say so
    ],
    ids=str,
)
def test_what_may_be_one(statement, inputs, found):
    assert mergeable(statement, inputs=inputs) == found
