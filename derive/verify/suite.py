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

from derive.language import Operator
from derive.verify.checks import CHECKS

if TYPE_CHECKING:
    from kernels.runtime import Definition


FEWER = {"every_way": 3}  # cases of a check that makes many runs in each


def suite(
    operator: Operator,
    definition: Definition,
    *,
    cases: int = 5,
    checks: Iterable[str] = tuple(CHECKS),
    slow: Iterable[str] = (),
) -> Callable[..., Any]:
    """A test, once for each check. Hypothesis draws the same configurations always, and shrinks a failure.

    Checks in `slow` have pytest's mark of that name.
    """
    late = frozenset(slow)
    marked = [pytest.param(c, marks=(pytest.mark.slow,) if c in late else ()) for c in checks]

    @pytest.mark.parametrize("check", marked)
    def test(check: str) -> None:
        @settings(
            max_examples=min(cases, FEWER.get(check, cases)),
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(random=st.randoms(use_true_random=False))
        def holds(random: Random) -> None:
            CHECKS[check](operator, definition, random)

        holds()

    made: Callable[..., Any] = test
    return made
