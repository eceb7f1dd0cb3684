"""The fake itself: stages for its projects, and a transport that reaches them without leaving the process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

from job_contracts import subjects
from job_contracts.codec import decode
from job_contracts.desk import Estimate
from job_contracts.jobs import LANES, Cancel, Lane
from producer_sdk.errors import Closed, TooLarge, Unreachable
from producer_sdk.producer import Producer
from producer_sdk.sync import SyncProducer
from producer_sdk.testing.script import Reply
from producer_sdk.testing.stage import MAX_BODY, MAX_MESSAGE, Price, Received, Script, Stage
from producer_sdk.transport import Listener

MAX_PAYLOAD = 1024 * 1024
_HEADERS = 64


class FakeGateway:
    """Answers jobs as it is told. Without a script it says what the user said.

    ``routes`` makes it refuse others as a real gateway does; ``None`` takes every model name. ``project`` is the one
    producers speak for unless they name another. ``clock`` (UTC seconds) decides about deadlines.
    """

    def __init__(
        self,
        *,
        project: str = "test",
        routes: tuple[str, ...] | None = None,
        lanes: tuple[Lane, ...] = LANES,
        max_message: int = MAX_MESSAGE,
        max_body: int = MAX_BODY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.project = project
        self._clock = clock
        self._limits: dict[str, Any] = {
            "routes": routes,
            "lanes": lanes,
            "max_message": max_message,
            "max_body": max_body,
        }
        self._stages: dict[str, Stage] = {}
        self._transports: list[MemoryTransport] = []
        self._producers: list[Producer] = []
        self._sync_producers: list[SyncProducer] = []
        self._connected = True

    # -- life

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for producer in self._producers:
            await producer.close()
        self.__exit__()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for producer in self._sync_producers:
            producer.close()
        for stage in self._stages.values():
            stage.close()

    def producer(self, *, project: str | None = None, **arguments: Any) -> Producer:
        """A producer of this gateway, closed with it; ``arguments`` are ``Producer``'s."""
        producer = Producer(transport=self.transport(project), **arguments)
        self._producers.append(producer)
        return producer

    def sync_producer(self, *, project: str | None = None, **arguments: Any) -> SyncProducer:
        """The same, blocking."""
        producer = SyncProducer(transport=self.transport(project), **arguments)
        self._sync_producers.append(producer)
        return producer

    def transport(self, project: str | None = None) -> MemoryTransport:
        """A connection to this gateway."""
        transport = MemoryTransport(self, subjects.check_token(project or self.project, "project"))
        self._transports.append(transport)
        return transport

    # -- the script

    def script(self, *replies: Reply) -> None:
        """What the next jobs are answered, one reply a job, in the order they are dispatched."""
        self.stage().script.extend(replies)

    def always(self, reply: Reply | Script) -> None:
        """What jobs are answered for which there is nothing in the script; a function gets the ``Job``."""
        self.stage().otherwise = (lambda _: reply) if isinstance(reply, Reply) else reply

    def prices(self, price: Estimate | Price) -> None:
        """What the desk says that jobs would cost; a function gets the ``Planned`` job. Nothing, if nothing is said."""
        self.stage().price = (lambda _: price) if isinstance(price, Estimate) else price

    def hold(self) -> None:
        """Keep jobs that arrive from now on in the queue."""
        self.stage().held = True

    def release(self) -> None:
        """Let the held jobs go on."""
        self.stage().release()

    def lose_tokens(self) -> None:
        """Lose the stored tokens of all jobs, so that a stream with a gap must do with the result."""
        self.stage().store.lose_tokens()

    @property
    def jobs(self) -> list[Received]:
        """The jobs that arrived, in order."""
        return self.stage().received

    @property
    def questions(self) -> list[str]:
        """The operations the desk was asked for, in order."""
        return self.stage().questions

    @property
    def scores(self) -> dict[str, float]:
        """What was said of answers (``Producer.feedback``), by job."""
        return self.stage().scores

    # -- the connection

    def disconnect(self) -> None:
        """Cut every connection: nothing arrives in either direction, jobs go on."""
        self._connected = False

    def reconnect(self) -> None:
        """Bring the connections back; what was said meanwhile is not repeated."""
        self._connected = True
        for transport in self._transports:
            transport.restored()

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._connected

    def stage(self, project: str | None = None) -> Stage:
        """The jobs of a project."""
        name = project or self.project
        if name not in self._stages:
            self._stages[name] = Stage(name, _Telling(self, name), clock=self._clock, **self._limits)
        return self._stages[name]

    def tell(self, project: str, kind: Literal["tok", "res"], job: str, data: bytes) -> None:
        """Say something on a job's live subject."""
        subject = f"{subjects.live_job(project, job)[:-1]}{kind}"
        for transport in self._transports:
            if transport.project == project:
                transport.told(subject, data)


class _Telling:
    def __init__(self, gateway: FakeGateway, project: str) -> None:
        self._gateway = gateway
        self._project = project

    def __call__(self, kind: Literal["tok", "res"], job: str, data: bytes, /) -> None:
        self._gateway.tell(self._project, kind, job, data)


class MemoryTransport:
    """``Transport`` to a fake gateway of the same process, from any event loop."""

    def __init__(self, gateway: FakeGateway, project: str) -> None:
        self._gateway = gateway
        self._project = project
        self._listener: Listener | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._prefixes: set[str] = set()
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False

    @property
    def project(self) -> str:
        """The project it speaks for."""
        return self._project

    @property
    def max_payload(self) -> int:
        """As a broker has by default."""
        return MAX_PAYLOAD

    async def open(self, stem: str, listener: Listener, *, timeout: float) -> None:
        """See ``Transport.open``."""
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._prefixes.add(_prefix(subjects.live(self._project, stem)))
        await self._connection(timeout)

    async def store(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None = None, *, timeout: float
    ) -> bool:
        """See ``Transport.store``."""
        headers = headers or {}
        size = len(data) + sum(len(name) + len(value.encode()) for name, value in headers.items()) + _HEADERS
        if size > MAX_PAYLOAD:
            raise TooLarge(f"a message of {size} bytes is over the limit of {MAX_PAYLOAD}")
        await self._connection(timeout)
        stage = self._gateway.stage(self._project)
        kind = subject.split(".")[2]
        if kind == "blob":
            subject, _, index = subject.rpartition(".")
            return stage.store.piece(subjects.project_and_job(subject)[1], int(index), data)
        if kind == "cancel":
            stage.cancelled(decode(Cancel, data))
            return True
        _, job = subjects.project_and_job(subject)
        return stage.submitted(job, data, headers.get(subjects.H_TICKET))

    async def ask(self, subject: str, data: bytes, *, timeout: float) -> bytes:
        """See ``Transport.ask``."""
        await self._connection(timeout)
        answer = self._gateway.stage(self._project).asked(subject.rpartition(".")[2], data)
        if answer is None:
            raise Unreachable(f"nobody answers {subject}")
        return answer

    async def listen(self, subject: str) -> None:
        """See ``Transport.listen``."""
        self._prefixes.add(_prefix(subject))

    async def ignore(self, subject: str) -> None:
        """See ``Transport.ignore``."""
        self._prefixes.discard(_prefix(subject))

    async def close(self) -> None:
        """See ``Transport.close``."""
        self._closed = True
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    # -- the gateway's side

    def told(self, subject: str, data: bytes) -> None:
        """Something was said; it is heard if it is listened to."""
        if self._gateway.connected and any(subject.startswith(prefix) for prefix in self._prefixes):
            self._on_loop(self._hear, subject, data)

    def restored(self) -> None:
        """The connection is back."""
        self._on_loop(self._restore)

    def _hear(self, subject: str, data: bytes) -> None:
        if self._listener is not None and not self._closed:
            self._listener.heard(subject, data)

    def _restore(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        if self._listener is not None and not self._closed:
            self._listener.restored()

    def _on_loop(self, function: Callable[..., None], *arguments: Any) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    async def _connection(self, timeout: float) -> None:
        """Return while connected, after at least one turn of the loop, as everything real takes one."""
        await asyncio.sleep(0)
        if not self._gateway.connected and not self._closed:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(waiting)
            try:
                async with asyncio.timeout(timeout):
                    await waiting
            except TimeoutError as error:
                raise Unreachable("there is no connection; nothing was sent") from error
            finally:
                self._waiting.discard(waiting)
        if self._closed:
            raise Closed("this transport is closed")


def _prefix(subject: str) -> str:
    return subject.rstrip(">*")
