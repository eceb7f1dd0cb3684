"""A process beside the worker for what may take long to judge: stopped when it does, and started anew when needed.

The checks hold the interpreter's lock, so a thread would stop everything; and what cannot be interrupted can only be
killed. One at a time is judged: whoever makes it take long makes others of the kind wait, but none of the plain ones.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path
from typing import Any

from workers.answers.judging import Unusable, Verdict
from workers.answers.referee import LENGTH

__all__ = ["PATIENCE", "Apart", "NotStarted", "TooCostly"]

PATIENCE = 3.0
"""Seconds of the processor for one request: of two equal answers one is not too costly because the machine is busy."""
STILL = 30.0
"""Seconds after which a process that has not answered is given up, however little it was let run."""
_START = 20.0
_GONE = (TimeoutError, asyncio.IncompleteReadError, ConnectionError)
_ROOT = str(Path(__file__).parents[2])
_CODE = "import sys; sys.path.insert(0, sys.argv[1]); from workers.answers.referee import main; main()"


class TooCostly(Exception):
    """It took too long, or more memory than it may."""


class NotStarted(Exception):
    """The process could not be made, ended or was silent before it could be asked anything: no schema's fault."""


class Apart:
    """The process, started with the first request. ``patience`` in seconds of the processor, ``still`` of time."""

    def __init__(self, *, patience: float = PATIENCE, still: float = STILL) -> None:
        self._patience, self._still = patience, still
        self._process: Process | None = None
        self._lock = asyncio.Lock()

    async def compile(self, key: str, schema: str) -> None:
        """Raises Unusable or TooCostly if no answer can be checked against ``schema`` (JSON); ``key`` is its name.

        Raises NotStarted if there is no process.
        """
        await self._ask({"key": key, "schema": schema, "text": None})

    async def judge(self, key: str, schema: str, text: str, *, repair: bool, nulls: bool) -> Verdict:
        """The verdict on an answer. Raises TooCostly, NotStarted."""
        asked = {"key": key, "schema": schema, "text": text, "repair": repair, "nulls": nulls}
        told = await self._ask(asked)
        return Verdict(told["text"], tuple(told["repairs"]), told["complaint"])

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        async with self._lock:
            done = False
            try:
                process = await self._running()
                told = await self._told(process, {**request, "seconds": self._patience})
                done = True
            finally:
                if not done:  # also when whoever asks is interrupted: what it still says would be taken for the next
                    await self.close()
        if "unusable" in told:
            raise Unusable(told["unusable"])
        return told

    async def _told(self, process: Process, request: dict[str, Any]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._still):
                return await _exchange(process, request)
        except _GONE as error:
            raise TooCostly("it takes too long, or too much memory") from error

    async def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            await self.close()
            command = (sys.executable, "-I", "-c", _CODE, _ROOT)
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env={}
                )
                async with asyncio.timeout(_START):  # that it imports what it needs does not count
                    await _exchange(self._process, {"key": "", "schema": "{}", "text": None, "seconds": _START})
            except (*_GONE, OSError) as error:  # the system may have no memory for it, or no descriptor
                raise NotStarted("the process that judges costly schemas did not start") from error
        return self._process


async def _exchange(process: Process, request: dict[str, Any]) -> dict[str, Any]:
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101 - as above
    data = json.dumps(request).encode()
    process.stdin.write(len(data).to_bytes(LENGTH, "big") + data)
    await process.stdin.drain()
    length = int.from_bytes(await process.stdout.readexactly(LENGTH), "big")
    found: dict[str, Any] = json.loads(await process.stdout.readexactly(length))
    return found
