"""Server-sent events: an API's frames over one connection, resumable, with signs of life, never faster than the reader.

Each event's ``id`` is ``generation:sequence`` of the chunk it comes of; where a chunk makes several events the further
ones add their number (``2:7:1``), and where a request has several answers the places of all are named, with commas
between. A client that names the last id it saw (``Last-Event-ID``) gets the rest: the stream is rendered again from its
start, and what was seen is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.asking import Gone, leave, while_connected
from gateway.bodies.failures import ApiError, Failed, of_result
from gateway.bodies.joining import Diverged, Joined, Policy
from gateway.refusals import api_error
from job_contracts.jobs import JobState
from job_contracts.stream import Finished, StreamEvent
from producer_sdk.errors import PenstockError, Timeout

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from gateway.bodies.frames import Frame, Renderer
    from gateway.call import Call
    from job_contracts.results import Result

PING = b": waiting\n"
"""A comment, without the empty line that ends an event: some clients take that for the end of one that has no data, as
soon as any event before had an id."""
HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)

Events = AsyncGenerator[tuple[int, list[StreamEvent]], None]
"""Events as they come, with the index of the answer they belong to."""


class Places:
    """The ids of one stream's events, and which of them a resuming client has seen."""

    def __init__(self, answers: int, seen: str = "") -> None:
        self._places = [(0, 0)] * answers
        self._within = 0
        self._seen = seen
        self.skipping = bool(seen)
        """Whether what comes was seen already."""

    def at(self, index: int, event: StreamEvent) -> None:
        """The next frames come of this event."""
        place = (event.generation, event.sequence)
        if place != (0, 0) and place != self._places[index]:
            self._places[index] = place
            self._within = 0

    def next(self) -> str | None:
        """The next frame's id, empty before anything was said; ``None`` if the client has seen it."""
        place = ",".join(f"{generation}:{sequence}" for generation, sequence in self._places)
        if not any(generation for generation, _ in self._places):
            return None if self.skipping else ""
        told = f"{place}:{self._within}" if self._within else place
        self._within += 1
        if self.skipping:
            self.skipping = told != self._seen
            return None
        return told


def written(frames: Iterable[Frame], places: Places) -> bytes:
    """Frames as they go over the wire, without those that were seen."""
    lines: list[bytes] = []
    for frame in frames:
        place = places.next() if frame.id is None else frame.id
        if place is None:
            continue
        if frame.event is not None:
            lines.append(b"event: %b\n" % frame.event.encode())
        if place:
            lines.append(b"id: %b\n" % place.encode())
        lines.append(b"data: %b\n\n" % frame.data)
    return b"".join(lines)


@dataclass(slots=True)
class EventStream:
    """An ASGI response that renders a request's events while they come.

    Headers go out with the first frame, so that a job that fails before it has answered anything is answered with its
    proper status; a client that waits longer than ``ping`` for its turn gets them with the first sign of life.
    """

    call: Call
    source: Events
    jobs: list[str]
    """Ids of the jobs, there at the latest with the first event."""
    renderer: Renderer
    policy: Policy = "continue"
    answers: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)
    leaves: bool = True
    """Whether the jobs are this request's own, and left when its client goes."""
    keyed: bool = False
    ping: bytes = PING
    """The API's sign of life."""
    numbered: bool = False
    """Whether the renderer gives its events their ids and leaves out what was seen (``Frame.id``)."""
    unsuccessful: Callable[[Result], Iterable[Frame]] | None = None
    """How a job that failed is told, where the API has events for that; else it is an error of the stream."""
    at_once: bool = False
    """Whether that is so even where nothing was sent yet: the job's failure is no failure of this request."""
    _begun: bool = False
    _sending: bool = False
    _last_sent: float = 0.0
    _timer: asyncio.TimerHandle | None = None
    _send: Send | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer. Raises ``Failed`` while nothing was sent; later errors are told in the stream itself."""
        self._send = send
        self._last_sent = asyncio.get_running_loop().time()
        self._wait_with_signs()
        try:
            await while_connected(self.call, self._run())
        except (Gone, TimeoutError):
            if self.leaves:
                leave(self.call, self.jobs, keyed=self.keyed)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            with suppress(RuntimeError):
                await self.source.aclose()

    async def _run(self) -> None:
        places = Places(self.answers, "" if self.numbered else ":".join(self.call.extras.resume))
        try:
            last = await self._rendered(places)
        except Diverged:
            remedy = "send the request again; with x-penstock-deadline it may take longer, or ask for it not streamed"
            message = "the provider failed in the middle of its answer, and another one answers differently"
            last = self._failed(ApiError(502, "stream_broken", message, remedy=remedy, job=self._job), places)
        except PenstockError as error:
            if isinstance(error, Timeout) and self.leaves:
                leave(self.call, self.jobs, keyed=False)
            last = self._failed(api_error(error), places)
        await self._write(last, more=False)

    async def _rendered(self, places: Places) -> bytes:
        """Render to the end; what is still to be written."""
        joins = [Joined(self.policy) for _ in range(self.answers)]
        results: dict[int, Result] = {}
        begun = False
        async for index, events in self.source:
            out: list[bytes] = []
            if not begun:
                begun = True
                self.renderer.begin(self.jobs)
            for event in events:
                if isinstance(event, Finished) and event.result.state is not JobState.SUCCEEDED:
                    return b"".join(out) + self._unsuccessful(event.result, places)
                for shown in joins[index].take(event):
                    places.at(index, shown)
                    out.append(written(self.renderer.event(index, shown), places))
                    if isinstance(shown, Finished):
                        results[index] = shown.result
            if data := b"".join(out):
                if len(results) == self.answers:
                    return data + self._ended(results, places)
                await self._write(data, more=True)
            elif len(results) == self.answers:
                return self._ended(results, places)
        return self._failed(ApiError(502, "stream_broken", "the stream has no end", job=self._job), places)

    def _ended(self, results: dict[int, Result], places: Places) -> bytes:
        data = written(self.renderer.end(tuple(results[index] for index in range(self.answers))), places)
        if not places.skipping:
            return data
        remedy = "read the whole: GET /v1/jobs/{id}/result, or send the request again"
        message = f"the stream cannot be resumed: there is no event {':'.join(self.call.extras.resume)!r} any more"
        return self._failed(ApiError(410, "resume_impossible", message, remedy=remedy, job=self._job), places)

    def _unsuccessful(self, result: Result, places: Places) -> bytes:
        if self.unsuccessful is not None and (self._begun or self.at_once):
            return written(self.unsuccessful(result), places)
        return self._failed(of_result(result), places)

    def _failed(self, error: ApiError, places: Places) -> bytes:
        """The error within the stream. Raises ``Failed`` while the answer has not begun: then it has a status."""
        if not self._begun:
            raise Failed(error)
        places.skipping = False
        return written(self.renderer.failed(error), places)

    @property
    def _job(self) -> str | None:
        return self.jobs[0] if self.jobs else None

    # -- writing

    async def _write(self, data: bytes, *, more: bool) -> None:
        send = self._send
        if send is None:
            return
        self._sending = True
        try:
            async with asyncio.timeout(self.call.edge.settings.write_timeout):
                if not self._begun:
                    self._begun = True
                    await send({"type": "http.response.start", "status": 200, "headers": self._head()})
                await send({"type": "http.response.body", "body": data, "more_body": more})
        finally:
            self._sending = False
            self._last_sent = asyncio.get_running_loop().time()

    def _head(self) -> list[tuple[bytes, bytes]]:
        told = {**self.headers, "x-request-id": self.call.id, "x-penstock-job": ",".join(self.jobs)}
        return [*HEADERS, *((name.encode(), value.encode("latin-1")) for name, value in told.items())]

    def _wait_with_signs(self) -> None:
        """See to it that the client hears something every so often."""
        loop = asyncio.get_running_loop()
        due = self._last_sent + self.call.edge.settings.ping
        if self._sending or loop.time() < due:
            due = max(due, loop.time() + 0.1)
        else:
            task = loop.create_task(self._ping())
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            due = loop.time() + self.call.edge.settings.ping
        self._timer = loop.call_at(due, self._wait_with_signs)

    async def _ping(self) -> None:
        with suppress(TimeoutError):
            await self._write(self.ping, more=True)
