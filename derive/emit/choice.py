"""Several tasks that do the same, and the function that picks one: plain loops, and whatever is faster where it suits.

The emitted module gets, for one equation,

    NAME_plain      the plain loops
    NAME_...        a task for each way, with functions that say how much room it takes
    NAME            the choice: the first way whose test holds, else the plain loops

The test is about integers, strides and the tile alone, so that the choice is made once for each plan, in Python, and
only the task that it comes to is compiled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import sympy as sp

from derive.emit.kernel import WIDTH, TaskSource, _called, _matched, _wrapped, _Writer
from derive.language import extent
from derive.lower.merging import merging


@dataclass(frozen=True)
class Way:
    """One of the tasks, and when it is taken."""

    title: str
    test: str
    parts: tuple[str, ...]  # its source: functions of integers first, then the task
    described: str


@dataclass(frozen=True)
class Offer:
    """The ways of one writer."""

    ways: tuple[Way, ...]
    integers: tuple[sp.Symbol, ...]  # that they are told
    names: Mapping[sp.Basic, str]
    imports: frozenset[str]


NO_WAY = Offer((), (), {}, frozenset())


def choice_source(name: str, plain: TaskSource, offers: Sequence[Offer]) -> TaskSource:
    """The choice among all that is offered, in this order; just the plain loops, if nothing is."""
    ways = [way for offer in offers for way in offer.ways]
    writer = _Writer(plain.nest, clears=True)
    views, integers, reals = writer.named()
    for offer in offers:
        for s in offer.integers:
            if s not in integers:
                integers = (*integers, s)
                writer.name(s, s.name)
            assert offer.names[s] == writer.names[s], f"{name}: {s} has two names"
    for way in ways:
        writer.lines += _tested(way.test)
        writer.lines.append(f"        return {way.title}")
    writer.put(f"return {plain.name}")
    signature = [*writer.bound(views, integers, reals), "tile: Tile"]
    described = "\n    or ".join(way.described for way in ways)
    merges = ", ".join(
        f'"{writer.names[extent(i)]}": {axes}' for i, axes in merging(plain.nest.equation, views).items()
    )
    named = [f"merges={{{merges}}}"] if merges else []
    listed = _wrapped("@choice(", [*(way.title for way in ways), plain.name, *named], ")", 4)
    text = [
        listed,
        _wrapped(f"def {name}(", signature, ") -> Task[...]:"),
        f'    """{writer.shown()}',
        "",
        f"    {described}",
        f"    else {plain.describe()}",
        '    """',
        *writer.lines,
    ]
    parts = [plain.text, *(part for way in ways for part in way.parts), "\n".join(text)]
    return replace(
        plain,
        name=name,
        text="\n\n\n".join(part.rstrip("\n") for part in parts) + "\n",
        integers=integers,
        imports=frozenset(plain.imports.union({"choice", "Task", "Tile"}, *(o.imports for o in offers))),
        lowering=f"{', or '.join(way.described for way in ways)}; else {plain.describe()}",
    )


def _tested(test: str) -> list[str]:
    """The head of an `if`; a long one has a line for each of the tests that are joined by `and`."""
    test = test[1:-1] if test[0] == "(" and _matched(test) else test
    if len(f"    if {test}:") <= WIDTH:
        return [f"    if {test}:"]
    parts, depth = [""], 0
    for word in test.split(" "):
        depth += word.count("(") - word.count(")")
        if word == "and" and depth == 0:
            parts.append("")
        parts[-1] += f" {word}" if parts[-1] else word
    lines = "\n".join(_called(f"        {part}") for part in parts).split("\n")
    return ["    if (", *lines, "    ):"]
