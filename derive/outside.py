"""Reads whose index map has several pieces: a fold, or a value outside. They go through a copy of the tensor.

An element r of the copy, on its one axis, is what a read at u = r + low finds, q a position in the tensor:

    value       { q = u }   and the value on { u <= -1 } and { u >= size }
    replicate   { q = u },  { q = 0, u <= -1 },  { q = size - 1, u >= size }
    symmetric   { q = u - 2*size*lap },  { q = 2*size*lap - 1 - u }
    reflect     { q = u - 2*(size - 1)*lap },  { q = 2*(size - 1)*lap - u, 1 <= q <= size - 2 }
    circular    { q = u - size*lap }

Each piece is an equation, one axis at a time. Where the value outside is zero and the body vanishes with the
read there is no copy. Circular needs none, since a lap index alone says it (`indexing`); it gets one where several
indices make up the place (a window), so that an element is read at many points and its lap is found once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy as sp

from derive.errors import SpecError
from derive.indexing import access
from derive.language import FOLDS, Index, Lap, Read, Size, Tensor, circular, inside
from derive.program import Access, Affine, Equation, Range, Relation, fresh_name, vanishes
from derive.ranges import Ranges, outermost, reads_of


@dataclass(frozen=True, slots=True)
class Axis:
    """The axis of a copy on which reads go outside: its element r stands for u = r + low <= high."""

    r: Index
    q: Index
    lap: Index
    size: sp.Expr
    low: sp.Expr
    high: sp.Expr

    @property
    def u(self) -> Affine:
        return Affine.of([(self.r, sp.S.One)], self.low)

    @property
    def minus_q(self) -> Affine:
        return Affine.of([(self.q, sp.S.NegativeOne)])

    @property
    def before(self) -> Affine:  # u <= -1
        return (-self.u).shifted(-1)

    @property
    def after(self) -> Affine:  # u >= size
        return self.u.shifted(-self.size)

    def piece(self, zero: Affine, *nonneg: Affine, laps: tuple[Range, ...] = ()) -> Relation:
        return Relation((*laps, Range(self.q, self.size)), (zero,), nonneg)

    def laps(self, period: sp.Expr) -> tuple[Range, Affine]:
        """The laps of a period that u is on, and period * lap, the first one's number included."""
        whole = sp.Max(1, period)
        first, last = sp.floor(self.low / whole), sp.floor(self.high / whole)
        return Range(self.lap, last - first + 1), Affine.of([(self.lap, period)], period * first)


def within(a: Axis) -> list[Relation]:
    return [a.piece(a.u + a.minus_q)]


def beyond(a: Axis) -> list[Relation]:
    """Where the value outside stands."""
    return [Relation((), (), (a.before,)), Relation((), (), (a.after,))]


def replicate(a: Axis) -> list[Relation]:
    last = a.minus_q.shifted(a.size - 1)
    return [*within(a), a.piece(a.minus_q, a.before), a.piece(last, a.after)]


def symmetric(a: Axis) -> list[Relation]:
    period = 2 * a.size
    laps, start = a.laps(period)
    mirror = -a.u + a.minus_q + start.shifted(period - 1)
    return [a.piece(a.u + a.minus_q + -start, laps=(laps,)), a.piece(mirror, laps=(laps,))]


def reflect(a: Axis) -> list[Relation]:
    period = sp.Max(1, 2 * (a.size - 1))
    laps, start = a.laps(period)
    mirror = -a.u + a.minus_q + start.shifted(period)
    inner = (-a.minus_q).shifted(-1), a.minus_q.shifted(a.size - 2)  # the edges belong to the other piece
    return [a.piece(a.u + a.minus_q + -start, laps=(laps,)), a.piece(mirror, *inner, laps=(laps,))]


def wrapped(a: Axis) -> list[Relation]:
    laps, start = a.laps(a.size)
    return [a.piece(a.u + a.minus_q + -start, laps=(laps,))]


PIECES: dict[str, Callable[[Axis], list[Relation]]] = {
    "value": within,
    "replicate": replicate,
    "symmetric": symmetric,
    "reflect": reflect,
    "circular": wrapped,
}


class Copies:
    """The copies of one operator; reads that share one map share one copy. Their equations go to `equations`."""

    def __init__(
        self, ranges: Ranges, equations: list[Equation], tensor_names: set[str], index_names: set[str]
    ) -> None:
        self.ranges = ranges
        self.equations = equations
        self.tensor_names = tensor_names
        self.index_names = index_names
        self.made: dict[tuple[Any, ...], Tensor] = {}

    def through(self, body: sp.Expr, kind: str) -> sp.Expr:
        """The body with every read that needs one going through a copy."""
        table: dict[sp.Basic, sp.Basic] = {}
        marks = {m.args[0] for m in body.atoms(inside)}
        for r in outermost(body, Read):
            table[r] = self.read(r, marked=r in marks, vanishes=kind == "sum" and vanishes(body, r))
        return body.xreplace(table)

    def read(self, r: Read, marked: bool, vanishes: bool) -> Read:
        """One read: folds as written, and what its tensor declares outside where that counts."""
        outside = r.tensor.outside
        new = r
        for axis, e in enumerate(r.at):
            fold = next((name for name, f in FOLDS.items() if isinstance(e, f)), None)
            if fold is not None:
                if fold != "circular" or is_window(e.args[0]):
                    new = self.copy(new, axis, fold, e.args[0])
            elif outside != "absent" and not marked and self.ranges.may_leave(r, axis):
                if outside == "circular" and not is_window(e):
                    new = Read(new.tensor, *new.at[:axis], circular(e), *new.at[axis + 1 :])
                elif isinstance(outside, str):
                    new = self.copy(new, axis, outside, e)
                elif outside != 0 or not vanishes:
                    new = self.copy(new, axis, "value", e, outside)
        return new

    def copy(self, r: Read, axis: int, mode: str, u: sp.Expr, value: sp.Expr = sp.S.Zero) -> Read:
        """A read of `r` with axis `axis` at u, u anywhere: through a copy that holds every u that occurs."""
        if u.has(Read):
            raise SpecError(
                f"{r}: an index that an integer tensor gives cannot reach outside; clip it before"
            )
        low, high = self.ranges.reach(u)
        key = (r.tensor.name, axis, mode, low, high, str(value))
        if key not in self.made:
            self.made[key] = self.write(r, axis, mode, low, high, value)
        return Read(self.made[key], *r.at[:axis], u - low, *r.at[axis + 1 :])

    def write(self, r: Read, axis: int, mode: str, low: sp.Expr, high: sp.Expr, value: sp.Expr) -> Tensor:
        """The equations of a copy."""
        source, rank = r.tensor.name, len(r.at)
        name = fresh_name(f"{source}_padded", self.tensor_names)
        size = Size(f"{name.upper()}{axis}")
        self.ranges.derived[size] = sp.Max(0, self.ranges.resolve(high - low + 1))
        inner = [self.ranges.axis_size(source, k) for k in range(rank)]
        shape = [*inner[:axis], size, *inner[axis + 1 :]]
        self.ranges.shapes[name] = list(shape)
        taken = set(self.index_names)
        free = [Index(fresh_name(f"r{k}", taken)) for k in range(rank)]
        q, lap = Index(fresh_name("q", taken)), Lap(fresh_name("lap", taken))
        target = Access(name, *free)
        own = tuple(Range(i, s) for i, s in zip(free, shape, strict=True))

        def put(body: sp.Expr, piece: Relation) -> None:
            over = Relation((*own, *piece.ranges), piece.zero, piece.nonneg)
            self.equations.append(Equation(target, over, body))

        at = Axis(free[axis], q, lap, inner[axis], low, high)
        for piece in PIECES[mode](at):
            put(access(r.tensor, *free[:axis], q, *free[axis + 1 :]), piece)
        if value != 0:
            letters = {e: i for e, i in zip(r.at, free, strict=True) if isinstance(e, Index)}
            outside = value.xreplace({a: at_letters(a, letters, r) for a in reads_of(value)})
            for piece in beyond(at):
                put(outside, piece)
        return Tensor(name)


def is_window(u: sp.Expr) -> bool:
    """Do several indices make up the place, and no integer tensor, of which nobody knows how far it reaches?"""
    return not u.has(Read) and sum(isinstance(s, Index) for s in u.free_symbols) > 1


def at_letters(a: Read, letters: dict[sp.Expr, Index], r: Read) -> Access:
    """`outside=m[n, c]`: the letters are those of the read itself."""
    for e in a.at:
        if e not in letters:
            raise SpecError(f"outside={a}: index `{e}` does not stand plainly in {r}")
    return access(a.tensor, *(letters[e] for e in a.at))


__all__ = ["PIECES", "Axis", "Copies", "beyond"]
