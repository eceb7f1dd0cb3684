"""Anthropic's own client against a running edge, over a provider that speaks Anthropic's API and one that does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import pytest
from pydantic_core import from_json

from catalogue.load import providers
from gateway.bodies.frames import Frame
from tests.support.anthropic_api import gathered, in_order, told
from tests.support.edge import RunningEdge, edge
from tests.support.gateway import gateway
from tests.support.stand_in import key
from tests.support.upstream import Do, Step, Upstream, chunk, completion, error, head, response, stream, upstream

USER: list[Any] = [{"role": "user", "content": "What is the weather in Oslo?"}]
WEATHER: Any = {
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def values(provider: Upstream) -> dict[str, Any]:
    return {
        "providers": {
            "anthropic": {"key": "sk-ant", "base_url": f"{provider.url}/v1"},
            "openai": {"key": "sk-one", "base_url": f"{provider.url}/v1"},
        },
        "routes": {
            "claude": {"deployments": ["anthropic/claude-sonnet-4-5"], "max_attempts": 1},
            "gpt": {"deployments": ["openai/gpt-4o-mini"], "max_attempts": 1},
        },
    }


@asynccontextmanager
async def running(tmp_path: Path, **options: Any) -> AsyncIterator[tuple[RunningEdge, Upstream]]:
    async with (
        upstream() as provider,
        gateway(tmp_path, values(provider), providers()) as whole,
        edge(whole, **options) as one,
    ):
        yield one, provider


def client(of: RunningEdge, **over: Any) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(**{"base_url": of.url, "api_key": key(), "max_retries": 0, "timeout": 30.0, **over})


def sse(*events: dict[str, Any]) -> list[Step]:
    """A stream as Anthropic's API sends it."""
    written = [chunk(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n") for one in events]
    return [head(), *written, chunk("")]


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


START = {
    "type": "message_start",
    "message": {
        "id": "msg_upstream",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 30, "cache_read_input_tokens": 8, "output_tokens": 1},
    },
}
CALLS = sse(
    START,
    *block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "They ask "},
        {"type": "thinking_delta", "thinking": "for the weather."},
        {"type": "signature_delta", "signature": "c2lnbmVk"},
    ),
    *block(1, {"type": "redacted_thinking", "data": "c2VhbGVk"}),
    *block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Let me look."}),
    *block(
        3,
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
        {"type": "input_json_delta", "partial_json": '{"ci'},
        {"type": "input_json_delta", "partial_json": 'ty": "Oslo"}'},
    ),
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 40},
    },
    {"type": "message_stop"},
)
RAIN = {
    "id": "msg_2",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "Rain."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 60, "output_tokens": 3},
}


async def test_a_loop_of_thinking_and_tools_keeps_its_signatures(tmp_path: Path) -> None:
    async with running(tmp_path) as (one, provider), client(one) as asking:
        provider.play(CALLS, [response(RAIN)])
        wanted: Any = {"model": "claude", "max_tokens": 4000, "tools": [WEATHER]}
        wanted["thinking"] = {"type": "enabled", "budget_tokens": 2000}
        async with asking.messages.stream(messages=USER, **wanted) as streaming:
            kinds = [event.type async for event in streaming]
            first = await streaming.get_final_message()
        assert kinds.index("signature") < kinds.index("content_block_stop")
        assert [part.type for part in first.content] == ["thinking", "redacted_thinking", "text", "tool_use"]
        thought, call = first.content[0], first.content[3]
        assert thought.type == "thinking"
        assert (thought.thinking, thought.signature) == ("They ask for the weather.", "c2lnbmVk")
        assert call.type == "tool_use"
        assert (call.id, call.input, first.stop_reason) == ("toolu_1", {"city": "Oslo"}, "tool_use")
        assert (first.usage.input_tokens, first.usage.cache_read_input_tokens, first.usage.output_tokens) == (30, 8, 40)

        results: Any = [{"type": "tool_result", "tool_use_id": call.id, "content": "It rains.", "is_error": False}]
        history = [*USER, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
        second = await asking.messages.create(messages=history, **wanted)
        assert second.content[0].type == "text"
        assert (second.content[0].text, second.stop_reason) == ("Rain.", "end_turn")
        sent = provider.asked[-1].json
        assert sent["thinking"] == {"type": "enabled", "budget_tokens": 2000}
        assert sent["messages"][1]["content"] == [
            {"type": "thinking", "thinking": "They ask for the weather.", "signature": "c2lnbmVk"},
            {"type": "redacted_thinking", "data": "c2VhbGVk"},
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}},
        ]
        assert sent["messages"][2]["content"][0]["content"] == "It rains."


async def test_a_provider_of_another_api_answers_in_anthropics_words(tmp_path: Path) -> None:
    async with running(tmp_path) as (one, provider), client(one) as asking:
        provider.play(
            [response(completion("Hello!"))],
            stream("Hel", "lo!"),
            [response(completion("Hello!"))],
        )
        raw = await asking.messages.with_raw_response.create(
            model="gpt", max_tokens=50, messages=USER, system="Be brief."
        )
        whole = await raw.parse()
        assert raw.headers["request-id"] == raw.headers["x-request-id"] == whole._request_id
        assert raw.headers["x-penstock-route"] == "gpt"
        assert whole.id == f"msg_{raw.headers['x-penstock-job']}"
        assert (whole.content[0].model_dump(include={"text"}), whole.stop_reason) == ({"text": "Hello!"}, "end_turn")
        assert (whole.usage.input_tokens, whole.usage.output_tokens) == (10, 3)
        assert [turn["role"] for turn in provider.asked[0].json["messages"]] == ["system", "user"]

        async with asking.messages.stream(model="gpt", max_tokens=50, messages=USER) as streaming:
            assert "".join([text async for text in streaming.text_stream]) == "Hello!"
            final = await streaming.get_final_message()
            assert streaming.response.headers["request-id"].startswith("req_")
        assert (final.stop_reason, final.usage.input_tokens, final.usage.output_tokens) == ("end_turn", 10, 3)

        def blocking() -> str:
            client = anthropic.Anthropic(base_url=one.url, auth_token=key(), max_retries=0, timeout=30.0)
            with client:
                asked: list[Any] = USER
                answer = client.messages.create(model="gpt", max_tokens=50, messages=asked)
            return answer.content[0].text if answer.content[0].type == "text" else ""

        assert await asyncio.to_thread(blocking) == "Hello!"


async def test_errors_are_anthropics_own_with_the_requests_id(tmp_path: Path) -> None:
    async with running(tmp_path, scope={"routes": ("claude", "gpt")}) as (one, provider), client(one) as asking:
        with pytest.raises(anthropic.BadRequestError) as bad:
            await asking.messages.create(model="claude", max_tokens=0, messages=USER)
        body: Any = bad.value.body
        assert body["error"]["type"] == "invalid_request_error"
        assert "max_tokens" in body["error"]["message"]
        assert body["request_id"] == bad.value.response.headers["request-id"] == bad.value.request_id
        with pytest.raises(anthropic.PermissionDeniedError):
            await asking.messages.create(model="other", max_tokens=9, messages=USER)
        async with client(one, api_key="psk_research_wrong") as stranger:
            with pytest.raises(anthropic.AuthenticationError):
                await stranger.messages.create(model="claude", max_tokens=9, messages=USER)

        # A provider that fails has its status before the stream begins, and an event after that.
        provider.play([error(500, "server_error")])
        with pytest.raises(anthropic.InternalServerError) as broken:
            async with asking.messages.stream(model="gpt", max_tokens=9, messages=USER) as streaming:
                await streaming.get_final_message()
        assert broken.value.status_code == 502
        begun = sse(START, *block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Once"})[:2])
        provider.play([*begun[:-1], Do.WAIT, Do.RESET])
        said = []
        with pytest.raises(anthropic.APIStatusError) as cut:
            async with asking.messages.stream(model="claude", max_tokens=9, messages=USER) as streaming:
                async for text in streaming.text_stream:
                    said.append(text)
                    provider.proceed()
        assert said == ["Once"]
        body = cut.value.body
        assert (body["type"], body["error"]["type"]) == ("error", "api_error")
        assert body["request_id"].startswith("req_")


async def test_tokens_are_counted_without_a_provider_and_said_to_be_estimated(tmp_path: Path) -> None:
    async with running(tmp_path) as (one, provider), client(one) as asking:
        short = await asking.messages.with_raw_response.count_tokens(model="claude", messages=USER)
        long = await asking.messages.count_tokens(
            model="claude", messages=USER, tools=[WEATHER], system="Be brief. " * 99
        )
        assert short.headers["x-penstock-estimate"] == "input_tokens"
        assert 5 < (await short.parse()).input_tokens < 30
        assert long.input_tokens > 200
        with pytest.raises(anthropic.NotFoundError):
            await asking.messages.count_tokens(model="other", messages=USER)
        assert not provider.asked


async def test_a_stream_is_taken_up_behind_the_last_event_that_was_seen(tmp_path: Path) -> None:
    async with running(tmp_path) as (one, provider):
        sealed = len(CALLS) - 11  # both blocks of thinking are told, and nothing of the text
        provider.play([*CALLS[:sealed], Do.WAIT, *CALLS[sealed:]])
        body = {"model": "claude", "max_tokens": 4000, "messages": USER, "tools": [WEATHER], "stream": True}
        body["thinking"] = {"type": "enabled", "budget_tokens": 2000}
        headers = {"idempotency-key": "once"}
        seen: list[str] = []
        async with one.client.stream("POST", "/v1/messages", json=body, headers=headers) as answer:
            async for line in answer.aiter_lines():
                seen.append(line)
                if "redacted_thinking" in line:
                    break  # and the client is gone
        headers["last-event-id"] = next(line[4:] for line in reversed(seen) if line.startswith("id: "))
        async with one.client.stream("POST", "/v1/messages", json=body, headers=headers) as answer:
            async for line in answer.aiter_lines():
                seen.append(line)
                provider.proceed()
        events = [line[6:].encode() for line in seen if line.startswith("data: ")]
        frames = [Frame(one, from_json(one)["type"]) for one in events]
        in_order(told(frames))
        assert [part.type for part in gathered(frames).content] == ["thinking", "redacted_thinking", "text", "tool_use"]
        assert len(provider.asked) == 1


async def test_a_client_that_waits_hears_pings(tmp_path: Path) -> None:
    async with running(tmp_path, ping=0.1) as (one, provider):
        provider.play([Do.WAIT, *stream("Hello!")])
        body = {"model": "gpt", "max_tokens": 9, "messages": USER, "stream": True}
        async with one.client.stream("POST", "/v1/messages", json=body) as answer:
            lines = answer.aiter_lines()
            assert [await anext(lines), await anext(lines)] == ["event: ping", 'data: {"type": "ping"}']
            provider.proceed()
            rest = [line async for line in lines]
        assert "event: message_stop" in rest
