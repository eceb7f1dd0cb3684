"""Leaders that die one after the other, each where it is told to; at last one comes that lives.

Two run at a time, and one of them leads. Whoever gets no processor for as long as a lease lasts loses it alive: then it
stands by, and dies when it leads again, with the other one in its place until then.
"""

from __future__ import annotations

import asyncio
from functools import partial

from job_contracts import subjects
from job_contracts.codec import decode, encode
from job_contracts.operating import AskAudit, AskOrder, AuditPage, Ordered
from runtime.bus import NatsBus
from runtime.bus.port import BusError
from tests.integration.test_orders_processes import asked, overview
from tests.support.eventually import eventually
from tests.support.plant import Plant, Victim
from tests.support.proxy import FaultProxy, lose_nothing, publish_acks

LEADERS_DIE = (
    ("lease.acquired", 1),
    ("recovery.submissions_read", 1),
    ("dispatch.decided", 3),
    ("lease.levels_stored", 3),
    ("lease.outcome_unknown", 1),  # and the batch is stored
    ("lease.outcome_unknown", 1),  # and the batch never came
    ("dispatch.stored", 3),
    ("attempt.ended", 3),
    ("attempt.lost", 1),
    ("letter.stored", 1),
    ("cancel.read", 3),
    ("ending.stored", 2),
    ("job.settled", 5),
    ("followup.submitted", 3),
    ("settling.removed", 2),
    ("spending.stored", 1),
    ("spending.read", 1),
    ("order.stored", 1),
    ("lease.resigned", 1),
)
"""Each dies where it says, at that time it passes there; its successor stands by already."""

DEPLOYMENT = "beta/unused"
"""What the operator's orders are about; none of the jobs goes there."""
STATES = {"pause": "paused", "drain": "draining"}
"""What is ordered, and how a deployment is then."""
TURN = 120.0
"""Seconds until whoever stands by leads, and until whoever leads is dead, at most."""


class Succession:
    """``await Succession(site, operator).run()``; ``operator`` is the services' connection."""

    def __init__(self, site: Plant, operator: NatsBus) -> None:
        self._site, self._operator = site, operator
        self._living: list[Victim] = []
        self._orders: list[AskOrder] = []

    async def run(self) -> None:
        """Until all have died, and the one that lives has told that the last order holds."""
        dying: set[asyncio.Task[None]] = set()
        try:
            for number in range(len(LEADERS_DIE)):
                dying.add(asyncio.create_task(self._dies(number)))
                dying = await left(dying, 1)
            last = await self._site.process("scheduler", "--name", "the last one")
            await last.began("service.started")
            self._living.append(last)
            dying = await left(dying, 0)
        finally:
            for task in dying:
                task.cancel()
            await asyncio.gather(*dying, return_exceptions=True)
        await last.began("term.began")
        await self._ordered_once()

    async def _dies(self, number: int) -> None:
        """From a candidate's start to its death; one that led no more when it was told to end has a successor."""
        point, _ = LEADERS_DIE[number]
        while True:
            victim, proxy = await self._stands_by(number)
            self._living.append(victim)
            await victim.began("term.began", TURN)
            if proxy is not None:
                await eventually(lambda proxy=proxy: proxy.lost, within=TURN, says="nothing was dispatched")  # type: ignore[misc]
                proxy.cut()
                proxy.lose_up = proxy.lose_down = lose_nothing
            elif point == "order.stored":
                await eventually(partial(self._order, victim), within=TURN, says="no order was stored")
            elif point == "lease.resigned":
                await eventually(partial(self._succeeded, victim), within=TURN)
                victim.child.terminate()
            await eventually(partial(ended, victim), within=TURN, says=point)
            self._living.remove(victim)
            if point == "lease.resigned" and (victim.said("lease.lost") or victim.said("lease.resign_unconfirmed")):
                continue
            await victim.killed()
            assert victim.point == point
            return

    async def _stands_by(self, number: int) -> tuple[Victim, FaultProxy | None]:
        """A candidate that will die at the point of that number, and what is between it and the broker."""
        point, nth = LEADERS_DIE[number]
        proxy = None
        if point == "lease.outcome_unknown":
            proxy = await self._site.stack.enter_async_context(FaultProxy(self._site.broker))
            lose_batch(proxy, stored=LEADERS_DIE[number - 1][0] != point)
        url = None if proxy is None else proxy.url
        made = await self._site.process("scheduler", "--name", f"{number} {point}", crash_at=f"{point}:{nth}", url=url)
        await made.began("service.started")
        return made, proxy

    def _succeeded(self, victim: Victim) -> bool:
        """Whether it leads and another one stands by."""
        return leads(victim) and len(self._living) > 1

    async def _order(self, victim: Victim) -> bool:
        """Whether it has died; where it leads it is asked for another order, and is dead before it answers."""
        if ended(victim) or not leads(victim):
            return ended(victim)
        number = len(self._orders)
        order = AskOrder(
            do=("pause", "drain")[number % 2], aim="deployment", name=DEPLOYMENT, by="ann", why=f"repairs {number}"
        )
        self._orders.append(order)
        try:
            told = (await self._operator.request(subjects.api("-", "order"), encode(order), timeout=5.0)).data
        except BusError:
            return False
        if not told.startswith(b'{"refused"'):
            await eventually(lambda: victim.said("lease.lost"), within=20.0, says="it answered before it died")
        return False

    async def _ordered_once(self) -> None:
        """The order that a leader died with is in force, and asking again changes nothing."""
        order = self._orders[-1]
        told = await overview(self._operator)
        (one,) = [each for pool in told.pools for each in pool.deployments if each.name == order.name]
        assert one.order is not None
        assert (one.order.standing.state, one.order.by, one.order.why) == (STATES[order.do], order.by, order.why)
        again = decode(Ordered, await asked(self._operator, "order", order))
        assert (again.changed, again.line and again.line.seq) == (False, one.order.seq)
        audit = decode(AuditPage, await asked(self._operator, "audit", AskAudit()))
        assert [line.seq for line in audit.lines if line.entry.why == order.why] == [one.order.seq]


def leads(candidate: Victim) -> bool:
    """Whether it does, as far as it has said."""
    return len(candidate.said("term.began")) > len(candidate.said("lease.lost"))


def ended(candidate: Victim) -> bool:
    return candidate.child.returncode is not None


async def left(tasks: set[asyncio.Task[None]], most: int) -> set[asyncio.Task[None]]:
    """Wait until no more than so many are under way; those. Raises what one of the others has raised."""
    while len(tasks) > most:
        done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    return tasks


def lose_batch(proxy: FaultProxy, *, stored: bool) -> None:
    """Lose whatever is dispatched or, where it is to be ``stored``, the broker's answers from then on."""
    sent = False

    def assignment(frame: bytes) -> bool:
        nonlocal sent
        if frame.startswith((b"PUB penstock.work.", b"HPUB penstock.work.")):
            sent = True
            return not stored
        return False

    proxy.lose_up = assignment
    proxy.lose_down = lambda frame: stored and sent and publish_acks(frame) and b'"stream":"WORK_0"' in frame
