"""Equations as a user writes them -> the relation form.

Every index expression moves into the relation: `x[n, s*p + k]` becomes `x[n, q]` with
`s*p + k - q = 0`. floor and mod become a lap index between two inequalities, circular wrapping
a lap index alone. An index map of several pieces (reflect, symmetric, replicate, or a value
outside) becomes a copy of the tensor, one equation a piece, that the reading equation reads;
where the value outside is zero and the body vanishes with the read, no copy is needed.
A reduction inside a formula becomes an equation of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy as sp

from derive.errors import SpecError
from derive.language import (
    FOLDS,
    SCALARS,
    Index,
    IntegerRead,
    Operator,
    Parameter,
    Read,
    Real,
    Reduce,
    Size,
    Statement,
    chosen,
    circular,
    indicator,
    inside,
)
from derive.language import Tensor as Declared
from derive.program import (
    Access,
    Affine,
    Condition,
    Equation,
    IntegerAccess,
    Program,
    Range,
    Relation,
    Tensor,
    affine,
    check,
    fresh_name,
)
from derive.ranges import LAPS, Ranges, all_reads, outermost, reads_of

KEYWORDS = ("out", "wrt")


def to_program(operator: Operator) -> Program:
    """The operator in relation form, checked. SpecError shows the user's equation."""
    try:
        return check(_Translator(operator).program())
    except SpecError as error:
        raise error.within(operator=operator.name) from None


class _Scope:
    """One equation under construction: its extra indices and constraints."""

    def __init__(self, free: Sequence[Index], taken: set[str]) -> None:
        self.names: dict[tuple[Any, ...], Index] = {}
        self.ranges: list[Range] = []
        self.zero: list[Affine] = []
        self.nonneg: list[Affine] = []
        self.taken = {name.upper() for name in taken}

    def index(self, name: str, size: sp.Expr) -> Index:
        """A new index; its extent's name, in capitals, is new too."""
        number = fresh_name(name.upper(), self.taken)[len(name) :]
        made = Index(name + number)
        self.ranges.append(Range(made, size))
        return made


class _Translator:
    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.declared: dict[str, Declared] = {}
        self.validate()
        self.ranges = Ranges(operator)
        self.equations: list[Equation] = []
        self.copies: dict[tuple[Any, ...], tuple[str, sp.Expr]] = {}
        self.tensor_names = set(self.declared)
        self.integer: dict[str, bool] = {}
        self.index_names = {
            s.name for st in operator.statements for e in (st.target, st.body) for s in e.atoms(Index)
        } | {i.name for i in operator.extents}

    # --- what a spec may be ------------------------------------------------------------------

    def validate(self) -> None:
        op = self.operator
        names = [t.name for t in op.inputs]
        for t in op.inputs:
            if names.count(t.name) > 1:
                raise SpecError(f"input `{t.name}` is named twice")
        for i, e in op.extents.items():
            if (
                e.is_integer is not True
                or e.is_negative
                or not all(isinstance(s, (Parameter, Size)) for s in e.free_symbols)
            ):
                raise SpecError(
                    f"the extent of `{i}` is a whole number >= 0, a parameter, or a formula of extents and parameters; found {e}"
                )
        written: set[str] = set()
        for k, s in enumerate(op.statements):
            if s.target.tensor.name in names:
                raise SpecError(f"`{s.target.tensor.name}` is an input and is written", equation=str(s))
            self.order(s, op.statements[:k])
            for r in (*reads_of(s.target), *all_reads(s.body)):
                old = self.declared.setdefault(r.tensor.name, r.tensor)
                if old != r.tensor:
                    raise SpecError(f"tensor `{r.tensor.name}` is declared in two ways", equation=str(s))
                used_as_input = r != s.target and r.tensor.name not in names and r.tensor.name not in written
                if used_as_input:
                    raise SpecError(
                        f"`{r.tensor.name}` is read but is neither an input nor written by an earlier equation "
                        f"(inputs: {', '.join(names) or 'none'})",
                        equation=str(s),
                    )
            bad = sorted(s.body.atoms(sp.Max, sp.Min), key=str)
            if bad:
                raise SpecError(
                    f"SymPy's {bad[0].func.__name__} forgets the order of its arguments, on which the gradient at a tie "
                    f"depends; write maximum(u, v), minimum(u, v) or relu(u)",
                    equation=str(s),
                )
            odd = sorted(s.body.atoms(sp.Float), key=str)
            if odd:
                raise SpecError(
                    f"{odd[0]} is a float; write an exact Rational, or a real parameter", equation=str(s)
                )
            for symbol in sorted(s.body.free_symbols | s.target.free_symbols, key=str):
                if not isinstance(symbol, (Index, Parameter, Real, Size)):
                    raise SpecError(
                        f"`{symbol}` is neither an index, a parameter nor an extent (use indices(), parameters(), reals())",
                        equation=str(s),
                    )
                if isinstance(symbol, (Parameter, Real)) and symbol.name in {*names, *self.declared}:
                    raise SpecError(
                        f"`{symbol}` is both a tensor and a parameter; rename one", equation=str(s)
                    )
            try:
                for r in (*reads_of(s.target), *reads_of(s.body)):
                    for at in r.at:
                        self.index_expression(at, r)
                self.scalar(s.body)
            except SpecError as error:
                raise error.within(equation=str(s)) from None
            written.add(s.target.tensor.name)
        for t in op.inputs:
            if t.name not in self.declared:
                raise SpecError(f"input `{t.name}` is used by no equation")
        for t in op.outputs:
            if t.name not in written:
                raise SpecError(f"output `{t.name}` is written by no equation")
        lower: dict[str, str] = {}
        for s in op.statements:
            for i in sorted(s.target.atoms(Index) | s.body.atoms(Index), key=str):
                other = lower.setdefault(i.name.upper(), i.name)
                if other != i.name:
                    raise SpecError(
                        f"indices `{other}` and `{i.name}` differ only in case, and extents are named by capitals",
                        equation=str(s),
                    )

    @staticmethod
    def order(s: Statement, before: Sequence[Statement]) -> None:
        """A tensor is complete before it is read, and only sums add up on it."""
        name = s.target.tensor.name

        def reading(o: Statement) -> bool:
            return any(r.tensor.name == name for r in (*all_reads(o.body), *reads_of(sp.Tuple(*o.target.at))))

        earlier = [o for o in before if o.target.tensor.name == name]
        if reading(s):
            raise SpecError(f"`{name}` is read by the equation that writes it", equation=str(s))
        for o in before if earlier else ():
            if reading(o):
                raise SpecError(f"`{name}` is written again after `{o}` has read it", equation=str(s))
        kinds = [o.body.kind for o in (s, *earlier) if isinstance(o.body, Reduce) and o.body.kind != "sum"]
        if earlier and kinds:
            raise SpecError(
                f"`{name}` is written by several equations, which add up, so a {kinds[0]} cannot be one of them",
                equation=str(s),
            )

    @staticmethod
    def index_expression(e: sp.Expr, where: object) -> None:
        """Refuse, before sizes are asked for, an index that no relation can hold."""
        parts = outermost(e, Read, Reduce, *LAPS, *FOLDS.values())
        plain = {f: Index(f"v{k}") for k, f in enumerate(parts) if f.is_integer is not False}
        if affine(e.xreplace(plain)) is None:
            raise _not_affine(e, where)

    def scalar(self, e: sp.Basic) -> None:
        """Refuse, at its own place in a body, what no kernel can compute as a real number."""
        match e:
            case (
                Read()
                | sp.Symbol()
                | sp.Rational()
                | sp.core.numbers.Infinity()
                | sp.core.numbers.NegativeInfinity()
            ):
                return
            case sp.core.numbers.Pi() | sp.core.numbers.Exp1():
                return
            case sp.core.numbers.NaN() | sp.core.numbers.ComplexInfinity() | sp.core.numbers.ImaginaryUnit():
                raise SpecError(f"`{e}` is no real number")
            case Reduce():
                self.scalar(e.body)
            case inside():
                if not isinstance(e.args[0], Read):
                    raise SpecError(f"inside(...) takes one read, as in inside(x[n, s*p + k]); found `{e}`")
            case indicator():
                self.condition(e.args[0])
            case chosen():
                self.condition(e.args[0])
                self.scalar(e.args[1])
            case sp.Piecewise():
                if e.args[-1].cond != sp.true:
                    raise SpecError(
                        f"`{e}` has no value where its conditions fail; end it with (value, True)"
                    )
                for value, condition in e.args:
                    self.scalar(value)
                    self.condition(condition)
            case sp.floor() | sp.ceiling() | sp.Mod():
                if any(not r.is_integer for r in e.atoms(Read, Real)):
                    raise SpecError(
                        f"`{e}` rounds a real number, which has no derivative here; round indices and integer tensors only"
                    )
            case _ if isinstance(e, (sp.Add, sp.Mul, sp.Pow, *SCALARS)):
                for part in sp.Tuple(e)[0].args:
                    self.scalar(part)
            case sp.logic.boolalg.Boolean():
                raise SpecError(f"`{e}` is a condition, not a number; write Piecewise((1, {e}), (0, True))")
            case _:
                raise SpecError(
                    f"`{e}` ({type(e).__name__}) is nothing a kernel can compute; there are +, -, *, /, powers, Piecewise and "
                    f"{', '.join(f.__name__ for f in SCALARS)}"
                )

    def condition(self, e: sp.Basic) -> None:
        if isinstance(e, (sp.And, sp.Or, sp.Not)):
            for part in e.args:
                self.condition(part)
        elif isinstance(e, sp.core.relational.Relational):
            self.scalar(e.lhs)
            self.scalar(e.rhs)
        elif e not in (sp.true, sp.false):
            raise SpecError(f"a condition compares numbers, found `{e}`")

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

        def tensor(name: str) -> Tensor:
            shape = tuple(r.axis_size(name, k) for k in range(len(r.shapes[name])))
            return Tensor(name, shape, self.integer_tensor(name), self.optional(name))

        written = list(dict.fromkeys(e.target.tensor for e in self.equations))
        outputs = tuple(tensor(t.name) for t in self.operator.outputs)
        locals_ = tuple(tensor(n) for n in written if n not in {t.name for t in outputs})
        sizes = tuple((s, r.resolve(e)) for s, e in self.in_order(r.derived))
        inputs = tuple(tensor(t.name) for t in self.operator.inputs)
        conditions = [Condition(r.resolve(c.left), r.resolve(c.right), c.reason) for c in r.conditions]
        equations = tuple(e.mapped(r.resolve) for e in self.equations)
        conditions += self.fits(equations, {t.name: t for t in (*inputs, *outputs, *locals_)})
        self.check_optional(equations)
        free = {
            s
            for e in equations
            for x in (
                e.body,
                *(z.expr for z in (*e.relation.zero, *e.relation.nonneg)),
                *(g.size for g in e.relation.ranges),
            )
            for s in x.free_symbols
        } | {s for _, e in sizes for s in e.free_symbols}
        parameters = sorted(
            (s for s in free if isinstance(s, (Parameter, Real))), key=lambda s: (isinstance(s, Real), str(s))
        )
        return Program(
            inputs,
            equations,
            outputs,
            sizes,
            locals_,
            (*parameters, *r.parameters()),
            tuple(dict.fromkeys(conditions)),
        )

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

    def fits(self, equations: Sequence[Equation], tensors: dict[str, Tensor]) -> list[Condition]:
        """Every index stays within the axes it stands on: proved here, or demanded at run time."""
        needed = []
        for eq in equations:
            for a in (eq.target, *eq.reads):
                for axis, i in enumerate(a.indices):
                    have, want = tensors[a.tensor].shape[axis], eq.relation.size(i)
                    if have != want and not sp.expand(have - want).is_nonnegative:
                        needed.append(
                            Condition(have, want, f"index {i} would leave axis {axis} of {a.tensor}")
                        )
        return needed

    def check_optional(self, equations: Sequence[Equation]) -> None:
        for eq in equations:
            for a in eq.reads:
                if self.optional(a.tensor) and (eq.reduce != "sum" or eq.body.xreplace({a: sp.S.Zero}) != 0):
                    where = [
                        s
                        for s in self.operator.statements
                        if any(r.tensor.name == a.tensor for r in reads_of(s.body))
                    ]
                    raise SpecError(
                        f"`{a.tensor}` is optional, but without it `{eq.body}` does not vanish",
                        equation=str(where[0]),
                    )

    def integer_tensor(self, name: str) -> bool:
        return self.declared[name].integer if name in self.declared else self.integer.get(name, False)

    def optional(self, name: str) -> bool:
        return name in self.declared and self.declared[name].optional

    # --- statements --------------------------------------------------------------------------

    def statement(self, target: Read, body: sp.Expr) -> None:
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
        parent = target.tensor.name
        order = [i for e in target.at for i in sorted(e.atoms(Index), key=str)]
        for r in outermost(expr, Reduce):
            free = self.free(r, order)
            name = fresh_name(f"{parent}_{r.kind}", self.tensor_names)
            integer = r.kind.startswith("arg")
            temp = Declared(name, integer=integer)
            self.declared[name] = temp
            part = temp[tuple(free)]
            self.ranges.shapes[name] = [self.ranges.size(i) for i in free]
            self.statement(part, r)
            table[r] = part
        return expr.xreplace(table)

    @staticmethod
    def free(expr: sp.Basic, order: Sequence[Index] = ()) -> list[Index]:
        """The indices an expression depends on; of `inside(read)` only those that can leave the tensor."""
        marks = {
            m: sp.Tuple(*(e for e in m.args[0].at if not isinstance(e, Index))) for m in expr.atoms(inside)
        }
        slim = expr.xreplace({m: sp.Function("inside_at")(*e) for m, e in marks.items()})
        found = [i for i in slim.free_symbols if isinstance(i, Index)]
        return sorted(found, key=lambda i: (order.index(i) if i in order else len(order), str(i)))

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
        if kind in ("max", "min") and ties in ("split", "all") and not isinstance(body, Read):
            body = self.materialised(target, body, bound)  # its elements are compared with the stored maximum
        body = self.copied(body, kind)
        scope = _Scope((), self.index_names)
        goal = self.plain(target, scope)
        outer = outermost(body, Read)
        body = body.xreplace({a: self.plain(a, scope) for a in outer})
        marks = sorted(body.atoms(inside), key=str)
        for m in marks:  # its relation is there already; its value was never wanted
            body = body.xreplace({m: sp.S.One})
        self.conditions(where, scope)
        yields = self.linear(at, scope, "at") if at is not None else None
        own = [i for i in goal.indices if i not in {g.index for g in scope.ranges}] + [
            i for i in bound if i not in goal.indices
        ]
        inner = {
            i for e in (*scope.zero, *scope.nonneg, *((yields,) if yields else ())) for i in e.indices
        } | body.atoms(Index)
        made = {g.index for g in scope.ranges}
        rest = sorted((i for i in inner if i not in made and i not in own), key=str)
        ranges = tuple(Range(i, self.ranges.size(i)) for i in (*own, *rest)) + tuple(scope.ranges)
        if kind != "sum" and rest:
            if any(rest[0] in e.free_symbols for e in target.at):
                raise SpecError(
                    f"`{target}` adds up what falls on one element, so a {kind} cannot be written at index `{rest[0]}`; "
                    f"give the {kind} an equation of its own"
                )
            raise SpecError(f"index `{rest[0]}` is neither reduced by {kind} nor named by the target")
        self.equations.append(
            Equation(goal, Relation(ranges, tuple(scope.zero), tuple(scope.nonneg)), body, kind, ties, yields)
        )

    def materialised(self, target: Read, body: sp.Expr, bound: Sequence[Index]) -> sp.Expr:
        free = self.free(body, [i for i in target.at if isinstance(i, Index)])
        name = fresh_name(f"{target.tensor.name}_term", self.tensor_names)
        self.declared[name] = Declared(name)
        self.ranges.shapes[name] = [self.ranges.size(i) for i in free]
        self.equation(self.declared[name][tuple(free)], body, (), (), "sum")
        return self.declared[name][tuple(free)]

    def plain(self, r: Read, scope: _Scope) -> Access:
        """The read at plain, distinct indices; what its index expressions said goes into the scope."""
        tensor, out = r.tensor, list[Index]()
        self.ranges.rank(r)
        for axis, e in enumerate(r.at):
            if isinstance(e, Index) and e not in out:
                out.append(e)
                continue
            key = (tensor.name, axis, e)
            if key not in scope.names or scope.names[key] in out:
                size = self.ranges.axis_size(tensor.name, axis)
                if isinstance(e, circular):
                    form = self.wrapped(e.args[0], size, scope, str(r))
                else:
                    form = self.linear(e, scope, str(r))
                q = scope.index(f"{tensor.name}{axis}".replace("_", ""), size)
                scope.zero.append(form + Affine.of([(q, sp.S.NegativeOne)]))
                scope.names[key] = q
            out.append(scope.names[key])
        kind = IntegerAccess if tensor.integer else Access
        return kind(tensor.name, *out)

    def linear(self, e: sp.Expr, scope: _Scope, where: str) -> Affine:
        """An index expression as an affine form; floor and mod give a lap index and its two inequalities."""
        table: dict[sp.Expr, sp.Expr] = {}
        for f in sorted(outermost(e, *LAPS), key=lambda f: -len(str(f))):
            if isinstance(f, sp.Mod):
                u, m = f.args
                lap = self.lap(u, m, scope, where)
                table[f] = u - m * lap
            elif isinstance(f, sp.ceiling):
                u, m = sp.fraction(sp.together(f.args[0]))
                table[f] = -self.lap(-u, m, scope, where)
            else:
                u, m = sp.fraction(sp.together(f.args[0]))
                table[f] = self.lap(u, m, scope, where)
        e = e.xreplace(table)
        e = e.xreplace({r: self.plain(r, scope) for r in outermost(e, Read)})
        if e.has(*FOLDS.values()):
            raise SpecError(f"a folded index stands alone on its axis, found `{e}`")
        form = affine(e)
        if form is None:
            raise _not_affine(e, where)
        return form

    def lap(self, u: sp.Expr, m: sp.Expr, scope: _Scope, where: str) -> sp.Expr:
        """floor(u / m) as an index: m*lap <= u < m*lap + m."""
        if m.has(Index, Read) or not (m.is_positive or isinstance(m, Size)):
            raise SpecError(f"the divisor `{m}` in {where} is a positive parameter, size or number")
        form = self.linear(u, scope, where)
        low, high = self.ranges.reach(u)
        first = sp.floor(low / m) if low != 0 else sp.S.Zero
        index = scope.index("lap", sp.expand(sp.floor(high / m) - first + 1))
        value = Affine.of([(index, m)], m * first)
        scope.nonneg.append(form + -value)
        scope.nonneg.append((value + -form).shifted(m - 1))
        return index + first

    def wrapped(self, u: sp.Expr, size: sp.Expr, scope: _Scope, where: str) -> Affine:
        """u mod size: which lap it is on, and no mod is left."""
        form = self.linear(u, scope, where)
        low, high = self.ranges.reach(u)
        whole = sp.Max(1, size)
        first = sp.floor(low / whole)
        lap = scope.index("lap", sp.floor(high / whole) - first + 1)
        return form + Affine.of([(lap, -size)], -size * first)

    def conditions(self, where: Sequence[sp.Expr], scope: _Scope) -> None:
        for c in where:
            for part in c.args if isinstance(c, sp.And) else (c,):
                if part == sp.true:
                    continue
                if part == sp.false:
                    scope.nonneg.append(Affine((), sp.S.NegativeOne))
                    continue
                e = self.at_least_zero(part)
                if isinstance(part, sp.Eq):
                    scope.zero.append(self.linear(e, scope, str(part)))
                else:
                    scope.nonneg.append(self.linear(e, scope, str(part)))

    @staticmethod
    def at_least_zero(w: sp.Expr) -> sp.Expr:
        """A relational as e >= 0 (for Eq: e = 0). For integers q >= floor(e/m) is m*(q+1) - e - 1 >= 0, and so on."""
        rules = {
            sp.Ge: lambda l, r: l - r,
            sp.Gt: lambda l, r: l - r - 1,
            sp.Le: lambda l, r: r - l,
            sp.Lt: lambda l, r: r - l - 1,
            sp.Eq: lambda l, r: l - r,
        }
        if type(w) not in rules:
            raise SpecError(f"a condition is a comparison of index expressions, found `{w}`")
        left, right = w.lhs, w.rhs
        if not w.has(sp.floor, sp.ceiling, sp.Mod):  # q < n/2 is 2*q < n
            num, den = sp.fraction(sp.together(left - right))
            if den != 1 and (den.is_positive or isinstance(den, Size)):
                left, right = sp.expand(num), sp.S.Zero
        e = rules[type(w)](left, right)
        e = e.replace(sp.ceiling, lambda u: -sp.floor(-u, evaluate=False))
        floors = sorted(e.atoms(sp.floor), key=str)
        if len(floors) != 1 or isinstance(w, sp.Eq):
            return e
        (f,), sign = floors, e.coeff(floors[0])
        if sign not in (1, -1):
            return e
        num, den = sp.fraction(sp.together(f.args[0]))
        if not (den.is_positive or isinstance(den, Size)):
            return e
        a = e - sign * f
        return sp.expand(num + den * a if sign == 1 else den * (a + 1) - num - 1)

    # --- reads outside -------------------------------------------------------------------------

    def copied(self, body: sp.Expr, kind: str) -> sp.Expr:
        """Reads whose index map has several pieces go through a copy; so do reads of a value outside that the body needs."""
        for r in outermost(body, Read):
            tensor, margin = r.tensor, r.tensor.margin
            marked = any(m.args[0] == r for m in body.atoms(inside))
            new = r
            for axis, e in enumerate(r.at):
                m = axis - len(r.at) + len(margin)
                has_margin = 0 <= m < len(margin) and margin[m] != (0, 0)
                held = (tensor.name, axis, e) in self.ranges.seen  # the law keeps it between the margins
                # a caller's indices are compared with the extent before any kernel runs
                held |= isinstance(e, IntegerRead) and e.tensor in self.operator.inputs
                may_leave = not isinstance(e, Index) and (has_margin or not held)
                mode = next((name for name, f in FOLDS.items() if isinstance(e, f)), None)
                if mode is not None:
                    if mode != "circular":
                        new = self.copy(new, axis, mode, e.args[0])
                elif may_leave and tensor.outside != "absent" and not marked:
                    if tensor.outside == "circular":  # a lap index says it, without a copy
                        new = Read(new.tensor, *new.at[:axis], circular(e), *new.at[axis + 1 :])
                    elif isinstance(tensor.outside, str):
                        new = self.copy(new, axis, tensor.outside, e)
                    elif tensor.outside != 0 or not (kind == "sum" and body.xreplace({r: sp.S.Zero}) == 0):
                        new = self.copy(new, axis, "value", e, tensor.outside)
            if new is not r:
                body = body.xreplace({r: new})
        return body

    def copy(self, r: Read, axis: int, mode: str, u: sp.Expr, value: sp.Expr = sp.S.Zero) -> Read:
        """A read of `r` with axis `axis` at u, u anywhere: through a copy that holds every u that occurs."""
        if u.has(Read):
            raise SpecError(
                f"{r}: an index that an integer tensor gives cannot reach outside; clip it before"
            )
        low, high = self.ranges.reach(u)
        source = r.tensor.name
        rank = len(r.at)
        key = (source, axis, mode, low, high, str(value))
        if key not in self.copies:
            name = fresh_name(f"{source}_padded", self.tensor_names)
            size = Size(f"{name.upper()}{axis}")
            self.ranges.derived[size] = sp.Max(0, self.ranges.resolve(high - low + 1))
            shape = [self.ranges.axis_size(source, k) for k in range(rank)]
            shape[axis] = size
            self.ranges.shapes[name] = list(shape)
            self.declared[name] = Declared(name)
            taken = set(self.index_names)
            free = [Index(fresh_name(f"r{k}", taken)) for k in range(rank)]
            q = Index(fresh_name("q", taken))
            self.copies[key] = (name, low)
            self.pieces(
                Access(name, *free),
                Access(source, *(q if k == axis else i for k, i in enumerate(free))),
                shape,
                self.ranges.axis_size(source, axis),
                free[axis],
                q,
                low,
                high,
                mode,
                r,
                value,
                taken,
            )
        name, low = self.copies[key]
        at = tuple(u - low if k == axis else e for k, e in enumerate(r.at))
        return Read(self.declared[name], *at)

    def pieces(
        self,
        target: Access,
        read: Access,
        shape: Sequence[sp.Expr],
        size: sp.Expr,
        r: Index,
        q: Index,
        low: sp.Expr,
        high: sp.Expr,
        mode: str,
        original: Read,
        value: sp.Expr,
        taken: set[str],
    ) -> None:
        free = [Range(i, s) for i, s in zip(target.indices, shape, strict=True)]
        u = Affine.of([(r, sp.S.One)], low)
        is_q = Affine.of([(q, sp.S.NegativeOne)])

        def put(
            body: sp.Expr,
            zero: Sequence[Affine] = (),
            nonneg: Sequence[Affine] = (),
            extra: Sequence[Range] = (),
        ) -> None:
            self.equations.append(
                Equation(target, Relation((*free, *extra), tuple(zero), tuple(nonneg)), body)
            )

        inner = Range(q, size)
        before, after = (-u).shifted(-1), u.shifted(-size)  # u <= -1, u >= size
        if mode in ("value", "replicate"):
            put(read, [u + is_q], extra=[inner])
        if mode == "value" and value != 0:
            outside = value.xreplace({a: self.plain_outside(a, original, target) for a in reads_of(value)})
            put(outside, nonneg=[before])
            put(outside, nonneg=[after])
        if mode == "replicate":
            put(read, [is_q], [before], [inner])
            put(read, [is_q.shifted(size - 1)], [after], [inner])
        if mode in ("symmetric", "reflect"):
            period = 2 * size if mode == "symmetric" else sp.Max(1, 2 * (size - 1))
            whole = sp.Max(1, period)
            lap = Index(fresh_name("lap", taken))
            first, last = sp.floor(low / whole), sp.floor(high / whole)
            laps = Range(lap, last - first + 1)
            even = u + is_q + Affine.of([(lap, -period)], -period * first)
            put(read, [even], extra=[laps, inner])
            mirror = (
                -u + is_q + Affine.of([(lap, period)], period * (first + 1))
            )  # q = period*(lap + first + 1) - u
            if mode == "symmetric":
                put(read, [mirror.shifted(-1)], extra=[laps, inner])
            else:  # the edges belong to the even piece
                put(read, [mirror], [(-is_q).shifted(-1), is_q.shifted(size - 2)], [laps, inner])

    def plain_outside(self, a: Read, original: Read, target: Access) -> Access:
        """`outside=m[n, c]`: the letters are those of the read itself."""
        table = {e: i for e, i in zip(original.at, target.indices, strict=True) if isinstance(e, Index)}
        for e in a.at:
            if e not in table:
                raise SpecError(f"outside={a}: index `{e}` does not stand plainly in {original}")
        return Access(a.tensor.name, *(table[e] for e in a.at))


def _not_affine(e: sp.Expr, where: object) -> SpecError:
    return SpecError(
        f"the index expression `{e}` in {where} is not affine in indices (with whole numbers, parameters and extents as "
        f"coefficients), floor, mod, a fold, or an integer tensor's element"
    )


__all__ = ["Statement", "to_program"]
