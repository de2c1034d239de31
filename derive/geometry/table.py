"""A geometry as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from derive.geometry.advice import advice
from derive.geometry.network import Field, Geometry, Row

HEAD = ("node", "operator", "output", "field", "jump", "start", "centre", "padding", "parameters", "FLOPs")
LEFT = 3  # columns of words


def table(geometry: Geometry) -> str:
    """A line for each node, the sums, and what is better avoided.

    Where the axes of the input differ a cell has one entry for each. A star says that elements depend on whole axes
    besides (a mean over the plane), `all` that they do and on nothing that moves with them.
    """
    lines = [HEAD, *(_line(geometry, row) for row in geometry.rows)]
    lines.append(("", "", "", "", "", "", "", "", f"{geometry.parameters:,}", f"{geometry.operations:,}"))
    widths = [max(len(line[k]) for line in lines) for k in range(len(HEAD))]
    text = [
        "  ".join(
            c.ljust(w) if k < LEFT else c.rjust(w) for k, (c, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    first = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in geometry.inputs.items())
    body = "\n".join(line.rstrip() for line in [first, "", *text])
    warnings = advice(geometry)
    return body + ("\n\n" + "\n".join(f"- {w}" for w in warnings) if warnings else "") + "\n"


def _line(geometry: Geometry, row: Row) -> tuple[str, ...]:
    fields = geometry.fields(row)
    whole = [geometry.covers(row, axis) for axis in geometry.spatial()]

    def cell(of: Callable[[Field], str]) -> str:
        return _each(["" if f is None else of(f) for f in fields])

    size = _each([_size(f, w) for f, w in zip(fields, whole, strict=True)])
    return (
        row.name,
        row.operator,
        "x".join(map(str, row.shape)),
        size,
        cell(lambda f: number(f.jump)),
        cell(lambda f: number(f.start)),
        cell(lambda f: number(f.centre)),
        cell(lambda f: "/".join(map(number, f.padding))),
        f"{row.parameters:,}" if row.parameters else "",
        f"{row.operations:,}",
    )


def _size(own: Field | None, whole: bool) -> str:
    if own is None:
        return "all" if whole else "fixed"
    return f"{own.size}{'*' if whole else ''}{'!' if own.misaligned else ''}"


def _each(cells: Sequence[str]) -> str:
    return cells[0] if len(set(cells)) == 1 else " x ".join(c or "-" for c in cells)


def number(x: Fraction) -> str:
    """2, 0.5, 13/6"""
    if x.denominator in (1, 2, 4):
        return f"{float(x):g}"
    return str(x)
