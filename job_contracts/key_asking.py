"""Questions that operators ask of the edges: which keys there are, and have one made, replaced or revoked.

Request and reply on ``subjects.key_desk(operation)``; one edge answers, and only to the operator's own inbox. A key
itself never travels: whoever has one made makes it, and tells the edge its id and its keyed hash. So nobody who has not
the pepper can have a key made that lets anybody in, and nobody who listens learns one.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from job_contracts.codec import VERSION, Version, Wire
from job_contracts.configured import Configured
from job_contracts.keys import ID, Ended, Scope

KeyOperation = Literal["keys", "create", "rotate", "revoke", "edges"]
"""``edges`` (asked with ``{}``) tells which edges there are."""

MAX_LISTED = 500
"""Keys in one answer at most."""
LONGEST = 10 * 366 * 86_400.0
"""Seconds: the life of a key, and the overlap of a rotation, at most."""

KeyId = Annotated[str, Field(pattern=ID)]
KeyHash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ToldKey(Wire):
    """A key, without itself and without its hash."""

    id: str
    project: str
    name: str = ""
    scope: Scope = Scope()
    static: bool = False
    """Whether the configuration names it: then nobody knows when it was made."""
    created: float
    """UTC seconds."""
    ended: Ended | None = None
    """Why it is refused; ``None`` if it is not."""
    end: float | None = None
    """UTC seconds of its end, as far as one is known."""
    revoked: float | None = None
    replaced_by: str | None = None
    """Id of the key that took its place, or will have at ``end``."""
    replaces: str | None = None


class AskKeys(Wire):
    """``keys``: the newest first; what is given narrows it."""

    version: Version = VERSION
    project: str | None = None
    """A project's own key asks for its project alone."""
    id: str | None = None
    valid: bool | None = None
    """Only those that are not refused, or only those that are."""
    limit: Annotated[int, Field(ge=1, le=MAX_LISTED)] = 100
    after: str | None = None
    """The ``after`` of the page before."""


class KeyPage(Wire):
    """Answer to ``keys``."""

    version: Version = VERSION
    keys: tuple[ToldKey, ...] = ()
    total: int = 0
    """Keys on all pages."""
    in_force: dict[str, int] = Field(default_factory=dict)
    """Of each project: its keys that are not refused, whatever was asked for."""
    after: str | None = None
    """There is more: what to ask on with."""


class AskNewKey(Wire):
    """``create``: from the answer on this key is known. May be asked again: it is stored once."""

    version: Version = VERSION
    id: KeyId
    """As ``keys.key_id`` makes it of the key."""
    hash: KeyHash
    """HMAC-SHA256 of the whole key under the gateway's pepper, in hexadecimal."""
    project: KeyId
    name: Annotated[str, Field(max_length=100)] = ""
    scope: Scope = Scope()


class AskRotation(Wire):
    """``rotate``: a key in place of ``old``, with its project, name and scope. May be asked again."""

    version: Version = VERSION
    id: KeyId
    hash: KeyHash
    old: KeyId
    overlap: Annotated[float, Field(ge=0, le=LONGEST)] | None = None
    """Seconds that the old one goes on; ``None``: what the configuration says."""


class AskRevocation(Wire):
    """``revoke``: it is refused from the answer on, for good. May be asked again."""

    version: Version = VERSION
    id: KeyId


class KeyDone(Wire):
    """Answer to ``create``, ``rotate`` and ``revoke``."""

    version: Version = VERSION
    key: ToldKey
    old: ToldKey | None = None
    """What it takes the place of, after a rotation."""


class ToldEdge(Wire):
    """An edge that was heard of."""

    name: str
    silent: float = 0.0
    """Seconds since it was last heard."""
    configured: Configured | None = None
    """What it has of the configuration; ``None`` if it did not say."""


class ToldEdges(Wire):
    """Answer to ``edges``: as the one that answers has heard them, itself among them."""

    version: Version = VERSION
    edges: tuple[ToldEdge, ...] = ()
