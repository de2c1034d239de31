"""`check_gradients` passes gradients that are right, whoever wrote them, and objects to each kind of fault."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from kernels.errors import ArgumentError, ArgumentTypeError
from kernels.testing import (
    GradientError,
    InconclusiveError,
    Windows,
    apart,
    check_gradients,
    of_autograd,
    of_torch,
    seed_of,
    windows,
)
from tests.support import gradients

pytest_plugins = ["pytester"]
Pair = tuple[Callable[..., Any], Callable[..., Any]]


def numbers(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


def product(a: Any, b: Any) -> Any:
    return a @ b


def product_vjp(a: Any, b: Any) -> Any:
    return a @ b, lambda g: (g @ b.T, a.T @ g)


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


def relu_vjp(x: Any) -> Any:
    return relu(x), lambda g: g * (x > 0)


def windowed_sum(x: Any, w: Any) -> Any:
    """Valid correlation of a signal."""
    return np.correlate(x, w, "valid")


def windowed_sum_vjp(x: Any, w: Any) -> Any:
    return windowed_sum(x, w), lambda g: (np.convolve(g, w), np.correlate(x, g, "valid"))


# ---- what is right


def test_functions_of_numpy() -> None:
    report = check_gradients(product, product_vjp, numbers(7, 5), numbers(5, 3, seed=1))
    assert report.differences >= 15 + 15
    assert report.worst < 1e-9
    assert report.kinks == 0
    assert "differences, worst relative error" in str(report)
    check_gradients(windowed_sum, windowed_sum_vjp, numbers(30), numbers(4, seed=1))
    check_gradients(product, product_vjp, 1e5 * numbers(4, 4), 1e-5 * numbers(4, 4, seed=1))


def test_a_slope_between_those_of_a_kink_passes() -> None:
    x = numbers(40)
    x[::5] = 0
    assert check_gradients(relu, relu_vjp, x).kinks == 8
    check_gradients(relu, lambda x: (relu(x), lambda g: g * np.where(x == 0, 0.5, x > 0)), x)
    with pytest.raises(GradientError, match=r"at \[\d+\] is .*; the slopes on both sides of this kink are"):
        check_gradients(relu, lambda x: (relu(x), lambda g: g * np.where(x == 0, 1.01, x > 0)), x)


def test_several_results_integers_and_arrays_without_a_gradient() -> None:
    def take(x: Any, at: Any, scale: Any) -> Any:
        return x[at] * scale, at, np.round(x)

    def take_vjp(x: Any, at: Any, scale: Any) -> Any:
        def pullback(g: Any, h: Any) -> Any:
            gx = np.zeros_like(x)
            np.add.at(gx, at, g * scale)
            return gx, None, (g * x[at]).sum()

        return take(x, at, scale), pullback

    check_gradients(take, take_vjp, 0.2 + np.arange(5.0), np.array([0, 3, 3, 1]), np.array(1.5))


def test_second_order_is_a_gradient_of_a_gradient() -> None:
    x, w, g = numbers(1, 2, 6, 5), numbers(3, 2, 3, 2, seed=1), numbers(1, 3, 4, 4, seed=2)

    def gradients(x: Any, w: Any, g: Any) -> Any:
        return kernels.conv2d.vjp(x, w, wrt=("input", "weight"))[1](g)

    def second(x: Any, w: Any, g: Any) -> Any:
        found, pullback = kernels.conv2d.vjp(x, w, wrt=("input", "weight"))[1].vjp(g)

        def pull(*h: Any) -> Any:
            by_cotangent, by_input, by_weight, *_ = pullback(*h)
            return by_input, by_weight, by_cotangent

        return found, pull

    check_gradients(gradients, second, x, w, g)


def test_our_own_operators() -> None:
    x, w, b = numbers(2, 3, 9, 7), numbers(4, 3, 3, 2, seed=1), numbers(4, seed=2)
    check_gradients(
        lambda *a: kernels.conv2d(*a, stride=2, padding=1),
        lambda *a: kernels.conv2d.vjp(*a, stride=2, padding=1),
        x, w, b,
        jvp=lambda a, t: kernels.conv2d.jvp(a, t, stride=2, padding=1),
        name="conv2d",
    )  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(windows(1, padding=0), st.data())
def test_windows_are_such_as_have_places(window: Windows, data: Any) -> None:
    (places,) = window.output_size
    assert places >= 1
    x = data.draw(apart((1, 2, *window.size)))
    options = {"stride": window.stride[0], "dilation": window.dilation[0]}
    y = kernels.max_pool1d(x, window.kernel_size[0], **options)
    assert y.shape == (1, 2, places)
    check_gradients(
        lambda x: kernels.max_pool1d(x, window.kernel_size[0], **options),
        lambda x: kernels.max_pool1d.vjp(x, window.kernel_size[0], **options),
        x,
    )


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.integers(0, 5)] * 3).flatmap(apart))
def test_numbers_apart(x: Any) -> None:
    assert x.size < 2 or np.diff(np.sort(x.ravel())).min() > 0.1 / x.size
    assert not (x == 0).any()


# ---- what is not


def with_fault(change: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """The product's gradients after something has been done to them."""

    def vjp(a: Any, b: Any) -> Any:
        y, pullback = product_vjp(a, b)
        return y, lambda g: change(pullback(g), g)

    return vjp


def one_element(gradients: Any, g: Any) -> Any:
    gradients[0][2, 3] *= 1 + 1e-4
    return gradients


def scaled_by_history() -> Callable[[Any, Any], Any]:
    calls = []

    def change(gradients: Any, g: Any) -> Any:
        calls.append(1)
        return tuple(len(calls) * one for one in gradients)

    return change


def overwritten(gradients: Any, g: Any) -> Any:
    g *= 2
    return gradients


FAULTS: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "one part in 10^4 of one element": (
        one_element,
        r"gradient of argument 0 at \[2, 3\] is .* but differences give",
    ),
    "sign": (lambda d, g: (d[0], -d[1]), "gradient of argument 1 at"),
    "shape": (
        lambda d, g: (d[0].T, d[1]),
        r"gradient of argument 0 has shape \(5, 7\), the argument \(7, 5\)",
    ),
    "none": (lambda d, g: (None, d[1]), "gradient of argument 0 at"),
    "too many": (lambda d, g: (*d, d[0]), "gives 3 gradients, 2 arrays were given"),
    "nan": (lambda d, g: (d[0] * np.nan, d[1]), "gradient of argument 0"),
    "complex": (lambda d, g: (d[0] + 0j, d[1]), "complex128, not real"),
    "not linear": (lambda d, g: (d[0] * np.abs(g).max(), d[1]), "not linear in the cotangent"),
    "another time": (scaled_by_history(), "another gradient of argument 0 when called again"),
    "cotangent": (overwritten, "writes to its cotangent"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told(fault: str) -> None:
    change, message = FAULTS[fault]
    with pytest.raises(GradientError, match=message) as caught:
        check_gradients(product, with_fault(change), numbers(7, 5), numbers(5, 3, seed=1), name="matmul")
    assert str(caught.value).startswith("matmul: ")
    assert "arguments: float64[7, 5], float64[5, 3]" in str(caught.value)


def test_other_faults() -> None:
    x = numbers(4, 3)

    def flat(x: Any) -> Any:
        memory = np.lib.stride_tricks.as_strided(x, (12,), (8,)) if x.flags.c_contiguous else x.ravel()[::-1]
        return x * 1, lambda g: g * (1 + 0 * memory.reshape(x.shape)) * (1 if x.flags.c_contiguous else 2)

    def greedy(x: Any) -> Any:
        x += 1
        return x - 1, lambda g: g

    with pytest.raises(GradientError, match="is another for arrays that are not contiguous"):
        check_gradients(lambda x: x * 1, flat, x)
    with pytest.raises(GradientError, match="writes to argument 0"):
        check_gradients(lambda x: x * 1, greedy, x)
    with pytest.raises(GradientError, match="do not give the same result 0"):
        check_gradients(lambda x: x * 1, lambda x: (x * 2, lambda g: g), x)
    with pytest.raises(GradientError, match="jvp and vjp are not adjoint"):
        check_gradients(relu, relu_vjp, x, jvp=lambda a, t: (relu(a[0]), t[0] * (a[0] > 0.1)))
    with pytest.raises(ArgumentTypeError, match="argument 0 is float32 but needs float64"):
        check_gradients(relu, relu_vjp, x.astype(np.float32))
    with pytest.raises(ArgumentTypeError, match="nothing to differentiate"):
        check_gradients(relu, relu_vjp, np.arange(3))


def test_noise_is_no_verdict() -> None:
    def noisy(x: Any) -> Any:
        return x + 1e-3 * np.random.default_rng(seed_of(str(x.tolist()))).standard_normal(x.shape)

    with pytest.raises(InconclusiveError, match="do not settle"):
        check_gradients(noisy, lambda x: (noisy(x), lambda g: g), numbers(9))


def bent(x: Any) -> Any:
    return np.exp(-x) * np.sin(3 * x) / (2 + x * x)


def bent_vjp(x: Any, error: float = 0.0) -> Any:
    def pullback(g: Any) -> Any:
        made = g * (3 / np.tan(3 * x) - 1 - 2 * x / (2 + x * x)) * bent(x)
        made[2] *= 1 + error
        return made

    return bent(x), pullback


def test_complex_steps_are_right_to_rounding() -> None:
    """A fault of 1e-9 is told, which no difference sees; a function that is not analytic is told from a wrong gradient."""
    x = numbers(9)
    assert check_gradients(bent, bent_vjp, x, method="complex").worst < 1e-14
    assert (
        check_gradients(product, product_vjp, numbers(7, 5), numbers(5, 3, seed=1), method="complex").worst
        < 1e-14
    )
    with pytest.raises(GradientError, match=r"gradient of argument 0 at \[2\] is"):
        check_gradients(bent, lambda x: bent_vjp(x, 1e-9), x, method="complex")
    check_gradients(bent, lambda x: bent_vjp(x, 1e-12), x)
    with pytest.raises(InconclusiveError, match="not analytic in argument 0"):
        check_gradients(lambda x: x * np.conj(x), lambda x: (x * x, lambda g: 2 * g * x), x, method="complex")
    with pytest.raises(ArgumentTypeError, match="of a complex argument 0 the function makes real numbers"):
        check_gradients(np.abs, lambda x: (np.abs(x), lambda g: g * np.sign(x)), x, method="complex")
    with pytest.raises(ArgumentTypeError, match="the function refuses a complex argument 0"):
        check_gradients(
            np.cbrt, lambda x: (np.cbrt(x), lambda g: g / (3 * np.cbrt(x) ** 2)), x, method="complex"
        )
    with pytest.raises(ArgumentError, match="`method` is 'exact' but needs"):
        check_gradients(bent, bent_vjp, x, method="exact")  # type: ignore[arg-type]


def test_differences_of_what_is_linear_are_exact() -> None:
    a, b = (np.random.default_rng(k).integers(-4, 5, s).astype(float) for k, s in enumerate([(7, 5), (5, 3)]))
    assert check_gradients(product, product_vjp, numbers(7, 5), numbers(5, 3), method="linear").worst < 1e-14
    assert (
        check_gradients(
            windowed_sum, windowed_sum_vjp, numbers(30), numbers(4, seed=1), method="linear"
        ).worst
        < 1e-14
    )
    with pytest.raises(GradientError, match=r"gradient of argument 0 at \[2, 3\]"):
        check_gradients(product, with_fault(lambda d, g: (d[0] + 1e-9 * (np.arange(35).reshape(7, 5) == 13), d[1])),
                        a, b, method="linear")  # fmt: skip
    with pytest.raises(InconclusiveError, match="not linear in argument 0"):
        check_gradients(bent, bent_vjp, numbers(9), method="linear")


@pytest.mark.parametrize("cases", [60, pytest.param(5000, marks=pytest.mark.slow)])
def test_no_false_alarm_and_no_fault_missed(cases: int) -> None:
    """Compositions at all scales: none is objected to, and each with a fault in one element is, but where that is unclear."""
    for seed in range(cases):
        found = gradients.judged(gradients.drawn(seed))
        assert not {"false alarm", "miss"} & set(found), f"seed {seed}: {found}"


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(69561, id="below the smallest normal number"),
        pytest.param(91923, id="steps that are swallowed on the way"),
        pytest.param(79967, id="a short step beside long ones"),
        pytest.param(81192, id="and another"),
    ],
)
def test_cases_that_were_judged_wrong(seed: int) -> None:
    """Of 100,000, two right gradients were objected to once, and two faults passed."""
    assert not {"false alarm", "miss"} & set(gradients.judged(gradients.drawn(seed)))


# ---- functions of others


@pytest.mark.slow
def test_a_torch_function() -> None:
    torch = pytest.importorskip("torch")

    class Cube(torch.autograd.Function):  # type: ignore[misc]
        factor = 3.0

        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            ctx.save_for_backward(x, y)
            return x**3 * y, y + 1

        @classmethod
        def backward(cls, ctx: Any, g: Any, h: Any) -> Any:
            x, y = ctx.saved_tensors
            return cls.factor * g * x**2 * y, g * x**3 + h

    x, y = numbers(4, 3), numbers(4, 3, seed=1)
    check_gradients(*of_torch(Cube.apply), x, y, name="Cube")
    check_gradients(*of_torch(torch.nn.functional.softplus), x)
    Cube.factor = 2.9
    with pytest.raises(GradientError, match="Cube: the gradient of argument 0"):
        check_gradients(*of_torch(Cube.apply), x, y, name="Cube")


@pytest.mark.slow
def test_primitives_of_autograd() -> None:
    anp = pytest.importorskip("autograd.numpy")
    extend = pytest.importorskip("autograd.extend")

    for function in (anp.sinc, anp.logaddexp, anp.cumsum, anp.linalg.det):
        arrays = [numbers(3, 3), numbers(3, 3, seed=1)][: 2 if function is anp.logaddexp else 1]
        check_gradients(*of_autograd(function), *arrays)

    @extend.primitive
    def square(x: Any) -> Any:
        return x**2

    extend.defvjp(square, lambda ans, x: lambda g: 2.1 * g * x)
    with pytest.raises(GradientError, match="gradient of argument 0"):
        check_gradients(*of_autograd(square), numbers(3))


def test_the_fixture(pytester: pytest.Pytester) -> None:
    """As another project sees it: a fixture, a failure that names the element, and a seed of each test's own."""
    pytester.makepyfile(
        """
        import numpy as np

        def vjp(x, wrong=0):
            return x**2, lambda g: (2 + wrong) * g * x

        def test_right(check_gradients):
            check_gradients(np.square, vjp, np.arange(1.0, 5))

        def test_wrong(check_gradients):
            check_gradients(np.square, lambda x: vjp(x, 1), np.arange(1.0, 5))
        """
    )
    installed = any(entry.value == "kernels.pytest_plugin" for entry in entry_points(group="pytest11"))
    result = pytester.runpytest_subprocess(*() if installed else ("-p", "kernels.pytest_plugin"))
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*GradientError: square: the gradient of argument 0 at*but differences give*"]
    )
