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
    """target[.., rows] = sum of read[.., columns] over what goes together along each axis.

    orders    where each axis of target and read is in the program's tensors
    of        the equations that it does, by their numbers in the program; others may add to the target later
    sizes     of target indices, columns and laps, by index
    integers  what each symbol stands for
    pieces    the relations, for whom reads
    """

    target: Access
    read: Access
    orders: tuple[tuple[int, ...], tuple[int, ...]]
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

    @property
    def laps(self) -> bool:
        """Does anything go round?"""
        return any(isinstance(r.index, Lap) for r in self.sizes)

    @property
    def key(self) -> tuple[object, ...]:
        """What its kernel follows from: chains that have this in common may have one kernel."""
        signs = tuple((str(s), s.is_positive, s.is_nonnegative) for s, _ in self.integers)
        return str(self), signs

    def __str__(self) -> str:
        text = "".join(f"\n    {{ {', '.join(_constraints(piece))} }}" for piece in self.pieces)
        return f"{self.target} = {self.read} by the pieces{text}"


def _constraints(piece: Relation) -> list[str]:
    return [*(z.equality for z in piece.zero), *(f"{g} >= 0" for g in piece.nonneg)]


def copied(program: Program) -> list[Copied]:
    """Every such chain, as long as may be; no shifts along several axes by one equation, which lanes do as well."""
    kept = {t.name for t in (*program.inputs, *program.outputs)}
    found, inside = list[Copied](), set[str]()
    for name in reversed(dict.fromkeys(eq.target.tensor for eq in program.equations)):
        if name in inside:
            continue
        chain = _Chain(program, name, kept)
        if (made := chain.made()) is not None and (len(made.of) > 1 or made.laps or len(made.axes) == 1):
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
        """What has been found, in letters and an order of axes that do not depend on what it was found in."""
        while self.further():
            pass
        if not self.pieces:
            return None
        still = [i for i in self.rows if i not in self.pieces]
        moving = sorted((i for i in self.rows if i in self.pieces), key=self.alone)
        order = [*still, *moving]
        table: dict[Index, Index] = {i: Index(f"r{k}") for k, i in enumerate(order)}
        table |= {self.pieces[i][0][0]: Index(f"q{k}") for k, i in enumerate(order) if i in self.pieces}
        laps = [
            i for row in moving for _, piece in self.pieces[row] for i in piece.indices if isinstance(i, Lap)
        ]
        table |= {i: Lap(f"lap{k or ''}") for k, i in enumerate(laps)}
        columns = [*still, *(self.pieces[i][0][0] for i in moving)]
        named = _Named({table[i]: self.sizes[i] for i in (*order, *columns[len(still) :], *laps)})
        axes = []
        for row in moving:
            column = self.pieces[row][0][0]
            runs = [
                named.run(table[row], table[column], _renamed(piece, table)) for _, piece in self.pieces[row]
            ]
            if not all(runs):
                return None
            axes.append(Axis(table[row], table[column], tuple(run for run in runs if run is not None)))
        return Copied(
            Access("target", *(table[i] for i in order)),
            Access("source", *(table[i] for i in columns)),
            (tuple(map(self.rows.index, order)), tuple(map(self.places.index, columns))),
            tuple(axes),
            tuple(sorted(self.of)),
            tuple(Range(i, extent(i)) for i in named.sizes),
            tuple(named.integers.items()),
            tuple(named.pieces),
        )

    def alone(self, row: Index) -> str:
        """An axis as a text, in letters of its own."""
        table: dict[Index, Index] = {row: Index("r"), self.pieces[row][0][0]: Index("q")}
        laps = [i for _, piece in self.pieces[row] for i in piece.indices if isinstance(i, Lap)]
        table |= {i: Lap(f"lap{k or ''}") for k, i in enumerate(laps)}
        named = _Named({table[i]: self.sizes[i] for i in table})
        for _, piece in self.pieces[row]:
            named.run(Index("r"), Index("q"), _renamed(piece, table))
        return "; ".join(", ".join(_constraints(piece)) for piece in named.pieces)

    def further(self) -> bool:
        """One tensor further back, if all that is written to it are copies along one more axis."""
        numbers = [n for n, eq in enumerate(self.program.equations) if eq.target.tensor == self.read]
        if self.of and not self.between(self.read):
            return False
        steps = list[_Step]()
        for n in numbers:
            s = self.step(self.program.equations[n])
            if s is None or (steps and s.key != steps[0].key):
                break
            steps.append(s)
        if not steps or (self.of and len(steps) < len(numbers)):
            return False
        first, numbers = steps[0], numbers[: len(steps)]
        writers = [self.program.equations[n] for n in numbers]
        if len(writers) > 1 and len(first.axes) > 1:
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
            for row, column, relation in s.axes:
                self.pieces.setdefault(row, []).append((column, relation))
                self.sizes |= {r.index: r.size for r in relation.ranges if isinstance(r.index, Lap)}
        return True

    def between(self, name: str) -> bool:
        """Is a tensor read by the equations of this chain alone?"""
        readers = [n for n, eq in enumerate(self.program.equations) if name in {a.tensor for a in eq.reads}]
        return name not in self.kept and set(readers) <= set(self.of)

    def step(self, eq: Equation) -> _Step | None:
        """What one equation copies, in the letters of the chain."""
        groups = tied(eq)
        if groups is None:
            return None
        own, read = eq.relation, eq.reads[0]
        table: dict[Index, Index] = dict(zip(eq.free, self.places, strict=True))
        axes = list[tuple[Index, Index, Relation]]()
        for row, column, laps in groups:
            if table[row] not in self.rows:
                return None  # something is copied along this axis already
            table[column] = Index(f"q{self.rows.index(table[row])}")
            for i in laps:
                table[i] = Lap(f"lap{self.laps or ''}")
                self.laps += 1
            mine = {row, column, *laps}
            relation = Relation(
                tuple(Range(table[i], own.size(i)) for i in (row, column, *laps)),
                tuple(z.replaced(table) for z in own.zero if mine & set(z.indices)),
                tuple(g.replaced(table) for g in own.nonneg if mine & set(g.indices)),
            )
            axes.append((table[row], table[column], relation))
        return _Step(read.tensor, tuple(table[i] for i in read.indices), tuple(axes))


def tied(eq: Equation) -> list[tuple[Index, Index, list[Index]]] | None:
    """Of an equation that copies along axes: each one's index, that of the read, and laps. None of any other."""
    if eq.reduce != "sum" or not isinstance(eq.body, Access) or isinstance(eq.body, IntegerAccess):
        return None
    read, own = eq.body, eq.relation
    forms = (*own.zero, *own.nonneg)
    if any(z.reads for z in forms) or any(len(g.indices) > 1 for g in own.nonneg):
        return None
    rows = [i for i in eq.free if i in own.held]
    groups = {row: own.tied(row) for row in rows}
    loose = [i for i in read.indices if i not in eq.free and not any(i in group for group in groups.values())]
    if len(rows) == len(loose) == 1:  # an edge that is repeated: whatever the row, it is that place
        groups[rows[0]] |= own.tied(loose[0])
    found = list[tuple[Index, Index, list[Index]]]()
    for row, group in groups.items():
        columns = [i for i in read.indices if i in group]
        if len(columns) != 1 or columns[0] == row or len(group & set(eq.free)) != 1:
            return None
        laps = [i for i in eq.bound if i in group and i != columns[0]]
        if not all(isinstance(i, Lap) for i in laps):
            return None  # a window
        found.append((row, columns[0], laps))
    moving = {i for row, column, laps in found for i in (row, column, *laps)}
    still = set(own.indices) - moving
    return found if found and still <= set(read.indices) & set(eq.free) else None


@dataclass(frozen=True)
class _Step:
    """What one equation copies: from where, in which letters, and along which axes: row, column and what ties them."""

    read: str
    places: tuple[Index, ...]
    axes: tuple[tuple[Index, Index, Relation], ...]

    @property
    def key(self) -> tuple[str, tuple[Index, ...], tuple[Index, ...]]:
        """In what pieces of one copy agree."""
        return self.read, self.places, tuple(row for row, *_ in self.axes)


def _renamed(piece: Relation, table: dict[Index, Index]) -> Relation:
    return Relation(
        tuple(Range(table[r.index], r.size) for r in piece.ranges),
        tuple(z.replaced(table) for z in piece.zero),
        tuple(g.replaced(table) for g in piece.nonneg),
    )


class _Named:
    """Integers of a chain: extents, and for each other formula in its constraints one symbol."""

    def __init__(self, sizes: dict[Index, sp.Expr]) -> None:
        self.sizes = sizes
        self.integers: dict[sp.Symbol, sp.Expr] = {extent(i): size for i, size in sizes.items()}
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


__all__ = ["Axis", "Copied", "Run", "copied", "tied"]
