"""What a fuzzer passes: arrays that lie oddly in memory, and things that are no arrays, numbers or names at all.

An array of `form` equals the one that it is made of and a call must take it; what the tables hold may be refused,
but only by an error of `kernels`. Everything is drawn from a `Random`, so that a case can be had again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

Array = np.ndarray[Any, np.dtype[Any]]
Shape = tuple[int, ...]
CANARY = 0xA5


# ---------------------------------------------------------------------------------------- memory


class Placed:
    """An array, and all of the memory around it."""

    def __init__(self, array: Array, owner: Array) -> None:
        self.array = array
        self.owner = owner  # bytes
        self.before = owner.copy()

    def untouched(self) -> bool:
        return np.array_equal(self.owner, self.before)

    def kept_its_surroundings(self) -> bool:
        """Whether nothing but the array's own elements was written; they are what they were afterwards."""
        was = Placed(self.array, self.owner).before
        first = self._offset()
        same = np.ndarray(self.array.shape, self.array.dtype, self.before, first, self.array.strides)
        self.array[...] = same
        kept = self.untouched()
        self.owner[...] = was
        return kept

    def _offset(self) -> int:
        return int(self.array.ctypes.data - self.owner.ctypes.data)


def placed(array: Array, random: Random, *, aligned: bool = True) -> Placed:
    """The same numbers in a memory of its own: axes in any order, reversed, with gaps, and canaries around."""
    rank, item = array.ndim, array.dtype.itemsize
    order = list(range(rank))
    if random.random() < 0.5:
        random.shuffle(order)
    gap = (
        [random.choice((1, 1, 1, 2, 3)) for _ in order] if rank < 8 and random.random() < 0.5 else [1] * rank
    )
    strides = [0] * rank
    step = item
    for axis in reversed(order):
        strides[axis] = step * gap[axis] + (0 if aligned else random.choice((0, 1, 2, item // 2)))
        step = strides[axis] * max(array.shape[axis], 1)
    offset = 64 + (0 if aligned else random.choice((1, 2, item // 2)))
    first = offset
    for axis in range(rank):
        if random.random() < 0.25 and array.shape[axis] > 1:
            first += (array.shape[axis] - 1) * strides[axis]
            strides[axis] = -strides[axis]
    room = np.full(offset + step + 192, CANARY, np.uint8)
    room = room[-room.ctypes.data % 64 :]
    made = np.ndarray(array.shape, array.dtype, room, first, strides)
    made[...] = array
    return Placed(made, room)


def spread(array: Array, random: Random) -> Placed:
    """Some axes of stride 0: one entry, seen many times."""
    index = tuple(slice(0, 1) if n and random.random() < 0.6 else slice(None) for n in array.shape)
    inner = placed(array[index].copy(), random)
    return Placed(np.broadcast_to(inner.array, array.shape), inner.owner)


def windowed(array: Array, random: Random) -> Placed:
    """Elements that share memory with their neighbours: windows of one line."""
    item = array.dtype.itemsize
    strides = [random.choice((0, 1, 1, 2)) * item for _ in array.shape]
    reach = sum(s * max(n - 1, 0) for s, n in zip(strides, array.shape, strict=True)) + item
    room = np.full(reach + 64, CANARY, np.uint8)
    line = room[: reach // item * item].view(array.dtype)
    line[...] = np.resize(array.ravel(), line.shape) if array.size else 0
    made = np.ndarray(array.shape, array.dtype, room, 0, strides)
    return Placed(made, room)


class Plain(np.ndarray[Any, np.dtype[Any]]):
    """A subclass that changes nothing."""


def form(array: Array, random: Random) -> Placed:
    """An array of the same type and shape (`spread` and `windowed`: of other numbers) that a call has to take."""
    kind = random.random()
    if kind < 0.35:
        return placed(array, random)
    if kind < 0.5:
        return placed(array, random, aligned=False)
    if kind < 0.6:
        return spread(array, random)
    if kind < 0.65:
        return windowed(array, random)
    owner = np.ascontiguousarray(array).reshape(-1).view(np.uint8).copy()
    made = owner.view(array.dtype).reshape(array.shape)
    if kind < 0.7:
        return Placed(made.view(Plain), owner)
    if kind < 0.75:
        made.flags.writeable = False
    elif kind < 0.78 and array.ndim == 2:
        return Placed(np.asmatrix(made), owner)
    return Placed(made, owner)


# --------------------------------------------------------------------------------- evil objects

FAILURES = (ValueError, KeyError, TypeError, OverflowError, RuntimeError, RecursionError, MemoryError, AttributeError,
            StopIteration, ZeroDivisionError, OSError, AssertionError, NotImplementedError)  # fmt: skip


def raises(failure: type[Exception]) -> Callable[..., Any]:
    def method(self: object, *args: object, **options: object) -> Any:
        raise failure("as it pleases")

    return method


def gives(value: object) -> Callable[..., Any]:
    return lambda self, *args, **options: value


def item(value: object) -> Callable[..., Any]:
    """A few of them: of a sequence without end NumPy itself never comes back."""

    def method(self: object, n: object) -> Any:
        if not isinstance(n, int) or n >= 5:
            raise IndexError(n)
        return value

    return method


METHODS: dict[str, tuple[object, ...]] = {
    "__array__": (None, 3, "text", np.zeros((2, 3)), np.zeros(2, object), np.ma.masked_array([1.0], [True])),
    "__index__": (2, -1, 2**40, 10**400, 2.5, None, "2"),
    "__float__": (0.5, float("nan"), 1e400, None, "x", 1),
    "__int__": (1, None),
    "__len__": (0, 2, -1, 2**62, 2**70, None),
    "__getitem__": (1, None, "text"),
    "__iter__": (None, 3),
    "__bool__": (True, None, 2),
    "__eq__": (True, False, None, np.array([True, False])),
    "__ne__": (True, np.array([True, False])),
    "__hash__": (1, None, "x"),
    "__repr__": ("evil", "x" * 10**5, "two\nlines", None),
    "__str__": ("evil", None),
    "__array_ufunc__": (None,),
    "__array_function__": (None,),
}
PROPERTIES: dict[str, tuple[object, ...]] = {
    "shape": ((2, 3), (), (-1,), (2, "x"), (2**40, 2**40), 5, None, "ab", [2, 3], (2.0,), (True,), ((1,), 2)),
    "dtype": (np.dtype(float), np.dtype(object), "float64", None, 3),
    "ndim": (0, 2, -1, None, "two"),
    "size": (0, 10**9, None),
    "strides": ((8,), None),
    "flags": (None, 3),
    "T": (None,),
    "__array_interface__": (None, 3, {}, {"shape": (2,)}),
    "__dict__": (None,),
}


def evil(random: Random, base: type = object) -> type:
    """A class in which some of what is asked of an object raises, or gives nonsense."""
    space: dict[str, Any] = {}
    for name in random.sample(sorted(METHODS), random.randint(1, 5)):
        values, failing = METHODS[name], random.random() < 0.5
        give = item if name == "__getitem__" else gives
        space[name] = raises(random.choice(FAILURES)) if failing else give(random.choice(values))
    names = sorted(PROPERTIES)
    if base is not object:
        space.pop("__array__", None)
        names = ["shape", "dtype", "ndim", "size", "flags", "T"]
    for name in random.sample(names, random.randint(0, 2)):
        values, failing = PROPERTIES[name], random.random() < 0.5
        space[name] = property(raises(random.choice(FAILURES)) if failing else gives(random.choice(values)))
    return type("Evil", (base,), space)


def thing(random: Random) -> object:
    """An object of no use."""
    return evil(random)()


def subclassed(array: Array, random: Random) -> object:
    """The array as an evil subclass."""
    kind = evil(random, np.ndarray)
    return np.ascontiguousarray(array).view(kind) if array.ndim else array.view(kind)


def sequence(values: Sequence[Any], random: Random) -> object:
    """A tuple or list of an evil class."""
    base = random.choice((tuple, list))
    return evil(random, base)(values)


def text(value: str, random: Random) -> object:
    return evil(random, str)(value)


def number(value: float, random: Random) -> object:
    return evil(random, type(value))(value)


# ------------------------------------------------------------------------------- in place of arrays

TYPES = ("f2", "g", "c8", "c16", "i1", "i4", "i8", "u1", "u8", "?", "O", "U3", "S3", "M8[s]", "m8[s]", "V4",
         ">f4", ">f8", ">i8", "f4", "f8")  # fmt: skip


def other_type(array: Array, random: Random) -> object:
    kind = random.choice(TYPES)
    if kind == "V4" or random.random() < 0.05:
        kinds: tuple[Any, ...] = ("V4", [("a", "f8"), ("b", "i4")], [("x", "f8")])
        return np.zeros(array.shape, random.choice(kinds))
    whole = (
        array.astype(np.int64)
        if array.dtype.kind == "i"
        else np.clip(np.nan_to_num(array), -9, 9).astype("i1")
    )
    return whole.astype("i8").astype(kind) if kind[0] in "Mm" else whole.astype(kind)


def other_shape(array: Array, random: Random) -> object:
    shape = list(array.shape)
    kind = random.randrange(6)
    if kind == 0 or not shape:
        shape.insert(random.randint(0, len(shape)), random.choice((0, 1, 2)))
    elif kind == 1:
        del shape[random.randrange(len(shape))]
    elif kind == 2:
        shape = []
    elif kind == 3:
        shape = shape + [1] * random.choice((1, 5, 12, 30, 64 - len(shape)))
    else:
        shape[random.randrange(len(shape))] += random.choice((-1, 1, 3))
    return np.ones([max(n, 0) for n in shape], array.dtype)


def empty_axis(array: Array, random: Random) -> object:
    shape = list(array.shape) or [1]
    shape[random.randrange(len(shape))] = 0
    return np.ones(shape, array.dtype)


def huge(array: Array, random: Random) -> object:
    """Enormous extents over a single element."""
    shape = list(array.shape) or [1]
    for axis in random.sample(range(len(shape)), random.randint(1, len(shape))):
        shape[axis] = random.choice((2**31 - 1, 2**31, 2**33, 2**40, 2**59))
    one = np.zeros(1, array.dtype)
    try:
        return as_strided(one, tuple(shape), (0,) * len(shape))
    except ValueError:  # more than NumPy itself can have
        return as_strided(one, (2**33, *(1 for _ in shape[1:])), (0,) * len(shape))


def listed(array: Array, random: Random) -> object:
    return random.choice((list, tuple))(array.tolist()) if array.ndim else array.tolist()


def nonsense(array: Array, random: Random) -> object:
    made: tuple[object, ...] = (
        None, "text", "", b"bytes", {}, {1.0}, frozenset(), object(), 3, 3.5, 1j, True, [], (), [[1.0], [1.0, 2.0]],
        [None], ["a"], range(3), iter([1.0]), map(float, "12"), len, int, np, Ellipsis, NotImplemented, slice(3),
        np.float64(2), np.float32(2), np.int64(1), np.True_, np.str_("s"), np.datetime64("now"), np.void(b"1234"),
        np.ma.masked_array(array), np.array(None), np.array([None]), np.array([[1], "a"], object), memoryview(b"12345678"),
        bytearray(8), Fraction(1, 2), array.dtype, array.flags, array.data, np.ma.masked, float("nan"), 10**400,
    )  # fmt: skip
    return random.choice(made)


IN_PLACE_OF_ARRAYS: tuple[Callable[[Array, Random], object], ...] = (
    other_type, other_type, other_shape, other_shape, empty_axis, huge, huge, listed, nonsense, nonsense, subclassed,
    lambda array, random: thing(random), lambda array, random: sequence(array.ravel().tolist()[:3], random),
)  # fmt: skip


def torch_tensor(array: Array, random: Random) -> object:
    """As torch has it; NumPy refuses some of these."""
    import torch

    try:
        made = torch.from_numpy(np.ascontiguousarray(array).copy())
    except TypeError:
        return torch.zeros(tuple(array.shape))
    kind = random.randrange(5)
    if kind == 1 and made.is_floating_point():
        return made.requires_grad_()
    if kind == 2:
        return made.to(torch.bfloat16)
    if kind == 3:
        return made.to("meta")
    return made.to_sparse() if kind == 4 and made.ndim else made


# --------------------------------------------------------------------------- in place of an option

NUMBERS: tuple[object, ...] = (
    0, 1, 2, 3, 5, -1, -2, 100, 10**4, 2**16, 2**30, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64, -(2**63),
    10**30, 10**400, 10**5000, True, False, 1.0, 0.5, -0.0, float("nan"), float("inf"), -float("inf"), 1e308, 5e-324, 1j,
    None, "1", "", "valid", "same", "mean", "full", b"1", (), [], (1,), [2], (1, 2), [1, 2], (1, 2, 3), (1, 1, 1, 1, 1),
    ((1, 1),), ((1, 0), (0, 1)), ((0, 1), (0, 1), (1, 0)), ((1,),), ((1, 2, 3),), [[1, 1], [1, 1]], (((1, 1),),), (1, None),
    (None,), ("1",), (1.0, 2), (True, 1), (2**31 - 1, 2**31 - 1), (2**31 - 1,) * 3, (0, 0), (0, 0, 0), (-1, 1), {}, {1: 2},
    {1}, range(2), np.int8(2), np.uint8(1), np.int64(2), np.uint64(2**63), np.float32(2), np.float64("nan"), np.True_,
    np.array(2), np.array([1, 2]), np.array([1]), np.array([], int), np.array([[1, 2]]), np.array([1.0, 2.0]),
    np.array([None, 1]), np.array(["1"]), np.array(2, ">i8"), np.ma.masked_array([1, 2]), np.ma.masked, object(), len, int,
    slice(1), Ellipsis, Fraction(3), Fraction(1, 2), np.datetime64(1, "s"), np.void(b"1"), iter((1, 2)), np.arange(6)[::2],
    "x" * 1000, tuple(range(1000)),
)  # fmt: skip


def option(random: Random, was: object) -> object:
    """Anything, in place of an option's value."""
    kind = random.random()
    if kind < 0.75:
        return random.choice(NUMBERS)
    if kind < 0.85:
        return thing(random)
    if kind < 0.92:
        values = (
            was
            if isinstance(was, (tuple, list))
            else (was if isinstance(was, int) else 1,) * random.randint(0, 3)
        )
        return sequence(values, random)
    if kind < 0.96:
        return text(was if isinstance(was, str) else "same", random)
    return number(random.choice((1, 2, 0.0, -100)), random)


def name(random: Random, names: Sequence[str]) -> object:
    """Anything, in place of names."""
    one = random.choice(names) if names else "x"
    made: tuple[object, ...] = (
        "", "nonsense", one.upper(), (one, one), (), [], [None], (one, "nonsense"), None, 3, 1.5, True, {one}, {one: 1},
        iter([one]), b"input", (b"input",), np.array([one]), [np.str_(one)], np.str_(one), object(), thing(random),
        [thing(random)], sequence([one], random), text(one, random), [text(one, random)], ["x" * 10000], [[one]],
        [one] * 100, np.array(one), "grad_output",
    )  # fmt: skip
    return random.choice(made)
