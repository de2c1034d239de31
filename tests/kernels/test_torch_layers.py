"""Activations, norms, losses and images against torch: results, gradients, gradients of gradients, tangents.

Both sides work in float64; TOLERANCE covers sums of a few hundred terms of size 1.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest

import kernels

torch = pytest.importorskip("torch", reason="a comparison with torch", exc_type=ImportError)
F = torch.nn.functional

pytestmark = [pytest.mark.slow, pytest.mark.external]

TOLERANCE = 1e-10
INF, NAN = float("inf"), float("nan")


def close(ours, theirs):
    theirs = theirs.detach().numpy(force=True)  # of a zero that torch does not store, too
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)


def compare(name, arrays, options=None, theirs=None, fixed=(), second=True, extra=()):
    """`arrays` by name, `fixed` those that torch does not differentiate, `extra` what torch takes beside them."""
    rng, operator = np.random.default_rng(5), getattr(kernels, name)
    theirs = partial(theirs or getattr(F, name), **(options or {}), **dict(extra))
    varied = [n for n, a in arrays.items() if a is not None and a.dtype.kind == "f" and n not in fixed]
    tensors = {
        n: None if a is None else torch.tensor(a, requires_grad=n in varied) for n, a in arrays.items()
    }
    leaves = [tensors[n] for n in varied]
    want = theirs(**tensors)
    y, pullback = operator.vjp(**arrays, **(options or {}), wrt=varied)
    close(y, want)

    gy = rng.standard_normal(y.shape)
    t_gy = torch.tensor(gy, requires_grad=True)
    theirs_first = torch.autograd.grad(want, leaves, t_gy, create_graph=True)
    gradients, back = pullback.vjp(gy, wrt=("grad_output", *varied))
    for ours, other in zip(gradients, theirs_first, strict=True):
        close(ours, other)

    cotangents = [rng.standard_normal(arrays[n].shape) for n in varied]
    if second:
        total = sum((g * torch.tensor(h)).sum() for g, h in zip(theirs_first, cotangents, strict=True))
        theirs_second = torch.autograd.grad(total, [t_gy, *leaves], allow_unused=True)
        for ours, other, leaf in zip(back(*cotangents), theirs_second, [t_gy, *leaves], strict=True):
            close(ours, torch.zeros_like(leaf) if other is None else other)

        def of_leaves(*values):
            return theirs(**{**tensors, **dict(zip(varied, values, strict=True))})

        _, theirs_tangent = torch.autograd.functional.jvp(
            of_leaves, tuple(leaves), tuple(torch.tensor(h) for h in cotangents)
        )
        given = dict(zip(varied, cotangents, strict=True))
        names = list(operator.adapter.tensors)
        primals = tuple(arrays.get(n) for n in names)
        others = {n: a for n, a in arrays.items() if n not in names}  # arrays of a variant alone
        _, ty = operator.jvp(primals, tuple(given.get(n) for n in names), **others, **(options or {}))
        close(ty, theirs_tangent)


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


# ---- activations

ACTIVATIONS: list[tuple[str, dict[str, Any]]] = [
    ("leaky_relu", {"negative_slope": 0.2}),
    ("elu", {"alpha": 1.3}),
    ("gelu", {"approximate": "none"}),
    ("gelu", {"approximate": "tanh"}),
    ("sigmoid", {}),
    ("silu", {}),
    ("tanh", {}),
    ("softplus", {"beta": 2.0, "threshold": 5.0}),
    ("logsigmoid", {}),
    ("mish", {}),
    ("hardtanh", {"min_val": -0.5, "max_val": 0.7}),
    ("relu6", {}),
    ("hardswish", {}),
    ("softmax", {"dim": 1}),
]


@pytest.mark.parametrize(("name", "options"), ACTIVATIONS)
def test_activations(name, options):
    def torch_activation(input, **options):  # some of torch's know no keywords
        return getattr(F, name)(input, **options)

    # torch's second derivative of softplus is not that of its first where the threshold cuts it off
    second = name != "softplus"
    compare(name, {"input": 3 * normal(2, 4, 5)}, options, torch_activation, second=second)


@pytest.mark.parametrize(("shape", "count"), [((2, 4, 5), 4), ((2, 4, 5), 1), ((6,), 1), ((3, 4), 4)])
def test_prelu(shape, count):
    compare(
        "prelu",
        {"input": normal(*shape), "weight": normal(count)},
        theirs=lambda input, weight: F.prelu(input, weight),
    )


@pytest.mark.parametrize(("name", "options"), [a for a in ACTIVATIONS if a[0] != "softmax"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_out_and_at_kinks(name, options, dtype):
    """Value, first and second derivative where exp overflows and at every kink; what differs is named in `OURS`."""
    points = [*(1000.0, 100.0, 88.0, 40.0, 19.0, 6.0, 3.0, 1.0, 0.7, 1e-9, 0.0), -0.0, -1e-9]
    points += [-p for p in points if p > 1e-9] + [-0.5, INF, -INF, NAN]
    x = np.array(points, dtype)
    t = torch.tensor(x, requires_grad=True)
    want = getattr(F, name)(t, **options)
    (first,) = torch.autograd.grad(want.sum(), t, create_graph=True)
    second = torch.autograd.grad(first.sum(), t)[0] if first.requires_grad else torch.zeros_like(t)
    y, pullback = getattr(kernels, name).vjp(x, **options)
    (g,), again = pullback.vjp(np.ones_like(x))
    h = again(np.ones_like(x))[1]
    small = 1e-6 if dtype == np.float32 else 1e-14  # a few units of rounding of what is added up on the way
    for order, (ours, theirs) in enumerate([(y, want), (g, first), (h, second)]):
        for at, a, b in zip(points, ours, theirs.detach().numpy(), strict=True):
            if not any(n == name and k == order and where(at) for n, k, where in OURS):
                np.testing.assert_allclose(
                    a, b, rtol=small, atol=small, err_msg=f"{name} order {order} at {at}"
                )


OURS = [  # (activation, order of the derivative, where) at which torch and we differ
    ("elu", 1, np.isnan),  # NaN stays NaN; torch has 1
    ("elu", 2, lambda x: np.isnan(x) or x == 0),  # at 0 ours is that of the piece below; torch has 0
    ("hardswish", 0, lambda x: x == -INF),  # 0; torch has NaN
    ("hardswish", 1, np.isnan),  # NaN; torch has 1
    ("hardswish", 2, np.isnan),
    ("mish", 2, lambda x: x >= 88),  # 0; torch has NaN
    ("softplus", 2, lambda x: 2 * x == 40 or 2 * x > 5),  # above the threshold it is linear; torch's is not
]


def test_softmax_of_large_logits():
    """Logits near 1000 in float32: the maximum is subtracted first, as in torch, so no digit is lost."""
    x = (1000 + normal(4, 7)).astype(np.float32)
    want = torch.softmax(torch.tensor(x), 1).numpy()
    np.testing.assert_allclose(kernels.softmax(x, 1), want, rtol=1e-6)
    np.testing.assert_array_equal(kernels.softmax(np.array([INF, 1.0]), 0), [NAN, 0.0])  # torch: NaN twice
    for row in ([-INF, -INF], [NAN, 1.0], [-INF, 1.0]):
        want = torch.softmax(torch.tensor(row, dtype=torch.float64), 0).numpy()
        np.testing.assert_array_equal(kernels.softmax(np.array(row), 0), want)


# ---- norms


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (2, 3, 4, 5)])
def test_batch_norm(shape, affine):
    c = shape[1]
    m, v = normal(c, seed=1), np.abs(normal(c, seed=2)) + 0.1
    wb = {"weight": normal(c, seed=3), "bias": normal(c, seed=4)} if affine else {}
    running = {"running_mean": m, "running_var": v}
    compare("batch_norm", {"input": normal(*shape), **running, **wb}, {"eps": 0.01}, fixed=running)
    none = {"running_mean": None, "running_var": None}
    compare("batch_norm", {"input": normal(*shape), **none, **wb}, {"training": True})


@pytest.mark.parametrize("name", ["batch_norm", "instance_norm"])
def test_running_statistics(name):
    """New ones, equal to what torch leaves in its arguments; ours are not written to."""
    x, m, v = normal(3, 4, 5), normal(4), np.abs(normal(4, seed=1))
    before = m.copy(), v.copy()
    training = {"training": True} if name == "batch_norm" else {}
    y, mean, var = getattr(kernels, name)(x, m, v, momentum=0.3, **training)
    their_mean, their_var = torch.tensor(m), torch.tensor(v)
    want = getattr(F, name)(torch.tensor(x), their_mean, their_var, momentum=0.3, **training)
    for ours, theirs in zip((y, mean, var), (want, their_mean, their_var), strict=True):
        close(ours, theirs)
    np.testing.assert_array_equal((m, v), before)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("shape", "row"), [((4, 5), (5,)), ((2, 3, 4), (3, 4)), ((6,), (6,))])
def test_layer_and_rms_norm(shape, row, affine):
    x, w, b = normal(*shape), normal(*row, seed=1), normal(*row, seed=2)
    wb = {"weight": w, "bias": b} if affine else {}
    compare("layer_norm", {"input": x, **wb}, {"normalized_shape": row, "eps": 0.01})
    w_only = {"weight": w} if affine else {}
    compare("rms_norm", {"input": x, **w_only}, {"normalized_shape": row, "eps": 0.01})
    for dtype in (np.float32, np.float64):
        tiny = (1e-5 * x).astype(dtype)  # the default eps shows
        want = F.rms_norm(torch.tensor(tiny), row).numpy()
        np.testing.assert_allclose(kernels.rms_norm(tiny, row), want, rtol=1e-5)


@pytest.mark.parametrize("affine", [True, False])
def test_group_and_instance_norm(affine):
    x, wb = normal(2, 6, 3, 4), {"weight": normal(6), "bias": normal(6, seed=1)} if affine else {}
    for groups in (1, 2, 6):
        compare("group_norm", {"input": x, **wb}, {"num_groups": groups})
    compare("instance_norm", {"input": x, **wb})


@pytest.mark.parametrize("size", [1, 2, 3, 9])
def test_local_response_norm(size):
    compare(
        "local_response_norm",
        {"input": normal(2, 5, 4)},
        {"size": size, "alpha": 0.3, "beta": 0.6, "k": 1.5},
    )


def test_a_variance_that_cancels():
    """A mean of a million and a variance of one, in float32: the squares alone have no digit left of it."""
    x = (1e6 + normal(2, 3, 50)).astype(np.float32)
    want = F.layer_norm(torch.tensor(x.astype(np.float64)), (50,)).numpy()
    np.testing.assert_allclose(kernels.layer_norm(x, 50), want, atol=0.07)  # x is rounded to 1/16
    y, mean, var = kernels.batch_norm(
        x, np.zeros(3, np.float32), np.zeros(3, np.float32), training=True, momentum=1
    )
    np.testing.assert_allclose(var, x.astype(np.float64).var((0, 2), ddof=1), rtol=1e-2)
    assert y.shape == x.shape
    assert (mean > 9e5).all()


# ---- losses

REDUCTIONS = ("mean", "sum", "none")


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mse_loss", {}),
        ("l1_loss", {}),
        ("smooth_l1_loss", {"beta": 0.7}),
        ("smooth_l1_loss", {"beta": 0.0}),
        ("huber_loss", {"delta": 0.7}),
    ],
)
def test_losses_of_elements(name, options, reduction):
    compare(
        name, {"input": normal(3, 4), "target": normal(3, 4, seed=1)}, {**options, "reduction": reduction}
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weights", [(), ("weight",), ("pos_weight",), ("weight", "pos_weight")])
@pytest.mark.parametrize("last", [(3, 4), (4,)])
def test_binary_cross_entropy(reduction, weights, last):
    random = np.random.default_rng(0).random
    given = {"weight": random((3, 4)), "pos_weight": random(last) + 0.5}
    arrays = {"input": 3 * normal(3, 4), "target": random((3, 4)), **{n: given[n] for n in weights}}
    compare("binary_cross_entropy_with_logits", arrays, {"reduction": reduction}, fixed=weights)
    far = {"input": np.array([1000.0, -1000.0, 0.0]), "target": np.array([0.0, 1.0, 0.5])}
    compare("binary_cross_entropy_with_logits", far, {"reduction": reduction})


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(5, 4), (2, 4, 3), (4,)])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("ignore", [-100, 2])
def test_classes(reduction, shape, weighted, ignore):
    rng = np.random.default_rng(0)
    target = rng.integers(0, 4, (shape[0], *shape[2:]) if len(shape) > 1 else ())
    if target.size > 1:
        target.flat[1] = ignore
    weight = {"weight": rng.random(4) + 0.1} if weighted else {}
    arrays = {"input": normal(*shape), "target": target, **weight}
    options = {"reduction": reduction, "ignore_index": ignore}
    compare("nll_loss", arrays, options, fixed=("weight",), second=target.ndim < 2 or reduction != "none")
    for smoothing in (0.0, 0.3):
        compare("cross_entropy", arrays, {**options, "label_smoothing": smoothing}, fixed=("weight",))
    probabilities = {**arrays, "target": rng.random(shape)}
    options = {"reduction": reduction, "label_smoothing": 0.3}
    compare("cross_entropy", probabilities, options, fixed=("weight",))


# ---- images


@pytest.mark.parametrize(
    ("spatial", "mode"),
    [
        ((7,), "linear"),
        ((7, 5), "bilinear"),
        ((4, 5, 3), "trilinear"),
        ((7, 5), "bicubic"),
        ((1, 4), "bicubic"),
        ((7,), "nearest"),
        ((7, 5), "nearest"),
        ((4, 5, 3), "nearest"),
        ((7, 5), "nearest-exact"),
    ],
)
def test_interpolate(spatial, mode):
    axes, x = len(spatial), normal(2, 2, *spatial)
    sizes: list[dict[str, Any]] = [{"size": s[:axes]} for s in [(9, 4, 6), (1, 11, 2), (3, 1, 5)]]
    sizes += [
        {"scale_factor": 2.0},
        {"scale_factor": (1.5, 1.7, 3.0)[:axes]},
        {"scale_factor": (1.3, 0.6, 1.4)[:axes]},
    ]
    sizes += [{"scale_factor": (1.3, 1.7, 3.0)[:axes], "recompute_scale_factor": True}]
    if mode not in (
        "nearest",
        "bicubic",
    ):  # where the size stays, torch's gradient of these is not that of its result
        sizes += [{"scale_factor": (1.1, 1.01, 1.2)[:axes]}]
    for size, aligned in product(sizes, (None, False, True) if "near" not in mode else (None,)):
        compare("interpolate", {"input": x}, {**size, "mode": mode, "align_corners": aligned})


def test_shuffles():
    up, down = normal(2, 8, 3, 5), normal(2, 3, 6, 4)
    compare(
        "pixel_shuffle",
        {"input": up},
        {"upscale_factor": 2},
        lambda input, upscale_factor: F.pixel_shuffle(input, 2),
    )
    compare(
        "pixel_unshuffle",
        {"input": down},
        {"downscale_factor": 2},
        lambda input, downscale_factor: F.pixel_unshuffle(input, 2),
    )


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    ("shape", "pad"),
    [
        ((2, 3, 6), (1, 2)),
        ((2, 3, 5, 6), (1, 2, 0, 3)),
        ((2, 3, 4, 5, 6), (1, 2, 0, 3, 1, 1)),
        ((3, 6), (5, 0)),
    ],
)
def test_pad_by_folding(mode, shape, pad):
    compare("pad", {"input": normal(*shape)}, {"pad": pad, "mode": mode})


@pytest.mark.parametrize("value", [None, 2.5])
@pytest.mark.parametrize(
    ("shape", "pad"),
    [
        ((6,), (1, 2)),
        ((2, 3, 5, 6), (1, 2, 0, 3, 1, 0)),
        ((2, 3, 4, 5, 6), (1, -2, -1, 3, 1, 1)),
        ((2, 3, 4, 5), (0, 0, 1, 1, 0, 0, 2, 1)),
        ((3, 4, 5), (-3, 2)),
        ((3, 4), (0, 0)),
        ((3, 4), (-4, 2)),
    ],
)
def test_pad_by_a_constant(shape, pad, value):
    compare("pad", {"input": normal(*shape)}, {"pad": pad, "value": value})
