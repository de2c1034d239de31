"""True convolution against SciPy: modes, extents and swapped arguments."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels

signal = pytest.importorskip("scipy.signal", reason="a comparison with SciPy")
pytestmark = pytest.mark.external


@pytest.mark.parametrize("axes", [1, 2, 3])
@settings(deadline=None)  # the first call compiles
@given(data=st.data())
def test_convolve(axes, data):
    largest = (9, 6, 4)[axes - 1]
    shapes = [tuple(data.draw(st.integers(1, largest)) for _ in range(axes)) for _ in range(2)]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    a, b = map(rng.standard_normal, shapes)
    operator = getattr(kernels, f"convolve{axes}d")
    for mode in ("full", "same", "valid"):
        try:
            want = signal.convolve(a, b, mode, method="direct")
        except ValueError:
            assert mode == "valid"
            with pytest.raises(ValueError, match="at least as large"):
                operator(a, b, mode)
            continue
        y, pullback = operator.vjp(a, b, mode)
        np.testing.assert_allclose(y, want, rtol=1e-12, atol=1e-12, strict=True)
        np.testing.assert_allclose(y, operator(a[::-1].copy()[::-1], b.T.copy().T, mode=mode))
        gy = rng.standard_normal(y.shape)
        ga, gb = pullback(gy)  # bilinear: <gy, a * b> = <ga, a> = <gb, b>
        np.testing.assert_allclose([(ga * a).sum(), (gb * b).sum()], (gy * y).sum(), rtol=1e-9, atol=1e-9)
