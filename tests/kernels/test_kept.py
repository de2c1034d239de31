"""What pullbacks keep: steps without a cotangent run once, and nothing but time tells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernels import cross_entropy, log_softmax, max_pool2d
from kernels.operator import Operator, Pullback
from kernels.runtime import Definition, Phase, Program, Real1, Tensor, share, task
from kernels.runtime.execute import Prepared, execute, prepare
from kernels.runtime.selection import selection
from tests.support.threads import together

rng = np.random.default_rng(5)


class Noted:
    """A prepared program that says what it runs."""

    def __init__(self, prepared: Prepared, targets: list[str], log: list[str]) -> None:
        self.prepared, self.targets, self.log = prepared, targets, log
        self.zeroed = prepared.zeroed

    def run(self, *args: Any) -> None:
        self.log.append(" ".join(self.targets))
        self.prepared.run(*args)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The targets of every run's steps."""
    found: list[str] = []

    def noted(definition: Definition, name: str, given: Any, e: Any, r: Any, wanted: Any, **more: Any) -> Any:
        inputs = definition.programs[name].inputs
        absent, known = [n for n in inputs if n not in given], [n for n in given if n not in inputs]
        steps = selection(definition, name, wanted, absent, known).steps
        targets = [target for s in steps for target in s.targets]
        return Noted(prepare(definition, name, given, e, r, wanted, **more), targets, found)

    monkeypatch.setattr("kernels.operator.prepare", noted)
    return found


def fresh(operator: Operator) -> Any:
    """The operator, remembering nothing."""
    return Operator(operator.definition, operator.adapter)


def complete(pullback: Pullback, program: str, wanted: str, **further: Any) -> Any:
    """The same gradient by a program that is run as a whole."""
    call = pullback._call
    arrays = {i.layout.tensor: i.layout.view(a) for i, a in zip(call.known.inputs, call.arrays, strict=True)}
    plan = call.plan
    return execute(
        call.operator.definition,
        program,
        arrays | further,
        plan.environment,
        plan.reals,
        (wanted,),
        dtype=call.known.dtype,
    )[wanted]


def kept(pullback: Any) -> int:
    return len(pullback._keeper.tensors)


def test_the_argmax_of_a_pooling_is_found_once(log):
    x = rng.standard_normal((2, 3, 8, 9)).astype(np.float32)
    y, pullback = fresh(max_pool2d).vjp(x, 3, stride=2, padding=1)
    first, second = (rng.standard_normal(y.shape).astype(np.float32) for _ in range(2))
    for gy in (first, second, first):
        np.testing.assert_array_equal(pullback(gy)[0], complete(pullback, "vjp", "gx", gy=gy))
    assert log == ["y", "y_at gx", "gx", "gx"]
    assert kept(pullback) == 1
    log.clear()
    _, second_pullback = pullback.vjp(first)
    (hgy, _) = second_pullback(x)
    np.testing.assert_array_equal(hgy, complete(pullback, "vjp_vjp", "hgy", gy=first, hgx=x))
    _, (tgx,) = pullback.jvp((first,), (second, x))
    np.testing.assert_array_equal(tgx, complete(pullback, "vjp_jvp", "tgx", gy=first, tx=x, tgy=second))
    assert log == ["gx", "hgy", "gx", "tgx"]


def test_the_forward_run_leaves_what_the_gradient_reads(log):
    x, t = (rng.standard_normal((4, 6)) for _ in range(2))
    y, pullback = fresh(log_softmax).vjp(x)
    forward = "peak total_sum total y"
    assert log == [forward]
    assert kept(pullback) == 2  # of the four tensors that it made, those that steps with a cotangent read
    for gy in rng.standard_normal((3, 4, 6)):
        want = complete(pullback, "vjp", "gx", gy=gy[:, :, None])
        np.testing.assert_array_equal(pullback(gy)[0], want[:, :, 0])
    assert log[1:] == ["gtotal gtotal_sum gx"] * 3
    log.clear()
    again, ty = fresh(log_softmax).jvp((x,), (t,))
    np.testing.assert_array_equal(again, y)
    np.testing.assert_array_equal(ty, complete(pullback, "jvp", "ty", tx=t[:, :, None])[:, :, 0])
    assert log == [forward, "ttotal_sum ttotal ty"]


def test_a_second_pullback_keeps_what_follows_from_the_cotangent(log):
    x, gy, h = (rng.standard_normal((4, 6)) for _ in range(3))
    _, pullback = fresh(log_softmax).vjp(x)
    gradients, second = pullback.vjp(gy)
    log.clear()
    once, twice, other = second(h), second(h), pullback.vjp(2 * gy)[1](h)
    assert log[:2] == [
        "gtotal gtotal_sum hgtotal_sum hgtotal htotal_sum hgy hx",
        "hgtotal_sum hgtotal htotal_sum hgy hx",
    ]
    assert log[-1] == log[0]  # another cotangent: nothing of the first is taken for it
    for a, b in zip(once, twice, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(other[1], 2 * once[1], rtol=1e-12)
    assert (kept(pullback), kept(second)) == (2, 4)


def test_cotangents_may_come_and_go(log):
    """Which steps run depends on which cotangents are there; what is kept serves them all."""
    x, t = rng.standard_normal((5, 3)), rng.integers(0, 3, 5)
    operator = Operator(cross_entropy.definition)
    (l, y, z), pullback = operator.vjp(x[:, :, None], t[:, None])
    for given in ((None, np.float64(2), None), (l, None, None), (l, np.float64(2), None), (None, None, None)):
        named = {"gl": given[0], "gy": None if given[1] is None else np.asarray(given[1])}
        want = complete(pullback, "vjp", "gx", **named)
        np.testing.assert_array_equal(pullback(*given)[0], want)
    assert not any("peak" in run for run in log[1:])


def test_only_for_the_gradients_that_are_wanted():
    y, pullback = fresh(max_pool2d).vjp(rng.standard_normal((1, 1, 4, 4)), 2, wrt=())
    assert pullback(y) == ()
    assert kept(pullback) == 0


def test_threads_may_share_a_pullback():
    x = rng.standard_normal((2, 4, 60, 60)).astype(np.float32)
    for _ in range(5):  # each time a pullback that has kept nothing yet
        y, pullback = fresh(max_pool2d).vjp(x, 2)
        cotangents = [rng.standard_normal(y.shape).astype(np.float32) for _ in range(4)]
        want = [complete(pullback, "vjp", "gx", gy=gy) for gy in cotangents]

        def work(n: int, pullback: Any = pullback, cotangents: Any = cotangents, want: Any = want) -> None:
            for _ in range(5):
                np.testing.assert_array_equal(pullback(cotangents[n])[0], want[n])

        together(work)
        assert kept(pullback) == 1


# ------------------------------------------------------------------------- a gradient that reads a result


@task
def square(y: Real1, x: Real1, N: int, task: int, tasks: int) -> None:
    first, last = share(N, task, tasks)
    for n in range(first, last):
        y[n] = x[n] * x[n]


@task
def product(y: Real1, u: Real1, v: Real1, N: int, task: int, tasks: int) -> None:
    first, last = share(N, task, tasks)
    for n in range(first, last):
        y[n] = u[n] * v[n]


# y = x**4 by way of s = x**2; its gradient, as far as this test goes, is gy * y * s
SQUARES = (Phase(square, ("s", "x"), ("N",)), Phase(square, ("y", "s"), ("N",)))
POWER = Definition(
    name="power",
    formula="",
    latex="",
    tensors=tuple(Tensor(name, ("N",)) for name in ("x", "s", "y", "gy", "gs", "gx")),
    parameters=(),
    sizes=lambda **_: {},
    conditions=(),
    programs={
        "forward": Program(("x",), ("y",), SQUARES),
        "vjp": Program(
            ("x", "gy"),
            ("gx",),
            (
                *SQUARES,
                Phase(product, ("gs", "gy", "y"), ("N",), linear=("gy",)),
                Phase(product, ("gx", "gs", "s"), ("N",), linear=("gs",)),
            ),
        ),
    },
)


def test_a_result_belongs_to_the_caller(log):
    """A gradient that reads the result makes its own, once: the caller may write to what was handed out."""
    x = np.arange(1.0, 5.0)
    operator: Any = Operator(POWER)
    y, pullback = operator.vjp(x)
    y += 1
    for scale in (1.0, 2.0):
        np.testing.assert_array_equal(pullback(np.full(4, scale))[0], scale * x**6)
    assert log == ["s y", "y gs gx", "gs gx"]
    out = np.empty(4)
    operator.vjp(x, out=out)[1](x)
    np.testing.assert_array_equal(out, x**4)
