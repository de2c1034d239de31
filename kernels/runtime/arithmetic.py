"""Integer functions that kernels call; the same text is interpreted and compiled."""

from __future__ import annotations

from kernels.runtime.compile import kernel


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
    return m // g * x % (s // g), s // g
