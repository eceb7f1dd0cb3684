"""Carries a plan of faults out on a fleet, and says of each when it struck whom and when they ran again."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import count

import httpx

from simulator.reports import FaultOrder
from tests.e2e.faults.chaos_plan import Blow, Disturbance
from tests.e2e.faults.events import Disturbed, Event, FaultKind, Mended, Said, Struck
from tests.e2e.faults.fleet import Child, Fleet

BACK_WITHIN = 60.0
"""Seconds in which whoever was killed must work again."""
WORK = "WORK_0"


class Striker:
    """Strikes. At most one node is down or behind at a time: what three nodes promise holds for one."""

    def __init__(self, fleet: Fleet, tell: Callable[[Event], None], *, nodes_roll: bool) -> None:
        self._fleet = fleet
        self._nodes_roll = nodes_roll
        self._tell = tell
        self._ids = count(1)
        self._node_down = asyncio.Lock()

    async def carry_out(self, blows: Iterable[Blow], began: float) -> None:
        """Each at its time; returns when the last is mended."""
        async with asyncio.TaskGroup() as tasks:
            for blow in blows:
                await asyncio.sleep(max(0.0, began + blow.at - time.monotonic()))
                tasks.create_task(self.strike(blow))

    async def disturb(self, plan: Iterable[Disturbance], began: float) -> None:
        """Let providers misbehave, each at its time; the simulator ends it by itself."""
        for one in plan:
            await asyncio.sleep(max(0.0, began + one.at - time.monotonic()))
            pools = list(self._fleet.config.providers)
            provider = pools[int(one.pick * len(pools))]
            order = FaultOrder(fault=one.fault, provider=provider, probability=one.share, seconds=one.seconds)
            with contextlib.suppress(httpx.TransportError):
                await self._fleet.simulator.control.add_fault(order)
                self._tell(Disturbed(at=time.time(), provider=provider, fault=one.fault, seconds=one.seconds))

    async def strike(self, blow: Blow) -> None:
        """One fault, to its end."""
        fleet, what = self._fleet, blow.what
        match what:
            case "leader kill":
                await self._kill(what, [await self._leader()])
            case "leader stop":
                await self._stop(what, await self._leader(), blow.seconds)
            case "standby kill":
                leader = await fleet.leader()
                await self._kill(what, [_chosen([one for one in fleet.schedulers if one.name != leader], blow.pick)])
            case "schedulers kill":
                await self._kill(what, fleet.schedulers)
            case "worker kill":
                await self._kill(what, [await self._busy_worker(blow.pick)])
            case "worker stop":
                await self._stop(what, await self._busy_worker(blow.pick), blow.seconds)
            case "pool kill":
                pool = (await self._busy_worker(blow.pick)).pool
                await self._kill(what, [one for one in fleet.workers if one.pool == pool])
            case "ledger kill":
                await self._kill(what, [fleet.ledger])
            case "node kill" | "node stop":
                async with self._node_down:
                    await self._node(what, int(blow.pick * len(fleet.nodes.brokers)), blow.seconds)
            case "leader and node kill":
                async with self._node_down:
                    await self._leader_and_node(blow.seconds)
            case "rolling restart":
                await self._roll()

    async def _leader(self) -> Child:
        return self._fleet.children[await self._fleet.leader()]

    async def _busy_worker(self, pick: float) -> Child:
        """A worker of the pool with the most calls under way: a fault that hits nobody proves nothing."""
        with contextlib.suppress(httpx.TransportError):
            overview = await self._fleet.simulator.control.overview()
            busiest = max(overview.providers, key=lambda one: one.in_progress)
            if busiest.in_progress:
                return _chosen([one for one in self._fleet.workers if one.pool == busiest.name], pick)
        return _chosen(self._fleet.workers, pick)

    @asynccontextmanager
    async def _struck(self, what: FaultKind, targets: dict[str, int], pools: Sequence[str]) -> AsyncIterator[None]:
        number = next(self._ids)
        self._tell(Struck(at=time.time(), id=number, what=what, targets=targets, pools=tuple(sorted(set(pools)))))
        try:
            yield
        finally:
            self._tell(Mended(at=time.time(), id=number))

    async def _kill(self, what: FaultKind, children: Sequence[Child]) -> None:
        pools = [child.pool for child in children if child.pool]
        async with self._struck(what, {child.name: child.pid for child in children}, pools):
            for child in children:
                child.signal(signal.SIGKILL)
            await self._back(children)

    async def _stop(self, what: FaultKind, child: Child, seconds: float) -> None:
        async with self._struck(what, {child.name: child.pid}, [child.pool] if child.pool else []):
            child.signal(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            child.signal(signal.SIGCONT)

    async def _node(self, what: FaultKind, number: int, seconds: float) -> None:
        nodes = self._fleet.nodes
        async with self._struck(what, {f"node{number}": nodes.brokers[number].pid}, ()):
            if what == "node stop":
                nodes.freeze(number)
                await asyncio.sleep(seconds)
                nodes.thaw(number)
            else:
                nodes.kill(number)
                await asyncio.sleep(seconds)
                await nodes.start(number)
        await self._caught_up()

    async def _leader_and_node(self, seconds: float) -> None:
        nodes = self._fleet.nodes
        number, leader = await nodes.leader_of(WORK), await self._leader()
        targets = {leader.name: leader.pid, f"node{number}": nodes.brokers[number].pid}
        async with self._struck("leader and node kill", targets, ()):
            leader.signal(signal.SIGKILL)
            nodes.kill(number)
            await asyncio.sleep(seconds)
            await nodes.start(number)
            await self._back([leader])
        await self._caught_up()

    async def _roll(self) -> None:
        """Everything once, as an upgrade does: schedulers, half the workers, the other half, the ledger, the nodes."""
        halves = [[one for one in self._fleet.workers if one.name.endswith(end)] for end in ("1", "2")]
        for group in [*([one] for one in self._fleet.schedulers), *halves, [self._fleet.ledger]]:
            pools = [child.pool for child in group if child.pool]
            async with self._struck("rolling restart", {child.name: child.pid for child in group}, pools):
                for child in group:
                    child.ready.clear()
                    child.signal(signal.SIGTERM)
                await self._back(group)
        nodes = self._fleet.nodes
        for number, broker in enumerate(nodes.brokers if self._nodes_roll else ()):
            async with self._node_down:
                async with self._struck("rolling restart", {f"node{number}": broker.pid}, ()):
                    await nodes.retire(number)
                    await nodes.start(number)
                await self._caught_up()

    async def _back(self, children: Sequence[Child]) -> None:
        async with asyncio.timeout(BACK_WITHIN):
            await asyncio.gather(*(child.ready.wait() for child in children))

    async def _caught_up(self) -> None:
        """Until the node that was away has what the others have: only then may another go."""
        try:
            await self._fleet.nodes.current(WORK, "SUBMIT_0", "RES", "OUT_0", "LEDGER", "CTL")
        except AssertionError as late:
            self._tell(Said(at=time.time(), process="chaos", event="node.behind", fields={"why": str(late)[:500]}))


def _chosen(among: Sequence[Child], pick: float) -> Child:
    return among[int(pick * len(among))]
