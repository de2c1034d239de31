"""An extremum and its place at once, as source: exact, in any order of axes, and only where both are wanted."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from derive.language import ArgMax, ArgMin, Max, Min, Operator, Tensor, indices, parameters, tensors
from derive.pipeline import derive
from kernels.runtime.execute import execute_exact
from tests.support.line import through

n = indices("n")
(p0, p1), (k0, k1) = indices("p k", 2)
x, y = tensors("x y")
i = Tensor("i", integer=True)
s = parameters("s")
SIZES = {"N": 2, "X1": 5, "X2": 6, "K0": 2, "K1": 3, "s": 2}


def windows(place: Any, best: Any, target: Any) -> Operator:
    read = x[n, s * p0 + k0, s * p1 + k1]
    return Operator(
        "both",
        i[n, p0, p1] << place[k0, k1](read, at=3 * k0 + k1),
        target << best[k0, k1](read),
        inputs=(x,),
        outputs=(y, i),
        given=(k0, k1),
    )


@pytest.mark.parametrize(
    ("place", "best", "sign", "target", "axes"),
    [
        (ArgMax, Max, 1, y[n, p0, p1], (0, 1, 2)),
        (ArgMin, Min, -1, y[n, p0, p1], (0, 1, 2)),
        (ArgMax, Max, 1, y[p1, n, p0], (2, 0, 1)),
    ],
)
def test_as_each_alone(
    place: Any, best: Any, sign: int, target: Any, axes: tuple[int, ...], tmp_path: Path
) -> None:
    made, definition = through(windows(place, best, target), tmp_path)
    (joint,) = made.joints["forward"]
    assert sorted(joint.of) == [0, 1]
    rng = np.random.default_rng(0)
    given = rng.integers(-3, 4, (2, 5, 6))
    values, places = np.empty((2, 2, 2), int), np.empty((2, 2, 2), int)
    for at in np.ndindex(values.shape):
        m, a, b = at
        window = given[m, 2 * a : 2 * a + 2, 2 * b : 2 * b + 3]
        places[at] = (sign * window).argmax()
        values[at] = window.flat[places[at]]
    exact = np.vectorize(Fraction, otypes=[object])(given)
    names = definition.sizes.__code__.co_varnames[: definition.sizes.__code__.co_argcount]
    sizes = SIZES | definition.sizes(**{name: SIZES[name] for name in names})
    tasks = set[str]()
    for wanted in (("y", "i"), ("y",), ("i",)):
        tasks.clear()
        found = execute_exact(
            definition, "forward", {"x": exact}, sizes, {}, wanted, gaps=True,
            trace=lambda number, name, *rest: tasks.add(name),
        )  # fmt: skip
        assert all(name.startswith(joint.phase.kernel) for name in tasks) == (len(wanted) == 2)
        for name, expected in (("y", values.transpose(axes)), ("i", places)):
            if name in wanted:
                np.testing.assert_array_equal(found[name], expected)


def test_other_ties_are_another_search() -> None:
    last = Operator(
        "last",
        i[n] << ArgMax[k0](x[n, k0], at=k0, ties="last"),
        y[n] << Max[k0](x[n, k0]),
        inputs=(x,),
        outputs=(y, i),
    )
    assert not derive(last).joints["forward"]
