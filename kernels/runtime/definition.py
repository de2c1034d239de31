"""What a generated module says about an operator: tensors, sizes, programs, phases. Data only.

A *phase* binds one compiled task to the tensors and integers of a program. A *program*
is phases in order. Which phases run is decided by liveness: those that a wanted output
needs, less those that are linear in an absent tensor (it counts as zero, and the engine
has proved that such a phase then contributes nothing).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kernels.runtime.compile import Kernel

ABI = 9


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of any of the operator's programs. Its shape names extents of the size environment."""

    name: str
    shape: tuple[str | int, ...]
    integer: bool = False  # int64; else the call's scalar type
    optional: bool = False  # may be absent (None)
    below: str | None = None  # an integer input whose values must lie in 0 <= value < this extent


@dataclass(frozen=True, slots=True)
class Parameter:
    """A run-time number that no array shape gives."""

    name: str
    minimum: int | None = None  # smallest legal value; of a real 0, if its formula is of a positive one
    real: bool = False
    group: str | None = None  # s0, s1 belong to group s: callers may pass s=2 or s=(2, 3)
    default: float | None = None


@dataclass(frozen=True, slots=True)
class Phase:
    """One task, or a choice among several, with its arguments bound."""

    kernel: Kernel
    tensors: tuple[str, ...]  # in the order of the kernel's views; the first is the one written
    integers: tuple[str | int, ...]  # names in the size environment, or constants
    reals: tuple[str | float, ...] = ()
    # with add=0 it writes every element of its target; else the target must be zeroed first
    covers: bool = True
    # for each tensor the order of axes in which the kernel sees it; () is as they are
    axes: tuple[tuple[int, ...], ...] = ()
    # tensors, or reals, without which the phase contributes nothing: absent, or zero, it is dropped;
    # an absent tensor that a phase reads but that is not listed here is passed as zeros (a stride-0 view)
    linear: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Joint:
    """A phase that does at once what several do, and runs in their stead where all of them would."""

    phase: Phase  # its first tensors are the targets of those, in their order
    of: tuple[int, ...]  # their numbers in the program


@dataclass(frozen=True, slots=True)
class Program:
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    phases: tuple[Phase, ...]
    joints: tuple[Joint, ...] = ()

    @property
    def every(self) -> tuple[Phase, ...]:
        """All phases, with those that do what several do."""
        return (*self.phases, *(joint.phase for joint in self.joints))


@dataclass(frozen=True, slots=True)
class Condition:
    """left >= right must hold between two entries of the size environment."""

    left: str | int
    right: str | int
    reason: str  # in the user's letters, for the error


@dataclass(frozen=True)
class Definition:
    """Everything the runtime needs of one operator."""

    name: str
    formula: str
    latex: str
    tensors: tuple[Tensor, ...]
    parameters: tuple[Parameter, ...]
    # (all input extents and integer parameters, by name) -> every derived integer
    sizes: Callable[..., dict[str, int]]
    conditions: tuple[Condition, ...]
    programs: Mapping[str, Program]  # "forward", "vjp", "jvp", "vjp_vjp", "vjp_jvp"
    report: tuple[str, ...] = ()  # how each kernel was lowered, and what it was recognised as

    def tensor(self, name: str) -> Tensor:
        return next(t for t in self.tensors if t.name == name)
