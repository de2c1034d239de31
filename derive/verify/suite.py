"""The checks of one operator as a pytest test, for generated test modules:

test_conv1d = suite(OPERATOR, DEFINITION)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from derive.errors import VerificationError
from derive.language import Operator
from derive.verify.checks import CHECKS, QUICK, rounds
from derive.verify.counterexample import explained

if TYPE_CHECKING:
    from kernels.runtime import Definition


# checks that are made in every run of the tests, where the thorough ones are slow. Gradients and tangents that are exactly
# those of the equations are adjoint.
BRIEF = {check: 2 for check in QUICK if check != "adjoint"}


def suite(
    operator: Operator,
    definition: Definition,
    *,
    cases: int = 5,
    checks: Iterable[str] = tuple(CHECKS),
    core: bool = True,
) -> Callable[..., Any]:
    """A test, once for each check. Hypothesis draws the same configurations always, and shrinks a failure.

    An operator that is not `core`, one of many, has its checks marked slow; those of `BRIEF` are made beside that.
    """
    checks = list(checks)
    made_of = [pytest.param(c, cases, id=c, marks=() if core else pytest.mark.slow) for c in checks]
    if not core:
        made_of += [pytest.param(c, BRIEF[c], id=f"{c}-brief") for c in checks if c in BRIEF]

    @pytest.mark.parametrize(("check", "cases"), made_of)
    def test(check: str, cases: int) -> None:
        try:
            hold(check, operator, definition, cases)
        except VerificationError as error:  # the smallest that Hypothesis came to
            raise explained(error) from None

    made: Callable[..., Any] = test
    return made


def hold(check: str, operator: Operator, definition: Definition, cases: int, *, shrink: bool = True) -> None:
    """Make a check at the configurations that its test draws; without `shrink` the first failure is raised as it is."""

    @settings(
        max_examples=rounds(check, cases),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=tuple(Phase) if shrink else (Phase.generate,),
    )
    @given(random=st.randoms(use_true_random=False))
    def holds(random: Random) -> None:
        CHECKS[check](operator, definition, random)

    holds()
