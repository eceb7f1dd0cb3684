"""The playground over a real broker, leader and workers: what is played is a job like any other, and paid like one."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from catalogue.load import providers
from console.asking import OPERATOR
from console.assembly import assemble
from console.pages import money
from console.people import hashed
from job_contracts import subjects
from job_contracts.jobs import JobState
from runtime.bus import BusSettings, connect
from runtime.clock import SystemClock
from runtime.settings import Config
from runtime.telemetry import Telemetry
from tests.support.eventually import eventually
from tests.support.gateway import Gateway, gateway
from tests.support.playground import Heard, asking, played
from tests.support.stand_in import PROJECT, SECRET, SERVICE, key
from tests.support.upstream import Do, Upstream, chunk, event, head, upstream

PEPPER, ADMIN = "pepper", "psa_" + "a" * 64
END = [chunk(event(finish="stop")), chunk(event(usage=True)), chunk("data: [DONE]\n\n"), chunk("")]
CHEAP, DEAR = "gpt-4o-mini", "gpt-4o"


def sections(url: str) -> dict[str, Any]:
    return {
        "providers": {"openai": {"key": "sk-one", "base_url": f"{url}/v1"}},
        "routes": {"cheap": {"deployments": [f"openai/{CHEAP}"]}, "dear": {"deployments": [f"openai/{DEAR}"]}},
    }


@pytest.fixture
async def provider() -> AsyncIterator[Upstream]:
    async with upstream() as made:
        made.of_model = {
            CHEAP: [head(), chunk(event("Hel")), Do.STEP, chunk(event("lo")), *END],
            DEAR: [head(), chunk(event("Good ")), Do.STEP, chunk(event("day")), *END],
        }
        yield made


@pytest.fixture
async def whole(tmp_path: Path, provider: Upstream) -> AsyncIterator[Gateway]:
    async with gateway(tmp_path, sections(provider.url), providers()) as made:
        yield made


@asynccontextmanager
async def browser(
    whole: Gateway, shown: str, scope: Mapping[str, Any] | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody logged in with a key, at a console of their own beside the gateway."""
    password = SecretStr(SECRET)
    edge = {
        "pepper": PEPPER,
        "admin_hash": hashed(ADMIN, PEPPER),
        "keys": {"mine": {"project": PROJECT, "hash": hashed(key(), PEPPER), "scope": dict(scope or {})}},
    }
    nats = whole.config.nats.model_copy(update={"url": whole.url, "user": SERVICE, "password": password})
    told = {name: getattr(whole.config, name) for name in type(whole.config).model_fields}
    config = Config.model_validate({**told, "nats": nats, "gateway": edge})
    inbox = subjects.inbox_prefix(OPERATOR)
    async with AsyncExitStack() as stack:
        settings = BusSettings(url=whole.url, user=SERVICE, password=password, name="console", inbox_prefix=inbox)
        bus = await connect(settings)
        stack.push_async_callback(bus.close)
        made = assemble(
            config, bus=bus, clock=SystemClock(), telemetry=Telemetry(), told=lambda _, __: (200, "text/plain", b"")
        )
        await made.server.start()
        stack.push_async_callback(made.playing.stop)
        stack.push_async_callback(made.server.stop)
        url = f"http://127.0.0.1:{made.server.port}"
        client = httpx.AsyncClient(base_url=url, headers={"origin": url}, timeout=20.0, trust_env=False)
        await stack.enter_async_context(client)
        assert (await client.post("/login", data={"key": shown})).status_code == 303
        yield client


async def test_two_models_stream_side_by_side_and_the_key_pays_for_both(whole: Gateway, provider: Upstream) -> None:
    async with browser(whole, key()) as mine, asking(mine, model_1="cheap", model_2="dear") as told:
        heard = await _until(told, lambda one: dict(one.texts) == {0: "Hel", 1: "Good "})
        assert len(provider.asked) == 2, "one waits for the other"
        for _ in range(2):
            provider.step()
        heard = await _until(told, lambda one: all((at, "ended") in one.words for at in (0, 1)))
    assert dict(heard.texts) == {0: "Hello", 1: "Good day"}
    facts = {fact.route: fact for fact in (await whole.facts(2)).values()}
    results = await whole.results()
    for index, route in enumerate(("cheap", "dear")):
        fact, shown, job = facts[route], heard.figures[index], heard.jobs[index]
        assert (fact.project, fact.key, fact.reason) == (PROJECT, "mine", "user")
        assert fact.cost is not None
        assert fact.cost > 0
        assert shown["cost"] == f"{money(fact.cost)} US dollars"
        assert (shown["tokens in"], shown["tokens out"]) == (str(fact.usage.input), str(fact.usage.output))
        assert shown["deployment"] == fact.deployment
        assert job is not None
        assert fact.attempt == f"{PROJECT}.{job}.1"
        assert results[job].state is JobState.SUCCEEDED


async def test_a_key_whose_budget_is_used_up_is_told_so_in_words(whole: Gateway, provider: Upstream) -> None:
    async with browser(whole, key(), {"budget": {"total": "0.0000001"}}) as poor:
        heard = await played(poor, model_1="cheap", model_2="nothing")
    assert "budget" in heard.words[0, "refused"]
    assert "0.0000001" in heard.words[0, "refused"]
    assert "nothing" in heard.words[1, "refused"]
    assert provider.asked == []


async def test_an_operator_plays_on_a_projects_account_and_who_leaves_cancels(
    whole: Gateway, provider: Upstream
) -> None:
    provider.of_model = {name: [head(), chunk(event("Hel")), Do.HANG] for name in (CHEAP, DEAR)}
    fields = {"project": PROJECT, "model_1": "cheap", "model_2": "dear"}
    async with browser(whole, ADMIN) as admin:
        async with asking(admin, **fields) as told:
            heard = await _until(told, lambda one: len(one.texts) == 2)
        await eventually(lambda: provider.gone == 2, within=10.0, says="calls go on whose reader has gone")
        jobs = [job for job in heard.jobs.values() if job is not None]

        async def ended() -> bool:
            found = await whole.results()
            return [found[job].state for job in jobs if job in found] == [JobState.CANCELLED] * 2

        await eventually(ended, within=10.0, says="not cancelled")
        page = (await admin.get("/audit?on=playground")).text
    assert re.findall(r'<tr id="audit-', page) == ['<tr id="audit-']
    assert f"<td>play</td><td>playground {PROJECT}</td>" in page
    assert f"models: cheap, dear; jobs: {' '.join(jobs)}" in page
    await whole.settled()


async def _until(told: AsyncIterator[Heard], there: Any) -> Heard:
    async for heard in told:
        if there(heard):
            return heard
    raise AssertionError("the stream ended before that")
