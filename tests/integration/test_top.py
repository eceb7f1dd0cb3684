"""``penstock top`` at a terminal: it draws, goes on while nobody leads, and leaves the terminal as it was."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from runtime.broker import Broker
from runtime.bus.port import Bus
from runtime.connection import declared
from tests.support.eventually import eventually
from tests.support.world import World, config, scheduler_on

ENTERED, LEFT = "\x1b[?1049h", "\x1b[?1049l"
"""The terminal's other screen."""
HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"
"""The cursor."""
OWN_SESSION = "import os, runpy; os.login_tty(0); runpy.run_module('producer_sdk.cli', run_name='__main__')"
"""As a shell starts it: Ctrl-C goes to whoever has the terminal."""


@dataclass
class Terminal:
    """A real one, as wide as somebody made it; ``text`` is all that was written to it."""

    process: asyncio.subprocess.Process
    master: int
    slave: int
    text: str = ""
    before: list[Any] = field(default_factory=list)

    def heard(self) -> None:
        with contextlib.suppress(OSError):
            self.text += os.read(self.master, 65_536).decode(errors="replace")

    def frames(self) -> int:
        return self.text.count("leader ")

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    async def draws(self, words: str) -> None:
        """Wait until that is drawn anew."""
        self.text = ""
        await eventually(lambda: words in self.text, within=20.0, says=lambda: (words, self.text.split()[-100:]))


@asynccontextmanager
async def terminal(*words: str, columns: int) -> AsyncIterator[Terminal]:
    """``penstock WORDS`` in a terminal of its own, with a session of its own as a shell gives it."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    before = termios.tcgetattr(slave)
    kept = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}  # noqa: TID251
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWN_SESSION, *words),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**kept, "TERM": "xterm-256color"},
    )
    made = Terminal(process, master, slave, before=before)
    loop = asyncio.get_running_loop()
    loop.add_reader(master, made.heard)
    try:
        yield made
    finally:
        loop.remove_reader(master)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        os.close(master)
        os.close(slave)


async def led(stack: AsyncExitStack, bus: Bus) -> World:
    base = {"dialect": "openai_chat", "base_url": "http://127.0.0.1:1", "key": "k"}
    made = config(routes={"fast": {"deployments": ["alpha/m"]}}, providers={"alpha": {**base, "limits": {"rpm": 6000}}})
    await bus.ensure(declared(made))
    return await stack.enter_async_context(scheduler_on(bus, made))


async def test_it_draws_again_and_again_says_when_nobody_leads_and_ends_with_ctrl_c(
    own_broker: Broker, open_bus: Callable[..., Any]
) -> None:
    bus: Bus = await open_bus(own_broker.url, inbox_prefix="_INBOX_demo")
    async with AsyncExitStack() as over, terminal("top", "--every", "0.2", "--url", own_broker.url, columns=80) as seen:
        async with AsyncExitStack() as stack:
            await led(stack, bus)
            await eventually(lambda: seen.frames() >= 3, within=20.0, says=lambda: seen.text)
            assert seen.text.startswith((ENTERED, HIDDEN))
            assert "6,000/60 s" in seen.text
            assert " " * 81 not in seen.text
            seen.resize(200)
            await seen.draws(" " * 81)  # it fills the window as wide as it is now
        await seen.draws("not of now")
        await led(over, bus)
        await eventually(lambda: "not of now" not in seen.text.rpartition("\x1b[H")[2], within=20.0)
        seen.text = ""
        os.write(seen.master, b"\x03")
        await eventually(lambda: seen.process.returncode is not None, within=20.0, says=lambda: seen.text[-2_000:])
        assert seen.process.returncode == 130
        await eventually(lambda: LEFT in seen.text, within=5.0)
        assert SHOWN in seen.text
        assert "Traceback" not in seen.text
        assert termios.tcgetattr(seen.slave) == seen.before
