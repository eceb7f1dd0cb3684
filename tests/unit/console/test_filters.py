"""What an address says of a period and of filters."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from console.asking import Declined
from console.filters import address, asked, at, following, label, period, tagged, wanted
from console.people import Person

NOW = datetime(2026, 3, 31, 13, 20, 5, tzinfo=UTC).timestamp()


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("said", "since", "unit"),
    [
        ({}, "2026-03-02", "day"),
        ({"period": "nonsense"}, "2026-03-02", "day"),
        ({"period": "today"}, "2026-03-31", "hour"),
        ({"period": "7d"}, "2026-03-25", "day"),
        ({"period": "month"}, "2026-03-01", "day"),
        ({"period": "year"}, "2025-04-01", "month"),
        ({"period": "all"}, "1970-01-01", "month"),
        ({"period": "year", "unit": "hour"}, "2025-04-01", "month"),
        ({"period": "today", "unit": "month"}, "2026-03-31", "month"),
        ({"since": "2026-03-30T12:00", "period": "year"}, "2026-03-30T12:00", "hour"),
    ],
)
def test_a_period_begins_with_a_day_and_is_told_in_columns_that_can_be_read(
    said: dict[str, str], since: str, unit: str
) -> None:
    found = period(said, NOW, "30d")
    assert (found.since, found.until, found.unit) == (moment(since), None, unit)


def test_a_period_of_ones_own_has_its_end() -> None:
    found = period({"since": "2026-01-01", "until": "2026-02-01T06:30:00+02:00"}, NOW, "7d")
    assert (found.name, found.since, found.until) == ("custom", moment("2026-01-01"), moment("2026-02-01T04:30"))


@pytest.mark.parametrize(
    "said",
    [{"since": "yesterday"}, {"until": "9999-12-31"}, {"since": "1969-01-01"}, {"since": "2026-02", "until": "x"}],
)
def test_what_is_no_moment_is_said(said: dict[str, str]) -> None:
    with pytest.raises(Declined):
        period(said, NOW, "7d")


def test_a_period_does_not_end_before_it_begins() -> None:
    with pytest.raises(Declined, match="ends before it begins"):
        period({"since": "2026-02-02", "until": "2026-02-01"}, NOW, "7d")


def test_a_projects_holder_means_their_project_whatever_the_address_says() -> None:
    query = {"project": "other", "model": " gpt ", "key": "-", "reason": "", "else": "x"}
    assert wanted(query, Person("a", "viewer", project="acme")) == {"project": "acme", "model": "gpt", "key": "-"}
    assert asked(wanted(query, Person("admin", "admin"))) == {"project": "other", "model": "gpt", "key": ""}


def test_a_tag_is_a_name_or_a_name_and_its_value() -> None:
    assert tagged({}) == tagged({"tag": " "}) == tagged({"tag": "=x"}) == {}
    assert tagged({"tag": "team"}) == {"tag": "team"}
    assert tagged({"tag": "team=a=b"}) == {"tag": "team", "tag_value": "a=b"}


def test_an_address_says_what_comes_last_and_nothing_of_none() -> None:
    assert address("/spend", {"a": 1, "b": "x&y"}, {"a": None}, c="ü") == "/spend?b=x%26y&c=%C3%BC"


@pytest.mark.parametrize("text", ["2026-03-31T13:20:05", "2026-03-31T13:20", "2026-03-31T13:20:05.250000"])
def test_a_moment_is_written_as_it_is_read(text: str) -> None:
    assert at(moment(text)) == text


def test_columns_follow_one_another_without_gaps() -> None:
    assert following(moment("2026-01-01"), "month") == moment("2026-02-01")
    assert following(moment("2026-12-01"), "month") == moment("2027-01-01")
    assert following(moment("2026-12-31"), "day") == moment("2027-01-01")
    assert label(moment("2026-12-31T05:00"), "hour") == "31 05:00"
