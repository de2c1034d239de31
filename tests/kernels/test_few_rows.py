"""A matrix times a vector or a few: small batches of linear layers, and convolutions of maps of a place or two."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kernels
from kernels.runtime.selection import Step


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks that calls come to, as they are planned."""
    found: list[str] = []
    choose = Step.task

    def noted(self: Step, values: Any, tile: Any) -> Any:
        made = choose(self, values, tile)
        found.append(made[0].function.__name__)
        return made

    monkeypatch.setattr(Step, "task", noted)
    return found


def whole(rng: np.random.Generator, *shape: int) -> Any:
    """Small whole numbers, whose sums are exact in any order."""
    return rng.integers(-4, 5, shape).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
@pytest.mark.parametrize("turned", [False, True], ids=["as it lies", "transposed"])
def test_linear(batch: int, turned: bool, tasks: list[str]) -> None:
    """At 133 inputs and 301 outputs, whose last vectors are partial; no batch is so small that plain loops run."""
    rng = np.random.default_rng(batch)
    x, b, gy = whole(rng, batch, 133), whole(rng, 301), whole(rng, batch, 301)
    w = whole(rng, 133, 301).T if turned else whole(rng, 301, 133)
    y, pull = kernels.linear.vjp(x, w, b)
    gx, gw, gb = pull(gy)
    np.testing.assert_array_equal(y, x @ w.T + b)
    np.testing.assert_array_equal(gx, gy @ w)
    np.testing.assert_array_equal(gw, gy.T @ x)
    np.testing.assert_array_equal(gb, gy.sum(0))
    assert tasks
    assert not [name for name in tasks if name.endswith("_plain")]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_line_is_shared_among_tasks(threads: int) -> None:
    rng = np.random.default_rng(0)
    w, gy = whole(rng, 64, 3000), whole(rng, 1, 64)
    before = kernels.get_num_threads()
    kernels.set_num_threads(threads)
    try:
        _, pull = kernels.linear.vjp(whole(rng, 1, 3000), w, wrt=("input",))
        gx = np.asarray(pull(gy)).reshape(1, 3000)
    finally:
        kernels.set_num_threads(before)
    np.testing.assert_array_equal(gx, gy @ w)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("size", "kernel"), [(1, 1), (2, 3)])
def test_maps_of_a_place_or_two(batch: int, size: int, kernel: int, tasks: list[str]) -> None:
    """What squeezes and excites, and the last maps of a network."""
    rng = np.random.default_rng(batch)
    x, w = whole(rng, batch, 40, size, size), whole(rng, 50, 40, kernel, kernel)
    y, pull = kernels.conv2d.vjp(x, w, padding=kernel // 2)
    gy = whole(rng, *y.shape)
    gx, gw, *_ = pull(gy)
    edge = kernel // 2
    wide = np.pad(x, [(0, 0), (0, 0), (edge, edge), (edge, edge)])
    windows = np.lib.stride_tricks.sliding_window_view(wide, (kernel, kernel), (2, 3))
    np.testing.assert_array_equal(y, np.einsum("ncpqkl,ockl->nopq", windows, w))
    np.testing.assert_array_equal(gw, np.einsum("ncpqkl,nopq->ockl", windows, gy))
    back = np.zeros_like(wide)
    for k in range(kernel):
        for m in range(kernel):
            back[:, :, k : k + size, m : m + size] += np.einsum("nopq,oc->ncpq", gy, w[:, :, k, m])
    np.testing.assert_array_equal(gx, back[:, :, edge : edge + size, edge : edge + size])
    assert tasks
    assert not [name for name in tasks if name.endswith("_plain")]
