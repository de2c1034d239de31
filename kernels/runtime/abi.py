"""Does a generated module speak the language of this runtime?

The number grows whenever a module that was generated before would be misunderstood: a name it imports is gone,
or a task is called in another way.
"""

from __future__ import annotations

from kernels.runtime.definition import ABI


class AbiError(ImportError):
    """A generated module was written for another runtime."""


def require_abi(number: int, module: str) -> None:
    """Called by every generated module as it is imported, with the number it was generated for."""
    if number != ABI:
        older = "an older" if number < ABI else "a newer"
        raise AbiError(
            f"{module} was generated for {older} runtime (ABI {number}, this one is ABI {ABI}): "
            "run `derive-kernels generate` again with the installed version"
        )


def missing(name: str) -> AbiError:
    """What to say of a name that a generated module asks of the runtime, and that is not there."""
    return AbiError(
        f"kernels.runtime (ABI {ABI}) has no `{name}`: a module that imports it was generated for another runtime; "
        "run `derive-kernels generate` again with the installed version"
    )
