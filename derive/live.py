"""The one place where `derive` meets the compiled operators: `build` gives a live one, for a notebook."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from weakref import WeakKeyDictionary

from derive.emit.module import module_source
from derive.errors import GenerateError, SpecError
from derive.generate import write
from derive.language import Operator
from derive.pipeline import derive
from derive.spec import load_definition
from kernels.operator import Operator as Live

_SPECS: WeakKeyDictionary[Live, Operator] = WeakKeyDictionary()


def cache_folder() -> Path:
    """Where modules of live operators lie: the user's cache, or a temporary folder if that is read-only."""
    import os

    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "derive-kernels" / "live"
    try:
        base.mkdir(parents=True, exist_ok=True)
        probe = base / ".probe"
        probe.touch()
        probe.unlink(missing_ok=True)
        return base
    except OSError:
        return Path(tempfile.gettempdir()) / "derive-kernels-live"


def build(operator: Operator) -> Live:
    """Derive, generate and load an operator; it compiles on first use. (A real file: Numba can cache it.)

    Raises SpecError where the equations do not make sense.
    """
    if not isinstance(operator, Operator):
        raise SpecError(f"build takes an Operator(name, equation, ..., inputs=...), found {operator!r}")
    text = module_source(derive(operator))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    path = cache_folder() / f"{operator.name}_{digest}" / f"{operator.name}.py"
    if not path.is_file():
        write({path: text})
    if not path.is_file():
        raise GenerateError(f"could not write {path.name}")
    live = Live(load_definition(path))
    _SPECS[live] = operator
    return live


def spec_of(live: Live) -> Operator | None:
    """The equations that a live operator was built from; None of any other."""
    return _SPECS.get(live)
