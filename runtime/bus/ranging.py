"""Many stored messages for one request: a run of a stream, read from any replica."""

from __future__ import annotations

import asyncio
import json
from itertools import count

from runtime.bus.answers import silent
from runtime.bus.asking import patiences
from runtime.bus.link import Link, Listening
from runtime.bus.port import BusError, Message
from runtime.bus.wire import Arrival

_SUBJECT, _SEQ = "Nats-Subject", "Nats-Sequence"
_END, _NONE = "204", "404"


class Ranges:
    """Requests whose answers are many; they share one subscription, made when the first is asked."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._inbox = link.inbox()
        self._tokens = count(1)
        self._asked: dict[str, tuple[list[Message], asyncio.Future[None]]] = {}
        self._listening: Listening | None = None
        self._opening = asyncio.Lock()

    async def read(self, stream: str, seq: int, subject: str, *, limit: int, size: int) -> list[Message]:
        """See ``port.Bus.run``. Asked again of another copy, perhaps, when nothing is heard: a node may stand still."""
        await self._open()
        query = json.dumps({"seq": seq, "next_by_subj": subject, "batch": limit, "max_bytes": size}).encode()
        within = self._link.settings.api_timeout
        until = asyncio.get_running_loop().time() + within
        asked = f"$JS.API.DIRECT.GET.{stream}"
        for patience in patiences(within):
            found = await self._ask(asked, query, patience, until)
            if found is not None:
                return found
        raise silent(asked, within)

    async def _ask(self, asked: str, query: bytes, patience: float, until: float) -> list[Message] | None:
        """The run, all of it by ``until``; None if nothing of it is heard within ``patience`` seconds."""
        token, loop = str(next(self._tokens)), asyncio.get_running_loop()
        found: list[Message] = []
        over = loop.create_future()
        self._asked[token] = (found, over)
        try:
            await self._link.send(asked, query, self._inbox + token)
            await asyncio.wait({over}, timeout=patience)
            if found and not over.done():
                await asyncio.wait({over}, timeout=until - loop.time())
            if not over.done():
                return None
            over.result()
        finally:
            del self._asked[token]
        return found

    async def _open(self) -> None:
        async with self._opening:
            if self._listening is None:
                self._listening = await self._link.listen(f"{self._inbox}*", self._hear)

    def _hear(self, arrival: Arrival) -> None:
        asked = self._asked.get(arrival.subject[len(self._inbox) :])
        if asked is None or asked[1].done():
            return
        found, over = asked
        headers = arrival.headers or {}
        seq = headers.get(_SEQ)
        if seq is not None:
            found.append(Message(headers[_SUBJECT], arrival.data, headers, int(seq)))
        elif arrival.status in {_END, _NONE}:
            over.set_result(None)
        else:
            over.set_exception(BusError(f"a run of messages was refused with status {arrival.status}"))
