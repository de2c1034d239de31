"""Is a generated module right? Every program of it against the equations that the user wrote.

    suite(operator, definition)   the checks as a pytest test
    run(pairs, cases=..., ...)    the checks of many operators, with a table and reports
    CHECKS                        the checks, each (operator, definition, random) -> Outcome
    QUICK                         those of them that compile nothing and make few runs

The truth comes from `derive.reference`. Emitted sources run twice: as plain Python over exact numbers, and
compiled. A failed check raises VerificationError and shows operator, configuration, element and values.
"""

from derive.verify.checks import CHECKS, QUICK, Outcome
from derive.verify.configuration import Configuration, configurations, sample
from derive.verify.counterexample import Counterexample
from derive.verify.report import Result, concluded, run, verify
from derive.verify.suite import suite

__all__ = [
    "CHECKS",
    "QUICK",
    "Configuration",
    "Counterexample",
    "Outcome",
    "Result",
    "concluded",
    "configurations",
    "run",
    "sample",
    "suite",
    "verify",
]
