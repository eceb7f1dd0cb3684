"""``penstock keys`` against an edge: once as a process of its own, else in this one."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from catalogue.load import providers
from producer_sdk.cli.edge import ask
from producer_sdk.errors import PenstockError
from tests.support.cli import invoke
from tests.support.edge import ADMIN, RunningEdge, edge
from tests.support.gateway import gateway
from tests.support.stand_in import PROJECT, key
from tests.support.upstream import upstream

ROOT = Path(__file__).parents[3]
VALUES = {
    "providers": {"openai": {"key": "sk-one", "base_url": "http://127.0.0.1:9/v1"}},
    "routes": {"chat": {"deployments": ["openai/gpt-4o-mini"]}},
}


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[RunningEdge]:
    async with gateway(tmp_path, VALUES, providers()) as whole, edge(whole) as one:
        yield one


async def penstock(url: str, *words: str, admin: str = ADMIN) -> tuple[int, str, str]:
    done = await asyncio.to_thread(invoke, "keys", *words, PENSTOCK_GATEWAY=url, PENSTOCK_ADMIN_KEY=admin)
    return done.code, done.out, done.err


async def process(url: str, *words: str) -> tuple[int, str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK")}  # noqa: TID251
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "producer_sdk.cli", "keys", *words),
        cwd=ROOT,
        env={**kept, "PENSTOCK_GATEWAY": url, "PENSTOCK_ADMIN_KEY": ADMIN, "COLUMNS": "200"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(started.communicate(), 60)
    return started.returncode or 0, out.decode(), err.decode()


async def own(running: RunningEdge, secret: str) -> dict[str, Any]:
    answered = await running.client.get("/v1/keys/self", headers={"authorization": f"Bearer {secret}"})
    return {"status": answered.status_code, **answered.json()}


async def test_the_life_of_a_key(running: RunningEdge) -> None:
    code, out, err = await process(
        running.url,
        *("create", PROJECT, "--name", "nightly", "--route", "chat", "--lane", "batch", "--lane", "bg"),
        *("--max-tokens", "100", "--max-cost", "0.5", "--expires", "90d"),
    )
    assert code == 0, err
    secret = out.strip()
    told = await own(running, secret)
    assert told["scope"] == {"routes": ["chat"], "lanes": ["batch", "bg"], "max_tokens": 100, "max_cost": "0.5"}
    assert "shown this once" in err
    code, out, _ = await penstock(running.url, "rotate", told["id"], "--overlap", "1h", "--json")
    new = json.loads(out)
    assert (await own(running, secret))["state"] == "replaced, still valid"
    assert (await own(running, new["key"]))["name"] == "nightly"
    code, out, err = await penstock(running.url, "list", "--project", PROJECT)
    assert code == 0, err
    assert [line.split("\t")[:3] for line in out.splitlines()] == [
        ["test", PROJECT, "active"],
        [told["id"], PROJECT, "replaced, still valid"],
        [new["id"], PROJECT, "active"],
    ]
    assert "routes=chat lanes=batch,bg max_tokens=100 max_cost=0.5\tnightly" in out
    assert secret not in out
    code, out, _ = await penstock(running.url, "revoke", told["id"], "--yes")
    assert (code, out) == (0, f"{told['id']}\trevoked\n")
    assert (await own(running, secret))["status"] == 401
    code, out, _ = await penstock(running.url, "list", "--json")
    assert told["id"] not in {json.loads(line)["id"] for line in out.splitlines()}
    _, out, _ = await penstock(running.url, "list", "--all", "--json")
    assert {"test", told["id"], new["id"]} <= {json.loads(line)["id"] for line in out.splitlines()}


async def test_what_the_scheduler_holds_a_key_to_is_shown(running: RunningEdge) -> None:
    code, out, err = await penstock(
        running.url,
        *("create", PROJECT, "--tpm", "100000", "--concurrency", "4", "--max-queued", "50"),
        *("--max-queued-bytes", "1000000", "--budget", "day=5,month=100,soft", "--json"),
    )
    assert code == 0, err
    made = json.loads(out)
    assert made["scope"] == {
        "tpm": 100_000.0,
        "concurrency": 4,
        "max_queued": 50,
        "max_queued_bytes": 1_000_000,
        "budget": {"day": "5", "month": "100", "soft": True},
    }
    words = "tpm=100000 concurrency=4 max_queued=50 max_queued_bytes=1000000 budget=day=5,month=100,soft"
    code, out, _ = await penstock(running.url, "show", made["id"])
    assert (code, out) == (0, f"{made['id']}\t{PROJECT}\tactive\t-\t{words}\n")
    _, listed, _ = await penstock(running.url, "list", "--project", PROJECT)
    assert words in listed
    _, out, _ = await penstock(running.url, "show", made["id"], "--json")
    assert json.loads(out)["scope"] == made["scope"]


async def test_what_goes_wrong_is_said_and_has_its_exit_code(running: RunningEdge) -> None:
    code, out, err = await process(running.url, "revoke", "test")
    assert (code, "say --yes" in err, out) == (2, True, "")
    for words, admin, status, said in (
        (("create", "nobody"), ADMIN, 3, f"use one of: {PROJECT}"),
        (("create", PROJECT, "--rpm", "-1"), ADMIN, 2, "rpm"),
        (("create", PROJECT, "--budget", "year=5"), ADMIN, 2, "budget.year"),
        (("create", PROJECT, "--budget", "much"), ADMIN, 2, "budget"),
        (("create", PROJECT, "--budget", "soft"), ADMIN, 2, "bounds nothing"),
        (("show", "nobody"), ADMIN, 3, "penstock keys list"),
        (("revoke", "nobody", "--yes"), ADMIN, 3, "penstock keys list"),
        (("list",), key(), 4, "this needs the admin key"),
        (("list",), "psa_wrong", 4, "not known here"),
        (("list",), "", 2, "PENSTOCK_ADMIN_KEY"),
        (("list", "--url", "nats://127.0.0.1:4222"), ADMIN, 2, "no HTTP address"),
        (("list", "--url", "http://127.0.0.1:1"), ADMIN, 5, "PENSTOCK_GATEWAY"),
    ):
        code, out, err = await penstock(running.url, *words, admin=admin)
        assert (code, said in err, out) == (status, True, ""), (words, err)


async def test_the_admin_key_follows_no_redirect() -> None:
    async with upstream([]) as elsewhere:
        moved = f"HTTP/1.1 307 Moved\r\nlocation: {elsewhere.url}/v1/keys\r\ncontent-length: 0\r\n\r\n".encode()
        async with upstream([moved]) as here:
            with pytest.raises(PenstockError, match="answered 307"):
                await asyncio.to_thread(ask, here.url, "GET", "/v1/keys", "psa_secret")
        assert elsewhere.connections == 0
