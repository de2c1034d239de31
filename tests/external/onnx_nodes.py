"""ONNX's node tests, run by `onnx.reference` with our operators plugged in.

A case is any of theirs whose graph has an operator that `kernels.onnx` translates, the expanded functions included. It is out of scope where our operators do not compute in its type, and where the translation
refuses it with an error that is listed here.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx.backend.test.loader import load_model_tests
from onnx.reference import ReferenceEvaluator

import kernels.onnx
from kernels.errors import KernelError
from tests.support.sampling import kept
from tests.support.tally import Tally

SUITE = "ONNX node tests"

# A pattern of our error -> why the case is out of scope.
REFUSED = {
    r"needs? float32 or float64": "in a type that is neither float32 nor float64",
    r"`antialias` is 1": "antialiasing",
    r"coordinate_transformation_mode` is 'tf_crop_and_resize'": "crop and resize",
    r"coordinate_transformation_mode` is 'asymmetric'": "asymmetric coordinates of linear and cubic resizing",
    r"coordinate_transformation_mode` is 'half_pixel_symmetric'": "half_pixel_symmetric coordinates of a rounded extent",
    r"coordinate_transformation_mode` is 'pytorch_half_pixel'": "pytorch_half_pixel coordinates of one entry",
    r"Resize: `scales` is .* whole, with align_corners": "align_corners of a rounded extent",
    r"`cubic_coeff_a` is -0.5": "another cubic than torch's (a = -0.75)",
    r"are not those of a mode of `interpolate`": "nearest places that neither nearest nor nearest-exact reads",
}

# Cases that the evaluator fails without any operator of ours, too (which `run` tries) -> why.
ELSEWHERE = {
    r"test_range_\w+_expanded": "wrong in the stock evaluator as well: its Loop stacks what the specification concatenates",
}


@cache
def cases() -> dict[str, Any]:
    """Those that have one of our operators, by name."""
    names = set(kernels.onnx.TRANSLATIONS)
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of the data that they generate
        found = load_model_tests(kind="node")
    return {t.name: t for t in found if names & operators_of(t.model.graph)}


def operators_of(graph: Any) -> set[str]:
    return {node.op_type for node in graph.node if not node.domain}


def rows() -> dict[str, list[str]]:
    """The names of the cases of each operator; of an expanded function, of the first that is ours."""
    found: dict[str, list[str]] = {}
    for name, t in cases().items():
        ours = [n.op_type for n in t.model.graph.node if n.op_type in kernels.onnx.TRANSLATIONS]
        expanded = " (in a function)" if len(t.model.graph.node) > 1 else ""
        found.setdefault(ours[0] + expanded, []).append(name)
    return dict(sorted(found.items()))


def owner(row: str) -> str:
    """Our operator that the ONNX operator of a row is translated to; of several ranks the first."""
    return kernels.onnx.TRANSLATIONS[row.split()[0]].needs[0]


def run(row: str, share: float = 1) -> Tally:
    """The cases of one row; or a share of them, always the same ones, and at least one that is in scope."""
    names = rows()[row]
    if share == 1:
        return tallied(row, names)
    found = tallied(row, [name for name in names if kept(name, share)])
    for name in names:
        if found.scope:
            break
        found = tallied(row, [name])
    return found


def tallied(row: str, names: Sequence[str]) -> Tally:
    tally = Tally(SUITE, row)
    for name in names:
        case = cases()[name]
        if why := next((why for pattern, why in ELSEWHERE.items() if re.fullmatch(pattern, name)), None):
            try:
                compare(case, [])
            except AssertionError:
                tally.out[why] += 1
                continue
        try:
            compare(case, kernels.onnx.new_ops())
        except KernelError as error:
            reason = next((why for pattern, why in REFUSED.items() if re.search(pattern, str(error))), None)
            if reason:
                tally.out[reason] += 1
            else:
                tally.failed.append(f"{name}: refused, {error}")
        except Exception as error:
            tally.failed.append(f"{name}: {type(error).__name__}: {error}")
        else:
            tally.passed += 1
    return tally


def compare(case: Any, new_ops: list[type]) -> None:
    for inputs, wanted in data(case):
        found = ReferenceEvaluator(case.model, new_ops=new_ops).run(None, inputs)
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_equal(np.asarray(a).dtype, np.asarray(b).dtype)
            np.testing.assert_allclose(a, b, rtol=case.rtol, atol=case.atol, strict=True)


def data(case: Any) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    """Inputs by name, and results."""
    names = [i.name for i in case.model.graph.input]
    for inputs, outputs in case.data_sets:
        yield dict(zip(names, map(plain, inputs), strict=True)), list(map(plain, outputs))


def plain(value: Any) -> Any:
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
