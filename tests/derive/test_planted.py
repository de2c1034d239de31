"""Planted errors, in emitted source and in the derivation: some check has to object to each.

`pytest -s` prints which check caught which.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sympy as sp

from derive.catalogue import operators
from derive.emit.module import module_source
from derive.errors import VerificationError
from derive.language import Operator
from derive.lower import solve
from derive.passes import differentiate
from derive.pipeline import derive
from derive.spec import load_definition
from derive.verify import CHECKS
from kernels.runtime.definition import Definition

ORDER = ("exact_forward", "exact_vjp", "exact_jvp", "exact_vjp_vjp", "exact_vjp_jvp", "adjoint")
TRIES = 3  # seeds of these checks; what they do not meet, every way of the module does
MOST = 8  # seeds of all


def operator(name: str) -> Operator:
    return next(o for o in operators() if o.name == name)


@cache
def source(name: str) -> str:
    return module_source(derive(operator(name)))


def objections(op: Operator, definition: Definition) -> list[str]:
    """The checks that object at the first seed at which any does."""
    for seed in range(MOST):
        found = []
        for name in ORDER if seed < TRIES else ("every_way",):
            try:
                CHECKS[name](op, definition, random.Random(seed))
            except VerificationError:
                found.append(name)
        if found:
            return found
    return []


def written(text: str, folder: Path, name: str) -> Definition:
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return load_definition(path)


SOURCE = {
    "wrong sign of the products": ("conv1d", "one(),", "-one(),"),
    "padding shifted by one": ("conv1d", "low_x3, span_x3, X3)", "low_x3 + 1, span_x3, X3)"),
    "residue class dropped": ("conv1d", "class_x3 = phase\n", "class_x3 = max(0, phase - 1)\n"),
    "taps reversed": ("conv1d", "c * x_stride_c + k0 * x_by_k0", "c * x_stride_c + (K0 - 1 - k0) * x_by_k0"),
    "plain gather one tap short": ("max_pool1d", "min(K0, ((-p0*s0 + a0 + X2 - 1) // d0) + 1)", "min(K0, ((-p0*s0 + a0 + X2 - 1) // d0))"),
    "last of ties instead of first": ("max_pool1d", "(value > best)", "(value >= best)"),
    "a line's last vector one early": ("conv2d", "last_at = end - lanes.width if", "last_at = end - lanes.width - 1 if"),
    "a term not added": ("linear", "if add != 0:", "if add == 7:"),
    "not initialised": ("avg_pool1d", "total = zero()", "total = one()"),
    "wrong stride": ("avg_pool1d", "p0*s0 - a0", "p0 - a0"),
    "a shared tap reads the line before": ("conv2d", "x_lines[0, u + more]", "x_lines[0, u]"),
    "a tap in the next phase of the stride": ("conv1d", "(plane + tap_k0 * d0 % s0)", "(plane + (tap_k0 * d0 + 1) % s0)"),
    "one class of places twice": ("conv2d", "other, rows, min(X4, end * 2) - x4)", "total, rows, min(X4, end * 2) - x4)"),
    "rows of a patch of weights as near as columns": ("conv2d", "w.stride(3), w.stride(4),", "w.stride(4), w.stride(4),"),
    "a patch of sums one row short": ("conv2d", "found[below * tile.taps + beside]", "found[max(0, below - 1) * tile.taps + beside]"),
    "a class of windows one tap off": ("conv2d", "by_k1 = step_k1 * d1 // s1", "by_k1 = step_k1 * d1 // s1 + 1"),
    "a window's line begins one late": ("max_pool1d", "begin = max(0, origin)", "begin = max(0, origin + 1)"),
    "the first of two lines twice": ("avg_pool2d", "second_x2 = found[1]", "second_x2 = found[0]"),
    "the later of equal places": ("max_pool2d", "sooner = value_at < best_at", "sooner = value_at > best_at"),
    "pairs of elements one too far": ("avg_pool1d", "offset += distance", "offset += 2 * distance"),
    "a short row writes over the last": ("max_pool2d", "left >= lanes.width", "left >= 1"),
    "elements apart one off": ("avg_pool1d", "to + at * s0", "to + at * s0 + 1"),
    "a count one short": ("avg_pool1d", "min(K0, -p0*s0 + a0 + X2)", "min(K0, -p0*s0 + a0 + X2 - 1)"),
}  # fmt: skip


@pytest.mark.parametrize("fault", SOURCE)
def test_fault_in_emitted_source(fault: str, tmp_path: Path) -> None:
    name, old, new = SOURCE[fault]
    text = source(name)
    text = (
        text.replace("    zero,\n", "    one,\n    zero,\n")
        if "one()" in new and "    one,\n" not in text
        else text
    )
    if old not in text:  # SymPy orders the terms of a sum by name
        old, new = (s.replace("s0*p0 - a0", "p0*s0 - a0") for s in (old, new))
    assert old in text, "the text to plant in has changed"
    caught = objections(operator(name), written(text.replace(old, new), tmp_path, name))
    print(f"\n{fault:32} {name:12} {', '.join(caught)}")
    assert caught


def scaled_rule(kind: str, by: Any) -> Callable[[pytest.MonkeyPatch], None]:
    rule = differentiate.RULES[kind]

    def wrong(eq: Any, fresh: Any) -> Any:
        made, linear, weight = rule(eq, fresh)
        return made, linear, by * weight

    return lambda patch: patch.setitem(differentiate.RULES, kind, wrong)


def partial_negated(patch: pytest.MonkeyPatch) -> None:
    right = differentiate.partial
    patch.setattr(differentiate, "partial", lambda body, access: -right(body, access))


def ceil_is_floor(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(solve, "_ceil", solve._floor)


def last_tie(patch: pytest.MonkeyPatch) -> None:
    right = differentiate.d_extremum

    def wrong(eq: Any, fresh: Any) -> Any:
        from dataclasses import replace

        return right(replace(eq, ties="last"), fresh)

    patch.setitem(differentiate.RULES, "max", wrong)


def relation_shifted(patch: pytest.MonkeyPatch) -> None:
    """Reverse mode over a relation that is off by one."""
    from dataclasses import replace

    right = differentiate.d_sum

    def wrong(eq: Any, fresh: Any) -> Any:
        zero = tuple(z.shifted(1) for z in eq.relation.zero)
        return right(replace(eq, relation=replace(eq.relation, zero=zero)), fresh)

    patch.setitem(differentiate.RULES, "sum", wrong)


DERIVATION: dict[str, tuple[str, Callable[[pytest.MonkeyPatch], None]]] = {
    "partial derivative negated": ("conv1d", partial_negated),
    "rule of sum off by a factor 2": ("conv1d", scaled_rule("sum", sp.Integer(2))),
    "rule of max off by a factor 2": ("max_pool1d", scaled_rule("max", sp.Integer(2))),
    "rule of logsumexp off by 1/2": ("log_sum_exp_pool2d", scaled_rule("logsumexp", sp.Rational(1, 2))),
    "gradient to the last of ties": ("max_pool1d", last_tie),
    "relation shifted by one": ("conv1d", relation_shifted),
    "solver rounds a bound down": ("max_pool2d", ceil_is_floor),
}


@pytest.mark.parametrize("fault", DERIVATION)
def test_fault_in_the_derivation(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, plant = DERIVATION[fault]
    plant(monkeypatch)
    text = module_source(derive(operator(name)))
    monkeypatch.undo()
    caught = objections(operator(name), written(text, tmp_path, name))
    print(f"\n{fault:32} {name:12} {', '.join(caught)}")
    assert caught


@pytest.mark.parametrize(
    "name", ["avg_pool1d", *(pytest.param(n, marks=pytest.mark.slow) for n in ("conv1d", "max_pool1d"))]
)
def test_nothing_planted_nothing_caught(name: str, tmp_path: Path) -> None:
    assert objections(operator(name), written(source(name), tmp_path, name)) == []
