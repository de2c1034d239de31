"""Networks from text, from torch, from ONNX: what they compute, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kernels import conv2d, cross_entropy, linear, max_pool2d, relu
from kernels.network import Network
from kernels.reading import ReadingError, from_onnx, from_text, from_torch, read
from kernels.training import SGD, Adam, Dropout

TEXT = """
input[2, 3, 9, 9]   # batch, channels, rows, columns
conv1: conv2d weight[4, ?, 3, 3] bias[4] stride=2 padding=((1, 1), (1, 1))
relu
conv2d weight[4, ?, 3, 3] padding=same
sum: add from conv2d, relu
max_pool2d kernel_size=(2, 2)
"""


def test_text():
    described = from_text(TEXT)
    network = described.network
    assert described.shapes == ((2, 3, 9, 9),)
    assert list(network.nodes) == ["conv1", "relu", "conv2d", "sum", "max_pool2d"]
    assert network.nodes["conv2d"].parameters["weight"].shape == (4, 4, 3, 3)
    assert network.nodes["sum"].sources == ("conv2d", "relu")
    assert network.nodes["conv1"].options == {"stride": 2, "padding": ((1, 1), (1, 1))}
    assert network(np.ones((2, 3, 9, 9), np.float32)).shape == (2, 4, 2, 2)


def test_text_takes_further_operators_and_several_inputs():
    described = from_text("a[1, 2]\nb[1, 2]\nown from a, b", {"own": lambda x, z: x - z})
    assert described.network(np.ones(2), np.zeros(2)).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("conv2d weight[1]", r"line 1: a network begins with its inputs"),
        ("input[1, 1, 4]\nconv9d", r"line 2: no operator is called conv9d \(there are conv1d"),
        (
            "input[1, 1, 4]\nconv1d weight[1, x, 3]",
            r"line 2: the shape \[1, x, 3\] needs whole numbers, or \?",
        ),
        (
            "input[1, 1, 4]\nconv1d weight[1, 2, 3]",
            "line 2: conv1d: `input` has 1 channels but `weight` needs 2",
        ),
        ("input[1, 1, 4]\nrelu relu", "line 2: `relu` is neither parameter"),
        ("input[1, 1, 4]\nrelu from there", "line 2: there is no line called there before this one"),
        ("input[1, 1, 4]\n= 3", "line 2: a line is `name: operator"),
        ("input[1, 1, 4]", "there is no operator in this text"),
    ],
)
def test_what_is_no_network(text, error):
    with pytest.raises(ReadingError, match=error):
        from_text(text)


def test_files(tmp_path):
    (tmp_path / "net.txt").write_text(TEXT)
    assert isinstance(read(tmp_path / "net.txt").network, Network)
    with pytest.raises(ReadingError, match="there is no file"):
        read(tmp_path / "nowhere.txt")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ReadingError, match=r"bytes\.txt is no text in UTF-8"):
        read(tmp_path / "bytes.txt")


@pytest.mark.external
def test_names():
    """Whatever torch's class is called, its operator is found."""
    nn = pytest.importorskip("torch").nn
    modules = [
        nn.LogSigmoid(),
        nn.ReLU6(),
        nn.SELU(),
        nn.Hardswish(),
        nn.GLU(1),
        nn.Softmin(1),
        nn.LeakyReLU(),
        nn.PReLU(),
    ]
    found = from_torch(nn.Sequential(nn.BatchNorm1d(4), nn.ConvTranspose2d(4, 4, 3), *modules)).nodes.values()
    assert [n.operator.__name__ for n in found] == [
        *("batch_norm", "conv_transpose2d", "logsigmoid", "relu6", "selu", "hardswish", "glu", "softmin"),
        *("leaky_relu", "prelu"),
    ]


# ------------------------------------------------------------------------------------------ torch


@pytest.mark.external
def test_a_sequential_computes_what_torch_computes():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    module = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Dropout(),
        nn.Conv2d(8, 4, 1, padding="same", bias=False),
        nn.AvgPool2d(2, count_include_pad=False),
        nn.Flatten(),
        nn.Linear(64, 5),
        nn.LogSoftmax(dim=1),
    ).eval()
    x = torch.randn(2, 3, 32, 32)
    network = from_torch(module)
    # two float32 convolutions and a linear layer of some 64 terms each
    assert np.abs(network(x.numpy()) - module(x).detach().numpy()).max() < 1e-5
    assert "0_0.weight" in network.parameters
    with pytest.raises(ReadingError, match="module 0 is GRU, and no operator is called so"):
        from_torch(nn.Sequential(nn.GRU(2, 2)))
    around = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1, padding_mode="circular"))
    assert np.abs(from_torch(around)(x.numpy()) - around(x).detach().numpy()).max() < 1e-5
    with pytest.raises(ReadingError, match="has padding_mode='circular', which conv2d does not take"):
        from_torch(around, {"conv2d": linear})


def of_torch(nn):
    """Modules whose names or attributes are not those of an operator, each with the shape that it takes."""
    image = (2, 4, 6, 6)
    return [
        (nn.Upsample(scale_factor=2), image),
        (nn.Upsample(size=(7, 9), mode="bilinear", align_corners=True), image),
        (nn.UpsamplingBilinear2d(scale_factor=2), image),
        (nn.UpsamplingNearest2d(size=9), image),
        (nn.ZeroPad2d((1, 0, 2, 1)), image),
        (nn.ConstantPad1d((1, 2), 0.5), (2, 4, 6)),
        (nn.ReflectionPad2d((1, 2, 0, 1)), image),
        (nn.ReplicationPad3d(1), (1, 2, 3, 3, 3)),
        (nn.CircularPad2d(1), image),
        (nn.Unfold(2, stride=2), image),
        (nn.Fold((6, 6), 2, stride=2), (2, 4, 9)),
        (nn.Softmax2d(), image),
        (nn.RReLU(), image),
        (nn.GroupNorm(2, 4), image),
        (nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1), image),
        (nn.AdaptiveAvgPool2d((2, None)), image),
        (nn.BatchNorm2d(4, track_running_stats=False), image),
        (nn.InstanceNorm2d(4, affine=True), image),
        (nn.InstanceNorm2d(4, track_running_stats=True), image),
    ]


@pytest.mark.external
def test_modules_that_are_called_otherwise():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    for module, shape in of_torch(torch.nn):
        for buffer in module.buffers():
            if buffer.dtype.is_floating_point:
                buffer.copy_(torch.rand_like(buffer) + 0.5)
        x = torch.randn(shape, requires_grad=True)
        expected = module.eval()(x)
        g = torch.randn_like(expected)
        (gx,) = torch.autograd.grad(expected, x, g)
        network = from_torch(torch.nn.Sequential(module))
        y, pullback = network.vjp(x.detach().numpy(), wrt="input")
        # float32: sums of at most 36 terms of size 1, and a division by a deviation of size 1
        assert np.abs(y - expected.detach().numpy()).max() < 1e-5, module
        assert np.abs(pullback(g.numpy())["input"] - gx.numpy()).max() < 1e-5, module


@pytest.mark.external
def test_a_sequential_is_trained_as_torch_trains_it():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)
    again = nn.Conv2d(4, 4, 3, padding=1)
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), again, nn.GroupNorm(2, 4), again,
        nn.ReLU(), nn.MaxPool2d(2), nn.ConvTranspose2d(4, 3, 2, stride=2), nn.Upsample(scale_factor=2),
        nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(27, 3),
    ).double()  # fmt: skip
    before = {name: array.clone() for name, array in module.state_dict().items()}
    network, optimizer = from_torch(module), Adam(lr=0.01)
    steps = torch.optim.Adam(module.parameters(), 0.01)
    assert len(network.parameters) == len(list(module.parameters()))  # the convolution that is there twice
    rng = np.random.default_rng(0)
    for step in range(5):
        x, target = rng.standard_normal((4, 1, 8, 8)), rng.integers(0, 3, 4)
        logits, pullback = network.vjp(x, training=True)
        loss, to_logits = cross_entropy.vjp(logits, target)
        optimizer.step(network.parameters, pullback(to_logits(np.float64(1))[0]))
        if step == 0:  # its arrays are not the module's
            assert all(torch.equal(before[name], a) for name, a in module.state_dict().items())
        steps.zero_grad()
        expected = nn.functional.cross_entropy(module(torch.tensor(x)), torch.tensor(target))
        expected.backward()
        steps.step()
        assert abs(loss - expected.item()) < 1e-9
    own = {n: b for n, b in module.state_dict().items() if "num_batches" not in n and not n.startswith("5.")}
    assert own.keys() == network.state().keys()
    for name, array in network.state().items():
        # a gradient of size 1e-5 and rounding 1e-16 is a step of Adam with an error of 1e-11 times its rate
        assert np.abs(own[name].numpy() - array).max() < 1e-9, name


@pytest.mark.external
def test_dropout_is_left_out_unless_there_is_who_draws():
    nn = pytest.importorskip("torch").nn
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Dropout(0.25), nn.Dropout2d(0.5))
    assert list(from_torch(module).nodes) == ["0"]
    rng = np.random.default_rng(0)
    drawn = from_torch(module, rng=rng)
    assert [n.operator for n in drawn.nodes.values()][1:] == [Dropout(rng, 0.25), Dropout(rng, 0.5, 2)]
    with pytest.raises(ReadingError, match="module 0 is AlphaDropout, which has no equal in training"):
        from_torch(nn.Sequential(nn.AlphaDropout()), rng=rng)


@pytest.mark.external
def test_what_of_torch_is_refused():
    nn = pytest.importorskip("torch").nn

    class Own(nn.Module):
        pass

    class Block(nn.Sequential):
        pass

    class Other(nn.Sequential):
        def forward(self, input):
            return input + super().forward(input)

    assert list(from_torch(nn.Sequential(Block(nn.ReLU()))).nodes) == ["0_0"]
    with pytest.raises(ReadingError, match="module 0 is Other, and no operator is called so$"):
        from_torch(nn.Sequential(Other(nn.ReLU())))
    with pytest.raises(ReadingError, match=r"is Own, and no operator is called so \(a Sequential is read"):
        from_torch(Own())
    with pytest.raises(ReadingError, match=r"module 0 \(BatchNorm1d\) has momentum=None"):
        from_torch(nn.Sequential(nn.BatchNorm1d(2, momentum=None)))


# ------------------------------------------------------------------------------------------- ONNX


def model(nodes, arrays, shape=(1, 3, 8, 8), named=0, opset=17):
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    made = [helper.make_node(op, inputs, outputs, **attributes) for op, inputs, outputs, attributes in nodes]
    dims = ["batch", "channels"][:named] + list(shape[named:])
    graph = helper.make_graph(
        made,
        "graph",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def weights(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


GRAPH = [
    ("Conv", ["x", "w", "b"], ["c"], {"strides": [2, 2], "pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}),
    ("Relu", ["c"], ["r"], {}),
    ("Conv", ["r", "v"], ["d"], {"auto_pad": "SAME_UPPER", "kernel_shape": [3, 3]}),
    ("Add", ["d", "r"], ["s"], {}),
    ("Concat", ["s", "r", "d"], ["k"], {"axis": 1}),
    ("MaxPool", ["k"], ["p"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("Flatten", ["p"], ["f"], {}),
    ("Gemm", ["f", "g", "h"], ["y"], {"transB": 1}),
]
ARRAYS = {
    "w": weights(4, 3, 3, 3),
    "b": weights(4),
    "v": weights(4, 4, 3, 3),
    "g": weights(5, 48),
    "h": weights(5),
}


def test_an_onnx_graph_computes_what_its_reference_computes(tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    made = model(GRAPH, ARRAYS)
    x = weights(1, 3, 8, 8)
    (expected,) = ReferenceEvaluator(made).run(None, {"x": x})
    described = from_onnx(made)
    assert described.shapes == ((1, 3, 8, 8),)
    # sums of up to 48 products of size 1 to 10 in float32
    assert np.abs(described.network(x) - expected).max() < 1e-4
    onnx.save(made, tmp_path / "net.onnx")
    assert np.array_equal(read(tmp_path / "net.onnx").network(x), described.network(x))
    assert from_onnx(model(GRAPH, ARRAYS, named=1)).shapes == ((1, 3, 8, 8),)
    assert from_onnx(model(GRAPH, ARRAYS, named=2)).shapes == (None,)


@pytest.mark.parametrize(
    ("nodes", "error"),
    [
        (
            [("Einsum", ["x", "x"], ["y"], {"equation": "a,a->a"})],
            r"ONNX node 0 \(Einsum\): no operator is called",
        ),
        ([("Conv", ["x", "x"], ["y"], {})], "its input `x` needs to be a constant"),
        (
            [
                (
                    "MaxPool",
                    ["x"],
                    ["y"],
                    {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
                )
            ],
            r"auto_pad=SAME_LOWER with strides=\(2, 2\) has no equal here",
        ),
        (
            [("Pow", ["x", "half"], ["y"], {})],
            "a power has no equal here, but for the constant ones 1, 2, 3 and 4",
        ),
        ([("Unsqueeze", ["x", "front"], ["y"], {})], "axis 0 is that of the images"),
        ([("Squeeze", ["x"], ["y"], {})], "without axes it has no equal here"),
        ([("HardSigmoid", ["x"], ["y"], {})], "alpha=0.2 and beta=0.5 have no equal here"),
        (
            [("Reshape", ["x", "rows"], ["y"], {})],
            r"the shape \[-1, 8\], of \[1, 3, 8, 8\], has no equal here; one that leaves the first axis",
        ),
        ([("PRelu", ["x", "eight"], ["y"], {})], r"a slope of shape \(8,\) has no equal here"),
        ([("Clip", ["x", "", "one"], ["y"], {})], "min=None and max=1.0 have no equal here"),
        ([("LRN", ["x"], ["y"], {"size": 2})], "size=2 has no equal here"),
        ([("ReduceMean", ["x"], ["y"], {"axes": [1, 2]})], r"axes=\[1, 2\] of 4 have no equal here"),
        ([("GroupNormalization", ["x", "b", "b"], ["y"], {"num_groups": 1})], "a scale for each group"),
        ([("DepthToSpace", ["x"], ["y"], {"blocksize": 2})], "mode=DCR has no equal here"),
        ([("Resize", ["x", "", "half"], ["y"], {"mode": "linear"})], "whole ones, of the axes behind"),
        (
            [("Resize", ["x", "", "twice"], ["y"], {"nearest_mode": "ceil"})],
            "such a Resize has no equal here",
        ),
    ],
)
def test_what_of_onnx_is_refused(nodes, error):
    with pytest.raises(ReadingError, match=error):
        from_onnx(model(nodes, ARRAYS | MORE))


PLANE = (2, 4, 8, 8)
SINGLE = [  # an operator, its constants, its attributes, the input's shape
    ("ConvTranspose", "tb", {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}, PLANE),
    ("Conv", "w", {"auto_pad": "SAME_LOWER", "kernel_shape": [3, 3]}, (2, 3, 5, 5)),
    ("MaxPool", "", {"auto_pad": "SAME_LOWER", "kernel_shape": [2, 2]}, PLANE),
    ("LpPool", "", {"kernel_shape": [2, 2], "p": 2}, PLANE),
    ("LpPool", "", {"kernel_shape": [3, 2], "p": 3, "dilations": [2, 3], "pads": [1, 0, 2, 1]}, PLANE),
    ("GlobalMaxPool", "", {}, PLANE),
    ("ReduceMean", "+axes", {"keepdims": 0}, PLANE),
    ("ReduceMax", "+axes", {}, PLANE),
    ("BatchNormalization", "bbbp", {"epsilon": 0.1}, PLANE),
    ("InstanceNormalization", "bb", {}, PLANE),
    ("GroupNormalization", "bb", {"num_groups": 2}, PLANE),
    ("LayerNormalization", "+eight+eight", {}, PLANE),
    ("LayerNormalization", "+eight", {"axis": 3}, PLANE),
    ("Clip", "+zero+six", {}, PLANE),
    ("Clip", "+zero", {}, PLANE),
    ("Clip", "+zero+one", {}, PLANE),
    ("HardSigmoid", "", {"alpha": 1 / 6}, PLANE),
    ("LeakyRelu", "", {"alpha": 0.25}, PLANE),
    ("PRelu", "+column", {}, PLANE),
    ("Softmax", "", {}, PLANE),
    ("LogSoftmax", "", {"axis": 1}, PLANE),
    ("Shrink", "", {"bias": 0.5}, PLANE),
    ("Shrink", "", {}, PLANE),
    ("ThresholdedRelu", "", {"alpha": 0.5}, PLANE),
    ("Pad", "+pads+six", {}, PLANE),
    ("Pad", "+pads", {"mode": "reflect"}, PLANE),
    ("DepthToSpace", "", {"blocksize": 2, "mode": "CRD"}, PLANE),
    ("Resize", "++twice", {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, PLANE),
    ("Resize", "++twice", {}, PLANE),
    ("Resize", "++twice", {"mode": "linear", "coordinate_transformation_mode": "align_corners"}, PLANE),
    ("Resize", "++twice", {"mode": "cubic", "coordinate_transformation_mode": "pytorch_half_pixel"}, PLANE),
    ("Resize", "+++sizes", {"mode": "linear"}, PLANE),
    ("Gemm", "+matrix+row", {"alpha": 0.5, "beta": 2.0}, (2, 7)),
    ("Gemm", "+matrix+one", {}, (2, 7)),
    ("Reshape", "+flat", {}, (2, 4, 2)),
    ("Reshape", "+parted", {}, (2, 4, 2)),
    ("Squeeze", "+axes", {}, (2, 4, 1, 1)),
    ("Unsqueeze", "+axes", {}, (2, 4)),
    ("Add", "+eight", {}, PLANE),
    ("Sub", "+column", {}, PLANE),
    ("Mul", "+one", {}, PLANE),
    ("Div", "+six", {}, PLANE),
    ("Pow", "+three", {}, PLANE),
    ("Erf", "", {}, PLANE),
    ("Sum", "+six+eight+column", {}, PLANE),
]
MORE = {
    "t": weights(4, 2, 3, 3),
    "p": np.abs(weights(4)),
    "column": weights(4, 1, 1),
    "eight": weights(8),
    "matrix": weights(7, 5),
    "row": weights(1, 5),
    "axes": np.array([2, -1]),
    "zero": np.float32(0),
    "front": np.array([0]),
    "one": np.array([1], np.float32),
    "six": np.float32(6),
    "rows": np.array([-1, 8]),
    "flat": np.array([-1, 8]),
    "parted": np.array([0, -1, 2, 2]),
    "three": np.float32(3),
    "pads": np.array([0, 0, 1, 2, 0, 0, 3, 0]),
    "half": np.array([1, 1, 0.5, 1], np.float32),
    "twice": np.array([1, 1, 2, 3], np.float32),
    "sizes": np.array([2, 4, 11, 9]),
}


@pytest.mark.parametrize(("name", "constants", "attributes", "shape"), SINGLE)
def test_an_operator_of_onnx(name, constants, attributes, shape):
    pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    words = constants.split("+")[1:] if "+" in constants else list(constants)
    arrays = {**ARRAYS, **MORE}
    if name == "ConvTranspose":
        arrays["b"] = weights(2)
    nodes = [(name, ["x", *words], ["y"], attributes)]
    made = model(nodes, {word: arrays[word] for word in words if word}, shape, opset=21)
    x = weights(*shape)
    (expected,) = ReferenceEvaluator(made).run(None, {"x": x})
    network = from_onnx(made).network
    assert network(x).shape == expected.shape
    # float32: sums of at most 36 terms of size 1, and divisions by deviations of size 1
    assert np.abs(network(x) - expected).max() < 1e-5
    for array in (*network.parameters.values(), *network.buffers.values()):
        array *= 2  # onnx's own arrays cannot be written to


COMPOSED = {
    "silu": [("Sigmoid", ["c"], ["gate"], {}), ("Mul", ["c", "gate"], ["y"], {})],
    "mish": [("Softplus", ["c"], ["s"], {}), ("Tanh", ["s"], ["t"], {}), ("Mul", ["c", "t"], ["y"], {})],
    "gelu": [
        ("Div", ["c", "root"], ["scaled"], {}),
        ("Erf", ["scaled"], ["erf"], {}),
        ("Add", ["one", "erf"], ["more"], {}),
        ("Mul", ["c", "more"], ["product"], {}),
        ("Mul", ["product", "half"], ["y"], {}),
    ],
    "gelu_tanh": [
        ("Pow", ["c", "three"], ["cube"], {}),
        ("Mul", ["cube", "small"], ["part"], {}),
        ("Add", ["c", "part"], ["sum"], {}),
        ("Mul", ["sum", "slope"], ["inner"], {}),
        ("Tanh", ["inner"], ["t"], {}),
        ("Add", ["t", "one"], ["more"], {}),
        ("Mul", ["c", "half"], ["halved"], {}),
        ("Mul", ["halved", "more"], ["y"], {}),
    ],
    "squeeze and excitation": [  # a gate for each channel, by 1 x 1 convolutions
        ("GlobalAveragePool", ["c"], ["mean"], {}),
        ("Conv", ["mean", "down"], ["d"], {}),
        ("Relu", ["d"], ["r"], {}),
        ("Conv", ["r", "up"], ["u"], {}),
        ("Sigmoid", ["u"], ["gate"], {}),
        ("Mul", ["gate", "c"], ["y"], {}),
    ],
    "squeeze and excitation of rows": [  # by linear layers, with another branch subtracted
        ("ReduceMean", ["c"], ["mean"], {"axes": [2, 3], "keepdims": 0}),
        ("MatMul", ["mean", "square"], ["m"], {}),
        ("Sigmoid", ["m"], ["row_gate"], {}),
        ("Unsqueeze", ["row_gate", "last"], ["gate"], {}),
        ("Mul", ["c", "gate"], ["gated"], {}),
        ("Sub", ["one", "gated"], ["y"], {}),
    ],
}
NUMBERS = {
    "root": np.float32(np.sqrt(2)),
    "half": np.float32(0.5),
    "one": np.array([1], np.float32),
    "three": np.float32(3),
    "small": np.float32(0.044715),
    "slope": np.float32(np.sqrt(2 / np.pi)),
    "last": np.array([2, 3]),
    "down": weights(2, 4, 1, 1),
    "up": weights(4, 2, 1, 1),
    "square": weights(4, 4),
}


def by_reference(made, x):
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(made).run(None, {"x": x})[0]


def by_onnxruntime(made, x):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("name", COMPOSED)
@pytest.mark.parametrize(
    "run",
    [by_reference, pytest.param(by_onnxruntime, marks=pytest.mark.external)],
    ids=lambda run: run.__name__,
)
def test_what_exports_write_with_products_of_two_values(name, run):
    """Gradients pass both ways; numbers in a formula have none."""
    pytest.importorskip("onnx")

    nodes = [("Conv", ["x", "w"], ["c"], {"kernel_shape": [3, 3]}), *COMPOSED[name]]
    named = {word for _, inputs, _, _ in nodes for word in inputs}
    made = model(nodes, {k: v for k, v in {**ARRAYS, **NUMBERS}.items() if k in named})
    x = weights(1, 3, 8, 8)
    expected = run(made, x)
    network = from_onnx(made).network
    y, pullback = network.vjp(x, wrt="x")
    assert np.abs(y - expected).max() < 1e-5 * max(
        1, np.abs(expected).max()
    )  # float32: sums of 27 terms, a few roundings
    gradients = pullback(np.ones_like(y))
    layers = {n for n in network.parameters if n.endswith("weight")}
    assert gradients.keys() == layers | {"x"}
    direction = weights(*x.shape).astype(float)
    step = 2.0**-10
    ahead, behind = (
        network((x + s * step * direction).astype(np.float32)).astype(float).sum() for s in (1, -1)
    )
    slope = (gradients["x"].astype(float) * direction).sum()
    assert abs((ahead - behind) / (2 * step) - slope) < 0.02 * max(
        1, abs(slope)
    )  # a finite difference in float32


def test_what_follows_from_constants_or_a_known_shape_is_worked_out():
    """As torch writes a flattening, and the padding of a convolution that reflects."""
    pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    nodes = [
        ("Constant", [], ["four"], {"value_ints": [4]}),
        ("ConstantOfShape", ["four"], ["none"], {}),
        ("Cast", ["none"], ["before"], {"to": 7}),
        ("Concat", ["before", "after"], ["pads"], {"axis": 0}),
        ("Pad", ["x", "pads"], ["p"], {"mode": "reflect"}),
        ("Shape", ["p"], ["s"], {"end": 1}),
        ("Concat", ["s", "rest"], ["shape"], {"axis": 0}),
        ("Reshape", ["p", "shape"], ["y"], {}),
    ]
    made = model(nodes, {"after": np.array([0, 0, 2, 1]), "rest": np.array([-1])}, (2, 3, 4, 5))
    x = weights(2, 3, 4, 5)
    (expected,) = ReferenceEvaluator(made).run(None, {"x": x})
    network = from_onnx(made).network
    assert list(network.nodes) == ["p", "y"]
    assert np.array_equal(network(x), expected)


def test_a_bias_behind_a_matrix_is_its_layers():
    nodes = [("MatMul", ["x", "m"], ["z"], {}), ("Add", ["z", "h"], ["y"], {})]
    arrays = {"m": weights(7, 5), "h": weights(5)}
    network = from_onnx(model(nodes, arrays, shape=(2, 7))).network
    x = weights(2, 7)
    assert np.abs(network(x) - (x @ arrays["m"] + arrays["h"])).max() < 1e-5  # seven products
    SGD(lr=1.0).step(network.parameters, {"z.bias": np.ones(5, np.float32)})
    assert np.array_equal(network.parameters["z.bias"], arrays["h"] - 1)
    assert list(network.nodes) == ["z"]


def test_operators_are_those_of_kernels():
    network = from_text(
        "input[1, 1, 4, 4]\nconv2d weight[1, 1, 3, 3]\nrelu\nmax_pool2d kernel_size=2"
    ).network
    assert [n.operator for n in network.nodes.values()] == [conv2d, relu, max_pool2d]


def test_what_is_damaged_is_told(tmp_path: Path) -> None:
    first = "input[1, 1, 8, 8]\n"
    with pytest.raises(ReadingError, match="line 2: conv2d takes 0 sources beside its parameters, found 1"):
        from_text(first + "conv2d input[1, 1, 8, 8] weight[2, 1, 3, 3] bias[2]")
    with pytest.raises(ReadingError, match="more elements than an array can have"):
        from_text(first + f"conv2d weight[{10**30}, 1, 3, 3]")
    pytest.importorskip("onnx")
    (tmp_path / "cut.onnx").write_bytes(b"\x08\x07\x3a\xff\xff")
    with pytest.raises(ReadingError, match="no ONNX model that can be read: DecodeError"):
        read(tmp_path / "cut.onnx")
