"""torch on channels-last tensors: they are converted before the clock starts, and results stay as they are."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.layers import Function, Layer
from benchmarks.peers import torch_nchw


class Peer(torch_nchw.Peer):
    def laid_out(self, tensor: Any) -> Any:
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        if tensor.dim() not in formats:
            return tensor  # an empty placeholder
        return tensor.contiguous(memory_format=formats[tensor.dim()])

    def lifted(self, layer: Layer) -> bool:
        return layer.axes == 1 and not isinstance(
            layer, Function
        )  # torch has no channels-last layout for one axis
