"""The checks. Each looks at one configuration, drawn with the generator it is given.

shape_law                the sizes that the module derives are those that its laws give, found by counting
each_line                each task, phase and line of the module, in as few small runs as may be, exactly
every_way                the same, each task many times, at configurations of its own
exact_<program>          emitted source over fractions (or 60 digits) against the equations
adjoint                  <J t, g> = <t, J' g>, exactly
linearity                gradients are linear in cotangents and tangents; so are outputs in inputs where the
                         equations are
finite_differences       compiled tangents and gradients against central differences
compiled_matches_exact   compiled float64 and float32 within their rounding of the truth
strided                  gapped, reversed, transposed and read-only arrays serve as well, within their rounding
zero_sized               empty axes: the right shapes, and zeros where there is nothing to add
deterministic            the same bits again, whatever the number of tasks
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from derive.errors import VerificationError
from derive.language import Operator, finite
from derive.numbers import NotRational, Number, OutsideDomain
from derive.reference import Array, check_output_shape, reference_jvp
from derive.verify.configuration import sample
from derive.verify.counterexample import Counterexample
from derive.verify.rounding import ROUNDED, UNIT, allowance
from derive.verify.running import AGREE, DIGITS, PROGRAMS, Arrays, Divided, Manner, Setting, settle, shown
from derive.verify.ways import LINES, Draw, often, tasks_of, ways

if TYPE_CHECKING:
    from kernels.runtime import Definition


@dataclass(frozen=True)
class Outcome:
    """What a check found at one configuration: the worst error (0 where equality was asked), and a remark.

    The error is relative to max(1, |truth|), in `unit`: of that itself, or "u", of the dtype's rounding.
    """

    worst: float = 0.0
    detail: str = ""
    unit: str = ""


Check = Callable[["Operator", "Definition", Random], Outcome]
NOTHING = Outcome(detail="nothing to check")


def available(definition: Definition, *programs: str) -> list[str]:
    """The programs (of these) that have outputs: an operator on integers alone has no derivatives."""
    return [p for p in programs or PROGRAMS if definition.programs[p].outputs]


def settled(
    operator: Operator,
    definition: Definition,
    random: Random,
    program: str,
    kinds: Sequence[str] = ("general", "positive", "unit"),
    bounds_of: str = "",
) -> tuple[Setting, Arrays, Arrays]:
    """A setting of numbers that floats hold exactly, the truth there, and bounds on its rounding."""

    def attempt(setting: Setting) -> tuple[Arrays, Arrays]:
        return setting.expected(program), rounding_bounds(setting, bounds_of or program)

    setting, found = settle(operator, definition, random, attempt, kinds=kinds, dyadic=True)
    return setting, *found


# ---- comparing ------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """The runtime's infinities of exact types as floats, which compare with everything."""
    sign = getattr(value, "sign", None)
    return sign * float("inf") if type(value).__name__ == "Infinity" and isinstance(sign, int) else value


Place = tuple[int, ...]


def differs(
    setting: Setting,
    program: str,
    name: str,
    at: Place,
    found: Any,
    expected: Any,
    more: str = "",
    manner: Manner | None = None,
) -> VerificationError:
    """The error that shows everything needed to see the difference again. `manner` is that of an exact run."""
    where = f"{name}[{','.join(map(str, at))}]"
    text = (
        f"{setting.operator.name}: {where} of {program} is {shown(found)}, expected {shown(expected)}{more}"
    )
    error = VerificationError(f"{text}\n{setting}")
    error.counterexample = Counterexample(setting, program, name, at, manner)
    return error


def elements(
    setting: Setting, program: str, found: Arrays, expected: Arrays
) -> Iterator[tuple[str, Place, Any, Any]]:
    """Pairs to compare, once the shapes are found equal."""
    for name, array in found.items():
        if name not in expected:
            raise VerificationError(
                f"{setting.operator.name}: {program} has an output {name} of no meaning\n{setting}"
            )
        truth = expected[name]
        if array.shape != truth.shape:
            text = f"{name} of {program} has shape {array.shape}, expected {truth.shape}"
            raise VerificationError(f"{setting.operator.name}: {text}\n{setting}")
        for at in np.ndindex(array.shape):
            yield name, at, plain(array[at]), truth[at]


def compare_exactly(
    setting: Setting, program: str, found: Arrays, expected: Arrays, manner: Manner | None = None
) -> float:
    """Equality of fractions; forty digits of sixty. Returns the worst relative error."""
    worst = 0.0
    for name, at, value, truth in elements(setting, program, found, expected):
        if value == truth:
            continue
        if value != value:
            raise Divided(str(differs(setting, program, name, at, value, truth)))
        if setting.field.exact or isinstance(value, (int, Fraction)):
            raise differs(setting, program, name, at, value, truth, manner=manner)
        error = abs(value - truth) / max(1, abs(truth))
        if not error < DIGITS.number(AGREE):
            raise differs(setting, program, name, at, value, truth, manner=manner)
        worst = max(worst, float(error))
    return worst


# ---- shapes ---------------------------------------------------------------------------------


def shape_law(operator: Operator, definition: Definition, random: Random) -> Outcome:
    """Claimed output shapes against counted ones, at shapes large and small."""
    for _ in range(4):
        configuration = sample(operator, definition, random, largest=4000)
        setting = Setting(operator, definition, configuration, "general")
        written = {t.name for t in operator.outputs}
        claimed = {name: setting.shape(name) for name in written}
        try:
            check_output_shape(operator, configuration.shapes, configuration.integers, claimed)
        except VerificationError as error:
            raise VerificationError(f"{error}\n{setting}") from None
    return Outcome()


# ---- exact ----------------------------------------------------------------------------------


def exact(program: str, operator: Operator, definition: Definition, random: Random) -> Outcome:
    """Emitted source over exact numbers against the equations."""
    if not available(definition, program):
        return NOTHING

    def attempt(setting: Setting) -> float:
        expected, wanted = setting.expected(program), setting.outputs(program)
        if len(wanted) > 1 and random.random() < 0.3:
            wanted = [random.choice(wanted)]
        manner = Manner.drawn(random)
        return compare_exactly(setting, program, setting.exact(program, wanted, manner), expected, manner)

    setting, worst = settle(operator, definition, random, attempt)
    return Outcome(worst, str(setting.field))


def every_way(operator: Operator, definition: Definition, random: Random) -> Outcome:
    """Each task of the module, a few times, over exact numbers against the equations."""
    if not available(definition):
        return NOTHING
    own = Random(random.getrandbits(64))  # Hypothesis keeps what is drawn of its own, and this draws a lot
    return _along(operator, definition, ways(operator, definition, own, often(definition)))


RUNS = 24  # of tasks, in `each_line`: it makes as many of each as that allows, but not more than four


def each_line(operator: Operator, definition: Definition, random: Random) -> Outcome:
    """The same with not many more runs than it takes to execute every line."""
    if not available(definition):
        return NOTHING
    own = Random(random.getrandbits(64))
    each = max(1, min(4, RUNS // len(set[str]().union(*tasks_of(definition).values()))))
    draws = ways(
        operator, definition, own, each, patience=20, fruitless=3, largest=300, reach=LINES
    )  # time counts
    return _along(operator, definition, draws)


def _along(
    operator: Operator, definition: Definition, draws: Iterable[tuple[Draw, Arrays, Arrays]]
) -> Outcome:
    missing, worst, runs = set[str]().union(*tasks_of(definition).values()), 0.0, 0
    for draw, expected, found in draws:
        worst = max(worst, compare_exactly(draw.setting, draw.program, found, expected, draw.manner))
        missing, runs = missing - draw.tasks, runs + 1
    if not runs:
        raise LookupError(f"{operator.name}: has no value at any of the numbers tried")
    return Outcome(worst, f"{runs} runs" + (f", none of {', '.join(sorted(missing))}" if missing else ""))


def dot(setting: Setting, left: Arrays, right: Arrays) -> Number:
    """Sum of left * right; right in fractions."""
    zero = setting.field.number(0)
    pairs = (
        (a, b) for n in left for a, b in zip(left[n].flat, setting.converted(right[n]).flat, strict=True)
    )
    return sum((a * b for a, b in pairs), zero)


def adjoint(operator: Operator, definition: Definition, random: Random) -> Outcome:
    """Forward and reverse mode, both emitted, against each other."""
    if not available(definition, "vjp"):
        return NOTHING

    def attempt(setting: Setting) -> float:
        outs, ins = setting.case.real_outputs(), setting.case.wrt()
        setting.expected("vjp")
        moved = setting.exact("jvp", [f"t{n}" for n in outs], Manner.drawn(random))
        pulled = setting.exact("vjp", [f"g{n}" for n in ins], Manner.drawn(random))
        left = dot(setting, {n: moved[f"t{n}"] for n in outs}, setting.vectors("g", outs))
        right = dot(setting, {n: pulled[f"g{n}"] for n in ins}, setting.vectors("t", ins))
        error = abs(left - right) / max(1, abs(left))
        if error > (0 if setting.field.exact else DIGITS.number(AGREE)):
            text = f"<J t, g> = {shown(left)} but <t, J' g> = {shown(right)}"
            raise VerificationError(f"{operator.name}: jvp and vjp are not adjoint: {text}\n{setting}")
        return float(error)

    setting, worst = settle(operator, definition, random, attempt)
    return Outcome(worst, str(setting.field))


def linearity(operator: Operator, definition: Definition, random: Random) -> Outcome:
    """2 u + 3 v in, 2 f(u) + 3 f(v) out: vectors of derivatives, inputs in which the equations are linear."""
    if not available(definition, "vjp"):
        return NOTHING

    def attempt(setting: Setting) -> tuple[float, list[str]]:
        setting = setting.whole()
        case = setting.case
        setting.expected("vjp")
        linear = [name for name in case.wrt() if _equations_linear(setting, name)]
        worst = max(
            _linear(setting, "vjp", [f"g{n}" for n in case.real_outputs()], random),
            _linear(setting, "jvp", [f"t{n}" for n in case.wrt()], random),
            *(_linear(setting, "forward", [name], random) for name in linear),
        )
        return worst, linear

    _, (worst, linear) = settle(operator, definition, random, attempt)
    return Outcome(worst, f"linear in {', '.join(linear)}" if linear else "")


def _mixed(setting: Setting, program: str, moving: Sequence[str]) -> list[Arrays]:
    """Values u and v of the moving arguments, and 2 u + 3 v."""
    given = setting.arguments(program)
    u = {name: a for name in moving if (a := given[name]) is not None}
    v = {name: setting.configuration.numbers(f"{name} again", a.shape) for name, a in u.items()}
    both = {name: np.array(2 * u[name] + 3 * v[name], object) for name in u}
    return [u, v, both]


def _equations_linear(setting: Setting, name: str) -> bool:
    """Do the equations say so? Seen at two random points, exactly: a safe bet, but a bet."""
    results = []
    try:
        for values in _mixed(setting, "forward", (name,)):
            found = setting.case.run(**{n: setting.case.array(a) for n, a in values.items()})
            results.append({n: found[n] for n in setting.case.real_outputs()})
    except (ArithmeticError, ValueError, TypeError):
        return False
    f, g, h = results
    return all(
        setting.field.exact and a * 2 + b * 3 == c
        for n in f
        for a, b, c in zip(f[n].flat, g[n].flat, h[n].flat, strict=True)
    )


def _linear(setting: Setting, program: str, moving: Sequence[str], random: Random) -> float:
    wanted = [n for n in setting.outputs(program) if not setting.definition.tensor(n).integer]
    f, g, h = (
        setting.exact(program, wanted, Manner.drawn(random), None, **values)
        for values in _mixed(setting, program, moving)
    )
    combined = {n: np.array(2 * f[n] + 3 * g[n], object) for n in wanted}
    return compare_exactly(setting, program, h, combined)


# ---- compiled -------------------------------------------------------------------------------

DTYPES = (np.float64, np.float32)


class Errors(NamedTuple):
    """The worst error, in units of rounding, and the largest share of its bound that one takes up."""

    worst: float
    share: float


def rounding_bounds(setting: Setting, program: str) -> Arrays:
    """What rounding may do to each result; OutsideDomain where its analysis leaves the range of floats."""
    try:
        return setting.over(ROUNDED).expected(program)
    except (ArithmeticError, ValueError) as error:
        raise OutsideDomain(str(error)) from None


def compare_rounded(
    setting: Setting,
    program: str,
    dtype: Any,
    found: Arrays,
    expected: Arrays,
    bounds: Arrays,
    what: str = "",
) -> Errors:
    """Every value within its bound of the truth."""
    worst, share, name_of = 0.0, 0.0, np.dtype(dtype).name
    for name, at, value, truth in elements(setting, program, found, expected):
        if setting.definition.tensor(name).integer or not math.isfinite(truth):
            if value != truth:
                raise differs(setting, program, name, at, value, truth, f" ({name_of}{what})")
            continue
        if value != value:
            raise Divided(str(differs(setting, program, name, at, value, truth, f" ({name_of}{what})")))
        error, allowed = abs(float(value) - float(truth)), allowance(bounds[name][at], name_of)
        if not error <= allowed:
            more = f" within {allowed:.3g} ({name_of}{what})"
            raise differs(setting, program, name, at, float(value), float(truth), more)
        worst = max(worst, error / (UNIT[name_of] * max(1.0, abs(float(truth)))))
        share = max(share, error / allowed if allowed else 0.0)
    return Errors(worst, share)


def compiled_matches_exact(operator: Operator, definition: Definition, random: Random) -> Outcome:
    """Compiled results against the truth, within a bound on their rounding; how much of that they use is the remark."""
    worst = share = 0.0
    for program in available(definition):

        def attempt(setting: Setting, program: str = program) -> list[Errors]:
            expected, bounds = setting.expected(program), rounding_bounds(setting, program)
            dtypes = DTYPES if program in ("forward", "vjp") else DTYPES[:1]
            found = {d: setting.compiled(program, d, setting.outputs(program)) for d in dtypes}
            return [compare_rounded(setting, program, d, found[d], expected, bounds) for d in dtypes]

        kinds = ("apart", "general", "positive", "unit")
        for errors in settle(operator, definition, random, attempt, kinds=kinds, dyadic=True)[1]:
            worst, share = max(worst, errors.worst), max(share, errors.share)
    return Outcome(worst, f"at most {share:.1%} of the bound", "u")


KINK = 1e-3  # a one-sided and a central difference of a smooth function differ by STEP/2 times f''
STEP = 2.0**-17  # about the cube root of float64's rounding: truncation and rounding errors balance


def finite_differences(operator: Operator, definition: Definition, random: Random) -> Outcome:
    """Compiled float64 tangents against central differences of compiled outputs, gradients against both.

    A difference at step h is off by h^2 f'''/6, and by rounding over h. What it moves by when the step
    doubles is three times the former; running error analysis bounds the latter. Near a kink the two steps
    disagree, and the allowance grows with it.
    """
    if not available(definition, "vjp"):
        return NOTHING
    kinds = ("apart", "positive", "unit")
    setting, _, bounds = settled(operator, definition, random, "vjp", kinds, bounds_of="forward")
    setting = setting.whole()
    if _holds_back(setting):
        return Outcome(detail="a value held constant by finite() moves, which differences do not know")
    case = setting.case
    outs, ins = case.real_outputs(), case.wrt()
    inputs = {n: case.inputs[n].astype(float) for n in ins}
    tangents = {n: a.astype(float) for n, a in setting.vectors("t", ins).items()}
    cotangents = {n: a.astype(float) for n, a in setting.vectors("g", outs).items()}

    def run(h: float) -> Arrays:
        moved = {n: np.asarray(inputs[n] + h * tangents[n]) for n in ins}
        return setting.compiled("forward", np.float64, outs, given=moved)

    def difference(h: float) -> Arrays:
        ahead, behind = run(h), run(-h)
        with np.errstate(invalid="ignore"):  # a maximum over nothing stays at minus infinity
            return {n: (ahead[n] - behind[n]) / (2 * h) for n in outs}

    fine, coarse, here = difference(STEP), difference(2 * STEP), run(0.0)
    with np.errstate(invalid="ignore"):
        ahead = {n: (a - here[n]) / STEP for n, a in run(STEP).items()}
    claimed = setting.compiled("jvp", np.float64, [f"t{n}" for n in outs])
    worst = along = room = 0.0
    sharp = count = 0
    for n in outs:
        for at in np.ndindex(fine[n].shape):
            count += 1
            d, t = float(fine[n][at]), float(claimed[f"t{n}"][at])
            if abs(float(ahead[n][at]) - d) > KINK * max(1.0, abs(d)):
                continue  # the slopes on both sides differ: a kink, or a tie by chance
            allowed = 2 * abs(d - float(coarse[n][at])) + allowance(bounds[n][at], "float64") / STEP
            allowed += 1e-9 * abs(d)
            if not math.isfinite(d) or not math.isfinite(allowed):
                continue
            if not abs(d - t) <= allowed:
                raise differs(setting, "jvp", f"t{n}", at, t, d, f" by differences, within {allowed:.3g}")
            sharp += allowed < 1e-3 * max(1.0, abs(d))
            worst = max(worst, abs(d - t) / max(1.0, abs(d)))
            along += float(cotangents[n][at]) * d
            room += abs(float(cotangents[n][at])) * allowed
    if sharp == count:
        pulled = setting.compiled("vjp", np.float64, [f"g{n}" for n in ins])
        terms = [float(v) for n in ins for v in np.ravel(pulled[f"g{n}"] * tangents[n])]
        if not abs(along - sum(terms)) <= room + 1e-9 * sum(map(abs, terms)):
            text = f"<t, J' g> is {sum(terms)}, but differences give {along} within {room:.3g}"
            raise VerificationError(f"{operator.name}: {text}\n{setting}")
    return Outcome(worst, f"{sharp} of {count} elements away from kinks")


def _holds_back(setting: Setting) -> bool:
    """Whether the derivative is meant to be another than the function's: finite(u) is constant, and u is not.

    So it is in x + finite(round(x) - x). What a softmax is shifted by has no derivative either way.
    """
    bodies = [s.body for s in setting.operator.statements]
    held = {f: f.args[0] for body in bodies for f in body.atoms(finite)}
    if not held:
        return False
    spec = setting.operator
    free = spec.with_statements(replace(s, body=s.body.xreplace(held)) for s in spec.statements)
    tangents = setting.vectors("t", setting.case.wrt())
    room = 0 if setting.field.exact else DIGITS.number(AGREE)
    try:
        meant, plain = (reference_jvp(replace(setting.case, operator=o), tangents) for o in (spec, free))
    except (
        NotRational,
        OutsideDomain,
        ZeroDivisionError,
    ):  # the free one has no value, or no derivative, here
        return True
    pairs = [(a, b) for n in meant for a, b in zip(meant[n].flat, plain[n].flat, strict=True)]
    return any(abs(a - b) > room for a, b in pairs)


def relaid(array: Array, random: Random) -> Array:
    """The same values, laid out otherwise: gaps, reversed axes, another order of axes."""
    order = random.sample(range(array.ndim), array.ndim)
    steps = [random.choice((1, 2, -1, -2)) for _ in order]
    room = np.full([array.shape[a] * abs(s) + 1 for a, s in zip(order, steps, strict=True)], 7, array.dtype)
    slices: list[Any] = []
    for axis, step in zip(order, steps, strict=True):
        reach = array.shape[axis] * abs(step)
        slices.append(slice(None, reach, step) if step > 0 else slice(reach - 1, None, step))
    if 0 in array.shape:
        return room[(slice(0, 0),) * array.ndim].reshape(array.shape)
    view: Array = room[(*slices, ...)].transpose([order.index(a) for a in range(array.ndim)])
    view[...] = array
    return view


def strided(operator: Operator, definition: Definition, random: Random) -> Outcome:
    """Any layout of inputs and outputs serves, read-only ones too, and no input is written to.

    Not bit for bit: a compiler may add up a contiguous row in vectors and a strided one not.
    """
    for program in available(definition, "forward", "vjp"):
        setting, expected, bounds = settled(operator, definition, random, program)
        wanted = setting.outputs(program)
        for dtype in DTYPES:
            given = setting.arrays(program, dtype)
            odd = {name: relaid(a, random) for name, a in given.items()}
            for a in odd.values():
                a.flags.writeable = False
            kinds = {name: np.int64 if definition.tensor(name).integer else dtype for name in wanted}
            out = {name: relaid(np.full(setting.shape(name), 5, kinds[name]), random) for name in wanted}
            setting.compiled(program, dtype, wanted, given=odd, out=out)
            compare_rounded(setting, program, dtype, out, expected, bounds, ", in another layout")
            same_bits(setting, program, odd, given, "but a kernel wrote to this input")
    return Outcome()


def same_bits(setting: Setting, program: str, found: Arrays, expected: Arrays, what: str) -> None:
    """Equal to the last bit, NaN included."""
    for name, at, value, truth in elements(setting, program, found, expected):
        if np.asarray(value).tobytes() != np.asarray(truth).tobytes():
            raise differs(setting, program, name, at, value, truth, f" {what}")


def deterministic(operator: Operator, definition: Definition, random: Random) -> Outcome:
    """Once more, and with any other number of tasks: the same bits."""
    for program in available(definition, "forward", "vjp"):
        setting, expected, bounds = settled(operator, definition, random, program)
        wanted = setting.outputs(program)
        usual = setting.compiled(program, np.float64, wanted)
        for tasks in (None, 1, 2, 3, 7):
            found = setting.compiled(program, np.float64, wanted, tasks=tasks)
            same_bits(setting, program, found, usual, f"with {tasks or 'as many'} tasks once more")
        compare_rounded(setting, program, np.float64, usual, expected, bounds)
    return Outcome()


def zero_sized(operator: Operator, definition: Definition, random: Random) -> Outcome:
    """An axis without entries: every program, interpreted and compiled, against the equations."""
    remarks: list[str] = []

    def attempt(setting: Setting) -> tuple[Arrays, Arrays]:
        # with an empty window a law says nothing, so output shapes are taken as claimed
        setting = setting.claiming_shapes()
        expected, wanted = setting.expected(program), setting.outputs(program)
        manner = Manner.drawn(random)
        compare_exactly(setting, program, setting.exact(program, wanted, manner), expected, manner)
        return expected, rounding_bounds(setting, program)

    for program in available(definition):
        try:
            setting, (expected, bounds) = settle(
                operator, definition, random, attempt, zero=True, dyadic=True
            )
        except Divided:  # is a mean over nothing 0/0, or an empty sum and 0? It is left open
            remarks.append("a mean over nothing is left open")
            continue
        except LookupError:
            continue
        if program in ("forward", "vjp"):
            compiled = setting.compiled(program, np.float64, setting.outputs(program))
            compare_rounded(setting, program, np.float64, compiled, expected, bounds)
        remarks.append("")
    return Outcome(detail=max(remarks, default="the conditions allow no empty axis"))


CHECKS: dict[str, Check] = {
    "shape_law": shape_law,
    **{f"exact_{program}": partial(exact, program) for program in PROGRAMS},
    "each_line": each_line,
    "every_way": every_way,
    "adjoint": adjoint,
    "linearity": linearity,
    "finite_differences": finite_differences,
    "compiled_matches_exact": compiled_matches_exact,
    "strided": strided,
    "zero_sized": zero_sized,
    "deterministic": deterministic,
}

# These run machine code, which takes seconds to compile for each kernel; the others the source alone.
COMPILED = ("finite_differences", "compiled_matches_exact", "strided", "zero_sized", "deterministic")
QUICK = tuple(
    c for c in CHECKS if c not in (*COMPILED, "each_line", "every_way", "linearity")
)  # one run of each program or so

MANY = ("each_line", "every_way")  # these make many runs, each at a configuration of its own, in one case


def rounds(check: str, cases: int) -> int:
    """How many cases are made of a check where `cases` are asked for: a sixth, but one, of those that make many runs."""
    return max(1, cases // 6) if check in MANY else cases


__all__ = ["CHECKS", "QUICK", "Check", "Outcome", "rounds"]
