"""Outputs in the memory of inputs: where that is right it gives the same numbers, elsewhere it is refused."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from kernels import adam_step, add, log_softmax, max_pool2d, relu, sgd_step
from kernels.errors import OutputError
from kernels.in_place import _before_the_write, in_place
from kernels.runtime import Real1
from kernels.runtime.compile import Task

RNG = np.random.default_rng(0)


def random(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def pairs(name: str) -> set[tuple[str, str]]:
    return set(in_place(import_module(f"kernels.generated.{name}").DEFINITION))


def test_the_rule_is_found_from_the_modules():
    assert pairs("relu") == {("y", "x")}
    assert pairs("add") == {("y", "x"), ("y", "z")}
    # the momentum is written first and the gradient read after it: it may not take the gradient's memory
    assert pairs("sgd_step") == {("b", "m"), ("y", "p"), ("y", "g"), ("y", "m")}
    for name in (
        "conv2d",
        "max_pool2d",
        "avg_pool1d",
        "linear",
        "concatenate",
        "global_avg_pool",
        "log_softmax",
    ):
        assert pairs(name) == set(), name


@pytest.mark.parametrize("size", [1, 7, 64, 1003])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_in_place_gives_the_same_numbers(size, dtype):
    p, g, m = (random(size).astype(dtype) for _ in range(3))
    expected = sgd_step(p, g, m, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True)
    out = sgd_step(p, g, m, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True, out=(p, m))
    assert out[0] is p
    assert out[1] is m
    assert np.array_equal(p, expected[0])
    assert np.array_equal(m, expected[1])
    x = random(3, size).astype(dtype)
    expected = relu(x)
    assert np.array_equal(relu(x, out=x), expected)


def test_strided_memory_in_place():
    whole = random(8, 10)
    part = whole[:, ::2]
    before, expected = whole.copy(), relu(part)
    relu(part, out=part)
    assert np.array_equal(part, expected)
    assert np.array_equal(whole[:, 1::2], before[:, 1::2])


def test_any_input_that_may_be_is_overwritten():
    x, z = random(50), random(50)
    expected = x + z
    assert np.array_equal(add(x, z, out=z), expected)
    x = random(50)
    expected = x + x
    assert np.array_equal(add(x, x, out=x), expected)  # both inputs are one array
    p, g = random(20), random(20)
    m, v = np.zeros(20), np.zeros(20)
    expected = adam_step(p, g, m, v)
    found = adam_step(p, g, m, v, out=(g, m, v))
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert found[0] is g


def test_elsewhere_it_is_refused():
    p, g, m = random(20), random(20), random(20)
    before = [a.copy() for a in (p, g, m)]
    with pytest.raises(OutputError, match=r"`out\[1\]` shares memory with `gradient`, which is read while"):
        sgd_step(p, g, m, momentum=0.9, out=(p, g))
    with pytest.raises(OutputError, match=r"`out\[1\]` shares memory with `out\[0\]`, which is written, too"):
        sgd_step(p, g, m, momentum=0.9, out=(m, m))
    x = random(30)
    for shifted, own in ((x[1:], x[:-1]), (x[::-1], x), (x[::2][:10], x[:10])):
        with pytest.raises(OutputError, match="`out` shares memory with `input`"):
            relu(own, out=shifted)
    image = random(1, 1, 4, 4)
    with pytest.raises(OutputError, match="`out` shares memory with `input`"):
        max_pool2d(image, 1, out=image)
    logits = random(4, 100)  # the last vector of a row is moved back, over places that were written
    with pytest.raises(OutputError, match="`out` shares memory with `input`"):
        log_softmax(logits, out=logits)
    with pytest.raises(OutputError, match="`out` shares memory with `other`"):
        add(x, x[::-1], out=x)
    assert all(np.array_equal(a, b) for a, b in zip((p, g, m), before, strict=True))


def test_what_a_pullback_will_read_is_not_overwritten():
    x = random(20)
    with pytest.raises(OutputError, match="`out` shares memory with `input`"):
        relu.vjp(x, out=x)


# ------------------------------------------------------------- the reader of tasks, shown tasks it must refuse


def after(y: Real1, x: Real1, N: int, task: int, tasks: int) -> None:
    for n in range(N):
        y[n] = x[n]
        y[n] = y[n] + x[n]


def neighbour(y: Real1, x: Real1, N: int, task: int, tasks: int) -> None:
    for n in range(N - 1):
        y[n] = x[n] + x[n + 1]


def elsewhere(y: Real1, x: Real1, N: int, task: int, tasks: int) -> None:
    for n in range(N):
        total = 0.0
        for k in range(n):
            total = total + x[k]
        y[n] = total


def handed_on(y: Real1, x: Real1, N: int, task: int, tasks: int) -> None:
    for n in range(N):
        y[n] = len(x)


def moved_back(y: Real1, x: Real1, N: int, task: int, tasks: int) -> None:
    for start in range(0, N, 4):
        n = min(start, N - 4)
        y[n] = x[n]


def again(y: Real1, x: Real1, N: int, task: int, tasks: int) -> None:
    for n in range(N):
        for _k in range(2):
            y[n] = 2 * x[n]


def right(y: Real1, x: Real1, N: int, task: int, tasks: int) -> None:
    for n in range(N):
        total = 2 * x[n]
        y[n] = total


@pytest.mark.parametrize(
    ("function", "safe"),
    [*((f, False) for f in (after, neighbour, elsewhere, handed_on, moved_back, again)), (right, True)],
)
def test_what_the_reader_of_tasks_takes(function, safe):
    assert _before_the_write(Task(function), "y", "x") is safe
