"""A layer as numbers: its shapes, its multiply-adds, its bytes. No arrays, and no library, occur here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import prod
from typing import Any, TypeAlias

Size: TypeAlias = tuple[int, ...]  # one entry for each spatial axis

FORWARD, INDEX, INPUT, WEIGHT = "forward", "with-index", "grad-input", "grad-weight"
DIRECTIONS = (FORWARD, INDEX, INPUT, WEIGHT)
DTYPES = {"float32": 4, "float64": 8}  # bytes


@dataclass(frozen=True, slots=True)
class Convolution:
    """torch's conv1d/2d/3d without a bias, or its conv_transpose of the same numbers."""

    channels: int
    filters: int
    size: Size  # of the layer's input
    kernel: Size
    stride: Size
    padding: Size  # both sides of each axis
    dilation: Size
    groups: int = 1
    transposed: bool = False

    @property
    def axes(self) -> int:
        return len(self.size)

    @property
    def output(self) -> Size:
        settings = zip(self.size, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        if self.transposed:
            return tuple((n - 1) * s - 2 * a + d * (k - 1) + 1 for n, k, s, a, d in settings)
        return tuple((n + 2 * a - d * (k - 1) - 1) // s + 1 for n, k, s, a, d in settings)

    @property
    def weight(self) -> Size:
        """The weight's shape, as torch has it."""
        first, second = self.filters, self.channels
        if self.transposed:
            first, second = second, first
        return (first, second // self.groups, *self.kernel)

    @property
    def directions(self) -> tuple[str, ...]:
        return (FORWARD, INPUT, WEIGHT)

    @property
    def depthwise(self) -> bool:
        return self.groups > 1 and self.groups == self.channels

    @property
    def kind(self) -> str:
        if self.transposed:
            return "transposed"
        if self.depthwise:
            return "depthwise"
        if self.groups > 1:
            return "grouped"
        if max(self.dilation) > 1:
            return "dilated"
        return "long kernel" if max(self.kernel) >= 32 else "dense"

    @property
    def name(self) -> str:
        word = "conv_transpose" if self.transposed else "conv"
        text = f"{word}{self.axes}d {self.channels}-{self.filters} @{short(self.size)} k{short(self.kernel)}"
        return text + options(s=self.stride, p=self.padding, d=self.dilation, g=(self.groups,))

    def flops(self, batch: int, direction: str) -> int:
        """Two for each multiply-add that touches the image: taps on the zero padding are not counted.

        The three directions sum the same products, so they have the same number.
        """
        wide, narrow = (self.output, self.size) if self.transposed else (self.size, self.output)
        pairs = zip(narrow, wide, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return 2 * batch * self.filters * self.channels // self.groups * prod(taps(*p) for p in pairs)

    def elements(self, batch: int, direction: str) -> tuple[int, int]:
        """Elements that have to be read and written once, at least."""
        x, y = batch * self.channels * prod(self.size), batch * self.filters * prod(self.output)
        w = prod(self.weight)
        return {FORWARD: (x + w, y), INPUT: (y + w, x), WEIGHT: (x + y, w)}[direction]


@dataclass(frozen=True, slots=True)
class Pooling:
    """torch's max_pool or avg_pool; `whole` is a pool over all of each plane."""

    how: str  # max, avg
    channels: int
    size: Size
    window: Size
    stride: Size
    padding: Size
    whole: bool = False

    @property
    def axes(self) -> int:
        return len(self.size)

    @property
    def output(self) -> Size:
        settings = zip(self.size, self.window, self.stride, self.padding, strict=True)
        return tuple((n + 2 * a - k) // s + 1 for n, k, s, a in settings)

    @property
    def directions(self) -> tuple[str, ...]:
        return (FORWARD, INDEX, INPUT) if self.how == "max" and not self.whole else (FORWARD, INPUT)

    @property
    def kind(self) -> str:
        if self.whole:
            return f"global {self.how} pool"
        return f"{self.how} pool" if prod(self.window) < 64 else f"large {self.how} pool"

    @property
    def name(self) -> str:
        if self.whole:
            return f"global_{self.how}_pool {self.channels} @{short(self.size)}"
        text = f"{self.how}_pool{self.axes}d {self.channels} @{short(self.size)} k{short(self.window)}"
        return text + options(s=self.stride, p=self.padding)

    def flops(self, batch: int, direction: str) -> int:
        """One for each comparison or addition of an element inside the image."""
        ones = (1,) * self.axes
        pairs = zip(self.output, self.size, self.window, self.stride, self.padding, ones, strict=True)
        return batch * self.channels * prod(taps(*p) for p in pairs)

    def elements(self, batch: int, direction: str) -> tuple[int, int]:
        """As for a convolution; an index counts as one element, a maximum's gradient reads the input again."""
        planes = batch * self.channels
        x, y = planes * prod(self.size), planes * prod(self.output)
        again = x if self.how == "max" else 0
        return {FORWARD: (x, y), INDEX: (x, 2 * y), INPUT: (y + again, x)}[direction]


@dataclass(frozen=True, slots=True)
class Function:
    """A function of one array under the name and with the arguments that torch.nn.functional and `kernels` both have."""

    sort: str  # what it is averaged with
    operator: str
    channels: int
    size: Size
    arguments: tuple[tuple[str, Any], ...] = ()
    filters: int = 0  # channels of the result, if other than its own
    made: Size = ()  # size of the result, if another

    @property
    def axes(self) -> int:
        return len(self.size)

    @property
    def output(self) -> Size:
        return self.made or self.size

    @property
    def directions(self) -> tuple[str, ...]:
        return (FORWARD, INPUT)

    @property
    def kind(self) -> str:
        return self.sort

    @property
    def name(self) -> str:
        told = "".join(f" {key}={value}" for key, value in self.arguments)
        return f"{self.operator} {self.channels} @{'x'.join(map(str, self.size))}{told}"

    def flops(self, batch: int, direction: str) -> int:
        """One for each element of the result: there is no number that says more of an exponential."""
        return self.elements(batch, direction)[1]

    def elements(self, batch: int, direction: str) -> tuple[int, int]:
        """A gradient reads the input as well."""
        x = batch * self.channels * prod(self.size)
        y = batch * (self.filters or self.channels) * prod(self.output)
        return {FORWARD: (x, y), INPUT: (x + y, x)}[direction]


Layer: TypeAlias = Convolution | Pooling | Function


def taps(outputs: int, inputs: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Pairs (output, tap) along one axis whose input 0 <= stride * p + dilation * k - padding < inputs exists."""
    total = 0
    for k in range(kernel):
        first = max(0, -((dilation * k - padding) // stride))  # the least p with s p >= a - d k
        last = min(outputs - 1, (inputs - 1 + padding - dilation * k) // stride)
        total += max(0, last - first + 1)
    return total


def short(values: Size) -> str:
    """(3, 3) is 3, (1, 256) is 1x256."""
    return str(values[0]) if len(set(values)) == 1 else "x".join(map(str, values))


def options(**values: Size) -> str:
    """What differs from its usual value."""
    usual = {"s": 1, "p": 0, "d": 1, "g": 1}
    return "".join(f" {letter}{short(v)}" for letter, v in values.items() if set(v) != {usual[letter]})


def as_data(layer: Layer) -> dict[str, Any]:
    """For JSON: the fields, and which sort it is."""
    return {"layer": type(layer).__name__, **asdict(layer)}


def from_data(data: dict[str, Any]) -> Layer:
    fields = {key: frozen(v) for key, v in data.items() if key != "layer"}
    kinds: dict[str, type[Layer]] = {k.__name__: k for k in (Convolution, Pooling, Function)}
    return kinds[data["layer"]](**fields)


def frozen(value: Any) -> Any:
    """JSON's lists as tuples."""
    return tuple(map(frozen, value)) if isinstance(value, list) else value


def per_axis(value: int | Iterable[int], axes: int) -> Size:
    return (value,) * axes if isinstance(value, int) else tuple(value)
