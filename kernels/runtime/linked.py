"""Functions that are compiled once, for all tasks that call them.

A `@kernel` function becomes part of every task that calls it, which lets LLVM tailor it. What is large and does not
gain by that, say the blocking of a contraction with its micro-kernels, is marked `@linked`: a task then calls it by
its symbol, a name with a digest, and what is behind the symbol is made or loaded before the task is. In plain Python
it stays the function that it is.
"""

from __future__ import annotations

import types as python_types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import register_jitable

from kernels.runtime.digest import references, source_digest, variant
from kernels.runtime.lowering import INT, PointerType, TileType

F = TypeVar("F", bound=Callable[..., object])

_TYPES: dict[str, Callable[[TileType], types.Type]] = {
    "Scratch": lambda tile: PointerType(tile.lanes.dtype),
    "IntegerScratch": lambda tile: PointerType(INT),
    "int": lambda tile: INT,
    "Scalar": lambda tile: types.float64,
    "bool": lambda tile: types.boolean,
}


class Linked:
    """A function (tile, ...) -> None whose arguments are pointers, integers, scalars and truth values."""

    def __init__(self, function: Callable[..., object]) -> None:
        code = function.__code__
        names = code.co_varnames[: code.co_argcount]
        hints = [str(function.__annotations__[name]) for name in names]
        assert hints[0] == "Tile", f"{function.__qualname__}: its first argument is `Tile`, as text"
        self.name, self.names, self.kinds = function.__name__, names[1:], hints[1:]
        # by its own name it is called; the body that is compiled is another function of the same code
        self.body = python_types.FunctionType(code, function.__globals__, self.name)
        self.body.__annotations__ = function.__annotations__
        self.body.__module__, self.body.__qualname__ = function.__module__, function.__qualname__

    def types(self, tile: TileType) -> tuple[types.Type, ...]:
        """Of the arguments but for the tile, all of which is known when it is compiled."""
        return tuple(_TYPES[kind](tile) for kind in self.kinds)

    def symbol(self, tile: TileType) -> str:
        """What it is called by."""
        return f"{self.name}__{source_digest(self.body)}__{variant(tile)}"

    def call(self, context: Any, builder: Any, sig: Any, args: Sequence[Any]) -> Any:
        """The LLVM of a call."""
        kinds = [context.get_value_type(t) for t in sig.args[1:]]
        callee = ir.FunctionType(ir.VoidType(), kinds)
        function = cgutils.get_or_insert_function(builder.module, callee, self.symbol(sig.args[0]))
        builder.call(function, args[1:])
        return context.get_dummy_value()


_linked: dict[Callable[..., object], Linked] = {}


def linked(function: F) -> F:
    """Mark a function (tile, ...) -> None that tasks call by its symbol. It stays ordinary Python."""
    entry = _linked[function] = Linked(function)

    class Called(AbstractTemplate):
        key = function

        def generic(self, args: Sequence[Any], kws: dict[str, Any]) -> Any:
            if kws or len(args) != 1 + len(entry.kinds) or not isinstance(args[0], TileType):
                return None
            return signature(types.none, args[0], *entry.types(args[0]))

    infer_global(function, types.Function(Called))
    lower_builtin(function, types.VarArg(types.Any))(entry.call)
    return function


def linked_by(function: Any, seen: set[int] | None = None) -> Iterator[Linked]:
    """What a function, or what it calls, is linked with."""
    seen = set() if seen is None else seen
    if id(function) in seen:
        return
    seen.add(id(function))
    for _, value in references(function):
        if isinstance(value, python_types.FunctionType):
            if value in _linked:
                if id(value) not in seen:
                    seen.add(id(value))
                    yield _linked[value]
            elif not value.__module__.startswith("numba"):
                yield from linked_by(value, seen)


def rebound(function: F, owner: Callable[..., object], names: dict[str, Any]) -> F:
    """A linked function anew, with other values behind some of the names that it and its callees use.

    It counts as part of the module of `owner`, is called and cached after it, and depends on its code.
    """
    made: dict[Callable[..., object], Any] = {}

    def differs(one: Any, seen: set[int]) -> bool:
        if not isinstance(one, python_types.FunctionType) or id(one) in seen:
            return False
        seen.add(id(one))
        return any(name in names or differs(value, seen) for name, value in references(one))

    def copy(one: Any, name: str) -> Any:
        if one not in made:
            code = one.__code__.replace(co_filename=owner.__code__.co_filename)
            bound = dict(one.__globals__)
            made[one] = copied = python_types.FunctionType(code, bound, name)
            copied.__annotations__, copied.__doc__ = one.__annotations__, one.__doc__
            copied.__module__, copied.__qualname__ = owner.__module__, name
            for callee, value in references(one):
                if callee not in names and differs(value, set()):
                    bound[callee] = copy(value, callee)
            bound.update(names)
            if one is not function:
                register_jitable(copied)
        return made[one]

    result: F = linked(copy(function, f"{function.__name__}_{owner.__name__}"))
    return result
