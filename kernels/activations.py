"""Activations, with torch's signatures."""

from __future__ import annotations

import math
from collections.abc import Callable

from kernels.adapter import Adapter, Layout, Plan, Spec, Variants, reshaped
from kernels.arguments import Shape, choice, flag, integer, real, shown
from kernels.errors import ArgumentError, ShapeError


def elementwise(spec: Spec, input: Shape, **reals: float) -> Plan:
    """Every element by itself, in an array of any shape."""
    flat = reshaped(math.prod(input))
    inputs = (Layout("input", "x", input, flat),)
    return Plan(inputs, (Layout("output", "y", input, flat),), spec.environment(inputs), reals)


def not_in_place(value: object) -> None:
    """torch's `inplace`: an operator writes to nothing that it was not given as `out`."""
    if flag("inplace", value):
        raise ArgumentError("`inplace` is True but operators do not write to their inputs; write `out=`")


def leaky_relu(spec: Spec, input: Shape, negative_slope: object = 0.01, inplace: object = False) -> Plan:
    """input where it is above 0, else negative_slope * input: torch.nn.functional.leaky_relu on NumPy arrays.

    input           any shape
    negative_slope  a number
    inplace         False

    NaN stays NaN. The slope at 0 is negative_slope.
    """
    not_in_place(inplace)
    return elementwise(spec, input, slope=real("negative_slope", negative_slope))


def prelu(spec: Spec, input: Shape, weight: Shape) -> Plan:
    """input where it is above 0, else weight * input: torch.nn.functional.prelu on NumPy arrays.

    input   any shape; axis 1 is that of the channels, if there are two axes
    weight  (1,) or () for all elements, or (C,), one for each channel

    NaN stays NaN. The slope at 0 is the weight.
    """
    if len(weight) > 1:
        raise ShapeError(f"`weight` has {len(weight)} axes but needs 1: one entry, or one for each channel")
    channels = input[1] if len(input) > 1 else 1
    count = math.prod(weight)
    if count not in (1, channels):
        raise ShapeError(
            f"`weight` has {count} entries but needs 1, or {channels}, one for each channel of `input`"
        )
    see = reshaped(1, 1, math.prod(input))
    if count > 1:
        see = reshaped(input[0], channels, math.prod(input[2:]))
    inputs = (Layout("input", "x", input, see), Layout("weight", "w", weight, reshaped(count)))
    return Plan(inputs, (Layout("output", "y", input, see),), spec.environment(inputs))


def elu(spec: Spec, input: Shape, alpha: object = 1.0, inplace: object = False) -> Plan:
    """input where it is above 0, else alpha * (exp(input) - 1): torch.nn.functional.elu on NumPy arrays.

    input    any shape
    alpha    a number
    inplace  False

    The difference is worked out by expm1, so that it has all digits near 0. The slope at 0 is alpha. Clevert,
    Unterthiner and Hochreiter 2015, arXiv:1511.07289.
    """
    not_in_place(inplace)
    return elementwise(spec, input, alpha=real("alpha", alpha))


def celu(spec: Spec, input: Shape, alpha: object = 1.0, inplace: object = False) -> Plan:
    """input where it is above 0, else alpha * (exp(input / alpha) - 1): torch.nn.functional.celu on NumPy arrays.

    input    any shape
    alpha    a number, not 0
    inplace  False

    The slope at 0 is 1. Barron 2017, arXiv:1704.07483.
    """
    not_in_place(inplace)
    return elementwise(spec, input, alpha=nonzero_real("alpha", alpha))


def selu(spec: Spec, input: Shape, inplace: object = False) -> Plan:
    """scale * input where it is above 0, else scale * alpha * (exp(input) - 1): torch.nn.functional.selu on NumPy arrays.

    input    any shape
    inplace  False

    scale = 1.0507009873554805 and alpha = 1.6732632423543772 keep mean 0 and variance 1; the slope at 0 is their product.
    Klambauer, Unterthiner, Mayr and Hochreiter 2017, arXiv:1706.02515.
    """
    not_in_place(inplace)
    return elementwise(
        spec, input, scale=1.0507009873554804934193349852946, alpha=1.6732632423543772848170429916717
    )


def nonzero_real(name: str, value: object) -> float:
    number = real(name, value)
    if number == 0:
        raise ArgumentError(f"`{name}` is 0 but divides: it needs to be another number")
    return number


def gelu(spec: Spec, input: Shape, approximate: object = "none") -> Plan:
    """input * P(normal variable < input): torch.nn.functional.gelu on NumPy arrays.

    input        any shape
    approximate  "none" for the error function, input * (1 + erf(input / sqrt(2))) / 2; "tanh" for
                 input * (1 + tanh(sqrt(2 / pi) * (input + 0.044715 * input^3))) / 2

    Hendrycks and Gimpel 2016, arXiv:1606.08415. An input of -inf gives NaN, as in torch.
    """
    choice("approximate", approximate, ("none", "tanh"))
    return elementwise(spec, input)


def sigmoid(spec: Spec, input: Shape) -> Plan:
    """1 / (1 + exp(-input)): torch.nn.functional.sigmoid on NumPy arrays.

    input  any shape

    Nothing overflows, here or in a derivative: exp is of -|input|.
    """
    return elementwise(spec, input)


def silu(spec: Spec, input: Shape, inplace: object = False) -> Plan:
    """input / (1 + exp(-input)), also called swish: torch.nn.functional.silu on NumPy arrays.

    input    any shape
    inplace  False

    Nothing overflows, here or in a derivative: exp is of -|input|. An input of -inf gives NaN, as in torch.
    """
    not_in_place(inplace)
    return elementwise(spec, input)


def tanh(spec: Spec, input: Shape) -> Plan:
    """The hyperbolic tangent: torch.nn.functional.tanh on NumPy arrays.

    input  any shape
    """
    return elementwise(spec, input)


def erf(spec: Spec, input: Shape) -> Plan:
    """The error function, 2 / sqrt(pi) * integral of exp(-t^2) from 0 to input: torch.special.erf on NumPy arrays.

    input  any shape
    """
    return elementwise(spec, input)


def softplus(spec: Spec, input: Shape, beta: object = 1.0, threshold: object = 20.0) -> Plan:
    """log(1 + exp(beta * input)) / beta: torch.nn.functional.softplus on NumPy arrays.

    input      any shape
    beta       a number, not 0
    threshold  input itself where beta * input is above it

    Nothing overflows, here or in a derivative, whatever the threshold.
    """
    return elementwise(spec, input, beta=nonzero_real("beta", beta), threshold=real("threshold", threshold))


def logsigmoid(spec: Spec, input: Shape) -> Plan:
    """-log(1 + exp(-input)): torch.nn.functional.logsigmoid on NumPy arrays.

    input  any shape

    Nothing overflows, here or in a derivative: exp is of -|input|.
    """
    return elementwise(spec, input)


def mish(spec: Spec, input: Shape, inplace: object = False) -> Plan:
    """input * tanh(log(1 + exp(input))): torch.nn.functional.mish on NumPy arrays.

    input    any shape
    inplace  False

    Worked out as a quotient of polynomials in exp(-|input|), which does not overflow, here or in a derivative. Misra 2019,
    arXiv:1908.08681. An input of -inf gives NaN, as in torch.
    """
    not_in_place(inplace)
    return elementwise(spec, input)


def hardtanh(
    spec: Spec, input: Shape, min_val: object = -1.0, max_val: object = 1.0, inplace: object = False
) -> Plan:
    """min_val below it, max_val above it, and input between: torch.nn.functional.hardtanh on NumPy arrays.

    input    any shape
    min_val  a number
    max_val  a number, at least min_val
    inplace  False

    NaN stays NaN. The slope is 0 at both ends.
    """
    not_in_place(inplace)
    low, high = real("min_val", min_val), real("max_val", max_val)
    if low > high:
        raise ArgumentError(f"`min_val` is {low} but needs to be at most `max_val`, {high}")
    return elementwise(spec, input, low=low, high=high)


def relu6(spec: Spec, input: Shape, inplace: object = False) -> Plan:
    """min(max(input, 0), 6), elementwise: torch.nn.functional.relu6 on NumPy arrays.

    input    any shape
    inplace  False

    NaN stays NaN. The slope is 0 at 0 and at 6.
    """
    not_in_place(inplace)
    return elementwise(spec, input)


def hardswish(spec: Spec, input: Shape, inplace: object = False) -> Plan:
    """input * min(max(input + 3, 0), 6) / 6: torch.nn.functional.hardswish on NumPy arrays.

    input    any shape
    inplace  False

    NaN stays NaN. The slope is 0 at -3, and 1 at 3.
    """
    not_in_place(inplace)
    return elementwise(spec, input)


def hardsigmoid(spec: Spec, input: Shape, inplace: object = False) -> Plan:
    """min(max(input + 3, 0), 6) / 6: torch.nn.functional.hardsigmoid on NumPy arrays.

    input    any shape
    inplace  False

    NaN stays NaN. The slope is 0 at -3 and at 3.
    """
    not_in_place(inplace)
    return elementwise(spec, input)


def hardshrink(spec: Spec, input: Shape, lambd: object = 0.5) -> Plan:
    """0 where -lambd <= input <= lambd, else input: torch.nn.functional.hardshrink on NumPy arrays.

    input  any shape
    lambd  a number; below 0 the input stays as it is

    NaN stays NaN. The slope is 0 at both ends.
    """
    return elementwise(spec, input, lambd=real("lambd", lambd))


def softshrink(spec: Spec, input: Shape, lambd: object = 0.5) -> Plan:
    """input nearer to 0 by lambd, and 0 where that reaches it: torch.nn.functional.softshrink on NumPy arrays.

    input  any shape
    lambd  a number, at least 0

    NaN stays NaN. The slope is 0 at -lambd and at lambd.
    """
    width = real("lambd", lambd)
    if not width >= 0:
        raise ArgumentError(f"`lambd` is {width} but needs to be at least 0")
    return elementwise(spec, input, lambd=width)


def softsign(spec: Spec, input: Shape) -> Plan:
    """input / (1 + |input|): torch.nn.functional.softsign on NumPy arrays.

    input  any shape

    Beyond 1 it is worked out as 1 - 1 / (1 + |input|), so that neither it nor its slope loses digits, and infinity gives 1.
    """
    return elementwise(spec, input)


def tanhshrink(spec: Spec, input: Shape) -> Plan:
    """input - tanh(input): torch.nn.functional.tanhshrink on NumPy arrays.

    input  any shape

    Near 0, where the two are nearly equal, digits are lost, as in torch.
    """
    return elementwise(spec, input)


def threshold_plan(
    spec: Spec, input: Shape, threshold: object, value: object, inplace: object = False
) -> Plan:
    """input where it is above threshold, else value: torch.nn.functional.threshold on NumPy arrays.

    input      any shape
    threshold  a number
    value      a number
    inplace    False

    NaN stays NaN. The slope is 0 at the threshold.
    """
    not_in_place(inplace)
    return elementwise(spec, input, threshold=real("threshold", threshold), value=real("value", value))


def glu(spec: Spec, input: Shape, dim: object = -1) -> Plan:
    """a * sigmoid(b), where a and b are the halves of an axis: torch.nn.functional.glu on NumPy arrays.

    input  any shape with at least one axis
    dim    the axis, of an even number of entries

    The result has half as many. Nothing overflows, here or in a derivative. Dauphin et al. 2016, arXiv:1612.08083.
    """
    if not input:
        raise ShapeError("`input` has no axes but needs one to halve")
    before, n, after = around("dim", dim, input)
    if n % 2:
        raise ShapeError(f"`input` has {n} entries along `dim` but needs an even number, to halve them")
    axis = integer("dim", dim) % len(input)
    shape = (*input[:axis], n // 2, *input[axis + 1 :])
    inputs = (Layout("input", "x", input, reshaped(before, 2, n // 2, after)),)
    outputs = (Layout("output", "y", shape, reshaped(before, n // 2, after)),)
    return Plan(inputs, outputs, spec.environment(inputs))


def softmin(
    spec: Spec, input: Shape, dim: object = None, _stacklevel: object = 3, dtype: object = None
) -> Plan:
    """exp(-input) over its sum along one axis, softmax of -input: torch.nn.functional.softmin on NumPy arrays.

    input        any shape; a number is an axis of one entry
    dim          the axis along which the result sums to 1; it has to be given
    _stacklevel  not used
    dtype        None: the result has the type of `input`

    The minimum is subtracted first, so that large numbers lose no digits.
    """
    return softmax(spec, input, dim, _stacklevel, dtype)


def softmax(
    spec: Spec, input: Shape, dim: object = None, _stacklevel: object = 3, dtype: object = None
) -> Plan:
    """exp(input) over its sum along one axis: torch.nn.functional.softmax on NumPy arrays.

    input        any shape; a number is an axis of one entry
    dim          the axis along which the result sums to 1; it has to be given
    _stacklevel  not used
    dtype        None: the result has the type of `input`

    The maximum is subtracted first, so that large logits lose no digits. Along an axis with NaN, or with nothing but
    -inf, the result is NaN, as in torch; so it is where a logit is +inf, beside which the others have 0 (torch: NaN).
    """
    if dim is None:
        raise ArgumentError(
            "`dim` is None but needs an axis of `input` (torch would guess one, and says not to rely on it)"
        )
    if dtype is not None:
        raise ArgumentError(f"`dtype` is {shown(dtype)} but only None is supported; write input.astype(...)")
    before, n, after = around("dim", dim, input)
    see = reshaped(before, n, after)
    inputs = (Layout("input", "x", input, see),)
    return Plan(inputs, (Layout("output", "y", input, see),), spec.environment(inputs))


def around(name: str, value: object, input: Shape) -> tuple[int, int, int]:
    """How many entries there are before an axis, along it, and after it. A number has an axis of one."""
    axis, shape = integer(name, value), input or (1,)
    if not -len(shape) <= axis < len(shape):
        raise ArgumentError(
            f"`{name}` is {axis} but needs {-len(shape)} <= {name} < {len(shape)} (the axes of `input`)"
        )
    axis %= len(shape)
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


POINTWISE: tuple[Callable[..., Plan], ...] = (
    *(leaky_relu, elu, celu, selu, gelu, sigmoid, silu, tanh, erf, softplus, logsigmoid, mish),
    *(hardtanh, relu6, hardswish, hardsigmoid, hardshrink, softshrink, softsign, tanhshrink),
    *(glu, softmax, softmin),
)
ADAPTERS = {
    **{plan.__name__: Adapter(plan, {"input": "x"}) for plan in POINTWISE},
    "threshold": Adapter(threshold_plan, {"input": "x"}),
    "gelu_tanh": Adapter(gelu, {"input": "x"}, fixed={"approximate": "tanh"}),
    "prelu": Adapter(prelu, {"input": "x", "weight": "w"}),
}
VARIANTS = {"gelu": Variants("approximate", {"tanh": "gelu_tanh"})}
