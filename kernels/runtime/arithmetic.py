"""Integer functions that kernels call; the same text is interpreted and compiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar, cast

from kernels.runtime.compile import kernel

Count = TypeVar("Count", bound=Callable[..., int])


def counted(function: Count) -> Count:
    """A function of a tile and integers that counts in loops, in Python: what it said last is kept.

    A choice asks, and so do the functions that say how much room a task needs.
    """
    return cast(Count, lru_cache(maxsize=256)(function))


@kernel
def share(count: int, task: int, tasks: int) -> tuple[int, int]:
    """The items first..last-1 that belong to one of `tasks` equal shares of `count`."""
    return count * task // tasks, count * (task + 1) // tasks


@kernel
def floor_div(a: int, b: int) -> int:
    """The largest integer <= a / b."""
    return a // b


@kernel
def ceil_div(a: int, b: int) -> int:
    """The smallest integer >= a / b."""
    return -(-a // b)


LARGEST_ROOM = 1 << 60  # no memory is so large, and a sum of a few still fits 64 bits


@kernel
def bounded(a: int, b: int) -> int:
    """a * b for a, b >= 0, or LARGEST_ROOM where that is more: a product that is compared with a bound must not wrap."""
    if a > 0 and b > LARGEST_ROOM // a:
        return LARGEST_ROOM
    return a * b


@kernel
def residue(s: int, d: int, m: int) -> tuple[int, int]:
    """The smallest k >= 0 with s dividing m - d*k, and the step to the next; step 0 when there is none.

    With g = gcd(s, d): none unless g divides m, else k = (m/g) * inverse(d/g mod s/g) mod s/g, and
    the step is s/g.
    Needs s >= 1; d and m may have any sign.
    """
    g, r, x, y = s, d % s, 0, 1  # g = x*d and r = y*d modulo s
    while r != 0:
        g, r, x, y = r, g % r, y, x - g // r * y
    if m % g != 0:
        return 0, 0
    s //= g
    return m // g % s * x % s, s  # of numbers below s: a product of two 32-bit parameters does not wrap
