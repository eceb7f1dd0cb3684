"""What earlier attempts of a job have sent to its readers, read back from the stream of tokens."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.codec import ContractError, decode
from job_contracts.stream import Chunk, EndDelta, StartDelta, TextDelta
from runtime.bus.port import Bus, BusError
from workers.continuing import Begun, Said, begun, hindrance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_contracts.attempts import Assignment
    from job_contracts.chat import Conversation
    from runtime.telemetry import Telemetry
    from workers.dialects.port import Target

__all__ = ["MOST", "Sent", "said_by"]

MOST = 100_000
"""Characters that are gone on with at most: they are sent again in one chunk."""


class Sent:
    """Reads them, and begins the answer with them where the attempt can go on with it."""

    __slots__ = ("_bus", "_telemetry")

    def __init__(self, bus: Bus, telemetry: Telemetry) -> None:
        self._bus, self._telemetry = bus, telemetry

    async def begun(self, assignment: Assignment, conversation: Conversation, target: Target) -> Begun:
        """The conversation with the beginning of its answer; as it is, and nothing carried, where it starts over."""
        if assignment.continues is None:
            return Begun(conversation)
        why = hindrance(conversation, target)
        if why is None:
            found = await self._found(assignment)
            made = None if found is None else begun(conversation, found, target, assignment.grant.max_output)
            if made is not None:
                self._telemetry.emit("attempt.continued", attempt=assignment.attempt_id)
                return made
            why = "what was sent is not there, or not plain text" if found is None else "it has no room left"
        self._telemetry.emit("attempt.restarted", attempt=assignment.attempt_id, why=why)
        return Begun(conversation)

    async def _found(self, assignment: Assignment) -> Said | None:
        """No matter why there is none."""
        try:
            chunks = await self._chunks(subjects.tokens(assignment.project, assignment.job_id))
        except (BusError, ContractError):
            return None
        return said_by(chunks, assignment.continues or 0)

    async def _chunks(self, subject: str) -> list[Chunk]:
        """All of them up to the one that is the last now; any replica will do if it has that one."""
        last = (await self._bus.last(subjects.TOK, subject)).seq
        found: list[Chunk] = []
        seq = size = 0
        while seq < last and size <= 8 * MOST:
            messages = await self._bus.run(subjects.TOK, seq + 1, subject)
            if not messages:  # a replica that lags: one by one from the leader
                messages = [await self._bus.next(subjects.TOK, seq + 1, subject)]
            found += [decode(Chunk, message.data) for message in messages]
            size += sum(len(message.data) for message in messages)
            seq = messages[-1].seq
        return found


def said_by(chunks: Sequence[Chunk], newest: int) -> Said | None:
    """The text of the newest generation up to ``newest`` that says anything; ``None`` if that is not whole, not plain
    text, or an answer that had come to its end.
    """
    said: dict[int, list[Chunk]] = {}
    for chunk in chunks:
        if chunk.generation <= newest:
            said.setdefault(chunk.generation, []).append(chunk)
    for generation in sorted(said, reverse=True):
        parts = sorted(said[generation], key=lambda chunk: chunk.sequence)
        deltas = [delta for chunk in parts for delta in chunk.deltas if not isinstance(delta, StartDelta)]
        if not deltas:
            continue
        whole = parts[0].sequence == 1 and all(b.sequence == a.sequence + 1 for a, b in pairwise(parts))
        if not whole or any(isinstance(delta, EndDelta) for delta in deltas):
            return None
        texts = [delta.text for delta in deltas if isinstance(delta, TextDelta)]
        text = "".join(texts)
        plain = len(texts) == len(deltas) and text.strip() and len(text) <= MOST
        return Said(text, generation) if plain else None
    return None
