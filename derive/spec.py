"""Files that hold operators: a user's specification, and a generated module.

A specification is a Python file that its user asks us to run; no text is ever evaluated otherwise.
"""

from __future__ import annotations

import hashlib
import importlib.util
import linecache
import sys
import traceback
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from derive.errors import DeriveError, SpecError
from derive.language import Operator
from kernels.runtime.definition import Definition


class _Fresh(SourceFileLoader):
    """Compiles the file as it is now: Python takes a cached one for the same if length and second are."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        linecache.checkcache(path)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def _module(path: Path, prefix: str) -> ModuleType:
    path = path.resolve()
    name = f"{prefix}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_Fresh(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def load_operators(path: str | Path) -> dict[str, Operator]:
    """Every operator that a specification file makes at its top level, by name, in written order.

    A tuple, a list or a dictionary of operators counts as those.

    Raises SpecError: no such file, a syntax error, an error of its own (with the user's line), two operators
    of one name, none at all.
    """
    path = Path(path)
    found: dict[str, Operator] = {}
    for value in load_names(path).values():
        several = value.values() if isinstance(value, dict) else value
        for operator in several if isinstance(value, (tuple, list, dict)) else (value,):
            if not isinstance(operator, Operator):
                continue
            if found.setdefault(operator.name, operator) is not operator:
                raise SpecError(f"{path.name}: two operators are called `{operator.name}`")
    if not found:
        raise SpecError(f"{path.name}: no operator at the top level (make one with derive.Operator)")
    return found


def load_names(path: str | Path) -> dict[str, Any]:
    """What a Python file has at its top level once it was run.

    Raises SpecError: no such file, a syntax error, an error of its own (with the user's line).
    """
    path = Path(path)
    if not path.is_file():
        raise SpecError(f"there is no file {path}")
    try:
        return vars(_module(path, "derive_spec"))
    except SyntaxError as error:
        line = (error.text or "").rstrip()
        place = f" line {error.lineno}" if error.lineno else ""
        raise SpecError(f"{path.name}{place}: {error.msg}", equation=line) from None
    except DeriveError as error:
        raise SpecError(f"{path.name}{_line(error, path)}: {error}", equation=_text(error, path)) from error
    except (Exception, SystemExit) as error:
        text = f"{path.name}{_line(error, path)}: {type(error).__name__}: {error}{_advice(error)}"
        raise SpecError(text, equation=_text(error, path)) from error


def _frame(error: BaseException, path: Path) -> traceback.FrameSummary | None:
    """Where in the user's file it happened."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).name == path.name]
    return frames[-1] if frames else None


def _line(error: BaseException, path: Path) -> str:
    frame = _frame(error, path)
    return f" line {frame.lineno}" if frame else ""


def _text(error: BaseException, path: Path) -> str:
    """The user's own line, unless the error shows an equation already."""
    frame = None if getattr(error, "equation", "") else _frame(error, path)
    return (frame.line or "") if frame else ""


ADVICE = {
    "truth value of Relational": "`if`, `and`, `a < b < c`, `max(...)` are decided as the file is read, when no number is "
    "known; write Piecewise((u, a < b), (v, True)), And(...), maximum(u, v)",
    "no callable": "apply SymPy's functions to elements of tensors, not NumPy's",
    "Cannot convert expression to float": "apply SymPy's functions to elements of tensors, not math's",
    "must be Tensor, not": "apply SymPy's functions to elements of tensors, not torch's",
    "StrictGreaterThan": "a condition is no number; write Piecewise((1, a > b), (0, True))",
    "'Reduce' object is not callable": "what is reduced stands in brackets: Sum[k](...)",
}


def _advice(error: BaseException) -> str:
    """What a newcomer meant, where Python's or SymPy's own words do not tell."""
    text = str(error).replace("StrictLessThan", "StrictGreaterThan")
    return next((f". ({advice})" for words, advice in ADVICE.items() if words in text), "")


def load_definition(path: str | Path) -> Definition:
    """The DEFINITION of a generated module, wherever it lies."""
    definition: Definition = _module(Path(path), "derive_generated").DEFINITION
    return definition
