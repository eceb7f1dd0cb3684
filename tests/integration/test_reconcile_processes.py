"""A provider bills what we could not see: the statement finds it, corrects it, and all the books agree again.

Everything runs as it does in production: processes, a real broker, a real database; the provider is simulated.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import func, select

from job_contracts import subjects
from job_contracts.codec import decode
from job_contracts.facts import Facts
from job_contracts.money import picodollars
from ledger.database import Database
from ledger.drift import Cause
from ledger.store import Store
from ledger.tables import attempts, spend
from producer_sdk import Producer
from runtime.bus.port import NotFound
from scheduler.spending import Spent
from simulator.exports import Form
from tests.support.databases import raw
from tests.support.eventually import eventually
from tests.support.plant import ROOT, SIMULATED, Plant, plant
from tests.support.stand_in import PROJECT

pytestmark = pytest.mark.timeout(300)

MARKER = "canary-9b1c44"
"""Stands in every prompt; nothing of it may reach the database."""
TEAM = "crimson-5d2e"
"""The value of a tag; nothing of it may be left when the project is forgotten."""
MODEL = "gpt-4o-mini"
SLOW, CUT = f"{MODEL}+tps=60+tokens=400", f"{MODEL}+fault=cut@0.5+tokens=200"
OWN = f"""
[[models]]
name = "{MODEL}"
aliases = ["{SLOW}", "{CUT}"]
context_window = 8_000
max_output = 500
prices = [{{ input = 1, cache_read = 0.1, cache_write = 1.25, output = 4 }}]
"""
"""The simulated provider's own prices, so that its bill and our catalogue agree."""
FORMS: tuple[tuple[Form, ...], ...] = (("openai_usage", "openai_costs"), ("anthropic_usage",), ("csv",))


class Site:
    """The parts, and the three books: the provider's, the ledger's, the scheduler's."""

    def __init__(self, parts: Plant, database: Database, folder: Path) -> None:
        self.parts, self.database, self.folder = parts, database, folder

    def metered(self) -> int:
        """Picodollars that the provider has billed."""
        return sum(picodollars(line.cost_usd) for line in self.parts.simulator.control.bills().lines)

    async def booked(self) -> int:
        """Picodollars in the ledger's sums."""
        async with self.database.engine.connect() as connection:
            query = select(func.sum(spend.c.cost)).where(spend.c.grain == 24)
            return int((await connection.execute(query)).scalar() or 0)

    async def budgeted(self, payer: str = f"project:{PROJECT}") -> int:
        """Picodollars in the scheduler's sums, as its last checkpoint has them."""
        try:
            kept = decode(Spent, (await self.parts.bus.last(subjects.SPENT, subjects.spent(0))).data)
        except NotFound:
            return 0
        return sum(amount for _, amount in kept.payers.get(payer, {}).get("total", ()))

    async def read(self) -> None:
        """Wait until the ledger has read all there is."""
        last = (await self.parts.bus.stream_state(subjects.LEDGER)).last_seq

        async def there() -> bool:
            return await self.database.wrong() is None and await Store(self.database).position() >= last

        await eventually(there, within=30, says="the ledger does not read on")

    async def reconcile(self, *forms: Form, adjust: bool = False) -> tuple[int, dict[str, Any]]:
        """The command as a process; its exit status and what it says."""
        files = [self.folder / f"{form}.export" for form in forms]
        for form, path in zip(forms, files, strict=True):
            path.write_text(self.parts.simulator.control.export(form, SIMULATED), encoding="utf-8")
        told = ["--provider", "alpha", "--json"] + (["--adjust", "--complete"] if adjust else [])
        status, out = await self._run("reconcile", *map(str, files), *told)
        assert status in {0, 1}
        return status, json.loads(out)

    async def forget(self) -> int:
        """The command as a process."""
        return (await self._run("forget", PROJECT, "--yes"))[0]

    async def _run(self, *told: str) -> tuple[int, bytes]:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ledger", *told, "--config", str(self.parts.path)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await child.communicate()
        assert child.returncode is not None
        return child.returncode, out

    async def told(self) -> list[str]:
        """The attempts of all corrections that lie on the stream."""
        found: list[str] = []
        seq, subject = 1, subjects.usage("alpha", "statement")
        while True:
            try:
                message = await self.parts.bus.next(subjects.LEDGER, seq, subject)
            except NotFound:
                return found
            found += [fact.attempt for fact in decode(Facts, message.data).facts]
            seq = message.seq + 1


@asynccontextmanager
async def running(folder: Path, database_url: str) -> AsyncIterator[Site]:
    async with plant(
        folder,
        pools={"alpha": {"catalogue": "openai", "slots": 8}},
        routes={
            "plain": {"deployments": [f"alpha/{MODEL}"]},
            "slow": {"deployments": [f"alpha/{SLOW}"]},
            "cut": {"deployments": [f"alpha/{CUT}"]},
        },
        projects={PROJECT: {"retry_share": 1.0, "budget": {"total": "5"}, "tags": {f"team={TEAM}": {"total": "5"}}}},
        ledger={"database": database_url, "auto_migrate": True, "linger": 0.05},
    ) as parts:
        values = yaml.safe_load(parts.path.read_text(encoding="utf-8"))
        parts.path.write_text(yaml.safe_dump({**values, "catalogue": "mine"}), encoding="utf-8")
        (folder / "mine").mkdir()
        (folder / "mine" / "openai.toml").write_text(OWN, encoding="utf-8")
        database = Database(database_url, pooled=False)
        try:
            yield Site(parts, database, folder)
        finally:
            await database.close()


async def traffic(parts: Plant) -> None:
    """Plain answers, one that breaks, streams that their clients leave, and a worker that is killed in its calls."""
    first = await parts.process("workers", "--pool", "alpha", "--name", "w1")
    await first.began("service.started")
    async with parts.producer() as producer:
        plain = [await submit(producer, "plain") for _ in range(3)]
        broken = await submit(producer, "cut")
        left = [await submit(producer, "slow", stream=True) for _ in range(3)]
        for handle in left:
            async for _ in handle.stream():
                break
            await handle.cancel()
        for handle in (*plain, broken, *left):
            await handle.record(timeout=30)
        await calls(parts, 0)
        lost = [await submit(producer, "slow") for _ in range(2)]
        await calls(parts, 2)
        first.child.kill()
        second = await parts.process("workers", "--pool", "alpha", "--name", "w2")
        await second.began("service.started")
        for handle in lost:
            await handle.record(timeout=60)
        await calls(parts, 0)
    await parts.settled()


async def calls(parts: Plant, count: int) -> None:
    """Wait until the provider works on so many."""
    await eventually(lambda: parts.simulator.control.providers()[0].in_progress == count, within=20)


async def submit(producer: Producer, route: str, *, stream: bool = False) -> Any:
    text = f"{MARKER} Tell me of the sea. " * 10
    said = [{"role": "system", "content": MARKER}, {"role": "user", "content": text}]
    return await producer.submit(model=route, messages=said, max_tokens=400, stream=stream, tags={"team": TEAM})


async def test_what_nobody_saw_is_found_corrected_once_and_then_all_books_agree(
    tmp_path: Path, database_url: str
) -> None:
    async with running(tmp_path, database_url) as site:
        parts = site.parts
        ledger = await parts.process("ledger")
        scheduler = await parts.process("scheduler", "--name", "s1")
        await scheduler.began("term.began")
        await traffic(parts)
        await site.read()
        assert await site.booked() != site.metered(), "there is something to find"
        async with site.database.engine.connect() as connection:
            by = set((await connection.execute(select(attempts.c.told_by))).scalars())
        assert by == {"worker", "leader"}

        for forms in FORMS:
            status, said = await site.reconcile(*forms)
            causes = {row["cause"] for row in said["rows"]}
            assert (status, causes) == (1, {Cause.ESTIMATED}), (forms, json.dumps(said["rows"], indent=1))
            assert Decimal(said["theirs"]["cost"] or 0) * 10**12 in {site.metered(), 0}

        found = await asyncio.gather(*(site.reconcile("requests", adjust=True) for _ in range(2)))
        told = await site.told()
        assert len(told) == len(set(told)) == max(said["told"] for _, said in found) >= 5
        await site.read()
        status, said = await site.reconcile("requests", adjust=True)
        assert (status, said["told"], said["ours"]["cost"]) == (0, 0, said["theirs"]["cost"])
        assert {row["cause"] for row in said["rows"]} == {Cause.NONE}

        metered = site.metered()
        assert await site.booked() == metered
        for payer in (f"project:{PROJECT}", f"tag:{PROJECT}/team={TEAM}"):

            async def agrees(payer: str = payer) -> bool:
                return await site.budgeted(payer) == metered

            await eventually(agrees, within=25, says=f"the sums of {payer} are not what was billed")
        there = raw(database_url)
        assert TEAM.encode() in there
        assert MARKER.encode() not in there
        assert b"Tell me" not in there
        assert await site.forget() == 0
        assert TEAM.encode() not in raw(database_url)
        assert await site.booked() == metered, "what was charged did not become less"
        status, said = await site.reconcile("csv")
        assert (status, said["ours"]["cost"]) == (0, said["theirs"]["cost"])
        ledger.child.terminate()
        assert await ledger.ended() == 0
