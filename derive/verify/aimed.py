"""Draws that are aimed: of many candidates, looked at without running them, those that come to what no run has come to.

What a candidate comes to is seen from its control alone (`control.py`), in a millisecond. Candidates are drawn at random, or
are neighbours of such as came to something new, or nearly did: the integers of a comparison that was never met, one apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heapreplace
from math import prod
from random import Random
from typing import TYPE_CHECKING

from derive.errors import SpecError
from derive.language import Operator
from derive.verify.configuration import Configuration, configured, least, sample, styles
from derive.verify.control import MANY, Control, Goal, Unending
from derive.verify.draws import Draw, drawn
from derive.verify.running import TILES, Manner, Setting, left_out

if TYPE_CHECKING:
    from kernels.runtime import Definition

BATCH = 60  # configurations that are looked at before the best of them run
MANNERS = 4  # of each
DEAR = 150  # elements of a run that has to add twice as much
BLOCK = 6.0  # what it adds: a block
DECIDES: Mapping[str, float] = {
    "order": 4.0,
    "part": 4.0,
    "turns": 4.0,
    "picked": 2.0,
    "rest": 2.0,
    "width": 2.0,
}
VALUE, MORE = 1.0, 3.0  # and an integer; one that is large says whether a stride or a sign is right
VAIN = 3  # runs without a value, after which nobody tries again
LONGEST = 60  # a product of two others: what choices ask is often whether an extent is one
SMALL = (0, 1, 1, 2, 2, 3, 4, 5, 6, 8)


@dataclass(frozen=True)
class Reach:
    """How far runs have to come."""

    often: int = 1  # that each block runs
    deep: bool = True  # that each comparison goes each way, each integer takes each kind of value
    enough: float = 8.0  # what a run has to add, at least
    batches: int = 2  # of candidates that add nothing, after which what is left seems to be out of reach


LINES = Reach(deep=False, enough=1.0, batches=10)
BRANCHES = Reach(deep=False, enough=0.2, batches=10)
WAYS = Reach()
THOROUGH = Reach(often=4, enough=3.0, batches=3)


@dataclass(frozen=True)
class Candidate:
    """A draw, what it comes to, and how near its comparisons came to be ties."""

    draw: Draw
    goals: frozenset[Goal]
    orders: frozenset[Goal]  # of comparisons
    close: Mapping[int, int]
    size: int


class Aim:
    """What the runs of an operator have come to so far, and draws that come to more."""

    def __init__(
        self,
        operator: Operator,
        definition: Definition,
        random: Random,
        programs: Sequence[str],
        only: Collection[str] | None = None,
        largest: int = 1500,
        tiles: Sequence[tuple[int, ...]] = TILES,
        reach: Reach = WAYS,
    ) -> None:
        self.reach = reach
        self.operator, self.definition, self.random = operator, definition, random
        self.largest, self.tiles = largest, tiles
        self.control = Control.of(definition, reach.deep)
        self.programs = list(programs)
        self.watch = self.control.ready(random)
        self.wanted = self.control.wanted(only)
        self.reached: Counter[Goal] = Counter()
        self.kept: list[Candidate] = []  # whose neighbours are looked at
        self.ordered: set[Goal] = set()  # what comparisons came to in some candidate, whether it ran or not
        # how far from a tie, of what is not reached; its size
        self.near: dict[Goal, tuple[int, int, Candidate]] = {}
        self.vain: Counter[Goal] = Counter()  # runs that had no value
        self.least = least(operator, definition)

    # ---- what a draw comes to

    def seen(self, draw: Draw) -> Candidate | None:
        """A draw with what it comes to; None if it does not end."""
        watch = self.watch
        watch.started()
        try:
            draw.setting.tasks(draw.program, draw.wanted, draw.manner, watch.run)
        except (Unending, ZeroDivisionError):  # what guards a division may be left to elements
            return None
        size = 1 + sum(map(prod, draw.setting.configuration.shapes.values()))
        width = draw.manner.shape[0]
        goals = frozenset(g for g in watch.notes.goals if self.wanted[g[0]])
        orders = frozenset(g for g in goals if g[1:2] == ("order",))
        if self.reach.deep:
            goals |= {(g[0], "width", width) for g in goals if len(g) == 1}
        else:
            goals = frozenset(g for g in goals if len(g) == 1)
        return Candidate(draw, goals, orders, dict(watch.notes.close), size)

    def met(self, draw: Draw) -> None:
        """It was run."""
        candidate = self.seen(draw)
        if candidate is not None:
            self.add(candidate)

    def add(self, candidate: Candidate) -> None:
        if any(not self.reached[g] for g in candidate.goals):
            self.kept.append(candidate)
        self.reached.update(candidate.goals)

    def gain(self, candidate: Candidate) -> float:
        """What it would add, less if it is large."""
        total = 0.0
        for goal in candidate.goals:
            if len(goal) == 1:
                total += BLOCK * (self.reached[goal] < self.reach.often and self.vain[goal] < VAIN)
            elif not self.reached[goal] and self.vain[goal] < VAIN:
                total += DECIDES.get(goal[1]) or (MORE if goal[-1] == MANY else VALUE)
        return total / (1 + candidate.size / DEAR)

    # ---- candidates

    def batch(self) -> Iterator[Candidate]:
        """The best of some candidates, one after another, while they add enough. Say what became of each before the next."""
        candidates = [c for _ in range(BATCH) for c in self.some()]
        for c in candidates:
            self.note_near(c)
        # the most that each may add, the first of equals first: what runs takes from the others, and adds nothing to them
        left = [(-self.gain(c), k) for k, c in enumerate(candidates)]
        heapify(left)
        while left:
            best, k = left[0]
            now = -self.gain(candidates[k])
            if now > best:
                heapreplace(left, (now, k))
                continue
            if -best < self.reach.enough:
                return
            heappop(left)
            yield candidates[k]

    def draws(self) -> Iterator[Draw]:
        """Those that come to all that there is to come to, so far as control says; each counts as run."""
        vain = 0
        while self.control.functions and vain < self.reach.batches:
            vain += 1
            for candidate in self.batch():
                vain = 0
                self.add(candidate)
                yield candidate.draw

    def failed(self, candidate: Candidate) -> None:
        """It had no value."""
        self.vain.update(candidate.goals)

    def some(self) -> Iterator[Candidate]:
        """One configuration, in some manners."""
        random = self.random
        parent = self.parent()
        configuration: Configuration | None
        if parent is not None:
            configuration = self.neighbour(parent.draw.setting.configuration, self.near_by)
        else:
            try:
                configuration = sample(self.operator, self.definition, random, largest=self.largest)
            except LookupError:
                return
        if configuration is None:
            return
        dropped = left_out(self.operator, configuration, random)
        if parent is not None and random.random() < 0.6:
            dropped = parent.draw.setting.dropped
        setting = Setting(
            self.operator,
            self.definition,
            configuration,
            next(iter(styles(self.operator, random))),
            dropped=dropped,
        )
        for k in range(MANNERS):
            if parent is None or k % 2:
                draw = drawn(setting, random, random.choice(self.programs), self.tiles)
            else:
                draw = self.again(parent.draw, setting)
            candidate = self.seen(draw) if draw is not None else None
            if candidate is not None:
                yield candidate

    def parent(self) -> Candidate | None:
        chance = self.random.random()
        if chance < 0.3 or not self.kept:
            return None
        if chance < 0.6 and self.near:
            return self.random.choice(list(self.near.values()))[2]
        return self.random.choice(self.kept)

    def note_near(self, candidate: Candidate) -> None:
        """Whether it comes nearer than others to what no comparison came to yet, in whatever candidate."""
        fresh = candidate.orders - self.ordered
        if fresh:
            self.kept.append(candidate)
            self.ordered |= fresh
        for goal in fresh:
            self.near.pop(goal, None)
        for at, distance in candidate.close.items():
            for sign in (-1, 0, 1) if self.wanted[at] else ():
                goal = (at, "order", sign)
                if goal not in self.ordered:
                    best = self.near.get(goal)
                    if best is None or (distance, candidate.size) < best[:2]:
                        self.near[goal] = distance, candidate.size, candidate

    def larger(
        self, lines: Collection[int], tasks: Collection[str], of: Sequence[Draw]
    ) -> Iterator[Draw | None]:
        """Draws larger than those of the tests, that take some of these tasks and seem to come to these lines, without
        end: on whole numbers of forty bits as often as not. None in place of an attempt that came to nothing.
        """
        random = self.random
        blocks = {(block,) for line in lines if (block := self.control.block(line)) is not None}
        while True:
            parent = random.choice(of) if of and random.random() < 0.7 else None
            if parent is None:
                configuration = sample(
                    self.operator, self.definition, random, larger=True, largest=self.largest
                )
            else:
                grown = self.neighbour(parent.setting.configuration, self.grown)
                if grown is None:
                    yield None
                    continue
                configuration = grown
            style = "wide" if random.random() < 0.5 else next(iter(styles(self.operator, random)))
            setting = Setting(self.operator, self.definition, configuration, style)
            for _ in range(MANNERS):
                program = parent.program if parent is not None else random.choice(self.programs)
                draw = drawn(setting, random, program, self.tiles)
                if draw is None or draw.tasks.isdisjoint(tasks):
                    continue
                candidate = self.seen(draw) if blocks else None
                if not blocks or candidate is None or not blocks.isdisjoint(candidate.goals):
                    yield draw
                    break
            else:
                yield None

    def grown(self, given: dict[str, int]) -> None:
        """Some two to four times as large."""
        random = self.random
        for name in random.sample(list(given), min(len(given), random.choice((1, 1, 2, 3)))):
            given[name] = given[name] * random.choice((2, 2, 3, 4)) + random.choice((0, 1))

    def near_by(self, given: dict[str, int]) -> None:
        """One, two or three of them changed a little, or none; in a while parameters are doubled together."""
        random = self.random
        if random.random() < 0.15:
            own = [p.name for p in self.definition.parameters if p.name in given]
            for name in random.sample(own, random.randint(0, len(own))):
                given[name] *= 2
        for name in random.sample(list(given), min(len(given), random.choice((0, 1, 1, 1, 2, 2, 3)))):
            value = given[name]
            others = list(given.values())
            given[name] = random.choice((
                value - 1, value + 1, value - 1, value + 1, random.choice(SMALL), random.choice(others), 2 * value,
                value // 2, min(LONGEST, random.choice(others) * random.choice(others)),
            ))  # fmt: skip

    def neighbour(self, of: Configuration, change: Callable[[dict[str, int]], None]) -> Configuration | None:
        """With other integers, if the definition allows these."""
        given = {n: of.environment[n] for n in self.least}
        if not given:
            return None
        change(given)
        given = {n: max(v, self.least[n]) for n, v in given.items()}
        try:
            made = configured(self.operator, self.definition, given, self.random, largest=self.largest)
        except (ZeroDivisionError, SpecError):
            return None
        return made[1] if made is not None else None

    def again(self, of: Draw, setting: Setting) -> Draw | None:
        """The same of a neighbour, nearly."""
        random, manner = self.random, of.manner
        other = Manner.drawn(random, self.tiles)
        if random.random() < 0.3:
            manner = replace(manner, shape=other.shape)
        if random.random() < 0.3:
            manner = replace(manner, tasks=other.tasks)
        if random.random() < 0.3:
            manner = replace(manner, seed=other.seed, gaps=other.gaps)
        return drawn(setting, random, of.program, manner=manner)


__all__ = ["BRANCHES", "LINES", "THOROUGH", "WAYS", "Aim", "Candidate", "Reach"]
