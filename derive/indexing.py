"""Index expressions move into the relation, and plain indices are left.

    x[n, s*p + k]       x[n, q]        { s*p + k - q = 0 }
    floor(u / m)        lap            { u - m*lap >= 0, m*lap + m - 1 - u >= 0 }
    u mod m             u - m*lap      { the same }
    circular(u)         u - size*lap   and its axis bounds it, so that a lap index alone says it
    t[n]                               an integer tensor's element stands in an affine form as it is

An expression of any other form is refused: `check_form` before sizes are known, `linear` for what it leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy as sp

from derive.errors import SpecError
from derive.language import FOLDS, Index, Lap, Read, Reduce, Size, Tensor, circular
from derive.program import Access, Affine, IntegerAccess, Range, Relation, affine, fresh_name
from derive.ranges import LAPS, Ranges, outermost


def check_form(e: sp.Expr, where: object) -> None:
    """Refuse an index expression that no relation can hold."""
    parts = outermost(e, Read, Reduce, *LAPS, *FOLDS.values())
    plain = {f: Index(f"v{k}") for k, f in enumerate(parts) if f.is_integer is not False}
    if affine(e.xreplace(plain)) is None:
        raise _not_affine(e, where)


def _not_affine(e: sp.Expr, where: object) -> SpecError:
    return SpecError(
        f"the index expression `{e}` in {where} is not affine in indices (with whole numbers, parameters and extents as "
        f"coefficients), floor, mod, a fold, or an integer tensor's element"
    )


def access(tensor: Tensor, *at: Index) -> Access:
    """An element of a tensor at plain indices."""
    return (IntegerAccess if tensor.integer else Access)(tensor.name, *at)


class Scope:
    """One equation's relation under construction: the indices made for it, and what holds of all of them."""

    def __init__(self, ranges: Ranges, taken: set[str]) -> None:
        self.ranges = ranges
        self.names: dict[tuple[Any, ...], Index] = {}
        self.made: list[Range] = []
        self.zero: list[Affine] = []
        self.nonneg: list[Affine] = []
        self.taken = {name.upper() for name in taken}

    def relation(self, own: Sequence[Index]) -> Relation:
        """The points over the equation's own indices and those made here."""
        ranges = (*(Range(i, self.ranges.size(i)) for i in own), *self.made)
        return Relation(ranges, tuple(self.zero), tuple(self.nonneg))

    def index(self, name: str, size: sp.Expr, kind: type[Index] = Index) -> Index:
        """A new index; its extent's name, in capitals, is new too."""
        number = fresh_name(name.upper(), self.taken)[len(name) :]
        made = kind(name + number)
        self.made.append(Range(made, size))
        return made

    def plain(self, r: Read) -> Access:
        """The read at plain, distinct indices."""
        tensor, out = r.tensor, list[Index]()
        self.ranges.rank(r)
        for axis, e in enumerate(r.at):
            if isinstance(e, Index) and e not in out:
                out.append(e)
                continue
            key = (tensor.name, axis, e)
            if key not in self.names or self.names[key] in out:
                size = self.ranges.axis_size(tensor.name, axis)
                fold = isinstance(e, circular)
                form = self.wrapped(e.args[0], size, str(r)) if fold else self.linear(e, str(r))
                q = self.index(f"{tensor.name}{axis}".replace("_", ""), size)
                self.zero.append(form + Affine.of([(q, sp.S.NegativeOne)]))
                self.names[key] = q
            out.append(self.names[key])
        return access(tensor, *out)

    def linear(self, e: sp.Expr, where: str) -> Affine:
        """An index expression as an affine form; floor and mod give a lap index and its two inequalities."""
        table: dict[sp.Expr, sp.Expr] = {}
        for f in sorted(outermost(e, *LAPS), key=lambda f: -len(str(f))):
            if isinstance(f, sp.Mod):
                u, m = f.args
                table[f] = u - m * self.lap(u, m, where)
            else:
                u, m = sp.fraction(sp.together(f.args[0]))
                up = isinstance(f, sp.ceiling)
                table[f] = -self.lap(-u, m, where) if up else self.lap(u, m, where)
        e = e.xreplace(table)
        e = e.xreplace({r: self.element(r) for r in outermost(e, Read)})
        if e.has(*FOLDS.values()):
            raise SpecError(f"a folded index stands alone on its axis, found `{e}`")
        form = affine(e)
        if form is None:
            raise _not_affine(e, where)
        return form

    def element(self, r: Read) -> Access:
        """An integer tensor's element in an index. It lies in its tensor: copies are of real numbers."""
        declared = r.tensor.outside != "absent"
        for axis, e in enumerate(r.at):
            fold = isinstance(e, tuple(FOLDS.values()))
            if not isinstance(e, circular) and (fold or (declared and self.ranges.may_leave(r, axis))):
                raise SpecError(
                    f"`{r}` is an index, and reaches outside {r.tensor}, where none is; clip or wrap it"
                )
        return self.plain(r)

    def lap(self, u: sp.Expr, m: sp.Expr, where: str) -> sp.Expr:
        """floor(u / m) as an index: m*lap <= u < m*lap + m."""
        if m.has(Index, Read) or not (m.is_positive or isinstance(m, Size)):
            raise SpecError(f"the divisor `{m}` in {where} is a positive parameter, size or number")
        form = self.linear(u, where)
        low, high = self.ranges.reach(u)
        over = m if m.is_positive else sp.Max(1, m)  # an empty axis has no points, and its laps a number
        first = sp.floor(low / over) if low != 0 else sp.S.Zero
        index = self.index("lap", sp.expand(sp.floor(high / over) - first + 1), Lap)
        value = Affine.of([(index, m)], m * first)
        self.nonneg.append(form + -value)
        self.nonneg.append((value + -form).shifted(m - 1))
        return index + first

    def wrapped(self, u: sp.Expr, size: sp.Expr, where: str) -> Affine:
        """u mod size: which lap it is on, and no mod is left."""
        form = self.linear(u, where)
        low, high = self.ranges.reach(u)
        whole = sp.Max(1, size)
        first = sp.floor(low / whole)
        lap = self.index("lap", sp.floor(high / whole) - first + 1, Lap)
        return form + Affine.of([(lap, -size)], -size * first)

    def require(self, condition: sp.Basic) -> None:
        """Only the points where a condition on indices holds."""
        if isinstance(condition, sp.And):
            for part in condition.args:
                self.require(part)
        elif isinstance(condition, (sp.Le, sp.Lt)) and isinstance(condition.lhs, sp.Abs):  # |u| <= v
            for u in (condition.lhs.args[0], -condition.lhs.args[0]):
                self.require(condition.func(u, condition.rhs))
        elif condition == sp.false:
            self.nonneg.append(Affine((), sp.S.NegativeOne))
        elif condition != sp.true:
            form = self.linear(at_least_zero(condition), str(condition))
            (self.zero if isinstance(condition, sp.Eq) else self.nonneg).append(form)


def in_relation(condition: sp.Basic) -> bool:
    """Whether a relation can hold a condition: an equality or an inequality of index expressions."""
    if condition in (sp.true, sp.false):
        return True
    if any(e.is_integer is not True for e in condition.atoms(Read, Reduce)):
        return False
    if isinstance(condition, (sp.Le, sp.Lt)) and isinstance(condition.lhs, sp.Abs):
        condition = condition.func(condition.lhs.args[0], condition.rhs)
    try:
        check_form(at_least_zero(condition), condition)
    except SpecError:
        return False
    return True


def at_least_zero(w: sp.Basic) -> sp.Expr:
    """A relational as e >= 0 (for Eq: e = 0). For integers q >= floor(e/m) is m*(q+1) - e - 1 >= 0, and so on."""
    rules = {
        sp.Ge: lambda l, r: l - r,
        sp.Gt: lambda l, r: l - r - 1,
        sp.Le: lambda l, r: r - l,
        sp.Lt: lambda l, r: r - l - 1,
        sp.Eq: lambda l, r: l - r,
    }
    if type(w) not in rules:
        raise SpecError(f"a condition is a comparison of index expressions, found `{w}`")
    left, right = w.lhs, w.rhs
    if not w.has(*LAPS):  # q < n/2 is 2*q < n
        num, den = sp.fraction(sp.together(left - right))
        if den != 1 and (den.is_positive or isinstance(den, Size)):
            left, right = sp.expand(num), sp.S.Zero
    e = rules[type(w)](left, right)
    e = e.replace(sp.ceiling, lambda u: -sp.floor(-u, evaluate=False))
    floors = sorted(e.atoms(sp.floor), key=str)
    if len(floors) != 1 or isinstance(w, sp.Eq):
        return e
    (f,), sign = floors, e.coeff(floors[0])
    if sign not in (1, -1):
        return e
    num, den = sp.fraction(sp.together(f.args[0]))
    if not (den.is_positive or isinstance(den, Size)):
        return e
    a = e - sign * f
    return sp.expand(num + den * a if sign == 1 else den * (a + 1) - num - 1)


__all__ = ["Scope", "access", "at_least_zero", "check_form"]
