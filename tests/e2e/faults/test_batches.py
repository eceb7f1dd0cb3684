"""Edges that die in the middle of files and batches: each request is called once and has one output line."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from gateway.keys import hashed
from job_contracts import subjects
from tests.support.batches import completed, each_once, ended, jsonl, output, request
from tests.support.eventually import eventually
from tests.support.plant import Plant, Victim, plant
from tests.support.stand_in import PROJECT, key

pytestmark = pytest.mark.timeout(240)

EDGES_DIE = {
    "file.chunks_stored": 1,
    "batch.created": 1,
    "batch.validated": 1,
    "batch.line_answered": 12,
    "batch.line_stored": 25,
    "batch.complete": 1,
    "batch.written": 1,
    "batch.ended": 1,
}
"""The points at which an edge dies, and at the how manieth time."""
LINES = 40
PEPPER = "pepper"
SILENCE = 1.5
"""Seconds after which a batch is taken over."""
GATEWAY: dict[str, Any] = {
    "drain": 1.0,
    "pepper": PEPPER,
    "keys": {"test": {"project": PROJECT, "hash": hashed(key(), PEPPER)}},
    "files": {"sweep": 0.3, "abandoned": 4.0},
    "batches": {"beat": 0.3, "silence": SILENCE, "in_flight": 16},
}
ROUTES = {"fast": {"deployments": ["alpha/fast+ttft=0.02"]}, "slow": {"deployments": ["alpha/slow+ttft=0.2"]}}


@asynccontextmanager
async def site_of(tmp_path: Path, silence: float = SILENCE) -> AsyncIterator[Plant]:
    settings = {**GATEWAY, "batches": {**GATEWAY["batches"], "silence": silence}}
    async with plant(tmp_path, pools={"alpha": {"slots": 16}}, routes=ROUTES, gateway=settings) as site:
        await site.scheduler()
        await site.worker("alpha")
        yield site


async def edge(site: Plant, name: str, crash_at: str = "") -> tuple[Victim, AsyncOpenAI]:
    """An edge as a process of its own, and the official client at it."""
    made = await site.process("gateway", "--port", "0", "--name", name, crash_at=crash_at)
    await made.began("service.started", 60)
    url = f"http://127.0.0.1:{made.said('edge.listening')[0]['port']}/v1"
    client = AsyncOpenAI(base_url=url, api_key=key(), max_retries=0)
    return made, await site.stack.enter_async_context(client)


async def begin(client: AsyncOpenAI, file: str) -> Any:
    return await client.batches.create(input_file_id=file, endpoint="/v1/chat/completions", completion_window="24h")


async def upload(client: AsyncOpenAI, model: str = "fast", count: int = LINES) -> Any:
    content = jsonl(request(number, model) for number in range(count))
    return await client.files.create(file=("requests.jsonl", content), purpose="batch")


async def nothing_is_twice(site: Plant, batches: list[Any], count: int) -> None:
    """One call and one result a request, and nothing of any batch left in its stream but its record."""
    await site.settled()
    account = await site.account()
    assert not account.wrong(account.results)
    jobs = Counter(name.partition(".")[2].rpartition(".")[0] for name in account.calls)
    assert len(account.results) == len(jobs) == count
    assert set(jobs.values()) == {1}, "a request was called twice"

    async def cleared() -> bool:
        return (await site.bus.stream_state(subjects.BATCHES)).messages == len(batches)

    await eventually(cleared, within=15.0, says="output lines are left in their stream")


async def test_an_edge_that_dies_at_any_point_costs_no_call_and_no_line(tmp_path: Path) -> None:
    # Whoever is to die must keep its batch until then, though it may stand still for a second or two.
    async with site_of(tmp_path, silence=2 * SILENCE) as site:
        _, living = await edge(site, "living")
        batches: list[Any] = []
        for point, nth in EDGES_DIE.items():
            victim, client = await edge(site, point, f"{point}:{nth}")
            if point == "file.chunks_stored":
                with pytest.raises(openai.APIConnectionError):
                    await upload(client)
            elif point == "batch.created":
                with pytest.raises(openai.APIConnectionError):
                    await begin(client, (await upload(living)).id)
            else:
                batches.append(await begin(client, (await upload(living)).id))
            await victim.killed(60)
            assert victim.point == f"{point}:{nth}".removesuffix(":1") or victim.point == point
        batches = [one async for one in living.batches.list()]
        done = [await ended(living, one.id, within=60.0) for one in batches]
        for one in done:
            answers, errors = await output(living, one)
            each_once(answers, LINES)
            assert (one.status, errors, one.request_counts.completed) == ("completed", [], LINES)
        assert len(done) == len(EDGES_DIE) - 1
        await nothing_is_twice(site, done, LINES * len(done))
        files = [one async for one in living.files.list()]
        assert len(files) == 2 * len(done), "a half-uploaded file is visible"

        async def swept() -> bool:
            found = await site.bus.stream_state(subjects.FILES, subjects=subjects.file_chunk("*", "*", "0"))
            return len(found.subjects or ()) == len(files)

        await eventually(swept, within=20.0, says="a half-uploaded file is left")


async def test_two_edges_on_one_batch_make_one_line_of_each_request_and_one_that_ends_gives_its_batch_away(
    tmp_path: Path,
) -> None:
    """One is stopped for so long that another takes over; then it goes on, and believes that the batch is its own.

    Then there is one edge alone, which takes up again what another had when it was killed.
    """
    async with site_of(tmp_path) as site:
        first, client = await edge(site, "first")
        beside, other = await edge(site, "other")
        batch = await begin(client, (await upload(other, "slow", 150)).id)

        async def some() -> bool:
            return completed(await other.batches.retrieve(batch.id)) >= 20

        await eventually(some, within=30.0)
        first.child.send_signal(19)  # SIGSTOP
        taken = await eventually(lambda: site_said(site, batch.id), within=20.0, says="nobody took over")
        assert taken
        first.child.send_signal(18)  # SIGCONT
        done = await ended(other, batch.id, within=60.0)
        answers, errors = await output(other, done)
        each_once(answers, 150)
        assert not errors
        await nothing_is_twice(site, [done], 150)
        beside.child.terminate()
        assert await beside.ended(30.0) == 0, "\n".join(str(one) for one in beside.lines[-8:])
        await nothing_is_twice(site, [done, await handed_on(site, first, client)], 150 + 120)


async def handed_on(site: Plant, first: Victim, client: AsyncOpenAI) -> Any:
    """A batch of an edge that is killed, taken up by one that ends, which gives it to a third at once."""
    batch = await begin(client, (await upload(client, "slow", 120)).id)

    async def some() -> bool:
        return completed(await client.batches.retrieve(batch.id)) >= 10

    await eventually(some, within=30.0)
    first.child.kill()
    await first.killed()
    second, client = await edge(site, "second")
    await eventually(lambda: second.said("batch.taken"), within=20.0)
    second.child.terminate()
    assert await second.ended(30.0) == 0, "\n".join(str(one) for one in second.lines[-8:])
    third, client = await edge(site, "third")
    await third.began("batch.taken")
    done = await ended(client, batch.id, within=60.0)
    answers, _ = await output(client, done)
    each_once(answers, 120)
    return done


async def site_said(site: Plant, batch: str) -> bool:
    record = (await site.bus.last(subjects.BATCHES, subjects.batch(PROJECT, batch))).data
    return b'"owner":"gateway other' in record


async def test_a_batch_is_called_off_although_its_edge_dies_in_the_middle_of_that(tmp_path: Path) -> None:
    async with site_of(tmp_path) as site:
        first, client = await edge(site, "first")
        _, other = await edge(site, "other")
        batch = await begin(client, (await upload(client, "slow", 1_500)).id)

        async def some() -> bool:
            return completed(await other.batches.retrieve(batch.id)) >= 10

        await eventually(some, within=30.0)
        first.child.kill()
        assert (await other.batches.cancel(batch.id)).status == "cancelling"
        done = await ended(other, batch.id, within=60.0)
        answers, errors = await output(other, done)
        each_once([*answers, *errors], 1_500)
        assert (done.status, done.request_counts.total) == ("cancelled", 1_500)
        assert {line["error"]["code"] for line in errors} == {"batch_cancelled"}
        await site.settled()
        account = await site.account()
        assert not account.wrong(account.results)
        assert len(account.results) < 100, "what was not under way was asked"
