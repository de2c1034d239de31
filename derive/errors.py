"""What goes wrong in a specification, in a pass, or in a check."""

from __future__ import annotations

from typing import Any


class DeriveError(Exception):
    """Base of everything `derive` raises on purpose."""


class SpecError(DeriveError):
    """The user's equations cannot mean anything, or not one thing."""

    def __init__(self, message: str, *, operator: str = "", equation: str = "") -> None:
        self.message, self.operator, self.equation = message, operator, equation
        head = f"{operator}: {message}" if operator else message
        super().__init__(f"{head}\n    in  {equation}" if equation else head)

    def within(self, *, operator: str = "", equation: str = "") -> SpecError:
        """The same error with what is known further out; what is already known stays."""
        return SpecError(self.message, operator=self.operator or operator, equation=self.equation or equation)


class CheckError(DeriveError):
    """A pass left a program that breaks its own rules: a bug of the engine, found at its own line."""


class GenerateError(DeriveError):
    """Files could not be generated; the previous ones are untouched."""


class VerificationError(AssertionError, DeriveError):
    """A kernel or a derivative does not do what the equations say.

    `counterexample` is the element that shows it, where there is one (a derive.verify.Counterexample).
    """

    counterexample: Any = None


class GeometryError(DeriveError):
    """A network whose index maps cannot be had, or a file that describes none."""
