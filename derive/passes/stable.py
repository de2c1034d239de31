"""logsumexp in a form that neither overflows nor loses a maximum, for evaluation by loops:

    m = max f,   t = sum exp(f - m'),   y = log(t) + m'      with m' = m where m is finite, else 0

m' keeps an all -inf window at log(0) = -inf and a +inf at +inf. Applied after differentiation, never before:
the derivative's weight is exp(f - y).
"""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from derive.language import finite
from derive.program import Access, Equation, Program, Relation, Tensor, fresh_name


def stable(program: Program) -> Program:
    taken, made, local = set(program.tensors), list[Equation](), list[Tensor]()
    for eq in program.equations:
        if eq.reduce != "logsumexp":
            made.append(eq)
            continue
        shape = program.tensors[eq.target.tensor].shape
        names = [fresh_name(f"{eq.target.tensor}_{part}", taken) for part in ("max", "sum")]
        m, t = (Access(n, *eq.free) for n in names)
        local += [Tensor(n, shape) for n in names]
        plane = Relation(tuple(r for r in eq.relation.ranges if r.index in eq.free))
        made += [
            replace(eq, target=m, reduce="max"),
            replace(eq, target=t, reduce="sum", body=sp.exp(eq.body - finite(m), evaluate=False)),
            Equation(eq.target, plane, sp.log(t) + finite(m)),
        ]
    return replace(program, equations=tuple(made), locals=(*program.locals, *local))
