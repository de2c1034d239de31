"""Operators that differ in the number of axes alone: conv1d, conv2d and conv3d are of one family."""

from __future__ import annotations

import re
from collections.abc import Iterable


def groups(names: Iterable[str]) -> dict[str, list[str]]:
    """Operators of one name but for the number of axes, together: conv{}d is conv1d to conv4d."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(re.sub(r"\dd(?=_|$)", "{}d", name), []).append(name)
    return found


def planes(names: Iterable[str]) -> set[str]:
    """One of each family: that of two axes, if there is one. What ranks have in common is checked of it alone."""
    return {next((n for n in members if "2d" in n), members[0]) for members in groups(names).values()}
