"""Tasks: what their signatures may be, how they are compiled, and that no stale kernel is ever loaded."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernels.runtime import (
    Pointer,
    Real1,
    Real2,
    Task,
    TaskError,
    Tile,
    View,
    choice,
    compiled_signatures,
    kernel,
    share,
    task,
)
from kernels.runtime.compile import Argument, parse_argument
from kernels.runtime.machine import shape_for
from tests.kernels.runtime import handwritten
from tests.kernels.runtime.primitives import run_compiled, tile_of

ROOT = Path(__file__).parents[3]
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


# ---- signatures


def test_arguments_are_read_from_the_annotations() -> None:
    t = handwritten.gb_by_vectors
    assert (t.name, t.takes) == ("gb_by_vectors", (2, 3, 0))
    assert [a.kind for a in t.arguments] == [
        "real", "real", "int", "int", "int", "tile", "scratch", "add", "task", "tasks"]  # fmt: skip
    assert t.arguments[1] == Argument("gy", "real", 3)
    assert t.__doc__ == t.function.__doc__
    assert parse_argument("t", "runtime.Integer12") == Argument("t", "integer", 12)
    assert parse_argument("x", Real1) == Argument("x", "real", 1)  # a module without postponed annotations
    assert parse_argument("n", int) == Argument("n", "int")
    assert parse_argument("n", "np.int64") is None


def missing(y: Real1, task: int) -> None: ...
def untyped(y, task: int, tasks: int) -> None: ...
def wrong(y: list[float], task: int, tasks: int) -> None: ...
def defaulted(y: Real1, task: int = 0, tasks: int = 1) -> None: ...
def keyword(y: Real1, *, task: int, tasks: int) -> None: ...
def starred(y: Real1, *more: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (missing, "its last arguments must be `task: int, tasks: int`"),
        (untyped, "`y: ` is none of Real0..12"),
        (wrong, "`y: list.float.` is none of Real0..12"),
        (defaulted, "without defaults"),
        (keyword, "only plain positional arguments"),
        (starred, "only plain positional arguments"),
    ],
)
def test_other_signatures_are_refused(function: Any, complaint: str) -> None:
    with pytest.raises(TaskError, match=complaint):
        task(function)


def test_scratch_needs_a_size_and_a_size_scratch() -> None:
    with pytest.raises(TaskError, match="disagree about scratch"):
        task(scratch=lambda tile: 1)(handwritten.y_from_b.function)
    with pytest.raises(TaskError, match="disagree about scratch"):
        task(handwritten.gb_by_vectors.function)


@task
def by_ones(y: Real1, x: Real1, N: int, add: int, task: int, tasks: int) -> None:
    for n in range(N):
        y[n] = x[n]


@task
def by_twos(y: Real1, x: Real1, N: int, tile: Tile, task: int, tasks: int) -> None:
    for n in range(N):
        y[n] = 2 * x[n]


@choice(by_ones, by_twos)
def by_size(y: Real1, x: Real1, N: int, add: int, tile: Tile) -> Task[...]:
    """Stands for both."""
    return by_twos if tile.lanes.width <= N and x.stride(0) == 1 else by_ones


def test_a_choice_is_a_function_and_its_tasks() -> None:
    assert (by_size.name, by_size.takes, by_size.tasks) == ("by_size", (2, 1, 0), (by_ones, by_twos))
    assert by_size.__doc__ == "Stands for both."
    assert by_ones.tasks == (by_ones,)
    assert [a.kind for a in by_size.arguments] == ["real", "real", "int", "add", "tile"]


def test_a_choice_has_whatever_its_tasks_take() -> None:
    def less(y: Real1, N: int, add: int, tile: Tile) -> Task[...]:
        return by_ones

    def other(y: Real1, x: Real2, N: int, add: int, tile: Tile) -> Task[...]:
        return by_ones

    for function in (less, other):
        with pytest.raises(TaskError, match="by_ones> takes `x`, the choice does not"):
            choice(by_ones)(function)


@kernel
def misuse(x: Any, n: int) -> Any:
    return x.nonsense(n)


@task
def hopeless(y: Real1, N: int, task: int, tasks: int) -> None:
    for n in range(N):
        y[n] = misuse(y, n)


@task
def half_indexed(y: Real1, N: int, task: int, tasks: int) -> None:
    for n in range(N):
        y[n, n] = 0


def test_an_error_names_the_innermost_cause() -> None:
    with pytest.raises(TaskError) as caught:
        hopeless.address(F64)
    text = str(caught.value)
    assert "hopeless> does not compile" in text
    assert "Unknown attribute 'nonsense' of type View(float64, 1)" in text
    assert "return x.nonsense(n)" in text
    assert len(text.splitlines()) < 15
    with pytest.raises(TaskError, match="setitem"):
        half_indexed.address(F64)


# ---- forms


def test_a_task_is_plain_python_and_has_one_address_for_each_type() -> None:
    t = nan_and_infinity
    assert isinstance(t, Task)
    addresses = {t.address(F32), t.address(F64)}
    assert len(addresses) == 2
    assert {t.address(F32), t.address(F64)} == addresses
    before = len(compiled_signatures())
    t.address(np.dtype("float32"))
    assert len(compiled_signatures()) == before
    other = t.address(F32, tile_of(np.float32, 2))
    assert other not in addresses


@task
def nan_and_infinity(y: Real1, x: Real1, N: int, task: int, tasks: int) -> None:
    total = 0.0
    for n in range(N):
        total += x[n]
    y[0] = total
    y[1] = 1.0 if total != total else 0.0
    y[2] = x[0] - x[0]
    y[3] = total / 3
    y[4] = x[0] * 0


def test_nan_and_infinity_keep_their_meaning() -> None:
    """A NaN or infinity is never optimised away. A third of a multiple of three is exact."""
    nan, inf = np.nan, np.inf
    for first, want in (
        (nan, [nan, 1, nan, nan, nan]),
        (inf, [inf, 0, nan, inf, nan]),
        (3, [48, 0, 0, 16, 0]),
    ):
        x = np.full(16, 3.0)
        x[0] = first
        y = np.zeros(5)
        run_compiled(nan_and_infinity, tile_of(np.float64, 4), (y, x, 16))
        np.testing.assert_array_equal(y, want)


def test_a_sum_is_rounded_in_the_order_it_is_written() -> None:
    """Neither regrouped nor contracted, on any target: the very bits of Python's own sum."""
    x = np.random.default_rng(0).standard_normal(1000)
    y = np.zeros(5)
    run_compiled(nan_and_infinity, tile_of(np.float64, 4), (y, x, len(x)))
    total = 0.0
    for value in x.tolist():
        total += value
    assert y[0] == total


@pytest.mark.parametrize(
    ("triple", "features", "shape"),
    [
        ("x86_64-unknown-linux-gnu", "+avx2,+avx512f,+fma", (64, 6, 4)),
        ("x86_64-unknown-linux-gnu", "+avx2,+fma,-avx512f", (32, 6, 2)),
        ("x86_64-unknown-linux-gnu", "+sse2,-avx2", (16, 4, 2)),
        ("aarch64-unknown-linux-gnu", "+neon", (16, 6, 4)),
        ("powerpc64le", "", (16, 4, 2)),
    ],
)
def test_the_tile_follows_the_target(triple: str, features: str, shape: tuple[int, int, int]) -> None:
    assert shape_for(triple, features) == shape


# ---- the cache on disk


def write(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.py").write_text(textwrap.dedent(text))


MODULE = """
from kernels.runtime import Real1, kernel, task
import {helper}
from {helper} import added

FACTOR = {factor}

@kernel
def scaled(x):
    return FACTOR * x

@task
def doubled(y: Real1, x: Real1, N: int, task: int, tasks: int) -> None:
    for n in range(N):
        y[n] = scaled(x[n]) + added(x[n]) + {helper}.OFFSET
"""
HELPER = """
from kernels.runtime import kernel
OFFSET = {offset}
@kernel
def added(x):
    return x + {more}
"""
RUN = """
import sys, numpy as np
sys.path.insert(0, sys.argv[1])
import mine
from kernels.runtime import compiled_signatures
from tests.kernels.runtime.primitives import run_compiled, tile_of
for dtype in sys.argv[2].split(","):
    y, x = np.zeros(1, dtype), np.ones(1, dtype)
    run_compiled(mine.doubled, tile_of(dtype, 4), (y, x, 1))
    print(y[0], compiled_signatures()[-1].from_cache, end=" ")
"""


def start(folder: Path, dtypes: str = "float64", **environment: str) -> Any:
    return subprocess.Popen([sys.executable, "-c", RUN, str(folder), dtypes], cwd=ROOT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment})  # fmt: skip


def finish(process: Any) -> str:
    out, err = process.communicate()
    assert process.returncode == 0, err
    return str(out.strip())


def prepare(folder: Path, factor: int = 2, offset: int = 100, more: int = 10) -> None:
    write(folder, "mine", MODULE.format(helper="other", factor=factor))
    write(folder, "other", HELPER.format(offset=offset, more=more))


def test_a_changed_source_is_never_stale(tmp_path: Path) -> None:
    """A constant, a callee in another file, a constant there: Numba's own key sees none of them."""
    prepare(tmp_path)
    stamp = (10**9, 10**9)  # an edit of equal length at the same second would fool a stamp
    seen = []
    for change in ({}, {}, {"factor": 3}, {"more": 20}, {"offset": 200}, {}):
        prepare(tmp_path, **change)
        for file in tmp_path.glob("*.py"):
            os.utime(file, stamp)
        seen.append(finish(start(tmp_path)))
        indexes = list((tmp_path / "__pycache__").glob("mine.doubled__*.nbi"))
        assert len(indexes) == 1, "what older sources left is deleted"
    assert seen == ["113.0 False", "113.0 True", "114.0 False", "123.0 False", "213.0 False", "113.0 False"]


def test_a_read_only_folder_is_cached_elsewhere_or_not_at_all(tmp_path: Path) -> None:
    """As root no folder is read-only, but none can be made where a file lies."""
    prepare(tmp_path)
    (tmp_path / "__pycache__").write_text("")
    (tmp_path / "file").write_text("")
    users, nowhere = str(tmp_path / "users"), str(tmp_path / "file")
    assert finish(start(tmp_path, XDG_CACHE_HOME=users)) == "113.0 False"
    assert finish(start(tmp_path, XDG_CACHE_HOME=users)) == "113.0 True"
    for _ in range(2):
        assert finish(start(tmp_path, XDG_CACHE_HOME=nowhere)) == "113.0 False"


def test_a_broken_cache_file_is_made_anew(tmp_path: Path) -> None:
    prepare(tmp_path)
    assert finish(start(tmp_path)) == "113.0 False"
    for pattern in ("*.nbc", "*.nbi"):
        for file in (tmp_path / "__pycache__").glob(pattern):
            file.write_bytes(file.read_bytes()[:50])
        assert finish(start(tmp_path)).startswith("113.0")


def test_processes_that_compile_at_once_do_not_mix_up_their_types(tmp_path: Path) -> None:
    prepare(tmp_path)
    orders = ("float32,float64", "float64,float32", "float64")
    running = [start(tmp_path, order) for order in orders]
    for process in running:
        assert all(word in ("113.0", "True", "False") for word in finish(process).split())
    assert finish(start(tmp_path, "float32,float64")) == "113.0 True 113.0 True"


def test_what_is_cached_is_loaded_without_the_compiler() -> None:
    """Every function that code can refer to is found, though Numba has loaded neither its own nor SciPy's.

    A symbol that is not found aborts the process. What is compiled afterwards finds all that it needs.
    """
    code = """
import sys
import numpy as np
from kernels.runtime import Real1, compiled_signatures, task
from tests.kernels.runtime import primitives as p
x, q = np.linspace(0.1, 2, 20), np.linspace(-2, 2, 9)
all_functions, powers = np.zeros((20, len(p.SCALARS))), np.zeros((20, 9))
p.run_compiled(p.scalars, p.tile_of(np.float64, 8), (all_functions, x, 20))
p.run_compiled(p.powers, p.tile_of(np.float64, 4), (powers, x, q, 20, 9))
print([c.from_cache for c in compiled_signatures()])
print([m for m in ("scipy.linalg", "numba.np.arraymath") if m in sys.modules])

@task
def summed(y: Real1, x: Real1, N: int, task: int, tasks: int) -> None:
    for n in range(N):
        y[0] += max(x[n], 0.0) ** 2

y = np.zeros(1)
p.run_compiled(summed, p.tile_of(np.float64, 4), (y, x, 20))
import numba
doubled = numba.njit(lambda x: 2 * x.dot(x))(x)
print(abs(y[0] - (x * x).sum()) < 1e-12, abs(doubled - 2 * y[0]) < 1e-12)
"""
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[True, True]", "[]", "True True"]


def test_source_without_a_file_is_compiled_too() -> None:
    names: dict[str, Any] = {"__name__": "nowhere"}
    text = """
from kernels.runtime import Real1, task
@task
def one(y: Real1, task: int, tasks: int) -> None:
    y[0] = 1
"""
    exec(compile(text, "<made up>", "exec"), names)
    y = np.zeros(1)
    run_compiled(names["one"], tile_of(np.float64, 4), (y,))
    assert y[0] == 1


# ---- good manners


def test_importing_is_lean_and_alters_nothing() -> None:
    code = """
import sys, numba
before = {k: repr(v) for k, v in vars(numba.config).items() if k.isupper()}
import kernels.runtime
from kernels.runtime import compiled_signatures
from tests.kernels.runtime import handwritten
assert not compiled_signatures()
assert not [m for m in ("mpmath", "sympy", "torch", "derive") if m in sys.modules]
from numba.np.ufunc import parallel
assert not parallel._is_initialized
import numpy as np
i = {"x": np.ones((2, 2, 400)), "w": np.ones((8, 2, 3)), "t": np.zeros(2, np.int64)}
e = dict(N=2, C=2, X=400, O=8, K=3, s=1, d=1, a=1, P=400)
y = kernels.runtime.execute(handwritten.DEFINITION, "forward", i, e, {"half": 1.0}, ("y",), tasks=2)["y"]
assert y[0, 0, 1] == 6
after = {k: repr(v) for k, v in vars(numba.config).items() if k.isupper()}
assert before == after
print("done")
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.strip() == "done", result.stderr


def test_names_for_type_checkers() -> None:
    """What generated code annotates with is a View to a reader and to mypy."""
    from kernels import runtime

    for n in range(13):
        for word in ("Real", "Integer"):
            alias = getattr(runtime, f"{word}{n}")
            assert alias.__origin__.__origin__ is View
            assert parse_argument("x", alias) == Argument("x", word.lower(), n)
    assert runtime.Scratch.__origin__.__origin__ is Pointer  # type: ignore[attr-defined]
    assert share(10, 0, 3) == (0, 3)
