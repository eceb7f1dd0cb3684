"""Files, budgets, schemas, sources and odd parts at Gemini, at home and on Google's cloud."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from job_contracts.chat import Citation, FinishReason, TokenLogprob
from job_contracts.failures import Failure, FailureKind
from tests.unit.dialects.samples import decoder, packaged, sse, target
from tests.unit.dialects.test_gemini import PLAIN, TOOL, body, encoded, lost
from workers.dialects.encoding import Losses
from workers.dialects.gemini_schema import json_subset, openapi_subset
from workers.dialects.pairs import NO_RESULT, OPENING
from workers.dialects.port import Decoded, Target

NEW = target("gemini", "gemini-3-flash")
OLD = target("gemini", "gemini-2.0-flash")


def file(**more: Any) -> dict[str, Any]:
    return {"type": "file", **more}


def said(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def sent(*parts: Any, of: Target | None = None) -> tuple[list[Any], list[tuple[str, str]]]:
    one = encoded(said({"type": "text", "text": "see"}, *parts), of=of)
    return json.loads(one.body)["contents"][0]["parts"][1:], lost(one)


# -- files


def test_files_go_as_data_or_by_address_with_their_kind() -> None:
    assert sent(
        file(data="AAAA", media_type="application/pdf"),
        file(url="https://example.com/a.mp3", media_type="audio/mpeg"),
        file(data="AAAA", media_type="video/mp4"),
    ) == (
        [
            {"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}},
            {"fileData": {"mimeType": "audio/mpeg", "fileUri": "https://example.com/a.mp3"}},
            {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}},
        ],
        [],
    )


def test_text_of_any_kind_goes_as_text() -> None:
    told = base64.b64encode(b"{}").decode()
    assert sent(file(data=told, media_type="application/json")) == (
        [{"inlineData": {"mimeType": "text/plain", "data": told}}],
        [("converted", "messages[0].content.media_type")],
    )


@pytest.mark.parametrize(
    "part",
    [
        file(data="AAAA", media_type="application/zip"),
        {"type": "image", "data": "AAAA", "media_type": "image/gif"},
    ],
)
def test_what_the_api_does_not_read_is_left_out_with_a_loss(part: dict[str, Any]) -> None:
    assert sent(part) == ([], [("dropped", "messages[0].content")])


def test_older_models_fetch_only_what_lies_with_google() -> None:
    web, store = "https://example.com/a.png", "gs://bucket/a.png"
    assert sent({"type": "image", "url": web}, of=OLD) == ([], [("dropped", "messages[0].content")])
    assert sent({"type": "image", "url": store}, of=OLD) == (
        [{"fileData": {"mimeType": "image/png", "fileUri": store}}],
        [],
    )


def test_names_of_files_go_where_they_are_taken() -> None:
    part = file(data="AAAA", media_type="application/pdf", name="a.pdf")
    assert sent(part)[1] == [("dropped", "messages[0].content.name")]
    assert sent(part, of=vertex("gemini-2.5-flash")) == (
        [{"inlineData": {"mimeType": "application/pdf", "displayName": "a.pdf", "data": "AAAA"}}],
        [],
    )


def test_cache_marks_are_one_loss() -> None:
    turns = said({"type": "text", "text": "a", "cache": "5m"}, {"type": "text", "text": "b", "cache": "1h"})
    assert lost(encoded(turns, [{**TOOL, "cache": "5m"}])) == [("dropped", "tools.look_up.cache")]
    assert lost(encoded(turns)) == [("dropped", "messages[0].content.cache")]


# -- who speaks when


def test_the_user_speaks_first_and_every_call_has_a_result() -> None:
    calls = [{"type": "tool_call", "id": id_, "name": id_} for id_ in "ab"]
    turns = [{"role": "assistant", "content": calls}, {"role": "tool", "tool_call_id": "b", "content": "r"}]
    one = encoded(turns, [TOOL])
    opening, _, results = json.loads(one.body)["contents"]
    assert opening == {"role": "user", "parts": [{"text": OPENING}]}
    assert results["parts"] == [
        {"functionResponse": {"name": "a", "response": {"error": NO_RESULT}}},
        {"functionResponse": {"name": "b", "response": {"output": "r"}}},
    ]
    assert [kind for kind, _ in lost(one)] == ["rewritten"] * 3


# -- settings


def test_top_k_goes_through() -> None:
    assert body(top_k=40)["generationConfig"] == {"topK": 40}


def test_a_budget_in_tokens_or_as_the_nearest_level() -> None:
    thoughts = {"includeThoughts": True}
    assert body(reasoning_budget=600)["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 600, **thoughts}
    tight = encoded(reasoning_budget=6000, max_tokens=1000)
    assert json.loads(tight.body)["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 999, **thoughts}
    assert lost(tight) == [("clamped", "settings.reasoning_budget")]
    level = encoded(of=NEW, reasoning_budget=9000)
    assert json.loads(level.body)["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "medium", **thoughts}
    assert lost(level) == [("converted", "settings.reasoning_budget")]
    assert lost(encoded(of=OLD, reasoning_budget=9000)) == [("dropped", "settings.reasoning_budget")]


def test_thoughts_nobody_asked_for_are_not_shown() -> None:
    assert body(reasoning_effort="none")["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 0}
    level = encoded(of=NEW, reasoning_effort="none")
    assert json.loads(level.body)["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "minimal"}
    assert lost(level) == [("clamped", "settings.reasoning_effort")]


def test_tools_and_a_schema_go_together_only_where_they_may() -> None:
    form = {"type": "json_schema", "json_schema": {"type": "object"}}
    assert "responseJsonSchema" in body(tools=[TOOL], of=NEW, response_format=form)["generationConfig"]
    one = encoded(tools=[TOOL], response_format=form)
    assert "generationConfig" not in json.loads(one.body)
    assert lost(one) == [("dropped", "settings.response_format")]
    assert "responseJsonSchema" in body(response_format=form)["generationConfig"]


# -- schemas


def test_a_schema_is_cut_to_the_subset_of_openapi() -> None:
    losses = Losses()
    schema = {
        "type": "object",
        "properties": {
            "a": {"anyOf": [{"type": "string", "format": "uuid"}, {"type": "null"}]},
            "b": {"type": "integer", "enum": [1, 2], "format": "int32"},
            "c": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["a", "z"],
        "additionalProperties": False,
    }
    words = "additionalProperties, enum of other values than text, format uuid, required of what is no property"
    assert openapi_subset(schema, losses, "f") == {
        "type": "object",
        "properties": {
            "a": {"nullable": True, "type": "string"},
            "b": {"type": "integer", "format": "int32"},
            "c": {"type": "object"},
        },
        "required": ["a"],
    }
    assert [(loss.kind, loss.detail) for loss in losses] == [
        ("dropped", f"no word for {words}"),
        ("rewritten", "types as anyOf or nullable"),
    ]


def test_a_schema_is_cut_to_the_subset_of_json_schema() -> None:
    losses = Losses()
    schema = {
        "type": "object",
        "properties": {"a": {"const": "x", "pattern": "a"}, "b": {"$ref": "#/definitions/b"}},
        "definitions": {"b": {"allOf": [{"type": "array", "items": {"minLength": 1}}]}},
        "additionalProperties": False,
    }
    assert json_subset(schema, losses, "f") == {
        "type": "object",
        "properties": {"a": {"enum": ["x"]}, "b": {"$ref": "#/$defs/b"}},
        "$defs": {"b": {"type": "array", "items": {}}},
        "additionalProperties": False,
    }
    assert [(loss.kind, loss.detail) for loss in losses] == [
        ("dropped", "no word for minLength, pattern"),
        ("rewritten", "allOf of one put in its place, const as enum, definitions as $defs"),
    ]


def test_a_function_without_properties_has_no_parameters_at_older_models() -> None:
    one = encoded(tools=[{"name": "now", "parameters": {"type": "object", "properties": {}}}], of=OLD)
    assert json.loads(one.body)["tools"] == [{"functionDeclarations": [{"name": "now"}]}]


# -- on Google's cloud


def vertex(model: str, *, stream: bool = False) -> Target:
    row = packaged()["vertex"]
    return Target(provider=row, model=row.model(model), stream=stream)


def test_on_vertex_the_publisher_stands_in_the_path() -> None:
    assert encoded(of=vertex("gemini-2.5-pro")).path == "/publishers/google/models/gemini-2.5-pro:generateContent"
    assert (
        encoded(of=vertex("gemini-2.5-pro", stream=True)).path
        == "/publishers/google/models/gemini-2.5-pro:streamGenerateContent?alt=sse"
    )


def test_thoughts_signed_at_the_gemini_api_do_not_go_to_vertex() -> None:
    call = {"type": "tool_call", "id": "a", "name": "look_up", "signature": "s", "origin": NEW.model.family}
    turns = [*PLAIN, {"role": "assistant", "content": [call]}, {"role": "tool", "tool_call_id": "a", "content": "r"}]
    own = json.loads(encoded(turns, of=NEW).body)["contents"][1]["parts"][0]
    assert own["thoughtSignature"] == "s"
    other = encoded(turns, of=vertex("gemini-3-flash"))
    assert json.loads(other.body)["contents"][1]["parts"][0]["thoughtSignature"] != "s"
    assert lost(other) == [("dropped", "messages[1].tool_call.signature")]


# -- answers


def read(*chunks: Any) -> Decoded | Failure:
    reader = decoder("gemini", content_type="text/event-stream")
    reader.feed(sse(*chunks))
    return reader.finish()


def whole(*chunks: Any) -> Decoded:
    found = read(*chunks)
    assert isinstance(found, Decoded), found
    return found


def chunk(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": list(parts)}, **more}]}


def test_sources_of_a_search_are_placed_by_characters() -> None:
    grounding = {
        "groundingChunks": [
            {"web": {"uri": "https://a.example", "title": "A"}},
            {"retrievedContext": {"documentName": "stores/b", "title": "B"}},
            {"web": {"title": "no address"}},
        ],
        "groundingSupports": [
            {"segment": {"startIndex": 7, "endIndex": 12, "text": "Öl is"}, "groundingChunkIndices": [0, 9]},
            {"segment": {"startIndex": 90, "endIndex": 99, "text": "dear"}, "groundingChunkIndices": [0]},
        ],
    }
    found = whole(
        chunk({"text": "Grüße "}), chunk({"text": "Öl is dear"}, finishReason="STOP", groundingMetadata=grounding)
    )
    assert found.answer.citations == (
        Citation(url="https://a.example", title="A", start=6, end=11),
        Citation(url="https://a.example", title="A", start=12, end=16),
        Citation(url="stores/b", title="B"),
    )
    assert found.answer.text[6:11] == "Öl is"


def test_sources_that_are_recited_are_citations() -> None:
    told = {"citationSources": [{"startIndex": 2, "endIndex": 4, "uri": "https://a.example"}, {"license": "mit"}]}
    found = whole(chunk({"text": "ä b"}, citationMetadata=told), chunk(finishReason="STOP"))
    assert found.answer.citations == (Citation(url="https://a.example", start=1, end=3),)


@pytest.mark.parametrize(
    "told", [{"citationSources": "none"}, {"citationSources": [{"uri": "u", "endIndex": 1, "title": {}}, 5]}]
)
def test_sources_nobody_can_read_do_not_break_an_answer(told: Any) -> None:
    found = whole(chunk({"text": "ab"}, citationMetadata=told, finishReason="STOP"))
    assert found.answer.text == "ab"
    assert [loss.field for loss in found.losses] == ["answer.citations"]


def test_parts_that_have_no_place_are_losses_of_the_answer() -> None:
    found = whole(
        chunk(
            {"executableCode": {"language": "PYTHON", "code": "1"}}, {"codeExecutionResult": {"outcome": "OUTCOME_OK"}}
        ),
        chunk({"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "thoughtSignature": "s"}, {"text": "so"}),
        chunk({"text": ""}, finishReason="STOP"),
    )
    assert found.answer.text == "so"
    assert [loss.field for loss in found.losses] == ["answer.content"] * 3
    assert "inlineData" in found.losses[2].detail


F, K = FinishReason, FailureKind


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("STOP", F.STOP),
        ("MAX_TOKENS", F.LENGTH),
        ("CONTINUATION", F.LENGTH),
        *((word, F.CONTENT_FILTER) for word in ("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT")),
        *((word, F.CONTENT_FILTER) for word in ("SPII", "MODEL_ARMOR", "ESCALATION", "IMAGE_SAFETY")),
        *((word, F.CONTENT_FILTER) for word in ("IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION")),
        *((word, K.MODEL_OUTPUT_INVALID) for word in ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL")),
        *((word, K.MODEL_OUTPUT_INVALID) for word in ("TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE")),
        ("MISSING_THOUGHT_SIGNATURE", K.MODEL_OUTPUT_INVALID),
        *((word, K.SERVER_ERROR) for word in ("OTHER", "IMAGE_OTHER", "NO_IMAGE", "FINISH_REASON_UNSPECIFIED")),
        ("PUP_LIMITED_DISABLED", K.PERMISSION),
        ("A_WORD_OF_TOMORROW", F.ERROR),
    ],
)
def test_every_reason_to_stop_has_a_meaning(word: str, meaning: FinishReason | FailureKind) -> None:
    found = read(chunk({"text": "so"}, finishReason=word))
    assert (found.kind if isinstance(found, Failure) else found.finish_reason) is meaning


def test_every_reason_the_vendors_sdk_knows_is_known_here() -> None:
    types = pytest.importorskip("google.genai.types")
    unknown = {
        word.value
        for word in types.FinishReason
        if isinstance(found := read(chunk({"text": "so"}, finishReason=word.value)), Decoded)
        and found.finish_reason is F.ERROR
    }
    assert not unknown


def test_a_blocked_prompt_is_refused_for_its_content() -> None:
    found = read({"promptFeedback": {"blockReason": "JAILBREAK"}, "usageMetadata": {"promptTokenCount": 3}})
    assert isinstance(found, Failure)
    assert (found.kind, found.code) == (K.CONTENT_POLICY, "JAILBREAK")


def test_a_stream_that_is_one_array_is_read_the_same() -> None:
    chunks = [chunk({"text": "a"}), chunk({"text": "b"}, finishReason="STOP")]
    reader = decoder("gemini", content_type="application/json")
    reader.feed(json.dumps(chunks).encode())
    found = reader.finish()
    assert isinstance(found, Decoded)
    assert found.answer == whole(*chunks).answer


def test_usage_counts_thoughts_tools_and_the_cache_once() -> None:
    told = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 60,
        "toolUsePromptTokenCount": 7,
        "candidatesTokenCount": 10,
        "thoughtsTokenCount": 5,
        "totalTokenCount": 122,
    }
    usage = whole({**chunk({"text": "a"}, finishReason="STOP"), "usageMetadata": told}).usage
    assert (usage.input, usage.output, usage.cache_read, usage.reasoning) == (107, 15, 60, 5)
    assert usage.total == told["totalTokenCount"]


def test_log_probabilities_come_with_their_alternatives() -> None:
    told = {
        "chosenCandidates": [{"token": "a", "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "b", "logProbability": -1}]}],
    }
    found = whole(chunk({"text": "a"}, finishReason="STOP", avgLogprobs=-0.5, logprobsResult=told))
    assert found.answer.logprobs == (TokenLogprob(token="a", logprob=-0.5, top=(("b", -1.0),)),)
