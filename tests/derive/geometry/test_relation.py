"""Index maps of single operators: what no engine file was told the name of."""

from __future__ import annotations

from fractions import Fraction

import pytest

from derive.geometry.reach import Band, Reach, composed, everywhere, united, unmoved
from derive.geometry.relation import cost, reaches
from derive.translate import to_program
from examples import zoo

F = Fraction
CONV = {"N": 1, "C": 2, "X2": 20, "O": 3, "J": 5, "step": 2, "gap": 1, "before": 2, "after": 2}


@pytest.mark.parametrize(
    ("spec", "environment", "axis", "expected"),
    [
        # a transposed convolution of stride 2 and 3 taps reads one place or two
        (
            zoo.conv_transpose2d,
            {"N": 1, "C": 2, "P0": 8, "P1": 8, "O": 3, "K0": 3, "K1": 3}
            | dict.fromkeys(("s0", "s1"), 2)
            | dict.fromkeys(("d0", "d1", "a0", "a1", "more0", "more1"), 1),
            2,
            (F(1, 2), F(-1, 2), F(1, 2)),
        ),
        (zoo.reflect_conv1d, CONV, 2, (2, -2, 2)),
        (zoo.symmetric_conv1d, CONV, 2, (2, -2, 2)),
        (zoo.replicate_conv1d, CONV, 2, (2, -2, 2)),
        (zoo.circular_conv1d, CONV, 2, (2, -2, 2)),
        (zoo.mean_conv1d, CONV | {"Q": 20}, 2, (2, -2, 2)),
        (zoo.adaptive_avg_pool1d, {"N": 1, "C": 2, "Q": 13, "H": 6}, 2, (F(13, 6), F(-5, 6), 2)),
        (zoo.adaptive_avg_pool1d, {"N": 1, "C": 2, "Q": 12, "H": 6}, 2, (2, 0, 1)),
        (zoo.upsample1d, {"N": 1, "C": 2, "X2": 13, "step": 3}, 2, (F(1, 3), F(-2, 3), 0)),
        (zoo.causal_conv1d, {"N": 1, "C": 2, "X2": 20, "O": 3, "H": 4, "gap": 2}, 2, (1, -6, 0)),
        (zoo.median_pool, {"N": 4, "X1": 20, "J": 3, "step": 2}, 1, (2, 0, 2)),
        (zoo.pixel_shuffle, {"N": 1, "X1": 18, "P0": 4, "P1": 5, "step": 3}, 2, (F(1, 3), F(-2, 3), 0)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_bands(spec, environment, axis, expected):
    program = to_program(spec)
    (found,) = reaches(program, environment, [program.outputs[0].name]).values()
    (band,) = found["x"][axis].bands
    assert (band.jump, band.low, band.high) == expected


def test_a_mean_over_the_plane_is_read_beside_ones_own_place():
    program = to_program(zoo.batch_norm)
    found = reaches(program, {"N": 2, "C": 3, "Q": 20}, ["y"])["y"]["x"]
    assert [len(r.bands) for r in found] == [2, 1, 2]
    assert found[2].all_of(20)
    assert found[2].band((0, 0, 0)) == Band((F(0), F(0), F(1)), F(0), F(0))


def test_operations_of_a_strided_gradient_are_those_that_it_does():
    """Of the 4 x 4 taps of a transposed convolution a stride of 2 leaves 2 x 2 at each place."""
    program = to_program(zoo.conv_transpose2d)
    environment = {"N": 1, "C": 2, "P0": 8, "P1": 8, "O": 3, "K0": 4, "K1": 4}
    environment |= dict.fromkeys(("s0", "s1"), 2) | dict.fromkeys(("d0", "d1", "a0", "a1"), 1)
    environment |= {"more0": 0, "more1": 0}
    assert cost(program, environment, ["y"]) == 3 * 16 * 16 * 2 * (2 * 2) * 2


def test_what_only_moves_numbers_costs_nothing():
    assert cost(to_program(zoo.pixel_shuffle), {"N": 1, "X1": 18, "P0": 4, "P1": 5, "step": 3}, ["y"]) == 0


# ------------------------------------------------------------------------------------------ algebra


def band(slope: int, low: int, high: int) -> Reach:
    return Reach((Band((F(slope),), F(low), F(high)),))


def test_composition():
    assert composed((band(2, -1, 1),), (band(3, -2, 0),), 1) == (band(6, -5, 3),)
    assert composed((band(2, -1, 2),), (band(-1, 0, 0),), 1) == (
        band(-2, -2, 1),
    )  # flipped: ends change places
    assert composed((everywhere(1, 5),), (band(2, -1, 1),), 1) == (band(0, -1, 9),)
    assert composed(unmoved(2), unmoved(2), 2) == unmoved(2)


def test_union():
    assert united((band(2, -1, 1),), (band(2, -3, 3),)) == (band(2, -3, 3),)
    (apart,) = united((band(2, -1, 1),), (band(2, 0, 2),))
    assert apart.misaligned
    assert apart.bands == band(2, -1, 2).bands
    (both,) = united((band(2, -1, 1),), (band(1, 0, 0),))
    assert both.misaligned
    (beside,) = united((band(2, -1, 1),), (everywhere(1, 9),))
    assert not beside.misaligned
    assert beside.all_of(9)
