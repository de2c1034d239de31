"""A nest as the source of one task: a plain function over views, integers and reals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce

import sympy as sp

from derive.emit.names import RESERVED
from derive.emit.printing import IntegerPrinter, ScalarPrinter
from derive.errors import SpecError
from derive.language import Real, chosen
from derive.lower.contraction import Contraction
from derive.lower.loops import Assign, Divides, Loop, Nest, ResidueLoop, Step, Test
from derive.program import Access, IntegerAccess

WIDTH = 116
MOST_AXES = 12  # kernels.runtime has Real0 to Real12


@dataclass
class TaskSource:
    """The text of a task and what its arguments stand for, in order."""

    name: str
    text: str
    views: tuple[Access, ...]
    integers: tuple[sp.Symbol, ...]
    reals: tuple[sp.Symbol, ...]
    imports: frozenset[str]
    nest: Nest
    lowering: str = ""  # how it runs, for the report
    adds: bool = False  # is it told whether to add to its target or to overwrite it?
    contraction: Contraction | None = None

    def describe(self) -> str:
        return self.lowering or self.nest.describe()


def needed(nest: Nest) -> tuple[Step, ...]:
    """The inner steps without assignments that nothing reads: an index that only the relation mentions."""
    eq, kept = nest.equation, list[Step]()
    read: set[sp.Basic] = set(eq.target.free_symbols) | eq.body.free_symbols
    read |= eq.at.expr.free_symbols if eq.at is not None else set()
    for s in reversed(nest.inner):
        if isinstance(s, Assign) and s.size is None and s.index not in read:
            continue
        kept.append(s)
        for part in s.__slots__:
            value = getattr(s, part)
            for e in value if isinstance(value, tuple) else (value,):
                read |= e.free_symbols if isinstance(e, sp.Basic) and part != "index" else set()
    return tuple(reversed(kept))


@dataclass
class _Writer:
    nest: Nest
    names: dict[sp.Basic, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=lambda: set(RESERVED))
    used: set[str] = field(default_factory=lambda: {"task"})
    lines: list[str] = field(default_factory=list)
    depth: int = 1
    clears: bool = False  # a scatter too is told whether to add, and else clears its planes first

    @property
    def adds(self) -> bool:
        sums = self.nest.equation.reduce == "sum" and (self.clears or self.nest.strategy == "gather")
        return sums and self.nest.adds

    def name(self, what: sp.Basic, want: str) -> str:
        made, n = want, 1
        while made in self.taken:
            made, n = f"{want}_{n}" if n > 1 else f"{want}_", n + 1
        self.taken.add(made)
        self.names[what] = made
        return made

    def told(self, integers: tuple[sp.Symbol, ...], wanted: Iterable[sp.Symbol]) -> tuple[sp.Symbol, ...]:
        """The integers of the plain loops, and what a way asks for beside them, each with a name."""
        missing = [s for s in wanted if s not in integers]
        for s in missing:
            self.name(s, s.name)
        return (*integers, *missing)

    def put(self, line: str, deeper: bool = False) -> None:
        self.lines.append("    " * self.depth + line)
        self.depth += deeper

    def bounded_product(self, factors: Sequence[str]) -> str:
        """The text of a product that is to be compared with a bound: extents and strides may be of any size."""
        kept = [f[1:-1] if f.startswith("(") and _matched(f) else f for f in factors if f != "1"] or ["1"]
        self.used |= {"bounded"} if len(kept) > 1 else set()
        return reduce(lambda a, b: f"bounded({a}, {b})", kept)

    def bounded_sum(self, e: sp.Expr) -> str:
        """The same of a sum of a few products."""
        terms = [t.as_ordered_factors() for t in e.as_ordered_terms()]
        return " + ".join(self.bounded_product([self.inner(f) for f in term]) for term in terms)

    def integer(self, e: sp.Expr) -> str:
        text: str = IntegerPrinter(self.names)._print(e)
        return text[1:-1] if text.startswith("(") and text.endswith(")") and _matched(text) else text

    def inner(self, e: sp.Expr) -> str:
        return str(IntegerPrinter(self.names)._print(e))

    def scalar(self, e: sp.Expr) -> str:
        return ScalarPrinter(self.names, self.used).top(e)

    # --- steps -----------------------------------------------------------------------------

    def most(self, bounds: Sequence[sp.Expr], f: str) -> str:
        texts = list(dict.fromkeys(self.integer(b) for b in bounds))
        return texts[0] if len(texts) == 1 else f"{f}({', '.join(texts)})"

    def span(self, low: Sequence[sp.Expr], high: Sequence[sp.Expr]) -> str:
        lo, hi = self.most(low, "max"), self.most(high, "min")
        return f"range({hi})" if lo == "0" else f"range({lo}, {hi})"

    def step(self, s: Step) -> None:
        match s:
            case Loop(index, low, high):
                self.put(f"for {self.names[index]} in {self.span(low, high)}:", True)
            case ResidueLoop(index, modulus, factor, total, low, high):
                i = self.names[index]
                first, stride, start = (self.name(sp.Dummy(), f"{w}_{i}") for w in ("first", "step", "low"))
                if factor.could_extract_minus_sign():
                    factor, total = -factor, sp.expand(-total)
                self.used.add("residue")
                self.put(
                    f"{first}, {stride} = residue({', '.join(map(self.integer, (modulus, factor, total)))})"
                )
                self.put(f"if {stride} > 0:", True)
                self.put(f"{start} = {self.most(low, 'max')}")
                self.put(
                    f"for {i} in range({start} + ({first} - {start}) % {stride}, "
                    f"{self.most(high, 'min')}, {stride}):",
                    True,
                )
            case Assign(index, value, size):
                self.put(f"{self.names[index]} = {self.integer(value)}")
                if size is not None:
                    self.put(f"if 0 <= {self.names[index]} < {self.integer(size)}:", True)
            case Divides(divisor, value):
                self.put(f"if ({self.integer(value)}) % {self.inner(divisor)} == 0:", True)
            case Test(value, kind, bound):
                text = self.integer(value)
                self.put(
                    {
                        "zero": f"if {text} == 0:",
                        "nonneg": f"if {text} >= 0:",
                        "range": f"if 0 <= {text} < {self.integer(bound)}:",
                    }[kind],
                    True,
                )

    # --- the whole ---------------------------------------------------------------------------

    def at(self, a: Access) -> str:
        return self.inner(a)

    def write(self, name: str) -> TaskSource:
        views, integers, reals = self.named()
        self.body()
        return self.closed(name, views, integers, reals)

    def named(self) -> tuple[tuple[Access, ...], tuple[sp.Symbol, ...], tuple[sp.Symbol, ...]]:
        """Views, integers and reals of the task, each with a name."""
        eq = self.nest.equation
        views = (eq.target, *([self.nest.value] if self.nest.value is not None else []), *eq.reads)
        for v in views:
            if len(v.indices) > MOST_AXES:
                raise SpecError(
                    f"`{v.tensor}` would have {len(v.indices)} axes; a kernel's views have at most {MOST_AXES}",
                    equation=str(eq),
                )
        for v in views:
            self.name(sp.Symbol(f"view {v.tensor}"), v.tensor)
            self.names[v] = self.names[sp.Symbol(f"view {v.tensor}")]
        for i in eq.relation.indices:
            self.name(i, i.name)
        integers, reals = self.symbols()
        for s in (*integers, *reals):
            self.name(s, s.name)
        return views, integers, reals

    def closed(
        self,
        name: str,
        views: tuple[Access, ...],
        integers: tuple[sp.Symbol, ...],
        reals: tuple[sp.Symbol, ...],
    ) -> TaskSource:
        """The lines as a task."""
        nest = self.nest
        signature = self.signature_of(views, integers, reals)
        kinds = {w.split(": ")[1] for w in signature} - {"int", "float"}
        head = _wrapped(f"def {name}(", signature, ") -> None:")
        doc = [f'    """{self.shown()}', "", f"    {nest.describe()}", '    """']
        text = "\n".join(["@task", head, *doc, *self.lines]) + "\n"
        return TaskSource(
            name, text, views, integers, reals, frozenset(self.used | kinds), nest, adds=self.adds
        )

    def as_task(self, title: str, signature: Sequence[str], described: str, rooms: str = "") -> str:
        """The lines as one of several tasks; `rooms` are the functions that say how much room it takes."""
        head = _wrapped(f"def {title}(", signature, ") -> None:")
        doc = f'    """{described[0].upper()}{described[1:]}."""'
        return "\n".join([f"@task{rooms}", head, doc, *map(_called, self.lines)]) + "\n"

    def room_of(self, title: str, integers: Sequence[sp.Symbol], doc: str, lines: Sequence[str]) -> str:
        """A function of the integers that tells how much room a task takes."""
        given = ["tile: Tile", *(f"{self.names[i]}: int" for i in integers)]
        return "\n".join([_wrapped(f"def {title}(", given, ") -> int:"), f'    """{doc}"""', *lines]) + "\n"

    def shown(self) -> str:
        """The formula, for a docstring."""
        value = f"\n    and {self.nest.value}, what is there" if self.nest.value is not None else ""
        return f"{_formula(self.nest.equation)}{value}"

    def signature_of(
        self, views: Sequence[Access], integers: Sequence[sp.Symbol], reals: Sequence[sp.Symbol], *more: str
    ) -> list[str]:
        """A task's parameters; `more` stand before those that say which share it does."""
        return [*self.bound(views, integers, reals), *more, "task: int", "tasks: int"]

    def bound(
        self, views: Sequence[Access], integers: Sequence[sp.Symbol], reals: Sequence[sp.Symbol]
    ) -> list[str]:
        """Those that a phase binds, and whether to add."""
        signature = [
            f"{self.names[v]}: {'Integer' if isinstance(v, IntegerAccess) else 'Real'}{len(v.indices)}"
            for v in views
        ]
        signature += [f"{self.names[s]}: int" for s in integers] + [f"{self.names[s]}: float" for s in reals]
        return [*signature, *["add: int"] * self.adds]

    def symbols(self) -> tuple[tuple[sp.Symbol, ...], tuple[sp.Symbol, ...]]:
        """Everything the text will mention, extents first in the order of the ranges."""
        eq, nest = self.nest.equation, self.nest
        found: set[sp.Symbol] = set(eq.body.free_symbols) | (eq.at.expr.free_symbols if eq.at else set())
        for s in (*nest.outer, *nest.target, *nest.inner):
            for part in s.__slots__:
                e = getattr(s, part)
                for x in e if isinstance(e, tuple) else (e,):
                    found |= x.free_symbols if isinstance(x, sp.Basic) else set()
        if self.clears and nest.strategy == "scatter":
            found |= {t for i in eq.free for t in eq.relation.size(i).free_symbols}
        found -= set(eq.relation.indices)
        sizes = [r.size for r in eq.relation.ranges if r.size in found]
        rest = sorted((s for s in found if s not in sizes and not isinstance(s, Real)), key=str)
        return (*sizes, *rest), tuple(sorted((s for s in found if isinstance(s, Real)), key=str))

    def body(self) -> None:
        nest = self.nest
        self.used.add("share")
        if not nest.outer:
            self.put("if task == 0:", True)
        elif len(nest.outer) == 1:
            (only,) = nest.outer
            self.put(f"first, last = share({self.integer(only.high[0])}, task, tasks)")
            self.put(f"for {self.names[only.index]} in range(first, last):", True)
        else:
            sizes = [self.integer(loop.high[0]) for loop in nest.outer]
            self.put(f"first, last = share({' * '.join(sizes)}, task, tasks)")
            self.put("for item in range(first, last):", True)
            for loop, text in zip(nest.outer, digits("item", sizes), strict=True):
                self.put(f"{self.names[loop.index]} = {text}")
        for loop in nest.target:
            self.step(loop)
        (self.gathered if nest.strategy == "gather" else self.scattered)()

    def scattered(self) -> None:
        eq, depth = self.nest.equation, self.depth
        if self.clears:
            self.used.add("zero")
            if self.adds:
                self.put("if add == 0:", True)
            planes = {loop.index for loop in self.nest.outer}
            for i in eq.free:
                if i not in planes:
                    self.put(f"for {self.names[i]} in range({self.integer(eq.relation.size(i))}):", True)
            self.put(f"{self.at(eq.target)} = zero()")
            self.depth = depth
        for s in needed(self.nest):
            self.step(s)
        self.put(f"{self.at(eq.target)} += {self.expression(eq.body)}")

    def expression(self, body: sp.Expr) -> str:
        """The body, repeated parts computed once; with a branch in it, as it stands."""
        if not body.has(sp.Piecewise, chosen) and sp.count_ops(body) > 6:
            shared, (body,) = sp.cse(
                body, symbols=(sp.Dummy(f"v{k}", real=True) for k in range(99)), order="canonical"
            )
            for symbol, part in shared:
                text = self.scalar(part)
                self.put(f"{self.name(symbol, symbol.name)} = {text}")
        return self.scalar(body)

    def gathered(self) -> None:
        eq, inner = self.nest.equation, needed(self.nest)
        out, depth = self.at(eq.target), self.depth
        start = {
            "sum": "zero",
            "prod": "one",
            "max": "lowest",
            "min": "highest",
            "argmax": "lowest",
            "argmin": "highest",
        }[eq.reduce]
        if eq.reduce == "sum" and not inner:
            self.put(f"total = {self.expression(eq.body)}")
            self.finish(out, "total")
            return
        factor, body = self.split(eq.body) if eq.reduce == "sum" else (sp.S.One, eq.body)
        acc = {"sum": "total", "prod": "total"}.get(eq.reduce, "best")
        self.used.add(start)
        self.put(f"{acc} = {start}()")
        if eq.reduce.startswith("arg"):
            self.put("place, found = -1, 0")
        times = counted(self.nest) if eq.reduce == "sum" else None
        for s in inner[:-1] if times is not None else inner:
            self.step(s)
        if times is not None:
            self.used.add("real")
            low = self.bracketed(times.low)
            how_many = self.most(times.high, "min") + (f" - {low}" if low != "0" else "")
            how_many = f"real(max(0, {how_many}))"
            self.put(f"total += {how_many if body == 1 else f'{how_many} * ({self.expression(body)})'}")
        elif eq.reduce in ("sum", "prod"):
            self.put(f"total {'+' if eq.reduce == 'sum' else '*'}= {self.expression(body)}")
        else:
            better = {
                ("max", "first"): ">",
                ("max", "last"): ">=",
                ("min", "first"): "<",
                ("min", "last"): "<=",
            }
            kind = eq.reduce.removeprefix("arg")
            op = better[kind, eq.ties if eq.ties == "last" and eq.reduce.startswith("arg") else "first"]
            self.put(f"value = {self.expression(body)}")
            known = "found == 0 or " if eq.reduce.startswith("arg") else ""
            self.put(f"if {known}value {op} best or value != value:", True)
            self.put("best = value")
            if eq.at is not None:
                self.put(f"place, found = {self.integer(eq.at.expr)}, 1")
        self.depth = depth
        if eq.at is not None:
            self.put(f"{out} = place")
            if self.nest.value is not None:
                self.put(f"{self.at(self.nest.value)} = best")
        elif eq.reduce == "sum":
            if factor == -1:
                self.put("total = -total")
            elif factor != 1:
                mark = sp.Symbol("total", real=True)
                self.names[mark] = "total"
                whole = _polynomial(factor)
                if not whole:  # a sum over nothing is 0, whatever would multiply it
                    self.used.add("zero")
                    self.put("if total != zero():", True)
                self.put(f"total = {self.scalar(factor * mark)}")
                self.depth -= not whole
            self.finish(out, "total")
        else:
            self.put(f"{out} = {acc}")

    def bracketed(self, bounds: Sequence[sp.Expr]) -> str:
        text = self.most(bounds, "max")
        return text if text.isidentifier() or text.isdigit() or text.startswith("max(") else f"({text})"

    def finish(self, out: str, value: str) -> None:
        if self.adds:
            self.put("if add != 0:", True)
            self.put(f"{value} += {out}")
            self.depth -= 1
        self.put(f"{out} = {value}")

    def split(self, body: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
        """Factors that no inner index touches leave the loop."""
        free = set(self.nest.equation.free)
        inner = set(self.nest.equation.relation.indices) - free
        outside, inside = sp.S.One, sp.S.One
        for f in sp.Mul.make_args(body):
            if f.free_symbols & inner or any(set(a.indices) & inner for a in f.atoms(Access)):
                inside *= f
            else:
                outside *= f
        return outside, inside


def counted(nest: Nest) -> Loop | None:
    """The innermost loop of a count, each of whose turns would add the same number.

    Of nothing else: no turns add 0, and 0 times what is read may be something else.
    """
    inner = needed(nest)
    return inner[-1] if inner and isinstance(inner[-1], Loop) and nest.equation.body.is_number else None


def _polynomial(factor: sp.Expr) -> bool:
    """Finite for finite arguments: sums, products and natural powers of reads and numbers."""
    if isinstance(factor, Access) or factor.is_Symbol or factor.is_Rational:
        return True
    if factor.is_Pow and factor.exp.is_Integer:
        return bool(factor.exp > 0) and _polynomial(factor.base)
    return (factor.is_Add or factor.is_Mul) and all(_polynomial(a) for a in factor.args)


def digits(number: str, sizes: Sequence[str]) -> list[str]:
    """The digits of a number in a mixed radix, as texts; the last goes fastest, the first has no end."""
    found = []
    for k, size in enumerate(sizes):
        below = " * ".join(sizes[k + 1 :])
        below = f"({below})" if len(sizes) - k > 2 else below
        found.append(number + (f" // {below}" if below else "") + (f" % {size}" if k else ""))
    return found


def _matched(text: str) -> bool:
    """Does the first parenthesis close at the very end?"""
    depth = 0
    for k, ch in enumerate(text):
        depth += (ch == "(") - (ch == ")")
        if depth == 0:
            return k == len(text) - 1
    return False


def _called(line: str, assigned: bool = False) -> str:
    """A long call wrapped at its arguments; one on the right of an assignment only if `assigned`."""
    before = line.split("(")[0]
    if len(line) <= WIDTH or before == line or before.lstrip().startswith("#"):
        return line
    if "= " in before and not assigned:
        return line
    return _wrapped(
        f"{before}(", line[len(before) + 1 :].split(", "), "", len(before) - len(before.lstrip()) + 4
    )


def _wrapped(head: str, parts: Sequence[str], tail: str, indent: int = 8) -> str:
    lines, line = [], head
    for k, p in enumerate(parts):
        piece = p + (", " if k < len(parts) - 1 else "")
        if len(line) + len(piece.rstrip()) + (len(tail) if k == len(parts) - 1 else 0) > WIDTH:
            lines.append(line.rstrip())
            line = " " * indent
        line += piece
    return "\n".join([*lines, line + tail])


def _formula(eq: object) -> str:
    text = str(eq).replace("\\", "")
    if len(text) < 100:
        return text
    head, _, tail = text.partition("   {")
    return f"{head}\n    {{{tail}" if tail else head


def task_source(nest: Nest, name: str) -> TaskSource:
    return _Writer(nest, clears=True).write(name)
