"""An operator through the whole line, and its emitted source against the reference.

    module, definition = through(operator, folder)           derive -> source -> file -> loaded
    Trial(operator, definition, case).check("vjp_vjp", rng)  emitted source, executed exactly, = dual numbers

The reference (derive.reference) reads the equations as written; nothing here looks at a derived program.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
from sympy.codegen.cfunctions import expm1, log1p

from derive import reference
from derive.emit.module import module_source
from derive.language import Operator, Reduce
from derive.numbers import RATIONALS, Decimals, primal
from derive.pipeline import Derivation, derive
from derive.reference import (
    Case,
    reference_jvp,
    reference_vjp,
    reference_vjp_jvp,
    reference_vjp_vjp,
)
from derive.spec import load_definition
from kernels.runtime.definition import Definition
from kernels.runtime.execute import execute, execute_exact
from kernels.runtime.simd import BadAccess

PROGRAMS = ("forward", "vjp", "jvp", "vjp_vjp", "vjp_jvp")
FIRST, SECOND = PROGRAMS[:3], PROGRAMS[3:]
DIGITS = Decimals(60)
AGREE = 40  # digits


class Disagreement(AssertionError):
    """Emitted source and reference give different values."""


class Undefined(Exception):
    """The equations have no finite value here: an empty maximum, a division by zero."""


def through(operator: Operator, folder: Path) -> tuple[Derivation, Definition]:
    """Every stage, with the module written to a file and loaded from it."""
    made = derive(operator)
    path = folder / f"{operator.name}.py"
    path.write_text(module_source(made), encoding="utf-8")
    return made, load_definition(path)


def environment(
    definition: Definition, inputs: Mapping[str, Any], integers: Mapping[str, int]
) -> dict[str, int]:
    """Every integer that a run needs, conditions checked."""
    sizes = dict(integers)
    for tensor in definition.tensors:
        array = inputs.get(tensor.name)
        if array is None:
            continue
        for name, size in zip(tensor.shape, np.shape(array), strict=True):
            if isinstance(name, str):
                assert sizes.setdefault(name, size) == size, (
                    f"{tensor.name}: {name} is {sizes[name]} and {size}"
                )
    wanted = definition.sizes.__code__.co_varnames[: definition.sizes.__code__.co_argcount]
    missing = [n for n in wanted if n not in sizes]
    assert not missing, f"{definition.name}: {missing} unknown"
    sizes |= definition.sizes(**{n: sizes[n] for n in wanted})
    for c in definition.conditions:
        left, right = (sizes[e] if isinstance(e, str) else e for e in (c.left, c.right))
        if left < right:
            raise Undefined(f"{left} < {right}: {c.reason}")
    return sizes


def fractions(rng: random.Random, shape: tuple[int, ...], style: str = "general") -> np.ndarray:
    """Small fractions: with ties, or general ones that hardly tie, or positive ones."""
    made = np.empty(shape, object)
    for at in np.ndindex(shape):
        made[at] = {
            "ties": lambda: Fraction(rng.randint(-2, 2)),
            "general": lambda: Fraction(rng.randint(-99, 99), rng.randint(1, 9)) / 16,
            "positive": lambda: Fraction(rng.randint(1, 60), rng.randint(20, 40)),
        }[style]()
    return made


@contextmanager
def _no_extremum_of_nothing() -> Iterator[None]:
    """A maximum over nothing has no value; a formula around it may hide that in the result, not in a gradient."""
    right = reference._Evaluation.extremum

    def extremum(self: Any, values: list[Any], kind: str, ties: str) -> Any:
        if not values:
            raise Undefined(f"a {kind} over nothing")
        return right(self, values, kind, ties)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference._Evaluation, "extremum", extremum)
        yield


@dataclass
class Trial:
    """One operator at one set of arrays."""

    definition: Definition
    case: Case
    seed: int = 0

    def __post_init__(self) -> None:
        self.sizes = environment(self.definition, self.case.inputs, self.case.integers)
        with _no_extremum_of_nothing():
            try:
                self.values = self.case.run()  # of the reference
            except ZeroDivisionError as error:  # a mean of no points
                raise Undefined(str(error)) from error
        for name, v in self.values.items():
            if self.case.field is not RATIONALS and v.dtype == object:
                bad = [u for u in v.flat if not self.case.field.context.isfinite(primal(u))]
            else:
                bad = [u for u in v.flat if isinstance(u, float)]
            if bad:
                raise Undefined(f"{name} is {bad[0]} somewhere")

    # --- what goes in

    def draw(self, names: list[str], prefix: str) -> dict[str, np.ndarray]:
        """Arrays like the inputs and outputs named, by prefixed name."""
        rng = random.Random(f"{self.seed} {prefix}")
        shapes = {
            **{n: np.shape(v) for n, v in self.case.inputs.items()},
            **{n: v.shape for n, v in self.values.items()},
        }
        return {prefix + n: self.case.array(fractions(rng, shapes[n])) for n in names}

    def problem(self, program: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Inputs of a program, and what the reference says it gives."""
        case, wrt, outs = self.case, self.case.wrt(), self.case.real_outputs()
        strip = lambda table, k: {n[k:]: v for n, v in table.items()}
        named = lambda prefix, table: {prefix + n: v for n, v in table.items()}
        g, t, h, bent = (
            self.draw(names, p) for names, p in ((outs, "g"), (wrt, "t"), (wrt, "hg"), (outs, "tg"))
        )
        inputs = {n: case.array(v) if n in wrt else v for n, v in case.inputs.items()}
        if program == "forward":
            return inputs, {t.name: self.values[t.name] for t in case.operator.outputs}
        if program == "vjp":
            return inputs | g, named("g", reference_vjp(case, strip(g, 1)))
        if program == "jvp":
            return inputs | t, named("t", reference_jvp(case, strip(t, 1)))
        if program == "vjp_vjp":
            by_input, by_cotangent = reference_vjp_vjp(case, strip(g, 1), strip(h, 2))
            return inputs | g | h, named("h", by_input) | named("hg", by_cotangent)
        return inputs | g | t | bent, named(
            "tg", reference_vjp_jvp(case, strip(g, 1), strip(t, 1), strip(bent, 2))
        )

    # --- what comes out

    def run(self, program: str, arrays: Mapping[str, Any], wanted: list[str]) -> dict[str, np.ndarray]:
        number = Fraction if self.case.field is RATIONALS else self.case.field.context.mpf
        reals = {n: number(v.numerator) / number(v.denominator) for n, v in self.case.reals.items()}
        try:
            return execute_exact(
                self.definition, program, arrays, self.sizes, reals, wanted, number, tasks=1 + self.seed % 4,
                seed=self.seed, gaps=bool(self.seed % 2),
            )  # fmt: skip
        except BadAccess as error:  # an intermediate that the equations then multiply with nothing
            if "a Infinity slipped in" in str(error):
                raise Undefined(str(error)) from error
            raise

    def check(self, program: str) -> None:
        arrays, expected = self.problem(program)
        found = self.run(program, arrays, list(expected))
        for name, want in expected.items():
            self.compare(program, name, found[name], want)

    def compare(self, program: str, name: str, found: np.ndarray, want: np.ndarray) -> None:
        if found.shape != want.shape:
            raise Disagreement(f"{program} {name}: shape {found.shape}, reference {want.shape}")
        for at in np.ndindex(want.shape):
            u, v = found[at], primal(want[at])
            same = u == v
            if self.case.field is not RATIONALS and not isinstance(u, (int, np.integer)):
                same = bool(abs(u - v) <= self.case.field.context.mpf(10) ** -AGREE * max(1, abs(v)))
            if not same:
                raise Disagreement(f"{program} {name}{list(at)}: {u}, reference {v} (seed {self.seed})")

    def compiled(self, program: str, dtype: Any = np.float64, tolerance: float = 1e-9) -> None:
        """The compiled path on floats, against the reference on the same numbers."""
        arrays, expected = self.problem(program)
        as_float = {
            n: np.asarray(a, np.int64 if self.definition.tensor(n).integer else dtype)
            for n, a in arrays.items()
        }
        reals = {n: float(v) for n, v in self.case.reals.items()}
        found = execute(self.definition, program, as_float, self.sizes, reals, list(expected), dtype=dtype)
        for name, want in expected.items():
            want = (
                np.vectorize(lambda v: float(primal(v)), otypes=[float])(want)
                if want.size
                else want.astype(float)
            )
            np.testing.assert_allclose(found[name].astype(float), want, rtol=tolerance, atol=tolerance * (1 + np.abs(want).max(initial=0)),
                                       err_msg=f"{program} {name}")  # fmt: skip


TRANSCENDENTAL = (sp.exp, expm1, sp.log, log1p, sp.sin, sp.cos, sp.tan, sp.tanh, sp.sinh, sp.cosh, sp.erf, sp.erfc, sp.asin, sp.acos, sp.atan,
                  sp.asinh, sp.acosh, sp.atanh)  # fmt: skip


def rational(operator: Operator) -> bool:
    """Do all formulas stay within the rational numbers?"""
    for s in operator.statements:
        if s.body.has(*TRANSCENDENTAL) or any(r.kind == "logsumexp" for r in s.body.atoms(Reduce)):
            return False
        if any(not e.exp.is_Integer for e in s.body.atoms(sp.Pow)):
            return False
    return True


def trial(definition: Definition, case: Case, seed: int = 0) -> Trial:
    """A trial over Fractions, or over 60 digits where a function leaves them."""
    return Trial(definition, case if rational(case.operator) else replace(case, field=DIGITS), seed)


__all__ = [
    "FIRST",
    "PROGRAMS",
    "SECOND",
    "Disagreement",
    "Trial",
    "Undefined",
    "environment",
    "fractions",
    "through",
    "trial",
]
