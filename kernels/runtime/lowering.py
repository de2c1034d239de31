"""The compiled body of every name in simd.py. Nothing here checks anything.

Typing templates and `lower_builtin`, not `@overload`: an overload compiles one small function per
operation, and a register tile made inside such a function would be a stack slot of a frame that
has already returned.

Each primitive is one row of a table: its name, a typing *rule* (argument types to a signature, or
None), and a *generator* that appends LLVM instructions and returns the value. This file, with
`compile.py` and `driver.py`, is the trusted base: exact runs prove everything above it, and the
tests compare each row with its meaning.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models, register_default
from numba.core.imputils import lower_builtin, lower_constant, lower_getattr
from numba.core.typing.templates import (
    AbstractTemplate,
    AttributeTemplate,
    bound_function,
    infer_getattr,
    infer_global,
    signature,
)
from numba.extending import typeof_impl

from kernels.runtime import simd

Builder = Any  # an llvmlite IRBuilder
Value = Any  # an llvmlite value
Type = Any  # a Numba type
Rule = Callable[..., Any]
Generate = Callable[..., Any]

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
ELEMENT = {types.float32: ir.FloatType(), types.float64: ir.DoubleType(), types.int64: I64}
INT, NOTHING = types.int64, types.none


# ---- types


class PointerType(types.Type):
    def __init__(self, dtype: Type) -> None:
        self.dtype = dtype
        super().__init__(f"Pointer({dtype})")


class ViewType(types.Type):
    def __init__(self, dtype: Type, ndim: int) -> None:
        self.dtype, self.ndim = dtype, ndim
        super().__init__(f"View({dtype}, {ndim})")


class VectorType(types.Type):
    def __init__(self, dtype: Type, width: int) -> None:
        self.dtype, self.width = dtype, width
        super().__init__(f"Vector({dtype}, {width})")


class MaskType(types.Type):
    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__(f"Mask({width})")


class LanesType(types.Type):
    def __init__(self, dtype: Type, width: int) -> None:
        self.dtype, self.width = dtype, width
        super().__init__(f"Lanes({dtype}, {width})")

    @property
    def vector(self) -> VectorType:
        return VectorType(self.dtype, self.width)

    @property
    def pointer(self) -> PointerType:
        return PointerType(self.dtype)


class TileType(types.Type):
    def __init__(
        self, lanes: LanesType, pixels: int, vectors: int, rows: int, steps: int, depth: int
    ) -> None:
        self.lanes, self.pixels, self.vectors = lanes, pixels, vectors
        self.rows, self.steps, self.depth = rows, steps, depth
        super().__init__(f"Tile({lanes}, {pixels}, {vectors}, {rows}, {steps}, {depth})")

    def registers(self, rows: int) -> RegistersType:
        return RegistersType(self.lanes.vector, rows, self.vectors)


class RegistersType(types.Type):
    def __init__(self, vector: VectorType, rows: int, columns: int) -> None:
        self.vector, self.rows, self.columns = vector, rows, columns
        super().__init__(f"Registers({vector}, {rows}, {columns})")


def scalar_of(dtype: Type) -> Type:
    """What one element is inside a kernel: reals are float64."""
    return INT if dtype == INT else types.float64


def llvm_vector(t: VectorType) -> Any:
    return ir.VectorType(ELEMENT[t.dtype], t.width)


def _model(type_class: Type, llvm: Callable[[Any], Any]) -> None:
    """Values of this type are one LLVM value."""

    def init(self: Any, manager: Any, t: Any) -> None:
        models.PrimitiveModel.__init__(self, manager, t, llvm(t))

    register_default(type_class)(
        type(f"{type_class.__name__}Model", (models.PrimitiveModel,), {"__init__": init})
    )


def _view_members(t: ViewType) -> list[tuple[str, Type]]:
    return [("data", PointerType(t.dtype)), ("strides", types.UniTuple(INT, t.ndim))]


def _view_init(self: Any, manager: Any, t: ViewType) -> None:
    models.StructModel.__init__(self, manager, t, _view_members(t))


_model(PointerType, lambda t: ELEMENT[t.dtype].as_pointer())
_model(VectorType, llvm_vector)
_model(MaskType, lambda t: ir.VectorType(I1, t.width))
_model(RegistersType, lambda t: llvm_vector(t.vector).as_pointer())
register_default(ViewType)(type("ViewModel", (models.StructModel,), {"__init__": _view_init}))
register_default(LanesType)(models.OpaqueModel)
register_default(TileType)(models.OpaqueModel)


def lanes_type(lanes: simd.Lanes) -> LanesType:
    return LanesType(types.float32 if lanes.scalar is np.float32 else types.float64, lanes.width)


def tile_type(tile: simd.Tile) -> TileType:
    return TileType(lanes_type(tile.lanes), tile.pixels, tile.vectors, tile.rows, tile.steps, tile.depth)


typeof_impl.register(simd.Lanes)(lambda value, context: lanes_type(value))
typeof_impl.register(simd.Tile)(lambda value, context: tile_type(value))
for _t in (LanesType, TileType):  # all that is known of them is in their type
    lower_constant(_t)(lambda context, builder, t, value: context.get_dummy_value())


# ---- how a row of a table becomes a primitive


def function(name: Any, first: Type, rule: Rule, *shape: Type) -> Callable[[Generate], None]:
    """Typing of a free function or operator on a `first`; `shape` are the argument classes it lowers."""

    def generic(self: Any, args: Sequence[Type], kws: Any) -> Any:
        return rule(*args) if args and isinstance(args[0], first) and not kws else None

    label = getattr(name, "__name__", "rule")
    infer_global(name)(
        type(f"{first.__name__}_{label}", (AbstractTemplate,), {"key": name, "generic": generic})
    )

    def lower(generate: Generate) -> None:
        def build(context: Any, builder: Builder, sig: Any, args: Sequence[Value]) -> Value:
            out = generate(builder, sig, *args)
            return context.get_dummy_value() if sig.return_type == NOTHING else out

        lower_builtin(name, *shape)(build)

    return lower


def attributes(
    type_class: Type,
    methods: dict[str, tuple[Rule, Generate]],
    constants: dict[str, tuple[Rule, Generate]] | None = None,
    has_value: bool = False,
) -> None:
    """Typing and lowering of methods and compile-time attributes.

    methods: name -> (rule(receiver type, *argument types), generate(builder, receiver type, *values));
    constants: name -> (rule(receiver type), generate(builder, receiver type)). The receiver is one of the
    values only if it `has_value`: of lanes and tiles all is in the type.
    """
    members: dict[str, Any] = {"key": type_class}
    for name, (rule, generate) in methods.items():
        key = f"{type_class.__name__}.{name}"

        def resolve(self: Any, t: Type, args: Any, kws: Any, rule: Rule = rule) -> Any:
            return None if kws else rule(t, *args)

        def lower(
            context: Any, builder: Builder, sig: Any, args: Sequence[Value], generate: Generate = generate
        ) -> Value:
            receiver = sig.args[0] if sig.recvr is None else sig.recvr
            out = generate(builder, receiver, *(args if has_value else args[1:]))
            return context.get_dummy_value() if sig.return_type == NOTHING else out

        members[f"resolve_{name}"] = bound_function(key)(resolve)
        lower_builtin(key, type_class, types.VarArg(types.Any))(lower)
    for name, (rule, generate) in (constants or {}).items():
        members[f"resolve_{name}"] = lambda self, t, rule=rule: rule(t)

        def lower_attribute(
            context: Any, builder: Builder, t: Type, value: Value, generate: Generate = generate
        ) -> Value:
            out = generate(builder, t)
            return context.get_dummy_value() if out is None else out

        lower_getattr(type_class, name)(lower_attribute)
    infer_getattr(type(f"{type_class.__name__}Attributes", (AttributeTemplate,), members))


def returns(result: Type, *arguments: Type) -> Rule:
    """A method's rule: receiver type -> signature. Types given as functions are asked of the receiver."""

    def rule(t: Type, *given: Type) -> Any:
        if len(given) != len(arguments):
            return None
        known = [a(t) if callable(a) and not isinstance(a, types.Type) else a for a in (result, *arguments)]
        return signature(*known)

    return rule


# ---- elements in memory


def read_element(b: Builder, address: Value, dtype: Type) -> Value:
    value = b.load(address)
    return b.fpext(value, ELEMENT[types.float64]) if dtype == types.float32 else value


def write_element(b: Builder, value: Value, address: Value, dtype: Type) -> None:
    b.store(b.fptrunc(value, ELEMENT[dtype]) if dtype == types.float32 else value, address)


def step(b: Builder, base: Value, *terms: tuple[Value, Value]) -> Value:
    """base + sum of index * stride, in elements."""
    if not terms:
        return base
    products = [b.mul(i, s, flags=("nsw",)) for i, s in terms]
    total = products[0]
    for p in products[1:]:
        total = b.add(total, p, flags=("nsw",))
    return b.gep(base, [total])


# ---- pointers

function(operator.add, PointerType, lambda p, i: signature(p, p, INT), PointerType, types.Integer)(
    lambda b, s, p, i: b.gep(p, [i])
)
function(
    operator.getitem,
    PointerType,
    lambda p, i: signature(scalar_of(p.dtype), p, INT),
    PointerType,
    types.Integer,
)(lambda b, s, p, i: read_element(b, b.gep(p, [i]), s.args[0].dtype))
function(
    operator.setitem,
    PointerType,
    lambda p, i, v: signature(NOTHING, p, INT, scalar_of(p.dtype)),
    PointerType,
    types.Integer,
    types.Any,
)(lambda b, s, p, i, v: write_element(b, v, b.gep(p, [i]), s.args[0].dtype))


# ---- views


def _full_index(view: ViewType, index: Type) -> Type | None:
    """The index type that Numba shall convert to, if this is one integer per axis."""
    if isinstance(index, types.Integer):
        return INT if view.ndim == 1 else None
    if isinstance(index, types.BaseTuple) and all(isinstance(t, types.Integer) for t in index.types):
        return types.UniTuple(INT, view.ndim) if len(index) == view.ndim else None
    return None


def _view_read(view: ViewType, index: Type) -> Any:
    at = _full_index(view, index)
    return None if at is None else signature(scalar_of(view.dtype), view, at)


def _view_write(view: ViewType, index: Type, value: Type) -> Any:
    at = _full_index(view, index)
    return None if at is None else signature(NOTHING, view, at, scalar_of(view.dtype))


def _element(b: Builder, t: ViewType, view: Value, *index: Value) -> Value:
    """The address at the leading indices given."""
    strides = b.extract_value(view, 1)
    return step(b, b.extract_value(view, 0), *((i, b.extract_value(strides, k)) for k, i in enumerate(index)))


def _indexed(b: Builder, sig: Any, view: Value, index: Value) -> Value:
    t, at = sig.args[0], sig.args[1]
    parts = [index] if at == INT else [b.extract_value(index, k) for k in range(t.ndim)]
    return _element(b, t, view, *parts)


def _stride(b: Builder, t: ViewType, view: Value, axis: Value) -> Value:
    strides = b.extract_value(view, 1)
    found = I64(0)
    for k in range(t.ndim):
        found = b.select(b.icmp_signed("==", axis, I64(k)), b.extract_value(strides, k), found)
    return found


def _pointer_rule(t: ViewType, *index: Type) -> Any:
    return signature(PointerType(t.dtype), *[INT] * len(index)) if len(index) <= t.ndim else None


for _index in (types.Integer, types.BaseTuple):
    function(operator.getitem, ViewType, _view_read, ViewType, _index)(
        lambda b, s, v, i: read_element(b, _indexed(b, s, v, i), s.args[0].dtype)
    )
    function(operator.setitem, ViewType, _view_write, ViewType, _index, types.Any)(
        lambda b, s, v, i, x: write_element(b, x, _indexed(b, s, v, i), s.args[0].dtype)
    )
attributes(
    ViewType, {"pointer": (_pointer_rule, _element), "stride": (returns(INT, INT), _stride)}, has_value=True
)


# ---- vectors


def constant(element: Any, items: Sequence[Any]) -> Value:
    return ir.Constant(ir.VectorType(element, len(items)), list(items))


def splat(b: Builder, value: Value, width: int) -> Value:
    undefined = ir.Constant(ir.VectorType(value.type, width), ir.Undefined)
    return b.shuffle_vector(b.insert_element(undefined, value, I32(0)), undefined, constant(I32, [0] * width))


def first_lanes(b: Builder, count: Value, width: int) -> Value:
    """A mask of the first `count` lanes; count is any int64."""
    return b.icmp_signed("<", constant(I64, range(width)), splat(b, count, width))


def intrinsic(b: Builder, name: str, result: Any, *args: Value) -> Value:
    kind = ir.FunctionType(result, [a.type for a in args])
    return b.call(cgutils.get_or_insert_function(b.module, kind, name), args)


def suffix(t: VectorType) -> str:
    return f"v{t.width}f{t.dtype.bitwidth}"


def zeros(t: VectorType) -> Value:
    return constant(ELEMENT[t.dtype], [0.0] * t.width)


def load(b: Builder, p: Value, t: VectorType) -> Value:
    value = b.load(b.bitcast(p, llvm_vector(t).as_pointer()))
    value.align = t.dtype.bitwidth // 8
    return value


def store(b: Builder, p: Value, v: Value, t: VectorType) -> None:
    b.store(v, b.bitcast(p, llvm_vector(t).as_pointer())).align = t.dtype.bitwidth // 8


def masked_load(b: Builder, p: Value, mask: Value, t: VectorType) -> Value:
    at = b.bitcast(p, llvm_vector(t).as_pointer())
    return intrinsic(
        b, f"llvm.masked.load.{suffix(t)}.p0", llvm_vector(t), at, I32(t.dtype.bitwidth // 8), mask, zeros(t)
    )


def masked_store(b: Builder, p: Value, v: Value, mask: Value, t: VectorType) -> None:
    at = b.bitcast(p, llvm_vector(t).as_pointer())
    intrinsic(b, f"llvm.masked.store.{suffix(t)}.p0", ir.VoidType(), v, at, I32(t.dtype.bitwidth // 8), mask)


def every(b: Builder, p: Value, by: Value, width: int) -> Value:
    """The addresses of lanes that lie `by` elements apart."""
    size = b.ptrtoint(b.gep(p.type(None), [I32(1)]), I64)  # llvmlite indexes no pointer by a vector
    offsets = b.mul(constant(I64, range(width)), splat(b, b.mul(by, size), width))
    addresses = b.add(splat(b, b.ptrtoint(p, I64), width), offsets)
    return b.inttoptr(addresses, ir.VectorType(p.type, width))


def load_every(b: Builder, lanes: LanesType, p: Value, by: Value, count: Value) -> Value:
    t = lanes.vector
    return intrinsic(
        b,
        f"llvm.masked.gather.{suffix(t)}.v{t.width}p0",
        llvm_vector(t),
        every(b, p, by, t.width),
        I32(t.dtype.bitwidth // 8),
        first_lanes(b, count, t.width),
        zeros(t),
    )


def store_every(b: Builder, lanes: LanesType, p: Value, by: Value, v: Value, count: Value) -> None:
    t = lanes.vector
    intrinsic(
        b,
        f"llvm.masked.scatter.{suffix(t)}.v{t.width}p0",
        ir.VoidType(),
        v,
        every(b, p, by, t.width),
        I32(t.dtype.bitwidth // 8),
        first_lanes(b, count, t.width),
    )


def will_write(b: Builder, lanes: LanesType, p: Value) -> None:
    at = b.bitcast(p, ir.IntType(8).as_pointer())
    intrinsic(b, "llvm.prefetch.p0", ir.VoidType(), at, I32(1), I32(3), I32(1))


def fill(b: Builder, lanes: LanesType, x: Value) -> Value:
    narrow = b.fptrunc(x, ELEMENT[lanes.dtype]) if lanes.dtype == types.float32 else x
    return splat(b, narrow, lanes.width)


def lanes_sum(b: Builder, lanes: LanesType, v: Value) -> Value:
    width = lanes.width
    undefined = ir.Constant(v.type, ir.Undefined)
    while width > 1:
        half = width // 2
        low = b.shuffle_vector(v, undefined, constant(I32, range(half)))
        high = b.shuffle_vector(v, undefined, constant(I32, range(half, width)))
        v, width = b.fadd(low, high), half
        undefined = ir.Constant(v.type, ir.Undefined)
    total = b.extract_element(v, I32(0))
    return b.fpext(total, ELEMENT[types.float64]) if lanes.dtype == types.float32 else total


def network(b: Builder, rows: Sequence[Value]) -> list[Value]:
    """The transpose of n vectors of n lanes: log2(n) stages of shuffles of two registers."""
    n, k, now = len(rows), 1, list(rows)
    while k < n:
        low = constant(I32, [e if e // k % 2 == 0 else n + e - k for e in range(n)])
        high = constant(I32, [e + k if e // k % 2 == 0 else n + e for e in range(n)])
        following = list(now)
        for r in range(n):
            if r // k % 2 == 0:
                following[r] = b.shuffle_vector(now[r], now[r + k], low)
                following[r + k] = b.shuffle_vector(now[r], now[r + k], high)
        now, k = following, 2 * k
    return now


def transpose(padded: bool) -> Generate:
    """A whole block by plain loads and stores, any other by masked ones."""

    def generate(
        b: Builder,
        lanes: LanesType,
        source: Value,
        source_step: Value,
        rows: Value,
        columns: Value,
        target: Value,
        target_step: Value,
    ) -> None:
        t, n = lanes.vector, lanes.width
        from_row = [b.gep(source, [b.mul(source_step, I64(r))]) for r in range(n)]
        to_row = [b.gep(target, [b.mul(target_step, I64(r))]) for r in range(n)]

        def lanes_of_row(r: int, many: Value, count: Value) -> Value:
            """The first `count` lanes, if there are more than r rows."""
            return first_lanes(b, b.select(b.icmp_signed("<", I64(r), many), count, I64(0)), n)

        whole = b.and_(b.icmp_signed(">=", rows, I64(n)), b.icmp_signed(">=", columns, I64(n)))
        with b.if_else(whole, likely=True) as (fast, slow):
            with fast:
                for at, v in zip(to_row, network(b, [load(b, at, t) for at in from_row]), strict=True):
                    store(b, at, v, t)
            with slow:
                block = [
                    masked_load(b, at, lanes_of_row(r, rows, columns), t) for r, at in enumerate(from_row)
                ]
                filled = I64(n) if padded else rows
                for r, v in enumerate(network(b, block)):
                    masked_store(b, to_row[r], v, lanes_of_row(r, columns, filled), t)

    return generate


def _vector(lanes: LanesType) -> Type:
    return lanes.vector


def _pointer(lanes: LanesType) -> Type:
    return lanes.pointer


_MOVE = returns(NOTHING, _pointer, INT, INT, INT, _pointer, INT)
attributes(
    LanesType,
    {
        "zero": (returns(_vector), lambda b, l: zeros(l.vector)),
        "fill": (returns(_vector, types.float64), fill),
        "load": (returns(_vector, _pointer), lambda b, l, p: load(b, p, l.vector)),
        "store": (returns(NOTHING, _pointer, _vector), lambda b, l, p, v: store(b, p, v, l.vector)),
        "load_first": (
            returns(_vector, _pointer, INT),
            lambda b, l, p, n: masked_load(b, p, first_lanes(b, n, l.width), l.vector),
        ),
        "store_first": (
            returns(NOTHING, _pointer, _vector, INT),
            lambda b, l, p, v, n: masked_store(b, p, v, first_lanes(b, n, l.width), l.vector),
        ),
        "load_every": (returns(_vector, _pointer, INT, INT), load_every),
        "store_every": (returns(NOTHING, _pointer, INT, _vector, INT), store_every),
        "will_write": (returns(NOTHING, _pointer), will_write),
        "sum": (returns(types.float64, _vector), lanes_sum),
        "transpose": (_MOVE, transpose(padded=False)),
        "transpose_padded": (_MOVE, transpose(padded=True)),
    },
    {
        "width": (lambda l: INT, lambda b, l: I64(l.width)),
    },
)


# ---- arithmetic, lane by lane


def _same(t: Type, *others: Type) -> Any:
    """A rule: all arguments are vectors of one type, and so is the result."""
    return signature(t, t, *others) if all(o == t for o in others) else None


def _fma(b: Builder, sig: Any, x: Value, y: Value, z: Value) -> Value:
    # fmuladd fuses where the machine can; `llvm.fma` without hardware would be a call of libm
    t = sig.return_type
    name = suffix(t) if isinstance(t, VectorType) else "f64"
    return intrinsic(b, f"llvm.fmuladd.{name}", x.type, x, y, z)


def _extreme(comparison: str) -> Generate:
    def generate(b: Builder, sig: Any, x: Value, y: Value) -> Value:
        keep = b.or_(b.fcmp_ordered(comparison, x, y), b.fcmp_unordered("uno", x, x))
        return b.select(keep, x, y)

    return generate


def _compare(x: Type, y: Type) -> Any:
    return signature(MaskType(x.width), x, y) if x == y else None


def _comparison(symbol: str) -> Generate:
    return lambda b, s, x, y: b.fcmp_ordered(symbol, x, y)


_ARITHMETIC: tuple[tuple[Any, Rule, int, Generate], ...] = (
    (operator.add, _same, 2, lambda b, s, x, y: b.fadd(x, y)),
    (operator.sub, _same, 2, lambda b, s, x, y: b.fsub(x, y)),
    (operator.mul, _same, 2, lambda b, s, x, y: b.fmul(x, y)),
    (operator.truediv, _same, 2, lambda b, s, x, y: b.fdiv(x, y)),
    (operator.neg, _same, 1, lambda b, s, x: b.fneg(x)),
    (operator.lt, _compare, 2, _comparison("<")),
    (operator.le, _compare, 2, _comparison("<=")),
    (operator.gt, _compare, 2, _comparison(">")),
    (operator.ge, _compare, 2, _comparison(">=")),
)
for _name, _rule, _count, _generate in _ARITHMETIC:
    function(_name, VectorType, _rule, *[VectorType] * _count)(_generate)


def _scalars(*given: Type) -> Any:
    """A rule: numbers, one of them a float at least; all are taken as float64."""
    numbers = all(isinstance(t, (types.Float, types.Integer)) for t in given)
    floats = any(isinstance(t, types.Float) for t in given)
    return signature(types.float64, *[types.float64] * len(given)) if numbers and floats else None


_EITHER: tuple[tuple[Any, int, Generate], ...] = (
    (simd.fma, 3, _fma),
    (simd.maximum, 2, _extreme(">=")),
    (simd.minimum, 2, _extreme("<=")),
)
for _name, _count, _generate in _EITHER:
    function(_name, VectorType, _same, *[VectorType] * _count)(_generate)
    function(_name, types.Number, _scalars, *[types.Float] * _count)(_generate)

function(
    simd.select,
    MaskType,
    lambda m, x, y: (
        signature(x, m, x, y) if isinstance(x, VectorType) and x == y and m.width == x.width else None
    ),
    MaskType,
    VectorType,
    VectorType,
)(lambda b, s, m, x, y: b.select(m, x, y))


# ---- the register tile: a stack slot that LLVM takes apart once the loops over it are unrolled


def _slots(b: Builder, r: RegistersType) -> Value:
    return cgutils.alloca_once(b, llvm_vector(r.vector), size=r.rows * r.columns)


def _slot(b: Builder, r: RegistersType, base: Value, at: Value) -> Value:
    row, column = b.extract_value(at, 0), b.extract_value(at, 1)
    return b.gep(base, [b.add(b.mul(row, I64(r.columns)), column)])


_PLACE = types.UniTuple(INT, 2)
attributes(
    TileType,
    {
        "registers": (
            returns(lambda t: t.registers(t.pixels)),
            lambda b, t: _slots(b, t.registers(t.pixels)),
        ),
        "row": (returns(lambda t: t.registers(1)), lambda b, t: _slots(b, t.registers(1))),
    },
    {
        "pixels": (lambda t: INT, lambda b, t: I64(t.pixels)),
        "vectors": (lambda t: INT, lambda b, t: I64(t.vectors)),
        "rows": (lambda t: INT, lambda b, t: I64(t.rows)),
        "steps": (lambda t: INT, lambda b, t: I64(t.steps)),
        "depth": (lambda t: INT, lambda b, t: I64(t.depth)),
        "channels": (lambda t: INT, lambda b, t: I64(t.vectors * t.lanes.width)),
        "lanes": (lambda t: t.lanes, lambda b, t: None),
    },
)
function(
    operator.getitem,
    RegistersType,
    lambda r, at: signature(r.vector, r, _PLACE),
    RegistersType,
    types.BaseTuple,
)(lambda b, s, r, at: b.load(_slot(b, s.args[0], r, at)))
function(
    operator.setitem,
    RegistersType,
    lambda r, at, v: signature(NOTHING, r, _PLACE, r.vector),
    RegistersType,
    types.BaseTuple,
    types.Any,
)(lambda b, s, r, at, v: b.store(v, _slot(b, s.args[0], r, at)))
