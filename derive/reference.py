"""What an operator's equations mean, worked out point by point: slow, and trusted.

    evaluate      every written tensor, over any numbers
    vjp, jvp      first-order derivatives, from numbers that carry them
    vjp_vjp, ...  second-order ones, from nesting those numbers

This reads the equations as the user wrote them and nothing else: no relation form, no differentiation
rule, no formula for a size. Extents come from shapes or, where a law gives them, from counting up
until a window leaves its input. It shares no code with what it is there to check.

What a statement means: every additive term of its body is added up over all indices that the target does
not name; a point exists where each of its own reads does. A read outside its tensor means what the tensor
declares (`outside`). A nested reduction has points of its own. The order of points is that of the indices
as written, the last one fastest; "first" and "last" of ties follow it.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, reduce
from operator import add, mul
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy as sp
from sympy.core.relational import Relational

from derive import numbers
from derive.errors import SpecError, VerificationError
from derive.language import (
    FOLDS,
    MODES,
    Index,
    IntegerRead,
    IntegerReduce,
    Operator,
    Parameter,
    Read,
    Real,
    Reduce,
    Size,
    Tensor,
    chosen,
    finite,
    indicator,
    inside,
    maximum,
    minimum,
    relu,
    step,
)
from derive.numbers import RATIONALS, Dual, Field, Gradient, Number

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Arrays = Mapping[str, Any]  # an absent optional tensor is missing or None
Point = dict[Any, Any]  # the values of indices, and of the reads at this point
Value = Callable[[Point], Any]

LONGEST = 100_000  # where counting up an extent gives up


# ---- extents and shapes ---------------------------------------------------------------------


@dataclass(frozen=True)
class Extents:
    """How long every index runs, and the shape of every tensor."""

    sizes: Mapping[Index, int]
    shapes: Mapping[str, Shape]

    def __getitem__(self, index: Index) -> int:
        if index not in self.sizes and index.like is not None:
            return self[index.like]
        if index not in self.sizes:
            raise SpecError(f"nothing says how far index `{index}` runs")
        return self.sizes[index]


def find_extents(operator: Operator, shapes: Mapping[str, Shape], integers: Mapping[str, int]) -> Extents:
    """The extents that the given shapes (those of the inputs at least) and the laws lead to."""
    return _Extents(operator, shapes, integers).found()


def named(
    name: str,
    sizes: Mapping[Index, int],
    shapes: Mapping[str, Sequence[int | None]],
    integers: Mapping[str, int],
) -> int | None:
    """The extent called `name`: an index in capitals, or a tensor in capitals and the number of an axis."""
    for index, size in sizes.items():
        if index.name.upper() == name:
            return size
    for tensor, shape in shapes.items():
        for axis, length in enumerate(shape):
            if f"{tensor.upper()}{axis}" == name and length not in (None, -1):
                return length
    return integers.get(name)


# Extents are asked for again and again of the same equations, and SymPy prints, sorts and walks slowly.
_often = lru_cache(4096)


@_often
def _reads(target: Read, body: sp.Expr) -> tuple[Read, ...]:
    """What an equation reads, in an order of its own."""
    return tuple(sorted(body.atoms(Read) | target.atoms(Read) - {target}, key=str))


@_often
def _symbols(e: sp.Expr) -> tuple[sp.Symbol, ...]:
    return tuple(e.free_symbols)


@_often
def _letters(e: sp.Expr) -> tuple[Index, ...]:
    """The indices of an expression by name."""
    return tuple(sorted((i for i in e.free_symbols if isinstance(i, Index)), key=str))


@_often
def _is_bent(e: sp.Expr) -> bool:
    """Whether an index expression is more than a sum of multiples, so that no window moves along with it."""
    return bool(e.has(Read, Reduce, sp.floor, sp.ceiling, sp.Mod, *FOLDS.values()))


@_often
def _index_value(e: sp.Expr) -> Value:
    """The value of an index expression at a point that holds its parameters and sizes too."""
    return _integer(e, lambda s: lambda at: at[s])


class _Extents:
    def __init__(self, operator: Operator, shapes: Mapping[str, Shape], integers: Mapping[str, int]) -> None:
        self.operator = operator
        self.integers = integers
        self.given = set(shapes)
        self.inputs = {t.name for t in operator.inputs}
        self.targets = [s.target for s in operator.statements]
        self.reads = [r for s in operator.statements for r in _reads(s.target, s.body)]
        self.sizes: dict[Index, int] = {}
        self.shapes: dict[str, list[int | None]] = {}
        for r in (*self.targets, *self.reads):
            known = shapes.get(r.tensor.name)
            self.shapes.setdefault(r.tensor.name, list(known) if known is not None else [None] * len(r.at))
            if len(self.shapes[r.tensor.name]) != len(r.at):
                raise SpecError(f"{r} has {len(r.at)} axes, the array has {len(self.shapes[r.tensor.name])}")

    def found(self) -> Extents:
        rounds: tuple[Callable[[], bool], ...] = (
            self.from_declarations,
            self.from_inputs,
            self.from_plain_axes,
            lambda: self.from_laws(every=True),
            self.from_covers,
            self.from_names,
            lambda: self.from_laws(every=False),
        )
        while any(attempt() for attempt in rounds):
            pass
        return Extents(
            dict(self.sizes),
            {name: tuple(-1 if e is None else e for e in shape) for name, shape in self.shapes.items()},
        )

    def size(self, index: Index) -> int | None:
        return (
            self.size(index.like)
            if index not in self.sizes and index.like is not None
            else self.sizes.get(index)
        )

    def formula(self, e: sp.Expr) -> int | None:
        """The value of an expression in parameters and sizes, if all of them are known."""
        table = {s: self.symbol(s) for s in _symbols(e)}
        return None if None in table.values() else _whole_number(_index_value(e)(table), e)

    def symbol(self, s: sp.Symbol) -> int | None:
        if isinstance(s, Size):
            return named(s.name, self.sizes, self.shapes, self.integers)
        return self.integers.get(s.name)

    def put(self, index: Index, value: int) -> bool:
        if index in self.sizes:
            if self.sizes[index] != value:
                raise SpecError(f"index `{index}` has two extents, {self.sizes[index]} and {value}")
            return False
        self.sizes[index] = value
        return True

    def from_declarations(self) -> bool:
        new = False
        for index, e in self.operator.extents.items():
            if index not in self.sizes and (value := self.formula(e)) is not None:
                new |= self.put(index, value)
        return new

    def plain(self, reads: Sequence[Read]) -> Iterator[tuple[Read, int, Index]]:
        for r in reads:
            for axis, e in enumerate(r.at):
                if isinstance(e, Index) and e.like is None:
                    yield r, axis, e

    def from_inputs(self) -> bool:
        new = False
        for r, axis, index in self.plain([r for r in self.reads if r.tensor.name in self.inputs]):
            size = self.shapes[r.tensor.name][axis]
            if size is not None and index not in self.operator.laws and not self.starts_from(index, r, axis):
                new |= self.put(index, size)
        return new

    def starts_from(self, index: Index, r: Read, axis: int) -> bool:
        """Whether the declared extent of an index on an axis is a formula of that axis, which then runs further."""
        e = self.operator.extents.get(index)
        if e is None:
            return False
        others = {
            i for o, k, i in self.plain(self.reads) if o.tensor == r.tensor and k == axis and i != index
        }
        names = {f"{r.tensor.name.upper()}{axis}", *(i.name.upper() for i in others)}
        return any(s.name in names for s in e.free_symbols)

    def from_plain_axes(self) -> bool:
        """A written tensor is as long as the index that writes it, unless given or written further out."""
        new = False
        for r, axis, index in self.plain(self.targets):
            if any(t.tensor == r.tensor and not isinstance(t.at[axis], Index) for t in self.targets):
                continue
            shape = self.shapes[r.tensor.name]
            if r.tensor.name in self.given and index not in self.sizes:
                new |= self.put(index, shape[axis] or 0)
            elif shape[axis] is None and index in self.sizes:
                shape[axis], new = self.sizes[index], True
        for r, axis, index in self.plain(self.reads):
            size = self.shapes[r.tensor.name][axis]
            if (
                r.tensor.name not in self.inputs
                and index not in self.sizes
                and index not in self.operator.laws
                and size is not None
            ):
                new |= self.put(index, size)
        return new

    def from_names(self) -> bool:
        """An axis that nothing else determines is an integer: the tensor's capitals and the axis."""
        new = False
        for name, shape in self.shapes.items():
            for axis, size in enumerate(shape):
                value = self.integers.get(f"{name.upper()}{axis}")
                if size is None and value is not None:
                    shape[axis], new = value, True
        return new

    def places(self, e: sp.Expr, p: Index | None, last: bool = False) -> Callable[[int], list[int]] | None:
        """All values of an index expression at one value of p; None while other indices are unknown.

        An index without values has none, or, for the `last` place, ends before it begins: at n - 1 = -1
        where the place grows with it, at 0 where it falls.
        """
        others = [i for i in _letters(e) if i != p]
        sizes = [self.size(i) for i in others]
        table: Point = {s: self.symbol(s) for s in _symbols(e) if not isinstance(s, Index)}
        if None in sizes or None in table.values():
            return None
        value = _index_value(e)

        def here(position: int, point: Sequence[int]) -> int:
            table[p] = position
            table.update(zip(others, point, strict=True))
            return _whole_number(value(table), e)

        def at(position: int) -> list[int]:
            if last and 0 in sizes:
                full = itertools.product(*(range(n) if n else (None,) for n in sizes))
                return [
                    min(
                        here(position, end)
                        for end in itertools.product(*((-1, 0) if i is None else (i,) for i in point))
                    )
                    for point in full
                ]
            return [here(position, point) for point in itertools.product(*(range(n or 0) for n in sizes))]

        return at

    def margin(self, r: Read, axis: int) -> tuple[int, int] | None:
        place = axis - len(r.at) + len(r.tensor.margin)
        if not 0 <= place < len(r.tensor.margin):
            return 0, 0
        before, after = (self.formula(e) for e in r.tensor.margin[place])
        return None if before is None or after is None else (before, after)

    def from_laws(self, every: bool) -> bool:
        """An index that nothing else bounds runs while all of its windows stay where they may."""
        bounds: dict[Index, list[int | None]] = {}
        for r in self.reads:
            for axis, e in enumerate(r.at):
                if _is_bent(e):
                    continue
                for p in _letters(e):
                    if p.like is None and p not in self.sizes and (p != e or p in self.operator.laws):
                        bounds.setdefault(p, []).append(self.bound(r, axis, e, p))
        for p, found in bounds.items():
            known = [b for b in found if b is not None and b < LONGEST]
            if known and (len(known) == len(found) or not every):
                return self.put(p, min(known))
        return False

    def bound(self, r: Read, axis: int, e: sp.Expr, p: Index) -> int | None:
        size, margin, places = self.shapes[r.tensor.name][axis], self.margin(r, axis), self.places(e, p)
        if size is None or margin is None or places is None:
            return None
        before, after = margin
        law = self.operator.laws.get(p)
        over = law is not None and (
            law.when is True or law.when == sp.true or (self.formula(sp.sympify(law.when)) or 0) > 0
        )

        def runs(position: int) -> bool:
            window = places(position)
            if min(window, default=0) < -before:
                return False
            if over:  # it starts in the input or before it, and the window before it has not reached the end
                return min(window) <= size - 1 and max(places(position - 1)) < size - 1 + after
            return max(window, default=0) <= size - 1 + after

        return next((n for n in range(LONGEST) if not runs(n)), LONGEST) if places(0) else None

    def from_covers(self) -> bool:
        """A written axis holds every write, less its margin after."""
        for name in dict.fromkeys(t.tensor.name for t in self.targets):
            writes = [t for t in self.targets if t.tensor.name == name]
            for axis, size in enumerate(self.shapes[name]):
                exprs = [t.at[axis] for t in writes]
                if size is not None or any(e.has(Read, *FOLDS.values()) for e in exprs):
                    continue
                places = [self.places(e, None, last=True) for e in exprs]
                margin = self.margin(writes[0], axis)
                if margin is not None and all(places):
                    written = [place for p in places if p is not None for place in p(0)]
                    self.shapes[name][axis] = max(0, max(written, default=-1) + 1 - margin[1])
                    return True
        return False


# ---- integers -------------------------------------------------------------------------------


def _whole_number(value: Any, e: sp.Expr) -> int:
    if value != int(value):
        raise SpecError(f"`{e}` is {value} somewhere, which is no whole number")
    return int(value)


def _is_integer(e: sp.Basic) -> bool:
    """Made of indices, parameters, sizes, integer tensors and rational numbers alone."""
    if isinstance(e, (sp.Rational, Index, Size, Parameter, IntegerRead, IntegerReduce)):
        return True
    if isinstance(e, sp.Pow):
        return _is_integer(e.base) and isinstance(e.exp, sp.Integer)
    return isinstance(e, (sp.Add, sp.Mul, sp.floor, sp.ceiling, sp.Mod, sp.Max, sp.Min, sp.Abs)) and all(
        map(_is_integer, e.args)
    )


def _is_whole(e: sp.Basic) -> bool:
    """Of such an expression: is it, and everything that it is made of, a whole number, which floats hold?"""
    if isinstance(e, (sp.floor, sp.ceiling)) or not e.args or isinstance(e, (IntegerRead, IntegerReduce)):
        return not isinstance(e, sp.Rational) or bool(e.is_integer)
    return all(map(_is_whole, e.args)) and not (isinstance(e, sp.Pow) and bool(e.exp.is_negative))


def _integer(e: sp.Expr, leaf: Callable[[Any], Value]) -> Value:
    """Exact value of such an expression, as an int or a Fraction; `leaf` says what its atoms are."""
    if isinstance(e, sp.Integer):
        whole = int(e)
        return lambda at: whole
    if isinstance(e, sp.Rational):
        q = Fraction(int(e.p), int(e.q))
        return lambda at: q
    if isinstance(e, Index):
        return lambda at: at[e]
    if isinstance(e, (sp.Symbol, Read, Reduce)):
        return leaf(e)
    parts = [_integer(a, leaf) for a in e.args]
    if isinstance(e, sp.Add):
        return _folded(add, parts)
    if isinstance(e, sp.Mul):
        return _folded(mul, parts)
    if isinstance(e, sp.Pow):
        base, power = parts[0], int(e.exp)
        return lambda at: Fraction(base(at)) ** power
    if isinstance(e, sp.floor):
        return lambda at: parts[0](at) // 1
    if isinstance(e, sp.ceiling):
        return lambda at: -(-parts[0](at) // 1)
    if isinstance(e, sp.Mod):
        return lambda at: parts[0](at) % parts[1](at)
    if isinstance(e, sp.Max):
        return lambda at: max(p(at) for p in parts)
    if isinstance(e, sp.Min):
        return lambda at: min(p(at) for p in parts)
    if isinstance(e, sp.Abs):
        return lambda at: abs(parts[0](at))
    if isinstance(e, sp.Piecewise):
        return lambda at: next(_integer(v, leaf)(at) for v, c in e.args if _compared(c, leaf)(at))
    raise SpecError(f"`{e}` is no index expression")


def _compared(c: sp.Basic, leaf: Callable[[Any], Value]) -> Value:
    """A condition on integers in the formula of a size."""
    if c in (sp.true, sp.false):
        return lambda at: c == sp.true
    left, right = (_integer(a, leaf) for a in c.args)
    return lambda at: COMPARE[type(c)](left(at), right(at))


COMPARE: dict[type, Callable[[Any, Any], bool]] = {
    sp.Eq: lambda a, b: a == b,
    sp.Ne: lambda a, b: a != b,
    sp.Lt: lambda a, b: a < b,
    sp.Le: lambda a, b: a <= b,
    sp.Gt: lambda a, b: a > b,
    sp.Ge: lambda a, b: a >= b,
}


def _folded(combine: Callable[[Any, Any], Any], parts: Sequence[Value]) -> Value:
    """The parts' values combined, the first two first."""

    def both(f: Value, g: Value) -> Value:
        return lambda at: combine(f(at), g(at))

    return reduce(both, parts)


def fold(mode: str, u: int, size: int) -> int | None:
    """Where position u of an axis lies once folded back; None in an empty axis."""
    if size == 0:
        return None
    if mode == "circular":
        return u % size
    if mode == "replicate":
        return min(max(u, 0), size - 1)
    while not 0 <= u < size:  # walk back and forth between the two mirrors
        if mode == "symmetric":
            u = -1 - u if u < 0 else 2 * size - 1 - u
        elif size == 1:
            u = 0
        else:
            u = -u if u < 0 else 2 * (size - 1) - u
    return u


# ---- evaluation -----------------------------------------------------------------------------


@dataclass
class _Evaluation:
    """One operator with all of its arrays and integers: expressions become functions of a point."""

    operator: Operator
    field: Field
    extents: Extents
    integers: Mapping[str, int]
    reals: Mapping[str, Number]
    values: dict[str, Array]
    absent: set[str] = dataclasses.field(default_factory=set)
    compiled: dict[Hashable, Value] = dataclasses.field(default_factory=dict)

    # --- statements

    def run(self) -> dict[str, Array]:
        written: dict[str, Array] = {}
        for s in self.operator.statements:
            tensor = s.target.tensor
            if tensor.name not in written:
                shape = self.extents.shapes[tensor.name]
                if -1 in shape:
                    raise SpecError(f"nothing says how long axis {shape.index(-1)} of `{tensor.name}` is")
                fresh = np.full(shape, 0 if tensor.integer else self.field.number(0), object)
                written[tensor.name] = self.values[tensor.name] = fresh
            for term in sp.Add.make_args(s.body):
                self.statement(s.target, term, written[tensor.name])
        return {name: a.astype(np.int64) if self.declared(name).integer else a for name, a in written.items()}

    def declared(self, name: str) -> Tensor:
        return next(s.target.tensor for s in self.operator.statements if s.target.tensor.name == name)

    def statement(self, target: Read, term: sp.Expr, array: Array) -> None:
        named = [i for e in target.at for i in sorted(e.atoms(Index), key=str)]
        other = sorted((i for i in term.free_symbols if isinstance(i, Index) and i not in named), key=str)
        body = self.integer(term) if target.tensor.integer else self.number(term)
        at = [self.integer(e) for e in target.at]
        points = self.points(tuple(dict.fromkeys((*named, *other))), (*target.at, term))
        terms: dict[tuple[int, ...], list[Number]] = {}
        for here in points({}):
            place = tuple(_whole_number(f(here), e) for f, e in zip(at, target.at, strict=True))
            if all(0 <= u < size for u, size in zip(place, array.shape, strict=True)):
                terms.setdefault(place, []).append(body(here))
        for place, found in terms.items():
            array[place] = numbers.total(found, array[place])

    # --- points

    def points(
        self, over: Sequence[Index], exprs: Sequence[sp.Basic], where: Sequence[sp.Basic] = ()
    ) -> Callable[[Point], Iterator[Point]]:
        """The points at which every read of these expressions exists and every condition holds, in order.

        A point is good until the next one is asked for.
        """
        fetch = [(r, self.fetch(r)) for r in dict.fromkeys(r for e in (*exprs, *where) for r in own_reads(e))]
        conditions = [self.truth(c) for c in where]
        ranges = [range(self.extents[i]) for i in over]

        def points(outer: Point) -> Iterator[Point]:
            here = dict(outer)
            for place in itertools.product(*ranges):
                here.update(zip(over, place, strict=True))
                for r, value in fetch:
                    found = value(here)
                    if found is None:
                        break
                    here[r] = found
                else:
                    if all(c(here) for c in conditions):
                        yield here

        return points

    def fetch(self, r: Read | inside) -> Value:
        """The value of a read at a point, None if the point does not exist there."""
        mark = isinstance(r, inside)
        return self.remembered(("fetch", r), lambda: self.fetched(r.args[0] if mark else r, only_inside=mark))

    def fetched(self, r: Read, only_inside: bool) -> Value:
        name, outside = r.tensor.name, "absent" if only_inside else r.tensor.outside
        if name in self.absent:
            nothing = self.field.number(0)
            return lambda at: nothing
        array, shape = self.values[name], self.values[name].shape
        modes = [next((mode for mode, f in FOLDS.items() if isinstance(e, f)), None) for e in r.at]
        at_axis = [self.integer(e.args[0] if mode else e) for e, mode in zip(r.at, modes, strict=True)]
        value = None
        if not isinstance(outside, str):
            letters = {i for o in outside.atoms(Read) for i in o.free_symbols}
            if not letters <= set(r.at):
                raise SpecError(f"outside={outside}: its indices do not all stand plainly in {r}")
            value = self.at_point(outside)
        integer, axes = r.tensor.integer, list(zip(r.at, modes, at_axis, shape, strict=True))

        def read(at: Point) -> Any:
            place: list[int] = []
            left = False
            for e, mode, f, size in axes:
                u = f(at)
                if type(u) is not int:
                    u = _whole_number(u, e)
                if mode is not None or not 0 <= u < size:
                    if mode is None and value is not None:
                        left = True
                        continue
                    folding = mode or outside
                    folded = fold(folding, u, size) if folding in MODES else None
                    if folded is None:
                        return None
                    u = folded
                place.append(u)
            if left:
                assert value is not None
                return value(at)
            found = array[tuple(place)]
            return int(found) if integer else found

        return read

    def at_point(self, e: sp.Expr) -> Value:
        """An expression that brings its own reads along."""
        body, fetch = self.number(e), [(r, self.fetch(r)) for r in own_reads(e)]

        def value(at: Point) -> Any:
            here = dict(at)
            for r, get in fetch:
                here[r] = get(here)
                if here[r] is None:
                    return None
            return body(here)

        return value

    # --- expressions

    def integer(self, e: sp.Expr) -> Value:
        return self.remembered(("integer", e), lambda: _integer(e, self.leaf))

    def leaf(self, e: Any) -> Value:
        if isinstance(e, Read):
            return lambda at: at[e]
        if isinstance(e, IntegerReduce):
            return self.reduction(e)
        value = (
            named(e.name, self.extents.sizes, self.extents.shapes, self.integers)
            if isinstance(e, Size)
            else self.integers.get(e.name)
        )
        if value is None:
            raise SpecError(f"nothing says what `{e}` is")
        return lambda at: value

    def number(self, e: sp.Expr) -> Value:
        return self.remembered(("number", e), lambda: self.made(e))

    def remembered(self, key: Hashable, make: Callable[[], Value]) -> Value:
        if key not in self.compiled:
            self.compiled[key] = make()
        return self.compiled[key]

    def made(self, e: sp.Expr) -> Value:
        # numbers that may be rounded are divided, and added up, as the formula says
        steps = not self.field.exact and isinstance(e, (sp.Add, sp.Mul, sp.Pow, sp.Abs)) and not _is_whole(e)
        if _is_integer(e) and not steps:
            exact = self.integer(e)
            return lambda at: self.field.number(exact(at))
        if isinstance(e, Read):
            return lambda at: at[e]
        if isinstance(e, Real):
            real = self.reals[e.name]
            return lambda at: real
        if isinstance(e, Reduce):
            return self.reduction(e)
        if isinstance(e, inside):
            one = self.field.number(1)
            return lambda at: one
        if e is sp.pi or e is sp.E:
            constant = self.field.pi() if e is sp.pi else self.field.e()
            return lambda at: constant
        if isinstance(e, indicator):
            holds, one, zero = self.truth(e.args[0]), self.field.number(1), self.field.number(0)
            return lambda at: one if holds(at) else zero
        if isinstance(e, chosen):
            holds, u, zero = self.truth(e.args[0]), self.number(e.args[1]), self.field.number(0)
            return lambda at: u(at) if holds(at) else zero
        if isinstance(e, sp.Piecewise):
            branches = [(self.number(v), self.truth(c)) for v, c in e.args]
            return lambda at: next(v(at) for v, c in branches if c(at))
        return self.applied(e, [self.number(a) for a in e.args])

    def applied(self, e: sp.Expr, parts: list[Value]) -> Value:
        zero, one = self.field.number(0), self.field.number(1)
        first, second = parts[0], parts[-1]
        if isinstance(e, sp.Add):
            return lambda at: numbers.total([p(at) for p in parts[1:]], first(at))
        if isinstance(e, sp.Mul):
            return _folded(mul, parts)
        if isinstance(e, sp.Pow):
            if e.exp == sp.Rational(1, 2):
                return lambda at: numbers.sqrt(first(at))
            return lambda at: numbers.power(first(at), second(at))
        if isinstance(e, sp.Abs):
            return lambda at: abs(first(at))
        if isinstance(e, sp.sign):
            return lambda at: numbers.sign(first(at))
        if isinstance(e, relu):
            return lambda at: u if (u := first(at)) > zero else zero
        if isinstance(e, step):
            return lambda at: one if first(at) > zero else zero
        if isinstance(e, finite):  # a plain number: it does not vary
            return lambda at: u if (u := numbers.primal(first(at))) - u == zero else zero
        if isinstance(e, maximum):
            return lambda at: u if (u := first(at)) >= (v := second(at)) else v
        if isinstance(e, minimum):
            return lambda at: u if (u := first(at)) <= (v := second(at)) else v
        function = numbers.FUNCTIONS.get(type(e).__name__)
        if function is None or len(parts) != 1:
            raise SpecError(f"the reference has no function {type(e).__name__}")
        return lambda at: function(first(at))

    def truth(self, c: sp.Basic) -> Value:
        if c in (sp.true, sp.false):
            return lambda at: c == sp.true
        if isinstance(c, sp.Not):
            no = self.truth(c.args[0])
            return lambda at: not no(at)
        if isinstance(c, (sp.And, sp.Or)):
            parts, every = [self.truth(a) for a in c.args], all if isinstance(c, sp.And) else any
            return lambda at: every(p(at) for p in parts)
        if not isinstance(c, Relational):
            raise SpecError(f"`{c}` is no condition")
        make = self.integer if all(map(_is_integer, c.args)) else self.number
        left, right = (make(a) for a in c.args)
        compare = COMPARE[type(c)]
        return lambda at: compare(numbers.primal(left(at)), numbers.primal(right(at)))

    # --- reductions

    def reduction(self, e: Reduce) -> Value:
        body = self.number(e.body)
        points = self.points(e.bound, (e.body,) if e.at is None else (e.body, e.at), e.where)
        if e.at is not None:
            yields = self.integer(e.at)

            def chosen(at: Point) -> int:
                found = [(body(here), yields(here)) for here in points(at)]
                if not found:
                    return -1
                return _whole_number(found[_best([v for v, _ in found], e.kind[3:], e.ties)[0]][1], e.at)

            return chosen
        combine = {"sum": self.sum, "prod": self.product, "logsumexp": self.logsumexp}.get(e.kind)
        if combine is not None:
            return lambda at: combine([body(here) for here in points(at)])
        kind, ties = e.kind, e.ties
        return lambda at: self.extremum([body(here) for here in points(at)], kind, ties)

    def sum(self, values: list[Number]) -> Number:
        return numbers.total(values, self.field.number(0))

    def product(self, values: list[Number]) -> Number:
        return reduce(mul, values) if values else self.field.number(1)

    def logsumexp(self, values: list[Number]) -> Number:
        top = max(map(numbers.primal, values), default=LOWEST)
        if top == LOWEST:
            return LOWEST
        return numbers.log(self.sum([numbers.exp(v - top) for v in values])) + top

    def extremum(self, values: list[Number], kind: str, ties: str) -> Number:
        """The value; it varies as the policy for ties says: with one, the mean or the sum of those equal."""
        if not values:
            return LOWEST if kind == "max" else -LOWEST
        best = [values[k] for k in _best(values, kind, ties)]
        if ties == "split":
            return numbers.total(best[1:], best[0]) / self.field.number(len(best))
        if ties == "all":
            return numbers.total([v - numbers.primal(v) for v in best[1:]], best[0])
        return best[0]


LOWEST = float("-inf")  # below every number of every field


def _best(values: Sequence[Number], kind: str, ties: str) -> list[int]:
    """Which of the values are the largest (smallest): the first, the last, or all of them in order."""
    plain = [numbers.primal(v) for v in values]
    undefined = [k for k, v in enumerate(plain) if v != v]  # NaN is the largest, and the smallest
    if undefined:
        return undefined[-1:]
    best = max(plain) if kind == "max" else min(plain)
    where = [k for k, v in enumerate(plain) if v == best]
    return where if ties in ("split", "all") else [where[-1 if ties == "last" else 0]]


def own_reads(e: sp.Basic) -> Iterator[Read | inside]:
    """The reads of an expression's own points, inner ones first; not those of a nested reduction."""
    if isinstance(e, Reduce):
        return
    if isinstance(e, (Read, inside)):
        for at in e.args[0].at if isinstance(e, inside) else e.at:
            yield from own_reads(at)
        yield e
        return
    for a in e.args:
        yield from own_reads(a)


def _numbers(array: Any, kind: Field, integer: bool) -> Array:
    made = np.asarray(array, np.int64 if integer else object)
    if integer or made.size == 0:
        return made
    return _each(lambda _, v: kind.number(v) if isinstance(v, (int, float, Fraction)) else v, made)


def evaluate(
    operator: Operator,
    inputs: Arrays,
    integers: Mapping[str, int] | None = None,
    reals: Mapping[str, Any] | None = None,
    shapes: Mapping[str, Shape] | None = None,
    *,
    field: Field = RATIONALS,
) -> dict[str, Array]:
    """Every written tensor by name.

    integers  integer parameters, and given extents by their capital names
    shapes    of written tensors, where the caller knows them; what is missing is worked out from the laws
    """
    given = {t.name: t for t in operator.inputs if inputs.get(t.name) is not None}
    values = {name: _numbers(inputs[name], field, t.integer) for name, t in given.items()}
    known = dict(shapes or {}) | {name: a.shape for name, a in values.items()}
    extents = find_extents(operator, known, integers or {})
    absent = {t.name for t in operator.inputs if t.name not in given}
    if required := sorted(t.name for t in operator.inputs if t.name in absent and not t.optional):
        raise SpecError(f"input `{required[0]}` is missing", operator=operator.name)
    constants = {
        name: field.number(v) if isinstance(v, (int, float, Fraction)) else v
        for name, v in (reals or {}).items()
    }
    return _Evaluation(operator, field, extents, integers or {}, constants, values, absent).run()


def check_output_shape(
    operator: Operator, inputs: Mapping[str, Shape], integers: Mapping[str, int], shapes: Mapping[str, Shape]
) -> None:
    """VerificationError unless the claimed shapes of written tensors are those that counting finds."""
    found = find_extents(operator, inputs, integers).shapes
    for name, claimed in shapes.items():
        for axis, (law, claim) in enumerate(zip(found[name], claimed, strict=True)):
            if law not in (-1, claim):
                raise VerificationError(
                    f"{operator.name}: axis {axis} of {name} is {claim} long, but its law gives {law}"
                )


# ---- derivatives ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Everything a run of an operator needs."""

    operator: Operator
    inputs: Arrays
    integers: Mapping[str, int] = dataclasses.field(default_factory=dict)
    reals: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    shapes: Mapping[str, Shape] = dataclasses.field(default_factory=dict)
    field: Field = RATIONALS

    def wrt(self) -> list[str]:
        return [t.name for t in self.operator.inputs if not t.integer and self.inputs.get(t.name) is not None]

    def real_outputs(self) -> list[str]:
        return [t.name for t in self.operator.outputs if not t.integer]

    def run(self, **changed: Array) -> dict[str, Array]:
        return evaluate(
            self.operator,
            {**self.inputs, **changed},
            self.integers,
            self.reals,
            self.shapes,
            field=self.field,
        )

    def array(self, values: Any) -> Array:
        return _numbers(values, self.field, False)

    def variables(self) -> dict[str, Array]:
        """Every real input as numbers that carry a derivative of their own."""
        return {
            name: _each(
                lambda at, v, name=name: Gradient(v, {(name, at): self.field.number(1)}),
                self.array(self.inputs[name]),
            )
            for name in self.wrt()
        }

    def gathered(self, weights: Arrays, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """The gradient of sum of weight * output with respect to every real input."""
        zero = self.field.number(0)
        made = {name: np.full(np.shape(self.inputs[name]), zero, object) for name in self.wrt()}
        for out, values in outputs.items():
            for at, w in np.ndenumerate(self.array(weights[out])):
                y: Number = values[at]
                if isinstance(y, Gradient):
                    for (name, place), d in y.by.items():
                        made[name][place] = made[name][place] + w * d
        return made


def _each(f: Callable[..., Any], *arrays: Array) -> Array:
    made = np.empty(arrays[0].shape, object)
    for at in np.ndindex(made.shape):
        made[at] = f(at, *(a[at] for a in arrays))
    return made


def _tangent(x: Number, zero: Number) -> Number:
    return x.tangent if isinstance(x, Dual) and type(x.tangent) is not int else zero


def reference_vjp(case: Case, cotangents: Arrays) -> dict[str, Array]:
    """The gradient of sum of cotangent * output, by input."""
    outputs = case.run(**case.variables())
    return case.gathered(cotangents, {name: outputs[name] for name in case.real_outputs()})


def reference_jvp(case: Case, tangents: Arrays) -> dict[str, Array]:
    """The tangents of the real outputs, from those of the real inputs."""
    moved = {
        name: _each(lambda _, v, t: Dual(v, t), case.array(case.inputs[name]), case.array(tangents[name]))
        for name in case.wrt()
    }
    outputs, zero = case.run(**moved), case.field.number(0)
    return {name: _each(lambda _, v: _tangent(v, zero), outputs[name]) for name in case.real_outputs()}


def _directional(case: Case, directions: Arrays) -> dict[str, Array]:
    """Real outputs whose tangents along `directions` carry gradients, as their values do."""
    inputs = {
        name: _each(lambda _, v, t: Dual(v, t), x, case.array(directions[name]))
        for name, x in case.variables().items()
    }
    outputs = case.run(**inputs)
    return {name: outputs[name] for name in case.real_outputs()}


def reference_vjp_vjp(
    case: Case, cotangents: Arrays, directions: Arrays
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Gradients of S = sum over inputs of direction * vjp(cotangents), by input and by cotangent.

    S is the sum of cotangent * (tangent of the output along the directions): that tangent is its gradient by
    a cotangent.
    """
    outputs, zero = _directional(case, directions), case.field.number(0)
    tangents = {name: _each(lambda _, v: _tangent(v, zero), a) for name, a in outputs.items()}
    return case.gathered(cotangents, tangents), {
        name: _each(lambda _, v: numbers.primal(v), a) for name, a in tangents.items()
    }


def reference_vjp_jvp(
    case: Case, cotangents: Arrays, tangents: Arrays, cotangent_tangents: Arrays
) -> dict[str, Array]:
    """The tangent of vjp as inputs move along `tangents` and cotangents along `cotangent_tangents`."""
    outputs, zero = _directional(case, tangents), case.field.number(0)
    values = {
        name: _each(lambda _, v: v.value if isinstance(v, Dual) else v, a) for name, a in outputs.items()
    }
    bent = {name: _each(lambda _, v: _tangent(v, zero), a) for name, a in outputs.items()}
    moved, turned = case.gathered(cotangent_tangents, values), case.gathered(cotangents, bent)
    return {name: _each(lambda _, u, v: u + v, moved[name], turned[name]) for name in moved}


def reference_programs(
    case: Case, cotangents: Arrays, directions: Arrays, cotangent_tangents: Arrays
) -> dict[str, dict[str, Array]]:
    """Every program's results from one run of the equations, by the names that definitions have for them.

    forward y; vjp gx; jvp ty; vjp_vjp hx and hgy; vjp_jvp tgx. Tangents, and what gradients are gathered against in
    vjp_vjp, are the `directions`.
    """
    zero = case.field.number(0)
    found = case.run(
        **{
            name: _each(lambda _, v, t: Dual(v, t), x, case.array(directions[name]))
            for name, x in case.variables().items()
        }
    )

    def over(prefix: str, arrays: Mapping[str, Array], f: Callable[[Number], Number]) -> dict[str, Array]:
        return {
            prefix + name: a if a.dtype != object else _each(lambda _, v: f(v), a)
            for name, a in arrays.items()
        }

    outputs = {name: found[name] for name in case.real_outputs()}
    values = over("", outputs, lambda v: v.value if isinstance(v, Dual) else v)
    bent = over("", outputs, lambda v: _tangent(v, zero))
    turned, moved = case.gathered(cotangents, bent), case.gathered(cotangent_tangents, values)
    return {
        "forward": over("", found, numbers.primal),
        "vjp": over("g", case.gathered(cotangents, values), numbers.primal),
        "jvp": over("t", bent, numbers.primal),
        "vjp_vjp": over("h", turned, numbers.primal) | over("hg", bent, numbers.primal),
        "vjp_jvp": {f"tg{name}": _each(lambda _, u, v: u + v, moved[name], turned[name]) for name in moved},
    }


__all__ = [
    "Case",
    "Extents",
    "check_output_shape",
    "evaluate",
    "find_extents",
    "fold",
    "reference_jvp",
    "reference_programs",
    "reference_vjp",
    "reference_vjp_jvp",
    "reference_vjp_vjp",
]
