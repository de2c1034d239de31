"""Every check passes what is right and objects to a planted fault, with a message that shows it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derive import LogSumExp, Max, Operator, build, finite, indices, parameters, tensors
from derive.reference import Case
from derive.verify import CHECKS, Result, configurations, report, run, sample, suite, verify
from derive.verify.checks import relaid, rounds
from derive.verify.rounding import ROUNDED, UNIT, Rounded, allowance
from kernels.runtime import Definition
from tests.derive.verify import planted
from tests.derive.verify.planted import DEFINITION, OPERATOR, with_task, without_phase

pytest_plugins = ["pytester"]
n = indices("n")
x, y = tensors("x y")

test_what_is_right = suite(OPERATOR, DEFINITION, cases=3)


def test_a_check_of_many_runs_makes_a_round_for_each_six():
    assert [rounds("every_way", cases) for cases in (1, 6, 11, 12)] == [1, 1, 1, 2]
    assert rounds("exact_vjp", 12) == 12
    assert verify(OPERATOR, DEFINITION, "each_line").cases == 1
    assert verify(OPERATOR, DEFINITION, "exact_vjp").cases == 6


@pytest.mark.parametrize("body", [lambda u: u + finite(abs(u) - u), lambda u: u * finite(u)])
def test_differences_are_not_asked_of_what_is_held_constant(body):
    """The slope of x + finite(|x| - x) is 1 by what is written, and that of |x| by differences."""
    spec = Operator("held", y[n] << body(x[n]), inputs=(x,))
    result = verify(spec, build(spec).definition, "finite_differences")
    assert not result.failure
    assert result.detail == "a value held constant by finite() moves, which differences do not know"


def test_differences_are_taken_where_what_is_held_constant_makes_none():
    """What a logarithm of a sum is shifted by."""
    top = Max[n](x[n])
    spec = Operator("soft", y[()] << finite(top) + LogSumExp[n](x[n] - finite(top)), inputs=(x,))
    result = verify(spec, build(spec).definition, "finite_differences")
    assert not result.failure
    assert "away from kinks" in result.detail


FAULTS: list[tuple[str, str, Operator, Definition, str]] = [
    (
        "shape_law",
        "length",
        planted.DOUBLED,
        planted.twice(lambda N: 2 * N),
        "axis 0 of y is .* but its law gives",
    ),
    ("exact_forward", "factor", OPERATOR, with_task(planted.doubled, "forward"), r"y\[0\] of forward is"),
    ("exact_forward", "race", OPERATOR, with_task(planted.racing, "forward"), "is written by task"),
    ("exact_forward", "length", planted.DOUBLED, planted.twice(lambda N: 2 * N), "y of forward has shape"),
    ("exact_vjp", "sign", OPERATOR, with_task(planted.negated, "vjp", 1), r"gw\[\d+\] of vjp is"),
    ("exact_vjp", "dropped", OPERATOR, without_phase("vjp", 0), r"gx\[\d+\] of vjp is 0, expected"),
    ("exact_jvp", "overwrites", OPERATOR, with_task(planted.forgetful, "jvp", 1), r"ty\[\d+\] of jvp is"),
    (
        "exact_vjp_vjp",
        "factor",
        OPERATOR,
        with_task(planted.doubled, "vjp_vjp", 3),
        r"hgy\[\d+\] of vjp_vjp is",
    ),
    ("exact_vjp_jvp", "dropped", OPERATOR, without_phase("vjp_jvp", 1), r"tgx\[\d+\] of vjp_jvp is"),
    ("each_line", "factor", OPERATOR, with_task(planted.doubled, "jvp", 1), r"ty\[\d+\] of jvp is"),
    ("every_way", "factor", OPERATOR, with_task(planted.doubled, "jvp", 1), r"ty\[\d+\] of jvp is"),
    (
        "adjoint",
        "factor",
        OPERATOR,
        with_task(planted.doubled, "vjp"),
        "jvp and vjp are not adjoint: <J t, g> =",
    ),
    ("adjoint", "sign", OPERATOR, with_task(planted.negated, "jvp", 1), "are not adjoint"),
    ("linearity", "square", OPERATOR, with_task(planted.squared, "forward"), r"y\[\d+\] of forward is"),
    ("linearity", "square", OPERATOR, with_task(planted.squared, "vjp"), r"gx\[\d+\] of vjp is"),
    (
        "finite_differences",
        "factor",
        OPERATOR,
        with_task(planted.doubled, "jvp"),
        r"ty\[\d+\] .* by differences",
    ),
    ("finite_differences", "sign", OPERATOR, with_task(planted.negated, "vjp"), "<t, J' g> is"),
    (
        "compiled_matches_exact",
        "rounding",
        OPERATOR,
        with_task(planted.cancelling, "forward"),
        r"\(float64\)",
    ),
    ("strided", "contiguous", OPERATOR, with_task(planted.contiguous, "forward"), "in another layout"),
    (
        "zero_sized",
        "first",
        planted.SUMMED,
        planted.dot(planted.added_from_the_first),
        "running forward exactly",
    ),
    ("deterministic", "tasks", OPERATOR, with_task(planted.counting, "vjp"), r"with \d tasks once more"),
]


@pytest.fixture
def first_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first failure is shown as it is: to look for a smaller one takes seconds, and test_counterexample does."""
    monkeypatch.setattr(report, "SEARCH", 0.0)


@pytest.mark.usefixtures("first_failure")
@pytest.mark.parametrize(("check", "fault", "operator", "definition", "message"), FAULTS)
def test_planted_fault(
    check: str, fault: str, operator: Operator, definition: Definition, message: str
) -> None:
    result = verify(operator, definition, check, cases=12)
    assert result.failure.startswith("VerificationError: ")
    assert operator.name in result.failure
    assert "\n    N=" in result.failure
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(result.failure)


def test_every_check_has_a_planted_fault() -> None:
    assert {check for check, *_ in FAULTS} == set(CHECKS)


def test_what_exactness_alone_does_not_see() -> None:
    """Lost digits are a fault of compiled runs only."""
    assert not verify(OPERATOR, with_task(planted.cancelling, "forward"), "exact_forward", cases=6).failure


def test_a_layout_taken_for_granted_is_seen_by_exact_runs_too() -> None:
    found = verify(OPERATOR, with_task(planted.contiguous, "forward"), "exact_forward", cases=6).failure
    assert "BadAccess" in found


def test_sums_of_nothing() -> None:
    assert not verify(planted.SUMMED, planted.dot(planted.added), "zero_sized").failure


def test_a_message_shows_where_and_with_what() -> None:
    failure = verify(OPERATOR, with_task(planted.doubled, "forward"), "exact_forward").failure
    first, configuration, shapes, style, *more = failure.splitlines()
    assert first.startswith("VerificationError: scale: y[0] of forward is ")
    assert ", expected " in first
    assert configuration.startswith("    N=")
    assert shapes.startswith("    x (")
    assert " values" in style
    assert [line.split(" = ")[0].strip() for line in more[:2]] == ["x", "w"]
    assert more[2].startswith("    y[0] was written by planted.py")


@settings(max_examples=25, deadline=None)
@given(configurations(OPERATOR, DEFINITION), st.booleans())
def test_configurations(configuration: Any, dyadic: bool) -> None:
    assert configuration.shapes["x"] == configuration.shapes["w"] == (configuration.environment["N"],)
    for style in ("general", "ties", "positive", "unit", "apart"):
        values = configuration.case(OPERATOR, style, dyadic=dyadic).inputs
        again = configuration.case(OPERATOR, style, dyadic=dyadic).inputs
        assert all((values[name] == again[name]).all() for name in values)
        plain = [v for a in values.values() for v in a.flat]
        if dyadic or style == "apart":
            assert all(float(np.float32(v)) == v for v in plain)
        if style == "apart":
            assert len({*plain, 0}) == len(plain) + 1
        if style in ("positive", "unit"):
            assert all(v > 0 for v in plain)
        if style == "unit":
            assert all(v < 1 for v in plain)


def test_a_seed_gives_the_same_configuration() -> None:
    first, second = (sample(OPERATOR, DEFINITION, Random("seed")) for _ in range(2))
    assert first == second
    assert sample(OPERATOR, DEFINITION, Random("other")) != first
    assert 0 in sample(OPERATOR, DEFINITION, Random(1), zero=True).shapes["x"]


@given(st.lists(st.integers(0, 3), max_size=3), st.randoms(use_true_random=False))
def test_relaid_arrays_hold_the_same(shape: list[int], random: Random) -> None:
    array = np.arange(np.prod(shape, dtype=int), dtype=float).reshape(shape)
    made = relaid(array, random)
    assert made.shape == array.shape
    assert (made == array).all()


@given(st.lists(st.integers(-(2**20), 2**20), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_rounding_bound_holds_for_every_order(values: list[int], random: Random) -> None:
    """Sums of products in float32, in a random order, against the exact sum."""
    terms = [np.float32(v / 2**10) for v in values]
    exact = sum(float(t) * float(t) * np.sign(t) for t in map(float, terms))
    order = random.sample(terms, len(terms))
    found = np.float32(0)
    for t in order:
        found = np.float32(found + np.float32(t * t) * np.sign(t))
    bound: Any = ROUNDED.number(0)
    for t in terms:
        bound = bound + Rounded(float(t)) * Rounded(float(abs(t)))
    assert abs(float(found) - exact) <= allowance(bound, "float32")
    assert allowance(bound, "float32") <= UNIT["float32"] * 1000 * (1 + sum(float(t) ** 2 for t in terms))


def test_what_integers_make_is_rounded_too() -> None:
    """A weight that cancels: (n/d - 1)^2 of n = d, in parts that are not whole. Of the reference it is exact."""
    d = parameters("d")
    operator = Operator("weighted", y[n] << x[n] * ((n / d) ** 2 - 2 * (n / d) + 1), inputs=(x,))
    given = {"x": np.array([Fraction(k) for k in range(1, 8)], object)}
    assert Case(operator, given, {"d": 3}).run()["y"][3] == 0
    bound = Case(operator, given, {"d": 3}, field=ROUNDED).run()["y"]
    assert bound[3].value == 0
    assert bound[3].error >= 4 * (1 + 2 + 1)  # of x[3] = 4, one unit for each term at least


def test_run_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    junit, markdown = tmp_path / "verify.xml", tmp_path / "verify.md"
    checks = ("exact_forward", "adjoint")
    good, bad = (OPERATOR, DEFINITION), (OPERATOR, with_task(planted.doubled, "forward"))
    assert run([good], cases=2, checks=checks, junit=junit, markdown=markdown)
    assert "FAILED" not in capsys.readouterr().out
    assert not run([bad], cases=2, checks=checks, junit=junit, markdown=markdown)
    shown = capsys.readouterr().out
    assert "scale     FAILED  ok" in shown
    assert "1 operators, 2 checks, 2 cases, 1 failed" in shown
    suite_ = ET.parse(junit).getroot()
    assert (suite_.get("tests"), suite_.get("failures")) == ("2", "1")
    failure = suite_.find("testcase/failure")
    assert failure is not None
    assert "y[0] of forward" in (failure.get("message") or "")
    assert "| scale | FAILED | ok |" in markdown.read_text()
    assert "in units of rounding" in shown
    assert "in units of rounding" in markdown.read_text()
    assert not run([], checks=checks)


def test_a_cell_says_what_its_number_is() -> None:
    """One digit of `10 u` read as 1e+01 told nobody that it is ten units of rounding, and fine."""

    def cell(worst: float, unit: str = "", failure: str = "") -> str:
        return Result("scale", "check", worst, 1, "", 0.0, failure, unit).cell

    assert [cell(0), cell(3e-12), cell(10.4, "u"), cell(0, "u")] == ["ok", "3e-12", "10.4 u", "ok"]
    assert cell(1, failure="VerificationError: no") == "FAILED"
    assert verify(OPERATOR, DEFINITION, "compiled_matches_exact", cases=2).unit == "u"


def test_suite_names_the_checks(pytester: pytest.Pytester) -> None:
    """As a generated test module calls it: one test a check, and a failure that fails."""
    pytester.makepyfile(
        test_scale="""
        from derive.verify import suite
        from tests.derive.verify.planted import DEFINITION, OPERATOR, doubled, with_task
        test_good = suite(OPERATOR, DEFINITION, cases=2, checks=["exact_forward", "adjoint"])
        test_bad = suite(OPERATOR, with_task(doubled, "forward"), cases=2, checks=["exact_forward"])
        """
    )
    result = pytester.runpytest("-p", "no:cacheprovider", "-v")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        ["*test_good[[]adjoint] PASSED*", "*VerificationError: scale: y[[]0] of forward is*"]
    )
