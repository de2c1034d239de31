"""Reverse and forward mode. A derivative keeps the relation; only target and body change.

    y = reduce_D f(x, ...)    dy = sum_D weight * (df/dx) dx

    sum        1
    max, min   the point picked: an extra equality rank(k) = K, K an argmax         (ties: first, last)
               [f = y] / (how many), [f = y]                                        (ties: split, all)
    logsumexp  exp(f - y)
    prod       (product of the points before) * (product of those after); nothing is divided

One table serves both modes, so `vjp` and `jvp` apply to their own results. Scalar partial
derivatives are SymPy's under the conventions of `partial`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import sympy as sp

from derive.errors import SpecError
from derive.language import Index, Lap, chosen, indicator
from derive.program import (
    Access,
    Affine,
    Equation,
    IntegerAccess,
    Program,
    Range,
    Relation,
    Tensor,
    accesses,
    fresh_name,
    live,
)


class _Power(sp.Function):
    """u^p of an exponent that is no plain number, with derivatives that are numbers at u = 0 too."""

    nargs = 2
    is_real = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        u, p = self.args
        if argindex == 2:  # 0 * log(0)
            return chosen(sp.Or(sp.Ne(u, 0), p < 0), _Power(u, p) * sp.log(u))
        lower = _Power(u, p - 1)  # 0 * u^(-1) is 0, at u = 0 too
        return p * (lower if p.is_zero is False else chosen(sp.Ne(p, 0), lower))


class _Absolute(sp.Function):
    """|u| where SymPy does not know that u is real, as it does not of log(x): its own then has no derivative."""

    nargs = 1
    is_real = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return _Sign(self.args[0])


class _Sign(sp.Function):
    """The sign of such a u, with derivative 0 everywhere."""

    nargs = 1
    is_real = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.S.Zero


def _ours(e: sp.Basic) -> sp.Expr | None:
    """A function of ours for one of SymPy's whose derivative is none, or NaN at a place that matters."""
    match e:
        case sp.Abs(args=(u,)) if not u.is_real:
            return _Absolute(u)
        case sp.sign(args=(u,)) if not u.is_real:
            return _Sign(u)
        case sp.Pow(base=u, exp=p) if not p.is_number and not u.is_positive:
            return _Power(u, p)
    return None


THEIRS = {_Absolute: sp.Abs, _Sign: sp.sign, _Power: sp.Pow, sp.DiracDelta: lambda *_: sp.S.Zero}


def partial(body: sp.Expr, access: Access) -> sp.Expr:
    """d body / d access. Conventions: sign(0) = 0 and step(0) = 0, no Dirac delta anywhere;
    |u|^p has derivative p |u|^(p-1) sign(u), so that 0 stays 0 for p > 1, and where p = 0 it is 0, at u = 0 too;
    so is the derivative of u^p by p at u = 0, unless p < 0."""
    v = sp.Dummy("v", real=True)
    body = body.xreplace({access: v})
    if any(_ours(e) is not None for e in sp.preorder_traversal(body)):
        body = body.replace(lambda e: _ours(e) is not None, _ours)
    d = body.diff(v)
    for ours, theirs in THEIRS.items():
        if d.has(ours):  # SymPy writes again what it walks through
            d = d.replace(ours, theirs)
    return sp.powsimp(d).xreplace({v: access})  # SymPy gives p*x**p/x, which is 0/0 at 0


def determined(eq: Equation) -> set[Index]:
    """Bound indices that the others give: an equality gives one, and of the laps of a quotient there is one."""
    gives: dict[Index, set[Index]] = {
        i: {j for e in eq.relation.nonneg if i in e.indices for j in e.indices} - {i}
        for i in eq.bound
        if isinstance(i, Lap)
    }
    used: set[Affine] = set()

    def needs(i: Index, j: Index, seen: frozenset[Index] = frozenset()) -> bool:
        return i == j or any(needs(k, j, seen | {i}) for k in gives.get(i, set()) - seen)

    for i in reversed(eq.bound):
        for z in eq.relation.zero if i not in gives else ():
            others = set(z.indices) - {i}
            inside = any(i in r.indices for r in z.reads)
            if z in used or z.coefficient(i) not in (1, -1) or inside or any(needs(j, i) for j in others):
                continue
            used.add(z)
            gives[i] = others
            break
    return set(gives)


def rank_of(eq: Equation, kept: Collection[Index]) -> Affine:
    """Row-major rank of a point among the kept indices."""
    rank = Affine(())
    for i in (b for b in eq.bound if b in kept):
        rank = rank.scaled(eq.relation.size(i)) + Affine.of([(i, sp.S.One)])
    return rank


@dataclass
class _Names:
    taken: set[str]

    def __call__(self, name: str) -> str:
        return fresh_name(name, self.taken)


Weighted = tuple[list[Equation], Equation, sp.Expr]  # new forward equations, the linear relation, the weight


def d_sum(eq: Equation, fresh: _Names) -> Weighted:
    return [], eq, sp.S.One


def d_extremum(eq: Equation, fresh: _Names) -> Weighted:
    kept = set(eq.bound) - determined(eq)
    if not kept:
        return [], replace(eq, reduce="sum"), sp.S.One
    if eq.ties in ("split", "all"):
        equal = indicator(sp.Eq(eq.body, eq.target))
        linear = replace(eq, reduce="sum", ties="first")
        if eq.ties == "all":
            return [], linear, equal
        count = Access(fresh(f"{eq.target.tensor}_count"), *eq.free)
        return [Equation(count, eq.relation, equal)], linear, equal / count
    rank = rank_of(eq, kept)
    pick = IntegerAccess(fresh(f"{eq.target.tensor}_at"), *eq.free)
    made = Equation(pick, eq.relation, eq.body, f"arg{eq.reduce}", eq.ties, rank)
    chosen = Relation(
        eq.relation.ranges,
        (*eq.relation.zero, rank + Affine.of([(pick, sp.S.NegativeOne)])),
        eq.relation.nonneg,
    )
    return [made], Equation(eq.target, chosen, eq.body), sp.S.One


def d_logsumexp(eq: Equation, fresh: _Names) -> Weighted:
    return [], replace(eq, reduce="sum"), sp.exp(eq.body - eq.target)


def d_prod(eq: Equation, fresh: _Names) -> Weighted:
    kept = set(eq.bound) - determined(eq)
    linear = replace(eq, reduce="sum")
    if not kept:
        return [], linear, sp.S.One
    other = {b: type(b)(fresh(f"{b.name}of")) for b in eq.bound}
    rank = rank_of(eq, kept)
    rank_other = rank.replaced(other)
    free = [r for r in eq.relation.ranges if r.index in eq.free]
    own = [r for r in eq.relation.ranges if r.index in kept]
    ranges = (*free, *own, *(Range(other[r.index], r.size) for r in eq.relation.ranges if r.index in other))
    zero = tuple(z.replaced(other) for z in eq.relation.zero)
    nonneg = tuple(z.replaced(other) for z in eq.relation.nonneg)
    made, weight = list[Equation](), sp.S.One
    for name, gap in (("before", rank + -rank_other), ("after", rank_other + -rank)):
        part = Access(fresh(f"{eq.target.tensor}_{name}"), *eq.free, *(r.index for r in own))
        made.append(
            Equation(
                part,
                Relation(ranges, zero, (*nonneg, gap.shifted(-1))),
                eq.body.xreplace(_reindexed(eq.body, other)),
                "prod",
            )
        )
        weight *= part
    return made, linear, weight


def _reindexed(body: sp.Expr, table: dict[Index, Index]) -> dict[sp.Basic, sp.Basic]:
    return {**table, **{a: a.xreplace(table) for a in accesses(body)}}


RULES: dict[str, Callable[[Equation, _Names], Weighted]] = {
    "sum": d_sum,
    "max": d_extremum,
    "min": d_extremum,
    "logsumexp": d_logsumexp,
    "prod": d_prod,
}


def linearise(
    program: Program, prefix: str, made_names: Collection[str]
) -> tuple[list[Equation], list[tuple[Equation, sp.Expr]], _Names]:
    """The forward equations with what the weights need, and (linear relation, weight) for each differentiable one."""
    taken = set(program.tensors)
    clash = sorted(taken & set(made_names))
    if clash:
        raise SpecError(
            f"tensor `{clash[0]}` has the name that the derivative of `{clash[0][len(prefix) :]}` gets; rename it"
        )
    fresh = _Names(
        taken | set(made_names) | {i.name for eq in program.equations for i in eq.relation.indices}
    )
    forward: list[Equation] = []
    linear: list[tuple[Equation, sp.Expr]] = []
    for eq in program.equations:
        forward.append(eq)
        if eq.reduce in RULES:
            extra, lin, weight = RULES[eq.reduce](eq, fresh)
            forward += extra
            linear.append((lin, weight))
    return forward, linear, fresh


def _real(program: Program) -> list[Tensor]:
    return [t for t in program.inputs if not t.integer]


def vjp(program: Program, prefix: str = "g") -> Program:
    """Cotangents `g<out>` of every real output in, gradients `g<in>` of every real input out."""
    table, wrt = program.tensors, [t.name for t in _real(program)]
    outs = [t for t in program.outputs if not t.integer]
    forward, linear, fresh = linearise(program, prefix, [prefix + t.name for t in (*outs, *_real(program))])
    active = set(wrt)
    for eq, _ in linear:
        if any(a.tensor in active for a in accesses(eq.body)):
            active.add(eq.target.tensor)
    read = {a.tensor for eq, _ in linear for a in accesses(eq.body)}
    adjoint = {t.name: prefix + t.name for t in outs} | {n: prefix + n for n in wrt}
    backward: list[Equation] = []
    for t in outs:
        if (
            t.name in read
        ):  # it feeds later equations: its whole adjoint is the given cotangent plus what comes back
            adjoint[t.name] = fresh(f"{prefix}{t.name}_total")
            free = tuple(Index(fresh(f"i{k}")) for k in range(len(t.shape)))
            ranges = tuple(Range(i, s) for i, s in zip(free, t.shape, strict=True))
            backward.append(
                Equation(Access(adjoint[t.name], *free), Relation(ranges), Access(prefix + t.name, *free))
            )
    reached = {t.name for t in outs}
    for eq, weight in reversed(linear):
        if eq.target.tensor not in reached:
            continue
        g = Access(adjoint[eq.target.tensor], *eq.free)
        for a in accesses(eq.body):
            d = partial(eq.body, a) if a.tensor in active and not isinstance(a, IntegerAccess) else sp.S.Zero
            if d != 0:
                if a.tensor not in adjoint:
                    adjoint[a.tensor] = fresh(prefix + a.tensor)
                reached.add(a.tensor)
                backward.append(Equation(Access(adjoint[a.tensor], *a.indices), eq.relation, g * weight * d))
    cotangents = tuple(Tensor(prefix + t.name, t.shape) for t in outs)
    outputs = tuple(Tensor(adjoint[n], table[n].shape) for n in wrt)
    given = {t.name for t in (*cotangents, *outputs)}
    local = tuple(Tensor(g, table[t].shape) for t, g in adjoint.items() if g not in given)
    return live(
        replace(
            program,
            inputs=(*program.inputs, *cotangents),
            equations=tuple(forward + backward),
            outputs=outputs,
            locals=(*program.locals, *_demoted(program), *local),
        )
    )


def _demoted(program: Program) -> tuple[Tensor, ...]:
    """What was an output is an intermediate of the derivative, with its declared shape."""
    return tuple(
        t for t in program.outputs if t.name not in {u.name for u in (*program.inputs, *program.locals)}
    )


def jvp(program: Program, prefix: str = "t") -> Program:
    """Tangents `t<in>` of every real input in, tangents `t<out>` of every real output out."""
    table, wrt = program.tensors, [t.name for t in _real(program)]
    outs = [t for t in program.outputs if not t.integer]
    forward, linear, fresh = linearise(program, prefix, [prefix + t.name for t in (*outs, *_real(program))])
    tangent = {n: prefix + n for n in wrt} | {t.name: prefix + t.name for t in outs}
    moving = set(wrt)
    made: list[Equation] = []
    for eq, weight in linear:
        for a in accesses(eq.body):
            d = partial(eq.body, a) if a.tensor in moving and not isinstance(a, IntegerAccess) else sp.S.Zero
            if d != 0:
                name = eq.target.tensor
                if name not in tangent:
                    tangent[name] = fresh(prefix + name)
                moving.add(name)
                made.append(
                    Equation(
                        Access(tangent[name], *eq.free),
                        eq.relation,
                        weight * d * Access(tangent[a.tensor], *a.indices),
                    )
                )
    given = tuple(Tensor(tangent[t], table[t].shape) for t in wrt)
    outputs = tuple(Tensor(tangent[t.name], t.shape) for t in outs)
    local = tuple(
        Tensor(g, table[t].shape)
        for t, g in tangent.items()
        if t not in wrt and t not in {o.name for o in outs}
    )
    return live(
        replace(
            program,
            inputs=(*program.inputs, *given),
            equations=tuple(forward + made),
            outputs=outputs,
            locals=(*program.locals, *_demoted(program), *local),
        )
    )


__all__ = ["RULES", "jvp", "linearise", "partial", "vjp"]
