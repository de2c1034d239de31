"""Every operator beside torch over random configurations, results and every derivative; and where rounding or kinks decide.

A configuration comes from one integer (tests/external/drawn.py). Where they disagree the specification decides, which
is the operator's docstring; what is theirs is in docs/differences.md.
"""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from kernels.errors import KernelError

torch = pytest.importorskip("torch", reason="a comparison with torch", exc_type=ImportError)

from tests.external import drawn  # noqa: E402
from tests.external.draw import WITHOUT_SECOND  # noqa: E402

F = torch.nn.functional

pytestmark = [pytest.mark.slow, pytest.mark.external]


@pytest.mark.parametrize("name", drawn.DRAWS, ids=lambda name: name.replace(" ", "_"))
def test_drawn(name, count):
    tallies = list(drawn.run(name))
    for found in tallies:
        count(found)
    for found in tallies:
        found.check()
    assert any(found.passed for found in tallies)


def test_the_same_integer_gives_the_same_call():
    for name in drawn.DRAWS:
        (a, _), (b, strided) = drawn.drawn(name, 3), drawn.drawn(name, 3)
        assert str(a) == str(b)
        for key, array in a.arrays.items():
            np.testing.assert_array_equal(array, b.arrays[key])
            np.testing.assert_array_equal(array, strided[key])


def test_every_operator_is_drawn():
    """Those too that an option chooses; what is not has a reason."""
    calls = (drawn.drawn(name, seed)[0] for name in drawn.DRAWS for seed in range(drawn.COUNT))
    assert set(kernels.OPERATORS) - {drawn.reached(call) for call in calls} == drawn.NOT_DRAWN.keys()


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


# ---- kinks, overflow, cancellation

INF, NAN = float("inf"), float("nan")
ACTIVATIONS = [
    ("leaky_relu", {"negative_slope": 0.2}),
    ("elu", {"alpha": 1.3}),
    ("celu", {"alpha": 0.5}),
    ("selu", {}),
    ("gelu", {"approximate": "none"}),
    ("gelu", {"approximate": "tanh"}),
    ("sigmoid", {}),
    ("silu", {}),
    ("tanh", {}),
    ("erf", {}),
    ("softplus", {"beta": 2.0, "threshold": 5.0}),
    ("logsigmoid", {}),
    ("mish", {}),
    ("hardtanh", {"min_val": -0.5, "max_val": 0.7}),
    ("relu6", {}),
    ("hardswish", {}),
    ("hardsigmoid", {}),
    ("hardshrink", {"lambd": 0.7}),
    ("softshrink", {"lambd": 0.7}),
    ("softsign", {}),
    ("tanhshrink", {}),
    ("threshold", {"threshold": 0.7, "value": -2.0}),
]


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


@pytest.mark.parametrize(("name", "options"), ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_out_and_at_kinks(name, options, dtype):
    """Value, first and second derivative where exp overflows and at every kink; what differs is named in `OURS`."""
    points = [*(1000.0, 100.0, 88.0, 40.0, 19.0, 6.0, 3.0, 1.0, 0.7, 1e-9, 0.0), -0.0, -1e-9]
    points += [-p for p in points if p > 1e-9] + [-0.5, INF, -INF, NAN]
    x = np.array(points, dtype)
    t = torch.tensor(x, requires_grad=True)
    want = getattr(F, name, getattr(torch, name, None))(t, **options)
    (first,) = torch.autograd.grad(want.sum(), t, create_graph=True)
    second = torch.zeros_like(t)
    if first.requires_grad and name not in WITHOUT_SECOND:
        second = torch.autograd.grad(first.sum(), t)[0]
    y, pullback = getattr(kernels, name).vjp(x, **options)
    (g,), again = pullback.vjp(np.ones_like(x))
    h = again(np.ones_like(x))[1]
    # a few units of rounding of what is added up on the way; torch has a sixth with the digits of a float
    small = 1e-6 if dtype == np.float32 else 1e-7 if name == "hardsigmoid" else 1e-14
    for order, (ours, theirs) in enumerate([(y, want), (g, first), (h, second)]):
        for at, a, b in zip(points, ours, theirs.detach().numpy(), strict=True):
            if not any(n == name and k == order and where(at) for n, k, where in OURS):
                np.testing.assert_allclose(
                    a, b, rtol=small, atol=small, err_msg=f"{name} order {order} at {at}"
                )


OURS = [  # (activation, order of the derivative, where) at which torch and we differ
    *((name, 1, np.isnan) for name in ("elu", "celu", "selu")),  # NaN stays NaN; torch has 1, or a scale
    *(
        (name, 2, lambda x: np.isnan(x) or x == 0) for name in ("elu", "celu", "selu")
    ),  # at 0 ours is that of the piece below
    ("gelu", 0, lambda x: x == INF),  # infinity; torch has NaN in float32, of tanh's
    ("hardswish", 0, lambda x: x == -INF),  # 0; torch has NaN
    ("hardswish", 1, np.isnan),  # NaN; torch has 1
    ("hardswish", 2, np.isnan),
    ("mish", 2, lambda x: x >= 88),  # 0; torch has NaN
    ("hardsigmoid", 1, np.isnan),  # a sixth; torch has 0
    *(("softsign", order, np.isinf) for order in range(3)),  # 1 and -1, with slope 0; torch has NaN
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
        np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-13)  # sums of 15 terms
    np.testing.assert_array_equal((m, v), before)


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
