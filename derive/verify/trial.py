"""One call with faults, while it is being made, run and judged; `derive.verify.fuzz` says what is sound."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter
from math import prod
from random import Random
from typing import Any

import numpy as np

from derive.verify import hostile
from derive.verify.calls import Valid, is_shape, shapes_of_results, types_of_results
from derive.verify.hostile import Array, Placed, Shape
from kernels.arguments import entries
from kernels.errors import KernelError
from kernels.operator import Operator

ROOM = 4 * 2**30  # bytes that a process of cases may have beyond what it starts with
RUNNABLE = 2**18  # elements of a call that runs; one of more is refused, too large to hold, or left alone
LONGEST = 2500  # characters of an error
CHECKED = 0.4  # of the accepted calls are held against copies


class Unsound(Exception):
    """A finding."""


class Refused(Exception):
    """An error of ours, as it ought to be."""


class Left(Exception):
    """A call that could be right, and would take hours."""


Say = Callable[[str], None]
STRANGE = (float("nan"), float("inf"), -float("inf"), -0.0, 1e-310, 3e38, -1e308, 1.0)


@dataclass
class Trial:
    """One case, while it is being made and run."""

    operator: Operator
    valid: Valid
    random: Random
    say: Say
    dtype: np.dtype[Any]
    faults: Counter[str]
    others: tuple[Callable[[Array, Random], object], ...] = ()  # further things in place of arrays
    strange: bool = False
    faulty: bool = False
    mutated: bool = False
    rearranged: bool = False  # an argument may have been left out
    placed: list[Placed] = field(default_factory=list)
    arrays: dict[str, Any] = field(default_factory=dict)

    # ---- arguments

    def numbers(self, shape: Shape) -> Array:
        rng = np.random.default_rng(self.random.getrandbits(32))
        if self.strange:
            with np.errstate(over="ignore"):
                return rng.choice(STRANGE, shape).astype(self.dtype).reshape(shape)
        return np.asarray(rng.integers(-3, 4, shape)).astype(self.dtype)

    def indices(self, argument: str, shape: Shape) -> Array:
        below = 1 if self.random.random() < 0.5 else 2
        values = np.asarray([self.random.randrange(below) for _ in range(prod(shape))], np.int64).reshape(
            shape
        )
        if self.random.random() < 0.2:
            values = values.astype(self.random.choice(("i4", "u1", ">i8", "u8", "i2")))
        self.faulty |= bool(values.any())  # 1 may be no index
        return values

    def faulty_site(self, site: str) -> bool:
        """Whether a fault is to be made here; of several places of a kind any may have it."""
        if self.faults[site] and self.random.random() < 0.7:
            self.faults[site] -= 1
            self.faulty = True
            return True
        return False

    def array(self, what: str, made: Array, site: str) -> Any:
        """The array in some memory, or what a fault makes of it."""
        if self.faulty_site(site):
            table = (*hostile.IN_PLACE_OF_ARRAYS, *self.others)
            value = self.random.choice(table)(made, self.random)
            self.say(f"{what} = {described(value)}")
            return value
        chosen = hostile.form(made, self.random)
        self.placed.append(chosen)
        self.say(f"{what} = {described(chosen.array)}")
        return chosen.array

    def arguments(self, by_name: bool = False) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments of the call."""
        operator, random = self.operator, self.random
        tensors = operator.adapter.tensors
        for name, shape in self.valid.shapes.items():
            if shape is None:
                self.arrays[name] = None
            elif operator.definition.tensor(tensors[name]).integer:
                self.arrays[name] = self.array(name, self.indices(name, shape), "index")
            else:
                self.arrays[name] = self.array(name, self.numbers(shape), "array")
        if len(self.arrays) > 1 and random.random() < 0.05:  # inputs may share memory
            first, *rest = [
                n for n, a in self.arrays.items() if type(a) is np.ndarray and a.dtype == self.dtype
            ] or [""]
            for other in rest:
                if self.arrays[other].shape == self.arrays[first].shape:
                    self.arrays[other] = self.arrays[first]
        options = dict(self.valid.options)
        parameters = operator.adapter.signature.parameters
        free = [n for n in parameters if n not in tensors]
        while free and self.faults["option"]:
            self.faults["option"] -= 1
            self.faulty = True
            name = random.choice(free)
            options[name] = hostile.option(random, options.get(name, parameters[name].default))
            self.say(f"option {name} = {described(options[name])}")
        keywords = {**self.arrays, **options}
        args: list[Any] = []
        if random.random() < 0.9:
            for name, parameter in parameters.items():
                if name not in keywords or parameter.kind is Parameter.KEYWORD_ONLY:
                    break
                if name not in tensors and (by_name or random.random() < 0.5):
                    break
                args.append(keywords.pop(name))
        if self.faulty_site("structure"):
            self.restructure(args, keywords, list(parameters))
        return args, keywords

    def restructure(self, args: list[Any], keywords: dict[str, Any], names: Sequence[str]) -> None:
        random, self.rearranged = self.random, True
        kind = random.randrange(6)
        if kind == 0:
            keywords[random.choice(("nonsense", "", "self", "args", "not a name", "spec", "inputs"))] = 1
        elif kind == 1 and args:
            keywords[names[0]] = args[0]
        elif kind == 2 and args:
            args.pop(random.randrange(len(args)))
        elif kind == 3:
            args += [random.choice((None, 1, np.ones(2)))] * random.choice((1, 5, 20))
        elif kind == 4 and keywords:
            del keywords[random.choice(list(keywords))]
        elif len(args) > 1:
            random.shuffle(args)
        self.say(f"arguments rearranged: {len(args)} by place, by name {list(keywords)}")

    # ---- running

    def guarded(self, what: str, run: Callable[[], Any]) -> Any:
        """What it gives, or Refused."""
        self.say(what)
        try:
            return run()
        except KernelError as error:
            text = str(error)
            self.say(f"  {type(error).__name__}: {text[:300]}")
            variants = getattr(
                self.operator, "variants", None
            )  # a call may be one of an operator that an option chose
            names = (self.operator.__name__, *(variants.names.values() if variants is not None else ()))
            if not text.startswith(tuple(f"{name}: " for name in names)):
                raise Unsound(
                    f"{what}: the error does not begin with the operator's name: {text[:300]}"
                ) from error
            if len(text) > LONGEST:
                raise Unsound(f"{what}: an error of {len(text)} characters: {text[:200]}") from error
            raise Refused(what) from error
        except Exception as error:
            raise Unsound(f"{what}: {type(error).__name__} is none of our errors: {error!s:.300}") from error

    def shapes_of(self, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """The shapes of the results of a call that may run; None where only the call itself can tell."""
        names = list(self.operator.adapter.signature.parameters)
        tensors = self.operator.adapter.tensors
        every = {**dict(zip(names, args, strict=False)), **options}
        volume = sum(a.size for a in every.values() if type(a) is np.ndarray)
        known = (np.ndarray, np.generic)
        if len(args) > len(names) or not all(
            every.get(n) is None or isinstance(every[n], known) for n in tensors
        ):
            if volume > RUNNABLE:
                raise Left
            return None
        shapes = {n: None if every.get(n) is None else np.asarray(every[n]).shape for n in tensors}
        try:
            found = shapes_of_results(
                self.operator, **{**every, **{n: v for n, v in shapes.items() if n in every}}
            )
        except KernelError:
            return None
        except Exception as error:
            raise Unsound(
                f"output_shape: {type(error).__name__} is none of our errors: {error!s:.300}"
            ) from error
        size = max(map(prod, found))
        integers = [
            a
            for n, a in self.arrays.items()
            if type(a) is np.ndarray and a.dtype.kind in "iu" and a.size > RUNNABLE
        ]
        if volume + size > RUNNABLE and (size * self.dtype.itemsize < 2 * ROOM or integers):
            raise Left
        return found

    def forward(
        self, what: str, run: Callable[[], Any], args: Sequence[Any], options: Mapping[str, Any]
    ) -> Any:
        shapes = self.shapes_of(args, options)
        found = self.guarded(what, run)
        y = found[0] if what in ("vjp", "jvp") else found
        for value in (y, found[1]) if what == "jvp" else (y,):
            self.check_results(what, value, shapes)
        return found

    def check_results(self, what: str, value: Any, shapes: Any) -> None:
        if shapes is None:
            return
        values = list(value) if isinstance(value, (tuple, list)) else [value]
        if len(values) != len(shapes):
            raise Unsound(f"{what}: {len(values)} results where output_shape says {shapes}")
        for one, shape in zip(values, shapes, strict=True):
            if one is None and what == "jvp":
                continue  # of an integer result
            if not isinstance(one, np.ndarray) or np.asarray(one).shape != shape:
                raise Unsound(f"{what}: a result is {described(one)} where output_shape says {shape}")

    def cotangents(self, y: Any) -> list[Any]:
        """One for each real result."""
        ys = [a for a in (y if isinstance(y, (tuple, list)) else (y,)) if a.dtype.kind == "f"]
        made = [None if self.random.random() < 0.1 else self.array(f"cotangent of {a.shape}", self.numbers(a.shape), "vector")
                for a in ys]  # fmt: skip
        return self.miscounted("cotangents", made)

    def vectors(self, names: Iterable[str], what: str) -> list[Any]:
        """Tangents of arguments, or cotangents of their gradients."""
        made: list[Any] = []
        for name in names:
            a = self.arrays.get(name)
            shape = self.valid.shapes.get(name)
            if a is None or shape is None or self.is_integer(name) or self.random.random() < 0.15:
                made.append(None)
            else:
                made.append(self.array(f"{what} {name}", self.numbers(shape), "vector"))
        return self.miscounted(what, made)

    def is_integer(self, name: str) -> bool:
        letter = self.operator.adapter.tensors.get(name)
        return letter is not None and self.operator.definition.tensor(letter).integer

    def miscounted(self, what: str, made: list[Any]) -> list[Any]:
        if self.faulty_site("count"):
            if made and self.random.random() < 0.5:
                made.pop()
            else:
                made += [self.random.choice((None, 1.0, np.ones(2)))] * self.random.choice((1, 7))
            self.say(f"{len(made)} {what}")
        return made

    def wrt(self) -> dict[str, Any]:
        names = [n for n in self.operator.adapter.tensors if not self.is_integer(n)]
        if self.faulty_site("wrt"):
            value = hostile.name(self.random, names)
            self.say(f"wrt = {described(value)}")
            return {"wrt": value}
        if self.random.random() < 0.3:
            return {"wrt": tuple(self.random.sample(names, self.random.randint(1, len(names))))}
        return {}

    def mutate(self) -> None:
        """What a user might do to arguments between a call and its pullback."""
        if not self.faulty_site("mutate"):
            return
        names = [n for n, a in self.arrays.items() if type(a) is np.ndarray and a.flags.writeable and a.size]
        integers = [n for n in names if self.arrays[n].dtype.kind in "iu"]
        for name in [self.random.choice(integers or names)] if names else []:
            a, kind = self.arrays[name], self.random.randrange(7)
            self.mutated = True
            if a.dtype.kind in "iu" and kind < 4:
                worst = (99, 10**6, 2**31 - 1, -1, -100, 2**62, -(2**63), 2**32, 2**32 + 1)
                value = self.random.choice(
                    [v for v in worst if np.iinfo(a.dtype).min <= v <= np.iinfo(a.dtype).max]
                )
                a[tuple(self.random.randrange(n) for n in a.shape)] = value
                self.say(f"{name} now has {value}")
                if self.random.random() < 0.3 and a.dtype == np.int64:
                    with contextlib.suppress(Exception):
                        a.dtype = np.dtype(np.int32)
                        self.say(f"{name} now says that it is int32")
            elif kind == 4:
                with contextlib.suppress(Exception):
                    a.shape = (a.size,) if self.random.random() < 0.5 else (*a.shape, 1)
                    self.say(f"{name} now has the shape {a.shape}")
            elif kind == 5:
                with contextlib.suppress(Exception):
                    a.strides = tuple(0 for _ in a.strides)
                    self.say(f"{name} now has strides {a.strides}")
            elif kind == 6:
                with contextlib.suppress(Exception):
                    a.resize((2 * a.size,))
                    self.say(f"{name} was resized")
            else:
                a[...] = 0
                self.say(f"{name} was cleared")

    # ---- judging

    def check_gradients(self, what: str, names: Sequence[str], gradients: Any) -> None:
        if not isinstance(gradients, tuple) or len(gradients) != len(names):
            raise Unsound(f"{what}: {described(gradients)} for the gradients of {', '.join(names)}")
        for name, g in zip(names, gradients, strict=True):
            if name not in self.arrays or self.mutated or self.rearranged:
                continue
            absent = self.arrays[name] is None or self.is_integer(name)
            if absent != (g is None):
                raise Unsound(f"{what}: the gradient of {name} is {described(g)}")
            if g is not None and g.shape != np.asarray(self.arrays[name]).shape:
                raise Unsound(
                    f"{what}: the gradient of {name} is {described(g)} but it is {described(self.arrays[name])}"
                )

    def compare(self, what: str, found: Any, again: Callable[[], Any]) -> None:
        """Hold a result against the same call on clean copies."""
        if self.strange or self.mutated or self.random.random() > CHECKED:
            return
        try:
            wanted = again()
        except Exception as error:
            text = f"{what}: accepted, but on fresh copies {type(error).__name__}: {error!s:.300}"
            raise Unsound(text) from error
        for a, b in zip(flat(found), flat(wanted), strict=True):
            if not agree(a, b):
                raise Unsound(
                    f"{what}: {np.asarray(a).tolist()!s:.200} but on fresh copies {np.asarray(b).tolist()!s:.200}"
                )

    def finish(self) -> None:
        for p in () if self.mutated else self.placed:
            if not p.untouched():
                raise Unsound(f"an argument was written to: {described(p.array)}")


def flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (tuple, list)):
        for one in value:
            yield from flat(one)
    elif isinstance(value, np.ndarray):
        yield np.asarray(value)


def agree(a: Array, b: Array) -> bool:
    """Sums may be added in another order: their terms are small integers, exact but after a function that is not."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not a.size or a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    with np.errstate(all="ignore"):
        scale = np.nanmax(np.where(np.isfinite(b), np.abs(b), 1), initial=1)
        near = 1e3 * float(np.finfo(b.dtype).eps) * float(scale)
        return bool(np.allclose(a, b, rtol=0, atol=near, equal_nan=True))


def clean(value: Any) -> Any:
    """A fresh array of the same numbers; what is none stays."""
    if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
        return value
    array = np.asarray(value)
    return np.array(array, order="C", copy=True) if array.size <= RUNNABLE else value


def described(value: Any) -> str:
    """For people: what was passed."""
    kind = type(value).__name__
    if type(value) is np.ndarray or type(value) in (np.matrix, hostile.Plain):
        flags = "" if value.flags.aligned else ", misaligned"
        return f"{kind} {value.dtype} {value.shape} strides {value.strides}{flags}"
    try:
        return f"{kind} {value!r:.150}"
    except Exception:
        return f"an {kind}"


# --------------------------------------------------------------------------------------- methods


def call(t: Trial) -> None:
    args, options = t.arguments()
    y = t.forward("call", lambda: t.operator(*args, **options), args, options)
    t.compare("call", y, lambda: t.operator(*map(clean, args), **{n: clean(v) for n, v in options.items()}))


def call_out(t: Trial) -> None:
    args, options = t.arguments()
    shapes = t.shapes_of(args, options)
    again = [*map(clean, args)], {n: clean(v) for n, v in options.items()}
    wanted: list[Shape] = [(2,)] if shapes is None else shapes
    kinds = types_of_results(t.operator, len(wanted), t.dtype)
    if sum(map(prod, wanted)) > RUNNABLE:
        raise Left
    outs: list[Any] = []
    written: list[Placed] = []
    for shape, kind in zip(wanted, kinds, strict=True):
        made = np.zeros(shape, kind)
        if t.faulty_site("out"):
            outs.append(faulty_out(t, made, written))
            t.say(f"out = {described(outs[-1])}")
        else:
            written.append(hostile.placed(made, t.random, aligned=t.random.random() < 0.7))
            outs.append(written[-1].array)
    out: Any = outs[0] if len(outs) == 1 else t.random.choice((tuple, list))(outs)
    if t.faulty_site("out"):
        out = t.random.choice((None, 3, [], (), outs + outs, {}, "out", outs[0], tuple(outs)))
    t.say(f"out: {described(out)}")
    try:
        y = t.guarded("call with out", lambda: t.operator(*args, out=out, **options))
    except Refused:
        if not all(p.untouched() for p in written):
            raise Unsound("refused, but out was written to") from None
        raise
    ys, given = ([*v] if type(v) in (tuple, list) else [v] for v in (y, out))
    if out is not None and not (
        len(ys) == len(given) and all(a is b for a, b in zip(ys, given, strict=True))
    ):
        raise Unsound(f"call with out: gives {described(y)}, not out itself")
    t.check_results("call with out", y, shapes)
    t.compare("call with out", y, lambda: t.operator(*again[0], **again[1]))
    for p in written:
        if not p.kept_its_surroundings():
            raise Unsound(f"call with out: wrote beside its elements: {described(p.array)}")


def faulty_out(t: Trial, made: Array, written: list[Placed]) -> Any:
    random, kind = t.random, t.random.randrange(8)
    inputs = [a for a in t.arrays.values() if type(a) is np.ndarray and 0 < a.size <= RUNNABLE]
    if kind == 0:
        made.flags.writeable = False
        return made
    if kind == 1:
        return hostile.windowed(made, random).array
    if kind == 2 and inputs:  # an input, or a part of it
        a = random.choice(inputs)
        t.mutated = True
        whole = a.flags.c_contiguous and a.flags.writeable and not a.dtype.hasobject
        if whole and made.size * made.itemsize <= a.nbytes:
            return np.ndarray(made.shape, made.dtype, a.reshape(-1).view(np.uint8))
        return a
    if kind == 3 and inputs:  # memory in which both lie, side by side or interleaved
        a = random.choice(inputs)
        room = np.zeros((2, max(made.size, a.size)), t.dtype)
        room = room.T if random.random() < 0.5 else room
        return (room[0] if room.shape[0] == 2 else room[:, 0])[: made.size].reshape(made.shape)
    if kind == 4:
        return hostile.subclassed(made, random)
    if kind == 5 and written:
        return written[0].array
    return random.choice(hostile.IN_PLACE_OF_ARRAYS)(made, random)


def pulled_back(t: Trial) -> tuple[Any, Any, list[Any], tuple[str, ...], Callable[[], Any]]:
    args, options = t.arguments()
    wrt = t.wrt()
    y, pullback = t.forward("vjp", lambda: t.operator.vjp(*args, **wrt, **options), args, options)

    def again() -> Any:
        return t.operator.vjp(*map(clean, args), **wrt, **{n: clean(v) for n, v in options.items()})

    t.mutate()
    return y, pullback, t.cotangents(y), pullback.wrt, again


def vjp(t: Trial) -> None:
    _, pullback, cotangents, names, again = pulled_back(t)
    for _ in range(t.random.choice((1, 1, 2))):
        gradients = t.guarded("pullback", lambda: pullback(*cotangents))
        t.check_gradients("pullback", names, gradients)
    t.compare("vjp", gradients, lambda: again()[1](*map(clean, cotangents)))


def second(t: Trial) -> None:
    _, pullback, cotangents, names, again = pulled_back(t)
    wrt: dict[str, Any] = {}
    if t.faulty_site("wrt"):
        wrt = {"wrt": hostile.name(t.random, ["grad_output", *names])}
        t.say(f"second wrt = {described(wrt['wrt'])}")
    gradients, back = t.guarded("pullback.vjp", lambda: pullback.vjp(*cotangents, **wrt))
    t.check_gradients("pullback.vjp", names, gradients)
    t.mutate()
    vectors = t.vectors(names, "cotangent of the gradient of")
    found = t.guarded("second pullback", lambda: back(*vectors))
    if not wrt:
        t.check_gradients("second pullback", back.wrt, found)
    t.compare(
        "second pullback",
        found,
        lambda: again()[1].vjp(*map(clean, cotangents), **wrt)[1](*map(clean, vectors)),
    )


def moved(t: Trial) -> None:
    y, pullback, cotangents, names, again = pulled_back(t)
    tangents = t.cotangents(y) + t.vectors(t.operator.adapter.tensors, "tangent of")
    pair: list[Any] = [t.random.choice((tuple, list))(v) for v in (cotangents, tangents)]
    if t.faulty_site("structure"):
        pair[t.random.randrange(2)] = t.random.choice((None, 3, "text", iter(()), {}, np.ones(2), hostile.thing(t.random),
                                                       hostile.sequence(tangents, t.random)))  # fmt: skip
    found = t.guarded("pullback.jvp", lambda: pullback.jvp(*pair))
    t.check_gradients("pullback.jvp", names, found[0])
    t.check_gradients("pullback.jvp", names, found[1])
    t.compare(
        "pullback.jvp", found, lambda: again()[1].jvp(*([clean(v) for v in entries(vs) or ()] for vs in pair))
    )


def jvp(t: Trial) -> None:
    _, options = t.arguments(by_name=True)
    primals = list(t.arrays.values())
    options = {n: v for n, v in options.items() if n not in t.arrays}
    while t.random.random() < 0.5 and primals and primals[-1] is None:
        primals.pop()
    tangents = t.vectors(list(t.arrays)[: len(primals)], "tangent of")
    pair: list[Any] = [t.random.choice((tuple, list))(v) for v in (primals, tangents)]
    if t.faulty_site("structure"):
        pair[t.random.randrange(2)] = t.random.choice((None, 3, "text", iter(()), {}, np.ones(2), hostile.thing(t.random),
                                                       hostile.sequence(primals, t.random)))  # fmt: skip
    found = t.forward("jvp", lambda: t.operator.jvp(*pair, **options), primals, options)
    clean_options = {n: clean(v) for n, v in options.items()}
    t.compare(
        "jvp",
        found,
        lambda: t.operator.jvp(*([clean(v) for v in entries(vs) or ()] for vs in pair), **clean_options),
    )


def output_shape(t: Trial) -> None:
    args, options = t.arguments()
    every = [v.shape if type(v) is np.ndarray and t.random.random() < 0.5 else v for v in args]
    if t.faulty_site("shape") and every:
        odd = ((-1,), (2.0,), (True,), ("2",), (None,), (2**31,) * 2, (2**62,) * 3, (2**63,), (10**400,), 3, None, "ab",
               (np.int64(2), 2), [2, 3], (), ((2,),), range(3), {2: 3}, np.array([2, 3]), tuple([1] * 1000),
               hostile.sequence((2, 3), t.random), hostile.thing(t.random))  # fmt: skip
        every[t.random.randrange(len(every))] = t.random.choice(odd)
    t.say(f"of {[described(v) for v in every]}")
    found = t.guarded("output_shape", lambda: t.operator.output_shape(*every, **options))
    if not is_shape(found) and not all(map(is_shape, found)):
        raise Unsound(f"output_shape: {described(found)} is no shape")


METHODS: dict[Callable[[Trial], None], tuple[str, ...]] = {  # and what can be wrong with each
    call: ("array", "array", "index", "option", "option", "structure"),
    call_out: ("array", "option", "structure", "out", "out", "out"),
    vjp: ("array", "index", "option", "wrt", "vector", "vector", "count", "mutate", "mutate"),
    second: ("array", "index", "wrt", "vector", "vector", "count", "mutate"),
    moved: ("array", "index", "vector", "vector", "count", "mutate", "structure"),
    jvp: ("array", "index", "option", "vector", "vector", "count", "structure"),
    output_shape: ("array", "option", "structure", "shape", "shape"),
}
WEIGHTS = (4, 4, 4, 2, 2, 2, 2)
