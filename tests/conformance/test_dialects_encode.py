"""Requests of any conversation: never an error, the same each time, linear in its size, nothing the API forbids."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given

from job_contracts.chat import Conversation
from tests.conformance.said import FAMILIES, READABLE, target
from tests.support import conversations
from tests.support.examples import examples
from workers.dialects import DIALECTS
from workers.dialects.port import Encoded, Target

Body = Mapping[str, Any]


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def body_of(encoded: Encoded) -> Any:
    """Strict JSON: no NaN, no half characters."""
    return json.loads(encoded.body.decode("utf-8", "strict"), parse_constant=_no_number)


# -- what an API answers with an error, whatever the model


def openai_chat(body: Body) -> Iterator[str]:
    if "tool_choice" in body and not body.get("tools"):
        yield "a choice without tools"
    if len(body.get("stop", ())) > 4:
        yield "more than four stop sequences"
    for message in body["messages"]:
        if message["content"] == []:
            yield "content without parts"
        says = message["content"] is not None or {"tool_calls", "refusal"} & message.keys()
        if message["role"] == "assistant" and not says:
            yield "an assistant who says nothing at all"


def anthropic(body: Body) -> Iterator[str]:
    if not body["messages"] or body["messages"][0]["role"] not in {"user", "assistant"}:
        yield "no turn to answer"
    if not isinstance(body.get("max_tokens"), int):
        yield "no max_tokens"
    thinking = body.get("thinking", {})
    if thinking.get("budget_tokens", 0) >= body["max_tokens"]:
        yield "a budget that leaves nothing to answer with"
    if thinking.get("type") == "enabled" and body.get("tool_choice", {}).get("type") in {"any", "tool"}:
        yield "a forced call of a model that thinks by a budget"
    if "tool_choice" in body and not body.get("tools"):
        yield "a choice without tools"
    for message in body["messages"]:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not blocks and message is not body["messages"][-1]:
            yield "content without blocks"
        if any(block["type"] == "text" and not block["text"].strip() for block in blocks) and len(body["messages"]) > 1:
            yield "blank text"
        kinds = [block["type"] == "tool_result" for block in blocks]
        if message["role"] == "user" and kinds != sorted(kinds, reverse=True):
            yield "something before the results of tools"


def gemini(body: Body) -> Iterator[str]:
    if not body["contents"]:
        yield "no contents"
    for content in body["contents"]:
        if content["role"] not in {"user", "model"}:
            yield f"the role {content['role']}"
        if not content["parts"]:
            yield "content without parts"
    if "toolConfig" in body and not body.get("tools"):
        yield "a choice without tools"


def cohere(body: Body) -> Iterator[str]:
    if not 0.01 <= body.get("p", 0.5) <= 0.99:
        yield "p out of range"
    if not 0 <= body.get("k", 1) <= 500:
        yield "k out of range"
    for name in ("presence_penalty", "frequency_penalty"):
        if not 0 <= body.get(name, 0) <= 1:
            yield f"{name} out of range"
    if body.get("seed", 0) < 0:
        yield "a negative seed"
    if len(body.get("stop_sequences", ())) > 5:
        yield "more than five stop sequences"
    if body.get("tool_choice", "NONE") not in {"REQUIRED", "NONE"} or ("tool_choice" in body and not body.get("tools")):
        yield "a choice the API does not know, or without tools"
    if "tools" in body and "response_format" in body:
        yield "a response format beside tools"
    for message in body["messages"]:
        if not {"content", "tool_calls"} & message.keys() or message.get("content") == []:
            yield "a message that says nothing at all"
        if "tool_plan" in message and not message.get("tool_calls"):
            yield "a plan without calls"


def ollama(body: Body) -> Iterator[str]:
    if body.get("truncate") is not False or body.get("shift") is not False:
        yield "a prompt that may be cut in silence"
    for message in body["messages"]:
        if not isinstance(message["content"], str):
            yield "content that is no text"
        if any(image.startswith(("http", "data:", "gs:")) for image in message.get("images", ())):
            yield "an image by address"
        if not all(isinstance(call["function"]["arguments"], dict) for call in message.get("tool_calls", ())):
            yield "arguments that are no object"


FORBIDDEN: Mapping[str, Callable[[Body], Iterator[str]]] = {
    "openai_chat": openai_chat,
    "anthropic": anthropic,
    "gemini": gemini,
    "cohere": cohere,
    "ollama": ollama,
}


@examples(150)
@given(conversation=conversations.conversations(FAMILIES))
def test_any_conversation_becomes_strict_json_the_same_each_time_and_nothing_that_is_forbidden(
    conversation: Conversation,
) -> None:
    wrong = []
    for dialect in DIALECTS:
        for stream in (False, True):
            of = Target(provider=target(dialect).provider, model=target(dialect).model, stream=stream)
            encoded = DIALECTS[dialect].encode(conversation, of)
            body = body_of(encoded)
            assert encoded == DIALECTS[dialect].encode(conversation.model_copy(deep=True), of), dialect
            if dialect in FORBIDDEN:
                wrong += [f"{dialect}: {complaint}" for complaint in FORBIDDEN[dialect](body)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "arguments",
    ['{"a": 1' + "0" * 5000 + "}", '{"a":' * 198 + "1" + "}" * 198, '{"a":' * 5000, '{"a":"\\ud800"}', '{"a":-1e999}'],
    ids=["huge", "deep", "endless", "half a character", "infinite"],
)
def test_arguments_and_results_at_the_edge_of_json_are_sent(dialect: str, arguments: str) -> None:
    call = {"type": "tool_call", "id": "1", "name": "look_up", "arguments": arguments}
    turns = [{"role": "assistant", "content": [call]}, {"role": "tool", "tool_call_id": "1", "content": arguments}]
    encoded = DIALECTS[dialect].encode(Conversation.model_validate({"messages": turns}), target(dialect))
    assert b"look_up" in encoded.body


# -- work


def long_talk(size: int) -> Conversation:
    """An agent's history: calls with their results, pictures, and thoughts."""
    turns: list[Any] = []
    for number in range(size):
        call = {"type": "tool_call", "id": f"call_{number}", "name": "look_up", "arguments": '{"a": 1}'}
        turns += [
            {
                "role": "user",
                "content": [{"type": "text", "text": "so"}, {"type": "image", "url": "https://i.invalid/i"}],
            },
            {
                "role": "assistant",
                "content": [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "yes"}, call],
            },
            {"role": "tool", "tool_call_id": f"call_{number}", "content": '{"found": 1}'},
        ]
    return Conversation.model_validate({"messages": turns})


def many_results(size: int) -> Conversation:
    """One turn that calls many tools, talk in between, and then all the results."""
    calls = [{"type": "tool_call", "id": f"call_{n}", "name": "look_up", "arguments": "{}"} for n in range(size)]
    talk = [{"role": "user", "content": "well?"} for _ in range(size)]
    results = [{"role": "tool", "tool_call_id": f"call_{n}", "content": "found"} for n in range(size)]
    return Conversation.model_validate({"messages": [{"role": "assistant", "content": calls}, *talk, *results]})


def many_systems(size: int) -> Conversation:
    """Instructions, again and again, and calls whose ids have to be made to fit."""
    turns = [{"role": "system", "content": f"Rule {number}."} for number in range(size)]
    results = [{"role": "tool", "tool_call_id": "é" * 50 + str(number), "content": "found"} for number in range(size)]
    return Conversation.model_validate({"messages": [*turns, *results, {"role": "user", "content": "hi"}]})


SHAPES = (long_talk, many_results, many_systems)
SIZE, TIMES = 250, 8


def least_seconds(dialect: str, conversation: Conversation) -> float:
    def once() -> float:
        start = time.thread_time()
        DIALECTS[dialect].encode(conversation, target(dialect))
        return time.thread_time() - start

    return min(once() for _ in range(7))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dialect", READABLE)
def test_the_work_is_linear_in_the_size_of_the_conversation(dialect: str, shape: Callable[[int], Conversation]) -> None:
    small, large = (least_seconds(dialect, shape(size)) for size in (SIZE, SIZE * TIMES))
    # Square work would take 64 times as long.
    assert large < max(small, 0.001) * TIMES * 3, f"{SIZE}: {small:.4f} s, {SIZE * TIMES}: {large:.4f} s"
