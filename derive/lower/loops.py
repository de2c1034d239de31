"""The vocabulary of a lowered equation: steps in the order in which a nest takes them.

Integer expressions are SymPy's, with two division nodes of ours that SymPy does not rewrite.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from derive.language import Index
from derive.program import Access, Equation


class FloorDiv(sp.Function):
    """u // v for v > 0."""

    nargs = 2
    is_integer = True


class CeilDiv(sp.Function):
    """-(-u // v) for v > 0."""

    nargs = 2
    is_integer = True


class Modulo(sp.Function):
    """u % v for v > 0, in 0 .. v - 1."""

    nargs = 2
    is_integer = True


@dataclass(frozen=True, slots=True)
class Loop:
    """for index in range(largest of low, smallest of high)."""

    index: Index
    low: tuple[sp.Expr, ...]
    high: tuple[sp.Expr, ...]

    @property
    def plain(self) -> bool:
        """From 0 to the extent: nothing outside decides where it runs."""
        return self.low == (sp.S.Zero,) and len(self.high) == 1


@dataclass(frozen=True, slots=True)
class ResidueLoop:
    """index over those low <= index < high with `modulus` dividing total - factor * index.

    One residue class, found at run time by extended Euclid: phases are loops.
    """

    index: Index
    modulus: sp.Expr
    factor: sp.Expr
    total: sp.Expr
    low: tuple[sp.Expr, ...]
    high: tuple[sp.Expr, ...]


@dataclass(frozen=True, slots=True)
class Assign:
    """index = value; with `size`, only where 0 <= value < size."""

    index: Index
    value: sp.Expr
    size: sp.Expr | None = None


@dataclass(frozen=True, slots=True)
class Divides:
    """Only where divisor (> 0) divides value."""

    divisor: sp.Expr
    value: sp.Expr


@dataclass(frozen=True, slots=True)
class Test:
    """Only where value is 0 ("zero"), or >= 0 ("nonneg"), or 0 <= value < bound ("range")."""

    value: sp.Expr
    kind: str
    bound: sp.Expr = sp.S.Zero


Step = Loop | ResidueLoop | Assign | Divides | Test


def expressions(step: Step) -> tuple[sp.Expr, ...]:
    """Every formula that a step computes with."""
    parts = (getattr(step, name) for name in step.__slots__)
    values = (e for part in parts for e in (part if isinstance(part, tuple) else (part,)))
    return tuple(e for e in values if isinstance(e, sp.Expr))


@dataclass(frozen=True, slots=True)
class Nest:
    """One equation as loops.

    outer   loops over target indices that tasks share out: no two tasks write one element
    target  the other loops over target indices (gather), after which an accumulator opens
    inner   what is left; in a scatter it also finds the target's element
    adds    whether it may be asked to add to what its target holds already
    value   where an extremum is stored too, if the target is its place
    """

    equation: Equation
    strategy: str  # "gather" or "scatter"
    outer: tuple[Loop, ...]
    target: tuple[Loop, ...]
    inner: tuple[Step, ...]
    cost: float
    adds: bool = True
    value: Access | None = None

    def describe(self) -> str:
        shared = " ".join(s.index.name for s in self.outer) or "nothing (one task)"
        guards = sum(
            isinstance(s, (Test, Divides)) or (isinstance(s, Assign) and s.size is not None)
            for s in self.inner
        )
        phases = sum(isinstance(s, ResidueLoop) for s in self.inner)
        extra = [f"{phases} residue loop{'s' * (phases > 1)}"] * bool(phases) + [
            f"{guards} guard{'s' * (guards > 1)}"
        ] * bool(guards)
        return f"{self.strategy}, tasks share {shared}" + (f"; {', '.join(extra)}" if extra else "")
