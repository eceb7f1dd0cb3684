"""Server-sent events: an API's frames over one connection, with signs of life, never faster than the reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from gateway.asking import leave, while_connected
from gateway.bodies.failures import ApiError, Failed, of_result
from gateway.bodies.joining import Diverged, Policy
from gateway.bodies.places import Lost
from gateway.bodies.rendition import Rendition, written
from gateway.refusals import api_error
from job_contracts.jobs import JobState
from job_contracts.stream import Finished, StreamEvent
from producer_sdk.errors import JobFailed, PenstockError, Refused
from runtime.telemetry import DEBUG, WARNING

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from gateway.bodies.frames import Renderer
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
    ends_told: Literal["never", "once begun", "always"] = "never"
    """When the renderer takes the ``Finished`` of a job that did not succeed; else it is an error of the stream."""
    nothing_left: int = 200
    """The status for a client that has read all of it before: 204 tells a browser not to come back."""
    keyed: bool = False
    numbered: bool = False
    """Whether the renderer gives its events their ids, and leaves out what was seen (``Frame.id``)."""
    _out: list[bytes] = field(default_factory=list)
    """Rendered and not written."""
    ping: bytes = PING
    """The API's sign of life."""
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
        try:
            await self._rendered(self._rendition())
        except Diverged:
            self._tell_diverged()
        except Lost:
            message = f"the stream cannot be resumed: there is no event {self.call.extras.resume!r} any more"
            self._tell(ApiError(410, "resume_impossible", message, remedy=self._whole, job=self._job))
        except Failed as failed:
            self._tell(failed.error)
        except PenstockError as error:
            if not isinstance(error, Refused | JobFailed):
                self._abandon()
            elif error.job is not None:  # else nothing was submitted
                self._abandon(but=error.job)
            self._tell(api_error(error))
        await self._write(self._taken(), more=False)

    def _abandon(self, *, but: str | None = None) -> None:
        """Nobody waits for the jobs of this stream here any more, except one that is not its own."""
        if self.leaves:
            leave(self.call, [job for job in self.jobs if job != but], keyed=self.keyed)

    def _rendition(self) -> Rendition:
        seen = "" if self.numbered else self.call.extras.resume
        return Rendition(self.renderer, self.policy, self.answers, seen)

    async def _rendered(self, rendition: Rendition) -> None:
        """Render to the end, into ``_out`` what is still to be written. Raises Diverged, Lost, PenstockError."""
        async for index, events in self.source:
            for event in events:
                if isinstance(event, Finished) and not self._told_by_the_renderer(event.result):
                    if self.answers > 1:
                        self._abandon()
                    self._tell(of_result(event.result))
                    return
                self._out.append(rendition.take(self.jobs, index, event))
            if rendition.complete:
                self._out.append(rendition.end())
                return
            if data := self._taken():
                await self._write(data, more=True)
        self._tell(ApiError(502, "stream_broken", "the stream has no end", remedy=self._whole, job=self._job))

    def _told_by_the_renderer(self, result: Result) -> bool:
        return (
            result.state is JobState.SUCCEEDED
            or self.ends_told == "always"
            or (self._begun and self.ends_told == "once begun")
        )

    def _tell_diverged(self) -> None:
        """``continue`` lets the job go on: the other answer, which was being paid for, can be read whole."""
        message = "the provider failed in the middle of its answer, and another one answers differently"
        remedy = self._whole
        if self.policy == "error":
            message = "the provider failed in the middle of its answer"
            remedy = "send the request again"
            self._abandon()
        error = ApiError(502, "stream_broken", message, remedy=remedy, job=self._job)
        if self.ends_told == "always":  # what it is the stream of is there and well: only this stream is broken
            self._out.append(written(self.renderer.failed(error)))
        else:
            self._tell(error)

    def _tell(self, error: ApiError) -> None:
        """The error within the stream. Raises ``Failed`` while the answer has not begun: then it has a status."""
        if not self._begun:
            self._over = True
            raise Failed(error)
        self._out.append(written(self.renderer.failed(error)))

    def _taken(self) -> bytes:
        data = b"".join(self._out)
        self._out.clear()
        return data

    @property
    def _whole(self) -> str:
        return f"read the answer whole: GET /v1/jobs/{self._job}/result"

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
                status = 200 if data or more else self.nothing_left
                await send({"type": "http.response.start", "status": status, "headers": self._head()})
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
            self._sign = loop.create_task(self._sent(self.ping, more=True))
            self._sign.add_done_callback(self._signed)
            due = loop.time() + self.call.edge.settings.ping
        self._timer = loop.call_at(due, self._wait_with_signs)

    def _signed(self, done: asyncio.Task[None]) -> None:
        self._sign = None
        if not done.cancelled() and (error := done.exception()) is not None:
            self.call.edge.telemetry.emit("edge.sign_failed", WARNING, error=type(error).__name__)
