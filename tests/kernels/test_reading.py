"""Networks from text, from torch, from ONNX: what they compute, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kernels import conv2d, linear, max_pool2d, relu
from kernels.network import Network
from kernels.reading import ReadingError, from_onnx, from_text, from_torch, read

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


# ------------------------------------------------------------------------------------------- ONNX


def model(nodes, arrays, shape=(1, 3, 8, 8), named=0):
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
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


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


@pytest.mark.external
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


@pytest.mark.external
@pytest.mark.parametrize(
    ("nodes", "error"),
    [
        (
            [("Einsum", ["x", "x"], ["y"], {"equation": "a,a->a"})],
            r"ONNX node 0 \(Einsum\): no operator is called",
        ),
        ([("Conv", ["x", "x"], ["y"], {})], "its input `x` needs to be a constant"),
        (
            [("MaxPool", ["x"], ["y"], {"kernel_shape": [2, 2], "auto_pad": "SAME_LOWER"})],
            "SAME_LOWER has no equal",
        ),
        ([("Add", ["x", "b"], ["y"], {})], "a constant is added to what is no layer without a bias"),
    ],
)
def test_what_of_onnx_is_refused(nodes, error):
    with pytest.raises(ReadingError, match=error):
        from_onnx(model(nodes, ARRAYS))


@pytest.mark.external
def test_a_bias_behind_a_matrix_is_its_layers():
    nodes = [("MatMul", ["x", "m"], ["z"], {}), ("Add", ["z", "h"], ["y"], {})]
    arrays = {"m": weights(7, 5), "h": weights(5)}
    network = from_onnx(model(nodes, arrays, shape=(2, 7))).network
    x = weights(2, 7)
    assert np.abs(network(x) - (x @ arrays["m"] + arrays["h"])).max() < 1e-5  # seven products
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
