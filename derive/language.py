"""What a user writes: indices, tensors, parameters, reductions, equations, operators.

    n, o, c = indices("n o c");  p, k = indices("p", 2), indices("k", 2)
    s, d = parameters("s d", 2)
    x, w, y = tensors("x w y")
    q = [s[i] * p[i] + d[i] * k[i] for i in range(2)]
    conv = Operator("conv", y[n, o, *p] << Sum[c, *k](x[n, c, *q] * w[o, c, *k]), inputs=(x, w))

Everything here is a SymPy object, so a family of operators is built by ordinary Python.
Nothing here transforms anything: `translate` gives equations their relation form.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import sympy as sp
from sympy.codegen.cfunctions import expm1, log1p
from sympy.core.basic import Atom
from sympy.core.symbol import Str

from derive.errors import SpecError

NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*\Z")


def _name(name: str, what: str) -> str:
    if not NAME.match(str(name)) or keyword.iskeyword(name):
        raise SpecError(
            f"{what} needs a plain name of letters and digits (single inner underscores), found {name!r}"
        )
    return name


def _expression(value: Any, what: str) -> sp.Basic:
    """A number or an expression as SymPy's. Text is refused: SymPy would evaluate it as Python."""
    try:
        return sp.sympify(value, strict=True)
    except (sp.SympifyError, TypeError, ValueError):
        raise SpecError(f"{what} is an expression, found {value!r}") from None


def _flat(at: Any) -> tuple[Any, ...]:
    """One index or several, families of them among them: ``x[n, p]`` is ``x[n, *p]``."""
    at = at if isinstance(at, tuple) else (at,)
    return tuple(i for a in at for i in (a if isinstance(a, (tuple, list)) else (a,)))


def _several(values: Any, kind: type, what: str, operator: str) -> tuple[Any, ...]:
    """A tuple of one kind of object, whatever sequence it came in."""
    found = (
        tuple(values)
        if isinstance(values, Iterable) and not isinstance(values, (str, Mapping))
        else (values,)
    )
    for v in found:
        if not isinstance(v, kind):
            raise SpecError(f"{what}, found {v!r}", operator=operator)
    return found


# ---- symbols -------------------------------------------------------------------------------

TWIN = "_twin"


class Index(sp.Symbol):
    """An integer that runs from 0 to below its extent. `twin()` is a second one over the same range."""

    like: Index | None = None

    def __new__(cls, name: str) -> Index:
        if _name(name, "an index").endswith(TWIN):
            raise SpecError(
                f"an index cannot be called `{name}`: names that end in {TWIN} are the engine's own"
            )
        made: Index = sp.Symbol.__new__(cls, name, integer=True)
        return made

    def twin(self) -> Index:
        other: Index = sp.Symbol.__new__(Index, f"{self.name}{TWIN}", integer=True)
        other.like = self  # SymPy keeps one symbol a name, and no user's index has this name
        return other


class Lap(Index):
    """An index of the engine's own that counts laps: the whole part of a division. It takes few values."""


class Size(sp.Symbol):
    """The extent of an index or an axis, known when arrays are given."""

    def __new__(cls, name: str) -> Size:
        made: Size = sp.Symbol.__new__(cls, name, integer=True, nonnegative=True)
        return made


class Parameter(sp.Symbol):
    """A run-time integer of an operator: a stride, a padding, a count."""

    def __new__(cls, name: str, positive: bool = True) -> Parameter:
        kind = {"positive": True} if positive else {"nonnegative": True}
        made: Parameter = sp.Symbol.__new__(cls, _name(name, "a parameter"), integer=True, **kind)
        return made


class Real(sp.Symbol):
    """A run-time real number of an operator: an epsilon, an exponent."""

    def __new__(cls, name: str, positive: bool = False) -> Real:
        kind = {"positive": True} if positive else {"real": True}
        made: Real = sp.Symbol.__new__(cls, _name(name, "a real parameter"), **kind)
        return made


def _family(make: Any, names: str, nd: int | None) -> Any:
    words = names.split()
    if not words:
        raise SpecError("names are missing")
    if nd is None:
        made = [make(w) for w in words]
    elif nd < 1:
        raise SpecError(f"nd is at least 1, found {nd}")
    else:
        made = [tuple(make(f"{w}{i}") for i in range(nd)) for w in words]
    return made if len(made) > 1 else made[0]


def indices(names: str, nd: int | None = None) -> Any:
    """Index symbols by name; with `nd`, a tuple of nd numbered ones for each name."""
    return _family(Index, names, nd)


def parameters(names: str, nd: int | None = None, *, positive: bool = True) -> Any:
    """Integer parameters, >= 1 (strides) or, with positive=False, >= 0 (paddings)."""
    return _family(lambda n: Parameter(n, positive), names, nd)


def reals(names: str, *, positive: bool = False) -> Any:
    """Real parameters."""
    return _family(lambda n: Real(n, positive), names, None)


def extent(index: Index) -> Size:
    """The extent of an index, usable in formulas before it is known. Its name is the index's in capitals."""
    if not isinstance(index, Index):
        raise SpecError(f"extent() takes an index, found {index}")
    return Size(index.name.upper())


# ---- tensors -------------------------------------------------------------------------------

MODES = ("reflect", "symmetric", "replicate", "circular")


class Tensor(Atom):
    """A named array.

    margin   for its last axes, how far a read may reach outside, (before, after) each: an index that such reads
             alone bound runs while all of them stay within. An index of an extent that is known otherwise
             (plainly on another axis, in `extents` or `given`) runs so far, and what it reads outside is `outside`
    outside  what a read there means: "absent" (the point does not exist: nothing is added,
             no maximum sees it), a number or an expression (the value read), or a mode that
             folds the index back: "reflect" (edge not repeated), "symmetric" (edge repeated),
             "replicate" (edge value), "circular"
    integer  holds indices (int64). One that is an index by itself, x[t[n]], has to lie inside, which each call
             checks; where it is part of a sum, x[n + t[n]], a point outside does not exist
    optional may be left out by a caller and then counts as zero
    """

    name: str
    is_commutative = True
    __iter__ = None  # else t[0], t[1], ... without end, which SymPy walks into

    def __new__(
        cls,
        name: str,
        margin: Sequence[Sequence[Any]] = (),
        outside: Any = "absent",
        *,
        integer: bool = False,
        optional: bool = False,
    ) -> Tensor:
        self: Tensor = Atom.__new__(cls)
        self.name = _name(name, "a tensor")
        pairs = []
        for pair in margin if isinstance(margin, (tuple, list)) else [margin]:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise SpecError(f"margin of {name} is one (before, after) pair per axis, found {pair!r}")
            pairs.append(
                (_expression(pair[0], f"the margin of {name}"), _expression(pair[1], f"the margin of {name}"))
            )
        self.margin = tuple(pairs)
        if isinstance(outside, str) and outside not in ("absent", *MODES):
            raise SpecError(
                f'outside of {name} is "absent", a value, or one of {", ".join(MODES)}; found {outside!r}'
            )
        self.outside = outside if isinstance(outside, str) else _expression(outside, f"outside of {name}")
        self.integer, self.optional = bool(integer), bool(optional)
        return self

    def _hashable_content(self) -> tuple[Any, ...]:
        return (self.name, self.margin, str(self.outside), self.integer, self.optional)

    def __getitem__(self, at: Any) -> Read:
        at = _flat(at)
        return (IntegerRead if self.integer else Read)(self, *at)

    def size(self, axis: int) -> Size:
        """The extent of an axis on which no index stands plainly, for use in formulas."""
        return Size(f"{self.name.upper()}{axis}")

    def _sympystr(self, printer: Any) -> str:
        return self.name

    def sort_key(self, order: Any = None) -> Any:
        return self.class_key(), (1, (self.name,)), sp.S.One.sort_key(), sp.S.One

    def _element_is_meant(self, *_: Any) -> Any:
        raise SpecError(f"`{self.name}` is a tensor; equations are about its elements, {self.name}[...]")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __neg__ = _element_is_meant
    __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __matmul__ = __lshift__ = __abs__ = _element_is_meant
    __lt__ = __le__ = __gt__ = __ge__ = _element_is_meant


def tensors(names: str) -> Any:
    """Plain tensors by name."""
    return _family(Tensor, names, None)


class Read(sp.Expr):
    """``tensor[i, j]`` as a real SymPy scalar; no assumption leaks from the indices."""

    is_commutative = True
    is_real = True

    def __new__(cls, tensor: Tensor, *at: Any) -> Read:
        made: Read = sp.Expr.__new__(cls, tensor, *(_expression(e, f"an index of {tensor}") for e in at))
        return made

    @property
    def tensor(self) -> Tensor:
        tensor: Tensor = self.args[0]
        return tensor

    @property
    def at(self) -> tuple[sp.Expr, ...]:
        return tuple(self.args[1:])

    @property
    def free_symbols(self) -> set[sp.Symbol]:
        return set().union(*(e.free_symbols for e in self.at))

    def _sympystr(self, printer: Any) -> str:
        return f"{self.tensor.name}[{','.join(map(printer._print, self.at))}]"

    def __lshift__(self, body: Any) -> Statement:
        return Statement(self, _expression(body, f"the right-hand side of {self}"))

    def __rshift__(self, other: Any) -> Statement:
        raise SpecError(f"an equation is written `target[...] << body`, found {self} >> {other}")

    def __rlshift__(self, other: Any) -> Statement:
        raise SpecError(f"an equation is written `target[...] << body`, found {other} << {self}")


class IntegerRead(Read):
    """An element of an integer tensor; it may stand in an index expression."""

    is_integer = True


# ---- index functions ------------------------------------------------------------------------


class _Function(sp.Function):
    """A function of ours, of as many arguments as `nargs` says."""

    def __new__(cls, *args: Any, **options: Any) -> Any:
        if len(args) not in cls.nargs:
            count = int(min(cls.nargs))
            found = ", ".join(map(str, args))
            raise SpecError(
                f"{cls.__name__}(...) takes {count} argument{'s' * (count > 1)}, found {cls.__name__}({found})"
            )
        made = (_expression(a, f"an argument of {cls.__name__}") for a in args)
        return super().__new__(cls, *made, **options)


class _Fold(_Function):
    """An index expression folded back into its axis."""

    nargs = 1
    is_integer = True


class circular(_Fold):
    """Wraps around: ... a b c | a b c | a b c ..."""


class reflect(_Fold):
    """Mirrors without repeating the edge: c b | a b c | b a."""


class symmetric(_Fold):
    """Mirrors and repeats the edge: b a | a b c | c b."""


class replicate(_Fold):
    """Clamps to the edge: a a | a b c | c c."""


FOLDS: dict[str, type[_Fold]] = {f.__name__: f for f in (circular, reflect, symmetric, replicate)}


class inside(_Function):
    """1 where the read lies in its tensor, and no point otherwise: keeps a read's relation, drops its value."""

    nargs = 1
    is_real = True


# ---- scalar functions with stated conventions ------------------------------------------------


class relu(_Function):
    """max(u, 0); derivative 0 at 0."""

    nargs = 1
    is_real = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return step(self.args[0])


class step(_Function):
    """1 where u > 0, else 0; derivative 0 everywhere."""

    nargs = 1
    is_real = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.S.Zero


class indicator(sp.Function):
    """1 where the condition holds, else 0; derivative 0. (SymPy would fold a Piecewise out of a comparison.)"""

    nargs = 1
    is_real = True

    @classmethod
    def eval(cls, condition: Any) -> Any:
        return {sp.true: sp.S.One, sp.false: sp.S.Zero}.get(condition)

    def _eval_derivative(self, s: Any) -> sp.Expr:
        return sp.S.Zero


class chosen(sp.Function):
    """chosen(condition, u): u where the condition holds, else 0. (A Piecewise that SymPy leaves as it is.)"""

    nargs = 2
    is_real = True

    @classmethod
    def eval(cls, condition: Any, u: Any) -> Any:
        return sp.S.Zero if u == 0 else None

    def _eval_derivative(self, s: Any) -> sp.Expr:
        return chosen(self.args[0], self.args[1].diff(s))


class finite(_Function):
    """u where it is neither infinite nor NaN, else 0, as a constant: what a formula is shifted by and does not depend on.

    The derivative is 0: exp(x - finite(m)) / sum(exp(x - finite(m))), m the maximum, is a softmax that does not overflow.
    """

    nargs = 1
    is_real = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.S.Zero


class maximum(_Function):
    """The larger of two; where they tie the first takes the whole gradient; NaN if either is."""

    nargs = 2
    is_real = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        u, v = self.args
        first = indicator(u >= v)
        return first if argindex == 1 else 1 - first


class minimum(_Function):
    """The smaller of two; where they tie the first takes the whole gradient; NaN if either is."""

    nargs = 2
    is_real = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        u, v = self.args
        first = indicator(u <= v)
        return first if argindex == 1 else 1 - first


# What a formula may apply to numbers, besides arithmetic, powers and Piecewise.
SCALARS: tuple[type[sp.Expr], ...] = (
    sp.exp,
    expm1,
    sp.log,
    log1p,
    sp.sin,
    sp.cos,
    sp.tan,
    sp.asin,
    sp.acos,
    sp.atan,
    sp.sinh,
    sp.cosh,
    sp.tanh,
    sp.asinh,
    sp.acosh,
    sp.atanh,
    sp.erf,
    sp.erfc,
    sp.Abs,
    sp.sign,
    relu,
    step,
    maximum,
    minimum,
    finite,
)


# ---- reductions -----------------------------------------------------------------------------

KINDS = ("sum", "max", "min", "prod", "logsumexp", "argmax", "argmin")
TIES = ("first", "last", "split", "all")


class Reduce(sp.Expr):
    """``Sum[c, k](body, where...)``: args are kind, body, bound indices, conditions, ties, at."""

    is_commutative = True
    is_real = True

    kind = property(lambda self: self.args[0].name)
    body = property(lambda self: self.args[1])
    bound = property(lambda self: tuple(self.args[2]))
    where = property(lambda self: tuple(self.args[3]))
    ties = property(lambda self: self.args[4].name)
    at = property(lambda self: self.args[5][0] if self.args[5] else None)

    @property
    def free_symbols(self) -> set[sp.Symbol]:
        at = self.at.free_symbols if self.at is not None else set()
        return set((self.body.free_symbols | self.args[3].free_symbols | at) - set(self.bound))

    def _sympystr(self, printer: Any) -> str:
        inner = ", ".join(map(printer._print, (self.body, *self.where)))
        return f"{self.kind}[{','.join(map(str, self.bound))}]({inner})"


@dataclass(frozen=True)
class Reduction:
    """``Sum``, ``Max``, ...: index it with what it reduces, call it with what it reduces over.

    ``Sum[c, k](body, c < k, ...)`` is over the points where every condition holds, of indices or of values;
    ``Mean`` divides by how many these are, without conditions by the extents.
    """

    kind: str
    bound: tuple[Index, ...] | None = None

    def __getitem__(self, bound: Any) -> Reduction:
        flat = _flat(bound)
        for i in flat:
            if not isinstance(i, Index):
                raise SpecError(f"{self.kind}[...] reduces indices, found {i!r}")
        if len(set(flat)) != len(flat):
            raise SpecError(f"{self.kind}[{','.join(map(str, flat))}] names an index twice")
        return Reduction(self.kind, flat)

    def __call__(
        self, body: Any, *where: Any, ties: str = "first", at: Any = None, **unknown: Any
    ) -> sp.Expr:
        if self.bound is None:
            name = next(n for n, r in REDUCTIONS.items() if r == self)
            raise SpecError(f"{name} names the indices that it reduces: {name}[k](...), found {name}({body})")
        if unknown:
            raise SpecError(
                f"{self.kind}[...](body, ...) has no option `{next(iter(unknown))}`; conditions follow the body, "
                "as in Sum[j](x[j], j < i), and its options are ties and at"
            )
        body = _expression(body, f"the body of {self.kind}")
        where = tuple(_expression(c, f"a condition of {self.kind}") for c in where)
        if ties not in TIES:
            raise SpecError(f"ties is one of {', '.join(TIES)}, found {ties!r}")
        if self.kind == "mean":
            if where:  # of the points that there are
                return Sum[self.bound](body, *where) / Sum[self.bound](1, *where)
            return Sum[self.bound](body / sp.Mul(*map(extent, self.bound)))
        if self.kind.startswith("arg"):
            rank = sp.S.Zero
            for i in self.bound:
                rank = rank * extent(i) + i
            at = rank if at is None else _expression(at, f"`at` of {self.kind}")
            return IntegerReduce(
                Str(self.kind), body, sp.Tuple(*self.bound), sp.Tuple(*where), Str(ties), sp.Tuple(at)
            )
        if at is not None:
            raise SpecError(f"`at` belongs to ArgMax and ArgMin, not to {self.kind}")
        return Reduce(Str(self.kind), body, sp.Tuple(*self.bound), sp.Tuple(*where), Str(ties), sp.Tuple())


class IntegerReduce(Reduce):
    """An ArgMax or ArgMin: its value is an integer."""

    is_integer = True


Sum, Mean, Max, Min, Prod, LogSumExp, ArgMax, ArgMin = (
    Reduction(k) for k in ("sum", "mean", "max", "min", "prod", "logsumexp", "argmax", "argmin")
)
REDUCTIONS = {
    "Sum": Sum, "Mean": Mean, "Max": Max, "Min": Min, "Prod": Prod, "LogSumExp": LogSumExp, "ArgMax": ArgMax,
    "ArgMin": ArgMin,
}  # fmt: skip


@dataclass(frozen=True)
class Selection:
    """``Kth[k](body, r)``: the r-th smallest, r from 0; of equal values the earlier in row-major order counts as smaller.

    Written out by ranks: sum of body where as many points as r come before it. Its gradient goes
    to the selected point alone.
    """

    bound: tuple[Index, ...] | None = None

    def __getitem__(self, bound: Any) -> Selection:
        return Selection(Sum[bound].bound)

    def __call__(self, body: Any, rank: Any = None, *where: Any) -> sp.Expr:
        if self.bound is None or rank is None:
            raise SpecError(f"the r-th smallest over k is written Kth[k](body, r), found Kth of {body}")
        body, rank = _expression(body, "the body of Kth"), _expression(rank, "the rank of Kth")
        if rank.is_integer is not True:
            raise SpecError(f"the rank of Kth is a whole number, found {rank}")
        other = {i: i.twin() for i in self.bound}
        place = sp.S.Zero
        for i in self.bound:
            place = place * extent(i) + i
        body2, place2 = body.xreplace(other), place.xreplace(other)
        before = indicator(sp.Or(body2 < body, sp.And(sp.Eq(body2, body), place2 < place)))
        count = Sum[tuple(other.values())](before, *(c.xreplace(other) for c in where))
        return Sum[self.bound](chosen(sp.Eq(count, rank), body), *where)


Kth = Selection()


# ---- equations and operators ------------------------------------------------------------------


@dataclass(frozen=True)
class Statement:
    """``target << body``: the target's elements, accumulated over every index it does not name."""

    target: Read
    body: sp.Expr

    def __str__(self) -> str:
        return f"{self.target} << {self.body}"


@dataclass(frozen=True)
class overhang:
    """The law of ceil mode: a window may hang over the end if it starts inside; `when` switches it at run time."""

    when: Any = True

    def __post_init__(self) -> None:
        when = _expression(self.when, "`when` of overhang")
        if when not in (sp.true, sp.false) and getattr(when, "is_integer", None) is not True:
            raise SpecError(f"overhang(when) takes True or an integer parameter (0: no), found {self.when!r}")


class Operator:
    """Equations with a name, in order of evaluation.

    inputs   the tensors a caller gives, in argument order
    outputs  the tensors a caller gets; by default the target of the last equation
    extents  the extent of an index where no input's shape gives it: a parameter or a formula
    given    indices whose extent the caller gives; the extent becomes a parameter of that name
    laws     for an output index, `overhang(...)` instead of the default `inside`
    title    what the operator is, in words
    """

    def __init__(
        self,
        name: str,
        *statements: Statement,
        inputs: Iterable[Tensor] = (),
        outputs: Iterable[Tensor] | None = None,
        extents: Mapping[Index, Any] | None = None,
        given: Iterable[Index] = (),
        laws: Mapping[Index, overhang] | None = None,
        title: str = "",
    ) -> None:
        self.name = _name(name, "an operator")
        if not statements:
            raise SpecError("an operator needs at least one equation", operator=name)
        for s in statements:
            if not isinstance(s, Statement):
                raise SpecError(f"an equation is written `target[...] << body`, found {s!r}", operator=name)
        self.statements = tuple(statements)
        self.inputs = _several(inputs, Tensor, "inputs are tensors", name)
        self.outputs = (
            _several(outputs, Tensor, "outputs are tensors", name)
            if outputs is not None
            else (statements[-1].target.tensor,)
        )
        self.given = _several(given, Index, "`given` names indices", name)
        for what, table in (("extents", extents), ("laws", laws)):
            if not isinstance(table or {}, Mapping):
                raise SpecError(f"`{what}` is a dictionary by index, found {table!r}", operator=name)
        formulas, self.laws = dict(extents or {}), dict(laws or {})
        if twice := sorted(formulas.keys() & set(self.given), key=str):
            raise SpecError(f"the extent of `{twice[0]}` is both in `extents` and `given`", operator=name)
        _several(formulas.keys(), Index, "`extents` gives extents of indices", name)
        _several(self.laws.keys(), Index, "`laws` are for indices", name)
        _several(self.laws.values(), overhang, "a law is overhang(...)", name)
        self.extents = {i: _expression(e, f"the extent of `{i}`") for i, e in formulas.items()} | {
            i: extent(i) for i in self.given
        }
        self.title = title

    def with_statements(self, statements: Iterable[Statement]) -> Operator:
        """The same, of other equations for the same tensors."""
        made = copy(self)
        made.statements = tuple(statements)
        return made

    def __repr__(self) -> str:
        body = "\n    ".join(map(str, self.statements))
        return f"Operator {self.name}({', '.join(t.name for t in self.inputs)})\n    {body}"

    def _repr_latex_(self) -> str:
        from derive.emit.latex import operator_latex

        return operator_latex(self)
