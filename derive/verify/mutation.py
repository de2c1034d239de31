"""How much the checks see: faults put into a generated module one at a time, and what becomes of each.

    killed        some drawn configuration gives another result than the equations do, or breaks a rule of the exact run
                  (an access outside, a read of what nobody wrote, two tasks at one element), or does not end
    equal         the same kernel in other words, as far as runs tell that the tests do not make: larger extents, other
                  tiles, other widths of vectors, on whole numbers of forty bits
    other choice  it changes which of several tasks runs, or how much room one takes; the same results on those runs
    survived      anything else, with the reason: no run executes it, or larger runs do tell it from the original

The score is what was killed of what is not the same: killed / (killed + survived).

Runs are those of the check `every_way`, as many as a generated test makes of each task, kept with the truth of each, so
that a mutant costs its own runs alone. Each is tried on those that execute a line of it.
"""

from __future__ import annotations

import ast
import signal
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from random import Random
from types import CodeType
from typing import TYPE_CHECKING, Any

from derive.errors import VerificationError
from derive.language import Operator
from derive.verify.checks import CHECKS, COMPILED, compare_exactly
from derive.verify.mutants import DEFINITION, Mutant, mutants
from derive.verify.running import Arrays
from derive.verify.suite import BRIEF, hold
from derive.verify.ways import THOROUGH, Draw, file_of, larger, often, tasks_of, ways

if TYPE_CHECKING:
    from kernels.runtime import Definition

# seconds of the processor, at least, that each run may take, and so many times what it took before
PATIENCE = 3.0
SLOWER = 30
CASES = 3  # of the check `every_way`, as many as a generated test tries
BEYOND = 6  # larger runs that execute a mutant before it counts as the same
ATTEMPTS = 200  # at most, to find one more of them
FATES = ("killed", "equal", "other choice", "survived")
ROLES = ("computing", "binding", "choosing", "room")


# ---- draws ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """An exact run, and what it has to give."""

    draw: Draw
    expected: Arrays
    seconds: float = 0.0

    def again(self, definition: Any) -> None:
        """Raise whatever another definition of the operator gives reason to."""
        compare_exactly(self.draw.setting, self.draw.program, self.draw.found(definition), self.expected)

    def executes(self, mutant: Mutant) -> bool:
        """Does it come to the lines that the mutant changes? What binds is everywhere."""
        return mutant.role == "binding" or not self.draw.lines.isdisjoint(mutant.lines)


def runs(
    operator: Operator,
    definition: Definition,
    cases: int = CASES,
    only: Collection[str] | None = None,
    seed: int = 0,
) -> list[Run]:
    """As many of each task as the generated tests make, cheap ones first."""
    made, start = list[Run](), time.process_time()
    for draw, expected, _ in ways(
        operator, definition, Random(seed), cases * often(definition), only, reach=THOROUGH
    ):
        made.append(Run(draw, expected, time.process_time() - start))
        start = time.process_time()
    return sorted(made, key=lambda run: run.seconds)


@dataclass
class Larger:
    """Runs beyond those that the tests draw, made when somebody asks for them."""

    operator: Operator
    definition: Definition
    random: Random
    made: list[Run] = field(default_factory=list)
    given_up: set[int] = field(default_factory=set)  # lines that no more of them seem to execute

    @cached_property
    def aimed(self) -> Any:
        return larger(self.operator, self.definition, self.random)

    def of(self, mutant: Mutant, tasks: Collection[str], known: Sequence[Draw]) -> Iterator[Run]:
        """Some that execute the mutant, if they can be found; tasks that may; draws that do."""
        count = 0
        for run in self.made:
            if count < BEYOND and run.executes(mutant):
                count += 1
                yield run
        if not tasks or self.given_up.issuperset(mutant.lines):
            return
        start, missed = time.process_time(), 0
        for found in self.aimed(mutant.lines if mutant.role != "binding" else (), tasks, known):
            if count >= BEYOND:
                return
            missed += 1
            if found is not None:
                run = Run(found[0], found[1], time.process_time() - start)
                start = time.process_time()
                if run.executes(mutant):
                    self.made.append(run)
                    count, missed = count + 1, 0
                    yield run
            if missed >= ATTEMPTS:
                self.given_up.update(mutant.lines)
                return


# ---- judging -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fate:
    """What became of one mutant, and why."""

    mutant: Mutant
    kind: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.mutant}\n    {self.kind}: {self.why}" if self.why else str(self.mutant)


@dataclass
class Verdict:
    """What became of the mutants of one operator."""

    operator: str
    counts: dict[str, dict[str, int]] = field(
        default_factory=lambda: {role: dict.fromkeys(FATES, 0) for role in ROLES}
    )
    shown: list[tuple[str, str, str]] = field(
        default_factory=list
    )  # role, fate and text of all but the killed
    runs: int = 0
    seconds: float = 0.0

    def add(self, fate: Fate) -> None:
        self.counts[fate.mutant.role][fate.kind] += 1
        if fate.kind != "killed":
            self.shown.append((fate.mutant.role, fate.kind, str(fate)))

    def count(self, kind: str, *roles: str) -> int:
        return sum(self.counts[role][kind] for role in roles or ROLES)

    def score(self, *roles: str) -> float:
        """The part that was killed of those that are not the same kernel; 1 if there is none."""
        return score([self], *roles)

    def survivors(self, *roles: str) -> list[str]:
        return [text for role, kind, text in self.shown if kind == "survived" and role in (roles or ROLES)]


def score(verdicts: Iterable[Verdict], *roles: str) -> float:
    """Of several operators together."""
    verdicts = list(verdicts)
    killed = sum(v.count("killed", *roles) for v in verdicts)
    survived = sum(v.count("survived", *roles) for v in verdicts)
    return killed / (killed + survived) if killed + survived else 1.0


def table(verdicts: Sequence[Verdict]) -> str:
    """A line for each operator: how many mutants met which fate, in all roles."""
    rows = [(v.operator, [v]) for v in verdicts]
    if len(verdicts) > 1:
        rows.append(("together", list(verdicts)))
    lines = [["operator", "mutants", *FATES, "score", "runs", "seconds"]]
    for name, some in rows:
        counts = [sum(v.count(kind) for v in some) for kind in FATES]
        seconds, share = sum(v.seconds for v in some), f"{100 * score(some):.1f} %"
        numbers = (sum(counts), *counts, share, sum(v.runs for v in some), round(seconds))
        lines.append([name, *map(str, numbers)])
    return columns(lines)


def columns(lines: Sequence[Sequence[str]]) -> str:
    """Words to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    )


class Endless(BaseException):
    """A run that was stopped: no `except Exception` of what runs may take it."""


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Stops what takes longer, of this process alone. (In the main thread, on POSIX; elsewhere there is no limit.)"""

    def stop(*_: object) -> None:
        raise Endless

    try:
        before = signal.signal(signal.SIGPROF, stop)
    except (AttributeError, ValueError):
        yield
        return
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@dataclass
class Module:
    """A generated module whose mutants are judged."""

    operator: Operator
    definition: Definition

    @cached_property
    def file(self) -> str:
        return file_of(self.definition)

    @cached_property
    def text(self) -> str:
        return Path(self.file).read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.file)

    @property
    def name(self) -> str:
        return str(self.definition.sizes.__module__)

    def code(self, mutant: Mutant | None = None) -> CodeType:
        if mutant is None:
            return compile(self.tree, self.file, "exec")
        with mutant.made():
            return compile(self.tree, self.file, "exec")

    def mutants(self, sample: int | None = None, seed: int = 0) -> list[Mutant]:
        """Every one, or so many of them."""
        every = list(mutants(self.tree))
        if sample is None or sample >= len(every):
            return every
        return sorted(Random(seed).sample(every, sample), key=lambda m: m.line)

    @cached_property
    def uses(self) -> dict[str, frozenset[str]]:
        """What each function of the module names, and what that names."""
        names = {
            node.name: {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            for node in self.tree.body
            if isinstance(node, ast.FunctionDef)
        }
        made = dict[str, frozenset[str]]()
        for name in names:
            found, left = {name}, [name]
            while left:
                more = names.get(left.pop(), set()) - found
                found |= more
                left += more
            made[name] = frozenset(found)
        return made

    @cached_property
    def kernels(self) -> dict[str, set[str]]:
        """The tasks of each kernel that the module names, its own and other modules'."""
        programs = self.definition.programs.values()
        return {
            p.kernel.name: {t.name for t in p.kernel.tasks} for program in programs for p in program.every
        }

    def tasks(self, mutant: Mutant) -> set[str]:
        """Those that may come to it."""
        every = set[str]().union(*tasks_of(self.definition).values())
        if mutant.place.kernel in self.kernels:
            return self.kernels[mutant.place.kernel]
        if mutant.function not in self.uses:
            return every
        if mutant.role == "binding":
            return every
        if mutant.role == "choosing":  # whatever a choice that asks it may come to
            above = [used for used in self.uses.values() if mutant.function in used]
            return set[str]().union(*above) & every
        return {task for task in every if mutant.function in self.uses.get(task, ())}


def judge(
    operator: Operator,
    definition: Definition,
    *,
    sample: int | None = None,
    seed: int = 0,
) -> Verdict:
    """Every mutant of a generated module, or a sample of so many, tried on draws that execute it.

    Raises VerificationError if the module dies as it is: then a death would say nothing of a fault.
    """
    start = time.process_time()
    module = Module(operator, definition)
    chosen = module.mutants(sample, seed)
    aimed = [module.tasks(m) for m in chosen if m.role != "binding"]
    some = None if sample is None else set[str]().union(*aimed)
    known = runs(operator, definition, only=some)
    if some is not None and any(m.role == "binding" for m in chosen):  # every phase once
        known += [Run(draw, truth) for draw, truth, _ in ways(operator, definition, Random(seed), 1)]
    if dies(module.code(), module.name, known, True):
        raise VerificationError(f"{operator.name}: its runs object to the module without a fault")
    beyond = Larger(operator, definition, Random(seed))
    verdict = Verdict(operator.name)
    for mutant in chosen:
        verdict.add(_fate(module, mutant, known, beyond))
    verdict.runs = len(known) + len(beyond.made)
    verdict.seconds = time.process_time() - start
    return verdict


def judge_as_shipped(
    operator: Operator, definition: Definition, *, core: bool, sample: int | None = None, seed: int = 0
) -> Verdict:
    """The same for the generated test as it runs by default, but for what it compiles; `core` as it is told.

    What it does not see is the same kernel or has survived, as larger runs say.
    """
    start = time.process_time()
    module = Module(operator, definition)
    made = [(c, CORE_CASES) for c in CHECKS if c not in COMPILED] if core else [*BRIEF.items()]
    beyond, verdict = Larger(operator, definition, Random(seed)), Verdict(operator.name)
    took = {}
    for check, cases in made:
        before = time.process_time()
        if _objects(module.code(), module.name, operator, check, cases, 60.0):
            raise VerificationError(f"{operator.name}: {check} objects to the module without a fault")
        took[check] = time.process_time() - before
    for mutant in module.mutants(sample, seed):
        code = module.code(mutant)
        if any(_objects(code, module.name, operator, *check, took[check[0]]) for check in made):
            verdict.add(Fate(mutant, "killed"))
        else:
            unseen = Fate(mutant, "survived", "the shipped test does not tell it; no larger run executes it")
            verdict.add(_beyond(module, mutant, code, beyond, ()) or unseen)
    verdict.runs, verdict.seconds = len(beyond.made), time.process_time() - start
    return verdict


CORE_CASES = 5  # of every check but those that make many runs


def _objects(code: CodeType, name: str, operator: Operator, check: str, cases: int, seconds: float) -> bool:
    """Does a check of the generated test, or is the module none?"""
    names: dict[str, Any] = {"__name__": name}
    try:
        with patience(PATIENCE + SLOWER * seconds):
            exec(code, names)
            hold(check, operator, names[DEFINITION], cases, shrink=False)
    except (Exception, Endless):
        return True
    return False


def _fate(module: Module, mutant: Mutant, known: Sequence[Run], beyond: Larger) -> Fate:
    code = module.code(mutant)
    reaching = [run for run in known if run.executes(mutant)]
    if dies(code, module.name, _spread(reaching), mutant.function == "sizes"):
        return Fate(mutant, "killed")
    fate = _beyond(module, mutant, code, beyond, [run.draw for run in reaching])
    if fate is None:
        return Fate(mutant, "survived", "no larger run executes it" if reaching else "no run executes it")
    if fate.kind == "survived" and not reaching:
        return replace(fate, why=f"no run of the tests executes it; {fate.why}")
    return fate


def _beyond(
    module: Module, mutant: Mutant, code: CodeType, beyond: Larger, known: Sequence[Draw]
) -> Fate | None:
    """What larger runs say of a mutant that the tests let pass; None if none executes it."""
    same = 0
    for run in beyond.of(mutant, module.tasks(mutant), known):
        if dies(code, module.name, [run], mutant.function == "sizes"):
            where = f"{run.draw.program}, {run.draw.setting.configuration}"
            return Fate(mutant, "survived", f"a larger run tells it: {where}")
        same += 1
    if not same:
        return None
    if mutant.role in ("choosing", "room"):
        return Fate(mutant, "other choice", f"the same results on {same} larger runs")
    return Fate(mutant, "equal", f"on {same} larger runs")


def dies(code: CodeType, name: str, reaching: Iterable[Run], resized: bool = False) -> bool:
    """Does one of the runs object, or does the module not even load?"""
    names: dict[str, Any] = {"__name__": name}
    try:
        with patience(PATIENCE):
            exec(code, names)
        for run in reaching:
            with patience(max(PATIENCE, SLOWER * run.seconds)):
                if resized:
                    _same_sizes(run, names[DEFINITION])
                run.again(names[DEFINITION])
    except (Exception, Endless):
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


__all__ = [
    "FATES",
    "ROLES",
    "Fate",
    "Module",
    "Run",
    "Verdict",
    "judge",
    "judge_as_shipped",
    "runs",
    "score",
    "table",
]
