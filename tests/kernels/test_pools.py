"""Pooling beside the shipped cases: signatures and errors, ties, zeros, padding alone, rules of indices."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest

import kernels
from kernels.errors import ArgumentError, OutOfRangeError, ShapeError
from tests.support.cases import apart, generator

PLANE = np.zeros((2, 3, 6, 7))


def test_signatures():
    window = "kernel_size, stride=None, padding=0, ceil_mode=False, dilation=1"
    want = {
        "max_pool2d": "(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False, ties='first', *, out=None)",
        "max_pool1d_split": "(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False, ties='split', *, out=None)",
        "min_pool3d": "(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False, *, out=None)",
        "adaptive_avg_pool1d": "(input, output_size, *, out=None)",
        "adaptive_max_pool3d": "(input, output_size, return_indices=False, *, out=None)",
        "fractional_max_pool2d": "(input, random_samples, kernel_size, output_size=None, output_ratio=None, return_indices=False, *, out=None)",
        "lp_pool2d": "(input, norm_type, kernel_size, stride=None, ceil_mode=False, padding=0, dilation=1, *, out=None)",
        "lp_pool2d_inf": "(input, norm_type, kernel_size, stride=None, ceil_mode=False, padding=0, dilation=1, *, out=None)",
        "log_sum_exp_pool1d": f"(input, {window}, temperature=1.0, *, out=None)",
        "soft_pool2d": f"(input, {window}, *, out=None)",
        "median_pool3d": f"(input, {window}, *, out=None)",
        "stochastic_pool2d": f"(input, samples, {window}, return_indices=False, *, out=None)",
        "stochastic_pool2d_mean": f"(input, {window}, *, out=None)",
        "max_unpool2d": "(input, indices, kernel_size, stride=None, padding=0, output_size=None, *, out=None)",
        "global_lp_pool": "(input, norm_type=2.0, *, out=None)",
        "global_max_pool": "(input, ties='first', *, out=None)",
    }
    for name, signature in want.items():
        assert str(inspect.signature(getattr(kernels, name))) == signature


@pytest.mark.parametrize(
    ("name", "shapes", "options", "want"),
    [
        ("adaptive_avg_pool2d", [(2, 3, 6, 7)], {"output_size": (4, None)}, (2, 3, 4, 7)),
        ("adaptive_avg_pool2d", [(3, 6, 7)], {"output_size": 9}, (3, 9, 9)),
        ("adaptive_max_pool1d", [(2, 3, 6)], {"output_size": 0}, (2, 3, 0)),
        ("adaptive_max_pool1d", [(3, 6)], {"output_size": None, "return_indices": True}, ((3, 6), (3, 6))),
        (
            "lp_pool1d",
            [(3, 9)],
            {"norm_type": 2.5, "kernel_size": 3, "padding": 1, "ceil_mode": True},
            (3, 4),
        ),
        ("soft_pool3d", [(1, 2, 5, 6, 7)], {"kernel_size": (1, 2, 3)}, (1, 2, 5, 3, 2)),
        ("max_pool1d", [(3, 9)], {"kernel_size": 4, "stride": 1, "ties": "all"}, (3, 6)),
        ("stochastic_pool1d", [(2, 3, 8), (2, 3, 4)], {"kernel_size": 2}, (2, 3, 4)),
        ("fractional_max_pool2d", [(3, 9, 8), (1, 3, 2)], {"kernel_size": 2, "output_ratio": 0.5}, (3, 4, 4)),
        ("max_unpool1d", [(3, 4), (3, 4)], {"kernel_size": 3, "stride": 2, "padding": 1}, (3, 7)),
        ("max_unpool2d", [(1, 2, 3, 3)] * 2, {"kernel_size": 2, "output_size": (1, 2, 7, 5)}, (1, 2, 7, 5)),
        ("global_lp_pool", [(2, 3, 4, 5, 6)], {"norm_type": math.inf}, (2, 3, 1, 1, 1)),
        ("global_median_pool", [(2, 3, 4)], {}, (2, 3, 1)),
    ],
)
def test_shapes(name, shapes, options, want):
    assert getattr(kernels, name).output_shape(*shapes, **options) == want


@pytest.mark.parametrize(
    ("name", "shapes", "options", "kind", "message"),
    [
        ("max_pool2d", [(1, 2, 6, 6)], {"kernel_size": 2, "ties": "any"}, ArgumentError, "`ties` is 'any' but needs one of 'first', 'last', 'split', 'all'"),
        ("global_max_pool", [(1, 2, 6)], {"ties": 1}, ArgumentError, "`ties` is 1 but needs one of"),
        ("max_pool2d_last", [(1, 2, 6, 6)], {"kernel_size": 2, "ties": "all"}, ArgumentError, "`ties` is 'all' but this operator is the one of 'last'"),
        ("adaptive_avg_pool2d", [(2, 3, 6)], {"output_size": -1}, ArgumentError, "`output_size` is -1 but needs to be at least 0"),
        ("adaptive_avg_pool2d", [(2, 3, 6, 7)], {"output_size": (1, 2, 3)}, ArgumentError, r"`output_size` is \(1, 2, 3\), with 3 entries"),
        ("adaptive_avg_pool2d", [(6, 7)], {"output_size": 1}, ShapeError, "`input` has 2 axes but needs 4, or 3 unbatched"),
        ("adaptive_max_pool2d", [(1, 2, 0, 7)], {"output_size": 1}, ShapeError, "`input` has no entries along spatial axis 0"),
        ("lp_pool2d", [(1, 2, 6, 7)], {"norm_type": 0, "kernel_size": 2}, ArgumentError, "`norm_type` is 0.0 but needs to be above 0"),
        ("lp_pool2d", [(1, 2, 6, 7)], {"norm_type": math.nan, "kernel_size": 2}, ArgumentError, "`norm_type` is nan"),
        ("lp_pool2d_2", [(1, 2, 6, 7)], {"norm_type": 3, "kernel_size": 2}, ArgumentError, "`norm_type` is 3 but this operator is the one of 2.0"),
        ("lp_pool2d", [(1, 2, 6, 7)], {"norm_type": 2, "kernel_size": 8}, ShapeError, "window"),
        ("log_sum_exp_pool2d", [(1, 2, 6, 7)], {"kernel_size": 2, "temperature": 0}, ArgumentError, "`temperature` is 0.0 but needs to be above 0"),
        ("global_log_mean_exp_pool", [(1, 2, 6)], {"temperature": 1e-320}, ArgumentError, "with a finite reciprocal"),
        ("median_pool2d", [(1, 2, 6, 7)], {"kernel_size": 3, "padding": 2}, ArgumentError, "`padding` is 2 along axis 0 but needs to be at most 1"),
        ("stochastic_pool2d", [(1, 2, 6, 6), (1, 2, 3, 2)], {"kernel_size": 2}, ShapeError, r"`samples` has shape \(1, 2, 3, 2\) but needs \(1, 2, 3, 3\)"),
        ("stochastic_pool1d", [(2, 6), (2, 4)], {"kernel_size": 2}, ShapeError, r"`samples` has shape \(2, 4\) but needs \(2, 3\)"),
        ("global_stochastic_pool", [(1, 2, 6, 6), (1, 2)], {}, ShapeError, r"but needs \(1, 2, 1, 1\), that of the result"),
        ("global_soft_pool", [(1, 2)], {}, ShapeError, "`input` has 2 axes but needs at least 3"),
        ("global_lp_pool", [(1, 2, 0)], {}, ShapeError, "`input` has empty planes"),
        ("fractional_max_pool2d", [(1, 2, 6, 6), (1, 2, 3)], {"kernel_size": 2, "output_size": 2}, ShapeError, r"`random_samples` has shape \(1, 2, 3\) but needs \(1, 2, 2\)"),
        ("fractional_max_pool2d", [(1, 2, 6, 6), (1, 2, 2)], {"kernel_size": 2}, ArgumentError, "one of the two is needed, and no more"),
        ("fractional_max_pool2d", [(1, 2, 6, 6), (1, 2, 2)], {"kernel_size": 2, "output_ratio": 1.0}, ArgumentError, "`output_ratio` is 1.0 along axis 0 but needs to be between 0 and 1"),
        ("fractional_max_pool2d", [(1, 2, 6, 5), (1, 2, 2)], {"kernel_size": 3, "output_size": 4}, ShapeError, "has 5 entries along spatial axis 1 but 4 windows of 3 need at least 6"),
        ("max_unpool2d", [(1, 2, 3, 3), (1, 2, 3, 2)], {"kernel_size": 2}, ShapeError, "`indices` has shape"),
        ("max_unpool2d", [(1, 2, 3, 3)] * 2, {"kernel_size": 2, "output_size": (8, 6)}, ArgumentError, "`output_size` is 8 along spatial axis 0 but needs 4 < size < 8"),
        ("max_unpool2d", [(1, 2, 3, 3)] * 2, {"kernel_size": 2, "output_size": 6}, ArgumentError, "`output_size` is 6 but needs 2 extents, or 4"),
        ("max_unpool1d", [(1, 2, 1)] * 2, {"kernel_size": 1, "padding": 1}, ShapeError, "the result would have the extent -1 along spatial axis 0"),
    ],
)  # fmt: skip
def test_errors(name, shapes, options, kind, message):
    with pytest.raises(kind, match=rf"^{name}\w*: .*{message}"):
        getattr(kernels, name).output_shape(*shapes, **options)


@pytest.mark.parametrize("channels", [1, 4, 6, 9])
@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((11, 13), {"kernel_size": 5, "stride": 1, "padding": 2}),
        ((9, 7), {"kernel_size": (3, 4), "stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}),
        ((20, 3), {"kernel_size": 3, "stride": 1, "padding": 1, "ceil_mode": True}),
    ],
)
def test_windows_that_overlap_give_to_the_same_entries(channels, size, options):
    """Whole numbers, whose sums are exact: each window gives to its maximum, whatever the number of planes."""
    x = generator("overlap").normal(size=(2, channels, *size)).astype(np.float32)
    y, at = kernels.max_pool2d(x, return_indices=True, **options)
    gy = (np.arange(y.size, dtype=np.float32) % 7 - 3).reshape(y.shape)
    want = np.zeros((2, channels, size[0] * size[1]), np.float32)
    for n, c in np.ndindex(2, channels):
        np.add.at(want[n, c], at[n, c].ravel(), gy[n, c].ravel())
    _, pullback = kernels.max_pool2d.vjp(x, **options)
    np.testing.assert_array_equal(pullback(gy)[0], want.reshape(x.shape))
    flipped = np.ascontiguousarray(gy[:, :, ::-1, ::-1])[:, :, ::-1, ::-1]  # rows that no vector reads
    np.testing.assert_array_equal(pullback(flipped)[0], want.reshape(x.shape))


def test_an_index_outside_the_plane_is_an_error():
    x = np.ones((1, 1, 2))
    for wrong in (-1, 4):
        with pytest.raises(OutOfRangeError, match=f"`indices` has {wrong} at .* needs 0 <= indices < 4"):
            kernels.max_unpool1d(x, np.array([[[0, wrong]]]), 2)


def test_unpooling_undoes_pooling():
    """Where windows overlap each maximum comes back as it was, and its gradient is shared."""
    x = np.array([[[1.0, 5.0, 2.0, 7.0, 3.0]]])
    i = np.array([[[1, 1, 3, 3]]])
    y, pullback = kernels.max_unpool1d.vjp(np.take_along_axis(x, i, -1), i, 2, 1)
    assert y.tolist() == [[[0, 5, 0, 7, 0]]]
    assert pullback(x)[0].tolist() == [[[2.5, 2.5, 3.5, 3.5]]]
    assert kernels.max_unpool1d(np.array([[[1.0, 4.0]]]), np.array([[[2, 2]]]), 2).tolist() == [
        [[0, 0, 2.5, 0]]
    ]


@pytest.mark.slow
def test_ties():
    x = np.array([[[2.0, 2.0, 1.0, 0.0, 3.0, 3.0]]])
    for ties, at, want in [
        ("first", [0, 4], [1, 0, 0, 0, 10, 0]),
        ("last", [1, 5], [0, 1, 0, 0, 0, 10]),
        ("split", [0, 4], [0.5, 0.5, 0, 0, 5, 5]),
        ("all", [0, 4], [1, 1, 0, 0, 10, 10]),
    ]:
        (y, i), pullback = kernels.max_pool1d.vjp(x, 3, return_indices=True, ties=ties)
        assert y.tolist() == [[[2, 3]]]
        assert i.tolist() == [[at]]
        (g,) = pullback(np.array([[[1.0, 10.0]]]))
        assert g.tolist() == [[want]]
        _, pullback = kernels.global_max_pool.vjp(x[..., 3:], ties=ties)
        assert pullback(np.array([[[10.0]]]))[0].tolist() == [[want[3:]]]


@pytest.mark.slow
def test_zeros_have_no_gradient_but_a_sound_one():
    """Of norms and of shares; in second order too."""
    x = np.array([[[0.0, 0.0, 0.0, 3.0, -4.0, 0.0]]])
    for pool, gradient, options in [
        (kernels.lp_pool1d, [0, 0, 0, 0.6, -0.8, 0], {"norm_type": 2, "kernel_size": 3}),
        (kernels.lp_pool1d, [0, 0, 0, 1, -1, 0], {"norm_type": 1, "kernel_size": 3}),
        (kernels.lp_pool1d, [0, 0, 0, 27 / 91 ** (2 / 3) / 3, -16 / 91 ** (2 / 3), 0], {"norm_type": 3, "kernel_size": 3}),
        (kernels.stochastic_pool1d_mean, [0, 0, 0, 1, 0, 0], {"kernel_size": 3}),
    ]:  # fmt: skip
        y, pullback = pool.vjp(x, **options)
        (g,), second = pullback.vjp(np.ones_like(y))
        np.testing.assert_allclose(g[0, 0], gradient, rtol=1e-14)  # a power and a quotient round
        assert all(np.isfinite(h).all() for h in second(np.ones_like(x)))
    y, pullback = kernels.lp_pool1d.vjp(x, math.inf, 3)
    assert y.tolist() == [[[0, 4]]]
    assert pullback(y)[0].tolist() == [[[0, 0, 0, 0, -4, 0]]]
    assert np.isnan(kernels.lp_pool1d(np.array([[[np.nan, 1.0]]]), 3, 2)).all()


@pytest.mark.slow
def test_large_entries():
    x = np.array([[[1000.0, 1000.0, -1000.0, -1001.0]]])
    np.testing.assert_allclose(
        kernels.log_sum_exp_pool1d(x, 2)[0, 0], [1000 + np.log(2), -1000 + np.log1p(np.exp(-1))]
    )
    np.testing.assert_allclose(
        kernels.log_mean_exp_pool1d(x, 2, temperature=1e-3)[0, 0], [1000, -1000 - 1e-3 * np.log(2)]
    )
    weights = np.array([1, np.exp(-1)]) / (1 + np.exp(-1))
    # the logarithm of the sum is rounded: |x| = 1000 units of 2^-53
    np.testing.assert_allclose(kernels.soft_pool1d(x, 2)[0, 0], [1000, -1000 - weights[1]], rtol=1e-12)


@pytest.mark.slow
def test_a_window_of_padding_alone():
    """With dilation a window may step over the input."""
    x, window = np.ones((1, 1, 1)), (2, 1, 1)
    for pool in (kernels.log_sum_exp_pool1d, kernels.log_mean_exp_pool1d):
        y, pullback = pool.vjp(x, *window, dilation=2)
        assert y.tolist() == [[[-np.inf]]]
        assert pullback(np.ones_like(y))[0].tolist() == [[[0]]]
    for pool in (kernels.soft_pool1d, kernels.median_pool1d, kernels.stochastic_pool1d_mean):
        y, pullback = pool.vjp(x, *window, dilation=2)
        assert y.tolist() == pullback(y)[0].tolist() == [[[0]]]
    y, i = kernels.stochastic_pool1d(x, np.zeros((1, 1, 1)), *window, dilation=2, return_indices=True)
    assert (y.item(), i.item()) == (0, -1)


@pytest.mark.slow
def test_each_entry_is_drawn_by_its_share():
    x = np.array([[[1.0, -2.0, 3.0, 0.0, 4.0]]])
    for u, want in [(0.0, 0), (0.125, 0), (0.126, 2), (0.5, 2), (0.51, 4), (1 - 2**-53, 4)]:
        y, i = kernels.stochastic_pool1d(x, np.full((1, 1, 1), u), 5, return_indices=True)
        assert i.item() == want
        assert y.item() == x[0, 0, want]
    y, i = kernels.stochastic_pool1d(-abs(x), np.zeros((1, 1, 1)), 5, return_indices=True)
    assert (y.item(), i.item()) == (0, 0)


@pytest.mark.slow
def test_medians_of_even_windows_and_equal_entries():
    x = np.array([[[4.0, 1.0, 3.0, 2.0, 5.0, 5.0, 5.0, 0.0]]])
    y, pullback = kernels.median_pool1d.vjp(x, 4)
    assert y.tolist() == [[[2, 5]]]
    assert pullback(np.ones_like(y))[0].tolist() == [[[0, 0, 0, 1, 1, 0, 0, 0]]]


def test_indices_of_bins():
    """Adaptive maxima say where they lie in the plane: as brute force has it."""
    x = apart(generator("bins"), (1, 2, 5, 7))
    y, i = kernels.adaptive_max_pool2d(x, (3, None), return_indices=True)
    np.testing.assert_array_equal(
        np.take_along_axis(x.reshape(1, 2, -1), i.reshape(1, 2, -1), -1).reshape(y.shape), y
    )
    rows = [slice(0, 2), slice(1, 4), slice(3, 5)]
    np.testing.assert_array_equal(y, np.stack([x[:, :, r].max(2) for r in rows], 2))
