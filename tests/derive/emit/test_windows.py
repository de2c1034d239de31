"""Windows without weights as source: line by line, side by side along the lanes first, of two taps. All exact."""

from __future__ import annotations

import ast
import inspect
import random
from collections.abc import Iterable
from fractions import Fraction
from importlib import import_module
from itertools import product
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from derive.emit.module import module_source
from derive.language import Max, Operator, Parameter, Tensor, indices, tensors
from derive.pipeline import derive
from kernels.runtime import execute_exact

n = indices("n")


def fractions(rng: random.Random, *shape: int) -> Any:
    numbers = [Fraction(rng.randint(-2, 2)) for _ in range(int(np.prod(shape)))]  # many are equal
    return np.array(numbers, object).reshape(shape)


class Case:
    """A drawn pooling: extents, windows, strides, dilations, padding; and what it gives, written out."""

    def __init__(self, rng: random.Random, axes: int, dilated: bool, kind: str) -> None:
        most = (9, 6, 3)[axes - 1]
        self.K = [2 if kind == "twos" else rng.randint(1, most) for _ in range(axes)]
        self.d = [rng.randint(1, 2) if dilated else 1 for _ in range(axes)]
        if kind == "twos":
            self.d[-1] = 1
        reach = [d * (k - 1) + 1 for k, d in zip(self.K, self.d, strict=True)]
        if kind == "twos":  # half of them side by side, and nothing left over
            self.a, self.e = [0] * axes, [0] * axes
            if rng.random() < 0.5:
                self.d, self.s = [1] * axes, [2] * axes
                reach = [2] * axes
                self.X = [2 * rng.randint(1, 4) for _ in range(axes)]
            else:
                self.s = [*(rng.randint(1, 3) for _ in range(axes - 1)), 2]
                self.X = [r + rng.randint(0, 5) for r in reach]
        elif kind == "tiles":
            self.s = [r + rng.randint(0, 1) for r in reach]
            self.a, self.e = [0] * axes, [0] * axes
            self.X = [s * rng.randint(1, 4) for s in self.s]
        else:
            self.s = [rng.randint(1, 3) for _ in range(axes)]
            self.a, self.e = ([rng.randint(0, k // 2) for k in self.K] for _ in range(2))
            self.X = [max(1, reach[i] - self.a[i] - self.e[i]) + rng.randint(0, most) for i in range(axes)]
        self.N, self.C = rng.randint(1, 2), rng.randint(1, 3)
        self.P = [(self.X[i] + self.a[i] + self.e[i] - reach[i]) // self.s[i] + 1 for i in range(axes)]
        self.x = fractions(rng, self.N, self.C, *self.X)
        self.gy = fractions(rng, self.N, self.C, *self.P)

    def sizes(self, module: ModuleType) -> dict[str, int]:
        named = {"N": self.N, "C": self.C, "ceil": 0, "include": 0, "divisor": 0}
        named |= zip(module.DEFINITION.tensor("x").shape[2:], self.X, strict=True)
        for i in range(len(self.K)):
            for letter, values in zip(
                "KPsdae", (self.K, self.P, self.s, self.d, self.a, self.e), strict=True
            ):
                named[f"{letter}{i}"] = values[i]
        given = {name: named[name] for name in inspect.signature(module.sizes).parameters}
        return named | module.sizes(**given)

    def window(self, place: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The elements that a window reads, in the order of its taps."""
        at = []
        for tap in product(*map(range, self.K)):
            q = tuple(self.s[i] * place[i] + self.d[i] * tap[i] - self.a[i] for i in range(len(tap)))
            if all(0 <= j < n for j, n in zip(q, self.X, strict=True)):
                at.append(q)
        return at


def drawn(rng: random.Random, axes: int, dilated: bool, kind: str) -> Case:
    """A case of which each window holds something: no exact number is the maximum of nothing."""
    while True:
        case = Case(rng, axes, dilated, kind)
        if all(case.window(place) for place in np.ndindex(*case.P)):
            return case


def run(module: ModuleType, case: Case, program: str, outputs: tuple[str, ...], trial: int) -> dict[str, Any]:
    given = {"x": case.x, "gy": case.gy} if program == "vjp" else {"x": case.x}
    sizes = case.sizes(module)
    return execute_exact(
        module.DEFINITION, program, given, sizes, {}, outputs, seed=trial, gaps=trial % 2 > 0
    )


def counting(module: ModuleType, ways: Iterable[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often each of these tasks runs."""
    runs = dict.fromkeys(ways, 0)
    assert runs
    for name in runs:
        real = getattr(module, name).function

        def counted(*given: Any, name: str = name, real: Any = real) -> None:
            runs[name] += 1
            real(*given)

        monkeypatch.setattr(getattr(module, name), "function", counted)
    return runs


@pytest.mark.parametrize("kind", ["windows", "tiles", "twos"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_extrema_and_their_places(axes: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many equal numbers: of these the first in the order of the taps. Windows of many taps are joined in pairs."""
    module = import_module(f"kernels.generated.max_pool{axes}d")
    ways = [name for name in vars(module) if name.endswith(f"{kind}_x") and name != "y_at_from_x_twos_x"]
    runs = counting(module, ways, monkeypatch)
    rng = random.Random(axes)
    for trial in range(30 if axes < 3 else 10):
        case = drawn(rng, axes, True, kind)
        made = run(module, case, "forward", ("y", "i"), trial)
        alone = {name: run(module, case, "forward", (name,), trial)[name] for name in ("y", "i")}
        for n, c, *place in np.ndindex(case.gy.shape):
            at = case.window(tuple(place))
            best = max(case.x[n, c, *q] for q in at)
            first = np.ravel_multi_index(next(q for q in at if case.x[n, c, *q] == best), case.X)
            assert made["y"][n, c, *place] == alone["y"][n, c, *place] == best
            assert made["i"][n, c, *place] == alone["i"][n, c, *place] == first
    assert min(runs.values()) > 5, runs


@pytest.mark.parametrize("kind", ["windows", "tiles", "twos"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_averages_and_their_gradients(axes: int, kind: str) -> None:
    module = import_module(f"kernels.generated.avg_pool{axes}d")
    rng = random.Random(axes)
    for trial in range(30 if axes < 3 else 10):
        case = drawn(rng, axes, False, kind)
        y, gx = np.zeros_like(case.gy), np.zeros_like(case.x)
        for n, c, *place in np.ndindex(y.shape):
            at = case.window(tuple(place))
            y[n, c, *place] = sum(case.x[n, c, *q] for q in at) / len(at)
            for q in at:
                gx[n, c, *q] += case.gy[n, c, *place] / len(at)
        assert (run(module, case, "forward", ("y",), trial)["y"] == y).all()
        assert (run(module, case, "vjp", ("gx",), trial)["gx"] == gx).all()


def test_the_ways_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient of windows side by side goes along the lanes first, others line by line."""
    module = import_module("kernels.generated.avg_pool2d")
    taken = list[str]()
    for name in ("gx_from_gx_term_tiles_gx_term", "gx_from_gx_term_windows_gx_term"):
        task = getattr(module, name)
        real = task.function
        monkeypatch.setattr(task, "function", lambda *g, name=name, real=real: (taken.append(name), real(*g)))
    rng = random.Random(0)
    for kind in ("tiles", "windows"):
        for trial in range(12):
            case = drawn(rng, 2, False, kind)
            run(module, case, "vjp", ("gx",), trial)
        assert any(kind in name for name in taken)
        taken.clear()


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_gradients_of_windows_of_two_taps(axes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of all lengths beside a vector's, with and without gaps in memory: nothing is left out or written twice."""
    rng, tasks = random.Random(axes), {}
    for name in ("max_pool", "avg_pool"):
        module = import_module(f"kernels.generated.{name}{axes}d")
        ways = [w for w in vars(module) if w.startswith("gx_") and "_twos_" in w or w == "y_at_from_x_twos_x"]
        tasks[module] = counting(module, ways, monkeypatch)
    for trial in range(24):
        case = drawn(rng, axes, False, "twos")
        for module in tasks:
            gx = np.zeros_like(case.x)
            for n, c, *place in np.ndindex(case.gy.shape):
                at = case.window(tuple(place))
                if "max" in module.__name__:
                    best = max(case.x[n, c, *q] for q in at)
                    gx[n, c, *next(q for q in at if case.x[n, c, *q] == best)] += case.gy[n, c, *place]
                else:
                    for q in at:
                        gx[n, c, *q] += case.gy[n, c, *place] / len(at)
            assert (run(module, case, "vjp", ("gx",), trial)["gx"] == gx).all()
    assert all(min(runs.values()) > 5 for runs in tasks.values()), tasks


def stored(function: ast.FunctionDef) -> set[str]:
    return {m.id for m in ast.walk(function) if isinstance(m, ast.Name) and isinstance(m.ctx, ast.Store)}


def functions(text: str) -> list[ast.FunctionDef]:
    return [f for f in ast.parse(text).body if isinstance(f, ast.FunctionDef)]


def own_words() -> set[str]:
    """What the kernels of windows call their locals."""
    found = set[str]()
    for name in ("max_pool2d", "avg_pool2d"):
        module = import_module(f"kernels.generated.{name}")
        for f in functions(inspect.getsource(module)):
            found |= (
                stored(f) if any(kind in f.name for kind in ("_windows_", "_tiles_", "_twos_")) else set()
            )
    assert len(found) > 40
    return found


def test_a_users_name_is_not_taken_for_a_local() -> None:
    """Each of these words as the stride, dilation or padding of somebody's pooling: no kernel assigns to them."""
    q, k = indices("q k")
    y = tensors("y")
    words = sorted(w for w in own_words() - {"q", "k", "x", "y", "n"} if w.islower() and not w.endswith("_"))
    for at in range(0, len(words), 3):
        s, d, a = map(Parameter, (words * 2)[at : at + 3])
        padded = Tensor("x", margin=[(a, a)])
        operator = Operator(
            "pooling", y[n, q] << Max[k](padded[n, s * q + d * k - a]), inputs=(padded,), given=(k,)
        )
        for f in functions(module_source(derive(operator))):
            assert not stored(f) & {argument.arg for argument in f.args.args}, (s, d, a, f.name)
