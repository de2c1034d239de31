"""The same mathematics in other letters: equations and operators, renamed at random, and what must not change.

`lowered` says what "the same lowering" is: what loops and contractions an operator is made of, and which
equations share a kernel. Letters, and the order of loops that cost the same, are no part of it.
"""

from __future__ import annotations

import keyword
import random
import string
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp

from derive.language import Index, Lap, Operator, Parameter, Read, Real, Size, Statement, Tensor, extent
from derive.lower.contraction import Contraction
from derive.lower.loops import Assign, Loop, Nest, Step, Test
from derive.pipeline import Derivation
from derive.program import RESERVED, Access, Equation, Range, Relation

ENDS = "_twin"


def letters(rng: random.Random, taken: set[str]) -> str:
    """A new name, new in capitals too."""
    while True:
        name = rng.choice("bcefhijklmnopqrsuvw") + "".join(
            rng.choices(string.ascii_lowercase, k=rng.randint(0, 3))
        )
        if keyword.iskeyword(name) or name in RESERVED or name.endswith("o"):
            continue
        if name.upper() not in taken:
            taken.add(name.upper())
            return name


def _parameter(s: sp.Symbol, name: str) -> sp.Symbol:
    return Real(name, bool(s.is_positive)) if isinstance(s, Real) else Parameter(name, bool(s.is_positive))


def renamed_equation(eq: Equation, rng: random.Random, *, axes: bool = True, ranges: bool = True) -> Equation:
    """Indices, tensors, sizes and parameters renamed; axes permuted tensor by tensor, bound ranges reordered."""
    taken: set[str] = set()
    table: dict[Any, Any] = {
        i: (Lap if isinstance(i, Lap) else Index)(letters(rng, taken)) for i in eq.relation.indices
    }
    old = {extent(i): extent(table[i]) for i in eq.relation.indices}
    everything = [eq.body, *(g.size for g in eq.relation.ranges)]
    forms = [*eq.relation.zero, *eq.relation.nonneg, *([eq.at] if eq.at is not None else [])]
    everything += [f.expr for f in forms]
    for s in sorted({s for e in everything for s in e.free_symbols}, key=str):
        if isinstance(s, Size):
            table[s] = old.get(s) or Size(letters(rng, taken).upper())
        elif isinstance(s, (Parameter, Real)):
            table[s] = _parameter(s, letters(rng, taken))
    names = {a.tensor for a in (eq.target, *eq.reads)}
    tensors = {name: letters(rng, taken) for name in sorted(names)}
    orders: dict[str, list[int]] = {}
    for a in (eq.target, *eq.reads):
        order = list(range(len(a.indices)))
        if axes:
            rng.shuffle(order)
        orders.setdefault(a.tensor, order)

    def read(a: Access) -> Access:
        at = [table[i] for i in a.indices]
        return a.func(tensors[a.tensor], *(at[k] for k in orders[a.tensor]))

    table |= {a: read(a) for a in (eq.target, *eq.reads)}
    own = list(eq.relation.ranges)
    if ranges:
        rng.shuffle(own)
    relation = Relation(
        tuple(Range(table[g.index], g.size.xreplace(table)) for g in own),
        tuple(z.replaced(table) for z in eq.relation.zero),
        tuple(z.replaced(table) for z in eq.relation.nonneg),
    )
    at = eq.at.replaced(table) if eq.at is not None else None
    return Equation(table[eq.target], relation, eq.body.xreplace(table), eq.reduce, eq.ties, at)


@dataclass(frozen=True)
class Renamed:
    """An operator in other letters, and which letter became which."""

    operator: Operator
    tensors: dict[str, str]
    integers: dict[str, str]
    orders: dict[str, tuple[int, ...]]  # of a tensor's axes: new axis k was axis orders[k]

    def shapes(self, shapes: Any) -> dict[str, Any]:
        return {self.tensors[name]: shape for name, shape in shapes.items()}

    def numbers(self, integers: Any) -> dict[str, Any]:
        return {self.integers[name]: value for name, value in integers.items()}


def renamed_operator(op: Operator, rng: random.Random, *, axes: bool = False) -> Renamed:
    """Every letter that the user chose becomes another one; with `axes`, every tensor's axes are permuted."""
    found = [e for s in op.statements for e in (s.target, s.body)] + [e for e in op.extents.values()]
    found += [e for t in {r.tensor for x in found for r in x.atoms(Read)} for pair in t.margin for e in pair]
    found += [
        t.outside for t in {r.tensor for x in found for r in x.atoms(Read)} if not isinstance(t.outside, str)
    ]
    found += [law.when for law in op.laws.values() if isinstance(law.when, sp.Basic)]
    taken: set[str] = set()
    table: dict[Any, Any] = {}
    indices = sorted(
        {i for e in found for i in e.atoms(Index)} | set(op.extents), key=lambda i: (len(i.name), i.name)
    )
    for i in indices:
        if not i.name.endswith(ENDS):
            table[i] = Index(letters(rng, taken))
            table[extent(i)] = extent(table[i])
    for i in indices:
        if i.name.endswith(ENDS):
            table[i] = table[i.like].twin()
            table[extent(i)] = extent(table[i])
    for s in sorted({s for e in found for s in e.atoms(Parameter, Real)}, key=str):
        table[s] = _parameter(s, letters(rng, taken))
    plain = {r.tensor.name: len(r.at) for e in found for r in e.atoms(Read)}
    names = {name: letters(rng, taken) for name in sorted(plain)}
    orders = {
        name: tuple(rng.sample(range(rank), rank) if axes else range(rank)) for name, rank in plain.items()
    }
    for name, order in orders.items():
        for axis in order:
            new = Size(f"{names[name].upper()}{order.index(axis)}")
            table.setdefault(Size(f"{name.upper()}{axis}"), new)

    def tensor(t: Tensor) -> Tensor:
        order = orders[t.name]
        pairs = [(sp.S.Zero, sp.S.Zero)] * (len(order) - len(t.margin)) + list(t.margin)
        margin = [(again(pairs[k][0]), again(pairs[k][1])) for k in order] if t.margin else []
        outside = t.outside if isinstance(t.outside, str) else again(t.outside)
        return Tensor(names[t.name], margin, outside, integer=t.integer, optional=t.optional)

    def again(e: Any) -> Any:
        if isinstance(e, Read):
            return tensor(e.tensor)[tuple(again(e.at[k]) for k in orders[e.tensor.name]) or ()]
        return e.func(*map(again, e.args)) if e.args else table.get(e, e)

    laws = {
        table[i]: replace(law, when=again(law.when)) if isinstance(law.when, sp.Basic) else law
        for i, law in op.laws.items()
    }
    made = Operator(
        op.name,
        *(Statement(again(s.target), again(s.body)) for s in op.statements),
        inputs=[tensor(t) for t in op.inputs],
        outputs=[tensor(t) for t in op.outputs],
        extents={table[i]: again(e) for i, e in op.extents.items() if i not in op.given},
        given=[table[i] for i in op.given],
        laws=laws,
    )
    integers = {str(old): str(new) for old, new in table.items() if isinstance(old, (Size, Parameter, Real))}
    return Renamed(made, names, integers, orders)


# ---- what must stay the same -------------------------------------------------------------------------------------


def kind(step: Step) -> str:
    """What sort of step, guarded or not, and how many bounds a loop has."""
    name = type(step).__name__
    match step:
        case Test(_, what, _):
            return f"{name} {what}"
        case Assign(_, _, size) if size is not None:
            return f"{name} guarded"
        case Loop(_, low, high):
            return f"{name} {len(set(low))} {len(set(high))}"
    return name


def nest_of(nest: Nest) -> Hashable:
    """Strategy, cost, how many loops tasks share, how many more are over the target, and every step within."""
    steps = Counter(map(kind, nest.inner))
    return nest.strategy, round(nest.cost, 6), len(nest.outer), len(nest.target), tuple(sorted(steps.items()))


def roles_of(c: Contraction | None) -> Hashable:
    """How many indices play each role, what index arithmetic each operand has, what is tested, what has classes."""
    if c is None:
        return None
    forms = tuple(tuple(sorted(len(f.terms) if f is not None else 0 for f in o.forms)) for o in (c.a, c.b))
    roles = tuple(map(len, (c.batch, c.rows, c.columns, c.steps)))
    return roles, forms, len(c.units), len(c.phased)


def lowered(made: Derivation) -> Counter[Hashable]:
    """Every kernel by its nest and its contraction, with the programs whose equations run it."""
    runs: dict[str, list[str]] = {name: [] for name in made.kernels}
    for program, phases in made.phases.items():
        for phase in phases:
            runs[phase.kernel].append(program)
    return Counter(
        (nest_of(source.nest), roles_of(source.contraction), tuple(runs[name]))
        for name, source in made.kernels.items()
    )
