"""Every kind of number proves what is right, and each fault is met by a configuration that shows it."""

from __future__ import annotations

from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from derive.catalogue import operators
from derive.emit.module import module_source
from derive.errors import VerificationError
from derive.language import Operator, relu
from derive.pipeline import derive
from derive.reference import reference_programs
from derive.spec import load_definition
from derive.verify.box import box
from derive.verify.exhaustive import (
    Tally,
    Together,
    _cell,
    _coloured,
    _Operator,
    run_box,
    summary,
    table,
    weak_orders,
    windows,
)
from derive.verify.running import Setting
from kernels.runtime import Real1, rational, share, task
from tests.derive.verify import planted

GENERATED = Path(planted.__file__).parents[3] / "kernels" / "generated"


def pair(name: str) -> tuple[Any, Any]:
    operator = next(o for o in operators() if o.name == name)
    return operator, import_module(f"kernels.generated.{name}").DEFINITION


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("linear", {"polynomials"}),
        ("relu", {"by order"}),
        ("avg_pool1d", {"polynomials"}),
        ("log_softmax", {"many digits"}),
    ],
)
def test_each_kind_of_number(name: str, kinds: set[str]) -> None:
    tally = run_box(*pair(name), most=3)
    assert set(tally.configurations) == kinds
    assert sum(tally.compared.values()) > 50
    assert tally.runs >= 15
    assert tally.tried == 3
    assert not tally.open
    assert tally.worst < 1e-40
    assert name in table([tally])
    assert f"{tally.runs} runs" in summary([tally])


def derived(folder: Path, formula: Any) -> tuple[Operator, Any]:
    """An operator of two vectors, its module generated and loaded."""
    x, w = planted.x[planted.n], planted.w[planted.n]
    operator = Operator("made", planted.y[planted.n] << formula(x, w), inputs=(planted.x, planted.w))
    path = folder / "made.py"
    path.write_text(module_source(derive(operator)), encoding="utf-8")
    return operator, load_definition(path)


def test_quotients_are_held_over_the_prime_field(tmp_path: Path) -> None:
    tally = run_box(*derived(tmp_path, lambda x, w: x / w), most=4)
    assert set(tally.configurations) == {"prime field"}
    assert 2 <= tally.degree < 40
    assert 0 < tally.chance < 1e-12
    assert "missed with a probability of at most" in summary([tally])


def test_quotients_that_are_compared_are_held_at_points(tmp_path: Path) -> None:
    tally = run_box(*derived(tmp_path, lambda x, w: relu(x) / (1 + w**2)), most=4)
    assert set(tally.configurations) == {"fractions"}


def test_one_run_of_the_reference_gives_what_five_do() -> None:
    operator, definition = pair("linear")
    configuration = box(operator, definition).configuration(0)
    assert configuration is not None
    setting = Setting(operator, definition, Together.of(configuration), "general")
    case = setting.case
    vectors = (
        setting.vectors(prefix, names)
        for prefix, names in (("g", case.real_outputs()), ("t", case.wrt()), ("tg", case.real_outputs()))
    )
    found = reference_programs(case, *vectors)
    assert found.keys() == definition.programs.keys()
    for program, arrays in found.items():
        expected = setting.expected(program)
        assert arrays.keys() == expected.keys()
        assert all((a == expected[name]).all() for name, a in arrays.items())


def test_a_maximum_is_run_in_every_order_of_its_windows() -> None:
    assert [len(weak_orders(k)) for k in range(1, 5)] == [1, 3, 13, 75]
    operator, definition = pair("max_pool1d")
    made = box(operator, definition)
    wanted = {"X2": 5, "K0": 3, "s0": 1, "d0": 1, "a0": 0}
    number = next(k for k, c in enumerate(made.combinations) if wanted.items() <= c.items())
    configuration = made.configuration(number)
    assert configuration is not None
    found = windows(operator, configuration)
    assert max(map(len, found)) == 3
    colours = _coloured(found)
    seen: dict[Any, set[Any]] = {window: set() for window in found}
    for ranks in weak_orders(max(colours.values()) + 1):
        place = _cell(found, colours, ranks).place
        for window in found:
            values = [place[key] for key in sorted(window)]
            seen[window].add(tuple(sorted(set(values)).index(v) for v in values))
    assert all(orders == set(weak_orders(len(window))) for window, orders in seen.items())


# ---- faults that one configuration in many shows


PLAIN = "    if (\n        (C <= 2 or O * K0 <= 1)\n        and tile.lanes.width <= G"
CLASSES = "min(P0, ((x3 + a0) // s0) + 1), step_p0):\n                        k0 ="
WRITTEN = "            gx[n, g, c, x3] = total\n\n\n@task\ndef gx_from_gy_w_over_g"


def one_more(condition: str) -> tuple[str, str]:
    return WRITTEN, f"            if {condition}:\n                total += one()\n{WRITTEN}"


FAULTS = {
    "a common divisor of stride and dilation": (CLASSES, CLASSES.replace("step_p0", "d0")),
    "a stride beyond the window": one_more("s0 > d0*(K0 - 1) + 1"),
    "padding as large as the window": one_more("a0 >= K0"),
    "a tail that no window reads": one_more("x3 > s0*(P0 - 1) + d0*(K0 - 1) - a0"),
    "one residue class": one_more("s0 == 3 and (x3 + a0) % s0 == 2"),
}


def altered(name: str, folder: Path, *edits: tuple[str, str]) -> Any:
    """A shipped module with some of its text replaced."""
    text = (GENERATED / f"{name}.py").read_text(encoding="utf-8")
    for old, new in edits:
        assert text.count(old) == 1, f"{text.count(old)} times: {old}"
        text = text.replace(old, new)
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return load_definition(path)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_few_configurations_is_met(fault: str, tmp_path: Path) -> None:
    operator, _ = pair("conv1d")
    definition = altered(
        "conv1d",
        tmp_path,
        (PLAIN, "    if add >= 0:\n        return gx_from_gy_w_plain\n" + PLAIN),
        FAULTS[fault],
    )
    with pytest.raises(VerificationError, match=r"conv1d: \w+\[[\d,]+\] of \w+ is"):
        run_box(operator, definition, most=60)


def test_a_fault_between_blocks_of_a_sum_is_met(tmp_path: Path) -> None:
    operator, _ = pair("linear")
    definition = altered("linear", tmp_path, ("add != 0 or i_start > 0", "add != 0"))
    with pytest.raises(VerificationError, match=r"linear: \w+\[\d+,\d+\] of \w+ is"):
        run_box(operator, definition)


def test_a_wrong_tie_is_met(tmp_path: Path) -> None:
    operator, _ = pair("max_pool1d")
    text = (GENERATED / "max_pool1d.py").read_text(encoding="utf-8")
    path = tmp_path / "max_pool1d.py"
    path.write_text(
        text.replace("found == 0 or value > best", "found == 0 or value >= best"), encoding="utf-8"
    )
    with pytest.raises(VerificationError, match=r"max_pool1d: "):
        run_box(operator, load_definition(path), most=60)


# ---- a float that slips in


@task
def halved(y: Real1, x: Real1, w: Real1, N: int, add: int, task: int, tasks: int) -> None:
    """Right over floats, and a constant that is one."""
    first, last = share(N, task, tasks)
    for n in range(first, last):
        total = 2 * x[n] * 0.5 * w[n]
        if add != 0:
            total += y[n]
        y[n] = total


@task
def compared(y: Real1, x: Real1, w: Real1, N: int, add: int, task: int, tasks: int) -> None:
    """Right whatever the comparison says."""
    first, last = share(N, task, tasks)
    for n in range(first, last):
        total = x[n] * w[n] if x[n] > 0.5 else w[n] * x[n]
        if add != 0:
            total += y[n]
        y[n] = total


@task
def halves(y: Real1, x: Real1, w: Real1, N: int, add: int, task: int, tasks: int) -> None:
    """The same with a number of ours."""
    first, last = share(N, task, tasks)
    for n in range(first, last):
        total = 2 * x[n] * rational(1, 2) * w[n]
        if add != 0:
            total += y[n]
        y[n] = total


@pytest.mark.parametrize("made", [halved, compared])
@pytest.mark.parametrize("field", ["polynomials", "residues", "fractions", "digits"])
def test_a_float_in_a_kernel_is_an_error(made: Any, field: str) -> None:
    definition = planted.with_task(made, "forward")
    found = box(planted.OPERATOR, definition)
    configuration = found.configuration(0)
    assert configuration is not None
    running = _Operator(planted.OPERATOR, definition, Tally("scale", len(found), True))
    with pytest.raises(VerificationError, match="TypeError"):
        getattr(running, field)(configuration, 0)
    right = _Operator(planted.OPERATOR, planted.with_task(halves, "forward"), Tally("scale", 1, True))
    assert getattr(right, field)(configuration, 0)
    assert right.tally.runs >= 5
    assert Fraction(right.tally.worst) < Fraction(1, 10**40)
