"""Nothing but multiply-adds in a register tile: what the micro-kernel could do if all else were free."""

from __future__ import annotations

import numpy as np

from kernels.runtime import (
    Definition,
    Parameter,
    Phase,
    Program,
    Real2,
    Tensor,
    Tile,
    execute,
    fma,
    machine_tile,
    share,
    task,
)


@task
def probe(
    out: Real2, a: Real2, w: Real2, R: int, T: int, add: int, tile: Tile, task: int, tasks: int
) -> None:
    """out[r,p,:] = sum[t] a[r,t,p] * w[r,t,:], R times over: row r is one thread's own."""
    lanes = tile.lanes
    first, last = share(tasks, task, tasks)
    for row in range(first, last):
        acc = tile.registers()
        panel = tile.row()
        for p in range(tile.pixels):
            for v in range(tile.vectors):
                acc[p, v] = lanes.zero()
        left = a.pointer(row)
        right = w.pointer(row)
        for _ in range(R):
            for t in range(T):
                for v in range(tile.vectors):
                    panel[0, v] = lanes.load(right + (t * tile.channels + v * lanes.width))
                for p in range(tile.pixels):
                    value = lanes.fill(left[t * tile.pixels + p])
                    for v in range(tile.vectors):
                        acc[p, v] = fma(value, panel[0, v], acc[p, v])
        target = out.pointer(row)
        for p in range(tile.pixels):
            for v in range(tile.vectors):
                lanes.store(target + (p * tile.channels + v * lanes.width), acc[p, v])


def sizes(**given: int) -> dict[str, int]:
    return given


DEFINITION = Definition(
    name="probe",
    formula="",
    latex="",
    tensors=(Tensor("out", ("rows", "O")), Tensor("a", ("rows", "A")), Tensor("w", ("rows", "W"))),
    parameters=(Parameter("R"), Parameter("T")),
    sizes=sizes,
    conditions=(),
    programs={"forward": Program(("a", "w"), ("out",), (Phase(probe, ("out", "a", "w"), ("R", "T")),))},
)


def run_probe(dtype: str, threads: int, steps: int, repeats: int) -> int:
    """Run it on so many threads; how many floating-point operations that were."""
    tile = machine_tile(np.dtype(dtype))
    # ones, so that every sum is an integer below 2^24 and float32 holds it exactly
    a = np.ones((threads, steps * tile.pixels), dtype)
    w = np.ones((threads, steps * tile.channels), dtype)
    extents = {"rows": threads, "O": tile.pixels * tile.channels, "A": a.shape[1], "W": w.shape[1]}
    environment = {**extents, "R": repeats, "T": steps}
    found = execute(
        DEFINITION,
        "forward",
        {"a": a, "w": w},
        environment,
        {},
        ("out",),
        dtype=np.dtype(dtype),
        tasks=threads,
    )["out"]
    if not (found == repeats * steps).all():
        raise AssertionError(f"the probe computed {found.ravel()[:3]}, not {repeats * steps}")
    return 2 * threads * tile.pixels * tile.channels * steps * repeats
