"""Options and fixtures of every test."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import settings

from tests.support import golden as golden_files
from tests.support.ranks import planes
from tests.support.sampling import kept
from tests.support.tally import Tally, table

# Brute force over many points takes as long as it takes, the more so on a shared machine.
settings.register_profile("derive", deadline=None)
settings.load_profile("derive")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite the golden files; review the diff as code"
    )
    parser.addoption(
        "--sample",
        type=float,
        default=None,
        metavar="FRACTION",
        help="of the tests marked slow or external, run this fraction (0..1), always the same ones",
    )


def pytest_configure(config: pytest.Config) -> None:
    fraction = config.getoption("--sample")
    if fraction is not None and not 0 <= fraction <= 1:
        raise pytest.UsageError(f"--sample is a fraction between 0 and 1, found {fraction}")


# Of the slow checks that derive.verify makes of a module, those of one rank of each family: what follows from others, which are
# made of every rank (gradients that are exactly those of the equations are adjoint and linear, `every_way` runs what `each_line`
# does), and what is of the runtime and of calls, which ranks share.
OF_PLANES = {
    *("adjoint", "linearity", "finite_differences", "each_line"),
    *("strided", "zero_sized", "deterministic"),
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    generated = {i.nodeid: re.search(r"generated/test_(\w+)\.py::\w+\[(\w+)\]", i.nodeid) for i in items}
    one = planes(found[1] for found in generated.values() if found)
    repeated = {
        i.nodeid
        for i in items
        if i.get_closest_marker("slow")
        and (found := generated[i.nodeid])
        and found[1] not in one
        and found[2] in OF_PLANES
    }
    if repeated:
        config.hook.pytest_deselected(items=[i for i in items if i.nodeid in repeated])
        items[:] = [i for i in items if i.nodeid not in repeated]
    fraction = config.getoption("--sample")
    if fraction is None:
        return
    heavy = [i for i in items if i.get_closest_marker("slow") or i.get_closest_marker("external")]
    gone = {id(i) for i in heavy if not kept(i.nodeid, fraction)}
    if gone:
        config.hook.pytest_deselected(items=[i for i in items if id(i) in gone])
        items[:] = [i for i in items if id(i) not in gone]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the external suites came to: in scope, passed, out of scope and why."""
    reports = [
        r for kind in terminalreporter.stats.values() for r in kind if isinstance(r, pytest.TestReport)
    ]
    properties = [p for r in reports if r.when == "call" for p in r.user_properties]
    if tallies := [Tally.of(values) for name, values in properties if name == "tally"]:
        terminalreporter.section("external suites")
        terminalreporter.write_line(table(tallies))


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """golden(name, text): the text is that of tests/golden/<name>."""
    return partial(golden_files.compare, update=request.config.getoption("--update-golden"))
