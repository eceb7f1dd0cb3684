"""The bus over NATS when connections and servers fail: nothing lost, nothing doubled, every outcome named."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from runtime.broker import Broker
from runtime.bus import NatsBus
from runtime.bus.port import (
    Ack,
    BusError,
    Message,
    NotFound,
    OutcomeUnknown,
    Outgoing,
    TooLarge,
    Unreachable,
    WrongSequence,
)
from tests.support.eventually import eventually
from tests.support.proxy import FaultProxy, lose_nothing, publish_acks

Open = Callable[..., Awaitable[NatsBus]]

SECOND = 1_000_000_000
QUICK = {"watchdog": 0.3, "heartbeat": 0.2, "publish_timeout": 0.6, "api_timeout": 0.6, "flush_timeout": 0.5}
STEADY = {"watchdog": 5.0, "heartbeat": 0.2, "publish_timeout": 5.0, "api_timeout": 5.0}
"""Where nothing is wrong with the connection: a broker that stands still for a second has not lost one."""
LOST = 0.6
"""Seconds to wait for an answer that does not come."""


async def streams(bus: NatsBus) -> None:
    consumer = {
        "name": "pool",
        "durable_name": "pool",
        "ack_policy": "explicit",
        "max_deliver": 1,
        "ack_wait": 2 * SECOND,
    }
    await answered(
        lambda: bus.ensure(
            [
                {"kind": "stream", "config": {"name": "LOG", "subjects": ["log.>"], "storage": "file"}},
                {
                    "kind": "stream",
                    "config": {
                        "name": "WORK",
                        "subjects": ["work.>", "lease"],
                        "retention": "workqueue",
                        "storage": "file",
                        "allow_atomic": True,
                        "allow_rollup_hdrs": True,
                    },
                },
                {
                    "kind": "consumer",
                    "stream": "WORK",
                    "config": {**consumer, "max_deliver": 1, "filter_subject": "work.>"},
                },
            ]
        )
    )


async def insist(bus: NatsBus, subject: str, data: bytes) -> Ack:
    """Append until it is certainly stored, once: only the first of its subject counts."""
    while True:
        try:
            return await bus.append(subject, data, expect_last=0)
        except WrongSequence as stored:
            return Ack("", stored.last_seq)
        except BusError:
            await asyncio.sleep(0.02)


async def test_a_lost_connection_repairs_itself_and_subscriptions_come_back(
    own_broker: Broker,
    open_bus: Open,
) -> None:
    async with FaultProxy(own_broker) as proxy:
        bus = await open_bus(proxy.url, **QUICK)
        steady = await open_bus(own_broker.url)
        heard: list[bytes] = []
        await bus.subscribe("news", lambda message: heard.append(message.data))
        proxy.refusing = True
        proxy.cut()
        await eventually(lambda: not bus.connected)
        with pytest.raises(Unreachable):
            await bus.publish("news", b"while away")
        with pytest.raises(Unreachable):
            await bus.append("log.a", b"")
        late = await bus.subscribe("more", lambda message: heard.append(message.data))
        proxy.refusing = False
        await eventually(lambda: bus.connected)

        async def both() -> bool:
            await steady.publish("news", b"1")
            await steady.publish("more", b"2")
            return {b"1", b"2"} <= set(heard)

        await eventually(both)
        await late.close()


async def test_a_tail_survives_cuts_and_a_killed_server_without_a_gap_or_a_double(
    own_broker: Broker,
    open_bus: Open,
) -> None:
    async with FaultProxy(own_broker) as proxy:
        bus = await open_bus(proxy.url, **QUICK, tail_batch=20)
        writer = await open_bus(own_broker.url, **QUICK)
        await streams(writer)
        heard: list[Message] = []
        tail = await bus.tail("LOG", heard.append)

        async def write(first: int, last: int) -> None:
            for number in range(first, last):
                await insist(writer, f"log.{number}", str(number).encode())

        writing = asyncio.create_task(write(0, 300))
        await eventually(lambda: tail.position > 50)
        proxy.cut()
        await eventually(lambda: tail.position > 150)
        proxy.freeze()
        await writing
        writing = asyncio.create_task(write(300, 500))
        await eventually(lambda: tail.position > 330, within=20)
        own_broker.kill()
        await own_broker.start()
        async with asyncio.timeout(20):
            await writing
        last = (await answered(lambda: writer.stream_state("LOG"))).last_seq
        assert await tail.caught_up(last, timeout=20)
        assert [message.seq for message in heard] == list(range(1, last + 1))
        assert sorted(int(message.data) for message in heard) == list(range(500))


async def test_pulled_messages_arrive_once_across_cuts_and_a_planned_restart(
    own_broker: Broker,
    open_bus: Open,
) -> None:
    async with FaultProxy(own_broker) as proxy:
        bus = await open_bus(proxy.url, **QUICK)
        writer = await open_bus(own_broker.url, **QUICK)
        await streams(writer)

        async def disturb(number: int) -> None:
            if number in (100, 150):
                proxy.cut()
            if number == 200:
                await own_broker.stop()
                await own_broker.start()

        seen, left = await work_through(bus, writer, disturb)
        assert len(seen) == len(set(seen)), "nothing is delivered twice"
        assert len(seen) + left == 300, "what was on its way when a connection was cut is still in the stream"


async def test_no_message_vanishes_when_the_one_server_is_killed(own_broker: Broker, open_bus: Open) -> None:
    """Some may come twice: a single server that is killed forgets what its consumers did in the last instants."""
    bus = await open_bus(own_broker.url, **QUICK)
    writer = await open_bus(own_broker.url, **QUICK)
    await streams(writer)

    async def disturb(number: int) -> None:
        if number == 150:
            own_broker.kill()
            await own_broker.start()

    seen, left = await work_through(bus, writer, disturb)
    assert len(set(seen)) + left >= 300


async def work_through(
    bus: NatsBus, writer: NatsBus, disturb: Callable[[int], Awaitable[None]]
) -> tuple[list[int], int]:
    """Write 300 messages while they are pulled and acknowledged; what was seen, and how many are left in the end."""
    puller = await bus.pull("WORK", "pool")
    seen: list[int] = []
    stopping = asyncio.Event()

    async def work() -> None:
        while not stopping.is_set():
            for delivery in await puller.fetch(10, expires=0.5):
                seen.append(delivery.message.seq)
                await delivery.ack_confirmed(within=1.0)

    working = asyncio.create_task(work())
    for number in range(300):
        await insist(writer, f"work.{number}", b"")
        await disturb(number)

    async def idle() -> bool:
        state = await answered(puller.state)
        return state.pending == 0 and state.ack_pending == 0

    await eventually(idle, within=20, every=0.1)
    stopping.set()
    await working
    return seen, (await answered(lambda: writer.stream_state("WORK"))).messages


T = TypeVar("T")


async def answered(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer, as soon as there is one."""
    while True:
        try:
            return await ask()
        except (OutcomeUnknown, Unreachable):
            await asyncio.sleep(0.02)


async def test_appends_through_a_restart_are_stored_exactly_once(
    own_broker: Broker,
    open_bus: Open,
) -> None:
    bus = await open_bus(own_broker.url, **QUICK)
    await streams(bus)
    writing = [asyncio.create_task(insist(bus, f"log.{number}", str(number).encode())) for number in range(400)]
    own_broker.kill()
    await own_broker.start()
    writing += [asyncio.create_task(insist(bus, f"log.{number}", str(number).encode())) for number in range(400, 500)]
    async with asyncio.timeout(20):
        await asyncio.gather(*writing)
    state = await answered(lambda: bus.stream_state("LOG", subjects=">"))
    assert state.subjects == {f"log.{number}": 1 for number in range(500)}


async def test_a_lost_answer_is_an_unknown_outcome_of_a_write_that_is_stored(
    own_broker: Broker,
    open_bus: Open,
) -> None:
    async with FaultProxy(own_broker) as proxy:
        bus = await open_bus(proxy.url, **STEADY)
        await streams(bus)
        proxy.lose_down = publish_acks
        with pytest.raises(OutcomeUnknown):
            await bus.append("log.a", b"stored all the same", expect_last=0, timeout=LOST)
        await eventually(lambda: len(proxy.lost) == 1)
        assert await bus._link.round_trip(5.0), "all that the watchdog asks is answered"
        proxy.lose_down = lose_nothing
        with pytest.raises(WrongSequence):
            await bus.append("log.a", b"again", expect_last=0)
        assert (await bus.last("LOG", "log.a")).data == b"stored all the same"
        assert proxy.accepted == 1, "the connection was never given up"


async def test_a_batch_whose_answer_is_lost_is_resolved_by_a_probe_under_the_same_fence(
    own_broker: Broker,
    open_bus: Open,
) -> None:
    async with FaultProxy(own_broker) as proxy:
        bus = await open_bus(proxy.url, **STEADY)
        await streams(bus)
        fence = (await bus.append("lease", b"mine")).seq
        guard = {"Nats-Rollup": "sub", "Nats-Expected-Last-Subject-Sequence": str(fence)}
        batch = [Outgoing("lease", b"batch", guard), Outgoing("work.a", b""), Outgoing("work.b", b"")]
        proxy.lose_down = publish_acks
        with pytest.raises(OutcomeUnknown):
            await bus.append_batch(batch, timeout=LOST)
        await eventually(lambda: proxy.lost, says="the broker has not answered")
        proxy.lose_down = lose_nothing
        with pytest.raises(WrongSequence) as moved:
            await bus.append("lease", b"probe", headers=guard)
        assert (await bus.last("WORK", "lease")).data == b"batch", "it was stored"
        assert moved.value.last_seq == fence + 1


async def test_a_batch_held_back_is_refused_once_a_probe_has_moved_the_fence(
    own_broker: Broker,
    open_bus: Open,
) -> None:
    async with FaultProxy(own_broker) as proxy:
        bus = await open_bus(proxy.url, **{**STEADY, "watchdog": 30.0})
        steady = await open_bus(own_broker.url)
        await streams(steady)
        fence = (await bus.append("lease", b"mine")).seq
        guard = {"Nats-Rollup": "sub", "Nats-Expected-Last-Subject-Sequence": str(fence)}
        proxy.hold_up()
        with pytest.raises(OutcomeUnknown):
            await bus.append_batch([Outgoing("lease", b"batch", guard), Outgoing("work.a", b"")], timeout=LOST)
        assert (await steady.append("lease", b"probe", headers=guard)).seq == fence + 1
        proxy.release_up()
        await bus.append("log.flush", b"")
        assert (await steady.stream_state("WORK", subjects=">")).subjects == {"lease": 1}


async def test_what_was_handed_to_a_lost_connection_is_not_sent_later(
    own_broker: Broker,
    open_bus: Open,
) -> None:
    async with FaultProxy(own_broker) as proxy:
        bus = await open_bus(proxy.url, **QUICK)
        await streams(bus)
        proxy.freeze()
        with pytest.raises(OutcomeUnknown):
            await bus.append("log.lost", b"")
        await eventually(lambda: proxy.accepted >= 2 and bus.connected)
        await insist(bus, "log.later", b"")
        with pytest.raises(NotFound):
            await answered(lambda: bus.last("LOG", "log.lost"))


async def test_a_half_open_connection_is_noticed_even_with_bytes_that_cannot_leave(
    own_broker: Broker,
    open_bus: Open,
) -> None:
    async with FaultProxy(own_broker) as proxy:
        bus = await open_bus(proxy.url, **QUICK, pending_bytes=65_536)
        proxy.freeze()
        with pytest.raises(Unreachable):
            for _ in range(400):
                await bus.publish("big", b"x" * 100_000)
        await eventually(lambda: proxy.accepted >= 2 and bus.connected)
        await bus.publish("small", b"")


async def test_a_frozen_server_gives_unknown_outcomes_and_is_used_again_when_it_thaws(
    own_broker: Broker,
    open_bus: Open,
) -> None:
    bus = await open_bus(own_broker.url, **QUICK)
    await streams(bus)
    own_broker.freeze()
    with pytest.raises((OutcomeUnknown, Unreachable)):
        await bus.append("log.a", b"")
    own_broker.thaw()
    assert (await insist(bus, "log.b", b"")).seq > 0


async def test_headers_too_large_do_not_cost_the_connection(own_broker: Broker, open_bus: Open) -> None:
    async with FaultProxy(own_broker) as proxy:
        bus = await open_bus(proxy.url)
        await streams(bus)
        room = bus.max_payload - 100
        for headers in ({"Key": "x" * 200}, {"K" * 200: "x"}, {f"K{number}": "" for number in range(100)}):
            with pytest.raises(TooLarge):
                await bus.append("log.a", b"x" * room, headers=headers)
        with pytest.raises(TooLarge):
            await bus.append("log." + "a" * 5_000, b"")
        assert (await bus.append("log.a", b"x" * room, headers={"Key": "x" * 60})).seq == 1
        assert proxy.accepted == 1


async def test_nothing_in_a_subject_or_header_reaches_the_wire_as_a_command(
    own_broker: Broker,
    open_bus: Open,
) -> None:
    bus = await open_bus(own_broker.url)
    await streams(bus)
    for subject in ("log.a b", "log.a\r\nPUB log.b 0\r\n", "", "log.\t"):
        with pytest.raises(BusError):
            await bus.append(subject, b"")
    for headers in ({"Key": "a\r\nOther: b"}, {"Key\r\nOther": "b"}, {"Key": "a\nb"}, {"K: ": "b"}):
        with pytest.raises(BusError):
            await bus.append("log.a", b"", headers=headers)
    assert (await bus.stream_state("LOG")).messages == 0


async def test_a_server_that_is_not_there_is_unreachable_at_once(own_broker: Broker, open_bus: Open) -> None:
    url = own_broker.url
    await own_broker.stop()
    with pytest.raises(Unreachable, match="no broker at "):
        await open_bus(url)


async def test_a_deleted_tail_consumer_is_made_again(own_broker: Broker, open_bus: Open) -> None:
    bus = await open_bus(own_broker.url, **STEADY)
    await streams(bus)
    heard: list[int] = []
    tail = await bus.tail("LOG", lambda message: heard.append(message.seq))
    await bus.append("log.a", b"")
    assert await tail.caught_up(1, timeout=5)
    for name in (await bus.call("CONSUMER.NAMES.LOG", {}))["consumers"]:
        await bus.call(f"CONSUMER.DELETE.LOG.{name}", {})
    await bus.append("log.b", b"")
    assert await tail.caught_up(2, timeout=10)
    assert heard == [1, 2]


async def test_a_tail_hears_a_stream_that_lost_everything_and_counts_anew(own_broker: Broker, open_bus: Open) -> None:
    bus = await open_bus(own_broker.url, **STEADY)
    await streams(bus)
    heard: list[tuple[int, bytes]] = []
    tail = await bus.tail("LOG", lambda message: heard.append((message.seq, message.data)))
    for number in range(5):
        await bus.append("log.a", str(number).encode())
    assert await tail.caught_up(5, timeout=5)
    own_broker.kill()
    shutil.rmtree(own_broker.directory / "jetstream")
    await own_broker.start()
    await eventually(lambda: bus.connected)
    await streams(bus)

    async def shrank() -> bool:
        return tail.position == 0

    await eventually(shrank)
    await bus.append("log.b", b"new")
    await eventually(lambda: heard[5:] == [(1, b"new")], within=10)


async def test_a_pull_survives_its_consumer_being_made_anew(own_broker: Broker, open_bus: Open) -> None:
    bus = await open_bus(own_broker.url, **STEADY)
    await streams(bus)
    puller = await bus.pull("WORK", "pool")
    fetching = asyncio.create_task(puller.fetch(1, expires=20))
    await eventually(lambda: not fetching.done())
    await bus.call("CONSUMER.DELETE.WORK.pool", {})
    await streams(bus)
    await bus.append("work.a", b"")
    async with asyncio.timeout(15):
        assert len(await fetching) == 1


async def test_messages_lost_on_their_way_to_a_tail_are_read_again(own_broker: Broker, open_bus: Open) -> None:
    async with FaultProxy(own_broker) as proxy:
        bus = await open_bus(proxy.url, **STEADY)
        await streams(bus)
        heard: list[int] = []
        tail = await bus.tail("LOG", lambda message: heard.append(message.seq))
        seen = 0

        def lose_every_seventh(frame: bytes) -> bool:
            nonlocal seen
            if b"$JS.ACK.LOG.tail" not in frame.split(b"\r\n")[0]:
                return False
            seen += 1
            return seen % 7 == 0 and len(proxy.lost) < 3

        proxy.lose_down = lose_every_seventh
        for number in range(60):
            await bus.append(f"log.{number}", b"")
        assert await tail.caught_up(60, timeout=15)
        assert heard == list(range(1, 61))
        assert len(proxy.lost) >= 3, "frames of one read are judged together, so one more may go"


async def test_closing_while_the_server_is_gone_is_bounded(own_broker: Broker, open_bus: Open) -> None:
    bus = await open_bus(own_broker.url, **QUICK)
    await streams(bus)
    tail = await bus.tail("LOG", lambda _: None)
    puller = await bus.pull("WORK", "pool")
    own_broker.freeze()
    async with asyncio.timeout(8):
        await tail.close()
        await puller.close()
        await bus.close()
