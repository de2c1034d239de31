"""Copies along several axes at once, compiled and exact: modes, layouts, paddings longer than the array, cuts."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from derive.language import Operator, Tensor, indices, parameters
from kernels.runtime.definition import Definition
from kernels.runtime.execute import execute, execute_exact
from tests.support.line import through

n, c, p, q = indices("n c p q")
a, b, d, e = parameters("a b d e", positive=False)
y = Tensor("y")
NUMPY = {"replicate": "edge", "reflect": "reflect", "symmetric": "symmetric", "circular": "wrap"}
PROGRAMS = ("forward", "vjp")


@pytest.fixture(
    scope="module",
    params=[
        "replicate",
        "reflect",
        *(pytest.param(m, marks=pytest.mark.slow) for m in ("symmetric", "circular")),
    ],
)
def padded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Definition]:
    """y[c, p, q] is x at the border that a mode says, with another axis first."""
    x = Tensor("x", margin=[(0, 0), (a, b), (d, e)], outside=request.param)
    operator = Operator(f"padded_{request.param}", y[c, p, q] << x[c, p - a, q - d], inputs=(x,))
    return request.param, through(operator, tmp_path_factory.mktemp("runs"))[1]


def matrices(mode: str, rows: int, columns: int, pad: tuple[int, ...]) -> list[Any]:
    """What each axis is multiplied by."""
    return [
        np.pad(np.eye(size), ((before, after), (0, 0)), mode=NUMPY[mode])
        for size, before, after in ((rows, *pad[:2]), (columns, *pad[2:]))
    ]


def environment(definition: Definition, shape: tuple[int, ...], pad: tuple[int, ...]) -> dict[str, int]:
    sizes = dict(zip(("C", "X1", "X2", "a", "b", "d", "e"), (*shape, *pad), strict=True))
    wanted = definition.sizes.__code__.co_varnames[: definition.sizes.__code__.co_argcount]
    return sizes | definition.sizes(**{name: sizes[name] for name in wanted})


CASES = [
    ((1, 1, 1), (0, 0, 0, 0)),
    ((2, 4, 5), (1, 1, 2, 0)),
    ((3, 9, 40), (3, 2, 1, 1)),
    ((37, 3, 5), (2, 2, 4, 3)),
    ((2, 2, 3), (7, 0, 11, 9)),
    ((1, 5, 70), (0, 0, 60, 33)),
    ((0, 2, 3), (1, 0, 0, 1)),
]


@pytest.mark.parametrize(("shape", "pad"), CASES)
@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
def test_in_any_layout(
    padded: tuple[str, Definition], shape: tuple[int, ...], pad: tuple[int, ...], dtype: Any
) -> None:
    """Small whole numbers: exact in any order of adding."""
    mode, definition = padded
    rng, (down, along) = np.random.default_rng(0), matrices(mode, *shape[1:], pad)
    x = rng.integers(-9, 10, shape).astype(dtype)
    gy = rng.integers(-9, 10, (shape[0], len(down), len(along))).astype(dtype)
    want = np.einsum("ip,jq,cpq->cij", down, along, x), np.einsum("ip,jq,cij->cpq", down, along, gy)
    sizes = environment(definition, shape, pad)
    for order in ((0, 1, 2), (1, 2, 0), (2, 1, 0)):
        back = np.argsort(order)
        laid = {
            name: np.ascontiguousarray(array.transpose(order)).transpose(back)
            for name, array in (("x", x), ("gy", gy))
        }
        for tasks in (1, 3):
            for program, result, expected in zip(PROGRAMS, ("y", "gx"), want, strict=True):
                given = {name: laid[name] for name in definition.programs[program].inputs}
                made = execute(definition, program, given, sizes, {}, (result,), None, dtype, tasks=tasks)
                np.testing.assert_array_equal(made[result], expected)


@pytest.mark.parametrize(("shape", "pad"), CASES[:4])
def test_exactly_and_in_one_step(
    padded: tuple[str, Definition], shape: tuple[int, ...], pad: tuple[int, ...]
) -> None:
    """The emitted source over Fractions, every access checked: with vectors of two, one task, nothing between."""
    mode, definition = padded
    rng, (down, along) = np.random.default_rng(1), matrices(mode, *shape[1:], pad)
    shapes = {"x": shape, "gy": (shape[0], len(down), len(along))}
    exact = {
        name: np.vectorize(Fraction, otypes=[object])(rng.integers(-9, 10, s)) for name, s in shapes.items()
    }
    want = {"y": ("ip,jq,cpq->cij", exact["x"]), "gx": ("ip,jq,cij->cpq", exact["gy"])}
    for program, result in zip(PROGRAMS, want, strict=True):
        subscripts, source = want[result]
        tasks = set[str]()
        given = {name: exact[name] for name in definition.programs[program].inputs}
        made = execute_exact(
            definition, program, given, environment(definition, shape, pad), {}, (result,), gaps=True,
            trace=lambda number, name, *rest, tasks=tasks: tasks.add(name),
        )  # fmt: skip
        np.testing.assert_array_equal(made[result], np.einsum(subscripts, down, along, source.astype(float)))
        assert len(definition.programs[program].phases) == len(tasks) == 1


def test_infinities_stay_where_they_are(padded: tuple[str, Definition]) -> None:
    mode, definition = padded
    x = np.zeros((1, 4, 30), np.float32)
    x[0, 2, 0], x[0, 0, 29] = np.inf, np.nan
    sizes = environment(definition, x.shape, (2, 2, 3, 3))
    made = execute(definition, "forward", {"x": x}, sizes, {}, ("y",), None, np.float32, tasks=1)["y"]
    np.testing.assert_array_equal(made[0], np.pad(x[0], ((2, 2), (3, 3)), mode=NUMPY[mode]))
