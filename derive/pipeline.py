"""The line, on one screen: equations -> relation form -> derivatives -> kernels -> a module.

Every stage is kept, so that each can be shown. `check` returns its argument or raises, so a broken
pass is caught at its own line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations

import sympy as sp

from derive.emit.beside import beside_offer
from derive.emit.choice import Offer, choice_source
from derive.emit.contraction import contraction_offer
from derive.emit.kernel import TaskSource, task_source
from derive.emit.lanes import lanes_offer
from derive.emit.rows import rows_offer
from derive.emit.runs import runs_source
from derive.emit.scatter import scatter_offer
from derive.emit.sparse import sparse_offer
from derive.emit.strewn import strewn_offer
from derive.emit.twos import spread_offer
from derive.emit.winograd import winograd_offer
from derive.errors import SpecError
from derive.language import Operator, Real, extent
from derive.lower.contraction import contraction
from derive.lower.lanes import lanes
from derive.lower.loops import Nest
from derive.lower.plain import lower
from derive.lower.runs import Copied, copied
from derive.lower.scatter import scattered
from derive.lower.sparse import sparse
from derive.lower.strewn import strewn
from derive.lower.winograd import windows
from derive.passes.canonical import Canonical, Shape, abstract, canonical, same_axes
from derive.passes.compose import compose
from derive.passes.differentiate import jvp, vjp
from derive.passes.mirror import mirror
from derive.passes.products import products
from derive.passes.reuse import reuse
from derive.passes.simplify import simplify
from derive.passes.stable import stable
from derive.passes.terms import terms
from derive.program import Access, Equation, Program, check, fresh_name, vanishes
from derive.translate import to_program

PROGRAMS = ("forward", "vjp", "jvp", "vjp_vjp", "vjp_jvp")


@dataclass(frozen=True)
class Phase:
    """An equation of a program, bound to a kernel."""

    kernel: str
    equation: Equation
    tensors: tuple[str, ...]
    axes: tuple[tuple[int, ...], ...]
    integers: tuple[sp.Expr, ...]
    reals: tuple[sp.Symbol, ...]
    covers: bool
    linear: tuple[str, ...]
    recognised: str = ""  # the equation whose kernel this is, where it was made for another
    several: tuple[
        Equation, ...
    ] = ()  # where it is copies along several axes at once: all of them, `equation` the last


@dataclass(frozen=True)
class Shared:
    """A kernel of another module."""

    module: str
    title: str
    source: TaskSource


@dataclass(frozen=True)
class Known(Shared):
    """One with the equation that it was made for."""

    name: Canonical
    equation: Equation


class Library(dict[tuple[str, bool], Known]):
    """Kernels by an equation's canonical name, and whether they add to what the target holds."""

    def __init__(self) -> None:
        super().__init__()
        self.chains: dict[
            tuple[object, ...], Shared
        ] = {}  # those of copies along several axes, by what they are


@dataclass(frozen=True)
class Joint:
    """A phase that does at once what several do."""

    phase: Phase
    of: tuple[int, ...]


@dataclass
class Derivation:
    """Every stage of one operator."""

    operator: Operator
    raw: dict[str, Program] = field(default_factory=dict)  # as differentiated
    programs: dict[str, Program] = field(default_factory=dict)  # simplified
    kernels: dict[str, TaskSource] = field(default_factory=dict)
    phases: dict[str, list[Phase]] = field(default_factory=dict)
    joints: dict[str, list[Joint]] = field(default_factory=dict)
    shared: dict[str, Shared] = field(default_factory=dict)  # those of `kernels` that other modules have


def derive(operator: Operator, library: Library | None = None) -> Derivation:
    """Differentiate, simplify, recognise and lower; nothing is written anywhere.

    Kernels that `library` has are taken from there, and new ones entered into it: what is derived next may use them.
    """
    made = Derivation(operator)
    try:
        forward = to_program(operator)  # y  = sum[c,k] x[n,c,q]*w[o,c,k]   { s*p + d*k - a = q }
        made.raw["forward"] = forward
        made.raw["vjp"] = check(vjp(forward, "g"))  # gx = sum[o,p] gy[n,o,p]*w[o,c,k]  { the same relation }
        made.raw["jvp"] = check(jvp(forward, "t"))
        for name, program in list(made.raw.items()):
            made.programs[name] = check(simplify(program))
        made.raw["vjp_vjp"] = check(vjp(made.programs["vjp"], "h"))
        made.raw["vjp_jvp"] = check(jvp(made.programs["vjp"], "t"))
        for name in ("vjp_vjp", "vjp_jvp"):
            made.programs[name] = check(simplify(made.raw[name]))
    except SpecError as error:
        raise error.within(operator=operator.name) from None
    # logsumexp as loops can do it; what a sum adds at many points worked out once
    prepared = {
        name: check(compose(terms(products(reuse(mirror(stable(made.programs[name]))))))) for name in PROGRAMS
    }
    book = _Book(made, _adding(prepared.values()), Library() if library is None else library)
    for name, program in prepared.items():
        try:
            made.phases[name] = list(book.phases(program))
            made.joints[name] = list(book.joints(made.phases[name]))
        except SpecError as error:
            raise error.within(operator=operator.name) from None
    return made


def _adding(programs: Iterable[Program]) -> set[str]:
    """Canonical names of equations of which some adds to what an earlier one, or nobody, has stored."""
    found = set()
    for program in programs:
        stored = set[str]()
        for eq in program.equations:
            if eq.target.tensor in stored or not _whole(program, eq):
                found.add(canonical(abstract(eq)).text)
            stored.add(eq.target.tensor)
    return found


def _whole(program: Program, eq: Equation) -> bool:
    """Does it write every element of its target?"""
    return tuple(eq.relation.size(i) for i in eq.free) == program.tensors[eq.target.tensor].shape


def _points(eq: Equation) -> tuple[object, ...]:
    """What an equation reduces for each element of its target, whatever the order of axes and constraints."""
    r = eq.relation
    return eq.body, set(eq.free), {i: r.size(i) for i in r.indices}, set(r.zero), set(r.nonneg)


def kernel_source(nest: Nest, title: str, offers: Sequence[Offer]) -> TaskSource:
    """Plain loops, and a choice among them and whatever is offered beside them."""
    if not any(offer.ways for offer in offers):
        return task_source(nest, title)
    return choice_source(title, task_source(nest, f"{title}_plain"), offers)


class _Book:
    """Kernels by canonical name: an equation that is one already known in other letters reuses its kernel."""

    def __init__(self, made: Derivation, adding: set[str], library: Library) -> None:
        self.made, self.adding, self.library = made, adding, library
        self.taken = {"sizes", "DEFINITION"}
        self.known: dict[str, tuple[str, Canonical, Equation]] = {}
        self.chained: dict[tuple[object, ...], str] = {}

    def phases(self, program: Program) -> Iterator[Phase]:
        """One for each equation, but for copies along several axes, which are done at once."""
        chains = {n: chain for chain in copied(program) for n in chain.of}
        for n, eq in enumerate(program.equations):
            if n not in chains:
                yield self.phase(program, eq)
            elif n == chains[n].of[-1]:
                yield self.copies(program, chains[n])

    def copies(self, program: Program, chain: Copied) -> Phase:
        first, last = (program.equations[chain.of[k]] for k in (0, -1))
        target, read = last.target.tensor, first.reads[0].tensor
        title, integers = self.chain(chain, target, read), dict(chain.integers)
        other = self.made.shared.get(title)
        return Phase(
            title,
            last,
            (target, read),
            chain.orders,
            tuple(integers[s] for s in self.made.kernels[title].integers),
            (),
            True,
            (read,),
            f"copies of {other.module}" if other is not None else "",
            tuple(program.equations[n] for n in chain.of),
        )

    def phase(self, program: Program, eq: Equation) -> Phase:
        shape, name = self.named(eq)
        integers, tensor_of = dict(shape.integers), dict(shape.tensors)
        recognised = ""
        if name.text not in self.known:
            self.make(eq, shape, name)
        title, known, first = self.known[name.text]
        if first != eq:
            recognised = str(first.target)
        if title in self.made.shared:
            recognised = f"{first.target} of {self.made.shared[title].module}"
        source = self.made.kernels[title]
        views = dict(zip(known.reads, name.reads, strict=True))
        symbols = dict(zip(known.integers, name.integers, strict=True))
        symbols |= dict(zip(map(extent, known.indices), map(extent, name.indices), strict=True))
        reals = dict(zip(known.reals, name.reals, strict=True))
        bound = [views[v] for v in source.views]
        axes = tuple(
            same_axes(v, o, known.indices, name.indices) for v, o in zip(source.views, bound, strict=True)
        )
        return Phase(
            title,
            eq,
            tuple(tensor_of[v] for v in bound),
            axes,
            tuple(integers[symbols[s]] for s in source.integers),
            tuple(reals[s] for s in source.reals),
            (source.adds or source.nest.strategy == "gather" or not source.nest.adds) and _whole(program, eq),
            self.linear(program, eq),
            recognised,
        )

    def named(self, eq: Equation) -> tuple[Shape, Canonical]:
        """An equation's shape and canonical name: one of which there is a kernel, if there is."""
        shape = abstract(eq)
        name = canonical(shape)
        if not self.library or name.text in self.known or self.found(shape, name) is not None:
            return shape, name
        general = abstract(eq, shifted=True)
        if general.equation == shape.equation:
            return shape, name
        other = canonical(general)
        return (general, other) if self.found(general, other) is not None else (shape, name)

    def found(self, shape: Shape, name: Canonical) -> Known | None:
        return self.library.get((name.text, self.adds(shape, name)))

    def adds(self, shape: Shape, name: Canonical) -> bool:
        return name.text in self.adding or contraction(shape.equation, name.indices) is not None

    def make(self, eq: Equation, shape: Shape, name: Canonical) -> None:
        """The kernel of an equation that was not met before in this operator."""
        fast, adds = contraction(shape.equation, name.indices), self.adds(shape, name)
        if (found := self.found(shape, name)) is not None:
            self.known[name.text] = (self.imported(found), found.name, found.equation)
            return
        title = self.title(eq)
        self.known[name.text] = (title, name, eq)
        nest = replace(lower(shape.equation, name.indices), adds=adds)
        ways = lanes(shape.equation, nest, name.indices)
        if fast is not None and fast.pair is None:
            offers = [
                *(winograd_offer(nest, slid, title) for slid in windows(fast)),
                lanes_offer(nest, ways, title, fast),
                contraction_offer(nest, fast, title),
            ]
        elif fast is not None:
            offers = [contraction_offer(nest, fast, title), lanes_offer(nest, ways, title)]
        elif (way := scattered(nest)) is not None:
            offers = [
                rows_offer(nest, title),
                beside_offer(nest, way, title),
                scatter_offer(nest, way, title),
            ]
        elif (matrix := sparse(shape.equation, ways, name.indices)) is not None:
            offers = [sparse_offer(nest, matrix, title), lanes_offer(nest, ways, title)]
        elif (line := strewn(shape.equation, ways, name.indices)) is not None:
            offers = [strewn_offer(nest, line, title), lanes_offer(nest, ways, title)]
        else:
            offers = [rows_offer(nest, title), lanes_offer(nest, ways, title)]
        source = replace(kernel_source(nest, title, [spread_offer(nest, title), *offers]), contraction=fast)
        self.made.kernels[title] = source
        self.library[name.text, adds] = Known(self.made.operator.name, title, source, name, eq)

    def imported(self, found: Shared) -> str:
        """What a kernel of another module is called here."""
        title = found.title
        if title in self.taken:
            title = fresh_name(f"{title}_of_{found.module}", self.taken)
        self.taken.add(title)
        self.made.shared[title], self.made.kernels[title] = found, found.source
        return title

    def joints(self, phases: Sequence[Phase]) -> Iterator[Joint]:
        """An extremum and its place, for who asks for both: where the place is looked for, the extremum is known."""
        for (i, first), (j, second) in permutations(enumerate(phases), 2):
            place, best = first.equation, second.equation
            if (
                place.reduce != f"arg{best.reduce}"
                or place.ties != "first"
                or _points(place) != _points(best)
            ):
                continue
            if not (first.covers and second.covers):
                continue
            shape = abstract(place)
            name, title = canonical(shape), self.title(place, best)
            value = Access(best.target.tensor, *best.free)
            nest = replace(lower(shape.equation, name.indices), adds=False, value=value)
            offers = [lanes_offer(nest, lanes(shape.equation, nest, name.indices), title)]
            source = kernel_source(nest, title, offers)
            self.made.kernels[title] = source
            integers, tensor_of = dict(shape.integers), {**dict(shape.tensors), value: best.target.tensor}
            phase = replace(
                first,
                kernel=title,
                tensors=tuple(tensor_of[v] for v in source.views),
                axes=tuple(tuple(range(len(v.indices))) for v in source.views),
                integers=tuple(integers[s] for s in source.integers),
                recognised="",
            )
            yield Joint(phase, (i, j))

    def chain(self, chain: Copied, target: str, read: str) -> str:
        """The kernel of a chain of copies."""
        key = chain.key
        if key not in self.chained:
            if (found := self.library.chains.get(key)) is not None:
                self.chained[key] = self.imported(found)
            else:
                title = fresh_name(f"{target}_from_{read}", self.taken)
                source = runs_source(chain, title)
                self.chained[key], self.made.kernels[title] = title, source
                self.library.chains[key] = Shared(self.made.operator.name, title, source)
        return self.chained[key]

    def title(self, eq: Equation, *more: Equation) -> str:
        names = list(dict.fromkeys(a.tensor for a in eq.reads))
        targets = "_".join(e.target.tensor for e in (eq, *more))
        return fresh_name(f"{targets}_from_{'_'.join(names)}" if names else f"{targets}_filled", self.taken)

    @staticmethod
    def linear(program: Program, eq: Equation) -> tuple[str, ...]:
        """Tensors without which the equation adds nothing; of one that reads none, reals."""
        if eq.reduce != "sum":
            return ()
        if not eq.reads:
            reals = (s for s in eq.body.free_symbols if isinstance(s, Real))
            return tuple(sorted(s.name for s in reals if vanishes(eq.body, s)))
        names = dict.fromkeys(a.tensor for a in eq.reads)
        reads = {n: [a for a in eq.body.atoms(Access) if a.tensor == n] for n in names}
        return tuple(n for n, those in reads.items() if those and vanishes(eq.body, *those))
