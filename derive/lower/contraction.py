"""Recognise a contraction: a sum of products of two accesses, as rows x columns x steps.

    y[batch, rows, columns] = sum over steps of  A[batch, rows, steps] * B[batch, columns, steps]

Nothing here knows a convolution. Each index that an equality gives (with coefficient 1 or -1, or a run-time
coefficient that the kernel compares with 1) is written by the others, so that every axis of A and B is an
affine form of the basis indices. A basis index is

    rows     in A and the target        columns  in B and the target
    steps    in A and B only            batch    in all three

A's element then lies at row_table[row] + step_table[step]: stride, dilation and kernel size are data.

Where s*v + d*k + c = q gives v, q a row and k a step, v is an integer only on some pairs. With q in one class
modulo s, k runs over one residue class too, k = k0 + t*s/g, and v moves by one with the next q of the class and
by -d/g with the next t: each class is a contraction of its own, with unit coefficients. The classes are a
run-time loop.

A sum of any other formula of two reads, |x - w| say, and a maximum or minimum of one are contractions too, if no
point is missing: what a product vanishes at, zeros around an operand, they need not.
An equation of any other form is left to the plain loops.
"""

from __future__ import annotations

from collections.abc import Sequence
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
class Phased:
    """modulus*solved + factor*step + constant = row, modulus >= 1: solved is an integer on residue classes."""

    solved: Index
    row: Index
    step: Index
    modulus: sp.Expr
    factor: sp.Expr
    constant: sp.Expr


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
    phased: tuple[Phased, ...] = ()
    # what is reduced at each point, where it is no product or the reduction no sum: a formula of the two accesses
    pair: sp.Expr | None = None

    def describe(self) -> str:
        roles = ("rows", "columns", "steps", "batch")
        parts = [f"{role} {' '.join(i.name for i in getattr(self, role)) or '-'}" for role in roles]
        a, b = self.a.access.tensor, self.b.access.tensor
        if self.pair is not None:
            parts[0] = f"{self.equation.reduce} of {self.pair}: {parts[0]}"
        where = f" where {', '.join(f'{u} = 1' for u in self.units)}" if self.units else ""
        where += "".join(f"; {p.row} in classes modulo {p.modulus}" for p in self.phased)
        return f"contraction: {', '.join(parts)}; {b} in panels, {a} through offset tables{where}"


def contraction(eq: Equation, rank: Sequence[Index] = ()) -> Contraction | None:
    """The equation as a contraction, or None. The operand with more index arithmetic is behind the tables.

    Of choices as good as each other, `rank` decides, an order of the indices that comes from structure alone.
    """
    rank = rank or eq.relation.indices
    if eq.reduce not in ("sum", "max", "min") or eq.relation.nonneg or not eq.bound:
        return None
    reads = sorted(eq.body.atoms(Access), key=str)
    if len(reads) != 2 or any(isinstance(r, IntegerAccess) for r in reads):
        return None
    scale, pair = _product(eq, reads)
    if scale.has(Access, Index) or (pair is not None and not _of_reads(pair, reads)):
        return None
    solved = _solved(eq, reads, rank, pair is not None)
    if solved is None:
        return None
    forms, units, phased = solved
    if pair is not None and phased:
        return None
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
                if all(p.row in rows and p.step in steps and a.uses(p.row) for p in phased):
                    made.append(
                        Contraction(eq, scale, a, b, batch, rows, columns, steps, units, phased, pair)
                    )

    def merit(c: Contraction) -> tuple[int, list[int]]:
        return -sum(f is not None for f in c.a.forms), sorted(map(rank.index, c.a.access.indices))

    return min(made, key=merit, default=None)


def _product(eq: Equation, reads: Sequence[Access]) -> tuple[sp.Expr, sp.Expr | None]:
    """What multiplies each product of a sum of such; or 1, and the formula that is reduced instead."""
    scale = sp.Mul(*(f for f in sp.Mul.make_args(eq.body) if f not in reads))
    if eq.reduce == "sum" and sp.expand(eq.body - scale * reads[0] * reads[1]) == 0:
        return scale, None
    return sp.S.One, eq.body


def _of_reads(e: sp.Expr, reads: Sequence[Access]) -> bool:
    """Does a formula know no more than its reads?"""
    marks = {r: sp.Dummy() for r in reads}
    return bool(e.xreplace(marks).free_symbols <= set(marks.values()))


Solution = tuple[dict[Index, Affine], tuple[sp.Expr, ...], tuple[Phased, ...]]


def _solved(eq: Equation, reads: list[Access], rank: Sequence[Index], inside: bool) -> Solution | None:
    """For each equality one bound index, on an axis of one operand, as a form of indices that none gives.

    `inside`: rather one that grows with all the others, since a difference of indices often lies outside an axis.
    """
    forms: dict[Index, Affine] = {}
    units: list[sp.Expr] = []
    phased: list[Phased] = []
    for z in eq.relation.zero:
        if z.reads:
            return None
        others = [o for o in eq.relation.zero if o is not z]
        choices = [
            i
            for i in z.indices
            if i not in eq.free
            and i not in forms
            and sum(i in r.indices for r in reads) == 1
            and not any(i in other.indices for other in others)
        ]

        def merit(i: Index, z: Affine = z) -> tuple[bool, bool, int]:
            form = z.without(i).scaled(-z.coefficient(i))
            falls = any(not c.is_nonnegative for _, c in form.terms)
            return z.coefficient(i) not in (1, -1), inside and falls, rank.index(i)

        choices.sort(key=merit)
        if not choices:
            return None
        v = choices[0]
        c = z.coefficient(v)
        if c not in (1, -1):
            core = -c if c.could_extract_minus_sign() else c
            if not core.is_Symbol:
                return None
            found = _phased(eq, z if c == core else -z, v, others, reads)
            if found is not None:
                phased.append(found)
                forms[v] = Affine.of(
                    [(found.row, sp.S.One), (found.step, sp.S.NegativeOne)]
                )  # who it depends on
                continue
            units.append(core)
            c = sp.S.One if c == core else sp.S.NegativeOne
        forms[v] = z.without(v).scaled(-c)
    if any(set(f.indices) & forms.keys() for f in forms.values()):
        return None
    if any(not (c.is_nonnegative or (-c).is_nonnegative) for f in forms.values() for _, c in f.terms):
        return None
    return forms, tuple(dict.fromkeys(units)), tuple(phased)


def _phased(eq: Equation, z: Affine, v: Index, others: list[Affine], reads: list[Access]) -> Phased | None:
    """modulus*v + factor*step + constant - row = 0, the row and the step in no other equality."""
    rest = [i for i in z.indices if i != v]
    rows = [
        i for i in rest if i in eq.free and z.coefficient(i) == -1 and not any(i in r.indices for r in reads)
    ]
    steps = [i for i in rest if i not in eq.free]
    modulus = z.coefficient(v)
    if len(rest) != 2 or len(rows) != 1 or len(steps) != 1 or not modulus.is_positive:
        return None
    factor = z.coefficient(steps[0])
    shared = any(i in other.indices for other in others for i in rest)
    if shared or not (factor.is_nonnegative or (-factor).is_nonnegative):
        return None
    return Phased(v, rows[0], steps[0], modulus, factor, z.constant)
