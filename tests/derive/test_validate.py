"""What a spec may not be: every mistake by its text, found before sizes are asked for."""

from __future__ import annotations

from typing import Any

import pytest
import sympy as sp

from derive.errors import SpecError
from derive.language import (
    SCALARS,
    Max,
    Operator,
    Sum,
    Tensor,
    indices,
    inside,
    overhang,
    parameters,
    reals,
    reflect,
    tensors,
)
from derive.validate import validate

n, p, k = indices("n p k")
x, w, y, z = tensors("x w y z")
s = parameters("s")
a, e = parameters("a e", positive=False)
r = reals("r")

X2 = Tensor("x", margin=[(a, e)])
NOT_AFFINE = (
    " is not affine in indices (with whole numbers, parameters and extents as coefficients), floor, mod, a fold, or an "
    "integer tensor's element"
)
NO_KERNEL = " is nothing a kernel can compute; there are +, -, *, /, powers, Piecewise and " + ", ".join(
    f.__name__ for f in SCALARS
)


def op(*statements: Any, inputs: Any = (x,), **options: Any) -> Operator:
    return Operator("op", *statements, inputs=inputs, **options)


NX = indices("N")

BAD: dict[str, tuple[Operator, str, Any]] = {
    "not affine": (
        op(y[p] << Sum[k](x[p * k] * w[k]), inputs=(x, w)),
        "the index expression `k*p` in x[k*p]" + NOT_AFFINE,
        "y[p] << sum[k](w[k]*x[k*p])",
    ),
    "square index": (
        op(y[p] << x[p**2]),
        "the index expression `p**2` in x[p**2]" + NOT_AFFINE,
        "y[p] << x[p**2]",
    ),
    "half an index": (
        op(y[p] << x[p / 2]),
        "the index expression `p/2` in x[p/2]" + NOT_AFFINE,
        "y[p] << x[p/2]",
    ),
    "half a step": (
        op(y[p] << x[p + sp.S.Half]),
        "the index expression `p + 1/2` in x[p + 1/2]" + NOT_AFFINE,
        "y[p] << x[p + 1/2]",
    ),
    "real in an index": (
        op(y[p] << x[p + r]),
        "the index expression `p + r` in x[p + r]" + NOT_AFFINE,
        "y[p] << x[p + r]",
    ),
    "complex index": (
        op(y[p] << x[sp.I * p]),
        "the index expression `I*p` in x[I*p]" + NOT_AFFINE,
        "y[p] << x[I*p]",
    ),
    "absolute index": (
        op(y[p] << x[sp.Abs(p - 1)], extents={p: 3}),
        "the index expression `Abs(p - 1)` in x[Abs(p - 1)]" + NOT_AFFINE,
        "y[p] << x[Abs(p - 1)]",
    ),
    "input is written": (
        op(x[p] << x[p] * w[p], inputs=(x, w)),
        "`x` is an input and is written",
        "x[p] << w[p]*x[p]",
    ),
    "reads itself": (
        op(y[p] << x[p] + y[p]),
        "`y` is read by the equation that writes it; an equation is no recurrence",
        "y[p] << x[p] + y[p]",
    ),
    "written after it was read": (
        op(y[p] << x[p], z[p] << y[p], y[p] << x[p] ** 2),
        "`y` is written again after `z[p] << y[p]` has read it",
        "y[p] << x[p]**2",
    ),
    "max and something": (
        op(y[p] << x[p], y[p] << Max[k](x[p] * w[k]), inputs=(x, w)),
        "`y` is written by several equations, which add up, so a max cannot be one of them",
        "y[p] << max[k](w[k]*x[p])",
    ),
    "unused input": (op(y[p] << x[p], inputs=(x, w)), "input `w` is used by no equation", ""),
    "vanished input": (op(y[p] << x[p] + 0 * w[p], inputs=(x, w)), "input `w` is used by no equation", ""),
    "output twice": (op(y[p] << x[p], outputs=(y, y)), "output `y` is named twice", ""),
    "input declared otherwise": (
        op(y[p] << X2[p], inputs=(x,)),
        "tensor `x` is declared in two ways: as the equations read it, and in the lists",
        "",
    ),
    "extent of no index": (
        op(y[p] << x[p], extents={k: 3}),
        "`extents` names index `k`, which no equation has",
        "",
    ),
    "no index given": (op(y[p] << x[p], given=k), "`given` names index `k`, which no equation has", ""),
    "law of no index": (
        op(y[p] << x[p], laws={k: overhang()}),
        "`laws` names index `k`, which no equation has",
        "",
    ),
    "law by an extent unknown": (
        op(y[p] << Max[k](x[2 * p + k]), given=k, laws={p: overhang(sp.Symbol("m", integer=True))}),
        "the law of `p` hangs on `m`, which is no integer parameter",
        "",
    ),
    "from the end": (
        op(y[p] << x[p, -2]),
        "x[p,-2] lies before axis 1 of x begins; counted from the end it is x.size(1) - 2",
        "y[p] << x[p,-2]",
    ),
    "input twice": (op(y[p] << x[p], inputs=(x, x)), "input `x` is named twice", ""),
    "output not written": (op(y[p] << x[p], outputs=(y, z)), "output `z` is written by no equation", ""),
    "undeclared": (
        op(y[p] << x[p] * z[p]),
        "`z` is read but is neither an input nor written by an earlier equation (inputs: x)",
        "y[p] << x[p]*z[p]",
    ),
    "too early": (
        op(y[p] << x[p] * z[p], z[p] << x[p]),
        "`z` is read but is neither an input nor written by an earlier equation (inputs: x)",
        "y[p] << x[p]*z[p]",
    ),
    "declared twice": (
        op(y[p] << x[p] * X2[p]),
        "tensor `x` is declared in two ways",
        "y[p] << x[p]*x[p]",
    ),
    "float": (
        op(y[p] << 0.5 * x[p]),
        "0.500000000000000 is a float; write an exact Rational, or a real parameter",
        "y[p] << 0.5*x[p]",
    ),
    "float in an index": (
        op(y[p] << x[p + 1.0]),
        "1.00000000000000 is a float; write an exact Rational, or a real parameter",
        "y[p] << x[p + 1.0]",
    ),
    "SymPy's Max": (
        op(y[p] << sp.Max(x[p], 0)),
        "SymPy's Max forgets the order of its arguments, on which the gradient at a tie depends; "
        "write maximum(u, v), minimum(u, v) or relu(u)",
        "y[p] << Max(0, x[p])",
    ),
    "SymPy's Min": (
        op(y[p] << Sum[k](sp.Min(x[p], w[k])), inputs=(x, w)),
        "SymPy's Min forgets the order of its arguments, on which the gradient at a tie depends; "
        "write maximum(u, v), minimum(u, v) or relu(u)",
        "y[p] << sum[k](Min(w[k], x[p]))",
    ),
    "no default": (
        op(y[p] << sp.Piecewise((x[p], x[p] > 0))),
        "`Piecewise((x[p], x[p] > 0))` has no value where its conditions fail; end it with (value, True)",
        "y[p] << Piecewise((x[p], x[p] > 0))",
    ),
    "no default inside": (
        op(y[n] << Sum[k](sp.Piecewise((x[n, k], k > 1)) ** 2)),
        "`Piecewise((x[n,k]**2, k > 1))` has no value where its conditions fail; end it with (value, True)",
        "y[n] << sum[k](Piecewise((x[n,k]**2, k > 1)))",
    ),
    "plain symbol": (
        op(y[p] << x[p] * sp.Symbol("alpha")),
        "`alpha` is neither an index, a parameter nor an extent (use indices(), parameters(), reals())",
        "y[p] << alpha*x[p]",
    ),
    "case": (
        op(y[n, NX] << x[n, NX]),
        "indices `N` and `n` differ only in case, and extents are named by capitals",
        "y[n,N] << x[n,N]",
    ),
    "tensor and parameter": (
        op(y[p] << x[p] * reals("x")),
        "`x` is both a tensor and a parameter; rename one",
        "y[p] << x*x[p]",
    ),
    "condition as a number": (
        op(y[p] << (x[p] > 0)),
        "`x[p] > 0` is a condition, not a number; write Piecewise((1, x[p] > 0), (0, True))",
        "y[p] << x[p] > 0",
    ),
    "inside of what": (
        op(y[p] << x[p] * inside(p)),
        "inside(...) takes one read, as in inside(x[n, s*p + k]); found `inside(p)`",
        "y[p] << inside(p)*x[p]",
    ),
    "round": (
        op(y[p] << sp.floor(x[p])),
        "`floor(x[p])` rounds a real number, which has no derivative here; round indices and integer tensors only. "
        "(Levels are a sum of steps, Sum[j](step(x - j)); finite(u) holds a value constant)",
        "y[p] << floor(x[p])",
    ),
    "round a parameter": (
        op(y[p] << x[p] * sp.ceiling(2 * r)),
        "`ceiling(2*r)` rounds a real number, which has no derivative here; round indices and integer tensors only. "
        "(Levels are a sum of steps, Sum[j](step(x - j)); finite(u) holds a value constant)",
        "y[p] << ceiling(2*r)*x[p]",
    ),
    "remainder": (
        op(y[p] << sp.Mod(x[p], 2)),
        "`Mod(x[p], 2)` rounds a real number, which has no derivative here; round indices and integer tensors only. "
        "(Levels are a sum of steps, Sum[j](step(x - j)); finite(u) holds a value constant)",
        "y[p] << Mod(x[p], 2)",
    ),
}
for _name, _extent in {
    "negative": -3,
    "float": sp.Float(2.5),
    "index": p,
    "symbol": sp.Symbol("L"),
    "real": r,
    "half": s / 2,
}.items():
    BAD[f"extent: {_name}"] = (
        op(y[p] << Sum[k](x[p] * k), extents={k: _extent}),
        f"the extent of `k` is a whole number >= 0, a parameter, or a formula of extents and parameters; found {_extent}",
        "",
    )
MARGIN = "a margin of x is a whole number, a parameter, or a formula of them; found "
for _name, _margin in {"half": sp.S(3) / 2, "index": k, "symbol": sp.Symbol("L"), "real": r}.items():
    _x = Tensor("x", margin=[(_margin, 0)])
    BAD[f"margin: {_name}"] = (op(y[p] << _x[p + k], inputs=(_x,)), f"{MARGIN}{_margin}", "y[p] << x[k + p]")
for _name, (_value, _text) in {
    "float": (0.5, "0.500000000000000 is a float; write an exact Rational, or a real parameter"),
    "index": (p, "outside of x is one value, or an element of a tensor; found p"),
    "symbol": (
        sp.Symbol("v"),
        "`v` is neither an index, a parameter nor an extent (use indices(), parameters(), reals())",
    ),
}.items():
    _x = Tensor("x", margin=[(1, 1)], outside=_value)
    BAD[f"outside: {_name}"] = (op(y[p] << _x[p - 1], inputs=(_x,)), _text, "y[p] << x[p - 1]")
for _number in (sp.nan, sp.zoo, sp.I):
    BAD[f"number: {_number}"] = (
        op(y[p] << x[p] ** 2 * w[p] + _number, inputs=(x, w)),
        f"`{_number}` is no real number",
        None,
    )
for _expr in (
    sp.gamma(x[p]),
    sp.besselj(0, x[p]),
    sp.Heaviside(x[p]),
    sp.DiracDelta(x[p]),
    sp.Function("f")(x[p]),
    sp.LambertW(x[p]),
    sp.sec(x[p]),
    sp.sinc(x[p]),
    sp.factorial(p),
    sp.KroneckerDelta(p, 3),
    sp.GoldenRatio,
    sp.EulerGamma,
    sp.Sum(x[p], (sp.Symbol("m", integer=True), 0, 3)),
    sp.frac(x[p]),
    reflect(p),
    sp.arg(x[p]),
):
    BAD[f"function: {_expr}"] = (
        op(y[p] << x[p] * _expr),
        f"`{_expr}` ({type(_expr).__name__}){NO_KERNEL}",
        f"y[p] << {x[p] * _expr}",
    )
BAD["whole tensor"] = (
    op(y[p] << x),
    "`x` is a tensor; equations are about its elements, x[...]",
    "y[p] << x",
)
_branches = sp.Piecewise((x[n, p], x[n, p] > 0), (sp.log(x[n, p]), True))
BAD["Piecewise compared"] = (
    op(y[n, p] << sp.Piecewise((1, _branches < w[n, p]), (0, True)), inputs=(x, w)),
    "a condition compares no Piecewise, which SymPy takes apart into `ITE(x[n,p] > 0, w[n,p] > x[n,p], w[n,p] > log(x[n,p]))`; "
    "give the Piecewise an equation of its own, and compare what that writes",
    "y[n,p] << Piecewise((1, ITE(x[n,p] > 0, w[n,p] > x[n,p], w[n,p] > log(x[n,p]))), (0, True))",
)
BAD["matrix"] = (
    op(y[p] << sp.Matrix([x[p]])),
    f"`Matrix([[x[p]]])` (ImmutableDenseMatrix){NO_KERNEL}",
    "y[p] << Matrix([[x[p]]])",
)


@pytest.mark.parametrize("mistake", BAD)
def test_mistake(mistake):
    operator, message, equation = BAD[mistake]
    with pytest.raises(SpecError) as error:
        validate(operator)
    if equation is None:  # SymPy has swallowed what stood beside it
        equation = str(operator.statements[0])
    assert str(error.value) == message + (f"\n    in  {equation}" if equation else "")


def test_every_tensor_is_declared():
    """Those of a value outside too, where the read can leave."""
    padded = Tensor("x", margin=[(a, e)], outside=w[()])
    assert validate(op(y[p] << padded[p - a], inputs=(padded, w))) == {"x": padded, "w": w, "y": y}
