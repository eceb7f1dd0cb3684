"""Where a job hangs in a trace: what a header names, and ids that everybody makes in the same way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_contracts.tracing import (
    Trace,
    begun_trace,
    of_attempt,
    of_job,
    of_request,
    read_trace,
    sampled_trace,
    trace_in,
)

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


@pytest.mark.parametrize(
    ("state", "kept"),
    [("a=1,b=t61", "a=1,b=t61"), ("", ""), ("x" * 513, ""), ("a=\n", ""), ("a=\xe4", "")],
)
def test_the_state_of_other_systems_goes_on_as_it_came_or_not_at_all(state: str, kept: str) -> None:
    found = trace_in({"traceparent": GIVEN, "tracestate": state})
    assert found is not None
    below = of_attempt(of_job(of_request(found, "req_1"), "demo", "a-1", "t"), 1)
    assert found.state == below.state == kept
    assert below.headers == {"traceparent": below.header, **({"tracestate": kept} if kept else {})}
    assert trace_in(below.headers) == below


def test_nothing_is_carried_for_what_nobody_records_or_what_has_no_place() -> None:
    assert trace_in({"traceparent": f"{GIVEN[:-1]}0", "tracestate": "a=1"}) == read_trace(f"{GIVEN[:-1]}0")
    assert trace_in({"tracestate": "a=1"}) is None


def test_a_request_begins_a_trace_of_its_own_and_is_recorded_by_its_share() -> None:
    begun = [begun_trace(f"req_{number}", 0.1) for number in range(2000)]
    assert 140 < sum(trace.sampled for trace in begun) < 260
    assert len({trace.id for trace in begun}) == 2000
    span = of_request(begun[0], "req_0")
    assert (span.id, bool(span.span), begun[0].span) == (begun[0].id, True, "")
    assert read_trace(span.header) == span
