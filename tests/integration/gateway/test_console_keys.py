"""Keys from the console, over a real broker, scheduler and edge: they work, and nobody but who made one can read it."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
from pydantic import SecretStr

from catalogue.load import providers
from console.asking import OPERATOR
from console.assembly import assemble
from job_contracts import subjects
from job_contracts.keys import key_id
from runtime.bus import BusSettings, connect
from runtime.clock import SystemClock
from runtime.telemetry import DEBUG, Event, Telemetry
from tests.integration.gateway.test_keys import VALUES
from tests.support.edge import ADMIN, RunningEdge, edge
from tests.support.eventually import eventually
from tests.support.gateway import Gateway, gateway
from tests.support.stand_in import PROJECT, SECRET, SERVICE

KEY = re.compile(rf"psk_{PROJECT}_[0-9a-f]{{72}}")


async def _status(at: RunningEdge, key: str) -> int:
    answer = await at.client.get("/v1/keys/self", headers={"authorization": f"Bearer {key}"})
    return answer.status_code


async def _stored(whole: Gateway, stream: str) -> str:
    """All that a stream holds."""
    found = await whole.bus.run(stream, 1, limit=1_000)
    return str([(one.subject, one.data, one.headers) for one in found])


async def _sent(browser: httpx.AsyncClient, action: str, **fields: str) -> str:
    word = re.search(r'name="forms" value="([^"]+)"', (await browser.get("/keys")).text)
    assert word is not None
    answer = await browser.post(f"/keys/{action}", data={**fields, "forms": word[1]})
    assert answer.status_code == 303
    assert not KEY.search(str(answer.headers))
    return (await browser.get(answer.headers["location"])).text


async def test_a_key_made_in_the_console_works_and_is_nowhere_else_to_be_read(tmp_path: Path) -> None:
    heard: list[bytes] = []
    events: list[Event] = []
    telemetry = Telemetry()
    telemetry.subscribe(events.append, lowest=DEBUG)
    async with gateway(tmp_path, VALUES, providers()) as whole, edge(whole) as one:
        overheard = [
            await whole.bus.subscribe(subject, lambda message: heard.append(message.data))
            for subject in (subjects.key_desk("*"), subjects.api(OPERATOR, "*"), f"{subjects.inbox_prefix(OPERATOR)}.>")
        ]
        settings = BusSettings(
            url=whole.url,
            user=SERVICE,
            password=SecretStr(SECRET),
            name="console",
            inbox_prefix=subjects.inbox_prefix(OPERATOR),
        )
        bus = await connect(settings)
        made = assemble(
            one.config, bus=bus, clock=SystemClock(), telemetry=telemetry, told=lambda _, __: (200, "", b"")
        )
        await made.server.start()
        url = f"http://127.0.0.1:{made.server.port}"
        try:
            async with httpx.AsyncClient(base_url=url, headers={"origin": url}, trust_env=False) as browser:
                await browser.post("/login", data={"key": ADMIN})

                async def led() -> bool:
                    return (await browser.get("/overview")).status_code == 200

                await eventually(led, within=15.0)
                said = await _sent(browser, "create", project=PROJECT, name="night", routes="chat", tpm="6000")
                (first,) = KEY.findall(said)
                assert await _status(one, first) == 200
                said = await _sent(browser, "rotate", id=key_id(first), overlap="1")
                (second,) = KEY.findall(said)
                assert [await _status(one, key) for key in (first, second)] == [200, 200]
                await _sent(browser, "revoke", id=key_id(first), sure=key_id(first), why="it leaked")
                assert [await _status(one, key) for key in (first, second)] == [401, 200]
                health = (await browser.get("/health")).text
                shown = [(await browser.get(page)).text for page in ("/keys", "/audit", "/overview", "/config")]
        finally:
            await made.server.stop()
            await bus.close()
        for one_subject in overheard:
            await one_subject.close()
        told = [*shown, health, str(events), str(one.events), str(heard)]
        told += [await _stored(whole, stream) for stream in (subjects.AUDIT, subjects.KEYS)]
    assert heard
    for key in (first, second):
        assert not [text for text in told if key in text or key.rpartition("_")[2][12:] in text]
        assert key_id(key) in shown[0]
    for did in ("create", "rotate", "revoke"):
        assert f"<td>{did}</td><td>key {key_id(first)}</td>" in shown[1]
    assert "leads, term" in health
    assert "none stands by" in health
    assert re.search(r"connected to \S+ \d+\.\d+", health)
