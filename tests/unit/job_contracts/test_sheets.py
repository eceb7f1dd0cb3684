"""CSV that says what it was made of, and runs nothing."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_contracts.sheets import cell, sheet


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1", "=cmd|' /C x'!A0"]
)
def test_a_text_that_a_spreadsheet_would_run_stays_a_text(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize(
    ("text", "told"),
    [("a;=1+1", "a;'=1+1"), ("a\n=1", "a\n'=1"), ("a|\t -1", "a|\t '-1"), ("a;b", "a;b"), ("a-1=2", "a-1=2")],
)
def test_nor_is_one_run_where_something_else_parts_the_cells(text: str, told: str) -> None:
    assert cell(text) == told


def test_numbers_are_as_they_are_and_without_exponents() -> None:
    told = [cell(value) for value in (Decimal("-1E-12"), 5, -5, 1.5, True, None, "plain")]
    assert told == ["-0.000000000001", "5", "-5", "1.5", "true", "", "plain"]


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), max_size=5))
def test_what_is_written_is_read_again_but_for_the_apostrophe_and_the_character_0(rows: list[list[str]]) -> None:
    written = sheet(["one", "two"], rows)
    read = list(csv.reader(io.StringIO(written, newline=""), strict=True))
    assert read[0] == ["one", "two"]
    assert read[1:] == [[cell(value) for value in row] for row in rows]
