"""A key's limits over HTTP: what is beyond them waits or is refused in words, and no other key notices.

The same bounds on a project hold all of its keys together.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from catalogue.load import providers
from catalogue.rows import ModelRow
from gateway.keys import hashed
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from tests.support.edge import ADMIN, PEPPER, RunningEdge, edge
from tests.support.eventually import eventually
from tests.support.gateway import Gateway, gateway
from tests.support.stand_in import PROJECT, key
from tests.support.upstream import Do, Upstream, completion, response, upstream

CHAT: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10}
LATER: dict[str, Any] = {**CHAT, "not_before": 3_600}
LARGE: dict[str, Any] = {**LATER, "messages": [{"role": "user", "content": "Hi" * 700}]}
ANSWER = response(completion("Hello!"))
FREE = {
    "drain": 1.0,
    "pepper": PEPPER,
    "admin_hash": hashed(ADMIN, PEPPER),
    "keys": {"free": {"project": PROJECT, "hash": hashed(key(), PEPPER)}},
}
"""The same key under another id, and without bounds: to the scheduler it is another key."""
UNPRICED = ModelRow(name="nobody-knows-its-price", context_window=1_000, max_output=100)


@asynccontextmanager
async def house(
    tmp_path: Path, scope: Mapping[str, Any], project: Mapping[str, Any] | None = None
) -> AsyncIterator[tuple[Upstream, Gateway, RunningEdge, RunningEdge]]:
    """An edge whose key has this scope, and one whose key of the same project has none."""
    rows = dict(providers())
    rows["openai"] = rows["openai"].changed(changes=(UNPRICED,))
    async with upstream([ANSWER]) as provider:
        values = {
            "providers": {"openai": {"key": "sk-one", "base_url": f"{provider.url}/v1"}},
            "routes": {
                "chat": {"deployments": ["openai/gpt-4o-mini"]},
                "odd": {"deployments": [f"openai/{UNPRICED.name}"]},
            },
            "projects": {PROJECT: {"retry_share": 1.0, **(project or {})}},
        }
        async with (
            gateway(tmp_path, values, rows) as whole,
            edge(whole, scope=scope) as bound,
            edge(whole, name="free", values={"gateway": FREE}) as other,
        ):
            yield provider, whole, bound, other


def is_full(answer: httpx.Response) -> bool:
    return answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1


async def test_beyond_its_requests_a_minute_a_key_is_refused_and_another_is_not(tmp_path: Path) -> None:
    async with house(tmp_path, {"rpm": 60}) as (_, _, bound, other):
        answers = [await bound.client.post("/v1/chat/completions", json=CHAT) for _ in range(8)]
        refused = [answer for answer in answers if answer.status_code != 200]
        assert refused
        assert all(map(is_full, refused))
        assert "60 requests a minute" in refused[0].json()["error"]["message"]
        for _ in range(8):
            assert (await other.client.post("/v1/chat/completions", json=CHAT)).status_code == 200


async def job_of(one: RunningEdge, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = (await one.client.get(f"/v1/jobs/{answer.json()['id']}/explain")).json()
    return found


@pytest.mark.parametrize("whose", ["key", "project"])
async def test_beyond_its_tokens_a_minute_a_job_waits_and_goes_as_they_come_back(tmp_path: Path, whose: str) -> None:
    bounds = {"tpm": 900} if whose == "key" else {}
    project = {"limits": {"tpm": 900}} if whose == "project" else {}
    async with house(tmp_path, bounds, project) as (provider, _, bound, other):
        sent = [await bound.client.post("/v1/jobs", json=CHAT) for _ in range(3)]
        waiting = await eventually(lambda: waits(bound, sent[-1]), within=10.0, says="nothing waits")
        assert whose in waiting
        before = len(provider.asked)
        assert before < len(sent)
        if whose == "key":
            assert (await other.client.post("/v1/chat/completions", json=CHAT)).status_code == 200
        ended = await asyncio.gather(*(done(bound, one) for one in sent))
        assert set(ended) == {JobState.SUCCEEDED.value}


async def waits(one: RunningEdge, answer: httpx.Response) -> str:
    return str((await job_of(one, answer)).get("waiting_for") or "")


async def done(one: RunningEdge, answer: httpx.Response) -> str:
    path = f"/v1/jobs/{answer.json()['id']}"

    async def ended() -> str | None:
        state = (await one.client.get(path)).json()["state"]
        return state if state in {JobState.SUCCEEDED.value, JobState.FAILED.value} else None

    return str(await eventually(ended, within=30.0, every=0.1, says=path))


@pytest.mark.parametrize("whose", ["key", "project"])
async def test_beyond_its_attempts_at_once_a_job_waits_for_the_end_of_one(tmp_path: Path, whose: str) -> None:
    bounds = {"concurrency": 1} if whose == "key" else {}
    project = {"limits": {"concurrency": 1}} if whose == "project" else {}
    async with house(tmp_path, bounds, project) as (provider, _, bound, other):
        provider.play([Do.STEP, ANSWER])
        sent = [await bound.client.post("/v1/jobs", json=CHAT) for _ in range(2)]
        await eventually(lambda: provider.asked, within=10.0, says="nothing is called")
        waiting = await eventually(lambda: waits(bound, sent[1]), within=10.0, says="nothing waits")
        assert whose in waiting
        aside = await other.client.post("/v1/jobs", json=CHAT)
        if whose == "key":
            await eventually(lambda: len(provider.asked) == 2, within=10.0, says="another key is held up")
        else:
            assert whose in await eventually(lambda: waits(other, aside), within=10.0, says="the other key goes")
            assert len(provider.asked) == 1
        assert JobState.SUCCEEDED.value not in {(await job_of(bound, one))["state"] for one in sent}
        for _ in range(3):
            provider.step()
        assert {await done(bound, one) for one in sent} == {JobState.SUCCEEDED.value}
        assert await done(other, aside) == JobState.SUCCEEDED.value


@pytest.mark.parametrize("whose", ["key", "project"])
@pytest.mark.parametrize(("bounds", "fits"), [({"max_queued": 2}, LATER), ({"max_queued_bytes": 3_800}, LARGE)])
async def test_beyond_its_queued_jobs_or_bytes_a_request_is_refused_until_one_has_gone(
    tmp_path: Path, whose: str, bounds: dict[str, Any], fits: dict[str, Any]
) -> None:
    of_key, of_project = (bounds, {}) if whose == "key" else ({}, bounds)
    async with house(tmp_path, of_key, of_project) as (_, _, bound, other):
        first = await bound.client.post("/v1/jobs", json=fits)
        await job_of(bound, await bound.client.post("/v1/jobs", json=fits))
        await eventually(lambda: job_of(bound, first))
        now = {**fits}
        del now["not_before"]
        refused = await bound.client.post("/v1/chat/completions", json=now)
        assert is_full(refused), refused.text
        assert whose in refused.json()["error"]["message"]
        theirs = await other.client.post("/v1/chat/completions", json=CHAT)
        assert (theirs.status_code == 200) is (whose == "key" or fits is LARGE), theirs.text
        gone = await bound.client.post(f"/v1/jobs/{first.json()['id']}/cancel")
        assert gone.status_code in {200, 202}, gone.text

        async def accepted() -> bool:
            return (await bound.client.post("/v1/chat/completions", json=now)).status_code == 200

        assert await eventually(accepted, within=10.0, every=0.2, says="still full")


async def test_under_a_hard_budget_what_has_no_price_is_refused_and_under_a_soft_one_it_goes(tmp_path: Path) -> None:
    hard = {"budget": {"day": "5"}}
    odd = {**CHAT, "model": "odd"}
    async with house(tmp_path, hard) as (provider, _, bound, other):
        refused = await bound.client.post("/v1/chat/completions", json=odd)
        assert refused.status_code == 402, refused.text
        assert "price" in refused.json()["error"]["message"]
        assert provider.asked == []
        answered = await other.client.post("/v1/chat/completions", json=odd)
        assert answered.status_code == 200, answered.text
        assert "x-penstock-cost" not in answered.headers
        assert (await bound.client.post("/v1/chat/completions", json=CHAT)).status_code == 200


async def test_a_soft_budget_that_is_used_up_refuses_nobody_and_is_told_as_a_figure(tmp_path: Path) -> None:
    tiny = {"total": "0.0000001", "soft": True}
    async with house(tmp_path, {"budget": tiny}, {"budget": tiny}) as (_, whole, bound, _):
        for _ in range(3):
            answered = await bound.client.post("/v1/chat/completions", json=CHAT)
            assert answered.status_code == 200, answered.text
            assert float(answered.headers["x-penstock-cost"]) > float(tiny["total"])  # type: ignore[arg-type]
        assert not [fact for fact in (await whole.facts(3)).values() if fact.failure is FailureKind.BUDGET]
        board = whole.scheduler.board
        assert board is not None

        def used_up() -> bool:
            limited, spent, *_ = board.counts().budgets["project:" + PROJECT, "total"]
            return spent > limited > 0

        await eventually(used_up, within=10.0, says="nobody tells that it is used up")
