"""One batch on its way: the requests in it, who waits for their answers, the note that is kept of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workers.dialects.batches.port import Answered, Sheet, problem
from workers.http import CallFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_contracts.failures import Failure
    from workers.batching.notes import Note
    from workers.dialects.batches.port import BatchApi
    from workers.dialects.port import Encoded

__all__ = ["Came", "Carried", "Member", "left_over"]

FULL = frozenset({"token_limit_exceeded", "rate_limit_exceeded", "request_limit_exceeded"})
"""Codes of a batch for which there is no room now."""
UNASKED = 503
"""The provider has not come to a request: nothing was made of it, nothing is charged."""


@dataclass(frozen=True, slots=True)
class Came:
    """An answer, as if it had come to the request alone."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Member:
    """One attempt's request; ``seq``: where its assignment lies in WORK."""

    attempt: str
    seq: int
    coming: asyncio.Future[Came]
    encoded: Encoded | None = None
    """``None`` of one that was taken over, until its attempt has been made ready again."""
    gone: bool = False
    """Nobody waits for it any more."""


@dataclass(slots=True)
class Carried:
    """A batch; ``members`` by their place in it."""

    note: Note
    members: dict[int, Member]
    note_seq: int = 0
    noted: float = 0.0
    """Monotonic time of the newest note."""
    known: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it is known what became of it at the provider."""
    over: bool = False
    abandoned: asyncio.Event = field(default_factory=asyncio.Event)
    """Nobody waits for any of it any more."""
    unanswered: set[str] = field(default_factory=set)
    """Attempts that have not been answered for."""
    sent: list[int] = field(default_factory=list)
    """Places of the requests in the order of the lines last written; none of a batch that another worker made."""

    def custom_id(self, place: int) -> str:
        """The id of the request at that place."""
        return f"{self.note.key}-{place}"

    def lines(self, api: BatchApi) -> list[bytes]:
        """All requests for which somebody waits; notes which they are."""
        asked = ((place, each.encoded) for place, each in self.members.items() if not each.gone)
        sent = {place: encoded for place, encoded in asked if encoded is not None}
        self.sent = list(sent)
        return [api.line(self.custom_id(place), encoded.path, encoded.body) for place, encoded in sent.items()]

    def came(self, answered: Answered) -> bool:
        """An answer; whether it is to one of these requests."""
        key, _, place = answered.custom_id.rpartition("-")
        member = self.members.get(int(place)) if key == self.note.key and place.isdecimal() else None
        if member is not None and not member.coming.done():
            member.coming.set_result(Came(answered.status, answered.body))
        return member is not None

    def all_came(self, came: Came) -> None:
        """The same for whoever still waits."""
        for member in self.members.values():
            if not member.coming.done():
                member.coming.set_result(came)

    def all_failed(self, failure: Failure) -> None:
        """It cannot go there at all."""
        for member in self.members.values():
            if not member.coming.done():
                member.coming.set_exception(CallFailed(failure))
                member.coming.exception()  # seen, should nobody wait

    def leave(self, member: Member) -> None:
        """Its attempt was stopped."""
        member.gone = True
        if all(each.gone or each.coming.done() for each in self.members.values()):
            self.abandoned.set()


def left_over(carried: Carried, sheet: Sheet) -> None:
    """What to say to those that have no answer, now that the batch is over."""
    for line, words in sheet.wrong_lines.items():
        if 0 <= line < len(carried.sent):  # of lines we did not write nobody knows whose they are: all may try again
            carried.came(problem(carried.custom_id(carried.sent[line]), 400, "invalid_request_error", words))
    status, code = UNASKED, f"batch_{sheet.end or 'lost'}"
    words = {
        "expired": "the provider's batch expired before it came to the request",
        "cancelled": "the provider's batch was cancelled before it came to the request",
        "failed": f"the provider did not take the batch: {sheet.words or sheet.code or 'no reason given'}",
    }.get(sheet.end, "the provider's batch ended without an answer to the request")
    if sheet.end == "failed" and sheet.code in FULL:
        status, code = 429, sheet.code
    carried.all_came(Came(status, problem("", status, code, words).body))
