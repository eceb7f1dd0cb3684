"""The simulated Anthropic, seen by Anthropic's own client."""

from __future__ import annotations

import anthropic as sdk
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import MessageParam, ToolParam
from pydantic import BaseModel

from simulator import FaultOrder, Simulator

MODEL = "claude-haiku-4-5"
LONG = "All of this is said again and again. " * 150
PIXEL = "iVBORw0KGgo="


class Lake(BaseModel):
    name: str
    depth: float
    rivers: list[str]


def user(text: str) -> MessageParam:
    return {"role": "user", "content": text}


def tool(name: str, field: str) -> ToolParam:
    return {
        "name": name,
        "input_schema": {"type": "object", "properties": {field: {"type": "string"}}, "required": [field]},
    }


TOOLS = [tool("get_weather", "city"), tool("get_time", "zone")]


async def test_an_answer_is_the_same_streamed_and_not(anthropic: AsyncAnthropic) -> None:
    whole = await anthropic.messages.create(model=MODEL, max_tokens=100, messages=[user("hello")])
    async with anthropic.messages.stream(model=MODEL, max_tokens=100, messages=[user("hello")]) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        final = await stream.get_final_message()
    assert whole.content[0].type == "text"
    assert text == whole.content[0].text
    assert final.usage == whole.usage
    assert final.stop_reason == whole.stop_reason == "end_turn"
    assert whole.usage.input_tokens == 2 + 4
    assert whole.usage.output_tokens == len(text.split())


async def test_thinking_is_shown_signed_and_taken_back(anthropic: AsyncAnthropic) -> None:
    asked = user("hello")
    whole = await anthropic.messages.create(
        model=MODEL, max_tokens=2_000, messages=[asked], thinking={"type": "enabled", "budget_tokens": 1_024}
    )
    async with anthropic.messages.stream(
        model=MODEL, max_tokens=2_000, messages=[asked], thinking={"type": "enabled", "budget_tokens": 1_024}
    ) as stream:
        streamed = await stream.get_final_message()
    thought, said = whole.content
    assert thought.type == "thinking"
    assert said.type == "text"
    assert [block.model_dump(exclude={"parsed_output"}) for block in streamed.content] == [
        block.model_dump() for block in whole.content
    ]
    assert whole.usage.output_tokens_details is not None
    assert whole.usage.output_tokens_details.thinking_tokens == 32
    assert whole.usage.output_tokens == 32 + len(said.text.split())
    again = await anthropic.messages.create(
        model=MODEL,
        max_tokens=2_000,
        messages=[asked, {"role": "assistant", "content": whole.content}, user("go on")],
        thinking={"type": "enabled", "budget_tokens": 1_024},
    )
    assert again.stop_reason == "end_turn"
    with pytest.raises(sdk.BadRequestError, match="Invalid `signature`"):
        await anthropic.messages.create(
            model=MODEL,
            max_tokens=2_000,
            messages=[
                asked,
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "mine", "signature": "forged"}]},
                user("go on"),
            ],
        )


async def test_parallel_tools_are_called_and_their_results_accepted(anthropic: AsyncAnthropic) -> None:
    asked = user("Use get_weather and get_time for Rome")
    whole = await anthropic.messages.create(model=MODEL, max_tokens=100, messages=[asked], tools=TOOLS)
    async with anthropic.messages.stream(model=MODEL, max_tokens=100, messages=[asked], tools=TOOLS) as stream:
        streamed = await stream.get_final_message()
    calls = [block for block in whole.content if block.type == "tool_use"]
    assert [call.name for call in calls] == ["get_weather", "get_time"]
    assert whole.stop_reason == streamed.stop_reason == "tool_use"
    assert [(block.id, block.name, block.input) for block in streamed.content if block.type == "tool_use"] == [
        (call.id, call.name, call.input) for call in calls
    ]
    results: MessageParam = {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "fine"} for call in calls],
    }
    said: MessageParam = {"role": "assistant", "content": whole.content}
    follow_up = await anthropic.messages.create(
        model=MODEL, max_tokens=100, messages=[asked, said, results], tools=TOOLS
    )
    assert follow_up.stop_reason == "end_turn"
    with pytest.raises(sdk.BadRequestError, match="without `tool_result` blocks"):
        await anthropic.messages.create(model=MODEL, max_tokens=100, messages=[asked, said, user("?")], tools=TOOLS)


async def test_a_schema_is_answered_with_an_instance(anthropic: AsyncAnthropic) -> None:
    parsed = await anthropic.messages.parse(
        model=MODEL, max_tokens=1_000, messages=[user("a lake")], output_format=Lake
    )
    assert isinstance(parsed.parsed_output, Lake)


async def test_an_image_is_accepted_and_counted(anthropic: AsyncAnthropic) -> None:
    answer = await anthropic.messages.create(
        model=MODEL,
        max_tokens=100,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What?"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                ],
            }
        ],
    )
    assert answer.usage.input_tokens == 2 + 4 + 1_600


async def test_a_marked_prefix_is_written_and_then_read(anthropic: AsyncAnthropic) -> None:
    usages = []
    for question in ("one", "two"):
        answer = await anthropic.messages.create(
            model=MODEL,
            max_tokens=100,
            system=[{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}],
            messages=[user(question)],
        )
        usages.append(answer.usage)
    tokens = (len(LONG) + 3) // 4
    assert [(one.cache_creation_input_tokens, one.cache_read_input_tokens) for one in usages] == [
        (tokens, 0),
        (0, tokens),
    ]
    assert usages[0].input_tokens == usages[1].input_tokens < 10


async def test_the_length_and_the_stop_sequences_are_kept(anthropic: AsyncAnthropic) -> None:
    cut = await anthropic.messages.create(model=MODEL, max_tokens=3, messages=[user("hello")])
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 3)
    stopped = await anthropic.messages.create(
        model=MODEL, max_tokens=100, messages=[user("[[say one two three]]")], stop_sequences=["two"]
    )
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "two")
    assert stopped.content[0].type == "text"
    assert stopped.content[0].text == "one "


async def test_tokens_are_counted_without_an_answer(anthropic: AsyncAnthropic) -> None:
    assert (await anthropic.messages.count_tokens(model=MODEL, messages=[user("hello")])).input_tokens == 2 + 4


async def test_a_model_is_described(anthropic: AsyncAnthropic) -> None:
    assert (await anthropic.models.retrieve("claude-x")).id == "claude-x"
    assert [model.id async for model in anthropic.models.list()] == []


@pytest.mark.parametrize(
    ("fault", "kind", "status", "type"),
    [
        ("400", sdk.BadRequestError, 400, "invalid_request_error"),
        ("401", sdk.AuthenticationError, 401, "authentication_error"),
        ("403", sdk.PermissionDeniedError, 403, "permission_error"),
        ("404", sdk.NotFoundError, 404, "not_found_error"),
        ("429", sdk.RateLimitError, 429, "rate_limit_error"),
        ("500", sdk.InternalServerError, 500, "api_error"),
        ("503", sdk.InternalServerError, 503, "overloaded_error"),
        ("529", sdk.InternalServerError, 529, "overloaded_error"),
        ("auth", sdk.AuthenticationError, 401, "authentication_error"),
        ("quota", sdk.BadRequestError, 400, "invalid_request_error"),
        ("context", sdk.BadRequestError, 400, "invalid_request_error"),
        ("prompt_blocked", sdk.BadRequestError, 400, "invalid_request_error"),
        ("overloaded", sdk.InternalServerError, 529, "overloaded_error"),
    ],
)
async def test_an_injected_error_is_the_exception_of_the_real_one(
    anthropic: AsyncAnthropic, fault: str, kind: type[sdk.APIStatusError], status: int, type: str
) -> None:
    with pytest.raises(kind) as failed:
        await anthropic.messages.create(model=f"{MODEL}+fault={fault}", max_tokens=100, messages=[user("hello")])
    assert failed.value.status_code == status
    assert isinstance(failed.value.body, dict)
    assert failed.value.body["error"]["type"] == type
    assert failed.value.request_id == failed.value.body["request_id"]


async def test_a_refusal_says_so(anthropic: AsyncAnthropic) -> None:
    answer = await anthropic.messages.create(
        model=f"{MODEL}+fault=content_filter@0", max_tokens=100, messages=[user("hello")]
    )
    assert (answer.stop_reason, answer.content) == ("refusal", [])


async def test_an_error_in_the_middle_of_a_stream_is_raised(anthropic: AsyncAnthropic) -> None:
    stream = await anthropic.messages.create(
        model=f"{MODEL}+fault=error_within@0.5", max_tokens=100, messages=[user("hello")], stream=True
    )
    with pytest.raises(sdk.APIStatusError, match="Overloaded"):
        async for _ in stream:
            pass


async def test_a_missing_version_or_length_is_a_bad_request(simulator: Simulator, anthropic: AsyncAnthropic) -> None:
    with pytest.raises(sdk.BadRequestError, match="max_tokens: Field required"):
        await anthropic.post(
            "/v1/messages", cast_to=object, body={"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
        )
    with pytest.raises(sdk.BadRequestError, match="seed: Extra inputs"):
        await anthropic.messages.create(model=MODEL, max_tokens=9, messages=[user("hello")], extra_body={"seed": 1})


async def test_a_provider_that_is_down_is_a_connection_error(simulator: Simulator, anthropic: AsyncAnthropic) -> None:
    assert (await anthropic.messages.create(model=MODEL, max_tokens=9, messages=[user("hello")])).content
    await simulator.control.add_fault(FaultOrder(fault="refused", provider="anthropic"))
    with pytest.raises(sdk.APIConnectionError):
        await anthropic.messages.create(model=MODEL, max_tokens=9, messages=[user("hello")])
