"""Work out once what would be worked out at many points: a term that a sum adds there, a divisor of many places.

    gx[q] = sum[p,k] gy[p] / count[p]   { s*p + k - a = q }
          =   t[p] = gy[p] / count[p],   gx[q] = sum[p,k] t[p]   { the same relation }

when the body's own indices leave others of the sum open (the relation has more dimensions than the body has indices),
the body is more than one read, up to what stands in front of the sum, and some read has all of its indices, so that the
term takes no more memory than what it is made of. A product of two reads that meet at every point, as in a convolution,
stays.

    y[p,r] = sum[k,l] 1   { p + k < P, r + l < R }   =   t[p] = sum[k] 1,  u[r] = sum[l] 1,  y[p,r] = t[p] * u[r]

for counts of what has no index in common (of nothing else: a sum over nothing is 0 though what stands beside it were
infinite, which 0 times it is not); and

    y[n,p] = sum[k] x[n,p+k] / max(a[p], 1)   =   t[p] = max(a[p], 1),   y[n,p] = sum[k] x[n,p+k] / t[p]

when the divisor has some, not all, of the target's indices. (That there was nothing to add is still seen before the
division: a sum over nothing is 0 though its divisor be 0.)

Applied after differentiation, never before: it says how to compute, and hides the body from rules that look at it.
"""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derive.language import Index
from derive.program import Access, Equation, Program, Relation, Tensor, always_finite, fresh_name


def terms(program: Program) -> Program:
    """Each sum whose terms repeat reads them from an intermediate tensor."""
    taken, made, local = set(program.tensors), list[Equation](), list[Tensor]()
    taken |= {i.name for eq in program.equations for i in eq.relation.indices}
    for eq in program.equations:
        parts = independent(eq)
        if parts:
            made += separated(eq, parts, taken, local)
            continue
        own = repeated(eq)
        if own is None:
            made += divided(eq, taken, local)
            continue
        term = Access(fresh_name(f"{eq.target.tensor}_term", taken), *own)
        ranges = tuple(r for r in eq.relation.ranges if r.index in own)
        local.append(Tensor(term.tensor, tuple(r.size for r in ranges)))
        made += [*divided(Equation(term, Relation(ranges), eq.body), taken, local), replace(eq, body=term)]
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
    if not open_ or len(own) >= dimensions or set(own) >= set(eq.free):
        return None
    return own if any(set(own) <= set(a.indices) for a in eq.body.atoms(Access)) else None


def divided(eq: Equation, taken: set[str], local: list[Tensor]) -> list[Equation]:
    """The equation, before it those of its divisors that are the same for many places."""
    if eq.reduce != "sum":
        return [eq]
    before, factors = list[Equation](), list[sp.Expr]()
    for f in sp.Mul.make_args(eq.body):
        divisor = reciprocal(f)
        used = divisor.free_symbols if divisor is not None else set()
        own = tuple(i for i in eq.relation.indices if i in used)
        if divisor is None or not own or not set(own) < set(eq.free):
            factors.append(f)
            continue
        made = Access(fresh_name(f"{eq.target.tensor}_divisor", taken), *own)
        ranges = tuple(r for r in eq.relation.ranges if r.index in own)
        local.append(Tensor(made.tensor, tuple(r.size for r in ranges)))
        before.append(Equation(made, Relation(ranges), divisor))
        factors.append(1 / made)
    return [*before, replace(eq, body=sp.Mul(*factors)) if before else eq]


def reciprocal(f: sp.Expr) -> sp.Expr | None:
    """What a factor divides by, if it only divides, by a formula that reads something."""
    if isinstance(f, sp.Piecewise):
        divisors = [reciprocal_of_case(value) for value, _ in f.args]
        if any(d is None for d in divisors):
            return None
        divisor = sp.Piecewise(*((d, c) for d, (_, c) in zip(divisors, f.args, strict=True)))
    else:
        found = reciprocal_of_case(f)
        if found is None or isinstance(found, Access):
            return None
        divisor = found
    return divisor if divisor.has(Access) and always_finite(divisor) else None


def reciprocal_of_case(f: sp.Expr) -> sp.Expr | None:
    return f.base if f.is_Pow and f.exp == -1 else None


def independent(eq: Equation) -> list[set[Index]]:
    """The bound indices of a count in several groups that no constraint ties together; none if there is only one."""
    if eq.reduce != "sum" or len(eq.bound) < 2 or not eq.body.is_number:
        return []
    bound = set(eq.bound)
    ties = [form.expr.free_symbols & bound for form in (*eq.relation.zero, *eq.relation.nonneg)]
    if not all(ties):
        return []  # a condition on the target's own indices
    groups = [{i} for i in eq.bound]
    for tie in ties:
        met = [g for g in groups if g & tie]
        groups = [*(g for g in groups if not g & tie), set().union(*met)]
    groups.sort(key=lambda g: min(eq.bound.index(i) for i in g))
    return groups if len(groups) > 1 else []


def separated(eq: Equation, groups: list[set[Index]], taken: set[str], local: list[Tensor]) -> list[Equation]:
    """Each of several independent counts by itself, and their product."""
    made, product = list[Equation](), eq.body
    for group in groups:
        zero = tuple(f for f in eq.relation.zero if f.expr.free_symbols & group)
        nonneg = tuple(f for f in eq.relation.nonneg if f.expr.free_symbols & group)
        used = set[sp.Basic]().union(*(f.expr.free_symbols for f in (*zero, *nonneg)))
        own = tuple(i for i in eq.free if i in used)
        ranges = tuple(r for r in eq.relation.ranges if r.index in group or r.index in own)
        ranges = tuple(sorted(ranges, key=lambda r: r.index in group))  # the target's come first
        target = Access(fresh_name(f"{eq.target.tensor}_sum", taken), *own)
        local.append(Tensor(target.tensor, tuple(eq.relation.size(i) for i in own)))
        made.append(Equation(target, Relation(ranges, zero, nonneg), sp.S.One))
        product = product * target
    ranges = tuple(r for r in eq.relation.ranges if r.index in eq.free)
    return [*made, replace(eq, relation=Relation(ranges), body=product)]
