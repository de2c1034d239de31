"""ONNX's node tests through `kernels.onnx`, what its translations refuse, and windows beside onnxruntime."""

from __future__ import annotations

import re
import subprocess
import sys
from random import Random

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="ONNX's node tests", exc_type=ImportError)

from onnx.reference import ReferenceEvaluator  # noqa: E402

import kernels.onnx  # noqa: E402
from kernels.errors import KernelError  # noqa: E402
from tests.external import onnx_nodes  # noqa: E402
from tests.support.tally import Tally  # noqa: E402

LARGEST = {1: 12, 2: 7, 3: 5}
REFUSED = {
    r"the (window|kernel) covers .* but the padded `input` has": "a window larger than the padded input, refused by ours",
    r"maximum in the padding": "a maximum in the padding, refused by ours",
}
COUNT, SHARE = 300, 0.1


@pytest.mark.parametrize(
    ("share", "least"),
    [
        pytest.param(1, 80, marks=[pytest.mark.slow, pytest.mark.external], id="all"),
        pytest.param(SHARE, 40, id="a_share"),
    ],
)
def test_node_tests(share, least, count):
    """One test for all rows: generating the cases is most of the time, and kernels are few."""
    tallies = [onnx_nodes.run(row, share) for row in onnx_nodes.rows()]
    for found in tallies:
        count(found)
    assert sum(found.scope for found in tallies) >= least
    for found in tallies:
        found.check()


def test_every_translation_has_the_operators_that_it_needs():
    assert kernels.onnx.supported() == tuple(kernels.onnx.TRANSLATIONS)
    for translation in kernels.onnx.TRANSLATIONS.values():
        assert set(translation.needs) <= set(kernels.OPERATORS)


def model(op, shapes, opset=22, outputs=("y",), kind=onnx.TensorProto.FLOAT, **attributes):
    """A graph of one node, whose inputs are x0, x1 and so on."""
    value = onnx.helper.make_tensor_value_info
    names = [f"x{n}" for n in range(len(shapes))]
    inputs = [value(n, kind, list(s)) for n, s in zip(names, shapes, strict=True)]
    results = [value(n, onnx.TensorProto.INT64 if n == "i" else kind, None) for n in outputs]
    node = onnx.helper.make_node(op, names, list(outputs), **attributes)
    graph = onnx.helper.make_graph([node], "one", inputs, results)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)


def run(proto, arrays):
    session = ReferenceEvaluator(proto, new_ops=kernels.onnx.new_ops())
    return session.run(None, {f"x{n}": a for n, a in enumerate(arrays)})


# ----------------------------------------------------------------------------------- onnxruntime


def windows(op, seed):
    """A node over windows, drawn from one integer, with its arrays: no two entries equal."""
    draw = Random(f"{op} {seed}")
    axes = draw.randint(1, 3)
    kernel = [draw.randint(1, 3) for _ in range(axes)]
    extents = [draw.randint(1, LARGEST[axes]) for _ in range(axes)]
    strides = [draw.randint(1, 3) for _ in range(axes)]
    auto = draw.choice(["NOTSET"] * 3 + ["SAME_UPPER", "SAME_LOWER", "VALID"])
    attributes = {"kernel_shape": kernel, "strides": strides}
    if auto == "NOTSET":
        attributes["pads"] = [draw.randint(0, k - 1) for k in kernel * 2]
    else:
        attributes["auto_pad"] = auto
    if draw.random() < 0.4 and (op == "Conv" or not auto.startswith("SAME")):  # docs/differences.md
        attributes["dilations"] = [draw.choice([1, 1, 2]) for _ in range(axes)]
    if op != "Conv":
        attributes["ceil_mode"] = draw.randint(0, 1)
    if op == "AveragePool":
        attributes["count_include_pad"] = draw.randint(0, 1)
    if auto.startswith("SAME"):  # nothing is cropped (docs/differences.md)
        attributes["strides"] = [min(s, k + 1) for s, k in zip(strides, kernel, strict=True)]
    outputs = ("y",)
    if op == "MaxPool" and draw.random() < 0.5:
        outputs, attributes["storage_order"] = ("y", "i"), draw.randint(0, 1)
    shapes = [(draw.randint(1, 2), 2, *extents)] + ([(2, 2, *kernel)] if op == "Conv" else [])
    rng = np.random.default_rng(seed)
    arrays = [rng.permutation(int(np.prod(s))).reshape(s).astype(np.float32) / 8 for s in shapes]
    return model(op, shapes, outputs=outputs, **attributes), arrays, attributes


@pytest.mark.slow
@pytest.mark.external
@pytest.mark.parametrize("op", ["Conv", "MaxPool", "AveragePool"])
def test_windows_beside_onnxruntime(op, count):
    runtime = pytest.importorskip("onnxruntime", reason="a comparison with onnxruntime")
    runtime.set_default_logger_severity(4)
    tally = Tally("Random nodes beside onnxruntime", op)
    for seed in range(COUNT):
        proto, arrays, attributes = windows(op, seed)
        feeds = {f"x{n}": a for n, a in enumerate(arrays)}
        try:
            session = runtime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
            want = session.run(None, feeds)
        except Exception:  # its own types, among them one that it does not export
            tally.out["refused by onnxruntime"] += 1
            continue
        try:
            found = run(proto, arrays)
        except KernelError as error:
            if reason := next(
                (why for pattern, why in REFUSED.items() if re.search(pattern, str(error))), None
            ):
                tally.out[reason] += 1
            else:
                tally.failed.append(f"{op} {seed} {attributes} {arrays[0].shape}: refused, {error}")
            continue
        try:
            for a, b in zip(found, want, strict=True):
                # float32, sums of at most 54 terms of size up to 10
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4, strict=True)
        except AssertionError as error:
            tally.failed.append(f"{op} {seed} {attributes} {arrays[0].shape}: {error}")
        else:
            tally.passed += 1
    count(tally)
    tally.check()


# ------------------------------------------------------------------------------------- versions


def test_softmax_before_opset_13_flattens():
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    (old,) = run(model("LogSoftmax", [x.shape], opset=11), [x])
    np.testing.assert_allclose(np.exp(old).sum((1, 2)), 1, rtol=1e-5)
    (new,) = run(model("LogSoftmax", [x.shape], opset=13), [x])
    np.testing.assert_allclose(np.exp(new).sum(-1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("op", "opset", "attributes", "words"),
    [
        ("Conv", 22, {"pads": [-1, 0]}, "`pads` is .* needs to be at least 0"),
        ("Conv", 22, {"auto_pad": "SAME_UPPER", "pads": [1, 1]}, "one of the two decides"),
        ("Conv", 22, {"auto_pad": "SAME"}, "`auto_pad` is 'SAME', which is not supported"),
        ("Conv", 22, {"kernel_shape": [5]}, "`kernel_shape` is .5. but W has .3."),
        ("Conv", 22, {"strides": [1, 2]}, "`strides` has 2 entries but needs 1"),
        ("Gemm", 6, {"broadcast": 1}, "opset 6 is not supported"),
        ("MaxPool", 22, {"kernel_shape": [1], "unknown": 3}, "unknown"),
    ],
)
def test_what_is_not_expressed_is_an_error(op, opset, attributes, words):
    shapes = {"Conv": [(1, 1, 7), (1, 1, 3)], "Gemm": [(2, 2), (2, 2), (2,)]}.get(op, [(1, 1, 7)])
    arrays = [np.ones(s, np.float32) for s in shapes]
    with pytest.raises(KernelError, match=f"^kernels.onnx: {op}: .*{words}"):
        run(model(op, shapes, opset, **attributes), arrays)


def test_types_that_no_kernel_computes_in_are_an_error():
    x = np.ones((1, 1, 4), np.float16)
    with pytest.raises(KernelError, match="Relu: relu: `input` is float16 but needs float32 or float64"):
        run(model("Relu", [x.shape], kind=onnx.TensorProto.FLOAT16), [x])


def test_only_those_named():
    (relu,) = kernels.onnx.new_ops("Relu")
    assert (relu.__name__, relu.op_domain) == ("Relu", "")
    with pytest.raises(KernelError, match="kernels.onnx: 'Loop' is not translated"):
        kernels.onnx.new_ops("Loop")


def test_without_onnx_it_says_so():
    code = "import sys; sys.modules['onnx'] = None; import kernels.onnx as k; k.supported(); k.new_ops()"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "kernels.onnx.new_ops needs the package onnx" in found.stderr
