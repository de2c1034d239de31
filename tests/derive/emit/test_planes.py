"""Windows over whole planes: grouped convolutions and their gradients, exactly, and who takes them."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from derive.language import Operator, Sum, indices, tensors
from derive.pipeline import derive
from kernels.generated import conv2d
from kernels.runtime import execute_exact

WAYS = ("y_from_w_x_slide_x_planes", "y_from_w_x_fold_x_planes", "gx_from_gy_w_slide_gy_planes")
EACH = slice(None)


def fractions(rng: random.Random, *shape: int) -> Any:
    numbers = [Fraction(rng.randint(-5, 5)) for _ in range(int(np.prod(shape)))]
    return np.array(numbers, object).reshape(shape)


def written_out(x: Any, w: Any, gy: Any, d: list[int], a: list[int]) -> dict[str, Any]:
    """y[n,g,o,p] = sum over c, k of x[n,g,c, p + d*k - a] * w[g,o,c,k], and its gradients."""
    y, gx, gw = (np.full(like.shape, Fraction(0), object) for like in (gy, x, w))
    for p, k in ((p, k) for p in np.ndindex(*gy.shape[3:]) for k in np.ndindex(*w.shape[3:])):
        q = tuple(p[i] + d[i] * k[i] - a[i] for i in range(2))
        if all(0 <= q[i] < x.shape[3 + i] for i in range(2)):
            at, there, tap = ((EACH, EACH, EACH, *place) for place in (p, q, k))
            for n, g, o, c in np.ndindex(*gy.shape[:3], x.shape[2]):
                y[n, g, o, *p] += x[n, g, c, *q] * w[g, o, c, *k]
                gx[n, g, c, *q] += gy[n, g, o, *p] * w[g, o, c, *k]
                gw[g, o, c, *k] += gy[n, g, o, *p] * x[n, g, c, *q]
    return {"y": y, "gx": gx, "gw": gw}


def test_grouped_convolutions_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows beyond every edge, of rows that are shorter than a vector or are not; and planes are what runs."""
    ran = Counter[str]()
    for name in WAYS:
        run = getattr(conv2d, name).function

        def counted(*given: Any, name: str = name, run: Any = run) -> None:
            ran[name] += 1
            run(*given)

        monkeypatch.setattr(getattr(conv2d, name), "function", counted)
    rng = random.Random(0)
    for trial in range(20):
        K, d = [rng.choice([1, 3]), 3], [rng.randint(1, 2) for _ in range(2)]
        X = [rng.randint(3, 7) for _ in range(2)]
        a = [d[0] * (K[0] // 2) + rng.randint(-1, 1) * (K[0] > 1), d[1]]  # of rows there may be more or fewer
        P = [X[0] + 2 * a[0] - d[0] * (K[0] - 1), X[1]]
        sizes = {
            "N": rng.randint(1, 2),
            "G": rng.randint(1, 2),
            "O": rng.randint(2, 3),
            "C": rng.randint(2, 3),
        }
        N, G, O, C = sizes.values()
        x, w, gy = fractions(rng, N, G, C, *X), fractions(rng, G, O, C, *K), fractions(rng, N, G, O, *P)
        named = {f"X{3 + i}": X[i] for i in range(2)}
        for i in range(2):
            for letter, value in zip("KPsda", (K, P, [1, 1], d, a), strict=True):
                named[f"{letter}{i}"] = value[i]
            named[f"e{i}"] = a[i]
        want = written_out(x, w, gy, d, a)
        for program, made in (("forward", ("y",)), ("vjp", ("gx", "gw"))):
            given = {"x": x, "w": w} | ({"gy": gy} if program == "vjp" else {})
            found = execute_exact(conv2d.DEFINITION, program, given, sizes | named, {}, made, seed=trial)
            for name in made:
                assert (found[name] == want[name]).all(), (name, sizes, named)
    assert all(ran[name] > 2 for name in WAYS), ran


def test_who_has_planes() -> None:
    """Several outputs of one operand's windows, over two axes, times a weight: nothing else."""
    n, o, c, p, q, k, l = indices("n o c p q k l")
    x, w, y = tensors("x w y")

    def has(statement: Any) -> bool:
        made = derive(Operator("windows", statement, inputs=(x, w), outputs=(y,)))
        return any("y_from_w_x_slide_x_planes" in kernel.text for kernel in made.kernels.values())

    assert has(y[n, o, p, q] << Sum[c, k, l](x[n, c, p + k, q + l] * w[o, c, k, l]))
    assert not has(y[n, c, p, q] << Sum[k, l](x[n, c, p + k, q + l] * w[c, k, l]))
    assert not has(y[n, o, p] << Sum[c, k](x[n, c, p + k] * w[o, c, k]))
    assert not has(y[n, o, p, q] << Sum[c, k, l](x[n, c, p + k, 2 * q + l] * w[o, c, k, l]))
    assert not has(y[n, o, p, q] << Sum[c, k, l](abs(x[n, c, p + k, q + l]) * w[o, c, k, l]))
