"""One request's stream as bytes: its jobs' events joined, rendered, numbered, and without what was seen already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gateway.bodies.frames import Frame, Renderer
from gateway.bodies.joining import Joined, Policy
from gateway.bodies.places import Lost, Places
from job_contracts.results import Result
from job_contracts.stream import Finished, StreamEvent


class Rendition:
    """Takes the events of a request's answers as they come and gives what goes over the wire.

    ``seen`` is the id of the last frame a client that comes back has read. Raises ``Failed`` with 400 if it is none.
    """

    def __init__(self, renderer: Renderer, policy: Policy, answers: int = 1, seen: str = "") -> None:
        self._renderer = renderer
        self._joins = [Joined(policy) for _ in range(answers)]
        self._places = Places(answers, seen)
        self._begun = False
        self.results: dict[int, Result] = {}
        """Of the answers that have ended."""

    def take(self, jobs: Sequence[str], index: int, event: StreamEvent) -> bytes:
        """What to send for an event of answer ``index``. Raises Diverged, Lost."""
        if not self._begun:
            self._begun = True
            self._renderer.begin(jobs)
        out = []
        for shown in self._joins[index].take(event):
            self._places.at(index, shown)
            out.append(written(self._renderer.event(index, shown.event), self._places))
            if isinstance(shown.event, Finished):
                self.results[index] = shown.event.result
        return b"".join(out)

    @property
    def complete(self) -> bool:
        """Whether every answer has ended."""
        return len(self.results) == len(self._joins)

    def end(self) -> bytes:
        """What closes the stream. Raises Lost if what was seen has not come again."""
        self._places.closing()
        data = written(self._renderer.end(tuple(self.results[index] for index in sorted(self.results))), self._places)
        if self._places.skipping:
            raise Lost
        return data


def written(frames: Iterable[Frame], places: Places | None = None) -> bytes:
    """Frames as they go over the wire, without those that were seen; without ids if there are no places."""
    lines: list[bytes] = []
    for frame in frames:
        place = frame.id if frame.id is not None else places.next() if places is not None else ""
        if place is None:
            continue
        if frame.event is not None:
            lines.append(b"event: %b\n" % frame.event.encode())
        if place:
            lines.append(b"id: %b\n" % place.encode())
        lines.append(b"data: %b\n\n" % frame.data)
    return b"".join(lines)
