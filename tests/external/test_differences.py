"""docs/differences.md says what is so: its examples are run, ours and the other library's."""

from __future__ import annotations

import doctest
import re
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest

import kernels

pytestmark = [pytest.mark.slow, pytest.mark.external]

PAGE = Path(__file__).parents[2] / "docs" / "differences.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LIBRARIES = {"torch": "torch", "SciPy": "scipy", "ONNX": "onnx", "onnxruntime": "onnxruntime", "JAX": "jax"}

opening, *sections = re.split(r"^## ", TEXT, flags=re.MULTILINE)
titled = {text.split("\n", 1)[0]: text for text in sections}


def failures(text):
    """What the examples of a section give instead."""
    code = "".join(BLOCK.findall(opening) + BLOCK.findall(text))
    said: list[str] = []
    test = doctest.DocTestParser().get_doctest(code, {}, PAGE.name, str(PAGE), 0)
    runner = doctest.DocTestRunner()
    with warnings.catch_warnings(action="ignore"):
        runner.run(test, out=said.append)
    return "".join(said)


@pytest.mark.parametrize("title", titled)
def test_it_is_as_the_page_says(title):
    library = LIBRARIES[title.split(":")[0]]
    if find_spec(library) is None:
        pytest.skip(f"a comparison with {library}")
    examples = "".join(BLOCK.findall(titled[title]))
    for operator in re.findall(r"kernels\.(\w+)(?:\.vjp)?\(", examples):
        if operator not in kernels.OPERATORS:
            pytest.skip(f"kernels has no {operator}")
    assert ">>> " in examples, "a difference without a reproducer"
    assert library in examples
    assert failures(titled[title]) == ""


def test_a_page_that_is_wrong_is_seen():
    text = "```python\n>>> relu(np.array([-1.0, 2.0])).tolist()\n[-1.0, 2.0]\n\n```\n"
    assert "[0.0, 2.0]" in failures(text)
