"""What another library answers to a call, and ours held against it. Nothing here needs that library: answers may be kept.

`compare` is the whole comparison of a call with answers: results, gradients, gradients of gradients, forward mode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernels.operator import Operator

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]

# Both sides add the same terms in another order. Sums here have at most some hundred terms, and terms are
# seldom larger than the largest result; where all cancels the inputs, which are of size 1 to 10, set the scale.
ROUNDINGS = 2.0**9


@dataclass(frozen=True)
class Asked:
    """A call of ours."""

    operator: Operator
    arrays: Arrays
    options: Mapping[str, Any]
    constant: tuple[str, ...] = ()  # real arrays of which there is no gradient
    results: int | None = None  # how many of the results are compared; all by default
    roundings: float = ROUNDINGS  # the tolerance, in units of the last place of the largest result

    @property
    def names(self) -> list[str]:
        """The arrays that have a gradient."""
        return [n for n, a in self.arrays.items() if a.dtype.kind == "f" and n not in self.constant]


@dataclass(frozen=True)
class Answers:
    """What the other side has, for the cotangents and directions that `drawn` gives. None: it was not asked, or has none."""

    results: tuple[Array, ...]
    flowing: tuple[int, ...] = ()  # the results that have a gradient
    second: bool = False  # whether gradients were differentiated
    gradients: Arrays | None = None  # by argument
    of_cotangents: tuple[Array, ...] | None = None  # of the gradients, along the directions: by cotangent,
    twice: Arrays | None = None  # and by argument
    tangents: tuple[Array, ...] | None = None  # of the results that flow


@dataclass(frozen=True)
class Drawn:
    cotangents: Mapping[int, Array] = field(default_factory=dict)  # by result
    directions: Arrays = field(default_factory=dict)  # by argument


def drawn(asked: Asked, results: Sequence[Array], flowing: Sequence[int], seed: int) -> Drawn:
    """The same numbers on both sides."""
    rng = np.random.default_rng(seed)

    def like(array: Array) -> Array:
        return np.asarray(rng.standard_normal(array.shape), array.dtype)

    return Drawn({n: like(results[n]) for n in flowing}, {n: like(asked.arrays[n]) for n in asked.names})


def several(results: Any) -> tuple[Any, ...]:
    return tuple(results) if isinstance(results, (tuple, list)) else (results,)


def close(roundings: float, what: str, ours: Any, want: Array) -> None:
    assert isinstance(ours, np.ndarray), f"{what}: {type(ours).__name__}, an array is needed"
    assert ours.shape == want.shape, f"{what}: shape {ours.shape}, theirs is {want.shape}"
    assert ours.dtype == want.dtype, f"{what}: {ours.dtype}, theirs is {want.dtype}"
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(ours, want, err_msg=what)
        return
    finite = np.abs(want[np.isfinite(want)])
    bound = roundings * np.finfo(want.dtype).eps * max(1.0, float(finite.max(initial=0)))
    np.testing.assert_allclose(ours, want, rtol=0, atol=bound, err_msg=what)


def compare(asked: Asked, answers: Answers, *, seed: int = 0, strided: Arrays | None = None) -> None:
    """Raises AssertionError where they differ. `strided` holds the same numbers at other strides."""
    operator, want, names = asked.operator, answers.results, asked.names
    arguments = {**asked.arrays, **asked.options}

    def check(what: str, a: Any, b: Array) -> None:
        close(asked.roundings, what, a, b)

    found, pullback = operator.vjp(**arguments)
    ours = several(found)
    assert len(ours) == len(want) or asked.results, f"{len(ours)} results, theirs are {len(want)}"
    for n, (a, b) in enumerate(zip(ours, want, strict=False)):
        check(f"result {n}", a, b)
    shape = operator.output_shape(**arguments)
    assert shape == (ours[0].shape if len(ours) == 1 else tuple(a.shape for a in ours)), (
        f"output_shape: {shape}"
    )
    if strided is not None:
        again = several(operator(**{**arguments, **strided}))
        for n, (a, b) in enumerate(zip(again, want, strict=False)):
            check(f"result {n} of strided arrays", a, b)
    if answers.gradients is None:
        return

    d = drawn(asked, want, answers.flowing, seed)
    reals = [n for n, a in enumerate(ours) if a.dtype.kind == "f"]
    given = [d.cotangents.get(n) for n in reals]
    first, pullback2 = pullback.vjp(*given) if answers.second else (pullback(*given), None)
    by_name = dict(zip(pullback.wrt, first, strict=True))
    for name in names:
        check(f"gradient of {name}", by_name[name], answers.gradients[name])

    if pullback2 is not None and answers.twice is not None and answers.of_cotangents is not None:
        mine = pullback2(*(d.directions.get(n) for n in pullback.wrt))
        by_name = dict(zip(pullback.wrt, mine[len(given) :], strict=True))
        for n, b in zip(answers.flowing, answers.of_cotangents, strict=True):
            check(f"gradient of the gradient, cotangent {n}", mine[reals.index(n)], b)
        for name in names:
            check(f"gradient of the gradient, {name}", by_name[name], answers.twice[name])

    if answers.tangents is not None:
        order = list(pullback.wrt)
        while order[-1] not in asked.arrays:
            order.pop()
        primals = tuple(asked.arrays.get(n) for n in order)
        changes = tuple(d.directions.get(n) for n in order)
        options = {n: v for n, v in asked.options.items() if n not in order}  # of absent arrays, None
        _, found = operator.jvp(primals, changes, **options)
        for n, b in zip(answers.flowing, answers.tangents, strict=True):
            check(f"tangent of result {n}", several(found)[n], b)
