"""A stream that another attempt goes on with: what was told stands, and each piece is told once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from job_contracts.chat import TextPart
from job_contracts.stream import (
    Chunk,
    Finished,
    ReasoningDelta,
    StartDelta,
    Started,
    StreamEvent,
    Switched,
    TextDelta,
    Token,
)
from producer_sdk.splice import Splice
from tests.unit.producer_sdk.test_splice import end, result, start, text

FIRST = [start(1), text(1, 2, "The sea "), text(1, 3, "is wide")]


def goes_on(generation: int, carried: str, *, after: int = 1) -> Chunk:
    begins = StartDelta(
        deployment=f"p/{generation}", provider="p", model="m", switched_from="p/1", reason="reset", continues=after
    )
    return Chunk(generation=generation, sequence=1, deltas=(begins, TextDelta(text=carried)))


SECOND = [goes_on(2, "The sea is wide"), text(2, 2, " and deep."), end(2, 3)]


def read(events: list[StreamEvent]) -> str:
    """What a program shows in the end."""
    shown = ""
    for event in events:
        shown = "" if isinstance(event, Switched) else shown + event.text if isinstance(event, Token) else shown
    return shown


def take(*chunks: Chunk) -> tuple[Splice, list[StreamEvent]]:
    splice = Splice()
    return splice, [event for chunk in chunks for event in splice.take(chunk)]


def test_who_has_heard_all_of_it_hears_only_what_follows() -> None:
    _, events = take(*FIRST, *SECOND)
    assert not any(isinstance(event, Switched) for event in events)
    assert [event.text for event in events if isinstance(event, Token)] == ["The sea ", "is wide", " and deep."]
    assert [event.continues for event in events if isinstance(event, Started)] == [None, 1]


def test_who_has_heard_less_hears_the_rest_of_what_was_sent_first() -> None:
    _, events = take(*FIRST[:2], *SECOND)
    assert not any(isinstance(event, Switched) for event in events)
    assert read(events) == "The sea is wide and deep."


def test_who_comes_late_hears_all_of_it_from_the_new_generation() -> None:
    _, events = take(*SECOND)
    assert read(events) == "The sea is wide and deep."
    assert sum(isinstance(event, Started) for event in events) == 1


def test_who_has_heard_something_else_is_told_to_forget_it() -> None:
    for heard in (text(1, 3, "is wild"), text(1, 3, "is wide and"), reasoned(1, 3)):
        _, events = take(*FIRST[:2], heard, *SECOND)
        assert sum(isinstance(event, Switched) for event in events) == 1
        assert read(events) == "The sea is wide and deep."


def reasoned(generation: int, sequence: int) -> Chunk:
    return Chunk(generation=generation, sequence=sequence, deltas=(ReasoningDelta(text="Hm."),))


def test_an_attempt_after_one_that_started_over_goes_on_with_that_one() -> None:
    _, events = take(*FIRST, start(2, switched_from="p/1"), text(2, 2, "Rivers"), goes_on(3, "Rivers", after=2))
    assert [event.continues for event in events if isinstance(event, Started)] == [None, None, 2]
    assert sum(isinstance(event, Switched) for event in events) == 1
    assert read(events) == "Rivers"


def test_an_attempt_that_said_nothing_is_passed_over() -> None:
    _, events = take(*FIRST, goes_on(2, "The sea is wide"), goes_on(3, "The sea is wide"), text(3, 2, "!"))
    assert not any(isinstance(event, Switched) for event in events)
    assert read(events) == "The sea is wide!"


def test_the_record_of_an_attempt_that_went_on_is_the_rest_of_what_was_told() -> None:
    ended = result(2, TextPart(text="The sea is wide and deep."))
    last = ended.attempts[-1].model_copy(update={"continued": 1})
    splice, events = take(*FIRST)
    events += splice.end(ended.model_copy(update={"attempts": (*ended.attempts[:-1], last)}))
    assert not any(isinstance(event, Switched) for event in events)
    assert read(events) == "The sea is wide and deep."
    splice, events = take(*FIRST)
    events += splice.end(ended)
    assert any(isinstance(event, Switched) for event in events), "it is not known to have gone on"
    assert read(events) == "The sea is wide and deep."


@given(st.permutations([*FIRST, *SECOND]), st.sets(st.integers(0, 5)))
def test_in_whatever_order_and_with_whatever_loss_the_answer_is_read_once(order: list[Chunk], lost: set[int]) -> None:
    splice = Splice()
    events = [event for at, chunk in enumerate(order) if at not in lost for event in splice.take(chunk)]
    ended = result(2, TextPart(text="The sea is wide and deep."))
    last = ended.attempts[-1].model_copy(update={"continued": 1})
    events += splice.end(ended.model_copy(update={"attempts": (*ended.attempts[:-1], last)}))
    assert read(events) == "The sea is wide and deep."
    assert isinstance(events[-1], Finished)
