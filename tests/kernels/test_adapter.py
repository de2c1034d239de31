"""Views, and the integers of a formula from shapes."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.adapter import Adapter, Layout, Plan, Spec, batched, reshaped, split, then
from kernels.errors import ArgumentTypeError, ShapeError
from tests.support import fake


@given(st.data())
def test_split_is_always_a_view(data):
    """Whatever the strides: a write through the view lands in the array, at the place the formula says."""
    axis, parts, each = (data.draw(st.integers(*pair)) for pair in ((0, 2), (1, 4), (0, 3)))
    shape = [2, 3, 2]
    shape[axis] = parts * each
    order = data.draw(st.permutations(range(3)))
    steps = [data.draw(st.sampled_from([-3, -1, 1, 2])) for _ in range(3)]
    room = np.zeros([abs(step) * n for step, n in zip(steps, (shape[o] for o in order), strict=True)])
    array = room[tuple(slice(None, None, step) for step in steps)].transpose(np.argsort(order))
    assert array.shape == tuple(shape)
    view = split(axis, parts)(array)
    assert view.shape == (*shape[:axis], parts, each, *shape[axis + 1 :])
    for index in np.ndindex(*view.shape):
        view[index] = 1
        at = (*index[:axis], index[axis] * each + index[axis + 1], *index[axis + 2 :])
        assert array[at] == 1
        array[at] = 0
        assert view[index] == 0


def test_batched_and_then():
    x = np.zeros((4, 5))
    assert batched(x).base is x
    assert then(batched, split(1, 2))(x).shape == (1, 2, 2, 5)


def test_reshaped():
    x = np.zeros((4, 5, 2))
    assert np.may_share_memory(reshaped(20, 2)(x), x)
    assert np.may_share_memory(reshaped(20, 2)(x[..., ::-1]), x)
    assert not np.may_share_memory(reshaped(10, 4)(x[:, ::-1]), x)
    assert reshaped(0, 3)(np.zeros((0, 5, 3))).shape == (0, 3)


def test_layout_shows_its_shape_without_an_array():
    big = Layout("input", "x", (2**20, 2**20, 6), then(batched, split(3, 2)))
    assert big.seen == (1, 2**20, 2**20, 2, 3)
    assert Layout("input", "x", (2**15, 0, 3), reshaped(0, 3)).seen == (0, 3)
    with pytest.raises(ShapeError, match=re.escape("`input` (4611686018427387904, 4) has more elements")):
        _ = Layout("input", "x", (2**62, 4), batched).seen


def test_environment():
    spec = Spec(fake.ROWS)
    x, w = Layout("input", "x", (5, 3)), Layout("weight", "w", (3,))
    environment = spec.environment([x, w], s0=2)
    assert environment == {"N": 5, "M": 3, "s0": 2, "P": 3}
    assert spec.shape("y", environment) == (3, 3)
    with pytest.raises(
        ShapeError, match=re.escape("`weight` has extent 4 along axis 0 but needs 3 (M, from input.shape[1])")
    ):
        spec.environment([x, Layout("weight", "w", (4,))], s0=2)
    with pytest.raises(ShapeError, match=re.escape("`weight` has 2 axes but needs 1: (M)")):
        spec.environment([x, Layout("weight", "w", (3, 1))], s0=2)


def test_sizes_beyond_64_bits():
    with pytest.raises(ShapeError, match=r"N = .* is too large"):
        Spec(fake.ROWS).environment([Layout("x", "x", (2**63, 3)), Layout("w", "w", (3,))], s0=1)


def test_an_adapter_is_its_plan_function():
    def scale(spec: Spec, input: tuple[int, ...], factor: object = 2) -> Plan:
        """Along {axes} axes."""
        raise AssertionError

    adapter = Adapter(scale, {"input": "x"}, 3)
    assert str(adapter.signature) == "(input, factor=2)"
    assert adapter.doc == "Along 3 axes."
    assert adapter.arguments((1,), {}) == {"input": 1, "factor": 2}
    with pytest.raises(ArgumentTypeError, match="too many positional arguments"):
        adapter.arguments((1, 2, 3), {})
