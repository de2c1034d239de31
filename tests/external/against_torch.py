"""One call of ours beside one of torch's: results, gradients, gradients of gradients, forward mode.

`agree` asks torch and has `tests.external.answers` compare, for OpInfo samples and for drawn configurations alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from kernels.operator import Operator
from tests.external import answers
from tests.external.answers import ROUNDINGS, Answers, Asked, several

Tensors = Mapping[str, torch.Tensor]

CANCELLED = (
    8 * ROUNDINGS
)  # a derivative divides by a length or a deviation, of a half say, once for each order
SHORT = 64 * ROUNDINGS  # the same of lengths of a tenth, say, with a power below one
ADDED = 2.0**22  # of float64's last place: torch adds 1e-12 to the probabilities that it divides by
SINGLE = 2.0**29  # of float64's last place: half a unit of float32's, where torch has a constant of that type


@dataclass(frozen=True)
class Call:
    """A call of ours, and the same of torch's as a function of the arrays by our names."""

    operator: Operator
    arrays: Tensors
    options: Mapping[str, Any]
    reference: Callable[[Tensors], Any]
    constant: tuple[str, ...] = ()  # real arrays of which torch has no gradient
    results: int | None = None  # how many of the results are compared; all by default
    roundings: float = ROUNDINGS  # the tolerance, in units of the last place of the largest result
    second: bool = True  # whether torch has the gradient of its gradient

    def __str__(self) -> str:
        arrays = [f"{n} {tuple(a.shape)}" for n, a in self.arrays.items()]
        dtype = next((a.dtype for a in self.arrays.values() if a.is_floating_point()), None)
        return f"{self.operator.__name__}({', '.join([*arrays, *(f'{k}={v!r}' for k, v in self.options.items())])}) {dtype}"


def array_of(tensor: Any) -> np.ndarray[Any, Any]:
    """The same memory, with the same strides; of another library's, which NumPy reads by itself."""
    if not isinstance(tensor, torch.Tensor):
        return np.asarray(tensor)
    found: np.ndarray[Any, Any] = tensor.detach().numpy(force=True)  # some of torch's zeros have no memory
    return found


def arguments(call: Call, arrays: Tensors | None = None) -> dict[str, Any]:
    given = call.arrays if arrays is None else arrays
    return {**{n: array_of(a) for n, a in given.items()}, **call.options}


def close(call: Call, what: str, ours: Any, theirs: Any) -> None:
    answers.close(call.roundings, what, ours, array_of(theirs))


def asked(call: Call) -> Asked:
    """The call without torch."""
    arrays = {n: array_of(a) for n, a in call.arrays.items()}
    return Asked(call.operator, arrays, call.options, call.constant, call.results, call.roundings)


def agree(
    call: Call,
    *,
    gradients: bool = True,
    second: bool = True,
    forward_mode: bool = True,
    strided: Tensors | None = None,
    seed: int = 0,
) -> None:
    """Raises AssertionError where they differ. `strided` holds the same numbers at other strides."""
    found = answered(call, gradients=gradients, second=second, forward_mode=forward_mode, seed=seed)
    again = None if strided is None else {n: array_of(a) for n, a in strided.items()}
    answers.compare(asked(call), found, seed=seed, strided=again)


def answered(
    call: Call, *, gradients: bool = True, second: bool = True, forward_mode: bool = True, seed: int = 0
) -> Answers:
    """What torch answers."""
    ours, second = asked(call), second and call.second
    leaves = {n: call.arrays[n].detach().clone().requires_grad_(gradients) for n in ours.names}
    inputs = list(leaves.values())
    want = several(call.reference({**call.arrays, **leaves}))[: call.results]
    results = tuple(array_of(t) for t in want)
    if not gradients:
        return Answers(results)
    flowing = tuple(n for n, b in enumerate(want) if b.requires_grad)
    assert flowing, "nothing that torch returns has a gradient"
    d = answers.drawn(ours, results, flowing, seed)
    cotangents = {n: torch.tensor(a).requires_grad_() for n, a in d.cotangents.items()}
    theirs = filled(
        torch.autograd.grad(
            [want[n] for n in flowing],
            inputs,
            list(cotangents.values()),
            create_graph=second,
            allow_unused=True,
        ),
        inputs,
    )
    of_cotangents = twice = None
    directions = {n: torch.tensor(a) for n, a in d.directions.items()}
    moving = [(g, directions[n]) for n, g in zip(leaves, theirs, strict=True) if g.requires_grad]
    if second and moving:
        targets = [*cotangents.values(), *inputs]
        total = torch.stack([(g * h).sum() for g, h in moving]).sum()
        both = list(map(array_of, filled(torch.autograd.grad(total, targets, allow_unused=True), targets)))
        of_cotangents = tuple(both[: len(flowing)])
        twice = dict(zip(leaves, both[len(flowing) :], strict=True))
    tangents = moved(call, leaves, directions, flowing) if forward_mode else None
    return Answers(
        results,
        flowing,
        second,
        dict(zip(leaves, map(array_of, theirs), strict=True)),
        of_cotangents,
        twice,
        None if tangents is None else tuple(map(array_of, tangents)),
    )


def moved(
    call: Call, leaves: Tensors, directions: Tensors, flowing: Sequence[int]
) -> tuple[torch.Tensor, ...] | None:
    """The tangents of torch's results, by its forward mode, or where that is missing by two reverse ones, if it has them."""
    try:
        with forward_ad.dual_level():
            duals = {n: forward_ad.make_dual(x.detach(), directions[n]) for n, x in leaves.items()}
            results = several(call.reference({**call.arrays, **duals}))
            return filled(
                [forward_ad.unpack_dual(results[n]).tangent for n in flowing], [results[n] for n in flowing]
            )
    except NotImplementedError:
        if not call.second:
            return None

        def of_leaves(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
            results = several(call.reference({**call.arrays, **dict(zip(leaves, values, strict=True))}))
            return tuple(results[n] for n in flowing)

        given = tuple(leaves.values()), tuple(directions[n] for n in leaves)
        return several(torch.autograd.functional.jvp(of_leaves, *given)[1])


def filled(
    gradients: Sequence[torch.Tensor | None], like: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    """What torch leaves out is zero."""
    return tuple(torch.zeros_like(x) if g is None else g for g, x in zip(gradients, like, strict=True))
