"""A module written by hand as one is generated: y[n] = x[n] * w[n], and ways to get it wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from derive.language import Operator, Tensor, indices
from kernels.runtime import (
    Condition,
    Definition,
    Phase,
    Program,
    Real0,
    Real1,
    real,
    share,
    task,
    zero,
)
from kernels.runtime import Tensor as Declared

n = indices("n")
x, w, y = Tensor("x"), Tensor("w"), Tensor("y")
OPERATOR = Operator("scale", y[n] << x[n] * w[n], inputs=(x, w))


@task
def product(y: Real1, x: Real1, w: Real1, N: int, add: int, task: int, tasks: int) -> None:
    first, last = share(N, task, tasks)
    for n in range(first, last):
        total = x[n] * w[n]
        if add != 0:
            total += y[n]
        y[n] = total


@task
def doubled(y: Real1, x: Real1, w: Real1, N: int, add: int, task: int, tasks: int) -> None:
    """Off by a factor."""
    first, last = share(N, task, tasks)
    for n in range(first, last):
        total = x[n] * w[n] * 2
        if add != 0:
            total += y[n]
        y[n] = total


@task
def negated(y: Real1, x: Real1, w: Real1, N: int, add: int, task: int, tasks: int) -> None:
    """The wrong sign."""
    first, last = share(N, task, tasks)
    for n in range(first, last):
        total = -x[n] * w[n]
        if add != 0:
            total += y[n]
        y[n] = total


@task
def squared(y: Real1, x: Real1, w: Real1, N: int, add: int, task: int, tasks: int) -> None:
    """Not linear in x."""
    first, last = share(N, task, tasks)
    for n in range(first, last):
        total = x[n] * x[n] * w[n]
        if add != 0:
            total += y[n]
        y[n] = total


@task
def forgetful(y: Real1, x: Real1, w: Real1, N: int, add: int, task: int, tasks: int) -> None:
    """Overwrites what an earlier phase wrote."""
    first, last = share(N, task, tasks)
    for n in range(first, last):
        y[n] = x[n] * w[n]


@task
def contiguous(y: Real1, x: Real1, w: Real1, N: int, add: int, task: int, tasks: int) -> None:
    """Takes x for contiguous."""
    first, last = share(N, task, tasks)
    data = x.pointer()
    for n in range(first, last):
        total = data[n] * w[n]
        if add != 0:
            total += y[n]
        y[n] = total


@task
def cancelling(y: Real1, x: Real1, w: Real1, N: int, add: int, task: int, tasks: int) -> None:
    """Exact over fractions; float64 loses all but a few digits."""
    first, last = share(N, task, tasks)
    for n in range(first, last):
        total = x[n] * w[n] + real(2**40)
        total = total * total
        total = (total - x[n] * w[n] * x[n] * w[n] - real(2**40) * real(2**40)) / real(2**41)
        if add != 0:
            total += y[n]
        y[n] = total


@task
def counting(y: Real1, x: Real1, w: Real1, N: int, add: int, task: int, tasks: int) -> None:
    """Depends on the number of tasks."""
    first, last = share(N, task, tasks)
    for n in range(first, last):
        total = x[n] * w[n] + real(tasks)
        if add != 0:
            total += y[n]
        y[n] = total


@task
def racing(y: Real1, x: Real1, w: Real1, N: int, add: int, task: int, tasks: int) -> None:
    """Every task writes everything."""
    for n in range(N):
        total = x[n] * w[n]
        if add != 0:
            total += y[n]
        y[n] = total


def phase(made: Any, target: str, left: str, right: str) -> Phase:
    return Phase(made, (target, left, right), ("N",), linear=(left, right))


def phases(made: Any, *bound: tuple[str, str, str]) -> tuple[Phase, ...]:
    return tuple(phase(made, *names) for names in bound)


PROGRAMS = {
    "forward": Program(("x", "w"), ("y",), phases(product, ("y", "x", "w"))),
    "vjp": Program(("x", "w", "gy"), ("gx", "gw"), phases(product, ("gx", "gy", "w"), ("gw", "gy", "x"))),
    "jvp": Program(("x", "w", "tx", "tw"), ("ty",), phases(product, ("ty", "tx", "w"), ("ty", "x", "tw"))),
    "vjp_vjp": Program(
        ("x", "w", "gy", "hgx", "hgw"),
        ("hx", "hw", "hgy"),
        phases(product, ("hx", "gy", "hgw"), ("hw", "gy", "hgx"), ("hgy", "hgx", "w"), ("hgy", "x", "hgw")),
    ),
    "vjp_jvp": Program(
        ("x", "w", "gy", "tx", "tw", "tgy"),
        ("tgx", "tgw"),
        phases(product, ("tgx", "tgy", "w"), ("tgx", "gy", "tw"), ("tgw", "tgy", "x"), ("tgw", "gy", "tx")),
    ),
}
NAMES = tuple(dict.fromkeys(t for p in PROGRAMS.values() for t in (*p.inputs, *p.outputs)))
DEFINITION = Definition(
    name="scale",
    formula="y[n] = x[n]*w[n]",
    latex="",
    tensors=tuple(Declared(name, ("N",)) for name in NAMES),
    parameters=(),
    sizes=lambda N: {},
    conditions=(),
    programs=PROGRAMS,
)


def with_task(made: Any, program: str, number: int = 0) -> Definition:
    """The definition with another task in one phase."""
    old = PROGRAMS[program]
    changed = [replace(p, kernel=made) if k == number else p for k, p in enumerate(old.phases)]
    return replace(DEFINITION, programs={**PROGRAMS, program: replace(old, phases=tuple(changed))})


def without_phase(program: str, number: int) -> Definition:
    """The definition with one phase dropped."""
    old = PROGRAMS[program]
    kept = tuple(p for k, p in enumerate(old.phases) if k != number)
    return replace(DEFINITION, programs={**PROGRAMS, program: replace(old, phases=kept)})


# ---- an operator with a size to get wrong, and one that may have nothing to add

DOUBLED = Operator("twice", y[2 * n] << x[n], inputs=(x,))
SUMMED = Operator("dot", y[()] << x[n], inputs=(x,))


@task
def spread(y: Real1, x: Real1, N: int, task: int, tasks: int) -> None:
    first, last = share(N, task, tasks)
    for n in range(first, last):
        y[2 * n] += x[n]


@task
def added(y: Real0, x: Real1, N: int, task: int, tasks: int) -> None:
    if task == 0:
        total = zero()
        for n in range(N):
            total += x[n]
        y[()] = total


@task
def added_from_the_first(y: Real0, x: Real1, N: int, task: int, tasks: int) -> None:
    """Reads an element of an empty array."""
    if task == 0:
        total = x[0]
        for n in range(1, N):
            total += x[n]
        y[()] = total


NONE = Program((), (), ())


def twice(length: Any) -> Definition:
    """y is as long as `length` says; its law says 2 * N - 1."""
    forward = Program(("x",), ("y",), (Phase(spread, ("y", "x"), ("N",), covers=False),))
    return Definition(
        name="twice",
        formula="y[2*n] = x[n]",
        latex="",
        tensors=(Declared("x", ("N",)), Declared("y", ("Y0",))),
        parameters=(),
        sizes=lambda N: {"Y0": length(N)},
        conditions=(Condition("Y0", 0, "y has a length"),),
        programs={"forward": forward, **dict.fromkeys(("vjp", "jvp", "vjp_vjp", "vjp_jvp"), NONE)},
    )


def dot(made: Any) -> Definition:
    """The sum of x by the task given."""
    forward = Program(("x",), ("y",), (Phase(made, ("y", "x"), ("N",)),))
    return Definition(
        name="dot",
        formula="y = sum[n] x[n]",
        latex="",
        tensors=(Declared("x", ("N",)), Declared("y", ())),
        parameters=(),
        sizes=lambda N: {},
        conditions=(),
        programs={"forward": forward, **dict.fromkeys(("vjp", "jvp", "vjp_vjp", "vjp_jvp"), NONE)},
    )
