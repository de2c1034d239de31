"""Functions of every scale with gradients that are right, and with planted faults, to hold `check_gradients` against.

    python -m tests.support.gradients 0 100000        # from which seed to which: what was objected to, missed, unclear

A case is a composition outer(inner(x) @ weight) of scalar functions, some of which have kinks, or oscillate faster than
any step of a difference: an alarm over its own gradient is false, and a planted fault that passes as clear is a miss.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.testing import GradientError, InconclusiveError, check_gradients

Array = Any
Scalar = tuple[Callable[[Array], Array], Callable[[Array], Array]]  # a function and its derivative

SCALARS: tuple[Scalar, ...] = (
    (np.sin, np.cos),
    (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    (lambda x: x**3, lambda x: 3 * x**2),
    (lambda x: 1 / (2 + x**2), lambda x: -2 * x / (2 + x**2) ** 2),
    (np.abs, np.sign),
    (lambda x: np.maximum(x, 0.3), lambda x: 1.0 * (x > 0.3)),
    (lambda x: np.sqrt(1 + x * x), lambda x: x / np.sqrt(1 + x * x)),
    (lambda x: np.sin(20 * x), lambda x: 20 * np.cos(20 * x)),
    (lambda x: 1e3 * x + 1, lambda x: 1e3 + 0 * x),
    (lambda x: np.exp(-x * x), lambda x: -2 * x * np.exp(-x * x)),
    (lambda x: np.logaddexp(0, x), lambda x: np.exp(-np.logaddexp(0, -x))),
    (lambda x: 1e-4 * x**2, lambda x: 2e-4 * x),
)


def oscillating(frequency: float) -> Scalar:
    """Faster than a step is short, if the frequency is large."""
    return lambda x: np.sin(frequency * x), lambda x: frequency * np.cos(frequency * x)


FAULTS: tuple[Callable[[Array, Array], Array], ...] = (
    lambda one, x: one * (1 + 1e-4),
    lambda one, x: one * (1 - 1e-4),
    lambda one, x: -one,
    lambda one, x: 0 * one,
    lambda one, x: 2 * one,
)


@dataclass(frozen=True)
class Case:
    """A function, its pullback, where it is looked at, and a fault of the largest element of its gradient."""

    seed: int
    outer: Scalar
    inner: Scalar
    weight: Array
    x: Array
    fault: Callable[[Array, Array], Array]
    directions: int

    def function(self, x: Array) -> Array:
        return self.outer[0](self.inner[0](x) @ self.weight)

    def vjp(self, x: Array, faulty: bool = False) -> tuple[Array, Callable[[Array], Array]]:
        z = self.inner[0](x) @ self.weight

        def pullback(cotangent: Array) -> Array:
            made = ((cotangent * self.outer[1](z)) @ self.weight.T) * self.inner[1](x)
            if faulty:
                at = np.unravel_index(np.abs(made).argmax(), made.shape)
                made[at] = self.fault(made[at], x[at])
            return made

        return self.outer[0](z), pullback

    @property
    def steep(self) -> bool:
        """Whether the gradient is not so small that a fault in it is one of rounding."""
        slopes = self.vjp(self.x)[1](np.ones((len(self.x), self.weight.shape[1])))
        return bool(np.abs(slopes).max() > 1e-3)


def drawn(seed: int) -> Case:
    """The case of a seed: one in four has a function that oscillates 10 to 10^8 times as fast as its argument moves."""
    rng = np.random.default_rng(seed)
    outer, inner = (SCALARS[k] for k in rng.integers(len(SCALARS), size=2))
    if rng.random() < 0.25:
        fast = oscillating(10.0 ** rng.uniform(1, 8))
        outer, inner = (fast, inner) if rng.random() < 0.5 else (outer, fast)
    weight = rng.standard_normal(rng.integers(1, 4, 2))
    x = 10.0 ** rng.uniform(-2, 1) * rng.standard_normal((rng.integers(1, 4), weight.shape[0]))
    fault = FAULTS[rng.integers(len(FAULTS))]
    return Case(seed, outer, inner, weight, x, fault, int(rng.choice((1, 1, 1, 3))))


def verdict(case: Case, faulty: bool) -> tuple[str, str]:
    """alarm, passed, unclear (passes, and says that differences do not tell) or inconclusive; and the message."""
    try:
        report = check_gradients(
            case.function, lambda x: case.vjp(x, faulty), case.x, seed=case.seed, directions=case.directions
        )
    except InconclusiveError as error:
        return "inconclusive", str(error)
    except GradientError as error:
        return "alarm", str(error)
    return ("unclear" if report.unclear else "passed"), str(report)


def judged(case: Case) -> list[str]:
    """What became of the case, for a count: `false alarm` and `miss` are what must not be."""
    right, _ = verdict(case, False)
    found = ["false alarm" if right == "alarm" else f"right: {right}"]
    if case.steep:
        wrong, _ = verdict(case, True)
        found.append({"passed": "miss", "alarm": "fault: told"}.get(wrong, f"fault: {wrong}"))
    return found


def main(first: int, last: int) -> int:
    counts: Counter[str] = Counter()
    for seed in range(first, last):
        found = judged(drawn(seed))
        counts.update(found)
        for bad in {"false alarm", "miss"}.intersection(found):
            print(f"{bad} at seed {seed}: {verdict(drawn(seed), bad == 'miss')[1]}", flush=True)
    print(f"{last - first} cases: " + ", ".join(f"{n} {what}" for what, n in sorted(counts.items())))
    return 1 if counts["false alarm"] or counts["miss"] else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
