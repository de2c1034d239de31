"""Every shipped operator against slow references, in every mode of differentiation."""

from __future__ import annotations

import importlib
import inspect
import pickle
from typing import Any

import numpy as np
import pytest

import kernels
from tests.support import (
    reference,
    shipped,
    shipped_convolution,
    shipped_layers,
    shipped_losses,
    shipped_pools,
)
from tests.support.cases import apart, generator

EXACT: dict[str, Any] = {
    "rtol": 1e-11,
    "atol": 1e-11,
}  # float64 sums of at most a few hundred terms of size 1
CASES = [
    *shipped.CASES,
    *shipped_convolution.CASES,
    *shipped_layers.CASES,
    *shipped_losses.CASES,
    *shipped_pools.CASES,
]
STEP = 1e-5
FINITE: dict[str, Any] = {
    "rtol": 1e-6,
    "atol": 1e-6,
}  # a central difference: its error is of order STEP squared, and rounding / STEP

every_case = pytest.mark.parametrize(
    "case", [pytest.param(c, marks=(pytest.mark.slow,) if c.slow else ()) for c in CASES], ids=str
)
# what follows from the forward formula where its gradient is right, and what another type changes: once for each operator
FIRST = {c.operator: c for c in reversed(CASES) if c.slow}
one_case = pytest.mark.parametrize(
    "case",
    [
        pytest.param(c, marks=(pytest.mark.slow,) if c.slow else ())
        for c in CASES
        if not c.slow or c is FIRST[c.operator]
    ],
    ids=str,
)
# what belongs to calls rather than to equations is tried with operators that are compiled anyway
every_core_case = pytest.mark.parametrize("case", [c for c in CASES if not c.slow], ids=str)
every_operator = pytest.mark.parametrize("name", kernels.OPERATORS)


class ByName:
    """An operator whose arrays are given in order where its signature has options between them."""

    def __init__(self, operator):
        self.operator = operator
        self.names = list(operator.adapter.tensors)
        self.adapter, self.jvp = operator.adapter, operator.jvp

    def __call__(self, *arrays, **options):
        return self.operator(**dict(zip(self.names, arrays, strict=True)), **options)

    def vjp(self, *arrays, **options):
        return self.operator.vjp(**dict(zip(self.names, arrays, strict=True)), **options)

    def output_shape(self, *arrays, **options):
        return self.operator.output_shape(**dict(zip(self.names, arrays, strict=True)), **options)


def of(case):
    operator = getattr(kernels, case.operator)
    names = list(operator.adapter.tensors)
    leading = list(inspect.signature(operator).parameters)[: len(names)] == names
    return operator if leading else ByName(operator)


def random_like(arrays, *key):
    """Random numbers in the shapes of real arrays; None for the others."""
    rng = generator(*key)
    return tuple(
        rng.standard_normal(a.shape) if a is not None and a.dtype.kind == "f" else None for a in arrays
    )


def inner(a, b):
    """Sum of products over all pairs of arrays that are both there."""
    return sum(float((u * v).sum()) for u, v in zip(a, b, strict=True) if u is not None and v is not None)


def moved(arrays, direction, step):
    return tuple(a if t is None else a + step * t for a, t in zip(arrays, direction, strict=True))


def test_every_operator_has_cases():
    """Steps of optimizers and what joins nodes of a network have tests of their own: test_training, test_joining."""
    homes = ("kernels.optimizers", "kernels.joining")
    elsewhere = {name for home in homes for name in importlib.import_module(home).ADAPTERS}
    assert {case.operator for case in CASES} | elsewhere == set(kernels.OPERATORS)


@every_case
def test_forward(case):
    want = case.forward(*case.arrays)
    y = of(case)(*case.arrays, **case.options)
    assert isinstance(y, np.ndarray)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, want, **EXACT, strict=True)
    assert of(case).output_shape(*case.arrays, **case.options) == want.shape


@one_case
def test_float32(case):
    arrays = [a.astype(np.float32) if a is not None and a.dtype.kind == "f" else a for a in case.arrays]
    y, pullback = of(case).vjp(*arrays, **case.options)
    assert y.dtype == np.float32
    np.testing.assert_allclose(
        y, case.forward(*case.arrays), rtol=1e-4, atol=1e-4
    )  # 24 bits, a hundred terms
    gy = generator(str(case)).standard_normal(y.shape)
    want = case.vjp(gy, *case.arrays)
    for g, h in zip(pullback(gy.astype(np.float32)), want, strict=True):
        assert (g is None) == (h is None)
        if g is not None:
            assert g.dtype == np.float32
            np.testing.assert_allclose(g, h, rtol=1e-4, atol=1e-4)


@every_core_case
def test_out(case):
    """Into memory with gaps, backwards, that held something else."""
    want = case.forward(*case.arrays)
    room = np.full(tuple(2 * n + 1 for n in want.shape), 7.0)
    backwards: Any = (..., *(slice(2 * n - 1, None, -2) for n in want.shape))
    out = room[backwards]
    assert out.shape == want.shape
    assert of(case)(*case.arrays, **case.options, out=out) is out
    np.testing.assert_allclose(out, want, **EXACT)
    assert np.count_nonzero(room != 7.0) <= out.size


@every_case
def test_vjp(case):
    y, pullback = of(case).vjp(*case.arrays, **case.options)
    gy = generator(str(case), "gy").standard_normal(y.shape)
    gradients = pullback(gy)
    assert isinstance(gradients, tuple)
    for g, want in zip(gradients, case.vjp(gy, *case.arrays), strict=True):
        assert (g is None) == (want is None)
        if g is not None:
            np.testing.assert_allclose(g, want, **EXACT, strict=True)


@every_core_case
def test_wrt(case):
    names = list(of(case).adapter.tensors)
    y, pullback = of(case).vjp(*case.arrays, **case.options)
    everything = dict(zip(names, pullback(y), strict=True))
    for name, gradient in everything.items():
        if gradient is not None:
            (alone,) = of(case).vjp(*case.arrays, wrt=name, **case.options)[1](y)
            np.testing.assert_array_equal(alone, gradient)


@one_case
def test_jvp(case):
    """<J t, g> = <t, J' g>"""
    tangents = random_like(case.arrays, str(case), "t")
    options = dict(case.options)
    y, ty = of(case).jvp(case.arrays, tangents, **options)
    np.testing.assert_allclose(y, case.forward(*case.arrays), **EXACT)
    gy = generator(str(case), "gy").standard_normal(y.shape)
    np.testing.assert_allclose(inner([ty], [gy]), inner(tangents, case.vjp(gy, *case.arrays)), **EXACT)


@one_case
def test_second_order(case):
    """The pullback's own pullback and tangent against finite differences of the reference gradient."""
    y, pullback = of(case).vjp(*case.arrays, **case.options)
    rng = generator(str(case), "second")
    gy, t_gy = rng.standard_normal(y.shape), rng.standard_normal(y.shape)
    tangents = random_like(case.arrays, str(case), "t")
    gradients, second = pullback.vjp(gy)
    cotangents = random_like(case.arrays, str(case), "h")
    hgy, *h = second(*cotangents)

    ahead = case.vjp(gy + STEP * t_gy, *moved(case.arrays, tangents, STEP))
    behind = case.vjp(gy - STEP * t_gy, *moved(case.arrays, tangents, -STEP))
    change: Any = [None if a is None else (a - b) / (2 * STEP) for a, b in zip(ahead, behind, strict=True)]
    np.testing.assert_allclose(inner([hgy, *h], [t_gy, *tangents]), inner(cotangents, change), **FINITE)

    _, t_gradients = pullback.jvp((gy,), (t_gy, *tangents))
    for g, want in zip(t_gradients, change, strict=True):
        assert (g is None) == (want is None)
        if g is not None:
            np.testing.assert_allclose(g, want, **FINITE, strict=True)
    for g, want in zip(gradients, case.vjp(gy, *case.arrays), strict=True):
        if g is not None:
            np.testing.assert_allclose(g, want, **EXACT)


@every_core_case
@pytest.mark.parametrize("form", ["reversed", "gaps", "fortran", "read-only"])
def test_memory_forms(case, form):
    """The same numbers laid out otherwise give the same result, and the arrays are not written to."""

    def laid(a):
        if a is None:
            return None
        a = np.array(a, order="F" if form == "fortran" else "C")
        if form == "reversed":
            every: Any = (..., *(slice(None, None, -1) for _ in a.shape))
            return a[every].copy()[every]
        if form == "gaps":
            room = np.zeros([3 * n for n in a.shape], a.dtype)
            inside: Any = (..., *(slice(1, None, 3) for _ in a.shape))
            view = room[inside]
            view[...] = a
            return view
        a.flags.writeable = form != "read-only"
        return a

    arrays = [laid(a) for a in case.arrays]
    y, pullback = of(case).vjp(*arrays, **case.options)
    np.testing.assert_allclose(y, case.forward(*case.arrays), **EXACT)
    gy = laid(generator(str(case), form).standard_normal(y.shape))
    for g, want in zip(pullback(gy), case.vjp(np.array(gy), *case.arrays), strict=True):
        if g is not None:
            np.testing.assert_allclose(g, want, **EXACT)
    for a, b in zip(arrays, case.arrays, strict=True):
        assert a is None or np.array_equal(a, b)


def test_unbatched():
    rng = generator("unbatched")
    for axes in (1, 2, 3):
        x, w, b = (
            rng.standard_normal((4, *(5, 6, 4)[:axes])),
            rng.standard_normal((6, 2, *(2, 3, 2)[:axes])),
            rng.standard_normal(6),
        )
        for name, arguments, options in [
            (f"conv{axes}d", (x, w, b), {"groups": 2, "stride": 2}),
            (f"max_pool{axes}d", (x,), {"kernel_size": 2}),
            (f"avg_pool{axes}d", (x,), {"kernel_size": 2, "padding": 1}),
        ]:
            operator = getattr(kernels, name)
            y, pullback = operator.vjp(*arguments, **options)
            batch, pull_batch = operator.vjp(x[None], *arguments[1:], **options)
            np.testing.assert_array_equal(y, batch[0])
            gradients, want = pullback(y), pull_batch(batch)
            np.testing.assert_array_equal(gradients[0], want[0][0])
            for g, h in zip(gradients[1:], want[1:], strict=True):
                np.testing.assert_allclose(g, h, **EXACT)
    x, t = rng.standard_normal(5), np.array(3)
    loss, pullback = kernels.cross_entropy.vjp(x, t)
    np.testing.assert_allclose(loss, reference.cross_entropy(x[None], t[None])[0], **EXACT)
    assert pullback(1.0)[0].shape == (5,)
    assert kernels.cross_entropy(x, t, reduction="none").shape == ()


def test_options_in_all_forms():
    rng = generator("options")
    x, w = rng.standard_normal((1, 2, 7, 8)), rng.standard_normal((3, 2, 3, 3))
    want = kernels.conv2d(x, w, None, (2, 2), ((1, 1), (1, 1)), (1, 1), 1)
    for stride, padding in [(2, 1), ([2, 2], (1, 1)), (np.int64(2), np.array([1, 1])), ((2,), (1,))]:
        np.testing.assert_array_equal(kernels.conv2d(x, w, None, stride, padding), want)
    np.testing.assert_array_equal(kernels.conv2d(x, w, padding="valid"), kernels.conv2d(x, w))
    want = kernels.max_pool2d(x, 2)
    np.testing.assert_array_equal(kernels.max_pool2d(x, (2, 2), stride=None), want)
    np.testing.assert_array_equal(kernels.max_pool2d(input=x, kernel_size=2, stride=2), want)


def test_max_pool_indices():
    x = apart(generator("indices"), (2, 3, 6, 5))
    window = (3, 2), (2, 1), ((1, 1), (0, 0)), (1, 2), False
    y, i = reference.max_pool(x, *window)
    got, at = kernels.max_pool2d(x, (3, 2), (2, 1), (1, 0), (1, 2), return_indices=True)
    np.testing.assert_array_equal(got, y)
    np.testing.assert_array_equal(at, i, strict=True)
    (y, at), pullback = kernels.max_pool2d.vjp(x, (3, 2), (2, 1), (1, 0), (1, 2), return_indices=True)
    np.testing.assert_allclose(pullback(y)[0], reference.max_pool_vjp(x, i, y), **EXACT)
    shapes = kernels.max_pool2d.output_shape(x, (3, 2), (2, 1), (1, 0), (1, 2), return_indices=True)
    assert shapes == (y.shape, i.shape)


def test_max_pool_ties_nan_and_padding():
    """The first of ties, the last NaN, never the padding."""
    x = np.array([[[1.0, 1.0, 0.0, np.nan, 2.0, np.nan, 3.0, -np.inf]]])
    y, i = kernels.max_pool1d(x, 4, 2, padding=2, return_indices=True)
    want, at = reference.max_pool(x, (4,), (2,), ((2, 2),), (1,), False)
    np.testing.assert_array_equal(y, want)
    np.testing.assert_array_equal(i, at)
    assert i[0, 0, 0] == 0
    y, i = kernels.max_pool1d(np.full((1, 1, 4), -np.inf), 2, padding=1, return_indices=True)
    assert i.tolist() == [[[0, 1, 3]]]
    (y, _), pullback = kernels.max_pool1d.vjp(np.ones((1, 1, 4)), 2, return_indices=True)
    assert pullback(y)[0].tolist() == [[[1, 0, 1, 0]]]


def test_nan_and_infinity_pass():
    x = np.array([[[1.0, np.nan, np.inf, 2.0]]])
    w = np.ones((1, 1, 2))
    np.testing.assert_array_equal(kernels.conv1d(x, w)[0, 0], [np.nan, np.nan, np.inf])
    np.testing.assert_array_equal(kernels.relu(np.array([np.nan, -np.inf, np.inf])), [np.nan, 0, np.inf])
    np.testing.assert_array_equal(kernels.avg_pool1d(x, 2)[0, 0], [np.nan, np.inf])
    assert np.isnan(kernels.global_max_pool(x)).all()
    assert np.isnan(kernels.global_min_pool(x)).all()
    large = np.array([[1000.0, 0.0, -np.inf]])
    np.testing.assert_allclose(kernels.log_softmax(large), [[0, -1000, -np.inf]])


def test_a_window_of_padding_alone():
    """With dilation a window may step over the input: -inf, at no index, without gradient (torch: garbage)."""
    x = np.arange(2.0).reshape(1, 1, 2)
    (y, i), pullback = kernels.max_pool1d.vjp(x, 2, 1, 1, 3, return_indices=True)
    np.testing.assert_array_equal(y, [[[-np.inf]]])
    np.testing.assert_array_equal(i, [[[-1]]])
    np.testing.assert_array_equal(pullback(np.ones_like(y))[0], np.zeros_like(x))


def test_log_softmax_of_a_number():
    y, pullback = kernels.log_softmax.vjp(np.array(3.0), dim=0)
    assert y.shape == ()
    assert y == pullback(np.array(1.0))[0] == 0


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_zero_extents(axes):
    """No batch, or no channels: empty results, zero gradients."""
    spatial, kernel = (5, 4, 3)[:axes], (2,) * axes
    conv = getattr(kernels, f"conv{axes}d")
    for n, c, o in [(0, 2, 3), (2, 0, 3), (2, 2, 0), (0, 0, 0)]:
        x, w, b = np.ones((n, c, *spatial)), np.ones((o, c, *kernel)), np.ones(o)
        y, pullback = conv.vjp(x, w, b)
        assert y.shape == (n, o, *(e - 1 for e in spatial))
        assert (y == 1 + c * 2**axes).all()
        gx, gw, gb = pullback(y)
        assert gx.shape == x.shape
        assert gw.shape == w.shape
        assert (gb == y.size // max(o, 1)).all() or c
        (gx, gw, gb), second = pullback.vjp(y)
        assert [g.shape for g in second(gx, gw, gb)] == [y.shape, x.shape, w.shape, b.shape]
    for pool in (getattr(kernels, f"{how}_pool{axes}d") for how in ("max", "avg")):
        for n, c in [(0, 2), (2, 0)]:
            y, pullback = pool.vjp(np.ones((n, c, *spatial)), 2)
            assert y.shape == (n, c, *(e // 2 for e in spatial))
            assert pullback(y)[0].shape == (n, c, *spatial)


def test_zero_extents_of_layers():
    for shape in [(0, 3), (2, 0)]:
        y, pullback = kernels.linear.vjp(np.ones(shape), np.ones((4, shape[1])), np.ones(4))
        assert y.shape == (shape[0], 4)
        assert (y == 1 + shape[1]).all()
        gx, gw, gb = pullback(y)
        assert gx.shape == shape
        assert not gw.any() or shape[1]
        assert gb.tolist() == [y[:, 0].sum()] * 4
    assert kernels.relu(np.ones((0, 3))).shape == (0, 3)
    assert kernels.log_softmax(np.ones((0, 3))).shape == (0, 3)
    assert kernels.log_softmax(np.ones((3, 0))).shape == (3, 0)
    assert kernels.global_avg_pool(np.ones((0, 2, 3))).shape == (0, 2, 1)
    no_targets = np.empty(0, np.int64)
    assert kernels.cross_entropy(np.ones((0, 3)), no_targets, reduction="none").shape == (0,)
    assert kernels.cross_entropy(np.ones((0, 3)), no_targets, reduction="sum") == 0
    # a sum over nothing is 0 whatever multiplies it, 1/N included (torch: NaN)
    assert kernels.cross_entropy(np.ones((0, 3)), no_targets) == 0


@every_operator
def test_torch_signature_and_documentation(name):
    operator = getattr(kernels, name)
    assert operator.__name__ == name
    assert "{" not in operator.__doc__
    assert all(word in operator.__doc__ for word in ("float32", "float64", "kernels.KernelError"))
    assert next(iter(inspect.signature(operator).parameters)) in (
        *("input", "in1", "input1", "x1", "anchor", "weight", "parameter"),
    )
    assert repr(operator) == f"<operator {name}{inspect.signature(operator)}>"
    assert operator.formula
    assert operator._repr_latex_().startswith("$")
    assert "DEFINITION" in operator.source()


@every_operator
def test_pickle(name):
    operator = getattr(kernels, name)
    assert pickle.loads(pickle.dumps(operator)) is operator


def test_signatures():
    want = {
        "conv2d": "(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, padding_mode='zeros', padding_value=0.0, *, out=None)",
        "convolve1d": "(in1, in2, mode='full', *, out=None)",
        "max_pool3d": "(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False, ties='first', *, out=None)",
        "avg_pool2d": "(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None, *, out=None)",
        "global_avg_pool": "(input, *, out=None)",
        "linear": "(input, weight, bias=None, *, out=None)",
        "relu": "(input, *, out=None)",
        "log_softmax": "(input, dim=-1, *, out=None)",
        "cross_entropy": "(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction='mean', label_smoothing=0.0, *, out=None)",
    }  # fmt: skip
    for name, signature in want.items():
        assert str(inspect.signature(getattr(kernels, name))) == signature


def test_the_checks_see_a_shifted_padding():
    """Shown failing once: the reference, one place off, is told apart."""
    case = next(c for c in CASES if c.operator == "conv2d" and c.options["padding"] == ((1, 1), (0, 0)))
    x, w, b = case.arrays
    options = case.options["stride"], ((0, 2), (0, 0)), case.options["dilation"], case.options["groups"]
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(
            of(case)(x, w, b, **case.options), reference.conv(x, w, b, *options), **EXACT
        )
