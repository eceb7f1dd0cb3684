"""Streams of responses through a whole gateway: numbered, taken up at any event and edge, never two answers in one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai

from catalogue.load import providers
from job_contracts import subjects
from tests.integration.gateway.test_responses import World, client_of, values, world
from tests.support.edge import RunningEdge, edge
from tests.support.eventually import eventually
from tests.support.gateway import gateway
from tests.support.upstream import Do, Step, chunk, event, head, stream, upstream

WORDS = ("The sea", " is wide, and", " those who sail", " on it know the wind.")
TEXT = "".join(WORDS)


async def told(client: httpx.AsyncClient, url: str, **query: Any) -> list[dict[str, Any]]:
    """All events of a stream, each with its ``id:`` line, as any program reads them."""
    async with client.stream("GET", url, params={"stream": "true", **query}) as answer:
        assert answer.status_code == 200, await answer.aread()
        return events_of("".join([text async for text in answer.aiter_text()]))


def events_of(body: str) -> list[dict[str, Any]]:
    """The events of a body of server-sent events."""
    found: list[dict[str, Any]] = []
    for block in body.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            one = json.loads(fields["data"])
            assert (fields["event"], fields["id"]) == (one["type"], str(one["sequence_number"]))
            found.append(one)
    return found


async def forget_tokens(it: World) -> None:
    """What ten minutes, or a restart of the broker, do."""
    await it.whole.bus.purge(subjects.TOK, below=2**63 - 1)


async def test_an_answer_is_streamed_in_the_events_of_the_api(tmp_path: Path) -> None:
    async with world(tmp_path, stream(*WORDS)) as it:
        events = [one async for one in await it.client.responses.create(model="chat", input="Hi", stream=True)]
        assert [one.sequence_number for one in events] == list(range(len(events)))
        assert [one.type for one in events[:4]] == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
        ]
        assert "".join(one.delta for one in events if one.type == "response.output_text.delta") == TEXT
        last = events[-1]
        assert last.type == "response.completed"
        assert last.response.output_text == TEXT
        again = await it.client.responses.retrieve(last.response.id)
        assert again.model_dump() == last.response.model_dump()


async def test_the_client_s_own_accumulation_comes_to_the_same_response(tmp_path: Path) -> None:
    async with (
        world(tmp_path, stream(*WORDS)) as it,
        it.client.responses.stream(model="chat", input="Hi") as events,
    ):
        async for _ in events:
            pass
        final = await events.get_final_response()
        assert (final.status, final.output_text) == ("completed", TEXT)


async def test_from_every_event_on_it_is_the_tail_also_at_another_edge_and_without_the_tokens(tmp_path: Path) -> None:
    async with world(tmp_path, stream(*WORDS)) as it, edge(it.whole, name="two") as other:
        asked = {"model": "chat", "input": "Hi", "stream": True, "background": True}
        answered = await it.edge.client.post("/v1/responses", json=asked)
        whole = events_of(answered.text)
        assert whole[-1]["type"] == "response.completed"
        url = f"/v1/responses/{whole[0]['response']['id']}"
        for after in range(len(whole)):
            assert await told(other.client, url, starting_after=after) == whole[after + 1 :]
        await forget_tokens(it)
        for running in (it.edge, other):
            assert await told(running.client, url) == whole
            for after in range(0, len(whole), 3):
                assert await told(running.client, url, starting_after=after) == whole[after + 1 :]


async def test_a_stream_is_taken_up_at_another_edge_while_it_is_still_coming(tmp_path: Path) -> None:
    script: list[Step] = [head(), chunk(event(WORDS[0])), chunk(event(WORDS[1])), Do.WAIT, *stream(*WORDS[2:])[1:]]
    async with world(tmp_path, script) as it, edge(it.whole, name="two") as other:
        asked = {"model": "chat", "input": "Hi", "stream": True, "background": True}
        seen: list[dict[str, Any]] = []
        async with it.edge.client.stream("POST", "/v1/responses", json=asked) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    seen.append(json.loads(line.removeprefix("data: ")))
                if sum("delta" in one for one in seen) == 2:
                    break
        it.provider.proceed()
        url = f"/v1/responses/{seen[0]['response']['id']}"
        rest = await told(other.client, url, starting_after=seen[-1]["sequence_number"])
        assert [*seen, *rest] == await told(it.edge.client, url)
        assert "".join(one.get("delta", "") for one in [*seen, *rest]) == TEXT


async def test_the_last_event_s_id_takes_up_a_stream_as_well(tmp_path: Path) -> None:
    async with world(tmp_path, stream(*WORDS)) as it:
        asked = {"model": "chat", "input": "Hi", "stream": True}
        keyed = {"idempotency-key": "once"}
        whole = events_of((await it.edge.client.post("/v1/responses", json=asked, headers=keyed)).text)
        again = {**keyed, "last-event-id": "5"}
        assert events_of((await it.edge.client.post("/v1/responses", json=asked, headers=again)).text) == whole[6:]
        refused = await it.edge.client.post("/v1/responses", json=asked, headers={"last-event-id": "5"})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "last-event-id")


async def test_a_response_that_was_not_streamed_can_be_read_as_a_stream(tmp_path: Path) -> None:
    async with world(tmp_path, stream(*WORDS)) as it:
        made = await it.client.responses.create(model="chat", input="Hi", background=True)
        events = [one async for one in await it.client.responses.retrieve(made.id, stream=True)]
        assert "".join(one.delta for one in events if one.type == "response.output_text.delta") == TEXT
        assert events[-1].type == "response.completed"


async def test_starting_after_without_a_stream_and_places_that_are_none_are_refused(tmp_path: Path) -> None:
    async with world(tmp_path, stream(*WORDS)) as it:
        made = await it.client.responses.create(model="chat", input="Hi")
        for query in ({"starting_after": "3"}, {"stream": "true", "starting_after": "-1"}):
            refused = await it.edge.client.get(f"/v1/responses/{made.id}", params=query)
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, "starting_after")
        (beyond,) = await told(it.edge.client, f"/v1/responses/{made.id}", starting_after=999)
        assert (beyond["type"], beyond["code"]) == ("error", "resume_impossible")


# -- a provider that dies in the middle of its answer

BROKEN: list[Step] = [head(), chunk(event(WORDS[0])), chunk(event(WORDS[1])), Do.WAIT, Do.RESET]


@asynccontextmanager
async def two_providers(directory: Path, second: list[Step], **route: Any) -> AsyncIterator[World]:
    """One that breaks off when it is told to, and one after it."""
    async with upstream(BROKEN) as one, upstream(second) as two:
        told = values(one.url)
        told["providers"]["groq"] = {"key": "sk-two", "base_url": f"{two.url}/v1"}
        told["routes"]["chat"] = {"deployments": ["openai/gpt-4o-mini", "groq/llama-3.3-70b-versatile"], **route}
        async with gateway(directory, told, providers()) as whole, edge(whole) as running, client_of(running) as client:
            yield World(one, whole, running, client)


async def broken_off(it: World, running: RunningEdge) -> list[dict[str, Any]]:
    """Ask for a stream whose provider dies once some of it was read; all that the client reads."""
    asked = {"model": "chat", "input": "Hi", "stream": True, "background": True}
    lines: list[str] = []
    async with running.client.stream("POST", "/v1/responses", json=asked) as answer:
        async for line in answer.aiter_lines():
            lines.append(line)
            if '"delta"' in line:
                it.provider.proceed()
    return events_of("\n".join(lines))


async def test_an_answer_that_another_provider_goes_on_with_is_one_answer(tmp_path: Path) -> None:
    async with two_providers(tmp_path, stream(*WORDS)) as it:
        events = await broken_off(it, it.edge)
        assert [one["sequence_number"] for one in events] == list(range(len(events)))
        assert "".join(one.get("delta", "") for one in events) == TEXT
        assert events[-1]["type"] == "response.completed"
        url = f"/v1/responses/{events[0]['response']['id']}"
        assert await told(it.edge.client, url, starting_after=7) == events[8:]


async def test_an_answer_that_another_provider_gives_otherwise_ends_the_stream_and_not_the_response(
    tmp_path: Path,
) -> None:
    async with two_providers(tmp_path, stream("Something else.")) as it:
        events = await broken_off(it, it.edge)
        last = events[-1]
        assert (last["type"], last["code"], last["sequence_number"]) == ("error", "stream_broken", len(events) - 2)
        assert TEXT.startswith("".join(one.get("delta", "") for one in events))
        name = events[0]["response"]["id"]

        async def completed() -> bool:
            return (await it.client.responses.retrieve(name)).status == "completed"

        await eventually(completed, within=10.0)
        assert (await it.client.responses.retrieve(name)).output_text == "Something else."
        url = f"/v1/responses/{name}"
        (again,) = (await told(it.edge.client, url, starting_after=last["sequence_number"]))[-1:]
        assert again["type"] == "error"
        await forget_tokens(it)
        (lost,) = await told(it.edge.client, url, starting_after=last["sequence_number"])
        assert (lost["type"], lost["code"]) == ("error", "resume_impossible")
        whole = await told(it.edge.client, url)
        assert "".join(one.get("delta", "") for one in whole) == "Something else."


async def test_a_route_that_holds_back_streams_the_second_answer_alone(tmp_path: Path) -> None:
    async with two_providers(tmp_path, stream("Something else."), broken_stream="hold") as it:
        asked = {"model": "chat", "input": "Hi", "stream": True}
        it.provider.proceed()
        events = events_of((await it.edge.client.post("/v1/responses", json=asked)).text)
        assert "".join(one.get("delta", "") for one in events) == "Something else."
        assert events[-1]["type"] == "response.completed"


async def test_a_stream_that_fails_after_it_began_ends_in_a_failed_response(tmp_path: Path) -> None:
    refusal: list[Step] = [head(), chunk(event(WORDS[0])), Do.WAIT, Do.RESET]
    async with world(tmp_path, refusal, route={"max_attempts": 1}) as it:
        events = await broken_off(it, it.edge)
        last = events[-1]
        assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
        assert last["response"]["error"]["code"] == "server_error"
        found = await it.client.responses.retrieve(events[0]["response"]["id"])
        assert found.error is not None
        assert found.error.message == last["response"]["error"]["message"]


async def test_official_clients_take_a_background_stream_up_where_it_was_cut(tmp_path: Path) -> None:
    script: list[Step] = [head(), chunk(event(WORDS[0])), Do.WAIT, *stream(*WORDS[1:])[1:]]
    async with world(tmp_path, script) as it:
        text, name, at = "", "", 0
        events: openai.AsyncStream[Any] = await it.client.responses.create(
            model="chat", input="Hi", stream=True, background=True
        )
        async with events:
            async for one in events:
                at = one.sequence_number
                if one.type == "response.created":
                    name = one.response.id
                elif one.type == "response.output_text.delta":
                    text += one.delta
                    break
        it.provider.proceed()
        async for one in await it.client.responses.retrieve(name, stream=True, starting_after=at):
            text += one.delta if one.type == "response.output_text.delta" else ""
        assert text == TEXT
