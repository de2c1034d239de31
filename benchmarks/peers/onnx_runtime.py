"""onnxruntime: a model of one node, its weights a constant that the session may pack and lay out as it likes."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.cases import Array, Arrays, Case
from benchmarks.layers import FORWARD, INDEX, Convolution, Function, Pooling
from benchmarks.peers import Base, Unsupported

TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


class Peer(Base):
    def versions(self) -> dict[str, str]:
        return {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__}

    def prepare(self, case: Case, given: Arrays) -> Callable[[], Any]:
        if case.direction not in (FORWARD, INDEX):
            raise Unsupported("inference only")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.log_severity_level = 4
        model = one_node(case, given).SerializeToString()
        try:
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
            raise Unsupported(f"no kernel for {case.dtype}") from None
        self.plane = prod(case.layer.size)
        feed = {"x": given.x}
        return lambda: session.run(None, feed)

    def array(self, result: Any) -> Array:
        # ONNX counts an index through the whole tensor, the others within a plane.
        return result[0] if len(result) == 1 else np.asarray(result[1] % self.plane)


def one_node(case: Case, given: Arrays) -> Any:
    layer, kind = case.layer, TYPES[case.dtype]
    constants = []
    outputs = ["y"] if case.direction == FORWARD else ["y", "indices"]
    if isinstance(layer, Function):
        raise Unsupported("functions are timed beside torch alone")
    if isinstance(layer, Convolution):
        constants = [numpy_helper.from_array(given.w, "w")]
        node = helper.make_node(
            "ConvTranspose" if layer.transposed else "Conv",
            ["x", "w"],
            outputs,
            kernel_shape=layer.kernel,
            strides=layer.stride,
            pads=layer.padding * 2,
            dilations=layer.dilation,
            group=layer.groups,
        )
    else:
        node = pooling(layer, outputs)
    values = [
        helper.make_tensor_value_info(name, TensorProto.INT64 if name == "indices" else kind, None)
        for name in outputs
    ]
    x = helper.make_tensor_value_info("x", kind, given.x.shape)
    graph = helper.make_graph([node], "layer", [x], values, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def pooling(layer: Pooling, outputs: list[str]) -> Any:
    word = {"max": "Max", "avg": "Average"}[layer.how]
    if layer.whole:
        return helper.make_node(f"Global{word}Pool", ["x"], outputs)
    more = {"count_include_pad": 1} if layer.how == "avg" else {}
    return helper.make_node(
        f"{word}Pool",
        ["x"],
        outputs,
        kernel_shape=layer.window,
        strides=layer.stride,
        pads=layer.padding * 2,
        **more,
    )
