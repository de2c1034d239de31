"""Sums of windows over their places: weight gradients of depthwise convolutions, exactly and compiled."""

from __future__ import annotations

import random
from fractions import Fraction
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import kernels
from derive.language import Operator, Sum, indices, tensors
from derive.pipeline import derive
from kernels.runtime import execute_exact


def written_out(x: Any, gy: Any, K: list[int], s: list[int], d: list[int], a: list[int], e: list[int]) -> Any:
    """gw[g,o,c,k] = sum over n and places of gy[n,g,o,p] * x[n,g,c, s*p + d*k - a], from slices of padded x."""
    N, G, C, *X = x.shape
    axes, P = range(len(X)), gy.shape[3:]
    padded = np.zeros((N, G, C, *(X[i] + a[i] + e[i] for i in axes)), x.dtype)
    padded[(slice(None),) * 3 + tuple(slice(a[i], a[i] + X[i]) for i in axes)] = x
    gw = np.zeros((G, gy.shape[2], C, *K), x.dtype)
    for k in np.ndindex(*K):
        window = tuple(slice(k[i] * d[i], k[i] * d[i] + (P[i] - 1) * s[i] + 1, s[i]) for i in axes)
        read = padded[(slice(None), slice(None), slice(None), *window)]
        for o in range(gy.shape[2]):
            for c in range(C):
                terms = read[:, :, c] * gy[:, :, o]
                gw[(slice(None), o, c, *k)] = terms.sum(axis=(0, *range(2, 2 + len(X))))
    return gw


def fractions(rng: random.Random, *shape: int) -> Any:
    numbers = [Fraction(rng.randint(-5, 5)) for _ in range(int(np.prod(shape)))]
    return np.array(numbers, object).reshape(shape)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_weight_gradients_are_exact(axes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any stride, dilation and padding, several batches and blocks, views with gaps: and the fold is what runs."""
    module = import_module(f"kernels.generated.conv{axes}d")
    fold, runs = module.y_from_w_x_fold_x, []
    run = fold.function
    monkeypatch.setattr(fold, "function", lambda *given: (runs.append(1), run(*given)))
    rng = random.Random(axes)
    for trial in range(25 if axes < 3 else 8):
        K, s, d = ([rng.randint(1, most) for _ in range(axes)] for most in (4, 3, 3))
        a, e = ([rng.randint(0, 3) for _ in range(axes)] for _ in range(2))
        reach = [d[i] * (K[i] - 1) + 1 for i in range(axes)]
        X = [max(1, reach[i] - a[i] - e[i]) + rng.randint(0, 9 if axes < 3 else 4) for i in range(axes)]
        P = [(X[i] + a[i] + e[i] - reach[i]) // s[i] + 1 for i in range(axes)]
        N, G, O, C = rng.randint(1, 2), rng.randint(1, 3), rng.randint(1, 2), rng.randint(1, 2)
        x, gy = fractions(rng, N, G, C, *X), fractions(rng, N, G, O, *P)
        sizes = {"N": N, "G": G, "O": O, "C": C}
        named = dict(zip(module.DEFINITION.tensor("x").shape[3:], X, strict=True))
        for i in range(axes):
            for letter, value in zip("KPsdae", (K, P, s, d, a, e), strict=True):
                sizes[f"{letter}{i}"] = value[i]
        given = {"x": x, "w": fractions(rng, G, O, C, *K), "gy": gy}
        made = execute_exact(
            module.DEFINITION, "vjp", given, sizes | named, {}, ("gw",), seed=trial, gaps=trial % 2 > 0
        )
        assert (made["gw"] == written_out(x, gy, K, s, d, a, e)).all()
    assert runs


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
def test_what_no_window_reads_is_not_multiplied(dtype: type) -> None:
    """Lanes and rows beyond the last place meet infinity in x; integers, so that sums are exact."""
    rng = np.random.default_rng(0)
    x = rng.integers(-4, 5, (2, 3, 24, 22)).astype(dtype)
    w = np.zeros((3, 1, 3, 3), dtype)
    x[:, :, 23:], x[:, :, :, 21:] = np.inf, np.nan  # stride 2 leaves the last row and column
    y, pullback = kernels.conv2d.vjp(x, w, stride=2, groups=3, wrt="weight")
    gy = rng.integers(-4, 5, y.shape).astype(dtype)
    want = written_out(x[:, :, None, :23, :21], gy[:, :, None], [3, 3], [2, 2], [1, 1], [0, 0], [0, 0])
    np.testing.assert_array_equal(pullback(gy)[0], want[:, 0])


@pytest.mark.parametrize("how", ["product", "quotient"])
def test_only_what_zeros_leave_alone_is_folded(how: str) -> None:
    """Lanes beyond the last place read zeros: 0/0 would be added to all else."""
    p, k = indices("p k")
    x, w, y = tensors("x w y")
    term = x[p + k] * w[k] if how == "product" else x[p + k] / w[k]
    made = derive(Operator("folded", y[p] << Sum[k](term), inputs=(x, w), outputs=(y,)))
    assert any("_fold_x" in kernel.text for kernel in made.kernels.values()) == (how == "product")
