"""A sample of PyTorch's own samples with torch's answers, kept in two files, so that they are compared where torch is not.

    python -m tests.external.recorded     # draws the sample with torch, and writes the files

`opinfo.json` says what is asked, `opinfo.npz` holds all numbers, one after the other for each type.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import kernels
from tests.external.answers import Answers, Array, Arrays, Asked, compare

FILES = Path(__file__).parent / "recorded"
CASES, NUMBERS = FILES / "opinfo.json", FILES / "opinfo.npz"
TYPES = ("float64", "float32", "int64", "bool")


@dataclass(frozen=True)
class Case:
    """One sample: the row of `tests.external.opinfo` that it is of, and which of the row's samples in its type."""

    row: str
    number: int
    asked: Asked
    answers: Answers

    def __str__(self) -> str:
        dtype = next(iter(self.asked.arrays.values())).dtype
        return f"{self.row}, sample {self.number} ({dtype})"

    def replay(self, *, whole: bool = True) -> None:
        """Raises AssertionError where ours is not what torch answered; of results and gradients alone, if not whole."""
        answers = self.answers
        if not whole:
            answers = replace(answers, second=False, of_cotangents=None, twice=None, tangents=None)
        compare(self.asked, answers, seed=self.number)


# -------------------------------------------------------------------------------------- options


def written(value: Any) -> Any:
    """An option for JSON, which has no tuples."""
    if isinstance(value, (tuple, list)):
        return {"tuple" if isinstance(value, tuple) else "list": [written(v) for v in value]}
    assert value is None or isinstance(value, (bool, int, float, str)), value
    return value


def read(value: Any) -> Any:
    if isinstance(value, dict):
        ((kind, entries),) = value.items()
        return (tuple if kind == "tuple" else list)(read(v) for v in entries)
    return value


# --------------------------------------------------------------------------------------- arrays


@dataclass
class Store:
    """Arrays of each type behind each other; one is known by its type and shape, since they are read in order."""

    parts: dict[str, list[Array]] = field(default_factory=lambda: {t: [] for t in TYPES})

    def put(self, array: Array) -> list[Any]:
        name = array.dtype.name
        self.parts[name].append(array.ravel())
        return [TYPES.index(name), *array.shape]

    def save(self, path: Path) -> None:
        whole = {t: np.concatenate([np.empty(0, t), *parts]).astype(t) for t, parts in self.parts.items()}
        np.savez_compressed(path, allow_pickle=False, **whole)


class Shelf:
    """The arrays of a store, taken in the order in which they were put."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as kept:
            self.whole: dict[str, Array] = {t: kept[t] for t in TYPES}
        self.place = dict.fromkeys(TYPES, 0)

    def take(self, known: Sequence[int]) -> Array:
        name, shape = TYPES[known[0]], tuple(known[1:])
        start = self.place[name]
        self.place[name] = end = start + math.prod(shape)
        return self.whole[name][start:end].reshape(shape)


ANSWERED = (
    "results",
    "gradients",
    "of_cotangents",
    "twice",
    "tangents",
)  # of `Answers`, in the order of the store


def save(cases: Sequence[Case]) -> None:
    store = Store()
    lines = [json.dumps(_described(case, store), separators=(",", ":")) for case in cases]
    FILES.mkdir(exist_ok=True)
    CASES.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    store.save(NUMBERS)


def _described(case: Case, store: Store) -> dict[str, Any]:
    asked, answers = case.asked, case.answers

    def put(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, Mapping):
            return {n: store.put(a) for n, a in value.items()}
        return [store.put(a) for a in value]

    return {
        "row": case.row,
        "number": case.number,
        "operator": asked.operator.__name__,
        "options": {n: written(v) for n, v in asked.options.items()},
        "constant": asked.constant,
        "first": asked.results,
        "roundings": asked.roundings,
        "flowing": answers.flowing,
        "second": answers.second,
        "arrays": put(asked.arrays),
        **{name: put(getattr(answers, name)) for name in ANSWERED},
    }


def load() -> Iterator[Case]:
    shelf = Shelf(NUMBERS)

    def take(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, dict):
            return {n: shelf.take(known) for n, known in value.items()}
        return tuple(shelf.take(known) for known in value)

    for said in json.loads(CASES.read_text(encoding="utf-8")):
        arrays: Arrays = take(said["arrays"])
        answers = {name: take(said[name]) for name in ANSWERED}
        asked = Asked(
            getattr(kernels, said["operator"]),
            arrays,
            {n: read(v) for n, v in said["options"].items()},
            tuple(said["constant"]),
            said["first"],
            said["roundings"],
        )
        yield Case(
            said["row"],
            said["number"],
            asked,
            Answers(flowing=tuple(said["flowing"]), second=said["second"], **answers),
        )


def main() -> int:
    from tests.external import opinfo

    save(list(opinfo.recording()))
    print(f"{CASES.stat().st_size + NUMBERS.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
