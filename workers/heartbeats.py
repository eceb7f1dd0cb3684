"""Tells the leader that this worker lives and what it holds, and hears which attempts to stop."""

from __future__ import annotations

from typing import Protocol

from job_contracts import subjects
from job_contracts.attempts import Abort, Heartbeat, HeartbeatReply, LimitReading
from job_contracts.codec import ContractError, decode, encode
from runtime.bus.port import Bus, BusError, Message, Subscription
from runtime.clock import Clock
from runtime.service import Duty
from runtime.telemetry import WARNING, Telemetry

__all__ = ["Beating", "Heartbeats"]


class Beating(Protocol):
    """What a heartbeat tells of, and who hears the answer: the pool."""

    @property
    def slots(self) -> int: ...
    @property
    def draining(self) -> bool: ...
    def attempts(self) -> tuple[str, ...]:
        """Ids of all attempts in hand."""
        ...

    def readings(self) -> dict[str, tuple[LimitReading, ...]]:
        """What answers since the last call said of the provider's limits, by deployment."""
        ...

    def abort(self, attempts: tuple[str, ...]) -> None:
        """Stop these attempts, those still to come included."""
        ...

    def heard(self, at: float, took: float) -> None:
        """The leader's clock said ``at`` (UTC seconds) some time in the last ``took`` seconds."""
        ...


class Heartbeats(Duty):
    """Beats every ``every`` seconds by request; aborts arrive by message at once, and again in the answers.

    A beat without an answer is no error here: there may be no leader for the moment.
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
    ) -> None:
        super().__init__("heartbeats", telemetry, grace=1.0)
        self._bus, self._clock, self._beating = bus, clock, beating
        self._pool, self._worker, self._every = pool, worker, every
        self._subject = subjects.heartbeat(pool, worker)
        self._listening: Subscription | None = None
        self._answered = True

    async def opened(self) -> None:
        self._listening = await self._bus.subscribe(subjects.abort(self._pool), self._told)

    async def closed(self) -> None:
        if self._listening is not None:
            await self._listening.close()
            self._listening = None

    async def run(self) -> None:
        """Beat at once, then steadily."""
        while True:
            await self._beat()
            if not await self.pause(self._every):
                return

    async def _beat(self) -> None:
        beating = self._beating
        beat = Heartbeat(
            pool=self._pool,
            worker=self._worker,
            slots=beating.slots,
            attempts=beating.attempts(),
            draining=beating.draining,
            limits=beating.readings(),
        )
        sent = self._clock.monotonic()
        try:
            answer = await self._bus.request(self._subject, encode(beat), timeout=self._every)
            reply = decode(HeartbeatReply, answer.data)
        except (BusError, ContractError) as error:
            if self._answered:  # say it when it begins, not every two seconds
                self.telemetry.emit("heartbeat.unanswered", WARNING, error=type(error).__name__)
            self._answered = False
            return
        self._answered = True
        if reply.at:
            beating.heard(reply.at, self._clock.monotonic() - sent)
        if reply.abort:
            beating.abort(reply.abort)

    def _told(self, message: Message) -> None:
        try:
            abort = decode(Abort, message.data)
        except ContractError as error:
            self.telemetry.emit("abort.unreadable", WARNING, error=str(error))
            return
        self._beating.abort(abort.attempts)
