"""Orders and schedulers that are killed for real: what was answered holds, whoever leads."""

from __future__ import annotations

from pathlib import Path

from job_contracts import subjects
from job_contracts.codec import Wire, decode, encode
from job_contracts.desk import Refusal
from job_contracts.operating import AskAudit, AskOrder, AuditPage, Ordered, Overview, Rates
from producer_sdk import Producer
from runtime.bus import NatsBus
from runtime.bus.port import BusError
from tests.support.eventually import eventually
from tests.support.plant import MESSAGES, plant


async def asked(bus: NatsBus, operation: str, question: Wire | None = None) -> bytes:
    """The leader's answer, once there is a leader."""

    async def answer() -> bytes | None:
        try:
            data = b"{}" if question is None else encode(question)
            # Asked again, an order that was stored and whose answer came late would change nothing.
            told = (await bus.request(subjects.api("-", operation), data, timeout=5.0)).data
        except BusError:
            return None
        return None if told.startswith(b'{"refused"') and decode(Refusal, told).refused.retry_after else told

    found = await eventually(answer, within=30.0, says=f"nobody answers {operation}")
    assert isinstance(found, bytes)
    return found


async def overview(bus: NatsBus) -> Overview:
    return decode(Overview, await asked(bus, "overview"))


async def test_orders_hold_through_kill_9_of_one_leader_after_the_other(tmp_path: Path) -> None:
    routes = {"held": {"deployments": ["one/one"]}, "free": {"deployments": ["two/two"]}}
    async with plant(tmp_path, pools={"one": {}, "two": {"limits": {"rpm": 6000}}}, routes=routes) as site:
        bus = await site.connection("operator", inbox_prefix=subjects.inbox_prefix("-"))
        await site.worker("one", "w1")
        await site.worker("two", "w2")
        leaders = {name: await site.process("scheduler", "--name", name) for name in ("s1", "s2")}
        pause = AskOrder(do="pause", aim="pool", name="one", by="ann", why="w")
        override = AskOrder(do="override", aim="limit", name="two", by="bob", lasts=3600, limits=Rates(rpm=600))
        for order in (pause, override):
            assert decode(Ordered, await asked(bus, "order", order)).changed
        producer = await site.stack.enter_async_context(site.producer())
        held = await producer.submit(model="held", messages=MESSAGES)
        term = 0
        for number in range(2):
            told = await overview(bus)
            assert told.leader.term > term
            term = told.leader.term
            assert {pool.name: pool.state for pool in told.pools} == {"one": "paused", "two": "running"}
            assert [unit.limit for limit in told.limits for unit in limit.units] == [600.0]
            await answered(producer)
            assert told.pools[0].in_flight == 0
            victim = leaders.pop(told.leader.owner)
            victim.child.kill()
            await victim.child.wait()
            if number == 0:
                leaders["s3"] = await site.process("scheduler", "--name", "s3")
        told = await overview(bus)
        assert told.pools[0].queued == {"std": 1}
        assert not decode(Ordered, await asked(bus, "order", pause)).changed
        assert decode(Ordered, await asked(bus, "order", pause.model_copy(update={"do": "resume"}))).changed
        assert (await held.record()).state.terminal
        page = decode(AuditPage, await asked(bus, "audit", AskAudit()))
        assert [(line.entry.by, line.entry.did) for line in page.lines] == [
            ("ann", "resume"),
            ("bob", "override"),
            ("ann", "pause"),
        ]


async def answered(producer: Producer) -> None:
    """Other pools go on."""
    handle = await producer.submit(model="free", messages=MESSAGES)
    assert (await handle.record()).state.terminal
