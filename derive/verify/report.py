"""Many operators, every check: progress, a table, JUnit XML, Markdown, and whether all is well."""

from __future__ import annotations

import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from tqdm import tqdm

from derive.errors import VerificationError
from derive.language import Operator
from derive.verify.checks import CHECKS, rounds
from derive.verify.counterexample import explained

if TYPE_CHECKING:
    from kernels.runtime import Definition


CELLS = (
    "ok: as it should be, to the last digit where the check is exact. A number: the worst error, within what is allowed,",
    "relative to max(1, |truth|); 2.5 u is that in units of rounding, u = 2^-53 in float64 and 2^-24 in float32.",
)


@dataclass(frozen=True)
class Result:
    """One check of one operator, over all of its cases."""

    operator: str
    check: str
    worst: float
    cases: int
    detail: str
    seconds: float
    failure: str = ""  # the message of the first failure
    unit: str = ""

    @property
    def cell(self) -> str:
        return "FAILED" if self.failure else self.error if self.worst else "ok"

    @property
    def error(self) -> str:
        """The worst error with its unit."""
        return f"{self.worst:.1f} {self.unit}" if self.unit else f"{self.worst:.0e}"


SEARCH = 15.0  # seconds, for a failure smaller than the first one


def verify(
    operator: Operator,
    definition: Definition,
    check: str,
    cases: int = 6,
    seed: int = 0,
    pictures: Path | None = None,
) -> Result:
    """One check, at `cases` configurations (`rounds` of those that take many themselves); the first failure ends it.

    Of a wrong element the smallest case is looked for and shown, as a picture too where there is a folder for them.
    """
    start, worst, details, failure, done = time.perf_counter(), 0.0, dict[str, None](), "", 0
    unit = ""
    for k in range(rounds(check, cases)):
        try:
            outcome = CHECKS[check](operator, definition, Random(f"{seed}:{operator.name}:{check}:{k}"))
        except VerificationError as error:
            error = smallest(error, operator, definition, check, seed)
            failure = f"{type(error).__name__}: {explained(error)}"
            if pictures is not None and error.counterexample is not None:
                path = pictures / f"{operator.name}-{check}.png"
                error.counterexample.draw(path)
                failure += f"\n    drawn in {path}"
            break
        except Exception as error:  # whatever goes wrong in a check is its result
            failure = f"{type(error).__name__}: {error}"
            break
        worst, unit, done = max(worst, outcome.worst), outcome.unit or unit, done + 1
        if outcome.detail:
            details[outcome.detail] = None
    seconds = time.perf_counter() - start
    return Result(operator.name, check, worst, done, "; ".join(details), seconds, failure, unit)


def smallest(
    error: VerificationError, operator: Operator, definition: Definition, check: str, seed: int
) -> VerificationError:
    """The failure with the least to look at, of those that draws come to in a while. (Generated tests leave it to Hypothesis.)"""
    if error.counterexample is None:
        return error
    until, best, k = time.perf_counter() + SEARCH, error, 0
    while time.perf_counter() < until and k < 300:
        k += 1
        try:
            CHECKS[check](operator, definition, Random(f"{seed}:{operator.name}:{check}:smaller:{k}"))
        except VerificationError as other:
            if other.counterexample is not None and other.counterexample.size < best.counterexample.size:
                best = other
        except Exception:  # another failure than the one that is shown
            continue
    return best


def run(
    pairs: Iterable[tuple[Operator, Definition]],
    *,
    cases: int = 6,
    seed: int = 0,
    junit: str | Path | None = None,
    markdown: str | Path | None = None,
    checks: Sequence[str] = tuple(CHECKS),
) -> bool:
    """Every check of every operator: a table, the failures, the reports if wanted; True if nothing failed."""
    pairs = list(pairs)
    results: list[Result] = []
    work = [(operator, definition, check) for operator, definition in pairs for check in checks]
    bar = tqdm(work, desc="verify", unit="check", file=sys.stderr, mininterval=0.5)
    for operator, definition, check in bar:
        bar.set_postfix_str(f"{operator.name} {check}")
        results.append(verify(operator, definition, check, cases, seed))
    return concluded(results, junit=junit, markdown=markdown)


def concluded(
    results: Sequence[Result], *, junit: str | Path | None = None, markdown: str | Path | None = None
) -> bool:
    """The table, the failures, the reports if wanted; True if nothing failed."""
    print(table(results))
    failed = [r for r in results if r.failure]
    for r in failed:
        print(f"\n{r.check}: {r.failure}")
    seconds = sum(r.seconds for r in results)
    print(
        f"\n{len({r.operator for r in results})} operators, {len(results)} checks, "
        f"{sum(r.cases for r in results)} cases, {len(failed)} failed, {seconds:.0f} s of work"
    )
    if junit is not None:
        Path(junit).write_bytes(junit_xml(results))
    if markdown is not None:
        Path(markdown).write_text(markdown_table(results), encoding="utf-8")
    return bool(results) and not failed


def _grid(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    checks = list(dict.fromkeys(r.check for r in results))
    cells = {(r.operator, r.check): r.cell for r in results}
    names = dict.fromkeys(r.operator for r in results)
    return ["operator", *checks], [[name, *(cells.get((name, c), "") for c in checks)] for name in names]


def table(results: Sequence[Result]) -> str:
    """Operators down, checks across, the worst error in each cell; checks are explained above by letters."""
    head, rows = _grid(results)
    short = [head[0], *(chr(ord("a") + k) for k in range(len(head) - 1))]
    legend = [f"  {letter}  {name}" for letter, name in zip(short[1:], head[1:], strict=True)]
    widths = [max(len(row[k]) for row in (short, *rows)) for k in range(len(head))]
    lines = [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (short, *rows)
    ]
    return "\n".join([*legend, "", *(f"  {line}" for line in CELLS), "", *lines])


def markdown_table(results: Sequence[Result]) -> str:
    """The same for a page; failures below."""
    head, rows = _grid(results)
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    failures = [f"### {r.operator}: {r.check}\n\n```\n{r.failure}\n```" for r in results if r.failure]
    return "\n".join(["# Verification", "", *lines, "", *CELLS, "", *failures]).rstrip() + "\n"


def junit_xml(results: Sequence[Result]) -> bytes:
    """What CI systems read."""
    failed = sum(bool(r.failure) for r in results)
    counts = {"tests": str(len(results)), "failures": str(failed), "errors": "0", "skipped": "0"}
    seconds = {"time": f"{sum(r.seconds for r in results):.3f}"}
    root = ET.Element("testsuite", {"name": "derive-kernels verify", **counts, **seconds})
    for r in results:
        item = ET.SubElement(root, "testcase", classname=r.operator, name=r.check, time=f"{r.seconds:.3f}")
        if r.failure:
            ET.SubElement(item, "failure", message=_legal(r.failure.splitlines()[0])).text = _legal(r.failure)
        ET.SubElement(item, "system-out").text = _legal(
            f"worst error {r.error if r.worst else 'none'} over {r.cases} cases. {r.detail}"
        )
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _legal(text: str) -> str:
    """Without the control characters that XML 1.0 has no way to write."""
    return "".join(c for c in text if c in "\t\n\r" or c >= " ")
