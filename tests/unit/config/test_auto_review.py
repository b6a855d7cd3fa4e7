"""The `[auto_review]` table."""

from typing import Any

import pytest

from app_server.config.auto_review import AutoReviewSettings, read_auto_review
from app_server.config.table import TableReader


@pytest.mark.parametrize(
    ("table", "settings"),
    [
        ({}, AutoReviewSettings(None, None, 90_000)),
        ({"policy": " Be kind. \n", "model": "judge", "timeout_ms": 5}, AutoReviewSettings("Be kind.", "judge", 5)),
        ({"policy": "  ", "timeout_ms": 0}, AutoReviewSettings()),
    ],
)
def test_what_the_table_says(table: dict[str, Any], settings: AutoReviewSettings) -> None:
    reader = TableReader({"auto_review": table})
    assert read_auto_review(reader) == settings
    assert reader.problems == []


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("x", ("auto_review",)),
        ({"policy": 3}, ("auto_review", "policy")),
        ({"model": []}, ("auto_review", "model")),
        ({"timeout_ms": -1}, ("auto_review", "timeout_ms")),
    ],
)
def test_what_is_wrong_keeps_threads_from_starting(value: Any, path: tuple[str, ...]) -> None:
    reader = TableReader({"auto_review": value})
    read_auto_review(reader)
    assert [(problem.path, problem.decisive) for problem in reader.problems] == [(path, True)]
