"""Networks that others wrote: as a few lines of text, a torch.nn.Sequential, an ONNX graph.

Each becomes a `kernels.network.Network` that runs. Operators are found by name among those of `kernels` (and those that
the caller adds): torch's `MaxPool2d` is `max_pool2d`, ONNX's `LeakyRelu` is `leaky_relu`. Neither torch nor onnx is
imported but for reading a file of theirs.
"""

from __future__ import annotations

from pathlib import Path

from kernels.reading.common import Described, Operators, ReadingError
from kernels.reading.of_onnx import from_onnx
from kernels.reading.of_torch import from_torch
from kernels.reading.text import from_text, zeros


def read(path: str | Path, operators: Operators = {}) -> Described:  # noqa: B006  (read only)
    """What a file describes, by its ending: `.onnx`, or lines of text."""
    path = Path(path)
    if not path.is_file():
        raise ReadingError(f"there is no file {path}")
    if path.suffix == ".onnx":
        return from_onnx(path, operators)
    try:
        return from_text(path.read_text(encoding="utf-8"), operators)
    except UnicodeDecodeError:
        raise ReadingError(f"{path.name} is no text in UTF-8") from None


__all__ = ["Described", "ReadingError", "from_onnx", "from_text", "from_torch", "read", "zeros"]
