"""What a user writes: names, tensors, reductions, operators; every mistake that shows before translation."""

from __future__ import annotations

from fractions import Fraction

import pytest
import sympy as sp

import derive
from derive import language
from derive.emit import printing
from derive.errors import SpecError
from derive.language import (
    KINDS,
    SCALARS,
    TIES,
    ArgMax,
    Index,
    Kth,
    Max,
    Mean,
    Operator,
    Parameter,
    Prod,
    Read,
    Real,
    Reduce,
    Size,
    Sum,
    Tensor,
    extent,
    indicator,
    indices,
    inside,
    maximum,
    minimum,
    overhang,
    parameters,
    reals,
    relu,
    step,
    tensors,
)

n, p, k, c = indices("n p k c")
x, w, y = tensors("x w y")
s = parameters("s")
a = parameters("a", positive=False)


# ---- families ---------------------------------------------------------------------------------------


def test_families():
    assert indices("p k", 2) == [(Index("p0"), Index("p1")), (Index("k0"), Index("k1"))]
    assert indices("p", 3) == (Index("p0"), Index("p1"), Index("p2"))
    assert parameters("s d") == [Parameter("s"), Parameter("d")]
    assert isinstance(reals("eps"), Real)


def test_signs():
    assert s.is_positive
    assert a.is_nonnegative
    assert a.is_positive is None
    assert extent(p).is_nonnegative
    assert reals("e", positive=True).is_positive
    assert reals("e").is_positive is None


def test_extents_are_named_by_capitals():
    assert extent(Index("row")) == Size("ROW")
    assert x.size(2) == Size("X2")


def test_the_same_name_is_the_same_thing():
    assert Index("p") == p
    assert Tensor("x")[p] == x[p]
    assert Tensor("x", outside=0) != x
    assert Tensor("x", integer=True) != x


def test_a_read_is_a_real_scalar():
    assert isinstance(x[n, p], Read)
    assert (x[n, p] * w[p]).is_real
    assert x[()].at == ()
    assert str(x[n, s * p + k - a]) == "x[n,k + p*s - a]"
    assert x[n, s * p].free_symbols == {n, s, p}


def test_a_tensor_is_no_sequence():
    """Python would ask x[0], x[1], ... for ever; so would SymPy, which takes it for a list."""
    with pytest.raises(TypeError, match="'Tensor' object is not iterable"):
        list(x)
    assert sp.Max(x[p], 0).args == (0, x[p])
    assert (2 ** x[p]).exp == x[p]


# ---- statements and reductions ------------------------------------------------------------------------


def test_statements_read_like_the_equation():
    statement = y[n, p] << Sum[c, k](x[n, c, s * p + k] * w[c, k]) + 1
    assert str(statement) == "y[n,p] << sum[c,k](w[c,k]*x[n,c,k + p*s]) + 1"


def test_bound_indices_are_not_free():
    total = Sum[k](x[n, k], k < p)
    assert total.free_symbols == {n, p}
    assert (total.kind, total.bound, total.where, total.ties, total.at) == (
        "sum",
        (k,),
        (k < p,),
        "first",
        None,
    )


def test_families_of_indices_reduce_as_one():
    kk = indices("k", 2)
    assert Sum[c, kk](x[c, *kk]) == Sum[c, *kk](x[c, *kk])


def test_mean_is_a_sum_over_the_extents():
    assert Mean[k, c](x[k, c]) == Sum[k, c](x[k, c] / (extent(k) * extent(c)))


def test_mean_counts_the_points_of_a_condition():
    assert Mean[k](x[k], k < s) == Sum[k](x[k], k < s) / Sum[k](1, k < s)


def test_a_family_of_indices_stands_for_its_members():
    q = indices("q", 2)
    assert x[n, q] == x[n, q[0], q[1]]


def test_argmax_yields_the_row_major_place():
    best = ArgMax[k, c](x[k, c])
    assert best.at == k * extent(c) + c
    assert best.is_integer
    assert ArgMax[k](x[k], at=2 * k).at == 2 * k


def test_kth_is_written_out_by_ranks():
    chosen = Kth[k](x[n, k], 0)
    twin = k.twin()
    assert (twin.name, twin.like) == ("k_twin", k)
    (count,) = (r for r in chosen.atoms(Reduce) if r.bound == (twin,))
    assert str(count.body) == "indicator((x[n,k_twin] < x[n,k]) | ((k_twin < k) & Eq(x[n,k_twin], x[n,k])))"


def test_twins_are_never_a_users_index():
    """They were once called `ko`: a second extent law for whoever had an index of that name."""
    Kth[k](x[n, k], 0)
    assert Index("ko").like is None
    assert k.twin().twin().name == "k_twin_twin"


def test_numbers_come_exactly():
    assert (y[n] << Fraction(1, 3) * x[n]).body == sp.Rational(1, 3) * x[n]
    assert (y[n] << Fraction(2, 4)).body == sp.S.Half


# ---- scalar functions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [maximum, minimum], ids=lambda f: f.__name__)
def test_partial_derivatives_at_a_tie_add_to_one(function):
    u, v = sp.symbols("u v", real=True)
    du, dv = function(u, v).diff(u), function(u, v).diff(v)
    for value in (-1, 0, 1):
        at = {u: value, v: 0}
        assert du.subs(at) + dv.subs(at) == 1
    assert du.subs({u: 0, v: 0}) == 1


def test_an_indicator_of_what_is_known_is_a_number():
    u = sp.Symbol("u", real=True)
    assert (indicator(sp.Integer(1) > 0), indicator(u < u)) == (1, 0)
    assert indicator(u > 0).diff(u) == 0


def test_relu_and_step():
    u = sp.Symbol("u", real=True)
    assert relu(u).diff(u) == step(u)
    assert step(u).diff(u) == 0


def test_the_printer_knows_every_scalar_function():
    named = {f.__name__ for f in SCALARS} - {"Abs", "sign"}
    assert named == printing.UNARY | printing.OURS.keys()


def test_the_package_offers_the_language():
    for name in derive.__all__:
        assert getattr(derive, name) is not None
    with pytest.raises(AttributeError, match="module 'derive' has no attribute 'Conv'"):
        _ = derive.Conv


# ---- mistakes -------------------------------------------------------------------------------------------

ELEMENTS = "`x` is a tensor; equations are about its elements, x[...]"
BAD = {
    "tensor for an element": (lambda: x * 2, ELEMENTS),
    "tensor beside an element": (lambda: w[k] + x, ELEMENTS),
    "tensor compared": (lambda: x > 0, ELEMENTS),
    "tensor as a target": (lambda: x << w[k], ELEMENTS),
    "arrow the other way": (
        lambda: x[k] >> y[k],
        "an equation is written `target[...] << body`, found x[k] >> y[k]",
    ),
    "formula as a target": (
        lambda: 2 * y[k] << x[k],
        "an equation is written `target[...] << body`, found 2*y[k] << x[k]",
    ),
    "two targets": (
        lambda: y[k] << x[k] << w[k],
        "an equation is written `target[...] << body`, found y[k] << x[k] << w[k]",
    ),
    "nothing reduced": (
        lambda: Mean(x[k]),
        "Mean names the indices that it reduces: Mean[k](...), found Mean(x[k])",
    ),
    "rank missing": (
        lambda: Kth[k](x[k]),
        "the r-th smallest over k is written Kth[k](body, r), found Kth of x[k]",
    ),
    "rank between": (lambda: Kth[k](x[k], 1.5), "the rank of Kth is a whole number, found 1.50000000000000"),
    "arguments": (lambda: relu(x[k], 0), "relu(...) takes 1 argument, found relu(x[k], 0)"),
    "argument missing": (lambda: maximum(x[k]), "maximum(...) takes 2 arguments, found maximum(x[k])"),
    "margin of one number": (
        lambda: Tensor("x", margin=1),
        "margin of x is one (before, after) pair per axis, found 1",
    ),
    "law by a word": (lambda: overhang("ceil"), "`when` of overhang is an expression, found 'ceil'"),
    "law by a real": (
        lambda: overhang(reals("r")),
        "overhang(when) takes True or an integer parameter (0: no), found r",
    ),
    "extents in a list": (
        lambda: Operator("op", y[n] << x[n], inputs=(x,), extents=[3]),
        "op: `extents` is a dictionary by index, found [3]",
    ),
    "two extents": (
        lambda: Operator("op", y[n, k] << x[n], inputs=(x,), extents={k: 3}, given=k),
        "op: the extent of `k` is both in `extents` and `given`",
    ),
    "index twice": (lambda: Sum[k, k](x[k]), "sum[k,k] names an index twice"),
    "no index": (lambda: Sum[s](x[s]), "sum[...] reduces indices, found s"),
    "conditions by name": (
        lambda: Sum[k](x[k], where=k < 3),
        "sum[...](body, ...) has no option `where`; conditions follow the body, as in Sum[j](x[j], j < i), "
        "and its options are ties and at",
    ),
    "number reduced": (lambda: Max[3](x[k]), "max[...] reduces indices, found 3"),
    "ties": (lambda: Max[k](x[k], ties="mean"), "ties is one of first, last, split, all, found 'mean'"),
    "at": (lambda: Max[k](x[k], at=k), "`at` belongs to ArgMax and ArgMin, not to max"),
    "index name": (
        lambda: indices("p q-r"),
        "an index needs a plain name of letters and digits (single inner underscores), found 'q-r'",
    ),
    "keyword": (
        lambda: Tensor("lambda"),
        "a tensor needs a plain name of letters and digits (single inner underscores), found 'lambda'",
    ),
    "underscore": (
        lambda: parameters("_s"),
        "a parameter needs a plain name of letters and digits (single inner underscores), found '_s'",
    ),
    "operator name": (
        lambda: Operator("my layer", y[n] << x[n], inputs=(x,)),
        "an operator needs a plain name of letters and digits (single inner underscores), found 'my layer'",
    ),
    "not text": (
        lambda: Real(3),  # type: ignore[arg-type]
        "a real parameter needs a plain name of letters and digits (single inner underscores), found 3",
    ),
    "twin": (
        lambda: indices("k_twin"),
        "an index cannot be called `k_twin`: names that end in _twin are the engine's own",
    ),
    "no names": (lambda: indices(""), "names are missing"),
    "nd": (lambda: indices("p", 0), "nd is at least 1, found 0"),
    "extent": (lambda: extent(s), "extent() takes an index, found s"),
    "margin pair": (
        lambda: Tensor("x", margin=[1]),
        "margin of x is one (before, after) pair per axis, found 1",
    ),
    "margin text": (lambda: Tensor("x", margin=[("a", 0)]), "the margin of x is an expression, found 'a'"),
    "outside": (
        lambda: Tensor("x", outside="zero"),
        "outside of x is \"absent\", a value, or one of reflect, symmetric, replicate, circular; found 'zero'",
    ),
    "text index": (lambda: x["p"], "an index of x is an expression, found 'p'"),
    "slice": (lambda: x[1:2], "an index of x is an expression, found slice(1, 2, None)"),
    "text body": (lambda: y[p] << "x[p]", "the right-hand side of y[p] is an expression, found 'x[p]'"),
    "None body": (lambda: y[p] << None, "the right-hand side of y[p] is an expression, found None"),
    "list body": (lambda: y[p] << [x[p]], "the right-hand side of y[p] is an expression, found [x[p]]"),
    "text in a sum": (lambda: Sum[k]("k"), "the body of sum is an expression, found 'k'"),
    "text condition": (lambda: Sum[k](x[k], "k < 3"), "a condition of sum is an expression, found 'k < 3'"),
    "text rank": (lambda: Kth[k](x[k], "0"), "the rank of Kth is an expression, found '0'"),
    "text extent": (
        lambda: Operator("op", y[p] << x[p], inputs=(x,), extents={p: "3"}),
        "the extent of `p` is an expression, found '3'",
    ),
    "no equation": (lambda: Operator("op", inputs=(x,)), "op: an operator needs at least one equation"),
    "no statement": (
        lambda: Operator("op", x[p], inputs=(x,)),
        "op: an equation is written `target[...] << body`, found x[p]",
    ),
    "inputs": (lambda: Operator("op", y[p] << x[p], inputs=("x",)), "op: inputs are tensors, found 'x'"),
    "inputs in text": (lambda: Operator("op", y[p] << x[p], inputs="x"), "op: inputs are tensors, found 'x'"),
    "outputs": (
        lambda: Operator("op", y[p] << x[p], inputs=(x,), outputs=("y",)),
        "op: outputs are tensors, found 'y'",
    ),
    "given": (
        lambda: Operator("op", y[p] << x[p], inputs=(x,), given=(3,)),
        "op: `given` names indices, found 3",
    ),
    "extents": (
        lambda: Operator("op", y[p] << x[p], inputs=(x,), extents={"p": 3}),
        "op: `extents` gives extents of indices, found 'p'",
    ),
    "law of what": (
        lambda: Operator("op", y[p] << x[p], inputs=(x,), laws={s: language.overhang()}),
        "op: `laws` are for indices, found s",
    ),
    "law": (
        lambda: Operator("op", y[p] << x[p], inputs=(x,), laws={p: "ceil"}),
        "op: a law is overhang(...), found 'ceil'",
    ),
}


@pytest.mark.parametrize("mistake", BAD)
def test_mistake(mistake):
    make, text = BAD[mistake]
    with pytest.raises(SpecError) as error:
        make()
    assert str(error.value) == text


def test_text_is_never_evaluated(tmp_path):
    """SymPy's sympify evaluates strings as Python."""
    mark = tmp_path / "evaluated"
    text = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    for attempt in (
        lambda: y[p] << text,
        lambda: x[text],
        lambda: Sum[p](text),
        lambda: Prod[p](x[p], text),
        lambda: ArgMax[p](x[p], at=text),
        lambda: Kth[p](x[p], text),
        lambda: Tensor("z", margin=[(text, 0)]),
        lambda: Tensor("z", outside=text),
        lambda: Operator("op", y[p] << x[p], inputs=(x,), extents={p: text}),
    ):
        with pytest.raises(SpecError):
            attempt()
    assert not mark.exists()


def test_one_thing_will_do_for_a_tuple():
    op = Operator("op", y[p] << x[p] * k, inputs=x, outputs=y, given=k)
    assert (op.inputs, op.outputs, op.given, op.extents) == ((x,), (y,), (k,), {k: extent(k)})


def test_an_operator_prints_its_equations_and_shows_latex():
    op = Operator("op", y[p] << Sum[k](x[p + k] * w[k]), inputs=(x, w))
    assert repr(op) == "Operator op(x, w)\n    y[p] << sum[k](w[k]*x[k + p])"
    latex = op._repr_latex_()
    assert latex.startswith(r"$$\begin{aligned}y_{p} &\mathrel{+}= \sum_{k}")
    assert latex.endswith(r"\end{aligned}$$")


def test_kinds_and_ties_are_listed():
    assert KINDS == ("sum", "max", "min", "prod", "logsumexp", "argmax", "argmin")
    assert TIES == ("first", "last", "split", "all")
    assert inside(x[p]).is_real
