"""logsumexp by maximum, sum and logarithm: the same number, and no overflow on the way."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from derive.language import LogSumExp, Operator, Sum, indices, tensors
from derive.passes.differentiate import vjp
from derive.passes.simplify import simplify
from derive.passes.stable import stable
from derive.program import check
from derive.translate import to_program
from tests.support.relation import Meaning, agree, filled
from tests.support.specimens import SPECIMENS, derived

n, k, p = indices("n k p")
x, y, w = tensors("x y w")


def test_before_and_after():
    before = to_program(Operator("op", y[n] << LogSumExp[k](x[n, k]), inputs=(x,)))
    assert [str(eq) for eq in before.equations] == ["y[n] += logsumexp[k] x[n,k]"]
    assert [str(eq) for eq in check(stable(before)).equations] == [
        "y_max[n] += max[k] x[n,k]",
        "y_sum[n] += sum[k] exp(-finite(y_max[n]) + x[n,k])",
        "y[n] += log(y_sum[n]) + finite(y_max[n])",
    ]


def test_nothing_else_changes():
    before = to_program(Operator("op", y[n] << Sum[k](x[n, k]), inputs=(x,)))
    assert stable(before) == before


def test_names_are_new():
    used = tensors("y_max")
    before = to_program(
        Operator("op", y[n] << LogSumExp[k](x[n, k]), w[n] << y[n] + used[n], inputs=(x, used))
    )
    assert [eq.target.tensor for eq in check(stable(before)).equations] == ["y_max_2", "y_sum", "y", "w", "w"]


@pytest.mark.parametrize("m", [m for m in SPECIMENS if not m.rational], ids=lambda m: m.name)
def test_same_meaning(m):
    made = derived(m.name)
    forward = Meaning(made.raw["forward"])
    for name in ("forward", "vjp", "jvp"):
        before = made.programs[name]
        inputs = filled(before, forward, m.inputs(), m.integers)
        outputs = [t.name for t in before.outputs]
        known = Meaning(before).run(inputs, m.integers, m.reals)
        agree(Meaning(check(stable(before))).run(inputs, m.integers, m.reals), known, outputs)


def test_windows_of_a_relation_keep_it():
    before = to_program(Operator("op", y[p] << LogSumExp[k](x[2 * p + k] * w[k]), inputs=(x, w)))
    after = stable(before)
    assert after.equations[0].relation == after.equations[1].relation == before.equations[0].relation
    inputs = {"x": [1, 2, 3, 4, 5], "w": [2, 3]}
    agree(Meaning(after).run(inputs), Meaning(before).run(inputs), ["y"])


def test_large_numbers_and_infinities():
    """Doubles would overflow at exp(1000); an all -inf row is log(0), and +inf stays."""
    after = Meaning(stable(to_program(Operator("op", y[n] << LogSumExp[k](x[n, k]), inputs=(x,)))))
    rows = [[1000, 1000], [-1000, -1001], [mpmath.ninf, mpmath.ninf], [mpmath.ninf, 3], [mpmath.inf, 0]]
    found = after.run({"x": np.array(rows, dtype=object)})
    with mpmath.workdps(50):
        assert mpmath.almosteq(found["y"][0], 1000 + mpmath.log(2), 1e-45)
        assert mpmath.almosteq(found["y"][1], -1000 + mpmath.log(1 + mpmath.exp(-1)), 1e-45)
    assert found["y"][2] == mpmath.ninf
    assert found["y"][3] == 3
    assert found["y"][4] == mpmath.inf
    assert found["y_sum"][0] == 2  # of exp(0), not of exp(1000)


def test_applied_after_differentiation():
    """The weight of the derivative is exp(f - y), not one that goes through the maximum."""
    made = stable(simplify(vjp(to_program(Operator("op", y[n] << LogSumExp[k](x[n, k]), inputs=(x,))))))
    assert str(made.equations[-1]) == "gx[n,k] += exp(-y[n] + x[n,k])*gy[n]"
