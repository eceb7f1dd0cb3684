"""Scheduler and worker processes that are killed and frozen, between a real broker and a simulated provider."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from job_contracts import subjects
from job_contracts.attempts import Outcome
from job_contracts.codec import decode, encode
from job_contracts.facts import AttemptFact, Facts
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState, Ticket, body_hash
from job_contracts.results import Result
from job_contracts.stream import Chunk
from runtime.broker import Broker
from runtime.bus.port import Bus, NotFound
from runtime.connection import declared
from runtime.settings import Config
from simulator import Settings, Simulator
from tests.support import builders
from tests.support.eventually import eventually
from tests.support.worker_process import Process, scheduler_process, worker_process

KEY = {"OPENAI_KEY": "sk-openai-key"}
MISSED = 2.0


class Site:
    """One broker, one provider with one slot a worker, and what producers and operators see."""

    def __init__(self, bus: Bus, simulator: Simulator, path: Path, url: str) -> None:
        self.bus, self.simulator, self.path, self._url = bus, simulator, path, url

    async def prepare(self, seconds: float) -> None:
        """Every answer is a stream of so many seconds."""
        values: dict[str, Any] = {
            "providers": {
                "openai": {"base_url": f"{self.simulator.base_url('openai')}/v1", "key": "${OPENAI_KEY}", "slots": 1}
            },
            "routes": {"fast": {"deployments": [f"openai/m+tps=20+tokens={seconds * 20:.0f}"]}},
            "projects": {"demo": {}},
            "nats": {"url": self._url, "max_queue_bytes": 64 * 1024**2},
            "scheduler": {"lease": 2.5, "renew": 0.5, "beat_missed": MISSED, "reconcile_every": 0.5},
            "workers": {"beat_every": 0.3},
        }
        self.path.write_text(yaml.safe_dump(values))
        made = Config.model_validate({**values, "providers": {"openai": {**values["providers"]["openai"], "key": "k"}}})
        await self.bus.ensure(declared(made))

    async def submit(self, job: str) -> None:
        data = encode(builders.job(job, stream=True))
        ticket = Ticket(
            route="fast",
            submitted=time.time(),
            token="t",
            body_hash=body_hash(data),
            input_estimate=20,
            max_output=700,
            stream=True,
        )
        headers = {subjects.H_TICKET: encode(ticket).decode()}
        await self.bus.append(subjects.submit("demo", job), data, headers=headers)

    async def called(self, job: str, attempt: int) -> None:
        """Wait until that attempt has called and its answer has begun."""

        async def begun() -> bool:
            try:
                last = await self.bus.last(subjects.TOK, subjects.tokens("demo", job))
            except NotFound:
                return False
            return decode(Chunk, last.data).generation == attempt

        await eventually(begun, within=20.0, says=f"attempt {attempt} has not begun")

    async def outcome(self, job: str) -> Outcome | None:
        try:
            return decode(Outcome, (await self.bus.last("OUT_0", subjects.outcome(0, "demo", job))).data)
        except NotFound:
            return None

    async def result(self, job: str, within: float = 30.0) -> Result:
        async def there() -> Result | None:
            try:
                return decode(Result, (await self.bus.last(subjects.RES, subjects.result("demo", job))).data)
            except NotFound:
                return None

        found = await eventually(there, within=within)
        assert found is not None
        return found

    async def facts(self, attempt: str) -> list[AttemptFact]:
        found: list[AttemptFact] = []
        seq = 1
        while True:
            try:
                message = await self.bus.next(subjects.LEDGER, seq, "penstock.usage.>")
            except NotFound:
                return found
            found.extend(fact for fact in decode(Facts, message.data).facts if fact.attempt == attempt)
            seq = message.seq + 1

    async def left(self) -> int:
        """Messages of jobs that are still anywhere but in RES."""
        counts = [(await self.bus.stream_state(name)).messages for name in ("SUBMIT_0", "OUT_0", "WORK_0")]
        return sum(counts) - 1


@pytest.fixture
async def site(own_broker: Broker, open_bus: Callable[..., Any], tmp_path: Path) -> AsyncIterator[Site]:
    async with Simulator(Settings(longest_hold=60.0)) as simulator:
        yield Site(await open_bus(own_broker.url), simulator, tmp_path / "penstock.yaml", own_broker.url)


def worker(site: Site, name: str) -> Any:
    return worker_process("openai", site.path, "--name", name, environ=KEY)


async def leads(process: Process) -> None:
    await eventually(lambda: process.said("term.began"), within=20.0)


async def test_a_job_that_kills_two_workers_is_set_aside_although_its_leader_is_killed_in_between(site: Site) -> None:
    await site.prepare(seconds=30)
    async with (
        scheduler_process(site.path, "--name", "s1", environ=KEY) as first,
        worker(site, "w1") as one,
    ):
        await leads(first)
        await site.submit("a-1")
        await site.called("a-1", 1)
        one.child.kill()
        await eventually(lambda: site.outcome("a-1"), within=20.0)
        first.child.kill()
        await first.ended()
    async with (
        scheduler_process(site.path, "--name", "s2", environ=KEY) as second,
        worker(site, "w2") as two,
    ):
        await leads(second)
        await site.called("a-1", 2)
        two.child.kill()
        result = await site.result("a-1")
        assert result.state is JobState.DEAD
        assert result.failure is not None
        assert result.failure.kind is FailureKind.POISON
        assert [record.number for record in result.attempts] == [1, 2]
        letter = subjects.dead("demo", "a-1")
        assert (await site.bus.stream_state(subjects.DEAD, subjects=letter)).subjects == {letter: 1}
        await eventually(lambda: _is(site.left(), 0), within=10.0)
        for attempt in ("demo.a-1.1", "demo.a-1.2"):
            (fact,) = {fact.attempt: fact for fact in await site.facts(attempt)}.values()
            assert (fact.told_by, fact.usage.reported, fact.won) == ("leader", False, False)
    await eventually(lambda: site.simulator.control.meter().total.requests == 2)


async def _is(what: Any, value: object) -> bool:
    return bool(await what == value)


async def test_a_frozen_worker_that_wakes_up_makes_no_second_result_and_its_cost_counts(site: Site) -> None:
    await site.prepare(seconds=2)
    async with (
        scheduler_process(site.path, environ=KEY) as scheduler,
        worker(site, "w1") as zombie,
    ):
        await leads(scheduler)
        await site.submit("a-1")
        await site.called("a-1", 1)
        zombie.child.send_signal(signal.SIGSTOP)
        try:
            async with worker(site, "w2"):
                result = await site.result("a-1")
                assert [record.number for record in result.attempts] == [1, 2]
                assert result.nonce.startswith("demo.a-1.2@w2")
                (estimate,) = await eventually(lambda: site.facts("demo.a-1.1"))
        finally:
            zombie.child.send_signal(signal.SIGCONT)
        told = await eventually(lambda: _two(site), within=20.0)
        assert told is not None
        (own,) = [fact for fact in told if fact.told_by == "worker"]
        assert (own.won, own.usage.reported, own.usage.output > 0) == (False, True, True)
        assert own.outweighs(estimate)
        assert not estimate.outweighs(own)
        assert await site.result("a-1") == result
        assert (await site.bus.stream_state(subjects.RES)).messages == 1
        await eventually(lambda: _is(site.left(), 0), within=10.0)
        total = site.simulator.control.meter().total
        (winner,) = await site.facts("demo.a-1.2")
        assert total.output_tokens + total.reasoning_tokens == own.usage.output + winner.usage.output


async def _two(site: Site) -> list[AttemptFact] | None:
    found = await site.facts("demo.a-1.1")
    return found if len(found) == 2 else None


async def test_the_cost_of_a_worker_killed_between_its_result_and_its_fact_is_told_by_the_leader(site: Site) -> None:
    await site.prepare(seconds=0.2)
    async with (
        scheduler_process(site.path, environ=KEY) as scheduler,
        worker(site, "w1") as killed,
    ):
        await leads(scheduler)
        await killed.ready()  # it sees to the streams when it starts
        ledger = next(one for one in declared(_config(site)) if one["config"]["name"] == subjects.LEDGER)
        await site.bus.call(f"STREAM.DELETE.{subjects.LEDGER}", {})  # type: ignore[attr-defined]  # this one is a NatsBus
        await site.submit("a-1")
        result = await site.result("a-1")
        killed.child.kill()
        await killed.ended()
        for _ in range(100):  # what it sent last may lie in the broker's buffers still: let it be read, and refused
            await site.bus.stream_state(subjects.RES)
        await site.bus.ensure([ledger])
        (fact,) = await eventually(lambda: site.facts("demo.a-1.1"), within=20.0)
        assert (fact.told_by, fact.won) == ("leader", True)
        assert fact.usage == result.usage
        total = site.simulator.control.meter().total
        assert fact.usage.output == total.output_tokens + total.reasoning_tokens
        await eventually(lambda: _is(site.left(), 0), within=10.0)
        await eventually(lambda: scheduler.said("reconciler.repaired"), says="it tells of it once it has removed it")
        assert [line["kind"] for line in scheduler.said("reconciler.repaired")] == ["remnant"]


def _config(site: Site) -> Config:
    values = yaml.safe_load(site.path.read_text())
    values["providers"]["openai"]["key"] = "k"
    return Config.model_validate(values)
