"""Pooling beside the maximum and the mean: other aggregations, windows of other widths, and back again.

Written for planes and volumes; a line is a plane of one row, and a whole plane is a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy as sp

from derive.language import (
    ArgMax,
    ArgMin,
    Index,
    LogSumExp,
    Max,
    Mean,
    Min,
    Operator,
    Parameter,
    Real,
    Reduction,
    Statement,
    Sum,
    Tensor,
    chosen,
    extent,
    indicator,
    indices,
    inside,
    maximum,
    overhang,
    parameters,
    relu,
    tensors,
)

n, c, h = indices("n c h")
m, y, t, l, v, r, u = tensors("m y t l v r u")
i = Tensor("i", integer=True)
ceil = Parameter("ceil", positive=False)


@dataclass(frozen=True)
class Windows:
    """Windows of K taps over x, stride s, dilation d; the padding, a before and e after, holds nothing."""

    x: Tensor
    p: tuple[Index, ...]
    k: tuple[Index, ...]
    q: tuple[sp.Expr, ...]  # where tap k of window p lies

    @staticmethod
    def of(nd: int) -> Windows:
        (p, k), (s, d) = indices("p k", nd), parameters("s d", nd)
        a, e = parameters("a e", nd, positive=False)
        x = Tensor("x", margin=list(zip(a, e, strict=True)))
        return Windows(x, p, k, tuple(s[j] * p[j] + d[j] * k[j] - a[j] for j in range(nd)))

    @property
    def tap(self) -> sp.Expr:
        return self.x[n, c, *self.q]

    @property
    def flat(self) -> sp.Expr:
        """Where in its plane a tap lies."""
        return row_major(self.q, [self.x.size(2 + j) for j in range(len(self.q))])

    @property
    def rank(self) -> sp.Expr:
        """The number of a tap in its window."""
        return row_major(self.k, [extent(j) for j in self.k])

    def operator(
        self,
        name: str,
        *statements: Statement,
        outputs: Sequence[Tensor] = (y,),
        more: Sequence[Tensor] = (),
    ) -> Operator:
        """One of the family of a name; `name` has the number of axes at its {}."""
        laws = {j: overhang(ceil) for j in self.p}
        return Operator(
            name.format(len(self.p)),
            *statements,
            inputs=(self.x, *more),
            outputs=outputs,
            given=self.k,
            laws=laws,
        )


def row_major(places: Sequence[sp.Expr], extents: Sequence[sp.Expr]) -> sp.Expr:
    rank = sp.S.Zero
    for place, size in zip(places, extents, strict=True):
        rank = rank * size + place
    return rank


def extreme_pool(nd: int, name: str, value: Reduction, place: Reduction, ties: str) -> Operator:
    """The extremum of each window, and where it lies: of several that share the gradient, the first."""
    w = Windows.of(nd)
    return w.operator(
        name,
        i[n, c, *w.p] << place[w.k](w.tap, at=w.flat, ties="last" if ties == "last" else "first"),
        y[n, c, *w.p] << value[w.k](w.tap, ties=ties),
        outputs=(y, i),
    )


def lp_pool(nd: int) -> Operator:
    """(sum |x|^norm)^(1/norm), with derivative 0 where it, or an entry, is 0."""
    w, norm = Windows.of(nd), Real("norm", positive=True)
    power, q, window = Tensor("v", w.x.margin), indices("q", nd), (n, c, *w.p)
    return w.operator(
        "lp_pool{}d",
        power[n, c, *q] << chosen(sp.Ne(w.x[n, c, *q], 0), abs(w.x[n, c, *q]) ** norm),
        t[window] << Sum[w.k](power[n, c, *w.q]),
        y[window] << chosen(sp.Ne(t[window], 0), t[window] ** (1 / norm)),
    )


def l2_pool(nd: int) -> Operator:
    """sqrt(sum x^2), with derivative 0 where it is 0."""
    w = Windows.of(nd)
    return w.operator(
        "lp_pool{}d_2",
        t[n, c, *w.p] << Sum[w.k](w.tap**2),
        y[n, c, *w.p] << chosen(sp.Ne(t[n, c, *w.p], 0), sp.sqrt(t[n, c, *w.p])),
    )


def l_infinity_pool(nd: int) -> Operator:
    """max |x|"""
    w = Windows.of(nd)
    return w.operator("lp_pool{}d_inf", y[n, c, *w.p] << Max[w.k](abs(w.tap)))


def log_sum_exp_pool(nd: int) -> Operator:
    """1/sharp * log sum exp(sharp * x)"""
    w, sharp = Windows.of(nd), Real("sharp", positive=True)
    return w.operator("log_sum_exp_pool{}d", y[n, c, *w.p] << LogSumExp[w.k](sharp * w.tap) / sharp)


def log_mean_exp_pool(nd: int) -> Operator:
    """1/sharp * log mean exp(sharp * x), the mean over what a window holds of the input"""
    w, sharp = Windows.of(nd), Real("sharp", positive=True)
    total, count = LogSumExp[w.k](sharp * w.tap), maximum(Sum[w.k](inside(w.tap)), 1)
    return w.operator("log_mean_exp_pool{}d", y[n, c, *w.p] << (total - sp.log(count)) / sharp)


def soft_pool(nd: int) -> Operator:
    """sum x softmax(x)"""
    w = Windows.of(nd)
    return w.operator(
        "soft_pool{}d",
        l[n, c, *w.p] << LogSumExp[w.k](w.tap),
        y[n, c, *w.p] << Sum[w.k](w.tap * sp.exp(w.tap - l[n, c, *w.p])),
    )


def stochastic_pool(nd: int) -> Operator:
    """The first positive entry at which the running sum r of the positive ones reaches the share u of the whole, m."""
    w = Windows.of(nd)
    twin = {k: k.twin() for k in w.k}
    earlier, rank = w.tap.xreplace(twin), w.rank.xreplace(twin)
    window, tap, q = (n, c, *w.p), (n, c, *w.p, *w.k), indices("q", nd)
    there = sp.Eq(row_major(q, [extent(j) for j in q]), i[window])
    reached = sp.And(w.tap > 0, r[tap] >= u[window] * m[window])
    return w.operator(
        "stochastic_pool{}d",
        r[tap] << Sum[tuple(twin.values())](relu(earlier), rank <= w.rank),
        m[window] << Max[w.k](r[tap]),
        i[window] << ArgMax[w.k](indicator(reached) * inside(w.tap), at=w.flat),
        y[window] << Sum[q](relu(w.x[n, c, *q]), there),
        more=(u,),
        outputs=(y, i),
    )


def expected_pool(nd: int) -> Operator:
    """sum x^2 / sum x over positive entries: what stochastic pooling gives in the mean."""
    w = Windows.of(nd)
    window = (n, c, *w.p)
    return w.operator(
        "stochastic_pool{}d_mean",
        t[window] << Sum[w.k](relu(w.tap)),
        y[window] << Sum[w.k](relu(w.tap) * chosen(sp.Ne(t[window], 0), relu(w.tap) / t[window])),
    )


def median_pool(nd: int) -> Operator:
    """The median, of two middle ones the lower: as many come before it as after it, or one less. Earlier equals come before."""
    w = Windows.of(nd)
    twin = {k: k.twin() for k in w.k}
    other, rank = w.tap.xreplace(twin), w.rank.xreplace(twin)
    window, tap = (n, c, *w.p), (n, c, *w.p, *w.k)
    before = indicator(sp.Or(other < w.tap, sp.And(sp.Eq(other, w.tap), rank < w.rank)))
    after = t[window] - 1 - 2 * r[tap]
    return w.operator(
        "median_pool{}d",
        t[window] << Sum[w.k](inside(w.tap)),
        r[tap] << Sum[tuple(twin.values())](before),
        y[window] << Sum[w.k](chosen(sp.And(after >= 0, after <= 1), w.tap)),
    )


def within(p: Index, q: Index) -> tuple[sp.Basic, sp.Basic]:
    """The places q of the bin p of as many as there are: floor(p Q / P) .. ceil((p + 1) Q / P) - 1."""
    return q >= sp.floor(p * extent(q) / extent(p)), q < sp.ceiling((p + 1) * extent(q) / extent(p))


def adaptive_avg_pool(nd: int) -> Operator:
    """The mean of each bin, along one axis after the other."""
    p, q = indices("p q", nd)
    x, statements = Tensor("x"), list[Statement]()
    value, at = x, q
    for j in range(nd):
        mean = Mean[q[j]](value[n, c, *at], *within(p[j], q[j]))
        value, at = Tensor(f"m{j}") if j < nd - 1 else y, (*p[: j + 1], *q[j + 1 :])
        statements.append(value[n, c, *at] << mean)
    return Operator(f"adaptive_avg_pool{nd}d", *statements, inputs=(x,), given=p)


def adaptive_max_pool(nd: int) -> Operator:
    """The maximum of each bin, and where it lies."""
    (p, q), x = indices("p q", nd), Tensor("x")
    where = [side for j in range(nd) for side in within(p[j], q[j])]
    flat = row_major(q, [extent(j) for j in q])
    return Operator(
        f"adaptive_max_pool{nd}d",
        i[n, c, *p] << ArgMax[q](x[n, c, *q], *where, at=flat),
        y[n, c, *p] << Max[q](x[n, c, *q], *where),
        inputs=(x,),
        outputs=(y, i),
        given=p,
    )


def fractional_max_pool(nd: int) -> Operator:
    """Windows of K taps that begin, but for the last, at floor((p + u) g) - floor(u g), with g = (X - K) / (P - 1).

    A sum of ones counts how many steps a floor is; the largest of those that a condition allows is the last of ties.
    """
    (p, k, b), x = indices("p k b", nd), Tensor("x")
    begins, statements, order = [], list[Statement](), range(nd)
    for j in order:
        axis = nd - 1 - j if nd == 2 else j  # torch's order of the samples
        sample, free = u[n, c, axis], x.size(2 + j) - extent(k[j])
        skipped, start = Tensor(f"v{j}"), Tensor(f"t{j}", integer=True)
        reached = (b[j] + skipped[n, c]) * (extent(p[j]) - 1) <= (p[j] + sample) * free
        statements += [
            skipped[n, c] << Sum[b[j]](indicator((b[j] + 1) * (extent(p[j]) - 1) <= sample * free)),
            start[n, c, p[j]]
            << ArgMax[b[j]](indicator(sp.Or(p[j] >= extent(p[j]) - 1, reached)), ties="last"),
        ]
        begins.append(start[n, c, p[j]] + k[j])
    flat = row_major(begins, [x.size(2 + j) for j in order])
    return Operator(
        f"fractional_max_pool{nd}d",
        *statements,
        i[n, c, *p] << ArgMax[k](x[n, c, *begins], at=flat),
        y[n, c, *p] << Max[k](x[n, c, *begins]),
        inputs=(x, u),
        outputs=(y, i),
        given=(*p, *k),
        extents={b[j]: x.size(2 + j) - extent(k[j]) + 1 for j in order},
    )


def max_unpool() -> Operator:
    """x at the places i of a plane, 0 elsewhere; where several come to one place, their mean."""
    x, q = Tensor("x"), indices("q")
    here = sp.Eq(i[n, c, h], q)
    return Operator(
        "max_unpool",
        y[n, c, q] << Sum[h](x[n, c, h], here) / maximum(Sum[h](1, here), 1),
        inputs=(x, i),
        given=(q,),
    )


def global_pools() -> tuple[Operator, ...]:
    """The same of a whole plane, whose entries stand in one row; but for what costs the square of a window."""
    x, q, norm, sharp = Tensor("x"), indices("q"), Real("norm", positive=True), Real("sharp", positive=True)
    entry, plane = x[n, c, q], (n, c)
    power = chosen(sp.Ne(entry, 0), abs(entry) ** norm)
    share = relu(entry) * chosen(sp.Ne(t[plane], 0), relu(entry) / t[plane])
    total = LogSumExp[q](sharp * entry)
    made = (
        (
            "lp_pool",
            t[plane] << Sum[q](power),
            y[plane] << chosen(sp.Ne(t[plane], 0), t[plane] ** (1 / norm)),
        ),
        (
            "lp_pool_2",
            t[plane] << Sum[q](entry**2),
            y[plane] << chosen(sp.Ne(t[plane], 0), sp.sqrt(t[plane])),
        ),
        ("lp_pool_inf", y[plane] << Max[q](abs(entry))),
        ("log_sum_exp_pool", y[plane] << total / sharp),
        ("log_mean_exp_pool", y[plane] << (total - sp.log(extent(q))) / sharp),
        ("soft_pool", l[plane] << LogSumExp[q](entry), y[plane] << Sum[q](entry * sp.exp(entry - l[plane]))),
        ("stochastic_pool_mean", t[plane] << Sum[q](relu(entry)), y[plane] << Sum[q](share)),
    )
    return tuple(Operator(f"global_{name}", *statements, inputs=(x,)) for name, *statements in made)


def operators() -> tuple[Operator, ...]:
    return (
        *(adaptive(nd) for adaptive in (adaptive_avg_pool, adaptive_max_pool) for nd in (2, 3)),
        *(
            extreme_pool(nd, f"max_pool{{}}d_{ties}", Max, ArgMax, ties)
            for nd in (2, 3)
            for ties in ("last", "split", "all")
        ),
        *(extreme_pool(nd, "min_pool{}d", Min, ArgMin, "first") for nd in (2, 3)),
        *(lp(nd) for lp in (lp_pool, l2_pool, l_infinity_pool) for nd in (2, 3)),
        *(soft(nd) for soft in (log_sum_exp_pool, log_mean_exp_pool, soft_pool) for nd in (2, 3)),
        *(drawn(nd) for drawn in (stochastic_pool, expected_pool) for nd in (2, 3)),
        *(median_pool(nd) for nd in (2, 3)),
        *(fractional_max_pool(nd) for nd in (2, 3)),
        max_unpool(),
        *global_pools(),
    )
