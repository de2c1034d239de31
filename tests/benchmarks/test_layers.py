"""The networks' layers, and counts of operations against counting."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cases import Case, collect, numbers, representative
from benchmarks.layers import Convolution, Pooling, as_data, from_data, taps
from benchmarks.networks import NETWORKS, layers


def convolutions(network):
    return {layer: n for layer, n in layers(network).items() if isinstance(layer, Convolution)}


@pytest.mark.parametrize(
    ("network", "distinct", "applied", "pools"),
    [
        ("resnet50", 23, 53, 2),  # 1 + 3 * 16 + 4 shortcuts
        ("vgg16", 9, 13, 5),
        ("mobilenetv2", 30, 52, 1),  # 1 + 2 + 3 * 16 + 1
        ("unet3d", 18, 18, 3),  # 8 down, 3 up, 6 between, 1 at the end
        ("wavenet", 14, 33, 0),
        ("dcgan", 5, 5, 0),
    ],
)
def test_networks(network, distinct, applied, pools):
    found = convolutions(network)
    assert (len(found), sum(found.values())) == (distinct, applied)
    assert len(layers(network)) - len(found) == pools


def test_known_totals():
    """Parameters of the convolutions, as published; multiply-adds close to the published ones."""
    weights = {
        n: sum(count * np.prod(layer.weight) for layer, count in convolutions(n).items()) for n in NETWORKS
    }
    assert weights["resnet50"] == 25_557_032 - 2_048_000 - 1000 - 53_120  # less the classifier and the norms
    assert weights["vgg16"] == 14_714_688 - 4224  # less the biases
    assert weights["mobilenetv2"] == 3_504_872 - 1_281_000 - 34_112  # less the classifier and the norms
    macs = sum(count * layer.flops(1, "forward") / 2 for layer, count in convolutions("resnet50").items())
    assert 3.7e9 < macs < 4.09e9  # 4.09 with the taps on the padding
    assert [layer.output for layer in layers("dcgan")][-1] == (64, 64)


def test_last_sizes():
    assert list(layers("resnet50"))[-1] == Pooling("avg", 2048, (7, 7), (7, 7), (7, 7), (0, 0), whole=True)
    assert list(layers("mobilenetv2"))[-1].channels == 1280
    assert list(layers("vgg16"))[-1].output == (7, 7)


@given(*(st.integers(low, 9) for low in (1, 1, 1, 1, 0, 1)))
def test_taps(outputs, inputs, kernel, stride, padding, dilation):
    pairs = product(range(outputs), range(kernel))
    assert taps(outputs, inputs, kernel, stride, padding, dilation) == sum(
        0 <= stride * p + dilation * k - padding < inputs for p, k in pairs
    )


def test_flops_by_counting():
    layer = Convolution(4, 6, (5, 7), (3, 2), (2, 1), (1, 0), (1, 3), groups=2)
    counted = 0
    for _n, _o, p, q, _c, k, m in product(*map(range, (3, 6, *layer.output, 2, 3, 2))):
        counted += 2 * (0 <= 2 * p + k - 1 < 5 and 0 <= q + 3 * m < 7)
    assert {layer.flops(3, d) for d in layer.directions} == {counted}


def test_transposed_is_the_convolution_the_other_way():
    up = Convolution(8, 3, (4, 4), (4, 4), (2, 2), (1, 1), (1, 1), transposed=True)
    down = Convolution(3, 8, (8, 8), (4, 4), (2, 2), (1, 1), (1, 1))
    assert (up.output, down.output) == (down.size, up.size)
    assert up.weight == down.weight
    assert up.flops(2, "forward") == down.flops(2, "forward")
    assert up.elements(2, "forward") == down.elements(2, "grad-input")


def test_names_tell_cases_apart():
    cases = collect(NETWORKS, [1, 8], ["float32", "float64"])
    assert len({case.name for case in cases}) == len(cases)
    chosen = collect(["vgg16"], [1], ["float32"], "grad-weight$")
    assert len(chosen) == 9
    assert {case.direction for case in chosen} == {"grad-weight"}


def test_data_round_trip():
    for case in collect(NETWORKS, [1], ["float32"]):
        assert from_data(as_data(case.layer)) == case.layer
        assert Case.load(case.data()) == case


def test_representative():
    cases = collect(NETWORKS, [1], ["float32"])
    few = representative(cases)
    assert {case.group for case in few} == {case.group for case in cases}
    assert len(few) < 90
    assert len({case.group for case in few[: len({c.group for c in cases})]}) == len({c.group for c in cases})


def test_numbers_have_no_ties():
    found = numbers((100_000,), np.dtype(np.float32), 1)
    assert len(np.unique(found)) == len(found)
    assert -1 <= found.min() < -0.99
    assert 0.99 < found.max() < 1
    assert abs(found.mean()) < 0.02
    assert abs(np.corrcoef(found[1:], found[:-1])[0, 1]) < 0.02


def test_bytes():
    pool = Pooling("max", 2, (4,), (2,), (2,), (0,))
    assert Case(pool, 3, "float32", "forward").bytes == 4 * (24 + 12)
    assert Case(pool, 3, "float32", "with-index").bytes == 4 * (24 + 12) + 8 * 12
    assert Case(pool, 3, "float64", "grad-input").bytes == 8 * (12 + 24 + 24)
