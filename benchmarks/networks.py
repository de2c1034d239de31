"""Real networks, written down as they are defined; tracing one collects its convolutions and poolings.

Only layers of those two sorts leave a mark; a ReLU, a sum or a concatenation changes no shape that they see,
or is written as arithmetic on channels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.layers import Convolution, Function, Layer, Pooling, Size, per_axis


@dataclass(frozen=True, slots=True)
class Activation:
    """What flows through a network: how many channels, how large."""

    channels: int
    size: Size


@dataclass
class Trace:
    """How often each distinct layer was applied, in the order of first use."""

    layers: Counter[Layer] = field(default_factory=Counter)

    def conv(
        self,
        x: Activation,
        filters: int,
        kernel: int | Iterable[int],
        stride: int = 1,
        padding: int | Iterable[int] = 0,
        dilation: int = 1,
        groups: int = 1,
        transposed: bool = False,
    ) -> Activation:
        axes = len(x.size)
        k, s, a, d = (per_axis(v, axes) for v in (kernel, stride, padding, dilation))
        layer = Convolution(x.channels, filters, x.size, k, s, a, d, groups, transposed)
        return self._apply(layer, filters)

    def up(self, x: Activation, filters: int, kernel: int, stride: int = 1, padding: int = 0) -> Activation:
        """A transposed convolution."""
        return self.conv(x, filters, kernel, stride, padding, transposed=True)

    def pool(
        self, how: str, x: Activation, window: int, stride: int | None = None, padding: int = 0
    ) -> Activation:
        axes = len(x.size)
        k, s, a = (per_axis(v, axes) for v in (window, window if stride is None else stride, padding))
        return self._apply(Pooling(how, x.channels, x.size, k, s, a), x.channels)

    def whole(self, how: str, x: Activation) -> Activation:
        """A pool over all of each plane."""
        none = (0,) * len(x.size)
        return self._apply(Pooling(how, x.channels, x.size, x.size, x.size, none, whole=True), x.channels)

    def function(
        self, sort: str, operator: str, x: Activation, made: Activation | None = None, /, **arguments: Any
    ) -> None:
        """A function of all of x, and what it makes, if that is of another shape."""
        told = tuple(arguments.items())
        other = (made.channels, made.size) if made is not None else ()
        self.layers[Function(sort, operator, x.channels, x.size, told, *other)] += 1

    def _apply(self, layer: Layer, channels: int) -> Activation:
        self.layers[layer] += 1
        return Activation(channels, layer.output)


def resnet50(t: Trace) -> None:
    """He et al. 2016 with the stride on the 3 x 3 (torchvision's, "v1.5"), 224 x 224."""
    x = t.conv(Activation(3, (224, 224)), 64, 7, stride=2, padding=3)
    x = t.pool("max", x, 3, stride=2, padding=1)
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            step = stride if block == 0 else 1
            y = t.conv(x, width, 1)
            y = t.conv(y, width, 3, stride=step, padding=1)
            y = t.conv(y, 4 * width, 1)
            if block == 0:
                t.conv(x, 4 * width, 1, stride=step)  # the shortcut
            x = y
    t.whole("avg", x)


def vgg16(t: Trace) -> None:
    """Simonyan and Zisserman 2015, configuration D, 224 x 224."""
    x = Activation(3, (224, 224))
    for width, times in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(times):
            x = t.conv(x, width, 3, padding=1)
        x = t.pool("max", x, 2)


def mobilenetv2(t: Trace) -> None:
    """Sandler et al. 2018, width 1, 224 x 224."""
    x = t.conv(Activation(3, (224, 224)), 32, 3, stride=2, padding=1)
    for expand, width, times, stride in (
        *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
        *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
    ):
        for block in range(times):
            hidden = expand * x.channels
            y = t.conv(x, hidden, 1) if expand > 1 else x
            y = t.conv(y, hidden, 3, stride=stride if block == 0 else 1, padding=1, groups=hidden)
            x = t.conv(y, width, 1)
    t.whole("avg", t.conv(x, 1280, 1))


def unet3d(t: Trace) -> None:
    """Cicek et al. 2016, with zero padding (as nowadays) and on a patch of 32^3."""
    x = Activation(1, (32, 32, 32))
    kept = []
    for width in (32, 64, 128):
        x = t.conv(t.conv(x, width, 3, padding=1), 2 * width, 3, padding=1)
        kept.append(x)
        x = t.pool("max", x, 2)
    x = t.conv(t.conv(x, 256, 3, padding=1), 512, 3, padding=1)
    for across in reversed(kept):
        x = t.up(x, x.channels, 2, stride=2)
        x = replace(x, channels=x.channels + across.channels)  # concatenated
        x = t.conv(t.conv(x, across.channels, 3, padding=1), across.channels, 3, padding=1)
    t.conv(x, 3, 1)


def wavenet(t: Trace) -> None:
    """A dilated stack as in van den Oord et al. 2016, not causal, kernel 3: 64 channels, 8192 samples."""
    x = t.conv(Activation(1, (8192,)), 64, 1)
    for power in range(10):
        gates = t.conv(x, 128, 3, padding=2**power, dilation=2**power)
        y = replace(gates, channels=64)  # tanh of one half times the sigmoid of the other
        t.conv(y, 64, 1)  # to the next layer
        t.conv(y, 256, 1)  # to the output
    t.conv(t.conv(Activation(256, (8192,)), 256, 1), 256, 1)


def dcgan(t: Trace) -> None:
    """The generator of Radford et al. 2016 with 4 x 4 kernels: 100 numbers to a 64 x 64 image."""
    x = t.up(Activation(100, (1, 1)), 1024, 4)
    for width in (512, 256, 128, 3):
        x = t.up(x, width, 4, stride=2, padding=1)


def holes(t: Trace) -> None:
    """No network: what today's libraries are slow at (dilated, grouped, long, depthwise, large windows)."""
    image = Activation(64, (56, 56))
    t.conv(image, 64, 3, padding=2, dilation=2)
    t.conv(image, 64, 3, padding=4, dilation=4)
    t.conv(image, 64, 3, padding=1, groups=8)
    t.conv(Activation(256, (28, 28)), 256, 3, padding=1, groups=32)  # ResNeXt's
    t.conv(Activation(64, (112, 112)), 64, 3, padding=1, groups=64)
    t.conv(Activation(64, (56, 56)), 64, 7, padding=3, groups=64)  # ConvNeXt's
    t.conv(Activation(64, (4096,)), 64, 31, padding=15, groups=64)
    t.conv(Activation(1, (32768,)), 1, 1024)
    t.conv(Activation(8, (4096,)), 8, 255, padding=127)
    t.conv(Activation(1, (64, 512)), 16, (1, 256), padding=(0, 127))
    t.conv(Activation(16, (24, 24, 24)), 16, 3, padding=1, groups=16)
    t.conv(Activation(16, (24, 24, 24)), 16, 3, padding=2, dilation=2)
    t.pool("max", Activation(64, (112, 112)), 3, stride=2, padding=1)
    t.pool("avg", Activation(64, (112, 112)), 3, stride=2, padding=1)
    t.pool("avg", Activation(64, (56, 56)), 2)
    t.pool("max", Activation(16, (112, 112)), 15, stride=1, padding=7)
    t.pool("avg", Activation(16, (112, 112)), 31, stride=1, padding=15)
    t.pool("max", Activation(8, (16384,)), 255, stride=1, padding=127)
    t.pool("avg", Activation(8, (16384,)), 255, stride=1, padding=127)
    t.pool("max", Activation(16, (24, 24, 24)), 5, stride=1, padding=2)
    t.whole("max", Activation(512, (14, 14)))


def neighbours(t: Trace) -> None:
    """No network: what stands between convolutions. Activations, normalisations, softmax, resampling, padding."""
    image, rows, large = Activation(64, (112, 112)), Activation(1024, (512,)), Activation(64, (224, 224))
    for operator in (
        "relu",
        "leaky_relu",
        "elu",
        "gelu",
        "silu",
        "sigmoid",
        "tanh",
        "softplus",
        "hardswish",
        "mish",
    ):
        t.function("activation", operator, image)
    t.function("activation", "glu", image, Activation(32, image.size), dim=1)
    t.function("normalisation", "group_norm", image, num_groups=8)
    t.function("normalisation", "instance_norm", image)
    t.function("normalisation", "local_response_norm", image, size=5)
    t.function("normalisation", "layer_norm", rows, normalized_shape=(512,))
    t.function("normalisation", "rms_norm", rows, normalized_shape=(512,))
    for operator in ("softmax", "log_softmax"):
        t.function("softmax", operator, rows, dim=-1)
        t.function("softmax", operator, image, dim=1)
    for mode in ("nearest", "bilinear", "bicubic"):
        t.function("resampling", "interpolate", image, large, scale_factor=2, mode=mode)
    t.function("resampling", "interpolate", image, Activation(64, (75, 75)), size=(75, 75), mode="bilinear")
    t.function("resampling", "pixel_shuffle", image, Activation(16, large.size), upscale_factor=2)
    for mode in ("constant", "reflect", "replicate", "circular"):
        t.function("padding", "pad", image, Activation(64, (114, 114)), pad=(1, 1, 1, 1), mode=mode)


NETWORKS: dict[str, Callable[[Trace], None]] = {
    "resnet50": resnet50,
    "vgg16": vgg16,
    "mobilenetv2": mobilenetv2,
    "unet3d": unet3d,
    "wavenet": wavenet,
    "dcgan": dcgan,
    "holes": holes,
    "neighbours": neighbours,
}


def layers(network: str) -> Counter[Layer]:
    """The distinct layers of a network, each with how often it occurs."""
    trace = Trace()
    NETWORKS[network](trace)
    return trace.layers
