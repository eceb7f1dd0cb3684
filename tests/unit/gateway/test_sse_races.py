"""What happens between two awaits of a stream: signs of life, hang-ups and cancels at any moment."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest
from starlette.requests import Request

from gateway.asking import Gone, of_streams, while_connected
from gateway.bodies.failures import ApiError, Failed
from gateway.bodies.frames import Frame
from gateway.call import Call
from gateway.sse import EventStream
from job_contracts.jobs import JobState
from job_contracts.results import Result, Times
from job_contracts.stream import Finished, Queued, Started, StreamEvent, Token
from producer_sdk.errors import Unreachable
from runtime.settings.services import Edge as Settings
from runtime.telemetry import Telemetry
from tests.support.eventually import eventually

RESULT = Result(
    job="a-b",
    project="p",
    nonce="n",
    state=JobState.SUCCEEDED,
    route="chat",
    token="t",
    body_hash="h",
    times=Times(submitted=1.0, finished=2.0),
)


class Words:
    """A renderer of words."""

    def begin(self, jobs: Sequence[str]) -> None: ...

    def event(self, index: int, event: StreamEvent) -> Iterable[Frame]:
        return [Frame(event.text.encode())] if isinstance(event, Token) else []

    def end(self, results: tuple[Result, ...]) -> Iterable[Frame]:
        return [Frame(b"[DONE]")]

    def failed(self, error: ApiError) -> Iterable[Frame]:
        return [Frame(error.code.encode())]


@dataclass
class Wire:
    """The server's side of one request: what was sent, and when the client takes it or hangs up."""

    sent: list[dict[str, Any]] = field(default_factory=list)
    taking: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    left: list[str] = field(default_factory=list)
    ping: float = 1000.0

    def __post_init__(self) -> None:
        self.taking.set()

    async def send(self, message: Any) -> None:
        await self.taking.wait()
        started = any(one["type"] == "http.response.start" for one in self.sent)
        assert started != (message["type"] == "http.response.start"), "sent out of order"
        assert not any(one.get("more_body") is False for one in self.sent), "sent after the end"
        self.sent.append(message)

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    def call(self) -> Call:
        lingering = SimpleNamespace(leave=self._leave)
        edge = SimpleNamespace(
            settings=Settings(ping=self.ping),
            telemetry=Telemetry(),
            streams=0,
            draining=False,
            lingering=lingering,
        )
        scope = {"type": "http", "headers": [], "method": "POST", "path": "/"}
        request = Request(scope, self.receive)
        return Call(cast("Any", edge), request, cast("Any", SimpleNamespace(project="p")), "req_1", "openai", 0.0)

    def _leave(self, _: str, job: str, *, keyed: bool) -> None:
        assert not keyed
        self.left.append(job)

    def signs(self) -> int:
        """Signs of life so far."""
        return self.body.count(b": waiting\n")

    @property
    def body(self) -> bytes:
        return b"".join(one["body"] for one in self.sent if "body" in one)


async def serve(wire: Wire, source: AsyncGenerator[tuple[int, list[StreamEvent]], None]) -> None:
    stream = EventStream(wire.call(), source, ["a-b"], Words())
    await stream({}, wire.receive, wire.send)


Source = AsyncGenerator[tuple[int, list[StreamEvent]], None]


def said(text: str, sequence: int) -> StreamEvent:
    return Token(generation=1, sequence=sequence, text=text)


async def words(go: Callable[[], Any], *texts: str, closed: list[bool] | None = None) -> Source:
    """One event a turn of ``go``, then the end; notes in ``closed`` that it was closed."""
    try:
        yield 0, [Queued(job="a-b"), Started(generation=1, sequence=1, deployment="d/m", provider="d", model="m")]
        for index, text in enumerate(texts):
            await go()
            yield 0, [said(text, index + 2)]
        yield 0, [Finished(generation=1, sequence=len(texts) + 1, result=RESULT)]
    finally:
        if closed is not None:
            closed.append(True)


def _at_least(wire: Wire, signs: int) -> bool:
    return wire.signs() >= signs


async def test_signs_of_life_never_come_before_the_head_within_a_frame_or_after_the_end() -> None:
    wire, steps = Wire(ping=0.001), asyncio.Semaphore(0)
    serving = asyncio.ensure_future(serve(wire, words(steps.acquire, "one", "two", "three")))
    for count in range(1, 4):
        await eventually(partial(_at_least, wire, 3 * count))
        steps.release()
    await serving
    assert wire.body.replace(b": waiting\n", b"").split(b"\n\n") == [
        b"id: 1:2\ndata: one",
        b"id: 1:3\ndata: two",
        b"id: 1:4\ndata: three",
        b"id: 1:4,1:0\ndata: [DONE]",
        b"",
    ]
    assert wire.body.endswith(b"data: [DONE]\n\n")


async def test_a_sign_that_waits_for_the_reader_goes_out_before_what_comes_after_it() -> None:
    wire, steps = Wire(ping=0.001), asyncio.Semaphore(0)
    wire.taking.clear()
    serving = asyncio.ensure_future(serve(wire, words(steps.acquire, "one")))
    for _ in range(20):
        await asyncio.wait({serving}, timeout=0.002)  # several signs are due
    steps.release()
    await asyncio.wait({serving}, timeout=0.01)
    wire.taking.set()
    await serving
    assert [one["type"] for one in wire.sent][:2] == ["http.response.start", "http.response.body"]
    assert wire.body.count(b": waiting") == 1


async def test_a_client_that_hangs_up_leaves_its_job_and_closes_what_reads_it() -> None:
    wire, closed = Wire(), list[bool]()
    serving = asyncio.ensure_future(serve(wire, words(asyncio.Event().wait, "one", closed=closed)))
    await asyncio.wait({serving}, timeout=0.01)
    wire.gone.set()
    with pytest.raises(Gone):
        await serving
    assert (wire.left, closed) == (["a-b"], [True])


async def test_a_client_that_hangs_up_while_it_takes_nothing_is_left_as_well() -> None:
    wire, closed = Wire(), list[bool]()
    wire.taking.clear()

    async def at_once() -> None: ...

    serving = asyncio.ensure_future(serve(wire, words(at_once, "one", closed=closed)))
    await asyncio.wait({serving}, timeout=0.01)
    wire.gone.set()
    with pytest.raises(Gone):
        await serving
    assert (wire.left, closed) == (["a-b"], [True])


async def test_a_second_cancel_while_the_first_is_dealt_with_ends_it_all_the_same() -> None:
    wire, closing = Wire(), asyncio.Event()

    async def stubborn() -> Source:
        try:
            yield 0, [Queued(job="a-b")]
            await asyncio.Event().wait()
        finally:
            closing.set()
            await asyncio.sleep(0)

    serving = asyncio.ensure_future(serve(wire, stubborn()))
    await asyncio.wait({serving}, timeout=0.01)
    serving.cancel()
    await closing.wait()
    serving.cancel()
    wire.gone.set()
    with pytest.raises((asyncio.CancelledError, Gone)):
        await serving
    assert wire.left == ["a-b"]


async def test_an_error_after_the_head_is_told_in_the_stream() -> None:
    wire = Wire()

    async def failing() -> Source:
        yield 0, [Started(generation=1, sequence=1, deployment="d/m", provider="d", model="m"), said("one", 2)]
        raise Failed(ApiError(503, "odd", "odd"))

    await serve(wire, failing())
    assert wire.body.endswith(b"data: odd\n\n")
    assert wire.sent[-1]["more_body"] is False


async def test_a_bug_after_the_head_ends_the_stream_without_its_end_and_leaves_the_job() -> None:
    wire = Wire()

    async def failing() -> Source:
        yield 0, [Started(generation=1, sequence=1, deployment="d/m", provider="d", model="m"), said("one", 2)]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await serve(wire, failing())
    assert all(one.get("more_body", True) for one in wire.sent)
    assert wire.left == ["a-b"]


async def test_work_that_ends_with_the_hang_up_is_not_cancelled_afterwards() -> None:
    for turns in range(6):
        wire = Wire()
        done = asyncio.get_running_loop().create_future()
        working = asyncio.ensure_future(while_connected(wire.call(), done))
        for _ in range(3):
            await asyncio.sleep(0)
        wire.gone.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        if not done.done():
            done.set_result("answer")
        try:
            assert await _then_goes_on(working) == "answer"
        except Gone:
            assert turns > 0


async def _then_goes_on(working: asyncio.Future[str]) -> str:
    answer = await working
    for _ in range(5):
        await asyncio.sleep(0)  # a cancel that came too late would arrive here
    return answer


class Readable:
    """A job's stream as ``of_streams`` reads it."""

    def __init__(self, *told: list[StreamEvent] | Exception) -> None:
        self.told = list(told)
        self.closed = 0

    async def several(self) -> list[StreamEvent]:
        await asyncio.sleep(0)
        one = self.told.pop(0) if self.told else StopAsyncIteration()
        if isinstance(one, Exception):
            raise one
        return one

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("error", [Unreachable("no"), ZeroDivisionError("a bug")])
async def test_whatever_goes_wrong_with_one_of_several_answers_is_raised_and_all_are_closed(error: Exception) -> None:
    streams = [Readable([said("one", 1)], error), Readable(*[[said("x", index)] for index in range(1_000)])]
    with pytest.raises(type(error)):
        async for _ in of_streams(cast("Any", streams)):
            pass
    assert [stream.closed for stream in streams] == [1, 1]
    gc.collect()


async def test_who_stops_reading_several_answers_closes_them_all() -> None:
    streams = [Readable(*[[said("x", index)] for index in range(1_000)]) for _ in range(3)]
    reading = of_streams(cast("Any", streams))
    await anext(reading)
    await reading.aclose()
    assert [stream.closed for stream in streams] == [1, 1, 1]
