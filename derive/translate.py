"""Equations as a user writes them -> the relation form.

A spec is judged (`validate`), its extents inferred (`ranges`), and each of its equations written as one or more
equations of the relation form: a sum gives one for each of its terms, which add up on the target; a reduction
inside a formula becomes an equation of its own; a read with values outside goes through a copy (`outside`); and
index expressions move into the relation (`indexing`).
"""

from __future__ import annotations

from collections.abc import Sequence, Set

import sympy as sp

from derive.errors import SpecError
from derive.indexing import Scope, in_relation
from derive.language import Index, Operator, Parameter, Read, Real, Reduce, Size, Statement, chosen, inside
from derive.language import Tensor as Declared
from derive.outside import Copies
from derive.program import (
    RESERVED,
    Condition,
    Equation,
    Program,
    Tensor,
    check,
    fresh_name,
    symbols,
    vanishes,
)
from derive.ranges import Ranges, outermost, reads_of
from derive.validate import validate


def to_program(operator: Operator) -> Program:
    """The operator in relation form, checked. SpecError shows the user's equation."""
    try:
        return check(_Translator(operator).program())
    except SpecError as error:
        raise error.within(operator=operator.name) from None


class _Translator:
    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.declared = validate(operator)
        self.ranges = Ranges(operator)
        self.equations: list[Equation] = []
        self.tensor_names = set(self.declared)
        self.index_names = {
            s.name for st in operator.statements for e in (st.target, st.body) for s in e.atoms(Index)
        } | {i.name for i in operator.extents}
        self.copies = Copies(self.ranges, self.equations, self.tensor_names, self.index_names)

    # --- the whole ---------------------------------------------------------------------------

    def program(self) -> Program:
        self.ranges.infer()
        for s in self.operator.statements:
            try:
                self.statement(s.target, s.body)
            except SpecError as error:
                raise error.within(equation=str(s)) from None
        self.known_extents()
        r = self.ranges
        written = dict.fromkeys(e.target.tensor for e in self.equations)
        inputs = tuple(self.tensor(t.name) for t in self.operator.inputs)
        outputs = tuple(self.tensor(t.name) for t in self.operator.outputs)
        locals_ = tuple(self.tensor(name) for name in written if name not in {t.name for t in outputs})
        sizes = tuple((s, r.resolve(e)) for s, e in self.in_order(r.derived))
        equations = tuple(e.mapped(r.resolve) for e in self.equations)
        self.check_optional(equations)
        conditions = [Condition(r.resolve(c.left), r.resolve(c.right), c.reason) for c in r.conditions]
        conditions += fits(equations, {t.name: t for t in (*inputs, *outputs, *locals_)})
        given = {s for _, s in symbols(equations, sizes) if isinstance(s, (Parameter, Real))}
        parameters = sorted(given, key=lambda s: (isinstance(s, Real), str(s)))
        self.arguments((*parameters, *r.parameters()))
        return Program(
            inputs,
            equations,
            outputs,
            sizes,
            locals_,
            (*parameters, *r.parameters()),
            tuple(dict.fromkeys(conditions)),
        )

    def arguments(self, parameters: Sequence[sp.Symbol]) -> None:
        """What a caller gives has names of its own."""
        arrays = {t.name for t in self.operator.inputs}
        for name in sorted(arrays | {s.name for s in parameters}):
            if name in RESERVED:
                raise SpecError(f"`{name}` is an argument of every operator; rename the tensor or parameter")
        for s in parameters:
            if s.name in arrays:
                what = "the extent" if isinstance(s, Size) else "the parameter"
                raise SpecError(f"`{s}` is both an input and {what} that a caller gives; rename one")

    def tensor(self, name: str) -> Tensor:
        shape = tuple(self.ranges.axis_size(name, k) for k in range(len(self.ranges.shapes[name])))
        t = self.declared.get(name, Declared(name))
        return Tensor(name, shape, t.integer, t.optional)

    def known_extents(self) -> None:
        """Every extent that a formula names is one of an index or an axis of this operator."""
        r = self.ranges
        known = (
            r.derived.keys()
            | set(r.parameters())
            | {
                s
                for t in self.operator.inputs
                for k in range(len(r.shapes[t.name]))
                for s in r.axis_size(t.name, k).free_symbols
            }
        )
        for statement in self.operator.statements:
            for s in sorted(statement.body.free_symbols | statement.target.free_symbols, key=str):
                if isinstance(s, Size) and any(
                    isinstance(f, Size) and f not in known for f in r.resolve(s).free_symbols
                ):
                    raise SpecError(
                        f"`{s}` is the extent of no index and no axis of this operator",
                        equation=str(statement),
                    )

    def in_order(self, derived: dict[Size, sp.Expr]) -> list[tuple[Size, sp.Expr]]:
        left, done = dict(derived), list[tuple[Size, sp.Expr]]()
        while left:
            ready = [s for s, e in left.items() if not self.ranges.resolve(e).free_symbols & left.keys()]
            if not ready:
                raise SpecError(f"the extents {', '.join(map(str, left))} depend on each other")
            for s in ready:
                done.append((s, left.pop(s)))
        return done

    def check_optional(self, equations: Sequence[Equation]) -> None:
        """What an optional tensor stands in vanishes without it."""
        optional = {t.name for t in self.declared.values() if t.optional}
        for eq in equations:
            for a in eq.reads:
                if a.tensor in optional and (eq.reduce != "sum" or not vanishes(eq.body, a)):
                    where = next(
                        s
                        for s in self.operator.statements
                        if any(r.tensor.name == a.tensor for r in reads_of(s.body))
                    )
                    raise SpecError(
                        f"`{a.tensor}` is optional, but without it `{eq.body}` does not vanish",
                        equation=str(where),
                    )

    # --- statements --------------------------------------------------------------------------

    def statement(self, target: Read, body: sp.Expr) -> None:
        body = guarded(apart(body, target.free_symbols))
        if target.tensor.integer:
            if not (isinstance(body, Reduce) and body.kind.startswith("arg")):
                raise SpecError(
                    f"`{target.tensor.name}` is an integer tensor; only an ArgMax or ArgMin can write it"
                )
            self.equation(
                target, self.lift(body.body, target), body.bound, body.where, body.kind, body.ties, body.at
            )
            return
        terms = sp.Add.make_args(body)
        # SymPy forgets the written order; reductions first, so that they store and the rest adds
        for term in sorted(terms, key=lambda t: (not t.has(Reduce), str(t))):
            factors = sp.Mul.make_args(term)
            reductions = [f for f in factors if isinstance(f, Reduce)]
            core = reductions[0] if len(reductions) == 1 else None
            if core is not None and core.kind == "sum":
                scale = sp.Mul(*(f for f in factors if f is not core))
                if not set(core.bound) & scale.free_symbols:
                    scale = self.lift(scale, target)
                    self.equation(target, self.lift(core.body, target) * scale, core.bound, core.where, "sum")
                    continue
            if core is not None and term == core and len(terms) == 1 and not core.kind.startswith("arg"):
                self.equation(
                    target, self.lift(core.body, target), core.bound, core.where, core.kind, core.ties
                )
                continue
            self.equation(target, self.lift(term, target), (), (), "sum")

    def lift(self, expr: sp.Expr, target: Read) -> sp.Expr:
        """Reductions inside a formula become equations of their own."""
        table: dict[sp.Basic, sp.Basic] = {}
        for r in outermost(expr, Reduce):
            part = self.part(r, target, r.kind, integer=r.kind.startswith("arg"))
            self.statement(part, r)
            table[r] = part
        return expr.xreplace(table)

    def part(self, expr: sp.Expr, target: Read, word: str, integer: bool = False) -> Read:
        """A new tensor for a part of an equation, read at the indices that the part depends on."""
        order = [i for e in target.at for i in sorted(e.atoms(Index), key=str)]
        free = free_indices(expr, order)
        name = fresh_name(f"{target.tensor.name}_{word}", self.tensor_names)
        self.declared[name] = Declared(name, integer=integer)
        self.ranges.shapes[name] = [self.ranges.size(i) for i in free]
        return self.declared[name][tuple(free)]

    # --- equations ---------------------------------------------------------------------------

    def equation(
        self,
        target: Read,
        body: sp.Expr,
        bound: Sequence[Index],
        where: Sequence[sp.Expr],
        kind: str,
        ties: str = "first",
        at: sp.Expr | None = None,
    ) -> None:
        body = self.copies.through(body, kind)
        if kind in ("max", "min") and ties in ("split", "all") and not isinstance(body, Read):
            part = self.part(body, target, "term")  # its elements are compared with the stored maximum
            self.equation(part, body, (), (), "sum")
            # a point that does not exist has no element, so the relation of what was read stays
            moving = [r for r in outermost(body, Read) if not all(isinstance(e, Index) for e in r.at)]
            body = sp.Mul(part, *(inside(r) for r in moving))
        scope = Scope(self.ranges, self.index_names)
        goal = scope.plain(target)
        body = body.xreplace({r: scope.plain(r) for r in outermost(body, Read)})
        body = body.xreplace(dict.fromkeys(body.atoms(inside), sp.S.One))  # their relation is there already
        for c in where:
            scope.require(c)
        yields = scope.linear(at, "at") if at is not None else None
        made = {g.index for g in scope.made}
        own = [i for i in goal.indices if i not in made] + [i for i in bound if i not in goal.indices]
        forms = (*scope.zero, *scope.nonneg, *((yields,) if yields is not None else ()))
        used = {i for e in forms for i in e.indices} | body.atoms(Index)
        rest = sorted(used - made - set(own), key=str)
        if kind != "sum" and rest:
            if any(rest[0] in e.free_symbols for e in target.at):
                raise SpecError(
                    f"`{target}` adds up what falls on one element, so a {kind} cannot be written at index `{rest[0]}`; "
                    f"give the {kind} an equation of its own"
                )
            raise SpecError(f"index `{rest[0]}` is neither reduced by {kind} nor named by the target")
        self.equations.append(Equation(goal, scope.relation([*own, *rest]), body, kind, ties, yields))


def apart(body: sp.Expr, taken: Set[sp.Basic]) -> sp.Expr:
    """The body with bound indices that stand outside their reduction too, as in y[i] << x[i] - Sum[i](x[i]), renamed."""
    table: dict[sp.Basic, sp.Basic] = {}
    for r in outermost(body, Reduce):
        twins: dict[sp.Basic, sp.Basic] = {}
        for i in r.bound:
            if i in taken:
                other = i.twin()
                while r.has(other) or other in taken:
                    other = other.twin()
                twins[i] = other
        if twins:
            table[r] = r.xreplace(twins)
    return body.xreplace(table)


NOTHING = {  # what a point counts as that a condition leaves out
    "sum": sp.S.Zero,
    "prod": sp.S.One,
    **dict.fromkeys(("max", "argmax", "logsumexp"), sp.S.NegativeInfinity),
    **dict.fromkeys(("min", "argmin"), sp.S.Infinity),
}


def guarded(body: sp.Expr) -> sp.Expr:
    """The body with conditions that no relation can hold (i != j, x[i] > 0, this or that) in their reductions' bodies."""
    table: dict[sp.Basic, sp.Basic] = {}
    for r in outermost(body, Reduce):
        parts = [c for w in r.where for c in sp.And.make_args(w)]
        values = [c for c in parts if not in_relation(c)]
        if values and r.ties in ("split", "all"):
            raise SpecError(
                f"a {r.kind} that shares among ties takes conditions that compare index expressions (no `or`, no `!=`), "
                f"found `{values[0]}`"
            )
        if values:
            when = sp.And(*values)
            inner = (
                chosen(when, r.body)
                if r.kind == "sum"
                else sp.Piecewise((r.body, when), (NOTHING[r.kind], True))
            )
            kept = sp.Tuple(*(c for c in parts if c not in values))
            table[r] = r.func(r.args[0], inner, r.args[2], kept, *r.args[4:])
    return body.xreplace(table)


def free_indices(expr: sp.Basic, order: Sequence[Index]) -> list[Index]:
    """The indices an expression depends on; of `inside(read)` only those that can leave the tensor."""
    marks = {m: sp.Tuple(*(e for e in m.args[0].at if not isinstance(e, Index))) for m in expr.atoms(inside)}
    slim = expr.xreplace({m: sp.Function("inside_at")(*e) for m, e in marks.items()})
    found = [i for i in slim.free_symbols if isinstance(i, Index)]
    return sorted(found, key=lambda i: (order.index(i) if i in order else len(order), str(i)))


def fits(equations: Sequence[Equation], tensors: dict[str, Tensor]) -> list[Condition]:
    """Every index stays within the axes it stands on: proved here, or demanded at run time."""
    needed = []
    for eq in equations:
        for a in (eq.target, *eq.reads):
            for axis, i in enumerate(a.indices):
                have, want = tensors[a.tensor].shape[axis], eq.relation.size(i)
                if have != want and not sp.expand(have - want).is_nonnegative:
                    needed.append(Condition(have, want, f"index {i} would leave axis {axis} of {a.tensor}"))
    return needed


__all__ = ["Statement", "to_program"]
