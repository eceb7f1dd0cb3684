"""The vendors' own clients and our dialects ask the simulator the same, and read the same out of its answers.

What is sent is our dialect's request both times: its body becomes the arguments of the vendor's client.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from anthropic import AsyncAnthropic
from google import genai
from openai import AsyncOpenAI

from catalogue.load import providers
from catalogue.rows import ProviderRow
from job_contracts.chat import Conversation
from simulator import ProviderSettings, Settings, Simulator
from workers.dialects import DIALECTS
from workers.dialects.port import Decoded, Encoded, Target
from workers.http import Upstream
from workers.transport import AiohttpTransport

KEY = "sk-of-a-test"
WEATHER = {
    "name": "get_weather",
    "description": "The weather.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
}
TIME = {**WEATHER, "name": "get_time"}
LAKE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "rivers": {"type": "array", "items": {"type": "string"}}},
    "required": ["name", "rivers"],
    "additionalProperties": False,
}


def conversation(text: str, *, tools: tuple[Any, ...] = (), **settings: Any) -> Conversation:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    return Conversation.model_validate({"messages": turns, "tools": tools, "settings": settings})


ASKED = {
    "text": conversation("hello", temperature=0.5, max_tokens=500),
    "cut short": conversation("a long story", max_tokens=5),
    "not ascii": conversation("[[say Grüße — 你好 👋🏽]]", max_tokens=500),
    "parallel tools": conversation("call all tools", tools=(WEATHER, TIME), max_tokens=500),
    "a forced tool": conversation("hello", tools=(WEATHER, TIME), tool_choice={"name": "get_time"}, max_tokens=500),
    "a schema": conversation(
        "a lake", response_format={"type": "json_schema", "name": "lake", "json_schema": LAKE}, max_tokens=500
    ),
    "reasoning": conversation("think", reasoning_effort="high", max_tokens=40_000),
}


@dataclass(frozen=True)
class Read:
    """What was read of an answer."""

    text: str
    reasoning: str
    calls: tuple[tuple[str, str, Any], ...]
    input: int
    output: int


Reader = Callable[[str, Encoded, bool], Awaitable[Read]]


# -- the vendors' clients


@asynccontextmanager
async def openai(url: str) -> AsyncIterator[Reader]:
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:

        async def read(model: str, encoded: Encoded, stream: bool) -> Read:
            asked = json.loads(encoded.body)
            usage: Any = None
            if not stream:
                whole = await client.chat.completions.create(**asked)
                message, usage = whole.choices[0].message, whole.usage
                calls = tuple(
                    (call.id, call.function.name, json.loads(call.function.arguments))
                    for call in message.tool_calls or ()
                )
                return Read(message.content or "", "", calls, usage.prompt_tokens, usage.completion_tokens)
            text = ""
            pieces: dict[int, list[str]] = {}
            async for chunk in await client.chat.completions.create(**asked):
                usage = chunk.usage or usage
                for choice in chunk.choices:
                    text += choice.delta.content or ""
                    for call in choice.delta.tool_calls or ():
                        piece = pieces.setdefault(call.index, ["", "", ""])
                        piece[0] += call.id or ""
                        piece[1] += call.function.name or ""
                        piece[2] += call.function.arguments or ""
            calls = tuple((call_id, name, json.loads(arguments)) for call_id, name, arguments in pieces.values())
            return Read(text, "", calls, usage.prompt_tokens, usage.completion_tokens)

        yield read


@asynccontextmanager
async def mistral(url: str) -> AsyncIterator[Reader]:
    # Imported here: every process of a run collects this file, and few of them need the library.
    from mistralai.client import Mistral

    async with Mistral(api_key=KEY, server_url=url) as client:

        async def read(model: str, encoded: Encoded, stream: bool) -> Read:
            asked = json.loads(encoded.body)
            asked.pop("stream", None)
            text, reasoning, calls = "", "", []
            usage: Any = None
            if stream:
                messages = []
                async for event in await client.chat.stream_async(**asked):
                    usage = event.data.usage or usage
                    messages += [choice.delta for choice in event.data.choices]
            else:
                whole = await client.chat.complete_async(**asked)
                messages, usage = [whole.choices[0].message], whole.usage
            for message in messages:
                for part in [message.content] if isinstance(message.content, str) else message.content or ():
                    if isinstance(part, str):
                        text += part
                    elif part.type == "text":
                        text += part.text
                    elif part.type == "thinking":
                        reasoning += "".join(piece.text for piece in part.thinking)
                calls += [
                    (call.id, call.function.name, json.loads(call.function.arguments))
                    for call in message.tool_calls or ()
                ]
            return Read(text, reasoning, tuple(calls), usage.prompt_tokens, usage.completion_tokens)

        yield read


@asynccontextmanager
async def anthropic(url: str) -> AsyncIterator[Reader]:
    async with AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0) as client:

        async def read(model: str, encoded: Encoded, stream: bool) -> Read:
            asked = json.loads(encoded.body)
            known = inspect.signature(client.messages.create).parameters
            further = {name: asked.pop(name) for name in list(asked) if name not in known}
            if asked.pop("stream", False):
                async with client.messages.stream(**asked, extra_body=further) as events:
                    message = await events.get_final_message()
            else:
                message = await client.messages.create(**asked, extra_body=further, timeout=60)
            blocks, usage = message.content, message.usage
            return Read(
                "".join(block.text for block in blocks if block.type == "text"),
                "".join(block.thinking for block in blocks if block.type == "thinking"),
                tuple((block.id, block.name, block.input) for block in blocks if block.type == "tool_use"),
                usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0),
                usage.output_tokens,
            )

        yield read


@asynccontextmanager
async def gemini(url: str) -> AsyncIterator[Reader]:
    options: Any = {"base_url": url, "async_client_args": {"transport": httpx.AsyncHTTPTransport()}}
    client = genai.Client(api_key=KEY, http_options=options)
    async with client.aio as one:

        async def read(model: str, encoded: Encoded, stream: bool) -> Read:
            asked = json.loads(encoded.body)
            config: Any = {name: value for name, value in asked.items() if name not in ("contents", "generationConfig")}
            config |= asked.get("generationConfig", {})
            contents = asked["contents"]
            if stream:
                chunks = [
                    chunk
                    async for chunk in await one.models.generate_content_stream(
                        model=model, contents=contents, config=config
                    )
                ]
            else:
                chunks = [await one.models.generate_content(model=model, contents=contents, config=config)]
            parts = [
                part
                for chunk in chunks
                for candidate in chunk.candidates or ()
                for part in (candidate.content and candidate.content.parts) or ()
            ]
            usage: Any = next(chunk.usage_metadata for chunk in reversed(chunks) if chunk.usage_metadata)
            calls = [part.function_call for part in parts if part.function_call]
            return Read(
                "".join(part.text or "" for part in parts if not part.thought),
                "".join(part.text or "" for part in parts if part.thought),
                tuple((call.id or "", call.name or "", call.args) for call in calls),
                usage.prompt_token_count,
                usage.candidates_token_count + (usage.thoughts_token_count or 0),
            )

        yield read

    client.close()


# -- ours


async def ours(row: ProviderRow, target: Target, encoded: Encoded) -> Read:
    upstream = Upstream(AiohttpTransport(), row, {name: v.replace("{key}", KEY) for name, v in row.auth.items()})
    try:
        reply = await upstream.send(encoded, attempt_id="a.b.1", connect=5.0)
        dialect = DIALECTS[target.model.dialect or row.dialect]
        decoder = dialect.decoder(target, content_type=reply.content_type, names=encoded.names)
        while data := await reply.read():
            decoder.feed(data)
        await reply.close()
        assert reply.status == 200
        decoded = decoder.finish()
    finally:
        await upstream.close()
    assert isinstance(decoded, Decoded), decoded
    answer = decoded.answer
    calls = tuple((call.id, call.name, json.loads(call.arguments)) for call in answer.tool_calls)
    return Read(answer.text, answer.reasoning, calls, decoded.usage.input, decoded.usage.output)


CLIENTS: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "openai": (openai, "gpt-5-mini", "/v1"),
    "mistral": (mistral, "magistral-medium-latest", "/v1"),
    "anthropic": (anthropic, "claude-sonnet-4-6", "/v1"),
    "gemini": (gemini, "gemini-2.5-flash", "/v1beta"),
}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    named = tuple(ProviderSettings.model_validate({"name": name, "dialect": name}) for name in CLIENTS)
    async with Simulator(Settings(providers=named, longest_hold=20.0)) as one:
        yield one


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("provider", CLIENTS)
async def test_both_read_the_same(simulator: Simulator, provider: str, asked: str, stream: bool) -> None:
    client, model, path = CLIENTS[provider]
    url = simulator.base_url(provider)
    row = providers()[provider].model_copy(update={"base_url": url + path})
    target = Target(row, row.model(model), stream=stream)
    encoded = DIALECTS[target.model.dialect or row.dialect].encode(ASKED[asked], target)
    got = await ours(row, target, encoded)
    async with client(url) as read:
        theirs = await read(model, encoded, stream)
    if any(not call[0] for call in theirs.calls):  # calls without ids get ours
        got = Read(got.text, got.reasoning, tuple(("", *call[1:]) for call in got.calls), got.input, got.output)
    assert got == theirs
    assert got.text or got.calls or asked == "cut short"
    assert bool(got.calls) == ("tool" in asked)
