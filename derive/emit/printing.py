"""SymPy expressions as Python source: integers exactly, scalars over whatever number a kernel runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sympy as sp
from sympy.printing.precedence import PRECEDENCE
from sympy.printing.pycode import AbstractPythonCodePrinter

from derive.language import Parameter, Real, Size, finite
from derive.program import Access


def signed(term: sp.Expr) -> tuple[bool, sp.Expr]:
    """Is a term subtracted, and what is it then?"""
    negative = bool(term.could_extract_minus_sign())
    return negative, -term if negative else term


def shifts_first(terms: Sequence[sp.Expr]) -> list[sp.Expr]:
    """The terms of a sum in the order in which they are added: what `finite` shifts meets its shift before all else.

    x - finite(m) is exact where both are large and near each other; x - log(t) would round x first.
    """

    shifts = {negative for negative, u in map(signed, terms) if isinstance(u, finite)}

    def later(term: sp.Expr) -> bool:
        negative, u = signed(term)
        return not (isinstance(u, finite) or (isinstance(u, (Access, sp.Symbol)) and negative not in shifts))

    return sorted(terms, key=later) if len(shifts) == 1 and len(terms) > 2 else list(terms)


class _Base(AbstractPythonCodePrinter):
    """Names come from a table; nothing is imported, nothing is evaluated."""

    def __init__(self, names: Mapping[sp.Basic, str]) -> None:
        super().__init__({"fully_qualified_modules": False})
        self.names = names

    def _print_Symbol(self, e: Any) -> str:
        name: str = self.names.get(e, e.name)
        return name

    _print_Index = _print_Size = _print_Parameter = _print_Real = _print_Dummy = _print_Symbol

    def _print_Relational(self, e: Any) -> str:
        ops = {sp.Eq: "==", sp.Ne: "!=", sp.Lt: "<", sp.Le: "<=", sp.Gt: ">", sp.Ge: ">="}
        return f"{self.side(e.lhs)} {ops[e.func]} {self.side(e.rhs)}"

    _print_Equality = _print_Unequality = _print_LessThan = _print_StrictLessThan = _print_Relational
    _print_GreaterThan = _print_StrictGreaterThan = _print_Relational

    def side(self, e: Any) -> str:
        return str(self.parenthesize(e, PRECEDENCE["Add"]))

    def _print_And(self, e: Any) -> str:
        return " and ".join(f"({self._print(a)})" for a in sorted(e.args, key=str))

    def _print_Or(self, e: Any) -> str:
        return " or ".join(f"({self._print(a)})" for a in sorted(e.args, key=str))

    def _print_Not(self, e: Any) -> str:
        return f"not ({self._print(e.args[0])})"

    def _print_Piecewise(self, e: Any) -> str:
        out = ""
        for value, condition in e.args:
            text = self.parenthesize(value, PRECEDENCE["Add"])
            if condition == sp.true:
                return f"({out}{text})"
            out += f"{text} if {self._print(condition)} else "
        raise ValueError(f"a Piecewise without a default: {e}")


class IntegerPrinter(_Base):
    """Integer formulas: floor and mod as // and %, never a float."""

    def _print_Access(self, e: Any) -> str:
        at = ", ".join(map(self._print, e.indices)) if e.indices else "()"
        return f"{self.names.get(e, e.tensor)}[{at}]"

    _print_IntegerAccess = _print_Access

    def divided(self, num: Any, den: Any) -> str:
        return f"{self.factor(num)} // {self.factor(den)}"

    def factor(self, e: Any) -> str:
        return str(self.parenthesize(e, PRECEDENCE["Mul"] + 1))

    def _print_FloorDiv(self, e: Any) -> str:
        return f"({self.divided(*e.args)})"

    def _print_CeilDiv(self, e: Any) -> str:
        num, den = e.args
        return f"(-({self.divided(sp.expand(-num), den)}))"

    def _print_Modulo(self, e: Any) -> str:
        num, den = e.args
        return f"({self.factor(num)} % {self.factor(den)})"

    _print_Mod = _print_Modulo

    def _print_floor(self, e: Any) -> str:
        return f"({self.divided(*sp.fraction(sp.together(e.args[0])))})"

    def _print_ceiling(self, e: Any) -> str:
        num, den = sp.fraction(sp.together(e.args[0]))
        return f"(-({self.divided(sp.expand(-num), den)}))"

    def _print_Max(self, e: Any) -> str:
        return f"max({self.listed(e.args)})"

    def _print_Min(self, e: Any) -> str:
        return f"min({self.listed(e.args)})"

    def listed(self, args: Any) -> str:
        return ", ".join(self._print(a) for a in sorted(args, key=lambda a: (not a.is_Number, str(a))))

    def _print_Float(self, e: Any) -> str:
        raise ValueError(f"the float {e} in an integer formula")

    def _print_Pow(self, e: Any, rational: bool = False) -> str:
        if e.exp.is_Integer and e.exp > 0:
            return f"{self.parenthesize(e.base, PRECEDENCE['Pow'])}**{e.exp}"
        raise ValueError(f"{e} is no integer formula")


UNARY = {
    "exp",
    "expm1",
    "log",
    "log1p",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "erf",
    "erfc",
}
OURS = {"relu": "relu", "step": "step", "maximum": "larger", "minimum": "smaller", "finite": "finite"}


class ScalarPrinter(IntegerPrinter):
    """Real bodies. What a kernel calls goes into `used`, so that the module imports it."""

    def __init__(self, names: Mapping[sp.Basic, str], used: set[str]) -> None:
        super().__init__(names)
        self.used = used
        self.integers = IntegerPrinter(names)

    def call(self, name: str, *args: str) -> str:
        self.used.add(name)
        return f"{name}({', '.join(args)})"

    def top(self, e: Any) -> str:
        """A whole body: a lone number becomes a scalar."""
        if e.is_Pow and e.base.is_Integer and e.exp.is_Integer:
            e = e.base**e.exp  # SymPy squares a product factor by factor and may leave 1**2
        if e.is_Integer:
            return self.call({0: "zero", 1: "one"}.get(int(e), "real"), *([] if e in (0, 1) else [str(e)]))
        return str(self._print(e))

    def _print_Symbol(self, e: Any) -> str:
        name = self.names.get(e, e.name)
        return name if isinstance(e, Real) or not e.is_integer else self.call("real", name)

    _print_Index = _print_Size = _print_Parameter = _print_Real = _print_Dummy = _print_Symbol

    def _as_ordered_terms(self, expr: Any, order: Any = None) -> list[Any]:
        return shifts_first(super()._as_ordered_terms(expr, order))

    def _print_Access(self, e: Any) -> str:
        return str(self.integers._print(e))

    def _print_IntegerAccess(self, e: Any) -> str:
        return self.call("real", self.integers._print(e))

    def _print_floor(self, e: Any) -> str:
        """Rounding is of integers only, and integers stay integers up to here."""
        text = str(self.integers._print(e))
        return self.call("real", text[1:-1] if text.startswith("(") else text)  # those of the call do

    _print_ceiling = _print_Mod = _print_Max = _print_Min = _print_floor

    def _print_Rational(self, e: Any) -> str:
        return self.call("rational", str(e.p), str(e.q))

    _print_Half = _print_Rational

    def _print_Relational(self, e: Any) -> str:
        if e.lhs.is_integer and e.rhs.is_integer and not e.has(Access, Real):
            return str(self.integers._print(e))
        ops = {sp.Eq: "==", sp.Ne: "!=", sp.Lt: "<", sp.Le: "<=", sp.Gt: ">", sp.Ge: ">="}
        return f"{self.value(e.lhs)} {ops[e.func]} {self.value(e.rhs)}"

    _print_Equality = _print_Unequality = _print_LessThan = _print_StrictLessThan = _print_Relational
    _print_GreaterThan = _print_StrictGreaterThan = _print_Relational

    def value(self, e: Any) -> str:
        return self.top(e) if e.is_Integer else self.side(e)

    def _print_Piecewise(self, e: Any) -> str:
        out = ""
        for value, condition in e.args:
            text = self.value(value)
            if condition == sp.true:
                return f"({out}{text})"
            out += f"{text} if {self._print(condition)} else "
        raise ValueError(f"a Piecewise without a default: {e}")

    def _print_Pow(self, e: Any, rational: bool = False) -> str:
        base, exponent = e.base, e.exp
        if exponent == sp.S.Half:
            return self.call("sqrt", self._print(base))
        if exponent == -sp.S.Half:
            return f"1 / {self.call('sqrt', self._print(base))}"
        if exponent.is_Integer:
            if exponent == -1:
                return f"1 / {self.parenthesize(base, PRECEDENCE['Pow'])}"
            if exponent < 0:
                return f"1 / {self.parenthesize(base, PRECEDENCE['Pow'])}**{-exponent}"
            return f"{self.parenthesize(base, PRECEDENCE['Pow'])}**{exponent}"
        return self.call("power", self.value(base), self.value(exponent))

    def _print_Mul(self, e: Any) -> str:
        over, under = [], []
        negative = e.could_extract_minus_sign()
        for f in (-e if negative else e).as_ordered_factors():
            if f.is_Pow and f.exp.is_Number and f.exp.is_negative:
                under.append(sp.Pow(f.base, -f.exp, evaluate=True))
            elif f.is_Rational and not f.is_Integer:
                over.append(f)
            else:
                over.append(f)
        over = [f for f in over if f != 1]
        text = " * ".join(self.parenthesize(f, PRECEDENCE["Mul"]) for f in over) or "1"
        for f in under:
            text += f" / {self.parenthesize(f, PRECEDENCE['Mul'] + 1)}"
        return f"-{text}" if negative else text

    def _print_Abs(self, e: Any) -> str:
        return self.call("absolute", self._print(e.args[0]))

    def _print_sign(self, e: Any) -> str:
        return self.call("sign", self._print(e.args[0]))

    def _print_indicator(self, e: Any) -> str:
        return self.call("indicator", self._print(e.args[0]))

    def _print_chosen(self, e: Any) -> str:
        return f"({self.value(e.args[1])} if {self._print(e.args[0])} else {self.call('zero')})"

    def _print_Pi(self, e: Any) -> str:
        return self.call("pi")

    def _print_Exp1(self, e: Any) -> str:
        return self.call("exp", self.call("one"))

    def _print_Infinity(self, e: Any) -> str:
        return self.call("highest")

    def _print_NegativeInfinity(self, e: Any) -> str:
        return self.call("lowest")

    def _print_Function(self, e: Any) -> str:
        name = e.func.__name__
        if name in UNARY:
            return self.call(name, self.top(e.args[0]))
        if name in OURS:
            return self.call(OURS[name], *(self.top(a) for a in e.args))
        raise ValueError(
            f"kernels.runtime has no function {name}; there are {', '.join(sorted(UNARY | OURS.keys()))}"
        )

    def emptyPrinter(self, expr: Any) -> str:
        raise ValueError(f"{expr} ({type(expr).__name__}) has no form as kernel source")


for _name in UNARY:
    setattr(ScalarPrinter, f"_print_{_name}", ScalarPrinter._print_Function)
for _name in OURS:
    setattr(ScalarPrinter, f"_print_{_name}", ScalarPrinter._print_Function)

__all__ = ["IntegerPrinter", "Parameter", "ScalarPrinter", "Size"]
