"""Names that generated functions give to what is theirs: no index, extent or parameter is called so."""

from __future__ import annotations

import keyword

# fmt: off
# what modules import: an index, a tensor or a parameter of that name would hide it
RUNTIME = frozenset({
    "absolute", "acos", "acosh", "add_lanes", "add_run", "asin", "asinh", "atan", "atanh", "bounded",
    "ceil_div", "choice", "chunk", "compiled_signatures", "contract", "contract_with", "copy_lines",
    "copy_row", "cos", "cosh", "counted", "disjoint", "divide", "equal", "erf", "erfc", "exact_tasks", "execute",
    "execute_exact", "exp", "expm1", "finite", "floor_div", "fma", "fold_planes", "get_num_threads",
    "highest", "indicator", "kernel", "larger", "lines_for", "list_pairs", "list_places", "log", "log1p", "longest_first",
    "lowest", "machine_tile", "mask_planes", "maximum", "minimum", "numbers", "one", "pi", "plane_masks",
    "power", "rational", "real", "register_number", "relu", "repeat_last", "require_abi", "residue",
    "select", "set_num_threads", "share", "sign", "sin", "sinh", "slide_planes", "smaller", "spare", "sqrt",
    "step", "suits", "tan", "tanh", "task", "unequal", "weave", "winograd", "winograd_lines",
    "winograd_rows", "winograd_suits", "winograd_work", "work", "zero"
})

# what writers call their own: nothing that a formula may call
OWN = frozenset({
    "active", "add", "all_planes", "all_rows", "along", "apart", "area", "at", "at_line", "at_sum",
    "before", "begin", "below", "beside", "best", "best_at", "better", "beyond", "block", "blocks",
    "bottom", "cells", "chain", "channels", "chosen", "classes", "clear", "column", "column_from",
    "column_to", "columns", "count", "cuts", "deep", "distance", "down", "each", "edge", "edge_places",
    "edge_rows", "edges", "end", "ends", "filled", "finish", "first", "first_at", "fit", "flow", "flows",
    "former", "former_at", "found", "goes_on", "group", "groups", "height", "held", "here", "here_at",
    "images", "inside", "integer_scratch", "item", "joined", "joined_at", "joins", "kept", "key", "known",
    "lane", "lanes", "last", "last_at", "last_row", "latter", "latter_at", "least", "left", "length",
    "length_0", "line", "line_at", "line_of", "lines", "low", "many", "margin", "max", "members", "min",
    "more", "more_lines", "most", "needed", "next_at", "next_row", "nowhere", "np", "offset", "only",
    "origin", "other", "outputs", "over", "part", "parts", "patch", "phase", "pitch", "place", "places",
    "plane", "planes", "points", "range", "reach", "read_at", "read_from", "result", "room", "row", "rows",
    "runs", "scale", "scratch", "second_at", "shared", "sharing", "single", "sooner", "span", "spans", "spills",
    "square", "start", "steps", "stretch", "stretches", "sums", "taken", "tall", "tap", "tapped", "taps",
    "taps_here", "tasks", "there", "third_at", "threes", "tile", "to", "to_at", "top", "total", "turn", "u",
    "unit", "units", "value", "value_at", "vectors", "weight", "weights", "whole", "wide", "woven"
})
# fmt: on

RESERVED = RUNTIME | OWN | frozenset(keyword.kwlist)
