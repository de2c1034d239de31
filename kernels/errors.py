"""What can be wrong with a call. Each class is also the built-in exception that Python would raise for it.

A check deep inside says what was found, what was needed and where that number came from;
the operator adds its name and the call's shapes once, on the way out:

    ShapeError: conv2d: `input` has 6 channels but `weight` needs 4 (weight.shape[1] * groups = 2 * 2)
        input (8, 6, 32, 32), weight (16, 2, 3, 3), groups=2
"""

from __future__ import annotations


class KernelError(Exception):
    """Any mistake in a call that `kernels` reports."""

    def within(self, operator: str, call: str = "") -> KernelError:
        """The same error, told by `operator` about the arguments `call`."""
        return type(self)(f"{operator}: {self}" + (f"\n    {call}" if call else ""))


class ShapeError(KernelError, ValueError):
    """Ranks or extents that do not fit together, or that leave no output."""


class DtypeError(KernelError, TypeError):
    """An array of a type that the kernels do not compute in, or of another type than its fellows."""


class ArgumentError(KernelError, ValueError):
    """An option with a value that means nothing here."""


class ArgumentTypeError(KernelError, TypeError):
    """A missing, unknown or repeated argument, or one of the wrong Python type."""


class OutOfRangeError(KernelError, IndexError):
    """An integer array with a value that is no index."""


class OutputError(KernelError, ValueError):
    """An array passed as `out=` that cannot take the result."""


class AllocationError(KernelError, MemoryError):
    """A result too large for this machine."""


class MissingKernelsError(KernelError, ImportError):
    """An operator whose generated module is not there."""


class NetworkError(KernelError, ValueError):
    """A graph of operators that is none: a name twice, a source that is not there, too many of them."""


class StateError(KernelError, ValueError):
    """Saved parameters that do not fit a network."""
