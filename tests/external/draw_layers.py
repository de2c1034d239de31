"""Random calls of layers without windows: dense ones, activations, norms, losses, images, branches."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from tests.external.against_torch import ADDED, CANCELLED, ROUNDINGS, SINGLE, Call
from tests.external.draw import LARGEST, Arrays, Draw, Draws, composed, named, same
from tests.external.draw_windows import around

Options = dict[str, Any]
REDUCTIONS = ("mean", "sum", "none")

# ------------------------------------------------------------------------------------ dense, look-ups, branches


def linear(d: Draw) -> Call:
    inner, outer = d.int(1, 6), d.int(1, 6)
    arrays = {"input": d.normal(*d.shape(3), inner), "weight": d.normal(outer, inner)}
    if d.often(0.5):
        arrays["bias"] = d.normal(outer)
    return same("linear", arrays, {})


def bilinear(d: Draw) -> Call:
    lead, one, other, outer = d.shape(2), d.int(1, 4), d.int(1, 4), d.int(1, 4)
    arrays = {
        "input1": d.normal(*lead, one),
        "input2": d.normal(*lead, other),
        "weight": d.normal(outer, one, other),
    }
    if d.often(0.5):
        arrays["bias"] = d.normal(outer)
    return same("bilinear", arrays, {})


def embedding(d: Draw) -> Call:
    rows = d.int(1, 5)
    return same(
        "embedding",
        {"input": d.classes(rows, *d.per_axis(d.int(0, 3), 1, 4)), "weight": d.normal(rows, d.int(1, 4))},
        {},
    )


def arithmetic(d: Draw, name: str) -> Call:
    """Shapes that are broadcast more often than not: of each axis both arrays have the extent, or one of them 1, or none."""
    one, other = list[int](), list[int]()
    for extent in d.shape():
        kind = d.choice("ssio")
        one.append(1 if kind == "i" else extent)
        other.append(1 if kind == "o" else extent)
    shorter = d.choice([one, other])
    while shorter[:1] == [1] and d.often(0.5):
        del shorter[0]
    theirs = {"add": torch.add, "subtract": torch.sub, "multiply": torch.mul, "divide": torch.div}[name]
    return same(name, {"input": d.normal(*one), "other": d.away(*other)}, {}, theirs)


def unflatten(d: Draw) -> Call:
    shape = list(d.shape(3, 1))
    dim, sizes = d.int(-len(shape), len(shape) - 1), list(d.shape(3, 1))
    shape[dim] = math.prod(sizes)
    if math.prod(shape) and d.often(0.5):
        sizes[d.int(0, len(sizes) - 1)] = -1
    options = {"dim": dim, "sizes": tuple(sizes)}
    return same("unflatten", {"input": d.normal(*shape)}, options, torch.unflatten)


def concatenate(d: Draw) -> Call:
    shape = list(d.shape(4, 1))
    dim = d.int(-len(shape), len(shape) - 1)
    arrays = {"input": d.normal(*shape)}
    shape[dim] = d.int(0, 3)
    arrays["other"] = d.normal(*shape)
    return composed("concatenate", arrays, {"dim": dim}, lambda t: torch.cat([t["input"], t["other"]], dim))


def flatten(d: Draw) -> Call:
    shape = d.shape(4, 1)
    start = d.int(0, len(shape) - 1)
    options = {"start_dim": start, "end_dim": d.choice([-1, d.int(start, len(shape) - 1)])}
    return same("flatten", {"input": d.normal(*shape)}, options, torch.flatten)


def dropout(d: Draw) -> Call:
    """The mask that torch draws is what ours is given."""
    x, p, seed = d.normal(*d.shape()), d.choice([0.0, 0.3, 0.5]), d.int(0, 99)

    def dropped(x: torch.Tensor) -> torch.Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return F.dropout(x, p)

    mask = (dropped(torch.ones_like(x)) != 0).to(x.dtype)
    return composed(
        "dropout", {"input": x, "mask": mask}, {"p": p}, lambda t: dropped(t["input"]), constant=("mask",)
    )


def regularizer(d: Draw, name: str) -> Call:
    x, strength = d.normal(*d.shape()), d.choice([0.1, 2.0])
    penalty = torch.abs if name[1] == "1" else torch.square
    return composed(
        name, {"weight": x}, {"strength": strength}, lambda t: strength * penalty(t["weight"]).sum()
    )


# ------------------------------------------------------------------------------------ activations


def pointwise(d: Draw, name: str) -> Call:
    """Any shape; away from kinks at 0, where conventions differ (docs/differences.md)."""
    x = d.normal(*d.shape(), scale=d.choice([0.1, 1, 10]))
    x[x.abs() < 1e-3] = 0.5
    choices: dict[str, Options] = {
        "leaky_relu": {"negative_slope": [0.01, 0.3, -0.5]},
        "elu": {"alpha": [1.0, 0.3]},
        "celu": {"alpha": [1.0, 0.5, -2.0]},  # torch has 1 / alpha with the digits of a float
        "gelu": {"approximate": ["none", "tanh"]},
        "hardtanh": {"min_val": [-1.0, -0.4], "max_val": [0.7, 1.0]},
        "hardshrink": {"lambd": [0.5, 1.3, -0.2]},
        "softshrink": {"lambd": [0.5, 1.3, 0.0]},
        "threshold": {"threshold": [0.1, -0.7], "value": [0.0, 20.0]},
        "softplus": {"beta": [1.0, 2.0], "threshold": [20.0, 5.0]},
    }
    options = {n: d.choice(values) for n, values in choices.get(name, {}).items()}
    function = getattr(torch, name) if name in ("sigmoid", "tanh", "erf") else None
    more: Options = {}
    if name == "hardsigmoid":  # torch has a sixth with the digits of a float
        more = {"roundings": SINGLE if d.dtype == torch.float64 else ROUNDINGS}
    return same(name, {"input": x}, options, function, **more)


def glu(d: Draw) -> Call:
    shape = list(d.shape(4, 1))
    dim = d.int(-len(shape), len(shape) - 1)
    shape[dim] = 2 * d.int(1, 3)
    return same("glu", {"input": d.normal(*shape)}, {"dim": dim})


def prelu(d: Draw) -> Call:
    x = d.normal(d.int(0, 2), d.int(1, 3), *d.shape(2)) if d.often(0.8) else d.normal(d.int(0, 5))
    weight = d.normal(d.choice([1, x.shape[1] if x.ndim > 1 else 1]))
    return same("prelu", {"input": x, "weight": weight}, {})


def softmax(d: Draw, name: str) -> Call:
    shape = d.shape(4, 1)
    x = d.normal(*shape, scale=d.choice([1, 10]))
    return same(name, {"input": x}, {"dim": d.int(-len(shape), len(shape) - 1)})


# ------------------------------------------------------------------------------------ images


def pad(d: Draw) -> Call:
    mode, value = d.choice(["constant", "reflect", "symmetric", "replicate", "circular", "mean"]), None
    options: Options = {"mode": mode}
    if mode == "constant":
        shape = d.per_axis(d.int(1, 5), 2, 4)
        axes, low = d.int(0, len(shape)), -1
        if d.often(0.5):
            options["value"] = value = d.choice([0.5, -2.0])
    else:
        axes, low = d.int(1, 3), 0
        shape = (*(d.batch() or (1,)), d.int(1, 2), *d.per_axis(axes, 3, 5))
    options["pad"] = flat = d.per_axis(2 * axes, low, 2)
    pairs = tuple(zip(flat[::2], flat[1::2], strict=True))[::-1]
    return composed(
        "pad", {"input": d.normal(*shape)}, options, lambda t: around(t["input"], pairs, mode, value)
    )


def interpolate(d: Draw) -> Call:
    axes = d.int(1, 3)
    linear = {1: "linear", 2: "bilinear", 3: "trilinear"}[axes]
    mode = d.choice(["nearest", "nearest-exact", linear, *(["bicubic"] if axes == 2 else [])])
    x = d.normal(d.int(1, 2), d.int(1, 3), *d.per_axis(axes, 1, LARGEST[axes]))
    options: Options = {"mode": mode}
    if d.often(0.5):
        options["size"] = d.per_axis(axes, 1, LARGEST[axes])
    else:  # where 1.3 leaves an extent as it is, torch's gradient of the other modes is not that of its result
        more = [1.3] if mode == linear else []
        options["scale_factor"] = tuple(d.choice([0.5, 1.0, 1.7, 2.0, 3.0, *more]) for _ in range(axes))
        if d.often(0.2):
            options["recompute_scale_factor"] = True
    if "nearest" not in mode:
        options["align_corners"] = d.often(0.5)
    return same("interpolate", {"input": x}, options)


def pixel_shuffle(d: Draw, name: str) -> Call:
    """Of an image at least: of none, torch's results and gradients have wrong shapes (docs/differences.md)."""
    factor = d.int(1, 3)
    if name == "pixel_shuffle":
        x = d.normal(d.int(1, 2), factor**2 * d.int(1, 2), *d.per_axis(2, 1, 3))
        return same(name, {"input": x}, {"upscale_factor": factor})
    x = d.normal(d.int(1, 2), d.int(1, 2), *(factor * n for n in d.per_axis(2, 1, 3)))
    return same(name, {"input": x}, {"downscale_factor": factor})


def channel_shuffle(d: Draw) -> Call:
    groups = d.int(1, 3)
    x = d.normal(d.int(1, 2), groups * d.int(1, 3), *d.per_axis(d.int(1, 3), 1, 3))
    return same("channel_shuffle", {"input": x}, {"groups": groups})


# ------------------------------------------------------------------------------------ norms


def apart(d: Draw, *shape: int) -> torch.Tensor:
    """No variance is near 0: derivatives would lose the digits that it divides by."""
    return 4 * d.apart(*shape) + 0.1 * d.normal(*shape)


def affine(d: Draw, arrays: Arrays, *shape: int) -> Arrays:
    if d.often(0.7):
        arrays |= {"weight": d.normal(*shape), "bias": d.normal(*shape)}
    return arrays


def batch_norm(d: Draw) -> Call:
    channels = d.int(1, 3)
    arrays = affine(d, {"input": apart(d, d.int(2, 3), channels, *d.shape(2))}, channels)
    if arrays["input"].numel() <= 2 * channels:
        arrays["input"] = apart(d, 3, channels, 4)
    options: Options = {"training": d.often(0.5), "eps": d.choice([1e-5, 0.1])}
    if options["training"]:
        options |= {"running_mean": None, "running_var": None}
    else:
        arrays |= {"running_mean": d.normal(channels), "running_var": d.positive(channels)}
    return same(
        "batch_norm",
        arrays,
        options,
        constant=("running_mean", "running_var"),
        results=1,
        roundings=CANCELLED,
    )


def instance_norm(d: Draw) -> Call:
    channels = d.int(1, 3)
    arrays = {"input": apart(d, d.int(1, 2), channels, *d.per_axis(d.int(1, 3), 2, 4))}
    options: Options = {"eps": d.choice([1e-5, 0.1])}
    if d.often(0.3):
        arrays |= {"running_mean": d.normal(channels), "running_var": d.positive(channels)}
        options["use_input_stats"] = False
    return same(
        "instance_norm",
        affine(d, arrays, channels),
        options,
        constant=("running_mean", "running_var"),
        roundings=CANCELLED,
    )


def layer_norm(d: Draw, name: str) -> Call:
    shape = d.per_axis(d.int(1, 2), 1, 4)
    shaped = *d.per_axis(d.int(0, 2), 1, 3), *shape
    # a group may be one element: by its length, and no eps to speak of, rms_norm divides three times
    made = d.away(*shaped) if name == "rms_norm" else apart(d, *shaped)
    arrays = affine(d, {"input": made}, *shape)
    options: Options = {"normalized_shape": shape, "eps": d.choice([1e-5, 0.1])}
    if name == "rms_norm":
        arrays.pop("bias", None)
        if d.often(0.3):  # the default one, which is that of the type of the input
            del options["eps"]
    return same(name, arrays, options, roundings=CANCELLED)


def group_norm(d: Draw) -> Call:
    groups, each = d.int(1, 3), d.int(1, 2)
    x = apart(d, d.int(1, 2), groups * each, *d.per_axis(d.int(1, 2), 2, 4))
    arrays = affine(d, {"input": x}, groups * each)
    return same(
        "group_norm", arrays, {"num_groups": groups, "eps": d.choice([1e-5, 0.1])}, roundings=CANCELLED
    )


def local_response_norm(d: Draw) -> Call:
    x = d.normal(d.int(1, 2), d.int(1, 5), *d.per_axis(d.int(1, 3), 1, 3))
    options = {
        "size": d.int(1, 4),
        "alpha": d.choice([1e-4, 0.5]),
        "beta": d.choice([0.75, 0.5]),
        "k": d.choice([1.0, 2.0]),
    }
    return same("local_response_norm", {"input": x}, options)


def normalize(d: Draw) -> Call:
    shape = d.shape(4, 1)
    options = {"p": d.choice([2.0, 3.0, 1.5]), "dim": d.int(-len(shape), len(shape) - 1)}
    return same("normalize", {"input": d.normal(*shape)}, {**options, "eps": d.choice([1e-12, 0.5])})


# ------------------------------------------------------------------------------------ losses


def reduction(d: Draw, shape: tuple[int, ...]) -> Options:
    """The mean of nothing is a convention (docs/differences.md)."""
    return {"reduction": d.choice(REDUCTIONS) if math.prod(shape) else "sum"}


def loss(d: Draw, name: str) -> Call:
    """Of each element of two arrays."""
    shape = d.shape(3, 1)
    options = reduction(d, shape)
    x, t, constant = d.normal(*shape), d.normal(*shape), ()
    match name:
        case "huber_loss":
            options["delta"] = d.choice([1.0, 0.3])
        case "smooth_l1_loss":
            options["beta"] = d.choice([1.0, 0.3, 0.0])
        case "binary_cross_entropy" | "binary_cross_entropy_with_logits":
            x, t = x if name.endswith("logits") else d.between(*shape), d.between(*shape)
        case "soft_margin_loss":
            t, constant = d.signs(*shape), ("target",)
        case "hinge_embedding_loss":
            t, options["margin"] = d.signs(*shape), d.choice([1.0, 0.4])
        case "poisson_nll_loss":
            t = 2 * d.positive(*shape)
            options |= {"log_input": d.often(0.5), "full": d.often(0.5), "eps": d.choice([1e-8, 0.1])}
            x = x if options["log_input"] else d.positive(*shape)
    arrays = {"input": x, "target": t}
    if name.startswith("binary"):
        constant = ("weight", "pos_weight")
        if d.often(0.5):
            arrays["weight"] = d.positive(*shape)
        if name.endswith("logits") and d.often(0.5):
            arrays["pos_weight"] = d.positive(*shape[d.int(0, len(shape) - 1) :])
    if name == "gaussian_nll_loss":
        arrays["var"] = d.positive(*shape)
        options["full"] = d.often(0.5)
    roundings = ADDED if name == "binary_cross_entropy" and d.dtype == torch.float64 else ROUNDINGS
    return same(name, arrays, options, constant=constant, roundings=roundings)


def kl_div(d: Draw) -> Call:
    shape = d.shape(3, 1)
    options = {**reduction(d, shape), "log_target": d.often(0.5)}
    if math.prod(shape) and d.often(0.3):
        options["reduction"] = "batchmean"
    target = d.between(*shape)
    arrays = {"input": d.between(*shape).log(), "target": target.log() if options["log_target"] else target}
    return same("kl_div", arrays, options)


def of_classes(d: Draw, name: str) -> Call:
    """Classes, or for a cross-entropy a probability of each; weights, an index to ignore, label smoothing."""
    classes, rest = d.int(1, 5), d.per_axis(d.int(0, 2), 1, 3)
    n: tuple[int, ...] = (d.int(1, 4),)
    if d.often(0.2):
        n = rest = ()
    options: Options = {"reduction": d.choice(REDUCTIONS)}
    arrays = {"input": d.normal(*n, classes, *rest, scale=5), "target": d.classes(classes, *n, *rest)}
    if d.often(0.5):
        arrays["weight"] = d.positive(classes)
    probable = name == "cross_entropy" and d.often(0.3)
    if probable:
        arrays["target"] = d.between(*n, classes, *rest)
    elif d.often(0.4):
        options["ignore_index"] = ignored = d.choice([-100, 0]) if classes > 1 else -100
        flat = arrays["target"].view(-1)
        flat[1:][torch.tensor(d.numbers.random(flat.numel() - 1) < 0.3)] = ignored
        flat[0] = classes - 1  # the mean over nothing but ignored ones is NaN
    if name == "cross_entropy" and d.often(0.4):
        options["label_smoothing"] = 0.3
    # of planes of targets torch has no second order without a reduction
    second = name == "cross_entropy" or not rest or options["reduction"] != "none"
    return same(name, arrays, options, constant=("weight",), second=second)


def of_rows(d: Draw, name: str) -> Call:
    """Vectors of features, or scores of classes."""
    each: tuple[int, ...] = (d.int(1, 4),) if d.often(0.8) else ()
    shape = (*each, d.int(2, 5))
    options: Options = {"reduction": d.choice(REDUCTIONS)}
    first, second = d.normal(*shape), d.normal(*shape)
    match name:
        case "multi_margin_loss":
            arrays: Arrays = {"input": first, "target": d.classes(shape[-1], *each)}
            options |= {"p": d.choice([1, 2]), "margin": d.choice([1.0, 0.3])}
            if d.often(0.5):
                arrays["weight"] = d.positive(shape[-1])
        case "multilabel_soft_margin_loss":
            arrays = {"input": first, "target": d.between(*shape)}
            if d.often(0.5):
                arrays["weight"] = d.positive(shape[-1])
        case "margin_ranking_loss":
            arrays = {"input1": first, "input2": second, "target": d.signs(*shape)}
            options["margin"] = d.choice([0.1, 0.3])
        case "cosine_embedding_loss":
            arrays = {"input1": first, "input2": second, "target": d.signs(*each)}
            options["margin"] = d.choice([0, 0.2])
        case _:
            arrays = {"anchor": first, "positive": second, "negative": d.normal(*shape)}
            options |= {"swap": d.often(0.5), "margin": d.choice([1.0, 0.3])}
    return same(name, arrays, options, constant=("weight",), roundings=CANCELLED)


def cosine_similarity(d: Draw) -> Call:
    """Of lengths above eps: below, torch's gradient is not that of its result (docs/differences.md)."""
    shape = d.shape(4, 1)
    options = {"dim": d.int(-len(shape), len(shape) - 1), "eps": d.choice([1e-8, 0.1])}
    arrays = {"x1": d.away(*shape), "x2": d.away(*shape)}
    return same("cosine_similarity", arrays, options, roundings=CANCELLED)


def pairwise_distance(d: Draw) -> Call:
    shape = d.per_axis(d.int(1, 3), 2, 4)
    options = {"p": d.choice([2.0, 1.5, 3.0]), "eps": d.choice([1e-6, 0.1]), "keepdim": d.often(0.5)}
    return same(
        "pairwise_distance", {"x1": d.normal(*shape), "x2": d.normal(*shape)}, options, roundings=CANCELLED
    )


LAYERS: Draws = {
    "linear": linear,
    "bilinear": bilinear,
    "embedding": embedding,
    **named(arithmetic, "add", "subtract", "multiply", "divide"),
    "concatenate": concatenate,
    "flatten": flatten,
    "unflatten": unflatten,
    "dropout": dropout,
    **named(regularizer, "l1_regularizer", "l2_regularizer"),
    **named(
        pointwise,
        "relu",
        "leaky_relu",
        "elu",
        "celu",
        "selu",
        "gelu",
        "silu",
        "sigmoid",
        "tanh",
        "erf",
        "softplus",
    ),
    **named(pointwise, "logsigmoid", "mish", "hardtanh", "relu6", "hardswish", "hardsigmoid", "hardshrink"),
    **named(pointwise, "softshrink", "softsign", "tanhshrink", "threshold"),
    "glu": glu,
    "prelu": prelu,
    **named(softmax, "softmax", "log_softmax", "softmin"),
    "pad": pad,
    "interpolate": interpolate,
    **named(pixel_shuffle, "pixel_shuffle", "pixel_unshuffle"),
    "channel_shuffle": channel_shuffle,
    "batch_norm": batch_norm,
    "instance_norm": instance_norm,
    **named(layer_norm, "layer_norm", "rms_norm"),
    "group_norm": group_norm,
    "local_response_norm": local_response_norm,
    "normalize": normalize,
    **named(
        loss, "mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss", "soft_margin_loss", "gaussian_nll_loss"
    ),
    **named(loss, "binary_cross_entropy", "binary_cross_entropy_with_logits", "hinge_embedding_loss"),
    **named(loss, "poisson_nll_loss"),
    "kl_div": kl_div,
    **named(of_classes, "cross_entropy", "nll_loss"),
    **named(of_rows, "multi_margin_loss", "multilabel_soft_margin_loss", "margin_ranking_loss"),
    **named(of_rows, "cosine_embedding_loss", "triplet_margin_loss"),
    "cosine_similarity": cosine_similarity,
    "pairwise_distance": pairwise_distance,
}
