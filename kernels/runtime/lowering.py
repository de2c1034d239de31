"""The compiled body of every name in simd.py but for windows (`windows.py`). Nothing here checks anything.

Typing templates and `lower_builtin`, not `@overload`: an overload compiles one small function per
operation, and a register tile made inside such a function would be a stack slot of a frame that
has already returned.

Each primitive is one row of a table: its name, a typing *rule* (argument types to a signature, or
None), and a *generator* that appends LLVM instructions and returns the value. This file, with `windows.py`,
`compile.py` and `driver.py`, is the trusted base: exact runs prove everything above it, and the
tests compare each row with its meaning.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
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

from kernels.runtime import machine, simd

Builder = Any  # an llvmlite IRBuilder
Value = Any  # an llvmlite value
Type = Any  # a Numba type
Rule = Callable[..., Any]
Generate = Callable[..., Any]

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
ELEMENT = {types.float32: ir.FloatType(), types.float64: ir.DoubleType(), types.int64: I64, types.int32: I32}
INTEGERS = (types.int64, types.int32)
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


class LineType(types.Type):
    def __init__(self, dtype: Type) -> None:
        self.dtype = dtype
        super().__init__(f"Line({dtype})")


class LinesType(types.Type):
    def __init__(self, dtype: Type) -> None:
        self.dtype = dtype
        super().__init__(f"Lines({dtype})")


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

    @property
    def lines(self) -> int:
        return max(2, self.pixels * self.vectors // 3)

    @property
    def few(self) -> int:
        return max(2, self.lines // 2)

    @property
    def taps(self) -> int:
        return min(3, self.pixels)

    def registers(self, rows: int) -> RegistersType:
        return RegistersType(self.lanes.vector, rows, self.vectors)

    def shaped(self, pixels: int, vectors: int) -> TileType:
        return TileType(self.lanes, pixels, vectors, self.rows, self.steps, self.depth)

    @property
    def short(self) -> TileType:
        return self.shaped(max(1, self.pixels // 3), self.vectors)

    @property
    def slim(self) -> TileType:
        return self.shaped(self.pixels, 1)

    @property
    def narrow(self) -> TileType:
        return self.shaped(self.pixels + 2, 1)

    @property
    def most_registers(self) -> int:
        """How many vectors the machine holds, as its tile tells."""
        return 32 if self.vectors >= 4 else 16

    @property
    def tall(self) -> TileType:
        return self.shaped(2 * self.pixels if self.vectors < 4 else self.pixels, self.vectors)


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


def _line_init(self: Any, manager: Any, t: LineType) -> None:
    models.StructModel.__init__(self, manager, t, [("data", PointerType(t.dtype)), ("step", INT)])


def _lines_init(self: Any, manager: Any, t: LinesType) -> None:
    members = [("data", PointerType(t.dtype)), ("step", INT), ("apart", INT)]
    models.StructModel.__init__(self, manager, t, members)


register_default(LineType)(type("LineModel", (models.StructModel,), {"__init__": _line_init}))
register_default(LinesType)(type("LinesModel", (models.StructModel,), {"__init__": _lines_init}))
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


def _lines_rule(result: Type, steps: int) -> Rule:
    """A method's rule: an index and so many steps, all of them tuples of one integer an axis."""

    def rule(t: ViewType, *given: Type) -> Any:
        known = all(isinstance(a, types.BaseTuple) and len(a) == t.ndim for a in given)
        at = types.UniTuple(INT, t.ndim)
        return signature(result(t.dtype), *[at] * (1 + steps)) if known and len(given) == 1 + steps else None

    return rule


def _lines(b: Builder, t: ViewType, view: Value, index: Value, *steps: Value) -> Value:
    """The address of a place, then each step in elements."""
    strides = b.extract_value(view, 1)
    base = _element(b, t, view, *(b.extract_value(index, k) for k in range(t.ndim)))
    made = ir.Constant(ir.LiteralStructType([base.type, *[I64] * len(steps)]), ir.Undefined)
    made = b.insert_value(made, base, 0)
    for place, step in enumerate(steps, 1):
        by = I64(0)
        for k in range(t.ndim):
            by = b.add(by, b.mul(b.extract_value(step, k), b.extract_value(strides, k)))
        made = b.insert_value(made, by, place)
    return made


for _index in (types.Integer, types.BaseTuple):
    function(operator.getitem, ViewType, _view_read, ViewType, _index)(
        lambda b, s, v, i: read_element(b, _indexed(b, s, v, i), s.args[0].dtype)
    )
    function(operator.setitem, ViewType, _view_write, ViewType, _index, types.Any)(
        lambda b, s, v, i, x: write_element(b, x, _indexed(b, s, v, i), s.args[0].dtype)
    )
attributes(
    ViewType,
    {
        "pointer": (_pointer_rule, _element),
        "stride": (returns(INT, INT), _stride),
        "line": (_lines_rule(LineType, 1), _lines),
        "run": (_lines_rule(LineType, 1), _lines),
        "lines": (_lines_rule(LinesType, 2), _lines),
    },
    has_value=True,
)


# ---- vectors


def constant(element: Any, items: Sequence[Any]) -> Value:
    return ir.Constant(ir.VectorType(element, len(items)), list(items))


def splat(b: Builder, value: Value, width: int) -> Value:
    undefined = ir.Constant(ir.VectorType(value.type, width), ir.Undefined)
    return b.shuffle_vector(b.insert_element(undefined, value, I32(0)), undefined, constant(I32, [0] * width))


def first_lanes(b: Builder, count: Value, lanes: LanesType) -> Value:
    """A mask of the first `count` lanes; count is any int64."""
    most = b.select(b.icmp_signed("<", count, I64(lanes.width)), count, I64(lanes.width))
    some = b.select(b.icmp_signed(">", most, I64(0)), most, I64(0))
    # compared in integers as wide as the scalars, which gives the mask that they want
    integer = ir.IntType(lanes.dtype.bitwidth)
    some = b.trunc(some, integer) if lanes.dtype.bitwidth < 64 else some
    return b.icmp_signed("<", constant(integer, range(lanes.width)), splat(b, some, lanes.width))


def first_bits(b: Builder, count: Value, width: int) -> Value:
    """An integer of so many bits, of which the first `count` are set; count is any int64."""
    most = b.select(b.icmp_signed("<", count, I64(width)), count, I64(width))
    some = b.select(b.icmp_signed(">", most, I64(0)), most, I64(0))
    return b.trunc(b.sub(b.shl(I64(1), some), I64(1)), ir.IntType(width))


def intrinsic(b: Builder, name: str, result: Any, *args: Value) -> Value:
    kind = ir.FunctionType(result, [a.type for a in args])
    return b.call(cgutils.get_or_insert_function(b.module, kind, name), args)


def suffix(t: VectorType) -> str:
    return f"v{t.width}{'i' if t.dtype in INTEGERS else 'f'}{t.dtype.bitwidth}"


def zeros(t: VectorType) -> Value:
    return constant(ELEMENT[t.dtype], [0 if t.dtype in INTEGERS else 0.0] * t.width)


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
    def some() -> None:
        at = b.bitcast(p, llvm_vector(t).as_pointer())
        size = I32(t.dtype.bitwidth // 8)
        intrinsic(b, f"llvm.masked.store.{suffix(t)}.p0", ir.VoidType(), v, at, size, mask)

    if machine.masks_memory():
        some()
        return
    with b.if_else(full(b, mask), likely=True) as (whole, part):
        with whole:
            store(b, p, v, t)
        with part:
            some()


def some(b: Builder, lanes: LanesType, mask: Value) -> Value:
    """Is any lane in the mask?"""
    bits = ir.IntType(lanes.width)
    return b.icmp_unsigned("!=", b.bitcast(mask, bits), bits(0))


def full(b: Builder, mask: Value) -> Value:
    """Are all lanes in the mask?"""
    bits = ir.IntType(mask.type.count)
    return b.icmp_unsigned("==", b.bitcast(mask, bits), bits(-1))


def opaque(b: Builder, p: Value) -> Value:
    """p, of which the optimiser is to know nothing: what is made from it is not carried along through loops."""
    anything = ir.IntType(8).as_pointer()
    q = intrinsic(b, "llvm.launder.invariant.group.p0", anything, b.bitcast(p, anything))
    return b.bitcast(q, p.type)


def elements(b: Builder, p: Value, steps: Value) -> Value:
    """The addresses of the elements that lie so many steps from p, one for each lane."""
    made = ir.GEPInstr(b.block, p, [steps], False, "", p.type.pointee)
    made.type = ir.VectorType(p.type, steps.type.count)  # llvmlite knows no vectors of pointers by itself
    b._insert(made)
    return made


def every(b: Builder, p: Value, by: Value, width: int) -> Value:
    """The addresses of lanes that lie `by` elements apart."""
    return elements(b, p, b.mul(constant(I64, range(width)), splat(b, by, width)))


def gather(b: Builder, addresses: Value, mask: Value, t: VectorType) -> Value:
    return intrinsic(
        b,
        f"llvm.masked.gather.{suffix(t)}.v{t.width}p0",
        llvm_vector(t),
        addresses,
        I32(t.dtype.bitwidth // 8),
        mask,
        zeros(t),
    )


# ---- lines: contiguous, every second, backwards, or any step


def chosen_by_step(
    b: Builder,
    by: Value,
    cases: dict[int, Callable[[], Sequence[Value]]],
    other: Callable[[], Sequence[Value]],
) -> list[Value]:
    """One of several ways, by the step at run time. The step of a line is the same in all of a loop."""
    end = b.append_basic_block("read")
    results = []
    for step_is, way in cases.items():
        then, following = b.append_basic_block(f"step{step_is}"), b.append_basic_block("other")
        b.cbranch(b.icmp_signed("==", by, I64(step_is)), then, following)
        b.position_at_end(then)
        results.append((way(), b.block))
        b.branch(end)
        b.position_at_end(following)
    results.append((other(), b.block))
    b.branch(end)
    b.position_at_end(end)
    found = [b.phi(v.type) for v in results[0][0]]
    for values, block in results:
        for phi, value in zip(found, values, strict=True):
            phi.add_incoming(value, block)
    return found


def pick(b: Builder, first: Value, second: Value, lanes: Sequence[int]) -> Value:
    """Lanes of two vectors end to end."""
    return b.shuffle_vector(first, second, constant(I32, lanes))


def woven(width: int) -> list[int]:
    """The lanes of two vectors end to end in turn: 0, width, 1, width + 1 ..."""
    return [lane + half for lane in range(width) for half in (0, width)]


def halves(b: Builder, v: Value, zero: Value, width: int) -> tuple[Value, Value]:
    """v's lanes at every second place of 2 * width - 1, the others from `zero`: the first and the last `width`."""
    low = [e // 2 if e % 2 == 0 else width for e in range(width)]
    high = [e // 2 if e % 2 == 0 else width for e in range(width - 1, 2 * width - 1)]
    return pick(b, v, zero, low), pick(b, v, zero, high)


def evens(width: int) -> list[int]:
    """Where lanes 0, 2, 4 ... of 2 * width - 1 lie in the first `width` and the last `width` of them."""
    return [2 * i if 2 * i < width else width + 2 * i - (width - 1) for i in range(width)]


def load_every(b: Builder, lanes: LanesType, p: Value, by: Value, count: Value) -> Value:
    return read_by_step(b, p, by, first_lanes(b, count, lanes), lanes.vector)


def store_every(b: Builder, lanes: LanesType, p: Value, by: Value, v: Value, count: Value) -> None:
    write_by_step(b, p, by, v, first_lanes(b, count, lanes), lanes.vector)


def store_apart(b: Builder, lanes: LanesType, p: Value, by: Value, v: Value, between: Value) -> None:
    """The lanes `by` elements apart, and by - 1 of another vector's after each: two vectors where `by` is 2."""
    n, t = lanes.width, lanes.vector

    def contiguous() -> list[Value]:
        store(b, p, v, t)
        return []

    def second() -> list[Value]:
        mixed = [lane for i in range(n) for lane in (i, n)]
        store(b, p, pick(b, v, between, mixed[:n]), t)
        store(b, b.gep(p, [I64(n)]), pick(b, v, between, mixed[n:]), t)
        return []

    def other() -> list[Value]:
        start = opaque(b, p)
        with cgutils.for_range(b, by) as loop:
            store(b, b.gep(start, [b.mul(loop.index, I64(n))]), between, t)
        for lane in range(n):
            b.store(b.extract_element(v, I32(lane)), b.gep(start, [b.mul(by, I64(lane))]))
        return []

    chosen_by_step(b, by, {1: contiguous, 2: second}, other)


def _line_dtype(lanes: LanesType, line: LineType) -> VectorType:
    return VectorType(line.dtype, lanes.width)


def read_by_step(b: Builder, p: Value, by: Value, mask: Value | None, t: VectorType) -> Value:
    """The lanes of the mask, or all, that lie `by` elements apart."""
    n = t.width
    none, all_lanes = constant(I1, [0] * n), constant(I1, [1] * n)
    backwards = list(reversed(range(n)))

    def contiguous() -> list[Value]:
        return [load(b, p, t) if mask is None else masked_load(b, p, mask, t)]

    def second() -> list[Value]:
        q = b.gep(p, [I64(n - 1)])
        if mask is None:
            return [pick(b, load(b, p, t), load(b, q, t), evens(n))]
        low, high = halves(b, mask, none, n)
        return [pick(b, masked_load(b, p, low, t), masked_load(b, q, high, t), evens(n))]

    def reverse() -> list[Value]:
        q = b.gep(opaque(b, p), [I64(1 - n)])
        found = load(b, q, t) if mask is None else masked_load(b, q, pick(b, mask, mask, backwards), t)
        return [pick(b, found, found, backwards)]

    def other() -> list[Value]:
        return [gather(b, every(b, opaque(b, p), by, n), all_lanes if mask is None else mask, t)]

    (found,) = chosen_by_step(b, by, {1: contiguous, 2: second, -1: reverse}, other)
    return found


def write_all_by_step(
    b: Builder,
    starts: Sequence[Value],
    by: Value,
    vectors: Sequence[Value],
    mask: Value,
    t: VectorType,
    rows: Value | None = None,
) -> None:
    """The lanes of the mask of each vector, to places `by` elements apart; of the first `rows` vectors, if not of all."""
    n = t.width

    def each() -> Iterator[tuple[Value, Value]]:
        for u, (p, v) in enumerate(zip(starts, vectors, strict=True)):
            if rows is None:
                yield p, v
                continue
            with b.if_then(b.icmp_signed(">", rows, I64(u))):
                yield p, v

    def contiguous() -> list[Value]:
        for p, v in each():
            masked_store(b, p, v, mask, t)
        return []

    def second() -> list[Value]:
        masks = halves(b, mask, constant(I1, [0] * n), n)
        for p, v in each():
            values = halves(b, v, v, n)
            masked_store(b, p, values[0], masks[0], t)
            masked_store(b, b.gep(p, [I64(n - 1)]), values[1], masks[1], t)
        return []

    def scatter() -> list[Value]:
        name = f"llvm.masked.scatter.{suffix(t)}.v{n}p0"
        size = I32(t.dtype.bitwidth // 8)
        for p, v in each():
            intrinsic(b, name, ir.VoidType(), v, every(b, opaque(b, p), by, n), size, mask)
        return []

    def one_by_one() -> list[Value]:
        with b.if_else(full(b, mask), likely=True) as (whole, part):
            with whole:
                for p, v in each():
                    start = opaque(b, p)
                    for lane in range(n):
                        at = b.gep(start, [b.mul(by, I64(lane))])
                        b.store(b.extract_element(v, I32(lane)), at)
            with part:
                scatter()
        return []

    if machine.masks_memory():
        chosen_by_step(b, by, {1: contiguous, 2: second}, scatter)
    else:
        chosen_by_step(b, by, {1: contiguous}, one_by_one)


def write_by_step(b: Builder, p: Value, by: Value, v: Value, mask: Value, t: VectorType) -> None:
    """The lanes of the mask, to places `by` elements apart."""
    write_all_by_step(b, [p], by, [v], mask, t)


def read_line(b: Builder, lanes: LanesType, line: Value, mask: Value | None = None) -> Value:
    p, by = b.extract_value(line, 0), b.extract_value(line, 1)
    return read_by_step(b, p, by, mask, _lanes_of(p, lanes))


def gather_line(b: Builder, lanes: LanesType, line: Value, steps: Value, mask: Value) -> Value:
    """Steps of 32 bits as they are where elements lie side by side: one instruction on many machines."""
    p, by = b.extract_value(line, 0), b.extract_value(line, 1)
    t = _lanes_of(p, lanes)

    def contiguous() -> list[Value]:
        return [gather(b, elements(b, opaque(b, p), steps), mask, t)]

    def other() -> list[Value]:
        far = b.mul(b.sext(steps, ir.VectorType(I64, t.width)), splat(b, by, t.width))
        return [gather(b, elements(b, p, far), mask, t)]

    (found,) = chosen_by_step(b, by, {1: contiguous}, other)
    return found


def permute(b: Builder, lanes: LanesType, x: Value, y: Value, places: Value) -> Value:
    """LLVM has no such instruction for all machines; what it makes of lanes that are picked one by one is slow."""
    t, kind = lanes.vector, llvm_vector(lanes.vector)
    bits = t.width * t.dtype.bitwidth
    if bits == 512 and machine.has("avx512f"):
        letter, wide = (
            ("s", places) if t.dtype == types.float32 else ("d", b.sext(places, ir.VectorType(I64, t.width)))
        )
        return intrinsic(b, f"llvm.x86.avx512.vpermi2var.p{letter}.512", kind, x, wide, y)
    within = b.and_(places, constant(I32, [t.width - 1] * t.width))

    def picked(v: Value) -> Value:
        if bits == 256 and t.dtype == types.float32 and machine.has("avx2"):
            return intrinsic(b, "llvm.x86.avx2.permps", kind, v, within)
        made = zeros(t)
        for lane in range(t.width):
            item = b.extract_element(v, b.extract_element(within, I32(lane)))
            made = b.insert_element(made, item, I32(lane))
        return made

    first = b.icmp_signed("<", places, constant(I32, [t.width] * t.width))
    return b.select(first, picked(x), picked(y))


def load_narrow(b: Builder, lanes: LanesType, p: Value) -> Value:
    return b.trunc(load(b, p, _integers(lanes)), llvm_vector(_narrow(lanes)))


def write_line(b: Builder, lanes: LanesType, line: Value, v: Value, mask: Value) -> None:
    p, by = b.extract_value(line, 0), b.extract_value(line, 1)
    write_by_step(b, p, by, v, mask, _lanes_of(p, lanes))


def _lanes_of(p: Value, lanes: LanesType) -> VectorType:
    """As many elements as there are lanes, of the type that a pointer points to."""
    return VectorType(next(d for d, e in ELEMENT.items() if e == p.type.pointee), lanes.width)


def ramp(b: Builder, lanes: LanesType, start: Value, by: Value) -> Value:
    moved = b.mul(constant(I64, range(lanes.width)), splat(b, by, lanes.width))
    return b.add(splat(b, start, lanes.width), moved)


def within(b: Builder, lanes: LanesType, start: Value, by: Value, size: Value) -> Value:
    # one unsigned comparison; of a negative size none is within
    whole = b.select(b.icmp_signed("<", size, I64(0)), I64(0), size)
    return b.icmp_unsigned("<", ramp(b, lanes, start, by), splat(b, whole, lanes.width))


def narrow_ramp(b: Builder, lanes: LanesType, start: Value, by: Value) -> Value:
    moved = b.mul(constant(I32, range(lanes.width)), splat(b, b.trunc(by, I32), lanes.width))
    return b.add(splat(b, b.trunc(start, I32), lanes.width), moved)


def fill(b: Builder, lanes: LanesType, x: Value) -> Value:
    narrow = b.fptrunc(x, ELEMENT[lanes.dtype]) if lanes.dtype == types.float32 else x
    return splat(b, narrow, lanes.width)


def fold(combine: Callable[[Builder, Value, Value], Value]) -> Generate:
    """All lanes combined, halves first."""

    def generate(b: Builder, lanes: LanesType, v: Value) -> Value:
        width = lanes.width
        while width > 1:
            half = width // 2
            v, width = combine(b, pick(b, v, v, range(half)), pick(b, v, v, range(half, width))), half
        return as_scalar(b, b.extract_element(v, I32(0)))

    return generate


def as_scalar(b: Builder, x: Value) -> Value:
    return b.fpext(x, ELEMENT[types.float64]) if x.type == ELEMENT[types.float32] else x


def fence(b: Builder, v: Value) -> Value:
    """v, of which the optimiser is to know nothing.

    A choice between what was just read and something else, stored where it was read, it would turn into a masked
    store: on machines without instructions for these, one of some forty.
    """
    if isinstance(v, ir.Constant):
        return v
    kind = v.type
    element = getattr(kind, "element", kind)
    if isinstance(element, ir.IntType):
        real = ir.FloatType() if element.width == 32 else ir.DoubleType()
        return b.bitcast(fence(b, b.bitcast(v, ir.VectorType(real, kind.count))), kind)
    bits = "f32" if isinstance(element, ir.FloatType) else "f64"
    name = f"v{kind.count}{bits}" if element is not kind else bits
    return intrinsic(b, f"llvm.arithmetic.fence.{name}", kind, v)


def extreme(comparison: str) -> Callable[[Builder, Value, Value], Value]:
    """The first where they tie, NaN where either is: y if it is strictly beyond x, or NaN."""

    def generate(b: Builder, x: Value, y: Value) -> Value:
        beyond = fence(b, b.select(b.fcmp_ordered(comparison, y, x), y, x))  # one instruction of x86
        return b.select(b.fcmp_unordered("uno", y, y), y, beyond)

    return generate


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
        source_rows: Value,
        rows: Value,
        columns: Value,
        target: Value,
        target_rows: Value,
    ) -> None:
        t, n = lanes.vector, lanes.width

        def row(base: Value, table: Value, r: int, count: Value | None = None) -> Value:
            """Where row r lies; beyond the rows that there are, where the first does."""
            at = I64(r) if count is None else b.select(b.icmp_signed("<", I64(r), count), I64(r), I64(0))
            return b.gep(base, [b.load(b.gep(table, [at]))])

        none = ir.IntType(n)(0)

        def lanes_of_row(r: int, many: Value, lanes_set: Value) -> Value:
            """The lanes whose bits are set, if there are more than r rows."""
            here = b.select(b.icmp_signed("<", I64(r), many), lanes_set, none)
            return b.bitcast(here, ir.VectorType(I1, n))

        whole = b.and_(b.icmp_signed(">=", rows, I64(n)), b.icmp_signed(">=", columns, I64(n)))
        with b.if_else(whole, likely=True) as (fast, slow):
            with fast:
                block = [load(b, row(source, source_rows, r), t) for r in range(n)]
                for r, v in enumerate(network(b, block)):
                    store(b, row(target, target_rows, r), v, t)
            with slow:
                read = first_bits(b, columns, n)
                block = [
                    masked_load(b, row(source, source_rows, r, rows), lanes_of_row(r, rows, read), t)
                    for r in range(n)
                ]
                filled = none.type(-1) if padded else first_bits(b, rows, n)
                for r, v in enumerate(network(b, block)):
                    at = row(target, target_rows, r, columns)
                    masked_store(b, at, v, lanes_of_row(r, columns, filled), t)

    return generate


def prefetch(write: bool) -> Generate:
    """A hint; it reads nothing and cannot fail."""

    def generate(b: Builder, lanes: LanesType, p: Value) -> None:
        intrinsic(b, "llvm.prefetch.p0", ir.VoidType(), p, I32(int(write)), I32(3 if write else 2), I32(1))

    return generate


def _vector(lanes: LanesType) -> Type:
    return lanes.vector


def _pointer(lanes: LanesType) -> Type:
    return lanes.pointer


def _wide(lanes: LanesType) -> VectorType:
    return VectorType(types.float64, lanes.width)


def widen(b: Builder, lanes: LanesType, v: Value) -> Value:
    return b.fpext(v, llvm_vector(_wide(lanes))) if lanes.dtype == types.float32 else v


def _integers(lanes: LanesType) -> VectorType:
    return VectorType(INT, lanes.width)


def _narrow(lanes: LanesType) -> VectorType:
    return VectorType(types.int32, lanes.width)


def _mask(lanes: LanesType) -> MaskType:
    return MaskType(lanes.width)


def _read_rule(lanes: LanesType, line: Type, *mask: Type) -> Any:
    known = isinstance(line, LineType) and all(m == _mask(lanes) for m in mask)
    return signature(_line_dtype(lanes, line), line, *mask) if known else None


def _write_rule(lanes: LanesType, line: Type, v: Type, mask: Type) -> Any:
    known = isinstance(line, LineType) and v == _line_dtype(lanes, line) and mask == _mask(lanes)
    return signature(NOTHING, line, v, mask) if known else None


def _gather_rule(lanes: LanesType, line: Type, steps: Type, mask: Type) -> Any:
    known = isinstance(line, LineType) and steps == _narrow(lanes) and mask == _mask(lanes)
    return signature(_line_dtype(lanes, line), line, steps, mask) if known else None


def _fold_rule(lanes: LanesType, v: Type) -> Any:
    known = v in (lanes.vector, _wide(lanes))
    return signature(types.float64, v) if known else None


def _real_rule(lanes: LanesType, v: Type) -> Any:
    return signature(lanes.vector, v) if v in (_integers(lanes), _narrow(lanes)) else None


def _item_rule(lanes: LanesType, v: Type, lane: Type) -> Any:
    known = isinstance(v, VectorType) and v.width == lanes.width
    return signature(scalar_of(v.dtype), v, INT) if known else None


_TABLE = PointerType(INT)
_TWO = returns(_vector, _vector, _vector)
_MOVE = returns(NOTHING, _pointer, _TABLE, INT, INT, _pointer, _TABLE)
attributes(
    LanesType,
    {
        "zero": (returns(_vector), lambda b, l: zeros(l.vector)),
        "fill": (returns(_vector, types.float64), fill),
        "load": (returns(_vector, _pointer), lambda b, l, p: load(b, p, l.vector)),
        "store": (returns(NOTHING, _pointer, _vector), lambda b, l, p, v: store(b, p, v, l.vector)),
        "load_first": (
            returns(_vector, _pointer, INT),
            lambda b, l, p, n: masked_load(b, p, first_lanes(b, n, l), l.vector),
        ),
        "store_first": (
            returns(NOTHING, _pointer, _vector, INT),
            lambda b, l, p, v, n: masked_store(b, p, v, first_lanes(b, n, l), l.vector),
        ),
        "load_where": (
            returns(_vector, _pointer, _mask),
            lambda b, l, p, mask: masked_load(b, p, mask, l.vector),
        ),
        "load_every": (returns(_vector, _pointer, INT, INT), load_every),
        "store_every": (returns(NOTHING, _pointer, INT, _vector, INT), store_every),
        "load_apart": (
            returns(_vector, _pointer, INT),
            lambda b, l, p, by: read_by_step(b, p, by, None, l.vector),
        ),
        "store_apart": (returns(NOTHING, _pointer, INT, _vector, _vector), store_apart),
        "evens": (_TWO, lambda b, l, x, y: pick(b, x, y, list(range(0, 2 * l.width, 2)))),
        "odds": (_TWO, lambda b, l, x, y: pick(b, x, y, list(range(1, 2 * l.width, 2)))),
        "first_pairs": (_TWO, lambda b, l, x, y: pick(b, x, y, woven(l.width)[: l.width])),
        "last_pairs": (_TWO, lambda b, l, x, y: pick(b, x, y, woven(l.width)[l.width :])),
        "permute": (returns(_vector, _vector, _vector, _narrow), permute),
        "sum": (_fold_rule, fold(lambda b, x, y: b.fadd(x, y))),
        "product": (_fold_rule, fold(lambda b, x, y: b.fmul(x, y))),
        "largest": (_fold_rule, fold(extreme(">"))),
        "smallest": (_fold_rule, fold(extreme("<"))),
        "item": (_item_rule, lambda b, l, v, i: as_scalar(b, b.extract_element(v, i))),
        "integers": (returns(_integers, INT), lambda b, l, i: splat(b, i, l.width)),
        "ramp": (returns(_integers, INT, INT), ramp),
        "real": (_real_rule, lambda b, l, v: b.sitofp(v, llvm_vector(l.vector))),
        "narrow_integers": (returns(_narrow, INT), lambda b, l, i: splat(b, b.trunc(i, I32), l.width)),
        "narrow_ramp": (returns(_narrow, INT, INT), narrow_ramp),
        "narrow": (returns(_narrow, _vector), lambda b, l, v: b.fptosi(v, llvm_vector(_narrow(l)))),
        "load_narrow": (returns(_narrow, _TABLE), load_narrow),
        "long": (returns(_integers, _narrow), lambda b, l, v: b.sext(v, llvm_vector(_integers(l)))),
        "first": (returns(_mask, INT), lambda b, l, n: first_lanes(b, n, l)),
        "within": (returns(_mask, INT, INT, INT), within),
        "bits": (
            returns(_mask, INT),
            lambda b, l, i: b.bitcast(b.trunc(i, ir.IntType(l.width)), ir.VectorType(I1, l.width)),
        ),
        "some": (returns(types.boolean, _mask), some),
        "where": (returns(_mask, types.boolean), lambda b, l, c: splat(b, c, l.width)),
        "read": (_read_rule, read_line),
        "read_where": (_read_rule, read_line),
        "gather": (_gather_rule, gather_line),
        "write_where": (_write_rule, write_line),
        "widen": (returns(_wide, _vector), widen),
        "wide_zero": (returns(_wide), lambda b, l: zeros(_wide(l))),
        "transpose": (_MOVE, transpose(padded=False)),
        "transpose_padded": (_MOVE, transpose(padded=True)),
        "soon_read": (returns(NOTHING, _pointer), prefetch(write=False)),
        "soon_written": (returns(NOTHING, _pointer), prefetch(write=True)),
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
    return lambda b, sig, x, y: extreme(comparison)(b, x, y)


def _compare(x: Type, y: Type) -> Any:
    return signature(MaskType(x.width), x, y) if x == y else None


def _comparison(symbol: str) -> Generate:
    real = "fcmp_unordered" if symbol == "!=" else "fcmp_ordered"

    def generate(b: Builder, s: Any, x: Value, y: Value) -> Value:
        return getattr(b, "icmp_signed" if s.args[0].dtype in INTEGERS else real)(symbol, x, y)

    return generate


def _either(real: str, integer: str) -> Generate:
    """An instruction of vectors of reals, or of integers."""
    return lambda b, s, *args: getattr(b, integer if s.return_type.dtype in INTEGERS else real)(*args)


def same_reals(t: VectorType, *others: Type) -> Any:
    """A rule: as _same, and the vectors hold reals."""
    return None if t.dtype in INTEGERS else _same(t, *others)


_ARITHMETIC: tuple[tuple[Any, Rule, int, Generate], ...] = (
    (operator.add, _same, 2, _either("fadd", "add")),
    (operator.sub, _same, 2, _either("fsub", "sub")),
    (operator.mul, _same, 2, _either("fmul", "mul")),
    (operator.truediv, same_reals, 2, lambda b, s, x, y: b.fdiv(x, y)),
    (operator.neg, _same, 1, _either("fneg", "neg")),
    (operator.lt, _compare, 2, _comparison("<")),
    (operator.le, _compare, 2, _comparison("<=")),
    (operator.gt, _compare, 2, _comparison(">")),
    (operator.ge, _compare, 2, _comparison(">=")),
    (simd.equal, _compare, 2, _comparison("==")),
    (simd.unequal, _compare, 2, _comparison("!=")),
)
for _name, _rule, _count, _generate in _ARITHMETIC:
    function(_name, VectorType, _rule, *[VectorType] * _count)(_generate)


_MASKS: tuple[tuple[Any, int, Generate], ...] = (
    (operator.and_, 2, lambda b, s, x, y: b.and_(x, y)),
    (operator.or_, 2, lambda b, s, x, y: b.or_(x, y)),
    (operator.invert, 1, lambda b, s, x: b.not_(x)),
)
for _name, _count, _generate in _MASKS:
    function(_name, MaskType, _same, *[MaskType] * _count)(_generate)


def _scalars(*given: Type) -> Any:
    """A rule: numbers, one of them a float at least; all are taken as float64."""
    numbers = all(isinstance(t, (types.Float, types.Integer)) for t in given)
    floats = any(isinstance(t, types.Float) for t in given)
    return signature(types.float64, *[types.float64] * len(given)) if numbers and floats else None


_EITHER: tuple[tuple[Any, int, Generate], ...] = (
    (simd.fma, 3, _fma),
    (simd.maximum, 2, _extreme(">")),
    (simd.minimum, 2, _extreme("<")),
)
for _name, _count, _generate in _EITHER:
    function(_name, VectorType, same_reals, *[VectorType] * _count)(_generate)
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
)(lambda b, s, m, x, y: b.select(m, x, fence(b, y)))


# ---- the register tile: a stack slot that LLVM takes apart once the loops over it are unrolled


def stack_slots(b: Builder, r: RegistersType) -> Value:
    return cgutils.alloca_once(b, llvm_vector(r.vector), size=r.rows * r.columns)


def _slot(b: Builder, r: RegistersType, base: Value, at: Value) -> Value:
    row, column = b.extract_value(at, 0), b.extract_value(at, 1)
    return b.gep(base, [b.add(b.mul(row, I64(r.columns)), column)])


def column_type(t: TileType) -> RegistersType:
    return RegistersType(t.lanes.vector, 1, t.lines)


def _wide_column(t: TileType) -> RegistersType:
    return RegistersType(_wide(t.lanes), 1, t.lines)


def _narrow_column(t: TileType) -> RegistersType:
    return RegistersType(_narrow(t.lanes), 1, t.lines)


def _span(t: TileType) -> RegistersType:
    return RegistersType(t.lanes.vector, 1, t.lines + t.taps - 1)


def starts_of(b: Builder, p: Value, apart: Value, count: int) -> list[Value]:
    """The addresses of lines that lie equally far apart.

    From one register and multiples of another: what the optimiser knows of p it would take apart, and keep one
    register for each line, which there are not.
    """
    p = opaque(b, p)
    return [b.gep(p, [b.mul(apart, I64(u))]) for u in range(count)]


def load_lines(kind: Callable[[TileType], RegistersType]) -> Generate:
    def generate(b: Builder, t: TileType, p: Value, apart: Value) -> Value:
        made = kind(t)
        slots = stack_slots(b, made)
        for u, start in enumerate(starts_of(b, p, apart, made.columns)):
            b.store(load(b, start, made.vector), b.gep(slots, [I64(u)]))
        return slots

    return generate


def column_vectors(b: Builder, t: TileType, column: Value) -> list[Value]:
    return [b.load(b.gep(column, [I64(u)])) for u in range(t.lines)]


def write_column(b: Builder, t: TileType, lines: Value, column: Value, rows: Value, mask: Value) -> None:
    p, by, apart = (b.extract_value(lines, k) for k in range(3))
    starts, vectors = starts_of(b, p, apart, t.lines), column_vectors(b, t, column)
    write_all_by_step(b, starts, by, vectors, mask, t.lanes.vector, rows)


def read_column(b: Builder, t: TileType, lines: Value, rows: Value, mask: Value) -> Value:
    p, by, apart = (b.extract_value(lines, k) for k in range(3))
    slots, v = stack_slots(b, column_type(t)), t.lanes.vector
    starts = starts_of(b, p, apart, t.lines)

    def each_row(read: Callable[[Value], Value]) -> list[Value]:
        for u, start in enumerate(starts):
            there = b.gep(slots, [I64(u)])
            b.store(zeros(v), there)
            with b.if_then(b.icmp_signed(">", rows, I64(u))):
                b.store(read(start), there)
        return []

    def side_by_side() -> list[Value]:
        with b.if_else(b.and_(full(b, mask), b.icmp_signed(">=", rows, I64(t.lines)))) as (whole, part):
            with whole:
                for u, start in enumerate(starts):
                    b.store(load(b, start, v), b.gep(slots, [I64(u)]))
            with part:
                each_row(lambda start: masked_load(b, start, mask, v))
        return []

    chosen_by_step(
        b, by, {1: side_by_side}, lambda: each_row(lambda start: read_by_step(b, start, by, mask, v))
    )
    return slots


def write_pairs(
    b: Builder, t: TileType, lines: Value, first: Value, second: Value, rows: Value, count: Value
) -> None:
    p, by, apart = (b.extract_value(lines, k) for k in range(3))
    width = t.lanes.width
    pairs = list(zip(column_vectors(b, t, first), column_vectors(b, t, second), strict=True))
    for half in range(2):
        places = woven(width)[half * width : (half + 1) * width]
        starts = starts_of(b, b.gep(p, [b.mul(by, I64(half * width))]), apart, t.lines)
        mask = first_lanes(b, b.sub(count, I64(half * width)), t.lanes)
        write_all_by_step(
            b, starts, by, [pick(b, x, y, places) for x, y in pairs], mask, t.lanes.vector, rows
        )


def _write_column_rule(t: TileType, *given: Type) -> Any:
    known = given == (LinesType(t.lanes.dtype), column_type(t), INT, _mask(t.lanes))
    return signature(NOTHING, *given) if known else None


def _read_column_rule(t: TileType, *given: Type) -> Any:
    known = given == (LinesType(t.lanes.dtype), INT, _mask(t.lanes))
    return signature(column_type(t), *given) if known else None


def _write_pairs_rule(t: TileType, *given: Type) -> Any:
    known = given == (LinesType(t.lanes.dtype), column_type(t), column_type(t), INT, INT)
    return signature(NOTHING, *given) if known else None


_PLACE = types.UniTuple(INT, 2)
attributes(
    TileType,
    {
        "registers": (
            returns(lambda t: t.registers(t.pixels)),
            lambda b, t: stack_slots(b, t.registers(t.pixels)),
        ),
        "row": (returns(lambda t: t.registers(1)), lambda b, t: stack_slots(b, t.registers(1))),
        "column": (returns(column_type), lambda b, t: stack_slots(b, column_type(t))),
        "load_column": (returns(column_type, lambda t: t.lanes.pointer, INT), load_lines(column_type)),
        "load_span": (returns(_span, lambda t: t.lanes.pointer, INT), load_lines(_span)),
        "read_where": (_read_column_rule, read_column),
        "write_where": (_write_column_rule, write_column),
        "write_pairs": (_write_pairs_rule, write_pairs),
        "wide_column": (returns(_wide_column), lambda b, t: stack_slots(b, _wide_column(t))),
        "narrow_column": (returns(_narrow_column), lambda b, t: stack_slots(b, _narrow_column(t))),
    },
    {
        "pixels": (lambda t: INT, lambda b, t: I64(t.pixels)),
        "lines": (lambda t: INT, lambda b, t: I64(t.lines)),
        "few": (lambda t: INT, lambda b, t: I64(t.few)),
        "taps": (lambda t: INT, lambda b, t: I64(t.taps)),
        "vectors": (lambda t: INT, lambda b, t: I64(t.vectors)),
        "rows": (lambda t: INT, lambda b, t: I64(t.rows)),
        "steps": (lambda t: INT, lambda b, t: I64(t.steps)),
        "depth": (lambda t: INT, lambda b, t: I64(t.depth)),
        "channels": (lambda t: INT, lambda b, t: I64(t.vectors * t.lanes.width)),
        "lanes": (lambda t: t.lanes, lambda b, t: None),
        "short": (lambda t: t.short, lambda b, t: None),
        "slim": (lambda t: t.slim, lambda b, t: None),
        "narrow": (lambda t: t.narrow, lambda b, t: None),
        "tall": (lambda t: t.tall, lambda b, t: None),
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
