"""Small operators with programs in plain NumPy, and a `prepare` that runs them: no compiler, no engine.

It asserts the contract between the two layers: what `prepare` is given has the shapes, the types and the
names that the definition says; what is run on lies at the addresses, aligned, and cleared where that was asked.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.runtime.definition import Condition, Definition, Parameter, Program, Tensor
from kernels.runtime.execute import Place

Array = np.ndarray[Any, np.dtype[Any]]
Meaning = Callable[..., dict[str, Array]]
MEANINGS: dict[str, Mapping[str, Meaning]] = {}


@dataclass
class Prepared:
    meaning: Meaning
    given: Mapping[str, Place]
    wanted: Mapping[str, Place]
    inputs: tuple[str, ...]
    environment: Mapping[str, int]
    reals: Mapping[str, float]

    @property
    def zeroed(self) -> tuple[bool, ...]:
        return (True,) * len(self.wanted)

    def run(self, memories: Sequence[Array]) -> None:
        places = {**self.given, **self.wanted}
        addresses = [array.ctypes.data for array in memories]
        found = {name: at(*pair) for (name, *pair) in zip(places, addresses, places.values(), strict=True)}
        arrays = {name: found[name].copy() if name in self.given else None for name in self.inputs}
        results = self.meaning(arrays, self.environment, self.reals)
        for name in self.wanted:
            assert not found[name].any(), f"{name} is not cleared"
            found[name][...] = results[name]


def at(address: int, place: Place) -> Array:
    """The array that lies there."""
    item = place.dtype.itemsize
    assert address % place.dtype.alignment == 0
    reach = [
        (n - 1) * s * item if 0 not in place.shape else 0
        for n, s in zip(place.shape, place.strides, strict=True)
    ]
    low = sum(r for r in reach if r < 0)
    size = sum(map(abs, reach)) + item
    memory = (ctypes.c_char * size).from_address(address + low)
    return np.ndarray(place.shape, place.dtype, memory, -low, [s * item for s in place.strides])


def prepare(
    definition: Definition,
    program_name: str,
    given: Mapping[str, Place],
    environment: Mapping[str, int],
    reals: Mapping[str, float],
    wanted: Mapping[str, Place],
    dtype: Any = np.float64,
) -> Prepared:
    program = definition.programs[program_name]
    assert set(given) <= set(program.inputs)
    assert set(wanted) <= set(program.outputs)
    for name in program.inputs:
        assert (
            name in given
            or definition.tensor(name).optional
            or name not in definition.programs["forward"].inputs
        )
    for name, place in [*given.items(), *wanted.items()]:
        tensor = definition.tensor(name)
        shape = tuple(environment[n] if isinstance(n, str) else n for n in tensor.shape)
        assert place.shape == shape, (name, place.shape, shape)
        assert place.dtype == (np.int64 if tensor.integer else dtype)
    return Prepared(
        MEANINGS[definition.name][program_name], given, wanted, program.inputs, environment, reals
    )


def zero(array: Array | None, like: Array) -> Array:
    return np.zeros_like(like) if array is None else array


def define(
    name: str,
    tensors: tuple[Tensor, ...],
    inputs: str,
    outputs: str,
    meanings: Mapping[str, Meaning],
    parameters: tuple[Parameter, ...] = (),
    sizes: Callable[..., dict[str, int]] = lambda **_: {},
    conditions: tuple[Condition, ...] = (),
) -> Definition:
    """A definition with all five programs, named as generated modules name them."""
    table = {t.name: t for t in tensors}
    real = [n for n in inputs if not table[n].integer]
    results = [n for n in outputs if not table[n].integer]
    more = [Tensor(p + n, table[n].shape) for n in real for p in ("g", "t", "h", "hg", "tg")]
    more += [Tensor(p + n, table[n].shape) for n in results for p in ("g", "t", "hg", "tg")]

    def named(prefix: str, names: list[str]) -> tuple[str, ...]:
        return tuple(prefix + n for n in names)

    backward = (*inputs, *named("g", results))
    programs = {
        "forward": Program(tuple(inputs), tuple(outputs), ()),
        "vjp": Program(backward, named("g", real), ()),
        "jvp": Program((*inputs, *named("t", real)), named("t", results), ()),
        "vjp_vjp": Program((*backward, *named("hg", real)), (*named("h", real), *named("hg", results)), ()),
        "vjp_jvp": Program((*backward, *named("t", real), *named("tg", results)), named("tg", real), ()),
    }
    MEANINGS[name] = meanings
    return Definition(
        name=name,
        formula=f"{name} of {', '.join(inputs)}",
        latex=f"\\mathrm{{{name}}}",
        tensors=(*tensors, *more),
        parameters=parameters,
        sizes=sizes,
        conditions=conditions,
        programs=programs,
    )


# Every s-th row of x, each entry weighted, with an offset:  y[p,m] = alpha * x[s*p,m] * w[m] + b[m].


def rows_forward(t: dict[str, Any], e: Mapping[str, int], r: Mapping[str, float]) -> dict[str, Array]:
    y = r["alpha"] * t["x"][:: e["s0"]] * t["w"]
    return {"y": y if t["b"] is None else y + t["b"]}


def rows_vjp(t: dict[str, Any], e: Mapping[str, int], r: Mapping[str, float]) -> dict[str, Array]:
    gx, gy = np.zeros_like(t["x"]), zero(t["gy"], t["x"][:: e["s0"]])
    gx[:: e["s0"]] = r["alpha"] * gy * t["w"]
    return {"gx": gx, "gw": r["alpha"] * (gy * t["x"][:: e["s0"]]).sum(0), "gb": gy.sum(0)}


def rows_jvp(t: dict[str, Any], e: Mapping[str, int], r: Mapping[str, float]) -> dict[str, Array]:
    x, tx = t["x"][:: e["s0"]], zero(t["tx"], t["x"])[:: e["s0"]]
    return {"ty": r["alpha"] * (tx * t["w"] + x * zero(t["tw"], t["w"])) + zero(t["tb"], t["w"])}


def rows_vjp_vjp(t: dict[str, Any], e: Mapping[str, int], r: Mapping[str, float]) -> dict[str, Array]:
    """L = <hgx, gx> + <hgw, gw> + <hgb, gb>"""
    s, alpha = e["s0"], r["alpha"]
    x, gy = t["x"][::s], zero(t["gy"], t["x"][::s])
    hgx, hgw = zero(t["hgx"], t["x"])[::s], zero(t["hgw"], t["w"])
    hx = np.zeros_like(t["x"])
    hx[::s] = alpha * gy * hgw
    hgy = alpha * (hgx * t["w"] + x * hgw) + zero(t["hgb"], t["w"])
    return {"hx": hx, "hw": alpha * (gy * hgx).sum(0), "hb": np.zeros_like(t["w"]), "hgy": hgy}


def rows_vjp_jvp(t: dict[str, Any], e: Mapping[str, int], r: Mapping[str, float]) -> dict[str, Array]:
    s, alpha = e["s0"], r["alpha"]
    x, gy = t["x"][::s], zero(t["gy"], t["x"][::s])
    tx, tw, tgy = zero(t["tx"], t["x"])[::s], zero(t["tw"], t["w"]), zero(t["tgy"], gy)
    tgx = np.zeros_like(t["x"])
    tgx[::s] = alpha * (tgy * t["w"] + gy * tw)
    return {"tgx": tgx, "tgw": alpha * (tgy * x + gy * tx).sum(0), "tgb": tgy.sum(0)}


ROWS = define(
    "rows",
    (
        Tensor("x", ("N", "M")),
        Tensor("w", ("M",)),
        Tensor("b", ("M",), optional=True),
        Tensor("y", ("P", "M")),
    ),
    "xwb",
    "y",
    {
        "forward": rows_forward,
        "vjp": rows_vjp,
        "jvp": rows_jvp,
        "vjp_vjp": rows_vjp_vjp,
        "vjp_jvp": rows_vjp_jvp,
    },
    parameters=(
        Parameter("s0", minimum=1, group="s", default=1),
        Parameter("alpha", real=True, default=1.0),
    ),
    sizes=lambda *, N, s0, **_: {"P": (N - 1) // s0 + 1},
    conditions=(Condition("N", 1, "x[s*p, m] needs a row"),),
)

# Rows by number: two outputs, one of them integer.  y[n,m] = w[t[n],m],  i[n] = t[n] + 1.


def pick_vjp(t: dict[str, Any], e: Mapping[str, int], r: Mapping[str, float]) -> dict[str, Array]:
    gw = np.zeros_like(t["w"])
    np.add.at(gw, t["t"], zero(t["gy"], t["w"][t["t"]]))
    return {"gw": gw}


PICK = define(
    "pick",
    (
        Tensor("w", ("R", "M")),
        Tensor("t", ("N",), integer=True, below="R"),
        Tensor("y", ("N", "M")),
        Tensor("i", ("N",), integer=True),
    ),
    "wt",
    "yi",
    {
        "forward": lambda t, e, r: {"y": t["w"][t["t"]], "i": t["t"] + 1},
        "vjp": pick_vjp,
        "jvp": lambda t, e, r: {"ty": zero(t["tw"], t["w"])[t["t"]]},
        "vjp_vjp": lambda t, e, r: {"hgy": zero(t["hgw"], t["w"])[t["t"]], "hw": np.zeros_like(t["w"])},
        "vjp_jvp": lambda t, e, r: {"tgw": pick_vjp({**t, "gy": t["tgy"]}, e, r)["gw"]},
    },
)

# Two real outputs of one input, the second a scalar.  y[n] = (s0 + 10*s1) * x[n],  z[()] = sum[n] x[n].


def sums_vjp(t: dict[str, Any], e: Mapping[str, int], r: Mapping[str, float]) -> dict[str, Array]:
    return {
        "gx": zero(t["gy"], t["x"]) * (e["s0"] + 10 * e["s1"]) + zero(t["gz"], np.zeros((), t["x"].dtype))
    }


SUMS = define(
    "sums",
    (Tensor("x", ("N",)), Tensor("y", ("N",)), Tensor("z", ())),
    "x",
    "yz",
    {
        "forward": lambda t, e, r: {"y": t["x"] * (e["s0"] + 10 * e["s1"]), "z": t["x"].sum()},
        "vjp": sums_vjp,
        "jvp": lambda t, e, r: {
            "ty": zero(t["tx"], t["x"]) * (e["s0"] + 10 * e["s1"]),
            "tz": zero(t["tx"], t["x"]).sum(),
        },
        "vjp_vjp": lambda t, e, r: {
            "hx": np.zeros_like(t["x"]),
            "hgy": zero(t["hgx"], t["x"]) * (e["s0"] + 10 * e["s1"]),
            "hgz": zero(t["hgx"], t["x"]).sum(),
        },
        "vjp_jvp": lambda t, e, r: {"tgx": sums_vjp({**t, "gy": t["tgy"], "gz": t["tgz"]}, e, r)["gx"]},
    },
    parameters=(Parameter("s0", minimum=1, group="s"), Parameter("s1", minimum=1, group="s")),
)
