"""Makes, rotates and revokes keys: each one write to KEYS that happens as a whole or not at all."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.bodies.failures import ApiError, Failed
from gateway.keys import hashed
from job_contracts import subjects
from job_contracts.codec import encode
from job_contracts.keys import SECRET_DIGITS, KeyRecord, Scope, key_id, written
from runtime.bus.port import (
    BusError,
    NotFound,
    OutcomeUnknown,
    Outgoing,
    Refused,
    Undecided,
    Unreachable,
    WrongSequence,
)
from runtime.telemetry import INFO

if TYPE_CHECKING:
    from gateway.key_store import KeyStore
    from gateway.keys import Book
    from runtime.bus.port import Bus
    from runtime.clock import Clock
    from runtime.settings.services import Edge
    from runtime.telemetry import Telemetry

TRIES = 5
"""Writes of one change: somebody else may change the same key at the same moment."""
H_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
H_TTL = "Nats-TTL"


@dataclass(frozen=True, slots=True)
class Minted:
    """What is stored of a key: whoever made it keeps the key itself."""

    id: str
    hash: str


class KeyDesk:
    """What the admin's routes do. Every method raises ``Failed``: 404 no such key, 409 it has ended, 503 unknown."""

    def __init__(
        self, settings: Edge, book: Book, store: KeyStore, *, bus: Bus, clock: Clock, telemetry: Telemetry
    ) -> None:
        self._bus = bus
        self._book = book
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._settings = settings

    def all(self) -> list[KeyRecord]:
        """Every key that is known, by the moment at which it was made."""
        return self._book.all()

    def find(self, id: str) -> KeyRecord:
        """A key by its id."""
        found = self._book.find(id)
        if found is None:
            raise Failed(ApiError(404, "key_not_found", f"there is no key {id!r}", remedy="see penstock keys list"))
        return found[0]

    async def create(self, project: str, name: str, scope: Scope) -> tuple[str, KeyRecord]:
        """Make a key; returns it, for the only time, and its record."""
        self._has_room()
        for _ in range(TRIES):
            key, minted = self._minted(project)
            record = self._record(minted, project, name, scope)
            if await self._stored(record, [self._outgoing(record, 0)]):
                return key, await self._took(record.id, "key.created")
        raise _contended("of that name")  # so many keys would have to begin alike

    async def enter(self, minted: Minted, project: str, name: str, scope: Scope) -> KeyRecord:
        """Take in a key that somebody else made; one that was taken in before stays as it is."""
        known = await self._known(minted)
        if known is not None:
            return known
        self._has_room()
        record = self._record(minted, project, name, scope)
        if not await self._stored(record, [self._outgoing(record, 0)]):
            raise _contended(minted.id)
        return await self._took(record.id, "key.created")

    async def rotate(self, id: str, overlap: float) -> tuple[str, KeyRecord, KeyRecord]:
        """Make a key like another, which goes on for ``overlap`` seconds; returns it, its record, the other's."""
        key, minted = self._minted(self.find(id).project)
        return key, *await self.replace(minted, id, overlap)

    async def replace(self, minted: Minted, id: str, overlap: float) -> tuple[KeyRecord, KeyRecord]:
        """Take in a key in place of another, which goes on for ``overlap`` seconds; returns the records of both.

        Both are stored in one atomic batch: there is no moment with only one of them.
        """
        known = await self._known(minted)
        if known is not None and known.replaces == id:
            return known, self.find(id)
        self._has_room()
        for _ in range(TRIES):
            old, seq = await self._current(id)
            now = self._clock.wall()
            if (why := old.ended(now)) is not None or old.replaced_by is not None:
                state = why or f"replaced by {old.replaced_by} already"
                raise Failed(ApiError(409, "key_ended", f"key {id} is {state}", remedy="create a new key"))
            new = self._record(minted, old.project, old.name, old.scope, replaces=id)
            until = min(old.end or now + overlap, now + overlap)
            ending = old.model_copy(update={"until": until, "replaced_by": new.id})
            if await self._stored(new, [self._outgoing(new, 0), self._outgoing(ending, seq)]):
                return await self._took(new.id, "key.created"), await self._took(id, "key.replaced")
        raise _contended(id)

    async def revoke(self, id: str) -> KeyRecord:
        """End a key for good, at once. A key that is revoked already stays so."""
        for _ in range(TRIES):
            old, seq = await self._current(id)
            if old.revoked is not None:
                return old
            ended = old.model_copy(update={"revoked": self._clock.wall()})
            if await self._stored(ended, [self._outgoing(ended, seq)]):
                return await self._took(id, "key.revoked")
        raise _contended(id)

    async def _stored(self, record: KeyRecord, messages: Sequence[Outgoing]) -> bool:
        """Write until it is known whether ``messages`` are stored; False if somebody else changed the key before.

        An answer that was lost is asked for by the same write: each message may follow only what it was made from, so
        it is stored once at most, and a refusal means that it is, or that it never will be.
        """
        last: BusError | None = None
        for _ in range(TRIES):
            try:
                if len(messages) == 1:
                    await self._bus.append(messages[0].subject, messages[0].data, headers=messages[0].headers)
                else:
                    await self._bus.append_batch(messages)
            except WrongSequence:
                return last is not None and await self._is_last(record)
            except (OutcomeUnknown, Undecided) as error:
                last = error
            except BusError as error:
                raise _not_stored(last or error, record.id) from error
            else:
                return True
        raise _not_stored(last or BusError(""), record.id)

    async def _is_last(self, record: KeyRecord) -> bool:
        """Whether a record is what is stored of its key now."""
        try:
            return (await self._bus.last(subjects.KEYS, subjects.key_record(record.id))).data == encode(record)
        except BusError as error:
            raise _not_stored(OutcomeUnknown(str(error)), record.id) from error

    async def _current(self, id: str) -> tuple[KeyRecord, int]:
        """What the stream's leader has of a key, and the sequence of its record; the book knows it then as well."""
        self.find(id)
        try:
            message = await self._bus.last(subjects.KEYS, subjects.key_record(id))
        except NotFound:
            return self.find(id), 0
        except BusError as error:
            raise _not_stored(Unreachable(str(error)), id) from error
        self._store.hear(message)
        return self.find(id), message.seq

    async def _known(self, minted: Minted) -> KeyRecord | None:
        """The record of a key that was taken in before. Raises ``Failed`` with 409 if another key has its id."""
        try:
            self._store.hear(await self._bus.last(subjects.KEYS, subjects.key_record(minted.id)))
        except NotFound:
            pass
        except BusError as error:
            raise _not_stored(Unreachable(str(error)), minted.id) from error
        found = self._book.find(minted.id)
        if found is None or hmac.compare_digest(found[0].hash, minted.hash):
            return None if found is None else found[0]
        message = f"another key is called {minted.id}"
        raise Failed(ApiError(409, "conflict", message, remedy="make another one"))

    async def _took(self, id: str, event: str) -> KeyRecord:
        """What is known of a key that was changed just now: here at once, at other edges in a moment."""
        try:
            self._store.hear(await self._bus.last(subjects.KEYS, subjects.key_record(id)))
        except BusError as error:
            raise _not_stored(OutcomeUnknown(str(error)), id) from error
        record = self.find(id)
        self._telemetry.emit(event, INFO, key=id, project=record.project)
        return record

    def _has_room(self) -> None:
        if len(self._book) >= self._settings.max_keys + len(self._settings.keys):
            message = f"there are {self._settings.max_keys} keys already"
            raise Failed(ApiError(409, "too_many_keys", message, remedy="raise gateway.max_keys"))

    def _minted(self, project: str) -> tuple[str, Minted]:
        while True:
            key = written(project, secrets.token_hex(SECRET_DIGITS // 2))
            if self._book.find(key_id(key)) is None:
                return key, Minted(key_id(key), hashed(key, self._settings.pepper.get_secret_value()))

    def _record(
        self, minted: Minted, project: str, name: str, scope: Scope, *, replaces: str | None = None
    ) -> KeyRecord:
        return KeyRecord(
            id=minted.id,
            project=project,
            hash=minted.hash,
            name=name,
            scope=scope,
            created=self._clock.wall(),
            replaces=replaces,
        )

    def _outgoing(self, record: KeyRecord, seq: int) -> Outgoing:
        headers = {H_EXPECTED: str(seq)}
        ttl = self._kept(record)
        if ttl is not None:
            headers[H_TTL] = str(ttl)
        return Outgoing(subjects.key_record(record.id), encode(record), headers)

    def _kept(self, record: KeyRecord) -> int | None:
        """Seconds after which the broker removes a record: never for a key in use, or one that is configured."""
        if record.static or record.end is None:
            return None
        return max(60, int(record.end - self._clock.wall() + self._settings.keys_kept))


def _contended(id: str) -> Failed:
    message = f"key {id} is being changed by others at this moment; nothing was done"
    return Failed(ApiError(409, "conflict", message, retry_after=1.0, remedy="try again"))


def _not_stored(error: BusError, id: str) -> Failed:
    if isinstance(error, OutcomeUnknown | Undecided):
        message = f"the broker has not said whether the change of key {id} is stored"
        remedy = "look with penstock keys list, and do it again or revoke what you do not need"
        return Failed(ApiError(503, "outcome_unknown", message, retry_after=1.0, remedy=remedy))
    reason = "the broker refused it" if isinstance(error, Refused) else "the broker does not answer"
    message = f"the change of key {id} is not stored: {reason}"
    return Failed(ApiError(503, "not_stored", message, retry_after=1.0, remedy="try again in a moment"))
