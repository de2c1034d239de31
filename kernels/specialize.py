"""What calls have in common, and how it is found again.

To check a call and prepare its programs takes a hundred microseconds and more, a small kernel takes less than
ten. All of it follows from the types, shapes and strides of the arrays and the values of the options, which
make the call's *key*: the first call with a key makes a `Specialization`, later ones find it. What a key does
not hold is checked every time: the values of integer arrays, and `out`.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from kernels.adapter import Layout, Plan
from kernels.arguments import Array, Shape, readable
from kernels.runtime.execute import Place, Prepared, address

V = TypeVar("V")

SPECIALIZATIONS = 128  # kept of one operator
PROGRAMS = 16  # kept of one specialization: different `wrt`, strides of cotangents, strides of `out`


class Recent(Generic[V]):
    """The `most` values that were asked for last, by key, and at most twice as many. Threads may share it.

    Two generations, so that a value of the younger one is found in a single step: what is asked for and found in
    the older one joins the younger, and when that is full it is the older one.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._young: dict[Hashable, V] = {}
        self._old: dict[Hashable, V] = {}

    def get(self, key: Hashable) -> V | None:
        value = self._young.get(key)
        if value is None and (value := self._old.get(key)) is not None:
            self.put(key, value)
        return value

    def put(self, key: Hashable, value: V) -> None:
        young = self._young
        young[key] = value
        if len(young) >= self.most:
            self._old, self._young = young, {}

    def values(self) -> list[V]:
        return list({**self._old, **self._young}.values())

    def __len__(self) -> int:
        return len(self.values())


# ------------------------------------------------------------------------------------------- keys


class Unkeyed(Exception):
    """An argument of a kind that is looked at anew in every call."""


def array_key(value: object) -> tuple[Hashable, ...]:
    """What the kernels know of an array."""
    if type(value) is np.ndarray:
        return value.shape, value.strides, value.dtype, value.flags.aligned
    if value is None:
        return (None,)
    raise Unkeyed


def option_key(value: object, depth: int = 2) -> Hashable:
    """Equal for options that mean the same: True is not 1, and 0.0 not -0.0, though Python has them equal."""
    kind = type(value)
    if kind is int or kind is str or kind is bool or value is None:
        return kind, value
    if kind is float:
        return kind, repr(value)
    if depth and isinstance(value, (tuple, list)) and kind in (tuple, list):
        return kind, *[option_key(v, depth - 1) for v in value]
    raise Unkeyed


def call_key(
    args: Sequence[object],
    options: Mapping[str, object],
    arrays: Mapping[str, object],
    later: Collection[int] = (),
) -> Hashable | None:
    """The key of a call whose first arguments are `arrays`, but for those at the places `later`; None if there is none.

    One flat tuple: how many arguments have no keyword says where each of its parts begins.
    """
    count = len(arrays) - len(later)
    parts: list[Hashable] = [len(args)]
    try:
        for value in args[:count]:
            parts += array_key(value)
        for place, value in enumerate(args[count:], count):
            if place in later:
                parts += array_key(value)
            else:
                parts.append(option_key(value))
        for name, value in options.items():
            parts.append(name)
            if name in arrays:
                parts += array_key(value)
            else:
                parts.append(value if type(value) is int else option_key(value))
    except Unkeyed:
        return None
    return tuple(parts)


# -------------------------------------------------------------------------------- specializations


class Input(NamedTuple):
    """An array argument that is present, or that an array full of one number stands for."""

    layout: Layout
    source: int | str  # its place among the arguments of the call, or its keyword
    place: Place  # as the tensor of the formula
    direct: bool  # kernels read its own memory; else a copy, made in every call
    full: Array | None = None  # what stands for an absent one


class Program(NamedTuple):
    """A prepared program, with what its caller has to make and may keep."""

    prepared: Prepared
    results: tuple[tuple[Shape, np.dtype[Any], bool], ...]  # shape, type, whether it starts as zeros
    read: tuple[int, ...]  # origins of the kept tensors that it is given after all others
    left: tuple[int, ...]  # origins of its last results, which are to be kept


class Targets(NamedTuple):
    """The gradients that a pullback makes."""

    layouts: tuple[Layout, ...]
    names: tuple[str, ...]  # as tensors
    order: tuple[int | None, ...]  # which of them each name in `wrt` is; None: an absent or integer argument


@dataclass(frozen=True, slots=True)
class Specialization:
    """All that calls with one key share."""

    plan: Plan
    dtype: np.dtype[Any]  # of real arrays
    inputs: tuple[Input, ...]
    indices: tuple[int, ...]  # the inputs whose values are used as indices
    names: tuple[str, ...]  # the tensors that a call returns
    real: tuple[Layout, ...]  # those of them that have a derivative
    first: bool  # the inputs are the call's first arguments, as they are
    targets: dict[tuple[str, ...], Targets] = field(default_factory=dict)  # by `wrt`
    programs: Recent[Program] = field(default_factory=lambda: Recent(PROGRAMS))


class Keeper:
    """Tensors that outlast a run, for those that come after it; by origin (`kernels.runtime.selection`).

    What follows from the `fixed` inputs alone is kept, since these stay as they are as long as the keeper is used.
    Threads may share it: the mapping is replaced and never changed, so that each finds what it needs or, where
    two run at once for the first time, makes it.
    """

    __slots__ = ("fixed", "tensors")

    def __init__(self, fixed: Collection[str], tensors: Mapping[int, Array] = MappingProxyType({})) -> None:
        self.fixed = fixed
        self.tensors = tensors

    def keep(self, origins: Iterable[int], arrays: Iterable[Array]) -> None:
        self.tensors = {**self.tensors, **dict(zip(origins, arrays, strict=True))}


class Seen(NamedTuple):
    """A further array of a run: a cotangent, a tangent, an output."""

    array: Array
    strides: (
        tuple[int, ...] | None
    )  # as the tensor of the formula; None: it is in C order, and seen by its layout
    layout: Layout

    @classmethod
    def by(cls, layout: Layout, array: Array) -> Seen:
        """An array in the user's shape; a copy where a kernel cannot read or write it as it lies."""
        flags = array.flags
        if flags.c_contiguous and flags.aligned:
            return cls(array, None, layout)
        view = readable(layout.view(array))
        return cls(view, view.strides, layout)

    @property
    def place(self) -> Place:
        if self.strides is not None:
            return Place.of(self.array)
        view = self.layout.view(self.array)
        assert not view.size or address(view) == address(self.array), "a view of an array in C order copies"
        return Place.of(view)
