"""Lanes that stand apart in the target, compiled and exact, stored and added, in any layout."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from derive.language import Operator, indices, parameters, tensors
from kernels.runtime.definition import Definition
from kernels.runtime.execute import execute, execute_exact
from tests.support.line import environment, through

n, c, j, p, k = indices("n c j p k")
x, y, z = tensors("x y z")
r = parameters("r")
# a shuffle of squares, and one beside which something else is added to the same elements
SQUARES = Operator("squares", y[n, c, j + p * r] << x[n, c * r + j, p] ** 2, inputs=(x,), extents={j: r})
BESIDE = Operator(
    "beside",
    y[n, c, j + p * r] << z[n, c, j + p * r] + x[n, c * r + j, p] * (p + 1),
    inputs=(x, z),
    extents={j: r},
)
LAYOUTS = ((0, 1, 2), (2, 0, 1), (1, 2, 0))
SHAPES = [(2, 3, 40, 2), (1, 1, 1, 1), (3, 2, 17, 5), (2, 1, 70, 3)]  # n, c, p, r


def shuffled(array: Any, r: int) -> Any:
    N, CR, P = array.shape
    return array.reshape(N, CR // r, r, P).swapaxes(2, 3).reshape(N, CR // r, P * r)


@pytest.fixture(scope="module", params=[SQUARES, BESIDE], ids=lambda o: o.name)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Definition:
    return through(request.param, tmp_path_factory.mktemp("strewn"))[1]


def problem(made: Definition, shape: tuple[int, ...], number: Any) -> tuple[dict[str, Any], Any]:
    N, C, P, R = shape
    rng = np.random.default_rng(P)
    given = {"x": number(rng.integers(-9, 10, (N, C * R, P)))}
    if made.name == "squares":
        return given, shuffled(given["x"] ** 2, R)
    given["z"] = number(rng.integers(-9, 10, (N, C, P * R)))
    return given, given["z"] + shuffled(given["x"] * np.arange(1, P + 1), R)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_in_any_layout(made: Definition, shape: tuple[int, ...], dtype: Any) -> None:
    """Small whole numbers: exact in any order of adding."""
    given, want = problem(made, shape, lambda a: a.astype(dtype))
    sizes = environment(made, given, {"r": shape[3]})
    for order in LAYOUTS:
        back = np.argsort(order)
        laid = {name: np.ascontiguousarray(a.transpose(order)).transpose(back) for name, a in given.items()}
        for tasks in (1, 3):
            found = execute(made, "forward", laid, sizes, {}, ("y",), None, dtype, tasks=tasks)["y"]
            np.testing.assert_array_equal(found, want)


def test_exactly(made: Definition) -> None:
    given, want = problem(made, SHAPES[2], np.vectorize(Fraction, otypes=[object]))
    tasks = set[str]()
    found = execute_exact(
        made, "forward", given, environment(made, given, {"r": 5}), {}, ("y",), gaps=True,
        trace=lambda number, name, *rest: tasks.add(name),
    )["y"]  # fmt: skip
    np.testing.assert_array_equal(found, want)
    assert any("strewn" in name for name in tasks)
