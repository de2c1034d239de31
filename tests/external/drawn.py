"""Random calls, each from one integer, beside torch: of every operator that torch has, or has the parts of.

    call, strided = drawn("max_pool2d", 17)   # always the same one

What one of the two alone refuses is listed here (`OURS_ALONE`, `THEIRS_ALONE`), and so is what is not drawn (`NOT_DRAWN`).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence

from kernels.errors import KernelError
from tests.external.against_torch import Call, Tensors, agree, arguments
from tests.external.draw import Draw, Draws
from tests.external.draw_layers import LAYERS
from tests.external.draw_windows import WINDOWS
from tests.support.tally import Tally

SUITE = "Random configurations beside torch"
COUNT = 100
REFUSALS = (RuntimeError, ValueError, IndexError)
DRAWS: Draws = {**WINDOWS, **LAYERS}

# An operator, a pattern of torch's error, and why ours has a result.
OURS_ALONE = [
    ("avg_pool3d", r"smaller than kernel size", "the padded input is what a window has to fit"),
]
# An operator of ours that refuses what torch takes, a pattern of our error, and why.
THEIRS_ALONE = [
    (r"conv_transpose\dd", r"the result would have 0 places", "a result without places"),
]
STEP = "a step of torch.optim's, run beside it in tests/kernels/test_training.py"
NOT_DRAWN = dict.fromkeys(
    (
        "gd_step",
        "sgd_step",
        "rmsprop_step",
        "rmsprop_centered_step",
        "adam_step",
        "amsgrad_step",
        "adagrad_step",
    ),
    STEP,
)


def drawn(name: str, seed: int) -> tuple[Call, Tensors]:
    """A call, and the same arrays at other strides."""
    d = Draw(f"{name} {seed}")
    call = DRAWS[name](d)
    return call, {n: d.laid_out(a) for n, a in call.arrays.items()}


def reached(call: Call) -> str:
    """The operator whose kernels run, which an option may choose."""
    choose = getattr(call.operator, "variant", lambda *_: None)
    return str((choose((), arguments(call)) or call.operator).__name__)


def run(name: str, count: int = COUNT) -> Iterator[Tally]:
    """What the calls of one draw came to, by the operators that they reach."""
    rows: dict[str, Tally] = {}
    for seed in range(count):
        call, strided = drawn(name, seed)
        operator = reached(call)
        found = rows.setdefault(operator, Tally(SUITE, operator))
        told = f"drawn({name!r}, {seed}): {call}"
        with warnings.catch_warnings(action="ignore"):  # torch's, of copies and of reductions
            try:
                call.reference(call.arrays)
            except REFUSALS as theirs:
                refused(found, told, call, str(theirs))
                continue
            try:
                agree(call, strided=strided, seed=seed)
            except Exception as error:
                if isinstance(error, REFUSALS) and not isinstance(error, KernelError):
                    refused(found, told, call, str(error))  # torch's gradient, of a result without elements
                    continue
                why = listed(THEIRS_ALONE, call, str(error)) if isinstance(error, KernelError) else None
                if why:
                    found.out[f"refused by ours alone: {why}"] += 1
                else:
                    found.failed.append(f"{told}\n{type(error).__name__}: {error}")
            else:
                found.passed += 1
    yield from rows.values()


def refused(found: Tally, told: str, call: Call, theirs: str) -> None:
    """What torch refuses we refuse, or it is listed."""
    try:
        call.operator(**arguments(call))
    except KernelError:
        found.out["refused by both"] += 1
        return
    except Exception as error:
        found.failed.append(f"{told}\n{type(error).__name__}: {error}")
        return
    if why := listed(OURS_ALONE, call, theirs):
        found.out[f"refused by torch alone: {why}"] += 1
        return
    found.failed.append(f"{told}\ntorch alone refuses: {theirs}")


def listed(reasons: Sequence[tuple[str, str, str]], call: Call, error: str) -> str | None:
    name = call.operator.__name__
    return next(
        (why for own, pattern, why in reasons if re.fullmatch(own, name) and re.search(pattern, error)), None
    )
