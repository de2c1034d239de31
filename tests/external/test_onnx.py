"""ONNX's node tests through `kernels.onnx`, and what its translations refuse."""

from __future__ import annotations

import pytest

onnx = pytest.importorskip("onnx", reason="ONNX's node tests", exc_type=ImportError)

from tests.external import onnx_nodes  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.external]


def test_node_tests(count):
    """One test for all rows: generating the cases is most of the time, and kernels are few."""
    tallies = [onnx_nodes.run(row) for row in onnx_nodes.rows()]
    for found in tallies:
        count(found)
    assert sum(found.scope for found in tallies) > 80
    for found in tallies:
        found.check()
