"""Emitted tasks as plain Python over views that note what is touched: no code of the reader is shared."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import kernels.runtime as runtime
from derive.catalogue import operators
from derive.pipeline import Derivation, derive
from derive.verify.loops import Bound, Source, parse
from derive.verify.proofs import phases

GENERATED = Path(runtime.__file__).parent.parent / "generated"


@cache
def derivation(operator: str) -> Derivation:
    return derive(next(o for o in operators() if o.name == operator))


def module_text(operator: str) -> str:
    return (GENERATED / f"{operator}.py").read_text(encoding="utf-8")


def phase_of(operator: str, task: str) -> tuple[Bound, Any]:
    """The first phase that may come to this task, and its equations."""
    source = parse(module_text(operator))
    return next(p for p in phases(source, derivation(operator)) if task in source.tasks(p[0].kernel))


_MADE: dict[int, tuple[Source, dict[str, Any]]] = {}


def functions(source: Source) -> dict[str, Any]:
    """A module's functions, none compiled: tasks run as they stand."""
    if id(source) in _MADE:
        return _MADE[id(source)][1]
    text = "from __future__ import annotations\n" + "\n\n".join(
        ast.unparse(ast.FunctionDef(name, f.args, f.body, [], f.returns, f.type_comment, lineno=1))
        for name, f in source.functions.items()
    )
    space = {name: getattr(runtime, name) for name in runtime.__all__}
    space |= {name: lambda *args: 1.0 for name in ("real", "zero", "one", "lowest", "highest", "exp", "log")}
    exec(compile(text, "emitted", "exec"), space)
    _MADE[id(source)] = source, space
    return space


def sizes_at(source: Source, random: Random, **fixed: int) -> dict[str, int] | None:
    """Small integers for everything that a call gives, and what follows; None where the conditions do not hold."""
    made = functions(source)["sizes"]
    least = {p.name: p.minimum or 0 for p in source.parameters}
    given = {
        name: fixed.get(name, random.randint(least.get(name, 0), least.get(name, 0) + 3))
        for name in inspect.signature(made).parameters
    }
    at = {**given, **made(**given)}
    ok = all(
        (at[c.left] if isinstance(c.left, str) else c.left)
        >= (at[c.right] if isinstance(c.right, str) else c.right)
        for c in source.conditions
    )
    return at if ok else None


class Noting:
    """A tensor of 1s (or of integers of its own) that notes who touches what."""

    def __init__(self, name: str, axes: tuple[int, ...], log: list[Any], integers: Any = None) -> None:
        self.name, self.axes, self.log, self.integers = name, axes, log, integers

    def place(self, at: Any) -> tuple[int, ...]:
        at = at if isinstance(at, tuple) else (at,)
        return tuple(at[self.axes.index(a)] for a in range(len(at))) if self.axes else at

    def __getitem__(self, at: Any) -> Any:
        place = self.place(at)
        self.log.append(("read", self.name, place))
        return self.integers(*place) if self.integers else 1.0

    def __setitem__(self, at: Any, value: Any) -> None:
        self.log.append(("write", self.name, self.place(at)))


def logged(
    source: Source,
    task: str,
    phase: Bound,
    at: dict[str, int],
    *,
    add: int = 0,
    seed: int = 0,
    number: int = 0,
    tasks: int = 1,
) -> tuple[list[Any], dict[str, Any]]:
    """Everything that a task touches, in order; and what its integer tensors hold."""
    log: list[Any] = []
    integers: dict[str, Any] = {}
    arguments: list[Any] = []
    views = iter(zip(phase.tensors, phase.axes, strict=True))
    values = iter(phase.integers)
    for a in source.functions[task].args.args:
        word = ast.unparse(a.annotation) if a.annotation is not None else ""
        if word.startswith(("Real", "Integer")):
            name, axes = next(views)
            if source.tensors[name].integer:
                integers[name] = lambda *p, name=name: Random(f"{seed} {name} {p}").randint(-1, 3)
            arguments.append(Noting(name, axes, log, integers.get(name)))
        elif a.arg in ("add", "task", "tasks"):
            arguments.append({"add": add, "task": number, "tasks": tasks}[a.arg])
        else:
            value = next(values)
            arguments.append(at[value] if isinstance(value, str) else value)
    functions(source)[task](*arguments)
    return log, integers


def run(
    source: Source, task: str, phase: Bound, at: dict[str, int], **how: int
) -> tuple[set[Any], dict[str, Any]]:
    """The elements that a task touches. `x[i] += v` reads and writes; the reader says it as a write alone."""
    log, integers = logged(source, task, phase, at, **how)
    kept = []
    for k, event in enumerate(log):
        if event[0] == "read" and event[1] == phase.tensors[0]:
            following = log[k + 1 :]
            later = next((e for e in following if e[1:] == event[1:]), None)
            if scatters(source, task) and later is not None and later[0] == "write":
                continue
        kept.append(event)
    return set(kept), integers


def scatters(source: Source, task: str) -> bool:
    return any(
        isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Subscript)
        for n in ast.walk(source.functions[task])
    )
