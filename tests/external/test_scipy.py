"""SciPy's filters and convolutions on random arrays of 1 to 3 axes, each from one integer.

`ndimage` puts the centre of a filter at size // 2 and has other names: its reflect is our symmetric, its mirror our
reflect, its nearest our replicate, its wrap our circular. Filters lie within the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from random import Random

import numpy as np
import pytest

import kernels
from tests.support.tally import Tally

signal = pytest.importorskip("scipy.signal", reason="a comparison with SciPy")
ndimage = pytest.importorskip("scipy.ndimage", reason="a comparison with SciPy")

SUITE, COUNT = "Random filters beside SciPy", 100
LARGEST = {1: 9, 2: 6, 3: 4}
MODES = {
    "constant": "zeros",
    "reflect": "symmetric",
    "mirror": "reflect",
    "nearest": "replicate",
    "wrap": "circular",
}
# Sums of at most 64 terms of size 1 to 10, in another order.
TOLERANCE = {np.dtype(np.float64): 1e-13, np.dtype(np.float32): 1e-4}


def close(ours, theirs):
    bound = TOLERANCE[ours.dtype]
    np.testing.assert_allclose(ours, theirs, rtol=bound, atol=bound)


def filtered(axes, seed, mode, flipped):
    """One image and filter: ours as a convolution of one channel, and SciPy's."""
    draw = Random(f"{axes} {seed} {mode} {flipped}")
    rng = np.random.default_rng(draw.getrandbits(64))
    dtype = draw.choice([np.float64, np.float64, np.float32])
    extents = [draw.randint(1, LARGEST[axes]) for _ in range(axes)]
    sizes = [draw.randint(1, min(n, 4)) for n in extents]
    image, weight = (rng.standard_normal(shape).astype(dtype) for shape in (extents, sizes))
    if draw.random() < 0.3:  # at other strides
        image = np.asfortranarray(image)[::-1]
    # a convolution is a correlation with the flipped filter, whose centre is flipped, too
    before = [(k - 1) // 2 if flipped else k // 2 for k in sizes]
    pairs = tuple((a, k - 1 - a) for a, k in zip(before, sizes, strict=True))
    w = np.flip(weight) if flipped else weight
    options = {"padding": pairs} | ({} if mode == "constant" else {"padding_mode": MODES[mode]})
    y, pullback = getattr(kernels, f"conv{axes}d").vjp(image[None, None], w[None, None], **options)
    # SciPy adds in float64 and rounds once
    want = (ndimage.convolve if flipped else ndimage.correlate)(image, weight, mode=mode)
    close(y[0, 0], want)
    gy = rng.standard_normal(y.shape).astype(dtype)
    gx, gw, _ = pullback(gy)  # bilinear: <gy, y> = <gx, x> = <gw, w>
    far = np.abs(gy).sum() * (1 + np.abs(y).max())
    for g, a in ((gx, image), (gw, w)):
        np.testing.assert_allclose((g[0, 0] * a).sum(), (gy * y).sum(), rtol=0, atol=TOLERANCE[y.dtype] * far)


def run() -> Iterator[Tally]:
    """Every comparison, by operator."""
    for axes, mode, flipped in product((1, 2, 3), MODES, (False, True)):
        chosen = "" if mode == "constant" else f"_{MODES[mode]}"
        yield counted(f"conv{axes}d{chosen}", filtered, axes, mode, flipped)
    for axes in (1, 2, 3):
        yield counted(f"convolve{axes}d", convolved, axes)


def counted(operator, compare, axes, *how, count=COUNT):
    found = Tally(SUITE, operator)
    for seed in range(count):
        try:
            compare(axes, seed, *how)
        except Exception as error:
            found.failed.append(f"{compare.__name__}{(axes, seed, *how)}: {type(error).__name__}: {error}")
        else:
            found.passed += 1
    return found


@pytest.mark.slow
@pytest.mark.external
def test_filters_and_convolutions(count):
    tallies = list(run())
    for found in tallies:
        count(found)
    for found in tallies:
        found.check()


def test_some_filters():
    """The few that run by default: their kernels are those of other tests."""
    for seed in range(20):
        filtered(2, seed, "constant", seed % 2 == 0)


def convolved(axes, seed):
    draw = Random(f"{axes} {seed}")
    rng = np.random.default_rng(draw.getrandbits(64))
    a, b = (rng.standard_normal([draw.randint(1, LARGEST[axes]) for _ in range(axes)]) for _ in range(2))
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
        close(operator(a, np.flip(b), mode), signal.correlate(a, b, mode, method="direct"))
        gy = rng.standard_normal(y.shape)
        ga, gb = pullback(gy)  # bilinear: <gy, a * b> = <ga, a> = <gb, b>
        np.testing.assert_allclose([(ga * a).sum(), (gb * b).sum()], (gy * y).sum(), rtol=1e-9, atol=1e-9)


def test_a_shifted_centre_is_seen():
    image, weight = np.arange(5.0), np.array([1.0, 2.0])
    wrong = kernels.conv1d(image[None, None], weight[None, None], padding=((0, 1),))[0, 0]
    with pytest.raises(AssertionError):
        close(wrong, ndimage.correlate(image, weight, mode="constant"))
