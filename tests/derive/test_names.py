"""What a user calls an index, a tensor or a parameter never hides what generated functions call by that name."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

import kernels.generated
import kernels.runtime
from derive import Mean, Operator, Sum, build, indices, parameters, reals, step, tensors
from derive.emit.module import module_source
from derive.emit.names import OWN, RESERVED, RUNTIME
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


def test_no_variable_of_a_writer_hides_a_function() -> None:
    """A formula may call any of the runtime's."""
    assert not OWN & RUNTIME
    for file in sorted(Path(kernels.generated.__path__[0]).glob("*.py")):
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                names = (n for n in ast.walk(function) if isinstance(n, ast.Name))
                stored = {n.id for n in names if isinstance(n.ctx, ast.Store)}
                assert not stored & RUNTIME, f"{file.name}, {function.name}"


@pytest.mark.parametrize("taps", [2, 8])
def test_a_window_with_a_formula_compiles(taps: int) -> None:
    """1 - z calls one(), and step(z) step(): beside windows of two taps, and of many."""
    n, c, h, j = indices("n c h j")
    x, y, z = tensors("x y z")
    apart = 2 if taps == 2 else 1
    mean = Mean[j](x[n, c, apart * h + j])
    gated = build(
        Operator("gated_mean", y[n, c, h] << (1 - step(z[n, c, h])) * mean, inputs=(x, z), extents={j: taps})
    )
    rng = np.random.default_rng(0)
    places = (40 - taps) // apart + 1
    xs, zs = rng.integers(-9, 10, (2, 3, 40)) * float(taps), rng.standard_normal((2, 3, places))
    windows = np.lib.stride_tricks.sliding_window_view(xs, taps, axis=2)[:, :, ::apart]
    found, pullback = gated.vjp(xs, zs)
    assert np.array_equal(found, (zs <= 0) * windows.mean(-1))  # whole numbers
    gx, _ = pullback(np.ones_like(found))
    assert gx.sum() == (zs <= 0).sum()  # each mean gives 1 in all, in halves or eighths
    assert gx.shape == xs.shape


@pytest.mark.parametrize("kind", ["index", "tensor", "result", "parameter", "real"])
@pytest.mark.parametrize("name", ["tanh", "max"])
def test_a_name_hides_no_function(kind: str, name: str, tmp_path: Path) -> None:
    operator = named(kind, name)
    file = tmp_path / "named.py"
    file.write_text(module_source(derive(operator)), encoding="utf-8")
    for check in ("exact_forward", "exact_vjp"):
        result = verify(operator, load_definition(file), check, 1)
        assert not result.failure, result.failure
