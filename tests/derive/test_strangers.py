"""Operators from the literature that nobody here had in mind, against plain loops that know nothing of equations.

The checks elsewhere take the meaning of an operator from its equations. Here it is what a paper says, written as
loops over NumPy arrays: results, and gradients by differences of those loops, so that what a reader takes the
language to mean is what it means. One compiled operator takes a second or two; a few run always, all in the slow tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from math import acos, cos, exp, log, pi, sqrt, tanh
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive import (
    Kth,
    LogSumExp,
    Max,
    Mean,
    Min,
    Operator,
    Sum,
    Tensor,
    build,
    extent,
    indices,
    maximum,
    parameters,
    reals,
    relu,
    tensors,
)

n, c, o, g, h, i, j, e, m, l, f = indices("n c o g h i j e m l f")
p, k, q = indices("p k q", 2)
x, w, y, z, a, b, u, v = tensors("x w y z a b u v")
s, d = parameters("s d", 2)
pad = parameters("pad", 2, positive=False)
reach = parameters("reach", positive=False)
eps, tau, gamma = reals("eps tau gamma", positive=True)
t, seg, off = (Tensor(name, integer=True) for name in ("t", "seg", "off"))
window = [s[axis] * p[axis] + d[axis] * k[axis] - pad[axis] for axis in range(2)]
padded = Tensor("x", margin=[(pad[0], pad[0]), (pad[1], pad[1])], outside=0)
mirrored = Tensor("x", margin=[(reach, reach), (reach, reach)], outside="reflect")
near = [q[axis] + k[axis] - reach for axis in range(2)]

Loops = Callable[..., Any]


@dataclass
class Stranger:
    operator: Operator
    loops: Loops  # of the arrays and options, by name
    arrays: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)


def drawn(*shape: int, positive: bool = False) -> np.ndarray:
    rng = np.random.default_rng(sum(shape) + 7 * len(shape))
    made = rng.standard_normal(shape)
    return np.abs(made) + 0.3 if positive else made


def at(array: np.ndarray, *place: int) -> float:
    """An element, or 0 outside."""
    return array[place] if all(0 <= r < size for r, size in zip(place, array.shape, strict=True)) else 0.0


def mirror(r: int, size: int) -> int:
    while not 0 <= r < size:
        r = -r if r < 0 else 2 * (size - 1) - r
    return r


def over(*sizes: int) -> Any:
    return itertools.product(*map(range, sizes))


# ---- convolutions whose weights are not given


def involution(x, w, s, d, pad):  # a kernel for each place, shared by the channels of a group
    N, G, C = x.shape[:3]
    K0, K1, P0, P1 = w.shape[2:]
    y = np.zeros((N, G, C, P0, P1))
    for nn, gg, cc, r0, r1, a0, a1 in over(N, G, C, P0, P1, K0, K1):
        place = s[0] * r0 + d[0] * a0 - pad[0], s[1] * r1 + d[1] * a1 - pad[1]
        y[nn, gg, cc, r0, r1] += w[nn, gg, a0, a1, r0, r1] * at(x[nn, gg, cc], *place)
    return y


def deformable(x, w, mask, oy, ox, s, d, pad):  # whole offsets, a mask for each tap
    O, C, K0, K1 = w.shape
    N, _, _, P0, P1 = mask.shape
    y = np.zeros((N, O, P0, P1))
    for nn, oo, cc, a0, a1, r0, r1 in over(N, O, C, K0, K1, P0, P1):
        here = nn, a0, a1, r0, r1
        place = s[0] * r0 + d[0] * a0 - pad[0] + oy[here], s[1] * r1 + d[1] * a1 - pad[1] + ox[here]
        y[nn, oo, r0, r1] += w[oo, cc, a0, a1] * mask[here] * at(x[nn, cc], *place)
    return y


def gabor(x, width, angle, length, reach):
    K, (N, H, W), O = 2 * reach + 1, x.shape, len(width)
    y = np.zeros((N, O, H - K + 1, W - K + 1))
    for nn, oo, r0, r1, a0, a1 in over(*y.shape, K, K):
        along = (a0 - reach) * cos(angle[oo]) + (a1 - reach) * np.sin(angle[oo])
        across = (a1 - reach) * cos(angle[oo]) - (a0 - reach) * np.sin(angle[oo])
        weight = exp(-(along**2 + across**2) / (2 * width[oo] ** 2)) * cos(2 * pi * along / length[oo])
        y[nn, oo, r0, r1] += weight * x[nn, r0 + a0, r1 + a1]
    return y


def volterra(x, w, z):
    y = np.zeros(x.shape)
    for nn, r in over(*x.shape):
        y[nn, r] = sum(w[a] * at(x[nn], r - a) for a in range(len(w)))
        y[nn, r] += sum(z[a, b] * at(x[nn], r - a) * at(x[nn], r - b) for a, b in over(*z.shape))
    return y


width, angle, length, along, across, mask = tensors("width angle length along across mask")
oy, ox = Tensor("oy", integer=True), Tensor("ox", integer=True)
OFFSETS = (drawn(2, 3, 2, 4, 3) * 2).astype(int)

# ---- images


def contrast(x, reach, eps):  # local contrast normalisation, mirrored at the border
    (N, C, H, W), K = x.shape, 2 * reach + 1
    y = np.zeros(x.shape)
    for nn, cc, r0, r1 in over(N, C, H, W):
        seen = [x[nn, cc, mirror(r0 + a0 - reach, H), mirror(r1 + a1 - reach, W)] for a0, a1 in over(K, K)]
        y[nn, cc, r0, r1] = (x[nn, cc, r0, r1] - np.mean(seen)) / sqrt(np.var(seen) + eps)
    return y


def opened(x, w):  # grey opening: an erosion, and the dilation of what is left
    N, C, H, W = x.shape
    _, K0, K1 = w.shape
    low = np.full((N, C, H - K0 + 1, W - K1 + 1), np.inf)
    for nn, cc, r0, r1, a0, a1 in over(*low.shape, K0, K1):
        low[nn, cc, r0, r1] = min(low[nn, cc, r0, r1], x[nn, cc, r0 + a0, r1 + a1] - w[cc, a0, a1])
    y = np.full(x.shape, -np.inf)
    for nn, cc, r0, r1, a0, a1 in over(*low.shape, K0, K1):
        y[nn, cc, r0 + a0, r1 + a1] = max(y[nn, cc, r0 + a0, r1 + a1], low[nn, cc, r0, r1] + w[cc, a0, a1])
    return y


def shifted(x, fold):  # a temporal shift: some channels from the next frame, some from the one before
    y = np.zeros(x.shape)
    for nn, r, cc, jj in over(*x.shape):
        frame = r + 1 if cc < fold else r - 1 if cc < 2 * fold else r
        y[nn, r, cc, jj] = at(x[nn, :, cc, jj], frame)
    return y


fold = parameters("fold")
frames = Tensor("x", margin=[(1, 1), (0, 0), (0, 0)])
eroded = Tensor("eroded", margin=[(extent(k[axis]) - 1, extent(k[axis]) - 1) for axis in range(2)])
mean, var = tensors("mean var")

# ---- attention and routing


def relative(query, key, value, bias):  # window attention with a table of relative positions
    N, H, L, C = query.shape
    y = np.zeros((N, H, L, value.shape[3]))
    for nn, hh, r in over(N, H, L):
        score = [query[nn, hh, r] @ key[nn, hh, r2] / sqrt(C) + bias[hh, r - r2 + L - 1] for r2 in range(L)]
        y[nn, hh, r] = np.exp(score) / np.exp(score).sum() @ value[nn, hh]
    return y


def rotary(x, freq):
    y = np.zeros(x.shape)
    for nn, r, cc in over(x.shape[0], x.shape[1], len(freq)):
        even, odd, angle = x[nn, r, 2 * cc], x[nn, r, 2 * cc + 1], r * freq[cc]
        y[nn, r, 2 * cc] = even * cos(angle) - odd * np.sin(angle)
        y[nn, r, 2 * cc + 1] = even * np.sin(angle) + odd * cos(angle)
    return y


def routing(x, w, b, eps):  # one step of routing between capsules: outputs, and the new logits
    votes = np.einsum("ijce,nie->nijc", w, x)
    coupling = np.exp(b) / np.exp(b).sum(2, keepdims=True)
    out, logits = np.zeros((len(x), *w.shape[1:3])), b.copy()
    for nn, jj in over(*out.shape[:2]):
        total = sum(coupling[nn, ii, jj] * votes[nn, ii, jj] for ii in range(w.shape[0]))
        length2 = total @ total
        out[nn, jj] = length2 / (1 + length2) * total / sqrt(length2 + eps)
        logits[nn, :, jj] += votes[nn, :, jj] @ out[nn, jj]
    return out, logits


query, key, value, bias, score, freq = tensors("query key value bias score freq")
votes, coupling, total, out = tensors("votes coupling total capsules")

# ---- graphs, sets, losses


def attention_on_edges(x, w, u, v, src, dst, Y):
    mixed = x @ w
    raw = [mixed[src[r]] @ u + mixed[dst[r]] @ v for r in range(len(src))]
    weight = [exp(value if value > 0 else value / 5) for value in raw]
    y = np.zeros((Y, mixed.shape[1]))
    for r, node in enumerate(dst):
        y[node] += weight[r] / sum(weight[r2] for r2 in range(len(dst)) if dst[r2] == node) * mixed[src[r]]
    return y


def bags(w, t, off):
    return np.array(
        [sum((w[t[r]] for r in range(off[k], off[k + 1])), np.zeros(w.shape[1])) for k in range(len(off) - 1)]
    )


def hardest(x, t, gamma):  # a triplet loss with the hardest positive and negative of a batch
    dist = ((x[:, None] - x[None]) ** 2).sum(2)
    rows = range(len(t))
    return np.mean(
        [
            max(0, max(dist[r, r2] for r2 in rows if t[r] == t[r2]) - min(dist[r, r2] for r2 in rows if t[r] != t[r2]) + gamma)
            for r in rows
        ]
    )  # fmt: skip


def chamfer(x, z):
    dist = ((x[:, :, None] - z[:, None]) ** 2).sum(3)
    return dist.min(2).mean(1) + dist.min(1).mean(1)


def chebyshev(x, w):  # a layer of polynomials on edges, T_m(t) = cos(m arccos t)
    y = np.zeros((len(x), len(w)))
    for nn, oo, ii, mm in over(len(x), *w.shape):
        y[nn, oo] += w[oo, ii, mm] * cos(mm * acos(tanh(x[nn, ii])))
    return y


def polynomial(x, w):  # with a term of degree 0, and places where x is 0
    return np.array([sum(w[r] * value**r for r in range(len(w))) for value in x])


def best(x, M):  # the mean of the M largest
    return np.sort(x, 1)[:, -M:].mean(1)


def spectra(x, z, gamma):  # a distance of logarithms, clamped
    return np.array(
        [
            sum(abs(max(log(r), -gamma) - log(r2)) for r, r2 in zip(*rows, strict=True))
            for rows in zip(x, z, strict=True)
        ]
    )


def powers(x, b):  # a power mean with a learned exponent, of numbers that may be 0
    return np.array(
        [
            [np.mean([abs(r) ** b[cc] for r in row]) ** (1 / b[cc]) for cc, row in enumerate(rows)]
            for rows in x
        ]
    )


src, dst = Tensor("src", integer=True), Tensor("dst", integer=True)
mixed, raw, weight, norm, dist = tensors("mixed raw weight norm dist")
softmax = sp.exp(score[n, h, i, j] - LogSumExp[l](score[n, h, i, l]))

STRANGERS: dict[str, Stranger] = {
    "involution": Stranger(
        Operator("involution", y[n, g, c, *p] << Sum[k](padded[n, g, c, *window] * w[n, g, *k, *p]), inputs=(padded, w)),
        involution,
        {"x": drawn(1, 2, 2, 5, 6), "w": drawn(1, 2, 3, 2, 4, 2)},
        {"s": (1, 4), "d": (1, 2), "pad": (1, 1)},  # a stride beyond the kernel
    ),
    "deformable": Stranger(
        Operator(
            "deformable",
            y[n, o, *p] << Sum[c, k](w[o, c, *k] * mask[n, *k, *p] * padded[n, c, window[0] + oy[n, *k, *p], window[1] + ox[n, *k, *p]]),
            inputs=(padded, w, mask, oy, ox),
        ),
        deformable,
        {"x": drawn(2, 2, 6, 5), "w": drawn(2, 2, 3, 2), "mask": drawn(2, 3, 2, 4, 3), "oy": OFFSETS, "ox": OFFSETS[::-1]},
        {"s": (1, 2), "d": (1, 2), "pad": (0, 1)},
    ),
    "gabor": Stranger(
        Operator(
            "gabor",
            along[o, *k] << (k[0] - reach) * sp.cos(angle[o]) + (k[1] - reach) * sp.sin(angle[o]),
            across[o, *k] << (k[1] - reach) * sp.cos(angle[o]) - (k[0] - reach) * sp.sin(angle[o]),
            w[o, *k] << sp.exp(-(along[o, *k] ** 2 + across[o, *k] ** 2) / (2 * width[o] ** 2)) * sp.cos(2 * sp.pi * along[o, *k] / length[o]),
            y[n, o, *p] << Sum[k](w[o, *k] * x[n, p[0] + k[0], p[1] + k[1]]),
            inputs=(x, width, angle, length), extents={k[0]: 2 * reach + 1, k[1]: 2 * reach + 1},
        ),
        gabor,
        {"x": drawn(1, 5, 4), "width": drawn(2, positive=True), "angle": drawn(2), "length": 2 + drawn(2, positive=True)},
        {"reach": 1},
    ),
    "volterra": Stranger(
        Operator("volterra", y[n, i] << Sum[j](w[j] * x[n, i - j]) + Sum[j, l](z[j, l] * x[n, i - j] * x[n, i - l]), inputs=(x, w, z), extents={i: x.size(1)}),
        volterra,
        {"x": drawn(2, 6), "w": drawn(3), "z": drawn(3, 4)},
    ),
    "contrast": Stranger(
        Operator(
            "contrast",
            mean[n, c, *q] << Mean[k](mirrored[n, c, *near]),
            var[n, c, *q] << Mean[k]((mirrored[n, c, *near] - mean[n, c, *q]) ** 2),
            y[n, c, *q] << (mirrored[n, c, *q] - mean[n, c, *q]) / sp.sqrt(var[n, c, *q] + eps),
            inputs=(mirrored,), extents={k[0]: 2 * reach + 1, k[1]: 2 * reach + 1},
        ),
        contrast,
        {"x": drawn(1, 2, 4, 3)},
        {"reach": 2, "eps": 0.1},
    ),
    "opened": Stranger(
        Operator(
            "opened",
            eroded[n, c, *p] << Min[k](x[n, c, p[0] + k[0], p[1] + k[1]] - w[c, *k]),
            y[n, c, *q] << Max[k](eroded[n, c, q[0] - k[0], q[1] - k[1]] + w[c, *k]),
            inputs=(x, w), extents={q[0]: x.size(2), q[1]: x.size(3)},
        ),
        opened,
        {"x": drawn(1, 2, 5, 4), "w": drawn(2, 2, 3)},
    ),
    "shifted": Stranger(
        Operator(
            "shifted",
            y[n, i, c, j] << Sum[e](frames[n, i + e - 1, c, j], sp.Or(sp.And(c < fold, sp.Eq(e, 2)), sp.And(c >= fold, c < 2 * fold, sp.Eq(e, 0)), sp.And(c >= 2 * fold, sp.Eq(e, 1)))),
            inputs=(frames,), extents={e: 3},
        ),
        shifted,
        {"x": drawn(2, 4, 5, 3)},
        {"fold": 2},
    ),
    "relative": Stranger(
        Operator(
            "relative",
            score[n, h, i, j] << Sum[c](query[n, h, i, c] * key[n, h, j, c]) / sp.sqrt(extent(c)) + bias[h, i - j + extent(j) - 1],
            y[n, h, i, e] << Sum[j](softmax * value[n, h, j, e]),
            inputs=(query, key, value, bias),
        ),
        relative,
        {"query": drawn(1, 2, 4, 3), "key": drawn(1, 2, 4, 3)[..., ::-1], "value": drawn(1, 2, 4, 2), "bias": drawn(2, 7)},
    ),
    "rotary": Stranger(
        Operator(
            "rotary",
            y[n, i, 2 * c] << x[n, i, 2 * c] * sp.cos(i * freq[c]) - x[n, i, 2 * c + 1] * sp.sin(i * freq[c]),
            y[n, i, 2 * c + 1] << x[n, i, 2 * c] * sp.sin(i * freq[c]) + x[n, i, 2 * c + 1] * sp.cos(i * freq[c]),
            inputs=(x, freq),
        ),
        rotary,
        {"x": drawn(2, 3, 6), "freq": drawn(3)},
    ),
    "routing": Stranger(
        Operator(
            "routing",
            votes[n, i, j, c] << Sum[e](w[i, j, c, e] * x[n, i, e]),
            coupling[n, i, j] << sp.exp(b[n, i, j] - LogSumExp[m](b[n, i, m])),
            total[n, j, c] << Sum[i](coupling[n, i, j] * votes[n, i, j, c]),
            norm[n, j] << Sum[c](total[n, j, c] ** 2),
            out[n, j, c] << norm[n, j] / (1 + norm[n, j]) * total[n, j, c] / sp.sqrt(norm[n, j] + eps),
            y[n, i, j] << b[n, i, j] + Sum[c](votes[n, i, j, c] * out[n, j, c]),
            inputs=(x, w, b), outputs=(out, y),
        ),
        routing,
        {"x": drawn(2, 3, 2), "w": drawn(3, 2, 2, 2), "b": drawn(2, 3, 2)},
        {"eps": 0.01},
    ),
    "attention_on_edges": Stranger(
        Operator(
            "attention_on_edges",
            mixed[i, o] << Sum[c](x[i, c] * w[c, o]),
            raw[m] << Sum[o](mixed[src[m], o] * u[o]) + Sum[o](mixed[dst[m], o] * v[o]),
            weight[m] << sp.exp(sp.Piecewise((raw[m], raw[m] > 0), (raw[m] / 5, True))),
            norm[i] << Sum[m](weight[m], sp.Eq(dst[m], i)),
            y[dst[m], o] << weight[m] / norm[dst[m]] * mixed[src[m], o],
            inputs=(x, w, u, v, src, dst), extents={i: x.size(0)},
        ),
        attention_on_edges,
        {"x": drawn(3, 2), "w": drawn(2, 2), "u": drawn(2), "v": drawn(2)[::-1], "src": np.array([0, 2, 1, 1, 0]), "dst": np.array([0, 1, 2, 0, 2])},
        {"Y": 3},
    ),
    "bags": Stranger(
        Operator("bags", y[n, e] << Sum[i](w[t[i], e], i >= off[n], i < off[n + 1]), inputs=(w, t, off), extents={n: off.size(0) - 1}),
        bags,
        {"w": drawn(4, 3), "t": np.array([3, 0, 0, 2, 1]), "off": np.array([0, 2, 2, 5])},  # one is empty
    ),
    "hardest": Stranger(
        Operator(
            "hardest",
            dist[i, j] << Sum[c]((x[i, c] - x[j, c]) ** 2),
            y[()] << Mean[i](relu(Max[j](dist[i, j], sp.Eq(t[i], t[j])) - Min[j](dist[i, j], sp.Ne(t[i], t[j])) + gamma)),
            inputs=(x, t),
        ),
        hardest,
        {"x": drawn(5, 3), "t": np.array([0, 1, 0, 2, 1])},
        {"gamma": 0.5},
    ),
    "chamfer": Stranger(
        Operator("chamfer", dist[n, i, j] << Sum[c]((x[n, i, c] - z[n, j, c]) ** 2), y[n] << Mean[i](Min[j](dist[n, i, j])) + Mean[j](Min[i](dist[n, i, j])), inputs=(x, z)),
        chamfer,
        {"x": drawn(2, 4, 3), "z": drawn(2, 5, 3)},
    ),
    "chebyshev": Stranger(
        Operator("chebyshev", y[n, o] << Sum[i, m](w[o, i, m] * sp.cos(m * sp.acos(sp.tanh(x[n, i])))), inputs=(x, w)),
        chebyshev,
        {"x": drawn(2, 3), "w": drawn(2, 3, 4)},
    ),
    "polynomial": Stranger(
        Operator("polynomial", y[n] << Sum[m](w[m] * x[n] ** m), inputs=(x, w)),
        polynomial,
        {"x": np.array([0.0, 1.0, -2.0, 0.5]), "w": drawn(4)},
    ),
    "best": Stranger(Operator("best", y[n] << Sum[m](Kth[i](x[n, i], extent(i) - 1 - m)) / extent(m), inputs=(x,), given=m), best, {"x": drawn(2, 6)}, {"M": 3}),
    "spectra": Stranger(
        Operator("spectra", y[n] << Sum[i](sp.Abs(maximum(sp.log(x[n, i]), -gamma) - sp.log(z[n, i]))), inputs=(x, z)),
        spectra,
        {"x": drawn(3, 4, positive=True), "z": drawn(3, 4, positive=True)[:, ::-1] + 0.1},
        {"gamma": 0.4},
    ),
    "powers": Stranger(
        Operator("powers", y[n, c] << Mean[i](sp.Abs(x[n, c, i]) ** b[c]) ** (1 / b[c]), inputs=(x, b)),
        powers,
        {"x": drawn(2, 2, 4) * np.array([1, 0, 1, 1]), "b": np.array([2.0, 3.5])},
    ),
}  # fmt: skip

QUICK = {"involution", "bags", "polynomial", "spectra", "powers"}  # to compile


def several(value: Any) -> tuple[np.ndarray, ...]:
    return tuple(np.asarray(v) for v in (value if isinstance(value, tuple) else (value,)))


def spread(array: np.ndarray) -> np.ndarray:
    """The same numbers, the last axis farthest apart, with room between them."""
    room = np.zeros(tuple(2 * size for size in array.shape[::-1]), array.dtype).T
    room[tuple(slice(None, None, 2) for _ in array.shape)] = array
    return room[tuple(slice(None, None, 2) for _ in array.shape)]


@pytest.mark.parametrize(
    "name", [pytest.param(k, marks=() if k in QUICK else pytest.mark.slow) for k in STRANGERS]
)
def test_as_the_loops(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results and gradients, of arrays side by side and of strewn ones, in both types."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    stranger = STRANGERS[name]
    live, options = build(stranger.operator), stranger.options
    wanted = several(stranger.loops(**stranger.arrays, **options))
    rng = np.random.default_rng(0)
    cotangents = [rng.standard_normal(v.shape) for v in wanted]

    def along(arrays: dict[str, Any]) -> float:
        made = several(stranger.loops(**arrays, **options))
        return sum(float((g * v).sum()) for g, v in zip(cotangents, made, strict=True))

    for arrays in (stranger.arrays, {k: spread(v) for k, v in stranger.arrays.items()}):
        found, pullback = live.vjp(*arrays.values(), **options)
        for have, want in zip(several(found), wanted, strict=True):
            np.testing.assert_allclose(have, want, rtol=1e-10, atol=1e-12)
        gradients = pullback(*cotangents)
        for argument, gradient in zip(arrays, gradients, strict=True):
            if gradient is None:  # integers have none
                assert stranger.arrays[argument].dtype.kind == "i"
                continue
            for place in np.ndindex(gradient.shape):
                sides = []
                for step in (1e-6, -1e-6):
                    moved = stranger.arrays[argument].copy()
                    moved[place] += step
                    sides.append(along(stranger.arrays | {argument: moved}))
                slope = (sides[0] - sides[1]) / 2e-6
                assert gradient[place] == pytest.approx(slope, rel=1e-5, abs=1e-6), (argument, place)
            if arrays is not stranger.arrays:
                break  # the loops are slow, and one array says whether strides matter
    single = [v.astype(np.float32) if v.dtype.kind == "f" else v for v in stranger.arrays.values()]
    for have, want in zip(several(live(*single, **options)), wanted, strict=True):
        assert have.dtype == np.float32
        np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-4)
