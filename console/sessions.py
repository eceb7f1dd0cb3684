"""Who is logged in: in memory alone, known by the hash of a random token, ended by idleness, by age, or on request."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from console.people import Person
    from runtime.settings.console import Console

EACH, SHARED, MOST = 20, 100, 1_000
"""Sessions at once with one key, of one project's keys, and of all together. A further one ends the oldest with that
key, or of that project; where all have too many, the oldest of whoever has the most: nobody logs out somebody else by
logging in.
"""
TOKEN_BYTES = 32


@dataclass(slots=True)
class Session:
    """One login. Times by the monotonic clock."""

    person: Person
    begun: float
    seen: float
    checked: float
    """When it was last asked whether the key still holds."""
    said: str = ""
    """What the next page is to say first, once."""
    ended: bool = False
    _forms: str = field(default_factory=lambda: secrets.token_urlsafe(TOKEN_BYTES))

    @property
    def forms(self) -> str:
        """What every form must carry: another site does not know it."""
        return self._forms

    def wrote(self, given: str) -> bool:
        """Whether a form came from a page of this session."""
        return hmac.compare_digest(given.encode(), self._forms.encode())


class Sessions:
    """All of them."""

    def __init__(self, settings: Console) -> None:
        self._settings = settings
        self._open: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._open)

    def open(self, person: Person, now: float) -> str:
        """Begin one; returns its token, which is kept nowhere."""
        for token, session in tuple(self._open.items()):
            if not self.lasts(session, now):
                self._end(token)
        self._make_room(person)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._open[_digest(token)] = Session(person, now, now, now)
        return token

    def find(self, token: str, now: float) -> Session | None:
        """The session of a token, if it lasts."""
        digest = _digest(token)
        session = self._open.get(digest)
        if session is None:
            return None
        if not self.lasts(session, now):
            self._end(digest)
            return None
        return session

    def lasts(self, session: Session, now: float) -> bool:
        """Whether it has neither been idle nor open for too long, nor was ended."""
        idle, age = now - session.seen, now - session.begun
        return not session.ended and idle < self._settings.idle and age < self._settings.session

    def close(self, session: Session) -> None:
        """End one, for whoever still looks at a page of it as well."""
        session.ended = True
        self._open = {digest: one for digest, one in self._open.items() if one is not session}

    def _make_room(self, person: Person) -> None:
        """For one more. Sessions lie in the order in which they began."""
        own = [digest for digest, one in self._open.items() if one.person.name == person.name]
        if len(own) >= EACH:
            self._end(own[0])
        shared = [digest for digest, one in self._open.items() if one.person.whose == person.whose]
        if len(shared) >= SHARED:
            self._end(shared[0])
        if len(self._open) >= MOST:
            ((most, _),) = Counter(one.person.whose for one in self._open.values()).most_common(1)
            self._end(next(digest for digest, one in self._open.items() if one.person.whose == most))

    def _end(self, digest: str) -> None:
        self._open.pop(digest).ended = True


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
