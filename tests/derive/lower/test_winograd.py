"""Which contractions are windows along two axes that minimal filtering may sum, and which are not."""

from __future__ import annotations

import pytest

from derive.language import Max, Operator, Sum, Tensor, indices, parameters, tensors
from derive.lower.contraction import contraction
from derive.lower.winograd import Windows, windows
from derive.passes.differentiate import vjp
from derive.passes.simplify import simplify
from derive.program import Equation
from derive.translate import to_program

n, o, c, p, q, u, k, l, m = indices("n o c p q u k l m")
x, w, y = tensors("x w y")
s, d = parameters("s d")
a, b = parameters("a b", positive=False)
padded = Tensor("x", margin=[(a, a), (b, b)])
PLANE = y[n, o, p, q] << Sum[c, k, l](padded[n, c, s * p + d * k - a, q + l - b] * w[o, c, k, l])


def program(statement, inputs=(x, w), **options):
    return to_program(Operator("op", statement, inputs=inputs, **options))


def found(eq: Equation) -> tuple[Windows, ...]:
    made = contraction(eq)
    return () if made is None else windows(made)


def forward(statement, **options) -> tuple[Windows, ...]:
    return found(program(statement, **options).equations[-1])


def test_a_window_as_it_is_written() -> None:
    (made,) = forward(PLANE, inputs=(padded, w))
    assert [(axis.row, axis.tap, axis.falls, axis.constant) for axis in made.axes] == [
        (p, k, False, -a),
        (q, l, False, -b),
    ]
    assert (made.images, made.channels, made.columns) == ((n,), (c,), (o,))
    assert set(made.units) == {s, d}
    assert made.describe() == (
        "Winograd over x: p q by 2 x 2, 3 x 3 taps k l, images n, columns o, channels c, batch - where s = 1, d = 1"
    )


def test_its_input_gradient() -> None:
    """Of a stride of 1, which the kernel asks: taps fall, and images and channels change their parts."""
    equations = simplify(vjp(program(PLANE, inputs=(padded, w)))).equations
    both = next(found(eq) for eq in equations if eq.target.tensor == "gx")
    assert {one.read.tensor for one in both} == {
        "gy",
        "w",
    }  # as far as anyone knows, either has the three taps
    made = next(one for one in both if one.read.tensor == "gy")
    assert [(axis.tap, axis.falls, axis.constant) for axis in made.axes] == [(k, True, a), (l, True, b)]
    assert (made.images, made.channels, made.columns) == ((n,), (o,), (c,))
    assert set(made.units) == {s, d}


def test_a_convolution_proper_with_a_batch() -> None:
    turned = Sum[l, k, c](x[c, q - l + 2, n, p + k, u] * w[k, c, l, n, o])
    made = next(one for one in forward(y[u, p, n, o, q] << turned, given=(p, q)) if one.read.tensor == "x")
    assert [(axis.row, axis.tap, axis.falls, axis.constant) for axis in made.axes] == [
        (q, l, True, 2),
        (p, k, False, 0),
    ]
    assert (made.images, made.channels, made.columns, made.batch) == ((u,), (c,), (o,), (n,))
    assert made.units == ()


@pytest.mark.parametrize(
    "statement",
    [
        y[n, o, p] << Sum[c, k](x[n, c, p + k] * w[o, c, k]),  # one axis
        y[n, o, p, q, u] << Sum[c, k, l, m](x[n, c, p + k, q + l, u + m] * w[o, c, k, l, m]),  # three
        y[n, o, p, q] << Sum[c, k, l](x[n, c, 2 * p + k, q + l] * w[o, c, k, l]),  # a stride that is never 1
        y[n, o, p, q] << Sum[c, k, l](x[n, c, p + k + l, q + l] * w[o, c, k, l]),  # a tap on both axes
        y[n, o, p, q] << Sum[c, k, l](x[n, c, p + k, p + l, q] * w[o, c, k, l]),  # a row on both axes
        y[n, o, p, q] << Sum[c, k, l](2 * x[n, c, p + k, q + l] * w[o, c, k, l]),  # scaled
        y[n, p, q] << Sum[c, k, l](x[n, c, p + k, q + l] * w[c, k, l]),  # no column
        y[n, o, p, q] << Max[c, k, l](x[n, c, p + k, q + l] * w[o, c, k, l]),  # no sum
    ],
)
def test_what_is_none(statement) -> None:
    assert forward(statement) == ()
