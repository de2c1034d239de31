"""From the axes of a formula's tensors to those of a user's arrays.

An adapter sees an array as a tensor through a view: axes split in two, flattened into one, added. A view of an array in
C order takes its axes apart into blocks, in each of which a few axes of the array have as many elements as a few of the
tensor:

    one to one      the same index
    one to several  channels as (group, channel in the group): an index of the array is an affine form in the tensor's
    several to one  rows of a matrix that were any number of axes: the tensor's index is an affine form in the array's
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np
from numpy.lib.stride_tricks import as_strided

from derive.geometry.reach import Band, Reach, Reaches, along, composed, everywhere
from kernels.adapter import Layout

ONE_BYTE = np.zeros((), np.int8)


@dataclass(frozen=True, slots=True)
class Block:
    """Axes of an array, and those of the tensor that have the same elements."""

    array: tuple[int, ...]
    tensor: tuple[int, ...]
    extents: tuple[int, ...]  # of the array's axes


def blocks(layout: Layout) -> tuple[tuple[Block, ...], tuple[int, ...]]:
    """The blocks of a view, and the tensor's shape."""
    shape = layout.shape
    strides = [prod(n or 1 for n in shape[axis + 1 :]) for axis in range(len(shape))]
    seen = layout.view(as_strided(ONE_BYTE, shape, strides))
    order = list(range(seen.ndim))
    large = [axis for axis in order if seen.shape[axis] > 1]
    if [seen.strides[axis] for axis in large] != sorted((seen.strides[axis] for axis in large), reverse=True):
        order.sort(key=lambda axis: -seen.strides[axis])  # exchanged, too
    found: list[Block] = []
    i = j = 0
    while i < len(shape) or j < len(order):
        left, right = [i] * (i < len(shape)), [j] * (j < len(order))
        a = shape[i] if left else 1
        b = seen.shape[order[j]] if right else 1
        if left and right and a != b and 1 in (a, b):  # an axis of one entry stands for itself
            left, right = (left, []) if a == 1 else ([], right)
            a = b = 1
        i, j = i + len(left), j + len(right)
        while a != b and (i < len(shape) or j < len(order)):
            if (a < b and i < len(shape)) or j == len(order):
                left.append(i)
                a, i = a * shape[i], i + 1
            else:
                right.append(j)
                b, j = b * seen.shape[order[j]], j + 1
        found.append(Block(tuple(left), tuple(order[k] for k in right), tuple(shape[k] for k in left)))
    return tuple(found), tuple(seen.shape)


def tensor_by_array(layout: Layout) -> Reaches:
    """Each axis of the tensor by the array's."""
    parts, seen = blocks(layout)
    axes = len(layout.shape)
    found: dict[int, Reach] = {}
    for block in parts:
        if len(block.tensor) == 1:  # one, or several as a mixed radix; none: an axis that the view adds
            slopes = [Fraction(0)] * axes
            for n, axis in enumerate(block.array):
                slopes[axis] = Fraction(prod(block.extents[n + 1 :]))
            found[block.tensor[0]] = Reach((Band(tuple(slopes), Fraction(0), Fraction(0)),))
        else:
            found |= {axis: everywhere(axes, seen[axis]) for axis in block.tensor}
    return tuple(found[axis] for axis in range(len(seen)))


def array_by_tensor(layout: Layout) -> Reaches:
    """Each axis of the array by the tensor's."""
    parts, seen = blocks(layout)
    axes = len(seen)
    found: dict[int, Reach] = {}
    for block in parts:
        if len(block.array) == 1:
            slopes = [Fraction(0)] * axes
            for n, axis in enumerate(block.tensor):
                slopes[axis] = Fraction(prod(seen[k] for k in block.tensor[n + 1 :]))
            found[block.array[0]] = Reach((Band(tuple(slopes), Fraction(0), Fraction(0)),))
        else:
            found |= {axis: everywhere(axes, layout.shape[axis]) for axis in block.array}
    return tuple(found[axis] for axis in range(len(layout.shape)))


def seen_through(output: Layout, input: Layout, inner: Reaches) -> Reaches:
    """What the output array reads of the input array, from what the tensors read of each other.

    Where both flatten the same axes into one, along which each place reads its own (an activation), each of the
    axes does: two numbers of one mixed radix are equal only if their digits are. It may read whole axes besides (a
    normalisation).
    """
    middle = composed(tensor_by_array(output), inner, len(output.shape))
    found = list(composed(middle, array_by_tensor(input), len(output.shape)))
    for there in blocks(input)[0]:
        for here in blocks(output)[0]:
            same = here.extents == there.extents and len(here.tensor) == len(there.tensor) == 1
            if not same:
                continue
            own, bands = along(len(blocks(output)[1]), here.tensor[0]), inner[there.tensor[0]].bands
            others = [b for b in bands if b != own]
            if own in bands and not any(b.moves for b in others):
                for a, b in zip(here.array, there.array, strict=True):
                    besides = everywhere(len(output.shape), input.shape[b]).bands if others else ()
                    found[b] = Reach((along(len(output.shape), a), *besides))
    return tuple(found)


def shown(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
