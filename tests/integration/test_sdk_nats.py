"""The SDK against what a broker and a network do to it."""

# ruff: noqa: F811 - fixtures are imported by name and asked for by the same

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from producer_sdk import (
    Forbidden,
    InvalidRequest,
    JobState,
    Producer,
    QueueFull,
    SyncProducer,
    Token,
    Unreachable,
)
from producer_sdk.testing import says
from runtime.broker import Broker
from runtime.broker_accounts import BrokerUser
from runtime.bus.manifest import manifest
from tests.support.broker import lasting
from tests.support.eventually import eventually
from tests.support.houses import NatsHouse
from tests.support.sdk import over_nats, sdk_broker  # noqa: F401  # fixtures
from tests.support.stand_in import (
    LIMITS,
    MIB,
    OTHER,
    PROJECT,
    SECRET,
    SERVICE,
    StandIn,
    broker_config,
    key,
    service_bus,
)

HELLO: dict[str, Any] = {"model": "fast", "messages": "Hello"}


@contextlib.asynccontextmanager
async def started(directory: Path, **over: Any) -> AsyncIterator[Broker]:
    broker = await lasting(broker_config(**over), directory)
    try:
        yield broker
    finally:
        if broker.running:
            broker.thaw()
        await broker.stop()


def connected(producer: Producer) -> bool:
    client = getattr(producer._transport, "_client", None)
    return client is not None and client.is_connected


# -- who may do what


async def test_a_wrong_key_is_forbidden_at_once_and_not_shown(over_nats: NatsHouse) -> None:
    producer = Producer(over_nats.url, f"psk_{PROJECT}_0123wrong", connect_timeout=30)
    with pytest.raises(Forbidden) as caught:
        await asyncio.wait_for(producer.complete(**HELLO), 5)
    assert caught.value.field == "key"
    assert "0123wrong" not in str(caught.value)
    await producer.close()


async def test_a_broker_that_asks_for_a_key_forbids_who_has_none(over_nats: NatsHouse) -> None:
    producer = Producer(over_nats.url, "", project=PROJECT)
    with pytest.raises(Forbidden, match="give a key"):
        await producer.complete(**HELLO)
    await producer.close()


async def test_without_accounts_no_key_is_needed(tmp_path: Path) -> None:
    async with (
        started(tmp_path, users=()) as broker,
        service_bus(broker) as bus,
        StandIn(bus, routes=("fast",)),
        Producer(broker.url, "", project=PROJECT) as producer,
    ):
        assert (await producer.complete(**HELLO)).text == "Hello"


async def test_what_the_broker_does_not_let_us_publish_is_forbidden_at_once(tmp_path: Path) -> None:
    users = (
        BrokerUser(name=SERVICE, password=SecretStr(SECRET)),
        BrokerUser(name=PROJECT, password=SecretStr(key()), publish=("nothing",), subscribe=(">",)),
    )
    async with (
        started(tmp_path, users=users) as broker,
        service_bus(broker),
        Producer(broker.url, key(), submit_timeout=60, desk_timeout=0.2) as producer,
    ):
        with pytest.raises(Forbidden, match="may not publish"):
            await asyncio.wait_for(producer.complete(**HELLO), 10)


async def test_projects_do_not_hear_of_one_another(over_nats: NatsHouse) -> None:
    async with over_nats.producer() as ours, Producer(over_nats.url, key(OTHER), desk_timeout=0.3) as theirs:
        job = await ours.submit(**HELLO)
        assert (await job).text == "Hello"
        with pytest.raises((Unreachable, Forbidden)):
            await theirs.attach(job.id).result(30)


async def test_a_key_that_is_revoked_is_forbidden_and_works_again_when_it_is_given_back(tmp_path: Path) -> None:
    async with started(tmp_path) as broker:
        async with service_bus(broker) as bus, StandIn(bus, routes=("fast",)):
            producer = Producer(broker.url, key())
            assert (await producer.complete(**HELLO)).text == "Hello"
        await broker.stop()
        full = broker.config
        broker.config = full.model_copy(update={"users": full.users[:1]})
        await broker.start()
        with pytest.raises(Forbidden):
            await asyncio.wait_for(producer.complete(**HELLO), 20)
        await broker.stop()
        broker.config = full
        await broker.start()
        async with service_bus(broker) as bus, StandIn(bus, routes=("fast",)):
            await eventually(lambda: connected(producer), within=20)
            assert (await producer.complete(**HELLO)).text == "Hello"
            await producer.close()


@pytest.mark.parametrize("made", ["psk_a", "sk-abc", "psk__x", "psk_a b_c", "psk_a.b_c"])
def test_something_that_is_no_key_is_refused_before_connecting(made: str) -> None:
    with pytest.raises(InvalidRequest):
        Producer("nats://127.0.0.1:1", made)


# -- a broker in trouble


async def test_jobs_survive_a_broker_that_is_killed_and_started_again(tmp_path: Path) -> None:
    async with (
        started(tmp_path) as broker,
        service_bus(broker) as bus,
        StandIn(bus, routes=("fast",)) as house,
        Producer(broker.url, key(), timeout=60) as producer,
    ):
        house.stage.held = True
        waiting = [asyncio.create_task(producer.complete(**HELLO)) for _ in range(30)]
        await eventually(lambda: len(house.stage.received) == 30)
        broker.kill()
        more = [asyncio.create_task(producer.complete(**HELLO)) for _ in range(10)]
        await broker.start()
        house.stage.release()
        answers = await asyncio.gather(*waiting, *more)
        assert [answer.text for answer in answers] == ["Hello"] * 40
        assert len(house.stage.received) == 40


async def test_a_broker_that_stands_still_stores_every_job_once(tmp_path: Path) -> None:
    async with (
        started(tmp_path) as broker,
        service_bus(broker) as bus,
        StandIn(bus, routes=("fast",)) as house,
        Producer(broker.url, key(), timeout=60) as producer,
    ):
        await producer.complete(**HELLO)
        broker.freeze()
        waiting = [asyncio.create_task(producer.complete(**HELLO)) for _ in range(20)]
        outbox = getattr(producer._transport, "_outbox", None)
        assert outbox is not None
        # Each message has been sent at least twice before the broker takes the first of them.
        entries = outbox._entries
        await eventually(lambda: len(entries) >= 20 and all(e.sent >= 2 for e in entries.values()), within=15)
        broker.thaw()
        answers = await asyncio.gather(*waiting)
        assert len({answer.job for answer in answers}) == 20
        assert len(house.stage.received) == 21


async def test_a_connection_that_went_silent_is_given_up_and_made_anew(over_nats: NatsHouse) -> None:
    async with over_nats.producer(timeout=60) as producer:
        over_nats.stage.held = True
        waiting = asyncio.create_task(producer.complete(**HELLO))
        await eventually(lambda: over_nats.stage.received)
        over_nats.wire.silence()
        over_nats.stage.release()
        before = over_nats.wire.connections
        await eventually(lambda: over_nats.wire.connections > before, within=30)
        over_nats.wire.restore()
        assert (await waiting).text == "Hello"


async def test_a_full_queue_says_so(tmp_path: Path) -> None:
    limits = LIMITS.model_copy(update={"submit_bytes": MIB})
    async with started(tmp_path) as broker, service_bus(broker) as bus:
        (submit,) = [asset for asset in manifest(limits) if asset["config"]["name"] == "SUBMIT_0"]
        await bus.call("STREAM.UPDATE.SUBMIT_0", submit["config"])
        async with Producer(broker.url, key(), desk_timeout=0.2) as producer:
            with pytest.raises(QueueFull) as caught:
                for _ in range(10):
                    _ = await producer.submit(model="fast", messages="x" * 200_000)
            assert caught.value.retry_after is not None


# -- a gateway in trouble


async def test_without_the_desk_jobs_are_submitted_unchecked_and_answered(over_nats: NatsHouse) -> None:
    await over_nats.stand_in.close_desk()
    async with over_nats.producer(desk_timeout=1.0) as producer:
        answer = await producer.complete(model="no such route", messages="Hello")
        assert answer.text == "Hello"
        with pytest.raises(Unreachable):
            await producer.attach(answer.job).status()


async def test_a_key_without_the_desk_is_trusted_and_judged_by_its_result(over_nats: NatsHouse) -> None:
    await over_nats.stand_in.close_desk()
    async with over_nats.producer(desk_timeout=1.0) as producer:
        answer = await producer.complete(**HELLO, idempotency_key=f"trusted-{producer._stem}")
        assert answer.text == "Hello"


async def test_a_result_nobody_told_us_of_is_asked_for(over_nats: NatsHouse) -> None:
    async with over_nats.producer() as producer:
        exchange = await producer._ready()
        exchange.replies._silence = 0.3
        exchange.replies.heard = lambda *_: None  # type: ignore[method-assign]  # messages pass us by
        assert (await producer.complete(**HELLO, timeout=10)).text == "Hello"
        stream = producer.stream(**HELLO, timeout=10)
        assert await stream.text() == "Hello"


# -- many


async def test_hundreds_of_jobs_at_once_through_a_small_window(over_nats: NatsHouse) -> None:
    async with over_nats.producer(window=8) as producer:
        answers = await asyncio.gather(*[producer.complete(model="fast", messages=f"{n}") for n in range(400)])
        assert [answer.text for answer in answers] == [f"{n}" for n in range(400)]


async def test_many_streams_at_once_are_not_mixed_up(over_nats: NatsHouse) -> None:
    over_nats.stage.otherwise = lambda job: says([f"{job.chat.messages[0].content}-{n} " for n in range(5)], pace=0.01)
    async with over_nats.producer() as producer:

        async def read(name: str) -> str:
            stream = producer.stream(model="fast", messages=name)
            return "".join([event.text async for event in stream if isinstance(event, Token)])

        told = await asyncio.gather(*[read(f"s{n}") for n in range(50)])
        assert told == ["".join(f"s{n}-{piece} " for piece in range(5)) for n in range(50)]


# -- blocking


async def test_the_blocking_twin_works_from_many_threads(over_nats: NatsHouse) -> None:
    def use() -> list[str]:
        with SyncProducer(over_nats.url, key()) as producer:
            texts = [producer.complete(**HELLO).text]
            texts += [event.text for event in producer.stream(**HELLO) if isinstance(event, Token)]
            job = producer.submit(**HELLO)
            texts.append(producer.attach(job.id).result().text)
            assert job.status().state is JobState.SUCCEEDED
            texts += [item.unwrap().text for item in producer.map([HELLO] * 3)]
            return texts

    assert await asyncio.gather(*[asyncio.to_thread(use) for _ in range(3)]) == [["Hello"] * 6] * 3
