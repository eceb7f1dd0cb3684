"""``penstock batch`` against an edge: as a process of its own, and in this one where the process is not the point."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from tests.support.batches import House, each_once, house, jsonl, request
from tests.support.cli import Done, invoke
from tests.support.eventually import eventually

ROOT = Path(__file__).parents[3]


async def begun(at: House, *words: str) -> Process:
    others = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK")}  # noqa: TID251
    environ = {**others, "PENSTOCK_KEY": at.edge.key, "PENSTOCK_GATEWAY": at.edge.url, "COLUMNS": "200"}
    command = (sys.executable, "-m", "producer_sdk.cli", "batch", *words)
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environ, stdout=PIPE, stderr=PIPE)


async def ended(process: Process) -> Done:
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return Done(process.returncode or 0, out.decode(), err.decode())


async def penstock(at: House, *words: str) -> Done:
    return await asyncio.to_thread(invoke, "batch", *words, PENSTOCK_KEY=at.edge.key, PENSTOCK_GATEWAY=at.edge.url)


async def test_a_file_is_answered_on_standard_output_and_errors_are_lines_too(tmp_path: Path) -> None:
    source = tmp_path / "requests.jsonl"
    source.write_bytes(jsonl([*(request(n) for n in range(10)), request(10, "broken")]))
    async with house(tmp_path / "site") as at:
        done = await ended(await begun(at, str(source)))
        each_once(done.lines, 11)
        assert done.code == 1
        assert "completed: 10 answered, 1 failed of 11" in done.err
        (name,) = [word for word in done.err.split() if word.startswith("batch_")]
        again = await penstock(at, "--batch", name)
        assert sorted(again.out.splitlines()) == sorted(done.out.splitlines())
        listed = await penstock(at, "list", "--json")
        assert [one["id"] for one in listed.lines] == [name]
        shown = await penstock(at, "status", name)
        assert (shown.code, shown.out.split()[:3]) == (0, [name, "completed", "11/11"])
        missing = await penstock(at, "status", "batch_" + "0" * 24, "--json")
        assert missing.code == 3
        assert "error" in missing.lines[0]


async def test_interrupted_it_goes_on_where_it_was_and_writes_each_line_once(tmp_path: Path) -> None:
    source, out = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl"
    source.write_bytes(jsonl([*(request(n) for n in range(20)), *(request(n, "slow") for n in range(20, 900))]))
    async with house(tmp_path / "site") as at:
        for number in (signal.SIGINT, signal.SIGKILL):
            process = await begun(at, str(source), "-o", str(out))
            before = out.stat().st_size if out.exists() else 0
            await eventually(lambda: out.exists() and out.stat().st_size > before, within=30.0)  # noqa: B023
            process.send_signal(number)
            cut = await ended(process)
            assert cut.code == (130 if number is signal.SIGINT else -9)
            assert number is signal.SIGKILL or "the batch goes on" in cut.err
        done = await ended(await begun(at, str(source), "-o", str(out)))
        assert done.code == 0, done.err
        each_once([json.loads(line) for line in out.read_text().splitlines()], 900)
        assert len([one async for one in at.client.batches.list()]) == 1
        assert at.calls() == 900
        assert list(tmp_path.glob("answers*")) == [out]
        once_more = await penstock(at, str(source), "-o", str(out))
        assert (once_more.code, "name a new file" in once_more.err) == (2, True)


async def test_a_batch_can_be_left_and_called_off(tmp_path: Path) -> None:
    source = tmp_path / "requests.jsonl"
    source.write_bytes(jsonl(request(n, "stuck") for n in range(3)))
    async with house(tmp_path / "site") as at:
        left = await penstock(at, str(source), "--detach", "--window", "1h")
        name = left.out.strip()
        assert left.code == 0
        called_off = await penstock(at, "cancel", name, "--json")
        assert called_off.lines[0]["status"] == "cancelling"
        done = await penstock(at, "--batch", name)
        assert done.code == 1
        assert {line["error"]["code"] for line in done.lines} == {"batch_cancelled"}
        each_once(done.lines, 3)


async def test_a_file_that_is_no_batch_is_told_with_its_lines(tmp_path: Path) -> None:
    source = tmp_path / "requests.jsonl"
    source.write_bytes(jsonl([request(0), "{broken"]))
    async with house(tmp_path / "site") as at:
        done = await penstock(at, str(source))
        assert (done.code, done.out) == (1, ""), done.err
        assert "line 2: the line is no JSON" in done.err
        assert (await penstock(at, str(tmp_path / "nothing.jsonl"))).code == 2
        assert (await penstock(at, str(source), "--window", "2h")).code == 2
        assert (await penstock(at, "list", "--key", "psk_wrong")).code == 4
        assert (await penstock(at, "list", "--url", "http://127.0.0.1:9")).code == 5
