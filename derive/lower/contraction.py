"""Recognise a contraction: a sum of products of two accesses, as rows x columns x steps.

    y[batch, rows, columns] = sum over steps of  A[batch, rows, steps] * B[batch, columns, steps]

Nothing here knows a convolution. Each index that an equality gives (with coefficient 1 or -1, or a run-time
coefficient that the kernel compares with 1) is written by the others, so that every axis of A and B is an
affine form of the basis indices. A basis index is

    rows     in A and the target        columns  in B and the target
    steps    in A and B only            batch    in all three

A's element then lies at row_table[row] + step_table[step]: stride, dilation and kernel size are data.
An equation of any other form is left to the plain loops.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import sympy as sp

from derive.language import Index
from derive.program import Access, Affine, Equation, IntegerAccess


@dataclass(frozen=True, slots=True)
class Operand:
    """One factor: for each axis the plain index, or the affine form of basis indices that gives it."""

    access: Access
    forms: tuple[Affine | None, ...]

    def uses(self, i: Index) -> bool:
        return any(
            (a == i and f is None) or (f is not None and i in f.indices)
            for a, f in zip(self.access.indices, self.forms, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Contraction:
    equation: Equation
    scale: sp.Expr  # what multiplies each product
    a: Operand
    b: Operand
    batch: tuple[Index, ...]
    rows: tuple[Index, ...]
    columns: tuple[Index, ...]
    steps: tuple[Index, ...]
    units: tuple[sp.Expr, ...]  # run-time coefficients that must be 1

    def describe(self) -> str:
        roles = ("rows", "columns", "steps", "batch")
        parts = [f"{role} {' '.join(i.name for i in getattr(self, role)) or '-'}" for role in roles]
        a, b = self.a.access.tensor, self.b.access.tensor
        where = f" where {', '.join(f'{u} = 1' for u in self.units)}" if self.units else ""
        return f"contraction: {', '.join(parts)}; {b} in panels, {a} through offset tables{where}"


def contraction(eq: Equation) -> Contraction | None:
    """The equation as a contraction, or None. The operand with more index arithmetic is behind the tables."""
    if eq.reduce != "sum" or eq.relation.nonneg or not eq.bound:
        return None
    factors = sp.Mul.make_args(eq.body)
    reads = [f for f in factors if isinstance(f, Access)]
    scale = sp.Mul(*(f for f in factors if not isinstance(f, Access)))
    if (
        len(reads) != 2
        or reads[0] == reads[1]
        or scale.has(Access, Index)
        or any(isinstance(r, IntegerAccess) for r in reads)
    ):
        return None
    solved = _solved(eq, reads)
    if solved is None:
        return None
    forms, units = solved
    basis = [i for i in eq.relation.indices if i not in forms]
    made = []
    for first, second in permutations(reads):
        a = Operand(first, tuple(forms.get(i) for i in first.indices))
        b = Operand(second, tuple(forms.get(i) for i in second.indices))
        roles: dict[str, list[Index]] = {"batch": [], "rows": [], "columns": [], "steps": []}
        kind = {
            (True, True, True): "batch",
            (True, False, True): "rows",
            (False, True, True): "columns",
            (True, True, False): "steps",
        }
        for i in basis:
            role = kind.get((a.uses(i), b.uses(i), i in eq.free))
            if role is None:
                break
            roles[role].append(i)
        else:
            if roles["rows"] and roles["columns"] and roles["steps"]:
                batch, rows, columns, steps = (tuple(ii) for ii in roles.values())
                made.append(Contraction(eq, scale, a, b, batch, rows, columns, steps, units))
    return max(made, key=lambda c: sum(f is not None for f in c.a.forms), default=None)


def _solved(eq: Equation, reads: list[Access]) -> tuple[dict[Index, Affine], tuple[sp.Expr, ...]] | None:
    """For each equality one bound index, on an axis of one operand, as a form of indices that none gives."""
    forms: dict[Index, Affine] = {}
    units: list[sp.Expr] = []
    for z in eq.relation.zero:
        if z.reads:
            return None
        choices = [
            i
            for i in z.indices
            if i not in eq.free
            and i not in forms
            and sum(i in r.indices for r in reads) == 1
            and not any(i in other.indices for other in eq.relation.zero if other is not z)
        ]
        choices.sort(key=lambda i: (z.coefficient(i) not in (1, -1), eq.relation.indices.index(i)))
        if not choices:
            return None
        v = choices[0]
        c = z.coefficient(v)
        if c not in (1, -1):
            core = -c if c.could_extract_minus_sign() else c
            if not core.is_Symbol:
                return None
            units.append(core)
            c = sp.S.One if core is c or core == c else sp.S.NegativeOne
        rest = z.without(v)
        forms[v] = rest.scaled(-c)
    if any(set(f.indices) & forms.keys() for f in forms.values()):
        return None
    if any(not (c.is_nonnegative or (-c).is_nonnegative) for f in forms.values() for _, c in f.terms):
        return None
    return forms, tuple(dict.fromkeys(units))
