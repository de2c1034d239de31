"""The shipped operators, as equations. Nothing outside this package knows their names."""

from __future__ import annotations

from derive.catalogue import convolution, layers, pooling
from derive.language import Operator


def operators() -> tuple[Operator, ...]:
    """Every shipped operator, in the order in which they are generated."""
    return (*convolution.operators(), *pooling.operators(), *layers.operators())
