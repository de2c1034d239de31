"""Networks that others wrote: as a few lines of text, a torch.nn.Sequential, an ONNX graph.

Each becomes a `kernels.network.Network` that runs. Operators are found by name among those of `kernels` (and those that
the caller adds): torch's `MaxPool2d` is `max_pool2d`, ONNX's `LeakyRelu` is `leaky_relu`. Neither torch nor onnx is
imported but for reading a file of theirs.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import kernels
from kernels.arguments import Array
from kernels.errors import KernelError, NetworkError
from kernels.network import Network, Node, node

Operators = Mapping[str, Any]
Shape = tuple[int, ...]
LARGEST = 2**60  # elements of an array: NumPy counts bytes in 64 bits


class ReadingError(NetworkError):
    """A description of a network that cannot be read; it names the line, the module or the node."""


@dataclass(frozen=True)
class Described:
    """A network, and the shapes of its inputs where the description says them."""

    network: Network
    shapes: tuple[Shape | None, ...]


class _Found(Mapping[str, Any]):
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


# ------------------------------------------------------------------------------------------- text

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
    found = _Found(operators)
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
            extents[name] = _result(made, extents)
            previous = name
        except KernelError as error:
            raise ReadingError(f"line {number}: {error}\n    {line}") from None
    if not nodes:
        raise ReadingError("there is no operator in this text")
    return Described(Network(nodes, tuple(shapes)), tuple(shapes.values()))


def _line(
    line: str, found: _Found, nodes: Mapping[str, Node], extents: Mapping[str, Shape], previous: str
) -> tuple[str, Node]:
    match = LINE.fullmatch(line)
    if match is None:
        raise ReadingError("a line is `name: operator parameter[shape] option=value from source, source`")
    operator = _operator(match["operator"], found)
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
    return match["name"] or _fresh(match["operator"], {*nodes, *extents}), node(
        operator, *sources, **arguments
    )


def _result(made: Node, extents: Mapping[str, Shape]) -> Shape:
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


def _operator(name: str, found: _Found) -> Any:
    if name not in found:
        raise ReadingError(f"no operator is called {name} (there are {', '.join(found)})")
    return found[name]


def _fresh(name: str, taken: set[str]) -> str:
    made, number = name, 1
    while made in taken:
        number += 1
        made = f"{name}{number}"
    return made


# ------------------------------------------------------------------------------------------ torch


def from_torch(module: Any, operators: Operators = {}) -> Network:  # noqa: B006  (read only)
    """A torch.nn.Sequential (nested ones too) as a network for inference, with the arrays of the module.

    A module is the operator of its name (`MaxPool2d`: max_pool2d, or without the number of axes), and whatever that
    operator's arguments are called is taken from the module's parameters, buffers and attributes. Dropout and Identity
    are left out. Raises ReadingError for a module that is neither.
    """
    found, nodes = _Found(operators), dict[str, Node]()
    for path, part in _parts(module):
        kind = type(part).__name__
        if kind == "Identity" or kind.endswith(("Dropout", "Dropout1d", "Dropout2d", "Dropout3d")):
            continue
        name = found.spelled(kind)
        if name is None:
            raise ReadingError(f"module {path or '0'} is {kind}, and no operator is called so")
        mode = getattr(part, "padding_mode", "zeros")
        if mode != "zeros" and "padding_mode" not in inspect.signature(found[name]).parameters:
            raise ReadingError(
                f"module {path} ({kind}) has padding_mode={mode!r}, which {name} does not take"
            )
        nodes[path.replace(".", "_") or name] = node(found[name], **_attributes(part, found[name]))
    if not nodes:
        raise ReadingError(f"{type(module).__name__} has no module that is an operator")
    return Network(nodes)


def _parts(module: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested Sequentials, in order."""
    if type(module).__name__ != "Sequential":
        yield path, module
        return
    for name, part in module.named_children():
        yield from _parts(part, f"{path}.{name}" if path else name)


def _attributes(module: Any, operator: Any) -> dict[str, Any]:
    """What of an operator's arguments a module has."""
    arrays = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
    arguments: dict[str, Any] = {}
    for name, parameter in inspect.signature(operator).parameters.items():
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            continue
        if name in arrays:
            arguments[name] = arrays[name].detach().cpu().numpy()
        elif name in ("input", "training", "inplace", "out"):
            continue
        elif hasattr(module, name) and getattr(module, name) is not None:
            arguments[name] = getattr(module, name)
    return arguments


# ------------------------------------------------------------------------------------------- ONNX


def from_onnx(model: Any, operators: Operators = {}) -> Described:  # noqa: B006  (read only)
    """An ONNX model (its path, or the object), opset 13 or newer, as a network for inference.

        Operators with a table row below are taken with their attributes; any other is looked for by its name. What follows
    from constants alone is worked out (shapes of a Reshape). Raises ReadingError with the node.
    """
    try:
        return _from_onnx(model, operators)
    except (KernelError, ImportError, OSError):
        raise
    except Exception as error:  # a damaged message has onnx's own functions raise anything
        raise ReadingError(
            f"this is no ONNX model that can be read: {type(error).__name__}: {error!s:.300}"
        ) from error


def _from_onnx(model: Any, operators: Operators) -> Described:
    from onnx import load, numpy_helper  # an optional dependency

    if isinstance(model, (str, Path)):
        model = load(str(model))
    graph = model.graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    shapes: dict[str, Shape | None] = {}
    for value in graph.input:
        if value.name not in constants:
            dims = value.type.tensor_type.shape.dim
            known = all(d.HasField("dim_value") for d in dims[1:])  # a batch of any size is one of 1
            shapes[value.name] = tuple(d.dim_value or 1 for d in dims) if known and dims else None
    made = _Graph(_Found(operators), constants, {name: _word(name) for name in shapes})
    for number, step in enumerate(graph.node):
        try:
            made.add(step)
        except KernelError as error:
            called = f" `{step.name}`" if step.name else ""
            raise ReadingError(f"ONNX node {number}{called} ({step.op_type}): {error}") from None
    end = made.names.get(graph.output[0].name)
    if end is None or not made.nodes:
        raise ReadingError(f"the output `{graph.output[0].name}` comes from no operator")
    network = Network(made.nodes, tuple(map(_word, shapes)), end)
    return Described(network, tuple(shapes.values()))


def _word(name: str) -> str:
    return re.sub(r"[.\[\]]", "_", name) or "value"


@dataclass
class _Graph:
    """A graph as its nodes are read: what each of ONNX's values is called here."""

    found: _Found
    constants: dict[str, Array]
    names: dict[str, str]
    nodes: dict[str, Node] = field(default_factory=dict)

    def add(self, step: Any) -> None:
        from onnx import helper

        attributes = {a.name: helper.get_attribute_value(a) for a in step.attribute}
        attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
        if step.op_type == "Constant":
            from onnx import numpy_helper

            self.constants[step.output[0]] = numpy_helper.to_array(attributes["value"])
        elif step.op_type in ("Identity", "Dropout"):
            self.names[step.output[0]] = self.names[step.input[0]]
        else:
            row = ROWS.get(step.op_type, _by_name)
            row(self, step, attributes)

    def put(self, step: Any, name: str, *sources: str, **arguments: Any) -> str:
        """A node called after its result."""
        operator = _operator(name, self.found)
        called = _fresh(_word(step.output[0]), {*self.nodes, *self.names.values()})
        self.nodes[called] = node(operator, *sources, **arguments)
        self.names[step.output[0]] = called
        return called

    def array(self, name: str) -> Array:
        if name not in self.constants:
            raise ReadingError(f"its input `{name}` needs to be a constant")
        return self.constants[name]

    def source(self, name: str) -> str:
        if name not in self.names:
            raise ReadingError(f"its input `{name}` comes from no operator")
        return self.names[name]


def _pads(attributes: Mapping[str, Any], axes: int) -> Any:
    auto = attributes.get("auto_pad", "NOTSET")
    if auto == "SAME_UPPER":
        return "same"
    if auto not in ("NOTSET", "VALID"):
        raise ReadingError(f"auto_pad={auto} has no equal here")
    pads = attributes.get("pads", [0] * 2 * axes)
    return tuple((int(pads[k]), int(pads[k + axes])) for k in range(axes))


def _conv(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    weight = graph.array(step.input[1])
    axes = weight.ndim - 2
    arguments: dict[str, Any] = {"weight": weight}
    if len(step.input) > 2 and step.input[2]:
        arguments["bias"] = graph.array(step.input[2])
    graph.put(
        step,
        f"conv{axes}d",
        graph.source(step.input[0]),
        **arguments,
        stride=tuple(attributes.get("strides", (1,) * axes)),
        padding=_pads(attributes, axes),
        dilation=tuple(attributes.get("dilations", (1,) * axes)),
        groups=int(attributes.get("group", 1)),
    )


def _pool(kind: str) -> Callable[[_Graph, Any, Mapping[str, Any]], None]:
    def row(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
        kernel = tuple(attributes["kernel_shape"])
        axes = len(kernel)
        arguments: dict[str, Any] = {
            "kernel_size": kernel,
            "stride": tuple(attributes.get("strides", (1,) * axes)),
            "padding": _pads(attributes, axes),
            "ceil_mode": bool(attributes.get("ceil_mode", 0)),
        }
        dilations = tuple(attributes.get("dilations", (1,) * axes))
        if kind == "max":
            arguments["dilation"] = dilations
        else:
            if set(dilations) != {1}:
                raise ReadingError(f"dilations={dilations} has no equal here")
            arguments["count_include_pad"] = bool(attributes.get("count_include_pad", 0))
        if attributes.get("auto_pad", "NOTSET") == "SAME_UPPER":
            raise ReadingError("auto_pad=SAME_UPPER has no equal here")
        graph.put(step, f"{kind}_pool{axes}d", graph.source(step.input[0]), **arguments)

    return row


def _gemm(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    if attributes.get("alpha", 1) != 1 or attributes.get("beta", 1) != 1 or attributes.get("transA", 0):
        raise ReadingError("alpha, beta and transA have no equal here")
    weight = graph.array(step.input[1])
    arguments = {"weight": weight if attributes.get("transB", 0) else np.ascontiguousarray(weight.T)}
    if len(step.input) > 2:
        arguments["bias"] = graph.array(step.input[2]).reshape(-1)
    graph.put(step, "linear", graph.source(step.input[0]), **arguments)


def _matmul(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    weight = graph.array(step.input[1])
    if weight.ndim != 2:
        raise ReadingError(f"the matrix has {weight.ndim} axes but needs 2")
    graph.put(step, "linear", graph.source(step.input[0]), weight=np.ascontiguousarray(weight.T))


def _add(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    constant = next((name for name in step.input if name in graph.constants), None)
    if constant is None:
        graph.put(step, "add", *map(graph.source, step.input))
        return
    # a bias behind the operator that has none yet: torch writes a linear layer so
    (other,) = (name for name in step.input if name != constant)
    before, bias = graph.nodes.get(graph.source(other)), graph.constants[constant]
    weight = None if before is None else before.parameters.get("weight")
    if before is None or weight is None or "bias" in before.parameters or bias.size != len(weight):
        raise ReadingError("a constant is added to what is no layer without a bias")
    named = {**before.parameters, **before.options, "bias": bias.reshape(-1)}
    graph.nodes[graph.source(other)] = node(before.operator, *before.sources, **named)
    graph.names[step.output[0]] = graph.source(other)


def _concat(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    sources = [graph.source(name) for name in step.input]
    if len(sources) == 1:
        graph.names[step.output[0]] = sources[0]
        return
    last = sources[0]
    for source in sources[1:]:
        last = graph.put(step, "concatenate", last, source, dim=int(attributes["axis"]))


def _flatten(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    if attributes.get("axis", 1) != 1:
        raise ReadingError(f"axis={attributes['axis']} has no equal here; 1 has")
    graph.put(step, "flatten", graph.source(step.input[0]))


def _reshape(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    shape = graph.array(step.input[1]).tolist()
    if len(shape) != 2 or -1 not in shape:
        raise ReadingError(f"the shape {shape} has no equal here; a matrix of one row for each image has")
    graph.put(step, "flatten", graph.source(step.input[0]))


def _batch_norm(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    names = ("weight", "bias", "running_mean", "running_var")
    arrays = dict(zip(names, map(graph.array, step.input[1:5]), strict=True))
    graph.put(
        step, "batch_norm", graph.source(step.input[0]), **arrays, eps=float(attributes.get("epsilon", 1e-5))
    )


def _simple(name: str) -> Callable[[_Graph, Any, Mapping[str, Any]], None]:
    def row(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
        graph.put(step, name, *map(graph.source, step.input))

    return row


def _by_name(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    """The operator of that name, with the attributes and constants that its arguments are called."""
    name = graph.found.spelled(step.op_type)
    if name is None:
        raise ReadingError("no operator is called so")
    known = inspect.signature(graph.found[name]).parameters
    also = {"axis": "dim", "epsilon": "eps"}
    if name == "leaky_relu":
        also["alpha"] = "negative_slope"
    arguments: dict[str, Any] = {}
    for key, value in attributes.items():
        argument = key if key in known else also.get(key, key)
        if argument not in known:
            raise ReadingError(f"{name} takes no `{key}` (its arguments are {', '.join(known)})")
        arguments[argument] = value
    made = node(graph.found[name], **arguments)
    free = [n for n in known if n not in made.options]
    sources = []
    for argument, value in zip(free, step.input, strict=False):
        if value in graph.constants:
            arguments[argument] = graph.constants[value]
        else:
            sources.append(graph.source(value))
    graph.put(step, name, *sources, **arguments)


ROWS: Mapping[str, Callable[[_Graph, Any, Mapping[str, Any]], None]] = {
    "Conv": _conv,
    "MaxPool": _pool("max"),
    "AveragePool": _pool("avg"),
    "GlobalAveragePool": _simple("global_avg_pool"),
    "GlobalMaxPool": _simple("global_max_pool"),
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _add,
    "Concat": _concat,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "BatchNormalization": _batch_norm,
}


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


__all__ = ["Described", "ReadingError", "from_onnx", "from_text", "from_torch", "read"]
