"""An appliance with a console, people of every role, jobs that flow, and in every field words that want to be code."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from pydantic import SecretStr

from appliance.configuration import BUILT_IN, SERVICE_USER
from appliance.http import ask
from appliance.keys import Keys, keys_of
from appliance.places import Places
from console.asking import OPERATOR, Asking, Edges, Ledger
from console.people import Person, hashed
from job_contracts import subjects
from job_contracts.operating import Aim, AskNote, AskOrder, Doing, Rates
from producer_sdk import Producer
from producer_sdk.errors import PenstockError
from runtime.bus import connect
from runtime.bus.port import Bus
from runtime.bus.settings import BusSettings
from tests.support.appliances import Up, up
from tests.support.eventually import eventually

PROJECT = "demo"
LOGINS = {"viewer": ("vera", "psc_" + "1" * 64), "operator": ("otto", "psc_" + "2" * 64)}
"""Name and key of each person beside the admin, by role."""
MARK = "data-owned"
NASTY = (
    f"<img {MARK} src=/owned onerror=owned()>",
    f'"><script {MARK}>owned()</script>',
    f"</textarea></select></title><svg {MARK} onload=owned()>",
    f"'\" {MARK} autofocus onfocus=owned() x='",
    f"<iframe {MARK} srcdoc='<script>parent.owned()</script>'>",
    "javascript:owned()",
    "{{ 7 * '7' }}{% raw %}",
    f"\N{RIGHT-TO-LEFT OVERRIDE}<a {MARK} href=javascript:owned()>\N{ZERO WIDTH SPACE}&lt;b&gt;",
)
"""Words that become code where somebody forgets to escape them. What became an element has the attribute ``MARK``."""
STANDING: tuple[tuple[Doing, Aim, str, Rates | None], ...] = (
    ("drain", "pool", "gemini", None),
    ("pause", "deployment", "openai/gpt-5", None),
    ("override", "limit", "openai", Rates(rpm=3_000)),
)
"""Orders that are in force from the beginning: jobs for gemini alone wait."""
ROUTES = ("fast", "smart", "cheap", "drafted", "tried", "failing", "waiting", "cut")
PACE = 0.5
"""Seconds between two jobs of the load."""
PRICES = '[[models]]\nname = "*"\nprices = [{ input = 1, cache_read = 0.1, cache_write = 1.25, output = 4 }]\n'
"""What the simulated providers bill by: a book with other prices could not agree with their meter."""
STUCK, BROKEN, SLOW = "stuck", "broken", "slow"
"""Routes that the load leaves to tests: nothing serves it; all of it becomes dead letters; answers take minutes."""


@dataclass
class Stage:
    """All of it. ``leader``, ``ledger`` and ``edges`` answer as they answer the console."""

    appliance: Up
    keys: Keys
    bus: Bus
    producer: Producer
    jobs: list[str] = field(default_factory=list)
    flows: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether the load goes on."""

    @property
    def origin(self) -> str:
        return str(self.appliance.card["console_url"])

    @property
    def leader(self) -> Asking:
        return Asking(self.bus)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.bus)

    @property
    def edges(self) -> Edges:
        return Edges(self.bus)

    @property
    def database(self) -> Path:
        """The ledger's, SQLite."""
        return Places(self.appliance.data_dir).ledger

    def key(self, role: str) -> str:
        """Of ``admin``, ``operator``, ``viewer`` or ``project``."""
        if role == "admin":
            assert self.keys.admin is not None
            return self.keys.admin.get_secret_value()
        return self.appliance.key if role == "project" else LOGINS[role][1]

    def person(self, role: str) -> Person:
        """Who the console takes them for."""
        known = {"admin": Person("admin", "admin"), "project": Person(PROJECT, "viewer", PROJECT)}
        return known[role] if role in known else Person(LOGINS[role][0], "viewer" if role == "viewer" else "operator")

    async def submit(self, number: int) -> None:
        """One job of the load."""
        route = ROUTES[number % len(ROUTES)]
        handle = await self.producer.submit(model=route, messages=f"job {number}", session=f"s-{number}", max_tokens=30)
        self.jobs.append(handle.id)

    async def burst(self, count: int) -> None:
        """So many more, all at once."""
        await asyncio.gather(*map(self.submit, range(count)))

    @asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """No load, nothing under way and nothing that could begin, and all that ended is in the ledger."""
        self.flows.clear()
        try:
            await self._ordered("pause")
            await eventually(self._settled, within=60.0)
            yield
        finally:
            await self._ordered("resume")
            self.flows.set()

    async def _ordered(self, do: Doing) -> None:
        for pool in ("openai", "anthropic"):  # gemini is drained from the beginning
            await self.leader.order(AskOrder(do=do, aim="pool", name=pool, by="quinn", why="a quiet moment"))

    async def _settled(self) -> bool:
        """Whether what was billed is stored, and every job that the leader knows waits."""
        now = await self.leader.overview()
        billed = {line["request_id"] for line in (await self.appliance.simulator("/bills"))["lines"]}
        stream = await self.bus.stream_state(subjects.LEDGER)
        read = await self.ledger.state()
        with closing(self.sql()) as book:
            stored = {name for (name,) in book.execute("SELECT attempt FROM attempts")}
        still = now.in_flight == 0 and sum(lane.queued for lane in now.lanes) == now.known
        return still and read.position == stream.last_seq and billed <= stored

    def sql(self) -> sqlite3.Connection:
        """The ledger's database itself, to read."""
        return sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)

    @property
    def operators(self) -> str:
        """The broker's address with the services' login, as the command line takes it."""
        password = Places(self.appliance.data_dir).service_password.read_text().strip()
        return self.appliance.url.replace("://", f"://{SERVICE_USER}:{quote(password, safe='')}@", 1)

    async def edge(self, path: str, body: Any, *, key: str | None = None) -> Any:
        """A word with the HTTP edge, by the admin unless another key is given."""
        told = await ask(
            f"{self.appliance.card['gateway_url']}{path}", method="POST", body=body, key=key or self.key("admin")
        )
        assert told.status < 300, told.body
        return told.json


def configuration(keys: Keys) -> dict[str, Any]:
    """The built-in one with people, a route that fails, one that hangs, and something of everything that is shown."""
    made: dict[str, Any] = yaml.safe_load(BUILT_IN)
    made["providers"]["openai"] |= {"limits": {"rpm": 6_000, "input_tpm": 400_000}, "concurrency": 32}
    made["routes"] |= {
        "failing": {"deployments": ["openai/gpt-5-nano+fault=500"], "max_attempts": 2},
        "cut": {"deployments": ["openai/gpt-5+fault=cut@0.5", "anthropic/claude-haiku-4-5"]},
        "waiting": {"deployments": ["gemini/gemini-2.5-pro"]},
        "drafted": {
            "deployments": ["openai/gpt-4o-mini"],
            "verify": {"by": "smart", "mode": "after", "when": "all", "budget": {"day": 5}},
            "shadow": {"to": "cheap", "share": 1, "budget": {"day": 5}},
        },
        "tried": {"deployments": ["openai/gpt-4.1-mini"]},
        "tried-small": {"deployments": ["anthropic/claude-haiku-4-5"]},
        STUCK: {"deployments": ["gemini/gemini-2.5-flash-lite"]},
        BROKEN: {"deployments": ["anthropic/claude-haiku-4-5+fault=500"], "max_attempts": 1},
        SLOW: {"deployments": ["openai/gpt-4.1-mini+tps=3+tokens=600"]},
        "weighted": {
            "strategy": "weighted",
            "deployments": ["openai/gpt-4.1-mini", "anthropic/claude-haiku-4-5"],
            "weights": {"openai/gpt-4.1-mini": 3},
        },
        NASTY[0]: {"deployments": ["anthropic/claude-haiku-4-5"]},
    }
    made["experiments"] = {
        "small": {
            "route": "tried",
            "unit": "session",
            "challengers": {"small": {"route": "tried-small"}},
            "metrics": ["cost", "latency", "error_rate"],
            "ramp": {"by": "schedule", "steps": [1], "hold": "1d"},
        }
    }
    made["projects"][PROJECT]["limits"] = {"rpm": 60_000}
    made["catalogue"] = "prices"
    pepper = keys.pepper.get_secret_value()
    people = {name: {"hash": hashed(key, pepper), "role": role} for role, (name, key) in LOGINS.items()}
    made["console"] = {"people": people, "every": 0.4}
    return made


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    """Everything started and planted, with jobs that flow until the end."""
    places = Places(folder / "data")
    places.prepare()
    keys = keys_of(places.keys, (PROJECT,))
    (folder / "prices").mkdir()
    for provider in ("openai", "anthropic", "gemini"):
        (folder / "prices" / f"{provider}.toml").write_text(PRICES, encoding="utf-8")
    config = folder / "penstock.yaml"
    config.write_text(yaml.safe_dump(configuration(keys)), encoding="utf-8")
    async with AsyncExitStack() as stack:
        appliance = await stack.enter_async_context(
            up(places.root, "--config", str(config), "--console-port", "0", "--sync", "default")
        )
        login = BusSettings(
            url=appliance.url,
            user="service",
            password=SecretStr(places.service_password.read_text().strip()),
            inbox_prefix=subjects.inbox_prefix(OPERATOR),
        )
        bus = await connect(login)
        stack.push_async_callback(bus.close)
        producer = await stack.enter_async_context(Producer(appliance.url, key=appliance.key))
        stage = Stage(appliance, keys, bus, producer)
        await _planted(stage, producer)
        stage.flows.set()
        flowing = asyncio.create_task(_flowing(stage), name="load")
        stack.push_async_callback(_ended, flowing)
        yield stage


async def _planted(stage: Stage, producer: Producer) -> None:
    """Nasty words wherever somebody else may write some."""
    for do, aim, name, rates in STANDING:
        asked = AskOrder(do=do, aim=aim, name=name, by="otto", why=NASTY[0], lasts=3_600, limits=rates)
        await stage.leader.order(asked)
    for number, words in enumerate(NASTY):
        handle = await producer.submit(
            model=("failing", NASTY[0], "drafted", "tried")[number % 4],
            messages=f"[[say {words}]]",
            tags={words: words, "nasty": words},
            session=words,
            idempotency_key=f"{words} {number}",
        )
        stage.jobs.append(handle.id)
        await stage.edge("/v1/keys", {"project": PROJECT, "name": words})
        noted = AskNote(by=words, did=words, on="nasty", name=words, why=words, detail={words: words})
        await stage.leader.note(noted)


async def _flowing(stage: Stage) -> None:
    """A job now and then, some of which fail, some of which wait for long."""
    for number in range(10_000):
        await stage.flows.wait()
        with contextlib.suppress(PenstockError):
            await stage.submit(number)
        await asyncio.sleep(PACE)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
