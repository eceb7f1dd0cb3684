"""The vendors' own clients for Python, feature by feature: all that a program of theirs can rely on."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest
from anthropic.types import MessageParam, ToolParam, ToolResultBlockParam
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam
from PIL import Image
from pydantic import BaseModel

from appliance.http import ask
from tests.e2e.clients.conftest import Place
from tests.support.tcp import Wire

pytestmark = pytest.mark.timeout(120)

QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What does a penstock do?"}]
COUNT: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Count: [[say one two three]]"}]
CITY: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: list[ChatCompletionFunctionToolParam] = [
    {"type": "function", "function": {"name": name, "description": "Looks it up.", "parameters": CITY}}
    for name in ("get_weather", "get_time")
]
THEIR_TOOLS: list[ToolParam] = [{"name": "get_weather", "description": "Looks it up.", "input_schema": CITY}]


class Reading(BaseModel):
    place: str
    degrees: float


def picture() -> str:
    """A PNG of 64 x 64, in base64."""
    made = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(made, "PNG")
    return base64.b64encode(made.getvalue()).decode()


@pytest.fixture
async def client(place: Place) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{place.url}/v1", api_key=place.key) as made:
        yield made


@pytest.fixture
async def claude(place: Place) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=place.url, api_key=place.key) as made:
        yield made


# -- OpenAI's client


async def test_an_answer_comes_whole_with_its_usage(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="fast", messages=QUESTION)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


async def test_a_stream_gives_the_same_answer_in_chunks_and_its_usage_last(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="fast", messages=QUESTION)
    chunks = [
        chunk
        async for chunk in await client.chat.completions.create(
            model="fast", messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
    ]
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


async def test_a_stream_that_halts_is_read_past_its_signs_of_life(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.stream(model="slow", messages=COUNT) as stream:
        kinds = [event.type async for event in stream]
        answer = await stream.get_final_completion()
    assert answer.choices[0].message.content == "one two three"
    assert kinds[-1] == "content.done"


@pytest.mark.parametrize("streamed", [False, True])
async def test_several_tools_are_called_and_their_results_are_taken(
    client: openai.AsyncOpenAI, *, streamed: bool
) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Use all tools for Bergen."}]
    told: openai.types.chat.ChatCompletion
    if streamed:
        async with client.chat.completions.stream(model="fast", messages=messages, tools=TOOLS) as stream:
            told = await stream.get_final_completion()
    else:
        told = await client.chat.completions.create(model="fast", messages=messages, tools=TOOLS)
    assert told.choices[0].finish_reason == "tool_calls"
    calls: list[Any] = told.choices[0].message.to_dict()["tool_calls"]  # type: ignore[assignment]
    assert [call["function"]["name"] for call in calls] == ["get_weather", "get_time"]
    assert all(json.loads(call["function"]["arguments"])["city"] for call in calls)
    messages.append({"role": "assistant", "tool_calls": calls})
    messages += [{"role": "tool", "tool_call_id": call["id"], "content": "Fine."} for call in calls]
    answer = await client.chat.completions.create(model="fast", messages=messages, tools=TOOLS)
    assert answer.choices[0].message.content


async def test_a_schema_is_answered_with_what_it_describes(client: openai.AsyncOpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Bergen has 11.5 degrees."}]
    parsed = await client.chat.completions.parse(model="fast", messages=messages, response_format=Reading)
    assert isinstance(parsed.choices[0].message.parsed, Reading)
    response = await client.responses.parse(model="fast", input="Bergen has 11.5 degrees.", text_format=Reading)
    assert isinstance(response.output_parsed, Reading)


async def test_a_picture_is_taken_along(client: openai.AsyncOpenAI) -> None:
    parts: Any = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture()}", "detail": "low"}},
    ]
    seen = await client.chat.completions.create(model="fast", messages=[{"role": "user", "content": parts}])
    unseen = await client.chat.completions.create(model="fast", messages=[{"role": "user", "content": parts[:1]}])
    assert seen.usage
    assert unseen.usage
    assert seen.usage.prompt_tokens > unseen.usage.prompt_tokens + 50


async def test_several_answers_come_whole_and_as_streams(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="fast", messages=COUNT, n=3)
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    assert [choice.message.content for choice in whole.choices] == ["one two three"] * 3
    said = {0: "", 1: ""}
    async for chunk in await client.chat.completions.create(model="fast", messages=COUNT, n=2, stream=True):
        for choice in chunk.choices:
            said[choice.index] += choice.delta.content or ""
    assert said == {0: "one two three", 1: "one two three"}


async def test_an_answers_headers_tell_of_its_job(client: openai.AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(
        model="fast", messages=QUESTION, extra_headers={"x-penstock-lane": "rt", "x-penstock-tags": "team=a"}
    )
    assert raw.headers["x-penstock-attempts"] == "1"
    assert raw.headers["x-penstock-deployment"] == "openai/gpt-5-mini"
    answer = raw.parse()
    assert raw.headers["x-penstock-job"] in answer.id
    assert raw.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("wrong", "error", "code"),
    [
        ({"model": "no-such-route"}, openai.NotFoundError, "model_not_found"),
        ({"messages": []}, openai.BadRequestError, "invalid_value"),
        ({"extra_body": {"tempo": 1}}, openai.BadRequestError, "unknown_parameter"),
        ({"extra_headers": {"x-penstock-lane": "fast"}}, openai.BadRequestError, "invalid_value"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_wrong_is_raised_as_the_error_it_is(
    client: openai.AsyncOpenAI, wrong: dict[str, Any], error: type[openai.APIStatusError], code: str, *, stream: bool
) -> None:
    asked: dict[str, Any] = {"model": "fast", "messages": QUESTION, "stream": stream, **wrong}
    with pytest.raises(error) as raised:
        await client.chat.completions.create(**asked)
    assert raised.value.code == code
    assert raised.value.request_id


async def test_who_may_not_ask_is_told_so(place: Place) -> None:
    for key, error in (("psk_nobody", openai.AuthenticationError), (place.admin_key, openai.PermissionDeniedError)):
        async with openai.AsyncOpenAI(base_url=f"{place.url}/v1", api_key=key) as client:
            with pytest.raises(error):
                await client.chat.completions.create(model="fast", messages=QUESTION)


async def test_an_answer_that_is_lost_on_the_way_is_asked_for_again_and_is_one_job(place: Place) -> None:
    before = await billed(place)
    async with (
        Losing.to(place.url) as wire,
        openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{wire.port}/v1", api_key=place.key) as client,
    ):
        raw = await client.chat.completions.with_raw_response.create(
            model="fast", messages=COUNT, extra_headers={"Idempotency-Key": "a letter that is lost"}
        )
    assert wire.lost
    assert raw.retries_taken == 1
    assert raw.parse().choices[0].message.content == "one two three"
    assert await billed(place) == before + 1


async def billed(place: Place) -> int:
    """Answers that the simulated providers have given."""
    total = (await ask(f"{place.simulator}/_control/meter")).json["total"]
    return int(total["requests"])


class Losing(Wire):
    """A wire that breaks once, when an answer is about to arrive."""

    lost = 0

    def answered(self, data: bytes) -> bytes:
        if not self.lost:
            self.lost = len(data)
            raise ConnectionResetError
        return data


async def test_responses_follow_one_another_and_stream(client: openai.AsyncOpenAI) -> None:
    first = await client.responses.create(model="fast", input="What does a penstock do?")
    second = await client.responses.create(model="fast", input="And a turbine?", previous_response_id=first.id)
    assert first.output_text
    assert second.output_text
    assert (await client.responses.retrieve(first.id)).output_text == first.output_text
    async with client.responses.stream(model="slow", input="Count: [[say one two three]]") as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert final.output_text == "one two three"
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")


async def test_texts_become_vectors_and_routes_are_listed(client: openai.AsyncOpenAI) -> None:
    found = await client.embeddings.create(model="vectors", input=["one", "two", "three"], dimensions=16)
    assert [len(one.embedding) for one in found.data] == [16, 16, 16]
    models = [model.id async for model in client.models.list()]
    assert {"fast", "smart", "cheap", "precise", "slow", "vectors"} <= set(models)
    assert (await client.models.retrieve("fast")).id == "fast"


def test_without_asyncio_it_is_the_same(place: Place) -> None:
    with openai.OpenAI(base_url=f"{place.url}/v1", api_key=place.key) as client:
        whole = client.chat.completions.create(model="fast", messages=COUNT)
        with client.chat.completions.stream(model="fast", messages=COUNT) as stream:
            stream.until_done()
            streamed = stream.get_final_completion()
    assert whole.choices[0].message.content == streamed.choices[0].message.content == "one two three"


# -- Anthropic's client


async def test_a_message_comes_whole_and_streamed(claude: anthropic.AsyncAnthropic) -> None:
    asked: list[MessageParam] = [{"role": "user", "content": "Count: [[say one two three]]"}]
    whole = await claude.messages.create(model="smart", max_tokens=100, messages=asked)
    assert [block.text for block in whole.content if block.type == "text"] == ["one two three"]
    assert whole.stop_reason == "end_turn"
    async with claude.messages.stream(model="slow", max_tokens=100, messages=asked) as stream:
        assert "".join([text async for text in stream.text_stream]) == "one two three"
        final = await stream.get_final_message()
    assert final.usage.output_tokens == whole.usage.output_tokens == 3


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_is_called_and_its_result_is_taken(claude: anthropic.AsyncAnthropic, *, streamed: bool) -> None:
    messages: list[MessageParam] = [{"role": "user", "content": "What is the weather in Bergen?"}]
    if streamed:
        async with claude.messages.stream(
            model="smart", max_tokens=300, messages=messages, tools=THEIR_TOOLS
        ) as stream:
            told = await stream.get_final_message()
        content: Any = told.to_dict()["content"]
    else:
        answer = await claude.messages.create(model="smart", max_tokens=300, messages=messages, tools=THEIR_TOOLS)
        content = answer.to_dict()["content"]
    (call,) = [block for block in content if block["type"] == "tool_use"]
    assert call["input"]["city"]
    messages.append({"role": "assistant", "content": content})
    result = ToolResultBlockParam(type="tool_result", tool_use_id=call["id"], content="Rain.")
    messages.append({"role": "user", "content": [result]})
    after = await claude.messages.create(model="smart", max_tokens=300, messages=messages, tools=THEIR_TOOLS)
    assert [block.type for block in after.content] == ["text"]


async def test_a_picture_is_taken_along_in_a_message(claude: anthropic.AsyncAnthropic) -> None:
    parts: Any = [
        {"type": "text", "text": "What is this?"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": picture()}},
    ]
    answer = await claude.messages.create(model="smart", max_tokens=50, messages=[{"role": "user", "content": parts}])
    assert answer.content


async def test_what_is_wrong_with_a_message_is_raised_as_the_error_it_is(
    claude: anthropic.AsyncAnthropic, place: Place
) -> None:
    asked: list[MessageParam] = [{"role": "user", "content": "Hello?"}]
    with pytest.raises(anthropic.NotFoundError) as unknown:
        await claude.messages.create(model="no-such-route", max_tokens=10, messages=asked)
    assert unknown.value.request_id
    with pytest.raises(anthropic.BadRequestError):
        await claude.messages.create(model="smart", max_tokens=10, messages=[])
    async with anthropic.AsyncAnthropic(base_url=place.url, api_key="psk_nobody") as nobody:
        with pytest.raises(anthropic.AuthenticationError):
            await nobody.messages.create(model="smart", max_tokens=10, messages=asked)


async def test_tokens_are_counted_and_routes_are_listed(claude: anthropic.AsyncAnthropic) -> None:
    asked: list[MessageParam] = [{"role": "user", "content": "What does a penstock do?"}]
    assert (await claude.messages.count_tokens(model="smart", messages=asked)).input_tokens > 0
    assert "smart" in [model.id async for model in claude.models.list()]
