"""What one run leaves to another: decided on programs of tasks that do nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kernels.runtime import Definition, Joint, Phase, Program, Real1, Tensor, task
from kernels.runtime.selection import Run, left, missing, origins, read, selection


@task
def one(y: Real1, u: Real1, N: int, add: int, task: int, tasks: int) -> None: ...


@task
def two(y: Real1, u: Real1, v: Real1, N: int, add: int, task: int, tasks: int) -> None: ...


def phase(target: str, *sources: str, size: str = "N", linear: tuple[str, ...] = ()) -> Phase:
    return Phase(two if len(sources) == 2 else one, (target, *sources), (size,), linear=linear)


def define(**programs: tuple[str, str, tuple[Phase, ...]]) -> Definition:
    made = {
        name: Program(tuple(inputs.split()), tuple(outputs.split()), phases)
        for name, (inputs, outputs, phases) in programs.items()
    }
    names = {t for p in made.values() for t in (*p.inputs, *p.outputs)}
    names |= {t for p in made.values() for phase in p.phases for t in phase.tensors}
    return Definition(
        name="chain",
        formula="",
        latex="",
        tensors=tuple(Tensor(n, ("N",)) for n in sorted(names)),
        parameters=(),
        sizes=lambda **_: {},
        conditions=(),
        programs=made,
    )


# m and v are moments of x; y is made from them, z from m by two phases
FORWARD = (
    phase("m", "x"),
    phase("v", "x", "m"),
    phase("z", "m"),
    phase("z", "v", linear=("v",)),
    phase("y", "x", "v"),
)
CHAIN = define(
    forward=("x", "y z", FORWARD),
    # u = f(v, z) is not in the forward program; gv depends on the cotangent
    vjp=("x gy", "gx", (*FORWARD, phase("u", "v", "z"), phase("gv", "gy", "u"), phase("gx", "gv", "m"))),
    # other names and another order, and one phase of another size
    renamed=("x", "q", (phase("b", "x"), phase("a", "x", size="M"), phase("c", "x", "b"), phase("q", "c"))),
)
FIRST, LATER = Run("forward", ("y", "z")), Run("vjp", ("gx",))


def numbers(program: str, *absent: str) -> dict[str, int]:
    return {name: origin.number for name, origin in origins(CHAIN, program, absent).items()}


def test_tensors_of_one_origin_hold_the_same_whatever_they_are_called() -> None:
    forward, vjp, renamed = (numbers(program) for program in ("forward", "vjp", "renamed"))
    assert {name: vjp[name] for name in forward} == forward
    assert (renamed["b"], renamed["c"]) == (forward["m"], forward["v"])
    assert renamed["a"] not in forward.values()  # another size
    assert len({*forward.values(), *vjp.values()}) == len(vjp)
    assert numbers("forward") == forward


@task
def filled(y: Real1, N: int, value: float, add: int, task: int, tasks: int) -> None: ...


def test_a_phase_that_a_real_scales_runs_unless_that_is_zero() -> None:
    around = Phase(filled, ("y",), ("N",), ("value",), linear=("value",))
    padded = define(forward=("x", "y", (phase("y", "x"), around)))
    program = padded.programs["forward"]
    for value, expected in ((1.0, [0, 1]), (0.0, [0]), (-0.0, [0]), (float("nan"), [0, 1])):
        absent = missing(program, ("x",), {"value": value, "other": 0.0})
        chosen = selection(padded, "forward", ("y",), absent)
        assert [step.number for step in chosen.steps] == expected
    assert missing(program, (), {"value": 1.0}) == ["x"]


def test_an_absent_input_makes_another_tensor() -> None:
    assert not set(numbers("forward").values()) & set(numbers("forward", "x").values())
    assert {
        name: origin.inputs for name, origin in origins(CHAIN, "forward", ("x",)).items()
    } == dict.fromkeys("mvzy", frozenset())


def test_what_a_tensor_follows_from() -> None:
    found = {name: set(origin.inputs) for name, origin in origins(CHAIN, "vjp", ()).items()}
    assert found["u"] == {"x"}
    assert found["gv"] == found["gx"] == {"x", "gy"}


def targets(run: Run, *known: str) -> list[str]:
    return [name for step in selection(CHAIN, *run, known).steps for name in step.targets]


def test_what_does_at_once_what_several_do_runs_where_all_of_them_would() -> None:
    both = Joint(Phase(two, ("p", "q", "x"), ("N",)), of=(0, 2))
    program = Program(("x",), ("p", "q", "r"), (phase("p", "x"), phase("r", "p"), phase("q", "x")), (both,))
    made = replace(CHAIN, tensors=tuple(Tensor(n, ("N",)) for n in "pqrx"), programs={"forward": program})

    def steps(wanted: str, known: str = "") -> list[tuple[str, ...]]:
        chosen = selection(made, "forward", wanted.split(), (), known.split())
        assert not any(zeroed for _, zeroed in chosen.made)
        return [step.targets for step in chosen.steps]

    assert steps("p q") == [("p", "q")]
    assert steps("q r") == [("p", "q"), ("r",)]
    assert steps("q") == [("q",)]
    assert steps("r") == [("p",), ("r",)]
    assert steps("q r", "p") == [("r",), ("q",)]


def test_no_phase_runs_for_what_is_known() -> None:
    assert targets(LATER) == ["m", "v", "z", "z", "u", "gv", "gx"]
    assert targets(LATER, "u") == ["m", "gv", "gx"]
    assert targets(LATER, "u", "m") == ["gv", "gx"]
    chosen = selection(CHAIN, *LATER, ("u", "m", "v"))
    assert [t.name for t in chosen.given] == ["gy", "m", "u"]  # v is there, and nobody reads it
    assert [t.name for t in chosen.zeros] == []


def test_the_forward_run_leaves_what_it_does_not_hand_out() -> None:
    """m is read by a step with a cotangent, v by u, which the forward run does not make; z is the caller's."""
    vjp = numbers("vjp")
    assert left(CHAIN, FIRST, LATER, {"x"}, ()) == {"m": vjp["m"], "v": vjp["v"]}
    # where z is not wanted it is the run's own, but then nobody makes it
    assert left(CHAIN, Run("forward", ("y",)), LATER, {"x"}, ()) == {"m": vjp["m"], "v": vjp["v"]}
    assert left(CHAIN, Run("forward", ("z",)), Run("forward", ("y",)), {"x"}, ()) == {"v": vjp["v"]}


def test_a_run_leaves_to_its_next_what_steps_with_a_cotangent_read() -> None:
    vjp = numbers("vjp")
    held = [vjp["m"], vjp["v"]]
    assert read(CHAIN, LATER, held) == {"m": vjp["m"], "v": vjp["v"]}
    assert left(CHAIN, LATER, LATER, {"x"}, held) == {"u": vjp["u"]}
    assert left(CHAIN, LATER, LATER, {"x"}, ()) == {"m": vjp["m"], "u": vjp["u"]}
    held.append(vjp["u"])
    assert read(CHAIN, LATER, held) == {"m": vjp["m"], "u": vjp["u"]}
    assert left(CHAIN, LATER, LATER, {"x"}, held) == {}


def test_what_may_change_in_between_is_not_kept() -> None:
    assert left(CHAIN, FIRST, LATER, set(), ()) == {}
    kept: Any = left(CHAIN, LATER, LATER, {"x", "gy"}, ())
    assert set(kept) == {"gv", "m"}


def test_what_is_wanted_is_made() -> None:
    """Results are the caller's own, even where an equal tensor is held."""
    held = list(numbers("forward").values())
    assert set(read(CHAIN, FIRST, held)) == {"m", "v"}
    assert set(read(CHAIN, Run("renamed", ("q",)), held)) == {"c"}
