"""Valid calls of an operator, learned from its signature and its definition alone; `output_shape` is the judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter
from math import inf, prod
from random import Random
from re import findall
from typing import Any

import numpy as np

from derive.verify.hostile import Shape
from kernels.errors import KernelError
from kernels.operator import Operator

SEEDS = 16  # valid calls of each operator that cases start from: as few as kernels are to be compiled
ATTEMPTS = 40_000  # at most, to find them
LARGEST = 300  # elements of an array in a valid call


@dataclass(frozen=True)
class Valid:
    """A call that is right."""

    shapes: Mapping[str, Shape | None]
    options: Mapping[str, Any]


def _rank(random: Random, rank: int, known: Sequence[int]) -> int:
    if known and random.random() < 0.9:
        return random.choice(known)
    if random.random() < 0.2:  # an adapter may see one axis of an array as several
        return random.randint(0, rank)
    return max(0, rank + random.choice((0, 0, 0, -1, -1, -2, 1)))


def _value(random: Random, parameter: Parameter, words: Sequence[str], axes: int) -> Any:
    """A value that an option might have, going by its default and by what its operator's text has in quotes."""
    default = parameter.default
    if default is not Parameter.empty and random.random() < 0.5:
        return default
    if isinstance(default, bool):
        return random.random() < 0.5
    if isinstance(default, str):
        return random.choice(words) if words else default
    if isinstance(default, float):
        return random.choice((default, 0.5, 1.0, 2.0))
    small = (0, 1, 1, 2, 2, 3)
    if isinstance(default, tuple):
        return tuple(random.choice(small) for _ in default)
    if axes and random.random() < 0.3:
        return tuple(random.choice(small) for _ in range(axes))
    if axes and random.random() < 0.1:
        return tuple((random.choice(small), random.choice(small)) for _ in range(axes))
    if random.random() < 0.1:  # pairs one after another
        return tuple(random.choice(small) for _ in range(2 * random.randint(1, max(1, axes))))
    return random.choice((*words, True, inf)) if random.random() < 0.1 else random.choice(small)


def valid_calls(operator: Operator, seed: int = 0, count: int = SEEDS) -> tuple[Valid, ...]:
    """Calls that `output_shape` accepts; the same ones for the same seed.

    The first is found by trying; others that are like it in all but one or two things are found sooner.
    """
    random = Random(f"{seed} {operator.__name__}")
    adapter, definition = operator.adapter, operator.definition
    tensors = {argument: definition.tensor(letter) for argument, letter in adapter.tensors.items()}
    parameters = [p for n, p in adapter.signature.parameters.items() if n not in tensors]
    words = findall(r'"(\w+)"', adapter.doc)
    found: list[Valid] = []
    ranks: dict[str, list[int]] = {name: [] for name in tensors}
    for attempt in range(ATTEMPTS):
        lengths = random.choices((1, 1, 2, 3, 4, 5, 6), k=random.randint(1, 3))
        named = {e: random.choice(lengths) for t in tensors.values() for e in t.shape if isinstance(e, str)}
        shapes: dict[str, Shape | None] = {}
        for name, tensor in tensors.items():
            if tensor.optional and random.random() < 0.3:
                shapes[name] = None
            elif attempt % 2:
                shapes[name] = tuple(named[e] if isinstance(e, str) else e for e in tensor.shape)
            else:
                rank = _rank(random, len(tensor.shape), ranks[name])
                shapes[name] = tuple(random.choice(lengths) for _ in range(rank))
        options = {
            p.name: _value(random, p, words, adapter.axes)
            for p in parameters
            if p.default is Parameter.empty or random.random() < 0.6
        }
        if found and random.random() < 0.5:
            like = random.choice(found)
            names = [*shapes, *(p.name for p in parameters)]
            fresh = random.sample(names, random.randint(1, min(2, len(names))))
            shapes = {n: s if n in fresh else like.shapes[n] for n, s in shapes.items()}
            options = {n: v for n, v in options.items() if n in fresh} | {
                n: v for n, v in like.options.items() if n not in fresh
            }
        # integers as arrays: of some operators their type says which is meant
        given = {
            n: np.zeros(s, np.int64) if s is not None and tensors[n].integer else s for n, s in shapes.items()
        }
        try:
            results = shapes_of_results(operator, **given, **options)
        except KernelError:
            continue
        sizes = [*map(prod, results), *(prod(s) for s in shapes.values() if s is not None)]
        if max(sizes) > LARGEST or (0 in sizes and random.random() < 0.8):
            continue
        for name, shape in shapes.items():
            if shape is not None:
                ranks[name].append(len(shape))
        found.append(Valid(shapes, options))
        if len(found) == count:
            break
    if not found:
        raise LookupError(f"{operator.__name__}: no valid call found in {ATTEMPTS} attempts")
    return tuple(found)


def is_shape(value: Any) -> bool:
    return type(value) is tuple and all(type(n) is int for n in value)


def shapes_of_results(operator: Operator, **arguments: Any) -> list[Shape]:
    found = operator.output_shape(**arguments)
    return [found] if is_shape(found) else list(found)


def types_of_results(operator: Operator, count: int, dtype: np.dtype[Any]) -> list[np.dtype[Any]]:
    """Those of the first results; an adapter may leave out the last, and an option choose an operator with more, all real."""
    definition = operator.definition
    outputs = [definition.tensor(name) for name in definition.programs["forward"].outputs]
    known = [np.dtype(np.int64) if t.integer else dtype for t in outputs[:count]]
    return known + [dtype] * (count - len(known))
