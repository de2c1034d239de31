"""Sizes: the lecture's formula comes out, and every law agrees with counting windows one by one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from derive.errors import SpecError
from derive.language import (
    Max,
    Operator,
    Parameter,
    Size,
    Sum,
    Tensor,
    circular,
    extent,
    indices,
    overhang,
    parameters,
    tensors,
)
from derive.program import Program
from derive.ranges import Ranges, index_affine, outermost, reads_of
from derive.translate import to_program
from tests.support.relation import Meaning, Unmet

n, o, c, p, q, k, u, v = indices("n o c p q k u v")
x, w, y, z = tensors("x w y z")
s, d, m = parameters("s d m")
a, e = parameters("a e", positive=False)
N, K = x.size(0), extent(k)


def program(*statements: Any, inputs: Any = (x, w), **options: Any) -> Program:
    return to_program(Operator("op", *statements, inputs=inputs, **options))


def size(made: Program, name: str) -> sp.Expr:
    return dict(made.sizes)[Size(name)]


def same(one: sp.Expr, other: sp.Expr) -> bool:
    """Equal as formulas, whichever whole number stands inside the floor."""

    def normal(f: sp.Expr) -> sp.Expr:
        return sp.expand(sp.expand(f).replace(sp.floor, lambda arg: sp.floor(sp.expand(arg))))

    return normal(one - other) == 0


def window(padded: Tensor, **options: Any) -> Program:
    return program(y[p] << Sum[k](padded[s * p + d * k - a] * w[k]), inputs=(padded, w), **options)


# ---- the lecture ----------------------------------------------------------------------------------------


def test_output_size_of_the_lecture():
    """n_out = floor((n_inp + 2p - (d(k - 1) + 1)) / s) + 1"""
    made = window(Tensor("x", margin=[(a, a)]))
    assert same(size(made, "P"), sp.floor((N + 2 * a - (d * (K - 1) + 1)) / s) + 1)


def test_asymmetric_padding():
    made = window(Tensor("x", margin=[(a, e)]))
    assert same(size(made, "P"), sp.floor((N + a + e - (d * (K - 1) + 1)) / s) + 1)


def test_every_axis_has_its_own():
    pp, kk = indices("p k", 3)
    ss, dd = parameters("s d", 3)
    aa = parameters("a", 3, positive=False)
    xx = Tensor("x", margin=[(b, b) for b in aa])
    at = [ss[i] * pp[i] + dd[i] * kk[i] - aa[i] for i in range(3)]
    made = program(y[n, *pp] << Sum[kk](xx[n, *at] * w[kk]), inputs=(xx, w))
    for i in range(3):
        formula = sp.floor((x.size(1 + i) + 2 * aa[i] - (dd[i] * (extent(kk[i]) - 1) + 1)) / ss[i]) + 1
        assert same(size(made, f"P{i}"), formula)


def test_ceil_mode():
    """One more window may hang over the end, if it starts in the input or in the padding before it."""
    made = window(Tensor("x", margin=[(a, a)]), laws={p: overhang()})
    starts = sp.floor((N - 1 + a) / s)
    reaches = sp.floor((N + 2 * a - (d * (K - 1) + 1) + s - 1) / s)
    assert same(size(made, "P"), sp.Min(starts, reaches) + 1)


def test_ceil_mode_at_run_time():
    switch = Parameter("ceil", positive=False)
    made = window(Tensor("x", margin=[(a, a)]), laws={p: overhang(switch)})
    formula = size(made, "P")
    (choice,) = formula.atoms(sp.Piecewise)
    assert [condition for _, condition in choice.args] == [switch > 0, True]
    plain = formula.subs(switch, 0)
    assert same(plain, sp.floor((N + 2 * a - (d * (K - 1) + 1)) / s) + 1)


def test_transposed_convolution():
    """(n - 1) s - 2p + d (k - 1) + 1 + output_padding: the written axis covers every write."""
    more = Parameter("more", positive=False)
    yy = Tensor("y", margin=[(a, a - more)])
    made = program(yy[s * p + d * k - a] << x[p] * w[k])
    P = extent(p)
    assert same(size(made, "Y0"), (P - 1) * s - 2 * a + d * (K - 1) + 1 + more)


def test_true_convolution_in_full():
    made = program(y[p] << Sum[k](x[p - k] * w[k]), extents={p: x.size(0) + extent(k) - 1})
    assert made.sizes == ()
    (eq,) = made.equations
    assert eq.relation.size(p) == N + K - 1


def test_same_padding_is_an_extent():
    """ceil(n / s), as a formula that the user writes."""
    made = program(y[p] << Sum[k](x[s * p + k - a] * w[k]), extents={p: sp.ceiling(x.size(0) / s)})
    assert Meaning(made).run({"x": [1] * 7, "w": [1] * 3}, {"s": 2, "a": 1})["y"].shape == (4,)


def test_the_minimum_over_all_reads():
    made = program(y[p] << Sum[k](x[p + k] * w[k] + z[s * p]), inputs=(x, w, z))
    assert same(size(made, "P"), sp.Min(N - K + 1, sp.floor((z.size(0) - 1) / s) + 1))


def test_a_plain_read_beats_every_window():
    made = program(y[p] << Sum[k](x[p + k] * w[k]) * z[p], inputs=(x, w, z))
    assert made.sizes == ()
    assert made.inputs[2].shape == (extent(p),)


def test_one_extent_by_every_name():
    """An axis that an index stands on plainly, and the index, may both be named."""
    one = program(y[p] << x[p] * x.size(0), inputs=(x,))
    two = program(y[p] << x[p] * extent(p), inputs=(x,))
    assert one.equations == two.equations


def test_two_names_of_one_axis():
    made = program(y[n] << Sum[k](x[n, k]) + Sum[q](x[n, q]), inputs=(x,))
    assert len({eq.relation.ranges[1].size for eq in made.equations}) == 1


def test_an_index_on_two_axes_makes_them_one():
    made = program(y[p] << x[p] * w[p])
    assert made.inputs[0].shape == made.inputs[1].shape == (extent(p),)


def test_extents_that_differ_are_a_condition():
    """An index with a given extent on an input's axis: demanded when arrays come."""
    made = program(y[p] << x[p, k], inputs=(x,), extents={k: 3})
    run = Meaning(made).run
    assert run({"x": [[1, 2, 3]]})["y"].tolist() == [6]
    with pytest.raises(AssertionError, match=r"x has shape \(1, 2\), 3 is 3"):
        run({"x": [[1, 2]]})


def test_an_axis_runs_beyond_an_index_whose_extent_is_a_part_of_it():
    """Both halves of an axis: y[n,p] = x[n,p] * x[n,p+P] with P = floor(X1/2)."""
    made = program(
        y[n, p] << x[n, p] * x[n, p + extent(p)], inputs=(x,), extents={p: sp.floor(x.size(1) / 2)}
    )
    assert made.tensors["x"].shape[1] == x.size(1)
    assert made.tensors["y"].shape[1] == sp.floor(x.size(1) / 2)


@pytest.mark.parametrize("extents", [{p: extent(p) + 1, q: 3}, {p: extent(q), q: extent(p)}])
def test_an_extent_cannot_depend_on_itself(extents):
    with pytest.raises(SpecError, match=r"op: the extent .* depends on itself"):
        program(y[p, q] << x[2 * p, 2 * q], inputs=(x,), extents=extents)


def test_a_write_before_the_beginning():
    message = "y is written between 1 - P and 0 on axis 0, before its margin 0 begins"
    with pytest.raises(SpecError, match=message):
        program(y[-p] << x[p], inputs=(x,))


def test_given_extents_are_parameters():
    made = program(y[p] << Max[k](x[p + k]), inputs=(x,), given=(k,))
    assert made.parameters == (extent(k),)


# ---- by counting ----------------------------------------------------------------------------------------


def fits(length: int, K_: int, s_: int, d_: int, a_: int, e_: int) -> int:
    """Windows from the left, as many as stay in the padded input."""
    found = 0
    while all(-a_ <= s_ * found + d_ * k_ - a_ <= length - 1 + e_ for k_ in range(K_)):
        found += 1
    return found


def hangs(length: int, K_: int, s_: int, d_: int, a_: int, e_: int) -> int:
    """One more where the last did not reach the end, if it starts at or before the input's last element.

    The first is no exception: a window one step before it, had it reached the end, leaves no place (torch's rule,
    by which a kernel larger than the padded input by a step or more is an error).
    """
    found = 0
    while s_ * found - a_ <= length - 1 and s_ * (found - 1) + d_ * (K_ - 1) - a_ < length - 1 + e_:
        found += 1
    return found


small = st.tuples(
    st.integers(1, 12),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(0, 3),
)
LAWS: dict[str, tuple[Callable[..., int], Program]] = {
    "inside": (fits, window(Tensor("x", margin=[(a, e)]))),
    "overhang": (hangs, window(Tensor("x", margin=[(a, e)]), laws={p: overhang()})),
}


@pytest.mark.parametrize("law", LAWS)
@given(small)
def test_law_by_counting(law, sizes):
    length, K_, s_, d_, a_, e_ = sizes
    count, made = LAWS[law]
    expected = count(length, K_, s_, d_, a_, e_)
    integers = {"s": s_, "d": d_, "a": a_, "e": e_}
    meaning = Meaning(made)
    if expected < 1:
        with pytest.raises(Unmet):
            meaning.environment({"x": (length,), "w": (K_,)}, integers)
    else:
        assert meaning.environment({"x": (length,), "w": (K_,)}, integers)[extent(p)] == expected


@given(st.integers(1, 12), st.integers(0, 4))
def test_blocks_that_lie_an_extent_apart(length, M):
    """As many as fit whole; of blocks without an element there is no number, and a condition says so."""
    made = Meaning(program(y[p] << Max[k](x[extent(k) * p + k]), inputs=(x,), given=(k,)))
    if 1 <= M <= length:
        assert made.environment({"x": (length,)}, {"K": M})[extent(p)] == length // M
    else:
        with pytest.raises(Unmet):
            made.environment({"x": (length,)}, {"K": M})


def test_counting_objects_to_a_wrong_law():
    """With the formula of one more or one less, counting would object."""
    made = LAWS["inside"][1]
    shifted = Program(
        made.inputs,
        made.equations,
        made.outputs,
        tuple((i, f + 1) for i, f in made.sizes),
        made.locals,
        made.parameters,
    )
    assert Meaning(shifted).environment({"x": (5,), "w": (2,)}, {"s": 1, "d": 1, "a": 0, "e": 0})[
        extent(p)
    ] != fits(5, 2, 1, 1, 0, 0)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2))
def test_cover_by_writing(P, K_, s_, d_, a_):
    """The last write is the last element; what is written before the margin is dropped."""
    made = program(Tensor("y", margin=[(a, 0)])[s * p + d * k - a] << x[p] * w[k])
    integers = {"s": s_, "d": d_, "a": a_}
    last = max(s_ * p_ + d_ * k_ - a_ for p_, k_ in product(range(P), range(K_)))
    if last < 0:
        with pytest.raises(Unmet):
            Meaning(made).run({"x": [1] * P, "w": [1] * K_}, integers)
        return
    found = Meaning(made).run({"x": [1] * P, "w": [1] * K_}, integers)["y"]
    assert len(found) == last + 1
    assert found[last] > 0
    assert sum(found) == sum(s_ * p_ + d_ * k_ >= a_ for p_, k_ in product(range(P), range(K_)))


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_the_minimum_by_counting(X, Z, K_, s_, d_, m_):
    made = program(y[p] << Sum[k](x[s * p + k] * w[k] * z[d * p + m * k]), inputs=(x, w, z))
    count = 0
    while all(s_ * count + k_ < X and d_ * count + m_ * k_ < Z for k_ in range(K_)):
        count += 1
    meaning = Meaning(made)
    shapes, integers = {"x": (X,), "w": (K_,), "z": (Z,)}, {"s": s_, "d": d_, "m": m_}
    if count == 0:
        with pytest.raises(Unmet):
            meaning.environment(shapes, integers)
    else:
        assert meaning.environment(shapes, integers)[extent(p)] == count


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 3), st.integers(0, 3), st.integers(0, 3))
def test_two_laws_in_a_row(length, K_, s_, a_, e_):
    """A window of a window: what the first writes bounds the second."""
    padded = Tensor("x", margin=[(a, e)])
    made = program(
        z[q] << Max[u](padded[s * q + u - a]), y[p] << Max[v](z[p + v]), inputs=(padded,), given=(u, v)
    )
    first = fits(length, K_, s_, 1, a_, e_)
    second = fits(first, 2, 1, 1, 0, 0)
    meaning, integers = Meaning(made), {"s": s_, "a": a_, "e": e_, "U": K_, "V": 2}
    if first < 1 or second < 1:
        with pytest.raises(Unmet):
            meaning.environment({"x": (length,)}, integers)
    else:
        env = meaning.environment({"x": (length,)}, integers)
        assert (env[extent(q)], env[extent(p)]) == (first, second)


# ---- intervals --------------------------------------------------------------------------------------------


def ranges(*statements: Any, inputs: Any = (x, w), **options: Any) -> Ranges:
    made = Ranges(Operator("op", *statements, inputs=inputs, **options))
    made.infer()
    return made


def test_interval_of_an_affine_form():
    made = ranges(y[p, q] << x[p, q], inputs=(x,))
    P, Q = extent(p), extent(q)
    form = index_affine(s * p - d * q + a)
    assert form is not None
    low, high = made.interval(form)
    assert sp.expand(low - (a - d * (Q - 1))) == 0
    assert sp.expand(high - (a + s * (P - 1))) == 0


def test_interval_needs_signs():
    made = ranges(y[p, q] << x[p, q], inputs=(x,))
    form = index_affine((s - d) * p)
    assert form is not None
    with pytest.raises(SpecError, match=r"^the sign of coefficient -d \+ s of `p` is not known"):
        made.interval(form)


@pytest.mark.parametrize(
    ("e_", "affine"),
    [
        (s * p + 1, True),
        (p * q, False),
        (p**2, False),
        (x[p] + 1, False),
        (circular(p), False),
        (sp.floor(p / 2), False),
    ],
    ids=str,
)
def test_index_affine(e_, affine):
    assert (index_affine(e_) is not None) == affine


def test_outermost_finds_what_stands_inside_another_too():
    half = sp.floor(p / 2)
    third = sp.floor((q + half) / 3)
    assert outermost(third, sp.floor) == [third]
    assert outermost(third + half, sp.floor) == [half, third]
    assert outermost(sp.Mod(p, 2) * third, sp.floor, sp.Mod) == [sp.Mod(p, 2), third]


def test_interval_where_one_rounding_stands_in_another_and_beside_it():
    ranges = Ranges(Operator("op", y[p] << x[p], inputs=(x,), extents={p: 8}))
    half = sp.floor(p / 2)
    assert ranges.reach(half + sp.floor((p + half) / 3)) == (0, 3 + 3)


def test_reads_come_in_one_order():
    t = Tensor("t", integer=True)
    assert [str(r) for r in reads_of(w[q] * x[t[p]] + x[p])] == ["t[p]", "w[q]", "x[p]", "x[t[p]]"]


def test_what_an_index_wrote_does_not_bound_it():
    """A law is for windows; where an intermediate is read as it was written, the law has nothing to say."""
    X = Tensor("x", margin=[(a, e)])
    window, law = Max[k](X[n, s * p + k - a]), {p: overhang()}
    alone = program(y[n, p] << window, inputs=(X,), given=(k,), laws=law)
    twice = program(z[n, p] << window, y[n, p] << z[n, p] ** 2, inputs=(X,), given=(k,), laws=law)
    assert same(size(twice, "P"), size(alone, "P"))
