"""A scatter by a table: what an integer of the innermost loop decides is worked out once for each value that it may have.

    for p1:  k0, k1 = divmod(y_at[p0, p1], K1);  x2 = s0*p0 + d0*k0 - a0;  x3 = ...     0 <= y_at < K0*K1
             gx[x2, x3] += gy[p0, p1]

What follows from the read alone (k0, k1, and how far they move the place) is the table. With it a point costs two
reads of integers and one addition to memory, in the order of the plain loops. An index with a part from the table and
a part from the loops is in range for all values at once over an interval of the innermost loop; at its borders the
plain steps are taken.

Left to other lowerings: two reads that decide, a part that falls as the innermost index grows or whose sign is not
known, and a sum of anything that differs from value to value.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from derive.language import Index
from derive.lower.loops import Assign, Loop, Nest, Step, Test
from derive.program import Affine, IntegerAccess, affine


@dataclass(frozen=True, slots=True)
class Placed:
    """An index that is a part from the table and a part from the loops, and must be below its size, if it has one."""

    index: Index
    own: sp.Expr
    rest: Affine
    size: sp.Expr | None


@dataclass(frozen=True, slots=True)
class Scatter:
    """`before` and `loop`, the innermost, are steps of the nest, `after` those that the table stands for.

    key      the read that decides, 0 <= key < bound
    own      what follows from it alone
    placed   indices that it decides together with the loops
    """

    before: tuple[Step, ...]
    loop: Loop
    after: tuple[Step, ...]
    key: IntegerAccess
    bound: sp.Expr
    own: tuple[Assign, ...]
    placed: tuple[Placed, ...]

    def describe(self) -> str:
        return f"scatter by a table over {self.key.tensor}"


def scattered(nest: Nest) -> Scatter | None:
    """The scatter whose innermost loop has a table, or None."""
    places = [k for k, s in enumerate(nest.inner) if isinstance(s, Loop)]
    if nest.strategy != "scatter" or not places:
        return None
    before, loop, after = nest.inner[: places[-1]], nest.inner[places[-1]], nest.inner[places[-1] + 1 :]
    assert isinstance(loop, Loop)
    moved = {s.index for s in after if isinstance(s, Assign)}
    key: IntegerAccess | None = None
    own, placed, bound = list[Assign](), list[Placed](), sp.S.Zero
    for s in after:
        if not isinstance(s, (Assign, Test)):
            return None
        if key is None and isinstance(s.value, IntegerAccess) and not moved & set(s.value.indices):
            size = s.bound if isinstance(s, Test) and s.kind == "range" else None
            size = s.size if isinstance(s, Assign) else size
            if size is None:
                return None
            key, bound = s.value, size
            own += [Assign(s.index, key)] if isinstance(s, Assign) else []
            continue
        if key is None or isinstance(s, Test):
            return None
        held = {key, *(o.index for o in own)}
        mark = sp.Dummy(integer=True)
        if set(s.value.xreplace({key: mark}).free_symbols) & set(nest.equation.relation.indices) <= held:
            own.append(Assign(s.index, s.value))
            placed += [Placed(s.index, s.index, Affine(()), s.size)] if s.size is not None else []
            continue
        form = affine(s.value)
        if form is None:
            return None
        rest = form.without(*held)
        slope = rest.coefficient(loop.index)
        if rest.reads or moved & set(rest.indices) or not (slope == 0 or slope.is_positive):
            return None
        placed.append(Placed(s.index, sp.expand(form.expr - rest.expr), rest, s.size))
    if key is None or moved & nest.equation.body.free_symbols:
        return None
    return Scatter(before, loop, after, key, bound, tuple(own), tuple(placed))
