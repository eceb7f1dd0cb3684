"""Three nodes of our own: streams have a copy on each, and one of them may die."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from job_contracts import subjects
from runtime.bus import NatsBus, connect
from runtime.bus.port import BusError
from runtime.connection import declared
from tests.support.broker import settings
from tests.support.cluster import cluster
from tests.support.eventually import eventually
from tests.support.world import config

Open = Callable[..., Awaitable[NatsBus]]
RES = subjects.RES


async def stored(bus: NatsBus, job: str) -> bool:
    """Try to store once, as a client would that repeats until it knows."""
    try:
        await bus.append(subjects.result("demo", job), b"result")
    except BusError:
        return False
    return True


async def test_streams_with_three_copies_outlive_the_node_that_leads_them(tmp_path: Path, open_bus: Open) -> None:
    async with cluster(tmp_path) as nodes:
        bus = await open_bus(nodes.url)
        made = config(nats={"replicas": 3})
        await bus.ensure(declared(made))
        await bus.append(subjects.result("demo", "a-l"), b"result")

        leader = await nodes.leader_of(RES)
        nodes.kill(leader)
        await eventually(lambda: stored(bus, "b-l"), within=20.0, says="nobody took over the stream")
        assert await nodes.leader_of(RES) != leader

        await nodes.start(leader)
        await nodes.whole()
        await nodes.current()
        assert (await bus.last(RES, subjects.result("demo", "a-l"))).data == b"result"
        nodes.kill(await nodes.leader_of(RES))
        await eventually(lambda: stored(bus, "c-l"), within=20.0, says="the restarted node does not count")


async def test_whichever_node_is_away_services_start_and_tokens_are_heard(tmp_path: Path, open_bus: Open) -> None:
    made = declared(config(nats={"replicas": 3}))
    async with cluster(tmp_path, sync="default") as nodes:
        await (await open_bus(nodes.url)).ensure(made)
        heard: list[str] = []
        away = await nodes.leader_of(subjects.TOK)
        nodes.kill(away)
        bus = await open_bus(nodes.url)
        await bus.subscribe(subjects.live("demo", "*"), lambda message: heard.append(message.subject))

        async def starts() -> bool:
            try:
                return list(await bus.ensure(made)) == []
            except BusError:
                return False

        await eventually(starts, within=20.0, every=0.1, says="the streams are not all there")
        await bus.publish(subjects.tokens("demo", "a-l"), b"token")
        await eventually(lambda: heard == [f"{subjects.PUBLIC}.live.demo.a.l.tok"])


async def test_a_client_that_knows_all_nodes_outlives_the_one_it_is_connected_to(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    async with cluster(tmp_path, sync="default") as nodes:
        known = settings(", ".join(nodes.url))
        bus = await connect(known, on_event=lambda kind, detail: told.append((kind, detail)))
        try:
            await bus.ensure(declared(config(nats={"replicas": 3})))
            for _ in range(2):
                (place,) = {detail for kind, detail in told[-1:] if kind == "connected"}
                number = nodes.url.index(f"nats://{place}")
                nodes.kill(number)
                await eventually(lambda: told[-1][0] == "connected" and told[-1][1] != place, within=10.0)  # noqa: B023  # awaited here
                await eventually(lambda: stored(bus, f"n{len(told)}-l"), within=20.0)
                await nodes.start(number)
                await nodes.whole()
                await nodes.current()
        finally:
            await bus.close()


async def test_a_node_that_retires_hands_over_and_its_clients_move(tmp_path: Path, open_bus: Open) -> None:
    async with cluster(tmp_path, sync="default") as nodes:
        buses = [await open_bus(url) for url in nodes.url]
        await buses[0].ensure(declared(config(nats={"replicas": 3})))
        leader = await nodes.leader_of(RES)
        await nodes.retire(leader)
        for number, bus in enumerate(buses):
            await eventually(lambda bus=bus, number=number: stored(bus, f"a{number}-l"), within=20.0)  # type: ignore[misc]  # bound at once
        assert sorted(nodes.answering) == sorted({0, 1, 2} - {leader})
