"""Rows that are added where an integer says, compiled: the order of adding, layouts, and what is left over by vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from derive.language import Operator, Tensor, indices, tensors
from kernels.runtime.definition import Definition
from kernels.runtime.execute import exact_tasks, execute
from tests.support.line import through

n, j, v = indices("n j v")
w, y = tensors("w y")
t = Tensor("t", integer=True)
LOOKUP = Operator("lookup", y[n, j] << w[t[n], j], inputs=(w, t))


@pytest.fixture(scope="module")
def lookup(tmp_path_factory: pytest.TempPathFactory) -> Definition:
    return through(LOOKUP, tmp_path_factory.mktemp("lookup"))[1]


def sizes(definition: Definition, shapes: dict[str, int]) -> dict[str, int]:
    wanted = definition.sizes.__code__.co_varnames[: definition.sizes.__code__.co_argcount]
    return shapes | definition.sizes(**{name: shapes[name] for name in wanted})


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
@pytest.mark.parametrize("J", [1, 7, 64, 150, 300])
@pytest.mark.parametrize("layout", ["C", "F"])
def test_bits_are_those_of_the_plain_order(lookup: Definition, dtype: Any, J: int, layout: Any) -> None:
    rng = np.random.default_rng(J)
    N, W0 = 40, 6
    at = rng.integers(0, W0 - 1, N)  # nobody asks for the last
    gy = (rng.normal(size=(N, J)) * 10.0 ** rng.integers(-4, 5, (N, J))).astype(dtype)
    gy = np.asarray(gy, order=layout)
    want = np.zeros((W0, J), dtype)
    for m in range(N):
        want[at[m]] += gy[m]
    environment = sizes(lookup, {"N": N, "J": J, "W0": W0, "W1": J})
    for tasks in (1, 3):
        inputs = {"w": np.zeros((W0, J), dtype), "t": at, "gy": gy}
        found = execute(lookup, "vjp", inputs, environment, {}, ("gw",), None, dtype, tasks=tasks)["gw"]
        np.testing.assert_array_equal(found, want)


def test_rows_are_taken_where_they_lie_side_by_side(lookup: Definition) -> None:
    environment = sizes(lookup, {"N": 4, "J": 9, "W0": 3, "W1": 9})
    names = {task for _, task in exact_tasks(lookup, "vjp", ("w", "t", "gy"), environment, {}, ("gw",))}
    assert names == {"gw_from_gy_t_rows_over_j"}
