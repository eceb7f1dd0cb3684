"""How the chunks of a streamed chat completion begin, as clients tell an answer of text from one of calls by it."""

from __future__ import annotations

import json
from typing import Any

from gateway.bodies.asked import Asked
from gateway.bodies.openai_chat import Rendering
from job_contracts.stream import Finished, ReasoningToken, Started, StreamEvent, Token, ToolCall
from tests.support.builders import result

STARTED = Started(deployment="p/m", provider="p", model="m-1")


def chunks(*events: StreamEvent, index: int = 0) -> list[dict[str, Any]]:
    rendering = Rendering(Asked(model="fast", messages=[], n=2), 1)
    rendering.begin(["stem-leaf"])
    return [json.loads(frame.data) for event in events for frame in rendering.event(index, event)]


def deltas(*events: StreamEvent) -> list[dict[str, Any]]:
    return [chunk["choices"][0]["delta"] for chunk in chunks(*events)]


def test_an_answer_of_text_begins_with_its_role_and_an_empty_text() -> None:
    assert deltas(STARTED, Token(text="Hello"), Token(text=" you")) == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "Hello"},
        {"content": " you"},
    ]


def test_an_answer_of_calls_begins_without_a_text() -> None:
    first, piece = deltas(STARTED, ToolCall(index=0, id="c1", name="look_up", arguments="{}"))
    assert first == {"role": "assistant", "content": None, "refusal": None}
    assert piece["tool_calls"][0]["function"] == {"name": "look_up", "arguments": "{}"}


def test_an_answer_that_has_not_begun_is_not_told_of() -> None:
    assert chunks(STARTED) == []


def test_reasoning_and_an_empty_answer_begin_with_the_role_too() -> None:
    assert deltas(STARTED, ReasoningToken(text="Hm"))[0]["role"] == "assistant"
    told = chunks(STARTED, Finished(result=result()))
    assert [chunk["choices"][0]["delta"].get("role") for chunk in told] == ["assistant", None]
    assert told[-1]["choices"][0]["finish_reason"] == "stop"


def test_every_chunk_names_the_model_that_began_to_answer() -> None:
    assert {chunk["model"] for chunk in chunks(STARTED, Token(text="a"), Finished(result=result()))} == {"m-1"}
    assert {chunk["model"] for chunk in chunks(Token(text="a"))} == {"fast"}
