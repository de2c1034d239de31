"""An ONNX graph as a network: a row for each operator that is called or parametrised otherwise than ours."""

from __future__ import annotations

import inspect
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

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


def from_onnx(model: Any, operators: Operators = {}) -> Described:  # noqa: B006  (read only)
    """An ONNX model (its path, or the object), opset 13 or newer, as a network, with copies of its arrays.

    Operators with a row in `ROWS` are taken with their attributes; any other is looked for by its name. What follows from
    constants alone, or from a shape that is known, is worked out beforehand. A single number that a formula adds or
    multiplies with is a frozen parameter, an array one to train. Whatever would not be exactly what the
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
    made = _Graph(Found(operators), constants, names, opset, uses, _extents(model))
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
    network.freeze(*made.numbers)
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

    found: Found
    constants: dict[str, Array]
    names: dict[str, str]
    opset: int
    uses: Counter[str]  # how often each value is read, as a result of the graph, too
    extents: dict[str, tuple[int | None, ...]]
    nodes: dict[str, Node] = field(default_factory=dict)
    copies: dict[str, Array] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)  # of nodes and inputs, where they are known
    numbers: list[str] = field(default_factory=list)  # parameters that are a number of a formula

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
        operator = operator_called(name, self.found)
        called = fresh(_word(step.output[0]), {*self.nodes, *self.names.values()})
        self.nodes[called] = made = node(operator, *sources, **arguments)
        self.names[step.output[0]] = called
        known = {name: self.shapes[name] for name in sources if name in self.shapes}
        if len(known) == len({*sources}) and (shape := result_shape(made, known)):
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
        if kind in ("max", "lp"):
            arguments["dilation"] = dilations
        elif set(dilations) != {1}:
            raise ReadingError(f"dilations={dilations} has no equal here")
        if kind == "avg":
            arguments["count_include_pad"] = bool(attributes.get("count_include_pad", 0))
        if kind == "lp":
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
    """Sum has any number of them: values first."""
    if len(step.input) == 2 and _biased(graph, step):
        return
    last, *others = sorted(step.input, key=lambda name: name in graph.constants)
    for name in others:
        _of_two("add")(graph, _Step((last, name), step.output), attributes)
        last = step.output[0]
    if not others:
        graph.names[step.output[0]] = graph.source(last)


def _biased(graph: _Graph, step: Any) -> bool:
    """Whether this was the bias of the layer before, which has none yet: torch writes a linear layer so."""
    constant = next((name for name in step.input if name in graph.constants), None)
    if constant is None:
        return False
    (other,) = (name for name in step.input if name != constant)
    before, bias = graph.nodes.get(graph.source(other)), graph.array(constant)
    called = "" if before is None else str(getattr(before.operator, "__name__", ""))
    layer = re.fullmatch(r"linear|conv([123])d", called)
    if before is None or layer is None or "bias" in before.parameters or graph.uses[other] > 1:
        return False
    count, after = len(before.parameters["weight"]), int(layer[1] or 0)
    if bias.shape[max(0, bias.ndim - after - 1) :] != (count, *(1,) * after) or bias.size != count:
        return False
    named = {**before.parameters, **before.options, "bias": bias.reshape(-1)}
    graph.nodes[graph.source(other)] = node(before.operator, *before.sources, **named)
    graph.names[step.output[0]] = graph.source(other)
    return True


class _Step(NamedTuple):
    """What rows read of a node."""

    input: Sequence[str]
    output: Sequence[str]


def _of_two(operator: str) -> Callable[[_Graph, Any, Mapping[str, Any]], None]:
    """Of two values, or of a value and a constant: a parameter, or where it is a single number a frozen one."""

    def row(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
        named = list(zip(("input", "other"), step.input, strict=True))
        arrays = {argument: graph.array(name) for argument, name in named if name in graph.constants}
        sources = [graph.source(name) for argument, name in named if argument not in arrays]
        made = graph.put(step, operator, *sources, **arrays)
        graph.numbers += [f"{made}.{argument}" for argument, array in arrays.items() if array.size == 1]

    return row


def _pow(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    """A few whole powers, as products."""
    exponent = graph.array(step.input[1]) if step.input[1] in graph.constants else np.empty(0)
    power = float(exponent.reshape(-1)[0]) if exponent.size == 1 else 0.0
    if power not in (1, 2, 3, 4):
        raise ReadingError("a power has no equal here, but for the constant ones 1, 2, 3 and 4")
    base = graph.source(step.input[0])
    graph.names[step.output[0]] = base
    for _ in range(int(power) - 1):
        graph.put(step, "multiply", graph.source(step.output[0]), base)


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
    """What leaves the first axis, that of the images, as it is, if the extents show that it does."""
    shape = [int(n) for n in graph.array(step.input[1])]
    extents = graph.extents.get(step.input[0], ())
    batch, row = (extents[0], extents[1:]) if extents else (None, (None,))
    if not attributes.get("allowzero", 0):
        copied = [extents[k] if n == 0 and 0 < k < len(extents) else n for k, n in enumerate(shape)]
        shape = [0 if n is None else n for n in copied]
    first, rest = shape[:1], shape[1:]
    entries = None if None in row else math.prod(n for n in row if n is not None)
    whole = -1 not in rest and 0 not in rest and math.prod(rest) == entries
    split = rest.count(-1) == 1 and 0 not in rest
    same = (first == [0] and not attributes.get("allowzero", 0)) or (first == [batch] and batch is not None)
    if not rest or not ((same and (whole or split)) or (first == [-1] and whole)):
        raise ReadingError(
            f"the shape {shape}, of {[n or '?' for n in extents]}, has no equal here; one that leaves the first axis as it "
            "is has, [0, -1] say"
        )
    last = graph.source(step.input[0])
    if len(extents) != 2:
        last = graph.put(step, "flatten", last)
    if len(rest) > 1:
        last = graph.put(step, "unflatten", last, dim=1, sizes=tuple(rest))
    graph.names[step.output[0]] = last


def _axes_of(graph: _Graph, step: Any, further: int) -> list[int]:
    """The axes that a node adds or takes away, counted from the front; not the first, which is that of the images."""
    axes = graph.array(step.input[1]).tolist() if _given(step, 1) else None
    if axes is None:
        raise ReadingError("without axes it has no equal here")
    found = sorted(n if n >= 0 else n + graph.axes(step.input[0]) + further * len(axes) for n in axes)
    if found[:1] == [0]:
        raise ReadingError("axis 0 is that of the images, and stays as it is here")
    return found


def _unsqueeze(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    last = graph.source(step.input[0])
    for axis in _axes_of(graph, step, 1):
        last = graph.put(step, "unflatten", last, dim=axis - 1, sizes=(-1, 1))


def _squeeze(graph: _Graph, step: Any, attributes: Mapping[str, Any]) -> None:
    last = graph.source(step.input[0])
    for axis in reversed(_axes_of(graph, step, 0)):
        last = graph.put(step, "flatten", last, start_dim=axis - 1, end_dim=axis)


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
    "Div": _of_two("divide"),
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
    "Mul": _of_two("multiply"),
    "PRelu": _prelu,
    "Pad": _padding,
    "Pow": _pow,
    "ReduceMax": _reduce("max"),
    "ReduceMean": _reduce("avg"),
    "Reshape": _reshape,
    "Resize": _resize,
    "Shrink": _shrink,
    "Softmax": _softmax("softmax"),
    "Squeeze": _squeeze,
    "Sub": _of_two("subtract"),
    "Sum": _add,
    "ThresholdedRelu": _threshold,
    "Unsqueeze": _unsqueeze,
}
