"""The same mathematics in other letters: equations and operators, renamed at random."""

from __future__ import annotations

import random
import string
from dataclasses import dataclass
from typing import Any

import sympy as sp

from derive.language import Index, Operator, Parameter, Read, Real, Size, Statement, Tensor, extent
from derive.program import Access, Equation, Range, Relation

ENDS, LAP = "_twin", "lap"


def letters(rng: random.Random, taken: set[str]) -> str:
    """A new name, new in capitals too; none that begins like an index of the engine's own."""
    while True:
        name = rng.choice("bcefhijkmnopqrsuvw") + "".join(
            rng.choices(string.ascii_lowercase, k=rng.randint(0, 3))
        )
        if name.upper() not in taken and not name.endswith("o") and name not in ("in", "is", "or", "if"):
            taken.add(name.upper())
            return name


def _parameter(s: sp.Symbol, name: str) -> sp.Symbol:
    return Real(name, bool(s.is_positive)) if isinstance(s, Real) else Parameter(name, bool(s.is_positive))


def renamed_equation(eq: Equation, rng: random.Random, *, axes: bool = True, ranges: bool = True) -> Equation:
    """Indices, tensors, sizes and parameters renamed; axes permuted tensor by tensor, bound ranges reordered."""
    taken: set[str] = set()
    laps = {i for i in eq.relation.indices if i.name.startswith(LAP)}  # of the engine's own making
    table: dict[Any, Any] = {
        i: Index((LAP if i in laps else "") + letters(rng, taken)) for i in eq.relation.indices
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

    def shapes(self, shapes: Any) -> dict[str, Any]:
        return {self.tensors[name]: shape for name, shape in shapes.items()}

    def numbers(self, integers: Any) -> dict[str, Any]:
        return {self.integers[name]: value for name, value in integers.items()}


def renamed_operator(op: Operator, rng: random.Random) -> Renamed:
    """Every letter that the user chose becomes another one."""
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
    for name, rank in plain.items():
        for axis in range(rank):
            table.setdefault(Size(f"{name.upper()}{axis}"), Size(f"{names[name].upper()}{axis}"))

    def tensor(t: Tensor, depth: int = 0) -> Tensor:
        margin = [tuple(e.xreplace(table) for e in pair) for pair in t.margin]
        outside = t.outside
        if not isinstance(outside, str):
            inner = {r.tensor: tensor(r.tensor) for r in outside.atoms(Read)}
            outside = outside.xreplace({**table, **inner})
        return Tensor(names[t.name], margin, outside, integer=t.integer, optional=t.optional)

    everything = {r.tensor for e in found for r in e.atoms(Read)} | set(op.inputs) | set(op.outputs)
    tensors = {t: tensor(t) for t in everything}
    full = {**table, **tensors}
    made = Operator(
        op.name,
        *(Statement(s.target.xreplace(full), s.body.xreplace(full)) for s in op.statements),
        inputs=[tensors[t] for t in op.inputs],
        outputs=[tensors[t] for t in op.outputs],
        extents={table[i]: e.xreplace(full) for i, e in op.extents.items() if i not in op.given},
        given=[table[i] for i in op.given],
        laws={table[i]: law for i, law in op.laws.items()},
    )
    integers = {str(old): str(new) for old, new in table.items() if isinstance(old, (Size, Parameter, Real))}
    return Renamed(made, names, integers)
