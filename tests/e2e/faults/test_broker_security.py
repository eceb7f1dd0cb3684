"""What a project with a key and no scruples can do to the services and to another project: nothing.

It speaks NATS by itself, without the SDK, with the login and the permissions that a project has. Beside it lives a
project that does nothing wrong, and behind both a whole gateway.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats
import pytest

from job_contracts import subjects
from job_contracts.codec import encode
from job_contracts.jobs import Cancel, JobState, body_hash
from producer_sdk import JobFailed, Producer
from producer_sdk.errors import InvalidRequest
from runtime.broker import Broker
from runtime.bus import NatsBus
from tests.e2e.faults.trespass import HELLO, MINE, THEIRS, WAYS, Login, counts, empty, login, quiet, way, whole
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


@pytest.fixture
async def mallory(broker: Broker, services: NatsBus) -> AsyncIterator[Login]:
    del services
    async with login(broker.url, MINE) as made:
        yield made


# -- the answer goes where the asker says


REPLIES = {
    "the lease": subjects.lease(0),
    "a result": subjects.result(THEIRS, "key-abc"),
    "an assignment": subjects.work(0, "openai", THEIRS, "a-b"),
    "an outcome": subjects.outcome(0, THEIRS, "a-b"),
    "tokens": subjects.tokens(THEIRS, "a-b"),
    "usage": subjects.usage("openai", "w"),
    "a result's bytes": subjects.result_blob(THEIRS, "a-b", 0),
    "a dead letter": subjects.dead(THEIRS, "a-b"),
    "a barrier": subjects.barrier(subjects.RES, 0),
    "a queued job": subjects.queued(0, THEIRS, "a-b"),
    "a heartbeat": subjects.heartbeat("openai", "w"),
    "an abort": subjects.abort("openai"),
    "their submission": subjects.submit(THEIRS, "a-b"),
    "their cancel": subjects.cancel(THEIRS, "a-b"),
    "their live events": subjects.live_result(THEIRS, "key-abc"),
    "their inbox": f"{subjects.inbox_prefix(THEIRS)}.0123456789abcdef.1",
    "the broker": "$JS.API.STREAM.PURGE.RES",
    "an acknowledgement": "$JS.ACK.WORK_0.openai.1.1.1.1.1",
}


@pytest.mark.parametrize("name", [*WAYS, "api"])
async def test_no_answer_goes_to_the_services_or_to_another_project(
    broker: Broker, services: NatsBus, mallory: Login, name: str
) -> None:
    heard: list[str] = []
    ears = [
        await services.subscribe(reply, lambda message: heard.append(message.subject)) for reply in REPLIES.values()
    ]
    desk = await services.respond(subjects.api("*", "hello"), desk_answer, inbox=desk_inbox)
    before = await counts(services)
    async with login(broker.url, THEIRS) as victim:
        await victim.listen(f"{subjects.PUBLIC}.live.{THEIRS}.>", f"{subjects.inbox_prefix(THEIRS)}.>")
        for index, reply in enumerate(REPLIES.values()):
            subject = subjects.api(MINE, "hello") if name == "api" else way(name, f"a-b{index}")
            await mallory.client.publish(subject, b"{}", reply=reply)
        subject = subjects.api(MINE, "hello") if name == "api" else way(name, "a-last")
        answer = await mallory.client.request(subject, b"{}", timeout=10)
        assert answer.data, "an honest message is answered"
        await victim.client.flush()
        assert [message.subject for message in victim.heard] == []
    after = await counts(services)
    grown = {stream for stream in after if after[stream] != before[stream]}
    own = {"submit": subjects.stream_name(subjects.SUBMIT), "cancel": subjects.CTL, "blob": subjects.BLOB}
    assert grown == ({own[name]} if name in own else set())
    assert heard == []
    for one in (*ears, desk):
        await one.close()


async def desk_answer(message: object) -> bytes:
    del message
    return b'{"hello":"there"}'


def desk_inbox(message: Any) -> tuple[str, ...]:
    return f"{subjects.inbox_prefix(message.subject.split('.')[3])}.", subjects.IMPORTED_REPLY


async def test_the_desk_answers_nobody_in_another_projects_name(tmp_path: Path) -> None:
    async with (
        whole(tmp_path) as gate,
        login(gate.url, MINE) as mallory,
        login(gate.url, THEIRS) as victim,
    ):
        job = "key-0123456789abcdef"
        await victim.listen(subjects.live_job(THEIRS, job), f"{subjects.inbox_prefix(THEIRS)}.>")
        for reply in (subjects.live_result(THEIRS, job), f"{subjects.inbox_prefix(THEIRS)}.x"):
            for operation in ("hello", "status", "results", "chunks", "blob"):
                await mallory.client.publish(subjects.api(MINE, operation), b'{"jobs":[]}', reply=reply)
        answer = await mallory.client.request(subjects.api(MINE, "hello"), b"{}", timeout=10)
        assert json.loads(answer.data)["project"] == MINE
        await victim.client.flush()
        assert victim.heard == []


# -- headers that mean something to the broker


HEADERS = {
    "rollup of a subject": {"Nats-Rollup": "sub"},
    "rollup of everything": {"Nats-Rollup": "all"},
    "a schedule": {"Nats-Schedule": "@at 2020-01-01T00:00:00Z", "Nats-Schedule-Target": subjects.lease(0)},
    "a schedule for another": {"Nats-Schedule": "@every 1s", "Nats-Schedule-Target": subjects.queued(0, THEIRS, "a-b")},
    "a time to live": {"Nats-TTL": "1s"},
    "a counter": {"Nats-Incr": "+1"},
    "a batch": {"Nats-Batch-Id": "b", "Nats-Batch-Sequence": "1"},
    "a batch of one": {"Nats-Batch-Id": "b", "Nats-Batch-Sequence": "1", "Nats-Batch-Commit": "1"},
    "another stream": {"Nats-Expected-Stream": "RES"},
    "another last id": {"Nats-Expected-Last-Msg-Id": "b"},
    "another last sequence": {"Nats-Expected-Last-Sequence": "12345"},
}


@pytest.mark.parametrize("name", WAYS)
async def test_headers_that_steer_the_broker_are_refused_on_every_way_in(
    services: NatsBus, mallory: Login, name: str
) -> None:
    theirs = way(name, "a-b", THEIRS)
    await services.append(theirs, b"{}")
    await mallory.client.request(way(name, "a-first"), b"{}", timeout=10)
    before = await counts(services)
    for index, (what, headers) in enumerate(HEADERS.items()):
        answer = await mallory.client.request(way(name, f"a-{index}"), b"{}", headers=headers, timeout=10)
        assert "error" in json.loads(answer.data), what
        assert await counts(services) == before, what


async def test_headers_that_steer_the_broker_are_but_words_to_the_desk(services: NatsBus, mallory: Login) -> None:
    desk = await services.respond(subjects.api("*", "hello"), desk_answer, inbox=desk_inbox)
    before = await counts(services)
    for headers in HEADERS.values():
        answer = await mallory.client.request(subjects.api(MINE, "hello"), b"{}", headers=headers, timeout=10)
        assert answer.data == b'{"hello":"there"}'
    assert await counts(services) == before
    await desk.close()


async def test_a_trace_of_the_broker_goes_nowhere_a_project_may_not_publish(services: NatsBus, mallory: Login) -> None:
    heard: list[str] = []
    for where in (subjects.lease(0), subjects.live_result(THEIRS, "a-b"), subjects.queued(0, THEIRS, "a-b")):
        ear = await services.subscribe(where, lambda message: heard.append(message.subject))
        await mallory.client.publish(way("submit", "a-t"), b"{}", headers={"Nats-Trace-Dest": where})
        assert await mallory.refused(where.lower())
        await ear.close()
    assert heard == []


async def test_nothing_we_store_bears_an_id_by_which_another_project_could_make_it_a_duplicate(tmp_path: Path) -> None:
    """The broker compares ``Nats-Msg-Id`` over a whole stream: whoever used one could be robbed of the message."""
    async with whole(tmp_path) as gate, quiet(gate) as theirs:
        kept: list[tuple[str, dict[str, str]]] = []
        streams = (subjects.stream_name(subjects.SUBMIT), subjects.CTL, subjects.BLOB, subjects.RES, subjects.TOK)
        tails = [
            await gate.bus.tail(stream, lambda message: kept.append((message.subject, dict(message.headers or {}))))
            for stream in streams
        ]
        assert (await theirs.complete(**HELLO, idempotency_key="abc")).text
        assert (await theirs.complete(model="fast", messages="x" * (600 * 1024))).text
        async with theirs.stream(**HELLO) as stream:
            assert [event async for event in stream]
        handle = await theirs.submit(**HELLO, not_before=600.0)
        await handle.cancel()
        with pytest.raises(JobFailed):
            await handle
        await eventually(lambda: {"q", "cancel", "blob", "res", "tok"} <= {kind_of(subject) for subject, _ in kept})
        assert [subject for subject, headers in kept if "Nats-Msg-Id" in headers] == []
        for tail in tails:
            await tail.close()


def kind_of(subject: str) -> str:
    return subject.removeprefix(f"{subjects.PUBLIC}.").removeprefix(f"{subjects.PREFIX}.").partition(".")[0]


# -- names


BAD_JOBS = [
    *("a.b-c", "*-b", "a->", ">", "a b-c", "ä-b", "a-b-c", "", "-", "a-", "a-\x00", "a-b\n"),
    *(f"{'x' * 33}-b", f"a-{'x' * 33}", "a\r\nPUB x 0\r\n\r\n-b"),
]
BAD_PROJECTS = ["a.b", "*", ">", "a b", "ä", "-a", "x" * 65, "a\r\nPUB x 0\r\n", "a\n"]


@pytest.mark.parametrize("job", BAD_JOBS)
def test_a_job_id_that_is_none_never_reaches_a_subject(job: str) -> None:
    with pytest.raises(InvalidRequest):
        _ = Producer(key=key()).attach(job)


@pytest.mark.parametrize("project", BAD_PROJECTS)
def test_a_project_that_is_no_token_never_reaches_a_subject(project: str) -> None:
    with pytest.raises(InvalidRequest):
        Producer(key="", project=project)
    with pytest.raises(InvalidRequest):
        Producer(key=f"psk_{project}_0123")


RAW_TOKENS = ["*.b", "a.>", "*.*", "ä.b", "a-b.c", f"{'x' * 200}.b", "-.-", "a.b\x01"]
"""Two subject tokens that are no job id; the broker itself takes them."""


async def test_ids_that_are_none_are_set_aside_and_hurt_nobody(tmp_path: Path) -> None:
    async with whole(tmp_path) as gate, quiet(gate) as theirs, login(gate.url, MINE) as mallory:
        first = await theirs.complete(**HELLO, idempotency_key="kept")
        waiting = await theirs.submit(**HELLO, not_before=600.0)
        for tokens in RAW_TOKENS:
            for name in ("submit", "cancel"):
                await mallory.client.publish(f"{subjects.PUBLIC}.{name}.{MINE}.{tokens}", b"{}")
            asked = encode(Cancel(job=waiting.id, token="*"))
            await mallory.client.publish(f"{subjects.PUBLIC}.cancel.{MINE}.{tokens}", asked)
            for operation in ("status", "results"):
                question = json.dumps({"jobs": [tokens.replace(".", "-"), f"{THEIRS}.{tokens}"]}).encode()
                answer = await mallory.client.request(subjects.api(MINE, operation), question, timeout=10)
                assert "refused" in json.loads(answer.data), (operation, tokens)
        await mallory.client.flush()
        assert (await theirs.complete(**HELLO)).text
        again = await theirs.complete(**HELLO, idempotency_key="kept")
        assert again.result == first.result
        assert (await waiting.status()).state is JobState.QUEUED or (await waiting.status()).state is JobState.HELD
        assert gate.scheduler.leads
        await waiting.cancel()
        await eventually(lambda: empty(gate, subjects.stream_name(subjects.SUBMIT)), within=10, says="left in SUBMIT")


# -- listening in


EARS = [
    *(">", "*.>", "_INBOX.>", f"{subjects.inbox_prefix(THEIRS)}.>", "_R_.>", "$JS.>", "$SYS.>"),
    *(f"{subjects.PREFIX}.>", f"{subjects.PUBLIC}.>", f"{subjects.PUBLIC}.live.>", f"{subjects.PUBLIC}.live.*.>"),
    *(f"{subjects.PUBLIC}.live.{THEIRS}.>", f"{subjects.PUBLIC}.submit.{MINE}.>", f"{subjects.PREFIX}.beat.>"),
    *("$JS.EVENT.>", "$SYS.ACCOUNT.>", f"{subjects.PREFIX}.res.>", subjects.lease(0)),
]


async def test_a_project_cannot_listen_to_anything_but_its_own(tmp_path: Path) -> None:
    async with whole(tmp_path) as gate, quiet(gate) as theirs, login(gate.url, MINE) as mallory:
        for subject in EARS:
            await mallory.client.subscribe(subject, cb=mallory.hear)
            await mallory.client.subscribe(subject, queue="q", cb=mallory.hear)
            assert await mallory.refused(f'permissions violation for subscription to "{subject.lower()}"'), subject
        async with theirs.stream(**HELLO) as stream:
            assert [event async for event in stream]
        assert (await theirs.complete(**HELLO)).text
        await mallory.client.flush()
        assert [message.subject for message in mallory.heard] == []
        for request in ("$JS.API.INFO", "$JS.API.STREAM.NAMES", "$SYS.REQ.SERVER.PING", "$SYS.REQ.USER.INFO"):
            with pytest.raises((asyncio.TimeoutError, nats.errors.Error)):
                await mallory.client.request(request, b"", timeout=0.3)


# -- forged words


async def test_the_project_is_the_logins_whatever_a_message_says(tmp_path: Path) -> None:
    async with whole(tmp_path) as gate, quiet(gate) as theirs, login(gate.url, MINE) as mallory:
        waiting = await theirs.submit(**HELLO, not_before=600.0)
        status = await waiting.status()
        words = {"job": waiting.id, "token": status.token, "project": THEIRS}
        for subject in (subjects.cancel(MINE, waiting.id), subjects.cancel(MINE, "a-b")):
            await mallory.client.request(subject, json.dumps(words).encode(), timeout=10)
        job = builders.job("m-1")
        body = json.dumps({**json.loads(encode(job)), "project": THEIRS}).encode()
        ticket = builders.ticket(job, submitted=time.time(), body_hash=body_hash(body))
        forged = json.dumps({**json.loads(encode(ticket)), "project": THEIRS})
        await mallory.client.request(
            subjects.submit(MINE, job.id), body, headers={subjects.H_TICKET: forged}, timeout=10
        )
        results = await eventually(lambda: all_results(gate, job.id), within=10)
        assert results == {MINE}
        assert (await waiting.status()).state is status.state, "another project's cancel has no effect"
        await waiting.cancel()


async def all_results(gate: Gateway, job: str) -> set[str]:
    """The projects in whose name a job has a result."""
    return {result.project for result in (await gate.results()).values() if result.job == job}
