"""A small operator as a generated module would have it: conv1d with bias, a choice of channels, a mean.

y[n,o,p] = sum[c,k] x[n,c,q]*w[o,c,k] + b[o]     { s*p + d*k - a = q }
z[n]     = half * sum[p] y[n,t[n],p]
m[()]    = sum[n,o,p] y[n,o,p] / (N*O*P)
"""

from __future__ import annotations

from kernels.runtime import (
    ABI,
    Definition,
    Integer1,
    Parameter,
    Phase,
    Program,
    Real0,
    Real1,
    Real2,
    Real3,
    Scratch,
    Tensor,
    Tile,
    ceil_div,
    floor_div,
    rational,
    require_abi,
    residue,
    share,
    task,
    zero,
)

require_abi(ABI, __name__)


@task
def y_from_x_w(
    y: Real3, x: Real3, w: Real3, N: int, O: int, P: int, C: int, K: int, X: int, s: int, d: int, a: int,
    add: int, task: int, tasks: int,
) -> None:  # fmt: skip
    """y[n,o,p] = sum[c,k] x[n,c,s*p+d*k-a] * w[o,c,k]"""
    first, last = share(N * O * P, task, tasks)
    for item in range(first, last):
        n, o, p = item // (O * P), item // P % O, item % P
        total = zero()
        for c in range(C):
            for k in range(max(0, ceil_div(a - s * p, d)), min(K, floor_div(X - 1 + a - s * p, d) + 1)):
                total += x[n, c, s * p + d * k - a] * w[o, c, k]
        if add:
            total += y[n, o, p]
        y[n, o, p] = total


@task
def y_from_b(y: Real3, b: Real1, N: int, O: int, P: int, add: int, task: int, tasks: int) -> None:
    """y[n,o,p] = b[o]"""
    first, last = share(N * O, task, tasks)
    for item in range(first, last):
        n, o = item // O, item % O
        for p in range(P):
            total = b[o]
            if add:
                total += y[n, o, p]
            y[n, o, p] = total


@task
def z_from_y_t(
    z: Real1, y: Real3, t: Integer1, N: int, P: int, half: float, add: int, task: int, tasks: int
) -> None:
    """z[n] = half * sum[p] y[n,t[n],p]"""
    first, last = share(N, task, tasks)
    for n in range(first, last):
        total = zero()
        for p in range(P):
            total += half * y[n, t[n], p]
        if add:
            total += z[n]
        z[n] = total


@task
def m_from_y(m: Real0, y: Real3, N: int, O: int, P: int, add: int, task: int, tasks: int) -> None:
    """m[()] = sum[n,o,p] y[n,o,p] / (N*O*P)"""
    first, last = share(1, task, tasks)
    for _ in range(first, last):
        total = zero()
        for n in range(N):
            for o in range(O):
                for p in range(P):
                    total += y[n, o, p]
        total *= rational(1, N * O * P)
        if add:
            total += m[()]
        m[()] = total


@task
def gx_gather(
    gx: Real3, gy: Real3, w: Real3, N: int, C: int, X: int, O: int, K: int, P: int, s: int, d: int, a: int,
    add: int, task: int, tasks: int,
) -> None:  # fmt: skip
    """gx[n,c,q] = sum[o,k] gy[n,o,p] * w[o,c,k]   { s*p = q + a - d*k }"""
    first, last = share(N * C * X, task, tasks)
    for item in range(first, last):
        n, c, q = item // (C * X), item // X % C, item % X
        total = zero()
        k0, step = residue(s, d, q + a)
        if step > 0:
            for k in range(k0, min(K, floor_div(q + a, d) + 1), step):
                p = (q + a - d * k) // s
                if p < P:
                    for o in range(O):
                        total += gy[n, o, p] * w[o, c, k]
        if add:
            total += gx[n, c, q]
        gx[n, c, q] = total


@task
def gx_scatter(
    gx: Real3, gy: Real3, w: Real3, N: int, C: int, X: int, O: int, K: int, P: int, s: int, d: int, a: int,
    task: int, tasks: int,
) -> None:  # fmt: skip
    """gx[n,c,s*p+d*k-a] += gy[n,o,p] * w[o,c,k], planes (n, c) in parallel; always adds"""
    first, last = share(N * C, task, tasks)
    for item in range(first, last):
        n, c = item // C, item % C
        for o in range(O):
            for p in range(P):
                for k in range(max(0, ceil_div(a - s * p, d)), min(K, floor_div(X - 1 + a - s * p, d) + 1)):
                    gx[n, c, s * p + d * k - a] += gy[n, o, p] * w[o, c, k]


def one_row(tile: Tile, N: int, O: int, P: int) -> int:
    return -(-P // tile.lanes.width) * tile.lanes.width


@task(scratch=one_row)
def gb_by_vectors(
    gb: Real1,
    gy: Real3,
    N: int,
    O: int,
    P: int,
    tile: Tile,
    scratch: Scratch,
    add: int,
    task: int,
    tasks: int,
) -> None:
    """gb[o] = sum[n,p] gy[o,n,p]: its axes in this order, the last one contiguous or copied"""
    lanes = tile.lanes
    first, last = share(O, task, tasks)
    for o in range(first, last):
        total = zero()
        for n in range(N):
            row = gy.pointer(o, n)
            for p in range(0, P, lanes.width):
                lanes.store(scratch + p, lanes.load_every(row + p * gy.stride(2), gy.stride(2), P - p))
            for p in range(0, P, lanes.width):
                total += lanes.sum(lanes.load(scratch + p))
        if add:
            total += gb[o]
        gb[o] = total


@task
def transpose(out: Real2, x: Real2, A: int, B: int, add: int, task: int, tasks: int) -> None:
    """out[a,b] = x[a,b], told to see x with its axes exchanged"""
    first, last = share(A, task, tasks)
    for a in range(first, last):
        for b in range(B):
            out[a, b] = x[a, b] + (out[a, b] if add else 0)


def sizes(N: int, C: int, X: int, O: int, K: int, s: int, d: int, a: int) -> dict[str, int]:
    return {"P": (X + 2 * a - d * (K - 1) - 1) // s + 1}


_Y = ("N", "O", "P", "C", "K", "X", "s", "d", "a")
_GX = ("N", "C", "X", "O", "K", "P", "s", "d", "a")
DEFINITION = Definition(
    name="handwritten",
    formula="",
    latex="",
    tensors=(
        Tensor("x", ("N", "C", "X")),
        Tensor("w", ("O", "C", "K")),
        Tensor("b", ("O",), optional=True),
        Tensor("t", ("N",), integer=True, below="O"),
        Tensor("y", ("N", "O", "P")),
        Tensor("z", ("N",)),
        Tensor("m", ()),
        Tensor("gy", ("N", "O", "P")),
        Tensor("gx", ("N", "C", "X")),
        Tensor("gx2", ("N", "C", "X")),
        Tensor("gb", ("O",)),
        Tensor("unused", ("N", 2)),
        Tensor("v", ("N", "C")),
        Tensor("vt", ("C", "N")),
    ),
    parameters=(
        Parameter("s", minimum=1),
        Parameter("d", minimum=1),
        Parameter("a", minimum=0),
        Parameter("half", real=True),
    ),
    sizes=sizes,
    conditions=(),
    programs={
        "forward": Program(
            ("x", "w", "b", "t"),
            ("y", "z", "m"),
            (
                Phase(y_from_x_w, ("y", "x", "w"), _Y, linear=("x", "w")),
                Phase(y_from_b, ("y", "b"), ("N", "O", "P"), linear=("b",)),
                Phase(z_from_y_t, ("z", "y", "t"), ("N", "P"), ("half",), linear=("y",)),
                Phase(m_from_y, ("m", "y"), ("N", "O", "P"), linear=("y",)),
            ),
        ),
        "vjp": Program(
            ("x", "w", "b", "gy"),
            ("gx", "gx2", "gb", "unused"),
            (
                Phase(gx_gather, ("gx", "gy", "w"), _GX, linear=("gy", "w")),
                Phase(gx_scatter, ("gx2", "gy", "w"), _GX, covers=False, linear=("gy", "w")),
                Phase(gb_by_vectors, ("gb", "gy"), ("N", "O", "P"), axes=((), (1, 0, 2)), linear=("gy",)),
            ),
        ),
        "twice": Program(
            ("v",), ("vt",), (Phase(transpose, ("vt", "v"), ("C", "N"), axes=((), (1, 0))),) * 2
        ),
        "after scatter": Program(
            ("x", "w", "b", "gy"),
            ("gx",),
            (
                Phase(gx_scatter, ("gx", "gy", "w"), _GX, covers=False, linear=("gy", "w")),
                Phase(gx_gather, ("gx", "gy", "w"), _GX, linear=("gy", "w")),
            ),
        ),
        "optional": Program(
            ("b", "v"),
            ("gb",),
            (Phase(gb_by_vectors, ("gb", "y"), ("N", "O", "P"), axes=((), (1, 0, 2))),),
        ),
    },
)
