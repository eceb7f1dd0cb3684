"""Where a job hangs in a trace: what a header names, and ids that everybody makes in the same way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_contracts.tracing import Trace, of_attempt, of_job, read_trace, sampled_trace

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PLACE = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", sampled=True)


def test_a_header_is_read_as_it_is_written() -> None:
    assert read_trace(GIVEN) == PLACE
    assert PLACE.header == GIVEN
    assert read_trace(GIVEN[:-1] + "0") == Trace(PLACE.id, PLACE.span, sampled=False)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00",
        GIVEN.upper(),
        GIVEN[:-3],
        f"{GIVEN}-more",
        f" {GIVEN}",
        f"{GIVEN}\n",
        f"ff{GIVEN[2:]}",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
    ],
)
def test_what_names_no_place_is_no_trace(header: str | None) -> None:
    assert read_trace(header) is None


def test_a_later_version_may_say_more() -> None:
    assert read_trace(f"01{GIVEN[2:]}-more") == PLACE


@given(st.text(max_size=80))
def test_any_text_is_a_place_or_none(text: str) -> None:
    found = read_trace(text)
    assert found is None or read_trace(found.header) == found


def test_every_leader_makes_the_same_spans_of_a_job_and_no_other_job_has_them() -> None:
    job = of_job(PLACE, "demo", "a-1", "t")
    assert job == of_job(PLACE, "demo", "a-1", "t")
    assert (job.id, job.sampled) == (PLACE.id, True)
    others = [of_job(PLACE, *what) for what in (("demo", "a-1", "u"), ("demo", "a-2", "t"), ("other", "a-1", "t"))]
    attempts = [of_attempt(each, number) for each in (job, *others) for number in (1, 2)]
    spans = {PLACE.span, *(each.span for each in (job, *others, *attempts))}
    assert len(spans) == 1 + 4 + 8
    assert all(read_trace(each.header) == each for each in (job, *attempts))


def test_the_share_that_is_recorded_is_what_was_asked_for() -> None:
    jobs = [f"a-{number}" for number in range(2000)]
    assert all(sampled_trace("demo", job, "t", 0.0) is None for job in jobs)
    assert all(sampled_trace("demo", job, "t", 1.0) is not None for job in jobs)
    tenth = {job for job in jobs if sampled_trace("demo", job, "t", 0.1) is not None}
    assert 140 < len(tenth) < 260
    assert tenth <= {job for job in jobs if sampled_trace("demo", job, "t", 0.3) is not None}
    found = sampled_trace("demo", "a-1", "t", 1.0)
    assert found is not None
    assert (found.span, found.sampled) == ("", True)
