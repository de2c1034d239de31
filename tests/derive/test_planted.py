"""Errors planted in emitted source and in the derivation: every one is caught, and the table says by what.

Planted source runs as plain Python alone, where every access is checked; compiled, a wrong index would go unseen or
crash. `pytest -s` prints the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from derive import pipeline
from derive.catalogue import operators
from derive.emit.module import module_source
from derive.language import Max, Operator, Prod, Sum, Tensor, indices, parameters, tensors
from derive.lower import solve
from derive.lower.loops import FloorDiv
from derive.passes import differentiate
from derive.passes.canonical import Canonical
from derive.pipeline import derive
from derive.program import Access, Equation, Program
from derive.spec import load_definition
from derive.verify import verify
from kernels.runtime.definition import Definition

CHECKS = ("shape_law", "exact_forward", "exact_vjp", "exact_jvp", "exact_vjp_vjp", "exact_vjp_jvp", "adjoint", "linearity")
CASES = 8

n, c, p, k, i, j = indices("n c p k i j")
x, w, y, z = tensors("x w y z")
s, d = parameters("s d")
a = parameters("a", positive=False)
x_padded = Tensor("x", [(a, a)])
CATALOGUE = {o.name: o for o in operators()}
DEPTHWISE = Operator("depthwise", y[n, c, p] << Sum[k](x_padded[n, c, s * p + d * k - a] * w[c, k]), inputs=(x_padded, w))
POOL = Operator("pool", y[n, p] << Max[k](x_padded[n, s * p + d * k - a]), inputs=(x_padded,), given=(k,))
ACCUMULATED = Operator("accumulated", y[i] << Sum[j](x[i, j] * w[j]) + z[i] * z[i], inputs=(x, w, z))
SCALED = Operator("scaled", y[i] << Sum[j](x[i, s * j + d * i - a] * w[j]), inputs=(x, w), given=(i,))
PRODUCT = Operator("product", y[n] << Prod[k](x[n, k]), inputs=(x,))
SOFTMAX = CATALOGUE["log_softmax"]


def in_function(source: str, name: str, old: str, new: str) -> str:
    """The source with `old` replaced once, in one function."""
    start = source.index(f"def {name}(")
    end = re.compile(r"\n\n\n").search(source, start)
    stop = end.start() if end else len(source)
    body = source[start:stop]
    assert old in body, f"{name} has no {old!r}:\n{body}"
    return source[:start] + body.replace(old, new, 1) + source[stop:]


@dataclass(frozen=True)
class Edit:
    """An edit of the text of one function; `old` is what the emitter writes there."""

    what: str
    operator: Operator
    function: str
    old: str
    new: str

    def source(self) -> str:
        return in_function(sound(self.operator), self.function, self.old, self.new)

    def __str__(self) -> str:
        return f"source: {self.what}"


@cache
def sound(operator: Operator) -> str:
    return module_source(derive(operator))


EDITS = [
    Edit("wrong sign", DEPTHWISE, "gx_from_gy_w", "total += gy[", "total -= gy["),
    Edit("wrong sign in the forward", DEPTHWISE, "y_from_w_x", "total += w[", "total -= w["),
    Edit("padding shifted by one", DEPTHWISE, "y_from_w_x", "x2 = d*k + p*s - a", "x2 = d*k + p*s - a + 1"),
    Edit("padding shifted by one, in the gradient", POOL, "gx_from_gy_y_at", "- a", "- a - 1"),
    Edit("dropped residue phase", DEPTHWISE, "gx_from_gy_w", "if step_p > 0:", "if step_p > 0 and (x2 + a) % s == 0:"),
    Edit("residue phase of the wrong class", DEPTHWISE, "gx_from_gy_w", "residue(d, s, ", "residue(d, s, 1 + "),
    Edit("dropped class of a strided contraction", CATALOGUE["conv1d"], "gx_from_gy_w", "classes = s0", "classes = max(1, s0 - 1)"),
    Edit("flipped tap in a panel", CATALOGUE["conv1d"], "y_from_w_x", "panels[at] = w[g, o, c, k0]", "panels[at] = w[g, o, c, K0 - 1 - k0]"),
    Edit("swapped index", ACCUMULATED, "y_from_w_x", "x[i, j]", "x[j, i]"),
    Edit("< for <= in a bound", DEPTHWISE, "y_from_w_x", " // d) + 1)", " // d))"),
    Edit("< for <= in a guard", POOL, "gx_from_gy_y_at", "0 <= k <", "0 < k <"),
    Edit("missing add", ACCUMULATED, "y_from_z", "if add != 0:", "if add < 0:"),
    Edit("wrong tie", POOL, "y_at_from_x", "value > best", "value >= best"),
    Edit("maximum that starts at zero", POOL, "y_from_x", "best = lowest()", "best = zero()"),
    Edit("one window too many", POOL, "sizes", "+ 1", "+ 2"),
    Edit("overlapping tasks", ACCUMULATED, "y_from_z", "range(first, last)", "range(first, min(I, last + 1))"),
]  # fmt: skip


# ---- in the derivation ----------------------------------------------------------------------------

Patch = Callable[[pytest.MonkeyPatch], None]


def negated_partial(m: pytest.MonkeyPatch) -> None:
    partial = differentiate.partial
    m.setattr(differentiate, "partial", lambda body, access: -partial(body, access))


def doubled_rule(m: pytest.MonkeyPatch) -> None:
    rule = differentiate.RULES["logsumexp"]

    def doubled(eq: Equation, fresh: Any) -> Any:
        made, linear, weight = rule(eq, fresh)
        return made, linear, 2 * weight

    m.setitem(differentiate.RULES, "logsumexp", doubled)


def last_of_ties(m: pytest.MonkeyPatch) -> None:
    rule = differentiate.RULES["max"]
    m.setitem(differentiate.RULES, "max", lambda eq, fresh: rule(replace(eq, ties="last"), fresh))


def dropped_equation(m: pytest.MonkeyPatch) -> None:
    simplify = pipeline.simplify

    def lossy(program: Program) -> Program:
        made = simplify(program)
        targets = [eq.target.tensor for eq in made.equations]
        again = [k for k, t in enumerate(targets) if targets.count(t) > 1]
        return replace(made, equations=tuple(eq for k, eq in enumerate(made.equations) if k != max(again, default=-1)))

    m.setattr(pipeline, "simplify", lossy)


def exchanged_integers(m: pytest.MonkeyPatch) -> None:
    """A recognised equation gets its first two integers the other way round."""
    canonical = pipeline.canonical
    seen: set[str] = set()

    def exchanging(shape: Any) -> Canonical:
        made = canonical(shape)
        if made.text in seen and len(made.integers) > 1:
            first, second, *rest = made.integers
            return replace(made, integers=(second, first, *rest))
        seen.add(made.text)
        return made

    m.setattr(pipeline, "canonical", exchanging)


def floor_for_ceil(m: pytest.MonkeyPatch) -> None:
    m.setattr(solve, "CeilDiv", FloorDiv)


def weight_left_out(m: pytest.MonkeyPatch) -> None:
    rule = differentiate.RULES["prod"]

    def half(eq: Equation, fresh: Any) -> Any:
        made, linear, weight = rule(eq, fresh)
        return made, linear, next(iter(weight.atoms(Access)), weight)

    m.setitem(differentiate.RULES, "prod", half)


def free_tail(m: pytest.MonkeyPatch) -> None:
    """The solver loops over one element less."""
    loop = solve.Loop
    m.setattr(solve, "Loop", lambda index, low, high: loop(index, low, (*high, high[0] - 1)))


PLANTS: dict[str, tuple[Operator, Patch]] = {
    "wrong sign in partial": (DEPTHWISE, negated_partial),
    "a rule off by a factor of 2": (SOFTMAX, doubled_rule),
    "a product's weight without one side": (PRODUCT, weight_left_out),
    "argmax takes the last of ties": (POOL, last_of_ties),
    "simplify drops an equation": (ACCUMULATED, dropped_equation),
    "canonical exchanges two integers": (DEPTHWISE, exchanged_integers),
    "the solver rounds down for up": (DEPTHWISE, floor_for_ceil),
    "the solver's loops end early": (ACCUMULATED, free_tail),
}


# ---- the tests -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, list[str]]]:
    found: dict[str, list[str]] = {}
    yield found
    width = max(map(len, found), default=0)
    print("\n\n" + "\n".join(f"{what:{width}}  {', '.join(caught)}" for what, caught in found.items()))


def objections(operator: Operator, source: str, folder: Path) -> list[str]:
    """The checks that object."""
    path = folder / f"{operator.name}.py"
    path.write_text(source, encoding="utf-8")
    definition: Definition = load_definition(path)
    return [check for check in CHECKS if verify(operator, definition, check, CASES).failure]


@pytest.mark.parametrize("operator", [DEPTHWISE, POOL, ACCUMULATED, PRODUCT], ids=lambda o: o.name)
def test_nothing_planted_nothing_caught(operator: Operator, tmp_path: Path) -> None:
    assert objections(operator, sound(operator), tmp_path) == []


@pytest.mark.parametrize("edit", EDITS, ids=str)
def test_in_the_source(edit: Edit, tmp_path: Path, table: dict[str, list[str]]) -> None:
    found = table[str(edit)] = objections(edit.operator, edit.source(), tmp_path)
    assert found, f"nothing caught: {edit}"


@pytest.mark.parametrize("what", PLANTS)
def test_in_the_derivation(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: dict[str, list[str]]) -> None:
    operator, plant = PLANTS[what]
    good = sound(operator)
    plant(monkeypatch)
    bad = module_source(derive(operator))
    assert bad != good
    found = table[f"derivation: {what}"] = objections(operator, bad, tmp_path)
    assert found, f"nothing caught: {what}"
