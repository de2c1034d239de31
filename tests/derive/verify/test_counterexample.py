"""A wrong element is shown with what feeds it, and with the line of the kernel that wrote it."""

from __future__ import annotations

import inspect
from random import Random

import numpy as np
import pytest

from derive.catalogue import operators
from derive.errors import VerificationError
from derive.verify import CHECKS, sample, verify
from derive.verify.counterexample import Counterexample, explained, planes
from derive.verify.running import Setting
from kernels.generated import max_pool1d
from tests.derive.verify.planted import OPERATOR, cancelling, doubled, with_task

WRONG = with_task(doubled, "forward")


def failure(definition, check="exact_forward") -> VerificationError:
    with pytest.raises(VerificationError) as raised:
        for seed in range(20):
            CHECKS[check](OPERATOR, definition, Random(seed))
    return raised.value


def test_the_line_that_wrote_it():
    text = str(explained(failure(WRONG)))
    line = next(
        k for k, t in enumerate(inspect.getsourcelines(doubled.function)[0]) if t.strip() == "y[n] = total"
    )
    number = inspect.getsourcelines(doubled.function)[1] + line
    assert f"was written by planted.py:{number}, in doubled:  y[n] = total" in text


def test_what_feeds_it():
    """y[n] = x[n]*w[n]: one element of each."""
    found = failure(WRONG).counterexample
    assert set(found.feeding) == {"x", "w"}
    for name, feeds in found.feeding.items():
        assert feeds[found.at] == 1, name
        assert feeds.sum() == 1, name
    text = found.text()
    assert "# feeds it, X is the element" in text
    assert text.count("X") - text.count("X is the element") >= 1


def test_what_no_line_wrote(monkeypatch):
    found = failure(WRONG).counterexample
    monkeypatch.setattr(Counterexample, "run", (np.full(found.setting.shape("y"), 3), None))
    assert "no line of a kernel wrote y[" in found.text()


def test_a_source_that_is_right():
    """What only rounding shows is no fault of the source."""
    error = failure(with_task(cancelling, "forward"), "compiled_matches_exact")
    assert error.counterexample.run is None
    assert "gives y[" in error.counterexample.text()
    assert "right when it runs over exact numbers" in error.counterexample.text()


def test_a_maximum_is_fed_by_what_can_beat_it():
    """An element far below the others feeds a maximum: it would, were it larger. Those of other windows do not."""
    operator = next(o for o in operators() if o.name == "max_pool1d")
    for seed in range(40):
        configuration = sample(operator, max_pool1d.DEFINITION, Random(seed))
        setting = Setting(operator, max_pool1d.DEFINITION, configuration, "general")
        (n, c, p), integers = setting.shape("y"), configuration.environment
        if n * c * p and n * c > 1:
            break
    found = Counterexample(setting, "forward", "y", (0, 0, p - 1))
    first = integers["s0"] * (p - 1) - integers["a0"]
    taps = [first + k * integers["d0"] for k in range(integers["K0"])]
    want = np.zeros(setting.shape("x"), int)
    want[0, 0, [q for q in taps if 0 <= q < want.shape[2]]] = 1
    np.testing.assert_array_equal(found.feeding["x"], want)


def test_the_smallest_is_looked_for_and_drawn(tmp_path):
    result = verify(OPERATOR, WRONG, "exact_forward", cases=3, pictures=tmp_path)
    assert "\n    N=1\n" in result.failure  # of all that draws come to
    assert "drawn in" in result.failure
    picture = tmp_path / "scale-exact_forward.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_planes():
    marks = np.zeros((2, 2, 3), int)
    marks[1, 0, 2] = 1
    ((title, plane),) = planes("x", marks)
    assert title == "x[1,:,:]"
    assert plane.tolist() == [[0, 0, 1], [0, 0, 0]]
    assert [*planes("x", np.zeros((2, 2), int))] == []
    assert [title for title, _ in planes("y", np.ones((), int))] == ["y[]"]
