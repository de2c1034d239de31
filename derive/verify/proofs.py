"""Proofs for all sizes: the loops of an emitted task visit what its equation holds, inside every array, one task an element.

One side is read from the text of the generated module (`derive.verify.loops`), the other is the equation of the derived
program that the phase stands for; `derive.verify.solver` asks z3. For every phase, and every task that it may come to:

    nothing lost    every point of the relation is visited, and what is read and written there are the equation's elements
    nothing twice   two turns of the loops are two points
    nothing else    every visited point belongs to the relation
    in bounds       every read and write lies inside its tensor, and nothing is divided by zero
    own elements    two items that tasks share never write one element; an element is stored once
    every element   every element of the target is stored, or cleared before anything is added to it

Given are the sizes that the emitted `sizes` works out, the definition's conditions and the least values of parameters.
No quantifier occurs: an arbitrary point is unknown integers, and the turn that visits it is solved for, loop by loop.
A value that an integer tensor holds is any function of its place, so places that data decide are proved as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, islice, product

import sympy as sp

from derive.language import Operator
from derive.lower.loops import CeilDiv, FloorDiv
from derive.pipeline import Derivation, derive
from derive.pipeline import Phase as DerivedPhase
from derive.program import Access, Affine, Equation, accesses
from derive.verify import symbolic as sy
from derive.verify.loops import (
    Binder,
    Bound,
    Guard,
    Path,
    Read,
    Reader,
    Reading,
    Scalar,
    Source,
    Unreadable,
    Write,
    binders,
    bound,
    condition,
    parse,
    residue,
    shared,
    sizes,
    turns,
)
from derive.verify.solver import EXTENT, Solver, Verdict
from derive.verify.symbolic import Formula

MANY = 20_000  # turns that are counted to confirm a counterexample
KINDS = ("nothing lost", "nothing twice", "nothing else", "in bounds", "own elements", "every element")


# ---- the equation -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """An equation over the unknowns of one arbitrary point of its relation."""

    text: str
    target: tuple[str, tuple[str, ...]]
    indices: tuple[str, ...]
    sizes: Mapping[str, Formula]
    zero: tuple[Formula, ...]
    digits: tuple[tuple[tuple[str, Formula], ...], ...]  # of a mixed radix, for each of `zero`
    nonneg: tuple[Formula, ...]
    reads: tuple[tuple[str, tuple[str, ...]], ...]
    place: Formula | None

    @property
    def free(self) -> tuple[str, ...]:
        return self.target[1]

    def inside(self, indices: Iterable[str]) -> Formula:
        return sy.both(
            *(f for i in indices for f in (sy.at_most(0, sy.var(i)), sy.less(sy.var(i), self.sizes[i])))
        )

    @property
    def holds(self) -> Formula:
        """That the point belongs to the relation. V*u + v = r is said as u = r // V, v = r % V: as 0 <= v < V, the same."""
        return sy.both(
            self.inside(self.indices),
            *(
                f
                for z, digits in zip(self.zero, self.digits, strict=True)
                for f in ([sy.equals(sy.var(i), value) for i, value in digits] or [sy.equals(z, 0)])
            ),
            *(sy.at_most(0, p) for p in self.nonneg),
        )

    @property
    def premise(self) -> Formula:
        """The same where it is given: both ways to say it."""
        return sy.both(
            self.holds, *(sy.equals(z, 0) for z, d in zip(self.zero, self.digits, strict=True) if d)
        )


def mark(index: sp.Symbol) -> str:
    """The unknown of an index: no extent and no loop has such a name."""
    return f"{index.name}*"


def point(eq: Equation, known: Mapping[str, Formula]) -> Point:
    table = {i: sy.var(mark(i)) for i in eq.relation.indices}

    def side(form: Affine) -> Formula:
        made = formula(form.constant, known)
        for atom, c in form.terms:
            value: Formula = (
                sy.read(atom.tensor, tuple(table[i] for i in atom.indices))
                if isinstance(atom, Access)
                else table[atom]
            )
            made = sy.add(made, sy.mul(formula(c, known), value))
        return made

    return Point(
        str(eq),
        (eq.target.tensor, tuple(map(mark, eq.target.indices))),
        tuple(map(mark, eq.relation.indices)),
        {mark(r.index): formula(r.size, known) for r in eq.relation.ranges},
        (zero := tuple(map(side, eq.relation.zero))),
        tuple(radix(z, {mark(r.index): formula(r.size, known) for r in eq.relation.ranges}) for z in zero),
        tuple(map(side, eq.relation.nonneg)),
        tuple((a.tensor, tuple(map(mark, a.indices))) for a in accesses(eq.body)),
        None if eq.at is None else side(eq.at),
    )


def radix(z: Formula, size: Mapping[str, Formula]) -> tuple[tuple[str, Formula], ...]:
    """Of z = V*U*t + V*u + v - r, with 0 <= v < V and 0 <= u < U: what t, u, v are, as digits of r; else nothing."""
    best: tuple[tuple[str, Formula], ...] = ()
    inside = [i for i in size if i in sy.names(z)]
    steps = {i: sy.coefficient(z, i) for i in inside}
    for last in (i for i in inside if steps[i] in (1, -1)):
        sign, whole, chain = steps[last], 1, list[str]()
        while True:
            wanted = sy.mul(sign, whole)  # type: ignore[arg-type]
            found = [
                i
                for i in inside
                if i not in chain and steps[i] is not None and sy.same(steps[i], wanted)  # type: ignore[arg-type]
            ]
            if chain and isinstance(size[chain[-1]], int):
                break  # a number is no extent that was meant
            if not found:
                break
            chain.append(last if not chain else found[0])
            whole = sy.mul(whole, size[chain[-1]])  # type: ignore[assignment]
        if len(chain) < 2 or len(chain) <= len(best):
            continue
        rest = sy.replaced(z, dict.fromkeys(chain, 0))
        left = sy.sub(0, rest) if sign == 1 else rest
        digits = []
        for i in chain[:-1]:
            digits.append((i, sy.mod(left, size[i])))
            left = sy.div(left, size[i])
        best = (*digits, (chain[-1], left))
    return best


def formula(e: sp.Expr, known: Mapping[str, Formula]) -> Formula:
    """A formula of sizes and parameters."""
    if e.is_Integer:
        return int(e)
    if e.is_Symbol and e.name in known:
        return known[e.name]
    args = e.args
    if isinstance(e, (sp.Add, sp.Mul)):
        parts = [formula(a, known) for a in args]
        made = parts[0]
        for p in parts[1:]:
            made = sy.add(made, p) if isinstance(e, sp.Add) else sy.mul(made, p)
        return made
    if e.is_Pow and e.exp.is_Integer and e.exp > 0:
        return formula(sp.Mul(*[e.base] * int(e.exp), evaluate=False), known)
    if isinstance(e, (sp.floor, sp.ceiling)):
        top, bottom = sp.fraction(sp.together(args[0]))
        a, b = formula(sp.expand(top), known), formula(sp.expand(bottom), known)
        return sy.div(a, b) if isinstance(e, sp.floor) else sy.sub(0, sy.div(sy.sub(0, a), b))
    if isinstance(e, FloorDiv):
        return sy.div(formula(args[0], known), formula(args[1], known))
    if isinstance(e, CeilDiv):
        return sy.sub(0, sy.div(sy.sub(0, formula(args[0], known)), formula(args[1], known)))
    if isinstance(e, (sp.Max, sp.Min)):
        parts = [formula(a, known) for a in args]
        return sy.largest(*parts) if isinstance(e, sp.Max) else sy.smallest(*parts)
    raise Unreadable(f"{e} of the equation is no integer formula that is read here")


# ---- visits -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Visit:
    """Turns of loops at which the body is worked out: which index is what, and what else has to hold there."""

    path: Path
    at: Mapping[str, Formula]
    same: tuple[tuple[Formula, Formula], ...]  # where one index is read off twice
    line: int

    @property
    def runs(self) -> Formula:
        return condition(self.path)


def visits(equation: Point, reading: Reading) -> tuple[list[Visit], list[Old]]:
    """Every place of the task where the body is added, compared or stored; and where it adds what the target held."""
    name = equation.target[0]
    writes = [w for w in reading.writes if w.tensor == name]
    if not writes:
        raise Unreadable(f"nothing is written to {name}")
    adds = [w for w in writes if w.adds]
    found, olds = list[Visit](), list[Old]()
    for w in adds or writes:
        for path, scalar, line in _parts(w.scalar, w.path, w.line, name):
            own = [r for r in scalar.reads if r.tensor == name]
            same = [(a, b) for r in own for a, b in zip(r.at, w.at, strict=True)]
            if own:
                olds.append(Old(path, tuple(same), line))
            if not _old(scalar, name):
                reads = [r for r in scalar.reads if r.tensor != name]
                place = scalar.value if equation.place is not None else None
                found.append(_visit(equation, w, path, reads, place, line))
    return found, olds


@dataclass(frozen=True)
class Old:
    """Where what the target held is added: at the element that is then stored."""

    path: Path
    same: tuple[tuple[Formula, Formula], ...]
    line: int


def _old(scalar: Scalar, target: str) -> bool:
    return bool(scalar.reads) and all(r.tensor == target for r in scalar.reads)


def _parts(scalar: Scalar, path: Path, line: int, target: str) -> Iterator[tuple[Path, Scalar, int]]:
    """What an accumulator, stored at the end of a path, was made of: each part with the path to where it was added."""
    if not scalar.cells:
        yield _turned(path, scalar, line), scalar, line
        return
    held = binders(path)
    for cell in scalar.cells:
        if binders(cell.opened) != held:
            raise Unreadable("an accumulator is not opened where it is stored", line)
        guards = tuple(p for p in path if isinstance(p, Guard) and p not in cell.opened)
        made = [(p.path, p.scalar, p.line) for p in cell.parts]
        if cell.first.reads or cell.first.cells or all(_old(s, target) for _, s, _ in made):
            made = [*_parts(cell.first, cell.opened, line, target), *made]
        for where, part, at in made:
            if binders(where)[: len(held)] != held:
                raise Unreadable("an accumulator is added to elsewhere", at)
            if any(binders(c.opened) != held for c in part.cells):
                raise Unreadable("an accumulator within an accumulator", at)
            where = _turned(where, part, at)
            if not _old(part, target):
                part = replace(part, reads=(*part.reads, *scalar.reads))
            yield (*where, *guards), part, at


def _turned(path: Path, scalar: Scalar, line: int) -> Path:
    """A count as the loop that it stands for."""
    return path if scalar.count is None else (*path, Binder(sy.var("turn'"), *scalar.count, 1, line))


def _visit(
    equation: Point,
    write: Write,
    path: Path,
    reads: Sequence[Read],
    place: Formula | None,
    line: int,
) -> Visit:
    at: dict[str, Formula] = {}
    pairs: list[tuple[Formula, Formula]] = []
    _tie(at, pairs, equation.free, write.at)
    options = [[r for r in reads if r.tensor == tensor] for tensor, _ in equation.reads]
    for (tensor, _), some in zip(equation.reads, options, strict=True):
        if not some:
            raise Unreadable(f"{tensor} is not read", line)
    if more := {r.tensor for r in reads} - {t for t, _ in equation.reads}:
        raise Unreadable(f"{', '.join(sorted(more))} is read, and the equation does not", line)
    matched = [_matched(equation, at, pairs, reads, chosen, path) for chosen in product(*options)]
    _, at, pairs, unseen = min(matched, key=lambda m: m[0])
    if unseen:
        raise Unreadable(f"what index {unseen[0][:-1]} is here is not seen", line)
    if equation.place is not None:
        if place is None:
            raise Unreadable("the place of an extremum has no formula here", line)
        pairs.append((place, sy.replaced(equation.place, at)))
    return Visit(path, at, tuple(pairs), line)


def _matched(
    equation: Point,
    at: Mapping[str, Formula],
    pairs: Sequence[tuple[Formula, Formula]],
    reads: Sequence[Read],
    chosen: Sequence[Read],
    path: Path,
) -> tuple[int, dict[str, Formula], list[tuple[Formula, Formula]], list[str]]:
    """Which index is what if these reads are the equation's, and how much speaks against that."""
    trial, more = dict(at), list(pairs)
    for (_, indices), r in zip(equation.reads, chosen, strict=True):
        _tie(trial, more, indices, r.at)
    made = []
    for loops_first in (
        False,
        True,
    ):  # an index that no access shows may be solved for, or be what a loop runs over
        at_ = dict(trial)
        _follow(equation, at_, path, loops_first)
        unseen = [i for i in equation.indices if i not in at_]
        odd = sum(not sy.same(sy.replaced(z, at_), 0) for z in equation.zero)
        idle = sum(b.var not in at_.values() for b in binders(path))
        made.append((len(more) + len(set(reads) - set(chosen)) + odd + idle + len(unseen), at_, more, unseen))
    return min(made, key=lambda m: m[0])


def _tie(
    at: dict[str, Formula],
    pairs: list[tuple[Formula, Formula]],
    indices: Sequence[str],
    values: Sequence[Formula],
) -> None:
    if len(indices) != len(values):
        raise Unreadable(f"{len(values)} axes for {len(indices)} indices")
    for i, v in zip(indices, values, strict=True):
        if i in at and at[i] != v:
            pairs.append((at[i], v))
        at.setdefault(i, v)


def _follow(equation: Point, at: dict[str, Formula], path: Path, loops_first: bool) -> None:
    """Indices that no access shows: what an equality gives, or what a loop runs over, or a quotient."""
    shown = set(at.values())
    if loops_first:
        _loops(equation, at, path, shown)
    for i, value in (d for digits in equation.digits for d in digits):
        if i not in at and not any(j in sy.names(value) for j in equation.indices if j not in at):
            at[i] = sy.replaced(value, at)
    for quotients in (False, True):
        progress = True
        while progress:
            progress = False
            for z in equation.zero:
                left = [i for i in equation.indices if i not in at and i in sy.names(z)]
                if len(left) == 1 and (found := _solved(z, left[0], quotients)) is not None:
                    at[left[0]] = sy.replaced(found, at)
                    progress = True
        if not quotients:
            _loops(equation, at, path, shown)


def _loops(equation: Point, at: dict[str, Formula], path: Path, shown: Collection[Formula]) -> None:
    """Indices that are loops of which no access shows the number."""
    left = [i for i in equation.indices if i not in at]
    loops = [b for b in binders(path) if b.var not in shown]
    by_name = {b.name.partition("'")[0]: b for b in loops}
    named = {i: by_name[i[:-1]] for i in left if i[:-1] in by_name}
    if not named and len(loops) < len(left):  # a count: its loop has no name
        named = dict(zip(left, loops, strict=False))
    elif len(named) < len(left) == len(loops):
        named = dict(zip(left, loops, strict=True))
    at |= {i: b.var for i, b in named.items()}


def _solved(z: Formula, name: str, quotients: bool) -> Formula | None:
    """The value of an unknown at which z is 0."""
    c = sy.coefficient(z, name)
    if c is None or c == 0:
        return None
    rest = sy.replaced(z, {name: 0})
    if c in (1, -1):
        return sy.sub(0, rest) if c == 1 else rest
    return sy.div(sy.sub(0, rest), c) if quotients else None


def witness(path: Path, at: Mapping[str, Formula]) -> dict[str, Formula]:
    """The turn of every loop that visits a given point, from which index is what."""
    left = [b.name for b in binders(path)]
    found: dict[str, Formula] = {}
    for exactly in (True, False):
        progress = True
        while progress and left:
            progress = False
            for i, value in at.items():
                names = [n for n in left if n in sy.names(value)]
                if len(names) != 1 or (exactly and value != sy.var(names[0])):
                    continue
                (n,) = names
                if exactly:
                    found[n] = sy.var(i)
                else:
                    given = sy.replaced(sy.sub(value, sy.var(i)), found)
                    solved = _solved(given, n, True)
                    if solved is None:
                        continue
                    found[n] = solved
                left.remove(n)
                progress = True
                break
    for b in binders(path):
        if b.name in left:  # every turn visits the same: the first will do
            found[b.name] = sy.replaced(b.low, found)
    return found


# ---- statements -------------------------------------------------------------------------------


Given = Callable[..., tuple[Formula, ...]]  # more premises -> all premises


@dataclass(frozen=True)
class Statement:
    """premises ==> claim, of one kind, about a line of the source."""

    kind: str
    premises: tuple[Formula, ...]
    claim: Formula
    line: int
    missed: Callable[[Mapping[str, int]], bool] | None = (
        None  # is a point that numbers give really not visited?
    )


def law(source: Source) -> tuple[dict[str, Formula], tuple[Formula, ...]]:
    """Every integer of the size environment, and what is known of them: a sum of products stands for itself."""
    given, derived = sizes(source)
    known: dict[str, Formula] = {name: sy.var(name) for name in given}
    for name, value in derived.items():
        plain = all(t.op in ("var", "+", "-", "*") for t in sy.walk(value))
        known[name] = sy.replaced(value, known) if plain else sy.var(name)
    least = {p.name: p.minimum for p in source.parameters if not p.real}
    facts: list[Formula] = []
    for name in given:
        low = least.get(name, 0)
        if low is not None:
            facts.append(sy.at_most(low, known[name]))
    facts += [
        sy.equals(known[name], sy.replaced(value, known))
        for name, value in derived.items()
        if known[name] == sy.var(name)
    ]
    for c in source.conditions:
        left, right = (known[e] if isinstance(e, str) else e for e in (c.left, c.right))
        facts.append(sy.at_most(right, left))
    return known, tuple(facts)


def statements(
    source: Source,
    reading: Reading,
    equation: Point,
    covers: bool,
    known: Mapping[str, Formula],
    facts: Sequence[Formula],
) -> Iterator[Statement]:
    """What is to be proved of a task for an equation that it works out."""
    add, task, tasks = (sy.var(f"{n}'") for n in ("add", "task", "tasks"))
    ambient = (
        *facts,
        sy.at_most(0, add),
        sy.at_most(add, 1),
        sy.at_most(0, task),
        sy.less(task, tasks),
    )
    shapes = {
        t.name: tuple(known[e] if isinstance(e, str) else e for e in t.shape) for t in source.tensors.values()
    }
    below = {t.name: known[t.below] for t in source.tensors.values() if t.below is not None}

    def premises(*more: Formula) -> tuple[Formula, ...]:
        held = [
            sy.both(sy.at_most(0, term), sy.less(term, below[str(term.args[0])]))
            for term in dict.fromkeys(t for f in more for t in sy.walk(f) if t.op == "read")
            if str(term.args[0]) in below
        ]
        return (*ambient, *held, *more)

    found, olds = visits(equation, reading)
    target = equation.target[0]
    for old in olds:
        claim = sy.both(sy.negated(sy.equals(add, 0)), *(sy.equals(a, b) for a, b in old.same))
        yield Statement("nothing else", premises(condition(old.path)), claim, old.line)
    for v in found:
        table = dict(v.at)
        claim = sy.both(sy.replaced(equation.holds, table), *(_equal(a, b) for a, b in v.same))
        yield Statement("nothing else", premises(v.runs), claim, v.line)
    yield _lost(equation, found, premises, reading)
    for v in found:
        other = _again(v.path)
        same = sy.both(
            *(
                sy.equals(value, sy.replaced(value, other))
                for i in equation.indices
                for value in (v.at[i],)
                if sy.names(value) & other.keys()
            )
        )
        twin = sy.replaced(v.runs, other)
        claim = sy.both(*(sy.equals(b.var, other[b.name]) for b in binders(v.path)))
        yield Statement("nothing twice", premises(v.runs, twin, same), claim, v.line)
    for v, u in combinations(found, 2):
        other = _again(u.path)
        same = sy.both(*(sy.equals(v.at[i], sy.replaced(u.at[i], other)) for i in equation.indices))
        claim = False
        yield Statement("nothing twice", premises(v.runs, sy.replaced(u.runs, other), same), claim, u.line)

    yield from _bounds(reading, shapes, premises)
    writes = [w for w in reading.writes if w.tensor == target]
    stores = [w for w in writes if not w.adds]
    adds = [w for w in writes if w.adds]
    if adds and any(w.scalar.reads or w.scalar.cells for w in stores):
        raise Unreadable("what is added to is stored to as well", stores[0].line)
    if adds and stores and max(w.order for w in stores) > min(w.order for w in adds):
        raise Unreadable("cleared after something is added", stores[0].line)
    yield from _own(writes, bool(adds), premises)
    if covers and stores:
        yield _every(equation, stores, shapes[target], premises, sy.equals(add, 0))
    elif covers:
        raise Unreadable("nothing is stored, and nothing cleared")


def _equal(a: Formula, b: Formula) -> Formula:
    return True if sy.same(a, b) else sy.equals(a, b)


def _again(path: Path) -> dict[str, Formula]:
    """Another turn of the same loops; integer reads are of the same tensors."""
    return {b.name: sy.var(f"{b.name}'") for b in binders(path)}


def _lost(equation: Point, found: Sequence[Visit], premises: Given, reading: Reading) -> Statement:
    parts = []
    for v in found:
        turn = witness(v.path, v.at)
        turn["task'"] = 0
        here = sy.replaced(v.runs, turn)
        same = sy.both(
            *(sy.equals(sy.var(i), sy.replaced(value, turn)) for i, value in v.at.items()),
        )
        parts.append(sy.both(here, same))
    claim = parts[0] if len(parts) == 1 else sy.either(*parts)

    def missed(model: Mapping[str, int]) -> bool:
        """Counted, for the turn that is solved for need not be the only one that could visit the point."""
        if any(t.op == "read" for v in found for f in (v.runs, *v.at.values()) for t in sy.walk(f)):
            return True  # what a tensor holds is not in the model
        env = {**dict.fromkeys(("add'", "task'"), 0), "tasks'": 1, **model}
        wanted = [env.get(i) for i in equation.indices]
        return not any(
            wanted == [sy.evaluate(sy.replaced(v.at[i], turn, residue), turn) for i in equation.indices]
            for v in found
            for turn in islice(turns(v.path, env), MANY)
        )

    return Statement("nothing lost", premises(equation.premise), claim, found[0].line, missed)


def _bounds(
    reading: Reading, shapes: Mapping[str, tuple[Formula, ...]], premises: Given
) -> Iterator[Statement]:
    every: tuple[Read | Write, ...] = (*reading.reads, *reading.writes)
    for access in every:
        shape = shapes[access.tensor]
        if len(shape) != len(access.at):
            raise Unreadable(f"{access.tensor} has {len(shape)} axes", access.line)
        claim = sy.both(
            *(f for i, e in zip(access.at, shape, strict=True) for f in (sy.at_most(0, i), sy.less(i, e)))
        )
        runs = condition(access.path)
        yield Statement("in bounds", premises(runs), claim, access.line)
    for path, divisor, line in dict.fromkeys(reading.divisors):
        claim = sy.negated(sy.equals(divisor, 0))
        yield Statement("in bounds", premises(condition(path)), claim, line)


def _own(writes: Sequence[Write], adds: bool, premises: Given) -> Iterator[Statement]:
    """Two turns that write one element are of one item; where each is stored once, they are one turn."""
    for k, first in enumerate(writes):
        for second in writes[k:]:
            other = _again(second.path)
            other["task'"] = sy.var("task''")
            runs = sy.both(condition(first.path), sy.replaced(condition(second.path), other))
            same = sy.both(
                *(sy.equals(a, sy.replaced(b, other)) for a, b in zip(first.at, second.at, strict=True))
            )
            outer = [b for b in binders(first.path) if b.outer]
            if [b for b in binders(second.path) if b.outer] != outer:
                raise Unreadable("two loops over what tasks share", second.line)
            if adds:
                claim = sy.both(*(sy.equals(b.var, other[b.name]) for b in outer))
            elif first is second:
                claim = sy.both(*(sy.equals(b.var, other[b.name]) for b in binders(first.path)))
            else:
                claim = False
            if not outer:
                claim = sy.both(claim, sy.equals(sy.var("task'"), sy.var("task''")))
            more = (sy.at_most(0, sy.var("task''")), sy.less(sy.var("task''"), sy.var("tasks'")))
            yield Statement("own elements", premises(runs, same, *more), claim, second.line)


def _every(
    equation: Point, stores: Sequence[Write], shape: Sequence[Formula], premises: Given, fresh: Formula
) -> Statement:
    inside = sy.both(
        *(
            f
            for i, e in zip(equation.free, shape, strict=True)
            for f in (sy.at_most(0, sy.var(i)), sy.less(sy.var(i), e))
        )
    )
    parts = []
    for w in stores:
        at = dict(zip(equation.free, w.at, strict=True))
        turn = witness(w.path, at)
        turn["task'"] = 0
        same = sy.both(*(sy.equals(sy.var(i), sy.replaced(v, turn)) for i, v in at.items()))
        parts.append(sy.both(sy.replaced(condition(w.path), turn), same))
    claim = parts[0] if len(parts) == 1 else sy.either(*parts)
    return Statement("every element", premises(inside, fresh), claim, stores[0].line)


# ---- what the others rest on ------------------------------------------------------------------


def lemmas() -> tuple[tuple[str, tuple[Formula, ...], Formula], ...]:
    """Of the runtime's `share`, from its source, and of numbers written in digits.

    They are why a loop from `first` to `last` whose number is taken apart into digits is read as a loop over each digit:
    shares are disjoint and make up the whole, and numbers below A*B are pairs of a digit below A and one below B.
    """
    count, task, later, tasks = map(sy.var, ("count", "task", "later", "tasks"))
    first, last = shared(count, task, tasks)
    whole = (sy.at_most(0, count), sy.at_most(0, task), sy.less(task, tasks))
    a, b, item, other, q, r = map(sy.var, ("A", "B", "item", "other", "q", "r"))
    extents = (sy.at_most(0, a), sy.at_most(0, b))

    def below(v: Formula, end: Formula) -> tuple[Formula, Formula]:
        return sy.at_most(0, v), sy.less(v, end)

    ab = sy.mul(a, b)
    pair = sy.add(sy.mul(q, b), r)
    return (
        ("the first share begins at 0", whole, sy.equals(shared(count, 0, tasks)[0], 0)),
        (
            "the last one ends at the count",
            whole,
            sy.equals(shared(count, sy.sub(tasks, 1), tasks)[1], count),
        ),
        ("the next begins where one ends", whole, sy.equals(last, shared(count, sy.add(task, 1), tasks)[0])),
        (
            "later shares lie behind",
            (*whole, sy.less(task, later), sy.less(later, tasks)),
            sy.both(sy.at_most(first, last), sy.at_most(last, shared(count, later, tasks)[0])),
        ),
        (
            "digits lie in their ranges",
            (*extents, *below(item, ab)),
            sy.both(*below(sy.div(item, b), a), *below(sy.mod(item, b), b)),
        ),
        (
            "digits make up a number",
            (*extents, *below(q, a), *below(r, b)),
            sy.both(*below(pair, ab), sy.equals(sy.div(pair, b), q), sy.equals(sy.mod(pair, b), r)),
        ),
        (
            "one number, one pair of digits",
            (
                *extents,
                *below(item, ab),
                *below(other, ab),
                sy.equals(sy.div(item, b), sy.div(other, b)),
                sy.equals(sy.mod(item, b), sy.mod(other, b)),
            ),
            sy.equals(item, other),
        ),
        (
            "digits of digits",
            (sy.at_most(1, a), sy.at_most(1, b), sy.at_most(0, item)),
            sy.equals(sy.div(sy.div(item, b), a), sy.div(item, ab)),
        ),
    )


def prove_lemmas() -> list[tuple[str, Verdict]]:
    solver = Solver({}, frozenset())
    return [(name, solver.prove(premises, claim)) for name, premises, claim in lemmas()]


# ---- a module ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Failure:
    """A statement that is not proved: refuted by numbers, or not known."""

    kind: str
    task: str
    equation: str
    line: int
    text: str
    verdict: Verdict
    known: tuple[str, ...] = ()  # names of sizes and parameters, first in what is shown

    @property
    def refuted(self) -> bool:
        return self.verdict.model is not None

    def __str__(self) -> str:
        head = f"{self.task}: {self.kind}: {'refuted' if self.refuted else 'not decided'}"
        where = f"    line {self.line}: {self.text}" if self.line else ""
        lines = [head, f"    of  {self.equation}", where]
        if self.verdict.model is None:
            return "\n".join([*filter(None, lines), f"    {self.verdict.why}"])
        model = dict(self.verdict.model)
        sizes_ = [f"{n} = {model[n]}" for n in self.known if n in model]
        points = [f"{n[:-1]} = {v}" for n, v in sorted(model.items()) if n.endswith("*")]
        turns = [f"{_turn(n)} = {v}" for n, v in sorted(model.items()) if "'" in n]
        for what, parts in (("sizes", sizes_), ("point", points), ("loops", turns)):
            if parts:
                lines.append(f"    {what}: {', '.join(parts)}")
        return "\n".join(filter(None, lines))


def _turn(name: str) -> str:
    """k0' is the loop's k0, k0'' that of the other turn."""
    return f"{name[:-2]} (other turn)" if name.endswith("''") else name.replace("'", "", 1)


@dataclass
class Row:
    """What is proved of one task: for every equation that it works out, in the phases of all programs."""

    operator: str
    task: str
    equations: int = 0
    statements: int = 0
    queries: int = 0
    seconds: float = 0.0
    proved: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    bounded: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    failures: list[Failure] = field(default_factory=list)
    uncovered: str = ""

    @property
    def whole(self) -> bool:
        return not self.uncovered and not self.failures

    def cell(self, kind: str) -> str:
        bad = [f for f in self.failures if f.kind == kind]
        if self.uncovered:
            return "-"
        if any(f.refuted for f in bad):
            return "REFUTED"
        if bad:
            return "undecided"
        return f"to {EXTENT}" if self.bounded[kind] else "all" if self.proved[kind] else "."


def prove_module(
    operator: Operator,
    text: str,
    *,
    tasks: Iterable[str] | None = None,
    values: Sequence[int] | None = None,
    made: Derivation | None = None,
    proofs: dict[object, Verdict] | None = None,
) -> list[Row]:
    """Every task of a generated module, whose text this is, against the equations of its operator.

    tasks    only these (default: all)
    values   numbers for strides and dilations (default: all up to 8)
    made     the operator's derivation, if it is at hand
    proofs   claims proved before, which are not proved again; new ones are added
    """
    source = parse(text)
    derivation = made or derive(operator)
    known, facts = law(source)
    solver = Solver(
        {p.name: p.minimum for p in source.parameters if not p.real},
        frozenset(known) - {p.name for p in source.parameters if (p.minimum or 0) >= 1},
        values=values,
        proofs={} if proofs is None else proofs,
    )
    rows: dict[str, Row] = {}
    seen = set[tuple[object, ...]]()
    wanted = None if tasks is None else set(tasks)
    for phase, equations in phases(source, derivation):
        for task in source.tasks(phase.kernel):
            if wanted is not None and task not in wanted:
                continue
            row = rows.setdefault(task, Row(operator.name, task))
            for equation in equations:
                key = (task, phase, str(equation))
                if key in seen:
                    continue
                seen.add(key)
                row.equations += 1
                start, before = time.perf_counter(), solver.queries
                prove_task(row, source, solver, phase, equation, known, facts)
                row.seconds += time.perf_counter() - start
                row.queries += solver.queries - before
    return list(rows.values())


def phases(source: Source, derivation: Derivation) -> Iterator[tuple[Bound, tuple[Equation, ...]]]:
    """Each phase of the file and the derived equations that it is to work out."""
    for name, program in source.programs.items():
        derived: Sequence[DerivedPhase] = derivation.phases[name]
        if len(derived) != len(program.phases):
            raise Unreadable(
                f"{name} has {len(program.phases)} phases in the file and {len(derived)} derived"
            )
        for phase, d in zip(program.phases, derived, strict=True):
            yield bound(phase), d.several or (d.equation,)
        for joint in program.joints:
            yield bound(joint.phase), tuple(derived[k].equation for k in joint.of)


def prove_task(
    row: Row,
    source: Source,
    solver: Solver,
    phase: Bound,
    equation: Equation,
    known: Mapping[str, Formula],
    facts: Sequence[Formula],
) -> None:
    """Adds to a row what is proved of a task as a phase runs it, for one equation."""
    try:
        target = point(equation, known)
        attempts = []
        for whole_counts in (False, True):
            reading = Reader(source, row.task, phase, known, whole_counts).read()
            made = list(statements(source, reading, target, phase.covers, known, facts))
            attempts.append(made)
            if not reading.counts:
                break
    except Unreadable as error:
        place = f" (line {error.line}: {source.line(row.task, error.line)})" if error.line else ""
        row.uncovered = row.uncovered or f"{error.why}{place}"
        return
    best: list[tuple[Statement, Verdict]] | None = None
    for made in attempts:
        verdicts = [(s, solver.prove([*map(sy.collapsed, s.premises)], sy.collapsed(s.claim))) for s in made]
        if best is None or sum(v.proved for _, v in verdicts) > sum(v.proved for _, v in best):
            best = verdicts
        if all(v.proved for _, v in verdicts):
            break
    assert best is not None
    for s, verdict in best:
        row.statements += 1
        if verdict.model is not None and s.missed is not None and not s.missed(verdict.model):
            verdict = Verdict(False, why="a turn visits the point, and not the one that was solved for")
        if verdict.proved:
            row.proved[s.kind] += 1
            row.bounded[s.kind] += verdict.bounded is not None
        else:
            row.failures.append(
                Failure(
                    s.kind,
                    row.task,
                    str(equation),
                    s.line,
                    source.line(row.task, s.line),
                    verdict,
                    tuple(known),
                )
            )


def prove_modules(
    pairs: Iterable[tuple[Operator, str]], values: Sequence[int] | None = None
) -> Iterator[list[Row]]:
    """Rows of one module after the other; what is proved once is known for the next, whatever its letters."""
    for operator, text in pairs:
        yield prove_module(operator, text, values=values, proofs=_PROOFS.setdefault(tuple(values or ()), {}))


_PROOFS: dict[tuple[int, ...], dict[object, Verdict]] = {}  # of this process


def table(rows: Sequence[Row]) -> str:
    """A line for each task that is covered: statements, queries, and of each kind for which sizes it holds."""
    head = ["task", "equations", "statements", "queries", "seconds", *KINDS]
    lines = [head]
    for r in rows:
        if not r.uncovered:
            counts = (r.equations, r.statements, r.queries)
            lines.append(
                [f"{r.operator}.{r.task}", *map(str, counts), f"{r.seconds:.1f}", *map(r.cell, KINDS)]
            )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def uncovered(rows: Sequence[Row]) -> str:
    """The tasks of which nothing is proved, with the first thing in each that is not read here."""
    return "\n".join(f"not covered: {r.operator}.{r.task}: {r.uncovered}" for r in rows if r.uncovered)


def summary(rows: Sequence[Row]) -> str:
    covered = [r for r in rows if not r.uncovered]
    total = sum(r.statements for r in covered)
    limited = sum(sum(r.bounded.values()) for r in covered)
    failed = [f for r in covered for f in r.failures]
    proved = sum(sum(r.proved.values()) for r in covered)
    parts = [
        f"{len(covered)} of {len(rows)} tasks covered",
        f"{proved - limited} of {total} statements proved for all sizes",
        *([f"{limited} for extents up to {EXTENT}"] if limited else []),
        f"{sum(f.refuted for f in failed)} refuted",
        f"{sum(not f.refuted for f in failed)} not decided",
        f"{sum(r.queries for r in rows)} queries, {sum(r.seconds for r in rows):.0f} s",
    ]
    return "; ".join(parts)
