"""Fewer equations, same program, each rule by name.

    alike   an extent that is another by another name is that one
    share   two tensors with the same single equation are one tensor
    merge   T += f;  T += g  over one relation without bound indices   =   T += f + g, but for scalars of which one
            divides and vanishes with an input that may be absent
            the letters of an equation are its own: those that write a tensor point by point take those of the first
    inline  a tensor with one pointwise equation is its formula, where writing it out repeats no work worth keeping
    written an output that is a tensor of nobody else's as it stands is written where that was
    live    an equation that no output needs is dropped

Reductions of one target are not merged: each is a contraction of its own, which recognition and lowering want to see.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import sympy as sp

from derive.language import chosen
from derive.program import Access, Equation, Program, Tensor, accesses, live, vanishes

CHEAP = 3  # operations that may be repeated rather than stored


def _written(program: Program) -> Counter[str]:
    return Counter(eq.target.tensor for eq in program.equations)


def alike(program: Program) -> Program:
    same: dict[sp.Basic, sp.Basic] = {}
    for s, e in program.sizes:
        if e.is_Symbol:
            same[s] = same.get(e, e)

    def change(e: sp.Expr) -> sp.Expr:
        return e.xreplace(same)

    def shaped(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(replace(t, shape=tuple(map(change, t.shape))) for t in tensors)

    if not same:
        return program
    return replace(
        program,
        inputs=shaped(program.inputs),
        equations=tuple(eq.mapped(change) for eq in program.equations),
        outputs=shaped(program.outputs),
        sizes=tuple((s, change(e)) for s, e in program.sizes if s not in same),
        locals=shaped(program.locals),
        conditions=tuple(replace(c, left=change(c.left), right=change(c.right)) for c in program.conditions),
    )


def share(program: Program) -> Program:
    outputs, count = {t.name for t in program.outputs}, _written(program)
    seen: dict[tuple[object, ...], str] = {}
    alias: dict[str, str] = {}
    made: list[Equation] = []

    def change(e: sp.Expr) -> sp.Expr:
        return e.xreplace({a: a.func(alias[a.tensor], *a.indices) for a in accesses(e) if a.tensor in alias})

    for eq in program.equations:
        eq = eq.mapped(change) if alias else eq
        name = eq.target.tensor
        key = (eq.free, eq.relation, eq.body, eq.reduce, eq.ties, eq.at, program.tensors[name].shape)
        if count[name] == 1 and name not in outputs and key in seen:
            alias[name] = seen[key]
            continue
        if count[name] == 1:
            seen[key] = name
        made.append(eq)
    return replace(program, equations=tuple(made))


def letters(program: Program) -> Program:
    """Equations that write a tensor point by point in the same letters, so that they may be merged."""
    first: dict[str, Equation] = {}
    made: list[Equation] = []
    for eq in program.equations:
        if eq.pointwise:
            other = first.setdefault(eq.target.tensor, eq)
            same = dict(zip(eq.target.indices, other.target.indices, strict=True))
            sizes = [[e.relation.size(i) for i in e.target.indices] for e in (eq, other)]
            if eq.target != other.target and sizes[0] == sizes[1]:
                eq = replace(eq, target=other.target, relation=other.relation, body=eq.body.xreplace(same))
        made.append(eq)
    return replace(program, equations=tuple(made))


def merge(program: Program) -> Program:
    program = letters(program)
    groups: dict[object, list[int]] = {}
    inputs = {t.name for t in program.inputs}
    for k, eq in enumerate(program.equations):
        alone = eq.reduce != "sum" or eq.bound
        same = (eq.target, frozenset(eq.relation.zero), frozenset(eq.relation.nonneg), vanishing(eq, inputs))
        groups.setdefault(k if alone else same, []).append(k)
    made = dict(enumerate(program.equations))
    for *gone, last in (g for g in groups.values() if len(g) > 1):
        # all at once: what is factored out must not depend on who came first
        body = sp.Add(*(made.pop(k).body for k in gone), made[last].body)
        short = sp.factor_terms(body)
        made[last] = replace(made[last], body=short if sp.count_ops(short) < sp.count_ops(body) else body)
    return replace(program, equations=tuple(made[k] for k in sorted(made)))


def vanishing(eq: Equation, inputs: set[str]) -> frozenset[str]:
    """Inputs without which a scalar that divides is nothing: such terms are left out with them, since 0 / 0 is NaN."""
    if eq.free or not any(
        p.exp.could_extract_minus_sign() and p.base.has(Access) for p in eq.body.atoms(sp.Pow)
    ):
        return frozenset()
    reads = {a.tensor: a for a in eq.reads if a.tensor in inputs}
    return frozenset(name for name, a in reads.items() if vanishes(eq.body, a))


def optional_reads(program: Program) -> set[str]:
    return {t.name for t in program.inputs if t.optional}


def inline(program: Program) -> Program:
    outputs, count, keep = {t.name for t in program.outputs}, _written(program), optional_reads(program)
    readers = Counter(name for eq in program.equations for name in {a.tensor for a in eq.reads})
    formula: dict[str, Equation] = {}
    made: list[Equation] = []

    def expand(eq: Equation) -> Equation:
        body = eq.body
        for a in accesses(body):
            f = formula.get(a.tensor)
            if f is None:
                continue
            repeats = len(set(eq.relation.indices) - set(a.indices)) > 0 or readers[a.tensor] > 1
            if (repeats and sp.count_ops(f.body) > CHEAP) or (
                repeats and f.body.has(sp.exp, sp.log, sp.Pow, sp.tanh, sp.Piecewise, chosen)
            ):
                continue
            if f.body.has(sp.Piecewise) and _decides(a, body):
                continue  # SymPy folds branches out of a comparison, until the stack overflows
            body = body.xreplace({a: f.body.xreplace(_at(f, a))})
        return eq if body == eq.body else replace(eq, body=body)

    for eq in program.equations:
        eq = expand(eq)
        name = eq.target.tensor
        whole = tuple(eq.relation.size(i) for i in eq.free) == program.tensors[name].shape
        if (
            eq.pointwise
            and whole
            and count[name] == 1
            and name not in outputs
            and not keep & {a.tensor for a in eq.reads}
        ):
            formula[name] = eq
        made.append(eq)
    return live(replace(program, equations=tuple(made)))


def written(program: Program) -> Program:
    outputs, count = {t.name for t in program.outputs}, _written(program)
    kept = {t.name for t in (*program.inputs, *program.outputs)}
    readers = Counter(name for eq in program.equations for name in {a.tensor for a in eq.reads})
    for eq in program.equations:
        name, source = eq.target.tensor, eq.body
        if name not in outputs or count[name] > 1 or not eq.pointwise or type(source) is not type(eq.target):
            continue
        shapes = [program.tensors[a.tensor].shape for a in (eq.target, source)]
        indices = [eq.target.indices, source.indices]
        sizes = [tuple(eq.relation.size(i) for i in own) for own in indices]
        if set(indices[0]) != set(indices[1]) or shapes != sizes or source.tensor in kept:
            continue
        if readers[source.tensor] > 1 or count[source.tensor] == 0:
            continue
        order = [source.indices.index(i) for i in eq.free]
        made = list[Equation]()
        for other in program.equations:
            if other.target.tensor == source.tensor:
                at = [other.target.indices[k] for k in order]
                made.append(replace(other, target=eq.target.func(name, *at)))
            elif other is not eq:
                made.append(other)
        return written(replace(program, equations=tuple(made)))
    return program


def _decides(a: Access, body: sp.Expr) -> bool:
    """Whether a Piecewise chooses by what is read."""
    return any(condition.has(a) for p in body.atoms(sp.Piecewise) for _, condition in p.args)


def _at(f: Equation, a: Access) -> dict[sp.Basic, sp.Basic]:
    table: dict[sp.Basic, sp.Basic] = dict(zip(f.free, a.indices, strict=True))
    return {**table, **{r: r.xreplace(table) for r in accesses(f.body)}}


def simplify(program: Program) -> Program:
    before = None
    while before != program:
        before = program
        program = written(live(merge(inline(share(alike(program))))))
    return program


__all__ = ["alike", "inline", "merge", "share", "simplify", "written"]
