"""What a box holds, found in the equations: the cases that matter for windows, tiles and blocks."""

from __future__ import annotations

from importlib import import_module
from math import gcd
from typing import Any

import pytest

from derive.catalogue import operators
from derive.verify.box import FROM_ONE, POINTS, Box, axes, box
from derive.verify.configuration import work


def made(name: str) -> Box:
    operator = next(o for o in operators() if o.name == name)
    return box(operator, import_module(f"kernels.generated.{name}").DEFINITION)


def test_the_axes_of_a_convolution_are_found_in_its_equations() -> None:
    found = {frozenset(axis) for axis in made("conv2d").axes}
    assert {frozenset(f"{letter}{m}" for letter in "Kades") | {f"X{3 + m}"} for m in (0, 1)} <= found
    assert {frozenset(name) for name in "NGCO"} <= found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("linear", [("N",), ("I",), ("O",)]),
        ("adaptive_max_pool2d", [("N",), ("C",), ("Q0", "P0"), ("Q1", "P1")]),  # joined by a condition
        ("cross_entropy", [("N",), ("C",), ("R",)]),  # a target is no place of an axis of its own
    ],
)
def test_axes(name: str, expected: list[tuple[str, ...]]) -> None:
    operator = next(o for o in operators() if o.name == name)
    assert list(axes(operator, import_module(f"kernels.generated.{name}").DEFINITION)) == expected


def test_windows_of_every_kind() -> None:
    found = made("conv1d")
    seen: dict[str, int] = {}
    pairs, residues = set(), set()
    for c in found.combinations:
        s, d, a, taps, length = c["s0"], c["d0"], c["a0"], c["K0"], c["X3"]
        reach = d * (taps - 1) + 1
        last = (length + a + c["e0"] - reach) // s * s - a + reach - 1  # the last place that a window reads
        pairs.add((s, d))
        residues |= {(s, (x + a) % s) for x in range(length)}
        for what, holds in {
            "divisor": gcd(s, d) > 1, "stride": s > reach, "padding": a >= taps, "tail": last < length - 1,
            "both ends": a and c["e0"], "one tap": taps == 1, "bias": c["without b"] == 0, "no bias": c["without b"] == 1,
        }.items():  # fmt: skip
            seen[what] = seen.get(what, 0) + bool(holds)
    assert pairs == {(s, d) for s in FROM_ONE for d in FROM_ONE}
    assert residues == {(s, r) for s in FROM_ONE for r in range(s)}
    assert min(seen.values()) > 20, seen


def test_it_begins_with_every_pair_of_values() -> None:
    found = made("conv1d")

    def pairs(of: Any) -> set[Any]:
        return {(a, b) for c in of for a in c.items() for b in c.items() if a < b}

    assert len(pairs(found.combinations[:60])) > 0.95 * len(pairs(found.combinations))


def test_small_boxes_hold_every_combination_and_large_ones_those_of_each_axis() -> None:
    small, large = made("linear"), made("conv2d")
    assert small.whole
    assert len(small) == 5**3 * 2
    assert not large.whole
    for axis in (("X3", "K0", "a0", "d0", "e0", "s0"), ("X4", "K1", "a1", "d1", "e1", "s1")):
        assert len({tuple(c[n] for n in axis) for c in large.combinations}) > 800


def test_configurations_are_allowed_and_little_work() -> None:
    found = made("conv2d")
    for number in range(12):
        configuration = found.configuration(number)
        assert configuration is not None
        points = work(found.operator, configuration.shapes, configuration.integers)
        most = POINTS[number % len(POINTS)]
        assert points <= most or all(configuration.environment[n] == 1 for n in "NGCO")
        assert all(configuration.environment[p] >= 1 for p in ("P0", "P1"))
        again = found.configuration(number)
        assert again == configuration
