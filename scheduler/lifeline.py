"""Which workers live, what they hold, and which attempts were lost with a worker or a delivery."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from job_contracts import subjects
from job_contracts.attempts import Abort, Heartbeat, HeartbeatReply, attempt_name
from job_contracts.codec import ContractError, decode, encode
from job_contracts.failures import FailureKind
from runtime.bus.port import BusError
from runtime.telemetry import INFO, WARNING
from scheduler.assignments import pool_of
from scheduler.headroom import Headroom
from scheduler.losses import Loss, Losses
from scheduler.policy.facts import Begun, Late, LimitsRead, PoolSeen

if TYPE_CHECKING:
    from job_contracts.configured import Configured
    from runtime.bus.port import Message, Puller
    from scheduler.submissions import JobKey
    from scheduler.term import Term

LOOK = 1.0
"""Seconds between two looks for silent workers."""
OWN_PAUSE = 2.0
"""Seconds a look may be late before we distrust our own clockwork instead of the workers."""
OWN_SHARE = 0.25
"""Share of ``beat_missed`` by which a look may be late before that much of everybody's silence is taken for our own."""
NEVER_FETCHED = 5.0
"""Seconds after a grant has run out until an assignment nobody fetched is taken back."""


@dataclass(slots=True)
class Flight:
    """An attempt that was dispatched and has not ended."""

    attempt: int
    deployment: str
    seq: int
    """Where it lies in WORK; 0 while that is not known."""
    since: float
    claimed: float
    """Monotonic time of the last heartbeat that named it; the dispatch before the first."""
    losing: bool = False
    """Its loss is being written down."""
    hedge: bool = False
    """It was dispatched beside another attempt: its outcome has a subject of its own."""


@dataclass(slots=True)
class WorkerSeen:
    """A worker's last sign of life."""

    at: float
    slots: int
    draining: bool
    holds: frozenset[str] = field(default_factory=frozenset)
    configured: Configured | None = None

    @property
    def takes(self) -> bool:
        """Whether it takes further work."""
        return self.slots > 0 and not self.draining


class Lifeline:
    """Answers heartbeats, finds lost attempts, passes aborts on."""

    def __init__(self, term: Term) -> None:
        self._term = term
        self._bus = term.bus
        self._clock = term.clock
        self._settings = term.config.scheduler
        self._stream = term.stream(subjects.WORK)
        self._board = term.board
        self._patience = {
            name: provider.batch.patience
            for name, provider in term.config.providers.items()
            if provider.tier == "batch"
        }
        """By pool: seconds without a sign of an attempt that goes on at its provider when its worker has died."""
        self._flights: dict[JobKey, Flight] = {}
        self._hedges: dict[JobKey, Flight] = {}
        self._workers: dict[tuple[str, str], WorkerSeen] = {}
        self.hedge_outcomes: dict[JobKey, int] = {}
        """Where the last outcome of a hedge lies, of jobs that have no result yet."""
        self._aborts: dict[str, JobKey] = {}
        self._outrun: set[str] = set()
        self._pullers: dict[str, Puller] = {}
        self._slots: dict[str, int] = {}
        self.losses = Losses(term)
        self.work = Headroom(term)

    @property
    def flights(self) -> dict[JobKey, Flight]:
        """What is in flight, by job."""
        return self._flights

    @property
    def hedges(self) -> dict[JobKey, Flight]:
        """What is in flight beside another attempt of its job."""
        return self._hedges

    def _all(self) -> list[tuple[JobKey, Flight]]:
        return [*self._flights.items(), *self._hedges.items()]

    def _flight(self, key: JobKey, attempt: int) -> Flight | None:
        """That attempt, if it is in flight."""
        pair = (self._flights.get(key), self._hedges.get(key) if self._hedges else None)
        return next((flight for flight in pair if flight is not None and flight.attempt == attempt), None)

    @property
    def workers(self) -> dict[tuple[str, str], WorkerSeen]:
        """Workers that were heard of, by pool and name."""
        return self._workers

    def held(self, name: str) -> bool:
        """Whether a worker that lives has that attempt in hand."""
        return any(name in seen.holds for seen in self._workers.values())

    def dispatched(
        self, project: str, job: str, attempt: int, deployment: str, seq: int = 0, *, hedge: bool = False
    ) -> None:
        """An attempt is on its way into WORK; it may be answered before we hear that it is stored."""
        now = self._clock.monotonic()
        beside = hedge and (project, job) in self._flights
        flights = self._hedges if beside else self._flights
        flights[(project, job)] = Flight(attempt, deployment, seq, now, now, hedge=hedge)

    def stored(self, project: str, job: str, attempt: int, seq: int) -> None:
        """An attempt lies in WORK at ``seq``."""
        flight = self._flight((project, job), attempt)
        if flight is not None:
            flight.seq = seq
            flight.claimed = self._clock.monotonic()

    def ended(self, project: str, job: str, attempt: int) -> None:
        """That attempt has ended, with or without the job."""
        flight = self._flights.get((project, job))
        hedge = self._hedges.get((project, job)) if self._hedges else None
        if hedge is not None and flight is not None and attempt in {flight.attempt, hedge.attempt}:
            # One of two has ended: the other one is the job's attempt.
            del self._hedges[(project, job)]
            if attempt == flight.attempt:
                self._flights[(project, job)] = hedge
            return
        if flight is not None and flight.attempt <= attempt:
            self.forget(project, job)

    def forget(self, project: str, job: str) -> None:
        """Nothing of the job is in flight any more."""
        flight = self._flights.pop((project, job), None)
        self._hedges.pop((project, job), None)
        if flight is not None and self._aborts:
            name = attempt_name(project, job, flight.attempt)
            self._aborts.pop(name, None)
            self._outrun.discard(name)

    def abort(self, project: str, job: str, attempt: int, deployment: str, *, outrun: bool = False) -> None:
        """Ask the pool to stop an attempt: at once by message, and with every heartbeat's answer until it has ended."""
        name = attempt_name(project, job, attempt)
        self._aborts[name] = (project, job)
        if outrun:
            self._outrun.add(name)
        message = encode(Abort(attempts=(name,), reason="outrun" if outrun else "cancelled"))
        self._term.background.start(self._bus.publish(subjects.abort(pool_of(deployment)), message))

    async def call_up(self) -> None:
        """Ask all workers for a beat now: whoever has just begun to listen does not know who is there. Raises BusError.

        An abort of nothing asks for it; to a worker that does not know that it says nothing.
        """
        nothing = encode(Abort(attempts=()))
        for pool in self._term.config.providers:
            await self._bus.publish(subjects.abort(pool), nothing)

    async def on_heartbeat(self, message: Message) -> bytes:
        """A worker's beat; the answer names the attempts it should stop."""
        try:
            beat = decode(Heartbeat, message.data)
        except ContractError as error:
            self._term.telemetry.emit("lifeline.unreadable_beat", WARNING, error=str(error))
            return encode(HeartbeatReply())
        holds = self._heard(beat)
        abort = tuple(name for name in self._aborts if name in holds)
        outrun = tuple(name for name in abort if name in self._outrun) if self._outrun else ()
        self._heard_of_two(beat)
        return encode(HeartbeatReply(abort=abort, outrun=outrun, at=self._clock.wall()))

    def _heard_of_two(self, beat: Heartbeat) -> None:
        """Which attempts are late, and which of two is shown."""
        now = self._clock.monotonic()
        for kind, names in ((Late, beat.late), (Begun, beat.begun)):
            for name in names:
                key, attempt = _parsed(name)
                flight = self._flight(key, attempt)
                if flight is not None and flight.deployment.startswith(f"{beat.pool}/"):
                    self._board.apply(kind(*key, attempt), now)
                    self._term.wake.set()

    def overhear(self, message: Message) -> None:
        """A worker's beat while another process leads, which answers it."""
        try:
            beat = decode(Heartbeat, message.data)
        except ContractError:
            return
        self._heard(beat)

    def _heard(self, beat: Heartbeat) -> frozenset[str]:
        """Note a worker's sign of life; returns the attempts it holds."""
        now = self._clock.monotonic()
        holds = frozenset(beat.attempts)
        self._workers[(beat.pool, beat.worker)] = WorkerSeen(now, beat.slots, beat.draining, holds, beat.configured)
        for name in holds:
            flight = self._flight(*_parsed(name))
            if flight is not None:
                flight.claimed = now
        for deployment, readings in beat.limits.items():
            self._board.apply(LimitsRead(deployment, readings), now)
        self._count_slots(beat.pool)
        return holds

    async def watch(self) -> None:
        """For ever: notice workers that fell silent and attempts nobody holds."""
        looked, deaf = self._clock.monotonic(), False
        while True:
            await asyncio.sleep(LOOK)
            now = self._clock.monotonic()
            late = now - looked - LOOK
            if deaf or late > OWN_PAUSE:
                self._reprieve(now, inf)
            elif late > self._settings.beat_missed * OWN_SHARE:
                self._reprieve(now, late)
            looked = now
            # While the broker is away no beat can be heard: that time says nothing about the workers.
            deaf = not (self._term.lease.trusted and self._bus.connected)
            if deaf:
                continue
            for pool, worker in self.forget_silent():
                self._term.telemetry.emit("worker.silent", WARNING, pool=pool, worker=worker)
            self._forget_aborts()
            try:
                await self.work.look()
                await self._find_lost()
            except BusError as error:
                self._term.telemetry.emit("lifeline.look_failed", INFO, error=type(error).__name__)

    def forget_silent(self) -> list[tuple[str, str]]:
        """Count no longer on workers that have not beaten for too long; returns their pools and names."""
        now = self._clock.monotonic()
        silent = [who for who, seen in self._workers.items() if now - seen.at > self._settings.beat_missed]
        for who in silent:
            del self._workers[who]
            self._count_slots(who[0])
        return silent

    def _forget_aborts(self) -> None:
        """Of attempts that are over, by our account and by the workers'."""
        held = {name for seen in self._workers.values() for name in seen.holds} if self._aborts else ()
        for name in [name for name, job in self._aborts.items() if job not in self._flights and name not in held]:
            del self._aborts[name]
            self._outrun.discard(name)

    def _reprieve(self, now: float, slept: float) -> None:
        """We were the ones who slept or were cut off: nobody's silence during that time counts."""
        for _, flight in self._all():
            flight.claimed = min(now, flight.claimed + slept)
        for seen in self._workers.values():
            seen.at = min(now, seen.at + slept)

    async def _find_lost(self) -> None:
        now = self._clock.monotonic()
        missed = self._settings.beat_missed
        suspects = [(key, flight) for key, flight in self._all() if now - flight.claimed > missed]
        delivered: dict[str, int | None] = {}
        for key, flight in suspects:
            pool = pool_of(flight.deployment)
            if pool not in delivered:
                delivered[pool] = await self._delivered_if_known(pool)
            upto = delivered[pool]
            if upto is None:
                continue
            if self._flight(key, flight.attempt) is not flight or not flight.seq:
                continue  # ended meanwhile, or still being stored: the dispatcher finds out what became of it
            if flight.seq <= upto:
                if now - flight.claimed <= self._patience.get(pool, missed):
                    continue
                self._lost(key, flight, FailureKind.WORKER_LOST, "its worker fell silent")
            elif now - flight.since > self._settings.grant_valid + NEVER_FETCHED:
                self._lost(key, flight, FailureKind.GRANT_EXPIRED, f"no worker of pool {pool} fetched it")

    async def _delivered_if_known(self, pool: str) -> int | None:
        """One pool whose consumer does not answer must not keep the lost attempts of all others from being found."""
        try:
            return await self.delivered(pool)
        except BusError as error:
            self._term.telemetry.emit("lifeline.look_failed", INFO, pool=pool, error=type(error).__name__)
            return None

    async def delivered(self, pool: str) -> int:
        """Sequence in WORK up to which everything was handed to workers of that pool. Raises BusError."""
        if pool not in self._pullers:
            self._pullers[pool] = await self._bus.pull(self._stream, pool)
        return (await self._pullers[pool].state()).delivered_seq

    def _lost(self, key: JobKey, flight: Flight, kind: FailureKind, message: str) -> None:
        if not flight.losing:
            flight.losing = True
            self._term.background.start(self._lose(key, flight, kind, message))

    async def _lose(self, key: JobKey, flight: Flight, kind: FailureKind, message: str) -> None:
        """Write the loss down, if it is still one when its turn has come; else the next look finds it again."""
        try:
            seconds = self._clock.monotonic() - flight.since
            still = self._clock.monotonic() - flight.claimed > self._settings.beat_missed
            if still and self._flight(key, flight.attempt) is flight and self._term.lease.trusted:
                what = (key, flight.attempt, flight.deployment, flight.seq, seconds, kind, message)
                loss = Loss(*what, hedge=flight.hedge)
                await self.losses.write(loss)
        finally:
            flight.losing = False

    def _count_slots(self, pool: str) -> None:
        slots = sum(seen.slots for (name, _), seen in self._workers.items() if name == pool and not seen.draining)
        if self._slots.get(pool) != slots:
            self._slots[pool] = slots
            self._board.apply(PoolSeen(pool, slots), self._clock.monotonic())
            self._term.wake.set()


def _parsed(name: str) -> tuple[JobKey, int]:
    """Job and number of an attempt's name; what is none names nothing."""
    key, _, attempt = name.rpartition(".")
    project, _, job = key.partition(".")
    return (project, job), int(attempt) if attempt.isdecimal() else 0
