"""Other aggregations of windows, and of whole planes: Lp norms, soft maxima, drawn entries, medians.

Windows lie as in `kernels.pooling`. What a window covers beyond the input holds nothing: it adds nothing to a sum,
has no weight, is never drawn and is no entry of a median.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from kernels.adapter import Adapter, Layout, Plan, Spec, Variants, reshaped
from kernels.arguments import LARGEST_ARRAY, Shape, flag, real
from kernels.errors import ArgumentError, ShapeError
from kernels.pooling import (
    Worded,
    entries,
    ones,
    plane_pool,
    planes,
    pooled,
    whole_plane,
    whole_window,
    windows,
)

NONE: Mapping[str, float] = {}


def lp_pool(
    spec: Spec,
    input: Shape,
    norm_type: object,
    kernel_size: object,
    stride: object = None,
    ceil_mode: object = False,
    padding: object = 0,
    dilation: object = 1,
) -> Plan:
    """{axes}-d Lp norm of windows, (sum |x|^p)^(1/p): torch.nn.functional.lp_pool{axes}d on NumPy arrays.

    input        (N, C, *spatial), or (C, *spatial) unbatched
    norm_type    p, a number above 0, or math.inf (the largest |x|)
    kernel_size  int, or one per axis
    stride       int, or one per axis; the kernel size by default
    ceil_mode    a last window may begin inside the input, or the padding before it, and reach beyond
    padding      int, one per axis, or one pair (before, after) per axis; at most half of its cover
    dilation     int, or one per axis

    The result's shape is that of max_pool{axes}d. |x| is meant, as in ONNX: torch raises x itself to the power p (with
    p = 3 it has 0 or NaN where a sum is negative), and with ceil_mode scales the sum of a window that reaches beyond the
    input up to a whole window's. A window of zeros has the gradient 0 (torch: NaN), and so has an entry that is 0.
    |x|^p is rounded to the dtype of the arrays: it may be too large for it, or too small, where the norm is not.
    """
    norm = checked_norm(spec, norm_type)
    return window_pool(spec, input, kernel_size, stride, padding, dilation, ceil_mode, norm)


def soft(
    spec: Spec,
    input: Shape,
    kernel_size: object,
    stride: object = None,
    padding: object = 0,
    ceil_mode: object = False,
    dilation: object = 1,
    temperature: object = 1.0,
) -> Plan:
    """{axes}-d T log {sum} exp(x / T) of windows: a soft maximum{mean}.

    input        (N, C, *spatial), or (C, *spatial) unbatched
    kernel_size  int, or one per axis
    stride       int, or one per axis; the kernel size by default
    padding      int, one per axis, or one pair (before, after) per axis; at most half of its cover
    ceil_mode    a last window may begin inside the input, or the padding before it, and reach beyond
    dilation     int, or one per axis
    temperature  T, above 0: small ones come near the maximum{limit}

    The result's shape is that of max_pool{axes}d. Nothing overflows: a window's maximum is subtracted first. A window of
    padding alone gives -inf, one of -inf alone too (with NaN for its gradient). {source}
    """
    return window_pool(spec, input, kernel_size, stride, padding, dilation, ceil_mode, sharpness(temperature))


def soft_pool(
    spec: Spec,
    input: Shape,
    kernel_size: object,
    stride: object = None,
    padding: object = 0,
    ceil_mode: object = False,
    dilation: object = 1,
) -> Plan:
    """{axes}-d mean of windows, weighted by their softmax: sum x exp(x) / sum exp(x).

    The SoftPool of Stergiou, Poppe and Kalliatakis (Refining activation downsampling with SoftPool, ICCV 2021).
    Arguments and shapes are those of max_pool{axes}d.

    Nothing overflows. The logarithm of the sum of exponentials is rounded to the type of `input`, so that weights add
    up to 1 within |x| units of rounding (float32 at |x| = 1000: 6e-5). A window of padding alone gives 0.
    """
    return window_pool(spec, input, kernel_size, stride, padding, dilation, ceil_mode)


def median_pool(
    spec: Spec,
    input: Shape,
    kernel_size: object,
    stride: object = None,
    padding: object = 0,
    ceil_mode: object = False,
    dilation: object = 1,
) -> Plan:
    """{axes}-d median of windows, of two middle entries the lower (as torch.median has it).

    Arguments and shapes are those of max_pool{axes}d.

    Of the entries that a window holds of the input, that with floor((count - 1) / 2) before it, counting of equal ones
    the earlier in row-major order as before; it gets the whole gradient. A window of padding alone gives 0. A window
    with NaN has no defined result. Each entry is compared with each, so the work grows with the square of a window.
    """
    return window_pool(spec, input, kernel_size, stride, padding, dilation, ceil_mode)


def stochastic_pool(
    spec: Spec,
    input: Shape,
    samples: Shape,
    kernel_size: object,
    stride: object = None,
    padding: object = 0,
    ceil_mode: object = False,
    dilation: object = 1,
    return_indices: object = False,
) -> Plan:
    """{axes}-d stochastic pooling with given samples: one entry of each window, drawn in proportion to its size.

    input           (N, C, *spatial), or (C, *spatial) unbatched: activations, of which negative ones count as 0
    samples         in the result's shape: numbers u, uniform in [0, 1)
    kernel_size     int, or one per axis
    stride          int, or one per axis; the kernel size by default
    padding         int, one per axis, or one pair (before, after) per axis; at most half of its cover
    ceil_mode       a last window may begin inside the input, or the padding before it, and reach beyond
    dilation        int, or one per axis
    return_indices  return (entries, indices), the int64 position of each within its plane

    Zeiler and Fergus, Stochastic pooling for regularization of deep convolutional neural networks (2013): the first
    positive entry, in row-major order, at which the running sum of the window's positive entries reaches u times the
    whole. It gets the whole gradient; samples get 0. A window without a positive entry gives 0, its index is that of its
    first entry (-1 if it is padding alone). A window with NaN has no defined result. The running sums take as much
    memory as all windows together, and the square of a window in time. The result's shape is that of max_pool{axes}d;
    stochastic_pool{axes}d_mean is for inference.
    """
    integers = windows(spec, input, kernel_size, stride, padding, dilation, ceil_mode)
    see = planes(spec, input)
    x = Layout("input", "x", input, see)
    shape = pooled(spec, input, spec.environment((x,), **integers, **unlimited(spec)))
    inputs = (x, Layout("samples", "u", drawn(samples, shape), see))
    outputs = (Layout("output", "y", shape, see), Layout("indices", "i", shape, see))
    environment = spec.environment(inputs, **integers)
    return Plan(inputs, outputs if flag("return_indices", return_indices) else outputs[:1], environment)


def expected_pool(
    spec: Spec,
    input: Shape,
    kernel_size: object,
    stride: object = None,
    padding: object = 0,
    ceil_mode: object = False,
    dilation: object = 1,
) -> Plan:
    """{axes}-d stochastic pooling at inference: the mean of what stochastic_pool{axes}d draws, sum x^2 / sum x.

    Over the window's positive entries: each weighted by its probability (Zeiler and Fergus, 2013). Arguments and
    shapes are those of max_pool{axes}d. A window without a positive entry gives 0, with the gradient 0.
    """
    return window_pool(spec, input, kernel_size, stride, padding, dilation, ceil_mode)


def window_pool(
    spec: Spec,
    input: Shape,
    kernel_size: object,
    stride: object,
    padding: object,
    dilation: object,
    ceil_mode: object,
    reals: Mapping[str, float] = NONE,
) -> Plan:
    """One number for each window."""
    integers = windows(spec, input, kernel_size, stride, padding, dilation, ceil_mode)
    see = planes(spec, input)
    inputs = (Layout("input", "x", input, see),)
    environment = spec.environment(inputs, **integers)
    output = Layout("output", "y", pooled(spec, input, environment), see)
    return Plan(inputs, (output,), environment, reals)


def checked_norm(spec: Spec, norm_type: object) -> Mapping[str, float]:
    """p, where the formula has it: the norms of NORMS have formulas of their own."""
    norm = real("norm_type", norm_type)
    if not norm > 0:
        raise ArgumentError(f"`norm_type` is {norm} but needs to be above 0")
    return spec.reals(norm=norm)


def sharpness(temperature: object) -> Mapping[str, float]:
    """1 / T"""
    value = real("temperature", temperature)
    if not 0 < value < math.inf or 1 / value == math.inf:
        raise ArgumentError(f"`temperature` is {value} but needs to be above 0, with a finite reciprocal")
    return {"sharp": 1 / value}


def unlimited(spec: Spec) -> dict[str, int]:
    """Extents of samples that leave the number of windows to the input."""
    return {name: LARGEST_ARRAY for name in spec.tensors["u"].shape[2:] if isinstance(name, str)}


def drawn(samples: Shape, shape: Shape) -> Shape:
    if samples != shape:
        raise ShapeError(f"`samples` has shape {samples} but needs {shape}, that of the result")
    return samples


# ------------------------------------------------------------------------------------------- whole planes


def global_lp_pool(spec: Spec, input: Shape, norm_type: object = 2.0) -> Plan:
    """Lp norm of each plane, (sum |x|^p)^(1/p), for any number of spatial axes.

    input      (N, C, *spatial); the result is (N, C, 1, ...), with as many axes
    norm_type  p, a number above 0, or math.inf (the largest |x|)

    A plane of zeros has the gradient 0. An empty plane is an error.
    """
    return plane_pool(spec, input, checked_norm(spec, norm_type))


def global_soft(spec: Spec, input: Shape, temperature: object = 1.0) -> Plan:
    """T log {sum} exp(x / T) of each plane, for any number of spatial axes: a soft maximum{mean}.

    input        (N, C, *spatial); the result is (N, C, 1, ...), with as many axes
    temperature  T, above 0: small ones come near the maximum{limit}

    Nothing overflows. An empty plane is an error. {source}
    """
    return plane_pool(spec, input, sharpness(temperature))


def global_window(spec: Spec, input: Shape) -> Plan:
    """{what} of each plane, for any number of spatial axes.

    input  (N, C, *spatial); the result is (N, C, 1, ...), with as many axes

    As {one} has it of a window. An empty plane is an error.
    """
    return plane_pool(spec, input)


def global_median_pool(spec: Spec, input: Shape) -> Plan:
    """Median of each plane, of two middle entries the lower, for any number of spatial axes.

    input  (N, C, *spatial); the result is (N, C, 1, ...), with as many axes

    As median_pool2d has it of a window: each entry is compared with each, so this is for small planes. An empty plane is
    an error.
    """
    return whole_plane(spec, input)


def global_stochastic_pool(spec: Spec, input: Shape, samples: Shape) -> Plan:
    """One entry of each plane, drawn with given samples, for any number of spatial axes.

    input    (N, C, *spatial); the result is (N, C, 1, ...), with as many axes
    samples  in the result's shape: numbers uniform in [0, 1)

    As stochastic_pool2d has it of a window: time grows with the square of a plane, so this is for small ones. An empty
    plane is an error.
    """
    see, one = reshaped(*input[:2], 1, entries(input)), reshaped(*input[:2], 1, 1)
    inputs = (
        Layout("input", "x", input, see),
        Layout("samples", "u", drawn(samples, ones(input)), one),
    )
    environment = spec.environment(inputs, **whole_window(spec, input))
    return Plan(inputs, (Layout("output", "y", ones(input), one),), environment)


INPUT, SAMPLED = {"input": "x"}, {"input": "x", "samples": "u"}
AXES = (1, 2, 3)
LSE = {"sum": "sum", "mean": "", "limit": "", "source": ""}
LME = {
    "sum": "mean",
    "mean": " that is the mean of equal entries",
    "limit": ", large ones the mean",
    "source": "The mean is over what a window holds of the input. (Pinheiro and Collobert, From image-level to "
    "pixel-level labeling with convolutional networks, 2015, with r = 1 / T.)",
}
NORMS: Mapping[float, str] = {2.0: "2", math.inf: "inf"}


def of(name: str, axes: int) -> str:
    """The generated module of one of a family: a line is a plane of one row."""
    return name.format(max(axes, 2))


ADAPTERS: dict[str, Adapter] = {
    **{f"lp_pool{axes}d": Adapter(lp_pool, INPUT, axes, {}, of("lp_pool{}d", axes)) for axes in AXES},
    **{
        f"lp_pool{axes}d_{word}": Adapter(
            lp_pool, INPUT, axes, {"norm_type": norm}, of(f"lp_pool{{}}d_{word}", axes)
        )
        for axes in AXES
        for norm, word in NORMS.items()
    },
    **{
        f"{name}{axes}d": Worded(soft, words, INPUT, axes, {}, of(f"{name}{{}}d", axes))
        for name, words in (("log_sum_exp_pool", LSE), ("log_mean_exp_pool", LME))
        for axes in AXES
    },
    **{
        f"{name}{axes}d": Adapter(plan, INPUT, axes, {}, of(f"{name}{{}}d", axes))
        for name, plan in (("soft_pool", soft_pool), ("median_pool", median_pool))
        for axes in AXES
    },
    **{
        f"stochastic_pool{axes}d": Adapter(stochastic_pool, SAMPLED, axes, {}, of("stochastic_pool{}d", axes))
        for axes in AXES
    },
    **{
        f"stochastic_pool{axes}d_mean": Adapter(
            expected_pool, INPUT, axes, {}, of("stochastic_pool{}d_mean", axes)
        )
        for axes in AXES
    },
    "global_lp_pool": Adapter(global_lp_pool, INPUT),
    **{
        f"global_lp_pool_{word}": Adapter(global_lp_pool, INPUT, fixed={"norm_type": norm})
        for norm, word in NORMS.items()
    },
    "global_log_sum_exp_pool": Worded(global_soft, LSE, INPUT),
    "global_log_mean_exp_pool": Worded(global_soft, LME, INPUT),
    "global_soft_pool": Worded(global_window, {"what": "Softmax-weighted mean", "one": "soft_pool2d"}, INPUT),
    "global_stochastic_pool": Adapter(global_stochastic_pool, SAMPLED, definition="stochastic_pool2d"),
    "global_stochastic_pool_mean": Worded(
        global_window,
        {"what": "Mean of what stochastic pooling draws", "one": "stochastic_pool2d_mean"},
        INPUT,
    ),
    "global_median_pool": Adapter(global_median_pool, INPUT, definition="median_pool2d"),
}
VARIANTS = {
    name: Variants("norm_type", {norm: f"{name}_{word}" for norm, word in NORMS.items()})
    for name in ("lp_pool1d", "lp_pool2d", "lp_pool3d", "global_lp_pool")
}
