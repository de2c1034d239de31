"""Sizes, receptive fields, parameters and operations of every node of a network.

Each operator's index maps come from its equations (`relation`), and are composed along the graph (`reach`). Where
several ways lead to a node its receptive field is their union, and ways that do not share a centre are reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod

from derive.errors import GeometryError
from derive.geometry.call import called
from derive.geometry.reach import Band, Reach, Reaches, composed, united, unmoved
from kernels.errors import KernelError
from kernels.network import Network, Source

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """A node: its result, and what that reads."""

    name: str
    operator: str
    shape: Shape
    reads: Mapping[str, Reaches]  # by input of the network
    own: Mapping[str, tuple[Shape, Reaches]]  # by source: its shape, and what this operator alone reads of it
    parameters: int
    operations: int

    @property
    def middle(self) -> Shape:
        return tuple(n // 2 for n in self.shape)

    @property
    def ends(self) -> Shape:
        return tuple(max(0, n - 1) for n in self.shape)


@dataclass(frozen=True)
class Field:
    """A receptive field along one axis of an input, as Araujo, Norris and Sim define it (Distill, 2019).

    size     how many places one element depends on, those in the padding included
    jump     how far the fields of neighbours are apart: the product of strides
    start    where the first element's field begins; negative in the padding
    padding  how far fields reach out at both ends; negative: so many places are in no field
    """

    size: int
    jump: Fraction
    start: Fraction
    centre: Fraction
    padding: tuple[Fraction, Fraction]
    misaligned: bool


def field(reach: Reach, row: Row, extent: int) -> Field | None:
    """None where an element's field does not move with it."""
    band = reach.band(row.middle)
    if band is None:
        return None
    first, last = ends_of(band, row)
    return Field(band.size, band.jump, band.low, band.centre, (-first, last - (extent - 1)), reach.misaligned)


def ends_of(band: Band, row: Row) -> tuple[Fraction, Fraction]:
    """The first and the last place that any element reads."""
    corners = [band.at(u) for u in ((0,) * len(row.shape), row.ends)]
    return min(c[0] for c in corners), max(c[1] for c in corners)


@dataclass(frozen=True)
class Geometry:
    """A network for inputs of given shapes."""

    inputs: Mapping[str, Shape]
    rows: tuple[Row, ...]
    output: str

    @property
    def parameters(self) -> int:
        return sum(row.parameters for row in self.rows)

    @property
    def operations(self) -> int:
        return sum(row.operations for row in self.rows)

    def row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)

    def spatial(self, name: str | None = None) -> tuple[int, ...]:
        """The axes of an input whose places have neighbours: those after batch and channels."""
        return spatial_axes(self.inputs[next(iter(self.inputs)) if name is None else name])

    def fields(self, row: Row, name: str | None = None) -> tuple[Field | None, ...]:
        """The receptive fields of a node along the spatial axes of an input (the first one)."""
        name = next(iter(self.inputs)) if name is None else name
        return tuple(f for _, f in self._fields(row, name))

    def _fields(self, row: Row, name: str) -> Iterator[tuple[int, Field | None]]:
        shape = self.inputs[name]
        for axis in spatial_axes(shape):
            reaches = row.reads.get(name)
            yield axis, None if reaches is None else field(reaches[axis], row, shape[axis])

    def covers(self, row: Row, axis: int, name: str | None = None) -> bool:
        """Whether an element of the node depends on a whole axis of an input, wherever it is."""
        name = next(iter(self.inputs)) if name is None else name
        reaches = row.reads.get(name)
        return reaches is not None and reaches[axis].all_of(self.inputs[name][axis])


def spatial_axes(shape: Shape) -> tuple[int, ...]:
    return tuple(range(min(2, len(shape) - 1), len(shape)))


def geometry(network: Network, *shapes: Sequence[int]) -> Geometry:
    """The geometry of a network for inputs of these shapes, batch and channels included.

    Raises GeometryError: another number of shapes, an operator whose equations are not at hand, or a node that does
    not take what comes to it; the node is named.
    """
    if len(shapes) != len(network.inputs):
        names = ", ".join(network.inputs)
        raise GeometryError(f"the network needs {len(network.inputs)} shapes ({names}), found {len(shapes)}")
    inputs = {name: tuple(shape) for name, shape in zip(network.inputs, shapes, strict=True)}
    extents: dict[Source, Shape] = {Source(name): shape for name, shape in inputs.items()}
    reads: dict[Source, dict[str, Reaches]] = {
        Source(name): {name: unmoved(len(shape))} for name, shape in inputs.items()
    }
    rows = []
    for name, made in network.nodes.items():
        sources = dict(zip(made.arguments, map(Source.of, made.sources), strict=True))
        shapes_of = {a: extents[s] for a, s in sources.items()} | {
            a: array.shape for a, array in network.arrays(name).items()
        }
        try:
            call = called(made.operator, shapes_of, made.options)
        except (KernelError, GeometryError) as error:
            raise GeometryError(f"node `{name}`: {error}") from None
        for n, shape in enumerate(call.shapes):
            extents[Source(name, n)] = shape
            through: dict[str, Reaches] = {}
            for argument, inner in call.reads[n].items():
                if argument not in sources:
                    continue
                for origin, further in reads[sources[argument]].items():
                    whole = composed(inner, further, len(shape))
                    through[origin] = united(through[origin], whole) if origin in through else whole
            reads[Source(name, n)] = through
        rows.append(
            Row(
                name,
                str(getattr(made.operator, "__name__", type(made.operator).__name__.lower())),
                call.shapes[0],
                reads[Source(name)],
                {
                    str(made.sources[k]): (extents[s], call.reads[0][a])
                    for k, (a, s) in enumerate(sources.items())
                    if a in call.reads[0]
                },
                sum(prod(a.shape) for p, a in network.parameters.items() if p.partition(".")[0] == name),
                call.operations,
            )
        )
    return Geometry(inputs, tuple(rows), network.output)
