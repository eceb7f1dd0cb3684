from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.dialects.waits import LONGEST, duration, retry_after, said, until

DATE = {"date": "Wed, 21 Oct 2015 07:28:00 GMT"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6ms", 0.006),
        ("1.198s", 1.198),
        ("8.64s", 8.64),
        ("7m12s", 432.0),
        ("2m59.56s", 179.56),
        ("9h54m7.2s", 35647.2),
        ("1d", 86400.0),
        ("500", 500.0),
        ("0", 0.0),
        ("2 minutes", 120.0),
        ("1 hour, 5 seconds", 3605.0),
        ("-1", None),
        ("", None),
        ("REDACTED", None),
        ("inf", None),
        ("nan", None),
        ("12 parsecs", None),
        ("99999999999", None),
    ],
)
def test_a_duration_in_any_spelling(text: str, seconds: float | None) -> None:
    assert duration(text) == (pytest.approx(seconds) if seconds is not None else None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Rate limit reached. Please try again in 7m12s. Visit the docs.", 432.0),
        ("Please try again in 1.44s. Visit", 1.44),
        ("please try again after 1 seconds", 1.0),
        ("Please retry after 37 seconds.", 37.0),
        ("limit: 20, model: m\nPlease retry in 9h54m7.2s.", 35647.2),
        ("Please try again in 20s, or retry in 40s", 40.0),
        ("Too many tokens, please wait before trying again.", None),
        ("your 5s budget", None),
        ("try again in 5 sprints", None),
    ],
)
def test_the_wait_a_sentence_names(text: str, seconds: float | None) -> None:
    assert said(text) == (pytest.approx(seconds) if seconds is not None else None)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "37"}, 37.0),
        ({"retry-after": "2", "retry-after-ms": "1440"}, 2.0),
        ({"retry-after": "1", "retry-after-ms": "0"}, 1.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "0"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", **DATE}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:27:30 GMT", **DATE}, None),
        ({"retry-after": "Wed, 99 Oct 2015 07:27:30 GMT", **DATE}, None),
    ],
)
def test_the_wait_the_headers_name(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_a_point_in_time_means_something_beside_the_answers_date_only() -> None:
    assert until("2015-10-21T07:28:12Z", DATE) == 12.0
    assert until("2015-10-21T09:28:12+02:00", DATE) == 12.0
    assert until("2015-10-21T07:27:00Z", DATE) == 0.0
    assert until("2015-10-21T07:28:12Z", {}) is None
    assert until("tomorrow", DATE) is None


@given(st.text(max_size=200))
def test_no_text_is_too_strange(text: str) -> None:
    for found in (duration(text), said(text), retry_after({"retry-after": text, "retry-after-ms": text, "date": text})):
        assert found is None or 0 <= found <= LONGEST
