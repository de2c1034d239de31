"""What a writer calls its own never hides what a formula calls."""

from __future__ import annotations

import numpy as np
import pytest

from derive import Mean, Operator, build, indices, step, tensors
from derive.emit.names import unhidden

BEFORE = '''@task
def f(one: Real1, task: int) -> None:
    """The one."""
    for step in range(3):
        one.step = step + step(2)
        other = stepped[step](step)


def g(x):
    """Nothing is called here."""
    one = x
    return one.one
'''


def test_a_variable_gives_way_to_a_function():
    after = BEFORE.replace("for step", "for step_").replace("= step +", "= step_ +")
    after = after.replace("[step](step)", "[step_](step_)")
    assert unhidden(BEFORE) == after
    assert unhidden(after) == after


n, c, h, j = indices("n c h j")
x, y, z = tensors("x y z")


@pytest.mark.parametrize("taps", [2, 5])
def test_a_window_with_a_formula_compiles(taps):
    """Of two taps the writer has a variable `one`, of many `step`; 1 - z has one(), step(z) has step()."""
    read = x[n, c, 2 * h + j] if taps == 2 else x[n, c, h + j]
    mean = Mean[j](read)
    spec = Operator(
        f"gated_mean{taps}", y[n, c, h] << (1 - step(z[n, c, h])) * mean, inputs=(x, z), extents={j: taps}
    )
    gated = build(spec)
    rng = np.random.default_rng(0)
    places = (40 - taps) // (2 if taps == 2 else 1) + 1
    xs, zs = rng.integers(-9, 10, (2, 3, 40)) * float(taps), rng.standard_normal((2, 3, places))
    windows = np.lib.stride_tricks.sliding_window_view(xs, taps, axis=2)[:, :, :: 2 if taps == 2 else 1]
    found, pullback = gated.vjp(xs, zs)
    assert np.array_equal(found, (zs <= 0) * windows.mean(-1))  # whole numbers
    (gx, _) = pullback(np.ones_like(found))
    assert gx.shape == xs.shape
