"""A real appliance as a process of its own, on free ports and a directory of its own, gone when the test ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from appliance.http import NoAnswer, ask
from tests.support.eventually import eventually

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Up:
    """A started ``python -m appliance up --json``: its process and its card."""

    process: asyncio.subprocess.Process
    card: dict[str, Any]
    data_dir: Path

    @property
    def url(self) -> str:
        return str(self.card["nats_url"])

    @property
    def key(self) -> str:
        return str(self.card["project_key"])

    @property
    def family(self) -> list[psutil.Process]:
        """The appliance and everything below it."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def pids(self) -> dict[str, int]:
        """Process ids as they are now."""
        state: dict[str, Any] = json.loads((self.data_dir / "running.json").read_text(encoding="utf-8"))
        return dict(state["pids"])

    def restarts(self) -> dict[str, int]:
        """Restarts by process, as of the last time one became ready."""
        state: dict[str, Any] = json.loads((self.data_dir / "running.json").read_text(encoding="utf-8"))
        return dict(state["restarts"])

    async def simulator(self, path: str, *, method: str = "GET", body: Any = None) -> Any:
        """A word with the simulator's control endpoint."""
        return (await ask(f"{self.card['simulator_url']}/_control{path}", method=method, body=body)).json

    async def metered(self) -> dict[str, int]:
        """What the simulator has billed, in total."""
        return dict((await self.simulator("/meter"))["total"])

    async def stop(self, number: signal.Signals = signal.SIGTERM, *, within: float = 60.0) -> int:
        """Signal it and wait; its exit code."""
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), within)


@asynccontextmanager
async def up(data_dir: Path, *more: str, simulate: bool = True) -> AsyncIterator[Up]:
    """Start an appliance and wait for its card; at the end it is ended, kindly first."""
    words = [
        "up",
        "--json",
        "--data-dir",
        str(data_dir),
        "--nats-port",
        "0",
        *(["--simulate"] if simulate else []),
        *more,
    ]
    process = await start(*words)
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        assert line.startswith(b"{"), (await process.communicate())[1].decode()
        yield Up(process, json.loads(line), data_dir)
    finally:
        await end(process)


async def start(*words: str) -> asyncio.subprocess.Process:
    """``python -m appliance WORDS`` with its outputs on pipes; its edge takes any port, and there is no console, unless
    ``WORDS`` say so.
    """
    if words[:1] == ("up",) and "--port" not in words:
        words = (*words, "--port", "0")
    if words[:1] == ("up",) and "--console-port" not in words:
        words = (*words, "--no-console")
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "appliance",
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        start_new_session=True,
    )


async def run(*words: str, within: float = 60.0) -> tuple[int, str, str]:
    """Run a command to its end: exit code, standard output, standard error."""
    process = await start(*words)
    try:
        said, wrong = await asyncio.wait_for(process.communicate(), within)
        return process.returncode or 0, said.decode(), wrong.decode()
    finally:
        await end(process)


async def end(process: asyncio.subprocess.Process) -> None:
    """Make sure that it ends."""
    for number, patience in ((signal.SIGTERM, 30.0), (signal.SIGKILL, 10.0)):
        if process.returncode is not None:
            break
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), patience)
    transport = getattr(process, "_transport", None)
    if transport is not None:  # the pipes of a process that nobody has read to the end
        transport.close()


async def gone(family: list[psutil.Process], *, within: float = 10.0) -> None:
    """Wait until none of these processes runs."""

    def left() -> list[str]:
        found = []
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(f"{process.pid} {' '.join(process.cmdline())}")
        return found

    await eventually(lambda: not left(), within=within, says=lambda: f"still running: {left()}")


async def answers(url: str) -> bool:
    """Whether a URL answers 200 right now."""
    try:
        return (await ask(url)).status == 200
    except NoAnswer:
        return False
