"""The checks of one operator as a pytest test, for generated test modules:

test_conv1d = suite(OPERATOR, DEFINITION)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from derive.errors import VerificationError
from derive.language import Operator
from derive.verify.checks import CHECKS, QUICK
from derive.verify.counterexample import explained

if TYPE_CHECKING:
    from kernels.runtime import Definition


FEWER = {"every_way": 3}  # cases of a check that makes many runs in each
BRIEF = 2  # cases of a check in every run of the tests, where the thorough ones are slow


def suite(
    operator: Operator,
    definition: Definition,
    *,
    cases: int = 5,
    checks: Iterable[str] = tuple(CHECKS),
    core: bool = True,
) -> Callable[..., Any]:
    """A test, once for each check. Hypothesis draws the same configurations always, and shrinks a failure.

    An operator that is not `core`, one of many, has its checks marked slow; those that compile nothing and make few
    runs are made at two configurations beside that, but for `adjoint`: gradients and tangents that are exactly those
    of the equations are adjoint.
    """
    checks = list(checks)
    rounds = [pytest.param(c, cases, id=c, marks=() if core else pytest.mark.slow) for c in checks]
    if not core:
        rounds += [pytest.param(c, BRIEF, id=f"{c}-brief") for c in checks if c in QUICK and c != "adjoint"]

    @pytest.mark.parametrize(("check", "rounds"), rounds)
    def test(check: str, rounds: int) -> None:
        @settings(
            max_examples=min(rounds, FEWER.get(check, rounds)),
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(random=st.randoms(use_true_random=False))
        def holds(random: Random) -> None:
            CHECKS[check](operator, definition, random)

        try:
            holds()
        except VerificationError as error:  # the smallest that Hypothesis came to
            raise explained(error) from None

    made: Callable[..., Any] = test
    return made
