"""Which of the slow tests a sampled run keeps: a choice that only the test's own name decides."""

from __future__ import annotations

import zlib


def kept(nodeid: str, fraction: float) -> bool:
    """The same answer on every machine, for every order of tests and every number of workers."""
    return zlib.crc32(nodeid.encode()) < fraction * 2**32
