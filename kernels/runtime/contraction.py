"""What every contraction shares: the register-blocked micro-kernel over two offset tables, and its blocking.

    out[row, column] = sum over steps of  a[rows[row] + steps[step]] * panel[step, column]

The structure is BLIS's: one operand is packed in panels as wide as the register tile, the other is read
through tables of offsets, so that stride, dilation and kernel size are data; nothing is compiled per shape.
Each block of steps starts from zero and is added to the block's buffer, which bounds the length of a chain of
roundings. Accumulation is in the dtype of the arrays.
"""

from __future__ import annotations

from kernels.runtime.compile import kernel
from kernels.runtime.simd import IntegerScratch, Scratch, Tile, fma


@kernel
def row_block(tile: Tile) -> int:
    """Rows whose sums are kept together."""
    return 8 * tile.pixels


@kernel
def step_block(tile: Tile) -> int:
    """Steps that one chain of additions spans."""
    return 2 * tile.channels


@kernel
def suits(tile: Tile, rows: int, columns: int, steps: int) -> bool:
    """Are there rows enough to fill a register tile, and sums to keep in it? (Else plain loops do less work.)

    Few columns waste most of a panel, and still a panel of one is faster than a scalar loop.
    """
    return rows >= tile.pixels and columns >= 1 and steps >= 2


@kernel
def product(
    tile: Tile,
    a: Scratch,
    rows: IntegerScratch,
    steps: IntegerScratch,
    count: int,
    panel: Scratch,
    out: Scratch,
    add: bool,
) -> None:
    """One tile of rows: out[row, :] (+)= sum over steps of a[rows[row] + steps[step]] * panel[step, :]."""
    lanes = tile.lanes
    acc = tile.registers()
    w = tile.row()
    for p in range(tile.pixels):
        for v in range(tile.vectors):
            acc[p, v] = lanes.zero()
    for t in range(count):
        at = a + steps[t]
        for v in range(tile.vectors):
            w[0, v] = lanes.load(panel + (t * tile.channels + v * lanes.width))
        for p in range(tile.pixels):
            value = lanes.fill(at[rows[p]])
            for v in range(tile.vectors):
                acc[p, v] = fma(value, w[0, v], acc[p, v])
    for p in range(tile.pixels):
        for v in range(tile.vectors):
            o = out + (p * tile.channels + v * lanes.width)
            if add:
                acc[p, v] = acc[p, v] + lanes.load(o)
            lanes.store(o, acc[p, v])


@kernel
def block_product(
    tile: Tile,
    a: Scratch,
    rows: IntegerScratch,
    count: int,
    steps: IntegerScratch,
    length: int,
    panel: Scratch,
    out: Scratch,
) -> None:
    """`count` rows (rounded up to whole tiles) by one panel of columns, all steps."""
    for t in range(0, max(1, length), step_block(tile)):  # without any step the sums are zero
        n = min(step_block(tile), length - t)
        for r in range(0, count, tile.pixels):
            product(
                tile, a, rows + r, steps + t, n, panel + t * tile.channels, out + r * tile.channels, t > 0
            )
