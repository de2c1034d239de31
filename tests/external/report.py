"""The counts of the external suites as Markdown: python -m tests.external.report [--record] [suite ...] [name ...]

A suite is one of opinfo, onnx, torch, jax, scipy; all of them by default. A name is part of the name of a row.

`--record` also keeps them for docs/operators.md (tests/external/page.py), which is written anew.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

from tests.external import page
from tests.support.tally import Tally, table

Found = Iterator[tuple[str, Tally]]  # with the operator of ours that each is of, if it is of one


def opinfo(names: Sequence[str]) -> Found:
    from tests.external import opinfo as suite

    for row in suite.TABLE:
        if not names or any(name in row.name for name in names):
            print(row.name, file=sys.stderr, flush=True)
            yield from ((row.ours, suite.run(row, dtype)) for dtype in suite.DTYPES)
            yield row.ours, suite.other_dtypes(row)
            yield row.ours, suite.run_errors(row)


def onnx(names: Sequence[str]) -> Found:
    from tests.external import onnx_nodes as suite

    for row in suite.rows():
        if not names or any(name in row for name in names):
            print(row, file=sys.stderr, flush=True)
            yield suite.owner(row), suite.run(row)


def torch(names: Sequence[str]) -> Found:
    from tests.external import drawn as suite

    yield from of_operators(suite.DRAWS, suite.run, names)


def jax(names: Sequence[str]) -> Found:
    from tests.external import against_jax as suite

    yield from of_operators(suite.REFERENCES, suite.run, names)


def of_operators(draws: Iterable[str], run: Callable[[str], Iterable[Tally]], names: Sequence[str]) -> Found:
    for draw in draws:
        if not names or any(name in draw for name in names):
            print(draw, file=sys.stderr, flush=True)
            yield from ((found.name, found) for found in run(draw))


def scipy(names: Sequence[str]) -> Found:
    from tests.external import test_scipy as suite

    yield from ((found.name, found) for found in suite.run())


SUITES = {"opinfo": opinfo, "onnx": onnx, "torch": torch, "jax": jax, "scipy": scipy}


def main(arguments: Sequence[str]) -> int:
    suites = [SUITES[a] for a in arguments if a in SUITES] or list(SUITES.values())
    names = [a for a in arguments if a not in SUITES and a != "--record"]
    found = list[tuple[str, Tally]]()
    for pair in (pair for suite in suites for pair in suite(names)):
        found.append(pair)
        if "--record" in arguments:  # after each, so that nothing is lost of a run that is stopped
            page.record(found)
    tallies = [t for _, t in found]
    print(table(tallies))
    if "--record" in arguments:
        page.PAGE.write_text(page.text(), encoding="utf-8")
    failed = [f"{t.name}: {text}" for t in tallies for text in t.failed]
    print("\n\n".join(failed))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
