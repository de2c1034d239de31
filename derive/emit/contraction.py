"""A contraction as source: tables, packing, blocking and store from the equation; the micro-kernel is shared.

The emitted module gets, for one equation,

    NAME_plain     the plain loops, a callee
    NAME_sizes     rows, columns, steps, batch, and the extents of A's zero-filled copy, as one tuple
    NAME           the task: where the contraction suits, copy, pack, multiply; else NAME_plain
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sympy as sp

from derive.emit.kernel import TaskSource, _formula, _wrapped, _Writer
from derive.language import Index, extent
from derive.lower.contraction import Contraction, Operand
from derive.lower.loops import CeilDiv, FloorDiv, Nest
from derive.program import Affine

LOCALS = {
    "rows",
    "columns",
    "steps",
    "batch",
    "classes",
    "phase",
    "b0",
    "b1",
    "lead",
    "lead_end",
    "blocks",
    "block",
    "item",
    "base",
    "row",
    "column",
    "step",
    "panel",
    "panels",
    "buffer",
    "length",
    "row_table",
    "step_table",
    "copy",
    "count",
    "m0",
    "m1",
    "size",
    "at",
    "value",
    "integer_scratch",
}


def contraction_source(nest: Nest, c: Contraction, name: str) -> TaskSource:
    return _ContractionWriter(nest, c).text(name)


class _ContractionWriter(_Writer):
    def __init__(self, nest: Nest, c: Contraction) -> None:
        super().__init__(nest)
        self.c = c
        self.taken |= LOCALS
        self.phased = {p.solved: p for p in c.phased}
        self.rows_of, self.steps_of = {p.row: p for p in c.phased}, {p.step: p for p in c.phased}
        self.class_names: dict[Index, tuple[str, ...]] = {}  # what one class of a phased index is called
        self.in_class = False

    def text(self, name: str) -> TaskSource:
        plain = self.write(f"{name}_plain")
        plain_text = plain.text.replace("@task\n", "@kernel\n", 1)
        views, integers = plain.views, plain.integers
        missing = [s for s in self.wanted() if s not in integers]
        for s in missing:
            self.name(s, s.name)
        integers = (*integers, *missing)
        arguments = [self.names[s] for s in integers]
        self.arguments = ", ".join(arguments)
        self.reals = [self.names[s] for s in plain.reals]
        parts = [
            plain_text,
            self.sizes(name, arguments),
            self.scratch(name, arguments),
            self.task(name, plain, integers),
        ]
        used = (
            self.used
            | ({"residue"} if self.phased else set())
            | {
                "kernel",
                "task",
                "Tile",
                "Scratch",
                "IntegerScratch",
                "block_product",
                "row_block",
                "suits",
                "ceil_div",
                "share",
                "zero",
            }
        )
        kinds = {f"Real{len(v.indices)}" for v in views}
        return replace(
            plain,
            name=name,
            text="\n\n\n".join(p.rstrip("\n") for p in parts) + "\n",
            integers=integers,
            imports=frozenset(used | kinds),
            lowering=f"{self.c.describe()}; else {plain.nest.describe()}",
        )

    def wanted(self) -> list[sp.Symbol]:
        """Symbols of the tables that the plain loops may not need."""
        eq = self.c.equation
        found = {
            s
            for op in (self.c.a, self.c.b)
            for f in op.forms
            if f is not None
            for s in f.expr.free_symbols - set(eq.relation.indices)
        }
        found |= (
            {eq.relation.size(i) for i in eq.relation.indices} | set(self.c.units) | self.c.scale.free_symbols
        )
        return sorted((s for s in found if not s.is_real or s.is_integer), key=str)

    def n(self, i: Index) -> str:
        return self.names[i]

    def size(self, i: Index) -> str:
        """How many values an index has: of a phased one those of a class (the largest, before one is chosen)."""
        if i in self.rows_of:
            if self.in_class:
                return self.class_names[i][1]
            return f"ceil_div({self.extent(i)}, {self.integer(self.rows_of[i].modulus)})"
        return self.class_names[i][2] if self.in_class and i in self.steps_of else self.extent(i)

    def extent(self, i: Index) -> str:
        return self.names[extent(i)]

    def times(self, indices: Sequence[Index]) -> str:
        return " * ".join(self.size(i) for i in indices) or "1"

    def interval(self, form: Affine) -> tuple[sp.Expr, sp.Expr]:
        low = high = form.constant
        for i, k in form.terms:
            reach = k * (extent(i) - 1)
            low, high = (low, high + reach) if k.is_nonnegative else (low + reach, high)
        return sp.expand(low), sp.expand(high)

    def places(self, k: int) -> tuple[sp.Expr, sp.Expr]:
        """The smallest index that axis k of A is read at, and how many follow."""
        i, form = self.c.a.access.indices[k], self.c.a.forms[k]
        assert form is not None
        if i in self.phased:  # modulus*v = row - constant - factor*step
            p = self.phased[i]
            total = Affine.of([(p.row, sp.S.One), (p.step, -p.factor)], -p.constant)
            low, high = self.interval(total)
            span = FloorDiv(high, p.modulus) + FloorDiv(sp.expand(-low), p.modulus) + 1
            return CeilDiv(low, p.modulus), span
        low, high = self.interval(form)
        return low, sp.expand(high - low + 1)

    def copied(self) -> list[int]:
        """Axes of A in its copy, in order: all but the batch's."""
        return [
            k
            for k, i in enumerate(self.c.a.access.indices)
            if not (self.c.a.forms[k] is None and i in self.c.batch)
        ]

    def lead(self) -> int | None:
        """The axis of A that the first row index indexes plainly: a task copies only its part of it."""
        first = self.c.rows[0]
        return next(
            (k for k in self.copied() if self.c.a.forms[k] is None and self.c.a.access.indices[k] == first),
            None,
        )

    # --- pieces ------------------------------------------------------------------------------

    def sizes(self, name: str, arguments: Sequence[str]) -> str:
        c = self.c
        head = _wrapped(
            f"def {name}_sizes(", [f"{a}: int" for a in arguments], ") -> tuple[int, int, int, int, int]:"
        )
        extents = []
        for k in self.copied():
            if c.a.forms[k] is None:
                extents.append(self.size(c.a.access.indices[k]))
            else:
                extents.append(f"max(0, {self.integer(self.places(k)[1])})")
        counts = ", ".join(map(self.times, (c.batch, c.rows, c.columns, c.steps)))
        what = f"Batch, rows, columns, steps, and the elements of `{c.a.access.tensor}`'s copy for one batch."
        lines = ["@kernel", head, f'    """{what}"""', f"    copy = {' * '.join(extents) or '1'}"]
        return "\n".join([*lines, f"    return {counts}, copy"])

    def condition(self) -> str:
        units = "".join(f" and {self.names[u]} == 1" for u in self.c.units)
        return f"suits(tile, rows, columns, steps){units}"

    def scratch(self, name: str, arguments: Sequence[str]) -> str:
        given = [f"{a}: int" for a in arguments]
        lines = []
        panels = "ceil_div(columns, tile.channels) * steps"
        for kind, size, what in (
            (
                "scratch",
                f"copy + ({panels} + row_block(tile) + tile.pixels) * tile.channels",
                "Scalars of one task: the copy, the panels, the sums of a block.",
            ),
            (
                "table",
                "rows + tile.pixels + steps",
                "Integers of one task: the offsets of rows and of steps.",
            ),
        ):
            head = _wrapped(f"def {name}_{kind}(", ["tile: Tile", *given], ") -> int:")
            copy = "copy" if "copy" in size else "_"
            call = _called(f"    _, rows, columns, steps, {copy} = {name}_sizes({self.arguments})")
            lines.append(
                "\n".join(
                    [
                        head,
                        f'    """{what}"""',
                        call,
                        f"    if not ({self.condition()}):",
                        "        return 0",
                        f"    return {size}",
                    ]
                )
            )
        return "\n\n\n".join(lines)

    def task(self, name: str, plain: TaskSource, integers: Sequence[sp.Symbol]) -> str:
        c, eq = self.c, self.c.equation
        self.lines, self.depth = [], 1
        views = [f"{self.names[v]}: Real{len(v.indices)}" for v in plain.views]
        signature = [
            *views,
            *(f"{self.names[s]}: int" for s in integers),
            *(f"{r}: float" for r in self.reals),
            "add: int",
            "tile: Tile",
            "scratch: Scratch",
            "integer_scratch: IntegerScratch",
            "task: int",
            "tasks: int",
        ]
        head = _wrapped(f"def {name}(", signature, ") -> None:")
        self.put(f"batch, rows, columns, steps, copy = {name}_sizes({self.arguments})")
        self.put(f"if not ({self.condition()}):", True)
        inner = [
            *(self.names[v] for v in plain.views),
            *(self.names[s] for s in plain.integers),
            *self.reals,
            *["add"] * (self.nest.strategy == "gather"),
            "task",
            "tasks",
        ]
        self.put(f"{name}_plain({', '.join(inner)})")
        self.put("return")
        self.depth -= 1
        self.name_spans()
        self.put("panels = scratch + copy")
        self.put("buffer = panels + ceil_div(columns, tile.channels) * tile.channels * steps")
        self.put("step_table = integer_scratch + (rows + tile.pixels)")
        self.put("blocks = ceil_div(rows, row_block(tile))")
        if self.phased:
            self.put(f"classes = {' * '.join(self.inner(p.modulus) for p in c.phased)}")
        each = "classes * blocks" if self.phased else "blocks"
        self.put(f"first, last = share(batch * {each}, task, tasks)")
        self.put("if first == last:", True)
        self.put("return")
        self.depth -= 1
        each = f"({each})" if self.phased else each
        self.put(f"for base in range(first // {each}, ceil_div(last, {each.strip('()')})):", True)
        self.decode("base", c.batch)
        if self.phased:
            self.put("b0 = max(0, first - base * classes * blocks)")
            self.put("b1 = min(classes * blocks, last - base * classes * blocks)")
            self.copy()
            self.put("for phase in range(b0 // blocks, ceil_div(b1, blocks)):", True)
            self.choose_class()
            self.put("m0 = max(0, b0 - phase * blocks) * row_block(tile)")
            self.put("m1 = min(rows, (b1 - phase * blocks) * row_block(tile))")
            self.put("if m0 < m1:", True)
        else:
            self.put("m0 = max(0, first - base * blocks) * row_block(tile)")
            self.put("m1 = min(rows, (last - base * blocks) * row_block(tile))")
            self.copy()
        self.tables()
        self.pack()
        self.multiply()
        doc = [f'    """{_formula(eq)}', "", f"    {c.describe()}", '    """']
        decorator = f"@task(scratch={name}_scratch, integer_scratch={name}_table)"
        self.lines = [_called(line) for line in self.lines]
        return "\n".join([decorator, head, *doc, *self.lines]) + "\n"

    def choose_class(self) -> None:
        """One residue class of each phased row, the steps that go with it, and how many there are of both."""
        c = self.c
        self.put("# one class of each strided row, and the steps that meet it")
        for n, p in enumerate(c.phased):
            q, k = self.n(p.row), self.n(p.step)
            one, rows, first, stride, steps = (
                self.name(sp.Dummy(), f"{w}_{i}")
                for w, i in (("class", q), ("count", q), ("first", k), ("step", k), ("count", k))
            )
            self.class_names[p.row], self.class_names[p.step] = (one, rows), (first, stride, steps)
            modulus = self.inner(p.modulus)
            below = " * ".join(self.inner(o.modulus) for o in c.phased[n + 1 :])
            below = f"({below})" if len(c.phased) - n > 2 else below
            self.put(f"{one} = phase" + (f" // {below}" if below else "") + (f" % {modulus}" if n else ""))
            mark = sp.Symbol(one, integer=True)
            total = self.integer(sp.expand(mark - p.constant))
            self.put(
                f"{first}, {stride} = residue({self.integer(p.modulus)}, {self.integer(p.factor)}, {total})"
            )
            self.put(f"{rows} = max(0, ceil_div({self.extent(p.row)} - {one}, {modulus}))")
            self.put(
                f"{steps} = max(0, ceil_div({self.extent(p.step)} - {first}, {stride})) if {stride} > 0 else 0"
            )
        self.in_class = True
        self.put(f"rows, steps = {self.times(c.rows)}, {self.times(c.steps)}")

    def decode(self, flat: str, indices: Sequence[Index]) -> None:
        for k, i in enumerate(indices):
            below = " * ".join(self.size(j) for j in indices[k + 1 :])
            below = f"({below})" if len(indices) - k > 2 else below
            text = flat + (f" // {below}" if below else "") + (f" % {self.size(i)}" if k else "")
            if i in self.rows_of:
                text = f"{self.class_names[i][0]} + {self.inner(self.rows_of[i].modulus)} * ({text})"
            elif i in self.steps_of:
                text = f"{self.class_names[i][0]} + {self.class_names[i][1]} * ({text})"
            self.put(f"{self.n(i)} = {text}")

    def span_of(self, k: int) -> str:
        """How many places axis k of A has in the copy."""
        i, form = self.c.a.access.indices[k], self.c.a.forms[k]
        if k == self.lead():
            return "(lead_end - lead)"
        return self.size(i) if form is None else self.spans[i][1]

    def name_spans(self) -> None:
        """Where the copy begins on an axis that several indices give, and how many places it has there."""
        self.spans: dict[Index, tuple[str, str]] = {}
        for k in self.copied():
            i, form = self.c.a.access.indices[k], self.c.a.forms[k]
            if form is not None:
                low, span = self.places(k)
                names = self.name(sp.Dummy(), f"base_{self.n(i)}"), self.name(sp.Dummy(), f"span_{self.n(i)}")
                self.spans[i] = names
                self.put(f"{names[0]}, {names[1]} = {self.integer(low)}, {self.integer(span)}")

    def copy(self) -> None:
        """A's copy: every place that a row and a step together reach, zero where A has no element."""
        c = self.c
        a, lead = c.a, self.lead()
        if lead is not None and self.phased:
            self.put(f"lead, lead_end = 0, {self.size(a.access.indices[lead])}")
        elif lead is not None:
            others = c.rows[1:]
            self.put(f"lead = m0 // ({self.times(others)})")
            self.put(f"lead_end = (m1 - 1) // ({self.times(others)}) + 1")
        self.put(f"# the part of {a.access.tensor} that these rows read, with zeros where it has no element")
        self.put("at = 0")
        depth = self.depth
        guards = []
        for k in self.copied():
            i, form = a.access.indices[k], a.forms[k]
            if form is None:
                self.put(
                    f"for {self.n(i)} in range({'lead, lead_end' if k == lead else self.size(i)}):", True
                )
            else:
                low, span = self.spans[i]
                self.put(f"for {self.n(i)} in range({low}, {low} + {span}):", True)
                guards.append(f"0 <= {self.n(i)} < {self.size(i)}")
        element = self.at(a.access)
        if guards:
            self.put(f"if {' and '.join(guards)}:", True)
            self.put(f"scratch[at] = {element}")
            self.depth -= 1
            self.put("else:", True)
            self.put("scratch[at] = zero()")
            self.depth -= 1
        else:
            self.put(f"scratch[at] = {element}")
        self.put("at += 1")
        self.depth = depth

    def offset(self, indices: Sequence[Index], constant: bool) -> str:
        """The part of an element's place in the copy that these indices give."""
        c = self.c
        axes, lead = self.copied(), self.lead()
        terms = []
        for n, k in enumerate(axes):
            step = " * ".join(self.span_of(j) for j in axes[n + 1 :])
            i, form = c.a.access.indices[k], c.a.forms[k]
            if form is None:
                if i not in indices:
                    continue
                text = f"({self.n(i)} - lead)" if k == lead else self.n(i)
            elif i in self.phased:
                p = self.phased[i]
                first, factor, modulus = (
                    self.class_names[p.step][0],
                    self.inner(p.factor),
                    self.inner(p.modulus),
                )
                if constant:
                    start = self.integer(sp.expand(p.row - p.constant))
                    text = f"(({start} - {factor} * {first}) // {modulus} - {self.spans[i][0]})"
                else:
                    text = f"({first} - {self.n(p.step)}) * {factor} // {modulus}"
                    text = f"({text})" if step else text
            else:
                part = Affine.of(
                    [(j, q) for j, q in form.terms if j in indices], form.constant if constant else 0
                )
                if not part.terms and not constant:
                    continue
                text = f"({self.integer(part.expr)}{f' - {self.spans[i][0]}' if constant else ''})"
            terms.append(f"{text} * {step}" if step else text)
        return " + ".join(terms) or "0"

    def tables(self) -> None:
        c = self.c
        self.put("for row in range(m0, m1):", True)
        self.decode("row", c.rows)
        self.put(f"integer_scratch[row - m0] = {self.offset((*c.rows, *c.batch), True)}")
        self.depth -= 1
        self.put("for row in range(tile.pixels):  # a last, partial tile repeats a row", True)
        self.put("integer_scratch[m1 - m0 + row] = integer_scratch[m1 - m0 - 1]")
        self.depth -= 1
        self.put("for step in range(steps):", True)
        self.decode("step", c.steps)
        self.put(f"step_table[step] = {self.offset(c.steps, False)}")
        self.depth -= 1

    def pack(self) -> None:
        c = self.c
        self.put(f"# {c.b.access.tensor} in panels of the tile's columns, zero beyond the last")
        self.put("for panel in range(ceil_div(columns, tile.channels)):", True)
        self.put("for step in range(steps):", True)
        self.decode("step", c.steps)
        self.put("at = (panel * steps + step) * tile.channels")
        self.put("for column in range(panel * tile.channels, (panel + 1) * tile.channels):", True)
        self.put("if column < columns:", True)
        self.decode("column", c.columns)
        guards = []
        for i, form in zip(c.b.access.indices, c.b.forms, strict=True):
            if form is not None:
                self.put(f"{self.n(i)} = {self.integer(form.expr)}")
                guards.append(f"0 <= {self.n(i)} < {self.size(i)}")
        if guards:
            self.put(f"if {' and '.join(guards)}:", True)
        self.put(f"panels[at] = {self.at(c.b.access)}")
        if guards:
            self.depth -= 1
            self.put("else:", True)
            self.put("panels[at] = zero()")
            self.depth -= 1
        self.depth -= 1
        self.put("else:", True)
        self.put("panels[at] = zero()")
        self.depth -= 1
        self.put("at += 1")
        self.depth -= 3

    def multiply(self) -> None:
        c, eq = self.c, self.c.equation
        self.put("for block in range(m0, m1, row_block(tile)):", True)
        self.put("count = min(row_block(tile), m1 - block)")
        self.put("for panel in range(ceil_div(columns, tile.channels)):", True)
        self.put(
            "block_product(tile, scratch, integer_scratch + (block - m0), count, step_table, steps, "
            "panels + panel * (steps * tile.channels), buffer)"
        )
        self.put("for row in range(count):", True)
        self.decode_shifted("block + row", c.rows)
        self.put(
            "for column in range(panel * tile.channels, min(columns, (panel + 1) * tile.channels)):", True
        )
        self.decode("column", c.columns)
        self.put("value = buffer[row * tile.channels + (column - panel * tile.channels)]")
        if c.scale != 1:
            mark = sp.Symbol("value", real=True)
            self.names[mark] = "value"
            self.put(f"value = {self.scalar(c.scale * mark)}")
        out = self.at(eq.target)
        self.put("if add != 0:", True)
        self.put(f"value += {out}")
        self.depth -= 1
        self.put(f"{out} = value")

    def decode_shifted(self, flat: str, indices: Sequence[Index]) -> None:
        if len(indices) == 1:
            self.put(f"{self.n(indices[0])} = {flat}")
        else:
            self.put(f"item = {flat}")
            self.decode("item", indices)


def _called(line: str) -> str:
    """A long call wrapped at its arguments."""
    if len(line) <= 116 or ("_sizes(" not in line and "_plain(" not in line and "block_product(" not in line):
        return line
    head, _, tail = line.partition("(")
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    words, lines, now = tail.split(", "), [], head + "("
    for k, w in enumerate(words):
        piece = w + (", " if k < len(words) - 1 else "")
        if len(now) + len(piece.rstrip()) > 116:
            lines.append(now.rstrip())
            now = indent
        now += piece
    return "\n".join([*lines, now])


__all__ = ["Operand", "contraction_source"]
