"""Operators among threads and processes: what is computed never depends on who else computes.

A scenario is a function of this module that asserts; it runs here or, under another of Numba's threading
layers, in a process of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kernels
from kernels.runtime import driver, get_num_threads, set_num_threads
from tests.support.shipped import CASES, generator

ROOT = Path(__file__).parents[2]
LAYERS = ["omp", "workqueue"]  # tbb needs a library that few have
FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@pytest.fixture(autouse=True)
def _default_threads() -> Iterator[None]:
    yield
    set_num_threads(None)


def python(code: str, **environment: str) -> str:
    """What a new process prints; skips where its threading layer is not installed."""
    command, env = [sys.executable, "-c", code], {**os.environ, **environment}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=env)
    if "No threading layer" in done.stderr:
        pytest.skip(f"no {environment['NUMBA_THREADING_LAYER']} here")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def scenario(name: str, **environment: str) -> None:
    code = f"from tests.kernels import test_threads as t; t.{name}(); print('done')"
    assert python(code, **environment).splitlines()[-1] == "done"


Results = list[Any]


def results(seed: int) -> Results:
    """A forward pass and its gradients, large enough for several tasks, and a small one."""
    rng = np.random.default_rng(seed)
    found: Results = []
    for shape in ((2, 8, 40, 40), (1, 2, 6, 6)):
        x, w = (rng.standard_normal(s).astype(np.float32) for s in (shape, (8, shape[1], 3, 3)))
        y, pullback = kernels.conv2d.vjp(x, w, stride=2, padding=1)
        z, back = kernels.max_pool2d.vjp(y, 2)
        found += [y, z, *back(z), *pullback(y)[:2]]
    return found


def equal(a: Results, b: Results) -> bool:
    return all(np.array_equal(u, v) for u, v in zip(a, b, strict=True))


# --------------------------------------------------------------------------- several Python threads


def several_threads() -> None:
    want = [results(seed) for seed in range(4)]
    wrong: list[Any] = []

    def work(seed: int) -> None:
        try:
            wrong.extend(seed for _ in range(15) if not equal(results(seed), want[seed]))
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_several_threads() -> None:
    several_threads()


@pytest.mark.parametrize("layer", LAYERS)
def test_several_threads_under(layer: str) -> None:
    scenario("several_threads", NUMBA_THREADING_LAYER=layer)


# -------------------------------------------------------------------------------------- processes


def forked_children() -> None:
    """Before and after the parent has used its threads, and while another of its threads does."""
    warnings.simplefilter(
        "ignore", DeprecationWarning
    )  # that fork and threads do not go together is the point
    want = results(0)

    def child_is_right() -> bool:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = 7 if driver._forked and equal(results(0), want) else 1
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7

    assert child_is_right()
    over = threading.Event()

    def busy() -> None:
        while not over.is_set():
            results(1)

    other = threading.Thread(target=busy)
    other.start()
    try:
        assert all(child_is_right() for _ in range(5))
    finally:
        over.set()
        other.join()
    assert equal(results(0), want)
    assert not driver._forked


@FORKS
@pytest.mark.parametrize("layer", LAYERS)
def test_forked_children(layer: str) -> None:
    """GNU OpenMP kills a child that enters it after its parent did: a child works alone."""
    scenario("forked_children", NUMBA_THREADING_LAYER=layer)


def pools(method: str) -> None:
    warnings.simplefilter("ignore", DeprecationWarning)
    want = [results(seed) for seed in range(4)]
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.map(results, range(4))
        threaded = pool.apply(kernels.conv2d, (np.ones((2, 8, 40, 40)), np.ones((8, 8, 3, 3))))
    assert all(map(equal, found, want))
    assert (threaded == 72).all()


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    "method",
    [pytest.param("fork", marks=FORKS), "spawn", pytest.param("forkserver", marks=[FORKS, pytest.mark.slow])],
)
def test_pools_of_processes(method: str, layer: str) -> None:
    """Operators are sent to them by name, arrays by value."""
    code = f"from tests.kernels import test_threads as t\nif __name__ == '__main__': t.pools('{method}'); print('done')"
    assert python(code, NUMBA_THREADING_LAYER=layer) == "done"


# ------------------------------------------------------------------------- parallel work of others


def threads_in_processes(method: str) -> None:
    """Workers whose tasks have threads that call, as joblib and futures nest them."""
    warnings.simplefilter("ignore", DeprecationWarning)
    want = [results(seed) for seed in range(4)]
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.map(in_threads, [range(4)] * 4)
    assert all(equal(a, b) for one in found for a, b in zip(one, want, strict=True))
    assert all(equal(a, b) for a, b in zip(in_threads(range(4)), want, strict=True))


def in_threads(seeds: Iterable[int]) -> list[Results]:
    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(results, seeds))


def beside_numba() -> None:
    """A parallel function of the user's own before, between and after our kernels, and one that calls back to them."""
    import numba

    @numba.njit(parallel=True)
    def summed(a: Any) -> Any:
        total = 0.0
        for i in numba.prange(a.shape[0]):
            total += a[i]
        return total

    want, a = results(0), np.ones(100_000)
    for _ in range(10):
        assert summed(a) == len(a)
        assert equal(results(0), want)

    threads = numba.get_num_threads()
    set_num_threads(1)
    assert equal(results(0), want)
    assert numba.get_num_threads() == threads, "how many threads a function of theirs has is their own affair"
    set_num_threads(None)


def within_numba() -> None:
    """Kernels called by the threads of a parallel loop, each of which comes back to Python."""
    import numba

    want = results(0)
    right = np.zeros(8)

    def again(n: int) -> float:
        return float(equal(results(0), want))

    @numba.njit(parallel=True)
    def many(right: Any) -> None:
        for i in numba.prange(right.shape[0]):
            with numba.objmode(one="float64"):
                one = again(i)
            right[i] = one

    many(right)
    assert right.all()
    assert equal(results(0), want)


@pytest.mark.slow
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("method", [pytest.param("fork", marks=FORKS), "spawn"])
def test_threads_in_processes(method: str, layer: str) -> None:
    code = (
        "from tests.kernels import test_threads as t\n"
        f"if __name__ == '__main__': t.threads_in_processes('{method}'); print('done')"
    )
    assert python(code, NUMBA_THREADING_LAYER=layer) == "done"


@pytest.mark.slow
@pytest.mark.parametrize("layer", LAYERS)
def test_beside_parallel_functions_of_others(layer: str) -> None:
    scenario("beside_numba", NUMBA_THREADING_LAYER=layer)


@pytest.mark.slow
def test_within_a_parallel_function() -> None:
    """Under OpenMP. Numba's workqueue layer runs no function beside another one, as architecture.md says."""
    scenario("within_numba", NUMBA_THREADING_LAYER="omp")


# ------------------------------------------------------------------------------------------ torch


def beside_torch(first: str) -> None:
    """In turns and at once, whichever library is loaded first."""
    __import__(first)
    import torch

    rng = np.random.default_rng(5)
    x, w = rng.standard_normal((2, 16, 30, 30)), rng.standard_normal((16, 16, 3, 3))
    want = torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(w)).numpy()
    over = threading.Event()

    def theirs() -> None:
        while not over.is_set():
            torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(w))

    for at_once in (False, True):
        other = threading.Thread(target=theirs)
        if at_once:
            other.start()
        try:
            for _ in range(20):
                np.testing.assert_allclose(kernels.conv2d(x, w), want, rtol=1e-10, atol=1e-10)
                torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(w))
        finally:
            over.set()
            if at_once:
                other.join()
                over.clear()
    warnings.simplefilter("ignore", DeprecationWarning)
    if hasattr(os, "fork"):
        forked_children()


@pytest.mark.external
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("first", ["torch", "kernels.operator"])
def test_beside_torch(first: str, layer: str) -> None:
    pytest.importorskip("torch", reason="shares the process with torch", exc_type=ImportError)
    code = f"from tests.kernels import test_threads as t; t.beside_torch('{first}'); print('done')"
    if first == "torch":
        code = f"import torch; {code}"
    assert python(code, NUMBA_THREADING_LAYER=layer) == "done"


# ------------------------------------------------------------------------------ number of threads


def test_setting_and_environment() -> None:
    code = """
import kernels, numpy as np
from kernels.runtime import get_num_threads, set_num_threads
from kernels.runtime import driver
used = []
run = driver.run
driver.run = lambda plan, rows, threads: used.append(threads) or run(plan, rows, threads)
x, w = np.ones((2, 8, 40, 40)), np.ones((8, 8, 3, 3))
for count in (None, 1, 3, None):
    set_num_threads(count)
    kernels.conv2d(x, w)
    kernels.conv2d(x[:1, :, :4, :4], w)
print(used)
"""
    assert python(code, NUMBA_NUM_THREADS="4") == "[4, 1, 1, 1, 3, 1, 4, 1]"
    assert python(code, NUMBA_NUM_THREADS="4", KERNELS_NUM_THREADS="2") == "[2, 1, 1, 1, 3, 1, 2, 1]"


def everything() -> Iterator[tuple[str, Results]]:
    """All results and gradients of every shipped operator, every step of them split into tasks."""
    for case in CASES:
        for dtype in (np.float32, np.float64):
            arrays = [a.astype(dtype) if a is not None and a.dtype.kind == "f" else a for a in case.arrays]
            y, pullback = getattr(kernels, case.operator).vjp(*arrays, **case.options)
            gy = generator(str(case), "gy").standard_normal(y.shape).astype(dtype)
            yield f"{case} {dtype.__name__}", [y, *[g for g in pullback(gy) if g is not None]]
    yield "larger arrays", results(0)


def repeated(counts: tuple[int, ...]) -> list[str]:
    """Where results differ in any bit between runs with these numbers of threads."""
    driver.SMALL = 1
    different: list[str] = []
    want: dict[str, Results] = {}
    for count in counts:
        set_num_threads(count)
        assert get_num_threads() == count
        for name, found in everything():
            if not equal(found, want.setdefault(name, found)):
                different.append(f"{name}: {count} threads")
    return different


def bitwise_equal() -> None:
    assert repeated((3, 3, 1, 2, 5)) == []


def test_results_are_bitwise_equal_on_repeat_and_with_any_number_of_threads() -> None:
    """No sum is split between tasks; a lowering that does must leave this test to the repeats."""
    scenario("bitwise_equal", NUMBA_NUM_THREADS="5")
