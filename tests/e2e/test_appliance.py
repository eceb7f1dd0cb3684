"""The appliance as people start it, driven by the SDK from another process, with everything killed that can be."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import func, select

from appliance.configuration import BUILT_IN
from appliance.http import ask
from job_contracts.keys import written
from ledger.database import Database
from ledger.tables import attempts
from producer_sdk import Forbidden, Producer
from producer_sdk.handle import JobHandle
from tests.support.appliances import Up, answers, end, gone, start, up
from tests.support.eventually import eventually
from tests.support.postgres import Postgres

pytestmark = pytest.mark.timeout(240)

QUICK = f"""{BUILT_IN.replace("demo: {}", "demo: {retry_share: 1}")}
scheduler: {{lease: 3, renew: 0.5, beat_missed: 3}}
workers: {{beat_every: 0.5}}
"""
"""The built-in configuration, noticing losses sooner, and with a budget of retries for an outage of every provider."""

ROUTES = ("fast", "smart", "cheap")


async def submitted(producer: Producer, count: int, *, text: str = "job") -> list[JobHandle]:
    asked = (producer.submit(model=ROUTES[n % 3], messages=f"{text} {n}", max_tokens=40) for n in range(count))
    return list(await asyncio.gather(*asked))


async def paced(appliance: Up, seconds: float) -> None:
    """Make every simulated answer take so long."""
    for provider in ("openai", "anthropic", "gemini"):
        await appliance.simulator("/pace", method="PUT", body={"provider": provider, "pace": {"ttft": seconds}})


async def test_the_card_names_everything_everything_works_and_no_other_key_is_let_in(tmp_path: Path) -> None:
    async with up(tmp_path, "--console-port", "0") as appliance:
        card = appliance.card
        assert set(card) >= {
            "gateway_url",
            "console_url",
            "nats_url",
            "admin_key",
            "project_key",
            "simulator_url",
            "pids",
        }
        workers = {"worker-openai", "worker-anthropic", "worker-gemini"}
        assert set(card["pids"]) == {"broker", "simulator", "scheduler", "gateway", "ledger", "console"} | workers
        assert {process.pid for process in appliance.family[1:]} == set(card["pids"].values())
        assert set(card["metrics"]) == {"simulator", "scheduler", "gateway", "ledger", "console"} | workers
        assert all([await answers(url) for url in (*card["metrics"].values(), f"{card['console_url']}/login")])
        async with Producer(appliance.url, key=appliance.key) as producer:
            for route in ROUTES:
                answer = await producer.complete(model=route, messages="What is a penstock?", timeout=30)
                assert answer.text
        password = (tmp_path / "service.password").read_text().strip()
        for key in (
            "psk_demo_" + "0" * 64,
            written("other", appliance.key.rpartition("_")[2][:64]),
            f"psk_demo_{password}",
        ):
            stranger = Producer(appliance.url, key=key, connect_timeout=2)
            with pytest.raises(Forbidden):
                await stranger.complete(model="fast", messages="hello", timeout=5)
            await stranger.close()
        family = appliance.family
        assert await appliance.stop() == 0
        await gone(family)
        private = [path for path in tmp_path.rglob("*") if path.is_file() and "jetstream" not in path.parts]
        assert {stat.S_IMODE(path.stat().st_mode) for path in private if "log" not in path.name} == {0o600}


async def test_what_was_spent_arrives_in_postgres_and_is_still_there_after_a_restart(
    tmp_path: Path, postgres: Postgres
) -> None:
    url = await postgres.new()
    async with up(tmp_path, "--postgres", url) as appliance:
        async with Producer(appliance.url, key=appliance.key) as producer:
            handles = await submitted(producer, 6)
            records = await asyncio.gather(*(handle.record(timeout=30) for handle in handles))
        cost = sum((record.cost or Decimal(0) for record in records), Decimal(0))
        assert cost > 0
        await eventually(partial(spent, appliance, cost), within=20, every=0.2)
        assert await appliance.stop() == 0
    assert not (tmp_path / "ledger.db").exists()
    assert url not in "".join(path.read_text() for path in (tmp_path / "logs").iterdir())
    database = Database(url, pooled=False)
    async with database.engine.connect() as connection:
        assert (await connection.execute(select(func.count()).select_from(attempts))).scalar_one() == 6
    await database.close()
    async with up(tmp_path, "--postgres", url) as again:
        assert await spent(again, cost)


async def spent(appliance: Up, cost: Decimal) -> bool:
    """Whether the edge tells that sum, as a project's own key sees it."""
    told = await ask(f"{appliance.card['gateway_url']}/v1/spend?by=route", key=appliance.key)
    return Decimal(told.json["total"]["cost"]) == cost


async def test_what_it_prints_for_people_works_when_pasted(tmp_path: Path) -> None:
    process = await start("up", "--simulate", "--data-dir", str(tmp_path), "--nats-port", "0")
    try:
        assert process.stdout is not None
        said = b""
        while b"\nEND\n" not in said:
            said += await asyncio.wait_for(process.stdout.readline(), 60)
        text = said.decode()
        curl = next(line for line in text.splitlines() if line.startswith("curl "))
        assert '"ready"' in await pasted(curl)
        asking = text[text.index("curl -s", text.index("over HTTP")) : text.index("\n\nSend a job")]
        assert '"chat.completion"' in await pasted(asking)
        snippet = text[text.index(" - <<'END'") :]
        line_start = text.rindex("\n", 0, text.index(" - <<'END'")) + 1
        assert "tokens" in await pasted(text[line_start : text.index(snippet)] + snippet)
        assert "admin key" in text
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        await end(process)


async def pasted(command: str) -> str:
    shell = await asyncio.create_subprocess_exec("bash", "-c", command, stdout=asyncio.subprocess.PIPE)
    said, _ = await asyncio.wait_for(shell.communicate(), 60)
    assert shell.returncode == 0, command
    return said.decode()


async def test_a_signal_lets_answers_in_flight_finish_and_a_second_one_does_not_wait(tmp_path: Path) -> None:
    handles: list[JobHandle] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        async with up(tmp_path) as appliance:
            await all_answered_once(appliance, handles)
            await paced(appliance, 1.5)
            async with Producer(appliance.url, key=appliance.key) as producer:
                handles = await submitted(producer, 3)
                await eventually(partial(called, appliance, 3), within=20)
                assert await appliance.stop(number) == 0
    async with up(tmp_path) as appliance:
        await all_answered_once(appliance, handles)
        await paced(appliance, 25.0)
        async with Producer(appliance.url, key=appliance.key) as producer:
            await submitted(producer, 3)
            await eventually(partial(called, appliance, 3), within=20)
            family = appliance.family
            appliance.process.terminate()
            await eventually(lambda: len([one for one in family if one.is_running()]) < len(family), within=20)
            assert appliance.process.returncode is None
            assert await appliance.stop(within=15) == 128 + signal.SIGTERM
            await gone(family)


async def all_answered_once(again: Up, handles: list[JobHandle]) -> None:
    """What was under way when the appliance was told to end has its answer, and nobody was asked again."""
    async with Producer(again.url, key=again.key) as producer:
        for handle in handles:
            record = await producer.attach(handle.id).record(timeout=20)
            assert (record.state, len(record.attempts)) == ("succeeded", 1)
        assert (await again.metered())["requests"] == 0


async def calls(appliance: Up) -> int:
    """Calls that the simulated providers have had: those that have ended, and those that have not."""
    ended = (await appliance.metered())["requests"]
    overview = await appliance.simulator("")
    return ended + sum(int(one["in_progress"]) for one in overview["providers"])


async def called(appliance: Up, count: int) -> bool:
    """Whether there have been so many: how many there are at a moment is over when it is asked too late."""
    return await calls(appliance) >= count


async def test_a_kill_leaves_no_process_and_a_start_after_it_knows_its_keys_its_jobs_and_their_results(
    tmp_path: Path,
) -> None:
    async with up(tmp_path) as appliance:
        assert appliance.card["admin_key"].startswith("psa_")
        async with Producer(appliance.url, key=appliance.key) as producer:
            done = await producer.submit(model="fast", messages="before the kill")
            first = await done.record(timeout=30)
            await paced(appliance, 20.0)
            unfinished = await submitted(producer, 6)
            await eventually(partial(called, appliance, 7), within=20)
            await killed_with_all_its_own(appliance)
    config = tmp_path / "quick.yaml"
    config.write_text(QUICK)
    async with up(tmp_path, "--config", str(config)) as again, Producer(again.url, key=again.key) as producer:
        assert again.key == appliance.key
        assert again.card["admin_key"] is None
        assert await producer.attach(done.id).record(timeout=20) == first
        records = [await producer.attach(handle.id).record(timeout=60) for handle in unfinished]
        assert {record.state for record in records} == {"succeeded"}
        await killed_with_all_its_own(again)  # this one has nothing to do


async def killed_with_all_its_own(appliance: Up) -> None:
    family = appliance.family
    assert len(family) == 9
    appliance.process.kill()
    await gone(family)


@pytest.mark.timeout(300)
async def test_each_killed_child_is_started_again_and_every_job_ends_once(tmp_path: Path) -> None:
    config = tmp_path / "quick.yaml"
    config.write_text(QUICK)
    async with up(tmp_path, "--config", str(config)) as appliance:
        await paced(appliance, 0.4)
        jobs = broken_off = 0
        async with Producer(appliance.url, key=appliance.key) as producer:
            victims = ["worker-openai", "worker-anthropic", "scheduler", "ledger", "broker", "worker-gemini"]
            for victim in victims:
                before = await calls(appliance)
                handles = await submitted(producer, 30, text=f"kill {victim}")
                await eventually(partial(called, appliance, before + 5), within=20)
                await killed(appliance, victim)
                records = await asyncio.gather(*(handle.record(timeout=60) for handle in handles))
                assert {record.state for record in records} == {"succeeded"}, victim
                jobs += len(handles)
                broken_off += sum(attempt.failure is not None for record in records for attempt in record.attempts)
            await killed(appliance, "gateway")
            metered = await appliance.metered()
            # A job is only answered again when an attempt at it broke off under way.
            assert jobs <= metered["ok"] <= jobs + broken_off
            print(f"{jobs} jobs, {broken_off} attempts broke off, {metered['ok']} answers paid for")
            assert metered["rate_limited"] == 0

            handles = await submitted(producer, 30, text="kill simulator")
            await killed(appliance, "simulator")
            # With all providers away at once the project's retries are used up, and come back by half in 15 s.
            records = await asyncio.gather(*(handle.record(timeout=150) for handle in handles))
            assert {record.state for record in records} == {"succeeded"}
        assert appliance.restarts() == dict.fromkeys(appliance.card["pids"], 1)
        assert await appliance.stop() == 0


async def killed(appliance: Up, name: str) -> None:
    """Kill a process and wait until another one is ready in its place."""
    before = appliance.pids()[name]
    os.kill(before, signal.SIGKILL)
    await eventually(lambda: appliance.pids().get(name, before) != before, within=30)
