"""Integer formulas of unknown integers, as emitted source computes with them: floor division and modulo included.

A formula is an int, a bool, or a `Term` of an operation and its operands. Constants fold as terms are made, so that a
term in which strides stand for numbers is one without them. `evaluate` says what a term comes to at given integers
(it is what ties a proof to a brute-force count), `derive.verify.solver` translates terms for z3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import product
from typing import ClassVar
from weakref import WeakValueDictionary


class Term:
    """An operation and its operands. There is one object for each term, so that equal is identical and hashing is cheap.

    "var" (name,), "read" (tensor, index, ...), "residue" (which, s, d, m), + - * // %, ite, < <= == and or not
    """

    __slots__ = ("__weakref__", "args", "op")
    _made: ClassVar[WeakValueDictionary[tuple[object, ...], Term]] = WeakValueDictionary()
    op: str
    args: tuple[Formula | str, ...]

    def __new__(cls, op: str, args: tuple[Formula | str, ...]) -> Term:
        key = (op, args)
        made = cls._made.get(key)
        if made is None:
            made = super().__new__(cls)
            made.op, made.args = op, args
            cls._made[key] = made
        return made

    def __str__(self) -> str:
        return show(self)

    __repr__ = __str__


Formula = Term | int | bool
Residue = Callable[[int, int, Formula], tuple[Formula, Formula]]


def var(name: str) -> Term:
    return Term("var", (name,))


def read(tensor: str, at: Sequence[Formula]) -> Term:
    """What an integer tensor holds there: the same at the same place."""
    return Term("read", (tensor, *at))


def _number(*values: Formula) -> bool:
    return all(isinstance(v, int) for v in values)


def _branches(f: Formula) -> bool:
    """Is it one of several numbers?"""
    return isinstance(f, int) or (f.op == "ite" and all(_branches(a) for a in f.args[1:]))  # type: ignore[arg-type]


def add(a: Formula, b: Formula) -> Formula:
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    if a == 0:
        return b
    return a if b == 0 else Term("+", (a, b))


def sub(a: Formula, b: Formula) -> Formula:
    if isinstance(a, int) and isinstance(b, int):
        return a - b
    if a == b:
        return 0
    return a if b == 0 else Term("-", (a, b))


def mul(a: Formula, b: Formula) -> Formula:
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    if a == 0 or b == 0:
        return 0
    if a == 1:
        return b
    if b == 1:
        return a
    for left, right in ((a, b), (b, a)):
        if isinstance(left, Term) and left.op == "ite" and _branches(left):
            test, yes, no = left.args
            return ite(test, mul(yes, right), mul(no, right))  # type: ignore[arg-type]
    return Term("*", (a, b))


def div(a: Formula, b: Formula) -> Formula:
    """Floor division. By 0 it is 0 here: that no division by 0 occurs is a statement of its own."""
    if isinstance(b, int):
        if b == 0:
            return 0
        if isinstance(a, int):
            return a // b
        if b == 1:
            return a
        if b < 0:
            return div(sub(0, a), -b)
    elif b.op == "ite" and _branches(b):
        test, yes, no = b.args
        return ite(test, div(a, yes), div(a, no))  # type: ignore[arg-type]
    return Term("//", (a, b))


def mod(a: Formula, b: Formula) -> Formula:
    """What Python's % is: of the sign of its divisor."""
    if isinstance(b, int):
        if b == 0:
            return 0
        if isinstance(a, int):
            return a % b
        if b == 1:
            return 0
        if b < 0:
            return sub(a, mul(b, div(a, b)))
    elif b.op == "ite" and _branches(b):
        test, yes, no = b.args
        return ite(test, mod(a, yes), mod(a, no))  # type: ignore[arg-type]
    return Term("%", (a, b))


def ite(test: Formula, yes: Formula, no: Formula) -> Formula:
    if isinstance(test, int):
        return yes if test else no
    return yes if yes == no else Term("ite", (test, yes, no))


def less(a: Formula, b: Formula) -> Formula:
    if isinstance(a, int) and isinstance(b, int):
        return a < b
    return Term("<", (a, b))


def at_most(a: Formula, b: Formula) -> Formula:
    if isinstance(a, int) and isinstance(b, int):
        return a <= b
    return True if a == b else Term("<=", (a, b))


def equals(a: Formula, b: Formula) -> Formula:
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    return True if a == b else Term("==", (a, b))


def both(*parts: Formula) -> Formula:
    kept: list[Formula] = []
    for p in parts:
        if isinstance(p, int):
            if not p:
                return False
        elif p.op == "and":
            kept += p.args  # type: ignore[arg-type]
        else:
            kept.append(p)
    return True if not kept else kept[0] if len(kept) == 1 else Term("and", tuple(dict.fromkeys(kept)))


def either(*parts: Formula) -> Formula:
    kept: list[Formula] = []
    for p in parts:
        if isinstance(p, int):
            if p:
                return True
        else:
            kept.append(p)
    return False if not kept else kept[0] if len(kept) == 1 else Term("or", tuple(kept))


def negated(a: Formula) -> Formula:
    if isinstance(a, int):
        return not a
    if a.op == "not":
        return a.args[0]  # type: ignore[return-value]
    return Term("not", (a,))


def smallest(*parts: Formula) -> Formula:
    first, *rest = dict.fromkeys(parts)
    for p in rest:
        first = ite(at_most(first, p), first, p)
    return first


def largest(*parts: Formula) -> Formula:
    first, *rest = dict.fromkeys(parts)
    for p in rest:
        first = ite(at_most(p, first), first, p)
    return first


def residue(which: int, s: Formula, d: Formula, m: Formula) -> Formula:
    """The first (0) or the step (1) of a residue class: a function of ours until s and d are numbers."""
    return Term("residue", (which, s, d, m))


MAKERS: dict[str, Callable[..., Formula]] = {
    "+": add, "-": sub, "*": mul, "//": div, "%": mod, "ite": ite, "<": less, "<=": at_most, "==": equals,
    "and": both, "or": either, "not": negated,
}  # fmt: skip


def operands(f: Formula) -> tuple[Formula, ...]:
    if isinstance(f, int):
        return ()
    return tuple(a for a in f.args if not isinstance(a, str))


def walk(f: Formula) -> Iterator[Term]:
    """Every term in it, each once, operands first."""
    seen: set[Term] = set()
    stack: list[tuple[Formula, bool]] = [(f, False)]
    while stack:
        g, done = stack.pop()
        if isinstance(g, int) or g in seen:
            continue
        if done:
            seen.add(g)
            yield g
            continue
        stack.append((g, True))
        stack.extend((a, False) for a in operands(g))


@cache
def names(f: Formula) -> frozenset[str]:
    """Every unknown, and every integer tensor that is read."""
    if isinstance(f, int):
        return frozenset()
    own = {str(f.args[0])} if f.op in ("var", "read") else set[str]()
    return frozenset(own.union(*map(names, operands(f))))


def replaced(f: Formula, table: Mapping[str, Formula], solve: Residue | None = None) -> Formula:
    """Unknowns replaced; a residue class whose s and d have become numbers is worked out by `solve`."""
    if not (names(f) & table.keys()) and solve is None:
        return f
    made: dict[Formula, Formula] = {}
    for term in walk(f):
        args = tuple(a if isinstance(a, (int, str)) else made[a] for a in term.args)
        if term.op == "var":
            made[term] = table.get(str(term.args[0]), term)
        elif term.op == "read":
            made[term] = Term("read", args)
        elif term.op == "residue":
            which, s, d, m = args
            if solve is not None and isinstance(s, int) and isinstance(d, int):
                made[term] = solve(s, d, m)[int(which)]  # type: ignore[arg-type]
            else:
                made[term] = Term("residue", args)
        else:
            made[term] = MAKERS[term.op](*args)
    return f if isinstance(f, int) else made[f]


def nonlinear(f: Formula) -> Iterator[tuple[str, tuple[Formula, ...]]]:
    """What linear arithmetic has no word for: ("*", (a, b)), or ("//", (divisor,))."""
    for term in walk(f):
        if term.op == "*" and not any(isinstance(a, int) for a in term.args):
            yield "*", operands(term)
        elif term.op in ("//", "%") and not isinstance(term.args[1], int):
            yield "//", operands(term)[1:]
        elif term.op == "residue":
            yield "//", operands(term)[1:3]


def evaluate(
    f: Formula, at: Mapping[str, int], tensors: Mapping[str, Callable[..., int]] | None = None
) -> int:
    """What it comes to. Raises ZeroDivisionError where Python would."""
    if isinstance(f, int):
        return f
    if f.op == "var":
        return at[str(f.args[0])]
    if f.op == "ite":
        test, yes, no = operands(f)
        return evaluate(yes if evaluate(test, at, tensors) else no, at, tensors)
    if f.op in ("and", "or"):
        values = (bool(evaluate(a, at, tensors)) for a in operands(f))
        return all(values) if f.op == "and" else any(values)
    values_ = [evaluate(a, at, tensors) for a in operands(f)]
    if f.op == "read":
        assert tensors is not None
        return tensors[str(f.args[0])](*values_)
    if f.op in ("//", "%"):
        a, b = values_
        return a // b if f.op == "//" else a % b
    made = MAKERS[f.op](*values_)
    assert isinstance(made, int)
    return made


@lru_cache(maxsize=1 << 16, typed=True)
def show(f: Formula) -> str:
    """As one reads it."""
    if isinstance(f, int):
        return str(f)
    if f.op == "var":
        return str(f.args[0])
    if f.op == "read":
        return f"{f.args[0]}[{', '.join(map(show, operands(f)))}]"
    parts = [show(a) for a in operands(f)]
    if f.op == "ite":
        return f"({parts[1]} if {parts[0]} else {parts[2]})"
    if f.op == "not":
        return f"not {parts[0]}"
    if f.op == "residue":
        return f"residue({', '.join(parts[1:])})[{parts[0]}]"
    return f"({f' {f.op} '.join(parts)})"


Polynomial = dict[tuple[Term, ...], int]


def polynomial(f: Formula) -> Polynomial:
    """Sums of products of what is neither, as monomials and their coefficients."""
    if isinstance(f, int):
        return {(): int(f)} if f else {}
    if f.op in ("+", "-"):
        a, b = map(polynomial, operands(f))
        return _minus(a, {m: -c for m, c in b.items()} if f.op == "+" else b)
    if f.op == "*":
        a, b = map(polynomial, operands(f))
        made: Polynomial = {}
        for (m, c), (n, d) in product(a.items(), b.items()):
            key = tuple(sorted((*m, *n), key=show))
            made[key] = made.get(key, 0) + c * d
        return {m: c for m, c in made.items() if c}
    return {(f,): 1}


def _minus(a: Polynomial, b: Polynomial) -> Polynomial:
    made = {m: a.get(m, 0) - b.get(m, 0) for m in (*a, *b)}
    return {m: c for m, c in made.items() if c}


def expanded(p: Polynomial) -> Formula:
    """A polynomial as a formula, in one order."""
    made: Formula = 0
    for m in sorted(p, key=lambda m: tuple(map(show, m))):
        term: Formula = p[m]
        for t in m:
            term = mul(term, t)
        made = add(made, term)
    return made


def same(a: Formula, b: Formula) -> bool:
    """The same polynomial?"""
    return a == b or not polynomial(sub(a, b))


def coefficient(f: Formula, name: str) -> Formula | None:
    """What an unknown is multiplied by, or None where the formula is not linear in it."""
    if any(name in names(t) for t in walk(f) if t.op not in ("var", "+", "-", "*")):
        return None
    at = [polynomial(replaced(f, {name: v})) for v in (0, 1, 2)]
    step = _minus(at[1], at[0])
    return expanded(step) if step == _minus(at[2], at[1]) else None


def collapsed(f: Formula) -> Formula:
    """(a // b) // c as a // (b * c), and divisors in one form: the same for positive divisors, which all are."""
    made: dict[Formula, Formula] = {}
    for term in walk(f):
        args = tuple(a if isinstance(a, (int, str)) else made[a] for a in term.args)
        if term.op in ("//", "%"):
            a, b = (a for a in args if not isinstance(a, str))
            if (
                term.op == "//"
                and isinstance(a, Term)
                and a.op == "//"
                and not (_number(b) or _number(operands(a)[1]))
            ):
                a, b = operands(a)[0], mul(operands(a)[1], b)
            args = (a, b) if isinstance(b, int) else (expanded(polynomial(a)), expanded(polynomial(b)))
        made[term] = MAKERS[term.op](*args) if term.op in MAKERS else Term(term.op, args)
    return f if isinstance(f, int) else made[f]


def conjuncts(f: Formula) -> tuple[Formula, ...]:
    return operands(f) if isinstance(f, Term) and f.op == "and" else () if f is True else (f,)


def all_names(parts: Iterable[Formula]) -> frozenset[str]:
    return frozenset().union(*map(names, parts))
