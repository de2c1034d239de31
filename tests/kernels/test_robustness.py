"""What may happen to a process while kernels are compiled, and to what it left: no crash, and no wrong result.

A process is interrupted or killed at any moment of a compilation, cache files are truncated, damaged or deleted, the
disk is full: the next one, and where it lives the same one, computes what it should.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kernels.runtime.compile import CheckedFile

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes end by signals, as on POSIX")

MODULE = """
import sys
import numpy as np
from kernels.runtime import Real1, task
from tests.kernels.runtime.primitives import run_compiled, tile_of

@task
def weighed(y: Real1, x: Real1, N: int, task: int, tasks: int) -> None:
    for n in range(N):
        y[n] = {factor} * x[n] + (1.0 if x[n] > 2 else 0.0)

def use() -> None:
    y, x = np.zeros(3), np.array([1.0, 2.0, 3.0])
    run_compiled(weighed, tile_of(np.float64, 4), (y, x, 3))
    assert y.tolist() == [{factor}, 2.0 * {factor}, 3.0 * {factor} + 1], y
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MODULE.format(factor=3.0))
    return tmp_path


def start(folder: Path, code: str) -> Any:
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import mine; print('ready', flush=True)\n{code}"
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})  # fmt: skip


CACHED = "mine.use(); from kernels.runtime import compiled_signatures as c; print(c()[-1].from_cache)"


def finish(process: Any) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, (process.returncode, err)
    return str(out).split()[-1]


def cache(folder: Path) -> list[Path]:
    return sorted(p for p in (folder / "__pycache__").iterdir() if p.suffix in (".nbi", ".nbc"))


# ---------------------------------------------------------------------------------- interruptions


def ended(folder: Path, how: int, after: float) -> int:
    """A process that a signal meets while it compiles, or afterwards; how it ended."""
    process = start(folder, "mine.use()")
    assert process.stdout.readline().strip() == "ready"
    time.sleep(after)
    process.send_signal(how)
    process.communicate(timeout=300)
    return int(process.returncode)


def ends(folder: Path, how: int, count: int) -> None:
    process = start(folder, "mine.use()")  # how long it takes
    process.stdout.readline()
    began = time.perf_counter()
    process.communicate()
    whole = time.perf_counter() - began
    codes = set[int]()
    parts = [(n + 0.5) / count for n in range(count)]
    for part in [*parts, *(2.0**-k for k in range(2, 12))]:
        if codes != {0} and part not in parts:  # a machine may be busy while it is measured, and idle after
            break
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)
        codes.add(ended(folder, how, whole * part))
        assert finish(start(folder, CACHED)) in ("True", "False")
        assert finish(start(folder, CACHED)) == "True"
    assert codes <= {0, -how, 1}, (
        codes
    )  # SIGINT is an exception, which Python tells, and code 1 or the signal
    assert codes != {0}, "no process was met while it compiled"


def test_a_process_that_is_killed_while_it_compiles(folder: Path) -> None:
    ends(folder, signal.SIGKILL, 1)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_processes_that_are_ended_while_they_compile(folder: Path, how: int) -> None:
    ends(folder, how, 8)


INTERRUPTED = """
import importlib, pathlib, signal, time
from kernels.runtime import compiled_signatures

class Stopped(KeyboardInterrupt):
    pass

def stop(*_):
    raise Stopped

folder, met = pathlib.Path(mine.__file__).parent, 0
signal.signal(signal.SIGALRM, stop)
began = time.perf_counter()
mine.use()
whole = time.perf_counter() - began
for n in range(COUNT):
    name = f"other{n}"
    (folder / f"{name}.py").write_text(MODULE.format(factor=n + 4.0))
    importlib.invalidate_caches()
    other = importlib.import_module(name)
    signal.setitimer(signal.ITIMER_REAL, max(1e-4, 0.8 * whole * n / COUNT))
    try:
        other.use()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Stopped:
        met += 1
    other.use()
print(met)
"""


def interrupted(count: int) -> str:
    return INTERRUPTED.replace("COUNT", str(count)).replace("MODULE", repr(MODULE))


def test_an_interrupt_leaves_a_process_that_can_compile(folder: Path) -> None:
    """Ctrl-C in a notebook: the same kernel, called again, is compiled anew."""
    assert int(finish(start(folder, interrupted(6)))) > 0


@pytest.mark.slow
def test_many_interrupts(folder: Path) -> None:
    assert int(finish(start(folder, interrupted(60)))) > 0  # how many are met, the machine says


# -------------------------------------------------------------------------------------- the cache


def truncated(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.choice((0, 1, 50, len(content) // 2, len(content) - 1, rng.randrange(len(content))))]


def zeroed(content: bytes, rng: random.Random) -> bytes:
    """Blocks that a computer had not written when its power failed."""
    at = rng.randrange(len(content)) // 512 * 512
    return content[:at] + bytes(len(content[at : at + 512])) + content[at + 512 :]


def flipped(content: bytes, rng: random.Random) -> bytes:
    made = bytearray(content)
    made[rng.randrange(len(made))] ^= 1 << rng.randrange(8)
    return bytes(made)


def exchanged(content: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(len(content))


DAMAGE = (truncated, zeroed, flipped, exchanged)


def damaged(folder: Path, count: int) -> None:
    finish(start(folder, CACHED))
    rng = random.Random(0)
    whole = {path: path.read_bytes() for path in cache(folder)}
    assert len(whole) == 2
    for n in range(count):
        damage = DAMAGE[n % len(DAMAGE)]
        for path, content in whole.items():
            path.write_bytes(content)
        path = rng.choice(list(whole))
        path.write_bytes(damage(whole[path], rng))
        process = start(folder, CACHED)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, f"{n}: {path.name} {damage.__name__}: {process.returncode}\n{err}"
        assert finish(start(folder, CACHED)) == "True", f"{path.name} {damage.__name__}: not written anew"


def test_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
    rng, stamp = random.Random(0), (1, 2)

    def file() -> CheckedFile:
        return CheckedFile(str(tmp_path), "code", stamp)

    value = {"code": bytes(3000)}
    file().save("key", value)
    assert file().load("key") == value
    assert CheckedFile(str(tmp_path), "code", (1, 3)).load("key") is None  # of another source
    for n in range(200):
        path = rng.choice(list(tmp_path.iterdir()))
        content = path.read_bytes()
        other = DAMAGE[n % len(DAMAGE)](content, rng)
        path.write_bytes(other)
        assert file().load("key") == (value if other == content else None)
        file().save("key", value)
        assert file().load("key") == value


@pytest.mark.slow
def test_many_damaged_files(folder: Path) -> None:
    damaged(folder, 60)


FULL = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, resource.RLIM_INFINITY))
mine.use()
"""


@pytest.mark.parametrize(
    "size", [0, pytest.param(100, marks=pytest.mark.slow), pytest.param(5000, marks=pytest.mark.slow)]
)
def test_a_full_disk(folder: Path, size: int) -> None:
    """No file may grow beyond so many bytes: a write fails, as it does where there is no room."""
    finish(start(folder, FULL.format(size=size)))
    assert finish(start(folder, CACHED)) in ("True", "False")
    assert finish(start(folder, CACHED)) == "True"
    left = [p.name for p in (folder / "__pycache__").iterdir() if p.suffix not in (".nbi", ".nbc")]
    assert left == [], "what was begun is deleted"


DELETED = """
import pathlib, shutil
from kernels.runtime import Real1, task
folder = pathlib.Path(mine.__file__).parent
mine.use()
shutil.rmtree(folder / "__pycache__")
mine.use()
(folder / "other.py").write_text(pathlib.Path(mine.__file__).read_text())
import other
other.use()
shutil.rmtree(folder / "__pycache__", ignore_errors=True)
(folder / "__pycache__").write_text("in the way")
(folder / "third.py").write_text(pathlib.Path(mine.__file__).read_text())
import third
third.use()
"""


def test_a_cache_that_is_deleted_meanwhile(folder: Path) -> None:
    finish(start(folder, DELETED))
