"""A message as a stream: blocks in order, whatever comes in between, and the same as the whole message."""

from __future__ import annotations

import json
from typing import Any

from anthropic.types import Message
from hypothesis import given
from hypothesis import strategies as st

from gateway.bodies import anthropic
from gateway.bodies.anthropic_answer import message
from gateway.bodies.anthropic_stream import Rendering
from gateway.bodies.failures import ApiError
from job_contracts.chat import (
    Answer,
    AssistantPart,
    Citation,
    FinishReason,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    Usage,
)
from job_contracts.results import Result
from job_contracts.stream import ReasoningToken, Started, StreamEvent, Token, ToolCall
from tests.support.anthropic_api import finished, frames, gathered, in_order, told
from tests.support.builders import result

STARTED = Started(deployment="openai/m", provider="openai", model="m")


def request(**over: Any) -> anthropic.Request:
    return anthropic.read({"model": "chat", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], **over})


SHOWN = request(thinking={"type": "adaptive"})


def ended(*parts: AssistantPart, **over: Any) -> Result:
    return result(answer=Answer(parts=parts), **over)


def streamed(of: anthropic.Request, events: list[StreamEvent], end: Result) -> Message:
    sent = frames(of, [STARTED, *events, finished(end)])
    in_order(told(sent))
    return gathered(sent)


def test_a_stream_of_text_has_the_documented_events() -> None:
    end = ended(TextPart(text="Hello."), usage=Usage(input=12, output=2, cache_read=4, cache_write=3, cache_write_1h=1))
    events = told(frames(request(), [STARTED, Token(text="Hel"), Token(text="lo."), finished(end)]))
    start = events[0]["message"]
    assert (start["id"], start["type"], start["role"], start["model"]) == ("msg_j1", "message", "assistant", "m")
    assert (start["content"], start["stop_reason"], start["usage"]["output_tokens"]) == ([], None, 0)
    assert events[1:5] == [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo."}},
        {"type": "content_block_stop", "index": 0},
    ]
    assert events[5]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    usage = events[5]["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (5, 4, 3)
    assert events[6] == {"type": "message_stop"}


def test_thinking_is_signed_before_its_block_ends() -> None:
    end = ended(
        ReasoningPart(text="Let me see.", signature="sig", origin="claude"),
        ReasoningPart(redacted="data", origin="claude"),
        TextPart(text="42"),
    )
    events: list[StreamEvent] = [
        ReasoningToken(text="Let me"),
        ReasoningToken(text=" see.", signature="sig", origin="claude"),
        ReasoningToken(text="", redacted="data", origin="claude"),
        Token(text="42"),
    ]
    kinds = [
        event.get("delta", event.get("content_block", {})).get("type", event["type"])
        for event in told(frames(SHOWN, [STARTED, *events, finished(end)]))
    ]
    assert kinds == [
        *("message_start", "thinking", "thinking_delta", "thinking_delta", "signature_delta", "content_block_stop"),
        *("redacted_thinking", "content_block_stop", "text", "text_delta", "content_block_stop"),
        *("message_delta", "message_stop"),
    ]
    content = streamed(SHOWN, events, end).content
    assert [block.type for block in content] == ["thinking", "redacted_thinking", "text"]
    assert content[0].model_dump() == {"type": "thinking", "thinking": "Let me see.", "signature": "sig"}


def test_who_did_not_ask_for_thinking_gets_none_and_who_omits_it_gets_its_signature() -> None:
    end = ended(ReasoningPart(text="Hm.", signature="s", origin="gemini-3"), TextPart(text="42"))
    events: list[StreamEvent] = [ReasoningToken(text="Hm.", signature="s", origin="gemini-3"), Token(text="42")]
    assert [block.type for block in streamed(request(), events, end).content] == ["text"]
    omitted = request(thinking={"type": "adaptive", "display": "omitted"})
    for answer in (streamed(omitted, events, end), Message.model_validate(message(omitted, end))):
        thought, _ = answer.content
        assert thought.model_dump() == {"type": "thinking", "thinking": "", "signature": "gemini-3:s"}


def test_calls_that_interleave_are_told_one_after_the_other() -> None:
    end = ended(
        ToolCallPart(id="a", name="one", arguments='{"x": 1}'),
        ToolCallPart(id="b", name="two", arguments='{"y": {}}'),
        TextPart(text="Done."),
        finish_reason=FinishReason.TOOL_CALLS,
    )
    events: list[StreamEvent] = [
        ToolCall(index=0, id="a", name="one", arguments='{"x"'),
        ToolCall(index=1, id="b", name="two", arguments='{"y": {}'),
        Token(text="Done."),
        ToolCall(index=0, arguments=": 1}"),
        ToolCall(index=1, arguments="}"),
        ToolCall(index=0, arguments="\n"),
    ]
    answer = streamed(request(), events, end)
    assert answer.content == Message.model_validate(message(request(), end)).content
    assert answer.stop_reason == "tool_use"


def test_a_call_that_is_whole_lets_the_next_block_begin_at_once() -> None:
    rendering = Rendering(request(), "req_1")
    rendering.begin(["j1"])
    rendering.event(0, ToolCall(index=0, id="a", name="one", arguments='{"x": 1}'))
    now = told(rendering.event(0, ToolCall(index=1, id="b", name="two", arguments="{")))
    assert [event["type"] for event in now] == ["content_block_stop", "content_block_start", "content_block_delta"]


def test_calls_without_arguments_come_through() -> None:
    end = ended(
        ToolCallPart(id="a", name="one"), ToolCallPart(id="b", name="two"), finish_reason=FinishReason.TOOL_CALLS
    )
    events: list[StreamEvent] = [ToolCall(index=0, id="a", name="one"), ToolCall(index=1, id="b", name="two")]
    assert [
        block.model_dump(include={"type", "id", "name", "input"}) for block in streamed(request(), events, end).content
    ] == [
        {"type": "tool_use", "id": "a", "name": "one", "input": {}},
        {"type": "tool_use", "id": "b", "name": "two", "input": {}},
    ]


def test_why_an_answer_ended_is_told_in_the_apis_words() -> None:
    one, two = request(stop_sequences=["END"]), request(stop_sequences=["END", "STOP"])
    said = [
        (one, FinishReason.STOP, "stop_sequence", ("stop_sequence", "END")),
        (two, FinishReason.STOP, "STOP_SEQUENCE", ("stop_sequence", None)),
        (one, FinishReason.STOP, "stop", ("end_turn", None)),
        (one, FinishReason.LENGTH, "length", ("max_tokens", None)),
        (one, FinishReason.LENGTH, "model_context_window_exceeded", ("model_context_window_exceeded", None)),
        (one, FinishReason.TOOL_CALLS, "tool_calls", ("tool_use", None)),
        (one, FinishReason.CONTENT_FILTER, "content_filter", ("refusal", None)),
    ]
    for of, reason, raw, expected in said:
        told = message(of, ended(TextPart(text="a"), finish_reason=reason, finish_raw=raw))
        assert (told["stop_reason"], told["stop_sequence"]) == expected


def test_a_refusal_is_text_and_its_reason() -> None:
    end = ended(TextPart(text="I see."), RefusalPart(text="No."), finish_reason=FinishReason.CONTENT_FILTER)
    answer = streamed(request(), [Token(text="I see."), Token(text="No.", refusal=True)], end)
    assert [block.model_dump(include={"text"}) for block in answer.content] == [{"text": "I see."}, {"text": "No."}]
    assert answer.stop_reason == "refusal"


def test_sources_stand_on_their_text() -> None:
    source = Citation(url="https://example.com", title="T", start=4, end=8)
    end = result(answer=Answer(parts=(TextPart(text="All lakes."),), citations=(source,)))
    whole = Message.model_validate(message(request(), end))
    for answer in (whole, streamed(request(), [Token(text="All lakes.")], end)):
        (block,) = answer.content
        assert block.type == "text"
        assert block.citations is not None
        assert block.citations[0].model_dump(include={"url", "title", "cited_text"}) == {
            "url": "https://example.com",
            "title": "T",
            "cited_text": "lake",
        }


def test_an_answer_of_nothing_is_a_message_without_blocks() -> None:
    assert streamed(request(), [], ended()).content == []


def test_a_failure_within_the_stream_is_an_event_with_the_requests_id() -> None:
    (frame,) = Rendering(request(), "req_1").failed(ApiError(503, "overloaded", "later"))
    assert frame.event == "error"
    assert told([frame]) == [
        {"type": "error", "error": {"type": "overloaded_error", "message": "later"}, "request_id": "req_1"}
    ]


def test_what_is_not_json_stands_in_the_input_as_text() -> None:
    told = message(request(), ended(ToolCallPart(id="a", name="one", arguments='{"x": ')))
    assert told["content"][0]["input"] == {"arguments": '{"x": '}


# -- any order of pieces

JSON: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.text(max_size=3), st.integers() | st.text(max_size=4) | st.just({}), max_size=3
)


@st.composite
def calls_in_pieces(draw: st.DrawFn) -> tuple[list[StreamEvent], Result]:
    """Calls of tools whose pieces come in any order that keeps each call's own, text among them."""

    arguments = [json.dumps(one) for one in draw(st.lists(JSON, min_size=1, max_size=4))]
    queues: list[list[StreamEvent]] = []
    for index, text in enumerate(arguments):
        cuts = sorted(draw(st.sets(st.integers(1, len(text)), max_size=3)) | {len(text)})
        pieces = [text[a:b] for a, b in zip([0, *cuts], cuts, strict=False)]
        head = [ToolCall(index=index, id=f"c{index}", name=f"t{index}", arguments=pieces[0])]
        queues.append([*head, *(ToolCall(index=index, arguments=piece) for piece in pieces[1:])])
    queues.append([Token(text=text) for text in draw(st.lists(st.text(min_size=1, max_size=3), max_size=3))])
    events: list[StreamEvent] = []
    while any(queues):
        queue = draw(st.sampled_from([one for one in queues if one]))
        events.append(queue.pop(0))
    parts = [ToolCallPart(id=f"c{index}", name=f"t{index}", arguments=text) for index, text in enumerate(arguments)]
    return events, ended(*parts)


@given(calls_in_pieces())
def test_pieces_in_any_order_make_whole_calls(made: tuple[list[StreamEvent], Result]) -> None:
    events, end = made
    answer = streamed(request(), events, end)
    inputs = {block.id: block.input for block in answer.content if block.type == "tool_use"}
    assert inputs == {block["id"]: block["input"] for block in message(request(), end)["content"]}
    text = "".join(block.text for block in answer.content if block.type == "text")
    assert text == "".join(event.text for event in events if isinstance(event, Token))


@given(calls_in_pieces())
def test_the_same_events_make_the_same_frames(made: tuple[list[StreamEvent], Result]) -> None:
    events, end = made
    assert frames(request(), [*events, finished(end)]) == frames(request(), [*events, finished(end)])
