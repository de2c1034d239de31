"""What a mistaken call of a shipped operator says, whole texts."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import kernels
from kernels.errors import (
    AllocationError,
    ArgumentError,
    ArgumentTypeError,
    DtypeError,
    KernelError,
    OutOfRangeError,
    OutputError,
    ShapeError,
)


def zeros(*shape, dtype=np.float64):
    return np.zeros(shape, dtype)


x, w, b = zeros(2, 4, 7, 8), zeros(6, 2, 3, 3), zeros(6)
CALL = "input (2, 4, 7, 8), weight (6, 2, 3, 3)"
LOGITS = "input (3, 5), target (3,)"

MISTAKES = [
    ("conv2d", (zeros(8, 6, 32, 32), zeros(16, 2, 3, 3)), {"groups": 2}, ShapeError,
     "`input` has 6 channels but `weight` needs 4 (weight.shape[1] * groups = 2 * 2)\n"
     "    input (8, 6, 32, 32), weight (16, 2, 3, 3), groups=2"),
    ("conv2d", (x[0, 0], w), {}, ShapeError,
     "`input` has 2 axes but needs 4, or 3 unbatched: (N, C, 2 spatial)\n    input (7, 8), weight (6, 2, 3, 3)"),
    ("conv1d", (x, w), {}, ShapeError,
     f"`input` has 4 axes but needs 3, or 2 unbatched: (N, C, 1 spatial)\n    {CALL}"),
    ("conv2d", (x, w[0]), {}, ShapeError,
     "`weight` has 3 axes but needs 4: (out_channels, in_channels / groups, 2 of kernel)\n"
     "    input (2, 4, 7, 8), weight (2, 3, 3)"),
    ("conv2d", (x, w), {"groups": 4}, ShapeError,
     f"`weight` has 6 output channels, which `groups` 4 does not divide\n    {CALL}, groups=4"),
    ("conv2d", (x, w, b[:5]), {"groups": 2}, ShapeError,
     f"`bias` has shape (5,) but needs (6,), one entry for each of weight.shape[0]\n    {CALL}, bias (5,), groups=2"),
    ("conv2d", (x, w, b[None]), {"groups": 2}, ShapeError,
     f"`bias` has shape (1, 6) but needs (6,), one entry for each of weight.shape[0]\n    {CALL}, bias (1, 6), groups=2"),
    ("conv2d", (x[:, :, :2], w), {"groups": 2}, ShapeError,
     "the kernel covers 3 along spatial axis 0 but the padded `input` has 2 (2 + 0 + 0)\n"
     "    input (2, 4, 2, 8), weight (6, 2, 3, 3), groups=2"),
    ("conv2d", (x, w), {"groups": 2, "dilation": (1, 5), "padding": ((0, 0), (1, 0))}, ShapeError,
     "the kernel covers dilation * (kernel - 1) + 1 = 5 * 2 + 1 = 11 along spatial axis 1 "
     "but the padded `input` has 9 (8 + 1 + 0)\n"
     f"    {CALL}, padding=((0, 0), (1, 0)), dilation=(1, 5), groups=2"),
    ("conv2d", (x, w[..., :0]), {"groups": 2}, ShapeError,
     "`weight` has an empty kernel: every kernel extent needs to be at least 1\n"
     "    input (2, 4, 7, 8), weight (6, 2, 3, 0), groups=2"),
    ("conv1d", (zeros(1, 1, 0), zeros(1, 1, 3)), {"padding": "same"}, ShapeError,
     "the kernel covers 3 along spatial axis 0 but the padded `input` has 2 (0 + 1 + 1)\n"
     "    input (1, 1, 0), weight (1, 1, 3), padding='same'"),
    ("conv2d", (x, w), {"stride": 0, "groups": 2}, ArgumentError,
     f"`stride` is 0 but needs to be at least 1\n    {CALL}, stride=0, groups=2"),
    ("conv2d", (x, w), {"dilation": (1, -1), "groups": 2}, ArgumentError,
     f"`dilation[1]` is -1 but needs to be at least 1\n    {CALL}, dilation=(1, -1), groups=2"),
    ("conv2d", (x, w), {"groups": 0}, ArgumentError, f"`groups` is 0 but needs to be at least 1\n    {CALL}, groups=0"),
    ("conv2d", (x, w), {"groups": 2.0}, ArgumentTypeError,
     f"`groups` is 2.0 (float) but needs an integer\n    {CALL}, groups=2.0"),
    ("conv2d", (x, w), {"padding": "full", "groups": 2}, ArgumentError,
     f"`padding` is 'full' but needs one of 'valid', 'same'\n    {CALL}, padding='full', groups=2"),
    ("conv2d", (x, w), {"padding": -1, "groups": 2}, ArgumentError,
     f"`padding` is -1 but needs to be at least 0\n    {CALL}, padding=-1, groups=2"),
    ("conv2d", (x.astype("f4"), w), {"groups": 2}, DtypeError,
     f"`weight` is float64 but `input` is float32; write weight.astype(numpy.float32)\n    {CALL}, groups=2"),
    ("conv2d", (x.astype(object), w), {"groups": 2}, DtypeError,
     f"`input` is object but needs float32 or float64\n    {CALL}, groups=2"),
    ("conv2d", (x, None), {}, ArgumentTypeError, "`weight` is None but needs an array\n    input (2, 4, 7, 8)"),
    ("conv2d", (x,), {}, ArgumentTypeError,
     "missing a required argument: 'weight'; the arguments are "
     "(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, padding_mode='zeros', padding_value=0.0)"),
    ("convolve1d", (zeros(3), zeros(2, 2)), {}, ShapeError,
     "`in2` has 2 axes but needs 1\n    in1 (3,), in2 (2, 2)"),
    ("convolve1d", (zeros(3), zeros(0)), {}, ShapeError,
     "`in2` is empty; a convolution needs at least one entry along each axis\n    in1 (3,), in2 (0,)"),
    ("convolve2d", (zeros(3, 4), zeros(4, 3)), {"mode": "valid"}, ShapeError,
     'mode="valid" needs one array at least as large as the other along every axis\n'
     "    in1 (3, 4), in2 (4, 3), mode='valid'"),
    ("convolve1d", (zeros(3), zeros(2)), {"mode": "circular"}, ArgumentError,
     "`mode` is 'circular' but needs one of 'full', 'same', 'valid'\n    in1 (3,), in2 (2,), mode='circular'"),
    ("max_pool2d", (x, 2), {"padding": 2}, ArgumentError,
     "`padding` is 2 along axis 0 but needs to be at most 1, half of the 2 that a window covers\n"
     "    input (2, 4, 7, 8), kernel_size=2, padding=2"),
    ("max_pool2d", (x, 9), {}, ShapeError,
     "the window covers 9 along spatial axis 0 but the padded `input` has 7 (7 + 0 + 0)\n"
     "    input (2, 4, 7, 8), kernel_size=9"),
    ("max_pool1d", (zeros(1, 2, 5), 3, 1), {"dilation": 3}, ShapeError,
     "the window covers dilation * (kernel - 1) + 1 = 3 * 2 + 1 = 7 along spatial axis 0 "
     "but the padded `input` has 5 (5 + 0 + 0)\n    input (1, 2, 5), kernel_size=3, stride=1, dilation=3"),
    ("max_pool1d", (zeros(1, 2, 0), 1), {}, ShapeError,
     "`input` has no entries along spatial axis 0\n    input (1, 2, 0), kernel_size=1"),
    ("max_pool2d", (x,), {}, ArgumentTypeError,
     "missing a required argument: 'kernel_size'; the arguments are (input, kernel_size, stride=None, "
     "padding=0, dilation=1, ceil_mode=False, return_indices=False, ties='first')"),
    ("max_pool2d", (x, 0), {}, ArgumentError,
     "`kernel_size` is 0 but needs to be at least 1\n    input (2, 4, 7, 8), kernel_size=0"),
    ("max_pool2d", (x, 2), {"ceil_mode": 1}, ArgumentTypeError,
     "`ceil_mode` is 1 but needs True or False\n    input (2, 4, 7, 8), kernel_size=2, ceil_mode=1"),
    ("avg_pool2d", (x, 2), {"divisor_override": 0}, ArgumentError,
     "`divisor_override` is 0 but needs another integer\n    input (2, 4, 7, 8), kernel_size=2, divisor_override=0"),
    ("avg_pool2d", (x, (2, 9)), {}, ShapeError,
     "the window covers 9 along spatial axis 1 but the padded `input` has 8 (8 + 0 + 0)\n"
     "    input (2, 4, 7, 8), kernel_size=(2, 9)"),
    ("global_max_pool", (zeros(2, 3),), {}, ShapeError,
     "`input` has 2 axes but needs at least 3: (N, C, *spatial)\n    input (2, 3)"),
    ("global_avg_pool", (zeros(2, 3, 0),), {}, ShapeError, "`input` has empty planes\n    input (2, 3, 0)"),
    ("linear", (zeros(2, 3), zeros(4, 5)), {}, ShapeError,
     "`input` has 3 features but `weight` needs 5 (weight.shape[1])\n    input (2, 3), weight (4, 5)"),
    ("linear", (zeros(2, 3), zeros(3)), {}, ShapeError,
     "`weight` has 1 axes but needs 2: (out_features, in_features)\n    input (2, 3), weight (3,)"),
    ("linear", (zeros(), zeros(4, 3)), {}, ShapeError,
     "`input` has no axes but needs at least 1: (*, in_features)\n    input (), weight (4, 3)"),
    ("linear", (zeros(2, 3), zeros(4, 3), zeros(3)), {}, ShapeError,
     "`bias` has shape (3,) but needs (4,), one entry for each row of `weight`\n"
     "    input (2, 3), weight (4, 3), bias (3,)"),
    ("log_softmax", (zeros(2, 3), 2), {}, ArgumentError,
     "`dim` is 2 but needs -2 <= dim < 2 (the axes of `input`)\n    input (2, 3), dim=2"),
    ("log_softmax", (zeros(), 1), {}, ArgumentError,
     "`dim` is 1 but needs -1 <= dim < 1 (the axes of `input`)\n    input (), dim=1"),
    ("cross_entropy", (zeros(3, 5), np.zeros(2, int)), {}, ShapeError,
     "`target` has shape (2,) but needs (3,), that of `input` without the classes\n    input (3, 5), target (2,)"),
    ("cross_entropy", (zeros(3, 5), np.array([0, 5, 1])), {}, OutOfRangeError,
     f"`target` has 5 at 1 but needs 0 <= target < 5 (C, an axis of `input` (3, 5))\n    {LOGITS}"),
    ("cross_entropy", (zeros(3, 5), np.array([0, -100, 1])), {}, OutOfRangeError,
     f"`target` has -100 at 1 but needs 0 <= target < 5 (C, an axis of `input` (3, 5))\n    {LOGITS}"),
    ("cross_entropy", (zeros(1, 5, 2, 2), np.array([[[0, 1], [9, 2]]])), {}, OutOfRangeError,
     "`target` has 9 at (0, 1, 0) but needs 0 <= target < 5 (C, an axis of `input` (1, 5, 2, 2))\n"
     "    input (1, 5, 2, 2), target (1, 2, 2)"),
    ("cross_entropy", (zeros(3, 0), np.zeros(3, int)), {}, ShapeError,
     "`input` has no classes\n    input (3, 0), target (3,)"),
    ("cross_entropy", (zeros(3, 5), np.zeros(3, int)), {"reduction": "avg"}, ArgumentError,
     f"`reduction` is 'avg' but needs one of 'mean', 'sum', 'none'\n    {LOGITS}, reduction='avg'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "args", "options", "error", "text"), MISTAKES, ids=lambda v: v if isinstance(v, str) else ""
)
def test_texts(name, args, options, error, text):
    with pytest.raises(error, match=f"^{re.escape(f'{name}: {text}')}$"):
        getattr(kernels, name)(*args, **options)


def test_output_shape_checks_alike():
    with pytest.raises(ShapeError, match="conv2d: `input` has 6 channels but `weight` needs 4"):
        kernels.conv2d.output_shape((8, 6, 32, 32), (16, 2, 3, 3), groups=2)


def test_output_shape_needs_what_a_call_needs():
    """An absent argument fails where a call would, not inside a plan (a raw TypeError, once)."""
    assert kernels.conv2d.output_shape((1, 2, 5, 5), (3, 2, 3, 3), None) == (1, 3, 3, 3)
    with pytest.raises(ArgumentTypeError, match="conv2d: `weight` is None but needs an array or a shape"):
        kernels.conv2d.output_shape((1, 2, 5, 5), None)


class Unspeakable:
    """Every conversion of it raises something odd, and so does showing it."""

    def __repr__(self):
        raise ValueError

    def __array__(self, dtype=None, copy=None):
        raise KeyError("odd")

    def __index__(self):
        raise OverflowError

    shape = 5


@pytest.mark.parametrize(
    ("args", "options", "text"),
    [
        ((Unspeakable(), 2), {}, "`input` (Unspeakable) does not become an array: 'odd'"),
        ((x, Unspeakable()), {}, "`kernel_size` is an Unspeakable (Unspeakable) but needs an integer"),
        ((x, 2), {"ceil_mode": Unspeakable()}, "`ceil_mode` is an Unspeakable but needs True or False"),
    ],
)
def test_what_an_object_raises_becomes_our_error(args, options, text):
    with pytest.raises(ArgumentTypeError, match=f"^{re.escape(f'max_pool2d: {text}')}"):
        kernels.max_pool2d(*args, **options)
    with pytest.raises(ArgumentTypeError, match="^max_pool2d: "):
        kernels.max_pool2d.output_shape(*args, **options)


def test_extents_whose_product_overflows():
    assert kernels.conv1d.output_shape((1, 1, 2**31), (1, 1, 2**31)) == (1, 1, 1)
    with pytest.raises(
        ShapeError, match=r"`input` \(4294967296, 1, 4294967296\) has more elements than 64 bits"
    ):
        kernels.conv1d.output_shape((2**32, 1, 2**32), (1, 1, 1))
    with pytest.raises(ShapeError, match="has more elements than 64 bits can address"):
        kernels.linear.output_shape((2**40, 3), (2**40, 3))


def test_a_result_too_large_to_hold():
    """Broadcast inputs are small; what they ask for is not."""
    wide = np.broadcast_to(1.0, (2**20, 1, 2**20))
    with pytest.raises(MemoryError, match=r"conv1d: the result .* needs 8.19e\+03 GiB, more than there is"):
        kernels.conv1d(wide, np.ones((1, 1, 1)))


def test_an_error_writes_nothing():
    out = np.full((2, 6, 5, 6), 7.0)
    with pytest.raises(ShapeError):
        kernels.conv2d(x, w, b[:5], groups=2, out=out)
    assert (out == 7).all()


# ------------------------------------------------------------------------- objects with a will of their own


class Awkward:
    """Nothing can be asked of it."""

    @property
    def shape(self):
        raise RuntimeError("no shape today")

    def __eq__(self, other):
        raise RuntimeError("no comparison today")

    __hash__ = None


@pytest.mark.parametrize("name", [np.array(["input"]), np.array([1, 2]), 1, Awkward()])
def test_what_is_no_name_in_wrt(name):
    _, pullback = kernels.relu.vjp(np.ones(3))
    for call in (
        lambda: kernels.relu.vjp(np.ones(3), wrt=[name]),
        lambda: kernels.relu.vjp(np.ones(3), wrt=["input", name]),
        lambda: pullback.vjp(np.ones(3), wrt=[name]),
    ):
        with pytest.raises(ArgumentTypeError, match="relu: `wrt` has .* but needs names among .*'input'"):
            call()


def test_an_object_whose_shape_raises():
    with pytest.raises(DtypeError, match="relu: `input` is object"):
        kernels.relu(Awkward())
    with pytest.raises(ArgumentTypeError, match="relu: `input` is .* but needs an array or a shape"):
        kernels.relu.output_shape(Awkward())


def test_a_scalar_cotangent_that_is_no_float():
    _, pullback = kernels.cross_entropy.vjp(np.ones((2, 3)), np.array([0, 1]))
    for huge in (10**400, 10**5000):
        with pytest.raises(ArgumentTypeError, match="`cotangent` is .* needs a real number") as error:
            pullback(huge)
        assert len(str(error.value)) < 300


SUBCLASSES = [
    ("relu", (np.ones((2, 3)),)),
    ("log_softmax", (np.ones((2, 3)),)),
    ("convolve2d", (np.ones((2, 3)), np.ones((2, 2)))),
    ("linear", (np.ones((2, 3)), np.ones((4, 3)))),
]


@pytest.mark.parametrize(("name", "arrays"), SUBCLASSES)
def test_out_may_be_a_subclass_that_is_an_array_after_all(name, arrays):
    operator = getattr(kernels, name)
    expected = operator(*arrays)
    out = np.asmatrix(np.zeros(expected.shape))
    assert operator(*arrays, out=out) is out
    assert np.array_equal(np.asarray(out), expected)
    with pytest.raises(ArgumentTypeError, match="`out` is a masked array"):
        operator(*arrays, out=np.ma.zeros(expected.shape))


def test_a_matrix_for_a_result_of_another_rank():
    with pytest.raises(OutputError, match=r"`out` has shape \(1, 3\) but the result has \(3,\)"):
        kernels.relu(np.ones(3), out=np.asmatrix(np.ones(3)))
    with pytest.raises(OutputError, match=r"has shape"):
        kernels.conv1d(np.ones((1, 1, 5)), np.ones((1, 1, 3)), out=np.asmatrix(np.ones((1, 3))))


def test_scratch_that_no_machine_has():
    x = as_strided(np.zeros(()), (0, 2**40), (0, 0))
    y, pullback = kernels.log_softmax.vjp(x, 0)
    assert y.shape == (0, 2**40)
    assert pullback(y)[0].shape == y.shape
    huge = as_strided(np.zeros(()), (2**30, 2**27), (0, 0))
    with pytest.raises(
        AllocationError, match=r"cross_entropy: .* GiB, more than there is\n    input \(1073741824"
    ):
        kernels.cross_entropy(huge, as_strided(np.zeros((), int), (2**30,), (0,)))


def test_unknown_keywords_are_told_alike():
    x = np.ones(3)
    _, pullback = kernels.relu.vjp(x)
    _, pullback2 = pullback.vjp(x)
    for call in (
        lambda: kernels.relu(x, self=1),
        lambda: kernels.relu.vjp(x, self=1),
        lambda: kernels.relu.output_shape(x, self=1),
        lambda: kernels.relu.jvp((x,), (x,), primals=1),
        lambda: pullback(x, out=x),
        lambda: pullback.vjp(x, wrtt=1),
        lambda: pullback.jvp((x,), (x, x), self=1),
        lambda: pullback2(x, out=x),
    ):
        with pytest.raises(
            ArgumentTypeError, match=r"^relu: got an unexpected keyword argument '\w+'; the arg"
        ):
            call()


def test_values_are_not_printed_whole():
    long = [0] * 5000
    x, w = np.ones((1, 1, 9)), np.ones((1, 1, 3))
    for call in (
        lambda: kernels.relu(tuple(long)),
        lambda: kernels.relu(long),
        lambda: kernels.relu.output_shape(tuple(long), bad=1),
        lambda: kernels.relu.output_shape((*long, -1)),
        lambda: kernels.conv1d(x, w, stride=long),
        lambda: kernels.conv1d(x, w, padding=(long, 1)),
        lambda: kernels.conv1d(x, w, padding=[long, long]),
        lambda: kernels.conv1d(x, w, stride=10**4000),
        lambda: kernels.conv1d(x, w, stride=10**5000),
        lambda: kernels.relu(np.zeros(2, [(f"field{n}", float) for n in range(500)])),
        lambda: kernels.relu(x, out=long),
        lambda: kernels.relu.vjp(x, wrt=long),
    ):
        with pytest.raises(KernelError) as error:
            call()
        assert len(str(error.value)) < 600, str(error.value)[:900]


def test_hints_for_cotangents_of_gradients():
    x = np.ones((2, 3))
    pullback2 = kernels.relu.vjp(x)[1].vjp(x)[1]
    with pytest.raises(DtypeError, match=r"write cotangent\.astype\(numpy\.float64\)"):
        pullback2(x.astype("f4"))
    with pytest.raises(ArgumentTypeError, match=r"write cotangent\.filled\(0\)"):
        pullback2(np.ma.masked_array(x))


def test_out_may_not_be_an_input_that_was_copied():
    x = np.moveaxis(np.ones((29, 2, 3), "f4"), -1, 0)
    with pytest.raises(OutputError, match="`out` shares memory with `input`, which is read while"):
        kernels.relu(x, out=x)


def test_outs_that_overlap():
    x = np.ones((1, 1, 8))
    memory = np.zeros(8)
    y, i = memory[:4].reshape(1, 1, 4), memory.view(np.int64)[2:6].reshape(1, 1, 4)
    with pytest.raises(OutputError, match=r"`out\[1\]` shares memory with `out\[0\]`, which is written, too"):
        kernels.max_pool1d(x, 2, return_indices=True, out=(y, i))


def test_a_window_of_too_many_places():
    big = 2**31 - 1
    with pytest.raises(ArgumentError, match="a window of .* places, but needs at most"):
        kernels.avg_pool3d(np.ones((1, 1, 2, 2, 2)), (big, big, big), 1, (big // 2 + 1 - 1,) * 3)


# ------------------------------------------------------------------------- what a fuzzer of bad calls found


def evil(base, **methods):
    """A subclass in which what is named raises."""

    def fail(self, *args):
        raise RuntimeError("as it pleases")

    return type("Evil", (base,), dict.fromkeys(methods.pop("failing", ()), fail) | methods)


def test_tuples_and_lists_of_evil_classes_are_what_they_hold():
    """Their own lengths, places and iterators are not asked: they raised, and lied."""
    x = np.arange(10.0).reshape(1, 2, 5)
    want, pullback = kernels.max_pool1d.vjp(x, 2)
    for base in (tuple, list):
        for kind in (
            evil(base, failing=("__len__", "__iter__", "__getitem__", "__repr__")),
            evil(
                base, __len__=lambda self: 7, __iter__=lambda self: None, __getitem__=lambda self, n: "text"
            ),
        ):
            assert np.array_equal(kernels.max_pool1d(x, kind([2])), want)
            assert np.array_equal(kernels.max_pool1d(x, 2, padding=kind([kind([0, 0])])), want)
            with pytest.raises(
                ArgumentError, match="max_pool1d: `kernel_size` is .*, with 2 entries, but needs one"
            ):
                kernels.max_pool1d(x, kind([2, 2]))
            assert kernels.max_pool1d.output_shape(kind([1, 2, 5]), 2) == (1, 2, 2)
            assert kernels.max_pool1d.vjp(x, 2, wrt=kind(["input"]))[1].wrt == ("input",)
            assert np.array_equal(kernels.max_pool1d.jvp(kind([x]), kind([x]), kernel_size=2)[0], want)
            assert np.array_equal(pullback.jvp(kind([want]), kind([want]))[0][0], pullback(want)[0])
            out = kind([np.zeros((1, 2, 2)), np.zeros((1, 2, 2), np.int64)])
            y, _ = kernels.max_pool1d(x, 2, return_indices=True, out=out)
            assert np.array_equal(y, want)
            with pytest.raises(KernelError, match="^max_pool1d: "):
                kernels.max_pool1d(kind([x]), 2, stride="2")


def test_strings_of_evil_classes_are_what_they_say():
    for kind in (evil(str, failing=("__eq__", "__hash__")), evil(str, __eq__=lambda self, other: True)):
        one = kernels.relu.vjp(np.ones(3), wrt=kind("input"))[1]
        assert one.wrt == ("input",)
        assert type(one.wrt[0]) is str
        assert kernels.convolve1d(np.ones(3), np.ones(2), mode=kind("valid")).shape == (2,)
        with pytest.raises(ArgumentError, match="needs one of 'full', 'same', 'valid'"):
            kernels.convolve1d(np.ones(3), np.ones(2), mode=kind("circular"))
        with pytest.raises(ArgumentError, match="`wrt` has .* but needs names among 'input'"):
            kernels.relu.vjp(np.ones(3), wrt=[kind("weight")])


def test_numbers_of_evil_classes():
    """What they say of themselves is not asked, or asked once."""
    x, t = np.ones((2, 3)), np.array([0, 1])
    one = evil(int, failing=("__ne__", "__eq__"))(1)
    assert kernels.cross_entropy(x, t, ignore_index=one) == kernels.cross_entropy(x, t, ignore_index=1)
    for value in (evil(float, failing=("__float__",))(-100), 10**400, -100.0):
        with pytest.raises(KernelError, match="`ignore_index` is .* but needs"):
            kernels.cross_entropy(x, t, ignore_index=value)


def test_a_shape_of_more_axes_than_arrays_have():
    assert kernels.relu.output_shape((1,) * 64) == (1,) * 64
    with pytest.raises(
        ShapeError, match="relu: `input` has 65 axes, more than the 64 that an array has at most"
    ):
        kernels.relu.output_shape((1,) * 65)


def test_no_memory_for_a_copy_is_our_error():
    """A view of one byte that is as large as an address can say, in a type or order that has to be copied."""
    x = as_strided(np.zeros(1, "f4"), (2**33, 2, 2**20), (0, 0, 0))
    targets = as_strided(np.zeros(1, np.int32), (2**33, 2**20), (0, 0))
    with pytest.raises(
        AllocationError, match="cross_entropy: a copy of an argument that kernels do not read as it lies"
    ):
        kernels.cross_entropy(x, targets)
    with pytest.raises(
        ShapeError, match=r"`target` \(2147483648, 2147483648\) has more elements than 64 bits"
    ):
        kernels.cross_entropy(x, as_strided(np.zeros(1, np.uint8), (2**31, 2**31), (0, 0)))


def test_indices_that_change_their_type_or_strides_after_the_call():
    """The pullback has its own view: what the array says of itself later makes no value pass the check."""
    x = np.arange(6.0).reshape(2, 3)
    for change in ("dtype", "strides"):
        target = np.array([0, 1])
        y, pullback = kernels.cross_entropy.vjp(x, target, reduction="sum")
        want = pullback(1.0)[0]
        target[1] = 2**32 + 1  # as int32: 1, 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            setattr(target, change, np.dtype(np.int32) if change == "dtype" else (0,))
        with pytest.raises(OutOfRangeError, match=r"`target` has 4294967297 at 1"):
            pullback(1.0)
        target = None
        assert want.shape == (2, 3)


def test_indices_that_are_one_number_over_and_over_are_read_once():
    """A broadcast array of 2^40 of them is refused as quickly as any other."""
    many = np.broadcast_to(np.array(1, np.uint64), (2**40,))
    with pytest.raises(KernelError, match="^multi_margin_loss: "):
        kernels.multi_margin_loss(np.ones((2, 3)), many)
    with pytest.raises(KernelError, match="^embedding: "):
        kernels.embedding(many.view(np.int64), np.ones((2, 4)))
    with pytest.raises(KernelError, match="^embedding: `input` has 1 at 0"):
        kernels.embedding(many.view(np.int64), np.ones((1, 4)))


def test_no_dilation_is_no_dilation_of_one():
    for operator in (kernels.max_pool2d, kernels.soft_pool2d, kernels.stochastic_pool2d_mean):
        with pytest.raises(KernelError, match="`dilation` is None"):
            operator.output_shape((2, 3, 4, 4), 2, dilation=None)
