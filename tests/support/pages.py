"""Arrays flush against memory that nobody may touch: an access outside them ends the process.

`guard(operator, ...)` runs every program of an operator on such arrays, and holds the results against those of the
same run on ordinary memory. Run it in a process of its own.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from math import prod
from random import Random
from typing import Any

import numpy as np

from derive.catalogue import operators
from derive.verify.configuration import sample
from derive.verify.running import PROGRAMS, Setting
from kernels.runtime import exact_tasks, execute
from kernels.runtime.machine import machine_tile

PAGE = mmap.PAGESIZE
NOBODY = 0  # PROT_NONE
Array = Any


def guarded(size: int) -> tuple[Any, int, int]:
    """Memory of so many bytes at least, between protected pages: the buffer, and where it begins and ends."""
    length = -(-max(size, 1) // PAGE) * PAGE
    memory = mmap.mmap(-1, length + 2 * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    for at in (start, start + PAGE + length):
        if libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(PAGE), NOBODY):
            raise OSError(ctypes.get_errno(), "mprotect")
    return memory, PAGE, PAGE + length


def strides_of(shape: tuple[int, ...], item: int, random: Random) -> tuple[int, ...]:
    """Axes in some order, some of them reversed, or with gaps; often as NumPy has them."""
    order = list(range(len(shape)))
    how = random.choice(("dense", "dense", "channels", "any"))
    if how == "channels" and len(shape) > 2:
        order = [0, *order[2:], 1]
    if how == "any":
        random.shuffle(order)
    strides, step = [0] * len(shape), item
    for axis in reversed(order):
        gap = random.choice((1, 1, 2)) if how == "any" else 1
        turned = how == "any" and random.random() < 0.3
        strides[axis] = step * gap * (-1 if turned else 1)
        step *= gap * max(shape[axis], 1)
    return tuple(strides)


def laid(shape: tuple[int, ...], dtype: Any, strides: tuple[int, ...], side: str | None) -> Array:
    """An array with its first byte after a protected page, or its last before one; or in ordinary memory."""
    item = np.dtype(dtype).itemsize
    reach = [s * (n - 1) for s, n in zip(strides, shape, strict=True)] if prod(shape) else []
    low, high = sum(r for r in reach if r < 0), sum(r for r in reach if r > 0) + item * bool(prod(shape))
    if side is None:
        return np.ndarray(shape, dtype, bytearray(high - low + item), -low, strides)
    memory, start, end = guarded(high - low)
    return np.ndarray(shape, dtype, memory, start - low if side == "front" else end - high, strides)


@contextmanager
def guarded_rooms() -> Iterator[None]:
    """What a run has to itself lies before a protected page, too: records, intermediate tensors, scratch."""
    module: Any = sys.modules["kernels.runtime.execute"]  # a function of the package has its name
    was = module.room

    def room(size: int) -> Array:
        memory, _, end = guarded(size)
        first = end - (size - module.ALIGNMENT)
        assert first % module.ALIGNMENT == 0  # what is for the start is left over
        return np.ndarray((size,), np.uint8, memory, first)

    module.room = room
    try:
        yield
    finally:
        module.room = was


def definition_of(name: str) -> Any:
    return import_module(f"kernels.generated.{name}").DEFINITION


def guard(name: str, dtype: str, *, draws: int, seed: int = 0) -> Counter[str]:
    """Run configurations drawn for each program, preferring those that run tasks which have not run; tasks by count."""
    operator = next(o for o in operators() if o.name == name)
    definition, random = definition_of(name), Random(f"{seed} {name} {dtype}")
    ran: Counter[str] = Counter()
    for program in PROGRAMS:
        for _ in range(draws):
            found = [drawn(operator, definition, random, program, dtype) for _ in range(6)]
            setting, wanted, tasks = min(found, key=lambda f: min((ran[t] for t in f[2]), default=10**6))
            ran.update(tasks)
            held(setting, program, wanted, dtype, random)
    return ran


def drawn(operator: Any, definition: Any, random: Random, program: str, dtype: str) -> Any:
    """A configuration, what of it is wanted, and the tasks that it runs on dense arrays."""
    configuration = sample(operator, definition, random, zero=random.random() < 0.05, largest=6000)
    setting = Setting(operator, definition, configuration, "general", dyadic=True)
    wanted = setting.outputs(program)
    if len(wanted) > 1 and random.random() < 0.3:
        wanted = [random.choice(wanted)]
    present = [n for n, a in setting.arguments(program).items() if a is not None]
    runs = exact_tasks(
        definition, program, present, configuration.environment, configuration.reals, tuple(wanted),
        machine_tile(np.dtype(dtype)),
    )  # fmt: skip
    return setting, wanted, {task for _, task in runs}


def held(setting: Setting, program: str, wanted: list[str], dtype: str, random: Random) -> None:
    """One run, on ordinary memory and on either side of protected pages, with the same strides."""
    arrays = setting.arrays(program, dtype)
    names = {**arrays, **{n: np.empty(setting.shape(n), kind(setting, n, dtype)) for n in wanted}}
    strides = {n: strides_of(a.shape, a.itemsize, random) for n, a in names.items()}
    results = []
    for side in (None, "front", "back"):
        lying = {n: laid(a.shape, a.dtype, strides[n], side) for n, a in names.items()}
        for n, a in arrays.items():
            lying[n][...] = a
        with guarded_rooms():
            made = execute(
                setting.definition, program, {n: lying[n] for n in arrays}, setting.configuration.environment,
                {n: float(v) for n, v in setting.configuration.reals.items()}, tuple(wanted),
                {n: lying[n] for n in wanted}, dtype, tasks=random.choice((None, 1, 2, 3)),
            )  # fmt: skip
        results.append({n: np.array(made[n]) for n in wanted})
    for other in results[1:]:
        for n in wanted:
            np.testing.assert_array_equal(other[n], results[0][n], f"{setting}: {program}, {n}")


def kind(setting: Setting, name: str, dtype: str) -> Any:
    return np.int64 if setting.definition.tensor(name).integer else dtype
