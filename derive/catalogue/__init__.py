"""The shipped operators, as equations. Nothing outside this package knows their names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from derive.catalogue import (
    activations,
    convolution,
    images,
    joining,
    layers,
    likelihoods,
    losses,
    margins,
    norms,
    optimizers,
    pooling,
    pools,
)
from derive.language import Operator

# One of each kind, of which every check is made in every run of the tests. Of the others every run holds the source against
# the equations, and `make test-all` does the rest.
CORE = (
    *("conv2d", "convolve2d", "max_pool2d", "avg_pool2d"),
    *("global_avg_pool", "global_max_pool", "global_min_pool"),
    *("linear", "relu", "log_softmax", "cross_entropy"),
)
# What nearly everybody uses, compiled by `derive-kernels warm`; the others are when they are first called.
WARM = (
    *CORE,
    *("conv1d", "conv3d", "convolve1d", "convolve3d"),
    *("max_pool1d", "max_pool3d", "avg_pool1d", "avg_pool3d"),
)
# Small ones, that between them have an index map of several pieces, laps, a maximum, its place, look-ups, a mean, sums of
# products, windows, a formula with a kink and a stable one: what a change of the engine is tried on.
SMALL = (
    *("relu", "linear", "global_max_pool", "convolve1d", "fold1d", "prelu", "max_unpool"),
    *("pixel_shuffle", "log_softmax", "avg_pool1d", "pad_circular", "pad_reflect"),
)


def families() -> Iterator[tuple[Operator, ...]]:
    """Every shipped operator, in the order in which they are generated. A family shares kernels: the first has them."""
    yield from convolution.families()
    yield (*pooling.operators(), *pools.operators())
    for module in (layers, activations, norms):
        yield module.operators()
    yield (*losses.operators(), *likelihoods.operators(), *margins.operators())  # all end in a mean and a sum
    for module in (images, joining, optimizers):
        yield module.operators()


@cache
def operators() -> tuple[Operator, ...]:
    """Every shipped operator."""
    return tuple(operator for family in families() for operator in family)
