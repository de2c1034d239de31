"""What a call means, beside torch: the equations interpreted in 30 digits, seen through the operator's adapter. No kernel runs.

Kernels are held against the equations elsewhere (derive.verify), so this is what is left to show of an operator that has torch's
name: that its equations, defaults and options say what torch's do, gradients included.
"""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="a comparison with torch", exc_type=ImportError)

import kernels  # noqa: E402
from derive.catalogue import operators  # noqa: E402
from derive.numbers import Decimals  # noqa: E402
from derive.reference import Case, reference_vjp  # noqa: E402
from kernels.adapter import Spec  # noqa: E402

pytestmark = pytest.mark.external
F = torch.nn.functional
FIELD = Decimals(30)
SPECS = {spec.name: spec for spec in operators()}
CONSTANT = {
    ("binary_cross_entropy", "weight"),
    ("multi_margin_loss", "weight"),
    ("soft_margin_loss", "target"),
}  # torch has no gradient of these
# torch's 1/6 and 1/alpha have float32's digits, whatever the type of its input (docs/differences.md)
SINGLE = {"celu": 1e-7, "hardsigmoid": 1e-7}
TOLERANCE = 1e-13  # torch's own roundings: float64, sums of some ten terms of size 1 to 10


def meaning(operator, args, options, seed=0):
    """The result, a cotangent, and the gradients of the array arguments by their names."""
    variant = getattr(operator, "variant", lambda *_: None)(args, options) or operator
    given = variant.adapter.arguments(args, options)
    arrays = {n: given[n] for n in variant.adapter.tensors if given[n] is not None}
    shapes = {n: a.shape for n, a in arrays.items()}
    plan = variant.adapter.plan(Spec(variant.definition, variant.adapter.axes), **{**given, **shapes})
    inputs = {i.tensor: i.view(arrays.get(i.argument, np.full(i.shape, i.fill))) for i in plan.inputs}
    case = Case(SPECS[variant.definition.name], inputs, plan.environment, plan.reals, field=FIELD)
    (output,) = plan.outputs
    results = case.run()
    y = results[output.tensor].astype(float).reshape(output.shape)
    gy = np.asarray(np.random.default_rng(seed).standard_normal(y.shape))
    none = {name: np.zeros(results[name].shape) for name in case.real_outputs()}
    found = reference_vjp(case, {**none, output.tensor: output.view(gy)})
    gradients = {
        i.argument: found[i.tensor].astype(float).reshape(i.shape)
        for i in plan.inputs
        if i.argument in arrays and i.tensor in found
    }
    return y, gy, gradients


def agree(name, args, options):
    function = getattr(F, name)
    operator = getattr(kernels, name)
    y, gy, gradients = meaning(operator, args, options)
    names = list(operator.adapter.signature.parameters)[: len(args)]
    leaves = [
        torch.tensor(a, requires_grad=a.dtype.kind == "f" and (name, n) not in CONSTANT)
        if isinstance(a, np.ndarray)
        else a
        for n, a in zip(names, args, strict=True)
    ]
    want = function(*leaves, **options)
    np.testing.assert_allclose(y, want.detach().numpy(), rtol=TOLERANCE, atol=TOLERANCE, strict=True)
    differentiable = {
        n: t for n, t in zip(names, leaves, strict=True) if isinstance(t, torch.Tensor) and t.requires_grad
    }
    theirs = torch.autograd.grad(want, list(differentiable.values()), torch.tensor(gy), allow_unused=True)
    for n, b in zip(differentiable, theirs, strict=True):
        b = np.zeros(differentiable[n].shape) if b is None else b.numpy()
        bound = SINGLE.get(name, TOLERANCE)
        np.testing.assert_allclose(gradients[n], b, rtol=bound, atol=bound, err_msg=n)


RNG = np.random.default_rng(3)
X, Z, V = (RNG.standard_normal((3, 4)) for _ in range(3))
P, T, W = (RNG.uniform(0.1, 0.9, (3, 4)) for _ in range(3))
SIGNS, SIGN = (RNG.choice([-1.0, 1.0], shape) for shape in ((3, 4), 3))
CLASS, EACH = np.array([2, 0, 3]), RNG.uniform(0.5, 1.5, 4)
CUBE = RNG.standard_normal((2, 6, 4))
REDUCTIONS = ("mean", "sum", "none")

CALLS = [
    ("celu", (2 * X,), {"alpha": 1.3}),
    ("selu", (2 * X,), {}),
    ("hardsigmoid", (3 * X,), {}),
    ("hardshrink", (X,), {}),
    ("hardshrink", (X,), {"lambd": 0.2}),
    ("softshrink", (X,), {}),
    ("softshrink", (X,), {"lambd": 0.2}),
    ("softsign", (2 * X,), {}),
    ("tanhshrink", (X,), {}),
    ("threshold", (X, 0.1, -3.0), {}),
    ("softmin", (X,), {"dim": 0}),
    ("glu", (CUBE,), {}),
    ("glu", (CUBE,), {"dim": 1}),
    ("log_softmax", (X,), {"dim": 1}),
    ("bilinear", (X, Z[:, :2].copy(), RNG.standard_normal((5, 4, 2)), RNG.standard_normal(5)), {}),
    ("bilinear", (X, Z, RNG.standard_normal((2, 4, 4))), {}),
    ("embedding", (np.array([[1, 0], [2, 1]]), X), {}),
    ("channel_shuffle", (CUBE,), {"groups": 3}),
    ("normalize", (X,), {}),
    ("normalize", (X,), {"p": 3.0, "dim": 0}),
    ("normalize", (X,), {"eps": 2.5}),
    ("cosine_similarity", (X, Z), {}),
    ("cosine_similarity", (X, Z), {"dim": 0, "eps": 0.5}),
    ("pairwise_distance", (X, Z), {}),
    ("pairwise_distance", (X, Z), {"p": 1.5, "eps": 0.1, "keepdim": True}),
    *(
        (name, args, {**options, "reduction": reduction})
        for reduction in REDUCTIONS
        for name, args, options in [
            ("binary_cross_entropy", (P, T), {}),
            ("binary_cross_entropy", (P, T, W), {}),
            ("kl_div", (np.log(P), T), {}),
            ("kl_div", (np.log(P), np.log(T)), {"log_target": True}),
            ("poisson_nll_loss", (X, 3 * T), {}),
            ("poisson_nll_loss", (X, 3 * T), {"full": True}),
            ("poisson_nll_loss", (P, 3 * T), {"log_input": False, "eps": 0.01, "full": True}),
            ("gaussian_nll_loss", (X, Z, P), {}),
            ("gaussian_nll_loss", (X, Z, P), {"full": True}),
            ("soft_margin_loss", (X, SIGNS), {}),
            ("hinge_embedding_loss", (X, SIGNS), {"margin": 0.4}),
            ("margin_ranking_loss", (X, Z, SIGNS), {"margin": 0.3}),
            ("multi_margin_loss", (X, CLASS), {}),
            ("multi_margin_loss", (X, CLASS), {"p": 2, "margin": 0.5}),
            ("multilabel_soft_margin_loss", (X, T), {}),
            ("multilabel_soft_margin_loss", (X, T, EACH), {}),
            ("cosine_embedding_loss", (X, Z, SIGN), {"margin": 0.1}),
            ("triplet_margin_loss", (X, Z, V), {}),
            ("triplet_margin_loss", (X, Z, V), {"swap": True, "margin": 0.5}),
            ("cross_entropy", (X, CLASS), {}),
            ("cross_entropy", (X, CLASS), {"label_smoothing": 0.2}),
            ("cross_entropy", (X, T), {}),
        ]
    ),
    ("multi_margin_loss", (X, CLASS, 1, 1.0, EACH), {}),
    ("kl_div", (np.log(P), T), {"reduction": "batchmean"}),
    ("kl_div", (np.log(P), np.log(T)), {"reduction": "batchmean", "log_target": True}),
]


@pytest.mark.parametrize(("name", "args", "options"), CALLS, ids=[f"{c[0]}-{n}" for n, c in enumerate(CALLS)])
def test_call(name, args, options):
    agree(name, args, options)


def test_another_default_is_seen():
    y, _, _ = meaning(kernels.hardshrink, (X,), {"lambd": 0.4})
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(y, F.hardshrink(torch.tensor(X)).numpy())
