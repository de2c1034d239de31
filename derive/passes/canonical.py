"""One name for equations that differ only in names and axis order.

Differentiation never rewrites a relation, so recognising a derivative needs renaming and nothing
else: the gradient of a convolution's weight is a convolution with stride and dilation exchanged
because the two relations are one, read with other letters.

Two steps. `abstract` splits an equation into a *shape*, whose coefficients, constants and extents
are symbols, and the *binding* of those symbols to integer formulas. `canonical` then names the
shape's reads, indices and symbols in an order that depends on structure only: colour refinement
over indices, ties broken by trying each member and keeping the smallest text. Orders of one text
map the equation to itself, and of those the one nearest to the written order is kept.
Axis order does not count (kernels read any strides), the order of factors does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice, permutations, product
from typing import Any, TypeVar

import sympy as sp

from derive.language import (
    Index,
    Lap,
    Parameter,
    Real,
    Size,
    chosen,
    extent,
    finite,
    indicator,
    maximum,
    minimum,
    relu,
    step,
)
from derive.program import Access, Affine, Equation, IntegerAccess, Range, Relation, fresh_name

T = TypeVar("T")
MOST_ORDERS = 720  # of reads, or of tied indices, tried before the written order is taken as it is


class Whole(sp.Symbol):
    """A run-time integer of either sign."""

    def __new__(cls, name: str) -> Whole:
        made: Whole = sp.Symbol.__new__(cls, name, integer=True)
        return made


INTEGERS = (Size, Parameter, Whole)


@dataclass(frozen=True, slots=True)
class Shape:
    """An equation over symbols alone, with what the symbols stand for."""

    equation: Equation
    tensors: tuple[tuple[Access, str], ...]  # the shape's access -> the program's tensor; the target first
    integers: tuple[tuple[sp.Symbol, sp.Expr], ...]
    reals: tuple[sp.Symbol, ...]


@lru_cache(maxsize=4096)  # programs of one operator have equations in common
def abstract(eq: Equation, *, shifted: bool = False) -> Shape:
    """Every access becomes a view of its own, every extent, coefficient and constant a symbol of its own.

    `shifted`: a window without an offset is taken as one with the offset 0, which a kernel for any offset can serve.

    Plain numbers stay: 1 and -1 decide how a relation is solved. So does "the extent of i" as a coefficient
    beside i itself, or that of i and j beside both, which makes a mixed radix; where several indices have that
    extent, the smallest text decides.
    """
    forms = (*eq.relation.zero, *eq.relation.nonneg, *((eq.at,) if eq.at is not None else ()))
    places = {(z, a): found for z in forms for a in z.atoms if (found := _radices(eq, z, a))}
    made = [
        _abstract(eq, dict(zip(places, choice, strict=True)), shifted)
        for choice in islice(product(*places.values()), MOST_ORDERS)
    ]
    return made[0] if len(made) == 1 else min(made, key=lambda shape: canonical(shape).text)


def _radices(eq: Equation, z: Affine, a: sp.Expr) -> list[tuple[Index, ...]]:
    """The indices beside `a` that are lower digits of a mixed radix: their extents multiply to its coefficient."""
    own = {r.index: r.size for r in eq.relation.ranges if not r.size.is_Number}
    found: list[tuple[Index, ...]] = []

    def extend(digits: tuple[Index, ...], below: sp.Expr) -> None:
        for i, c in z.terms:
            if i in own and i != a and i not in digits and sp.expand(c - below) == 0:
                above = sp.expand(below * own[i])
                if sp.expand(z.coefficient(a) - above) == 0:
                    found.append((*digits, i))
                else:
                    extend((*digits, i), above)

    extend((), sp.S.One)
    extend((), sp.S.NegativeOne)
    return found


def _abstract(eq: Equation, radices: dict[tuple[Affine, sp.Expr], tuple[Index, ...]], shifted: bool) -> Shape:
    own = {r.index: r.size for r in eq.relation.ranges}
    extents = {
        extent(i): size for i, size in own.items()
    }  # each index has one of its own, whichever happen to be equal
    forms = (*eq.relation.zero, *eq.relation.nonneg, *((eq.at,) if eq.at is not None else ()))
    taken = {s.name for e in (eq.body, *extents, *(f.expr for f in forms)) for s in e.free_symbols}
    integers: dict[sp.Expr, sp.Symbol] = {}
    there = _there(eq)

    def symbol(e: sp.Expr) -> sp.Symbol:
        if e not in integers:
            if e.is_Symbol and e not in extents:
                integers[e] = e
            else:
                name = fresh_name(f"{e.name}v" if e.is_Symbol else f"z{len(integers)}", taken)
                positive = bool(e.is_positive) or e in there
                integers[e] = Parameter(name, positive) if positive or e.is_nonnegative else Whole(name)
        return integers[e]

    def coefficient(c: sp.Expr) -> sp.Expr:
        if c.is_Number:
            return c
        return -symbol(sp.expand(-c)) if _turned(c) else symbol(c)

    def scalar(e: sp.Symbol) -> sp.Symbol:
        """An extent in a body is that of its index, where only one index has it."""
        owners = [i for i, size in own.items() if size == e]
        return extent(owners[0]) if len(owners) == 1 else symbol(e)

    table = _views(eq)

    def form(z: Affine) -> Affine:
        terms = []
        for a, c in z.terms:
            digits = radices.get((z, a))
            c = coefficient(c) if digits is None else z.coefficient(digits[0]) * sp.Mul(*map(extent, digits))
            terms.append((a.xreplace(table), c))
        number, rest = z.constant.as_coeff_Add()
        return Affine.of(terms, number + (coefficient(rest) if rest != 0 else 0))

    offsets: dict[sp.Symbol, sp.Expr] = {}

    def moved(z: Affine) -> Affine:
        if not shifted or z.constant != 0 or len(z.terms) < 3:
            return z
        offset = Parameter(fresh_name("z", taken), False)
        offsets[offset] = sp.S.Zero
        return z.shifted(-offset)

    zero = tuple(moved(form(z)) for z in eq.relation.zero)
    nonneg = tuple(map(form, eq.relation.nonneg))
    at = form(eq.at) if eq.at is not None else None
    inner = sorted((s for s in eq.body.free_symbols if isinstance(s, INTEGERS)), key=str)
    body = eq.body.xreplace({**table, **{s: scalar(s) for s in inner}})
    relation = Relation(tuple(Range(i, extent(i)) for i in own), zero, nonneg)
    shape = replace(eq, target=table[eq.target], relation=relation, body=body, at=at)
    bound = {**extents, **{s: e for e, s in integers.items()}, **offsets}
    tensors = tuple((table[a], a.tensor) for a in (eq.target, *eq.reads))
    reals = tuple(sorted((s for s in body.free_symbols if isinstance(s, Real)), key=str))
    return Shape(shape, tensors, tuple(bound.items()), reals)


def _there(eq: Equation) -> set[sp.Expr]:
    """Extents that are positive wherever inequalities are solved: of an index beside which each stands as a coefficient.

    A loop that such an inequality bounds lies within that index's, which has run at least once.
    """
    own = {r.index: r.size for r in eq.relation.ranges if not r.size.is_Number}
    found: dict[sp.Expr, bool] = {}
    for z in (*eq.relation.zero, *eq.relation.nonneg):
        for a, c in z.terms:
            size = -c if _turned(c) else c
            within = z in eq.relation.nonneg and any(
                own.get(i) == size for i in z.indices if i != a and i in z.atoms
            )
            found[size] = found.get(size, True) and within
    return {size for size, always in found.items() if always}


def _turned(c: sp.Expr) -> bool:
    """Is -c the plainer of the two? (SymPy's could_extract_minus_sign asks the letters of a sum.)"""
    signs = [bool(t.as_coeff_Mul()[0] < 0) for t in sp.Add.make_args(c)]
    return 2 * sum(signs) > len(signs)


def _views(eq: Equation) -> dict[Access, Access]:
    """A distinct name for each distinct access: one tensor read in two ways is two views."""
    taken: set[str] = {i.name for i in eq.relation.indices}
    made: dict[Access, Access] = {}
    for a in (eq.target, *eq.reads):
        if a in made:
            continue
        name, n = a.tensor, 1
        while name in taken:
            n += 1
            name = f"{a.tensor}_{n}"
        taken.add(name)
        made[a] = a.func(name, *a.indices)
    return made


# ---- canonical names -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Canonical:
    """The text that equal equations share, and what stands at each of its names."""

    text: str
    reads: tuple[Access, ...]  # target first
    indices: tuple[Index, ...]
    integers: tuple[sp.Symbol, ...]
    reals: tuple[sp.Symbol, ...]


@lru_cache(maxsize=4096)
def canonical(shape: Shape) -> Canonical:
    eq = shape.equation
    reads = list(eq.reads)
    groups: dict[str, list[Access]] = {}
    for a in reads:
        groups.setdefault(_role(eq, reads, a), []).append(a)
    return _first(shape, (_named(shape, order) for order in islice(_each_order(groups), MOST_ORDERS)))


def _first(shape: Shape, several: Iterable[Canonical]) -> Canonical:
    """The smallest text; of those with one text the written order, which memory order often follows."""
    eq = shape.equation
    indices = {i: k for k, i in enumerate(eq.relation.indices)}
    reads = {a: k for k, a in enumerate(dict.fromkeys((eq.target, *eq.reads)))}
    return min(
        several,
        key=lambda found: (found.text, [indices[i] for i in found.indices], [reads[a] for a in found.reads]),
    )


def _role(eq: Equation, reads: Sequence[Access], a: Access) -> str:
    """What tells a read from others whatever the names: its rank, how its indices are used, its place in the body."""
    forms = (*eq.relation.zero, *eq.relation.nonneg, *((eq.at,) if eq.at is not None else ()))
    uses = sorted(
        (i in eq.free, sum(i in r.indices for r in reads), sum(i in f.indices for f in forms))
        for i in a.indices
    )
    plain: Names = {r: f"r{len(r.indices)}" for r in reads}
    plain |= {s: "s" for s in eq.body.free_symbols if isinstance(s, (Index, Real, *INTEGERS))}
    return f"{isinstance(a, IntegerAccess)} {uses} {_text(eq.body, {**plain, a: 'a'})}"


Names = dict[sp.Basic, str]  # what stands for reads and symbols in a text


def _text(body: sp.Expr, names: Names) -> str:
    """A body as text. SymPy orders operands and turns comparisons round by names, so neither counts here."""
    if _turns(body):
        return _plain_text(body.xreplace({e: sp.Symbol(name) for e, name in names.items()}), {})
    return _plain_text(body, names)


@lru_cache(maxsize=4096)
def _turns(body: sp.Expr) -> bool:
    """Has it a function that SymPy writes of u or of -u by the names in u, as |x - y|?"""
    fixed = (sp.exp, sp.log, relu, step, maximum, minimum, indicator, chosen, finite, sp.Piecewise)
    return any(
        not isinstance(e, fixed) and any(u.has(sp.Add) for u in e.args) for e in body.atoms(sp.Function)
    )


def _plain_text(e: sp.Basic, names: Names) -> str:
    if (name := names.get(e)) is not None:
        return f"Symbol('{name}')"
    if not e.args:
        return _leaf(e)
    parts, kind = [_plain_text(a, names) for a in e.args], type(e).__name__
    if isinstance(e, (sp.Gt, sp.Ge)):
        parts, kind = parts[::-1], {"StrictGreaterThan": "StrictLessThan", "GreaterThan": "LessThan"}[kind]
    if isinstance(e, (sp.Add, sp.Mul, sp.And, sp.Or, sp.Eq, sp.Ne)):
        parts.sort()
    return f"{kind}({', '.join(parts)})"


@lru_cache(maxsize=4096)
def _leaf(e: sp.Basic) -> str:
    return str(sp.srepr(e))


@lru_cache(maxsize=4096)
def _sign_class(s: sp.Expr) -> str:
    """What a solver sees of a coefficient. Letters come after numbers: of a radix the higher digits are larger."""
    if s.is_Number:
        return str(s)
    core = s if not s.could_extract_minus_sign() else -s
    kind = "P" if core.is_positive else "N" if core.is_nonnegative else "S"
    return ("-" if core is not s else "") + kind


def _class(c: sp.Expr, sizes: dict[sp.Symbol, Index]) -> str:
    digits = _extents(c, sizes)
    return ("-" if c.could_extract_minus_sign() else "") + "E" * len(digits) if digits else _sign_class(c)


def _extents(c: sp.Expr, sizes: dict[sp.Symbol, Index]) -> list[Index]:
    """The indices whose extents make up the coefficient, if it is such a product, with either sign."""
    core = -c if c.could_extract_minus_sign() else c
    factors = sp.Mul.make_args(core)
    return [sizes[f] for f in factors] if all(f in sizes for f in factors) else []


@lru_cache(maxsize=4096)
def _scalars(body: sp.Expr) -> frozenset[sp.Basic]:
    """The symbols of a body that stand outside its reads."""
    found, nodes = set[sp.Basic](), sp.preorder_traversal(body)
    for e in nodes:
        if isinstance(e, Access):
            nodes.skip()
        elif e.is_Symbol:
            found.add(e)
    return frozenset(found)


def _named(shape: Shape, order: Sequence[Access]) -> Canonical:
    eq = shape.equation
    place = {a: f"A{k}" for k, a in enumerate(order)}
    sizes = {extent(i): i for i in eq.relation.indices}
    scalars = _scalars(eq.body)
    forms = (
        [("z", f) for f in eq.relation.zero]
        + [("n", f) for f in eq.relation.nonneg]
        + ([("a", eq.at)] if eq.at else [])
    )
    colour: dict[Index, str] = {}
    for i in eq.relation.indices:
        member = "".join("01"[i in a.indices] for a in (eq.target, *order))
        colour[i] = (
            f"{member}{'s' if i in scalars else ''}{'E' if extent(i) in scalars else ''}"
            f"{'L' if isinstance(i, Lap) else ''}"
        )
    colour = _refined(colour, forms, place, sizes)
    # Indices that no constraint, coefficient or scalar mentions are told apart by nothing: the written order will do.
    mentioned = scalars.union(*(f.expr.free_symbols for _, f in forms))
    twins = {i for i in colour if i not in mentioned and extent(i) not in mentioned}

    def settle(colour: dict[Index, str]) -> list[dict[Index, str]]:
        groups: dict[str, list[Index]] = {}
        for i, c in colour.items():
            groups.setdefault(c, []).append(i)
        tied = [groups[c] for c in sorted(groups) if len(groups[c]) > 1]
        if not tied:
            return [colour]
        done = []
        for i in tied[0][:1] if twins.issuperset(tied[0]) else tied[0]:
            done += settle(_refined({**colour, i: colour[i] + "!"}, forms, place, sizes))
            if len(done) >= MOST_ORDERS:
                break
        return done

    return _first(shape, (_written(shape, order, place, forms, c) for c in settle(colour)))


def _refined(
    colour: dict[Index, str],
    forms: Sequence[tuple[str, Affine]],
    place: dict[Access, str],
    sizes: dict[sp.Symbol, Index],
) -> dict[Index, str]:
    """Colours told apart by the constraints an index stands in, until nothing changes."""
    while True:
        ranks = {c: k for k, c in enumerate(sorted(set(colour.values())))}
        have = {i: f"{ranks[c]:03d}" for i, c in colour.items()}

        def atom(a: sp.Expr, have: dict[Index, str] = have) -> str:
            return have[a] if isinstance(a, Index) else place[a]

        def text(kind: str, form: Affine, sign: int, have: dict[Index, str] = have) -> str:
            parts = []
            for a, c in form.terms:
                radix = " ".join(sorted(have[i] for i in _extents(c, sizes)))
                parts.append(f"{_class(sign * c, sizes)}{radix}*{atom(a)}")
            return f"{kind}{sorted(parts)}{_sign_class(sign * form.constant) if form.constant.is_Number else 'c'}"

        texts = [min(text(k, f, 1), text(k, f, -1)) if k == "z" else text(k, f, 1) for k, f in forms]
        new: dict[Index, str] = {}
        for i in colour:
            seen = []
            for (_, form), t in zip(forms, texts, strict=True):
                if i in form.indices:
                    inner = "r" if i not in form.atoms else _class(form.coefficient(i), sizes)
                    seen.append(f"{t}@{inner.lstrip('-')}")
                if any(i in _extents(c, sizes) for _, c in form.terms):
                    seen.append(f"{t}@size")
            new[i] = f"{have[i]}{sorted(seen)}"
        if len(set(new.values())) == len(set(colour.values())):
            ranks = {c: k for k, c in enumerate(sorted(set(new.values())))}
            return {i: f"{ranks[c]:03d}" for i, c in new.items()}
        colour = new


def _written(
    shape: Shape,
    order: Sequence[Access],
    place: dict[Access, str],
    forms: Sequence[tuple[str, Affine]],
    colour: dict[Index, str],
) -> Canonical:
    eq = shape.equation
    indices = sorted(colour, key=lambda i: colour[i], reverse=True)  # the target's are the first
    rename: dict[sp.Basic, sp.Basic] = {i: sp.Symbol(f"i{k:02d}") for k, i in enumerate(indices)}
    rename |= {extent(i): sp.Symbol(f"E{k:02d}") for k, i in enumerate(indices)}
    number = {i: k for k, i in enumerate(indices)}

    def side(form: Affine, sign: int) -> tuple[str, list[tuple[str, sp.Expr]]]:
        parts = []
        for a, c in form.terms:
            atom = f"i{number[a]:02d}" if isinstance(a, Index) else place[a]
            parts.append((atom, sp.expand(sign * c)))
        parts.sort(key=lambda t: t[0])
        classes = " ".join(
            f"{atom}:{_sign_class(c) if not c.free_symbols & rename.keys() else str(c.xreplace(rename))}"
            for atom, c in parts
        )
        constant = sp.expand(sign * form.constant)
        return f"{classes} | {constant if constant.is_Number else 'c'}", [*parts, ("", constant)]

    groups: dict[tuple[str, str], list[Side]] = {}
    for kind, form in forms:
        options = [side(form, 1)] + ([side(form, -1)] if kind == "z" else [])
        text, parts = min(options, key=lambda o: o[0])
        groups.setdefault((kind, text), []).append((kind, parts))
    tensors = " ".join(
        f"{sorted(number[i] for i in a.indices)}{'int' if isinstance(a, IntegerAccess) else ''}"
        for a in (eq.target, *order)
    )
    laps = "".join(f"{number[i]} " for i in indices if isinstance(i, Lap))
    made = []
    for sides in islice(_each_order(groups), MOST_ORDERS):
        text, integers, reals = _numbered(sides, eq.body, place, rename)
        text = f"{eq.reduce} {eq.ties} {tensors} : {len(indices)} {laps}: {text}"
        made.append(Canonical(text, (eq.target, *order), tuple(indices), integers, reals))
    return min(made, key=lambda found: found.text)


Side = tuple[str, list[tuple[str, sp.Expr]]]  # a constraint's kind and its terms, in order


def _each_order(groups: Mapping[Any, list[T]]) -> Iterator[list[T]]:
    """Group after group in the order of the keys, and within a group every order."""
    for choice in product(*(permutations(groups[k]) for k in sorted(groups))):
        yield [member for group in choice for member in group]


def _numbered(
    sides: Sequence[Side], body: sp.Expr, place: Mapping[Access, str], rename: Mapping[sp.Basic, sp.Basic]
) -> tuple[str, tuple[sp.Symbol, ...], tuple[sp.Symbol, ...]]:
    """Body and constraints with their symbols numbered as they occur; in the body alike ones in either order."""
    rename, integers = dict(rename), list[sp.Symbol]()

    def put(s: sp.Symbol) -> None:
        rename[s] = sp.Symbol(f"{_sign_class(s)}{len(integers)}")
        integers.append(s)

    lines = []
    for kind, parts in sides:
        for _, c in parts:
            found = (s for s in c.free_symbols if isinstance(s, INTEGERS) and s not in rename)
            for s in sorted(found, key=lambda s: (_sign_class(s), str(s))):
                put(s)
        lines.append(f"{kind} " + " + ".join(f"({c.xreplace(rename)}){a}" for a, c in parts))
    left = {s for s in _scalars(body) if isinstance(s, (Real, *INTEGERS)) and s not in rename}
    known: Names = {**place, **{s: str(name) for s, name in rename.items()}}
    plain: Names = {**known, **dict.fromkeys(left, "s")}
    groups: dict[tuple[str, str], list[sp.Symbol]] = {}
    for s in sorted(left, key=str):
        kind = f"R{'+' if s.is_positive else ''}" if isinstance(s, Real) else _sign_class(s)
        around = _text(body, {**plain, s: "this"})
        groups.setdefault((kind, around), []).append(s)
    made = []
    for symbols in islice(_each_order(groups), MOST_ORDERS):
        reals = tuple(s for s in symbols if isinstance(s, Real))
        more = [s for s in symbols if not isinstance(s, Real)]
        names: Names = {s: f"R{k}{'+' if s.is_positive else ''}" for k, s in enumerate(reals)}
        names |= {s: f"{_sign_class(s)}{len(integers) + k}" for k, s in enumerate(more)}
        made.append((_text(body, {**known, **names}), (*integers, *more), reals))
    text, all_integers, reals = min(made, key=lambda m: m[0])
    return f"{text} : {' ; '.join(lines)}", all_integers, reals


def same_axes(
    known: Access, other: Access, known_indices: Sequence[Index], other_indices: Sequence[Index]
) -> tuple[int, ...]:
    """For each axis of the known access, the axis of the other that has the same canonical index."""
    to_other = dict(zip(known_indices, other_indices, strict=True))
    return tuple(other.indices.index(to_other[i]) for i in known.indices)


__all__ = ["Canonical", "Shape", "abstract", "canonical", "same_axes"]
