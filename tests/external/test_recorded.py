"""A sample of PyTorch's own samples beside the answers that torch gave: no torch is needed."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

import kernels
from tests.external import page
from tests.external.answers import Answers, close
from tests.external.recorded import ANSWERED, CASES, NUMBERS, TYPES, Shelf, Store, load, read, written
from tests.support.sampling import kept

EVERY = list(load())


WHOLE = [str(c) for c in EVERY if kept(str(c), 0.2)]  # kernels of second order take longest to compile
cases = pytest.mark.parametrize("case", EVERY, ids=lambda case: str(case).replace(" ", "_"))


@cases
def test_recorded_answers(case):
    case.replay(whole=str(case) in WHOLE)


@pytest.mark.slow
@cases
def test_recorded_answers_of_every_order(case):
    case.replay()


def test_every_row_that_has_passed_samples_is_recorded():
    """python -m tests.external.recorded draws and writes them."""
    rows = page.counts()["PyTorch OpInfo samples"]
    assert {case.row for case in EVERY} == {name for name, row in rows.items() if row["passed"]}
    assert {case.asked.operator.__name__ for case in EVERY} <= set(kernels.OPERATORS)
    assert CASES.stat().st_size + NUMBERS.stat().st_size < 300_000
    assert sum(case.answers.twice is not None for case in EVERY) > 100
    assert sum(case.answers.tangents is not None for case in EVERY) > 100


@pytest.mark.parametrize("what", ANSWERED)
def test_a_wrong_answer_is_seen(what):
    """One number that differs by 1e-9, in each kind of answer."""
    case = next(c for c in EVERY if c.row == "conv2d")
    found = getattr(case.answers, what)
    arrays = list(found.values()) if isinstance(found, dict) else list(found)
    arrays[0] = arrays[0].copy()
    arrays[0].flat[-1] += 1e-9
    wrong = dict(zip(found, arrays, strict=True)) if isinstance(found, dict) else tuple(arrays)
    case.replay()
    with pytest.raises(AssertionError):
        replace(case, answers=replace(case.answers, **{what: wrong})).replay()


def test_all_that_is_answered_is_kept():
    assert {*ANSWERED, "flowing", "second"} == {f.name for f in fields(Answers)}


def test_options_and_arrays_come_back_as_they_were(tmp_path):
    options = [1, True, None, 0.5, float("inf"), "mean", (1, (2, 3)), [4, (5,)], ()]
    assert read(written(options)) == options
    assert [type(v) for v in read(written(options))] == [type(v) for v in options]
    arrays = [
        np.ones((2, 0), "f4"),
        np.array(3),
        np.arange(6.0).reshape(2, 3),
        np.array([True]),
        np.array(0.1),
    ]
    store = Store()
    known = [store.put(a) for a in arrays]
    store.save(tmp_path / "some.npz")
    shelf = Shelf(tmp_path / "some.npz")
    for array, said in zip(arrays, known, strict=True):
        again = shelf.take(said)
        assert again.dtype == array.dtype
        assert np.array_equal(again, array)
        assert again.shape == array.shape
    assert {a.dtype.name for a in arrays} == set(TYPES)


@pytest.mark.slow
@pytest.mark.external
def test_the_recording_is_not_stale():
    """The same sample, drawn again: the same calls, and torch's answers equal but for rounding."""
    pytest.importorskip("torch", reason="it is torch's", exc_type=ImportError)
    pytest.importorskip("expecttest", reason="torch.testing._internal imports it")
    from tests.external import opinfo

    again = list(opinfo.recording())
    assert list(map(str, again)) == list(map(str, EVERY))
    for case, old in zip(again, EVERY, strict=True):
        for name in ("operator", "constant", "results", "roundings"):
            assert getattr(case.asked, name) == getattr(old.asked, name), (str(case), name)
        assert {n: read(written(v)) for n, v in case.asked.options.items()} == old.asked.options
        assert list(case.asked.arrays) == list(old.asked.arrays)
        for name, array in case.asked.arrays.items():
            assert np.array_equal(array, old.asked.arrays[name], equal_nan=True), (str(case), name)
        assert (case.answers.flowing, case.answers.second) == (old.answers.flowing, old.answers.second)
        for name in ANSWERED:
            one, other = getattr(case.answers, name), getattr(old.answers, name)
            assert (one is None) == (other is None), (str(case), name)
            every = [x.values() if isinstance(x, dict) else x or () for x in (one, other)]
            for a, b in zip(*every, strict=True):
                close(old.asked.roundings, f"{case}: {name}", a, b)
