"""One name for equations that differ only in names and axis order.

Differentiation never rewrites a relation, so recognising a derivative needs renaming and nothing
else: the gradient of a convolution's weight is a convolution with stride and dilation exchanged
because the two relations are one, read with other letters.

Two steps. `abstract` splits an equation into a *shape*, whose coefficients, constants and extents
are symbols, and the *binding* of those symbols to integer formulas. `canonical` then names the
shape's reads, indices and symbols in an order that depends on structure only: colour refinement
over indices, ties broken by trying each member and keeping the smallest text.
Axis order does not count (kernels read any strides), the order of factors does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product

import sympy as sp

from derive.language import Index, Parameter, Real, Size, extent
from derive.program import Access, Affine, Equation, IntegerAccess, Range, Relation

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


def abstract(eq: Equation) -> Shape:
    """Every access becomes a view of its own, every extent, coefficient and constant a symbol of its own.

    Plain numbers stay: 1 and -1 decide how a relation is solved. So does "the extent of i" as a coefficient
    beside i itself, which makes a mixed radix.
    """
    own = {r.index: r.size for r in eq.relation.ranges}
    extents = {
        extent(i): size for i, size in own.items()
    }  # each index has one of its own, whichever happen to be equal
    integers: dict[sp.Expr, sp.Symbol] = {}

    def symbol(e: sp.Expr) -> sp.Symbol:
        if e not in integers:
            name = f"{e.name}v" if e.is_Symbol else f"z{len(integers)}"
            other = (
                Parameter(name, True)
                if e.is_positive
                else Parameter(name, False)
                if e.is_nonnegative
                else Whole(name)
            )
            integers[e] = e if e.is_Symbol and extents.get(e, e) == e else other
        return integers[e]

    def coefficient(c: sp.Expr) -> sp.Expr:
        if c.is_Number:
            return c
        return -symbol(sp.expand(-c)) if c.could_extract_minus_sign() else symbol(c)

    table = _views(eq)

    def form(z: Affine) -> Affine:
        terms = []
        for a, c in z.terms:
            radix = next(
                (i for i in z.indices if i != a and not own[i].is_Number and c in (own[i], -own[i])), None
            )
            if radix is not None:
                c = extent(radix) if c == own[radix] else -extent(radix)
            else:
                c = coefficient(c)
            terms.append((a.xreplace(table), c))
        number, rest = z.constant.as_coeff_Add()
        return Affine.of(terms, number + (coefficient(rest) if rest != 0 else 0))

    zero, nonneg = tuple(map(form, eq.relation.zero)), tuple(map(form, eq.relation.nonneg))
    at = form(eq.at) if eq.at is not None else None
    inner = sorted((s for s in eq.body.free_symbols if isinstance(s, INTEGERS)), key=str)
    body = eq.body.xreplace({**table, **{s: symbol(s) for s in inner}})
    relation = Relation(tuple(Range(i, extent(i)) for i in own), zero, nonneg)
    shape = replace(eq, target=table[eq.target], relation=relation, body=body, at=at)
    bound = {**extents, **{s: e for e, s in integers.items()}}
    tensors = tuple((table[a], a.tensor) for a in (eq.target, *eq.reads))
    reals = tuple(sorted((s for s in body.free_symbols if isinstance(s, Real)), key=str))
    return Shape(shape, tensors, tuple(bound.items()), reals)


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


def canonical(shape: Shape) -> Canonical:
    eq = shape.equation
    reads = list(eq.reads)
    groups: dict[str, list[Access]] = {}
    for a in reads:
        groups.setdefault(_role(eq, a), []).append(a)
    orders = [permutations(groups[k]) for k in sorted(groups)]
    best: Canonical | None = None
    for count, choice in enumerate(product(*orders)):
        if count >= MOST_ORDERS:
            break
        order = [a for group in choice for a in group]
        found = _named(shape, order)
        if best is None or found.text < best.text:
            best = found
    assert best is not None
    return best


def _role(eq: Equation, a: Access) -> str:
    """What tells a read from others whatever the names: its rank, how its indices are used, its place in the body."""
    forms = (*eq.relation.zero, *eq.relation.nonneg, *((eq.at,) if eq.at is not None else ()))
    uses = sorted(
        (i in eq.free, sum(i in r.indices for r in eq.reads), sum(i in f.indices for f in forms))
        for i in a.indices
    )
    plain: dict[sp.Basic, sp.Basic] = {r: sp.Symbol(f"r{len(r.indices)}") for r in eq.reads}
    plain |= {
        s: sp.Symbol("s") for s in eq.body.free_symbols if isinstance(s, (Index, Real, *INTEGERS))
    }
    return f"{isinstance(a, IntegerAccess)} {uses} {_text(eq.body.xreplace({**plain, a: sp.Symbol('a')}))}"


def _text(e: sp.Basic) -> str:
    """A body as text. SymPy orders operands and turns comparisons round by names, so neither counts here."""
    if not e.args:
        return str(sp.srepr(e))
    parts, kind = [_text(a) for a in e.args], type(e).__name__
    if isinstance(e, (sp.Gt, sp.Ge)):
        parts, kind = parts[::-1], {"StrictGreaterThan": "StrictLessThan", "GreaterThan": "LessThan"}[kind]
    if isinstance(e, (sp.Add, sp.Mul, sp.And, sp.Or, sp.Eq, sp.Ne)):
        parts.sort()
    return f"{kind}({', '.join(parts)})"


def _sign_class(s: sp.Expr) -> str:
    if s.is_Number:
        return str(s)
    core = s if not s.could_extract_minus_sign() else -s
    kind = "+" if core.is_positive else "0" if core.is_nonnegative else "?"
    return ("-" if core is not s else "") + kind


def _class(c: sp.Expr, sizes: dict[sp.Symbol, Index]) -> str:
    core = -c if c.could_extract_minus_sign() else c
    if core in sizes:
        return ("-" if core is not c else "") + "E"
    return _sign_class(c)


def _named(shape: Shape, order: Sequence[Access]) -> Canonical:
    eq = shape.equation
    place = {a: f"A{k}" for k, a in enumerate(order)}
    sizes = {extent(i): i for i in eq.relation.indices}
    body = eq.body.xreplace({a: sp.Symbol(n) for a, n in place.items()})
    forms = (
        [("z", f) for f in eq.relation.zero]
        + [("n", f) for f in eq.relation.nonneg]
        + ([("a", eq.at)] if eq.at else [])
    )
    colour: dict[Index, str] = {}
    for i in eq.relation.indices:
        member = "".join("01"[i in a.indices] for a in (eq.target, *order))
        colour[i] = (
            f"{member}{'s' if i in body.free_symbols else ''}{'E' if extent(i) in body.free_symbols else ''}"
        )
    colour = _refined(colour, forms, place, sizes)

    def settle(colour: dict[Index, str]) -> list[dict[Index, str]]:
        groups: dict[str, list[Index]] = {}
        for i, c in colour.items():
            groups.setdefault(c, []).append(i)
        tied = [groups[c] for c in sorted(groups) if len(groups[c]) > 1]
        if not tied:
            return [colour]
        done = []
        for i in tied[0]:
            done += settle(_refined({**colour, i: colour[i] + "!"}, forms, place, sizes))
            if len(done) >= MOST_ORDERS:
                break
        return done

    return min((_written(shape, order, place, body, forms, c) for c in settle(colour)), key=lambda c: c.text)


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
                core = -c if c.could_extract_minus_sign() else c
                radix = have[sizes[core]] if core in sizes else ""
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
                core_of = [
                    a for a, c in form.terms if (-c if c.could_extract_minus_sign() else c) == extent(i)
                ]
                if core_of:
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
    body: sp.Expr,
    forms: Sequence[tuple[str, Affine]],
    colour: dict[Index, str],
) -> Canonical:
    eq = shape.equation
    indices = sorted(colour, key=lambda i: colour[i])
    rename: dict[sp.Basic, sp.Basic] = {i: sp.Symbol(f"i{k:02d}") for k, i in enumerate(indices)}
    rename |= {extent(i): sp.Symbol(f"E{k:02d}") for k, i in enumerate(indices)}
    number = {i: k for k, i in enumerate(indices)}
    names: dict[sp.Symbol, sp.Symbol] = {}

    def slots(e: sp.Expr) -> None:
        for s in sorted(
            (s for s in e.free_symbols if isinstance(s, INTEGERS) and s not in rename),
            key=lambda s: (_sign_class(s), str(s)),
        ):
            names.setdefault(s, sp.Symbol(f"{ {'+': 'P', '0': 'N', '?': 'S'}[_sign_class(s)] }{len(names)}"))

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

    chosen = []
    for kind, form in forms:
        options = [side(form, 1)] + ([side(form, -1)] if kind == "z" else [])
        chosen.append((kind, *min(options, key=lambda o: o[0])))
    chosen.sort(key=lambda c: (c[0], c[1]))
    lines = []
    for kind, _, parts in chosen:
        for _, c in parts:
            slots(c)
        lines.append(f"{kind} " + " + ".join(f"({c.xreplace({**rename, **names})}){a}" for a, c in parts))
    slots(body)
    reals = tuple(sorted((s for s in body.free_symbols if isinstance(s, Real)), key=str))
    rename |= {s: sp.Symbol(f"R{k}{'+' if s.is_positive else ''}") for k, s in enumerate(reals)}
    tensors = " ".join(
        f"{sorted(number[i] for i in a.indices)}{'int' if isinstance(a, IntegerAccess) else ''}"
        for a in (eq.target, *order)
    )
    text = (
        f"{eq.reduce} {eq.ties} {tensors} : {_text(body.xreplace({**rename, **names}))} : {len(indices)} : "
        + " ; ".join(lines)
    )
    return Canonical(text, (eq.target, *order), tuple(indices), tuple(names), reals)


def same_axes(
    known: Access, other: Access, known_indices: Sequence[Index], other_indices: Sequence[Index]
) -> tuple[int, ...]:
    """For each axis of the known access, the axis of the other that has the same canonical index."""
    to_other = dict(zip(known_indices, other_indices, strict=True))
    return tuple(other.indices.index(to_other[i]) for i in known.indices)


__all__ = ["Canonical", "Shape", "abstract", "canonical", "same_axes"]
