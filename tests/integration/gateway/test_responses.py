"""Responses through a whole gateway, as OpenAI's own client asks for them: kept, gone on from, left to themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from catalogue.load import providers
from gateway.bodies.openai_responses_kept import ID
from job_contracts import subjects
from runtime.broker import Broker
from runtime.bus.port import NotFound
from tests.support.edge import RunningEdge, edge
from tests.support.eventually import eventually
from tests.support.gateway import Gateway, gateway
from tests.support.stand_in import OTHER, PROJECT, key
from tests.support.upstream import Do, Step, Upstream, chunk, completion, event, head, response, stream, upstream

FIRST = "The sea is wide, and those who sail on it know the wind by its name."
SECOND = "It is called a breeze."
PICTURE = "data:image/png;base64," + "iVBORw0KGgo" * 60_000
"""Larger than a message of the broker, and read by nobody."""


def values(url: str, **over: Any) -> dict[str, Any]:
    return {
        "providers": {"openai": {"key": "sk-one", "base_url": f"{url}/v1"}},
        "routes": {"chat": {"deployments": ["openai/gpt-4o-mini"], **over}},
    }


@dataclass
class World:
    """A provider, everything behind the edge, an edge, and OpenAI's client of it."""

    provider: Upstream
    whole: Gateway
    edge: RunningEdge
    client: openai.AsyncOpenAI


def client_of(running: RunningEdge, *, project: str = PROJECT) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=f"{running.url}/v1",
        api_key=key(project),
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
    )


@asynccontextmanager
async def world(directory: Path, *scripts: Sequence[Step], route: Any = None, **settings: Any) -> AsyncIterator[World]:
    async with (
        upstream(*scripts) as provider,
        gateway(directory, values(provider.url, **(route or {})), providers()) as whole,
        edge(whole, **settings) as running,
        client_of(running) as client,
    ):
        yield World(provider, whole, running, client)


def call_for(name: str, arguments: str) -> list[Step]:
    """A whole answer that asks for a call."""
    calls = [{"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    return [response(completion(choices=[choice]))]


async def test_an_answer_comes_whole_with_what_it_used_and_our_headers(tmp_path: Path) -> None:
    async with world(tmp_path, [response(completion(FIRST))]) as it:
        raw = await it.client.responses.with_raw_response.create(
            model="chat", input="Of the sea?", instructions="Be brief.", metadata={"of": "tests"}, user="u1"
        )
        told = raw.parse()
        assert (told.status, told.output_text, told.instructions) == ("completed", FIRST, "Be brief.")
        assert (told.metadata, told.background, told.model) == ({"of": "tests"}, False, "m-1")
        assert told.usage is not None
        assert (told.usage.input_tokens, told.usage.output_tokens, told.usage.total_tokens) == (10, 3, 13)
        assert told.id == f"{ID}{raw.headers['x-penstock-job']}"
        assert raw.headers["x-penstock-unused"] == "user"
        roles = [one["role"] for one in it.provider.asked[0].json["messages"]]
        assert roles == ["system", "user"]


async def test_a_response_is_read_again_by_its_id_and_only_within_its_project(tmp_path: Path) -> None:
    async with world(tmp_path, [response(completion(FIRST))]) as it, client_of(it.edge, project=OTHER) as stranger:
        made = await it.client.responses.create(model="chat", input="Of the sea?")
        again = await it.client.responses.retrieve(made.id)
        assert again.model_dump() == made.model_dump()
        with pytest.raises(openai.NotFoundError):
            await stranger.responses.retrieve(made.id)
        with pytest.raises(openai.NotFoundError):
            await stranger.responses.delete(made.id)
        with pytest.raises(openai.BadRequestError) as refused:
            await stranger.responses.create(model="chat", input="And?", previous_response_id=made.id)
        assert refused.value.code == "previous_response_not_found"


async def test_what_is_not_stored_is_not_found(tmp_path: Path) -> None:
    async with world(tmp_path, [response(completion(FIRST))]) as it:
        made = await it.client.responses.create(model="chat", input="Of the sea?", store=False)
        assert made.output_text == FIRST
        with pytest.raises(openai.NotFoundError):
            await it.client.responses.retrieve(made.id)


async def test_a_conversation_goes_on_from_any_of_its_responses(tmp_path: Path) -> None:
    scripts = [[response(completion(text))] for text in (FIRST, SECOND, "Once more.")]
    async with world(tmp_path, *scripts) as it, edge(it.whole, name="two") as other, client_of(other) as elsewhere:
        one = await it.client.responses.create(model="chat", input="Of the sea?", instructions="Be brief.")
        two = await elsewhere.responses.create(model="chat", input="And the wind?", previous_response_id=one.id)
        await it.client.responses.delete(one.id)
        await it.client.responses.create(model="chat", input="And then?", previous_response_id=two.id)
        assert two.previous_response_id == one.id
        said = [(turn["role"], turn["content"]) for turn in it.provider.asked[2].json["messages"]]
        assert said == [
            ("user", "Of the sea?"),
            ("assistant", FIRST),
            ("user", "And the wind?"),
            ("assistant", SECOND),
            ("user", "And then?"),
        ]


async def test_a_call_and_what_it_came_to_go_on_by_the_id_alone(tmp_path: Path) -> None:
    tool: Any = {
        "type": "function",
        "name": "wind",
        "parameters": {"type": "object", "properties": {}},
        "strict": False,
    }
    scripts: list[Sequence[Step]] = [call_for("wind", '{"at": "sea"}'), [response(completion(SECOND))]]
    async with world(tmp_path, *scripts) as it:
        one = await it.client.responses.create(model="chat", input="The wind?", tools=[tool], tool_choice="required")
        called = one.output[0]
        assert called.type == "function_call"
        assert (called.name, called.arguments, called.call_id) == ("wind", '{"at": "sea"}', "call_1")
        two = await it.client.responses.create(
            model="chat",
            tools=[tool],
            previous_response_id=one.id,
            input=[{"type": "function_call_output", "call_id": called.call_id, "output": "A breeze."}],
        )
        assert two.output_text == SECOND
        turns = it.provider.asked[1].json["messages"]
        assert [turn["role"] for turn in turns] == ["user", "assistant", "tool"]
        assert turns[1]["tool_calls"][0]["id"] == turns[2]["tool_call_id"] == "call_1"
        listed = await it.client.responses.input_items.list(two.id, order="asc")
        assert [one.type for one in listed.data] == ["message", "function_call", "function_call_output"]


async def test_input_items_come_page_by_page_newest_first(tmp_path: Path) -> None:
    async with world(tmp_path, [response(completion(FIRST))]) as it:
        items: Any = [{"role": "user", "content": f"number {number}"} for number in range(5)]
        made = await it.client.responses.create(model="chat", input=items)
        page = await it.client.responses.input_items.list(made.id, limit=2)
        texts = [one.model_dump()["content"][0]["text"] async for one in page]
        assert texts == [f"number {number}" for number in (4, 3, 2, 1, 0)]


async def test_a_conversation_over_the_message_limit_is_kept_and_gone_on_from(tmp_path: Path) -> None:
    content: Any = [{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": PICTURE}]
    scripts = [[response(completion(FIRST))], [response(completion(SECOND))]]
    async with world(tmp_path, *scripts) as it:
        one = await it.client.responses.create(model="chat", input=[{"role": "user", "content": content}])
        two = await it.client.responses.create(model="chat", input="Sure?", previous_response_id=one.id)
        assert two.output_text == SECOND
        shown = it.provider.asked[1].json["messages"][0]["content"][1]
        assert shown["image_url"]["url"] == PICTURE
        await it.client.responses.delete(one.id)
        await it.client.responses.delete(two.id)
        assert (await it.whole.bus.stream_state(subjects.CONV)).messages == 0


async def test_a_deleted_response_is_gone_for_all(tmp_path: Path) -> None:
    async with world(tmp_path, [response(completion(FIRST))]) as it:
        made = await it.client.responses.create(model="chat", input="Of the sea?")
        await it.client.responses.delete(made.id)
        for again in (it.client.responses.retrieve, it.client.responses.delete):
            with pytest.raises(openai.NotFoundError):
                await again(made.id)
        with pytest.raises(openai.BadRequestError, match="there is no response"):
            await it.client.responses.create(model="chat", input="And?", previous_response_id=made.id)


async def test_records_end_by_themselves_after_the_results(tmp_path: Path) -> None:
    async with world(tmp_path, [response(completion(FIRST))]) as it:
        made = await it.client.responses.create(model="chat", input="Of the sea?")
        job = made.id.removeprefix(ID)
        kept = await it.whole.bus.last(subjects.CONV, subjects.conversation(PROJECT, job))
        result = await it.whole.bus.last(subjects.RES, subjects.result(PROJECT, job))
        lives = [int((one.headers or {})["Nats-TTL"].removesuffix("s")) for one in (kept, result)]
        assert lives[0] >= lives[1] >= it.whole.config.nats.result_ttl


# -- in the background


async def test_a_background_response_survives_its_edge(tmp_path: Path) -> None:
    script: list[Step] = [Do.WAIT, response(completion(FIRST))]
    async with world(tmp_path, script) as it:
        made = await it.client.responses.create(model="chat", input="Of the sea?", background=True)
        assert (made.status, made.background, made.output) == ("queued", True, [])
        await it.edge.stop()
        async with edge(it.whole, name="two") as other, client_of(other) as client:

            async def is_(*states: str) -> Any:
                found = await client.responses.retrieve(made.id)
                return found if found.status in states else None

            await eventually(lambda: is_("in_progress"), within=10.0)
            with pytest.raises(openai.BadRequestError, match="has not ended"):
                await client.responses.create(model="chat", input="And?", previous_response_id=made.id)
            it.provider.proceed()
            ended = await eventually(lambda: is_("completed"), within=10.0)
            assert (ended.output_text, ended.created_at, ended.background) == (FIRST, made.created_at, True)


async def test_a_background_response_that_fails_says_so_itself(tmp_path: Path) -> None:
    refusal = [response({"error": {"message": "no such thing", "type": "invalid_request_error"}}, status=400)]
    async with world(tmp_path, refusal) as it:
        made = await it.client.responses.create(model="chat", input="Of the sea?", background=True)

        async def failed() -> Any:
            found = await it.client.responses.retrieve(made.id)
            return found if found.status == "failed" else None

        found = await eventually(failed, within=10.0)
        assert found.error.code == "invalid_prompt"
        assert "no such thing" in found.error.message
        events = [one async for one in await it.client.responses.retrieve(made.id, stream=True)]
        assert [one.type for one in events] == [
            "response.created",
            "response.queued",
            "response.in_progress",
            "response.failed",
        ]
        with pytest.raises(openai.BadRequestError, match="has no answer: it is failed"):
            await it.client.responses.create(model="chat", input="And?", previous_response_id=made.id)


async def test_a_failure_in_the_foreground_is_an_error_of_the_request(tmp_path: Path) -> None:
    refusal = [response({"error": {"message": "no such thing", "type": "invalid_request_error"}}, status=400)]
    async with world(tmp_path, refusal) as it:
        for streamed in (False, True):
            with pytest.raises(openai.BadRequestError, match="no such thing"):
                await it.client.responses.create(model="chat", input="Of the sea?", stream=streamed)


async def test_a_background_response_can_be_called_off_and_others_cannot(tmp_path: Path) -> None:
    scripts: list[list[Step]] = [[Do.HANG], [response(completion(FIRST))]]
    async with world(tmp_path, *scripts) as it:
        made = await it.client.responses.create(model="chat", input="Of the sea?", background=True)
        await eventually(lambda: len(it.provider.asked) == 1, within=10.0)
        off = await it.client.responses.cancel(made.id)
        assert (off.status, off.id) == ("cancelled", made.id)
        assert (await it.client.responses.cancel(made.id)).status == "cancelled"
        await eventually(lambda: it.provider.gone == 1, within=10.0)
        plain = await it.client.responses.create(model="chat", input="Of the sea?")
        with pytest.raises(openai.BadRequestError, match="background: true"):
            await it.client.responses.cancel(plain.id)


async def test_a_deleted_background_response_is_called_off(tmp_path: Path) -> None:
    async with world(tmp_path, [Do.HANG]) as it:
        made = await it.client.responses.create(model="chat", input="Of the sea?", background=True)
        await eventually(lambda: len(it.provider.asked) == 1, within=10.0)
        await it.client.responses.delete(made.id)
        await eventually(lambda: it.provider.gone == 1, within=10.0)


async def test_one_key_makes_one_response_however_often_it_is_sent(tmp_path: Path) -> None:
    async with world(tmp_path, [response(completion(FIRST))]) as it:
        keyed = {"idempotency-key": "once"}
        asked: dict[str, Any] = {"model": "chat", "input": "Of the sea?", "extra_headers": keyed}
        one = await it.client.responses.create(**asked, metadata={"of": "the first"})
        two = await it.client.responses.create(**asked, metadata={"of": "the second"})
        assert two.model_dump() == one.model_dump()  # the record that stands is the first one's
        events = [event async for event in await it.client.responses.create(**asked, stream=True)]
        assert events[-1].type == "response.completed"
        assert events[-1].response.model_dump() == one.model_dump()
        assert len(it.provider.asked) == 1
        with pytest.raises(openai.ConflictError):
            await it.client.responses.create(model="chat", input="Something else", extra_headers=keyed)
        assert (await it.client.responses.retrieve(one.id)).output_text == FIRST


async def test_an_edge_that_dies_before_it_has_kept_the_response_is_made_up_for_by_the_key(tmp_path: Path) -> None:
    async with world(tmp_path, [response(completion(FIRST))]) as it:
        keyed = {"idempotency-key": "once"}
        one = await it.client.responses.create(model="chat", input="Of the sea?", extra_headers=keyed)
        subject = subjects.conversation(PROJECT, one.id.removeprefix(ID))
        await it.whole.bus.purge(subjects.CONV, below=2**63 - 1, subjects=subject)
        with pytest.raises(NotFound):
            await it.whole.bus.last(subjects.CONV, subject)
        two = await it.client.responses.create(model="chat", input="Of the sea?", extra_headers=keyed)
        assert (two.id, (await it.client.responses.retrieve(one.id)).output_text) == (one.id, FIRST)
        assert len(it.provider.asked) == 1


async def test_what_is_cut_by_the_tokens_asked_for_is_incomplete(tmp_path: Path) -> None:
    cut = completion(FIRST)
    cut["choices"][0]["finish_reason"] = "length"
    async with world(tmp_path, [response(cut)]) as it:
        made = await it.client.responses.create(model="chat", input="Of the sea?", max_output_tokens=16)
        assert (made.status, made.output_text) == ("incomplete", FIRST)
        assert made.incomplete_details is not None
        assert made.incomplete_details.reason == "max_output_tokens"


async def test_a_client_that_goes_takes_its_answer_with_it_unless_it_is_in_the_background(tmp_path: Path) -> None:
    script: list[Step] = [head(), chunk(event("The sea")), Do.HANG]
    async with world(tmp_path, script) as it:
        async with await it.client.responses.create(model="chat", input="Of the sea?", stream=True) as events:
            async for one in events:
                if one.type == "response.output_text.delta":
                    break
        await eventually(lambda: it.provider.gone == 1, within=10.0)
        it.provider.play([head(), chunk(event("The sea")), Do.WAIT, *stream(" is wide")[1:]])
        made = ""
        async with await it.client.responses.create(
            model="chat", input="Of the sea?", stream=True, background=True
        ) as events:
            async for one in events:
                if one.type == "response.created":
                    made = one.response.id
                if one.type == "response.output_text.delta":
                    break
        it.provider.proceed()

        async def completed() -> bool:
            return (await it.client.responses.retrieve(made)).status == "completed"

        await eventually(completed, within=10.0)
        assert (await it.client.responses.retrieve(made)).output_text == "The sea is wide"


async def test_what_was_kept_outlives_a_broker_that_is_killed(tmp_path: Path) -> None:
    async with world(tmp_path, [response(completion(FIRST))]) as it:
        made = await it.client.responses.create(model="chat", input="Of the sea?")
        assert isinstance(it.whole.broker, Broker)
        it.whole.broker.kill()
        await it.whole.broker.start()

        async def found() -> str | None:
            try:
                return (await it.client.responses.retrieve(made.id)).output_text
            except openai.InternalServerError:
                return None  # told to come back, which clients do

        assert await eventually(found, within=30.0) == FIRST
