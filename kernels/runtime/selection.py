"""Which phases of a program run, and what one run may leave to the next.

`selection` decides, from what is wanted, what is absent and what is there already, which phases run and how
each target starts. Gradients need tensors that do not depend on any cotangent: the maxima of a softmax, the
argmax of a pooling. Whoever runs a program again, or after another one that made the same tensors, keeps
them: `origins` tells which tensors are the same, in whatever programs, and `left` which are worth keeping.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from kernels.runtime.compile import Argument, Choice, Kernel, Task
from kernels.runtime.definition import Definition, Phase, Program, Tensor
from kernels.runtime.merging import merged

V = TypeVar("V")


class Binding(NamedTuple):
    """One argument of a task and where its value comes from."""

    argument: Argument
    source: (
        str | float | None
    )  # a tensor, an entry of an environment, or a constant; None: the executor's own
    axes: tuple[int, ...] = ()  # how a tensor's axes are permuted, if they are


@dataclass(frozen=True, slots=True)
class Step:
    """A phase that runs."""

    number: int  # of the phase in its program, the first where it does what several would
    kernel: Kernel
    targets: tuple[str, ...]
    bindings: tuple[Binding, ...]

    def merged(self, values: Sequence[Any], tile: Any) -> list[Any]:
        """The values with such indices as one as may be."""
        if not isinstance(self.kernel, Choice) or not self.kernel.merges:
            return list(values)
        arguments = [b.argument for b in self.bindings]
        names = {a.name: v for a, v in zip(arguments, values, strict=True) if a.name in self.kernel.merges}
        views = [v for a, v in zip(arguments, values, strict=True) if a.ndim is not None]
        sizes, views = merged(self.kernel.merges, names, views, tile)
        remaining = iter(views)
        return [
            next(remaining) if a.ndim is not None else sizes.get(a.name, v)
            for a, v in zip(arguments, values, strict=True)
        ]

    def task(self, values: Sequence[Any], tile: Any) -> tuple[Task[...], list[Any]]:
        """The task for these values (None where they are the executor's own), and those that it takes."""
        if not isinstance(self.kernel, Choice):
            return self.kernel, list(values)
        names = [b.argument.name for b in self.bindings]
        chosen = self.kernel.function(
            *(tile if b.argument.kind == "tile" else v for b, v in zip(self.bindings, values, strict=True))
        )
        given = dict(zip(names, values, strict=True))
        return chosen, [given.get(a.name) for a in chosen.arguments]


@dataclass(frozen=True, slots=True)
class Selection:
    """What one combination of wanted outputs, absent and known tensors comes to."""

    steps: tuple[Step, ...]
    given: tuple[Tensor, ...]  # inputs and known tensors that some step reads
    zeros: tuple[Tensor, ...]  # tensors that steps read and nobody writes
    made: tuple[tuple[Tensor, bool], ...]  # targets and other wanted tensors; whether they start as zeros


def remembered(definition: Definition, kind: str, key: Any, find: Callable[[], V]) -> V:
    """What was found before for this definition and key."""
    known: dict[Any, V] = definition.__dict__.setdefault(kind, {})
    found = known.get(key)
    if found is None:
        found = known[key] = find()
    return found


def selection(
    definition: Definition,
    program_name: str,
    wanted: Iterable[str],
    absent: Collection[str],
    known: Collection[str] = (),
) -> Selection:
    """The live phases, remembered for each combination. No phase runs that writes a known tensor."""
    key = program_name, tuple(wanted), frozenset(absent), frozenset(known)
    return remembered(definition, "_selections", key, lambda: _select(definition, *key))


def missing(program: Program, given: Collection[str], reals: Mapping[str, Any]) -> list[str]:
    """What counts as absent: inputs that are not given, and reals that are zero."""
    inputs = [name for name in program.inputs if name not in given]
    return inputs + [name for name, value in reals.items() if value == 0]


def _lasting(program: Program, absent: Collection[str]) -> list[int]:
    """The phases that contribute: one that is linear in something that is zero does not."""
    reals = (name for phase in program.phases for name in phase.reals if isinstance(name, str))
    filled = {name for name in (*program.inputs, *reals) if name not in absent}
    kept = []
    for number, phase in enumerate(program.phases):
        if filled.issuperset(phase.linear):
            filled.add(phase.tensors[0])
            kept.append(number)
    return kept


def _select(
    definition: Definition,
    program_name: str,
    wanted: tuple[str, ...],
    absent: frozenset[str],
    known: frozenset[str],
) -> Selection:
    program = definition.programs[program_name]
    where = f"{definition.name}.{program_name}"

    # backwards: a phase whose target nobody needs is not run
    needed, live = set(wanted), []
    for number in reversed(_lasting(program, absent)):
        target, *sources = program.phases[number].tensors
        assert target not in sources, f"{where}: phase {number} reads its own target"
        if target in needed and target not in known:
            needed.update(sources)
            live.append(number)

    steps: list[Step] = []
    started: dict[str, bool] = {}
    joints = {min(joint.of): joint for joint in program.joints if set(joint.of).issubset(live)}
    done = {number for joint in joints.values() for number in joint.of}
    for number in reversed(live):
        if number in joints:
            joint = joints[number]
            targets = joint.phase.tensors[: len(joint.of)]
            started.update(dict.fromkeys(targets, False))
            steps.append(Step(number, joint.phase.kernel, targets, _bindings(joint.phase, 0, where)))
        if number in done:
            continue
        phase = program.phases[number]
        target = phase.tensors[0]
        covering = phase.covers and target not in started
        takes_add = any(a.kind == "add" for a in phase.kernel.arguments)
        assert takes_add or covering or not phase.covers, f"{where}: phase {number} overwrites earlier ones"
        started.setdefault(target, not covering)
        steps.append(Step(number, phase.kernel, (target,), _bindings(phase, int(not covering), where)))
    for name in wanted:
        started.setdefault(name, True)
    there = [name for name in program.inputs if name not in absent] + sorted(known)
    given = [name for name in there if name in needed]
    zeros = sorted(needed.difference(given, started))
    tensor = definition.tensor
    made = tuple((tensor(name), zeroed) for name, zeroed in started.items())
    return Selection(tuple(steps), tuple(map(tensor, given)), tuple(map(tensor, zeros)), made)


def _bindings(phase: Phase, add: int, where: str) -> tuple[Binding, ...]:
    bound = len(phase.tensors), len(phase.integers), len(phase.reals)
    assert bound == phase.kernel.takes, f"{where}: {bound} arguments bound to {phase.kernel!r}"
    orders = phase.axes or ((),) * len(phase.tensors)
    tensors = iter(zip(phase.tensors, orders, strict=True))
    integers, reals = iter(phase.integers), iter(phase.reals)
    bindings = []
    for argument in phase.kernel.arguments:
        match argument.kind:
            case "real" | "integer":
                name, axes = next(tensors)
                bindings.append(Binding(argument, name, axes if axes != tuple(range(len(axes))) else ()))
            case "int":
                bindings.append(Binding(argument, next(integers)))
            case "float":
                bindings.append(Binding(argument, next(reals)))
            case "add":
                bindings.append(Binding(argument, add))
            case _:
                bindings.append(Binding(argument, None))
    return tuple(bindings)


# ---- what a run leaves


class Origin(NamedTuple):
    """What the numbers in a tensor follow from. Tensors of one origin hold the same, in whatever programs."""

    number: int
    inputs: frozenset[str]  # those that it was worked out from


_numbers = itertools.count()


def origins(definition: Definition, program_name: str, absent: Collection[str]) -> Mapping[str, Origin]:
    """Of each tensor that a program makes: the tasks that wrote it, in order, and what these were given."""
    key = program_name, frozenset(absent)
    return remembered(definition, "_origins", key, lambda: _origins(definition, *key))


def _origins(definition: Definition, program_name: str, absent: frozenset[str]) -> Mapping[str, Origin]:
    program = definition.programs[program_name]
    # setdefault and count are atomic: threads that meet agree on the number of a history
    histories: dict[Any, Origin] = definition.__dict__.setdefault("_histories", {})
    found: dict[str, Origin] = {}  # what is not in it is zero
    for name in program.inputs:
        if name not in absent:
            found[name] = histories.setdefault(name, Origin(next(_numbers), frozenset({name})))
    made: dict[str, Origin] = {}
    for number in _lasting(program, absent):
        phase = program.phases[number]
        target, *sources = phase.tensors
        before = [origin for name in phase.tensors if (origin := found.get(name)) is not None]
        history = (
            made.get(target),
            tuple(map(found.get, sources)),
            *(phase.kernel, phase.integers, phase.reals, phase.covers, phase.axes),
        )
        inputs = frozenset().union(*[origin.inputs for origin in before])
        found[target] = made[target] = histories.setdefault(history, Origin(next(_numbers), inputs))
    return made


class Run(NamedTuple):
    """A program, and what is asked of it."""

    program: str
    wanted: tuple[str, ...]
    absent: frozenset[str] = frozenset()


def read(definition: Definition, run: Run, held: Collection[int]) -> dict[str, int]:
    """The tensors of a run that it need not make where those of the origins `held` are there, by origin."""
    known = {
        name: origin.number
        for name, origin in origins(definition, run.program, run.absent).items()
        if origin.number in held and name not in run.wanted
    }
    given = selection(definition, *run, tuple(known)).given
    return {t.name: known[t.name] for t in given if t.name in known}


def left(
    definition: Definition, now: Run, later: Run, fixed: Collection[str], held: Collection[int]
) -> dict[str, int]:
    """The tensors that `now` makes and `later` would have to make again, by origin.

    They follow from inputs alone that stay as they are in between, the `fixed` ones; only those count that a
    step of `later` reads which does not follow from them too, or would, but for what `now` does not make.
    What `now` hands out is not among them: its owner may write to it. Origins in `held` are there already.
    """
    here = origins(definition, now.program, now.absent)
    steps = selection(definition, *now, tuple(read(definition, now, held))).made
    made = {
        origin.number: t.name
        for t, _ in steps
        if t.name not in now.wanted and (origin := here[t.name]).inputs.issubset(fixed)
    }
    return {
        made[number]: number for number in read(definition, later, {*held, *made}).values() if number in made
    }
