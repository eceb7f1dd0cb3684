"""Tells the leader that this worker lives and what it holds, and hears which attempts to stop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

from job_contracts import subjects
from job_contracts.attempts import Abort, Heartbeat, HeartbeatReply, LimitReading
from job_contracts.codec import ContractError, decode, encode
from job_contracts.configured import Configured
from runtime.bus.port import Bus, BusError, Message, Subscription
from runtime.clock import Clock
from runtime.service import Duty
from runtime.telemetry import WARNING, Telemetry

__all__ = ["Beating", "Heartbeats"]

BREATH = 0.02
"""Seconds between two beats at least, however much there is to tell."""
SOON = 0.1
"""Seconds after a first beat that nobody answered; twice as many after each further one, up to the usual."""


class Beating(Protocol):
    """What a heartbeat tells of, and who hears the answer: the pool."""

    @property
    def slots(self) -> int: ...
    @property
    def draining(self) -> bool: ...
    def attempts(self) -> tuple[str, ...]:
        """Ids of all attempts in hand."""
        ...

    def late(self) -> tuple[str, ...]:
        """Ids of those that have waited for too long and wait still."""
        ...

    def begun(self) -> tuple[str, ...]:
        """Ids of those of two that are shown."""
        ...

    def readings(self) -> dict[str, tuple[LimitReading, ...]]:
        """What answers since the last call said of the provider's limits, by deployment."""
        ...

    def abort(self, attempts: tuple[str, ...], *, outrun: bool = False) -> None:
        """Stop these attempts, those still to come included; ``outrun`` because others were faster."""
        ...

    def heard(self, at: float, took: float) -> None:
        """The leader's clock said ``at`` (UTC seconds) some time in the last ``took`` seconds."""
        ...


class Heartbeats(Duty):
    """Beats every ``every`` seconds by request; aborts arrive by message at once, and again in the answers.

    A beat without an answer is no error here: there may be no leader for the moment. The next one follows soon, for a
    leader that has just begun sends no work to whom it has not heard. Who begins to listen calls everybody up, by an
    abort of nothing: that is answered by a beat for all who listen, also while an answer is still waited for.
    """

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        telemetry: Telemetry,
        beating: Beating,
        *,
        pool: str,
        worker: str,
        every: float = 2.0,
        configured: Configured | None = None,
    ) -> None:
        """``configured``: what it tells of this process's configuration."""
        super().__init__("heartbeats", telemetry, grace=1.0)
        self._bus, self._clock, self._beating = bus, clock, beating
        self._pool, self._worker, self._every, self._configured = pool, worker, every, configured
        self._subject = subjects.heartbeat(pool, worker)
        self._listening: Subscription | None = None
        self._answered = True
        self._soon = SOON
        self._saying: set[asyncio.Task[None]] = set()
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Something is to be told before the next beat is due."""
        self._hurry.set()

    async def opened(self) -> None:
        self._listening = await self._bus.subscribe(subjects.abort(self._pool), self._told)

    async def closed(self) -> None:
        if self._listening is not None:
            await self._listening.close()
            self._listening = None
        for saying in tuple(self._saying):
            saying.cancel()

    async def run(self) -> None:
        """Beat at once, then steadily."""
        while True:
            self._hurry.clear()
            await self._beat()
            if self._answered:
                self._soon, pause = SOON, self._every
            else:
                self._soon, pause = min(self._soon * 2, self._every), min(self._soon, self._every)
            if not await self._rest(pause):
                return

    async def _rest(self, seconds: float) -> bool:
        """Until the next beat, at least ``BREATH``; False as soon as the duty is to stop."""
        if not await self.pause(BREATH):
            return False
        try:
            async with asyncio.timeout(max(seconds - BREATH, 0.0)):
                await self._hurry.wait()
        except TimeoutError:
            pass
        return not self.stopping.is_set()

    async def stop(self) -> None:
        """Beat no more."""
        self.stopping.set()
        self._hurry.set()
        await super().stop()

    def _now(self, limits: dict[str, tuple[LimitReading, ...]]) -> Heartbeat:
        beating = self._beating
        return Heartbeat(
            pool=self._pool,
            worker=self._worker,
            slots=beating.slots,
            attempts=beating.attempts(),
            draining=beating.draining,
            late=beating.late(),
            begun=beating.begun(),
            limits=limits,
            configured=self._configured,
        )

    async def _beat(self) -> None:
        try:
            await self._say(self._beating.readings())
        except (BusError, ContractError) as error:
            if self._answered:  # say it when it begins, not every two seconds
                self.telemetry.emit("heartbeat.unanswered", WARNING, error=type(error).__name__)
            self._answered = False
        else:
            self._answered = True

    async def _say(self, limits: dict[str, tuple[LimitReading, ...]]) -> None:
        """One beat, and what its answer says. Raises BusError, ContractError."""
        beating, beat, sent = self._beating, self._now(limits), self._clock.monotonic()
        answer = await self._bus.request(self._subject, encode(beat), timeout=self._every)
        reply = decode(HeartbeatReply, answer.data)
        if reply.at:
            beating.heard(reply.at, self._clock.monotonic() - sent)
        if reply.outrun:
            beating.abort(reply.outrun, outrun=True)
        if reply.abort:
            beating.abort(tuple(name for name in reply.abort if name not in reply.outrun))

    def _told(self, message: Message) -> None:
        try:
            abort = decode(Abort, message.data)
        except ContractError as error:
            self.telemetry.emit("abort.unreadable", WARNING, error=str(error))
            return
        if abort.attempts:
            self._beating.abort(abort.attempts, outrun=abort.reason == "outrun")
        else:
            saying = asyncio.get_running_loop().create_task(self._called())
            self._saying.add(saying)
            saying.add_done_callback(self._saying.discard)

    async def _called(self) -> None:
        """A beat beside the regular ones, for who has just begun to lead; the limits are left for one of those."""
        with suppress(BusError, ContractError):
            await self._say({})
