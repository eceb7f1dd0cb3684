"""What a stream of server-sent events is made of, and what an API's renderer does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from gateway.bodies.failures import ApiError
from job_contracts.results import Result
from job_contracts.stream import StreamEvent


class Frame(NamedTuple):
    """One server-sent event: its ``data`` (one line of JSON, or a mark such as ``[DONE]``), its ``event`` if any."""

    data: bytes
    event: str | None = None
    id: str | None = None
    """Its id, where the API numbers its events itself; else it is made of the chunk's place (see ``gateway.sse``)."""


class Renderer(Protocol):
    """Turns the events of a request's jobs into the frames of one API's stream.

    It is pure: the same events give the same frames, on every edge, so that a stream can be taken up where it was left
    by rendering it again from its start and leaving out what was sent. Events come cleaned: no ``Switched``, no
    ``UsageReported`` (the result of ``Finished`` has the answer's), nothing after the end (see ``joining``). A
    ``Token`` may be a ``refusal``.
    """

    def begin(self, jobs: Sequence[str]) -> None:
        """The ids of the request's jobs, told once before the first event."""
        ...

    def event(self, index: int, event: StreamEvent) -> Iterable[Frame]:
        """Frames for an event of answer ``index`` (0 where one answer is wanted); ``Finished`` is a success."""
        ...

    def end(self, results: tuple[Result, ...]) -> Iterable[Frame]:
        """What closes the stream once every answer has finished."""
        ...

    def failed(self, error: ApiError) -> Iterable[Frame]:
        """What closes the stream instead, when it cannot be brought to a good end."""
        ...
