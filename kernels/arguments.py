"""The checks of single arguments: kernels do not check bounds, so nothing reaches them unchecked.

Every function here takes the argument's name for its error and returns the value in the one form
that the rest of the package uses: an `ndarray`, an `int`, a tuple with one entry per spatial axis.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from kernels.errors import (
    AllocationError,
    ArgumentError,
    ArgumentTypeError,
    DtypeError,
    OutOfRangeError,
    OutputError,
    ShapeError,
)

Array = np.ndarray[Any, np.dtype[Any]]
Shape = tuple[int, ...]
T = TypeVar("T")

REAL = (np.dtype(np.float32), np.dtype(np.float64))
INTEGER = np.dtype(np.int64)
LARGEST_INTEGER = 2**63 - 1
LARGEST_ARRAY = LARGEST_INTEGER // 8
MOST_AXES = 64  # of NumPy's arrays
# A product of two options, and a sum of a few such products, fits the kernels' int64 arithmetic. One of more, with one
# for each axis, does not: sizes of memory are multiplied by `kernels.runtime.bounded`.
LARGEST_OPTION = 2**31 - 1


# ---------------------------------------------------------------------------------------- numbers


def integer(name: str, value: object, minimum: int | None = None, maximum: int = LARGEST_OPTION) -> int:
    """A Python or NumPy integer; bool and float are refused, 2.0 included."""
    if isinstance(value, (bool, np.bool_)):
        raise ArgumentTypeError(f"`{name}` is {shown(value)} but needs an integer, not a bool")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except Exception:  # what an object's own __index__ raises is no concern of the caller's
        kind = type(value).__name__
        raise ArgumentTypeError(f"`{name}` is {shown(value)} ({kind}) but needs an integer") from None
    if minimum is not None and number < minimum:
        raise ArgumentError(f"`{name}` is {shown(number)} but needs to be at least {minimum}")
    if abs(number) > maximum:
        raise ArgumentError(f"`{name}` is {shown(number)} but needs to be at most {maximum} in magnitude")
    return number


def positive(name: str, value: object) -> int:
    return integer(name, value, 1)


def nonzero(name: str, value: object) -> int:
    number = integer(name, value)
    if number == 0:
        raise ArgumentError(f"`{name}` is 0 but needs another integer")
    return number


def natural(name: str, value: object) -> int:
    return integer(name, value, 0)


def real(name: str, value: object, minimum: int | None = None) -> float:
    """A Python or NumPy number; NaN and infinity pass."""
    if isinstance(value, (bool, np.bool_, str, bytes)):
        raise ArgumentTypeError(f"`{name}` is {shown(value)} but needs a real number")
    try:
        number = float(value)  # type: ignore[arg-type]
    except Exception:  # its own __float__ may raise anything; 10**400 has none
        kind = type(value).__name__
        raise ArgumentTypeError(f"`{name}` is {shown(value)} ({kind}) but needs a real number") from None
    if minimum is not None and number < minimum:
        raise ArgumentError(f"`{name}` is {shown(number)} but needs to be at least {minimum}")
    return number


def flag(name: str, value: object) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise ArgumentTypeError(f"`{name}` is {shown(value)} but needs True or False")
    return bool(value)


def choice(name: str, value: object, choices: Sequence[str]) -> str:
    found = word(value)
    if found is None or found not in choices:
        raise ArgumentError(f"`{name}` is {shown(value)} but needs one of {', '.join(map(repr, choices))}")
    return found


def per_axis(name: str, value: object, axes: int, check: Callable[[str, object], T]) -> tuple[T, ...]:
    """One value for all axes, or a sequence with one for each (of length one: for all, as in torch)."""
    values = entries(value)
    if values is None and issubclass(type(value), np.ndarray) and (array := np.asarray(value)).ndim:
        values = tuple(array)
    if values is None:
        return (check(name, value),) * axes
    if len(values) == 1:
        return (check(name, values[0]),) * axes
    if len(values) != axes:
        needs = "one" if axes == 1 else f"one, or {axes}, one per axis"
        raise ArgumentError(f"`{name}` is {shown(value)}, with {len(values)} entries, but needs {needs}")
    return tuple(check(f"{name}[{i}]", v) for i, v in enumerate(values))


def padding_pairs(name: str, value: object, axes: int) -> tuple[tuple[int, int], ...]:
    """(before, after) per axis from an integer, one integer per axis, or one pair per axis."""
    values = entries(value)
    pairs = [entries(v) for v in values or ()]
    if any(pair is not None for pair in pairs):
        if len(pairs) != axes or any(pair is None or len(pair) != 2 for pair in pairs):
            raise ArgumentError(
                f"`{name}` is {shown(value)} but needs {axes} pairs (before, after), one per axis"
            )
        return tuple(
            (natural(f"{name}[{i}][0]", pair[0]), natural(f"{name}[{i}][1]", pair[1]))
            for i, pair in enumerate(pairs)
            if pair is not None
        )
    if axes == 1 and values is not None and len(values) == 2:
        pair = f"(({shown(values[0])}, {shown(values[1])}),)"
        raise ArgumentError(
            f"`{name}` is {shown(value)}, with 2 entries for 1 axis; before and after it is written {pair}"
        )
    return tuple((p, p) for p in per_axis(name, value, axes, natural))


def entries(value: object) -> tuple[Any, ...] | None:
    """What a tuple or list holds, whatever its class makes of lengths and places of its own; else None."""
    kind = type(value)
    if issubclass(kind, tuple):
        return tuple(tuple.__iter__(value))  # type: ignore[arg-type]
    return tuple(list.__iter__(value)) if issubclass(kind, list) else None  # type: ignore[arg-type]


def word(value: object) -> str | None:
    """A string as Python's own, whatever its class says it equals; else None."""
    return str.__str__(value) if issubclass(type(value), str) else None


def shown(value: object) -> str:
    """`value` in an error: short and on one line, whatever it is."""
    try:
        text = repr(value)
    except Exception:
        text = f"an {type(value).__name__}"
    return short(text)


def short(text: str, most: int = 60) -> str:
    """A text of somebody else's in an error: on one line, and cut."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 3] + "..."


def variable(name: str) -> str:
    """What an argument might be called in a hint: of "cotangent of the gradient of input" the first word."""
    return name.split()[0]


def attribute(value: object, name: str) -> Any:
    """An attribute, or None: what an object's own property raises is no concern of the caller's."""
    try:
        return getattr(value, name, None)
    except Exception:
        return None


# ----------------------------------------------------------------------------------------- arrays


def as_array(name: str, value: object) -> Array:
    """An ndarray as it is; anything else by `np.asarray` (a nested list of floats becomes float64)."""
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise ArgumentTypeError(
            f"`{name}` is a masked array, whose mask would be lost; write {variable(name)}.filled(0)"
        )
    if value is None or isinstance(value, (str, bytes, dict, set)):
        raise ArgumentTypeError(f"`{name}` is {shown(value)} but needs an array")
    try:
        return np.asarray(value)
    except Exception as error:  # a ragged list, a torch tensor that wants gradients, any __array__
        kind = type(value).__name__
        raise ArgumentTypeError(
            f"`{name}` ({kind}) does not become an array: {short(str(error), 240)}"
        ) from None


def cast(name: str, dtype: np.dtype[Any]) -> str:
    return f"{variable(name)}.astype(numpy.{dtype.newbyteorder('=').name})"


def check_real(name: str, array: Array, beside: np.dtype[Any] | None = None) -> None:
    """One of the types that kernels compute in; an array of another is told which, that of the others if there are some."""
    if array.dtype in REAL:
        return
    if not array.dtype.isnative and array.dtype.newbyteorder("=") in REAL:
        kind = f"{array.dtype.newbyteorder('=')} in foreign byte order"
        raise DtypeError(f"`{name}` is {kind} ({array.dtype.str}); write {cast(name, array.dtype)}")
    if array.dtype.kind in "biuf":
        to = beside or np.dtype(np.float32 if array.dtype.itemsize <= 2 else np.float64)
        raise DtypeError(f"`{name}` is {array.dtype} but needs float32 or float64; write {cast(name, to)}")
    raise DtypeError(f"`{name}` is {short(str(array.dtype))} but needs float32 or float64")


def check_same(name: str, array: Array, first: str, dtype: np.dtype[Any]) -> None:
    """All real arrays of one call are of one type: a silent cast would hide a copy, or lose digits."""
    if array.dtype != dtype:
        raise DtypeError(f"`{name}` is {array.dtype} but `{first}` is {dtype}; write {cast(name, dtype)}")


def distinct(array: Array) -> Array:
    """The elements that lie in places of their own: one of an axis that is broadcast, however long it claims to be."""
    return array[
        tuple(
            slice(1) if n > 1 and step == 0 else slice(None)
            for n, step in zip(array.shape, array.strides, strict=True)
        )
    ]


def as_indices(name: str, array: Array) -> Array:
    """int64 from any integer type; bool, float and object are refused."""
    if array.dtype == INTEGER:
        return array
    if array.dtype.kind not in "iu":
        raise DtypeError(f"`{name}` is {short(str(array.dtype))} but needs integers (int64)")
    if array.dtype == np.uint64 and array.size and int(largest := distinct(array).max()) > LARGEST_INTEGER:
        raise OutOfRangeError(f"`{name}` has {largest}, which int64 does not hold")
    check_size(f"`{name}`", array.shape)
    return array.astype(INTEGER)


def check_below(
    name: str, array: Array, shape: Shape, extent: int, origin: str, also: int | None = None
) -> None:
    """Every value is an index of an axis with `extent` entries, or `also`. `shape` is the array's own, for the error."""
    array = distinct(array.reshape(shape))
    if array.size == 0 or (array.min() >= 0 and array.max() < extent):
        return
    wrong = (array < 0) | (array >= extent)
    if also is not None:
        wrong &= array != also
        if not wrong.any():
            return
    where = tuple(int(i) for i in np.argwhere(wrong)[0])
    at = f" at {where[0] if len(where) == 1 else where}" if where else ""
    other = "" if also is None else f", or {also},"
    raise OutOfRangeError(
        f"`{name}` has {int(array[where])}{at} but needs 0 <= {name} < {extent}{other} ({origin})"
    )


def readable(array: Array) -> Array:
    """The array itself where a kernel can read it (aligned, strides in whole items), else a copy."""
    if array.flags.c_contiguous and array.flags.aligned:
        return array
    size = array.dtype.itemsize
    return array if array.flags.aligned and all(s % size == 0 for s in array.strides) else array.copy()


def empty(name: str, shape: Shape, dtype: np.dtype[Any], zeroed: bool = False) -> Array:
    """A new array; too large for the machine is an error that names it."""
    try:
        return np.zeros(shape, dtype) if zeroed else np.empty(shape, dtype)
    except (MemoryError, ValueError):
        check_size(name, shape)
        gib = math.prod(shape) * dtype.itemsize / 2**30
        raise AllocationError(f"{name} {shape} in {dtype} needs {gib:.3g} GiB, more than there is") from None


def check_size(name: str, shape: Shape) -> None:
    """Offsets in bytes are int64. An empty array with such an extent is refused with the others."""
    if math.prod(n or 1 for n in shape) > LARGEST_ARRAY:
        raise ShapeError(f"{name} {shape} has more elements than 64 bits can address")


def check_out(
    name: str,
    out: object,
    shape: Shape,
    dtype: np.dtype[Any],
    inputs: Sequence[tuple[str, Array]],
    others: Sequence[tuple[str, Array]] = (),
) -> Array:
    """`out` can take the result: shape, type, writeable, no memory shared with an input, others or within itself.

    `inputs` leaves out those that this result may overwrite (`kernels.in_place`).

    Of a subclass (a matrix, a memory map) it is the plain array: what a subclass makes of shapes is its own.
    """
    if not isinstance(out, np.ndarray):
        raise ArgumentTypeError(f"`{name}` is {shown(out)} but needs an ndarray {shape} of {dtype}")
    if isinstance(out, np.ma.MaskedArray):
        raise ArgumentTypeError(
            f"`{name}` is a masked array, whose mask would not be heeded; write {name}.data"
        )
    out = np.asarray(out)
    if out.shape != shape:
        raise OutputError(f"`{name}` has shape {out.shape} but the result has {shape}")
    if out.dtype != dtype:
        raise DtypeError(f"`{name}` is {short(str(out.dtype))} but the result is {dtype}")
    if not out.flags.writeable:
        raise OutputError(f"`{name}` is read-only")
    if overlaps_itself(out):
        raise OutputError(
            f"`{name}` has elements that may share memory (shape {out.shape}, strides {out.strides})"
        )
    for other, array in inputs:
        if overlap(out, array):
            raise OutputError(
                f"`{name}` shares memory with `{other}`, which is read while `{name}` is written"
            )
    for other, array in others:
        if overlap(out, array):
            raise OutputError(f"`{name}` shares memory with `{other}`, which is written, too")
    return out


def overlap(a: Array, b: Array) -> bool:
    """Whether an element of each lies at one address. Where that is too hard to tell, their bounds decide."""
    if not np.may_share_memory(a, b):
        return False
    try:
        return bool(np.shares_memory(a, b, max_work=100_000))  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def overlaps_itself(array: Array) -> bool:
    """Whether two elements may lie at one address: a stride within the reach of the smaller ones."""
    if array.flags.c_contiguous or array.size == 0:
        return False
    reach = array.dtype.itemsize
    for stride, extent in sorted(
        (abs(s), n) for s, n in zip(array.strides, array.shape, strict=True) if n > 1
    ):
        if stride < reach:
            return True
        reach += stride * (extent - 1)
    return False


def cotangent(name: str, value: object, shape: Shape, dtype: np.dtype[Any], of: str) -> Array | None:
    """An array with the shape and type of what it belongs to, or None (zero); a scalar may be any number."""
    if value is None or (type(value) is np.ndarray and value.shape == shape and value.dtype == dtype):
        return value
    if shape == () and isinstance(value, (int, float, np.floating)) and not isinstance(value, bool):
        return np.asarray(real(name, value), dtype)
    array = as_array(name, value)
    if array.shape != shape:
        raise ShapeError(f"`{name}` has shape {array.shape} but `{of}` has {shape}")
    check_real(name, array)
    check_same(name, array, of, dtype)
    return array
