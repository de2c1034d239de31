"""Every function of torch.nn.functional: an operator of ours, one by another name, or a reason why there is none."""

from __future__ import annotations

from collections.abc import Iterator

# What is there by another name. In-place names are `out=` the input's own memory.
BY_ANOTHER_NAME = {
    "unfold": "`unfold2d` (and `unfold1d`, `unfold3d`)",
    "fold": "`fold2d` (and `fold1d`, `fold3d`)",
    "conv_tbc": "`conv1d` of `input.transpose(1, 2, 0)`, a view",
    "upsample": "`interpolate`",
    "upsample_nearest": "`interpolate`",
    "upsample_bilinear": '`interpolate(mode="bilinear", align_corners=True)`',
    "native_channel_shuffle": "`channel_shuffle`",
    **{
        f"{name}_with_indices": f"`{name}(return_indices=True)`"
        for name in (
            *(f"{kind}max_pool{axes}d" for kind in ("", "adaptive_") for axes in (1, 2, 3)),
            *("fractional_max_pool2d", "fractional_max_pool3d"),
        )
    },
    **{
        f"{name}_": f"`{name}(x, out=x)`"
        for name in ("celu", "elu", "hardtanh", "leaky_relu", "relu", "selu", "threshold")
    },
}

DRAWN = "draws random numbers by itself"
MATRICES = "a matrix product of small floats or of many matrices: no convolution, and types that no kernel computes in"

# What is not here.
REASONS = {
    **dict.fromkeys(
        ("dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"),
        f"{DRAWN}; `dropout` takes a given mask, which `numpy.broadcast_to` repeats over a channel",
    ),
    **dict.fromkeys(
        ("rrelu", "rrelu_"), f"{DRAWN}; outside of training it is `leaky_relu` of the mean slope"
    ),
    "gumbel_softmax": f"{DRAWN}; with given noise it is `softmax` of a sum",
    "grid_sample": "reads at places that are numbers of an array: an index of the language is made of integers",
    "affine_grid": "makes places for `grid_sample`, and nothing else reads them",
    "embedding_bag": "bags of various lengths are no range of an index; of one length, a sum of `embedding`",
    "one_hot": "integers to integers: there is nothing to differentiate",
    "ctc_loss": "a recursion over time: equations here are not recursive",
    "pdist": "one result for each pair of rows, n * (n - 1) / 2: no product of ranges",
    "multilabel_margin_loss": "a target is a list that ends at its first -1, which no condition on one entry says",
    "triplet_margin_with_distance_loss": "takes a Python function; with the default one it is `triplet_margin_loss`",
    "linear_cross_entropy": "`linear` and `cross_entropy`, one after the other, to save memory",
    "scaled_dot_product_attention": "attention: `softmax` between two matrix products, no operator of the lecture",
    "multi_head_attention_forward": "attention, with its `linear` layers",
    **dict.fromkeys(("grouped_mm", "scaled_mm", "scaled_grouped_mm"), MATRICES),
}
# What the module has beside functions on arrays: types and torch's own machinery.
MACHINERY = {
    *("Callable", "DType", "Optional", "ScalingType", "SwizzleType", "Tensor", "assert_int_or_pair"),
    *("boolean_dispatch", "handle_torch_function", "has_torch_function", "has_torch_function_unary"),
    "has_torch_function_variadic",
}
# Operators that torch has elsewhere than in nn.functional.
ELSEWHERE = {
    "add": "torch.add",
    "subtract": "torch.sub",
    "multiply": "torch.mul",
    "divide": "torch.div",
    "erf": "torch.erf",
    "concatenate": "torch.cat",
    "flatten": "torch.flatten",
    "unflatten": "torch.unflatten",
}


def functions() -> Iterator[str]:
    """The public names of torch.nn.functional that can be called, machinery aside."""
    import torch.nn.functional as F

    for name in dir(F):
        if not name.startswith("_") and callable(getattr(F, name)) and name not in MACHINERY:
            yield name
