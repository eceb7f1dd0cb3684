"""The simulated Gemini, seen by Google's own client."""

from __future__ import annotations

import pytest
from google.genai import errors, types
from google.genai.client import AsyncClient
from pydantic import BaseModel

from simulator import FaultOrder, Limits, Simulator

# Google's client subclasses aiohttp's session, which aiohttp discourages.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")

MODEL = "gemini-2.5-flash"
LONG = "All of this is said again and again. " * 150


class Lake(BaseModel):
    name: str
    depth: float
    rivers: list[str]


def declared(name: str, field: str) -> types.FunctionDeclaration:
    string = types.Schema(type=types.Type.STRING)
    return types.FunctionDeclaration(
        name=name, parameters=types.Schema(type=types.Type.OBJECT, properties={field: string}, required=[field])
    )


TOOLS = types.Tool(function_declarations=[declared("get_weather", "city"), declared("get_time", "zone")])


async def test_an_answer_is_the_same_streamed_and_not(gemini: AsyncClient) -> None:
    whole = await gemini.models.generate_content(model=MODEL, contents="hello")
    text, last = "", None
    async for chunk in await gemini.models.generate_content_stream(model=MODEL, contents="hello"):
        text += chunk.text or ""
        last = chunk
    assert last is not None
    assert text == whole.text
    assert last.usage_metadata == whole.usage_metadata
    assert last.candidates is not None
    assert last.candidates[0].finish_reason == types.FinishReason.STOP
    assert whole.usage_metadata is not None
    assert whole.usage_metadata.prompt_token_count == 2 + 4
    assert whole.usage_metadata.candidates_token_count == len(text.split())
    assert whole.model_version == MODEL


async def test_thoughts_are_shown_when_asked_for_and_always_counted(gemini: AsyncClient) -> None:
    for shown in (True, False):
        config = types.GenerateContentConfig(
            thinking_config=types.ThinkingConfig(thinking_budget=16, include_thoughts=shown)
        )
        whole = await gemini.models.generate_content(model=MODEL, contents="hello", config=config)
        parts = whole.parts or []
        assert [bool(part.thought) for part in parts] == ([True, False] if shown else [False])
        assert parts[-1].thought_signature
        assert whole.usage_metadata is not None
        assert whole.usage_metadata.thoughts_token_count == 16
        thoughts = 0
        async for chunk in await gemini.models.generate_content_stream(model=MODEL, contents="hello", config=config):
            thoughts += sum(bool(part.thought) for part in chunk.parts or ())
        assert thoughts == (16 if shown else 0)


async def test_parallel_tools_are_called_and_their_results_accepted(gemini: AsyncClient) -> None:
    config = types.GenerateContentConfig(tools=[TOOLS])
    asked = types.UserContent("Use get_weather and get_time for Rome")
    whole = await gemini.models.generate_content(model=MODEL, contents=asked, config=config)
    calls = whole.function_calls or []
    assert [call.name for call in calls] == ["get_weather", "get_time"]
    streamed: list[types.FunctionCall] = []
    async for chunk in await gemini.models.generate_content_stream(model=MODEL, contents=asked, config=config):
        streamed.extend(chunk.function_calls or ())
    assert streamed == calls
    assert whole.candidates is not None
    said = whole.candidates[0].content
    assert said is not None
    results = types.UserContent(
        [types.Part.from_function_response(name=call.name or "", response={"output": "fine"}) for call in calls]
    )
    follow_up = await gemini.models.generate_content(model=MODEL, contents=[asked, said, results], config=config)
    assert follow_up.text
    with pytest.raises(errors.ClientError, match="number of function response parts"):
        await gemini.models.generate_content(model=MODEL, contents=[asked, said, types.UserContent("?")], config=config)


async def test_calls_have_ids_from_the_third_generation_on(gemini: AsyncClient) -> None:
    config = types.GenerateContentConfig(tools=[TOOLS])
    for model, has_id in ((MODEL, False), ("gemini-3.6-flash", True)):
        answer = await gemini.models.generate_content(model=model, contents="all tools", config=config)
        calls = answer.function_calls or []
        assert [bool(call.id) for call in calls] == [has_id, has_id]


async def test_a_tool_can_be_forced(gemini: AsyncClient) -> None:
    forced = types.ToolConfig(
        function_calling_config=types.FunctionCallingConfig(
            mode=types.FunctionCallingConfigMode.ANY, allowed_function_names=["get_time"]
        )
    )
    config = types.GenerateContentConfig(tools=[TOOLS], tool_config=forced)
    answer = await gemini.models.generate_content(model=MODEL, contents="hello", config=config)
    assert [call.name for call in answer.function_calls or ()] == ["get_time"]


@pytest.mark.parametrize("way", ["response_schema", "response_json_schema"])
async def test_a_schema_is_answered_with_an_instance(gemini: AsyncClient, way: str) -> None:
    schema = Lake if way == "response_schema" else Lake.model_json_schema()
    config = types.GenerateContentConfig.model_validate({"response_mime_type": "application/json", way: schema})
    answer = await gemini.models.generate_content(model=MODEL, contents="a lake", config=config)
    assert Lake.model_validate_json(answer.text or "").name


async def test_an_image_is_accepted_and_counted(gemini: AsyncClient) -> None:
    image = types.Part.from_bytes(data=b"\x89PNG", mime_type="image/png")
    asked = types.Content(role="user", parts=[types.Part(text="What?"), image])
    answer = await gemini.models.generate_content(model=MODEL, contents=asked)
    assert answer.usage_metadata is not None
    assert answer.usage_metadata.prompt_token_count == 2 + 4 + 258


async def test_a_repeated_long_prefix_is_read_from_the_cache(gemini: AsyncClient) -> None:
    reads = []
    for question in ("one", "two"):
        config = types.GenerateContentConfig(system_instruction=LONG)
        answer = await gemini.models.generate_content(model=MODEL, contents=question, config=config)
        assert answer.usage_metadata is not None
        reads.append(answer.usage_metadata.cached_content_token_count)
    assert reads == [None, 1_280]


async def test_the_length_the_stop_sequences_and_the_seed_are_kept(gemini: AsyncClient) -> None:
    async def ask(text: str, **config: object) -> types.GenerateContentResponse:
        wanted = types.GenerateContentConfig.model_validate(config)
        return await gemini.models.generate_content(model=MODEL, contents=text, config=wanted)

    cut = await ask("hello", max_output_tokens=3)
    assert cut.candidates is not None
    assert cut.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    assert (await ask("[[say one two three]]", stop_sequences=["two"])).text == "one "
    texts = [(await ask("hello", seed=seed)).text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


async def test_tokens_are_counted_without_an_answer(gemini: AsyncClient) -> None:
    assert (await gemini.models.count_tokens(model=MODEL, contents="hello")).total_tokens == 2 + 4


async def test_a_model_is_described(gemini: AsyncClient) -> None:
    assert (await gemini.models.get(model=MODEL)).name == f"models/{MODEL}"


@pytest.mark.parametrize(
    ("fault", "kind", "code", "status"),
    [
        ("400", errors.ClientError, 400, "INVALID_ARGUMENT"),
        ("401", errors.ClientError, 401, "UNAUTHENTICATED"),
        ("403", errors.ClientError, 403, "PERMISSION_DENIED"),
        ("404", errors.ClientError, 404, "NOT_FOUND"),
        ("429", errors.ClientError, 429, "RESOURCE_EXHAUSTED"),
        ("500", errors.ServerError, 500, "INTERNAL"),
        ("503", errors.ServerError, 503, "UNAVAILABLE"),
        ("504", errors.ServerError, 504, "DEADLINE_EXCEEDED"),
        ("529", errors.ServerError, 529, "UNAVAILABLE"),
        ("auth", errors.ClientError, 400, "INVALID_ARGUMENT"),
        ("quota", errors.ClientError, 429, "RESOURCE_EXHAUSTED"),
        ("context", errors.ClientError, 400, "INVALID_ARGUMENT"),
        ("overloaded", errors.ServerError, 503, "UNAVAILABLE"),
    ],
)
async def test_an_injected_error_is_the_exception_of_the_real_one(
    gemini: AsyncClient, fault: str, kind: type[errors.APIError], code: int, status: str
) -> None:
    with pytest.raises(kind) as failed:
        await gemini.models.generate_content(model=f"{MODEL}+fault={fault}", contents="hello")
    assert (failed.value.code, failed.value.status) == (code, status)
    with pytest.raises(kind):
        await anext(
            aiter(await gemini.models.generate_content_stream(model=f"{MODEL}+fault={fault}", contents="hello"))
        )


async def test_a_blocked_prompt_and_a_blocked_answer_say_so(gemini: AsyncClient) -> None:
    prompt = await gemini.models.generate_content(model=f"{MODEL}+fault=prompt_blocked", contents="hello")
    assert prompt.candidates is None
    assert prompt.prompt_feedback is not None
    assert prompt.prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT
    answer = await gemini.models.generate_content(model=f"{MODEL}+fault=content_filter", contents="hello")
    assert answer.candidates is not None
    assert answer.candidates[0].finish_reason == types.FinishReason.SAFETY


async def test_a_limit_is_announced_in_the_body_with_the_time_to_wait(
    simulator: Simulator, gemini: AsyncClient
) -> None:
    simulator.control.set_limits("gemini", Limits(requests=1))
    await gemini.models.generate_content(model=MODEL, contents="hello")
    with pytest.raises(errors.ClientError) as failed:
        await gemini.models.generate_content(model=MODEL, contents="hello")
    details = {row["@type"].rsplit(".", 1)[-1]: row for row in failed.value.details["error"]["details"]}
    assert details["QuotaFailure"]["violations"][0]["quotaId"] == "GenerateRequestsPerMinutePerProjectPerModel"
    assert 55 < float(details["RetryInfo"]["retryDelay"].rstrip("s")) <= 60


async def test_an_error_in_the_middle_of_a_stream_is_raised(gemini: AsyncClient) -> None:
    stream = await gemini.models.generate_content_stream(model=f"{MODEL}+fault=error_within@0.5", contents="hello")
    with pytest.raises(errors.ServerError, match="UNAVAILABLE"):
        async for _ in stream:
            pass


async def test_a_wrong_key_is_refused(simulator: Simulator, gemini: AsyncClient) -> None:
    simulator.control.set_keys("gemini", ("another",))
    with pytest.raises(errors.ClientError, match="API key not valid"):
        await gemini.models.generate_content(model=MODEL, contents="hello")


async def test_a_provider_that_is_down_is_a_connection_error(simulator: Simulator, gemini: AsyncClient) -> None:
    await simulator.control.add_fault(FaultOrder(fault="refused", provider="gemini"))
    with pytest.raises(Exception, match=r"(?i)connect"):
        await gemini.models.generate_content(model=MODEL, contents="hello")
