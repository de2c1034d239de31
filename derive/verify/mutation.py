"""How much the checks see: faults put into a generated module one at a time, and which of them an exact run tells.

A mutant is the module with one change: another operation, a constant off by one, a comparison that lets one more
through, axes exchanged, a statement or a phase left out, a sum that starts from one. It is *killed* if some drawn
configuration gives another result than the equations do, or breaks a rule of the exact run (an access outside, a read
of what nobody wrote, two tasks at one element), or does not end. What is not killed has *survived*: some of these
are the same kernel in other words (a mask where nothing is masked, one block instead of two), and are not told apart
from the others here. Changes to what chooses among ways, or says how much room they take, are counted apart: most of
them are another choice of two ways that both work, or a larger room.

Runs are those of the check `every_way`, as many as a generated test makes of each task, kept with the truth of each, so
that a mutant costs its own runs alone. Each is tried on those that reach the function that it is in.
"""

from __future__ import annotations

import ast
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from derive.errors import VerificationError
from derive.language import Operator
from derive.verify.checks import compare_exactly
from derive.verify.running import Arrays
from derive.verify.ways import Draw, often, ways

if TYPE_CHECKING:
    from kernels.runtime import Definition

PATIENCE = 10.0  # seconds, at least, that each run may take, and so many times what it takes without a fault
SLOWER = 50
CASES = 3  # of the check `every_way`, as many as a generated test tries


# ---- mutants -------------------------------------------------------------------------------


@dataclass
class Mutant:
    """One change of a module's tree, made and taken back in place."""

    function: str
    role: str  # of the function: what computes, what chooses among ways or says how much room they take, what binds
    line: int
    kind: str
    before: str  # the statement as it is, and as it would be
    after: str
    make: Callable[[], None]
    undo: Callable[[], None]

    def __str__(self) -> str:
        return f"line {self.line}, {self.function}: {self.kind}\n    - {self.before}\n    + {self.after}"


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
    """Every change to the functions of a generated module and to its definition that changes its text."""
    for mutant in _mutants(tree):
        if mutant.before != mutant.after or "..." in mutant.before:
            yield mutant


def _mutants(tree: ast.Module) -> Iterator[Mutant]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            for statement in node.body:
                if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
                    yield from _of_statement((node.name, _role(node)), node.body, statement)
        elif isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == DEFINITION for t in node.targets
        ):
            yield from _of_definition(node)


def _role(function: ast.FunctionDef) -> str:
    """By its decorator: tasks and what they call compute; the rest is about which of them runs, and in what room."""
    names = {ast.unparse(d).partition("(")[0] for d in function.decorator_list}
    if function.name == "sizes":
        return "binding"
    return "computing" if names & {"task", "kernel"} else "choosing"


def _changed(
    place: tuple[str, str],
    statement: ast.stmt | ast.expr,
    kind: str,
    make: Callable[[], None],
    undo: Callable[[], None],
) -> Mutant:
    before = _short(statement)
    make()
    after = _short(statement)
    undo()
    return Mutant(*place, statement.lineno, kind, before, after, make, undo)


def _short(node: ast.AST) -> str:
    text = ast.unparse(node)
    lines = text.splitlines() or ["(nothing)"]
    return lines[0] + (" ..." if len(lines) > 1 else "")


def _set(node: Any, name: str, value: Any) -> tuple[Callable[[], None], Callable[[], None]]:
    old = getattr(node, name)
    return lambda: setattr(node, name, value), lambda: setattr(node, name, old)


def _put(items: list[Any], at: int, value: Any) -> tuple[Callable[[], None], Callable[[], None]]:
    old = items[at]
    return lambda: items.__setitem__(at, value), lambda: items.__setitem__(at, old)


def _of_statement(place: tuple[str, str], block: list[ast.stmt], statement: ast.stmt) -> Iterator[Mutant]:
    """Changes of one statement, then of what stands below it."""
    at = block.index(statement)
    nothing = ast.copy_location(ast.Pass(), statement)
    if isinstance(statement, (ast.AugAssign, ast.Assign, ast.Expr, ast.If)):
        make, undo = _put(block, at, nothing)
        before = _short(statement)
        yield Mutant(*place, statement.lineno, "left out", before, "pass", make, undo)
    if isinstance(statement, ast.If):
        flipped = ast.copy_location(ast.UnaryOp(ast.Not(), statement.test), statement.test)
        yield _changed(place, statement, "opposite", *_set(statement, "test", flipped))
    if isinstance(statement, ast.AugAssign) and type(statement.op) in OPERATIONS:
        yield _changed(
            place, statement, "operation", *_set(statement, "op", OPERATIONS[type(statement.op)]())
        )
    inner = [getattr(statement, name, []) for name in ("body", "orelse")]
    below = {id(child) for part in inner for child in part}
    for node in _within(statement, below):
        for kind, change in _of_expression(node):
            yield _changed(place, statement, kind, *change)
    for part in inner:
        for child in list(part):
            yield from _of_statement(place, part, child)


def _within(node: ast.AST, below: set[int]) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if id(child) not in below:
            yield child
            yield from _within(child, below)


Change = tuple[Callable[[], None], Callable[[], None]]


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
        case ast.Tuple(elts=elts, ctx=ast.Load()) | ast.List(elts=elts, ctx=ast.Load()):
            for k in range(len(elts) - 1):
                yield "axes", _swapped(elts, k)


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

                yield Mutant(
                    DEFINITION, "binding", phase.lineno, "phase left out", _short(phase), "", make, undo
                )
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Phase":
            for names in (a for a in node.args[1:] if isinstance(a, ast.Tuple)):
                for k in range(len(names.elts) - 1):
                    if ast.unparse(names.elts[k]) != ast.unparse(names.elts[k + 1]):
                        yield _changed((DEFINITION, "binding"), node, "bound names", *_swapped(names.elts, k))


# ---- draws ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """An exact run, and what it has to give."""

    draw: Draw
    expected: Arrays
    reached: frozenset[str]  # functions of the module that it runs
    seconds: float

    def again(self, definition: Any) -> None:
        """Raise whatever another definition of the operator gives reason to."""
        compare_exactly(self.draw.setting, self.draw.program, self.draw.found(definition), self.expected)


def runs(operator: Operator, definition: Definition, cases: int = CASES) -> list[Run]:
    """As many of each task as the generated tests make, cheap ones first."""
    made, random = list[Run](), Random(0)
    for draw, expected, _ in ways(operator, definition, random, cases * often(definition)):
        start = time.perf_counter()
        with _called(file_of(definition)) as reached:
            draw.found()
        made.append(Run(draw, expected, frozenset(reached), time.perf_counter() - start))
    return sorted(made, key=lambda run: run.seconds)


def file_of(definition: Definition) -> str:
    """Where the module of a definition is."""
    return str(definition.sizes.__code__.co_filename)


@contextmanager
def _called(file: str) -> Iterator[set[str]]:
    """The names of the functions of a file that run."""
    found = set[str]()
    known = dict[CodeType, bool]()

    def profile(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and known.setdefault(code, code.co_filename == file):
            found.add(code.co_name)

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        yield found
    finally:
        sys.setprofile(before)


ROLES = ("computing", "choosing", "binding")


# ---- judging -------------------------------------------------------------------------------


@dataclass
class Verdict:
    """What became of the mutants of one operator."""

    operator: str
    killed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ROLES, 0))
    survivors: dict[str, list[str]] = field(default_factory=lambda: {role: [] for role in ROLES})
    runs: int = 0
    seconds: float = 0.0

    def score(self, role: str) -> float:
        """The part that was killed of those in functions of a role."""
        return self.killed[role] / max(1, self.killed[role] + len(self.survivors[role]))

    def table(self) -> str:
        """A line for each role."""
        lines = [
            f"    {role:<10} {self.killed[role]:>5} of {self.killed[role] + len(self.survivors[role]):>5} killed"
            f"  {100 * self.score(role):5.1f} %"
            for role in ROLES
        ]
        return "\n".join([f"{self.operator}: {self.runs} runs, {self.seconds:.0f} s", *lines])


class _Endless(Exception):
    """A run that was stopped."""


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Stops what takes longer. (In the main thread, on POSIX; elsewhere there is no limit.)"""

    def stop(*_: object) -> None:
        raise _Endless

    try:
        before = signal.signal(signal.SIGALRM, stop)
    except (AttributeError, ValueError):
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def judge(
    operator: Operator,
    definition: Definition,
    *,
    sample: int | None = None,
    seed: int = 0,
) -> Verdict:
    """Every mutant of a generated module, or a sample of so many, tried on draws that reach it.

    Raises VerificationError if the module dies as it is: then a death would say nothing of a fault.
    """
    start = time.perf_counter()
    file = file_of(definition)
    tree = ast.parse(Path(file).read_text(encoding="utf-8"), file)
    chosen = list(mutants(tree))
    if sample is not None and sample < len(chosen):
        chosen = sorted(Random(seed).sample(chosen, sample), key=lambda m: m.line)
    known = runs(operator, definition)
    name = definition.sizes.__module__
    if dies(compile(tree, file, "exec"), name, known, True):
        raise VerificationError(f"{operator.name}: its runs object to the module without a fault")
    verdict = Verdict(operator.name, runs=len(known))
    for mutant in chosen:
        _try(mutant, tree, file, name, known, verdict)
    verdict.seconds = time.perf_counter() - start
    return verdict


def _try(
    mutant: Mutant, tree: ast.Module, file: str, name: str, known: Sequence[Run], verdict: Verdict
) -> None:
    everywhere = mutant.function in (DEFINITION, "sizes")
    reaching = [run for run in known if everywhere or mutant.function in run.reached]
    if not reaching:
        verdict.survivors[mutant.role].append(f"{mutant}\n    no run reaches it")
        return
    mutant.make()
    try:
        code = compile(tree, file, "exec")
    finally:
        mutant.undo()
    if dies(code, name, _spread(reaching), mutant.function == "sizes"):
        verdict.killed[mutant.role] += 1
    else:
        verdict.survivors[mutant.role].append(str(mutant))


def dies(code: CodeType, name: str, reaching: Iterable[Run], resized: bool = False) -> bool:
    """Does one of the runs object, or does the module not even load?"""
    names: dict[str, Any] = {"__name__": name}
    try:
        with _patience(PATIENCE):
            exec(code, names)
        for run in reaching:
            with _patience(max(PATIENCE, SLOWER * run.seconds)):
                if resized:
                    _same_sizes(run, names[DEFINITION])
                run.again(names[DEFINITION])
    except Exception:
        return True
    return False


def _same_sizes(run: Run, definition: Any) -> None:
    """The integers that follow, as they were: claimed shapes are counted by a check of their own."""
    environment = run.draw.setting.configuration.environment
    takes = definition.sizes.__code__.co_varnames[: definition.sizes.__code__.co_argcount]
    for key, value in definition.sizes(**{n: environment[n] for n in takes}).items():
        if environment[key] != value:
            raise VerificationError(f"{key} is {value}, not {environment[key]}")


def _spread(reaching: Sequence[Run]) -> Iterator[Run]:
    """Cheap ones of each program by turns, then dearer ones."""
    queues: dict[str, list[Run]] = {}
    for run in reaching:
        queues.setdefault(run.draw.program, []).append(run)
    while queues:
        for program in list(queues):
            yield queues[program].pop(0)
            if not queues[program]:
                del queues[program]


__all__ = ["Mutant", "Run", "Verdict", "judge", "mutants", "runs"]
