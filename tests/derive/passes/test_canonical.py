"""One text for equations that differ in letters only, another for all others; recognition and its economy."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from derive.language import (
    ArgMax,
    Index,
    Max,
    Operator,
    Parameter,
    Prod,
    Sum,
    Tensor,
    extent,
    indices,
    maximum,
    parameters,
    reals,
    relu,
    step,
    tensors,
)
from derive.lower.contraction import contraction
from derive.lower.plain import lower
from derive.passes.canonical import abstract, canonical, same_axes
from derive.pipeline import PROGRAMS, Derivation, derive
from derive.program import Equation, check
from derive.translate import to_program
from tests.support.relation import Meaning, agree, alone, code, filled
from tests.support.renaming import lowered, nest_of, renamed_equation, renamed_operator
from tests.support.specimens import BY_NAME, SPECIMENS, derived

n, o, c, p, q, k, i, j = indices("n o c p q k i j")
x, w, y, z, u = tensors("x w y z u")
s, d = parameters("s d")
a, e = parameters("a e", positive=False)


def text(eq: Equation) -> str:
    return canonical(abstract(eq)).text


def equation(*statements: Any, inputs: Any = (x, w), **options: Any) -> Equation:
    return to_program(Operator("op", *statements, inputs=inputs, **options)).equations[0]


# ---- before, after ----------------------------------------------------------------------------------------


def test_abstract_gives_every_number_a_symbol():
    eq = equation(y[p] << Sum[k](x[2 * s * p + (d + 1) * k + a] * w[k]), extents={p: 7})
    shape = abstract(eq)
    (form,) = shape.equation.relation.zero
    assert all(c_.is_Symbol or c_.is_Number for _, c_ in form.terms)
    bound = dict(shape.integers)
    assert {bound[c_] for _, c_ in form.terms if c_.is_Symbol} == {2 * s, d + 1}
    assert bound[extent(p)] == 7
    assert [tensor for _, tensor in shape.tensors] == ["y", "w", "x"]


def test_abstract_keeps_signs_and_ones():
    eq = equation(y[p] << Sum[k](x[a - s * p - k] * w[k]), extents={p: 3})
    (form,) = abstract(eq).equation.relation.zero
    assert {str(c_) for _, c_ in form.terms} == {"-1", "-s"}


def test_abstract_splits_a_tensor_read_twice():
    eq = equation(y[p] << Sum[k](x[p] * x[k] * w[k]), extents={})
    assert [str(v) for v, _ in abstract(eq).tensors] == ["y[p]", "w[k]", "x[k]", "x_2[p]"]


def test_abstract_keeps_a_mixed_radix():
    eq = equation(y[i] << Sum[k](w[k] * x[i * extent(k) + k]), extents={i: 3})
    shape = abstract(eq)
    assert extent(k) in {abs_ for _, c_ in shape.equation.relation.zero[0].terms for abs_ in (c_, -c_)}


def test_abstract_keeps_a_mixed_radix_of_three_digits():
    eq = equation(
        y[i] << Sum[j, k](w[j, k] * x[extent(j) * extent(k) * i + extent(k) * j + k]), extents={i: 3}
    )
    terms = dict(abstract(eq).equation.relation.zero[0].terms)
    assert extent(j) * extent(k) in (terms[i], -terms[i])


def test_abstract_means_the_same():
    """The shape, its symbols bound to what they stand for, is the equation."""
    for m in SPECIMENS:
        made = derived(m.name)
        forward = Meaning(made.raw["forward"])
        for program in (made.programs["forward"], made.programs["vjp"]):
            inputs = filled(program, forward, m.inputs(), m.integers)
            meaning = Meaning(program)
            env = meaning.environment({t.name: inputs[t.name].shape for t in program.inputs}, m.integers)
            env |= {s_: m.reals[s_.name] for s_ in program.parameters if s_.name in m.reals}
            arrays = meaning.run(inputs, m.integers, m.reals)
            for eq in program.equations:
                shape = abstract(eq)
                bound = {symbol: code(f)(env) for symbol, f in shape.integers} | {
                    r: env[r] for r in shape.reals
                }
                views = {str(v.args[0]): arrays[tensor] for v, tensor in shape.tensors[1:]}
                one, two = alone(eq, env, arrays), alone(shape.equation, bound, views)
                agree({"it": one}, {"it": two}, ["it"])


# ---- same text ------------------------------------------------------------------------------------------------


@cache
def distinct() -> list[tuple[str, Equation]]:
    """One equation of each text, and the specimen in which it last occurred."""
    pool = [
        (m.name, ph.equation)
        for m in SPECIMENS
        for program in ("forward", "vjp", "jvp")
        for ph in derived(m.name).phases[program]
    ]
    return list({text(eq): (name, eq) for name, eq in pool}.values())


chosen_ones = st.integers(0, 10**6).map(lambda k_: distinct()[k_ % len(distinct())])


@given(chosen_ones, st.integers(0, 10**6))
@settings(max_examples=150)
def test_other_letters_same_text(chosen, seed):
    """Indices, tensors, sizes and parameters renamed, axes permuted, ranges in another order."""
    _, eq = chosen
    assert text(renamed_equation(eq, random.Random(seed))) == text(eq)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_other_letters_same_text_everywhere(seed):
    for m in SPECIMENS:
        for program in PROGRAMS:
            for ph in derived(m.name).phases[program]:
                other = renamed_equation(ph.equation, random.Random(seed))
                assert text(other) == text(ph.equation), f"{m.name}: {ph.equation}\n{other}"


@given(chosen_ones, st.integers(0, 10**6))
@settings(max_examples=60)
def test_what_is_bound_goes_along(chosen, seed):
    """The names found for one equation, put in the place of the other's, give the other's meaning: same roles."""
    _, eq = chosen
    other = renamed_equation(eq, random.Random(seed))
    one, two = canonical(abstract(eq)), canonical(abstract(other))
    assert len(one.reads) == len(two.reads)
    assert [type(r) for r in one.reads] == [type(r) for r in two.reads]
    for known, found in zip(one.reads, two.reads, strict=True):
        axes = same_axes(known, found, one.indices, two.indices)
        assert sorted(axes) == list(range(len(found.indices)))
    sizes = [dict(abstract(f).integers) for f in (eq, other)]
    assert len(one.integers) == len(two.integers)
    assert [v.is_positive for v in one.integers] == [v.is_positive for v in two.integers]
    assert len(sizes[0]) == len(sizes[1])


def test_the_order_of_factors_does_not_count():
    one = equation(y[p] << Sum[k](x[p + k] * w[k]))
    two = equation(y[p] << Sum[k](w[k] * x[k + p]))
    assert text(one) == text(two)


def test_swapped_tensors_are_one_product():
    one = equation(y[n, o] << Sum[k](x[n, k] * w[o, k]))
    two = equation(y[o, n] << Sum[k](w[k, o] * x[k, n]), inputs=(w, x))
    assert text(one) == text(two)


# ---- near misses ------------------------------------------------------------------------------------------------

kk = extent(k)
NEAR: dict[str, tuple[Equation, Equation]] = {
    "sign of an index": (
        equation(y[p] << Sum[k](x[p + k] * w[k]), extents={p: 3}),
        equation(y[p] << Sum[k](x[p - k] * w[k]), extents={p: 3}),
    ),
    "sign of the sum": (equation(y[n] << Sum[k](x[n, k] * w[k])), equation(y[n] << -Sum[k](x[n, k] * w[k]))),
    "missing term": (
        equation(y[p] << Sum[k](x[s * p + d * k] * w[k])),
        equation(y[p] << Sum[k](x[s * p] * w[k])),
    ),
    "missing coefficient": (
        equation(y[p] << Sum[k](x[s * p + k] * w[k])),
        equation(y[p] << Sum[k](x[p + k] * w[k])),
    ),
    "coefficient on the other index": (
        equation(y[p] << Sum[k](x[s * p + k] * w[k])),
        equation(y[p] << Sum[k](x[p + s * k] * w[k])),
    ),
    "missing shift": (
        equation(y[p] << Sum[k](x[p + k + a] * w[k]), extents={p: 3}),
        equation(y[p] << Sum[k](x[p + k] * w[k]), extents={p: 3}),
    ),
    "shift by a number": (
        equation(y[p] << Sum[k](x[p + k + 1] * w[k])),
        equation(y[p] << Sum[k](x[p + k + 2] * w[k])),
    ),
    "number and symbol": (
        equation(y[p] << Sum[k](x[2 * p + k] * w[k])),
        equation(y[p] << Sum[k](x[s * p + k] * w[k])),
    ),
    "sign class of a parameter": (
        equation(y[p] << Sum[k](x[s * p + k] * w[k]), extents={p: 3}),
        equation(y[p] << Sum[k](x[a * p + k] * w[k]), extents={p: 3}),
    ),
    "reduction": (equation(y[n] << Sum[k](x[n, k] * w[k])), equation(y[n] << Prod[k](x[n, k] * w[k]))),
    "ties": (equation(y[n] << Max[k](x[n, k] * w[k])), equation(y[n] << Max[k](x[n, k] * w[k], ties="last"))),
    "kept index": (equation(y[n] << Sum[k](x[n, k] * w[n, k])), equation(y[n] << Sum[k](x[n, k] * w[k]))),
    "transposed role": (
        equation(y[n, o] << Sum[k](x[n, k] * w[o, k])),
        equation(y[n, o] << Sum[k](x[n, o] * w[o, k])),
    ),
    "power": (equation(y[n] << Sum[k](x[n, k] ** 2 * w[k])), equation(y[n] << Sum[k](x[n, k] * w[k]))),
    "which is squared": (
        equation(y[n] << Sum[k](x[n, k] ** 2 * w[k])),
        equation(y[n] << Sum[k](x[n, k] * w[k] ** 2)),
    ),
    "order of arguments": (
        equation(y[n, k] << maximum(x[n, k], w[k])),
        equation(y[n, k] << maximum(w[k], x[n, k])),
    ),
    "function": (equation(y[n] << step(x[n]) * w[n]), equation(y[n] << sp.sign(x[n]) * w[n])),
    "number in the body": (equation(y[n] << 2 * x[n] * w[n]), equation(y[n] << 3 * x[n] * w[n])),
    "extent in the body": (
        equation(y[n] << Sum[k](x[n, k] * w[k] / kk)),
        equation(y[n] << Sum[k](x[n, k] * w[k] / extent(n))),
    ),
    "index in the body": (
        equation(y[n] << Sum[k](x[n, k] * w[k] * k)),
        equation(y[n] << Sum[k](x[n, k] * w[k] * n)),
    ),
    "condition": (
        equation(y[n] << Sum[k](x[n, k] * w[k], k <= n)),
        equation(y[n] << Sum[k](x[n, k] * w[k], k >= n)),
    ),
    "strictness": (
        equation(y[n] << Sum[k](x[n, k] * w[k], k <= n)),
        equation(y[n] << Sum[k](x[n, k] * w[k], k < n)),
    ),
    "equality and inequality": (
        equation(y[n] << Sum[k](x[n, k] * w[k], sp.Eq(k, n))),
        equation(y[n] << Sum[k](x[n, k] * w[k], k >= n)),
    ),
    "what an argmax yields": (
        equation(Tensor("i", integer=True)[n] << ArgMax[k](x[n, k] * w[k])),
        equation(Tensor("i", integer=True)[n] << ArgMax[k](x[n, k] * w[k], at=k + 1)),
    ),
    "integer tensor": (
        equation(y[n] << x[n, Tensor("w", integer=True)[n]], inputs=(x, Tensor("w", integer=True))),
        equation(y[n] << Sum[k](x[n, k] * w[n]), inputs=(x, w)),
    ),
    "mixed radix": (
        equation(y[i] << Sum[k](w[k] * x[i * kk + k]), extents={i: 3}),
        equation(y[i] << Sum[k](w[k] * x[i * s + k]), extents={i: 3}),
    ),
    "one extra axis": (
        equation(y[n, o] << Sum[k](x[n, k] * w[o, k])),
        equation(y[n] << Sum[k](x[n, k] * w[k])),
    ),
    "positive real": (
        equation(y[n] << x[n] * w[n] * reals("r")),
        equation(y[n] << x[n] * w[n] * reals("r", positive=True)),
    ),
    "one relation, two axes": (
        equation(y[p, q] << Sum[k](x[p + k, q + k] * w[k])),
        equation(y[p, q] << Sum[k, j](x[p + k, q + j] * w[k] * w[j])),
    ),
}


@pytest.mark.parametrize("miss", NEAR)
def test_near_miss(miss):
    one, two = NEAR[miss]
    assert one != two
    assert text(one) != text(two)


def test_every_near_miss_is_apart_from_every_other():
    texts = Counter(text(eq) for pair in NEAR.values() for eq in pair)
    assert len(texts) > 40


@given(chosen_ones, chosen_ones)
@settings(max_examples=40)
def test_same_text_same_meaning(one, two):
    """Only an equation in other letters has the text: the pool holds one of each."""
    assert (text(one[1]) == text(two[1])) == (one == two)


def test_a_change_in_the_relation_changes_the_text():
    """Of every specimen: drop an equality, shift its constant."""
    for name, eq in distinct():
        for k_, form in enumerate(eq.relation.zero):
            others = eq.relation.zero[:k_] + eq.relation.zero[k_ + 1 :]
            dropped = replace(eq, relation=replace(eq.relation, zero=others))
            assert text(dropped) != text(eq), name
            shifted = replace(eq, relation=replace(eq.relation, zero=(*others, form.shifted(5))))
            if form.constant.is_Number:  # a symbolic shift is a symbol whatever it is
                assert text(shifted) != text(eq), name


# ---- recognition -----------------------------------------------------------------------------------------------


def conv(nd: int) -> Operator:
    pp, kk_ = indices("p k", nd)
    ss, dd = parameters("s d", nd)
    aa, ee = parameters("a e", nd, positive=False)
    xx = Tensor("x", margin=list(zip(aa, ee, strict=True)))
    g = indices("g")
    at = [ss[m] * pp[m] + dd[m] * kk_[m] - aa[m] for m in range(nd)]
    b = Tensor("b", optional=True)
    body = Sum[c, *kk_](xx[n, g, c, *at] * w[g, o, c, *kk_]) + b[g, o]
    return Operator(f"stencil{nd}", y[n, g, o, *pp] << body, inputs=(xx, w, b))


@pytest.mark.parametrize("nd", [1, 2])
def test_five_programs_of_a_convolution_are_four_kernels(nd):
    made = derive(conv(nd))
    assert list(made.kernels) == ["y_from_w_x", "y_from_b", "gb_from_gy", "gx_from_gy_w"]
    used = {name: [(ph.equation.target.tensor, ph.kernel) for ph in made.phases[name]] for name in PROGRAMS}
    assert sorted(used["vjp"]) == [("gb", "gb_from_gy"), ("gw", "y_from_w_x"), ("gx", "gx_from_gy_w")]
    assert {kernel for pairs in used.values() for _, kernel in pairs} == set(made.kernels)
    assert set(used["vjp_vjp"]) == {
        ("hgy", "y_from_w_x"),
        ("hgy", "y_from_b"),
        ("hw", "y_from_w_x"),
        ("hx", "gx_from_gy_w"),
    }


def test_the_weight_gradient_is_the_convolution_with_stride_and_dilation_exchanged():
    made = derive(conv(1))
    forward = next(ph for ph in made.phases["forward"] if ph.kernel == "y_from_w_x")
    weight = next(ph for ph in made.phases["vjp"] if ph.equation.target.tensor == "gw")
    assert weight.kernel == forward.kernel
    assert forward.recognised == ""
    assert weight.recognised == "y[n,g,o,p0]"
    source = made.kernels[forward.kernel]
    stride, dilation = (Parameter("s0"), Parameter("d0"))
    (at_s, at_d) = (forward.integers.index(stride), forward.integers.index(dilation))
    assert weight.integers[at_s] == dilation
    assert weight.integers[at_d] == stride
    assert len(source.integers) == len(forward.integers) == len(weight.integers)
    assert weight.tensors[0] == "gw"
    assert set(weight.tensors[1:]) == {"gy", "x"}


def test_double_backward_of_a_convolution_is_a_convolution():
    """The derivative of the input gradient, by its weight and by its cotangent, needs no new kernel."""
    made = derive(conv(2))
    for program in ("vjp_vjp", "vjp_jvp"):
        assert all(ph.recognised for ph in made.phases[program])


def test_a_transposed_convolution_is_the_input_gradient_of_one():
    """Both ways: what scatters with w is what gathers it, differentiated."""
    xx, yy = Tensor("x", margin=[(a, a)]), Tensor("y", margin=[(a, a)])
    at = s * p + d * k - a
    conv = derive(Operator("conv", y[n, o, p] << Sum[c, k](xx[n, c, at] * w[o, c, k]), inputs=(xx, w)))
    transposed = derive(
        Operator("transposed", yy[n, c, at] << Sum[o](x[n, o, p] * w[o, c, k]), inputs=(x, w))
    )

    def texts(made: Derivation, program: str) -> dict[str, str]:
        return {ph.equation.target.tensor: text(ph.equation) for ph in made.phases[program]}

    assert texts(transposed, "forward")["y"] == texts(conv, "vjp")["gx"]
    assert texts(transposed, "vjp")["gx"] == texts(conv, "forward")["y"]
    assert texts(transposed, "vjp")["gw"] == texts(conv, "vjp")["gw"]


def test_matrix_products_are_one_kernel():
    made = derive(Operator("product", y[i, j] << Sum[k](x[i, k] * w[k, j]), inputs=(x, w)))
    assert len(made.kernels) == 1
    assert len({ph.axes for phases in made.phases.values() for ph in phases}) > 1


# ---- renaming an operator changes neither lowering nor result --------------------------------------------------

NAMES = [
    m.name
    for m in SPECIMENS
    if m.name not in ("outside_reflect", "reflect", "symmetric", "normalised", "response")
]
SLOW_NAMES = [m.name for m in SPECIMENS if m.name not in NAMES]


def unchanged(name: str, seed: int) -> None:
    m = BY_NAME[name]
    changed = renamed_operator(m.operator, random.Random(f"{name} {seed}"))
    one, two = derived(name), derive(changed.operator)
    texts = [
        Counter(text(ph.equation) for phases in made.phases.values() for ph in phases) for made in (one, two)
    ]
    assert texts[0] == texts[1]
    assert lowered(one) == lowered(two)
    inputs = m.inputs()
    forward = Meaning(one.raw["forward"]).run(inputs, m.integers, m.reals)
    other = Meaning(check(two.raw["forward"])).run(
        changed.shapes(inputs), changed.numbers(m.integers), changed.numbers(m.reals)
    )
    agree(
        forward,
        {old: other[new] for old, new in changed.tensors.items()},
        [t.name for t in m.operator.outputs],
    )


@pytest.mark.parametrize("name", NAMES)
def test_renaming_an_operator(name):
    unchanged(name, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("name", [m.name for m in SPECIMENS])
def test_renaming_any_operator(name, seed):
    unchanged(name, seed)


def test_axis_order_changes_no_lowering():
    """Nor does the order of ranges, but for an argmax, whose loops keep the written one."""
    for name, eq in distinct():
        other = renamed_equation(eq, random.Random(name), ranges=not eq.reduce.startswith("arg"))
        one, two = (lower(s_.equation, canonical(s_).indices) for s_ in map(abstract, (eq, other)))
        assert nest_of(one) == nest_of(two), f"{name}: {eq}"


# ---- what the letters of a symbol used to decide ---------------------------------------------------------------


def test_a_coefficient_of_either_sign_has_no_sign():
    """s - d may be negative, so no table of offsets is laid out for it: the plain loops test the equality."""
    eq = equation(y[n, o, p] << Sum[c, k](x[n, c, (s - d) * p + k] * w[o, c, k]), given=(p,))
    (form,) = abstract(eq).equation.relation.zero
    (coefficient,) = (c_ for _, c_ in form.terms if not c_.is_Number)
    assert coefficient.is_integer
    assert coefficient.is_nonnegative is None
    assert contraction(abstract(eq).equation) is None
    assert contraction(equation(y[n, o, p] << Sum[c, k](x[n, c, s * p + k] * w[o, c, k]))) is not None


def test_reals_and_parameters_are_told_apart_by_place():
    alpha, beta = reals("alpha beta")
    one = equation(y[p] << alpha * x[p] + relu(beta * x[p]), inputs=(x,))
    two = equation(y[p] << beta * x[p] + relu(alpha * x[p]), inputs=(x,))
    assert text(one) == text(two)


def test_an_index_called_lap_is_an_index():
    """The engine's own laps are told by their kind, so a user may have the name."""
    lap = Index("lap")
    one = equation(y[p] << Sum[k](x[s * p + d * k]), inputs=(x,), given=(k,))
    two = equation(y[p] << Sum[lap](x[s * p + d * lap]), inputs=(x,), given=(lap,))
    assert text(one) == text(two)
    assert lower(one).cost == lower(two).cost


def test_a_distance_has_no_direction():
    """SymPy writes |x - w| or |w - x|, by the letters, whichever of them a gradient is of."""
    one = equation(y[p] << sp.Abs(x[p] - w[p]) * sp.tanh(x[p] - w[p]) * x[p])
    two = equation(y[p] << sp.Abs(w[p] - x[p]) * sp.tanh(w[p] - x[p]) * w[p])
    assert text(one) == text(two)


def test_reads_that_are_alike_cost_little():
    """Six vectors in one product: every order of them is tried, and none is worked out anew by SymPy."""
    six = tensors("a b c d e f")
    body = sp.Mul(*(sp.cos(v[o]) for v in six))
    one = equation(y[p] << Sum[o](body * x[p, o]), inputs=(x, *six))
    two = equation(y[p] << Sum[o](body * x[p, o]), inputs=(x, *six[::-1]))
    assert text(one) == text(two)
