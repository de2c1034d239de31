"""docs/operators.md: every operator with its formula and what is checked of it, written from the catalogue itself.

python -m tests.external.report --record   # run the suites, keep the counts, write the page
python -m tests.external.page              # write the page from the counts that are kept
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import sympy as sp

import kernels
from derive.catalogue import operators
from derive.language import Operator as Spec
from derive.language import Reduce
from kernels.operator import COMMON, Operator
from tests.external import functional
from tests.support.ranks import groups
from tests.support.tally import Tally, table

ROOT = Path(__file__).parents[2]
PAGE, COUNTS = ROOT / "docs" / "operators.md", Path(__file__).parent / "counts.json"
# A column, and how the titles of the suites begin that it adds up.
SUITES = {
    "OpInfo": "PyTorch OpInfo",
    "ONNX": "ONNX node tests",
    "drawn: torch": "Random configurations beside torch",
    "JAX": "Random configurations beside JAX",
    "SciPy": "Random filters beside SciPy",
}
PROGRAMS = {"forward": ("forward",), "VJP": ("vjp",), "JVP": ("jvp",), "second order": ("vjp_vjp", "vjp_jvp")}
TITLES = {
    "convolution": "Convolution",
    "columns": "Unfolding and matrices of a convolution",
    "pooling": "Pooling",
    "pools": "More pooling",
    "adaptive": "Adaptive and fractional pooling",
    "unpooling": "Unpooling",
    "layers": "Dense layers, ReLU, log-softmax",
    "activations": "Activations",
    "norms": "Normalisation",
    "losses": "Losses, regularisers, dropout",
    "likelihoods": "Likelihoods",
    "margins": "Distances and margins",
    "images": "Resampling, shuffles, padding",
    "joining": "Branches of a network",
    "optimizers": "Steps of optimizers",
}


@cache
def specs() -> Mapping[str, Spec]:
    return {spec.name: spec for spec in operators()}


def rational(spec: Spec) -> bool:
    """Whether all values are fractions where the inputs are: then a check is equality, else agreement to 40 digits."""
    powers = {p for s in spec.statements for p in s.body.atoms(sp.Pow)}
    applied = {f.func.__name__ for s in spec.statements for f in s.body.atoms(sp.Function)}
    transcendental = applied & {"exp", "expm1", "log", "log1p", "tanh", "erf"}
    logarithms = any(r.kind == "logsumexp" for s in spec.statements for r in s.body.atoms(Reduce))
    return not transcendental and not logarithms and all(p.exp.is_integer for p in powers)


def shown(pattern: str, names: Sequence[str]) -> str:
    ranks = [n[pattern.index("{")] for n in names] if "{}" in pattern else [""]
    return pattern.replace("{}", f"{ranks[0]}-{ranks[-1]}" if len(ranks) > 1 else ranks[0])


def counterpart(names: Sequence[str]) -> str:
    """torch's function of the same name, or of the operator that hands its calls on to this one."""
    for name in names:
        if name in functional.ELSEWHERE:
            return functional.ELSEWHERE[name]
        doc = getattr(kernels, name).adapter.doc
        if said := re.search(r"torch\.nn\.functional\.(\w+)", doc):
            return said[1]
        if re.search(r"torch\.nn\.functional|torch('s)? namesake", doc):
            return family(name)
    return ""


def of_ranks(name: str, members: Sequence[str]) -> str:
    """The same for all of these that differ in their rank; torch ends at three axes."""
    ranks = [n for n in (1, 2, 3) if any(f"{n}d" in member for member in members)]
    some = f"{ranks[0]}-{ranks[-1]}" if len(ranks) > 1 else "".join(map(str, ranks))
    return re.sub(r"\d(?=d(_|$))", some, name)


def family(name: str) -> str:
    """The operator whose option chooses this one, or itself."""
    chosen = getattr(sys.modules[getattr(kernels, name).adapter.plan.__module__], "VARIANTS", {})
    return next((base for base, options in chosen.items() if name in options.names.values()), name)


def counts() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(COUNTS.read_text(encoding="utf-8"))
    return found


def record(found: Iterable[tuple[str, Tally]]) -> None:
    """Keep what the suites came to, with the operator that each tally is of. Rows that did not run stay as they were."""
    kept = counts() if COUNTS.is_file() else {}
    rows: dict[tuple[str, str], Tally] = {}
    owners: dict[tuple[str, str], str] = {}
    for operator, t in found:
        row = rows.setdefault((t.suite, t.name), Tally(t.suite, t.name))
        row.passed += t.passed
        row.failed += t.failed
        row.out.update(t.out)
        owners[t.suite, t.name] = operator
    for (suite, name), row in rows.items():
        said = {"operator": owners[suite, name], "passed": row.passed, "failed": len(row.failed)}
        kept.setdefault(suite, {})[name] = said | {"out": dict(row.out)}
    COUNTS.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def passed(names: Sequence[str], suite: str) -> int:
    """The cases of the suites of one column that these operators pass."""
    return sum(
        row["passed"]
        for title, rows in counts().items()
        if title.startswith(suite)
        for row in rows.values()
        if row["operator"] in names
    )


def signature(operator: Operator) -> str:
    """The call, as one would write it."""
    return f"{operator.__name__}{inspect.signature(operator)}".replace(", *, out=None", "")


def description(operator: Operator) -> str:
    return (operator.__doc__ or "").removesuffix(f"\n\n{COMMON}\n").strip()


def overview(home: str, names: Sequence[str]) -> list[str]:
    lines = [
        f"| {TITLES[home]} | torch | equations | {' | '.join(PROGRAMS)} | exact check | {' | '.join(SUITES)} |",
        f"| --- | --- | --- | {' | '.join('---' for _ in PROGRAMS)} | --- | {' | '.join('---' for _ in SUITES)} |",
    ]
    for pattern, members in groups(names).items():
        definitions = [getattr(kernels, n).definition for n in members]
        spec = specs()[definitions[0].name]
        have = [
            "yes" if all(p in d.programs for d in definitions for p in programs) else "no"
            for programs in PROGRAMS.values()
        ]
        exact = "equal" if rational(spec) else "40 digits"
        lines.append(
            f"| `{shown(pattern, members)}` | {of_ranks(counterpart(members), members)} | {len(spec.statements)} | {' | '.join(have)} "
            f"| {exact} | {' | '.join(str(passed(members, suite) or '') for suite in SUITES.values())} |"
        )
    return lines


def entry(pattern: str, members: Sequence[str]) -> list[str]:
    """Of the members the plane's, if there is one."""
    name = next((n for n in members if "2d" in n), members[0])
    operator = getattr(kernels, name)
    formula = operator.formula.replace(" += ", " = ")
    return [
        f"### {shown(pattern, members)}",
        "",
        "```text",
        signature(operator),
        "",
        description(operator),
        "```",
        "",
        "```text",
        formula,
        "```",
        "",
    ]


def text() -> str:
    homes = {home.removeprefix("kernels."): names for home, names in kernels._ADAPTERS.items()}
    spec_lines = sum(
        len(p.read_text(encoding="utf-8").splitlines()) for p in (ROOT / "derive/catalogue").glob("*.py")
    )
    lines = [
        "# The operators",
        "",
        "Written by `python -m tests.external.page` from the catalogue and from the counts that",
        "`python -m tests.external.report --record` keeps; `tests/external/test_page.py` says when it is stale.",
        "",
        f"{len(kernels.OPERATORS)} operators come from {len(specs())} specifications, "
        f"{spec_lines} lines of `derive/catalogue/` ({spec_lines / len(specs()):.1f} each). Those that differ in the number",
        "of axes alone share a row, and the formula shown is that of a plane. *equations*: statements of the specification.",
        "*forward* to *second order*: the program is there, for VJPs and JVPs of the VJP too. *exact check*: as what the tests",
        "of every run hold its emitted source against the equations, each of these programs: equal over fractions or, where a",
        "function is not rational, to 40 digits of 60.",
        "*OpInfo*: PyTorch's own samples and error inputs that pass; *ONNX*: ONNX's node tests. In both, calls that choose a variant",
        "by an option count with the operator that has the option. *drawn*: configurations drawn at random that agree with torch,",
        "with *JAX* and with *SciPy*, each with results and gradients, of torch and JAX also forward mode and second order. Where no",
        "number stands, none was recorded.",
        "",
    ]
    for home, names in homes.items():
        lines += [*overview(home, names), ""]
    lines += ["## External suites", ""]
    lines.append(re.sub("^## ", "### ", table(tallies()).rstrip("\n"), flags=re.MULTILINE))
    lines += [
        "",
        "## What torch.nn.functional has beside",
        "",
        "By another name:",
        "",
        *(f"- `{name}`: {ours}" for name, ours in sorted(functional.BY_ANOTHER_NAME.items())),
        "",
        "Not here:",
        "",
        *(f"- `{name}`: {why}" for name, why in sorted(functional.REASONS.items())),
        "",
        "Entries of OpInfo's that are no operator of ours, and so run nowhere, stand with a reason in `tests/external/opinfo.py`.",
        "",
    ]
    for home, names in homes.items():
        lines += [f"## {TITLES[home]}", ""]
        for pattern, members in groups(names).items():
            lines += entry(pattern, members)
    return "\n".join(lines).rstrip("\n") + "\n"


def tallies() -> list[Tally]:
    return [
        Tally(suite, name, row["passed"], ["differs"] * row["failed"], Counter(row["out"]))
        for suite, rows in counts().items()
        for name, row in rows.items()
    ]


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
