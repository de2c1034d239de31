"""What a user calls an index, a tensor or a parameter never hides what generated functions call by that name."""

from __future__ import annotations

from pathlib import Path

import pytest
import sympy as sp

import kernels.runtime
from derive import Operator, Sum, indices, parameters, reals, tensors
from derive.emit.module import module_source
from derive.emit.names import RESERVED
from derive.pipeline import derive
from derive.spec import load_definition
from derive.verify import verify


def named(kind: str, name: str) -> Operator:
    """tanh of a sum, in which one thing has the name."""
    words = {"index": "k", "tensor": "x", "result": "y", "parameter": "s", "real": "a", kind: name}
    i, k = indices(f"i {words['index']}")
    s, a = parameters(words["parameter"]), reals(words["real"])
    x, w, y = tensors(f"{words['tensor']} w {words['result']}")
    return Operator("named", y[i] << Sum[k](sp.tanh(a * x[s * i + k]) * w[k]), inputs=(x, w))


def test_every_function_of_the_runtime_is_reserved() -> None:
    assert {n for n in kernels.runtime.__all__ if n[0].islower()} <= RESERVED


@pytest.mark.parametrize("kind", ["index", "tensor", "result", "parameter", "real"])
@pytest.mark.parametrize("name", ["tanh", "max"])
def test_a_name_hides_no_function(kind: str, name: str, tmp_path: Path) -> None:
    operator = named(kind, name)
    file = tmp_path / "named.py"
    file.write_text(module_source(derive(operator)), encoding="utf-8")
    for check in ("exact_forward", "exact_vjp"):
        result = verify(operator, load_definition(file), check, 1)
        assert not result.failure, result.failure
