"""Receptive fields as a picture: where they lie in the input, and how they grow."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from derive.errors import GeometryError
from derive.geometry.network import Geometry, Row


def draw(geometry: Geometry, path: str | Path) -> None:
    """Write a PNG: on the left the field of the middle element of every node that widens it, in the plane of the first
    input (one axis is drawn as a bar); on the right its size and jump from node to node.

    Raises GeometryError without matplotlib, or where no element has a field.
    """
    try:
        import matplotlib
    except ImportError:
        raise GeometryError("pictures need matplotlib: pip install matplotlib") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.patches import Rectangle

    name, shape = next(iter(geometry.inputs.items()))
    axes = geometry.spatial()
    if not axes:
        raise GeometryError(f"`{name}` {shape} has no axis after batch and channels")
    # an image is drawn as one sees it, rows downwards
    across, down = axes[-1], axes[-2] if len(axes) > 1 else None
    rows = [row for row in geometry.rows if any(f is not None for f in geometry.fields(row))]
    if not rows:
        raise GeometryError("no element of any node moves with a place of the input")
    figure, (plane, growth) = pyplot.subplots(
        1, 2, figsize=(12, 5.2), layout="constrained", gridspec_kw={"width_ratios": (1, 1.25)}
    )
    colours = pyplot.get_cmap("viridis")
    widening = _widening(geometry, rows)
    height = 1 if down is None else shape[down]
    plane.add_patch(Rectangle((-0.5, -0.5), shape[across], height, facecolor="0.93", edgecolor="0.3"))
    bounds = [(-0.5, shape[across] - 0.5), (-0.5, height - 0.5)]
    for k, row in enumerate(reversed(widening)):
        colour = colours(1 - k / max(1, len(widening) - 1)) if len(widening) > 1 else colours(0.5)
        left, right = _middle(geometry, row, across)
        top, bottom = (Fraction(0), Fraction(0)) if down is None else _middle(geometry, row, down)
        box = (float(left) - 0.5, float(top) - 0.5), float(right - left) + 1, float(bottom - top) + 1
        plane.add_patch(Rectangle(*box, fill=False, edgecolor=colour, linewidth=1.8, label=row.name))
        bounds[0] = min(bounds[0][0], box[0][0]), max(bounds[0][1], box[0][0] + box[1])
        bounds[1] = min(bounds[1][0], box[0][1]), max(bounds[1][1], box[0][1] + box[2])
    for (low, high), limit, turned in ((bounds[0], plane.set_xlim, False), (bounds[1], plane.set_ylim, True)):
        margin = 0.04 * (high - low)
        limit(*((high + margin, low - margin) if turned else (low - margin, high + margin)))
    if down is not None:
        plane.set_aspect("equal")
    else:
        plane.set_yticks([])
    title = " x ".join(str(shape[axis]) for axis in axes)
    plane.set_title(f"fields of the middle elements, on `{name}` ({title})", fontsize=10)
    plane.legend(loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0, fontsize=8, frameon=False)

    _growth(growth, geometry, rows, across, shape[across], name)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _growth(plot: Any, geometry: Geometry, rows: Sequence[Row], axis: int, extent: int, name: str) -> None:
    """Size and jump along one axis, node by node, on a scale on which a factor is a step."""
    number = geometry.spatial().index(axis)
    fields = [(row.name, geometry.fields(row)[number], geometry.covers(row, axis)) for row in rows]
    known = [(label, f) for label, f, _ in fields if f is not None]
    stars = ["*" if whole else "" for _, f, whole in fields if f is not None]  # as in the table
    places = range(len(known))
    plot.bar(places, [f.size for _, f in known], color="#7aa6c2", label="size")
    plot.plot(places, [float(f.jump) for _, f in known], "o-", color="#c2543f", markersize=4, label="jump")
    plot.axhline(extent, color="0.3", linestyle="--", linewidth=1, label=f"extent of `{name}`: {extent}")
    for k, (_, f) in enumerate(known):
        if len(known) <= 30:
            plot.annotate(f"{f.size}{stars[k]}", (k, f.size), ha="center", va="bottom", fontsize=8)
    plot.set_yscale("log", base=2)
    plot.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    plot.set_xticks(list(places), [label for label, _ in known], rotation=60, ha="right", fontsize=8)
    besides = " (*: whole axes besides)" if any(stars) else ""
    plot.set_title(f"receptive field along axis {axis}{besides}", fontsize=10)
    plot.legend(fontsize=8, loc="upper left")
    plot.margins(y=0.15)
    low, high = plot.get_ylim()
    plot.set_ylim(top=high * (high / low) ** 0.1)  # room for the legend


def _middle(geometry: Geometry, row: Row, axis: int) -> tuple[Fraction, Fraction]:
    """The field along an axis of the element that is nearest to the middle; the whole axis if it does not move."""
    name, shape = next(iter(geometry.inputs.items()))
    band = row.reads[name][axis].band(row.middle)
    if band is None:
        return Fraction(0), Fraction(shape[axis] - 1)
    own = next(k for k, slope in enumerate(band.slopes) if slope)
    nearest = round((Fraction(shape[axis] - 1, 2) - band.centre) / band.slopes[own])
    place = [0] * len(row.shape)
    place[own] = min(max(nearest, 0), row.shape[own] - 1)
    return band.at(place)


def _widening(geometry: Geometry, rows: Sequence[Row], most: int = 8) -> list[Row]:
    """The nodes whose field is larger than all before, at most so many, the last one among them."""
    found: list[Row] = []
    sizes: tuple[int, ...] = ()
    for row in rows:
        own = tuple(0 if f is None else f.size for f in geometry.fields(row))
        if not sizes or any(a > b for a, b in zip(own, sizes, strict=True)):
            found.append(row)
            sizes = own
    if len(found) <= most:
        return found
    return [found[round(k * (len(found) - 1) / (most - 1))] for k in range(most)]
