"""Virtual keys: how one is written, what it may do, and the record by which it is known again.

A key is ``psk_<project>_<secret>``. The secret ends in a checksum of all that stands before it, so a key that was not
copied whole is told from one that is unknown, and a scanner for leaked secrets tells it from other text. Keys of other
lengths (older ones of 64 digits among them) have none. The record holds a keyed hash and nothing that lets anybody in.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, ClassVar, Literal
from zlib import crc32

from pydantic import BaseModel, ConfigDict, Field

from job_contracts.codec import VERSION, Version, Wire
from job_contracts.configured import Configured
from job_contracts.jobs import Bounds, Lane
from job_contracts.money import Budget

PREFIX = "psk_"
SECRET_DIGITS = 64
"""Hexadecimal digits of the random part: 256 bits."""
CHECK_DIGITS = 8
ID_DIGITS = 12
MAX_KEY = 256
"""Characters beyond which a text is no key, whatever it says."""

ID = r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$"


def written(project: str, secret: str) -> str:
    """The key of a project with ``secret``, which is 64 random hexadecimal digits."""
    body = f"{PREFIX}{project}_{secret}"
    return body + _checksum(body)


def key_id(key: str) -> str:
    """What a key is called where it may not be shown: the beginning of its random part."""
    return key.rpartition("_")[2][:ID_DIGITS]


def mistyped(key: str) -> bool:
    """Whether a key has a checksum that does not fit what stands before it."""
    if len(key.rpartition("_")[2]) < SECRET_DIGITS + CHECK_DIGITS:
        return False  # longer it is where the underscore before the secret is the wrong character
    return _checksum(key[:-CHECK_DIGITS]) != key[-CHECK_DIGITS:]


def _checksum(body: str) -> str:
    """CRC-32 (ISO 3309) in hexadecimal."""
    return format(crc32(body.encode("utf-8", "replace")), f"0{CHECK_DIGITS}x")


class Scope(BaseModel):
    """What a key may do, within what its project may; ``None`` and nothing said mean no further bound.

    Unlike the messages around it, it is not read with fields that are unknown: a bound of a newer version is not passed
    over, the key is refused.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True
    )

    routes: tuple[str, ...] | None = None
    """Routes it may ask for."""
    lanes: tuple[Lane, ...] | None = None
    """Lanes it may use."""
    rpm: Annotated[float, Field(gt=0)] | None = None
    """Requests a minute."""
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    """Output tokens one request may ask for; one that names none gets this."""
    max_cost: Annotated[Decimal, Field(gt=0)] | None = None
    """US dollars one job may cost."""
    tpm: Annotated[float, Field(gt=0)] | None = None
    """Input and output tokens a minute; what is beyond waits in the queue."""
    concurrency: Annotated[int, Field(gt=0)] | None = None
    """Attempts under way at once; further jobs wait in the queue."""
    max_queued: Annotated[int, Field(gt=0)] | None = None
    """Unfinished jobs it may have; further ones are refused."""
    max_queued_bytes: Annotated[int, Field(gt=0)] | None = None
    """Bytes of the bodies of those."""
    budget: Budget | None = None
    """US dollars it may spend in each window."""
    expires: float | None = None
    """UTC seconds from which on it is refused."""

    def bounds(self) -> Bounds | None:
        """The part of it that the scheduler holds to; ``None`` if there is none."""
        told = Bounds(
            tpm=self.tpm,
            concurrency=self.concurrency,
            max_queued=self.max_queued,
            max_queued_bytes=self.max_queued_bytes,
            budget=self.budget,
        )
        return None if told == Bounds() else told


class KeyRecord(Wire):
    """On KEYS, the last message of ``penstock.keys.<id>``: a key that was made, and what has become of it.

    One with ``static`` says only what became of a key that the configuration names: it lets nobody in by itself.
    """

    version: Version = VERSION
    id: Annotated[str, Field(pattern=ID)]
    project: Annotated[str, Field(pattern=ID)]
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """HMAC-SHA256 of the whole key under the gateway's pepper, in hexadecimal."""
    name: Annotated[str, Field(max_length=100)] = ""
    """What people call it."""
    scope: Scope = Scope()
    static: bool = False
    created: float
    """UTC seconds."""
    revoked: float | None = None
    """When it was revoked. From this record on it is refused, whatever any clock says."""
    until: float | None = None
    """UTC seconds from which on it is refused, because another took its place."""
    replaced_by: str | None = None
    """Id of the key that took its place."""
    replaces: str | None = None
    """Id of the key whose place it took."""

    def ended(self, now: float) -> Ended | None:
        """Why it is refused at ``now`` (UTC seconds), or ``None`` if it is not."""
        if self.revoked is not None:
            return "revoked"
        if self.until is not None and self.until <= now:
            return "replaced"
        if self.scope.expires is not None and self.scope.expires <= now:
            return "expired"
        return None

    @property
    def end(self) -> float | None:
        """UTC seconds of its end, as far as one is known."""
        known = [moment for moment in (self.revoked, self.until, self.scope.expires) if moment is not None]
        return min(known, default=None)


Ended = Literal["revoked", "replaced", "expired"]
"""Why a key is refused."""


class EdgeBeat(Wire):
    """On ``penstock.edges`` (core message): an edge is there, and shares the rates of keys with the others."""

    version: Version = VERSION
    edge: Annotated[str, Field(min_length=1, max_length=200)]
    """Its own name, of this start alone."""
    event: Literal["here", "joining", "leaving"] = "here"
    """``joining`` asks the others to say at once that they are there."""
    configured: Configured | None = None
    """What it has of the configuration; ``None`` if it does not say."""
