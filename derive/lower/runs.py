"""Recognise copies along several axes, one after another: folds at borders, say, and what they are in gradients.

    x1[n,r,q] += sum[lap,k] x[n,k,q]      { r - a = k + 2*K*lap },  { ... = -k - 1 - r }      pieces along one axis
    y[n,r,s]  += sum[q] x1[n,r,q]         { s - b = q },  { q = 0, b - s - 1 >= 0 },  ...     and along the next

What goes together along one axis follows from that axis alone, and is a few *runs*: rows that follow each other, of
places that do, or stand still, or follow each other backwards. So y is read from x at once, a run at a time, however many
pieces and axes there are; what lies between is never made.

Left to other lowerings: copies with a weight, and axes along which inequalities tie a row to its places (interpolation),
where many places go with each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy as sp

from derive.language import Index, Lap, Parameter, extent
from derive.lower.loops import Assign, Loop, Step, expressions
from derive.lower.solve import Solver
from derive.passes.canonical import Whole
from derive.program import Access, Affine, Equation, IntegerAccess, Program, Range, Relation


@dataclass(frozen=True, slots=True)
class Run:
    """row + by_row*t copies column + by_column*t for low <= t < high, after each turn of the steps before.

    low, high   what bounds t, as of a loop: the largest and the smallest count
    """

    before: tuple[Step, ...]
    index: Index
    low: tuple[sp.Expr, ...]
    high: tuple[sp.Expr, ...]
    row: sp.Expr
    column: sp.Expr


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of the target: its index, that of the read beside it, and the runs of every piece."""

    row: Index
    column: Index
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Copied:
    """target[.., rows, ..] = sum of read[.., columns, ..] over what goes together along each axis.

    of        the equations that it does, by their numbers in the program, if no others write to the target then
    sizes     of target indices, columns and laps, by index
    integers  what each symbol stands for
    pieces    the relations, for whom reads
    """

    target: Access
    read: Access
    axes: tuple[Axis, ...]
    of: tuple[int, ...]
    sizes: tuple[Range, ...]
    integers: tuple[tuple[sp.Symbol, sp.Expr], ...]
    pieces: tuple[Relation, ...]

    @property
    def across(self) -> tuple[Index, ...]:
        """Indices of the target along which nothing moves."""
        rows = {axis.row for axis in self.axes}
        return tuple(i for i in self.target.indices if i not in rows)

    def __str__(self) -> str:
        text = "".join(f"\n    {{ {', '.join(_constraints(piece))} }}" for piece in self.pieces)
        return f"{self.target} = {self.read} by the pieces{text}"


def _constraints(piece: Relation) -> list[str]:
    return [*(z.equality for z in piece.zero), *(f"{g} >= 0" for g in piece.nonneg)]


def copied(program: Program) -> list[Copied]:
    """Every such chain of more than one piece, or of laps, as long as may be."""
    kept = {t.name for t in (*program.inputs, *program.outputs)}
    found, inside = list[Copied](), set[str]()
    for name in reversed(dict.fromkeys(eq.target.tensor for eq in program.equations)):
        if name in inside:
            continue
        chain = _Chain(program, name, kept)
        if (made := chain.made()) is not None and (len(made.pieces) > 1 or chain.laps):
            found.append(made)
            inside |= chain.inside
    return found[::-1]


class _Chain:
    """The equations of a target, of what they read, and so on back, as long as each copies along an axis of its own."""

    def __init__(self, program: Program, name: str, kept: set[str]) -> None:
        self.program, self.kept = program, kept
        self.rank = len(program.tensors[name].shape)
        self.rows = [Index(f"r{k}") for k in range(self.rank)]
        # where each axis of the tensor that is looked at comes from: an index of the target, or of the read
        self.places: list[Index] = list(self.rows)
        self.name, self.read, self.inside = name, name, set[str]()
        self.sizes = dict(zip(self.rows, program.tensors[name].shape, strict=True))
        self.pieces: dict[Index, list[tuple[Index, Relation]]] = {}  # by row: its column, and what ties them
        self.of: list[int] = []
        self.laps = 0

    def made(self) -> Copied | None:
        while self.further():
            pass
        if not self.pieces:
            return None
        named = _Named(self)
        axes = []
        for row in sorted(self.pieces, key=self.rows.index):
            runs = [named.run(row, column, piece) for column, piece in self.pieces[row]]
            if not all(runs):
                return None
            axes.append(Axis(row, self.pieces[row][0][0], tuple(run for run in runs if run is not None)))
        return Copied(
            Access("target", *self.rows),
            Access("source", *self.places),
            tuple(axes),
            tuple(sorted(self.of)),
            tuple(Range(i, extent(i)) for i in self.sizes),
            tuple(named.integers.items()),
            tuple(named.pieces),
        )

    def further(self) -> bool:
        """One tensor further back, if all that is written to it are copies along one more axis."""
        numbers = [n for n, eq in enumerate(self.program.equations) if eq.target.tensor == self.read]
        if not self.of:  # what reads nothing fills in a number, and is left out where that is zero
            numbers = [n for n in numbers if self.program.equations[n].reads]
        writers = [self.program.equations[n] for n in numbers]
        if not writers or (self.of and not self.between(self.read)):
            return False
        steps = [self.step(eq) for eq in writers]
        first = steps[0]
        if first is None or (len(writers) > 1 and len(first.axes) > 1):
            return False
        if any(s is None or (s.read, s.places, s.rows) != (first.read, first.places, first.rows) for s in steps):
            return False
        whole = self.program.tensors[self.read].shape
        if any(tuple(eq.relation.size(i) for i in eq.free) != whole for eq in writers):
            return False
        if self.of:
            self.inside.add(self.read)
        self.of += numbers
        self.read, self.places = first.read, list(first.places)
        self.sizes |= dict(zip(first.places, self.program.tensors[first.read].shape, strict=True))
        for s in steps:
            assert s is not None
            for row, column, relation in s.axes:
                self.pieces.setdefault(row, []).append((column, relation))
                self.sizes |= {r.index: r.size for r in relation.ranges if isinstance(r.index, Lap)}
        return True

    def between(self, name: str) -> bool:
        """Is a tensor read by the equations of this chain alone?"""
        readers = [
            n for n, eq in enumerate(self.program.equations) if name in {a.tensor for a in eq.reads}
        ]
        return name not in self.kept and set(readers) <= set(self.of)

    def step(self, eq: Equation) -> _Step | None:
        """What one equation copies, in the letters of the chain."""
        if eq.reduce != "sum" or not isinstance(eq.body, Access) or isinstance(eq.body, IntegerAccess):
            return None
        read, own = eq.body, eq.relation
        forms = (*own.zero, *own.nonneg)
        if any(z.reads for z in forms) or any(len(g.indices) > 1 for g in own.nonneg):
            return None
        if not set(eq.bound) <= own.held or not {i for i in eq.free if i not in own.held} <= set(read.indices):
            return None
        rows = [i for i in eq.free if i in own.held]
        tied = {row: _tied(row, forms) for row in rows}
        loose = [i for i in read.indices if i not in eq.free and not any(i in group for group in tied.values())]
        if len(rows) == len(loose) == 1:  # an edge that is repeated: whatever the row, it is that place
            tied[rows[0]] |= _tied(loose[0], forms)
        table: dict[Index, Index] = dict(zip(eq.free, self.places, strict=True))
        groups = list[tuple[Index, Index, list[Index]]]()
        for row, group in tied.items():
            columns = [i for i in read.indices if i in group]
            if len(columns) != 1 or columns[0] == row or len(group & set(eq.free)) != 1:
                return None
            if table[row] not in self.rows:
                return None  # something is copied along this axis already
            table[columns[0]] = Index(f"q{self.rows.index(table[row])}")
            laps = [i for i in eq.bound if i in group and i != columns[0]]
            for i in laps:
                table[i] = Lap(f"lap{self.laps or ''}")
                self.laps += 1
            groups.append((row, columns[0], laps))
        if not groups or set(own.indices) - table.keys():
            return None
        axes = list[tuple[Index, Index, Relation]]()
        for row, column, laps in groups:
            mine = {row, column, *laps}
            relation = Relation(
                tuple(Range(table[i], own.size(i)) for i in (row, column, *laps)),
                tuple(z.replaced(table) for z in own.zero if mine & set(z.indices)),
                tuple(g.replaced(table) for g in own.nonneg if mine & set(g.indices)),
            )
            axes.append((table[row], table[column], relation))
        return _Step(read.tensor, tuple(table[i] for i in read.indices), tuple(axes))


def _tied(i: Index, forms: Sequence[Affine]) -> set[Index]:
    """The indices that constraints tie to this one, itself among them."""
    group = {i}
    while more := {j for form in forms if group & set(form.indices) for j in form.indices} - group:
        group |= more
    return group


@dataclass(frozen=True)
class _Step:
    """What one equation copies: from where, in which letters, and along which axes: row, column and what ties them."""

    read: str
    places: tuple[Index, ...]
    axes: tuple[tuple[Index, Index, Relation], ...]

    @property
    def rows(self) -> tuple[Index, ...]:
        return tuple(row for row, *_ in self.axes)


class _Named:
    """Integers of a chain: extents, and for each other formula in its constraints one symbol."""

    def __init__(self, chain: _Chain) -> None:
        self.integers: dict[sp.Symbol, sp.Expr] = {extent(i): size for i, size in chain.sizes.items()}
        self.made: dict[sp.Expr, sp.Symbol] = {}
        self.pieces = list[Relation]()

    def symbol(self, e: sp.Expr) -> sp.Expr:
        if e not in self.made:
            positive = bool(e.is_positive)
            name = f"z{len(self.made)}"
            made = Parameter(name, positive) if positive or e.is_nonnegative else Whole(name)
            self.made[e] = made
            self.integers[made] = e
        return self.made[e]

    def coefficient(self, c: sp.Expr) -> sp.Expr:
        if c.is_Number:
            return c
        return -self.symbol(sp.expand(-c)) if c.could_extract_minus_sign() else self.symbol(c)

    def form(self, z: Affine) -> Affine:
        number, rest = z.constant.as_coeff_Add()
        terms = [(a, self.coefficient(c)) for a, c in z.terms]
        return Affine.of(terms, number + (self.coefficient(rest) if rest != 0 else 0))

    def run(self, row: Index, column: Index, piece: Relation) -> Run | None:
        """The runs of one piece, or None where rows and places do not follow each other."""
        relation = Relation(
            tuple(Range(i, extent(i)) for i in piece.indices),
            tuple(map(self.form, piece.zero)),
            tuple(map(self.form, piece.nonneg)),
        )
        self.pieces.append(relation)
        alone = Equation(Access("target", row), relation, Access("source", column))
        solver = Solver.of(alone)
        solver.rest([*(i for i in piece.indices if isinstance(i, Lap)), row, column])
        return _run(tuple(solver.steps), row, column)


def _run(steps: Sequence[Step], row: Index, column: Index) -> Run | None:
    """The last loop as a run of rows and places."""
    places = [k for k, s in enumerate(steps) if isinstance(s, Loop) and s.index in (row, column)]
    if len(places) != 1:
        return None
    k = places[0]
    loop, before, after = steps[k], tuple(steps[:k]), steps[k + 1 :]
    assert isinstance(loop, Loop)
    if not all(isinstance(s, Assign) and s.size is None for s in after):
        return None
    values = {s.index: s.value for s in after if isinstance(s, Assign)}
    ends = [values.get(i, i) for i in (row, column)]
    for e in ends:
        if sp.expand(e).coeff(loop.index) not in (-1, 0, 1):
            return None
    if ends[0].coeff(loop.index) == -1:  # rows go up
        assert ends[1] == loop.index
    if any(e.has(loop.index) for s in before for e in expressions(s)):
        return None
    return Run(before, loop.index, loop.low, loop.high, *map(sp.expand, ends))


__all__ = ["Axis", "Copied", "Run", "copied"]
