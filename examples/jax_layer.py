"""Operators of `kernels` in JAX, on the CPU: `differentiable(conv2d, stride=2)` is a function that `grad` and `jit` take.

JAX calls back into NumPy, so that nothing here is traced, fused or moved to an accelerator. Gradients of gradients
work as well, since a pullback is itself such a function.

python examples/jax_layer.py     # compares with JAX's own convolution, first and second order
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kernels import Operator, conv2d

Array = Any  # jax.Array: mypy is to say the same without JAX


def differentiable(operator: Operator, **options: Any) -> Callable[..., Array]:
    """`operator` with these options, on its array arguments (those that are there, by position)."""

    def pullback(*arrays: Any) -> Any:
        """With respect to the real arguments."""
        wrt = [name for name, a in zip(signature(operator).parameters, arrays, strict=False) if real(a)]
        return operator.vjp(*arrays, wrt=wrt, **options)[1]

    @jax.custom_vjp
    def forward(*arrays: Array) -> Array:
        shape = operator.output_shape(*arrays, **options)
        return call(lambda *a: operator(*a, **options), jax.ShapeDtypeStruct(shape, arrays[0].dtype), *arrays)

    @jax.custom_vjp
    def backward(gy: Array, *arrays: Array) -> tuple[Array, ...]:
        return call(lambda gy, *a: pullback(*a)(gy), like(arrays), gy, *arrays)

    def second(saved: tuple[Array, ...], cotangents: tuple[Array, ...]) -> tuple[Array, ...]:
        n = len(cotangents)

        def gradients(gy: Any, *both: Any) -> Any:
            first = pullback(*both[:-n])
            return first.vjp(gy, wrt=("grad_output", *first.wrt))[1](*both[-n:])

        return filled(call(gradients, like(saved), *saved, *cotangents), saved)

    forward.defvjp(lambda *a: (forward(*a), a), lambda a, gy: filled(backward(gy, *a), a))
    backward.defvjp(lambda *a: (backward(*a), a), second)
    return forward


def call(function: Callable[..., Any], result: Any, *arrays: Array) -> Any:
    return jax.pure_callback(
        lambda *a: function(*map(np.asarray, a)), result, *arrays, vmap_method="sequential"
    )


def real(a: Any) -> bool:
    return bool(np.issubdtype(a.dtype, np.floating))


def like(arrays: tuple[Array, ...]) -> tuple[Any, ...]:
    return tuple(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays if real(a))


def filled(gradients: tuple[Array, ...], arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """With None for integer arguments, which JAX takes for zero."""
    rest = iter(gradients)
    return tuple(next(rest) if real(a) else None for a in arrays)


def main() -> None:
    keys = jax.random.split(jax.random.key(0), 2)
    x, w = (jax.random.normal(k, s) for k, s in zip(keys, [(2, 3, 9, 9), (4, 3, 3, 3)], strict=True))

    def theirs(x: Array, w: Array) -> Array:
        return jax.lax.conv_general_dilated(x, w, (2, 2), [(1, 1), (1, 1)])

    found = []
    for conv in (differentiable(conv2d, stride=2, padding=1), theirs):

        def penalty(x: Array, w: Array, conv: Callable[..., Array] = conv) -> Array:
            """A loss that holds a gradient."""
            return jnp.square(jax.grad(lambda x: jnp.square(conv(x, w)).sum())(x)).sum()

        found.append((jax.jit(conv)(x, w), penalty(x, w), *jax.jit(jax.grad(penalty, (0, 1)))(x, w)))
    for name, a, b in zip(("y", "penalty", "its gradient: x", "w"), *found, strict=True):
        apart = jnp.abs(a - b).max() / jnp.abs(b).max()
        print(f"{name:16} {a.shape!s:13} differs from JAX by {apart:.0e} of the largest")


if __name__ == "__main__":
    with jax.enable_x64(True):
        main()
