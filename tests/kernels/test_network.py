"""The network object: graphs, gradients of every parameter, freezing, feature maps, state on disk.

Numbers are small integers in float64 wherever values are compared, so that equality is exact.
"""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from derive import Operator, build, indices, tensors
from kernels import add, batch_norm, concatenate, conv2d, flatten, instance_norm, linear, max_pool2d, relu
from kernels.errors import ArgumentError, NetworkError, ShapeError, StateError
from kernels.network import Network, node
from kernels.training import SGD, Dropout

RNG = np.random.default_rng(0)


def whole(*shape: int) -> np.ndarray:
    return RNG.integers(-3, 4, shape).astype(np.float64)


def small() -> Network:
    """A residual branch, a concatenation, and a head."""
    return Network(
        {
            "conv1": node(conv2d, weight=whole(2, 1, 3, 3), bias=whole(2), padding=1),
            "relu1": node(relu),
            "conv2": node(conv2d, weight=whole(2, 2, 3, 3), bias=whole(2), padding=1),
            "sum": node(add, "relu1", "conv2"),
            "both": node(concatenate, "sum", "relu1"),
            "pool": node(max_pool2d, kernel_size=2),
            "flat": node(flatten),
            "head": node(linear, weight=whole(3, 16), bias=whole(3)),
        }
    )


def by_hand(p: dict[str, np.ndarray], x: np.ndarray, g: np.ndarray) -> dict[str, np.ndarray]:
    """Value and gradients of `small`, pullback by pullback."""
    a, conv1 = conv2d.vjp(x, p["conv1.weight"], p["conv1.bias"], padding=1)
    b, relu1 = relu.vjp(a)
    c, conv2 = conv2d.vjp(b, p["conv2.weight"], p["conv2.bias"], padding=1)
    both = np.concatenate([b + c, b], 1)
    pooled, pool = max_pool2d.vjp(both, 2)
    y, head = linear.vjp(pooled.reshape(len(x), -1), p["head.weight"], p["head.bias"])
    found = {"value": y}
    g, found["head.weight"], found["head.bias"] = head(g)
    (g,) = pool(g.reshape(pooled.shape))
    g_sum, g_b = g[:, :2], g[:, 2:]
    g_c, found["conv2.weight"], found["conv2.bias"] = conv2(np.ascontiguousarray(g_sum))
    (g,) = relu1(g_sum + g_b + g_c)
    found["input"], found["conv1.weight"], found["conv1.bias"] = conv1(g)
    return found


def test_value_and_gradients_are_those_by_hand():
    network, x, g = small(), whole(2, 1, 4, 4), whole(2, 3)
    expected = by_hand(network.parameters, x, g)
    y, pullback = network.vjp(x, wrt="input")
    found = pullback(g)
    assert np.array_equal(network(x), expected["value"])
    assert np.array_equal(y, expected["value"])
    assert list(found) == [*network.parameters, "input"]
    for name, gradient in found.items():
        assert np.array_equal(gradient, expected[name]), name


def test_a_pullback_may_be_called_again():
    network, x, g = small(), whole(2, 1, 4, 4), whole(2, 3)
    _, pullback = network.vjp(x)
    first, twice, again = pullback(g), pullback(2 * g), pullback(g)
    for name, gradient in first.items():
        assert np.array_equal(2 * gradient, twice[name])
        assert np.array_equal(gradient, again[name])


class Spy:
    """Relu, and what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, input):
        return relu(input)

    def vjp(self, input, *, wrt):
        self.asked.append(wrt)
        return relu.vjp(input, wrt=wrt)


def test_below_what_is_frozen_no_pullback_is_made():
    spy = Spy()
    network = Network(
        {
            "conv": node(conv2d, weight=whole(2, 1, 3, 3), bias=whole(2)),
            "spy": node(spy),
            "flat": node(flatten),
            "head": node(linear, weight=whole(3, 8), bias=whole(3)),
        }
    )
    x, g = whole(2, 1, 4, 4), whole(2, 3)
    _, pullback = network.vjp(x)
    assert spy.asked == [("input",)]
    everything = pullback(g)
    network.freeze("conv", "head.bias")
    _, pullback = network.vjp(x)
    assert spy.asked == [("input",)]  # not asked again
    found = pullback(g)
    assert list(found) == list(network.trainable) == ["head.weight"]
    assert np.array_equal(found["head.weight"], everything["head.weight"])
    network.unfreeze("conv.bias")
    _, pullback = network.vjp(x)
    assert list(pullback(g)) == ["conv.bias", "head.weight"]
    network.unfreeze("*")
    assert network.frozen == set()
    with pytest.raises(NetworkError, match="no parameter is called 'conv2' or begins so"):
        network.freeze("conv2")


def test_freezing_a_name_does_not_freeze_a_longer_one():
    w = whole(1, 1, 1, 1)
    network = Network({"conv1": node(conv2d, weight=w), "conv10": node(conv2d, weight=w.copy())})
    network.freeze("conv1")
    assert network.frozen == {"conv1.weight"}
    network.freeze("conv*")
    assert network.frozen == {"conv1.weight", "conv10.weight"}


def test_a_live_operator_may_be_a_node():
    n, i = indices("n i")
    x, w, y = tensors("x w y")
    scale = build(Operator("scale", y[n, i] << x[n, i] * w[i], inputs=(x, w)))
    network = Network({"scale": node(scale, w=np.array([2.0, 3.0]))}, inputs=("x",))
    y_, pullback = network.vjp(np.array([[1.0, 10.0]]))
    assert y_.tolist() == [[2, 30]]
    assert pullback(np.ones((1, 2)))["scale.w"].tolist() == [1, 10]


def test_feature_maps_and_a_value_in_the_middle():
    network, x = small(), whole(2, 1, 4, 4)
    found = network.features(x, at=("relu1", "pool"))
    assert list(found) == ["relu1", "pool"]
    w, b = network.parameters["conv1.weight"], network.parameters["conv1.bias"]
    assert np.array_equal(found["relu1"], relu(conv2d(x, w, b, padding=1)))
    assert list(network.features(x)) == list(network.nodes)
    y, pullback = network.vjp(x, at="relu1", wrt="input")
    assert np.array_equal(y, found["relu1"])
    assert list(pullback(np.ones_like(y))) == ["conv1.weight", "conv1.bias", "input"]


def test_the_second_output_of_a_node():
    network = Network(
        {
            "pool": node(max_pool2d, kernel_size=2, return_indices=True),
            "twice": node(add, "pool", "pool"),
            "places": node(flatten, "pool[1]", start_dim=0),
        },
        output="twice",
    )
    x = whole(1, 1, 4, 4)
    expected, places = max_pool2d(x, 2, return_indices=True)
    values = network.features(x, at=("pool", "pool[1]"))
    assert np.array_equal(values["pool"], expected)
    assert np.array_equal(values["pool[1]"], places)
    _, pullback = network.vjp(x, wrt="input")
    (g,) = max_pool2d.vjp(x, 2)[1](2 * np.ones_like(expected))
    assert np.array_equal(pullback(np.ones_like(expected))["input"], g)


class Cut:
    """Nothing flows back through it."""

    def __call__(self, input):
        return input

    def vjp(self, input, *, wrt):
        return input, lambda g: (None,)


def test_what_no_cotangent_reaches_has_the_gradient_zero():
    network = Network({"conv": node(conv2d, weight=whole(1, 1, 1, 1)), "cut": node(Cut())})
    y, pullback = network.vjp(whole(1, 1, 2, 2), wrt="input")
    found = pullback(np.ones_like(y))
    assert {name: g.tolist() for name, g in found.items()} == {
        "conv.weight": [[[[0]]]],
        "input": [[[[0, 0], [0, 0]]]],
    }


# --------------------------------------------------------------------------------- shared arrays


def test_an_array_of_two_nodes_is_one_parameter():
    w, b = whole(2, 2, 1, 1), whole(2)
    network = Network(
        {
            "one": node(conv2d, weight=w, bias=b),
            "two": node(conv2d, weight=w),
            "three": node(conv2d, "one", weight=w.copy(), bias=b),
            "sum": node(add, "two", "three"),
        }
    )
    assert list(network.parameters) == ["one.weight", "one.bias", "three.weight"]
    x, g = whole(1, 2, 3, 3), whole(1, 2, 3, 3)
    y, pullback = network.vjp(x)
    found = pullback(g)
    middle, one = conv2d.vjp(x, w, b)
    _, two = conv2d.vjp(middle, w)
    _, three = conv2d.vjp(middle, network.parameters["three.weight"], b)
    g_two, w_two = two(g)[:2]
    g_three, w_three, b_three = three(g)
    _, w_one, b_one = one(g_two + g_three)
    assert np.array_equal(found["one.weight"], w_one + w_two)
    assert np.array_equal(found["one.bias"], b_one + b_three)
    assert np.array_equal(found["three.weight"], w_three)
    network.freeze("two")  # it has nothing of its own
    assert network.frozen == {"one.weight"}
    assert network.until("two").frozen == {"one.weight"}
    network.load_state({name: 2 * array for name, array in network.state().items()})
    assert np.array_equal(network.features(x, at="two")["two"], 4 * conv2d(conv2d(x, w, b), w))
    assert np.array_equal(network.features(x, at="one")["one"], 2 * conv2d(x, w, b))


# ------------------------------------------------------------------------------ training, buffers


def normalised() -> Network:
    """Statistics of four entries a channel are exact, and so are their halves."""
    return Network(
        {
            "conv": node(conv2d, weight=np.ones((1, 1, 1, 1))),
            "norm": node(
                batch_norm,
                weight=np.ones(1),
                bias=np.zeros(1),
                running_mean=np.zeros(1),
                running_var=np.ones(1),
                momentum=0.5,
            ),
        }
    )


IMAGE = np.array([[[[1.0, 3.0], [1.0, 3.0]]]])  # mean 2, variance 1, the unbiased one 4/3


def test_running_statistics_are_no_parameters_and_move_in_training():
    network = normalised()
    mean, var = network.buffers["norm.running_mean"], network.buffers["norm.running_var"]
    assert list(network.parameters) == ["conv.weight", "norm.weight", "norm.bias"]
    assert list(network.trainable) == list(network.parameters)
    _, pullback = network.vjp(IMAGE)
    assert list(pullback(np.ones_like(IMAGE))) == list(network.parameters)
    assert (mean.item(), var.item()) == (0, 1)  # nothing moves without being told to
    y, pullback = network.vjp(IMAGE, training=True)
    expected, (g, *_) = batch_norm(IMAGE, training=True), batch_norm.vjp(IMAGE, training=True)[1](IMAGE)
    assert np.array_equal(y, expected)
    assert (mean.item(), var.item()) == (1, 0.5 + 0.5 * (4 / 3))  # in place
    assert pullback(IMAGE)["conv.weight"].item() == (g * IMAGE).sum()
    assert not np.array_equal(network(IMAGE), expected)
    assert np.array_equal(network(IMAGE, training=True), expected)
    assert mean.item() == 1.5
    assert np.array_equal(network.features(IMAGE, training=True)["norm"], expected)
    assert mean.item() == 1.75


def test_running_statistics_are_state(tmp_path):
    network, other = normalised(), normalised()
    network(IMAGE, training=True)
    assert list(network.state()) == [*network.parameters, *network.buffers]
    network.save(tmp_path / "state.npz")
    other.load(tmp_path / "state.npz")
    assert np.array_equal(other(IMAGE), network(IMAGE))
    with pytest.raises(StateError, match=r"`norm\.running_var` is missing"):
        other.load_state(network.parameters)
    features = network.until("norm").extended({"relu": node(relu)})
    features(IMAGE, training=True)  # arrays are shared
    assert network.buffers["norm.running_mean"].item() == 1.5


def test_frozen_statistics_stay_and_are_used():
    network = normalised()
    network.freeze("norm")
    before = network(IMAGE)
    y, pullback = network.vjp(IMAGE, training=True)
    assert np.array_equal(y, before)
    assert network.buffers["norm.running_mean"].item() == 0
    assert list(pullback(np.ones_like(y))) == ["conv.weight"]
    network.unfreeze("norm.running_*")
    assert not np.array_equal(network(IMAGE, training=True), before)
    assert network.buffers["norm.running_mean"].item() == 1
    assert network.frozen == {"norm.weight", "norm.bias"}


def test_what_a_node_says_itself_counts():
    fixed = normalised().extended({"norm": node(batch_norm, **normalised().arrays("norm"), training=False)})
    assert np.array_equal(fixed(IMAGE, training=True), fixed(IMAGE))
    without = Network({"norm": node(batch_norm, training=True)})
    assert np.array_equal(without(IMAGE), batch_norm(IMAGE, training=True))
    assert np.array_equal(Network({"norm": node(batch_norm)})(IMAGE, training=True), without(IMAGE))
    planes = Network({"norm": node(instance_norm, running_mean=np.zeros(1), running_var=np.ones(1))})
    planes(IMAGE)
    assert planes.buffers["norm.running_mean"].item() == 0
    planes(IMAGE, training=True)
    assert planes.buffers["norm.running_mean"].item() == 0.1 * 2
    with pytest.raises(NetworkError, match=r"`norm\.running_mean` cannot be written to"):
        network = normalised()
        network.buffers["norm.running_mean"].flags.writeable = False
        network(IMAGE, training=True)


def test_dropout_drops_in_training_only():
    x = np.ones((4, 8, 6, 6))
    network = Network({"drop": node(Dropout(np.random.default_rng(0), 0.75, axes=2)), "relu": node(relu)})
    assert np.array_equal(network(x), x)
    _, pullback = network.vjp(x, wrt="input")
    assert np.array_equal(pullback(x)["input"], x)
    y, pullback = network.vjp(x, wrt="input", training=True)
    assert set(np.unique(y)) == {0, 4}
    assert all(len(np.unique(plane)) == 1 for plane in y.reshape(32, -1))  # whole channels
    assert np.array_equal(pullback(x)["input"], y)
    assert not np.array_equal(network(x, training=True), y)  # another draw
    single = Dropout(np.random.default_rng(0), 0.5)(x, training=True)
    assert 0.45 < (single == 0).mean() < 0.55  # of 1152 draws; 3 deviations
    with pytest.raises(ArgumentError, match="`p` is 2 but needs to be between 0 and 1"):
        Dropout(np.random.default_rng(0), 2)


class Centred:
    """An operator of the user's own that keeps a mean."""

    buffers = ("mean",)

    def __call__(self, input, mean, training=False):
        return (input, input.mean(keepdims=True).reshape(1)) if training else input - mean

    def vjp(self, input, mean, training=False, *, wrt):
        return self(input, mean, training), lambda *g: (g[0],)


def test_an_operator_of_the_users_own_may_have_buffers():
    network = Network({"own": node(Centred(), mean=np.zeros(1))})
    assert list(network.buffers) == ["own.mean"]
    network.vjp(IMAGE, wrt="input", training=True)[1](IMAGE)
    assert np.array_equal(network(IMAGE), IMAGE - 2)


@pytest.mark.external
@pytest.mark.parametrize("frozen", [False, True])
def test_training_with_batch_normalisation_is_that_of_torch_step_by_step(frozen):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
    ).double()
    own = {n: p.detach().numpy().copy() for n, p in module.named_parameters()}
    own |= {n: b.numpy().copy() for n, b in module.named_buffers()}
    network = Network(
        {
            "0": node(conv2d, weight=own["0.weight"], bias=own["0.bias"]),
            "1": node(
                batch_norm, **{a: own[f"1.{a}"] for a in ("weight", "bias", "running_mean", "running_var")}
            ),
            "2": node(relu),
            "3": node(flatten),
            "4": node(linear, weight=own["4.weight"], bias=own["4.bias"]),
        }
    )
    if frozen:
        network.freeze("1")
        module[1].requires_grad_(False)
    steps = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
    optimizer = SGD(lr=0.1, momentum=0.9)
    for _ in range(5):
        x, g = RNG.standard_normal((6, 1, 8, 8)), RNG.standard_normal((6, 3)) / 6
        module.train()
        if frozen:
            module[1].eval()
        steps.zero_grad()
        module(torch.tensor(x)).backward(torch.tensor(g))
        steps.step()
        _, pullback = network.vjp(x, training=True)
        optimizer.step(network.parameters, pullback(g))
        for name, array in network.state().items():
            # five steps, each some hundred roundings of numbers of size 1
            assert np.abs(module.state_dict()[name].numpy() - array).max() < 1e-12, name
    module.eval()
    assert np.abs(module(torch.tensor(x)).detach().numpy() - network(x)).max() < 1e-12


# ------------------------------------------------------------------------------------------ state


def test_state_goes_to_disk_and_comes_back(tmp_path):
    network, x = small(), whole(2, 1, 4, 4)
    before = network(x)
    network.save(tmp_path / "state")
    assert [p.name for p in tmp_path.iterdir()] == ["state"]
    other = small()
    assert not np.array_equal(other(x), before)
    other.load(tmp_path / "state")
    assert np.array_equal(other(x), before)
    assert all(a.dtype == np.float64 for a in other.parameters.values())


def test_a_state_that_does_not_fit_says_all_that_is_wrong_and_changes_nothing(tmp_path):
    network = small()
    state = network.state()
    state["conv1.bias"] = np.zeros(3)
    state["conv2.bias"] = state["conv2.bias"].astype(np.float32)
    state["tail.bias"] = state.pop("head.bias")
    before = network.state()
    with pytest.raises(StateError) as error:
        network.load_state(state)
    assert str(error.value).splitlines()[1:] == [
        "    `head.bias` is missing",
        "    `tail.bias` is unexpected",
        "    `conv1.bias` has shape (3,) but the network needs (2,)",
        "    `conv2.bias` is float32 but the network needs float64",
    ]
    assert all(np.array_equal(before[n], a) for n, a in network.parameters.items())
    (tmp_path / "text").write_text("no arrays")
    with pytest.raises(StateError, match="text is no npz file of arrays"):
        network.load(tmp_path / "text")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(StateError, match="holds a single array"):
        network.load(tmp_path / "one.npy")
    with pytest.raises(FileNotFoundError):
        network.load(tmp_path / "nowhere")


def test_a_state_is_a_copy():
    network = small()
    state = network.state()
    network.parameters["head.bias"][:] = 7
    assert not np.array_equal(state["head.bias"], network.parameters["head.bias"])


@pytest.mark.parametrize("again", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_a_copy_has_arrays_of_its_own(again):
    w = whole(1, 1, 1, 1)
    network = normalised().extended({"one": node(conv2d, weight=w), "two": node(conv2d, weight=w)})
    network.freeze("one")
    other = again(network)
    assert np.array_equal(other(IMAGE), network(IMAGE))
    assert list(other.parameters) == list(network.parameters)
    assert other.frozen == network.frozen == {"one.weight"}
    before = network.state()
    other.parameters["one.weight"] += 1
    other(IMAGE, training=True)
    assert other.until("two").parameters["one.weight"] is other.parameters["one.weight"]
    assert all(np.array_equal(before[name], array) for name, array in network.state().items())


# ----------------------------------------------------------------------------------- other networks


def test_another_head_on_the_same_features():
    network, x = small(), whole(2, 1, 4, 4)
    network.freeze("conv1", "head")
    features = network.until("flat")
    assert list(features.nodes) == list(network.nodes)[:-1]
    assert features.frozen == {"conv1.weight", "conv1.bias"}
    other = features.extended({"head": node(linear, weight=whole(5, 16))})
    assert other(x).shape == (2, 5)
    assert other.parameters["conv1.weight"] is network.parameters["conv1.weight"]
    assert network(x).shape == (2, 3)
    replaced = network.extended({"head": node(linear, weight=whole(4, 16))})
    assert replaced(x).shape == (2, 4)
    assert list(replaced.parameters) == [n for n in network.parameters if n != "head.bias"]
    assert replaced.frozen == {"conv1.weight", "conv1.bias"}  # a new head learns


# -------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ({}, "a network needs at least one node"),
        ({"a.b": node(relu)}, "a node cannot be called 'a.b': no dot"),
        ({"input": node(relu)}, "`input` is both an input and a node"),
        ({"a": relu}, r"node `a` is Operator; make it with node\(operator, ...\)"),
        (
            {"a": node(relu, "b"), "b": node(relu)},
            "node `a` has the source 'b', which does not come before it",
        ),
        ({"a": node(relu, "input", "input")}, "node `a` has 2 sources, too many"),
    ],
)
def test_what_is_no_graph(nodes, text):
    with pytest.raises(NetworkError, match=text):
        Network(nodes)


def test_errors_of_a_node_name_it():
    network, x = small(), whole(2, 1, 5, 4)
    with pytest.raises(ShapeError, match=r"^node `conv1`: conv2d: `input` has 2 channels"):
        network(whole(2, 2, 4, 4))
    with pytest.raises(NetworkError, match=r"the network takes 1 inputs \(input\) but got 2"):
        network(x, x)
    with pytest.raises(NetworkError, match="there is no node 'relu3'"):
        network.features(x, at="relu3")
    with pytest.raises(NetworkError, match="`wrt` has 'conv1' but needs inputs: input"):
        network.vjp(x, wrt="conv1")
    _, pullback = network.vjp(whole(2, 1, 4, 4))
    with pytest.raises(ShapeError, match=r"^node `head`: linear: `cotangent` has shape \(2, 4\)"):
        pullback(np.zeros((2, 4)))
    with pytest.raises(NetworkError, match="a source is 3 but needs the name"):
        node(relu, 3)
