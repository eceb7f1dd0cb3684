"""How every bus reads: tails, pulls, single messages and states; in memory and over NATS alike."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from runtime.bus.port import (
    Message,
    NotFound,
)
from tests.support.broker import unique
from tests.support.buses import Scene, headers_of, stored
from tests.support.eventually import eventually
from tests.support.own_time import own_time

H_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
H_ROLLUP = "Nats-Rollup"
SECOND = 1_000_000_000


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
    first = await puller.fetch(5, expires=10)
    second = await puller.fetch(5, expires=10)
    assert [delivery.message.data for delivery in (*first, *second)] == [str(number).encode() for number in range(7)]
    assert (len(first), first[3].message.seq, headers_of(first[3].message)["N"]) == (5, 4, "3")


async def test_a_fetch_waits_for_the_first_message_and_then_does_not_wait_for_more(scene: Scene) -> None:
    stream = await work(scene)
    puller = await scene.bus.pull(stream, "pool")
    fetching = asyncio.create_task(puller.fetch(5, expires=20))
    await eventually(lambda: not fetching.done())
    await scene.other.append(scene.on("work.a"), b"here")
    async with asyncio.timeout(20):
        deliveries = await fetching
    assert [delivery.message.data for delivery in deliveries] == [b"here"]


async def test_a_fetch_without_any_message_is_empty_after_its_time(scene: Scene) -> None:
    stream = await work(scene)
    puller = await scene.bus.pull(stream, "pool")
    loop = asyncio.get_running_loop()
    async with own_time(lambda: scene.other.stream_state(stream)) as now:
        start, began = loop.time(), now()
        assert await puller.fetch(5, expires=0.2) == []
        assert loop.time() - start > 0.15
        assert now() - began < 1.5


async def test_an_acknowledged_message_leaves_the_work_queue(scene: Scene) -> None:
    stream = await work(scene)
    for rest in ("a", "b", "c"):
        await scene.bus.append(scene.on(f"work.{rest}"), b"")
    puller = await scene.bus.pull(stream, "pool")
    one, two, three = await puller.fetch(3, expires=10)
    assert (await puller.state()).ack_pending == 3
    assert await one.ack_confirmed(within=10)
    await two.ack()
    await three.in_progress()
    await eventually(lambda: stored(scene.bus, stream, 1))
    state = await puller.state()
    assert (state.delivered_seq, state.ack_pending, state.pending) == (3, 1, 0)
    assert await one.ack_confirmed(within=10), "acknowledging twice is harmless"


async def test_a_message_is_delivered_once_and_stays_when_it_is_not_acknowledged_in_time(scene: Scene) -> None:
    stream = await work(scene, ack_wait=SECOND)
    await scene.bus.append(scene.on("work.a"), b"")
    puller = await scene.bus.pull(stream, "pool")
    (delivery,) = await puller.fetch(1, expires=10)

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
    async with asyncio.timeout(20):
        assert len(await puller.fetch(3, expires=10)) == 1


async def test_a_closed_puller_leaves_nothing_undelivered(scene: Scene) -> None:
    stream = await work(scene)
    puller = await scene.bus.pull(stream, "pool")
    fetching = asyncio.create_task(puller.fetch(5, expires=20))
    await eventually(lambda: not fetching.done())
    left = list(await puller.close())
    left += await fetching
    await scene.bus.append(scene.on("work.a"), b"")
    second = await scene.other.pull(stream, "pool")
    assert len([*left, *await second.fetch(5, expires=10)]) == 1
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
    assert [delivery.message.seq for delivery in await puller.fetch(3, expires=10)] == [3]


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


async def test_a_run_is_all_that_is_stored_from_a_sequence_on(scene: Scene) -> None:
    stream = await scene.stream()
    for number in range(1, 9):
        await scene.bus.append(scene.on(f"{'odd' if number % 2 else 'even'}.{number}"), str(number).encode())
    await scene.bus.delete(stream, 4)
    found = await scene.bus.run(stream, 3, limit=4)
    assert [(message.seq, message.data) for message in found] == [(3, b"3"), (5, b"5"), (6, b"6"), (7, b"7")]
    odd = await scene.bus.run(stream, 3, scene.on("odd.>"))
    assert [(message.seq, message.subject) for message in odd] == [(n, scene.on(f"odd.{n}")) for n in (3, 5, 7)]
    assert not await scene.bus.run(stream, 9)


async def test_a_run_carries_headers_and_ends_at_its_size(scene: Scene) -> None:
    stream = await scene.stream()
    for _ in range(5):
        await scene.bus.append(scene.on("a"), b"x" * 1_000, headers={"Kind": "one"})
    found = await scene.bus.run(stream, 1, size=1_500)
    assert 1 <= len(found) < 5
    assert [headers_of(message)["Kind"] for message in found] == ["one"] * len(found)


async def test_runs_at_the_same_time_do_not_mix(scene: Scene) -> None:
    stream = await scene.stream()
    for number in range(40):
        await scene.bus.append(scene.on(f"p{number % 4}"), str(number).encode())
    runs = await asyncio.gather(*(scene.bus.run(stream, 1, scene.on(f"p{place}")) for place in range(4)))
    for place, run in enumerate(runs):
        assert [int(message.data) for message in run] == list(range(place, 40, 4))


async def test_messages_are_counted_by_subject_and_what_was_removed_is_not_among_them(scene: Scene) -> None:
    stream = await scene.stream()
    assert await scene.bus.count(stream, scene.on("a.*")) == 0
    for number in range(6):
        await scene.bus.append(scene.on(f"{'a' if number % 2 else 'b'}.{number}"), b"")
    await scene.bus.append(scene.on("a.1.deeper"), b"")
    assert await scene.bus.count(stream, scene.on("a.*")) == 3
    assert await scene.bus.count(stream, scene.on("a.3")) == 1
    assert await scene.bus.count(stream, scene.on("*.*")) == 6
    await scene.bus.delete(stream, 2)
    assert await scene.bus.count(stream, scene.on("a.*")) == 2
    await scene.bus.purge(stream, below=4)
    assert await scene.bus.count(stream, scene.on("*.*")) == 3


async def test_the_last_of_many_subjects_are_read_at_once(scene: Scene) -> None:
    stream = await scene.stream()
    for number in range(30):
        await scene.bus.append(scene.on(f"a.{number}"), b"first")
    last = [await scene.bus.append(scene.on(f"a.{number}"), str(number).encode()) for number in range(20)]
    asked = [scene.on(f"a.{number}") for number in (*range(10), *range(100, 700))]
    found = await scene.bus.last_each(stream, asked)
    assert {subject: (one.subject, one.data, one.seq) for subject, one in found.items()} == {
        subject: (subject, str(number).encode(), last[number].seq) for number, subject in enumerate(asked[:10])
    }
    assert not await scene.bus.last_each(stream, asked[10:])
    assert list(await scene.bus.last_each(stream, asked[9:11])) == [asked[9]]
    assert not await scene.bus.last_each(stream, [])
    with pytest.raises(NotFound):
        await scene.bus.last_each(unique(), asked)


# -- looking


async def test_a_stream_says_when_its_first_and_its_last_message_were_stored(scene: Scene) -> None:
    stream = await scene.stream()
    empty = await scene.bus.stream_state(stream)
    assert (empty.first_at, empty.last_at) == (None, None)
    before = time.time() - 1
    for rest in ("a", "b"):
        await scene.bus.append(scene.on(rest), b"")
    state = await scene.bus.stream_state(stream)
    assert state.first_at is not None
    assert state.last_at is not None
    assert before <= state.first_at <= state.last_at <= time.time() + 1
    assert state.behind == ()


async def test_a_stream_says_when_it_was_made_whatever_becomes_of_it(scene: Scene) -> None:
    before = time.time() - 1
    stream = await scene.stream(max_msgs=10)
    made = (await scene.bus.stream_state(stream)).made_at
    assert made is not None
    assert before <= made <= time.time() + 1
    await scene.bus.append(scene.on("a"), b"")
    await scene.bus.purge(stream, below=2)
    assert await scene.stream(max_msgs=20)
    told = await scene.other.stream_state(stream)
    assert (told.made_at, told.max_messages, told.last_seq) == (made, 20, 1)


async def test_the_durable_consumers_of_a_stream_are_told_by_name(scene: Scene) -> None:
    stream = await work(scene)
    await scene.consumer("other", filter_subject=scene.on("else.>"))
    for rest in ("a", "b", "c"):
        await scene.bus.append(scene.on(f"work.{rest}"), b"")
    puller = await scene.bus.pull(stream, "pool")
    await puller.fetch(1, expires=10)
    found = await scene.other.consumer_states(stream)
    assert set(found) == {"pool", "other"}
    assert (found["pool"].ack_pending, found["pool"].pending, found["pool"].redelivered) == (1, 2, 0)
    with pytest.raises(NotFound):
        await scene.bus.consumer_states("NOWHERE")


async def test_a_connection_knows_its_server(scene: Scene) -> None:
    assert scene.bus.server
    await scene.bus.close()
    assert scene.bus.server == ""
