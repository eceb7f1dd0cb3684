from __future__ import annotations

import json
from typing import Any

import pytest

from job_contracts.attempts import LimitReading
from job_contracts.chat import (
    Citation,
    Conversation,
    FinishReason,
    ReasoningPart,
    TextPart,
    TokenLogprob,
    ToolCallPart,
    Usage,
)
from job_contracts.failures import Failure, FailureKind
from tests.unit.dialects.samples import cohere_text, decoder, sse, target
from workers.dialects import DIALECTS
from workers.dialects.port import Decoded, Encoded, Target

DIALECT = DIALECTS["cohere"]
TOOL = {"name": "look_up", "description": "Looks up.", "parameters": {"type": "object"}}
OTHER = {"name": "write_down"}
PLAIN = [{"role": "user", "content": "hi"}]
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "found"}
CALL = {"type": "tool_call", "id": "c1", "name": "look_up", "arguments": '{"q": 1}'}
FAMILY = "cohere-command"


def encoded(messages: Any = PLAIN, tools: Any = (), of: Target | None = None, **settings: Any) -> Encoded:
    values = {"messages": messages, "tools": tools, "settings": settings}
    return DIALECT.encode(Conversation.model_validate(values), of or target("cohere"))


def body(*args: Any, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encoded(*args, **options).body)
    return found


def lost(one: Encoded) -> list[tuple[str, str]]:
    return [(loss.kind, loss.field) for loss in one.losses]


def test_a_plain_question() -> None:
    one = encoded([{"role": "system", "content": "Be brief."}, *PLAIN], max_tokens=5, top_p=0.5, top_k=7, stop=["END"])
    assert one.path == "/v2/chat"
    assert json.loads(one.body) == {
        "model": "command-a-03-2025",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
        "stream": False,
        "max_tokens": 5,
        "p": 0.5,
        "k": 7,
        "stop_sequences": ["END"],
    }
    assert one.losses == ()


@pytest.mark.parametrize(
    ("base_url", "path"),
    [("https://a.invalid", "/v2/chat"), ("https://a.invalid/v2", "/chat"), ("https://a/v2/", "/chat")],
)
def test_the_base_url_may_end_in_the_version(base_url: str, path: str) -> None:
    of = target("cohere")
    row = of.provider.model_copy(update={"base_url": base_url})
    assert encoded(of=Target(provider=row, model=of.model)).path == path


def test_what_is_out_of_range_is_clamped_and_said_so() -> None:
    one = encoded(top_p=1, top_k=900, presence_penalty=-1, frequency_penalty=1.5, seed=-1, stop=list("abcdefg"))
    sent = json.loads(one.body)
    assert (sent["p"], sent["k"], sent["presence_penalty"], sent["frequency_penalty"]) == (0.99, 500, 0, 1)
    assert sent["seed"] == 2**63 - 1
    assert sent["stop_sequences"] == list("abcde")
    assert lost(one) == [
        ("clamped", "settings.top_p"),
        ("clamped", "settings.top_k"),
        ("clamped", "settings.presence_penalty"),
        ("clamped", "settings.frequency_penalty"),
        ("clamped", "settings.stop"),
        ("rewritten", "settings.seed"),
    ]


def test_tools_and_what_may_be_chosen() -> None:
    assert body(tools=[OTHER])["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}
    assert "tool_choice" not in body(tools=[TOOL], tool_choice="auto")
    assert body(tools=[TOOL], tool_choice="required")["tool_choice"] == "REQUIRED"
    assert body(tools=[TOOL], tool_choice="none")["tool_choice"] == "NONE"


def test_one_tool_that_must_be_called_is_the_only_one_that_is_offered() -> None:
    one = encoded(tools=[TOOL, OTHER], tool_choice={"name": "write_down"})
    sent = json.loads(one.body)
    assert sent["tool_choice"] == "REQUIRED"
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["write_down"]
    assert lost(one) == [("dropped", "tools"), ("rewritten", "settings.tool_choice")]


def test_tools_are_strict_all_together_or_not_at_all() -> None:
    strict = {**TOOL, "strict": True}
    assert body(tools=[strict, {**OTHER, "strict": True}])["strict_tools"] is True
    some = encoded(tools=[strict, OTHER])
    assert "strict_tools" not in json.loads(some.body)
    assert lost(some) == [("dropped", "tools.strict")]


def test_structured_answers_give_way_to_tools() -> None:
    form = {"type": "json_schema", "json_schema": {"type": "object"}}
    assert body(response_format=form)["response_format"] == {"type": "json_object", "json_schema": {"type": "object"}}
    assert body(response_format={"type": "json_object"})["response_format"] == {"type": "json_object"}
    beside = encoded(tools=[TOOL], response_format=form)
    assert "response_format" not in json.loads(beside.body)
    assert lost(beside) == [("dropped", "settings.response_format")]
    allowed = target("cohere", "m", format_with_tools=True)
    assert "response_format" in body(tools=[TOOL], response_format=form, of=allowed)


@pytest.mark.parametrize(
    ("settings", "thinking", "losses"),
    [
        ({}, None, []),
        ({"reasoning_effort": "none"}, {"type": "disabled"}, []),
        ({"reasoning_effort": "medium"}, {"type": "enabled", "token_budget": 8192}, []),
        ({"reasoning_budget": 500}, {"type": "enabled", "token_budget": 500}, []),
        (
            {"reasoning_budget": 500, "reasoning_effort": "high"},
            {"type": "enabled", "token_budget": 500},
            [("dropped", "settings.reasoning_effort")],
        ),
        (
            {"reasoning_budget": 50_000},
            {"type": "enabled", "token_budget": 31_000},
            [("clamped", "settings.reasoning_budget")],
        ),
        (
            {"reasoning_effort": "high", "max_tokens": 1000},
            {"type": "enabled", "token_budget": 999},
            [("clamped", "settings.reasoning_effort")],
        ),
    ],
)
def test_how_much_a_model_thinks(settings: Any, thinking: Any, losses: Any) -> None:
    one = encoded(of=target("cohere", "command-a-reasoning-08-2025"), **settings)
    assert json.loads(one.body).get("thinking") == thinking
    assert lost(one) == losses


def test_a_model_that_does_not_think_is_not_asked_to() -> None:
    one = encoded(reasoning_effort="low", reasoning_budget=10)
    assert "thinking" not in json.loads(one.body)
    assert lost(one) == [("dropped", "settings.reasoning_effort"), ("dropped", "settings.reasoning_budget")]


def test_calls_their_plan_and_their_results() -> None:
    turns = [
        *PLAIN,
        {"role": "assistant", "content": [{"type": "text", "text": "I look it up."}, CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": '{"title": "T", "url": "https://a.invalid"}'},
        {"role": "assistant", "content": [{**CALL, "id": "c2"}]},
        {"role": "tool", "tool_call_id": "c2", "content": "nothing", "is_error": True},
    ]
    one = encoded(turns, [TOOL])
    first, result, second, error = json.loads(one.body)["messages"][1:]
    function = {"name": "look_up", "arguments": '{"q": 1}'}
    assert first == {
        "role": "assistant",
        "tool_plan": "I look it up.",
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }
    document = {"type": "document", "document": {"data": {"title": "T", "url": "https://a.invalid"}}}
    assert result == {"role": "tool", "tool_call_id": "c1", "content": [document]}
    assert "content" not in second
    assert error["content"] == "nothing"
    assert lost(one) == [("converted", "messages[1].content"), ("dropped", "messages[4].is_error")]


def test_a_model_without_plans_gets_what_is_said_beside_calls_and_its_thoughts_as_content() -> None:
    parts = [{"type": "reasoning", "text": "Hm."}, {"type": "text", "text": "I look."}, CALL]
    turns = [*PLAIN, {"role": "assistant", "content": parts}, RESULT]
    one = encoded(turns, of=target("cohere", "command-a-plus-05-2026"))
    message = json.loads(one.body)["messages"][1]
    assert message["content"] == [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "I look."}]
    assert "tool_plan" not in message
    assert one.losses == ()


def test_the_images_of_a_result_follow_it() -> None:
    of = target("cohere", "command-a-vision-07-2025")
    shown = [{"type": "text", "text": "see"}, {"type": "image", "data": "aGk=", "media_type": "image/png"}]
    turns = [
        {"role": "assistant", "content": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": shown},
        {"role": "user", "content": [{"type": "image", "url": "https://a.invalid/i.png", "detail": "low"}]},
    ]
    messages = body(turns, of=of)["messages"]
    assert messages[1]["content"] == "see"
    assert messages[2]["content"] == [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]
    image = {"url": "https://a.invalid/i.png", "detail": "low"}
    assert messages[3]["content"] == [{"type": "image_url", "image_url": image}]


def test_trial_keys_say_how_many_calls_are_left() -> None:
    headers = {"x-trial-endpoint-call-limit": "40", "x-trial-endpoint-call-remaining": "37"}
    assert DIALECT.limits(target("cohere"), headers) == (
        LimitReading(unit="requests", limit=40, remaining=37, reset=None, window=60),
    )
    assert DIALECT.limits(target("cohere"), {}) == ()


# -- answers


def answer(*events: Any, **options: Any) -> Decoded:
    reader = decoder("cohere", content_type="text/event-stream", **options)
    reader.feed(sse(*events, names=True))
    found = reader.finish()
    assert isinstance(found, Decoded), found
    return found


def end(reason: str = "COMPLETE", **more: Any) -> dict[str, Any]:
    return {"type": "message-end", "delta": {"finish_reason": reason, **more}}


def content(kind: str, index: int, **delta: Any) -> dict[str, Any]:
    return {"type": kind, "index": index, "delta": {"message": delta}}


def test_a_plan_is_kept_as_an_opaque_part_and_goes_back_as_the_plan_it_was() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": ""}}
    found = answer(
        {"type": "message-start", "id": "m", "delta": {"message": {}}},
        content("tool-plan-delta", 0, tool_plan="I will "),
        content("tool-plan-delta", 0, tool_plan="look."),
        content("tool-call-start", 0, tool_calls=call),
        content("tool-call-delta", 0, tool_calls={"function": {"arguments": '{"q"'}}),
        content("tool-call-delta", 0, tool_calls={"function": {"arguments": ": 1}"}}),
        end("TOOL_CALL", usage={"tokens": {"input_tokens": 9, "output_tokens": 4}, "cached_tokens": 2}),
    )
    assert found.answer.parts == (
        ReasoningPart(redacted="I will look.", origin=FAMILY),
        ToolCallPart(id="c1", name="look_up", arguments='{"q": 1}'),
    )
    assert found.finish_reason is FinishReason.TOOL_CALLS
    assert found.usage == Usage(input=9, output=4, cache_read=2)
    assert [(loss.kind, loss.field) for loss in found.losses] == [("converted", "answer.tool_plan")]
    one = encoded([*PLAIN, found.answer.as_turn().model_dump(), RESULT])
    assert json.loads(one.body)["messages"][1]["tool_plan"] == "I will look."
    assert one.losses == ()


def test_sources_with_an_address_are_citations_of_the_text() -> None:
    def cited(start: int, end: int, text: str, **source: Any) -> dict[str, Any]:
        told = {
            "start": start,
            "end": end,
            "text": text,
            "content_index": 2,
            "type": "TEXT_CONTENT",
            "sources": [source],
        }
        return content("citation-start", 0, citations=told)

    found = answer(
        content("content-start", 0, content={"type": "text", "text": "First. "}),
        content("content-start", 1, content={"type": "thinking", "thinking": "Hm."}),
        content("content-start", 2, content={"type": "text", "text": ""}),
        content("content-delta", 2, content={"text": "Ruby is old."}),
        cited(0, 4, "Ruby", type="document", id="d", document={"url": "https://a.invalid", "title": "A"}),
        cited(0, 4, "Ruby", type="tool", id="https://b.invalid", tool_output={}),
        cited(0, 4, "Perl", type="tool", id="https://c.invalid"),
        cited(8, 11, "old", type="document", id="doc:0", document={"text": "old"}),
        end(),
    )
    assert found.answer.text == "First. Ruby is old."
    assert found.answer.citations == (
        Citation(url="https://a.invalid", title="A", start=7, end=11),
        Citation(url="https://b.invalid", start=7, end=11),
        Citation(url="https://c.invalid"),  # what it stands for is not where it says
    )
    assert [(loss.kind, loss.field) for loss in found.losses] == [("dropped", "answer.citations")]


def test_thoughts_and_log_probabilities() -> None:
    found = answer(
        content("content-start", 0, content={"type": "thinking", "thinking": ""}),
        content("content-delta", 0, content={"thinking": "Hm."}),
        {**cohere_text("Yes"), "index": 1, "logprobs": {"token_ids": [5], "text": "Yes", "logprobs": [-0.5]}},
        {**cohere_text("!"), "index": 1, "logprobs": {"token_ids": [6, 7], "text": "!", "logprobs": [-0.25, -0.5]}},
        end("MAX_TOKENS"),
    )
    assert found.answer.parts == (ReasoningPart(text="Hm."), TextPart(text="Yes!"))
    assert found.answer.logprobs == (TokenLogprob(token="Yes", logprob=-0.5), TokenLogprob(token="!", logprob=-0.75))
    assert found.finish_reason is FinishReason.LENGTH
    assert not found.usage.reported


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [
        ("STOP_SEQUENCE", FinishReason.STOP),
        ("ERROR_TOXIC", FinishReason.CONTENT_FILTER),
        ("A_WORD_OF_TOMORROW", FinishReason.ERROR),
        ("ERROR", FailureKind.SERVER_ERROR),
        ("TIMEOUT", FailureKind.SERVER_ERROR),
        ("ERROR_LIMIT", FailureKind.CONTEXT_OVERFLOW),
    ],
)
def test_every_reason_to_stop_has_its_meaning(reason: str, meaning: Any) -> None:
    reader = decoder("cohere", content_type="text/event-stream")
    reader.feed(sse(cohere_text("Yes"), end(reason), names=True))
    found = reader.finish()
    assert (found.kind if isinstance(found, Failure) else found.finish_reason) == meaning


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (end("ERROR", error="invalid tool generation", error_type="INVALID_TOOL_GENERATION"), "model_output_invalid"),
        (end("ERROR", error="too many tokens", error_type="TOO_MANY_TOKENS"), "context_overflow"),
        ({"message": "internal server error"}, "server_error"),
        ({"type": "message-end", "delta": {}}, "stream_truncated"),
    ],
)
def test_errors_inside_a_good_answer_are_failures(event: Any, kind: str) -> None:
    reader = decoder("cohere", content_type="text/event-stream")
    reader.feed(sse(cohere_text("Yes")) + sse(event))
    found = reader.finish()
    assert isinstance(found, Failure)
    assert found.kind == kind
