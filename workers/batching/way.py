"""The calls a batch's life takes: made, looked at, found again, read. Each says what is known, never what is hoped."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from job_contracts.failures import Failure, FailureKind
from workers.batching.carried import Came
from workers.dialects.batches.port import Call, Sheet
from workers.http import CallFailed, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping

    from workers.batching.carried import Carried
    from workers.dialects.batches.port import BatchApi, Listed
    from workers.http import Upstream

__all__ = ["Way"]

CONNECT = 10.0
ANSWER_WITHIN = 120.0
"""Seconds for an answer of the API itself, and between two pieces of a file."""
MAX_SAID = 16 * 1024 * 1024
"""Bytes of such an answer."""
TRIES = 5
PAGES = 50
SKEW = 300.0
"""Seconds by which the provider's clock and ours may differ."""
GONE = 404


@dataclass(frozen=True, slots=True)
class _Said:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def refused(self) -> bool:
        """Whether nothing was done, for certain: an answer that says so."""
        return 400 <= self.status < 500 and self.status not in {408, 409}


class Way:
    """To one provider's batch API. ``settle``: seconds after which a batch that was made is in the provider's list."""

    def __init__(self, upstream: Upstream, api: BatchApi, *, settle: float) -> None:
        self._upstream, self._api, self._settle = upstream, api, settle

    async def file(self, carried: Carried) -> str | Came | None:
        """Put the requests where the batch will find them: their name there, the refusal, or ``None``: not known."""
        call = self._api.upload(carried.note.key, carried.lines(self._api))
        if call is None:
            return ""
        said: _Said | None = None
        for count in range(TRIES):
            said = await self._ask(call)
            if said is not None and said.status < 300 and (name := self._api.uploaded(said.body)) is not None:
                return name
            if said is not None and said.refused:
                break
            await asyncio.sleep(self._settle * 2.0**count)
        return None if said is None else Came(said.status, said.body, said.headers)

    async def make(self, carried: Carried, file: str) -> Sheet | Came | None:
        """Make the batch, once: what the provider says of it, its refusal, or ``None``: it may or may not be made."""
        lines = () if file else carried.lines(self._api)
        said = await self._ask(self._api.create(carried.note.key, carried.note.path, lines, file))
        if said is None:
            return None
        if said.refused:
            return Came(said.status, said.body, said.headers)
        return self._api.sheet(said.body) if said.status < 300 else None

    async def find(self, carried: Carried, known: Collection[str]) -> Sheet | None:
        """The batch that was made under the note's key, ``None`` if there is none; asks until it knows.

        Where a batch does not carry its key: the oldest since the note was written of as many requests that no other
        note names. Its answers will tell whether it is that.
        """
        await asyncio.sleep(self._settle)
        note = carried.note
        found: Sheet | None = None
        after: str | None = None
        for _ in range(PAGES):
            listed = await self._page(after)
            for sheet in listed.sheets:
                alike = sheet.size in {None, len(note.seqs)} and sheet.created >= note.at - SKEW
                if self._api.keyed and sheet.key == note.key:
                    return sheet
                if not self._api.keyed and alike and sheet.id not in known:
                    found = sheet
            after = listed.after
            if after is None or (listed.sheets and 0 < listed.sheets[-1].created < note.at - SKEW):
                break
        return found

    async def look(self, batch: str) -> Sheet | None:
        """What the provider says of a batch, ``None`` if it says nothing now; one it does not know has ended."""
        said = await self._ask(self._api.look(batch))
        if said is None:
            return None
        if said.status == GONE:
            return Sheet(batch, end="failed", words="the provider does not know the batch any more")
        return self._api.sheet(said.body) if said.status < 300 else None

    async def cancel(self, batch: str) -> None:
        """Stop it, if that can be done."""
        await self._ask(self._api.cancel(batch))

    async def answers(self, carried: Carried, sheet: Sheet, most: int) -> bool:
        """Read all answers; whether they were read to their end. A line of more than ``most`` bytes is passed over."""
        for path in sheet.results:
            try:
                async for line in self._lines(path, most):
                    answered = self._api.answered(line)
                    if answered is not None:
                        carried.came(answered)
            except (CallFailed, TimeoutError):
                return False
        return True

    async def _page(self, after: str | None) -> Listed:
        for count in itertools.count():
            said = await self._ask(self._api.listing(after))
            listed = self._api.listed(said.body) if said is not None and said.status < 300 else None
            if listed is not None:
                return listed
            await asyncio.sleep(min(self._settle * 2.0 ** min(count, 10), 60.0))
        raise AssertionError

    async def _ask(self, call: Call) -> _Said | None:
        """One call; ``None`` if no whole answer came."""
        body = bytearray()
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                reply = await self._upstream.fetch(call, connect=CONNECT)
                try:
                    while len(body) <= MAX_SAID and (data := await reply.read()):
                        body += data
                finally:
                    await reply.close()
        except (CallFailed, TimeoutError):
            return None
        return _Said(reply.status, reply.headers, bytes(body))

    async def _lines(self, path: str, most: int) -> AsyncIterator[bytes]:
        """The lines of a file. Raises CallFailed."""
        async with asyncio.timeout(ANSWER_WITHIN):
            reply = await self._upstream.fetch(Call("GET", path), connect=CONNECT)
        try:
            if reply.status == GONE:
                return
            if reply.status >= 300:
                words = f"a batch's answers cannot be read (status {reply.status})"
                raise CallFailed(Failure(kind=FailureKind.SERVER_ERROR, message=words))
            rest, skipping = bytearray(), False
            while data := await _next(reply):
                *whole, last = data.split(b"\n")
                for part in whole:
                    rest += part
                    if rest.strip() and not skipping:
                        yield bytes(rest)
                    rest, skipping = bytearray(), False
                rest += last
                if len(rest) > most:
                    rest, skipping = bytearray(), True
            if rest.strip() and not skipping:
                yield bytes(rest)
        finally:
            await reply.close()


async def _next(reply: Reply) -> bytes:
    async with asyncio.timeout(ANSWER_WITHIN):
        return await reply.read()
