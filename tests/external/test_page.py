"""docs/operators.md is what the catalogue and the kept counts say."""

from __future__ import annotations

import kernels
from tests.external import functional, page
from tests.support.ranks import groups, planes


def test_the_page_is_not_stale():
    """python -m tests.external.page writes it."""
    assert page.PAGE.read_text(encoding="utf-8") == page.text()


def test_every_operator_is_on_it():
    patterns = groups(kernels.OPERATORS)
    assert sorted(n for names in patterns.values() for n in names) == sorted(kernels.OPERATORS)
    text = page.text()
    for pattern, names in patterns.items():
        assert f"\n### {page.shown(pattern, names)}\n" in text
    assert "conv1-4d" in text


def test_what_was_kept_has_no_failure():
    rows = [row for suite in page.counts().values() for row in suite.values()]
    assert rows
    assert not any(row["failed"] for row in rows)


def test_no_operator_of_ours_is_said_to_be_missing():
    assert not {*functional.REASONS, *functional.BY_ANOTHER_NAME} & set(kernels.OPERATORS)


def test_ranks_of_one_family():
    names = ["conv1d", "conv2d", "conv3d", "conv2d_mean", "relu", "fold1d", "fold3d"]
    assert [len(members) for members in groups(names).values()] == [3, 1, 1, 2]
    assert planes(names) == {"conv2d", "conv2d_mean", "relu", "fold1d"}
