"""Documents, cache marks, thinking and schemas at Anthropic, at home and on Google's cloud."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from job_contracts.chat import Citation
from tests.unit.dialects.samples import decoder, packaged, target
from tests.unit.dialects.test_anthropic import PLAIN, TOOL, block, body, encoded, lost, stream
from workers.dialects.anthropic_schema import grammar_subset
from workers.dialects.anthropic_turns import GO_ON
from workers.dialects.encoding import Losses
from workers.dialects.pairs import NO_RESULT, OPENING
from workers.dialects.port import Decoded, Target

NEW = target("anthropic", "claude-sonnet-5")


def said(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def text(words: str, cache: str | None = None) -> dict[str, Any]:
    return {"type": "text", "text": words, "cache": cache}


def file(**more: Any) -> dict[str, Any]:
    return {"type": "file", **more}


# -- documents


def test_pdf_goes_as_data_or_by_address_and_text_as_text() -> None:
    told = base64.b64encode(b"a,b").decode()
    one = encoded(
        said(
            file(data="JVBERi0=", media_type="application/pdf", name="a.pdf"),
            file(url="https://example.com/b.pdf", media_type="application/pdf"),
            file(data=told, media_type="text/plain"),
            file(data=told, media_type="text/csv", name="c.csv"),
        )
    )
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    plain = {"type": "text", "media_type": "text/plain", "data": "a,b"}
    assert json.loads(one.body)["messages"][0]["content"] == [
        {"type": "document", "source": pdf, "title": "a.pdf"},
        {"type": "document", "source": {"type": "url", "url": "https://example.com/b.pdf"}},
        {"type": "document", "source": plain},
        {"type": "document", "source": plain, "title": "c.csv"},
    ]
    assert lost(one) == [("converted", "messages[0].content.media_type")]


@pytest.mark.parametrize(
    "part",
    [
        file(data="AAAA", media_type="audio/wav"),
        file(url="https://example.com/a.txt", media_type="text/plain"),
        file(url="gs://bucket/a.pdf", media_type="application/pdf"),
        file(data="/w==", media_type="text/plain"),
        {"type": "image", "data": "AAAA", "media_type": "image/bmp"},
    ],
)
def test_what_the_api_does_not_read_is_left_out_with_a_loss(part: dict[str, Any]) -> None:
    one = encoded(said(text("see"), part))
    assert [block["type"] for block in json.loads(one.body)["messages"][0]["content"]] == ["text"]
    assert lost(one) == [("dropped", "messages[0].content")]


def test_an_image_in_a_file_is_an_image_and_loses_its_name() -> None:
    one = encoded(said(file(data="AAAA", media_type="image/jpg", name="a.jpg")))
    source = {"type": "base64", "media_type": "image/jpeg", "data": "AAAA"}
    assert json.loads(one.body)["messages"][0]["content"] == [{"type": "image", "source": source}]
    assert lost(one) == [("dropped", "messages[0].content.name")]


# -- cache marks


def test_marks_stand_on_tools_system_text_messages_and_results() -> None:
    turns = [
        {"role": "system", "content": [text("rules", "1h")]},
        *said(text("hi", "5m"), text("there")),
        {"role": "assistant", "content": [{"type": "tool_call", "id": "a", "name": "look_up"}]},
        {"role": "tool", "tool_call_id": "a", "content": [text("one"), text("two", "5m")]},
    ]
    one = encoded(turns, [{**TOOL, "cache": "1h"}])
    found = json.loads(one.body)
    hour, short = {"type": "ephemeral", "ttl": "1h"}, {"type": "ephemeral"}
    assert found["tools"][0]["cache_control"] == hour
    assert found["system"] == [{"type": "text", "text": "rules", "cache_control": hour}]
    first, _, results = found["messages"]
    assert [block.get("cache_control") for block in first["content"]] == [short, None]
    assert results["content"][0]["cache_control"] == short
    assert all("cache_control" not in block for block in results["content"][0]["content"])
    assert one.losses == ()


def test_of_more_than_four_marks_the_last_four_are_kept() -> None:
    one = encoded(said(*[text(str(number), "5m") for number in range(5)]), [{**TOOL, "cache": "5m"}])
    found = json.loads(one.body)
    assert "cache_control" not in found["tools"][0]
    assert ["cache_control" in block for block in found["messages"][0]["content"]] == [False, True, True, True, True]
    assert lost(one) == [("dropped", "tools.look_up.cache"), ("dropped", "messages[0].content.cache")]


def test_an_hour_after_five_minutes_is_five_minutes() -> None:
    one = encoded(said(text("a", "5m"), text("b", "1h")))
    marks = [block["cache_control"] for block in json.loads(one.body)["messages"][0]["content"]]
    assert marks == [{"type": "ephemeral"}] * 2
    assert lost(one) == [("clamped", "messages[0].content.cache")]


def test_marks_that_have_no_place_are_told() -> None:
    one = encoded(said(text("a"), text(" ", "5m"), file(data="AAAA", media_type="audio/wav", cache="5m")))
    assert lost(one).count(("dropped", "messages[0].content.cache")) == 2
    refused = encoded(said(text("a", "5m")), of=target("anthropic", temperature_max=1.0, refuses=("cache",)))
    assert "cache_control" not in refused.body.decode()
    assert lost(refused) == [("dropped", "messages[0].content.cache")]
    within = [
        *PLAIN,
        {"role": "assistant", "content": [{"type": "tool_call", "id": "a", "name": "look_up"}]},
        {"role": "tool", "tool_call_id": "a", "content": [text("one", "5m"), text("two")]},
    ]
    moved = encoded(within)
    assert json.loads(moved.body)["messages"][2]["content"][0]["cache_control"] == {"type": "ephemeral"}
    assert lost(moved) == [("merged", "messages[2].content.cache")]


# -- who speaks when


def test_the_user_speaks_first_and_every_call_has_a_result() -> None:
    called = [{"role": "assistant", "content": [{"type": "tool_call", "id": "a", "name": "look_up"}]}]
    one = encoded(called, [TOOL], of=target("anthropic", user_first=True))
    opening, _, results = json.loads(one.body)["messages"]
    assert opening == {"role": "user", "content": OPENING}
    assert results["content"] == [{"type": "tool_result", "tool_use_id": "a", "content": NO_RESULT, "is_error": True}]
    assert lost(one) == [("rewritten", "messages[0].tool_call"), ("rewritten", "messages[0]")]


def test_where_the_assistant_may_speak_first_it_does() -> None:
    greeted = [{"role": "assistant", "content": "Hello, what is it?"}, *PLAIN]
    one = encoded(greeted, of=target("anthropic", user_first=False))
    assert [message["role"] for message in json.loads(one.body)["messages"]] == ["assistant", "user"]
    assert not lost(one)


def test_a_begun_answer_is_asked_for_where_the_model_does_not_continue_it() -> None:
    begun = [*PLAIN, {"role": "assistant", "content": "I "}]
    assert json.loads(encoded(begun).body)["messages"][-1]["content"][0]["text"] == "I"
    for one in (encoded(begun, of=NEW), encoded(begun, reasoning_effort="low")):
        assert json.loads(one.body)["messages"][-1] == {"role": "user", "content": GO_ON}
        assert lost(one) == [("rewritten", "messages")]


# -- thinking


def test_a_budget_is_sent_as_it_is_and_clamped_to_what_there_is() -> None:
    assert body(reasoning_budget=5000)["thinking"] == {"type": "enabled", "budget_tokens": 5000}
    one = encoded(reasoning_budget=500, max_tokens=5000)
    assert json.loads(one.body)["thinking"]["budget_tokens"] == 1024
    assert lost(one) == [("clamped", "settings.reasoning_budget")]
    tight = encoded(reasoning_budget=9000, max_tokens=5000)
    assert json.loads(tight.body)["thinking"]["budget_tokens"] == 4999
    assert lost(tight) == [("clamped", "settings.reasoning_budget")]
    none = encoded(reasoning_budget=9000, max_tokens=1000)
    assert "thinking" not in json.loads(none.body)
    assert lost(none) == [("dropped", "settings.reasoning_budget")]


def test_where_max_tokens_is_nobodys_wish_it_grows_by_the_budget() -> None:
    unknown = target("anthropic", "claude-of-tomorrow", thinking="budget")
    found = body(of=unknown, reasoning_budget=10_000)
    assert (found["max_tokens"], found["thinking"]["budget_tokens"]) == (14_096, 10_000)


def test_a_budget_is_the_nearest_effort_where_the_model_takes_efforts() -> None:
    one = encoded(of=NEW, reasoning_budget=9000)
    assert json.loads(one.body)["output_config"] == {"effort": "medium"}
    assert lost(one) == [("converted", "settings.reasoning_budget")]
    both = encoded(of=NEW, reasoning_budget=9000, reasoning_effort="max")
    assert json.loads(both.body)["output_config"] == {"effort": "max"}
    assert lost(both) == [("dropped", "settings.reasoning_budget")]
    exact = encoded(reasoning_budget=9000, reasoning_effort="low")
    assert json.loads(exact.body)["thinking"]["budget_tokens"] == 9000
    assert lost(exact) == [("dropped", "settings.reasoning_effort")]


def test_calls_begun_without_thinking_are_finished_without() -> None:
    call = {"type": "tool_call", "id": "a", "name": "look_up"}
    foreign: list[dict[str, Any]] = [
        *PLAIN,
        {"role": "assistant", "content": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "r"},
    ]
    one = encoded(foreign, [TOOL], reasoning_effort="low")
    assert "thinking" not in json.loads(one.body)
    assert lost(one) == [("dropped", "settings.reasoning_effort")]
    thought = {"type": "reasoning", "text": "hm", "signature": "s", "origin": "claude"}
    own = [*PLAIN, {"role": "assistant", "content": [thought, call]}, foreign[-1]]
    assert "thinking" in body(own, [TOOL], reasoning_effort="low")
    later = [*own, {"role": "assistant", "content": [{**call, "id": "b"}]}, {**foreign[-1], "tool_call_id": "b"}]
    assert "thinking" in body(later, [TOOL], reasoning_effort="low")
    assert "thinking" in body([*foreign, *PLAIN], [TOOL], reasoning_effort="low")
    assert "thinking" in body(foreign, [TOOL], of=NEW, reasoning_effort="low")


def test_sampling_that_thinking_forbids_is_dropped() -> None:
    assert body(top_k=5)["top_k"] == 5
    one = encoded(top_k=5, top_p=0.5, reasoning_effort="low")
    assert not {"top_k", "top_p"} & json.loads(one.body).keys()
    assert lost(one) == [("dropped", "settings.top_p"), ("dropped", "settings.top_k")]


def test_a_model_that_thinks_by_a_budget_also_thinks_between_calls() -> None:
    assert "anthropic-beta" not in encoded(reasoning_effort="low").headers
    assert "anthropic-beta" not in encoded(tools=[TOOL]).headers
    assert encoded(tools=[TOOL], reasoning_effort="low").headers["anthropic-beta"].startswith("interleaved-thinking")


# -- schemas


def test_what_no_grammar_holds_is_told_in_the_description() -> None:
    losses = Losses()
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 1, "description": "A number."},
            "s": {"type": "string", "format": "date", "pattern": "^a+$"},
            "t": {"type": "string", "format": "regex", "pattern": r"\bword"},
            "l": {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/x"}},
            "o": {"oneOf": [{"const": 1}, {"enum": ["a", None]}]},
        },
        "additionalProperties": {"type": "string"},
        "$defs": {"x": {"type": "object", "properties": {}, "additionalProperties": False}},
    }
    cut = grammar_subset(schema, losses, "f")
    properties = cut["properties"]
    assert properties["n"] == {"type": "integer", "description": 'A number.\n\n{"minimum":1}'}
    assert properties["s"] == {"type": "string", "format": "date", "pattern": "^a+$"}
    assert properties["t"] == {"type": "string", "description": '{"format":"regex","pattern":"\\\\bword"}'}
    assert properties["l"]["items"] == {"$ref": "#/$defs/x"}
    assert properties["l"]["description"] == '{"minItems":2}'
    assert properties["o"] == {"anyOf": [{"const": 1}, {"enum": ["a", None]}]}
    assert cut["additionalProperties"] is False
    assert cut["$defs"] == schema["$defs"]
    assert [(loss.kind, loss.detail) for loss in losses] == [
        (
            "rewritten",
            "told in the description, not enforced: additionalProperties, format, minItems, minimum, pattern",
        ),
        ("rewritten", "objects take no additionalProperties, oneOf as anyOf"),
    ]


def test_a_schema_the_api_takes_stays_as_it_is() -> None:
    losses = Losses()
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert grammar_subset(schema, losses, "f") == schema
    assert losses == []


def test_only_strict_tools_are_cut() -> None:
    loose = {"name": "put", "parameters": {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}}
    assert body(tools=[loose])["tools"][0]["input_schema"] == loose["parameters"]
    one = encoded(tools=[{**loose, "strict": True}])
    assert json.loads(one.body)["tools"][0]["input_schema"]["additionalProperties"] is False
    assert {field for _, field in lost(one)} == {"tools.put.parameters"}


# -- on Google's cloud


def vertex(model: str, *, stream: bool = False) -> Target:
    row = packaged()["vertex"]
    return Target(provider=row, model=row.model(model), stream=stream)


def test_on_vertex_the_path_names_the_model_and_the_body_the_version() -> None:
    plain = encoded(of=vertex("claude-sonnet-4-5@20250929"))
    assert plain.path == "/publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict"
    found = json.loads(plain.body)
    assert found["anthropic_version"] == "vertex-2023-10-16"
    assert "model" not in found
    assert "anthropic-version" not in plain.headers
    streamed = encoded(of=vertex("claude-opus-4-6", stream=True))
    assert streamed.path == "/publishers/anthropic/models/claude-opus-4-6:streamRawPredict"
    assert json.loads(streamed.body)["stream"] is True


def test_where_inference_runs_can_be_told() -> None:
    assert body(of=target("anthropic", inference_geo="us"))["inference_geo"] == "us"
    assert "inference_geo" not in body()


# -- answers


def whole(data: bytes) -> Decoded:
    reader = decoder("anthropic", content_type="text/event-stream")
    reader.feed(data)
    found = reader.finish()
    assert isinstance(found, Decoded), found
    return found


WEB = {"type": "web_search_result_location", "url": "https://example.com", "title": "Example", "cited_text": "so"}
PAGE = {
    "type": "page_location",
    "document_index": 1,
    "document_title": "a.pdf",
    "start_page_number": 2,
    "end_page_number": 3,
}


def test_sources_stand_for_the_block_of_text_they_come_with() -> None:
    found = whole(
        stream(
            block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Well: "}),
            block(
                1,
                {"type": "text", "text": "", "citations": []},
                {"type": "citations_delta", "citation": WEB},
                {"type": "text_delta", "text": "it is so"},
                {"type": "citations_delta", "citation": PAGE},
            ),
            block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "."}),
        )
    )
    assert found.answer.text == "Well: it is so."
    assert found.answer.citations == (
        Citation(url="https://example.com", title="Example", start=6, end=14),
        Citation(url="document:1#page=2,3", title="a.pdf", start=6, end=14),
    )


def test_blocks_of_the_providers_own_tools_are_losses_of_the_answer() -> None:
    found = whole(
        stream(
            block(0, {"type": "server_tool_use", "id": "s", "name": "web_search"}),
            block(1, {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}),
            block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "so"}),
        )
    )
    assert found.answer.text == "so"
    assert [loss.field for loss in found.losses] == ["answer.content"] * 2
    assert "server_tool_use" in found.losses[0].detail


def test_what_is_kept_for_an_hour_is_counted_apart() -> None:
    usage = {
        "input_tokens": 5,
        "output_tokens": 2,
        "cache_creation_input_tokens": 30,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
    }
    document = {"type": "message", "content": [], "stop_reason": "refusal", "usage": usage}
    document["stop_details"] = {"type": "refusal", "category": "cyber", "explanation": "No malware."}
    reader = decoder("anthropic", content_type="application/json")
    reader.feed(json.dumps(document).encode())
    found = reader.finish()
    assert isinstance(found, Decoded)
    assert (found.usage.input, found.usage.cache_write, found.usage.cache_write_1h) == (35, 30, 20)
    assert [(loss.field, loss.detail) for loss in found.losses] == [("answer.stop_details", "cyber: No malware.")]
