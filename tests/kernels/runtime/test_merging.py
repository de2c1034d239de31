"""Indices merged: the same elements of all arrays meet at the same points, whatever the strides are."""

from collections import Counter
from itertools import product
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.runtime import Lanes, Task, TaskError, Tile, View
from kernels.runtime.compile import Choice, task
from kernels.runtime.merging import FEW, merged
from kernels.runtime.simd import Memory

TILE = Tile(Lanes(2, int), 2, 2)
NAMES = ("N", "C", "H", "W")
AXES = {"N": (0, None, 0), "C": (1, 0, 1), "H": (2, None, 2), "W": (3, None, 3)}


class Strided(NamedTuple):
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def with_axes(self, shape, strides):
        return Strided(shape, strides)


def dense(shape, order):
    strides, step = [0] * len(shape), 1
    for axis in reversed(order):
        strides[axis], step = step, step * shape[axis]
    return Strided(tuple(shape), tuple(strides))


def points(sizes, views):
    """How often each combination of elements occurs."""
    return Counter(
        tuple(
            sum(
                at[NAMES.index(name)] * view.strides[axes[k]]
                for name, axes in AXES.items()
                if axes[k] is not None
            )
            for k, view in enumerate(views)
        )
        for at in product(*(range(sizes[name]) for name in NAMES))
    )


@given(
    st.lists(st.integers(1, 4), min_size=4, max_size=4),
    *[st.permutations(range(4))] * 2,
    st.tuples(*[st.integers(1, 2)] * 8),
    st.booleans(),
)
def test_the_same_elements_meet(shape, first, second, spread, gaps):
    sizes = dict(zip(NAMES, shape, strict=True))
    big = dense(shape, first), dense(shape, second)
    if gaps:
        big = tuple(
            view._replace(strides=tuple(s * k for s, k in zip(view.strides, spread[4 * n :], strict=False)))
            for n, view in enumerate(big)
        )
    views = [big[0], Strided((shape[1],), (1,)), big[1]]
    after, made = merged(AXES, sizes, views, TILE)
    assert points(after, made) == points(sizes, views)
    for name, axes in AXES.items():
        assert all(v.shape[a] == after[name] for a, v in zip(axes, made, strict=True) if a is not None)


@pytest.mark.parametrize(
    ("first", "second", "after"),
    [
        ((0, 1, 2, 3), (0, 1, 2, 3), (5, 3, 1, 20)),  # planes are rows
        ((0, 2, 3, 1), (0, 2, 3, 1), (1, 3, 1, 100)),  # channels last: a pixel after the other, images too
        ((0, 1, 2, 3), (0, 2, 3, 1), (5, 3, 1, 20)),  # one in each layout: images are apart in the first
        ((0, 1, 2, 3), (0, 1, 3, 2), (5, 3, 4, 5)),  # a transposed plane
    ],
)
def test_what_is_merged(first, second, after):
    shape = (5, 3, 4, 5)
    views = [dense(shape, first), Strided((3,), (1,)), dense(shape, second)]
    sizes, _ = merged(AXES, dict(zip(NAMES, shape, strict=True)), views, TILE)
    assert tuple(sizes.values()) == after


def test_long_rows_stay_and_so_do_the_rows_that_threads_share():
    def rows(shape):
        sizes = dict(zip("NW", shape, strict=True))
        return merged({"N": (0,), "W": (1,)}, sizes, [dense(shape, (0, 1))], TILE)[0]

    assert rows((9, 127)) == {"N": 1, "W": 9 * 127}
    assert rows((9, 128)) == {"N": 9, "W": 128}  # 64 vectors
    assert rows((FEW // 4, 4)) == {"N": 1, "W": FEW}
    assert rows((FEW // 4 + 1, 4)) == {"N": FEW // 4 + 1, "W": 4}  # else one task would have all of it


def test_a_view_keeps_its_memory():
    memory = Memory("x", list(range(24)))
    view = View(memory, 0, (2, 3, 4), (12, 4, 1))
    assert view.with_axes((1, 1, 24), (12, 4, 1))[0, 0, 17] == 17 == view[1, 1, 1]


def test_what_a_choice_says_is_checked():
    @task
    def plain(y: "Real2", x: "Real1", N: int, task: int, tasks: int) -> None:  # noqa: F821
        """Nothing."""

    def chosen(y: "Real2", x: "Real1", N: int) -> Task[...]:  # noqa: F821
        return plain

    Choice(chosen, (plain,), {"N": (1, None)})
    for merges in ({"N": (2, None)}, {"N": (0,)}, {"M": (0, 0)}):
        with pytest.raises(TaskError, match="merges"):
            Choice(chosen, (plain,), merges)


def test_a_kernel_says_what_may_be_merged():
    from kernels.generated.conv2d import y_from_b

    assert y_from_b.merges == {"N": (0, None), "G": (1, 0), "O": (2, 1), "P0": (3, None), "P1": (4, None)}
