"""An operator beside torch's: result, gradients, their gradients, forward mode, at configurations that Hypothesis draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="a comparison with torch", exc_type=ImportError)

TOLERANCE = 1e-10  # float64: sums of some hundred terms of size 1


@st.composite
def arrays(draw, *shape, far=False):
    """Numbers by seed: Hypothesis shrinks the configuration. `far`: no two are close, maxima are stable."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = math.prod(shape)
    return (rng.permutation(count).reshape(shape) - count / 2) / 8 if far else rng.standard_normal(shape)


def per_axis(draw, axes, low, high):
    return tuple(draw(st.integers(low, high)) for _ in range(axes))


def close(ours, theirs):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)


def compare(operator, reference, inputs, options, seed=0):
    """`inputs` are arrays, None or integers; the first output of `reference` is the differentiable one."""
    rng = np.random.default_rng(seed)
    tensors = [None if a is None else torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in inputs]
    real = [n for n, t in enumerate(tensors) if t is not None and t.requires_grad]
    leaves = [tensors[n] for n in real]
    want = reference(*tensors)

    y, pullback = operator.vjp(*inputs, **options)
    close(y, want)
    assert operator.output_shape(*inputs, **options) == y.shape

    gy = rng.standard_normal(y.shape)
    t_gy = torch.tensor(gy, requires_grad=True)
    want_gradients = torch.autograd.grad(want, leaves, t_gy, create_graph=True)
    gradients, second = pullback.vjp(gy)
    for n, theirs in zip(real, want_gradients, strict=True):
        close(gradients[n], theirs)

    cotangents = [rng.standard_normal(inputs[n].shape) for n in real]
    total = sum((g * torch.tensor(h)).sum() for g, h in zip(want_gradients, cotangents, strict=True))
    want_second = torch.autograd.grad(total, [t_gy, *leaves], allow_unused=True)
    given: list[np.ndarray | None] = [None] * len(inputs)
    for n, h in zip(real, cotangents, strict=True):
        given[n] = h
    ours = second(*given)
    for got, theirs, leaf in zip(
        [ours[0], *(ours[1 + n] for n in real)], want_second, [t_gy, *leaves], strict=True
    ):
        close(got, torch.zeros_like(leaf) if theirs is None else theirs)

    def of_leaves(*values):
        filled = list(tensors)
        for n, v in zip(real, values, strict=True):
            filled[n] = v
        return reference(*filled)

    tangents = tuple(torch.tensor(h) for h in cotangents)
    _, want_tangent = torch.autograd.functional.jvp(of_leaves, tuple(leaves), tangents)
    _, ty = operator.jvp(tuple(inputs), tuple(given), **options)
    close(ty, want_tangent)
