"""`kernels` in JAX: gradients and gradients of gradients by JAX's own checker, in and out of jit."""

from __future__ import annotations

import numpy as np
import pytest

import kernels

jax = pytest.importorskip("jax", reason="an example that needs JAX", exc_type=ImportError)
pytestmark = pytest.mark.external


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def arrays(*shapes):
    rng = np.random.default_rng(0)
    return tuple(jax.numpy.asarray(rng.standard_normal(s)) for s in shapes)


@pytest.mark.parametrize(
    ("name", "shapes", "options"),
    [
        ("conv2d", [(2, 4, 6, 5), (6, 2, 3, 2), (6,)], {"stride": 2, "padding": ((1, 0), (0, 1)), "groups": 2}),
        ("conv2d", [(1, 2, 4, 4), (1, 2, 3, 3)], {}),
        ("max_pool2d", [(1, 2, 5, 5)], {"kernel_size": 2}),
        ("log_softmax", [(3, 4)], {"dim": 0}),
    ],
)  # fmt: skip
def test_gradients_of_both_orders(name, shapes, options):
    from jax.test_util import check_grads

    from examples.jax_layer import differentiable

    layer, inputs = differentiable(getattr(kernels, name), **options), arrays(*shapes)
    check_grads(layer, inputs, order=2, modes=["rev"])
    check_grads(jax.jit(layer), inputs, order=2, modes=["rev"])


def test_integer_target():
    from examples.jax_layer import differentiable

    (scores,) = arrays((4, 3))
    target = jax.numpy.asarray([0, 2, 1, 2])
    ours = differentiable(kernels.cross_entropy)

    def theirs(scores, target):
        return -jax.nn.log_softmax(scores)[jax.numpy.arange(4), target].mean()

    for order in (lambda f: f, jax.grad, lambda f: jax.jacrev(jax.grad(f))):
        np.testing.assert_allclose(order(ours)(scores, target), order(theirs)(scores, target), atol=1e-14)


def test_main(capsys):
    from examples.jax_layer import main

    main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all(float(line.split(" by ")[1].split()[0]) < 1e-12 for line in lines)
