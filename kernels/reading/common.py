"""What readers of networks share: operators by their names, names that are new, errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import kernels
from kernels.errors import NetworkError
from kernels.network import Network, Node

Operators = Mapping[str, Any]
Shape = tuple[int, ...]


class ReadingError(NetworkError):
    """A description of a network that cannot be read; it names the line, the module or the node."""


@dataclass(frozen=True)
class Described:
    """A network, and the shapes of its inputs where the description says them."""

    network: Network
    shapes: tuple[Shape | None, ...]


class Found(Mapping[str, Any]):
    """The operators of `kernels` by name, loaded when they are asked for, and further ones."""

    def __init__(self, further: Operators) -> None:
        self.further = further

    def __getitem__(self, name: str) -> Any:
        if name in self.further:
            return self.further[name]
        if name in kernels.OPERATORS:
            return getattr(kernels, name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys([*self.further, *kernels.OPERATORS])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def spelled(self, name: str) -> str | None:
        """The operator that torch or ONNX calls so: MaxPool2d is max_pool2d, LogSigmoid logsigmoid, BatchNorm1d batch_norm."""
        plain = {n.replace("_", ""): n for n in self}
        return plain.get(name.lower()) or plain.get(name.lower().rstrip("123d"))


def result_shape(made: Node, extents: Mapping[str, Shape]) -> Shape:
    """The shape of a node's first result; () where its operator cannot tell."""
    if not hasattr(made.operator, "output_shape"):
        return ()
    if len(made.arguments) != len(made.sources):
        raise ReadingError(
            f"{made.operator.__name__} takes {len(made.arguments)} sources beside its parameters, found {len(made.sources)}"
        )
    sources = dict(zip(made.arguments, made.sources, strict=True))
    if any(s not in extents for s in sources.values()):  # another output than the first
        return ()
    own = {a: array.shape for a, array in made.parameters.items()}
    shape = made.operator.output_shape(**{a: extents[s] for a, s in sources.items()}, **own, **made.options)
    return shape[0] if shape and isinstance(shape[0], tuple) else shape


def operator_called(name: str, found: Found) -> Any:
    if name not in found:
        raise ReadingError(f"no operator is called {name} (there are {', '.join(found)})")
    return found[name]


def fresh(name: str, taken: set[str]) -> str:
    made, number = name, 1
    while made in taken:
        number += 1
        made = f"{name}{number}"
    return made
