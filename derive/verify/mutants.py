"""Faults put into Python source one at a time: into a generated module, or into a module of the engine.

A mutant is the source with one change: another operation, a constant off by one, a comparison that lets one more
through, axes exchanged, a statement or a phase left out, a sum that starts from one. It is made and taken back in the
tree itself, so that nothing is copied.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any, NamedTuple

Change = tuple[Callable[[], None], Callable[[], None]]  # made and taken back
CONTEXT = 2  # lines around a change that are shown


class Place(NamedTuple):
    """Where a mutant is."""

    name: str  # of the function or the table
    role: str  # what computes, what chooses among ways, what says how much room they take, what binds; or a pass
    within: ast.AST | None  # what is shown of the source; None: the changed part alone
    kernel: str = ""  # that a phase binds


@dataclass
class Mutant:
    """One change of a module's tree, made and taken back in place."""

    place: Place
    lines: range  # of the statement; of one that holds others, those of its head
    kind: str
    before: str  # the statement as it is, and as it would be
    after: str
    make: Callable[[], None]
    undo: Callable[[], None]

    @property
    def function(self) -> str:
        return self.place.name

    @property
    def role(self) -> str:
        return self.place.role

    @property
    def line(self) -> int:
        return self.lines.start

    def __str__(self) -> str:
        return f"line {self.line}, {self.function}: {self.kind}\n{self.diff()}"

    def diff(self) -> str:
        """What changes, with the lines around it, as Python prints them."""
        if self.place.within is None:
            return f"    - {self.before}\n    + {self.after or '(nothing)'}"
        old = ast.unparse(self.place.within).splitlines()
        with self.made():
            new = ast.unparse(self.place.within).splitlines()
        changes = list(unified_diff(old, new, lineterm="", n=CONTEXT))[2:]
        return "\n".join(f"    {line[:1]} {line[1:]}" for line in changes if not line.startswith("@@"))

    @contextmanager
    def made(self) -> Iterator[None]:
        """The tree with the change, for a while."""
        self.make()
        try:
            yield
        finally:
            self.undo()


OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
}
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
CALLS = {
    "zero": "one", "one": "zero", "lowest": "highest", "highest": "lowest", "max": "min", "min": "max",
    "maximum": "minimum", "minimum": "maximum", "floor_div": "ceil_div", "ceil_div": "floor_div",
}  # fmt: skip
DEFINITION = "DEFINITION"


def mutants(tree: ast.Module) -> Iterator[Mutant]:
    """Every change to the functions of a generated module and to its definition."""
    rooms = {n for node in tree.body if isinstance(node, ast.FunctionDef) for n in _rooms(node)}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield from _of_block(Place(node.name, _role(node, rooms), node), node.body)
        elif isinstance(node, ast.Assign) and DEFINITION in map(ast.unparse, node.targets):
            yield from _of_definition(node)


def engine_mutants(tree: ast.Module) -> Iterator[Mutant]:
    """Every change to the functions and tables of a module of the engine."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield from _of_block(Place(node.name, "pass", node), node.body)
        elif isinstance(node, ast.ClassDef):
            for method in (n for n in node.body if isinstance(n, ast.FunctionDef)):
                yield from _of_block(Place(f"{node.name}.{method.name}", "pass", method), method.body)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            name = ast.unparse(node.target if isinstance(node, ast.AnnAssign) else node.targets[0])
            if name != "__all__":
                yield from _of_parts(Place(name, "pass", node), node, set())


def _rooms(function: ast.FunctionDef) -> Iterator[str]:
    """The functions that say how much memory a task needs to itself."""
    for decorator in function.decorator_list:
        for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
            if keyword.arg in ("scratch", "integer_scratch"):
                yield ast.unparse(keyword.value)


def _role(function: ast.FunctionDef, rooms: Collection[str]) -> str:
    names = {ast.unparse(d).partition("(")[0] for d in function.decorator_list}
    if function.name == "sizes":
        return "binding"
    if function.name in rooms:
        return "room"
    return "computing" if names & {"task", "kernel"} else "choosing"


def _changed(place: Place, statement: ast.stmt | ast.expr, kind: str, change: Change) -> Iterator[Mutant]:
    """The mutant, unless it is the same text: axes of one name exchanged."""
    make, undo = change
    before = _short(statement)
    make()
    after = _short(statement)
    undo()
    if before != after:
        yield Mutant(place, _lines(statement), kind, before, after, make, undo)


def _short(node: ast.AST) -> str:
    """A statement; of one that holds others, its head."""
    if not _blocks(node):
        return ast.unparse(node)
    emptied = copy(node)
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        if getattr(node, name, None):
            setattr(emptied, name, [])
    return ast.unparse(emptied)


def _lines(node: ast.stmt | ast.expr) -> range:
    """Of a node, or of the head of a statement that holds others."""
    inner = [child.lineno for block in _blocks(node) for child in block]
    return range(node.lineno, max(node.lineno + 1, min(inner, default=(node.end_lineno or node.lineno) + 1)))


def _blocks(node: ast.AST) -> list[list[ast.stmt]]:
    """The blocks of statements right below a statement."""
    found = [
        block
        for name in ("body", "orelse", "finalbody")
        if isinstance(block := getattr(node, name, None), list)
    ]
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        found.append(part.body)
    return found


def _set(node: Any, name: str, value: Any) -> Change:
    old = getattr(node, name)
    return lambda: setattr(node, name, value), lambda: setattr(node, name, old)


def _put(items: list[Any], at: int, value: Any) -> Change:
    old = items[at]
    return lambda: items.__setitem__(at, value), lambda: items.__setitem__(at, old)


def _of_block(place: Place, block: list[ast.stmt]) -> Iterator[Mutant]:
    for statement in list(block):
        if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            yield from _of_statement(place, block, statement)


def _of_statement(place: Place, block: list[ast.stmt], statement: ast.stmt) -> Iterator[Mutant]:
    """Changes of one statement, then of what stands below it."""
    at = block.index(statement)
    nothing = ast.copy_location(ast.Pass(), statement)
    if isinstance(statement, (ast.AugAssign, ast.Assign, ast.Expr, ast.If)):
        make, undo = _put(block, at, nothing)
        yield Mutant(place, _lines(statement), "left out", _short(statement), "pass", make, undo)
    if isinstance(statement, ast.If):
        flipped = ast.copy_location(ast.UnaryOp(ast.Not(), statement.test), statement.test)
        yield from _changed(place, statement, "opposite", _set(statement, "test", flipped))
    if isinstance(statement, ast.AugAssign) and type(statement.op) in OPERATIONS:
        operation = OPERATIONS[type(statement.op)]()
        yield from _changed(place, statement, "operation", _set(statement, "op", operation))
    blocks = _blocks(statement)
    yield from _of_parts(place, statement, {id(child) for part in blocks for child in part})
    for part in blocks:
        yield from _of_block(place, part)


def _of_parts(place: Place, statement: ast.stmt, below: set[int]) -> Iterator[Mutant]:
    """Changes of the expressions of a statement."""
    for change in _terms(statement, below):
        yield from _changed(place, statement, "term", change)
    for node in _within(statement, below):
        for kind, change in _of_expression(node):
            yield from _changed(place, statement, kind, change)
        for change in _terms(node, below):
            yield from _changed(place, statement, "term", change)


def _within(node: ast.AST, below: set[int]) -> Iterator[ast.AST]:
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue  # nobody evaluates them
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and id(child) not in below:
                yield child
                yield from _within(child, below)


def _terms(node: ast.AST, below: set[int]) -> Iterator[Change]:
    """The sums right below a node, each without its last term."""
    for name, value in ast.iter_fields(node):
        for k, child in enumerate(value if isinstance(value, list) else [value]):
            if (
                id(child) not in below
                and isinstance(child, ast.BinOp)
                and isinstance(child.op, ast.Add | ast.Sub)
            ):
                yield _put(value, k, child.left) if isinstance(value, list) else _set(node, name, child.left)


def _of_expression(node: ast.AST) -> Iterator[tuple[str, Change]]:
    match node:
        case ast.BinOp(op=op) if type(op) in OPERATIONS:
            yield "operation", _set(node, "op", OPERATIONS[type(op)]())
        case ast.UnaryOp(op=ast.USub(), operand=operand) if not isinstance(operand, ast.Constant):
            yield "sign", _set(node, "op", ast.UAdd())
        case ast.Compare(ops=ops):
            for k, sign in enumerate(ops):
                if type(sign) in COMPARISONS:
                    yield "comparison", _put(ops, k, COMPARISONS[type(sign)]())
        case ast.BoolOp(op=op):
            yield "connective", _set(node, "op", ast.Or() if isinstance(op, ast.And) else ast.And())
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            yield "constant", _set(node, "value", value + 1)
        case ast.Call(func=ast.Name(id=name), args=args):
            if name in CALLS:
                yield "function", _set(node.func, "id", CALLS[name])
            if name == "range" and len(args) >= 1:
                end = args[0 if len(args) == 1 else 1]
                less = ast.copy_location(ast.BinOp(end, ast.Sub(), ast.Constant(1)), end)
                yield "bound", _put(args, 0 if len(args) == 1 else 1, ast.fix_missing_locations(less))
        case ast.Call(func=ast.Attribute(attr=name)) if name in CALLS:
            yield "function", _set(node.func, "attr", CALLS[name])
        case ast.Subscript(value=ast.Name(), slice=ast.Tuple(elts=elts)):
            for k, index in enumerate(elts):
                if not isinstance(index, ast.Constant):
                    yield "index", _put(elts, k, _next(index))
        case ast.Subscript(value=ast.Name(), slice=(ast.Name() | ast.BinOp()) as index):
            yield "index", _set(node, "slice", _next(index))
        case ast.Tuple(elts=elts, ctx=ast.Load()) | ast.List(elts=elts, ctx=ast.Load()):
            for k in range(len(elts) - 1):
                yield "axes", _swapped(elts, k)


def _next(index: ast.expr) -> ast.expr:
    return ast.fix_missing_locations(ast.copy_location(ast.BinOp(index, ast.Add(), ast.Constant(1)), index))


def _swapped(elts: list[Any], k: int) -> Change:
    def swap() -> None:
        elts[k], elts[k + 1] = elts[k + 1], elts[k]

    return swap, swap


def _of_definition(assigned: ast.Assign) -> Iterator[Mutant]:
    """Phases left out, and the names that a phase binds exchanged."""
    for node in ast.walk(assigned.value):
        if isinstance(node, ast.keyword) and node.arg == "phases" and isinstance(node.value, ast.Tuple):
            phases = node.value.elts
            for k, phase in enumerate(list(phases)):

                def make(phases: list[ast.expr] = phases, k: int = k) -> None:
                    del phases[k]

                def undo(phases: list[ast.expr] = phases, k: int = k, phase: ast.expr = phase) -> None:
                    phases.insert(k, phase)

                yield Mutant(_bound(phase), _lines(phase), "phase left out", _short(phase), "", make, undo)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Phase":
            for names in (a for a in node.args[1:] if isinstance(a, ast.Tuple)):
                for k in range(len(names.elts) - 1):
                    if ast.unparse(names.elts[k]) != ast.unparse(names.elts[k + 1]):
                        yield from _changed(_bound(node), node, "bound names", _swapped(names.elts, k))


def _bound(phase: ast.expr) -> Place:
    return Place(
        DEFINITION, "binding", None, ast.unparse(phase.args[0]) if isinstance(phase, ast.Call) else ""
    )


__all__ = ["DEFINITION", "Mutant", "Place", "engine_mutants", "mutants"]
