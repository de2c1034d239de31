"""The shipped operators, as equations. Nothing outside this package knows their names."""

from __future__ import annotations

from collections.abc import Iterator

from derive.catalogue import (
    activations,
    convolution,
    images,
    joining,
    layers,
    losses,
    norms,
    optimizers,
    pooling,
    pools,
)
from derive.language import Operator

# One of each kind, and what nearly everybody uses: compiled by `derive-kernels warm`, and every check made in every run of
# the tests. Kernels of the others are compiled when they are first called; every run holds their source against the
# equations, `make test-all` does the rest.
CORE = (
    *("conv1d", "conv2d", "conv3d", "convolve1d", "convolve2d", "convolve3d"),
    *("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
    *("global_avg_pool", "global_max_pool", "global_min_pool"),
    *("linear", "relu", "log_softmax", "cross_entropy"),
)


def families() -> Iterator[tuple[Operator, ...]]:
    """Every shipped operator, in the order in which they are generated. A family shares kernels: the first has them."""
    yield from convolution.families()
    yield (*pooling.operators(), *pools.operators())
    for module in (layers, activations, norms, losses, images, joining, optimizers):
        yield module.operators()


def operators() -> tuple[Operator, ...]:
    """Every shipped operator."""
    return tuple(operator for family in families() for operator in family)
