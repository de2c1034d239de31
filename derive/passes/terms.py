"""Work out a term once, where a sum adds it at many points.

    gx[q] = sum[p,k] gy[p] / count[p]   { s*p + k - a = q }
          =   t[p] = gy[p] / count[p],   gx[q] = sum[p,k] t[p]   { the same relation }

when the body's own indices leave others of the sum open (the relation has more dimensions than the body has indices),
and the body is more than one read, up to what stands in front of the sum. A product of two reads that meet at
every point, as in a convolution, has as many indices as the relation has dimensions, and stays.

Applied after differentiation, never before: it says how to compute, and hides the body from rules that look at it.
"""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derive.language import Index
from derive.program import Access, Equation, Program, Relation, Tensor, fresh_name


def terms(program: Program) -> Program:
    """Each sum whose terms repeat reads them from an intermediate tensor."""
    taken, made, local = set(program.tensors), list[Equation](), list[Tensor]()
    taken |= {i.name for eq in program.equations for i in eq.relation.indices}
    for eq in program.equations:
        own = repeated(eq)
        if own is None:
            made.append(eq)
            continue
        term = Access(fresh_name(f"{eq.target.tensor}_term", taken), *own)
        ranges = tuple(r for r in eq.relation.ranges if r.index in own)
        local.append(Tensor(term.tensor, tuple(r.size for r in ranges)))
        made += [Equation(term, Relation(ranges), eq.body), replace(eq, body=term)]
    return replace(program, equations=tuple(made), locals=(*program.locals, *local))


def repeated(eq: Equation) -> tuple[Index, ...] | None:
    """The body's indices, in the order of the ranges, if each term of the sum occurs at many points."""
    if eq.reduce != "sum" or not eq.bound:
        return None
    factors = [f for f in sp.Mul.make_args(eq.body) if f.has(Access)]
    if not factors or (len(factors) == 1 and isinstance(factors[0], Access)):
        return None
    used = eq.body.free_symbols
    own = tuple(i for i in eq.relation.indices if i in used)
    open_ = [i for i in eq.bound if i not in used]
    dimensions = len(eq.relation.indices) - len(eq.relation.zero)
    return own if open_ and len(own) < dimensions and not set(own) >= set(eq.free) else None
