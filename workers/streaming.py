"""Tokens on their way to the producer: the first at once, later ones collected for a moment, in order and numbered.

Publishing is at most once; the durable truth is the job's result. One task publishes for all streams of the worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from job_contracts import subjects
from job_contracts.codec import encode
from job_contracts.stream import Chunk, Delta, EndDelta, ReasoningDelta, StartDelta, TextDelta, ToolCallDelta
from runtime.bus.port import Bus, BusError
from runtime.service import Duty
from runtime.telemetry import Telemetry
from workers.contest import shown_first

__all__ = ["Streams", "TokenStream", "merged"]

_LOOKS = 3
"""Looks at the waiting streams in each coalescing time."""


class TokenStream:
    """The chunks of one generation of one job: first a start, last an end, numbered from 1 without a gap."""

    __slots__ = (
        "_busy",
        "_carries",
        "_generation",
        "_idle",
        "_opening",
        "_pending",
        "_sequence",
        "_size",
        "_streams",
        "_subject",
        "_told",
        "due",
        "quiet",
    )

    def __init__(self, streams: Streams, project: str, job_id: str, generation: int, *, quiet: bool = False) -> None:
        self._streams = streams
        self.quiet = quiet
        """Whether nothing of it is told before ``claim``."""
        self._subject = subjects.tokens(project, job_id)
        self._generation = generation
        self._opening: tuple[Delta, ...] = ()
        self._carries = False
        self._pending: list[Delta] = []
        self._size = 0
        self._sequence = 0
        self._told = False
        self._busy = False
        self._idle: asyncio.Future[None] | None = None
        self.due = 0.0

    def start(self, delta: StartDelta, carried: str = "") -> None:
        """The provider has taken the request; told alone only if the first token is not about to come.

        ``carried``: text of another attempt that this one goes on with; a chunk of its own, so that it can be told from
        what is new.
        """
        if carried:
            self._opening = (delta, TextDelta(text=carried))
            self._carries = True
        else:
            self._pending.append(delta)
        if not self.quiet:
            self._streams.remind(self, share=1 / _LOOKS)

    async def add(self, deltas: Sequence[Delta]) -> None:
        """More of the answer: the first goes out at once, the others wait for company."""
        self._pending.extend(deltas)
        self._size += sum(_weight(delta) for delta in deltas)
        if self._told and self._size < self._streams.enough:
            self._streams.remind(self)
        else:
            self._told = True
            await self.flush()

    async def claim(self, deltas: Sequence[Delta]) -> bool:
        """The first of the answer, if no other attempt's is shown; else nothing of this one is ever told."""
        self._streams.forget(self)
        if self._busy:  # its start is on the way
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle
        self._busy = True
        try:
            told = merged([*self._pending, *deltas])
            chunk = Chunk(generation=self._generation, sequence=self._sequence + 1, deltas=told)
            if not await self._streams.first(self._subject, chunk):
                return False
        finally:
            self._pending.clear()
            self._busy = False
        self._sequence += 1
        self._told, self.quiet = True, False
        return True

    async def end(self, delta: EndDelta) -> None:
        """The generation is complete; returns when everything was handed over."""
        if self.quiet:
            self.abandon()
            return
        self._pending.append(delta)
        await self.flush()
        if self._busy:  # the worker's publisher is at it, and takes the end along
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle
        self._streams.forget(self)

    def abandon(self) -> None:
        """The attempt failed: nothing more of it is told."""
        self._opening = ()
        self._pending.clear()
        self._streams.forget(self)

    async def flush(self) -> None:
        """Publish what waits. Only one publishes at a time, so the chunks keep their order."""
        if self._busy:
            return
        if self._carries and self._sequence:  # the opening has gone out since the flush before
            self._carries = False
            self._streams.telemetry.emit("stream.continued")
        self._busy = True
        try:
            while self._opening or self._pending:
                if self._opening:
                    deltas, self._opening = self._opening, ()
                else:
                    deltas, self._pending, self._size = merged(self._pending), [], 0
                self._sequence += 1
                chunk = Chunk(generation=self._generation, sequence=self._sequence, deltas=deltas)
                await self._streams.publish(self._subject, encode(chunk))
        finally:
            self._busy = False
            if self._idle is not None and not self._idle.done():
                self._idle.set_result(None)


class Streams(Duty):
    """All streams of a worker, and the one task that publishes what has waited long enough.

    ``coalesce``: seconds tokens wait; ``enough``: characters that wait no longer.
    """

    def __init__(self, bus: Bus, telemetry: Telemetry, *, coalesce: float = 0.03, enough: int = 1024) -> None:
        super().__init__("streams", telemetry)
        self.enough = enough
        self.published = 0
        self.lost = 0
        self._bus = bus
        self._coalesce = coalesce
        self._waiting: set[TokenStream] = set()
        self._woken = asyncio.Event()

    def open(self, project: str, job_id: str, generation: int, *, quiet: bool = False) -> TokenStream:
        """The stream of one attempt."""
        return TokenStream(self, project, job_id, generation, quiet=quiet)

    async def first(self, subject: str, chunk: Chunk) -> bool:
        """Store a chunk if no other attempt is shown."""
        shown = await shown_first(self._bus, subject, chunk)
        self.published += shown
        if shown:
            self.telemetry.emit("contest.won")
        return shown

    def remind(self, stream: TokenStream, *, share: float = 1.0) -> None:
        """Publish what waits in ``stream`` after the coalescing time (or a share of it), if nobody does before."""
        if stream not in self._waiting:
            stream.due = asyncio.get_running_loop().time() + self._coalesce * share
            self._waiting.add(stream)
            self._woken.set()

    def forget(self, stream: TokenStream) -> None:
        """Nothing of ``stream`` waits any longer."""
        self._waiting.discard(stream)

    async def publish(self, subject: str, data: bytes) -> None:
        """Hand one chunk to the broker; a chunk that cannot be handed over is lost, the result will have its text."""
        try:
            await self._bus.publish(subject, data)
            self.published += 1
        except BusError as error:
            self.lost += 1
            self.telemetry.emit("stream.chunk_lost", error=type(error).__name__)

    async def run(self) -> None:
        """Look at the waiting streams a few times in each coalescing time, and sleep while none waits."""
        loop, interval = asyncio.get_running_loop(), self._coalesce / _LOOKS
        while not self.stopping.is_set():
            if not self._waiting:
                self._woken.clear()
                await self._woken.wait()
                continue
            await self.pause(interval)
            horizon = loop.time() + interval / 2
            for stream in [stream for stream in self._waiting if stream.due <= horizon]:
                self._waiting.discard(stream)
                await stream.flush()

    async def stop(self) -> None:
        """Publish no more."""
        self.stopping.set()
        self._woken.set()
        await super().stop()


def merged(deltas: Sequence[Delta]) -> tuple[Delta, ...]:
    """Neighbouring pieces of the same text, reasoning or tool call as one."""
    if len(deltas) == 1:
        return (deltas[0],)
    out: list[Delta] = []
    run: list[TextDelta | ReasoningDelta | ToolCallDelta] = []
    for delta in deltas:
        if run and _continues(run[-1], delta):
            run.append(delta)  # type: ignore[arg-type]
            continue
        if run:
            out.append(_joined(run))
            run = []
        if isinstance(delta, StartDelta | EndDelta):
            out.append(delta)
        else:
            run = [delta]
    if run:
        out.append(_joined(run))
    return tuple(out)


def _continues(last: Delta, delta: Delta) -> bool:
    if isinstance(delta, ToolCallDelta):
        same_call = isinstance(last, ToolCallDelta) and last.index == delta.index
        return same_call and delta.id is None and delta.name is None
    if isinstance(delta, ReasoningDelta):
        return isinstance(last, ReasoningDelta) and not _sealed(last) and delta.redacted is None
    return type(last) is type(delta)


def _sealed(delta: ReasoningDelta) -> bool:
    return delta.signature is not None or delta.redacted is not None


def _joined(run: Sequence[TextDelta | ReasoningDelta | ToolCallDelta]) -> Delta:
    first = run[0]
    if len(run) == 1:
        return first
    if isinstance(first, ToolCallDelta):
        arguments = "".join(delta.arguments for delta in run if isinstance(delta, ToolCallDelta))
        return ToolCallDelta(index=first.index, id=first.id, name=first.name, arguments=arguments)
    text = "".join(delta.text for delta in run if not isinstance(delta, ToolCallDelta))
    last = run[-1]
    return last.model_copy(update={"text": text}) if isinstance(last, ReasoningDelta) else TextDelta(text=text)


def _weight(delta: Delta) -> int:
    match delta:
        case TextDelta(text=text) | ReasoningDelta(text=text):
            return len(text)  # a seal waits for company: nobody reads it
        case ToolCallDelta(arguments=arguments):
            return len(arguments)
        case _:
            return 0
