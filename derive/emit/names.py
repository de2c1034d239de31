"""Names that generated functions give to what is theirs: no index, extent or parameter is called so."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterator

# fmt: off
# what modules import: an index, a tensor or a parameter of that name would hide it
RUNTIME = frozenset({
    "absolute", "acos", "acosh", "asin", "asinh", "atan", "atanh", "bounded", "ceil_div", "choice",
    "chunk", "compiled_signatures", "contract", "contract_with", "copy_lines", "copy_row", "cos",
    "cosh", "divide", "equal", "erf", "erfc", "exact_tasks", "execute", "execute_exact", "exp", "expm1",
    "finite", "floor_div", "fma", "get_num_threads", "highest", "indicator", "kernel", "larger",
    "lines_for", "log", "log1p", "lowest", "machine_tile", "maximum", "minimum", "numbers", "one", "pi",
    "power", "rational", "real", "register_number", "relu", "repeat_last", "require_abi", "residue",
    "select", "set_num_threads", "share", "sign", "sin", "sinh", "smaller", "spare", "sqrt", "step",
    "suits", "tan", "tanh", "task", "unequal", "weave", "winograd", "winograd_lines", "winograd_rows",
    "winograd_suits", "winograd_work", "work", "zero"
})

RESERVED = RUNTIME | frozenset(keyword.kwlist) | {
    "active", "add", "all_planes", "all_rows", "apart", "area", "at", "at_line", "at_sum", "before",
    "begin", "best", "best_at", "better", "beyond", "block", "blocks", "bottom", "cells", "chain",
    "channels", "chosen", "classes", "column", "column_from", "column_to", "columns", "count", "deep",
    "edge", "end", "ends", "filled", "finish", "first", "first_at", "fit", "flow", "flows", "found",
    "goes_on", "group", "groups", "height", "held", "here", "here_at", "highest", "images", "inside",
    "integer_scratch", "item", "joined", "joined_at", "joins", "key", "known", "lanes", "last",
    "last_at", "last_row", "left", "length", "length_0", "line", "line_at", "line_of", "lines", "low",
    "lowest", "margin", "max", "members", "min", "more", "more_lines", "needed", "next_at", "next_row",
    "nowhere", "np", "offset", "one", "one_at", "origin", "other", "other_at", "outputs", "part",
    "parts", "phase", "pitch", "place", "places", "plane", "planes", "range", "rational", "reach",
    "read_at", "read_from", "real", "residue", "result", "room", "row", "rows", "scale", "scratch",
    "second_at", "share", "shared", "sharing", "sooner", "span", "spills", "start", "step", "steps",
    "stretch", "stretches", "sums", "taken", "tap", "tapped", "taps", "taps_here", "task", "tasks",
    "there", "third_at", "threes", "tile", "to", "to_at", "top", "total", "u", "unit", "units", "value",
    "value_at", "whole", "wide", "woven", "zero"
}
# fmt: on


def unhidden(text: str) -> str:
    """The same functions, with other names for those local variables that a formula's call would meet.

    Writers call what is theirs `one` or `step`; a formula may call functions of these names. Only in such a function is
    a variable renamed, to `one_`: a name that ends so is nobody's.
    """
    lines = text.split("\n")
    for function in ast.walk(ast.parse(text)):
        if isinstance(function, ast.FunctionDef):
            hidden = set(_called(function)) & _stored(function)
            first = function.body[1 if ast.get_docstring(function) and len(function.body) > 1 else 0].lineno
            for name in sorted(hidden):
                for number in range(first - 1, function.end_lineno or first):
                    lines[number] = re.sub(rf"(?<![\w.]){name}\b(?!\s*\()", f"{name}_", lines[number])
    return "\n".join(lines)


def _called(function: ast.FunctionDef) -> Iterator[str]:
    for statement in function.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                yield node.func.id


def _stored(function: ast.FunctionDef) -> set[str]:
    """Its variables. Parameters are of names that nothing is called by."""
    return {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
