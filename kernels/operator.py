"""The object a user calls: the operator, its pullback, and the pullback of that.

Everything here is written once, for any definition and any adapter. A gradient has the layout of its input,
a cotangent or tangent that of what it belongs to, so all of them reach the kernels through the views that the
plan of the forward call already holds. What a call is checked and prepared for is kept (`kernels.specialize`).
"""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kernels.adapter import Adapter, Layout, Plain, Plan, Spec
from kernels.arguments import (
    INTEGER,
    LARGEST_INTEGER,
    MOST_AXES,
    REAL,
    Array,
    Shape,
    as_array,
    as_indices,
    attribute,
    check_below,
    check_out,
    check_real,
    check_same,
    check_size,
    cotangent,
    empty,
    entries,
    integer,
    readable,
    real,
    short,
    shown,
    word,
)
from kernels.errors import AllocationError, ArgumentError, ArgumentTypeError, KernelError, ShapeError
from kernels.in_place import Pairs, in_place
from kernels.runtime.execute import Place, RoomError, address, prepare
from kernels.runtime.selection import Run, left, missing, read
from kernels.specialize import (
    SPECIALIZATIONS,
    Input,
    Keeper,
    Program,
    Recent,
    Seen,
    Specialization,
    Targets,
    call_key,
)

if TYPE_CHECKING:
    from kernels.runtime.definition import Definition

Result = Any  # one array, or a tuple of them where an operator has several outputs
NOTHING: Mapping[str, Seen] = MappingProxyType({})
COMMON = """Real arrays are all float32 or all float64, the result too; with any strides, and read where they lie.
`out=` takes the result. With `.vjp` and `.jvp` come the derivatives, derived from `.formula`; `.source()` has the kernels.
A call that cannot be right raises a kernels.KernelError, which names the argument, before anything is written."""
Later = tuple[str, tuple[str, ...]]  # a program that will run, and what will be wanted of it
Gradients = tuple[Any, ...]  # arrays, and None for arguments that are absent or integer


class Call(NamedTuple):
    """A checked call."""

    operator: Operator
    known: Specialization
    arrays: Sequence[Array]  # one for each input of the specialization
    args: Sequence[Any]  # as the user gave them, for errors
    options: Mapping[str, Any]

    @property
    def plan(self) -> Plan:
        return self.known.plan

    def arguments(self) -> dict[str, Any]:
        return self.operator.adapter.arguments(self.args, self.options)


SMALL_FULL = 1 << 14  # elements


def filled(shape: tuple[int, ...], value: Any, dtype: Any) -> np.ndarray[Any, Any]:
    """An array full of one number: side by side, which vectors read faster, unless it is large; then of stride 0."""
    if prod(shape) <= SMALL_FULL:
        return np.full(shape, value, dtype)
    return np.broadcast_to(np.array(value, dtype), shape)


class Operator:
    """An operator with every derivative.

        y = operator(*arrays, **options)
        y, pullback = operator.vjp(*arrays, wrt=None, **options)
        gradients = pullback(gy)
        y, ty = operator.jvp(arrays, tangents, **options)

    `operator.formula` is what it computes, `operator.source()` how.
    """

    def __init__(
        self,
        definition: Definition,
        adapter: Adapter | None = None,
        *,
        module: str | None = None,
        name: str | None = None,
    ) -> None:
        self.definition = definition
        self.adapter = adapter if adapter is not None else Plain(definition)
        self._specs = {dtype: Spec(definition, self.adapter.axes, dtype) for dtype in REAL}
        self._spec = self._specs[np.dtype(np.float64)]
        self._inputs = definition.programs["forward"].inputs
        self._integers = frozenset(t.name for t in definition.tensors if t.integer)
        self._real_arguments = tuple(n for n, t in self.adapter.tensors.items() if t not in self._integers)
        self._known: Recent[Specialization] = Recent(SPECIALIZATIONS)
        self._parameters = tuple(self.adapter.signature.parameters)
        self._arguments = arrays = tuple(self.adapter.tensors)
        places = [self._parameters.index(name) for name in arrays]
        self._later = frozenset(p for n, p in enumerate(places) if p != n)  # torch has options before some
        assert places[:1] == [0], f"{definition.name}: an array comes first"
        self._defaults = {name: p.default for name, p in self.adapter.signature.parameters.items()}
        self.__name__ = self.__qualname__ = name if name is not None else definition.name
        self.__doc__ = f"{self.adapter.doc}\n\n{COMMON}\n"
        if module is not None:
            self.__module__ = module
        out = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)
        self.__signature__ = inspect.Signature([*self.adapter.signature.parameters.values(), out])

    # ------------------------------------------------------------------------------------ calls

    def __call__(self, /, *args: Any, out: Any = None, **options: Any) -> Result:
        call = self._bind(args, options)
        return self._forward(call, out)

    def vjp(
        self, /, *args: Any, wrt: str | Sequence[str] | None = None, out: Any = None, **options: Any
    ) -> tuple[Result, Pullback]:
        """The result, and the pullback that takes its cotangent to the gradients of the array arguments.

        `wrt` names the arguments wanted (all by default). The arrays are kept, not copied: they must not be
        written to until the pullback has been called for the last time. It also keeps what its gradients need
        and no cotangent changes (the maxima of a softmax, say), from this call or from the first of its own.
        """
        call = self._bind(args, options)
        if call.known.indices:  # whose type a caller may change in place, past the check of values
            call = call._replace(arrays=[array.view() for array in call.arrays])
        pullback = Pullback(self, call, self._wanted(wrt, self._real_arguments, call))
        return self._forward(call, out, pullback._keeper, pullback._later), pullback

    def jvp(
        self, primals: Sequence[Any], tangents: Sequence[Any], /, **options: Any
    ) -> tuple[Result, Result]:
        """The result and its tangent. One tangent for each of the primals; None is zero."""
        with self._telling():
            primals, tangents = several("primals", primals), several("tangents", tangents)
            if len(primals) > len(self.adapter.tensors):
                names = ", ".join(self.adapter.tensors)
                raise ArgumentTypeError(
                    f"`primals` has {len(primals)} entries but the array arguments are {names}"
                )
            if len(tangents) != len(primals):
                raise ArgumentTypeError(
                    f"`tangents` has {len(tangents)} entries but needs {len(primals)}, one for each primal"
                )
        call = self._bind(*self._as_call(primals, options))
        with self._telling(call.arguments):
            given = dict(zip(self.adapter.tensors, tangents, strict=False))
            moved = self._tangents(call, given, "t")
        outputs, keeper = call.known.real, Keeper(self._inputs)
        later = "jvp", tuple("t" + o.tensor for o in outputs)
        y = self._forward(call, None, keeper, later)
        found = dict(zip(outputs, self._run(call, *later, outputs, moved, keeper=keeper), strict=True))
        return y, collected([found.get(o) for o in call.plan.outputs])

    def _as_call(
        self, arrays: Sequence[Any], options: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arrays in order as arguments of a call: by name where options come before them."""
        leading = len(self._arguments) - len(self._later)
        named = dict(zip(self._arguments[leading:], arrays[leading:], strict=False))
        with self._telling():
            for name in named:
                if name in options:
                    raise ArgumentTypeError(f"`{name}` is given twice: among the primals, and by its name")
        # more than it has arrays, another of its family may have
        return tuple(arrays[:leading] if self._later else arrays), {**named, **options}

    def output_shape(self, /, *args: Any, **options: Any) -> Any:
        """The shape of the result from arrays or their shapes (several outputs: a tuple of shapes)."""
        outputs = self.planned(*args, **options).outputs
        return outputs[0].shape if len(outputs) == 1 else tuple(o.shape for o in outputs)

    def planned(self, /, *args: Any, **options: Any) -> Plan:
        """What a call would do, from arrays or their shapes: how each array is seen as a tensor of the formula, and
        every integer of the formula. Nothing is computed."""
        with self._telling():
            arguments = self.adapter.arguments(args, options)
        with self._telling(lambda: arguments):
            shapes = {
                name: shape_of(name, arguments[name], self._may_be_absent(name))
                for name in self.adapter.tensors
            }
            plan = self.adapter.plan(self._spec, **(arguments | shapes))
            for layout in plan.outputs:
                check_size("the result", layout.shape)
        return plan

    # ------------------------------------------------------------------------------- what it is

    @property
    def buffers(self) -> tuple[str, ...]:
        """Array arguments that are no parameters of a layer: in training their new values follow the result."""
        return self.adapter.buffers

    @property
    def formula(self) -> str:
        """The equations, in the letters that generated kernels use."""
        return self.definition.formula

    def _repr_latex_(self) -> str:
        latex = self.definition.latex
        if "\\\\" in latex and "&" not in latex:  # several equations, one below the other
            latex = "\\begin{aligned} & " + latex.replace("\\\\", "\\\\ & ") + " \\end{aligned}"
        return f"$\\displaystyle {latex}$"

    def source(self) -> str:
        """The generated module: every kernel, forward and backward."""
        sizes = self.definition.sizes
        file = inspect.getsourcefile(sizes) or inspect.getfile(sizes)
        linecache.checkcache(file)
        return "".join(linecache.getlines(file, sizes.__globals__))

    def __repr__(self) -> str:
        return f"<operator {self.__name__}{self.__signature__}>"

    def __copy__(self) -> Operator:
        return self

    def __deepcopy__(self, memo: Any) -> Operator:
        return self  # nothing in it changes

    def __reduce__(self) -> str | tuple[Any, ...]:
        if self.__module__ == type(self).__module__:
            raise TypeError(
                f"{self.__name__} was built in memory and cannot be pickled; its generated package can"
            )
        return self.__name__

    # --------------------------------------------------------------------------------- machinery

    def _bind(self, args: Sequence[Any], options: Mapping[str, Any]) -> Call:
        """Check everything that the caller passed; only a call that can run comes back."""
        key = call_key(args, options, self.adapter.tensors, self._later)
        known = None if key is None else self._known.get(key)
        if known is None:
            return self._bind_anew(key, args, options)
        if known.first:
            arrays: Sequence[Array] = args[: len(known.inputs)]
        else:
            arrays = [self._array(i, args, options) for i in known.inputs]
        call = Call(self, known, arrays, args, options)
        if known.indices:
            with self._telling(call.arguments):
                self._check_indices(call)
        return call

    def _bind_anew(self, key: Hashable | None, args: Sequence[Any], options: Mapping[str, Any]) -> Call:
        """A call of a kind that was not seen before, or cannot be recognised."""
        with self._telling():
            arguments = self.adapter.arguments(args, options)
        with self._telling(lambda: arguments):
            arrays, dtype = self._arrays(arguments)
            shapes = {name: None if array is None else array.shape for name, array in arrays.items()}
            plan = self.adapter.plan(self._specs[dtype], **(arguments | shapes))
            inputs: list[Input] = []
            seen: list[Array] = []
            for layout in plan.inputs:
                given, array = arguments[layout.argument], arrays[layout.argument]
                number = self._parameters.index(layout.argument)
                source = number if number < len(args) else layout.argument
                if array is None:
                    assert layout.fill is not None
                    full = layout.view(filled(layout.shape, layout.fill, dtype))
                    inputs.append(Input(layout, source, Place.of(full), False, full))
                    seen.append(full)
                    continue
                view = readable(layout.view(array))
                direct = given is array and (not array.size or address(view) == address(array))
                inputs.append(Input(layout, source, Place.of(view), direct))
                seen.append(array if direct else view)
            below = [
                n
                for n, i in enumerate(inputs)
                if i.layout.values is not None or self._spec.tensors[i.layout.tensor].below is not None
            ]
            names = tuple(o.tensor for o in plan.outputs)
            real = tuple(o for o in plan.outputs if o.tensor not in self._integers)
            first = all(i.direct and i.source == n for n, i in enumerate(inputs))
            known = Specialization(plan, dtype, tuple(inputs), tuple(below), names, real, first)
            call = Call(self, known, seen, args, options)
            self._check_indices(call)
        if key is not None:
            self._known.put(key, known)
        return call

    def _array(self, i: Input, args: Sequence[Any], options: Mapping[str, Any]) -> Array:
        """An input: itself, or where kernels do not read it as it lies a copy, as the tensor of the formula."""
        if i.full is not None:
            return i.full
        array: Array = args[i.source] if isinstance(i.source, int) else options[i.source]
        if i.direct:
            return array
        with self._telling(lambda: self.adapter.arguments(args, options)):
            if i.layout.tensor in self._integers:
                array = as_indices(i.layout.argument, array)
            view = readable(i.layout.view(array))
        assert Place.of(view) == i.place
        return view

    def _arrays(self, arguments: Mapping[str, Any]) -> tuple[dict[str, Array | None], np.dtype[Any]]:
        """The array arguments as arrays of the right types, and the type that the call computes in."""
        arrays: dict[str, Array | None] = {}
        first, dtype, numbers = "", None, dict[str, float]()
        for name, letter in self.adapter.tensors.items():
            tensor, value = self._spec.tensors[letter], arguments[name]
            if type(value) in (int, float) and not tensor.integer:
                arrays[name], numbers[name] = (
                    None,
                    real(name, value),
                )  # in its place, until the type of the arrays is known
                continue
            if value is None and self._may_be_absent(name):
                arrays[name] = None
                continue
            array = as_array(name, value)
            if tensor.integer:
                array = as_indices(name, array)
            else:
                check_real(name, array, dtype)
                if dtype is None:
                    first, dtype = name, array.dtype
                check_same(name, array, first, dtype)
            arrays[name] = array
        dtype = np.dtype(np.float64) if dtype is None else dtype
        with np.errstate(over="ignore"):  # what is too large for float32 is infinite there
            arrays |= {name: np.array(number, dtype) for name, number in numbers.items()}
        return arrays, dtype

    def _may_be_absent(self, name: str) -> bool:
        """Is there something that the formula, or the adapter, takes for it? (torch has no array by default.)"""
        return self._spec.tensors[self.adapter.tensors[name]].optional or self._defaults[name] is None

    def _check_indices(self, call: Call) -> None:
        """Values that kernels use as indices. Before each run: the array may have changed since the last."""
        for n in call.known.indices:
            layout = call.known.inputs[n].layout
            if (v := layout.values) is not None:
                check_below(layout.argument, call.arrays[n], layout.shape, v.below, v.origin, v.also)
                continue
            below = self._spec.tensors[layout.tensor].below
            assert below is not None
            extent, origin = call.plan.environment[below], self._origin(call.plan, below)
            check_below(layout.argument, call.arrays[n], layout.shape, extent, origin)

    def _origin(self, plan: Plan, extent: str) -> str:
        """Where an extent of the formula comes from, in the user's words."""
        for layout in plan.inputs:
            names = self._spec.tensors[layout.tensor].shape
            if extent in names:
                return f"{extent}, an axis of `{layout.argument}` {layout.shape}"
        return extent

    def _forward(
        self, call: Call, out: Any, keeper: Keeper | None = None, later: Later | None = None
    ) -> Result:
        names, outputs = call.known.names, call.known.plan.outputs
        if out is None:
            return collected(self._run(call, "forward", names, outputs, keeper=keeper, later=later))
        with self._telling(call.arguments):
            # what a pullback or a tangent will read has to stay as it is
            given = self._checked_out(call, out, self._in_place if keeper is None else frozenset())
            seen = [Seen.by(layout, array) for layout, array in zip(outputs, given, strict=True)]
        self._run(call, "forward", names, outputs, NOTHING, seen, keeper, later)
        for array, s in zip(given, seen, strict=True):
            if s.array is not array and not np.may_share_memory(s.array, array):  # a kernel cannot write it
                array[...] = s.array.reshape(array.shape)
        return out if len(given) == 1 else entries(out)

    @cached_property
    def _in_place(self) -> Pairs:
        return in_place(self.definition)

    def _checked_out(self, call: Call, out: Any, pairs: Pairs) -> list[Array]:
        layouts = call.plan.outputs
        outs = entries(out) if len(layouts) > 1 else (out,)
        if outs is None or len(outs) != len(layouts):
            raise ArgumentTypeError(f"`out` is {shown(out)} but needs a tuple of {len(layouts)} arrays")
        inputs = [(i.layout.argument, array) for i, array in zip(call.known.inputs, call.arrays, strict=True)]
        for i in call.known.inputs:  # of one that was copied the original counts: strides make no difference
            if i.full is not None:
                continue
            original = call.args[i.source] if isinstance(i.source, int) else call.options[i.source]
            if not i.direct and isinstance(original, np.ndarray):
                inputs.append((i.layout.argument, np.asarray(original)))
        others: list[tuple[str, Array]] = []
        given: list[Array] = []
        for n, (layout, array) in enumerate(zip(layouts, outs, strict=True)):
            name = f"out[{n}]" if len(layouts) > 1 else "out"
            same = {
                i.layout.argument
                for i, own in zip(call.known.inputs, call.arrays, strict=True)
                if i.direct
                and (layout.tensor, i.layout.tensor) in pairs
                and one_place(layout, array, i.layout, own)
            }
            read = [(argument, own) for argument, own in inputs if argument not in same]
            given.append(check_out(name, array, layout.shape, self._dtype(layout.tensor, call), read, others))
            others.append((name, given[n]))
        return given

    def _dtype(self, tensor: str, call: Call) -> np.dtype[Any]:
        return INTEGER if tensor in self._integers else call.known.dtype

    def _run(
        self,
        call: Call,
        program: str,
        names: tuple[str, ...],
        layouts: Sequence[Layout],
        further: Mapping[str, Seen] = NOTHING,
        out: Sequence[Seen] | None = None,
        keeper: Keeper | None = None,
        later: Later | None = None,
    ) -> list[Array]:
        """Run one program on the call's arrays and some further ones; its outputs by name, in order.

        What the keeper has is read, not made again; what is made and `later` will need, it is given.
        """
        if not names:
            return []
        known, kept = call.known, keeper.tensors if keeper is not None else {}
        key = (
            program,
            names,
            tuple([(name, seen.strides) for name, seen in further.items()]) if further else (),
            None if out is None else tuple([seen.strides for seen in out]),
            tuple(kept) if kept else (),
            later,
        )
        found = known.programs.get(key)
        if found is None:
            with self._telling(call.arguments):
                found = self._prepare(call, program, names, layouts, further, out, keeper, later)
            known.programs.put(key, found)
        arrays: list[Array] = []
        if out is not None:
            for seen, (_, _, zeroed) in zip(out, found.results, strict=False):
                if zeroed:
                    seen.array.fill(0)
                arrays.append(seen.array)
        try:
            for shape, dtype, zeroed in found.results[len(arrays) :]:
                arrays.append(empty("the result", shape, dtype, zeroed))
        except KernelError as error:
            raise self._telling(call.arguments).told(error) from None
        given = [*call.arrays]
        for seen in further.values():
            given.append(seen.array)
        for origin in found.read:
            given.append(kept[origin])
        try:
            found.prepared.run(given + arrays)
        except RoomError as error:
            raise self._telling(call.arguments).told(AllocationError(str(error))) from None
        if found.left:
            assert keeper is not None
            keeper.keep(found.left, arrays[len(layouts) :])
            return arrays[: len(layouts)]
        return arrays

    def _prepare(
        self,
        call: Call,
        program: str,
        names: tuple[str, ...],
        layouts: Sequence[Layout],
        further: Mapping[str, Seen],
        out: Sequence[Seen] | None,
        keeper: Keeper | None,
        later: Later | None,
    ) -> Program:
        definition, known, plan = self.definition, call.known, call.plan
        if out is None:
            for o in layouts:
                check_size("the result", o.shape)
            out = [Seen.by(o, empty("the result", o.shape, self._dtype(o.tensor, call))) for o in layouts]
        given = {i.layout.tensor: i.place for i in known.inputs}
        given |= {name: seen.place for name, seen in further.items()}
        wanted = {name: seen.place for name, seen in zip(names, out, strict=True)}
        results = [(o.shape, self._dtype(o.tensor, call)) for o in layouts]

        kept: dict[str, int] = {}
        leaves: dict[str, int] = {}
        if keeper is not None:
            absent = frozenset(missing(definition.programs[program], given, plan.reals))
            now = Run(program, names, absent)
            kept = read(definition, now, keeper.tensors)
            nothing = all(0 in o.shape for o in layouts)  # an empty result is not worth an intermediate one
            if later is not None and not nothing:
                leaves = left(definition, now, Run(*later, absent), keeper.fixed, keeper.tensors)
        for tensors, places in ((kept, given), (leaves, wanted)):
            for name in tensors:
                shape, dtype = self._spec.shape(name, plan.environment), self._dtype(name, call)
                places[name] = Place.dense(shape, dtype)
                if tensors is leaves:
                    results.append((shape, dtype))
        prepared = prepare(
            definition, program, given, plan.environment, plan.reals, wanted, dtype=known.dtype
        )
        zeroed = [(*result, z) for result, z in zip(results, prepared.zeroed, strict=True)]
        return Program(prepared, tuple(zeroed), tuple(kept.values()), tuple(leaves.values()))

    # ---------------------------------------------------------------------------- derivatives

    def _real_inputs(self, call: Call) -> list[Layout]:
        return [i for i in call.plan.inputs if i.tensor not in self._integers and i.fill is None]

    def _targets(self, call: Call, wrt: tuple[str, ...]) -> Targets:
        found = call.known.targets.get(wrt)
        if found is None:
            layouts = tuple(i for i in self._real_inputs(call) if i.argument in wrt)
            numbers = {layout.argument: n for n, layout in enumerate(layouts)}
            names = tuple("g" + layout.tensor for layout in layouts)
            found = Targets(layouts, names, tuple(numbers.get(name) for name in wrt))
            call.known.targets[wrt] = found
        return found

    def _wanted(
        self, wrt: str | Sequence[str] | None, names: Sequence[str], call: Call
    ) -> tuple[str, ...] | None:
        """The names in `wrt`, checked; None for all."""
        if wrt is None:
            return None
        with self._telling(call.arguments):
            given = (wrt,) if word(wrt) is not None else entries(wrt)
            if given is None:
                raise ArgumentTypeError(f"`wrt` is {shown(wrt)} but needs a name or a tuple of names")
            among = ", ".join(map(repr, names))
            wanted: list[str] = []
            for value in given:
                name = word(value)
                if name is None:  # an array compares in ways of its own
                    kind = type(value).__name__
                    raise ArgumentTypeError(
                        f"`wrt` has {shown(value)} ({kind}) but needs names among {among}"
                    )
                if name not in names:
                    raise ArgumentError(f"`wrt` has {shown(name)} but needs names among {among}")
                if name in wanted:
                    raise ArgumentError(f"`wrt` names {name!r} twice")
                wanted.append(name)
        return tuple(wanted)

    def _tangents(self, call: Call, given: Mapping[str, Any], prefix: str) -> dict[str, Seen]:
        """Tangents of array arguments, or cotangents of their gradients, as tensors `prefix + tensor`."""
        found: dict[str, Seen] = {}
        layouts = {i.argument: i for i in call.plan.inputs if i.fill is None}
        kind = "tangent of" if prefix == "t" else "cotangent of the gradient of"
        for name, value in given.items():
            if value is None:
                continue
            if name not in self._real_arguments:
                raise ArgumentTypeError(f"the {kind} `{name}` needs to be None: integers have no derivative")
            if name not in layouts:
                raise ArgumentTypeError(f"the {kind} `{name}` needs to be None: `{name}` is absent")
            layout = layouts[name]
            array = cotangent(f"{kind} {name}", value, layout.shape, call.known.dtype, layout.argument)
            assert array is not None
            found[prefix + layout.tensor] = Seen.by(layout, array)
        return found

    def _cotangents(self, call: Call, given: Sequence[Any], prefix: str) -> dict[str, Seen]:
        """One cotangent (or its tangent) for each real output, as tensors `prefix + tensor`."""
        outputs = call.known.real
        if len(given) != len(outputs):
            needs = (
                "one cotangent"
                if len(outputs) == 1
                else f"{len(outputs)} cotangents, one for each real output,"
            )
            raise ArgumentTypeError(f"the pullback takes {needs} but got {len(given)}")
        kind = "cotangent" if prefix == "g" else "tangent of the cotangent"
        found: dict[str, Seen] = {}
        for o, value in zip(outputs, given, strict=True):
            array = cotangent(kind, value, o.shape, call.known.dtype, "result")
            if array is not None:
                found[prefix + o.tensor] = Seen.by(o, array)
        return found

    def _telling(self, arguments: Callable[[], Mapping[str, Any]] | None = None) -> Telling:
        return Telling(self, arguments)


class Telling:
    """Errors raised inside leave with the operator's name and the shapes and options of the call."""

    __slots__ = ("arguments", "operator")

    def __init__(self, operator: Operator, arguments: Callable[[], Mapping[str, Any]] | None) -> None:
        self.operator = operator
        self.arguments = arguments

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, (KernelError, MemoryError)):
            raise self.told(error) from None

    def told(self, error: Exception) -> KernelError:
        if not isinstance(error, KernelError):  # NumPy's, of a MemoryError
            text = short(str(error), 240) or "out of memory"
            error = AllocationError(f"a copy of an argument that kernels do not read as it lies: {text}")
        return error.within(self.operator.__name__, self.described())

    def described(self) -> str:
        if self.arguments is None:
            return ""
        parts = []
        for name, value in self.arguments().items():
            if name in self.operator.adapter.tensors:
                if value is not None:
                    parts.append(f"{name} {described_array(value)}")
            elif shown(value) != shown(self.operator._defaults[name]):
                parts.append(f"{name}={shown(value)}")
        return ", ".join(parts)


class Pullback:
    """Cotangent of the result -> gradients of the array arguments; itself a differentiable function.

        gradients = pullback(gy)                          # a tuple; None for an absent or integer argument
        gradients, pullback2 = pullback.vjp(gy, wrt=None)
        g_gy, g_input, g_weight = pullback2(*cotangents)  # one for each of the gradients; None is zero
        gradients, tangents = pullback.jvp((gy,), (t_gy, t_input, t_weight))

    An operator with several real outputs takes one cotangent for each; None is zero. In `wrt` the cotangent
    is called "grad_output" (where there are several, "grad_" and the formula's letter).

    It keeps the call's arrays, and the tensors that steps with a cotangent read and steps without one made: what
    the call left of them, and from its first run the others. Several threads may use it at once.
    """

    def __init__(self, operator: Operator, call: Call, wrt: tuple[str, ...] | None) -> None:
        self.operator = operator
        self._call = call
        self.wrt = wrt if wrt is not None else operator._arguments
        self._targets = operator._targets(call, self.wrt)
        self._later: Later = "vjp", self._targets.names
        self._keeper = Keeper(operator._inputs)

    def __call__(self, /, *cotangents: Any, **unknown: Any) -> Gradients:
        if unknown:
            self._refuse(unknown, "(*cotangents)")
        return self._gradients(self._cotangents(cotangents))

    def vjp(
        self, /, *cotangents: Any, wrt: str | Sequence[str] | None = None, **unknown: Any
    ) -> tuple[Gradients, SecondPullback]:
        """The gradients, and the pullback of their cotangents to gradients of `gy` and of each argument.

        That pullback keeps the cotangents, as this one does the call's arrays: they must not be written to until it
        has been called for the last time.
        """
        if unknown:
            self._refuse(unknown, "(*cotangents, wrt=None)")
        operator, call = self.operator, self._call
        outputs = call.known.real
        names = ["grad_output"] if len(outputs) == 1 else [f"grad_{o.tensor}" for o in outputs]
        wanted = operator._wanted(wrt, (*names, *operator._real_arguments), call)
        given = self._cotangents(cotangents)
        if wanted is None:
            wanted = (*names, *operator.adapter.tensors)
        gradients = self._gradients(given)
        return gradients, SecondPullback(self, given, dict(zip(names, outputs, strict=True)), wanted)

    def jvp(
        self, cotangents: Sequence[Any], tangents: Sequence[Any], /, **unknown: Any
    ) -> tuple[Gradients, Gradients]:
        """The gradients and their tangents, from those of the cotangents, then of the arguments."""
        if unknown:
            self._refuse(unknown, "(cotangents, tangents)")
        operator, call = self.operator, self._call
        outputs = call.known.real
        with operator._telling(call.arguments):
            cotangents, tangents = several("cotangents", cotangents), several("tangents", tangents)
            arrays = tuple(operator.adapter.tensors)
            if not len(outputs) <= len(tangents) <= len(outputs) + len(arrays):
                raise ArgumentTypeError(
                    f"`tangents` has {len(tangents)} entries but needs {len(outputs)} for the cotangents "
                    f"and up to {len(arrays)} for {', '.join(arrays)}"
                )
            moved = operator._cotangents(call, tangents[: len(outputs)], "tg")
            moved |= operator._tangents(call, dict(zip(arrays, tangents[len(outputs) :], strict=False)), "t")
        given = self._cotangents(cotangents)
        gradients = self._gradients(given)
        later, layouts = ("vjp_jvp", tuple("t" + name for name in self._targets.names)), self._targets.layouts
        found = operator._run(call, *later, layouts, {**given, **moved}, keeper=self._keeper, later=later)
        return gradients, self._ordered(found)

    def __repr__(self) -> str:
        return f"<pullback of {self.operator.__name__} with respect to {', '.join(self.wrt)}>"

    def _cotangents(self, cotangents: Sequence[Any]) -> dict[str, Seen]:
        try:
            self.operator._check_indices(self._call)
            return self.operator._cotangents(self._call, cotangents, "g")
        except (KernelError, MemoryError) as error:
            raise self.operator._telling(self._call.arguments).told(error) from None

    def _refuse(self, unknown: Mapping[str, Any], arguments: str) -> None:
        with self.operator._telling(self._call.arguments):
            refuse(unknown, arguments)

    def _ordered(self, found: Sequence[Array]) -> Gradients:
        return tuple([None if n is None else found[n] for n in self._targets.order])

    def _gradients(self, cotangents: Mapping[str, Seen]) -> Gradients:
        layouts, names, _ = self._targets
        found = self.operator._run(
            self._call, "vjp", names, layouts, cotangents, None, self._keeper, self._later
        )
        return self._ordered(found)


class SecondPullback:
    """Cotangents of the gradients -> gradients with respect to the cotangent `gy` and the array arguments.

    What it keeps may follow from `gy`, too, which must not be written to meanwhile.
    """

    def __init__(
        self,
        first: Pullback,
        cotangents: Mapping[str, Seen],
        outputs: Mapping[str, Layout],
        wrt: tuple[str, ...],
    ) -> None:
        self.first = first
        self.wrt = wrt
        self._cotangents = cotangents
        self._outputs = outputs
        self._keeper = Keeper((*first._keeper.fixed, *cotangents), first._keeper.tensors)

    def __call__(self, /, *cotangents: Any, **unknown: Any) -> Gradients:
        if unknown:
            self.first._refuse(unknown, "(*cotangents)")
        operator, call = self.first.operator, self.first._call
        with operator._telling(call.arguments):
            operator._check_indices(call)
            if len(cotangents) != len(self.first.wrt):
                raise ArgumentTypeError(
                    f"the second pullback takes {len(self.first.wrt)} cotangents, one for each gradient "
                    f"({', '.join(self.first.wrt)}), but got {len(cotangents)}"
                )
            given = operator._tangents(call, dict(zip(self.first.wrt, cotangents, strict=True)), "hg")
        targets = {name: layout for name, layout in self._outputs.items() if name in self.wrt}
        inputs = {i.argument: i for i in operator._real_inputs(call) if i.argument in self.wrt}
        layouts = [Layout(o.argument, "g" + o.tensor, o.shape, o.view) for o in targets.values()]
        layouts += inputs.values()
        later = "vjp_vjp", tuple("h" + layout.tensor for layout in layouts)
        further = {**self._cotangents, **given}
        arrays = operator._run(call, *later, layouts, further, keeper=self._keeper, later=later)
        found = dict(zip((*targets, *inputs), arrays, strict=True))
        return tuple(found.get(name) for name in self.wrt)

    def __repr__(self) -> str:
        return f"<second pullback of {self.first.operator.__name__} with respect to {', '.join(self.wrt)}>"


def collected(arrays: Sequence[Array | None]) -> Result:
    """One array, or a tuple where there are several outputs."""
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def several(name: str, value: Any) -> tuple[Any, ...]:
    """A tuple or list of arrays."""
    arrays = entries(value)
    if arrays is None:
        raise ArgumentTypeError(f"`{name}` is {type(value).__name__} but needs a tuple of arrays")
    return arrays


def shape_of(name: str, value: Any, optional: bool) -> Shape | None:
    """A shape from a shape, or from anything that has one."""
    if value is None and optional:
        return None
    shape = () if type(value) is float else attribute(value, "shape")
    shape = entries(value if shape is None else shape)
    if shape is None:
        raise ArgumentTypeError(f"`{name}` is {shown(value)} but needs an array or a shape")
    if len(shape) > MOST_AXES:
        raise ShapeError(
            f"`{name}` has {len(shape)} axes, more than the {MOST_AXES} that an array has at most"
        )
    return tuple(integer(f"{name}.shape[{i}]", n, 0, LARGEST_INTEGER) for i, n in enumerate(shape))


def one_place(output: Layout, out: Any, input: Layout, array: Array) -> bool:
    """Whether a result lies in the very memory of an input, each element of the tensors at the place of the other's."""
    if type(out) is not np.ndarray or out.dtype != array.dtype or out.strides != array.strides:
        return False
    if out.shape != array.shape or address(out) != address(array):
        return False
    if output.view is input.view:
        return True
    seen, own = output.view(out), input.view(array)
    return seen.shape == own.shape and seen.strides == own.strides and address(seen) == address(own)


def described_array(value: Any) -> str:
    shape = attribute(value, "shape")
    if issubclass(type(shape), tuple):
        return shown(entries(shape))
    return shown(entries(value)) if issubclass(type(value), tuple) else type(value).__name__


def refuse(unknown: Mapping[str, Any], arguments: str) -> None:
    """What Python would say of a keyword that is none, as an error of the package."""
    for name in unknown:
        raise ArgumentTypeError(f"got an unexpected keyword argument {name!r}; the arguments are {arguments}")
