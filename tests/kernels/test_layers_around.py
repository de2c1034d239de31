"""Activations, norms, losses, images: what their signatures say, refuse and hand on. Nothing is compiled here."""

from __future__ import annotations

import re

import numpy as np
import pytest

import kernels
from kernels.errors import (
    ArgumentError,
    ArgumentTypeError,
    DtypeError,
    KernelError,
    OutOfRangeError,
    ShapeError,
)

X, W, T = np.ones((2, 4, 3, 5)), np.ones(4), np.zeros((2, 3, 5), np.int64)
ROW = np.ones((4, 3))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: kernels.leaky_relu(X, inplace=True),
            ArgumentError,
            "`inplace` is True but operators do not write",
        ),
        (
            lambda: kernels.gelu(X, "erf"),
            ArgumentError,
            "`approximate` is 'erf' but needs one of 'none', 'tanh'",
        ),
        (lambda: kernels.gelu_tanh(X, "none"), ArgumentError, "this operator is the one of 'tanh'"),
        (
            lambda: kernels.prelu(X, np.ones(3)),
            ShapeError,
            "`weight` has 3 entries but needs 1, or 4, one for each",
        ),
        (lambda: kernels.prelu(X, np.ones((4, 1))), ShapeError, "`weight` has 2 axes but needs 1"),
        (lambda: kernels.softplus(X, 0), ArgumentError, "`beta` is 0 but divides"),
        (
            lambda: kernels.hardtanh(X, 2, 1),
            ArgumentError,
            "`min_val` is 2.0 but needs to be at most `max_val`, 1.0",
        ),
        (lambda: kernels.softmax(X), ArgumentError, "`dim` is None but needs an axis of `input`"),
        (lambda: kernels.softmax(X, 4), ArgumentError, "`dim` is 4 but needs -4 <= dim < 4"),
        (
            lambda: kernels.softmax(X, 1, dtype=float),
            ArgumentError,
            "`dtype` is <class 'float'> but only None",
        ),
        (
            lambda: kernels.batch_norm(X, W),
            ArgumentError,
            "`running_mean` and `running_var` are needed, unless",
        ),
        (lambda: kernels.batch_norm(X, W, W[:3]), ShapeError, "`running_var` has shape (3,) but needs (4,)"),
        (
            lambda: kernels.batch_norm(X, W, W, weight=W[:1]),
            ShapeError,
            "`weight` has shape (1,) but needs (4,)",
        ),
        (lambda: kernels.batch_norm(X[0, 0, 0], W, W), ShapeError, "`input` has 1 axes but needs at least 2"),
        (lambda: kernels.batch_norm(X, W, training=True), ArgumentError, "are needed both, or none of them"),
        (
            lambda: kernels.batch_norm(np.ones((1, 3)), training=True),
            ShapeError,
            "of one entry a channel there is no",
        ),
        (
            lambda: kernels.instance_norm(X[..., :1, :1]),
            ShapeError,
            "of one entry a plane there is no variance",
        ),
        (
            lambda: kernels.instance_norm(X, W, use_input_stats=False),
            ArgumentError,
            "`running_mean` and `running_var` are needed, unless use_input_stats=True",
        ),
        (
            lambda: kernels.instance_norm(X[0, 0], W, W, use_input_stats=False),
            ShapeError,
            "`input` has 2 axes but needs at least 3",
        ),
        (
            lambda: kernels.instance_norm(X, W, W, use_input_stats=None),
            ArgumentTypeError,
            "`use_input_stats` is None but needs",
        ),
        (
            lambda: kernels.layer_norm(X, (3, 4)),
            ShapeError,
            "`input` has shape (2, 4, 3, 5) but needs (*, 3, 4)",
        ),
        (lambda: kernels.layer_norm(X, 5, W), ShapeError, "`weight` has shape (4,) but needs (5,)"),
        (lambda: kernels.layer_norm(X, ()), ArgumentError, "`normalized_shape` has no entries"),
        (
            lambda: kernels.group_norm(X, 3),
            ShapeError,
            "`input` has 4 channels, which `num_groups`, 3, does not divide",
        ),
        (lambda: kernels.local_response_norm(X[0, 0], 3), ShapeError, "needs at least 3: (N, C, *spatial)"),
        (
            lambda: kernels.mse_loss(X, X[0]),
            ShapeError,
            "`target` has shape (4, 3, 5) but needs (2, 4, 3, 5)",
        ),
        (
            lambda: kernels.mse_loss(X, X, reduction="avg"),
            ArgumentError,
            "`reduction` is 'avg' but needs one of",
        ),
        (lambda: kernels.l1_loss(X, X, weight=X), ArgumentError, "`weight` is array"),
        (lambda: kernels.huber_loss(X, X, delta=0), ArgumentError, "`delta` is 0 but needs to be above 0"),
        (
            lambda: kernels.smooth_l1_loss(X, X, beta=-1),
            ArgumentError,
            "`beta` is -1.0 but needs to be at least 0",
        ),
        (
            lambda: kernels.binary_cross_entropy_with_logits(X, X, pos_weight=W),
            ShapeError,
            "`pos_weight` has shape (4,) but needs the shape of the last axes of `input` (2, 4, 3, 5)",
        ),
        (
            lambda: kernels.binary_cross_entropy_with_logits(X, X, W),
            ShapeError,
            "`weight` has shape (4,) but needs (2, 4, 3, 5)",
        ),
        (lambda: kernels.nll_loss(X, T[0]), ShapeError, "`target` has shape (3, 5) but needs (2, 3, 5)"),
        (lambda: kernels.nll_loss(X, T, W[:2]), ShapeError, "`weight` has shape (2,) but needs (4,)"),
        (lambda: kernels.nll_loss(X, T.astype(float)), DtypeError, "`target` is float64 but needs integers"),
        (
            lambda: kernels.nll_loss(X, T - 3, ignore_index=7),
            OutOfRangeError,
            "`target` has -3 at (0, 0, 0) but needs 0 <= target < 4, or 7, (the classes of `input`, and `ignore_index`)",
        ),
        (lambda: kernels.cross_entropy(X, T - 100), OutOfRangeError, "`target` has -100 at (0, 0, 0)"),
        (
            lambda: kernels.cross_entropy(X, T, W[:3]),
            ShapeError,
            "cross_entropy_weighted: `weight` has shape (3,)",
        ),
        (
            lambda: kernels.cross_entropy(X, X[:, :3]),
            ShapeError,
            "cross_entropy_probabilities: `target` has shape",
        ),
        (
            lambda: kernels.cross_entropy(X, T, label_smoothing=2),
            ArgumentError,
            "needs to be between 0 and 1",
        ),
        (
            lambda: kernels.cross_entropy(X, T, size_average=True),
            ArgumentError,
            "`size_average` is True but only None",
        ),
        (lambda: kernels.dropout(X, X, 1.5), ArgumentError, "`p` is 1.5 but needs to be between 0 and 1"),
        (lambda: kernels.dropout(X, W), ShapeError, "`mask` has shape (4,) but needs (2, 4, 3, 5)"),
        (
            lambda: kernels.interpolate(X),
            ArgumentError,
            "one of `size` and `scale_factor` is needed, and not both",
        ),
        (
            lambda: kernels.interpolate(X, 3, mode="area"),
            ArgumentError,
            "`mode` is 'area', which is adaptive_avg_pool1d, adaptive_avg_pool2d or adaptive_avg_pool3d",
        ),
        (
            lambda: kernels.interpolate(X, 3, mode="lanczos"),
            ArgumentError,
            "`mode` is 'lanczos' but needs one of 'nearest'",
        ),
        (
            lambda: kernels.interpolate(X, 3, align_corners=True),
            ArgumentError,
            "mode 'nearest' has no such option",
        ),
        (
            lambda: kernels.interpolate(X, 3, mode="linear"),
            ShapeError,
            "`input` has 4 axes but mode 'linear' needs 3",
        ),
        (
            lambda: kernels.interpolate(X, (3, 4, 5)),
            ArgumentError,
            "`size` is (3, 4, 5), with 3 entries, but needs",
        ),
        (lambda: kernels.interpolate(X, 0), ArgumentError, "`size` is 0 but needs to be at least 1"),
        (lambda: kernels.interpolate(X, scale_factor=0.1), ArgumentError, "leaves at least one of 3 places"),
        (
            lambda: kernels.interpolate(X, 3, antialias=True),
            ArgumentError,
            "`antialias` is True but only False",
        ),
        (lambda: kernels.interpolate(ROW, 3), ShapeError, "`input` has 2 axes but needs 3 to 5"),
        (lambda: kernels.pixel_shuffle(X, 3), ShapeError, "`input` has 4 channels, which 3 * 3"),
        (
            lambda: kernels.pixel_unshuffle(X, 2),
            ShapeError,
            "planes of 3 x 5, which 2 (`downscale_factor`) does not",
        ),
        (
            lambda: kernels.pad(X, (1,)),
            ArgumentError,
            "`pad` is (1,) but needs (before, after) of the last axis",
        ),
        (
            lambda: kernels.pad(ROW, (1,) * 6),
            ArgumentError,
            "`pad` has 6 entries but `input` has only 2 axes",
        ),
        (lambda: kernels.pad(ROW, (-2, -2)), ShapeError, "which leaves -1 entries of 3 along axis 1"),
        (
            lambda: kernels.pad(ROW, (3, 0), "reflect"),
            ShapeError,
            "mode 'reflect' reaches at most 2 places beyond 3",
        ),
        (
            lambda: kernels.pad(ROW, (0, 4), "circular"),
            ShapeError,
            "mode 'circular' reaches at most 3 places beyond 3",
        ),
        (
            lambda: kernels.pad(ROW, (-1, 0), "reflect"),
            ArgumentError,
            "`pad` has -1 for axis 1; only mode 'constant'",
        ),
        (
            lambda: kernels.pad(ROW, (1, 0), "reflect", 1.0),
            ArgumentError,
            "`value` is 1.0 but only None, its default",
        ),
        (lambda: kernels.pad(ROW[:0], (0, 0, 1, 0), "replicate"), ShapeError, "there is nothing to pad with"),
        (lambda: kernels.pad(np.ones((2,) * 6), (1,) * 12), ArgumentError, "at most 5 are supported"),
        (lambda: kernels.pad(X, (1,) * 8, "reflect"), ArgumentError, "at most 3 are supported"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=re.escape(text)):
        call()


@pytest.mark.parametrize(
    ("name", "arguments", "options", "shape"),
    [
        ("batch_norm", (X, W, W), {}, X.shape),
        ("batch_norm", (X,), {"training": True}, X.shape),
        ("batch_norm", (X, W, W), {"training": True}, (X.shape, (4,), (4,))),
        ("instance_norm", (X, W, W), {}, (X.shape, (4,), (4,))),
        ("instance_norm", (X, W, W), {"use_input_stats": False}, X.shape),
        ("layer_norm", (X, (3, 5)), {"bias": np.ones((3, 5))}, X.shape),
        ("group_norm", (X, 2, W, W), {}, X.shape),
        ("rms_norm", (X, 5), {}, X.shape),
        ("cross_entropy", (X, T), {"reduction": "none"}, (2, 3, 5)),
        ("cross_entropy", (X, X), {"reduction": "none"}, (2, 3, 5)),
        ("cross_entropy", (X.shape, X.shape), {"reduction": "none"}, (2, 3, 5)),
        ("cross_entropy", (X, T, W), {}, ()),
        ("interpolate", (X, (7, 2)), {}, (2, 4, 7, 2)),
        ("interpolate", (X,), {"scale_factor": (0.5, 1.7), "mode": "bicubic"}, (2, 4, 1, 8)),
        ("pixel_shuffle", (X, 2), {}, (2, 1, 6, 10)),
        ("pixel_unshuffle", (np.ones((4, 6)).reshape(1, 4, 6), 2), {}, (4, 2, 3)),
        ("pad", (X, (1, 2, 0, -1)), {}, (2, 4, 2, 8)),
        ("pad", (X, (1, 2, 1, 1), "mean"), {}, (2, 4, 5, 8)),
    ],
)
def test_output_shapes(name, arguments, options, shape):
    assert getattr(kernels, name).output_shape(*arguments, **options) == shape


def test_arrays_behind_an_option():
    """torch has normalized_shape before weight and bias; tangents are by array, whatever stands between."""
    x, w = np.ones((2, 3)), np.ones(3)
    for call in (
        lambda: kernels.layer_norm.jvp((x, w), (x, w)),
        lambda: kernels.layer_norm.jvp((x, w), (x, w), normalized_shape=3, weight=w),
        lambda: kernels.layer_norm.jvp((x, None), (x, w), normalized_shape=3),
    ):
        with pytest.raises(ArgumentTypeError) as error:
            call()
        assert any(word in str(error.value) for word in ("normalized_shape", "twice", "is absent"))


def test_names_of_options_that_choose():
    """Each value of an option with equations of its own has a name, and that operator's documentation says so."""
    for name in kernels.OPERATORS:
        operator = getattr(kernels, name)
        for value, other in getattr(getattr(operator, "variants", None), "names", {}).items():
            variant = getattr(kernels, other)
            assert isinstance(variant.__doc__, str)
            assert variant is not operator
            if operator.variants.choose is None:
                assert f"{operator.variants.option}={value!r}" in variant.__doc__


def test_every_refusal_is_the_packages_own():
    for call in (
        lambda: kernels.pad(X, None),
        lambda: kernels.interpolate(X, "3"),
        lambda: kernels.prelu(X, None),
    ):
        with pytest.raises(KernelError):
            call()


@pytest.mark.slow
def test_what_is_absent_counts_as_one():
    """A weight that is not given: the numbers of a weight of ones, and no gradient."""
    x = np.random.default_rng(0).standard_normal((3, 4))
    for dtype in (np.float32, np.float64):
        z = x.astype(dtype)
        one = np.ones(4, dtype)
        y, pullback = kernels.layer_norm.vjp(z, 4)
        want, other = kernels.layer_norm.vjp(z, 4, one, 0 * one)
        np.testing.assert_array_equal(y, want)
        np.testing.assert_array_equal(kernels.layer_norm(z, 4), want)  # found again by its key
        gradients = pullback(z)
        np.testing.assert_array_equal(gradients[0], other(z)[0])
        assert gradients[1:] == (None, None)
        out = np.empty_like(z)
        assert kernels.layer_norm(z, 4, out=out) is out
        np.testing.assert_array_equal(out, want)


@pytest.mark.slow
def test_the_mean_of_the_plane_has_its_gradient():
    """Each place of the frame gives a part of its cotangent to every place of the plane."""
    x = np.arange(6.0).reshape(1, 2, 3)
    y, pullback = kernels.pad.vjp(x, (1, 1, 0, 1), "mean")
    np.testing.assert_array_equal(y, [[[2.5, 0, 1, 2, 2.5], [2.5, 3, 4, 5, 2.5], [2.5] * 5]])
    gy = np.arange(15.0).reshape(1, 3, 5)
    frame = gy.sum() - gy[0, :2, 1:4].sum()
    np.testing.assert_allclose(pullback(gy)[0], gy[:, :2, 1:4] + frame / 6, rtol=1e-15)


@pytest.mark.slow
def test_targets_are_looked_at_in_every_call():
    x, t = np.log(np.full((2, 3), 1 / 3)), np.array([0, 5])
    y, pullback = kernels.nll_loss.vjp(x, t, ignore_index=5)
    np.testing.assert_allclose(y, np.log(3))
    np.testing.assert_array_equal(pullback(1.0)[0], [[-1, 0, 0], [0, 0, 0]])
    t[1] = 4
    with pytest.raises(OutOfRangeError, match="`target` has 4 at 1"):
        pullback(1.0)
    with pytest.raises(OutOfRangeError, match="`target` has 4 at 1"):
        kernels.nll_loss(x, t, ignore_index=5)


@pytest.mark.parametrize("mode", ["reflect", "symmetric", "replicate", "circular", "mean"])
def test_an_empty_batch_is_padded(mode):
    assert kernels.pad.output_shape((0, 2, 4), (1, 2), mode) == (0, 2, 7)
