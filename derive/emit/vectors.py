"""Formulas lane by lane: what a read, a condition or a formula is as operations on vectors.

What differs between lanes is a vector or a mask; what all lanes share is worked out once, as a scalar.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import sympy as sp

from derive.emit.kernel import _Writer
from derive.emit.printing import UNARY, shifts_first
from derive.language import Index, chosen
from derive.lower.lanes import Lanes
from derive.lower.loops import Assign, Nest, Test
from derive.program import Access, Affine, IntegerAccess, Relation, affine

MOST_POWER = 4  # of an exponential, by multiplications
READ = "{read}"  # stands in a test for what it reads


class NoVector(Exception):
    """A formula that has no form in lanes."""


@dataclass
class Block:
    """What is known while the body of one way is written."""

    moves: dict[Index, sp.Expr]  # what an index grows by from lane to lane
    lanes: Lanes | None = None  # the way, if loops are turned into lanes
    plane: Index | None = None  # of which a few are taken together
    plane_name: str = ""
    lines: str = "tile.lines"  # how many
    beside: str = (
        ""  # where several vectors follow each other along the lanes: the name of each one's first lane
    )
    vectors: set[sp.Basic] = field(default_factory=set)  # locals that are vectors
    guards: list[Assign] = field(default_factory=list)  # each lane's own 0 <= index < size
    tests: list[Test] = field(default_factory=list)  # other masks
    bounds: dict[Index, tuple[str, str]] = field(default_factory=dict)  # of loops, worked out beforehand
    starts: dict[Index, tuple[str, str]] = field(default_factory=dict)  # first and step of residue loops
    falling: dict[Index, bool | None] = field(default_factory=dict)  # does a follower fall from tap to tap?
    classes: dict[Index, tuple[str, str, str]] = field(
        default_factory=dict
    )  # first, step and how many in a class
    followers: dict[Index, tuple[str, str, str]] = field(
        default_factory=dict
    )  # start, by a tap, how many taps

    @property
    def way(self) -> Lanes:
        assert self.lanes is not None, "windows are no loops in lanes"
        return self.lanes


class VectorWriter(_Writer):
    """Writes formulas for a way to run an equation in lanes."""

    b: Block

    def __init__(self, nest: Nest, clears: bool = False) -> None:
        super().__init__(nest, clears=clears)
        self.eq = nest.equation
        self.compared = False  # is what is written one side of a comparison?

    def moving(self, e: sp.Basic) -> bool:
        return bool(e.free_symbols & (self.b.moves.keys() | self.b.vectors))

    def test(self, value: sp.Expr, kind: str) -> tuple[Access | None, str]:
        """A mask: value = 0, or value >= 0, lane by lane."""
        form = affine(value)
        if form is None or kind == "range":
            raise NoVector
        reads = [r for r in form.reads if self.moving(r)]
        if not reads:
            text = self.ramp(form)
            if kind == "nonneg":
                return None, f"{text} >= lanes.integers(0)"
            return None, self.call("equal", text, "lanes.integers(0)")
        (read,) = reads[:1]
        sign = form.coefficient(read)
        if len(reads) != 1 or sign not in (1, -1):
            raise NoVector
        rest = self.ramp(form.without(read).scaled(-sign))
        if kind == "zero":
            return read, self.call("equal", READ, rest)
        return read, f"{READ} {'>=' if sign == 1 else '<='} {rest}"

    def ramp(self, form: Affine) -> str:
        """An affine form as integers, one a lane."""
        if any(self.moving(r) for r in form.reads):
            raise NoVector
        by = sp.expand(sum((c * self.b.moves.get(a, sp.S.Zero) for a, c in form.terms), sp.S.Zero))
        if by == 0:
            return f"lanes.integers({self.integer(form.expr)})"
        return f"lanes.ramp({self.integer(form.expr)}, {self.integer(by)})"

    def narrow_ramp(self, form: Affine) -> str:
        """As ramp, of 32 bits: `magnitude` says when they hold it."""
        if form.reads:
            raise NoVector  # it may be of any size
        text = self.ramp(form)
        return text.replace("lanes.ramp", "lanes.narrow_ramp").replace(
            "lanes.integers", "lanes.narrow_integers"
        )

    # --- reading -----------------------------------------------------------------------------

    def line(self, a: Access) -> str:
        comma = "," * (len(a.indices) == 1)
        at = ", ".join(self.names[i] for i in a.indices)
        moves = ", ".join(self.integer(self.b.moves.get(i, sp.S.Zero)) for i in a.indices)
        return f"{self.names[a]}.line(({at}{comma}), ({moves}{comma}))"

    def read(self, a: Access, mask: str) -> str:
        return f"lanes.read_where({self.line(a)}, {mask})" if mask else f"lanes.read({self.line(a)})"

    def reads(self, body: sp.Expr, mask: str) -> dict[sp.Basic, sp.Basic]:
        """Each access that differs between lanes read into a local; what stands for it in the body."""
        found: dict[sp.Basic, sp.Basic] = {}
        for a in sorted(body.atoms(Access), key=str):
            if not self.moving(a):
                continue
            if isinstance(a, IntegerAccess):
                raise NoVector  # an integer may be larger than a float of the arrays holds
            mark = sp.Dummy(a.tensor, real=True)
            name = self.name(mark, f"{self.names[a]}_lanes")
            self.put(f"{name} = {self.read(a, mask)}")
            self.b.vectors.add(mark)
            found[a] = mark
        return found

    def lane_body(self, reads: dict[sp.Basic, sp.Basic], body: sp.Expr) -> str:
        """The body lane by lane, repeated parts computed once."""
        body = self.one_exponential(body.xreplace(reads))
        if not body.has(sp.Piecewise, chosen) and sp.count_ops(body) > 6:
            shared, (body,) = sp.cse(
                body, symbols=(sp.Dummy(f"v{k}", real=True) for k in range(99)), order="canonical"
            )
            compares = body.has(
                sp.core.relational.Relational
            )  # with what may be a repeated part, rounded as vectors are
            for symbol, part in shared:
                lanes = self.moving(part) or (compares and not part.is_integer)
                text = self.rounded(self.vector, part, compares) if lanes else self.scalar(part)
                if lanes:
                    self.b.vectors.add(symbol)
                self.put(f"{self.name(symbol, symbol.name)} = {text}")
        return self.vector(body)

    # --- formulas ----------------------------------------------------------------------------

    def vector(self, e: sp.Expr) -> str:
        """A formula lane by lane; what all lanes share is worked out once, unless it is `compared`."""
        if not self.moving(e) and (not self.compared or isinstance(e, Access) or not e.args):
            return self.filled(e)
        if e in self.b.vectors:
            return self.names[e]
        plain = not (e.free_symbols & self.b.vectors or e.has(sp.Function))
        if e.is_integer and plain and (form := affine(e)) is not None:
            return f"lanes.real({self.ramp(form)})"
        name = type(e).__name__.lower()
        if name in UNARY:
            return self.call(name, self.vector(e.args[0]))
        method = getattr(self, f"_{name}", None)
        if method is None:
            raise NoVector
        return str(method(e))

    def one_exponential(self, body: sp.Expr) -> sp.Expr:
        """The body with powers of exp(u) for exp(2u), exp(3u), and what there is several times of in a local."""
        compared = [side for r in body.atoms(sp.core.relational.Relational) for side in r.args]
        every = [
            e for e in body.atoms(sp.exp) if self.moving(e) and not any(side.has(e) for side in compared)
        ]
        for base in sorted(every, key=lambda e: (sp.count_ops(e), str(e))):
            times = {e: sp.cancel(e.exp / base.exp) for e in every}
            powers = {e: n for e, n in times.items() if n.is_Integer and 1 <= n <= MOST_POWER}
            if len(powers) > 1:
                mark = sp.Dummy("power", real=True)
                name = self.name(mark, "power")
                self.put(f"{name} = {self.vector(base)}")
                self.b.vectors.add(mark)
                return self.one_exponential(body.xreplace({e: mark**n for e, n in powers.items()}))
        return body

    def filled(self, e: sp.Expr) -> str:
        """What all lanes share; divided as vectors are, for no lane may have the point, and the divisor be 0."""
        divisors = (p.base for p in e.atoms(sp.Pow) if p.exp.is_negative)
        if any(not (d.is_number or d.is_positive) for d in divisors) and not self.compared:
            return self.rounded(self.vector, e, True)
        text = self.scalar(e)
        return f"lanes.fill{text if text[0] == '(' and one_call(text) else f'({text})'}"

    def part(self, e: sp.Expr) -> str:
        return closed(self.vector(e))

    def local(self, e: sp.Expr) -> str:
        """The name of a local that holds it."""
        text = self.vector(e)
        if text.isidentifier():
            return text
        mark = sp.Dummy("u", real=True)
        name = self.name(mark, "u")
        self.put(f"{name} = {text}")
        return name

    def call(self, name: str, *args: str) -> str:
        self.used.add(name)
        return f"{name}({', '.join(args)})"

    def _add(self, e: sp.Expr) -> str:
        terms = sorted(e.as_ordered_terms(), key=lambda t: bool(t.could_extract_minus_sign()))
        terms = shifts_first(terms)
        text = self.part(terms[0])
        for t in terms[1:]:
            if t.could_extract_minus_sign():
                text += f" - {self.part(-t)}"
            else:
                text += f" + {self.part(t)}"
        return text

    def _mul(self, e: sp.Expr) -> str:
        if e.could_extract_minus_sign() and not (-e).could_extract_minus_sign():
            return f"-{self.part(-e)}"
        over, under = [], []
        top, bottom = sp.S.One, sp.S.One  # what all lanes share
        for f in e.as_ordered_factors():
            inverse = f.is_Pow and f.exp.is_number and f.exp.is_negative
            if not self.moving(f) and not self.compared:
                top, bottom = (top, bottom / f) if inverse else (top * f, bottom)
            elif inverse:
                under.append(self.part(sp.Pow(f.base, -f.exp)))
            else:
                over.append(self.part(f))
        if top != 1 or not over:
            over.insert(0, closed(self.filled(top)))
        if bottom != 1:
            under.append(closed(self.filled(bottom)))
        return " / ".join([" * ".join(over), *under])

    def _pow(self, e: sp.Expr) -> str:
        base, power = e.base, e.exp
        simple = power.is_number and (power.is_Integer or 2 * power in (1, -1))
        if simple and power.is_negative:
            return f"lanes.fill({self.call('one')}) / {self.part(sp.Pow(base, -power))}"
        if power == sp.S.Half:
            return self.call("sqrt", self.vector(base))
        if power.is_Integer and power <= 4:
            return " * ".join([self.local(base)] * int(power))
        return self.call("power", self.vector(base), self.vector(power))

    def _piecewise(self, e: sp.Expr) -> str:
        text = ""
        *some, (default, condition) = e.args
        if condition != sp.true:
            raise NoVector
        if not any(self.moving(c) for _, c in some):
            for value, c in some:
                text += f"{self.vector(value)} if {self.condition(c)} else "
            return f"({text}{self.vector(default)})"
        text = self.vector(default)
        for value, c in reversed(some):
            text = self.call("select", self.mask(c), self.vector(value), text)
        return text

    def condition(self, c: sp.Basic) -> str:
        text = self.scalar(c)
        return text

    def mask(self, c: sp.Basic) -> str:
        """A condition lane by lane."""
        if not self.moving(c):
            return f"lanes.where({self.condition(c)})"
        if isinstance(c, (sp.And, sp.Or)):
            sign = " & " if isinstance(c, sp.And) else " | "
            return sign.join(f"({self.mask(a)})" for a in sorted(c.args, key=str))
        if isinstance(c, sp.Not):
            return f"~({self.mask(c.args[0])})"
        signs = {sp.Lt: "<", sp.Le: "<=", sp.Gt: ">", sp.Ge: ">="}
        if not isinstance(c, sp.core.relational.Relational):
            raise NoVector
        left, right = self.side(c.lhs, c), self.side(c.rhs, c)
        if c.func in (sp.Eq, sp.Ne):
            return self.call("equal" if c.func is sp.Eq else "unequal", left, right)
        return f"{left} {signs[c.func]} {right}"

    def side(self, e: sp.Expr, c: sp.Basic) -> str:
        """One side of a comparison, rounded as the other is: equal formulas of equal numbers must be equal."""
        return self.rounded(lambda side: self.compared_side(side, c), e, True)

    def rounded(self, write: Callable[[sp.Expr], str], e: sp.Expr, alike: bool) -> str:
        """A formula written with all of its operations on vectors, if so asked."""
        before, self.compared = self.compared, self.compared or alike
        try:
            return write(e)
        finally:
            self.compared = before

    def compared_side(self, e: sp.Expr, c: sp.Basic) -> str:
        integers = all(a.is_integer for a in c.args)
        if integers and (form := affine(e)) is not None and not form.reads:
            return self.ramp(form)
        if integers and any(affine(a) is not None and not affine(a).reads for a in c.args):  # type: ignore[union-attr]
            raise NoVector
        return self.part(e)

    def _relu(self, e: sp.Expr) -> str:
        u = self.local(e.args[0])
        return self.call("select", f"{u} <= lanes.zero()", "lanes.zero()", u)

    def _step(self, e: sp.Expr) -> str:
        u = self.local(e.args[0])
        return self.call("select", f"{u} > lanes.zero()", f"lanes.fill({self.call('one')})", "lanes.zero()")

    def _maximum(self, e: sp.Expr) -> str:
        return self.call("maximum", *map(self.vector, e.args))

    def _minimum(self, e: sp.Expr) -> str:
        return self.call("minimum", *map(self.vector, e.args))

    def _finite(self, e: sp.Expr) -> str:
        u = self.local(e.args[0])
        low, high = (f"lanes.fill({self.call(f)})" for f in ("lowest", "highest"))
        return self.call("select", f"({low} < {u}) & ({u} < {high})", u, "lanes.zero()")

    def _abs(self, e: sp.Expr) -> str:
        return self.call("absolute", self.vector(e.args[0]))

    def _sign(self, e: sp.Expr) -> str:
        u, one = self.local(e.args[0]), f"lanes.fill({self.call('one')})"
        zero = self.call("select", self.call("equal", u, "lanes.zero()"), "lanes.zero()", u)
        below = self.call("select", f"{u} < lanes.zero()", f"-{one}", zero)
        return self.call("select", f"{u} > lanes.zero()", one, below)

    def _indicator(self, e: sp.Expr) -> str:
        return self.call("select", self.mask(e.args[0]), f"lanes.fill({self.call('one')})", "lanes.zero()")

    def _chosen(self, e: sp.Expr) -> str:
        return self.call("select", self.mask(e.args[0]), self.vector(e.args[1]), "lanes.zero()")


def magnitude(form: Affine, relation: Relation) -> sp.Expr:
    """A bound of the form's absolute value over the ranges of its indices."""

    def size(c: sp.Expr) -> sp.Expr:
        if c.is_nonnegative:
            return c
        return sp.expand(-c) if (-c).is_nonnegative else sp.Max(c, -c)

    return sp.Add(
        size(form.constant), *(relation.size(i) * size(c) for i, c in form.terms if isinstance(i, Index))
    )


def closed(text: str) -> str:
    """A text that may stand beside any operator."""
    simple = text.isidentifier() or (text.endswith(")") and one_call(text))
    return text if simple else f"({text})"


def one_call(text: str) -> bool:
    """Is it name(...), or (...), and nothing after?"""
    depth = 0
    for k, ch in enumerate(text):
        depth += (ch == "(") - (ch == ")")
        if depth == 0 and (ch == ")" or not (ch.isalnum() or ch in "_.")):
            return k == len(text) - 1
    return True


def fused(value: str, acc: str) -> str:
    """acc + a * b as one operation, where the value is such a product."""
    depth, stars = 0, []
    for k, ch in enumerate(value):
        depth += (ch == "(") - (ch == ")")
        if depth == 0 and ch in "+-/":
            return ""
        if depth == 0 and ch == "*":
            stars.append(k)
    if not stars:
        return ""
    parts = [value[: stars[-1]].strip(), value[stars[-1] + 1 :].strip()]
    return f"fma({', '.join(p[1:-1] if p[0] == '(' and one_call(p) else p for p in parts)}, {acc})"
