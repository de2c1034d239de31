"""Which outputs of a program may lie in the very memory of an input.

An output `y` may take the memory of an input `x` (the same place for each element) if nobody reads an element of `x`
after it was overwritten:

    no phase that follows the first one to write y reads x
    a phase that reads x and writes y reads x only at the place that it writes, and before it writes there
    y is written from scratch: nothing has to be zeroed before

The second is read off the generated module, from every task that a phase may come to. In each body that writes y all
accesses to x stand before it, at the same index expression as y's, and the loops around it come to each place once: each
of their indices stands in that expression, as the loop has it or as quotients and remainders of it. (A last vector that
is moved back to lie inside an axis reads places again.) A task that hands a view on (packs it, slides over it) is not
looked into, and counts as one that reads anywhere. Phases that a call may leave out count as run.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from kernels.runtime.compile import Task
from kernels.runtime.definition import Definition, Phase, Program

Pairs = frozenset[tuple[str, str]]  # (output, input)


def in_place(definition: Definition) -> Pairs:
    """The pairs of an output and an input of the forward program that may share their memory."""
    program = definition.programs["forward"]
    shapes = {t.name: (t.shape, t.integer) for t in definition.tensors}
    return frozenset(
        (y, x)
        for y in program.outputs
        for x in program.inputs
        if shapes[y] == shapes[x] and _may(program, y, x)
    )


def _may(program: Program, y: str, x: str) -> bool:
    if any(y in j.phase.tensors or x in j.phase.tensors for j in program.joints):
        return False  # which of the phases runs is decided later
    writing = [n for n, phase in enumerate(program.phases) if phase.tensors[0] == y]
    if not writing or not program.phases[writing[0]].covers:
        return False
    for n, phase in enumerate(program.phases):
        if x not in phase.tensors[1:] or n < writing[0]:
            continue
        if n > writing[0] or not _at_its_place(phase, x):
            return False
    return True


def _at_its_place(phase: Phase, x: str) -> bool:
    """Whether a phase reads `x` only where it writes its target, and before it does."""
    axes = phase.axes or tuple(() for _ in phase.tensors)
    slots = [n for n, name in enumerate(phase.tensors) if name == x]
    if any(axes[n] != axes[0] for n in slots):
        return False
    for task in phase.kernel.tasks:
        views = [a.name for a in task.arguments if a.ndim is not None]
        if any(not _before_the_write(task, views[0], views[n]) for n in slots):
            return False
    return True


@cache
def _before_the_write(task: Task[...], y: str, x: str) -> bool:
    """Whether one task touches `x` only at the index expressions at which it then writes `y`."""
    (function,) = ast.parse(textwrap.dedent(inspect.getsource(task.function))).body
    assert isinstance(function, ast.FunctionDef)
    uses = sum(isinstance(n, ast.Name) and n.id in (x, y) for n in ast.walk(function))
    seen = 0
    for body, loops in _bodies(function.body, ()):
        accesses = [a for line in body for a in _accesses(line, (x, y))]
        seen += len(accesses)
        if not accesses:
            continue
        writes = [n for n, a in enumerate(accesses) if a.view == y]
        if not writes or len({ast.dump(a.at) for a in accesses}) > 1 or len({a.line for a in accesses}) > 1:
            return False
        if any(a.view == x for a in accesses[writes[0] :]) or not _once(accesses[0], loops):
            return False
    return seen == uses


class Access(NamedTuple):
    """An element of a view, or a vector of elements from there on."""

    view: str
    at: ast.expr
    line: bool


Loops = tuple[ast.For, ...]


def _bodies(statements: list[ast.stmt], loops: Loops) -> Iterator[tuple[list[ast.stmt], Loops]]:
    """Every list of statements that are carried out one after another, without those inside them, and its loops."""
    yield [s for s in statements if not isinstance(s, (ast.For, ast.While, ast.If, ast.With))], loops
    for s in statements:
        inner = (*loops, s) if isinstance(s, ast.For) else loops
        for _, value in ast.iter_fields(s):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                yield from _bodies(value, inner)


def _accesses(line: ast.stmt, names: tuple[str, ...]) -> Iterator[Access]:
    """Elements and lines of these views in a statement, as they are worked out: the value before the target."""
    parts: list[ast.AST] = [line.value, *line.targets] if isinstance(line, ast.Assign) else [line]
    for part in parts:
        for node in ast.walk(part):
            match node:
                case ast.Subscript(value=ast.Name(id=view), slice=at) if view in names:
                    yield Access(view, at, False)
                case ast.Call(func=ast.Attribute(value=ast.Name(id=view), attr="line"), args=args) if (
                    view in names
                ):
                    yield Access(view, ast.Tuple(args, ast.Load()), True)


def _once(access: Access, loops: Loops) -> bool:
    """Whether these loops come to each place of an access once."""
    used = {n.id for n in ast.walk(access.at) if isinstance(n, ast.Name)}
    vectors = 0
    for loop in loops:
        match loop:
            case ast.For(target=ast.Name(id=index), iter=ast.Call(func=ast.Name(id="range"), args=args)):
                digits = {name for s in loop.body for name in _digits(s, index)}
                step = ast.unparse(args[2]) if len(args) == 3 else "1"
                if step == "lanes.width" and access.line:
                    vectors += 1
                elif step != "1":
                    return False
                if index not in used and (not digits or not digits <= used):
                    return False
                used -= {index} | digits
            case _:
                return False
    return not used and vectors == access.line


def _digits(statement: ast.stmt, index: str) -> Iterator[str]:
    """The name that a statement gives to a digit of a mixed radix: `m = item // R`, `r = item % R`."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.BinOp(op=ast.FloorDiv() | ast.Mod()) as value):
            if any(isinstance(n, ast.Name) and n.id == index for n in ast.walk(value)):
                yield name
