"""The events of a stream of responses: the same numbers, whichever way the words came."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent

from gateway.bodies.failures import ApiError
from gateway.bodies.joining import Diverged
from gateway.bodies.openai_responses_kept import Kept
from gateway.bodies.openai_responses_stream import PIECE, Rendering
from job_contracts.chat import (
    Answer,
    Citation,
    FinishReason,
    ReasoningPart,
    RefusalPart,
    TextPart,
    TokenLogprob,
    ToolCallPart,
    Usage,
)
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from job_contracts.results import AttemptRecord, Result, Times
from job_contracts.stream import Finished, Queued, ReasoningToken, Started, StreamEvent, Token, ToolCall

JOB = "0123456789abcdef-0123456789abcdef"
KEPT = Kept(created=1.0, model="chat", background=True, sealed=True)
TEXT = "The sea is wide, and those who sail on it know the wind."
CALL = ToolCallPart(id="call_1", name="wind", arguments='{"at": "sea", "when": [1, 2]}')
STARTED = Started(generation=1, deployment="p/m", provider="p", model="m")


def result(answer: Answer | None, **over: Any) -> Result:
    attempt = AttemptRecord(number=1, deployment="p/m", provider="p", model="m", started=1.0, seconds=1.0)
    told: dict[str, Any] = {
        "job": JOB,
        "project": "research",
        "state": JobState.SUCCEEDED,
        "route": "chat",
        "token": "t",
        "body_hash": "h",
        "nonce": "n",
        "answer": answer,
        "finish_reason": FinishReason.STOP,
        "usage": Usage(input=10, output=3),
        "attempts": (attempt,),
        "times": Times(submitted=1.0, finished=2.0),
    }
    return Result(**told | over)


def rendered(events: Iterable[StreamEvent], end: Result, *, after: int = -1, kept: Kept = KEPT) -> list[dict[str, Any]]:
    """All that a client of this stream reads."""
    rendering = Rendering(kept, at_once=True, after=after)
    rendering.begin([JOB])
    frames = list(rendering.event(0, Queued(job=JOB)))
    for event in events:
        frames += rendering.event(0, event)
    frames += rendering.event(0, Finished(generation=1, sequence=9, result=end))
    frames += rendering.end((end,))
    found = [json.loads(frame.data) for frame in frames]
    assert [frame.event for frame in frames] == [one["type"] for one in found]
    assert [frame.id for frame in frames] == [str(one["sequence_number"]) for one in found]
    return found


def events_of(answer: Answer, sizes: Sequence[int] = (3,)) -> list[StreamEvent]:
    """An answer as it comes, in chunks of these many characters, over and over."""
    events: list[StreamEvent] = [STARTED]
    calls, turn = 0, 0
    for part in answer.parts:
        text = part.arguments if isinstance(part, ToolCallPart) else part.text
        if isinstance(part, RefusalPart):
            continue
        if isinstance(part, ToolCallPart):
            events.append(ToolCall(generation=1, index=calls, id=part.id, name=part.name))
            calls += 1
        while text:
            size = sizes[turn % len(sizes)]
            turn += 1
            piece, text = text[:size], text[size:]
            if isinstance(part, ToolCallPart):
                events.append(ToolCall(generation=1, index=calls - 1, arguments=piece))
            elif isinstance(part, ReasoningPart):
                events.append(ReasoningToken(generation=1, text=piece))
            else:
                events.append(Token(generation=1, text=piece))
    return events


texts = st.text(min_size=0, max_size=40)
parts = st.one_of(
    st.builds(TextPart, text=texts),
    st.builds(ReasoningPart, text=texts, signature=st.none() | st.just("sig"), origin=st.just("f")),
    st.builds(RefusalPart, text=texts.filter(bool)),
    st.builds(
        ToolCallPart,
        id=st.uuids().map(str),
        name=st.just("wind"),
        arguments=st.dictionaries(texts, st.integers(), max_size=2).map(json.dumps),
    ),
)
answers = st.builds(Answer, parts=st.lists(parts, max_size=5).map(tuple))


@given(answer=answers, sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4), told=st.integers(0, 40))
def test_however_an_answer_comes_its_events_are_the_same(answer: Answer, sizes: list[int], told: int) -> None:
    end = result(answer)
    whole = rendered(events_of(answer, sizes), end)
    assert [one["sequence_number"] for one in whole] == list(range(len(whole)))
    assert rendered([], end) == whole
    assert rendered(events_of(answer, sizes)[:told], end) == whole


@given(answer=answers, sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4), after=st.integers(0, 60))
def test_from_any_event_on_the_stream_is_the_tail_of_the_whole(answer: Answer, sizes: list[int], after: int) -> None:
    end = result(answer)
    whole = rendered(events_of(answer, sizes), end)
    after = min(after, len(whole) - 1)
    assert rendered(events_of(answer, sizes), end, after=after) == whole[after + 1 :]
    assert rendered([], end, after=after) == whole[after + 1 :]


@given(answer=answers)
def test_the_items_that_were_told_are_the_output(answer: Answer) -> None:
    whole = rendered(events_of(answer), result(answer))
    output = whole[-1]["response"]["output"]
    done = [one["item"] for one in whole if one["type"] == "response.output_item.done"]
    assert done == output
    for place, item in enumerate(output):
        said = "".join(one["delta"] for one in whole if one.get("output_index") == place and "delta" in one)
        texts = [*item.get("content", ()), *item.get("summary", ())]
        told = item.get("arguments") or "".join(one.get("text") or one.get("refusal") or "" for one in texts)
        assert said == told


def test_the_events_of_an_answer_come_in_the_order_of_the_api() -> None:
    answer = Answer(parts=(ReasoningPart(text="Hm."), TextPart(text="Aye"), CALL, RefusalPart(text="No.")))
    types = [one["type"].removeprefix("response.") for one in rendered(events_of(answer), result(answer))]
    assert types == [
        *("created", "queued", "in_progress"),
        *("output_item.added", "reasoning_summary_part.added", *["reasoning_summary_text.delta"] * 2),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", *["function_call_arguments.delta"] * 5, "function_call_arguments.done"),
        "output_item.done",
        *("output_item.added", "content_part.added", "refusal.delta", "refusal.delta"),
        *("refusal.done", "content_part.done", "output_item.done"),
        "completed",
    ]


MODELS = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(get_args(ResponseStreamEvent)[0])
}
"""The official client's model of each event."""


@given(answer=answers)
def test_every_event_is_one_that_the_official_client_knows_to_the_last_field(answer: Answer) -> None:
    for one in rendered([], result(answer)):
        MODELS[one["type"]].model_validate(one, strict=True)


def test_the_first_character_is_told_at_once_and_the_rest_in_pieces() -> None:
    rendering = Rendering(KEPT, at_once=False)
    rendering.begin([JOB])
    assert rendering.event(0, Queued(job=JOB)) == []
    begun = [json.loads(one.data) for one in rendering.event(0, Token(generation=1, text="Aye, captain, aye."))]
    assert [one["delta"] for one in begun if "delta" in one] == ["A", "ye, cap", "tain, ay"]
    assert all(len(one["delta"]) <= PIECE for one in begun if "delta" in one)


def test_calls_that_come_side_by_side_are_told_one_after_the_other() -> None:
    other = CALL.model_copy(update={"id": "call_2"})
    answer = Answer(parts=(CALL, other))
    events: list[StreamEvent] = [STARTED]
    for index, call in enumerate((CALL, other)):
        events.append(ToolCall(generation=1, index=index, id=call.id, name=call.name))
    for at in range(len(CALL.arguments)):
        events += [ToolCall(generation=1, index=index, arguments=CALL.arguments[at]) for index in (0, 1)]
    assert rendered(events, result(answer)) == rendered([], result(answer))


def test_a_source_is_told_before_its_text_is_done_with_its_place_in_that_text() -> None:
    citation = Citation(url="https://example.org", title="Seas", start=9, end=12)
    likely = (TokenLogprob(token="Aye. ", logprob=-0.5), TokenLogprob(token="The sea.", logprob=-1.0))
    answer = Answer(
        parts=(TextPart(text="Aye. "), CALL, TextPart(text="The sea.")), citations=(citation,), logprobs=likely
    )
    whole = rendered(events_of(answer), result(answer))
    (told,) = [one for one in whole if one["type"] == "response.output_text.annotation.added"]
    assert (told["output_index"], told["annotation"]["start_index"], told["annotation"]["end_index"]) == (2, 4, 7)
    first, _, last = whole[-1]["response"]["output"]
    assert last["content"][0]["annotations"] == [told["annotation"]]
    assert [one["token"] for one in first["content"][0]["logprobs"]] == ["Aye. "]
    assert [one["token"] for one in last["content"][0]["logprobs"]] == ["The sea."]


def test_a_record_that_says_something_else_is_never_joined_to_what_was_told() -> None:
    other = result(Answer(parts=(TextPart(text="The land is wide."),)))
    with pytest.raises(Diverged):
        rendered(events_of(Answer(parts=(TextPart(text=TEXT),))), other)
    with pytest.raises(Diverged):
        rendered([Token(generation=1, text=TEXT)], result(Answer()))


def cut_short(**over: Any) -> Result:
    """A job whose first attempt broke off, and whose second answered."""
    failure = Failure(kind=FailureKind.STREAM_TRUNCATED, message="cut", **over.pop("failure", {}))
    attempt = AttemptRecord(number=1, deployment="p/m", provider="p", model="m", started=1.0, seconds=1.0)
    first = attempt.model_copy(update={"failure": failure, "first_token": 0.1, **over})
    return result(Answer(parts=(TextPart(text=TEXT),)), attempts=(first, attempt.model_copy(update={"number": 2})))


def test_a_stream_is_not_taken_up_behind_words_of_an_attempt_that_nobody_has_any_more() -> None:
    taken_up = rendered([], cut_short(), after=6)
    assert [(one["type"], one["code"], one["sequence_number"]) for one in taken_up] == [
        ("error", "resume_impossible", 6)
    ]
    assert rendered([], cut_short(), after=1)[0]["type"] == "response.in_progress"
    heard: list[StreamEvent] = [STARTED, Token(generation=1, text=TEXT[:9])]
    assert rendered(heard, cut_short(), after=6)[-1]["type"] == "response.completed"
    silent = cut_short(first_token=None)
    assert rendered([], silent, after=6)[-1]["type"] == "response.completed"
    lost = cut_short(first_token=None, failure={})
    gone = lost.attempts[0].model_copy(update={"failure": Failure(kind=FailureKind.WORKER_LOST, message="gone")})
    lost = lost.model_copy(update={"attempts": (gone, *lost.attempts[1:])})
    assert rendered([], lost, after=6)[-1]["type"] == "error"


def test_a_place_beyond_the_end_is_told_and_the_very_end_is_nothing() -> None:
    end = result(Answer(parts=(TextPart(text=TEXT),)))
    last = rendered([], end)[-1]["sequence_number"]
    assert rendered([], end, after=last) == []
    (told,) = rendered([], end, after=last + 5)
    assert (told["type"], told["code"], told["sequence_number"]) == ("error", "resume_impossible", last + 5)


@pytest.mark.parametrize(
    ("state", "kind", "status", "code"),
    [
        (JobState.FAILED, FailureKind.BAD_REQUEST, "failed", "invalid_prompt"),
        (JobState.FAILED, FailureKind.QUEUE_FULL, "failed", "rate_limit_exceeded"),
        (JobState.DEAD, FailureKind.POISON, "failed", "server_error"),
        (JobState.EXPIRED, FailureKind.EXPIRED, "failed", "server_error"),
        (JobState.CANCELLED, FailureKind.CANCELLED, "cancelled", None),
    ],
)
def test_a_job_without_an_answer_ends_the_stream_with_its_response(
    state: JobState, kind: FailureKind, status: str, code: str | None
) -> None:
    end = result(None, state=state, failure=Failure(kind=kind, message="so it is"))
    rendering = Rendering(KEPT, at_once=True, after=20)
    rendering.begin([JOB])
    frames = [*rendering.event(0, Queued(job=JOB)), *rendering.event(0, Finished(result=end))]
    (told,) = [json.loads(frame.data) for frame in frames]
    assert (told["type"], told["sequence_number"], told["response"]["status"]) == ("response.failed", 21, status)
    assert (told["response"]["error"] or {}).get("code") == code


def test_an_answer_cut_by_its_length_is_incomplete_and_so_is_its_last_message() -> None:
    end = result(Answer(parts=(TextPart(text=TEXT),)), finish_reason=FinishReason.LENGTH)
    last = rendered([], end)[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert last["response"]["output"][0]["status"] == "incomplete"


def test_what_is_wrong_with_the_stream_itself_is_an_error_event() -> None:
    rendering = Rendering(KEPT, at_once=True)
    rendering.begin([JOB])
    rendering.event(0, Queued(job=JOB))
    (frame,) = rendering.failed(ApiError(504, "timeout", "too long", remedy="wait longer"))
    assert json.loads(frame.data) == {
        "type": "error",
        "code": "timeout",
        "message": "too long; wait longer",
        "param": None,
        "sequence_number": 1,  # that of the event before it: who goes on behind it misses nothing
    }
