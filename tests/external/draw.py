"""Numbers from one integer, for calls that are drawn at random (tests/external/drawn.py).

Extents are small, so that what is rare elsewhere is frequent here: empty batches, no channels, strides larger than
kernels, padding as wide as kernels, last windows that reach outside, ties, NaN and infinities.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F

import kernels
from tests.external.against_torch import Call, Tensors

T = TypeVar("T")
Arrays = dict[str, torch.Tensor]
Draws = dict[str, Callable[["Draw"], Call]]
AXES = (1, 2, 3)
LARGEST = {1: 12, 2: 7, 3: 5, 4: 3}  # an extent of so many axes
WITHOUT_SECOND = ("hardsigmoid", "multi_margin_loss")  # torch has no gradient of their gradients
SPECIAL = (math.nan, math.inf, -math.inf)


class Draw:
    """Numbers from one seed."""

    def __init__(self, seed: str) -> None:
        self.random = Random(seed)
        self.numbers = np.random.default_rng(self.random.getrandbits(64))
        self.dtype = self.choice([torch.float64, torch.float64, torch.float32])

    def int(self, low: int, high: int) -> int:
        return self.random.randint(low, high)

    def choice(self, values: Sequence[T]) -> T:
        return self.random.choice(values)

    def often(self, share: float) -> bool:
        return self.random.random() < share

    def per_axis(self, axes: int, low: int, high: int) -> tuple[int, ...]:
        return tuple(self.int(low, high) for _ in range(axes))

    def batch(self) -> tuple[int, ...]:
        """Unbatched, and now and then empty."""
        return () if self.often(0.2) else (self.choice([0, 1, 1, 2, 2, 3]),)

    def shape(self, most: int = 4, least: int = 0) -> tuple[int, ...]:
        return tuple(self.choice([0, 1, 2, 2, 3, 4, 5]) for _ in range(self.int(least, most)))

    def normal(self, *shape: int, scale: float = 1.0) -> torch.Tensor:
        return torch.tensor(scale * self.numbers.standard_normal(shape), dtype=self.dtype)

    def away(self, *shape: int) -> torch.Tensor:
        """Of either sign, and none near 0, where a norm's derivatives cancel."""
        x = self.normal(*shape)
        return x + 0.3 * torch.where(x < 0, -1, 1)

    def positive(self, *shape: int) -> torch.Tensor:
        return torch.tensor(self.numbers.uniform(0.1, 2, shape), dtype=self.dtype)

    def apart(self, *shape: int) -> torch.Tensor:
        """No two are close, so that no maximum depends on a rounding."""
        count = math.prod(shape)
        return torch.tensor(
            (self.numbers.permutation(count).reshape(shape) - count / 2) / 8, dtype=self.dtype
        )

    def some(self, *shape: int) -> torch.Tensor:
        """Of a maximum: apart, tied, or with NaN and infinities."""
        x = self.apart(*shape)
        kind = self.choice(["apart", "apart", "tied", "special"])
        if kind == "tied":
            x = torch.floor(x / 2)
        if kind == "special":
            for value in SPECIAL:
                x[torch.tensor(self.numbers.random(shape) < 0.08)] = value
        return x

    def signs(self, *shape: int) -> torch.Tensor:
        return torch.tensor(self.numbers.choice([-1.0, 1.0], shape), dtype=self.dtype)

    def between(self, *shape: int) -> torch.Tensor:
        """Probabilities, none of them near 0 or 1."""
        return torch.tensor(self.numbers.uniform(0.05, 0.95, shape), dtype=self.dtype)

    def classes(self, count: int, *shape: int) -> torch.Tensor:
        return torch.tensor(self.numbers.integers(0, count, shape))

    def laid_out(self, x: torch.Tensor) -> torch.Tensor:
        """The same numbers at other strides: channels last, transposed, or with gaps between."""
        kind = self.choice(["last", "reversed", "gaps"])
        if kind == "last" and x.ndim > 2:
            return x.movedim(1, -1).contiguous().movedim(-1, 1)
        if kind == "reversed":
            order = tuple(reversed(range(x.ndim)))
            return x.permute(order).contiguous().permute(order)
        wide = torch.full((*x.shape[:-1], 2 * x.shape[-1] + 1) if x.ndim else (), 77, dtype=x.dtype)
        if not x.ndim:
            return x.clone()
        wide[..., 1::2] = x
        return wide[..., 1::2]


def same(
    name: str,
    arrays: Arrays,
    options: Mapping[str, Any],
    function: Callable[..., Any] | None = None,
    **more: Any,
) -> Call:
    """Torch's function of this name, with the same arguments."""
    f = function or getattr(F, name)
    if name in WITHOUT_SECOND:
        more["second"] = False
    return composed(name, arrays, options, lambda given: f(**given, **options), **more)


def composed(
    name: str, arrays: Arrays, options: Mapping[str, Any], reference: Callable[[Tensors], Any], **more: Any
) -> Call:
    """What torch has under another name, or in parts."""
    return Call(getattr(kernels, name), arrays, dict(options), reference, **more)


def each(draw: Callable[..., Call], name: str, *more: Any, axes: Sequence[int] = AXES) -> Draws:
    """A family, by number of axes."""
    return {name.format(n): lambda d, n=n: draw(d, n, *more) for n in axes}


def named(draw: Callable[..., Call], *names: str) -> Draws:
    return {name: lambda d, name=name: draw(d, name) for name in names}
