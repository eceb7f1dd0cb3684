"""The simulated Responses API, seen by OpenAI's own client; and our dialect, which must see the same."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai as sdk
import pytest
from openai import AsyncOpenAI
from openai.types.responses import FunctionToolParam, Response, ResponseInputParam
from pydantic import BaseModel

from catalogue.load import providers
from job_contracts.chat import Conversation, FinishReason
from simulator import Simulator
from tests.integration.simulator.conftest import KEY
from workers.dialects import DIALECTS
from workers.dialects.port import Decoded, Target

PIXEL = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0xLjQK"
LONG = "All of this is said again and again. " * 150


class Lake(BaseModel):
    name: str
    depth: float
    rivers: list[str]


def tool(name: str, **properties: str) -> FunctionToolParam:
    schema: dict[str, object] = {
        "type": "object",
        "properties": {field: {"type": kind} for field, kind in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"type": "function", "name": name, "parameters": schema, "strict": True}


TOOLS = [tool("get_weather", city="string"), tool("get_time", zone="string")]


def calls_of(response: Response) -> list[tuple[str, str, str]]:
    return [(item.call_id, item.name, item.arguments) for item in response.output if item.type == "function_call"]


def said_of(response: Response) -> Any:
    """The output as input of the next request."""
    return [item.model_dump(exclude_none=True) for item in response.output]


async def test_an_answer_is_the_same_streamed_and_not(openai: AsyncOpenAI) -> None:
    whole = await openai.responses.create(model="gpt-4o", input="hello")
    text, events = "", []
    async with openai.responses.stream(model="gpt-4o", input="hello") as stream:
        async for event in stream:
            events.append(event)
            text += event.delta if event.type == "response.output_text.delta" else ""
        streamed = await stream.get_final_response()
    assert whole.status == streamed.status == "completed"
    assert text == streamed.output_text == whole.output_text
    assert streamed.usage == whole.usage
    assert whole.usage is not None
    assert whole.usage.input_tokens == 2 + 4 + 3
    assert whole.usage.total_tokens == whole.usage.input_tokens + whole.usage.output_tokens
    numbers = [event.sequence_number for event in events if hasattr(event, "sequence_number")]
    assert numbers == sorted(set(numbers))


async def test_the_chat_side_answers_the_same_prompt_with_the_same_words(openai: AsyncOpenAI) -> None:
    chat = await openai.chat.completions.create(
        model="gpt-4o", messages=[{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello"}]
    )
    answer = await openai.responses.create(model="gpt-4o", instructions="Be kind.", input="hello")
    assert answer.output_text == chat.choices[0].message.content
    assert chat.usage is not None
    assert answer.usage is not None
    assert answer.usage.input_tokens == chat.usage.prompt_tokens


async def test_parallel_tools_are_called_and_their_results_accepted(openai: AsyncOpenAI) -> None:
    asked: ResponseInputParam = [{"role": "user", "content": "Use get_weather and get_time for Rome"}]
    whole = await openai.responses.create(model="gpt-4o", input=asked, tools=TOOLS)
    calls = calls_of(whole)
    assert [name for _, name, _ in calls] == ["get_weather", "get_time"]
    assert isinstance(json.loads(calls[0][2])["city"], str)
    async with openai.responses.stream(model="gpt-4o", input=asked, tools=TOOLS) as stream:
        assert calls_of(await stream.get_final_response()) == calls
    results: ResponseInputParam = [
        {"type": "function_call_output", "call_id": call, "output": "fine"} for call, _, _ in calls
    ]
    follow_up = await openai.responses.create(model="gpt-4o", input=[*asked, *said_of(whole), *results], tools=TOOLS)
    assert follow_up.output_text
    with pytest.raises(sdk.BadRequestError, match="No tool output found"):
        await openai.responses.create(model="gpt-4o", input=[*asked, *said_of(whole)], tools=TOOLS)
    with pytest.raises(sdk.BadRequestError, match="No tool call found"):
        await openai.responses.create(model="gpt-4o", input=[*asked, *results], tools=TOOLS)


async def test_a_forced_tool_is_called(openai: AsyncOpenAI) -> None:
    answer = await openai.responses.create(
        model="gpt-4o", input="hello", tools=TOOLS, tool_choice={"type": "function", "name": "get_time"}
    )
    assert [name for _, name, _ in calls_of(answer)] == ["get_time"]
    assert answer.status == "completed"


async def test_a_schema_is_answered_with_an_instance_streamed_and_not(openai: AsyncOpenAI) -> None:
    parsed = await openai.responses.parse(model="gpt-4o", input="a lake", text_format=Lake)
    lake = parsed.output_parsed
    assert isinstance(lake, Lake)
    async with openai.responses.stream(model="gpt-4o", input="a lake", text_format=Lake) as stream:
        assert (await stream.get_final_response()).output_parsed == lake


async def test_reasoning_is_shown_sealed_and_taken_back_before_what_it_led_to(openai: AsyncOpenAI) -> None:
    asked: ResponseInputParam = [{"role": "user", "content": "hello"}]
    answer = await openai.responses.create(
        model="gpt-5",
        input=asked,
        reasoning={"effort": "high", "summary": "auto"},
        include=["reasoning.encrypted_content"],
        store=False,
    )
    reasoning = answer.output[0]
    assert reasoning.type == "reasoning"
    assert reasoning.summary[0].text
    assert reasoning.encrypted_content
    assert answer.usage is not None
    assert answer.usage.output_tokens_details.reasoning_tokens == 64
    said = said_of(answer)
    again: ResponseInputParam = [{"role": "user", "content": "and now?"}]
    assert (await openai.responses.create(model="gpt-5", input=[*asked, *said, *again])).output_text
    with pytest.raises(sdk.BadRequestError, match="without its required following item"):
        await openai.responses.create(model="gpt-5", input=[*asked, said[0], *again])
    spoilt: Any = {**said[0], "encrypted_content": "gAAAAAspoilt"}
    with pytest.raises(sdk.BadRequestError, match="could not be verified"):
        await openai.responses.create(model="gpt-5", input=[*asked, spoilt, said[1], *again])
    kept: Any = {name: value for name, value in said[0].items() if name != "encrypted_content"}
    with pytest.raises(sdk.NotFoundError, match="not persisted"):
        await openai.responses.create(model="gpt-5", input=[*asked, kept, said[1], *again])


async def test_hidden_reasoning_has_no_text(openai: AsyncOpenAI) -> None:
    async with openai.responses.stream(model="gpt-5", input="hello", reasoning={"effort": "low"}) as stream:
        kinds = {event.type async for event in stream}
        answer = await stream.get_final_response()
    assert not {kind for kind in kinds if "reasoning" in kind}
    assert answer.output[0].type == "reasoning"
    assert answer.output[0].summary == []


async def test_images_and_files_are_accepted_and_counted(openai: AsyncOpenAI) -> None:
    content: Any = [
        {"type": "input_text", "text": "What?"},
        {"type": "input_image", "image_url": PIXEL},
        {"type": "input_file", "filename": "a.pdf", "file_data": PDF},
    ]
    answer = await openai.responses.create(model="gpt-4o", input=[{"role": "user", "content": content}])
    assert answer.usage is not None
    assert answer.usage.input_tokens == 2 + 4 + 3 + 85 + 85
    counted = await openai.responses.input_tokens.count(model="gpt-4o", input=[{"role": "user", "content": content}])
    assert counted.input_tokens == answer.usage.input_tokens


async def test_a_repeated_long_prefix_is_read_from_the_cache(openai: AsyncOpenAI) -> None:
    reads = []
    for question in ("one", "two"):
        answer = await openai.responses.create(model="gpt-4o", instructions=LONG, input=question)
        assert answer.usage is not None
        reads.append(answer.usage.input_tokens_details.cached_tokens)
    assert reads == [0, 1_280]


async def test_a_cut_and_a_blocked_answer_are_incomplete(openai: AsyncOpenAI) -> None:
    cut = await openai.responses.create(model="gpt-4o+tokens=200", input="hello", max_output_tokens=16)
    assert (cut.status, cut.usage and cut.usage.output_tokens) == ("incomplete", 16)
    assert cut.incomplete_details is not None
    assert cut.incomplete_details.reason == "max_output_tokens"
    blocked = await openai.responses.create(model="gpt-4o+fault=content_filter", input="hello")
    assert blocked.incomplete_details is not None
    assert blocked.incomplete_details.reason == "content_filter"


async def test_logprobs_are_there_for_every_token(openai: AsyncOpenAI) -> None:
    answer = await openai.responses.create(
        model="gpt-4o", input="hello", include=["message.output_text.logprobs"], top_logprobs=2
    )
    message = answer.output[0]
    assert message.type == "message"
    part = message.content[0]
    assert part.type == "output_text"
    rows = part.logprobs or []
    assert "".join(row.token for row in rows) == answer.output_text
    assert all(len(row.top_logprobs) == 2 for row in rows)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"max_output_tokens": 15}, "integer_below_min_value"),
        ({"extra_body": {"stop": ["x"]}}, "unknown_parameter"),
        ({"extra_body": {"seed": 1}}, "unknown_parameter"),
        ({"temperature": 3}, "decimal_above_max_value"),
        ({"previous_response_id": "resp_1"}, "previous_response_not_found"),
        ({"reasoning": {"effort": "low"}}, "unsupported_parameter"),
        ({"tools": [{"type": "function", "name": "f", "parameters": {"properties": {"a": {}}}, "strict": True}]},
         "invalid_function_parameters"),
        ({"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "a"}]}]}, "invalid_value"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "a.png"}]}]}, "invalid_value"),
        ({"input": []}, "missing_required_parameter"),
    ],
)  # fmt: skip
async def test_what_the_real_one_refuses_is_refused(openai: AsyncOpenAI, wrong: dict[str, Any], code: str) -> None:
    wanted: dict[str, Any] = {"model": "gpt-4o", "input": "hello", **wrong}
    with pytest.raises(sdk.BadRequestError) as refused:
        await openai.responses.create(**wanted)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("fault", "kind", "status", "code"),
    [
        ("400", sdk.BadRequestError, 400, None),
        ("auth", sdk.AuthenticationError, 401, "invalid_api_key"),
        ("429", sdk.RateLimitError, 429, "rate_limit_exceeded"),
        ("quota", sdk.RateLimitError, 429, "insufficient_quota"),
        ("context", sdk.BadRequestError, 400, "context_length_exceeded"),
        ("model_gone", sdk.NotFoundError, 404, "model_not_found"),
        ("overloaded", sdk.InternalServerError, 503, "server_is_overloaded"),
    ],
)
async def test_an_injected_error_is_the_exception_of_the_real_one(
    openai: AsyncOpenAI, fault: str, kind: type[sdk.APIStatusError], status: int, code: str | None
) -> None:
    for stream in (False, True):
        with pytest.raises(kind) as failed:
            await openai.responses.create(model=f"gpt-4o+fault={fault}", input="hello", stream=stream)
        assert (failed.value.status_code, failed.value.code) == (status, code)


async def test_an_error_in_the_middle_of_a_stream_is_raised(openai: AsyncOpenAI) -> None:
    stream = await openai.responses.create(model="gpt-4o+fault=error_within@0.5", input="hello", stream=True)
    with pytest.raises(sdk.APIError, match="overloaded"):
        async for _ in stream:
            pass


# -- the same, read by our dialect


async def read_by_us(simulator: Simulator, conversation: dict[str, Any], model: str, *, stream: bool) -> Decoded:
    row = providers()["openai"]
    target = Target(row, row.model(model), stream=stream)
    dialect = DIALECTS["openai_responses"]
    encoded = dialect.encode(Conversation.model_validate(conversation), target)
    async with httpx.AsyncClient(trust_env=False) as client:
        reply = await client.post(
            f"{simulator.base_url('openai')}/v1{encoded.path}",
            content=encoded.body,
            headers={**encoded.headers, "authorization": f"Bearer {KEY}"},
        )
    decoder = dialect.decoder(target, content_type=reply.headers["content-type"], names=encoded.names)
    decoder.feed(reply.content)
    found = decoder.finish()
    assert isinstance(found, Decoded), (found, reply.content)
    return found


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("effort", [None, "low"])
@pytest.mark.parametrize("tools", [False, True], ids=["text", "tools"])
async def test_our_dialect_reads_what_the_vendors_client_reads(
    simulator: Simulator, openai: AsyncOpenAI, stream: bool, effort: Any, tools: bool
) -> None:
    question = "Use get_weather and get_time for Rome" if tools else "hello"
    theirs = await openai.responses.create(
        model="gpt-5",
        input=question,
        tools=TOOLS if tools else [],
        reasoning={"effort": effort},
        include=["reasoning.encrypted_content"],
    )
    offered = [{name: value for name, value in one.items() if name != "type"} for one in TOOLS] if tools else []
    ours = await read_by_us(
        simulator,
        {
            "messages": [{"role": "user", "content": question}],
            "tools": offered,
            "settings": {"reasoning_effort": effort},
        },
        "gpt-5",
        stream=stream,
    )
    assert ours.answer.text == theirs.output_text
    assert [(call.id, call.name, call.arguments) for call in ours.answer.tool_calls] == calls_of(theirs)
    assert theirs.usage is not None
    assert ours.usage.input == theirs.usage.input_tokens
    assert ours.usage.output == theirs.usage.output_tokens
    assert ours.usage.reasoning == theirs.usage.output_tokens_details.reasoning_tokens
    assert ours.finish_reason is (FinishReason.TOOL_CALLS if tools else FinishReason.STOP)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_reasoning_goes_back_with_the_call_it_led_to(simulator: Simulator, stream: bool) -> None:
    messages: list[Any] = [{"role": "user", "content": "Use get_weather for Rome"}]
    wanted = {
        "tools": [{"name": "get_weather", "parameters": {"type": "object"}}],
        "settings": {"reasoning_effort": "low"},
    }
    first = await read_by_us(simulator, {"messages": messages, **wanted}, "gpt-5", stream=stream)
    reasoning, call = first.answer.parts
    assert reasoning.type == "reasoning"
    assert reasoning.signature
    assert reasoning.origin == "gpt-5"
    assert call.type == "tool_call"
    messages += [
        first.answer.as_turn().model_dump(),
        {"role": "tool", "tool_call_id": call.id, "content": "rain"},
    ]
    second = await read_by_us(simulator, {"messages": messages, **wanted}, "gpt-5", stream=stream)
    assert second.answer.text
