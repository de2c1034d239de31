"""A network from a file: Python that makes one, an ONNX graph, or lines of text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from derive.errors import GeometryError
from derive.spec import load_names
from kernels.errors import KernelError
from kernels.network import Network
from kernels.reading import Described, from_torch, read


def load_network(path: str | Path) -> Described:
    """The network of a file, and the shapes of its inputs if the file says them.

    A Python file is run, since its user asks us to. At its top level it makes one `kernels.network.Network` or one
    `torch.nn.Sequential`, and may say the shapes: INPUT = (1, 3, 224, 224), or a tuple of such for several inputs.

    Raises GeometryError: a file that cannot be read, no network, or several.
    """
    path = Path(path)
    try:
        if path.suffix != ".py":
            return read(path)
        names = load_names(path)
        found = {id(v): v for v in names.values() if isinstance(v, Network) or _sequential(v)}
        if len(found) != 1:
            what = "no network" if not found else f"{len(found)} networks"
            raise GeometryError(
                f"{path.name}: {what} at the top level; one kernels.network.Network or torch.nn.Sequential is needed"
            )
        (made,) = found.values()
        network = made if isinstance(made, Network) else from_torch(made)
    except KernelError as error:
        raise GeometryError(f"{path.name}: {error}") from None
    shape = names.get("INPUT")
    if shape is None:
        return Described(network, (None,) * len(network.inputs))
    shapes = tuple(shape) if all(isinstance(s, (tuple, list)) for s in shape) else (tuple(shape),)
    return Described(network, tuple(map(tuple, shapes)))


def _sequential(value: Any) -> bool:
    """Whether it is one of torch's, which need not be installed."""
    return any(c.__name__ == "Sequential" and c.__module__.startswith("torch.") for c in type(value).__mro__)
