"""What a project may not do to the services or to another project, tried against a real broker with its users."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import nats
import pytest
from nats.aio.client import Client

from job_contracts import subjects
from job_contracts.key_asking import KeyOperation
from runtime.broker import Broker
from runtime.bus import NatsBus
from runtime.bus.port import Message
from tests.support.stand_in import OTHER, PROJECT, broker_config, key, service_bus

OWN = f"{subjects.PUBLIC}.submit.{PROJECT}.a"
REPLIES = [
    subjects.lease(0),
    subjects.result(OTHER, "key-abc"),
    subjects.work(0, "openai", OTHER, "a-b"),
    subjects.outcome(0, OTHER, "a-b"),
    subjects.submit(OTHER, "a-b"),
    subjects.cancel(OTHER, "a-b"),
    subjects.dead(OTHER, "a-b"),
    subjects.usage("openai", "w"),
    "$JS.API.STREAM.PURGE.RES",
    "$JS.API.STREAM.DELETE.RES",
]


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    server = Broker(broker_config(), tmp_path / "broker")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def services(broker: Broker) -> AsyncIterator[NatsBus]:
    async with service_bus(broker) as bus:
        yield bus


@pytest.fixture
async def tenant(broker: Broker, services: NatsBus) -> AsyncIterator[Client]:
    del services
    client = await nats.connect(broker.url, user=PROJECT, password=key(), inbox_prefix=subjects.inbox_prefix(PROJECT))
    yield client
    await client.close()


async def stored(bus: NatsBus) -> dict[str, int]:
    """How many messages each stream holds."""
    names = [subjects.stream_name(name, 0) for name in (subjects.SUBMIT, subjects.WORK, subjects.OUT)]
    names += [subjects.RES, subjects.CTL, subjects.DEAD, subjects.LEDGER]
    return {name: (await bus.stream_state(name)).messages for name in names}


@pytest.mark.parametrize("reply", REPLIES)
async def test_the_acknowledgement_of_a_submission_cannot_be_sent_into_the_services_streams(
    services: NatsBus, tenant: Client, reply: str
) -> None:
    before = await stored(services)
    heard: list[str] = []
    listening = await services.subscribe(reply, lambda message: heard.append(message.subject))
    await tenant.publish(f"{OWN}.b1", b"{}", reply=reply)
    answer = await tenant.request(f"{OWN}.b2", b"{}", timeout=10)
    assert b"seq" in answer.data, "an honest submission is acknowledged"
    own = subjects.stream_name(subjects.SUBMIT, 0)
    after = await stored(services)
    assert after == {**before, own: before[own] + 2}
    assert heard == []
    await listening.close()


@pytest.mark.parametrize(
    "subject",
    [
        subjects.submit(OTHER, "a-b"),
        subjects.result(PROJECT, "a-b"),
        subjects.work(0, "openai", PROJECT, "a-b"),
        subjects.lease(0),
        subjects.queued(0, PROJECT, "a-b"),
        subjects.dead(PROJECT, "a-b"),
        subjects.api(OTHER, "replay"),
        subjects.api("-", "letters"),
        subjects.key_desk("create"),
        subjects.standing_by(0),
        "$JS.API.INFO",
        "$JS.API.STREAM.PURGE.RES",
    ],
)
async def test_a_project_cannot_publish_where_the_services_do(services: NatsBus, tenant: Client, subject: str) -> None:
    before = await stored(services)
    with pytest.raises((asyncio.TimeoutError, nats.errors.Error)):
        await tenant.request(subject, b"{}", timeout=0.3)
    assert await stored(services) == before


@pytest.mark.parametrize("name", get_args(KeyOperation))
async def test_no_question_about_keys_comes_through_from_a_project(
    services: NatsBus, tenant: Client, name: KeyOperation
) -> None:
    heard: list[str] = []

    async def answer(message: Message) -> bytes:
        heard.append(message.reply)
        return b"{}"

    answering = await services.respond(subjects.key_desk(name), answer, queue="edges")
    operators = f"{subjects.inbox_prefix('-')}.guess"
    ways = (subjects.key_desk(name), subjects.api(PROJECT, name), f"{subjects.PUBLIC}.api.{PROJECT}.key_desk.{name}")
    for subject in ways:
        for reply in ("", operators):
            await tenant.publish(subject, b"{}", reply=reply or f"{subjects.inbox_prefix(PROJECT)}.x")
    with pytest.raises((asyncio.TimeoutError, nats.errors.Error)):
        await tenant.request(subjects.key_desk(name), b"{}", timeout=0.3)
    assert (await services.request(subjects.key_desk(name), b"{}", timeout=10)).data == b"{}"
    assert len(heard) == 1, "the services' own question alone"
    await answering.close()


async def test_a_project_hears_of_its_own_jobs_alone(services: NatsBus, broker: Broker, tenant: Client) -> None:
    heard: list[str] = []

    async def hear(message: object) -> None:
        heard.append(getattr(message, "subject", ""))

    await tenant.subscribe(f"{subjects.PUBLIC}.live.{PROJECT}.>", cb=hear)
    await tenant.flush()
    await services.append(subjects.result(OTHER, "a-b"), b"theirs")
    await services.append(subjects.result(PROJECT, "a-b"), b"ours")
    async with asyncio.timeout(5):
        while not heard:
            await tenant.flush()
    assert heard == [subjects.live_result(PROJECT, "a-b")]


async def test_headers_of_the_broker_do_nothing_for_a_project(services: NatsBus, tenant: Client) -> None:
    await tenant.request(f"{OWN}.b1", b"{}", timeout=10)
    for headers in ({"Nats-Rollup": "all"}, {"Nats-Schedule": "@every 1s"}, {"Nats-TTL": "1"}, {"Nats-Incr": "1"}):
        answer = await tenant.request(f"{OWN}.b2", b"{}", headers=headers, timeout=10)
        assert b"error" in answer.data, headers
    twin = {"Nats-Msg-Id": "one"}
    for job in ("b3", "b4"):
        answer = await tenant.request(f"{OWN}.{job}", b"{}", headers=twin, timeout=10)
    kept = await stored(services)
    assert kept[subjects.stream_name(subjects.SUBMIT, 0)] >= 2
