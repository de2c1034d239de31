"""One call of an operator: what each of its arrays is read for each of its results, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from derive.catalogue import operators
from derive.errors import GeometryError
from derive.geometry.reach import Reaches, unmoved
from derive.geometry.relation import cost, reaches
from derive.geometry.views import seen_through
from derive.language import Operator as Spec
from derive.live import spec_of
from derive.program import Program
from derive.translate import to_program
from kernels.family import Family
from kernels.operator import Operator
from kernels.training import Dropout


@dataclass(frozen=True)
class Called:
    """A call seen from outside."""

    shapes: tuple[tuple[int, ...], ...]  # of the results
    reads: tuple[Mapping[str, Reaches], ...]  # for each result, by the argument's name
    operations: int


@cache
def _catalogue() -> Mapping[str, Spec]:
    return {o.name: o for o in operators()}


@cache
def _program(spec: Spec) -> Program:
    return to_program(spec)


def spec_behind(operator: Any) -> Spec:
    """The equations of a live operator, or of a shipped one."""
    if not isinstance(operator, Operator):
        name = getattr(operator, "__name__", type(operator).__name__)
        raise GeometryError(f"{name} is no operator of kernels: it has no index maps to compose")
    spec = spec_of(operator) or (
        _catalogue().get(operator.definition.name) if operator.__module__ == "kernels" else None
    )
    if spec is None:
        raise GeometryError(
            f"the equations of {operator.__name__} are not at hand; make it with derive.build(its specification)"
        )
    return spec


def called(operator: Any, shapes: Mapping[str, tuple[int, ...]], options: Mapping[str, Any]) -> Called:
    """What a call with arrays of these shapes reads, by its arguments' names.

    Raises GeometryError where there are no equations, KernelError where the call could not be.
    """
    if isinstance(operator, Dropout):  # in inference what comes is what goes
        (shape,) = shapes.values()
        return Called((shape,), ({"input": unmoved(len(shape))},), 0)
    if isinstance(operator, Family):  # an option may choose other equations
        operator = operator.variant((), {**shapes, **options}) or operator
    program = _program(spec_behind(operator))
    plan = operator.planned(**shapes, **options)
    present = {layout.tensor for layout in plan.inputs}
    absent = [t.name for t in program.inputs if t.name not in present]
    outputs = [layout.tensor for layout in plan.outputs]
    found = reaches(program, plan.environment, outputs, absent)
    reads = []
    for output in plan.outputs:
        own = {}
        for layout in plan.inputs:
            if layout.tensor in found[output.tensor]:
                own[layout.argument] = seen_through(output, layout, found[output.tensor][layout.tensor])
        reads.append(own)
    return Called(
        tuple(o.shape for o in plan.outputs), tuple(reads), cost(program, plan.environment, outputs, absent)
    )
