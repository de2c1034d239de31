"""The libraries that are timed. A peer is a module with a class `Peer`; a worker process runs one of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from benchmarks.cases import Array, Arrays, Case


class Unsupported(Exception):
    """A case that a library does not offer; the reason stands in the report."""


class Base:
    """What a worker asks of a peer."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def versions(self) -> dict[str, str]:
        """What was measured, by name."""
        raise NotImplementedError

    def context(self) -> AbstractContextManager[object]:
        """In which everything is run."""
        return nullcontext()

    def prepare(self, case: Case, given: Arrays) -> Callable[[], Any]:
        """A function of no arguments that computes the case once; only its calls are timed."""
        raise NotImplementedError

    def array(self, result: Any) -> Array:
        """What such a call returned, as NCHW; where it is (values, indices), the indices."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the table of peers."""

    name: str
    module: str
    needs: str  # what to install
    how: str  # what is timed, in a sentence


INSTALL = 'pip install "derive-kernels[bench]"'
PEERS = (
    Entry("ours", "benchmarks.peers.ours", "", "NCHW arrays in and out; packing included"),
    Entry("torch", "benchmarks.peers.torch_nchw", INSTALL, "contiguous NCHW tensors"),
    Entry(
        "torch-nhwc",
        "benchmarks.peers.torch_nhwc",
        INSTALL,
        "channels-last tensors, converted before the clock starts, and channels-last results",
    ),
    Entry(
        "onnxruntime",
        "benchmarks.peers.onnx_runtime",
        INSTALL,
        "forward only; weights are constants of the model, packed before the clock starts",
    ),
    Entry("jax", "benchmarks.peers.jax_xla", INSTALL, "compiled by XLA before the clock starts; NCHW"),
    Entry(
        "scipy",
        "benchmarks.peers.scipy_signal",
        INSTALL,
        "forward of stride 1 without sums over channels: signal.correlate, ndimage filters; one thread",
    ),
)
