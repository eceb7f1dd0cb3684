"""Keys known again by a keyed hash: those of the configuration, and on top the records of KEYS. All in memory."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gateway.bodies.failures import ApiError, Failed
from gateway.caller import Caller
from job_contracts.keys import MAX_KEY, Ended, KeyRecord, mistyped
from runtime.rates import Rates

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.settings.services import Edge

_ENDED: Mapping[Ended, str] = {
    "revoked": "this key was revoked",
    "replaced": "another key has taken the place of this one",
    "expired": "this key has expired",
}
WAIT = 1.0
"""Seconds after which to come back when this edge cannot say when."""


def hashed(key: str, pepper: str) -> str:
    """HMAC-SHA256 of a whole key, in hexadecimal. A key has 256 random bits: a slow hash would protect nothing."""
    return hmac.digest(pepper.encode(), key.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()


class Book:
    """All keys that are known here. ``apply`` may be called with the same record twice and in any order."""

    def __init__(self, settings: Edge) -> None:
        self._static = {
            name: KeyRecord(id=name, project=one.project, hash=one.hash, scope=one.scope, static=True, created=0.0)
            for name, one in settings.keys.items()
        }
        self._seqs: dict[str, int] = {}
        self._known: dict[str, KeyRecord] = dict(self._static)
        self._by_hash = {one.hash: one for one in self._static.values()}

    def __len__(self) -> int:
        return len(self._known)

    def all(self) -> list[KeyRecord]:
        """Every key, by the moment at which it was made."""
        return sorted(self._known.values(), key=lambda one: (one.created, one.id))

    def find(self, id: str) -> tuple[KeyRecord, int] | None:
        """A key by its id, and the sequence of its record (0 without one)."""
        found = self._known.get(id)
        return None if found is None else (found, self._seqs.get(id, 0))

    def with_hash(self, digest: str) -> KeyRecord | None:
        """The key that has this hash."""
        found = self._by_hash.get(digest)
        return found if found is not None and hmac.compare_digest(found.hash, digest) else None

    def apply(self, id: str, seq: int, record: KeyRecord | None) -> KeyRecord | None:
        """Take a record in, ``None`` for one that cannot be read; returns what is known now.

        A key whose record cannot be read lets nobody in: what it says may be that.
        """
        if seq <= self._seqs.get(id, 0):
            return self._known.get(id)
        self._seqs[id] = seq
        before = self._known.pop(id, None)
        if before is not None:
            self._by_hash.pop(before.hash, None)
        now = self._merged(id, before, record)
        if now is not None:
            self._known[id] = self._by_hash[now.hash] = now
        return now

    def _merged(self, id: str, before: KeyRecord | None, record: KeyRecord | None) -> KeyRecord | None:
        static = self._static.get(id)
        if record is None:
            known = static or before
            return None if known is None else known.model_copy(update={"revoked": 0.0})
        if static is not None:
            ends = record.model_dump(include={"revoked", "until", "replaced_by"})
            return static.model_copy(update=ends) if record.hash == static.hash else static
        return None if record.static else record

    def prune(self, before: float) -> None:
        """Forget the records of keys that ended before (UTC seconds): the broker has removed them by then."""
        for one in [one for one in self._known.values() if not one.static and (one.end or before) < before]:
            del self._known[one.id]
            self._by_hash.pop(one.hash, None)


class Keys:
    """The ``Keyring`` over a book. ``fresh(now)``: whether the book is not too old, by the monotonic clock.

    ``share(now)``: the part of every rate that this edge may use, and since when.
    """

    def __init__(
        self,
        settings: Edge,
        book: Book,
        *,
        monotonic: Callable[[], float],
        fresh: Callable[[float], bool],
        share: Callable[[float], tuple[float, float]],
    ) -> None:
        self._pepper = settings.pepper.get_secret_value()
        self._admin = settings.admin_hash
        self._book = book
        self._rates = Rates()
        self._monotonic, self._fresh, self._share = monotonic, fresh, share

    def caller(self, presented: str, now: float) -> Caller:
        """See ``Keyring``."""
        if len(presented) > MAX_KEY:
            raise _unknown("this is too long to be a key")
        digest = hashed(presented, self._pepper)
        if self._admin and hmac.compare_digest(digest, self._admin):
            return Caller("", "admin", admin=True)
        found = self._book.with_hash(digest)
        if not self._fresh(self._monotonic()):
            message = "this gateway has not heard lately which keys are valid"
            raise Failed(ApiError(503, "keys_unknown", message, retry_after=WAIT, remedy="try again in a moment"))
        if found is None:
            if mistyped(presented):
                raise _unknown("this key was not copied whole: its last characters do not fit the rest")
            raise _unknown("this key is not known here")
        ended = found.ended(now)
        if ended is not None:
            raise _unknown(_ENDED[ended])
        return Caller(found.project, found.id, found.scope)

    def admit(self, caller: Caller, now: float) -> None:
        """See ``Keyring``."""
        rpm = caller.scope.rpm
        if rpm is None:
            return
        share, since = self._share(now)
        wait = self._rates.wait(caller.key, rpm, share, since, now)
        if wait > 0:
            message = f"this key may send {rpm:g} requests a minute"
            remedy = "send fewer, or ask the operator for more"
            raise Failed(ApiError(429, "rate_limited", message, retry_after=wait, remedy=remedy))


def _unknown(message: str) -> Failed:
    remedy = "send Authorization: Bearer psk_… with a key of this gateway"
    return Failed(ApiError(401, "invalid_api_key", message, remedy=remedy))
