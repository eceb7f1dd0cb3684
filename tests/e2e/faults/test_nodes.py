"""One of three nodes dies, stands still or is retired while jobs flow: none fails, and hardly a call is made twice."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from job_contracts import subjects
from producer_sdk import Producer
from tests.support.cluster import Cluster, cluster
from tests.support.eventually import eventually
from tests.support.gateway import Gateway, gateway
from tests.support.stand_in import broker_config
from tests.support.upstream import Upstream, completion, response, upstream

LANES = 16
"""Jobs under way at once."""
PATIENCE = 40.0
"""Seconds an answer may take.

At worst an assignment is lost with the node's connection: an election (9), the dispatch resolved and sent (2), the
worker's request for work renewed (2.5), the loss noticed (10 and a look of 1) and written down, the job run again: 27.
"""
PAUSE = 20.0
"""Seconds without an answer at most.

For the services an election (9), then a result whose first write was lost is looked for and written again (13 in all).
A producer whose own node stands still notices it after 12, connects within 2.5 and asks the desk, whose first reading
may be lost with the same node (1): 15.5.
"""
WORK = subjects.stream_name(subjects.WORK, 0)


@dataclass
class Flow:
    """Jobs without end, ``LANES`` at once, through a producer of its own; each asks something that no other asks."""

    nodes: Cluster
    gateway: Gateway
    provider: Upstream
    producer: Producer
    answered: list[float] = field(default_factory=list)
    """When, in the loop's seconds."""
    _ending: asyncio.Event = field(default_factory=asyncio.Event)
    _lanes: list[asyncio.Task[None]] = field(default_factory=list)

    def begin(self) -> None:
        self._lanes = [asyncio.create_task(self._lane(number)) for number in range(LANES)]

    async def more(self, count: int = 100) -> None:
        """Wait until so many more jobs were answered."""
        goal = len(self.answered) + count
        await eventually(self._reached(goal), within=PATIENCE, says="jobs do not flow")

    def _reached(self, goal: int) -> Any:
        def reached() -> bool:
            for lane in self._lanes:
                if lane.done():
                    lane.result()
            return len(self.answered) >= goal

        return reached

    async def end(self, *, faults: int) -> None:
        """Let what is under way finish; every job has one answer, and hardly a call was made twice.

        A call beyond one a job is allowed only where an answer of the provider could not be stored, or its attempt was
        given up: at most what was under way at each fault.
        """
        self._ending.set()
        await asyncio.gather(*self._lanes)
        await self.gateway.settled(within=20.0)
        assert len(await self.gateway.results()) == len(self.answered)
        calls = Counter(json.dumps(asked.json["messages"]) for asked in self.provider.asked)
        assert len(calls) == len(self.answered)
        assert calls.total() - len(calls) <= LANES * faults

    def terms(self) -> int:
        """How often leading began."""
        return sum(event.name == "term.began" for event in self.gateway.events)

    @property
    def longest_pause(self) -> float:
        """Seconds between two answers at most."""
        return max(later - one for one, later in zip(self.answered, self.answered[1:], strict=False))

    async def _lane(self, lane: int) -> None:
        for number in range(100_000):
            if self._ending.is_set():
                return
            await self.producer.complete(model="fast", messages=f"question {lane}.{number}", timeout=PATIENCE)
            self.answered.append(asyncio.get_running_loop().time())


@asynccontextmanager
async def flowing(directory: Path) -> AsyncIterator[Flow]:
    async with upstream([response(completion())]) as provider, cluster(directory, users=broker_config().users) as nodes:
        values = {
            "providers": {"alpha": {"dialect": "openai_chat", "base_url": provider.url, "key": "k"}},
            "routes": {"fast": {"deployments": ["alpha/m"]}},
            "scheduler": {"reconcile_every": 1.0},
            "nats": {"replicas": 3},
        }
        async with gateway(directory, values, {}, nodes=nodes) as running, running.producer() as producer:
            flow = Flow(nodes, running, provider, producer)
            flow.begin()
            await flow.more()
            yield flow


@pytest.mark.timeout(120)
async def test_the_node_that_leads_the_work_is_killed_and_dispatch_resumes_under_the_same_lease(tmp_path: Path) -> None:
    async with flowing(tmp_path) as flow:
        leader = await flow.nodes.leader_of(WORK)
        flow.nodes.kill(leader)
        await flow.more()
        await flow.nodes.start(leader)
        await flow.nodes.whole()
        await flow.more()
        await flow.end(faults=1)
        await flow.nodes.current()
        assert flow.terms() == 1
        assert flow.longest_pause < PAUSE


@pytest.mark.timeout(120)
async def test_every_node_is_taken_out_of_service_in_turn_and_no_job_notices(tmp_path: Path) -> None:
    async with flowing(tmp_path) as flow:
        for number in range(3):
            await flow.nodes.retire(number)
            await flow.nodes.start(number)
            await flow.nodes.whole()
            await flow.nodes.current()
            await flow.more(50)
        await flow.end(faults=3)
        assert flow.terms() == 1
        assert flow.longest_pause < PAUSE


@pytest.mark.timeout(120)
async def test_a_node_that_stands_still_for_a_while_costs_time_and_nothing_else(tmp_path: Path) -> None:
    async with flowing(tmp_path) as flow:
        leader = await flow.nodes.leader_of(WORK)
        flow.nodes.freeze(leader)
        await flow.more()
        flow.nodes.thaw(leader)
        await flow.more()
        await flow.end(faults=1)
        assert flow.longest_pause < PAUSE
