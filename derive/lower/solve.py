"""Solve a relation for loops, one index at a time.

    unknown           equality                       becomes
    none                                             a test
    u                 c*u + r = 0,  c = +-1          u = -r/c, guarded by its range
    u                 c > 0                          u = -r/c where c divides r, guarded
    u, v, ...         c*u + v + r = 0, v below |c|   u, v = divmod(-r, |c|): a mixed radix, of any
                      as c is v's own extent         number of digits
    loop over u, v    v with coefficient +-1         u runs where v stays in range; v follows, unguarded
    loop over u, v    s*v + d*u = m                  u runs over one residue class of |s|/gcd; v follows
    loop over u       anything else                  u runs freely; inequalities in u alone bound it

With g = gcd(s, d): { u : s divides m - d*u } is empty unless g divides m, and otherwise
{ u0 + (s/g)*t : t integer }. Coefficients are run-time integers of known sign; where the sign is
not known the loop runs freely and the equality is tested.

A loop is chosen by what it settles for what it costs. Of loops that cost the same, a `rank` of the indices
decides: the canonical order, which comes from structure alone, so that neither letters nor the order of axes
change what is chosen. Without one it is the order in which the indices are written.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import sympy as sp

from derive.language import Index, Lap, extent
from derive.lower.loops import Assign, CeilDiv, Divides, FloorDiv, Loop, Modulo, ResidueLoop, Step, Test
from derive.program import Access, Affine, Equation

# log2 of nominal trip counts: a loop, one that another index follows (all of it or a residue class), one over
# laps; and what a guard costs
FREE, SPAN, LAP, GUARD = 4.0, 3.9, 1.5, 0.2


def _positive(c: sp.Expr) -> bool:
    return bool(c.is_positive)


def _negative(c: sp.Expr) -> bool:
    return bool((-c).is_positive)


def _ceil(value: sp.Expr, by: sp.Expr) -> sp.Expr:
    return value if by == 1 else CeilDiv(value, by)


def _floor(value: sp.Expr, by: sp.Expr) -> sp.Expr:
    return value if by == 1 else FloorDiv(value, by)


def seen(form: Affine, rank: Sequence[Index]) -> tuple[list[tuple[list[int], bool, str]], str]:
    """What a form looks like to the solver, whatever its letters and its sign: the order in which forms are tried."""

    def sign(c: sp.Expr) -> str:
        if c.is_Number:
            return str(abs(c))
        return "+" if _positive(c) or _negative(c) else "?"

    def place(a: sp.Expr) -> list[int]:
        return sorted(rank.index(i) for i in (a.indices if isinstance(a, Access) else (a,)))

    return sorted((place(a), isinstance(a, Access), sign(c)) for a, c in form.terms), sign(form.constant)


@dataclass
class Solver:
    """What is known so far, what is still to hold, and the steps taken."""

    equation: Equation
    pending: list[Affine] = field(default_factory=list)
    checks: list[Affine] = field(default_factory=list)
    known: set[Index] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)
    cost: float = 0.0
    rank: Sequence[Index] = ()

    @staticmethod
    def of(eq: Equation, rank: Sequence[Index] = ()) -> Solver:
        rank = rank or eq.relation.indices

        def ordered(forms: Sequence[Affine]) -> list[Affine]:
            return sorted(forms, key=lambda form: seen(form, rank))

        return Solver(eq, ordered(eq.relation.zero), ordered(eq.relation.nonneg), rank=rank)

    def copy(self) -> Solver:
        return replace(
            self,
            pending=list(self.pending),
            checks=list(self.checks),
            known=set(self.known),
            steps=list(self.steps),
        )

    def unknown(self, form: Affine) -> list[Index]:
        return [i for i in form.indices if i not in self.known]

    def direct(self, form: Affine, *indices: Index) -> bool:
        """Do these indices stand in the form itself, and in none of its integer reads?"""
        return all(i in form.atoms for i in indices) and not any(
            i in r.indices for r in form.reads for i in indices
        )

    def put(self, step: Step, cost: float = 0.0) -> None:
        self.steps.append(step)
        self.cost += cost

    # --- everything that is known by now -------------------------------------------------------

    def settle(self) -> None:
        progress = True
        while progress:
            progress = False
            for form in list(self.pending):
                if self.settled(form):
                    self.pending.remove(form)
                    progress = True
            for form in list(self.checks):
                if not self.unknown(form):
                    self.put(Test(form.expr, "nonneg"), GUARD)
                    self.checks.remove(form)

    def settled(self, form: Affine) -> bool:
        left = self.unknown(form)
        if not left:
            self.put(Test(form.expr, "zero"), GUARD)
            return True
        if len(left) == 1 and self.direct(form, *left):
            (u,) = left
            c, rest = form.coefficient(u), form.without(u).expr
            size = self.equation.relation.size(u)
            if c in (1, -1):
                self.put(Assign(u, sp.expand(-c * rest), size), GUARD)
            elif _positive(c) or _negative(c):
                by, value = (c, sp.expand(-rest)) if _positive(c) else (sp.expand(-c), rest)
                self.put(Divides(by, value), 2 * GUARD)
                self.put(Assign(u, FloorDiv(value, by), size), GUARD)
            else:
                return False
            self.known.add(u)
            return True
        return len(left) >= 2 and self.direct(form, *left) and self.radix(form, left)

    def radix(self, form: Affine, digits: Sequence[Index]) -> bool:
        """U*V*t + V*u + v = r with 0 <= v < V, 0 <= u < U: the digits of r, the last by itself first."""
        size, left, order, whole = (
            self.equation.relation.size,
            list(digits),
            list[tuple[Index, sp.Expr]](),
            sp.S.One,
        )
        sign = next((form.coefficient(i) for i in left if form.coefficient(i) in (1, -1)), None)
        while left and sign is not None:
            i = next((i for i in left if sp.expand(form.coefficient(i) - sign * whole) == 0), None)
            if i is None or extent(i) != size(i):
                return False
            left.remove(i)
            order.append((i, whole))
            whole = sp.expand(whole * size(i))
        if sign is None:
            return False
        value = sp.expand(-sign * form.without(*digits).expr)
        self.put(
            Test(value, "range", whole), GUARD
        )  # where an extent is 0 nothing passes, and nothing divides by it
        for i, below in reversed(order):
            above = _floor(value, below)
            self.put(Assign(i, above if i == order[-1][0] else Modulo(above, size(i))))
        self.known |= set(digits)
        return True

    # --- one more loop ---------------------------------------------------------------------------

    def loop(self, u: Index) -> None:
        size = self.equation.relation.size(u)
        low, high, cost = [sp.S.Zero], [size], LAP if isinstance(u, Lap) else FREE
        for form in list(self.checks):  # c*u + r >= 0 bounds the loop
            if self.unknown(form) == [u] and self.direct(form, u):
                c, r = form.coefficient(u), form.without(u).expr
                if _positive(c):
                    low.append(_ceil(sp.expand(-r), c))
                elif _negative(c):
                    high.append(_floor(r, sp.expand(-c)) + 1)
                else:
                    continue
                cost -= 0.5
                self.checks.remove(form)
        for form in self.pending:
            left = self.unknown(form)
            if len(left) != 2 or u not in left or not self.direct(form, *left):
                continue
            (v,) = (i for i in left if i != u)
            made = self.pair(form, u, v, low, high)
            if made is not None:
                self.pending.remove(form)
                self.known |= {u, v}
                steps, pair_cost = made
                for s in steps:
                    self.put(s)
                self.cost += pair_cost
                return
        self.put(Loop(u, tuple(low), tuple(high)), cost)
        self.known.add(u)

    def pair(
        self, form: Affine, u: Index, v: Index, low: list[sp.Expr], high: list[sp.Expr]
    ) -> tuple[tuple[Step, ...], float] | None:
        cu, cv, r = form.coefficient(u), form.coefficient(v), form.without(u, v).expr
        V = self.equation.relation.size(v)
        if not (_positive(cu) or _negative(cu)) or not (_positive(cv) or _negative(cv)):
            return None
        if _negative(cv):
            cu, cv, r = sp.expand(-cu), sp.expand(-cv), sp.expand(-r)
        # cv*v = total - cu*u with cv > 0, and 0 <= v <= V - 1
        total = sp.expand(-r)
        if _positive(cu):
            first, last = _ceil(sp.expand(total - cv * (V - 1)), cu), _floor(total, cu)
        else:
            d = sp.expand(-cu)
            first, last = _ceil(sp.expand(-total), d), _floor(sp.expand(cv * (V - 1) - total), d)
        lows, highs = (*low, first), (*high, last + 1)
        if cv == 1:
            return (Loop(u, lows, highs), Assign(v, sp.expand(total - cu * u))), SPAN
        if cu in (1, -1) and not self.classes(form, v):
            return None  # better loop over v and let u follow
        return (
            ResidueLoop(u, cv, cu, total, lows, highs),
            Assign(v, FloorDiv(sp.expand(total - cu * u), cv)),
        ), SPAN

    def classes(self, form: Affine, v: Index) -> bool:
        """Shall u run over a residue class even where v could be looped over and u follow?"""
        return False

    def rest(self, order: Sequence[Index]) -> None:
        """Loop over the rest: in written order what no constraint holds, else what settles most for least."""
        self.settle()
        while left := [i for i in order if i not in self.known]:
            held = {i for form in (*self.pending, *self.checks) for i in self.unknown(form)}
            # what an argmax picks among ties is the first it meets, so its loops keep the written order
            if left[0] in held and not self.equation.reduce.startswith("arg"):
                self.take(self.cheapest(left, held))
            else:
                self.take(self.after(left[0]))

    def take(self, best: Solver) -> None:
        """Go on from a trial."""
        self.pending, self.checks, self.known = best.pending, best.checks, best.known
        self.steps, self.cost = best.steps, best.cost

    def cheapest(self, left: Sequence[Index], held: Collection[Index]) -> Solver:
        """One more loop. First what an integer read waits for: until then nothing that it gives is known."""
        waiting = self.waiting()
        left = [i for i in left if i in waiting] or left
        trials = {u: self.after(u) for u in left}

        def cost(u: Index) -> float:
            made = trials[u]
            return round(made.cost - self.cost - FREE * (len(made.known) - len(self.known)), 6)

        least = min(map(cost, left))
        tied = [u for u in left if cost(u) == least]
        if tied[0] in held:
            return trials[min((u for u in tied if u in held), key=self.merit)]
        return trials[tied[0]]  # nothing holds it, so it costs the same wherever it is

    def waiting(self) -> set[Index]:
        """What integer reads wait for."""
        return {i for form in self.pending for r in form.reads for i in r.indices}

    def merit(self, u: Index) -> tuple[int, ...]:
        """Of loops that cost the same: over what the fewest equalities would give from others; then by rank."""
        return sum(form.coefficient(u) in (1, -1) for form in self.pending), self.rank.index(u)

    def after(self, u: Index) -> Solver:
        trial = self.copy()
        trial.loop(u)
        trial.settle()
        return trial
