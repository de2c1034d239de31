"""Integer helpers against brute force; that they compile alike, test_lowering shows."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kernels.runtime import bounded, ceil_div, counted, floor_div, residue, share
from kernels.runtime.arithmetic import LARGEST_ROOM


def test_a_count_is_not_made_twice() -> None:
    asked = list[int]()

    @counted
    def squares(n: int) -> int:
        asked.append(n)
        return n * n

    assert [squares(n) for n in (3, 2, 3)] == [9, 4, 9]
    assert asked == [3, 2]


@given(st.integers(0, 10**6), st.integers(1, 50))
def test_shares_are_a_partition(count: int, tasks: int) -> None:
    shares = [share(count, task, tasks) for task in range(tasks)]
    assert shares[0][0] == 0
    assert shares[-1][1] == count
    assert all(a[1] == b[0] for a, b in pairwise(shares))
    lengths = [last - first for first, last in shares]
    assert max(lengths) - min(lengths) <= 1


@given(st.integers(1, 30), st.integers(-40, 40), st.integers(-200, 200))
def test_residue_is_the_first_solution_and_the_step(s: int, d: int, m: int) -> None:
    solutions = [k for k in range(3 * s + 1) if (m - d * k) % s == 0]
    first, step = residue(s, d, m)
    if not solutions:
        assert (first, step) == (0, 0)
    else:
        assert step == s // math.gcd(s, d)
        assert solutions == list(range(first, 3 * s + 1, step))


@given(st.integers(0, 2**62), st.integers(0, 2**62))
def test_a_bounded_product_never_wraps(a: int, b: int) -> None:
    assert bounded(a, b) == min(a * b, LARGEST_ROOM)


def test_residues_of_large_parameters_are_computed_in_64_bits() -> None:
    s, d, m = 2**31 - 1, 2**31 - 2, 2**33
    first, step = residue(np.int64(s), np.int64(d), np.int64(m))  # NumPy's wrap, and warn
    assert step == s
    assert 0 <= first < s
    assert (m - d * int(first)) % s == 0


@given(st.integers(-(10**9), 10**9), st.integers(-1000, 1000).filter(bool))
def test_divisions_round_as_they_say(a: int, b: int) -> None:
    assert floor_div(a, b) == math.floor(Fraction(a, b))
    assert ceil_div(a, b) == math.ceil(Fraction(a, b))
