"""The broker's door: who may connect is asked here, who is connected can be asked, and a connection ended.

This is the system account's side of a NATS server with an auth callout (ADR-26): a question for each connection that
the server's own file does not know. Nothing but NATS has it, so there is no seam.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from runtime.bus.link import Link, Listening
from runtime.bus.port import BusError, OutcomeUnknown
from runtime.bus.settings import BusSettings
from runtime.bus.wire import Arrival
from runtime.gate import AUTH, KICK, REPLIES, WHO

log = logging.getLogger(__name__)

MOST_WAITING: Final = 4_096
"""Questions that wait here; the broker refuses whose question is dropped, and the client tries again."""
PAGE: Final = 1_000
"""Connections in one answer."""

Judge = Callable[[bytes], bytes]
"""Answers the broker's question about one connection, both as signed words. Does not wait for anything."""


@dataclass(frozen=True, slots=True)
class Connection:
    """An open connection of a client: at which server, its number there, and the name its user was given."""

    server: str
    number: int
    user: str


class Door:
    """One connection in the system's account. ``servers_within``: seconds for all servers to answer a question."""

    def __init__(self, settings: BusSettings, *, servers_within: float = 0.3) -> None:
        self._link = Link(settings, lambda kind, detail: log.info("door.%s", kind, extra={"detail": detail}))
        self._within = servers_within
        self._waiting: deque[Arrival] = deque()
        self._some = asyncio.Event()
        self._listening: Listening | None = None
        self._answering: asyncio.Task[None] | None = None
        self._servers = 0

    @property
    def connected(self) -> bool:
        """Whether the broker can ask us now."""
        return self._link.connected

    async def open(self, judge: Judge) -> None:
        """Connect, and answer from now on; of several edges one is asked. Raises Unreachable."""
        await self._link.open()
        self._answering = asyncio.get_running_loop().create_task(self._answer(judge), name="door")
        self._listening = await self._link.listen(AUTH, self._hear, queue="edges")

    async def close(self) -> None:
        """Be asked no more, answer what was, and disconnect."""
        if self._listening is not None:
            await self._listening.drain()
        if self._answering is not None:
            self._answering.cancel()
            await asyncio.gather(self._answering, return_exceptions=True)
        await self._link.close()

    def _hear(self, message: Arrival) -> None:
        if message.reply.startswith(REPLIES) and len(self._waiting) < MOST_WAITING:
            self._waiting.append(message)
            self._some.set()

    async def _answer(self, judge: Judge) -> None:
        """One after the other, letting everything else have its turn between two: a storm of connections waits."""
        while True:
            while self._waiting:
                message = self._waiting.popleft()
                try:
                    await self._link.send(message.reply, judge(message.data))
                except BusError as error:
                    log.debug("door.answer_lost", extra={"error": str(error)})
                except Exception:  # the top of this loop: a bug refuses one connection, the next one is judged
                    log.exception("door.judge")
                await asyncio.sleep(0)
            self._some.clear()
            await self._some.wait()

    # -- who is connected

    async def connections(self, account: str) -> list[Connection]:
        """The open connections of an account at all servers. Raises OutcomeUnknown if none answered."""
        found: dict[tuple[str, int], Connection] = {}
        offset, more = 0, True
        while more:
            answers = await self._all(WHO, {"auth": True, "acc": account, "limit": PAGE, "offset": offset})
            if not answers:
                raise OutcomeUnknown(f"{WHO}: no server answered")
            offset += PAGE
            more = any(one["data"]["total"] > offset for one in answers)
            for one in answers:
                for told in one["data"]["connections"] or ():
                    made = Connection(one["server"]["id"], told["cid"], told.get("authorized_user", ""))
                    found[made.server, made.number] = made
        return list(found.values())

    async def end(self, connection: Connection) -> None:
        """End a connection; one that is gone already is none to worry about. Raises what ``Bus.request`` does."""
        body = json.dumps({"cid": connection.number}).encode()
        subject = KICK.format(connection.server)
        if await self._link.ask(subject, body, timeout=2.0) is None:
            raise OutcomeUnknown(f"{subject}: no answer")

    async def _all(self, subject: str, question: dict[str, Any]) -> Sequence[dict[str, Any]]:
        """What each server answers in time; no longer than until as many have as did the last time."""
        answers: list[dict[str, Any]] = []
        inbox = self._link.inbox() + "all"
        enough = asyncio.Event()

        def hear(message: Arrival) -> None:
            answer = json.loads(message.data)
            if "data" in answer:
                answers.append(answer)
                if len(answers) == self._servers:
                    enough.set()

        listening = await self._link.listen(inbox, hear, queue="")
        try:
            await self._link.send(subject, json.dumps(question).encode(), inbox)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._within):
                    await enough.wait()
        finally:
            await listening.close()
        self._servers = len(answers)
        return answers
