"""Receptive fields: the lecture's and Araujo's formulas, known networks, and what gradients say.

The last is the oracle: with positive weights and inputs nothing cancels, so the places of an input that a gradient
reaches are the receptive field, cut off at the borders. It knows no index map.
"""

from __future__ import annotations

from fractions import Fraction
from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from derive import build
from derive.errors import GeometryError
from derive.geometry import advice, geometry, table
from examples import zoo
from kernels import (
    add,
    avg_pool1d,
    concatenate,
    conv1d,
    conv2d,
    conv_transpose1d,
    flatten,
    global_avg_pool,
    linear,
    log_softmax,
    max_pool1d,
    max_pool2d,
    relu,
)
from kernels.network import Network, node
from kernels.reading import from_text, zeros
from kernels.training import Dropout

layers = st.lists(
    st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2)),
    min_size=1,
    max_size=5,
)


def chain(layers: list[tuple[int, int, int, int]]) -> Network:
    return Network(
        {
            f"conv{n}": node(conv1d, weight=zeros((1, 1, k)), stride=s, dilation=d, padding=p)
            for n, (k, s, d, p) in enumerate(layers)
        }
    )


@given(layers)
@settings(max_examples=25)
def test_the_formulas_of_the_lecture_and_of_araujo_come_out(layers):
    """r0 = sum((k_ext - 1) * product of the strides before) + 1; start and padding likewise; n_out of each layer."""
    n = 2000
    found = geometry(chain(layers), (1, 1, n))
    size, jump, start = 1, 1, 0
    for row, (k, s, d, p) in zip(found.rows, layers, strict=True):
        extended = d * (k - 1) + 1
        size += (extended - 1) * jump
        start -= p * jump
        jump *= s
        n = (n + 2 * p - (d * (k - 1) + 1)) // s + 1
        (own,) = found.fields(row)
        assert own is not None
        assert (own.size, own.jump, own.start) == (size, jump, start)
        assert own.centre == Fraction(2 * start + size - 1, 2)
        assert own.padding[0] == -start
        assert row.shape == (1, 1, n)


@pytest.mark.parametrize(
    ("make", "size"),
    [
        # Araujo, Norris and Sim, Computing Receptive Fields of Convolutional Neural Networks (Distill, 2019)
        ([(11, 4, 2), (3, 2, 0), (5, 1, 2), (3, 2, 0), *[(3, 1, 1)] * 3, (3, 2, 0)], 195),  # AlexNet v2
        ([*2 * [*2 * [(3, 1, 1)], (2, 2, 0)], *3 * [*3 * [(3, 1, 1)], (2, 2, 0)]], 212),  # VGG-16
    ],
)
def test_receptive_fields_of_known_networks(make, size):
    found = geometry(chain([(k, s, 1, p) for k, s, p in make]), (1, 1, 231))
    (own,) = found.fields(found.rows[-1])
    assert own is not None
    assert own.size == size


def resnet50(blocks: tuple[int, ...] = (3, 4, 6, 3)) -> Network:
    nodes = {"stem": node(conv1d, weight=zeros((8, 1, 7)), stride=2, padding=3)}
    nodes["pool"] = node(max_pool1d, kernel_size=3, stride=2, padding=1)
    last = "pool"
    for stage, count in enumerate(blocks):
        for k in range(count):
            s, a = 2 if stage > 0 and k == 0 else 1, f"s{stage}b{k}"
            nodes[f"{a}_1"] = node(conv1d, last, weight=zeros((8, 8, 1)))
            nodes[f"{a}_2"] = node(conv1d, weight=zeros((8, 8, 3)), stride=s, padding=1)
            nodes[f"{a}_3"] = node(conv1d, weight=zeros((8, 8, 1)))
            side = last
            if s > 1:
                nodes[f"{a}_side"] = node(conv1d, last, weight=zeros((8, 8, 1)), stride=s)
                side = f"{a}_side"
            nodes[a] = node(add, f"{a}_3", side)
            last = a
    return Network(nodes)


def test_resnet50_and_its_residual_ways_are_aligned():
    """427 with the stride in the layer of three taps, as in torchvision; Araujo's 483 is of another arrangement."""
    found = geometry(resnet50(), (1, 1, 224))
    (own,) = found.fields(found.rows[-1])
    assert own is not None
    assert (own.size, own.jump, own.misaligned) == (427, 32, False)


# ------------------------------------------------------------------------------ what gradients say


def positive(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(1, 4, shape).astype(np.float64)


def reached(network: Network, shape: tuple[int, ...], row: str, place: int) -> np.ndarray:
    """The places that the gradient of one place of a node, all its channels, reaches."""
    x = positive(np.random.default_rng(0), *shape)
    y, pullback = network.vjp(x, at=row, wrt="input")
    g = np.zeros_like(y)
    g[..., place] = 1
    return np.flatnonzero(pullback(g)["input"].any((0, 1)))


@st.composite
def graphs(draw):
    """A few layers of one or two branches that meet; every operator here has no weight that vanishes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    nodes = {}
    last, width, count = "input", 1, draw(st.integers(1, 4))
    for n in range(count):
        kind = draw(st.sampled_from(("conv", "pool", "residual", "cat", "relu")))
        k, s, d = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
        if kind == "conv":
            nodes[f"n{n}"] = node(
                conv1d,
                last,
                weight=positive(rng, 2, width, k),
                stride=s,
                dilation=d,
                padding=draw(st.integers(0, 2)),
            )
            width = 2
        elif kind == "pool":
            nodes[f"n{n}"] = node(
                avg_pool1d, last, kernel_size=k, stride=s, padding=draw(st.integers(0, k // 2))
            )
        elif kind == "relu":
            nodes[f"n{n}"] = node(relu, last)
        else:
            widths = (3, k) if k % 2 else (2, k)  # of one parity, so that both have a middle or none has
            for side, taps in zip("ab", widths, strict=True):
                pads = ((taps // 2, (taps - 1) // 2),)
                nodes[f"n{n}_{side}"] = node(conv1d, last, weight=positive(rng, 2, width, taps), padding=pads)
            nodes[f"n{n}"] = node(add if kind == "residual" else concatenate, f"n{n}_a", f"n{n}_b")
            width = 2 if kind == "residual" else 4
        last = f"n{n}"
    return Network(nodes)


@given(graphs(), st.floats(0, 0.99))
@settings(max_examples=12, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_a_field_is_what_the_gradient_reaches(network, where):
    """All of it where no padding is near, and never more: at a border holes and tails may hide an end."""
    n = 80
    found = geometry(network, (1, 1, n))
    margin = max(-f.start for row in found.rows for f in found.fields(row) if f is not None)
    row = found.rows[-1]
    place = int(where * row.shape[2])
    axis = reached(network, (1, 1, n), row.name, place)
    band = row.reads["input"][2].band(row.middle)
    assert band is not None
    low, high = band.at((0, 0, place))
    assert all(low <= q <= high for q in axis)
    if low >= margin and high < n - 1 - 2 * margin:
        assert (axis[0], axis[-1]) == (low, high)


def test_the_oracle_sees_a_padding_that_is_off_by_one():
    rng = np.random.default_rng(0)
    network = Network({"a": node(conv1d, weight=positive(rng, 1, 1, 3), padding=1)})
    axis = reached(network, (1, 1, 9), "a", 4)
    right, wrong = (
        geometry(Network({"a": node(conv1d, weight=zeros((1, 1, 3)), padding=p)}), (1, 1, 9)).rows[0]
        for p in (1, 2)
    )
    ends = [row.reads["input"][2].band((0, 0, 0)).at((0, 0, 4)) for row in (right, wrong)]
    assert (axis[0], axis[-1]) == ends[0] != ends[1]


@pytest.mark.slow
def test_a_live_operator_is_taken():
    """Statistics of a plane in training: every element depends on all of it, and on its own place."""
    norm = build(zoo.batch_norm)
    network = Network({"norm": node(norm, g=zeros((3,)), b=zeros((3,)), eps=1e-5)}, inputs=("x",))
    found = geometry(network, (2, 3, 20))
    (own,) = found.fields(found.rows[0])
    assert own is not None
    assert own.size == 1
    assert found.covers(found.rows[0], 2)


# --------------------------------------------------------------------------------- sizes, costs, text

LENET = """
input[1, 1, 28, 28]
conv1: conv2d weight[8, ?, 5, 5] bias[8]
relu
pool1: max_pool2d kernel_size=2
conv2: conv2d weight[32, ?, 3, 3] bias[32]
pool2: max_pool2d kernel_size=2
flatten
linear weight[10, ?] bias[10]
log_softmax
"""


def test_table(golden):
    described = from_text(LENET)
    golden("geometry/lenet.txt", table(geometry(described.network, *described.shapes)))


def test_parameters_and_operations():
    """A multiplication and an addition for each weight and place; a bias, an addition; a comparison for each tap."""
    described = from_text(LENET)
    found = geometry(described.network, *described.shapes)
    expected = {
        "conv1": (8 * 25 + 8, 8 * 24 * 24 * (2 * 25 + 1)),
        "relu": (0, 8 * 24 * 24),
        "pool1": (0, 8 * 12 * 12 * 4),
        "conv2": (32 * 8 * 9 + 32, 32 * 10 * 10 * (2 * 8 * 9 + 1)),
        "pool2": (0, 32 * 5 * 5 * 4),
        "flatten": (0, 0),
        "linear": (10 * 800 + 10, 10 * (2 * 800 + 1)),
    }
    assert {r.name: (r.parameters, r.operations) for r in found.rows[:-1]} == expected
    assert found.parameters == sum(p for p, _ in expected.values())


def test_after_a_mean_over_the_plane_everything_is_read():
    network = Network({"conv": node(conv2d, weight=zeros((4, 1, 3, 3))), "mean": node(global_avg_pool)})
    found = geometry(network, (1, 1, 16, 16))
    assert found.fields(found.rows[1]) == (None, None)
    assert found.covers(found.rows[1], 2)
    assert found.covers(found.rows[1], 3)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_transposed_convolution_reads_a_few_places_next_to_its_own(axes):
    """2 or 1 of stride 2 and 3 taps, by turns; 4 taps of a stride of 2 are 2 at each place."""
    ones = ", ".join(["8"] * axes)
    taps = ", ".join(["4"] * axes)
    described = from_text(
        f"input[1, 2, {ones}]\nconv_transpose{axes}d weight[2, 5, {taps}] stride=2 padding=1"
    )
    (row,) = geometry(described.network, *described.shapes).rows
    assert row.shape == (1, 5, *(16,) * axes)
    for reach in row.reads["input"][2:]:
        (band,) = reach.bands
        assert (band.jump, band.low, band.high) == (F(1, 2), -1, F(1, 2))
    assert row.operations == 5 * 16**axes * 2 * 2 * 2**axes


def test_the_field_of_a_decoder_is_what_a_gradient_reaches():
    rng = np.random.default_rng(0)
    network = Network(
        {
            "down": node(conv1d, weight=positive(rng, 1, 1, 3), stride=2, padding=1),
            "up": node(conv_transpose1d, weight=positive(rng, 1, 1, 3), stride=2, padding=1),
        }
    )
    found = geometry(network, (1, 1, 41)).row("up")
    (band,) = found.reads["input"][2].bands
    assert (band.jump, band.size) == (1, 5)
    for place in (19, 20):
        axis = reached(network, (1, 1, 41), "up", place)
        low, high = band.at((0, 0, place))
        assert low <= axis[0] <= axis[-1] <= high
    assert (axis[0], axis[-1]) in ((19, 21), (18, 22))


@pytest.mark.parametrize(
    ("line", "channels", "plane"),
    [
        ("batch_norm training=True", False, (True, True)),
        ("batch_norm running_mean[?] running_var[?]", False, (False, False)),
        ("group_norm num_groups=2", False, (True, True)),
        ("instance_norm", False, (True, True)),
        ("layer_norm normalized_shape=(4, 8, 8)", True, (True, True)),
        ("layer_norm normalized_shape=(8,)", False, (False, True)),
        ("softmax dim=1", True, (False, False)),
    ],
)
def test_a_normalisation_reads_its_own_place_and_whole_axes_besides(line, channels, plane):
    described = from_text(f"input[2, 4, 8, 8]\n{line}")
    found = geometry(described.network, *described.shapes)
    (row,) = found.rows
    for axis, whole in zip((2, 3), plane, strict=True):
        own = found.fields(row)[axis - 2]
        assert own is not None
        assert (own.size, own.jump, own.start) == (1, 1, 0)
        assert found.covers(row, axis) == whole
    assert not channels or found.covers(row, 1)


def test_an_option_chooses_the_equations():
    """A fold at the border is another operator, of the same field; its name may be an option's value."""
    rows = [
        geometry(described.network, *described.shapes).rows[0]
        for described in map(
            from_text,
            (
                "input[1, 2, 12]\nconv1d weight[3, 2, 3] padding=1 padding_mode=reflect",
                "input[1, 2, 12]\nconv1d_reflect weight[3, 2, 3] padding=1",
            ),
        )
    ]
    assert rows[0].reads == rows[1].reads
    assert rows[0].operations == rows[1].operations
    assert rows[0].shape == rows[1].shape == (1, 3, 12)


# -------------------------------------------------------------------------------------- good practice


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("conv2d weight[1, 1, 4, 3]", "conv2d: a kernel of 4 has no middle, so that its result is shifted"),
        (
            "conv2d weight[1, 1, 19, 3] padding=((2, 2), (1, 1))",
            "a filter of 19 is larger than its input of 16",
        ),
        (
            "conv2d weight[1, 1, 1, 1] stride=2",
            "a stride of 2 is larger than the kernel of 1: 1 of 2 entries are not",
        ),
        ("max_pool2d kernel_size=3", "the last 1 entries are in no window; a stride of 3 does not divide"),
        ("conv2d weight[1, 1, 3, 3] stride=3 padding=1", "a stride of 3 does not divide its input of 16"),
        ("conv2d weight[1, 1, 3, 3]", "conv2d: a receptive field of 3 is far too small for an input of 16"),
        (
            "\n".join(["conv2d weight[1, 1, 3, 3] dilation=9 padding=9"] * 8),
            "conv2d8: a receptive field of 145 is far too large for an input of 16",
        ),
        (
            "a: conv2d weight[1, 1, 3, 3] padding=1\n"
            "b: conv2d weight[1, 1, 3, 3] padding=((0, 2), (1, 1)) from input\nsum: add from a, b",
            "sum: ways that meet here have different centres: they are not aligned",
        ),
    ],
)
def test_advice(lines, expected):
    described = from_text(f"input[1, 1, 16, 16]\n{lines}")
    found = advice(geometry(described.network, *described.shapes))
    assert any(expected in text for text in found), found


def test_ways_with_different_jumps_are_reported_and_the_field_holds_both():
    described = from_text(
        "input[1, 1, 16]\na: conv1d weight[1, 1, 2] stride=2\nb: conv1d weight[1, 1, 9] from input\nadd from a, b"
    )
    found = geometry(described.network, *described.shapes)
    assert any("different jumps (2, 1)" in text for text in advice(found))
    row = found.row("add")
    band = row.reads["input"][2].band((0, 0, 4))
    assert band is not None
    assert band.at((0, 0, 4)) == (4, 12)  # of 8..9 and 4..12
    assert "!" in table(found)


def test_operators_with_the_equations_of_another_have_index_maps():
    """A gate for each channel, repeated over the plane; a pooling of lines by the equations of planes."""
    described = from_text(
        "input[1, 2, 9]\nconv: conv1d weight[2, 2, 3]\ngate: global_avg_pool\nscaled: multiply from gate, conv\n"
        "pool: max_pool1d kernel_size=2 ties='last'\nrows: unflatten dim=2 sizes=(3, 1)"
    )
    found = geometry(described.network, *described.shapes)
    assert [row.shape for row in found.rows] == [(1, 2, 7), (1, 2, 1), (1, 2, 7), (1, 2, 3), (1, 2, 3, 1)]
    assert found.row("scaled").operations == 14
    band = found.row("pool").reads["input"][2].band((0, 0, 1))
    assert band is not None
    assert band.at((0, 0, 1)) == (2, 5)


def test_a_good_network_gets_no_advice():
    described = from_text(LENET)
    assert advice(geometry(described.network, *described.shapes)) == ()


def test_running_statistics_and_what_is_counted_already_are_no_parameters():
    described = from_text(
        "input[1, 3, 8, 8]\nconv2d weight[4, 3, 1, 1]\n"
        "batch_norm running_mean[?] running_var[?] weight[?] bias[?]"
    )
    found = geometry(described.network, *described.shapes)
    assert [row.parameters for row in found.rows] == [12, 8]
    w = np.ones((3, 3, 1, 1))
    shared = Network({"one": node(conv2d, weight=w), "two": node(conv2d, weight=w)})
    assert [row.parameters for row in geometry(shared, (1, 3, 8, 8)).rows] == [9, 0]


def test_dropout_is_nothing_in_inference():
    drop = node(Dropout(np.random.default_rng(0)))
    network = Network({"conv": node(conv2d, weight=np.ones((1, 1, 3, 3))), "drop": drop})
    conv, dropped = geometry(network, (1, 1, 8, 8)).rows
    assert (dropped.operator, dropped.shape, dropped.operations) == ("dropout", (1, 1, 6, 6), 0)
    assert dropped.reads == conv.reads


# -------------------------------------------------------------------------------------------- errors


def test_errors_name_the_node():
    network = Network({"conv": node(conv2d, weight=zeros((4, 3, 3, 3)))})
    with pytest.raises(GeometryError, match=r"^node `conv`: conv2d: `input` has 2 channels"):
        geometry(network, (1, 2, 8, 8))
    with pytest.raises(GeometryError, match=r"the network needs 1 shapes \(input\), found 2"):
        geometry(network, (1, 3, 8, 8), (1,))
    with pytest.raises(GeometryError, match="node `own`: .* is no operator of kernels: it has no index maps"):
        geometry(Network({"own": node(lambda input: input)}), (1, 3))


def test_layers_behind_the_features_read_everything():
    network = Network(
        {
            "conv": node(conv2d, weight=zeros((2, 1, 3, 3)), padding=1),
            "pool": node(max_pool2d, kernel_size=2),
            "flat": node(flatten),
            "head": node(linear, weight=zeros((3, 2 * 8 * 8))),
            "soft": node(log_softmax),
        }
    )
    found = geometry(network, (2, 1, 16, 16))
    for name in ("head", "soft"):
        assert found.covers(found.row(name), 2)
        assert found.covers(found.row(name), 3)
