"""What every bus does with messages that pass by, and with declared streams: in memory and over NATS alike."""

from __future__ import annotations

import asyncio

import pytest

from runtime.bus.port import (
    Message,
    NotFound,
    OutcomeUnknown,
    Refused,
    TooLarge,
    Unreachable,
)
from tests.support.buses import Scene, headers_of
from tests.support.eventually import eventually

H_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
H_ROLLUP = "Nats-Rollup"
SECOND = 1_000_000_000


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
        *(scene.bus.request(scene.on("shout"), f"w{number}".encode(), timeout=10) for number in range(20))
    )
    assert [answer.data for answer in answers] == [f"W{number}".encode() for number in range(20)]


async def test_a_request_that_nobody_hears_is_unreachable(scene: Scene) -> None:
    with pytest.raises(Unreachable):
        await scene.bus.request(scene.on("nobody"), b"", timeout=10)


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
    assert (await scene.bus.request(scene.on("moody"), b"good", timeout=10)).data == b"fine"


async def test_a_responder_answers_only_to_the_inboxes_it_was_told(scene: Scene) -> None:
    answered: list[bytes] = []

    async def answer(request: Message) -> bytes:
        answered.append(request.data)
        return b"yes"

    await scene.other.respond(scene.on("guarded"), answer, inbox=lambda _: ("_INBOX_elsewhere.",))
    with pytest.raises(OutcomeUnknown):
        await scene.bus.request(scene.on("guarded"), b"forged", timeout=0.2)
    assert answered == []
    await scene.other.respond(scene.on("open"), answer, inbox=lambda _: ("_INBOX_elsewhere.", "_INBOX."))
    assert (await scene.bus.request(scene.on("open"), b"fine", timeout=10)).data == b"yes"


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
    stream = await scene.stream(retention="workqueue")
    await scene.consumer(filter_subject=scene.on("work.>"))
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
