"""What is kept between calls: found again only where it holds, bounded, and safe among threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernels import conv2d, cross_entropy, linear, max_pool2d, relu
from kernels.errors import (
    ArgumentTypeError,
    DtypeError,
    KernelError,
    OutOfRangeError,
    OutputError,
    ShapeError,
)
from kernels.operator import Operator
from kernels.runtime import get_num_threads, set_num_threads
from kernels.specialize import PROGRAMS, SPECIALIZATIONS, Recent, Unkeyed, array_key, call_key, option_key
from tests.support import fake
from tests.support.threads import together

rng = np.random.default_rng(11)


# ------------------------------------------------------------------------------------------- keys

DIFFERENT = [
    *(1, 1.0, True, "1", None, 0, False, 0.0, -0.0, 2**40),
    *((1,), [1], (1.0,), (True,), (1, 1), ((1, 1),), ((1, True),), [[1, 1]], (), [], float("inf")),
]  # fmt: skip


def test_options_that_mean_different_things_have_different_keys():
    keys = [option_key(value) for value in DIFFERENT]
    assert len(set(keys)) == len(keys)
    assert [option_key(value) for value in DIFFERENT] == keys
    assert option_key(float("nan")) == option_key(float("nan"))


@pytest.mark.parametrize(
    "value",
    [np.int64(2), np.array([2, 2]), np.ones(2), {1: 2}, (((1,),),), object()],
    ids=["NumPy integer", "array", "ones", "dict", "nested", "object"],
)
def test_other_options_have_none(value):
    """An array among the options has values that matter; an object may change its mind."""
    with pytest.raises(Unkeyed):
        option_key(value)
    assert call_key((np.ones(3),), {"s": value}, {"x": "x"}) is None


class Subclass(np.ndarray):
    pass


def test_arrays_are_keyed_by_what_kernels_know_of_them():
    x = np.zeros((4, 6))
    same = [x, np.ones((4, 6)), np.zeros((4, 12))[:, :6].copy()]
    other = [
        x[:, ::-1],
        x.T,
        x.reshape(6, 4),
        x.astype("f4"),
        x.view("i8"),
        x[:3],
        np.asfortranarray(x),
        None,
    ]
    assert len({array_key(a) for a in same}) == 1
    assert len({array_key(a) for a in [x, *other]}) == 1 + len(other)
    for value in (np.zeros(3).view(Subclass), np.ma.masked_array([1.0]), [1.0], 1.0, np.float64(1)):
        with pytest.raises(Unkeyed):
            array_key(value)


def test_calls_that_differ_have_different_keys():
    """Keys are flat: where one argument ends and the next begins follows from how many have no keyword."""
    x, y = np.zeros((2, 3)), np.zeros(3)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        *(((a,), {}) for a in (x, y, None)),
        *(((a, b), {}) for a in (x, y, None) for b in (x, y, None)),
        *(((a,), {"w": b}) for a in (x, y, None) for b in (x, y, None)),
        *(((), {"x": x, "w": y}), ((), {"x": y, "w": x})),
        *(((x, y, v), {}) for v in (1, 1.0, True, None, (1,), [1], "s", (2, 3))),
        *(((x, y), {"s": v}) for v in (1, 1.0, True, None, (1,), [1], "s", (2, 3))),
        *(((x, y), {"s": v, "p": 1}) for v in (1, "p", (1, "p"))),
        *(((x, y, "s", v), {}) for v in (1, None, "p")),
        *(((x, y, "s"), {"p": v}) for v in (1, None, "s")),
    ]
    keys = [call_key(args, options, {"x": "x", "w": "w"}) for args, options in calls]
    assert None not in keys
    assert len(set(keys)) == len(keys)


def test_recent_keeps_what_was_asked_for_last():
    recent: Recent[int] = Recent(3)
    for key in "abcde":
        recent.put(key, ord(key))
    assert len(recent) == 5
    assert recent.get("a") == ord("a")  # and a new generation begins: of the older one b and c are gone
    assert sorted(recent.values()) == [ord(key) for key in "ade"]
    assert [recent.get(key) for key in "bcxde"] == [None, None, None, ord("d"), ord("e")]
    for n in range(100):
        recent.put(n, n)
        assert n < 3 or [recent.get(key) for key in (n, n - 1, n - 2)] == [n, n - 1, n - 2]
        assert len(recent) <= 6


# -------------------------------------------------------------------------------------- same again


def arrays(dtype: Any = np.float64, shape: tuple[int, ...] = (2, 4, 7, 6)) -> tuple[Any, Any, Any]:
    """Small integers: any order of summation is exact."""
    weight = (3, shape[1], 3, 3)
    return tuple(rng.integers(-4, 5, s).astype(dtype) for s in (shape, weight, (3,)))


def fresh(operator: Operator) -> Operator:
    """The operator, remembering nothing."""
    return Operator(operator.definition, operator.adapter)


def placed(array: Any, how: str) -> Any:
    """The same values in other memory."""
    if how == "c":
        return array.copy()
    if how == "read-only":
        array = array.copy()
        array.flags.writeable = False
        return array
    if how == "fortran":
        return np.asfortranarray(array)
    if how == "reversed":
        return np.flip(np.flip(array, -1).copy(), -1)
    if how == "gaps":
        return np.repeat(array, 2, -1)[..., ::2]
    assert how == "unaligned"
    bytes_ = np.zeros(array.nbytes + 1, np.uint8)
    bytes_[1:] = np.frombuffer(array.tobytes(), np.uint8)
    unaligned = bytes_[1:].view(array.dtype).reshape(array.shape)
    assert not unaligned.flags.aligned
    return unaligned


PLACES = ("c", "unaligned", "read-only", "fortran", "reversed", "gaps")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_repetition_in_any_memory_is_the_first_call_again(dtype):
    operator, first = fresh(conv2d), fresh(conv2d)
    options: dict[str, Any] = {"stride": (2, 1), "padding": "same", "dilation": 2}
    for turn in range(3):
        for how in (*PLACES, *reversed(PLACES)):
            x, w, b = arrays(dtype)
            want = fresh(first)(x, w, b, **options)
            x, w, b = (placed(a, how) for a in (x, w, b))
            np.testing.assert_array_equal(operator(x, w, b, **options), want, f"{how}, turn {turn}")
            np.testing.assert_array_equal(operator(input=x, weight=w, bias=b, **options), want)
            y, pullback = operator.vjp(x, w, b, **options)
            gradients = pullback(placed(y, how))
            for got, expected in zip(gradients, fresh(first).vjp(x, w, b, **options)[1](y), strict=True):
                np.testing.assert_array_equal(got, expected)
            out = placed(np.zeros_like(want), "c" if how == "read-only" else how)
            assert operator(x, w, b, **options, out=out) is out
            np.testing.assert_array_equal(out, want)
    assert len(operator._known) <= 2 * (len(PLACES) - 1)


def test_a_layout_that_cannot_be_a_view_is_copied_every_time():
    for how in (*PLACES, *PLACES):
        x, w = rng.standard_normal((3, 4, 5)), rng.standard_normal((2, 5))
        np.testing.assert_allclose(linear(placed(x, how), w), x @ w.T, rtol=1e-12, atol=1e-12)


def test_a_repetition_asks_neither_adapter_nor_compiler(monkeypatch):
    operator = fresh(conv2d)
    x, w, b = arrays()
    y, pullback = operator.vjp(x, w, b, stride=2)
    pullback(y)

    def never(*args: Any, **options: Any) -> Any:
        raise AssertionError("asked again")

    monkeypatch.setattr(operator.adapter, "plan", never)
    monkeypatch.setattr("kernels.operator.prepare", never)
    x, w, b = arrays()
    y, pullback = operator.vjp(x, w, b, stride=2)
    pullback(y)
    with pytest.raises(AssertionError, match="asked again"):
        operator(x, w, b, stride=1)


def test_what_a_key_does_not_hold_is_checked_every_time():
    """Values of indices, `out` that overlaps, types that Python holds equal."""
    logits, target = rng.standard_normal((3, 4)), np.array([0, 3, 1])
    for turn in range(3):
        cross_entropy(logits, target)
        with pytest.raises(OutOfRangeError, match="`target` has 4 at 1"):
            cross_entropy(logits, np.array([0, 4, 1]))
        with pytest.raises(OutOfRangeError, match="-1"):
            cross_entropy(logits, np.array([0, 3, -1], np.int32))
        with pytest.raises(OutOfRangeError, match="which int64 does not hold"):
            cross_entropy(logits, np.array([0, 3, 2**63], np.uint64))
        for kind in (np.int32, np.uint64):
            assert cross_entropy(logits, target.astype(kind)) == cross_entropy(logits, target)

        room = np.zeros(2 * 4 * 7 * 6 + 2 * 3 * 5 * 4)
        x, out = room[: 2 * 4 * 7 * 6].reshape(2, 4, 7, 6), room[2 * 4 * 7 * 6 :].reshape(2, 3, 5, 4)
        _, w, b = arrays()
        assert conv2d(x, w, b, out=out) is out
        with pytest.raises(OutputError, match="shares memory"):
            conv2d(x, w, b, out=room[8 : 8 + out.size].reshape(out.shape))
        assert turn == 0 or conv2d(x, w, b, stride=1).shape == (2, 3, 5, 4)
        for bad in (True, 1.0, "1", (1, True), [1, 1.0]):
            with pytest.raises(KernelError):
                conv2d(x, w, b, stride=bad)
        for array, error in ((w[:, :3], ShapeError), (w.astype("f4"), DtypeError), (None, ArgumentTypeError)):
            with pytest.raises(error):
                conv2d(x, array, b)
        y, pullback = conv2d.vjp(x, w, b)
        pullback(y)
        for bad_y, error in ((y[..., :3], ShapeError), (y.astype("f4"), DtypeError)):
            with pytest.raises(error):
                pullback(bad_y)


def test_options_as_arrays_and_numpy_integers_still_count_by_their_values():
    x = rng.standard_normal((1, 1, 9, 9))
    for n in (2, 3, 2):
        want = max_pool2d(x, n)
        for kind in (np.int64(n), np.array([n, n]), [n, n], (np.int32(n), n)):
            np.testing.assert_array_equal(max_pool2d(x, kind), want)


def test_what_is_kept_is_bounded():
    operator = fresh(max_pool2d)
    for n in range(2 * SPECIALIZATIONS + 20):
        operator(np.zeros((1, 1, 2, 2 + n), np.float32), 2)
    assert SPECIALIZATIONS <= len(operator._known) <= 2 * SPECIALIZATIONS
    x = np.zeros((1, 1, 4, 4), np.float32)
    y, pullback = operator.vjp(x, 2)
    for n in range(2 * PROGRAMS + 20):
        pullback(np.zeros((1, 1, 2, 2 + n), np.float32)[..., :2])
    assert PROGRAMS <= len(pullback._call.known.programs) <= 2 * PROGRAMS


def test_errors_name_the_call_on_every_path():
    rows: Any = fresh(linear)
    x, w = np.ones((2, 3)), np.ones((4, 3))
    for _ in range(2):
        _, pullback = rows.vjp(x, weight=w)
        with pytest.raises(ShapeError) as caught:
            pullback(x)
        assert str(caught.value).endswith("\n    input (2, 3), weight (4, 3)")


# ---------------------------------------------------------------------------------------- threads


@pytest.mark.parametrize("side", [6, 60], ids=["one task", "several tasks"])
def test_threads_share_what_is_kept_and_nothing_else(side):
    """Each thread its own arrays, all of one key: results are bitwise those of one thread alone."""
    operator = fresh(conv2d)
    cases = []
    for _ in range(4):
        x, w, b = (rng.standard_normal(a.shape).astype(np.float32) for a in arrays(shape=(2, 4, side, side)))
        y, pullback = fresh(conv2d).vjp(x, w, b)
        cases.append(((x, w, b), y, pullback(y)))

    def work(n: int) -> None:
        given, want, gradients = cases[n]
        for _ in range(200 if side < 10 else 10):
            y, pullback = operator.vjp(*given)
            assert np.array_equal(y, want)
            for got, expected in zip(pullback(y), gradients, strict=True):
                assert np.array_equal(got, expected)

    together(work)
    assert len(operator._known) == 1


def test_threads_that_overfill_what_is_kept(monkeypatch):
    monkeypatch.setattr("kernels.operator.prepare", fake.prepare)
    rows: Any = Operator(fake.ROWS)
    rows._known.most = 3

    def work(n: int) -> None:
        own = np.random.default_rng(n)
        for _ in range(300):
            x = own.standard_normal((int(own.integers(1, 7)), 3))
            assert np.array_equal(rows(x, x[0]), x * x[0])

    together(work)
    assert len(rows._known) <= 6


def test_the_number_of_threads_may_change_between_calls():
    operator = fresh(conv2d)
    x, w, b = arrays(shape=(8, 8, 40, 40))
    want = fresh(conv2d)(x, w, b)
    set_num_threads(None)
    try:
        for count in (1, 2, 1, None, 2, None):
            set_num_threads(count)
            np.testing.assert_array_equal(operator(x, w, b), want)
        (known,) = operator._known.values()
        (program,) = known.programs.values()
        assert program.prepared.large
        assert set(program.prepared.forms) == {1, min(2, get_num_threads()), get_num_threads()}
    finally:
        set_num_threads(None)


def work(operator: Operator, *given: Any) -> float:
    """Nanoseconds of the only step of a call."""
    own = fresh(operator)
    own(*given)
    (known,) = own._known.values()
    (program,) = known.programs.values()
    (row,) = program.prepared.rows
    return row.work


def test_work_is_bytes_moved_or_multiplications():
    """Of a pointwise step 32 bytes in a nanosecond, of a contraction 24 multiplications in float32."""
    x = np.zeros((96, 100))
    assert work(relu, x) == 8 * 2 * x.size / 32
    assert work(relu, x.astype("f4")) == 4 * 2 * x.size / 32
    for dtype, rate in (("f4", 24), ("f8", 12)):
        assert work(linear, x.astype(dtype), np.zeros((48, 100), dtype)) == pytest.approx(
            96 * 100 * 48 / rate
        )
