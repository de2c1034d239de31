"""Specifications in, files out: all or nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from derive.catalogue import operators as catalogue
from derive.emit.module import module_source
from derive.emit.tests import catalogue_test, package_init, package_test
from derive.errors import GenerateError
from derive.language import Operator
from derive.pipeline import derive
from derive.spec import load_operators

Progress = Callable[[Iterable[Operator]], Iterable[Operator]]


def catalogue_files(root: Path, progress: Progress = iter, only: Iterable[str] = ()) -> dict[Path, str]:
    """Every file of the shipped catalogue under a project's root, by path."""
    wanted = set(only)
    files = {}
    for operator in progress([o for o in catalogue() if not wanted or o.name in wanted]):
        files[root / "kernels" / "generated" / f"{operator.name}.py"] = module_source(derive(operator))
        files[root / "tests" / "generated" / f"test_{operator.name}.py"] = catalogue_test(operator.name)
    return files


def package_files(spec: Path, out: Path, progress: Progress = iter) -> dict[Path, str]:
    """A package of a user's operators: kernels, tests, the specification they come from."""
    operators = load_operators(spec)
    clash = {"__init__", "spec", *(f"test_{name}" for name in operators)} & operators.keys()
    if clash:
        raise GenerateError(
            f"{spec.name}: an operator cannot be called `{min(clash)}`: the package has a file of that name"
        )
    files = {
        out / f"{name}.py": module_source(derive(operator))
        for name, operator in zip(operators, progress(operators.values()), strict=True)
    }
    files |= {out / f"test_{name}.py": package_test(name, "spec.py") for name in operators}
    files[out / "spec.py"] = spec.read_text(encoding="utf-8")
    files[out / "__init__.py"] = package_init(
        spec.name, {name: "\n".join(map(str, o.statements)) for name, o in operators.items()}
    )
    return files


def stale(files: Mapping[Path, str]) -> list[Path]:
    """Files on disk that differ from what would be written, the missing ones included."""
    return [p for p, text in files.items() if not p.is_file() or p.read_bytes() != text.encode()]


def leftover(root: Path, files: Mapping[Path, str]) -> list[Path]:
    """Generated modules of the catalogue that no operator makes any more."""
    here = [*(root / "kernels" / "generated").glob("*.py"), *(root / "tests" / "generated").glob("test_*.py")]
    return sorted(p for p in here if p not in files and p.name != "__init__.py")


def write(files: Mapping[Path, str]) -> list[Path]:
    """Write what changed, each file by one rename; on an error nothing changes. Returns what was written."""
    changed = stale(files)
    for path in changed:
        if path.suffix == ".py" and path.name != "spec.py":
            compile(files[path], str(path), "exec")  # a module that Python cannot read is never written
    staged: list[tuple[Path, Path]] = []
    try:
        for path in changed:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            staged.append((Path(name), path))
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as f:
                f.write(files[path])
            os.chmod(name, 0o644)
        for temporary, path in staged:
            temporary.replace(path)
    except OSError as error:
        raise GenerateError(f"cannot write {error.filename}: {error.strerror}") from error
    finally:
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)
    return changed
