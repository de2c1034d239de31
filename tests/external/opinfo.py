"""PyTorch's own samples (OpInfo, and ModuleInfo for Lp pooling), each as a call of ours.

`TABLE` has a row for every entry of theirs that names an operator of ours, `LEFT_OUT` a reason for each other entry of
`nn.functional`. A row says how a sample becomes a call; most need nothing, since our arguments have torch's names, order
and defaults. A sample that is no call of ours raises `OutOfScope`, and one that we refuse counts as out of scope only
where its row lists the refusal. Error inputs must raise a KernelError here as well, or are listed with a reason.
"""

from __future__ import annotations

import math
import random
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db
from torch.testing._internal.opinfo.core import OpInfo, SampleInput

import kernels
from kernels.errors import KernelError
from kernels.operator import Operator
from tests.external.against_torch import (
    ADDED,
    SHORT,
    SINGLE,
    Call,
    Tensors,
    agree,
    answered,
    asked,
    several,
)
from tests.external.recorded import Case
from tests.support.tally import OutOfScope, Tally

DTYPES = (torch.float64, torch.float32)
SUITE, ERRORS = "PyTorch OpInfo samples", "PyTorch OpInfo error inputs"
Refusals = Mapping[str, str]  # a pattern of our error -> why such samples are out of scope


@dataclass(frozen=True)
class Row:
    """An entry of theirs, by name and variant, and how its samples become calls of one operator of ours."""

    entry: str
    variant: str = ""
    operator: str = ""  # by default the last part of the entry's name
    translate: Callable[[Operator, SampleInput, Callable[..., Any]], Call] | None = None
    refused: Refusals = field(default_factory=dict)
    accepted: Refusals = field(default_factory=dict)  # a pattern of torch's error -> why we accept the call
    results: int | None = None
    errors: str = ""  # why their error inputs are no calls of ours
    roundings: Mapping[torch.dtype, float] = field(
        default_factory=dict
    )  # where the usual tolerance is too small

    @property
    def ours(self) -> str:
        return self.operator or self.entry.removeprefix("nn.functional.")

    @property
    def name(self) -> str:
        variant = f" ({self.variant})" if self.variant else ""
        return f"{self.entry.removeprefix('nn.functional.')}{variant}" + (
            f" by {self.operator}" if self.operator else ""
        )


# ------------------------------------------------------------------------------------ translations


def by_name(operator: Operator, sample: SampleInput, function: Callable[..., Any]) -> Call:
    """The same arguments, by position and by name."""
    args, options = (sample.input, *sample.args), dict(sample.kwargs)
    if options.get("dtype") is not None:
        if options["dtype"] != sample.input.dtype:
            raise OutOfScope("`dtype=` another than the input's: our results have the input's type")
        del options["dtype"]
    if options.get("inplace") is False:
        del options["inplace"]
    given = dict(operator.adapter.signature.bind(*args, **options).arguments)
    if given.get("stride") == ():  # torch's way to leave it out by position
        del given["stride"]
    tensors = {n: v for n, v in given.items() if isinstance(v, torch.Tensor)}
    rest = {
        n: v
        for n, v in given.items()
        if n not in tensors and not (n in operator.adapter.tensors and v is None)
    }

    def reference(arrays: Tensors) -> Any:
        new = {id(tensors[n]): a for n, a in arrays.items()}

        def put(value: Any) -> Any:
            # copies, since torch may write to some (running statistics)
            return new.get(id(value), value).clone() if isinstance(value, torch.Tensor) else value

        return function(
            *map(put, (sample.input, *sample.args)), **{n: put(v) for n, v in sample.kwargs.items()}
        )

    constant = tuple(n for n, a in tensors.items() if a.is_floating_point() and not a.requires_grad)
    return Call(operator, tensors, rest, reference, constant)


def with_global(operator: Operator, sample: SampleInput, function: Callable[..., Any]) -> Call:
    """Adaptive pooling to one place is global pooling."""
    given = (sample.args or (sample.kwargs["output_size"],))[0]
    axes = int(operator_axes(function))
    sizes = given if isinstance(given, tuple) else (given,) * axes
    extents = sample.input.shape[-axes:]
    if any((n if size is None else size) != 1 for size, n in zip(sizes, extents, strict=True)):
        raise OutOfScope("more than one place")
    if sample.input.ndim == axes + 1:
        raise OutOfScope("unbatched: global pooling needs (N, C, *spatial)")

    def reference(arrays: Tensors) -> Any:
        found = function(arrays["input"], *sample.args, **sample.kwargs)
        return found[0] if isinstance(found, tuple) else found

    return Call(operator, {"input": sample.input}, {}, reference)


def operator_axes(function: Any) -> str:
    return str(re.search(r"(\d)d", function.name)[1])  # type: ignore[index]


def with_drawn_places(operator: Operator, sample: SampleInput, function: Callable[..., Any]) -> Call:
    """Fractional pooling: both sides are given the same random numbers."""
    axes = int(operator.__name__[-2])
    *lead, channels = sample.input.shape[:-axes]
    always, options = torch.Generator().manual_seed(7), dict(sample.kwargs)
    numbers = options.pop("_random_samples", None)
    if numbers is None:
        numbers = torch.rand(*(lead or [1]), channels, axes, dtype=sample.input.dtype, generator=always)
    if numbers.numel() and not 0 <= numbers.min() <= numbers.max() < 1:
        raise OutOfScope("random numbers that are not in [0, 1)")
    given = operator.adapter.signature.bind(sample.input, numbers, *sample.args, **options).arguments
    arrays = {"input": sample.input, "random_samples": numbers}

    def reference(tensors: Tensors) -> Any:
        drawn = {**options, "_random_samples": tensors["random_samples"].detach()}
        return getattr(torch.nn.functional, operator.__name__)(tensors["input"], *sample.args, **drawn)

    rest = {n: v for n, v in given.items() if n not in arrays}
    return Call(operator, arrays, rest, reference, constant=("random_samples",))


def with_places_apart(operator: Operator, sample: SampleInput, function: Callable[..., Any]) -> Call:
    """Unpooling to places that are all different."""
    call = by_name(operator, sample, function)
    axes = int(operator.__name__[-2])
    rows = call.arrays["indices"].flatten(-axes).reshape(-1, math.prod(call.arrays["indices"].shape[-axes:]))
    if any(len(set(row.tolist())) < len(row) for row in rows):
        raise OutOfScope("a place that is named twice: ours holds the mean there (docs/differences.md)")
    return call


def with_given_mask(operator: Operator, sample: SampleInput, function: Callable[..., Any]) -> Call:
    """Dropout: the mask that torch drew is what ours is given."""
    p, training = sample.kwargs.get("p", 0.5), sample.kwargs.get("training", True)

    def reference(arrays: Tensors) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(7)
            return function(arrays["input"], p=p, training=training)

    if not training or p == 1.0:
        raise OutOfScope("nothing is drawn" if not training else "p = 1: everything is dropped")
    with torch.random.fork_rng():
        torch.manual_seed(7)
        mask = function(torch.ones_like(sample.input), p=p, training=True) != 0
    arrays = {"input": sample.input, "mask": mask.to(sample.input.dtype)}
    options = {"p": p} if "p" in operator.adapter.signature.parameters else {}
    return Call(operator, arrays, options, reference, constant=("mask",))


def with_even_power(operator: Operator, sample: SampleInput, function: Callable[..., Any]) -> Call:
    call = by_name(operator, sample, function)
    if call.options["norm_type"] % 2:
        raise OutOfScope("a power that is not even: ours has |x|^p, torch x^p (docs/differences.md)")
    return call


def with_defaults(**defaults: object) -> Callable[[Operator, SampleInput, Callable[..., Any]], Call]:
    """Arguments that a sample leaves out, where torch's default for them is another than ours."""

    def translate(operator: Operator, sample: SampleInput, function: Callable[..., Any]) -> Call:
        given = operator.adapter.signature.bind_partial(sample.input, *sample.args).arguments
        options = {**{n: v for n, v in defaults.items() if n not in given}, **sample.kwargs}

        def reference(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **{n: v for n, v in kwargs.items() if n in sample.kwargs})

        return by_name(operator, SampleInput(sample.input, args=sample.args, kwargs=options), reference)

    return translate


def without_alpha(operator: Operator, sample: SampleInput, function: Callable[..., Any]) -> Call:
    if "alpha" in sample.kwargs:
        raise OutOfScope("a factor of one of the two")
    return by_name(operator, sample, function)


def with_table(operator: Operator, sample: SampleInput, function: Callable[..., Any]) -> Call:
    """torch's samples hold the table first; its function, the integers."""

    def reference(arrays: Tensors) -> Any:
        return torch.nn.functional.embedding(arrays["input"], arrays["weight"], **sample.kwargs)

    arrays = {"input": sample.args[0], "weight": sample.input}
    return Call(operator, arrays, dict(sample.kwargs), reference)


def with_two(operator: Operator, sample: SampleInput, function: Callable[..., Any]) -> Call:
    """Concatenation of two arrays, which torch takes as a sequence."""
    if len(sample.input) != 2:
        raise OutOfScope("another number of arrays than two")
    first, second = sample.input
    if first.ndim != second.ndim:
        raise OutOfScope("an empty array of one axis, which torch takes beside any other")
    dim = (*sample.args, sample.kwargs.get("dim", 0))[0]

    def reference(arrays: Tensors) -> Any:
        return function([arrays["input"], arrays["other"]], dim)

    return Call(operator, {"input": first, "other": second}, {"dim": dim}, reference)


def with_mean_slope(operator: Operator, sample: SampleInput, function: Callable[..., Any]) -> Call:
    """Outside of training, a randomized ReLU is a leaky one."""
    if sample.kwargs.get("training"):
        raise OutOfScope("slopes that torch draws")
    if sample.args or sample.kwargs.keys() - {"training"}:
        raise OutOfScope("bounds of the slopes")

    def reference(arrays: Tensors) -> Any:
        return function(arrays["input"], **sample.kwargs)

    return Call(operator, {"input": sample.input}, {"negative_slope": (1 / 8 + 1 / 3) / 2}, reference)


# ------------------------------------------------------------------------------------------ table

AXES = (1, 2, 3)
F = "nn.functional."
DRAWN = "torch draws the mask by itself: with a given one it is `dropout` of an array that is repeated"
COMPOSED = "composed of others: no equations of its own"

# Entries of nn.functional that are no operator of ours, and entries that only share a name with one.
LEFT_OUT = {
    ("unfold", ""): "Tensor.unfold: windows of one axis",
    (f"{F}batch_norm", "without_cudnn"): "the samples of batch_norm once more",
    (f"{F}silu", "complex"): "complex numbers",
    **{(f"{F}{name}", ""): DRAWN for name in ("dropout2d", "dropout3d", "alpha_dropout")},
    **{(f"{F}feature_alpha_dropout", how): DRAWN for how in ("with_train", "without_train")},
    **{(f"{F}linear_cross_entropy", how): COMPOSED for how in ("", "chunked", "chunked_none")},
    (f"{F}scaled_dot_product_attention", ""): COMPOSED,
    (f"{F}multi_head_attention_forward", ""): COMPOSED,
    (f"{F}triplet_margin_with_distance_loss", ""): "takes a Python function as its distance",
    (f"{F}multilabel_margin_loss", ""): "a target is a list that ends at its first -1",
    (f"{F}embedding_bag", ""): "rows of various lengths",
    (f"{F}one_hot", ""): "integers to integers: nothing to differentiate",
    (f"{F}grid_sample", ""): "reads at places that are numbers of an array, not integers",
    (f"{F}ctc_loss", ""): "a recursion over time",
    (f"{F}pdist", ""): "one result for each pair of rows: no product of ranges",
}

PADS = {
    r"only mode 'constant' cuts off": "a negative pad, which only mode constant takes here",
}
BROADCAST = {"nothing is broadcast": "shapes that are broadcast"}
EXPONENT = {r"`p` is .* but needs to be above 0": "an exponent that makes no norm"}
NO_CHANNELS = {
    "with optional 0 dim batch size|non-batch dimensions to have positive length": "no channels: an empty result here",
}

TABLE: tuple[Row, ...] = (
    *(
        Row(
            f"{F}conv{d}d",
            accepted={"padding='same' is not supported for strided": '"same" works at any stride here'},
        )
        for d in AXES
    ),
    *(Row(f"{F}conv_transpose{d}d") for d in AXES),
    *(Row(f"{F}max_pool{d}d", accepted=NO_CHANNELS) for d in AXES),
    *(Row(f"{F}avg_pool{d}d") for d in AXES),
    *(Row(f"{F}adaptive_{how}_pool{d}d") for how in ("avg", "max") for d in AXES),
    *(
        Row(
            f"{F}adaptive_{how}_pool{d}d",
            operator=f"global_{how}_pool",
            translate=with_global,
            errors="errors in `output_size`, which global pooling has not",
        )
        for how in ("avg", "max")
        for d in AXES
    ),
    *(Row(f"nn.LPPool{d}d", operator=f"lp_pool{d}d", translate=with_even_power) for d in AXES),
    *(
        Row(f"{F}max_unpool{d}d", variant, translate=with_places_apart)
        for d in AXES
        for variant in ("", "grad")
    ),
    *(Row(f"{F}fractional_max_pool{d}d", translate=with_drawn_places) for d in (2, 3)),
    Row(f"{F}unfold", operator="unfold2d"),
    Row(f"{F}linear"),
    Row(f"{F}bilinear"),
    Row(f"{F}embedding", translate=with_table),
    *(
        Row(entry, variant, operator, translate=without_alpha)
        for entry, variant, operator in (
            ("add", "", ""),
            ("sub", "", "subtract"),
            ("mul", "", "multiply"),
            ("div", "no_rounding_mode", "divide"),
        )
    ),
    Row("cat", operator="concatenate", translate=with_two, errors="a sequence, where ours takes two arrays"),
    Row("unflatten"),
    Row("flatten", translate=with_defaults(start_dim=0), refused={r"the axes of `input`": "a number"}),
    Row(f"{F}relu"),
    *(Row(f"{F}{name}") for name in ("leaky_relu", "prelu", "elu", "gelu", "silu", "mish")),
    *(Row(f"{F}{name}") for name in ("softplus", "logsigmoid", "hardtanh", "relu6", "hardswish")),
    *(Row(f"{F}{name}") for name in ("celu", "selu", "hardshrink", "softshrink")),
    Row(f"{F}hardsigmoid", roundings={torch.float64: SINGLE}),
    *(Row(f"{F}{name}") for name in ("softsign", "tanhshrink", "threshold", "glu")),
    Row(
        f"{F}rrelu", operator="leaky_relu", translate=with_mean_slope, errors="errors in bounds of the slopes"
    ),
    Row("sigmoid"),
    Row("tanh"),
    Row("erf"),
    *(
        Row(name, variant)
        for name in ("softmax", "log_softmax", f"{F}softmin")
        for variant in ("", "with_dtype")
    ),
    Row(
        f"{F}batch_norm",
        results=1,
        refused={
            "`input` has 1 axes but needs at least 2": "an empty array of one axis, which has no channels"
        },
    ),
    Row(f"{F}instance_norm", results=1),
    *(Row(f"{F}{name}") for name in ("layer_norm", "group_norm", "rms_norm", "local_response_norm")),
    *(Row(f"{F}{name}") for name in ("mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss")),
    Row(
        f"{F}binary_cross_entropy_with_logits",
        refused={r"has shape .* but needs .*: nothing is broadcast": "weights that are broadcast"},
    ),
    Row(f"{F}nll_loss"),
    Row(f"{F}cross_entropy"),
    Row(f"{F}binary_cross_entropy", refused=BROADCAST, roundings={torch.float64: ADDED}),
    Row(f"{F}gaussian_nll_loss", refused=BROADCAST),
    *(Row(f"{F}{name}") for name in ("kl_div", "poisson_nll_loss")),
    Row(f"{F}normalize", refused=EXPONENT, roundings=dict.fromkeys(DTYPES, SHORT)),
    Row(f"{F}pairwise_distance", refused=EXPONENT),
    Row(f"{F}cosine_similarity", refused=BROADCAST),
    *(Row(f"{F}{name}") for name in ("soft_margin_loss", "hinge_embedding_loss", "margin_ranking_loss")),
    Row(f"{F}multi_margin_loss", refused={r"`input` has 0 axes": "a number as the score of one class"}),
    Row(f"{F}cosine_embedding_loss"),
    Row(f"{F}multilabel_soft_margin_loss", refused=BROADCAST),
    Row(f"{F}triplet_margin_loss"),
    *(
        Row(
            f"{F}interpolate",
            mode,
            refused={r"`mode` is 'area'": "mode area: that is adaptive average pooling"},
        )
        for mode in ("nearest", "nearest-exact", "linear", "bilinear", "trilinear", "bicubic", "area")
    ),
    Row(f"{F}upsample_nearest", operator="interpolate", translate=with_defaults(mode="nearest")),
    Row(
        f"{F}upsample_bilinear",
        operator="interpolate",
        translate=with_defaults(mode="bilinear", align_corners=True),
    ),
    Row(f"{F}channel_shuffle"),
    *(
        Row(f"{F}{name}", refused={r"needs [CPY]\d? >= 1, found 0 < 1": "an empty image, which ours refuses"})
        for name in ("pixel_shuffle", "pixel_unshuffle")
    ),
    *(
        Row(f"{F}pad", mode, refused=PADS)
        for mode in ("constant", "reflect", "replicate", "replicate_negative", "circular")
    ),
    Row(f"{F}dropout", translate=with_given_mask),
)


# -------------------------------------------------------------------------------------- their side


@cache
def entries() -> Mapping[tuple[str, str], OpInfo]:
    return {(op.name, op.variant_test_name): op for op in op_db}


class Module:
    """A ModuleInfo as an OpInfo, as far as this suite asks: nn.LPPool2d is torch.nn.functional.lp_pool2d."""

    dtypes = frozenset({torch.float32, torch.float64})
    supports_gradgrad = supports_forward_ad = supports_autograd = True
    error_inputs_func = None

    def __init__(self, name: str, function: str) -> None:
        self.name = function
        self.info = next(m for m in module_db if m.name == name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(torch.nn.functional, self.name)(*args, **kwargs)

    def sample_inputs(self, device: str, dtype: torch.dtype, requires_grad: bool) -> Iterator[SampleInput]:
        for m in self.info.module_inputs_func(self.info, device, dtype, requires_grad, training=True):
            made, given = m.constructor_input, m.forward_input
            yield SampleInput(given.args[0], args=tuple(made.args), kwargs=dict(made.kwargs))


def theirs(row: Row) -> Any:
    return (
        Module(row.entry, row.operator)
        if row.entry.startswith("nn.LP")
        else entries()[row.entry, row.variant]
    )


def seeded() -> None:
    """Samples are drawn anew, always the same."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 -- torch's samples read the global generator


def samples(row: Row, dtype: torch.dtype) -> list[SampleInput]:
    op = theirs(row)
    seeded()
    return list(op.sample_inputs("cpu", dtype, requires_grad=op.supports_autograd))


# ------------------------------------------------------------------------------------------- runs


def run(row: Row, dtype: torch.dtype) -> Tally:
    """Every sample of one dtype."""
    tally, op = Tally(SUITE, row.name), theirs(row)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of reductions and copies
        for n, sample in enumerate(samples(row, dtype)):
            try:
                call = translated(row, op, sample)
                apart = translated(row, op, sample.noncontiguous())
                agree(
                    call,
                    second=op.supports_gradgrad,
                    forward_mode=op.supports_forward_ad,
                    strided=apart.arrays,
                    seed=n,
                )
            except OutOfScope as reason:
                tally.out[str(reason)] += 1
            except KernelError as error:
                if reason := listed(row.refused, str(error)):
                    tally.out[reason] += 1
                else:
                    tally.failed.append(f"sample {n}, {dtype}: refused, {error}")
            except Exception as error:
                shown = f"{call}" if "call" in locals() else ""
                tally.failed.append(f"sample {n}, {dtype}: {shown}\n{type(error).__name__}: {error}")
            else:
                tally.passed += 1
    return tally


def translated(row: Row, op: Any, sample: SampleInput) -> Call:
    translate = row.translate or by_name
    call = translate(getattr(kernels, row.ours), sample, op)
    dtype = getattr(sample.input, "dtype", None)  # cat is given a list
    roundings = row.roundings.get(dtype, call.roundings)
    return replace(call, roundings=roundings, results=call.results or row.results)


MOST, FEW, MANY = (
    2,
    12,
    450,
)  # samples recorded of a row; with how few numbers one says little, with how many it is alone


def recording() -> Iterator[Case]:
    """A few small samples of each row with torch's answers: those with the fewest numbers, each with options of its own."""
    for row in TABLE:
        yield from recorded_of(row)


def recorded_of(row: Row) -> list[Case]:
    op, found = theirs(row), list[tuple[int, int, str, Call]]()
    for n, sample in enumerate(samples(row, torch.float64)):
        try:
            call = translated(row, op, sample)
            results = several(call.reference(call.arrays))
            call.operator.output_shape(**asked(call).arrays, **call.options)
        except (OutOfScope, KernelError):
            continue
        inputs, outputs = sum(a.numel() for a in call.arrays.values()), sum(a.numel() for a in results)
        if inputs and outputs:
            size = 3 * (inputs + outputs)
            found.append((size if size > FEW else MANY, n, f"{sorted(call.options.items())}", call))
    kept, said = list[Case](), set[str]()
    for size, n, options, call in sorted(found, key=lambda f: f[:2]):
        if options in said or len(kept) == MOST or (kept and size > MANY):
            continue
        said.add(options)
        answers = answered(call, second=op.supports_gradgrad, forward_mode=op.supports_forward_ad, seed=n)
        kept.append(Case(row.name, n, asked(call), answers))
    return kept


def other_dtypes(row: Row) -> Tally:
    """The samples of types that no kernel computes in, counted."""
    tally, op = Tally(SUITE, row.name), theirs(row)
    for dtype in sorted(op.dtypes - set(DTYPES), key=str):
        seeded()
        count = len(list(op.sample_inputs("cpu", dtype, requires_grad=False)))
        tally.out["in a type that is neither float32 nor float64"] += count
    return tally


def run_errors(row: Row) -> Tally:
    """Their error inputs: ours must raise a KernelError, whatever its text."""
    tally, op = Tally(ERRORS, row.name), theirs(row)
    if op.error_inputs_func is None:
        return tally
    seeded()
    for n, wrong in enumerate(op.error_inputs("cpu")):
        if row.errors:
            tally.out[row.errors] += 1
            continue
        regex = str(wrong.error_regex)
        sample = wrong.sample_input
        try:
            args = [plain(v) for v in (sample.input, *sample.args)]
            getattr(kernels, row.ours)(*args, **{k: plain(v) for k, v in sample.kwargs.items()})
        except KernelError as error:
            if "unexpected keyword" in str(error):  # says nothing about what is wrong
                tally.failed.append(f"error input {n} ({regex}): {error}")
            else:
                tally.passed += 1
        except Exception as error:
            tally.failed.append(f"error input {n} ({regex}): {type(error).__name__}: {error}")
        else:
            if reason := listed(row.accepted, regex):
                tally.out[reason] += 1
            else:
                tally.failed.append(f"error input {n} ({regex}): accepted")
    return tally


def plain(value: Any) -> Any:
    return value.detach().numpy() if isinstance(value, torch.Tensor) else value


def listed(reasons: Refusals, text: str) -> str | None:
    return next((reason for pattern, reason in reasons.items() if re.search(pattern, text)), None)
