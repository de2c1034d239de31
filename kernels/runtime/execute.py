"""Run a program of a definition: bind the arguments of the phases that are selected, and run them.

`kernels.runtime.selection` decides which phases run and how each target starts; `_walk` binds their
arguments in order. Both are shared by two executors: `prepare` lays out a run of compiled tasks,
`execute_exact` runs the same tasks as plain Python over exact numbers, every access checked.

A prepared program is worked out from shapes, strides and options alone, and kept by whoever calls
again: a run makes its room and calls the driver.

Nothing here checks what a user passed; `kernels.arguments` has done so.
"""

from __future__ import annotations

import ctypes
import random
import sys
from array import array as Words
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import permutations
from math import prod, sqrt
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from kernels.runtime import driver, machine, scalar
from kernels.runtime.compile import Choice, Task, float_word
from kernels.runtime.definition import Definition, Tensor
from kernels.runtime.selection import Selection, Step, missing, selection
from kernels.runtime.simd import UNWRITTEN, BadAccess, Lanes, Memory, Pointer, Tile, View

Array = npt.NDArray[Any]


# ---- running them


class Executor(Protocol):
    """What makes tensors and runs steps."""

    def given(self, tensor: Tensor, shape: tuple[int, ...]) -> Any:
        """An input."""

    def zeros(self, tensor: Tensor, shape: tuple[int, ...]) -> Any:
        """Zeros that are only read."""

    def made(self, tensor: Tensor, shape: tuple[int, ...], zeroed: bool) -> Any:
        """An intermediate or an output, to be written."""

    def run(self, step: Step, values: list[Any]) -> None:
        """Run (or note, for later) a step; values that are the executor's own are None."""


def _walk(
    chosen: Selection, environment: Mapping[str, int], reals: Mapping[str, Any], executor: Executor
) -> dict[str, Any]:
    """Make every tensor, then run every step; returns the tensors by name."""
    tensors: dict[str, Any] = {}
    empty = set()

    def shape_of(tensor: Tensor) -> tuple[int, ...]:
        shape = tuple([e if isinstance(e, int) else environment[e] for e in tensor.shape])
        if 0 in shape:
            empty.add(tensor.name)
        return shape

    for tensor in chosen.given:
        tensors[tensor.name] = executor.given(tensor, shape_of(tensor))
    for tensor in chosen.zeros:
        tensors[tensor.name] = executor.zeros(tensor, shape_of(tensor))
    for tensor, zeroed in chosen.made:
        tensors[tensor.name] = executor.made(tensor, shape_of(tensor), zeroed)
    for step in chosen.steps:
        if step.targets[0] in empty:
            continue
        values: list[Any] = []
        for argument, source, axes in step.bindings:
            if argument.ndim is not None:
                value = tensors[source]  # type: ignore[index]  # a tensor's source is its name
                values.append(value.transpose(axes) if axes else value)
            elif isinstance(source, str):
                values.append(reals[source] if argument.kind == "float" else environment[source])
            else:
                values.append(source)
        executor.run(step, values)
    return tensors


def _scratch_size(task: Task[...], kind: str, values: list[Any], tile: Tile) -> int:
    """Elements of private memory that one task asks for."""
    integers = [v for a, v in zip(task.arguments, values, strict=True) if a.kind == "int"]
    size = task.scratch if kind == "scratch" else task.integer_scratch
    assert size is not None
    return size(tile, *integers)


# ---- compiled

INTEGER = np.dtype(np.int64)
BYTE = np.dtype(np.uint8)
LARGEST = 2**62  # bytes
ALIGNMENT = driver.ALIGNMENT  # bytes: scratch of different tasks shares no cache line
ROOM, ZERO = -1, -2  # memory that is not the caller's: the room of a run, and a constant
# also zeros of float32, and of int64; pages that nobody writes take no memory
_ZERO = np.zeros(1 << 22, np.float64)


class Place(NamedTuple):
    """An array, but for its memory."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, array: Array) -> Place:
        item = array.itemsize
        return cls(array.shape, tuple([s // item for s in array.strides]), array.dtype)

    @classmethod
    def dense(cls, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Place:
        """An array in C order."""
        return cls(shape, contiguous(shape), dtype)


class _Operand(NamedTuple):
    """A tensor as tasks see it; its address is `offset` bytes beyond that of a memory."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    memory: int  # its number among the caller's, or ROOM, or ZERO
    offset: int = 0

    @property
    def size(self) -> int:
        return prod(self.shape)

    def stride(self, axis: int) -> int:
        """As a choice asks for it."""
        return self.strides[axis]

    def transpose(self, axes: tuple[int, ...]) -> _Operand:
        shape, strides = ([old[a] for a in axes] for old in (self.shape, self.strides))
        return self._replace(shape=tuple(shape), strides=tuple(strides))

    def with_axes(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> _Operand:
        return self._replace(shape=shape, strides=strides)


class _Row(NamedTuple):
    """A step, but for the number of its tasks."""

    function: int  # address of the compiled task
    start: int  # of its record, in words
    work: float  # nanoseconds of one thread, roughly
    scratch: tuple[tuple[int, int], ...]  # the word that holds an address, and the bytes of one task


class _Form(NamedTuple):
    """The plan for one number of threads."""

    words: Words[int]
    plan: int  # their address
    room: int  # bytes that a run needs to itself: records, then intermediate tensors, then scratch
    tasks: int  # most in one row


@dataclass(frozen=True, slots=True)
class Prepared:
    """A program for arrays of known shapes, strides and types: all that a run needs but their addresses.

    Nothing in it changes; each run has a room of its own, so several threads may run it at once.
    """

    slots: tuple[tuple[int, int], ...]  # words that hold an address, and the number of that array
    rows: tuple[_Row, ...]
    records: tuple[int, ...]
    pointers: tuple[tuple[int, int], ...]  # words that point to an intermediate tensor
    cleared: tuple[tuple[int, int], ...]  # first and last byte of those that start as zeros
    kept: int  # bytes of them all
    arrays: int  # how many a run is given
    zeroed: tuple[bool, ...]  # for each wanted tensor, whether the caller must clear it before
    tasks: int | None  # a number that is forced
    large: bool  # whether the number of threads matters
    forms: dict[int, _Form]  # by number of threads

    def run(self, arrays: Iterable[Array]) -> None:
        """Run it on these arrays: of the tensors that are given, then of those wanted. Only their memory counts."""
        if not self.rows:
            return
        threads = driver.get_num_threads() if self.large else 1
        form = self.forms.get(threads)
        if form is None:
            form = self.forms[threads] = self._form(threads)
        driver.run(form.plan, (*arrays, room(form.room)), form.tasks)

    def _form(self, threads: int) -> _Form:
        start = whole(8 * len(self.records))  # of the intermediate tensors
        pointers = [(at, start + offset) for at, offset in self.pointers]
        cleared = [(start + first, start + last) for first, last in self.cleared]
        most, size = 1, start + self.kept
        rows = []
        for row in self.rows:
            tasks = self.tasks or driver.tasks_for(row.work, threads)
            rows.append(driver.Row(row.function, row.start, tasks))
            offset = start + self.kept  # where the scratch of the step before lay, too
            for at, each in row.scratch:
                pointers.append((at, offset))
                offset += tasks * each
            most, size = max(most, tasks), max(size, offset)
        if size > LARGEST:
            raise RoomError(size)  # no word would hold its addresses
        words = Words(
            "q", driver.plan_words(self.records, self.slots, pointers, cleared, rows, self.arrays + 1)
        )
        return _Form(words, words.buffer_info()[0], size + ALIGNMENT, most)


class RoomError(MemoryError):
    """A run needs more memory to itself than there is."""

    def __init__(self, size: int) -> None:
        super().__init__(f"intermediate results and scratch need {size / 2**30:.3g} GiB, more than there is")


def room(size: int) -> Array:
    """Memory of a run."""
    try:
        return np.empty(size, BYTE)
    except (MemoryError, ValueError):  # NumPy's name for more than an address can say
        raise RoomError(size) from None


class _Preparation:
    """Lays out what a `Prepared` holds."""

    def __init__(
        self, dtype: np.dtype[Any], given: Mapping[str, Place], wanted: Mapping[str, Place], tile: Tile | None
    ) -> None:
        self.dtype, self.wanted, self.tile = dtype, wanted, tile
        self.places = {**given, **wanted}
        self.memories = {name: n for n, name in enumerate(self.places)}
        self.zeroed: dict[str, bool] = {}
        self.records: list[int] = []
        self.slots: list[tuple[int, int]] = []
        self.pointers: list[tuple[int, int]] = []
        self.cleared: list[tuple[int, int]] = []
        self.rows: list[_Row] = []
        self.kept = 0

    def type_of(self, tensor: Tensor) -> np.dtype[Any]:
        return INTEGER if tensor.integer else self.dtype

    def given(self, tensor: Tensor, shape: tuple[int, ...]) -> _Operand:
        place, dtype = self.places[tensor.name], self.type_of(tensor)
        assert place.shape == shape, f"{tensor.name}: shape {shape} needed, not {place.shape}"
        assert place.dtype == dtype, f"{tensor.name}: {dtype} needed, not {place.dtype}"
        return _Operand(shape, place.strides, self.memories[tensor.name])

    def zeros(self, tensor: Tensor, shape: tuple[int, ...]) -> _Operand:
        # side by side, which vectors read faster, as far as there are zeros enough
        return _Operand(shape, contiguous(shape) if prod(shape) <= _ZERO.size else (0,) * len(shape), ZERO)

    def made(self, tensor: Tensor, shape: tuple[int, ...], zeroed: bool) -> _Operand:
        if tensor.name in self.wanted:
            self.zeroed[tensor.name] = zeroed
            return self.given(tensor, shape)
        start, size = self.kept, prod(shape) * self.type_of(tensor).itemsize
        self.kept += whole(size)
        if zeroed:
            self.cleared.append((start, start + whole(size)))
        return _Operand(shape, contiguous(shape), ROOM, start)

    def run(self, step: Step, values: list[Any]) -> None:
        words, start = self.records, len(self.records)
        tile = self.tile or machine.machine_tile(self.dtype)
        task, values = step.task(step.merged(values, tile), tile)
        scratch = []
        for argument, value in zip(task.arguments, values, strict=True):
            kind = argument.kind
            if argument.ndim is not None:
                ndim = len(value.shape)
                assert ndim == argument.ndim, f"{task!r}: {argument.name} has {ndim} axes"
                if value.memory == ROOM:
                    self.pointers.append((len(words), value.offset))
                elif value.memory != ZERO:
                    self.slots.append((len(words), value.memory))
                words.append(_ZERO.ctypes.data if value.memory == ZERO else 0)
                words.extend(value.strides)
            elif kind in ("int", "add"):
                words.append(value)
            elif kind == "float":
                words.append(float_word(value))
            elif kind in ("scratch", "integer_scratch"):
                item = (self.dtype if kind == "scratch" else INTEGER).itemsize
                each = whole(_scratch_size(task, kind, values, tile) * item)
                scratch.append((len(words), each))
                words.extend((0, each // item))
        function = task.address(self.dtype, self.tile)
        self.rows.append(_Row(function, start, _work(task, values, self.dtype.itemsize), tuple(scratch)))

    def finish(self, tasks: int | None) -> Prepared:
        return Prepared(
            slots=tuple(self.slots),
            rows=tuple(self.rows),
            records=tuple(self.records),
            pointers=tuple(self.pointers),
            cleared=tuple(self.cleared),
            kept=self.kept,
            arrays=len(self.memories),
            zeroed=tuple(self.zeroed.get(name, False) for name in self.wanted),
            tasks=tasks,
            large=tasks is None and any(row.work >= driver.SMALL for row in self.rows),
            forms={},
        )


def whole(size: int) -> int:
    """Bytes, rounded up to the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of an array in C order."""
    return tuple([prod(shape[n:]) for n in range(1, len(shape) + 1)])


def _work(task: Task[...], values: list[_Operand], itemsize: int) -> float:
    """Roughly how many nanoseconds all of a step takes one thread, for what it reads and writes once.

    A plain loop does about one operation in each; vectors move 32 bytes, which are in the caches where it matters.
    A contraction does M*N*K multiplications, the root of the product of its three sizes M*N, M*K, N*K; 24 of float32
    allow for small blocks, and for windows, whose operand is counted once and read for each tap.
    """
    sizes = [v.size for a, v in zip(task.arguments, values, strict=True) if a.ndim is not None]
    if not any(a.kind == "tile" for a in task.arguments):
        return max(sizes)
    multiplied = sqrt(prod(sorted(sizes)[-3:])) if task.scratch is not None else 0.0
    return itemsize * max(sum(sizes) / 32, multiplied / 96)


_from_buffer: Callable[[Any], Any] = ctypes.c_char.from_buffer


def address(array: Array) -> int:
    """Where an array's first element lies. (`array.ctypes.data` takes four times as long.)"""
    try:
        return ctypes.addressof(_from_buffer(array))
    except (TypeError, ValueError):  # read-only, not contiguous, or empty
        return array.ctypes.data


def prepare(
    definition: Definition,
    program_name: str,
    given: Mapping[str, Place],
    environment: Mapping[str, int],
    reals: Mapping[str, float],
    wanted: Mapping[str, Place],
    dtype: Any = np.float64,
    *,
    tasks: int | None = None,
    tile: Tile | None = None,
) -> Prepared:
    """Select, bind and compile what makes the wanted tensors from those given; an input not given is absent.

    A tensor of the program may be given too, which is then not made. `tasks` forces a number of tasks, `tile`
    another register tile than this machine's.
    """
    inputs = definition.programs[program_name].inputs
    absent = missing(definition.programs[program_name], given, reals)
    known = [name for name in given if name not in inputs]
    preparation = _Preparation(np.dtype(dtype), given, wanted, tile)
    if any(
        0 not in place.shape for place in wanted.values()
    ):  # else nothing has to be made on the way, either
        _walk(selection(definition, program_name, wanted, absent, known), environment, reals, preparation)
    return preparation.finish(tasks)


def execute(
    definition: Definition,
    program_name: str,
    arrays: Mapping[str, Array | None],
    environment: Mapping[str, int],
    reals: Mapping[str, float],
    wanted: Collection[str],
    out: Mapping[str, Array] | None = None,
    dtype: Any = np.float64,
    *,
    tasks: int | None = None,
    tile: Tile | None = None,
) -> dict[str, Array]:
    """Prepare a program and run it once, on arrays of `dtype` (and int64); the wanted tensors by name.

    An input that is None or missing is absent. `out` holds arrays to write into.
    """
    inputs = definition.programs[program_name].inputs
    given = {name: array for name in inputs if (array := arrays.get(name)) is not None}
    results: dict[str, Array] = {}
    for name in wanted:
        tensor, array = definition.tensor(name), (out or {}).get(name)
        if array is None:
            shape = [e if isinstance(e, int) else environment[e] for e in tensor.shape]
            array = np.empty(shape, INTEGER if tensor.integer else dtype)
        results[name] = array
    places = ({name: Place.of(a) for name, a in arrays.items()} for arrays in (given, results))
    ready = prepare(
        definition,
        program_name,
        next(places),
        environment,
        reals,
        next(places),
        dtype,
        tasks=tasks,
        tile=tile,
    )
    for array, zeroed in zip(results.values(), ready.zeroed, strict=True):
        if zeroed:
            array.fill(0)
    ready.run((*given.values(), *results.values()))
    return results


# ---- exact

Trace = Callable[[int, str, int, str, Sequence[tuple[int, ...]]], None]
Told = Callable[[str, list[Any]], None]  # a choice's or a task's name, and its arguments
Written = Mapping[str, dict[tuple[int, ...], tuple[str, int]]]  # by tensor and indices, a file and a line
RUNTIME = Path(__file__).parent


def view_of(
    name: str,
    array: Array,
    scalar: Callable[[int], Any] | None,
    kind: Callable[[Any], Any] = lambda v: v,
    writable: bool = False,
) -> View[Any]:
    """An array as a checked view of a memory; what lies between its elements may not be touched."""
    strides = tuple(s // array.itemsize for s in array.strides)
    low = sum((e - 1) * s for e, s in zip(array.shape, strides, strict=True) if s < 0) if array.size else 0
    high = sum((e - 1) * s for e, s in zip(array.shape, strides, strict=True) if s > 0) if array.size else -1
    memory: Memory[Any] = Memory(name, [UNWRITTEN] * (high - low + 1), None, writable, scalar)
    view = View(memory, -low, array.shape, strides)
    memory.allowed = frozenset(_offsets(view))
    _fill(view, array, kind)
    return view


def _offsets(view: View[Any]) -> list[int]:
    """Where a view's elements lie in its memory, in the order of their indices."""
    found = [view.start]
    for extent, stride in zip(view.shape, view.strides, strict=True):
        steps = [i * stride for i in range(extent)]
        found = [at + step for at in found for step in steps]
    return found


def _fill(view: View[Any], array: Array, kind: Callable[[Any], Any]) -> None:
    cells = view.memory.cells
    for at, value in zip(_offsets(view), array.flat, strict=True):
        cells[at] = kind(value)


@dataclass
class _Watched(Memory[Any]):
    """A memory that knows which line of a kernel wrote each element last."""

    lines: dict[int, tuple[str, int]] = field(default_factory=dict)

    def write(self, at: int, value: Any) -> None:
        super().write(at, value)
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and Path(frame.f_code.co_filename).parent == RUNTIME:
            frame = frame.f_back
        if frame is not None:
            self.lines[at] = frame.f_code.co_filename, frame.f_lineno


@dataclass
class _Exact:
    """Runs tasks as plain Python, in shuffled order, and refuses any conflict between them."""

    number: Callable[[Any], Any]
    arrays: Mapping[str, Any]
    tasks: int
    tile: Tile
    random: random.Random
    gaps: bool
    trace: Trace | None
    zero_is: Any = None
    side: str | int = ""  # the extent that lies side by side in memory, if there are gaps
    sliced: bool = False  # row-major parts of larger tensors: at most one axis of each leaves a gap
    views: dict[str, View[Any]] = field(default_factory=dict)
    watched: frozenset[str] = frozenset()

    def selected(
        self, definition: Definition, program_name: str, reals: Mapping[str, Any], wanted: Collection[str]
    ) -> Selection:
        """What runs, once it is drawn which extent lies side by side in memory."""
        given = [name for name, array in self.arrays.items() if array is not None]
        absent = missing(definition.programs[program_name], given, reals)
        chosen = selection(definition, program_name, wanted, absent)
        if self.random.random() < 0.5:
            named = (e for t in (*chosen.given, *(t for t, _ in chosen.made)) for e in t.shape)
            self.side = self.random.choice(sorted({e for e in named if isinstance(e, str)}) or [""])
        elif self.gaps:
            self.sliced = self.random.random() < 0.5
        return chosen

    def exact(self, value: Any) -> Any:
        """An input element as the number type."""
        return value if type(value) is type(self.zero_is) else self.number(value)

    def given(self, tensor: Tensor, shape: tuple[int, ...]) -> View[Any]:
        array = np.asarray(self.arrays[tensor.name], None if tensor.integer else object)
        assert array.shape == shape, f"{tensor.name}: {array.shape}, but {shape} needed"
        kind = int if tensor.integer else self.exact
        if self.gaps:
            view = self.laid_out(tensor, shape)
            _fill(view, array, kind)
        else:
            view = view_of(tensor.name, array, int if tensor.integer else self.number, kind)
        self.views[tensor.name] = view
        return view

    def zeros(self, tensor: Tensor, shape: tuple[int, ...]) -> View[Any]:
        scalar = int if tensor.integer else self.number
        memory: Memory[Any] = Memory(tensor.name, [scalar(0)], None, False, scalar)
        return View(memory, 0, shape, (0,) * len(shape))

    def made(self, tensor: Tensor, shape: tuple[int, ...], zeroed: bool) -> View[Any]:
        view = self.laid_out(tensor, shape)
        for at in _offsets(view) if zeroed else ():
            view.memory.cells[at] = 0 if tensor.integer else self.number(0)
        self.views[tensor.name] = view
        return view

    def laid_out(self, tensor: Tensor, shape: tuple[int, ...]) -> View[Any]:
        """Fresh memory: row-major, or with gaps: axes permuted, some reversed, foreign elements in between.

        Where an extent is chosen to lie side by side, it does so in every tensor that has it. Others are parts of larger
        tensors: loops that go on from one line to the next, where lines follow each other, see that these do not.
        """
        order = list(range(len(shape)))
        part = self.random.randint(-1, len(shape) - 1) if self.sliced else -1
        if self.gaps and not self.sliced:
            self.random.shuffle(order)
            order.sort(key=lambda axis: tensor.shape[axis] != self.side)
        else:
            order.reverse()
        strides, step, start = [0] * len(shape), 1, 0
        for axis in order:
            loose = self.gaps and tensor.shape[axis] != self.side and not self.sliced
            spread = step * self.random.choice((1, 2)) if loose else step
            backwards = loose and self.random.random() < 0.3
            strides[axis] = -spread if backwards else spread
            start += spread * max(shape[axis] - 1, 0) if backwards else 0
            step = spread * max(shape[axis], 1) + (self.random.choice((0, 1)) if loose else int(axis == part))
        scalar = int if tensor.integer else self.number
        kind = _Watched if tensor.name in self.watched else Memory
        memory: Memory[Any] = kind(tensor.name, [], None, False, scalar)
        view = View(memory, start, shape, tuple(strides))
        self.furnish(view)
        return view

    def furnish(self, view: View[Any]) -> None:
        """Cells for the elements of fresh memory, which alone may be touched."""
        view.memory.allowed = frozenset(_offsets(view))
        view.memory.cells = [UNWRITTEN] * (max(view.memory.allowed, default=-1) + 1)

    def run(self, step: Step, values: list[Any]) -> None:
        task, values = step.task(step.merged(values, self.tile), self.tile)
        views = [v for a, v in zip(task.arguments, values, strict=True) if a.ndim is not None]
        targets = [self.views[name] for name in step.targets]
        memories = list({id(v.memory): v.memory for v in views}.values())
        order = list(range(self.tasks))
        self.random.shuffle(order)
        touched: list[list[tuple[set[int], set[int]]]] = []
        for target in targets:
            target.memory.writable = True
        for number in order:
            for m in memories:
                m.reads, m.writes = set(), set()
            task.function(*self.complete(task, values, number))
            touched.append([(m.reads, m.writes) for m in memories])
            if self.trace:
                for name, target in zip(step.targets, targets, strict=True):
                    place = {at: index for index, at in target.places()}
                    written = sorted(place[at] for at in target.memory.writes)
                    self.trace(step.number, task.name, number, name, written)
        for target in targets:
            target.memory.writable = False
        for memory, of_task in zip(memories, zip(*touched, strict=True), strict=True):
            for (i, (_, writes)), (j, (reads, others)) in permutations(enumerate(of_task), 2):
                if clash := writes & (reads | others):
                    raise BadAccess(
                        f"{task!r}: {memory.name}[{min(clash)}] is written by task {order[i]} "
                        f"and touched by task {order[j]}"
                    )

    def complete(self, task: Task[...], values: list[Any], number: int) -> list[Any]:
        """The arguments of task `number`."""
        arguments = []
        for argument, value in zip(task.arguments, values, strict=True):
            match argument.kind:
                case "task":
                    value = number
                case "tasks":
                    value = self.tasks
                case "tile":
                    value = self.tile
                case "float":
                    value = self.exact(value)
                case "scratch" | "integer_scratch" as kind:
                    size = _scratch_size(task, kind, values, self.tile)
                    made, bounds = (self.number, (scalar.Infinity,)) if kind == "scratch" else (int, ())
                    room: Memory[Any] = Memory(argument.name, [UNWRITTEN] * size, scalar=made, bounds=bounds)
                    value = Pointer(room)
                case "real" | "integer":
                    axes = len(value.shape)
                    assert axes == argument.ndim, f"{task!r}: {argument.name} has {axes} axes"
            arguments.append(value)
        return arguments


@dataclass
class _Dry(_Exact):
    """Lays out tensors as an exact run does, without elements, and notes what it would run."""

    names: set[tuple[int, str]] = field(default_factory=set)
    told: Told | None = None

    def given(self, tensor: Tensor, shape: tuple[int, ...]) -> View[Any]:
        return self.laid_out(tensor, shape)

    def made(self, tensor: Tensor, shape: tuple[int, ...], zeroed: bool) -> View[Any]:
        return self.laid_out(tensor, shape)

    def furnish(self, view: View[Any]) -> None:
        pass

    def complete(self, task: Task[...], values: list[Any], number: int) -> list[Any]:
        own = {"task": number, "tasks": self.tasks, "tile": self.tile}
        return [own.get(a.kind, v) for a, v in zip(task.arguments, values, strict=True)]

    def run(self, step: Step, values: list[Any]) -> None:
        values = step.merged(values, self.tile)
        task, taken = step.task(values, self.tile)
        self.names.add((step.number, task.name))
        if self.told:
            if isinstance(step.kernel, Choice):
                asked = zip(step.bindings, values, strict=True)
                self.told(step.kernel.name, [self.tile if b.argument.kind == "tile" else v for b, v in asked])
            integers = [v for a, v in zip(task.arguments, taken, strict=True) if a.kind == "int"]
            for size in (task.scratch, task.integer_scratch):
                if size is not None:
                    self.told(size.__name__, [self.tile, *integers])
            for number in range(self.tasks):
                self.told(task.name, self.complete(task, taken, number))


def execute_exact(
    definition: Definition,
    program_name: str,
    arrays: Mapping[str, Any],
    environment: Mapping[str, int],
    reals: Mapping[str, Any],
    wanted: Collection[str],
    number: Callable[[Any], Any] = Fraction,
    tasks: int = 3,
    tile: Tile | None = None,
    seed: int = 0,
    *,
    gaps: bool = False,
    trace: Trace | None = None,
    written: Written | None = None,
) -> dict[str, Array]:
    """Run the same phases as plain Python over exact numbers; object arrays by name.

    Refuses (BadAccess) an access outside a view or between its elements, a read of what nobody wrote, a
    write to an input, a number of another type, and two tasks of a phase of which one writes what the other
    touches. Tasks run in an order shuffled by `seed`. `gaps` gives tensors permuted, gapped and reversed
    strides; in half of the cases the axes of one extent are contiguous, as channels may be.
    `trace(phase, task name, task, tensor, indices)` is told what each task wrote. Into `written` go, for the tensors
    that it names, the file and line of a kernel that wrote each element last.
    """
    executor = _Exact(
        number, arrays, tasks, tile or _small(number), random.Random(seed), gaps, trace, number(0)
    )
    executor.watched = frozenset(written or ())
    chosen = executor.selected(definition, program_name, reals, wanted)
    environment = {name: int(value) for name, value in environment.items()}
    with scalar.numbers(number):
        tensors = _walk(chosen, environment, reals, executor)
    for name, lines in (written or {}).items():
        memory = tensors[name].memory
        if isinstance(memory, _Watched):
            lines.update(
                {index: memory.lines[at] for index, at in tensors[name].places() if at in memory.lines}
            )
    return {name: _result(tensors[name], definition, name) for name in wanted}


def exact_tasks(
    definition: Definition,
    program_name: str,
    present: Collection[str],
    environment: Mapping[str, int],
    reals: Mapping[str, Any],
    wanted: Collection[str],
    tile: Tile | None = None,
    seed: int = 0,
    *,
    gaps: bool = False,
    tasks: int = 1,
    told: Told | None = None,
) -> set[tuple[int, str]]:
    """What `execute_exact` would run on inputs that are present, without running it: phases' numbers and tasks' names.

    `told` learns the name and the arguments of each choice that is made, of what says how much room a task needs, and of
    the task, once for each of `tasks`; views have shapes and strides and no elements.
    """
    arrays = dict.fromkeys(present, True)
    executor = _Dry(Fraction, arrays, tasks, tile or _small(Fraction), random.Random(seed), gaps, None)
    executor.told = told
    _walk(executor.selected(definition, program_name, reals, wanted), environment, reals, executor)
    return executor.names


def _small(number: Callable[[Any], Any]) -> Tile:
    return Tile(Lanes(2, number), 2, 2)


def _result(view: View[Any], definition: Definition, name: str) -> Array:
    """A view as an object array; every element must have been written."""
    result = np.empty(view.shape, object)
    values = [view.memory.cells[at] for at in _offsets(view)]
    for index, value in zip(np.ndindex(view.shape), values, strict=True):
        if value is UNWRITTEN:
            raise BadAccess(f"{definition.name}: {name}{list(index)} was never written")
        assert type(value) is view.memory.kind
        result[index] = value
    return result


__all__ = [
    "Array",
    "Executor",
    "Trace",
    "exact_tasks",
    "execute",
    "execute_exact",
    "prepare",
    "view_of",
]
