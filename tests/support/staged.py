"""An appliance with a console, people of every role, jobs that flow, and in every field words that want to be code."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr

from appliance.configuration import BUILT_IN
from appliance.http import ask
from appliance.keys import Keys, keys_of
from appliance.places import Places
from console.asking import OPERATOR, Asking, Ledger
from console.people import Person, hashed
from job_contracts import subjects
from job_contracts.operating import Aim, AskNote, AskOrder, Doing, Rates
from producer_sdk import Producer
from producer_sdk.errors import PenstockError
from runtime.bus import connect
from runtime.bus.port import Bus
from runtime.bus.settings import BusSettings
from tests.support.appliances import Up, up

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
PACE = 0.5
"""Seconds between two jobs of the load."""


@dataclass
class Stage:
    """All of it. ``leader`` and ``ledger`` answer as they answer the console."""

    appliance: Up
    keys: Keys
    bus: Bus
    jobs: list[str] = field(default_factory=list)

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
        "waiting": {"deployments": ["gemini/gemini-2.5-pro"]},
        "drafted": {
            "deployments": ["openai/gpt-4o-mini"],
            "verify": {"by": "smart", "mode": "after", "when": "all", "budget": {"day": 5}},
            "shadow": {"to": "cheap", "share": 1, "budget": {"day": 5}},
        },
        "tried": {"deployments": ["openai/gpt-4.1-mini"]},
        "tried-small": {"deployments": ["anthropic/claude-haiku-4-5"]},
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
        stage = Stage(appliance, keys, bus)
        producer = await stack.enter_async_context(Producer(appliance.url, key=appliance.key))
        await _planted(stage, producer)
        flowing = asyncio.create_task(_flowing(stage, producer), name="load")
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


async def _flowing(stage: Stage, producer: Producer) -> None:
    """A job now and then, some of which fail, some of which wait for long."""
    routes = ("fast", "smart", "cheap", "drafted", "tried", "failing", "waiting")
    for number in range(10_000):
        route = routes[number % len(routes)]
        with contextlib.suppress(PenstockError):
            handle = await producer.submit(model=route, messages=f"job {number}", session=f"s-{number}", max_tokens=30)
            stage.jobs.append(handle.id)
        await asyncio.sleep(PACE)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
