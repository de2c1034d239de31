"""`import kernels`: quick, lazy, and clear about what it is not."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kernels
from kernels.errors import MissingKernelsError

HAND_WRITTEN = sorted(Path(kernels.__file__).parent.glob("*.py"))


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_loads_nothing_heavy():
    heavy = "numpy numba llvmlite sympy derive kernels.runtime kernels.operator kernels.generated"
    assert python(f"import sys, kernels; print([m for m in '{heavy}'.split() if m in sys.modules])") == "[]"


def test_an_operator_loads_its_own_module_only():
    code = """
import sys
from kernels import relu
print(sorted(m for m in sys.modules if m.startswith("kernels.generated.")))
print([m for m in ("sympy", "derive") if m in sys.modules])
"""
    assert python(code).splitlines() == ["['kernels.generated.relu']", "[]"]


def imported(path: Path) -> set[str]:
    """Every module that a file imports, at any depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", HAND_WRITTEN, ids=lambda p: p.name)
def test_never_imports_the_engine(path):
    assert not {name for name in imported(path) if name.split(".")[0] in ("derive", "sympy")}


def test_the_import_check_can_fail(tmp_path):
    planted = tmp_path / "planted.py"
    planted.write_text("def f():\n    from derive.live import build\n")
    assert "derive.live" in imported(planted)


def test_names():
    assert set(kernels.__all__) <= set(dir(kernels))
    assert "conv2d" in kernels.__all__
    assert kernels.Operator.__name__ == "Operator"
    assert issubclass(kernels.KernelError, Exception)
    assert kernels.conv2d is kernels.conv2d


def test_number_of_threads():
    kernels.set_num_threads(1)
    try:
        assert kernels.get_num_threads() == 1
    finally:
        kernels.set_num_threads(None)


def test_every_operator_is_declared_for_type_checkers():
    tree = ast.parse(Path(kernels.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    declared = [
        n.target.id for n in block.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
    ]
    assert tuple(declared) == kernels.OPERATORS


def test_unknown_name():
    with pytest.raises(AttributeError, match="module 'kernels' has no attribute 'conv5d'"):
        _ = kernels.conv5d


@pytest.mark.parametrize(
    "name", ["get_kernel", "kernelize", "use_kernel_forward_from_hub", "LayerRepository"]
)
def test_names_of_hugging_face(name):
    with pytest.raises(AttributeError, match=f"kernels.{name} belongs to Hugging Face's package") as raised:
        getattr(kernels, name)
    assert "separate environments" in str(raised.value)
    with pytest.raises(ImportError):
        exec(f"from kernels import {name}")


def test_missing_generated_module(monkeypatch):
    monkeypatch.setitem(sys.modules, "kernels.generated.conv1d", None)
    monkeypatch.delitem(vars(kernels), "conv1d", raising=False)
    with pytest.raises(MissingKernelsError, match=r"kernels.generated.conv1d is missing; generate it with"):
        _ = kernels.conv1d


def test_a_broken_generated_module_is_not_called_missing(monkeypatch, tmp_path):
    """An import that fails inside it keeps its own name."""
    (tmp_path / "conv1d.py").write_text("import no_such_module\n")
    import kernels.generated

    monkeypatch.setattr(kernels.generated, "__path__", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "kernels.generated.conv1d", raising=False)
    monkeypatch.delitem(vars(kernels), "conv1d", raising=False)
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        _ = kernels.conv1d
