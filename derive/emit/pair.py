"""What a contraction does at each point, as a function of two vectors and of what there is: no product, or no sum."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from derive.emit.vectors import Block, VectorWriter, fused
from derive.lower.loops import Nest
from derive.program import Access


def pair_source(nest: Nest, body: sp.Expr, reads: Sequence[Access], name: str) -> tuple[str, set[str]]:
    """The function, and what it needs from the runtime; NoVector if it has no form in lanes."""
    return _PairWriter(nest).text(body, reads, name)


class _PairWriter(VectorWriter):
    def text(self, body: sp.Expr, reads: Sequence[Access], name: str) -> tuple[str, set[str]]:
        self.used.clear()
        self.b = Block({})  # there is no index here
        marks: dict[sp.Basic, sp.Basic] = {read: sp.Dummy(read.tensor, real=True) for read in reads}
        operands = [self.name(mark, mark.name) for mark in marks.values()]
        self.b.vectors |= set(marks.values())
        value, kind = self.lane_body(marks, body), self.eq.reduce
        if kind == "sum":
            now = fused(value, "total") or f"total + {value}"
            self.used |= {"fma"} if now.startswith("fma(") else set()
        else:
            now = self.call(f"{kind}imum", "total", value)
        self.put(f"return {now}")
        given = ", ".join(f"{n}: Vector" for n in operands)
        head = f"def {name}(lanes: Lanes, total: Vector, {given}) -> Vector:"
        doc = f'    """{kind.capitalize()} of {body}: what there is, and a point more."""'
        return "\n".join(["@kernel", head, doc, *self.lines]), set(self.used)
