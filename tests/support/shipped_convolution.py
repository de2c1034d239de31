"""Calls of the convolutions beside the plain one: what they give follows from `tests.support.reference`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.support import reference
from tests.support.shipped import Array, Case, drop, generator

PADDED = {
    "constant": "constant",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "edge",
    "circular": "wrap",
}


def pad(x: Array, pads: Any, mode: str, value: float) -> Array:
    """NumPy's, and the mean of the plane of each sample and channel."""
    lead = ((0, 0), (0, 0))
    if mode == "mean":
        axes = tuple(range(2, x.ndim))
        ones = np.pad(np.ones(x.shape), (*lead, *pads))
        return np.pad(x, (*lead, *pads)) + (1 - ones) * x.mean(axes, keepdims=True)
    more = {"constant_values": value} if mode == "constant" else {}
    return np.pad(x, (*lead, *pads), PADDED[mode], **more)


def pad_vjp(g: Array, shape: tuple[int, ...], pads: Any, mode: str) -> Array:
    """Padding is linear in x but for its constant: column by column."""
    flat = np.zeros(int(np.prod(shape)))
    for k in range(flat.size):
        unit = np.zeros(flat.size)
        unit[k] = 1
        flat[k] = (pad(unit.reshape(shape), pads, mode, 0.0) * g).sum()
    return flat.reshape(shape)


def mode_cases() -> list[Case]:
    cases = []
    for extents, kernel, stride, pads, dilation, groups in [
        ((5,), (3,), (2,), ((3, 2),), (2,), 1),
        ((4, 3), (3, 2), (1, 2), ((2, 1), (0, 2)), (1, 2), 2),
        ((3, 2, 3), (2, 2, 3), (1, 1, 2), ((1, 1), (1, 0), (2, 2)), (1, 1, 1), 1),
        ((2, 2, 1, 3), (2, 1, 1, 2), (1, 2, 1, 1), ((1, 1), (0, 1), (0, 0), (1, 0)), (1, 1, 1, 2), 1),
    ]:
        axes = len(extents)
        for mode in ("constant", "mean", "reflect", "symmetric", "replicate", "circular"):
            rng = generator("mode", extents, mode)
            x = rng.standard_normal((2, 2 * groups, *extents))
            w, b = rng.standard_normal((2 * groups, 2, *kernel)), rng.standard_normal(2 * groups)
            inner = stride, ((0, 0),) * axes, dilation, groups
            value = 1.5 if mode == "constant" else 0.0

            def forward(x, w, b, pads=pads, mode=mode, value=value, inner=inner):
                return reference.conv(pad(x, pads, mode, value), w, b, *inner)

            def vjp(gy, x, w, b, pads=pads, mode=mode, value=value, inner=inner):
                gx, *others = reference.conv_vjp(pad(x, pads, mode, value), w, gy, *inner)
                return (pad_vjp(gx, x.shape, pads, mode), *others)

            options = {"stride": stride, "padding": pads, "dilation": dilation, "groups": groups}
            more = {"padding_value": value} if mode == "constant" else {}
            quick = (axes, mode) == (2, "reflect")
            cases.append(
                Case(
                    f"conv{axes}d_{mode}",
                    f"{extents}",
                    (x, w, b),
                    {**options, **more},
                    forward,
                    vjp,
                    slow=not quick,
                )
            )
    return cases


def transposed_cases() -> list[Case]:
    """The gradient of a convolution, as an operator."""
    cases = []
    for extents, channels, kernel, stride, pads, more, dilation, groups in [
        ((4,), (2, 3), (3,), (2,), ((1, 1),), (1,), (1,), 1),
        ((3, 4), (4, 2), (3, 2), (2, 3), ((1, 0), (0, 2)), (0, 2), (1, 2), 2),
        ((2, 3, 2), (2, 1), (2, 2, 3), (2, 1, 1), ((0, 0), (1, 0), (0, 0)), (1, 0, 0), (1, 1, 2), 1),
        ((2, 2, 1, 2), (1, 2), (2, 1, 2, 2), (1, 2, 1, 1), ((0, 0),) * 4, (0, 1, 0, 0), (1, 1, 1, 1), 1),
    ]:
        axes = len(extents)
        rng = generator("transposed", extents, kernel)
        x, w = rng.standard_normal((2, channels[0], *extents)), rng.standard_normal((*channels, *kernel))
        b = rng.standard_normal(channels[1] * groups)
        each = zip(extents, kernel, stride, pads, more, dilation, strict=True)
        out = tuple((n - 1) * s - sum(p) + d * (k - 1) + m + 1 for n, k, s, p, m, d in each)
        after = tuple((p[0], p[1] - m) for p, m in zip(pads, more, strict=True))
        window = stride, tuple((a, max(e, 0)) for a, e in after), dilation, groups

        def blank(window=window, out=out, batch=2, count=channels[1] * groups):
            return np.zeros((batch, count, *out))

        def forward(x, w, b, window=window, blank=blank):
            y, _, _ = reference.conv_vjp(blank(), w, x, *window)
            return y + b.reshape(-1, *(1,) * (y.ndim - 2))

        def vjp(gy, x, w, b, window=window, blank=blank):
            gx = reference.conv(gy, w, None, *window)[tuple(slice(n) for n in x.shape)]
            _, gw, _ = reference.conv_vjp(gy, w, x, *window)
            return gx, gw, gy.sum((0, *range(2, gy.ndim)))

        options = {
            "stride": stride,
            "padding": pads,
            "output_padding": more,
            "dilation": dilation,
            "groups": groups,
        }
        cases.append(
            Case(
                f"conv_transpose{axes}d",
                f"{extents} s{stride} p{pads}",
                (x, w, b),
                options,
                forward,
                vjp,
                slow=axes != 2,
            )
        )
    return cases


def other_cases() -> list[Case]:
    cases = []
    rng = generator("4-d")
    x, w = rng.standard_normal((1, 2, 3, 2, 3, 4)), rng.standard_normal((2, 2, 2, 2, 1, 3))
    plain = (1,) * 4, ((0, 0), (1, 0), (0, 0), (1, 1)), (1,) * 4, 1
    cases.append(
        Case(
            "conv4d",
            "k2213",
            (x, w, None),
            {"padding": plain[1]},
            lambda x, w, b: reference.conv(x, w, b, *plain),
            lambda gy, x, w, b: drop(reference.conv_vjp(x, w, gy, *plain), True),
            slow=True,
        )
    )
    for extents, kernel, stride, pads, dilation in [
        ((6,), (3,), (2,), ((1, 0),), (2,)),
        ((4, 5), (2, 3), (1, 2), ((1, 0), (0, 1)), (2, 1)),
        ((3, 3, 2), (2, 1, 2), (1, 2, 1), ((0, 1), (0, 0), (1, 0)), (1, 1, 1)),
    ]:
        axes, taps = len(extents), int(np.prod(kernel))
        window = stride, pads, dilation
        options = {"stride": stride, "padding": pads, "dilation": dilation}
        rng = generator("columns", extents, kernel)
        x = rng.standard_normal((2, 3, *extents))
        # columns are convolutions with each unit kernel of each channel
        units = np.kron(np.ones((3, 1)), np.eye(taps)).reshape(3 * taps, 1, *kernel)
        found = reference.conv(x, units, None, *window, 3)
        positions = found.shape[2:]

        def columns(x, units=units, window=window, taps=taps):
            return reference.conv(x, units, None, *window, 3).reshape(len(x), 3 * taps, -1)

        def added(u, units=units, window=window, shape=x.shape, positions=positions):
            u = u.reshape(len(u), -1, *positions)
            return reference.conv_vjp(np.zeros(shape), units, u, *window, 3)[0]

        label = f"{extents} k{kernel}"
        sizes = {"kernel_size": kernel, **options}

        cases.append(
            Case(
                f"unfold{axes}d",
                label,
                (x,),
                sizes,
                columns,
                lambda gy, x, added=added: (added(gy),),
                slow=True,
            )
        )
        u = rng.standard_normal((2, 3 * taps, int(np.prod(positions))))
        cases.append(
            Case(
                f"fold{axes}d",
                label,
                (u,),
                {"output_size": extents, **sizes},
                added,
                lambda gy, u, columns=columns: (columns(gy),),
                slow=True,
            )
        )
        w = rng.standard_normal((4, 1, *kernel))

        def matrix(w, window=window, extents=extents):
            size = 2 * int(np.prod(extents))
            each = (
                reference.conv(e.reshape(1, 2, *extents), w, None, *window, 2).ravel() for e in np.eye(size)
            )
            return np.stack(list(each), 1)

        def matrix_vjp(gy, w, matrix=matrix):
            units = np.eye(w.size).reshape(w.size, *w.shape)
            return (np.array([(matrix(e) * gy).sum() for e in units]).reshape(w.shape),)

        cases.append(
            Case(
                f"toeplitz{axes}d",
                label,
                (w,),
                {"input_size": extents, "groups": 2, **options},
                matrix,
                matrix_vjp,
                slow=True,
            )
        )
        v, w, b = rng.standard_normal((6, 1, *kernel)), rng.standard_normal((2, 6)), rng.standard_normal(2)
        ones = (1,) * axes, ((0, 0),) * axes, (1,) * axes, 1

        def separable(x, v, w, b, window=window, ones=ones):
            point = w.reshape(*w.shape, *(1,) * (x.ndim - 2))
            return reference.conv(reference.conv(x, v, None, *window, 3), point, b, *ones)

        def separable_vjp(gy, x, v, w, b, window=window, ones=ones):
            point = w.reshape(*w.shape, *(1,) * (x.ndim - 2))
            z = reference.conv(x, v, None, *window, 3)
            gz, gw, gb = reference.conv_vjp(z, point, gy, *ones)
            gx, gv, _ = reference.conv_vjp(x, v, gz, *window, 3)
            return gx, gv, gw.reshape(w.shape), gb

        cases.append(
            Case(f"separable_conv{axes}d", label, (x, v, w, b), options, separable, separable_vjp, slow=True)
        )
        own, ob = rng.standard_normal((2, *positions, 3, *kernel)), rng.standard_normal((2, *positions))

        def local(x, w, b, window=window, positions=positions):
            return sum_at(x, w, window, positions)[0] + b

        def local_vjp(gy, x, w, b, window=window, positions=positions):
            return (*sum_at(x, w, window, positions, gy)[1:], gy.sum(0))

        cases.append(
            Case(f"locally_connected{axes}d", label, (x, own, ob), options, local, local_vjp, slow=True)
        )
    return cases


def sum_at(
    x: Array, w: Array, window: Any, positions: tuple[int, ...], gy: Array | None = None
) -> tuple[Array, ...]:
    """A kernel of its own at each position: a convolution of which that position is kept. With gy, gradients too."""
    y = np.zeros((len(x), len(w), *positions))
    gx, gw = np.zeros(x.shape), np.zeros(w.shape)
    for at in np.ndindex(positions):
        here = (slice(None), slice(None), *at)
        kernel = w[(slice(None), *at)]
        y[here] = reference.conv(x, kernel, None, *window, 1)[here]
        if gy is not None:
            alone = np.zeros(y.shape)
            alone[here] = gy[here]
            dx, dw, _ = reference.conv_vjp(x, kernel, alone, *window, 1)
            gx += dx
            gw[(slice(None), *at)] += dw
    return y, gx, gw


CASES = [*mode_cases(), *transposed_cases(), *other_cases()]
