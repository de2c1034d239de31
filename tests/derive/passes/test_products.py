"""Which sums of products are taken apart, what stays as it is, and that nothing changes its meaning."""

from __future__ import annotations

from fractions import Fraction
from random import Random
from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive.language import LogSumExp, Max, Mean, Operator, Sum, Tensor, indices, parameters, relu, tensors
from derive.passes.differentiate import jvp, vjp
from derive.passes.products import products
from derive.passes.simplify import simplify
from derive.passes.stable import stable
from derive.program import Program, check
from derive.translate import to_program
from tests.support.relation import Meaning, agree, filled

n, c, o, i, j, k, f, p = indices("n c o i j k f p")
x, w, v, y, a, m = tensors("x w v y a m")
s, d = parameters("s d")
e = parameters("e", positive=False)


def forward(*statements: Any, inputs: Any = (x, w), **options: Any) -> Program:
    return to_program(Operator("op", *statements, inputs=inputs, **options))


def backward(made: Program) -> Program:
    return stable(simplify(vjp(made)))


def texts(program: Program) -> list[str]:
    return [str(eq) for eq in check(products(program)).equations]


ATTENTION = forward(
    a[i, j] << Sum[c](x[i, c] * w[j, c]),
    m[i] << LogSumExp[j](a[i, j], j <= i),
    y[i, f] << Sum[j](sp.exp(a[i, j] - m[i]) * v[j, f], j <= i),
    inputs=(x, w, v),
)
WINDOW = Tensor("x", margin=[(e, e)])


def test_what_repeats_is_kept():
    """The exponential has no f: it is worked out once for all of them."""
    assert texts(ATTENTION)[-2:] == [
        "y_factor[i,j] += exp(-m[i] + a[i,j])",
        "y[i,f] += sum[j] v[j,f]*y_factor[i,j]   { i - j >= 0 }",
    ]


def test_what_a_sum_does_not_touch_leaves_it():
    """Nor has the sum of gy * v an exponential; the two equations that need it share it."""
    found = texts(backward(ATTENTION))
    assert found.count("ga_sum[i,j] += sum[f] gy[i,f]*v[j,f]") == 1
    assert "ga[i,j] += exp(-m[i] + a[i,j])*ga_sum[i,j]   { i - j >= 0 }" in found
    assert "gm[i] += sum[j] -exp(-m[i] + a[i,j])*ga_sum[i,j]   { i - j >= 0 }" in found


def test_constraints_go_with_what_they_tie():
    local = forward(y[i, k] << sp.exp(a[i, k]) * Sum[c](x[i, c] * w[i + k, c]), inputs=(a, x, w))
    found = texts(backward(local))
    assert "ga[i,k] += exp(a[i,k])*ga_sum[i,k]*gy[i,k]" in found
    assert "ga_sum[i,k] += sum[c,w0] w[w0,c]*x[i,c]   { i + k = w0 }" in found
    windows = forward(y[p] << Sum[k](sp.exp(x[p]) * w[p + k]), inputs=(x, w), given=(k,))
    assert texts(windows) == [
        "y_sum[p] += sum[k,w0] w[w0]   { k + p = w0 }",
        "y[p] += exp(x[p])*y_sum[p]",
    ]


def test_a_convolution_of_what_is_worked_out_once():
    made = forward(y[o, p] << Sum[c, k](relu(WINDOW[c, s * p + k - e]) * w[o, c, k]), inputs=(WINDOW, w))
    term, conv = texts(made)
    assert term == "y_factor[c,x1] += relu(x[c,x1])"
    assert conv.startswith("y[o,p] += sum[c,k,x1] y_factor[c,x1]*w[o,c,k]   {")


def test_three_reads_become_a_contraction():
    """A mask and what it masks first; then rows times columns."""
    masked = forward(y[n, o] << Sum[c](x[n, c] * m[n] * w[o, c]), inputs=(x, m, w))
    assert texts(masked) == ["y_sum[n,o] += sum[c] w[o,c]*x[n,c]", "y[n,o] += m[n]*y_sum[n,o]"]
    normal = forward(y[n, o] << Sum[c]((x[n, c] - m[n]) * w[o, c]), inputs=(x, m, w))
    assert texts(normal) == ["y_factor[n,c] += -m[n] + x[n,c]", "y[n,o] += sum[c] w[o,c]*y_factor[n,c]"]


def test_one_factor_less_dimensions():
    norms = forward(y[p] << Sum[c, k](x[c, s * p + k] ** 2 * w[k]))
    first, second = texts(norms)
    assert first == "y_sum[x1] += sum[c] x[c,x1]**2"
    assert second.startswith("y[p] += sum[k,x1] w[k]*y_sum[x1]   {")


CONVOLUTION = forward(
    y[n, o, p] << Sum[c, k](WINDOW[n, c, s * p + d * k - e] * w[o, c, k]), inputs=(WINDOW, w)
)
POOLED = forward(y[n, p] << Max[k](x[n, s * p + k]), inputs=(x,), given=(k,))
NORM = forward(
    m[n] << Mean[c](x[n, c]),
    v[n] << Mean[c]((x[n, c] - m[n]) ** 2),
    y[n, c] << (x[n, c] - m[n]) / sp.sqrt(v[n] + 1) * w[c],
)
SAME = {
    "a convolution": CONVOLUTION,
    "its gradients": backward(CONVOLUTION),
    "its second order": stable(simplify(vjp(simplify(vjp(CONVOLUTION)), "h"))),
    "one for each channel": backward(forward(y[c, p] << Sum[k](x[c, s * p + k] * w[c, k]))),
    "the gradient of a maximum": backward(POOLED),
    "what signs decide": backward(forward(y[n, p] << Max[k](abs(x[n, s * p + k])), inputs=(x,), given=(k,))),
    "a norm": NORM,
    "its gradient": backward(NORM),
    "a distance": forward(y[n, o] << Sum[c](abs(x[n, c] - w[o, c]))),
    "a formula of each element": forward(y[n, c] << sp.exp(x[n, c]) * w[c]),
    "what may divide by zero": forward(y[n, o] << Sum[c](sp.log(x[n, c]) * w[o, c] / (x[n, c] - 1))),
    "an outer product": forward(y[p] << Sum[i, j, k](x[j] * w[k], i + j + k <= p), given=(p, i)),
}


@pytest.mark.parametrize("case", SAME)
def test_left_alone(case):
    assert products(SAME[case]) == SAME[case]


def test_a_tensor_is_made_again_once_what_it_reads_has_changed():
    twice = forward(
        a[n, c] << x[n, c],
        y[n, o] << Sum[c](sp.exp(a[n, c]) * w[o, c]),
        v[n, o] << Sum[c](sp.exp(a[n, c]) * w[o, c]) + 1,
        outputs=(y, v),
    )
    one = [eq for eq in products(twice).equations if eq.target.tensor.endswith("_factor")]
    assert len(one) == 1
    first, *rest = twice.equations
    between = Program(
        twice.inputs, (first, rest[0], first, *rest[1:]), twice.outputs, twice.sizes, twice.locals
    )
    two = [eq for eq in products(between).equations if "_factor" in eq.target.tensor]
    assert len(two) == 2


MEANING: dict[str, tuple[Program, dict[str, tuple[int, ...]], dict[str, int]]] = {
    "attention": (ATTENTION, {"x": (3, 2), "w": (3, 2), "v": (3, 2)}, {}),
    "a convolution of relu": (
        forward(y[o, p] << Sum[c, k](relu(WINDOW[c, s * p + k - e]) * w[o, c, k]), inputs=(WINDOW, w)),
        {"x": (2, 5), "w": (2, 2, 3)},
        {"s": 2, "e": 1},
    ),
    "norms of windows": (
        forward(y[p] << Sum[c, k](x[c, s * p + k] ** 2 * w[k]) * Sum[k](w[k])),
        {"x": (2, 6), "w": (3,)},
        {"s": 2},
    ),
    "a normalised layer": (
        forward(m[n] << Mean[c](x[n, c]), y[n, o] << Sum[c]((x[n, c] - m[n]) * w[o, c])),
        {"x": (2, 3), "w": (2, 3)},
        {},
    ),
    "windows of a table": (
        forward(y[p] << Sum[k](sp.exp(x[p]) * w[p + k]), inputs=(x, w), given=(k,)),
        {"x": (3,), "w": (5,)},
        {"K": 3},
    ),
}


@pytest.mark.parametrize("case", MEANING)
@pytest.mark.parametrize("of", ["forward", "vjp", "jvp", "vjp_vjp"])
def test_the_same_numbers(case, of):
    """Before and after, by brute force over the relations."""
    made, shapes, integers = MEANING[case]
    first = simplify(vjp(made)) if of.startswith("vjp") else jvp(made) if of == "jvp" else made
    program = simplify(vjp(first, "h")) if of == "vjp_vjp" else first
    random = Random(of)
    inputs = {
        name: np.array(
            [Fraction(random.randint(-9, 9), 4) for _ in range(int(np.prod(shape)))], dtype=object
        ).reshape(shape)
        for name, shape in shapes.items()
    }
    if of == "vjp_vjp":
        inputs = filled(simplify(vjp(made)), Meaning(made), inputs, integers)
        inputs = filled(program, Meaning(made), inputs, integers)
    else:
        inputs = filled(program, Meaning(made), inputs, integers)
    before = stable(program)
    after = check(products(before))
    assert after != before
    outputs = [t.name for t in program.outputs]
    agree(Meaning(before).run(inputs, integers), Meaning(after).run(inputs, integers), outputs)
