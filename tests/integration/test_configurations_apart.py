"""Processes that were started with another file: the console names them, by what they tell over a real broker."""

from __future__ import annotations

from pathlib import Path

import httpx
import yaml

from console.agreeing import Agreement, asked
from console.assembly import assemble
from console.people import Person
from job_contracts import subjects
from runtime.agreed import configured
from runtime.clock import SystemClock
from runtime.telemetry import Telemetry
from tests.support.eventually import eventually
from tests.support.plant import Plant, plant
from tests.support.worker_process import Process

ALL = ["gateway", "leader s1", "ledger", "standby s2", "worker one w1", "worker one w2"]


async def fingerprint(process: Process) -> str:
    """As its metrics tell it."""
    port = await process.ready()
    async with httpx.AsyncClient(trust_env=False, timeout=10.0) as client:
        text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    (line,) = (line for line in text.splitlines() if line.startswith("penstock_configuration_info{"))
    return line.partition('fingerprint="')[2].partition('"')[0]


def names(told: Agreement) -> list[str]:
    """Without what is of one start alone in the names of edges and workers."""
    return sorted("gateway" if one.kind == "gateway" else str(one).partition("-")[0] for one in told.services)


def with_another_limit(site: Plant) -> None:
    """Somebody edits the file, and restarts nobody."""
    values = yaml.safe_load(site.path.read_text(encoding="utf-8"))
    values["providers"]["one"]["limits"] = {"rpm": 17}
    values["workers"]["drain"] = 9.0
    site.path.write_text(yaml.safe_dump(values), encoding="utf-8")


async def test_a_worker_that_was_started_with_another_file_is_told_from_all_others(tmp_path: Path) -> None:
    routes = {"fast": {"deployments": ["one/m"]}}
    async with plant(tmp_path, pools={"one": {"limits": {"rpm": 600}}}, routes=routes) as site:
        first = await site.process("scheduler", "--name", "s1")
        await first.began("term.began")
        old = await site.process("workers", "--pool", "one", "--name", "w1")
        for module, *more in (("scheduler", "--name", "s2"), ("ledger",), ("gateway", "--port", "0")):
            await (await site.process(module, *more)).ready()
        await old.ready()
        with_another_limit(site)
        new = await site.process("workers", "--pool", "one", "--name", "w2")
        bus = await site.connection("console", inbox_prefix=subjects.inbox_prefix("-"))
        made = assemble(
            site.config, bus=bus, clock=SystemClock(), telemetry=Telemetry(), told=lambda *_: (200, "text/plain", b"")
        )
        told: list[Agreement] = []

        async def all_there() -> bool:
            told[:] = [await asked(made.console.desks)]
            return names(told[0]) == ALL and not told[0].untold

        await eventually(all_there, within=30.0, says=lambda: f"not all tell: {told}")
        (other,) = told[0].apart
        assert (other.kind, other.apart) == ("worker", ("providers",))
        assert other.name.startswith("one w2-")
        assert other.told is not None
        assert other.told.since is not None
        assert abs(other.told.since - SystemClock().wall()) < 600
        ours = configured(site.config).fingerprint
        assert await fingerprint(old) == ours
        assert await fingerprint(new) == other.told.fingerprint != ours
        pages, admin = {one.name: one for one in made.console.panels}, Person("admin", "admin")
        another = f"another one than this console's: worker {other.name} (providers)"

        async def shown() -> bool:
            health = await pages["health"].read(made.console.desks, admin, {})
            line = next(one for one in health["lines"] if one.what == "Configuration")
            assert (line.state, line.how) == ("watch", another)
            return True

        # Each look asks all of them anew, and who stands still just then is not heard.
        await eventually(shown, within=30.0)
