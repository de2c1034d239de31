"""PyTorch's own samples: results, gradients, gradients of gradients and forward mode equal torch's."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch's own samples", exc_type=ImportError)
pytest.importorskip("expecttest", reason="torch.testing._internal imports it")

import kernels  # noqa: E402
from tests.external import against_torch, opinfo  # noqa: E402
from tests.support.tally import Tally, table  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.external]
rows = pytest.mark.parametrize("row", opinfo.TABLE, ids=lambda row: row.name.replace(" ", "_"))


@rows
@pytest.mark.parametrize("dtype", opinfo.DTYPES, ids=("float64", "float32"))
def test_samples(row, dtype, count):
    found = opinfo.run(row, dtype)
    count(found)
    found.check()
    assert found.scope or found.out, "torch has no sample"


@rows
def test_samples_of_other_types_are_counted(row, count):
    count(opinfo.other_dtypes(row))


@rows
def test_error_inputs(row, count):
    found = opinfo.run_errors(row)
    count(found)
    found.check()


def test_every_entry_is_classified():
    """Every entry of an operator of ours has a row, and every other of nn.functional a reason."""
    rows = {(row.entry, row.variant) for row in opinfo.TABLE}
    theirs = set(opinfo.entries()) | {
        (row.entry, "") for row in opinfo.TABLE if row.entry.startswith("nn.LP")
    }
    assert not rows - theirs
    assert not opinfo.LEFT_OUT.keys() - theirs
    assert not rows & opinfo.LEFT_OUT.keys()
    named = {
        k
        for k in theirs
        if k[0].startswith("nn.functional.") or k[0].removeprefix("nn.functional.") in kernels.OPERATORS
    }
    assert named - rows - opinfo.LEFT_OUT.keys() == set()


class Faulty:
    """relu with a gradient that is wrong in one element, by 1e-9 of it."""

    __name__ = "faulty"
    output_shape = staticmethod(kernels.relu.output_shape)

    def __call__(self, *args, **options):
        return kernels.relu(*args, **options)

    def vjp(self, *args, **options):
        y, pullback = kernels.relu.vjp(*args, **options)

        def wrong(gy):
            g = pullback(gy)[0].copy()
            g.flat[np.abs(g).argmax()] *= 1 + 1e-9
            return (g,)

        wrong.wrt = pullback.wrt
        return y, wrong


def test_a_wrong_gradient_is_seen():
    x = torch.linspace(-1, 2, 12, dtype=torch.float64).reshape(3, 4)
    call = against_torch.Call(Faulty(), {"input": x}, {}, lambda a: torch.relu(a["input"]))
    with pytest.raises(AssertionError, match="gradient of input"):
        against_torch.agree(call, second=False)


def test_a_failure_is_counted_and_told():
    found = Tally("suite", "row", passed=2, failed=["sample 3: wrong"])
    found.out["a reason"] += 4
    with pytest.raises(AssertionError, match="1 of 3 differ\nsample 3: wrong"):
        found.check()
    assert "| row | 3 | 2 | 4 | 4 a reason |" in table([found, Tally("suite", "row")])
    assert Tally.of(found.as_dict()) == found
