"""The counts of the external suites as Markdown: python -m tests.external.report [opinfo|onnx] [name ...]"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from tests.support.tally import Tally, table


def opinfo(names: Sequence[str]) -> Iterator[Tally]:
    from tests.external import opinfo as suite

    for row in suite.TABLE:
        if not names or any(name in row.name for name in names):
            print(row.name, file=sys.stderr, flush=True)
            yield from (suite.run(row, dtype) for dtype in suite.DTYPES)
            yield suite.other_dtypes(row)
            yield suite.run_errors(row)


def onnx(names: Sequence[str]) -> Iterator[Tally]:
    from tests.external import onnx_nodes as suite

    for row in suite.rows():
        if not names or any(name in row for name in names):
            print(row, file=sys.stderr, flush=True)
            yield suite.run(row)


SUITES = {"opinfo": opinfo, "onnx": onnx}


def main(arguments: Sequence[str]) -> int:
    suites = [SUITES[a] for a in arguments if a in SUITES] or list(SUITES.values())
    names = [a for a in arguments if a not in SUITES]
    tallies = [t for suite in suites for t in suite(names)]
    print(table(tallies))
    failed = [f"{t.name}: {text}" for t in tallies for text in t.failed]
    print("\n\n".join(failed))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
