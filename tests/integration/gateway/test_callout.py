"""The same key on the broker's door: let in, kept apart, refused, ended; with an edge at the door and without."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client

from catalogue.load import providers
from job_contracts import subjects
from producer_sdk import Forbidden, Producer
from runtime.broker import Broker, write_config
from runtime.bus.client import discard
from tests.support.door import CALLOUT, guarded
from tests.support.edge import ADMIN, RunningEdge, edge
from tests.support.eventually import eventually
from tests.support.gateway import Gateway, gateway
from tests.support.own_time import own_time
from tests.support.stand_in import OTHER, PROJECT, SECRET, SERVICE, key
from tests.support.upstream import completion, response, upstream


def values(url: str) -> dict[str, Any]:
    return {
        "providers": {"openai": {"key": "sk-one", "base_url": f"{url}/v1"}},
        "routes": {"chat": {"deployments": ["openai/gpt-4o-mini"]}},
        "projects": {PROJECT: {}, OTHER: {}},
    }


@dataclass
class Site:
    """A guarded broker, and the edges at its door."""

    whole: Gateway
    edges: list[RunningEdge]
    _open: list[Client] = field(default_factory=list)

    async def admin(self, method: str, path: str, **said: Any) -> dict[str, Any]:
        answered = await self.edges[0].client.request(
            method, path, headers={"authorization": f"Bearer {ADMIN}"}, **said
        )
        assert answered.status_code < 300, answered.text
        return dict(answered.json())

    async def made(self, **wish: Any) -> dict[str, Any]:
        made = await self.admin("POST", "/v1/keys", json={"project": PROJECT, **wish})
        await eventually(lambda: all(one.edge.key_desk.find(made["id"]) for one in self.edges[:1]))
        return made

    async def connected(self, secret: str, *, project: str = PROJECT, **options: Any) -> Client:
        """A connection, or nats.errors.Error."""
        login = {"user": project, "password": secret, "inbox_prefix": subjects.inbox_prefix(project)}
        client = Client()
        self._open.append(client)
        await client.connect(
            self.whole.url, allow_reconnect=False, max_reconnect_attempts=0, error_cb=_quiet, **{**login, **options}
        )
        return client

    async def refused(self, secret: str, **options: Any) -> bool:
        try:
            client = await self.connected(secret, **options)
        except nats.errors.Error as error:
            return "authorization violation" in str(error).lower()
        return not client.is_connected

    async def broker_runs(self) -> None:
        """Return once the broker has answered."""
        await self.whole.bus.stream_state(subjects.KEYS)

    async def close(self) -> None:
        for client in self._open:
            await discard(client, 1.0)  # a refused one leaves its socket open


async def _quiet(_: Exception) -> None:
    """What goes wrong is the test's to see."""


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with (
        upstream([response(completion("Hello!"))]) as provider,
        gateway(tmp_path, values(provider.url), providers(), served_by=guarded()) as whole,
        edge(whole, name="one", callout=CALLOUT) as one,
        edge(whole, name="two", callout=CALLOUT) as two,
    ):
        made = Site(whole, [one, two])
        yield made
        await made.close()


async def test_a_producer_works_with_a_key_that_was_made_a_moment_ago(site: Site) -> None:
    made = await site.made(name="over NATS")
    for secret in (made["key"], key()):
        async with Producer(site.whole.url, secret) as producer:
            assert (await producer.complete(model="chat", messages="Hi")).text == "Hello!"
    assert (await site.edges[1].client.get("/v1/keys/self")).status_code == 200, "the same key over HTTP"


async def test_the_brokers_file_holds_no_key(site: Site) -> None:
    directory = site.whole.broker.directory  # type: ignore[union-attr]
    told = (directory / "nats-server.json").read_text() + (directory / "nats-server.log").read_text()
    assert key() not in told
    assert CALLOUT["seed"] not in told


async def test_who_has_no_key_is_refused(site: Site) -> None:
    made = await site.made()
    wrong = made["key"][:-1] + ("0" if made["key"][-1] != "0" else "1")
    for secret in (
        "wrong",
        "",
        wrong,
        ADMIN,
        SECRET,
        f"psk_{PROJECT}_" + "0" * 64,
        "\ud83d\ude00' OR 1=1",
        "x" * 3_000,
    ):
        assert await site.refused(secret), secret
    assert await site.refused(key(), project=OTHER), "the user must be the key's project"
    assert await site.refused(key(OTHER))
    assert await site.refused("x", project=SERVICE)
    assert await site.refused("x", project="gate")
    nobody = {"user": None, "password": None}
    assert await site.refused("", **nobody)
    assert await site.refused("", **nobody, token="wrong")
    with pytest.raises(Forbidden):
        async with Producer(site.whole.url, wrong[:-8], connect_timeout=3) as producer:
            await producer.complete(model="chat", messages="Hi")


async def test_a_key_may_do_what_its_projects_login_did_and_no_more(site: Site) -> None:
    client = await site.connected(key())
    heard: list[str] = []

    async def hear(message: Any) -> None:
        heard.append(message.subject)

    ours = await client.request(f"{subjects.PUBLIC}.api.{PROJECT}.hello", b"{}", timeout=2)
    assert json.loads(ours.data)["project"] == PROJECT
    for subject in (
        subjects.submit(OTHER, "a-b"),
        subjects.result(PROJECT, "a-b"),
        subjects.key_record("0123456789ab"),
        subjects.edges(),
        subjects.api(OTHER, "hello"),
        "$JS.API.INFO",
        "$SYS.REQ.USER.AUTH",
        "$SYS.REQ.SERVER.PING.CONNZ",
    ):
        with pytest.raises((asyncio.TimeoutError, nats.errors.Error)):
            await client.request(subject, b"{}", timeout=0.3)
    for subject in (f"{subjects.PUBLIC}.live.{OTHER}.>", "penstock.keys.>", "$SYS.>", ">", f"_INBOX_{OTHER}.>"):
        await client.subscribe(subject, cb=hear)
    await site.whole.bus.append(subjects.result(OTHER, "a-b"), b"theirs")
    await site.made()
    await client.flush()
    assert heard == []


async def test_a_key_with_bounds_that_the_broker_cannot_hold_works_over_http_alone(site: Site) -> None:
    for bounds in (
        *({"routes": ["chat"]}, {"lanes": ["rt"]}, {"rpm": 60}, {"max_tokens": 5}, {"max_cost": "1"}),
        *({"tpm": 1000}, {"concurrency": 1}, {"max_queued": 5}, {"max_queued_bytes": 10_000}),
        {"budget": {"day": "5"}},
    ):
        made = await site.made(**bounds)
        assert await site.refused(made["key"])
        told = [
            event.fields["reason"]
            for one in site.edges
            for event in one.events
            if event.name == "callout.refused" and event.fields.get("key") == made["id"]
        ]
        assert told == [f"it has bounds that hold over HTTP alone: {next(iter(bounds))}"]


async def test_a_revoked_key_loses_its_connections_within_a_second_and_gets_no_other(site: Site) -> None:
    made, others = await site.made(), await site.made()
    live = [await site.connected(made["key"]) for _ in range(5)]
    stays = await site.connected(others["key"])
    async with own_time(site.broker_runs) as now:
        begun = now()
        await site.admin("DELETE", f"/v1/keys/{made['id']}")
        await eventually(lambda: not any(one.is_connected for one in live), within=10.0)
        took = now() - begun
    print(f"connections gone after {took:.3f} s")
    assert took < 1.0
    assert await site.refused(made["key"])
    await stays.flush()
    assert stays.is_connected


async def test_a_connection_ends_with_its_key(site: Site) -> None:
    expiring = await site.connected((await site.made(expires="2s"))["key"])
    old = await site.made()
    rotated = await site.connected(old["key"])
    new = await site.admin("POST", f"/v1/keys/{old['id']}/rotate", json={"overlap": "1s"})
    again = await site.connected(new["key"])
    await eventually(lambda: not expiring.is_connected, within=5.0)
    await eventually(lambda: not rotated.is_connected, within=5.0)
    assert again.is_connected
    assert await site.refused(old["key"])


async def test_one_edge_at_the_door_is_enough_and_without_any_nobody_is_let_in(site: Site) -> None:
    live = await site.connected(key())
    await site.edges[0].stop()
    for _ in range(5):
        await (await site.connected(key())).close()
    await site.edges[1].stop()
    assert await site.refused(key(), connect_timeout=10)
    await live.flush()
    assert live.is_connected, "who was let in stays"


async def test_a_storm_of_connections_is_let_in(site: Site) -> None:
    clients = await asyncio.gather(*(site.connected(key(), connect_timeout=10) for _ in range(200)))
    assert all(one.is_connected for one in clients)


async def test_a_connection_of_a_key_that_ended_while_no_edge_was_there_is_ended_by_the_next(site: Site) -> None:
    made = await site.made()
    live = await site.connected(made["key"])
    record = json.loads((await site.whole.bus.last(subjects.KEYS, subjects.key_record(made["id"]))).data)
    for one in site.edges:
        await one.stop()
    await site.whole.bus.append(subjects.key_record(made["id"]), json.dumps({**record, "revoked": 1.0}).encode())
    async with edge(site.whole, name="three", callout=CALLOUT):
        await eventually(lambda: not live.is_connected, within=5.0)


async def test_a_new_project_is_known_after_a_reload(tmp_path: Path) -> None:
    narrow = guarded()
    assert narrow.callout is not None
    narrow = narrow.model_copy(update={"callout": narrow.callout.model_copy(update={"projects": (PROJECT,)})})
    async with (
        gateway(tmp_path, values("http://127.0.0.1:9"), providers(), served_by=narrow) as whole,
        edge(whole, callout=CALLOUT) as one,
    ):
        site = Site(whole, [one])
        assert await site.refused(key(OTHER), project=OTHER), "it has no account yet"
        broker = whole.broker
        assert isinstance(broker, Broker)
        write_config(broker.config.model_copy(update={"callout": guarded().callout}), broker.directory)
        os.kill(broker.pid, signal.SIGHUP)

        async def let_in() -> bool:
            return not await site.refused(key(OTHER), project=OTHER)

        await eventually(let_in, within=5.0)
        assert not await site.refused(key()), "the reload has ended connections, and lets them in again"
        await site.close()


async def test_a_producer_that_comes_while_no_edge_is_there_is_let_in_by_the_next(site: Site) -> None:
    for one in site.edges:
        await one.stop()
    producer = Producer(site.whole.url, key(), connect_timeout=30)
    asking = asyncio.create_task(producer.complete(model="chat", messages="Hi"))
    async with edge(site.whole, name="three", callout=CALLOUT):
        assert (await asking).text == "Hello!"
        await producer.close()
