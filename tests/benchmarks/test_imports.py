"""The bench sees the library from outside, and nothing of the project sees the bench."""

from __future__ import annotations

from pathlib import Path

from tests.test_imports import imports, within

ROOT = Path(__file__).parents[2]
INSIDE = {"benchmarks.probe": "kernels.runtime"}  # the FMA peak is measured with the kernels' own registers


def violations(name, text):
    for other in imports(text):
        if within(name, "benchmarks"):
            inner = (
                within(other, "kernels") and other != "kernels" and not within(other, INSIDE.get(name, "-"))
            )
            if inner or within(other, "derive"):
                yield other
        elif within(other, "benchmarks"):
            yield other


def test_rules():
    for package in ("benchmarks", "derive", "kernels"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            assert list(violations(name, path.read_text(encoding="utf-8"))) == [], name


def test_planted_violations_are_seen():
    assert list(violations("benchmarks.cases", "from kernels.runtime import task")) == ["kernels.runtime"]
    assert list(violations("benchmarks.probe", "import derive.pipeline")) == ["derive.pipeline"]
    assert list(violations("kernels.operator", "import benchmarks.cases")) == ["benchmarks.cases"]
    assert list(violations("benchmarks.probe", "from kernels.runtime import task")) == []
