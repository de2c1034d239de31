"""A graph of operators with named parameters: forward, pullback, freezing, feature maps, state on disk.

    from kernels import conv2d, cross_entropy, flatten, linear, max_pool2d, relu
    from kernels.network import Network, node

    network = Network({
        "conv1": node(conv2d, weight=w1, bias=b1, padding=1),  # an array is a parameter, anything else an option
        "relu1": node(relu),                                   # without a source: the node before
        "conv2": node(conv2d, weight=w2, bias=b2, padding=1),
        "sum": node(add, "relu1", "conv2"),                    # any graph without a cycle
    })
    y = network(images)
    y, pullback = network.vjp(images)
    gradients = pullback(gy)                                   # {"conv1.weight": ..., "conv1.bias": ..., ...}

Whatever is called and differentiated like an operator of `kernels` may be a node: one of yours from `derive.build`,
or any object whose `vjp(*arrays, wrt=names, **options)` returns a result and a pullback.

Some layers compute something else while a network is trained. `network.vjp(images, training=True)` says that it is:
every operator with an option `training` is given it (`batch_norm`, `kernels.training.Dropout`, an object of yours),
and new running statistics take the place of the old ones. A call without it changes nothing.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from kernels.adapter import Adapter
from kernels.arguments import Array
from kernels.errors import KernelError, NetworkError, StateError

ONE_OUTPUT = re.compile(r"(?P<node>.+)\[(?P<output>\d+)\]")
WORD = re.compile(r"[^.\[\]]+")


@dataclass(frozen=True, slots=True)
class Node:
    """An operator and what it is called with: sources, arrays, options."""

    operator: Any
    sources: tuple[str, ...]  # nodes or inputs of the network; `pool[1]` is the second output of `pool`
    parameters: Mapping[str, Array]  # by the operator's names for them; buffers, too
    options: Mapping[str, Any]

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the operator calls its sources: its first arguments that are neither parameters nor options."""
        given = {*self.parameters, *self.options}
        free = [name for name in _arrays(self.operator) if name not in given]
        return tuple(free[: len(self.sources)])

    def __reduce__(self) -> tuple[Any, ...]:
        return _node, (self.operator, self.sources, dict(self.parameters), dict(self.options))

    def buffer(self, argument: str) -> bool:
        """Whether this array of the node is no parameter: integers, or what the operator itself renews."""
        return argument in _renewed(self.operator) or self.parameters[argument].dtype.kind != "f"

    @property
    def trains(self) -> bool:
        """Whether the operator is told that a network is trained."""
        adapter = getattr(self.operator, "adapter", None)
        if isinstance(adapter, Adapter):
            known = "training" in adapter.signature.parameters and "training" not in adapter.fixed
        else:
            known = "training" in inspect.signature(self.operator).parameters
        return known and "training" not in self.options


def _node(
    operator: Any, sources: tuple[str, ...], parameters: dict[str, Array], options: dict[str, Any]
) -> Node:
    """A node that nobody changes; what copies and pickles it calls this."""
    return Node(operator, sources, MappingProxyType(parameters), MappingProxyType(options))


def node(operator: Any, /, *sources: str, **arguments: Any) -> Node:
    """A node: of `arguments` the arrays are parameters (or buffers), the others options.

    sources  what the operator's remaining array arguments are, in order: names of nodes, or of the network's inputs.
             None: the node before, or the network's first input.
    """
    for source in sources:
        if not isinstance(source, str):
            raise NetworkError(f"a source is {source!r} but needs the name of a node or of an input")
    parameters = {n: v for n, v in arguments.items() if isinstance(v, np.ndarray)}
    options = {n: v for n, v in arguments.items() if n not in parameters}
    return _node(operator, sources, parameters, options)


@dataclass(frozen=True, slots=True)
class Source:
    """An output of a node, or an input of the network."""

    name: str
    output: int = 0

    @classmethod
    def of(cls, text: str) -> Source:
        match = ONE_OUTPUT.fullmatch(text)
        return cls(match["node"], int(match["output"])) if match else cls(text)


class Network:
    """Operators in an order in which each comes after its sources.

    nodes    by name; a name holds no dot and no bracket
    inputs   what the arrays of a call are named, in order
    output   the node whose value a call returns; the last one by default

    `parameters` holds every parameter as `node.argument`, `buffers` the arrays that have no gradient: integers, and
    running statistics. Arrays are kept, not copied: an optimizer may write to them or put others in their place. An
    array that several nodes have is one parameter, under the first of its names, and has one gradient, their sum.
    `copy.deepcopy` gives a network with arrays of its own.

    Raises NetworkError: a name twice, a source that does not come before, a node that its operator cannot take.
    """

    def __init__(
        self, nodes: Mapping[str, Node], inputs: Sequence[str] = ("input",), output: str | None = None
    ) -> None:
        self.inputs = (inputs,) if isinstance(inputs, str) else tuple(inputs)
        self.nodes: dict[str, Node] = {}
        self.parameters: dict[str, Array] = {}
        self.buffers: dict[str, Array] = {}
        self.frozen: set[str] = set()
        self._names: dict[str, str] = {}  # of each `node.argument`: another where nodes share an array
        self._sources: dict[str, tuple[Source, ...]] = {}
        if not nodes:
            raise NetworkError("a network needs at least one node")
        if not self.inputs or len(set(self.inputs)) < len(self.inputs):
            raise NetworkError(f"`inputs` is {self.inputs} but needs different names, at least one")
        previous = self.inputs[0]
        for name, made in nodes.items():
            self._add(name, made, previous)
            previous = name
        self.output = previous if output is None else output
        if self.output not in self.nodes:
            raise NetworkError(f"`output` is {output!r} but needs a node: {', '.join(self.nodes)}")

    def _add(self, name: str, made: Node, previous: str) -> None:
        if not WORD.fullmatch(name):
            raise NetworkError(f"a node cannot be called {name!r}: no dot, no bracket, not empty")
        if name in self.inputs:
            raise NetworkError(f"`{name}` is both an input and a node")
        if not isinstance(made, Node):
            raise NetworkError(f"node `{name}` is {type(made).__name__}; make it with node(operator, ...)")
        made = made if made.sources else Node(made.operator, (previous,), made.parameters, made.options)
        sources = tuple(map(Source.of, made.sources))
        known = (*self.inputs, *self.nodes)
        for source in sources:
            if source.name not in known:
                raise NetworkError(
                    f"node `{name}` has the source {source.name!r}, which does not come before it "
                    f"(there are {', '.join(known)})"
                )
        if len(made.arguments) < len(sources):
            raise NetworkError(
                f"node `{name}` has {len(sources)} sources, too many beside its parameters and options; the array "
                f"arguments of {_called(made.operator)} are {', '.join(_arrays(made.operator))}"
            )
        self.nodes[name] = made
        self._sources[name] = sources
        for argument, array in made.parameters.items():
            kept = self.buffers if made.buffer(argument) else self.parameters
            own = f"{name}.{argument}"
            self._names[own] = next((n for n, other in kept.items() if other is array), own)
            kept[self._names[own]] = array

    # ------------------------------------------------------------------------------------ values

    def __call__(self, *inputs: Any, training: bool = False) -> Any:
        """The output for these inputs. With `training`, running statistics move, as in `vjp`."""
        return self.features(*inputs, at=(self.output,), training=training)[self.output]

    def features(
        self, *inputs: Any, at: Iterable[str] | None = None, training: bool = False
    ) -> dict[str, Any]:
        """Feature maps: the values of the nodes named in `at` (of all by default); only what they need is run."""
        names = tuple(self.nodes) if at is None else ((at,) if isinstance(at, str) else tuple(at))
        values = self._values(inputs)
        self._run(values, self._needed(names), training)
        return {name: values[Source.of(name)] for name in names}

    def vjp(
        self, *inputs: Any, wrt: str | Sequence[str] = (), at: str | None = None, training: bool = False
    ) -> tuple[Any, Callable[..., dict[str, Array]]]:
        """The output (or the value `at` a node), and its pullback.

        training  run as in training: batch normalisation takes the statistics of this batch, and writes the new
                  running ones to `buffers`; dropout draws. A node whose running statistics are frozen does as in
                  inference, and so does one with an option training=False of its own.

        The pullback takes the cotangent of that value to the gradients by name: of every parameter that is real,
        not frozen, and reaches the value, and of the inputs named in `wrt`. What is frozen costs nothing: where
        no gradient is wanted below a node, its pullback is not even made. It may be called again.
        """
        asked = (wrt,) if isinstance(wrt, str) else tuple(wrt)
        for name in asked:
            if name not in self.inputs:
                raise NetworkError(f"`wrt` has {name!r} but needs inputs: {', '.join(self.inputs)}")
        end = Source.of(self.output if at is None else at)
        values = self._values(inputs)
        moving = {Source(name) for name in asked}
        steps = self._run(values, self._needed((end.name,)), training, moving)

        def pullback(cotangent: Any) -> dict[str, Array]:
            gradients: dict[str, Array] = {}
            flowing: dict[Source, Any] = {end: cotangent}
            for step in reversed(steps):
                given = [flowing.pop(s, None) for s in step.outputs]
                if all(g is None for g in given):
                    continue
                with _Within(step.name):
                    found = step.pullback(*given)
                for target, gradient in zip(step.targets, found, strict=True):
                    if isinstance(target, str):
                        gradients[target] = _sum(gradients.get(target), gradient)
                    elif gradient is not None:
                        flowing[target] = _sum(flowing.get(target), gradient)
            for step in steps:  # in the order of the graph; what nothing reached has the gradient zero
                for name in (t for t in step.targets if isinstance(t, str)):
                    gradient = gradients.pop(name, None)
                    gradients[name] = np.zeros_like(self.parameters[name]) if gradient is None else gradient
            for name in asked:
                source = Source(name)
                gradients[name] = flowing[source] if source in flowing else np.zeros_like(values[source])
            return gradients

        return values[end], pullback

    def _values(self, inputs: Sequence[Any]) -> dict[Source, Any]:
        if len(inputs) != len(self.inputs):
            raise NetworkError(
                f"the network takes {len(self.inputs)} inputs ({', '.join(self.inputs)}) but got {len(inputs)}"
            )
        return {Source(name): value for name, value in zip(self.inputs, inputs, strict=True)}

    def _needed(self, names: Iterable[str]) -> set[str]:
        """The nodes that these come from, themselves included."""
        found: set[str] = set()
        left = [Source.of(name).name for name in names]
        while left:
            name = left.pop()
            if name in self.inputs or name in found:
                continue
            if name not in self.nodes:
                raise NetworkError(f"there is no node {name!r} (there are {', '.join(self.nodes)})")
            found.add(name)
            left += [s.name for s in self._sources[name]]
        return found

    def _run(
        self,
        values: dict[Source, Any],
        needed: set[str],
        training: bool,
        moving: set[Source] | None = None,
    ) -> list[_Step]:
        """Fill in the values of nodes. With `moving`, the values that have a gradient, keep pullbacks, too."""
        renewed: dict[str, Array] = {}
        steps: list[_Step] = []
        for name, made in self.nodes.items():
            if name not in needed:
                continue
            sources = self._sources[name]
            arguments = dict(zip(made.arguments, (values[s] for s in sources), strict=True))
            targets: dict[str, Source | str] = {}
            if moving is not None:
                targets = {a: s for a, s in zip(made.arguments, sources, strict=True) if s in moving}
                learnt = self._learnt(name)
                targets |= {argument: self._names[f"{name}.{argument}"] for argument in learnt}
            given = {**arguments, **self.arrays(name), **made.options}
            own = self._renewed_by(name)
            buffers = {k: b for k, b in own.items() if training and b not in self.frozen}
            if made.trains:
                given["training"] = training and bool(buffers or not own)
            with _Within(name):
                if targets:
                    result, pullback = made.operator.vjp(**given, wrt=tuple(targets))
                else:
                    result = made.operator(**given)
            outputs = result if isinstance(result, tuple) else (result,)
            if buffers and len(outputs) > 1:
                renewed |= {b: outputs[1 + k] for k, b in buffers.items()}
            made_here = {Source(name, n): array for n, array in enumerate(outputs)}
            values |= made_here
            if targets and moving is not None:
                real = tuple(s for s, array in made_here.items() if np.asarray(array).dtype.kind == "f")
                moving |= set(real)
                steps.append(_Step(name, pullback, real, tuple(targets.values())))
        for buffer, array in renewed.items():  # once nothing can fail any more
            if not self.buffers[buffer].flags.writeable:
                raise NetworkError(f"`{buffer}` cannot be written to; put a copy of it into `buffers`")
            self.buffers[buffer][...] = array
        return steps

    def _learnt(self, name: str) -> list[str]:
        """The arrays of a node that have a gradient: parameters that are not frozen."""
        own = ((argument, self._names[f"{name}.{argument}"]) for argument in self.nodes[name].parameters)
        return [a for a, called in own if called in self.parameters and called not in self.frozen]

    def _renewed_by(self, name: str) -> dict[int, str]:
        """The buffers of a node that training renews, by their number among those of its operator."""
        own = enumerate(f"{name}.{argument}" for argument in _renewed(self.nodes[name].operator))
        return {k: self._names[n] for k, n in own if n in self._names}

    def arrays(self, name: str) -> dict[str, Array]:
        """The parameters and buffers that a node has now, by its operator's names for them."""
        held = {**self.parameters, **self.buffers}
        return {a: held[self._names[f"{name}.{a}"]] for a in self.nodes[name].parameters}

    # -------------------------------------------------------------------------------- parameters

    @property
    def trainable(self) -> dict[str, Array]:
        """The parameters that have a gradient, by name."""
        return {name: array for name, array in self.parameters.items() if name not in self.frozen}

    def freeze(self, *names: str) -> None:
        """No gradients of these from now on: names of parameters, or of nodes for all of theirs.

        What is frozen does not move: running statistics neither, so that batch normalisation of a frozen node is that
        of inference. (torch goes on moving them; freeze "bn.weight" and "bn.bias" alone for that.)
        """
        self.frozen |= self._matching(names)

    def unfreeze(self, *names: str) -> None:
        self.frozen -= self._matching(names)

    def _matching(self, names: Iterable[str]) -> set[str]:
        """Parameters by their names, or by what precedes a dot or follows a star: conv1, conv1.weight, conv*."""
        found: set[str] = set()
        for name in names:
            if name.endswith("*"):
                own = {p for p in self._names if p.startswith(name[:-1])}
            else:
                own = {p for p in self._names if p == name or p.startswith(f"{name}.")}
            if not own:
                raise NetworkError(
                    f"no parameter is called {name!r} or begins so (there are {', '.join(self._names)})"
                )
            found |= {self._names[p] for p in own}
        return found

    def state(self) -> dict[str, Array]:
        """A copy of every parameter and every buffer, by name."""
        return {name: array.copy() for name, array in {**self.parameters, **self.buffers}.items()}

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Copies of these arrays become the parameters and buffers; nothing changes unless all of them fit.

        Raises StateError with every name that is missing or unexpected, and every shape or type that differs.
        """
        held = {**self.parameters, **self.buffers}
        faults = [f"`{name}` is missing" for name in held if name not in state]
        faults += [f"`{name}` is unexpected" for name in state if name not in held]
        for name, array in held.items():
            if name not in state:
                continue
            found = np.asarray(state[name])
            if found.shape != array.shape:
                faults.append(f"`{name}` has shape {found.shape} but the network needs {array.shape}")
            elif found.dtype != array.dtype:
                faults.append(f"`{name}` is {found.dtype} but the network needs {array.dtype}")
        if faults:
            raise StateError("this state does not fit the network:\n    " + "\n    ".join(faults))
        for name in held:
            own = self.parameters if name in self.parameters else self.buffers
            own[name] = np.array(state[name])

    def save(self, path: str | Path) -> None:
        """Write every parameter and every buffer to a file of NumPy's (npz)."""
        with Path(path).open("wb") as file:  # under this very name: np.savez would add an ending
            np.savez(file, **self.parameters, **self.buffers)  # type: ignore[arg-type]

    def load(self, path: str | Path) -> None:
        """Read what `save` wrote. StateError as in `load_state`, or where the file is no such file."""
        try:
            file = np.load(path, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise StateError(f"{path} holds a single array; a state is an npz file of named ones")
            with file:
                state = {name: file[name] for name in file.files}
        except (ValueError, EOFError, OSError) as error:
            if isinstance(error, (FileNotFoundError, StateError)):
                raise
            raise StateError(f"{path} is no npz file of arrays: {error}") from None
        self.load_state(state)

    # ------------------------------------------------------------------------------ other networks

    def until(self, name: str) -> Network:
        """The network that ends at a node. It shares arrays, and what is frozen stays so."""
        needed = self._needed((name,))
        if name not in self.nodes:
            raise NetworkError(f"`{name}` is an input; a network ends at a node")
        return self._derived({n: self._now(n) for n in self.nodes if n in needed}, name)

    def extended(self, nodes: Mapping[str, Node]) -> Network:
        """This network with further nodes behind its output, or with others in place of those of that name.

        A node without a source takes the one before, the first of them this network's output. The last new node is
        the output, or if all replace another, the output stays. Other arrays are shared, and what is frozen stays so,
        the parameters of a replaced node aside.
        """
        kept = {n: self._now(n) for n in self.nodes}
        new = [n for n in nodes if n not in kept]
        previous = self.output
        for name, made in nodes.items():
            if not isinstance(made, Node):
                raise NetworkError(
                    f"node `{name}` is {type(made).__name__}; make it with node(operator, ...)"
                )
            before = self.nodes[name].sources if name in self.nodes else (previous,)
            kept[name] = Node(made.operator, made.sources or before, made.parameters, made.options)
            previous = name
        return self._derived(kept, new[-1] if new else self.output, tuple(nodes))

    def _now(self, name: str) -> Node:
        """A node with its sources, and the arrays that it has now."""
        made = self.nodes[name]
        return Node(made.operator, made.sources, MappingProxyType(self.arrays(name)), made.options)

    def _derived(self, nodes: Mapping[str, Node], output: str, replaced: Iterable[str] = ()) -> Network:
        made = Network(nodes, self.inputs, output)
        kept = (n for n in made._names if n in self._names and n.partition(".")[0] not in replaced)
        made.frozen = {made._names[n] for n in kept if self._names[n] in self.frozen}
        return made

    def __repr__(self) -> str:
        count = sum(array.size for array in self.parameters.values())
        return f"<network of {len(self.nodes)} nodes and {count} parameters: {', '.join(self.nodes)}>"


@dataclass(frozen=True, slots=True)
class _Step:
    """A node of a forward run with its pullback: cotangents of `outputs` to gradients of `targets`."""

    name: str
    pullback: Callable[..., Sequence[Any]]
    outputs: tuple[Source, ...]
    targets: tuple[Source | str, ...]  # a value, or a parameter by name


class _Within:
    """Errors of an operator leave with the node's name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, KernelError):
            raise error.within(f"node `{self.name}`") from None


def _sum(one: Any, other: Any) -> Any:
    """Two gradients together; None is zero."""
    return one if other is None else other if one is None else one + other


def _renewed(operator: Any) -> tuple[str, ...]:
    """The arguments whose new values follow an operator's result in training, in order: its attribute `buffers`."""
    return tuple(getattr(operator, "buffers", ()))


def _arrays(operator: Any) -> tuple[str, ...]:
    """What may be an array: of an operator of ours we know it, of another it is whatever has a position."""
    adapter = getattr(operator, "adapter", None)
    if isinstance(adapter, Adapter):
        return tuple(adapter.tensors)
    parameters = inspect.signature(operator).parameters.values()
    return tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)


def _called(operator: Any) -> str:
    return str(getattr(operator, "__name__", type(operator).__name__))
