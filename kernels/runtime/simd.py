"""What a kernel is written in: views, pointers, vectors and a register tile.

This file is ordinary Python and says what each operation MEANS. Calling a kernel runs exactly
this, over floats, Fractions, polynomials or mpmath numbers. `lowering.py` (of windows, `windows.py`) gives
every name here a second body, LLVM instructions, that Numba uses when the same kernel is compiled.
Only the meaning checks its accesses.

Scalars in a kernel are float64 when compiled, memory and vectors have the array's own type: a
read widens and a store rounds, so that one body serves float32 and float64, and a plain loop
accumulates in double.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Annotated, Any, Generic, TypeVar

Scalar = Any  # float, Fraction, a polynomial, an mpmath number ...
T = TypeVar("T")
N = TypeVar("N", "Vector", float)  # what is computed lane by lane: a vector or one scalar


class BadAccess(AssertionError):
    """A kernel read or wrote where, when or what it may not."""


class _Unwritten:
    __slots__ = ()

    def __repr__(self) -> str:
        return "<unwritten>"


UNWRITTEN = _Unwritten()


@dataclass(eq=False)
class Memory(Generic[T]):
    """A flat run of elements, those of it that may be touched, and which of them were."""

    name: str
    cells: list[Any]  # of T, or UNWRITTEN
    allowed: frozenset[int] | None = None  # None: all of them
    writable: bool = True
    scalar: Callable[[int], T] | None = None  # makes a number of the one type that may be stored
    bounds: tuple[type, ...] = ()  # what else: where extrema start, which no result may be
    reads: set[int] = field(default_factory=set)
    writes: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.kind = None if self.scalar is None else type(self.scalar(0))

    def _check(self, at: int) -> None:
        if type(at) is not int:
            raise BadAccess(f"{self.name}[{at!r}]: the offset is a {type(at).__name__}, not an int")
        if not 0 <= at < len(self.cells):
            raise BadAccess(f"{self.name}[{at}]: outside 0..{len(self.cells) - 1}")
        if self.allowed is not None and at not in self.allowed:
            raise BadAccess(f"{self.name}[{at}]: lies between the elements of a strided view")

    def read(self, at: int) -> T:
        self._check(at)
        self.reads.add(at)
        value: T = self.cells[at]
        if value is UNWRITTEN:
            raise BadAccess(f"{self.name}[{at}]: read before anything was written there")
        return value

    def write(self, at: int, value: T | int) -> None:
        self._check(at)
        if not self.writable:
            raise BadAccess(f"{self.name}[{at}]: written, but it is an input")
        if self.scalar is not None and type(value) is not self.kind:
            if type(value) is int:
                value = self.scalar(value)
            elif value is VOID:  # lanes that were combined, and none of them masked away
                raise ZeroDivisionError(f"{self.name}[{at}]: divided by zero")
            elif type(value) not in self.bounds:
                raise BadAccess(f"{self.name}[{at}] = {value!r}: a {type(value).__name__} slipped in")
        self.writes.add(at)
        self.cells[at] = value


@dataclass(frozen=True, slots=True)
class Pointer(Generic[T]):
    """An element of a memory; compiled, a raw typed pointer. Making one checks nothing, using it does."""

    memory: Memory[T]
    offset: int = 0

    def __add__(self, steps: int) -> Pointer[T]:
        return Pointer(self.memory, self.offset + steps)

    def __getitem__(self, i: int) -> T:
        return self.memory.read(self.offset + i)

    def __setitem__(self, i: int, value: T) -> None:
        self.memory.write(self.offset + i, value)


@dataclass(frozen=True, slots=True)
class View(Generic[T]):
    """A strided array that a kernel indexes like mathematics: `x[n, c, q]`, in full, `x[()]` without axes.

    Compiled it is a pointer and one stride per axis, by value; extents exist only here.
    """

    memory: Memory[T]
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements

    def _at(self, index: int | tuple[int, ...]) -> int:
        place = index if isinstance(index, tuple) else (index,)
        if len(place) != len(self.shape):
            raise BadAccess(f"{self.memory.name}[{index!r}]: {len(place)} indices for {len(self.shape)} axes")
        at = self.start
        for i, extent, stride in zip(place, self.shape, self.strides, strict=False):
            if type(i) is not int or not 0 <= i < extent:
                raise BadAccess(f"{self.memory.name}[{index!r}]: {self._complaint(place)}")
            at += i * stride
        return at

    def _complaint(self, place: tuple[object, ...]) -> str:
        """What is wrong with the first index that is."""
        for axis, (i, extent) in enumerate(zip(place, self.shape, strict=True)):
            if type(i) is not int:
                return f"index {axis} is a {type(i).__name__}, not an int"
            if not 0 <= i < extent:
                return f"index {axis} is outside 0 <= {i} < {extent}"
        return "nothing"

    def __getitem__(self, index: int | tuple[int, ...]) -> T:
        return self.memory.read(self._at(index))

    def __setitem__(self, index: int | tuple[int, ...], value: T) -> None:
        self.memory.write(self._at(index), value)

    def pointer(self, *index: int) -> Pointer[T]:
        """A pointer to the element at the leading indices given, 0 for the others."""
        if len(index) > len(self.shape):
            raise BadAccess(
                f"{self.memory.name}.pointer{index!r}: {len(index)} indices for {len(self.shape)} axes"
            )
        return Pointer(
            self.memory, self.start + sum(i * s for i, s in zip(index, self.strides, strict=False))
        )

    def stride(self, axis: int) -> int:
        """Elements from one index of an axis to the next."""
        if not 0 <= axis < len(self.strides):
            raise BadAccess(f"{self.memory.name}.stride({axis}): it has {len(self.strides)} axes")
        return self.strides[axis]

    def line(self, index: Sequence[int], moves: Sequence[int]) -> Line[T]:
        """The elements index, index + moves, index + 2 * moves ...: one for each lane of a vector."""
        if not len(index) == len(moves) == len(self.shape):
            raise BadAccess(f"{self.memory.name}.line({index!r}, {moves!r}): it has {len(self.shape)} axes")
        return Line(self, tuple(index), tuple(moves))

    def run(self, index: Sequence[int], moves: Sequence[int]) -> Line[T]:
        """As line, over one axis; past its end it goes on at the next index of the axis before, and so on.

        Only where elements follow each other across that end.
        """
        line = self.line(index, moves)
        return replace(line, carries=True)

    def lines(self, index: Sequence[int], moves: Sequence[int], apart: Sequence[int]) -> Lines[T]:
        """Lines that start at index, index + apart, index + 2 * apart ..."""
        if not len(index) == len(moves) == len(apart) == len(self.shape):
            given = f"({index!r}, {moves!r}, {apart!r})"
            raise BadAccess(f"{self.memory.name}.lines{given}: it has {len(self.shape)} axes")
        return Lines(self, tuple(index), tuple(moves), tuple(apart))

    def transpose(self, axes: Sequence[int]) -> View[T]:
        """Axis j of the result is axis axes[j]. Only for those who run kernels, not for kernels."""
        assert sorted(axes) == list(range(len(self.shape))), f"{self.memory.name}: no order of axes: {axes}"
        shape, strides = tuple(self.shape[a] for a in axes), tuple(self.strides[a] for a in axes)
        return View(self.memory, self.start, shape, strides)

    def with_axes(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> View[T]:
        """The same elements in other axes. Only for those who run kernels, not for kernels."""
        return View(self.memory, self.start, shape, strides)

    def places(self) -> Iterator[tuple[tuple[int, ...], int]]:
        """Every index with its offset in the memory. Only for those who run kernels, not for kernels."""
        for index in product(*map(range, self.shape)):
            yield index, self.start + sum(i * s for i, s in zip(index, self.strides, strict=True))


@dataclass(frozen=True, slots=True)
class Line(Generic[T]):
    """Elements of a view that lanes stand for; compiled, a pointer and one step. Using it checks each lane."""

    view: View[T]
    index: tuple[int, ...]
    moves: tuple[int, ...]
    carries: bool = False

    def place(self, lane: int) -> tuple[int, ...]:
        place = [i + lane * m for i, m in zip(self.index, self.moves, strict=True)]
        if self.carries:
            shape, strides = self.view.shape, self.view.strides
            axis = max((a for a, m in enumerate(self.moves) if m), default=0)
            while axis and place[axis] >= shape[axis] > 0:
                if strides[axis - 1] != shape[axis] * strides[axis]:
                    raise BadAccess(
                        f"{self.view.memory.name}.run: axis {axis} does not go on in axis {axis - 1}"
                    )
                place[axis - 1] += place[axis] // shape[axis]
                place[axis] %= shape[axis]
                axis -= 1
        return tuple(place)


@dataclass(frozen=True, slots=True)
class Lines(Generic[T]):
    """Lines that lie equally far apart; compiled, a pointer and two steps."""

    view: View[T]
    index: tuple[int, ...]
    moves: tuple[int, ...]
    apart: tuple[int, ...]

    def line(self, k: int) -> Line[T]:
        index = tuple(i + k * a for i, a in zip(self.index, self.apart, strict=True))
        return Line(self.view, index, self.moves)


class Void:
    """What a lane holds after a division by zero: it may be computed with and masked away, not stored."""

    __slots__ = ()

    def _same(self, *_: object) -> Void:
        return self

    def _no(self, *_: object) -> bool:
        return False

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _same
    __neg__ = __abs__ = _same
    __lt__ = __le__ = __gt__ = __ge__ = _no


VOID = Void()


@dataclass(frozen=True, slots=True)
class Mask:
    """One truth value per lane."""

    items: tuple[bool, ...]

    def __and__(self, other: Mask) -> Mask:
        return Mask(tuple(a and b for a, b in zip(self.items, other.items, strict=True)))

    def __or__(self, other: Mask) -> Mask:
        return Mask(tuple(a or b for a, b in zip(self.items, other.items, strict=True)))

    def __invert__(self) -> Mask:
        return Mask(tuple(not a for a in self.items))


def _quotient(a: Scalar, b: Scalar) -> Scalar:
    try:
        return a / b
    except ZeroDivisionError:
        return VOID


@dataclass(frozen=True, slots=True)
class Vector:
    """A fixed number of scalars or of integers; compiled, one SIMD register or a few."""

    items: tuple[Scalar, ...]

    def made(self, items: Iterable[Scalar]) -> Vector:
        """A vector of the same kind."""
        return Vector(tuple(items))

    def __add__(self, other: Vector) -> Vector:
        return self.made(a + b for a, b in zip(self.items, other.items, strict=True))

    def __sub__(self, other: Vector) -> Vector:
        return self.made(a - b for a, b in zip(self.items, other.items, strict=True))

    def __mul__(self, other: Vector) -> Vector:
        return self.made(a * b for a, b in zip(self.items, other.items, strict=True))

    def __truediv__(self, other: Vector) -> Vector:
        return self.made(_quotient(a, b) for a, b in zip(self.items, other.items, strict=True))

    def __neg__(self) -> Vector:
        return self.made(-a for a in self.items)

    def __lt__(self, other: Vector) -> Mask:
        return Mask(tuple(a < b for a, b in zip(self.items, other.items, strict=True)))

    def __le__(self, other: Vector) -> Mask:
        return Mask(tuple(a <= b for a, b in zip(self.items, other.items, strict=True)))

    def __gt__(self, other: Vector) -> Mask:
        return Mask(tuple(a > b for a, b in zip(self.items, other.items, strict=True)))

    def __ge__(self, other: Vector) -> Mask:
        return Mask(tuple(a >= b for a, b in zip(self.items, other.items, strict=True)))


class Narrow(Vector):
    """Integers of 32 bits, of which a register holds as many as it holds floats; a larger one is unknown."""

    __slots__ = ()

    def made(self, items: Iterable[Scalar]) -> Narrow:
        return Narrow(tuple(i if type(i) is int and -(2**31) <= i < 2**31 else VOID for i in items))


NOWHERE = -(2**31)  # a place that stands for none


def fma(a: N, b: N, c: N) -> N:
    """a * b + c, rounded once where the machine can."""
    if isinstance(a, Vector):
        return Vector(tuple(x * y + z for x, y, z in zip(a.items, b.items, c.items, strict=True)))
    return a * b + c


def _larger(a: Scalar, b: Scalar) -> Scalar:
    return a if a >= b or a != a else b  # a != a: it is NaN


def _smaller(a: Scalar, b: Scalar) -> Scalar:
    return a if a <= b or a != a else b


def maximum(a: N, b: N) -> N:
    """The larger of each pair; the first where they tie; NaN where either is NaN."""
    if isinstance(a, Vector):
        return Vector(tuple(_larger(x, y) for x, y in zip(a.items, b.items, strict=True)))
    larger: N = _larger(a, b)
    return larger


def minimum(a: N, b: N) -> N:
    """The smaller of each pair; the first where they tie; NaN where either is NaN."""
    if isinstance(a, Vector):
        return Vector(tuple(_smaller(x, y) for x, y in zip(a.items, b.items, strict=True)))
    smaller: N = _smaller(a, b)
    return smaller


def equal(a: Vector, b: Vector) -> Mask:
    """Lane by lane a == b; false where either is NaN."""
    return Mask(tuple(x == y for x, y in zip(a.items, b.items, strict=True)))


def unequal(a: Vector, b: Vector) -> Mask:
    """Lane by lane a != b; true where either is NaN."""
    return Mask(tuple(x != y for x, y in zip(a.items, b.items, strict=True)))


def select(mask: Mask, a: Vector, b: Vector) -> Vector:
    """a where the mask holds, else b."""
    return a.made(x if m else y for m, x, y in zip(mask.items, a.items, b.items, strict=True))


@dataclass(frozen=True, slots=True)
class Lanes:
    """The vectors of one machine: how wide, and over which scalars."""

    width: int
    scalar: Callable[[int], Scalar]

    def zero(self) -> Vector:
        return Vector((self.scalar(0),) * self.width)

    def fill(self, value: Scalar) -> Vector:
        return Vector((self.scalar(value) if type(value) is int else value,) * self.width)

    def load(self, p: Pointer[Scalar]) -> Vector:
        return Vector(tuple(p[i] for i in range(self.width)))

    def store(self, p: Pointer[Scalar], v: Vector) -> None:
        for i in range(self.width):
            p[i] = v.items[i]

    def load_first(self, p: Pointer[Scalar], count: int) -> Vector:
        """The first `count` lanes from memory (none if negative), the others zero."""
        return Vector(tuple(p[i] if i < count else self.scalar(0) for i in range(self.width)))

    def store_first(self, p: Pointer[Scalar], v: Vector, count: int) -> None:
        """The first `count` lanes to memory, no others."""
        for i in range(min(count, self.width)):
            p[i] = v.items[i]

    def load_where(self, p: Pointer[Scalar], mask: Mask) -> Vector:
        """The lanes of the mask from memory, the others zero."""
        return Vector(tuple(p[i] if m else self.scalar(0) for i, m in enumerate(mask.items)))

    def load_every(self, p: Pointer[Scalar], step: int, count: int) -> Vector:
        """As load_first, the elements lying `step` apart (any integer)."""
        return Vector(tuple(p[i * step] if i < count else self.scalar(0) for i in range(self.width)))

    def load_apart(self, p: Pointer[Scalar], step: int) -> Vector:
        """All lanes from memory, the elements lying `step` apart."""
        return Vector(tuple(p[i * step] for i in range(self.width)))

    def store_apart(self, p: Pointer[Scalar], step: int, v: Vector, between: Vector) -> None:
        """All lanes to memory, `step` apart (> 0), and step - 1 times `between` after each: one value in all lanes."""
        for i in range(self.width * step):
            p[i] = between.items[0] if i % step else v.items[i // step]

    def store_every(self, p: Pointer[Scalar], step: int, v: Vector, count: int) -> None:
        """As store_first, the elements lying `step` apart. Step 0 is an error."""
        if step == 0:
            raise BadAccess("store_every: step 0 would write one element several times")
        for i in range(min(count, self.width)):
            p[i * step] = v.items[i]

    # two vectors as one line, and pairs of lanes

    def evens(self, a: Vector, b: Vector) -> Vector:
        """Every second lane of a, then of b, from the first on."""
        return a.made((a.items + b.items)[::2])

    def odds(self, a: Vector, b: Vector) -> Vector:
        """Every second lane of a, then of b, from the second on."""
        return a.made((a.items + b.items)[1::2])

    def first_pairs(self, a: Vector, b: Vector) -> Vector:
        """a[0], b[0], a[1], b[1] ...: the first `width` of them."""
        return a.made([v for pair in zip(a.items, b.items, strict=True) for v in pair][: self.width])

    def last_pairs(self, a: Vector, b: Vector) -> Vector:
        """As first_pairs: the last `width` of them."""
        return a.made([v for pair in zip(a.items, b.items, strict=True) for v in pair][-self.width :])

    def permute(self, a: Vector, b: Vector, places: Vector) -> Vector:
        """Lane i from place places[i], a narrow integer, of a and b as one line."""
        line = a.items + b.items
        if not all(0 <= place < len(line) for place in places.items):
            raise BadAccess(f"permute: {places.items} are not all places of {len(line)} lanes")
        return a.made(line[place] for place in places.items)

    def sum(self, v: Vector) -> Scalar:
        """All lanes added, halves first."""
        items = v.items
        while len(items) > 1:
            half = len(items) // 2
            items = tuple(a + b for a, b in zip(items[:half], items[half:], strict=True))
        return items[0]

    def item(self, v: Vector, lane: int) -> Scalar:
        """One lane."""
        return v.items[lane]

    def fold(self, v: Vector, combine: Callable[[Scalar, Scalar], Scalar]) -> Scalar:
        """All lanes combined, halves first."""
        items = v.items
        while len(items) > 1:
            half = len(items) // 2
            items = tuple(map(combine, items[:half], items[half:]))
        return items[0]

    def some(self, mask: Mask) -> bool:
        """Is any lane in the mask?"""
        return any(mask.items)

    def product(self, v: Vector) -> Scalar:
        """All lanes multiplied, halves first."""
        return self.fold(v, lambda a, b: a * b)

    def largest(self, v: Vector) -> Scalar:
        """The largest lane; NaN if one is."""
        return self.fold(v, _larger)

    def smallest(self, v: Vector) -> Scalar:
        """The smallest lane; NaN if one is."""
        return self.fold(v, _smaller)

    # integers, one a lane

    def integers(self, value: int) -> Vector:
        return Vector((value,) * self.width)

    def ramp(self, start: int, step: int) -> Vector:
        """start, start + step, start + 2 * step ..."""
        return Vector(tuple(start + i * step for i in range(self.width)))

    def real(self, v: Vector) -> Vector:
        """Integers, or narrow ones, as scalars."""
        return Vector(tuple(self.scalar(i) for i in v.items))

    # integers of 32 bits

    def narrow_integers(self, value: int) -> Vector:
        return Narrow(()).made((value,) * self.width)

    def narrow_ramp(self, start: int, step: int) -> Vector:
        """start, start + step, start + 2 * step ..."""
        return Narrow(()).made(start + i * step for i in range(self.width))

    def load_narrow(self, p: Pointer[int]) -> Vector:
        """Integers of a table as narrow ones."""
        return Narrow(()).made(p[i] for i in range(self.width))

    def long(self, v: Vector) -> Vector:
        """Narrow integers as integers."""
        return Vector(v.items)

    def narrow(self, v: Vector) -> Vector:
        """Scalars that are whole numbers as narrow integers."""
        for x in v.items:
            if x != int(x):
                raise BadAccess(f"narrow: {x!r} is no whole number")
        return Narrow(()).made(map(int, v.items))

    # which lanes

    def first(self, count: int) -> Mask:
        """The first `count` lanes (none if negative)."""
        return Mask(tuple(i < count for i in range(self.width)))

    def within(self, start: int, step: int, size: int) -> Mask:
        """Lane i where 0 <= start + i * step < size."""
        return Mask(tuple(0 <= start + i * step < size for i in range(self.width)))

    def bits(self, bits: int) -> Mask:
        """Lane i where bit i is set."""
        return Mask(tuple(bits >> i & 1 > 0 for i in range(self.width)))

    def where(self, condition: bool) -> Mask:
        """All lanes or none."""
        return Mask((condition,) * self.width)

    # lines of a view

    def read(self, line: Line[Any]) -> Vector:
        return Vector(tuple(line.view[line.place(i)] for i in range(self.width)))

    def read_where(self, line: Line[Any], mask: Mask) -> Vector:
        """The lanes of the mask from memory, the others zero."""
        zero = self.scalar(0) if line.view.memory.scalar is not int else 0
        return Vector(tuple(line.view[line.place(i)] if m else zero for i, m in enumerate(mask.items)))

    def gather(self, line: Line[Any], steps: Vector, mask: Mask) -> Vector:
        """As read_where, lane i from the element that is steps[i], a narrow integer, along the line."""
        zero = self.scalar(0)
        lanes = zip(steps.items, mask.items, strict=True)
        return Vector(tuple(line.view[line.place(n)] if m else zero for n, m in lanes))

    def write_where(self, line: Line[Any], v: Vector, mask: Mask) -> None:
        """The lanes of the mask to memory, no others; no two to one element."""
        if sum(mask.items) > 1 and not any(m * s for m, s in zip(line.moves, line.view.strides, strict=True)):
            raise BadAccess(f"{line.view.memory.name}: several lanes would write one element")
        for i, m in enumerate(mask.items):
            if m:
                if v.items[i] is VOID:
                    raise ZeroDivisionError(f"{line.view.memory.name}{list(line.place(i))}: divided by zero")
                line.view[line.place(i)] = v.items[i]

    # sums in double

    def widen(self, v: Vector) -> Vector:
        """The same scalars in float64, compiled."""
        return v

    def wide_zero(self) -> Vector:
        return self.zero()

    def transpose(
        self,
        source: Pointer[Scalar],
        source_rows: Pointer[int],
        rows: int,
        columns: int,
        target: Pointer[Scalar],
        target_rows: Pointer[int],
    ) -> None:
        """target[target_rows[j] + i] = source[source_rows[i] + j] for i < rows, j < columns, both clipped at the width.

        One j after the other: what a target row overwrites of the next is written again.
        """
        block = [
            [source[source_rows[i] + j] for j in range(min(columns, self.width))]
            for i in range(min(rows, self.width))
        ]
        for j, column in enumerate(zip(*block, strict=True)):
            for i, value in enumerate(column):
                target[target_rows[j] + i] = value

    def transpose_padded(
        self,
        source: Pointer[Scalar],
        source_rows: Pointer[int],
        rows: int,
        columns: int,
        target: Pointer[Scalar],
        target_rows: Pointer[int],
    ) -> None:
        """As transpose, but each of the `columns` target rows is filled up with zeros."""
        for j in range(min(columns, self.width)):
            items = [source[source_rows[i] + j] if i < rows else self.scalar(0) for i in range(self.width)]
            self.store(target + target_rows[j], Vector(tuple(items)))

    # what the memory shall make ready

    def soon_read(self, p: Pointer[Scalar]) -> None:
        """The line of memory at p will soon be read. It may lie anywhere: nothing is read here."""

    def soon_written(self, p: Pointer[Scalar]) -> None:
        """The line of memory at p will soon be written."""


class Registers:
    """A small table of vectors that, compiled, lives in registers and nowhere else."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.table: dict[tuple[int, int], Vector] = {}

    def _check(self, at: tuple[int, int]) -> None:
        if not (0 <= at[0] < self.rows and 0 <= at[1] < self.columns):
            raise BadAccess(f"registers{at}: the tile is {self.rows} x {self.columns}")

    def __getitem__(self, at: tuple[int, int]) -> Vector:
        self._check(at)
        if at not in self.table:
            raise BadAccess(f"registers{at}: read before anything was written there")
        return self.table[at]

    def __setitem__(self, at: tuple[int, int], v: Vector) -> None:
        self._check(at)
        self.table[at] = v


@dataclass(frozen=True, slots=True)
class Tile:
    """The micro-kernel's shape, pixels x vectors of output channels, and how much is worked on at a time.

    rows and steps bound the part of a contraction whose operands lie in the caches together; depth steps of
    a panel lie in the nearest. The tiny defaults are for exact runs, where every edge shall occur.
    """

    lanes: Lanes
    pixels: int
    vectors: int
    rows: int = 6
    steps: int = 6
    depth: int = 3

    @property
    def channels(self) -> int:
        return self.lanes.width * self.vectors

    @property
    def short(self) -> Tile:
        """For the rows that are left over: fewer pixels, as many vectors."""
        return replace(self, pixels=max(1, self.pixels // 3))

    @property
    def slim(self) -> Tile:
        """For the columns that whole panels leave over: as many pixels, one vector."""
        return replace(self, vectors=1)

    @property
    def narrow(self) -> Tile:
        """For so few columns: one vector, and pixels enough that sums do not wait for each other."""
        return replace(self, pixels=self.pixels + 2, vectors=1)

    @property
    def tall(self) -> Tile:
        """For sums that leave no register to what they read: more lines, where a machine has few registers."""
        return replace(self, pixels=2 * self.pixels if self.vectors < 4 else self.pixels)

    @property
    def lines(self) -> int:
        """How many vectors of outputs slide together over what they read: sums that leave room for their reads."""
        return max(2, self.pixels * self.vectors // 3)

    @property
    def few(self) -> int:
        """How many of these where each goes along several operands, which the nearest cache has to hold at once."""
        return max(2, self.lines // 2)

    @property
    def taps(self) -> int:
        """How many taps of a window share what they read."""
        return min(3, self.pixels)

    def column(self) -> Registers:
        """One vector for each of the lines."""
        return Registers(1, self.lines)

    def load_column(self, p: Pointer[Scalar], apart: int) -> Registers:
        """One vector for each of the lines, which lie so far apart."""
        column = self.column()
        for u in range(self.lines):
            column[0, u] = self.lanes.load(p + u * apart)
        return column

    def load_span(self, p: Pointer[Scalar], apart: int) -> Registers:
        """As load_column, and taps - 1 lines more: what each of several taps reads begins one line later."""
        span = Registers(1, self.lines + self.taps - 1)
        for u in range(span.columns):
            span[0, u] = self.lanes.load(p + u * apart)
        return span

    # windows over a plane as it lies in memory: rows some pitch apart, whose elements lie side by side; zeros around

    def patch(self) -> Registers:
        """One vector for each of taps x taps places of a window."""
        return Registers(self.taps, self.taps)

    def store_sums(self, p: Pointer[Scalar], patch: Registers) -> None:
        """To one element after another the lanes of each vector of a patch, added up; compiled, as a tree."""
        for k, (r, c) in enumerate(product(range(self.taps), range(self.taps))):
            p[k] = self.lanes.sum(patch[r, c])

    # where: pitch, height, length, top, by, step, left, across, as `_windows` says

    def slide(
        self,
        total: Registers,
        weights: Pointer[Scalar],
        below: int,
        beside: int,
        down: int,
        over: int,
        plane: Pointer[Scalar],
        *where: int,
    ) -> None:
        """total[0, u] += a weight times what line u's window has there, for each of down x over places of a patch.

        The weight at row r and column c is weights[r * below + c * beside].
        """
        for u, r, c, there in self._windows(1, self.lanes.width, down, over, plane, *where):
            weight = self.lanes.fill(weights[r * below + c * beside])
            total[0, u] = fma(weight, there, total[0, u])

    def slide_twos(
        self,
        total: Registers,
        weights: Pointer[Scalar],
        below: int,
        beside: int,
        down: int,
        over: int,
        plane: Pointer[Scalar],
        *where: int,
    ) -> None:
        """As slide, of every second element."""
        for u, r, c, there in self._windows(2, self.lanes.width, down, over, plane, *where):
            weight = self.lanes.fill(weights[r * below + c * beside])
            total[0, u] = fma(weight, there, total[0, u])

    def fold(
        self,
        patch: Registers,
        column: Registers,
        rows: int,
        count: int,
        down: int,
        over: int,
        plane: Pointer[Scalar],
        *where: int,
    ) -> None:
        """patch[r, c] += column[0, u] times what `slide` has there, for u < rows and the first `count` lanes."""
        for u, r, c, there in self._windows(1, count, down, over, plane, *where):
            if u < rows:
                patch[r, c] = fma(column[0, u], there, patch[r, c])

    def fold_twos(
        self,
        patch: Registers,
        column: Registers,
        rows: int,
        count: int,
        down: int,
        over: int,
        plane: Pointer[Scalar],
        *where: int,
    ) -> None:
        """As fold, over what `slide_twos` has."""
        for u, r, c, there in self._windows(2, count, down, over, plane, *where):
            if u < rows:
                patch[r, c] = fma(column[0, u], there, patch[r, c])

    def _windows(
        self,
        every: int,
        count: int,
        down: int,
        over: int,
        plane: Pointer[Scalar],
        pitch: int,
        height: int,
        length: int,
        top: int,
        by: int,
        step: int,
        left: int,
        across: int,
    ) -> Iterator[tuple[int, int, int, Vector]]:
        """A line, a row and a column of its window, and the first `count` lanes of what is there, for each place of a patch.

        That is row top + u * by + r * step of the plane, of `height`, and in it, from left + c * across on, every element
        or every second, of `length`. A row that is not there is left out; elements that are not there are zeros, and
        those between may be read, too. Steps are positive. The compiled form takes for granted that rows and pairs of
        elements serve several windows: by == every * step where down > 1, and where every second element is taken
        across == 1 if over > 1.
        """
        if not (0 < down <= self.taps and 0 < over <= self.taps):
            raise BadAccess(f"a patch of {self.taps} x {self.taps} taps has no {down} x {over}")
        if down > 1 and by != every * step:
            raise BadAccess(
                f"windows lie {by} rows apart, rows of their taps {step}: none is that of another"
            )
        if every == 2 and over > 1 and across != 1:
            raise BadAccess(f"columns of windows lie {across} apart, not side by side")
        zero = self.lanes.scalar(0)
        for r, c in product(range(down), range(over)):
            places = [left + c * across + i * every for i in range(self.lanes.width)]
            for u in range(self.lines):
                row = top + u * by + r * step
                if 0 <= row < height:
                    at = plane + row * pitch
                    items = (at[n] if i < count and 0 <= n < length else zero for i, n in enumerate(places))
                    yield u, r, c, Vector(tuple(items))

    def read_where(self, lines: Lines[Any], rows: int, mask: Mask) -> Registers:
        """The lanes of the mask of the first `rows` lines, zeros in others."""
        column = self.column()
        for u in range(self.lines):
            column[0, u] = self.lanes.read_where(lines.line(u), mask) if u < rows else self.lanes.zero()
        return column

    def write_where(self, lines: Lines[Any], column: Registers, rows: int, mask: Mask) -> None:
        """The lanes of the mask of each vector of a column to its line, of the first `rows` lines."""
        for u in range(min(rows, self.lines)):
            self.lanes.write_where(lines.line(u), column[0, u], mask)

    def write_pairs(
        self, lines: Lines[Any], first: Registers, second: Registers, rows: int, count: int
    ) -> None:
        """To each of the first `rows` lines the lanes of two columns in turn, a[0], b[0], a[1] ...: `count` of them."""
        for u in range(min(rows, self.lines)):
            line = lines.line(u)
            for k, vector in enumerate((first[0, u], second[0, u])):
                for i in range(self.lanes.width):
                    if 2 * i + k < count:
                        line.view[line.place(2 * i + k)] = vector.items[i]

    def registers(self) -> Registers:
        return Registers(self.pixels, self.vectors)

    def row(self) -> Registers:
        return Registers(1, self.vectors)

    def wide_column(self) -> Registers:
        """As a column, of vectors of float64."""
        return Registers(1, self.lines)

    def narrow_column(self) -> Registers:
        """As a column, of vectors of narrow integers."""
        return Registers(1, self.lines)


# What tasks write in their signatures. A type checker sees View and Pointer; `compile.py` reads the name.
Real0 = Annotated[View[Scalar], "Real0"]
Real1 = Annotated[View[Scalar], "Real1"]
Real2 = Annotated[View[Scalar], "Real2"]
Real3 = Annotated[View[Scalar], "Real3"]
Real4 = Annotated[View[Scalar], "Real4"]
Real5 = Annotated[View[Scalar], "Real5"]
Real6 = Annotated[View[Scalar], "Real6"]
Real7 = Annotated[View[Scalar], "Real7"]
Real8 = Annotated[View[Scalar], "Real8"]
Real9 = Annotated[View[Scalar], "Real9"]
Real10 = Annotated[View[Scalar], "Real10"]
Real11 = Annotated[View[Scalar], "Real11"]
Real12 = Annotated[View[Scalar], "Real12"]
Integer0 = Annotated[View[int], "Integer0"]
Integer1 = Annotated[View[int], "Integer1"]
Integer2 = Annotated[View[int], "Integer2"]
Integer3 = Annotated[View[int], "Integer3"]
Integer4 = Annotated[View[int], "Integer4"]
Integer5 = Annotated[View[int], "Integer5"]
Integer6 = Annotated[View[int], "Integer6"]
Integer7 = Annotated[View[int], "Integer7"]
Integer8 = Annotated[View[int], "Integer8"]
Integer9 = Annotated[View[int], "Integer9"]
Integer10 = Annotated[View[int], "Integer10"]
Integer11 = Annotated[View[int], "Integer11"]
Integer12 = Annotated[View[int], "Integer12"]
Scratch = Annotated[Pointer[Scalar], "Scratch"]  # private to one task, unwritten at first
IntegerScratch = Annotated[Pointer[int], "IntegerScratch"]
