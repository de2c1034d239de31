"""Operators of many kernels take minutes to compile and to check in every way: theirs are slow tests."""

from __future__ import annotations

import pytest

MANY = 14  # kernels of the five programs together


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        definition = getattr(getattr(item, "module", None), "DEFINITION", None)
        if definition is not None and "generated" in item.nodeid:
            kernels = {p.kernel.name for program in definition.programs.values() for p in program.every}
            if len(kernels) > MANY:
                item.add_marker(pytest.mark.slow)
