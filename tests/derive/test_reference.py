"""The reference against NumPy written by hand, and its derivatives against differences in many digits."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from derive.errors import SpecError, VerificationError
from derive.language import (
    ArgMax,
    ArgMin,
    Kth,
    LogSumExp,
    Max,
    Mean,
    Min,
    Operator,
    Prod,
    Sum,
    Tensor,
    circular,
    extent,
    indices,
    inside,
    maximum,
    minimum,
    overhang,
    parameters,
    reals,
    reflect,
    relu,
    replicate,
    step,
    symmetric,
    tensors,
)
from derive.numbers import Decimals, NotRational
from derive.reference import (
    Case,
    check_output_shape,
    evaluate,
    fold,
    reference_jvp,
    reference_vjp,
    reference_vjp_jvp,
    reference_vjp_vjp,
)

n, o, c, p, k, q, j, l = indices("n o c p k q j l")
x, w, y, z, m, b = tensors("x w y z m b")
s, d = parameters("s d")
a, e = parameters("a e", positive=False)
t = Tensor("t", integer=True)
DIGITS = Decimals(60)


def numbers(shape: tuple[int, ...], seed: int = 0, spread: int = 1000) -> np.ndarray:
    """Fractions without ties."""
    rng = np.random.default_rng(seed)
    made = np.empty(shape, object)
    for k, at in enumerate(np.ndindex(shape)):
        made[at] = Fraction(int(rng.integers(-9 * spread, 9 * spread)) * 2 + 1, spread) + Fraction(
            k, 7 * spread
        )
    return made


def total(products: Any) -> Any:
    return np.sum(products)


def padded(v: np.ndarray, before: int, after: int, mode: Any, axis: int = -1) -> np.ndarray:
    widths = [(0, 0)] * v.ndim
    widths[axis] = (before, after)
    if isinstance(mode, str):
        names: dict[str, Any] = {"circular": "wrap", "replicate": "edge"}
        made: np.ndarray = np.pad(v, widths, names.get(mode, mode))
        return made
    return np.pad(v, widths, constant_values=mode)


def windows(v: np.ndarray, size: int, stride: int, dilation: int) -> np.ndarray:
    """(..., P, K) from (..., X) by slicing alone."""
    count = (v.shape[-1] - dilation * (size - 1) - 1) // stride + 1
    starts = [v[..., i * stride : i * stride + dilation * (size - 1) + 1 : dilation] for i in range(count)]
    return np.stack(starts, -2)


CASES: dict[str, tuple[Operator, dict[str, np.ndarray], dict[str, int], Callable[..., Any]]] = {}


def case(
    name: str, operator: Operator, inputs: dict[str, Any], integers: dict[str, int], want: Callable[..., Any]
) -> None:
    CASES[name] = operator, inputs, integers, want


def conv(outside: Any = "absent") -> Operator:
    x = Tensor("x", margin=[(a, e)], outside=outside)
    return Operator(
        "conv", y[n, o, p] << Sum[c, k](x[n, c, s * p + d * k - a] * w[o, c, k]) + b[o], inputs=(x, w, b)
    )


def conv_wanted(mode: Any) -> Callable[..., Any]:
    def want(x: np.ndarray, w: np.ndarray, b: np.ndarray, s: int, d: int, a: int, e: int) -> Any:
        return np.einsum("ncpk,ock->nop", windows(padded(x, a, e, mode), w.shape[2], s, d), w) + b[:, None]

    return want


for mode in ("absent", 0, 3, "reflect", "symmetric", "replicate", "circular"):
    for s_, d_, a_, e_ in ((1, 1, 1, 2), (3, 2, 2, 0), (2, 4, 3, 1)):
        case(
            f"conv {mode} s{s_} d{d_}",
            conv(mode),
            {"x": numbers((2, 2, 7)), "w": numbers((2, 2, 3), 1), "b": numbers((2,), 2)},
            {"s": s_, "d": d_, "a": a_, "e": e_},
            conv_wanted(0 if mode == "absent" else mode),
        )


def conv_transposed() -> Operator:
    y = Tensor("y", margin=[(a, e)])
    return Operator("up", y[n, o, s * p + d * k - a] << Sum[c](x[n, c, p] * w[c, o, k]), inputs=(x, w))


def transposed(x: np.ndarray, w: np.ndarray, s: int, d: int, a: int, e: int) -> Any:
    size = s * (x.shape[2] - 1) + d * (w.shape[2] - 1) + 1
    made = np.full((x.shape[0], w.shape[1], size), Fraction(0), object)
    for i, kk in product(range(x.shape[2]), range(w.shape[2])):
        made[:, :, s * i + d * kk] += np.einsum("nc,co->no", x[:, :, i], w[:, :, kk])
    return made[:, :, a : size - e]


case(
    "transposed",
    conv_transposed(),
    {"x": numbers((2, 2, 4)), "w": numbers((2, 3, 3), 1)},
    {"s": 3, "d": 2, "a": 2, "e": 1},
    transposed,
)


def pool(reduce: Any, outside: Any = "absent", ceil: Any = None, **options: Any) -> Operator:
    x = Tensor("x", margin=[(a, a)], outside=outside)
    body = x[n, c, s * p + d * k - a]
    laws = {p: overhang(ceil)} if ceil is not None else {}
    return Operator("pool", y[n, c, p] << reduce[k](body, **options), inputs=(x,), given=(k,), laws=laws)


POOLED = {"s": 2, "d": 1, "a": 1, "K": 3}
case(
    "max pool",
    pool(Max),
    {"x": numbers((2, 2, 7))},
    POOLED,
    lambda x, s, d, a, K: windows(padded(x, a, a, -99), K, s, d).max(-1),
)
case(
    "min pool",
    pool(Min),
    {"x": numbers((2, 2, 7))},
    POOLED,
    lambda x, s, d, a, K: windows(padded(x, a, a, 99), K, s, d).min(-1),
)
case(
    "prod pool",
    pool(Prod),
    {"x": numbers((1, 2, 6))},
    POOLED,
    lambda x, s, d, a, K: windows(padded(x, a, a, 1), K, s, d).prod(-1),
)
case(
    "max pool of zeros",
    pool(Max, 0),
    {"x": -abs(numbers((1, 2, 6)))},
    POOLED,
    lambda x, s, d, a, K: windows(padded(x, a, a, 0), K, s, d).max(-1),
)
case(
    "lse pool",
    pool(LogSumExp),
    {"x": numbers((1, 2, 6), spread=10)},
    POOLED,
    lambda x, s, d, a, K: np.log(np.exp(windows(padded(x.astype(float), a, a, -np.inf), K, s, d)).sum(-1)),
)

xp = Tensor("x", margin=[(a, a)])
case(
    "average pool",
    Operator(
        "avg",
        y[n, c, p] << Sum[k](xp[n, c, s * p + k - a]) / Sum[k](inside(xp[n, c, s * p + k - a])),
        inputs=(xp,),
        given=(k,),
    ),
    {"x": numbers((2, 1, 6))},
    {"s": 2, "a": 2, "K": 3},
    lambda x, s, a, K: (
        windows(padded(x, a, a, 0), K, s, 1).sum(-1) / windows(padded(x * 0 + 1, a, a, 0), K, s, 1).sum(-1)
    ),
)

bins = (q >= sp.floor(p * extent(q) / extent(p)), q < sp.ceiling((p + 1) * extent(q) / extent(p)))
case(
    "adaptive pool",
    Operator("adaptive", y[n, p] << Sum[q](x[n, q], *bins) / Sum[q](1, *bins), inputs=(x,), given=(p,)),
    {"x": numbers((2, 7))},
    {"P": 4},
    lambda x, P: np.stack(
        [
            x[:, i * 7 // P : -(-(i + 1) * 7 // P)].sum(1) / Fraction(-(-(i + 1) * 7 // P) - i * 7 // P)
            for i in range(P)
        ],
        1,
    ),
)


def response(A: int, alpha: float, x: np.ndarray) -> np.ndarray:
    v = padded(x.astype(float) ** 2, A, A, 0, 1)
    total = sum(v[:, i : i + x.shape[1]] for i in range(2 * A + 1))
    return x.astype(float) / (1 + alpha * total) ** 0.75


A = parameters("A")
case(
    "response norm",
    Operator(
        "lrn",
        y[n, c, p] << x[n, c, p] * (1 + Sum[j](x[n, c + j - A, p] ** 2) / 3) ** sp.Rational(-3, 4),
        inputs=(x,),
        extents={j: 2 * A + 1},
    ),
    {"x": numbers((2, 4, 2), spread=10)},
    {"A": 1},
    lambda x, A: response(A, 1 / 3, x),
)
case(
    "embedding",
    Operator("embedding", y[n, l, c] << w[t[n, l], c], inputs=(w, t)),
    {"w": numbers((5, 3)), "t": np.array([[0, 4], [2, 2]])},
    {},
    lambda w, t: w[t],
)


def scattered(x: np.ndarray, t: np.ndarray, Y1: int) -> np.ndarray:
    made = np.full((x.shape[0], Y1), Fraction(0), object)
    for i, r in np.ndindex(x.shape):
        if 0 <= t[i, r] < Y1:
            made[i, t[i, r]] += x[i, r]
    return made


case(
    "unpool",
    Operator("unpool", y[n, t[n, p]] << x[n, p], inputs=(x, t)),
    {"x": numbers((2, 4)), "t": np.array([[0, 5, 3, 5], [1, 6, -1, 2]])},
    {"Y1": 6},
    scattered,
)
for fold_ in (reflect, symmetric, replicate, circular):
    case(
        f"explicit {fold_.__name__}",
        Operator(
            "folded",
            y[p] << Sum[k](x[fold_(p + d * k - a)] * w[k]),
            inputs=(x, w),
            extents={p: extent(q)},
            given=(q,),
        ),
        {"x": numbers((4,)), "w": numbers((3,), 1)},
        {"d": 3, "a": 3, "Q": 4},
        lambda x, w, d, a, Q, mode=fold_.__name__: (
            windows(padded(x, a, d * 2 - a + 0, mode), 3, 1, d) * w
        ).sum(-1),
    )
case(
    "median",
    Operator("median", y[p] << Kth[k](x[p + k], 1), inputs=(x,), given=(k,)),
    {"x": numbers((6,))},
    {"K": 3},
    lambda x, K: np.sort(windows(x, K, 1, 1), -1)[:, 1],
)
case(
    "median of ties",
    Operator("median", y[p] << Kth[k](x[p + k], 1), inputs=(x,), given=(k,)),
    {"x": np.array([1, 1, 0, 0, 2, 2], object)},
    {"K": 3},
    lambda x, K: np.sort(windows(x, K, 1, 1), -1)[:, 1],
)
case(
    "L1 distance",
    Operator("l1", y[n, o, p] << -Sum[c, k](sp.Abs(x[n, c, s * p + k] - w[o, c, k])), inputs=(x, w)),
    {"x": numbers((2, 2, 6)), "w": numbers((3, 2, 2), 1)},
    {"s": 2},
    lambda x, w, s: -np.abs(windows(x, 2, s, 1)[:, None] - w[None, :, :, None]).sum((2, 4)),
)
case(
    "trace",
    Operator("trace", y[()] << Sum[p, q](x[p, q] * x[q, p]) + Sum[p](x[p, p]), inputs=(x,)),
    {"x": numbers((3, 3))},
    {},
    lambda x: np.array((x * x.T).sum() + np.trace(x)),
)
case(
    "cumulative",
    Operator("cumulative", y[p] << Sum[q](x[q], q <= p), inputs=(x,), extents={p: extent(q)}),
    {"x": numbers((5,))},
    {},
    lambda x: np.cumsum(x),
)
case(
    "implicit sum",
    Operator("implicit", y[n] << x[n, p] * w[p] + z[n] + 2 * b[q], inputs=(x, w, z, b)),
    {"x": numbers((2, 3)), "w": numbers((3,)), "z": numbers((2,)), "b": numbers((4,))},
    {},
    lambda x, w, z, b: x @ w + z + 2 * b.sum(),
)
case(
    "two statements",
    Operator("two", m[n] << Max[p](x[n, p]), y[n, p] << x[n, p] - m[n], y[n, p] << w[p], inputs=(x, w)),
    {"x": numbers((2, 3)), "w": numbers((3,), 1)},
    {},
    lambda x, w: x - x.max(1, keepdims=True) + w,
)
case(
    "plane mean outside",
    Operator(
        "mean_padded",
        m[n] << Mean[q](z[n, q]),
        y[n, p] << Sum[k](Tensor("x", [(a, a)], m[n])[n, p + k - a]),
        inputs=(Tensor("x", [(a, a)], m[n]), z),
        given=(k,),
    ),
    {"x": numbers((2, 4)), "z": numbers((2, 3))},
    {"a": 2, "K": 2},
    lambda x, z, a, K: windows(
        np.concatenate(
            [
                np.repeat(z.sum(1, keepdims=True) / Fraction(3), a, 1),
                x,
                np.repeat(z.sum(1, keepdims=True) / Fraction(3), a, 1),
            ],
            1,
        ),
        K,
        1,
        1,
    ).sum(-1),
)
case(
    "pointwise",
    Operator(
        "pointwise",
        y[p]
        << relu(x[p]) * step(w[p])
        + maximum(x[p], w[p])
        - 2 * minimum(x[p], w[p])
        + sp.Piecewise((x[p], x[p] > w[p]), (w[p] ** 2, True))
        + sp.sign(x[p])
        + sp.Abs(w[p]) ** 3,
        inputs=(x, w),
    ),
    {"x": numbers((9,)), "w": numbers((9,), 1)},
    {},
    lambda x, w: (
        np.where(x > 0, x, 0) * (w > 0)
        + np.maximum(x, w)
        - 2 * np.minimum(x, w)
        + np.where(x > w, x, w**2)
        + np.sign(x)
        + abs(w) ** 3
    ),
)
case(
    "functions",
    Operator(
        "functions",
        y[p]
        << sp.exp(x[p])
        + sp.tanh(x[p]) * sp.sin(w[p])
        + sp.log(1 + x[p] ** 2)
        + sp.erf(w[p])
        + sp.sqrt(2 + sp.cos(x[p])),
        inputs=(x, w),
    ),
    {"x": numbers((4,), spread=100) / 5, "w": numbers((4,), 1) / 5},
    {},
    lambda x, w: (
        np.exp(x)
        + np.tanh(x) * np.sin(w)
        + np.log(1 + x**2)
        + np.vectorize(sp.erf)(w).astype(float)
        + np.sqrt(2 + np.cos(x))
    ),
)
case(
    "upsample",
    Operator("upsample", y[p] << x[sp.floor(p / s)], inputs=(x,), given=(p,)),
    {"x": numbers((3,))},
    {"s": 2, "P": 6},
    lambda x, s, P: np.repeat(x, s),
)
case(
    "two axes",
    Operator("skewed", y[p, q] << Sum[k, j](x[p + 2 * j, q + 3 * k] * w[k, j]), inputs=(x, w)),
    {"x": numbers((7, 6)), "w": numbers((2, 3), 1)},
    {},
    lambda x, w: sum(w[i, r] * x[2 * r : 2 * r + 3, 3 * i : 3 * i + 3] for i in range(2) for r in range(3)),
)


@pytest.mark.parametrize("name", CASES)
def test_forward(name: str) -> None:
    operator, inputs, integers, want = CASES[name]
    try:
        found = evaluate(operator, inputs, integers)["y"]
        expected = want(**inputs, **integers)
        assert found.shape == expected.shape
        assert all(type(v) is Fraction for v in found.flat)
        assert (found == expected).all()
    except NotRational:
        found = evaluate(operator, inputs, integers, field=DIGITS)["y"]
        expected = want(
            **{k: v if v.dtype == int else v.astype(float) for k, v in inputs.items()}, **integers
        )
        np.testing.assert_allclose(found.astype(float), expected.astype(float), rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in CASES if "ties" not in name])
def test_derivatives_are_differences(name: str) -> None:
    """Central differences at 10^-20 in 80 digits: what they leave out is of order 10^-40."""
    operator, inputs, integers, _ = CASES[name]
    run = Case(operator, inputs, integers, field=DIGITS)
    wrt = run.wrt()
    tangents = {v: numbers(inputs[v].shape, 7) / 3 for v in wrt}
    turned = {v: numbers(inputs[v].shape, 8) / 3 for v in wrt}
    outputs = run.run()
    gy, tgy = ({v: numbers(outputs[v].shape, i) / 5 for v in ("y",)} for i in (9, 10))
    h: Any = Fraction(1, 10**20)

    def moved(sign: int) -> Case:
        return Case(
            operator,
            {**inputs, **{v: inputs[v] + sign * h * tangents[v] for v in wrt}},
            integers,
            field=DIGITS,
        )

    def close(found: Any, plus: Any, minus: Any) -> None:
        difference = (plus - minus) / (2 * h)
        scale = 1 + max((abs(v) for v in np.asarray(difference).flat), default=0)
        assert all(
            abs(v) < DIGITS.number(Fraction(1, 10**30)) * scale for v in np.asarray(found - difference).flat
        )

    ahead, behind = moved(1), moved(-1)
    ty = reference_jvp(run, tangents)["y"]
    close(ty, ahead.run()["y"], behind.run()["y"])
    gradient = reference_vjp(run, gy)
    inner = sum(total(run.array(tangents[v]) * gradient[v]) for v in wrt)
    assert abs(total(run.array(gy["y"]) * ty) - inner) < DIGITS.number(Fraction(1, 10**40)) * (1 + abs(inner))

    plus = reference_vjp(ahead, {"y": gy["y"] + h * tgy["y"]})
    minus = reference_vjp(behind, {"y": gy["y"] - h * tgy["y"]})
    bent = reference_vjp_jvp(run, gy, tangents, tgy)
    for v in wrt:
        close(bent[v], plus[v], minus[v])

    hx, hgy = reference_vjp_vjp(run, gy, turned)
    assert all(abs(v) < 1e-40 for v in np.ravel(hgy["y"] - reference_jvp(run, turned)["y"]))
    along = [
        sum(total(side.array(turned[v]) * reference_vjp(side, gy)[v]) for v in wrt)
        for side in (ahead, behind)
    ]
    close(sum(total(run.array(tangents[v]) * hx[v]) for v in wrt), *along)


@pytest.mark.parametrize(
    ("ties", "expected"),
    [("first", [6, 0, 0, 4]), ("last", [0, 0, 6, 4]), ("split", [3, 0, 3, 4]), ("all", [6, 0, 6, 4])],
)
def test_ties(ties: str, expected: list[int]) -> None:
    operator = Operator("pool", y[n] << Max[k](x[n, k], ties=ties), inputs=(x,))
    run = Case(operator, {"x": np.array([[5, 1, 5, 0], [0, 1, 2, 3]], object)})
    gx = reference_vjp(run, {"y": np.array([6, 4], object)})["x"]
    assert gx[0].tolist() == [*expected[:3], 0]
    assert gx[1].tolist() == [0, 0, 0, 4]
    assert run.run()["y"].tolist() == [5, 3]


def test_argmax_and_its_places() -> None:
    i = Tensor("i", integer=True)
    at = 2 * p + k - a
    x = Tensor("x", margin=[(a, a)])
    for arg, ties, expected in (
        (ArgMax, "first", [0, 2, 3]),
        (ArgMax, "last", [1, 3, 4]),
        (ArgMin, "first", [0, 1, 5]),
    ):
        operator = Operator("places", i[p] << arg[k](x[at], ties=ties, at=at), inputs=(x,), given=(k,))
        found = evaluate(operator, {"x": np.array([1, 1, 3, 3, 3, 0], object)}, {"a": 1, "K": 3})["i"]
        assert found.tolist() == expected
        assert found.dtype == np.int64


def test_a_written_axis_without_writes_is_as_long_as_its_formula_says() -> None:
    """s*(P - 1) + K places, cut at 0, also where P or K is 0: as the derived size is."""
    operator = Operator("spread", y[s * p + k] << x[p] * w[k], inputs=(x, w))
    for points, taps, stride in product((0, 1, 2), (0, 1, 4), (1, 3)):
        arrays = {"x": np.zeros(points, object), "w": np.zeros(taps, object)}
        found = evaluate(operator, arrays, {"s": stride})["y"].shape
        assert found == (max(0, stride * (points - 1) + taps),), (points, taps, stride)


def test_a_maximum_of_nan_is_nan_whatever_is_done_with_ties() -> None:
    nan = DIGITS.context.mpf("nan")
    values = {"x": np.array([1, nan, 1], object)}
    for ties in ("first", "last", "split", "all"):
        operator = Operator("most", y[k] << Max[p](x[p + k], ties=ties), inputs=(x,), given=(k,))
        found = evaluate(operator, values, {"K": 1}, field=DIGITS)["y"][0]
        assert found != found


def test_what_does_not_exist() -> None:
    """A point with one absent read is absent whole; an empty maximum is minus infinity; an empty sum is 0."""
    x1, x2 = Tensor("x", margin=[(1, 1)]), Tensor("x")
    operator = Operator("both", y[p] << Sum[k](x1[p + k - 1] + w[p + k]), inputs=(x1, w), given=(k, p))
    values = {"x": np.array([1, 2, 3], object), "w": np.array([10, 20, 30], object)}
    found = evaluate(operator, values, {"K": 2, "P": 3})["y"].tolist()
    assert found == [1 + 20, 1 + 20 + 2 + 30, 2 + 30]
    empty = Operator("none", y[p] << Max[k](x2[p + k], k > 5), inputs=(x2,), given=(k,))
    assert evaluate(empty, {"x": values["x"]}, {"K": 2})["y"].tolist() == [float("-inf")] * 2
    assert evaluate(
        Operator("none", y[p] << Sum[k](x2[p + k], k > 5), inputs=(x2,), given=(k,)),
        {"x": values["x"]},
        {"K": 2},
    )["y"].tolist() == [0, 0]


def test_absent_bias() -> None:
    b = Tensor("b", optional=True)
    operator = Operator("linear", y[n] << Sum[p](x[n, p] * w[p]) + b[n], inputs=(x, w, b))
    run = Case(operator, {"x": numbers((2, 3)), "w": numbers((3,))})
    assert (run.run()["y"] == run.inputs["x"] @ run.inputs["w"]).all()
    assert set(reference_vjp(run, {"y": numbers((2,))})) == {"x", "w"}
    with pytest.raises(SpecError, match="input `w` is missing"):
        evaluate(operator, {"x": numbers((2, 3))})


def test_real_parameters() -> None:
    u = reals("u", positive=True)
    operator = Operator("power", y[p] << sp.Abs(x[p]) ** u, inputs=(x,))
    values = {"x": np.array([-2, 0, 3], object)}
    assert evaluate(operator, values, reals={"u": Fraction(3)})["y"].tolist() == [8, 0, 27]
    assert reference_vjp(
        Case(operator, values, reals={"u": Fraction(3)}), {"y": np.array([1, 1, 1], object)}
    )["x"].tolist() == [-12, 0, 27]
    with pytest.raises(NotRational):
        evaluate(operator, values, reals={"u": Fraction(1, 2)})


@given(st.integers(-30, 30), st.integers(1, 6))
def test_folds_are_numpys(u: int, size: int) -> None:
    for mode in ("reflect", "symmetric", "circular", "replicate"):
        assert fold(mode, u, size) == padded(np.arange(size), 30, 40, mode)[30 + u]
    assert fold("reflect", u, 0) is None


@settings(max_examples=60)
@given(
    st.integers(0, 12),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 3),
    st.booleans(),
)
def test_pooling_length_is_torchs(
    length: int, size: int, stride: int, dilation: int, pad: int, ceil: bool
) -> None:
    """Counting up gives the formula that PyTorch documents."""
    on = parameters("on", positive=False)
    pad = min(pad, (dilation * (size - 1) + 1) // 2)  # as PyTorch demands
    reach = length + 2 * pad - dilation * (size - 1) - 1
    if reach < 0:
        return
    want = (reach + (stride - 1 if ceil else 0)) // stride + 1
    if ceil and (want - 1) * stride >= length + pad:
        want -= 1
    operator, integers = (
        pool(Sum, ceil=on),
        {"s": stride, "d": dilation, "a": pad, "K": size, "on": int(ceil)},
    )
    shape = {"x": (1, 1, length)}
    check_output_shape(operator, shape, integers, {"y": (1, 1, want)})
    for wrong in (want - 1, want + 1):
        with pytest.raises(VerificationError, match=f"axis 2 of y is {wrong} long, but its law gives {want}"):
            check_output_shape(operator, shape, integers, {"y": (1, 1, wrong)})


def test_planted_faults_are_seen() -> None:
    """Shift the padding, flip the kernel, drop a phase: the reference of one operator refutes the other."""
    good, inputs, integers, _ = CASES["conv absent s3 d2"]
    expected = evaluate(good, inputs, integers)["y"]
    x = Tensor("x", margin=[(a, e)])
    for body in (
        x[n, c, s * p + d * k - a + 1],
        x[n, c, s * p + d * (extent(k) - 1 - k) - a],
        x[n, c, (s + 1) * p + d * k - a],
    ):
        bad = Operator(
            "conv", y[n, o, p] << Sum[c, k](body * w[o, c, k]) + b[o], inputs=(x, w, b), extents={p: 2}
        )
        assert (evaluate(bad, inputs, integers)["y"] != expected[..., :2]).any()
