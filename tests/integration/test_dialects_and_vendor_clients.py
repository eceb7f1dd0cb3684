"""Our dialects and the vendors' own clients: what we ask the client can ask, and both read the same in the answer."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from google import genai
from google.genai import types
from google.oauth2.credentials import Credentials

from catalogue.load import providers
from job_contracts.chat import Answer, Conversation, ReasoningPart, TextPart, ToolCallPart, Usage
from simulator import Settings, Simulator
from tests.conformance.essence import essence
from tests.support.wiretap import Wiretap
from workers.dialects import DIALECTS
from workers.dialects.port import Decoded, Encoded, Target

# Google's client subclasses aiohttp's session, which aiohttp discourages.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")

KEY = "sk-of-a-test"
LAKE = {"type": "object", "properties": {"name": {"type": "string"}, "depth": {"type": "integer", "minimum": 1}}}
WEATHER = {
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "cache": "1h",
}
LONG = "All of this is said again and again. " * 150

ASKED: dict[str, dict[str, Any]] = {
    "text": {"messages": [{"role": "user", "content": "Tell me of the sea."}], "settings": {"max_tokens": 50}},
    "reasoning": {
        "messages": [{"role": "user", "content": "Tell me of the sea."}],
        "settings": {"reasoning_budget": 2000, "max_tokens": 4000},
    },
    "a tool, cached": {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": LONG, "cache": "1h"}]},
            {"role": "user", "content": "What is the weather in Oslo?"},
        ],
        "tools": [WEATHER],
        "settings": {"tool_choice": "required"},
    },
    "a schema": {
        "messages": [{"role": "user", "content": "Name a lake."}],
        "settings": {"response_format": {"type": "json_schema", "json_schema": LAKE}, "top_k": 5},
    },
    "documents": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "file", "data": "JVBERi0=", "media_type": "application/pdf", "name": "a.pdf"},
                    {"type": "file", "data": "aGVsbG8=", "media_type": "text/csv", "cache": "5m"},
                    {"type": "image", "data": "iVBORw0KGgo=", "media_type": "image/png"},
                    {"type": "text", "text": "What is in them?"},
                ],
            }
        ]
    },
    "a history that was cut": {
        "messages": [
            {"role": "tool", "tool_call_id": "gone", "content": "rain"},
            {"role": "assistant", "content": [{"type": "tool_call", "id": "a", "name": "weather"}]},
            {"role": "user", "content": "And?"},
        ],
        "tools": [WEATHER],
    },
}
every_question = pytest.mark.parametrize("asked", ASKED)
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
Read = tuple[list[Any], str | None, dict[str, int]]
"""Parts, the reason to stop in the vendor's word, and usage."""


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(Settings(longest_hold=5.0)) as one:
        yield one


def target(provider: str, model: str, *, stream: bool) -> Target:
    row = providers()[provider]
    return Target(row, row.model(model), stream=stream)


def dialect_of(chosen: Target) -> str:
    return chosen.model.dialect or chosen.provider.dialect


def encoded(chosen: Target, asked: str) -> Encoded:
    return DIALECTS[dialect_of(chosen)].encode(Conversation.model_validate(ASKED[asked]), chosen)


def ours(chosen: Target, one: Encoded, tap: Wiretap) -> Read:
    """What our dialect reads in the answer that the client got."""
    decoder = DIALECTS[dialect_of(chosen)].decoder(chosen, content_type=tap.media_type, names=one.names)
    decoder.feed(tap.answered)
    found = decoder.finish()
    assert isinstance(found, Decoded), found
    return _parts(found.answer), found.finish_raw, _usage(found.usage)


def _parts(answer: Answer) -> list[Any]:
    parts: list[Any] = []
    for part in answer.parts:
        match part:
            case TextPart():
                parts.append(("text", part.text))
            case ReasoningPart():
                parts.append(("reasoning", part.text, part.signature))
            case ToolCallPart():
                parts.append(("call", part.name, json.loads(part.arguments), part.signature))
    return parts


def _usage(usage: Usage) -> dict[str, int]:
    return usage.model_dump(include={"input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning"})


# -- Anthropic

_SAMPLING = ("temperature", "top_p", "top_k")


async def _message(client: Any, body: dict[str, Any], *, stream: bool) -> anthropic.types.Message:
    """The client has no words of its own for sampling any more."""
    sent = {name: value for name, value in body.items() if name != "stream" and name not in _SAMPLING}
    sent["extra_body"] = {name: body[name] for name in (*_SAMPLING, "anthropic_version") if name in body}
    sent.pop("anthropic_version", None)
    found: anthropic.types.Message
    if stream:
        async with client.messages.stream(**sent) as events:
            found = await events.get_final_message()
    else:
        found = await client.messages.create(**sent, timeout=10)
    return found


def of_anthropic(message: anthropic.types.Message) -> Read:
    parts: list[Any] = []
    for block in message.content:
        match block.type:
            case "text":
                parts.append(("text", block.text))
            case "thinking":
                parts.append(("reasoning", block.thinking, block.signature))
            case "tool_use":
                parts.append(("call", block.name, block.input, None))
    told = message.usage
    read, wrote = told.cache_read_input_tokens or 0, told.cache_creation_input_tokens or 0
    usage = Usage(
        input=told.input_tokens + read + wrote,
        output=told.output_tokens,
        cache_read=read,
        cache_write=wrote,
        cache_write_1h=told.cache_creation.ephemeral_1h_input_tokens if told.cache_creation else 0,
        reasoning=told.output_tokens_details.thinking_tokens if told.output_tokens_details else 0,
    )
    return parts, message.stop_reason, _usage(usage)


@every_question
@both_ways
@pytest.mark.parametrize("model", ["claude-haiku-4-5", "claude-opus-5"])
async def test_anthropics_client_asks_and_reads_the_same(
    simulator: Simulator, asked: str, model: str, stream: bool
) -> None:
    chosen = target("anthropic", model, stream=stream)
    one = encoded(chosen, asked)
    body = json.loads(one.body)
    async with (
        Wiretap(simulator.base_url("anthropic")) as tap,
        anthropic.AsyncAnthropic(base_url=tap.url, api_key=KEY, max_retries=0) as client,
    ):
        theirs = of_anthropic(await _message(client, body, stream=stream))
    assert tap.path == f"/v1{one.path}"
    assert essence("anthropic", tap.asked) == essence("anthropic", body)
    assert ours(chosen, one, tap) == theirs


@every_question
@both_ways
async def test_anthropics_client_for_vertex_asks_and_reads_the_same(
    simulator: Simulator, asked: str, stream: bool
) -> None:
    model = "claude-haiku-4-5@20251001"
    chosen = target("vertex", model, stream=stream)
    one = encoded(chosen, asked)
    body = json.loads(one.body)
    async with (
        Wiretap(simulator.base_url("anthropic")) as tap,
        anthropic.AsyncAnthropicVertex(
            region="us-east5", project_id="p", access_token=KEY, base_url=f"{tap.url}/v1", max_retries=0
        ) as client,
    ):
        theirs = of_anthropic(await _message(client, {**body, "model": model}, stream=stream))
    assert tap.path == f"/v1/projects/p/locations/us-east5{one.path}"
    assert "model" not in tap.asked
    assert essence("anthropic", tap.asked) == essence("anthropic", body)
    assert ours(chosen, one, tap) == theirs


# -- Google


def of_gemini(chunks: list[types.GenerateContentResponse]) -> Read:
    """Chunks as the client gives them, put together; a whole answer is one."""
    parts: list[Any] = []
    for chunk in chunks:
        for part in chunk.parts or ():
            signature = base64.b64encode(part.thought_signature).decode() if part.thought_signature else None
            if part.function_call is not None:
                parts.append(("call", part.function_call.name, part.function_call.args, signature))
            elif part.thought:
                _grow(parts, "reasoning", part.text or "")
            else:
                _grow(parts, "text", part.text or "")
                if signature:
                    parts.append(("reasoning", "", signature))
    last = chunks[-1]
    told = last.usage_metadata
    assert told is not None
    assert last.candidates
    thoughts = told.thoughts_token_count or 0
    usage = Usage(
        input=told.prompt_token_count or 0,
        output=(told.candidates_token_count or 0) + thoughts,
        cache_read=told.cached_content_token_count or 0,
        reasoning=thoughts,
    )
    reason = last.candidates[0].finish_reason
    return parts, None if reason is None else reason.value, _usage(usage)


def _grow(parts: list[Any], kind: str, text: str) -> None:
    tail = () if kind == "text" else (None,)
    if parts and parts[-1][0] == kind and parts[-1][2:] == tail:
        parts[-1] = (kind, parts[-1][1] + text, *tail)
    elif text:
        parts.append((kind, text, *tail))


def _client(provider: str, url: str) -> tuple[genai.Client, str]:
    """Google's client, and the part of its paths that comes before ours."""
    if provider == "gemini":
        return genai.Client(api_key=KEY, http_options={"base_url": url, "api_version": "v1beta"}), "/v1beta"
    token = Credentials(token=KEY)  # type: ignore[no-untyped-call]
    client = genai.Client(
        vertexai=True,
        project="p",
        location="us-east5",
        credentials=token,
        http_options={"base_url": url, "api_version": "v1"},
    )
    return client, "/v1/projects/p/locations/us-east5"


@every_question
@both_ways
@pytest.mark.parametrize(
    ("provider", "model"),
    [("gemini", "gemini-2.5-flash"), ("gemini", "gemini-3-flash"), ("vertex", "gemini-3-flash")],
)
async def test_googles_client_asks_and_reads_the_same(
    simulator: Simulator, asked: str, provider: str, model: str, stream: bool
) -> None:
    chosen = target(provider, model, stream=stream)
    one = encoded(chosen, asked)
    body = json.loads(one.body)
    beside = {name: body[name] for name in ("systemInstruction", "tools", "toolConfig") if name in body}
    options: dict[str, Any] = {
        "model": model,
        "contents": [types.Content.model_validate(content) for content in body["contents"]],
        "config": types.GenerateContentConfig.model_validate({**body.get("generationConfig", {}), **beside}),
    }
    async with Wiretap(simulator.base_url("gemini")) as tap:
        client, before = _client(provider, tap.url)
        async with client.aio as google:
            if stream:
                chunks = [chunk async for chunk in await google.models.generate_content_stream(**options)]
            else:
                chunks = [await google.models.generate_content(**options)]
        client.close()
    assert tap.path == f"{before}{one.path}"
    assert essence("gemini", tap.asked) == essence("gemini", body)
    assert ours(chosen, one, tap) == of_gemini(chunks)
