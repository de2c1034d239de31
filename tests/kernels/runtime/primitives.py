"""Tasks that do one primitive after another, each into a row of its own; run interpreted and compiled."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kernels.runtime import (
    Integer1,
    Integer2,
    IntegerScratch,
    Lanes,
    Real0,
    Real1,
    Real2,
    Real3,
    Scratch,
    Task,
    Tile,
    absolute,
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atanh,
    contraction,
    cos,
    cosh,
    equal,
    erf,
    erfc,
    exp,
    expm1,
    fma,
    highest,
    kernel,
    log,
    log1p,
    lowest,
    maximum,
    minimum,
    one,
    pi,
    power,
    rational,
    real,
    residue,
    select,
    share,
    sign,
    sin,
    sinh,
    sqrt,
    tan,
    tanh,
    task,
    unequal,
    zero,
)
from kernels.runtime.compile import float_word
from kernels.runtime.execute import view_of
from kernels.runtime.simd import UNWRITTEN, Memory, Pointer
from kernels.runtime.simd import Scalar as Number


@task
def arithmetic(out: Real2, x: Real2, tile: Tile, task: int, tasks: int) -> None:
    """Row r of out: operation r of the rows of x."""
    lanes = tile.lanes
    a, b, c = lanes.load(x.pointer(0)), lanes.load(x.pointer(1)), lanes.load(x.pointer(2))
    lanes.store(out.pointer(0), a + b)
    lanes.store(out.pointer(1), a - b)
    lanes.store(out.pointer(2), a * b)
    lanes.store(out.pointer(3), a / b)
    lanes.store(out.pointer(4), -a)
    lanes.store(out.pointer(5), fma(a, b, c))
    lanes.store(out.pointer(6), maximum(a, b))
    lanes.store(out.pointer(7), minimum(a, b))
    lanes.store(out.pointer(8), select(a < b, a, c))
    lanes.store(out.pointer(9), select(a <= b, a, c))
    lanes.store(out.pointer(10), select(a > b, a, c))
    lanes.store(out.pointer(11), select(a >= b, a, c))
    lanes.store(out.pointer(12), lanes.zero())
    lanes.store(out.pointer(13), lanes.fill(x[0, 0]))
    lanes.store(out.pointer(14), lanes.fill(3))
    out[15, 0] = lanes.sum(c)


@task
def partial(out: Real3, x: Real1, start: int, step: int, tile: Tile, task: int, tasks: int) -> None:
    """out[k, r]: the first k-1 lanes, loaded and stored in way r; x is read from `start` on."""
    lanes = tile.lanes
    p = x.pointer() + start
    whole = lanes.load(p)
    for k in range(lanes.width + 3):
        count = k - 1
        lanes.store(out.pointer(k, 0), lanes.load_first(p, count))
        lanes.store_first(out.pointer(k, 1), whole, count)
        lanes.store(out.pointer(k, 2), lanes.load_every(p, step, count))
        lanes.store_every(out.pointer(k, 3), out.stride(2), whole, count)


@task
def masked(out: Real2, x: Real1, places: Integer1, tile: Tile, task: int, tasks: int) -> None:
    """out[k]: the lanes of x whose bits places[k] has, zeros in others."""
    lanes = tile.lanes
    for k in range(2 * lanes.width):
        lanes.store(out.pointer(k), lanes.load_where(x.pointer(), lanes.bits(places[k])))


@task
def integers(out: Real2, places: Integer2, x: Integer2, step: int, tile: Tile, task: int, tasks: int) -> None:
    """Integer lanes and the masks they make: each row of out is 1 where a mask holds, or integers as scalars."""
    lanes = tile.lanes
    a, b = lanes.read(x.line((0, 0), (0, 1))), lanes.read(x.line((1, 0), (0, 1)))
    no, yes = lanes.zero(), lanes.fill(1)
    lanes.store(out.pointer(0), lanes.real(a + b))
    lanes.store(out.pointer(1), lanes.real(a - b))
    lanes.store(out.pointer(2), lanes.real(a * b))
    lanes.store(out.pointer(3), lanes.real(-a))
    lanes.store(out.pointer(4), select(equal(a, b), yes, no))
    lanes.store(out.pointer(5), select(unequal(a, b), yes, no))
    lanes.store(out.pointer(6), select((a < b) | (a >= lanes.integers(3)), yes, no))
    lanes.store(out.pointer(7), select((a <= b) & ~(a > lanes.integers(-3)), yes, no))
    lanes.store(out.pointer(8), lanes.real(select(lanes.where(step > 0), a, lanes.ramp(step, 2))))
    lanes.store(out.pointer(9), lanes.real(lanes.ramp(3, step)))
    out[10, 0] = lanes.item(a, lanes.width - 1)
    for k in range(lanes.width + 3):
        lanes.store(out.pointer(11 + k), select(lanes.within(k - 2, step, lanes.width), yes, no))
    lanes.store(out.pointer(14 + lanes.width), lanes.real(a + lanes.integers(3)))
    lanes.store(out.pointer(15 + lanes.width), select(lanes.within(0, step, -1), yes, no))


@task
def narrow_integers(out: Real2, start: int, step: int, tile: Tile, task: int, tasks: int) -> None:
    """Rows of out: narrow integers as scalars, and 1 where a mask holds."""
    lanes = tile.lanes
    no, yes = lanes.zero(), lanes.fill(1)
    u, v = lanes.narrow_ramp(start, step), lanes.narrow_integers(step)
    lanes.store(out.pointer(0), lanes.real(lanes.long(u)))
    lanes.store(out.pointer(1), lanes.real(lanes.long(u + v * v - lanes.narrow_ramp(step, -2))))
    lanes.store(out.pointer(2), lanes.real(lanes.long(-v)))
    lanes.store(out.pointer(3), select((u < v) | equal(u, lanes.narrow_integers(3)), yes, no))
    lanes.store(out.pointer(4), lanes.real(lanes.long(select(u < v, u, v + lanes.narrow_integers(2)))))
    column = tile.narrow_column()
    for k in range(tile.lines):
        column[0, k] = v - lanes.narrow_integers(k)
    lanes.store(out.pointer(5), lanes.real(lanes.long(column[0, tile.lines - 1])))
    out[6, 0] = 1.0 if lanes.some(equal(u, lanes.narrow_integers(3))) else 0.0


@task
def lines(out: Real3, x: Real2, start: int, move: int, tile: Tile, task: int, tasks: int) -> None:
    """out[k, r]: a line of x under the mask of the first k lanes, read whole, read and written in way r."""
    lanes = tile.lanes
    whole = lanes.read(x.line((0, start), (0, move)))
    for k in range(lanes.width + 1):
        odd = equal(lanes.ramp(k, 1) * lanes.ramp(k, 1), lanes.ramp(k, 1) + lanes.integers(2))
        lanes.store(out.pointer(k, 0), lanes.read_where(x.line((0, start), (0, move)), lanes.first(k)))
        lanes.store(out.pointer(k, 1), lanes.read_where(x.line((1, start), (0, move)), ~lanes.first(k) | odd))
        lanes.write_where(out.line((k, 2, 0), (0, 0, 1)), whole, lanes.first(k))
        lanes.write_where(out.line((k, 3, 0), (0, 0, 2)), whole, ~lanes.first(k))
        lanes.write_where(out.line((k, 4, 0), (0, 0, 3)), whole, lanes.first(k))
        lanes.write_where(out.line((k, 5, lanes.width), (0, 0, -1)), whole, lanes.first(k))
    out[0, 6, 0] = lanes.largest(whole)
    out[0, 6, 1] = lanes.smallest(whole)
    out[0, 6, 2] = lanes.product(whole)
    column = tile.wide_column()
    column[0, 0] = lanes.wide_zero()
    column[0, tile.lines - 1] = lanes.wide_zero() + lanes.widen(whole)
    out[0, 6, 3] = lanes.sum(column[0, tile.lines - 1])
    out[0, 6, 4] = lanes.item(whole, 0)


def one_vector(tile: Tile, start: int, move: int) -> int:
    return tile.lanes.width


@task(integer_scratch=one_vector)
def gathered(
    out: Real2,
    x: Real2,
    start: int,
    move: int,
    integer_scratch: IntegerScratch,
    tile: Tile,
    task: int,
    tasks: int,
) -> None:
    """out[k]: lanes from places along a line of x that a table has, the last first; of all lanes but every k-th."""
    lanes = tile.lanes
    for i in range(lanes.width):
        integer_scratch[i] = lanes.width - 1 - i
    steps = lanes.load_narrow(integer_scratch)
    for k in range(lanes.width + 1):
        mask = unequal(steps, lanes.narrow_integers(k))
        lanes.store(out.pointer(k), lanes.gather(x.line((1, start), (0, move)), steps, mask))


@task
def permuted(out: Real2, x: Real2, places: Integer1, tile: Tile, task: int, tasks: int) -> None:
    """out[k]: lanes of two rows of x, from those places on, k further and round again."""
    lanes = tile.lanes
    a, b = lanes.load(x.pointer(0)), lanes.load(x.pointer(1))
    lanes.store(out.pointer(0), lanes.permute(a, b, lanes.load_narrow(places.pointer())))
    for k in range(lanes.width + 1):
        lanes.store(out.pointer(1 + k), lanes.permute(a, b, lanes.narrow_ramp(k, 1)))


@task
def apart(out: Real2, x: Real3, step: int, tile: Tile, task: int, tasks: int) -> None:
    """Rows of out: lanes from and to places some steps apart, whole numbers, and a run over the ends of x's rows."""
    lanes = tile.lanes
    v = lanes.load_apart(x.pointer(), step)
    lanes.store(out.pointer(0), v)
    lanes.store_apart(out.pointer(1), step, v, lanes.fill(-2))
    u = lanes.narrow(lanes.real(lanes.narrow_ramp(step, -3)))
    lanes.store(out.pointer(2), lanes.real(u))
    lanes.store(out.pointer(3), lanes.read(x.run((0, 0, 1), (0, 0, step))))
    lanes.write_where(out.run((4, 0), (0, step)), v, lanes.first(lanes.width))


@task
def pairs(out: Real2, x: Real2, tile: Tile, task: int, tasks: int) -> None:
    """Rows of out: two rows of x as one line, every second lane of it; and their lanes in turn."""
    lanes = tile.lanes
    a, b = lanes.load(x.pointer(0)), lanes.load(x.pointer(1))
    lanes.store(out.pointer(0), lanes.evens(a, b))
    lanes.store(out.pointer(1), lanes.odds(a, b))
    lanes.store(out.pointer(2), lanes.first_pairs(a, b))
    lanes.store(out.pointer(3), lanes.last_pairs(a, b))


@task
def columns(out: Real3, x: Real2, move: int, apart: int, tile: Tile, task: int, tasks: int) -> None:
    """out[k, u]: a column of x under the mask of the first k lanes; x's rows loaded and added up at the end."""
    lanes = tile.lanes
    column = tile.load_column(x.pointer(), x.stride(0))
    for k in range(lanes.width + 1):
        rows = min(k, tile.lines)  # as many rows as lanes: none, some and all
        tile.write_where(out.lines((k, 0, 0), (0, 0, move), (0, apart, 0)), column, rows, lanes.first(k))
        there = tile.read_where(out.lines((k, 0, 0), (0, 0, move), (0, apart, 0)), rows, lanes.first(k))
        for u in range(tile.lines):
            there[0, u] = there[0, u] + column[0, u]
        tile.write_where(out.lines((k, 0, 0), (0, 0, move), (0, apart, 0)), there, rows, lanes.first(k))
    span = tile.load_span(x.pointer(), x.stride(0))
    total = tile.column()
    for u in range(tile.lines):
        total[0, u] = lanes.zero()
    for more in range(tile.taps):
        for u in range(tile.lines):
            total[0, u] = total[0, u] + span[0, u + more]
    every = out.lines((lanes.width + 1, 0, 0), (0, 0, 1), (0, apart, 0))
    tile.write_where(every, total, tile.lines, lanes.where(True))


@task
def windows(
    out: Real3,
    x: Real2,
    w: Real2,
    height: int,
    length: int,
    top: int,
    step: int,
    left: int,
    across: int,
    count: int,
    tile: Tile,
    task: int,
    tasks: int,
) -> None:
    """out[k]: what windows of one patch add up to, for each shape that a patch has; and over their places.

    Rows and elements outside height and length are none, whatever x holds there.
    """
    lanes = tile.lanes
    column = tile.column()
    for u in range(tile.lines):
        column[0, u] = lanes.load(w.pointer(tile.taps + u))
    at = 0
    for down in range(1, tile.taps + 1):
        for over in range(1, tile.taps + 1):
            # of one row, or of one column, it does not matter how far the next is
            by = step if down > 1 else 2 * step + 1
            twos = 2 * step if down > 1 else step + 1
            near = 1 if over > 1 else across
            total, other = tile.column(), tile.column()
            for u in range(tile.lines):
                total[0, u] = lanes.fill(1)
                other[0, u] = lanes.zero()
            tile.slide(
                total,
                w.pointer(),
                w.stride(0),
                w.stride(1),
                down,
                over,
                x.pointer(),
                x.stride(0),
                height,
                length,
                top,
                by,
                step,
                left,
                across,
            )
            tile.slide_twos(
                other,
                w.pointer(down - 1, over - 1),
                -w.stride(0),
                -w.stride(1),
                down,
                over,
                x.pointer(),
                x.stride(0),
                height,
                length,
                top,
                twos,
                step,
                left,
                near,
            )
            tile.write_where(
                out.lines((at, 0, 0), (0, 0, 1), (0, 1, 0)), total, tile.lines, lanes.where(True)
            )
            tile.write_pairs(
                out.lines((at + 1, 0, 0), (0, 0, 1), (0, 1, 0)),
                total,
                other,
                min(count, tile.lines),
                count + 1,
            )
            tile.write_pairs(
                out.lines((at + 2, 0, 0), (0, 0, 2), (0, 1, 0)),
                other,
                total,
                tile.lines,
                2 * lanes.width - count,
            )
            first, second = tile.patch(), tile.patch()
            for below in range(tile.taps):
                for beside in range(tile.taps):
                    first[below, beside] = lanes.fill(2)
                    second[below, beside] = lanes.zero()
            rows = min(count, tile.lines)
            tile.fold(
                first, column, rows, count, down, over, x.pointer(), x.stride(0), height, length, top, by, step,
                left, across
            )  # fmt: skip
            tile.fold_twos(
                second, column, rows, count, down, over, x.pointer(), x.stride(0), height, length, top, twos,
                step, left, near
            )  # fmt: skip
            for below in range(tile.taps):
                for beside in range(tile.taps):
                    lanes.store(out.pointer(at + 3, below, beside * lanes.width), first[below, beside])
                    lanes.store(out.pointer(at + 4, below, beside * lanes.width), second[below, beside])
            at += 5


@task
def sums_of_patch(out: Real1, x: Real2, tile: Tile, task: int, tasks: int) -> None:
    """out: the sums of the rows of x, one for each place of a patch; no element beyond."""
    patch = tile.patch()
    for below in range(tile.taps):
        for beside in range(tile.taps):
            patch[below, beside] = tile.lanes.load(x.pointer(below * tile.taps + beside))
    tile.store_sums(out.pointer(), patch)


@task
def functions(out: Real2, x: Real1, n: int, tile: Tile, task: int, tasks: int) -> None:
    """Row r of out: function r of vectors. The order is that of SCALARS, without the signs."""
    lanes = tile.lanes
    for i in range(0, n, lanes.width):
        v = lanes.read(x.line((i,), (1,)))
        lanes.store(out.pointer(0, i), exp(v))
        lanes.store(out.pointer(1, i), expm1(v))
        lanes.store(out.pointer(2, i), log(v))
        lanes.store(out.pointer(3, i), log1p(v))
        lanes.store(out.pointer(4, i), sqrt(v))
        lanes.store(out.pointer(5, i), sin(v))
        lanes.store(out.pointer(6, i), cos(v))
        lanes.store(out.pointer(7, i), tan(v))
        lanes.store(out.pointer(8, i), asin(v))
        lanes.store(out.pointer(9, i), acos(v))
        lanes.store(out.pointer(10, i), atan(v))
        lanes.store(out.pointer(11, i), sinh(v))
        lanes.store(out.pointer(12, i), cosh(v))
        lanes.store(out.pointer(13, i), tanh(v))
        lanes.store(out.pointer(14, i), asinh(v))
        lanes.store(out.pointer(15, i), acosh(v))
        lanes.store(out.pointer(16, i), atanh(v))
        lanes.store(out.pointer(17, i), erf(v))
        lanes.store(out.pointer(18, i), erfc(v))
        lanes.store(out.pointer(19, i), absolute(v))


@task
def powers_of_vectors(out: Real1, x: Real1, y: Real1, n: int, tile: Tile, task: int, tasks: int) -> None:
    lanes = tile.lanes
    for i in range(0, n, lanes.width):
        lanes.store(out.pointer(i), power(lanes.read(x.line((i,), (1,))), lanes.read(y.line((i,), (1,)))))


@task
def special(out: Real2, x: Real2, tile: Tile, task: int, tasks: int) -> None:
    """Comparisons and folds of NaN, infinity and signed zero."""
    lanes = tile.lanes
    a, b = lanes.load(x.pointer(0)), lanes.load(x.pointer(1))
    lanes.store(out.pointer(0), select(equal(a, b), a, lanes.fill(5)))
    lanes.store(out.pointer(1), select(unequal(a, b), a, lanes.fill(5)))
    out[2, 0] = lanes.largest(a)
    out[3, 0] = lanes.smallest(a)


@task
def transposed(
    out: Real2,
    x: Real2,
    x_rows: Integer1,
    out_rows: Integer1,
    rows: int,
    columns: int,
    padded: int,
    tile: Tile,
    task: int,
    tasks: int,
) -> None:
    lanes = tile.lanes
    source, target = x_rows.pointer(), out_rows.pointer()
    lanes.soon_read(x.pointer())
    lanes.soon_written(out.pointer() + 1000000)  # a hint: nothing lies there
    if padded == 1:
        lanes.transpose_padded(x.pointer(), source, rows, columns, out.pointer(), target)
    else:
        lanes.transpose(x.pointer(), source, rows, columns, out.pointer(), target)


@kernel
def product(tile: Tile, x: Number, w: Number, taps: int, out: Number, step: int) -> None:
    """out[p, :] = sum over t of x[p + t] * w[t, :], the micro-kernel of a contraction."""
    lanes = tile.lanes
    acc = tile.registers()
    row = tile.row()
    for p in range(tile.pixels):
        for v in range(tile.vectors):
            acc[p, v] = lanes.zero()
    for t in range(taps):
        for v in range(tile.vectors):
            row[0, v] = lanes.load(w + (t * tile.channels + v * lanes.width))
        for p in range(tile.pixels):
            value = lanes.fill(x[p + t])
            for v in range(tile.vectors):
                acc[p, v] = fma(value, row[0, v], acc[p, v])
    for p in range(tile.pixels):
        for v in range(tile.vectors):
            lanes.store(out + (p * step + v * lanes.width), acc[p, v])


@task
def registers(out: Real2, x: Real1, w: Real1, taps: int, tile: Tile, task: int, tasks: int) -> None:
    product(tile, x.pointer(), w.pointer(), taps, out.pointer(), out.stride(0))


@task
def micro_kernel(
    out: Real1, a: Real1, panel: Real1, t: Integer1, count: int, tile: Tile, task: int, tasks: int
) -> None:
    """One tile of every contraction: rows, steps and rows of the result from tables."""
    rows, steps, out_rows = t.pointer(), t.pointer(tile.pixels), t.pointer(tile.pixels + count)
    contraction.product(
        tile,
        a.pointer(),
        rows,
        steps,
        count,
        panel.pointer(),
        tile.channels,
        out.pointer(),
        out_rows,
        tile.channels,
        False,
    )


@task
def views(
    out: Real1, a: Real0, b: Real1, c: Real3, t: Integer1, half: float, n: int, task: int, tasks: int
) -> None:
    """Every kind of index, and what mixes with what."""
    out[0] = a[()]
    out[1] = b[1] + n
    out[2] = c[0, 1, t[0]] * half
    out[3] = t[1]
    out[4] = n
    out[5] = (c.pointer(0, 1) + n)[t[2]]
    out[6] = c.stride(0) * 100 + c.stride(1) * 10 + c.stride(2)
    p = out.pointer(7)
    p[0] = b.pointer(2)[0]
    p[t[0]] = maximum(a[()], b[0])
    p[2] = fma(a[()], b[0], half)
    out[10] = 1.0 if a[()] < b[0] else 2.0
    out[10] += n // 2 + n % 2
    u = x_squared(b[2])
    out[11] = u
    first, last = share(7, 1, n)
    out[12] = 10 * first + last
    first, step = residue(6, 4, n)
    out[13] = 10 * first + step
    out[14] = minimum(a[()], b[0])


@kernel
def x_squared(x: Number) -> Number:
    return x**2


def room(tile: Tile, n: int) -> int:
    return n


@task(scratch=room, integer_scratch=room)
def backwards(
    out: Real2, x: Real2, n: int, scratch: Scratch, integer_scratch: IntegerScratch, task: int, tasks: int
) -> None:
    """out[r] = x[r] reversed, by way of private memory; row r belongs to task r."""
    for i in range(n):
        integer_scratch[i] = n - 1 - i
    for i in range(n):
        scratch[integer_scratch[i]] = x[task, i]
    for i in range(n):
        out[task, i] = scratch[i]


@task
def scalars(out: Real2, x: Real1, n: int, task: int, tasks: int) -> None:
    """Column r of out: function r of x. The order is that of SCALARS."""
    for i in range(n):
        u = x[i]
        out[i, 0] = exp(u)
        out[i, 1] = expm1(u)
        out[i, 2] = log(u)
        out[i, 3] = log1p(u)
        out[i, 4] = sqrt(u)
        out[i, 5] = sin(u)
        out[i, 6] = cos(u)
        out[i, 7] = tan(u)
        out[i, 8] = asin(u)
        out[i, 9] = acos(u)
        out[i, 10] = atan(u)
        out[i, 11] = sinh(u)
        out[i, 12] = cosh(u)
        out[i, 13] = tanh(u)
        out[i, 14] = asinh(u)
        out[i, 15] = acosh(u)
        out[i, 16] = atanh(u)
        out[i, 17] = erf(u)
        out[i, 18] = erfc(u)
        out[i, 19] = sign(u)
        out[i, 20] = absolute(u)


SCALARS = (
    exp, expm1, log, log1p, sqrt, sin, cos, tan, asin, acos, atan, sinh, cosh, tanh, asinh, acosh, atanh, erf,
    erfc, sign, absolute,
)  # fmt: skip


@task
def powers(out: Real2, x: Real1, p: Real1, n: int, m: int, task: int, tasks: int) -> None:
    for i in range(n):
        for j in range(m):
            out[i, j] = power(x[i], p[j])


@task
def constants(out: Real1, n: int, task: int, tasks: int) -> None:
    out[0] = zero()
    out[1] = one()
    out[2] = real(n)
    out[3] = rational(1, n)
    out[4] = lowest()
    out[5] = highest()
    out[6] = pi()
    out[7] = exp(n)
    out[8] = power(n, 3)
    out[9] = sign(n)


# ---- how to run one


def tile_of(dtype: Any, width: int, pixels: int = 2, vectors: int = 2) -> Tile:
    return Tile(Lanes(width, np.dtype(dtype).type), pixels, vectors)


def run_compiled(t: Task[...], tile: Tile, values: Sequence[Any], task: int = 0, tasks: int = 1) -> None:
    """Call the compiled task once; arrays for views, numbers for the others, in order."""
    dtype = np.dtype(tile.lanes.scalar)  # type: ignore[call-overload]
    given = iter(values)
    words: list[int] = []
    alive = []
    for a in t.arguments:
        if a.ndim is not None:
            array = next(given)
            assert array.ndim == a.ndim
            words += [array.ctypes.data, *(s // array.itemsize for s in array.strides)]
        elif a.kind in ("int", "add"):
            words.append(next(given))
        elif a.kind == "float":
            words.append(float_word(next(given)))
        elif a.kind in ("scratch", "integer_scratch"):
            alive.append(np.empty(64 * tasks, dtype if a.kind == "scratch" else np.int64))
            words += [alive[-1].ctypes.data, 64]
    record = np.array(words, np.int64)
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)
    kind(t.address(dtype, tile))(record.ctypes.data, task, tasks)


def run_meaning(
    t: Task[...],
    tile: Tile,
    values: Sequence[Any],
    task: int = 0,
    tasks: int = 1,
    writable: Sequence[str] = (),
) -> None:
    """Interpret it on the same arrays: floats in checked memories, results rounded to the array's type.

    The first view is written, and so may those be that are named.
    """
    given = iter(values)
    arguments: list[Any] = []
    written = None
    for a in t.arguments:
        if a.ndim is not None:
            array = next(given)
            real_array = array.dtype != np.int64
            view = view_of(a.name, array, float if real_array else int, float if real_array else int)
            if written is None:
                written = array, view
            view.memory.writable = written[1] is view or a.name in writable
            arguments.append(view)
        elif a.kind == "tile":
            arguments.append(replace(tile, lanes=Lanes(tile.lanes.width, float)))
        elif a.kind in ("scratch", "integer_scratch"):
            scalar = float if a.kind == "scratch" else int
            memory: Memory[Any] = Memory(a.name, [UNWRITTEN] * 64, scalar=scalar)
            arguments.append(Pointer(memory))
        elif a.kind in ("task", "tasks"):
            arguments.append(task if a.kind == "task" else tasks)
        else:
            arguments.append(next(given))
    t(*arguments)
    assert written is not None
    array, view = written
    for index, at in view.places():
        array[index] = view.memory.cells[at]
