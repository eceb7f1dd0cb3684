"""A simulated provider's statement against the ledger of a worker's facts: found, corrected, agreed to the cent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import func, select

from catalogue.load import providers
from catalogue.prices import Price
from catalogue.rows import ModelRow
from job_contracts import subjects
from job_contracts.codec import decode, encode
from job_contracts.facts import AttemptFact, Facts
from ledger import commands, statements
from ledger.bookings import booking
from ledger.database import Database
from ledger.drift import Cause, Drift
from ledger.reconcile import TELLER, Behind, adjust, corrections, keep, reconcile
from ledger.store import Store
from ledger.tables import metadata, statement_lines
from ledger.tables import statements as kept
from runtime.bus.port import WrongSequence
from simulator import Settings, Simulator
from simulator.exports import Form
from tests.support import builders
from tests.support.eventually import eventually
from tests.support.ledger_facts import fact
from tests.support.worker import Bench, bench

CANARY = "canary-7d3f91"
"""Stands in every prompt; nothing of it may reach the database."""
PRICE = Price(input=Decimal(1), cache_read=Decimal("0.1"), cache_write=Decimal("1.25"), output=Decimal(4))
ENDS = ("", "+tokens=300", "+think=40+tokens=20", "+fault=cut@0.5+tokens=200", "+fault=reset_within@0.3", "+fault=503")
NAMES = {f"gpt-4o-mini{end}": "gpt-4o-mini" for end in ENDS}
"""The simulated provider bills by the model alone, without what a test asks of it."""


class Site:
    """A worker before a simulated provider, and the ledger that is told of it."""

    def __init__(self, worker: Bench, simulator: Simulator, database: Database) -> None:
        self.worker, self.simulator, self.database = worker, simulator, database
        self.store = Store(database)

    async def traffic(self) -> None:
        for number, end in enumerate(ENDS):
            text = f"{CANARY} Tell me of the sea. " * 20
            model = f"gpt-4o-mini{end}"
            job = builders.job(
                f"stem-{number}",
                conversation=builders.conversation(
                    messages=[{"role": "system", "content": CANARY}, {"role": "user", "content": text}]
                ),
                tags={"team": "red"},
            )
            given = self.worker.assignment(
                job=job, deployment=f"alpha/{model}", provider="alpha", model=model, stream=True, key="k-1"
            )
            await self.worker.settled(await self.worker.hand(given))
        called = {one.attempt for one in self.told()}
        await eventually(lambda: called <= {line.request_id for line in self.simulator.control.bills().lines})

    def told(self) -> list[AttemptFact]:
        messages = self.worker.messages(subjects.LEDGER)
        return [one for message in messages for one in decode(Facts, message.data).facts]

    async def read(self) -> None:
        """The ledger reads all that it was told, from the beginning: what it knows changes nothing."""
        before = await self.store.position()
        told = [booking(one) for one in self.told()]
        last = (await self.worker.bus.stream_state(subjects.LEDGER)).last_seq
        await self.store.store(told, before=before, through=last, at=1.0)

    def statement(self, form: Form) -> bytes:
        return self.simulator.control.export(form, "openai").encode()

    async def drift(self, data: bytes) -> Drift:
        lines = statements.read(data).lines
        return await reconcile(self.database, "alpha", lines, threshold=0.0001, aliases=NAMES)


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    async with Simulator(Settings(longest_hold=5.0)) as simulator:
        row = providers()["openai"].changed(changes=(ModelRow(name="*", prices=(PRICE,)),))
        url = f"{simulator.base_url('openai')}/v1"
        async with bench(url, catalogue={"alpha": row}, dialect="openai_chat", slots=32) as worker:
            made = Site(worker, simulator, database)
            await made.traffic()
            await made.read()
            yield made


async def test_what_was_cut_is_found_corrected_by_the_statement_and_then_agrees_to_the_picodollar(site: Site) -> None:
    data = site.statement("requests")
    lines = statements.read(data).lines
    before = await site.drift(data)
    apart = {row.cause for row in before.rows} - {Cause.NONE}
    assert apart
    assert apart <= {Cause.ESTIMATED, Cause.NOT_THEIRS}
    assert await site.drift(site.statement("csv")) == before

    facts = await adjust(site.database, site.worker.bus, "alpha", lines, complete=True)
    assert facts
    assert all((one.told_by, one.stated, one.key) == ("statement", True, "k-1") for one in facts)
    await site.read()
    after = await site.drift(data)
    assert {row.cause for row in after.rows} == {Cause.NONE}
    assert (after.ours.cost, after.ours.tokens) == (after.theirs.cost, after.theirs.tokens)
    assert not await corrections(site.database, "alpha", lines, complete=True)

    await site.read()  # told again, it changes nothing
    assert await site.drift(data) == after


async def test_a_correction_is_told_once_whoever_tells_it_again_and_whatever_answer_was_lost(site: Site) -> None:
    """Budgets count the difference of an attempt they have long forgotten: a second one would count again."""
    bus, lines = site.worker.bus, statements.read(site.statement("requests")).lines
    before = len(site.told())
    facts = await adjust(site.database, bus, "alpha", lines, complete=True)
    assert len(site.told()) == before + len(facts)
    with pytest.raises(Behind, match="let it run"):  # what it would find out is what was told already
        await adjust(site.database, bus, "alpha", lines, complete=True, patience=0.3)
    late = encode(Facts(facts=tuple(facts)))
    with pytest.raises(WrongSequence):  # one that was under way all the time, from before the others
        await bus.append(subjects.usage("alpha", TELLER), late, expect_last=0)
    await site.read()
    assert not await adjust(site.database, bus, "alpha", lines, complete=True)
    assert len(site.told()) == before + len(facts)


async def test_two_who_correct_at_once_tell_each_correction_once(site: Site) -> None:
    bus, lines = site.worker.bus, statements.read(site.statement("requests")).lines

    corrected = asyncio.Event()

    async def reading() -> None:
        while not corrected.is_set():
            await asyncio.sleep(0.05)
            await site.read()

    task = asyncio.create_task(reading())
    told = await asyncio.gather(
        *(adjust(site.database, bus, "alpha", lines, complete=True) for _ in range(3)), return_exceptions=True
    )
    corrected.set()
    await task
    assert not [one for one in told if isinstance(one, BaseException)]
    names = [one.attempt for one in site.told() if one.told_by == "statement"]
    assert len(names) == len(set(names)) > 0


async def test_the_other_forms_agree_where_nothing_was_cut(site: Site) -> None:
    lines = statements.read(site.statement("requests")).lines
    await adjust(site.database, site.worker.bus, "alpha", lines, complete=True)
    await site.read()
    forms: tuple[Form, ...] = ("openai_usage", "openai_costs", "anthropic_usage", "csv")
    for form in forms:
        found = await site.drift(site.statement(form))
        assert {row.cause for row in found.rows} == {Cause.NONE}, form


async def test_nothing_of_a_prompt_or_an_answer_is_in_the_database(site: Site, tmp_path: Path) -> None:
    data = site.statement("requests")
    await keep(site.database, "alpha", data, await site.drift(data), at=1.0)
    rows: list[str] = []
    async with site.database.engine.connect() as connection:
        for table in metadata.sorted_tables:
            found = (await connection.execute(select(table))).all()
            rows += [repr(tuple(row)) for row in found]
    assert any("gpt-4o-mini" in row for row in rows)
    assert not [row for row in rows if CANARY in row or "the sea" in row]
    for path in tmp_path.glob("ledger.db*"):
        assert CANARY.encode() not in path.read_bytes()


async def test_the_same_file_again_takes_its_own_place(site: Site) -> None:
    data = site.statement("csv")
    drift = await site.drift(data)
    for at in (1.0, 2.0):
        await keep(site.database, "alpha", data, drift, at=at)
    async with site.database.engine.connect() as connection:
        assert (await connection.execute(select(func.count()).select_from(kept))).scalar_one() == 1
        count = (await connection.execute(select(func.count()).select_from(statement_lines))).scalar_one()
    assert count == len(drift.rows)


# -- the command


DAY = 1_789_948_800.0
"""2026-09-21, midnight UTC."""


async def _prepared(path: Path) -> None:
    database = Database(f"sqlite:///{path}", pooled=False)
    await database.migrate()
    booked = [booking(fact(number, started=DAY + number)) for number in range(1, 5)]
    await Store(database).store(booked, before=0, through=1, at=DAY)
    await database.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    asyncio.run(_prepared(tmp_path / "ledger.db"))
    told = {"providers": {"openai": {}}, "routes": {"chat": {"deployments": ["openai/gpt"]}}}
    (tmp_path / "penstock.yaml").write_text(yaml.safe_dump(told), encoding="utf-8")
    return tmp_path


def run(folder: Path, name: str, text: str, *more: str) -> int:
    (folder / name).write_text(text, encoding="utf-8")
    told = ["reconcile", str(folder / name), "--provider", "openai", "--config", str(folder / "penstock.yaml"), *more]
    return commands.main(told)


HEAD = "date,model,requests,input_tokens,output_tokens,cost\n"


def test_the_command_ends_with_1_when_something_drifts_and_with_0_when_nothing_does(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "good.csv", f"{HEAD}2026-09-21,gpt,4,40,20,0.04\n") == 0
    assert "1 of 1 days and models agree" in capsys.readouterr().out
    assert run(folder, "bad.csv", f"{HEAD}2026-09-21,gpt,8,80,40,0.08\n", "--json") == 1
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (told["over"], told["rows"][0]["cause"], told["theirs"]["cost"]) == (True, "missing", "0.080000000000")
    assert run(folder, "bad.csv", f"{HEAD}2026-09-21,gpt,8,80,40,0.08\n") == 1
    assert "! 2026-09-21 gpt: tokens +50.00%, money +50.00%: they count more calls" in capsys.readouterr().out


def test_the_command_says_what_is_wrong_with_a_file_or_a_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "odd.csv", "date,model,cost\n2026-09-21,gpt,x\n") == commands.BAD_INPUT
    assert "odd.csv: line 2, cost: 'x' is no number" in capsys.readouterr().err
    assert run(folder, "odd.csv", HEAD, "--provider", "nobody") == 78
    assert "there is no provider 'nobody' (there are: openai)" in capsys.readouterr().err


def test_a_project_is_forgotten_only_when_that_is_said_twice(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ["forget", "default", "--config", str(folder / "penstock.yaml")]
    assert commands.main(told) == 78
    assert commands.main([*told, "--yes"]) == 0
    assert "removed: 4 attempts" in capsys.readouterr().out
    assert commands.main([*told, "--yes"]) == 0
    assert "removed: 0 attempts" in capsys.readouterr().out
