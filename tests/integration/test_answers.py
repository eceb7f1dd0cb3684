"""Jobs that ask for JSON through the whole gateway: the valid answer of whoever gives one, or an error that says why.

Nowhere, over the SDK or the edge, streamed or not, does a client get anything else as a success.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import jsonschema_rs
import openai
import pytest
from pydantic import BaseModel

from catalogue.load import providers
from catalogue.rows import ProviderRow
from job_contracts.failures import FailureKind
from job_contracts.stream import StreamEvent, Switched, Token
from producer_sdk import JobFailed, Producer
from simulator import ProviderSettings, Settings, Simulator
from tests.support.edge import edge
from tests.support.gateway import Gateway, gateway
from tests.support.upstream import Step, Upstream, completion, response, stream, upstream


class Town(BaseModel):
    city: str
    people: int


SCHEMA: dict[str, Any] = {**Town.model_json_schema(), "additionalProperties": False}
FORM = {"type": "json_schema", "json_schema": {"name": "town", "schema": SCHEMA}}
ASKED: dict[str, Any] = {"type": "json_schema", "json_schema": SCHEMA}
MESSAGES: Any = [{"role": "user", "content": "Which town, as JSON?"}]
GOOD = '{"city": "Oslo", "people": 709037}'
BAD = '{"city": "Oslo", "people": "many"}'
ROUTES: dict[str, dict[str, Any]] = {
    "both": {"deployments": ["first/m", "second/m"]},
    "held": {"deployments": ["first/m", "second/m"], "broken_stream": "hold"},
    "told": {"deployments": ["first/m", "second/m"], "tell_invalid": True},
    "alone": {"deployments": ["first/m"], "max_attempts": 3},
    "report": {"deployments": ["first/m", "second/m"], "on_invalid": "report"},
}


def says(text: str) -> list[Step]:
    return [response(completion(text))]


def streams(text: str) -> list[Step]:
    return stream(*(text[at : at + 4] for at in range(0, len(text), 4)))


class Towns:
    """Two scripted providers, and the gateway before them."""

    def __init__(self, first: Upstream, second: Upstream, whole: Gateway, producer: Producer) -> None:
        self.first, self.second, self.whole, self.producer = first, second, whole, producer

    def play(self, first: list[list[Step]], second: list[Step]) -> None:
        self.first.play(*first)
        self.second.play(second)


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Towns]:
    async with upstream() as first, upstream() as second:
        urls = {"first": first.url, "second": second.url}
        spoken = {"dialect": "openai_chat", "key": "sk", "slots": 16}
        values = {"providers": {name: {**spoken, "base_url": url} for name, url in urls.items()}, "routes": ROUTES}
        async with gateway(tmp_path, values, {}) as whole, whole.producer(timeout=30) as producer:
            yield Towns(first, second, whole, producer)


async def events_of(producer: Producer, route: str) -> list[StreamEvent]:
    async with producer.stream(model=route, messages=MESSAGES, response_format=ASKED) as stream:
        return [event async for event in stream]


async def test_an_answer_that_does_not_validate_is_made_anew_by_the_next_deployment(town: Towns) -> None:
    town.play([says(BAD)], says(GOOD))
    answer = await town.producer.complete(model="both", messages=MESSAGES, response_format=ASKED)
    assert json.loads(answer.text) == {"city": "Oslo", "people": 709037}
    kinds = [record.failure.kind if record.failure else None for record in answer.result.attempts]
    assert kinds == [FailureKind.SCHEMA_VIOLATION, None]
    assert [record.deployment for record in answer.result.attempts] == ["first/m", "second/m"]
    assert answer.result.attempts[0].usage.total == 13
    facts = await town.whole.facts(2)
    assert sorted(fact.won for fact in facts.values()) == [False, True]
    assert len(town.second.asked[0].json["messages"]) == 1
    town.play([says(BAD)], says(GOOD))
    assert await town.producer.parse(Town, model="both", messages=MESSAGES) == Town(city="Oslo", people=709037)


async def test_the_next_model_is_told_what_was_wrong_where_the_route_says_so(town: Towns) -> None:
    town.play([says(BAD)], says(GOOD))
    await town.producer.complete(model="told", messages=MESSAGES, response_format=ASKED)
    told = town.second.asked[0].json["messages"][-1]["content"]
    assert "people: the value is not of type" in told
    assert "many" not in told


async def test_a_stream_that_does_not_validate_starts_over(town: Towns) -> None:
    town.play([streams(BAD)], streams(GOOD))
    events = await events_of(town.producer, "both")
    switch = next(at for at, event in enumerate(events) if isinstance(event, Switched))
    assert events[switch].reason == "schema_violation"  # type: ignore[union-attr]
    assert "".join(event.text for event in events[switch:] if isinstance(event, Token)) == GOOD


async def test_a_fence_is_cut_off_before_anyone_sees_it(town: Towns) -> None:
    town.play([streams(f"Of course!\n```json\n{GOOD}\n```\n")], streams(BAD))
    events = await events_of(town.producer, "both")
    assert "".join(event.text for event in events if isinstance(event, Token)) == GOOD
    assert not town.second.asked


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_job_none_of_whose_answers_validates_fails_and_says_where(town: Towns, streamed: bool) -> None:
    town.play([(streams if streamed else says)(BAD)], says(GOOD))
    with pytest.raises(JobFailed) as failed:
        if streamed:
            await events_of(town.producer, "alone")
        else:
            await town.producer.complete(model="alone", messages=MESSAGES, response_format=ASKED)
    result = failed.value.result
    assert result is not None
    assert result.failure is not None
    assert result.failure.kind is FailureKind.RETRIES_EXHAUSTED
    assert 'people: the value is not of type "integer"' in result.failure.message
    assert result.answer is None
    assert len(result.attempts) == 3
    assert len(await town.whole.facts(3)) == 3


async def test_a_route_that_reports_ends_the_job_with_the_first_one(town: Towns) -> None:
    town.play([says(BAD)], says(GOOD))
    with pytest.raises(JobFailed) as failed:
        await town.producer.complete(model="report", messages=MESSAGES, response_format=ASKED)
    assert failed.value.result is not None
    assert failed.value.result.failure is not None
    assert failed.value.result.failure.kind is FailureKind.SCHEMA_VIOLATION
    assert not town.second.asked


async def test_clients_of_the_edge_get_the_valid_answer_or_an_error_of_their_api(town: Towns) -> None:
    async with edge(town.whole) as one:
        client = openai.AsyncOpenAI(base_url=f"{one.url}/v1", api_key=one.key, max_retries=0)
        other = anthropic.AsyncAnthropic(base_url=one.url, api_key=one.key, max_retries=0)
        asked: dict[str, Any] = {"messages": MESSAGES, "response_format": FORM}
        output: Any = {"format": {"type": "json_schema", "schema": SCHEMA}}
        async with client, other:
            town.play([says(BAD)], says(GOOD))
            told = await client.chat.completions.create(model="both", **asked)
            assert told.choices[0].message.content == GOOD
            town.play([says(BAD)], says(GOOD))
            said = await other.messages.create(
                model="both", max_tokens=200, messages=MESSAGES, extra_body={"output_config": output}
            )
            assert [block.text for block in said.content if block.type == "text"] == [GOOD]
            town.play([streams(BAD)], streams(GOOD))
            held = await client.chat.completions.create(model="held", stream=True, **asked)
            assert "".join([chunk.choices[0].delta.content or "" async for chunk in held if chunk.choices]) == GOOD
            town.play([streams(BAD)], streams(GOOD))
            with pytest.raises(openai.APIError):  # half of another answer was shown, so this one cannot follow
                async for _ in await client.chat.completions.create(model="both", stream=True, **asked):
                    pass
            town.play([says(BAD)], says(GOOD))
            with pytest.raises(openai.InternalServerError) as failed:
                await client.chat.completions.create(model="alone", **asked)
            assert failed.value.status_code == 502
            assert "people: the value is not of type" in str(failed.value)
            with pytest.raises(anthropic.InternalServerError):
                await other.messages.create(
                    model="alone", max_tokens=200, messages=MESSAGES, extra_body={"output_config": output}
                )
            remote = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "http://127.0.0.1:9/"}}}
            with pytest.raises(openai.BadRequestError):
                await client.chat.completions.create(model="both", messages=MESSAGES, response_format=remote)  # type: ignore[call-overload]


DIALECTS = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}


def row(name: str, dialect: str) -> ProviderRow:
    known = providers()[dialect].model_dump(exclude_unset=True)
    return ProviderRow.model_validate({**known, "name": name, "models": [{"name": "*"}]})


@pytest.mark.parametrize("fault", ["off_schema", "fenced"])
async def test_in_every_dialect_streamed_or_not_nothing_but_valid_json_is_a_success(fault: str, tmp_path: Path) -> None:
    made = tuple(ProviderSettings(name=name, dialect=name) for name in DIALECTS)  # type: ignore[arg-type]
    async with Simulator(Settings(providers=made)) as simulator:
        urls = {name: simulator.base_url(name) + path for name, path in DIALECTS.items()}
        routes = [f"{first}-{second}" for first in DIALECTS for second in DIALECTS]
        values: dict[str, Any] = {
            "providers": {name: {"key": "sk-of-a-test", "base_url": url} for name, url in urls.items()},
            "routes": {
                f"{first}-{second}": {"deployments": [f"{first}/m+fault={fault}", f"{second}/m"]}
                for first in DIALECTS
                for second in DIALECTS
            },
        }
        rows = {name: row(name, name) for name in DIALECTS}
        async with gateway(tmp_path, values, rows) as whole, whole.producer(timeout=30) as producer:

            async def one(route: str, streamed: bool) -> str:
                if streamed:
                    text = ""
                    for event in await events_of(producer, route):
                        text = "" if isinstance(event, Switched) else text
                        text += event.text if isinstance(event, Token) else ""
                else:
                    answer = await producer.complete(model=route, messages=MESSAGES, response_format=ASKED)
                    text = answer.text
                jsonschema_rs.validate(SCHEMA, json.loads(text))
                return text

            await asyncio.gather(*(one(route, streamed) for route in routes for streamed in (False, True)))
            results = await whole.results()
            counts = {len(result.attempts) for result in results.values()}
            assert counts == ({2} if fault == "off_schema" else {1})
            assert len(results) == 18
            if fault == "fenced":
                details = [loss.detail for one in results.values() for loss in one.attempts[0].losses]
                assert sum("repaired" in detail for detail in details) == 18
