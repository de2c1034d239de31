"""What a spec may be: refused here, before any size is asked for, is what no program can mean.

Every tensor is declared once, written before it is read and complete when it is read; every symbol is one of
ours; an index expression has a form that a relation can hold; a body is a real number that a kernel can compute.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from derive.errors import SpecError
from derive.indexing import check_form
from derive.language import (
    SCALARS,
    Index,
    Operator,
    Parameter,
    Read,
    Real,
    Reduce,
    Size,
    Statement,
    Tensor,
    chosen,
    indicator,
    inside,
)
from derive.ranges import all_reads, reads_of


def validate(operator: Operator) -> dict[str, Tensor]:
    """Every tensor that the equations name; SpecError at the first equation that cannot be."""
    inputs = [t.name for t in operator.inputs]
    for what, names in (("input", inputs), ("output", [t.name for t in operator.outputs])):
        for name in names:
            if names.count(name) > 1:
                raise SpecError(f"{what} `{name}` is named twice")
    for i, e in operator.extents.items():
        if not whole(e) or e.is_negative:
            raise SpecError(
                f"the extent of `{i}` is a whole number >= 0, a parameter, or a formula of extents and parameters; found {e}"
            )
    for i, law in operator.laws.items():
        if not isinstance(law.when, bool) and not whole(sp.sympify(law.when)):
            raise SpecError(f"the law of `{i}` hangs on `{law.when}`, which is no integer parameter")
    declared: dict[str, Tensor] = {}
    for k, s in enumerate(operator.statements):
        try:
            order(s, operator.statements[:k], inputs)
            tensors(s, operator.statements[:k], inputs, declared)
            symbols(sp.Tuple(s.target, s.body), {*inputs, *declared})
            for r in (*reads_of(s.target), *reads_of(s.body)):
                place(r)
                declaration(r.tensor, {*inputs, *declared})
            scalar(s.body)
        except SpecError as error:
            raise error.within(equation=str(s)) from None
    for t in (*operator.inputs, *operator.outputs):
        if declared.get(t.name, t) != t:
            raise SpecError(
                f"tensor `{t.name}` is declared in two ways: as the equations read it, and in the lists"
            )
    for name in inputs:
        if name not in declared:
            raise SpecError(f"input `{name}` is used by no equation")
    used = {i for s in operator.statements for e in (s.target, s.body) for i in e.atoms(Index)}
    used |= {i.like for i in used if i.like is not None}
    for what, indices in (("extents", operator.extents), ("laws", operator.laws)):
        for i in indices:
            if i not in used:
                listed = "given" if i in operator.given and what == "extents" else what
                raise SpecError(f"`{listed}` names index `{i}`, which no equation has")
    written = {s.target.tensor.name for s in operator.statements}
    for t in operator.outputs:
        if t.name not in written:
            raise SpecError(f"output `{t.name}` is written by no equation")
    capitals(operator)
    return declared


def whole(e: sp.Expr) -> bool:
    """A whole number made of parameters, extents and numbers."""
    known = all(isinstance(s, (Parameter, Size)) for s in e.free_symbols)
    return known and getattr(e, "is_integer", None) is True and not e.has(Read, Reduce)


def declaration(t: Tensor, names: set[str]) -> None:
    """What a tensor says of its margins and of what lies outside."""
    for e in (e for pair in t.margin for e in pair):
        if not whole(e):
            raise SpecError(
                f"a margin of {t.name} is a whole number, a parameter, or a formula of them; found {e}"
            )
    if not isinstance(t.outside, str):
        symbols(t.outside, names)
        scalar(t.outside)
        inner = {i for r in reads_of(t.outside) for i in r.free_symbols}
        for i in sorted(t.outside.free_symbols - inner, key=str):
            if isinstance(i, Index):
                raise SpecError(
                    f"outside of {t.name} is one value, or an element of a tensor; found {t.outside}"
                )


def place(r: Read) -> None:
    """Where an element stands: at index expressions, none of them before the beginning."""
    for axis, e in enumerate(r.at):
        check_form(e, r)
        if e.is_Integer and e < 0 and not r.tensor.margin:
            raise SpecError(
                f"{r} lies before axis {axis} of {r.tensor.name} begins; counted from the end it is "
                f"{r.tensor.name}.size({axis}) - {-e}"
            )


def order(s: Statement, before: Sequence[Statement], inputs: Sequence[str]) -> None:
    """A tensor is complete before it is read, and only sums add up on it."""
    name = s.target.tensor.name

    def reading(o: Statement) -> bool:
        return any(r.tensor.name == name for r in (*all_reads(o.body), *reads_of(sp.Tuple(*o.target.at))))

    if name in inputs:
        raise SpecError(f"`{name}` is an input and is written")
    if reading(s):
        raise SpecError(f"`{name}` is read by the equation that writes it; an equation is no recurrence")
    earlier = [o for o in before if o.target.tensor.name == name]
    for o in before if earlier else ():
        if reading(o):
            raise SpecError(f"`{name}` is written again after `{o}` has read it")
    kinds = [o.body.kind for o in (s, *earlier) if isinstance(o.body, Reduce) and o.body.kind != "sum"]
    if earlier and kinds:
        raise SpecError(
            f"`{name}` is written by several equations, which add up, so a {kinds[0]} cannot be one of them"
        )


def tensors(
    s: Statement, before: Sequence[Statement], inputs: Sequence[str], declared: dict[str, Tensor]
) -> None:
    """Each tensor is declared in one way, and is there when it is read."""
    there = {*inputs, *(o.target.tensor.name for o in before)}
    for r in (*reads_of(s.target), *all_reads(s.body)):
        name = r.tensor.name
        if declared.setdefault(name, r.tensor) != r.tensor:
            raise SpecError(f"tensor `{name}` is declared in two ways")
        if r != s.target and name not in there:
            raise SpecError(
                f"`{name}` is read but is neither an input nor written by an earlier equation "
                f"(inputs: {', '.join(inputs) or 'none'})"
            )


def symbols(body: sp.Basic, names: set[str]) -> None:
    """Letters and numbers of an equation: ours, exact, and no tensor's name."""
    for e in sorted(body.atoms(sp.Max, sp.Min), key=str):
        raise SpecError(
            f"SymPy's {e.func.__name__} forgets the order of its arguments, on which the gradient at a tie "
            f"depends; write maximum(u, v), minimum(u, v) or relu(u)"
        )
    for e in sorted(body.atoms(sp.Float), key=str):
        raise SpecError(f"{e} is a float; write an exact Rational, or a real parameter")
    for symbol in sorted(body.free_symbols, key=str):
        if not isinstance(symbol, (Index, Parameter, Real, Size)):
            raise SpecError(
                f"`{symbol}` is neither an index, a parameter nor an extent (use indices(), parameters(), reals())"
            )
        if isinstance(symbol, (Parameter, Real)) and symbol.name in names:
            raise SpecError(f"`{symbol}` is both a tensor and a parameter; rename one")


def capitals(operator: Operator) -> None:
    """An extent is named by its index in capitals, so that capitals tell indices apart."""
    named: dict[str, str] = {}
    for s in operator.statements:
        for i in sorted(s.target.atoms(Index) | s.body.atoms(Index), key=str):
            other = named.setdefault(i.name.upper(), i.name)
            if other != i.name:
                raise SpecError(
                    f"indices `{other}` and `{i.name}` differ only in case, and extents are named by capitals",
                    equation=str(s),
                )


def scalar(e: sp.Basic) -> None:
    """Refuse, at its own place in a body, what no kernel can compute as a real number."""
    match e:
        case Read() | sp.Symbol() | sp.Rational():
            return
        case Tensor():
            raise SpecError(f"`{e.name}` is a tensor; equations are about its elements, {e.name}[...]")
        case sp.core.numbers.Infinity() | sp.core.numbers.NegativeInfinity():
            return
        case sp.core.numbers.Pi() | sp.core.numbers.Exp1():
            return
        case sp.core.numbers.NaN() | sp.core.numbers.ComplexInfinity() | sp.core.numbers.ImaginaryUnit():
            raise SpecError(f"`{e}` is no real number")
        case Reduce():
            scalar(e.body)
            for c in e.where:
                condition(c)
        case inside():
            if not isinstance(e.args[0], Read):
                raise SpecError(f"inside(...) takes one read, as in inside(x[n, s*p + k]); found `{e}`")
        case indicator():
            condition(e.args[0])
        case chosen():
            condition(e.args[0])
            scalar(e.args[1])
        case sp.Piecewise():
            if e.args[-1].cond != sp.true:
                raise SpecError(f"`{e}` has no value where its conditions fail; end it with (value, True)")
            for value, when in e.args:
                scalar(value)
                condition(when)
        case sp.floor() | sp.ceiling() | sp.Mod():
            if any(not r.is_integer for r in e.atoms(Read, Real)):
                raise SpecError(
                    f"`{e}` rounds a real number, which has no derivative here; round indices and integer tensors only. "
                    "(Levels are a sum of steps, Sum[j](step(x - j)); finite(u) holds a value constant)"
                )
        case sp.Basic(args=parts) if isinstance(e, (sp.Add, sp.Mul, sp.Pow, *SCALARS)):
            for part in parts:
                scalar(part)
        case sp.logic.boolalg.Boolean():
            raise SpecError(f"`{e}` is a condition, not a number; write Piecewise((1, {e}), (0, True))")
        case _:
            raise SpecError(
                f"`{e}` ({type(e).__name__}) is nothing a kernel can compute; there are +, -, *, /, powers, Piecewise and "
                f"{', '.join(f.__name__ for f in SCALARS)}"
            )


def condition(e: sp.Basic) -> None:
    """Comparisons of numbers, joined by and, or, not."""
    if isinstance(e, (sp.And, sp.Or, sp.Not)):
        for part in e.args:
            condition(part)
    elif isinstance(e, sp.core.relational.Relational):
        scalar(e.lhs)
        scalar(e.rhs)
    elif isinstance(e, sp.ITE):
        raise SpecError(
            f"a condition compares no Piecewise, which SymPy takes apart into `{e}`; "
            "give the Piecewise an equation of its own, and compare what that writes"
        )
    elif e not in (sp.true, sp.false):
        raise SpecError(f"a condition compares numbers, found `{e}`")


__all__ = ["validate"]
