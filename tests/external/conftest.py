"""What the suites came to, kept with each test's report: the summary adds it up (tests/conftest.py)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.tally import Tally


@pytest.fixture
def count(request: pytest.FixtureRequest) -> Callable[[Tally], None]:
    """count(tally): it is in the table at the end of the run, whichever worker ran it."""

    def keep(tally: Tally) -> None:
        request.node.user_properties.append(("tally", tally.as_dict()))

    return keep
