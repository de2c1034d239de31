"""Every operator with a counterpart in torch, over random configurations: results and every derivative.

A configuration comes from one integer (tests/external/drawn.py). Where they disagree the specification decides, which
is the operator's docstring; what is theirs is in docs/differences.md, and what we take and they refuse below.
"""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

import kernels
from kernels.errors import KernelError

torch = pytest.importorskip("torch", reason="a comparison with torch", exc_type=ImportError)

from tests.external import drawn  # noqa: E402
from tests.external.against_torch import agree, arguments  # noqa: E402
from tests.support.tally import Tally  # noqa: E402

F = torch.nn.functional

pytestmark = [pytest.mark.slow, pytest.mark.external]

COUNT = 100
REFUSALS = (RuntimeError, ValueError, IndexError)

# What torch alone refuses: an operator, a pattern of torch's error, and why ours has a result.
OURS_ALONE = [
    ("avg_pool3d", r"smaller than kernel size", "the padded input is what a window has to fit"),
]


@pytest.mark.parametrize("name", drawn.DRAWS, ids=lambda name: name.replace(" ", "_"))
def test_drawn(name, count):
    operator = drawn.operator_of(name)
    found = Tally("Random configurations beside torch", name)
    if operator not in kernels.OPERATORS:
        found.out["not shipped"] += COUNT
        count(found)
        pytest.skip(f"kernels has no {operator}")
    for seed in range(COUNT):
        call, strided = drawn.drawn(name, seed)
        with warnings.catch_warnings(action="ignore"):  # torch's, of copies and of reductions
            try:
                call.reference(call.arrays)
            except REFUSALS as theirs:
                refused(found, seed, call, str(theirs))
                continue
            try:
                agree(call, strided=strided, seed=seed)
            except Exception as error:
                found.failed.append(f"drawn({name!r}, {seed}): {call}\n{type(error).__name__}: {error}")
            else:
                found.passed += 1
    count(found)
    found.check()


def refused(found, seed, call, theirs):
    """What torch refuses we refuse, or it is listed."""
    try:
        call.operator(**arguments(call))
    except KernelError:
        found.out["refused by both"] += 1
        return
    except Exception as error:
        found.failed.append(f"seed {seed}: {call}\n{type(error).__name__}: {error}")
        return
    for name, pattern, why in OURS_ALONE:
        if name == call.operator.__name__ and re.search(pattern, theirs):
            found.out[f"refused by torch alone: {why}"] += 1
            return
    found.failed.append(f"seed {seed}: {call}\ntorch alone refuses: {theirs}")


def test_the_same_integer_gives_the_same_call():
    for name in drawn.DRAWS:
        if drawn.operator_of(name) in kernels.OPERATORS:
            (a, _), (b, strided) = drawn.drawn(name, 3), drawn.drawn(name, 3)
            assert str(a) == str(b)
            for key, array in a.arrays.items():
                np.testing.assert_array_equal(array, b.arrays[key])
                np.testing.assert_array_equal(array, strided[key])


def test_every_operator_with_a_counterpart_is_drawn():
    """What has none in torch is named here."""
    alone = {n for n in kernels.OPERATORS if not hasattr(F, n) and n not in ("sigmoid", "tanh")}
    have = {drawn.operator_of(name) for name in drawn.DRAWS}
    left_out = set(kernels.OPERATORS) - have - alone
    assert left_out == set()


@pytest.mark.parametrize(
    ("name", "args", "options"),
    [
        ("conv2d", [(1, 3, 5, 5), (2, 2, 3, 3)], {}),
        ("conv2d", [(1, 4, 5, 5), (3, 2, 3, 3)], {"groups": 2}),
        ("conv2d", [(1, 3, 2, 5), (2, 3, 3, 3)], {}),
        ("conv2d", [(5, 5), (2, 3, 3, 3)], {}),
        ("conv2d", [(1, 3, 5, 5), (2, 3, 3, 3), (3,)], {}),
        ("conv2d", [(1, 3, 5, 5), (2, 3, 3, 3)], {"stride": 0}),
        ("conv2d", [(1, 3, 5, 5), (2, 3, 3, 3)], {"padding": -1}),
        ("conv2d", [(1, 3, 5, 5), (2, 3, 3, 3)], {"dilation": (1, 2, 3)}),
        ("max_pool2d", [(1, 3, 5, 5)], {"kernel_size": 6}),
        ("max_pool2d", [(1, 3, 5, 5)], {"kernel_size": 2, "padding": 2}),
        ("max_pool2d", [(1, 3, 5, 0)], {"kernel_size": 1}),
        ("max_pool2d", [(1, 3, 5, 5)], {"kernel_size": 2, "stride": 0}),
        ("avg_pool2d", [(1, 3, 5, 5)], {"kernel_size": 3, "padding": 2}),
        ("avg_pool2d", [(1, 3, 5, 5)], {"kernel_size": 3, "divisor_override": 0}),
        ("linear", [(2, 3), (4, 5)], {}),
        ("log_softmax", [(2, 3)], {"dim": 2}),
    ],
)
def test_what_torch_refuses_we_refuse(name, args, options):
    shapes = [np.ones(shape) for shape in args]
    with pytest.raises((RuntimeError, IndexError)):
        getattr(F, name)(*map(torch.tensor, shapes), **options)
    with pytest.raises(KernelError, match=f"^{name}: "):
        getattr(kernels, name)(*shapes, **options)


def test_arguments_are_torch_s():
    """Names, order and defaults, for the operators that torch documents in Python."""
    import inspect

    for name in ("cross_entropy", "relu"):
        theirs = [n for n in inspect.signature(getattr(F, name)).parameters if n != "inplace"]
        assert list(inspect.signature(getattr(kernels, name)).parameters)[: len(theirs)] == theirs


def test_a_tensor_is_taken_and_one_with_gradient_refused():
    x = torch.ones(1, 1, 4, dtype=torch.float64)
    assert isinstance(kernels.relu(x), np.ndarray)
    with pytest.raises(TypeError, match=r"relu: `input` \(Tensor\) does not become an array"):
        kernels.relu(x.requires_grad_())
