"""Which outputs of a program may lie in the very memory of an input.

An output `y` may take the memory of an input `x` (the same place for each element) if nobody reads an element of `x`
after it was overwritten:

    no phase that follows the first one to write y reads x
    a phase that reads x and writes y reads x only at the place that it writes, and before it writes there
    y is written from scratch: nothing has to be zeroed before

The second is read off the generated module, from every task that a phase may come to. In each body that writes y all
accesses to x stand before it, at the same index expression as y's; a task that hands a view on (packs it, slides over
it) is not looked into, and counts as one that reads anywhere. Phases that a call may leave out count as run.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache

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
    for body in _bodies(function):
        accesses = [(name, at) for line in body for name, at in _accesses(line, (x, y))]
        seen += len(accesses)
        written = [at for name, at in accesses if name == y]
        if not accesses:
            continue
        # reads of x, then one place of y, at one index expression; nothing of x after it
        if not written or len({at for _, at in accesses}) > 1:
            return False
        first = next(n for n, (name, _) in enumerate(accesses) if name == y)
        if any(name == x for name, _ in accesses[first:]):
            return False
    return seen == uses


def _bodies(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """Every list of statements that are carried out one after another, those inside them left out."""
    for _, value in ast.iter_fields(node):
        if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
            yield [s for s in value if not isinstance(s, (ast.For, ast.While, ast.If, ast.With))]
            for statement in value:
                yield from _bodies(statement)


def _accesses(line: ast.stmt, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Elements and lines of these views in a statement, as they are worked out: the value before the target."""
    parts: list[ast.AST] = [line.value, *line.targets] if isinstance(line, ast.Assign) else [line]
    for part in parts:
        for node in ast.walk(part):
            if isinstance(node, ast.Subscript) and _named(node.value, names):
                yield _name(node.value), ast.dump(node.slice)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "line":
                if _named(node.func.value, names):
                    yield _name(node.func.value), ast.dump(ast.Tuple(node.args, ast.Load()))


def _named(node: ast.AST, names: tuple[str, ...]) -> bool:
    return isinstance(node, ast.Name) and node.id in names


def _name(node: ast.AST) -> str:
    assert isinstance(node, ast.Name)
    return node.id
