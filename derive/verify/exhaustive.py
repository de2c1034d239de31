"""Every program of an operator at every configuration of its box, with numbers that speak for all arrays of that shape.

Before these come runs that between them take each task, each line and each branch (`aimed.py`), at configurations of their
own.

    polynomials      every element is an indeterminate: equal results are a proof at the shape
    by order         where elements are compared (a maximum), the results hold for all arrays whose elements lie in one order,
                     ties included: all weak orders of the elements of each window of up to four, at some configurations
    prime field      where polynomials are divided by each other or grow too large: values of random residues, which differ
                     unless the results are equal, but for a probability of the degree over the prime
    fractions        where that is compared as well: at points, no more
    many digits      where a function is not rational: at points, to 40 of 60 digits

The first that will do is taken, in this order, at each configuration. All of them refuse floats. The emitted source runs
through the runtime's exact path, in vectors of 2 and 4, tasks in any order, arrays with gaps; the truth is one run of the
reference over numbers that carry both a tangent and a gradient.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from hashlib import blake2b
from itertools import combinations, pairwise, product
from random import Random
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sympy.core.symbol import Str

from derive.errors import SpecError, VerificationError
from derive.language import Operator, Reduce, Statement
from derive.numbers import RATIONALS, Decimals, Field, NotRational, OutsideDomain
from derive.reference import Array, reference_programs
from derive.verify.aimed import BRANCHES, Aim
from derive.verify.box import box
from derive.verify.checks import available, compare_exactly, elements
from derive.verify.configuration import Configuration, styles
from derive.verify.draws import Draw
from derive.verify.polynomial import PRIME, P, Residue, Ring, strict, terms_of
from derive.verify.running import Arrays, Manner, Setting

if TYPE_CHECKING:
    from kernels.runtime import Definition

KINDS = ("polynomials", "by order", "prime field", "fractions", "many digits")
DIGITS = strict(Decimals(60))
WINDOW = 4  # elements: of larger ones, orders are drawn
ORDERS = 75  # of four elements; so many cells of orders and kinks are run at once, at most
SOME = 3  # orders at each configuration, beyond those where all are run
ALL = 6  # configurations with windows of each size where all orders are run
VAIN = 4  # configurations after which a kind of numbers that never did is not tried again
Key = tuple[str, tuple[int, ...]]  # an element: its tensor and its place


# ---- numbers for the elements ----------------------------------------------------------------------


@dataclass(frozen=True)
class Together(Configuration):
    """A configuration in which gradients are held against the tangents of jvp, so that one run of the reference does."""

    @classmethod
    def of(cls, configuration: Configuration, **more: Any) -> Self:
        return cls(**{n: getattr(configuration, n) for n in Configuration.__dataclass_fields__}, **more)

    def numbers(
        self, name: str, shape: tuple[int, ...], style: str = "general", dyadic: bool = False
    ) -> Array:
        name = f"t{name[2:]}" if name[:2] == "hg" and name[2:] in self.shapes else name
        return self.array(name, shape, style)

    def array(self, name: str, shape: tuple[int, ...], style: str) -> Array:
        return super().numbers(name, shape, style)


@dataclass(frozen=True)
class Elements(Together):
    """One whose arrays hold what `make` gives for each element."""

    make: Callable[[Key], Any] = field(default=lambda key: Fraction(0), kw_only=True)

    def array(self, name: str, shape: tuple[int, ...], style: str) -> Array:
        made = np.empty(shape, object)
        for at in np.ndindex(shape):
            made[at] = self.make((name, at))
        return made


def _apart(key: Key) -> Fraction:
    """A number of an element between -1 and 1, none like another's."""
    drawn = int.from_bytes(blake2b(repr(key).encode(), digest_size=6).digest(), "big")
    return Fraction(2 * drawn + 1, 2**48) - 1


@dataclass
class Cell:
    """Which elements are one, where they lie, and which are numbers: one order of the elements, with ties."""

    place: Mapping[Key, Fraction] = field(default_factory=dict)  # equal: one indeterminate
    fixed: Mapping[Key, Fraction] = field(default_factory=dict)

    def maker(self, ring: Ring, variables: bool = True) -> Callable[[Key], Any]:
        known: dict[Any, Any] = {}

        def make(key: Key) -> Any:
            if key in self.fixed:
                return ring.number(self.fixed[key])
            at = self.place.get(key)
            value = _apart(key) if at is None else at
            if not variables:
                return ring.number(value)
            same = key if at is None else at
            if same not in known:
                known[same] = ring.variable(f"{key[0]}{list(key[1])}", value)
            return known[same]

        return make


# ---- orders of what is compared ---------------------------------------------------------------------


@cache
def weak_orders(n: int) -> tuple[tuple[int, ...], ...]:
    """The ranks of n elements in every order, ties included: 1, 3, 13, 75."""
    return tuple(r for r in product(range(n), repeat=n) if set(r) == set(range(max(r, default=-1) + 1)))


def windows(operator: Operator, configuration: Configuration) -> list[frozenset[Key]]:
    """Elements of which an extremum is taken: what would be added up if it were a sum. None where that says nothing."""
    statements, changed = [], []
    for s in operator.statements:
        extrema = [r for r in s.body.atoms(Reduce) if r.kind in ("max", "min")]
        sums = {r: r.func(Str("sum"), *r.args[1:]) for r in extrema}
        if not s.target.tensor.integer:
            statements.append(Statement(s.target, s.body.xreplace(sums)))
            changed += [s.target.tensor.name] * bool(sums)
    if not changed:
        return []
    ring, keys = Ring(), list[Key]()

    def make(key: Key) -> Any:
        keys.append(key)
        return ring.variable("", Fraction(0))

    summed = operator.with_statements(statements)
    try:
        made = Elements.of(configuration, make=make).case(summed, "", ring).run()
    except (SpecError, NotRational):
        return []
    found = (frozenset(keys[v] for m in terms_of(x) for v in m) for name in changed for x in made[name].flat)
    return [window for window in dict.fromkeys(found) if window]


def _coloured(of: Sequence[frozenset[Key]]) -> dict[Key, int]:
    """Colours such that no two elements of one window have the same; as few as going along them takes."""
    beside: dict[Key, set[Key]] = defaultdict(set)
    for window in of:
        for key in window:
            beside[key] |= window
    colours: dict[Key, int] = {}
    for key in sorted(beside):
        taken = {colours[k] for k in beside[key] if k in colours}
        colours[key] = next(c for c in range(len(beside[key])) if c not in taken)
    return colours


def _cell(of: Sequence[frozenset[Key]], colours: Mapping[Key, int], ranks: Sequence[int]) -> Cell:
    """Elements in the order of their colours; in a window those of one rank are one, elsewhere they are only near."""
    joined = {key: {key} for key in colours}
    for window in of:
        for a, b in combinations(sorted(window), 2):
            if ranks[colours[a]] == ranks[colours[b]] and joined[a] is not joined[b]:
                both = joined[a] | joined[b]
                for key in both:
                    joined[key] = both
    place: dict[Key, Fraction] = {}
    for key, colour in colours.items():
        first = min(joined[key])
        place[key] = ranks[colour] + abs(_apart(first)) / 2 - Fraction(len(set(ranks)), 2)
    return Cell(place)


def _around(kinks: Sequence[Fraction], compared: Sequence[Key], turn: int) -> Cell:
    """Each element below, at, between or above the numbers that it is compared with: another cell at each turn."""
    cells: list[tuple[Fraction, bool]] = [(kinks[0] - 1, False)]
    for k, kink in enumerate(kinks):
        beyond = (kink + kinks[k + 1]) / 2 if k + 1 < len(kinks) else kink + 1
        cells += [(kink, True), (beyond, False)]
    width = min([Fraction(1), *(b - a for a, b in pairwise(kinks))])
    place, fixed = {}, {}
    for n, key in enumerate(compared):
        at, there = cells[(n + turn) % len(cells)]
        if there:
            fixed[key] = at
        else:
            place[key] = at + width * _apart(key) / 4
    return Cell(place, fixed)


# ---- one configuration --------------------------------------------------------------------------------


@dataclass
class Tally:
    """What was run of one operator, and what it came to."""

    operator: str
    of: int  # configurations in its box
    whole: bool
    tried: int = 0
    ways: int = 0  # runs of a program at configurations of their own, which take what there is to take
    configurations: Counter[str] = field(default_factory=Counter)  # by kind
    compared: Counter[str] = field(default_factory=Counter)  # outputs' elements, by kind
    runs: int = 0  # of a program
    cells: int = 0  # orders that were run
    enumerated: Counter[int] = field(
        default_factory=Counter
    )  # configurations with every order, by size of window
    open: int = 0  # comparisons that an order does not decide
    generic: int = 0  # tests for equality, decided as they are nearly everywhere
    degree: int = 0  # the largest of a numerator or denominator
    worst: float = 0.0  # relative error of many digits
    seconds: float = 0.0
    missing: list[str] = field(
        default_factory=list
    )  # lines and branches that no run reached, where that was asked for

    @property
    def kinds(self) -> str:
        return ", ".join(k for k in KINDS if self.configurations[k])

    @property
    def chance(self) -> float:
        """Of a difference that residues do not show, over all comparisons."""
        return self.compared["prime field"] * self.degree / P


class _Operator:
    """One operator, while its box is run."""

    def __init__(self, operator: Operator, definition: Definition, tally: Tally) -> None:
        self.operator, self.definition, self.tally = operator, definition, tally
        self.programs = available(definition)
        self.keys: list[
            Key
        ] = []  # of the last run: the elements, and the tensors of those that were compared
        self.touched: set[str] = set()
        self.vain: Counter[int] = Counter()  # configurations at which a kind of numbers did not do
        self.draw: Draw | None = None  # the one run that is wanted, in place of one of each program

    def run(self, configuration: Configuration, number: int) -> None:
        """Every program at one configuration, in the first kind of numbers that will do."""
        kinds: tuple[Callable[[Configuration, int], str], ...] = (
            self.polynomials,
            self.residues,
            self.fractions,
            self.digits,
        )
        for k, of_kind in enumerate(kinds):
            if self.vain[k] >= VAIN:
                continue
            try:
                kind = of_kind(configuration, number)
            except NotRational:
                self.vain[k] += 1
                continue
            self.vain[k] -= VAIN
            self.tally.configurations[kind] += 1
            return
        raise VerificationError(f"{self.operator.name}: no numbers will do\n    {configuration}")

    def at(self, draw: Draw, number: int) -> None:
        """One program, in a manner that is known to run what other runs do not, in the first kind of numbers that will do."""
        self.draw = draw
        try:
            self.run(draw.setting.configuration, number)
        finally:
            self.draw = None

    def polynomials(self, configuration: Configuration, number: int) -> str:
        ring = self.cell(configuration, number, Cell())
        if ring.generic:  # a guard against zero: what it guards is met where all are zero
            touched = self.touched
            zeros = {key: Fraction(0) for key in self.keys if key[0] in touched}
            self.cell(configuration, number, Cell(fixed=zeros))
            self.touched = touched
        if not ring.compared:
            return "polynomials"
        # the kinks that elements meet are found in a few orders; two elements may hide a third one
        kinks, random = set(ring.kinks), Random(number)
        found = windows(self.operator, configuration)
        colours = _coloured(found)
        count = max(colours.values(), default=-1) + 1
        orders = weak_orders(count) if count <= WINDOW else ()
        cells: list[Cell] = []
        if found:
            size = max(map(len, found))
            every = bool(orders) and self.draw is None and self.tally.enumerated[size] < ALL
            drawn = [[random.randrange(count) for _ in range(count)] for _ in range(SOME)]
            chosen = orders if every else random.sample(orders, min(SOME, len(orders))) if orders else drawn
            cells += [_cell(found, colours, ranks) for ranks in chosen]
            self.tally.enumerated[size] += every
        if kinks:
            compared = sorted(k for k in self.keys if k[0] in self.touched)
            turns = range(2 * len(kinks) + 1)
            cells += [_around(sorted(kinks), compared, turn) for turn in turns]
        for k, cell in enumerate(cells[: ORDERS + 2 * len(kinks) + 1]):
            self.cell(configuration, number * 1000 + k, cell)
        return "by order"

    def cell(self, configuration: Configuration, number: int, cell: Cell, variables: bool = True) -> Ring:
        """All programs over polynomials; comparisons are decided at the cell's point."""
        ring = Ring()
        self.keys = []
        maker = cell.maker(ring, variables)

        def make(key: Key) -> Any:
            self.keys.append(key)
            return maker(key)

        with ring.deciding():
            self.compare(Elements.of(configuration, make=make), ring, number)
        self.touched = {ring.names[v].partition("[")[0] for v in ring.touched}
        self.tally.open += ring.open
        self.tally.generic += ring.generic
        self.tally.cells += bool(ring.compared)
        return ring

    def residues(self, configuration: Configuration, number: int) -> str:
        random = Random(f"{self.operator.name} {number}")
        known: dict[Key, Residue] = {}
        made = Elements.of(configuration, make=lambda key: known.setdefault(key, PRIME.element(random)))
        self.compare(made, PRIME, number)
        return "prime field"

    def fractions(self, configuration: Configuration, number: int) -> str:
        for k in range(SOME):
            random = Random(f"{number} {k}")
            values: dict[Key, Fraction] = {}

            def value(key: Key, random: Random = random, values: dict[Key, Fraction] = values) -> Any:
                return values.setdefault(
                    key, Fraction(random.randint(-12, 12), random.choice((1, 1, 2, 3, 4)))
                )

            ring = Ring()
            made = Elements.of(
                configuration, make=lambda key, value=value, ring=ring: ring.number(value(key))
            )
            try:
                self.compare(made, ring, number * 1000 + k)
            except (OutsideDomain, ZeroDivisionError):
                if k == SOME - 1:
                    raise NotRational("has no value at the points tried") from None
        return "fractions"

    def digits(self, configuration: Configuration, number: int) -> str:
        """At numbers of the first style that the operator has a value at."""
        for style in styles(self.operator, Random(number)):
            try:
                self.compare(Together.of(configuration), DIGITS, number, style)
            except (OutsideDomain, ZeroDivisionError):
                continue
            return "many digits"
        return "no value"

    # ---- comparing

    def compare(self, configuration: Configuration, kind: Field, number: int, style: str = "general") -> None:
        """Every program against the reference."""
        random = Random(f"{self.operator.name} {number}")
        setting = Setting(self.operator, self.definition, configuration, style, kind)
        case = setting.case
        outs, ins = case.real_outputs(), case.wrt()
        if self.draw is None:
            setting = replace(setting, dropped=_dropped(outs, ins, random))
        else:  # a tangent by both its names
            gone = self.draw.setting.dropped
            both = [f"hg{n[1:]}" for n in gone if n[0] == "t" and n[1:] in ins] + [
                f"t{n[2:]}" for n in gone if n[:2] == "hg"
            ]
            setting = replace(setting, dropped=(*gone, *both))
        truth = reference_programs(
            case, setting.vectors("g", outs), setting.vectors("t", ins), setting.vectors("tg", outs)
        )
        if any(v != v for arrays in truth.values() for a in arrays.values() for v in a.flat):
            raise OutsideDomain("NaN somewhere")
        for program, wanted, manner in self.drawn(setting, random):
            found = setting.exact(program, wanted, manner)
            self.hold(setting, program, manner, found, truth[program])

    def drawn(self, setting: Setting, random: Random) -> Iterator[tuple[str, Sequence[str], Manner]]:
        """The runs at a configuration: a program, its outputs, a manner."""
        if self.draw is not None:
            yield self.draw.program, self.draw.wanted, self.draw.manner
            return
        for program in self.programs:
            wanted = setting.outputs(program)
            if len(wanted) > 1 and random.random() < 0.3:
                wanted = [random.choice(wanted)]
            yield program, wanted, Manner.drawn(random)

    def hold(self, setting: Setting, program: str, manner: Manner, found: Arrays, truth: Arrays) -> None:
        """Equal, element for element."""
        self.tally.runs += 1
        name_of = {Ring: "polynomials", type(PRIME): "prime field"}.get(type(setting.field), "many digits")
        if name_of == "many digits":
            self.tally.worst = max(self.tally.worst, compare_exactly(setting, program, found, truth, manner))
            self.tally.compared[name_of] += sum(a.size for a in found.values())
            return
        for name, at, value, expected in elements(setting, program, found, truth):
            self.tally.compared[name_of] += 1
            if isinstance(value, Residue):
                self.tally.degree = max(self.tally.degree, _degree(value), _degree(expected))
            if not _same(value, expected):
                self.refute(setting, program, manner, f"{name}[{','.join(map(str, at))}]", value, expected)

    def refute(
        self, setting: Setting, program: str, manner: Manner, where: str, found: Any, expected: Any
    ) -> None:
        """The same run over fractions, which has a counterexample to show; if these agree, what is known."""
        plain = Together.of(setting.configuration)
        for style in ("general", "ties"):
            again = replace(setting, configuration=plain, field=RATIONALS, style=style)
            try:
                truth = again.expected(program)
                compare_exactly(again, program, again.exact(program, list(truth), manner), truth, manner)
            except (NotRational, OutsideDomain, ZeroDivisionError):
                continue
        raise VerificationError(
            f"{self.operator.name}: {where} of {program} is {found}, expected {expected}\n    {plain}"
        )


def _degree(x: Any) -> int:
    return max(x.above, x.below) if isinstance(x, Residue) else 0


def _same(value: Any, expected: Any) -> bool:
    if isinstance(value, Residue) or isinstance(expected, Residue):
        return bool(value == expected)
    if isinstance(value, (float, np.integer, int)) or isinstance(expected, (float, np.integer)):
        return bool(value == expected)  # an infinity, or an index
    return terms_of(value) == terms_of(expected)


def _dropped(outs: Sequence[str], ins: Sequence[str], random: Random) -> tuple[str, ...]:
    """In a while some cotangents or tangents are left out, but not all of a kind; tangents by both their names."""
    gone: list[str] = []
    for prefixes, names in ((("g",), outs), (("t", "hg"), ins), (("tg",), outs)):
        if len(names) > 1 and random.random() < 0.25:
            some = random.sample(list(names), random.randint(1, len(names) - 1))
            gone += [prefix + name for prefix in prefixes for name in some]
    return tuple(gone)


# ---- a whole box -----------------------------------------------------------------------------------------

MANNERS = 40  # runs of a small box, at least: each in a manner of its own


def run_box(
    operator: Operator,
    definition: Definition,
    *,
    seconds: float | None = None,
    most: int | None = None,
    tick: Callable[[], object] = lambda: None,
) -> Tally:
    """Each way there is once, then every configuration of an operator's box: as many as `most` or so many seconds of
    processor time allow.

    Raises VerificationError at the first difference.
    """
    made = box(operator, definition)
    tally, start = Tally(operator.name, len(made), made.whole), time.process_time()
    running = _Operator(operator, definition, tally)
    if not running.programs:
        return tally

    def late(part: float = 1.0) -> bool:
        return seconds is not None and time.process_time() - start > part * seconds

    if most is None:
        apart = _Operator(operator, definition, tally)  # what will not do there may do in the box
        aim = Aim(operator, definition, Random(operator.name), list(running.programs), reach=BRANCHES)
        for number, draw in enumerate(aim.draws()):
            try:
                apart.at(draw, -1 - number)
            except (OutsideDomain, ZeroDivisionError):
                continue
            tally.ways += 1
            tick()
            if late(0.5):
                break
    seen = set[str]()
    for number in range(max(len(made), MANNERS)):
        if late() or tally.tried == most:
            break
        at = number % len(made)
        configuration = made.configuration(at)
        tally.tried += number < len(made)
        if configuration is None:
            continue
        key = str((sorted(configuration.environment.items()), configuration.absent))
        if key in seen and number < len(made):  # made smaller, it is one of the others
            continue
        seen.add(key)
        running.run(configuration, number)
        tick()
    tally.seconds = time.process_time() - start
    return tally


def table(tallies: Sequence[Tally]) -> str:
    """A row for each operator, as Markdown."""
    lines = [
        "| operator | box | run | numbers | compared | orders | s |",
        "|---|---:|---:|---|---:|---:|---:|",
    ]
    for t in tallies:
        kinds = ", ".join(f"{k} {n}" for k, n in t.configurations.items())
        lines.append(
            f"| {t.operator} | {t.of}{'' if t.whole else ' by axes'} | {t.tried} | {kinds} "
            f"| {sum(t.compared.values()):,} | {t.cells or ''} | {t.seconds:.0f} |"
        )
    return "\n".join(lines)


def summary(tallies: Sequence[Tally]) -> str:
    """What the runs come to, in a few lines."""
    by_kind: Counter[str] = Counter()
    operators: dict[str, set[str]] = defaultdict(set)
    compared: Counter[str] = Counter()
    for t in tallies:
        by_kind.update(t.configurations)
        compared.update(t.compared)
        for kind in t.configurations:
            operators[kind].add(t.operator)
    lines = [
        f"{kind}: {by_kind[kind]:,} configurations of {len(operators[kind])} operators"
        for kind in (*KINDS, "no value")
        if by_kind[kind]
    ]
    whole = sum(t.tried == t.of for t in tallies)
    lines.append(
        f"{sum(t.tried for t in tallies):,} of {sum(t.of for t in tallies):,} configurations, the whole box of {whole} of "
        f"{len(tallies)} operators, and {sum(t.ways for t in tallies):,} runs at others; {sum(t.runs for t in tallies):,} runs, "
        f"{sum(compared.values()):,} elements compared"
    )
    undecided, equalities = sum(t.open for t in tallies), sum(t.generic for t in tallies)
    lines.append(
        f"{undecided:,} comparisons hold at points, not for an order; {equalities:,} tests for equality hold nearly everywhere"
    )
    chance = sum(t.chance for t in tallies)
    if chance:
        lines.append(f"a difference in the prime field is missed with a probability of at most {chance:.1e}")
    return "\n".join(lines)


__all__ = ["KINDS", "Cell", "Tally", "run_box", "summary", "table", "weak_orders", "windows"]
