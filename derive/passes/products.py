"""Take a sum of products apart where that saves work: what a sum does not touch leaves it, what repeats is kept.

    ga[i,j] = sum[f] exp(a[i,j] - m[i]) * g[i,f] * v[j,f]
            =   t[i,j] = sum[f] g[i,f] * v[j,f],   ga[i,j] = exp(a[i,j] - m[i]) * t[i,j]

    y[i,f]  = sum[j] exp(a[i,j] - m[i]) * v[j,f]
            =   t[i,j] = exp(a[i,j] - m[i]),   y[i,f] = sum[j] t[i,j] * v[j,f]

What comes out is a product of two reads, a contraction, wherever the formula allows it: attention, a normalised or
masked convolution, a linear layer of an activation, and the gradients of all these, whoever wrote them.

*Pulled*: bound indices that some factor lacks go into a sum of their own, over the factors that have them and with the
constraints that tie them, if fewer points remain, or costly functions leave the loop, or that sum is a contraction.
*Kept*: factors whose indices all stand in one of them become one tensor, if the equation has more dimensions than they
have indices, and a costly function is then worked out once, or what is left is a contraction.

Neither makes a tensor with more axes than some tensor of the equation has: memory stays what it is made of. What two
equations need is made once. Only formulas that are finite wherever what they read is are taken out of an equation: they
are worked out even where there turns out to be nothing to add, or where the relation has no point.

Applied after differentiation, never before: it says how to compute, and hides the body from rules that look at it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace

import sympy as sp

from derive.language import Index
from derive.program import (
    Access,
    Affine,
    Equation,
    Program,
    Relation,
    Tensor,
    always_finite,
    costly,
    fresh_name,
)


def products(program: Program) -> Program:
    """Each sum of products with as little inside it as its formula allows."""
    made = _Made(program)
    for eq in program.equations:
        made.add(made.apart(eq))
    return replace(program, equations=tuple(made.equations), locals=(*program.locals, *made.local))


class _Made:
    """The equations so far, and which tensors were made here of what."""

    def __init__(self, program: Program) -> None:
        self.equations, self.local = list[Equation](), list[Tensor]()
        self.taken = set(program.tensors) | {i.name for eq in program.equations for i in eq.relation.indices}
        self.written = Counter[str]()  # equations that have added to a tensor
        self.known: dict[object, Access] = {}
        self.wanted = Counter(
            s.what for eq in program.equations if eq.reduce == "sum" and eq.bound for s in sums(eq)
        )

    def add(self, eq: Equation) -> None:
        self.equations.append(eq)
        self.written[eq.target.tensor] += 1

    def apart(self, eq: Equation) -> Equation:
        return self.kept(self.pulled(eq)) if eq.reduce == "sum" and eq.bound else eq

    def tensor(self, name: str, own: Iterable[Index], relation: Relation, body: sp.Expr) -> Access:
        """A tensor of a sum; the one there is if what it reads has not been added to since."""
        at = tuple(r for r in relation.ranges if r.index in set(own))
        target = Access(name, *(r.index for r in at))
        reads = sorted({a.tensor for a in Equation(target, relation, body).reads})
        key = (relation, target.indices, body, tuple((t, self.written[t]) for t in reads))
        if key not in self.known:
            target = Access(fresh_name(name, self.taken), *target.indices)
            self.local.append(Tensor(target.tensor, tuple(r.size for r in at)))
            self.known[key] = target
            self.add(self.apart(Equation(target, relation, body)))
        return self.known[key]

    def pulled(self, eq: Equation) -> Equation:
        """The equation with some of its bound indices summed before, if that is less work: as many as can be, and of
        sums of as many that which most equations want."""
        choices = sums(eq)
        if not choices:
            return eq
        sum_ = max(choices, key=lambda s: (len(s.moved), self.wanted[s.what]))
        made = self.tensor(f"{eq.target.tensor}_sum", sum_.own, sum_.relation, sum_.body)
        return replace(eq, relation=sum_.rest, body=sp.Mul(*sum_.outer, made))

    def kept(self, eq: Equation) -> Equation:
        """The equation with reads of tensors for those of its factors that repeat."""
        dependent = [f for f in sp.Mul.make_args(eq.body) if indices_of([f], eq)]
        groups = grouped(dependent, eq)
        if len(groups) < 2 or not eq.bound:
            return eq
        repeated = [
            g
            for g in groups
            if not single(g)
            and len(indices_of(g, eq)) < dimensions(eq.relation)
            and any(indices_of(g, eq) <= set(a.indices) for f in g for a in f.atoms(Access))
            and all(map(always_finite, g))
        ]
        two = all(single(g) or g in repeated for g in groups)
        two = two and contraction([sp.Mul(*g) for g in groups], set(eq.free), eq)
        factors = [f for f in sp.Mul.make_args(eq.body) if f not in dependent]
        for g in groups:
            if g in repeated and (two or any(map(costly, g))):
                own = indices_of(g, eq)
                ranges = tuple(r for r in eq.relation.ranges if r.index in own)
                factors.append(self.tensor(f"{eq.target.tensor}_factor", own, Relation(ranges), sp.Mul(*g)))
            else:
                factors += g
        return replace(eq, body=sp.Mul(*factors))


@dataclass(frozen=True)
class Sum:
    """A sum over some of an equation's bound indices that can be made before."""

    moved: tuple[Index, ...]
    own: frozenset[Index]  # the axes of what is made
    relation: Relation
    body: sp.Expr
    rest: Relation  # of what is left of the equation, whose factors are the sum and `outer`
    outer: tuple[sp.Expr, ...]

    @property
    def what(self) -> tuple[object, ...]:
        return self.own, self.relation, self.body


def sums(eq: Equation) -> list[Sum]:
    """The sums whose making saves work, those over many indices first."""
    factors = sp.Mul.make_args(eq.body)
    tied = eq.relation.held
    lacking = [[i for i in eq.bound if i not in f.free_symbols] for f in factors if f.has(Access)]
    choices = {tuple(m) for m in lacking} | {tuple(i for i in m if i not in tied) for m in lacking}
    found = []
    for moved in sorted(choices, key=lambda m: (-len(m), [i.name for i in m])):
        inner = [f for f in factors if f.free_symbols & set(moved)]
        outer = tuple(f for f in factors if f not in inner)
        relation, rest = without(eq.relation, indices_of(inner, eq), set(moved))
        own = frozenset(relation.indices) - set(moved)
        saves = dimensions(rest) < dimensions(eq.relation)
        if not (inner and saves and fits(own, eq) and all(map(always_finite, outer))):
            continue
        reads = len(inner) == 2 and all(isinstance(f, Access) for f in inner)
        fewer = dimensions(relation) < dimensions(eq.relation)
        if fewer or any(map(costly, outer)) or (reads and contraction(inner, own, eq)):
            found.append(Sum(moved, own, relation, sp.Mul(*inner), rest, outer))
    return found


def dimensions(relation: Relation) -> int:
    return len(relation.indices) - len(relation.zero)


def without(relation: Relation, own: set[Index], moved: set[Index]) -> tuple[Relation, Relation]:
    """What ties some indices, over them, `own` and what they are tied to; and the rest of the relation, without them."""
    zero, nonneg = list[Affine](), list[Affine]()
    for forms, tied in ((relation.zero, zero), (relation.nonneg, nonneg)):
        tied += (f for f in forms if set(f.indices) & moved)
    inside = own | moved | {i for f in (*zero, *nonneg) for i in f.indices}
    inner = tuple(r for r in relation.ranges if r.index in inside)
    outer = tuple(r for r in relation.ranges if r.index not in moved)
    return Relation(inner, tuple(zero), tuple(nonneg)), Relation(
        outer,
        tuple(f for f in relation.zero if f not in zero),
        tuple(f for f in relation.nonneg if f not in nonneg),
    )


def indices_of(factors: Iterable[sp.Expr], eq: Equation) -> set[Index]:
    """Which of the equation's indices some factors depend on."""
    return set(eq.relation.indices) & set[sp.Basic]().union(*(f.free_symbols for f in factors))


def single(factors: Sequence[sp.Expr]) -> bool:
    return len(factors) == 1 and isinstance(factors[0], Access)


def fits(own: Set[Index], eq: Equation) -> bool:
    """Whether a tensor with these axes is no larger than one that the equation reads or writes."""
    return any(own <= set(a.indices) for a in (eq.target, *eq.body.atoms(Access)))


def contraction(factors: Sequence[sp.Expr], free: Set[Index], eq: Equation) -> bool:
    """Two that share an index which is summed over, and each has one of its own which is not: a matrix product."""
    if len(factors) != 2:
        return False
    left, right = (indices_of([f], eq) for f in factors)
    ties = [set(form.indices) for form in eq.relation.zero]

    def stays(i: Index, other: set[Index]) -> bool:  # itself, or what an equality makes of it and the rest
        return i in free or any(i in tie and tie & free - other for tie in ties)

    rows, columns = (any(stays(i, v) for i in u - v) for u, v in ((left, right), (right, left)))
    return bool((left & right) - free) and rows and columns


def grouped(factors: Sequence[sp.Expr], eq: Equation) -> list[list[sp.Expr]]:
    """Factors in groups: each beside one that has all of its indices. Those come first that have most."""
    order = sorted(factors, key=lambda f: -len(indices_of([f], eq)))
    groups = list[list[sp.Expr]]()
    for f in order:
        own = indices_of([f], eq)
        homes = [g for g in groups if own <= indices_of(g[:1], eq)]
        # where it may go to several, to what has to be worked out anyway
        home = next((g for g in homes if not single(g)), homes[0] if homes else None)
        if home is None:
            groups.append([f])
        else:
            home.append(f)
    return groups


__all__ = ["products"]
