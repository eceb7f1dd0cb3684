from __future__ import annotations

import json
from typing import Any

import pytest

from job_contracts.chat import Conversation, FinishReason, TokenLogprob, Usage
from job_contracts.results import Loss
from tests.unit.dialects.samples import decoder, openai_chunk, sse, target
from workers.dialects import DIALECTS
from workers.dialects.port import Decoded, Encoded, Target

DIALECT = DIALECTS["openai_chat"]
TOOL = {"name": "look_up", "description": "Looks up.", "parameters": {"type": "object"}}
PLAIN = [{"role": "user", "content": "hi"}]


def encoded(messages: Any = PLAIN, tools: Any = (), of: Target | None = None, **settings: Any) -> Encoded:
    values = {"messages": messages, "tools": tools, "settings": settings}
    return DIALECT.encode(Conversation.model_validate(values), of or target("openai_chat"))


def body(*args: Any, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encoded(*args, **options).body)
    return found


def lost(one: Encoded) -> list[tuple[str, str]]:
    return [(loss.kind, loss.field) for loss in one.losses]


def decoded(*events: Any) -> Decoded:
    reader = decoder("openai_chat", content_type="text/event-stream")
    reader.feed(sse(*events))
    outcome = reader.finish()
    assert isinstance(outcome, Decoded), outcome
    return outcome


def test_a_plain_question() -> None:
    one = encoded(max_tokens=5, temperature=0.5)
    assert one.path == "/chat/completions"
    assert one.headers["content-type"] == "application/json"
    assert json.loads(one.body) == {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "hi"}],
        "max_completion_tokens": 5,
        "temperature": 0.5,
    }
    assert one.losses == ()


def test_a_stream_asks_for_its_usage_unless_the_row_says_otherwise() -> None:
    assert body(of=target("openai_chat", stream=True))["stream_options"] == {"include_usage": True}
    assert "stream_options" not in body(of=target("openai_chat", stream=True, stream_usage=False))


def test_reasoning_models_are_not_sent_what_they_refuse() -> None:
    one = encoded(
        of=target("openai_chat", "gpt-5-mini"), temperature=0.2, top_p=0.5, stop=["x"], reasoning_effort="max"
    )
    assert json.loads(one.body)["reasoning_effort"] == "high"
    assert lost(one) == [
        ("dropped", "settings.temperature"),
        ("dropped", "settings.top_p"),
        ("dropped", "settings.stop"),
        ("clamped", "settings.reasoning_effort"),
    ]
    quiet = body(of=target("openai_chat", "gpt-5.2"), temperature=0.2)
    assert quiet["temperature"] == 0.2
    loud = encoded(of=target("openai_chat", "gpt-5.2"), temperature=0.2, reasoning_effort="low")
    assert lost(loud) == [("dropped", "settings.temperature")]


def test_system_and_developer_turns_take_the_role_the_target_knows() -> None:
    turns = [{"role": "developer", "content": "d"}, {"role": "system", "content": "s"}, *PLAIN]
    assert [message["role"] for message in body(turns)["messages"]] == ["developer", "system", "user"]
    assert encoded(turns, of=target("openai_chat", "gpt-4")).losses == ()  # recorded: it takes the newer word as well
    old = encoded(turns, of=target("openai_chat", developer_role="system"))
    assert [message["role"] for message in json.loads(old.body)["messages"]] == ["system", "system", "user"]
    assert lost(old) == [("renamed", "messages[0].role")]
    mini = encoded(turns, of=target("openai_chat", "o1-mini"))
    assert {message["role"] for message in json.loads(mini.body)["messages"]} == {"user"}
    assert [loss.kind for loss in mini.losses] == ["converted", "converted"]


def test_images_by_address_and_by_data() -> None:
    parts = [
        {"type": "text", "text": "look"},
        {"type": "image", "url": "https://example.com/a.png", "detail": "low"},
        {"type": "image", "data": "AAAA", "media_type": "image/png"},
    ]
    content = body([{"role": "user", "content": parts}])["messages"][0]["content"]
    assert content[1] == {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}}
    assert content[2]["image_url"]["url"] == "data:image/png;base64,AAAA"
    blind = encoded([{"role": "user", "content": parts}], of=target("openai_chat", "gpt-3.5-turbo"))
    assert lost(blind) == [("dropped", "messages[0].content")]


CALLS = [
    *PLAIN,
    {
        "role": "assistant",
        "content": [
            {"type": "reasoning", "text": "hm", "signature": "s", "origin": "claude"},
            {"type": "text", "text": "Let me see."},
            {"type": "tool_call", "id": "a.1", "name": "look_up", "arguments": '{"q": 1}', "signature": "s"},
            {"type": "tool_call", "id": "a.2", "name": "look_up"},
        ],
    },
    {"role": "tool", "tool_call_id": "a.1", "content": "one", "is_error": True},
    {
        "role": "tool",
        "tool_call_id": "a.2",
        "content": [{"type": "text", "text": "two"}, {"type": "image", "url": "https://example.com/2.png"}],
    },
    {"role": "user", "content": "thanks"},
]


def test_calls_and_results() -> None:
    one = encoded(CALLS, [TOOL])
    messages = json.loads(one.body)["messages"]
    assert messages[1] == {
        "role": "assistant",
        "content": "Let me see.",
        "tool_calls": [
            {"id": "a.1", "type": "function", "function": {"name": "look_up", "arguments": '{"q": 1}'}},
            {"id": "a.2", "type": "function", "function": {"name": "look_up", "arguments": "{}"}},
        ],
    }
    assert messages[2] == {"role": "tool", "tool_call_id": "a.1", "content": "one"}
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "user", "user"]
    assert messages[4]["content"][0]["image_url"]["url"] == "https://example.com/2.png"
    assert set(lost(one)) == {
        ("dropped", "messages[1].tool_call.signature"),
        ("dropped", "messages[1].reasoning.signature"),
        ("dropped", "messages[1].reasoning"),
        ("dropped", "messages[2].is_error"),
        ("converted", "messages[3].content"),
    }


def test_ids_of_nine_letters_and_digits_pair_calls_with_results() -> None:
    one = encoded(CALLS, of=target("openai_chat", tool_ids="alnum9"))
    messages = json.loads(one.body)["messages"]
    ids = [call["id"] for call in messages[1]["tool_calls"]]
    assert ids == [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    assert all(len(one_id) == 9 and one_id.isalnum() for one_id in ids)
    assert len(set(ids)) == 2
    assert [loss.kind for loss in one.losses if loss.field == "tool_call_id"] == ["renamed", "renamed"]


def test_reasoning_goes_back_where_the_row_names_a_field_for_it() -> None:
    message = body(CALLS, of=target("openai_chat", reasoning_history="reasoning_content"))["messages"][1]
    assert message["reasoning_content"] == "hm"


def test_tool_names_the_target_refuses_are_renamed_and_renamed_back() -> None:
    long = "a" * 100
    tools = [{"name": "files.read"}, {"name": "files_read"}, {"name": long}]
    one = encoded(tools=tools, tool_choice={"name": "files.read"})
    sent = [tool["function"]["name"] for tool in json.loads(one.body)["tools"]]
    assert len(set(sent)) == 3
    assert sent[1] == "files_read"
    assert all(len(name) <= 64 for name in sent)
    assert [one.names.get(name, name) for name in sent] == ["files.read", "files_read", long]
    assert json.loads(one.body)["tool_choice"]["function"]["name"] == sent[0]
    reader = DIALECT.decoder(target("openai_chat"), content_type="text/event-stream", names=one.names)
    call = {"index": 0, "id": "x", "function": {"name": sent[0], "arguments": "{}"}}
    reader.feed(sse(openai_chunk({"tool_calls": [call]}, "tool_calls")))
    outcome = reader.finish()
    assert isinstance(outcome, Decoded)
    assert outcome.answer.tool_calls[0].name == "files.read"


@pytest.mark.parametrize(
    ("quirks", "choice", "sent"),
    [
        ({}, "auto", "auto"),
        ({}, "none", "none"),
        ({}, "required", "required"),
        ({"required_word": "any"}, "required", "any"),
        ({}, {"name": "look_up"}, {"type": "function", "function": {"name": "look_up"}}),
    ],
)
def test_tool_choice(quirks: dict[str, Any], choice: Any, sent: Any) -> None:
    found = body(tools=[TOOL], of=target("openai_chat", **quirks), tool_choice=choice, parallel_tool_calls=False)
    assert found["tool_choice"] == sent
    assert found["parallel_tool_calls"] is False


def test_a_choice_without_tools_is_not_sent() -> None:
    one = encoded(tool_choice="auto", parallel_tool_calls=True)
    assert {"tool_choice", "parallel_tool_calls"}.isdisjoint(json.loads(one.body))
    assert lost(one) == [("dropped", "settings.tool_choice")]


def test_structured_answers_in_the_strongest_form_the_target_knows() -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    form = {"type": "json_schema", "name": "lake", "json_schema": schema, "strict": True}
    assert body(response_format=form)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "lake", "schema": schema, "strict": True},
    }
    weaker = encoded(of=target("openai_chat", schema_as="json_object"), response_format=form)
    assert json.loads(weaker.body)["response_format"] == {"type": "json_object"}
    assert lost(weaker) == [("rewritten", "settings.response_format")]
    none = encoded(of=target("openai_chat", schema_as="none"), response_format={"type": "json_object"})
    assert "response_format" not in json.loads(none.body)
    assert lost(none) == [("dropped", "settings.response_format")]


@pytest.mark.parametrize(
    ("form", "effort", "sent"),
    [
        ("reasoning_effort", "low", {"reasoning_effort": "low"}),
        ("reasoning", "low", {"reasoning": {"effort": "low"}}),
        ("thinking", "low", {"thinking": {"type": "enabled"}}),
        ("thinking", "none", {"thinking": {"type": "disabled"}}),
        ("enable_thinking", "high", {"enable_thinking": True}),
        ("enable_thinking", "none", {"enable_thinking": False}),
    ],
)
def test_effort_in_every_form(form: str, effort: str, sent: dict[str, Any]) -> None:
    one = encoded(of=target("openai_chat", reasoning_as=form), reasoning_effort=effort)
    assert sent.items() <= json.loads(one.body).items()
    assert bool(one.losses) is (form in {"thinking", "enable_thinking"} and effort != "none")


def test_the_other_accents() -> None:
    texts = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, *PLAIN]
    joined = encoded(texts, of=target("openai_chat", joined_text=True, alternating=True))
    assert json.loads(joined.body)["messages"] == [{"role": "user", "content": "ab\n\nhi"}]
    assert [loss.kind for loss in joined.losses] == ["merged", "merged"]
    seeded = body(
        of=target("openai_chat", seed_field="random_seed", max_tokens_field="max_tokens"), seed=7, max_tokens=9
    )
    assert (seeded["random_seed"], seeded["max_tokens"]) == (7, 9)
    cut = encoded(stop=["a", "b", "c", "d", "e"])
    assert json.loads(cut.body)["stop"] == ["a", "b", "c", "d"]
    assert cut.losses == (Loss(kind="clamped", field="settings.stop", detail="5 sequences to the first 4"),)


def test_more_than_the_model_can_put_out_is_clamped() -> None:
    one = encoded(max_tokens=20_000)
    assert json.loads(one.body)["max_completion_tokens"] == 16_384
    assert lost(one) == [("clamped", "settings.max_tokens")]


def test_a_result_that_comes_late_is_moved_to_its_call() -> None:
    turns = [CALLS[0], CALLS[1], {"role": "user", "content": "and?"}, CALLS[2], CALLS[3]]
    one = encoded(turns)
    assert [m["role"] for m in json.loads(one.body)["messages"]] == [
        "user",
        "assistant",
        "tool",
        "tool",
        "user",
        "user",
    ]
    assert ("rewritten", "messages[3]") in lost(one)


# -- answers


def call(index: int | None, id: str | None = None, name: str | None = None, arguments: Any = "") -> dict[str, Any]:
    found: dict[str, Any] = {"function": {"name": name, "arguments": arguments}}
    if index is not None:
        found["index"] = index
    if id is not None:
        found["id"] = id
    return found


def calls_of(*deltas: list[dict[str, Any]], finish: str = "tool_calls") -> list[tuple[str, str, str]]:
    found = decoded(*[openai_chunk({"tool_calls": delta}) for delta in deltas], openai_chunk(finish=finish))
    assert found.finish_reason is FinishReason.TOOL_CALLS
    return [(one.id, one.name, one.arguments) for one in found.answer.tool_calls]


def test_parallel_calls_in_pieces() -> None:
    found = calls_of(
        [call(0, "a", "f")],
        [call(0, arguments='{"x"')],
        [call(1, "b", "g")],
        [call(0, arguments=":1}")],
        [call(1, arguments="{}")],
    )
    assert found == [("a", "f", '{"x":1}'), ("b", "g", "{}")]


@pytest.mark.parametrize("finish", ["tool_calls", "stop"])
def test_whole_calls_under_one_index_without_index_or_with_the_id_repeated(finish: str) -> None:
    expected = [("a", "f", "{}"), ("b", "g", "[]")]
    assert calls_of([call(0, "a", "f", "{}"), call(0, "b", "g", "[]")], finish=finish) == expected
    assert calls_of([call(0, "a", "f", "{}")], [call(0, "b", "g", "[")], [call(0, arguments="]")]) == expected
    assert calls_of([call(None, "a", "f", "{}"), call(None, "b", "g", "[]")]) == expected
    assert calls_of([call(None, "a", "f", "{")], [call(None, "", None, "}")], [call(None, "b", "g", "[]")]) == expected
    assert calls_of([call(0, "a", "f", "{")], [call(0, "a", "f", "}")], [call(1, "b", "g", "[]")]) == expected


def test_calls_without_ids_and_with_an_object_for_arguments() -> None:
    found = calls_of([call(None, None, "f", {"x": 1}), call(None, None, "g", {})])
    assert [one[1:] for one in found] == [("f", '{"x":1}'), ("g", "{}")]
    assert len({one[0] for one in found}) == 2


def test_content_in_parts_and_reasoning_under_both_names() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    found = decoded(openai_chunk({"content": [thinking, {"type": "text", "text": "so"}]}, "stop"))
    assert (found.answer.reasoning, found.answer.text) == ("hm", "so")
    for field in ("reasoning", "reasoning_content"):
        assert decoded(openai_chunk({field: "hm", "content": "so"}, "stop")).answer.reasoning == "hm"


def test_a_refusal_is_no_text_and_a_reason_of_its_own() -> None:
    found = decoded(openai_chunk({"refusal": "No, "}), openai_chunk({"refusal": "sorry."}, "stop"))
    assert (found.answer.refusal, found.answer.text) == ("No, sorry.", "")
    assert found.finish_reason is FinishReason.CONTENT_FILTER


def test_log_probabilities() -> None:
    token = {"token": "Hi", "logprob": -0.1, "top_logprobs": [{"token": "Hi", "logprob": -0.1}]}
    chunk = openai_chunk({"content": "Hi"}, "stop")
    chunk["choices"][0]["logprobs"] = {"content": [token]}
    assert decoded(chunk).answer.logprobs == (TokenLogprob(token="Hi", logprob=-0.1, top=(("Hi", -0.1),)),)


def test_another_choice_than_the_first_is_not_ours() -> None:
    other = openai_chunk({"content": "other"}, "stop")
    other["choices"][0]["index"] = 1
    assert decoded(openai_chunk({"content": "ours"}), other, openai_chunk(finish="length")).answer.text == "ours"


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4}, Usage(input=9, output=4)),
        (
            {"prompt_tokens": 9, "completion_tokens": 4, "prompt_cache_hit_tokens": 8},
            Usage(input=9, output=4, cache_read=8),
        ),
        ({"prompt_tokens": 9, "completion_tokens": 4, "cached_tokens": 8}, Usage(input=9, output=4, cache_read=8)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "num_cached_tokens": 8}, Usage(input=9, output=4, cache_read=8)),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 1},
            },
            Usage(input=9, output=4, cache_read=3, cache_write=2, reasoning=1),
        ),
        (  # reasoning left out of the completion, seen by the total, and by being the larger
            {
                "prompt_tokens": 12,
                "completion_tokens": 1,
                "total_tokens": 241,
                "completion_tokens_details": {"reasoning_tokens": 228},
            },
            Usage(input=12, output=229, reasoning=228),
        ),
        (
            {"prompt_tokens": 12, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 3}},
            Usage(input=12, output=4, reasoning=3),
        ),
    ],
)
def test_usage_by_kind_under_every_name(told: dict[str, Any], usage: Usage) -> None:
    assert decoded(openai_chunk({"content": "x"}, "stop", usage=told)).usage == usage
    assert decoded(openai_chunk({"content": "x"}, "stop", x_groq={"usage": told})).usage == usage


def test_an_answer_that_does_not_say_why_it_ended_is_whole_only_where_the_row_says_so() -> None:
    lax = target("openai_chat", finish_optional=True)
    for body_, content_type in (
        (sse(openai_chunk({"content": "Hi"}), "[DONE]"), "text/event-stream"),
        (json.dumps({"choices": [{"message": {"content": "Hi"}, "finish_reason": ""}]}).encode(), "application/json"),
    ):
        reader = decoder("openai_chat", content_type=content_type, of=lax)
        reader.feed(body_)
        outcome = reader.finish()
        assert isinstance(outcome, Decoded)
        assert (outcome.answer.text, outcome.finish_reason, outcome.finish_raw) == ("Hi", FinishReason.STOP, None)
    reader = decoder("openai_chat", content_type="text/event-stream", of=lax)
    reader.feed(sse(openai_chunk({"content": "Hi"})))
    assert not isinstance(reader.finish(), Decoded)
