"""However the attempts behind a stream break off: a client never reads a splice, and reads the whole in the end."""

from __future__ import annotations

import time
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bodies.joining import Diverged, Joined, Policy, joined
from job_contracts.jobs import JobState
from job_contracts.stream import (
    Finished,
    ReasoningToken,
    Started,
    StreamEvent,
    Switched,
    Token,
    ToolCall,
    UsageReported,
)
from tests.support.builders import result
from tests.support.stories import Heard, Story, heard, stories

policies = st.sampled_from(["continue", "hold", "error"])
STARTED = Started(deployment="p/1", provider="p", model="m")
SWITCHED = Switched(deployment="p/2")
FINISHED = Finished(result=result())


def shown(policy: Policy, events: list[StreamEvent]) -> tuple[list[StreamEvent], bool]:
    """What a client gets to see, and whether the stream broke."""
    one, seen = Joined(policy), list[StreamEvent]()
    try:
        for event in events:
            seen += [due.event for due in one.take(event)]
    except Diverged:
        return seen, True
    return seen, False


@given(stories(), policies, st.data())
def test_what_a_client_has_read_is_always_the_beginning_of_one_attempts_answer(
    story: Story, policy: Policy, data: st.DataObject
) -> None:
    kept = data.draw(st.lists(st.booleans(), min_size=len(story.chunks), max_size=len(story.chunks)))
    seen, broken = shown(policy, story.told(kept))
    reader = Heard()
    for event in seen:
        reader.add(event)
        assert any(reader.begins(attempt) for attempt in story.attempts), reader
    if not broken and story.record.state is JobState.SUCCEEDED:
        whole = story.attempts[-1]
        assert (reader.text, reader.reasoning) == (whole.text, whole.reasoning)
        assert reader.calls == whole.calls
        assert isinstance(seen[-1], Finished)


@given(stories(), st.data())
def test_hold_shows_nothing_before_the_end_and_never_breaks(story: Story, data: st.DataObject) -> None:
    kept = data.draw(st.lists(st.booleans(), min_size=len(story.chunks), max_size=len(story.chunks)))
    events = story.told(kept)
    before, broken = shown("hold", events[:-1])
    assert not broken
    assert heard(before) == Heard()
    assert not shown("hold", events)[1]


@given(stories(), policies)
def test_an_answer_starts_once_and_nobody_is_told_of_a_switch(story: Story, policy: Policy) -> None:
    seen, _ = shown(policy, story.told())
    kinds = [type(event) for event in seen]
    assert kinds.count(Started) <= 1
    assert Switched not in kinds
    assert UsageReported not in kinds


@given(stories())
def test_as_it_is_shows_every_event(story: Story) -> None:
    assert joined("as_it_is", story.told()) == story.told()


@given(stories(), st.sampled_from(get_args(Policy)))
def test_no_two_events_of_a_place_have_the_same_number(story: Story, policy: Policy) -> None:
    one, places = Joined(policy), list[tuple[int, int, int]]()
    try:
        for event in story.told():
            places += [(due.event.generation, due.event.sequence, due.nth) for due in one.take(event)]
    except Diverged:
        pass
    assert places == sorted(set(places))


def test_an_attempt_that_says_the_same_is_taken_up_where_the_other_broke_off() -> None:
    events: list[StreamEvent] = [
        STARTED,
        Token(text="Hello wo"),
        SWITCHED,
        Token(text="Hel"),
        Token(text="lo world"),
        FINISHED,
    ]
    assert [event.text for event in joined("continue", events) if isinstance(event, Token)] == ["Hello wo", "rld"]


def test_an_attempt_that_says_less_is_no_answer_to_what_was_read() -> None:
    with pytest.raises(Diverged):
        joined("continue", [STARTED, Token(text="Hello"), SWITCHED, Token(text="Hell"), FINISHED])


def test_an_attempt_that_reasons_where_the_other_had_answered_diverges() -> None:
    said: list[StreamEvent] = [
        STARTED,
        ReasoningToken(text="Hm"),
        Token(text="Yes"),
        SWITCHED,
        ReasoningToken(text="Hm"),
    ]
    assert len(joined("continue", said)) == 3
    with pytest.raises(Diverged):
        joined("continue", [*said, ReasoningToken(text=", well")])


def test_a_call_that_was_shown_is_not_taken_up_for_its_id_is_made_up_anew() -> None:
    with pytest.raises(Diverged):
        joined("continue", [STARTED, ToolCall(index=0, id="a", name="f"), SWITCHED])


def test_a_switch_before_anything_was_said_is_none_under_any_policy() -> None:
    events: list[StreamEvent] = [STARTED, SWITCHED, STARTED, Token(text="Hello"), FINISHED]
    for policy in get_args(Policy)[:3]:
        assert [type(event) for event in joined(policy, events)] == [Started, Token, Finished]


def test_a_refusal_that_was_shown_is_not_gone_on_with_as_an_answer() -> None:
    with pytest.raises(Diverged):
        joined("continue", [STARTED, Token(text="No", refusal=True), SWITCHED, Token(text="No problem")])


def test_a_long_answer_is_joined_in_time_that_grows_with_its_length() -> None:
    def seconds(tokens: int) -> float:
        said = [Token(text="word ") for _ in range(tokens)]
        events: list[StreamEvent] = [STARTED, *said, SWITCHED, *said, FINISHED]
        start = time.process_time()
        assert len(joined("continue", events)) == tokens + 2
        return time.process_time() - start

    few = min(seconds(5_000) for _ in range(3))
    assert seconds(50_000) < 40 * few


def test_an_event_is_numbered_alike_whether_the_attempt_before_was_heard_or_not() -> None:
    place = {"generation": 2, "sequence": 1}
    events = [event.model_copy(update=place) for event in (SWITCHED, STARTED, Token(text="Hello"))]
    heard_both, heard_one = Joined("as_it_is"), Joined("as_it_is")
    numbers = [[due.nth for event in events for due in heard_both.take(event)], [0]]
    numbers[1] += [due.nth for event in events[1:] for due in heard_one.take(event)]
    assert numbers == [[0, 1, 2], [0, 1, 2]]


def test_a_seal_is_shown_once_however_often_its_reasoning_is_said() -> None:
    def signed(token: str) -> list[StreamEvent]:
        return [ReasoningToken(text="Hm."), ReasoningToken(text="", signature=token, origin="claude")]

    first, second = signed("one"), signed("two")
    assert joined("continue", [STARTED, *first, FINISHED]) == [STARTED, *first, FINISHED]
    # Signed and broken off, then the same again with another signature, and on.
    told = joined("continue", [STARTED, *first, SWITCHED, *second, Token(text="Yes."), FINISHED])
    assert told == [STARTED, *first, Token(text="Yes."), FINISHED]
    # Broken off before it was signed.
    told = joined("continue", [STARTED, first[0], SWITCHED, *second, Token(text="Yes."), FINISHED])
    assert told == [STARTED, first[0], second[1], Token(text="Yes."), FINISHED]
    held = joined("hold", [STARTED, *first, SWITCHED, *second, Token(text="Yes."), FINISHED])
    assert held == [STARTED, *second, Token(text="Yes."), FINISHED]
