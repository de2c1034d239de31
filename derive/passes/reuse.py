"""What a tensor holds is read from there, where working it out again would cost more.

    e[m,c] = exp(x[m,c] - peak[m]),   gx[m,c] = exp(x[m,c] - peak[m]) * ge[m,c]
                                  =   gx[m,c] = e[m,c] * ge[m,c]

A derivative often repeats what the forward equations have stored: that of exp is exp. Only of tensors that one equation
writes, all elements of them, point by point, and only where the formula has a function that costs more than a read.

Applied after differentiation, never before: it hides the formula from the rules of derivatives.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import sympy as sp

from derive.language import Index
from derive.program import Access, Equation, Program, costly


def reuse(program: Program) -> Program:
    """The program with reads of tensors in place of the costly formulas that they hold."""
    written = Counter(eq.target.tensor for eq in program.equations)
    held: list[Equation] = []
    made = list[Equation]()
    for eq in program.equations:
        for e in held:
            eq = _read(eq, e)
        made.append(eq)
        held = [e for e in held if eq.target.tensor not in {a.tensor for a in e.reads}]
        if written[eq.target.tensor] == 1 and _holds(program, eq):
            held.append(eq)
    return replace(program, equations=tuple(made))


def _holds(program: Program, eq: Equation) -> bool:
    """Does its target hold the value of a costly formula at every place?"""
    whole = tuple(eq.relation.size(i) for i in eq.free) == program.tensors[eq.target.tensor].shape
    tensors = [a.tensor for a in eq.reads]
    return eq.pointwise and whole and len(tensors) == len(set(tensors)) and costly(eq.body)


def _read(eq: Equation, held: Equation) -> Equation:
    """The equation with a read of what is held wherever its formula stands, in whatever letters."""
    found: dict[sp.Basic, sp.Basic] = {}
    for part in sp.preorder_traversal(eq.body):
        if type(part) is type(held.body) and (letters := _letters(held, part)) is not None:
            ranges = [(letters[i], held.relation.size(i)) for i in held.free]
            if all(eq.relation.size(i) == size for i, size in ranges if i in eq.relation.indices):
                found[part] = held.target.func(held.target.tensor, *(letters[i] for i in held.target.indices))
    return replace(eq, body=eq.body.xreplace(found)) if found else eq


def _letters(held: Equation, part: sp.Expr) -> dict[Index, Index] | None:
    """Which index stands for which, if the part is the formula that is held."""
    reads = {a.tensor: a for a in part.atoms(Access)}
    letters: dict[Index, Index] = {}
    for a in held.reads:
        if a.tensor not in reads:
            return None
        letters |= dict(zip(a.indices, reads[a.tensor].indices, strict=True))
    if letters.keys() != set(held.free):
        return None
    inside = {a: a.func(a.tensor, *(letters[i] for i in a.indices)) for a in held.reads}
    return letters if held.body.xreplace(inside) == part else None


__all__ = ["reuse"]
