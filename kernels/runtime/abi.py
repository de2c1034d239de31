"""Does a generated module speak the language of this runtime?"""

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
