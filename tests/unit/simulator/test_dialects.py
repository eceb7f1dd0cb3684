"""Reading requests: what each provider refuses, and that nothing a client sends can do worse than be refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.answers import compose, fingerprint
from simulator.call import WRONG_SHAPE
from simulator.conversation import Ask, Refusal, Stamp
from simulator.dialects import make_dialect
from simulator.dialects.dialect import Dialect, Route
from simulator.dialects.openai.errors import go_duration
from simulator.meter import Usage
from simulator.settings import DialectName, ProviderSettings
from simulator.wire import Request

STAMP = Stamp("0" * 24, 1_750_000_000)
PATHS: dict[DialectName, str] = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/m:generateContent",
}
USER = {"role": "user", "content": "hello"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
USING = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "ok"}]}


def dialect(name: DialectName, **settings: Any) -> Dialect:
    return make_dialect(ProviderSettings(name="p", dialect=name, **settings))


def read(name: DialectName, body: Any, **settings: Any) -> Ask | Refusal:
    one = dialect(name, **settings)
    headers = {b"anthropic-version": b"2023-06-01"}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = Request("POST", PATHS[name], "", headers, data)
    route = one.route(request)
    assert isinstance(route, Route)
    return one.read(request, route)


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [USER], **fields}


def message(**fields: Any) -> dict[str, Any]:
    return {"model": "claude", "max_tokens": 100, "messages": [USER], **fields}


def content(**fields: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": "hello"}]}], **fields}


def config(**fields: Any) -> dict[str, Any]:
    return content(generationConfig=fields)


STRICT = {"name": "s", "strict": True, "schema": {"type": "object", "properties": {"a": {}}}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "could not parse"),
        (b"[1]", "could not parse"),
        ({"messages": [USER]}, "must provide a model"),
        ({"model": "m"}, "Missing required parameter: 'messages'"),
        (chat(messages=[]), "empty array"),
        (chat(messages=[{"role": "robot", "content": "x"}]), "Invalid value: 'robot'"),
        (chat(messages=[{"role": "user", "content": None}]), "expected a string, got null"),
        (chat(messages=[{"role": "user", "content": [{"type": "smell"}]}]), "Invalid value: 'smell'"),
        (chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]), "valid URL"),
        (chat(messages=[CALLING, USER]), "must be followed by tool messages"),
        (chat(messages=[USER, CALLING]), "must be followed by tool messages"),
        (chat(messages=[{"role": "tool", "tool_call_id": "c1", "content": "x"}]), "must be a response"),
        (chat(tools=[{"type": "function"}]), "Missing required parameter: 'tools[0].function'"),
        (chat(tools=[TOOL], tool_choice="must"), "Invalid value: 'must'"),
        (chat(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "g"}}), "no function named 'g'"),
        (chat(stream_options={"include_usage": True}), "only allowed when 'stream'"),
        (chat(stop=list("abcde")), "array too long"),
        (chat(temperature=2.5), "above maximum"),
        (chat(max_tokens=0), "value >= 1"),
        (chat(n=2), "one choice"),
        (chat(reasoning_effort="huge"), "Invalid value: 'huge'"),
        (chat(response_format={"type": "json_object"}), "must contain the word 'json'"),
        (chat(response_format={"type": "yaml"}), "Invalid value: 'yaml'"),
        (chat(response_format={"type": "json_schema", "json_schema": {}}), "json_schema.name"),
        (chat(response_format={"type": "json_schema", "json_schema": STRICT}), "Missing 'a'"),
        (chat(model="gpt-5-mini", max_tokens=5), "Use 'max_completion_tokens' instead"),
        (chat(model="o3", temperature=0.5), "'temperature' does not support 0.5"),
        (chat(model="o3", stop=["x"]), "'stop' is not supported"),
        (chat(model="m+nonsense=1"), "nonsense"),
    ],
)
def test_openai_refuses(body: Any, words: str) -> None:
    assert_refused("openai", body, words)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not valid JSON"),
        (message(seed=1), "seed: Extra inputs are not permitted"),
        ({"model": "m", "messages": [USER]}, "max_tokens: Field required"),
        (message(max_tokens=0), "greater than or equal to 1"),
        ({"max_tokens": 1, "messages": [USER]}, "model: Field required"),
        (message(messages=[]), "at least one message"),
        (message(messages=[{"role": "system", "content": "x"}]), "'user' or 'assistant'"),
        (message(messages=[{"role": "assistant", "content": "x"}]), 'must use the "user" role'),
        (message(messages=[{"role": "user", "content": ""}]), "non-empty content"),
        (message(messages=[USER, {"role": "assistant", "content": "so "}]), "trailing whitespace"),
        (message(messages=[{"role": "user", "content": [{"type": "smell"}]}]), "Input tag 'smell'"),
        (message(messages=[USER, USING, USER]), "without `tool_result` blocks"),
        (message(messages=[USER, USING]), "without `tool_result` blocks"),
        (message(messages=[USER, {"role": "assistant", "content": "x"}, RESULT]), "unexpected `tool_use_id`"),
        (message(messages=[{"role": "user", "content": [{"type": "image", "source": {"type": "x"}}]}]), "source"),
        (message(tools=[{"name": "f"}]), "input_schema: Field required"),
        (message(tool_choice={"type": "any"}), "while providing tools"),
        (message(tools=[{"name": "f", "input_schema": {}}], tool_choice={"type": "must"}), "'must'"),
        (message(temperature=1.5), "range: 0..1"),
        (message(stop_sequences=[" "]), "non-whitespace"),
        (message(thinking={"type": "enabled", "budget_tokens": 10}), "greater than or equal to 1024"),
        (message(thinking={"type": "enabled", "budget_tokens": 1_024}), "greater than `thinking.budget_tokens`"),
        (message(thinking={"type": "adaptive"}, temperature=0.5), "only be set to 1"),
        (message(output_config={"effort": "huge"}), "effort"),
    ],
)
def test_anthropic_refuses(body: Any, words: str) -> None:
    assert_refused("anthropic", body, words)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "Invalid JSON payload"),
        (content(nonsense=1), 'Unknown name "nonsense"'),
        (config(nonsense=1), "Unknown name \"nonsense\" at 'generation_config'"),
        ({"contents": []}, "contents is not specified"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "valid role: user, model"),
        ({"contents": [{"role": "user", "parts": []}]}, "must not be empty"),
        ({"contents": [{"role": "user", "parts": [{}]}]}, "required oneof field 'data'"),
        ({"contents": [{"role": "user", "parts": [{"smell": 1}]}]}, 'Unknown name "smell"'),
        ({"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f"}}]}]}, "function response parts"),
        ({"contents": [{"role": "user", "parts": [{"functionResponse": {"name": "f"}}]}]}, "immediately after"),
        (content(tools=[{"functionDeclarations": [{}]}]), "must not be empty"),
        (content(toolConfig={"functionCallingConfig": {"mode": "MUST"}}), "MUST"),
        (config(maxOutputTokens=0), "less than 1"),
        (config(stopSequences=list("abcdef")), "stop_sequences"),
        (config(temperature=2.5), "temperature"),
        (config(responseSchema={"type": "OBJECT"}), "response_mime_type application/json"),
    ],
)
def test_gemini_refuses(body: Any, words: str) -> None:
    assert_refused("gemini", body, words)


def assert_refused(name: DialectName, body: Any, words: str) -> None:
    refusal = read(name, body)
    assert isinstance(refusal, Refusal)
    reply = dialect(name).error(refusal, STAMP, None)
    assert reply.status == 400
    said = json.loads(reply.body)["error"]["message"]
    assert words in said or words in refusal.message


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("openai", chat(model="gpt-5-mini", max_completion_tokens=5, temperature=1)),
        ("openai", chat(model="gpt-5.1", reasoning_effort="none", temperature=0.2)),
        ("openai", chat(messages=[USER, CALLING, {"role": "tool", "tool_call_id": "c1", "content": "ok"}])),
        ("openai", chat(tools=[TOOL], tool_choice="required", parallel_tool_calls=False)),
        ("openai", chat(response_format={"type": "text"}, metadata={}, user="u", store=False)),
        ("anthropic", message(messages=[USER, USING, RESULT], tools=[{"name": "f", "input_schema": {}}])),
        ("anthropic", message(system=[{"type": "text", "text": "be brief"}], temperature=0.2, top_k=3)),
        ("anthropic", message(tools=[{"type": "web_search_20250305", "name": "web_search"}])),
        ("gemini", config(max_output_tokens=5, stop_sequences=["x"], response_mime_type="application/json")),
        ("gemini", content(system_instruction={"parts": [{"text": "be brief"}]}, safetySettings=[])),
        ("gemini", content(tool_config={"function_calling_config": {"mode": "none"}})),
    ],
)
def test_what_the_provider_takes_is_taken(name: DialectName, body: Any) -> None:
    assert isinstance(read(name, body), Ask)


def test_a_provider_that_is_not_strict_shrugs() -> None:
    assert isinstance(read("openai", chat(model="o3", max_tokens=5), strict=False), Ask)
    assert isinstance(read("anthropic", message(seed=1), strict=False), Ask)
    assert isinstance(read("gemini", content(nonsense=1), strict=False), Ask)


def test_the_turn_is_the_last_thing_the_user_said_and_nothing_after_a_tool_result() -> None:
    result = {"role": "tool", "tool_call_id": "c1", "content": "use the tool"}
    for body, turn in (
        (chat(messages=[{"role": "system", "content": "s"}, USER]), "hello"),
        (chat(messages=[USER, CALLING, result]), ""),
    ):
        ask = read("openai", body)
        assert isinstance(ask, Ask)
        assert ask.turn == turn


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(-3, 3)
    | st.sampled_from(["", "user", "text", "auto", "m"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "type", "text"]), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = {
    "openai": ["messages", "tools", "tool_choice", "stop", "response_format", "stream_options", "temperature", "seed"],
    "anthropic": [
        "messages",
        "system",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "stop_sequences",
        "stream",
    ],
    "gemini": ["contents", "systemInstruction", "tools", "toolConfig", "generationConfig"],
}
BODIES: dict[DialectName, dict[str, Any]] = {"openai": chat(), "anthropic": message(), "gemini": content()}


@pytest.mark.parametrize("name", ["openai", "anthropic", "gemini"])
@given(st.data())
def test_a_field_of_the_wrong_shape_is_never_worse_than_a_refusal(name: DialectName, data: st.DataObject) -> None:
    changed = data.draw(st.dictionaries(st.sampled_from(FIELDS[name]), json_values, min_size=1, max_size=3))
    try:
        ask = read(name, {**BODIES[name], **changed})
        if isinstance(ask, Ask):
            answer = compose(ask, fingerprint(ask), ProviderSettings(name="p", dialect=name).answer)
            usage = Usage(1, 0, 0, answer.output_tokens, len(answer.thoughts))
            json.loads(dialect(name).whole(ask, answer, usage, STAMP))
            script = dialect(name).script(ask, answer, usage, STAMP)
            assert sum(frame.tokens for frame in script.content) == usage.all_output
    except WRONG_SHAPE:
        pass  # becomes a refusal where the provider reads


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0061, "7ms"),
        (0.006, "6ms"),
        (1.198, "1.198s"),
        (8.64, "8.64s"),
        (60, "1m0s"),
        (432, "7m12s"),
        (35_647.2, "9h54m7.2s"),
    ],
)
def test_a_duration_is_written_as_go_does(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text
