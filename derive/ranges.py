"""How long every index and axis is: shapes are read off, laws give the rest.

    inside    p runs as far as every read of it stays in the padded input:
              s*p + top - after <= size - 1   =>   P = floor((size - 1 + after - top) / s) + 1,
              the smallest such bound over all reads
    overhang  (ceil mode) the window may hang over the end if it starts in the input or before it,
              and the window before it has not reached the end
    cover     an axis that is written at s*p + d*k - a is as long as the last write needs

An index that stands plainly on an axis of an input has that axis's extent. Two indices on one
axis have one extent. Nothing is ever inferred from the kind of reduction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy as sp

from derive.errors import SpecError
from derive.language import (
    FOLDS,
    Index,
    IntegerRead,
    Operator,
    Read,
    Reduce,
    Size,
    Statement,
    Tensor,
    extent,
    overhang,
)
from derive.program import Affine, Condition, affine

LAPS = (sp.floor, sp.ceiling, sp.Mod)


def reads_of(expr: sp.Basic) -> list[Read]:
    """Every read in an expression, nested ones too, in one order."""
    return sorted(expr.atoms(Read), key=str)


def reads_outside(r: Read) -> list[Read]:
    """What a read's value is where it leaves its tensor, if an expression says it and the read can leave."""
    leaves = any(not isinstance(e, Index) for e in r.at)
    return reads_of(r.tensor.outside) if leaves and not isinstance(r.tensor.outside, str) else []


def all_reads(expr: sp.Basic) -> list[Read]:
    """Every read in an expression, and what each of them reads outside."""
    return list(dict.fromkeys(r for read in reads_of(expr) for r in (read, *reads_outside(read))))


def outermost(expr: sp.Basic, *kinds: type[sp.Basic]) -> list[Any]:
    """Where nodes of some kinds stand in no other of them; one may also stand inside another. In one order."""
    found: dict[sp.Basic, None] = {}
    nodes = sp.preorder_traversal(expr)
    for e in nodes:
        if isinstance(e, kinds):
            found[e] = None
            nodes.skip()
    return sorted(found, key=str)


def index_affine(expr: sp.Expr) -> Affine | None:
    """An index expression as an affine form over indices; None if it reads a tensor or is not affine."""
    return None if expr.has(Read) or expr.has(*FOLDS.values()) else affine(expr)


class Ranges:
    """The sizes of one operator. `size(i)` and `shape(t)` answer after `infer`."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.inputs = {t.name: t for t in operator.inputs}
        self.sizes: dict[Index, sp.Expr] = dict(operator.extents)
        self.shapes: dict[str, list[sp.Expr | None]] = {}
        self.derived: dict[Size, sp.Expr] = {}
        self.conditions: list[Condition] = []
        self.same: dict[sp.Symbol, sp.Expr] = {}  # extents found equal
        self.bounds: dict[Index, list[tuple[Read, sp.Expr]]] = {}
        self.seen: set[tuple[str, int, sp.Expr]] = set()
        self.written = {s.target.tensor.name for s in operator.statements}
        self.given = {extent(i) for i in operator.given}
        self.axes: dict[Size, tuple[str, int]] = {}  # axes whose extent has their own name
        self.of_index = {
            extent(i): i for s in operator.statements for e in (s.target, s.body) for i in e.atoms(Index)
        }

    # --- answers ---------------------------------------------------------------------------

    def resolve(self, e: sp.Expr) -> sp.Expr:
        start = e
        for _ in range(len(self.same) + 1):
            if not e.free_symbols & self.same.keys():
                return e
            e = e.xreplace(self.same)
        raise SpecError(f"the extent {start} depends on itself: nothing else says how long it is")

    def size(self, index: Index) -> sp.Expr:
        if index not in self.sizes and index.like is not None:
            return self.size(index.like)
        if index not in self.sizes:
            names = ", ".join(i.name for i in self.sizes)
            raise SpecError(
                f"index `{index}` has no extent (known: {names or 'none'}): no input has it plainly on an axis, "
                f"no law bounds it; give it in `extents` or `given`"
            )
        return self.resolve(self.sizes[index])

    def axis_name(self, tensor: str, axis: int) -> Size:
        """The extent of an axis on which no index stands plainly. It is one axis's, and no index's."""
        made = Size(f"{tensor.upper()}{axis}")
        other, k = self.axes.setdefault(made, (tensor, axis))
        if (other, k) != (tensor, axis):
            raise SpecError(
                f"axis {axis} of {tensor} and axis {k} of {other} would both have the extent {made}; rename one tensor"
            )
        if made in self.of_index:
            raise SpecError(
                f"axis {axis} of {tensor} and index `{self.of_index[made]}` would both have the extent {made}; rename one"
            )
        return made

    def axis_size(self, tensor: str, axis: int) -> sp.Expr:
        """The extent of an axis; where nothing determines it, a caller has to give it."""
        shape = self.shapes[tensor]
        if shape[axis] is None:
            shape[axis] = self.axis_name(tensor, axis)
        return self.resolve(shape[axis])

    def interval(self, form: Affine, more: Mapping[Index, sp.Expr] | None = None) -> tuple[sp.Expr, sp.Expr]:
        """Smallest and largest value of an affine form over the ranges of its indices; `more` sizes are not ours."""
        low = high = form.constant
        for atom, c in form.terms:
            size = more[atom] if more is not None and atom in more else self.size(atom)
            reach = c * (size - 1)
            if c.is_nonnegative:
                high += reach
            elif (-c).is_nonnegative:
                low += reach
            else:
                raise SpecError(
                    f"the sign of coefficient {c} of `{atom}` is not known, so `{form}` has no known interval"
                )
        return sp.expand(low), sp.expand(high)

    def reach(self, e: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
        """The interval of an index expression with floor and mod, nested or not."""
        sizes: dict[Index, sp.Expr] = {}
        table: dict[sp.Basic, sp.Basic] = {}
        for k, f in enumerate(outermost(e, *LAPS)):
            if isinstance(f, sp.Mod):
                low, high = sp.S.Zero, f.args[1] - 1
            else:
                u, m = sp.fraction(sp.together(f.args[0]))
                low, high = (f.func(b / m) for b in self.reach(u))
            part = Index(f"part{k}")
            sizes[part] = high - low + 1
            table[f] = low + part
        form = affine(e.xreplace(table))
        if form is None:
            raise SpecError(f"`{e}` has no known interval: it is no affine form of indices")
        return self.interval(form, sizes)

    # --- inference -------------------------------------------------------------------------

    def infer(self) -> None:
        ops = self.operator
        pairs: list[tuple[Statement, Read]] = []
        for s in ops.statements:
            found = [*reads_of(s.target), *all_reads(s.body)]
            order = {t: k for k, t in enumerate(ops.inputs)}
            found.sort(key=lambda r: order.get(r.tensor, len(order)))
            pairs += [(s, r) for r in found]
        for s, r in pairs:
            try:
                self.rank(r)
            except SpecError as error:
                raise error.within(equation=str(s)) from None
        plain = [
            (r.tensor, axis, e)
            for _, r in pairs
            for axis, e in enumerate(r.at)
            if r.tensor.name in self.inputs and isinstance(e, Index) and e not in ops.laws
        ]
        for tensor, axis, e in plain:
            if e not in ops.extents or e in ops.given:
                self.plain(tensor.name, axis, e)
        for tensor, axis, e in plain:
            if e in ops.extents and e not in ops.given:
                self.declared(tensor, axis, e)
        while True:
            before = (dict(self.sizes), {k: list(v) for k, v in self.shapes.items()})
            for s, r in pairs:
                try:
                    for axis, e in enumerate(r.at):
                        self.law(s, r, axis, e)
                except SpecError as error:
                    raise error.within(equation=str(s)) from None
            if before == (self.sizes, self.shapes):
                break
        for i, e in list(self.sizes.items()):  # a formula may name any index's extent
            if e != extent(i) and extent(i) not in self.given:
                self.same.setdefault(extent(i), e)
        for name, shape in self.shapes.items():  # and any axis's
            for axis, size in enumerate(shape):
                own = Size(f"{name.upper()}{axis}")
                if size is not None and own not in self.axes and own not in self.of_index:
                    self.same.setdefault(own, size)
        for s in ops.statements:
            used = (
                s.target.free_symbols
                | s.body.free_symbols
                | set().union(*(set(x.bound) for x in s.body.atoms(Reduce)))
            )
            for i in sorted((i for i in used if isinstance(i, Index)), key=str):
                try:
                    self.size(i)
                except SpecError as error:
                    raise error.within(equation=str(s)) from None

    def rank(self, r: Read) -> None:
        shape = self.shapes.setdefault(r.tensor.name, [None] * len(r.at))
        if len(shape) != len(r.at):
            raise SpecError(f"{r} has {len(r.at)} axes, elsewhere {r.tensor.name} has {len(shape)}")
        if len(r.tensor.margin) > len(r.at):
            raise SpecError(f"{r.tensor.name} has {len(r.tensor.margin)} margins but {len(r.at)} axes")

    def plain(self, tensor: str, axis: int, i: Index) -> None:
        here = self.shapes[tensor][axis]
        if i in self.sizes and here is not None:
            self.unify(
                self.resolve(self.sizes[i]), self.resolve(here), f"index `{i}` and axis {axis} of {tensor}"
            )
        elif i in self.sizes:
            self.shapes[tensor][axis] = self.sizes[i]
        else:
            self.sizes[i] = here if here is not None else extent(i)
            self.shapes[tensor][axis] = self.sizes[i]

    def declared(self, tensor: Tensor, axis: int, i: Index) -> None:
        """An axis is as long as the formula of an index on it says, unless the formula starts from that very axis."""
        shape, formula = self.shapes[tensor.name], self.operator.extents[i]
        if shape[axis] is None and tensor.size(axis) in formula.free_symbols:
            shape[axis] = self.axis_name(tensor.name, axis)
        here = shape[axis]
        if here is None or not self.resolve(here).free_symbols & self.resolve(formula).free_symbols:
            self.plain(tensor.name, axis, i)

    def unify(self, a: sp.Expr, b: sp.Expr, what: str) -> None:
        """Two expressions are one extent: rename a free one, else demand it at run time."""
        if a == b:
            return

        def free(e: sp.Expr) -> bool:
            return isinstance(e, Size) and e not in self.derived and e not in self.given

        if free(b):
            self.same[b] = a
        elif free(a):
            self.same[a] = b
        else:
            self.conditions += [
                Condition(a, b, f"{what} differ in extent"),
                Condition(b, a, f"{what} differ in extent"),
            ]

    def margin(self, tensor: Tensor, axis: int) -> tuple[sp.Expr, sp.Expr]:
        place = axis - len(self.shapes[tensor.name]) + len(tensor.margin)
        return tensor.margin[place] if 0 <= place < len(tensor.margin) else (sp.S.Zero, sp.S.Zero)

    def may_leave(self, r: Read, axis: int) -> bool:
        """Whether a read can lie outside its tensor on an axis: no law, and no caller, keeps it in."""
        e = r.at[axis]
        if isinstance(e, Index):
            return False
        if self.margin(r.tensor, axis) != (0, 0):
            return True
        # a caller's indices are compared with the extent before any kernel runs
        given = isinstance(e, IntegerRead) and e.tensor.name in self.inputs
        return not given and (r.tensor.name, axis, e) not in self.seen

    def writes(self, tensor: Tensor, axis: int) -> list[sp.Expr]:
        """What the equations write an axis at; plain indices alone count as one."""
        found = dict.fromkeys(
            s.target.at[axis] for s in self.operator.statements if s.target.tensor == tensor
        )
        return list(found)[:1] if all(isinstance(e, Index) for e in found) else list(found)

    def cover(self, tensor: Tensor, axis: int) -> None:
        """A written axis holds all writes, less its margin after; if integer tensors say where, a caller says how long."""
        found = self.writes(tensor, axis)
        if any(e.has(Read, *FOLDS.values()) or not e.atoms(Index) <= self.sizes.keys() for e in found):
            return
        size = self.axis_name(tensor.name, axis)
        self.shapes[tensor.name][axis] = size
        before = self.margin(tensor, axis)[0]
        for e in found:  # what is written beyond the ends is lost; here nearly everything would be
            least, most = self.reach(e)
            if most.is_nonpositive and least != most and not sp.expand(least + before).is_nonnegative:
                raise SpecError(
                    f"{tensor.name} is written between {least} and {most} on axis {axis}, before its margin {before} "
                    f"begins; to write backwards, count from the extent"
                )
        ends = dict.fromkeys(sp.expand(self.reach(e)[1] + 1 - self.margin(tensor, axis)[1]) for e in found)
        self.derived[size] = sp.Max(*ends)
        reason = f"axis {axis} of {tensor.name}, written at {', '.join(map(str, found))}, has no place left between its margins"
        self.conditions.append(Condition(size, sp.S.One, reason))

    def law(self, s: Statement, r: Read, axis: int, e: sp.Expr) -> None:
        laws, shape, tensor = self.operator.laws, self.shapes[r.tensor.name], r.tensor
        if r == s.target and (len(self.writes(tensor, axis)) > 1 or not isinstance(e, Index)):
            if shape[axis] is None:
                self.cover(tensor, axis)
            return
        own = self.writes(tensor, axis) == [e]  # that it is read where it was written bounds nothing
        if isinstance(e, Index) and not (e in laws and r != s.target and not own):
            if e in self.sizes:
                if shape[axis] is None:
                    shape[axis] = self.sizes[e]
            elif tensor.name not in self.written and tensor.name in self.inputs:
                self.plain(tensor.name, axis, e)
            elif shape[axis] is not None and r != s.target:
                self.sizes[e] = shape[axis]
            return
        form = index_affine(e)
        if form is None:
            return
        key = (tensor.name, axis, e)
        if any(i.like is not None for i in form.indices):
            return  # a twin runs as far as its index does
        unknown = [
            i for i in form.indices if i not in self.sizes or (i in self.bounds and key not in self.seen)
        ]
        if len(unknown) > 1:
            return
        if not unknown:
            return
        if shape[axis] is None:
            if tensor.name not in self.inputs:
                return
            shape[axis] = self.axis_name(tensor.name, axis)
        before, after = self.margin(tensor, axis)
        (p,) = unknown
        stride = form.coefficient(p)
        if not stride.is_nonnegative:
            return
        size = self.resolve(shape[axis])
        least, top = self.interval(form.without(p))
        low = sp.expand(least + before)
        if not low.is_nonnegative:
            raise SpecError(
                f"{r} may start at {least} on axis {axis}, before the margin {before} of {tensor.name}: "
                f"{low} is not known to be >= 0. Declare a margin, or give the extent of `{p}`"
            )
        if not stride.is_positive:  # an extent, say of blocks that lie side by side
            reason = f"positions of {r} on axis {axis} of {tensor.name} lie {stride} apart"
            self.conditions.append(Condition(stride, sp.S.One, reason))
            stride = sp.Max(stride, 1)
        last = sp.floor((size - 1 + after - top) / stride)
        if p in laws:
            start = sp.floor((size - 1 - form.constant) / stride)
            over = sp.Min(start, sp.floor((size - 2 + after - top + stride) / stride))
            when = laws[p].when
            last = over if when is True else sp.Piecewise((over, sp.Gt(when, 0)), (last, True))
        self.seen.add(key)
        bounds = self.bounds.setdefault(p, [])
        if not bounds:
            self.conditions.append(
                Condition(
                    extent(p),
                    sp.S.One,
                    f"no position of {r} fits into axis {axis} of {tensor.name} with its margins",
                )
            )
        bounds.append((r, last + 1))
        self.sizes[p] = extent(p)
        exprs = list(dict.fromkeys(b for _, b in bounds))
        self.derived.pop(extent(p), None)
        self.derived[extent(p)] = exprs[0] if len(exprs) == 1 else sp.Min(*exprs)

    # --- after translation -----------------------------------------------------------------

    def parameters(self) -> tuple[Any, ...]:
        """Extents that only a caller can give."""
        known = set(self.derived) | {
            s
            for t in self.operator.inputs
            for e in self.shapes.get(t.name, ())
            if e is not None
            for s in self.resolve(e).free_symbols
        }
        wanted = {
            s
            for e in (
                *self.sizes.values(),
                *(x for sh in self.shapes.values() for x in sh if x is not None),
                *self.derived.values(),
            )
            for s in self.resolve(e).free_symbols
            if isinstance(s, Size)
        }
        return tuple(sorted((wanted - known) | (self.given & wanted), key=str))


__all__ = ["IntegerRead", "Ranges", "index_affine", "outermost", "overhang", "reads_of"]
