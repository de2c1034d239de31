"""Operators of `kernels` in torch, on the CPU: `differentiable(conv2d)` is a function of tensors.

Gradients of gradients work as well, since a pullback is itself such a function: its pullback is the backward of the
backward. A third derivative is refused rather than wrong. The same few lines serve a layer of your own.

python examples/torch_layer.py     # compares with torch, first and second order
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from kernels import Operator, conv2d

Tensor = Any  # torch.Tensor: mypy is to say the same without torch


def differentiable(operator: Operator) -> Callable[..., Tensor]:
    """`operator` on tensors: its array arguments by position (None for an absent one), options by keyword."""

    class Forward(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, options: dict[str, Any], *tensors: Tensor) -> Tensor:
            y, ctx.pullback = operator.vjp(*map(array, tensors), **options)  # keeps the arrays, copies none
            ctx.save_for_backward(*tensors)  # so that torch notices when one is written to meanwhile
            return torch.from_numpy(y)

        @staticmethod
        def backward(ctx: Any, gy: Tensor) -> tuple[Tensor, ...]:
            return (None, *Backward.apply(ctx.pullback, gy, *ctx.saved_tensors))

    class Backward(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, pullback: Any, gy: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
            ctx.set_materialize_grads(False)  # an absent cotangent stays None, which is zero here too
            gradients, ctx.second = pullback.vjp(array(gy))
            ctx.save_for_backward(gy, *tensors)
            return tuple(map(tensor, gradients))

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, ...]:
            assert ctx.saved_tensors  # as above
            return (None, *map(tensor, ctx.second(*map(array, cotangents))))

    return lambda *tensors, **options: Forward.apply(options, *tensors)


def array(t: Tensor) -> Any:
    """The memory of a tensor as an array."""
    return None if t is None else t.detach().numpy()


def tensor(a: Any) -> Tensor:
    return None if a is None else torch.from_numpy(np.asarray(a))


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 3, 9, 9), (4, 3, 3, 3), (4,)
    x, w, b = (torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes)
    found = []
    for conv in (differentiable(conv2d), torch.nn.functional.conv2d):
        y = conv(x, w, b, stride=2, padding=1)
        (gx,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        penalty = gx.square().sum()  # as in a gradient penalty: a loss that holds a gradient
        found.append((y, gx, *torch.autograd.grad(penalty, (x, w, b))))
    for name, ours, theirs in zip(("y", "gx", "of the penalty: x", "w", "b"), *found, strict=True):
        apart = (ours - theirs).abs().max() / theirs.abs().max()
        print(f"{name:18} {tuple(ours.shape)!s:13} differs from torch by {apart:.0e} of the largest")


if __name__ == "__main__":
    main()
