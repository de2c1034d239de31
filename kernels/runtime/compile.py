"""One source, two runs: a kernel function stays plain Python, and a `Task` can also be compiled.

There is no switch. `@kernel` registers a function with Numba and returns it unchanged, so calling
it from Python interprets it, over whatever numbers it is given. Only a `Task`, the outermost body
that drivers run, has a compiled form, made on first use:

    @task
    def y_from_x(y: Real2, x: Real2, N: int, C: int, add: int, task: int, tasks: int) -> None: ...

Compiled, its arguments come as a *record*, an array of int64 words: a view is its address and its
strides in elements, an int is itself, a float is its bits, a scratch its base address and the
elements that each task has. So one compilation serves every shape, stride and memory layout.

Numba's cache does not know what a task calls, and writers of one index file can overtake each other. Therefore
each compiled form has files of its own, named by a digest (`digest.py`) of everything that it is compiled from.
What a task is linked with (`linked.py`) is there before it, since an address is looked up as the task is loaded.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import pickle
import re
import struct
import sys
import textwrap
import threading
import time
import types as python_types
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial, update_wrapper
from pathlib import Path
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar, overload

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import ccallback, cgutils, compiler
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.errors import NumbaError
from numba.core.runtime.nrt import rtsys
from numba.extending import register_jitable

from kernels.runtime import elementary as elementary  # its import registers the functions of vectors
from kernels.runtime import lowering, machine
from kernels.runtime import windows as windows  # and its, the windows of tiles
from kernels.runtime.digest import source_digest, variant
from kernels.runtime.linked import Linked, linked_by
from kernels.runtime.merging import Merges
from kernels.runtime.simd import Tile

F = TypeVar("F", bound=Callable[..., object])
P = ParamSpec("P")


def kernel(function: F) -> F:
    """A function that tasks may call. It stays ordinary Python."""
    register_jitable(function)
    return function


# ---- the arguments of a task


class TaskError(TypeError):
    """A task's signature that the runtime cannot serve."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a task: what it is called and how it is handed over."""

    name: str
    kind: str  # real, integer (views), int, float, tile, scratch, integer_scratch, add, task, tasks
    ndim: int | None = None  # of a view

    @property
    def words(self) -> int:
        """How many words of the record it takes."""
        if self.ndim is not None:
            return 1 + self.ndim
        return {"int": 1, "add": 1, "float": 1, "scratch": 2, "integer_scratch": 2}.get(self.kind, 0)


_PLAIN = {
    "Tile": "tile",
    "Scratch": "scratch",
    "IntegerScratch": "integer_scratch",
    "int": "int",
    "float": "float",
}
_SPECIAL = ("add", "task", "tasks")  # ints that the executor and the driver supply


def parse_argument(name: str, annotation: object) -> Argument | None:
    """What an annotation, text or object, says; None if nothing that a task can take."""
    if not isinstance(annotation, str):
        marks = getattr(annotation, "__metadata__", ())  # Real4 is Annotated[View, "Real4"]
        annotation = marks[0] if marks else getattr(annotation, "__name__", "")
    word = str(annotation).strip().rsplit(".", 1)[-1]
    if view := re.fullmatch(r"(Real|Integer)(\d+)", word):
        return Argument(name, view[1].lower(), int(view[2]))
    kind = _PLAIN.get(word)
    if kind == "int" and name in _SPECIAL:
        kind = name
    return None if kind is None else Argument(name, kind)


def parse_arguments(function: Callable[..., object], shared: bool = True) -> tuple[Argument, ...]:
    """The arguments of a task, or of a choice (nothing `shared` among tasks) in order, from its annotations' text."""
    code, hints = function.__code__, function.__annotations__
    where = f"{'task' if shared else 'choice'} {function.__module__}.{function.__qualname__}"
    names = code.co_varnames[: code.co_argcount]
    if code.co_kwonlyargcount or code.co_flags & 0x0C or getattr(function, "__defaults__", None):
        raise TaskError(f"{where}: only plain positional arguments, without defaults")
    arguments = []
    for name in names:
        argument = parse_argument(name, hints.get(name, ""))
        if argument is None:
            raise TaskError(
                f"{where}: `{name}: {hints.get(name, '')}` is none of Real0..12, Integer0..12, int, float, "
                "Tile, Scratch, IntegerScratch"
            )
        arguments.append(argument)
    if shared and [a.kind for a in arguments[-2:]] != ["task", "tasks"]:
        raise TaskError(f"{where}: its last arguments must be `task: int, tasks: int`")
    return tuple(arguments)


def _takes(arguments: Sequence[Argument]) -> tuple[int, int, int]:
    """How many tensors, integers and reals a phase must bind."""
    kinds = [a.kind for a in arguments]
    return kinds.count("real") + kinds.count("integer"), kinds.count("int"), kinds.count("float")


# ---- tasks

Size = Callable[..., int]  # (tile, *integers of the phase) -> elements that one task needs


class Compilation(NamedTuple):
    """One entry of the log: what was compiled or loaded, and how long it took."""

    task: str
    dtype: str
    from_cache: bool
    seconds: float


_log: list[Compilation] = []
_lock = threading.RLock()


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def compiled_signatures() -> list[Compilation]:
    """Every compiled form made or loaded by this process, in order."""
    return list(_log)


class Task(Generic[P]):
    """The outermost body of a kernel: does share `task` of `tasks` equal shares of one phase.

    Calling it runs plain Python; `address` compiles it.
    """

    def __init__(
        self, function: Callable[P, None], scratch: Size | None = None, integer_scratch: Size | None = None
    ) -> None:
        self.function = function
        self.name = function.__name__
        self.arguments = parse_arguments(function)
        self.takes = _takes(self.arguments)
        kinds = [a.kind for a in self.arguments]
        self.scratch, self.integer_scratch = scratch, integer_scratch
        for kind, size in (("scratch", scratch), ("integer_scratch", integer_scratch)):
            if (size is not None) != (kind in kinds):
                raise TaskError(f"task {self.name}: the argument and the decorator disagree about {kind}")
        self._addresses: dict[Any, int] = {}
        update_wrapper(self, function)

    @property
    def tasks(self) -> tuple[Task[...], ...]:
        """What may be run: itself, as a choice has several."""
        return (self,)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<task {self.function.__module__}.{self.name}>"

    def address(self, dtype: Any, tile: Tile | None = None) -> int:
        """The address of void(record, task, tasks), compiled for arrays of float32 or float64."""
        key = dtype, tile
        found = self._addresses.get(key)
        if found is None:
            with _lock:
                found = self._addresses.get(key)
                if found is None:
                    chosen = tile or machine.machine_tile(np.dtype(dtype))
                    assert tile_dtype(chosen) == np.dtype(dtype).name, f"{self!r}: a tile for {dtype} needed"
                    self._addresses[key] = found = int(compile_task(self, chosen).address)
        return found

    def assembly(self, dtype: Any, tile: Tile | None = None) -> str:
        """What the machine executes, for tests and the curious; compiled anew, since no cache holds it."""
        compiled = build(entry_for(self, tile or machine.machine_tile(np.dtype(dtype)), self.name), False)
        text: str = compiled._library.get_asm_str()
        return text


@overload
def task(function: Callable[P, None]) -> Task[P]: ...
@overload
def task(
    *, scratch: Size | None = None, integer_scratch: Size | None = None
) -> Callable[[Callable[P, None]], Task[P]]: ...


def task(
    function: Callable[P, None] | None = None,
    *,
    scratch: Size | None = None,
    integer_scratch: Size | None = None,
) -> Task[P] | Callable[[Callable[P, None]], Task[P]]:
    """Make a function the outermost body of a kernel.

    The sizes, fn(tile, *integers of the phase), count the elements that one task needs to itself.
    """
    if function is not None:
        return Task(function)
    return lambda function: Task(function, scratch, integer_scratch)


class Choice(Generic[P]):
    """Tasks that do the same, and a function (views, integers, reals, tile) that says which of them is to do it.

    It is plain Python and runs once for each plan, on sizes and strides alone; so only what is chosen is compiled. A
    task takes what it needs of the choice's arguments, by name. `merges` says which indices may be taken as one.
    """

    def __init__(
        self, function: Callable[P, Task[...]], tasks: tuple[Task[...], ...], merges: Merges | None = None
    ) -> None:
        self.function, self.tasks, self.merges = function, tasks, merges or {}
        self.name = function.__name__
        self.arguments = parse_arguments(function, shared=False)
        self.takes = _takes(self.arguments)
        known = {a.name: a for a in self.arguments}
        for task in tasks:
            for a in task.arguments:
                if a.kind not in ("scratch", "integer_scratch", "task", "tasks") and known.get(a.name) != a:
                    raise TaskError(f"choice {self.name}: {task!r} takes `{a.name}`, the choice does not")
        views = [a.ndim for a in self.arguments if a.ndim is not None]
        for name, axes in self.merges.items():
            fit = len(axes) == len(views) and all(
                axis is None or 0 <= axis < ndim for axis, ndim in zip(axes, views, strict=True)
            )
            if not fit or known.get(name) != Argument(name, "int"):
                raise TaskError(
                    f"choice {self.name}: merges[{name!r}] = {axes} is no extent, or no axis of each view"
                )
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Task[...]:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<choice {self.function.__module__}.{self.name}>"


def choice(*tasks: Task[...], merges: Merges | None = None) -> Callable[[Callable[P, Task[...]]], Choice[P]]:
    """Make a function that returns one of these tasks a choice among them."""
    return lambda function: Choice(function, tasks, merges)


Kernel = Task[...] | Choice[...]


# ---- the record, and how compiled code reads it


def float_word(value: float) -> int:
    """The bits of a float64 as an int64."""
    word: int = struct.unpack("q", struct.pack("d", value))[0]
    return word


def argument_types(arguments: Sequence[Argument], tile: Tile) -> tuple[types.Type, ...]:
    """Numba's types of a task's arguments."""
    its_tile = lowering.tile_type(tile)
    elements = {"real": its_tile.lanes.dtype, "integer": types.int64}
    other = {
        "tile": its_tile,
        "float": types.float64,
        "scratch": lowering.PointerType(its_tile.lanes.dtype),
        "integer_scratch": lowering.PointerType(types.int64),
    }
    return tuple(
        other.get(a.kind, types.int64) if a.ndim is None else lowering.ViewType(elements[a.kind], a.ndim)
        for a in arguments
    )


def read_record(
    arguments: Sequence[Argument],
    results: Sequence[types.Type],
    context: Any,
    b: Any,
    received: Sequence[Any],
) -> list[Any]:
    """The LLVM values of a task's arguments, from its record and the numbers of the task and of all tasks."""
    base, task, tasks = received
    words = b.inttoptr(base, lowering.I64.as_pointer())
    at = 0

    def word() -> Any:
        nonlocal at
        at += 1
        return b.load(b.gep(words, [lowering.I64(at - 1)]))

    values = []
    for argument, result in zip(arguments, results, strict=True):
        if argument.ndim is not None:
            view = cgutils.create_struct_proxy(result)(context, b)
            view.data = b.inttoptr(word(), lowering.ELEMENT[result.dtype].as_pointer())
            strides = [word() for _ in range(argument.ndim)]
            view.strides = context.make_tuple(b, types.UniTuple(types.int64, argument.ndim), strides)
            values.append(view._getvalue())
        elif argument.kind in ("scratch", "integer_scratch"):
            start = b.inttoptr(word(), lowering.ELEMENT[result.dtype].as_pointer())
            values.append(b.gep(start, [b.mul(task, word())]))
        elif argument.kind == "float":
            values.append(b.bitcast(word(), lowering.ELEMENT[types.float64]))
        elif argument.kind == "tile":
            values.append(context.get_dummy_value())
        else:
            values.append({"task": task, "tasks": tasks}[argument.kind] if argument.words == 0 else word())
    return values


# ---- compiling


@dataclass(frozen=True)
class Entry:
    """A C function that is to be, and the Python function that it is made of."""

    name: str
    body: Callable[..., object]
    takes: tuple[types.Type, ...]  # by the body
    receives: tuple[types.Type, ...]  # by the C function
    # (context, builder, received) -> what the body takes
    values: Callable[[Any, Any, Sequence[Any]], list[Any]]

    def function(self) -> Callable[..., object]:
        """The body under the entry's name, which becomes part of its symbols."""
        made = python_types.FunctionType(self.body.__code__, self.body.__globals__, self.name)
        made.__module__, made.__qualname__ = self.body.__module__, self.name
        return made

    def named(self) -> Callable[..., object]:
        """What a cache goes by: name and file, but no line, since the name has a digest of all the code."""
        code = _nothing.__code__.replace(
            co_filename=self.body.__code__.co_filename,
            co_name=self.name,
            co_qualname=self.name,
            co_firstlineno=1,
        )
        return python_types.FunctionType(code, {"__name__": self.body.__module__}, self.name)


def _nothing() -> None:
    """Stands in for a body in the cache."""


def tile_dtype(tile: Tile) -> str:
    """float32 or float64."""
    scalar: Any = tile.lanes.scalar
    return str(np.dtype(scalar))


def entry_for(task: Task[Any], tile: Tile, name: str) -> Entry:
    """void(record, task, tasks) around a task's body.

    What the task is linked with is there before the entry: Numba aborts the process where a symbol is missing.
    """
    for function in linked_by(task.function):
        compile_linked(function, tile)
    takes = argument_types(task.arguments, tile)
    return Entry(name, task.function, takes, RECORD, partial(read_record, task.arguments, takes))


class CheckedFile(IndexDataCacheFile):
    """Numba's files, each with a digest of what it holds.

    LLVM ends the process over code that is damaged, and a damaged instruction is a wrong result. A file that is not what
    was written (after a power failure blocks of it are zeros) counts as none, and is written anew.
    """

    def _load_index(self) -> Any:
        try:
            version, stamp, names = self._read(self._index_path)
        except OSError:
            return {}
        return names if (version, stamp) == (self._version, self._source_stamp) else {}

    def _save_index(self, overloads: Any) -> None:
        self._write(self._index_path, (self._version, self._source_stamp, overloads))

    def _load_data(self, name: str) -> Any:
        return self._read(self._data_path(name))  # an OSError is as if there were none

    def _save_data(self, name: str, data: Any) -> None:
        self._write(self._data_path(name), data)

    def _read(self, path: str) -> Any:
        content = Path(path).read_bytes()
        if hashlib.blake2b(content[DIGEST:], digest_size=DIGEST).digest() != content[:DIGEST]:
            raise OSError(f"{path} is damaged")
        return pickle.loads(content[DIGEST:])

    def _write(self, path: str, value: Any) -> None:
        data = self._dump(value)
        with self._open_for_write(path) as file:
            file.write(hashlib.blake2b(data, digest_size=DIGEST).digest() + data)


DIGEST = 16  # bytes


class QuickCache(FunctionCache):
    """Numba's cache, but what is in it is loaded without all that Numba might need to compile.

    That would take a third of a second, half of it for SciPy where there is one. Compiled code needs no more
    than the symbols that it refers to: C's functions and Numba's helpers, which are there with the target, and
    those of Numba's runtime.
    """

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__(function)
        locator = self._impl.locator
        self._cache_file = CheckedFile(self._cache_path, self._impl.filename_base, locator.get_source_stamp())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


RECORD = (types.int64,) * 3  # what a task's C function takes


_CFunc: Any = ccallback.CFunc  # Numba's types know little of what is in it
_CFuncCompiler: Any = ccallback.__dict__["_CFuncCompiler"]


class _Compiler(_CFuncCompiler):
    def _customize_flags(self, flags: Any) -> Any:
        flags = super()._customize_flags(flags)
        flags.no_cfunc_wrapper = True  # ours takes other arguments
        return flags


class Callback(_CFunc):
    """The compiled form of an entry.

    A C function in Numba takes what its Python function does. Here it takes what a driver has, makes the arguments
    of the body of that, and is compiled together with the body, in one piece.
    """

    def __init__(self, entry: Entry, cached: bool) -> None:
        # never `fastmath`: where LLVM may regroup or fuse, one formula of equal numbers rounds in two ways, and then
        # x < x holds. What gains by fusing says `fma`, and vectors are written as such.
        options = {"error_model": "numpy", "nogil": True}
        self.entry = entry
        super().__init__(entry.function(), (entry.takes, types.void), {}, options)
        self._compiler = _Compiler(self._pyfunc, self._targetdescr, options, {}, compiler.Compiler)
        if cached:
            self._cache = QuickCache(entry.named())

    def _compile_uncached(self) -> Any:
        compiled, entry = super()._compile_uncached(), self.entry
        context, described = compiled.target_context, compiled.fndesc
        module = context.create_module("entry")
        kinds = [context.get_value_type(t) for t in entry.receives]
        wrapper = ir.Function(
            module, ir.FunctionType(ir.VoidType(), kinds), described.llvm_cfunc_wrapper_name
        )
        builder = ir.IRBuilder(wrapper.append_basic_block("entry"))
        kind = context.call_conv.get_function_type(described.restype, described.argtypes)
        body = ir.Function(module, kind, described.llvm_func_name)
        values = entry.values(context, builder, wrapper.args)
        # a body has nothing to raise: an exception would need Python
        context.call_conv.call_function(builder, body, described.restype, described.argtypes, values)
        builder.ret_void()
        library = compiled.library
        library.add_ir_module(module)
        # nobody else calls the body, so that LLVM makes it one with the wrapper
        library._final_module.get_function(described.llvm_func_name).linkage = "internal"
        return compiled


def build(entry: Entry, cached: bool) -> Callback:
    """A C callback; without Python's exceptions, and without the GIL."""
    callback = Callback(entry, cached)
    callback.compile()
    return callback


def build_function(function: Callable[..., None], arguments: int, cached: bool, **options: Any) -> Any:
    """A function of int64 that Python calls, in the same cache."""
    compiled = numba.njit(**options)(function)
    if cached:
        compiled._cache = QuickCache(function)
    compiled.compile((types.int64,) * arguments)
    compiled.disable_compile()
    return compiled


@cache
def compile_task(task: Task[Any], tile: Tile) -> Any:
    """The compiled form, from the cache on disk if it is there."""
    stem = re.sub(r"\W+", "_", task.function.__qualname__)
    digest, form = source_digest(task.function, task.arguments), variant(lowering.tile_type(tile))
    entry = entry_for(task, tile, f"{stem}__{digest}__{form}")
    try:
        return logged(task.name, tile, entry)
    except NumbaError as error:
        raise TaskError(f"{task!r} does not compile\n{innermost(str(error))}") from None


@cache
def compile_linked(function: Linked, tile: Tile) -> Any:
    """What tasks of this tile find behind the function's symbol, from now on."""
    for other in linked_by(function.body):
        compile_linked(other, tile)
    its_tile = lowering.tile_type(tile)
    name, receives = function.symbol(its_tile), function.types(its_tile)
    entry = Entry(name, function.body, (its_tile, *receives), receives, with_tile)
    compiled = logged(function.name, tile, entry)
    llvm.add_symbol(name, compiled.address)
    return compiled


def with_tile(context: Any, builder: Any, received: Sequence[Any]) -> list[Any]:
    """The arguments of a linked function: a tile is all in its type."""
    return [context.get_dummy_value(), *received]


def logged(name: str, tile: Tile, entry: Entry) -> Any:
    """Compile or load; what older sources left is deleted where it was compiled."""
    start = time.perf_counter()
    compiled = with_cache(lambda cached: build(entry, cached))
    hit = bool(compiled.cache_hits)
    if not hit:
        prune(compiled, entry.named())
    _log.append(Compilation(name, tile_dtype(tile), hit, time.perf_counter() - start))
    return compiled


def innermost(message: str) -> str:
    """What is wrong, from the hundreds of lines that Numba says about every attempt at every callee."""
    lines = message.splitlines()
    starts = [i for i, line in enumerate(lines) if "Failed in nopython mode pipeline" in line]
    if not starts:
        return message
    deepest = max(starts, key=lambda i: (len(lines[i]) - len(lines[i].lstrip()), -i))
    told = itertools.takewhile(lambda line: "During: Pass" not in line, lines[deepest + 1 :])
    return textwrap.indent(textwrap.dedent("\n".join(told)), "    ").rstrip()


def with_cache(build: Callable[[bool], Any]) -> Any:
    """build(True); build(False) where Numba finds no folder to write, or a cache file is broken."""
    try:
        return build(True)
    except NumbaError:
        raise
    except (OSError, EOFError, pickle.UnpicklingError, RuntimeError, AttributeError, ImportError):
        return build(False)


def prune(compiled: Any, entry: Callable[..., object]) -> None:
    """Delete what older sources of a function left in its cache. Who is about to read it recompiles."""
    folder = compiled._cache.cache_path
    if folder is None:
        return
    module = Path(entry.__code__.co_filename).stem
    stem, digest, _ = entry.__qualname__.rsplit("__", 2)
    python = f".py{sys.version_info[0]}{sys.version_info[1]}"
    this = re.compile(re.escape(f"{module}.{stem}") + rf"__([0-9a-f]{{16}})__\w+-\d+{python}\D.*(nbi|nbc)")
    with suppress(OSError):
        for file in os.listdir(folder):
            match = this.fullmatch(file)
            if match and match[1] != digest:
                with suppress(OSError):
                    os.unlink(os.path.join(folder, file))
