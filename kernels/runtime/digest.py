"""What a compiled form depends on: the code of a function and of all it calls, and what these are compiled with.

Numba's cache knows neither callees nor constants. Therefore each compiled form has a name with a digest of everything
that it is compiled from: the code of the function and of all it calls, the constants these read, the sources of this
runtime (but of those that only run tasks), the versions of Numba and llvmlite, the types and the target.
"""

from __future__ import annotations

import hashlib
import sys
import types as python_types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np

from kernels.runtime import machine
from kernels.runtime.lowering import TileType

_RUNNERS = (
    "abi",
    "definition",
    "driver",
    "execute",
    "merging",
    "selection",
)  # they call tasks and are no part of them


def _runtime_sources() -> str:
    """A digest of what tasks are compiled from in this package, as it is imported, and of the compilers' versions."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {sys.version}".encode())
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        if file.stem not in _RUNNERS:
            digest.update(file.read_bytes())
    return digest.hexdigest()


RUNTIME_DIGEST = _runtime_sources()
# covered by their versions, or by RUNTIME_DIGEST
_FOREIGN = ("numba", "numpy", "math", "builtins", "kernels.runtime")
_OPEN = tuple(f"kernels.runtime.{name}" for name in _RUNNERS)  # where tasks did call them, they would count


def _ours(module: str) -> bool:
    return module in _OPEN or not any(module == m or module.startswith(m + ".") for m in _FOREIGN)


def _code_parts(code: python_types.CodeType) -> Iterator[str]:
    yield repr((code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_argcount))
    for const in code.co_consts:
        if isinstance(const, python_types.CodeType):
            yield from _code_parts(const)
        else:
            yield repr(sorted(map(repr, const))) if isinstance(const, frozenset) else repr(const)


def _names(code: python_types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, python_types.CodeType):
            yield from _names(const)


def references(function: Any) -> Iterator[tuple[str, Any]]:
    """What the code of a function names outside itself, and its value; tasks as their functions."""
    names = sorted(set(_names(function.__code__)))
    values = [(n, function.__globals__[n]) for n in names if n in function.__globals__]
    values += [
        (n, c.cell_contents)
        for n, c in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    ]
    for name, value in values:
        if isinstance(value, python_types.ModuleType) and _ours(value.__name__):
            members = [(f"{name}.{n}", getattr(value, n)) for n in names if hasattr(value, n)]
        else:
            members = [(name, value)]
        for path, member in members:
            yield path, getattr(member, "function", member)


def code_parts(function: Any, seen: set[int]) -> Iterator[str]:
    """Text for the code of a function, of everything it calls, and of each constant these read."""
    if id(function) in seen or not _ours(function.__module__ or ""):
        return
    seen.add(id(function))
    yield f"def {function.__module__}.{function.__qualname__}"
    yield from _code_parts(function.__code__)
    for path, value in references(function):
        if isinstance(value, python_types.FunctionType):
            yield path
            yield from code_parts(value, seen)
        elif isinstance(value, (int, float, str, bytes, bool, tuple, type(None))):
            yield f"{path} = {value!r}"
        elif isinstance(value, np.ndarray):  # Numba freezes a global array
            yield f"{path} = {value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"


def source_digest(function: Any, more: object = "") -> str:
    """A digest of all that a function is compiled from, and more, less types and target."""
    digest = hashlib.sha256(f"{RUNTIME_DIGEST} {more}".encode())
    for part in code_parts(function, set()):
        digest.update(part.encode())
    return digest.hexdigest()[:16]


def variant(tile: TileType) -> str:
    """Name of one compiled form: types, tile (all of it is compiled in) and target."""
    shape = (tile.lanes.width, tile.pixels, tile.vectors, tile.rows, tile.steps, tile.depth)
    return f"{tile.lanes.dtype}_{'x'.join(map(str, shape))}_{machine.target_digest()}"
