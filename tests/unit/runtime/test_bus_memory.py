"""What the memory bus offers beyond the suite that all buses pass: faults on demand and a clock of the test's own."""

from __future__ import annotations

import pytest

from runtime.bus.manifest import StreamLimits, manifest
from runtime.bus.memory import MemoryBroker, MemoryBus
from runtime.bus.port import Message, NotFound, OutcomeUnknown, StreamFull, TooLarge, Unreachable
from tests.support.clock import ManualClock
from tests.support.eventually import eventually


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def bus(clock: ManualClock) -> MemoryBus:
    bus = MemoryBroker(clock=clock).bus()
    await bus.ensure(manifest(StreamLimits(), ["openai"]))
    return bus


async def test_the_manifest_is_declared_without_drift(bus: MemoryBus) -> None:
    assert await bus.ensure(manifest(StreamLimits(), ["openai"])) == []


async def test_a_lost_reply_belongs_to_a_write_that_is_stored(bus: MemoryBus) -> None:
    bus.faults.replies_lost = 1
    with pytest.raises(OutcomeUnknown):
        await bus.append("penstock.dead.a", b"1")
    assert (await bus.stream_state("DEAD")).messages == 1
    assert (await bus.append("penstock.dead.a", b"2")).seq == 2


async def test_a_lost_write_is_never_stored(bus: MemoryBus) -> None:
    bus.faults.writes_lost = 1
    with pytest.raises(OutcomeUnknown):
        await bus.append("penstock.dead.a", b"1")
    assert (await bus.stream_state("DEAD")).messages == 0


async def test_a_refusal_is_given_as_it_was_planted(bus: MemoryBus) -> None:
    bus.faults.refusals.append(StreamFull("full"))
    with pytest.raises(StreamFull):
        await bus.append("penstock.dead.a", b"1")
    assert (await bus.append("penstock.dead.a", b"1")).seq == 1


async def test_a_disconnected_bus_sends_nothing_and_its_tail_goes_on_where_it_was(bus: MemoryBus) -> None:
    other = bus.broker.bus()
    heard: list[Message] = []
    core: list[bytes] = []
    tail = await bus.tail("DEAD", heard.append)
    await bus.subscribe("news", lambda message: core.append(message.data))
    await other.append("penstock.dead.a", b"1")
    assert await tail.caught_up(1, timeout=2)
    bus.disconnect()
    await other.append("penstock.dead.a", b"2")
    await other.publish("news", b"missed")
    with pytest.raises(Unreachable):
        await bus.append("penstock.dead.a", b"")
    with pytest.raises(Unreachable):
        await bus.last("DEAD", "penstock.dead.a")
    assert not await tail.caught_up(2, timeout=0.05)
    bus.reconnect()
    assert await tail.caught_up(2, timeout=2)
    await other.publish("news", b"heard")
    await eventually(lambda: core == [b"heard"])
    assert [message.data for message in heard] == [b"1", b"2"]


async def test_a_lost_acknowledgement_leaves_the_message(bus: MemoryBus) -> None:
    await bus.append("penstock.work.0.openai.p.s.l", b"")
    puller = await bus.pull("WORK_0", "openai")
    (delivery,) = await puller.fetch(1, expires=1)
    bus.faults.acks_lost = 1
    await delivery.ack()
    assert (await bus.stream_state("WORK_0")).messages == 1
    assert await delivery.ack_confirmed(within=1)
    assert (await bus.stream_state("WORK_0")).messages == 0


async def test_ages_follow_the_tests_clock(bus: MemoryBus, clock: ManualClock) -> None:
    await bus.append("penstock.res.p.s.l", b"", ttl=60, expect_last=0)
    await bus.append("penstock.v1.cancel.p.s.l", b"")
    clock.advance(59)
    assert (await bus.stream_state("RES")).messages == 1
    clock.advance(2)
    with pytest.raises(NotFound):
        await bus.last("RES", "penstock.res.p.s.l")
    assert (await bus.stream_state("CTL")).messages == 1
    clock.advance(3_600)
    assert (await bus.stream_state("CTL")).messages == 0


async def test_an_unacknowledged_message_dies_when_its_time_is_up_unless_progress_is_told(
    bus: MemoryBus, clock: ManualClock
) -> None:
    await bus.append("penstock.work.0.openai.p.s.l", b"")
    puller = await bus.pull("WORK_0", "openai")
    (delivery,) = await puller.fetch(1, expires=1)
    clock.advance(50)
    await delivery.in_progress()
    clock.advance(50)
    assert (await puller.state()).ack_pending == 1
    clock.advance(11)
    state = await puller.state()
    assert (state.ack_pending, state.pending, state.delivered_seq) == (0, 0, 1)


async def test_a_blob_comes_back_whole_and_is_bounded(clock: ManualClock) -> None:
    bus = MemoryBroker(clock=clock).bus(chunk=10, max_blob=100)
    await bus.ensure(manifest(StreamLimits()))
    ref = await bus.put_blob("acme.s-l", b"0123456789" * 10)
    assert (ref.chunks, ref.size) == (10, 100)
    assert await bus.get_blob("acme.s-l", ref) == b"0123456789" * 10
    with pytest.raises(TooLarge):
        await bus.put_blob("acme.s-l", b"x" * 101)
    with pytest.raises(TooLarge):
        await bus.get_blob("acme.s-l", ref.model_copy(update={"size": 10**9, "chunks": 10**8}))
