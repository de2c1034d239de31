"""One exponential where a formula has one for each sign of its argument.

    1/(1 + exp(-u)) if u > 0 else exp(u)/(1 + exp(u))   =   (1 if u > 0 else t)/(1 + t),    t = exp(-|u|)

Formulas are written in two branches so that no exponential overflows; what one branch reads is what the other would of
the mirrored argument. Loops work out both and choose, and derivatives have more of each. With t they share all of it:
equal branches need no choice, equal denominators no second division, equal terms no second logarithm. The derivative of
the one above is t/(1 + t)^2 on both sides.

Applied after differentiation, never before: |u| has a kink that the formula has not.
"""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derive.program import Program


def mirror(program: Program) -> Program:
    """The program with an exponential of -|u| for those of u and of -u in the branches of a choice by the sign of u."""
    equations = [
        replace(eq, body=_mirrored(eq.body)) if eq.body.has(sp.Piecewise) and eq.body.has(sp.exp) else eq
        for eq in program.equations
    ]
    return replace(program, equations=tuple(equations))


def _mirrored(e: sp.Expr) -> sp.Expr:
    if not e.args or not e.has(sp.Piecewise):
        return e
    e = e.func(*(_mirrored(a) if isinstance(a, sp.Expr) else _arm(a) for a in e.args))
    return _one(e) if isinstance(e, sp.Piecewise) else e


def _arm(a: sp.Basic) -> sp.Basic:
    """A branch of a choice: its formula, and its condition as it is."""
    return (
        a.func(_mirrored(a.args[0]), *a.args[1:])
        if isinstance(a, sp.functions.elementary.piecewise.ExprCondPair)
        else a
    )


def _one(e: sp.Piecewise) -> sp.Expr:
    """The choice with one exponential, if it is one between the signs of what both branches are exponentials of."""
    if len(e.args) != 2 or e.args[1].cond != sp.true:
        return e
    (first, condition), (second, _) = e.args
    if not isinstance(condition, (sp.StrictGreaterThan, sp.StrictLessThan)):
        return e
    u = sp.expand(condition.gts - condition.lts)  # positive where the first branch is taken
    t = sp.Dummy("t", positive=True)
    one, other = _powers(first, -u, t), _powers(second, u, t)
    if one is None or other is None:
        return e
    common = set(sp.Add.make_args(one)) & set(sp.Add.make_args(other))
    one, other = (sp.Add(*(a for a in sp.Add.make_args(x) if a not in common)) for x in (one, other))
    one, other = _short(one), _short(other)
    (above, below), (its_above, its_below) = sp.fraction(one), sp.fraction(other)
    if one == other:
        chosen = one
    elif below == its_below and below != 1:
        chosen = sp.Piecewise((above, condition), (its_above, True)) / below
    else:
        chosen = sp.Piecewise((one, condition), (other, True))
    made: sp.Expr = sp.Add(*common, chosen).xreplace({t: sp.exp(-sp.Abs(u))})
    return made


def _powers(e: sp.Expr, u: sp.Expr, t: sp.Symbol) -> sp.Expr | None:
    """The formula with t for exp(u), if all its exponentials are natural powers of that."""
    found: dict[sp.Expr, sp.Expr] = {}
    for power in e.atoms(sp.exp):
        times = sp.cancel(power.exp / u)
        if not (times.is_Integer and times.is_positive):
            return None
        found[power] = t**times
    return e.xreplace(found) if found else None


def _short(e: sp.Expr) -> sp.Expr:
    """As one quotient of products, if that is shorter."""
    made = sp.factor(sp.together(e))
    return made if sp.count_ops(made) <= sp.count_ops(e) else sp.together(e)


__all__ = ["mirror"]
