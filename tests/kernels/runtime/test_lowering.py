"""Each primitive compiled against its meaning: every width, both types, every mask, and unoptimised too."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernels.runtime import machine_tile, maximum
from tests.kernels.runtime import primitives as p

WIDTHS = (1, 2, 4, 8, 16)
DTYPES = (np.float32, np.float64)


def usual(dtype: Any, width: int) -> bool:
    """Is it this machine's width, or the small one of exact runs? The others are left to the slow tests."""
    return width in (2, machine_tile(np.dtype(dtype)).lanes.width)


EVERY = pytest.mark.parametrize(
    ("dtype", "width"),
    [pytest.param(d, w, marks=() if usual(d, w) else pytest.mark.slow) for d in DTYPES for w in WIDTHS],
)


def both(task: Any, dtype: Any, width: int, out: Any, *values: Any, **tile: int) -> tuple[Any, Any]:
    """`out` after the compiled task and after its meaning, which start from the same contents."""
    where = p.tile_of(dtype, width, **tile)
    compiled, meant = (np.array(out, copy=True) for _ in range(2))
    p.run_compiled(task, where, (compiled, *values))
    p.run_meaning(task, where, (meant, *values))
    return compiled, meant


def same(compiled: Any, meant: Any) -> None:
    np.testing.assert_array_equal(compiled, meant)
    np.testing.assert_array_equal(np.signbit(compiled), np.signbit(meant))


@EVERY
def test_arithmetic(dtype: Any, width: int) -> None:
    rng = np.random.default_rng(width)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0]
    # small integers: every result but the quotient is exact in either type; quotients are by powers of two
    x = rng.integers(-8, 9, (3, width)).astype(dtype)
    x[1] = 2.0 ** rng.integers(-3, 4, width)
    out = np.full((16, width), 7, dtype)
    same(*both(p.arithmetic, dtype, width, out, x))
    for shift in range(len(special)):
        for other in range(len(special)):
            x[0] = np.resize(np.roll(special, shift), width)
            x[1] = np.resize(np.roll(special, other), width)
            # Python raises where IEEE divides by zero, and its NaN has no sign to compare
            keep = np.array([r for r in range(16) if r != 3])
            if (x[1] == 0).any():
                x[1, x[1] == 0] = 2
            compiled, meant = both(p.arithmetic, dtype, width, out, x)
            np.testing.assert_array_equal(compiled[keep], meant[keep])


def test_a_wrong_meaning_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    test_arithmetic(np.float32, 4)
    for name, wrong in (("minimum", maximum), ("fma", lambda a, b, c: a * b), ("select", lambda m, a, b: a)):
        monkeypatch.setattr(p, name, wrong)
        with pytest.raises(AssertionError):
            test_arithmetic(np.float32, 4)
        monkeypatch.undo()


@EVERY
def test_partial_loads_and_stores(dtype: Any, width: int) -> None:
    """Counts from -1 to beyond the width; what lies outside is neither read into the result nor written."""
    x = np.arange(1, 5 * width + 1).astype(dtype)
    for step, start in ((1, 0), (2, 1), (-1, width), (-3, 4 * width - 1), (0, 2)):
        if start + width > len(x):
            start = len(x) - width
        out = np.full((width + 3, 4, 2 * width), -5, dtype)[:, :, ::2]
        out = np.asarray(out)
        results = []
        for run in (p.run_compiled, p.run_meaning):
            base = np.full((width + 3, 5, 2 * width), -5, dtype)
            run(p.partial, p.tile_of(dtype, width), (base[:, :, :width], x, start, step))
            results.append(base)
        same(*results)


@EVERY
def test_masks_from_bits(dtype: Any, width: int) -> None:
    """Each bit alone, all others, none and all; bits beyond the lanes are nobody's."""
    x = np.arange(1, width + 1).astype(dtype)
    bits = np.array([1 << k for k in range(width)] + [-1 - (1 << k) for k in range(width)])
    compiled, meant = both(p.masked, dtype, width, np.full((2 * width, width), -5, dtype), x, bits)
    same(compiled, meant)
    np.testing.assert_array_equal(meant[:width], np.diag(x))
    np.testing.assert_array_equal(meant[width:], x - np.diag(x))


@EVERY
def test_integer_lanes(dtype: Any, width: int) -> None:
    rng = np.random.default_rng(width)
    x = rng.integers(-4, 5, (2, width))
    for step in (-2, -1, 0, 1, 3):
        out = np.full((16 + width, width), 7, dtype)
        same(*both(p.integers, dtype, width, out, np.zeros((1, 1), np.int64), x, step))


@EVERY
def test_narrow_integers(dtype: Any, width: int) -> None:
    for start, step in ((0, 1), (3, 0), (-7, 2), (5, -3), (40000, 100)):
        same(*both(p.narrow_integers, dtype, width, np.full((7, width), 7, dtype), start, step))


@EVERY
def test_lines(dtype: Any, width: int) -> None:
    """Steps 1, 2 and -1, which have ways of their own, and others; nothing beyond a line's own elements."""
    rng = np.random.default_rng(width)
    for move in (1, 2, -1, 3, -2):
        reach = abs(move) * (width - 1) + 1
        x = rng.integers(1, 3, (2, reach)).astype(dtype)
        start = 0 if move > 0 else reach - 1
        out = np.full((width + 1, 7, 3 * width + 5), -5, dtype)
        same(*both(p.lines, dtype, width, out, x, start, move))
        same(*both(p.lines, dtype, width, out, np.asarray(np.repeat(x, 2, 1)[:, ::2]), start, move))


@EVERY
def test_gathers(dtype: Any, width: int) -> None:
    """Lanes from the places of a table, side by side and apart; those that a mask leaves out are not read."""
    for move in (1, 2, -1):
        reach = abs(move) * (width - 1) + 1
        x = np.arange(2 * reach).reshape(2, reach).astype(dtype)
        start = 0 if move > 0 else reach - 1
        compiled, meant = both(
            p.gathered, dtype, width, np.full((width + 1, width), 7, dtype), x, start, move
        )
        same(meant, compiled)
        np.testing.assert_array_equal(meant[width], x[1, start::move][:width][::-1])
        assert meant[0].tolist() == [*meant[width][:-1], 0]


@EVERY
def test_permutations(dtype: Any, width: int) -> None:
    """Each lane from any place of two vectors: of one alone, of both, and the same for several."""
    rng = np.random.default_rng(width)
    x = np.arange(2 * width).reshape(2, width).astype(dtype)
    for places in (rng.integers(0, 2 * width, width), rng.integers(0, width, width), np.full(width, width)):
        out = np.full((width + 2, width), 7, dtype)
        compiled, meant = both(p.permuted, dtype, width, out, x, places)
        same(compiled, meant)
        assert meant[0].tolist() == places.tolist()
        assert meant[1:].tolist() == [[*range(k, k + width)] for k in range(width + 1)]


@EVERY
def test_elements_apart(dtype: Any, width: int) -> None:
    """Lanes some steps apart in memory, and lines that go on where an axis ends, over one end and over two."""
    for step in (1, 2, 3):
        x = np.arange(6 * (width + 2)).reshape(-1, 2, 3).astype(dtype)
        out = np.full((4 + 3, 3 * width), 7, dtype)
        same(*both(p.apart, dtype, width, out, x, step))


@EVERY
def test_pairs(dtype: Any, width: int) -> None:
    x = np.arange(2 * width).reshape(2, width).astype(dtype)
    meant, compiled = both(p.pairs, dtype, width, np.zeros((4, width), dtype), x)
    same(meant, compiled)
    assert [*meant[0], *meant[1]] == [*range(0, 2 * width, 2), *range(1, 2 * width, 2)]
    assert [*meant[2], *meant[3]] == [k + half for k in range(width) for half in (0, width)]


@EVERY
def test_columns(dtype: Any, width: int) -> None:
    """Several lines at once: as many as a tile has registers for, and with those that a few taps read more."""
    for pixels, vectors in ((2, 2), (6, 4)):
        tile = p.tile_of(dtype, width, pixels, vectors)
        lines = tile.lines + tile.taps - 1
        x = np.arange(lines * (width + 1)).reshape(lines, width + 1).astype(dtype)
        for move, apart in ((1, 1), (2, 1), (3, 2), (-1, 1)):
            reach = abs(move) * width
            out = np.full((width + 2, 2 * tile.lines, reach + width), -3, dtype)
            start = 0 if move > 0 else reach - 1
            given = out[:, :, start:] if move > 0 else out[:, :, start::-1]
            move = abs(move)
            same(*both(p.columns, dtype, width, given, x, move, apart, pixels=pixels, vectors=vectors))


REAL = {32: ((6, 2),), 64: ((6, 4),)}  # pixels and vectors of tiles, by the bytes of a vector
WINDOWS = {
    "inside": (40, 99, 3, 1, 5, 1),
    "taps apart": (60, 99, 3, 2, 2, 3),
    "over the left edge": (40, 99, 2, 1, -2, 1),
    "over the right edge": (40, 9, 2, 1, 5, 1),
    "over the upper edge": (40, 99, -2, 1, 0, 2),
    "over the lower edge": (7, 99, 1, 1, 0, 1),
    "a plane of one element": (1, 1, -1, 1, -1, 1),
    "nothing there": (5, 5, 90, 1, -200, 1),
    "far off": (5, 5, -(1 << 40), 1 << 40, -(1 << 41), 1 << 41),
}


@pytest.mark.parametrize("case", WINDOWS)
@EVERY
def test_windows(dtype: Any, width: int, case: str) -> None:
    """Every shape of a patch over a plane that lies in a larger one, whose other elements are not to be read."""
    height, length, top, step, left, across = WINDOWS[case]
    rng = np.random.default_rng(width)
    # a small tile is soon compiled; those of real machines at their width
    for pixels, vectors in ((2, 2), *REAL.get(width * np.dtype(dtype).itemsize, ())):
        tile = p.tile_of(dtype, width, pixels, vectors)
        x = rng.integers(-4, 5, (height, max(length, 3 * width + 20))).astype(dtype)
        x[:, length:] = np.nan
        w = rng.integers(-3, 4, (tile.taps + tile.lines, max(width, tile.taps))).astype(dtype)
        for count in (1, width - 1, width, width + 3):
            out = np.full((5 * tile.taps**2, tile.lines, 4 * width), -7, dtype)
            given = (out, x, w, height, length, top, step, left, across, count)
            same(*both(p.windows, dtype, width, *given, pixels=pixels, vectors=vectors))


@EVERY
def test_sums_of_a_patch(dtype: Any, width: int) -> None:
    """Of four and of nine places, fewer and more than there are lanes."""
    for pixels in (2, 3):
        x = np.random.default_rng(width).integers(-9, 9, (pixels * pixels, width)).astype(dtype)
        compiled, meant = both(p.sums_of_patch, dtype, width, np.full(12, -5, dtype), x, pixels=pixels)
        same(compiled, meant)
        np.testing.assert_array_equal(meant, [*x.sum(1), *[-5] * (12 - len(x))])


@EVERY
def test_special_values_in_lanes(dtype: Any, width: int) -> None:
    values = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0]
    for shift in range(len(values)):
        x = np.stack([np.resize(np.roll(values, shift), width), np.resize(values, width)]).astype(dtype)
        compiled, meant = both(p.special, dtype, width, np.full((4, width), 7, dtype), x)
        np.testing.assert_array_equal(compiled, meant)


@EVERY
def test_functions_of_vectors(dtype: Any, width: int) -> None:
    """As libm's of each lane: within 3 units in the last place, special values exactly."""
    rng = np.random.default_rng(width)
    info = np.finfo(dtype)
    edge = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, info.max, info.tiny, info.smallest_subnormal]
    limit = 88.72 if dtype is np.float32 else 709.78
    near = 1 + rng.normal(size=400) * 2.0 ** -rng.integers(1, 20, 400)
    values = [edge, [limit, limit + 0.1, -limit, -limit - 5, -limit - 20, -limit - 40], near, near - 1, -near,
              rng.uniform(-limit - 20, limit, 800), 10 ** rng.uniform(-37, 37, 800), rng.normal(size=800)]  # fmt: skip
    x = np.concatenate([np.asarray(v) for v in values]).astype(dtype)
    x = np.resize(x, -(-len(x) // 16) * 16)
    with np.errstate(over="ignore"):  # what float64 holds and float32 does not
        compiled, meant = both(p.functions, dtype, width, np.zeros((20, len(x)), dtype), x, len(x))
    special = ~np.isfinite(meant) | (meant == 0)
    np.testing.assert_array_equal(compiled[special], meant[special])
    np.testing.assert_array_equal(np.signbit(compiled[meant == 0]), np.signbit(meant[meant == 0]))
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.abs(compiled - meant) / np.spacing(np.abs(np.where(special, 1, meant)))
    off[special] = 0
    worst = {f.__name__: (row.max(), x[row.argmax()]) for f, row in zip(p.SCALARS, off, strict=False)}
    assert off.max() <= 3, worst


@EVERY
def test_powers_of_vectors(dtype: Any, width: int) -> None:
    """As libm's of each lane, rounded once: within a unit in the last place, every special pair exactly."""
    rng = np.random.default_rng(width)
    info = np.finfo(dtype)
    edge = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 2.5, -2.5,
            float(info.max), float(info.tiny), float(info.smallest_subnormal)]  # fmt: skip
    bases = [np.repeat(edge, len(edge)), 10 ** rng.uniform(-30, 30, 800), 1 + rng.normal(size=400) / 1000,
             -rng.integers(1, 9, 200)]  # fmt: skip
    exponents = [np.tile(edge, len(edge)), rng.uniform(-1.2, 1.2, 800), rng.normal(size=400) * 1000,
                 rng.integers(-9, 10, 200)]  # fmt: skip
    x, y = (np.concatenate(parts).astype(dtype) for parts in (bases, exponents))
    x, y = (np.resize(a, -(-len(a) // 16) * 16) for a in (x, y))
    with np.errstate(over="ignore"):  # what float64 holds and float32 does not
        compiled, meant = both(p.powers_of_vectors, dtype, width, np.zeros(len(x), dtype), x, y, len(x))
    special = ~np.isfinite(meant) | (meant == 0)
    np.testing.assert_array_equal(compiled[special], meant[special])
    np.testing.assert_array_equal(np.signbit(compiled[meant == 0]), np.signbit(meant[meant == 0]))
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.abs(compiled - meant) / np.spacing(np.abs(np.where(special, 1, meant)))
    assert off[~special].max() <= 1


@EVERY
def test_transposes(dtype: Any, width: int) -> None:
    x = np.arange(width * (width + 1)).reshape(width, width + 1).astype(dtype)
    generator = np.random.default_rng(width)
    for padded in (0, 1):
        for rows, columns in ((width, width), (width + 2, width + 5), (0, 1), (1, 0), (width - 1, width),
                              (width, width - 1), (1, width // 2), (width // 2, 1), (-1, width)):  # fmt: skip
            out = np.full((width, width + 2), -3, dtype)
            # rows in any order; what lies beyond the rows that are asked for, nobody reads
            source, target = (w * generator.permutation(width) for w in (width + 1, width + 2))
            source[max(0, rows) :], target[max(0, columns) :] = 1 << 40, 1 << 40
            source[:1], target[:1] = (0, 0) if min(rows, columns) < 1 else (source[0], target[0])
            same(*both(p.transposed, dtype, width, out, x, source, target, rows, columns, padded))


@EVERY
def test_register_tile(dtype: Any, width: int) -> None:
    for pixels, vectors in ((2, 2), (3, 1), (1, 3)):
        rng = np.random.default_rng(1)
        x = rng.integers(-5, 6, pixels + 4).astype(dtype)
        w = rng.integers(-5, 6, 5 * vectors * width).astype(dtype)
        for taps in (0, 1, 5):
            out = np.full((pixels, vectors * width + 1), 9, dtype)
            same(*both(p.registers, dtype, width, out, x, w, taps, pixels=pixels, vectors=vectors))


@pytest.mark.parametrize("dtype", DTYPES)
def test_views(dtype: Any) -> None:
    a, b = np.array(2.5, dtype), np.arange(8).astype(dtype)[::-2]
    c = np.arange(48).reshape(4, 3, 4).astype(dtype)[::-1, :, :3].transpose(2, 1, 0)
    t = np.array([[1, 0], [-4, 0], [0, 0]])[:, 0]
    out = np.zeros(15, dtype)
    same(*both(p.views, dtype, 4, out, a, b, c, t, 0.5, 2))


@pytest.mark.parametrize("dtype", DTYPES)
def test_scratch(dtype: Any) -> None:
    x = np.arange(12).reshape(3, 4).astype(dtype)
    out = np.zeros((3, 4), dtype)
    for run in (p.run_compiled, p.run_meaning):
        for task in range(3):
            run(p.backwards, p.tile_of(dtype, 4), (out, x, 4), task, 3)
        np.testing.assert_array_equal(out, x[:, ::-1])
        out[...] = 0


def test_scalars_are_float64_in_float32_kernels() -> None:
    """A read widens, a store rounds once: the sum of products below is exact in double only."""
    x = np.array([16777216, 1], np.float32)
    out = np.zeros(15, np.float32)
    c = np.zeros((2, 3, 4), np.float32)
    c[0, 1, 1] = 16777216
    p.run_compiled(p.views, p.tile_of(np.float32, 4),
                   (out, x[:1].reshape(()), np.array([1, 16777216, 3], np.float32), c,
                    np.array([1, 0, 0]), 1 + 2.0**-30, 3))  # fmt: skip
    assert out[1] == np.float32(np.float64(16777216) + 3)
    assert out[2] == np.float32(16777216 * (1 + 2.0**-30))


def test_micro_kernel_has_no_spills() -> None:
    """On this machine's own tile, the loop over steps keeps its sums in registers: P*V fused operations a step."""
    from kernels.runtime.machine import target

    tile = machine_tile(np.dtype(np.float32))
    if "+fma" not in target()[2].split(","):
        pytest.skip("counts the fused operations of x86")
    loops = innermost_loops(p.micro_kernel.assembly(np.dtype(np.float32), tile))
    multiplying = [
        loop for loop in loops if sum("vfmadd" in line for line in loop) >= tile.pixels * tile.vectors
    ]
    assert multiplying
    for loop in multiplying:
        spills = [line for line in loop if re.search(r"[yz]mm\d", line) and "(%rsp)" in line]
        assert not spills


def innermost_loops(text: str) -> list[list[str]]:
    """Lines of assembly from a label to the jump back to it, with no other label between."""
    lines, labels, found = text.splitlines(), dict[str, int](), []
    for k, line in enumerate(lines):
        if mark := re.match(r"(\.L\w+):", line):
            labels[mark[1]] = k
        jump = re.match(r"\s+j\w+\s+(\.L\w+)", line)
        if jump and jump[1] in labels and max(labels.values()) == labels[jump[1]]:
            found.append(lines[labels[jump[1]] : k + 1])
    return found


@pytest.mark.parametrize("width", [4, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("settings", [{"NUMBA_OPT": "0"}, {"NUMBA_CPU_FEATURES": "+sse2", "NUMBA_OPT": "1"}])
def test_unoptimised_and_without_vector_units(settings: dict[str, str], width: int, tmp_path: Path) -> None:
    """The same tests where LLVM does not tidy up: a stack slot of a frame that is gone would show here."""
    root = Path(__file__).parents[3]
    code = f"""
from tests.kernels.runtime import test_lowering as t
for dtype in t.DTYPES:
    t.test_arithmetic(dtype, {width})
    t.test_partial_loads_and_stores(dtype, {width})
    t.test_integer_lanes(dtype, {width})
    t.test_narrow_integers(dtype, {width})
    t.test_lines(dtype, {width})
    t.test_gathers(dtype, {width})
    t.test_permutations(dtype, {width})
    t.test_special_values_in_lanes(dtype, {width})
    t.test_functions_of_vectors(dtype, {width})
    t.test_transposes(dtype, {width})
    t.test_register_tile(dtype, {width})
    t.test_views(dtype)
    t.test_scratch(dtype)
print("done")
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True,
                            env={**os.environ, **settings, "NUMBA_CACHE_DIR": str(tmp_path)})  # fmt: skip
    assert result.stdout.strip() == "done", result.stderr
