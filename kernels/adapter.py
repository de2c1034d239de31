"""What lies between a user's call and a formula: which argument is which tensor, and how it is seen.

An adapter is a plain function from the *shapes* of the array arguments and the values of the options to a
`Plan`; its parameters are the operator's signature and its docstring the operator's documentation:

    def linear(spec: Spec, input: Shape, weight: Shape, bias: Shape | None = None) -> Plan: ...

A plan says how every array of the call is seen as a tensor of the formula (a view: an axis split in two, an
axis added), and what all the integers are. It is about shapes alone, so it serves the forward call, every
gradient, tangent and cotangent, and `output_shape`: each has the layout of an input or an output.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from kernels.arguments import (
    LARGEST_ARRAY,
    REAL,
    Array,
    Shape,
    attribute,
    check_size,
    entries,
    integer,
    per_axis,
    real,
    shown,
)
from kernels.errors import ArgumentError, ArgumentTypeError, ShapeError

if TYPE_CHECKING:
    from kernels.runtime.definition import Definition, Parameter, Tensor

EMPTY = inspect.Parameter.empty
ONE_BYTE = np.zeros((), np.int8)


def same(array: Array) -> Array:
    return array


@dataclass(frozen=True, slots=True)
class Values:
    """0 <= value < below, or one more value; `origin` says where the bound comes from."""

    below: int
    origin: str
    also: int | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """One of the user's arrays: its name and shape there, its tensor in the formula, and the view of it.

    `fill` says that the argument is absent, and what number stands for each of its elements (a weight of 1). Without a
    layout an absent argument has no elements, and nothing with them is added. `values` are those that an array of
    integers may hold, where the formula does not say it: one that compares with them, and does not use them as indices.
    """

    argument: str
    tensor: str
    shape: Shape
    view: Callable[[Array], Array] = same
    fill: float | None = None
    values: Values | None = None

    @property
    def seen(self) -> Shape:
        """The shape as a tensor of the formula."""
        if self.view is same:
            return self.shape
        check_size(f"`{self.argument}`", self.shape)
        return tuple(self.view(as_strided(ONE_BYTE, self.shape, (0,) * len(self.shape))).shape)


@dataclass(frozen=True, slots=True)
class Plan:
    """A call, but for the arrays themselves."""

    inputs: tuple[Layout, ...]  # the arrays that are present
    outputs: tuple[Layout, ...]  # what the call returns, in order
    environment: Mapping[str, int]  # every integer of the formula by name
    reals: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Spec:
    """A definition, with what adapters ask of it."""

    definition: Definition
    axes: int = 0  # how many spatial axes
    dtype: np.dtype[Any] = REAL[-1]  # of the real arrays

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        return {t.name: t for t in self.definition.tensors}

    def reals(self, **values: float) -> dict[str, float]:
        """Those of these that the formula has: an exponent that it writes out is none of its parameters."""
        names = {p.name for p in self.definition.parameters}
        return {name: value for name, value in values.items() if name in names}

    def environment(self, inputs: Iterable[Layout], /, **integers: int) -> dict[str, int]:
        """Extents by the formula's names for them, integer parameters, and all that follows from both."""
        found: dict[str, int] = dict(integers)
        origin = {name: f"{name}={value}" for name, value in integers.items()}
        for layout in inputs:
            shape, names = layout.seen, self.tensors[layout.tensor].shape
            if len(shape) != len(names):
                axes = ", ".join(map(str, names))
                raise ShapeError(
                    f"`{layout.argument}` has {len(shape)} axes but needs {len(names)}: ({axes})"
                )
            for axis, (name, extent) in enumerate(zip(names, shape, strict=True)):
                have = found.setdefault(name, extent) if isinstance(name, str) else name
                if have != extent:
                    why = f" ({name}, from {origin[name]})" if isinstance(name, str) else ""
                    raise ShapeError(
                        f"`{layout.argument}` has extent {extent} along axis {axis} but needs {have}{why}"
                    )
                if isinstance(name, str):
                    origin.setdefault(name, f"{layout.argument}.shape[{axis}]")
        for tensor in self.definition.programs["forward"].inputs:
            for extent_name in self.tensors[tensor].shape:
                if isinstance(extent_name, str):
                    found.setdefault(extent_name, 0)  # of an absent tensor, which no phase will read
        found |= self.definition.sizes(**found)
        self.check(found)
        return found

    def check(self, environment: Mapping[str, int]) -> None:
        """The definition's own conditions, and that every extent is one."""
        for condition in self.definition.conditions:
            left, right = (
                environment[side] if isinstance(side, str) else side
                for side in (condition.left, condition.right)
            )
            if left < right:
                needs = f"needs {condition.left} >= {condition.right}, found {left} < {right}"
                raise ShapeError(f"{condition.reason} ({needs})")
        for tensor in self.definition.programs["forward"].outputs:
            if any(n < 0 for n in self.shape(tensor, environment)):
                shape = self.shape(tensor, environment)
                raise ShapeError(f"`{tensor}` would have the shape {shape}; the inputs are too small")
        for name, value in environment.items():
            if abs(value) > LARGEST_ARRAY:
                raise ShapeError(f"{name} = {value} is too large: sums of such integers do not fit 64 bits")

    def shape(self, tensor: str, environment: Mapping[str, int]) -> Shape:
        """The shape of a tensor of the formula."""
        names = self.tensors[tensor].shape
        return tuple(environment[n] if isinstance(n, str) else n for n in names)


class Adapter:
    """A plan function, with the tensors that its array arguments are (in the order of the signature).

    `fixed` are options of which the operator has one value: conv2d_reflect is conv2d with padding_mode="reflect".
    `definition` is the generated module, where that is another's: max_pool1d_last pools planes of one row.
    `buffers` are array arguments that are no parameters of a layer: in training their new values follow the result.
    """

    buffers: tuple[str, ...] = ()

    def __init__(
        self,
        plan: Callable[..., Plan],
        tensors: Mapping[str, str],
        axes: int = 0,
        fixed: Mapping[str, object] = MappingProxyType({}),
        definition: str | None = None,
        buffers: tuple[str, ...] = (),
    ) -> None:
        self.plan = plan
        self.buffers = buffers
        self.definition = definition
        self.tensors = tensors
        self.axes = axes
        self.fixed = fixed
        _, *arguments = inspect.signature(plan).parameters.values()
        made, trailing = list[inspect.Parameter](), True
        for p in reversed(arguments):  # one value is its default, too, where a default may stand
            value = fixed.get(p.name, p.default) if trailing else p.default
            trailing = trailing and value is not EMPTY
            made.insert(0, p.replace(annotation=EMPTY, default=value))
        self.signature = inspect.Signature(made)
        self.doc = inspect.cleandoc(plan.__doc__ or "").replace("{axes}", str(axes))
        if fixed:
            self.doc += (
                f"\n\nThis is it with {', '.join(f'{n}={v!r}' for n, v in fixed.items())}, and with no other."
            )

    def arguments(self, args: Sequence[object], options: Mapping[str, object]) -> dict[str, Any]:
        """Every argument by name, defaults filled in."""
        try:
            bound = self.signature.bind(*args, **options)
        except TypeError as error:
            raise ArgumentTypeError(f"{error}; the arguments are {self.signature}") from None
        bound.apply_defaults()
        for name, only in self.fixed.items():
            value = bound.arguments[name]
            if not same_option(value, only):
                raise ArgumentError(f"`{name}` is {shown(value)} but this operator is the one of {only!r}")
        return bound.arguments


@dataclass(frozen=True)
class Variants:
    """An option that chooses the equations: for each of its values but some, the operator that has them.

    `choose` takes the arguments that a call gives, by name, and says the value where it is not that of one argument: a
    loss with a target of probabilities has other equations than one with classes, and nothing but the target says so.
    """

    option: str
    names: Mapping[Hashable, str]
    choose: Callable[[Mapping[str, Any]], Hashable] | None = None


def same_option(value: object, only: object) -> bool:
    """Is it that value of an option? 2 is 2.0, but True is not 1."""
    if (number := plain_number(only)) is not None:
        return plain_number(value) == number
    return type(value) is type(only) and bool(value == only)


def plain_number(value: object) -> int | float | None:
    """A number as Python's own, whatever its class says it equals; None for what is none, and for a bool."""
    kind = type(value)
    if issubclass(kind, float):
        return float.__float__(value)  # type: ignore[arg-type]
    if issubclass(kind, int) and kind is not bool:
        return int.__int__(value)  # type: ignore[arg-type]
    return value.item() if isinstance(value, (np.integer, np.floating)) else None


def shape_given(value: Any) -> Shape | None:
    """The shape of an argument of a call: of an array, of a number, or the shape itself; None where it is none."""
    if plain_number(value) is not None:
        return ()
    shape = attribute(value, "shape")
    found = entries(value if shape is None else shape)
    numbers = [None] if found is None else [plain_number(n) for n in found]
    whole = tuple(n for n in numbers if type(n) is int)
    return whole if len(whole) == len(numbers) else None


class Plain(Adapter):
    """A definition as it stands: arrays in the formula's shapes and order, parameters by group or by name."""

    def __init__(self, definition: Definition) -> None:
        inputs = [definition.tensor(name) for name in definition.programs["forward"].inputs]
        self.tensors = {t.name: t.name for t in inputs}
        self.axes, self.fixed, self.definition = 0, MappingProxyType({}), None
        self.groups: dict[str, list[Parameter]] = {}
        for p in definition.parameters:
            self.groups.setdefault(p.group or p.name, []).append(p)
        self.signature = written_signature(inputs, self.groups)
        self.doc = f"Arrays and parameters as in the formula:\n\n{definition.formula}"

    def arguments(self, args: Sequence[object], options: Mapping[str, object]) -> dict[str, Any]:
        """As for any adapter; `s0=2, s1=3` is first gathered into the group `s=(2, 3)`."""
        gathered = dict(options)
        for group, members in self.groups.items():
            single = [p.name for p in members if p.name != group and p.name in gathered]
            if not single:
                continue
            if group in gathered:
                raise ArgumentTypeError(f"`{single[0]}` belongs to `{group}`, which is given too")
            missing = [p.name for p in members if p.name not in gathered and p.default is None]
            if missing:
                raise ArgumentTypeError(f"`{single[0]}` is given without `{missing[0]}`")
            gathered[group] = tuple(gathered.pop(p.name, default(p)) for p in members)
        return super().arguments(args, gathered)

    def plan(self, spec: Spec, /, **arguments: Any) -> Plan:
        integers: dict[str, int] = {}
        reals: dict[str, float] = {}
        for group, members in self.groups.items():
            values = per_axis(group, arguments[group], len(members), lambda _, value: value)
            for p, value in zip(members, values, strict=True):
                if p.real:
                    reals[p.name] = real(p.name, value, p.minimum)
                else:
                    integers[p.name] = integer(p.name, value, p.minimum)
        inputs = tuple(Layout(n, n, arguments[n]) for n in self.tensors if arguments[n] is not None)
        environment = spec.environment(inputs, **integers)
        names = spec.definition.programs["forward"].outputs
        outputs = tuple(Layout(n, n, spec.shape(n, environment)) for n in names)
        return Plan(inputs, outputs, environment, reals)


def default(parameter: Parameter) -> float | None:
    return parameter.default if parameter.real or parameter.default is None else int(parameter.default)


def written_signature(
    inputs: Sequence[Tensor], groups: Mapping[str, Sequence[Parameter]]
) -> inspect.Signature:
    """Arrays in order, then the parameters by keyword. Optional arrays at the end may be left out."""
    arguments: list[inspect.Parameter] = []
    trailing = True
    for t in reversed(inputs):
        trailing = trailing and t.optional
        value: object = None if trailing else EMPTY
        arguments.insert(0, inspect.Parameter(t.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=value))
    for group, members in groups.items():
        values = tuple(default(p) for p in members)
        value = EMPTY if None in values else values[0] if len(set(values)) == 1 else values
        arguments.append(inspect.Parameter(group, inspect.Parameter.KEYWORD_ONLY, default=value))
    return inspect.Signature(arguments)


# ------------------------------------------------------------------------------------------ views


def split(axis: int, parts: int) -> Callable[[Array], Array]:
    """Sees an axis of n entries as two, of `parts` and n / parts: always a view, whatever the strides."""

    def view(array: Array) -> Array:
        before, n, after = array.shape[:axis], array.shape[axis], array.shape[axis + 1 :]
        return array.reshape(*before, parts, n // parts, *after)

    return view


def batched(array: Array) -> Array:
    """Sees an unbatched array as a batch of one."""
    return array[np.newaxis]


def then(*views: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """One view after the other."""

    def view(array: Array) -> Array:
        for step in views:
            array = step(array)
        return array

    return view


def reshaped(*shape: int) -> Callable[[Array], Array]:
    """Sees an array in another shape: a view where the strides allow it, else a copy."""

    def view(array: Array) -> Array:
        return array.reshape(shape)

    return view
