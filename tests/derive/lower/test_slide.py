"""Which sums are windows that slide, in which of two forms each axis is, and what is none."""

from __future__ import annotations

import pytest

from derive.language import Max, Operator, Sum, Tensor, indices, parameters, tensors
from derive.lower.slide import slides
from derive.passes.differentiate import vjp
from derive.passes.simplify import simplify
from derive.program import Equation
from derive.translate import to_program

n, c, p, q, k, l, i, j = indices("n c p q k l i j")
x, w, y = tensors("x w y")
s, d = parameters("s d")
a = parameters("a", positive=False)
t = Tensor("t", integer=True)


def program(*statements, inputs=(x, w), **options):
    return to_program(Operator("op", *statements, inputs=inputs, **options))


def forward(*statements, **options) -> Equation:
    return program(*statements, **options).equations[-1]


def backward(name, *statements, **options) -> Equation:
    made = simplify(vjp(program(*statements, **options)))
    return next(eq for eq in made.equations if eq.target.tensor == name)


padded = Tensor("x", margin=[(a, a), (a, a)])
PLANE = y[n, c, p, q] << Sum[k, l](padded[n, c, s * p + d * k - a, s * q + d * l - a] * w[c, k, l])


def test_a_window_as_it_is_written() -> None:
    (found,) = slides(forward(PLANE, inputs=(padded, w)))
    assert (found.lane.place, found.row and found.row.place, found.others) == (q, p, ())
    assert found.moving[0].tensor == "x"
    assert (found.lane.stride, found.lane.spread, found.lane.offset) == (s, d, -a)
    assert not found.lane.falls
    assert not found.lane.classes
    assert found.describe() == "windows of x slide, lanes over q, rows over p"


def test_its_gradient_in_classes() -> None:
    """Either operand may be the one that slides; their extents say which."""
    found = {one.moving[0].tensor: one for one in slides(backward("gx", PLANE, inputs=(padded, w)))}
    assert set(found) == {"gy", "w"}
    lane = found["gy"].lane
    assert (lane.stride, lane.spread, lane.modulus, lane.falls) == (1, d, s, True)
    assert (found["w"].lane.spread, found["w"].lane.modulus) == (s, d)


def test_a_window_turned_around() -> None:
    (found,) = slides(forward(y[n, p] << Sum[k](x[n, s * p - d * k + a] * w[k]), given=(p,)))
    assert (found.row, found.lane.falls, found.lane.stride, found.lane.spread) == (None, True, s, d)


def test_more_axes_and_sums() -> None:
    (found,) = slides(forward(y[i, p, q, j] << Sum[c, k, l, n](x[i, c, p + k, q + l, j + n] * w[c, k, l, n])))
    assert [one.place for one in found.axes] == [p, q, j]
    assert found.others[0].place == p
    assert found.rest == (c,)
    assert found.outer == (i, p)


@pytest.mark.parametrize(
    "equation",
    [
        forward(y[p] << Max[k](x[s * p + d * k] * w[k])),
        forward(y[p, q] << Sum[k](x[s * p + d * q + k] * w[k, p, q])),
        forward(y[p] << Sum[k](x[s * p + t[k]] * w[k, p]), inputs=(x, w, t)),
        forward(y[p] << Sum[k](x[s * p + d * k] * x[p + k] * w[k])),
        forward(y[n, p] << Sum[k](x[n, k] * w[k, p])),
    ],
    ids=["no sum", "two places", "a place that is read", "two that slide", "no window"],
)
def test_what_is_no_window(equation: Equation) -> None:
    assert slides(equation) == ()
