"""What an emitted module says of its tensors."""

from __future__ import annotations

import pytest

from derive.language import Operator, Tensor, indices, tensors
from tests.support.line import through

n = indices("n")
x, w, y = tensors("x w y")
t = Tensor("t", integer=True)


@pytest.mark.parametrize(("first", "second"), [(3, 5), (5, 3)])
def test_an_index_into_two_axes_stays_below_the_shorter(first, second, tmp_path):
    """A caller's indices are compared with one extent, and kernels rely on it."""
    op = Operator("op", y[n] << x[t[n]] * w[t[n]], inputs=(x, t, w))
    _, definition = through(op, tmp_path)
    (below,) = (u.below for u in definition.tensors if u.integer)
    assert definition.sizes(X0=first, N=2, W0=second)[below] == 3


def test_an_index_into_one_axis_stays_below_it(tmp_path):
    _, definition = through(Operator("op", y[n] << x[t[n]] * w[n], inputs=(x, t, w)), tmp_path)
    assert [u.below for u in definition.tensors if u.integer] == ["X0"]
