"""A contraction as source: ranges, copies and tables of offsets from the equation; the arithmetic is shared.

The emitted module gets, for one equation,

    NAME_in_blocks          blocks of it by `contract`, taken where there is enough to share
    NAME_in_blocks_sizes    how many rows, columns and steps are worked on together, and the extents of copies

Within a block each index has a range, from .. to. An operand's axis that is an affine form of indices is then
read at low .. low + span; where some of that lies outside the operand, the part is copied with zeros around it.
A phased index counts within one residue class: the row is class + modulus*row', the step first + step*step', and
what the equality gives is row' - turn*step' + a constant.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sympy as sp

from derive.emit.choice import NO_WAY, Offer, Way
from derive.emit.kernel import _called, _matched, _wrapped, _Writer
from derive.emit.pair import pair_source
from derive.emit.vectors import NoVector
from derive.language import Index, extent
from derive.lower.contraction import Contraction, Operand
from derive.lower.loops import Nest
from derive.program import Access, Affine

FEW = 2  # columns with which there is little to share
MOST = 1 << 28  # scalars that a block's copies may take; strides and dilations multiply over the axes


def contraction_offer(nest: Nest, c: Contraction, name: str) -> Offer:
    """Blocks of the contraction as one way; none if what is done at each point has no form in lanes."""
    try:
        return _ContractionWriter(nest, c).offer(name)
    except NoVector:
        return NO_WAY


@dataclass
class _Axis:
    """One axis of an array: its place is constant + sum of factor * index, as text."""

    constant: str
    terms: list[tuple[Index, str, bool]]  # index, factor, is the factor >= 0
    form: bool  # several indices or a shift: the place may lie outside

    @property
    def plain(self) -> bool:
        """Is the place the index itself?"""
        return not self.form and self.constant == "0" and self.terms[0][1] == "1"


class _ContractionWriter(_Writer):
    def __init__(self, nest: Nest, c: Contraction) -> None:
        super().__init__(nest, clears=True)
        self.c = c
        self.rows_of, self.steps_of = {p.row: p for p in c.phased}, {p.step: p for p in c.phased}
        self.phased = {p.solved: p for p in c.phased}
        self.classes: dict[Index, dict[str, str]] = {}
        self.members: dict[Index, str] = {}  # how many classes of a row there are
        self.ranges: dict[Index, tuple[str, str]] = {}
        self.by: dict[str, dict[Index, str]] = {}  # of an array: how far apart the values of an index lie
        self.table_of: dict[tuple[str, str], str] = {}
        self.at_of: dict[str, str] = {}  # of an array: its pointer

    # --- the parts ---------------------------------------------------------------------------

    def offer(self, name: str) -> Offer:
        views, integers, reals = self.named()
        integers = self.told(integers, self.wanted())
        arguments = [self.names[s] for s in integers]
        self.arguments = ", ".join(arguments)
        formed = [o for o in (self.c.a, self.c.b) if any(f is not None for f in o.forms)]
        self.operands = formed if self.c.pair is None else []  # those that may have to be copied
        self.used |= {"kernel", "Scratch", "IntegerScratch", "chunk", "divide"}
        self.used |= {"repeat_last", "share", "suits", "work", "ceil_div"}
        title = f"{name}_in_blocks"
        parts = (
            *self.paired(name),
            self.sizes(title, arguments),
            *self.suited(title, arguments),
            *self.rooms(title, integers),
            self.blocks(title, views, integers, reals),
        )
        test = self.condition(title)
        if self.c.pair is not None:
            few = self.product(map(self.extent, self.c.columns))
            test = " and ".join([f"{few} > {FEW}", test, *(t for o in formed for t in self.within_reach(o))])
        way = Way(title, test, parts, self.c.describe())
        return Offer((way,), integers, self.names, frozenset(self.used))

    def paired(self, name: str) -> list[str]:
        """What is done at each point, and `contract` with that in place of a product."""
        if self.c.pair is None:
            self.contract = "contract"
            self.used.add("contract")
            return []
        reads = [self.c.a.access, self.c.b.access]
        text, used = pair_source(self.nest, self.c.pair, reads, f"{name}_pair")
        self.used |= used | {"contract_with", "kernel", "Lanes", "Vector"}
        self.contract = f"{name}_contract"
        first, second = (sp.Dummy(real=True) for _ in reads)
        there, back = (
            self.c.pair.xreplace(dict(zip(reads, marks, strict=True)))
            for marks in ((first, second), (second, first))
        )
        turns = bool(sp.expand(there - back) == 0)
        made = f"{self.contract} = contract_with({name}_pair, {self.c.equation.reduce!r}, turns={turns})"
        return [f"{text}\n\n\n{made}"]

    def within_reach(self, op: Operand) -> list[str]:
        """Tests that no place is outside, whatever the indices are: then no point is missing."""
        tests = []
        for i, form in zip(op.access.indices, op.forms, strict=True):
            if form is None:
                continue
            ends: dict[bool, list[str]] = {False: [], True: []}
            for a, k in form.terms:
                assert isinstance(a, Index)
                end = _times(self.inner(k), f"({self.extent(a)} - 1)")
                ends[bool(k.is_nonnegative)].append(end)
            constant = self.integer(form.constant)
            low, high = _sum([constant, *ends[False]]), _sum([constant, *ends[True]])
            tests += [f"{low} >= 0"] * (low != "0") + [f"{high} < {self.extent(i)}"]
        return tests

    def wanted(self) -> list[sp.Symbol]:
        """Symbols of the tables that the plain loops may not need."""
        eq = self.c.equation
        forms = [f for op in (self.c.a, self.c.b) for f in op.forms if f is not None]
        found = {s for f in forms for s in f.expr.free_symbols - set(eq.relation.indices)}
        found |= {eq.relation.size(i) for i in eq.relation.indices} | set(self.c.units)
        found |= self.c.scale.free_symbols
        for p in self.c.phased:
            found |= p.modulus.free_symbols | p.factor.free_symbols | p.constant.free_symbols
        return sorted((s for s in found if not s.is_real or s.is_integer), key=str)

    def local(self, want: str) -> str:
        return self.name(sp.Dummy(), want)

    def extent(self, i: Index) -> str:
        return self.names[extent(i)]

    def largest(self, i: Index) -> str:
        """The most values that an index counts over in one class."""
        p = self.rows_of.get(i)
        return self.extent(i) if p is None else f"ceil_div({self.extent(i)}, {self.inner(p.modulus)})"

    def count(self, i: Index) -> str:
        """The values that an index counts over, of the class at hand where it has classes."""
        return self.classes[i]["count"] if i in self.classes else self.largest(i)

    @staticmethod
    def product(factors: Iterable[str]) -> str:
        kept = [
            f"({f})" if (" + " in f or " - " in f) and not _enclosed(f) else f for f in factors if f != "1"
        ]
        return " * ".join(kept) or "1"

    def leading(self, group: Sequence[Index]) -> tuple[str, str, str]:
        """Extents of a group's first index, its second, and of the rest together."""
        sizes = [self.largest(i) for i in group]
        return sizes[0], (sizes[1] if len(sizes) > 1 else "1"), self.product(sizes[2:])

    def condition(self, name: str) -> str:
        """When blocks are multiplied, rather than plain loops run."""
        return f"{name}_suits(tile, {self.arguments})" if self.operands else self.enough()

    def enough(self) -> str:
        """Is there work enough for tiles?"""
        rows, columns, steps = (self.product(map(self.largest, g)) for g in self.groups())
        units = "".join(f" and {self.names[u]} == 1" for u in self.c.units)
        return f"suits(tile, {rows}, {columns}, {steps}){units}"

    def groups(self) -> tuple[tuple[Index, ...], ...]:
        return self.c.rows, self.c.columns, self.c.steps

    # --- axes --------------------------------------------------------------------------------

    def axis(self, i: Index, form: Affine | None) -> _Axis:
        """How an axis depends on the basis, within the class at hand."""
        if i in self.phased:
            p, row, step = self.phased[i], self.phased[i].row, self.phased[i].step
            turn = self.classes[step]["turn"]
            negative = not p.factor.is_nonnegative
            return _Axis(
                self.classes[row]["base"],
                [(row, "1", True), (step, turn if negative else f"-{turn}", negative)],
                True,
            )
        if form is not None:
            terms = [(a, k) for a, k in form.terms if isinstance(a, Index)]
            return _Axis(
                self.integer(form.constant),
                [(a, self.inner(k), bool(k.is_nonnegative)) for a, k in terms],
                True,
            )
        if i in self.classes:
            place = self.classes[i]
            return _Axis(place["first"], [(i, place["step"], True)], False)
        return _Axis("0", [(i, "1", True)], False)

    def axes(self, a: Access, forms: Sequence[Affine | None] | None = None) -> list[_Axis]:
        return [self.axis(i, forms[k] if forms else None) for k, i in enumerate(a.indices)]

    # --- sizes -------------------------------------------------------------------------------

    def sizes(self, name: str, arguments: Sequence[str]) -> str:
        """The blocks, and room for the copies of one."""
        c = self.c
        given = ["tile: Tile", *(f"{a}: int" for a in arguments)]
        lines = [
            '    """Rows and steps (first index, second) worked on together, and the extent of each copy."""'
        ]
        for word, group in (("row", c.rows), ("step", c.steps)):
            first, second, rest = self.leading(group)
            lines.append(f"    {word}_first, {word}_second = chunk(tile.{word}s, {first}, {second}, {rest})")
        taken: dict[Index, str] = {}
        for word, group in (("row", c.rows), ("step", c.steps)):
            for k, i in enumerate(group):
                taken[i] = f"{word}_{('first', 'second')[k]}" if k < 2 else self.largest(i)
        taken |= {i: self.largest(i) for i in c.columns}
        result = ["row_first", "row_second", "step_first", "step_second"]
        for op in self.operands:
            extents = [
                self.widest(i, form, taken)
                for i, form in zip(op.access.indices, op.forms, strict=True)
                if form is not None or i not in c.batch
            ]
            lines.append(f"    {self.copy_name(op)} = {self.bounded_product(extents)} + tile.lanes.width")
            result.append(self.copy_name(op))
        head = _wrapped(f"def {name}_sizes(", given, f") -> tuple[{', '.join(['int'] * len(result))}]:")
        return "\n".join(["@kernel", head, *lines, f"    return {', '.join(result)}"])

    def copy_name(self, op: Operand) -> str:
        return f"copy_{op.access.tensor}"

    def widest(self, i: Index, form: Affine | None, taken: dict[Index, str]) -> str:
        """The most places of an axis that one block reads."""
        if i in self.phased:
            p = self.phased[i]
            factor = self.inner(p.factor) if p.factor.is_nonnegative else self.inner(-p.factor)
            reach = f"({self.extent(p.step)} * {factor}) // {self.inner(p.modulus)}"
            return f"({taken[p.row]} + {reach} + 1)"
        if form is None:
            return taken[i]
        terms = []
        for a, k in form.terms:
            if a in self.c.batch:
                continue
            size = self.inner(k if k.is_nonnegative else -k)
            terms.append(f"({taken[a]} - 1)" if size == "1" else f"{size} * ({taken[a]} - 1)")
        return f"({' + '.join([*terms, '1'])})"

    def suited(self, name: str, arguments: Sequence[str]) -> list[str]:
        """The condition as a function, where copies have to fit, too."""
        if not self.operands:
            return []
        copies = [self.copy_name(op) for op in self.operands]
        given = ["tile: Tile", *(f"{a}: int" for a in arguments)]
        lines = [
            _wrapped(f"def {name}_suits(", given, ") -> bool:"),
            '    """Is there work enough for tiles, and are the copies of a block not too large?"""',
            f"    if not ({self.enough()}):",
            "        return False",
            _called(
                f"    {', '.join(['_'] * 4 + copies)} = {name}_sizes(tile, {self.arguments})", assigned=True
            ),
            f"    return {' + '.join(copies)} <= {MOST}",
        ]
        return ["\n".join(lines)]

    def rooms(self, name: str, integers: Sequence[sp.Symbol]) -> list[str]:
        copies = [self.copy_name(op) for op in self.operands]
        made = []
        for kind, what in (
            ("scratch", "Scalars of one task: copies, a panel, the sums of a block."),
            ("table", "Integers of one task: the offsets of rows, columns and steps."),
        ):
            names = ["row_first", "row_second", "step_first", "step_second", *copies]
            rows = self.product(["row_first", "row_second", *map(self.largest, self.c.rows[2:])])
            steps = self.product(["step_first", "step_second", *map(self.largest, self.c.steps[2:])])
            columns = self.product(map(self.largest, self.c.columns))
            if kind == "scratch":
                size = " + ".join([f"work(tile, {rows}, {columns})", *copies])
                names[2:4] = ["_", "_"]
            else:
                size = f"lines_for(tile) + 4 * spare(tile) + 2 * ({rows} + {columns} + {steps})"
                self.used |= {"spare", "lines_for"}
                names[4:] = ["_"] * len(copies)
            line = f"    {', '.join(names)} = {name}_sizes(tile, {self.arguments})"
            lines = [_called(line, assigned=True), f"    return {size}"]
            made.append(self.room_of(f"{name}_{kind}", integers, what, lines))
        return made

    # --- the task ----------------------------------------------------------------------------

    def blocks(
        self, name: str, views: Sequence[Access], integers: Sequence[sp.Symbol], reals: Sequence[sp.Symbol]
    ) -> str:
        c = self.c
        self.lines, self.depth = [], 1
        signature = self.signature_of(
            views, integers, reals, "tile: Tile", "scratch: Scratch", "integer_scratch: IntegerScratch"
        )
        results = ["row_first", "row_second", "step_first", "step_second"]
        results += [
            self.copy_name(op) if op is not self.operands[-1] else "_" for op in self.operands
        ]  # where the last copy ends, nobody asks
        self.put(f"{', '.join(results)} = {name}_sizes(tile, {self.arguments})")
        others = self.product(map(self.largest, c.batch))
        if c.phased:
            for p in c.phased:  # a class beyond the last row has no member
                self.members[p.row] = self.local(f"classes_{self.names[p.row]}")
                self.put(f"{self.members[p.row]} = min({self.inner(p.modulus)}, {self.extent(p.row)})")
            self.put(f"classes = {' * '.join(self.members.values())}")
        first, second, _ = self.leading(c.rows)
        self.put(f"columns = {self.product(map(self.largest, c.columns))}")
        self.put(
            f"row_first, row_second, groups = divide(tile, tasks, {others}, {first}, {second}, "
            "(row_first, row_second), columns)"
        )
        self.put(f"parts = ceil_div({first}, row_first) * ceil_div({second}, row_second)")
        self.rooms_of_tables()
        # all classes of a part together: they write the same lines, and tasks that share parts have equal work
        units = self.product([others, "parts", "groups", *["classes"] * bool(c.phased)])
        self.put(f"first, last = share({units}, task, tasks)")
        self.put("for unit in range(first, last):", True)
        within = "unit // classes" if c.phased else "unit"
        self.put(f"group, part = {within} % groups, {within} // groups % parts")
        self.choose_batch()
        if c.phased:
            self.choose_class()
        self.range_of_rows(second)
        self.prepare()
        self.blocks_of_steps()
        rooms = f"(scratch={name}_scratch, integer_scratch={name}_table)"
        self.lines = [_called(line, assigned=True) for line in self.lines]
        return self.as_task(name, signature, c.describe(), rooms)

    def choose_batch(self) -> None:
        over = "unit // (groups * parts * classes)" if self.c.phased else "unit // (groups * parts)"
        for k, i in enumerate(self.c.batch):
            below = self.product(map(self.largest, self.c.batch[k + 1 :]))
            text = over if below == "1" else f"{over} // ({below})"
            self.put(f"{self.names[i]} = {text}" + (f" % {self.extent(i)}" if k else ""))

    def choose_class(self) -> None:
        """One residue class of each phased row, the steps that go with it, and how many there are of both."""
        c = self.c
        self.used.add("residue")
        self.put("# one class of each strided row, and the steps that meet it")
        self.put("phase = unit % classes")
        for n, p in enumerate(c.phased):
            q, k = self.names[p.row], self.names[p.step]
            one, rows, base = (self.local(f"{w}_{q}") for w in ("class", "count", "base"))
            first, stride, steps, turn = (self.local(f"{w}_{k}") for w in ("first", "step", "count", "turn"))
            modulus = self.inner(p.modulus)
            below = self.product(self.members[o.row] for o in c.phased[n + 1 :])
            text = "phase" if below == "1" else f"phase // ({below})"
            self.put(f"{one} = {text}" + (f" % {self.members[p.row]}" if n else ""))
            mark = sp.Symbol(one, integer=True)
            factor = p.factor if p.factor.is_nonnegative else -p.factor
            total = self.integer(sp.expand(mark - p.constant))
            self.put(
                f"{first}, {stride} = residue({self.integer(p.modulus)}, {self.integer(p.factor)}, {total})"
            )
            self.put(f"{rows} = max(0, ceil_div({self.extent(p.row)} - {one}, {modulus}))")
            self.put(
                f"{steps} = max(0, ceil_div({self.extent(p.step)} - {first}, {stride})) if {stride} > 0 else 0"
            )
            self.put(f"{turn} = {self.inner(factor)} * {stride} // {modulus}")
            start = sp.Symbol(first, integer=True)
            self.put(
                f"{base} = ({self.integer(sp.expand(mark - p.constant - p.factor * start))}) // {modulus}"
            )
            self.classes[p.row] = {"first": one, "step": modulus, "count": rows, "base": base}
            self.classes[p.step] = {"first": first, "step": stride, "count": steps, "turn": turn}

    def within(self, i: Index) -> tuple[str, str]:
        return self.ranges.get(i, ("0", self.count(i)))

    def limit(self, i: Index, start: str, by: str) -> None:
        """Name the range of an index in the block at hand."""
        low, high = self.local(f"{self.names[i]}_from"), self.local(f"{self.names[i]}_to")
        self.put(f"{low} = {start}")
        self.put(f"{high} = min({self.count(i)}, {low} + {by})")
        self.ranges[i] = low, high

    def range_of_rows(self, second: str) -> None:
        rows = self.c.rows
        if len(rows) > 1:
            self.limit(rows[0], f"part // ceil_div({second}, row_second) * row_first", "row_first")
            self.limit(rows[1], f"part % ceil_div({second}, row_second) * row_second", "row_second")
        else:
            self.limit(rows[0], "part * row_first", "row_first")
        self.put(f"rows = {self.number(rows)}")
        if self.c.phased:  # a class may have fewer members than blocks
            self.put("if rows <= 0:", True)
            self.put("continue")
            self.depth -= 1

    def number(self, group: Sequence[Index]) -> str:
        lengths = []
        for i in group:
            low, high = self.within(i)
            lengths.append(high if low == "0" else f"max(0, {high} - {low})")
        return " * ".join(lengths) or "1"

    def prepare(self) -> None:
        """What does not change from one block of steps to the next."""
        c, (a, b, out) = self.c, self.arrays()
        for op in (c.a, c.b):
            if op not in self.operands:
                self.at_of[self.names[op.access]] = self.operand(op)
        self.at_of[out] = self.target()
        if c.b not in self.operands:
            self.table("columns", c.columns, (b, out))
        if c.a not in self.operands:
            self.table("rows", c.rows, (a, out))
        self.put("column_from = group * ceil_div(columns, tile.channels) // groups * tile.channels")
        self.put(
            "column_to = min(columns, (group + 1) * ceil_div(columns, tile.channels) // groups * tile.channels)"
        )

    def blocks_of_steps(self) -> None:
        depth, steps = self.depth, self.c.steps
        starts = []
        for i, by in zip(steps[:2], ("step_first", "step_second"), strict=False):
            start = self.local(f"{self.names[i]}_start")
            starts.append(start)
            self.put(f"for {start} in range(0, max(1, {self.count(i)}), {by}):", True)
            self.limit(i, start, by)
        self.put(f"steps = {self.number(steps)}")
        c, (a, b, out) = self.c, self.arrays()
        for op in self.operands:
            self.at_of[self.names[op.access]] = self.operand(op)
        if c.b in self.operands:
            self.table("columns", c.columns, (b, out))
        if c.a in self.operands:
            self.table("rows", c.rows, (a, out))
        self.table("steps", c.steps, (a, b))
        self.multiply(" or ".join(f"{s} > 0" for s in starts))
        self.depth = depth

    # --- where the elements lie ----------------------------------------------------------------

    def operand(self, op: Operand) -> str:
        """A pointer to where all indices are 0, and for each of them how far apart its values lie."""
        name = self.names[op.access]
        axes = self.axes(op.access, op.forms)
        strides = [self.local(f"{name}_stride_{self.names[i]}") for i in op.access.indices]
        pointer = self.local(f"{name}_at")
        if op in self.operands:
            self.copied(op, name, axes, strides, pointer)
        else:
            self.in_place(name, strides, pointer)
        self.steps_between(name, pointer, axes, strides)
        return pointer

    def in_place(self, name: str, strides: Sequence[str], pointer: str) -> None:
        self.put(f"{pointer} = {name}.pointer()")
        for k, s in enumerate(strides):
            self.put(f"{s} = {name}.stride({k})")

    def copied(
        self, op: Operand, name: str, axes: Sequence[_Axis], strides: Sequence[str], pointer: str
    ) -> None:
        """In place where the block reads nothing outside, else a copy with zeros around it."""
        self.put(
            f"# the part of {op.access.tensor} that this block reads, with zeros where it has no element"
        )
        low: dict[int, str] = {}
        span: dict[int, str] = {}
        inside = []
        for k, (i, axis) in enumerate(zip(op.access.indices, axes, strict=True)):
            if not (axis.form or any(j not in self.c.batch for j, _, _ in axis.terms)):
                continue
            if axis.plain:
                start, end = self.within(axis.terms[0][0])
                low[k], span[k] = start, end if start == "0" else f"({end} - {start})"
                continue
            low[k], span[k] = self.local(f"low_{self.names[i]}"), self.local(f"span_{self.names[i]}")
            least, most = ([self.reach(t, way) for t in axis.terms] for way in (False, True))
            self.put(f"{low[k]} = {_sum([axis.constant, *least])}")
            self.put(f"{span[k]} = max(0, {_sum([axis.constant, *most])} - {low[k]} + 1)")
            if axis.form:
                inside.append(f"{low[k]} >= 0 and {low[k]} + {span[k]} <= {self.extent(i)}")
        self.put(f"if {' and '.join(inside)}:", True)
        self.in_place(name, strides, pointer)
        self.depth -= 1
        self.put("else:", True)
        for k, s in enumerate(strides):
            self.put(f"{s} = {self.product(span[j] for j in low if j > k) if k in low else 0}")
        room = self.room(op)
        self.fill(op, name, axes, room, low, span)
        origin = [_times(low[k], strides[k]) for k in low if low[k] != "0"]
        self.put(f"{pointer} = {room}{f' + -({_sum(origin)})' if origin else ''}")
        self.depth -= 1

    def reach(self, term: tuple[Index, str, bool], most: bool) -> str:
        """The least or the most that an index adds to a place."""
        i, factor, positive = term
        if i in self.c.batch:
            return _times(factor, self.names[i])
        low, high = self.within(i)
        return _times(factor, f"({high} - 1)" if most == positive else low)

    def fill(
        self,
        op: Operand,
        name: str,
        axes: Sequence[_Axis],
        room: str,
        low: dict[int, str],
        span: dict[int, str],
    ) -> None:
        """Loops over all axes of the copy but the last, which is copied as a row."""
        self.used.add("copy_row")
        depth, guards = self.depth, []
        *outer, last = low
        self.put("at = 0")
        for k in outer:
            i = self.names[op.access.indices[k]]
            end = span[k] if low[k] == "0" else f"{low[k]} + {span[k]}"
            if axes[k].plain and low[k] != "0":
                end = span[k].strip("()").split(" - ")[0]
            self.put(f"for {i} in range({end if low[k] == '0' else f'{low[k]}, {end}'}):", True)
            if axes[k].form:
                guards.append(f"0 <= {i} < {self.extent(op.access.indices[k])}")
        place = [self.names[i] for i in op.access.indices]
        place[last] = "0"
        size = self.extent(op.access.indices[last]) + (f" if {' and '.join(guards)} else 0" if guards else "")
        self.put(
            f"copy_row(tile, {room} + at, {name}.pointer({', '.join(place)}), {name}.stride({last}), "
            f"{low[last]}, {span[last]}, {size})"
        )
        self.put(f"at += {span[last]}")
        self.depth = depth

    def room(self, op: Operand) -> str:
        """Where in the scratch an operand's copy lies."""
        return " + ".join(["room", *(self.copy_name(o) for o in self.operands[: self.operands.index(op)])])

    def steps_between(self, name: str, pointer: str, axes: Sequence[_Axis], strides: Sequence[str]) -> None:
        """From one value of an index to the next; what no index moves goes into the pointer."""
        by: dict[Index, list[str]] = {}
        fixed = []
        for axis, s in zip(axes, strides, strict=True):
            if axis.constant != "0":
                fixed.append(_times(f"({axis.constant})" if " " in axis.constant else axis.constant, s))
            for i, factor, _ in axis.terms:
                if i in self.c.batch:
                    fixed.append(_times(factor, _times(self.names[i], s)))
                else:
                    by.setdefault(i, []).append(_times(factor, s))
        if fixed:
            self.put(f"{pointer} = {pointer} + ({' + '.join(fixed)})")
        self.by[name] = {}
        for i, terms in by.items():
            text = _sum(terms)
            if text.isidentifier():
                self.by[name][i] = text
            else:
                self.by[name][i] = self.local(f"{name}_by_{self.names[i]}")
                self.put(f"{self.by[name][i]} = {text}")

    def target(self) -> str:
        eq = self.c.equation
        name = self.names[eq.target]
        axes = self.axes(eq.target)
        strides = [f"{name}.stride({k})" for k in range(len(axes))]
        pointer = self.local(f"{name}_at")
        self.put(f"{pointer} = {name}.pointer()")
        self.steps_between(name, pointer, axes, strides)
        return pointer

    # --- tables --------------------------------------------------------------------------------

    def table(self, word: str, group: Sequence[Index], arrays: Sequence[str]) -> None:
        """One loop nest over a group of indices fills the offsets of the arrays that it moves in."""
        names = [self.table_of[a, word] for a in arrays]
        depth = self.depth
        self.put("at = 0")
        for i in group:
            low, high = self.within(i)
            self.put(f"for {self.names[i]} in range({high if low == '0' else f'{low}, {high}'}):", True)
        for a, table in zip(arrays, names, strict=True):
            self.put(f"{table}[at] = {_sum(_times(self.names[i], self.by[a][i]) for i in group)}")
        self.put("at += 1")
        self.depth = depth
        for table in names if word != "steps" else ():
            self.put(f"repeat_last(tile, {table}, {word})")

    def arrays(self) -> tuple[str, str, str]:
        c = self.c
        return self.names[c.a.access], self.names[c.b.access], self.names[c.equation.target]

    def rooms_of_tables(self) -> None:
        """Where the copies lie in the scratch, after the panel (which is so aligned), and the tables in theirs."""
        (a, b, out), c, at = self.arrays(), self.c, "integer_scratch"
        sizes = {
            "rows": self.product(["row_first", "row_second", *map(self.largest, c.rows[2:])]),
            "columns": "columns",
            "steps": self.product(["step_first", "step_second", *map(self.largest, c.steps[2:])]),
        }
        if self.operands:
            self.put(f"room = scratch + work(tile, {sizes['rows']}, columns)")
        for array, word in (
            (a, "rows"), (out, "rows"), (b, "columns"), (out, "columns"), (a, "steps"), (b, "steps")
        ):  # fmt: skip
            table = self.table_of[array, word] = self.local(f"{array}_{word}")
            self.put(f"{table} = {at}")
            slack = ["spare(tile)"] * (word != "steps")
            size = _sum([sizes[word], *slack])
            at = f"{table} + {size if size == sizes[word] and ' * ' not in size else f'({size})'}"
        self.put(f"lines = {at}")

    def multiply(self, partial: str) -> None:
        c, (a, b, out), table = self.c, self.arrays(), self.table_of
        if c.scale != 1:
            self.put(f"scale = {self.scalar(c.scale)}")
        scale = "scale" if c.scale != 1 else "one()"
        if c.scale == 1:
            self.used.add("one")
        self.put(
            f"{self.contract}(tile, {self.at_of[a]}, {table[a, 'rows']}, rows, "
            f"{self.at_of[b]}, {table[b, 'columns']} + column_from, column_to - column_from, "
            f"{table[a, 'steps']}, {table[b, 'steps']}, steps, "
            f"{self.at_of[out]}, {table[out, 'rows']}, {table[out, 'columns']} + column_from, "
            f"{scale}, {'add != 0 or ' * self.adds}{partial}, scratch, lines)"
        )


def _enclosed(text: str) -> bool:
    return text.startswith("(") and _matched(text)


def _times(a: str, b: str) -> str:
    """The text of a product; a sign or a 1 in front is taken in."""
    if "0" in (a, b):
        return "0"
    if a == "1" or b == "1":
        return b if a == "1" else a
    return f"{a} * {b}"


def _sum(terms: Iterable[str]) -> str:
    """The text of a sum, without zeros."""
    kept = [t for t in terms if t != "0"]
    text = kept[0] if kept else "0"
    for t in kept[1:]:
        text += f" - {t[1:]}" if t.startswith("-") else f" + {t}"
    return text


__all__ = ["Operand", "contraction_offer"]
