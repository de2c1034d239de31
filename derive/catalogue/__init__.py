"""The shipped operators, as equations. Nothing outside this package knows their names."""

from __future__ import annotations

from derive.catalogue import convolution, layers, pooling
from derive.language import Operator

# One of each kind, and what nearly everybody uses: compiled by `derive-kernels warm`, and their compiled kernels checked
# on every run. Those of the others are compiled when they are first called, and checked by `make test-all`; their source
# is held against the equations on every run, like all.
CORE = (
    *("conv1d", "conv2d", "conv3d", "convolve1d", "convolve2d", "convolve3d"),
    *("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
    *("global_avg_pool", "global_max_pool", "global_min_pool"),
    *("linear", "relu", "log_softmax", "cross_entropy"),
)


def operators() -> tuple[Operator, ...]:
    """Every shipped operator, in the order in which they are generated."""
    return (*convolution.operators(), *pooling.operators(), *layers.operators())
