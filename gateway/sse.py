"""Server-sent events: an API's frames over one connection, resumable, with signs of life, never faster than the reader.

Each event's ``id`` is ``generation:sequence`` of the chunk it comes of; where a chunk makes several events the further
ones add their number (``2:7:1``), and where a request has several answers the places of all are named, with commas
between. What was told by the job's record, because chunks were lost, is marked (``2:7r``): it is another event than the
chunk of that number. A client that names the last id it saw (``Last-Event-ID``) gets the rest: the stream is rendered
again from its start, and what was seen is left out, up to that very id or not at all.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.asking import leave, while_connected
from gateway.bodies.failures import ApiError, Failed, invalid, of_result
from gateway.bodies.joining import Diverged, Joined, Policy
from gateway.refusals import api_error
from job_contracts.jobs import JobState
from job_contracts.stream import Finished, StreamEvent
from producer_sdk.errors import JobFailed, PenstockError, Refused
from runtime.telemetry import DEBUG, WARNING

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from gateway.bodies.frames import Frame, Renderer
    from gateway.call import Call
    from job_contracts.results import Result

PING = b": waiting\n\n"
HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)

_PLACE = re.compile(r"\d{1,9}:\d{1,9}r?(:\d{1,9})?")
_NOTHING_SEEN = "0:0"
"""The place of an answer of which nothing has been told yet."""
Place = tuple[int, int, str]

Events = AsyncGenerator[tuple[int, list[StreamEvent]], None]
"""Events as they come, with the index of the answer they belong to."""


class Places:
    """The ids of one stream's events, and which of them a resuming client has seen.

    Each answer has a place of its own, and its frames up to the one that was seen are left out: how the answers of a
    request are interleaved may differ from edge to edge.
    """

    def __init__(self, answers: int, seen: str = "") -> None:
        self._places: list[Place] = [(0, 0, "")] * answers
        self._within = [0] * answers
        self._told = ["0:0"] * answers
        self._seen: list[str | None] = [*_places(seen, answers)] if seen else [None] * answers
        """Of each answer the last frame that was seen; ``None`` once it has been passed, or if none was."""

    @property
    def skipping(self) -> bool:
        """Whether something was seen that has not been passed yet."""
        return any(one is not None and one != _NOTHING_SEEN for one in self._seen)

    def skip_no_more(self) -> None:
        """What comes now is new, whatever was seen."""
        self._seen = [None] * len(self._seen)

    def at(self, index: int, event: StreamEvent) -> None:
        """The next frames of an answer come of this event."""
        place = (event.generation, event.sequence, "r" if event.from_record else "")
        if place[:2] != (0, 0) and place != self._places[index]:
            self._places[index] = place
            self._within[index] = 0

    def next(self, index: int) -> str | None:
        """The id of an answer's next frame, empty before anything was said; ``None`` if the client has seen it."""
        generation, sequence, record = self._places[index]
        seen = self._seen[index]
        if not generation:
            return "" if seen is None or seen == _NOTHING_SEEN else None
        within = self._within[index]
        self._within[index] += 1
        told = f"{generation}:{sequence}{record}:{within}" if within else f"{generation}:{sequence}{record}"
        self._told[index] = told
        if seen is not None and seen != _NOTHING_SEEN:
            if told == seen:
                self._seen[index] = None
            return None
        return ",".join(self._told) if len(self._told) > 1 else told


def _places(seen: str, answers: int) -> list[str]:
    """The place of each answer in an id. Raises ``Failed`` with 400 for one that is none of such a stream."""
    found = seen.split(",")
    if len(found) != answers or not all(_PLACE.fullmatch(one) for one in found):
        message = f"Last-Event-ID: {seen[:100]!r} is no id of an event of this stream"
        raise invalid(message, param="last-event-id", remedy="send the last id as it came, or none")
    return found


def written(frames: Iterable[Frame], places: Places, index: int = 0) -> bytes:
    """Frames of an answer as they go over the wire, without those that were seen."""
    lines: list[bytes] = []
    for frame in frames:
        place = places.next(index)
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
    _begun: bool = False
    _over: bool = False
    _sending: bool = False
    _last_sent: float = 0.0
    _timer: asyncio.TimerHandle | None = None
    _sign: asyncio.Task[None] | None = None
    """A sign of life on its way: until it is out nothing else is sent."""
    _send: Send | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer. Raises ``Failed`` while nothing was sent; later errors are told in the stream itself."""
        edge = self.call.edge
        if self.call.extras.resume:
            edge.telemetry.emit("edge.resumed", DEBUG, path=self.call.request.url.path)
        self._send = send
        self._last_sent = asyncio.get_running_loop().time()
        self._wait_with_signs()
        edge.streams += 1
        try:
            await while_connected(self.call, self._run())
        except Failed:
            raise  # its jobs have ended, or were left
        except BaseException:
            self._abandon()
            raise
        finally:
            edge.streams -= 1
            for waiting in (self._timer, self._sign):
                if waiting is not None:
                    waiting.cancel()
            await self.source.aclose()

    async def _run(self) -> None:
        places = Places(self.answers, self.call.extras.resume)
        try:
            last = await self._rendered(places)
        except Diverged:
            remedy = "send the request again; with x-penstock-deadline it may take longer, or ask for it not streamed"
            message = "the provider failed in the middle of its answer, and another one answers differently"
            last = self._failed(ApiError(502, "stream_broken", message, remedy=remedy, job=self._job), places)
            self._abandon()
        except Failed as failed:
            last = self._failed(failed.error, places)
        except PenstockError as error:
            if not isinstance(error, Refused | JobFailed):
                self._abandon()
            last = self._failed(api_error(error), places)
        await self._write(last, more=False)

    def _abandon(self) -> None:
        """Nobody waits for the jobs of this stream here any more."""
        if self.leaves:
            leave(self.call, self.jobs, keyed=self.keyed)

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
                    if self.answers > 1:
                        self._abandon()
                    return b"".join(out) + self._failed(of_result(event.result), places)
                for shown in joins[index].take(event):
                    places.at(index, shown)
                    out.append(written(self.renderer.event(index, shown), places, index))
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
        message = f"the stream cannot be resumed: there is no event {self.call.extras.resume!r} any more"
        return self._failed(ApiError(410, "resume_impossible", message, remedy=remedy, job=self._job), places)

    def _failed(self, error: ApiError, places: Places) -> bytes:
        """The error within the stream. Raises ``Failed`` while the answer has not begun: then it has a status."""
        if not self._begun:
            raise Failed(error)
        places.skip_no_more()
        return written(self.renderer.failed(error), places)

    @property
    def _job(self) -> str | None:
        return self.jobs[0] if self.jobs else None

    # -- writing

    async def _write(self, data: bytes, *, more: bool) -> None:
        if self._sign is not None:
            await asyncio.wait({self._sign})
        self._over = not more
        await self._sent(data, more=more)

    async def _sent(self, data: bytes, *, more: bool) -> None:
        """One at a time, see ``_sign``. How long a client may take is the server's bound: it hangs up on it."""
        send = self._send
        if send is None:
            return
        self._sending = True
        try:
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
        if self._over:
            return
        loop = asyncio.get_running_loop()
        due = self._last_sent + self.call.edge.settings.ping
        if self._sending or self._sign is not None:
            due = loop.time() + self.call.edge.settings.ping
        elif loop.time() >= due:
            self._sign = loop.create_task(self._sent(PING, more=True))
            self._sign.add_done_callback(self._signed)
            due = loop.time() + self.call.edge.settings.ping
        self._timer = loop.call_at(due, self._wait_with_signs)

    def _signed(self, done: asyncio.Task[None]) -> None:
        self._sign = None
        if not done.cancelled() and (error := done.exception()) is not None:
            self.call.edge.telemetry.emit("edge.sign_failed", WARNING, error=type(error).__name__)
