"""z3 on formulas of `derive.verify.symbolic`: a claim is proved where nothing satisfies its negation.

Queries are quantifier-free. What a claim does not need is left out (unsatisfiable without a premise is unsatisfiable with
it): of the premises those that have an unknown in common with the claim, then also those that have one in common with
these, and so on. That is what takes the axes of an operator apart: the bounds of one axis follow from its own stride and
dilation alone, whatever those of the others. Strides and dilations of what is left are numbers, every one up to
`LARGEST`; with numbers for them everything is linear. If it is not, an extent is multiplied or divided by: then z3 tries
so much work as `PATIENCE` says, and where it cannot tell, extents become numbers as well, and the claim is proved up to
them only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from typing import Any

from derive.verify import symbolic as sy
from derive.verify.loops import residue
from derive.verify.symbolic import Formula, Term

LARGEST = 8  # of strides and dilations
EXTENT = 4  # of extents, where they have to be numbers
PATIENCE = 1_000_000  # of z3's units of work, some seconds: the same on every machine
CASES = 5000  # numbers for strides, dilations and extents of one claim: more are not tried
SMALL = (3, 6, 12, 40)  # the sizes of numbers among which a counterexample is looked for first


@dataclass(frozen=True)
class Verdict:
    """`proved`; for extents up to `bounded` if that is not None; else a counterexample, or why it is not known."""

    proved: bool
    bounded: int | None = None
    model: Mapping[str, int] | None = None
    why: str = ""


@dataclass
class Solver:
    """What is known of unknowns.

    parameters   which are parameters, each with its least value; those that are at least 1 are strides and dilations
    extents      which are sizes: of arrays, of windows, of margins
    """

    parameters: Mapping[str, int | None]
    extents: frozenset[str]
    largest: int = LARGEST
    values: Sequence[int] | None = None  # of strides and dilations, in place of all up to the largest
    queries: int = 0
    proofs: dict[Any, Verdict] = field(default_factory=dict)  # of claims proved, whatever their letters

    # --- one claim -----------------------------------------------------------------------------

    def prove(self, premises: Sequence[Formula], claim: Formula) -> Verdict:
        """That the claim holds wherever the premises do, one conjunct after the other."""
        bounded: list[int] = []
        for part in sy.conjuncts(claim):
            verdict = self.part(premises, part)
            if not verdict.proved:
                return verdict
            bounded += [verdict.bounded] * (verdict.bounded is not None)  # type: ignore[list-item]
        return Verdict(True, max(bounded, default=None))

    def part(self, premises: Sequence[Formula], claim: Formula) -> Verdict:
        flat = [p for premise in premises for p in sy.conjuncts(premise)]
        if claim is True or False in flat or claim in flat:
            return Verdict(True)
        cones = list(self.cones(flat, claim))
        if not sy.names(claim) & self.steps:  # it may follow without any stride
            cones = [*self.cones([p for p in flat if not sy.names(p) & self.steps], claim), *cones]
        keys = [self.letterless(kept, claim) for kept in cones]
        if (known := next((self.proofs[k] for k in keys if k in self.proofs), None)) is not None:
            return known
        verdict = Verdict(False, why="")
        for linear in (True, False):
            for kept, key in zip(cones, keys, strict=True):
                if not linear and not self.curved(kept, claim) and kept is not cones[-1]:
                    continue
                verdict = self.cases(kept, claim, linear, kept is cones[-1])
                if verdict.proved:
                    self.proofs[key] = verdict
                    return verdict
        if verdict.model is not None:
            return self.confirmed(flat, claim, verdict)
        return verdict

    def curved(self, premises: Sequence[Formula], claim: Formula) -> bool:
        """Is anything left that is not linear, once strides and dilations are numbers?"""
        numbers = {n: max(2, self.parameters[n] or 0) for n in self.chosen(premises, claim)}
        return any(True for f in (claim, *premises) for _ in sy.nonlinear(settled(f, numbers)))

    def cones(self, premises: Sequence[Formula], claim: Formula) -> Iterator[list[Formula]]:
        """Premises that have to do with the claim: closely, then less so."""
        reached, kept = sy.names(claim), set[int]()
        while True:
            inner = (
                reached - self.parameters.keys() if kept else (reached - self.parameters.keys() or reached)
            )
            more = {
                k
                for k, p in enumerate(premises)
                if k not in kept and (sy.names(p) & inner or sy.names(p) <= reached)
            }
            if not more:
                break
            kept |= more
            reached |= sy.all_names(premises[k] for k in more)
            # what is known of the parameters that came with them
            kept |= {k for k, p in enumerate(premises) if sy.names(p) <= reached}
            yield [premises[k] for k in sorted(kept)]
        if not kept:
            yield []

    def letterless(self, premises: Iterable[Formula], claim: Formula) -> Any:
        table: dict[str, str] = {}
        kinds = []
        for f in (claim, *premises):
            for term in sy.walk(f):
                if term.op in ("var", "read") and (name := str(term.args[0])) not in table:
                    table[name] = f"{len(table)}"
                    kinds.append((self.parameters.get(name, ""), name in self.extents))
        return tuple(_renamed(f, table) for f in (claim, *premises)), tuple(kinds)

    # --- numbers for strides and dilations -------------------------------------------------------

    def cases(self, premises: Sequence[Formula], claim: Formula, linear: bool, last: bool) -> Verdict:
        """Every case of numbers for what stands where linear arithmetic needs a number.

        With many of them, what is needed for one case says which premises, and so which numbers, matter.
        """
        kept: Sequence[Formula] = premises
        if len(self.chosen(premises, claim)) > 2:
            core = self.core(premises, claim, {}, linear, last)
            if isinstance(core, Verdict):
                return core
            kept = [p for p in premises if p in core]
        bounded: int | None = None
        while True:
            chosen = self.chosen(kept, claim)
            spans = [self.span(name) for name in chosen]
            if math.prod(map(len, spans)) > CASES:
                return Verdict(False, why=f"too many cases: {', '.join(chosen)}")
            for values in product(*spans):
                numbers = dict(zip(chosen, values, strict=True))
                verdict = self.query(kept, claim, numbers, linear, last)
                if not verdict.proved:
                    break
                bounded = bounded if verdict.bounded is None else verdict.bounded
            else:
                return Verdict(True, bounded)
            if len(kept) == len(premises):
                return verdict
            core = self.core(premises, claim, numbers, linear, last)
            if isinstance(core, Verdict):
                return core
            more = [p for p in premises if p in core or p in kept]
            kept = premises if len(more) == len(kept) else more

    def core(
        self,
        premises: Sequence[Formula],
        claim: Formula,
        numbers: Mapping[str, int],
        linear: bool,
        last: bool,
    ) -> frozenset[Formula] | Verdict:
        """Premises from which the claim follows, at these numbers and some others."""
        import z3

        numbers = {n: numbers.get(n, self.span(n)[min(1 + k % 2, len(self.span(n)) - 1)])
                   for k, n in enumerate(self.chosen(premises, claim))}  # fmt: skip
        parts = {p: settled(p, numbers) for p in premises}
        negation = sy.negated(settled(claim, numbers))
        if negation is False:
            return frozenset()
        solver = z3.Solver()
        solver.set("rlimit", PATIENCE)
        solver.set("core.minimize", True)
        marks = {f"premise {k}": p for k, p in enumerate(parts)}
        for name, p in marks.items():
            solver.assert_and_track(translated(parts[p], linear), name)
        solver.add(translated(negation, linear))
        self.queries += 1
        if str(solver.check()) == "unsat":
            return frozenset(marks[str(m)] for m in solver.unsat_core())
        found = self.query(premises, claim, numbers, linear, last)
        return frozenset(premises) if found.proved else found

    def span(self, name: str) -> Sequence[int]:
        least = self.parameters[name] or 0
        if self.values is not None:
            return [v for v in self.values if v >= least]
        return range(least, max(least, self.largest) + 1)

    @property
    def steps(self) -> frozenset[str]:
        """Strides, dilations, factors."""
        return frozenset(n for n, least in self.parameters.items() if least is not None and least >= 1)

    def chosen(self, premises: Sequence[Formula], claim: Formula) -> list[str]:
        """The strides and dilations that become numbers: divisors, and what multiplies an unknown."""
        found: set[str] = set()
        for kind in ("//", "*"):
            for f in (claim, *premises):
                for what, parts in sy.nonlinear(f):
                    if what == kind and not (kind == "*" and any(sy.names(p) <= found for p in parts)):
                        inside = [sy.names(p) & self.steps for p in parts]
                        whole = [own for own, p in zip(inside, parts, strict=True) if own == sy.names(p)]
                        found |= frozenset().union(*(inside if kind == "//" else whole[:1]))
        return sorted(found)

    # --- one query -------------------------------------------------------------------------------

    def query(
        self,
        premises: Sequence[Formula],
        claim: Formula,
        numbers: Mapping[str, int],
        linear: bool,
        last: bool,
    ) -> Verdict:
        formulas = [settled(p, numbers) for p in premises]
        negation = sy.negated(settled(claim, numbers))
        if negation is False or False in formulas:
            return Verdict(True)
        answer, model = self.ask(formulas, negation, linear, last and not linear)
        if answer == "unsat":
            return Verdict(True)
        if linear or not last:
            return Verdict(False, why="z3 cannot tell")
        if answer == "sat":
            return Verdict(False, model={**model, **numbers})
        extents = sorted(
            {
                n
                for f in (negation, *formulas)
                for _, parts in sy.nonlinear(f)
                for p in parts
                for n in sy.names(p) & self.extents
            }
        )
        if not extents or (EXTENT + 1) ** len(extents) > CASES:
            return Verdict(False, why="z3 cannot tell")
        for values in product(range(EXTENT + 1), repeat=len(extents)):
            more = dict(zip(extents, values, strict=True))
            again = [settled(f, more) for f in formulas]
            answer, model = self.ask(again, settled(negation, more), False, True)
            if answer == "sat":
                return Verdict(False, model={**model, **numbers, **more})
            if answer != "unsat":
                return Verdict(False, why="z3 cannot tell, for extents that are numbers either")
        return Verdict(True, EXTENT)

    def ask(
        self, premises: Iterable[Formula], negation: Formula, linear: bool, model_wanted: bool
    ) -> tuple[str, dict[str, int]]:
        """z3's answer, and the smallest numbers that satisfy these.

        linear   what is not linear is some function of its operands: that is less, and often enough
        """
        import z3

        parts = [p for p in (*premises, negation) if p is not True]
        if False in parts:
            return "unsat", {}
        self.queries += 1
        solver = z3.Solver()
        solver.set("rlimit", PATIENCE)
        solver.add([translated(p, linear) for p in parts])
        answer = str(solver.check())
        if answer != "sat" or not model_wanted:
            return answer, {}
        reads = {str(t.args[0]) for p in parts for t in sy.walk(p) if t.op == "read"}
        unknowns = sorted(sy.all_names(parts) - reads)
        model = solver.model()
        for bound in SMALL:  # the smallest that there are
            solver.push()
            solver.add([z3.And(-bound <= z3.Int(n), z3.Int(n) <= bound) for n in unknowns])
            if str(solver.check()) == "sat":
                model = solver.model()
                break
            solver.pop()
        return "sat", {n: _value(model, n) for n in unknowns}

    def confirmed(self, premises: Sequence[Formula], claim: Formula, verdict: Verdict) -> Verdict:
        """The counterexample under all premises, with numbers for the parameters that it leaves open."""
        model = verdict.model or {}
        used = sy.all_names((*premises, claim)) & self.parameters.keys()
        numbers = {n: model[n] if n in model else max(1, self.parameters[n] or 0) for n in used}
        steps = set(self.chosen(premises, claim))
        numbers = {n: v for n, v in numbers.items() if n in steps}
        found = self.query(premises, claim, numbers, False, True)
        if found.proved:
            return Verdict(False, why="premises about several axes would be needed at once")
        return found


@lru_cache(maxsize=1 << 18)
def _settled(f: Formula, numbers: tuple[tuple[str, int], ...]) -> Formula:
    return sy.replaced(f, dict(numbers), residue)


def settled(f: Formula, numbers: Mapping[str, int]) -> Formula:
    """With numbers for some unknowns."""
    if isinstance(f, int):
        return f
    kept = tuple(sorted((n, v) for n, v in numbers.items() if n in sy.names(f)))
    return _settled(f, kept)


@lru_cache(maxsize=1 << 16)
def _renamed_key(f: Term, table: tuple[tuple[str, str], ...]) -> Formula:
    lookup = dict(table)
    made: dict[Formula, Formula] = {}
    for term in sy.walk(f):
        args = tuple(a if isinstance(a, (int, str)) else made[a] for a in term.args)
        if term.op in ("var", "read"):
            args = (lookup[str(term.args[0])], *args[1:])
        made[term] = Term(term.op, args)
    return made[f]


def _renamed(f: Formula, table: Mapping[str, str]) -> Formula:
    if isinstance(f, int):
        return f
    return _renamed_key(f, tuple((n, table[n]) for n in sorted(sy.names(f))))


def _value(model: Any, name: str) -> int:
    import z3

    return int(model.eval(z3.Int(name), model_completion=True).as_long())


@lru_cache(maxsize=1 << 18, typed=True)  # 1 is not True
def translated(f: Formula, linear: bool = False) -> Any:
    """A formula as z3's. Its integer division is floor division where the divisor is positive, as it is asked here.

    linear   what is not linear is some function of its operands
    """
    import z3

    if isinstance(f, bool):
        return z3.BoolVal(f)
    if isinstance(f, int):
        return z3.IntVal(f)
    if f.op == "var":
        return z3.Int(str(f.args[0]))
    if linear and f.op == "*" and not any(isinstance(a, int) for a in f.args):
        return z3.Sum([c * _product([translated(t, True) for t in m]) for m, c in sy.polynomial(f).items()])
    args = [translated(a, linear) for a in sy.operands(f)]
    match f.op:
        case "read":
            return _function(f"{f.args[0]}[]", *args) if args else z3.Int(f"{f.args[0]}[]")
        case "+":
            return args[0] + args[1]
        case "-":
            return args[0] - args[1]
        case "*":
            return args[0] * args[1]
        case "//" | "%":
            a, b = args
            made = a / b if f.op == "//" else a % b
            if isinstance(f.args[1], int):
                return made
            if linear:
                return _function(f.op, a, b)
            return z3.If(b > 0, made, _function(f"{f.op}negative", a, b))
        case "ite":
            return z3.If(*args)
        case "<":
            return args[0] < args[1]
        case "<=":
            return args[0] <= args[1]
        case "==":
            return args[0] == args[1]
        case "and":
            return z3.And(*args)
        case "or":
            return z3.Or(*args)
        case "not":
            return z3.Not(args[0])
    return _function(f"residue{f.args[0]}", *args[1:])  # of a stride that is no number


def _function(name: str, *args: Any) -> Any:
    import z3

    return z3.Function(name, *[z3.IntSort()] * len(args), z3.IntSort())(*args)


def _product(factors: Sequence[Any]) -> Any:
    if len(factors) < 2:
        return factors[0] if factors else 1
    return _function(f"product{len(factors)}", *factors)
