"""The simulated OpenAI, seen by OpenAI's own client."""

from __future__ import annotations

import json
from typing import Any

import openai as sdk
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from simulator import FaultOrder, ProviderSettings, Settings, Simulator

PIXEL = "data:image/png;base64,iVBORw0KGgo="
LONG = "All of this is said again and again. " * 150


class Lake(BaseModel):
    name: str
    depth: float
    rivers: list[str]


def user(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


def tool(name: str, **properties: str) -> ChatCompletionToolParam:
    schema: dict[str, object] = {
        "type": "object",
        "properties": {field: {"type": kind} for field, kind in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "parameters": schema, "strict": True}}


TOOLS = [tool("get_weather", city="string"), tool("get_time", zone="string")]


async def test_an_answer_is_the_same_streamed_and_not(openai: AsyncOpenAI) -> None:
    whole = await openai.chat.completions.create(model="gpt-4o", messages=user("hello"))
    text, usage, finish = "", None, None
    stream = await openai.chat.completions.create(
        model="gpt-4o", messages=user("hello"), stream=True, stream_options={"include_usage": True}
    )
    async for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    assert text == whole.choices[0].message.content
    assert finish == whole.choices[0].finish_reason == "stop"
    assert usage == whole.usage
    assert usage is not None
    assert usage.prompt_tokens == 2 + 4 + 3
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


async def test_a_stream_has_usage_only_when_asked(openai: AsyncOpenAI) -> None:
    stream = await openai.chat.completions.create(model="gpt-4o", messages=user("hello"), stream=True)
    assert [chunk.usage async for chunk in stream if chunk.usage] == []


async def test_parallel_tools_are_called_and_their_results_accepted(openai: AsyncOpenAI) -> None:
    asked = user("Use get_weather and get_time for Rome")
    whole = await openai.chat.completions.create(model="gpt-4o", messages=asked, tools=TOOLS)
    message = whole.choices[0].message
    assert whole.choices[0].finish_reason == "tool_calls"
    assert message.content is None
    calls = [call for call in message.tool_calls or () if call.type == "function"]
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    assert isinstance(json.loads(calls[0].function.arguments)["city"], str)
    async with openai.chat.completions.stream(model="gpt-4o", messages=asked, tools=TOOLS) as stream:
        streamed = (await stream.get_final_completion()).choices[0].message
    assert [(call.id, call.function.name, call.function.arguments) for call in streamed.tool_calls or ()] == [
        (call.id, call.function.name, call.function.arguments) for call in calls
    ]
    results: list[ChatCompletionMessageParam] = [
        {"role": "tool", "tool_call_id": call.id, "content": "fine"} for call in calls
    ]
    said: Any = message.model_dump(exclude_none=True)
    follow_up = await openai.chat.completions.create(model="gpt-4o", messages=[*asked, said, *results], tools=TOOLS)
    assert follow_up.choices[0].finish_reason == "stop"
    assert follow_up.choices[0].message.content


async def test_a_forced_tool_is_called(openai: AsyncOpenAI) -> None:
    answer = await openai.chat.completions.create(
        model="gpt-4o",
        messages=user("hello"),
        tools=TOOLS,
        tool_choice={"type": "function", "function": {"name": "get_time"}},
    )
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert [call.function.name for call in calls if call.type == "function"] == ["get_time"]
    assert answer.choices[0].finish_reason == "stop"


async def test_a_schema_is_answered_with_an_instance_streamed_and_not(openai: AsyncOpenAI) -> None:
    parsed = await openai.chat.completions.parse(model="gpt-4o", messages=user("a lake"), response_format=Lake)
    lake = parsed.choices[0].message.parsed
    assert isinstance(lake, Lake)
    async with openai.chat.completions.stream(model="gpt-4o", messages=user("a lake"), response_format=Lake) as stream:
        streamed = await stream.get_final_completion()
    assert streamed.choices[0].message.parsed == lake


async def test_reasoning_is_counted_when_asked_for(openai: AsyncOpenAI) -> None:
    answer = await openai.chat.completions.create(model="gpt-5", messages=user("hello"), reasoning_effort="high")
    assert answer.usage is not None
    details = answer.usage.completion_tokens_details
    assert details is not None
    assert details.reasoning_tokens == 64
    assert answer.usage.completion_tokens > 64


async def test_an_image_is_accepted_and_counted(openai: AsyncOpenAI) -> None:
    answer = await openai.chat.completions.create(
        model="gpt-4o",
        messages=[
            {
                "role": "user",
                "content": [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": PIXEL}}],
            }
        ],
    )
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 2 + 4 + 3 + 85


async def test_a_repeated_long_prefix_is_read_from_the_cache(openai: AsyncOpenAI) -> None:
    reads = []
    for question in ("one", "two"):
        answer = await openai.chat.completions.create(
            model="gpt-4o", messages=[{"role": "system", "content": LONG}, *user(question)]
        )
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        reads.append(answer.usage.prompt_tokens_details.cached_tokens)
    assert reads == [0, 1_280]


async def test_the_length_the_stop_sequences_and_the_seed_are_kept(openai: AsyncOpenAI) -> None:
    create = openai.chat.completions.create
    cut = await create(model="gpt-4o", messages=user("hello"), max_completion_tokens=3)
    assert (cut.choices[0].finish_reason, cut.usage and cut.usage.completion_tokens) == ("length", 3)
    stopped = await create(model="gpt-4o", messages=user("[[say one two three]]"), stop=["two"])
    assert (stopped.choices[0].finish_reason, stopped.choices[0].message.content) == ("stop", "one ")
    seeded = [await create(model="gpt-4o", messages=user("hello"), seed=seed) for seed in (1, 1, 2)]
    texts = [one.choices[0].message.content for one in seeded]
    assert texts[0] == texts[1] != texts[2]


async def test_logprobs_are_there_for_every_token_streamed_and_not(openai: AsyncOpenAI) -> None:
    whole = await openai.chat.completions.create(model="gpt-4o", messages=user("hello"), logprobs=True, top_logprobs=2)
    logprobs = whole.choices[0].logprobs
    assert logprobs is not None
    rows = logprobs.content or []
    assert "".join(row.token for row in rows) == whole.choices[0].message.content
    assert all(len(row.top_logprobs) == 2 and row.logprob <= 0 for row in rows)
    stream = await openai.chat.completions.create(
        model="gpt-4o", messages=user("hello"), logprobs=True, top_logprobs=2, stream=True
    )
    streamed = [
        row
        async for chunk in stream
        for choice in chunk.choices
        if choice.logprobs
        for row in choice.logprobs.content or ()
    ]
    assert streamed == rows


async def test_models_are_listed_and_described() -> None:
    settings = Settings(providers=(ProviderSettings(name="p", dialect="openai", catalogue=("gpt-4o", "o3")),))
    async with (
        Simulator(settings) as simulator,
        AsyncOpenAI(base_url=f"{simulator.base_url('p')}/v1", api_key="k", max_retries=0) as client,
    ):
        assert [model.id async for model in client.models.list()] == ["gpt-4o", "o3"]
        assert (await client.models.retrieve("o3")).id == "o3"
        with pytest.raises(sdk.NotFoundError) as gone:
            await client.chat.completions.create(model="gpt-3", messages=user("hello"))
        assert gone.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("fault", "kind", "status", "code"),
    [
        ("400", sdk.BadRequestError, 400, None),
        ("401", sdk.AuthenticationError, 401, "invalid_api_key"),
        ("403", sdk.PermissionDeniedError, 403, "unsupported_country_region_territory"),
        ("404", sdk.NotFoundError, 404, "model_not_found"),
        ("429", sdk.RateLimitError, 429, "rate_limit_exceeded"),
        ("500", sdk.InternalServerError, 500, None),
        ("503", sdk.InternalServerError, 503, "server_is_overloaded"),
        ("529", sdk.InternalServerError, 529, "server_is_overloaded"),
        ("auth", sdk.AuthenticationError, 401, "invalid_api_key"),
        ("quota", sdk.RateLimitError, 429, "insufficient_quota"),
        ("context", sdk.BadRequestError, 400, "context_length_exceeded"),
        ("prompt_blocked", sdk.BadRequestError, 400, "invalid_prompt"),
        ("model_gone", sdk.NotFoundError, 404, "model_not_found"),
        ("overloaded", sdk.InternalServerError, 503, "server_is_overloaded"),
        ("server_error", sdk.InternalServerError, 500, None),
    ],
)
async def test_an_injected_error_is_the_exception_of_the_real_one(
    openai: AsyncOpenAI, fault: str, kind: type[sdk.APIStatusError], status: int, code: str | None
) -> None:
    for stream in (False, True):
        with pytest.raises(kind) as failed:
            await openai.chat.completions.create(model=f"gpt-4o+fault={fault}", messages=user("hello"), stream=stream)
        assert (failed.value.status_code, failed.value.code) == (status, code)
        assert failed.value.request_id


async def test_the_vendors_client_waits_as_it_is_told_and_tries_again(simulator: Simulator) -> None:
    url = f"{simulator.base_url('openai')}/v1"
    async with AsyncOpenAI(base_url=url, api_key="k", max_retries=2) as client:
        answer = await client.chat.completions.create(model="gpt-4o+fault=429@0.05+times=2", messages=user("hello"))
    assert answer.choices[0].message.content
    assert [(line.status, line.outcome) for line in simulator.control.log()] == [
        (429, "refused"),
        (429, "refused"),
        (200, "ok"),
    ]


async def test_a_blocked_answer_says_so(openai: AsyncOpenAI) -> None:
    answer = await openai.chat.completions.create(model="gpt-4o+fault=content_filter", messages=user("hello"))
    assert answer.choices[0].finish_reason == "content_filter"


async def test_a_wrong_key_is_refused_and_a_right_one_accepted(simulator: Simulator, openai: AsyncOpenAI) -> None:
    simulator.control.set_keys("openai", ("sk-right",))
    with pytest.raises(sdk.AuthenticationError):
        await openai.chat.completions.create(model="gpt-4o", messages=user("hello"))
    with pytest.raises(sdk.AuthenticationError):
        await openai.models.list()
    right = openai.with_options(api_key="sk-right")
    assert (await right.chat.completions.create(model="gpt-4o", messages=user("hello"))).choices


async def test_an_error_in_the_middle_of_a_stream_is_raised(openai: AsyncOpenAI) -> None:
    stream = await openai.chat.completions.create(
        model="gpt-4o+fault=error_within@0.5", messages=user("hello"), stream=True
    )
    with pytest.raises(sdk.APIError, match="overloaded"):
        async for _ in stream:
            pass


async def test_a_connection_that_is_reset_or_refused_is_a_connection_error(
    simulator: Simulator, openai: AsyncOpenAI
) -> None:
    with pytest.raises(sdk.APIConnectionError):
        await openai.chat.completions.create(model="gpt-4o+fault=reset", messages=user("hello"))
    await simulator.control.add_fault(FaultOrder(fault="refused", provider="openai"))
    with pytest.raises(sdk.APIConnectionError):
        await openai.chat.completions.create(model="gpt-4o", messages=user("hello"))
    await simulator.control.clear_faults()
    assert (await openai.chat.completions.create(model="gpt-4o", messages=user("hello"))).choices


async def test_a_silent_provider_is_a_timeout(openai: AsyncOpenAI) -> None:
    with pytest.raises(sdk.APITimeoutError):
        await openai.chat.completions.create(model="gpt-4o+fault=hang", messages=user("hello"), timeout=0.1)
