"""Many stored messages for one request: a run of a stream, read from any replica."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, Protocol

from runtime.bus.answers import silent
from runtime.bus.asking import patiences
from runtime.bus.link import Link, Listening
from runtime.bus.port import BusError, Message, NotFound
from runtime.bus.replies import NO_MESSAGE
from runtime.bus.wire import Arrival

_SUBJECT, _SEQ, _PENDING = "Nats-Subject", "Nats-Sequence", "Nats-Num-Pending"
_END, _NONE = "204", "404"
FEW = 2
"""Subjects up to which each is asked for alone."""
MANY = 500
"""Subjects in one request; the broker answers with 1,024 messages at most."""


class Single(Protocol):
    """What a bus does for one subject at a time."""

    async def last(self, stream: str, subject: str) -> Message: ...
    async def call(self, operation: str, body: Mapping[str, object]) -> dict[str, Any]: ...


async def _last(bus: Single, stream: str, subject: str) -> Message | None:
    try:
        return await bus.last(stream, subject)
    except NotFound as error:
        if error.code != NO_MESSAGE:
            raise
        return None


class Ranges:
    """Requests whose answers are many; they share one subscription, made when the first is asked."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._inbox = link.inbox()
        self._tokens = count(1)
        self._asked: dict[str, tuple[list[Message], asyncio.Future[int]]] = {}
        self._listening: Listening | None = None
        self._opening = asyncio.Lock()

    async def read(self, stream: str, seq: int, subject: str, *, limit: int, size: int) -> list[Message]:
        """See ``port.Bus.run``."""
        query = {"seq": seq, "next_by_subj": subject, "batch": limit, "max_bytes": size}
        return (await self._look(stream, query))[0]

    async def count(self, stream: str, subject: str) -> int:
        """See ``port.Bus.count``: the broker says with the first of them how many follow."""
        found, more = await self._look(stream, {"seq": 1, "next_by_subj": subject, "batch": 1})
        return len(found) + more

    async def last_each(self, bus: Single, stream: str, subjects: Sequence[str]) -> dict[str, Message]:
        """See ``port.Bus.last_each``.

        One request for all of them is answered by any replica, which may lag: its word that there is nothing counts
        where it is the only one. Elsewhere the leader is asked for each.
        """
        left, found = list(subjects), dict[str, Message]()
        if len(left) > FEW and await self._is_alone(bus, stream):
            for start in range(0, len(subjects), MANY):
                some = left[start : start + MANY]
                messages, pending = await self._look(stream, {"multi_last": some})
                found.update((one.subject, one) for one in messages)
                if pending:  # more than fits one answer
                    break
            else:
                return found
            left = [subject for subject in subjects if subject not in found]
        for one in await asyncio.gather(*(_last(bus, stream, subject) for subject in left)):
            if one is not None:
                found[one.subject] = one
        return found

    async def _is_alone(self, bus: Single, stream: str) -> bool:
        """Asked each time: replicas may be added while we run."""
        config = (await bus.call(f"STREAM.INFO.{stream}", {}))["config"]
        return bool(config.get("allow_direct")) and config.get("num_replicas", 1) == 1

    async def _look(self, stream: str, query: Mapping[str, object]) -> tuple[list[Message], int]:
        """What was found, and how many messages more there are.

        Asked again, of another copy perhaps, when nothing is heard: a node may stand still.
        """
        await self._open()
        asked, data = f"$JS.API.DIRECT.GET.{stream}", json.dumps(query).encode()
        within = self._link.settings.api_timeout
        until = asyncio.get_running_loop().time() + within
        for patience in patiences(within):
            answer = await self._ask(asked, data, patience, until)
            if answer is not None:
                return answer
        raise silent(asked, within)

    async def _ask(self, asked: str, query: bytes, patience: float, until: float) -> tuple[list[Message], int] | None:
        """The answer, all of it by ``until``; None if nothing of it is heard within ``patience`` seconds."""
        token, loop = str(next(self._tokens)), asyncio.get_running_loop()
        found: list[Message] = []
        over: asyncio.Future[int] = loop.create_future()
        self._asked[token] = (found, over)
        try:
            await self._link.send(asked, query, self._inbox + token)
            await asyncio.wait({over}, timeout=patience)
            if found and not over.done():
                await asyncio.wait({over}, timeout=until - loop.time())
            return (found, over.result()) if over.done() else None
        finally:
            del self._asked[token]

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
            over.set_result(int(headers.get(_PENDING, 0)))
        else:
            over.set_exception(BusError(f"a run of messages was refused with status {arrival.status}"))
