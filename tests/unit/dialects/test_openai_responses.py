from __future__ import annotations

import json
from typing import Any

import pytest

from catalogue.rows import ModelRow, ProviderRow
from job_contracts.chat import Conversation
from tests.unit.dialects.samples import target
from workers.dialects import DIALECTS
from workers.dialects.port import Encoded, Target

DIALECT = DIALECTS["openai_responses"]
TOOL = {"name": "look_up", "description": "Looks up.", "parameters": {"type": "object"}}
PLAIN = [{"role": "user", "content": "hi"}]
CHAT = target("openai_responses", "gpt-4o-mini")
SEALED = '{"id":"rs_1","encrypted_content":"gAAA"}'
PNG = {"type": "image", "data": "aGk=", "media_type": "image/png"}


def encoded(messages: Any = PLAIN, tools: Any = (), of: Target | None = None, **settings: Any) -> Encoded:
    values = {"messages": messages, "tools": tools, "settings": settings}
    return DIALECT.encode(Conversation.model_validate(values), of or target("openai_responses"))


def body(*args: Any, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encoded(*args, **options).body)
    return found


def lost(one: Encoded) -> list[tuple[str, str]]:
    return [(loss.kind, loss.field) for loss in one.losses]


def accented(*, capabilities: frozenset[Any] = frozenset(), **quirks: Any) -> Target:
    row = ProviderRow(name="accented", dialect="openai_responses", base_url="https://accented.invalid", quirks=quirks)
    return Target(row, ModelRow(name="m", family="gpt-5", capabilities=capabilities))


def test_a_plain_question_is_kept_nowhere() -> None:
    one = encoded(of=CHAT, max_tokens=50, temperature=0.5, top_p=0.9)
    assert one.path == "/responses"
    assert json.loads(one.body) == {
        "model": "gpt-4o-mini",
        "input": [{"role": "user", "content": "hi"}],
        "store": False,
        "max_output_tokens": 50,
        "temperature": 0.5,
        "top_p": 0.9,
    }
    assert one.losses == ()


def test_a_lone_system_prompt_becomes_the_instructions_and_several_keep_their_places() -> None:
    lone = body([{"role": "system", "content": "be brief"}, *PLAIN])
    assert (lone["instructions"], len(lone["input"])) == ("be brief", 1)
    turns = [{"role": "system", "content": "a"}, *PLAIN, {"role": "developer", "content": "b"}]
    several = body(turns)
    assert "instructions" not in several
    assert [item["role"] for item in several["input"]] == ["system", "user", "developer"]
    alone = body([{"role": "system", "content": "a"}])
    assert alone["input"] == [{"role": "system", "content": "a"}]


def test_what_the_api_has_no_word_for_is_lost_and_said() -> None:
    one = encoded(of=CHAT, stop=["x"], seed=1, presence_penalty=1, frequency_penalty=1, top_k=5)
    assert sorted(field for _, field in lost(one)) == [
        "settings.frequency_penalty",
        "settings.presence_penalty",
        "settings.seed",
        "settings.stop",
        "settings.top_k",
    ]
    assert json.loads(one.body).keys() == {"model", "input", "store"}


def test_fewer_tokens_than_the_api_takes_are_raised_to_its_least() -> None:
    one = encoded(max_tokens=5)
    assert json.loads(one.body)["max_output_tokens"] == 16
    assert lost(one) == [("clamped", "settings.max_tokens")]


def test_the_name_of_a_user_is_lost_and_said() -> None:
    assert lost(encoded([{**PLAIN[0], "name": "Ann"}])) == [("dropped", "messages[0].name")]


def test_what_was_said_and_called_keeps_its_order() -> None:
    said = [
        {"type": "text", "text": "first"},
        {"type": "tool_call", "id": "c1", "name": "look_up", "arguments": '{"a":1}'},
        {"type": "text", "text": "second"},
        {"type": "refusal", "text": "no"},
        {"type": "tool_call", "id": "c2", "name": "look_up", "arguments": "{}"},
    ]
    results = [{"role": "tool", "tool_call_id": call, "content": "r"} for call in ("c1", "c2")]
    one = encoded([*PLAIN, {"role": "assistant", "content": said}, *results])
    assert json.loads(one.body)["input"][1:] == [
        {"role": "assistant", "content": "first"},
        {"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": '{"a":1}'},
        {
            "role": "assistant",
            "content": [{"type": "output_text", "text": "second"}, {"type": "refusal", "refusal": "no"}],
        },
        {"type": "function_call", "call_id": "c2", "name": "look_up", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "r"},
        {"type": "function_call_output", "call_id": "c2", "output": "r"},
    ]
    assert one.losses == ()


def test_images_and_files_are_parts_and_a_result_may_hold_them() -> None:
    pdf = {"type": "file", "data": "JVBE", "media_type": "application/pdf", "name": "a.pdf"}
    far = {"type": "file", "url": "https://example.com/a.pdf", "media_type": "application/pdf"}
    turns = [
        {"role": "user", "content": [{**PNG, "detail": "low"}, pdf, far]},
        {"role": "assistant", "content": [{"type": "tool_call", "id": "c", "name": "look_up"}]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "see"}, PNG]},
    ]
    one = encoded(turns)
    user, _, result = json.loads(one.body)["input"]
    assert user["content"] == [
        {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "low"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"},
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
    ]
    assert [part["type"] for part in result["output"]] == ["input_text", "input_image"]
    assert one.losses == ()
    beside = encoded(turns, of=accented(output_parts=False))
    assert json.loads(beside.body)["input"][2]["output"] == "see"
    assert json.loads(beside.body)["input"][3] == {
        "role": "user",
        "content": [{"type": "input_image", "image_url": "data:image/png;base64,aGk="}],
    }
    assert lost(beside) == [("converted", "messages[2].content")]


def test_a_file_without_a_name_gets_one_and_a_recording_is_not_sent() -> None:
    nameless = {"type": "file", "data": "JVBE", "media_type": "application/pdf"}
    sound = {"type": "file", "data": "AAAA", "media_type": "audio/wav"}
    one = encoded([{"role": "user", "content": [nameless, sound]}])
    assert json.loads(one.body)["input"][0]["content"][0]["filename"] == "file.pdf"
    assert lost(one) == [("dropped", "messages[0].content"), ("rewritten", "messages[0].content.name")]
    without = encoded([{"role": "user", "content": [nameless, PNG]}], of=accented(refuses=("files", "images")))
    assert json.loads(without.body)["input"][0]["content"] == ""
    assert lost(without) == [("dropped", "messages[0].content")] * 2


def test_marks_for_the_cache_are_one_loss() -> None:
    marked = {"type": "text", "text": "long", "cache": "5m"}
    turns = [{"role": "system", "content": [marked]}, {"role": "user", "content": [marked]}]
    one = encoded(turns, tools=[{**TOOL, "cache": "1h"}], of=CHAT)
    assert lost(one) == [("dropped", "tools.look_up.cache")]


CLOSED = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
"""An object of nothing in strict mode's subset."""


def test_tools_are_flat_and_never_made_strict_unasked() -> None:
    one = body(tools=[TOOL, {"name": "b", "strict": True}], tool_choice={"name": "b"}, parallel_tool_calls=False)
    assert one["tools"] == [
        {"type": "function", **TOOL, "strict": False},
        {"type": "function", "name": "b", "parameters": CLOSED, "strict": True},
    ]
    assert one["tool_choice"] == {"type": "function", "name": "b"}
    assert one["parallel_tool_calls"] is False
    assert body(tools=[TOOL], tool_choice="required")["tool_choice"] == "required"


def test_a_schema_is_the_format_of_the_text_as_far_as_the_target_knows_it() -> None:
    schema = {"type": "json_schema", "name": "a", "json_schema": {"type": "object"}, "strict": True}
    strict = encoded(response_format=schema)
    assert json.loads(strict.body)["text"] == {
        "format": {"type": "json_schema", "name": "a", "schema": CLOSED, "strict": True}
    }
    assert {kind for kind, _ in lost(strict)} == {"rewritten"}
    assert body(response_format={**schema, "strict": False})["text"]["format"]["schema"] == {"type": "object"}
    weaker = encoded(response_format=schema, of=accented(schema_as="json_object"))
    assert json.loads(weaker.body)["text"] == {"format": {"type": "json_object"}}
    assert lost(weaker) == [("rewritten", "settings.response_format")]
    none = encoded(response_format={"type": "json_object"}, of=accented(schema_as="none"))
    assert "text" not in json.loads(none.body)
    assert lost(none) == [("dropped", "settings.response_format")]
    assert "text" not in body(response_format={"type": "text"})


def test_a_reasoning_model_gives_its_reasoning_to_be_sent_back() -> None:
    one = body(reasoning_effort="high")
    assert one["reasoning"] == {"effort": "high"}
    assert one["include"] == ["reasoning.encrypted_content"]
    assert "include" not in body(of=CHAT)
    shown = accented(reasoning_summary="auto", capabilities=frozenset({"reasoning"}))
    assert body(of=shown)["reasoning"] == {"summary": "auto"}
    assert body(of=shown, reasoning_effort="none")["reasoning"] == {"effort": "none"}
    assert "include" not in body(of=accented(reasoning_items="text"), reasoning_effort="low")


def test_a_budget_becomes_the_nearest_effort() -> None:
    one = encoded(reasoning_budget=9000)
    assert json.loads(one.body)["reasoning"] == {"effort": "medium"}
    assert lost(one) == [("converted", "settings.reasoning_budget")]
    both = encoded(reasoning_budget=9000, reasoning_effort="low")
    assert json.loads(both.body)["reasoning"] == {"effort": "low"}
    assert lost(both) == [("dropped", "settings.reasoning_budget")]
    assert lost(encoded(reasoning_budget=9000, of=CHAT)) == [("dropped", "settings.reasoning_budget")]


def test_log_probabilities_are_asked_for_beside_what_else_is_included() -> None:
    one = body(logprobs=True, top_logprobs=3)
    assert one["include"] == ["reasoning.encrypted_content", "message.output_text.logprobs"]
    assert one["top_logprobs"] == 3
    assert lost(encoded(top_logprobs=3, of=CHAT)) == [("rewritten", "settings.logprobs")]
    assert lost(encoded(logprobs=False, top_logprobs=3, of=CHAT)) == [("dropped", "settings.top_logprobs")]


def test_reasoning_goes_back_whole_before_what_it_led_to() -> None:
    thought = {"type": "reasoning", "text": "hm", "signature": SEALED, "origin": "gpt-5"}
    turns = [*PLAIN, {"role": "assistant", "content": [thought, {"type": "text", "text": "yes"}]}, *PLAIN]
    one = encoded(turns)
    assert json.loads(one.body)["input"][1:3] == [
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "id": "rs_1",
            "encrypted_content": "gAAA",
        },
        {"role": "assistant", "content": "yes"},
    ]
    assert one.losses == ()


@pytest.mark.parametrize(
    "parts",
    [
        [{"type": "text", "text": "a"}, {"type": "reasoning", "signature": SEALED, "origin": "gpt-5"}],
        [{"type": "reasoning", "signature": SEALED, "origin": "o"}, {"type": "text", "text": "a"}],
        [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "a"}],
        [{"type": "reasoning", "signature": "no JSON", "origin": "gpt-5"}, {"type": "text", "text": "a"}],
        [{"type": "reasoning", "signature": '{"id":"rs_1"}', "origin": "gpt-5"}, {"type": "text", "text": "a"}],
    ],
    ids=["alone at the end", "another family", "unsigned", "foreign", "without content"],
)
def test_reasoning_that_would_be_refused_is_stripped(parts: Any) -> None:
    one = encoded([*PLAIN, {"role": "assistant", "content": parts}, *PLAIN])
    assert [item.get("type") for item in json.loads(one.body)["input"]] == [None, None, None]
    assert lost(one) == [("dropped", "messages[1].reasoning")]


@pytest.mark.parametrize("more", ['"role":"assistant","content":"x"', '"type":"message"', '"summary":5', '"a":NaN'])
def test_a_signature_that_somebody_made_up_breaks_nothing(more: str) -> None:
    forged = {"type": "reasoning", "signature": f'{{"encrypted_content":"x",{more}}}', "origin": "gpt-5"}
    parts = [{"type": "text", "text": "a"}, forged, {"type": "text", "text": "b"}]
    found = body([*PLAIN, {"role": "assistant", "content": parts}])["input"]
    assert [item.get("type") for item in found] == [None, None, "reasoning", None]


def test_of_two_pieces_of_reasoning_in_a_row_only_the_one_before_the_text_goes_back() -> None:
    thoughts = [
        {"type": "reasoning", "signature": f'{{"id":"rs_{at}","encrypted_content":"x"}}', "origin": "gpt-5"}
        for at in range(2)
    ]
    one = encoded([*PLAIN, {"role": "assistant", "content": [*thoughts, {"type": "text", "text": "a"}]}])
    assert [item.get("id") for item in json.loads(one.body)["input"]] == [None, "rs_1", None]
    assert lost(one) == [("dropped", "messages[1].reasoning")]


def test_a_target_that_reads_reasoning_as_text_gets_it_as_text() -> None:
    parts = [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "a"}]
    one = encoded([*PLAIN, {"role": "assistant", "content": parts}], of=accented(reasoning_items="text"))
    assert json.loads(one.body)["input"][1] == {
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "hm"}],
    }
