"""What is too large or too much costs whoever sent it, and nobody else: tried with a project's login."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from job_contracts import subjects
from job_contracts.codec import encode
from job_contracts.jobs import JobState
from producer_sdk.errors import InvalidRequest, TooLarge
from producer_sdk.nats_transport import NatsTransport
from runtime.broker import Broker
from runtime.bus import NatsBus
from runtime.bus.port import TooLarge as BusTooLarge
from runtime.telemetry import INFO
from tests.e2e.faults.trespass import HELLO, MIB, MINE, counts, empty, login, quiet, whole
from tests.support import builders
from tests.support.eventually import eventually
from tests.support.gateway import Gateway
from tests.support.stand_in import broker_config, key, service_bus


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


# -- too much


HUGE = "x" * (62 * 1024)
"""Near the most that the broker stores as headers of one message."""
TOO_HUGE = "x" * (66 * 1024)
HEADER_TOO_LARGE = 10_097
TICKETS: dict[str, Callable[[dict[str, Any]], dict[str, str]]] = {
    "a huge route": lambda fields: {subjects.H_TICKET: json.dumps({**fields, "route": HUGE})},
    "a huge token": lambda fields: {subjects.H_TICKET: json.dumps({**fields, "token": HUGE})},
    "a huge fingerprint": lambda fields: {subjects.H_TICKET: json.dumps({**fields, "body_hash": HUGE})},
    "a huge session": lambda fields: {subjects.H_TICKET: json.dumps({**fields, "session": HUGE})},
    "a huge list": lambda fields: {subjects.H_TICKET: json.dumps({**fields, "needs": ["tools"] * 6_000})},
    "no ticket": lambda _: {},
    "a ticket that is none": lambda _: {subjects.H_TICKET: HUGE},
    "a huge header beside it": lambda fields: {subjects.H_TICKET: json.dumps(fields), "X": HUGE},
}


async def test_a_huge_ticket_costs_its_job_and_nobody_elses(tmp_path: Path) -> None:
    async with whole(tmp_path) as gate, quiet(gate) as theirs, login(gate.url, MINE) as mallory:
        for index, (what, headers) in enumerate(TICKETS.items()):
            job = builders.job(f"huge-{index}")
            fields = json.loads(encode(builders.ticket(job, submitted=time.time())))
            answer = await mallory.client.request(
                subjects.submit(MINE, job.id), encode(job), headers=headers(fields), timeout=10
            )
            assert "error" not in json.loads(answer.data), what
        answer = await mallory.client.request(
            subjects.submit(MINE, "huge-no"), b"{}", headers={subjects.H_TICKET: TOO_HUGE}, timeout=10
        )
        assert json.loads(answer.data)["error"]["err_code"] == HEADER_TOO_LARGE
        for _ in range(3):
            await mallory.client.request(subjects.cancel(MINE, "a-b"), encode_huge_cancel(), timeout=10)
        assert (await theirs.complete(**HELLO)).text
        ended = await eventually(
            lambda: ended_of(gate, "huge-", len(TICKETS)),
            within=15,
            says=lambda: [event for event in gate.events if event.level >= INFO][-40:],
        )
        states = {job: state for job, state in ended.items() if state is not JobState.FAILED}
        assert set(states) <= {f"huge-{len(TICKETS) - 1}"}, "an honest ticket may run, whatever stands beside it"
        assert gate.scheduler.leads
        assert gate.bus.connected
        assert [event for event in gate.events if event.name in {"ending.failed", "bus.closed"}] == []


def encode_huge_cancel() -> bytes:
    return json.dumps({"job": "a-b", "token": "x" * 900_000, "reason": "y" * 1000}).encode()


async def ended_of(gate: Gateway, prefix: str, count: int) -> dict[str, JobState]:
    found = {result.job: result.state for result in (await gate.results()).values() if result.job.startswith(prefix)}
    assert len(found) == count, found
    return found


@pytest.mark.parametrize("size", [MIB - 64, MIB, MIB + 1, 2 * MIB])
async def test_headers_too_large_never_close_a_connection_of_ours_for_good(
    broker: Broker, services: NatsBus, size: int
) -> None:
    class Deaf:
        def heard(self, subject: str, data: bytes) -> None: ...

        def restored(self) -> None: ...

    transport = NatsTransport(broker.url, MINE, key())
    await transport.open("stem", Deaf(), timeout=5)
    try:
        subject = subjects.submit(MINE, f"a-{size}")
        with pytest.raises((TooLarge, InvalidRequest)):
            await transport.store(subject, b"12345678" * 8, {"X": "x" * size}, timeout=10)
        with pytest.raises((TooLarge, InvalidRequest)):
            await transport.ask(subjects.api(MINE, "hello"), b"x" * (size + 65), timeout=10)
        assert await transport.store(subjects.submit(MINE, f"b-{size}"), b"{}", None, timeout=10), "still connected"
        with pytest.raises(BusTooLarge):
            await services.append(subjects.result(MINE, "a-b"), b"12345678" * 8, headers={"X": "x" * size})
        assert (await services.append(subjects.result(MINE, "a-b"), b"{}")).seq > 0
    finally:
        await transport.close()


async def test_who_breaks_the_brokers_bounds_loses_his_own_connection_alone(tmp_path: Path) -> None:
    async with whole(tmp_path) as gate, quiet(gate) as theirs:
        host, _, port = gate.url.rpartition("/")[2].rpartition(":")
        for attack in (b"HPUB x 2000000 2000000\r\n", b"PUB x 9999999\r\n", b"PUB " + b"x" * 8192, b"\x00" * 4096):
            reader, writer = await asyncio.open_connection(host, int(port))
            connect = {"user": MINE, "pass": key(), "verbose": False, "headers": True}
            writer.write(b"CONNECT " + json.dumps(connect).encode() + b"\r\n" + attack)
            with contextlib.suppress(OSError):
                async with asyncio.timeout(3):
                    while await reader.read(65_536):
                        pass
            writer.close()
        assert (await theirs.complete(**HELLO)).text
        assert gate.scheduler.leads


FLOOD = 600


async def test_a_flood_of_one_project_does_not_keep_another_waiting(tmp_path: Path) -> None:
    async with whole(tmp_path) as gate, quiet(gate) as theirs, login(gate.url, MINE) as mallory:
        assert (await theirs.complete(**HELLO)).text
        done = asyncio.Event()

        async def flood() -> None:
            for index in range(FLOOD):
                await mallory.client.publish(subjects.submit(MINE, f"f-{index}"), b"{}")
                await mallory.client.publish(subjects.cancel(MINE, f"f-{index}"), b"{}")
                await mallory.client.publish(subjects.api(MINE, "status"), b"{}", reply="nowhere")
                if index % 100 == 0:
                    await mallory.client.flush()
            done.set()

        async with asyncio.timeout(90), asyncio.TaskGroup() as group:
            group.create_task(flood())
            served = 0
            while not done.is_set() or served < 5:
                assert (await theirs.complete(**HELLO)).text
                served += 1
        assert gate.scheduler.leads
        held = await counts(gate.bus)
        assert held[subjects.CTL] <= FLOOD + 1
        await eventually(lambda: empty(gate, subjects.stream_name(subjects.SUBMIT)), within=60)
