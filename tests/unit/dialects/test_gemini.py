from __future__ import annotations

import json
from typing import Any

import pytest

from job_contracts.chat import Conversation, FinishReason, ReasoningPart, TextPart, TokenLogprob, ToolCallPart, Usage
from job_contracts.failures import Failure, FailureKind
from tests.unit.dialects.samples import decoder, sse, target
from workers.dialects import DIALECTS
from workers.dialects.encoding import Losses
from workers.dialects.gemini_schema import openapi_subset
from workers.dialects.port import Decoded, Encoded, Target

DIALECT = DIALECTS["gemini"]
TOOL = {"name": "look_up", "description": "Looks up.", "parameters": {"type": "object"}}
PLAIN = [{"role": "user", "content": "hi"}]


def encoded(messages: Any = PLAIN, tools: Any = (), of: Target | None = None, **settings: Any) -> Encoded:
    values = {"messages": messages, "tools": tools, "settings": settings}
    return DIALECT.encode(Conversation.model_validate(values), of or target("gemini"))


def body(*args: Any, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encoded(*args, **options).body)
    return found


def lost(one: Encoded) -> list[tuple[str, str]]:
    return [(loss.kind, loss.field) for loss in one.losses]


def test_a_plain_question() -> None:
    one = encoded([{"role": "system", "content": "Be brief."}, *PLAIN], max_tokens=5, top_p=0.5, seed=3, stop=["END"])
    assert one.path == "/models/gemini-2.5-flash:generateContent"
    assert json.loads(one.body) == {
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": {"maxOutputTokens": 5, "topP": 0.5, "seed": 3, "stopSequences": ["END"]},
    }
    assert one.losses == ()


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-2.5-flash", "/models/gemini-2.5-flash"),
        ("models/gemini-2.5-flash", "/models/gemini-2.5-flash"),
        ("tunedModels/mine", "/tunedModels/mine"),
        ("a b?c", "/models/a%20b%3Fc"),
    ],
)
def test_the_model_is_in_the_path(model: str, path: str) -> None:
    assert encoded(of=target("gemini", model, stream=True)).path == f"{path}:streamGenerateContent?alt=sse"


CALLS = [
    *PLAIN,
    {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "Let me see."},
            {"type": "reasoning", "signature": "of the text", "origin": "gemini-3"},
            {
                "type": "tool_call",
                "id": "a",
                "name": "look_up",
                "arguments": '{"q": 1}',
                "signature": "s",
                "origin": "gemini-3",
            },
            {"type": "tool_call", "id": "b", "name": "find"},
        ],
    },
    {"role": "tool", "tool_call_id": "a", "content": '{"found": [1]}'},
    {
        "role": "tool",
        "tool_call_id": "b",
        "content": [{"type": "text", "text": "no"}, {"type": "image", "data": "AAAA", "media_type": "image/png"}],
        "is_error": True,
    },
    {"role": "user", "content": "and?"},
]


def test_calls_and_results_with_ids_signatures_and_images() -> None:
    one = encoded(CALLS, [TOOL], of=target("gemini", "gemini-3-flash"))
    _, said, results, asked = json.loads(one.body)["contents"]
    assert said == {
        "role": "model",
        "parts": [
            {"text": "Let me see.", "thoughtSignature": "of the text"},
            {"functionCall": {"name": "look_up", "args": {"q": 1}, "id": "a"}, "thoughtSignature": "s"},
            {"functionCall": {"name": "find", "args": {}, "id": "b"}},
        ],
    }
    assert results["role"] == "user"
    assert results["parts"] == [
        {"functionResponse": {"name": "look_up", "response": {"found": [1]}, "id": "a"}},
        {
            "functionResponse": {
                "name": "find",
                "response": {"error": "no"},
                "id": "b",
                "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}],
            }
        },
    ]
    assert asked == {"role": "user", "parts": [{"text": "and?"}]}
    assert one.losses == ()


def test_older_models_get_no_ids_and_see_images_of_results_beside_them() -> None:
    one = encoded(CALLS, [TOOL])
    _, said, results, _ = json.loads(one.body)["contents"]
    assert said["parts"] == [
        {"text": "Let me see."},
        {"functionCall": {"name": "look_up", "args": {"q": 1}}},
        {"functionCall": {"name": "find", "args": {}}},
    ]
    assert [next(iter(part)) for part in results["parts"]] == ["functionResponse", "functionResponse", "inlineData"]
    assert set(lost(one)) == {
        ("dropped", "messages[1].reasoning"),
        ("dropped", "messages[1].tool_call.signature"),
        ("converted", "messages[3].content"),
    }


def test_the_first_call_of_another_model_bears_a_stand_in_where_one_is_wanted() -> None:
    calls = [{"type": "tool_call", "id": id_, "name": "look_up", "signature": "s", "origin": "claude"} for id_ in "ab"]
    results = [{"role": "tool", "tool_call_id": id_, "content": "r"} for id_ in "ab"]
    turns = [*PLAIN, {"role": "assistant", "content": calls}, *results]
    one = encoded(turns, of=target("gemini", "gemini-3-pro-preview"))
    first, second = json.loads(one.body)["contents"][1]["parts"]
    assert first["thoughtSignature"] == "skip_thought_signature_validator"
    assert "thoughtSignature" not in second
    assert lost(one) == [("dropped", "messages[1].tool_call.signature")] * 2


def test_a_result_without_a_call_is_sent_as_the_users_text() -> None:
    one = encoded([*PLAIN, {"role": "tool", "tool_call_id": "x", "content": "r", "name": "look_up"}])
    assert json.loads(one.body)["contents"][1] == {"role": "user", "parts": [{"text": "r"}]}
    assert lost(one) == [("converted", "messages[1]")]


def test_images_by_address_say_their_kind_where_it_shows() -> None:
    images = [
        {"type": "image", "url": "https://example.com/a.PNG?size=1"},
        {"type": "image", "url": "https://example.com/a"},
        {"type": "image", "url": "data:image/webp;base64,AAAA", "detail": "high"},
    ]
    one = encoded([{"role": "user", "content": images}])
    assert json.loads(one.body)["contents"][0]["parts"] == [
        {"fileData": {"fileUri": "https://example.com/a.PNG?size=1", "mimeType": "image/png"}},
        {"fileData": {"fileUri": "https://example.com/a"}},
        {"inlineData": {"mimeType": "image/webp", "data": "AAAA"}},
    ]
    assert lost(one) == [("dropped", "messages[0].content.detail")]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ({"name": "look_up"}, {"mode": "ANY", "allowedFunctionNames": ["look_up"]}),
    ],
)
def test_tool_choice(choice: Any, sent: dict[str, Any]) -> None:
    one = encoded(tools=[TOOL], tool_choice=choice, parallel_tool_calls=False)
    assert json.loads(one.body)["toolConfig"] == {"functionCallingConfig": sent}
    assert lost(one) == [("dropped", "settings.parallel_tool_calls")]


def test_schemas_go_whole_to_new_models_and_cut_to_old_ones() -> None:
    schema = {"type": "object", "properties": {"a": {"type": ["string", "null"], "const": "x"}}, "not": {}}
    form = {"type": "json_schema", "json_schema": schema}
    tools = [{"name": "f", "parameters": schema}]
    new = body(tools=tools, response_format=form, of=target("gemini", "gemini-3-flash"))
    kept = {"type": "object", "properties": {"a": {"type": ["string", "null"], "enum": ["x"]}}}
    assert new["generationConfig"] == {"responseMimeType": "application/json", "responseJsonSchema": kept}
    assert new["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"] == schema
    cut = {"type": "object", "properties": {"a": {"nullable": True, "type": "string", "enum": ["x"]}}}
    for asked, place in (
        ({"response_format": form}, "settings.response_format.json_schema"),
        (
            {"tools": tools},
            "tools.f.parameters",
        ),
    ):
        one = encoded(**asked, of=target("gemini", "gemini-2.0-flash"))
        old = json.loads(one.body)
        assert cut in (
            old.get("generationConfig", {}).get("responseSchema"),
            old.get("tools", [{}])[0].get("functionDeclarations", [{}])[0].get("parameters"),
        )
        assert lost(one) == [("dropped", place), ("rewritten", place)]
        assert one.losses[0].detail == "no word for not"
    assert body(response_format={"type": "json_object"})["generationConfig"] == {"responseMimeType": "application/json"}


def test_references_are_put_in_their_place_and_circles_are_cut() -> None:
    losses = Losses()
    schema = {"$defs": {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}}}, "$ref": "#/$defs/n"}
    cut = openapi_subset(schema, losses, "f")
    assert cut["properties"]["next"]["properties"]["next"]["type"] == "object"
    assert "$ref" not in json.dumps(cut)
    assert [loss.detail for loss in losses] == ["no word for $ref (recursive)", "references put in their place"]
    wide = openapi_subset(
        {"oneOf": [{"type": "string"}, {"$ref": "#/nowhere"}], "allOf": [{"title": "t"}], "items": {"const": "1"}},
        losses,
        "f",
    )
    assert wide == {"anyOf": [{"type": "string"}, {}], "title": "t", "items": {"enum": ["1"], "type": "string"}}
    assert openapi_subset({"type": ["string", "number"]}, losses, "f") == {
        "anyOf": [{"type": "string"}, {"type": "number"}]
    }


def test_definitions_that_refer_to_one_another_do_not_grow_without_bound() -> None:
    losses = Losses()
    names = [f"d{n}" for n in range(12)]
    of_all = {"type": "object", "properties": {name: {"$ref": f"#/$defs/{name}"} for name in names}}
    cut = openapi_subset({"$defs": dict.fromkeys(names, of_all), "$ref": "#/$defs/d0"}, losses, "f")
    assert len(json.dumps(cut)) < 200_000
    assert "$ref" not in json.dumps(cut)
    assert [loss.kind for loss in losses] == ["dropped", "rewritten"]
    chain = {f"d{n}": {"type": "array", "items": {"$ref": f"#/$defs/d{n + 1}"}} for n in range(400)}
    assert openapi_subset({"$defs": chain, "$ref": "#/$defs/d0"}, losses, "f")["type"] == "array"
    ring = {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}
    assert openapi_subset({"$defs": ring, "$ref": "#/$defs/a"}, losses, "f") == {"type": "object"}


@pytest.mark.parametrize(
    ("model", "effort", "sent", "kinds"),
    [
        ("gemini-2.5-flash", "medium", {"thinkingBudget": 8192, "includeThoughts": True}, []),
        ("gemini-2.5-flash", "max", {"thinkingBudget": 24576, "includeThoughts": True}, ["clamped"]),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}, []),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}, ["clamped"]),
        ("gemini-3-pro-preview", "medium", {"thinkingLevel": "high", "includeThoughts": True}, ["clamped"]),
        ("gemini-3-flash", "minimal", {"thinkingLevel": "minimal", "includeThoughts": True}, []),
        ("gemini-2.0-flash", "low", None, ["dropped"]),
    ],
)
def test_effort_as_a_budget_or_a_level(model: str, effort: str, sent: Any, kinds: list[str]) -> None:
    one = encoded(of=target("gemini", model), reasoning_effort=effort)
    assert json.loads(one.body).get("generationConfig", {}).get("thinkingConfig") == sent
    assert [loss.kind for loss in one.losses] == kinds


def test_turns_without_words_are_left_out() -> None:
    one = encoded(
        [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}, {"role": "system", "content": "s"}]
    )
    assert json.loads(one.body)["contents"] == [{"role": "user", "parts": [{"text": "s"}]}]
    assert [loss.kind for loss in one.losses] == ["dropped", "dropped", "converted"]


# -- answers


def chunk(*parts: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "responseId": "r", **more}


def outcome(*chunks: Any, model: str = "gemini-3-flash") -> Decoded | Failure:
    reader = decoder("gemini", content_type="text/event-stream", of=target("gemini", model))
    reader.feed(sse(*chunks))
    return reader.finish()


def decoded(*chunks: Any) -> Decoded:
    found = outcome(*chunks)
    assert isinstance(found, Decoded), found
    return found


def test_thoughts_text_and_calls_with_their_signatures() -> None:
    found = decoded(
        chunk({"text": "hm", "thought": True}),
        chunk({"text": "so"}, {"text": "", "thoughtSignature": "of the text"}),
        chunk({"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "s"}),
        chunk({"functionCall": {"name": "f", "args": {"a": 1}}}, {"executableCode": {"code": "1"}}, finish="STOP"),
    )
    first, second = found.answer.tool_calls
    assert found.answer.parts[:4] == (
        ReasoningPart(text="hm"),
        TextPart(text="so"),
        ReasoningPart(signature="of the text", origin="gemini-3"),
        ToolCallPart(id=first.id, name="f", arguments='{"a":1}', signature="s", origin="gemini-3"),
    )
    assert first.id != second.id
    assert found.finish_reason is FinishReason.TOOL_CALLS
    assert found.finish_raw == "STOP"


def test_a_call_in_pieces_is_put_together() -> None:
    def piece(path: str, more: bool = True, **value: Any) -> dict[str, Any]:
        return {"functionCall": {"partialArgs": [{"jsonPath": path, **value}], "willContinue": more}}

    found = decoded(
        chunk({"functionCall": {"name": "f", "willContinue": True}}),
        chunk(piece("$.city", stringValue="Bos")),
        chunk(piece("$.city", stringValue="ton")),
        chunk(piece("$.at[0].x", numberValue=1)),
        chunk(piece("$.at[0].y", boolValue=True)),
        chunk(piece("$.at[1].x", numberValue=2)),
        chunk(piece("$['odd name']", stringValue="v")),
        chunk({"functionCall": {}}),
        chunk({"functionCall": {"name": "g", "args": {}}}, finish="STOP"),
    )
    assert [(call.name, json.loads(call.arguments)) for call in found.answer.tool_calls] == [
        ("f", {"city": "Boston", "at": [{"x": 1, "y": True}, {"x": 2}], "odd name": "v"}),
        ("g", {}),
    ]


@pytest.mark.parametrize("path", ["", "$", "$.a[7]", "$[0]", "$[0].a", "$.a.b[3].c"])
def test_a_piece_for_a_place_that_cannot_be_is_malformed(path: str) -> None:
    pieces = {
        "functionCall": {"name": "f", "partialArgs": [{"jsonPath": path, "stringValue": "x"}], "willContinue": True}
    }
    found = outcome(chunk(pieces, finish="STOP"))
    assert isinstance(found, Failure)
    assert found.kind is FailureKind.MALFORMED_RESPONSE


def test_usage_counts_thoughts_and_what_tools_put_into_the_prompt() -> None:
    usage = {
        "promptTokenCount": 10,
        "candidatesTokenCount": 4,
        "thoughtsTokenCount": 6,
        "cachedContentTokenCount": 8,
        "toolUsePromptTokenCount": 3,
    }
    found = decoded(chunk({"text": "x"}, finish="STOP", usageMetadata=usage))
    assert found.usage == Usage(input=13, output=10, cache_read=8, reasoning=6)


def test_a_blocked_prompt_is_a_failure_and_a_blocked_answer_is_filtered() -> None:
    blocked = outcome(
        {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 8}}
    )
    assert isinstance(blocked, Failure)
    assert (blocked.kind, blocked.code) == (FailureKind.CONTENT_POLICY, "PROHIBITED_CONTENT")
    filtered = decoded({"candidates": [{"finishReason": "SAFETY"}], "usageMetadata": {"promptTokenCount": 8}})
    assert (filtered.finish_reason, filtered.answer.parts) == (FinishReason.CONTENT_FILTER, ())


def test_log_probabilities() -> None:
    found = {
        "chosenCandidates": [{"token": "x", "logProbability": -0.1}],
        "topCandidates": [{"candidates": [{"token": "y", "logProbability": -2}]}],
    }
    last = chunk({"text": "x"}, finish="STOP")
    last["candidates"][0]["logprobsResult"] = found
    assert decoded(last).answer.logprobs == (TokenLogprob(token="x", logprob=-0.1, top=(("y", -2.0),)),)


def test_a_json_array_of_chunks_is_read_as_the_stream_it_is() -> None:
    reader = decoder("gemini", content_type="application/json")
    reader.feed(json.dumps([chunk({"text": "a"}), chunk({"text": "b"}, finish="STOP")]).encode())
    found = reader.finish()
    assert isinstance(found, Decoded)
    assert found.answer.text == "ab"
