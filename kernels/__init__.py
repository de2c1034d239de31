"""Compiled operators on NumPy arrays, with every derivative: convolution, pooling and their neighbours.

    from kernels import conv2d

    y = conv2d(input, weight, bias, stride=2, padding=1)
    y, pullback = conv2d.vjp(input, weight, bias, stride=2, padding=1)
    g_input, g_weight, g_bias = pullback(gy)

`set_num_threads(n)`, or the environment variable KERNELS_NUM_THREADS, says how many threads large kernels use.

An operator and its kernels are loaded when they are first asked for; `import kernels` itself loads neither
NumPy nor Numba.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kernels.errors import KernelError
    from kernels.operator import Operator
    from kernels.runtime.driver import get_num_threads, set_num_threads

    conv1d: Operator
    conv2d: Operator
    conv3d: Operator
    conv4d: Operator
    conv1d_constant: Operator
    conv1d_mean: Operator
    conv1d_reflect: Operator
    conv1d_symmetric: Operator
    conv1d_replicate: Operator
    conv1d_circular: Operator
    conv2d_constant: Operator
    conv2d_mean: Operator
    conv2d_reflect: Operator
    conv2d_symmetric: Operator
    conv2d_replicate: Operator
    conv2d_circular: Operator
    conv3d_constant: Operator
    conv3d_mean: Operator
    conv3d_reflect: Operator
    conv3d_symmetric: Operator
    conv3d_replicate: Operator
    conv3d_circular: Operator
    conv4d_constant: Operator
    conv4d_mean: Operator
    conv4d_reflect: Operator
    conv4d_symmetric: Operator
    conv4d_replicate: Operator
    conv4d_circular: Operator
    conv_transpose1d: Operator
    conv_transpose2d: Operator
    conv_transpose3d: Operator
    conv_transpose4d: Operator
    separable_conv1d: Operator
    separable_conv2d: Operator
    separable_conv3d: Operator
    locally_connected1d: Operator
    locally_connected2d: Operator
    locally_connected3d: Operator
    convolve1d: Operator
    convolve2d: Operator
    convolve3d: Operator
    unfold1d: Operator
    unfold2d: Operator
    unfold3d: Operator
    fold1d: Operator
    fold2d: Operator
    fold3d: Operator
    toeplitz1d: Operator
    toeplitz2d: Operator
    toeplitz3d: Operator
    max_pool1d: Operator
    max_pool2d: Operator
    max_pool3d: Operator
    max_pool1d_last: Operator
    max_pool1d_split: Operator
    max_pool1d_all: Operator
    max_pool2d_last: Operator
    max_pool2d_split: Operator
    max_pool2d_all: Operator
    max_pool3d_last: Operator
    max_pool3d_split: Operator
    max_pool3d_all: Operator
    min_pool1d: Operator
    min_pool2d: Operator
    min_pool3d: Operator
    avg_pool1d: Operator
    avg_pool2d: Operator
    avg_pool3d: Operator
    global_avg_pool: Operator
    global_max_pool: Operator
    global_max_pool_last: Operator
    global_max_pool_split: Operator
    global_max_pool_all: Operator
    global_min_pool: Operator
    lp_pool1d: Operator
    lp_pool2d: Operator
    lp_pool3d: Operator
    lp_pool1d_2: Operator
    lp_pool2d_2: Operator
    lp_pool3d_2: Operator
    lp_pool1d_inf: Operator
    lp_pool2d_inf: Operator
    lp_pool3d_inf: Operator
    log_sum_exp_pool1d: Operator
    log_sum_exp_pool2d: Operator
    log_sum_exp_pool3d: Operator
    log_mean_exp_pool1d: Operator
    log_mean_exp_pool2d: Operator
    log_mean_exp_pool3d: Operator
    soft_pool1d: Operator
    soft_pool2d: Operator
    soft_pool3d: Operator
    median_pool1d: Operator
    median_pool2d: Operator
    median_pool3d: Operator
    stochastic_pool1d: Operator
    stochastic_pool2d: Operator
    stochastic_pool3d: Operator
    stochastic_pool1d_mean: Operator
    stochastic_pool2d_mean: Operator
    stochastic_pool3d_mean: Operator
    global_lp_pool: Operator
    global_lp_pool_2: Operator
    global_lp_pool_inf: Operator
    global_log_sum_exp_pool: Operator
    global_log_mean_exp_pool: Operator
    global_soft_pool: Operator
    global_median_pool: Operator
    global_stochastic_pool: Operator
    global_stochastic_pool_mean: Operator
    adaptive_avg_pool1d: Operator
    adaptive_avg_pool2d: Operator
    adaptive_avg_pool3d: Operator
    adaptive_max_pool1d: Operator
    adaptive_max_pool2d: Operator
    adaptive_max_pool3d: Operator
    fractional_max_pool2d: Operator
    fractional_max_pool3d: Operator
    max_unpool1d: Operator
    max_unpool2d: Operator
    max_unpool3d: Operator
    linear: Operator
    bilinear: Operator
    embedding: Operator
    relu: Operator
    log_softmax: Operator
    leaky_relu: Operator
    prelu: Operator
    elu: Operator
    celu: Operator
    selu: Operator
    gelu: Operator
    gelu_tanh: Operator
    sigmoid: Operator
    silu: Operator
    tanh: Operator
    erf: Operator
    softplus: Operator
    logsigmoid: Operator
    mish: Operator
    hardtanh: Operator
    relu6: Operator
    hardswish: Operator
    hardsigmoid: Operator
    hardshrink: Operator
    softshrink: Operator
    softsign: Operator
    tanhshrink: Operator
    threshold: Operator
    glu: Operator
    softmax: Operator
    softmin: Operator
    batch_norm: Operator
    batch_norm_training: Operator
    layer_norm: Operator
    instance_norm: Operator
    instance_norm_running: Operator
    group_norm: Operator
    rms_norm: Operator
    local_response_norm: Operator
    cross_entropy: Operator
    cross_entropy_weighted: Operator
    cross_entropy_probabilities: Operator
    nll_loss: Operator
    binary_cross_entropy_with_logits: Operator
    mse_loss: Operator
    l1_loss: Operator
    smooth_l1_loss: Operator
    huber_loss: Operator
    l1_regularizer: Operator
    l2_regularizer: Operator
    dropout: Operator
    binary_cross_entropy: Operator
    kl_div: Operator
    kl_div_log_target: Operator
    poisson_nll_loss: Operator
    poisson_nll_loss_rate: Operator
    gaussian_nll_loss: Operator
    normalize: Operator
    normalize_p: Operator
    cosine_similarity: Operator
    pairwise_distance: Operator
    pairwise_distance_p: Operator
    soft_margin_loss: Operator
    hinge_embedding_loss: Operator
    margin_ranking_loss: Operator
    multi_margin_loss: Operator
    multi_margin_loss_2: Operator
    multilabel_soft_margin_loss: Operator
    cosine_embedding_loss: Operator
    triplet_margin_loss: Operator
    triplet_margin_loss_swap: Operator
    interpolate: Operator
    interpolate_linear: Operator
    interpolate_bilinear: Operator
    interpolate_trilinear: Operator
    interpolate_bicubic: Operator
    pixel_shuffle: Operator
    pixel_unshuffle: Operator
    channel_shuffle: Operator
    pad: Operator
    pad_reflect: Operator
    pad_symmetric: Operator
    pad_replicate: Operator
    pad_circular: Operator
    pad_mean: Operator
    add: Operator
    add_broadcast_other: Operator
    add_broadcast_input: Operator
    add_broadcast_both_other: Operator
    add_broadcast_both_input: Operator
    subtract: Operator
    subtract_broadcast_other: Operator
    subtract_broadcast_input: Operator
    subtract_broadcast_both_other: Operator
    subtract_broadcast_both_input: Operator
    multiply: Operator
    multiply_broadcast_other: Operator
    multiply_broadcast_input: Operator
    multiply_broadcast_both_other: Operator
    multiply_broadcast_both_input: Operator
    divide: Operator
    divide_broadcast_other: Operator
    divide_broadcast_input: Operator
    divide_broadcast_both_other: Operator
    divide_broadcast_both_input: Operator
    concatenate: Operator
    flatten: Operator
    unflatten: Operator
    gd_step: Operator
    sgd_step: Operator
    rmsprop_step: Operator
    rmsprop_centered_step: Operator
    adam_step: Operator
    amsgrad_step: Operator
    adagrad_step: Operator

_MODES = ("constant", "mean", "reflect", "symmetric", "replicate", "circular")  # of padding, beside zeros
_ADAPTERS = {
    "kernels.convolution": (
        *("conv1d", "conv2d", "conv3d", "conv4d"),
        *(f"conv{axes}d_{mode}" for axes in (1, 2, 3, 4) for mode in _MODES),
        *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "conv_transpose4d"),
        *("separable_conv1d", "separable_conv2d", "separable_conv3d"),
        *("locally_connected1d", "locally_connected2d", "locally_connected3d"),
        *("convolve1d", "convolve2d", "convolve3d"),
    ),
    "kernels.columns": (
        *("unfold1d", "unfold2d", "unfold3d", "fold1d", "fold2d", "fold3d"),
        *("toeplitz1d", "toeplitz2d", "toeplitz3d"),
    ),
    "kernels.pooling": (
        *("max_pool1d", "max_pool2d", "max_pool3d", "max_pool1d_last", "max_pool1d_split"),
        *("max_pool1d_all", "max_pool2d_last", "max_pool2d_split", "max_pool2d_all"),
        *("max_pool3d_last", "max_pool3d_split", "max_pool3d_all", "min_pool1d", "min_pool2d"),
        *("min_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "global_avg_pool"),
        *("global_max_pool", "global_max_pool_last", "global_max_pool_split"),
        *("global_max_pool_all", "global_min_pool"),
    ),
    "kernels.pools": (
        *("lp_pool1d", "lp_pool2d", "lp_pool3d", "lp_pool1d_2", "lp_pool2d_2", "lp_pool3d_2"),
        *("lp_pool1d_inf", "lp_pool2d_inf", "lp_pool3d_inf", "log_sum_exp_pool1d"),
        *("log_sum_exp_pool2d", "log_sum_exp_pool3d", "log_mean_exp_pool1d", "log_mean_exp_pool2d"),
        *("log_mean_exp_pool3d", "soft_pool1d", "soft_pool2d", "soft_pool3d", "median_pool1d"),
        *("median_pool2d", "median_pool3d", "stochastic_pool1d", "stochastic_pool2d"),
        *("stochastic_pool3d", "stochastic_pool1d_mean", "stochastic_pool2d_mean"),
        *("stochastic_pool3d_mean", "global_lp_pool", "global_lp_pool_2", "global_lp_pool_inf"),
        *("global_log_sum_exp_pool", "global_log_mean_exp_pool", "global_soft_pool"),
        *("global_median_pool", "global_stochastic_pool", "global_stochastic_pool_mean"),
    ),
    "kernels.adaptive": (
        *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
        *("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
        *("fractional_max_pool2d", "fractional_max_pool3d"),
    ),
    "kernels.unpooling": ("max_unpool1d", "max_unpool2d", "max_unpool3d"),
    "kernels.layers": ("linear", "bilinear", "embedding", "relu", "log_softmax"),
    "kernels.activations": (
        *("leaky_relu", "prelu", "elu", "celu", "selu", "gelu", "gelu_tanh"),
        *("sigmoid", "silu", "tanh", "erf", "softplus", "logsigmoid"),
        *("mish", "hardtanh", "relu6", "hardswish", "hardsigmoid", "hardshrink", "softshrink"),
        *("softsign", "tanhshrink", "threshold", "glu", "softmax", "softmin"),
    ),
    "kernels.norms": (
        *("batch_norm", "batch_norm_training", "layer_norm", "instance_norm"),
        *("instance_norm_running", "group_norm"),
        *("rms_norm", "local_response_norm"),
    ),
    "kernels.losses": (
        *(
            "cross_entropy",
            "cross_entropy_weighted",
            "cross_entropy_probabilities",
            "nll_loss",
            "binary_cross_entropy_with_logits",
        ),
        *("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "l1_regularizer"),
        *("l2_regularizer", "dropout"),
    ),
    "kernels.likelihoods": (
        *("binary_cross_entropy", "kl_div", "kl_div_log_target", "poisson_nll_loss"),
        *("poisson_nll_loss_rate", "gaussian_nll_loss"),
    ),
    "kernels.margins": (
        *("normalize", "normalize_p", "cosine_similarity", "pairwise_distance"),
        *("pairwise_distance_p", "soft_margin_loss", "hinge_embedding_loss"),
        *("margin_ranking_loss", "multi_margin_loss", "multi_margin_loss_2"),
        *("multilabel_soft_margin_loss", "cosine_embedding_loss", "triplet_margin_loss"),
        *("triplet_margin_loss_swap",),
    ),
    "kernels.images": (
        *(
            "interpolate",
            "interpolate_linear",
            "interpolate_bilinear",
            "interpolate_trilinear",
            "interpolate_bicubic",
        ),
        *("pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "pad", "pad_reflect", "pad_symmetric"),
        *("pad_replicate", "pad_circular", "pad_mean"),
    ),
    "kernels.joining": (
        *(
            f"{name}{how}"
            for name in ("add", "subtract", "multiply", "divide")
            for how in (
                "",
                "_broadcast_other",
                "_broadcast_input",
                "_broadcast_both_other",
                "_broadcast_both_input",
            )
        ),
        *("concatenate", "flatten", "unflatten"),
    ),
    "kernels.optimizers": (
        *("gd_step", "sgd_step", "rmsprop_step", "rmsprop_centered_step"),
        *("adam_step", "amsgrad_step", "adagrad_step"),
    ),
}
OPERATORS = tuple(name for names in _ADAPTERS.values() for name in names)

__all__ = ["OPERATORS", "KernelError", "Operator", "get_num_threads", "set_num_threads", *OPERATORS]

_HUGGING_FACE = (
    *(
        "get_kernel",
        "get_local_kernel",
        "get_locked_kernel",
        "get_loaded_kernels",
        "load_kernel",
        "has_kernel",
    ),
    *(
        "install_kernel",
        "kernelize",
        "register_kernel_mapping",
        "replace_kernel_mapping",
        "use_kernel_mapping",
    ),
    *("use_kernel_forward_from_hub", "use_kernel_func_from_hub", "replace_kernel_forward_from_hub"),
    *("LayerRepository", "LocalLayerRepository", "LockedLayerRepository"),
    *("FuncRepository", "LocalFuncRepository", "LockedFuncRepository", "Device", "Mode", "CUDAProperties"),
)


def __getattr__(name: str) -> object:
    if name == "Operator":
        value: object = import_module("kernels.operator").Operator
    elif name == "KernelError":
        value = import_module("kernels.errors").KernelError
    elif name in ("get_num_threads", "set_num_threads"):
        value = getattr(import_module("kernels.runtime.driver"), name)
    elif name in OPERATORS:
        value = _operator(name)
    elif name in _HUGGING_FACE:
        raise AttributeError(
            f"kernels.{name} belongs to Hugging Face's package `kernels`; this is the `kernels` of "
            "derive-kernels, which has the same import name. Keep the two in separate environments: "
            "where both are installed, the last one wins"
        )
    else:
        raise AttributeError(f"module 'kernels' has no attribute {name!r}")
    globals()[name] = value
    return value


def _operator(name: str) -> Operator:
    """The operator with its adapter and its generated kernels."""
    from kernels.errors import MissingKernelsError
    from kernels.operator import Operator

    home = import_module(next(module for module, names in _ADAPTERS.items() if name in names))
    adapter, variants = home.ADAPTERS[name], getattr(home, "VARIANTS", {}).get(name)
    path = f"kernels.generated.{adapter.definition or name}"
    try:
        definition = import_module(path).DEFINITION
    except ModuleNotFoundError as error:
        if error.name not in (path, "kernels.generated"):
            raise
        raise MissingKernelsError(
            f"{path} is missing; generate it with `derive-kernels generate`", name=path
        ) from None
    if variants is None:
        return Operator(definition, adapter, module=__name__, name=name)
    from kernels.family import Family

    def load(other: str) -> Operator:
        found: Operator = getattr(import_module(__name__), other)
        return found

    return Family(definition, adapter, variants, load, module=__name__, name=name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
