"""Hold a gradient that somebody wrote by hand against what it claims to be.

    from kernels.testing import check_gradients

    def softplus(x): return np.log1p(np.exp(x))
    def softplus_vjp(x): return softplus(x), lambda g: g / (1 + np.exp(-x))

    check_gradients(softplus, softplus_vjp, np.linspace(-3, 3, 50))

The function may come from anywhere as long as it takes and returns NumPy arrays; `of_torch` and `of_autograd` wrap
those of PyTorch and HIPS autograd. pytest finds `check_gradients` as a fixture, seeded by the test's name. `windows`
and `apart` are Hypothesis strategies for the shapes and numbers to try.

A difference is known only so far. Each is taken at a ladder of steps, extrapolated (Richardson), and believed to
within what neighbouring rungs disagree by and what rounding may do (Ridders, Advances in Engineering Software 4
(1982) 75-76): a gradient fails if it is further off than that. Elements are moved in blocks, in both directions at
once; where a block fails, its elements are looked at one by one, so that the report names the worst, and so that at a
kink (a relu at 0, a tie of a maximum) any slope between the two sides passes.

Where more is known of the function, `method` says so: the complex step of an analytic one and whole steps of a linear
one lose no digits, and their derivatives are right to rounding.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from kernels.errors import ArgumentError, ArgumentTypeError, KernelError

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Array = npt.NDArray[Any]
Function = Callable[..., Any]
Pullback = Callable[..., Any]
Method = Literal["differences", "complex", "linear"]

STEPS = tuple(2.0**-k for k in range(2, 36, 3))  # relative to an element, or to 1/8 if that is larger
LAST = 2.0**-52  # relative to an element: its last bit or so
IMAGINARY = 2.0**-100  # of a complex step: its square is nothing beside 1
CLOSE = 2.0**-40  # relative to the same: so near that what is smooth is a line, and what is left is rounding
ROUNDING = 8 * 2.0**-53  # of one result, in units of itself: a few operations, each half a unit off
SAFETY = 8.0  # errors are estimated, not bounded
FLOOR = 1e-11  # of the sum of all absolute terms: pullbacks round, too
SHARP = 1e-5  # a difference that is known less well than this, relative to the gradient's terms, says nothing
CANCELLED = 1e-3  # of its terms: what results add up to is not known as well as they are
KNOWN = 1e-3  # but one that is known so well tells a claim that lies outside its error from the truth
BENT = 1e-6  # slopes on both sides that differ by more are those of a kink; of a curve they agree far better
REGROUPED = 1e-8  # of absolute sums: n terms in another order differ by n roundings; this is 10^8 of them
NORMAL = 2.0**-1022  # numbers below have fewer digits, and no rounding of theirs is relative
SEEN = 5e-5  # relative: what a difference has to tell of each of the steep elements that it moves together


class GradientError(KernelError, AssertionError):
    """A gradient is not that of its function. The message says where, and by how much."""


class InconclusiveError(GradientError):
    """Differences do not settle: the function is noisy, not smooth, or not finite here."""


@dataclass(frozen=True)
class GradientReport:
    """What was compared, and how close it came."""

    differences: int  # directions along which the gradient was compared
    kinks: int  # elements at which the slopes on both sides differ
    unclear: int  # directions whose differences do not tell five digits
    worst: float  # largest error, relative to the sum of the absolute terms of its direction
    evaluations: int  # calls of the function

    def __str__(self) -> str:
        more = f", {self.kinks} kinks" * bool(self.kinks) + f", {self.unclear} unclear" * bool(self.unclear)
        return (
            f"{self.differences} differences{more}, worst relative error {self.worst:.1e}, "
            f"{self.evaluations} evaluations"
        )


def check_gradients(
    function: Function,
    vjp: Callable[..., tuple[Any, Pullback]],
    *arrays: npt.ArrayLike,
    jvp: Callable[[Sequence[Any], Sequence[Any]], tuple[Any, Any]] | None = None,
    directions: int = 24,
    seed: int = 0,
    name: str | None = None,
    method: Method = "differences",
) -> GradientReport:
    """Compare a gradient with differences of its function, and with itself.

    function    (*arrays) -> array, or a tuple of arrays
    vjp         (*arrays) -> (result, pullback); pullback(*cotangents) -> the gradient of each array (one, or a tuple);
                None where there is none, which counts as zero
    arrays      float64 of any shape are differentiated; integers and booleans are passed on
    jvp         (arrays, tangents) -> (result, tangent), held against the pullback
    directions  how many blocks the elements of each array are split into, at most
    method      what the gradient is held against, of functions that are more than differentiable:
                "complex": the imaginary part at x + ih, right to rounding, of an analytic function that takes and
                returns complex arrays; of each array the first direction is held against differences as well
                "linear": differences over whole steps, exact but for rounding, of a function that is linear in each
                array, the others fixed; that it is so is seen to

    Also seen to: shapes; the same result from `vjp` as from `function`, and the same gradient twice; linear in the
    cotangents; no argument is written to; other memory layouts give the same. For second order, check the gradient as
    a function of arrays and cotangents. Returns what was compared.

    Raises GradientError (an AssertionError) with the worst element, InconclusiveError if most differences of an
    array say nothing or the function is not such as `method` says, ArgumentError for another `method`, and
    ArgumentTypeError for arrays of another type or a function that takes no complex ones.
    """
    name = name or _name(function)
    if method not in ("differences", "complex", "linear"):
        raise ArgumentError(f'{name}: `method` is {method!r} but needs "differences", "complex" or "linear"')
    check = _Check(function, vjp, tuple(np.array(a) for a in arrays), seed, name, method)
    check.run(directions, jvp)
    return GradientReport(check.differences, check.kinks, check.unclear, check.worst, check.evaluations)


def _name(function: Function) -> str:
    return str(getattr(function, "__name__", None) or type(function).__name__)


def _tuple(result: Any) -> tuple[Any, ...]:
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)


def rough(values: Sequence[Array]) -> Array:
    """How far each element is off, by the fourth differences of a row of values; 0 where that is not a number."""
    fourth = np.diff(np.asarray(values, np.float64), 4, axis=0)
    found: Array = np.nan_to_num(np.max(np.abs(fourth), axis=0) / math.sqrt(math.comb(8, 4)))
    return found


@dataclass
class _Difference:
    """A derivative along a line, how far it may be off, and its terms' absolute sum."""

    value: float
    error: float
    size: float


class _Check:
    def __init__(
        self,
        function: Function,
        vjp: Function,
        arrays: tuple[Array, ...],
        seed: int,
        name: str,
        method: Method = "differences",
    ) -> None:
        self.method = method
        self.function, self.vjp, self.arrays, self.name = function, vjp, arrays, name
        self.random = np.random.default_rng(seed)
        self.differences = self.kinks = self.unclear = self.evaluations = 0
        self.worst = 0.0
        self.wrt = [k for k, a in enumerate(arrays) if a.dtype.kind == "f"]
        for k, a in enumerate(arrays):
            if a.dtype.kind not in "fiub" or (a.dtype.kind == "f" and a.dtype != np.float64):
                raise ArgumentTypeError(
                    f"{name}: argument {k} is {a.dtype} but needs float64 (or integers, which are passed on): "
                    "differences of fewer digits say little"
                )
        if not self.wrt:
            raise ArgumentTypeError(f"{name}: no argument is float64, so there is nothing to differentiate")

    def fail(self, text: str, kind: type[GradientError] = GradientError) -> GradientError:
        shapes = ", ".join(f"{a.dtype}{list(a.shape)}" for a in self.arrays)
        return kind(f"{self.name}: {text}\n    arguments: {shapes}")

    # --- calls ---------------------------------------------------------------------------------

    def evaluate(self, arrays: Sequence[Array]) -> list[Array]:
        self.evaluations += 1
        return [np.asarray(y) for y in _tuple(self.function(*arrays))]

    def pull(self, arrays: Sequence[Array], cotangents: Sequence[Array]) -> list[Array]:
        """Gradients of all arrays, zeros for what is None."""
        _, pullback = self.vjp(*arrays)
        return self.gradients(pullback, cotangents)

    def gradients(self, pullback: Pullback, cotangents: Sequence[Array]) -> list[Array]:
        found = _tuple(pullback(*cotangents))
        if len(found) != len(self.arrays) and len(found) != len(self.wrt):
            raise self.fail(
                f"the pullback gives {len(found)} gradients, {len(self.arrays)} arrays were given"
            )
        places = range(len(self.arrays)) if len(found) == len(self.arrays) else self.wrt
        gradients = [np.zeros(a.shape) for a in self.arrays]
        for k, g in zip(places, found, strict=True):
            if g is None or k not in self.wrt:
                continue
            g = np.asarray(g)
            if g.shape != self.arrays[k].shape:
                raise self.fail(
                    f"the gradient of argument {k} has shape {g.shape}, the argument {self.arrays[k].shape}"
                )
            if g.dtype.kind not in "fiub":
                raise self.fail(f"the gradient of argument {k} is {g.dtype}, not real")
            gradients[k] = g.astype(np.float64)
        return gradients

    # --- the whole -----------------------------------------------------------------------------

    def run(self, directions: int, jvp: Function | None) -> None:
        kept = [a.copy() for a in self.arrays]
        self.here = [y.copy() for y in self.evaluate(self.arrays)]
        self.outputs = [n for n, y in enumerate(self.here) if y.dtype.kind == "f"]
        self.unchanged(kept, "the function")
        result, pullback = self.vjp(*self.arrays)
        for n, (y, z) in enumerate(zip(self.here, _tuple(result), strict=True)):
            if y.shape != np.shape(z) or not self.near(y, np.asarray(z), np.abs(y)):
                raise self.fail(f"`vjp` and the function do not give the same result {n}")
        cotangents = self.cotangents()
        before = [c.copy() for c in cotangents]
        claimed = self.gradients(pullback, cotangents)
        self.unchanged(kept, "`vjp`")
        if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(before, cotangents, strict=True)):
            raise self.fail("the pullback writes to its cotangent")
        again = self.gradients(pullback, cotangents)
        for k in self.wrt:
            if not np.array_equal(claimed[k], again[k], equal_nan=True):
                raise self.fail(f"the pullback gives another gradient of argument {k} when called again")
        self.linear(pullback, cotangents, claimed)
        self.doubts(cotangents, claimed)
        self.laid_out(cotangents, claimed)
        for k in self.wrt:
            self.compare(k, claimed[k], cotangents, directions)
        if jvp is not None:
            self.adjoint(jvp, cotangents, claimed)

    def doubts(self, cotangents: Sequence[Array], claimed: Sequence[Array]) -> None:
        """What rounding on the way may do to results and gradients: by how much they tremble.

        They move with the last bits of all arrays, and they are rough along a line of places close together: there the
        fourth differences of what is smooth vanish, and those of rounding do not (Moré and Wild, SIAM Journal on
        Scientific Computing 33 (2011) 1292-1314). The first says nothing where a sum swallows these bits.
        """
        self.trembling = [np.zeros(y.shape) for y in self.here]
        self.doubt = [np.zeros(a.shape) for a in self.arrays]

        def note(results: Sequence[Array], gradients: Sequence[Array]) -> None:
            for n in self.outputs:
                self.trembling[n] = np.fmax(self.trembling[n], results[n])
            for k in self.wrt:
                self.doubt[k] = np.fmax(self.doubt[k], 4 * gradients[k])

        def around(moved: Callable[[int, Array], Array]) -> tuple[list[Array], list[Array]]:
            arrays = [moved(k, a) if k in self.wrt else a for k, a in enumerate(self.arrays)]
            return self.evaluate(arrays), self.pull(arrays, cotangents)

        def further(lines: Sequence[Array], t: int, k: int, a: Array) -> Array:
            return a + t * CLOSE * lines[k]

        with np.errstate(invalid="ignore"):
            for _ in range(4):
                results, gradients = around(
                    lambda k, a: a * (1 + LAST * self.random.choice([-1, 1], a.shape))
                )
                note(
                    [
                        np.abs(y - z) if n in self.outputs else y
                        for n, (y, z) in enumerate(zip(results, self.here, strict=True))
                    ],
                    [np.abs(g - h) for g, h in zip(gradients, claimed, strict=True)],
                )
            lines = [
                self.line(k, np.arange(a.size)) if k in self.wrt else a for k, a in enumerate(self.arrays)
            ]
            places = [around(partial(further, lines, t)) for t in range(8)]
            note(
                *([rough(each) for each in zip(*column, strict=True)] for column in zip(*places, strict=True))
            )

    def cotangents(self) -> list[Array]:
        """One for each real result, with elements away from zero, and 0 where the result is not finite."""
        made = []
        for n in self.outputs:
            y = self.here[n]
            g = self.random.choice([-1.0, 1.0], y.shape) * self.random.uniform(0.5, 1.5, y.shape)
            made.append(np.where(np.isfinite(y), g, 0.0))
        return made

    def unchanged(self, kept: Sequence[Array], who: str) -> None:
        for k, (a, b) in enumerate(zip(self.arrays, kept, strict=True)):
            if not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
                raise self.fail(f"{who} writes to argument {k}")

    @staticmethod
    def near(found: Array, expected: Array, size: Array, doubt: Array | float = 0.0) -> bool:
        """Elementwise, but for another order of adding and some doubt; NaN equals NaN."""
        largest = np.max(size, initial=0, where=np.isfinite(size))
        room = SAFETY * doubt + REGROUPED * (size + largest) + NORMAL
        with np.errstate(invalid="ignore"):
            same = (found == expected) | (np.abs(found - expected) <= room)
        return bool((same | (np.isnan(found) & np.isnan(expected))).all())

    def linear(self, pullback: Pullback, u: Sequence[Array], of_u: Sequence[Array]) -> None:
        v = self.cotangents()
        of_v = self.gradients(pullback, v)
        both = self.gradients(pullback, [2 * a + 3 * b for a, b in zip(u, v, strict=True)])
        for k in self.wrt:
            size = 2 * np.abs(of_u[k]) + 3 * np.abs(of_v[k])
            if not self.near(both[k], 2 * of_u[k] + 3 * of_v[k], size):
                raise self.fail(f"the gradient of argument {k} is not linear in the cotangent")

    def laid_out(self, cotangents: Sequence[Array], claimed: Sequence[Array]) -> None:
        """The same numbers, reversed in memory with gaps between them."""

        def relaid(a: Array) -> Array:
            if a.ndim == 0:
                return a.copy()
            room = np.zeros(tuple(2 * n for n in a.shape[::-1]), a.dtype)
            view: Array = room[tuple(slice(None, None, 2) for _ in a.shape)].T[
                (slice(None, None, -1),) * a.ndim
            ]
            view[...] = a
            return view

        found = self.pull([relaid(a) for a in self.arrays], [relaid(c) for c in cotangents])
        for k in self.wrt:
            if not self.near(found[k], claimed[k], np.abs(claimed[k]), self.doubt[k]):
                raise self.fail(f"the gradient of argument {k} is another for arrays that are not contiguous")

    def adjoint(self, jvp: Function, cotangents: Sequence[Array], claimed: Sequence[Array]) -> None:
        tangents = [
            self.random.standard_normal(a.shape) if k in self.wrt else None for k, a in enumerate(self.arrays)
        ]
        _, moved = jvp(self.arrays, tangents)
        moved = [np.asarray(m, np.float64) for m in _tuple(moved)]
        if len(moved) == len(self.here):
            moved = [moved[n] for n in self.outputs]
        left = [a for m, g in zip(moved, cotangents, strict=True) for a in np.ravel(m * g)]
        right = [a for k in self.wrt for a in np.ravel(claimed[k] * tangents[k])]
        size = math.fsum(map(abs, left)) + math.fsum(map(abs, right))
        if not abs(math.fsum(left) - math.fsum(right)) <= REGROUPED * size:
            raise self.fail(
                f"jvp and vjp are not adjoint: <J t, g> = {math.fsum(left):.15g}, "
                f"<t, J' g> = {math.fsum(right):.15g}"
            )

    # --- differences ---------------------------------------------------------------------------

    def blocks(self, size: int, most: int) -> Iterator[Array]:
        """The elements in random order, in at most so many blocks."""
        order = self.random.permutation(size)
        yield from np.array_split(order, max(1, min(most, size))) if size else ()

    def compare(self, k: int, gradient: Array, cotangents: Sequence[Array], directions: int) -> None:
        sharp = checked = 0
        for block in self.blocks(gradient.size, directions):
            checked += 1
            line = self.line(k, block)
            found = self.along(k, line, cotangents)
            if self.method == "complex" and checked == 1:
                self.analytic(k, found, self.difference(k, line, cotangents))
            terms = np.ravel(gradient)[block] * np.ravel(line)[block]
            doubt = float(np.sum(np.ravel(self.doubt[k] * np.abs(line))[block]))
            slopes = np.abs(np.ravel(gradient)[block])
            steep = np.abs(terms)[2 * slopes >= np.max(slopes, initial=0)]
            good, clear = self.agrees(found, terms, doubt, steep)
            if not (good and clear):
                # one by one, and all of them: a fault may hide behind one that is unclear, or has a far longer step
                each = [self.element(k, int(at), gradient, cotangents) for at in block]
                clear = all(each)
            sharp += clear
        self.unclear += checked - sharp
        if 2 * sharp < checked:
            raise self.fail(
                f"the differences along argument {k} do not settle: the function is noisy, not smooth or "
                "ill-conditioned here",
                InconclusiveError,
            )

    def line(self, k: int, block: Array) -> Array:
        """A direction that moves a block of elements, each by about its own size, up or down."""
        a = self.arrays[k]
        line = np.zeros(a.size)
        scale = 2.0 ** np.ceil(np.log2(np.maximum(np.abs(np.ravel(a)[block]), 2.0**-3)))
        line[block] = scale * self.random.choice([-1.0, 1.0], len(block))
        return line.reshape(a.shape)

    def agrees(
        self, found: _Difference, terms: Array, doubt: float, steep: Array | None = None
    ) -> tuple[bool, bool]:
        """Is the claim within the errors of the difference and its own, and are these small, also beside each steep term?"""
        claimed, size = math.fsum(terms), math.fsum(np.abs(terms))
        room = SAFETY * (found.error + doubt) + FLOOR * (size + found.size) + NORMAL
        off = abs(claimed - found.value)
        good, clear = off <= room, room <= SHARP * max(size, CANCELLED * found.size, 1e-300)
        if steep is not None:
            clear = clear and bool((room <= SEEN * steep).all())
        if found.size == 0 and size == 0:
            clear = True
        if good and clear:
            self.differences += 1
            self.worst = max(self.worst, off / max(size, found.size, NORMAL))
        return good, clear

    def along(self, k: int, line: Array, cotangents: Sequence[Array]) -> _Difference:
        """The derivative of <cotangent, result> along a line, as the method has it."""
        if self.method == "complex":
            return self.complex_step(k, line, cotangents)
        if self.method == "linear":
            return self.whole_step(k, line, cotangents)
        return self.difference(k, line, cotangents)

    def complex_step(self, k: int, line: Array, cotangents: Sequence[Array]) -> _Difference:
        """Im f(x + ih) / h: nothing is subtracted, so that h can be as small as one likes."""
        arrays = list(self.arrays)
        arrays[k] = arrays[k] + 1j * IMAGINARY * line
        needed = 'method="complex" needs one that takes complex arrays and returns them'
        try:
            found = self.evaluate(arrays)
        except TypeError as error:
            raise ArgumentTypeError(
                f"{self.name}: the function refuses a complex argument {k}, and {needed}"
            ) from error
        if not any(found[n].dtype.kind == "c" for n in self.outputs):
            raise ArgumentTypeError(
                f"{self.name}: of a complex argument {k} the function makes real numbers, and {needed}"
            )
        terms = np.concatenate(
            [np.ravel(np.where(g == 0, 0.0, g * (found[n].imag / IMAGINARY)))
             for n, g in zip(self.outputs, cotangents, strict=True)]
        )  # fmt: skip
        value, size = float(np.sum(terms)), float(np.sum(np.abs(terms)))
        return _Difference(value, ROUNDING * size if math.isfinite(size) else math.inf, size)

    def analytic(self, k: int, found: _Difference, other: _Difference) -> None:
        if abs(found.value - other.value) > SAFETY * (found.error + other.error) + FLOOR * (
            found.size + other.size
        ):
            raise self.fail(
                f"the function is not analytic in argument {k}: the complex step gives {found.value:.10g}, "
                f"differences {other.value:.10g}",
                InconclusiveError,
            )

    def whole_step(self, k: int, line: Array, cotangents: Sequence[Array]) -> _Difference:
        """The same at any step of what is linear, so over long ones, which lose no digits; two of them have to agree."""
        (value, noise, size), (far, further, _) = self.steps(k, line, cotangents, (1.0, 4.0))
        if not abs(value - far) <= SAFETY * (noise + further) + FLOOR * size:
            raise self.fail(
                f"the function is not linear in argument {k}: its slope is {value:.10g} over one step, {far:.10g} over four",
                InconclusiveError,
            )
        return _Difference(value, noise, size)

    def difference(
        self, k: int, line: Array, cotangents: Sequence[Array], sides: tuple[int, int] = (1, -1)
    ) -> _Difference:
        """The derivative of <cotangent, result> along a line; one-sided if the sides are (1, 0) or (0, -1)."""
        order = 2 if sides == (1, -1) else 1
        rungs, noises, sizes = zip(*self.steps(k, line, cotangents, STEPS, sides), strict=True)
        return self.settled(rungs, noises, sizes, order)

    def steps(
        self,
        k: int,
        line: Array,
        cotangents: Sequence[Array],
        lengths: Sequence[float],
        sides: tuple[int, int] = (1, -1),
    ) -> list[tuple[float, float, float]]:
        """For each step the difference quotient, what rounding may do to it, and its terms' absolute sum.

        What stays the same in every step is known to, without rounding; what a short step alone leaves as it is may have
        been swallowed on the way.
        """
        ends = [[self.moved(k, line, side * h) if side else self.here for side in sides] for h in lengths]
        still = [np.all([one[n] == other[n] for one, other in ends], axis=0) for n in self.outputs]
        found = []
        for h, (ahead, behind) in zip(lengths, ends, strict=True):
            terms, noise = self.terms(cotangents, ahead, behind, still)
            width = h * (sides[0] - sides[1])
            value = math.fsum(terms) / width if np.isfinite(terms).all() else math.nan
            found.append((value, noise / width, float(np.sum(np.abs(terms))) / width))
        return found

    def terms(
        self,
        cotangents: Sequence[Array],
        ahead: Sequence[Array],
        behind: Sequence[Array],
        still: Sequence[Array],
    ) -> tuple[Array, float]:
        """The terms of <cotangent, ahead - behind>, and what rounding may have done to them."""
        terms, noise = [np.zeros(0)], 0.0
        for n, g, same in zip(self.outputs, cotangents, still, strict=True):
            with np.errstate(invalid="ignore", over="ignore"):
                one, other = (np.where(g == 0, 0.0, end[n]) for end in (ahead, behind))
                terms.append(np.ravel(g * (one - other)))
                moved = np.where(same | (g == 0), 0.0, 8 * self.trembling[n])
                noise += float(np.sum(np.abs(g) * (ROUNDING * (np.abs(one) + np.abs(other)) + moved)))
        return np.concatenate(terms), noise

    @staticmethod
    def settled(
        rungs: Sequence[float], noises: Sequence[float], sizes: Sequence[float], order: int
    ) -> _Difference:
        """The rung of the ladder that is known best, extrapolated from two steps a factor of eight apart.

        A coarse one counts only if it agrees with all finer ones, to within their noise: steps of whole periods agree,
        too, on a wrong slope. And two rungs may agree by chance: what is left after extrapolation shrinks by gain^2
        from rung to rung, so an error far below that share of the one before is luck, and is not believed.
        """
        gain = 8.0**order
        better = [(gain * fine - coarse) / (gain - 1) for coarse, fine in pairwise(rungs)]
        best = _Difference(rungs[-1], math.inf, sizes[-1])
        finer = list[tuple[float, float]]()
        for n in reversed(range(2, len(better))):
            value, doubt = better[n], 2 * noises[n + 1]
            before = abs(better[n - 1] - better[n - 2])
            error = max(abs(value - better[n - 1]), SAFETY * before / gain**2) + doubt
            if not math.isfinite(value) or not math.isfinite(doubt):
                break
            agree = all(abs(value - other) <= error + room for other, room in finer)
            if agree and error < best.error:
                best = _Difference(value, error, sizes[n + 1])
            finer.append((value, doubt))
        return best

    def moved(self, k: int, line: Array, by: float) -> list[Array]:
        arrays = list(self.arrays)
        arrays[k] = arrays[k] + by * line
        return self.evaluate(arrays)

    def element(self, k: int, at: int, gradient: Array, cotangents: Sequence[Array]) -> bool:
        """One element alone. Whether its difference is sharp, or its slopes are those of a kink."""
        line = self.line(k, np.array([at]))
        step = float(np.ravel(line)[at])
        claimed = float(np.ravel(gradient)[at]) * step
        found = self.along(k, line, cotangents)
        index = [int(i) for i in np.unravel_index(at, gradient.shape)]
        if not math.isfinite(claimed) and math.isfinite(found.error):
            raise self.fail(
                f"the gradient of argument {k} at {index} is {claimed}, but differences give {found.value / step:.10g}"
            )
        ahead, behind = found, found  # there is no kink in what is analytic, or linear
        if self.method == "differences":
            ahead, behind = (self.difference(k, line, cotangents, sides) for sides in ((1, 0), (0, -1)))
        room = SAFETY * (ahead.error + behind.error)
        size = max(abs(claimed), ahead.size, behind.size)
        known = math.isfinite(room) and room <= KNOWN * max(size, 1e-300)
        if known and abs(ahead.value - behind.value) > room + BENT * size:
            self.kinks += 1
            low, high = sorted((ahead.value, behind.value))
            if low - room <= claimed <= high + room:
                return True
            raise self.fail(
                f"the gradient of argument {k} at {index} is {claimed / step:.10g}; the slopes on both sides "
                f"of this kink are {behind.value / step:.10g} and {ahead.value / step:.10g}"
            )
        doubt = float(np.ravel(self.doubt[k])[at]) * abs(step)
        good, clear = self.agrees(found, np.array([claimed]), doubt)
        if not good and SAFETY * (found.error + doubt) <= KNOWN * max(size, found.size):
            raise self.fail(
                f"the gradient of argument {k} at {index} is {claimed / step:.10g}, but differences give "
                f"{found.value / step:.10g} +- {SAFETY * found.error / abs(step):.1g}"
            )
        return clear


# ---- functions of other libraries ------------------------------------------------------------


def of_torch(function: Function) -> tuple[Function, Callable[..., tuple[Any, Pullback]]]:
    """(function, vjp) on NumPy arrays of a function on torch tensors, say `MyFunction.apply`."""
    import torch

    def tensors(arrays: Sequence[Any], wanted: bool) -> list[Any]:
        made = [torch.from_numpy(np.ascontiguousarray(a).copy()) for a in arrays]
        return [t.requires_grad_(wanted and t.is_floating_point()) for t in made]

    def plain(result: Any) -> Any:
        found = tuple(t.detach().numpy() for t in _tuple(result))
        return found if isinstance(result, (tuple, list)) else found[0]

    def run(*arrays: Any) -> Any:
        return plain(function(*tensors(arrays, False)))

    def vjp(*arrays: Any) -> tuple[Any, Pullback]:
        given = tensors(arrays, True)
        result = function(*given)
        outputs = [t for t in _tuple(result) if t.is_floating_point()]

        def pullback(*cotangents: Any) -> tuple[Any, ...]:
            inputs = [t for t in given if t.requires_grad]
            found = iter(
                torch.autograd.grad(
                    [t for t in outputs if t.requires_grad],
                    inputs,
                    [
                        torch.from_numpy(np.ascontiguousarray(c).copy())
                        for c, t in zip(cotangents, outputs, strict=True)
                        if t.requires_grad
                    ],
                    retain_graph=True,
                    allow_unused=True,
                )
            )
            gradients = [next(found) if t.requires_grad else None for t in given]
            return tuple(None if g is None else g.numpy() for g in gradients)

        return plain(result), pullback

    run.__name__ = vjp.__name__ = _name(function)
    return run, vjp


def of_autograd(function: Function, argnums: Sequence[int] | None = None) -> tuple[Function, Function]:
    """(function, vjp) of a function of HIPS autograd's NumPy, one result; `argnums` are differentiated, all by default."""
    from autograd import make_vjp

    def vjp(*arrays: Any) -> tuple[Any, Pullback]:
        places = [k for k, a in enumerate(arrays) if np.asarray(a).dtype.kind == "f"]
        places = [k for k in places if argnums is None or k in argnums]
        pulls = [make_vjp(function, k)(*arrays)[0] for k in places]

        def pullback(cotangent: Any) -> tuple[Any, ...]:
            found = dict(zip(places, (pull(cotangent) for pull in pulls), strict=True))
            return tuple(found.get(k) for k in range(len(arrays)))

        return function(*arrays), pullback

    return function, vjp


# ---- what to try them on ---------------------------------------------------------------------


@dataclass(frozen=True)
class Windows:
    """Windows over one or more axes, with at least one place each."""

    size: tuple[int, ...]  # extents of what they read
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]  # on both sides
    dilation: tuple[int, ...]

    @property
    def output_size(self) -> tuple[int, ...]:
        """floor((n + 2 p - d (k - 1) - 1) / s) + 1 along each axis."""
        each = zip(self.size, self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in each)


def windows(
    axes: int = 2,
    *,
    most: int = 9,
    kernel: int = 4,
    stride: int = 3,
    padding: int | None = None,
    dilation: int = 2,
) -> SearchStrategy[Windows]:
    """Hypothesis strategy: windows of every kind that a convolution or pooling has to get right.

    Strides beyond the kernel, tails that no window reads, dilations with a common factor; extents up to `most`,
    paddings up to `padding` and less than a kernel's reach (half of it for a pooling: pass `padding=0` or draw anew).
    """
    from hypothesis import strategies as st

    @st.composite
    def drawn(draw: Any) -> Windows:
        found: list[tuple[int, int, int, int, int]] = []
        for _ in range(axes):
            k, d = draw(st.integers(1, kernel)), draw(st.integers(1, dilation))
            reach = d * (k - 1) + 1
            p = draw(st.integers(0, reach - 1 if padding is None else min(padding, reach - 1)))
            n = draw(st.integers(max(1, reach - 2 * p), max(most, reach)))
            found.append((n, k, draw(st.integers(1, stride)), p, d))
        return Windows(*(tuple(column) for column in zip(*found, strict=True)))

    return drawn()


def apart(shape: tuple[int, ...], *, low: float = -2.0, high: float = 2.0) -> SearchStrategy[Array]:
    """Hypothesis strategy: float64 numbers of which no two are alike or near another, in a random order.

    So no maximum ties and no element lies at 0: functions with kinks are smooth there.
    """
    from hypothesis import strategies as st

    def made(seed: int) -> Array:
        count = math.prod(shape)
        random = np.random.default_rng(seed)
        steps = (random.permutation(count) + random.uniform(0.3, 0.7, count)) / max(1, count)
        return np.asarray(low + (high - low) * steps, np.float64).reshape(shape)

    return st.integers(0, 2**32 - 1).map(made)


def seed_of(text: str) -> int:
    """A seed that is always the same for a test's name."""
    return zlib.crc32(text.encode())


__all__ = [
    "GradientError",
    "GradientReport",
    "InconclusiveError",
    "Windows",
    "apart",
    "check_gradients",
    "of_autograd",
    "of_torch",
    "windows",
]
