"""The other pooling operators against torch, where it has them, and against windows that torch gathers, where not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kernels
from tests.support.beside_torch import arrays, close, compare, per_axis

torch = pytest.importorskip("torch", reason="a comparison with torch", exc_type=ImportError)
F = torch.nn.functional

pytestmark = [pytest.mark.slow, pytest.mark.external]

drawn = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
every_rank = pytest.mark.parametrize("axes", [1, 2, 3])


@st.composite
def windows(draw, axes, padded=True):
    """An input's extents and the options of windows over it; every window holds an entry."""
    kernel, stride = per_axis(draw, axes, 1, 3), per_axis(draw, axes, 1, 3)
    dilation = per_axis(draw, axes, 1, 2)
    extents = tuple(
        draw(st.integers(max(2, d * (k - 1) + 1), 7)) for k, d in zip(kernel, dilation, strict=True)
    )
    pad = tuple(draw(st.integers(0, k // 2)) for k in kernel) if padded else (0,) * axes
    return extents, {"kernel_size": kernel, "stride": stride, "padding": pad, "dilation": dilation}


def gathered(x, kernel_size, stride, padding, dilation, fill=0.0):
    """(N, C, *positions, taps)"""
    axes = len(kernel_size)
    x = F.pad(x, [p for pad in reversed(padding) for p in (pad, pad)], value=fill)
    shape = []
    for axis, (k, s, d) in enumerate(zip(kernel_size, stride, dilation, strict=True), start=2):
        count = (x.shape[axis] - d * (k - 1) - 1) // s + 1
        at = torch.arange(count)[:, None] * s + torch.arange(k) * d
        x = x.index_select(axis, at.flatten())
        shape += [count, k]
    order = (0, 1, *range(2, 2 + 2 * axes, 2), *range(3, 3 + 2 * axes, 2))
    return x.reshape(*x.shape[:2], *shape).permute(order).flatten(2 + axes)


def softmax_weighted(x, **window):
    weights = torch.softmax(gathered(x, **window, fill=-math.inf), -1)
    return (gathered(x, **window) * weights).sum(-1)


@every_rank
@drawn
@given(data=st.data())
def test_adaptive(axes, data):
    extents, sizes = per_axis(data.draw, axes, 1, 7), per_axis(data.draw, axes, 1, 9)
    x = data.draw(arrays(*((2,) if data.draw(st.booleans()) else ()), 2, *extents, far=True))
    for what in ("avg", "max"):
        name = f"adaptive_{what}_pool{axes}d"
        compare(
            getattr(kernels, name), lambda x, f=getattr(F, name): f(x, sizes), (x,), {"output_size": sizes}
        )
    y, i = getattr(kernels, f"adaptive_max_pool{axes}d")(x, sizes, return_indices=True)
    want, at = getattr(F, f"adaptive_max_pool{axes}d")(torch.tensor(x), sizes, return_indices=True)
    close(y, want)
    close(i, at)


@every_rank
@drawn
@given(data=st.data())
def test_lp_pool(axes, data):
    """torch's of |x|, since it raises x itself to a power."""
    extents, options = data.draw(windows(axes, padded=False))
    options = {name: options[name] for name in ("kernel_size", "stride")}
    x = data.draw(arrays(2, 2, *extents))
    norm = data.draw(st.sampled_from([1, 1.5, 2, 3.0, math.inf]))
    pool, largest = getattr(F, f"lp_pool{axes}d"), getattr(F, f"max_pool{axes}d")
    kernel, stride = options["kernel_size"], options["stride"]
    first = lambda value: value[0] if axes == 1 else value  # of sequences F.lp_pool1d takes none

    def reference(x):
        if norm == math.inf:
            return largest(abs(x), kernel, stride)
        return pool(abs(x), norm, first(kernel), first(stride))

    compare(getattr(kernels, f"lp_pool{axes}d"), reference, (x,), {"norm_type": norm, **options})


@every_rank
@drawn
@given(data=st.data())
def test_soft(axes, data):
    extents, window = data.draw(windows(axes))
    x, temperature = data.draw(arrays(2, 2, *extents)), data.draw(st.sampled_from([0.25, 1.0, 3.0]))
    lse = lambda x: temperature * torch.logsumexp(gathered(x, **window, fill=-math.inf) / temperature, -1)
    count = gathered(torch.ones(1, 1, *extents, dtype=torch.float64), **window).sum(-1)
    options = {**window, "temperature": temperature}
    compare(getattr(kernels, f"log_sum_exp_pool{axes}d"), lse, (x,), options)
    mean = lambda x: lse(x) - temperature * torch.log(count)
    compare(getattr(kernels, f"log_mean_exp_pool{axes}d"), mean, (x,), options)
    compare(getattr(kernels, f"soft_pool{axes}d"), lambda x: softmax_weighted(x, **window), (x,), window)


@every_rank
@drawn
@given(data=st.data())
def test_picked(axes, data):
    """Entries that an order or a sample picks."""
    extents, window = data.draw(windows(axes))
    x = data.draw(arrays(2, 2, *extents, far=True))
    largest = getattr(F, f"max_pool{axes}d")
    order = [window[name] for name in ("kernel_size", "stride", "padding", "dilation")]
    compare(getattr(kernels, f"min_pool{axes}d"), lambda x: -largest(-x, *order), (x,), window)
    extents, window = data.draw(windows(axes, padded=False))
    x = data.draw(arrays(2, 2, *extents, far=True))
    median = lambda x: gathered(x, **window).median(-1).values
    compare(getattr(kernels, f"median_pool{axes}d"), median, (x,), window)

    def expected(x):
        entries = F.relu(gathered(x, **window))
        total = entries.sum(-1)
        return (entries**2).sum(-1) / torch.where(total > 0, total, 1)

    compare(getattr(kernels, f"stochastic_pool{axes}d_mean"), expected, (x,), window)

    def one(x, u):
        entries = F.relu(gathered(x, **window))
        sums = entries.cumsum(-1)
        reached = (sums >= u[..., None] * sums[..., -1:]) & (entries > 0)
        at = reached.to(torch.float64).argmax(-1, keepdim=True)
        return entries.gather(-1, at)[..., 0] + 0 * u

    u = data.draw(arrays(*gathered(torch.tensor(x), **window).shape[:-1]))
    compare(getattr(kernels, f"stochastic_pool{axes}d"), one, (x, u % 1), window)


@every_rank
@drawn
@given(data=st.data())
def test_ties(axes, data):
    """torch.amax shares among equal entries."""
    extents, window = data.draw(windows(axes))
    x = np.rint(data.draw(arrays(2, 2, *extents)))
    reference = lambda x: gathered(x, **window, fill=-math.inf).amax(-1)
    options = {**window, "ties": "split"}
    leaf = torch.tensor(x, requires_grad=True)
    want = reference(leaf)
    y, pullback = getattr(kernels, f"max_pool{axes}d").vjp(x, **options)
    close(y, want)
    gy = np.random.default_rng(0).standard_normal(y.shape)
    close(pullback(gy)[0], torch.autograd.grad(want, leaf, torch.tensor(gy))[0])


@pytest.mark.parametrize("axes", [2, 3])
@drawn
@given(data=st.data())
def test_fractional(axes, data):
    kernel, sizes = per_axis(data.draw, axes, 1, 3), per_axis(data.draw, axes, 1, 4)
    least = axes - 3  # torch's 3-d one takes no input that its windows just fill
    extents = tuple(
        data.draw(st.integers(k + m + least, k + m + 5)) for k, m in zip(kernel, sizes, strict=True)
    )
    batched = data.draw(st.booleans())
    x = data.draw(arrays(*((2,) if batched else ()), 2, *extents, far=True))
    u = np.random.default_rng(len(x)).uniform(size=(2 if batched else 1, 2, axes))
    pool = getattr(F, f"fractional_max_pool{axes}d")
    operator = getattr(kernels, f"fractional_max_pool{axes}d")
    ours, at = operator(x, u, kernel, sizes, return_indices=True)
    want, places = pool(torch.tensor(x), kernel, sizes, return_indices=True, _random_samples=torch.tensor(u))
    close(ours, want)
    close(at, places)
    y, pullback = operator.vjp(x, u, kernel, sizes)
    leaf = torch.tensor(x, requires_grad=True)
    want = pool(leaf, kernel, sizes, _random_samples=torch.tensor(u))
    (g,) = torch.autograd.grad(want, leaf, torch.tensor(y))
    close(pullback(y)[0], g)
    assert not pullback(y)[1].any()


@every_rank
@drawn
@given(data=st.data())
def test_unpool(axes, data):
    """Of windows side by side with every derivative; of windows that overlap torch's result alone, since its gradient
    is that of nothing."""
    kernel = per_axis(data.draw, axes, 1, 3)
    stride = tuple(data.draw(st.integers(1, k)) for k in kernel)
    extents = tuple(data.draw(st.integers(k, k + 4)) for k in kernel)
    x = data.draw(arrays(2, 2, *extents, far=True))
    unpool, operator = getattr(F, f"max_unpool{axes}d"), getattr(kernels, f"max_unpool{axes}d")
    for step in (kernel, stride):
        y, i = getattr(F, f"max_pool{axes}d")(torch.tensor(x), kernel, step, return_indices=True)
        options = {"kernel_size": kernel, "stride": step, "output_size": extents}
        if step == kernel:
            compare(operator, lambda y, i, o=options: unpool(y, i, **o), (y.numpy(), i.numpy()), options)
        else:
            close(operator(y.numpy(), i.numpy(), **options), unpool(y, i, **options))


def test_whole_planes():
    x = np.random.default_rng(0).standard_normal((2, 3, 3, 4))
    flat = lambda x: x.flatten(2)
    for name, reference, options in [
        ("lp_pool", lambda x: torch.linalg.vector_norm(flat(x), 3, -1), {"norm_type": 3}),
        ("lp_pool", lambda x: torch.linalg.vector_norm(flat(x), 2, -1), {}),
        ("lp_pool", lambda x: torch.linalg.vector_norm(flat(x), math.inf, -1), {"norm_type": math.inf}),
        ("log_sum_exp_pool", lambda x: torch.logsumexp(flat(x) / 2, -1) * 2, {"temperature": 2}),
        ("log_mean_exp_pool", lambda x: torch.logsumexp(flat(x), -1) - math.log(12), {}),
        ("soft_pool", lambda x: (flat(x) * torch.softmax(flat(x), -1)).sum(-1), {}),
        ("median_pool", lambda x: flat(x).median(-1).values, {}),
    ]:
        shaped = lambda x, f=reference: f(x)[..., None, None]
        compare(getattr(kernels, f"global_{name}"), shaped, (x,), options)
