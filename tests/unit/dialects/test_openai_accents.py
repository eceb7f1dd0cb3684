"""What the copies of OpenAI's chat completions want otherwise: every quirk of a request, and what is lost by it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogue.quirks import Quirks
from catalogue.rows import ModelRow, ProviderRow
from job_contracts.chat import Citation, Conversation
from tests.unit.dialects.samples import openai_chunk, sse, target
from workers.dialects import DIALECTS
from workers.dialects.port import Decoded, Encoded, Target

PLAIN = [{"role": "user", "content": "hi"}]
PDF = {"type": "file", "data": "AAAA", "media_type": "application/pdf", "name": "a.pdf"}
SONG = {"type": "file", "data": "AAAA", "media_type": "audio/mpeg"}


def encoded(messages: Any = PLAIN, tools: Any = (), of: Target | None = None, **settings: Any) -> Encoded:
    values = {"messages": messages, "tools": tools, "settings": settings}
    return DIALECTS["openai_chat"].encode(Conversation.model_validate(values), of or target("openai_chat"))


def accented(**quirks: Any) -> Target:
    return target("openai_chat", **(quirks or {"stream_usage": True}))


def sent(one: Encoded) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(one.body)
    return found


def lost(one: Encoded) -> list[tuple[str, str]]:
    return [(loss.kind, loss.field) for loss in one.losses]


def content(part: dict[str, Any], **quirks: Any) -> tuple[Any, list[tuple[str, str]]]:
    one = encoded([{"role": "user", "content": [part]}], of=accented(**quirks))
    found = sent(one)["messages"][0]["content"]
    return (found[0] if found else None), lost(one)


DATA_URL = "data:application/pdf;base64,AAAA"
DROPPED = ("dropped", "messages[0].content")


@pytest.mark.parametrize(
    ("part", "quirks", "found", "losses"),
    [
        (PDF, {}, {"type": "file", "file": {"filename": "a.pdf", "file_data": DATA_URL}}, []),
        (
            {**PDF, "name": None},
            {},
            {"type": "file", "file": {"filename": "file.pdf", "file_data": DATA_URL}},
            [],
        ),
        ({**PDF, "data": None, "url": "https://e.com/a.pdf"}, {}, None, [DROPPED]),
        (
            {**PDF, "data": None, "url": "https://e.com/a.pdf"},
            {"file_urls": True},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "https://e.com/a.pdf"}},
            [],
        ),
        (
            PDF,
            {"file_as": "document_url"},
            {"type": "document_url", "document_url": DATA_URL, "document_name": "a.pdf"},
            [],
        ),
        (PDF, {"file_as": "file_url"}, {"type": "file_url", "file_url": {"url": "AAAA"}, "file_name": "a.pdf"}, []),
        (PDF, {"file_as": ""}, None, [DROPPED]),
        (PDF, {"refuses": ("files",)}, None, [DROPPED]),
        (SONG, {}, {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}, []),
        (
            {**SONG, "media_type": "audio/wav", "name": "x.wav"},
            {},
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            [("dropped", "messages[0].content.name")],
        ),
        (
            SONG,
            {"audio_as": "input_audio_url"},
            {"type": "input_audio", "input_audio": {"data": "data:audio/mpeg;base64,AAAA", "format": "mp3"}},
            [],
        ),
        (SONG, {"audio_as": "plain"}, {"type": "input_audio", "input_audio": "AAAA"}, []),
        (
            {**SONG, "data": None, "url": "https://e.com/a.mp3"},
            {"audio_as": "audio_url"},
            {"type": "audio_url", "audio_url": {"url": "https://e.com/a.mp3"}},
            [],
        ),
        ({**SONG, "data": None, "url": "https://e.com/a.mp3"}, {}, None, [DROPPED]),
        (SONG, {"audio_as": ""}, None, [DROPPED]),
        ({"type": "file", "url": "https://e.com/a.mp4", "media_type": "video/mp4"}, {}, None, [DROPPED]),
        (
            {"type": "file", "url": "https://e.com/a.mp4", "media_type": "video/mp4"},
            {"video_as": "video_url"},
            {"type": "video_url", "video_url": {"url": "https://e.com/a.mp4"}},
            [],
        ),
        (
            {"type": "file", "url": "https://e.com/a.png", "media_type": "image/png"},
            {},
            {"type": "image_url", "image_url": {"url": "https://e.com/a.png"}},
            [],
        ),
        (
            {
                "type": "file",
                "data": base64.b64encode("ä,b".encode()).decode(),
                "media_type": "text/csv",
                "name": "t.csv",
            },
            {},
            {"type": "text", "text": "t.csv:\nä,b"},
            [("converted", "messages[0].content")],
        ),
    ],
)
def test_files_in_the_form_the_target_takes(
    part: dict[str, Any], quirks: dict[str, Any], found: Any, losses: list[tuple[str, str]]
) -> None:
    assert content(part, **quirks) == (found, losses)


def test_files_of_a_result_follow_in_a_user_turn() -> None:
    call = {"type": "tool_call", "id": "a", "name": "f"}
    turns = [
        *PLAIN,
        {"role": "assistant", "content": [call]},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "see"}, PDF]},
    ]
    one = encoded(turns, of=accented())
    assert [message["role"] for message in sent(one)["messages"]] == ["user", "assistant", "tool", "user"]
    assert sent(one)["messages"][3]["content"][0]["type"] == "file"
    assert ("converted", "messages[2].content") in lost(one)


def test_cache_marks_go_where_they_are_known_and_are_lost_once_elsewhere() -> None:
    marked = {"type": "text", "text": "long", "cache": "5m"}
    turns = [
        {"role": "system", "content": [marked]},
        {"role": "user", "content": [{**marked, "cache": "1h"}]},
        {"role": "assistant", "content": [marked]},
    ]
    tools = [{"name": "f", "cache": "5m"}]
    one = encoded(turns, tools, of=accented(cache_as="cache_control"))
    body = sent(one)
    short = {"type": "ephemeral"}
    assert [message["content"][0]["cache_control"] for message in body["messages"]] == [
        short,
        {"type": "ephemeral", "ttl": "1h"},
        short,
    ]
    assert body["tools"][0]["cache_control"] == short
    assert one.losses == ()
    plain = encoded(turns, tools, of=accented())
    assert "cache_control" not in plain.body.decode()
    assert lost(plain) == [("dropped", "tools.f.cache")]


@pytest.mark.parametrize(
    ("quirks", "settings", "body", "losses"),
    [
        ({}, {"top_k": 5}, {}, [("dropped", "settings.top_k")]),
        ({"takes_top_k": True}, {"top_k": 5}, {"top_k": 5}, []),
        ({"temperature_max": 1, "temperature_min": 0.1}, {"temperature": 0}, {"temperature": 0.1}, ["temperature"]),
        ({"penalty_min": 0}, {"presence_penalty": -1}, {"presence_penalty": 0}, ["presence_penalty"]),
        ({"always_send": ("usage.include=true",)}, {}, {"usage": {"include": True}}, []),
        ({"reasoning_send": ('reasoning_format="parsed"',)}, {}, {}, []),
        (
            {"reasoning_send": ('reasoning_format="parsed"',)},
            {"reasoning_effort": "low"},
            {"reasoning_effort": "low", "reasoning_format": "parsed"},
            [],
        ),
        (
            {"effort_words": ("medium=default",)},
            {"reasoning_effort": "medium"},
            {"reasoning_effort": "default"},
            [],
        ),
        (
            {"reasoning_as": "thinking_effort"},
            {"reasoning_effort": "high"},
            {"thinking": {"type": "enabled"}, "reasoning_effort": "high"},
            [],
        ),
        (
            {"reasoning_as": "chat_template_kwargs"},
            {"reasoning_effort": "none"},
            {"chat_template_kwargs": {"enable_thinking": False}},
            [],
        ),
        (
            {"reasoning_as": "chat_template_thinking"},
            {"reasoning_effort": "none"},
            {"chat_template_kwargs": {"thinking": False}},
            [],
        ),
        ({"reasoning_as": "prompt_mode"}, {"reasoning_effort": "none"}, {"prompt_mode": None}, []),
        # budgets
        (
            {"budget_as": "thinking_budget", "reasoning_as": "enable_thinking"},
            {"reasoning_budget": 500},
            {"enable_thinking": True, "thinking_budget": 500},
            [],
        ),
        ({"budget_as": "reasoning"}, {"reasoning_budget": 500}, {"reasoning": {"max_tokens": 500}}, []),
        (
            {"budget_as": "thinking"},
            {"reasoning_budget": 500},
            {"thinking": {"type": "enabled", "budget_tokens": 500}},
            [],
        ),
        (
            {"budget_as": "reasoning"},
            {"reasoning_budget": 500, "max_tokens": 400},
            {"reasoning": {"max_tokens": 399}, "max_tokens": 400},
            [("clamped", "settings.reasoning_budget")],
        ),
        (
            {},
            {"reasoning_budget": 9000},
            {"reasoning_effort": "medium"},
            [("converted", "settings.reasoning_budget")],
        ),
        (
            {"efforts": ("none", "high")},
            {"reasoning_budget": 500},
            {"reasoning_effort": "high"},
            [("converted", "settings.reasoning_budget")],
        ),
        (
            {"refuses": ("reasoning_effort",)},
            {"reasoning_budget": 500},
            {},
            [("dropped", "settings.reasoning_budget")],
        ),
        (
            {},
            {"reasoning_budget": 500, "reasoning_effort": "low"},
            {"reasoning_effort": "low"},
            [("dropped", "settings.reasoning_budget")],
        ),
    ],
)
def test_settings_in_the_form_the_target_takes(
    quirks: dict[str, Any], settings: dict[str, Any], body: dict[str, Any], losses: list[Any]
) -> None:
    one = encoded(of=accented(**quirks), **settings)
    found = sent(one)
    assert {name: value for name, value in found.items() if name not in {"model", "messages"}} == body
    assert lost(one) == [("clamped", f"settings.{loss}") if isinstance(loss, str) else loss for loss in losses]


TOOL = {"name": "look_up", "parameters": {"type": "object"}}


@pytest.mark.parametrize(
    ("known", "asked", "choice", "lossy"),
    [
        (["auto"], "required", "auto", True),
        (["auto"], {"name": "look_up"}, "auto", True),
        (["auto", "required"], {"name": "look_up"}, "required", True),
        (["auto", "named"], {"name": "look_up"}, {"type": "function", "function": {"name": "look_up"}}, False),
        (["auto", "none"], "none", "none", False),
        (["auto"], "auto", "auto", False),
        ([], "required", "required", False),
    ],
)
def test_a_choice_the_target_does_not_know_becomes_the_nearest(
    known: list[str], asked: Any, choice: Any, lossy: bool
) -> None:
    one = encoded(tools=[TOOL], of=accented(tool_choices=tuple(known)), tool_choice=asked)
    assert sent(one)["tool_choice"] == choice
    assert bool(one.losses) is lossy


def test_where_no_tools_cannot_be_asked_for_none_are_offered() -> None:
    one = encoded(tools=[TOOL], of=accented(tool_choices=("auto",)), tool_choice="none")
    assert {"tools", "tool_choice"}.isdisjoint(sent(one))
    assert lost(one) == [("rewritten", "settings.tool_choice")]


def test_system_turns_come_first_and_neighbours_are_joined_where_roles_alternate() -> None:
    turns = [
        {"role": "user", "content": "a"},
        {"role": "system", "content": "s1"},
        {"role": "user", "content": "b"},
        {"role": "system", "content": "s2"},
    ]
    first = encoded(turns, of=accented(system_place="first", alternating=True))
    assert [(m["role"], m["content"]) for m in sent(first)["messages"]] == [
        ("system", "s1"),
        ("system", "s2"),
        ("user", "a\n\nb"),
    ]
    assert [kind for kind, _ in lost(first)] == ["rewritten", "merged"]
    one = encoded(turns, of=accented(system_place="one"))
    assert [(m["role"], m["content"]) for m in sent(one)["messages"]] == [
        ("system", "s1\n\ns2"),
        ("user", "a"),
        ("user", "b"),
    ]
    none = encoded(turns, of=accented(system_role="user", alternating=True))
    assert [(m["role"], m["content"]) for m in sent(none)["messages"]] == [("user", "a\n\ns1\n\nb\n\ns2")]


THOUGHT = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "b"}]},
    {"role": "user", "content": "c"},
    {
        "role": "assistant",
        "content": [{"type": "reasoning", "text": "so"}, {"type": "tool_call", "id": "x", "name": "f"}],
    },
    {"role": "tool", "tool_call_id": "x", "content": "r"},
]


def test_earlier_reasoning_goes_back_in_the_form_and_to_the_extent_the_target_wants() -> None:
    tools_only = encoded(THOUGHT, of=accented(reasoning_history="reasoning_content", reasoning_for="tools"))
    messages = sent(tools_only)["messages"]
    assert "reasoning_content" not in messages[1]
    assert messages[3]["reasoning_content"] == "so"
    assert ("dropped", "messages[1].reasoning") in lost(tools_only)
    chunks = sent(encoded(THOUGHT, of=accented(reasoning_history="content")))["messages"]
    assert chunks[1]["content"] == [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "b"},
    ]
    assert chunks[3]["content"] == [{"type": "thinking", "thinking": [{"type": "text", "text": "so"}]}]
    field = sent(encoded(THOUGHT, of=accented(reasoning_history="reasoning", clear_thinking="field")))
    assert field["clear_thinking"] is False
    inside = sent(
        encoded(
            THOUGHT,
            of=accented(reasoning_history="reasoning_content", clear_thinking="thinking", reasoning_as="thinking"),
            reasoning_effort="high",
        )
    )
    assert inside["thinking"] == {"type": "enabled", "clear_thinking": False}
    nothing = sent(encoded(of=accented(reasoning_history="reasoning", clear_thinking="field")))
    assert "clear_thinking" not in nothing


def test_a_model_without_tools_is_told_of_earlier_calls_in_words() -> None:
    one = encoded(THOUGHT, tools=[TOOL], of=accented(refuses=("tools",), alternating=True))
    messages = sent(one)["messages"]
    assert [(message["role"], message["content"]) for message in messages[3:]] == [
        ("assistant", "[called f with {}]"),
        ("user", "r"),
    ]
    assert "tool_calls" not in one.body.decode()
    assert {("converted", "messages[3].tool_call"), ("converted", "messages[4]"), ("dropped", "tools")} <= set(
        lost(one)
    )


def test_signatures_of_a_provider_behind_a_gateway_go_back_to_its_family_only() -> None:
    text = {"type": "reasoning.text", "text": "hm", "signature": "c2ln", "format": "f-v1", "index": 0}
    sealed = {"type": "reasoning.encrypted", "data": "ZGF0YQ==", "id": "r_1", "format": "f-v1", "index": 1}
    row = ProviderRow(
        name="p",
        dialect="openai_chat",
        base_url="https://p.invalid",
        quirks={"reasoning_history": "reasoning_details"},
        models=(ModelRow(name="m", family="f"), ModelRow(name="other", family="g")),
    )
    reader = DIALECTS["openai_chat"].decoder(Target(row, row.model("m")), content_type="text/event-stream")
    reader.feed(
        sse(
            openai_chunk({"reasoning": "hm", "reasoning_details": [{**text, "signature": None}]}),
            openai_chunk({"reasoning_details": [{**text, "text": ""}, sealed]}),
            openai_chunk({"content": "so"}, "stop"),
        )
    )
    outcome = reader.finish()
    assert isinstance(outcome, Decoded)
    assert outcome.answer.reasoning == "hm"
    conversation = Conversation(
        messages=(*Conversation.model_validate({"messages": PLAIN}).messages, outcome.answer.as_turn())
    )
    back = DIALECTS["openai_chat"].encode(conversation, Target(row, row.model("m")))
    assert sent(back)["messages"][1]["reasoning_details"] == [text, sealed]
    foreign = DIALECTS["openai_chat"].encode(conversation, Target(row, row.model("other")))
    assert sent(foreign)["messages"][1]["reasoning"] == "hm"
    assert "c2ln" not in foreign.body.decode()
    assert ("dropped", "messages[1].reasoning.signature") in lost(foreign)


def test_a_last_assistant_turn_is_marked_as_one_to_go_on_with() -> None:
    turns = [*PLAIN, {"role": "assistant", "content": "Once"}]
    assert sent(encoded(turns, of=accented(prefill_field="prefix")))["messages"][-1]["prefix"] is True
    assert "prefix" not in sent(encoded(turns, of=accented()))["messages"][-1]
    assert "prefix" not in sent(encoded(PLAIN, of=accented(prefill_field="prefix")))["messages"][-1]


def test_a_model_that_only_streams_is_asked_for_a_stream() -> None:
    assert sent(encoded(of=accented(stream_only=True)))["stream"] is True


def test_a_schema_becomes_an_instruction_where_the_target_only_knows_json() -> None:
    form = {"type": "json_schema", "name": "lake", "json_schema": {"type": "object", "title": "Lake"}}
    one = encoded(of=accented(schema_as="json_object"), response_format=form)
    assert sent(one)["messages"][0]["role"] == "system"
    assert '{"type":"object","title":"Lake"}' in sent(one)["messages"][0]["content"]
    turns = [{"role": "system", "content": "Be brief."}, *PLAIN]
    two = sent(encoded(turns, of=accented(schema_as="json_object"), response_format=form))["messages"]
    assert len(two) == 2
    assert two[0]["content"].startswith("Be brief.\n\nAnswer with one JSON object")


def test_the_name_of_a_schema_is_one_the_target_takes() -> None:
    form = {"type": "json_schema", "name": "my lake!", "json_schema": {"type": "object"}}
    one = encoded(response_format=form)
    assert sent(one)["response_format"]["json_schema"]["name"] == "my_lake_"
    assert lost(one) == [("renamed", "settings.response_format.name")]


def test_strict_schemas_are_rewritten_and_what_cannot_be_strict_is_not() -> None:
    optional = {"type": "object", "properties": {"a": {"type": "string"}}}
    one = encoded(tools=[{"name": "f", "parameters": optional, "strict": True}])
    function = sent(one)["tools"][0]["function"]
    assert function["strict"] is True
    assert function["parameters"]["required"] == ["a"]
    assert set(lost(one)) == {("rewritten", "tools.f.parameters")}
    free = {"type": "object", "properties": {"a": {"type": "object"}}}
    two = encoded(tools=[{"name": "f", "parameters": free, "strict": True}])
    assert "strict" not in sent(two)["tools"][0]["function"]
    assert lost(two) == [("dropped", "tools.strict")]
    three = encoded(tools=[{"name": "f", "parameters": optional, "strict": True}], of=accented(strict_subset=False))
    assert sent(three)["tools"][0]["function"]["parameters"] == optional
    assert three.losses == ()


def test_fields_of_a_row_must_be_json() -> None:
    with pytest.raises(ValueError, match="texts need their quotes"):
        Quirks(always_send=("reasoning_format=parsed",))
    with pytest.raises(ValueError, match="not of the form"):
        Quirks(reasoning_send=("reasoning_format",))


@given(
    effort=st.sampled_from([None, "none", "minimal", "low", "medium", "high", "xhigh", "max"]),
    budget=st.none() | st.integers(1, 200_000),
    most=st.none() | st.integers(1, 100_000),
    form=st.sampled_from(["reasoning_effort", "reasoning", "thinking", "enable_thinking", "chat_template_kwargs"]),
    counted=st.sampled_from(["", "thinking_budget", "reasoning", "thinking", "chat_template_kwargs"]),
    known=st.sampled_from([(), ("none", "high"), ("low", "medium", "high"), ("none",)]),
)
def test_what_is_asked_of_reasoning_is_sent_or_a_loss_says_why_not(
    *, effort: Any, budget: int | None, most: int | None, form: Any, counted: Any, known: Any
) -> None:
    row = ProviderRow(
        name="p",
        dialect="openai_chat",
        base_url="https://p.invalid",
        quirks={"reasoning_as": form, "budget_as": counted, "efforts": known},
    )
    one = encoded(of=Target(row, ModelRow(name="m")), reasoning_effort=effort, reasoning_budget=budget, max_tokens=most)
    body, losses = sent(one), {loss.field for loss in one.losses}
    spoken = body.keys() & {"reasoning_effort", "reasoning", "thinking", "enable_thinking", "chat_template_kwargs"}
    assert bool(spoken) is (effort is not None or budget is not None) or losses
    if budget is not None and f": {budget}" not in json.dumps(body):
        assert "settings.reasoning_budget" in losses
    if effort is not None and effort not in json.dumps(body) and effort != "none":
        assert "settings.reasoning_effort" in losses


# -- answers


def read(*events: Any, **quirks: Any) -> Decoded:
    reader = DIALECTS["openai_chat"].decoder(accented(**quirks), content_type="text/event-stream")
    reader.feed(sse(*events))
    outcome = reader.finish()
    assert isinstance(outcome, Decoded), outcome
    return outcome


def test_citations_with_and_without_their_places() -> None:
    cited = {"url": "https://e.com/a", "title": "A", "start_index": 0, "end_index": 2}
    chunk = openai_chunk({"content": "so", "annotations": [{"type": "url_citation", "url_citation": cited}]}, "stop")
    assert read(chunk).answer.citations == (Citation(url="https://e.com/a", title="A", start=0, end=2),)
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    sources = openai_chunk({"content": "so"}, "stop", usage=usage, citations=["https://e.com/a", "https://e.com/b"])
    assert [one.url for one in read(sources).answer.citations] == ["https://e.com/a", "https://e.com/b"]
    found = {**sources, "search_results": [{"title": "A", "url": "https://e.com/a", "date": None}]}
    assert read(found).answer.citations == (Citation(url="https://e.com/a", title="A"),)
    broken = openai_chunk({"content": "so", "annotations": [{"type": "url_citation", "url_citation": {}}]}, "stop")
    assert [loss.field for loss in read(broken).losses] == ["answer.citations"]


def test_what_an_answer_has_no_place_for_is_told() -> None:
    chunk = openai_chunk(
        {
            "content": [{"type": "text", "text": "a"}, {"type": "reference", "reference_ids": [1]}],
            "audio": {"id": "x", "data": "AAAA"},
            "images": [{"type": "image_url"}],
            "annotations": [{"type": "file_citation"}],
        },
        "stop",
    )
    found = read(chunk)
    assert {loss.field for loss in found.losses} == {
        "answer.content",
        "answer.audio",
        "answer.images",
        "answer.annotations",
    }
    assert {loss.kind for loss in found.losses} == {"dropped"}
    empty = openai_chunk({"content": "a", "audio": {"id": "", "data": ""}, "function_call": {"name": ""}}, "stop")
    assert read(empty).losses == ()


def test_a_call_in_the_form_before_tools_is_a_call() -> None:
    pieces = [openai_chunk({"function_call": {"name": "f", "arguments": "{"}})]
    pieces += [openai_chunk({"function_call": {"arguments": "}"}}), openai_chunk(finish="function_call")]
    found = read(*pieces)
    assert [(call.name, call.arguments) for call in found.answer.tool_calls] == [("f", "{}")]


def test_usage_inside_a_choice_and_an_error_inside_one() -> None:
    chunk = openai_chunk({"content": "a"}, "stop")
    chunk["choices"][0]["usage"] = {"prompt_tokens": 3, "completion_tokens": 1, "cached_tokens": 2}
    assert (read(chunk).usage.input, read(chunk).usage.cache_read) == (3, 2)
    reader = DIALECTS["openai_chat"].decoder(accented(), content_type="text/event-stream")
    failing = openai_chunk({"content": ""}, "error")
    failing["choices"][0]["error"] = {"code": 429, "message": "Rate limit exceeded"}
    reader.feed(sse(failing))
    assert reader.failure is not None
    assert reader.failure.kind.value == "rate_limit"
