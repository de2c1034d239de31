"""Equations, operators and programs as LaTeX."""

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy.printing.latex import LatexPrinter

from derive.language import Operator, Reduce
from derive.program import Equation, Program

SIGNS = {
    "sum": r"\sum",
    "max": r"\max",
    "min": r"\min",
    "prod": r"\prod",
    "logsumexp": r"\operatorname{logsumexp}",
    "argmax": r"\operatorname{argmax}",
    "argmin": r"\operatorname{argmin}",
}


class _Latex(LatexPrinter):
    def _print_Access(self, e: Any) -> str:
        name = e.tensor.replace("_", r"\_")
        name = name if len(name) == 1 else rf"\mathit{{{name}}}"
        return f"{name}_{{{','.join(map(self._print, e.indices))}}}" if e.indices else name

    _print_IntegerAccess = _print_Access

    def _print_Read(self, e: Any) -> str:
        name = e.tensor.name.replace("_", r"\_")
        name = name if len(name) == 1 else rf"\mathit{{{name}}}"
        return f"{name}_{{{','.join(map(self._print, e.at))}}}" if e.at else name

    _print_IntegerRead = _print_Read

    def _print_Reduce(self, e: Any) -> str:
        where = rf" \;\big|\; {', '.join(map(self._print, e.where))}" if e.where else ""
        over = ",".join(map(self._print, e.bound))
        return rf"{SIGNS[e.kind]}_{{{over}}} \left({self._print(e.body)}{where}\right)"

    _print_IntegerReduce = _print_Reduce

    def _print_chosen(self, e: Any, exp: Any = None) -> str:
        return rf"\left[{self._print(e.args[0])}\right] {self._print(e.args[1])}"

    def _print_indicator(self, e: Any, exp: Any = None) -> str:
        return rf"\left[{self._print(e.args[0])}\right]"


def latex(e: sp.Basic) -> str:
    return str(_Latex().doprint(e))


def equation_latex(eq: Equation) -> str:
    where = [f"{latex(z.expr)} = 0" for z in eq.relation.zero] + [
        rf"{latex(z.expr)} \ge 0" for z in eq.relation.nonneg
    ]
    over = rf"{SIGNS[eq.reduce]}_{{{','.join(map(latex, eq.bound))}}} " if eq.bound else ""
    tail = r" \qquad \{\, " + r",\ ".join(where) + r" \,\}" if where else ""
    return rf"{latex(eq.target)} \mathrel{{+}}= {over}{latex(eq.body)}{tail}"


def program_latex(program: Program) -> str:
    return r" \\ ".join(equation_latex(eq) for eq in program.equations)


def operator_latex(operator: Operator) -> str:
    lines = [rf"{latex(s.target)} &\mathrel{{+}}= {latex(s.body)}" for s in operator.statements]
    return r"$$\begin{aligned}" + r" \\ ".join(lines) + r"\end{aligned}$$"


__all__ = ["Reduce", "equation_latex", "latex", "operator_latex", "program_latex"]
