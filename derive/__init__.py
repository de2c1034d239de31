"""derive: gradients and kernels from equations.

Write an operator with `Operator`, `indices`, `Tensor`, `Sum`, ...; `build` it for a notebook, or generate a
package of kernels and tests from it with `derive-kernels generate`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from derive.errors import CheckError, DeriveError, GenerateError, SpecError, VerificationError
from derive.language import (
    ArgMax,
    ArgMin,
    Index,
    Kth,
    LogSumExp,
    Max,
    Mean,
    Min,
    Operator,
    Parameter,
    Prod,
    Real,
    Sum,
    Tensor,
    circular,
    extent,
    finite,
    indices,
    inside,
    maximum,
    minimum,
    overhang,
    parameters,
    reals,
    reflect,
    relu,
    replicate,
    step,
    symmetric,
    tensors,
)

if TYPE_CHECKING:
    from derive.live import build

__version__ = "0.1.0"

__all__ = [
    "ArgMax",
    "ArgMin",
    "CheckError",
    "DeriveError",
    "GenerateError",
    "Index",
    "Kth",
    "LogSumExp",
    "Max",
    "Mean",
    "Min",
    "Operator",
    "Parameter",
    "Prod",
    "Real",
    "SpecError",
    "Sum",
    "Tensor",
    "VerificationError",
    "build",
    "circular",
    "extent",
    "finite",
    "indices",
    "inside",
    "maximum",
    "minimum",
    "overhang",
    "parameters",
    "reals",
    "reflect",
    "relu",
    "replicate",
    "step",
    "symmetric",
    "tensors",
]


def __getattr__(name: str) -> Any:
    if name == "build":  # the compiled side loads only when it is wanted
        from derive.live import build

        return build
    raise AttributeError(f"module 'derive' has no attribute {name!r}")
