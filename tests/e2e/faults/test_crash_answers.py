"""Deaths where several attempts make an answer: drafts, streams that are gone on with, hedges; and experiments."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from job_contracts.results import Result
from job_contracts.stream import Switched, Token
from producer_sdk import Producer
from scheduler.service import Scheduler
from tests.support.plant import MESSAGES, Account, Plant, Victim, plant

pytestmark = pytest.mark.timeout(120)

POOL: dict[str, Any] = {"catalogue": "llamacpp", "slots": 8}
"""Its models go on with answers that were begun for them."""
BROKEN = "calm/broken+tokens=60+fault=cut@0.5"
JOBS = 3
"""Of each route."""


@dataclass(frozen=True)
class Death:
    """The only worker of a pool dies at the n-th time it passes a point; ``routes`` lead there."""

    point: str
    nth: int
    routes: dict[str, dict[str, Any]]
    pool: str


def verified(by: str) -> dict[str, Any]:
    return {"by": by, "mode": "before", "when": "all"}


def late(ttft: float, pool: str, second: str = "+tps=40") -> dict[str, Any]:
    """The first token of the first attempts comes late, that of the second ones before it."""
    deployments = [f"calm/late+tokens=40+fault=slow@{ttft}+times={JOBS}", f"{pool}/quick+tokens=40{second}"]
    return {"deployments": deployments, "hedge": {"share": 0.5, "after": 0.2}}


CALM: dict[str, dict[str, Any]] = {
    "judge": {"deployments": ["calm/judge"]},
    "drafted": {"deployments": ["calm/draft"], "verify": verified("judge")},
    "whole": {"deployments": ["calm/broken+tokens=60"]},
}
"""Routes on which nobody dies: what they say is what the others have to say."""
ANSWERS_DIE = (
    Death("draft.stored", 2, {"drafting": {"deployments": ["drafts/draft"], "verify": verified("judge")}}, "drafts"),
    Death(
        "attempt.answering",
        2,
        {
            "judge2": {"deployments": ["verdicts/judge"]},
            "judging": {"deployments": ["calm/draft"], "verify": verified("judge2")},
        },
        "verdicts",
    ),
    Death("attempt.continued", 2, {"read": {"deployments": [BROKEN, "readers/rest+tokens=20"]}}, "readers"),
    Death("stream.continued", 2, {"sent": {"deployments": [BROKEN, "senders/rest+tokens=40+tps=40"]}}, "senders"),
    Death("contest.won", 1, {"late": late(3.5, "winners")}, "winners"),
)
ASKED = ("drafted", "whole", "drafting", "judging", "read", "sent", "late")
PLAIN = ("drafted", "drafting", "judging")
"""Verified before they are given, so there is nothing to stream."""


@dataclass(frozen=True)
class Heard:
    """What a reader was told of one job."""

    route: str
    text: str
    """All pieces, one after the other."""
    switched: bool
    """Whether it was told to forget some of them."""
    record: Result

    @property
    def answer(self) -> str:
        return "" if self.record.answer is None else self.record.answer.text

    @property
    def lost(self) -> int:
        """Attempts whose workers died."""
        kinds = [None if each.failure is None else each.failure.kind for each in self.record.attempts]
        return kinds.count(FailureKind.WORKER_LOST)

    @property
    def made(self) -> list[str]:
        """The models that have answered, in order."""
        return [each.deployment.partition("/")[2] for each in self.record.attempts if each.failure is None]

    @property
    def tried(self) -> bool:
        """Whether it was a job of the experiment."""
        return self.route == TRIED


async def heard(producer: Producer, route: str) -> Heard:
    if route in PLAIN:
        record = await (await producer.submit(model=route, messages=MESSAGES)).record()
        return Heard(route, "" if record.answer is None else record.answer.text, switched=False, record=record)
    text, switched = "", False
    async with producer.stream(model=route, messages=MESSAGES) as events:
        async for event in events:
            switched = switched or (isinstance(event, Switched) and bool(text))
            text += event.text if isinstance(event, Token) else ""
        return Heard(route, text, switched, events.result.result)


async def replaced(site: Plant, death: Death, victim: Victim) -> None:
    """As a supervisor would."""
    await victim.killed()
    assert victim.point == death.point
    await site.worker(death.pool, f"after-{death.pool}")


async def test_a_worker_that_dies_within_an_answer_of_several_attempts_leaves_one_answer(tmp_path: Path) -> None:
    pools = {"calm": {**POOL, "slots": 64}} | {death.pool: POOL for death in ANSWERS_DIE}
    routes = dict(CALM)
    for death in ANSWERS_DIE:
        routes |= death.routes
    async with plant(tmp_path, pools=pools, routes=routes) as site:
        await site.scheduler()
        await site.worker("calm")
        victims = [
            await site.process("workers", "--pool", death.pool, crash_at=f"{death.point}:{death.nth}")
            for death in ANSWERS_DIE
        ]
        await asyncio.gather(*(victim.began("service.started", 60) for victim in victims))
        async with site.producer() as producer:
            dying = [asyncio.create_task(replaced(site, *one)) for one in zip(ANSWERS_DIE, victims, strict=True)]
            found = await asyncio.gather(*(heard(producer, route) for route in ASKED for _ in range(JOBS)))
            await asyncio.gather(*dying)
        await site.settled()
        account = await site.account()
    wrong = amiss(found, account)
    assert not wrong, "\n".join(wrong)
    for death in ANSWERS_DIE:
        assert any(one.lost for one in found if one.route in death.routes), f"{death.pool}: nothing was lost"
    (draft,) = {one.answer for one in found if one.route in PLAIN}
    assert draft
    beginning = next(one.answer for one in found if one.route == "whole")[:80]
    for one in found:
        last = one.record.attempts[-1]
        if one.route in PLAIN:
            assert one.made == ["draft", "judge"], "one draft, one verdict"
            assert one.record.verification is not None
            assert one.record.verification.verdict in {"accept", "correct", "replace"}
        if one.route in {"read", "sent"}:
            assert one.answer.startswith(beginning), one.answer
            assert last.continued == (1 if one.route == "read" or not one.lost else 2)
    shown = [one for one in found if one.route == "late" and one.record.attempts[-1].continued == 2]
    assert shown, "what the dead one had shown was not gone on with"


def amiss(found: Sequence[Heard], account: Account) -> list[str]:
    """What is wrong wherever a process died: one answer each, told as one, every call in the books."""
    ids = [one.record.job for one in found]
    wrong = [*account.wrong(ids), *(f"the ledger was not told of {name}" for name in account.untold(ids))]
    for one in found:
        if one.record.state is not JobState.SUCCEEDED:
            wrong.append(f"{one.route}: {one.record.state}, {one.record.failure}")
        if one.switched or one.text != one.answer:
            wrong.append(f"{one.route}: its reader was told {one.text!r}, it says {one.answer!r}")
    return wrong


# -- the leader


LEADERS_OF_ANSWERS_DIE = ("hedge.stored", "draft.read", "trials.read")
"""Each leads once and dies where it says."""
LEADERS: dict[str, dict[str, Any]] = {
    "judge": {"deployments": ["calm/judge"]},
    # The successor has come by the time at which the second attempt shows anything.
    "hedge.stored": late(20.0, "other", "+ttft=3.5"),
    "draft.read": {"deployments": ["calm/draft"], "verify": verified("judge")},
    "trials.read": {"deployments": ["calm/tried"]},
    "challenger": {"deployments": ["other/tried"]},
}
TRIED = "trials.read"
PROBE: dict[str, Any] = {"route": TRIED, "challengers": {"b": {"route": "challenger"}}, "ramp": {"steps": [1.0]}}
SESSIONS = 10


async def test_a_leader_that_dies_within_an_answer_of_several_attempts_costs_no_call(tmp_path: Path) -> None:
    pools = {"calm": {**POOL, "slots": 64}, "other": {**POOL, "slots": 64}}
    async with plant(tmp_path, pools=pools, routes=LEADERS, experiments={"probe": PROBE}) as site:
        for pool in pools:
            await site.worker(pool)
        async with site.producer() as producer:
            asked: list[asyncio.Task[Heard]] = []
            leader = await candidate(site, LEADERS_OF_ANSWERS_DIE[0])
            last: Scheduler | None = None
            for number, point in enumerate(LEADERS_OF_ANSWERS_DIE):
                await leader.began("term.began")
                if point != TRIED:
                    asked += [asyncio.create_task(heard(producer, point)) for _ in range(JOBS)]
                asked += [asyncio.create_task(tried(producer, f"{number}-{each}")) for each in range(SESSIONS)]
                further = LEADERS_OF_ANSWERS_DIE[number + 1 : number + 2]
                successor = await candidate(site, further[0]) if further else None
                last = last if further else await site.scheduler("the last one", leads=False)
                await leader.killed()
                assert leader.point == point
                leader = leader if successor is None else successor
            found = await asyncio.gather(*asked)
        await site.settled()
        account = await site.account()
        assert last is not None
        assert last.leading is not None
        await last.leading.trials.look()
        counted = last.leading.trials.book.accounts["probe"].jobs
    wrong = amiss(found, account)
    assert not wrong, "\n".join(wrong)
    arms = Counter("control" if one.record.route == TRIED else "b" for one in found if one.tried)
    assert not account.estimates, "every worker lived to tell what it cost"
    assert counted == arms, "each result counts once, in the arm that served it"
    for one in found:
        made = [each.number for each in one.record.attempts]
        calls = sorted(int(name.rpartition(".")[2]) for name in account.of([one.record.job], account.facts))
        if one.route == "hedge.stored":
            assert (made, calls) == ([2], [1, 2]), "the second attempt won, whoever led"
        elif one.route == "draft.read":
            assert (made, calls, one.made) == ([1, 2], [1, 2], ["draft", "judge"])
        else:
            assert (made, calls) == ([1], [1])


async def tried(producer: Producer, session: str) -> Heard:
    record = await (await producer.submit(model=TRIED, messages=MESSAGES, session=session)).record()
    return Heard(TRIED, "" if record.answer is None else record.answer.text, switched=False, record=record)


async def candidate(site: Plant, point: str) -> Victim:
    made = await site.process("scheduler", "--name", point, crash_at=f"{point}:1")
    await made.began("service.started")
    return made
