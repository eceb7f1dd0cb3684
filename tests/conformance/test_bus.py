"""What every bus does, held by the one over NATS and the one in memory alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from runtime.broker import Broker
from runtime.bus import connect
from runtime.bus.memory import MemoryBroker
from runtime.bus.port import (
    Ack,
    AlreadyStored,
    Bus,
    BusError,
    Message,
    NotFound,
    OutcomeUnknown,
    Outgoing,
    Refused,
    StreamFull,
    TooLarge,
    Unreachable,
    WrongSequence,
)
from tests.support.broker import settings, unique
from tests.support.eventually import eventually

H_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
H_ROLLUP = "Nats-Rollup"
SECOND = 1_000_000_000


@dataclass
class Scene:
    """A bus, a second connection to the same broker, and names that nobody else uses."""

    bus: Bus
    other: Bus
    name: str

    async def stream(self, **config: Any) -> str:
        """Declare a stream for ``<name>.>``; returns its name."""
        full = {"name": self.name, "subjects": [f"{self.name}.>"], "storage": "memory", "allow_direct": True, **config}
        await self.bus.ensure([{"kind": "stream", "config": full}])
        return self.name

    async def consumer(self, durable: str = "pool", **config: Any) -> str:
        full = {"name": durable, "durable_name": durable, "ack_policy": "explicit", "max_deliver": 1, **config}
        await self.bus.ensure([{"kind": "consumer", "stream": self.name, "config": full}])
        return durable

    def on(self, rest: str) -> str:
        return f"{self.name}.{rest}"


@pytest.fixture(params=["memory", "nats"])
async def scene(request: pytest.FixtureRequest, broker: Broker) -> AsyncIterator[Scene]:
    if request.param == "memory":
        shared = MemoryBroker()
        pair: tuple[Bus, Bus] = (shared.bus(), shared.bus())
    else:
        pair = (await connect(settings(broker.url)), await connect(settings(broker.url)))
    yield Scene(*pair, name=unique("c"))
    for bus in pair:
        await bus.close()


def headers_of(message: Message) -> Mapping[str, str]:
    return message.headers or {}


# -- core


async def test_a_published_message_reaches_every_subscriber_once(scene: Scene) -> None:
    heard: list[Message] = []
    await scene.bus.subscribe(scene.on("*"), heard.append)
    await scene.other.subscribe(scene.on("news"), heard.append)
    await scene.other.publish(scene.on("news"), b"x", headers={"Kind": "some news"})
    await eventually(lambda: len(heard) == 2)
    assert {message.subject for message in heard} == {scene.on("news")}
    assert all(headers_of(message)["Kind"] == "some news" for message in heard)
    assert all(message.seq == 0 for message in heard)


async def test_a_queue_group_shares_the_messages(scene: Scene) -> None:
    first: list[bytes] = []
    second: list[bytes] = []
    await scene.bus.subscribe(scene.on("work"), lambda message: first.append(message.data), queue="q")
    await scene.other.subscribe(scene.on("work"), lambda message: second.append(message.data), queue="q")
    for number in range(40):
        await scene.bus.publish(scene.on("work"), str(number).encode())
    await eventually(lambda: len(first) + len(second) >= 40)
    assert sorted(map(int, first + second)) == list(range(40))


async def test_a_closed_subscription_hears_nothing_more_and_may_be_closed_twice(scene: Scene) -> None:
    heard: list[bytes] = []
    kept: list[bytes] = []
    subscription = await scene.bus.subscribe(scene.on("a"), lambda message: heard.append(message.data))
    await scene.bus.subscribe(scene.on("a"), lambda message: kept.append(message.data))
    await subscription.close()
    await subscription.close()
    await scene.bus.publish(scene.on("a"), b"late")
    await eventually(lambda: kept == [b"late"])
    assert heard == []


async def test_a_request_is_answered_by_the_responder(scene: Scene) -> None:
    async def shout(request: Message) -> bytes:
        return request.data.upper()

    await scene.other.respond(scene.on("shout"), shout)
    answers = await asyncio.gather(
        *(scene.bus.request(scene.on("shout"), f"w{number}".encode(), timeout=2) for number in range(20))
    )
    assert [answer.data for answer in answers] == [f"W{number}".encode() for number in range(20)]


async def test_a_request_that_nobody_hears_is_unreachable(scene: Scene) -> None:
    with pytest.raises(Unreachable):
        await scene.bus.request(scene.on("nobody"), b"", timeout=2)


async def test_a_request_without_an_answer_in_time_has_an_unknown_outcome(scene: Scene) -> None:
    await scene.other.subscribe(scene.on("silent"), lambda _: None)
    with pytest.raises(OutcomeUnknown):
        await scene.bus.request(scene.on("silent"), b"", timeout=0.1)


async def test_a_responder_that_fails_leaves_the_others_alone(scene: Scene) -> None:
    async def moody(request: Message) -> bytes:
        if request.data == b"bad":
            raise RuntimeError
        return b"fine"

    await scene.other.respond(scene.on("moody"), moody)
    with pytest.raises(OutcomeUnknown):
        await scene.bus.request(scene.on("moody"), b"bad", timeout=0.2)
    assert (await scene.bus.request(scene.on("moody"), b"good", timeout=2)).data == b"fine"


async def test_a_responder_answers_only_to_the_inboxes_it_was_told(scene: Scene) -> None:
    answered: list[bytes] = []

    async def answer(request: Message) -> bytes:
        answered.append(request.data)
        return b"yes"

    await scene.other.respond(scene.on("guarded"), answer, inbox=lambda _: "_INBOX_elsewhere.")
    with pytest.raises(OutcomeUnknown):
        await scene.bus.request(scene.on("guarded"), b"forged", timeout=0.2)
    assert answered == []
    await scene.other.respond(scene.on("open"), answer, inbox=lambda _: "_INBOX.")
    assert (await scene.bus.request(scene.on("open"), b"fine", timeout=2)).data == b"yes"


async def test_a_message_too_large_with_its_headers_is_refused_and_the_connection_lives_on(scene: Scene) -> None:
    await scene.stream()
    huge = {"Big": "x" * scene.bus.max_payload}
    with pytest.raises(TooLarge):
        await scene.bus.publish(scene.on("a"), b"", headers=huge)
    with pytest.raises(TooLarge):
        await scene.bus.append(scene.on("a"), b"x" * (scene.bus.max_payload - 5), headers={"Some": "header"})
    with pytest.raises(TooLarge):
        await scene.bus.append(scene.on("a"), b"x" * (scene.bus.max_payload + 1))
    assert (await scene.bus.append(scene.on("a"), b"small")).seq == 1


# -- appending


async def test_appends_are_stored_in_order_and_numbered(scene: Scene) -> None:
    stream = await scene.stream()
    acks = [await scene.bus.append(scene.on("a"), bytes([number])) for number in range(5)]
    assert acks == [Ack(stream, number) for number in range(1, 6)]
    assert [(await scene.bus.get(stream, seq)).data for seq in range(1, 6)] == [bytes([number]) for number in range(5)]


async def test_headers_come_back_as_they_were_given(scene: Scene) -> None:
    stream = await scene.stream()
    given = {"Ticket": '{"lane":"rt","tags":{"a":"ü €"}}', "Empty": "", "Colon": "a: b"}
    await scene.bus.append(scene.on("a"), b"body", headers=given)
    for message in (await scene.bus.get(stream, 1), await scene.bus.last(stream, scene.on("a"))):
        assert {key: headers_of(message)[key] for key in given} == given
        assert message.data == b"body"


async def test_only_the_first_create_wins(scene: Scene) -> None:
    await scene.stream(max_msgs_per_subject=1)
    outcomes = await asyncio.gather(
        *(
            bus.append(scene.on("one"), str(number).encode(), expect_last=0)
            for number, bus in enumerate([scene.bus, scene.other] * 10)
        ),
        return_exceptions=True,
    )
    won = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Ack)]
    assert len(won) == 1
    assert all(isinstance(outcome, WrongSequence) for outcome in outcomes if not isinstance(outcome, Ack))
    assert (await scene.bus.last(scene.name, scene.on("one"))).data == str(won[0]).encode()


async def test_an_expected_sequence_is_compared_and_the_present_one_is_named(scene: Scene) -> None:
    await scene.stream()
    first = await scene.bus.append(scene.on("a"), b"1")
    await scene.bus.append(scene.on("b"), b"other subject")
    second = await scene.bus.append(scene.on("a"), b"2", expect_last=first.seq)
    with pytest.raises(WrongSequence) as refused:
        await scene.bus.append(scene.on("a"), b"3", expect_last=first.seq)
    assert refused.value.last_seq == second.seq
    assert refused.value.code == 10071
    with pytest.raises(WrongSequence) as refused:
        await scene.bus.append(scene.on("c"), b"", expect_last=7)
    assert refused.value.last_seq == 0


async def test_a_subject_that_holds_its_one_message_refuses_a_second_until_it_is_deleted(scene: Scene) -> None:
    stream = await scene.stream(max_msgs_per_subject=1, discard="new", discard_new_per_subject=True)
    ack = await scene.bus.append(scene.on("job"), b"first")
    with pytest.raises(AlreadyStored):
        await scene.bus.append(scene.on("job"), b"second")
    assert (await scene.bus.last(stream, scene.on("job"))).data == b"first"
    assert await scene.bus.delete(stream, ack.seq)
    assert (await scene.bus.append(scene.on("job"), b"again")).seq == ack.seq + 1


async def test_without_that_rule_a_subject_keeps_its_newest_message(scene: Scene) -> None:
    stream = await scene.stream(max_msgs_per_subject=1)
    await scene.bus.append(scene.on("a"), b"old")
    await scene.bus.append(scene.on("a"), b"new")
    state = await scene.bus.stream_state(stream)
    assert (state.messages, state.first_seq, state.last_seq) == (1, 2, 2)


async def test_a_full_stream_refuses_and_takes_more_once_there_is_room(scene: Scene) -> None:
    stream = await scene.stream(discard="new", max_msgs=2)
    await scene.bus.append(scene.on("a"), b"")
    await scene.bus.append(scene.on("b"), b"")
    with pytest.raises(StreamFull):
        await scene.bus.append(scene.on("c"), b"")
    assert await scene.bus.delete(stream, 1)
    assert (await scene.bus.append(scene.on("c"), b"")).seq == 3


async def test_a_stream_full_of_bytes_refuses(scene: Scene) -> None:
    await scene.stream(discard="new", max_bytes=2_000)
    await scene.bus.append(scene.on("a"), b"x" * 1_000)
    with pytest.raises(StreamFull):
        await scene.bus.append(scene.on("b"), b"x" * 1_000)


async def test_a_stream_that_discards_old_ones_makes_room(scene: Scene) -> None:
    stream = await scene.stream(max_msgs=2)
    for number in range(4):
        await scene.bus.append(scene.on(f"s{number}"), b"")
    state = await scene.bus.stream_state(stream, subjects=">")
    assert state.subjects == {scene.on("s2"): 1, scene.on("s3"): 1}


async def test_a_message_over_the_streams_own_limit_is_too_large(scene: Scene) -> None:
    await scene.stream(max_msg_size=100)
    with pytest.raises(TooLarge):
        await scene.bus.append(scene.on("a"), b"x" * 200)
    await scene.bus.append(scene.on("a"), b"x" * 50)


async def test_a_subject_without_a_stream_has_an_unknown_outcome(scene: Scene) -> None:
    with pytest.raises(OutcomeUnknown):
        await scene.bus.append(f"{unique('nowhere')}.a", b"")


async def test_a_plain_publish_to_a_stream_is_stored_as_well(scene: Scene) -> None:
    stream = await scene.stream()
    await scene.bus.publish(scene.on("a"), b"token")
    await eventually(lambda: stored(scene.bus, stream, 1))


async def stored(bus: Bus, stream: str, count: int) -> bool:
    return (await bus.stream_state(stream)).messages == count


async def test_a_time_to_live_needs_a_stream_that_allows_it(scene: Scene) -> None:
    await scene.stream()
    with pytest.raises(Refused):
        await scene.bus.append(scene.on("a"), b"", ttl=5)


async def test_an_expired_message_is_gone_and_its_subject_free_again(scene: Scene) -> None:
    stream = await scene.stream(allow_msg_ttl=True)
    await scene.bus.append(scene.on("a"), b"short", ttl=1, expect_last=0)
    await scene.bus.append(scene.on("b"), b"long", ttl=600)
    with pytest.raises(WrongSequence):
        await scene.bus.append(scene.on("a"), b"", expect_last=0)
    await eventually(lambda: stored(scene.bus, stream, 1), within=6)
    assert (await scene.bus.append(scene.on("a"), b"next", expect_last=0)).seq == 3


# -- batches


def batch(scene: Scene, fence: int, *rest: str) -> Sequence[Outgoing]:
    lease = Outgoing(scene.on("lease"), b"lease", {H_EXPECTED: str(fence), H_ROLLUP: "sub"})
    return [lease, *(Outgoing(scene.on(one), one.encode()) for one in rest)]


async def fenced(scene: Scene) -> str:
    return await scene.stream(allow_atomic=True, allow_rollup_hdrs=True, discard="new", max_msgs=20)


async def test_a_batch_is_stored_whole_contiguous_and_in_order(scene: Scene) -> None:
    stream = await fenced(scene)
    await scene.bus.append(scene.on("before"), b"")
    ack = await scene.bus.append_batch(batch(scene, 0, "x", "y", "z"))
    assert (ack.seq, ack.count) == (5, 4)
    held = [await scene.bus.get(stream, seq) for seq in range(2, 6)]
    assert [message.subject for message in held] == [scene.on(one) for one in ("lease", "x", "y", "z")]
    renewed = await scene.bus.append_batch(batch(scene, ack.seq - ack.count + 1, "w"))
    assert renewed.seq == 7
    assert (await scene.bus.stream_state(stream, subjects=scene.on("lease"))).subjects == {scene.on("lease"): 1}


async def test_a_batch_with_a_stale_fence_is_refused_whole(scene: Scene) -> None:
    stream = await fenced(scene)
    first = await scene.bus.append_batch(batch(scene, 0, "x"))
    taken = await scene.other.append(
        scene.on("lease"), b"theirs", headers={H_ROLLUP: "sub"}, expect_last=first.seq - first.count + 1
    )
    with pytest.raises(WrongSequence):
        await scene.bus.append_batch(batch(scene, first.seq - first.count + 1, "y", "z"))
    state = await scene.bus.stream_state(stream, subjects=">")
    assert state.subjects == {scene.on("lease"): 1, scene.on("x"): 1}
    assert (await scene.bus.last(stream, scene.on("lease"))).seq == taken.seq


async def test_a_batch_that_would_overfill_the_stream_is_refused_whole(scene: Scene) -> None:
    stream = await fenced(scene)
    with pytest.raises(StreamFull):
        await scene.bus.append_batch(batch(scene, 0, *(f"m{number}" for number in range(25))))
    assert (await scene.bus.stream_state(stream)).messages == 0


async def test_a_guard_inside_a_batch_refuses_the_whole_batch(scene: Scene) -> None:
    stream = await fenced(scene)
    await scene.bus.append(scene.on("taken"), b"")
    guarded = [*batch(scene, 0, "x"), Outgoing(scene.on("taken"), b"", {H_EXPECTED: "0"})]
    with pytest.raises(WrongSequence):
        await scene.bus.append_batch(guarded)
    assert (await scene.bus.stream_state(stream)).messages == 1


async def test_a_batch_of_the_largest_size_is_stored_and_a_larger_one_is_a_mistake(scene: Scene) -> None:
    await scene.stream(allow_atomic=True)
    messages = [Outgoing(scene.on(f"m.{number}"), b"x" * 100) for number in range(1_000)]
    assert (await scene.bus.append_batch(messages)).count == 1_000
    for wrong in ([*messages, messages[0]], messages[:1]):
        with pytest.raises(ValueError, match="a batch holds 2 to 1000 messages"):
            await scene.bus.append_batch(wrong)


async def test_a_stream_without_batches_refuses_one(scene: Scene) -> None:
    stream = await scene.stream()
    with pytest.raises(BusError):
        await scene.bus.append_batch([Outgoing(scene.on("a"), b""), Outgoing(scene.on("b"), b"")])
    assert (await scene.bus.stream_state(stream)).messages == 0


# -- tailing


async def test_a_tail_hands_over_what_was_there_and_what_comes_in_order(scene: Scene) -> None:
    stream = await scene.stream()
    heard: list[tuple[int, bytes]] = []
    for number in range(1_200):
        await scene.bus.publish(scene.on(f"a.{number}"), str(number).encode())
    tail = await scene.other.tail(stream, lambda message: heard.append((message.seq, message.data)))
    for number in range(1_200, 2_400):
        await scene.bus.publish(scene.on(f"a.{number}"), str(number).encode())
    last = await scene.bus.append(scene.on("end"), b"2400")
    assert await tail.caught_up(last.seq, timeout=10)
    assert heard == [(number + 1, str(number).encode()) for number in range(2_401)]
    assert tail.position == last.seq
    await tail.close()
    await tail.close()


async def test_a_tail_starts_where_it_is_told(scene: Scene) -> None:
    stream = await scene.stream()
    heard: list[int] = []
    for _ in range(5):
        await scene.bus.append(scene.on("a"), b"")
    tail = await scene.bus.tail(stream, lambda message: heard.append(message.seq), start=4)
    assert await tail.caught_up(5, timeout=5)
    assert heard == [4, 5]
    beyond: list[int] = []
    future = await scene.bus.tail(stream, lambda message: beyond.append(message.seq), start=6)
    await scene.bus.append(scene.on("a"), b"")
    assert await future.caught_up(6, timeout=5)
    assert beyond == [6]


async def test_a_tail_hears_only_its_subjects(scene: Scene) -> None:
    stream = await scene.stream()
    heard: list[str] = []
    tail = await scene.bus.tail(
        stream, lambda message: heard.append(message.subject), subjects=[scene.on("a.*"), scene.on("b")]
    )
    for rest in ("a.1", "c", "b", "a.2", "a.b.c", "b.1"):
        await scene.bus.append(scene.on(rest), b"")
    assert await tail.caught_up(6, timeout=5)
    assert heard == [scene.on(rest) for rest in ("a.1", "b", "a.2")]


async def test_a_tail_of_headers_leaves_the_bodies_out(scene: Scene) -> None:
    stream = await scene.stream()
    heard: list[Message] = []
    tail = await scene.bus.tail(stream, heard.append, headers_only=True)
    await scene.bus.append(scene.on("a"), b"x" * 5_000, headers={"Ticket": "t"})
    assert await tail.caught_up(1, timeout=5)
    assert heard[0].data == b""
    assert (headers_of(heard[0])["Ticket"], headers_of(heard[0])["Nats-Msg-Size"]) == ("t", "5000")


async def test_catching_up_counts_what_was_removed_or_does_not_concern_the_tail(scene: Scene) -> None:
    stream = await scene.stream()
    tail = await scene.bus.tail(stream, lambda _: None, subjects=[scene.on("a")])
    await scene.bus.append(scene.on("a"), b"")
    await scene.bus.append(scene.on("b"), b"")
    await scene.bus.append(scene.on("b"), b"")
    await scene.bus.delete(stream, 2)
    assert await tail.caught_up(3, timeout=5)
    assert not await tail.caught_up(4, timeout=0.3)


async def test_a_handler_that_fails_does_not_stop_the_tail(scene: Scene) -> None:
    stream = await scene.stream()
    heard: list[int] = []

    def handler(message: Message) -> None:
        if message.data == b"bad":
            raise RuntimeError
        heard.append(message.seq)

    tail = await scene.bus.tail(stream, handler)
    for data in (b"good", b"bad", b"good"):
        await scene.bus.append(scene.on("a"), data)
    assert await tail.caught_up(3, timeout=5)
    assert heard == [1, 3]


async def test_a_tail_of_no_stream_is_not_found(scene: Scene) -> None:
    with pytest.raises(NotFound):
        await scene.bus.tail(unique("none"), lambda _: None)


# -- pulling


async def work(scene: Scene, **consumer: Any) -> str:
    stream = await scene.stream(retention="workqueue")
    await scene.consumer(filter_subject=scene.on("work.>"), **consumer)
    return stream


async def test_a_fetch_returns_what_is_there_up_to_its_limit(scene: Scene) -> None:
    stream = await work(scene)
    for number in range(7):
        await scene.bus.append(scene.on(f"work.{number}"), str(number).encode(), headers={"N": str(number)})
    puller = await scene.bus.pull(stream, "pool")
    first = await puller.fetch(5, expires=2)
    second = await puller.fetch(5, expires=2)
    assert [delivery.message.data for delivery in (*first, *second)] == [str(number).encode() for number in range(7)]
    assert (len(first), first[3].message.seq, headers_of(first[3].message)["N"]) == (5, 4, "3")


async def test_a_fetch_waits_for_the_first_message_and_then_does_not_wait_for_more(scene: Scene) -> None:
    stream = await work(scene)
    puller = await scene.bus.pull(stream, "pool")
    fetching = asyncio.create_task(puller.fetch(5, expires=20))
    await eventually(lambda: not fetching.done())
    await scene.other.append(scene.on("work.a"), b"here")
    async with asyncio.timeout(5):
        deliveries = await fetching
    assert [delivery.message.data for delivery in deliveries] == [b"here"]


async def test_a_fetch_without_any_message_is_empty_after_its_time(scene: Scene) -> None:
    stream = await work(scene)
    puller = await scene.bus.pull(stream, "pool")
    loop = asyncio.get_running_loop()
    start = loop.time()
    assert await puller.fetch(5, expires=0.2) == []
    assert 0.15 < loop.time() - start < 1.5


async def test_an_acknowledged_message_leaves_the_work_queue(scene: Scene) -> None:
    stream = await work(scene)
    for rest in ("a", "b", "c"):
        await scene.bus.append(scene.on(f"work.{rest}"), b"")
    puller = await scene.bus.pull(stream, "pool")
    one, two, three = await puller.fetch(3, expires=2)
    assert (await puller.state()).ack_pending == 3
    assert await one.ack_confirmed(within=2)
    await two.ack()
    await three.in_progress()
    await eventually(lambda: stored(scene.bus, stream, 1))
    state = await puller.state()
    assert (state.delivered_seq, state.ack_pending, state.pending) == (3, 1, 0)
    assert await one.ack_confirmed(within=2), "acknowledging twice is harmless"


async def test_a_message_is_delivered_once_and_stays_when_it_is_not_acknowledged_in_time(scene: Scene) -> None:
    stream = await work(scene, ack_wait=SECOND)
    await scene.bus.append(scene.on("work.a"), b"")
    puller = await scene.bus.pull(stream, "pool")
    (delivery,) = await puller.fetch(1, expires=2)

    async def dead() -> bool:
        return (await puller.state()).ack_pending == 0

    await eventually(dead, within=8)
    assert await puller.fetch(1, expires=0.2) == []
    assert await stored(scene.bus, stream, 1)
    await delivery.ack()
    await eventually(lambda: stored(scene.bus, stream, 0))


async def test_two_pullers_share_a_consumer_without_a_double(scene: Scene) -> None:
    stream = await work(scene)
    pullers = [await bus.pull(stream, "pool") for bus in (scene.bus, scene.other)]
    seen: list[int] = []

    async def drain(index: int) -> None:
        while len(seen) < 300:
            for delivery in await pullers[index].fetch(7, expires=0.3):
                seen.append(delivery.message.seq)
                await delivery.ack()

    draining = [asyncio.create_task(drain(index)) for index in (0, 1)]
    for number in range(300):
        await scene.bus.append(scene.on(f"work.{number}"), b"")
    await asyncio.gather(*draining)
    assert sorted(seen) == list(range(1, 301))


async def test_what_a_cancelled_fetch_received_comes_with_the_next(scene: Scene) -> None:
    stream = await work(scene)
    puller = await scene.bus.pull(stream, "pool")
    fetching = asyncio.create_task(puller.fetch(3, expires=20))
    await eventually(lambda: not fetching.done())
    fetching.cancel()
    await asyncio.gather(fetching, return_exceptions=True)
    await scene.bus.append(scene.on("work.a"), b"")
    async with asyncio.timeout(5):
        assert len(await puller.fetch(3, expires=4)) == 1


async def test_a_closed_puller_leaves_nothing_undelivered(scene: Scene) -> None:
    stream = await work(scene)
    puller = await scene.bus.pull(stream, "pool")
    fetching = asyncio.create_task(puller.fetch(5, expires=20))
    await eventually(lambda: not fetching.done())
    left = list(await puller.close())
    left += await fetching
    await scene.bus.append(scene.on("work.a"), b"")
    second = await scene.other.pull(stream, "pool")
    assert len([*left, *await second.fetch(5, expires=2)]) == 1
    assert await puller.close() == []


async def test_a_consumer_takes_no_more_than_it_may_hold_unacknowledged(scene: Scene) -> None:
    stream = await work(scene, max_ack_pending=2)
    for rest in "abc":
        await scene.bus.append(scene.on(f"work.{rest}"), b"")
    puller = await scene.bus.pull(stream, "pool")
    held = list(await puller.fetch(3, expires=1))
    while len(held) < 2:
        held += await puller.fetch(3, expires=1)
    assert await puller.fetch(3, expires=0.2) == []
    await held[0].ack()
    assert [delivery.message.seq for delivery in await puller.fetch(3, expires=2)] == [3]


async def test_pulling_from_no_consumer_waits_and_serves_once_it_exists(scene: Scene) -> None:
    stream = await scene.stream(retention="workqueue")
    puller = await scene.bus.pull(stream, "pool")
    assert await puller.fetch(1, expires=0.2) == []
    with pytest.raises(NotFound):
        await puller.state()
    await scene.bus.append(scene.on("work.a"), b"")
    await scene.consumer(filter_subject=scene.on("work.>"))
    assert len(await puller.fetch(1, expires=5)) == 1


# -- reading


async def test_reads_say_what_is_there_and_what_is_not(scene: Scene) -> None:
    stream = await scene.stream()
    for rest in ("a.1", "b", "a.2", "a.1"):
        await scene.bus.append(scene.on(rest), rest.encode())
    assert (await scene.bus.last(stream, scene.on("a.1"))).seq == 4
    assert (await scene.bus.last(stream, scene.on("a.*"))).seq == 4
    assert (await scene.bus.get_direct(stream, scene.on("b"))).data == b"b"
    assert (await scene.bus.next(stream, 2, scene.on("a.>"))).seq == 3
    assert (await scene.bus.next(stream, 0, ">")).seq == 1
    for missing in (
        scene.bus.last(stream, scene.on("c")),
        scene.bus.get(stream, 9),
        scene.bus.get_direct(stream, scene.on("c")),
        scene.bus.next(stream, 3, scene.on("b")),
        scene.bus.last(unique("none"), "a"),
        scene.bus.stream_state(unique("none")),
    ):
        with pytest.raises(NotFound):
            await missing


async def test_a_stream_without_direct_reads_is_read_at_its_leader(scene: Scene) -> None:
    stream = await scene.stream(allow_direct=False)
    await scene.bus.append(scene.on("a"), b"x")
    assert (await scene.bus.get(stream, 1)).data == b"x"
    with pytest.raises(NotFound):
        await scene.bus.get(stream, 2)


async def test_the_state_counts_messages_by_subject(scene: Scene) -> None:
    stream = await scene.stream(max_msgs=100)
    for rest in ("a", "b", "a", "c.d"):
        await scene.bus.append(scene.on(rest), b"12345")
    state = await scene.bus.stream_state(stream, subjects=scene.on("*"))
    assert state.subjects == {scene.on("a"): 2, scene.on("b"): 1}
    assert (state.name, state.messages, state.first_seq, state.last_seq) == (stream, 4, 1, 4)
    assert (state.max_messages, state.max_bytes) == (100, -1)
    assert state.bytes >= 20
    assert (await scene.bus.stream_state(stream)).subjects is None


async def test_deleting_tells_whether_the_message_was_there(scene: Scene) -> None:
    stream = await scene.stream()
    for _ in range(3):
        await scene.bus.append(scene.on("a"), b"")
    assert await scene.bus.delete(stream, 2)
    assert not await scene.bus.delete(stream, 2)
    assert not await scene.bus.delete(stream, 99)
    with pytest.raises(NotFound):
        await scene.bus.get(stream, 2)
    assert (await scene.bus.stream_state(stream)).messages == 2


async def test_purging_removes_what_lies_below(scene: Scene) -> None:
    stream = await scene.stream()
    for rest in ("a", "b", "a", "b", "a"):
        await scene.bus.append(scene.on(rest), b"")
    assert await scene.bus.purge(stream, below=4, subjects=scene.on("a")) == 2
    assert (await scene.bus.stream_state(stream, subjects=">")).subjects == {scene.on("a"): 1, scene.on("b"): 2}
    assert await scene.bus.purge(stream, below=5) == 2
    assert (await scene.bus.stream_state(stream)).first_seq == 5


# -- republishing and rewriting


async def test_a_stored_message_is_republished_with_its_place(scene: Scene) -> None:
    live = unique("live")
    await scene.stream(
        subjects=[f"{scene.name}.res.*.*"],
        republish={"src": f"{scene.name}.res.*.*", "dest": f"{live}.{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}.res"},
    )
    heard: list[Message] = []
    await scene.other.subscribe(f"{live}.>", heard.append)
    await scene.bus.append(scene.on("res.p.j"), b"one", headers={"Own": "h"})
    await scene.bus.append(scene.on("res.p.j"), b"two")
    await eventually(lambda: len(heard) == 2)
    assert [message.subject for message in heard] == [f"{live}.p.j.res"] * 2
    assert [message.data for message in heard] == [b"one", b"two"]
    assert headers_of(heard[0])["Own"] == "h"
    assert [headers_of(message)["Nats-Sequence"] for message in heard] == ["1", "2"]
    assert [headers_of(message)["Nats-Last-Sequence"] for message in heard] == ["0", "1"]


async def test_a_refused_message_is_not_republished(scene: Scene) -> None:
    live = unique("live")
    await scene.stream(
        subjects=[f"{scene.name}.*"], republish={"src": f"{scene.name}.*", "dest": f"{live}.{{{{wildcard(1)}}}}"}
    )
    heard: list[bytes] = []
    await scene.other.subscribe(f"{live}.>", lambda message: heard.append(message.data))
    await scene.bus.append(scene.on("a"), b"won", expect_last=0)
    with pytest.raises(WrongSequence):
        await scene.bus.append(scene.on("a"), b"lost", expect_last=0)
    await scene.bus.append(scene.on("b"), b"end")
    await eventually(lambda: heard == [b"won", b"end"])


async def test_a_submission_is_stored_on_the_subject_it_is_rewritten_to(scene: Scene) -> None:
    stream = await scene.stream(
        subjects=[f"{scene.name}.in.*.*", f"{scene.name}.barrier.>"],
        subject_transform={
            "src": f"{scene.name}.in.*.*",
            "dest": f"{scene.name}.q.0.{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}",
        },
        discard="new",
        discard_new_per_subject=True,
        max_msgs_per_subject=1,
    )
    heard: list[str] = []
    tail = await scene.bus.tail(stream, lambda message: heard.append(message.subject), subjects=[scene.on("q.0.>")])
    await scene.bus.append(scene.on("in.p.j"), b"")
    with pytest.raises(AlreadyStored):
        await scene.bus.append(scene.on("in.p.j"), b"")
    assert (await scene.bus.append(scene.on("barrier.0.1"), b"")).seq == 2
    assert await tail.caught_up(2, timeout=5)
    assert heard == [scene.on("q.0.p.j")]
    assert (await scene.bus.last(stream, scene.on("q.0.p.j"))).seq == 1


# -- assets


async def test_assets_are_created_once_and_drift_is_reported(scene: Scene) -> None:
    config = {"name": scene.name, "subjects": [scene.on("a")], "storage": "memory", "max_msgs": 10, "discard": "new"}
    wanted = [{"kind": "stream", "config": config}]
    assert await scene.bus.ensure(wanted, create=False) == [f"stream {scene.name}: missing"]
    with pytest.raises(NotFound):
        await scene.bus.stream_state(scene.name)
    await scene.bus.ensure(wanted)
    assert await scene.bus.ensure(wanted) == []
    more = [{"kind": "stream", "config": {**config, "max_msgs": 20}}]
    assert await scene.bus.ensure(more, create=False) == [f"stream {scene.name}: max_msgs is 10, declared is 20"]
    assert len(await scene.bus.ensure(more)) == 1
    assert (await scene.bus.stream_state(scene.name)).max_messages == 20


async def test_a_dangerous_drift_is_refused_before_anything_is_changed(scene: Scene) -> None:
    config = {"name": scene.name, "subjects": [scene.on("a"), scene.on("b")], "storage": "memory", "max_msgs": 10}
    await scene.bus.ensure([{"kind": "stream", "config": config}])
    second = {**config, "name": f"{scene.name}x", "subjects": [scene.on("c")]}
    for change, word in (
        ({"retention": "workqueue"}, "retention"),
        ({"subjects": [scene.on("a")]}, scene.on("b")),
        ({"max_msgs": 5}, "deleted"),
        ({"max_age": SECOND}, "deleted"),
    ):
        with pytest.raises(Refused, match=word):
            await scene.bus.ensure(
                [{"kind": "stream", "config": second}, {"kind": "stream", "config": {**config, **change}}]
            )
    with pytest.raises(NotFound):
        await scene.bus.stream_state(f"{scene.name}x")


async def test_a_consumer_is_declared_and_updated(scene: Scene) -> None:
    stream = await work(scene)
    assert await scene.bus.ensure([], create=True) == []
    wanted = {"name": "pool", "durable_name": "pool", "ack_policy": "explicit", "max_deliver": 1, "max_ack_pending": 7}
    asset = {"kind": "consumer", "stream": stream, "config": {**wanted, "filter_subject": scene.on("work.>")}}
    (line,) = await scene.bus.ensure([asset])
    assert line.startswith(f"consumer {stream}.pool: max_ack_pending is ")
    assert await scene.bus.ensure([asset], create=False) == []


async def test_closing_twice_is_safe_and_a_closed_bus_is_unreachable(scene: Scene) -> None:
    await scene.bus.close()
    await scene.bus.close()
    assert not scene.bus.connected
    with pytest.raises(Unreachable):
        await scene.bus.publish(scene.on("a"), b"")
    with pytest.raises(Unreachable):
        await scene.bus.append(scene.on("a"), b"")
