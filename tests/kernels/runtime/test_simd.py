"""The meaning refuses every access that compiled code would get wrong in silence."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from kernels.runtime import BadAccess, Lanes, Memory, Pointer, Registers, Tile, Vector, View, maximum, minimum
from kernels.runtime.execute import view_of
from kernels.runtime.simd import UNWRITTEN


def view(shape: tuple[int, ...] = (2, 3), **memory: Any) -> View[Any]:
    strides = tuple(int(np.prod(shape[a + 1 :])) for a in range(len(shape)))
    cells = [Fraction(i, 2) for i in range(int(np.prod(shape)))]
    return View(Memory("x", cells, scalar=Fraction, **memory), 0, shape, strides)


def test_an_index_reads_and_writes_its_element() -> None:
    x = view()
    assert x[1, 2] == Fraction(5, 2)
    x[0, 1] = Fraction(9)
    x[0, 2] = 4  # an int becomes a number of the memory's type
    assert type(x.memory.cells[2]) is Fraction
    assert (x.memory.reads, x.memory.writes) == ({5}, {1, 2})
    scalar = view(())
    scalar[()] = Fraction(1)
    assert scalar[()] == 1
    line = view((4,))
    assert line[3] == line[(3,)] == Fraction(3, 2)


@pytest.mark.parametrize(
    ("index", "complaint"),
    [
        ((0, 3), "index 1 is outside 0 <= 3 < 3"),
        ((-1, 0), "index 0 is outside 0 <= -1 < 2"),
        ((0, True), "index 1 is a bool, not an int"),
        ((np.int64(0), 0), "index 0 is a int64, not an int"),
        ((0, 1.0), "index 1 is a float, not an int"),
        ((0,), "1 indices for 2 axes"),
        (0, "1 indices for 2 axes"),
        ((0, 0, 0), "3 indices for 2 axes"),
        ((), "0 indices for 2 axes"),
    ],
)
def test_a_bad_index_is_refused(index: Any, complaint: str) -> None:
    x = view()
    with pytest.raises(BadAccess, match=complaint):
        x[index]
    with pytest.raises(BadAccess, match=complaint):
        x[index] = Fraction(1)
    assert not x.memory.reads
    assert not x.memory.writes


def test_an_index_inside_the_memory_but_outside_its_axis_is_refused() -> None:
    """x[0, 3] is x[1, 0] to a machine."""
    with pytest.raises(BadAccess, match="outside 0 <= 3 < 3"):
        view()[0, 3]


def test_an_unwritten_element_is_not_read() -> None:
    x = View(Memory("scratch", [UNWRITTEN] * 3, scalar=Fraction), 0, (3,), (1,))
    x[1] = Fraction(1)
    assert x[1] == 1
    with pytest.raises(BadAccess, match="read before anything was written"):
        x[2]


def test_an_input_is_not_written() -> None:
    with pytest.raises(BadAccess, match="written, but it is an input"):
        view(writable=False)[0, 0] = Fraction(1)


@pytest.mark.parametrize("value", [0.5, True, np.float64(1), np.int64(1), "1", None])
def test_only_the_exact_type_is_stored(value: Any) -> None:
    with pytest.raises(BadAccess, match="slipped in"):
        view()[0, 0] = value


def test_an_integer_table_holds_ints_only() -> None:
    table = Pointer(Memory("table", [0, 1], scalar=int))
    table[1] = 5
    with pytest.raises(BadAccess, match="a Fraction slipped in"):
        table[1] = Fraction(5)  # type: ignore[assignment]


def test_what_lies_between_the_elements_of_a_strided_view_is_foreign() -> None:
    base = np.array([[Fraction(10 * i + j) for j in range(6)] for i in range(5)], object)
    strided = base[::-2, 1::2]
    x = view_of("x", strided, Fraction)
    assert [[x[i, j] for j in range(3)] for i in range(3)] == strided.tolist()
    p = x.pointer(0, 0)
    assert p[2] == strided[0, 1]
    with pytest.raises(BadAccess, match="lies between the elements"):
        p[1]
    with pytest.raises(BadAccess, match="outside 0"):
        p[1000]
    with pytest.raises(BadAccess, match="outside 0"):
        p[-1000]


def test_a_pointer_is_checked_when_used_and_not_before() -> None:
    x = view((2, 3))
    p = x.pointer(1) + 5 + -6
    assert p[0] == Fraction(1)
    assert x.pointer().offset == 0
    assert (x.stride(0), x.stride(1)) == (3, 1)
    for bad in (
        lambda: (p + 10)[0],
        lambda: p[1.0],  # type: ignore[index]
        lambda: x.pointer(0, 0, 0),
        lambda: x.stride(2),
    ):
        with pytest.raises(BadAccess):
            bad()


def test_registers_are_checked() -> None:
    r = Registers(2, 3)
    one = Vector((Fraction(1),))
    r[1, 2] = one
    assert r[1, 2] is one
    for at in ((2, 0), (0, 3), (-1, 0)):
        with pytest.raises(BadAccess, match="2 x 3"):
            r[at] = one
    with pytest.raises(BadAccess, match="read before"):
        r[0, 0]


def test_vectors_touch_only_their_lanes() -> None:
    lanes = Lanes(4, Fraction)
    memory = Memory("x", [Fraction(i) for i in range(6)], scalar=Fraction)
    p = Pointer(memory)
    assert lanes.load_first(p + 4, 2).items == (4, 5, 0, 0)
    with pytest.raises(BadAccess, match="outside"):
        lanes.load(p + 4)
    with pytest.raises(BadAccess, match="outside"):
        lanes.store_first(p + 4, lanes.zero(), 3)
    with pytest.raises(BadAccess, match="several times"):
        lanes.store_every(p, 0, lanes.zero(), 2)
    memory.writes.clear()
    lanes.store_first(p + 4, lanes.zero(), -1)
    assert memory.writes == set()
    assert type(lanes.fill(2).items[0]) is Fraction


def test_ties_and_nan_of_maximum() -> None:
    nan = float("nan")
    for f in (maximum, minimum):
        assert np.isnan([f(nan, 1.0), f(1.0, nan)]).all()
        assert np.signbit(f(-0.0, 0.0))
        assert not np.signbit(f(0.0, -0.0))


def test_a_tile_counts_its_channels() -> None:
    tile = Tile(Lanes(4, float), 6, 2)
    assert (tile.channels, tile.registers().rows, tile.row().columns) == (8, 6, 2)


def test_a_run_goes_on_only_where_memory_does() -> None:
    lanes = Lanes(3, Fraction)
    x = view((2, 3))
    assert lanes.read(x.run((0, 1), (0, 1))).items == (Fraction(1, 2), Fraction(1), Fraction(3, 2))
    with pytest.raises(BadAccess, match="index 0 is outside"):
        lanes.read(x.run((1, 1), (0, 1)))
    gaps = View(Memory("x", [Fraction(i) for i in range(8)], scalar=Fraction), 0, (2, 3), (4, 1))
    with pytest.raises(BadAccess, match="axis 1 does not go on in axis 0"):
        lanes.read(gaps.run((0, 1), (0, 1)))


def test_what_is_no_whole_number_is_no_narrow_integer() -> None:
    lanes = Lanes(2, Fraction)
    assert lanes.narrow(Vector((Fraction(3), Fraction(-4)))).items == (3, -4)
    with pytest.raises(BadAccess, match="no whole number"):
        lanes.narrow(Vector((Fraction(3), Fraction(1, 2))))


def test_a_division_by_zero_is_told_where_lanes_are_stored_and_where_their_sum_is() -> None:
    """A quotient that is masked away does no harm."""
    lanes, x = Lanes(2, Fraction), view((2,))
    quotient = Vector((Fraction(1), Fraction(2))) / Vector((Fraction(0), Fraction(4)))
    with pytest.raises(ZeroDivisionError, match=r"x\[0\]: divided by zero"):
        x[0] = lanes.sum(quotient)
    with pytest.raises(ZeroDivisionError, match=r"x\[0\]: divided by zero"):
        lanes.write_where(x.line((0,), (1,)), quotient, lanes.where(True))
    lanes.write_where(x.line((0,), (1,)), quotient, ~lanes.first(1))
    assert x.memory.cells == [0, Fraction(1, 2)]


def test_a_permutation_has_places_in_two_vectors() -> None:
    lanes = Lanes(2, Fraction)
    a, b = Vector((Fraction(1), Fraction(2))), Vector((Fraction(3), Fraction(4)))
    assert lanes.permute(a, b, lanes.narrow_ramp(3, -2)).items == (4, 2)
    for start in (3, -1):
        with pytest.raises(BadAccess, match="not all places of 4 lanes"):
            lanes.permute(a, b, lanes.narrow_ramp(start, 1))


def test_a_gather_reads_the_lanes_of_its_mask() -> None:
    lanes = Lanes(2, Fraction)
    line = view().line((1, 0), (0, 1))
    assert lanes.gather(line, lanes.narrow_ramp(2, -5), lanes.first(1)).items == (Fraction(5, 2), 0)
    with pytest.raises(BadAccess, match="outside 0"):
        lanes.gather(line, lanes.narrow_ramp(2, -5), lanes.first(2))
