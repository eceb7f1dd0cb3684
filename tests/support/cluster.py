"""Three real nats-servers that hold copies of each other's streams, for tests that kill, freeze and retire nodes.

``async with cluster(directory) as nodes``: node 0, 1 and 2; ``nodes.url`` is what ``runtime.bus.connect`` takes. What
is asked of the servers here goes over their monitoring, so it needs no credentials and disturbs no connection.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from appliance.ports import free_ports
from runtime.broker import Broker, BrokerConfig, BrokerError, ClusterNode
from runtime.broker_accounts import BrokerUser
from tests.support.eventually import eventually

SIZE = 3
_FIRST_TRIES = 3


class Cluster:
    """The nodes by number. Made by ``cluster``; everything that waits is bounded in time."""

    def __init__(self, brokers: Sequence[Broker]) -> None:
        self.brokers = tuple(brokers)
        self._frozen: set[int] = set()

    @property
    def url(self) -> tuple[str, ...]:
        """Of every node, whether it runs or not."""
        return tuple(f"nats://127.0.0.1:{broker.config.port}" for broker in self.brokers)

    @property
    def answering(self) -> list[int]:
        """The nodes that run and are not frozen."""
        return [number for number, broker in enumerate(self.brokers) if broker.running and number not in self._frozen]

    # -- faults

    def kill(self, number: int) -> None:
        """End a node at once (SIGKILL), frozen or not. Its ports and its store stay its own."""
        self._frozen.discard(number)
        self.brokers[number].kill()

    def freeze(self, number: int) -> None:
        """Stop a node's clock (SIGSTOP): its connections stay open and silent."""
        self.brokers[number].freeze()
        self._frozen.add(number)

    def thaw(self, number: int) -> None:
        """Let a frozen node go on."""
        self._frozen.discard(number)
        self.brokers[number].thaw()

    async def retire(self, number: int) -> None:
        """Lame duck mode: the node hands over, sends its clients away one a second, and ends."""
        await self.brokers[number].retire()

    async def start(self, number: int) -> None:
        """Start a node that was killed or retired; returns once it greets clients (``whole`` waits for more)."""
        await self.brokers[number].start(within=20.0)

    # -- what is

    async def leader_of(self, stream: str) -> int:
        """The node that leads a stream, in the eyes of most; waits until there is one."""

        async def leader() -> str:
            named = Counter(str(seen.get("leader", "")) for _, seen in await self._seen(stream))
            return max(named, key=lambda name: (named[name], bool(name)), default="")

        name = await eventually(leader, within=20.0, every=0.05, says=f"nobody leads {stream}")
        return self._number(str(name))

    async def current(self, *streams: str) -> None:
        """Wait until every copy of these streams has all that its leader has; without names, of every stream.

        Needs all nodes.
        """

        async def alike() -> bool:
            leads = {
                name: seen
                for number, name, seen in await self._all_seen()
                if seen.get("leader") == self._name(number) and (not streams or name in streams)
            }
            copies = [copy for seen in leads.values() for copy in seen.get("replicas") or ()]
            named = set(streams) <= set(leads) if streams else bool(leads)
            return named and all(copy["current"] and not copy.get("lag") for copy in copies)

        await eventually(alike, within=40.0, every=0.1, says="a copy of a stream lags behind")

    async def whole(self) -> None:
        """Wait until the nodes that run have a leader who knows all of them: then streams can be made."""

        async def formed() -> bool:
            for number in self.answering:
                meta = (await self._ask(number, "jsz")).get("meta_cluster") or {}
                if meta.get("leader") == self._name(number):
                    peers = meta.get("replicas") or ()
                    there = [peer for peer in peers if peer["current"] and not peer.get("offline")]
                    return len(there) >= len(self.answering) - 1
            return False

        await eventually(formed, within=30.0, every=0.05, says="the nodes found no leader")

    async def _seen(self, stream: str) -> list[tuple[int, dict[str, Any]]]:
        return [(number, seen) for number, name, seen in await self._all_seen() if name == stream]

    async def _all_seen(self) -> list[tuple[int, str, dict[str, Any]]]:
        """Who leads which stream and how its copies are, as each answering node has it."""
        found = []
        for number in self.answering:
            told = await self._ask(number, "jsz?streams=true")
            for account in told.get("account_details") or ():
                found += [(number, one["name"], one.get("cluster") or {}) for one in account.get("stream_detail") or ()]
        return found

    async def _ask(self, number: int, what: str) -> dict[str, Any]:
        try:
            async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
                told: dict[str, Any] = (await client.get(f"{self.brokers[number].monitor_url}/{what}")).json()
        except httpx.HTTPError:
            return {}
        return told

    def _name(self, number: int) -> str:
        node = self.brokers[number].config.node
        assert node is not None
        return node.name

    def _number(self, name: str) -> int:
        return next(number for number in range(len(self.brokers)) if self._name(number) == name)

    # -- life

    async def stop(self) -> None:
        """End every node that this cluster started."""
        for number in tuple(self._frozen):
            self.thaw(number)
        await asyncio.gather(*(broker.stop() for broker in self.brokers))


def nodes_in(directories: Sequence[Path], *, users: tuple[BrokerUser, ...] = (), **config: Any) -> tuple[Broker, ...]:
    """Servers that know each other, not started; node ``i`` keeps its store below ``directories[i]``."""
    size = len(directories)
    ports = free_ports(3 * size)
    clients, monitors, members = ports[:size], ports[size : 2 * size], ports[2 * size :]
    routes = tuple(f"127.0.0.1:{port}" for port in members)
    return tuple(
        Broker(
            BrokerConfig(
                port=clients[number],
                monitor_port=monitors[number],
                node=ClusterNode(name=f"node{number}", port=members[number], routes=routes),
                users=users,
                **config,
            ),
            directory,
        )
        for number, directory in enumerate(directories)
    )


async def started(directories: Sequence[Path], *, users: tuple[BrokerUser, ...] = (), **config: Any) -> Cluster:
    """A cluster on directories of the caller's; whoever calls stops it."""
    for left in reversed(range(_FIRST_TRIES)):
        made = Cluster(nodes_in(directories, users=users, **config))
        try:
            await asyncio.gather(*(broker.start(within=20.0) for broker in made.brokers))
            await made.whole()
        except BaseException as error:
            await made.stop()
            taken = isinstance(error, BrokerError) and "address already in use" in str(error)
            if not (taken and left):
                raise
        else:
            return made
    raise AssertionError("unreachable")


@asynccontextmanager
async def cluster(directory: Path, *, users: tuple[BrokerUser, ...] = (), **config: Any) -> AsyncIterator[Cluster]:
    """Three nodes below ``directory``, formed; ``config`` goes to each ``BrokerConfig`` (sync is ``always``)."""
    running = await started([directory / f"node{number}" for number in range(SIZE)], users=users, **config)
    try:
        yield running
    finally:
        await running.stop()
