"""The object a user calls: the operator, its pullback, and the pullback of that.

Everything here is written once, for any definition and any adapter. A gradient has the layout of its input,
a cotangent or tangent that of what it belongs to, so all of them reach the kernels through the views that the
plan of the forward call already holds.
"""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kernels.adapter import Adapter, Layout, Plain, Plan, Spec
from kernels.arguments import (
    INTEGER,
    LARGEST_INTEGER,
    Array,
    Shape,
    as_array,
    as_indices,
    check_below,
    check_out,
    check_real,
    check_same,
    check_size,
    cotangent,
    empty,
    integer,
    readable,
    shown,
)
from kernels.errors import ArgumentError, ArgumentTypeError, KernelError
from kernels.runtime.execute import execute

if TYPE_CHECKING:
    from kernels.runtime.definition import Definition

Result = Any  # one array, or a tuple of them where an operator has several outputs
Gradients = tuple[Any, ...]  # arrays, and None for arguments that are absent or integer


@dataclass(frozen=True)
class Call:
    """A checked call: its plan, and every array as the tensor of the formula that it is, or None."""

    plan: Plan
    tensors: dict[str, Array | None]
    dtype: np.dtype[Any]
    arguments: Mapping[str, Any]  # as the user gave them, for errors


class Operator:
    """An operator with every derivative.

        y = operator(*arrays, **options)
        y, pullback = operator.vjp(*arrays, wrt=None, **options)
        gradients = pullback(gy)
        y, ty = operator.jvp(arrays, tangents, **options)

    `operator.formula` is what it computes, `operator.source()` how.
    """

    def __init__(
        self, definition: Definition, adapter: Adapter | None = None, *, module: str | None = None
    ) -> None:
        self.definition = definition
        self.adapter = adapter if adapter is not None else Plain(definition)
        self._spec = Spec(definition, self.adapter.axes)
        self._integers = frozenset(t.name for t in definition.tensors if t.integer)
        self._defaults = {name: p.default for name, p in self.adapter.signature.parameters.items()}
        self.__name__ = self.__qualname__ = definition.name
        self.__doc__ = f"{self.adapter.doc}\n"
        if module is not None:
            self.__module__ = module
        out = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)
        self.__signature__ = inspect.Signature([*self.adapter.signature.parameters.values(), out])

    # ------------------------------------------------------------------------------------ calls

    def __call__(self, *args: Any, out: Any = None, **options: Any) -> Result:
        call = self._bind(args, options)
        return self._forward(call, out)

    def vjp(
        self, *args: Any, wrt: str | Sequence[str] | None = None, out: Any = None, **options: Any
    ) -> tuple[Result, Pullback]:
        """The result, and the pullback that takes its cotangent to the gradients of the array arguments.

        `wrt` names the arguments wanted (all by default). The arrays are kept, not copied: they must not be
        written to until the pullback has been called for the last time.
        """
        call = self._bind(args, options)
        pullback = Pullback(self, call, self._wanted(wrt, self._differentiable(), call))
        return self._forward(call, out), pullback

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **options: Any) -> tuple[Result, Result]:
        """The result and its tangent. One tangent for each of the primals; None is zero."""
        with self._telling():
            for name, value in (("primals", primals), ("tangents", tangents)):
                if not isinstance(value, (tuple, list)):
                    raise ArgumentTypeError(f"`{name}` is {type(value).__name__} but needs a tuple of arrays")
            if len(primals) > len(self.adapter.tensors):
                names = ", ".join(self.adapter.tensors)
                raise ArgumentTypeError(
                    f"`primals` has {len(primals)} entries but the array arguments are {names}"
                )
            if len(tangents) != len(primals):
                raise ArgumentTypeError(
                    f"`tangents` has {len(tangents)} entries but needs {len(primals)}, one for each primal"
                )
        call = self._bind(tuple(primals), options)
        with self._telling(call):
            given = dict(zip(self.adapter.tensors, tangents, strict=False))
            tensors = {**call.tensors, **self._tangents(call, given, "t")}
        y = self._run(call, "forward", call.tensors, "", call.plan.outputs)
        ty = self._run(call, "jvp", tensors, "t", self._real_outputs(call))
        return collected(call.plan.outputs, y), collected(call.plan.outputs, ty)

    def output_shape(self, *args: Any, **options: Any) -> Any:
        """The shape of the result from arrays or their shapes (several outputs: a tuple of shapes)."""
        with self._telling():
            arguments = self.adapter.arguments(args, options)
        with self._telling(arguments=arguments):
            shapes = {name: shape_of(name, arguments[name]) for name in self.adapter.tensors}
            outputs = self.adapter.plan(self._spec, **(arguments | shapes)).outputs
            for layout in outputs:
                check_size("the result", layout.shape)
        return outputs[0].shape if len(outputs) == 1 else tuple(o.shape for o in outputs)

    # ------------------------------------------------------------------------------- what it is

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
        with self._telling():
            arguments = self.adapter.arguments(args, options)
        with self._telling(arguments=arguments):
            arrays, dtype = self._arrays(arguments)
            shapes = {name: None if array is None else array.shape for name, array in arrays.items()}
            plan = self.adapter.plan(self._spec, **(arguments | shapes))
            tensors: dict[str, Array | None] = dict.fromkeys(self.definition.programs["forward"].inputs)
            for layout in plan.inputs:
                array = arrays[layout.argument]
                assert array is not None
                tensors[layout.tensor] = readable(layout.view(array))
            call = Call(plan, tensors, dtype, arguments)
            self._check_indices(call)
        return call

    def _arrays(self, arguments: Mapping[str, Any]) -> tuple[dict[str, Array | None], np.dtype[Any]]:
        """The array arguments as arrays of the right types, and the type that the call computes in."""
        arrays: dict[str, Array | None] = {}
        first, dtype = "", None
        for name, letter in self.adapter.tensors.items():
            tensor, value = self._spec.tensors[letter], arguments[name]
            if value is None and tensor.optional:
                arrays[name] = None
                continue
            array = as_array(name, value)
            if tensor.integer:
                array = as_indices(name, array)
            else:
                check_real(name, array)
                if dtype is None:
                    first, dtype = name, array.dtype
                check_same(name, array, first, dtype)
            arrays[name] = array
        return arrays, dtype if dtype is not None else np.dtype(np.float64)

    def _check_indices(self, call: Call) -> None:
        """Values that kernels use as indices. Before each run: the array may have changed since the last."""
        for layout in call.plan.inputs:
            tensor = self._spec.tensors[layout.tensor]
            if tensor.below is not None:
                array = call.tensors[layout.tensor]
                assert array is not None
                extent, origin = call.plan.environment[tensor.below], self._origin(call.plan, tensor.below)
                check_below(layout.argument, array, layout.shape, extent, origin)

    def _origin(self, plan: Plan, extent: str) -> str:
        """Where an extent of the formula comes from, in the user's words."""
        for layout in plan.inputs:
            names = self._spec.tensors[layout.tensor].shape
            if extent in names:
                return f"{extent}, an axis of `{layout.argument}` {layout.shape}"
        return extent

    def _forward(self, call: Call, out: Any) -> Result:
        given: dict[str, Array] = {}
        if out is not None:
            with self._telling(call):
                given = self._checked_out(call, out)
        arrays = self._run(call, "forward", call.tensors, "", call.plan.outputs, given)
        return collected(call.plan.outputs, arrays)

    def _checked_out(self, call: Call, out: Any) -> dict[str, Array]:
        layouts = call.plan.outputs
        if len(layouts) > 1 and (not isinstance(out, (tuple, list)) or len(out) != len(layouts)):
            raise ArgumentTypeError(f"`out` is {shown(out)} but needs a tuple of {len(layouts)} arrays")
        inputs = [
            (i.argument, array) for i in call.plan.inputs if (array := call.tensors[i.tensor]) is not None
        ]
        given: dict[str, Array] = {}
        for n, (layout, array) in enumerate(zip(layouts, out if len(layouts) > 1 else [out], strict=True)):
            name = f"out[{n}]" if len(layouts) > 1 else "out"
            given[layout.tensor] = check_out(name, array, layout.shape, self._dtype(layout, call), inputs)
            inputs.append((name, array))
        return given

    def _dtype(self, layout: Layout, call: Call) -> np.dtype[Any]:
        return INTEGER if layout.tensor in self._integers else call.dtype

    def _run(
        self,
        call: Call,
        program: str,
        tensors: Mapping[str, Array | None],
        prefix: str,
        layouts: Iterable[Layout],
        given: Mapping[str, Array] | None = None,
    ) -> dict[str, Array]:
        """Run one program; its outputs `prefix + tensor`, each in the user's layout, by the tensor's name."""
        arrays: dict[str, Array] = {}
        views: dict[str, Array] = {}
        for layout in layouts:
            with self._telling(call):
                array = (
                    given[layout.tensor]
                    if given
                    else empty("the result", layout.shape, self._dtype(layout, call))
                )
            view = layout.view(array)
            if given and array.size and (not np.may_share_memory(view, array) or readable(view) is not view):
                view = np.empty(view.shape, view.dtype)  # the layout has no view of this `out`: copied below
            arrays[layout.tensor], views[prefix + layout.tensor] = array, view
        if views:
            inputs = self.definition.programs[program].inputs
            passed = {name: tensors.get(name) for name in inputs}
            plan = call.plan
            execute(
                self.definition,
                program,
                passed,
                plan.environment,
                plan.reals,
                tuple(views),
                out=views,
                dtype=call.dtype,
            )
        for name, array in arrays.items():
            view = views[prefix + name]
            if given and array.size and not np.may_share_memory(view, array):
                array[...] = view.reshape(array.shape)
        return arrays

    # ---------------------------------------------------------------------------- derivatives

    def _differentiable(self) -> tuple[str, ...]:
        """The array arguments that have gradients."""
        return tuple(name for name, letter in self.adapter.tensors.items() if letter not in self._integers)

    def _real_outputs(self, call: Call) -> list[Layout]:
        return [o for o in call.plan.outputs if o.tensor not in self._integers]

    def _real_inputs(self, call: Call) -> list[Layout]:
        return [i for i in call.plan.inputs if i.tensor not in self._integers]

    def _wanted(
        self, wrt: str | Sequence[str] | None, names: Sequence[str], call: Call
    ) -> tuple[str, ...] | None:
        """The names in `wrt`, checked; None for all."""
        if wrt is None:
            return None
        with self._telling(call):
            if not isinstance(wrt, (str, tuple, list)):
                raise ArgumentTypeError(f"`wrt` is {shown(wrt)} but needs a name or a tuple of names")
            wanted = (wrt,) if isinstance(wrt, str) else tuple(wrt)
            for n, name in enumerate(wanted):
                if name not in names:
                    among = ", ".join(map(repr, names))
                    raise ArgumentError(f"`wrt` has {shown(name)} but needs names among {among}")
                if name in wanted[:n]:
                    raise ArgumentError(f"`wrt` names {name!r} twice")
        return wanted

    def _tangents(self, call: Call, given: Mapping[str, Any], prefix: str) -> dict[str, Array | None]:
        """Tangents of array arguments, or cotangents of their gradients, as tensors `prefix + tensor`."""
        found: dict[str, Array | None] = {}
        layouts = {i.argument: i for i in call.plan.inputs}
        kind = "tangent of" if prefix == "t" else "cotangent of the gradient of"
        for name, value in given.items():
            if value is None:
                continue
            if name not in self._differentiable():
                raise ArgumentTypeError(f"the {kind} `{name}` needs to be None: integers have no derivative")
            if name not in layouts:
                raise ArgumentTypeError(f"the {kind} `{name}` needs to be None: `{name}` is absent")
            layout = layouts[name]
            found[prefix + layout.tensor] = seen(layout, f"{kind} {name}", value, call.dtype)
        return found

    def _cotangents(self, call: Call, given: Sequence[Any], prefix: str) -> dict[str, Array | None]:
        """One cotangent (or its tangent) for each real output, as tensors `prefix + tensor`."""
        outputs = self._real_outputs(call)
        if len(given) != len(outputs):
            needs = (
                "one cotangent"
                if len(outputs) == 1
                else f"{len(outputs)} cotangents, one for each real output,"
            )
            raise ArgumentTypeError(f"the pullback takes {needs} but got {len(given)}")
        kind = "cotangent" if prefix == "g" else "tangent of the cotangent"
        return {
            prefix + o.tensor: seen(o, kind, value, call.dtype, "result")
            for o, value in zip(outputs, given, strict=True)
        }

    def _telling(self, call: Call | None = None, arguments: Mapping[str, Any] | None = None) -> Telling:
        return Telling(self, call.arguments if call is not None else arguments)


class Telling:
    """Errors raised inside leave with the operator's name and the shapes and options of the call."""

    __slots__ = ("arguments", "operator")

    def __init__(self, operator: Operator, arguments: Mapping[str, Any] | None) -> None:
        self.operator = operator
        self.arguments = arguments

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, KernelError):
            raise error.within(self.operator.__name__, self.described()) from None

    def described(self) -> str:
        if self.arguments is None:
            return ""
        parts = []
        for name, value in self.arguments.items():
            if name in self.operator.adapter.tensors:
                if value is not None:
                    parts.append(f"{name} {described_array(value)}")
            elif repr(value) != repr(self.operator._defaults[name]):
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
    """

    def __init__(self, operator: Operator, call: Call, wrt: tuple[str, ...] | None) -> None:
        self.operator = operator
        self._call = call
        self.wrt = wrt if wrt is not None else tuple(operator.adapter.tensors)

    def __call__(self, *cotangents: Any) -> Gradients:
        return self._gradients(self._cotangents(cotangents))

    def vjp(
        self, *cotangents: Any, wrt: str | Sequence[str] | None = None
    ) -> tuple[Gradients, SecondPullback]:
        """The gradients, and the pullback of their cotangents to gradients of `gy` and of each argument."""
        operator, call = self.operator, self._call
        outputs = operator._real_outputs(call)
        names = ["grad_output"] if len(outputs) == 1 else [f"grad_{o.tensor}" for o in outputs]
        wanted = operator._wanted(wrt, (*names, *operator._differentiable()), call)
        given = self._cotangents(cotangents)
        if wanted is None:
            wanted = (*names, *operator.adapter.tensors)
        return self._gradients(given), SecondPullback(
            self, given, dict(zip(names, outputs, strict=True)), wanted
        )

    def jvp(self, cotangents: Sequence[Any], tangents: Sequence[Any]) -> tuple[Gradients, Gradients]:
        """The gradients and their tangents, from those of the cotangents, then of the arguments."""
        operator, call = self.operator, self._call
        outputs = operator._real_outputs(call)
        with operator._telling(call):
            for name, value in (("cotangents", cotangents), ("tangents", tangents)):
                if not isinstance(value, (tuple, list)):
                    raise ArgumentTypeError(f"`{name}` is {type(value).__name__} but needs a tuple of arrays")
            arrays = tuple(operator.adapter.tensors)
            if not len(outputs) <= len(tangents) <= len(outputs) + len(arrays):
                raise ArgumentTypeError(
                    f"`tangents` has {len(tangents)} entries but needs {len(outputs)} for the cotangents "
                    f"and up to {len(arrays)} for {', '.join(arrays)}"
                )
            moved = operator._cotangents(call, tangents[: len(outputs)], "tg")
            moved |= operator._tangents(call, dict(zip(arrays, tangents[len(outputs) :], strict=False)), "t")
        given = self._cotangents(cotangents)
        tensors = {**call.tensors, **given, **moved}
        found = operator._run(call, "vjp_jvp", tensors, "tg", self._targets())
        return self._gradients(given), self._ordered(found)

    def __repr__(self) -> str:
        return f"<pullback of {self.operator.__name__} with respect to {', '.join(self.wrt)}>"

    def _cotangents(self, cotangents: Sequence[Any]) -> dict[str, Array | None]:
        with self.operator._telling(self._call):
            self.operator._check_indices(self._call)
            return self.operator._cotangents(self._call, cotangents, "g")

    def _targets(self) -> list[Layout]:
        return [i for i in self.operator._real_inputs(self._call) if i.argument in self.wrt]

    def _ordered(self, found: Mapping[str, Array]) -> Gradients:
        by_argument = {i.argument: found[i.tensor] for i in self._targets()}
        return tuple(by_argument.get(name) for name in self.wrt)

    def _gradients(self, cotangents: Mapping[str, Array | None]) -> Gradients:
        tensors = {**self._call.tensors, **cotangents}
        return self._ordered(self.operator._run(self._call, "vjp", tensors, "g", self._targets()))


class SecondPullback:
    """Cotangents of the gradients -> gradients with respect to the cotangent `gy` and the array arguments."""

    def __init__(
        self,
        first: Pullback,
        cotangents: Mapping[str, Array | None],
        outputs: Mapping[str, Layout],
        wrt: tuple[str, ...],
    ) -> None:
        self.first = first
        self.wrt = wrt
        self._cotangents = cotangents
        self._outputs = outputs

    def __call__(self, *cotangents: Any) -> Gradients:
        operator, call = self.first.operator, self.first._call
        with operator._telling(call):
            operator._check_indices(call)
            if len(cotangents) != len(self.first.wrt):
                raise ArgumentTypeError(
                    f"the second pullback takes {len(self.first.wrt)} cotangents, one for each gradient "
                    f"({', '.join(self.first.wrt)}), but got {len(cotangents)}"
                )
            given = operator._tangents(call, dict(zip(self.first.wrt, cotangents, strict=True)), "hg")
        tensors = {**call.tensors, **self._cotangents, **given}
        targets = {name: layout for name, layout in self._outputs.items() if name in self.wrt}
        inputs = {i.argument: i for i in operator._real_inputs(call) if i.argument in self.wrt}
        found: dict[str, Array] = {}
        layouts = [Layout(o.argument, "g" + o.tensor, o.shape, o.view) for o in targets.values()]
        arrays = operator._run(call, "vjp_vjp", tensors, "h", [*layouts, *inputs.values()])
        found |= {name: arrays["g" + o.tensor] for name, o in targets.items()}
        found |= {name: arrays[i.tensor] for name, i in inputs.items()}
        return tuple(found.get(name) for name in self.wrt)

    def __repr__(self) -> str:
        return f"<second pullback of {self.first.operator.__name__} with respect to {', '.join(self.wrt)}>"


def collected(layouts: Sequence[Layout], arrays: Mapping[str, Array]) -> Result:
    """One array, or a tuple where there are several outputs."""
    results = tuple(arrays.get(o.tensor) for o in layouts)
    return results[0] if len(results) == 1 else results


def seen(layout: Layout, name: str, value: Any, dtype: np.dtype[Any], of: str = "") -> Array | None:
    array = cotangent(name, value, layout.shape, dtype, of or layout.argument)
    return None if array is None else readable(layout.view(array))


def shape_of(name: str, value: Any) -> Shape | None:
    """A shape from a shape, or from anything that has one."""
    if value is None:
        return None
    shape = getattr(value, "shape", value)
    if not isinstance(shape, (tuple, list)):
        raise ArgumentTypeError(f"`{name}` is {shown(value)} but needs an array or a shape")
    return tuple(integer(f"{name}.shape[{i}]", n, 0, LARGEST_INTEGER) for i, n in enumerate(shape))


def described_array(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is not None:
        return str(tuple(shape))
    return str(tuple(value)) if isinstance(value, tuple) else type(value).__name__
