"""Every row of the table in ARCHITECTURE.md: a process dies right there, and each accepted job has its one result."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from job_contracts import subjects
from job_contracts.attempts import Assignment, attempt_name
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from producer_sdk import Producer
from producer_sdk.handle import JobHandle
from runtime.bus import NatsBus
from runtime.bus.port import BusError
from runtime.crash import POINTS
from tests.e2e.faults.succession import DEPLOYMENT, LEADERS_DIE, Succession
from tests.e2e.faults.test_batches import EDGES_DIE
from tests.e2e.faults.test_crash_answers import ANSWERS_DIE, LEADERS_OF_ANSWERS_DIE
from tests.e2e.test_edge_processes import (
    test_an_edge_that_is_killed_in_the_middle_of_a_stream_costs_its_client_nothing as killed_in_the_middle_of_a_stream,
)
from tests.integration.test_ledger_crashes import LEDGERS_DIE
from tests.integration.test_orders import (
    test_a_leader_that_dies_when_an_order_is_stored_leaves_it_in_force as dies_with_an_order_stored,
)
from tests.integration.test_orders_processes import (
    test_orders_hold_through_kill_9_of_one_leader_after_the_other as orders_through_kills,
)
from tests.integration.test_scaling import (
    test_a_leader_that_vanishes_leaves_its_number_to_the_next as vanishes_with_a_number,
)
from tests.integration.test_tiers import TIERS_DIE
from tests.support.eventually import eventually
from tests.support.plant import BASE, MESSAGES, ROOT, Plant, Victim, plant, producer_process
from tests.support.proxy import FaultProxy, publish_acks
from tests.support.stand_in import PROJECT
from tests.support.world import Pool

pytestmark = pytest.mark.timeout(240)

SLOTS = 4
JOBS = 10
"""Jobs of each pool whose worker dies."""


# -- workers


@dataclass(frozen=True)
class Death:
    """A worker that dies at the n-th time it passes a point, and the model that its pool calls."""

    point: str
    nth: int = 3
    first: str = ""
    """Suffix of the first deployment of the route, which the second one is without."""

    @property
    def pool(self) -> str:
        return self.point.replace(".", "-")

    @property
    def route(self) -> dict[str, Any]:
        well = f"{self.pool}/{self.pool}+ttft=0.05"
        return {"deployments": [f"{well}{self.first}", well] if self.first else [well]}


WORKERS_DIE = (
    Death("attempt.fetched"),
    Death("attempt.answering"),
    Death("attempt.made"),
    Death("result.blob_stored", first="+tokens=30000"),
    Death("result.stored"),
    Death("outcome.stored", first="+fault=503@0.1"),
    Death("books.stored", nth=2),
    Death("books.acknowledged"),
)


async def test_a_worker_that_dies_at_any_point_costs_at_most_the_calls_it_had_in_hand(tmp_path: Path) -> None:
    pools = {death.pool: {"slots": SLOTS} for death in WORKERS_DIE}
    routes = {death.pool: death.route for death in WORKERS_DIE}
    async with plant(tmp_path, pools=pools, routes=routes, broker={"max_payload": 65_536}) as site:
        await site.scheduler()
        victims = {
            death: await site.process("workers", "--pool", death.pool, crash_at=f"{death.point}:{death.nth}")
            for death in WORKERS_DIE
        }
        producer = await site.stack.enter_async_context(site.producer())
        await asyncio.gather(*(victim.began("service.started", 60) for victim in victims.values()))
        jobs = {death: await submitted(producer, death.pool, JOBS) for death in WORKERS_DIE}
        await asyncio.gather(*(replaced(site, death, victim) for death, victim in victims.items()))
        records = {death: await asyncio.gather(*(one.record() for one in jobs[death])) for death in WORKERS_DIE}
        await site.settled()
        account = await site.account()
    wrong = []
    for death in WORKERS_DIE:
        ids = [handle.id for handle in jobs[death]]
        wrong += [f"{death.point}: {word}" for word in account.wrong(ids)]
        wrong += [f"{death.point}: {one.state}" for one in records[death] if one.state is not JobState.SUCCEEDED]
        if len(account.extra(ids)) > SLOTS:
            wrong.append(f"{death.point}: calls beyond those that count: {sorted(account.extra(ids))}")
        if account.untold(ids):
            wrong.append(f"{death.point}: the ledger was not told of {sorted(account.untold(ids))}")
    assert not wrong, "\n".join(wrong)


async def replaced(site: Plant, death: Death, victim: Victim) -> None:
    """As a supervisor would: when the worker is dead, another one takes its place."""
    await victim.killed()
    assert victim.point == death.point
    await site.worker(death.pool, f"after-{death.pool}")


async def submitted(producer: Producer, route: str, count: int) -> list[JobHandle]:
    return list(await asyncio.gather(*(producer.submit(model=route, messages=MESSAGES) for _ in range(count))))


# -- the leader


KINDS: dict[str, tuple[JobState, int]] = {
    "plain": (JobState.SUCCEEDED, 1),
    "followed": (JobState.SUCCEEDED, 1),
    "failing": (JobState.SUCCEEDED, 2),
    "refused": (JobState.FAILED, 1),
    "cancelled": (JobState.CANCELLED, 0),
    "doomed": (JobState.DEAD, 0),
}
"""How a job of each kind ends, and the calls that it takes at most, however many leaders die."""


NOT_CALLED = {FailureKind.WORKER_LOST, FailureKind.GRANT_EXPIRED}
"""Ends of attempts that these workers did not call for: the lost ones name no attempt, old grants are not used."""


class Traffic:
    """Submits jobs of every kind, again and again, until it is told to stop."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._stopped = asyncio.Event()
        self.jobs: list[tuple[str, JobHandle]] = []

    async def flow(self) -> None:
        rounds = 0
        while not self._stopped.is_set():
            kinds = [kind for kind in KINDS if kind != "doomed" or rounds % 8 == 0]
            handles = await asyncio.gather(*(self._submit(kind) for kind in kinds))
            self.jobs += zip(kinds, handles, strict=True)
            rounds += 1
            try:
                await asyncio.wait_for(self._stopped.wait(), 0.15)
            except TimeoutError:
                continue

    def stop(self) -> None:
        self._stopped.set()

    async def _submit(self, kind: str) -> JobHandle:
        if kind != "cancelled":
            return await self._producer.submit(model=kind, messages=MESSAGES)
        handle = await self._producer.submit(model="plain", messages=MESSAGES, not_before=600.0)
        await handle.cancel()
        return handle


LOST = 512
"""Attempts that may be lost at once: each takes seconds, and many wait for it when leaders took their time to die."""


class Unnamed(Pool):
    """A worker that takes assignments and names none of them in its heartbeats, as one that has lost them."""

    def __init__(self, bus: NatsBus) -> None:
        super().__init__(bus, "doomed", self._forget, slots=LOST)

    def _forget(self, _: Assignment) -> None:
        self.held.clear()


async def test_a_leader_that_dies_at_any_point_costs_no_call_and_no_job(tmp_path: Path) -> None:
    metered: dict[str, Any] = {"slots": 16, "limits": {"rpm": 1_000_000}}
    routes = {
        "plain": {"deployments": ["alpha/plain"]},
        "followed": {
            "deployments": ["alpha/followed"],
            "shadow": {"to": "plain", "share": 1.0, "budget": {"day": 5, "soft": True}},
        },
        "failing": {"deployments": ["alpha/failing+fault=503@0.05", "beta/well"]},
        "refused": {"deployments": ["alpha/refused+fault=bad_request"]},
        "doomed": {"deployments": ["doomed/never"]},
        "unused": {"deployments": [DEPLOYMENT]},
    }
    pools = {"alpha": metered, "beta": metered, "doomed": {"slots": LOST}}
    # The living workers share our loop: a pause of it for a second or two must not make the leader miss them.
    scheduling = {**BASE["scheduler"], "beat_missed": 5.0, "max_worker_deaths": 1}
    async with (
        plant(tmp_path, pools=pools, routes=routes, scheduler=scheduling) as site,
        site.producer() as producer,
    ):
        for pool in ("alpha", "beta"):
            await site.worker(pool)
        lost = await Unnamed(await site.connection("doomed")).start()
        site.stack.push_async_callback(lost.die)
        traffic = Traffic(producer)
        flowing = asyncio.create_task(traffic.flow())
        await Succession(site, await site.connection("operator", inbox_prefix=subjects.inbox_prefix("-"))).run()
        traffic.stop()
        await flowing
        records = await asyncio.gather(*(handle.record() for _, handle in traffic.jobs))
        await site.settled()
        account = await site.account()
    ids = [handle.id for _, handle in traffic.jobs]
    wrong = account.wrong(ids)
    for (kind, handle), record in zip(traffic.jobs, records, strict=True):
        state, most = KINDS[kind]
        calls = account.of([handle.id], account.calls)
        made = {
            attempt_name(PROJECT, handle.id, attempt.number)
            for attempt in record.attempts
            if attempt.failure is None or attempt.failure.kind not in NOT_CALLED
        }
        if record.state is not state or len(calls) > most or calls != made:
            ends = [(one.deployment, one.failure and one.failure.kind.value) for one in record.attempts]
            wrong.append(f"{kind} {handle.id} is {record.state} after {calls}, says {ends}")
    wrong += [f"the ledger was not told of {name}" for name in account.untold(ids)]
    assert not wrong, f"{len(wrong)}\n" + "\n".join(wrong[:20])
    assert len(traffic.jobs) > 100


# -- producers and the broker


@pytest.mark.parametrize("accepted", [False, True], ids=["before the acknowledgement", "after it"])
async def test_a_producer_that_dies_finds_its_job_again_and_it_ran_once(accepted: bool, tmp_path: Path) -> None:
    routes = {"plain": {"deployments": ["alpha/plain"]}}
    async with plant(tmp_path, pools={"alpha": {}}, routes=routes) as site, FaultProxy(site.broker) as proxy:
        await site.scheduler()
        if not accepted:
            proxy.lose_down = publish_acks
        async with producer_process(proxy.url) as child:
            await eventually(lambda: child.other, within=30.0)
            await eventually(lambda: len(child.other) > 1 if accepted else proxy.lost, within=20.0)
            child.child.kill()
        told = [line.strip() for line in child.other[1:]]
        assert bool(told) is accepted
        await site.worker("alpha")
        async with site.producer() as producer:
            again = await producer.submit(model="plain", messages="Say hello.", idempotency_key="the-same")
            assert not accepted or again.id == told[0]
            assert (await again).text
            assert (await producer.attach(again.id).record()).state is JobState.SUCCEEDED
        await site.settled()
        account = await site.account()
        assert not account.wrong([again.id])
        assert list(account.results) == [again.id]
        assert account.calls == account.facts == {attempt_name(PROJECT, again.id, 1): 1}


async def test_a_broker_that_is_killed_and_comes_back_has_lost_nothing_that_was_accepted(tmp_path: Path) -> None:
    routes = {"plain": {"deployments": ["alpha/plain+ttft=0.1"]}}
    async with plant(tmp_path, pools={"alpha": {"slots": 16}}, routes=routes) as site:
        await site.scheduler()
        await site.worker("alpha")
        async with site.producer() as producer:
            asked = [asyncio.create_task(producer.submit(model="plain", messages=f"Number {n}")) for n in range(200)]
            for share in (0.2, 0.6):
                await eventually(partial(has_results, site, share * len(asked)), within=20.0)
                site.broker.kill()
                await site.broker.start()
            handles = await asyncio.gather(*asked)
            records = await asyncio.gather(*(handle.record() for handle in handles))
        await site.settled()
        account = await site.account()
    ids = [handle.id for handle in handles]
    assert {record.state for record in records} == {JobState.SUCCEEDED}
    assert not account.wrong(ids)
    assert not account.untold(ids)
    assert len(account.extra(ids)) <= 2 * 16


async def has_results(site: Plant, count: float) -> bool:
    try:
        return (await site.bus.stream_state(subjects.RES)).messages >= count
    except BusError:
        return False


# -- the table


ROWS: dict[str, tuple[object, ...]] = {
    "producer, before the acknowledgement": (test_a_producer_that_dies_finds_its_job_again_and_it_ran_once,),
    "producer, after it": (test_a_producer_that_dies_finds_its_job_again_and_it_ran_once,),
    "leader, before the dispatch is stored": (
        "lease.acquired",
        "recovery.submissions_read",
        "dispatch.decided",
        "lease.levels_stored",
        "cancel.read",
    ),
    "leader, dispatch handed over, outcome unknown": ("lease.outcome_unknown",),
    "leader, after the dispatch": ("dispatch.stored", "spending.stored", "spending.read", "lease.resigned"),
    "worker, fetched, not called": ("attempt.fetched",),
    "worker, in the call": ("attempt.answering", "attempt.made", "result.blob_stored", "attempt.lost"),
    "worker, a broken answer read, or gone on with": ("attempt.continued", "stream.continued"),
    "worker, of two attempts the one that is shown": ("contest.won",),
    "worker, draft stored, its outcome not": ("draft.stored",),
    "worker, in the call of a verifier": ("attempt.answering",),
    "worker, with a batch at its provider": TIERS_DIE,
    "worker, result stored, facts or acknowledgement not": ("result.stored", "books.stored", "books.acknowledged"),
    "worker, outcome stored, acknowledgement not": ("outcome.stored",),
    "leader, two attempts under way": ("hedge.stored",),
    "leader, outcome read, nothing written": ("attempt.ended",),
    "leader, a draft's outcome read, nothing written": ("draft.read",),
    "leader, results of an experiment read, not stored": ("trials.read",),
    "leader, a number of workers reckoned, not told": (vanishes_with_a_number,),
    "leader, an order stored, not carried out": (
        "order.stored",
        dies_with_an_order_stored,
        orders_through_kills,
    ),
    "leader, letter stored, result not": ("letter.stored",),
    "leader, terminal record stored, submission still there": (
        *("ending.stored", "job.settled", "followup.submitted", "settling.removed"),
    ),
    "edge, job submitted, client not answered": (killed_in_the_middle_of_a_stream,),
    "edge, a file half uploaded": ("file.chunks_stored",),
    "edge, in the middle of a batch": tuple(point for point in EDGES_DIE if point.startswith("batch.")),
    "ledger, facts read, not stored": ("ledger.read", "ledger.written"),
    "ledger, facts stored": ("ledger.stored",),
    "broker, single node, any moment": (
        test_a_broker_that_is_killed_and_comes_back_has_lost_nothing_that_was_accepted,
    ),
}
"""The rows of the table in ARCHITECTURE.md, and where a process dies to show each of them."""


def test_every_row_of_the_table_of_crashes_is_shown_by_a_death() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = text.partition("## What happens if it stops right there")[2].partition("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| ")][1:]
    assert rows == list(ROWS), "give each row of the table its deaths, in its order"


def test_every_point_shows_a_row_and_is_died_at() -> None:
    points = [point.event for point in POINTS]
    died_at = (
        {death.point for death in WORKERS_DIE}
        | {point for point, _ in LEADERS_DIE}
        | {*EDGES_DIE, *LEDGERS_DIE, *TIERS_DIE, *LEADERS_OF_ANSWERS_DIE}
        | {death.point for death in ANSWERS_DIE}
    )
    assert died_at == set(points)
    shown = {shown for row in ROWS.values() for shown in row if isinstance(shown, str)}
    assert shown == set(points)
