"""What is read off the text of emitted tasks is what they do when they run, and where it cannot be read it is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from random import Random

import pytest

from derive.verify import symbolic as sy
from derive.verify.loops import Binder, Bound, Reader, Unreadable, parse, residue, sizes, turns
from kernels.runtime import residue as runtime_residue
from tests.derive.verify.emitted import module_text, phase_of, run, sizes_at

CASES = [
    ("conv1d", "y_from_w_x_plain"),
    ("conv1d", "gx_from_gy_w_plain"),
    ("conv1d", "gb_from_gy_plain"),
    ("max_pool1d", "gx_from_gy_y_at_plain"),
    ("avg_pool1d", "y_from_x_y_divisor_plain"),
    ("cross_entropy", "gx_from_gl_total_t_plain"),
    ("convolve1d", "gw_from_gy_x_plain"),
]


def enumerate_(reading, at, tensors) -> list[tuple[str, str, tuple[int, ...]]]:
    """Every read and write that the reading foretells, at concrete integers."""
    found = []
    for kind, accesses in (("read", reading.reads), ("write", reading.writes)):
        for access in accesses:
            for env in turns(access.path, dict(at), tensors):
                place = tuple(sy.evaluate(i, env, tensors) for i in access.at)
                found.append((kind, access.tensor, place))
    return found


@pytest.mark.parametrize(("operator", "task"), CASES)
def test_reading_is_what_runs(operator: str, task: str) -> None:
    """Elements read and written, as foretold and as a run touches them, are the same; so are the integers decided by data."""
    source = parse(module_text(operator))
    phase, _ = phase_of(operator, task)
    given, derived = sizes(source)
    known = {name: sy.var(name) for name in (*given, *derived)}
    reading = Reader(source, task, phase, known).read()
    random, seen = Random(1), 0
    while seen < 8:
        at = sizes_at(source, random)
        if at is None:
            continue
        for add in (0, 1):
            touched, integers = run(source, task, phase, at, add=add, seed=seen)
            env = {**at, "add'": add, "task'": 0, "tasks'": 1}
            made = set(enumerate_(numbered(reading, at), env, integers))
            assert touched <= made
            # a division that is left out where a sum is 0 is the one thing that data decide
            assert {a for a in made - touched if a[1] != "y_divisor"} == set()
        seen += 1


def numbered(reading, at):
    """The reading with numbers for strides, so that residue classes are worked out."""

    def fixed(f):
        return sy.replaced(f, at, residue)

    def path(p):
        return tuple(
            replace(x, low=fixed(x.low), high=fixed(x.high), step=fixed(x.step))
            if isinstance(x, Binder)
            else replace(x, holds=fixed(x.holds))
            for x in p
        )

    return replace(
        reading,
        reads=[replace(r, at=tuple(map(fixed, r.at)), path=path(r.path)) for r in reading.reads],
        writes=[replace(w, at=tuple(map(fixed, w.at)), path=path(w.path)) for w in reading.writes],
    )


def test_residue_classes() -> None:
    """The formula of a residue class is what the runtime's function returns."""
    m = sy.var("m")
    for s, d in product(range(1, 9), range(-8, 9)):
        first, step = residue(s, d, m)
        for value in range(-20, 21):
            env = {"m": value}
            assert (sy.evaluate(first, env), sy.evaluate(step, env)) == runtime_residue(s, d, value)


TASK = """
@task
def y_plain(y: Real2, x: Real2, N: int, O: int, add: int, task: int, tasks: int) -> None:
    first, last = share(N * O, task, tasks)
    for item in range(first, last):
        n = item // O
        o = item % O
        {body}


DEFINITION = Definition(tensors=(), parameters=(), conditions=(), programs={{}})
"""


def reader(body: str) -> Reader:
    text = TASK.format(body=body.strip().replace("\n", "\n        "))
    phase = Bound("y_plain", ("y", "x"), ("N", "O"), ((), ()), True)
    return Reader(parse(text), "y_plain", phase, {"N": sy.var("N"), "O": sy.var("O")})


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("while n < 3:\n    n += 1", "while n < 3"),
        ("c = 0\nfor k in range(O):\n    c += 1\n    y[n, c] = x[n, k]", "`c`"),
        ("lanes = tile.lanes", "tile"),
        ("m = 1 + item", "`item`"),
        ("for k in range(O):\n    if x[n, k] > zero():\n        y[n, k] = x[n, k]", "depends on data"),
    ],
)
def test_refused(body: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why) as caught:
        reader(body).read()
    assert caught.value.line > 0


def test_values_after_a_branch() -> None:
    """An integer that a guard changes is one of two."""
    found = reader("k = o\nif o > 2:\n    k = 0\ny[n, k] = x[n, o]").read()
    ((_, k),) = (w.at for w in found.writes)
    assert [sy.evaluate(k, {"item.1'": o}) for o in range(5)] == [0, 1, 2, 0, 0]


@pytest.mark.parametrize("b", [-3, -2, -1, 1, 2, 3])
def test_division_is_pythons(b: int) -> None:
    x: Callable[[int], dict[str, int]] = lambda v: {"x": v}
    for a in range(-7, 8):
        assert sy.evaluate(sy.div(sy.var("x"), b), x(a)) == a // b
        assert sy.evaluate(sy.mod(sy.var("x"), b), x(a)) == a % b
