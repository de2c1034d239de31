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
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import kernels
from kernels.arguments import Array
from kernels.errors import KernelError, NetworkError
from kernels.network import Network, Node, node
from kernels.training import Dropout

Operators = Mapping[str, Any]
Shape = tuple[int, ...]
Copies = dict[int, tuple[Any, Array]]  # of tensors by their identity, which each keeps by being there
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


def from_torch(
    module: Any,
    operators: Operators = {},  # noqa: B006  (read only)
    rng: np.random.Generator | None = None,
) -> Network:
    """A torch.nn.Sequential (nested ones too) as a network, with copies of the arrays of the module.

    A module is the operator of its name (`MaxPool2d`: max_pool2d, or without the number of axes), and whatever that
    operator's arguments are called is taken from the module's parameters, buffers and attributes; `MODULES` has those that
    are called otherwise. Parameters that modules share stay shared. Identity is left out, and so is dropout, unless `rng`
    is given, which then draws (`kernels.training.Dropout`). InstanceNorm with running statistics is read for inference
    alone. Raises ReadingError for a module that is none of these.
    """
    found, nodes, copies = _Found(operators), dict[str, Node](), Copies()
    for path, part in _parts(module):
        kind = type(part).__name__
        called = _fresh(re.sub(r"[.\[\]]", "_", path) or kind.lower(), {*nodes, "input"})
        if kind == "Identity":
            continue
        if kind.endswith(("Dropout", "Dropout1d", "Dropout2d", "Dropout3d")):
            if rng is not None:
                nodes[called] = node(_dropout(path, part, rng))
            continue
        row = MODULES.get(kind)
        name, given = row(part) if row is not None else (found.spelled(kind), {})
        if name is None or name not in found:
            raise ReadingError(
                f"module {path or '0'} is {kind}, and no operator is called so"
                + ("" if path else " (a Sequential is read, also a nested one; whatever else through ONNX)")
            )
        try:
            _check(part, inspect.signature(found[name]).parameters, name)
        except ReadingError as error:
            raise ReadingError(f"module {path} ({kind}) {error}") from None
        nodes[called] = node(found[name], **(_attributes(part, found[name], copies) | given))
    if not nodes:
        raise ReadingError(f"{type(module).__name__} has no module that is an operator")
    return Network(nodes)


def _parts(module: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested Sequentials, in order; one that stands there twice comes twice."""
    if not _sequential(module):
        yield path, module
        return
    for name, part in module._modules.items():
        yield from _parts(part, f"{path}.{name}" if path else name)


def _sequential(module: Any) -> bool:
    """torch's Sequential, or a class made from it that runs as it does."""
    base = next((c for c in type(module).__mro__ if c.__name__ == "Sequential"), None)
    return base is not None and type(module).forward is base.forward  # type: ignore[attr-defined]


def _check(module: Any, known: Mapping[str, Any], name: str) -> None:
    """What a module says that would be lost without a word."""
    mode = getattr(module, "padding_mode", "zeros")
    if mode != "zeros" and "padding_mode" not in known:
        raise ReadingError(f"has padding_mode={mode!r}, which {name} does not take")
    if getattr(module, "running_mean", None) is not None and module.momentum is None:
        raise ReadingError(f"has momentum=None (a mean of all batches), which {name} does not take")


def _attributes(module: Any, operator: Any, copies: Copies) -> dict[str, Any]:
    """What of an operator's arguments a module has."""
    arguments: dict[str, Any] = {}
    for name, parameter in inspect.signature(operator).parameters.items():
        skipped = name in ("input", "training", "inplace", "out")
        value = None if skipped else getattr(module, name, None)
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and value is not None:
            tensor = hasattr(value, "detach")
            arguments[name] = _copy(value, copies) if tensor else value
    return arguments


def _copy(tensor: Any, copies: Copies) -> Array:
    """Memory of its own, so that training one of the two leaves the other; the same for the same parameter."""
    if id(tensor) not in copies:
        copies[id(tensor)] = tensor, np.array(tensor.detach().cpu().numpy())
    return copies[id(tensor)][1]


def _dropout(path: str, module: Any, rng: np.random.Generator) -> Dropout:
    kind = type(module).__name__
    if "Alpha" in kind:
        raise ReadingError(f"module {path} is {kind}, which has no equal in training")
    return Dropout(rng, float(module.p), None if kind == "Dropout" else 2)


def _pad(mode: str) -> Callable[[Any], tuple[str, dict[str, Any]]]:
    def row(module: Any) -> tuple[str, dict[str, Any]]:
        value = {"value": float(module.value)} if mode == "constant" and hasattr(module, "value") else {}
        return "pad", {"pad": tuple(module.padding), "mode": mode, **value}

    return row


def _batch_norm_of(module: Any) -> tuple[str, dict[str, Any]]:
    """Without running statistics it is that of the batch, in inference, too."""
    return "batch_norm", {"training": True} if module.running_mean is None else {}


def _instance_norm_of(module: Any) -> tuple[str, dict[str, Any]]:
    if module.running_mean is None:
        return "instance_norm", {}
    return "batch_norm", {"training": False}


Row = Callable[[Any], tuple[str, dict[str, Any]]]
MODULES: Mapping[str, Row] = {
    **dict.fromkeys(
        ("Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d"), lambda module: ("interpolate", {})
    ),
    **{f"{kind}Pad{n}d": _pad("constant") for kind in ("Zero", "Constant") for n in (1, 2, 3)},
    **{f"ReflectionPad{n}d": _pad("reflect") for n in (1, 2, 3)},
    **{f"ReplicationPad{n}d": _pad("replicate") for n in (1, 2, 3)},
    **{f"CircularPad{n}d": _pad("circular") for n in (1, 2, 3)},
    **{f"BatchNorm{n}d": _batch_norm_of for n in (1, 2, 3)},
    "SyncBatchNorm": _batch_norm_of,
    **{f"InstanceNorm{n}d": _instance_norm_of for n in (1, 2, 3)},
    "Unfold": lambda module: ("unfold2d", {}),
    "Fold": lambda module: ("fold2d", {}),
    "Softmax2d": lambda module: ("softmax", {"dim": -3}),
    "RReLU": lambda module: ("leaky_relu", {"negative_slope": (module.lower + module.upper) / 2}),
}


# ------------------------------------------------------------------------------------------- ONNX


def from_onnx(model: Any, operators: Operators = {}) -> Described:  # noqa: B006  (read only)
    """An ONNX model (its path, or the object), opset 13 or newer, as a network, with copies of its arrays.

    Operators with a row in `ROWS` are taken with their attributes; any other is looked for by its name. What follows from
    constants alone, or from a shape that is known, is worked out beforehand. Whatever would not be exactly what the
    specification says raises ReadingError, with the node.
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
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    uses = Counter(name for step in graph.node for name in step.input)
    uses.update(value.name for value in graph.output)
    names = {name: _word(name) for name in shapes}
    made = _Graph(_Found(operators), constants, names, opset, uses, _extents(model))
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


def _extents(model: Any) -> dict[str, tuple[int | None, ...]]:
    """The extents of values, as far as onnx can tell; None: of any size."""
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(model).graph
    kinds = {v.name: v.type.tensor_type for v in (*graph.input, *graph.value_info, *graph.output)}
    return {
        name: tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
        for name, kind in kinds.items()
        if kind.HasField("shape")
    }


def _worked_out(step: Any, constants: Mapping[str, Array], opset: int) -> dict[str, Array]:
    """The results of a node that reads constants alone, or nothing, by onnx's own reference."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    given = {name: constants[name] for name in step.input if name}
    named = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in given.items()
    ]
    results = [name for name in step.output if name]
    outputs = [helper.make_empty_tensor_value_info(name) for name in results]
    graph = helper.make_graph([step], "constants", named, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    found = ReferenceEvaluator(model).run(None, given)
    return dict(zip(results, map(np.asarray, found), strict=True))


def _word(name: str) -> str:
    return re.sub(r"[.\[\]]", "_", name) or "value"


@dataclass
class _Graph:
    """A graph as its nodes are read: what each of ONNX's values is called here."""

    found: _Found
    constants: dict[str, Array]
    names: dict[str, str]
    opset: int
    uses: Counter[str]  # how often each value is read, as a result of the graph, too
    extents: dict[str, tuple[int | None, ...]]
    nodes: dict[str, Node] = field(default_factory=dict)
    copies: dict[str, Array] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)  # of nodes and inputs, where they are known

    def __post_init__(self) -> None:
        for value, name in self.names.items():
            extents = self.extents.get(value, (None,))
            if None not in extents:
                self.shapes[name] = tuple(n or 0 for n in extents)

    def add(self, step: Any) -> None:
        from onnx import helper

        attributes = {a.name: helper.get_attribute_value(a) for a in step.attribute}
        attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
        shape = self.extents.get(step.input[0], (None,)) if step.op_type == "Shape" else (None,)
        if None not in shape:
            part = slice(attributes.get("start"), attributes.get("end"))
            self.constants[step.output[0]] = np.array(shape[part], np.int64)
        elif all(name in self.constants for name in step.input if name):
            self.constants |= _worked_out(step, self.constants, self.opset)
        elif step.op_type in ("Identity", "Dropout"):
            self.names[step.output[0]] = self.names[step.input[0]]
        else:
            row = ROWS.get(step.op_type, _by_name)
            row(self, step, attributes)

    def put(self, step: Any, name: str, *sources: str, **arguments: Any) -> str:
        """A node called after its result."""
        operator = _operator(name, self.found)
        called = _fresh(_word(step.output[0]), {*self.nodes, *self.names.values()})
        self.nodes[called] = made = node(operator, *sources, **arguments)
        self.names[step.output[0]] = called
        known = {name: self.shapes[name] for name in sources if name in self.shapes}
        if len(known) == len({*sources}) and (shape := _result(made, known)):
            self.shapes[called] = self.extents[step.output[0]] = shape  # onnx may not have seen so far
        return called

    def array(self, name: str) -> Array:
        """A constant, which may be written to: the same array wherever it stands."""
        if name not in self.constants:
            raise ReadingError(f"its input `{name}` needs to be a constant")
        if name not in self.copies:
            self.copies[name] = np.array(self.constants[name])
        return self.copies[name]

    def axes(self, name: str) -> int:
        """How many axes a value has."""
        if name not in self.extents:
            raise ReadingError(f"the shape of its input `{name}` is not known, and it matters here")
        return len(self.extents[name])

    def source(self, name: str) -> str:
        if name not in self.names:
            raise ReadingError(f"its input `{name}` comes from no operator")
        return self.names[name]


def _given(step: Any, number: int) -> str | None:
    """The name of an input, if it is there: an absent one before others is an empty word."""
    return step.input[number] if number < len(step.input) and step.input[number] else None


def _pads(attributes: Mapping[str, Any], kernel: Shape, stride: Shape, dilation: Shape) -> Any:
    """(before, after) for each axis. SAME says so for strides of 1; for others it depends on the extent."""
    auto, axes = attributes.get("auto_pad", "NOTSET"), len(kernel)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        if set(stride) != {1}:
            raise ReadingError(f"auto_pad={auto} with strides={stride} has no equal here")
        less = [d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True)]
        more = [d * (k - 1) - n for k, d, n in zip(kernel, dilation, less, strict=True)]
        return tuple(zip(less, more, strict=True) if auto == "SAME_UPPER" else zip(more, less, strict=True))
    if auto not in ("NOTSET", "VALID"):
        raise ReadingError(f"auto_pad={auto} has no equal here")
    pads = attributes.get("pads") or [0] * 2 * axes
    return tuple((int(pads[k]), int(pads[k + axes])) for k in range(axes))


def _layer(graph: _Graph, step: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {"weight": graph.array(step.input[1])}
    bias = _given(step, 2)
    return arguments if bias is None else {**arguments, "bias": graph.array(bias)}


def _conv(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    arguments = _layer(graph, step)
    kernel = arguments["weight"].shape[2:]
    ones = (1,) * len(kernel)
    stride, dilation = (tuple(attributes.get(name, ones)) for name in ("strides", "dilations"))
    same = attributes.get("auto_pad") == "SAME_UPPER"
    graph.put(
        step,
        f"conv{len(kernel)}d",
        graph.source(step.input[0]),
        **arguments,
        stride=stride,
        padding="same" if same else _pads(attributes, kernel, stride, dilation),
        dilation=dilation,
        groups=int(attributes.get("group", 1)),
    )


def _conv_transpose(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    arguments = _layer(graph, step)
    kernel = arguments["weight"].shape[2:]
    ones = (1,) * len(kernel)
    stride, dilation = (tuple(attributes.get(name, ones)) for name in ("strides", "dilations"))
    if "output_shape" in attributes or attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise ReadingError("output_shape and auto_pad have no equal here; pads have")
    pads = _pads(attributes, kernel, stride, dilation)
    if any(before != after for before, after in pads):
        raise ReadingError(f"pads={attributes['pads']} has no equal here: as many before as after have")
    graph.put(
        step,
        f"conv_transpose{len(kernel)}d",
        graph.source(step.input[0]),
        **arguments,
        stride=stride,
        padding=tuple(before for before, _ in pads),
        output_padding=tuple(attributes.get("output_padding", (0,) * len(kernel))),
        groups=int(attributes.get("group", 1)),
        dilation=dilation,
    )


def _pool(kind: str) -> Callable[[_Graph, Any, Mapping[str, Any]], None]:
    def row(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
        kernel = tuple(attributes["kernel_shape"])
        axes = len(kernel)
        ones = (1,) * axes
        stride, dilations = (tuple(attributes.get(name, ones)) for name in ("strides", "dilations"))
        padding = _pads(attributes, kernel, stride, dilations)
        arguments: dict[str, Any] = {
            "kernel_size": kernel,
            "stride": stride,
            "padding": padding,
            "ceil_mode": bool(attributes.get("ceil_mode", 0)),
        }
        if kind == "max":
            arguments["dilation"] = dilations
        elif set(dilations) != {1}:
            raise ReadingError(f"dilations={dilations} has no equal here")
        if kind == "avg":
            arguments["count_include_pad"] = bool(attributes.get("count_include_pad", 0))
        if kind == "lp":
            if any(map(any, padding)):
                raise ReadingError("pads have no equal here")
            del arguments["padding"]
            arguments["norm_type"] = float(attributes.get("p", 2))
        graph.put(step, f"{kind}_pool{axes}d", graph.source(step.input[0]), **arguments)

    return row


def _gemm(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    if attributes.get("transA", 0):
        raise ReadingError("transA has no equal here")
    weight = graph.array(step.input[1])
    weight = weight if attributes.get("transB", 0) else np.ascontiguousarray(weight.T)
    alpha, beta = (float(attributes.get(name, 1)) for name in ("alpha", "beta"))
    arguments = {"weight": weight if alpha == 1 else (alpha * weight).astype(weight.dtype)}
    if (name := _given(step, 2)) is not None:
        bias = graph.array(name)
        if bias.size not in (1, len(weight)) or (bias.size > 1 and bias.shape[-1] != len(weight)):
            raise ReadingError(
                f"a bias of shape {bias.shape} has no equal here: one row, ({len(weight)},), has"
            )
        if bias.size == 1 or beta != 1:
            bias = np.array(np.broadcast_to(beta * bias.reshape(-1), len(weight))).astype(bias.dtype)
        arguments["bias"] = bias.reshape(-1)
    graph.put(step, "linear", graph.source(step.input[0]), **arguments)


def _matmul(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    weight = graph.array(step.input[1])
    if weight.ndim != 2:
        raise ReadingError(f"the matrix has {weight.ndim} axes but needs 2")
    graph.put(step, "linear", graph.source(step.input[0]), weight=np.ascontiguousarray(weight.T))


def _add(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    constant = next((name for name in step.input if name in graph.constants), None)
    if constant is None:
        last = graph.source(step.input[0])
        for name in step.input[1:]:  # Sum has any number
            last = graph.put(step, "add", last, graph.source(name))
        graph.names[step.output[0]] = last
        return
    # a bias behind the operator that has none yet: torch writes a linear layer so
    (other,) = (name for name in step.input if name != constant)
    before, bias = graph.nodes.get(graph.source(other)), graph.array(constant)
    called = "" if before is None else str(getattr(before.operator, "__name__", ""))
    layer = re.fullmatch(r"linear|conv([123])d", called)
    if before is None or layer is None or "bias" in before.parameters:
        raise ReadingError("a constant is added to what is no layer without a bias")
    if graph.uses[other] > 1:
        raise ReadingError(f"a constant is added to `{other}`, which is also used without")
    count, after = len(before.parameters["weight"]), int(layer[1] or 0)
    needed = (count, *(1,) * after)
    if bias.shape[max(0, bias.ndim - after - 1) :] != needed or bias.size != count:
        raise ReadingError(f"a constant of shape {bias.shape} is added; a bias of this layer has {needed}")
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
    axis = attributes.get("axis", 1)
    if axis < 0:
        axis += graph.axes(step.input[0])
    if axis != 1:
        raise ReadingError(f"axis={attributes['axis']} has no equal here; 1 has")
    graph.put(step, "flatten", graph.source(step.input[0]))


def _reshape(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    """To a matrix of one row for each image, if the extents show that it is."""
    shape = graph.array(step.input[1]).tolist()
    extents = graph.extents.get(step.input[0], ())
    batch, row = (extents[0], extents[1:]) if extents else (None, (None,))
    entries = None if None in row else math.prod(n for n in row if n is not None)
    rows = len(shape) == 2 and (
        (shape[0] == 0 and shape[1] in (-1, entries))
        or (shape[0] == -1 and shape[1] == entries)
        or (shape[0] == batch and batch is not None and shape[1] in (-1, entries))
    )
    if not rows or (shape[0] == 0 and attributes.get("allowzero", 0)):
        raise ReadingError(
            f"the shape {shape}, of {[n or '?' for n in extents]}, has no equal here; a matrix of one row for each "
            "image has, [0, -1]"
        )
    graph.put(step, "flatten", graph.source(step.input[0]))


def _batch_norm(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    names = ("weight", "bias", "running_mean", "running_var")
    arrays = dict(zip(names, map(graph.array, step.input[1:5]), strict=True))
    if attributes.get("training_mode", 0):
        raise ReadingError("training_mode=1 has no equal here")
    eps, kept = (float(attributes.get(k, d)) for k, d in (("epsilon", 1e-5), ("momentum", 0.9)))
    graph.put(step, "batch_norm", graph.source(step.input[0]), **arrays, eps=eps, momentum=1 - kept)


def _instance_norm(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    arrays = dict(zip(("weight", "bias"), map(graph.array, step.input[1:3]), strict=True))
    eps = float(attributes.get("epsilon", 1e-5))
    graph.put(step, "instance_norm", graph.source(step.input[0]), **arrays, eps=eps)


def _group_norm(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    if graph.opset < 21:
        raise ReadingError(
            f"opset {graph.opset} has a scale for each group; 21 and newer one for each channel"
        )
    arrays = dict(zip(("weight", "bias"), map(graph.array, step.input[1:3]), strict=True))
    eps = float(attributes.get("epsilon", 1e-5))
    groups = int(attributes["num_groups"])
    graph.put(step, "group_norm", graph.source(step.input[0]), **arrays, num_groups=groups, eps=eps)


def _layer_norm(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    arrays = dict(zip(("weight", "bias"), map(graph.array, filter(None, step.input[1:3])), strict=False))
    shape, axis = arrays["weight"].shape, int(attributes.get("axis", -1))
    if axis >= 0:
        axis -= graph.axes(step.input[0])
    if axis != -len(shape):
        raise ReadingError(
            f"axis={attributes.get('axis', -1)} has no equal here with a scale of shape {shape}"
        )
    eps = float(attributes.get("epsilon", 1e-5))
    graph.put(step, "layer_norm", graph.source(step.input[0]), **arrays, normalized_shape=shape, eps=eps)


def _lrn(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    size = int(attributes["size"])
    if size % 2 == 0:
        raise ReadingError(f"size={size} has no equal here: the longer side is after a channel")
    options = {
        name: float(attributes.get(key, value))
        for name, key, value in (("alpha", "alpha", 1e-4), ("beta", "beta", 0.75), ("k", "bias", 1.0))
    }
    graph.put(step, "local_response_norm", graph.source(step.input[0]), size=size, **options)


def _clip(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    names = (_given(step, 1), _given(step, 2))
    low, high = (None if name is None else float(graph.array(name).reshape(())) for name in names)
    source = graph.source(step.input[0])
    if (low, high) == (0, 6):
        graph.put(step, "relu6", source)
    elif low == 0 and high is None:
        graph.put(step, "relu", source)
    elif low is not None and high is not None:
        graph.put(step, "hardtanh", source, min_val=low, max_val=high)
    else:
        raise ReadingError(f"min={low} and max={high} have no equal here; both, or min=0, have")


def _prelu(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    slope = graph.array(step.input[1])
    if slope.size > 1:  # it is repeated from its last axis on
        channels = slope.shape[max(0, slope.ndim - graph.axes(step.input[0]) + 1) :]
        if channels[:1] != (slope.size,) or len(channels) != graph.axes(step.input[0]) - 1:
            raise ReadingError(
                f"a slope of shape {slope.shape} has no equal here: one, or one for each channel, has"
            )
    graph.put(step, "prelu", graph.source(step.input[0]), weight=slope.reshape(-1))


def _hard_sigmoid(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    alpha, beta = (float(attributes.get(name, value)) for name, value in (("alpha", 0.2), ("beta", 0.5)))
    if np.float32(alpha) != np.float32(1 / 6) or beta != 0.5:
        raise ReadingError(f"alpha={alpha:.6g} and beta={beta:g} have no equal here; 1/6 and 0.5 have")
    graph.put(step, "hardsigmoid", graph.source(step.input[0]))


def _softmax(name: str) -> Callable[[_Graph, Any, Mapping[str, Any]], None]:
    def row(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
        graph.put(step, name, graph.source(step.input[0]), dim=int(attributes.get("axis", -1)))

    return row


def _shrink(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    lambd, bias = (float(attributes.get(name, value)) for name, value in (("lambd", 0.5), ("bias", 0.0)))
    if bias not in (0, lambd):
        raise ReadingError(f"bias={bias:g} has no equal here; 0 and lambd have")
    graph.put(step, "softshrink" if bias else "hardshrink", graph.source(step.input[0]), lambd=lambd)


def _threshold(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    alpha = float(attributes.get("alpha", 1))
    graph.put(step, "threshold", graph.source(step.input[0]), threshold=alpha, value=0.0)


def _global_lp(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    graph.put(step, "global_lp_pool", graph.source(step.input[0]), norm_type=float(attributes.get("p", 2)))


def _reduce(kind: str) -> Callable[[_Graph, Any, Mapping[str, Any]], None]:
    """Over the plane, which is what a network ends with."""

    def row(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
        axes, name = graph.axes(step.input[0]), _given(step, 1)
        over = attributes.get("axes", []) if name is None else graph.array(name).tolist()
        if axes < 3 or sorted(a % axes for a in over) != list(range(2, axes)):
            raise ReadingError(
                f"axes={list(over)} of {axes} have no equal here; all behind the channels have"
            )
        last = graph.put(step, f"global_{kind}_pool", graph.source(step.input[0]))
        if not attributes.get("keepdims", 1):
            graph.put(step, "flatten", last)

    return row


def _padding(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    modes = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    mode = attributes.get("mode", "constant")
    if mode not in modes or _given(step, 3) is not None:
        raise ReadingError("axes, and a mode but constant, reflect, edge and wrap, have no equal here")
    pads = [int(n) for n in graph.array(step.input[1])]
    pairs = list(zip(pads[: len(pads) // 2], pads[len(pads) // 2 :], strict=True))
    while len(pairs) > 1 and pairs[0] == (0, 0):
        del pairs[0]
    value = _given(step, 2)
    fill = (
        {"value": float(graph.array(value).reshape(()))} if value is not None and mode == "constant" else {}
    )
    flat = tuple(n for pair in reversed(pairs) for n in pair)
    graph.put(step, "pad", graph.source(step.input[0]), pad=flat, mode=modes[mode], **fill)


def _resize(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    """Whole scales, or extents, as torch's Upsample is written."""
    mode, places = (
        attributes.get(name, value)
        for name, value in (("mode", "nearest"), ("coordinate_transformation_mode", "half_pixel"))
    )
    scales, sizes = _given(step, 2), _given(step, 3)
    values = graph.array(scales or sizes or "").tolist()
    axes = len(values) - 2
    kinds = {1: "linear", 2: "bilinear", 3: "trilinear"}
    whole = scales is not None and all(n >= 1 and n == int(n) for n in values)
    rounded = attributes.get("nearest_mode", "round_prefer_floor")
    if mode == "nearest" and places == "asymmetric" and rounded == "floor":
        options: dict[str, Any] = {"mode": "nearest"}
    elif mode == "nearest" and places.endswith("half_pixel") and rounded.startswith("round") and whole:
        options = {"mode": "nearest-exact"}
    elif mode in ("linear", "cubic") and places in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        kind = kinds.get(axes) if mode == "linear" else "bicubic" if axes == 2 else None
        options = {"mode": kind, "align_corners": places == "align_corners"}
    else:
        options = {"mode": None}
    others = attributes.keys() & {"axes", "antialias", "exclude_outside", "keep_aspect_ratio_policy"}
    cubic = float(attributes.get("cubic_coeff_a", -0.75)) == -0.75 or mode != "cubic"
    if options["mode"] is None or any(attributes[name] not in (0, "stretch") for name in others) or not cubic:
        raise ReadingError(f"such a Resize has no equal here: {dict(attributes)}")
    if scales is not None and (values[:2] != [1, 1] or not whole):
        raise ReadingError(
            f"scales={values} have no equal here; whole ones, of the axes behind the channels, have"
        )
    if scales is None and list(graph.extents.get(step.input[0], ())[1:2]) != values[1:2]:
        raise ReadingError(f"sizes={values} have no equal here; with as many channels as there are they have")
    options["scale_factor" if scales is not None else "size"] = tuple(
        float(n) if scales is not None else int(n) for n in values[2:]
    )
    graph.put(step, "interpolate", graph.source(step.input[0]), **options)


def _depth_to_space(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    if attributes.get("mode", "DCR") != "CRD":
        raise ReadingError("mode=DCR has no equal here; CRD has")
    factor = int(attributes["blocksize"])
    graph.put(step, "pixel_shuffle", graph.source(step.input[0]), upscale_factor=factor)


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
    also = {"axis": "dim"}
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
            arguments[argument] = graph.array(value)
        else:
            sources.append(graph.source(value))
    graph.put(step, name, *sources, **arguments)


ROWS: Mapping[str, Callable[[_Graph, Any, Mapping[str, Any]], None]] = {
    "Add": _add,
    "AveragePool": _pool("avg"),
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": _depth_to_space,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _simple("global_avg_pool"),
    "GlobalLpPool": _global_lp,
    "GlobalMaxPool": _simple("global_max_pool"),
    "GroupNormalization": _group_norm,
    "HardSigmoid": _hard_sigmoid,
    "InstanceNormalization": _instance_norm,
    "LRN": _lrn,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": _softmax("log_softmax"),
    "LpPool": _pool("lp"),
    "MatMul": _matmul,
    "MaxPool": _pool("max"),
    "PRelu": _prelu,
    "Pad": _padding,
    "ReduceMax": _reduce("max"),
    "ReduceMean": _reduce("avg"),
    "Reshape": _reshape,
    "Resize": _resize,
    "Shrink": _shrink,
    "Softmax": _softmax("softmax"),
    "Sum": _add,
    "ThresholdedRelu": _threshold,
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
