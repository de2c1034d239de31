"""Random operators: equations nobody thought of, small enough to work out point by point.

    drawn = data.draw(operators())
    drawn.operator    one to three equations over one to three inputs
    drawn.case        arrays, integers and reals to run it at
    drawn.features    what occurs in it, for the count

Every index has an intended extent from the start, so that axes are as long as the accesses need, or a little
shorter where a read outside is to happen. Everything random is drawn through Hypothesis, which shrinks it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import sympy as sp
from hypothesis import strategies as st

from derive.language import (
    FOLDS,
    MODES,
    ArgMax,
    ArgMin,
    Index,
    Kth,
    LogSumExp,
    Max,
    Mean,
    Min,
    Operator,
    Parameter,
    Prod,
    Read,
    Real,
    Reduce,
    Statement,
    Sum,
    Tensor,
    extent,
    maximum,
    minimum,
    relu,
)
from derive.reference import Case
from tests.support.line import fractions

Draw = Callable[..., Any]
TIES = ("first", "last", "split", "all")


@dataclass(frozen=True)
class Drawn:
    operator: Operator
    case: Case
    features: tuple[str, ...]

    def __repr__(self) -> str:
        o, c = self.operator, self.case
        inputs = ", ".join(f"{t.name}{np.shape(c.inputs[t.name])}" for t in o.inputs)
        margins = ", ".join(
            f"{t.name} margin {t.margin} outside {t.outside}" for t in _tensors(o) if t.margin
        )
        values = {n: np.asarray(v).tolist() for n, v in c.inputs.items()}
        values = {n: str(v).replace("Fraction", "") for n, v in values.items()}
        return (f"{o!r}\n    inputs {inputs}; outputs {[t.name for t in o.outputs]}; {margins}\n    extents {o.extents}, given {o.given}, "
                f"{dict(c.integers)}, {dict(c.reals)}\n    {values}")  # fmt: skip


def _tensors(operator: Operator) -> list[Tensor]:
    found: dict[str, Tensor] = {}
    for s in operator.statements:
        for r in sorted(s.body.atoms(Read) | s.target.atoms(Read), key=str):
            found.setdefault(r.tensor.name, r.tensor)
    return list(found.values())


@dataclass
class _Axis:
    size: int | None  # of a written tensor it may follow from a law
    before: int = 0
    after: int = 0
    margin: tuple[Any, Any] = (0, 0)


@dataclass
class _Known:
    """A tensor that can be read."""

    tensor: Tensor
    axes: list[_Axis]
    written: bool = False
    below: int | None = None  # values of an integer tensor lie below


@dataclass
class _Pen:
    draw: Draw
    features: list[str] = field(default_factory=list)
    sizes: dict[Index, int] = field(default_factory=dict)
    integers: dict[str, int] = field(default_factory=dict)
    parameters: dict[str, Parameter] = field(default_factory=dict)
    reals: dict[str, Fraction] = field(default_factory=dict)
    real_symbols: list[Real] = field(default_factory=list)
    inputs: list[_Known] = field(default_factory=list)
    written: list[_Known] = field(default_factory=list)
    plain: set[Index] = field(default_factory=set)  # stands plainly on an axis of an input
    lawless: set[Index] = field(default_factory=set)  # no law can bound it
    lawful: set[Index] = field(default_factory=set)
    means: list[Statement] = field(default_factory=list)
    names: int = 0
    rational: bool = True
    empty: bool = False  # an extent may be zero; then nothing takes the maximum of nothing

    # --- choices

    def one(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def maybe(self, chance: float, feature: str = "") -> bool:
        yes = bool(self.draw(st.integers(0, 99)) >= 100 - round(100 * chance))
        if yes and feature:
            self.note(feature)
        return yes

    def number(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def note(self, feature: str) -> None:
        self.features.append(feature)

    def subset(self, of: Sequence[Any], least: int = 0, most: int = 9) -> list[Any]:
        pool = list(self.draw(st.permutations(list(of)))) if of else []
        return pool[: self.number(min(least, len(pool)), min(most, len(pool)))]

    # --- symbols

    def index(self, name: str, size: int) -> Index:
        made = Index(name)
        self.sizes[made] = size
        return made

    def integer(self, value: int, positive: bool = True) -> sp.Expr:
        """A number or a parameter of that value."""
        if value == 0 or (positive and value < 1) or not self.maybe(0.5):
            return sp.Integer(value)
        self.note("integer parameter")
        same = [
            n
            for n, v in self.integers.items()
            if v == value and n in self.parameters and self.parameters[n].is_positive == positive
        ]
        if same and self.maybe(0.3):
            return self.parameters[self.one(*same)]
        name = f"s{len(self.parameters)}" if positive else f"a{len(self.parameters)}"
        self.parameters[name] = Parameter(name, positive)
        self.integers[name] = value
        return self.parameters[name]

    def real(self) -> Real:
        self.note("real parameter")
        if self.real_symbols and self.maybe(0.5):
            return self.one(*self.real_symbols)
        made = Real(f"lam{len(self.real_symbols)}", self.maybe(0.5))
        self.real_symbols.append(made)
        self.reals[made.name] = Fraction(self.number(1, 7), self.one(1, 2, 3)) * (
            1 if made.is_positive else self.one(1, -1)
        )
        return made

    def fresh(self, words: str) -> str:
        self.names += 1
        pool = words.split()
        return pool[self.names % len(pool)] + ("" if self.names <= len(pool) else str(self.names))

    # --- index expressions

    def values(self, e: sp.Expr, used: Sequence[Index]) -> list[int]:
        """All values of an index expression, parameters at their numbers."""
        table = {s: self.integers[s.name] for s in e.free_symbols if isinstance(s, Parameter)}
        table |= {extent(i): size for i, size in self.sizes.items()}
        e = e.xreplace(table)
        return [
            int(e.xreplace(dict(zip(used, map(sp.Integer, at), strict=True))))
            for at in product(*(range(self.sizes[i]) for i in used))
        ]

    def affine(self, pool: Sequence[Index], most: int = 2) -> tuple[sp.Expr, list[Index]]:
        used = self.subset(pool, 1, most)
        e: sp.Expr = sp.S.Zero
        if len(used) == 2 and self.maybe(0.1, "mixed radix"):
            self.lawless.update(used)
            return extent(used[1]) * used[0] + used[1], used
        for i in used:
            c = self.one(1, 1, 1, 2, 3, -1, -2)
            self.note("negative coefficient") if c < 0 else self.note("stride") if c > 1 else None
            e += (self.integer(c) if c > 0 else -self.integer(-c)) * i
            if c < 0:
                self.lawless.update(used)
        if len(used) == 2:
            self.note("two indices on an axis")
        return e, used

    def integer_read(self, pool: Sequence[Index], below: int) -> Read | None:
        """t[i] of an integer input or of a written argmax with values below a bound."""
        known = [
            k
            for k in (*self.inputs, *self.written)
            if k.tensor.integer and k.below is not None and k.below <= below
        ]
        if known and self.maybe(0.6):
            k = self.one(*known)
            at = []
            for axis in k.axes:
                fit = [
                    i
                    for i in pool
                    if self.sizes[i] == axis.size or k.written and self.sizes[i] <= (axis.size or 0)
                ]
                if not fit:
                    return None
                at.append(self.one(*fit))
            if not k.written:
                self.plain.update(at)
            self.note("integer tensor as index")
            return k.tensor[tuple(at)]
        if below < 1 or len(self.inputs) >= 3 or any(k.tensor.integer for k in self.inputs):
            return None
        at = self.subset(pool, 1, 2)
        if not at:
            return None
        t = Tensor("t", integer=True)
        self.inputs.append(_Known(t, [_Axis(self.sizes[i]) for i in at], below=below))
        self.plain.update(at)
        self.note("integer tensor as index")
        return t[tuple(at)]

    def place(self, pool: Sequence[Index], axis: _Axis | None, leak: bool) -> tuple[sp.Expr, _Axis] | None:
        """An index expression for an axis: a new one (None), or one that exists. None where nothing fits."""
        got = self.placed(pool, axis, leak)
        if got is None or not isinstance(got[0], Index):
            return got
        size = self.sizes[got[0]]  # an affine form may turn out plain
        if axis is None:
            return got[0], _Axis(size, got[1].before, got[1].after, got[1].margin)
        return got if axis.size == size else None

    def placed(self, pool: Sequence[Index], axis: _Axis | None, leak: bool) -> tuple[sp.Expr, _Axis] | None:
        kind = self.one(
            "plain",
            "plain",
            "plain",
            "affine",
            "affine",
            "affine",
            "margin",
            "floor",
            "mod",
            "fold",
            "integer",
            "constant",
        )
        size = axis.size if axis is not None else None
        if axis is not None and size is None:
            return None
        if kind == "plain" or not pool:
            fit = [i for i in pool if size is None or self.sizes[i] == size]
            if fit:
                i = self.one(*fit)
                return i, axis or _Axis(self.sizes[i])
            kind = "constant" if not pool else "affine"
        if kind == "constant":
            if self.maybe(0.3, "constant index"):
                at = self.number(0, 2 if size is None else max(0, size - 1))
                return (self.integer(at, False), axis or _Axis(at + self.number(1, 2))) if size != 0 else None
            kind = "affine" if pool else "constant"
            if kind == "constant":
                return sp.S.Zero, axis or _Axis(self.number(1, 2))
        if kind == "integer":
            below = size if size is not None else self.number(1, 3)
            r = self.integer_read(pool, below)
            if r is not None:
                self.lawless.update(i for e in r.at for i in e.atoms(Index))
                e: sp.Expr = r
                if axis is None and self.maybe(0.3, "integer tensor in an affine index"):
                    i = self.one(*pool)
                    self.lawless.add(i)
                    e, below = r + i, below + self.sizes[i]
                return e, axis or _Axis(below)
            kind = "affine"
        if kind == "margin" and axis is not None:
            kind = "affine"
        e, used = self.affine(pool)
        if kind in ("floor", "mod"):
            self.note(kind)
            m = self.integer(self.one(2, 3))
            e = sp.floor(e / m) if kind == "floor" else sp.Mod(e, m)
            used = sorted(e.atoms(Index), key=str)
            self.lawless.update(used)
            if not used:
                return None
        values = self.values(e, used)
        low, high = min(values, default=0), max(values, default=0)
        if kind == "fold":
            mode = self.one(*MODES)
            self.note(f"fold {mode}")
            self.lawless.update(used)
            shift = self.number(-2, 2)
            return FOLDS[mode](e + shift), axis or _Axis(self.number(1, 3))
        if kind == "margin":
            before, after = self.number(0, 2), self.number(0, 2)
            a, f = self.integer(before, False), self.integer(after, False)
            if low < 0:
                e -= low
                high -= low
                low = 0
            self.lawful.update(used)
            made = _Axis(max(1, high - before - after + 1 + self.number(0, 1)), before, after, (a, f))
            return e - a, made
        if leak and self.maybe(0.25, "read outside"):
            shift = self.number(-1, 1)
            self.lawless.update(used)
            return e + shift, axis or _Axis(max(1, high - low + 1 - self.number(0, 1)))
        # tight: the smallest value lies at 0
        if size is not None and high - low + 1 > size:
            if not leak:
                return None
            self.note("read outside")
            self.lawless.update(used)
        if low != 0:
            e = e + self.integer(-low, False) if low < 0 else e - low
        if axis is None:
            self.lawful.update(used)
            return e, _Axis(high - low + 1 + self.number(0, 1))
        self.lawless.update(used)
        return e, axis

    # --- reads

    def read(self, pool: Sequence[Index]) -> sp.Expr:
        """An element of a known tensor or of a new input."""
        known = [k for k in (*self.inputs, *self.written) if not k.tensor.integer]
        room = sum(not k.tensor.integer for k in self.inputs) < 3 and len(self.inputs) < 4
        if known and (not room or self.maybe(0.35)):
            for _ in range(3):
                k = self.one(*known)
                r = self.reread(k, pool)
                if r is not None:
                    self.note("intermediate read" if k.written else "same tensor twice")
                    return r
        if room:
            return self.new_read(pool)
        return sp.Integer(self.number(1, 3))

    def reread(self, k: _Known, pool: Sequence[Index]) -> Read | None:
        at, plain = [], []
        absent = k.tensor.outside == "absent"
        for axis in k.axes:
            margin = axis.margin != (0, 0)
            got = self.place(pool, axis, leak=absent or margin)
            if got is None:
                return None
            e = got[0]
            if not absent and margin and e.has(Read):
                return None
            if isinstance(e, Index):
                plain.append(e)
            at.append(e)
        if k.written:
            self.note(
                "written tensor at plain indices"
                if len(plain) == len(at)
                else "written tensor at an affine index"
            )
        else:
            self.plain.update(plain)
        return k.tensor[tuple(at)]

    def new_read(self, pool: Sequence[Index]) -> Read:
        rank = self.number(0 if not pool else 1, 3)
        outside: Any = "absent"
        style = self.one("absent", "absent", "absent", "zero", "value", "mode", "mean")
        at, axes = list[sp.Expr](), list[_Axis]()
        for _ in range(rank):
            if at and isinstance(at[-1], Index) and self.maybe(0.07, "repeated index"):
                at.append(at[-1])
                axes.append(_Axis(self.sizes[at[-1]]))
                continue
            got = None
            while got is None:
                got = self.place(pool, None, leak=style == "absent")
            at.append(got[0])
            axes.append(got[1])
        with_margin = [a for a in axes if a.margin != (0, 0)]
        name = next(n for n in ("x", "w", "z", "u") if all(k.tensor.name != n for k in self.inputs))
        if with_margin:
            self.note("margin")
            if style == "zero":
                outside = sp.S.Zero
            elif style == "value":
                outside = sp.Rational(self.number(-3, 3), 2)
            elif style == "mode":
                outside = self.one(*MODES)
            elif style == "mean":
                letters = [(i, a) for i, a in zip(at, axes, strict=True) if isinstance(i, Index)]
                if len({i for i, _ in letters}) == len(letters) and all(
                    k.tensor.name != "m" for k in self.written
                ):
                    mean = Tensor("m")
                    outside = mean[tuple(i for i, _ in letters)] if letters else mean[()]
                    own = [Index(f"b{k}") for k in range(len(at))]
                    for o, a in zip(own, axes, strict=True):
                        self.sizes[o] = a.size or 0
                        self.plain.add(o)
            self.note(
                f"outside {'a mean' if isinstance(outside, Read) else outside if isinstance(outside, str) else 'a value' if outside else 'zero'}"
            )
        tensor = Tensor(name, [a.margin for a in axes] if with_margin else (), outside)
        if isinstance(outside, Read):
            kept = [own[k] for k, i in enumerate(at) if isinstance(i, Index)]
            gone = [o for o in own if o not in kept]
            body = tensor[tuple(own)]
            self.means.append(
                Statement(outside.tensor[tuple(kept) or ()], Mean[tuple(gone)](body) if gone else body)
            )
            self.written.append(_Known(outside.tensor, [_Axis(self.sizes[i]) for i in kept], written=True))
        self.inputs.append(_Known(tensor, axes))
        self.plain.update(i for i in at if isinstance(i, Index))
        self.note(f"rank {rank}")
        return tensor[tuple(at)]

    # --- scalars

    def scalar(self, pool: Sequence[Index], depth: int) -> sp.Expr:
        if depth == 0 or self.maybe(0.25):
            return self.read(pool)
        kind = self.one(
            "times",
            "times",
            "times",
            "plus",
            "minus",
            "square",
            "scaled",
            "real",
            "abs",
            "relu",
            "maximum",
            "minimum",
            "piecewise",
            "index",
            "extent",
            "over",
            "exp",
            "log",
            "tanh",
            "sqrt",
            "power",
            "branch on index",
            "sin",
        )
        u = self.scalar(pool, depth - 1)
        if kind in ("exp", "log", "tanh", "sqrt", "power", "sin"):
            if not self.maybe(0.5):
                return u * self.read(pool)
            self.rational = False
        if kind in (
            "abs",
            "relu",
            "maximum",
            "minimum",
            "piecewise",
            "exp",
            "log",
            "tanh",
            "sqrt",
            "sin",
            "power",
            "branch on index",
        ):
            self.note(kind)
        match kind:
            case "times":
                return u * self.scalar(pool, depth - 1)
            case "plus":
                return u + self.scalar(pool, depth - 1)
            case "minus":
                return u - self.scalar(pool, depth - 1)
            case "square":
                return u ** self.one(2, 2, 3)
            case "scaled":
                return sp.Rational(self.one(-3, -1, 1, 2, 5), self.one(1, 2, 3)) * u
            case "real":
                return self.real() * u
            case "abs":
                return sp.Abs(u)
            case "relu":
                return relu(u)
            case "maximum":
                return maximum(u, self.scalar(pool, depth - 1))
            case "minimum":
                return minimum(u, self.scalar(pool, depth - 1))
            case "piecewise":  # a branch in a branch's condition is more than SymPy can order
                other = self.read(pool)
                return sp.Piecewise(
                    (u, self.one(sp.Gt, sp.Ge, sp.Lt, sp.Le)(other, sp.Rational(1, 2))), (other, True)
                )
            case "branch on index":
                i = self.one(*pool) if pool else None
                return sp.Piecewise((u, sp.Ge(i, 1)), (u * u + 1, True)) if i is not None else u
            case "index":
                self.note("index as a number") if pool else None
                return u * (self.one(*pool) + 1) if pool else u
            case "extent":
                self.note("extent as a number") if pool else None
                return u / extent(self.one(*pool)) if pool else u
            case "over":
                self.note("quotient")
                return self.scalar(pool, depth - 1) / (1 + u**2)
            case "exp":
                return sp.exp(u / 8)
            case "log":
                return sp.log(1 + u**2)
            case "tanh":
                return sp.tanh(u)
            case "sqrt":
                return sp.sqrt(1 + u**2)
            case "sin":
                return sp.sin(u)
            case _:
                r = self.real()
                return (1 + u**2) ** (r if self.maybe(0.5) else sp.Rational(self.one(-1, 1, 3), 2))

    # --- reductions

    def condition(self, pool: Sequence[Index]) -> sp.Basic | None:
        if not pool:
            return None
        e, used = self.affine(pool)
        if self.maybe(0.15) and len(used):
            e = sp.floor(e / self.integer(2))
        other, more = (self.affine(pool, 1)) if self.maybe(0.4) else (sp.Integer(self.number(0, 2)), [])
        relation = self.one(sp.Ge, sp.Gt, sp.Le, sp.Lt, sp.Le, sp.Lt, sp.Eq)
        made = relation(e, other)
        if made in (sp.true, sp.false):
            return None
        self.note("where equality" if relation is sp.Eq else "where")
        return made

    def reduction(
        self, outer: Sequence[Index], bound: Sequence[Index], depth: int, kinds: Sequence[str]
    ) -> sp.Expr:
        """One reduction over `bound`; its body sees both."""
        kind = self.one(*(k for k in kinds if not (self.empty and k in ("max", "min", "logsumexp"))))
        pool = [*outer, *bound]
        nested = depth > 1 and len(bound) > 1 and self.maybe(0.3, "reduction in a reduction")
        if nested:
            body = self.reduction(
                [*outer, bound[0]], bound[1:], depth - 1, ("sum", "max", "mean", "min", "prod")
            )
            if self.maybe(0.5):
                body = body * self.read([*outer, bound[0]])
            bound = bound[:1]
        else:
            body = self.scalar(pool, depth)
        where = []
        often = {"mean": 0, "max": 0.1, "min": 0.1, "logsumexp": 0.1}.get(
            kind, 0.25
        )  # of no points: no value
        if often and self.maybe(often):
            where = [c for c in (self.condition(pool),) if c is not None]
            if (
                where
                and kind in ("sum", "prod", "kth")
                and len(pool) > 1
                and self.maybe(0.3, "where no relation holds")
            ):
                where = [sp.Or(where[0], sp.Ne(pool[0], pool[-1]))]
        self.note(kind)
        reduce = {"sum": Sum, "mean": Mean, "max": Max, "min": Min, "prod": Prod, "logsumexp": LogSumExp}
        if kind in ("max", "min"):
            ties = self.one(*TIES)
            self.note(f"ties {ties}")
            return reduce[kind][tuple(bound)](body, *where, ties=ties)
        if kind == "kth":
            return Kth[tuple(bound)](body, self.number(0, 1), *where)
        if kind == "logsumexp":
            self.rational = False
            body = body / 4
        return reduce[kind][tuple(bound)](body, *where)


KINDS = ("sum", "sum", "sum", "mean", "max", "max", "min", "prod", "logsumexp", "kth")


def _target(pen: _Pen, name: str, free: Sequence[Index]) -> tuple[Read, _Known]:
    """Where a statement writes: mostly at plain indices; else accumulating at affine or indirect places."""
    at, axes = list[sp.Expr](), list[_Axis]()
    style = pen.one(*["plain"] * 6, "affine", "affine", "indirect", "repeated", "constant")
    moved = pen.one(*free) if free else None
    for i in free:
        if i != moved or style == "plain":
            at.append(i)
            axes.append(_Axis(pen.sizes[i]))
            continue
        match style:
            case "affine":
                e, used = pen.affine([i, *pen.subset([j for j in free if j != i], 0, 1)])
                if pen.maybe(0.2, "floor target"):
                    e = sp.floor(e / 2)
                values = pen.values(e, sorted(e.atoms(Index), key=str))
                e = e - min(0, min(values, default=0)) + pen.integer(pen.number(0, 1), False)
                if e.subs(
                    dict.fromkeys(e.atoms(Index), 1)
                ).is_negative:  # written backwards from 0, only 0 is kept
                    e = e + 1
                top = max(pen.values(e, sorted(e.atoms(Index), key=str)), default=-1) + 1
                cut = pen.number(0, 1) if top > 1 and pen.maybe(0.3, "writes cut off") else 0
                pen.note("affine target")
                pen.lawless.update(used)
                if e.has(sp.floor):  # no law says how long the axis is
                    pen.integers[f"{name.upper()}{len(at)}"] = top - cut
                at.append(e)
                axes.append(_Axis(top - cut, 0, cut, (0, pen.integer(cut, False))))
            case "indirect":
                size = pen.number(1, 3)
                r = pen.integer_read(free, size)
                if r is None:
                    at.append(i)
                    axes.append(_Axis(pen.sizes[i]))
                    continue
                pen.note("indirect target")
                pen.integers[f"{name.upper()}{len(at)}"] = size
                at.append(r)
                axes.append(_Axis(size))
            case "repeated":
                pen.note("repeated target index")
                at += [i, i]
                axes += [_Axis(pen.sizes[i])] * 2
            case _:
                pen.note("constant target index")
                at += [i, sp.S.One]
                axes += [_Axis(pen.sizes[i]), _Axis(2)]
    margin = [a.margin for a in axes] if any(a.after for a in axes) else []
    outside: Any = "absent"
    if not margin and axes and name != "y" and pen.maybe(0.2, "intermediate with a margin"):
        outside = pen.one("absent", sp.S.Zero, sp.Rational(1, 2), *MODES)
        for a in axes:
            a.before, a.after = pen.number(0, 2), pen.number(0, 2)
            a.margin = (pen.integer(a.before, False), pen.integer(a.after, False))
        margin = [a.margin for a in axes]
    tensor = Tensor(name, margin, outside)
    return tensor[tuple(at) or ()], _Known(tensor, axes, written=True)


def _term(pen: _Pen, outer: list[Index], spare: list[Index], bound: list[Index], adds: bool) -> sp.Expr:
    """One additive term; `spare` are free indices that the target does not name, so that they are summed.

    Where several writes add up on one element (`adds`), the term cannot be a maximum by itself.
    """
    form = pen.one("reduce", "reduce", "reduce", "reduce", "pointwise", "times", "over", "function", "two")
    if form != "pointwise" and not bound:
        form = "pointwise"
    depth = pen.number(1, 2)
    over = pen.subset(bound, 1)
    if form == "reduce":
        if spare and pen.maybe(0.5, "implicit sum"):
            return pen.reduction([*outer, *spare], over, depth, ("sum", "mean"))
        return pen.reduction(outer, over, depth, ("sum", "mean", "kth") if adds else KINDS)
    if form == "pointwise":
        if spare:
            pen.note("implicit sum")
        return pen.scalar([*outer, *spare], depth)
    core = pen.reduction(outer, over, 1, KINDS)
    pen.note(f"formula of a reduction: {form}")
    if form == "times":
        return core * pen.scalar(outer, 1)
    if form == "over":
        return pen.scalar(outer, 1) / (1 + core**2)
    if form == "two":
        return core * pen.reduction(outer, pen.subset(bound, 1), 1, KINDS)
    return pen.one(sp.Abs, relu, lambda u: u**2, lambda u: 2 - u)(core)


def _statement(pen: _Pen, free: list[Index], bound: list[Index], name: str) -> list[Statement]:
    named = pen.subset(free, 0 if pen.maybe(0.15) else len(free))
    spare = [i for i in free if i not in named]
    made = []
    if bound and pen.maybe(0.12, "argmax output"):
        kind, reduced = pen.one(ArgMax, ArgMin), pen.subset(bound, 1)
        own = pen.subset(named, 0, 2)
        body = pen.scalar([*own, *reduced], 1)
        at = None
        if pen.maybe(0.3, "argmax of a formula"):
            at = reduced[0] + pen.number(0, 1)
        i = Tensor(f"{name}at", integer=True)
        ties = pen.one("first", "last")
        made.append(Statement(i[tuple(own) or ()], kind[tuple(reduced)](body, ties=ties, at=at)))
        below = int(np.prod([pen.sizes[b] for b in reduced])) if at is None else pen.sizes[reduced[0]] + 1
        pen.written.append(_Known(i, [_Axis(pen.sizes[o]) for o in own], written=True, below=below))
    target, known = _target(pen, name, named)
    if not named:
        pen.note("scalar output")
    again = pen.maybe(0.12, "two statements on one target")
    adds = again or tuple(target.at) != tuple(named)
    body = _term(pen, named, spare, bound, adds)
    while pen.maybe(0.25, "several terms"):
        body = body + _term(pen, named, spare, bound, adds)
    made.append(Statement(target, body))
    if again:
        made.append(Statement(target, _term(pen, named, spare, bound, adds)))
    pen.written.append(known)
    return made


@st.composite
def operators(draw: Draw, equations: int = 3) -> Drawn:
    pen = _Pen(draw)

    pen.empty = pen.maybe(0.06)

    def size() -> int:
        return int(pen.one(1, 2, 0) if pen.empty else pen.one(1, 2, 2, 3))

    count = pen.number(1, equations)
    free = [pen.index(n, size()) for n in ("p", "q", "r")[: pen.number(0, 2)]]
    bound = [pen.index(n, size()) for n in ("k", "l")[: pen.number(0, 2)]]
    statements, outputs = list[Statement](), list[Tensor]()
    for number in range(count):
        last = number == count - 1
        made = _statement(pen, free, bound, "y" if last else ("e", "f")[number])
        statements += made
        if last or pen.maybe(0.15, "several outputs"):
            outputs += [s.target.tensor for s in made]
    statements = [*pen.means, *statements]
    read = {r.tensor.name for s in statements for e in (s.body, s.target) for r in e.atoms(Read)}
    inputs = [k for k in pen.inputs if k.tensor.name in read]
    alive = {i for s in statements for e in (s.body, s.target) for i in e.atoms(Index)}
    alive |= {i for s in statements for x in s.body.atoms(Reduce) for i in x.bound}
    given, extents = list[Index](), dict[Index, sp.Expr]()
    for i in sorted(alive - pen.plain, key=str):
        if i.like is not None or i in pen.lawful - pen.lawless and pen.maybe(0.6, "extent by law"):
            continue
        match pen.one("given", "given", "number", "parameter"):
            case "given":
                given.append(i)
                pen.integers[i.name.upper()] = pen.sizes[i]
            case "number":
                extents[i] = sp.Integer(pen.sizes[i])
            case _:
                extents[i] = pen.integer(pen.sizes[i])
    operator = Operator("drawn", *statements, inputs=[k.tensor for k in inputs], outputs=list(dict.fromkeys(outputs)),
                        extents=extents, given=given)  # fmt: skip
    seed = pen.number(0, 999)
    style = "ties" if pen.rational and seed % 2 else "general"
    pen.note(f"{len(statements)} statement{'s' * (len(statements) > 1)}")
    if 0 in pen.sizes.values():
        pen.note("zero extent")
    pen.note("rational" if pen.rational else "transcendental")
    return Drawn(
        operator, Case(operator, _arrays(inputs, seed, style), pen.integers, pen.reals), tuple(pen.features)
    )


def _arrays(inputs: Sequence[_Known], seed: int, style: str) -> dict[str, Any]:
    rng = random.Random(seed)
    arrays: dict[str, Any] = {}
    for k in inputs:
        shape = tuple(a.size or 0 for a in k.axes)
        if k.tensor.integer:
            arrays[k.tensor.name] = np.array(
                [rng.randrange(max(1, k.below or 1)) for _ in np.ndindex(shape)], np.int64
            ).reshape(shape)
        else:
            arrays[k.tensor.name] = fractions(rng, shape, style)
    return arrays


# ---- the same operator, in other letters and with its axes in another order ------------------

INDICES = "i j n m lap q r0 x2 item total first add task value rank best k count b lo"
TENSORS = "A T data total best image zero real view sum gradient table first value m0 padded tile e pi add"
NUMBERS = "stride tasks tile z0 pad add lo n1 task d k0 zero s x2 low add1 find top w0 b9 place found ceil last scratch np"


@dataclass
class Disguise:
    """An operator written anew; `names` and `orders` say where everything went."""

    operator: Operator
    names: dict[str, str]  # of tensors, integers and reals
    orders: dict[str, tuple[int, ...]]  # new axis k was axis orders[k]

    def arrays(
        self, arrays: Mapping[str, Any], prefixes: Sequence[str] = ("", "g", "t", "h", "hg", "tg")
    ) -> dict[str, Any]:
        """Arrays of any of the derived programs."""
        made = {}
        for name, array in arrays.items():
            prefix = next(p for p in prefixes if name.startswith(p) and name[len(p) :] in self.orders)
            stem = name[len(prefix) :]
            made[prefix + self.names[stem]] = np.transpose(np.asarray(array), self.orders[stem])
        return made


def disguised(drawn: Drawn, seed: int) -> tuple[Disguise, Case]:
    """The operator with random names for everything and the axes of every tensor shuffled."""
    rng = random.Random(seed)
    old, case = drawn.operator, drawn.case
    parts = [e for s in old.statements for e in (s.target, s.body)]
    reads = {r.tensor.name: r for e in parts for r in sorted(e.atoms(Read), key=str)}
    reads |= {
        r.tensor.outside.tensor.name: r.tensor.outside
        for r in list(reads.values())
        if isinstance(r.tensor.outside, Read)
    }
    plain = sorted(
        {i for e in (*parts, *old.extents) for i in e.atoms(Index)}
        | {i for e in parts for x in e.atoms(Reduce) for i in x.bound},
        key=str,
    )
    plain = [i for i in plain if i.like is None]
    numbers = sorted({s for e in (*parts, *old.extents.values()) for s in e.free_symbols if isinstance(s, (Parameter, Real))}
                     | {s for r in reads.values() for pair in r.tensor.margin for e in pair for s in e.free_symbols}, key=str)  # fmt: skip
    indices: dict[Any, Any] = dict(
        zip(plain, map(Index, rng.sample(INDICES.split(), len(plain))), strict=True)
    )
    taken = {i.name for i in indices.values()}
    free = [n for n in TENSORS.split() if n not in taken]
    names = dict(zip(sorted(reads), rng.sample(free, len(reads)), strict=True))
    free = [n for n in NUMBERS.split() if n not in taken and n not in names.values()]
    symbols: dict[Any, Any] = {}
    for s, name in zip(numbers, rng.sample(free, len(numbers)), strict=True):
        symbols[s] = (
            Real(name, bool(s.is_positive)) if isinstance(s, Real) else Parameter(name, bool(s.is_positive))
        )
        names[s.name] = name
    sizes: dict[Any, Any] = {extent(i): extent(j) for i, j in indices.items()}
    orders = {name: tuple(rng.sample(range(len(r.at)), len(r.at))) for name, r in reads.items()}
    made: dict[str, Tensor] = {}

    def tensor(t: Tensor) -> Tensor:
        if t.name not in made:
            rank = len(orders[t.name])
            margin = [(sp.S.Zero, sp.S.Zero)] * (rank - len(t.margin)) + list(t.margin)
            margin = [tuple(map(again, margin[k])) for k in orders[t.name]] if t.margin else []
            outside = t.outside if isinstance(t.outside, str) else again(t.outside)
            made[t.name] = Tensor(names[t.name], margin, outside, integer=t.integer, optional=t.optional)
        return made[t.name]

    def again(e: Any) -> Any:
        if isinstance(e, Read):
            return tensor(e.tensor)[tuple(again(e.at[k]) for k in orders[e.tensor.name]) or ()]
        if isinstance(e, Index):
            return indices[e.like].twin() if e.like is not None else indices[e]
        if isinstance(e, sp.Symbol):
            return sizes[e] if e in sizes else symbols[e]
        if not e.args:
            return e
        return e.func(*map(again, e.args))

    statements = [Statement(again(s.target), again(s.body)) for s in old.statements]
    operator = Operator("disguised", *statements, inputs=[tensor(t) for t in old.inputs], outputs=[tensor(t) for t in old.outputs],
                        extents={indices[i]: again(e) for i, e in old.extents.items() if i not in old.given},
                        given=[indices[i] for i in old.given])  # fmt: skip
    disguise = Disguise(operator, names, orders)
    integers = {}
    for name, v in case.integers.items():
        index = next((i for i in old.given if i.name.upper() == name), None)
        stem = next((t for t in orders if name.upper() == name and name[:-1] == t.upper()), None)
        if index is not None:
            integers[indices[index].name.upper()] = v
        elif stem is not None:
            integers[f"{names[stem].upper()}{orders[stem].index(int(name[-1]))}"] = v
        elif name in names:
            integers[names[name]] = v
    reals = {names[n]: v for n, v in case.reals.items() if n in names}
    return disguise, Case(operator, disguise.arrays(case.inputs), integers, reals, field=case.field)


__all__ = ["Disguise", "Drawn", "disguised", "operators"]
