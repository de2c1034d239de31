"""What a task comes to, seen without running it: its loops, branches and integers alone.

    for p0 in range(first, last):              for p0 in turns(7, range(first, last)):
        active = lanes.first(count)                values(8, p0, count)
        if whole and x2 < X2:           =>         if every(9, lambda: whole, lambda: order(10, "<", x2, X2)):
            total += x[n, x2]                          values(11, n, x2)

Which lines of a task run is decided by extents, strides and the tile, hardly ever by elements. So what decides is taken
from the emitted text, the rest is left out, and what is left runs a hundred times as fast over integers. It notes

    a block       that it runs, and once more what lies between its integers: is each negative, 0, 1, 2, or more
    a comparison  whether the left is below, at or above the right
    and, or       which part decides alone
    a loop        whether it makes no turn, one, or more
    min, max, //  which argument is taken; whether something remains

Where elements decide (of tied maxima, the place that an index picks) it goes at random; a run that executes the task then says.
"""

from __future__ import annotations

import ast
import linecache
import operator as operations
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import CodeType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernels.runtime import Definition

Goal = tuple[Any, ...]  # where, and what of it
# functions of integers that runtime and modules share; those of the module itself that take nothing else are found
PURE = frozenset((
    "min", "max", "range", "abs", "len", "int", "bool", "share", "ceil_div", "floor_div", "residue", "bounded", "chunk",
    "divide", "spare", "work", "lines_for", "suits", "plane_masks",
))  # fmt: skip
NUMBERS = frozenset(
    ("width", "lines", "few", "channels", "taps", "rows", "steps", "depth", "pixels", "vectors")
)  # of a tile
SIGNS = {
    ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne",
}  # fmt: skip
MANY = 3  # an integer of so many is like a larger one: with less, a sum may be a product
SPAN = 12_500  # blocks of one task, after which it is given up


class Unending(Exception):
    """More blocks than a small run has."""


class Table:
    """Integers of one task, none of them written yet."""

    def __init__(self, cells: dict[int, int], at: int = 0) -> None:
        self.cells, self.at = cells, at

    def __add__(self, distance: int) -> Table:
        return Table(self.cells, self.at + distance)

    def __getitem__(self, at: int) -> int:
        return self.cells.get(self.at + at, 0)

    def __setitem__(self, at: int, value: int) -> None:
        self.cells[self.at + at] = value


@dataclass
class Notes:
    """What some runs came to."""

    random: Random
    goals: set[Goal] = field(default_factory=set)
    close: dict[int, int] = field(default_factory=dict)  # of each comparison, the least difference
    said: set[tuple[Any, ...]] = field(default_factory=set)  # of values: none is noted again and again
    left: int = SPAN

    def block(self, *key: int) -> None:
        """That it runs, and on what: these values have the next number."""
        self.left -= 1
        if self.left < 0:
            raise Unending
        if key not in self.said:
            self.said.add(key)
            at, *values = key
            self.goals.add((at,))
            if values:
                self.values(at + 1, *values)

    def values(self, *key: int) -> None:
        if key not in self.said:
            self.said.add(key)
            at, *values = key
            kinds = enumerate([-1 if v < 0 else v if v < MANY else MANY for v in values])
            self.goals.update([(at, k, kind) for k, kind in kinds])

    def order(self, at: int, sign: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:
        self.goals.add((at, "order", (left > right) - (left < right)))
        apart = left - right if left > right else right - left
        if apart < self.close.get(at, apart + 1):
            self.close[at] = apart
        return sign(left, right)

    def every(self, at: int, *parts: Callable[[], Any]) -> bool:
        return self.joined(at, parts, True)

    def some(self, at: int, *parts: Callable[[], Any]) -> bool:
        return self.joined(at, parts, False)

    def joined(self, at: int, parts: Sequence[Callable[[], Any]], usual: bool) -> bool:
        """`and` of parts that are usually true, `or` of those that are usually false; the part that alone is not so."""
        others, before, inner = list[int](), (self.goals, self.said), list[set[Goal]]()
        for k, part in enumerate(parts):
            self.goals, self.said = set(), set()
            try:
                if bool(part()) != usual:
                    others.append(k)
            except ZeroDivisionError:
                if not others:
                    raise
                others.append(k)  # nobody would have asked
            inner.append(self.goals)
        self.goals, self.said = before
        if len(others) < 2:  # what is said of parts that decide nothing is not noted
            self.goals.update(*([inner[k] for k in others] or inner))
            self.goals.add((at, "part", *others))
        return usual != bool(others)

    def test(self, at: int, value: Any) -> bool:
        self.goals.add((at, bool(value)))
        return bool(value)

    def turns(self, at: int, numbers: range) -> range:
        self.goals.add((at, "turns", min(len(numbers), 2)))
        return numbers

    def least(self, at: int, *values: Any) -> Any:
        return self.picked(at, min(values), values)

    def most(self, at: int, *values: Any) -> Any:
        return self.picked(at, max(values), values)

    def picked(self, at: int, one: Any, values: Sequence[Any]) -> Any:
        if values.count(one) == 1:
            self.goals.add((at, "picked", values.index(one)))
        return one

    def parted(self, at: int, sign: str, left: Any, right: Any) -> Any:
        self.goals.add((at, "rest", left % right == 0, left >= right))
        return left // right if sign == "//" else left % right if sign == "%" else -(-left // right)

    def table(self) -> Table:
        return Table({})

    def maybe(self) -> bool:
        return self.random.random() < 0.5


# ---- what decides ------------------------------------------------------------------------------


class Writer:
    """The text of one function, reduced to what decides which of its lines run.

    Unless it is `deep`, blocks and comparisons are noted alone.
    """

    def __init__(
        self, function: ast.FunctionDef, pure: Collection[str], first: int, deep: bool = True
    ) -> None:
        self.function, self.pure, self.count, self.deep = function, pure, first, deep
        self.lines: dict[int, range] = {}  # of each block
        kinds = {a.arg: ast.unparse(a.annotation) if a.annotation else "" for a in function.args.args}
        self.views = {
            n
            for n, kind in kinds.items()
            if kind[:4] == "Real" or (kind[:7] == "Integer" and kind[7:].isdigit())
        }
        self.tables = {n for n, kind in kinds.items() if kind == "IntegerScratch"}
        self.known = {n for n, kind in kinds.items() if kind in ("int", "Tile")} | self.tables
        self.find()

    # ---- names

    def find(self) -> None:
        """The names that only ever hold what follows from integers."""
        assigned: dict[str, list[ast.expr]] = {}
        for node in ast.walk(self.function):
            match node:
                case ast.Assign(targets=[target], value=value):
                    names = target.elts if isinstance(target, ast.Tuple) else [target]
                    parts = value.elts if isinstance(value, ast.Tuple) else [value] * len(names)
                    for name, part in zip(names, parts, strict=True):
                        if isinstance(name, ast.Name):
                            assigned.setdefault(name.id, []).append(part)
                case ast.AugAssign(target=ast.Name(id=name), value=value):
                    assigned.setdefault(name, []).append(value)
                case ast.For(target=ast.Name(id=name), iter=value):
                    assigned.setdefault(name, []).append(value)
        while True:  # tables first: where they begin follows from others
            more = {
                n for n, parts in assigned.items()
                if n not in self.tables
                and any(isinstance(b, ast.Name) and b.id in self.tables for p in parts for b in (p, getattr(p, "left", p)))
            }  # fmt: skip
            if not more:
                break
            self.tables |= more
        self.known |= self.tables | assigned.keys()
        while True:
            lost = {
                n for n, parts in assigned.items() if n in self.known and not all(map(self.follows, parts))
            }
            if not lost:
                break
            self.known -= lost
        self.integers = {n for n in self.known if n not in self.tables and n not in ("tile", "lanes")}

    def follows(self, node: ast.expr) -> bool:
        """Does it follow from integers, strides and the tile alone?"""
        match node:
            case ast.Constant(value=value):
                return isinstance(value, (int, bool))
            case ast.Name(id=name):
                return name in self.known
            case ast.Attribute(value=ast.Name(id="tile"), attr="lanes"):
                return True
            case ast.Attribute(value=value, attr=name):
                return name in NUMBERS and self.follows(value)
            case ast.Call(func=ast.Name(id=name), args=args):
                return name in self.pure and all(map(self.follows, args))
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="stride"), args=args):
                return name in self.views and all(map(self.follows, args))
            case ast.Subscript(value=ast.Name(id=name), slice=at):
                return name in self.tables and name in self.known and self.follows(at)
            case ast.BinOp() | ast.UnaryOp() | ast.BoolOp() | ast.Compare() | ast.IfExp() | ast.Tuple():
                return all(self.follows(n) for n in ast.iter_child_nodes(node) if isinstance(n, ast.expr))
        return False

    # ---- statements

    def number(self) -> int:
        self.count += 1
        return self.count

    def written(self) -> ast.FunctionDef:
        rooms = [
            a.arg
            for a in self.function.args.args
            if a.annotation and ast.unparse(a.annotation) == "IntegerScratch"
        ]
        body: list[ast.stmt] = [ast.Assign([ast.Name(n, ast.Store())], _call("table")) for n in rooms]
        body += self.block(self.function.body)
        parameters = [ast.arg(a.arg) for a in self.function.args.args]
        arguments = ast.arguments([], parameters, kwonlyargs=[], kw_defaults=[], defaults=[])
        return ast.FunctionDef(self.function.name, arguments, body, [])

    def block(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        at = self.number()
        used = {
            n.id: None for s in statements for n in _own(s) if isinstance(n, ast.Name) and n.id in self.integers
        }  # fmt: skip
        inside = {
            t.id
            for s in statements
            for t in ast.walk(s)
            if isinstance(t, ast.Name) and isinstance(t.ctx, ast.Store)
        }
        outer = [ast.Name(name, ast.Load()) for name in used if name not in inside]
        if outer:
            self.number()
        made: list[ast.stmt] = [_noted("block", at, *(outer if self.deep else ()))]
        for statement in _chained(statements):
            made += self.statement(statement)
        if statements:
            self.lines[at] = range(
                statements[0].lineno, (statements[0].end_lineno or statements[0].lineno) + 1
            )
        return made

    def statement(self, statement: ast.stmt) -> list[ast.stmt]:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in self.known:
                made: list[ast.stmt] = [ast.Assign([ast.Name(name, ast.Store())], self.watched(value))]
                return made + self.valued(name)
            case ast.Assign(targets=[ast.Tuple(elts=elts)], value=value) if self.follows(value):
                return [
                    ast.Assign([ast.Tuple(elts, ast.Store())], self.watched(value)),
                    *self.valued(*map(ast.unparse, elts)),
                ]
            case ast.Assign(targets=[ast.Tuple(elts=elts)], value=ast.Tuple(elts=parts)):
                kept = [
                    (e, p)
                    for e, p in zip(elts, parts, strict=True)
                    if isinstance(e, ast.Name) and e.id in self.known
                ]
                return [ast.Assign([e], self.watched(p)) for e, p in kept]
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=name)) as target], value=value) if (
                name in self.known and self.follows(target.slice) and self.follows(value)
            ):
                return [ast.Assign([target], self.watched(value))]
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value) if name in self.known:
                return [
                    ast.AugAssign(ast.Name(name, ast.Store()), op, self.watched(value)),
                    *self.valued(name),
                ]
            case ast.If(test=test, body=body, orelse=orelse):
                return [ast.If(self.tested(test), self.block(body), self.block(orelse))]
            case ast.While(test=test, body=body):
                return [ast.While(self.tested(test), self.block(body), [])]
            case ast.For(target=target, iter=numbers, body=body):
                if not self.follows(numbers):
                    numbers = ast.Call(ast.Name("range", ast.Load()), [_call("maybe")], [])
                    return [ast.For(target, numbers, self.block(body), [])]
                at, numbers = self.number(), self.watched(numbers)
                turns = _call("turns", at, numbers) if self.deep else numbers
                return [ast.For(target, turns, self.block(body), [])]
            case ast.Continue() | ast.Break() | ast.Pass():
                return [statement]
            case ast.Return(value=value):
                kept_value = self.watched(value) if value is not None and self.follows(value) else None
                return [ast.Return(kept_value)]
        return self.masks(statement)

    def masks(self, statement: ast.stmt) -> list[ast.stmt]:
        """Of what is left out: how many lanes of a vector it is about."""
        made: list[ast.stmt] = []
        for node in ast.walk(statement):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="lanes"), attr="first"), args=[count]) if (
                    self.follows(count)
                ):
                    width = ast.Attribute(ast.Name("lanes", ast.Load()), "width", ast.Load())
                    made.append(_noted("order", self.number(), _sign("lt"), self.watched(count), width))
                    made += self.values(self.watched(count))
        return made

    def valued(self, *names: str) -> list[ast.stmt]:
        return self.values(*(ast.Name(n, ast.Load()) for n in names if n in self.integers))

    def values(self, *values: ast.expr) -> list[ast.stmt]:
        if not values:
            return []
        at = self.number()
        return [_noted("values", at, *values)] if self.deep else []

    # ---- expressions

    def tested(self, test: ast.expr) -> ast.expr:
        if not self.follows(test):
            return _call("maybe")
        at, test = self.number(), self.watched(test)
        return _call("test", at, test) if self.deep else test

    def watched(self, node: ast.expr) -> ast.expr:
        """The same value, and notes of how it comes about."""
        match node:
            case ast.BoolOp(op=op, values=parts):
                name = "every" if isinstance(op, ast.And) else "some"
                return _call(name, self.number(), *(_later(self.watched(part)) for part in parts))
            case ast.Compare(left=left, ops=ops, comparators=rest):
                places = [left, *rest]
                pairs: list[ast.expr] = [
                    _call(
                        "order",
                        self.number(),
                        _sign(SIGNS[type(op)]),
                        self.watched(a),
                        self.watched(b),
                    )
                    for a, op, b in zip(places, ops, rest, strict=False)
                ]
                return pairs[0] if len(pairs) == 1 else _call("every", self.number(), *map(_later, pairs))
            case ast.BinOp(left=left, op=ast.FloorDiv() | ast.Mod() as op, right=right) if self.deep:
                shown = "//" if isinstance(op, ast.FloorDiv) else "%"
                return _call(
                    "parted", self.number(), ast.Constant(shown), self.watched(left), self.watched(right)
                )
            case ast.BinOp(left=left, op=op, right=right):
                return ast.BinOp(self.watched(left), op, self.watched(right))
            case ast.UnaryOp(op=op, operand=operand):
                return ast.UnaryOp(op, self.watched(operand))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return ast.IfExp(self.tested(test), self.watched(body), self.watched(orelse))
            case ast.Tuple(elts=elts):
                return ast.Tuple([self.watched(e) for e in elts], ast.Load())
            case ast.Call(func=ast.Name(id="min" | "max" as name), args=args) if self.deep and len(args) > 1:
                return _call("least" if name == "min" else "most", self.number(), *map(self.watched, args))
            case ast.Call(func=ast.Name(id="ceil_div"), args=[left, right]) if self.deep:
                return _call(
                    "parted", self.number(), ast.Constant("up"), self.watched(left), self.watched(right)
                )
            case ast.Call(func=func, args=args):
                return ast.Call(func, [self.watched(a) for a in args], [])
        return node


def _own(statement: ast.stmt) -> Iterator[ast.AST]:
    """The parts of a statement but for the blocks below it."""
    left: list[ast.AST] = [statement]
    while left:
        node = left.pop()
        yield node
        left += [n for n in ast.iter_child_nodes(node) if not isinstance(n, ast.stmt)]


def _chained(statements: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """`fit = a` and then `fit = fit and b` as `fit = a and b`, so that it is seen which part decides alone."""
    open_: ast.Assign | None = None
    for s in statements:
        match s, open_:
            case (
                ast.Assign(
                    targets=[ast.Name(id=name)],
                    value=ast.BoolOp(op=ast.And(), values=[ast.Name(id=again), *more]),
                ),
                ast.Assign(targets=[ast.Name(id=before)], value=value),
            ) if name == again == before:
                parts = (
                    value.values
                    if isinstance(value, ast.BoolOp) and isinstance(value.op, ast.And)
                    else [value]
                )
                open_ = ast.Assign(s.targets, ast.BoolOp(ast.And(), [*parts, *more]))
                continue
        if open_ is not None:
            yield open_
        open_ = s if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name) else None
        if open_ is None:
            yield s
    if open_ is not None:
        yield open_


def _call(name: str, *arguments: Any) -> ast.expr:
    given = [a if isinstance(a, ast.expr) else ast.Constant(a) for a in arguments]
    return ast.Call(ast.Attribute(ast.Name("NOTES", ast.Load()), name, ast.Load()), given, [])


def _noted(name: str, *arguments: Any) -> ast.stmt:
    return ast.Expr(_call(name, *arguments))


def _sign(name: str) -> ast.expr:
    return ast.Attribute(ast.Name("SIGNS", ast.Load()), name, ast.Load())


def _later(node: ast.expr) -> ast.expr:
    return ast.Lambda(ast.arguments([], [], kwonlyargs=[], kw_defaults=[], defaults=[]), node)


# ---- a module -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Control:
    """What decides in the functions of a module: its tasks, its choices, and what these ask."""

    code: CodeType
    names: Mapping[str, Any]  # of the module
    functions: Mapping[str, range]  # the numbers of what is noted in each
    blocks: Mapping[int, range]  # the lines of each
    tasks: frozenset[str]

    @classmethod
    def of(cls, definition: Definition, deep: bool = True) -> Control:
        """From the text of the file; of a module without one nothing is seen."""
        file = str(definition.sizes.__code__.co_filename)
        tree = ast.parse("".join(linecache.getlines(file, definition.sizes.__globals__)), file)
        defined = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        own = {
            f.name
            for f in defined
            if all(ast.unparse(a.annotation or a) in ("int", "Tile") for a in f.args.args)
        }
        made, blocks, functions, first = list[ast.stmt](), dict[int, range](), dict[str, range](), 0
        for function in defined:
            writer = Writer(function, PURE | own, first, deep)
            made.append(writer.written())
            blocks |= writer.lines
            functions[function.name] = range(first + 1, writer.count + 1)
            first = writer.count
        code = compile(
            ast.fix_missing_locations(ast.Module(made, [])), f"<control of {Path(file).name}>", "exec"
        )
        tasks = frozenset(
            f.name for f in defined if any(ast.unparse(d).split("(")[0] == "task" for d in f.decorator_list)
        )
        return cls(code, definition.sizes.__globals__, functions, blocks, tasks)

    def wanted(self, only: Collection[str] | None) -> list[bool]:
        """Of each number: is it of these tasks, or of what chooses among tasks?"""
        kept = [False]
        for name, numbers in self.functions.items():
            kept += [only is None or name in only or name not in self.tasks] * len(numbers)
        return kept

    def block(self, line: int) -> int | None:
        """The number of the innermost block that holds a line."""
        return min(
            (b for b, lines in self.blocks.items() if line in lines),
            key=lambda b: len(self.blocks[b]),
            default=None,
        )

    def ready(self, random: Random) -> Watch:
        return Watch(self, random)


class Watch:
    """Runs what decides, and notes what it comes to."""

    def __init__(self, control: Control, random: Random) -> None:
        self.notes = Notes(random)
        self.space: dict[str, Any] = {**control.names, "NOTES": self.notes, "SIGNS": operations}
        exec(control.code, self.space)
        self.functions = control.functions

    def started(self) -> None:
        """Forget what was noted."""
        self.notes.goals, self.notes.close, self.notes.said, self.notes.left = set(), {}, set(), SPAN

    def run(self, name: str, arguments: Sequence[Any]) -> None:
        """One function of the module, if it is one."""
        if name in self.functions:
            self.space[name](*arguments)


__all__ = ["MANY", "Control", "Goal", "Table", "Unending", "Watch"]
