"""A small operator, written by hand: compiled in both types against NumPy, and exactly over Fractions."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.generated import max_pool1d
from kernels.runtime import (
    BadAccess,
    Definition,
    Lanes,
    Phase,
    Program,
    Real1,
    Real3,
    Scratch,
    Task,
    Tensor,
    Tile,
    choice,
    compiled_signatures,
    execute,
    execute_exact,
    exp,
    share,
    task,
    zero,
)
from kernels.runtime.execute import exact_tasks
from kernels.runtime.selection import selection
from tests.kernels.runtime import handwritten as h

Sizes = dict[str, int]


def environment(**sizes: int) -> Sizes:
    return sizes | h.sizes(**sizes)


CASE = environment(N=2, C=3, X=11, O=4, K=3, s=2, d=2, a=1)
DTYPES = (np.float32, np.float64)


def inputs(e: Sizes, seed: int = 0) -> dict[str, Any]:
    """Small integers: every result is exact in both types."""
    rng = np.random.default_rng(seed)
    shapes = {t.name: t.shape for t in h.DEFINITION.tensors}
    arrays: dict[str, Any] = {
        name: rng.integers(-4, 5, tuple(v if isinstance(v, int) else e[v] for v in shapes[name]))
        for name in ("x", "w", "b", "gy")
    }
    arrays["t"] = rng.integers(0, e["O"], e["N"])
    return arrays


def reference(e: Sizes, i: dict[str, Any], half: Any = 0.5) -> dict[str, Any]:
    """All outputs, by the equations over every point of the relation."""
    zero_of = i["x"].dtype.type(0) if i["x"].dtype != object else Fraction(0)
    y = np.full((e["N"], e["O"], e["P"]), zero_of) + i["b"][:, None]
    gx = np.full(i["x"].shape, zero_of)
    for p in range(e["P"]):
        for k in range(e["K"]):
            q = e["s"] * p + e["d"] * k - e["a"]
            if 0 <= q < e["X"]:
                y[:, :, p] += (i["x"][:, None, :, q] * i["w"][None, :, :, k]).sum(axis=2)
                gx[:, :, q] += (i["gy"][:, :, None, p] * i["w"][None, :, :, k]).sum(axis=1)
    z = np.array([half * y[n, i["t"][n]].sum() for n in range(e["N"])])
    return {"y": y, "z": z, "m": y.sum() / y.size if y.size else None, "gx": gx, "gx2": gx,
            "gb": i["gy"].sum(axis=(0, 2)), "unused": np.zeros((e["N"], 2))}  # fmt: skip


def typed(i: dict[str, Any], dtype: Any) -> dict[str, Any]:
    return {name: a if name == "t" else a.astype(dtype) for name, a in i.items()}


def strided(a: Any) -> Any:
    """The same values, axes reversed in memory, gaps in between, the last axis backwards; read-only."""
    base = np.zeros([2 * e + 1 for e in a.shape[::-1]], a.dtype)
    view = base[tuple(slice(1, 2 * e + 1, 2) for e in a.shape[::-1])].T[..., ::-1]
    view[...] = a
    view.flags.writeable = False
    return view


@pytest.mark.parametrize("tasks", [None, 1, 3, 7])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", [np.asarray, strided], ids=["dense", "strided"])
def test_compiled_equals_numpy(dtype: Any, layout: Any, tasks: int | None) -> None:
    i = inputs(CASE)
    want = reference(CASE, i)
    arrays = {name: layout(a) for name, a in typed(i, dtype).items()}
    got = execute(
        h.DEFINITION, "forward", arrays, CASE, {"half": 0.5}, ("z", "y", "m"), dtype=dtype, tasks=tasks
    )
    got |= execute(
        h.DEFINITION, "vjp", arrays, CASE, {}, ("gx", "gb", "gx2", "unused"), dtype=dtype, tasks=tasks
    )
    assert list(got) == ["z", "y", "m", "gx", "gb", "gx2", "unused"]
    for name, a in got.items():
        assert a.dtype == dtype
        if name == "m":
            np.testing.assert_allclose(a, want[name], rtol=1e-6)
        else:
            np.testing.assert_array_equal(a, want[name], name)


@st.composite
def cases(draw: Any) -> Sizes:
    bounds = {"N": (0, 2), "C": (0, 2), "O": (1, 3), "K": (1, 3), "s": (1, 3), "d": (1, 3), "a": (0, 2)}
    e = {name: draw(st.integers(*between)) for name, between in bounds.items()}
    e["X"] = draw(st.integers(max(0, e["d"] * (e["K"] - 1) + 1 - 2 * e["a"]), 9))
    return environment(**e)


@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(0, 10**6), st.booleans(), st.integers(1, 4))
def test_exact_and_compiled_agree_on_any_shape(e: Sizes, seed: int, gaps: bool, tasks: int) -> None:
    i = inputs(e, seed)
    fractions = {name: a if name == "t" else a * Fraction(1, 3) for name, a in i.items()}
    want = reference(e, fractions, Fraction(2, 7))
    wanted = ("y", "z", "m") if e["N"] * e["P"] else ("y", "z")
    way: dict[str, Any] = {"tasks": tasks, "seed": seed, "gaps": gaps}
    exact = execute_exact(h.DEFINITION, "forward", fractions, e, {"half": Fraction(2, 7)}, wanted, **way)
    views = {name: strided(a) for name, a in fractions.items() if name != "t"}
    exact |= execute_exact(h.DEFINITION, "vjp", views, e, {}, ("gx", "gx2", "gb"), **way)
    for name, a in exact.items():
        assert a.shape == np.shape(want[name])
        assert all(type(v) is Fraction for v in a.ravel())
        np.testing.assert_array_equal(a, want[name], name)
    compiled = execute(h.DEFINITION, "forward", typed(i, np.float64), e, {"half": 0.5}, ("y", "z"))
    compiled |= execute(h.DEFINITION, "vjp", typed(i, np.float64), e, {}, ("gx", "gx2", "gb"))
    want = reference(e, i)
    for name, a in compiled.items():
        np.testing.assert_array_equal(a, want[name], name)


def test_exact_over_other_numbers() -> None:
    i = inputs(CASE)
    want = reference(CASE, i)
    with mpmath.workdps(50):
        for number in (mpmath.mpf, float):
            got = execute_exact(h.DEFINITION, "forward", i, CASE, {"half": 0.5}, ("y", "z"), number=number,
                                tile=Tile(Lanes(4, number), 3, 1))  # fmt: skip
            assert type(got["z"][0]) is number
            np.testing.assert_array_equal(got["y"].astype(float), want["y"])


def test_one_compilation_for_each_type() -> None:
    """Strides, read-only arrays, zero extents and numbers of tasks compile nothing further."""

    def run(dtype: Any, e: Any, layout: Any) -> None:
        i = {name: layout(a) for name, a in typed(inputs(e), dtype).items()}
        execute(h.DEFINITION, "forward", i, e, {"half": 0.5}, ("y", "z"), dtype=dtype)
        execute(h.DEFINITION, "vjp", i, e, {}, ("gx", "gx2", "gb"), dtype=dtype, tasks=2)

    for dtype in DTYPES:
        run(dtype, CASE, np.asarray)
        once = list(compiled_signatures())
        assert {"y_from_x_w", "z_from_y_t", "gx_gather"} <= {
            c.task for c in once if c.dtype == dtype.__name__
        }
        for e in (CASE, environment(N=0, C=1, X=5, O=1, K=1, s=1, d=1, a=0)):
            for layout in (np.asarray, strided):
                run(dtype, e, layout)
        assert list(compiled_signatures()) == once


@task
def by_ones(out: Real1, v: Real1, N: int, task: int, tasks: int) -> None:
    for n in range(*share(N, task, tasks)):
        out[n] = v[n]


def twice(tile: Tile, N: int) -> int:
    return 2 * N


@task(scratch=twice)
def through_room(out: Real1, v: Real1, N: int, tile: Tile, scratch: Scratch, task: int, tasks: int) -> None:
    for n in range(*share(N, task, tasks)):
        scratch[2 * n] = v[n]
        out[n] = scratch[2 * n]


@choice(through_room, by_ones)
def by_size(out: Real1, v: Real1, N: int, tile: Tile) -> Task[...]:
    return through_room if v.stride(0) == 1 and tile.lanes.width <= N else by_ones


CHOSEN = dataclasses.replace(
    h.DEFINITION,
    tensors=(Tensor("out", ("N",)), Tensor("v", ("N",))),
    programs={"forward": Program(("v",), ("out",), (Phase(by_size, ("out", "v"), ("N",)),))},
)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_choice_goes_by_sizes_and_strides_and_only_the_chosen_is_compiled(dtype: Any) -> None:
    tile = Tile(Lanes(4, dtype), 2, 2)
    made = []
    for size, step in ((3, 1), (8, 2), (8, 1)):
        v = np.arange(step * size, dtype=dtype)[::step]
        before = len(compiled_signatures())
        got = execute(CHOSEN, "forward", {"v": v}, {"N": size}, {}, ("out",), dtype=dtype, tile=tile)
        np.testing.assert_array_equal(got["out"], v)
        made.append([c.task for c in compiled_signatures()[before:]])
    assert made == [["by_ones"], [], ["through_room"]]


def test_an_exact_run_makes_the_same_choice() -> None:
    ran = []
    for n in (1, 5):
        got = execute_exact(
            CHOSEN, "forward", {"v": np.arange(n)}, {"N": n}, {}, ("out",),
            trace=lambda phase, name, task, tensor, places: ran.append(name),
        )  # fmt: skip
        assert got["out"].tolist() == list(range(n))
    assert ran == ["by_ones"] * 3 + ["through_room"] * 3


def test_what_nobody_wants_or_can_see_is_not_run() -> None:
    def steps(*wanted: str, absent: tuple[str, ...] = ()) -> list[tuple[str, Any]]:
        chosen = selection(h.DEFINITION, "forward", wanted, absent)
        return [
            (s.kernel.name, next(b.source for b in s.bindings if b.argument.kind == "add"))
            for s in chosen.steps
        ]

    assert steps("y") == [("y_from_x_w", 0), ("y_from_b", 1)]
    assert steps("y", absent=("b",)) == [("y_from_x_w", 0)]
    assert steps("y", absent=("x",)) == [("y_from_b", 0)]
    assert steps("z", absent=("b",)) == [("y_from_x_w", 0), ("z_from_y_t", 0)]
    assert steps("z", absent=("b", "w")) == []  # y is zero, and z is linear in it
    assert selection(h.DEFINITION, "forward", ("z",), ()) is selection(h.DEFINITION, "forward", ("z",), ())


@pytest.mark.parametrize("run", [execute, execute_exact])
def test_absent_tensors_count_as_zeros(run: Any) -> None:
    i = typed(inputs(CASE), np.float64) if run is execute else inputs(CASE)
    without = reference(CASE, inputs(CASE) | {"b": np.zeros(4, int)})
    got = run(h.DEFINITION, "forward", i | {"b": None}, CASE, {"half": 0.5}, ("y", "z"))
    np.testing.assert_array_equal(got["y"].astype(float), without["y"])
    np.testing.assert_array_equal(got["z"].astype(float), without["z"])
    got = run(h.DEFINITION, "forward", {"t": i["t"]}, CASE, {"half": 0.5}, ("y", "z"))
    assert got["y"].shape == (2, 4, CASE["P"])
    assert not got["y"].any()
    assert not got["z"].any()
    got = run(h.DEFINITION, "optional", {}, CASE, {}, ("gb",))  # not linear: it sees a zero tensor
    assert got["gb"].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_out_arrays_are_written_in_place(dtype: Any) -> None:
    i = typed(inputs(CASE), dtype)
    want = reference(CASE, inputs(CASE))
    base = np.full((2, 2, 9, 11), 99, dtype)
    out = {
        "gx2": base[0, :, ::3, ::-1],
        "gb": np.full(8, 77, dtype)[::2],
        "unused": np.full((2, 2), 5, dtype),
    }
    got = execute(h.DEFINITION, "vjp", i, CASE, {}, ("gx2", "gb", "unused"), out, dtype)
    for name in out:
        assert got[name] is out[name]
        np.testing.assert_array_equal(out[name], want[name])
    assert (base[1] == 99).all()
    assert (base[0, :, 1::3] == 99).all()


@pytest.mark.parametrize("run", [execute, execute_exact])
def test_a_second_phase_adds(run: Any) -> None:
    i = typed(inputs(CASE), np.float64) if run is execute else inputs(CASE)
    want = reference(CASE, inputs(CASE))
    got = run(h.DEFINITION, "after scatter", i, CASE, {}, ("gx",))
    np.testing.assert_array_equal(got["gx"].astype(float), 2 * want["gx"])
    v = np.arange(6.0).reshape(2, 3)
    got = run(h.DEFINITION, "twice", {"v": v}, CASE, {}, ("vt",))
    np.testing.assert_array_equal(got["vt"].astype(float), 2 * v.T)


def test_another_tile_changes_no_result() -> None:
    i = typed(inputs(CASE), np.float32)
    want = reference(CASE, inputs(CASE))["gb"]
    for width in (1, 4):
        tile = Tile(Lanes(width, np.float32), 2, 2)
        got = execute(h.DEFINITION, "vjp", i, CASE, {}, ("gb",), dtype=np.float32, tile=tile, tasks=2)
        np.testing.assert_array_equal(got["gb"], want)


def test_arrays_of_another_type_or_shape_are_refused() -> None:
    i = typed(inputs(CASE), np.float64)
    for name, bad in (
        ("x", i["x"].astype(np.float32)),
        ("x", i["x"][:, :, 1:]),
        ("t", i["t"].astype(np.int32)),
    ):
        with pytest.raises(AssertionError, match=f"{name}: .* needed, not"):
            execute(h.DEFINITION, "forward", i | {name: bad}, CASE, {"half": 1.0}, ("z",))
    with pytest.raises(AssertionError, match=r"z: .* needed, not"):
        execute(h.DEFINITION, "forward", i, CASE, {"half": 1.0}, ("z",), {"z": np.zeros(2, np.float32)})


def test_a_trace_tells_who_wrote_what() -> None:
    who: dict[Any, list[Any]] = {}

    def trace(phase: int, name: str, task: int, tensor: str, places: Any) -> None:
        for place in places:
            who.setdefault((tensor, place), []).append((phase, name, task))

    execute_exact(
        h.DEFINITION, "forward", inputs(CASE), CASE, {"half": 1}, ("y", "z"), tasks=2, gaps=True, trace=trace
    )
    assert who["y", (0, 0, 0)] == [(0, "y_from_x_w", 0), (1, "y_from_b", 0)]
    assert who["z", (1,)] == [(2, "z_from_y_t", 1)]


# ---- planted faults: each must be refused


def fault(body: Any, integers: tuple[Any, ...] = ("N", "O", "P"), covers: bool = True) -> Definition:
    """The definition with one phase instead: `body` writes y from b."""
    program = Program(("b", "x"), ("y",), (Phase(body, ("y", "b"), integers, covers=covers),))
    return dataclasses.replace(h.DEFINITION, programs={"forward": program})


@task
def overlapping(y: Real3, b: Real1, N: int, O: int, P: int, add: int, task: int, tasks: int) -> None:
    first, last = share(N, task, tasks)
    for n in range(first, min(last + 1, N)):
        for o in range(O):
            for p in range(P):
                y[n, o, p] = b[o]


@task
def neighbour(y: Real3, b: Real1, N: int, O: int, P: int, add: int, task: int, tasks: int) -> None:
    first, last = share(N, task, tasks)
    for n in range(first, last):
        for o in range(O):
            for p in range(P):
                y[n, o, p] = b[o]
    if add:
        y[first, 0, 0] += y[(first + 1) % N, 0, 0]


@task
def incomplete(y: Real3, b: Real1, N: int, O: int, P: int, add: int, task: int, tasks: int) -> None:
    first, last = share(N, task, tasks)
    for n in range(first, last):
        for o in range(O):
            for p in range(P - 1):
                y[n, o, p] = b[o]


@task
def beyond(y: Real3, b: Real1, N: int, O: int, P: int, add: int, task: int, tasks: int) -> None:
    first, last = share(N, task, tasks)
    for n in range(first, last):
        for o in range(O):
            for p in range(P):
                y[n, o, p] = b[o + 1]


@task
def writes_input(y: Real3, b: Real1, N: int, O: int, P: int, add: int, task: int, tasks: int) -> None:
    first, last = share(N, task, tasks)
    for n in range(first, last):
        for o in range(O):
            for p in range(P):
                b[o] = b[o]
                y[n, o, p] = b[o]


@task
def a_float(y: Real3, b: Real1, N: int, O: int, P: int, add: int, task: int, tasks: int) -> None:
    first, last = share(N, task, tasks)
    for n in range(first, last):
        for o in range(O):
            for p in range(P):
                y[n, o, p] = b[o] * 1.0


@task
def accumulates(y: Real3, b: Real1, N: int, O: int, P: int, add: int, task: int, tasks: int) -> None:
    first, last = share(N, task, tasks)
    for n in range(first, last):
        for o in range(O):
            for p in range(P):
                y[n, o, p] += b[o] + zero()


@task
def irrational(y: Real3, b: Real1, N: int, O: int, P: int, add: int, task: int, tasks: int) -> None:
    first, last = share(N, task, tasks)
    for n in range(first, last):
        y[n, 0, 0] = exp(b[0])


@pytest.mark.parametrize(
    ("body", "covers", "complaint"),
    [
        (overlapping, True, r"y\[\d+\] is written by task \d and touched by task \d"),
        (neighbour, False, r"y\[\d+\] is written by task \d and touched by task \d"),
        (incomplete, True, r"y\[0, 0, \d\] was never written"),
        (beyond, True, r"b\[4\]: index 0 is outside 0 <= 4 < 4"),
        (writes_input, True, r"b\[0\]: written, but it is an input"),
        (a_float, True, r"a float slipped in"),
        (accumulates, True, r"y\[\d+\]: read before anything was written"),
        (irrational, True, r"exp\(Fraction\(.*\)\): not a rational function"),
    ],
    ids=lambda v: getattr(v, "name", None),
)
def test_a_planted_fault_is_refused(body: Any, covers: bool, complaint: str) -> None:
    with pytest.raises((BadAccess, TypeError), match=complaint):
        execute_exact(fault(body, covers=covers), "forward", inputs(CASE), CASE, {}, ("y",))


def test_a_fault_of_order_shows_under_some_order() -> None:
    """Within its own task's elements it is allowed to read and write as it likes."""
    got = execute_exact(fault(neighbour, covers=False), "forward", inputs(CASE), CASE, {}, ("y",), tasks=1)
    assert type(got["y"][0, 0, 0]) is Fraction


def test_a_phase_that_does_not_fit_its_task_is_refused() -> None:
    with pytest.raises(AssertionError, match="arguments bound to"):
        execute(fault(overlapping, ("N", "O")), "forward", typed(inputs(CASE), np.float64), CASE, {}, ("y",))


def test_what_would_run_is_told() -> None:
    """The task of a choice, once for each of its number, with views that have strides and no elements."""
    told: list[tuple[str, list[Any]]] = []
    names = exact_tasks(
        max_pool1d.DEFINITION,
        "forward",
        ("x",),
        {"N": 2, "C": 3, "X2": 4, "a0": 0, "ceil": 0, "d0": 1, "e0": 0, "s0": 2, "K0": 2, "P0": 2},
        {},
        ("y",),
        tasks=3,
        told=lambda name, arguments: told.append((name, arguments)),
    )
    ((_, task_name),) = names
    assert [name for name, _ in told] == ["y_from_x", task_name, task_name, task_name]
    assert [arguments[-2:] for _, arguments in told[1:]] == [[0, 3], [1, 3], [2, 3]]


def test_arrays_are_parts_of_larger_ones_in_a_while() -> None:
    """So that lines go on from one to the next along some axes and not along one: along any of them."""
    seen = set[tuple[bool, ...]]()

    def told(name: str, arguments: list[Any]) -> None:
        if name != "y_from_x":
            return
        x = arguments[1]
        strides, (_, channels, places) = [x.stride(k) for k in range(3)], x.shape
        seen.add((strides[2] == 1, strides[1] == places * strides[2], strides[0] == channels * strides[1]))

    sizes = {"N": 2, "C": 3, "X2": 4, "a0": 0, "ceil": 0, "d0": 1, "e0": 0, "s0": 2, "K0": 2, "P0": 2}
    for seed in range(60):
        exact_tasks(
            max_pool1d.DEFINITION, "forward", ("x",), sizes, {}, ("y",), seed=seed, gaps=True, told=told
        )
    assert seen >= {(True, True, True), (True, False, True), (True, True, False)}
