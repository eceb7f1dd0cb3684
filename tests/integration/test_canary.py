"""Content and secrets are nowhere but where they belong: planted everywhere, every failure made, every sink searched.

What is planted: a prompt, an answer, a provider's key, keys of the edge and the broker's password. The provider says
both prompt and key in all its errors, as some do. Where they may be is the body of a message, and a call's request.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr

import console.instruments
import gateway.instruments
import ledger.instruments
import scheduler.instruments
import workers.instruments
from catalogue.load import providers
from console.asking import OPERATOR
from console.assembly import assemble
from console.panels.all import PANELS
from job_contracts import subjects
from job_contracts.codec import encode
from job_contracts.jobs import Job
from ledger.database import Database
from ledger.desk import Desk
from ledger.service import Ledger
from producer_sdk import PenstockError, Producer
from runtime.bus import BusSettings, connect
from runtime.bus.port import Bus, BusError
from runtime.clock import SystemClock
from runtime.settings.services import LedgerSettings
from runtime.telemetry import DEBUG, Metrics, Telemetry, write_logs
from runtime.tracing.exporter import Exporter
from tests.support import builders
from tests.support.databases import raw
from tests.support.edge import ADMIN, RunningEdge, edge
from tests.support.eventually import eventually
from tests.support.gateway import Gateway
from tests.support.gateway import gateway as whole_gateway
from tests.support.postgres import Postgres
from tests.support.stand_in import PROJECT, SECRET, SERVICE, key
from tests.support.upstream import Do, Step, chunk, completion, error, event, head, response, upstream
from tests.support.worker import bench
from workers.dialects.openai_chat import OpenAIChat

PROMPT, ANSWER = "canary prompt 7c2d", "canary answer 91ab"
KEY, QUERY, STRANGE = "sk-canary-5e1f", "canary-in-a-query-33d0", "psk_canary_00ff"
CANARIES = (PROMPT, ANSWER, KEY, QUERY, STRANGE, SECRET, key(), ADMIN)
ECHO = f"you asked {PROMPT!r} with the key {KEY}"
GOOD, WORK, OUT = "m-good", subjects.stream_name(subjects.WORK), subjects.stream_name(subjects.OUT)


def tokens(*texts: str) -> bytes:
    return b"".join(chunk(event(text)) for text in texts)


FAILING: dict[str, list[Step]] = {
    **{f"m-{status}": [error(status, "broken", ECHO)] for status in (400, 401, 403, 404, 413, 422, 500, 503)},
    "m-429": [error(429, "rate_limit_exceeded", ECHO, retry_after="1")],
    "m-long": [error(400, "context_length_exceeded", f"maximum context length: {ECHO}")],
    "m-refused": [error(400, "content_filter", ECHO)],
    "m-text": [response(ECHO.encode())],
    "m-json": [response({"unexpected": ECHO})],
    "m-moved": [response({}, status=302, extra=f"location: http://127.0.0.1:9/?key={KEY}\r\n")],
    "m-reset": [Do.RESET],
    "m-silent": [Do.HANG],
    "m-cut": [head(), tokens(ANSWER), Do.CLOSE],
    "m-stalled": [head(), tokens(ANSWER), Do.HANG],
    "m-garbage": [head(), tokens(ANSWER), chunk(f"data: {{{ECHO}\n\n"), Do.CLOSE],
}
"""What the provider does, by model; all of it says what must not be said on."""


@dataclass
class Sinks:
    """Everything that leaves the processes beside the messages' bodies."""

    lines: list[str] = field(default_factory=list)
    metrics: list[Metrics] = field(default_factory=list)
    spans: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)

    def of(self, process: str, instruments: Any) -> Telemetry:
        """Telemetry of a process that tells everything to everybody."""
        telemetry, metrics = Telemetry(), Metrics(process)
        self.watch(telemetry, process)
        metrics.listen(telemetry, instruments)
        self.metrics.append(metrics)
        return telemetry

    def watch(self, telemetry: Telemetry, process: str) -> None:
        write_logs(telemetry, process, self.lines.append, lowest=DEBUG)
        to = SimpleSpanProcessor(self.spans)
        Exporter(to, process=process, version="test", conventions="genai-latest").listen(telemetry)

    def texts(self) -> dict[str, str]:
        return {
            "logs": "".join(self.lines),
            "metrics": "".join(one.exposition()[1].decode() for one in self.metrics),
            "traces": "".join(span.to_json() for span in self.spans.get_finished_spans()),
        }

    def events(self) -> set[str]:
        return {json.loads(line)["event"] for line in self.lines}


@pytest.fixture
def sinks() -> Iterator[Sinks]:
    """Their logs listen to what libraries log as well; not any more afterwards."""
    root = logging.getLogger()
    handlers = set(root.handlers)
    yield Sinks()
    for handler in set(root.handlers) - handlers:
        root.removeHandler(handler)


def values(url: str) -> dict[str, Any]:
    short = {"connect": 1, "ttft": 0.3, "stall": 0.3, "total": 2}
    route = {"timeouts": short, "max_attempts": 1}
    well = {"timeouts": {"connect": 10, "ttft": 20, "stall": 20, "total": 20}, "max_attempts": 1}
    return {
        "providers": {"alpha": {"dialect": "openai_chat", "base_url": f"{url}/v1", "key": KEY}},
        "routes": {
            GOOD: {**well, "deployments": [f"alpha/{GOOD}"]},
            **{name: {**route, "deployments": [f"alpha/{name}"]} for name in FAILING},
        },
        "projects": {PROJECT: {"retry_share": 1.0}},
        "telemetry": {"traces": {"ratio": 1.0}},
    }


@asynccontextmanager
async def house(
    sinks: Sinks, place: Path, urls: Sequence[str]
) -> AsyncIterator[tuple[Gateway, RunningEdge, list[Ledger]]]:
    instruments = scheduler.instruments.INSTRUMENTS
    async with upstream([response(completion(ANSWER))]) as provider:
        provider.of_model = FAILING
        inner = sinks.of("scheduler", instruments)
        of_workers = Metrics("workers")
        of_workers.listen(inner, workers.instruments.INSTRUMENTS)
        sinks.metrics.append(of_workers)
        async with (
            whole_gateway(place, values(provider.url), {}, telemetry=inner) as whole,
            edge(whole, telemetry=sinks.of("gateway", gateway.instruments.INSTRUMENTS)) as one,
        ):
            telemetry = sinks.of("ledger", ledger.instruments.INSTRUMENTS)
            async with AsyncExitStack() as stack:
                books = [await stack.enter_async_context(ledger_on(whole, url, telemetry)) for url in urls]
                yield whole, one, books


@asynccontextmanager
async def ledger_on(whole: Gateway, url: str, telemetry: Telemetry) -> AsyncIterator[Ledger]:
    database = Database(url)
    await database.migrate()
    books = Ledger(whole.bus, database, LedgerSettings(linger=0.01), SystemClock(), telemetry)
    desk = Desk(whole.bus, database, providers(), whole.config, telemetry, clock=SystemClock())
    for duty in (books, desk):
        await duty.start()
    yield books
    for duty in (books, desk):
        await duty.stop()
    await database.close()


async def ask(producer: Producer, model: str, *, streamed: bool) -> None:
    """One job, whatever comes of it."""
    asked: dict[str, Any] = {"model": model, "messages": PROMPT, "deadline": 3.0}
    try:
        if streamed:
            async for _ in producer.stream(**asked):
                pass
        else:
            await producer.complete(**asked)
    except PenstockError:
        pass


async def over_http(one: RunningEdge) -> None:
    """What clients do wrong, and what they do right."""
    chat = {"model": GOOD, "messages": [{"role": "user", "content": PROMPT}]}
    strange = {"authorization": f"Bearer {STRANGE}"}
    http, path = one.client, "/v1/chat/completions"
    assert (await http.post(path, json=chat)).status_code == 200
    soon = {"x-penstock-deadline": "1"}
    await http.post(path, json={**chat, "stream": True}, headers=soon)
    await http.post(path, json={**chat, "model": "m-500"}, headers=soon)
    assert (await http.post(path, json=chat, headers=strange)).status_code == 401
    assert (await http.get("/v1/models", params={"key": QUERY})).status_code == 200
    assert (await http.get(f"/nothing/{QUERY}", params={"key": QUERY})).status_code == 404
    assert (await http.post(path, content=f'{{"messages": "{PROMPT}')).status_code == 400
    assert (await http.post(path, json={**chat, "messages": [{"role": PROMPT, "content": PROMPT}]})).status_code == 400
    assert (await http.post(path, json={**chat, "temperature": PROMPT})).status_code == 400
    assert (await http.post(path, json=chat, headers={"x-penstock-lane": QUERY})).status_code == 400
    admin = {"authorization": f"Bearer {ADMIN}"}
    assert (await http.post("/v1/keys", json={"project": PROMPT}, headers=admin)).status_code >= 400
    with pytest.raises(httpx.ReadTimeout):  # a client that goes away in the middle
        await http.post(path, json={**chat, "model": "m-silent"}, timeout=0.1)


async def unreadable(bus: Bus) -> None:
    """Messages that are none, with content in them, in every stream that somebody reads."""
    told = PROMPT.encode()
    job = Job.model_validate({"id": "bad-1", "route": GOOD, "conversation": builders.conversation(PROMPT)})
    ticket = encode(builders.ticket(job))
    wrong = encode(job).replace(b'"user"', json.dumps(PROMPT).encode())
    await bus.append(subjects.submit(PROJECT, "bad-1"), wrong, headers={subjects.H_TICKET: ticket.decode()})
    await bus.append(subjects.submit(PROJECT, "bad-2"), told, headers={subjects.H_TICKET: "{}"})
    await bus.append(subjects.submit(PROJECT, "bad-3"), told, headers={subjects.H_TICKET: ticket.decode()})
    await bus.append(subjects.work(0, "alpha", PROJECT, "bad-4"), told)
    await bus.append(subjects.outcome(0, PROJECT, "bad-5"), told)
    await bus.append(subjects.cancel(PROJECT, "bad-6"), told)
    await bus.append(subjects.usage("alpha", "w9"), told)
    with contextlib.suppress(BusError):
        await bus.request(subjects.heartbeat("alpha", "w9"), told, timeout=0.2)
    await bus.publish(subjects.abort("alpha"), told)


class Broken(OpenAIChat):
    """A bug of ours, with content in its words."""

    def encode(self, *_: Any, **__: Any) -> Any:
        raise ValueError(ECHO)


async def bugs(sinks: Sinks) -> None:
    """What nobody has foreseen: in an attempt, in a task that nobody waits for, and in the words of a library."""
    async with bench("http://127.0.0.1:9", dialects={"openai_chat": Broken()}) as made:
        sinks.watch(made.telemetry, "workers")
        await made.outcome(await made.hand(made.assignment(job=builders.job("bug-1"))))

    async def failing() -> None:
        raise ValueError(ECHO)

    task = asyncio.create_task(failing(), name=PROMPT)
    await asyncio.wait({task})
    del task
    gc.collect()  # now asyncio tells of an exception that nobody has looked at
    log = logging.getLogger("some.library")
    log.warning(f"calling https://host/?key={KEY}")  # noqa: G004 - as careless as it may be
    log.error("calling %s", ECHO)
    try:
        await failing()
    except ValueError:
        log.exception("failed")


MOST_PAGES = 40
"""Pages of each panel that are looked at: its own, and those that links lead to."""


@asynccontextmanager
async def operators(sinks: Sinks, one: RunningEdge) -> AsyncIterator[str]:
    """The address of a console beside everything else."""
    settings = BusSettings(
        url=one.config.nats.url,
        user=SERVICE,
        password=SecretStr(SECRET),
        name="console",
        inbox_prefix=subjects.inbox_prefix(OPERATOR),
    )
    bus = await connect(settings)
    telemetry = sinks.of("console", console.instruments.INSTRUMENTS)
    made = assemble(
        one.config, bus=bus, clock=SystemClock(), telemetry=telemetry, told=lambda _, __: (200, "text/plain", b"")
    )
    await made.server.start()
    try:
        yield f"http://127.0.0.1:{made.server.port}"
    finally:
        await made.server.stop()
        await bus.close()


async def pages_of(url: str, login: str) -> dict[str, str]:
    """Every page that somebody may see: each panel's, what leads on from there, a live state and a file of each."""
    found: dict[str, str] = {}
    async with httpx.AsyncClient(base_url=url, headers={"origin": url}, timeout=30.0, trust_env=False) as browser:
        assert (await browser.post("/login", data={"key": login})).status_code == 303
        waiting = [f"/{panel.name}{more}" for panel in PANELS for more in ("", *(f"/{name}" for name in panel.sheets))]
        looked: Counter[str] = Counter()
        while waiting:
            path = waiting.pop(0)
            looked[path.split("?")[0]] += 1
            if path in found or looked[path.split("?")[0]] > MOST_PAGES:
                continue
            answer = await browser.get(path)
            found[path] = answer.text
            if answer.status_code == 200:
                links = (unescape(link) for link in re.findall(r'href="(/[^"#]*)', answer.text))
                waiting += [link for link in dict.fromkeys(links) if not link.startswith("/static/")]
        for panel in PANELS:
            if panel.live:
                found[f"{panel.name} live"] = await first_state(browser, f"/{panel.name}/live")
    return found


async def first_state(browser: httpx.AsyncClient, path: str) -> str:
    """What is pushed first; nothing where somebody may not see the panel."""
    said = ""
    async with browser.stream("GET", path) as stream:
        async for line in stream.aiter_lines():
            said += f"{line}\n"
            if said.endswith("\n\n"):
                break
    return said


async def headers_of(bus: Bus) -> tuple[str, str]:
    """Subjects and headers of all that is stored, and the bodies."""
    said: list[str] = []
    bodies: list[bytes] = []
    for stream in (subjects.RES, subjects.DEAD, subjects.TOK, subjects.LEDGER, subjects.CTL, OUT, WORK, "SUBMIT_0"):
        start, found = 1, await bus.run(stream, 1, ">", limit=500)
        while found:
            said += [f"{one.subject} {dict(one.headers or {})}" for one in found]
            bodies += [one.data for one in found]
            start = found[-1].seq + 1
            found = await bus.run(stream, start, ">", limit=500)
    return "\n".join(said), b"".join(bodies).decode("utf-8", "replace")


async def test_nothing_that_was_planted_is_in_any_sink(
    sinks: Sinks, tmp_path: Path, postgres: Postgres, capfd: pytest.CaptureFixture[str]
) -> None:
    urls = (f"sqlite:///{tmp_path}/ledger.db", await postgres.new())
    async with house(sinks, tmp_path, urls) as (whole, one, books):
        await over_http(one)  # first: afterwards breakers keep even what would go well waiting
        async with whole.producer() as producer:
            await asyncio.gather(
                *(ask(producer, name, streamed=streamed) for name in (GOOD, *FAILING) for streamed in (True, False))
            )
            handle = await producer.submit(model="m-silent", messages=PROMPT)
            await handle.cancel()
            with pytest.raises(PenstockError):
                await handle.result(5.0)
        await unreadable(whole.bus)
        await bugs(sinks)
        expected = {
            "attempt.ended", "attempt.observed", "job.observed", "attempt.broken", "library.logged", "letter.kept",
            "pool.unreadable", "outcomes.unreadable", "ledger.unreadable", "cancel.read", "lifeline.unreadable_beat",
        }  # fmt: skip
        await eventually(lambda: expected <= sinks.events(), within=10.0, says=lambda: expected - sinks.events())
        state = await whole.bus.stream_state(subjects.LEDGER)
        await eventually(
            lambda: all(one.position >= state.last_seq for one in books), within=10.0, says="a ledger has not read all"
        )
        async with operators(sinks, one) as url:
            pages, own = await pages_of(url, ADMIN), await pages_of(url, key())
        said, bodies = await headers_of(whole.bus)
    shown = "\n".join((*pages.values(), *own.values()))
    sunk = {
        **sinks.texts(),
        "headers": said,
        **{url.partition(":")[0]: raw(url).decode("latin-1") for url in urls},
        "pages": unquote(unescape(shown)),
        "pages as they are": shown,
        "terminal": "".join(capfd.readouterr()),
    }
    assert all(text in bodies for text in (PROMPT, ANSWER)), "it was not planted where it belongs"
    kinds = {json.loads(line).get("outcome") for line in sinks.lines if '"attempt.ended"' in line}
    assert len(kinds) >= 12, f"only these failures were made: {kinds}"
    assert all(sunk[name] for name in sunk if name != "terminal")
    assert {f"/{panel.name}" for panel in PANELS} <= {*pages} & {*own}
    assert any("job=" in path and "dead" in path for path in pages), "no letter was looked at"
    hits = [(name, canary) for name, text in sunk.items() for canary in CANARIES if canary in text]
    assert not hits, [(name, *_around(sunk[name], canary)) for name, canary in hits]


def _around(text: str, canary: str) -> tuple[str, ...]:
    places = [at for at in range(len(text)) if text.startswith(canary, at)][:3]
    return tuple(text[max(0, at - 200) : at + 80] for at in places)
