"""The one parallel function of all kernels: it lays out a run and calls compiled tasks by address.

Compiling with `parallel=True` doubles a kernel's compile time, so only this small driver is. It takes a *plan*,
words that never change and that runs of several threads may share, and the *objects* of one run: a tuple with the
arrays that tasks read and write, in the plan's order, and last the run's room, an array of bytes that is its alone.
The driver copies the tasks' records into the room, fills in addresses, clears what has to start as zeros, and runs
the plan's rows in order, the tasks of a row side by side. (In Python all that would take longer than a small
kernel does, and so would asking each array for its address: it is read where CPython and NumPy keep it.)

Only one Python thread at a time runs it in parallel: Numba's workqueue layer aborts the process
when two do. Whoever comes second, or runs in a forked child, where OpenMP would kill the process,
takes the serial twin and gets the same result.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload, register_jitable

I64 = ir.IntType(64)


# ---- how many threads

_threads: int | None = None


def set_num_threads(count: int | None) -> None:
    """Threads that kernels may use; None for the default: KERNELS_NUM_THREADS, else all that Numba has."""
    if count is not None and (type(count) is not int or count < 1):
        raise ValueError(f"set_num_threads({count!r}): a positive int, or None for the default")
    global _threads
    _threads = count


def get_num_threads() -> int:
    """How many threads a large kernel uses."""
    most = int(numba.config.NUMBA_NUM_THREADS)
    if _threads is not None:
        return min(_threads, most)
    text = os.environ.get("KERNELS_NUM_THREADS", "").strip()
    if not text:
        return most
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"KERNELS_NUM_THREADS={text!r}: a positive integer")
    return min(int(text), most)


# ---- plans


class Row(NamedTuple):
    """A step: a function void(record, task, tasks), and so many tasks."""

    function: int  # its address
    record: int  # where its record starts, in words
    tasks: int


Pairs = Sequence[tuple[int, int]]
ALIGNMENT = 64  # bytes: the parts of a room start at cache lines
HEAD = 6  # words at the start of a plan: how many of each kind, and how many objects a run has


def plan_words(
    records: Sequence[int], slots: Pairs, pointers: Pairs, cleared: Pairs, rows: Sequence[Row], objects: int
) -> list[int]:
    """A plan.

    `slots` says which words of the records hold the address of which object, `pointers` which point how far into the
    room, `cleared` which of its bytes start as zeros (first, last; multiples of eight). The records take its start.
    """
    words = [len(slots), len(pointers), len(cleared), len(rows), len(records), objects]
    for table in (slots, pointers, cleared, rows):
        for entry in table:
            words.extend(entry)
    return words + list(records)


# ---- the drivers; plain Python here, compiled or loaded on first use


def load(address: int) -> int:
    """The word that lies there."""
    return ctypes.c_int64.from_address(address).value


def store(address: int, value: int) -> None:
    ctypes.c_int64.from_address(address).value = value


def call(function: int, record: int, task: int, tasks: int) -> None:
    """Run one task of a row."""
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(function)(record, task, tasks)


def _pointer(b: Any, address: Any) -> Any:
    return b.inttoptr(address, I64.as_pointer())


def _load(typing_context: Any, address: Any) -> Any:
    return types.int64(types.int64), lambda context, b, signature, args: b.load(_pointer(b, args[0]))


def _store(typing_context: Any, address: Any, value: Any) -> Any:
    def generate(context: Any, b: Any, signature: Any, args: Any) -> Any:
        b.store(args[1], _pointer(b, args[0]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def _call(typing_context: Any, function: Any, record: Any, task: Any, tasks: Any) -> Any:
    def generate(context: Any, b: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [I64] * 3)
        b.call(b.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


_compiled_load, _compiled_store, _compiled_call = intrinsic(_load), intrinsic(_store), intrinsic(_call)
overload(load)(lambda address: lambda address: _compiled_load(address))
overload(store)(lambda address, value: lambda address, value: _compiled_store(address, value))
overload(call)(lambda f, r, t, n: lambda f, r, t, n: _compiled_call(f, r, t, n))

# how many threads Numba's next parallel loop takes: what `numba.set_num_threads` is made of, which is not cached
_threads_of_numba = types.ExternalFunction("get_num_threads", types.intp())
_set_threads_of_numba = types.ExternalFunction("set_num_threads", types.void(types.intp))

OBJECT = object.__basicsize__  # what an object starts with; an array's next word is its address
ITEMS = tuple.__basicsize__  # where the items of a tuple lie


@register_jitable
def _begin(plan, objects):  # type: ignore[no-untyped-def]
    """Ready the room; it starts with the records, whose address is returned."""
    slots, pointers, cleared, rows, records, count = (
        load(plan),
        load(plan + 8),
        load(plan + 16),
        load(plan + 24),
        load(plan + 32),
        load(plan + 40),
    )
    items = objects + ITEMS
    room = load(load(items + 8 * (count - 1)) + OBJECT)
    room += -room % ALIGNMENT
    at = plan + 8 * HEAD
    source = at + 16 * (slots + pointers + cleared) + 24 * rows
    for n in range(records):
        store(room + 8 * n, load(source + 8 * n))
    for _ in range(slots):
        store(room + 8 * load(at), load(load(items + 8 * load(at + 8)) + OBJECT))
        at += 16
    for _ in range(pointers):
        store(room + 8 * load(at), room + load(at + 8))
        at += 16
    for _ in range(cleared):
        for word in range(room + load(at), room + load(at + 8), 8):
            store(word, 0)
        at += 16
    return room


@register_jitable
def _rows(plan):  # type: ignore[no-untyped-def]
    """Where the rows lie, and how many there are."""
    return plan + 8 * HEAD + 16 * (load(plan) + load(plan + 8) + load(plan + 16)), load(plan + 24)


def _serial(plan, objects):  # type: ignore[no-untyped-def]
    room = _begin(plan, objects)
    at, rows = _rows(plan)
    for row in range(rows):
        function, record = load(at + 24 * row), room + 8 * load(at + 24 * row + 8)
        tasks = load(at + 24 * row + 16)
        for t in range(tasks):
            call(function, record, t, tasks)


def _parallel(plan, objects, threads):  # type: ignore[no-untyped-def]
    room = _begin(plan, objects)
    at, rows = _rows(plan)
    before = _threads_of_numba()
    _set_threads_of_numba(threads)
    for row in range(rows):
        function, record = load(at + 24 * row), room + 8 * load(at + 24 * row + 8)
        tasks = load(at + 24 * row + 16)
        if tasks == 1:
            call(function, record, 0, 1)
        else:
            for t in numba.prange(tasks):
                call(function, record, numba.int64(t), tasks)
    _set_threads_of_numba(before)


def check_layout() -> None:
    """That CPython and NumPy keep addresses where they have always been."""
    for array in (np.empty(3), np.empty((2, 5), np.int8)[:, 1:]):
        objects = (None, array)
        if load(load(id(objects) + ITEMS + 8) + OBJECT) != array.ctypes.data:
            raise RuntimeError("an array's address is not where the driver looks for it; please report this")


_compiled: dict[bool, Callable[..., None]] = {}
_was_compiled: dict[bool, bool] = {}
_compiling = threading.Lock()


def _driver(parallel: bool) -> Callable[..., None]:
    found = _compiled.get(parallel)
    if found is None:
        with _compiling:
            found = _compiled.get(parallel)
            if found is None:
                found = _compiled[parallel] = _compile(parallel)
    return found


def make_ready(parallel: bool) -> bool:
    """Compile a driver, or load it; whether it was compiled."""
    _driver(parallel)
    return _was_compiled[parallel]


# How often a thread that waits looks again before it sleeps: ten microseconds where a pause takes 35 ns, as on Intel
# since Skylake, a few elsewhere. Alone on the machine it saves the waking between the steps of a plan, and between
# calls that follow at once; beside others it is what each wait costs in vain.
SPINS = "300"


def _load_openmp() -> None:
    """Load OpenMP such that a thread that waits soon sleeps.

    GNU's would spin for milliseconds, and where another process wants the processor too, the thread that it
    waits for does not run meanwhile (measured: 6 to 15 times as long). The library reads its settings when it
    is loaded; a setting of the user's own, or a library that is there already (torch's), is left alone.
    """
    if "GOMP_SPINCOUNT" in os.environ or "OMP_WAIT_POLICY" in os.environ:
        return
    os.environ["GOMP_SPINCOUNT"] = SPINS
    try:
        importlib.import_module("numba.np.ufunc.omppool")
    except ImportError:  # this build of Numba has no OpenMP layer
        pass
    finally:
        del os.environ["GOMP_SPINCOUNT"]


def _compile(parallel: bool) -> Callable[..., None]:
    from kernels.runtime.compile import build_function, prune, with_cache
    from kernels.runtime.digest import RUNTIME_DIGEST
    from kernels.runtime.machine import target_digest

    check_layout()
    if parallel:
        _load_openmp()
        numba.get_num_threads()  # readies the layer, and the symbols that the driver needs
    own = Path(__file__).read_bytes()
    digest = hashlib.sha256(own + RUNTIME_DIGEST.encode()).hexdigest()[:16]
    function = _parallel if parallel else _serial
    # the cache's file: one for each target
    function.__qualname__ = f"{function.__name__}__{digest}__{target_digest()}"
    arguments = 3 if parallel else 2
    driver = with_cache(
        lambda cached: build_function(function, arguments, cached, parallel=parallel, nogil=True)
    )
    prune(driver, function)
    _was_compiled[parallel] = not driver.stats.cache_hits
    (form,) = driver.overloads.values()
    entry: Callable[..., None] = (
        form.entry_point
    )  # what the dispatcher would call, once it has looked at the types
    return entry


# ---- running

_busy = threading.Lock()
_forked = False


def _after_fork() -> None:
    global _busy, _compiling, _forked
    _busy, _compiling, _forked = threading.Lock(), threading.Lock(), True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _survives_fork() -> bool:
    try:
        return bool(numba.threading_layer() == "tbb")
    except ValueError:  # no layer was started before the fork
        return False


def run(plan: int, objects: tuple[Any, ...], threads: int) -> None:
    """Run the plan at that address on these objects, with up to so many threads."""
    busy = _busy
    if numba.config.DISABLE_JIT:  # the drivers stay plain Python; tasks are compiled all the same
        _serial(plan, id(objects))  # type: ignore[no-untyped-call]
    elif threads > 1 and not (_forked and not _survives_fork()) and busy.acquire(blocking=False):
        try:
            _driver(parallel=True)(plan, id(objects), min(threads, int(numba.config.NUMBA_NUM_THREADS)))
        finally:
            busy.release()
    else:
        _driver(parallel=False)(plan, id(objects))


SMALL = 25_000  # nanoseconds of one thread: less, and to wake another costs about what it saves


def tasks_for(work: float, threads: int) -> int:
    """Into how many tasks a phase of so many nanoseconds is split."""
    return 1 if work < SMALL else threads
