"""``up``: start everything, say how to use it, keep it running until a signal, drain, end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from appliance.assembly import Wishes
from appliance.running import Running, appliance
from appliance.supervisor import Happening, Supervisor
from appliance.words import cramped, told, welcome

_BLOCK = 512
"""Bytes of the blocks that a file's status counts, whatever the file system's are."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(slots=True)
class Ending:
    """The signals that came: the first asks for the end, the second for a fast one."""

    asked: asyncio.Event
    fast: signal.Signals | None = None


@contextlib.contextmanager
def listening(supervisor: Supervisor) -> Iterator[Ending]:
    """Take the signals that end a program; the second one kills what still runs."""
    loop, ending = asyncio.get_running_loop(), Ending(asyncio.Event())

    def heard(number: signal.Signals) -> None:
        if ending.asked.is_set():
            ending.fast = number
            supervisor.kill()
        ending.asked.set()

    # Who started us under nohup wants us to outlive the terminal.
    wanted = [one for one in SIGNALS if one is not signal.SIGHUP or signal.getsignal(one) is not signal.SIG_IGN]
    for number in wanted:
        loop.add_signal_handler(number, heard, number)
    try:
        yield ending
    finally:
        for number in wanted:
            loop.remove_signal_handler(number)


async def up(wishes: Wishes, *, as_json: bool, verbose: bool) -> int:
    """Run until a signal; 0 after a drain, 128 + its number after a second signal.

    Raises:
        ApplianceError: it cannot run here, or a process did not become ready.
    """
    async with appliance(wishes, say=_tell, mirror=_mirror if verbose else None) as running:
        _warn_of_the_disk(running)
        with listening(running.supervisor) as ending:
            starting = asyncio.create_task(running.supervisor.start())
            asked = asyncio.create_task(ending.asked.wait())
            await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                _present(json.dumps(running.card()) if as_json else welcome(running))
                await asked
            else:
                starting.cancel()
                await asyncio.wait({starting})
            await running.supervisor.stop()
    return 0 if ending.fast is None else 128 + ending.fast


def _warn_of_the_disk(running: Running) -> None:
    broker = running.places.broker
    taken = sum(path.stat().st_blocks * _BLOCK for path in broker.rglob("*") if path.is_file())
    line = cramped(running.assembly.disk, shutil.disk_usage(running.places.root).free, taken)
    if line is not None:
        print(line, file=sys.stderr, flush=True)


def _present(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # whoever asked has seen enough
        print(text, flush=True)


def _tell(happening: Happening) -> None:
    line = told(happening)
    if line is not None:
        print(line, file=sys.stderr, flush=True)


def _mirror(name: str, data: bytes) -> None:
    for line in data.decode("utf-8", "replace").splitlines():
        print(f"{name:<17} | {line}", file=sys.stderr, flush=True)
