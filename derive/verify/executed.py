"""Which functions and lines of a module run: they say so themselves.

    if add != 0:                            ran(12)
        total += y[n]              =>       if add != 0:
                                                ran(13)
                                                total += y[n]

For a while the functions have this code. A tracer is called for every call of every function, of those of the numbers
too, and takes longer than the run; it is for functions that are not what the text of their file says, as mutants are not.
"""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from types import CodeType, FrameType, FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernels.runtime import Definition

RAN = "__ran__"  # among the names of the module


@contextmanager
def executed(definition: Definition) -> Iterator[tuple[set[str], set[int]]]:
    """The functions and the lines that run, of the file of a definition."""
    sizes: Any = definition.sizes
    functions, lines = set[str](), set[int]()
    noting = _noting(sizes)
    if noting is None:
        with _traced(file_of(definition), functions, lines):
            yield functions, lines
        return
    before = [(function, function.__code__) for function, _ in noting]
    sizes.__globals__[RAN] = lines.add
    try:
        for function, code in noting:
            function.__code__ = code
        yield functions, lines
    finally:
        for function, code in before:
            function.__code__ = code
        del sizes.__globals__[RAN]
        begun = {code.co_firstlineno: code.co_name for _, code in noting}
        functions.update(begun[line] for line in lines & begun.keys())
        lines.difference_update(begun)


@contextmanager
def _traced(file: str, functions: set[str], lines: set[int]) -> Iterator[None]:
    def local(frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            lines.add(frame.f_lineno)
        return local

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename != file:
            return None
        functions.add(frame.f_code.co_name)
        return local

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def file_of(definition: Definition) -> str:
    """Where the module of a definition is."""
    return str(definition.sizes.__code__.co_filename)


@lru_cache(8)
def _noting(sizes: FunctionType) -> list[tuple[FunctionType, CodeType]] | None:
    """The functions of the module that has this one, each with code that notes what it runs; None if the text is another."""
    file = sizes.__code__.co_filename
    tree = ast.parse("".join(linecache.getlines(file, sizes.__globals__)), file)
    plain = _codes(tree, file)
    defined = list[ast.stmt](_noted(node) for node in tree.body if isinstance(node, ast.FunctionDef))
    noting = _codes(ast.fix_missing_locations(ast.Module(defined, [])), file)
    # a task, a choice: what it calls
    found = [getattr(value, "function", value) for value in sizes.__globals__.values()]
    own = [f for f in found if isinstance(f, FunctionType) and f.__code__.co_filename == file]
    if any(plain.get(f.__name__) != f.__code__ for f in own):
        return None
    return [(f, noting[f.__name__]) for f in dict.fromkeys(own)]


def _codes(tree: ast.Module, file: str) -> dict[str, CodeType]:
    """Of the functions of a module."""
    module = compile(tree, file, "exec", dont_inherit=True)
    return {code.co_name: code for code in module.co_consts if isinstance(code, CodeType)}


def _noted(function: ast.FunctionDef) -> ast.FunctionDef:
    """The function alone: what stands around its body is evaluated only once, when it is defined."""
    names = [ast.arg(a.arg) for a in function.args.args]
    arguments = ast.arguments([], names, kwonlyargs=[], kw_defaults=[], defaults=[])
    body = [_note(function.lineno), *_block(function.body)]
    return ast.copy_location(ast.FunctionDef(function.name, arguments, body, []), function)


def _block(statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    made = list[ast.stmt]()
    for statement in statements:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # a docstring
        parts = [n for n in ast.iter_child_nodes(statement) if isinstance(n, ast.expr)]
        own = (
            set() if isinstance(statement, (ast.If, ast.While)) else {statement.lineno}
        )  # nothing runs at `if (`
        lines = own.union(*map(_always, parts))
        made += map(_note, sorted(lines))
        for name, value in ast.iter_fields(statement):
            if name in ("body", "orelse"):
                setattr(statement, name, _block(value))
            elif isinstance(value, ast.expr) and value.lineno != value.end_lineno:
                setattr(statement, name, _Skipped(lines).visit(value))
        made.append(statement)
    return made


def _always(node: ast.expr) -> set[int]:
    """The lines of an expression that run whenever it does."""
    if node.lineno == node.end_lineno:
        return {node.lineno}
    match node:
        case ast.BoolOp(values=[first, *_]) | ast.IfExp(test=first):
            return {node.lineno} | _always(first)
    parts = [n.value if isinstance(n, ast.keyword) else n for n in ast.iter_child_nodes(node)]
    return {node.lineno}.union(*(_always(n) for n in parts if isinstance(n, ast.expr)))


class _Skipped(ast.NodeTransformer):
    """Notes within an expression: `a and b` is `a and (ran(14) or b)` if b, which may not run, has line 14 to itself."""

    def __init__(self, known: set[int]) -> None:
        self.known = known

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        node.values = [self.visit(node.values[0]), *map(self.part, node.values[1:])]
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        node.test, node.body, node.orelse = (
            self.visit(node.test),
            self.part(node.body),
            self.part(node.orelse),
        )
        return node

    def part(self, node: ast.expr) -> ast.expr:
        lines = _always(node) - self.known
        made: ast.expr = _Skipped(self.known | lines).visit(node)
        return ast.BoolOp(ast.Or(), [*map(_call, sorted(lines)), made]) if lines else made


def _call(line: int) -> ast.expr:
    return ast.Call(ast.Name(RAN, ast.Load()), [ast.Constant(line)], [])


def _note(line: int) -> ast.stmt:
    return ast.Expr(_call(line))


__all__ = ["executed", "file_of"]
