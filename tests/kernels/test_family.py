"""An option that chooses the equations: the call goes to the operator that has them."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest

import kernels
from kernels.adapter import Adapter
from kernels.errors import ArgumentError, ShapeError
from kernels.family import Family, Variants
from kernels.pooling import global_pool

X = np.arange(24.0).reshape(1, 2, 3, 4)


def plan(spec, input, how="avg"):
    """{how} pooling."""
    assert how in ("avg", "max"), how
    return global_pool(spec, input)


def member(how: str):
    definition = getattr(kernels, f"global_{how}_pool").definition
    return kernels.Operator(definition, Adapter(plan, {"input": "x"}, fixed={"how": how}))


@pytest.fixture
def family():
    loaded = {"global_max_pool": member("max")}
    definition = kernels.global_avg_pool.definition
    variants = Variants("how", {"max": "global_max_pool"})
    return Family(definition, Adapter(plan, {"input": "x"}), variants, loaded.__getitem__)


@pytest.mark.parametrize(
    ("args", "options", "want"),
    [
        ((), {}, X.mean((2, 3))),
        ((), {"how": "avg"}, X.mean((2, 3))),
        ((), {"how": "max"}, X.max((2, 3))),
        (("max",), {}, X.max((2, 3))),
    ],
)
def test_a_value_chooses(family, args, options, want):
    want = want[..., None, None]
    np.testing.assert_array_equal(family(X, *args, **options), want)
    y, pullback = family.vjp(X, *args, **options)
    np.testing.assert_array_equal(y, want)
    (g,) = pullback(np.ones_like(y))
    assert np.count_nonzero(g) == (2 if "max" in (*args, *options.values()) else X.size)
    assert family.output_shape(X, *args, **options) == want.shape
    if not args:
        y, ty = family.jvp((X,), (X,), **options)
        np.testing.assert_allclose(ty, want, rtol=1e-15)  # linear, or a choice; a mean rounds


def test_what_is_no_value_is_left_to_the_default(family):
    for value in ("min", 1, None, ["max"]):
        with pytest.raises(AssertionError):
            family(X, how=value)


def test_a_variant_has_its_own_value_only():
    largest = member("max")
    assert inspect.signature(largest).parameters["how"].default == "max"
    assert "This is it with how='max'" in largest.__doc__
    np.testing.assert_array_equal(largest(X), X.max((2, 3), keepdims=True))
    with pytest.raises(ArgumentError, match="`how` is 'avg' but this operator is the one of 'max'"):
        largest(X, how="avg")


def test_all_arguments_may_choose():
    """A function of what is given, by name; with an array given in a place of its own, too."""
    seen = []

    def choose(given):
        seen.append(set(given))
        return "largest" if given["input"].shape[1] == 2 else None

    definition = kernels.global_avg_pool.definition
    variants = Variants("input", {"largest": "global_max_pool"}, choose)
    family = Family(definition, Adapter(plan, {"input": "x"}), variants, lambda _: member("max"))
    with pytest.raises(ArgumentError, match="is 'avg' but this operator is the one of 'max'"):
        family(X, "avg")
    np.testing.assert_array_equal(family(X), X.max((2, 3), keepdims=True))
    np.testing.assert_array_equal(family.jvp((X,), (X,))[0], X.max((2, 3), keepdims=True))
    np.testing.assert_allclose(family(input=X[:, :1]), X[:, :1].mean((2, 3), keepdims=True))
    assert seen == [{"input", "how"}, {"input"}, {"input"}, {"input"}]


def test_a_number_may_choose():
    """2 is 2.0, but True is no number here; what is omitted is the option's default."""
    for value, name in [(2, "global_lp_pool_2"), (2.0, "global_lp_pool_2"), (math.inf, "global_lp_pool_inf")]:
        assert kernels.global_lp_pool.variant((X, value), {}) is getattr(kernels, name)
    assert kernels.global_lp_pool.variant((X,), {}) is kernels.global_lp_pool_2
    for value in (3.0, 1, True, "2", None, [2.0]):
        assert kernels.global_lp_pool.variant((X, value), {}) is None
    for value in (2.0, np.int64(2), np.float32(2)):
        assert kernels.multi_margin_loss.variant((X, X, value), {}) is kernels.multi_margin_loss_2


def test_one_value_is_no_default_before_arguments_without():
    parameters = inspect.signature(kernels.lp_pool2d_2).parameters
    assert parameters["norm_type"].default is inspect.Parameter.empty
    assert inspect.signature(kernels.global_lp_pool_2).parameters["norm_type"].default == 2.0
    assert kernels.lp_pool2d_2.output_shape(X, 2, 3) == kernels.lp_pool2d_2.output_shape(X, 2.0, 3)


def test_operators_share_a_generated_module():
    """A line is a plane of one row; what is generated does not say what the operator is called."""
    line, plane = kernels.soft_pool1d, kernels.soft_pool2d
    assert line.definition is plane.definition
    assert (line.__name__, plane.__name__) == ("soft_pool1d", "soft_pool2d")
    with pytest.raises(ShapeError, match="^max_unpool1d: "):
        kernels.max_unpool1d.output_shape((1, 2, 3), (1, 2, 4), 2)


@pytest.mark.parametrize(("name", "arrays"), [("normalize", 1), ("pairwise_distance", 2)])
def test_an_exponent_may_be_one_that_has_equations_of_its_own(name: str, arrays: int) -> None:
    """3/5 and 4/5, by squares and by powers."""
    family, powers = getattr(kernels, name), getattr(kernels, f"{name}_p")
    given = (np.array([[3.0, 4.0]]), np.zeros((1, 2)))[:arrays]
    options = {"eps": 0.0} if arrays == 2 else {}
    want = family(*given, **options)
    # a power and a root are off by a unit or two each, products by half of one
    np.testing.assert_allclose(powers(*given, **options), want, rtol=2.0**-50, atol=0)
    assert np.array_equal(powers(*given, p=3.0, **options), family(*given, p=3.0, **options))
    _, pullback = powers.vjp(*given, p=2.0, **options)
    assert pullback(np.ones_like(want))[0].shape == (1, 2)


def test_the_plan_of_a_call_is_that_of_its_operator():
    """Of batch_norm in training two results and the old statistics are more; without them it is no error."""
    plan = kernels.batch_norm.planned((2, 3, 4), (3,), (3,), training=True)
    assert [o.argument for o in plan.outputs] == ["output", "running_mean", "running_var"]
    assert [o.argument for o in kernels.batch_norm.planned((2, 3, 4), training=True).outputs] == ["output"]
    assert [o.argument for o in kernels.batch_norm.planned((2, 3, 4), (3,), (3,)).outputs] == ["output"]


def test_an_array_more_chooses_the_operator_of_jvp():
    """cross_entropy of classes has two arrays; with a third, the weights, it is another operator."""
    rng = np.random.default_rng(0)
    x, moved, weight, target = (
        rng.normal(size=(3, 5)),
        rng.normal(size=(3, 5)),
        rng.random(5),
        np.array([0, 3, 4]),
    )
    value, tangent = kernels.cross_entropy.jvp((x, target, weight), (moved, None, None))
    assert value == kernels.cross_entropy(x, target, weight)
    weighted = kernels.cross_entropy_weighted.jvp((x, target, weight), (moved, None, None))
    assert tangent == weighted[1]


def test_the_arrays_of_jvp_are_no_options():
    """Its primals are the arrays in order: the third of multi_margin_loss is `weight`, which comes behind options."""
    x, target, weight = np.arange(6.0).reshape(2, 3), np.array([0, 2]), np.ones(3)
    for p in (1, 2):
        want = kernels.multi_margin_loss(x, target, p, weight=weight)
        found, tangent = kernels.multi_margin_loss.jvp((x, target, weight), (None, None, weight), p=p)
        assert found == want == tangent  # linear in the weights


def test_what_chooses_equations_for_one_rank_chooses_them_for_all():
    """A plan function accepts an option's value for every operator that it plans; each then has equations for it."""
    chosen: dict[Any, set[Any]] = {}
    operators = [getattr(kernels, name) for name in kernels.OPERATORS]
    families = [o for o in operators if isinstance(o, Family) and o.variants.choose is None]
    for family in families:
        chosen.setdefault((family.adapter.plan, family.variants.option), set()).update(family.variants.names)
    for operator in operators:
        for (plan, option), values in chosen.items():
            if operator.adapter.plan is plan and option not in operator.adapter.fixed:
                assert operator in families, f"{operator.__name__} computes the same whatever `{option}` is"
                assert operator.variants.option == option
                assert operator.variants.names.keys() == values, operator.__name__
    assert len(families) > 15
