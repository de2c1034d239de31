"""A pytest plugin: `check_gradients` as a fixture, seeded by the name of the test that asks for it.

    def test_my_gradient(check_gradients):
        check_gradients(my_function, my_vjp, x, w)

It is loaded by pytest wherever the package is installed, and imports nothing before a test asks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest


@pytest.fixture
def check_gradients(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`kernels.testing.check_gradients` with a seed of the test's own."""
    from kernels import testing

    return partial(testing.check_gradients, seed=testing.seed_of(request.node.nodeid))
