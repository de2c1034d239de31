"""Threads: how many, several Python threads at once, and a forked child."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from kernels.runtime import driver, execute, get_num_threads, set_num_threads
from tests.kernels.runtime import handwritten as h

ROOT = Path(__file__).parents[3]
E = {"N": 4, "C": 3, "X": 300, "O": 5, "K": 3, "s": 1, "d": 1, "a": 1, "P": 300}


@pytest.fixture(autouse=True)
def default_threads() -> Any:
    set_num_threads(None)
    yield
    set_num_threads(None)


def run(seed: int, tasks: int | None = 4) -> Any:
    rng = np.random.default_rng(seed)
    i = {
        "x": rng.integers(-5, 6, (4, 3, 300)).astype(float),
        "w": rng.integers(-5, 6, (5, 3, 3)).astype(float),
    }
    return execute(h.DEFINITION, "forward", i, E, {}, ("y",), tasks=tasks)["y"]


def test_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    most = int(numba.config.NUMBA_NUM_THREADS)
    monkeypatch.delenv("KERNELS_NUM_THREADS", raising=False)
    assert get_num_threads() == most
    monkeypatch.setenv("KERNELS_NUM_THREADS", "1")
    assert get_num_threads() == 1
    set_num_threads(10**6)
    assert get_num_threads() == most
    set_num_threads(None)
    monkeypatch.setenv("KERNELS_NUM_THREADS", "many")
    with pytest.raises(ValueError, match="KERNELS_NUM_THREADS='many': a positive integer"):
        get_num_threads()
    for bad in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="a positive int"):
            set_num_threads(bad)  # type: ignore[arg-type]


def test_small_work_is_one_task() -> None:
    assert driver.tasks_for(driver.SMALL - 1, 8) == 1
    assert driver.tasks_for(driver.SMALL, 8) == 8


def test_the_driver_is_plain_python_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compiled is what is read: the same plan, laid out and run by hand; tensors in the room, cleared ones."""
    i = {"x": np.ones((4, 3, 300)), "w": np.ones((5, 3, 3)), "b": np.ones(5), "gy": np.ones((4, 5, 300))}
    i["t"] = np.arange(4)
    runs: list[tuple[str, tuple[str, ...]]] = [
        ("forward", ("z",)),
        ("after scatter", ("gx",)),
        ("vjp", ("gb",)),
    ]

    def all_runs() -> list[Any]:
        return [
            execute(h.DEFINITION, name, i, E, {"half": 0.5}, wanted, tasks=3)[wanted[0]]
            for name, wanted in runs
        ]

    compiled = all_runs()
    by_hand: list[Any] = []
    serial: Any = driver._serial
    monkeypatch.setattr(driver, "_driver", lambda parallel: lambda *a: by_hand.append(serial(*a[:2])))
    for got, want in zip(all_runs(), compiled, strict=True):
        np.testing.assert_array_equal(got, want)
    assert len(by_hand) == len(runs)


def test_an_address_that_lies_elsewhere_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    driver.check_layout()
    monkeypatch.setattr(driver, "OBJECT", driver.OBJECT - 8)
    with pytest.raises(RuntimeError, match="an array's address is not where the driver looks for it"):
        driver.check_layout()


def test_more_tasks_than_threads() -> None:
    want = run(0, tasks=1)
    for tasks in (3, 2 * int(numba.config.NUMBA_NUM_THREADS) + 1):
        np.testing.assert_array_equal(run(0, tasks=tasks), want)


def test_the_users_own_number_of_threads_is_left_alone() -> None:
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        run(0, tasks=2)
        assert numba.get_num_threads() == 1
    finally:
        numba.set_num_threads(before)


def test_several_python_threads_at_once() -> None:
    """One of them has the threads at a time, the others do their work alone; all are right."""
    want = [run(seed, tasks=1) for seed in range(4)]
    wrong: list[Any] = []

    def work(seed: int) -> None:
        try:
            for _ in range(25):
                if not np.array_equal(run(seed), want[seed]):
                    wrong.append(seed)
        except BaseException as error:
            wrong.append(error)
            raise

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_who_finds_the_threads_busy_works_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[bool] = []
    real = driver._driver

    def noted(parallel: bool) -> Any:
        used.append(parallel)
        return real(parallel)

    monkeypatch.setattr(driver, "_driver", noted)
    free = run(1)
    with driver._busy:
        alone = run(1)
    np.testing.assert_array_equal(free, alone)
    assert used == [True, False]
    run(1, tasks=1)
    assert used == [True, False, False]


def python(code: str, **environment: str) -> str:
    command, env = [sys.executable, "-c", code], {**os.environ, **environment}
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=env)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_a_forked_child_works_alone(layer: str) -> None:
    """GNU OpenMP kills a child that enters it after its parent did."""
    code = """
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # that fork and threads do not go together is the point
import numpy as np
from kernels.runtime import driver
from tests.kernels.runtime.test_driver import run
want = run(3)
assert not driver._forked
pid = os.fork()
if pid == 0:
    good = driver._forked and np.array_equal(run(3), want) and np.array_equal(run(3, tasks=None), want)
    os._exit(7 if good else 1)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), np.array_equal(run(3), want))
"""
    try:
        out = python(code, NUMBA_THREADING_LAYER=layer)
    except AssertionError as error:
        if "No threading layer" in str(error):
            pytest.skip(f"no {layer} here")
        raise
    assert out == "7 True"


def test_workqueue_is_never_entered_twice() -> None:
    """Numba's own layer aborts the process when two threads call it."""
    code = """
from tests.kernels.runtime import test_driver as t
t.test_several_python_threads_at_once()
print("done")
"""
    assert python(code, NUMBA_THREADING_LAYER="workqueue") == "done"


def test_with_the_jit_disabled_results_are_the_same() -> None:
    code = """
from tests.kernels.runtime import test_driver as t
print(t.run(0).sum(), t.run(0, tasks=1).sum())
"""
    want = run(0).sum()
    assert python(code, NUMBA_DISABLE_JIT="1") == f"{want} {want}"
