"""Many stored messages for one request: a run of a stream, read from any replica."""

from __future__ import annotations

import asyncio
import json
from itertools import count

from runtime.bus.answers import silent
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
        """See ``port.Bus.run``."""
        await self._open()
        within, token = self._link.settings.api_timeout, str(next(self._tokens))
        found: list[Message] = []
        over = asyncio.get_running_loop().create_future()
        self._asked[token] = (found, over)
        query = json.dumps({"seq": seq, "next_by_subj": subject, "batch": limit, "max_bytes": size})
        asked = f"$JS.API.DIRECT.GET.{stream}"
        try:
            await self._link.send(asked, query.encode(), self._inbox + token)
            async with asyncio.timeout(within):
                await over
        except TimeoutError as error:
            raise silent(asked, within) from error
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
