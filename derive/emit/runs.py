"""Copies along several axes as source: read from where all of them come from, a run of places at a time.

The emitted module gets, for one chain of equations,

    NAME_runs           the runs of one axis; one function for all axes of a form
    NAME_over_r         lines along the last axis, a run at a time: first the longest, which is stored, then what is added
    NAME_over_n         lanes over an axis along which nothing moves, where that is contiguous
    NAME                the choice
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from derive.emit.choice import Offer, Way, choice_source
from derive.emit.kernel import TaskSource, _wrapped, _Writer, digits
from derive.language import Index, extent
from derive.lower.loops import Loop, Nest, expressions
from derive.lower.runs import Axis, Copied, Run
from derive.program import Access, Equation, Relation


def runs_source(c: Copied, name: str) -> TaskSource:
    """The tasks that do a whole chain, and the choice among them."""
    return _RunsWriter(c).source(name)


class _RunsWriter(_Writer):
    def __init__(self, c: Copied) -> None:
        relation = Relation(c.sizes, tuple(z for p in c.pieces for z in p.zero))
        super().__init__(Nest(Equation(c.target, relation, c.read), "gather", (), (), (), 0.0, adds=False))
        self.c = c
        self.helpers: dict[str, str] = {}  # the body of a function that lists runs, and its name
        self.parts: list[str] = []
        self.called: dict[Index, str] = {}  # by row: the function, and what it is given

    def source(self, name: str) -> TaskSource:
        c = self.c
        views, _, _ = self.named()
        self.views = views
        self.integers = self.told((), [s for s, _ in c.integers])
        self.used |= {
            "kernel",
            "IntegerScratch",
            "Tile",
            "add_run",
            "list_places",
            "longest_first",
            "share",
            "zero",
        }
        for axis in c.axes:
            self.listing(axis, name)
        ways = [
            Way(
                f"{name}_over_{i.name}",
                self.contiguous(i),
                (self.over(f"{name}_over_{i.name}", i),),
                self.described(i),
            )
            for i in c.across[-1:]
        ]
        title = f"{name}_over_{c.axes[-1].row.name}" if ways else name
        text = "\n\n\n".join([*self.parts, self.along(title)])
        imports = frozenset(self.used | {f"Real{len(v.indices)}" for v in views})
        plain = TaskSource(title, text, views, self.integers, (), imports, self.nest, self.described(None))
        offer = Offer(tuple(ways), self.integers, self.names, frozenset(self.used))
        return choice_source(name, plain, [offer]) if ways else plain

    def shown(self) -> str:
        return str(self.c)

    def described(self, across: Index | None) -> str:
        rows = " ".join(axis.row.name for axis in self.c.axes)
        if across is None:
            return f"copies along {rows} at once, runs over {self.c.axes[-1].row}"
        return f"copies along {rows} at once, lanes over {across} where it is contiguous"

    def size(self, i: Index) -> str:
        return self.names[extent(i)]

    def contiguous(self, i: Index) -> str:
        unit = " and ".join(f"{self.names[v]}.stride({v.indices.index(i)}) == 1" for v in self.views)
        return f"tile.lanes.width <= {self.size(i)} and {unit}"

    # --- the runs of an axis -----------------------------------------------------------------

    def listing(self, axis: Axis, name: str) -> None:
        """A function that lists an axis's runs, in letters of its own, so that axes of one form share it."""
        own = _ListWriter(self.nest, axis)
        arguments, body = own.body_of()
        key = "\n".join(body)
        if key not in self.helpers:
            title = f"{name}_runs" if not self.helpers else f"{name}_runs_{len(self.helpers) + 1}"
            self.helpers[key] = title
            given = ["runs: IntegerScratch", *(f"{own.names[s]}: int" for s in arguments)]
            head = _wrapped(f"def {title}(", given, ") -> int:")
            doc = '    """The runs of an axis: rows r, and places q that they copy. How many there are."""'
            self.parts.append("\n".join(["@kernel", head, doc, *body]) + "\n")
        told = ", ".join(self.names[s] for s in arguments)
        self.called[axis.row] = f"{self.helpers[key]}({{}}, {told})"

    def most_runs(self, axis: Axis) -> str:
        return " + ".join(map(self.turns, axis.runs))

    def turns(self, run: Run) -> str:
        """How often the steps before a run may come to it. Around nothing the laps may be fewer than none."""
        sizes = [f"max(0, {self.size(s.index)})" for s in run.before if isinstance(s, Loop)]
        return " * ".join(sizes) or "1"

    def most_points(self, axis: Axis) -> str:
        found = []
        for run in axis.runs:
            ends = (axis.row, run.row), (axis.column, run.column)
            sizes = [self.size(i) for i, e in ends if e.has(run.index)]
            least = f"min({', '.join(sizes)})" if len(sizes) > 1 else sizes[0]
            turns = self.turns(run)
            found.append(least if turns == "1" else f"{turns} * {least}")
        return " + ".join(found)

    # --- rooms -------------------------------------------------------------------------------

    def room(self, title: str, listed: Sequence[Axis], run: Axis | None) -> str:
        parts = [
            f"5 * ({self.most_runs(a)}) + 2 * {self.size(a.row)} + 1 + {self.most_points(a)}" for a in listed
        ]
        parts += [f"5 * ({self.most_runs(run)}) + 2 * ({self.most_points(run)})"] if run is not None else []
        lines = [f"    room = {parts[0]}", *(f"    room += {p}" for p in parts[1:]), "    return room"]
        return self.room_of(title, self.integers, "Integers of one task.", lines)

    def tables(self, listed: Sequence[Axis], run: Axis | None) -> None:
        """The places of each row, of all axes but the one that is run along."""
        at = "integer_scratch"
        if run is not None:
            self.put("single = True  # has no row two places?")
        self.starts: dict[Index, tuple[str, str]] = {}
        self.only: dict[Index, str] = {}
        for axis in listed:
            row = axis.row.name
            words = "runs", "only", "starts", "places"
            runs, only, starts, places = (self.name(sp.Dummy(), f"{w}_{row}") for w in words)
            self.put(f"{runs} = {at}")
            self.put(f"{only} = {runs} + 5 * ({self.most_runs(axis)})")
            self.put(f"{starts} = {only} + {self.size(axis.row)}")
            self.put(f"{places} = {starts} + ({self.size(axis.row)} + 1)")
            self.put(f"many = {self.called[axis.row].format(runs)}")
            listed_places = f"list_places({runs}, many, {self.size(axis.row)}, {only}, {starts}, {places})"
            self.put(listed_places if run is None else f"single = {listed_places} and single")
            self.starts[axis.row], self.only[axis.row] = (starts, places), only
            at = f"{places} + ({self.most_points(axis)})"
        if run is not None:
            self.put(f"runs = {at}")
            self.put(f"many = {self.called[run.row].format('runs')}")
            self.put("length = longest_first(runs, many)")

    # --- tasks -------------------------------------------------------------------------------

    def items(self, outer: Sequence[Index]) -> None:
        """Loops over these indices, shared among tasks; over the last of them a few at a time, without divisions."""
        *first, last = outer
        self.used.add("ceil_div")
        self.put(f"blocks = ceil_div({self.size(last)}, tile.lines)")
        sizes = [*map(self.size, first), "blocks"]
        self.put(f"first, last = share({' * '.join(sizes)}, task, tasks)")
        self.put("for item in range(first, last):", True)
        *parts, block = digits("item", sizes)
        for i, text in zip(first, parts, strict=True):
            self.put(f"{self.names[i]} = {text}")
        self.put(f"block = {block} * tile.lines")
        self.put(f"for {self.names[last]} in range(block, min(block + tile.lines, {self.size(last)})):", True)

    def each_place(self, axes: Sequence[Axis]) -> None:
        for axis in axes:
            starts, places = self.starts[axis.row]
            row = self.names[axis.row]
            at = self.name(sp.Dummy(), f"at_{row}")
            self.put(f"for {at} in range({starts}[{row}], {starts}[{row} + 1]):", True)
            self.put(f"{self.names[axis.column]} = {places}[{at}]")

    def line(self, view: Access, changed: dict[Index, str], moves: dict[Index, str]) -> str:
        at = ", ".join(changed.get(i, self.names[i]) for i in view.indices)
        by = ", ".join(moves.get(i, "0") for i in view.indices)
        comma = "," * (len(view.indices) == 1)
        return f"{self.names[view]}.line(({at}{comma}), ({by}{comma}))"

    def element(self, view: Access, changed: dict[Index, str]) -> str:
        at = ", ".join(changed.get(i, self.names[i]) for i in view.indices)
        return f"{self.names[view]}[{at}]"

    def task(self, title: str, across: Index | None) -> str:
        signature = self.signature_of(
            self.views, self.integers, (), "tile: Tile", "integer_scratch: IntegerScratch"
        )
        return self.as_task(title, signature, self.described(across), f"(integer_scratch={title}_table)")

    def along(self, title: str) -> str:
        """Lines of the last axis."""
        names, taken = dict(self.names), set(self.taken)
        *listed, run = self.c.axes
        room = self.room(f"{title}_table", listed, run)
        self.lines, self.depth = [], 1
        y, x = self.views
        r, q = self.names[run.row], self.names[run.column]
        self.put("lanes = tile.lanes")
        self.tables(listed, run)
        self.used |= {"disjoint", "list_pairs"}
        self.put("single = disjoint(runs, many) and single")
        self.put("# of a run at least a vector long, vectors are stored at once")
        self.put("whole = length if length >= lanes.width else 0")
        self.put("begin, end = (runs[0], runs[0] + whole) if whole > 0 else (0, 0)")
        self.put(f"edge_rows = runs + 5 * ({self.most_runs(run)})")
        self.put(f"edge_places = edge_rows + ({self.most_points(run)})")
        self.put("edges = list_pairs(runs, 1 if whole > 0 else 0, many, edge_rows, edge_places)")
        self.put(f"filled = whole + edges == {self.size(run.row)}")
        outer = [i for i in self.c.target.indices if i != run.row]
        if outer:
            self.items(outer)
        else:
            self.put("for _ in range(1 if task == 0 else 0):", True)
        line = self.depth
        to = self.line(y, {run.row: "begin + start"}, {run.row: "1"})
        source = self.line(x, {run.column: "runs[2] + start"}, {run.column: "1"})

        def stored() -> None:
            """The longest run."""
            self.put("for here in range(0, whole, lanes.width):", True)
            self.put("start = min(here, whole - lanes.width)")
            self.put(f"lanes.write_where({to}, lanes.read({source}), lanes.where(True))")
            self.depth -= 1

        def others(sign: str) -> None:
            """What is in the other runs."""
            self.put("for at in range(edges):", True)
            self.put(f"{r}, {q} = edge_rows[at], edge_places[at]")
            self.put(f"{self.element(y, {})} {sign} {self.element(x, {})}")
            self.depth -= 1

        def empty() -> None:
            """Zeros in a whole line."""
            size = self.size(run.row)
            self.put(f"for start in range(0, {size}, lanes.width):", True)
            nowhere = self.line(y, {run.row: "start"}, {run.row: "1"})
            self.put(f"lanes.write_where({nowhere}, lanes.zero(), lanes.first({size} - start))")
            self.depth -= 1

        def blank() -> None:
            """Zeros where the longest run does not reach."""
            depth = self.depth
            for span in ("begin", f"end, {self.size(run.row)}"):
                self.put(f"for {r} in range({span}):", True)
                self.put(f"{self.element(y, {})} = zero()")
                self.depth = depth

        self.put("if single:", True)
        for axis in listed:
            self.put(f"{self.names[axis.column]} = {self.only[axis.row]}[{self.names[axis.row]}]")
        columns = [self.names[axis.column] for axis in listed]
        if columns:
            least = columns[0] if len(columns) == 1 else f"min({', '.join(columns)})"
            self.put(f"if {least} < 0:  # nothing is copied to this line", True)
            empty()
            self.put("continue")
            self.depth = line + 1
        stored()
        self.put("if not filled:", True)
        blank()
        self.depth -= 1
        others("=")
        self.put("continue")
        self.depth = line
        blank()
        self.put("clear = whole")
        self.each_place(listed)
        depth = self.depth
        self.put("if clear > 0:", True)
        stored()
        self.put("clear = 0")
        self.depth = depth
        self.put("else:", True)
        self.put("for start in range(0, whole // lanes.width * lanes.width, lanes.width):", True)
        self.put(f"lanes.write_where({to}, lanes.read({to}) + lanes.read({source}), lanes.where(True))")
        self.depth = depth + 1
        self.put("for start in range(whole // lanes.width * lanes.width, whole):", True)
        self.put(
            f"{self.element(y, {run.row: 'begin + start'})} += {self.element(x, {run.column: 'runs[2] + start'})}"
        )
        self.depth = depth
        others("+=")
        self.depth = line
        if listed:
            self.put("if clear > 0:  # nothing was", True)
            empty()
        made = f"{room}\n\n{self.task(title, None)}"
        self.names, self.taken = names, taken
        return made

    def over(self, title: str, across: Index) -> str:
        """Lanes over an axis along which nothing moves."""
        names, taken = dict(self.names), set(self.taken)
        room = self.room(f"{title}_table", self.c.axes, None)
        self.lines, self.depth = [], 1
        y, x = self.views
        i, size = self.names[across], self.size(across)
        self.put("lanes = tile.lanes")
        self.tables(self.c.axes, None)
        self.items([j for j in self.c.target.indices if j != across])
        self.put(f"for start in range(0, {size}, lanes.width):", True)
        self.put(f"{i} = max(0, min(start, {size} - lanes.width))")
        self.put("total = lanes.zero()")
        depth = self.depth
        self.each_place(self.c.axes)
        one = {across: "1"}
        self.put(f"total = total + lanes.read({self.line(x, {}, one)})")
        self.depth = depth
        self.put(f"lanes.write_where({self.line(y, {}, one)}, total, lanes.where(True))")
        made = f"{room}\n\n{self.task(title, across)}"
        self.names, self.taken = names, taken
        return made


class _ListWriter(_Writer):
    """The body of a function that lists the runs of one axis."""

    def __init__(self, nest: Nest, axis: Axis) -> None:
        super().__init__(nest)
        self.axis = axis

    def body_of(self) -> tuple[list[sp.Symbol], list[str]]:
        axis = self.axis
        self.name(axis.row, "r")
        self.name(axis.column, "q")
        laps = [s.index for run in axis.runs for s in run.before if isinstance(s, Loop)]
        for k, i in enumerate(laps):
            self.name(i, f"lap{k or ''}")
        found: dict[sp.Symbol, None] = {extent(axis.row): None, extent(axis.column): None}
        self.name(extent(axis.row), "R")
        self.name(extent(axis.column), "Q")
        for run in axis.runs:
            parts = [e for s in run.before for e in expressions(s)]
            for e in (*parts, *run.low, *run.high, run.row, run.column):
                for s in sorted(e.free_symbols - {axis.row, axis.column, *laps}, key=_by_number):
                    if s not in found:
                        found[s] = None
                        self.name(s, f"LAP{len(found)}" if s in map(extent, laps) else f"z{len(found)}")
        self.put("many = 0")
        for run in axis.runs:
            self.depth = 1
            self.run(run)
        self.depth = 1
        self.put("return many")
        return list(found), self.lines

    def run(self, run: Run) -> None:
        for s in run.before:
            self.step(s)
        self.put(f"low, end = {self.most(run.low, 'max')}, {self.most(run.high, 'min')}")
        down, along = (sp.expand(e).coeff(run.index) for e in (run.row, run.column))
        turned = down == -1
        first = sp.Symbol("low", integer=True) if not turned else sp.Symbol("end", integer=True) - 1
        self.names |= {sp.Symbol(word, integer=True): word for word in ("low", "end")}
        row, place = (self.integer(sp.expand(e.xreplace({run.index: first}))) for e in (run.row, run.column))
        by = (1, -along) if turned else (down, along)
        self.put(f"many = add_run(runs, many, {row}, {by[0]}, {place}, {by[1]}, end - low)")


def _by_number(s: sp.Basic) -> tuple[int, str]:
    return len(str(s)), str(s)


__all__ = ["runs_source"]
