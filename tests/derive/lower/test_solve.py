"""Each row of the solver's table before and after; and that a nest visits exactly its relation's points, each once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from derive.language import Index, Parameter, Size, extent, indices, parameters
from derive.lower.loops import Assign, CeilDiv, Divides, FloorDiv, Loop, Modulo, Nest, ResidueLoop
from derive.lower.loops import Test as Guard
from derive.lower.plain import gather, lower, scatter
from derive.lower.solve import Solver
from derive.passes.canonical import abstract
from derive.program import Access, Affine, Equation, IntegerAccess, Range, Relation, affine
from tests.support.nests import brute_force, task_owners, visited
from tests.support.relation import Env, Meaning, code, filled
from tests.support.specimens import SPECIMENS, derived

p, k, q, n, u, v = indices("p k q n u v")
s, d, m = parameters("s d m")
a, e = parameters("a e", positive=False)
free_sign = s - d
P, K, Q, N, U, V = (extent(i) for i in (p, k, q, n, u, v))


def equation(
    zero: Any, target: tuple[Index, ...], bound: tuple[Index, ...], nonneg: Any = (), **sizes: Any
) -> Equation:
    forms = [tuple(f for e_ in es if (f := affine(sp.sympify(e_))) is not None) for es in (zero, nonneg)]
    ranges = tuple(Range(i, sizes.get(i.name, extent(i))) for i in (*target, *bound))
    return Equation(Access("y", *target), Relation(ranges, *forms), sp.S.One)


def steps(eq: Equation, known: tuple[Index, ...]) -> list[Any]:
    solver = Solver.of(eq)
    solver.known |= set(known)
    solver.rest([i for i in eq.relation.indices if i not in known])
    assert not solver.pending
    assert not solver.checks
    return solver.steps


# ---- the table, row by row --------------------------------------------------------------------------------

ROWS: dict[str, tuple[Equation, tuple[Index, ...], list[Any]]] = {
    "none unknown": (
        equation([s * p - q], (p, q), ()),
        (p, q),
        [Guard(s * p - q, "zero")],
    ),
    "coefficient 1": (
        equation([s * p + a - q], (p,), (q,)),
        (p,),
        [Assign(q, s * p + a, Q)],
    ),
    "coefficient -1, the other way round": (
        equation([q - s * p - a], (p,), (q,)),
        (p,),
        [Assign(q, s * p + a, Q)],
    ),
    "coefficient s": (
        equation([s * p + a - q], (q,), (p,)),
        (q,),
        [Divides(s, q - a), Assign(p, FloorDiv(q - a, s), P)],
    ),
    "coefficient -s": (
        equation([q + a - s * p], (q,), (p,)),
        (q,),
        [Divides(s, q + a), Assign(p, FloorDiv(q + a, s), P)],
    ),
    "coefficient -3": (
        equation([q - 3 * p], (q,), (p,)),
        (q,),
        [Divides(sp.Integer(3), q), Assign(p, FloorDiv(q, 3), P)],
    ),
    "mixed radix": (
        equation([V * u + v - q], (q,), (u, v)),
        (q,),
        [Guard(q, "range", U * V), Assign(u, FloorDiv(q, V)), Assign(v, Modulo(q, V))],
    ),
    "mixed radix, negated and shifted": (
        equation([q + 1 - V * u - v], (q,), (u, v)),
        (q,),
        [Guard(q + 1, "range", U * V), Assign(u, FloorDiv(q + 1, V)), Assign(v, Modulo(q + 1, V))],
    ),
    "mixed radix of three digits": (
        equation([U * V * k + V * u + v - q], (q,), (u, k, v)),
        (q,),
        [
            Guard(q, "range", K * U * V),
            Assign(k, FloorDiv(q, U * V)),
            Assign(u, Modulo(FloorDiv(q, V), U)),
            Assign(v, Modulo(q, V)),
        ],
    ),
    "no mixed radix: a digit is missing": (
        equation([U * V * k + v - q], (q,), (k, v)),
        (q,),
        [Loop(k, (sp.S.Zero,), (K,)), Assign(v, q - k * U * V, V)],
    ),
    "two unknowns, one with coefficient 1": (
        equation([s * p + d * k - a - q], (p,), (k, q)),
        (p,),
        [
            Loop(k, (sp.S.Zero, CeilDiv(a - s * p, d)), (K, FloorDiv(Q - 1 + a - s * p, d) + 1)),
            Assign(q, s * p + d * k - a),
        ],
    ),
    "two unknowns, a true convolution": (
        equation([p - k - q], (p,), (k, q)),
        (p,),
        [Loop(k, (sp.S.Zero, p - Q + 1), (K, p + 1)), Assign(q, p - k)],
    ),
    "residue class": (
        equation([s * p + d * k - a - q], (q,), (k, p)),
        (q,),
        [
            ResidueLoop(
                k, s, d, q + a, (sp.S.Zero, CeilDiv(q + a - s * (P - 1), d)), (K, FloorDiv(q + a, d) + 1)
            ),
            Assign(p, FloorDiv(q + a - d * k, s)),
        ],
    ),
    "residue class, opposite signs": (
        equation([s * p - d * k - q], (q,), (k, p)),
        (q,),
        [
            ResidueLoop(k, s, -d, q, (sp.S.Zero, CeilDiv(-q, d)), (K, FloorDiv(s * (P - 1) - q, d) + 1)),
            Assign(p, FloorDiv(q + d * k, s)),
        ],
    ),
    "unknown sign": (
        equation([free_sign * k + p - q], (p, q), (k,)),
        (p, q),
        [Loop(k, (sp.S.Zero,), (K,)), Guard(free_sign * k + p - q, "zero")],
    ),
    "sign that may be nought": (
        equation([a * k + p - q], (p, q), (k,)),
        (p, q),
        [Loop(k, (sp.S.Zero,), (K,)), Guard(a * k + p - q, "zero")],
    ),
    "inequalities bound a loop": (
        equation([], (p,), (k,), [k - s * p, m * p + a - d * k]),
        (p,),
        [Loop(k, (sp.S.Zero, s * p), (K, FloorDiv(m * p + a, d) + 1))],
    ),
    "inequality of what is known": (
        equation([], (p,), (), [p - a]),
        (p,),
        [Guard(p - a, "nonneg")],
    ),
    "no constraint": (
        equation([], (p,), (k, n)),
        (p,),
        [Loop(k, (sp.S.Zero,), (K,)), Loop(n, (sp.S.Zero,), (N,))],
    ),
    "an integer tensor": (
        Equation(
            Access("y", n),
            Relation(
                (Range(n, N), Range(q, Q)), (Affine.of([(IntegerAccess("t", n), sp.S.One), (q, -sp.S.One)]),)
            ),
            Access("x", q),
        ),
        (n,),
        [Assign(q, IntegerAccess("t", n), Q)],
    ),
}


def shown(steps_: list[Any]) -> list[str]:
    """As text, with every product multiplied out."""

    def text(e_: Any) -> str:
        if isinstance(e_, tuple):
            return "(" + ", ".join(map(text, e_)) + ")"
        if isinstance(e_, sp.Expr):
            for f in (FloorDiv, CeilDiv):
                e_ = e_.replace(f, lambda x, y, f=f: f(sp.expand(x), y))
            return str(sp.expand(e_))
        return str(e_)

    return [
        f"{type(st_).__name__} " + " ".join(text(getattr(st_, f)) for f in st_.__slots__) for st_ in steps_
    ]


@pytest.mark.parametrize("row", ROWS)
def test_row(row):
    eq, known, expected = ROWS[row]
    assert shown(steps(eq, known)) == shown(expected)


@pytest.mark.parametrize("row", ROWS)
def test_row_visits_its_points(row):
    eq, known, _ = ROWS[row]
    for seed in range(12):
        env = numbers(eq, random.Random(seed))
        nest = Nest(
            eq,
            "gather",
            tuple(Loop(i, (sp.S.Zero,), (eq.relation.size(i),)) for i in known),
            (),
            tuple(steps(eq, known)),
            0.0,
        )
        assert sorted(visited(nest, env)) == sorted(brute_force(eq, env))


def test_what_can_be_solved_is_not_guarded():
    """Three unknowns of one equality: two loops, and the third follows without a test."""
    made = steps(equation([s * p + d * k - q], (), (q, p, k)), ())
    assert [type(step) for step in made] == [Loop, Loop, Assign]
    assert made[-1].size is None


def test_independent_axes_are_solved_apart():
    x1, x2, k1, k2, p1, p2 = indices("x1 x2 k1 k2 p1 p2")
    made = gather(equation([s * p1 + k1 - x1, d * p2 + k2 - x2], (x1, x2), (p1, p2, k1, k2)))
    assert sum(isinstance(step, ResidueLoop) for step in made.inner) == 0
    assert sum(isinstance(step, Guard) for step in made.inner) == 0
    assert sum(isinstance(step, (Loop, Assign)) for step in made.inner) == 4


# ---- a property: exactly the relation's points, each once ---------------------------------------------------

SMALL = {"s": 6, "d": 6, "m": 4}


def numbers(eq: Equation, rng: random.Random) -> Env:
    """A small value for every symbol, an array for every integer tensor."""
    expressions = [g.size for g in eq.relation.ranges]
    for f in (*eq.relation.zero, *eq.relation.nonneg):
        expressions += [f.constant, *(c for _, c in f.terms)]
    env: Env = {}
    for symbol in sorted({x for e_ in expressions for x in e_.free_symbols}, key=str):
        if isinstance(symbol, Parameter):
            env[symbol] = (
                rng.randint(1, SMALL.get(symbol.name, 5)) if symbol.is_positive else rng.randint(0, 4)
            )
        elif isinstance(symbol, Size):
            env[symbol] = rng.choice([0, 1, 2, 3, 4, 5, 7]) if rng.random() < 0.9 else 9
    for read in {r for f in (*eq.relation.zero, *eq.relation.nonneg) for r in f.reads}:
        shape = [code(eq.relation.size(i))(env) for i in read.indices]
        env[read.tensor] = np.array(
            [rng.randint(-1, 5) for _ in range(int(np.prod(shape)))], dtype=object
        ).reshape(shape)
    return env


COEFFICIENTS = (1, 1, 1, -1, 2, -2, 3, -3, s, s, -s, d, d, -d, s * d, -2 * s, m + 1, s - d, a, -a)
CONSTANTS = (0, 0, 1, -2, a, -a, a - e, -s, 2 * a + 1, s - d)


@st.composite
def relations(draw: Any) -> Equation:
    """One to three equalities and some inequalities over three to five indices: windows, laps, mixed radices,
    coefficients of any sign or of none that is known, ranges that are numbers or formulas."""
    pool = [p, k, q, n, u][: draw(st.integers(2, 5))]
    zero, nonneg = [], []
    for _ in range(draw(st.integers(0, 2))):
        chosen = draw(st.lists(st.sampled_from(pool), min_size=1, max_size=3, unique=True))
        form = sum(
            (draw(st.sampled_from(COEFFICIENTS)) * i for i in chosen),
            sp.sympify(draw(st.sampled_from(CONSTANTS))),
        )
        if draw(st.integers(0, 5)) == 0 and len(chosen) > 1:  # a mixed radix
            form = extent(chosen[1]) * chosen[0] + chosen[1] - draw(st.sampled_from(pool))
            if len(chosen) > 2:
                form += extent(chosen[0]) * extent(chosen[1]) * chosen[2]
        zero.append(form)
    for _ in range(draw(st.integers(0, 2))):
        chosen = draw(st.lists(st.sampled_from(pool), min_size=1, max_size=2, unique=True))
        nonneg.append(
            sum(
                (draw(st.sampled_from(COEFFICIENTS)) * i for i in chosen),
                sp.sympify(draw(st.sampled_from(CONSTANTS))),
            )
        )
    count = draw(st.integers(0, len(pool)))
    sizes = {
        i.name: draw(st.sampled_from([extent(i), extent(i), sp.Integer(3), extent(pool[0]), s + 1]))
        for i in pool
    }
    made = equation(zero, tuple(pool[:count]), tuple(pool[count:]), nonneg, **sizes)
    if draw(st.integers(0, 4)) == 0 and count >= 1 and len(pool) > count:
        t = IntegerAccess("t", pool[0])
        form = Affine.of(
            [(t, sp.S.One), (pool[count], sp.sympify(draw(st.sampled_from((-1, 1, -2, -s)))))], 0
        )
        made = replace(made, relation=replace(made.relation, zero=(*made.relation.zero, form)))
    return made


def agrees(eq: Equation, env: Env) -> None:
    expected = sorted(brute_force(eq, env))
    for make in (gather, scatter, lower):
        nest = make(eq)
        assert nest is not None
        found = visited(nest, env)
        assert len(found) == len(set(found)), f"{nest.strategy}: twice"
        assert sorted(found) == expected, nest.strategy
        owner: dict[Any, Any] = {}
        for task, element in task_owners(nest, env):
            assert owner.setdefault(element, task) == task, f"{nest.strategy}: two tasks write {element}"


@given(relations(), st.integers(0, 10**6))
@settings(max_examples=250)
def test_same_points(eq, seed):
    """Gather, scatter and the choice of the two visit the relation's points, each once, elements by one task each."""
    agrees(eq, numbers(eq, random.Random(seed)))


@given(relations(), st.integers(0, 10**6))
@settings(max_examples=100)
def test_same_points_of_the_shape(eq, seed):
    """As kernels are made: of the abstracted equation, its symbols bound to the formulas they stand for."""
    env = numbers(eq, random.Random(seed))
    shape = abstract(eq)
    bound: Env = {symbol: code(f)(env) for symbol, f in shape.integers}
    bound |= {v_.tensor: env[tensor] for v_, tensor in shape.tensors if tensor in env}
    agrees(shape.equation, bound)


@pytest.mark.slow
@given(relations(), st.integers(0, 10**6))
@settings(max_examples=5000)
def test_same_points_of_many(eq, seed):
    agrees(eq, numbers(eq, random.Random(seed)))


@given(
    st.tuples(
        st.integers(1, 6),
        st.integers(1, 6),
        st.integers(0, 4),
        st.integers(0, 6),
        st.integers(0, 5),
        st.integers(0, 12),
    )
)
def test_the_window_at_every_stride_and_dilation(sizes):
    """Forward, input gradient and weight gradient of s*p + d*k - a = q, gcd(s, d) > 1 too."""
    s_, d_, a_, P_, K_, Q_ = sizes
    env = {s: s_, d: d_, a: a_, P: P_, K: K_, Q: Q_}
    for target, bound in (((p,), (k, q)), ((q,), (p, k)), ((k,), (p, q)), ((), (p, k, q))):
        agrees(equation([s * p + d * k - a - q], target, bound), env)


@pytest.mark.slow
def test_the_window_everywhere():
    from itertools import product as every

    window = [
        equation([s * p + d * k - a - q], t, b) for t, b in (((p,), (k, q)), ((q,), (p, k)), ((k,), (p, q)))
    ]
    for s_, d_, a_, P_, K_ in every(range(1, 7), range(1, 7), range(3), range(1, 4), range(1, 4)):
        for Q_ in (1, 4, 9):
            for eq in window:
                agrees(eq, {s: s_, d: d_, a: a_, P: P_, K: K_, Q: Q_})


@pytest.mark.parametrize("specimen", SPECIMENS, ids=lambda m_: m_.name)
def test_same_points_of_every_specimen(specimen):
    """Every equation that a whole derivation lowers, second order included."""
    made = derived(specimen.name)
    forward = Meaning(made.raw["forward"])
    seen: set[str] = set()
    for name, phases in made.phases.items():
        program = made.programs[name]
        inputs = filled(program, forward, specimen.inputs(), specimen.integers)
        meaning = Meaning(program)
        env = meaning.environment({t.name: inputs[t.name].shape for t in program.inputs}, specimen.integers)
        arrays = None
        for ph in phases:
            eq = ph.equation
            if ph.kernel in seen or len(eq.relation.indices) > 8 and name != "forward":
                continue
            seen.add(ph.kernel)
            if any(f.reads for f in (*eq.relation.zero, *eq.relation.nonneg)):
                arrays = arrays or meaning.run(inputs, specimen.integers, specimen.reals)
            shape = abstract(eq)
            bound: Env = {symbol: code(f)(env) for symbol, f in shape.integers}
            bound |= {v_.tensor: arrays[t] for v_, t in shape.tensors if arrays is not None and t in arrays}
            nest = lower(shape.equation)
            found = visited(nest, bound)
            assert Counter(found) == Counter(brute_force(shape.equation, bound)), f"{eq}: {nest.describe()}"


# ---- shown failing -----------------------------------------------------------------------------------------------


def dropped_phase(nest: Nest) -> Nest:
    """One residue class too few: the first candidate is skipped."""
    change: Callable[[Any], Any] = lambda st_: (
        replace(st_, low=(*st_.low, sp.S.One)) if isinstance(st_, (ResidueLoop, Loop)) else st_
    )
    return replace(nest, inner=tuple(map(change, nest.inner)))


def shifted(nest: Nest) -> Nest:
    change: Callable[[Any], Any] = lambda st_: (
        replace(st_, value=st_.value + 1) if isinstance(st_, Assign) else st_
    )
    return replace(nest, inner=tuple(map(change, nest.inner)))


def unguarded(nest: Nest) -> Nest:
    change: Callable[[Any], Any] = lambda st_: (
        replace(st_, low=(sp.S.Zero,), high=st_.high[:1]) if isinstance(st_, (ResidueLoop, Loop)) else st_
    )
    return replace(nest, inner=tuple(map(change, nest.inner)))


@pytest.mark.parametrize("plant", [dropped_phase, shifted, unguarded], ids=lambda f: f.__name__)
def test_a_wrong_nest_is_noticed(plant):
    eq = equation([s * p + d * k - a - q], (q,), (k, p))
    env = {s: 2, d: 3, a: 1, P: 4, K: 3, Q: 9}
    nest = gather(eq)
    assert sorted(visited(nest, env)) == sorted(brute_force(eq, env))
    assert sorted(visited(plant(nest), env)) != sorted(brute_force(eq, env))


def test_a_nest_that_repeats_is_noticed():
    eq = equation([], (p,), (k,))
    env = {P: 2, K: 2}
    nest = gather(eq)
    found = visited(replace(nest, inner=(*nest.inner, Loop(u, (sp.S.Zero,), (sp.Integer(2),)))), env)
    assert len(found) != len(set(found))
