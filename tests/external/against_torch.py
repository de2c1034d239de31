"""One call of ours beside one of torch's: results, gradients, gradients of gradients, forward mode.

`agree` is the whole comparison, for OpInfo samples and for drawn configurations alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from kernels.operator import Operator

Tensors = Mapping[str, torch.Tensor]

# Both sides add the same terms in another order. Sums here have at most some hundred terms, and terms are
# seldom larger than the largest result; where all cancels the inputs, which are of size 1 to 10, set the scale.
ROUNDINGS = 2.0**9
CANCELLED = (
    8 * ROUNDINGS
)  # a derivative divides by a length or a deviation, of a half say, once for each order
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
    want = array_of(theirs)
    assert isinstance(ours, np.ndarray), f"{what}: {type(ours).__name__}, an array is needed"
    assert ours.shape == want.shape, f"{what}: shape {ours.shape}, theirs is {want.shape}"
    assert ours.dtype == want.dtype, f"{what}: {ours.dtype}, theirs is {want.dtype}"
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(ours, want, err_msg=what)
        return
    finite = np.abs(want[np.isfinite(want)])
    bound = call.roundings * np.finfo(want.dtype).eps * max(1.0, float(finite.max(initial=0)))
    np.testing.assert_allclose(ours, want, rtol=0, atol=bound, err_msg=what)


def several(results: Any) -> tuple[Any, ...]:
    return tuple(results) if isinstance(results, (tuple, list)) else (results,)


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
    operator, rng = call.operator, np.random.default_rng(seed)
    second = second and call.second
    names = [n for n, a in call.arrays.items() if a.is_floating_point() and n not in call.constant]
    leaves = {n: call.arrays[n].detach().clone().requires_grad_(gradients) for n in names}
    inputs = list(leaves.values())
    want = several(call.reference({**call.arrays, **leaves}))[: call.results]
    found, pullback = operator.vjp(**arguments(call))
    ours = several(found)
    assert len(ours) == len(want) or call.results, f"{len(ours)} results, torch has {len(want)}"
    for n, (a, b) in enumerate(zip(ours, want, strict=False)):
        close(call, f"result {n}", a, b)
    shape = operator.output_shape(**arguments(call))
    assert shape == (ours[0].shape if len(ours) == 1 else tuple(a.shape for a in ours)), (
        f"output_shape: {shape}"
    )
    if strided is not None:
        again = several(operator(**arguments(call, strided)))
        for n, (a, b) in enumerate(zip(again, want, strict=False)):
            close(call, f"result {n} of strided arrays", a, b)
    if not gradients:
        return

    def drawn(like: torch.Tensor) -> torch.Tensor:
        return torch.tensor(rng.standard_normal(tuple(like.shape)), dtype=like.dtype)

    flowing = [n for n, b in enumerate(want) if b.requires_grad]
    cotangents = {n: drawn(want[n]).requires_grad_() for n in flowing}
    assert flowing, "nothing that torch returns has a gradient"
    given = [
        array_of(cotangents[n]) if n in flowing else None for n, a in enumerate(ours) if a.dtype.kind == "f"
    ]
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
    first, pullback2 = pullback.vjp(*given) if second else (pullback(*given), None)
    by_name = dict(zip(pullback.wrt, first, strict=True))
    for name, b in zip(names, theirs, strict=True):
        close(call, f"gradient of {name}", by_name[name], b)

    directions = {n: drawn(x) for n, x in zip(names, inputs, strict=True)}
    moving = [(g, directions[n]) for n, g in zip(names, theirs, strict=True) if g.requires_grad]
    if pullback2 is not None and moving:
        targets = [*cotangents.values(), *inputs]
        total = torch.stack([(g * h).sum() for g, h in moving]).sum()
        twice = filled(torch.autograd.grad(total, targets, allow_unused=True), targets)
        mine = pullback2(*(array_of(directions[n]) if n in directions else None for n in pullback.wrt))
        by_name = dict(zip(pullback.wrt, mine[len(given) :], strict=True))
        reals = [n for n, a in enumerate(ours) if a.dtype.kind == "f"]
        for n, b in zip(flowing, twice, strict=False):
            close(call, f"gradient of the gradient, cotangent {n}", mine[reals.index(n)], b)
        for name, b in zip(names, twice[len(flowing) :], strict=True):
            close(call, f"gradient of the gradient, {name}", by_name[name], b)

    if forward_mode:
        tangents = moved(call, leaves, directions, flowing)
        if tangents is None:
            return
        order = list(pullback.wrt)
        while order[-1] not in call.arrays:
            order.pop()
        primals = tuple(array_of(call.arrays[n]) if n in call.arrays else None for n in order)
        changes = tuple(array_of(directions[n]) if n in directions else None for n in order)
        options = {n: v for n, v in call.options.items() if n not in order}  # of absent arrays, None
        _, found = operator.jvp(primals, changes, **options)
        for n, b in zip(flowing, tangents, strict=True):
            close(call, f"tangent of result {n}", several(found)[n], b)


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
