"""The checks of single arguments: what passes, in which form, and the text of what does not."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kernels import arguments
from kernels.errors import (
    AllocationError,
    ArgumentError,
    ArgumentTypeError,
    DtypeError,
    KernelError,
    OutOfRangeError,
    ShapeError,
)


def message(error, text):
    return pytest.raises(error, match=f"^{re.escape(text)}$")


# ---------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.array(3)])
def test_integer(value):
    assert type(arguments.integer("stride", value)) is int
    assert arguments.integer("stride", value) == 3


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (True, ArgumentTypeError, "`stride` is True but needs an integer, not a bool"),
        (np.True_, ArgumentTypeError, "`stride` is np.True_ but needs an integer, not a bool"),
        (2.0, ArgumentTypeError, "`stride` is 2.0 (float) but needs an integer"),
        (np.float64(2), ArgumentTypeError, "`stride` is np.float64(2.0) (float64) but needs an integer"),
        ("2", ArgumentTypeError, "`stride` is '2' (str) but needs an integer"),
        (None, ArgumentTypeError, "`stride` is None (NoneType) but needs an integer"),
        (0, ArgumentError, "`stride` is 0 but needs to be at least 1"),
        (10**30, ArgumentError, f"`stride` is {10**30} but needs to be at most 2147483647 in magnitude"),
    ],
)
def test_no_integer(value, error, text):
    with message(error, text):
        arguments.integer("stride", value, 1)


@pytest.mark.parametrize("value", [1, 2.5, np.float32(1), np.int64(1), float("nan"), float("inf")])
def test_real(value):
    assert type(arguments.real("eps", value)) is float


@pytest.mark.parametrize("value", [True, "1.5", None, [1.0, 2.0], 1j, 10**400])
def test_no_real(value):
    with pytest.raises(ArgumentTypeError, match=r"`eps` is .* but needs a real number"):
        arguments.real("eps", value)


def test_flag():
    assert arguments.flag("ceil_mode", np.True_) is True
    with message(ArgumentTypeError, "`ceil_mode` is 1 but needs True or False"):
        arguments.flag("ceil_mode", 1)


def test_choice():
    assert arguments.choice("mode", "full", ("full", "same")) == "full"
    for value in ("fulll", ["full"], None, 3):
        with pytest.raises(ArgumentError, match=r"`mode` is .* but needs one of 'full', 'same'"):
            arguments.choice("mode", value, ("full", "same"))


@pytest.mark.parametrize("value", [2, (2,), [2, 2], np.array([2, 2]), (np.int32(2), 2)])
def test_per_axis(value):
    assert arguments.per_axis("stride", value, 2, arguments.positive) == (2, 2)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (
            (1, 2, 3),
            ArgumentError,
            "`stride` is (1, 2, 3), with 3 entries, but needs one, or 2, one per axis",
        ),
        ((), ArgumentError, "`stride` is (), with 0 entries, but needs one, or 2, one per axis"),
        ((1, 0), ArgumentError, "`stride[1]` is 0 but needs to be at least 1"),
        ((1, 1.0), ArgumentTypeError, "`stride[1]` is 1.0 (float) but needs an integer"),
        (((1, 1), 1), ArgumentTypeError, "`stride[0]` is (1, 1) (tuple) but needs an integer"),
        (
            np.eye(2, dtype=int),
            ArgumentTypeError,
            "`stride[0]` is array([1, 0]) (ndarray) but needs an integer",
        ),
        ("12", ArgumentTypeError, "`stride` is '12' (str) but needs an integer"),
        (np.ones((2, 1), int), ArgumentTypeError, "`stride[0]` is array([1]) (ndarray) but needs an integer"),
    ],
)
def test_not_per_axis(value, error, text):
    with message(error, text):
        arguments.per_axis("stride", value, 2, arguments.positive)


@pytest.mark.parametrize(
    ("value", "pairs"),
    [
        (1, ((1, 1), (1, 1))),
        ((1, 2), ((1, 1), (2, 2))),
        (((0, 1), (2, 3)), ((0, 1), (2, 3))),
        ([[0, 1], [2, 3]], ((0, 1), (2, 3))),
    ],
)
def test_padding(value, pairs):
    assert arguments.padding_pairs("padding", value, 2) == pairs


@pytest.mark.parametrize(
    ("value", "axes", "error", "text"),
    [
        (-1, 2, ArgumentError, "`padding` is -1 but needs to be at least 0"),
        ((1, -1), 2, ArgumentError, "`padding[1]` is -1 but needs to be at least 0"),
        (((0, -1), (0, 0)), 2, ArgumentError, "`padding[0][1]` is -1 but needs to be at least 0"),
        (((0, 1),), 2, ArgumentError, "`padding` is ((0, 1),) but needs 2 pairs (before, after), one per axis"),
        (((0, 1), 1), 2, ArgumentError, "`padding` is ((0, 1), 1) but needs 2 pairs (before, after), one per axis"),
        (((0, 1, 2), (0, 1)), 2, ArgumentError, "`padding` is ((0, 1, 2), (0, 1)) but needs 2 pairs (before, after), one per axis"),
        ((0, 1), 1, ArgumentError, "`padding` is (0, 1), with 2 entries for 1 axis; before and after it is written ((0, 1),)"),
        (0.5, 1, ArgumentTypeError, "`padding` is 0.5 (float) but needs an integer"),
    ],
)  # fmt: skip
def test_no_padding(value, axes, error, text):
    with message(error, text):
        arguments.padding_pairs("padding", value, axes)


def test_one_axis_needs_one():
    with message(ArgumentError, "`stride` is (1, 2), with 2 entries, but needs one"):
        arguments.per_axis("stride", (1, 2), 1, arguments.positive)


def test_nonzero():
    assert arguments.nonzero("divisor_override", np.int64(-2)) == -2
    with message(ArgumentError, "`divisor_override` is 0 but needs another integer"):
        arguments.nonzero("divisor_override", 0)


def test_long_values_are_cut():
    assert len(arguments.shown(list(range(1000)))) == 60
    assert arguments.shown(np.eye(2)) == "array([[1., 0.], [0., 1.]])"


# ----------------------------------------------------------------------------------------- arrays


class Convertible:
    def __array__(self, dtype=None, copy=None):
        return np.arange(3.0)


class Subclass(np.ndarray):
    pass


class Refusing:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("call detach() first")


def test_as_array():
    array = np.arange(3.0)
    assert arguments.as_array("input", array) is array
    assert arguments.as_array("input", Convertible()).dtype == np.float64
    assert arguments.as_array("input", [[1.0, 2]]).dtype == np.float64
    assert type(arguments.as_array("input", np.zeros(3).view(Subclass))) is np.ndarray


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "`input` is None but needs an array"),
        ("abc", "`input` is 'abc' but needs an array"),
        ({1.0}, "`input` is {1.0} but needs an array"),
        (np.ma.masked_array([1.0], [True]), "`input` is a masked array, whose mask would be lost; write input.filled(0)"),
        (Refusing(), "`input` (Refusing) does not become an array: call detach() first"),
    ],
)  # fmt: skip
def test_no_array(value, text):
    with message(ArgumentTypeError, text):
        arguments.as_array("input", value)


def test_ragged_list():
    with pytest.raises(ArgumentTypeError, match=r"`input` \(list\) does not become an array"):
        arguments.as_array("input", [[1.0], [1.0, 2.0]])


@pytest.mark.parametrize(
    ("dtype", "text"),
    [
        (">f4", "`input` is float32 in foreign byte order (>f4); write input.astype(numpy.float32)"),
        (">f8", "`input` is float64 in foreign byte order (>f8); write input.astype(numpy.float64)"),
        ("f2", "`input` is float16 but needs float32 or float64; write input.astype(numpy.float32)"),
        ("g", f"`input` is {np.dtype('g')} but needs float32 or float64; write input.astype(numpy.float64)"),
        ("i8", "`input` is int64 but needs float32 or float64; write input.astype(numpy.float64)"),
        ("u1", "`input` is uint8 but needs float32 or float64; write input.astype(numpy.float32)"),
        ("?", "`input` is bool but needs float32 or float64; write input.astype(numpy.float32)"),
        ("c16", "`input` is complex128 but needs float32 or float64"),
        ("O", "`input` is object but needs float32 or float64"),
        ("U3", "`input` is <U3 but needs float32 or float64"),
        ("M8[s]", "`input` is datetime64[s] but needs float32 or float64"),
    ],
)
def test_unsupported_types(dtype, text):
    with message(DtypeError, text):
        arguments.check_real("input", np.zeros(2, dtype))


def test_indices():
    same = np.arange(3)
    assert arguments.as_indices("target", same) is same
    assert arguments.as_indices("target", np.arange(3, dtype=">i4")).dtype == np.dtype(np.int64)
    with message(OutOfRangeError, f"`target` has {2**63}, which int64 does not hold"):
        arguments.as_indices("target", np.array([2**63], np.uint64))
    for dtype in ("f8", "?", "O"):
        with pytest.raises(DtypeError, match=r"`target` is .* but needs integers \(int64\)"):
            arguments.as_indices("target", np.zeros(2, dtype))


@given(hnp.arrays(np.int64, hnp.array_shapes(min_dims=0, min_side=0), elements=st.integers(-2, 5)))
def test_check_below(array):
    """Passes exactly when every value is an index, and names a value that is none."""
    if ((array >= 0) & (array < 4)).all():
        arguments.check_below("target", array, array.shape, 4, "classes")
    else:
        with pytest.raises(OutOfRangeError, match=r"`target` has (-1|-2|4|5)") as raised:
            arguments.check_below("target", array, array.shape, 4, "classes")
        assert "needs 0 <= target < 4 (classes)" in str(raised.value)


@given(st.data())
def test_readable_is_aligned_in_whole_items_and_equal(data):
    itemsize = data.draw(st.sampled_from([4, 8]))
    dtype = np.dtype(f"f{itemsize}")
    offset, step = data.draw(st.integers(0, 8)), data.draw(st.integers(1, 20))
    raw = np.arange(200, dtype=np.uint8)
    array = np.ndarray((3,), dtype, raw.data, offset, (itemsize - 1 + step,))
    ready = arguments.readable(array)
    assert ready.flags.aligned
    assert ready.strides[0] % itemsize == 0
    assert ready.tobytes() == array.tobytes()
    if array.flags.aligned and array.strides[0] % itemsize == 0:
        assert ready is array


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.data(),
)
def test_overlaps_itself_never_misses(shape, data):
    """Where two elements share an address it says so; where strides nest it does not."""
    strides = tuple(data.draw(st.integers(-12, 12)) * 8 for _ in shape)
    room = np.zeros(400)
    array = np.lib.stride_tricks.as_strided(room[200:], tuple(shape), strides)
    places = [sum(i * s for i, s in zip(index, strides, strict=True)) for index in np.ndindex(*shape)]
    if len(set(places)) < len(places):
        assert arguments.overlaps_itself(array)
    assert not arguments.overlaps_itself(np.zeros(shape)[::-1].T)


def test_overlap():
    room = np.zeros((4, 6))
    assert arguments.overlap(room[1:], room[:-1])
    assert not arguments.overlap(room[:2], room[2:])
    assert not arguments.overlap(room[:, ::2], room[:, 1::2])
    assert not arguments.overlap(room, np.zeros((4, 6)))


def test_too_large_for_64_bits():
    with message(
        ShapeError, "the result (1099511627776, 1099511627776) has more elements than 64 bits can address"
    ):
        arguments.empty("the result", (2**40, 2**40), np.dtype(np.float32))


def test_too_large_for_this_machine():
    with pytest.raises(
        AllocationError, match=r"the result \(536870912, 536870912\) in float64 needs 2.15e\+09 GiB"
    ):
        arguments.empty("the result", (2**29, 2**29), np.dtype(np.float64))


def test_cotangent():
    dtype = np.dtype(np.float32)
    assert arguments.cotangent("cotangent", None, (2,), dtype, "result") is None
    for one in (1, 1.0, np.float64(1), np.float32(1)):
        array = arguments.cotangent("cotangent", one, (), dtype, "result")
        assert array is not None
        assert array.dtype == dtype
        assert array.shape == ()
    with message(ShapeError, "`cotangent` has shape (3,) but `result` has (2,)"):
        arguments.cotangent("cotangent", np.ones(3, dtype), (2,), dtype, "result")
    with message(
        DtypeError, "`cotangent` is float64 but `result` is float32; write cotangent.astype(numpy.float32)"
    ):
        arguments.cotangent("cotangent", np.ones(2), (2,), dtype, "result")
    with message(
        DtypeError, "`tangent of x` is float64 but `x` is float32; write tangent.astype(numpy.float32)"
    ):
        arguments.cotangent("tangent of x", np.ones(2), (2,), dtype, "x")


def test_within():
    """The operator's name in front, the call below, the class kept."""
    for kind in (ShapeError, DtypeError, AllocationError):
        error = kind("`x` is wrong").within("conv2d", "x (3,)")
        assert type(error) is kind
        assert isinstance(error, KernelError)
        assert str(error) == "conv2d: `x` is wrong\n    x (3,)"
        assert str(kind("a").within("b")) == "b: a"
