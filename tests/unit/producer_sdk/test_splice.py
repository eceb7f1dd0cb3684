"""A stream put in order: whatever is lost, late, doubled or swapped, each piece is told once and answers never mix."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from job_contracts.chat import (
    Answer,
    AssistantPart,
    FinishReason,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    Usage,
)
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from job_contracts.results import AttemptRecord, Result, Times
from job_contracts.stream import (
    Chunk,
    Delta,
    EndDelta,
    Finished,
    ReasoningDelta,
    ReasoningToken,
    StartDelta,
    Started,
    StreamEvent,
    Switched,
    TextDelta,
    Token,
    ToolCall,
    ToolCallDelta,
    UsageReported,
)
from producer_sdk.splice import MOST_HELD, Splice

USAGE = Usage(input=1, output=2)


def start(generation: int, *, switched_from: str | None = None) -> Chunk:
    delta = StartDelta(deployment=f"p/{generation}", provider="p", model="m", switched_from=switched_from)
    return Chunk(generation=generation, sequence=1, deltas=(delta,))


def text(generation: int, sequence: int, words: str) -> Chunk:
    return Chunk(generation=generation, sequence=sequence, deltas=(TextDelta(text=words),))


def end(generation: int, sequence: int) -> Chunk:
    return Chunk(
        generation=generation, sequence=sequence, deltas=(EndDelta(finish_reason=FinishReason.STOP, usage=USAGE),)
    )


def result(generation: int = 1, *parts: AssistantPart, state: JobState = JobState.SUCCEEDED) -> Result:
    record = AttemptRecord(
        number=generation, deployment=f"p/{generation}", provider="p", model="m", started=0, seconds=0
    )
    before = tuple(
        record.model_copy(
            update={"number": n, "deployment": f"p/{n}", "failure": Failure(kind=FailureKind.STALLED, message="")}
        )
        for n in range(1, generation)
    )
    succeeded = state is JobState.SUCCEEDED
    return Result(
        job="a-b",
        project="p",
        state=state,
        route="r",
        token="t",
        body_hash="h",
        nonce="n",
        answer=Answer(parts=parts) if succeeded else None,
        usage=USAGE,
        provider="p",
        model="m",
        deployment=f"p/{generation}",
        attempts=(*before, record),
        failure=None if succeeded else Failure(kind=FailureKind.STALLED, message="x"),
        times=Times(submitted=0, finished=1),
    )


@dataclass
class Listener:
    """What somebody has in hands who does what the events say."""

    events: list[StreamEvent] = field(default_factory=list)
    text: str = ""
    reasoning: str = ""
    calls: dict[int, list[str]] = field(default_factory=dict)

    def hear(self, events: list[StreamEvent]) -> None:
        for event in events:
            self.events.append(event)
            match event:
                case Switched():
                    self.text, self.reasoning, self.calls = "", "", {}
                case Token():
                    self.text += event.text
                case ReasoningToken():
                    self.reasoning += event.text
                case ToolCall():
                    call = self.calls.setdefault(event.index, ["", ""])
                    call[0] += event.name or ""
                    call[1] += event.arguments
                case _:
                    pass

    def kinds(self) -> list[type[StreamEvent]]:
        return [type(event) for event in self.events]


def heard(*steps: Chunk | Result) -> Listener:
    splice, listener = Splice(), Listener()
    for step in steps:
        listener.hear(splice.end(step) if isinstance(step, Result) else splice.take(step))
    return listener


def test_chunks_in_order_are_told_at_once() -> None:
    listener = heard(start(1), text(1, 2, "He"), text(1, 3, "llo"), end(1, 4), result(1, TextPart(text="Hello")))
    assert listener.kinds() == [Started, Token, Token, UsageReported, Finished]
    assert [(event.generation, event.sequence) for event in listener.events] == [(1, 1), (1, 2), (1, 3), (1, 4), (1, 4)]


def test_a_chunk_that_comes_twice_is_told_once() -> None:
    assert heard(start(1), text(1, 2, "a"), text(1, 2, "a"), start(1), text(1, 3, "b")).text == "ab"


def test_what_comes_too_early_waits_for_what_is_missing() -> None:
    splice, listener = Splice(), Listener()
    for chunk in (start(1), text(1, 4, "c"), text(1, 3, "b")):
        listener.hear(splice.take(chunk))
    assert (listener.text, splice.missing, splice.position) == ("", True, (1, 1))
    listener.hear(splice.fill([text(1, 2, "a"), text(1, 3, "b")], complete=True))
    assert (listener.text, splice.missing, splice.position) == ("abc", False, (1, 4))


def test_a_stream_that_begins_in_the_middle_waits_for_its_start() -> None:
    splice = Splice()
    assert splice.take(text(1, 3, "b")) == []
    assert splice.missing
    events = splice.fill([start(1), text(1, 2, "a"), text(1, 3, "b")], complete=True)
    assert [type(event) for event in events] == [Started, Token, Token]


def test_a_higher_generation_starts_over_and_what_is_late_of_the_old_one_is_dropped() -> None:
    listener = heard(
        start(1), text(1, 2, "Half"), start(2, switched_from="p/1"), text(1, 3, "more"), text(2, 2, "Whole")
    )
    assert listener.kinds() == [Started, Token, Switched, Started, Token]
    assert listener.text == "Whole"


def test_a_first_generation_that_said_nothing_is_no_reason_to_start_over() -> None:
    assert heard(start(1), start(2)).kinds() == [Started, Started]
    assert heard(start(2, switched_from="p/1")).kinds() == [Switched, Started]


def test_a_gap_that_cannot_be_filled_is_bridged_by_the_result() -> None:
    splice, listener = Splice(), Listener()
    for chunk in (start(1), text(1, 2, "one "), text(1, 4, "three")):
        listener.hear(splice.take(chunk))
    listener.hear(splice.fill([text(1, 4, "three")], complete=True))
    assert not splice.missing
    listener.hear(splice.take(text(1, 5, "four")))
    assert listener.text == "one "
    listener.hear(splice.end(result(1, TextPart(text="one two three four"))))
    assert listener.text == "one two three four"
    assert Switched not in listener.kinds()


def test_after_a_lost_generation_the_next_one_is_told_as_ever() -> None:
    splice, listener = Splice(), Listener()
    for chunk in (start(1), text(1, 2, "one "), text(1, 4, "three")):
        listener.hear(splice.take(chunk))
    listener.hear(splice.fill([], complete=True))
    for chunk in (start(2), text(2, 2, "all")):
        listener.hear(splice.take(chunk))
    assert listener.text == "all"


def test_an_incomplete_filling_is_asked_for_again() -> None:
    splice = Splice()
    splice.take(text(1, 3, "b"))
    splice.fill([start(1)], complete=False)
    assert splice.missing


def test_a_result_of_another_attempt_never_continues_what_was_told() -> None:
    listener = heard(start(1), text(1, 2, "Once upon"), result(2, TextPart(text="Once upon a time")))
    assert listener.kinds() == [Started, Token, Switched, Started, Token, UsageReported, Finished]
    assert listener.text == "Once upon a time"
    assert isinstance(listener.events[2], Switched)
    assert (listener.events[2].switched_from, listener.events[2].reason) == ("p/1", "stalled")


def test_a_result_of_an_earlier_attempt_starts_over_behind_what_was_told() -> None:
    late = result(1, TextPart(text="Hello"))
    listener = heard(start(1), text(1, 2, "He"), start(2), text(2, 2, "Hel"), text(1, 3, "llo"), end(2, 3), late)
    assert listener.kinds()[-5:] == [Switched, Started, Token, UsageReported, Finished]
    assert listener.text == "Hello"
    first = listener.events[-5]
    assert isinstance(first, Switched)
    assert (first.deployment, first.switched_from) == ("p/1", None)
    assert {(event.generation, event.sequence, event.from_record) for event in listener.events[-5:]} == {(2, 4, True)}


def test_a_result_of_an_earlier_attempt_needs_no_switch_where_the_later_one_said_nothing() -> None:
    listener = heard(start(2), result(1, TextPart(text="Hello")))
    assert listener.kinds() == [Started, Started, Token, UsageReported, Finished]
    assert listener.text == "Hello"


def test_a_result_that_does_not_begin_as_it_was_told_starts_over() -> None:
    listener = heard(start(1), text(1, 2, "Abc"), result(1, TextPart(text="Xyz")))
    assert listener.kinds() == [Started, Token, Switched, Token, UsageReported, Finished]
    assert listener.text == "Xyz"


def test_a_result_alone_tells_everything() -> None:
    call = ToolCallPart(id="c", name="f", arguments='{"a": 1}')
    listener = heard(result(1, ReasoningPart(text="Hm."), TextPart(text="Yes."), call))
    assert listener.kinds() == [Started, ReasoningToken, Token, ToolCall, UsageReported, Finished]
    assert (listener.reasoning, listener.text, listener.calls) == ("Hm.", "Yes.", {0: ["f", '{"a": 1}']})


def seals(listener: Listener) -> list[tuple[str, str | None, str | None]]:
    return [(one.text, one.signature, one.redacted) for one in listener.events if isinstance(one, ReasoningToken)]


SIGNED = ReasoningPart(text="Hm.", signature="s", origin="claude")
REDACTED = ReasoningPart(redacted="r", origin="claude")


def thought(sequence: int, text: str, **seal: str) -> Chunk:
    told = ReasoningDelta.model_validate({"text": text, **seal})
    return Chunk(generation=1, sequence=sequence, deltas=(told,))


def test_a_result_alone_tells_reasoning_part_by_part_with_its_seals() -> None:
    listener = heard(result(1, SIGNED, REDACTED, TextPart(text="Yes.")))
    assert seals(listener) == [("Hm.", "s", None), ("", None, "r")]


def test_a_seal_is_told_once_and_when_it_comes() -> None:
    told = [
        thought(2, "Hm."),
        thought(3, "", signature="s", origin="claude"),
        thought(4, "", redacted="r", origin="claude"),
    ]
    listener = heard(start(1), *told, text(1, 5, "Yes."), result(1, SIGNED, REDACTED, TextPart(text="Yes.")))
    assert seals(listener) == [("Hm.", None, None), ("", "s", None), ("", None, "r")]


def test_a_seal_that_was_not_told_comes_with_the_rest() -> None:
    listener = heard(start(1), thought(2, "H"), result(1, SIGNED, TextPart(text="Yes.")))
    assert seals(listener) == [("H", None, None), ("m.", "s", None)]


def test_a_seal_that_comes_after_the_text_has_no_place_any_more() -> None:
    listener = heard(start(1), thought(2, "Hm."), text(1, 3, "Y"), result(1, SIGNED, TextPart(text="Yes.")))
    assert seals(listener) == [("Hm.", None, None)]
    assert listener.text == "Yes."


def test_a_tool_call_cut_in_the_middle_is_completed() -> None:
    begun = Chunk(generation=1, sequence=2, deltas=(ToolCallDelta(index=0, id="c", name="f", arguments='{"a"'),))
    listener = heard(start(1), begun, result(1, ToolCallPart(id="c", name="f", arguments='{"a": 1}')))
    assert listener.calls == {0: ["f", '{"a": 1}']}
    assert Switched not in listener.kinds()


def test_a_failed_job_adds_nothing_to_what_was_told() -> None:
    listener = heard(start(1), text(1, 2, "Half"), result(1, state=JobState.FAILED))
    assert listener.kinds() == [Started, Token, Finished]


def test_nothing_is_told_after_the_end() -> None:
    last = result(1, TextPart(text="a"))
    assert heard(start(1), text(1, 2, "a"), last, text(1, 3, "b"), last).kinds().count(Finished) == 1


def test_what_is_held_is_bounded() -> None:
    splice = Splice()
    for sequence in range(2, MOST_HELD + 50):
        splice.take(text(1, sequence, "x"))
    assert len(splice._held) == MOST_HELD


# -- anything may happen


pieces = st.lists(st.text("abc ", min_size=1, max_size=3), min_size=1, max_size=6)


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[Chunk], Result]:
    """Some attempts as a worker would stream them, and the result of the last."""
    generations = draw(st.integers(1, 3))
    chunks: list[Chunk] = []
    parts: list[AssistantPart] = []
    for generation in range(1, generations + 1):
        said = draw(pieces)
        thought = draw(st.lists(st.sampled_from(["hm ", "so "]), max_size=2))
        arguments = draw(st.lists(st.sampled_from(['{"a":', "1}"]), max_size=2))
        deltas: list[Delta] = [
            StartDelta(
                deployment=f"p/{generation}",
                provider="p",
                model="m",
                switched_from=f"p/{generation - 1}" if generation > 1 else None,
            ),
            *[ReasoningDelta(text=one) for one in thought],
            *[TextDelta(text=one) for one in said],
            *[
                ToolCallDelta(index=0, id="c" if not at else None, name="f" if not at else None, arguments=one)
                for at, one in enumerate(arguments)
            ],
        ]
        parts = [TextPart(text="".join(said))]
        if thought:
            parts.insert(0, ReasoningPart(text="".join(thought)))
        if arguments:
            parts.append(ToolCallPart(id="c", name="f", arguments="".join(arguments)))
        if generation == generations:
            deltas.append(EndDelta(finish_reason=FinishReason.STOP, usage=USAGE))
        else:
            deltas = deltas[: draw(st.integers(1, len(deltas)))]
        chunks += [Chunk(generation=generation, sequence=n, deltas=(d,)) for n, d in enumerate(deltas, 1)]
    return chunks, result(generations, *parts)


@given(stories(), st.data())
def test_whatever_happens_to_the_chunks_the_listener_ends_with_the_answer(
    story: tuple[list[Chunk], Result], data: st.DataObject
) -> None:
    chunks, last = story
    kept = [chunk for chunk in chunks if data.draw(st.booleans(), label="stored")]
    arrivals = data.draw(st.lists(st.sampled_from(chunks), max_size=2 * len(chunks)), label="arrivals")
    splice, listener = Splice(), Listener()
    for chunk in arrivals:
        listener.hear(splice.take(chunk))
        if splice.missing and data.draw(st.booleans(), label="ask"):
            after = splice.position
            found = [one for one in kept if (one.generation, one.sequence) > after]
            listener.hear(splice.fill(found, complete=data.draw(st.booleans(), label="complete")))
    listener.hear(splice.end(last))
    answer = last.answer
    assert answer is not None
    assert listener.text == answer.text
    assert listener.reasoning == answer.reasoning
    assert list(listener.calls.values()) == [[call.name, call.arguments] for call in answer.tool_calls]
    assert isinstance(listener.events[-1], Finished)
    assert listener.kinds().count(UsageReported) >= 1


@given(stories(), st.data())
def test_places_only_grow_and_have_no_gap_within_a_generation_whichever_attempt_made_the_result(
    story: tuple[list[Chunk], Result], data: st.DataObject
) -> None:
    chunks, last = story
    whose = data.draw(st.integers(1, len(last.attempts)), label="whose")
    last = last.model_copy(update={"attempts": last.attempts[:whose]})
    arrivals = data.draw(st.lists(st.sampled_from(chunks), max_size=2 * len(chunks)))
    listener = heard(*arrivals, last)
    assert last.answer is not None
    assert listener.text == last.answer.text
    places = [(event.generation, event.sequence) for event in listener.events]
    assert places == sorted(places)
    seen: dict[int, list[int]] = {}
    for generation, sequence in places:
        told = seen.setdefault(generation, [])
        assert not told or sequence - told[-1] in (0, 1)
        told.append(sequence)
    assert all(told[0] == 1 for told in seen.values())


def test_what_comes_of_the_record_is_marked_because_it_is_another_event_than_the_chunk_of_that_place() -> None:
    listener = heard(start(1), text(1, 2, "He"), result(1, TextPart(text="Hello")))
    assert [event.from_record for event in listener.events] == [False, False, True, True, True]
    assert all(event.from_record for event in heard(result(1, TextPart(text="Hello"))).events)
    whole = heard(start(1), text(1, 2, "Hello"), end(1, 3), result(1, TextPart(text="Hello")))
    assert not any(event.from_record for event in whole.events)


def test_a_refusal_is_told_as_what_it_is() -> None:
    listener = heard(start(1), end(1, 2), result(1, TextPart(text="Well. "), RefusalPart(text="No.")))
    tokens = [event for event in listener.events if isinstance(event, Token)]
    assert [(token.text, token.refusal) for token in tokens] == [("Well. ", False), ("No.", True)]
