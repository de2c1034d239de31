"""The object a user calls, over small operators whose programs are plain NumPy (`tests.support.fake`)."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from typing import Any

import numpy as np
import pytest

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
from kernels.operator import Operator
from kernels.runtime.execute import Place
from tests.support import fake

rng = np.random.default_rng(7)
x, w, b = rng.standard_normal((5, 3)), rng.standard_normal(3), rng.standard_normal(3)


@pytest.fixture(autouse=True)
def _plain_numpy(monkeypatch):
    monkeypatch.setattr("kernels.operator.prepare", fake.prepare)


# as Any: many calls below are mistakes
rows: Any = Operator(fake.ROWS)
pick: Any = Operator(fake.PICK)
sums: Any = Operator(fake.SUMS)


def message(error: type[Exception], text: str):
    """`text` is the whole message."""
    return pytest.raises(error, match=f"^{re.escape(text)}$")


# ------------------------------------------------------------------------------------------ calls


def test_call():
    assert np.array_equal(rows(x, w), x * w)
    assert np.array_equal(rows(x, w, b, s=2, alpha=3.0), 3.0 * x[::2] * w + b)
    assert np.array_equal(rows(b=b, w=w, x=x, s0=2), x[::2] * w + b)
    assert np.array_equal(rows(x, w, s=(2,)), x[::2] * w)


def test_group_of_two_parameters():
    y, z = sums(x[:, 0], s=2)
    assert np.array_equal(y, 22 * x[:, 0])
    assert z.shape == ()
    assert np.array_equal(sums(x[:, 0], s=(1, 2))[0], 21 * x[:, 0])
    assert np.array_equal(sums(x[:, 0], s0=1, s1=2)[0], 21 * x[:, 0])


def test_integer_output():
    y, i = pick(x, np.array([4, 0]))
    assert np.array_equal(y, x[[4, 0]])
    assert i.dtype == np.int64
    assert i.tolist() == [5, 1]


def test_integers_of_any_kind_are_taken():
    for kind in (np.int8, np.uint16, np.int32, np.uint64):
        assert np.array_equal(pick(x, np.array([4, 0], kind))[0], x[[4, 0]])
    assert np.array_equal(pick(x, [4, 0])[0], x[[4, 0]])


def test_float32():
    y = rows(x.astype(np.float32), w.astype(np.float32))
    assert y.dtype == np.float32


def test_lists_become_float64():
    assert np.array_equal(rows([[1.0, 2.0]], [3.0, 4.0]), [[3.0, 8.0]])


@pytest.mark.parametrize("form", ["reversed", "strided", "fortran", "read-only", "unaligned", "split item"])
def test_any_memory(form):
    array = x.copy()
    if form == "reversed":
        array = x[::-1].copy()[::-1]
    elif form == "strided":
        array = np.repeat(x, 2, axis=1)[:, ::2]
    elif form == "fortran":
        array = np.asfortranarray(x)
    elif form == "read-only":
        array.flags.writeable = False
    elif form == "unaligned":
        array = np.frombuffer(b"." + x.tobytes(), np.float64, offset=1).reshape(x.shape)
        assert not array.flags.aligned
    elif form == "split item":
        records = np.zeros(x.shape, [("value", np.float64), ("rest", np.int32)])
        records["value"] = x
        array = records["value"]
        assert array.strides[-1] == 12
    y, pullback = rows.vjp(array, w)
    assert np.array_equal(y, x * w)
    assert np.array_equal(pullback(y)[0], y * w)


# -------------------------------------------------------------------------------------------- out


def test_out():
    out = np.empty((3, 3))
    assert rows(x, w, s=2, out=out) is out
    assert np.array_equal(out, x[::2] * w)


def test_out_with_strides():
    room = np.zeros((6, 7))
    out = room[::-2, 6:0:-2]
    assert rows(x, w, s=2, out=out) is out
    assert np.array_equal(out, x[::2] * w)
    assert np.count_nonzero(room) == 9


def test_out_that_a_kernel_cannot_write_in_place():
    out = np.frombuffer(bytearray(1 + 9 * 8), np.float64, offset=1).reshape(3, 3)
    assert rows(x, w, s=2, out=out) is out
    assert np.array_equal(out, x[::2] * w)


def test_several_outs():
    y, i = np.empty((2, 3)), np.empty(2, np.int64)
    result = pick(x, [4, 0], out=(y, i))
    assert result[0] is y
    assert result[1] is i
    assert i.tolist() == [5, 1]


def test_out_of_vjp():
    out = np.empty((5, 3))
    assert rows.vjp(x, w, out=out)[0] is out


@pytest.mark.parametrize(
    ("out", "error", "text"),
    [
        (np.empty((5, 2)), OutputError, "rows: `out` has shape (5, 2) but the result has (5, 3)"),
        (np.empty((5, 3), "f4"), DtypeError, "rows: `out` is float32 but the result is float64"),
        (np.broadcast_to(1.0, (5, 3)), OutputError, "rows: `out` is read-only"),
        (
            np.ma.zeros((5, 3)),
            ArgumentTypeError,
            "rows: `out` is a masked array, whose mask would not be heeded; write out.data",
        ),
        ([1.0], ArgumentTypeError, "rows: `out` is [1.0] but needs an ndarray (5, 3) of float64"),
        (
            np.lib.stride_tricks.as_strided(np.zeros(9), (5, 3), (8, 8)),
            OutputError,
            "rows: `out` has elements that may share memory (shape (5, 3), strides (8, 8))",
        ),
    ],
)
def test_bad_out(out, error, text):
    with message(error, f"{text}\n    x (5, 3), w (3,)"):
        rows(x, w, out=out)


def test_out_overlaps_input():
    room = np.zeros((6, 3))
    room[:5] = x
    with pytest.raises(
        OutputError, match="`out` shares memory with `x`, which is read while `out` is written"
    ):
        rows(room[:5], w, out=room[1:])
    wide = np.zeros((5, 6))
    wide[:, ::2] = x
    out = wide[:, 1::2]
    assert rows(wide[:, ::2], w, out=out) is out  # interleaved, but no element in common
    assert np.array_equal(out, x * w)


def test_outs_overlap_each_other():
    room = np.zeros(8)
    with pytest.raises(OutputError, match=re.escape("`out[1]` shares memory with `out[0]`")):
        pick(x, [4, 0], out=(room[:6].reshape(2, 3), room[5:7].view(np.int64)))


def test_out_needs_one_array_for_each_output():
    with pytest.raises(ArgumentTypeError, match="needs a tuple of 2 arrays"):
        pick(x, [4, 0], out=np.empty((2, 3)))


# ------------------------------------------------------------------------------------ derivatives


def test_vjp():
    y, pullback = rows.vjp(x, w, b, s=2, alpha=3.0)
    gy = rng.standard_normal(y.shape)
    gx, gw, gb = pullback(gy)
    assert np.array_equal(gx[::2], 3 * gy * w)
    assert not gx[1::2].any()
    assert np.allclose(gw, 3 * (gy * x[::2]).sum(0))
    assert np.allclose(gb, gy.sum(0))


def test_gradient_of_absent_and_integer_arguments_is_none():
    y, pullback = rows.vjp(x, w)
    assert pullback(y)[2] is None
    (y, _), pullback = pick.vjp(x, [4, 0])
    gw, gt = pullback(y)
    assert gt is None
    assert np.array_equal(gw[[4, 0]], y)


def test_wrt():
    y, pullback = rows.vjp(x, w, b, wrt="w")
    (gw,) = pullback(y)
    assert np.allclose(gw, (y * x).sum(0))
    y, pullback = rows.vjp(x, w, wrt=("b", "x"))
    gb, gx = pullback(y)
    assert gb is None
    assert np.array_equal(gx, y * w)
    assert repr(pullback) == "<pullback of rows with respect to b, x>"


def test_jvp():
    tx, tw = rng.standard_normal(x.shape), rng.standard_normal(3)
    y, ty = rows.jvp((x, w), (tx, tw), s=2)
    assert np.array_equal(y, x[::2] * w)
    assert np.allclose(ty, tx[::2] * w + x[::2] * tw)
    y, ty = rows.jvp((x, w, b), (None, None, w))
    assert np.array_equal(ty, np.broadcast_to(w, ty.shape))
    y, ty = rows.jvp((x, w), (None, None))
    assert not ty.any()


def test_jvp_of_an_integer_output_is_none():
    (y, _), (ty, ti) = pick.jvp((x, [4, 0]), (2 * x, None))
    assert ti is None
    assert np.array_equal(ty, 2 * y)


def test_several_cotangents():
    (y, z), pullback = sums.vjp(x[:, 0], s=1)
    assert np.array_equal(pullback(y, None)[0], 11 * y)
    assert np.array_equal(pullback(None, 2.0)[0], np.full(5, 2.0))
    assert np.array_equal(pullback(y, z)[0], 11 * y + z)
    assert not pullback(None, None)[0].any()
    _, second = pullback.vjp(y, z)
    gy, gz, gx = second(y)
    assert np.array_equal(gy, 11 * y)
    assert np.allclose(gz, y.sum())
    assert not gx.any()
    assert second.wrt == ("grad_y", "grad_z", "x")


def test_second_order():
    y, pullback = rows.vjp(x, w, b, s=2, alpha=3.0)
    gy = rng.standard_normal(y.shape)
    gradients, second = pullback.vjp(gy)
    assert all(np.array_equal(g, h) for g, h in zip(gradients, pullback(gy), strict=True))
    hgx, hgw, hgb = (rng.standard_normal(g.shape) for g in gradients)
    hgy, hx, hw, hb = second(hgx, hgw, hgb)
    assert np.allclose(hgy, 3 * (hgx[::2] * w + x[::2] * hgw) + hgb)
    assert np.allclose(hx[::2], 3 * gy * hgw)
    assert np.allclose(hw, 3 * (gy * hgx[::2]).sum(0))
    assert not hb.any()
    gradients, tangents = pullback.jvp((gy,), (hgy, hgx, hgw))
    tgx, tgw, tgb = tangents
    assert np.allclose(tgw, 3 * (hgy * x[::2] + gy * hgx[::2]).sum(0))
    assert np.allclose(tgx[::2], 3 * (hgy * w + gy * hgw))
    assert np.allclose(tgb, hgy.sum(0))


def test_second_order_of_some():
    y, pullback = rows.vjp(x, w, wrt="x")
    (gx,), second = pullback.vjp(y, wrt=("w", "grad_output"))
    hw, hgy = second(gx)
    assert np.allclose(hw, (y * gx).sum(0))
    assert np.allclose(hgy, gx * w)
    (gx,), (tgx,) = pullback.jvp((y,), (None, None, w))
    assert np.allclose(tgx, y * w)
    _, second = rows.vjp(x, w)[1].vjp(y)
    hgy, _, _, hb = second(None, w, None)
    assert hb is None
    assert np.allclose(hgy, x * w)


def test_results_are_fresh():
    y, pullback = rows.vjp(x, w)
    assert pullback(y)[0] is not pullback(y)[0]


def test_index_arrays_are_checked_again():
    """A pullback keeps the caller's array; kernels index with it, so what was written there since is checked."""
    t = np.array([4, 0])
    (y, _), pullback = pick.vjp(x, t)
    t[1] = 5
    with pytest.raises(OutOfRangeError, match=re.escape("`t` has 5 at 1 but needs 0 <= t < 5")):
        pullback(y)


# ------------------------------------------------------------------------------------------ errors


def test_error_names_operator_argument_and_call():
    with message(
        ShapeError,
        "rows: `w` has extent 4 along axis 0 but needs 3 (M, from x.shape[1])\n    x (5, 3), w (4,), s=2",
    ):
        rows(x, np.ones(4), s=2)


def test_errors_are_builtin_exceptions_too():
    for error, base in ((ShapeError, ValueError), (DtypeError, TypeError), (ArgumentError, ValueError)):
        assert issubclass(error, base)
        assert issubclass(error, KernelError)
    assert issubclass(ArgumentTypeError, TypeError)
    assert issubclass(OutOfRangeError, IndexError)
    assert issubclass(AllocationError, MemoryError)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: rows(x), ArgumentTypeError, "rows: missing a required argument: 'w'; the arguments are (x, w, b=None, *, s=1, alpha=1.0)"),
        (lambda: rows(x, w, k=1), ArgumentTypeError, "rows: got an unexpected keyword argument 'k'; the arguments are (x, w, b=None, *, s=1, alpha=1.0)"),
        (lambda: rows(x, w, s=1, s0=1), ArgumentTypeError, "rows: `s0` belongs to `s`, which is given too"),
        (lambda: sums(x[0], s0=1), ArgumentTypeError, "sums: `s0` is given without `s1`"),
        (lambda: sums(x[0]), ArgumentTypeError, "sums: missing a required argument: 's'; the arguments are (x, *, s)"),
        (lambda: sums(x[0], s=(1, 2, 3)), ArgumentError, "sums: `s` is (1, 2, 3), with 3 entries, but needs one, or 2, one per axis\n    x (3,), s=(1, 2, 3)"),
        (lambda: rows(x, w, s=0), ArgumentError, "rows: `s0` is 0 but needs to be at least 1\n    x (5, 3), w (3,), s=0"),
        (lambda: rows(x, w, s=1.0), ArgumentTypeError, "rows: `s0` is 1.0 (float) but needs an integer\n    x (5, 3), w (3,), s=1.0"),
        (lambda: rows(x, w, s=True), ArgumentTypeError, "rows: `s0` is True but needs an integer, not a bool\n    x (5, 3), w (3,), s=True"),
        (lambda: rows(x, w, alpha="1"), ArgumentTypeError, "rows: `alpha` is '1' but needs a real number\n    x (5, 3), w (3,), alpha='1'"),
        (lambda: rows(x[0], w), ShapeError, "rows: `x` has 1 axes but needs 2: (N, M)\n    x (3,), w (3,)"),
        (lambda: rows(x[:0], w), ShapeError, "rows: x[s*p, m] needs a row (needs N >= 1, found 0 < 1)\n    x (0, 3), w (3,)"),
        (lambda: rows(x, None), ArgumentTypeError, "rows: `w` is None but needs an array\n    x (5, 3)"),
        (lambda: rows(x, w.astype("f4")), DtypeError, "rows: `w` is float32 but `x` is float64; write w.astype(numpy.float64)\n    x (5, 3), w (3,)"),
        (lambda: rows(x.astype(int), w), DtypeError, "rows: `x` is int64 but needs float32 or float64; write x.astype(numpy.float64)\n    x (5, 3), w (3,)"),
        (lambda: pick(x, [0.0]), DtypeError, "pick: `t` is float64 but needs integers (int64)\n    w (5, 3), t list"),
        (lambda: pick(x, np.array([True])), DtypeError, "pick: `t` is bool but needs integers (int64)\n    w (5, 3), t (1,)"),
        (lambda: pick(x, np.array([0, -1])), OutOfRangeError, "pick: `t` has -1 at 1 but needs 0 <= t < 5 (R, an axis of `w` (5, 3))\n    w (5, 3), t (2,)"),
        (lambda: rows.vjp(x, w, wrt="y"), ArgumentError, "rows: `wrt` has 'y' but needs names among 'x', 'w', 'b'\n    x (5, 3), w (3,)"),
        (lambda: pick.vjp(x, [0], wrt="t"), ArgumentError, "pick: `wrt` has 't' but needs names among 'w'\n    w (5, 3), t list"),
        (lambda: rows.vjp(x, w, wrt=("x", "x")), ArgumentError, "rows: `wrt` names 'x' twice\n    x (5, 3), w (3,)"),
        (lambda: rows.vjp(x, w, wrt=1), ArgumentTypeError, "rows: `wrt` is 1 but needs a name or a tuple of names\n    x (5, 3), w (3,)"),
        (lambda: rows.jvp(x, w), ArgumentTypeError, "rows: `primals` is ndarray but needs a tuple of arrays"),
        (lambda: rows.jvp((x, w), (x,)), ArgumentTypeError, "rows: `tangents` has 1 entries but needs 2, one for each primal"),
        (lambda: rows.jvp((x, w, b, 2), (x,)), ArgumentTypeError, "rows: `primals` has 4 entries but the array arguments are x, w, b"),
        (lambda: rows.jvp((x, w), (x, x)), ShapeError, "rows: `tangent of w` has shape (5, 3) but `w` has (3,)\n    x (5, 3), w (3,)"),
        (lambda: rows.jvp((x, w, None), (x, w, w)), ArgumentTypeError, "rows: the tangent of `b` needs to be None: `b` is absent\n    x (5, 3), w (3,)"),
        (lambda: pick.jvp((x, [0]), (x, [0.0])), ArgumentTypeError, "pick: the tangent of `t` needs to be None: integers have no derivative\n    w (5, 3), t list"),
        (lambda: rows.vjp(x, w)[1](w), ShapeError, "rows: `cotangent` has shape (3,) but `result` has (5, 3)\n    x (5, 3), w (3,)"),
        (lambda: rows.vjp(x, w)[1](x.astype("f4")), DtypeError, "rows: `cotangent` is float32 but `result` is float64; write cotangent.astype(numpy.float64)\n    x (5, 3), w (3,)"),
        (lambda: rows.vjp(x, w)[1](x, x), ArgumentTypeError, "rows: the pullback takes one cotangent but got 2\n    x (5, 3), w (3,)"),
        (lambda: sums.vjp(x[0], s=1)[1](x), ArgumentTypeError, "sums: the pullback takes 2 cotangents, one for each real output, but got 1\n    x (3,), s=1"),
        (lambda: rows.vjp(x, w)[1].vjp(x)[1](x), ArgumentTypeError, "rows: the second pullback takes 3 cotangents, one for each gradient (x, w, b), but got 1\n    x (5, 3), w (3,)"),
        (lambda: rows.vjp(x, w)[1].jvp((x,), ()), ArgumentTypeError, "rows: `tangents` has 0 entries but needs 1 for the cotangents and up to 3 for x, w, b\n    x (5, 3), w (3,)"),
        (lambda: rows.vjp(x, w)[1].jvp((x, x), (x,)), ArgumentTypeError, "rows: the pullback takes one cotangent but got 2\n    x (5, 3), w (3,)"),
        (lambda: rows.vjp(x, w)[1].jvp((x,), (w,)), ShapeError, "rows: `tangent of the cotangent` has shape (3,) but `result` has (5, 3)\n    x (5, 3), w (3,)"),
        (lambda: rows.vjp(x, w)[1].jvp(x, (w,)), ArgumentTypeError, "rows: `cotangents` is ndarray but needs a tuple of arrays\n    x (5, 3), w (3,)"),
        (lambda: rows.vjp(x, w)[1].vjp(x)[1](x, x, None), ShapeError, "rows: `cotangent of the gradient of w` has shape (5, 3) but `w` has (3,)\n    x (5, 3), w (3,)"),
        (lambda: rows.output_shape((5, -3), (3,)), ArgumentError, "rows: `x.shape[1]` is -3 but needs to be at least 0\n    x (5, -3), w (3,)"),
        (lambda: rows.output_shape(5, (3,)), ArgumentTypeError, "rows: `x` is 5 but needs an array or a shape\n    x int, w (3,)"),
    ],
)  # fmt: skip
def test_error_texts(call, error, text):
    with message(error, text):
        call()


def test_nan_and_infinity_pass():
    assert np.isnan(rows([[np.nan, np.inf]], [1.0, 1.0])[0, 0])


# ------------------------------------------------------------------------------------- what it is


def test_output_shape():
    assert rows.output_shape((5, 3), w, s=2) == (3, 3)
    assert pick.output_shape((5, 3), (2,)) == ((2, 3), (2,))
    assert rows.output_shape((2**30, 2**29), (2**29,)) == (2**30, 2**29)
    with pytest.raises(ShapeError, match=r"the result .* has more elements than 64 bits can address"):
        rows.output_shape((2**40, 2**30), (2**30,))


def test_signature_and_documentation():
    assert str(inspect.signature(rows)) == "(x, w, b=None, *, s=1, alpha=1.0, out=None)"
    assert repr(rows) == "<operator rows(x, w, b=None, *, s=1, alpha=1.0, out=None)>"
    assert rows.formula in (rows.__doc__ or "")
    assert rows.__name__ == "rows"
    assert rows._repr_latex_() == "$\\displaystyle \\mathrm{rows}$"


def test_source_is_the_text_of_the_module_that_defines_it():
    assert rows.source() == inspect.getsource(fake)


def test_copies_are_the_operator_itself():
    assert copy.deepcopy([rows])[0] is rows
    assert copy.copy(rows) is rows


def test_pickle_by_name_or_not_at_all():
    with pytest.raises(TypeError, match="rows was built in memory and cannot be pickled"):
        pickle.dumps(rows)
    named = Operator(fake.ROWS, module=__name__)
    globals()["rows_of_this_module"] = named
    named.__name__ = "rows_of_this_module"
    assert named.__reduce__() == "rows_of_this_module"


def test_a_definition_with_no_optional_array_in_the_middle():
    """An absent array before a present one is passed as None."""
    assert np.array_equal(rows(x, w, None), x * w)


def test_the_fake_objects_to_a_wrong_shape():
    """The stand-in checks the contract: shown failing once."""
    x_place, w_place = Place.of(x), Place.of(w)
    places = {"x": x_place, "w": w_place._replace(shape=(2,))}
    sizes = {"N": 5, "M": 3, "P": 5, "s0": 1}
    with pytest.raises(AssertionError):
        fake.prepare(fake.ROWS, "forward", places, sizes, {"alpha": 1.0}, {"y": x_place})
