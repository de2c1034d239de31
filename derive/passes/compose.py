"""A copy of pieces along an axis, next to places that inequalities decide along it: both at once, without the copy.

    z[n,r] += sum[q] x[n,q]                  { r - a = q },   { q = 0, a - r - 1 >= 0 },  ...   the pieces of a fold, say
    y[n,p] += sum[k,lap,r] W(p,k)*z[n,r]     { k + lap = r, 0 <= s*p - d*lap < d }

      =   y[n,p] += sum[k,lap,r,q] W(p,k)*x[n,q]     { both relations }      for each of the pieces

and the other way round, where several pieces read what such places have added up. A table holds such places in any case
(`derive.lower.sparse`), and it may as well hold those behind the copy. Left alone: a tensor of several equations that
several read, copies along another axis, and windows, whose places equalities alone decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from derive.language import Index
from derive.program import Access, Equation, IntegerAccess, Program, Range, Relation, fresh_name


def compose(program: Program) -> Program:
    """The program without tensors between copies and such places."""
    kept = {t.name for t in (*program.inputs, *program.outputs)}
    for name in dict.fromkeys(eq.target.tensor for eq in program.equations):
        writers = [eq for eq in program.equations if eq.target.tensor == name]
        readers = [eq for eq in program.equations if name in {a.tensor for a in eq.reads}]
        if name in kept or not suits(writers, readers):
            continue
        equations = list[Equation]()
        for eq in program.equations:
            if eq in readers:
                equations += [through(eq, writer) for writer in writers]
            elif eq not in writers:
                equations.append(eq)
        local = tuple(t for t in program.locals if t.name != name)
        return compose(replace(program, equations=tuple(equations), locals=local))
    return program


def suits(writers: Sequence[Equation], readers: Sequence[Equation]) -> bool:
    """Is one side a single sum over what inequalities decide along an axis, and the other of copies along it?"""
    if not readers or min(len(writers), len(readers)) > 1 or not all(map(linear, (*writers, *readers))):
        return False
    copied = writers if all(map(copies, writers)) else readers
    if not all(map(copies, copied)):
        return False
    for writer in writers:
        for reader in readers:
            (read,) = reader.reads
            axes = [k for k, i in enumerate(writer.free) if i in writer.relation.held]
            if len(axes) != 1 or read.indices[axes[0]] in reader.free:
                return False
            other, i = (
                (reader, read.indices[axes[0]]) if copied is writers else (writer, writer.free[axes[0]])
            )
            if not decided(other, i):
                return False
    return True


def linear(eq: Equation) -> bool:
    """Does it add up one read times something that does not read?"""
    if eq.reduce != "sum" or len(eq.reads) != 1 or isinstance(eq.reads[0], IntegerAccess):
        return False
    (read,) = eq.reads
    rest = eq.body / read
    return not rest.has(Access) and rest * read == eq.body


def copies(eq: Equation) -> bool:
    return isinstance(eq.body, Access)


def decided(eq: Equation, i: Index) -> bool:
    """Do inequalities decide, together with equalities, which other indices go with this one?"""
    group = eq.relation.tied(i)
    return any(group & set(form.indices) for form in eq.relation.nonneg)


def through(reader: Equation, writer: Equation) -> Equation:
    """What the reader adds of what the writer would have written."""
    (read,) = reader.reads
    taken = {i.name for i in reader.relation.indices}
    names = dict(zip(writer.free, read.indices, strict=True))
    names |= {i: type(i)(fresh_name(i.name, taken)) for i in writer.bound}
    ranges = tuple(Range(names[r.index], r.size) for r in writer.relation.ranges if r.index in writer.bound)
    zero = tuple(form.replaced(names) for form in writer.relation.zero)
    nonneg = tuple(form.replaced(names) for form in writer.relation.nonneg)
    own = reader.relation
    both = Relation((*own.ranges, *ranges), (*own.zero, *zero), (*own.nonneg, *nonneg))
    return replace(reader, relation=both, body=reader.body.xreplace({read: writer.body.xreplace(names)}))


__all__ = ["compose"]
