"""The dialects read what the simulated providers say, and are understood by them: over HTTP, in this process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from catalogue.load import providers
from job_contracts.chat import Conversation, FinishReason
from job_contracts.failures import Failure, FailureKind
from simulator import Limits, Settings, Simulator
from workers.dialects import DIALECTS
from workers.dialects.port import Decoded, Target

MODELS = {
    "openai_chat": ("openai", "gpt-4o-mini", "/v1"),
    "openai_responses": ("openai", "gpt-4o-mini", "/v1"),
    "anthropic": ("anthropic", "claude-haiku-4-5", "/v1"),
    "gemini": ("gemini", "gemini-2.5-flash", "/v1beta"),
}
every_dialect = pytest.mark.parametrize("dialect", MODELS)  # those the simulator speaks
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
K = FailureKind

WEATHER = {
    "name": "get.weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
LAKE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "depth": {"type": "number"}},
    "required": ["name", "depth"],
    "additionalProperties": False,
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(Settings(longest_hold=5.0)) as one:
        yield one


class Asked:
    """One request sent as a worker sends it, and the answer read as it comes."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self.deltas: list[Any] = []
        self.headers: dict[str, str] = {}

    async def ask(
        self, dialect: str, messages: Any = None, *, suffix: str = "", stream: bool = False, **more: Any
    ) -> Decoded | Failure:
        provider, model, version = MODELS[dialect]
        row = providers()[provider]
        target = Target(row, row.model(model + suffix), stream=stream)
        values = {"messages": messages or [{"role": "user", "content": "Tell me of the sea."}], **more}
        encoded = DIALECTS[dialect].encode(Conversation.model_validate(values), target)
        auth = {name: template.format(key="sk-of-a-test") for name, template in row.auth.items()}
        url = f"{self._simulator.base_url(provider)}{version}{encoded.path}"
        async with (
            httpx.AsyncClient(trust_env=False, timeout=10) as client,
            client.stream("POST", url, content=encoded.body, headers={**encoded.headers, **auth}) as reply,
        ):
            self.headers = {name.lower(): value for name, value in reply.headers.items()}
            if reply.status_code >= 300:
                return DIALECTS[dialect].failure(target, reply.status_code, self.headers, await reply.aread())
            decoder = DIALECTS[dialect].decoder(
                target, content_type=reply.headers.get("content-type", ""), names=encoded.names
            )
            try:
                async for data in reply.aiter_raw():
                    self.deltas += decoder.feed(data)
            except httpx.HTTPError:
                pass  # cut off: the reader says what that makes of the answer
            return decoder.finish()

    def limits(self, dialect: str) -> set[str]:
        provider, model, _ = MODELS[dialect]
        row = providers()[provider]
        return {reading.unit for reading in DIALECTS[dialect].limits(Target(row, row.model(model)), self.headers)}


@pytest.fixture
def asked(simulator: Simulator) -> Asked:
    return Asked(simulator)


def whole(outcome: Decoded | Failure) -> Decoded:
    assert isinstance(outcome, Decoded), outcome
    return outcome


@every_dialect
@both_ways
async def test_a_text_with_its_usage(asked: Asked, dialect: str, stream: bool) -> None:
    found = whole(await asked.ask(dialect, stream=stream, settings={"max_tokens": 200}))
    assert found.answer.text
    assert found.finish_reason is FinishReason.STOP
    assert found.usage.reported
    assert found.usage.input > 0
    assert found.usage.output > 0
    if stream:
        assert "".join(delta.text for delta in asked.deltas if delta.type == "text") == found.answer.text


@every_dialect
async def test_streamed_and_plain_are_the_same(asked: Asked, dialect: str) -> None:
    plain = whole(await asked.ask(dialect))
    streamed = whole(await asked.ask(dialect, stream=True))
    assert streamed.answer.text == plain.answer.text
    assert streamed.usage == plain.usage


@every_dialect
@both_ways
async def test_a_tool_is_called_and_its_result_is_taken(asked: Asked, dialect: str, stream: bool) -> None:
    question = {"role": "user", "content": "What is the weather in Oslo?"}
    more: dict[str, Any] = {"tools": [WEATHER], "settings": {"tool_choice": "required"}}
    found = whole(await asked.ask(dialect, [question], stream=stream, **more))
    assert found.finish_reason is FinishReason.TOOL_CALLS
    call = found.answer.tool_calls[0]
    assert call.name == "get.weather"
    assert "city" in call.arguments
    turns = [
        question,
        found.answer.as_turn().model_dump(),
        *({"role": "tool", "tool_call_id": one.id, "content": "rain"} for one in found.answer.tool_calls),
    ]
    assert whole(await asked.ask(dialect, turns, stream=stream, tools=[WEATHER])).answer.text


@every_dialect
@both_ways
async def test_an_answer_in_json_by_a_schema(asked: Asked, dialect: str, stream: bool) -> None:
    form = {"type": "json_schema", "name": "lake", "json_schema": LAKE}
    found = whole(await asked.ask(dialect, stream=stream, settings={"response_format": form}))
    value = json.loads(found.answer.text)
    assert value.keys() == {"name", "depth"}
    assert isinstance(value["depth"], int | float)


@every_dialect
async def test_images_and_system_text_are_understood(asked: Asked, dialect: str) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image", "data": PIXEL, "media_type": "image/png"},
            ],
        },
        {"role": "assistant", "content": "A dot."},
        {"role": "user", "content": "Of which colour?"},
    ]
    assert whole(await asked.ask(dialect, messages)).answer.text


@every_dialect
@both_ways
async def test_length_is_told(asked: Asked, dialect: str, stream: bool) -> None:
    found = whole(await asked.ask(dialect, suffix="+tokens=200", stream=stream, settings={"max_tokens": 20}))
    assert found.finish_reason is FinishReason.LENGTH
    assert found.usage.output == 20


@every_dialect
@both_ways
@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        ("rate_limit@7", {K.RATE_LIMIT}),
        ("overloaded", {K.OVERLOADED}),
        ("503", {K.OVERLOADED}),
        ("529", {K.OVERLOADED}),
        ("server_error", {K.SERVER_ERROR}),
        ("auth", {K.AUTH}),
        ("permission", {K.PERMISSION}),
        ("quota", {K.QUOTA_EXHAUSTED}),
        ("model_gone", {K.MODEL_NOT_FOUND}),
        ("context", {K.CONTEXT_OVERFLOW}),
        ("bad_request", {K.BAD_REQUEST, K.UNSUPPORTED_PARAM}),
        ("prompt_blocked", {K.CONTENT_POLICY}),
        ("html", {K.SERVER_ERROR}),
        ("html@200", {K.MALFORMED_RESPONSE}),
        ("empty_body", {K.MALFORMED_RESPONSE}),
        ("malformed_json", {K.MALFORMED_RESPONSE, K.STREAM_TRUNCATED}),
        ("cut@0.5", {K.STREAM_TRUNCATED, K.MALFORMED_RESPONSE}),
    ],
)
async def test_every_fault_is_the_failure_it_shows(
    asked: Asked, dialect: str, stream: bool, fault: str, kinds: set[FailureKind]
) -> None:
    found = await asked.ask(dialect, suffix=f"+fault={fault}", stream=stream)
    if fault == "prompt_blocked" and isinstance(found, Decoded):  # how Anthropic declines
        assert found.finish_reason is FinishReason.CONTENT_FILTER
        return
    assert isinstance(found, Failure), found
    assert found.kind in kinds, found
    if fault == "rate_limit@7":
        assert found.retry_after == pytest.approx(7, abs=1)


@every_dialect
@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        ("malformed_chunk", {K.MALFORMED_RESPONSE}),
        ("error_within", {K.OVERLOADED, K.SERVER_ERROR}),
        ("no_terminator", {K.STREAM_TRUNCATED}),
        ("reset_within", {K.STREAM_TRUNCATED}),
    ],
)
async def test_every_fault_within_a_stream_is_the_failure_it_shows(
    asked: Asked, dialect: str, fault: str, kinds: set[FailureKind]
) -> None:
    found = await asked.ask(dialect, suffix=f"+fault={fault}", stream=True)
    assert isinstance(found, Failure), found
    assert found.kind in kinds, found
    if fault != "no_terminator":
        assert found.produced


@every_dialect
@both_ways
async def test_a_wrong_content_type_changes_nothing(asked: Asked, dialect: str, stream: bool) -> None:
    text = whole(await asked.ask(dialect)).answer.text
    assert whole(await asked.ask(dialect, suffix="+fault=wrong_content_type", stream=stream)).answer.text == text


@every_dialect
async def test_a_last_word_is_needed_only_where_it_is_the_end(asked: Asked, dialect: str) -> None:
    """``[DONE]`` only closes what a finish reason has ended; ``message_stop`` is the end itself."""
    found = await asked.ask(dialect, suffix="+fault=no_done", stream=True)
    if isinstance(found, Failure):
        assert (dialect, found.kind) == ("anthropic", K.STREAM_TRUNCATED)
    else:
        assert found.answer.text == whole(await asked.ask(dialect)).answer.text


@every_dialect
@both_ways
async def test_a_filtered_answer_says_so(asked: Asked, dialect: str, stream: bool) -> None:
    found = whole(await asked.ask(dialect, suffix="+fault=content_filter", stream=stream))
    assert found.finish_reason is FinishReason.CONTENT_FILTER


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic"])
async def test_limits_are_read_from_an_answers_headers(simulator: Simulator, asked: Asked, dialect: str) -> None:
    simulator.control.set_limits(MODELS[dialect][0], Limits(requests=60, tokens=100_000))
    whole(await asked.ask(dialect, settings={"max_tokens": 100}))
    assert "requests" in asked.limits(dialect)
    assert len(asked.limits(dialect)) >= 2
