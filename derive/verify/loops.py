"""Emitted tasks as data: what each loop runs over, and what is read and written at which index under which guards.

The source of a generated module is parsed, never imported: loop bounds, guards, index formulas, the decoding of a
shared loop's number into indices, and the runtime's integer functions (whose source is parsed as well) become terms over
unknown integers. Scalars are followed only as far as who reads what: a value knows the elements that it was made of, an
accumulator every value that was added to it or compared with it. What this reader does not understand it refuses, with
the line: `Unreadable`.

    Binder    an unknown integer of a loop: low <= it < high, in steps
    Guard     what else holds where a statement runs
    Read, Write
"""

from __future__ import annotations

import ast
import inspect
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

from derive.verify import symbolic as sy
from derive.verify.symbolic import Formula, Term
from kernels.runtime import arithmetic, functions, scalar
from kernels.runtime.definition import Condition, Joint, Parameter, Phase, Program, Tensor

GENERATED = "kernels.generated."  # where a module may have kernels from


class Unreadable(Exception):
    """A statement that this reader has no word for."""

    def __init__(self, why: str, line: int = 0) -> None:
        super().__init__(why)
        self.why, self.line = why, line


# ---- what is found --------------------------------------------------------------------------


@dataclass(frozen=True)
class Binder:
    """A loop's unknown: low <= var < high and step divides var - low. `outer`: a digit of the number tasks share."""

    var: Term
    low: Formula
    high: Formula
    step: Formula
    line: int
    outer: bool = False

    @property
    def name(self) -> str:
        return str(self.var.args[0])

    def holds(self, value: Formula | None = None) -> Formula:
        v = self.var if value is None else value
        inside = sy.both(sy.at_most(self.low, v), sy.less(v, self.high))
        if self.step == 1:
            return inside
        even = sy.equals(sy.mod(sy.sub(v, self.low), self.step), 0)
        return sy.both(inside, sy.less(0, self.step), even)


@dataclass(frozen=True)
class Guard:
    holds: Formula
    line: int


Path = tuple[Binder | Guard, ...]


def binders(path: Path) -> tuple[Binder, ...]:
    return tuple(p for p in path if isinstance(p, Binder))


def condition(path: Path) -> Formula:
    """That a statement at the end of this path runs."""
    return sy.both(*(p.holds() if isinstance(p, Binder) else p.holds for p in path))


def turns(
    path: Path, env: Mapping[str, int], tensors: Mapping[str, Callable[..., int]] | None = None
) -> Iterator[Mapping[str, int]]:
    """Every turn of these loops at concrete integers, counted as Python counts them."""
    if not path:
        yield env
        return
    first, rest = path[0], path[1:]
    if isinstance(first, Binder):
        low, high, step = (
            sy.evaluate(sy.replaced(f, env, residue), env, tensors)
            for f in (first.low, first.high, first.step)
        )
        for value in range(low, high, step) if step > 0 else ():
            yield from turns(rest, {**env, first.name: value}, tensors)
    elif sy.evaluate(sy.replaced(first.holds, env, residue), env, tensors):
        yield from turns(rest, env, tensors)


@dataclass(frozen=True)
class Read:
    tensor: str
    at: tuple[Formula, ...]
    path: Path
    line: int


@dataclass(eq=False)
class Cell:
    """An accumulator: opened somewhere, and what was added to it, or compared with it."""

    opened: Path
    first: Scalar
    parts: list[Part] = field(default_factory=list)


@dataclass(frozen=True)
class Scalar:
    """A number of a kernel, as far as proofs go: what it was made of. `value`: if it is an integer."""

    reads: tuple[Read, ...] = ()
    cells: tuple[Cell, ...] = ()
    value: Formula | None = None
    count: tuple[Formula, Formula] | None = None  # so many times the same: as if looped from low to high

    def with_(self, *others: Scalar) -> Scalar:
        every = (self, *others)
        counts = [s.count for s in every if s.count is not None]
        if len(counts) > 1:
            raise Unreadable("two counts in one formula")
        return Scalar(
            tuple(dict.fromkeys(r for s in every for r in s.reads)),
            tuple(dict.fromkeys(c for s in every for c in s.cells)),
            None,
            counts[0] if counts else None,
        )


@dataclass(frozen=True)
class Part:
    path: Path
    scalar: Scalar
    line: int


@dataclass(frozen=True)
class Write:
    """A store (`adds` False) or an addition to memory."""

    tensor: str
    at: tuple[Formula, ...]
    path: Path
    scalar: Scalar
    adds: bool
    line: int
    order: int  # in the order of the source


@dataclass
class Reading:
    """A task as data."""

    task: str
    reads: list[Read] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    divisors: list[tuple[Path, Formula, int]] = field(default_factory=list)
    counts: int = 0


# ---- a module's text --------------------------------------------------------------------------


@dataclass(frozen=True)
class Bound:
    """A phase of the file: a kernel's name and what its arguments stand for."""

    kernel: str
    tensors: tuple[str, ...]
    integers: tuple[str | int, ...]
    axes: tuple[tuple[int, ...], ...]
    covers: bool


@dataclass(frozen=True)
class Source:
    """A generated module as text: its functions, and its DEFINITION with kernels by name."""

    lines: tuple[str, ...]
    elsewhere: Mapping[str, tuple[str, ...]]  # the lines of the file that holds a function, if it is another
    functions: Mapping[str, ast.FunctionDef]
    choices: Mapping[
        str, tuple[str, ...]
    ]  # of kernels from another file: what its choice names, as it is called here
    tensors: Mapping[str, Tensor]
    parameters: tuple[Parameter, ...]
    conditions: tuple[Condition, ...]
    programs: Mapping[str, Program]

    def line(self, task: str, number: int) -> str:
        lines = self.elsewhere.get(task, self.lines)
        return lines[number - 1].strip() if 0 < number <= len(lines) else ""

    def tasks(self, kernel: str) -> tuple[str, ...]:
        """The tasks that a phase's kernel may come to: itself, or what its choice names."""
        if kernel in self.choices:
            return self.choices[kernel]
        for mark in self.functions[kernel].decorator_list:
            if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "choice":
                return tuple(a.id for a in mark.args if isinstance(a, ast.Name))
        return (kernel,)


def parse(text: str) -> Source:
    """A generated module's text. Its DEFINITION is data: nothing else of the file is run."""
    tree = ast.parse(text)
    functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    elsewhere: dict[str, tuple[str, ...]] = {}
    choices: dict[str, tuple[str, ...]] = {}
    imports = [  # kernels that another generated module holds
        (n.module, {a.name: a.asname or a.name for a in n.names})
        for n in tree.body
        if isinstance(n, ast.ImportFrom) and n.module and n.module.startswith(GENERATED)
    ]
    taken = functions.keys() | {called for _, names in imports for called in names.values()}
    for module, names in imports:
        other = _other(module)
        called = {  # what is not imported, the tasks of a choice, has a name of its own beside these
            name: names.get(name, f"{name}_of_{module.removeprefix(GENERATED)}" if name in taken else name)
            for name in other.functions
        }
        for name, here in called.items():
            functions.setdefault(here, other.functions[name])
            elsewhere.setdefault(here, other.elsewhere.get(name, other.lines))
            choices.setdefault(here, tuple(called[task] for task in other.tasks(name)))
    (value,) = (
        n.value
        for n in tree.body
        if isinstance(n, ast.Assign) and [ast.unparse(t) for t in n.targets] == ["DEFINITION"]
    )
    words: dict[str, Any] = {name: name for name in functions}
    words |= {c.__name__: c for c in (Condition, Joint, Parameter, Phase, Program, Tensor)}
    words |= {"Definition": SimpleNamespace, "__builtins__": {}}
    data = eval(compile(ast.Expression(value), "DEFINITION", "eval"), words)
    return Source(
        tuple(text.splitlines()),
        elsewhere,
        functions,
        choices,
        {t.name: t for t in data.tensors},
        data.parameters,
        data.conditions,
        data.programs,
    )


@cache
def _other(module: str) -> Source:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise Unreadable(f"there is no module {module}")
    return parse(pathlib.Path(spec.origin).read_text(encoding="utf-8"))


def bound(phase: Phase) -> Bound:
    axes = phase.axes or ((),) * len(phase.tensors)
    return Bound(str(phase.kernel), phase.tensors, phase.integers, axes, phase.covers)


@dataclass(frozen=True)
class Argument:
    name: str
    kind: str


def arguments(function: ast.FunctionDef) -> tuple[Argument, ...]:
    """Names and kinds: view, integer view, int, float, tile, ..., add, task, tasks."""
    found = []
    for a in function.args.args:
        word = ast.unparse(a.annotation) if a.annotation is not None else ""
        if re.fullmatch(r"Real\d+", word):
            kind = "real"
        elif re.fullmatch(r"Integer\d+", word):
            kind = "integer"
        elif word == "int" and a.arg in ("add", "task", "tasks"):
            kind = a.arg
        else:
            kind = word.lower()
        found.append(Argument(a.arg, kind))
    return tuple(found)


# ---- integer functions ------------------------------------------------------------------------


@cache
def _runtime(name: str) -> ast.FunctionDef:
    function = getattr(arithmetic, name)
    (found,) = ast.parse(inspect.getsource(getattr(function, "function", function))).body
    assert isinstance(found, ast.FunctionDef)
    return found


@cache
def residue(s: int, d: int, m: Formula) -> tuple[Formula, Formula]:
    """The runtime's `residue` at a stride and a dilation: Euclid's loop runs, what depends on m is a formula."""
    first, step = call(_runtime("residue"), (s, d, m))
    return first, step


def shared(count: Formula, task: Formula, tasks: Formula) -> tuple[Formula, ...]:
    """The runtime's `share`, from its source."""
    return call(_runtime("share"), (count, task, tasks))


def call(function: ast.FunctionDef, values: Sequence[Formula]) -> tuple[Formula, ...]:
    """What a function of integers returns. Loops run if their conditions are numbers; a branch may return early."""
    env = dict(zip((a.arg for a in function.args.args), values, strict=True))
    return _returned(function.body, env)


def _returned(body: Sequence[ast.stmt], env: dict[str, Formula]) -> tuple[Formula, ...]:
    for at, statement in enumerate(body):
        match statement:
            case ast.Expr(value=ast.Constant()):
                pass
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                env[name] = integer(value, env)
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=parts)):
                made = [integer(p, env) for p in parts]
                env |= {t.id: v for t, v in zip(targets, made, strict=True) if isinstance(t, ast.Name)}
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                env[name] = _operated(op, env[name], integer(value, env), statement.lineno)
            case ast.While(test=test, body=inner):
                while (go := truth(test, env)) is not False:
                    if go is not True:
                        raise Unreadable("a loop whose end is not known", statement.lineno)
                    for one in inner:
                        _returned([one], env)
            case ast.If(test=test, body=inner, orelse=[]):
                holds = truth(test, env)
                if holds is False:
                    continue
                yes = _returned(inner, dict(env))
                if holds is True:
                    return yes
                no = _returned(body[at + 1 :], env)
                return tuple(sy.ite(holds, y, n) for y, n in zip(yes, no, strict=True))
            case ast.Return(value=ast.Tuple(elts=parts)):
                return tuple(integer(p, env) for p in parts)
            case ast.Return(value=ast.expr() as value):
                return (integer(value, env),)
            case _:
                raise Unreadable(f"`{ast.unparse(statement).splitlines()[0]}`", statement.lineno)
    return ()


def sizes(source: Source) -> tuple[tuple[str, ...], dict[str, Formula]]:
    """What the emitted `sizes` takes, and each integer that it derives, in order, as a formula of those before it."""
    function = source.functions["sizes"]
    given = tuple(a.arg for a in function.args.args)
    env: dict[str, Formula] = {name: sy.var(name) for name in given}
    derived: dict[str, Formula] = {}
    for statement in function.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
            derived[name] = integer(statement.value, env)
            env[name] = sy.var(name)
    return given, derived


OPERATIONS: dict[type[ast.operator], Callable[[Formula, Formula], Formula]] = {
    ast.Add: sy.add,
    ast.Sub: sy.sub,
    ast.Mult: sy.mul,
    ast.FloorDiv: sy.div,
    ast.Mod: sy.mod,
}


def _operated(op: ast.operator, a: Formula, b: Formula, line: int) -> Formula:
    if isinstance(op, ast.Pow) and isinstance(b, int) and b >= 0:
        made: Formula = 1
        for _ in range(b):
            made = sy.mul(made, a)
        return made
    if type(op) not in OPERATIONS:
        raise Unreadable(f"an operation {type(op).__name__} of integers", line)
    return OPERATIONS[type(op)](a, b)


def integer(node: ast.expr, env: Mapping[str, Any]) -> Formula:
    """An integer expression of names that stand for formulas."""
    match node:
        case ast.Constant(value=bool(value)):
            return value
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=name) if isinstance(env.get(name), (int, Term)):
            found: Formula = env[name]
            return found
        case ast.UnaryOp(op=ast.USub(), operand=a):
            return sy.sub(0, integer(a, env))
        case ast.UnaryOp(op=ast.UAdd(), operand=a):
            return integer(a, env)
        case ast.BinOp(left=a, op=op, right=b):
            return _operated(op, integer(a, env), integer(b, env), node.lineno)
        case ast.IfExp(test=test, body=a, orelse=b):
            return sy.ite(truth(test, env), integer(a, env), integer(b, env))
        case ast.Call(func=ast.Name(id="max"), args=args):
            return sy.largest(*(integer(a, env) for a in args))
        case ast.Call(func=ast.Name(id="min"), args=args):
            return sy.smallest(*(integer(a, env) for a in args))
        case ast.Call(func=ast.Name(id=("ceil_div" | "floor_div") as name), args=args):
            return call(_runtime(name), [integer(a, env) for a in args])[0]
    raise Unreadable(f"`{ast.unparse(node)}` is no integer formula that is read here", node.lineno)


def truth(node: ast.expr, env: Mapping[str, Any]) -> Formula:
    """A condition on integers."""
    match node:
        case ast.Compare(left=left, ops=ops, comparators=right):
            values = [integer(left, env), *(integer(r, env) for r in right)]
            return compared(ops, values)
        case ast.BoolOp(op=op, values=parts):
            join = sy.both if isinstance(op, ast.And) else sy.either
            return join(*(truth(p, env) for p in parts))
        case ast.UnaryOp(op=ast.Not(), operand=a):
            return sy.negated(truth(a, env))
        case ast.Constant(value=bool(value)):
            return value
        case ast.Name(id=name) if isinstance(env.get(name), (bool, Term)):
            found: Formula = env[name]
            return found
    raise Unreadable(f"`{ast.unparse(node)}` is no condition on integers that is read here", node.lineno)


def compared(ops: Sequence[ast.cmpop], values: Sequence[Formula]) -> Formula:
    made = []
    for op, a, b in zip(ops, values[:-1], values[1:], strict=True):
        match op:
            case ast.Lt():
                made.append(sy.less(a, b))
            case ast.LtE():
                made.append(sy.at_most(a, b))
            case ast.Gt():
                made.append(sy.less(b, a))
            case ast.GtE():
                made.append(sy.at_most(b, a))
            case ast.Eq():
                made.append(sy.equals(a, b))
            case ast.NotEq():
                made.append(sy.negated(sy.equals(a, b)))
            case _:
                raise Unreadable(f"a comparison {type(op).__name__}")
    return sy.both(*made)


# ---- tasks ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class View:
    """A task's view of a tensor: its axis j is the tensor's axis axes[j]."""

    tensor: str
    axes: tuple[int, ...]
    integer: bool

    def place(self, at: Sequence[Formula]) -> tuple[Formula, ...]:
        """An element of the view as one of the tensor."""
        if not self.axes:
            return tuple(at)
        if len(at) != len(self.axes):
            raise Unreadable(f"{self.tensor} has {len(self.axes)} axes and is indexed by {len(at)}")
        return tuple(at[self.axes.index(a)] for a in range(len(at)))


@dataclass(frozen=True)
class Share:
    """first, last = share(a * b * c, task, tasks): a number of so many digits."""

    factors: tuple[Formula, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class End:
    """`first` (0) or `last` (1) of a share."""

    share: Share
    which: int


@dataclass(frozen=True)
class Item:
    """The number of a shared loop, or its leading digits: all of `digits`, the last of which has the factor beside it."""

    digits: tuple[Term, ...]
    factors: tuple[Formula, ...]


class Lost:
    """A name whose value is not known here: it changes from turn to turn."""


LOST = Lost()
FUNCTIONS = {n for m in (functions, scalar) for n in vars(m) if not n.startswith("_")}
SKIPPED = (ast.Pass,)


def _assigned(body: Sequence[ast.stmt]) -> Iterator[str]:
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id


class Reader:
    """One task, read once, top to bottom; a phase and `known` integers say what its arguments stand for.

    whole_counts   whether a count `high - low` is a range from 0 rather than from low
    """

    def __init__(
        self,
        source: Source,
        task: str,
        phase: Bound,
        known: Mapping[str, Formula],
        whole_counts: bool = False,
    ) -> None:
        self.source, self.function = source, source.functions[task]
        self.found = Reading(task)
        self.env: dict[str, Any] = {}
        self.path: Path = ()
        self.numbers: dict[str, int] = {}
        self.whole_counts = whole_counts
        views = iter(zip(phase.tensors, phase.axes, strict=True))
        integers = iter(phase.integers)
        for a in arguments(self.function):
            match a.kind:
                case "real" | "integer":
                    self.env[a.name] = View(*next(views), a.kind == "integer")
                case "int":
                    value = next(integers)
                    self.env[a.name] = known[value] if isinstance(value, str) else value
                case "add" | "task" | "tasks":
                    self.env[a.name] = sy.var(f"{a.name}'")
                case "float":
                    self.env[a.name] = Scalar()
                case _:
                    self.env[a.name] = LOST

    def read(self) -> Reading:
        self.block(self.function.body)
        return self.found

    def fresh(self, name: str) -> Term:
        n = self.numbers[name] = self.numbers.get(name, 0) + 1
        return sy.var(f"{name}'" + (str(n) if n > 1 else ""))

    # --- statements ----------------------------------------------------------------------------

    def block(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            try:
                self.statement(statement)
            except Unreadable as error:
                raise (error if error.line else Unreadable(error.why, statement.lineno)) from None

    def statement(self, s: ast.stmt) -> None:
        match s:
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                pass
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                made = [self.value(v) for v in values]
                for t, v in zip(targets, made, strict=True):
                    self.assign(t, v, s.lineno)
            case ast.Assign(
                targets=[ast.Tuple(elts=[ast.Name(id=a), ast.Name(id=b)])], value=ast.Call() as c
            ):
                self.env[a], self.env[b] = self.pair(c)
            case ast.Assign(targets=[ast.Name() as target], value=value):
                self.assign(target, self.value(value), s.lineno)
            case ast.Assign(targets=[ast.Subscript() as target], value=value):
                self.store(target, self.scalar(value), False, s.lineno)
            case ast.AugAssign(target=ast.Subscript() as target, op=ast.Add(), value=value):
                self.store(target, self.scalar(value), True, s.lineno)
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                self.augment(name, op, value, s.lineno)
            case ast.For(
                target=ast.Name(id=name), iter=ast.Call(func=ast.Name(id="range"), args=args), orelse=[]
            ):
                self.loop(name, args, s)
            case ast.If(test=test, body=body, orelse=orelse):
                self.branch(test, body, orelse, s.lineno)
            case _:
                raise Unreadable(f"`{ast.unparse(s).splitlines()[0]}`", s.lineno)

    def pair(self, node: ast.Call) -> tuple[Any, Any]:
        match node:
            case ast.Call(func=ast.Name(id="share"), args=[count, ast.Name(id="task"), ast.Name(id="tasks")]):
                parts = _factors(count)
                share = Share(tuple(self.integer(p) for p in parts), tuple(map(ast.unparse, parts)))
                return End(share, 0), End(share, 1)
            case ast.Call(func=ast.Name(id="residue"), args=[s, d, m]):
                a, b, c = self.integer(s), self.integer(d), self.integer(m)
                self.found.divisors.append((self.path, a, node.lineno))
                return sy.residue(0, a, b, c), sy.residue(1, a, b, c)
        raise Unreadable(f"`{ast.unparse(node)}`", node.lineno)

    def assign(self, target: ast.expr, value: Any, line: int) -> None:
        if not isinstance(target, ast.Name):
            raise Unreadable(f"`{ast.unparse(target)}` is assigned to", line)
        held = self.env.get(target.id)
        if isinstance(held, Cell) and self.data is not None and binders(held.opened) != binders(self.path):
            held.parts.append(Part(self.path, self.data.with_(_scalar(value)), line))
            if isinstance(value, (int, Term)):
                held.parts[-1] = Part(self.path, replace(held.parts[-1].scalar, value=value), line)
        elif self.data is not None:
            self.env[target.id] = self.data.with_(_scalar(value), _scalar(held))
        else:
            self.env[target.id] = value

    data: Scalar | None = None  # what a condition on data has read, within what depends on it

    def augment(self, name: str, op: ast.operator, value: ast.expr, line: int) -> None:
        held = self.env.get(name)
        if isinstance(held, Cell):
            if not isinstance(op, (ast.Add, ast.Mult)):
                raise Unreadable(f"an accumulator `{name}` that is neither added to nor multiplied", line)
            held.parts.append(Part(self.path, self.scalar(value), line))
        elif isinstance(held, (int, Term)):
            self.env[name] = _operated(op, held, self.integer(value), line)
        elif isinstance(held, Scalar):
            self.env[name] = held.with_(self.scalar(value))
        else:
            raise Unreadable(f"`{name}` changes from turn to turn", line)

    def loop(self, name: str, args: Sequence[ast.expr], s: ast.For) -> None:
        outer_path, before = self.path, dict(self.env)
        ends = [self.env.get(a.id) if isinstance(a, ast.Name) else None for a in args]
        if len(ends) == 2 and isinstance(ends[0], End) and isinstance(ends[1], End):
            if ends[0].share is not ends[1].share or (ends[0].which, ends[1].which) != (0, 1):
                raise Unreadable("a shared loop that does not run from its first to its last", s.lineno)
            if binders(self.path):
                raise Unreadable("a shared loop within another loop", s.lineno)
            factors = ends[0].share.factors
            texts = [name] if len(factors) == 1 else [f"{name}.{k}" for k in range(len(factors))]
            digits = [self.fresh(t) for t in texts]
            made = [Binder(v, 0, f, 1, s.lineno, True) for v, f in zip(digits, factors, strict=True)]
            value: Any = digits[0] if len(factors) == 1 else Item(tuple(digits), factors)
        else:
            low, high, step = (
                (0, self.integer(args[0]), 1)
                if len(args) == 1
                else (*map(self.integer, args[:2]), self.integer(args[2]) if len(args) == 3 else 1)
            )
            variable = self.fresh(name)
            made, value = [Binder(variable, low, high, step, s.lineno)], variable
        inside = set(_assigned(s.body))
        for n in inside & before.keys():
            held = before[n]
            if isinstance(held, (Scalar, int, Term)) and not isinstance(held, Cell):
                before[n] = Cell(outer_path, _scalar(held))
                self.env[n] = before[n]
            elif not isinstance(held, Cell):
                self.env[n] = LOST
        self.env[name] = value
        self.path = (*outer_path, *made)
        self.block(s.body)
        self.path = outer_path
        after = self.env
        self.env = {
            n: v if n not in inside or (isinstance(v, Cell) and after.get(n) is v) else LOST
            for n, v in before.items()
        }
        self.env[name] = LOST

    def branch(self, test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt], line: int) -> None:
        try:
            holds: Formula | Scalar = self.truth(test)
        except Unreadable:
            holds = self.scalar(test)
        if isinstance(holds, Scalar):
            outer, self.data = self.data, holds if self.data is None else self.data.with_(holds)
            for s in (*body, *orelse):
                if not isinstance(s, (ast.Assign, ast.AugAssign)):
                    raise Unreadable(f"`{ast.unparse(s).splitlines()[0]}` where data decide", s.lineno)
            self.block(body)
            self.block(orelse)
            self.data = outer
            return
        for name in set(_assigned([*body, *orelse])):
            if isinstance(held := self.env.get(name), Scalar):
                self.env[name] = Cell(self.path, held)  # what is added under a guard is added there only
        path, before = self.path, dict(self.env)
        self.path = (*path, Guard(holds, line))
        self.block(body)
        yes, self.env = self.env, dict(before)
        self.path = (*path, Guard(sy.negated(holds), line))
        self.block(orelse)
        no, self.path = self.env, path
        self.env = {n: _joined(holds, yes.get(n, LOST), no.get(n, LOST)) for n in yes.keys() | no.keys()}

    def store(self, target: ast.Subscript, value: Scalar, adds: bool, line: int) -> None:
        view = self.env.get(target.value.id) if isinstance(target.value, ast.Name) else None
        if not isinstance(view, View):
            raise Unreadable(f"`{ast.unparse(target)}` is written", line)
        if self.data is not None:
            raise Unreadable("a store that depends on data", line)
        at = self.place(target)
        order = len(self.found.writes)
        self.found.writes.append(Write(view.tensor, view.place(at), self.path, value, adds, line, order))

    # --- expressions ---------------------------------------------------------------------------

    def place(self, node: ast.Subscript) -> tuple[Formula, ...]:
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return tuple(self.integer(p) for p in parts)

    def integer(self, node: ast.expr) -> Formula:
        return integer(self.resolved(node), self.env)

    def truth(self, node: ast.expr) -> Formula:
        return truth(self.resolved(node), self.env)

    def resolved(self, node: ast.expr) -> ast.expr:
        """The same with what only a task has (digits of a shared number, integer reads) as names; notes divisors."""
        made = _Resolve(self).visit(_copied(node))
        assert isinstance(made, ast.expr)
        return made

    def value(self, node: ast.expr) -> Any:
        """An integer where it is one, else what a scalar was made of."""
        match node:
            case ast.Name(id=name) if isinstance(self.env.get(name), (View, End, Share)):
                return self.env[name]
        try:
            return self.integer(node)
        except Unreadable:
            return self.scalar(node)

    def element(self, node: ast.Subscript) -> Read:
        view = self.env.get(node.value.id) if isinstance(node.value, ast.Name) else None
        if not isinstance(view, View):
            raise Unreadable(f"`{ast.unparse(node)}`", node.lineno)
        made = Read(view.tensor, view.place(self.place(node)), self.path, node.lineno)
        if made not in self.found.reads:
            self.found.reads.append(made)
        return made

    def scalar(self, node: ast.expr) -> Scalar:
        match node:
            case ast.Constant():
                return Scalar()
            case ast.Name(id=name):
                held = self.env.get(name, LOST)
                if isinstance(held, Lost) or not isinstance(held, (Scalar, Cell, int, Term)):
                    raise Unreadable(f"`{name}` has no value that is known here", node.lineno)
                return _scalar(held)
            case ast.Subscript():
                return Scalar((self.element(node),))
            case ast.UnaryOp(operand=a):
                return self.scalar(a)
            case ast.BinOp(left=a, right=b):
                return self.scalar(a).with_(self.scalar(b))
            case ast.BoolOp(values=parts):
                return Scalar().with_(*map(self.scalar, parts))
            case ast.Compare(left=a, comparators=parts):
                return self.scalar(a).with_(*map(self.scalar, parts))
            case ast.IfExp(test=test, body=a, orelse=b):
                return self.scalar(test).with_(self.scalar(a), self.scalar(b))
            case ast.Call(
                func=ast.Name(id="real"), args=[ast.Call(func=ast.Name(id="max"), args=[zero, many])]
            ) if isinstance(zero, ast.Constant) and zero.value == 0:
                self.found.counts += 1
                return Scalar(count=self.range_of(many))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if (
                name in FUNCTIONS or name in self.source.functions
            ):
                return Scalar().with_(*map(self.scalar, args))
        raise Unreadable(f"`{ast.unparse(node)}`", node.lineno)

    def range_of(self, many: ast.expr) -> tuple[Formula, Formula]:
        """A count, high - low, as the range that it is long."""
        if isinstance(many, ast.BinOp) and isinstance(many.op, ast.Sub) and not self.whole_counts:
            return self.integer(many.right), self.integer(many.left)
        return 0, self.integer(many)


def _copied(node: ast.expr) -> ast.expr:
    made = ast.parse(ast.unparse(node), mode="eval").body
    for n in ast.walk(made):
        if hasattr(n, "lineno"):
            n.lineno = node.lineno
    return made


def _factors(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return [*_factors(node.left), *_factors(node.right)]
    return [node]


def _scalar(value: Any) -> Scalar:
    if isinstance(value, Scalar):
        return value
    if isinstance(value, Cell):
        return Scalar(cells=(value,))
    if isinstance(value, (int, Term)):
        return Scalar(value=value)
    raise Unreadable("a value of no kind that is known here")


def _joined(test: Formula, yes: Any, no: Any) -> Any:
    """A name after a branch."""
    if yes is no or (isinstance(yes, (int, Term)) and yes == no):
        return yes
    if isinstance(yes, (int, Term)) and isinstance(no, (int, Term)):
        return sy.ite(test, yes, no)
    if isinstance(yes, (Scalar, Cell, int, Term)) and isinstance(no, (Scalar, Cell, int, Term)):
        return _scalar(yes).with_(_scalar(no))
    return LOST


class _Resolve(ast.NodeTransformer):
    """Digits of a shared number, and integer reads, each by a name of its own in the reader's environment."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def named(self, value: Any, node: ast.expr) -> ast.expr:
        name = f" {len(self.reader.env)}"
        self.reader.env[name] = value
        return ast.copy_location(ast.Name(name, ast.Load()), node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        view = self.reader.env.get(node.value.id) if isinstance(node.value, ast.Name) else None
        if not (isinstance(view, View) and view.integer):
            return node
        found = self.reader.element(node)
        return self.named(sy.read(found.tensor, found.at), node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        left = self.visit(node.left)
        held = self.reader.env.get(left.id) if isinstance(left, ast.Name) else None
        if isinstance(held, Item) and isinstance(node.op, (ast.FloorDiv, ast.Mod)):
            return self.named(self.digits(held, node), node)
        right = self.visit(node.right)
        if isinstance(node.op, (ast.FloorDiv, ast.Mod)):
            divisor = integer(right, self.reader.env)
            if not isinstance(divisor, int) or divisor == 0:
                self.reader.found.divisors.append((self.reader.path, divisor, node.lineno))
        return ast.copy_location(ast.BinOp(left, node.op, right), node)

    def digits(self, item: Item, node: ast.BinOp) -> Item | Term:
        """item // (b * c) is what stands before these digits, % b the last of what is left."""
        factors = tuple(self.reader.integer(p) for p in _factors(node.right))
        if item.factors[len(item.factors) - len(factors) :] != factors or len(factors) > len(item.factors):
            raise Unreadable(f"`{ast.unparse(node)}` is not digits of what tasks share", node.lineno)
        if isinstance(node.op, ast.Mod):
            kept = item.digits[len(item.digits) - len(factors) :]
            if len(kept) != 1:
                raise Unreadable("several digits at once", node.lineno)
            return kept[0]
        if len(factors) == len(item.factors):
            raise Unreadable("a number divided by all that it is shared by", node.lineno)
        digits, left = item.digits[: -len(factors)], item.factors[: -len(factors)]
        return digits[0] if len(digits) == 1 else Item(digits, left)
