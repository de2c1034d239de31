"""share, merge, inline, live: before and after, and that no rule changes what a program means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from derive.language import Max, Mean, Operator, Sum, Tensor, indices, tensors
from derive.passes.simplify import alike, inline, merge, share, simplify, written
from derive.program import Program, check, live
from derive.translate import to_program
from tests.support.relation import Meaning, agree, filled
from tests.support.specimens import SPECIMENS, derived

n, i, k = indices("n i k")
x, w, y, z, u = tensors("x w y z u")
RULES: tuple[Callable[[Program], Program], ...] = (alike, share, merge, inline, written, live, simplify)


def program(*statements: Any, inputs: Any = (x,), outputs: Any = None) -> Program:
    return to_program(Operator("op", *statements, inputs=inputs, outputs=outputs))


def lines(p: Program) -> list[str]:
    return [str(eq) for eq in p.equations]


# ---- before, after ---------------------------------------------------------------------------


def test_alike_takes_one_name_for_one_extent():
    padded = Tensor("x", margin=[(1, 1)], outside="replicate")
    before = program(y[n, i] << padded[n, i - 1], inputs=(padded,))
    (size,) = (s for s, e in before.sizes if e.is_Symbol)
    assert before.tensors["x_padded"].shape[1] == size
    after = alike(before)
    assert size not in dict(after.sizes)
    assert after.tensors["x_padded"].shape == after.tensors["y"].shape
    assert alike(after) == after


def test_share_keeps_one_of_two_equal_tensors():
    before = program(z[n] << Sum[k](x[n, k]), u[n] << Sum[k](x[n, k]), y[n] << z[n] * u[n])
    assert lines(before) == ["z[n] += sum[k] x[n,k]", "u[n] += sum[k] x[n,k]", "y[n] += u[n]*z[n]"]
    assert lines(share(before)) == ["z[n] += sum[k] x[n,k]", "y[n] += z[n]**2"]


def test_share_leaves_outputs_and_other_reductions():
    before = program(z[n] << Sum[k](x[n, k]), u[n] << Max[k](x[n, k]), y[n] << z[n] * u[n], outputs=(y, u))
    assert share(before) == before
    twice = program(z[n] << Sum[k](x[n, k]), u[n] << Sum[k](x[n, k]), y[n] << z[n] * u[n], outputs=(z, u, y))
    assert share(twice) == twice


def test_share_leaves_tensors_of_several_equations():
    before = program(z[n] << Sum[k](x[n, k]) + x[n, n], u[n] << Sum[k](x[n, k]) + 1, y[n] << z[n] * u[n])
    assert share(before) == before


def test_written_makes_an_output_where_another_tensor_was():
    before = program(z[n, i] << Max[k](x[n, i, k]), y[i, n] << z[n, i])
    assert lines(before) == ["z[n,i] += max[k] x[n,i,k]", "y[i,n] += z[n,i]"]
    assert lines(written(before)) == ["y[i,n] += max[k] x[n,i,k]"]


def test_written_leaves_what_is_read_twice_and_what_is_worked_out():
    for last in (z[n] + x[n, n], 2 * z[n], z[n] ** 2):
        before = program(z[n] << Sum[k](x[n, k]), y[n] << last)
        assert written(before) == before
    twice = program(z[n] << Sum[k](x[n, k]), y[n] << z[n], u[n] << z[n], outputs=(y, u))
    assert written(twice) == twice
    both = program(z[n] << Sum[k](x[n, k]), y[n] << z[n], outputs=(y, z))
    assert written(both) == both
    given = program(y[n, i] << x[n, i])
    assert written(given) == given


def test_merge_joins_pointwise_equations_of_one_target():
    before = program(y[n] << x[n] * w[n] + x[n], inputs=(x, w))
    assert lines(before) == ["y[n] += w[n]*x[n]", "y[n] += x[n]"]
    assert lines(merge(before)) == ["y[n] += w[n]*x[n] + x[n]"]


def test_merge_takes_a_common_factor_out_where_that_is_shorter():
    before = program(y[n] << x[n] * w[n] + x[n] * z[n] + x[n] * u[n], inputs=(x, w, z, u))
    (text,) = lines(merge(before))
    assert text == "y[n] += (u[n] + w[n] + z[n])*x[n]"


def test_merge_leaves_reductions_apart():
    before = program(y[n] << Sum[k](x[n, k]) + w[n], inputs=(x, w))
    assert merge(before) == before


def test_merge_leaves_other_relations_apart():
    before = program(y[n, i] << x[n, i] + x[n, n] + x[i, n])
    assert lines(merge(before)) == ["y[n,i] += x[i,n] + x[n,i]", "y[n,i] += sum[x1] x[n,x1]   { n = x1 }"]


def test_inline_writes_a_cheap_formula_out():
    before = program(z[n] << 2 * x[n], y[n] << Sum[k](z[n] * w[n, k]), inputs=(x, w))
    assert lines(inline(before)) == ["y[n] += sum[k] 2*x[n]*w[n,k]"]


def test_inline_reads_at_the_readers_letters():
    before = program(z[i, k] << x[i, k] - w[k], y[k, i] << z[k, i] * z[i, k], inputs=(x, w))
    assert lines(inline(merge(before))) == ["y[k,i] += (-w[i] + x[k,i])*(-w[k] + x[i,k])"]


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(Sum[k](x[n, k]), id="a reduction"),
        pytest.param(x[n, n], id="a diagonal"),
    ],
)
def test_inline_leaves_what_is_not_pointwise(first):
    before = program(z[n] << first, y[n] << 3 * z[n])
    assert inline(before) == before


def test_inline_does_not_repeat_dear_work():
    from sympy import exp

    dear = program(z[n] << exp(x[n]), y[n] << Sum[k](z[n] * w[n, k]), inputs=(x, w))
    assert inline(dear) == dear
    once = program(z[n] << exp(x[n]), y[n] << z[n] * w[n], inputs=(x, w))
    assert lines(inline(once)) == ["y[n] += exp(x[n])*w[n]"]


def test_inline_leaves_branches_out_of_conditions():
    """SymPy folds a Piecewise out of a comparison, over and over."""
    from sympy import Piecewise

    first = Piecewise((x[n], x[n] > 0), (-2 * x[n], True))
    branch = Piecewise((z[n], z[n] > 1), (w[n], True))
    before = program(z[n] << first, y[n] << branch, inputs=(x, w))
    assert inline(before) == before
    beside = program(z[n] << first, y[n] << z[n] * w[n], inputs=(x, w))
    assert len(inline(beside).equations) == 1


def test_inline_keeps_optional_inputs_in_equations_of_their_own():
    b = Tensor("b", optional=True)
    before = program(z[n] << x[n] + b[n], y[n] << z[n] * w[n], inputs=(x, w, b))
    assert lines(inline(before)) == lines(before)


def test_live_drops_what_no_output_needs():
    before = program(z[n] << x[n], u[n] << Mean[k](w[k] * x[n]), y[n] << z[n], inputs=(x, w), outputs=(y,))
    assert lines(live(before)) == ["z[n] += x[n]", "y[n] += z[n]"]


def test_simplify_is_done_when_it_says_so():
    for m in SPECIMENS:
        for p in derived(m.name).programs.values():
            assert simplify(p) == p, m.name


# ---- every rule keeps every meaning -----------------------------------------------------------


@pytest.mark.parametrize("m", SPECIMENS, ids=lambda m: m.name)
def test_same_meaning(m):
    made = derived(m.name)
    forward = Meaning(made.raw["forward"])
    for name in ("forward", "vjp", "jvp", "vjp_vjp"):
        raw = made.raw[name]
        inputs = filled(raw, forward, m.inputs(), m.integers)
        known = Meaning(raw).run(inputs, m.integers, m.reals)
        for rule in RULES:
            after = check(rule(raw))
            if after != raw:
                agree(Meaning(after).run(inputs, m.integers, m.reals), known, [t.name for t in raw.outputs])


def test_a_wrong_rule_is_noticed():
    """Dropping one of two terms is what `same_meaning` must object to."""
    raw = program(y[n] << x[n] * w[n] + x[n], inputs=(x, w))
    inputs = filled(raw, Meaning(raw), {"x": [1, 2], "w": [3, 4]}, {})
    known = Meaning(raw).run(inputs)
    broken = replace(raw, equations=raw.equations[:1])
    with pytest.raises(AssertionError, match=r"y\[0\]: 3 and 4"):
        agree(Meaning(broken).run(inputs), known, ["y"])
