"""A peer for tests of the bench: NumPy's own answer for global pools, and misbehaviour by batch size."""

from __future__ import annotations

import os
import signal
import time

import numpy as np

from benchmarks.peers import Base, Unsupported

WRONG, FAILS, DIES, HANGS, LACKS = 2, 3, 4, 5, 6  # batch sizes


class Peer(Base):
    def versions(self):
        return {"fake": "1"}

    def prepare(self, case, given):
        print("a library that prints")  # must not reach the pipe
        match case.batch:
            case 3:
                raise ValueError("three is\ntoo many")
            case 4:
                os.kill(os.getpid(), signal.SIGKILL)
            case 5:
                time.sleep(60)
            case 6:
                raise Unsupported("no six")
        off = 1 if case.batch == WRONG else 0
        axes = tuple(range(2, given.x.ndim))
        return lambda: given.x.mean(axes, keepdims=True) + off

    def array(self, result):
        return np.asarray(result)
