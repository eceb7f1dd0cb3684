"""Costs at the edge: estimates and receipts, for which key a job runs, and the bounds of that key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from catalogue.load import providers
from job_contracts import subjects
from job_contracts.codec import decode
from job_contracts.jobs import Ticket
from job_contracts.keys import Scope
from runtime.bus.port import Message
from tests.support.batches import QUICK, jsonl
from tests.support.edge import RunningEdge, edge
from tests.support.eventually import eventually
from tests.support.gateway import Gateway, gateway
from tests.support.upstream import Do, Upstream, completion, response, upstream

TURNS = [{"role": "user", "content": "Hi"}]
CHAT: dict[str, Any] = {"model": "chat", "messages": TURNS, "max_tokens": 10}
SCOPE = {"concurrency": 50, "max_queued": 50, "budget": {"day": "5"}}
BOUNDS = Scope.model_validate(SCOPE).bounds()
VECTORS = {
    "object": "list",
    "model": "text-embedding-3-small",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}],
    "usage": {"prompt_tokens": 2, "total_tokens": 2},
}


def values(url: str) -> dict[str, Any]:
    return {
        "providers": {"openai": {"key": "sk-one", "base_url": f"{url}/v1"}},
        "routes": {
            "chat": {"deployments": ["openai/gpt-4o-mini"]},
            "vectors": {"deployments": ["openai/text-embedding-3-small"]},
        },
    }


@asynccontextmanager
async def house(
    tmp_path: Path, *, scope: dict[str, Any] | None = None, answer: Any = None, **settings: Any
) -> AsyncIterator[tuple[Upstream, Gateway, RunningEdge]]:
    async with (
        upstream([response(completion("Hello!") if answer is None else answer)]) as provider,
        gateway(tmp_path, values(provider.url), providers()) as whole,
        edge(whole, scope=scope, **settings) as one,
    ):
        yield provider, whole, one


@asynccontextmanager
async def tickets(whole: Gateway) -> AsyncIterator[list[Ticket]]:
    """Those of all jobs that are submitted meanwhile, as they are stored."""
    heard: list[Ticket] = []

    def hear(message: Message) -> None:
        heard.append(decode(Ticket, (message.headers or {})[subjects.H_TICKET]))

    tail = await whole.bus.tail(subjects.stream_name(subjects.SUBMIT), hear, subjects=(f"{subjects.PREFIX}.q.>",))
    try:
        yield heard
    finally:
        await tail.close()


async def test_jobs_of_every_api_say_for_which_key_they_are_and_what_bounds_it(tmp_path: Path) -> None:
    async with house(tmp_path, scope=SCOPE) as (_, whole, one), tickets(whole) as heard:
        for path, body in (
            ("/v1/chat/completions", CHAT),
            ("/v1/chat/completions", {**CHAT, "stream": True}),
            ("/v1/chat/completions", {**CHAT, "n": 2}),
            ("/v1/messages", CHAT),
            ("/v1/responses", {"model": "chat", "input": "Hi"}),
            ("/v1/responses", {"model": "chat", "input": "Hi", "stream": True}),
            ("/v1/jobs", CHAT),
        ):
            answered = await one.client.post(path, json=body)
            assert answered.status_code in {200, 202}, answered.text
        assert await eventually(lambda: len(heard) == 8, says="tickets")
        assert {(ticket.key, ticket.bounds) for ticket in heard} == {("test", BOUNDS)}
        facts = await whole.facts(8)
        assert {fact.key for fact in facts.values()} == {"test"}


async def test_vectors_are_for_a_key_too(tmp_path: Path) -> None:
    async with house(tmp_path, scope=SCOPE, answer=VECTORS) as (_, whole, one), tickets(whole) as heard:
        answered = await one.client.post("/v1/embeddings", json={"model": "vectors", "input": "Hi"})
        assert answered.status_code == 200, answered.text
        submitted = await one.client.post("/v1/jobs", json={"model": "vectors", "inputs": ["Hi"]})
        assert submitted.status_code == 202, submitted.text
        assert await eventually(lambda: len(heard) == 2, says="tickets")
        assert {(ticket.key, ticket.bounds) for ticket in heard} == {("test", BOUNDS)}


async def test_a_batch_that_another_edge_takes_over_stays_with_the_key_that_made_it(tmp_path: Path) -> None:
    lines = [{"custom_id": f"{n}", "method": "POST", "url": "/v1/chat/completions", "body": CHAT} for n in range(3)]
    slow: dict[str, Any] = {"batches": {**QUICK, "in_flight": 1}}
    async with house(tmp_path, scope={**SCOPE, "concurrency": 1}, **slow) as (provider, whole, one):
        async with tickets(whole) as heard:
            provider.play([Do.STEP, response(completion("Hello!"))])
            batch = await begun(one, lines)
            assert await eventually(lambda: provider.asked, says="a first job")
            await one.stop()
            # The other edge knows this key without any bounds: what counts is what the batch was made with.
            async with edge(whole, name="second", **slow) as second:
                for _ in lines:
                    provider.step()
                ended = await eventually(lambda: seen_ended(second, batch), within=30.0, says="the batch's end")
                assert ended["request_counts"] == {"total": 3, "completed": 3, "failed": 0}
            bounds = Scope.model_validate({**SCOPE, "concurrency": 1}).bounds()
            assert {(ticket.key, ticket.bounds) for ticket in heard} == {("test", bounds)}
        assert {fact.key for fact in (await whole.facts(3)).values()} == {"test"}


async def begun(one: RunningEdge, lines: list[Any]) -> str:
    file = await one.client.post(
        "/v1/files", data={"purpose": "batch"}, files={"file": ("requests.jsonl", jsonl(lines))}
    )
    assert file.status_code == 200, file.text
    wish = {"input_file_id": file.json()["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    made = await one.client.post("/v1/batches", json=wish)
    assert made.status_code == 200, made.text
    return str(made.json()["id"])


async def seen_ended(one: RunningEdge, batch: str) -> Any:
    now = (await one.client.get(f"/v1/batches/{batch}")).json()
    return now if now["status"] == "completed" else None


async def test_beyond_its_unfinished_jobs_a_key_is_told_when_to_come_back(tmp_path: Path) -> None:
    async with house(tmp_path, scope={"max_queued": 1}) as (_, whole, one):
        later = await one.client.post("/v1/jobs", json={**CHAT, "not_before": 3_600})
        assert later.status_code == 202
        for path in ("/v1/chat/completions", "/v1/messages", "/v1/responses"):
            body = CHAT if path != "/v1/responses" else {"model": "chat", "input": "Hi"}
            refused = await one.client.post(path, json=body)
            assert refused.status_code == 429, refused.text
            assert refused.json()["error"]["type"] == "rate_limit_error"
            assert int(refused.headers["retry-after"]) >= 1
        async with edge(whole, name="another") as another:
            assert (await another.client.post("/v1/chat/completions", json=CHAT)).status_code == 200


async def test_a_receipt_has_the_estimate_in_its_header_and_the_answer_its_cost(tmp_path: Path) -> None:
    async with house(tmp_path) as (_, _, one):
        accepted = await one.client.post("/v1/jobs", json={**CHAT, "not_before": 3_600})
        told = accepted.json()
        assert accepted.headers["x-penstock-estimated-cost"] == told["estimated_cost"]
        assert 0 < Decimal(told["estimated_cost"]) <= Decimal(told["worst_cost"])
        explained = (await one.client.get(told["links"]["explain"])).json()
        assert explained["worst_cost"] == told["worst_cost"]
        answered = await one.client.post("/v1/chat/completions", json=CHAT)
        assert 0 < Decimal(answered.headers["x-penstock-cost"]) <= Decimal(told["worst_cost"])


async def test_an_estimate_submits_nothing_and_agrees_with_the_receipt(tmp_path: Path) -> None:
    async with house(tmp_path) as (provider, whole, one), tickets(whole) as heard:
        estimate = await asked(one, CHAT)
        assert estimate["deployment"] == "openai/gpt-4o-mini"
        assert 0 < Decimal(estimate["estimated_cost"]) <= Decimal(estimate["worst_cost"])
        assert estimate["refused"] is None
        vectors = await asked(one, {"model": "vectors", "inputs": ["Hi", "there"]})
        assert 0 < Decimal(vectors["worst_cost"]) < Decimal(estimate["worst_cost"])
        refused = await asked(one, {**CHAT, "model": "nowhere"})
        assert (refused["worst_cost"], refused["refused"]["kind"]) == (None, "unknown_route")
        assert (provider.asked, heard) == ([], [])
        accepted = await one.client.post("/v1/jobs", json={**CHAT, "not_before": 3_600})
        told = accepted.json()
        assert (told["worst_cost"], told["estimated_cost"]) == (estimate["worst_cost"], estimate["estimated_cost"])
        async with whole.producer() as producer:
            same = await producer.estimate(**CHAT)
        assert (str(same.worst), same.deployment) == (estimate["worst_cost"], "openai/gpt-4o-mini")


async def asked(one: RunningEdge, body: dict[str, Any]) -> dict[str, Any]:
    answered: httpx.Response = await one.client.post("/v1/jobs/estimate", json=body)
    assert answered.status_code == 200, answered.text
    told: dict[str, Any] = answered.json()
    assert (told["object"], told["route"]) == ("job.estimate", body["model"])
    return told


async def test_what_a_key_may_not_ask_for_it_may_not_ask_the_price_of(tmp_path: Path) -> None:
    async with house(tmp_path, scope={"routes": ["vectors"], "max_tokens": 5}) as (_, _, one):
        assert (await one.client.post("/v1/jobs/estimate", json=CHAT)).status_code == 403
