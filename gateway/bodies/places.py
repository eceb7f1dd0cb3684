"""Ids of server-sent events, and what a client that comes back has seen.

An event's ``id`` is ``generation:sequence`` of the chunk it comes of; ``:n`` follows for the n-th further event of that
chunk and ``.m`` for the m-th further frame of that event (``2:7``, ``2:7:1``, ``2:7:1.1``). What the job's record told,
because chunks were lost, is marked (``2:7r``): it is another event than the chunk of that number. Where a request has
several answers, the places of all stand there with commas between, and one more for what closes the stream. A client
that names the last id it saw (``Last-Event-ID``) gets the rest: the stream is rendered again from its start, and of
each answer what stands up to its place in the id is left out, up to that very place or not at all.
"""

from __future__ import annotations

import re

from gateway.bodies.failures import invalid
from gateway.bodies.joining import Shown

_PLACE = r"\d{1,12}:\d{1,12}r?(:\d{1,6}(\.\d{1,6})?)?"
_ID = re.compile(rf"{_PLACE}(,{_PLACE})*", re.ASCII)
_CLOSING = "1:0"
"""The place of what closes a stream, behind those of its answers."""

_NOTHING = "0:0"
"""The place of what is not of a chunk."""


class Lost(Exception):
    """What a resuming client saw last cannot be found any more: its chunks are gone."""


class Places:
    """The ids of one stream's events, and which of them a resuming client has seen.

    What closes the stream counts as one answer more. Raises ``Failed`` with 400 for an id that this stream cannot have.
    """

    def __init__(self, answers: int, seen: str = "") -> None:
        self._closing = answers
        self._told = [_NOTHING] * (answers + 1)
        """Of each answer, where its last frame came from."""
        self._seen = _places_of(seen, answers)
        self._index = 0
        self._here = _NOTHING
        self._frames = 0

    @property
    def skipping(self) -> bool:
        """Whether something that was seen has not come yet."""
        return any(self._seen)

    def at(self, index: int, shown: Shown) -> None:
        """The next frames come of this event. Raises Lost if what was seen of its answer should have come before."""
        generation, sequence = shown.event.generation, shown.event.sequence
        self._index, self._frames = index, 0
        self._here = f"{generation}:{sequence}r" if shown.event.from_record else f"{generation}:{sequence}"
        if shown.nth and generation:
            self._here = f"{self._here}:{shown.nth}"
        if (seen := self._seen[index]) and (generation, sequence) > _numbers(seen):
            raise Lost

    def closing(self) -> None:
        """The next frames close the stream."""
        self._index, self._frames, self._here = self._closing, 0, _CLOSING

    def next(self) -> str | None:
        """The next frame's id, empty before anything was said; ``None`` if the client has seen it."""
        index, here = self._index, self._here
        if here == _NOTHING:
            return None if self.skipping else ""
        if self._frames:
            here = f"{here}.{self._frames}" if here.count(":") > 1 else f"{here}:0.{self._frames}"
        self._frames += 1
        self._told[index] = here
        if seen := self._seen[index]:
            if here == seen:
                self._seen[index] = ""
            return None
        if len(self._told) == 2 and index == 0:
            return here
        # What was seen and has not come again yet stays seen.
        places = [seen or told for seen, told in zip(self._seen, self._told, strict=True)]
        return ",".join(places if index == self._closing else places[:-1])


def _places_of(seen: str, answers: int) -> list[str]:
    """Of each answer, and of what closes the stream, what was seen last; empty for nothing."""
    if not seen:
        return [""] * (answers + 1)
    places = seen.split(",")
    closed = len(places) == answers + 1 and places[-1].startswith(_CLOSING)
    if not _ID.fullmatch(seen) or not (len(places) == answers or closed):
        message = f"last-event-id: {seen[:100]!r} is no id of this stream"
        raise invalid(message, param="last-event-id", remedy="repeat the id of the last event, or leave it out")
    return [("" if place == _NOTHING else place) for place in [*places, _NOTHING][: answers + 1]]


def _numbers(place: str) -> tuple[int, int]:
    generation, sequence = place.split(":")[:2]
    return int(generation), int(sequence.removesuffix("r"))
