"""``/v1/jobs`` over everything: submit, wait, follow, come back, call off; each project sees its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from catalogue.load import providers
from tests.support.edge import RunningEdge, edge
from tests.support.eventually import eventually
from tests.support.gateway import Gateway, gateway
from tests.support.stand_in import OTHER, PROJECT, key
from tests.support.upstream import (
    Do,
    Upstream,
    chunk,
    completion,
    error,
    event,
    head,
    response,
    stream,
    upstream,
)

HELLO = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}


def values(url: str) -> dict[str, Any]:
    return {
        "projects": {PROJECT: {"retry_share": 1.0}, OTHER: {}},
        "providers": {"openai": {"key": "sk-one", "base_url": f"{url}/v1"}},
        "routes": {
            "chat": {"deployments": ["openai/gpt-4o-mini"]},
            "vectors": {"deployments": ["openai/text-embedding-3-small"]},
        },
    }


@asynccontextmanager
async def house(tmp_path: Path) -> AsyncIterator[tuple[Upstream, Gateway, RunningEdge]]:
    async with (
        upstream([response(completion("Hello!"))]) as provider,
        gateway(tmp_path, values(provider.url), providers()) as whole,
        edge(whole) as one,
    ):
        yield provider, whole, one


async def submitted(one: RunningEdge, **over: Any) -> dict[str, Any]:
    answered = await one.client.post("/v1/jobs", json={**HELLO, **over})
    assert answered.status_code == 202, answered.text
    told: dict[str, Any] = answered.json()
    assert answered.headers["location"] == told["links"]["self"]
    return told


async def read(response: httpx.Response) -> AsyncIterator[tuple[str, str, str]]:
    """Events of a stream: id, type, data."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield fields.get("id", ""), fields.get("event", ""), fields["data"]
            fields = {}


async def followed(one: RunningEdge, path: str, *, seen: str = "", most: int = 10_000) -> list[tuple[str, str, str]]:
    headers = {"last-event-id": seen} if seen else {}
    found: list[tuple[str, str, str]] = []
    async with one.client.stream("GET", path, headers=headers) as answered:
        if answered.status_code == 204:
            return []
        assert answered.status_code == 200, (await answered.aread()).decode()
        async with aclosing(read(answered)) as events:  # type: ignore[type-var]
            async for told in events:
                found.append(told)
                if len(found) == most:
                    break
    return found


async def test_a_job_is_submitted_waited_for_and_read_in_every_form(tmp_path: Path) -> None:
    async with house(tmp_path) as (_, _, one):
        job = await submitted(one, stream=True, tags={"team": "x"}, deadline="2m", priority=2)
        assert job["state"] in {"queued", "dispatched", "streaming", "succeeded"}
        result = await one.client.get(job["links"]["result"], params={"wait": 30})
        assert result.status_code == 200
        told = result.json()
        assert (told["state"], told["tags"], told["route"]) == ("succeeded", {"team": "x"}, "chat")
        assert told["answer"]["parts"][0]["text"] == "Hello!"
        assert not {"token", "body_hash", "nonce", "blob"} & told.keys()
        assert (await one.client.get(job["links"]["self"])).json()["state"] == "succeeded"
        because = (await one.client.get(job["links"]["explain"])).json()
        assert (because["because"], len(because["attempts"])) == ("answered by openai/gpt-4o-mini, attempt 1", 1)
        found = await one.client.get(f"/v1/chat/completions/chatcmpl-{job['id']}")
        assert found.json()["choices"][0]["message"]["content"] == "Hello!"
        called_off = await one.client.post(job["links"]["cancel"])
        assert (called_off.status_code, called_off.json()["state"]) == (200, "succeeded")


async def test_events_are_followed_by_several_and_taken_up_at_every_id(tmp_path: Path) -> None:
    async with house(tmp_path) as (provider, _, one):
        provider.play(stream("Hel", "lo, ", "world"))
        job = await submitted(one, stream=True)
        path = job["links"]["events"]
        first, second = await asyncio.gather(followed(one, path), followed(one, path))
        kinds = [kind for _, kind, _ in first if kind != "queued"]
        assert kinds[0] == "started"
        assert kinds[-1] == "finished"
        for events in (first, second):
            said = [json.loads(data)["text"] for _, kind, data in events if kind == "token"]
            assert "".join(said) == "Hello, world"
        whole, chat = await followed(one, path), await followed(one, f"{path}?as=chat")
        assert chat[-1][2] == "[DONE]"
        assert (
            "".join(json.loads(d)["choices"][0]["delta"].get("content", "") for _, _, d in chat[:-2]) == "Hello, world"
        )
        for path, events in ((job["links"]["events"], whole), (f"{job['links']['events']}?as=chat", chat)):
            for at, (place, _, _) in enumerate(events):
                if place:
                    assert await followed(one, path, seen=place) == events[at + 1 :]


async def test_a_reader_that_leaves_and_one_that_comes_to_another_edge_cost_the_job_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as (provider, whole, one), edge(whole, name="two") as two:
        said = [event(" you"), event(finish="stop"), event(usage=True), "data: [DONE]\n\n", ""]
        provider.play([head(), chunk(event("Hello")), Do.WAIT, *map(chunk, said)])
        job = await submitted(one, stream=True)
        path = job["links"]["events"]
        begun = await eventually(lambda: followed(one, path, most=3), within=20)
        assert [kind for _, kind, _ in begun if kind != "queued"][:1] == ["started"]
        waiting = await one.client.get(job["links"]["result"])
        assert (waiting.status_code, waiting.json()["state"]) == (202, "dispatched")
        assert "at openai/gpt-4o-mini" in (await one.client.get(job["links"]["explain"])).json()["because"]
        unfinished = await one.client.get(f"/v1/chat/completions/chatcmpl-{job['id']}")
        assert (unfinished.status_code, unfinished.json()["error"]["code"]) == (409, "not_finished")
        rest = asyncio.create_task(followed(two, path, seen=begun[-1][0]))
        provider.proceed()
        whole_text = "".join(json.loads(d)["text"] for _, kind, d in [*begun, *await rest] if kind == "token")
        assert whole_text == "Hello you"


async def test_a_job_is_called_off(tmp_path: Path) -> None:
    async with house(tmp_path) as (provider, _, one):
        provider.play([Do.HANG])
        job = await submitted(one)
        await eventually(lambda: provider.asked, within=20)
        assert (await one.client.post(job["links"]["cancel"])).status_code in {200, 202}
        ended = (await one.client.get(job["links"]["result"], params={"wait": 30})).json()
        assert ended["state"] == "cancelled"
        last = (await followed(one, job["links"]["events"]))[-1]
        assert (last[1], json.loads(last[2])["result"]["state"]) == ("finished", "cancelled")
        refused = await one.client.get(f"{job['links']['events']}?as=chat")
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "cancelled")


async def test_a_failure_is_a_value(tmp_path: Path) -> None:
    async with house(tmp_path) as (provider, _, one):
        provider.play([error(400, "context_length_exceeded", "too long")])
        job = await submitted(one)
        answered = await one.client.get(job["links"]["result"], params={"wait": 30})
        assert answered.status_code == 200
        assert answered.json()["failure"]["kind"] == "context_overflow"
        found = await one.client.get(f"/v1/chat/completions/chatcmpl-{job['id']}")
        assert (found.status_code, found.json()["error"]["code"]) == (400, "context_length_exceeded")


async def test_a_key_names_one_job_and_another_request_under_it_is_a_conflict(tmp_path: Path) -> None:
    async with house(tmp_path) as (_, _, one):
        first, again = await submitted(one, idempotency_key="k"), await submitted(one, idempotency_key="k")
        assert first["id"] == again["id"]
        other = await one.client.post("/v1/jobs", json={**HELLO, "idempotency_key": "k", "temperature": 1})
        assert other.status_code == 409, other.text
        assert other.json()["error"]["code"] == "idempotency_conflict"


async def test_a_project_sees_its_own_jobs_alone(tmp_path: Path) -> None:
    async with house(tmp_path) as (_, _, one):
        job = await submitted(one)
        others = {"authorization": f"Bearer {key(OTHER)}"}
        for method, path in (
            ("GET", job["links"]["self"]),
            ("GET", job["links"]["result"]),
            ("GET", job["links"]["events"]),
            ("GET", job["links"]["explain"]),
            ("POST", job["links"]["cancel"]),
            ("GET", f"/v1/chat/completions/chatcmpl-{job['id']}"),
        ):
            answered = await one.client.request(method, path, headers=others)
            assert answered.status_code == 404, path
        assert (await one.client.get(job["links"]["result"], params={"wait": 30})).json()["state"] == "succeeded"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"model": "chat"}, "messages"),
    ({**HELLO, "inputs": ["a"]}, "messages"),
    ({**HELLO, "lane": "fast"}, "lane"),
    ({**HELLO, "deadline": "soon"}, "deadline"),
    ({**HELLO, "deadline": -1}, "deadline"),
    ({**HELLO, "temperature": "0.5"}, "temperature"),
    ({**HELLO, "tags": ["a"]}, "tags"),
    ({**HELLO, "tags": {"n": "x" * 513}}, "tags"),
    ({**HELLO, "dimensions": 3}, "dimensions"),
    ({"model": "vectors", "inputs": ["a"], "stream": True}, "stream"),
    ({"model": "vectors", "inputs": ["a"], "dimensions": "3"}, "dimensions"),
    ({**HELLO, "model": "none"}, "model"),
]


async def test_what_is_wrong_is_refused_by_its_name(tmp_path: Path) -> None:
    async with house(tmp_path) as (_, _, one):
        for body, param in WRONG:
            answered = await one.client.post("/v1/jobs", json=body)
            assert answered.status_code in {400, 404}, answered.text
            assert answered.json()["error"]["param"] == param
        for tags in (f"{'n' * 65}=x", f"n={'x' * 513}", "n" * 65):
            answered = await one.client.post("/v1/jobs", json=HELLO, headers={"x-penstock-tags": tags})
            assert (answered.status_code, answered.json()["error"]["param"]) == (400, "x-penstock-tags")
        for path in ("/v1/jobs/x", "/v1/jobs/a-b", "/v1/jobs/a-b/events", "/v1/chat/completions/a-b"):
            assert (await one.client.get(path)).status_code == 404, path
        assert (await one.client.get("/v1/jobs/a-b/result", params={"wait": "long"})).status_code == 400
        assert (await one.client.get("/v1/jobs/a-b/events", params={"as": "song"})).status_code == 400
