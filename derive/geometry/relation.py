"""What an equation's target reads of each of its tensors, found from its relation; and what it costs.

At run time every coefficient of a relation is an integer, so the places that a target's element reads are the
solutions of a few linear equalities and inequalities in integers. Their ends are found by propagating intervals, at an
element in the middle of the target, where no border is near. The ends move with the element: a relation's solutions
are moved by as much as its coefficients say when a target's index is moved by a multiple of all coefficients, which
gives the jump, a fraction where a stride goes up (transposed convolution, adaptive pooling). Between such multiples the
ends wander; the band is the narrowest that holds all of them.

The range of the axis itself is left out: a window that reaches into the padding keeps its size. An index that neither
the target nor an equality or inequality gives (a channel, a tap) reads its whole axis. Equations that add nothing in the
middle (the pieces of a boundary) count only for an input that no other reads (the second half of a concatenation).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from math import lcm, prod

import sympy as sp

from derive.geometry.reach import Band, Reach, Reaches, composed, everywhere, united, unmoved
from derive.language import Index, Lap
from derive.program import Access, Affine, Equation, Program, live

Interval = tuple[int | None, int | None]  # None: without end
Table = Mapping[sp.Basic, sp.Basic]
SWEEPS = 64  # propagation of a relation of a few indices needs a handful
PROBES = 64  # of the places between which the ends of a band wander: as many as the period, if it is not long


class Form:
    """An affine form with integers for coefficients; indices and integer reads are its variables."""

    def __init__(self, form: Affine, table: Table, equal: bool) -> None:
        self.terms = tuple((atom, int(c.xreplace(table))) for atom, c in form.terms)
        self.constant = int(form.constant.xreplace(table))
        self.equal = equal

    def narrowed(self, known: dict[sp.Basic, Interval]) -> bool:
        """Cut each variable's interval by the others'; whether one changed. An empty interval says no solution."""
        changed = False
        for atom, c in self.terms:
            low, high = self._rest(atom, known)
            # c * atom = -rest, or c * atom >= -rest
            ends: list[Fraction | None] = [None, None]
            ends[c < 0] = None if high is None else Fraction(-high, c)
            if self.equal:
                ends[c > 0] = None if low is None else Fraction(-low, c)
            least = None if ends[0] is None else -((-ends[0].numerator) // ends[0].denominator)
            most = None if ends[1] is None else ends[1].numerator // ends[1].denominator
            now = known.get(atom, (None, None))
            new = _max(now[0], least), _min(now[1], most)
            if new != now:
                known[atom] = new
                changed = True
        return changed

    def _rest(self, atom: sp.Basic, known: Mapping[sp.Basic, Interval]) -> Interval:
        low: int | None = self.constant
        high: int | None = self.constant
        for other, c in self.terms:
            if other == atom:
                continue
            ends = known.get(other, (None, None))
            ends = ends if c > 0 else ends[::-1]
            low = None if low is None or ends[0] is None else low + c * ends[0]
            high = None if high is None or ends[1] is None else high + c * ends[1]
        return low, high


def _max(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else max(a, b)


def _min(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else min(a, b)


class Solved:
    """An equation's relation with run-time integers in it."""

    def __init__(self, eq: Equation, table: Table) -> None:
        r = eq.relation
        self.eq = eq
        self.sizes = {g.index: int(g.size.xreplace(table)) for g in r.ranges}
        self.forms = [Form(z, table, True) for z in r.zero] + [Form(z, table, False) for z in r.nonneg]
        self.body = eq.body.xreplace(table)
        self.tied = {atom for f in self.forms for atom, _ in f.terms}
        bounded = {atom for f in self.forms if not f.equal for atom, _ in f.terms}
        self.laps = {i for i in r.indices if isinstance(i, Lap)}
        self.turns = self.laps - bounded  # of a circle: no inequality says which
        coefficients = [abs(c) for f in self.forms for _, c in f.terms]
        self.period = lcm(*coefficients) if coefficients else 1
        self.given = self._given()
        self.domain = self.intervals({})  # with every range: where the target's elements have a point
        middle = {i: self.sizes[i] // 2 for i in eq.free}
        self.central = self.intervals(middle) is not None
        self.middle = middle if self.central else {i: sum(self._within(i)) // 2 for i in eq.free}
        self.here = self.intervals(self.middle)

    def _given(self) -> dict[sp.Basic, int]:
        """The indices that equalities give, one each, by their coefficient: those made for an index expression.

        None was made where the place that is written is the expression, as in a transposed convolution, q = s p + k. There it is
        the one that runs further: in the middle of q the other takes all of its values.
        """
        found: dict[sp.Basic, int] = {}
        for f in self.forms:
            own = dict(f.terms)
            able = [i for i in self.eq.bound if i in own and i not in found and i not in self.laps]
            if f.equal and able:
                index = able[-1]
                if any(self._stands_alone(i, own) for i in self.eq.free):
                    index = max(able, key=lambda i: abs(own[i]) * (self.sizes[i] - 1))
                found[index] = abs(own[index])
        return found

    def _stands_alone(self, index: sp.Basic, form: Mapping[sp.Basic, int]) -> bool:
        """Whether an equality says that an index is the sum of the others' multiples."""
        c = form.get(index, 0)
        return abs(c) == 1 and all(c * other < 0 for atom, other in form.items() if atom != index)

    def _within(self, index: sp.Basic) -> tuple[int, int]:
        low, high = (self.domain or {}).get(index, (0, -1))
        assert low is not None
        assert high is not None
        return low, high

    @property
    def reads(self) -> tuple[Access, ...]:
        """What is read, given the integers: a case that they exclude is not."""
        found = dict.fromkeys(sorted(self.body.atoms(Access), key=str))
        for f in self.forms:
            found |= {a: None for a, _ in f.terms if isinstance(a, Access)}
        return tuple(found)

    def intervals(
        self,
        at: Mapping[Index, int],
        lifted: Iterable[sp.Basic] = (),
        turns: Mapping[sp.Basic, Interval] = {},
    ) -> dict[sp.Basic, Interval] | None:
        """Where every index may be if the target's are `at`; None if there is no point. `lifted` have no range."""
        free = set(lifted)
        known: dict[sp.Basic, Interval] = {
            i: (0, n - 1) for i, n in self.sizes.items() if i not in free and i not in at
        }
        known |= {i: (x, x) for i, x in at.items()} | dict(turns)
        for _ in range(SWEEPS):
            changed = [f.narrowed(known) for f in self.forms]  # every one of them
            if not any(changed):
                break
        empty = any(l is not None and h is not None and l > h for l, h in known.values())
        return None if empty else known

    def reach(self, read: Access) -> Reaches:
        """Of each axis of what is read, by the target's axes."""
        assert self.here is not None, "this equation adds nothing anywhere"
        turns = {lap: self.here[lap] for lap in self.turns}
        equal = {atom for f in self.forms if f.equal for atom, _ in f.terms}
        lifted = {i for i in read.indices if i in self.given or (i in self.tied and i not in equal)}
        lifted -= set(self.eq.free)
        lifted |= self.laps - self.turns
        return tuple(self._axis(i, lifted, turns) for i in read.indices)

    def _axis(self, axis: Index, lifted: set[sp.Basic], turns: Mapping[sp.Basic, Interval]) -> Reach:
        whole = everywhere(len(self.eq.free), self.sizes[axis])
        if axis not in lifted and axis not in self.eq.free:
            return whole
        start = self._ends(axis, self.middle, lifted, turns)
        if start is None:
            return whole
        slopes = []
        for i in self.eq.free:
            moved = self._ends(axis, self.middle | {i: self.middle[i] + self.period}, lifted, turns)
            if moved is None or moved[0] - start[0] != moved[1] - start[1]:
                return whole
            slopes.append(Fraction(moved[0] - start[0], self.period))
        low, high = (self._offset(end, slopes, self.middle) for end in start)
        least, most = low, high
        for i in self.eq.free:
            down = up = Fraction(0)
            for step in range(1, min(self.period, PROBES)):
                at = self.middle | {i: self.middle[i] + step}
                ends = self._ends(axis, at, lifted, turns)
                if ends is not None:
                    down = min(down, self._offset(ends[0], slopes, at) - low)
                    up = max(up, self._offset(ends[1], slopes, at) - high)
            least, most = least + down, most + up
        return Reach((Band(tuple(slopes), least, most),))

    def _ends(
        self,
        axis: Index,
        at: Mapping[Index, int],
        lifted: set[sp.Basic],
        turns: Mapping[sp.Basic, Interval],
    ) -> tuple[int, int] | None:
        known = self.intervals(at, lifted, turns)
        low, high = (None, None) if known is None else known.get(axis, (None, None))
        return None if low is None or high is None else (low, high)

    def _offset(self, end: int, slopes: Sequence[Fraction], at: Mapping[Index, int]) -> Fraction:
        return end - sum((s * at[i] for s, i in zip(slopes, self.eq.free, strict=True)), Fraction(0))

    # ------------------------------------------------------------------------------------- cost

    def cost(self, adds: bool) -> int:
        """Additions, multiplications, divisions, comparisons and functions, as many at each element as in the middle.

        A point that padding supplies counts, and so does the first addition of a sum.
        """
        if self.here is None:
            return 0
        elements = prod(high - low + 1 for low, high in map(self._within, self.eq.free))
        points = self.points(self.here)
        return round(elements * points * (operations(self.body) + (1 if points > 1 or adds else 0)))

    def points(self, here: Mapping[sp.Basic, Interval]) -> Fraction:
        """How many points an element is reduced over: each equality gives one index, if its coefficient divides."""
        equal = {atom for f in self.forms if f.equal for atom, _ in f.terms}
        count = Fraction(1)
        for i in self.eq.bound:
            if i in self.laps:
                continue
            if i in self.given:
                count /= self.given[i]
            elif i in self.tied and i not in equal:
                low, high = here[i]
                assert low is not None
                assert high is not None
                count *= high - low + 1
            else:
                count *= self.sizes[i]
        return count


def operations(body: sp.Basic) -> int:
    """How many operations a formula takes; a part without a tensor is worked out beforehand."""
    if isinstance(body, Access) or not body.has(Access):
        return 0
    inner = sum(operations(a) for a in body.args)
    if isinstance(body, sp.Piecewise):
        return max(operations(value) for value, _ in body.args)
    if isinstance(body, sp.Add):
        return inner + len(body.args) - 1
    if isinstance(body, sp.Mul):
        return inner + sum(1 for a in body.args if a != -1) - 1
    if isinstance(body, sp.Pow) and body.exp == -1:
        return inner  # the product that it stands in is a division
    return inner + 1


def values(program: Program, environment: Mapping[str, int]) -> Table:
    """Every integer symbol of a program by its value."""
    table: dict[sp.Basic, sp.Basic] = {}
    for s in _symbols(program):
        if s.name in environment:
            table[s] = sp.Integer(environment[s.name])
    for size, e in program.sizes:
        table.setdefault(size, sp.Integer(int(e.xreplace(table))))
    return table


def _symbols(program: Program) -> Iterator[sp.Symbol]:
    found: set[sp.Symbol] = set(program.parameters)
    for t in (*program.inputs, *program.locals, *program.outputs):
        found |= {s for e in t.shape for s in e.free_symbols}
    for size, e in program.sizes:
        found |= {size} | e.free_symbols
    yield from sorted((s for s in found if s.is_integer), key=str)


def kept(program: Program, outputs: Iterable[str], absent: Iterable[str]) -> list[Equation]:
    """The equations that these outputs need, those that read an absent tensor aside."""
    names, gone = set(outputs), set(absent)
    needed = live(
        Program(
            program.inputs,
            program.equations,
            tuple(t for t in program.outputs if t.name in names),
            program.sizes,
            program.locals,
            program.parameters,
        )
    )
    return [eq for eq in needed.equations if not any(a.tensor in gone for a in eq.reads)]


def reaches(
    program: Program, environment: Mapping[str, int], outputs: Sequence[str], absent: Iterable[str] = ()
) -> dict[str, dict[str, Reaches]]:
    """Of each output, what its elements read of every input, through whatever lies between."""
    table = values(program, environment)
    inputs = {t.name for t in program.inputs}
    found: dict[str, dict[str, Reaches]] = {}
    targets: dict[str, list[Solved]] = {}
    for eq in kept(program, outputs, absent):
        targets.setdefault(eq.target.tensor, []).append(Solved(eq, table))
    last = {eq.target.tensor: k for k, eq in enumerate(program.equations)}
    for name in sorted(targets, key=lambda n: last[n]):
        own = found.setdefault(name, {})
        for central in (True, False):
            parts: dict[str, Reaches] = {}
            for solved in targets[name]:
                if solved.here is None or solved.central is not central:
                    continue
                for read in solved.reads:
                    direct = solved.reach(read)
                    if read.tensor in inputs:
                        through = {read.tensor: unmoved(len(read.indices))}
                    else:
                        through = found[read.tensor]
                    for source, inner in through.items():
                        reach = composed(direct, inner, len(solved.eq.free))
                        parts[source] = united(parts[source], reach) if source in parts else reach
            own |= {source: reach for source, reach in parts.items() if source not in own}
    return {name: {x: settled(r) for x, r in found.get(name, {}).items()} for name in outputs}


def settled(reaches: Reaches) -> Reaches:
    """Of one operator: that the ways inside it have different centres is no misalignment."""
    return tuple(Reach(r.bands) for r in reaches)


def cost(
    program: Program, environment: Mapping[str, int], outputs: Sequence[str], absent: Iterable[str] = ()
) -> int:
    """Operations on real numbers that these outputs take."""
    table = values(program, environment)
    total, written = 0, set[str]()
    for eq in kept(program, outputs, absent):
        total += Solved(eq, table).cost(eq.target.tensor in written)
        written.add(eq.target.tensor)
    return total
