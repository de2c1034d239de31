"""Networks as lines of text: a name, an operator, its parameters' shapes, its options and sources."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from kernels.arguments import Array
from kernels.errors import KernelError
from kernels.network import Network, Node, node
from kernels.reading.common import (
    Described,
    Found,
    Operators,
    ReadingError,
    Shape,
    fresh,
    operator_called,
    result_shape,
)

LARGEST = 2**60  # elements of an array: NumPy counts bytes in 64 bits
WORDS = re.compile(
    r"""\s*(?:
      (?P<array>[A-Za-z_]\w*)\[(?P<shape>[^\]]*)\]        # weight[8, 1, 5, 5]
    | (?P<option>[A-Za-z_]\w*)\s*=\s*(?P<value>\([^()]*(?:\([^()]*\)[^()]*)*\)|"[^"]*"|[^\s,()]+)   # stride=2, padding=(1, 1)
    | (?P<word>[A-Za-z_]\w*(?:\[\d+\])?)
    | (?P<comma>,)
    )""",
    re.VERBOSE,
)
LINE = re.compile(r"(?:(?P<name>[A-Za-z_]\w*)\s*:)?\s*(?P<operator>[A-Za-z_]\w*)(?P<rest>.*)")


def from_text(text: str, operators: Operators = {}) -> Described:  # noqa: B006  (read only)
    """A network from lines of text.

        input[1, 1, 28, 28]                                  inputs first, with their shapes
        conv1: conv2d weight[8, 1, 5, 5] bias[8] padding=2    name: operator, parameters by shape, options
        relu                                                  without a source: the line before
        max_pool2d kernel_size=2
        conv2: conv2d weight[8, ?, 3, 3] padding=1            ?: as many as the source has channels (its axis 1)
        sum: add from conv2, max_pool2d                       sources by name
        # a comment

    A line without a name is called after its operator, with a number where that is taken. Parameters are zeros and take
    no memory: a shape is all that a geometry needs. Raises ReadingError with the line.
    """
    found = Found(operators)
    shapes: dict[str, Shape] = {}
    nodes: dict[str, Node] = {}
    extents: dict[str, Shape] = {}
    previous = ""
    for number, line in enumerate(text.splitlines(), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        try:
            declared = WORDS.fullmatch(line)
            if declared and declared["array"] and not nodes:
                shapes[declared["array"]] = _shape(declared["shape"], None)
                extents = dict(shapes)
                previous = next(iter(shapes))
                continue
            if not shapes:
                raise ReadingError("a network begins with its inputs: input[1, 3, 224, 224]")
            name, made = _line(line, found, nodes, extents, previous)
            nodes[name] = made
            extents[name] = result_shape(made, extents)
            previous = name
        except KernelError as error:
            raise ReadingError(f"line {number}: {error}\n    {line}") from None
    if not nodes:
        raise ReadingError("there is no operator in this text")
    return Described(Network(nodes, tuple(shapes)), tuple(shapes.values()))


def _line(
    line: str, found: Found, nodes: Mapping[str, Node], extents: Mapping[str, Shape], previous: str
) -> tuple[str, Node]:
    match = LINE.fullmatch(line)
    if match is None:
        raise ReadingError("a line is `name: operator parameter[shape] option=value from source, source`")
    operator = operator_called(match["operator"], found)
    words, sources, parts = match["rest"], list[str](), list[re.Match[str]]()
    at, after = 0, False
    while words[at:].strip():
        part = WORDS.match(words, at)
        if part is None:
            raise ReadingError(f"`{words[at:].strip()}` is neither parameter[shape] nor option=value")
        at = part.end()
        if part["word"] == "from":
            after = True
        elif part["word"] is not None and after:
            sources.append(part["word"])
        elif part["word"] is not None:
            raise ReadingError(f"`{part['word']}` is neither parameter[shape] nor option=value")
        else:
            parts.append(part)
    sources = sources or [previous]
    for source in sources:
        if source.split("[")[0] not in extents:
            raise ReadingError(
                f"there is no line called {source} before this one (there are {', '.join(extents)})"
            )
    base = sources[0].split("[")[0]
    channels = extents[base][1] if base in extents and len(extents[base]) > 1 else None
    arguments: dict[str, Any] = {}
    for part in parts:
        if part["array"] is not None:
            arguments[part["array"]] = zeros(_shape(part["shape"], channels))
        elif part["option"] is not None:
            arguments[part["option"]] = _value(part["value"])
    return match["name"] or fresh(match["operator"], {*nodes, *extents}), node(
        operator, *sources, **arguments
    )


def zeros(shape: Shape) -> Array:
    """An array of zeros that takes no memory, and cannot be written to."""
    return np.broadcast_to(np.float32(0), shape)


def _shape(text: str, channels: int | None) -> Shape:
    entries = []
    for word in (w.strip() for w in text.split(",") if w.strip()):
        if word == "?" and channels is not None:
            entries.append(channels)
        elif word.isdecimal():
            entries.append(int(word))
        else:
            needs = "whole numbers" if channels is None else "whole numbers, or ? for the source's channels"
            raise ReadingError(f"the shape [{text}] needs {needs}")
    if math.prod(entries) > LARGEST:
        raise ReadingError(f"the shape [{text}] has more elements than an array can have")
    return tuple(entries)


def _value(text: str) -> Any:
    """A number, a tuple, True, False, None, or a word as a string."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        if re.fullmatch(r"\w+", text):
            return text
        raise ReadingError(f"`{text}` is no number, no tuple and no word") from None
