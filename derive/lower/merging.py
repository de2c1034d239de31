"""Recognise indices that merely name elements: two of them are one wherever memory allows.

    gb[o] = sum[n,p,q] gy[n,o,p,q]      p and q stand together, or not at all, in every access

Where each of these arrays has the rows p directly behind each other, p and q are one index with P*Q values, and vectors
and loops are as much longer. Whether they do is seen from strides, when a call is prepared (`kernels.runtime.merging`).
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from derive.language import Index, extent
from derive.program import Access, Equation, accesses


def merging(eq: Equation, views: Sequence[Access]) -> dict[Index, tuple[int | None, ...]]:
    """The indices that may be merged with others, and the axis that each is of each view.

    Two of them may be if they are axes of the same views: so none is alone.
    """
    forms = [*eq.relation.zero, *eq.relation.nonneg, *([eq.at] if eq.at is not None else [])]
    values = eq.body.xreplace({a: sp.Dummy(real=True) for a in accesses(eq.body)})
    named = values.free_symbols.union(*(set(f.atoms) for f in forms))
    named |= {s for f in forms for e in (f.constant, *(c for _, c in f.terms)) for s in e.free_symbols}
    found: dict[Index, tuple[int | None, ...]] = {}
    for i in eq.relation.indices:
        if (
            eq.relation.size(i) == extent(i)
            and i not in named
            and extent(i) not in named - values.free_symbols
        ):
            found[i] = tuple(v.indices.index(i) if i in v.indices else None for v in views)
    while lonely := [i for i in found if not _fits(i, found, values)]:
        for i in lonely:
            del found[i]
    return found


def _fits(i: Index, found: dict[Index, tuple[int | None, ...]], values: sp.Expr) -> bool:
    """Are there others like it, and does what is worked out know of their extents by the product alone?"""
    others = [j for j in found if j != i and _views(found[j]) == _views(found[i])]
    return bool(others) and all(_same(values, extent(i), extent(j)) for j in others)


def _views(axes: tuple[int | None, ...]) -> list[bool]:
    return [axis is not None for axis in axes]


def _same(values: sp.Expr, one: sp.Symbol, other: sp.Symbol) -> bool:
    """Is it the same where one extent is 1 and the other the product of both?"""
    if not {one, other} & values.free_symbols:
        return True
    return bool(sp.expand(values.xreplace({one: sp.S.One, other: one * other}) - values) == 0)


__all__ = ["merging"]
