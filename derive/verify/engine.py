"""Faults put into the engine one at a time: does the module that it then emits still pass its checks?

The passes of `derive` are mutated as generated modules are (`derive.verify.mutants`). With each change the engine is
imported anew, a few small operators are derived again, and the first module whose text changes is held against its
exact checks.

    raised     a pass, or a check between passes, refuses what it is given
    killed     the emitted module fails
    unseen     the text of no module changes: these operators say nothing of the fault
    equal      another text, and the same results, also at larger extents and on other tiles: another lowering, other names
    survived   another text that passes the checks, and larger runs object to

Operators are derived each alone, and the ones that execute a changed line only.
"""

from __future__ import annotations

import ast
import linecache
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from random import Random
from types import CodeType, FrameType, ModuleType
from typing import Any

from derive.catalogue import SMALL, operators
from derive.errors import VerificationError
from derive.language import Operator
from derive.verify.mutants import Mutant, engine_mutants
from derive.verify.mutation import PATIENCE, SLOWER, Endless, Run, columns, dies, patience, runs
from derive.verify.suite import hold
from derive.verify.ways import larger, tasks_of

ROOT = Path(__file__).parents[1]
PASSES = (
    *(f"passes.{name}" for name in ("differentiate", "simplify", "stable", "products", "terms", "canonical")),
    *(
        f"lower.{name}"
        for name in (
            "solve",
            "plain",
            "loops",
            "lanes",
            "slide",
            "spread",
            "scatter",
            "contraction",
            "winograd",
        )
    ),
    *("translate", "ranges", "indexing", "outside"),
)
LINE = ("passes", "lower", "emit", "translate", "ranges", "indexing", "outside", "validate", "pipeline")
CHECKED = {
    "shape_law": 2,
    "each_line": 1,
}  # of the operators that it makes: few runs, which execute every line
FATES = ("raised", "killed", "unseen", "equal", "survived")
BEYOND = 8  # larger runs of a module that passes its checks
ATTEMPTS = 200  # at most, to find them


# ---- the engine, imported anew ---------------------------------------------------------------


def _ours(name: str) -> bool:
    return name.startswith("derive.") and name.split(".")[1] in LINE


@contextmanager
def anew(module: str = "", code: CodeType | None = None) -> Iterator[Callable[[Operator], str]]:
    """What derives an operator and writes its module, with other code in one module of the engine.

    Nobody else sees it: who has imported the engine keeps it.
    """
    kept = {name: m for name, m in sys.modules.items() if _ours(name)}
    for name in kept:
        del sys.modules[name]
    try:
        if code is not None:
            made = ModuleType(module)
            made.__file__ = code.co_filename
            sys.modules[module] = made
            exec(code, made.__dict__)
        derive = import_module("derive.pipeline").derive
        source = import_module("derive.emit.module").module_source
        yield lambda operator: source(derive(operator))
    finally:
        for name in [name for name in sys.modules if _ours(name)]:
            del sys.modules[name]
        sys.modules.update(kept)
        for name, m in kept.items():
            above, _, last = name.rpartition(".")
            setattr(sys.modules[above], last, m)


@contextmanager
def _executed() -> Iterator[set[tuple[str, int]]]:
    """The lines of the engine that run, by file."""
    found, here = set[tuple[str, int]](), str(ROOT)

    def local(frame: FrameType, event: str, _: object) -> Any:
        found.add((frame.f_code.co_filename, frame.f_lineno))
        return local

    def trace(frame: FrameType, event: str, _: object) -> Any:
        return local(frame, event, _) if frame.f_code.co_filename.startswith(here) else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield found
    finally:
        sys.settrace(before)


# ---- what the engine makes as it is ------------------------------------------------------------


@dataclass
class Sample:
    """An operator, the module that the engine makes of it, and what that takes."""

    operator: Operator
    text: str
    lines: frozenset[tuple[str, int]]
    seconds: float

    @cached_property
    def runs(self) -> list[Run]:
        return runs(self.operator, definition(self.operator, self.text), cases=1)


def samples(names: Sequence[str] = SMALL) -> list[Sample]:
    """Of these operators, those that are derived in no time first."""
    known, made = {o.name: o for o in operators()}, list[Sample]()
    for name in names:
        start = time.process_time()
        with _executed() as lines, anew() as emit:
            text = emit(known[name])
        made.append(Sample(known[name], text, frozenset(lines), time.process_time() - start))
    return sorted(made, key=lambda s: s.seconds)


def _code(operator: Operator, text: str) -> CodeType:
    return compile(text, f"<{operator.name}>", "exec")


def definition(operator: Operator, text: str) -> Any:
    """What a module of this text defines."""
    names: dict[str, Any] = {"__name__": operator.name}
    code = _code(operator, text)
    linecache.cache[code.co_filename] = len(text), None, text.splitlines(keepends=True), code.co_filename
    exec(code, names)
    return names["DEFINITION"]


# ---- judging -----------------------------------------------------------------------------------


@dataclass
class Verdict:
    """What became of the mutants of one module of the engine."""

    module: str
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FATES, 0))
    shown: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def caught(self) -> int:
        return self.counts["raised"] + self.counts["killed"]


def score(verdicts: Sequence[Verdict]) -> float:
    """Caught, of what is caught or survived; 1 if nothing is."""
    caught, survived = sum(v.caught for v in verdicts), sum(v.counts["survived"] for v in verdicts)
    return caught / (caught + survived) if caught + survived else 1.0


def table(verdicts: Sequence[Verdict]) -> str:
    """A line for each module."""
    rows = [(v.module, [v]) for v in verdicts] + [("together", list(verdicts))]
    lines = [["module", "mutants", *FATES, "score", "seconds"]]
    for name, some in rows:
        counts = [sum(v.counts[kind] for v in some) for kind in FATES]
        share, seconds = f"{100 * score(some):.1f} %", round(sum(v.seconds for v in some))
        lines.append([name, *map(str, (sum(counts), *counts, share, seconds))])
    return columns(lines)


@cache
def _known() -> tuple[Sample, ...]:
    return tuple(samples())


def judge_pass(
    name: str, *, sample: int | None = None, seed: int = 0, known: Sequence[Sample] | None = None
) -> Verdict:
    """Every mutant of a module of the engine (as in `PASSES`), or a sample of so many.

    known   what operators become without a fault (default: those of `SMALL`)
    """
    start = time.process_time()
    known = _known() if known is None else known
    file = str(ROOT / f"{name.replace('.', '/')}.py")
    tree = ast.parse(Path(file).read_text(encoding="utf-8"), file)
    chosen = list(engine_mutants(tree))
    if sample is not None and sample < len(chosen):
        chosen = sorted(Random(seed).sample(chosen, sample), key=lambda m: m.line)
    verdict = Verdict(name)
    for mutant in chosen:
        kind, why = _fate(name, file, tree, mutant, known)
        verdict.counts[kind] += 1
        if why:
            verdict.shown.append((kind, f"{mutant}\n    {kind}: {why}"))
    verdict.seconds = time.process_time() - start
    return verdict


def _fate(name: str, file: str, tree: ast.Module, mutant: Mutant, known: Sequence[Sample]) -> tuple[str, str]:
    lines = {(file, line) for line in mutant.lines}
    reaching = [s for s in known if s.lines & lines]
    if not reaching:
        return "unseen", "no operator of these comes to it"
    with mutant.made():
        code = compile(tree, file, "exec")
    changed = list[str]()
    with ExitStack() as stack:
        try:
            with patience(PATIENCE):
                emit = stack.enter_context(anew(f"derive.{name}", code))
        except (Exception, Endless):
            return "raised", ""
        for s in reaching:
            try:
                with patience(PATIENCE + SLOWER * s.seconds):
                    text = emit(s.operator)
            except (Exception, Endless):
                return "raised", ""
            if text == s.text:
                continue
            if _fails(s, text):
                return "killed", ""
            if why := _differs(s.operator, text):
                return "survived", f"{s.operator.name}: {why}"
            changed.append(s.operator.name)
    if changed:
        return "equal", f"other modules of {', '.join(changed)}, the same results"
    return "unseen", f"the modules of {', '.join(s.operator.name for s in reaching)} stay as they are"


def _fails(s: Sample, text: str) -> bool:
    """Does the emitted module fail on the runs of the one that it should be, or its own checks?"""
    code = _code(s.operator, text)
    if dies(code, s.operator.name, s.runs, True):
        return True
    try:
        made = definition(s.operator, text)
        for check, cases in CHECKED.items():
            with patience(10 * PATIENCE):
                hold(check, s.operator, made, cases, shrink=False)
    except (Exception, Endless):
        return True
    return False


def _differs(operator: Operator, text: str) -> str:
    """What a larger run objects to, or that there is none; nothing if all agree."""
    made = definition(operator, text)
    tasks = set[str]().union(*tasks_of(made).values())
    count = 0
    try:
        for attempt, found in enumerate(larger(operator, made, Random(0))((), tasks, ())):
            if count >= BEYOND or attempt >= ATTEMPTS:
                break
            if found is not None:
                draw, expected, _ = found
                Run(draw, expected).again(made)
                count += 1
    except (VerificationError, LookupError) as error:
        return str(error)
    return "" if count else "no larger run has a value"


__all__ = [
    "FATES",
    "PASSES",
    "Sample",
    "Verdict",
    "anew",
    "judge_pass",
    "samples",
    "score",
    "table",
]
