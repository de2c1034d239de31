"""A torch.nn.Sequential as a network. Nothing of torch is imported: modules are asked for what they have."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from kernels.arguments import Array
from kernels.network import Network, Node, node
from kernels.reading.common import Found, Operators, ReadingError, fresh
from kernels.training import Dropout

Copies = dict[int, tuple[Any, Array]]  # of tensors by their identity, which each keeps by being there


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
    alone: `instance_norm(use_input_stats=False)`. Raises ReadingError for a module that is none of these.
    """
    found, nodes, copies = Found(operators), dict[str, Node](), Copies()
    for path, part in _parts(module):
        kind = type(part).__name__
        called = fresh(re.sub(r"[.\[\]]", "_", path) or kind.lower(), {*nodes, "input"})
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
    return "instance_norm", {"use_input_stats": False}


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
    "Unflatten": lambda module: ("unflatten", {"sizes": tuple(module.unflattened_size)}),
    "Softmax2d": lambda module: ("softmax", {"dim": -3}),
    "RReLU": lambda module: ("leaky_relu", {"negative_slope": (module.lower + module.upper) / 2}),
}
