"""Options as large as they may be, on several axes at once: their products fit no integer of a kernel.

A wrapped size is memory that is not there, so the sweep runs in a process of its own. Values are held against sums
over the points that exist.
"""

from __future__ import annotations

import subprocess
import sys
from itertools import product

import numpy as np
import pytest

import kernels

LARGE = (1, 7, 2**31 - 1, 10**9, 5 * 10**8)
MOST = 300  # places of a result: a padding of 2**31 makes them as many


def places(n, k, p, s, d, a):
    """(tap, place, follower) of one axis, where there is an element."""
    found = []
    for o in range(p):
        for t in range(k):
            if 0 <= o * s + t * d - a < n:
                found.append((t, o, o * s + t * d - a))
    return found


def points(x, taps, out, options):
    axes = len(taps)
    each = [
        places(n, k, p, options["stride"], options.get("dilation", 1), options["padding"])
        for n, k, p in zip(x.shape[-axes:], taps, out, strict=True)
    ]
    for point in product(*each):
        yield tuple(zip(*point, strict=True))


def convolution(x, w, y_shape, gy, options):
    y, gx, gw = np.zeros(y_shape), np.zeros(x.shape), np.zeros(w.shape)
    for k, p, q in points(x, w.shape[2:], y_shape[2:], options):
        y[:, :, *p] += np.einsum("nc,oc->no", x[:, :, *q], w[:, :, *k])
        gx[:, :, *q] += np.einsum("no,oc->nc", gy[:, :, *p], w[:, :, *k])
        gw[:, :, *k] += np.einsum("no,nc->oc", gy[:, :, *p], x[:, :, *q])
    return y, gx, gw


def pooling(x, taps, y_shape, gy, options, maximum):
    y, gx = np.full(y_shape, -np.inf if maximum else 0.0), np.zeros(x.shape)
    best = {}
    count = np.prod(taps)
    for _, p, q in points(x, taps, y_shape[2:], options):
        for nc in np.ndindex(*x.shape[:2]):
            if not maximum:
                y[*nc, *p] += x[*nc, *q] / count
                gx[*nc, *q] += gy[*nc, *p] / count
            elif x[*nc, *q] > y[*nc, *p]:
                y[*nc, *p] = x[*nc, *q]
                best[*nc, *p] = q
    for at, q in best.items():
        gx[*at[:2], *q] += gy[at]
    return y, gx


def options_of(axes, dilated=True):
    """All of them on one axis, fewer on more."""
    dilations = LARGE if dilated else (1,)
    for stride, dilation, padding in product(LARGE, dilations, (0, 1, *LARGE[2:])):
        options = {"stride": stride, "padding": padding}
        yield options | ({"dilation": dilation} if dilated else {})


def sweep(axes):
    random = np.random.default_rng(axes)
    ran = 0
    for channels, out_channels, k, dtype in (
        (1, 1, 1, "f4"),
        (4, 2, 1, "f8"),
        (2, 5, 2, "f4"),
        (3, 9, 3, "f8"),
    ):
        extent = {1: (88,), 2: (5, 40), 3: (3, 4, 19)}[axes]
        x = random.standard_normal((1, channels, *extent)).astype(dtype)
        w = random.standard_normal((out_channels, channels, *(k,) * axes)).astype(dtype)
        # rounding of sums of at most 300 terms of about 1, far above it: a wrong point is off by about 1
        tolerance = 1e-4 if dtype == "f4" else 1e-10
        for name in (f"conv{axes}d", f"max_pool{axes}d", f"avg_pool{axes}d"):
            operator = getattr(kernels, name)
            second = w if name.startswith("conv") else (k,) * axes
            for options in options_of(axes, not name.startswith("avg")):
                try:
                    shape = operator.output_shape(x, second, **options)
                except kernels.KernelError:
                    continue
                if np.prod(shape) > MOST:
                    continue
                y, pullback = operator.vjp(x, second, **options)
                gy = random.standard_normal(shape).astype(dtype)
                gradients, pullback2 = pullback.vjp(gy)
                pullback2(*gradients)
                if name.startswith("conv"):
                    expected = convolution(x, w, shape, gy, options)
                else:
                    expected = pooling(x, second, shape, gy, options, name.startswith("max"))
                made = (y, *(g for g in gradients if g is not None))
                for have, want in zip(made, expected, strict=True):
                    np.testing.assert_allclose(have, want, tolerance, tolerance, err_msg=f"{name} {options}")
                ran += 1
    print(ran)


def test_one_place_on_each_axis():
    """Windows that slide: their copies were 2**64 scalars, or so, which a kernel took for few (it crashed)."""
    x, w = np.ones((1, 4, 10, 88)), np.ones((2, 4, 1, 1))
    assert kernels.conv2d(x, w, stride=5 * 10**8).ravel().tolist() == [4, 4]
    x = np.ones((2, 2, 3, 6, 6), np.float32)
    assert kernels.avg_pool3d(x, (2, 1, 1), stride=10**9).ravel().tolist() == [1] * 4


@pytest.mark.parametrize("axes", [1, *(pytest.param(axes, marks=pytest.mark.slow) for axes in (2, 3))])
def test_large_options_compute_what_there_is(axes):
    run = subprocess.run(
        [sys.executable, __file__, str(axes)], capture_output=True, text=True, timeout=1800, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert int(run.stdout) > 20


if __name__ == "__main__":
    sweep(int(sys.argv[1]))
