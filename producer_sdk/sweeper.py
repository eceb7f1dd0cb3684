"""Asks the desk for results that somebody waits for, where a job is silent for long or its end may have been missed."""

from __future__ import annotations

import asyncio
import json
import logging
from math import inf
from typing import TYPE_CHECKING, Any

from job_contracts.codec import ContractError, decode
from job_contracts.desk import MAX_ASKED
from job_contracts.results import Result
from producer_sdk.errors import PenstockError
from producer_sdk.replies import LONGEST_SILENCE

if TYPE_CHECKING:
    from producer_sdk.desk import Desk
    from producer_sdk.ears import Ears
    from producer_sdk.replies import Replies, Watch

_log = logging.getLogger("producer_sdk")

LOOK = 0.25
"""Seconds between two looks for jobs that have been silent for too long."""
ASK_AGAIN = 1.0
"""Seconds until the desk is asked again when it did not answer."""


class Sweeper:
    """One exchange's. ``silence``: seconds without a word of a job until the desk is asked for the first time."""

    def __init__(self, desk: Desk, replies: Replies, ears: Ears, *, silence: float) -> None:
        self._desk, self._replies, self._ears = desk, replies, ears
        self._silence = silence
        self._stirred = asyncio.Event()
        self._asking: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Sweep from now on."""
        self._task = asyncio.get_running_loop().create_task(self._sweep_for_ever())

    def stop(self) -> list[asyncio.Task[Any]]:
        """Sweep no more. Returns what is still to end, cancelled."""
        leftover = [*self._asking, *([self._task] if self._task else [])]
        for task in leftover:
            task.cancel()
        return leftover

    def stir(self) -> None:
        """Look at once."""
        self._stirred.set()

    async def ask(self, watches: list[Watch]) -> None:
        """Ask for the results of these, and tell them to whoever waits. Raises what the desk raises."""
        asked = {watch.job: watch for watch in watches}
        while asked:
            before = len(asked)
            answer = await self._desk.results(tuple(asked))
            for record in answer.records:
                try:
                    result = decode(Result, record)
                except ContractError as error:
                    _log.warning("an unreadable result: %s", error)
                    watch = asked.pop(_job_of(record), None)
                    if watch is not None:
                        self._replies.record(watch, record)
                    continue
                watch = asked.pop(result.job, None)
                if watch is not None:
                    self._replies.result(watch, result)
            if not answer.more or len(asked) == before:  # the same question would have the same answer
                return

    async def _sweep_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            timer = loop.call_later(LOOK, self._stirred.set)
            await self._stirred.wait()
            timer.cancel()
            self._stirred.clear()
            try:
                await self._sweep(loop.time())
            except Exception:  # noqa: BLE001 - the top of a loop that must not end
                _log.exception("asking after silent jobs")

    async def _sweep(self, now: float) -> None:
        await self._ears.sweep(now)
        due = [watch for watch in self._replies.attended if watch.due <= now and not watch.done]
        for start in range(0, len(due), MAX_ASKED):
            part = due[start : start + MAX_ASKED]
            for watch in part:
                watch.due = inf  # not while the question is under way, unless the connection is lost with it
            task = asyncio.get_running_loop().create_task(self._ask_after(part))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _ask_after(self, watches: list[Watch]) -> None:
        """Ask for jobs that are silent, and set when to ask again: later each time, if the desk has answered."""
        loop, answered = asyncio.get_running_loop(), False
        try:
            await self.ask(watches)
            answered = True
        except PenstockError as error:
            _log.debug("asking after silent jobs: %s", error)
        except Exception:  # noqa: BLE001 - the top of this task: whatever it was, it is asked again
            _log.exception("asking after silent jobs")
        now = loop.time()
        for watch in watches:
            if watch.due == inf:
                watch.due = now + (watch.pause if answered else ASK_AGAIN)
            if answered:
                # It began shorter where the job was stored under a key and may have ended long ago.
                usual = min(self._silence, LONGEST_SILENCE)
                watch.pause = max(min(watch.pause * 2, LONGEST_SILENCE), usual)
            for reader in watch.readers:
                reader.stir()


def _job_of(record: str) -> str:
    """Whose result it is that cannot be read."""
    try:
        return str(json.loads(record)["job"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
