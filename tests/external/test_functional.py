"""Nothing of torch.nn.functional is left unclassified."""

from __future__ import annotations

import re

import pytest

torch = pytest.importorskip("torch", reason="a list of torch's functions", exc_type=ImportError)

import kernels  # noqa: E402
from tests.external import functional  # noqa: E402

pytestmark = pytest.mark.external


def test_every_function_is_an_operator_or_has_a_reason():
    theirs = set(functional.functions())
    named = {*functional.BY_ANOTHER_NAME, *functional.REASONS}
    assert theirs - named - set(kernels.OPERATORS) == set()
    assert named - theirs == set(), "no function of torch's"
    assert set(dir(torch.nn.functional)) >= functional.MACHINERY


def test_what_a_docstring_says_of_torch_is_there():
    for name in kernels.OPERATORS:
        for said in re.findall(r"torch(?:\.\w+)+", getattr(kernels, name).__doc__):
            found = torch
            for part in said.split(".")[1:]:
                found = getattr(found, part, None)
            assert found is not None, f"{name}: {said}"


def test_no_name_is_in_two_lists():
    lists = [set(functional.BY_ANOTHER_NAME), set(functional.REASONS), functional.MACHINERY]
    assert sum(map(len, lists)) == len(set.union(*lists))
