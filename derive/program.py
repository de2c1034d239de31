"""The relation form: a program is equations, an equation is a reduction over the points of a relation.

    program   ::=  equation*                        equations with one target add up; no equation: 0
    equation  ::=  access = reduce body  { relation }
    relation  ::=  a range for every index, affine = 0 ..., affine >= 0 ...
    access    ::=  tensor[index, ...]               plain, distinct indices, the target included
    affine    ::=  coefficient * atom + ... + constant
    atom      ::=  index | integer access           coefficients and constants hold parameters and sizes only
    body      ::=  a SymPy scalar over accesses, indices, sizes and parameters

An index that the target does not name is reduced. All index arithmetic sits in the relation,
so a derivative keeps the relation and changes only target and body. A point outside the
relation does not exist. These types say what they are; `derive.passes` transforms them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import sympy as sp
from sympy.core.symbol import Str

from derive.errors import CheckError
from derive.language import (
    SCALARS,
    Index,
    Parameter,
    Read,
    Real,
    Reduce,
    Size,
    chosen,
    finite,
    indicator,
    maximum,
    minimum,
    relu,
    step,
)

RESERVED = {"out", "wrt"}  # arguments that every operator has
REDUCTIONS = ("sum", "max", "min", "prod", "logsumexp", "argmax", "argmin")


class Access(sp.Expr):
    """``tensor[i, j]`` at plain indices, as a real SymPy scalar."""

    is_commutative = True
    is_real = True

    def __new__(cls, tensor: Any, *indices: Any) -> Access:
        name = tensor if isinstance(tensor, Str) else Str(tensor)
        made: Access = sp.Expr.__new__(cls, name, *indices)
        return made

    @property
    def tensor(self) -> str:
        name: str = self.args[0].name
        return name

    @property
    def indices(self) -> tuple[Index, ...]:
        return tuple(self.args[1:])

    def _sympystr(self, printer: Any) -> str:
        return f"{self.tensor}[{','.join(map(printer._print, self.indices))}]"

    def _latex(self, printer: Any) -> str:
        name = self.tensor.replace("_", r"\_")
        name = name if len(name) == 1 else rf"\mathit{{{name}}}"
        return f"{name}_{{{','.join(map(printer._print, self.indices))}}}" if self.indices else name


class IntegerAccess(Access):
    is_integer = True


@lru_cache(maxsize=65536)
def accesses(expr: sp.Basic) -> tuple[Access, ...]:
    """Every access in `expr`, nested ones too, in an order that no hash seed changes."""
    found = expr.atoms(Access)
    return tuple(
        sorted(
            found,
            key=lambda a: (a.tensor, tuple(i.name for i in a.indices if isinstance(i, sp.Symbol)), str(a)),
        )
    )


@dataclass(frozen=True, slots=True)
class Affine:
    """sum of coefficient * atom, plus a constant. Terms are sorted by their atom's text."""

    terms: tuple[tuple[sp.Expr, sp.Expr], ...]
    constant: sp.Expr = sp.S.Zero

    @staticmethod
    def of(terms: Iterable[tuple[sp.Expr, sp.Expr]], constant: Any = 0) -> Affine:
        table: dict[sp.Expr, sp.Expr] = {}
        for atom, c in terms:
            table[atom] = sp.expand(table.get(atom, sp.S.Zero) + c)
        kept = sorted(((a, c) for a, c in table.items() if c != 0), key=lambda t: str(t[0]))
        return Affine(tuple(kept), sp.expand(sp.sympify(constant)))

    @property
    def atoms(self) -> tuple[sp.Expr, ...]:
        return tuple(a for a, _ in self.terms)

    @property
    def indices(self) -> tuple[Index, ...]:
        """Every index this mentions, those inside integer accesses too, each once."""
        found: dict[Index, None] = {}
        for a in self.atoms:
            for i in a.indices if isinstance(a, Access) else (a,):
                found[i] = None
        return tuple(found)

    @property
    def reads(self) -> tuple[IntegerAccess, ...]:
        return tuple(a for a in self.atoms if isinstance(a, Access))

    def coefficient(self, atom: sp.Expr) -> sp.Expr:
        return next((c for a, c in self.terms if a == atom), sp.S.Zero)

    def without(self, *gone: sp.Expr) -> Affine:
        return Affine(tuple((a, c) for a, c in self.terms if a not in gone), self.constant)

    def __neg__(self) -> Affine:
        return Affine(tuple((a, sp.expand(-c)) for a, c in self.terms), sp.expand(-self.constant))

    def __add__(self, other: Affine) -> Affine:
        return Affine.of((*self.terms, *other.terms), self.constant + other.constant)

    def shifted(self, by: Any) -> Affine:
        return Affine(self.terms, sp.expand(self.constant + by))

    def scaled(self, by: Any) -> Affine:
        return Affine.of(((a, c * by) for a, c in self.terms), self.constant * by)

    def replaced(self, table: Mapping[sp.Basic, sp.Basic]) -> Affine:
        """Atoms, parameters and sizes renamed."""
        return Affine.of(
            ((a.xreplace(table), c.xreplace(table)) for a, c in self.terms), self.constant.xreplace(table)
        )

    def mapped(self, change: Callable[[sp.Expr], sp.Expr]) -> Affine:
        return Affine.of(((change(a), change(c)) for a, c in self.terms), change(self.constant))

    @property
    def expr(self) -> sp.Expr:
        return sp.Add(self.constant, *(c * a for a, c in self.terms))

    def __str__(self) -> str:
        return _side(self.terms, self.constant)

    @property
    def equality(self) -> str:
        """`self = 0` as one writes it: s*p + d*k - a = q."""
        right = tuple((a, -c) for a, c in self.terms if c.could_extract_minus_sign())
        left = tuple((a, c) for a, c in self.terms if not c.could_extract_minus_sign())
        if not right or not left:
            return f"{self} = 0"
        return f"{_side(left, self.constant)} = {_side(right, sp.S.Zero)}"


def _side(terms: Iterable[tuple[sp.Expr, sp.Expr]], constant: sp.Expr) -> str:
    """Coefficients before their atoms, the constant last."""
    text = ""
    for atom, c in terms:
        negative = c.could_extract_minus_sign()
        core = sp.expand(-c) if negative else c
        word = str(atom) if core == 1 else f"({core})*{atom}" if core.is_Add else f"{core}*{atom}"
        text += (" - " if negative else " + ") + word
    if constant != 0 or not text:
        for part in constant.as_ordered_terms():
            negative = part.could_extract_minus_sign()
            text += (" - " if negative else " + ") + str(-part if negative else part)
    return f"-{text[3:]}" if text.startswith(" - ") else text[3:]


def _whole(e: sp.Expr) -> bool:
    """An integer. (SymPy does not say so of a floor of a quotient, whose divisor may be 0 for all that it knows.)"""
    floors = {f: sp.Dummy(integer=True) for f in e.atoms(sp.floor, sp.ceiling)}
    return e.xreplace(floors).is_integer is True


@lru_cache(maxsize=65536)
def affine(expr: sp.Expr) -> Affine | None:
    """`expr` as an affine form in its indices and integer accesses, all coefficients integers, or None."""
    expr = sp.expand(expr)
    terms: list[tuple[sp.Expr, sp.Expr]] = []
    constant = sp.S.Zero
    for term in sp.Add.make_args(expr):
        atoms = [f for f in sp.Mul.make_args(term) if isinstance(f, (Index, Access))]
        rest = sp.Mul(*(f for f in sp.Mul.make_args(term) if not isinstance(f, (Index, Access))))
        if len(atoms) > 1 or rest.has(Index, Access) or not all(map(_whole, (*atoms, rest))):
            return None
        if atoms:
            terms.append((atoms[0], rest))
        else:
            constant += rest
    return Affine.of(terms, constant)


@dataclass(frozen=True, slots=True)
class Range:
    """0 <= index < size."""

    index: Index
    size: sp.Expr


@dataclass(frozen=True, slots=True)
class Relation:
    """The integer points over which an equation reduces."""

    ranges: tuple[Range, ...]
    zero: tuple[Affine, ...] = ()
    nonneg: tuple[Affine, ...] = ()

    @property
    def held(self) -> set[Index]:
        """The indices that some constraint speaks of."""
        return {i for form in (*self.zero, *self.nonneg) for i in form.indices}

    def tied(self, index: Index) -> set[Index]:
        """The indices that constraints tie to this one, at once or through others; itself among them."""
        forms, group = (*self.zero, *self.nonneg), {index}
        while more := {i for form in forms if group & set(form.indices) for i in form.indices} - group:
            group |= more
        return group

    @property
    def indices(self) -> tuple[Index, ...]:
        return tuple(r.index for r in self.ranges)

    def size(self, index: Index) -> sp.Expr:
        return next(r.size for r in self.ranges if r.index == index)


@dataclass(frozen=True, slots=True)
class Equation:
    """target = reduce body over the relation. `at` is what an argmax or argmin yields at the point it picks."""

    target: Access
    relation: Relation
    body: sp.Expr
    reduce: str = "sum"
    ties: str = "first"
    at: Affine | None = None

    @property
    def pointwise(self) -> bool:
        """Does it add one value to each element of its target, which nothing holds?"""
        r = self.relation
        return self.reduce == "sum" and not (self.bound or r.zero or r.nonneg)

    @property
    def free(self) -> tuple[Index, ...]:
        return self.target.indices

    @property
    def bound(self) -> tuple[Index, ...]:
        return tuple(i for i in self.relation.indices if i not in self.target.indices)

    @property
    def reads(self) -> tuple[Access, ...]:
        """Every access but the target, body first, then those of the relation."""
        found: dict[Access, None] = dict.fromkeys(accesses(self.body))
        for e in (*self.relation.zero, *self.relation.nonneg, *((self.at,) if self.at else ())):
            found.update(dict.fromkeys(e.reads))
        return tuple(found)

    def mapped(self, change: Callable[[sp.Expr], sp.Expr]) -> Equation:
        """`change` applied to every expression; it must map indices to indices and accesses to accesses."""
        r = self.relation
        ranges = tuple(Range(change(g.index), change(g.size)) for g in r.ranges)
        relation = Relation(
            ranges, tuple(z.mapped(change) for z in r.zero), tuple(z.mapped(change) for z in r.nonneg)
        )
        at = self.at.mapped(change) if self.at is not None else None
        return replace(self, target=change(self.target), relation=relation, body=change(self.body), at=at)

    def __str__(self) -> str:
        where = [z.equality for z in self.relation.zero] + [f"{z} >= 0" for z in self.relation.nonneg]
        over = f"[{','.join(i.name for i in self.bound)}]" if self.bound else ""
        ties = (
            ""
            if self.ties == "first" or self.reduce in ("sum", "prod", "logsumexp")
            else f" ({self.ties} of ties)"
        )
        at = f" at {self.at}" if self.at is not None else ""
        head = "" if self.reduce == "sum" and not self.bound else f"{self.reduce}{over}{ties} "
        tail = f"   {{ {', '.join(where)} }}" if where else ""
        return f"{self.target} += {head}{self.body}{at}{tail}"


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a program: what its axes are long."""

    name: str
    shape: tuple[sp.Expr, ...]
    integer: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """left >= right must hold of run-time integers; `reason` says it in the user's words."""

    left: sp.Expr
    right: sp.Expr
    reason: str


@dataclass(frozen=True, slots=True)
class Program:
    """Inputs, equations in order, outputs.

    sizes       derived extents in order of derivation
    locals      declared shapes of tensors whose axes may be longer than the index that writes them
    parameters  integer and real symbols a caller gives
    """

    inputs: tuple[Tensor, ...]
    equations: tuple[Equation, ...]
    outputs: tuple[Tensor, ...]
    sizes: tuple[tuple[Size, sp.Expr], ...] = ()
    locals: tuple[Tensor, ...] = ()
    parameters: tuple[sp.Symbol, ...] = ()
    conditions: tuple[Condition, ...] = ()

    def __str__(self) -> str:
        lines = [str(e) for e in self.equations]
        return "\n".join(lines + [f"    {s} = {e}" for s, e in self.sizes])

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name, in order of appearance."""
        table = {t.name: t for t in (*self.inputs, *self.locals, *self.outputs)}
        for eq in self.equations:
            shape = tuple(eq.relation.size(i) for i in eq.free)
            table.setdefault(
                eq.target.tensor, Tensor(eq.target.tensor, shape, isinstance(eq.target, IntegerAccess))
            )
        used = {t.name for t in (*self.inputs, *self.outputs)} | {eq.target.tensor for eq in self.equations}
        return {name: t for name, t in table.items() if name in used}


def live(program: Program) -> Program:
    """Only the equations an output needs, and only the inputs they read or that remain declared."""
    need, kept = {t.name for t in program.outputs}, []
    for eq in reversed(program.equations):
        if eq.target.tensor in need:
            kept.append(eq)
            need |= {a.tensor for a in eq.reads}
    return replace(program, equations=tuple(reversed(kept)))


PARTIAL = (
    sp.log,
    sp.tan,
    sp.asin,
    sp.acos,
    sp.acosh,
    sp.atanh,
)  # functions that some numbers have no value of


# What costs about as much as a multiplication.
CHEAP = (maximum, minimum, relu, step, finite, indicator, chosen, sp.Abs, sp.sign, sp.Piecewise)


def costly(e: sp.Expr) -> bool:
    """Has it a function that takes some ten times what a multiplication takes?"""
    roots = any(not p.exp.is_integer for p in e.atoms(sp.Pow))
    return roots or any(not isinstance(f, CHEAP) for f in e.atoms(sp.Function))


def always_finite(e: sp.Expr) -> bool:
    """Is it a number wherever what it reads is one, but for overflow? Only then may a pass work it out at a place where
    the equation that it is taken from has no point."""
    powers = all((p.exp.is_integer and p.exp.is_nonnegative) or p.base.is_positive for p in e.atoms(sp.Pow))
    known = (*SCALARS, indicator, chosen, sp.Piecewise)
    total = all(isinstance(f, known) and not isinstance(f, PARTIAL) for f in e.atoms(sp.Function))
    return powers and total and not e.has(sp.zoo, sp.nan)


def vanishes(body: sp.Expr, *reads: sp.Expr) -> bool:
    """Is the body 0 where these reads are? Where it has no value there (1/x, log(x) < y) it is not."""
    try:
        return bool(body.xreplace(dict.fromkeys(reads, sp.S.Zero)) == 0)
    except TypeError:  # SymPy compares nothing with an infinity that has no sign, or with a complex number
        return False


def fresh_name(name: str, taken: set[str]) -> str:
    """`name`, or `name` and the first number that makes it new; it is then taken."""
    made, n = name, 1
    while made in taken:
        n += 1
        made = f"{name}_{n}"
    taken.add(made)
    return made


def symbols(
    equations: Iterable[Equation], sizes: Iterable[tuple[Size, sp.Expr]]
) -> Iterator[tuple[object, sp.Symbol]]:
    """Every symbol that has to have a value, and where it stands: an equation, or a size and its formula."""
    for eq in equations:
        everything = [
            eq.body,
            *(z.expr for z in (*eq.relation.zero, *eq.relation.nonneg)),
            *(r.size for r in eq.relation.ranges),
            *((eq.at.expr,) if eq.at is not None else ()),
        ]
        for e in everything:
            for s in sorted(e.free_symbols, key=_by_name):
                yield eq, s
    for size, e in sizes:
        for s in sorted(e.free_symbols, key=_by_name):
            yield (size, e), s


def _by_name(s: sp.Symbol) -> str:
    name: str = s.name
    return name


def check(program: Program) -> Program:
    """The rules of the form, or CheckError at the equation that breaks one. Returns its argument."""
    known: dict[str, Tensor] = {t.name: t for t in program.inputs}
    written: dict[str, Equation] = {}
    last_write = {eq.target.tensor: k for k, eq in enumerate(program.equations)}
    declared = {s for s, _ in program.sizes} | {
        s for t in program.inputs for e in t.shape for s in e.free_symbols
    }
    declared |= set(program.parameters)

    def need(ok: Any, what: str, *about: object) -> None:
        if not ok:  # only now: printing formulas takes longer than looking at them
            raise CheckError(f"{what.format(*about)}\n    in  {eq}")

    for eq in program.equations:
        names = eq.relation.indices
        need(len(set(names)) == len(names), "an index has two ranges")
        need(not eq.body.has(Read, Reduce), "a read or a reduction is left as the user wrote it")
        need(eq.reduce in REDUCTIONS, "no reduction is called {}", eq.reduce)
        need(
            (eq.at is not None) == eq.reduce.startswith("arg"),
            "`at` belongs to argmax and argmin, and they need it",
        )
        need(
            isinstance(eq.target, IntegerAccess) == eq.reduce.startswith("arg") or eq.reduce == "sum",
            "only argmax and argmin yield integers",
        )
        for a in (eq.target, *eq.reads):
            need(all(isinstance(i, Index) for i in a.indices), "{} is not at plain indices", a)
            need(len(set(a.indices)) == len(a.indices), "{} names an index twice", a)
            need(all(i in names for i in a.indices), "{} uses an index without a range", a)
    shapes = program.tensors
    for k, eq in enumerate(program.equations):
        names = eq.relation.indices
        for a in (eq.target, *eq.reads):
            need(
                a.tensor in shapes and len(shapes[a.tensor].shape) == len(a.indices),
                "{} has another rank than its tensor",
                a,
            )
        for a in eq.reads:
            need(a.tensor in known or a.tensor in written, "{} is read before it is written", a)
            need(a.tensor in known or last_write[a.tensor] < k, "{} is read before its last equation", a)
        for e in (*eq.relation.zero, *eq.relation.nonneg):
            need(
                all(isinstance(a, (Index, IntegerAccess)) for a in e.atoms),
                "{} is not affine in indices and integer reads",
                e,
            )
            need(
                not any(c.has(Index, Access) for _, c in e.terms) and not e.constant.has(Index, Access),
                "{}: an index in a coefficient",
                e,
            )
            need(all(i in names for i in e.indices), "{} uses an index without a range", e)
        need(all(not r.size.has(Index, Access) for r in eq.relation.ranges), "a range depends on an index")
        need(eq.target.tensor not in known, "{} is an input and is written", eq.target.tensor)
        same = eq.target.tensor in written
        need(
            not same or written[eq.target.tensor].reduce == eq.reduce == "sum",
            "only sums add up on one target",
        )
        written[eq.target.tensor] = eq
    for where, s in symbols(program.equations, program.sizes):
        if isinstance(s, (Size, Parameter, Real)) and s not in declared:
            text = " = ".join(map(str, where)) if isinstance(where, tuple) else where
            raise CheckError(
                f"{s} has no value: neither an input's extent, nor derived, nor a parameter\n    in  {text}"
            )
    return program
