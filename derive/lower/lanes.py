"""Choose the index that the lanes of a vector stand for.

    lane free    the other target indices are looped over; every bound index is looped or solved as in plain
                 loops, but nothing that depends on the lane decides a loop: an equality that gives u = c*v + rest
                 with c an integer at run time gives each lane its own u, moving by c a lane, and 0 <= u < size
                 is a mask. A loop that such an equality, or an inequality, bounds runs from the first place that
                 some lane needs to the last, its hull.
    lane bound   the innermost loop of the plain nest, if the target has few elements: each lane reduces
                 its share, and the lanes are combined at the end

Where s*p + d*k + c = v holds the lane v with a run-time coefficient at p, v runs in classes modulo s, which are
a loop: v moves by s from lane to lane, p by 1, and k runs over one residue class, the same for all lanes.

What cannot be said so (a lane's own quotient, a read at a place that a read gives) is left to plain loops.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import sympy as sp

from derive.language import Index
from derive.lower.loops import Assign, CeilDiv, Divides, FloorDiv, Loop, Nest, ResidueLoop, Step, Test
from derive.lower.solve import FREE, Solver
from derive.program import Access, Affine, Equation, affine

SLACK = 1.5  # what the plain nest saves by bounding loops where lanes are masked


@dataclass(frozen=True, slots=True)
class Lanes:
    """One equation with an index of lanes.

    outer    free indices that are looped over
    stride   from one lane to the next
    last     stands in bounds for the lane index at the last lane of a vector
    inner    as in a nest; a step that mentions an index with a move is one value per lane, or a mask
    moves    by how much an index grows from lane to lane; those that are not here have one value
    compared places that plain loops take from a read and lanes try one by one: if many, plain loops are better
    follower the index that moves by one in classes, where another could: better if its extent is the larger
    """

    equation: Equation
    lane: Index
    stride: sp.Expr
    last: sp.Symbol
    outer: tuple[Index, ...]
    inner: tuple[Step, ...]
    moves: tuple[tuple[Index, sp.Expr], ...]
    compared: tuple[Index, ...] = ()
    follower: Index | None = None
    bound: bool = False
    unit: bool = False  # only where this index is contiguous everywhere

    def describe(self) -> str:
        classes = f" in classes modulo {self.stride}" if self.stride != 1 else ""
        where = " where it is contiguous" if self.unit else ", combined at the end" if self.bound else ""
        return f"lanes over {self.lane}{classes}{where}"


@dataclass
class LaneSolver(Solver):
    """A solver for many values of one index at once."""

    stride: sp.Expr = sp.S.One
    last: sp.Symbol = field(default_factory=lambda: sp.Symbol("last"))
    lane: Index | None = None
    moves: dict[Index, sp.Expr] = field(default_factory=dict)

    def copy(self) -> LaneSolver:
        made = replace(self, pending=list(self.pending), checks=list(self.checks), known=set(self.known))
        made.steps, made.moves = list(self.steps), dict(self.moves)
        return made

    def take(self, best: Solver) -> None:
        super().take(best)
        assert isinstance(best, LaneSolver)
        self.moves = best.moves

    def moving(self, form: Affine) -> bool:
        return any(i in self.moves for i in form.indices)

    def move(self, form: Affine) -> sp.Expr:
        return sp.expand(sum((c * self.moves.get(a, sp.S.Zero) for a, c in form.terms), sp.S.Zero))

    def plain(self, form: Affine) -> bool:
        """Does no read in it differ from lane to lane?"""
        return not any(i in self.moves for r in form.reads for i in r.indices)

    def settled(self, form: Affine) -> bool:
        if not self.moving(form):
            return super().settled(form)
        left = self.unknown(form)
        if not left:
            self.put(Test(form.expr, "zero"), 0.0)
            return True
        if len(left) != 1 or not self.direct(form, *left) or not self.plain(form):
            return False
        (u,) = left
        by = self.moved(form, u)
        if by is None or not super().settled(form):
            return False
        self.moves[u] = by
        return True

    def moved(self, form: Affine, u: Index) -> sp.Expr | None:
        """How much u grows from lane to lane; None if that is no integer."""
        c, m = form.coefficient(u), self.move(form.without(u))
        if c in (1, -1):
            return sp.expand(-c * m)
        return next((sp.Integer(sign) for sign in (1, -1) if sp.expand(m + sign * c) == 0), None)

    def merit(self, u: Index) -> tuple[int, ...]:
        """Loop over what is read least, so that what is read moves with the lanes: a window, not what it slides on."""
        reads = [r for r in self.equation.reads if u in r.indices]
        return len(reads), max((len(r.indices) for r in reads), default=0), *super().merit(u)

    def waiting(self) -> set[Index]:
        return set()  # what is read differs from lane to lane: it is compared with

    def loop(self, u: Index) -> None:
        masks = [f for f in self.checks if self.moving(f)]
        self.checks = [f for f in self.checks if f not in masks]
        super().loop(u)
        self.checks += masks
        if isinstance(self.steps[-1], Loop) and self.steps[-1].index == u:
            self.steps[-1] = self.hull(self.steps[-1], masks)

    def hull(self, loop: Loop, masks: Sequence[Affine]) -> Loop:
        """The loop, no further than from the first place that some lane's inequality allows to the last."""
        u, low, high = loop.index, list(loop.low), list(loop.high)
        for form in masks:
            rest = form.without(u)
            if not self.direct(form, u) or rest.reads or not set(rest.indices) <= set(self.equation.free):
                continue
            assert self.lane is not None
            c, slope = form.coefficient(u), rest.coefficient(self.lane)
            rising = slope.is_nonnegative is True
            if not rising and (-slope).is_nonnegative is not True:
                continue
            most = rest.expr.xreplace({self.lane: self.last}) if rising else rest.expr
            if c.is_positive:  # c*u >= -rest
                low.append(CeilDiv(sp.expand(-most), c) if c != 1 else sp.expand(-most))
            elif (-c).is_positive:  # -c*u <= rest
                high.append((FloorDiv(most, sp.expand(-c)) if c != -1 else most) + 1)
        return replace(loop, low=tuple(low), high=tuple(high))

    def classes(self, form: Affine, v: Index) -> bool:
        return self.moving(form)

    def pair(
        self, form: Affine, u: Index, v: Index, low: list[sp.Expr], high: list[sp.Expr]
    ) -> tuple[tuple[Step, ...], float] | None:
        if not self.moving(form):
            return super().pair(form, u, v, low, high)
        if self.stride != 1 and form.coefficient(v) not in (self.stride, -self.stride):
            return None  # what moves by one is what the classes were made for
        by = self.moved(form, v)
        known = [i for i in form.without(u, v).indices if i in self.moves]
        if not self.plain(form):
            return None  # a place that a read gives differs from lane to lane, by no step
        made = super().pair(form, u, v, [], []) if by is not None and known == [self.lane] else None
        if made is None:
            return None
        (loop, assign), cost = made
        assert isinstance(loop, (Loop, ResidueLoop))
        assert isinstance(assign, Assign)
        slope = -form.coefficient(self.lane) * form.coefficient(u)  # of u's bounds along the lanes
        if slope.is_nonnegative is not True and (-slope).is_nonnegative is not True:
            return None
        end = {self.lane: self.last}
        first = tuple(e if slope.is_nonnegative else e.xreplace(end) for e in loop.low)
        last = tuple(e.xreplace(end) if slope.is_nonnegative else e for e in loop.high)
        self.moves[v] = by
        hull = replace(loop, low=(*low, *first), high=(*high, *last))
        return (hull, replace(assign, size=self.equation.relation.size(v))), cost


def _solve(eq: Equation, lane: Index, stride: sp.Expr, rank: Sequence[Index]) -> LaneSolver:
    solver = Solver.of(eq, rank)
    made = LaneSolver(eq, solver.pending, solver.checks, rank=solver.rank, stride=stride, lane=lane)
    made.last = sp.Symbol(f"{lane.name}_last", integer=True)
    made.known, made.moves, made.cost = set(eq.free), {lane: stride}, FREE * len(eq.free)
    made.rest(eq.bound)
    return made


def _compared(made: LaneSolver) -> tuple[Index, ...]:
    """Indices that plain loops take from a read and lanes try one by one, if bounded loops do so."""
    loops = [s for s in made.steps if isinstance(s, Loop)]
    tests = [s.value for s in made.steps if isinstance(s, Test) and s.kind == "zero"]
    if any(loop.plain for loop in loops) or len(tests) != 1 or not tests[0].has(Access):
        return ()
    form = affine(tests[0])
    return tuple(i for i in form.atoms if isinstance(i, Index)) if form is not None else ()


def _strides(eq: Equation, lane: Index) -> Iterator[tuple[sp.Expr, Index | None]]:
    """Coefficients of bound indices that stand with the lane, with the index; then 1."""
    for z in eq.relation.zero:
        if lane in z.atoms and z.coefficient(lane) in (1, -1):
            for i in z.indices:
                c = z.coefficient(i)
                read = i not in eq.free and any(i in r.indices for r in eq.reads)
                if read and c not in (0, 1, -1) and (c.is_positive or (-c).is_positive):
                    yield (c if c.is_positive else sp.expand(-c)), i
    yield sp.S.One, None


def _over(eq: Equation, lane: Index, plain: Nest, rank: Sequence[Index]) -> list[Lanes]:
    """The equation with lanes over a free index, if that costs no more than the plain loops.

    Two ways where either of two indices may follow the lane: which is better, their extents say.
    """
    found: list[Lanes] = []
    for stride, follower in _strides(eq, lane):
        made = _solve(eq, lane, stride, rank)
        steps = tuple(made.steps)
        compared = _compared(made)
        if not _simple(made) or (made.cost - _turned_away(made) > plain.cost + SLACK and not compared):
            continue
        if follower is not None and follower not in made.moves:
            continue
        outer, moves = tuple(i for i in eq.free if i != lane), tuple(made.moves.items())
        found.append(Lanes(eq, lane, stride, made.last, outer, steps, moves, compared, follower))
        if follower is None:
            break
    found = [one for one in found if one.follower is not None] or found
    if len(found) == 1:
        return [replace(found[0], follower=None)]
    return found[:2]


def _simple(made: LaneSolver) -> bool:
    """Is every step of a kind that lanes can take?"""
    for s in made.steps:
        if isinstance(s, Test) and s.kind == "range" and s.value.free_symbols & made.moves.keys():
            return False
        if isinstance(s, Divides) and s.value.free_symbols & (made.moves.keys() - {made.lane}):
            return False
    return True


def _turned_away(made: LaneSolver) -> float:
    """What tests of a line cost no time: of a line that fails, elements get their zeros, which a scatter writes as well.

    Only of lines that follow each other in memory: at a distance the zeros cost as much as the sums.
    """
    assert made.lane is not None
    lines = set(made.equation.free[: made.equation.free.index(made.lane)])
    tests = [
        s.value for s in made.steps if isinstance(s, Test) and s.kind == "zero" and not s.value.has(Access)
    ]
    indices = [value.free_symbols & set(made.equation.relation.indices) for value in tests]
    return FREE * len([found for found in indices if found <= lines])


def _along(eq: Equation, plain: Nest) -> Lanes | None:
    """The innermost loop of a gather in lanes: after it only values that follow from it."""
    if plain.strategy != "gather" or eq.reduce.startswith("arg"):
        return None
    places = [k for k, s in enumerate(plain.inner) if isinstance(s, (Loop, ResidueLoop))]
    if not places or not isinstance(loop := plain.inner[places[-1]], Loop):
        return None
    moves: dict[Index, sp.Expr] = {loop.index: sp.S.One}
    for s in plain.inner[places[-1] + 1 :]:
        if not isinstance(s, Assign) or s.value.has(sp.Function):
            return None
        moves[s.index] = sp.expand(sum((s.value.coeff(i) * m for i, m in list(moves.items())), sp.S.Zero))
    moves = {i: m for i, m in moves.items() if m != 0}
    if not all(any(i in r.indices for r in eq.reads) for i in moves):
        return None  # a window is short
    end = sp.Symbol(f"{loop.index.name}_last", integer=True)
    return Lanes(eq, loop.index, sp.S.One, end, eq.free, plain.inner, tuple(moves.items()), bound=True)


def lanes(eq: Equation, plain: Nest, rank: Sequence[Index] = ()) -> tuple[Lanes, ...]:
    """The ways to run an equation in lanes, in the order in which they are to be tried; perhaps none."""
    made: list[Lanes] = []
    for i in reversed(eq.free):
        made = _over(eq, i, plain, rank)
        if made:
            break
    fixed = {a for z in (*eq.relation.zero, *eq.relation.nonneg) for a in z.indices}
    if made and made[0].lane in fixed:
        # an index that nothing holds may be the contiguous one: channels after positions
        others = [i for i in eq.free if i not in fixed]
        others.sort(key=lambda i: (sum(i in r.indices for r in eq.reads), eq.free.index(i)))
        if others and any(others[-1] in r.indices for r in eq.reads):
            made = [replace(one, unit=True) for one in _over(eq, others[-1], plain, rank)[:1]] + made
    if made and not eq.bound:
        # pointwise: the last axis may be short, and then another will do: the one before it, if the two cannot be merged,
        # and the last of those that are read
        others = [i for i in eq.free if i != made[0].lane]
        read = [i for i in others if any(i in r.indices for r in eq.reads)]
        unread = [
            i for i in others[-1:] if i not in fixed and any(made[0].lane in r.indices for r in eq.reads)
        ]
        for other in dict.fromkeys((*unread, *read[-1:])):
            made += _over(eq, other, plain, rank)[:1]
    along = _along(eq, plain)
    if along is None:
        return tuple(made)
    # where less is read at a distance first; never by strides, since another order of adding gives other bits
    first = made and (_distant(made[-1]), _nearness(made[-1])) < (_distant(along), _nearness(along))
    return (*made, along) if first else (along, *made)


def _distant(way: Lanes) -> int:
    """How many accesses have what moves from lane to lane elsewhere than on their last axis."""
    moving = dict(way.moves).keys()
    return sum(bool(moving & set(r.indices[:-1])) for r in (way.equation.target, *way.equation.reads))


def _nearness(way: Lanes) -> int:
    """The later the axis of the lanes the less; what is read so far apart is no vector anyway."""
    return -max((r.indices.index(way.lane) for r in way.equation.reads if way.lane in r.indices), default=-1)
