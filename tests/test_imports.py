"""Who may import whom, read off the syntax trees; and no operator's name outside the catalogue."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from derive.catalogue import operators

ROOT = Path(__file__).parents[1]
MEET = {"derive.live", "derive.spec", "derive.cli"}  # where derive may use kernels; and verify, and geometry
READERS = {  # how equations get their relation form is nobody else's affair
    "derive.ranges": {"derive.indexing", "derive.validate", "derive.outside", "derive.translate"},
    "derive.indexing": {"derive.validate", "derive.outside", "derive.translate"},
    "derive.validate": {"derive.translate"},
    "derive.outside": {"derive.translate"},
    "derive.translate": {"derive.pipeline", "derive.geometry.call"},
}
GENERATED = {
    "__future__",
    "kernels.generated",
    "kernels.runtime",
    "numpy",
    "numba",
}  # kernels of its family among them


def module(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


@cache
def imports(text: str) -> tuple[str, ...]:
    """What a text imports; `from package import module` is that module."""
    return tuple(_imports(_statements(text) or ast.walk(_parsed(text))))


_parsed = cache(ast.parse)
STATEMENT = re.compile(
    r"^([ \t]*)(from[ \t]+[\w.]+[ \t]+import[ \t]+(?:\([^()]*\)|[^(\n\\]+)|import[ \t]+[^\n\\]+)$",
    re.MULTILINE,
)


def _statements(text: str, top: bool = False) -> list[ast.stmt]:
    """Its import statements (those at the top), without parsing the rest, which takes seconds for all kernels.

    None are found where the word stands anywhere else, too.
    """
    found = list(STATEMENT.finditer(text))
    if len(found) != len(re.findall(r"\bimport\b", text)):
        return []
    return _parsed("\n".join(m[2] for m in found if not (top and m[1]))).body


def _imports(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            for a in node.names:
                path = ROOT.joinpath(*(node.module or "").split("."), a.name)
                inner = path.with_suffix(".py").is_file() or path.is_dir()
                yield f"{node.module}.{a.name}" if inner else node.module or ""


@cache
def _sources() -> dict[str, str]:
    files = [*ROOT.glob("derive/**/*.py"), *ROOT.glob("kernels/**/*.py")]
    return {module(p): p.read_text(encoding="utf-8") for p in sorted(files)}


def sources() -> dict[str, str]:
    return dict(_sources())


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def violations(tree: dict[str, str]) -> list[str]:
    """Every import that breaks a rule, as `importer -> imported`."""
    bad = []
    for name, text in tree.items():
        for other in imports(text):
            line = f"{name} -> {other}"
            if within(name, "kernels") and any(within(other, p) for p in ("derive", "sympy", "mpmath")):
                lazily = (
                    name == "kernels.runtime.scalar" and other == "mpmath"
                )  # only for numbers that are mpmath's
                bad += [] if lazily else [line]
            if within(name, "kernels.generated") and not any(within(other, p) for p in GENERATED):
                bad.append(line)
            if within(name, "derive") and within(other, "kernels"):
                allowed = name in MEET or any(within(name, p) for p in ("derive.verify", "derive.geometry"))
                bad += [] if allowed else [line]
            if within(name, "derive.passes") and within(other, "derive.passes"):
                bad.append(line)
            if other in READERS and name not in READERS[other]:
                bad.append(line)
            trusted = ("derive.language", "derive.errors", "derive.numbers")
            if name in ("derive.reference", "derive.numbers") and within(other, "derive"):
                bad += [] if any(within(other, p) for p in trusted) else [line]
    return bad


@cache
def _at_top(text: str) -> tuple[str, ...]:
    return tuple(_imports(_statements(text, top=True) or _parsed(text).body))


def cycles(tree: dict[str, str]) -> list[list[str]]:
    """Modules that import each other at their top level."""
    edges = {}
    for name, text in tree.items():
        edges[name] = [o for o in _at_top(text) if o in tree and o != name]
    found, done = [], set[str]()

    def walk(name: str, path: list[str]) -> None:
        if name in path:
            found.append([*path[path.index(name) :], name])
        elif name not in done:
            for other in edges[name]:
                walk(other, [*path, name])
            done.add(name)

    for name in edges:
        walk(name, [])
    return found


def named(tree: dict[str, str]) -> list[str]:
    """Modules of derive, the catalogue aside, that know a shipped operator by name."""
    # a name of letters alone (fold, tanh) is a word that code has other uses for
    words = {
        re.sub(r"[1234]d$", "", o.name) if "_" in o.name else o.name
        for o in operators()
        if not o.name.isalpha()
    }
    pattern = re.compile(rf"\b({'|'.join(sorted(words))})([1234]d)?\b")
    inner = {n: t for n, t in tree.items() if within(n, "derive") and not within(n, "derive.catalogue")}
    return [
        f"{n}: {m.group()}"
        for n, t in inner.items()
        for m in pattern.finditer(t)
        if not example(t, m.start())
    ]


def example(text: str, at: int) -> bool:
    """Inside a docstring or a comment a name may serve as an example; in code it may not."""
    for node in ast.walk(_parsed(text)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            line = text.count("\n", 0, at) + 1
            if node.lineno <= line <= (node.end_lineno or node.lineno):
                return True
    start = text.rfind("\n", 0, at) + 1
    return "#" in text[start:at] or 'f"' not in text[start:at] and "`conv" in text[start : at + 1]


def test_rules():
    assert violations(sources()) == []


def test_no_cycles():
    assert cycles(sources()) == []


def test_no_operator_is_known_by_name():
    assert named(sources()) == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("kernels.arguments", "import sympy"),
        ("kernels.runtime.simd", "from derive.language import Index"),
        ("kernels.generated.relu", "from kernels.operator import Operator"),
        ("derive.ranges", "from kernels.runtime import task"),
        ("derive.passes.simplify", "from derive.passes.stable import stable"),
        ("derive.lower.solve", "from derive.ranges import outermost"),
        ("derive.outside", "from derive.validate import validate"),
        ("derive.reference", "from derive.passes.differentiate import vjp"),
        ("derive.numbers", "import derive.ranges"),
    ],
)
def test_planted_violations_are_seen(name, line):
    text = sources()[name]
    assert violations({name: text}) == []
    assert violations({name: f"{text}\n{line}\n"}) != []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import sys, os.path\nfrom re import (\n    sub,\n    match as m,\n)  # why\n", ["sys", "os.path", "re", "re"]),
        ("def f():\n    import sys  # now\n    from derive import language\n", ["sys", "derive.language"]),
        ("if True: import sys\n", ["sys"]),
        ("x = 1; import sys\n", ["sys"]),
        ("from re import sub; import sys\n", ["re", "sys"]),
        ("import sys, \\\n    os\n", ["sys", "os"]),
        ('"""\nimport sys\n"""\nimport os  # import it\n', ["os"]),
        ("important = 1\n", []),
    ],
)  # fmt: skip
def test_what_is_imported_is_seen_wherever_it_stands(text, found):
    assert list(imports(text)) == found


def test_a_planted_cycle_and_a_planted_name_are_seen():
    tree = sources()
    looped = {**tree, "derive.errors": f"from derive.language import Index\n{tree['derive.errors']}"}
    assert ["derive.errors", "derive.language", "derive.errors"] in cycles(looped)
    assert named({**tree, "derive.ranges": f'{tree["derive.ranges"]}\nSPECIAL = "max_pool2d"\n'}) == [
        "derive.ranges: max_pool2d"
    ]
