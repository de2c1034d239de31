"""`kernels` in torch: gradients and gradients of gradients by torch's own checker."""

from __future__ import annotations

import numpy as np
import pytest

import kernels

torch = pytest.importorskip("torch", reason="an example that needs torch", exc_type=ImportError)
pytestmark = pytest.mark.external


def leaves(*shapes):
    return tuple(torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes)


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
    from examples.torch_layer import differentiable

    torch.manual_seed(0)
    layer, inputs = differentiable(getattr(kernels, name)), leaves(*shapes)
    assert torch.autograd.gradcheck(lambda *t: layer(*t, **options), inputs)
    assert torch.autograd.gradgradcheck(lambda *t: layer(*t, **options), inputs)


def test_absent_bias_integer_target_and_part_of_the_inputs():
    from examples.torch_layer import differentiable

    x, w = leaves((1, 2, 4, 4), (3, 2, 3, 3))
    y = differentiable(kernels.conv2d)(x.detach(), w, None)
    (gw,) = torch.autograd.grad(y.sum(), w)
    np.testing.assert_allclose(gw[0], gw[1])
    target = torch.tensor([1, 0])
    (scores,) = leaves((2, 3))
    loss = differentiable(kernels.cross_entropy)(scores, target)
    (g,) = torch.autograd.grad(loss, scores, create_graph=True)
    (second,) = torch.autograd.grad(g[0, 0], scores)
    want_loss = torch.nn.functional.cross_entropy(scores, target)
    (want,) = torch.autograd.grad(want_loss, scores, create_graph=True)
    (want_second,) = torch.autograd.grad(want[0, 0], scores)
    for ours, theirs in [(loss, want_loss), (g, want), (second, want_second)]:
        np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=1e-12, atol=1e-12)


def test_what_would_be_wrong_is_refused():
    """A third derivative, and an input that was written to between forward and backward."""
    from examples.torch_layer import differentiable

    (x,) = leaves((3, 4))
    y = differentiable(kernels.log_softmax)(x)
    (g,) = torch.autograd.grad(y[0, 0], x, create_graph=True)
    (h,) = torch.autograd.grad(g.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        h.sum().backward()
    z = x.clone()
    y = differentiable(kernels.log_softmax)(z)
    z.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_main(capsys):
    from examples.torch_layer import main

    main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert all(float(line.split(" by ")[1].split()[0]) < 1e-12 for line in lines)
