"""Every shipped operator against torch, over drawn configurations: results and derivatives.

Both sides work in float64; TOLERANCE covers sums of a few hundred terms of size 1.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import kernels
from kernels.errors import KernelError

torch = pytest.importorskip("torch", reason="a comparison with torch", exc_type=ImportError)
F = torch.nn.functional

pytestmark = [pytest.mark.slow, pytest.mark.external]

TOLERANCE = 1e-10
drawn = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
every_rank = pytest.mark.parametrize("axes", [1, 2, 3])


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


@every_rank
@drawn
@given(data=st.data())
def test_conv(axes, data):
    draw = data.draw
    groups = draw(st.integers(1, 3))
    inner, outer, n = draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    largest = (12, 7, 5)[axes - 1]
    extents, kernel = per_axis(draw, axes, 1, largest), per_axis(draw, axes, 1, 3)
    stride, dilation, pad = per_axis(draw, axes, 1, 4), per_axis(draw, axes, 1, 4), per_axis(draw, axes, 0, 3)
    assume(all(e + 2 * p > d * (k - 1) for e, p, d, k in zip(extents, pad, dilation, kernel, strict=True)))
    batch = (n,) if draw(st.booleans()) else ()
    x = draw(arrays(*batch, groups * inner, *extents))
    w = draw(arrays(groups * outer, inner, *kernel))
    b = draw(st.one_of(st.none(), arrays(groups * outer)))
    torch_conv = getattr(F, f"conv{axes}d")
    compare(
        getattr(kernels, f"conv{axes}d"),
        lambda x, w, b: torch_conv(x, w, b, stride, pad, dilation, groups),
        (x, w, b),
        {"stride": stride, "padding": pad, "dilation": dilation, "groups": groups},
    )


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # torch says that it copies the input
@every_rank
@drawn
@given(data=st.data())
def test_conv_with_other_padding(axes, data):
    """Asymmetric against a padded copy; "same" (in torch at stride 1 only) and "valid"."""
    draw = data.draw
    extents, kernel = per_axis(draw, axes, 3, 6), per_axis(draw, axes, 1, 3)
    x, w = draw(arrays(1, 2, *extents)), draw(arrays(2, 2, *kernel))
    torch_conv, conv = getattr(F, f"conv{axes}d"), getattr(kernels, f"conv{axes}d")
    pairs = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(axes))
    flat = [p for pair in reversed(pairs) for p in pair]
    compare(conv, lambda x, w, _: torch_conv(F.pad(x, flat), w), (x, w, None), {"padding": pairs})
    compare(conv, lambda x, w, _: torch_conv(x, w, padding="valid"), (x, w, None), {"padding": "valid"})
    compare(conv, lambda x, w, _: torch_conv(x, w, padding="same"), (x, w, None), {"padding": "same"})


@every_rank
@drawn
@given(data=st.data())
def test_max_pool(axes, data):
    draw = data.draw
    extents = per_axis(draw, axes, 1, (12, 7, 5)[axes - 1])
    kernel, stride, dilation = (
        per_axis(draw, axes, 1, 3),
        per_axis(draw, axes, 1, 4),
        per_axis(draw, axes, 1, 2),
    )
    ceil = draw(st.booleans())
    # torch allows padding up to half the window's cover; with dilation a window may then read padding alone,
    # of which torch's index is out of bounds, so only windows that surely meet the input are drawn.
    pad = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    batch = (2,) if draw(st.booleans()) else ()
    x = draw(arrays(*batch, 2, *extents, far=True))
    torch_pool, pool = getattr(F, f"max_pool{axes}d"), getattr(kernels, f"max_pool{axes}d")
    args = kernel, stride, pad, dilation, ceil
    try:
        want, at = torch_pool(torch.tensor(x), *args, return_indices=True)
    except RuntimeError as refused:
        if "Output size is too small" not in str(refused):
            raise
        with pytest.raises(KernelError):
            pool(x, *args)
        return
    assume(not torch.isinf(want).any())
    options = dict(zip(("kernel_size", "stride", "padding", "dilation", "ceil_mode"), args, strict=True))
    compare(pool, lambda x: torch_pool(x, *args), (x,), options)
    y, i = pool(x, *args, return_indices=True)
    close(y, want)
    np.testing.assert_array_equal(i, at.numpy())


@every_rank
@drawn
@given(data=st.data())
def test_max_pool_of_ties_and_nan(axes, data):
    """Which of equal maxima, and which NaN: torch's indices exactly."""
    draw = data.draw
    extents, kernel, stride = (
        per_axis(draw, axes, 2, 6),
        per_axis(draw, axes, 1, 3),
        per_axis(draw, axes, 1, 2),
    )
    assume(all(k <= e for k, e in zip(kernel, extents, strict=True)))
    pad = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    x = np.floor(draw(arrays(1, 2, *extents)))
    x[draw(arrays(1, 2, *extents)) > draw(st.sampled_from([0.5, 1.5, 9.0]))] = np.nan
    want, at = getattr(F, f"max_pool{axes}d")(torch.tensor(x), kernel, stride, pad, return_indices=True)
    y, i = getattr(kernels, f"max_pool{axes}d")(x, kernel, stride, pad, return_indices=True)
    np.testing.assert_array_equal(y, want.numpy())
    np.testing.assert_array_equal(i, at.numpy())


@every_rank
@drawn
@given(data=st.data())
def test_avg_pool(axes, data):
    draw = data.draw
    extents = per_axis(draw, axes, 1, (12, 7, 5)[axes - 1])
    kernel, stride = per_axis(draw, axes, 1, 4), per_axis(draw, axes, 1, 4)
    pad = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    ceil, include = draw(st.booleans()), draw(st.booleans())
    divisor = draw(st.sampled_from([None, 1, 5, -3])) if axes > 1 else None
    batch = (2,) if draw(st.booleans()) else ()
    x = draw(arrays(*batch, 2, *extents))
    torch_pool, pool = getattr(F, f"avg_pool{axes}d"), getattr(kernels, f"avg_pool{axes}d")
    args = (kernel, stride, pad, ceil, include, *([divisor] if axes > 1 else []))
    try:
        torch_pool(torch.tensor(x), *args)
    except RuntimeError as refused:
        assume(
            "smaller than kernel size" not in str(refused)
        )  # in 3-d torch refuses what ceil_mode would fit
        if "Output size is too small" not in str(refused):
            raise
        with pytest.raises(KernelError):
            pool(x, *args)
        return
    names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    compare(pool, lambda x: torch_pool(x, *args), (x,), dict(zip(names, args, strict=False)))


@every_rank
@drawn
@given(data=st.data())
def test_global_pools(axes, data):
    extents = per_axis(data.draw, axes, 1, 5)
    x = data.draw(arrays(2, 2, *extents, far=True))
    for name, sign in (("avg", 1), ("max", 1), ("min", -1)):
        torch_pool = getattr(F, f"adaptive_{name.replace('min', 'max')}_pool{axes}d")
        compare(
            getattr(kernels, f"global_{name}_pool"),
            lambda x, torch_pool=torch_pool, sign=sign: sign * torch_pool(sign * x, 1),
            (x,),
            {},
        )


@drawn
@given(data=st.data())
def test_linear(data):
    draw = data.draw
    lead = tuple(draw(st.lists(st.integers(1, 3), max_size=3)))
    inner, outer = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    b = draw(st.one_of(st.none(), arrays(outer)))
    compare(kernels.linear, F.linear, (draw(arrays(*lead, inner)), draw(arrays(outer, inner)), b), {})


@drawn
@given(data=st.data())
def test_relu_and_log_softmax(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    x = data.draw(arrays(*shape))
    compare(kernels.relu, F.relu, (x,), {})
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    compare(kernels.log_softmax, lambda x: F.log_softmax(x, dim), (10 * x,), {"dim": dim})


@drawn
@given(data=st.data())
def test_cross_entropy(data):
    draw = data.draw
    classes, rest = draw(st.integers(1, 5)), tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    n: tuple[int, ...] = (draw(st.integers(1, 4)),)
    if draw(st.booleans()):
        n = rest = ()
    x = 5 * draw(arrays(*n, classes, *rest))
    t = np.random.default_rng(draw(st.integers(0, 99))).integers(0, classes, (*n, *rest))
    reduction = draw(st.sampled_from(["mean", "sum", "none"]))
    compare(
        kernels.cross_entropy,
        lambda x, t: F.cross_entropy(x, t, reduction=reduction),
        (x, np.asarray(t)),
        {"reduction": reduction},
    )


@pytest.mark.parametrize(
    ("name", "args", "options"),
    [
        ("conv2d", [(1, 3, 5, 5), (2, 2, 3, 3)], {}),
        ("conv2d", [(1, 4, 5, 5), (3, 2, 3, 3)], {"groups": 2}),
        ("conv2d", [(1, 3, 2, 5), (2, 3, 3, 3)], {}),
        ("conv2d", [(5, 5), (2, 3, 3, 3)], {}),
        ("conv2d", [(1, 3, 5, 5), (2, 3, 3, 3), (3,)], {}),
        ("conv2d", [(1, 3, 5, 5), (2, 3, 3, 3)], {"stride": 0}),
        ("conv2d", [(1, 3, 5, 5), (2, 3, 3, 3)], {"padding": -1}),
        ("conv2d", [(1, 3, 5, 5), (2, 3, 3, 3)], {"dilation": (1, 2, 3)}),
        ("max_pool2d", [(1, 3, 5, 5)], {"kernel_size": 6}),
        ("max_pool2d", [(1, 3, 5, 5)], {"kernel_size": 2, "padding": 2}),
        ("max_pool2d", [(1, 3, 5, 0)], {"kernel_size": 1}),
        ("max_pool2d", [(1, 3, 5, 5)], {"kernel_size": 2, "stride": 0}),
        ("avg_pool2d", [(1, 3, 5, 5)], {"kernel_size": 3, "padding": 2}),
        ("avg_pool2d", [(1, 3, 5, 5)], {"kernel_size": 3, "divisor_override": 0}),
        ("linear", [(2, 3), (4, 5)], {}),
        ("log_softmax", [(2, 3)], {"dim": 2}),
    ],
)
def test_what_torch_refuses_we_refuse(name, args, options):
    shapes = [np.ones(shape) for shape in args]
    with pytest.raises((RuntimeError, IndexError)):
        getattr(F, name)(*map(torch.tensor, shapes), **options)
    with pytest.raises(KernelError, match=f"^{name}: "):
        getattr(kernels, name)(*shapes, **options)


def test_arguments_are_torch_s():
    """Names, order and defaults, for the operators that torch documents in Python."""
    import inspect

    for name in ("cross_entropy", "relu"):
        theirs = [n for n in inspect.signature(getattr(F, name)).parameters if n != "inplace"]
        assert list(inspect.signature(getattr(kernels, name)).parameters)[: len(theirs)] == theirs


def test_a_tensor_is_taken_and_one_with_gradient_refused():
    x = torch.ones(1, 1, 4, dtype=torch.float64)
    assert isinstance(kernels.relu(x), np.ndarray)
    with pytest.raises(TypeError, match=r"relu: `input` \(Tensor\) does not become an array"):
        kernels.relu(x.requires_grad_())
