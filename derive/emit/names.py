"""Names that generated functions give to what is theirs: no index, extent or parameter is called so."""

from __future__ import annotations

import keyword

# fmt: off
RESERVED = frozenset(keyword.kwlist) | {
    "active", "add", "all_planes", "all_rows", "apart", "area", "at", "at_line", "at_sum", "before", "begin",
    "best", "best_at", "better", "beyond", "block", "blocks", "bottom", "cells", "chain", "chosen", "classes",
    "column", "column_from", "column_to", "columns", "count", "deep", "edge", "end", "ends", "filled",
    "finish", "first", "first_at", "fit", "flow", "flows", "found", "group", "groups", "height", "held",
    "here", "here_at", "highest", "inside", "integer_scratch", "item", "joined", "joined_at", "joins", "key",
    "known", "lanes", "last", "last_at", "last_row", "left", "length", "length_0", "line", "line_at",
    "line_of", "lines", "low", "lowest", "margin", "max", "members", "min", "more", "more_lines", "needed",
    "next_at", "next_row", "nowhere", "np", "offset", "one", "origin", "outputs", "part", "parts", "phase",
    "pitch", "place", "places", "plane", "planes", "range", "rational", "reach", "read_at", "read_from",
    "real", "residue", "result", "room", "row", "rows", "scale", "scratch", "second_at", "share", "shared",
    "sharing", "sooner", "span", "spills", "start", "step", "steps", "stretch", "stretches", "sums", "taken",
    "tap", "tapped", "taps", "taps_here", "task", "tasks", "there", "tile", "to", "to_at", "top", "total",
    "u", "unit", "units", "value", "value_at", "whole", "wide", "woven", "zero"
}
# fmt: on
