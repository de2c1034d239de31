"""Runs: rows of one axis that follow each other, and the places of another that go with them.

A run is five integers: its first row, how far it is to the next, its first place, how far it is to the next, and how
many there are. What copies along an axis (a fold at its borders, or what that is in a gradient) is a few of them, however
long the axis is; where an axis is not run along, each row's places are listed instead.
"""

from __future__ import annotations

from kernels.runtime.compile import kernel
from kernels.runtime.simd import IntegerScratch

ENTRIES = 5  # integers of one run
FEW = 16  # runs that are compared with each other


@kernel
def add_run(
    runs: IntegerScratch, many: int, row: int, by_row: int, place: int, by_place: int, count: int
) -> int:
    """One more run, if there is anything in it; how many there are then."""
    if count < 1:
        return many
    at = runs + ENTRIES * many
    at[0], at[1], at[2], at[3], at[4] = row, by_row, place, by_place, count
    return many + 1


@kernel
def longest_first(runs: IntegerScratch, many: int) -> int:
    """Exchange runs so that the first is the longest where rows and places lie side by side; its length, 0 without any."""
    best, length = 0, 0
    for k in range(many):
        at = runs + ENTRIES * k
        if at[1] == 1 and at[3] == 1 and at[4] > length:
            best, length = k, at[4]
    for k in range(ENTRIES if length > 0 else 0):
        first, other = runs[k], runs[ENTRIES * best + k]
        runs[k], runs[ENTRIES * best + k] = other, first
    return length


@kernel
def disjoint(runs: IntegerScratch, many: int) -> bool:
    """Is no row in two runs, nor twice in one? (Said of a few runs only.)"""
    if many > FEW:
        return False
    for k in range(many):
        at = runs + ENTRIES * k
        if at[1] != 1 and at[4] > 1:
            return False
        for j in range(k):
            other = runs + ENTRIES * j
            if at[0] < other[0] + other[4] and other[0] < at[0] + at[4]:
                return False
    return True


@kernel
def list_places(
    runs: IntegerScratch,
    many: int,
    rows: int,
    only: IntegerScratch,
    starts: IntegerScratch,
    places: IntegerScratch,
) -> bool:
    """The places of each row: places[starts[row]] up to, but not with, places[starts[row + 1]]. Has none two of them?

    only[row] is its last one, -1 where it has none.
    """
    for row in range(rows):
        only[row] = -1
    for row in range(rows + 1):
        starts[row] = 0
    for k in range(many):
        at = runs + ENTRIES * k
        for i in range(at[4]):
            starts[at[0] + i * at[1] + 1] += 1
    single = True
    for row in range(rows):
        single = single and starts[row + 1] <= 1
        starts[row + 1] += starts[row]
    for k in range(many):
        at = runs + ENTRIES * k
        for i in range(at[4]):
            row = at[0] + i * at[1]
            only[row] = at[2] + i * at[3]
            places[starts[row]] = only[row]
            starts[row] += 1
    for row in range(rows, 0, -1):  # each is by now where the next one begins
        starts[row] = starts[row - 1]
    starts[0] = 0
    return single


@kernel
def list_pairs(
    runs: IntegerScratch, first: int, many: int, rows: IntegerScratch, places: IntegerScratch
) -> int:
    """Every row and its place, from a run on. How many there are."""
    found = 0
    for k in range(first, many):
        at = runs + ENTRIES * k
        for i in range(at[4]):
            rows[found], places[found] = at[0] + i * at[1], at[2] + i * at[3]
            found += 1
    return found
