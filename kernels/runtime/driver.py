"""The one parallel function of all kernels: it calls compiled tasks by address.

Compiling with `parallel=True` doubles a kernel's compile time, so only this small driver is. It
takes a *plan*, rows of three words (address of the compiled task, distance in bytes from the plan
to the task's record, number of tasks), and runs the rows in order, the tasks of a row side by side.

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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

I64 = ir.IntType(64)
SMALL = 1 << 15  # scalar operations below which a second thread does not pay


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


# ---- the drivers, compiled or loaded on first use


def _call(typing_context: Any, plan: Any, row: Any, task: Any) -> Any:
    """Call task `task` of row `row`."""

    def generate(context: Any, b: Any, signature: Any, args: Any) -> Any:
        words, row, task = b.inttoptr(args[0], I64.as_pointer()), args[1], args[2]
        at = b.mul(row, I64(3))
        function, offset, tasks = (b.load(b.gep(words, [b.add(at, I64(k))])) for k in range(3))
        kind = ir.FunctionType(ir.VoidType(), [I64] * 3)
        b.call(b.inttoptr(function, kind.as_pointer()), [b.add(args[0], offset), task, tasks])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


def _tasks(typing_context: Any, plan: Any, row: Any) -> Any:
    """How many tasks a row has."""

    def generate(context: Any, b: Any, signature: Any, args: Any) -> Any:
        words = b.inttoptr(args[0], I64.as_pointer())
        return b.load(b.gep(words, [b.add(b.mul(args[1], I64(3)), I64(2))]))

    return types.int64(types.int64, types.int64), generate


call, tasks_of = intrinsic(_call), intrinsic(_tasks)


def _parallel(plan, rows):  # type: ignore[no-untyped-def]
    for row in range(rows):
        if tasks_of(plan, row) == 1:
            call(plan, row, 0)
        else:
            for t in numba.prange(tasks_of(plan, row)):
                call(plan, row, numba.int64(t))


def _serial(plan, rows):  # type: ignore[no-untyped-def]
    for row in range(rows):
        for t in range(tasks_of(plan, row)):
            call(plan, row, t)


def _by_hand(plan: int, rows: int) -> None:
    """The serial driver where NUMBA_DISABLE_JIT leaves no other; tasks are compiled all the same."""
    words = (ctypes.c_int64 * (3 * rows)).from_address(plan)
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)
    for row in range(rows):
        function, offset, tasks = words[3 * row : 3 * row + 3]
        for t in range(tasks):
            kind(function)(plan + offset, t, tasks)


_compiled: dict[bool, Callable[[int, int], None]] = {}
_compiling = threading.Lock()


def _driver(parallel: bool) -> Callable[[int, int], None]:
    found = _compiled.get(parallel)
    if found is None:
        with _compiling:
            found = _compiled.get(parallel)
            if found is None:
                found = _compiled[parallel] = _compile(parallel)
    return found


def make_ready(parallel: bool) -> bool:
    """Compile a driver, or load it; whether it was compiled."""
    found: Any = _driver(parallel)
    return not found.stats.cache_hits


SPINS = "1000"  # a microsecond or two


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


def _compile(parallel: bool) -> Callable[[int, int], None]:
    from kernels.runtime.compile import RUNTIME_DIGEST, build_function, prune, with_cache
    from kernels.runtime.machine import target_digest

    if parallel:
        _load_openmp()
    own = Path(__file__).read_bytes()
    function, digest = (
        _parallel if parallel else _serial,
        hashlib.sha256(own + RUNTIME_DIGEST.encode()).hexdigest()[:16],
    )
    stem = function.__name__
    function.__qualname__ = f"{stem}__{digest}__{target_digest()}"  # the cache's file: one for each target
    driver = with_cache(lambda cached: build_function(function, 2, cached, parallel=parallel, nogil=True))
    prune(driver, function, stem, digest)
    run_plan: Callable[[int, int], None] = driver
    return run_plan


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


def run(plan: int, rows: int, threads: int) -> None:
    """Run a plan's rows with up to so many threads; `plan` is the address of its words."""
    busy = _busy
    if numba.config.DISABLE_JIT:
        _by_hand(plan, rows)
    elif threads > 1 and not (_forked and not _survives_fork()) and busy.acquire(blocking=False):
        try:
            driver = _driver(parallel=True)
            before = numba.get_num_threads()
            numba.set_num_threads(min(threads, int(numba.config.NUMBA_NUM_THREADS)))
            try:
                driver(plan, rows)
            finally:
                numba.set_num_threads(before)
        finally:
            busy.release()
    else:
        _driver(parallel=False)(plan, rows)


def tasks_for(work: float, threads: int) -> int:
    """Into how many tasks a phase of so many scalar operations is split."""
    return 1 if work < SMALL else threads
